from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
from pathlib import Path

import pytest
from msgspec.structs import replace
from support.results import NOON_NS, damaged_host, finding, orphan, result

import gcd.state
from gcd.model.audit import Act, ActKind
from gcd.model.entry import RunId
from gcd.model.errors import CannotCheck
from gcd.model.finding import Node, NodeKind
from gcd.model.plan import Identity, Outcome, Reason
from gcd.model.published import Point
from gcd.state import DAY_NS, FILE, SCHEMA, BootTime, lock_file, open_state, read_state

HERE = Identity(device=2049, inode=12, engine_id="abc")
HOUR_NS = 3_600_000_000_000
ALL = frozenset({"GCD101", "GCD104", "GCD206", "GCD402"})


def at(outcome, hours):
    return replace(outcome, checked_ns=NOON_NS + hours * HOUR_NS)


def boot(hours, boot_id="first"):
    return BootTime(boot_id, hours * HOUR_NS)


def test_a_sighting_lasts_from_the_first_run_to_the_last(tmp_path):
    seen = result(orphan("a"))
    with open_state(tmp_path / "new" / "place") as state:
        state.record(HERE, at(seen, 0), boot(1), ALL)
        state.record(HERE, at(seen, 5), boot(6), ALL)

        [sighting] = state.sightings(HERE)

    assert sighting.finding == seen.findings[0].id
    assert (sighting.first_ns, sighting.last_ns) == (NOON_NS, NOON_NS + 5 * HOUR_NS)
    assert (sighting.boot_id, sighting.boot_first_ns, sighting.boot_last_ns) == ("first", HOUR_NS, 6 * HOUR_NS)


def test_patience_counts_anew_after_a_reboot(tmp_path):
    seen = result(orphan("a"))
    with open_state(tmp_path) as state:
        state.record(HERE, at(seen, 0), boot(100), ALL)
        state.record(HERE, at(seen, 1), boot(1, "second"), ALL)

        [sighting] = state.sightings(HERE)

    assert (sighting.boot_id, sighting.boot_first_ns, sighting.boot_last_ns) == ("second", HOUR_NS, HOUR_NS)
    assert sighting.first_ns == NOON_NS


def test_what_is_not_seen_again_ends(tmp_path):
    with open_state(tmp_path) as state:
        state.record(HERE, result(orphan("a"), orphan("b")), boot(1), ALL)
        state.record(HERE, result(orphan("b")), boot(2), ALL)

        assert [sighting.finding for sighting in state.sightings(HERE)] == [orphan("b").id]


def test_a_run_whose_rules_did_not_look_ends_nothing(tmp_path):
    with open_state(tmp_path) as state:
        state.record(HERE, result(orphan("a")), boot(1), ALL)
        state.record(HERE, result(), boot(2), ALL - {"GCD101"})

        assert [sighting.finding for sighting in state.sightings(HERE)] == [orphan("a").id]


def test_each_root_has_its_own_history(tmp_path):
    with open_state(tmp_path) as state:
        state.record(HERE, result(orphan("a")), boot(1), ALL)
        for other in (replace(HERE, engine_id="other"), replace(HERE, inode=2**64 - 1)):
            assert state.sightings(other) == ()
            state.record(other, result(), boot(1), ALL)

        assert len(state.sightings(HERE)) == 1


def test_the_figures_of_each_run_are_kept(tmp_path):
    with open_state(tmp_path) as state:
        state.record(HERE, damaged_host(), boot(1), ALL)
        state.record(HERE, at(result(), 1), boot(2), ALL)
    rows = sqlite3.connect(tmp_path / FILE)
    figures = rows.execute("SELECT checked_ns, not_checked, by_code, proven_bytes, images FROM runs").fetchall()
    rows.close()

    assert figures == [
        (NOON_NS, 2, '{"GCD101": 4, "GCD104": 1, "GCD206": 1, "GCD402": 1}', 1366294528, 3),
        (NOON_NS + HOUR_NS, 0, "{}", 0, 3),
    ]


def test_a_name_that_is_not_utf8_is_kept_escaped(tmp_path):
    strange = finding("GCD101", "orphaned-layer-dir", Node(NodeKind.LAYER_DIR, "x\udcff"))
    with open_state(tmp_path) as state:
        state.record(HERE, result(strange), boot(1), ALL)

        assert [sighting.finding for sighting in state.sightings(HERE)] == ["GCD101:layer-dir:x\\xff"]


def test_a_run_is_kept_whole_or_not_at_all(tmp_path):
    with open_state(tmp_path) as state:
        broken = replace(result(orphan("a")), checked_ns=2**70)
        with pytest.raises(OverflowError):
            state.record(HERE, broken, boot(1), ALL)

        assert state.sightings(HERE) == ()
    rows = sqlite3.connect(tmp_path / FILE)
    kept = rows.execute("SELECT count(*) FROM roots").fetchone()
    rows.close()
    assert kept == (0,)


def test_only_the_owner_may_read_it(tmp_path):
    with open_state(tmp_path / "gcd"):
        pass

    assert stat.S_IMODE((tmp_path / "gcd").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "gcd" / FILE).stat().st_mode) == 0o600


def test_the_state_of_a_newer_gcd_is_refused(tmp_path):
    rows = sqlite3.connect(tmp_path / FILE)
    rows.execute(f"PRAGMA user_version = {SCHEMA + 1}")
    rows.close()

    with pytest.raises(CannotCheck, match="newer gcd"), open_state(tmp_path):
        pass


def tables(path):
    """Every column of every table, and the schema."""
    rows = sqlite3.connect(path)
    names = [row[0] for row in rows.execute("SELECT name FROM sqlite_master ORDER BY name")]
    columns = {name: [row[1:] for row in rows.execute(f"PRAGMA table_info({name})")] for name in names}
    (version,) = rows.execute("PRAGMA user_version").fetchone()
    rows.close()
    return columns, version


@pytest.mark.parametrize(("schema", "accepted"), [(1, 0), (2, 2), (3, 2)])
def test_the_state_of_an_older_gcd_is_brought_up_to_date_and_keeps_its_history(tmp_path, schema, accepted):
    rows = sqlite3.connect(tmp_path / FILE)
    rows.executescript((Path(__file__).parent / f"data/state-{schema}.sql").read_text())
    rows.close()

    with open_state(tmp_path) as state:
        [sighting] = state.sightings(Identity(64768, 42, "ENGINE"))
        state.record(Identity(64768, 42, "ENGINE"), result(orphan("a")), boot(1), {"GCD101"})

    assert sighting.finding == "GCD101:layer-dir:abc"
    with open_state(tmp_path / "new"):
        pass
    assert tables(tmp_path / FILE) == tables(tmp_path / "new" / FILE)
    rows = sqlite3.connect(tmp_path / FILE)
    figures = rows.execute("SELECT orphaned_bytes, accepted FROM runs ORDER BY id").fetchall()
    rows.close()
    assert figures == [(7, accepted), (3145728, 0)]


@pytest.mark.parametrize("schema", [0, 1, 2, 3])
def test_two_that_bring_it_up_to_date_at_the_same_time(tmp_path, monkeypatch, schema):
    """The other one was faster, after this one saw what there is to do."""
    with contextlib.closing(sqlite3.connect(tmp_path / FILE)) as rows:
        if schema:
            rows.executescript((Path(__file__).parent / f"data/state-{schema}.sql").read_text())
    read = gcd.state._demand_not_newer

    def overtaken(connection, path):
        version = read(connection, path)
        monkeypatch.setattr(gcd.state, "_demand_not_newer", read)
        with open_state(tmp_path):
            pass
        return version

    monkeypatch.setattr(gcd.state, "_demand_not_newer", overtaken)
    with open_state(tmp_path) as state:
        state.record(HERE, result(orphan("a")), boot(1), {"GCD101"})

    with open_state(tmp_path / "new"):
        pass
    assert tables(tmp_path / FILE) == tables(tmp_path / "new" / FILE)


def act(number, **fields):
    defaults = Act(
        run=RunId("20251125T120000-1"),
        at_ns=NOON_NS + number,
        kind=ActKind.QUARANTINE,
        finding="GCD101:layer-dir:abc",
        outcome=Outcome.DONE,
        entry="20251125T120000-abcdef",
        disk_bytes=4096 * number,
    )
    return replace(defaults, **fields)


REFUSED = {"outcome": Outcome.REFUSED, "reason": Reason.IN_USE, "why": "it is mounted", "entry": "", "disk_bytes": 0}


def test_acts_are_kept_as_they_were_and_told_oldest_first(tmp_path):
    done = [act(1), act(2, kind=ActKind.RESTORE), act(3, **REFUSED)]
    with open_state(tmp_path) as state:
        state.record_acts(HERE, "/var/lib/docker", done[:2])
        state.record_acts(HERE, "/var/lib/docker", done[2:])

        assert state.acts(HERE, most=10) == tuple(done)
        assert state.acts(HERE, most=2) == tuple(done[1:])
        assert state.acts(replace(HERE, inode=1), most=10) == ()


def test_acts_are_kept_all_or_none(tmp_path):
    with open_state(tmp_path) as state:
        with pytest.raises(OverflowError):
            state.record_acts(HERE, "/var/lib/docker", [act(1), act(2, disk_bytes=2**70)])

        assert state.acts(HERE, most=10) == ()


def test_an_act_about_a_strange_name_is_kept_escaped(tmp_path):
    with open_state(tmp_path) as state:
        state.record_acts(HERE, "/x\udcff", [act(1, finding="GCD603:x\udcff", why="\udcff is there")])

        [kept] = state.acts(HERE, most=1)

    assert (kept.finding, kept.why) == ("GCD603:x\\xff", "\\xff is there")


def test_a_damaged_state_is_one_sentence(tmp_path):
    (tmp_path / FILE).write_bytes(b"no database at all" * 1000)

    with pytest.raises(CannotCheck, match=r"state\.db cannot be used \(file is not a database\)"), open_state(tmp_path):
        pass


def test_a_symlink_in_its_place_is_not_followed(tmp_path):
    (tmp_path / "gcd").mkdir()
    (tmp_path / "gcd" / FILE).symlink_to(tmp_path / "target")

    with pytest.raises(CannotCheck), open_state(tmp_path / "gcd"):
        pass
    assert not (tmp_path / "target").exists()


def test_a_place_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(CannotCheck, match="cannot be used"), open_state(tmp_path / "file" / "gcd"):
        pass


def test_whoever_only_reads_makes_no_state(tmp_path):
    with read_state(tmp_path / "none") as state:
        assert state is None
    assert not (tmp_path / "none").exists()


def test_the_time_of_the_latest_run_is_that_of_its_root(tmp_path):
    with open_state(tmp_path) as state:
        state.record(HERE, result(), boot(1), set())
        assert state.last_run_ns(HERE) == NOON_NS
        assert state.last_run_ns(Identity(1, 2, "")) == 0
    with read_state(tmp_path) as state:
        assert state.last_run_ns(HERE) == NOON_NS


def test_reading_changes_nothing_and_cannot(tmp_path):
    with open_state(tmp_path) as state:
        state.record(HERE, result(orphan("a")), boot(1), {"GCD101"})
    before = (tmp_path / FILE).read_bytes()

    with read_state(tmp_path) as state:
        assert [sighting.finding for sighting in state.sightings(HERE)] == [orphan("a").id]
    with pytest.raises(CannotCheck, match="readonly"), read_state(tmp_path) as state:
        state.record(HERE, result(), boot(1), set())

    assert (tmp_path / FILE).read_bytes() == before


def test_a_state_that_is_none_or_of_a_newer_gcd_is_told(tmp_path):
    (tmp_path / FILE).write_bytes(b"no database at all, and long enough to be one" * 9)
    with pytest.raises(CannotCheck, match="cannot be used"), read_state(tmp_path):
        pass
    (tmp_path / FILE).unlink()
    with open_state(tmp_path):
        pass
    with sqlite3.connect(tmp_path / FILE) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA + 1}")
    connection.close()
    with pytest.raises(CannotCheck, match="written by a newer gcd"), read_state(tmp_path):
        pass


def recorded(path, *checked_ns, orphaned=0):
    """The state in `path`, with one run at each time; each one saw one byte more than the last."""
    with open_state(path) as state:
        for number, moment in enumerate(checked_ns):
            seen = result()
            summary = replace(seen.summary, orphaned_bytes=orphaned + number)
            state.record(HERE, replace(seen, checked_ns=moment, summary=summary), boot(1), ALL)


def test_the_history_is_the_last_run_of_each_hour(tmp_path):
    minute = 60_000_000_000
    recorded(tmp_path, *(NOON_NS + n * minute for n in (0, 59, 61, 60, 180)))

    with open_state(tmp_path) as state:
        told = [((point.checked_ns - NOON_NS) // minute, point.orphaned_bytes) for point in state.history(HERE, most=9)]
        last = state.history(HERE, most=1)
        other = state.history(replace(HERE, inode=13), most=9)

    assert told == [(59, 1), (61, 2), (180, 4)]
    assert last == (Point(NOON_NS + 180 * minute, 4),)
    assert other == ()


def test_old_figures_are_thinned_and_then_forgotten(tmp_path, monkeypatch):
    monkeypatch.setattr(gcd.state, "LAST_RUNS", 0)
    days = {-400: 2, -366: 1, -364: 3, -31: 2, -29: 2, 0: 1}
    recorded(tmp_path, *(NOON_NS + day * DAY_NS + n for day, count in days.items() for n in range(count)))

    with open_state(tmp_path) as state:
        dropped = state.forget(NOON_NS + 1)
        again = state.forget(NOON_NS + 1)
        kept = [point.orphaned_bytes for point in state.history(HERE, most=99)]
    rows = sqlite3.connect(tmp_path / FILE)
    (left,) = rows.execute("SELECT count(*) FROM runs").fetchone()
    rows.close()

    assert (dropped, again, left) == (6, 0, 5)
    assert kept == [5, 7, 9, 10]


def test_a_clock_that_jumped_ahead_takes_nothing_from_the_last_figures(tmp_path):
    recorded(tmp_path, *(NOON_NS + n for n in range(5)))

    with open_state(tmp_path) as state:
        assert state.forget(NOON_NS + 10_000 * DAY_NS) == 0


def test_the_entries_that_acts_made(tmp_path):
    run = RunId("r")
    acts = [
        Act(run, NOON_NS, ActKind.QUARANTINE, "f", Outcome.DONE, entry="e1"),
        Act(run, NOON_NS, ActKind.QUARANTINE, "f", Outcome.REFUSED, Reason.CHANGED, "why"),
        Act(run, NOON_NS, ActKind.PURGE, "f", Outcome.DONE, entry="e2"),
    ]
    with open_state(tmp_path) as state:
        state.record_acts(HERE, "/r", acts)

        assert state.entries_told(HERE) == {"e1", "e2"}
        assert state.entries_told(replace(HERE, inode=13)) == frozenset()


def test_a_lock_file_belongs_to_its_owner_alone(tmp_path):
    fd = lock_file(tmp_path / "new" / "place", "x.lock")
    os.close(fd)

    assert stat.S_IMODE((tmp_path / "new" / "place").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "new" / "place" / "x.lock").stat().st_mode) == 0o600
