"""For how long a release is watched: not the time in which nobody could look."""

from datetime import datetime
from typing import Any

import pytest

from rollback_operator.api.reasons import Reason
from rollback_operator.api.v1alpha1 import Condition, Health, Revision, RollbackPolicy
from rollback_operator.core import conditions, status
from rollback_operator.core.look import is_due
from rollback_operator.core.status import Seen, next_status
from tests.builders import at, make_deployment, make_entry, make_policy, make_workload

READY = status.ready(Reason.WATCHING_TARGET)
SUSPENDED = status.ready(Reason.SUSPENDED, "spec.suspend")
PAUSED = status.not_ready(Reason.TARGET_PAUSED, "by a person")
HOUR = 3600


def looked_at(**changes: Any) -> RollbackPolicy:
    """A policy whose release v2 was made at 0 and is Unknown yet; `changes` are of its status."""
    policy = make_policy()
    entry = make_entry("v2", Health.UNKNOWN, since=at(0))
    known = Revision.model_validate(entry.model_dump(include=set(Revision.model_fields)))
    told = conditions.upsert([], [READY], 1, at(0))
    fields = {"revision": known, "revisions": [entry], "conditions": told} | changes
    return policy.model_copy(update={"status": policy.status.model_copy(update=fields)})


def at_rest(health: Health = Health.UNKNOWN, why: Condition = SUSPENDED) -> RollbackPolicy:
    told = conditions.upsert([], [why], 1, at(10))
    return looked_at(conditions=told, revisions=[make_entry("v2", health, since=at(0))])


def due(policy: RollbackPolicy, now: datetime) -> bool:
    return is_due(policy, make_deployment("v2"), now)


def test_a_watch_lasts_its_time_from_when_the_release_was_made() -> None:
    policy = looked_at()

    assert due(policy, at(HOUR - 1))
    assert not due(policy, at(HOUR))


def test_what_is_first_looked_at_late_is_watched_as_long_from_then() -> None:
    seen = Seen(READY, workload=make_workload("v2"), opened=at(0))

    made = next_status(make_policy().status, seen, 1, at(2 * HOUR))

    assert made.watched_since == at(2 * HOUR)
    assert made.revision is not None
    assert made.revision.since == at(0), "what it has served is counted from its first request on"
    policy = make_policy().model_copy(update={"status": made})
    assert due(policy, at(3 * HOUR - 1))
    assert not due(policy, at(3 * HOUR))


def test_what_is_looked_at_at_once_needs_no_time_of_its_own() -> None:
    seen = Seen(READY, workload=make_workload("v2"), opened=at(0))

    assert next_status(make_policy().status, seen, 1, at(20)).watched_since is None


@pytest.mark.parametrize("why", [SUSPENDED, PAUSED], ids=["suspended", "paused"])
@pytest.mark.parametrize(
    ("health", "is_watched"),
    [(Health.UNKNOWN, True), (Health.BAD, True), (Health.GOOD, False), (Health.ASSUMED, False)],
)
def test_after_a_rest_the_watch_begins_anew_unless_the_release_has_earned_it(
    health: Health, is_watched: bool, why: Condition
) -> None:
    policy = at_rest(health, why)

    assert due(policy, at(5 * HOUR)) is is_watched
    made = next_status(policy.status, Seen(READY), 1, at(5 * HOUR))

    back = policy.model_copy(update={"status": made})
    assert made.watched_since == (at(5 * HOUR) if is_watched else None)
    assert due(back, at(6 * HOUR - 1)) is is_watched
    assert not due(back, at(6 * HOUR))


def test_while_it_rests_nothing_begins() -> None:
    policy = at_rest()

    assert next_status(policy.status, Seen(SUSPENDED), 1, at(5 * HOUR)).watched_since is None


def test_another_look_changes_nothing() -> None:
    policy = looked_at(watched_since=at(2 * HOUR))
    seen = Seen(READY, workload=make_workload("v2"), opened=at(0))

    assert next_status(policy.status, seen, 1, at(2 * HOUR + 60)).watched_since == at(2 * HOUR)
