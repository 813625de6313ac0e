from __future__ import annotations

import json

import pytest
from hypothesis import given
from support.totality import damaged, value_or_format_error

from gcd.formats.imageconfig import parse_image_config
from gcd.model.errors import FormatError
from gcd.model.facts import ImageConfig
from gcd.model.ids import chains_of

BASE, TOP = f"sha256:{'0b' * 32}", f"sha256:{'7e' * 32}"

CONFIG = {
    "architecture": "amd64",
    "config": {"Env": ["PATH=/bin", "TOKEN=hunter2"], "Cmd": ["sh"], "Labels": {"a": "b"}, "Volumes": {"/x": {}}},
    "container_config": {"Cmd": ["/bin/sh", "-c", "#(nop)"], "Labels": None},
    "created": "2026-11-24T22:56:13.123456789Z",
    "docker_version": "20.10.24",
    "history": [
        {"created": "2026-11-24T22:56:13Z", "created_by": "COPY", "empty_layer": True},
        {"comment": "buildkit"},
    ],
    "os": "linux",
    "rootfs": {"type": "layers", "diff_ids": [BASE, TOP]},
}


def raw(**changes: object) -> bytes:
    return json.dumps(CONFIG | changes).encode()


def refusal(config: bytes) -> FormatError:
    with pytest.raises(FormatError) as error:
        parse_image_config(config)
    return error.value


def test_layers_base_first_system_and_time():
    assert parse_image_config(raw()) == ImageConfig(
        chains_of((BASE, TOP), {}), "linux", "2026-11-24T22:56:13.123456789Z", labels=(("a", "b"),)
    )


def test_every_field_is_found_whatever_the_case_of_its_key():
    swapped = {key.swapcase(): value for key, value in CONFIG.items()}
    swapped["ROOTFS"] = {key.swapcase(): value for key, value in CONFIG["rootfs"].items()}
    swapped["CONFIG"] = {key.swapcase(): value for key, value in CONFIG["config"].items()}
    assert parse_image_config(json.dumps(swapped).encode()) == parse_image_config(raw())


def test_images_share_what_was_computed_of_their_layers():
    known = {}
    first, second = (parse_image_config(raw(), known).chains for _ in range(2))
    assert first == chains_of((BASE, TOP), {})
    assert len(known) == 2
    assert all(one is other for one, other in zip(first, second, strict=True))


@pytest.mark.parametrize("rootfs", [{"type": "layers"}, {"type": "layers", "diff_ids": None}, {"diff_ids": []}, {}])
def test_an_image_without_layers(rootfs):
    assert parse_image_config(raw(rootfs=rootfs)).diff_ids == ()


def test_the_engine_does_not_look_at_the_type_of_a_rootfs():
    assert parse_image_config(raw(rootfs={"type": "anything", "diff_ids": [BASE]})).diff_ids == (BASE,)


def test_no_system_means_linux_and_no_time_is_no_time():
    assert parse_image_config(b'{"rootfs": {}}') == ImageConfig((), "linux", "")
    assert parse_image_config(raw(os="windows")).os == "windows"


@pytest.mark.parametrize("config", [b"{}", b"null", raw(rootfs=None)])
def test_without_a_rootfs_an_image_is_invalid(config):
    error = refusal(config)
    assert (error.what, error.expected, error.found) == ("image config", "a rootfs", "none")


@pytest.mark.parametrize("bad", ["", BASE[7:], BASE.upper(), f"{BASE}\n", f"sha512:{'0b' * 64}", "\x1b[2J"])
def test_a_diff_id_must_be_a_digest(bad):
    error = refusal(raw(rootfs={"type": "layers", "diff_ids": [BASE, bad]}))
    assert error.what == "image config: diff_ids[1]"
    assert error.found.isprintable()


@pytest.mark.parametrize(
    "changes",
    [
        *({"rootfs": []}, {"rootfs": "x"}, {"rootfs": {"type": 1}}, {"rootfs": {"diff_ids": BASE}}, {"os": 1}),
        *({"rootfs": {"diff_ids": [1]}}, {"created": "yesterday"}, {"created": 0}, {"config": []}, {"history": {}}),
        *({"history": [1]}, {"history": [{"empty_layer": "yes"}]}, {"config": {"Env": "A=b"}}, {"container_config": 1}),
        *({"config": {"Labels": {"a": 1}}}, {"config": {"Volumes": ["/x"]}}, {"os.features": "x"}),
    ],
)
def test_one_field_of_the_wrong_kind_makes_the_image_invalid(changes):
    refusal(raw(**changes))


def test_a_step_of_the_history_may_be_null_as_for_the_engine():
    assert parse_image_config(raw(history=[None])).diff_ids == (BASE, TOP)


def test_what_follows_the_object_is_refused():
    parse_image_config(raw() + b"\n")
    refusal(raw() + b"x")


def test_no_environment_leaves_the_parser_and_no_label_is_printed():
    assert "hunter2" not in repr(parse_image_config(raw()))
    assert "hunter2" not in str(refusal(raw().replace(b'hunter2"', b'hunter2" hunter2')))


@given(damaged(raw()))
def test_any_bytes_are_a_config_or_refused(config):
    value_or_format_error(parse_image_config, config)
