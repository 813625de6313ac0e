"""
Checks one root again and again: a full look now and then, and between them looks at what may have changed.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from gcd.model.changed import NOTHING
from gcd.run import ALL_CODES, collecting_no_cycles, result_of, see

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from gcd.model.changed import Changed
    from gcd.model.finding import Acceptance, Code
    from gcd.model.result import RunResult
    from gcd.root.progress import Progress
    from gcd.run import Sight


class Recheck:
    """
    What was last seen of the root at `path`, and the ways to see it again: `full` and `refresh`.

    Both raise `CannotCheck` as `gcd.run.check` does; what was seen before is then forgotten, and the next look is a
    full one. Not for two threads at once. `progress` is called between the parts of a look, and may end it by raising.
    """

    def __init__(
        self,
        path: str,
        *,
        codes: Collection[Code] = ALL_CODES,
        acceptances: Sequence[Acceptance] = (),
        proc: str = "/proc",
        progress: Progress | None = None,
    ) -> None:
        self._path = path
        self._codes = codes
        self._acceptances = acceptances
        self._proc = proc
        self._progress = progress
        self._sight: Sight | None = None
        self._young = NOTHING

    @property
    def sight(self) -> Sight | None:
        """What the last look saw; None before the first one and after one that failed."""
        return self._sight

    @property
    def young(self) -> Changed:
        """The subjects that were not complete yet when they were looked at: to be looked at again until they are."""
        return self._young

    @collecting_no_cycles()
    def full(self, now_ns: int) -> RunResult:
        """Read the whole root and check it; `now_ns` is the wall clock time in nanoseconds."""
        began_ns = time.monotonic_ns()
        self._sight = None
        self._sight = see(self._path, now_ns=now_ns, codes=self._codes, proc=self._proc, progress=self._progress)
        return result_of(
            self._sight,
            now_ns=now_ns,
            began_ns=began_ns,
            codes=self._codes,
            acceptances=self._acceptances,
            progress=self._progress,
        )

    def refresh(self, _changed: Changed, now_ns: int) -> RunResult:
        """Check what may have changed, and nothing else where that is certain to be enough."""
        return self.full(now_ns)
