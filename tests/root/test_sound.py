"""The compiled reader of sound records and the one in Python are the same."""

from __future__ import annotations

import gzip
import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import compiled
from support.compiled import needs_compiled
from support.trees import DIRECTORY, FIFO, Link, plant

from gcd.root import rows, sound
from gcd.root.forms import BASE32, BASE36, DIGIT, HEX
from gcd.root.sound import Form, Kind, Part

PARTS = (
    Part("text", Kind.TEXT, (b"x:" + HEX * 3, BASE36 * 2)),
    Part("texts", Kind.TEXTS, (b"l/" + BASE32 * 2,), 500),
    Part("gzip", Kind.GZIP),
    Part("mark", Kind.MARK),
    Part("plain", Kind.DIRECTORY),
    Part("dated", Kind.DATED_DIRECTORY),
    Part("number", Kind.NUMBER),
    Part("told", Kind.TOLD_DIRECTORY),
)
FORM = Form(PARTS, (0, 0b1, 0b100, 0b1000, 0b100000, 0b1000000, 0b1111111, 0b11111111))
GZIP = gzip.compress(b"{}" * 40, mtime=0)
LONG = ":".join(["l/A7"] * 500)
SOUND = {
    "text": b"x:0af",
    "texts": LONG.encode(),
    "gzip": GZIP,
    "mark": b"whatever",
    "plain": DIRECTORY,
    "dated": DIRECTORY,
    "number": b"042",
    "told": DIRECTORY,
}
CONTENTS = st.one_of(
    st.binary(max_size=8),
    st.from_regex(rb"x:[0-9a-g]{3}|[0-9a-z]{1,3}|[0-9]{1,20}|l/[A-Z0-9]{2}(:l/[A-Z2-7]{2}){0,3}:?", fullmatch=True),
    st.sampled_from([b"l/A7" + b":l/B2" * 499, b"l/A7" + b":l/B2" * 500, b"l/A7" * 2, b"l/A7:l/a7", b"l/A7l/A7B"]),
    st.binary(max_size=20).map(lambda raw: gzip.compress(raw, mtime=0)),
    st.builds(lambda head, tail: head + bytes(20) + tail, st.sampled_from([GZIP[:10], b""]), st.binary(max_size=9)),
    st.sampled_from([DIRECTORY, FIFO, Link("text"), Link("/")]),
)
NAMES = st.sampled_from([*SOUND, "textx", "tex", "Text", "mar\udcffk", "x" * 255])

both = pytest.mark.parametrize("reader", [pytest.param(sound, id="python"), compiled.SOUND])


def found_by(reader, home, names, form=FORM):
    fd = os.open(home, os.O_RDONLY)
    try:
        return reader.read_records(fd, names, form)
    finally:
        os.close(fd)


@needs_compiled
def test_the_compiled_one_is_what_reads_here():
    assert rows.read_records is compiled.sound.read_records
    assert rows.read_symlinks is compiled.sound.read_symlinks


@both
def test_a_record_is_given_as_it_is(tmp_path, reader):
    plant(tmp_path / "record", SOUND)
    os.utime(tmp_path / "record" / "plain")  # the newest, and not asked for
    dated = [name for name in SOUND if name not in ("plain", "mark", "told")]
    newest = max((tmp_path / "record" / name).stat().st_ctime_ns for name in (*dated, "."))

    assert found_by(reader, tmp_path, ["record"]) == [("x:0af", LONG, len(GZIP), 42, True, newest)]


@both
@pytest.mark.parametrize("newest", ["text", "texts", "gzip", "number", "dated", ""])
def test_the_newest_ctime_is_told_whatever_it_is_of(tmp_path, reader, newest):
    plant(tmp_path / "record", SOUND)
    (tmp_path / "record" / newest).chmod(0o700)

    ((*_, newest_ns),) = found_by(reader, tmp_path, ["record"])
    assert newest_ns == (tmp_path / "record" / newest).stat().st_ctime_ns


@both
def test_a_part_that_is_not_there_has_no_value(tmp_path, reader):
    plant(tmp_path, {"none/mark": b"", "text/text": b"0z", "number/number": b"7", "told": DIRECTORY})
    plant(tmp_path / "told", {name: entry for name, entry in SOUND.items() if name != "told"})

    found = found_by(reader, tmp_path, ["none", "text", "gone", "number", "told"])
    assert [record and record[:-1] for record in found] == [
        (None, "", 0, 0, False),
        ("0z", "", 0, 0, False),
        None,
        (None, "", 0, 7, False),
        ("x:0af", LONG, len(GZIP), 42, False),
    ]


@both
def test_a_record_that_lacks_a_part_is_not_given(tmp_path, reader):
    whole = [{"text"}, {"gzip"}, {"mark"}, {"dated"}, {"number"}, set(), set(SOUND) - {"told"}, set(SOUND)]
    some = [set(SOUND) - {name} for name in SOUND] + [{name} for name in SOUND] + [set(), set(SOUND)]
    for number, names in enumerate(some):
        plant(tmp_path, {f"{number}": DIRECTORY} | {f"{number}/{name}": SOUND[name] for name in names})

    found = found_by(reader, tmp_path, [f"{number}" for number in range(len(some))])
    assert [record is not None for record in found] == [names in whole for names in some]


@both
@pytest.mark.parametrize(
    ("digits", "number"), [(b"0", 0), (b"007", 7), (b"9" * 18, 10**18 - 1), (b"1" + b"0" * 18, None), (b"1\n", None)]
)
def test_a_number_has_up_to_eighteen_digits(tmp_path, reader, digits, number):
    plant(tmp_path, {"record/number": digits})

    (record,) = found_by(reader, tmp_path, ["record"])
    assert (record and record[3]) == number


@both
def test_equal_texts_are_one_object(tmp_path, reader):
    plant(tmp_path, {"a/text": b"x:abc", "b/text": b"x:abc"})

    a, b = found_by(reader, tmp_path, ["a", "b"])
    assert a[0] is b[0]


@both
@pytest.mark.parametrize("size", [19, 4095, 4096, 4097, 100_000])
def test_the_ends_of_a_gzip_file_of_any_size(tmp_path, reader, size):
    whole = GZIP[:10] + bytes(size - 18) + bytes(4) + size.to_bytes(4, "little")
    plant(tmp_path, {"whole/gzip": whole, "cut/gzip": whole[:-1] + b"\xff", "other/gzip": b"x" + whole[1:]})

    found, cut, other = found_by(reader, tmp_path, ["whole", "cut", "other"])
    assert (found[2], cut, other) == (size, None, None)


@both
@pytest.mark.parametrize(
    "change",
    [
        {"text": b""},
        {"text": b"x:0aF"},
        {"text": b"x:0a"},
        {"text": b"x:0af\n"},
        {"text": b"x:0af0"},
        {"text": b"\x80:0af"},
        {"text": DIRECTORY},
        {"text": Link("mark")},
        {"text": FIFO},
        {"texts": b""},
        {"texts": b"l/A7:"},
        {"texts": b"l/A7:l/A1"},
        {"texts": b"l/A7;l/A7"},
        {"texts": f"{LONG}:l/A7".encode()},
        {"number": b""},
        {"number": b"-1"},
        {"number": b"1" * 19},
        {"number": DIRECTORY},
        {"told": b""},
        {"told": Link("plain")},
        {"mark": FIFO},
        {"plain": b""},
        {"dated": Link("plain")},
        {"gzip": GZIP[:18]},
        {"gzip": b""},
        {"Text": b""},
        {"textx": b""},
        {"": b""},
    ],
)
def test_nothing_is_given_of_one_that_has_another_form(tmp_path, reader, change):
    changed = {name: entry for name, entry in (SOUND | change).items() if name}
    plant(tmp_path / "record", changed)
    if "" in change:
        (tmp_path / "record").rename(tmp_path / "elsewhere")
        (tmp_path / "record").symlink_to("elsewhere")

    assert found_by(reader, tmp_path, ["record"]) == [None]


@both
@pytest.mark.parametrize("name", ["", ".", "..", "record/plain", "/", "record\0"])
def test_what_is_not_one_name_is_refused(tmp_path, reader, name):
    plant(tmp_path / "record", SOUND)

    with pytest.raises(ValueError, match=r"not one name|null byte"):
        found_by(reader, tmp_path, ["record", name])
    with pytest.raises(ValueError, match=r"not one name|null byte"):
        reader.read_symlinks(0, ["record"] * 300 + [name], b"", (HEX,), b"")


@needs_compiled
@pytest.mark.parametrize(
    "form",
    [
        (("text", -1, (b"x",), 1),),
        (("text", 8, (b"x",), 1),),
        (("text", 0, (), 1),),
        (("text", 0, (b"",), 1),),
        (("text", 0, (b"x",) * 9, 1),),
        (("text", 0, (b"x" * 8192,), 1),),
        (("text", 0, (b"x",), 2),),
        (("texts", 1, (b"x",), 0),),
        (("texts", 1, (b"x",), -1),),
        (("texts", 1, (b"x",), 4097),),
        (("texts", 1, (b"x", b"y"), 2),),
        (("number", 2, (b"x",), 1),),
        (("mark", 4, (b"x",), 1),),
        (("mark", 4, (), 2),),
        (("a/b", 0, (b"x",), 1),),
        (("a", 0, (b"x" * 5000,), 1), ("b", 0, (b"x" * 5000,), 1)),
        PARTS * 2,
    ],
)
def test_the_compiled_one_refuses_parts_that_it_has_no_room_for(form):
    with pytest.raises(ValueError, match="no form"):
        compiled.sound.read_records(0, ["record"], (form, (1,)))


@needs_compiled
@pytest.mark.parametrize("parts", [5, (5,), (("text", 0, 5, 1),), (("text", 0, (5,), 1),), (("text",),)])
def test_the_compiled_one_refuses_what_is_no_form(parts):
    for form in (parts, (parts, (1,))):
        with pytest.raises((TypeError, SystemError)):
            compiled.sound.read_records(0, ["record"], form)


@needs_compiled
@pytest.mark.parametrize("whole", [5, ("1",), (-1,), (1,) * 17])
def test_the_compiled_one_refuses_what_says_no_parts(whole):
    with pytest.raises((TypeError, SystemError, OverflowError, ValueError)):
        compiled.sound.read_records(0, ["record"], (PARTS, whole))


@both
def test_a_symlink_is_given_as_it_is(tmp_path, reader):
    plant(tmp_path, {"one": Link("../0f/x"), "other": Link("../0F/x"), "file": b"", "dir": DIRECTORY})
    plant(tmp_path, {"long": Link("x" * 4000), "same": Link("../0f/x"), "short": Link("../x"), "bare": Link("y")})
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        ctimes_ns = [(tmp_path / name).lstat().st_ctime_ns for name in ("one", "same")]
        names = ["file", "one", "gone", "dir", "same", "other", "long", "short", "bare"]
        found = reader.read_symlinks(fd, names, b"../", (HEX * 2, b"y"), b"/x")
        one, same = (("0f", ctime_ns) for ctime_ns in ctimes_ns)
        assert found == [None, one, None, None, same, None, None, None, None]
        assert found[1][0] is found[4][0]
    finally:
        os.close(fd)


@needs_compiled
@given(st.lists(st.dictionaries(NAMES, CONTENTS), max_size=4))
def test_both_give_the_same_of_any_record(tmp_path_factory, records):
    home = tmp_path_factory.mktemp("records")
    for number, entries in enumerate(records):
        plant(home, {f"{number}": DIRECTORY} | {f"{number}/{name}": entry for name, entry in entries.items()})
    names = [f"{number}" for number in range(len(records) + 1)]

    assert found_by(compiled.sound, home, names) == found_by(sound, home, names)


@needs_compiled
@given(st.lists(st.text("../0fFx\udcff\n", min_size=1, max_size=8), max_size=4))
def test_both_give_the_same_of_any_symlink(tmp_path_factory, targets):
    home = tmp_path_factory.mktemp("symlinks")
    for number, target in enumerate(targets):
        (home / f"{number}").symlink_to(target)
    names = [f"{number}" for number in range(len(targets) + 1)]
    fd = os.open(home, os.O_RDONLY)
    try:
        given_by = [
            reader.read_symlinks(fd, names, before, (b"/" + HEX, b"x" * 2), after)
            for before, after in ((b"..", b""), (b"", b"x"), (b"..", b"/0"), (b"", b""))
            for reader in (compiled.sound, sound)
        ]
    finally:
        os.close(fd)
    assert given_by[::2] == given_by[1::2]


@both
@pytest.mark.parametrize("count", [0, 1, 300, 2047, 2048, 2049, 10_000])
def test_as_many_as_are_asked_for_are_given_in_their_order(tmp_path, reader, count):
    plant(tmp_path, {f"{number}/number": b"%d" % (number % 7) for number in range(35) if number % 5})
    plant(tmp_path, {f"{number}": Link(f"{number % 7}") for number in range(35) if number % 5 == 0})
    names = [f"{number % 35}" for number in range(count)]

    given = found_by(reader, tmp_path, names)
    assert [record and record[3] for record in given] == [n % 7 if n % 5 else None for n in range(count)]
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        symlinks = reader.read_symlinks(fd, names, b"", (DIGIT,), b"")
    finally:
        os.close(fd)
    assert [symlink and symlink[0] for symlink in symlinks] == [None if n % 5 else f"{n % 7}" for n in range(count)]


@both
def test_texts_of_many_records_that_are_as_long_as_may_be(tmp_path, reader):
    """All together they are longer than what the compiled one has room for at once."""
    plant(tmp_path / "long", {"texts": LONG.encode()})
    plant(tmp_path / "other", {"texts": LONG.replace("A7", "B2").encode()})
    plant(tmp_path / "short", {"texts": b"l/C3"})
    plant(tmp_path / "odd", {"texts": f"{LONG}:".encode()})
    told = {"long": LONG, "other": LONG.replace("A7", "B2"), "short": "l/C3", "odd": None}

    form = Form((Part("texts", Kind.TEXTS, (b"l/" + BASE32 * 2,), 500),), (1,))
    names = [*told] * 700
    assert [record and record[0] for record in found_by(reader, tmp_path, names, form)] == [told[n] for n in names]


@both
def test_no_descriptor_stays_open(tmp_path, reader):
    plant(tmp_path / "sound", SOUND)
    plant(tmp_path / "odd", SOUND | {"text": b"123456"})
    plant(tmp_path / "odder", SOUND | {"other": b""})
    before = len(list(Path("/proc/self/fd").iterdir()))
    found_by(reader, tmp_path, ["sound", "odd", "odder", "gone"] * 50)

    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_the_compiled_one_opens_nothing_for_writing():
    source = (Path(sound.__file__).parent / "_sound.c").read_text()
    flags = set(re.findall(r"\bO_[A-Z]+\b", source))

    assert flags == {"O_RDONLY", "O_NOFOLLOW", "O_NONBLOCK", "O_NOCTTY", "O_CLOEXEC", "O_DIRECTORY"}
    calls = set(re.findall(r"\b(\w*(?:at|read\w*|seek|stat|close|syscall))\(", source))
    assert {"unlinkat", "renameat", "mkdirat", "write"}.isdisjoint(calls)
