from __future__ import annotations

import pytest
from hypothesis import given
from support.totality import damaged, value_or_format_error

from gcd.formats.mountinfo import MountLine, MountTable, parse_mountinfo

BOOT = b"22 1 0:21 / /proc rw,relatime shared:12 master:1 - proc proc rw\n"
DOCKER = (
    b"66 60 0:39 / /var/lib/docker/overlay2/aa/merged rw,relatime shared:7 - overlay overlay "
    b"rw,lowerdir=/var/lib/docker/overlay2/l/AB:/var/lib/docker/overlay2/l/CD,"
    b"upperdir=/var/lib/docker/overlay2/aa/diff,workdir=/var/lib/docker/overlay2/aa/work,index=off\n"
)
# As Linux 6.18 shows these.
ODD_NAMES = (
    rb"66 60 0:39 / /shm/m\040" + b"\xff" + rb"\012\134x rw,relatime - overlay overlay "
    rb"rw,lowerdir=a\134:b:c,upperdir=u\040p,workdir=w\134\054k,uuid=on" + b"\n"
)
ONE_BY_ONE = (
    b"69 60 0:41 / /shm/mm rw,relatime - overlay overlay "
    b"ro,lowerdir+=/shm/c,lowerdir+=/shm/a:b,datadir+=/shm/d,redirect_dir=on\n"
)
DELETED = b"70 60 0:27 /sub/x//deleted /shm/t2//deleted rw,relatime - tmpfs tmpfs rw,size=24683656k\n"


def only(raw: bytes) -> MountLine:
    table = parse_mountinfo(raw)
    assert table.unparsable == 0
    (line,) = table
    return line


def test_a_mount_that_is_no_overlay():
    assert only(BOOT) == MountLine((0, 21), "/", "/proc", "proc", "proc")


def test_a_mount_by_the_engine():
    assert only(DOCKER) == MountLine(
        (0, 39),
        "/",
        "/var/lib/docker/overlay2/aa/merged",
        "overlay",
        "overlay",
        upper="/var/lib/docker/overlay2/aa/diff",
        work="/var/lib/docker/overlay2/aa/work",
        lowers=("/var/lib/docker/overlay2/l/AB", "/var/lib/docker/overlay2/l/CD"),
    )


def test_relative_paths_of_a_long_chain_stay_relative():
    line = only(
        b"66 60 0:39 / /d/aa/merged rw - overlay overlay rw,lowerdir=l/AB:l/CD,upperdir=aa/diff,workdir=aa/work\n"
    )
    assert (line.upper, line.work, line.lowers) == ("aa/diff", "aa/work", ("l/AB", "l/CD"))


def test_octal_and_backslash_escapes_are_undone():
    line = only(ODD_NAMES)
    assert line.mount_point == "/shm/m \udcff\n\\x"
    assert (line.upper, line.work, line.lowers) == ("u p", "w,k", ("a:b", "c"))


def test_an_escaped_colon_belongs_to_its_path():
    options = rb"rw,lowerdir=/d\134:r/l/AB,upperdir=/d\134:r/aa/diff,workdir=/d\134:r/aa/work"
    line = only(b"1 2 0:3 / /m rw - overlay overlay " + options)
    assert (line.upper, line.work, line.lowers) == ("/d:r/aa/diff", "/d:r/aa/work", ("/d:r/l/AB",))


def test_layers_shown_one_by_one_keep_their_colons():
    line = only(ONE_BY_ONE)
    assert (line.upper, line.work) == (None, None)
    assert line.lowers == ("/shm/c", "/shm/a:b", "/shm/d")


def test_data_only_layers_after_two_colons_are_lowers():
    assert only(b"1 2 0:3 / /m rw - overlay overlay ro,lowerdir=/a:/b::/data::/more\n").lowers == (
        "/a",
        "/b",
        "/data",
        "/more",
    )


def test_the_mark_of_a_deleted_path_is_removed():
    line = only(DELETED)
    assert (line.root, line.mount_point) == ("/sub/x", "/shm/t2")


def test_options_of_other_file_systems_are_not_layers():
    line = only(b"1 2 0:3 / /m rw - fuse.fuse-overlayfs fuse-overlayfs rw,lowerdir=/a,upperdir=/b\n")
    assert (line.upper, line.lowers) == (None, ())


def test_an_empty_source_and_no_final_newline():
    assert only(b"1 2 0:3 / /m rw - tmpfs  rw").source == ""


@pytest.mark.parametrize(
    "bad",
    [
        b"garbage",
        b"1 2 x:y / /m rw - tmpfs t rw",
        b"1 2 0:3 / /m rw shared:1 tmpfs tmpfs rw",
        DOCKER[:40],
        b"\xff" * 50,
    ],
)
def test_an_unparsable_line_is_counted_and_the_rest_read(bad):
    table = parse_mountinfo(BOOT + bad + b"\n" + DOCKER)
    assert [line.fstype for line in table] == ["proc", "overlay"]
    assert table.unparsable == 1


def test_no_mounts():
    assert parse_mountinfo(b"") == MountTable((), 0)


@given(damaged(BOOT + DOCKER, ODD_NAMES + ONE_BY_ONE, DELETED))
def test_any_bytes_are_a_table_of_as_many_lines(raw):
    table = value_or_format_error(parse_mountinfo, raw)
    assert table is not None
    assert len(table) + table.unparsable == sum(1 for line in raw.split(b"\n") if line)


def test_long_lines_take_time_in_proportion():
    start = b"1 2 0:3 / /m rw "
    for rest in (b"a " * 500_000, b"- " * 500_000, b"- overlay o lowerdir=" + b"\\134:" * 200_000, b"-" * 1_000_000):
        parse_mountinfo(start + rest)
