"""GCD701: the content of a layer is changed only where nothing mounts it, and only as its witness proves (S17)."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from support.inventories import BASE_CHAIN, BASE_DIFF, BASE_DIR, BASE_LINK, TOP_DIR, graph_of, healthy_inventory

from gcd.actions import closelook
from gcd.mends.mending import Mending, Unproven
from gcd.mends.table import mend
from gcd.model.content import Damage, Depth, Difference, Soundness, Twin, Verdict, Worn
from gcd.model.facts import KernelMount
from gcd.model.finding import Impact
from gcd.model.inventory import Coverage, Source, SourceState
from gcd.model.plan import CopyFile, LinkFile, Reason, WriteFile
from gcd.rules.content import content_findings

DIFFERENCE = Difference("bin/sh", Damage.EMPTIED, "3 bytes, CRC-64 0000000000000007", "0 bytes", 3, 7)
VERDICT = Verdict(BASE_CHAIN, BASE_DIR, Depth.QUICK, Soundness.DAMAGED, 1, 0, 1, (DIFFERENCE,), 1)
PATH = f"overlay2/{BASE_DIR}/diff/bin/sh"


TWIN = Twin(("bin/sh", "bin/ash"), f"overlay2/{TOP_DIR}/diff/x", 3, "ab" * 32, 5)
COPY = CopyFile(PATH, TWIN.source, 3, "ab" * 32, 5)


class Proven:
    """A witness that knows the content."""

    def __init__(self, answer=(TWIN,)):
        self.answer = answer

    def twins(self, chain, layers):
        assert chain == BASE_CHAIN
        assert layers[chain].diff_id.value == BASE_DIFF
        return self.answer


def mended(inventory, witness):
    graph = graph_of(inventory)
    [finding] = content_findings(inventory, graph)
    return mend(inventory, graph, finding, witness)


def inventory(**changes):
    return healthy_inventory(contents={BASE_CHAIN: VERDICT}, **changes)


def mount(**said):
    fields = {"dirs": frozenset(), "links": frozenset(), **said}
    return KernelMount("/m", "overlay", "mnt:[1]", (7,), "sleep", fields["dirs"], fields["links"], None)


def test_the_finding_names_the_file_and_what_it_costs():
    [finding] = content_findings(inventory(), graph_of(inventory()))

    assert finding.id == f"GCD701:layer:{BASE_CHAIN}"
    assert [(read.where, read.found) for read in finding.evidence] == [(PATH, "0 bytes")]
    assert finding.impact == Impact(("app:latest",), ("web",))


def test_what_is_proven_is_copied_to_all_names_of_the_file():
    assert mended(inventory(), Proven()) == Mending((COPY, LinkFile(f"overlay2/{BASE_DIR}/diff/bin/ash", PATH)))


def test_what_is_missing_is_another_findings():
    worn = Worn(0o755, 1, 2, (("user.a", b"b"),))
    gone = replace(TWIN, names=("bin/gone",), worn=worn)
    witness = Proven((TWIN, gone))
    missing = Difference("bin/gone", Damage.MISSING, "3 bytes, CRC-64 0000000000000007", "absent", 3, 7)
    both = healthy_inventory(contents={BASE_CHAIN: replace(VERDICT, differences=(DIFFERENCE, missing), differing=2)})
    graph = graph_of(both)
    damaged_file, missing_file = content_findings(both, graph)

    assert damaged_file.code == "GCD701"
    assert mend(both, graph, damaged_file, witness) == mended(inventory(), Proven())
    assert (missing_file.code, missing_file.summary) == ("GCD702", "One file is missing.")
    made = CopyFile(f"overlay2/{BASE_DIR}/diff/bin/gone", TWIN.source, 3, "ab" * 32, 5, worn)
    assert mend(both, graph, missing_file, witness) == Mending((made,))
    assert mend(both, graph, missing_file, Proven()) == Unproven("nothing of that is found any more")


def test_what_is_not_proven_is_not():
    assert mended(inventory(), Proven("no other layer holds bin/sh whole")) == Unproven(
        "no other layer holds bin/sh whole"
    )


@pytest.mark.parametrize("said", [{"dirs": frozenset({BASE_DIR})}, {"links": frozenset({BASE_LINK})}])
def test_a_layer_that_is_mounted_anywhere_is_left_alone(said):
    assert mended(inventory(mounts=(mount(**said),)), Proven()) == Unproven(
        "pid 7 (sleep) has it mounted", Reason.IN_USE
    )


def test_another_layers_mount_does_not_matter():
    assert isinstance(mended(inventory(mounts=(mount(dirs=frozenset({TOP_DIR})),)), Proven()), Mending)


def test_without_all_mounts_nothing_is_written():
    made = inventory()
    sources = {**made.sources, Source.MOUNTS: SourceState(Coverage.PARTIAL, "x")}

    assert isinstance(mended(inventory(sources=sources), Proven()), Unproven)


def test_mounts_are_looked_at_again_right_before_it():
    assert closelook._is_minded(COPY)
    assert closelook._is_minded(LinkFile(PATH, PATH))
    assert not closelook._is_minded(WriteFile(f"overlay2/{BASE_DIR}/link", b"abc", PATH))
