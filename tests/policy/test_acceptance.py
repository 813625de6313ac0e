from support.results import finding

from gcd.model.finding import Acceptance, Node, NodeKind
from gcd.policy.acceptance import accept, expired

NOW = 1_000
AUFS = finding("GCD802", "dormant-store", Node(NodeKind.STORE, "aufs"))
VFS = finding("GCD802", "dormant-store", Node(NodeKind.STORE, "vfs"))


def test_an_id_accepts_its_finding_alone():
    known = Acceptance("GCD802:store:aufs", "kept until the move")

    assert [f.accepted for f in accept([AUFS, VFS], [known], NOW)] == [known, None]


def test_a_glob_accepts_all_that_it_fits():
    known = Acceptance("GCD802:*", "old drivers")

    assert [f.accepted for f in accept([AUFS, VFS], [known], NOW)] == [known, known]


def test_the_first_acceptance_that_fits_counts():
    first, second = Acceptance("GCD802:store:a*", "first"), Acceptance("GCD802:*", "second")

    assert [f.accepted for f in accept([AUFS, VFS], [first, second], NOW)] == [first, second]


def test_an_acceptance_ends_at_its_instant():
    assert accept([AUFS], [Acceptance("*", "", until_ns=NOW + 1)], NOW)[0].accepted is not None
    assert accept([AUFS], [Acceptance("*", "", until_ns=NOW)], NOW)[0].accepted is None


def test_one_that_ran_out_is_told_while_its_finding_is_there():
    over = Acceptance("GCD802:store:aufs", "kept", until_ns=NOW)

    assert expired(accept([AUFS], [over], NOW), [over], NOW) == (over,)
    assert expired(accept([VFS], [over], NOW), [over], NOW) == ()


def test_one_that_ran_out_is_silent_where_another_is_in_force():
    over, anew = Acceptance("GCD802:store:aufs", "kept", until_ns=NOW), Acceptance("GCD802:*", "for good")

    assert expired(accept([AUFS], [over, anew], NOW), [over, anew], NOW) == ()


def test_a_bracket_in_an_id_is_taken_for_itself_by_an_equal_pattern():
    odd = finding("GCD802", "dormant-store", Node(NodeKind.STORE, "a[b]"))

    assert accept([odd], [Acceptance("GCD802:store:a[b]", "")], NOW)[0].accepted is not None
