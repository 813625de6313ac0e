"""What makes a value unproven, so that it is not written: each condition of safety rules S12, S13, S15 and S16."""

from __future__ import annotations

import json
import os
import shutil
import time

import pytest
from msgspec.structs import replace
from support.mending import lose_config_that_was_being_written, lose_host_config_that_was_being_written

from gcd.demo.faults import containers, images, layers, overlay2
from gcd.demo.faults.fault import Target, cache_id_of, link_of, lower_links
from gcd.demo.placing import put_file
from gcd.mends.mending import Consent, Mending, Unproven
from gcd.model.facts import Engine, EngineState, KernelMount
from gcd.model.inventory import Coverage, Source, SourceState
from gcd.model.plan import DropReference, MakeDirectory, MakeSymlink, Reason, SetAside, WriteFile

FARM = MakeDirectory("overlay2/l", 0o700, "overlay2")


@pytest.fixture
def root(patient):
    return patient.root


@pytest.fixture
def layer_dir(patient):
    return patient.targets[Target.LAYER_DIR]


@pytest.fixture
def rw_dir(patient):
    return patient.targets[Target.RW_DIR]


@pytest.fixture
def layer(patient):
    return patient.targets[Target.LAYER]


@pytest.fixture
def container(patient):
    return patient.targets[Target.CONTAINER]


@pytest.fixture
def base(root, patient):
    """The dir of the base layer below `layer_dir`."""
    return cache_id_of(root, patient.targets[Target.BASE_LAYER])


def running(inventory):
    return replace(inventory, engine=Engine(EngineState.RUNNING, pid=1, epoch_ns=time.time_ns() + 10**12))


def mounting(*dirs):
    mount = KernelMount("/m", "overlay", "mnt:[1]", (7,), "sleep", frozenset(dirs), frozenset(), None)
    return lambda inventory: replace(inventory, mounts=(mount,))


def lacking(source):
    state = SourceState(Coverage.PARTIAL, "EACCES")
    return lambda inventory: replace(inventory, sources={**inventory.sources, source: state})


def why(answers):
    (answer,) = answers
    assert isinstance(answer, Unproven), answer
    return answer.why


def path(layer_dir, name):
    return f"overlay2/{layer_dir}/{name}"


# --- the link farm ----------------------------------------------------------------------------------------------------


def test_103_not_if_another_dir_says_the_link_id_too(patient, root, layer_dir, base):
    link = link_of(root, layer_dir)
    overlay2.drop_link_symlink(root, layer_dir)
    put_file(root / path(base, "link"), link)

    told = {answer.why for answer in patient.mends("GCD103")}

    assert told == {f"{one} says that this is its link id, too" for one in (layer_dir, base)}


def test_103_not_if_a_lower_means_another_layer_by_it(patient, root, base):
    # The two link files were swapped, and one symlink is gone.
    above = link_of(root, base)
    overlay2.drop_link_symlink(root, base)
    swapped = cache_id_of(root, patient.targets[Target.LAYER])
    put_file(root / path(base, "link"), link_of(root, swapped))
    put_file(root / path(swapped, "link"), above)

    (answer,) = patient.mends("GCD103")

    assert answer.why.endswith(f" means {base} by it")


def test_103_what_builds_have_waits_for_the_engine_to_stop(patient, root):
    build = patient.targets[Target.BUILD_DIR]
    link = link_of(root, build)
    overlay2.drop_link_symlink(root, build)

    assert patient.mends("GCD103", change=running) == [
        Unproven(
            "it is neither an image's layer nor a container's: such are mended only with the engine stopped",
            Reason.ENGINE_RUNS,
        )
    ]
    assert patient.mends("GCD103") == [
        Mending((FARM, MakeSymlink(f"overlay2/l/{link}", f"../{build}/diff"))),
    ]


@pytest.mark.parametrize("target", [Target.LAYER_DIR, Target.RW_DIR])
def test_103_what_images_and_containers_have_does_not(patient, root, target):
    link = link_of(root, patient.targets[target])
    overlay2.drop_link_symlink(root, patient.targets[target])

    assert patient.mends("GCD103", change=running) == [
        Mending((FARM, MakeSymlink(f"overlay2/l/{link}", f"../{patient.targets[target]}/diff"))),
    ]


def test_105_not_if_it_points_to_a_dir_that_lost_its_own(patient, root, layer_dir, base):
    link = link_of(root, layer_dir)
    (root / "overlay2/l" / link).unlink()
    (root / "overlay2/l" / link).symlink_to(f"../{base}/diff")
    overlay2.empty_link_file(root, base)

    assert why(patient.mends("GCD105")) == f"it points to {base}, which lost its link id and may be the one"


def test_106_not_if_symlink_and_children_disagree(patient, root, base):
    # The symlink of the dir was renamed: its children still name the old one.
    link = link_of(root, base)
    overlay2.empty_link_file(root, base)
    (root / "overlay2/l" / link).rename(root / "overlay2/l" / ("Z" * 26))

    assert why(patient.mends("GCD106")) == "2 link ids could be its own"


def test_106_not_if_another_dir_says_it(patient, root, layer_dir, base):
    link = link_of(root, layer_dir)
    overlay2.empty_link_file(root, layer_dir)
    put_file(root / path(base, "link"), link)

    assert f"{base} says that this is its link id, too" in [a.why for a in patient.mends("GCD106")]


def test_106_not_what_gcd_may_not_read(patient, root, layer_dir):
    (root / path(layer_dir, "link")).unlink()
    (root / path(layer_dir, "link")).symlink_to("/etc/hostname")

    said = "what is in its place is not known to be damaged: malformed: a symlink"
    assert why(patient.mends("GCD106")) == said


def test_110_not_without_a_diff_to_own_it_as(patient, root, rw_dir):
    overlay2.drop_work_dir(root, rw_dir)
    overlay2.drop_diff_dir(root, rw_dir)

    assert why(patient.mends("GCD110")) == "its diff, whose owner it must have, is missing too"


def test_112_not_if_a_dir_has_no_link_id(patient, root, layer_dir):
    overlay2.turn_link_farm_into_file(root, "")
    overlay2.empty_link_file(root, layer_dir)

    assert why(patient.mends("GCD112")) == f"1 layer dirs have no readable link file, the first is {layer_dir}"


def test_112_not_if_two_dirs_have_the_same(patient, root, layer_dir, base):
    link = link_of(root, layer_dir)
    put_file(root / path(base, "link"), link)
    overlay2.turn_link_farm_into_file(root, "")

    assert why(patient.mends("GCD112")) == f"several layer dirs say that {link} is their link id"


# --- lower ------------------------------------------------------------------------------------------------------------


def test_107_not_while_it_is_mounted(patient, root, layer_dir):
    overlay2.drop_lower(root, layer_dir)

    assert patient.mends("GCD107", change=mounting(layer_dir)) == [
        Unproven("pid 7 (sleep) has it mounted", Reason.IN_USE)
    ]


def test_107_not_while_mounts_are_not_known(patient, root, layer_dir):
    overlay2.drop_lower(root, layer_dir)

    assert patient.mends("GCD107", change=lacking(Source.MOUNTS)) == [
        Unproven("mounts could not be read completely: EACCES", Reason.NOT_CHECKED)
    ]


def test_107_not_before_what_is_below_it(patient, root, rw_dir):
    overlay2.drop_lower(root, f"{rw_dir}-init")
    overlay2.drop_lower(root, rw_dir)

    answers = patient.mends("GCD107")

    assert Unproven(f"{rw_dir}-init, which is below it, must be mended first") in answers
    assert len([answer for answer in answers if isinstance(answer, Mending)]) == 1
    assert len(patient.mended("GCD107")) == 2
    assert patient.findings() == ()


def test_107_not_if_a_child_says_otherwise(patient, root, layer_dir, rw_dir):
    links = lower_links(root, f"{rw_dir}-init")
    overlay2.drop_lower(root, layer_dir)
    put_file(root / path(f"{rw_dir}-init", "lower"), ":".join(f"l/{link}" for link in links[:3]))

    assert why(patient.mends("GCD107")) == f"the lower file of {rw_dir}-init, which is above it, differs"


def test_107_a_child_that_was_cut_short_meanwhile_says_nothing(patient, root, layer_dir, rw_dir):
    links = lower_links(root, f"{rw_dir}-init")
    overlay2.drop_lower(root, layer_dir)
    put_file(root / path(f"{rw_dir}-init", "lower"), f"l/{links[0]}")

    assert patient.mends("GCD107") == [
        Mending(
            (
                WriteFile(
                    path(layer_dir, "lower"),
                    ":".join(f"l/{link}" for link in links[1:]).encode(),
                    path(min(lower.parent.name for lower in (root / "overlay2").glob("*/lower")), "lower"),
                ),
            )
        )
    ]


def test_108_not_if_what_is_left_names_other_layers(patient, root, layer_dir):
    links = lower_links(root, layer_dir)
    put_file(root / path(layer_dir, "lower"), f"l:l/{links[1]}:l/{link_of(root, layer_dir)}")

    assert why(patient.mends("GCD108")) == "what is left of it names other layers"


# --- layer records ----------------------------------------------------------------------------------------------------


def forget_images(root):
    """No image config tells of the layers any more."""
    shutil.rmtree(root / "image/overlay2/imagedb/content/sha256")
    (root / "image/overlay2/imagedb/content/sha256").mkdir()


def test_203_not_without_an_image_config(patient, root, layer):
    layers.empty_diff_id(root, layer)
    forget_images(root)

    assert why(patient.mends("GCD203")) == "no image config tells its diff id"


def test_204_any_number_will_do_where_the_tar_split_is_lost(patient, root, layer):
    layers.empty_size(root, layer)
    layers.cut_tar_split(root, layer)
    record = f"image/overlay2/layerdb/sha256/{layer.removeprefix('sha256:')}"

    assert patient.mends("GCD204") == [Mending((WriteFile(f"{record}/size", b"0", f"{record}/cache-id"),))]


def test_204_what_the_engine_will_do_is_foretold(patient, root, layer, container):
    layers.empty_size(root, layer)
    set_policy(root, container, restart="always")

    assert [answer.foretold for answer in patient.mends("GCD204")] == [
        "At its next start the engine may start web (restart policy 'always')."
    ]


def test_204_not_if_a_container_would_be_removed_by_it(patient, root, layer, container, rw_dir):
    layers.empty_size(root, layer)
    set_policy(root, container, auto_remove=True)

    said = (
        "web has AutoRemove: at its next start the engine removes it and all that it wrote; "
        f"save overlay2/{rw_dir}/diff first, then say so"
    )
    assert patient.mends("GCD204") == [Unproven(said, Reason.POLICY)]


def test_205_a_record_that_hashes_is_enough(patient, root, layer):
    parent = (record_of(root, layer) / "parent").read_text()
    layers.empty_parent(root, layer)
    forget_images(root)

    (answer,) = patient.mends("GCD205")

    assert answer.changes[0].content == parent.encode()


def test_205_not_if_nothing_hashes_to_the_chain_id(patient, root, layer):
    parent = (record_of(root, layer) / "parent").read_text()
    layers.drop_parent(root, layer)
    forget_images(root)
    shutil.rmtree(record_of(root, parent))

    assert why(patient.mends("GCD205")) == "no image config and no layer record tells its parent"


def test_205_not_before_its_parent_loads(patient, root, layer):
    parent = (record_of(root, layer) / "parent").read_text()
    layers.drop_parent(root, layer)
    layers.empty_size(root, parent)

    said = f"its parent {parent} must be mended first: the engine does not load it"
    assert why(patient.mends("GCD205")) == said
    assert patient.mended("GCD204") == [""]
    assert patient.mended("GCD205") == [""]
    assert patient.findings() == ()


@pytest.mark.root
def test_206_not_if_two_dirs_have_the_content(patient, root, layer, layer_dir):
    layers.empty_cache_id(root, layer)
    other = "f" * 64
    shutil.copytree(root / path(layer_dir, ""), root / path(other, ""), symlinks=True)
    put_file(root / path(other, "link"), "Z" * 26)
    (root / "overlay2/l" / ("Z" * 26)).symlink_to(f"../{other}/diff")

    assert why(patient.mends("GCD206")).startswith("2 dirs have its content, the first is ")


@pytest.mark.root
def test_206_not_if_the_content_differs(patient, root, layer, layer_dir):
    layers.empty_cache_id(root, layer)
    (root / path(layer_dir, "diff/new")).write_bytes(b"")

    said = f"{layer_dir} could be its dir, but new in it is not in the tar-split"
    assert why(patient.mends("GCD206")) == said


def test_206_not_a_dir_that_builds_name(patient, root, layer, layer_dir):
    layers.empty_cache_id(root, layer)

    def named_by_a_build(inventory):
        cache = replace(inventory.build_cache, named=inventory.build_cache.named | {layer_dir})
        return replace(inventory, build_cache=cache)

    said = "no dir that nothing names stands on its chain"
    assert why(patient.mends("GCD206", change=named_by_a_build)) == said


@pytest.mark.parametrize("source", [Source.BUILD_SNAPSHOTS, Source.RW_LAYERS, Source.MOUNTS])
def test_206_not_while_something_may_name_it(patient, root, layer, source):
    layers.empty_cache_id(root, layer)

    assert patient.mends("GCD206", change=lacking(source)) == [
        Unproven(f"{source} could not be read completely: EACCES", Reason.NOT_CHECKED)
    ]


def test_206_not_if_the_tar_split_is_lost(patient, root, layer):
    layers.empty_cache_id(root, layer)
    layers.cut_tar_split(root, layer)

    said = "by its tar-split no file of it has content, and only content tells one dir from another"
    assert why(patient.mends("GCD206")) == said


@pytest.mark.root
def test_206_not_a_dir_that_is_mounted(patient, root, layer, layer_dir):
    layers.empty_cache_id(root, layer)

    assert patient.mends("GCD206", change=mounting(layer_dir)) == [
        Unproven(f"its dir {layer_dir} is mounted", Reason.IN_USE)
    ]


# --- rw layers --------------------------------------------------------------------------------------------------------


def test_301_not_where_the_init_id_is_lost_too(patient, root, container):
    containers.empty_mount_id(root, container)
    containers.empty_init_id(root, container)

    assert why(patient.mends("GCD301")) == "its init id is lost too, and a free pair of dirs may be another container's"


@pytest.mark.parametrize("code", ["GCD301", "GCD302"])
def test_301_302_not_while_builds_may_name_the_dirs(patient, root, container, code):
    {"GCD301": containers.empty_mount_id, "GCD302": containers.empty_init_id}[code](root, container)

    assert patient.mends(code, change=lacking(Source.BUILD_LEASES)) == [
        Unproven("build-leases could not be read completely: EACCES", Reason.NOT_CHECKED)
    ]


def test_302_not_if_the_lower_begins_otherwise(patient, root, container, rw_dir):
    containers.empty_init_id(root, container)
    overlay2.reverse_lower(root, rw_dir)

    said = "the lower file of its rw dir does not begin with the link of its init dir"
    assert why(patient.mends("GCD302")) == said


def test_303_not_if_the_lower_spells_another_chain(patient, root, container, rw_dir):
    containers.empty_rw_parent(root, container)
    overlay2.reverse_lower(root, f"{rw_dir}-init")

    said = "no one chain that loads is spelled by the lower file of its init dir"
    assert why(patient.mends("GCD303")) == said


def test_303_not_if_the_chain_does_not_load(patient, root, container, layer):
    containers.empty_rw_parent(root, container)
    layers.empty_size(root, layer)

    said = "no one chain that loads is spelled by the lower file of its init dir"
    assert why(patient.mends("GCD303")) == said


LOSSES = {
    "GCD301": containers.empty_mount_id,
    "GCD302": containers.empty_init_id,
    "GCD303": containers.empty_rw_parent,
    "GCD307": lose_config_that_was_being_written,
}


@pytest.mark.parametrize("code", LOSSES)
def test_a_container_that_would_be_removed_is_mended_only_if_the_owner_says_so(patient, root, container, code):
    set_policy(root, container, auto_remove=True)
    LOSSES[code](root, container)

    (answer,) = patient.mends(code)
    (agreed,) = patient.mends(code, Consent(auto_remove=True))

    assert answer.reason is Reason.POLICY
    assert " has AutoRemove: at its next start the engine removes it and all that it wrote; " in answer.why
    assert agreed.foretold.startswith("At its next start the engine removes ")
    assert agreed.foretold.endswith(" and all that it wrote (AutoRemove).")


@pytest.mark.parametrize("code", LOSSES)
@pytest.mark.parametrize("policy", ["always", "unless-stopped", "on-failure"])
def test_that_a_container_may_be_started_is_foretold(patient, root, container, code, policy):
    set_policy(root, container, restart=policy)
    LOSSES[code](root, container)

    (answer,) = patient.mends(code)

    name = container[:12] if code == "GCD307" else "web"
    assert answer.foretold == f"At its next start the engine may start {name} (restart policy '{policy}')."


def set_policy(root, container, *, restart="no", auto_remove=False):
    file = root / "containers" / container / "hostconfig.json"
    config = json.loads(file.read_bytes())
    config["RestartPolicy"]["Name"] = restart
    config["AutoRemove"] = auto_remove
    put_file(file, json.dumps(config))


# --- containers -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["config.v2.json", "hostconfig.json"])
def test_307_takes_the_copy_and_leaves_none_behind(patient, root, container, name):
    whole = (root / "containers" / container / name).read_bytes()
    losses = {
        "config.v2.json": lose_config_that_was_being_written,
        "hostconfig.json": lose_host_config_that_was_being_written,
    }
    losses[name](root, container)
    copy = f"containers/{container}/.tmp-{name}481516234"

    assert patient.mends("GCD307") == [
        Mending((WriteFile(f"containers/{container}/{name}", whole, copy), SetAside(copy))),
    ]
    patient.mended("GCD307")
    assert patient.findings() == ()


def test_307_an_older_copy_is_none(patient, root, container):
    lose_config_that_was_being_written(root, container)
    os.truncate(root / "containers" / container / "config.v2.json", 0)
    while not is_younger(root / "containers" / container / "config.v2.json"):
        put_file(root / "containers" / container / "config.v2.json", b"", 0o600)

    said = f"no newer valid copy of containers/{container}/config.v2.json is beside it"
    assert why(patient.mends("GCD307")) == said


def is_younger(file):
    return file.stat().st_mtime_ns > file.with_name(f".tmp-{file.name}481516234").stat().st_mtime_ns


def test_307_a_newest_copy_that_is_half_is_passed_over(patient, root, container):
    lose_config_that_was_being_written(root, container)
    put_file(root / "containers" / container / ".tmp-config.v2.json999", b'{"ID":', 0o600)

    (answer,) = patient.mends("GCD307")

    assert answer.changes[1] == SetAside(f"containers/{container}/.tmp-config.v2.json481516234")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"ID": "0" * 64}, "its newest copy is not one of this container"),
        ({"Config": None}, "its newest copy is not one of this container"),
        ({"State": {"Dead": True}}, "its newest copy says that its removal was begun"),
        ({"State": {"RemovalInProgress": True}}, "its newest copy says that its removal was begun"),
    ],
)
def test_307_a_copy_that_is_not_to_be_had(patient, root, container, change, said):
    lose_config_that_was_being_written(root, container)
    copy = root / "containers" / container / ".tmp-config.v2.json481516234"
    put_file(copy, json.dumps({**json.loads(copy.read_bytes()), **change}), 0o600)

    assert why(patient.mends("GCD307")) == said


# --- references -------------------------------------------------------------------------------------------------------

FILE = "image/overlay2/repositories.json"


def images_by_name(root):
    store = json.loads((root / FILE).read_bytes())["Repositories"]
    return {name: image for references in store.values() for name, image in references.items()}


LOST = [images.empty_repositories, images.drop_repositories, images.clear_repositories]


@pytest.mark.parametrize("lose", LOST)
def test_403_404_names_that_containers_prove_and_held_images(patient, root, lose):
    names = images_by_name(root)
    lose(root, "")
    code = "GCD403" if lose is images.empty_repositories else "GCD404"

    (answer,) = patient.mends(code)
    patient.mended(code)

    held = names["other:1"].removeprefix("sha256:")[:12]
    assert images_by_name(root) == {
        "web:1": names["web:1"],
        "sparse:1": names["sparse:1"],
        f"gcd-recovered/{held}:latest": names["other:1"],
    }
    assert answer.foretold == ("The engine then lists 2 proven names, and as gcd-recovered/<id> what has none: 1.")
    assert patient.findings() == ()
    assert (root / FILE).stat().st_mode & 0o777 == 0o600


def test_404_without_holding(patient, root):
    names = images_by_name(root)
    images.drop_repositories(root, "")

    patient.mended("GCD404", Consent(hold=False))

    assert images_by_name(root) == {"web:1": names["web:1"], "sparse:1": names["sparse:1"]}


@pytest.mark.parametrize("source", [Source.CONTAINERS])
def test_404_not_while_a_container_may_say_otherwise(patient, root, source):
    images.drop_repositories(root, "")

    assert patient.mends("GCD404", change=lacking(source)) == [
        Unproven(f"{source} could not be read completely: EACCES", Reason.NOT_CHECKED)
    ]


def test_404_a_name_that_containers_do_not_agree_upon_is_not_given(patient, root, container):
    names = images_by_name(root)
    idle = other_than(root, container)
    file = root / "containers" / idle / "config.v2.json"
    config = json.loads(file.read_bytes())
    config["Config"]["Image"] = "web:1"
    put_file(file, json.dumps(config), 0o600)
    images.drop_repositories(root, "")

    patient.mended("GCD404")

    assert images_by_name(root) == {
        f"gcd-recovered/{image.removeprefix('sha256:')[:12]}:latest": image for image in names.values()
    }


@pytest.mark.parametrize("content", [b'{"Repositories":', b'{"Repositories":{}}'])
def test_403_a_copy_that_is_half_or_holds_no_names_is_not_taken(patient, root, content):
    names = images_by_name(root)
    images.cut_repositories(root, "")
    copy = next((root / "image/overlay2").glob(".tmp-repositories*"))
    put_file(copy, content, 0o600)

    patient.mended("GCD403")

    assert images_by_name(root)["web:1"] == names["web:1"]
    assert copy.exists()


def test_405_only_the_one_that_is_named(patient, root):
    images.name_missing_image(root, "")
    images.name_missing_image_by_digest(root, "")
    names = images_by_name(root)
    gone = [name for name in names if name.startswith("gone")]

    answers = patient.mends("GCD405")

    assert {answer.changes for answer in answers} == {(DropReference(FILE, name, names[name]),) for name in gone}


def other_than(root, container):
    """The other container of the root."""
    return next(path.name for path in (root / "containers").iterdir() if path.name != container)


def record_of(root, chain):
    return root / "image/overlay2/layerdb/sha256" / chain.removeprefix("sha256:")
