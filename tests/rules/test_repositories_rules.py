"""GCD403 to GCD407: the references to images, what is noted of images, and what is remembered of registries."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from support.inventories import (
    BASE_DIFF,
    CONTAINER,
    IMAGE,
    OLD_NS,
    TOP_DIFF,
    container,
    container_config,
    digest,
    empty_inventory,
    faults,
    healthy_inventory,
    hex64,
    image,
    with_records,
)

from gcd.model.facts import DistributionRecord, ImageConfig, ImageMetadata, Repositories, RepositoriesCopy
from gcd.model.finding import Impact, Node, NodeKind, RemedyKind, Severity
from gcd.model.ids import ContainerId, ImageId, chains_of
from gcd.model.inventory import Coverage, Source, SourceState
from gcd.model.reading import ABSENT, EMPTY, Malformed, Present, Unreadable
from gcd.rules import repositories

FILE = "image/overlay2/repositories.json"
OTHER = ImageId(digest("other"))
GONE = ImageId(digest("gone"))
NONE = Present(Repositories({}))
METADATA = f"image/overlay2/imagedb/metadata/sha256/{IMAGE.removeprefix('sha256:')}"


def references(**named: ImageId):
    return Present(Repositories({name.replace("_", ":"): image_id for name, image_id in named.items()}))


def metadata(image_id: ImageId = IMAGE, parent=ABSENT, last_updated=ABSENT):
    return ImageMetadata(image_id, parent, last_updated, OLD_NS)


def made(image_id: ImageId, created: str):
    config = ImageConfig(chains_of([BASE_DIFF], {}), "linux", created)
    return image(BASE_DIFF, image_id=image_id, config=Present(config))


def another_container(word: str, image_id: ImageId, reference: str):
    name = ContainerId(hex64(word))
    config = container_config(name, image=image_id, image_reference=reference, name=f"/{word}")
    return container(name, Present(config))


def copy(content, ctime_ns: int, name: str = ".tmp-repositories.json1"):
    return RepositoriesCopy(name, content, ctime_ns)


class TestRepositoriesUnreadable:
    check = repositories.repositories_unreadable

    @pytest.mark.parametrize(
        "reading",
        [EMPTY, Malformed("an object", "null"), Malformed("a regular file", "a directory"), Unreadable("EIO")],
    )
    def test_a_file_at_which_the_engine_does_not_start(self, reading):
        (fault,) = faults(self.check, healthy_inventory(repositories=reading), FILE)

        assert fault.subject == Node(NodeKind.REPOSITORIES, FILE)
        assert fault.severity is None  # critical, as the table says
        assert [item.where for item in fault.evidence] == [FILE]
        assert fault.since_ns is None

    @pytest.mark.parametrize(
        "reading",
        [NONE, ABSENT, Unreadable("EACCES"), Malformed("a regular file", "a symlink"), references(app_1=IMAGE)],
    )
    def test_not_a_fault_of_this_code(self, reading):
        assert faults(self.check, healthy_inventory(repositories=reading), FILE) == []

    def test_runs_whatever_was_not_read(self):
        assert self.check.needs == frozenset()

    def test_the_repair_gives_back_what_containers_prove_and_holds_the_rest(self):
        inventory = with_records(healthy_inventory(repositories=EMPTY), image(BASE_DIFF, image_id=OTHER))

        (fault,) = faults(self.check, inventory, FILE)

        (remedy,) = fault.remedies
        assert remedy.kind is RemedyKind.REPAIR
        assert remedy.action == (
            f"mv {FILE} {FILE}.aside; start the engine and, before any prune: "
            f"docker tag {IMAGE[7:19]} app:latest; docker tag {OTHER[7:19]} gcd-recovered/{OTHER[7:19]}"
        )
        assert fault.impact == Impact(tuple(sorted(("app:latest", OTHER[:19]))))

    def test_nothing_is_proven_where_not_every_container_was_seen(self):
        inventory = healthy_inventory(repositories=EMPTY)
        sources = {**inventory.sources, Source.CONTAINERS: SourceState(Coverage.PARTIAL, "cut short")}

        (fault,) = faults(self.check, replace(inventory, sources=sources), FILE)

        assert fault.remedies[0].action == (
            f"mv {FILE} {FILE}.aside; start the engine and, before any prune: "
            f"docker tag {IMAGE[7:19]} gcd-recovered/{IMAGE[7:19]}"
        )
        assert fault.impact == Impact((IMAGE[:19],))

    def test_the_newest_valid_newer_copy_takes_the_files_place(self):
        copies = (
            copy(references(app_1=IMAGE), OLD_NS + 1, ".tmp-repositories.json1"),
            copy(references(app_1=IMAGE, app_2=IMAGE), OLD_NS + 2, ".tmp-repositories.json2"),
            copy(Malformed("an object", "'{'"), OLD_NS + 3, ".tmp-repositories.json3"),
            copy(NONE, OLD_NS + 4, ".tmp-repositories.json4"),
        )
        inventory = healthy_inventory(repositories=EMPTY, repositories_ctime_ns=OLD_NS, repositories_copies=copies)

        (fault,) = faults(self.check, inventory, FILE)

        name = "image/overlay2/.tmp-repositories.json2"
        assert fault.remedies[0].action == f"cp -p {FILE} {FILE}.aside; mv {name} {FILE}"
        assert (fault.evidence[1].where, fault.evidence[1].found) == (name, "a newer valid copy with 2 references")

    def test_an_older_copy_is_no_remedy(self):
        copies = (copy(references(app_1=IMAGE), OLD_NS),)
        inventory = healthy_inventory(repositories=EMPTY, repositories_ctime_ns=OLD_NS, repositories_copies=copies)

        (fault,) = faults(self.check, inventory, FILE)

        assert "app:latest" in fault.remedies[0].action
        assert len(fault.evidence) == 1


class TestProvenReferences:
    """Safety rule S16: only where all containers agree, and no newer image of the repository is known."""

    @pytest.mark.parametrize(
        ("said", "full"),
        [
            ("app", "app:latest"),
            ("app:1", "app:1"),
            ("docker.io/library/app:1", "app:1"),
            ("docker.io/team/app", "team/app:latest"),
            ("registry.example:5000/app", "registry.example:5000/app:latest"),
            ("registry.example:5000/app:2", "registry.example:5000/app:2"),
            (f"app:1@{digest('manifest')}", f"app@{digest('manifest')}"),
        ],
    )
    def test_a_reference_is_spelt_as_the_engine_spells_it(self, said, full):
        inventory = with_records(healthy_inventory(), container(config=Present(container_config(image_reference=said))))
        assert repositories.proven_references(inventory) == {full: IMAGE}

    @pytest.mark.parametrize(
        "said", ["", IMAGE, IMAGE[:19], IMAGE.removeprefix("sha256:")[:12], "a b", "../x", "app\x1b[31m", "a" * 300]
    )
    def test_ids_and_what_is_no_reference_prove_nothing(self, said):
        inventory = with_records(healthy_inventory(), container(config=Present(container_config(image_reference=said))))
        assert repositories.proven_references(inventory) == {}

    def test_containers_that_disagree_prove_nothing(self):
        inventory = with_records(
            healthy_inventory(), image(BASE_DIFF, image_id=OTHER), another_container("two", OTHER, "app:latest")
        )
        assert repositories.proven_references(inventory) == {}

    def test_containers_that_agree(self):
        inventory = with_records(healthy_inventory(), another_container("two", IMAGE, "docker.io/library/app"))
        assert repositories.proven_references(inventory) == {"app:latest": IMAGE}

    def test_a_newer_image_of_the_repository_takes_the_older_ones_proof(self):
        inventory = with_records(
            healthy_inventory(),
            made(IMAGE, "2023-01-01T00:00:00.5Z"),
            made(OTHER, "2023-01-01T00:00:01Z"),
            another_container("two", OTHER, "app:2"),
        )
        assert repositories.proven_references(inventory) == {"app:2": OTHER}

    @pytest.mark.parametrize(
        "change",
        [
            image(BASE_DIFF, TOP_DIFF, digest=OTHER),
            image(config=EMPTY, digest=None),
            container(config=Present(container_config(driver="vfs"))),
            container(config=EMPTY),
        ],
        ids=["another digest", "damaged image", "another driver", "damaged container"],
    )
    def test_what_is_not_whole_proves_nothing(self, change):
        assert repositories.proven_references(with_records(healthy_inventory(), change)) == {}

    def test_an_image_that_is_gone_is_not_named(self):
        config = container_config(image=GONE, image_reference="gone")
        assert (
            repositories.proven_references(with_records(healthy_inventory(), container(config=Present(config)))) == {}
        )


class TestRepositoriesMissing:
    check = repositories.repositories_missing

    def test_a_missing_file_needs_no_proof(self):
        (fault,) = faults(self.check, healthy_inventory(repositories=ABSENT), FILE)

        assert [(item.where, item.found) for item in fault.evidence] == [(FILE, "absent")]
        assert (fault.severity, fault.since_ns) == (None, None)
        assert fault.impact == Impact(("app:latest",))
        assert fault.remedies[0].action == (
            f"start the engine and, before any prune: docker tag {IMAGE[7:19]} app:latest"
        )

    def test_a_missing_file_has_nothing_to_keep_a_copy_of(self):
        copies = (copy(references(app_1=IMAGE), 1),)
        (fault,) = faults(self.check, healthy_inventory(repositories=ABSENT, repositories_copies=copies), FILE)

        assert fault.remedies[0].action == f"mv image/overlay2/.tmp-repositories.json1 {FILE}"

    def test_an_empty_one_may_be_all_that_is_left(self):
        """``docker rmi -f`` takes the name of an image that a container uses, and leaves the image."""
        tagged = metadata(last_updated=Present("2023-11-14T22:00:00Z"))

        (fault,) = faults(self.check, with_records(healthy_inventory(repositories=NONE), tagged), FILE)

        assert [(item.where, item.found) for item in fault.evidence] == [(FILE, "no reference")]
        assert fault.severity is Severity.INFO

    def test_an_empty_one_may_be_all_there_ever_was(self):
        """Builds without a tag."""
        inventory = with_records(empty_inventory(repositories=NONE), image(BASE_DIFF), metadata())
        assert [fault.severity for fault in faults(self.check, inventory, FILE)] == [Severity.INFO]

    def test_an_image_tagged_once_and_used_by_nothing_has_lost_its_name(self):
        tagged = metadata(OTHER, last_updated=Present("2023-11-14T22:00:00Z"))
        inventory = with_records(healthy_inventory(repositories=NONE), image(BASE_DIFF, image_id=OTHER), tagged)

        (fault,) = faults(self.check, inventory, FILE)

        assert (fault.severity, fault.since_ns) == (None, inventory.repositories_ctime_ns)
        assert fault.impact == Impact(tuple(sorted(("app:latest", OTHER[:19]))))

    @pytest.mark.parametrize(("known", "severity"), [({BASE_DIFF}, Severity.INFO), ({BASE_DIFF, TOP_DIFF}, None)])
    def test_an_image_whose_every_layer_a_registry_has_had_a_name(self, known, severity):
        inventory = empty_inventory(repositories=NONE, registry_layers=frozenset(known))
        (fault,) = faults(self.check, with_records(inventory, image(BASE_DIFF, TOP_DIFF)), FILE)
        assert fault.severity is severity

    def test_a_parent_goes_with_its_child(self):
        tagged = metadata(OTHER, last_updated=Present("2023-11-14T22:00:00Z"))
        inventory = with_records(
            healthy_inventory(repositories=NONE),
            *(image(BASE_DIFF, image_id=OTHER), tagged, metadata(parent=Present(OTHER))),
        )
        assert [fault.severity for fault in faults(self.check, inventory, FILE)] == [Severity.INFO]

    def test_a_newer_copy_proves_that_there_were_names(self):
        inventory = with_records(
            empty_inventory(repositories=NONE, repositories_copies=(copy(references(app_1=IMAGE), 1),)),
            image(BASE_DIFF),
        )

        (fault,) = faults(self.check, inventory, FILE)

        assert fault.severity is None
        assert fault.remedies[0].action.endswith(f"; mv image/overlay2/.tmp-repositories.json1 {FILE}")

    @pytest.mark.parametrize("reading", [ABSENT, NONE])
    def test_silent_without_images(self, reading):
        assert faults(self.check, empty_inventory(repositories=reading), FILE) == []

    @pytest.mark.parametrize("reading", [EMPTY, Malformed("an object", "null"), references(app_1=GONE)])
    def test_not_a_fault_of_this_code(self, reading):
        assert faults(self.check, healthy_inventory(repositories=reading), FILE) == []

    def test_steps_of_classic_builds_never_had_a_name(self):
        step = ImageId(digest("step"))
        inventory = with_records(
            healthy_inventory(repositories=ABSENT), image(BASE_DIFF, image_id=step), metadata(parent=Present(step))
        )
        tagged = with_records(inventory, metadata(step, last_updated=Present("2023-11-14T22:00:00Z")))

        assert faults(self.check, inventory, FILE)[0].impact == Impact(("app:latest",))
        assert faults(self.check, tagged, FILE)[0].impact == Impact(tuple(sorted(("app:latest", step[:19]))))


class TestDanglingReference:
    check = repositories.dangling_reference

    def test_names_an_image_that_is_not_there(self):
        inventory = healthy_inventory(repositories=references(app_latest=IMAGE, app_1=GONE))

        (fault,) = faults(self.check, inventory, "app:1")

        assert fault.subject == Node(NodeKind.REFERENCE, "app:1")
        assert fault.evidence[0].found == f"{GONE}, absent"
        assert fault.remedies[0].action == f"drop app:1 from {FILE}"
        assert faults(self.check, inventory, "app:latest") == []

    def test_names_no_image_id_at_all(self):
        (fault,) = faults(self.check, healthy_inventory(repositories=references(app_1=ImageId("x"))), "app:1")
        assert fault.evidence[0].found == "x, absent"

    @pytest.mark.parametrize("reading", [EMPTY, Unreadable("EIO")])
    def test_a_damaged_config_is_another_codes(self, reading):
        assert (
            faults(self.check, with_records(healthy_inventory(), image(config=reading, digest=None)), "app:latest")
            == []
        )

    def test_needs_images_and_references(self):
        assert self.check.needs == {Source.IMAGES, Source.REPOSITORIES}


class TestStaleImageMetadata:
    check = repositories.stale_image_metadata

    def test_of_an_image_that_is_gone(self):
        inventory = with_records(healthy_inventory(), metadata(GONE, parent=Present(GONE)))

        (fault,) = faults(self.check, inventory, GONE)

        assert fault.paths == (f"image/overlay2/imagedb/metadata/sha256/{GONE.removeprefix('sha256:')}",)
        assert fault.since_ns == OLD_NS

    @pytest.mark.parametrize("parent", [Present(GONE), EMPTY, Malformed("sha256: and 64 hex digits", "x")])
    def test_a_parent_that_is_gone_or_unreadable(self, parent):
        (fault,) = faults(self.check, with_records(healthy_inventory(), metadata(parent=parent)), IMAGE)
        assert fault.paths == (f"{METADATA}/parent",)

    def test_both_files(self):
        bad = metadata(parent=EMPTY, last_updated=EMPTY)
        (fault,) = faults(self.check, with_records(healthy_inventory(), bad), IMAGE)
        assert fault.paths == (f"{METADATA}/parent", f"{METADATA}/lastUpdated")

    @pytest.mark.parametrize(
        "notes",
        [
            metadata(),
            metadata(parent=Present(OTHER), last_updated=Present("2023-11-14T22:00:00Z")),
            metadata(parent=Unreadable("EACCES"), last_updated=Unreadable("EACCES")),
        ],
    )
    def test_not_a_fault(self, notes):
        inventory = with_records(healthy_inventory(), image(BASE_DIFF, image_id=OTHER, config=EMPTY), notes)
        assert faults(self.check, inventory, IMAGE) == []


class TestStaleDistributionRecord:
    check = repositories.stale_distribution_record

    def test_one_that_cannot_be_read(self):
        path = f"diffid-by-digest/sha256/{hex64('archive')}"
        inventory = healthy_inventory(distribution={path: DistributionRecord(path, EMPTY, OLD_NS)})

        (fault,) = faults(self.check, inventory, path)

        assert [(item.where, item.found) for item in fault.evidence] == [
            (f"image/overlay2/distribution/{path}", "empty")
        ]
        assert fault.paths == ()
        assert faults(self.check, inventory, "another") == []


def test_all_are_silent_on_a_healthy_root():
    for check in repositories.RULES:
        for node in (FILE, IMAGE, CONTAINER, "app:latest"):
            assert faults(check, healthy_inventory(), node) == []
