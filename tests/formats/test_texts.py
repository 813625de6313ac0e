from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.totality import damaged, value_or_format_error

from gcd.formats.texts import (
    parse_digest,
    parse_image_parent,
    parse_init_id,
    parse_last_updated,
    parse_layer_dir_id,
    parse_link,
    parse_link_target,
    parse_mount_id,
    parse_size,
)
from gcd.model.errors import FormatError
from gcd.model.ids import is_digest, is_layer_dir_id, is_link_id

HEX = "0123456789abcdef" * 4
DIGEST = f"sha256:{HEX}"
BUILD_ID = "k0j9xw3q5t7v1m2n4b6c8d0e2"
LINK = "ABCDEFGHIJKLMNOPQRSTUVWX27"


@pytest.mark.parametrize("around", ["{}", "{}\n", " \t\v\f\r{}\n\n", "\u00a0\u2003{}\u3000"])
def test_digests_and_ids_are_trimmed_as_go_trims(around):
    assert parse_digest(around.format(DIGEST).encode(), "diff") == DIGEST
    assert parse_layer_dir_id(around.format(HEX).encode(), "cache-id") == HEX
    assert parse_layer_dir_id(around.format(BUILD_ID).encode(), "cache-id") == BUILD_ID
    assert parse_mount_id(around.format(HEX).encode()) == HEX
    assert parse_init_id(around.format(f"{HEX}-init").encode()) == f"{HEX}-init"


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        HEX.encode(),
        DIGEST[:-1].encode(),
        DIGEST.upper().encode(),
        f"{DIGEST}0".encode(),
        f"{DIGEST}\n{DIGEST}".encode(),
        f"sha512:{HEX}{HEX}".encode(),
        f"\x1c{DIGEST}".encode(),
        f"{DIGEST}\0".encode(),
        b"\x85" + DIGEST.encode(),
    ],
)
def test_what_is_no_digest_is_refused(raw):
    with pytest.raises(FormatError) as error:
        parse_digest(raw, "parent")
    assert error.value.what == "parent"
    assert error.value.expected == "sha256: and 64 hex digits"


def test_the_error_shows_what_was_found_escaped_and_cut():
    with pytest.raises(FormatError) as error:
        parse_digest(b"\x1b[2J\xff\n" + b"x" * 1000, "diff")
    assert error.value.found == r"\x1b[2J\xff\n" + "x" * 66 + "…"
    with pytest.raises(FormatError, match="found nothing"):
        parse_digest(b"", "diff")


@pytest.mark.parametrize(
    ("raw", "size"),
    [
        (b"0", 0),
        (b"77796", 77796),
        (b"+7", 7),
        (b"-5", -5),
        (b"007", 7),
        (b"0" * 100_000, 0),
        (b"0" * 100_000 + b"12", 12),
        (b"9223372036854775807", 2**63 - 1),
        (b"-9223372036854775808", -(2**63)),
    ],
)
def test_sizes_that_the_engine_loads(raw, size):
    assert parse_size(raw) == size


@pytest.mark.parametrize(
    "raw",
    [
        *(b"", b"+", b"-", b"1\n", b" 1", b"1 ", b"1_000", b"0x10", b"1e3", b"1.0", b"--1", "\u0661".encode()),
        *(b"9223372036854775808", b"-9223372036854775809", b"9" * 20, b"9" * 4400, b"9" * 100_000),
    ],
)
def test_sizes_that_make_a_layer_unloadable(raw):
    with pytest.raises(FormatError):
        parse_size(raw)


@pytest.mark.parametrize("text", ["", ".", "../x", HEX[1:], f"{HEX}-init-init", f"{HEX}-removing", HEX.upper()])
def test_what_names_no_layer_dir_is_refused(text):
    with pytest.raises(FormatError):
        parse_layer_dir_id(text.encode(), "cache-id")
    with pytest.raises(FormatError):
        parse_mount_id(text.encode())


def test_a_build_id_is_a_cache_id_but_no_mount_id():
    with pytest.raises(FormatError) as error:
        parse_mount_id(BUILD_ID.encode())
    assert error.value.expected == "64 hex digits, or these and -init"


def test_a_link_is_read_raw():
    assert parse_link(LINK.encode()) == LINK
    for raw in (b"", LINK.encode() + b"\n", LINK[1:].encode(), LINK.lower().encode(), b"0" + LINK[1:].encode()):
        with pytest.raises(FormatError):
            parse_link(raw)


@pytest.mark.parametrize("name", [HEX, f"{HEX}-init", BUILD_ID])
def test_a_link_target_names_a_layer_dir(name):
    assert parse_link_target(f"../{name}/diff") == name


@pytest.mark.parametrize(
    "target",
    [
        *(
            "",
            f"{HEX}/diff",
            f"../{HEX}",
            f"../{HEX}/diff/",
            f"../{HEX}/diff\n",
            f"/var/lib/docker/overlay2/{HEX}/diff",
        ),
        *("../../diff", "..//diff", f"../../{HEX}/diff", f"../l/../{HEX}/diff", "../l/diff", "../\udcff/diff"),
    ],
)
def test_other_link_targets_are_refused(target):
    with pytest.raises(FormatError):
        parse_link_target(target)


def test_an_image_parent_is_compared_untrimmed():
    assert parse_image_parent(DIGEST.encode()) == DIGEST
    with pytest.raises(FormatError):
        parse_image_parent(DIGEST.encode() + b"\n")


def test_last_updated_is_a_time():
    assert parse_last_updated(b"2026-11-24T22:56:13.123456789Z") == "2026-11-24T22:56:13.123456789Z"
    for raw in (b"", b"yesterday", b"2026-11-24T22:56:13Z\n", b"\xff"):
        with pytest.raises(FormatError):
            parse_last_updated(raw)


@given(damaged(DIGEST.encode(), HEX.encode(), LINK.encode(), BUILD_ID.encode(), b"123456789", b"2026-11-24T22:56:13Z"))
def test_any_bytes_are_a_valid_value_or_refused(raw):
    for digest in (
        value_or_format_error(lambda r: parse_digest(r, "diff"), raw),
        value_or_format_error(parse_image_parent, raw),
    ):
        assert digest is None or is_digest(digest)
    for parse in (parse_mount_id, parse_init_id, lambda r: parse_layer_dir_id(r, "cache-id")):
        name = value_or_format_error(parse, raw)
        assert name is None or is_layer_dir_id(name)
    link = value_or_format_error(parse_link, raw)
    assert link is None or is_link_id(link)
    size = value_or_format_error(parse_size, raw)
    assert size is None or -(2**63) <= size < 2**63
    value_or_format_error(parse_last_updated, raw)


@given(st.text())
def test_any_text_is_a_target_or_refused(text):
    name = value_or_format_error(lambda _: parse_link_target(text), b"")
    assert name is None or f"../{name}/diff" == text
