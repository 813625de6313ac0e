"""GCD301 to GCD304, 306 and 310: rw layer records."""

from __future__ import annotations

import hashlib

import pytest
from msgspec.structs import replace
from support.inventories import (
    BASE_CHAIN,
    BASE_DIFF,
    BASE_LINK,
    CONTAINER,
    INIT_DIR,
    INIT_LINK,
    OLD_NS,
    RW_DIR,
    RW_LAYER,
    RW_LINK,
    TOP_CHAIN,
    TOP_LINK,
    YOUNG_NS,
    build_id,
    container,
    container_config,
    dir_id,
    faults,
    healthy_inventory,
    hex64,
    image,
    init_id,
    layer,
    layer_dir,
    link_id,
    rw_layer,
    symlink,
    with_records,
    without,
)

from gcd.model.facts import BadElement, HostConfig, ImageMountPoint, KernelMount, Lower
from gcd.model.finding import Node, NodeKind, Severity
from gcd.model.ids import RwLayerName
from gcd.model.inventory import Source
from gcd.model.reading import ABSENT, EMPTY, Malformed, Present, Unreadable
from gcd.rules import rwlayers

RECORD = f"image/overlay2/layerdb/mounts/{RW_LAYER}"
NO_HEX = Malformed("64 hex digits", "'xyz'")
RW_NODE = Node(NodeKind.RW_LAYER, RW_LAYER)
GHOST = RwLayerName(hex64("ghost"))
PAIR_PATHS = (
    f"overlay2/{RW_DIR}",
    f"overlay2/l/{RW_LINK}",
    f"overlay2/{INIT_DIR}",
    f"overlay2/l/{INIT_LINK}",
)


def removing(**flags):
    """The healthy root with its container on the way out."""
    return with_records(healthy_inventory(), container(config=Present(container_config(**flags))))


def second_pair(word: str = "other", below: tuple[str, ...] = (TOP_LINK, BASE_LINK)) -> tuple[object, ...]:
    """A pair of dirs that no record names."""
    init_link, rw_link = link_id(f"{word} init"), link_id(f"{word} rw")
    return (
        layer_dir(init_id(word), init_link, below),
        layer_dir(dir_id(word), rw_link, (init_link, *below)),
        symlink(init_link, init_id(word)),
        symlink(rw_link, dir_id(word)),
    )


def mounted(dirs: frozenset[str]) -> KernelMount:
    return KernelMount("/mnt", "overlay", "4026531840", (1,), "runc", dirs, frozenset(), None)


@pytest.mark.parametrize("check", rwlayers.RULES, ids=lambda rule: rule.code)
class TestEveryRule:
    def test_silent_on_a_healthy_container(self, check):
        assert faults(check, healthy_inventory(), RW_LAYER) == []

    def test_silent_on_a_record_that_vanished(self, check):
        assert faults(check, healthy_inventory(), GHOST) == []

    def test_gives_the_age_of_the_record(self, check):
        """Records are written in passing: without their age a young one could not be told from damage (S5)."""
        damaged = {
            "GCD301": with_records(healthy_inventory(), rw_layer(mount_id=EMPTY, ctime_ns=7)),
            "GCD302": with_records(healthy_inventory(), rw_layer(init_id=EMPTY, ctime_ns=7)),
            "GCD303": with_records(healthy_inventory(), rw_layer(parent=None, ctime_ns=7)),
            "GCD304": without(
                with_records(healthy_inventory(), rw_layer(ctime_ns=7)), Node(NodeKind.CONTAINER, CONTAINER)
            ),
            "GCD306": without(
                with_records(healthy_inventory(), rw_layer(ctime_ns=7)), Node(NodeKind.LAYER_DIR, RW_DIR)
            ),
            "GCD310": without(
                with_records(healthy_inventory(), rw_layer(init_id=ABSENT, ctime_ns=7)),
                Node(NodeKind.CONTAINER, CONTAINER),
                Node(NodeKind.LAYER_DIR, INIT_DIR),
            ),
        }[check.code]

        assert [fault.since_ns for fault in faults(check, damaged, RW_LAYER)] == [7]

    def test_needs_the_containers(self, check):
        """Without them neither a removal under way nor an owner could be seen."""
        assert {Source.RW_LAYERS, Source.CONTAINERS, Source.OVERLAY2} <= check.needs


@pytest.mark.parametrize("flags", [{"dead": True}, {"removal_in_progress": True}])
@pytest.mark.parametrize(
    ("check", "change"),
    [
        (rwlayers.unreadable_mount_id, {"mount_id": ABSENT}),
        (rwlayers.unreadable_init_id, {"init_id": EMPTY}),
        (rwlayers.lost_rw_parent, {"parent": None}),
        (rwlayers.missing_rw_dir, {"mount": dir_id("gone")}),
    ],
)
def test_a_removal_under_way_is_no_damage(check, change, flags):
    """``docker rm`` of a big container takes minutes, and its record goes file by file (S8)."""
    damaged = rw_layer(**change)

    assert faults(check, with_records(removing(**flags), damaged), RW_LAYER) == []
    assert len(faults(check, with_records(healthy_inventory(), damaged), RW_LAYER)) == 1


class TestUnreadableMountId:
    check = rwlayers.unreadable_mount_id

    @pytest.mark.parametrize("reading", [ABSENT, EMPTY, NO_HEX, Unreadable("EIO")])
    def test_the_init_id_proves_it(self, reading):
        inventory = with_records(healthy_inventory(), rw_layer(mount_id=reading))

        (fault,) = faults(self.check, inventory, RW_LAYER)

        assert fault.subject == RW_NODE
        assert [item.where for item in fault.evidence] == [f"{RECORD}/mount-id"]
        assert [item.expected for item in fault.evidence] == [RW_DIR]
        assert [remedy.action for remedy in fault.remedies] == [f"printf %s {RW_DIR} > {RECORD}/mount-id"]

    def test_the_one_free_pair_on_the_image_proves_it(self):
        inventory = with_records(healthy_inventory(), rw_layer(mount_id=EMPTY, init_id=EMPTY))

        (fault,) = faults(self.check, inventory, RW_LAYER)

        assert [remedy.action for remedy in fault.remedies] == [f"printf %s {RW_DIR} > {RECORD}/mount-id"]

    def test_of_two_free_pairs_none_is_taken(self):
        inventory = with_records(healthy_inventory(), rw_layer(mount_id=EMPTY, init_id=EMPTY), *second_pair())

        (fault,) = faults(self.check, inventory, RW_LAYER)

        assert fault.remedies == ()

    def test_a_free_pair_on_another_image_is_not_taken(self):
        inventory = with_records(
            without(healthy_inventory(), Node(NodeKind.LAYER_DIR, RW_DIR), Node(NodeKind.LAYER_DIR, INIT_DIR)),
            rw_layer(mount_id=EMPTY, init_id=EMPTY),
            *second_pair(below=(BASE_LINK,)),
        )

        assert faults(self.check, inventory, RW_LAYER)[0].remedies == ()

    def test_a_pair_that_another_record_names_is_not_taken(self):
        inventory = with_records(healthy_inventory(), rw_layer(mount_id=EMPTY), rw_layer(GHOST, RW_DIR))

        assert faults(self.check, inventory, RW_LAYER)[0].remedies == ()

    def test_a_rw_dir_that_does_not_stand_on_its_init_dir_proves_nothing(self):
        inventory = with_records(
            healthy_inventory(),
            rw_layer(mount_id=EMPTY),
            layer_dir(RW_DIR, RW_LINK, (TOP_LINK, BASE_LINK)),
        )

        assert faults(self.check, inventory, RW_LAYER)[0].remedies == ()

    @pytest.mark.parametrize(
        "below", [ABSENT, Present(Lower((INIT_LINK, TOP_LINK), (BadElement(2, "l/"),)))], ids=["no lower", "bad lower"]
    )
    def test_a_rw_dir_whose_own_lower_is_lost_proves_nothing(self, below):
        inventory = with_records(healthy_inventory(), rw_layer(mount_id=EMPTY), layer_dir(RW_DIR, RW_LINK, below))

        (fault,) = faults(self.check, inventory, RW_LAYER)

        assert fault.remedies == ()
        assert [item.expected for item in fault.evidence] == ["64 hex digits"]

    def test_an_init_id_whose_rw_dir_is_gone_proves_nothing(self):
        inventory = without(
            with_records(healthy_inventory(), rw_layer(mount_id=EMPTY)), Node(NodeKind.LAYER_DIR, RW_DIR)
        )

        assert faults(self.check, inventory, RW_LAYER)[0].remedies == ()

    def test_a_free_pair_on_layers_of_the_same_number_is_not_taken(self):
        inventory = with_records(
            without(healthy_inventory(), Node(NodeKind.LAYER_DIR, RW_DIR), Node(NodeKind.LAYER_DIR, INIT_DIR)),
            rw_layer(mount_id=EMPTY, init_id=EMPTY),
            *second_pair(below=(BASE_LINK, TOP_LINK)),
        )

        assert faults(self.check, inventory, RW_LAYER)[0].remedies == ()

    def test_a_free_pair_with_a_damaged_lower_is_not_taken(self):
        broken = Present(Lower((TOP_LINK, BASE_LINK), (BadElement(2, "l/"),)))
        inventory = with_records(
            healthy_inventory(), rw_layer(mount_id=EMPTY, init_id=EMPTY), layer_dir(INIT_DIR, INIT_LINK, broken)
        )

        assert faults(self.check, inventory, RW_LAYER)[0].remedies == ()

    def test_with_all_three_files_lost_nothing_is_proven(self):
        inventory = with_records(healthy_inventory(), rw_layer(mount_id=EMPTY, init_id=EMPTY, parent=None))
        inventory = with_records(inventory, replace(inventory.rw_layers[RW_LAYER], parent=EMPTY))

        assert faults(self.check, inventory, RW_LAYER)[0].remedies == ()

    def test_a_pair_that_is_mounted_is_still_this_records(self):
        inventory = replace(
            with_records(healthy_inventory(), rw_layer(mount_id=EMPTY)), mounts=(mounted(frozenset({RW_DIR})),)
        )

        assert len(faults(self.check, inventory, RW_LAYER)[0].remedies) == 1

    def test_the_remedy_needs_no_host_config(self):
        inventory = with_records(healthy_inventory(), rw_layer(mount_id=EMPTY), container(host_config=ABSENT))

        (fault,) = faults(self.check, inventory, RW_LAYER)

        assert [remedy.action for remedy in fault.remedies] == [f"printf %s {RW_DIR} > {RECORD}/mount-id"]

    @pytest.mark.parametrize(
        ("host", "warning"),
        [
            (HostConfig(auto_remove=True, restart_policy="no"), "AutoRemove"),
            (HostConfig(auto_remove=False, restart_policy="always"), "restart policy is 'always'"),
        ],
    )
    def test_the_remedy_says_what_the_engine_will_do(self, host, warning):
        inventory = with_records(healthy_inventory(), rw_layer(mount_id=EMPTY), container(host_config=Present(host)))

        assert warning in faults(self.check, inventory, RW_LAYER)[0].remedies[0].action


class TestUnreadableInitId:
    check = rwlayers.unreadable_init_id

    @pytest.mark.parametrize("reading", [EMPTY, NO_HEX, Unreadable("EIO")])
    def test_damaged(self, reading):
        (fault,) = faults(self.check, with_records(healthy_inventory(), rw_layer(init_id=reading)), RW_LAYER)

        assert fault.severity is None
        assert "the engine does not load it" in fault.summary
        assert [item.expected for item in fault.evidence] == [INIT_DIR]
        assert [remedy.action for remedy in fault.remedies] == [f"printf %s {INIT_DIR} > {RECORD}/init-id"]

    def test_missing_beside_its_dir_is_a_warning(self):
        (fault,) = faults(self.check, with_records(healthy_inventory(), rw_layer(init_id=ABSENT)), RW_LAYER)

        assert fault.severity is Severity.WARNING
        assert fault.summary == "This rw layer record does not name its init dir, which is there."
        assert [remedy.action for remedy in fault.remedies] == [f"printf %s {INIT_DIR} > {RECORD}/init-id"]

    def test_a_record_without_init_layer_is_healthy(self):
        inventory = without(
            with_records(healthy_inventory(), rw_layer(init_id=ABSENT)), Node(NodeKind.LAYER_DIR, INIT_DIR)
        )

        assert faults(self.check, inventory, RW_LAYER) == []

    def test_without_mount_id_nothing_is_known_of_a_missing_one(self):
        inventory = with_records(healthy_inventory(), rw_layer(mount_id=EMPTY, init_id=ABSENT))

        assert faults(self.check, inventory, RW_LAYER) == []

    def test_no_repair_where_the_init_dir_is_gone(self):
        inventory = without(
            with_records(healthy_inventory(), rw_layer(init_id=EMPTY)), Node(NodeKind.LAYER_DIR, INIT_DIR)
        )

        (fault,) = faults(self.check, inventory, RW_LAYER)

        assert fault.remedies == ()
        assert [item.expected for item in fault.evidence] == ["64 hex digits and -init"]


class TestLostRwParent:
    check = rwlayers.lost_rw_parent

    @pytest.mark.parametrize("reading", [EMPTY, NO_HEX, Unreadable("EIO")])
    def test_damaged(self, reading):
        inventory = with_records(healthy_inventory(), replace(rw_layer(), parent=reading))

        (fault,) = faults(self.check, inventory, RW_LAYER)

        assert fault.summary == (
            "This rw layer record lost its parent, so the engine does not load it: "
            "no pull, load, rmi or prune before the repair."
        )
        assert fault.evidence[0].expected == TOP_CHAIN
        assert [remedy.action for remedy in fault.remedies] == [f"printf %s {TOP_CHAIN} > {RECORD}/parent"]

    def test_missing_though_the_init_dir_has_lowers(self):
        inventory = with_records(healthy_inventory(images={}), rw_layer(parent=None))

        (fault,) = faults(self.check, inventory, RW_LAYER)

        assert [remedy.action for remedy in fault.remedies] == [f"printf %s {TOP_CHAIN} > {RECORD}/parent"]
        assert [item.found for item in fault.evidence] == ["absent", "2 layers in lower"]
        assert "its image can be deleted under it" in fault.summary

    def test_missing_beside_a_lost_mount_id(self):
        """The init id tells of the pair as well."""
        inventory = with_records(healthy_inventory(images={}), rw_layer(parent=None, mount_id=EMPTY))

        (fault,) = faults(self.check, inventory, RW_LAYER)

        assert [remedy.action for remedy in fault.remedies] == [f"printf %s {TOP_CHAIN} > {RECORD}/parent"]

    def test_with_all_three_files_lost_the_image_tells(self):
        lost = rw_layer(parent=None, mount_id=EMPTY, init_id=EMPTY)

        (fault,) = faults(self.check, with_records(healthy_inventory(), lost), RW_LAYER)

        assert fault.remedies == ()
        assert faults(self.check, with_records(healthy_inventory(images={}), lost), RW_LAYER) == []

    def test_an_empty_one_is_damage_even_without_layers(self):
        inventory = with_records(
            healthy_inventory(), image(), layer_dir(INIT_DIR, INIT_LINK), replace(rw_layer(), parent=EMPTY)
        )

        (fault,) = faults(self.check, inventory, RW_LAYER)

        assert fault.remedies == ()
        assert [item.expected for item in fault.evidence] == ["sha256:<64 hex>"]

    def test_missing_though_the_image_has_layers(self):
        inventory = with_records(
            without(healthy_inventory(), Node(NodeKind.LAYER_DIR, RW_DIR), Node(NodeKind.LAYER_DIR, INIT_DIR)),
            rw_layer(parent=None),
        )

        (fault,) = faults(self.check, inventory, RW_LAYER)

        assert fault.remedies == ()

    def test_missing_on_an_image_without_layers_is_healthy(self):
        inventory = with_records(
            healthy_inventory(),
            image(),
            layer_dir(INIT_DIR, INIT_LINK),
            layer_dir(RW_DIR, RW_LINK, (INIT_LINK,)),
            rw_layer(parent=None),
        )

        assert faults(self.check, inventory, RW_LAYER) == []

    def test_without_init_layer_the_rw_dir_tells(self):
        bare = without(
            with_records(healthy_inventory(images={}), rw_layer(parent=None, init_id=ABSENT)),
            Node(NodeKind.LAYER_DIR, INIT_DIR),
        )
        on_layers = with_records(bare, layer_dir(RW_DIR, RW_LINK, (TOP_LINK, BASE_LINK)))
        on_nothing = with_records(bare, layer_dir(RW_DIR, RW_LINK))

        assert len(faults(self.check, on_layers, RW_LAYER)) == 1
        assert faults(self.check, on_nothing, RW_LAYER) == []

    def test_with_a_lost_init_dir_its_link_is_no_layer(self):
        inventory = without(
            with_records(healthy_inventory(images={}), layer_dir(RW_DIR, RW_LINK, (INIT_LINK,)), rw_layer(parent=None)),
            Node(NodeKind.LAYER_DIR, INIT_DIR),
        )

        assert faults(self.check, inventory, RW_LAYER) == []

    def test_no_repair_by_a_chain_that_does_not_load(self):
        """S12: a parent is written only if the whole chain loads, else a container that works would vanish."""
        inventory = with_records(
            healthy_inventory(), rw_layer(parent=None), replace(layer(BASE_DIFF, dir_id("base")), size=EMPTY)
        )

        assert faults(self.check, inventory, RW_LAYER)[0].remedies == ()

    def test_no_repair_by_a_chain_that_the_lower_does_not_spell(self):
        inventory = with_records(
            healthy_inventory(), rw_layer(parent=None), layer_dir(INIT_DIR, INIT_LINK, (TOP_LINK,))
        )

        assert faults(self.check, inventory, RW_LAYER)[0].remedies == ()

    def test_the_lower_decides_when_the_container_names_another_image(self):
        """``rmi -f`` and a new image under the old id cannot be; but a config may name what never was below."""
        inventory = with_records(
            healthy_inventory(),
            rw_layer(parent=None),
            image(BASE_DIFF),
        )

        (fault,) = faults(self.check, inventory, RW_LAYER)

        assert [remedy.action for remedy in fault.remedies] == [f"printf %s {TOP_CHAIN} > {RECORD}/parent"]
        assert BASE_CHAIN not in fault.remedies[0].action


class TestGhostRwLayer:
    check = rwlayers.ghost_rw_layer
    ghost = staticmethod(lambda: without(healthy_inventory(), Node(NodeKind.CONTAINER, CONTAINER)))

    def test_a_record_without_its_container(self):
        (fault,) = faults(self.check, self.ghost(), RW_LAYER)

        assert fault.subject == RW_NODE
        assert fault.paths == (RECORD, *PAIR_PATHS)
        assert [(item.where, item.found) for item in fault.evidence] == [(f"containers/{CONTAINER}", "absent")]

    def test_an_init_dir_that_the_record_does_not_name_makes_it_a_container(self):
        assert len(faults(self.check, with_records(self.ghost(), rw_layer(init_id=ABSENT)), RW_LAYER)) == 1

    def test_a_lost_mount_id_does_not_hide_it(self):
        assert len(faults(self.check, with_records(self.ghost(), rw_layer(mount_id=EMPTY)), RW_LAYER)) == 1

    def test_with_mount_id_and_init_id_lost_it_cannot_be_told(self):
        inventory = with_records(self.ghost(), rw_layer(mount_id=EMPTY, init_id=ABSENT))

        assert faults(self.check, inventory, RW_LAYER) == []
        assert faults(rwlayers.leaked_transient_rw_layer, inventory, RW_LAYER) == []

    def test_a_container_of_which_the_config_is_damaged_owns_it(self):
        assert faults(self.check, with_records(healthy_inventory(), container(config=EMPTY)), RW_LAYER) == []

    def test_a_record_without_rw_dir_holds_no_data(self):
        inventory = without(self.ghost(), Node(NodeKind.LAYER_DIR, RW_DIR))

        assert faults(self.check, inventory, RW_LAYER) == []
        assert [fault.severity for fault in faults(rwlayers.missing_rw_dir, inventory, RW_LAYER)] == [Severity.WARNING]

    def test_a_record_without_init_layer_is_no_containers(self):
        inventory = without(with_records(self.ghost(), rw_layer(init_id=ABSENT)), Node(NodeKind.LAYER_DIR, INIT_DIR))

        assert faults(self.check, inventory, RW_LAYER) == []


class TestMissingRwDir:
    check = rwlayers.missing_rw_dir

    @pytest.mark.parametrize(("gone", "word"), [(RW_DIR, "rw dir"), (INIT_DIR, "init dir")])
    def test_one_dir_is_gone(self, gone, word):
        (fault,) = faults(self.check, without(healthy_inventory(), Node(NodeKind.LAYER_DIR, gone)), RW_LAYER)

        assert fault.summary == f"The {word} of this rw layer record does not exist."
        assert [(item.where, item.found) for item in fault.evidence] == [(f"overlay2/{gone}", "absent")]
        assert (fault.severity, fault.remedies, fault.paths) == (None, (), ())

    def test_both_are_gone_and_the_container_too(self):
        inventory = without(
            healthy_inventory(),
            Node(NodeKind.LAYER_DIR, RW_DIR),
            Node(NodeKind.LAYER_DIR, INIT_DIR),
            Node(NodeKind.CONTAINER, CONTAINER),
        )

        (fault,) = faults(self.check, inventory, RW_LAYER)

        assert fault.summary == "The layer dirs of this rw layer record do not exist."
        assert (fault.severity, fault.remedies, fault.paths) == (Severity.WARNING, None, (RECORD,))


class TestLeakedTransientRwLayer:
    check = rwlayers.leaked_transient_rw_layer

    @staticmethod
    def leak(name: str, *more: object):
        return with_records(
            healthy_inventory(),
            rw_layer(name, dir_id("leak"), init_id=ABSENT),
            layer_dir(dir_id("leak"), link_id("leak"), (TOP_LINK, BASE_LINK)),
            symlink(link_id("leak"), dir_id("leak")),
            *more,
        )

    @pytest.mark.parametrize("name", [build_id("view"), hex64("copy")])
    def test_a_record_of_a_build(self, name):
        (fault,) = faults(self.check, self.leak(name), name)

        assert fault.paths == (
            f"image/overlay2/layerdb/mounts/{name}",
            f"overlay2/{dir_id('leak')}",
            f"overlay2/l/{link_id('leak')}",
        )
        assert fault.since_ns == OLD_NS

    def test_names_of_other_forms_are_left_alone(self):
        name = f"{hex64('gone')}-docker.io/library/app:1"

        assert faults(self.check, self.leak(name), name) == []

    def test_one_with_an_init_dir_is_a_containers(self):
        name = hex64("copy")
        inventory = self.leak(name, layer_dir(init_id("leak"), link_id("leak init"), (TOP_LINK, BASE_LINK)))

        assert faults(self.check, inventory, name) == []
        assert len(faults(rwlayers.ghost_rw_layer, inventory, name)) == 1

    def test_one_that_is_mounted_is_in_use(self):
        name = build_id("view")
        inventory = replace(self.leak(name), mounts=(mounted(frozenset({dir_id("leak")})),))

        assert faults(self.check, inventory, name) == []

    def test_one_whose_dir_is_gone_holds_nothing(self):
        name = build_id("view")
        inventory = without(self.leak(name), Node(NodeKind.LAYER_DIR, dir_id("leak")))

        assert faults(self.check, inventory, name) == []
        assert len(faults(rwlayers.missing_rw_dir, inventory, name)) == 1

    def test_a_young_one_says_so(self):
        name = build_id("view")
        inventory = self.leak(name, rw_layer(name, dir_id("leak"), init_id=ABSENT, ctime_ns=YOUNG_NS))

        assert [fault.since_ns for fault in faults(self.check, inventory, name)] == [YOUNG_NS]

    def test_needs_the_mounts(self):
        assert {Source.MOUNTS, Source.ENGINE} <= self.check.needs


SOURCE, DESTINATION = "app:latest", "/mnt/app"
SAID = f"{CONTAINER}-src={SOURCE}-dst={DESTINATION}"


class TestImageMounts:
    """Image mounts make rw layer records without a container of their name: four forms, none of them a leak."""

    @staticmethod
    def with_image_mount(name: str, mount: ImageMountPoint):
        config = Present(container_config(image_mounts=(mount,)))
        return with_records(TestLeakedTransientRwLayer.leak(name), container(config=config))

    @pytest.mark.parametrize(
        ("name", "said"),
        [
            (hex64("any"), hex64("any")),
            (f"{CONTAINER}-docker.io/library/app:latest", ""),
            (f"{CONTAINER},src={SOURCE},dst={DESTINATION}".encode().hex(), ""),
            (hashlib.sha256(SAID.encode()).hexdigest(), ""),
        ],
        ids=["said", "28", "29.0", "29.1.4"],
    )
    def test_owned_by_their_container(self, name, said):
        inventory = self.with_image_mount(name, ImageMountPoint(DESTINATION, said, SOURCE))
        with_init = with_records(inventory, rw_layer(name, dir_id("leak")))

        assert faults(rwlayers.leaked_transient_rw_layer, inventory, name) == []
        assert faults(rwlayers.ghost_rw_layer, with_init, name) == []

    @pytest.mark.parametrize(
        "name",
        [
            f"{hex64('gone')}-docker.io/library/app:latest",
            f"{hex64('gone')},src={SOURCE},dst={DESTINATION}".encode().hex(),
            hashlib.sha256(SAID.replace(CONTAINER, hex64("gone")).encode()).hexdigest(),
            "ff" * 128,
        ],
    )
    def test_of_a_container_that_is_gone(self, name):
        inventory = self.with_image_mount(name, ImageMountPoint(DESTINATION, hex64("any"), SOURCE))
        with_init = with_records(inventory, rw_layer(name, dir_id("leak")))

        assert len(faults(rwlayers.ghost_rw_layer, with_init, name)) == 1


@pytest.mark.parametrize(
    ("check", "damage"),
    [
        (rwlayers.unreadable_mount_id, {"mount_id": EMPTY}),
        (rwlayers.unreadable_init_id, {"init_id": EMPTY}),
        (rwlayers.lost_rw_parent, {"parent": ABSENT}),
    ],
    ids=lambda value: getattr(value, "code", ""),
)
def test_damage_that_costs_no_container_is_a_warning(check, damage):
    """A killed ``docker create`` leaves such a record, and no container."""
    damaged = with_records(healthy_inventory(), replace(rw_layer(), **damage))
    lone = without(damaged, Node(NodeKind.CONTAINER, CONTAINER))
    assert [fault.severity for fault in faults(check, damaged, RW_LAYER)] == [None]
    assert [fault.severity for fault in faults(check, lone, RW_LAYER)] == [Severity.WARNING]
