"""GCD305, 307, 308 and 309: containers."""

from __future__ import annotations

import pytest
from support.inventories import (
    CONTAINER,
    INIT_DIR,
    INIT_LINK,
    OLD_NS,
    RW_DIR,
    RW_LAYER,
    RW_LINK,
    YOUNG_NS,
    container,
    container_config,
    faults,
    healthy_inventory,
    hex64,
    with_records,
    without,
)

from gcd.model.finding import Node, NodeKind, Severity
from gcd.model.ids import ContainerId
from gcd.model.inventory import Source
from gcd.model.reading import ABSENT, EMPTY, Malformed, Present, Unreadable
from gcd.rules import containers

CONFIG = f"containers/{CONTAINER}/config.v2.json"
HOST_CONFIG = f"containers/{CONTAINER}/hostconfig.json"
RECORD = f"image/overlay2/layerdb/mounts/{RW_LAYER}"
NO_JSON = Malformed("a JSON object", "'{'", 1)
DAMAGE = [EMPTY, NO_JSON, Unreadable("EIO")]


def having(config=None, **changes):
    return with_records(healthy_inventory(), container(config=config, **changes))


def configured(**changes):
    return having(Present(container_config(**changes)))


@pytest.mark.parametrize("check", containers.RULES, ids=lambda rule: rule.code)
class TestEveryRule:
    def test_silent_on_a_healthy_container(self, check):
        assert faults(check, healthy_inventory(), CONTAINER) == []

    @pytest.mark.parametrize("reading", DAMAGE)
    def test_a_config_that_cannot_be_read_is_one_codes(self, check, reading):
        found = faults(check, having(reading), CONTAINER)

        assert len(found) == (1 if check.code == "GCD307" else 0)

    def test_silent_on_a_container_that_vanished(self, check):
        assert faults(check, healthy_inventory(), ContainerId(hex64("gone"))) == []


class TestContainerWithoutRwLayer:
    check = containers.container_without_rw_layer

    @staticmethod
    def bare(**changes):
        return without(configured(**changes), Node(NodeKind.RW_LAYER, RW_LAYER))

    def test_found(self):
        (fault,) = faults(self.check, self.bare(), CONTAINER)

        assert fault.subject == Node(NodeKind.CONTAINER, CONTAINER)
        assert [(item.where, item.found) for item in fault.evidence] == [(RECORD, "absent")]
        assert fault.since_ns == OLD_NS

    @pytest.mark.parametrize(
        "changes", [{"driver": "overlayfs"}, {"driver": ""}, {"dead": True}, {"removal_in_progress": True}]
    )
    def test_healthy(self, changes):
        """Containers of other drivers stay in the root; a removal takes the record before the container."""
        assert faults(self.check, self.bare(**changes), CONTAINER) == []

    def test_a_config_that_cannot_be_read_says_nothing_of_its_driver(self):
        inventory = without(having(EMPTY), Node(NodeKind.RW_LAYER, RW_LAYER))

        assert faults(self.check, inventory, CONTAINER) == []

    def test_needs_the_records(self):
        assert self.check.needs == {Source.CONTAINERS, Source.RW_LAYERS}


class TestUnreadableContainerConfig:
    check = containers.unreadable_container_config

    @pytest.mark.parametrize("reading", [ABSENT, *DAMAGE])
    def test_the_config(self, reading):
        (fault,) = faults(self.check, having(reading, ctime_ns=YOUNG_NS), CONTAINER)

        assert [item.where for item in fault.evidence] == [CONFIG]
        assert fault.summary == "The engine cannot read this container's configuration."
        assert (fault.severity, fault.remedies) == (Severity.ERROR, ())
        assert fault.since_ns == YOUNG_NS

    @pytest.mark.parametrize("reading", DAMAGE)
    def test_the_host_config(self, reading):
        (fault,) = faults(self.check, having(host_config=reading), CONTAINER)

        assert [item.where for item in fault.evidence] == [HOST_CONFIG]
        assert fault.severity is Severity.ERROR

    def test_a_missing_host_config_is_healthy(self):
        assert faults(self.check, having(host_config=ABSENT), CONTAINER) == []

    def test_both_are_one_fault(self):
        (fault,) = faults(self.check, having(EMPTY, host_config=EMPTY), CONTAINER)

        assert [item.where for item in fault.evidence] == [CONFIG, HOST_CONFIG]

    def test_a_config_of_null_is_critical(self):
        (fault,) = faults(self.check, configured(has_config=False), CONTAINER)

        assert (fault.severity, self.check.severity) == (None, Severity.CRITICAL)
        assert fault.summary == "The engine panics at this container's configuration."
        assert [(remedy.kind, remedy.action) for remedy in fault.remedies] == [("quarantine", f"move {CONFIG} aside")]

    def test_temporary_copies_of_the_damaged_file_are_named(self):
        copies = (".tmp-config.v2.json11", ".tmp-config.v2.json22", ".tmp-hostconfig.json33")

        (fault,) = faults(self.check, having(EMPTY, temporaries=copies), CONTAINER)

        assert fault.summary.endswith("temporary copies of it are there: .tmp-config.v2.json11, .tmp-config.v2.json22.")
        assert [remedy.kind for remedy in fault.remedies] == ["repair"]

    def test_temporary_copies_beside_sound_files_are_none_of_its_business(self):
        assert faults(self.check, having(temporaries=(".tmp-config.v2.json11",)), CONTAINER) == []

    def test_needs_no_more_than_the_containers(self):
        assert self.check.needs == {Source.CONTAINERS}


class TestContainerIdMismatch:
    check = containers.container_id_mismatch

    def test_found(self):
        other = hex64("other")

        (fault,) = faults(self.check, configured(container_id=other), CONTAINER)

        assert [(item.where, item.expected, item.found) for item in fault.evidence] == [
            (CONFIG, CONTAINER, f"'{other}'")
        ]

    def test_a_config_without_id_is_healthy(self):
        assert faults(self.check, configured(container_id=""), CONTAINER) == []

    def test_a_hostile_id_is_printed_escaped_and_cut(self):
        (fault,) = faults(self.check, configured(container_id="\x1b[31m" + "x" * 500), CONTAINER)

        assert "\x1b" not in fault.summary + fault.evidence[0].found
        assert len(fault.summary) < 200


class TestDeadContainerRemains:
    check = containers.dead_container_remains

    @pytest.mark.parametrize(
        ("flags", "found"), [({"dead": True}, "Dead"), ({"removal_in_progress": True}, "RemovalInProgress")]
    )
    def test_with_all_its_dirs(self, flags, found):
        (fault,) = faults(self.check, configured(**flags), CONTAINER)

        assert [(item.where, item.found) for item in fault.evidence] == [(CONFIG, found)]
        assert fault.paths == (
            f"containers/{CONTAINER}",
            RECORD,
            f"overlay2/{RW_DIR}",
            f"overlay2/l/{RW_LINK}",
            f"overlay2/{INIT_DIR}",
            f"overlay2/l/{INIT_LINK}",
        )
        assert fault.summary.endswith("its rw layer record and layer dirs are left.")
        assert fault.since_ns == OLD_NS

    def test_with_its_record_alone(self):
        inventory = without(
            configured(dead=True),
            Node(NodeKind.LAYER_DIR, RW_DIR),
            Node(NodeKind.LAYER_DIR, INIT_DIR),
        )

        (fault,) = faults(self.check, inventory, CONTAINER)

        assert fault.paths == (f"containers/{CONTAINER}", RECORD)
        assert fault.summary.endswith("its rw layer record is left.")

    def test_with_its_directory_alone(self):
        inventory = without(configured(dead=True), Node(NodeKind.RW_LAYER, RW_LAYER))

        (fault,) = faults(self.check, inventory, CONTAINER)

        assert fault.paths == (f"containers/{CONTAINER}",)
        assert fault.summary.endswith("no rw layer is left.")
