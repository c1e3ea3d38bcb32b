"""What a person can do to roll back now, also where there is no rollback target. Pure."""

from collections.abc import Sequence, Set

from rollback_operator.api.v1alpha1 import LedgerEntry, RevisionRef
from rollback_operator.model import commands
from rollback_operator.model.workload import ReplicaSet, Workload
from rollback_operator.releases.ledger import bar, entry_of, last_known_good
from rollback_operator.releases.usefulness import LAST_FAILED, failed_last, fails

_Key = tuple[str, str]


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


def now(ledger: Sequence[LedgerEntry], workload: Workload | None, key: _Key) -> str:
    """Name the command that rolls back now, or what is chosen instead of a missing target.

    Also instead of a target that failed when it last served.
    """
    namespace, name = key
    target = None if workload is None else last_known_good(ledger, workload)
    is_useful = target is not None and not failed_last(entry_of(ledger, target.template.release))
    if workload is None or is_useful:
        return f"To roll back now: {commands.undo(name, namespace)}"
    return choice(ledger, workload, key) or "There is no other revision to restore"


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
