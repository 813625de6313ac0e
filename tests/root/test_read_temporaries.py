"""Temporary files, what ``distribution/`` remembers, and the copies of ``repositories.json``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from support.trees import DIRECTORY, FIFO, Link, plant, within

from gcd.model.facts import Repositories
from gcd.model.inventory import Coverage, SourceState
from gcd.model.reading import EMPTY, Malformed, Present
from gcd.root import images
from gcd.root.distribution import read_distribution
from gcd.root.images import read_imagedb
from gcd.root.read import read_inventory
from gcd.root.temporaries import read_engine_temporaries, read_temporaries
from gcd.root.tree import Directory, open_root

if TYPE_CHECKING:
    from pathlib import Path

OK = SourceState(Coverage.OK)
HEX = "a" * 64
DIGEST = f"sha256:{HEX}"
DISTRIBUTION = "image/overlay2/distribution"
BY_DIGEST = f"{DISTRIBUTION}/diffid-by-digest/sha256"
BY_DIFF_ID = f"{DISTRIBUTION}/v2metadata-by-diffid/sha256"
SOURCES = json.dumps([{"Digest": DIGEST, "SourceRepository": "docker.io/library/app", "HMAC": ""}]).encode()
SPECIAL = "a FIFO, socket or device"
CONTENT = "image/overlay2/imagedb/content/sha256"
TREE = "image/overlay2"
CONFIG = json.dumps({"os": "linux", "rootfs": {"type": "layers", "diff_ids": [DIGEST]}}).encode()


def read(tmp_path: Path, reader, tree: dict, *arguments):
    plant(tmp_path, tree)
    with open_root(str(tmp_path)) as root, within(5):
        return reader(root, *arguments)


class TestDistribution:
    def test_only_what_cannot_be_read_is_kept(self, tmp_path):
        found = read(
            tmp_path,
            read_distribution,
            {
                f"{BY_DIGEST}/{HEX}": DIGEST.encode(),
                f"{BY_DIGEST}/{'b' * 64}": b"",
                f"{BY_DIFF_ID}/{HEX}": SOURCES,
                f"{BY_DIFF_ID}/{'c' * 64}": b"null",
                f"{BY_DIFF_ID}/{'d' * 64}": b"{}",
                f"{BY_DIFF_ID}/.tmp-{HEX}12": b"half",
            },
            "overlay2",
        )
        assert {path: record.content for path, record in found.unreadable.items()} == {
            f"diffid-by-digest/sha256/{'b' * 64}": EMPTY,
            f"v2metadata-by-diffid/sha256/{'d' * 64}": Malformed("an array", "an object"),
        }
        assert found.layers == {DIGEST, f"sha256:{'c' * 64}"}
        assert found.temporaries == (f"{BY_DIFF_ID}/.tmp-{HEX}12",)
        assert found.state == OK

    @pytest.mark.parametrize(
        ("planted", "found"), [(FIFO, SPECIAL), (DIRECTORY, "a directory"), (Link("/etc/passwd"), "a symlink")]
    )
    def test_what_stands_in_a_records_place(self, tmp_path, planted, found):
        records = read(tmp_path, read_distribution, {f"{BY_DIGEST}/{HEX}": planted}, "overlay2").unreadable
        assert [record.content for record in records.values()] == [Malformed("a regular file", found)]

    def test_a_host_that_never_pulled(self, tmp_path):
        found = read(tmp_path, read_distribution, {DISTRIBUTION: DIRECTORY}, "overlay2")
        assert (found.unreadable, found.layers, found.state) == ({}, frozenset(), OK)

    def test_what_cannot_be_listed_is_a_lack(self, tmp_path):
        found = read(tmp_path, read_distribution, {BY_DIGEST.removesuffix("/sha256"): Link("/etc")}, "overlay2")
        why = f"{DISTRIBUTION}/diffid-by-digest is not a directory but a symlink"
        assert found.state == SourceState(Coverage.UNREADABLE, why)

    def test_none_is_absent(self, tmp_path):
        assert read(tmp_path, read_distribution, {}, "overlay2").state.coverage is Coverage.ABSENT


class TestEngineTemporaries:
    def test_by_their_names_in_both_places(self, tmp_path):
        found, state = read(
            tmp_path,
            read_engine_temporaries,
            {
                "tmp/GetImageBlob481": b"half",
                "tmp/docker-builder481/Dockerfile": b"",
                "tmp/of-somebody-else": b"",
                "tmp-old/docker-import-481": DIRECTORY,
            },
        )
        assert set(found) == {"tmp/GetImageBlob481", "tmp/docker-builder481", "tmp-old/docker-import-481"}
        assert state == OK
        path = tmp_path / "tmp/GetImageBlob481"
        assert found["tmp/GetImageBlob481"].ctime_ns == path.stat().st_ctime_ns

    def test_what_is_being_removed_is_as_young_as_the_removal(self, tmp_path):
        plant(tmp_path, {"tmp-old/GetImageBlob1": b"", "tmp-old/GetImageBlob2": b""})
        before = (tmp_path / "tmp-old/GetImageBlob1").stat().st_ctime_ns
        while (tmp_path / "tmp-old").stat().st_ctime_ns <= before:
            (tmp_path / "tmp-old/GetImageBlob2").unlink(missing_ok=True)
            (tmp_path / "tmp-old/GetImageBlob2").touch()
        (tmp_path / "tmp-old/GetImageBlob2").unlink()

        found, _ = read(tmp_path, read_engine_temporaries, {})

        assert {path: file.ctime_ns > before for path, file in found.items()} == {"tmp-old/GetImageBlob1": True}

    def test_one_place_may_be_missing_and_no_symlink_is_followed(self, tmp_path):
        assert read(tmp_path, read_engine_temporaries, {})[1].coverage is Coverage.ABSENT
        assert read(tmp_path, read_engine_temporaries, {"tmp": DIRECTORY}) == ({}, OK)
        why = "tmp-old is not a directory but a symlink"
        assert read(tmp_path, read_engine_temporaries, {"tmp-old": Link("/etc")}) == (
            {},
            SourceState(Coverage.UNREADABLE, why),
        )


class TestCopiesOfReferences:
    def test_are_read_oldest_first(self, tmp_path):
        one = json.dumps({"Repositories": {"app": {"app:1": DIGEST}}}).encode()
        tree = {f"{CONTENT}/{HEX}": CONFIG, f"{TREE}/.tmp-repositories.json9": one}
        plant(tmp_path, tree)
        first = tmp_path / TREE / ".tmp-repositories.json9"
        second = tmp_path / TREE / ".tmp-repositories.json1"
        while not second.exists() or second.stat().st_ctime_ns <= first.stat().st_ctime_ns:
            second.write_bytes(b"{")

        _, found = read(tmp_path, read_imagedb, {}, "overlay2")

        assert [copy.name for copy in found.repositories_copies] == [first.name, second.name]
        assert found.repositories_copies[0].content == Present(Repositories({"app:1": DIGEST}))
        assert isinstance(found.repositories_copies[1].content, Malformed)
        assert (found.repositories_ctime_ns, found.temporaries) == (
            0,
            (f"{TREE}/{second.name}", f"{TREE}/{first.name}"),
        )

    def test_only_so_many_are_read(self, tmp_path, monkeypatch):
        monkeypatch.setattr(images, "MAX_COPIES", 2)
        tree = {f"{TREE}/.tmp-repositories.json{number}": b"{" for number in range(4)}
        _, found = read(tmp_path, read_imagedb, tree, "overlay2")
        assert (len(found.repositories_copies), len(found.temporaries)) == (2, 4)

    def test_an_image_that_came_after_the_listing_and_before_its_reference_is_seen(self, tmp_path, monkeypatch):
        """Else a pull that ends in between would look like a reference to nothing."""
        plant(tmp_path, {CONTENT: DIRECTORY})
        reference = json.dumps({"Repositories": {"app": {"app:1": DIGEST, "app:2": "sha256:x", "app:3": "../x"}}})
        whole = images.read_configs

        def read_then_pull(*arguments):
            found = whole(*arguments)
            plant(tmp_path, {f"{CONTENT}/{HEX}": CONFIG, f"{TREE}/repositories.json": reference.encode()})
            return found

        monkeypatch.setattr(images, "read_configs", read_then_pull)

        configs, _ = read(tmp_path, read_imagedb, {}, "overlay2")
        assert configs.keys() == {DIGEST}


TEMPORARIES = [
    f"overlay2/{HEX}/.tmp-link1",
    f"containers/{HEX}/.tmp-config.v2.json1",
    f"{TREE}/imagedb/metadata/sha256/{HEX}/.tmp-parent1",
    f"{CONTENT}/.tmp-{HEX}1",
    f"{TREE}/.tmp-repositories.json1",
    f"{BY_DIGEST}/.tmp-{HEX}1",
]


def test_an_inventory_knows_every_temporary_file(tmp_path):
    plant(tmp_path, {**dict.fromkeys(TEMPORARIES, b"x"), f"overlay2/{HEX}/diff": DIRECTORY})

    found = read_inventory(str(tmp_path))

    assert sorted(found.temporaries) == sorted(TEMPORARIES)
    assert all(file.ctime_ns == (tmp_path / path).stat().st_ctime_ns for path, file in found.temporaries.items())


def test_a_temporary_file_that_is_gone_was_renamed_into_place(tmp_path):
    tree = {"containers/x/.tmp-config.v2.json1": b""}
    assert set(read(tmp_path, read_temporaries, tree, [*tree, "containers/x/gone", "gone/x"])) == set(tree)


def test_only_temporary_files_are_looked_at_a_second_time(tmp_path, monkeypatch):
    """The listing names them: a dir without one costs no further call of the system."""
    plant(tmp_path, {f"overlay2/{HEX}/diff": DIRECTORY, f"overlay2/{HEX}/link": b"x"})
    looked: list[str] = []
    whole = Directory.lstat
    monkeypatch.setattr(Directory, "lstat", lambda self, name: (looked.append(name), whole(self, name))[1])

    read_inventory(str(tmp_path))

    assert not [name for name in looked if name.startswith(".tmp-")]
