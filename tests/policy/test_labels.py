from __future__ import annotations

from msgspec.structs import replace
from support.inventories import graph_of, healthy_inventory

from gcd.model.reading import Present
from gcd.policy.labels import labelled

SOUND = healthy_inventory()


def with_labels(*labels):
    """Every image and every container labelled so."""
    made = {
        kind: {
            key: replace(record, config=Present(replace(record.config.value, labels=labels)))
            for key, record in getattr(SOUND, kind).items()
        }
        for kind in ("images", "containers")
    }
    return replace(SOUND, **made)


def names(inventory, *patterns):
    return dict(labelled(inventory, graph_of(inventory), patterns))


def test_labels_protect_images_and_containers_by_what_people_call_them():
    inventory = with_labels(("keep", "yes"))
    graph = graph_of(inventory)
    called = {
        *(name for image in inventory.images for name in graph.image_labels(image)),
        *map(graph.container_label, inventory.containers),
    }

    assert names(inventory, "keep") == dict.fromkeys(called, "keep")
    assert called


def test_a_pattern_fits_a_key_or_a_key_with_its_value():
    inventory = with_labels(("a.keep", "x"), ("tier", "critical-1"))

    assert set(names(inventory, "tier=critical*").values()) == {"tier=critical*"}
    assert set(names(inventory, "no", "a.keep=x").values()) == {"a.keep=x"}
    assert set(names(inventory, "a.*").values()) == {"a.*"}
    assert names(inventory, "critical-1") == {}
    assert names(inventory, "tier=crit") == {}
    assert names(inventory) == {}


def test_without_labels_nothing_is_protected():
    assert names(SOUND, "*") == {}
