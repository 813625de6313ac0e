import os
import stat
from pathlib import Path

import pytest

from gcd.demo.dockerroot import DockerRoot
from gcd.demo.faults import FAULTS
from gcd.demo.faults.fault import Target
from gcd.demo.faults.host import two_engines
from gcd.demo.faults.targets import find_targets
from gcd.formats.buildkit import read_leases, read_records

CODES = [
    *range(101, 117),
    *range(201, 213),
    *range(301, 311),
    *range(401, 408),
    *range(501, 505),
    *range(601, 606),
    *(801, 802, 803, 805),
]


def build(place):
    with DockerRoot(place) as root:
        root.image("other:1", layers=1)
        image = root.image("web:1", layers=4)
        root.container("idle", image=root.image("sparse:1", layers=1))
        root.container("web", image=image, content={"data/x": b"written"})
        source = root.build_source(record_type="exec.cachemount")
        root.build_step(root.build_step())
    return root, image, source


def tree(root):
    """Type, mode, size, text or target of everything below `root`."""
    found = {}
    for folder, folders, files in os.walk(root):
        for name in folders + files:
            path = Path(folder, name)
            status = path.lstat()
            held = path.read_bytes() if stat.S_ISREG(status.st_mode) else ""
            found[str(path.relative_to(root))] = (status.st_mode, path.readlink() if path.is_symlink() else held)
    return found


def named(fault):
    return f"{fault.fault or fault.code}-{fault.name}-{fault.target}"


def test_each_code_has_a_planter():
    assert sorted({int(fault.code.removeprefix("GCD")) for fault in FAULTS}) == CODES


def test_each_planter_stands_once_for_each_target_and_says_which_fault_it_plants():
    assert len({named(fault) for fault in FAULTS}) == len(FAULTS)
    for fault in FAULTS:
        assert fault.plant.__doc__.startswith(f"{fault.fault}: " if fault.fault else "")


def test_targets_are_of_one_image_and_its_container(tmp_path):
    root, image, source = build(tmp_path / "docker")

    found = find_targets(root.path)

    assert set(found) == set(Target)
    assert found[Target.IMAGE] == image.id
    assert found[Target.LAYER] == image.top.chain_id
    assert found[Target.LAYER_DIR] == image.top.cache_id
    assert found[Target.BASE_LAYER] == image.layers[0].chain_id
    assert found[Target.BUILD_DIR] == found[Target.BUILD_RECORD] == source.dir_id
    mounts = root.path / "image/overlay2/layerdb/mounts" / found[Target.CONTAINER]
    assert (mounts / "parent").read_text() == image.top.chain_id
    assert (mounts / "mount-id").read_text() == found[Target.RW_DIR]


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if not fault.needs_root], ids=named)
def test_planter_changes_the_root_and_names_what_it_hurt(fault, tmp_path):
    root, _, _ = build(tmp_path / "docker")
    before, target = tree(root.path), find_targets(root.path)[fault.target]

    node = fault.plant(root.path, target)

    after = tree(root.path)
    assert after != before
    assert node.id
    if "add_" in fault.name:
        new = {name.split("/")[-1] for name in after.keys() - before.keys()} | {
            name.split("/")[-2] for name in after.keys() - before.keys() if "/" in name
        }
        assert node.id.removeprefix("sha256:") in new
        assert before.items() <= after.items()


def test_the_same_planter_may_plant_twice_in_one_root(tmp_path):
    root, _, _ = build(tmp_path / "docker")
    for fault in FAULTS:
        if (
            "add_" in fault.name
            and fault.target is Target.ROOT
            and "dormant" not in fault.name
            and "probe" not in fault.name
        ):
            assert fault.plant(root.path, "") != fault.plant(root.path, "")


def test_forgotten_build_record_leaves_its_lease_and_the_other_records(tmp_path):
    root, _, source = build(tmp_path / "docker")
    before = read_records((root.path / "buildkit/metadata_v2.db").read_bytes())

    fault = next(fault for fault in FAULTS if fault.name == "forget_build_record")
    fault.plant(root.path, source.dir_id)

    after = read_records((root.path / "buildkit/metadata_v2.db").read_bytes())
    assert after == {name: record for name, record in before.items() if name != source.dir_id}
    assert source.dir_id in read_leases((root.path / "buildkit/containerdmeta.db").read_bytes())


@pytest.mark.root
def test_leaked_mount_is_in_the_mount_table_until_it_is_undone(tmp_path):
    root, _, _ = build(tmp_path / "docker")
    (fault,) = (fault for fault in FAULTS if fault.needs_root)
    target = find_targets(root.path)[fault.target]

    fault.plant(root.path, target)
    mounted = f"{target}/merged" in Path("/proc/self/mountinfo").read_text()
    fault.undo(root.path, target)

    assert mounted
    assert f"{target}/merged" not in Path("/proc/self/mountinfo").read_text()


def test_two_engines_are_processes_called_dockerd(tmp_path):
    root, _, _ = build(tmp_path / "docker")

    with two_engines(root.path) as pids:
        assert [Path(f"/proc/{pid}/comm").read_text() for pid in pids] == ["dockerd\n", "dockerd\n"]

    assert [Path(f"/proc/{pid}").exists() for pid in pids] == [False, False]
