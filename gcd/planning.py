"""
Planning: from a root to a `Plan` that nobody has applied yet. Reads the root as a check does, and writes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcd.policy.policy import BY_POLICY, DEFAULT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gcd.model.finding import Acceptance, FindingId
    from gcd.model.plan import Plan
    from gcd.model.result import RunResult
    from gcd.policy.policy import Policy, Selection
    from gcd.root.progress import Progress


def plan(  # noqa: PLR0913 - what a plan depends on, each by name
    path: str,
    *,
    now_ns: int,
    policy: Policy = DEFAULT,
    selection: Selection = BY_POLICY,
    seen_ns: Mapping[FindingId, int] | None = None,
    acceptances: Sequence[Acceptance] = (),
    engine_lists_none: bool | None = None,
    allow_empty: bool = False,
    progress: Progress | None = None,
    proc: str = "/proc",
) -> tuple[RunResult, Plan]:
    """
    Check the Docker root at `path`, and say of every finding what is to be done about it, or why it is left alone.

    The root is read as `gcd.run.check` does. `seen_ns` says for how many nanoseconds of this boot findings have been
    seen already. `engine_lists_none` is what the API of the running engine says, if it was asked: that it has no image,
    no container and no build cache. `allow_empty` is the word of somebody who knows that a root without images and
    containers is not a damaged one (S22).

    Raises `CannotCheck` where the run cannot begin; that nothing may be done is a `Plan` with a `refusal`.
    """
    raise NotImplementedError
