"""
Carrying out the policy: what it would do now, doing it, and settling what was cut short before.

The machinery is that of ``gcd apply``, with all its guards. What is done is done at most once in an interval, right
after a full look, so that the limits of a policy hold for an interval.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from gcd.actions.engineapi import Impatience
from gcd.actions.place import open_place
from gcd.commands.undertaking import Undertaking, settled
from gcd.commands.wishes import history_of, policy_of
from gcd.model import layout
from gcd.model.audit import Act, ActKind
from gcd.model.entry import EntryState, Operation
from gcd.model.errors import CannotCheck
from gcd.model.plan import Mend, Outcome
from gcd.model.reading import Absent, value_of
from gcd.planning import Wish, decided
from gcd.policy.policy import REMEDY_OF, History, Verb
from gcd.policy.refusals import Outlook
from gcd.report.printable import printable
from gcd.root.discover import detect_store
from gcd.root.quarantine import read_quarantine
from gcd.root.tree import open_root

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gcd.daemon.keeping import Keeper, Ledger
    from gcd.daemon.pulse import Pulse
    from gcd.model.facts import QuarantineEntry
    from gcd.model.plan import Identity
    from gcd.model.result import RunResult
    from gcd.policy.policy import Policy
    from gcd.run import Sight
    from gcd.settings import Settings

_KINDS = {Operation.QUARANTINE: ActKind.QUARANTINE, Operation.REPAIR: ActKind.REPAIR}


def verbs_of(policy: Policy) -> frozenset[Verb]:
    """All that `policy` does about anything; nothing by default."""
    said = (policy.codes, policy.kinds, policy.severities)
    return frozenset(verb for some in said for verbs in some.values() for verb in verbs if verb in REMEDY_OF)


class Doer:
    """Acts on the root at `path` as `settings` say. Whoever ends the daemon is heard between any two steps."""

    def __init__(self, settings: Settings, path: str, pulse: Pulse) -> None:
        self._settings = settings
        self._path = path
        self._pulse = pulse

        self.has_verbs = bool(verbs_of(policy_of(settings)))
        self._reclaimable = (frozenset[object](), 0)

    def reclaimable_bytes(self, sight: Sight, result: RunResult) -> int:
        """What would be moved or released if the policy were carried out now; asked anew where findings changed."""
        if not self.has_verbs:
            return 0
        seen = frozenset((f.id, f.confidence, f.blocked_by, f.disk_bytes) for f in result.findings)
        if seen != self._reclaimable[0]:
            wish = self._wish()
            outlook = Outlook(sight.inventory, result.checked_ns, wish.history)
            steps, _ = decided(sight.inventory, result.findings, outlook, wish)
            size = sum(step.finding.disk_bytes or 0 for step in steps if not isinstance(step, Mend))
            self._reclaimable = (seen, size)
        return self._reclaimable[1]

    def _wish(self) -> Wish:
        """What the policy asks for; a state that cannot be read knows of no patience."""
        try:
            history = history_of(self._settings.state_dir, self._path)
        except CannotCheck:
            history = History()
        policy = policy_of(self._settings)
        return Wish(policy=policy, history=history, acceptances=self._settings.acceptances)

    def settle(self, identity: Identity, keeper: Keeper) -> bool:
        """
        Finish or undo what an earlier run left open, and keep of what it did those acts that it did not come to tell.
        Whether there was anything to finish or undo. Raises `CannotAct`.
        """
        store = detect_store(self._path)
        with open_root(store.path) as root:
            if isinstance(root.lstat(layout.GCD), Absent):
                return False
            with open_place(root, create=False, driver=store.driver) as place:
                items = settled(place)
                for item in items:
                    why = {"why": printable(item.why)} if item.why else {}
                    structlog.get_logger().info(f"entry_{item.recovery.replace('-', '_')}", entry=item.entry, **why)
                told = keeper.entries_told(identity)
                if told is not None:
                    entries, _ = read_quarantine(root, store.driver)
                    untold = [entry for entry in entries.values() if entry.id not in told]
                    keeper.keep_acts(identity, self._path, list(_acts_of(untold)))
        return bool(items)

    def act(self, ledger: Ledger) -> str:
        """
        Do what the policy says. One clause that says why nothing may be done at all, or "". Raises `CannotAct`, where
        the engine hangs too.
        """
        wish = self._wish()
        impatience = Impatience(self._pulse, self._pulse.beat)
        undertaking = Undertaking(detect_store(self._path), wish, progress=self._pulse, impatience=impatience)
        try:
            if Verb.RELEASE in verbs_of(wish.policy):
                undertaking.finish_releases(ledger, _hear)
            _, plan = undertaking.plan()
            if plan.steps:
                undertaking.carry_out(plan, ledger, _hear, _hear, _hear, pulse=self._pulse)
        finally:
            ledger.call_hooks(self._settings.hooks, self._pulse)
        return plan.refusal


def _hear(_deed: object) -> None:
    """The ledger has heard of it already."""


def _acts_of(entries: Iterable[QuarantineEntry]) -> Iterable[Act]:
    """What made `entries`, by their own account."""
    for entry in entries:
        manifest = value_of(entry.manifest)
        if entry.state is EntryState.CLOSED and manifest is not None:
            finding = manifest.finding
            kind = _KINDS[manifest.operation]
            size = finding.disk_bytes or 0
            yield Act(manifest.run, manifest.made_ns, kind, finding.id, Outcome.DONE, entry=entry.id, disk_bytes=size)
