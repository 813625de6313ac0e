"""
The platforms of images, as their configs say: a pull brings that of the host, unless it is told another.

A reference by digest may mean an index of many platforms (``docker pull --platform``), of which the engine keeps the
image of one. Platforms are written as containerd writes them, ``<os>/<architecture>[/<variant>]``, its defaults left
out. Source: containerd ``platforms/platforms.go`` Parse, ``database.go`` normalizeArch, ``cpuinfo.go`` getCPUVariant.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from gcd.formats.gostruct import Kind, Shape, struct_of_document
from gcd.model import layout
from gcd.model.reading import Present, value_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gcd.model.ids import ImageId
    from gcd.root.tree import Directory

CONFIG_LIMIT: Final = 16 << 20
_WHAT: Final = "image config"
_SHAPE: Final = Shape(asked={"os": Kind.TEXT, "architecture": Kind.TEXT, "variant": Kind.TEXT})
_WORD: Final = re.compile(r"[a-z0-9]{1,20}")
_MACHINES: Final = {
    "x86_64": "linux/amd64", "aarch64": "linux/arm64", "armv7l": "linux/arm/v7", "armv6l": "linux/arm/v6",
    "i686": "linux/386", "ppc64le": "linux/ppc64le", "s390x": "linux/s390x", "riscv64": "linux/riscv64",
}  # fmt: skip
_DEFAULTS: Final = {"linux/arm": "linux/arm/v7", "linux/arm64/v8": "linux/arm64", "linux/amd64/v1": "linux/amd64"}


def others(root: Directory, images: Iterable[ImageId], machine: str) -> Mapping[ImageId, str]:
    """
    The platform of each of `images` whose config says one that is not the own one of `machine`, as ``uname -m`` tells.
    """
    opened = root.open_path(layout.image_configs())
    if not isinstance(opened, Present):
        return {}
    with opened.value as configs:
        found = {
            image: value_of(configs.read(image.removeprefix("sha256:"), CONFIG_LIMIT, platform_in)) or ""
            for image in images
        }
    return {image: platform for image, platform in found.items() if platform not in {"", _MACHINES.get(machine)}}


def platform_in(config: bytes) -> str:
    """What the bytes of an image config say; "" where they say nothing that can be a platform. `FormatError`."""
    image = struct_of_document(config, _WHAT, _SHAPE)
    if image is None:
        return ""
    words = [image.text("os") or "linux", image.text("architecture")]
    words += [variant] if (variant := image.text("variant")) else []
    if not all(map(_WORD.fullmatch, words)):
        return ""
    platform = "/".join(words)
    return _DEFAULTS.get(platform, platform)
