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
_LED_AWAY = (Outcome.VERIFIED, Outcome.NOT_RECOVERED, Outcome.UNKNOWN)
_LONGEST = 256


@dataclass(frozen=True, slots=True)
class Word:
    """Statement about a release."""

    release: str
    time: datetime
    health: Health
    """Bad: condemned. Good: trusted. Assumed: restored. Unknown: cured."""
    reason: str
    condemned: Condemnation | None = None


def words(policy: RollbackPolicy, rollbacks: Sequence[Rollback], now: datetime) -> dict[str, Word]:
    """Return the newest statement on each release; at equal times, the statement against it.

    Args:
        policy: the policy, with its ledger and its `spec.trust`.
        rollbacks: all of the target.
        now: the current time.
    """
    found: dict[str, Word] = {}
    message = [
        *_on_record(policy, rollbacks, now),
        *_of_rollbacks(rollbacks, now),
        *_trusted(policy, now),
    ]
    for one in sorted(message, key=lambda one: (one.time, one.health is Health.BAD)):
        known = found.get(one.release)
        if one.health is Health.ASSUMED and known is not None and known.health is Health.GOOD:
            continue  # restored after a person trusted it: nothing speaks against it
        found[one.release] = one
    return found


def weighed(entry: LedgerEntry, word: Word | None) -> LedgerEntry:
    """Apply the newest statement on its release to an entry."""
    if word is None or word.health is not Health.GOOD:
        entry = _without_word(entry, word)
    if word is None:
        return entry
    changes: dict[str, object] = {"condemned": None, "trusted_time": None}
    match word.health:
        case Health.BAD:
            changes |= {"condemned": word.condemned}
        case Health.GOOD:
            changes |= {"trusted_time": word.time}
        case _ if entry.health is Health.GOOD or entry.health is word.health:
            return entry.model_copy(update=changes)  # earned since
        case Health.ASSUMED if entry.health is Health.BAD and entry.condemned is None:
            return entry  # recorded by a version that gave no time
        case Health.UNKNOWN if entry.health is not Health.BAD:
            return entry.model_copy(update=changes)
    return entry.model_copy(update={**changes, "health": word.health, "reason": word.reason})


def _without_word(entry: LedgerEntry, word: Word | None) -> LedgerEntry:
    """Withdraw the effect of a withdrawn statement: a trust or a condemnation."""
    is_withdrawn = entry.trusted_time is not None or (word is None and entry.condemned is not None)
    if not is_withdrawn:
        return entry
    changes = {"health": Health.UNKNOWN, "reason": "", "condemned": None, "trusted_time": None}
    return entry.model_copy(update=changes)


def _of_rollbacks(rollbacks: Iterable[Rollback], now: datetime) -> Iterator[Word]:
    for one in rollbacks:
        left, name = one.spec.from_revision.release, one.metadata.name
        decided = decided_time(one, now)
        if condemns(one):
            found = _condemnation(one)
            yield Word(left, decided, Health.BAD, found.message, found)
        if one.status.outcome is not Outcome.VERIFIED:
            continue
        end = ended_time(one, now) if one.status.finished_time is not None else decided
        if one.spec.to_revision is not None:
            message = f"{name} restored it and was Verified"
            yield Word(one.spec.to_revision.release, end, Health.ASSUMED, message)
        if one.spec.remedy.flag is not None:
            message = f"{name} set its flag and was Verified"
            yield Word(left, end, Health.UNKNOWN, message)


def restored(rollbacks: Iterable[Rollback]) -> frozenset[str]:
    """Return the releases that rollbacks have restored, whatever their outcome."""
    return frozenset(
        one.spec.to_revision.release
        for one in rollbacks
        if one.spec.to_revision is not None and any(step.name in _ACTS for step in one.status.steps)
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
    steps = {one.name for one in rollback.status.steps}
    if outcome in _LED_AWAY or StepName.ROLLOUT_COMPLETE in steps:
        return True
    is_refused = outcome is Outcome.FAILED and reason != Reason.UNDO_REVERTED
    return bool(steps & _ACTS) and not is_refused


def _condemnation(rollback: Rollback) -> Condemnation:
    spec, name = rollback.spec, rollback.metadata.name
    severity = None if rollback.is_by_hand else rollback.status.severity or spec.severity
    message = f"{name}: {spec.trigger.message}"
    return Condemnation(
        time=spec.trigger.decided_time,
        message=clipped(message, _LONGEST),
        severity=severity,
        rollback=name,
    )


def _on_record(
    policy: RollbackPolicy, rollbacks: Sequence[Rollback], now: datetime
) -> Iterator[Word]:
    """Return the ledger's condemnations: for pruned or deleted records it is the only source."""
    known = {one.metadata.name: condemns(one) for one in rollbacks}
    for one in policy.status.revisions:
        found = one.condemned
        if found is not None and known.get(found.rollback, True):
            time = found.time if is_believed(found.time, now) else LONG_AGO
            yield Word(one.release, time, Health.BAD, found.message, found)


def _trusted(policy: RollbackPolicy, now: datetime) -> Iterator[Word]:
    for one in policy.spec.trust:
        if one.time <= now + SKEW:
            message = clipped(f"trusted by {one.by}: {one.reason}", _LONGEST)
            yield Word(one.release, min(one.time, now), Health.GOOD, message)
