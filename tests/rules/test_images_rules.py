"""GCD401 and 402: image configs, and the chains that they need."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from support.inventories import (
    BASE_CHAIN,
    BASE_DIFF,
    BASE_DIR,
    IMAGE,
    TOP_CHAIN,
    TOP_DIFF,
    TOP_DIR,
    digest,
    faults,
    healthy_inventory,
    image,
    layer,
    with_records,
    without,
)

from gcd.model.facts import Repositories
from gcd.model.finding import Node, NodeKind
from gcd.model.ids import DiffId, ImageId
from gcd.model.inventory import Source
from gcd.model.reading import ABSENT, EMPTY, Malformed, Present, Unreadable
from gcd.rules import images

CONFIG = f"image/overlay2/imagedb/content/sha256/{IMAGE.removeprefix('sha256:')}"
LAYERDB = "image/overlay2/layerdb/sha256"


def hex_of(chain: str) -> str:
    return chain.removeprefix("sha256:")


@pytest.mark.parametrize("check", images.RULES, ids=lambda rule: rule.code)
class TestEveryRule:
    def test_silent_on_a_healthy_image(self, check):
        assert faults(check, healthy_inventory(), IMAGE) == []

    def test_silent_on_an_image_without_layers(self, check):
        assert faults(check, with_records(healthy_inventory(), image()), IMAGE) == []

    def test_silent_on_an_image_that_vanished(self, check):
        """``rmi`` takes the config first: gone while it was read, or since."""
        assert faults(check, healthy_inventory(), ImageId(digest("gone"))) == []
        assert faults(check, with_records(healthy_inventory(), image(config=ABSENT, digest=None)), IMAGE) == []


class TestImageDigestMismatch:
    check = images.image_digest_mismatch

    @pytest.mark.parametrize(
        ("reading", "found"),
        [
            (EMPTY, ImageId(digest(""))),
            (Malformed("a JSON object", "'{'"), ImageId(digest("changed"))),
            (Malformed("a rootfs", "nothing"), IMAGE),
            (Unreadable("EIO"), None),
        ],
    )
    def test_a_config_that_cannot_be_read(self, reading, found):
        (fault,) = faults(self.check, with_records(healthy_inventory(), image(config=reading, digest=found)), IMAGE)

        assert [item.where for item in fault.evidence] == [CONFIG]
        assert fault.paths == (CONFIG,)
        assert "pull again: app:latest" in fault.summary
        assert fault.since_ns is None

    def test_one_changed_byte(self):
        changed = ImageId(digest("changed"))

        (fault,) = faults(self.check, with_records(healthy_inventory(), image(BASE_DIFF, digest=changed)), IMAGE)

        assert [(item.expected, item.found) for item in fault.evidence] == [(IMAGE, changed)]

    def test_an_image_without_reference_cannot_be_pulled(self):
        inventory = healthy_inventory(repositories=Present(Repositories({})))

        (fault,) = faults(self.check, with_records(inventory, image(config=EMPTY, digest=None)), IMAGE)

        assert "no reference names it" in fault.summary

    def test_needs_no_more_than_the_images(self):
        assert self.check.needs == {Source.IMAGES}


class TestImageUnloadable:
    check = images.image_unloadable

    def test_a_missing_base(self):
        """The record above tells of the hole too (GCD212), so it is the cause."""
        inventory = without(healthy_inventory(), Node(NodeKind.LAYER, BASE_CHAIN))

        (fault,) = faults(self.check, inventory, IMAGE)

        assert [(item.where, item.found) for item in fault.evidence] == [(f"{LAYERDB}/{hex_of(BASE_CHAIN)}", "absent")]
        assert f"layer 1 of 2, {BASE_CHAIN}, has no record; pull again: app:latest" in fault.summary
        assert fault.causes == (Node(NodeKind.LAYER, BASE_CHAIN), Node(NodeKind.LAYER, TOP_CHAIN))

    def test_a_missing_top(self):
        inventory = without(healthy_inventory(), Node(NodeKind.LAYER, TOP_CHAIN))

        (fault,) = faults(self.check, inventory, IMAGE)

        assert "layer 2 of 2" in fault.summary
        assert fault.causes == (Node(NodeKind.LAYER, TOP_CHAIN),)
        # The records were read before the image: a pull may have ended in between.
        assert fault.since_ns == inventory.images[IMAGE].ctime_ns

    @pytest.mark.parametrize("field", ["diff_id", "size", "cache_id"])
    def test_a_damaged_record_is_the_cause(self, field):
        damaged = replace(layer(BASE_DIFF, BASE_DIR), **{field: EMPTY})

        (fault,) = faults(self.check, with_records(healthy_inventory(), damaged), IMAGE)

        assert fault.causes[0] == Node(NodeKind.LAYER, BASE_CHAIN)
        assert fault.since_ns is None
        assert "mend that first, or else pull again: app:latest" in fault.summary

    def test_the_first_broken_layer_is_named_and_no_other(self):
        third = DiffId(digest("third diff"))
        inventory = with_records(
            healthy_inventory(),
            layer(TOP_DIFF, TOP_DIR, BASE_CHAIN, size=EMPTY),
            layer(third, TOP_DIR, TOP_CHAIN),
            image(BASE_DIFF, TOP_DIFF, third),
        )

        (fault,) = faults(self.check, inventory, IMAGE)

        assert f"layer 2 of 3, {TOP_CHAIN}, has a damaged record" in fault.summary

    def test_a_broken_record_that_only_the_records_own_parent_leads_to(self):
        """The image needs a base layer, but its record claims a parent that is damaged: that one is to be mended."""
        below = DiffId(digest("below"))
        inventory = with_records(
            healthy_inventory(),
            layer(below, BASE_DIR, size=EMPTY),
            replace(layer(BASE_DIFF, BASE_DIR), parent=Present(below)),
        )

        (fault,) = faults(self.check, inventory, IMAGE)

        assert fault.causes[0] == Node(NodeKind.LAYER, below)

    @pytest.mark.parametrize(
        "changes", [{"config": EMPTY, "digest": None}, {"digest": ImageId(digest("changed"))}], ids=["empty", "changed"]
    )
    def test_an_image_with_a_damaged_config_is_another_codes(self, changes):
        inventory = without(
            with_records(healthy_inventory(), image(BASE_DIFF, **changes)), Node(NodeKind.LAYER, BASE_CHAIN)
        )

        assert faults(self.check, inventory, IMAGE) == []

    def test_missing_layer_dirs_do_not_matter(self):
        """The engine looks at none when it loads (GCD201 speaks of them)."""
        assert faults(self.check, without(healthy_inventory(), Node(NodeKind.LAYER_DIR, BASE_DIR)), IMAGE) == []

    def test_needs_the_records(self):
        assert self.check.needs == {Source.IMAGES, Source.LAYERS}
