import time

import pytest

from gcd.demo.scene import build_scene
from gcd.run import check

HOURS_AHEAD_NS = 2 * 3_600_000_000_000


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    return build_scene(tmp_path_factory.mktemp("demo") / "docker")


@pytest.fixture(scope="module")
def result(scene):
    """What gcd says of the scene two hours later: its engine is stopped, so all that is in it has settled."""
    return check(str(scene.root), now_ns=time.time_ns() + HOURS_AHEAD_NS)


def test_scene_has_more_than_a_dozen_codes(scene):
    assert len({planted.code for planted in scene.planted}) == 20


def test_all_that_was_planted_is_found_and_what_follows_from_it(scene, result):
    planted = {(planted.code, planted.node) for planted in scene.planted}
    more = [finding for finding in result.findings if (finding.code, finding.subject) not in planted]

    assert planted <= {(finding.code, finding.subject) for finding in result.findings}
    assert result.not_checked == ()
    assert sorted((finding.code, finding.impact.images) for finding in more) == [
        ("GCD101", ()),
        ("GCD101", ()),
        ("GCD402", ("prom/node-exporter:v1.8.2",)),
        ("GCD402", ("registry.example.com/shop/base:2025.1",)),
        ("GCD402", ("registry.example.com/shop/worker:1.9.0",)),
    ]


def test_only_the_dirs_of_records_without_cache_id_are_kept_from_being_orphans(scene, result):
    records = {planted.code: planted.node for planted in scene.planted}
    blocked = [finding for finding in result.findings if finding.blocked_by]

    assert sorted((finding.code, finding.blocked_by) for finding in blocked) == [
        ("GCD101", (f"GCD202:{records['GCD202']}",)),
        ("GCD101", (f"GCD206:{records['GCD206']}",)),
    ]
    assert result.summary.orphaned_bytes > 8 << 20


def test_each_story_is_one_sentence(scene):
    for planted in scene.planted:
        assert planted.story.endswith(".")
        assert not planted.story.startswith("F")
