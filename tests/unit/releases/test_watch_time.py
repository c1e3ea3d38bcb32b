"""For how long a release is watched: not the time in which nobody could look."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from rollback_operator.api.reasons import ConditionType, Reason
from rollback_operator.api.v1alpha1 import (
    Condition,
    Health,
    LedgerEntry,
    Revision,
    RollbackPolicy,
    SafetySpec,
    VerdictValue,
)
from rollback_operator.decide.decide import Decision
from rollback_operator.decide.evaluate import is_due
from rollback_operator.model import conditions
from rollback_operator.model.samples import Missing
from rollback_operator.report import status
from rollback_operator.report.status import StatusInputs, next_status
from tests.builders import (
    at,
    make_deployment,
    make_entry,
    make_policy,
    make_watching,
    make_workload,
)

READY = status.ready(Reason.WATCHING_TARGET)
SUSPENDED = status.ready(Reason.SUSPENDED, "spec.suspend")
PAUSED = status.not_ready(Reason.TARGET_PAUSED, "by a person")
HOUR = 3600
STEP = HOUR // 10
SAFETY = SafetySpec()


def looked_at(**changes: Any) -> RollbackPolicy:
    """A policy whose release v2 was made at 0 and is Unknown yet; `changes` are of its status."""
    policy = make_policy()
    entry = make_entry("v2", Health.UNKNOWN, since=at(0))
    known = Revision.model_validate(entry.model_dump(include=set(Revision.model_fields)))
    told = conditions.upsert([], [READY], 1, at(0))
    fields = {"revision": known, "revisions": [entry], "conditions": told} | changes
    return policy.model_copy(update={"status": policy.status.model_copy(update=fields)})


def seen(entries: Sequence[LedgerEntry] = (make_entry("v2", Health.UNKNOWN),)) -> StatusInputs:
    """A look that nothing is missing in."""
    workload, decision = make_workload("v2"), Decision(make_watching())
    return StatusInputs(
        READY,
        workload=workload,
        ledger=entries,
        decision=decision,
        opened=at(0),
        safety=SAFETY,
    )


def followed(policy: RollbackPolicy, found: StatusInputs, seconds: float) -> RollbackPolicy:
    """The policy after a pass."""
    made = next_status(policy.status, found, 1, at(seconds))
    return policy.model_copy(update={"status": made})


def due(policy: RollbackPolicy, now: datetime) -> bool:
    return is_due(policy, make_deployment("v2"), now)


def test_a_watch_lasts_its_time_from_when_the_release_was_made() -> None:
    policy = looked_at()

    assert due(policy, at(HOUR - 1))
    assert not due(policy, at(HOUR))


def test_what_is_first_looked_at_late_is_watched_as_long_from_then() -> None:
    seen = StatusInputs(READY, workload=make_workload("v2"), opened=at(0))

    made = next_status(make_policy().status, seen, 1, at(2 * HOUR))

    assert made.watched_since == at(2 * HOUR)
    assert made.revision is not None
    assert made.revision.since == at(0), "what it has served is counted from its first request on"
    policy = make_policy().model_copy(update={"status": made})
    assert due(policy, at(3 * HOUR - 1))
    assert not due(policy, at(3 * HOUR))


def test_what_is_looked_at_at_once_needs_no_time_of_its_own() -> None:
    seen = StatusInputs(READY, workload=make_workload("v2"), opened=at(0))

    assert next_status(make_policy().status, seen, 1, at(20)).watched_since is None


@pytest.mark.parametrize(
    ("health", "is_watched"),
    [(Health.UNKNOWN, True), (Health.BAD, True), (Health.GOOD, False), (Health.ASSUMED, False)],
)
def test_what_was_left_of_a_watch_is_watched_after_the_gap_unless_the_release_has_earned_it(
    health: Health, is_watched: bool
) -> None:
    """The operator was down, nobody led, the policy was at rest or the target unread."""
    entries = [make_entry("v2", health, since=at(0))]
    policy = looked_at(watched_until=at(600), revisions=entries)

    assert due(policy, at(5 * HOUR)) is is_watched

    back = followed(policy, seen(entries), 5 * HOUR)
    assert back.status.watched_since == (at(5 * HOUR - 600 - STEP) if is_watched else None)
    left = HOUR - 600 - STEP
    for second in range(20, left, 20):
        assert due(back, at(5 * HOUR + second)) is is_watched
        back = followed(back, seen(entries), 5 * HOUR + second)
    back = followed(back, seen(entries), 5 * HOUR + left)
    assert not due(back, at(5 * HOUR + left + 1))
    assert back.status.watched_until is None


@pytest.mark.parametrize("why", [SUSPENDED, PAUSED], ids=["suspended", "paused"])
def test_a_watch_that_was_over_when_the_rest_began_is_not_begun_anew(why: Condition) -> None:
    policy = looked_at(watched_until=at(3500))
    for second in (HOUR, HOUR + 10):
        policy = followed(policy, seen(), second)

    rested = followed(policy, StatusInputs(why, safety=SAFETY), 2 * HOUR)

    assert not due(rested, at(2 * HOUR + 6))
    assert rested.status.watched_since is None


def test_a_rest_in_the_midst_of_a_watch_counts_up_to_the_last_look() -> None:
    rested = followed(looked_at(watched_until=at(600)), StatusInputs(SUSPENDED, safety=SAFETY), 620)

    assert due(rested, at(5 * HOUR))


BLIND = [
    Reason.PROVIDER_UNREACHABLE,
    Reason.PROVIDER_ERROR,
    Reason.CREDENTIALS_UNAVAILABLE,
    Reason.NOT_YET_READ,
    Reason.ANSWER_TOO_LARGE,
]


@pytest.mark.parametrize("reason", BLIND)
def test_a_watch_does_not_pass_while_metrics_cannot_be_read(reason: Reason) -> None:
    away = replace(seen(), missing=Missing(reason, "away"))
    policy = looked_at(watched_until=at(0))
    for second in range(5, 2 * HOUR, 300):
        policy = followed(policy, away, second)

    assert due(policy, at(2 * HOUR)), "it has not been looked at yet"
    back = followed(policy, seen(), 2 * HOUR)
    assert back.status.watched_since == at(2 * HOUR - STEP)
    assert due(back, at(2 * HOUR + 1))


def test_a_watch_ends_however_seldom_it_is_looked_at() -> None:
    policy, looks = looked_at(watched_until=at(0)), 0
    while due(policy, at(looks * HOUR)):
        policy, looks = followed(policy, seen(), looks * HOUR), looks + 1

    assert looks <= 11


def test_samples_that_are_stale_throughout_are_no_look() -> None:
    stale = Decision(make_watching(value=VerdictValue.NO_VERDICT, reason=Reason.SAMPLES_STALE))
    policy = looked_at(watched_until=at(0))
    for second in range(5, 2 * HOUR, 300):
        policy = followed(policy, replace(seen(), decision=stale), second)

    assert due(policy, at(2 * HOUR))


def test_too_few_requests_are_a_look() -> None:
    few = Decision(make_watching(value=VerdictValue.NO_VERDICT, reason=Reason.TOO_FEW_REQUESTS))
    policy = looked_at(watched_until=at(0))
    for second in range(5, HOUR + 10, 5):
        policy = followed(policy, replace(seen(), decision=few), second)

    assert not due(policy, at(HOUR + 10))
    assert policy.status.watched_since is None


def test_a_watch_is_put_on_record_ten_times() -> None:
    policy = looked_at(watched_until=at(0))
    found = set()
    for second in range(5, 2 * HOUR, 5):
        policy = followed(policy, seen(), second)
        found.add(policy.status.watched_until)

    assert len(found) <= 11
    assert policy.status.watched_since is None


def test_its_first_look_puts_the_watch_on_record() -> None:
    """The operator is killed right after it."""
    policy = followed(make_policy(), replace(seen(), opened=at(0)), 2)

    assert policy.status.watched_until == at(0)
    assert due(policy, at(5 * HOUR))


def test_a_clock_that_was_ahead_does_not_end_a_watch() -> None:
    assert due(looked_at(watched_until=at(9 * HOUR)), at(60))


def test_a_watch_that_ends_without_a_verdict_says_so() -> None:
    few = make_watching(
        value=VerdictValue.NO_VERDICT, reason=Reason.TOO_FEW_REQUESTS, message="3 requests"
    )
    policy = looked_at(watched_until=at(3500))
    policy = followed(policy, replace(seen(), decision=Decision(few)), HOUR)

    over = followed(policy, StatusInputs(READY, safety=SAFETY), HOUR + 1)

    said = conditions.find(over.status.conditions, ConditionType.HEALTHY)
    assert said is not None
    assert (said.status, said.reason) == ("Unknown", Reason.NO_RELEASE_WATCHED)
    assert said.message == (
        "the evaluation of revision 2 has ended without a verdict; last evaluation: 3 requests"
    )


def test_another_look_changes_nothing() -> None:
    policy = looked_at(watched_since=at(2 * HOUR))
    seen = StatusInputs(READY, workload=make_workload("v2"), opened=at(0))

    assert next_status(policy.status, seen, 1, at(2 * HOUR + 60)).watched_since == at(2 * HOUR)
