"""Statements about releases: condemned, rolled back, restored, cured, trusted by a person.

Pure. The newest statement on a release wins, never a stored health: status is a cache, and a status
write may be lost. A statement against a release stays until a person trusts it or a flag cures it.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from rollback_operator.api.reasons import ConditionType, Reason
from rollback_operator.api.shape import clipped
from rollback_operator.api.v1alpha1 import (
    Condemnation,
    Health,
    LedgerEntry,
    Outcome,
    RemedyType,
    Rollback,
    RollbackPolicy,
    StepName,
)
from rollback_operator.model.conditions import find
from rollback_operator.releases.usefulness import fails
from rollback_operator.remedies import flags
from rollback_operator.remedies.progress import (
    LONG_AGO,
    decided_time,
    ended_time,
    has_acted,
    is_believed,
)

SKEW = timedelta(seconds=60)
"""A trust dated further ahead does not count yet: clocks differ by seconds."""
_ACTS = frozenset({StepName.UNDO, StepName.PIN_IMAGE})
_OUTCOMES_AFTER_ACT = (Outcome.VERIFIED, Outcome.NOT_RECOVERED, Outcome.UNKNOWN)
_LONGEST_REASON = 256


@dataclass(frozen=True, slots=True)
class Statement:
    """Statement about a release."""

    release: str
    time: datetime
    health: Health
    """Bad: condemned. Good: trusted. Assumed: restored. Unknown: cured."""
    reason: str
    condemned: Condemnation | None = None


def newest_statements(
    policy: RollbackPolicy, rollbacks: Sequence[Rollback], now: datetime
) -> dict[str, Statement]:
    """Return the newest statement on each release; at equal times, the statement against it.

    Args:
        policy: the policy, with its ledger and its `spec.trust`.
        rollbacks: all of the target.
        now: the current time.
    """
    newest: dict[str, Statement] = {}
    statements = [
        *_on_record(policy, rollbacks, now),
        *_of_rollbacks(rollbacks, now),
        *_of_people(policy, now),
    ]
    for statement in sorted(
        statements, key=lambda statement: (statement.time, statement.health is Health.BAD)
    ):
        earlier = newest.get(statement.release)
        if (
            statement.health is Health.ASSUMED
            and earlier is not None
            and earlier.health is Health.GOOD
        ):
            continue  # restored after a person trusted it: nothing speaks against it
        newest[statement.release] = statement
    return newest


def weighed(entry: LedgerEntry, statement: Statement | None) -> LedgerEntry:
    """Apply the newest statement on its release to an entry."""
    if statement is None or statement.health is not Health.GOOD:
        entry = _without_statement(entry, statement)
    if statement is None:
        return entry
    changes: dict[str, object] = {"condemned": None, "trusted_time": None}
    match statement.health:
        case Health.BAD:
            changes |= {"condemned": statement.condemned}
        case Health.GOOD:
            changes |= {"trusted_time": statement.time}
        case _ if entry.health is Health.GOOD or entry.health is statement.health:
            return entry.model_copy(update=changes)  # earned since
        case Health.ASSUMED if entry.health is Health.BAD and entry.condemned is None:
            return entry  # recorded by a version that gave no time
        case Health.ASSUMED if fails(entry):
            return entry.model_copy(update=changes)  # seen to fail since it was restored
        case Health.UNKNOWN if entry.health is not Health.BAD:
            return entry.model_copy(update=changes)
    return entry.model_copy(
        update={**changes, "health": statement.health, "reason": statement.reason}
    )


def _without_statement(entry: LedgerEntry, statement: Statement | None) -> LedgerEntry:
    """Withdraw the effect of a withdrawn statement: a trust or a condemnation."""
    is_withdrawn = entry.trusted_time is not None or (
        statement is None and entry.condemned is not None
    )
    if not is_withdrawn:
        return entry
    changes = {"health": Health.UNKNOWN, "reason": "", "condemned": None, "trusted_time": None}
    return entry.model_copy(update=changes)


def _of_rollbacks(rollbacks: Iterable[Rollback], now: datetime) -> Iterator[Statement]:
    for rollback in rollbacks:
        bad_release, name = rollback.spec.from_revision.release, rollback.metadata.name
        decided = decided_time(rollback, now)
        if condemns(rollback):
            condemnation = _condemnation(rollback)
            yield Statement(bad_release, decided, Health.BAD, condemnation.message, condemnation)
        if rollback.status.outcome is not Outcome.VERIFIED:
            continue
        end = ended_time(rollback, now) if rollback.status.finished_time is not None else decided
        if rollback.spec.to_revision is not None:
            message = f"{name} restored it and was Verified"
            yield Statement(rollback.spec.to_revision.release, end, Health.ASSUMED, message)
        if flags.is_flag(rollback) and not flags.is_variable(rollback):
            message = f"{name} set its flag and was Verified"
            yield Statement(bad_release, end, Health.UNKNOWN, message)


def restored(rollbacks: Iterable[Rollback]) -> frozenset[str]:
    """Return the releases that rollbacks have restored, whatever their outcome."""
    return frozenset(
        rollback.spec.to_revision.release
        for rollback in rollbacks
        if rollback.spec.to_revision is not None
        and any(step.name in _ACTS for step in rollback.status.steps)
    )


def condemns(rollback: Rollback) -> bool:
    """Return whether a Rollback condemns the release that it replaces.

    An automatic Rollback follows a verdict, but the question whether the release is to blame
    follows none: it condemns once it begins. A manual Rollback condemns once its step has begun,
    whatever its outcome: a fix shipped meanwhile does not withdraw it. More replicas are no
    verdict.
    """
    done = find(rollback.status.conditions, ConditionType.COMPLETE)
    reason, outcome = done.reason if done is not None else "", rollback.status.outcome
    if reason == Reason.NOT_OF_THIS_POLICY:
        return False
    if not rollback.is_by_hand:
        return not rollback.spec.is_blame_open or has_acted(rollback)
    if rollback.spec.remedy.type not in (RemedyType.UNDO, RemedyType.PIN_IMAGE):
        return False
    steps = {step.name for step in rollback.status.steps}
    if outcome in _OUTCOMES_AFTER_ACT or StepName.ROLLOUT_COMPLETE in steps:
        return True
    is_refused = outcome is Outcome.FAILED and reason != Reason.UNDO_REVERTED
    return bool(steps & _ACTS) and not is_refused


def _condemnation(rollback: Rollback) -> Condemnation:
    spec, name = rollback.spec, rollback.metadata.name
    severity = None if rollback.is_by_hand else rollback.status.severity or spec.severity
    message = f"{name}: {spec.trigger.message}"
    return Condemnation(
        time=spec.trigger.decided_time,
        message=clipped(message, _LONGEST_REASON),
        severity=severity,
        rollback=name,
    )


def _on_record(
    policy: RollbackPolicy, rollbacks: Sequence[Rollback], now: datetime
) -> Iterator[Statement]:
    """Return the ledger's condemnations: for pruned or deleted records it is the only source."""
    condemning = {rollback.metadata.name: condemns(rollback) for rollback in rollbacks}
    for entry in policy.status.revisions:
        condemnation = entry.condemned
        if condemnation is not None and condemning.get(condemnation.rollback, True):
            time = condemnation.time if is_believed(condemnation.time, now) else LONG_AGO
            yield Statement(entry.release, time, Health.BAD, condemnation.message, condemnation)


def trusted_time(policy: RollbackPolicy, release: str, now: datetime) -> datetime | None:
    """Return when a person last trusted a release; None: nobody does.

    The ledger keeps a trust only until newer evidence counts against the release.
    """
    times = (each.time for each in _of_people(policy, now) if each.release == release)
    return max(times, default=None)


def _of_people(policy: RollbackPolicy, now: datetime) -> Iterator[Statement]:
    for trust in policy.spec.trust:
        if trust.time <= now + SKEW:
            message = clipped(f"trusted by {trust.by}: {trust.reason}", _LONGEST_REASON)
            yield Statement(trust.release, min(trust.time, now), Health.GOOD, message)
