"""
The synthetic root of the bench, and the builder's own list of its metadata files.

::

    python bench/synthetic.py DIRECTORY LAYERS CONTAINERS

makes ``DIRECTORY/root`` and ``DIRECTORY/files``, one line a file (``f <path>``) or symlink (``l <path>``): every file
from which an engine or gcd learns something. The names of the directories above them are not in it, so a program that
reads the list lists nothing.

Where the figures come from: forms and sizes of the files are those that an engine writes (a test holds the builder to
an engine's root, ``tests/engine/test_builder_is_like_an_engine.py``), and those of the roots in ``tests/data/roots``,
which engines 26.1 and 28.5 wrote: 71 bytes of ``diff`` and ``parent``, 64 of ``cache-id``, 26 of ``link``, 29 for each
element of ``lower``, 202 to 205 of ``tar-split.json.gz``, about 2 KB of ``config.v2.json`` (there 1.8 to 2.4 KB) and of
an image config of 15 layers (there 0.4 to 0.8 KB, of two or three). ``hostconfig.json`` is shorter here: 0.6 KB, there
1.5 KB. The depths of images cannot be drawn from those roots, which have four layers at most, and are an assumption:
half of them up to 8 layers, nine of ten up to 18, the rest up to the engine's limit of 125 (moby
``layer/layer_store.go`` maxLayerDepth). Seven of ten images stand upon layers of another one, cut anywhere.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from gcd.demo.dockerroot import MAX_LAYERS, DockerRoot
from gcd.model import layout

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gcd.demo.dockerroot import BuiltImage

DEPTHS = ((0.10, 1, 1), (0.50, 2, 8), (0.90, 9, 18), (0.98, 19, 60), (1.00, 61, MAX_LAYERS))
"""Cumulated share of the images, and the least and greatest depth of those."""

ON_OTHERS = 0.7
NEAR = 400
"""How many images back the base of an image is looked for: hosts rebuild what they built last."""


def build(path: Path, layers: int, containers: int) -> None:
    """Build the root at `path`; the same each time for the same numbers."""
    draw = random.Random(layers)  # noqa: S311 - repeatable is what is wanted
    with DockerRoot(path, seed=layers) as root:
        images: list[BuiltImage] = []
        while (left := layers - len(root.layers)) > 0:
            images.append(_image(root, images, draw, left))
        for number in range(containers):
            root.container(f"container-{number}", image=draw.choice(images))


def _image(root: DockerRoot, images: list[BuiltImage], draw: random.Random, left: int) -> BuiltImage:
    share = draw.random()
    least, most = next((least, most) for bound, least, most in DEPTHS if share <= bound)
    depth = draw.randint(least, most)
    below = ()
    if images and draw.random() < ON_OTHERS:
        other = draw.choice(images[-NEAR:]).layers
        below = other[: draw.randint(0, min(len(other), depth - 1))]
    stack = list(below)
    for _ in range(min(left, depth - len(below))):
        stack.append(root.layer(stack[-1] if stack else None))
    return root.image_of(f"image-{len(images)}:1", tuple(stack))


def metadata_files(root: Path) -> Iterator[str]:
    """What is read, in the order in which the engine and gcd keep it together."""
    layerdb = root / layout.layerdb()
    places = (
        (root / layout.OVERLAY2, (layout.LINK, layout.LOWER)),
        (layerdb / "sha256", (layout.DIFF, layout.SIZE, layout.CACHE_ID, layout.PARENT, layout.TAR_SPLIT)),
        (layerdb / "mounts", (layout.MOUNT_ID, layout.INIT_ID, layout.PARENT)),
        (root / layout.image_metadata_records(), (layout.PARENT, layout.LAST_UPDATED)),
        (root / layout.CONTAINERS, (layout.CONTAINER_CONFIG, layout.HOST_CONFIG)),
    )
    yield from (f"l {path}" for path in (root / layout.link_farm()).iterdir())
    for place, names in places:
        yield from (f"f {path}" for home in place.iterdir() for name in names if (path := home / name).is_file())
    yield from (f"f {path}" for path in (root / layout.image_configs()).iterdir())
    yield f"f {root / layout.repositories()}"


def main() -> None:
    directory, layers, containers = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    directory.mkdir(parents=True)
    build(directory / "root", layers, containers)
    (directory / "files").write_text("".join(f"{line}\n" for line in metadata_files(directory / "root")))


if __name__ == "__main__":
    main()
