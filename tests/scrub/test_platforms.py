from __future__ import annotations

import json

import pytest
from hypothesis import given
from support.totality import damaged, value_or_format_error

from gcd.model import layout
from gcd.model.ids import ImageId
from gcd.root.tree import open_root
from gcd.scrub.platforms import others, platform_in


def config(**said):
    return json.dumps({"rootfs": {"type": "layers"}, **said}).encode()


@pytest.mark.parametrize(
    ("said", "platform"),
    [
        ({"os": "linux", "architecture": "amd64"}, "linux/amd64"),
        ({"architecture": "arm64", "variant": "v8"}, "linux/arm64"),
        ({"os": "linux", "architecture": "arm"}, "linux/arm/v7"),
        ({"os": "linux", "architecture": "arm", "variant": "v6"}, "linux/arm/v6"),
        ({"os": "linux"}, ""),
        ({"os": "linux", "architecture": "amd64; reboot"}, ""),
        ({"os": "--all", "architecture": "amd64"}, ""),
    ],
)
def test_the_platform_that_a_config_says(said, platform):
    assert platform_in(config(**said)) == platform


@given(damaged(config(os="linux", architecture="arm", variant="v6")))
def test_any_bytes_are_a_platform_or_none(raw):
    value_or_format_error(platform_in, raw)


def test_only_those_that_the_host_would_not_get_unasked(tmp_path):
    images = [ImageId(f"sha256:{letter * 64}") for letter in "abcd"]
    said = [{"architecture": "arm64"}, {"architecture": "amd64"}, {"architecture": 7}]
    folder = tmp_path / layout.image_configs()
    folder.mkdir(parents=True)
    for image, fields in zip(images, said, strict=False):
        (folder / image[7:]).write_bytes(config(**fields))

    with open_root(str(tmp_path)) as root:
        assert others(root, images, "x86_64") == {images[0]: "linux/arm64"}
        assert others(root, images, "aarch64") == {images[1]: "linux/amd64"}
        assert others(root, images, "vax") == {images[0]: "linux/arm64", images[1]: "linux/amd64"}
