"""
A file that is missing from a layer comes back by somebody's hand while gcd makes it, just as gcd would make it.

That one is theirs: before all is made nothing of the repair is in the layer, so nothing there is gcd's.
"""

from __future__ import annotations

import errno
import hashlib
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.fingerprint import differences
from support.seeds import own_seed
from support.units import RUN, entries_of, finding_for, outside

from gcd.actions import copying, recover, repair, syscalls, taking
from gcd.actions.place import open_place
from gcd.actions.recover import Recovered, Recovery
from gcd.actions.restore import restore
from gcd.demo.dockerroot import DockerRoot
from gcd.demo.tarsplit import MTIME
from gcd.model import layout
from gcd.model.content import Worn
from gcd.model.facts import EngineState
from gcd.model.plan import CopyFile, Mend, Outcome, Reason
from gcd.root.tree import open_root

if TYPE_CHECKING:
    from collections.abc import Callable


pytestmark = pytest.mark.root

TOOLS = {"bin/a": b"#!/bin/sh\n" + b"a" * 70_000, "bin/b": b"#!/bin/sh\n" + b"b" * 70_000}
WORN = Worn(0o755, 7, 7, ())


@pytest.fixture
def docker(tmp_path: Path) -> Path:
    """A root of which a layer has lost two files that another one holds."""
    with DockerRoot(tmp_path / "docker", seed=own_seed()) as built:
        built.image("one:1", layers=[{"bin/keep": b"kept", **TOOLS}])
        built.image("two:1", layers=[{f"opt/{name}": content for name, content in TOOLS.items()}])
    for name in TOOLS:
        lost(built.path, name).unlink()
    return built.path


def lost(docker: Path, name: str) -> Path:
    [kept] = docker.glob("overlay2/*/diff/bin/keep")
    return kept.parents[1] / name


def mending(docker: Path, *names: str) -> Mend:
    changes = []
    for name in names:
        [source] = docker.glob(f"overlay2/*/diff/opt/{name}")
        digest = hashlib.sha256(TOOLS[name]).hexdigest()
        paths = (str(path.relative_to(docker)) for path in (lost(docker, name), source))
        changes.append(CopyFile(*paths, len(TOOLS[name]), digest, MTIME * 10**9, WORN))
    return Mend(finding_for("x"), tuple(changes))


def bring_back(docker: Path, *names: str) -> None:
    for name in names:
        path = lost(docker, name)
        path.write_bytes(TOOLS[name])
        path.chmod(0o755)
        os.chown(path, 7, 7)


def in_place(docker: Path, do):
    with open_root(str(docker)) as root, open_place(root, create=True) as place:
        return do(place)


def repaired(docker: Path, *names: str):
    return in_place(
        docker, lambda place: repair.repair(place, mending(docker, *names), run_id=RUN, now_ns=time.time_ns())
    )


def recovered(docker: Path) -> tuple[Recovered, ...]:
    return in_place(docker, lambda place: recover.recover(place, engine=EngineState.STOPPED))


class Killed(BaseException):
    """As if gcd were killed: nothing is cleaned up after it."""


def kill(docker: Path, monkeypatch: pytest.MonkeyPatch, where: object, call: str, number: int, *names: str) -> None:
    """The repair of all `names` ends at the call of that number, with nothing cleaned up after it."""
    counted = iter(range(number))

    def killed(*arguments, **named):
        if next(counted, None) is None:
            patched.setattr(taking, "discard", lambda _: None)
            raise Killed
        return genuine(*arguments, **named)

    genuine = getattr(where, call)
    with monkeypatch.context() as patched:
        patched.setattr(where, call, killed)
        with pytest.raises(Killed):
            repaired(docker, *names)


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC])
def test_what_comes_back_while_it_is_copied_stays_where_the_copy_fails(docker, monkeypatch, error):
    def pour(*_):
        bring_back(docker, "bin/a")
        raise OSError(error, "no")

    monkeypatch.setattr(copying, "_pour", pour)

    deed = repaired(docker, "bin/a")

    assert (deed.outcome, deed.reason, entries_of(docker)) == (Outcome.REFUSED, Reason.PLACE, {})
    assert lost(docker, "bin/a").read_bytes() == TOOLS["bin/a"]


def test_what_comes_back_while_it_is_copied_stays_where_gcd_is_killed(docker, monkeypatch):
    kill(docker, monkeypatch, copying, "_pour", 0, "bin/a")
    bring_back(docker, "bin/a")
    before = outside(docker)
    [entry] = entries_of(docker)

    assert recovered(docker) == (Recovered(entry, Recovery.RETURNED),)
    assert (entries_of(docker), differences(before, outside(docker))) == ({}, [])


@pytest.mark.parametrize("names", [("bin/a",), ("bin/b",), ("bin/a", "bin/b")])
@pytest.mark.parametrize("number", [0, 1])
def test_each_that_comes_back_stays_in_whichever_copy_gcd_was_killed(docker, monkeypatch, names, number):
    kill(docker, monkeypatch, copying, "_pour", number, "bin/a", "bin/b")
    bring_back(docker, *names)
    before = outside(docker)
    [entry] = entries_of(docker)

    assert recovered(docker) == (Recovered(entry, Recovery.RETURNED),)
    assert (entries_of(docker), differences(before, outside(docker))) == ({}, [])


@pytest.mark.parametrize("call", ["begin_taking", "take"])
def test_what_comes_back_when_all_is_made_and_nothing_taken_stays(docker, monkeypatch, call):
    kill(docker, monkeypatch, taking, call, 0, "bin/a", "bin/b")
    bring_back(docker, "bin/a", "bin/b")
    before = outside(docker)
    [entry] = entries_of(docker)

    assert recovered(docker) == (Recovered(entry, Recovery.RETURNED),)
    assert (entries_of(docker), differences(before, outside(docker))) == ({}, [])


def test_all_that_came_back_is_synced_before_it_is_said_that_all_is_back(docker, monkeypatch):
    """Else a power cut could leave what was taken in an entry of which it is said that nothing is."""
    entry = repaired(docker, "bin/a", "bin/b").entry
    done: list[str] = []

    def recorded(call: str, told: Callable[..., str]) -> None:
        genuine = getattr(syscalls, call)

        def wrapped(*arguments):
            done.append(told(*arguments))
            genuine(*arguments)

        monkeypatch.setattr(syscalls, call, wrapped)

    recorded("sync_directory", lambda directory: Path(f"/proc/self/fd/{directory.fd}").readlink().name)
    recorded("rename_noreplace", lambda *names: names[3])
    recorded("unlink", lambda _, name: f"unlink {name}")

    [deed] = in_place(docker, lambda place: list(restore(place, [entry], engine=EngineState.STOPPED)))

    assert deed.outcome is Outcome.DONE
    back = done.index("0")
    assert done[back + 1 :] == [
        "bin", "items", layout.ENTRY_NEW_MANIFEST, entry,
        "unlink 0", "unlink 1", f"unlink {layout.ENTRY_NEW_MANIFEST}", "open",
    ]  # fmt: skip


def test_so_it_does_where_an_older_gcd_was_killed_in_a_copy(docker, monkeypatch):
    """It gave its manifest the name at once, by which it was known that things may be taken; the copy is half done."""
    kill(docker, monkeypatch, copying, "_pour", 1, "bin/a", "bin/b")
    [folder] = (docker / ".gcd/open").iterdir()
    (folder / "manifest.new").rename(folder / layout.ENTRY_MANIFEST)
    bring_back(docker, "bin/a", "bin/b")
    before = outside(docker)

    assert recovered(docker) == (Recovered(folder.name, Recovery.RETURNED),)
    assert (entries_of(docker), differences(before, outside(docker))) == ({}, [])


def test_what_was_taken_in_part_is_undone_and_what_was_taken_whole_is_done(docker, monkeypatch):
    before = outside(docker)
    kill(docker, monkeypatch, taking, "take", 1, "bin/a", "bin/b")
    [entry] = entries_of(docker)
    assert lost(docker, "bin/a").read_bytes() == TOOLS["bin/a"]
    assert recovered(docker) == (Recovered(entry, Recovery.RETURNED),)
    assert (entries_of(docker), differences(before, outside(docker))) == ({}, [])

    kill(docker, monkeypatch, taking, "close_entry", 0, "bin/a", "bin/b")
    [entry] = entries_of(docker)
    assert recovered(docker) == (Recovered(entry, Recovery.CLOSED),)
    assert [lost(docker, name).read_bytes() for name in TOOLS] == list(TOOLS.values())


@pytest.mark.parametrize("number", [0, 1])
def test_what_comes_back_while_the_rest_of_an_undone_repair_is_removed_stays(docker, monkeypatch, number):
    """By then nothing of it is in the layer any more."""
    take = taking.take

    def fails(item, index, *arguments):
        if index == 1:
            raise OSError(errno.EIO, "no")
        take(item, index, *arguments)

    monkeypatch.setattr(taking, "take", fails)
    kill(docker, monkeypatch, syscalls, "unlink", number, "bin/a", "bin/b")
    bring_back(docker, "bin/a", "bin/b")
    before = outside(docker)
    [entry] = entries_of(docker)

    assert recovered(docker) == (Recovered(entry, Recovery.RETURNED),)
    assert (entries_of(docker), differences(before, outside(docker))) == ({}, [])
