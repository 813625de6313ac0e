"""
The synthetic root of the bench, and the builder's own list of its metadata files.

::

    python bench/synthetic.py DIRECTORY LAYERS CONTAINERS

makes ``DIRECTORY/root`` and ``DIRECTORY/files``, one line a file (``f <path>``) or symlink (``l <path>``): every file
from which an engine or gcd learns something. The names of the directories above them are not in it, so a program that
reads the list lists nothing.

**Sizes** are those that engines write: ``tests/engine/test_builder_is_like_an_engine.py`` lets an engine (20.10, 26.1
or 28.5) build a stack of 125 layers with a container on it, and holds the builder's files to it at every depth.
``lower``, ``diff``, ``parent``, ``link`` and the files of rw layer records have the very same size, and so has
``cache-id`` but for BuildKit's, which are shorter. Image configs are those of the classic builder, 1.2 KB with one
layer and 30 KB with 125, within 4 % (those of BuildKit are a fifth shorter, others have longer commands in them).
``config.v2.json`` has 1.8 KB, ``hostconfig.json`` 1.4 KB. Layers hold one small file in one directory, so that a
``tar-split.json.gz`` has 0.3 KB. With more files it would be longer, which costs the plain loops more than gcd, since
gcd reads the ends of it.

**Depths** no engine can tell, only what people build. `DEPTHS` is the distribution over 1,525 public images that
Dockerfiles of 444 public repositories stand upon, counted in their manifests in 2024: half of them have at most 9
layers, 87 of 100 at most 18, 95 at most 30, 99 at most 60, the most 163. Source:
``experiments/dockerfile/data/dockerfile/image-layer-counts.csv`` of github.com/converged-computing/container-chonks at
commit fa067497. The six images there with more layers than an engine takes (moby ``layer/layer_store.go``
maxLayerDepth) are among the deepest here.

That seven of ten images stand upon layers of another one, cut anywhere, and that there is one container for ten layers,
is an assumption.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from gcd.demo.configs import classic_image_config
from gcd.demo.dockerroot import MAX_LAYERS, DockerRoot
from gcd.model import layout

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gcd.demo.dockerroot import BuiltImage

DEPTHS = (
    (0.15, 1, 3),
    (0.32, 4, 6),
    (0.52, 7, 9),
    (0.72, 10, 12),
    (0.87, 13, 18),
    (0.95, 19, 30),
    (0.99, 31, 60),
    (1.00, 61, MAX_LAYERS),
)
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
    return root.image_of(f"image-{len(images)}:1", tuple(stack), config_of=classic_image_config)


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
