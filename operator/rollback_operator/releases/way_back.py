"""What a person can do to roll back now, also where there is no rollback target. Pure."""

from collections.abc import Sequence, Set

from rollback_operator.api.v1alpha1 import LedgerEntry, RevisionRef, RollbackPolicyStatus
from rollback_operator.model import commands
from rollback_operator.model.context import Case
from rollback_operator.model.workload import ReplicaSet, Workload
from rollback_operator.releases.ledger import bar, entry_of, last_known_good
from rollback_operator.releases.records import restored
from rollback_operator.releases.usefulness import LAST_FAILED, failed_last, fails
from rollback_operator.remedies import flags

_Key = tuple[str, str]
_NOTHING = "There is no other revision to restore"


def choice(
    ledger: Sequence[LedgerEntry], workload: Workload, key: _Key, left_out: Set[str] = frozenset()
) -> str:
    """Name the newest revision that a person may choose, and the command; empty: there is none.

    A revision that failed comes after the others, and last a barred revision: it needs trust.

    Args:
        ledger: of the target.
        workload: the target now.
        key: namespace and name of the policy.
        left_out: releases that are no choice, beside the running release.
    """
    if workload.deployment.history_limit == 0:
        return ""  # each request is refused: NoHistory
    none, (namespace, name) = {workload.deployment.template.release, *left_out}, key
    others = [each for each in workload.replica_sets if each.template.release not in none]
    chosen = max(others, key=lambda each: _rank(ledger, each), default=None)
    if chosen is None:
        return ""
    number = chosen.revision
    if why := bar(ledger, chosen.template.release):
        trust = commands.trust(name, namespace, number)
        return f"Revision {number} is {why}. If it is good, trust it first: {trust}"
    undo = commands.undo(name, namespace, str(number))
    return f"To restore revision {number} ({', '.join(chosen.template.images)}): {undo}"


def of_case(case: Case) -> str:
    """Name the command that rolls back now, as a sentence without its end.

    Without a rollback target, or if it fails, it is what a person may choose instead.
    """
    target = _useful(case.ledger, last_known_good(case.ledger, case.workload, restored(case)))
    left_out = flags.left(case.rollbacks) | set(case.failing)
    meta = case.policy.metadata
    key = meta.namespace, meta.name
    is_refused = case.workload.deployment.history_limit == 0
    if target is None or target.template.release in left_out or is_refused:
        return choice(case.ledger, case.workload, key, left_out) or _NOTHING
    return _usual(key)


def now(ledger: Sequence[LedgerEntry], workload: Workload, key: _Key) -> str:
    """Name the command that rolls back now, where the Rollbacks of the target are not at hand."""
    target = _useful(ledger, last_known_good(ledger, workload))
    if target is None or workload.deployment.history_limit == 0:
        return choice(ledger, workload, key) or _NOTHING
    return _usual(key)


def recorded(status: RollbackPolicyStatus, key: _Key) -> str:
    """Name the command that rolls back, from the status alone; empty: it records no target.

    While the running release is the last known good revision, the status names no other.
    """
    good, running = status.last_known_good, status.revision
    is_other = good is not None and running is not None and good.release != running.release
    return commands.undo(key[1], key[0]) if is_other else ""


def _usual(key: _Key) -> str:
    return f"To roll back now: {commands.undo(key[1], key[0])}"


def _useful(ledger: Sequence[LedgerEntry], target: ReplicaSet | None) -> ReplicaSet | None:
    """Return the target unless it failed when it last served."""
    is_failed = target is not None and failed_last(entry_of(ledger, target.template.release))
    return None if is_failed else target


def warning(
    ledger: Sequence[LedgerEntry], workload: Workload, key: _Key, target: RevisionRef
) -> str:
    """Warn of a target that failed when it last served, and name a better; empty: it did not."""
    if not failed_last(entry_of(ledger, target.release)):
        return ""
    other = choice(ledger, workload, key, {target.release})
    return f"Warning: revision {target.number} is {LAST_FAILED}. {other}".rstrip()


def _rank(ledger: Sequence[LedgerEntry], replica_set: ReplicaSet) -> tuple[bool, bool, int]:
    release = replica_set.template.release
    entry = entry_of(ledger, release)
    is_failing = entry is not None and (fails(entry) or failed_last(entry))
    return not bar(ledger, release), not is_failing, replica_set.revision
