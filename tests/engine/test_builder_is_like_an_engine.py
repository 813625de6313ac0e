"""
The builder of synthetic roots against an engine: what it writes, an engine writes just so.

Both make the same things (an image of three layers, one without layers, builds with and without a base image,
containers), and both roots are then described with their ids, digests and figures taken out: type, mode and content of
each entry, the sets of entries that each kind of directory has, and the buckets of BuildKit's databases.

How long files are is compared where it depends on depth: along a stack of as many layers as an engine takes.
"""

from __future__ import annotations

import base64
import gzip
import json
import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.engine import Engine, inside

from gcd.demo.configs import classic_image_config
from gcd.demo.dockerroot import MAX_LAYERS, DockerRoot
from gcd.demo.tarsplit import pack
from gcd.formats.bolt import Bucket, parse_database
from gcd.model import layout

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.engine

CLASSIC = """
FROM scratch
COPY busybox /bin/busybox
COPY a /a
COPY b /b
CMD ["/bin/busybox", "true"]
"""
EMPTY = "FROM scratch\nLABEL a=b\n"
BUILT = """
FROM scratch
COPY a /dir/a
COPY b /dir/b
COPY busybox /bin/busybox
"""
UPON = 'FROM classic:1\nCOPY a /more/a\nRUN --mount=type=cache,target=/c ["/bin/busybox", "touch", "/c/x", "/y"]\n'
FILES = {"a": b"a\n", "b": b"b\n"}

FORMS = (
    (re.compile(r"(?<![0-9a-z])[0-9a-f]{64}(?![0-9a-f])"), "<64>"),
    (re.compile(r"(?<![0-9a-z])[0-9a-z]{25}(?![0-9a-z])"), "<25>"),
    (re.compile(r"(?<![0-9A-Z])[A-Z2-7]{26}(?![0-9A-Z])"), "<link>"),
    (re.compile(r"\b[0-9a-f]{12}\b"), "<12>"),
)
NO_CONTENT = ("tar-split.json.gz", ".db", "hosts", "resolv.conf", "resolv.conf.hash", "-json.log", "lastUpdated")
"""Files whose bytes say nothing of their form, or that are looked into elsewhere."""

NOT_BUILT = re.compile(
    r"overlay2/[^/]+/(work/work.*|merged)|network.*|containerd.*|nuid.*|volumes/backingFsBlockDev|buildkit/(content|executor)"
    r".*|plugins/storage/.*|image/overlay2/distribution/.*|containers/<64>/resolv.conf.hash"
    r"|image/overlay2/imagedb/metadata/sha256/<64>/parent|.*/diff/.*|engine-id|buildkit/history.*"
)
"""What engines have besides: made by the kernel or by parts of the engine that a check does not look at."""


@pytest.fixture(scope="session")
def engine_root(engine_home: Path) -> Path:
    """For the session: where processes take tests from each other, a module may be left and come back to."""
    engine = Engine(engine_home / "likeness")
    try:
        engine.start()
        engine.build("classic:1", CLASSIC, FILES)
        engine.build("empty:1", EMPTY)
        engine.build("built:1", BUILT, FILES, buildkit=True)
        engine.build("upon:1", UPON, FILES, buildkit=True)
        engine.docker("run", "--network=none", "--name=ran", "classic:1", "/bin/busybox", "touch", "/written")
        engine.docker("create", "--network=none", "--name=none", "empty:1", "/x")
        engine.stop()
    finally:
        engine.dispose()
    return engine.root


@pytest.fixture(scope="session")
def built_root(tmp_path_factory) -> Path:
    with DockerRoot(tmp_path_factory.mktemp("likeness") / "docker") as root:
        classic = root.image("classic:1", layers=3)
        empty = root.image("empty:1", layers=0)
        root.build_source()
        root.build_source(record_type="exec.cachemount")
        first = root.build_step()
        second = root.build_step(first)
        third = root.build_step(second)
        one = root.build_export(first)
        two = root.build_export(second, parent=one)
        root.image_of("built:1", (one, two, root.build_export(third, parent=two)))
        record = root.build_on_layer(classic.top)
        upon = root.build_export(root.build_step(classic.top), parent=classic.top)
        root.image_of("upon:1", (*classic.layers, upon))
        root.container("ran", image=classic, content={"written": b""})
        root.container("none", image=empty)
        assert record
    return root.path


DEEP = {f"f{number}": b"%d\n" % number for number in range(MAX_LAYERS)}
"""A file for each layer of a stack as deep as an engine takes."""
STEPS = 20
"""So many of them the classic builder makes too: it takes its time for each, and leaves a config of each depth."""


def stack_of(count: int) -> str:
    return "FROM scratch\n" + "".join(f"COPY {name} /{name}\n" for name in list(DEEP)[:count])


@pytest.fixture(scope="session")
def deep_engine_root(engine_home: Path) -> Path:
    """Of the engine that ``GCD_ENGINE_CHROOT`` names, if it names one: lengths are those of all engines."""
    home, chroot = engine_home / "deep", os.environ.get("GCD_ENGINE_CHROOT")
    engine = Engine(home, command=inside(Path(chroot), home) if chroot else ())
    try:
        engine.start()
        engine.build("deep:1", stack_of(MAX_LAYERS), DEEP, buildkit=True)
        engine.build("steps:1", stack_of(STEPS), DEEP)
        engine.docker("create", "--network=none", "--name=deep", "deep:1", "/bin/sh")
        engine.stop()
    finally:
        engine.dispose()
    return engine.root


@pytest.fixture(scope="session")
def deep_built_root(tmp_path_factory) -> Path:
    with DockerRoot(tmp_path_factory.mktemp("deep") / "docker") as root:
        deep = root.image("deep:1", layers=[{name: content} for name, content in DEEP.items()])
        for depth in range(1, STEPS + 1):
            root.image_of("", deep.layers[:depth], config_of=classic_image_config)
        root.container("deep", image=deep)
    return root.path


# --- descriptions ---------------------------------------------------------------------------------------------------


def without_ids(text: str) -> str:
    for form, word in FORMS:
        text = form.sub(word, text)
    return text


def entries(root: Path) -> dict[str, set[tuple[str, str, str]]]:
    """For each path without its ids: the types, modes and contents of the entries there."""
    found: dict[str, set[tuple[str, str, str]]] = {}
    for path in sorted(root.rglob("*")):
        name = without_ids(str(path.relative_to(root)))
        if not NOT_BUILT.fullmatch(name):
            found.setdefault(name, set()).add(described(path))
    return found


def described(path: Path) -> tuple[str, str, str]:
    status = path.lstat()
    mode = f"{stat.S_IMODE(status.st_mode):04o}"
    if stat.S_ISLNK(status.st_mode):
        return "symlink", mode, without_ids(str(path.readlink()))
    if stat.S_ISDIR(status.st_mode):
        return "directory", mode, ""
    if path.name.endswith((*NO_CONTENT, ".json")) or re.fullmatch(r"[0-9a-f]{64}", path.name):
        return "file", mode, ""
    text = without_ids(path.read_bytes().decode())
    if path.name == "size":
        text = re.sub(r"\d+", "<digits>", text)
    return "file", mode, re.sub(r"(l/<link>)(:l/<link>)*", r"\1…", text)


def shapes(root: Path, pattern: str) -> set[frozenset[str]]:
    """What is in each of the directories at `pattern`, without ids and without what the builder leaves out."""
    found = set()
    for path in root.glob(pattern):
        if path.is_dir() and path.name != "l":
            names = {without_ids(str(inner.relative_to(root))) for inner in path.iterdir()}
            found.add(frozenset(name for name in names if not NOT_BUILT.fullmatch(name)))
    return found


def keys(value: Any, place: str = "") -> Iterator[tuple[str, str]]:
    """Every key in a JSON value with the type of what it holds; ids and names that are keys stand for one another."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from keys(inner, f"{place}.{'*' if place.endswith(('Repositories', 'Labels')) else without_ids(key)}")
    yield place, type(value).__name__


def bucket_kinds(bucket: Bucket, place: str = "") -> set[tuple[str, frozenset[tuple[str, str]]]]:
    """The kinds of bucket below `bucket`: their place without ids, and their keys with their values likewise."""
    pairs = frozenset((without_ids(key.decode()), shown(key, value)) for key, value in bucket.values.items())
    kinds = {(place, pairs)}
    for name, inner in bucket.buckets.items():
        kinds |= bucket_kinds(inner, f"{place}/{without_ids(name.decode())}")
    return kinds


def shown(key: bytes, value: bytes) -> str:
    if key in {b"createdat", b"containerd.io/gc.flat"}:
        return "<time>"
    return re.sub(r"-?\d+\b(?!>)", "<digits>", without_ids(value.decode()))


def database(root: Path, name: str) -> Bucket:
    return parse_database((root / "buildkit" / name).read_bytes()).root


# --- comparisons ----------------------------------------------------------------------------------------------------


def test_each_entry_has_a_type_mode_and_content_that_an_engine_gives_it(engine_root, built_root):
    theirs, ours = entries(engine_root), entries(built_root)

    strange = {name: found - theirs.get(name, set()) for name, found in ours.items()}
    assert {name: found for name, found in strange.items() if found} == {}


def test_nothing_is_missing_that_an_engine_writes(engine_root, built_root):
    assert sorted(entries(engine_root).keys() - entries(built_root).keys()) == []


@pytest.mark.parametrize(
    "pattern",
    ["overlay2/*", "image/overlay2/layerdb/sha256/*", "image/overlay2/layerdb/mounts/*"],
)
def test_directories_of_each_kind_hold_what_an_engine_puts_into_them(engine_root, built_root, pattern):
    assert shapes(built_root, pattern) == shapes(engine_root, pattern)


@pytest.mark.parametrize("pattern", ["containers/*", "image/overlay2/imagedb/metadata/sha256/*"])
def test_directories_of_containers_and_images_are_like_some_of_an_engine(engine_root, built_root, pattern):
    assert shapes(built_root, pattern) <= shapes(engine_root, pattern)


@pytest.mark.parametrize(
    "pattern",
    [
        "containers/*/config.v2.json",
        "containers/*/hostconfig.json",
        "image/overlay2/imagedb/content/sha256/*",
        "image/overlay2/repositories.json",
    ],
)
def test_json_has_the_keys_and_types_of_an_engine_in_one_line(engine_root, built_root, pattern):
    theirs = {pair for path in engine_root.glob(pattern) for pair in keys(json.loads(path.read_bytes()))}
    for path in built_root.glob(pattern):
        assert set(keys(json.loads(path.read_bytes()))) - theirs == set()
        assert b"\n" not in path.read_bytes()


@pytest.mark.parametrize("name", ["snapshots.db", "containerdmeta.db"])
def test_buckets_of_builds_are_of_the_kinds_that_an_engine_writes(engine_root, built_root, name):
    assert bucket_kinds(database(built_root, name)) - bucket_kinds(database(engine_root, name)) == set()


def test_records_of_builds_have_keys_that_an_engine_writes(engine_root, built_root):
    def kinds(root):
        records = database(root, "metadata_v2.db").find(b"_main").buckets.values()
        return {pair for record in records for pair in ((key, bool(value)) for key, value in record.values.items())}

    assert kinds(built_root) - kinds(engine_root) == set()


def sizes_by_depth(root: Path) -> dict[int, dict[str, int]]:
    """By depth, the sizes of the small files of a root's layers, of which there is one at each."""
    records = root / layout.layerdb() / "sha256"
    parents = {
        record.name: (record / "parent").read_text().removeprefix("sha256:") if (record / "parent").exists() else ""
        for record in records.iterdir()
    }
    found = {}
    for chain, parent in parents.items():
        above, depth = parent, 1
        while above:
            above, depth = parents[above], depth + 1
        layer_dir = root / "overlay2" / (records / chain / "cache-id").read_text()
        files = [*(records / chain).iterdir(), *(path for path in layer_dir.iterdir() if path.is_file())]
        found[depth] = {path.name: path.stat().st_size for path in files}
    return found


def sizes_of_configs(root: Path) -> dict[int, int]:
    """By number of layers, the size of the classic builder's config of an image of these."""
    raws = [path.read_bytes() for path in (root / layout.image_configs()).iterdir()]
    return {len(json.loads(raw)["rootfs"]["diff_ids"]): len(raw) for raw in raws if b"container_config" in raw}


def sizes_of_a_container(root: Path, *patterns: str) -> list[int]:
    return sorted(path.stat().st_size for pattern in patterns for path in root.glob(pattern))


def length_without_paths(root: Path, name: str) -> int:
    """The length of the only container's file `name`, as if the root lay at ``/``."""
    (path,) = root.glob(f"containers/*/{name}")
    return len(path.read_text().replace(str(root), ""))


def test_files_of_a_layer_are_as_long_as_an_engines_at_every_depth(deep_engine_root, deep_built_root):
    theirs, ours = sizes_by_depth(deep_engine_root), sizes_by_depth(deep_built_root)
    assert list(range(1, MAX_LAYERS + 1)) == sorted(theirs) == sorted(ours)

    for depth in theirs:
        assert ours[depth].pop("tar-split.json.gz") == pytest.approx(theirs[depth].pop("tar-split.json.gz"), rel=0.2)
        assert (ours[depth].pop("cache-id"), theirs[depth].pop("cache-id")) in [(64, 25), (64, 64)]  # 25: of BuildKit
    assert ours == theirs


def test_image_configs_are_as_long_as_an_engines_and_grow_as_they_do(deep_engine_root, deep_built_root):
    theirs, ours = sizes_of_configs(deep_engine_root), sizes_of_configs(deep_built_root)

    assert sorted(theirs) == list(range(1, STEPS + 1))
    assert ours == {depth: pytest.approx(size, rel=0.04) for depth, size in theirs.items()}


def test_files_of_a_container_on_the_deepest_stack_are_as_long_as_an_engines(deep_engine_root, deep_built_root):
    exact = (
        "overlay2/*-init/lower",
        "image/overlay2/layerdb/mounts/*/*",
    )
    assert sizes_of_a_container(deep_built_root, *exact) == sizes_of_a_container(deep_engine_root, *exact)
    for name in ("config.v2.json", "hostconfig.json"):
        ours, theirs = (length_without_paths(root, name) for root in (deep_built_root, deep_engine_root))
        assert ours == pytest.approx(theirs, rel=0.09)


def test_size_of_a_layer_is_counted_as_an_engine_counts_it(engine_root):
    """The same files in a layer of ours and in one of the engine's have the same size and tar-split entries."""
    busybox = next(engine_root.glob("overlay2/*/diff/bin/busybox"))
    packed = pack({"bin/busybox": busybox.read_bytes()})
    sizes = {int(path.read_text()) for path in engine_root.glob("image/overlay2/layerdb/sha256/*/size")}
    assert packed.size in sizes
    theirs = [
        lines_of(path.read_bytes()) for path in engine_root.glob("image/overlay2/layerdb/sha256/*/tar-split.json.gz")
    ]
    assert lines_of(packed.tar_split) in theirs


def lines_of(tar_split: bytes) -> list[tuple[object, ...]]:
    """Each entry of a tar-split without the raw bytes of its segments, but with their lengths."""
    found = []
    for line in gzip.decompress(tar_split).splitlines():
        entry = json.loads(line)
        if entry["type"] == 2:
            entry["payload"] = len(base64.b64decode(entry["payload"]))
        found.append(tuple(entry.items()))
    return found
