from __future__ import annotations

import pytest
from msgspec.structs import replace
from support.golden import assert_golden
from support.usages import CONTAINER, IMAGE, usage

from gcd.model.finding import Code, NotChecked
from gcd.model.inventory import Source
from gcd.model.space import Category, EngineRow, EngineView, Space
from gcd.report.df_text import SHOWN, df_text, docker_size

NOT_CHECKED = NotChecked(Code("GCD101"), "orphaned-layer-dir", Source.IMAGES, "image/\x1b is damaged")


def test_a_root_with_everything_in_it():
    assert_golden("df.txt", df_text(usage()))


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0B"), (8, "8B"), (999, "999B"), (1000, "1kB"), (1_982_256, "1.982MB"), (12_345_678_901, "12.35GB")],
)
def test_sizes_as_docker_prints_them(size, text):
    assert docker_size(size) == text


def test_what_could_not_be_read_comes_first():
    lines = df_text(usage(unreadable=1)).splitlines()

    assert lines[1] == "! 1 directory or file could not be read: the figures are lower bounds. Run gcd as root."
    assert df_text(usage(unreadable=2)).splitlines()[1].startswith("! 2 directories or files could not be read")


def test_orphans_that_were_not_looked_for_are_named():
    lines = df_text(usage(not_checked=(NOT_CHECKED,))).splitlines()

    assert lines[1] == r"! Orphans of GCD101 were not looked for, and count elsewhere: image/\x1b is damaged."


def test_layers_of_unknown_size():
    view = EngineView(EngineRow(1, 5), EngineRow(0, 0), EngineRow(0, 0), EngineRow(0, 0), unknown_layers=2)
    text = df_text(usage(view=view, images=(replace(IMAGE, engine_bytes=None, engine_shared_bytes=None),)))

    assert "The size of 2 layers cannot be read; Docker takes it for 0." in text
    assert [line.split()[-2:] for line in text.splitlines() if line.startswith("app:1")] == [["?", "?"]]


def test_tables_end_somewhere_and_say_so():
    text = df_text(usage(images=(IMAGE,) * (SHOWN + 1), containers=(CONTAINER,) * (SHOWN + 7)))

    assert text.count("app:1, app:latest") == SHOWN
    assert text.count("\nweb ") == SHOWN
    assert "\n… and 1 more; --format json lists all\n" in text
    assert "\n… and 7 more; --format json lists all\n" in text


def test_an_image_of_many_names_makes_no_table_wide():
    image = replace(IMAGE, references=tuple(f"app:{number}" for number in range(40)))

    row = next(line for line in df_text(usage(images=(image,))).splitlines() if line.startswith("app:0"))

    assert row.startswith("app:0, app:1, app:2 and 37 more  ")


def test_nothing_to_tell_makes_no_empty_tables():
    empty = EngineView(EngineRow(0, 0), EngineRow(0, 0), EngineRow(0, 0), EngineRow(0, 0))
    text = df_text(usage(images=(), containers=(), shares={(Category.VOLUMES, ""): Space(4096, 1)}, view=empty))

    assert "IMAGE" not in text
    assert "CONTAINER " not in text
    assert "Docker does not count" not in text


def test_names_are_escaped():
    nasty = "\x1b[2J\udcff\n"
    text = df_text(
        usage(
            root=f"/srv/{nasty}",
            images=(replace(IMAGE, references=(nasty,)),),
            containers=(replace(CONTAINER, name=nasty),),
            shares={(Category.OTHER, nasty): Space(4096, 1)},
        )
    )

    assert all(line.isprintable() for line in text.split("\n"))
    assert text.count(r"\x1b[2J\xff\x0a") + text.count(r"\x1b[2J\xff\n") == 4
