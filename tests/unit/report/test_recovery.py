"""The condition Recovered: true or false of what runs now, and of nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from rollback_operator.api.reasons import ConditionType, EventReason, Reason
from rollback_operator.api.rollback_plan import MOST_ATTEMPTS
from rollback_operator.api.v1alpha1 import (
    Mode,
    Outcome,
    Remedy,
    RemedyType,
    Revision,
    Rollback,
    RollbackPolicyStatus,
    RollbackStatus,
)
from rollback_operator.model.conditions import condition, find
from rollback_operator.remedies.progress import RollbackEnd
from rollback_operator.remedies.rollback_status import ended
from rollback_operator.report.events import policy_notices
from rollback_operator.report.recovery import AGAIN, NEEDED, REMOVE, STAYS, recovered
from rollback_operator.report.status import StatusInputs, next_status, ready
from tests.builders import at, make_entry, make_rollback, make_workload

BLOCKED = Outcome.BLOCKED, Reason.CHECKLIST_BLOCKED
SCALE = Remedy(type=RemedyType.SCALE, replicas=6)
PIN = Remedy(type=RemedyType.PIN_IMAGE, container="ticket-service", image="shop:v1")


def revision(version: str, **changes: Any) -> Revision:
    entry = make_entry(version).model_dump(exclude={"health", "reason"})
    return Revision(**{**entry, **changes})


def over(outcome: Outcome, reason: Reason = Reason.STILL_FAILING, **changes: Any) -> Rollback:
    status = ended(RollbackStatus(), RollbackEnd(outcome, reason, "so it was"), at(60))
    return make_rollback(status=status, **changes)


V1, V2, V3 = revision("v1"), revision("v2"), revision("v3")
PINNED = revision("v2", digest="pinned", release="pinned", images=["shop:v1"])
HELPED, USELESS = over(Outcome.VERIFIED, Reason.RECOVERED), over(Outcome.NOT_RECOVERED)
NONE = ("Unknown", "NotRolledBack")
CASES = {
    "none": ([], V1, NONE),
    "it helped": ([HELPED], V1, ("True", "Recovered")),
    "it helped, and was reverted": ([HELPED], V2, ("False", "UndoReverted")),
    "it did not": ([USELESS], V1, ("False", "StillFailing")),
    "it did not, and was restarted since": (
        [USELESS],
        revision("v1", number=3, digest="digest-v1-restarted"),
        ("False", "StillFailing"),
    ),
    "it helped, and the bad release was brought back with another annotation": (
        [HELPED],
        revision("v2", number=4, digest="digest-v2-restarted"),
        ("False", "UndoReverted"),
    ),
    "it did not, by a probe": (
        [over(Outcome.NOT_RECOVERED, Reason.CHECK_FAILED)],
        V1,
        ("False", "CheckFailed"),
    ),
    "not known": (
        [over(Outcome.UNKNOWN, Reason.TOO_FEW_REQUESTS)],
        V1,
        ("Unknown", "TooFewRequests"),
    ),
    "a newer release runs": ([USELESS], V3, NONE),
    "nothing is known of what runs": ([USELESS], None, NONE),
    "still running": ([make_rollback()], V2, ("Unknown", "InProgress")),
    "refused: the bad release runs on": (
        [over(Outcome.FAILED, Reason.STEP_REFUSED)],
        V2,
        ("False", "StepRefused"),
    ),
    "mode Observe does nothing": ([over(Outcome.OBSERVED, mode=Mode.OBSERVE)], V2, NONE),
    "scaled": (
        [over(Outcome.NOT_RECOVERED, remedy=SCALE, to_revision=None)],
        V2,
        ("False", "StillFailing"),
    ),
    "pinned": (
        [over(Outcome.VERIFIED, Reason.RECOVERED, remedy=PIN, to_revision=None)],
        PINNED,
        ("True", "Recovered"),
    ),
    "pinned, and a newer release": (
        [over(Outcome.NOT_RECOVERED, remedy=PIN, to_revision=None)],
        V3,
        NONE,
    ),
}


@pytest.mark.parametrize(("rollbacks", "running", "expected"), CASES.values(), ids=CASES)
def test_recovered(rollbacks, running, expected) -> None:
    found = recovered(rollbacks, running)
    assert (found.status, found.reason) == expected
    # A refused rollback was none: the message on a rollback that is never rolled back is absent.
    stays = {"UndoReverted": REMOVE, "StepRefused": "nothing was rolled back"}
    needed = stays.get(expected[1], NEEDED)
    assert (needed in found.message) == (expected[0] == "False" or expected[1] == "TooFewRequests")


def status_of(
    *rollbacks: Rollback, old: RollbackPolicyStatus | None = None
) -> RollbackPolicyStatus:
    seen = StatusInputs(
        ready(Reason.WATCHING_TARGET),
        workload=make_workload("v1", ("v2",)),
        rollbacks=rollbacks,
    )
    return next_status(old or RollbackPolicyStatus(), seen, 1, at(10))


def test_a_rollback_that_did_not_help_is_told_once() -> None:
    before = status_of()
    after = status_of(USELESS, old=before)
    told = [one for one in policy_notices(before, after, None) if one.is_warning]
    assert [one.reason for one in told] == [EventReason.ROLLBACK_NOT_RECOVERED]
    assert NEEDED in told[0].message
    assert policy_notices(after, status_of(USELESS, old=after), None) == []
    assert policy_notices(before, status_of(HELPED, old=before), None) == []


def test_a_policy_at_a_stand_keeps_what_it_knew() -> None:
    known = status_of(USELESS)
    stand = StatusInputs(condition(ConditionType.READY, True, Reason.SUSPENDED))
    found = find(next_status(known, stand, 2, at(99)).conditions, ConditionType.RECOVERED)
    assert found is not None
    assert (found.status, found.last_transition_time) == ("False", at(10))


STILL_RUNS = (
    "nothing was rolled back: revision 2 still runs. To roll back: kubectl rollback undo "
    "ticket-service -n production --reason TEXT"
)
THEN = {
    "blocked": (over(*BLOCKED), AGAIN),
    "blocked for the last time": (over(*BLOCKED, attempt=MOST_ATTEMPTS), STAYS),
    "suspended meanwhile": (over(Outcome.ABANDONED, Reason.SUSPENDED), AGAIN),
    "nobody answered": (over(Outcome.ABANDONED, Reason.APPROVAL_TIMED_OUT), STILL_RUNS),
    "rejected": (over(Outcome.REJECTED, Reason.REJECTED_BY_PERSON), STILL_RUNS),
    "it did not help": (USELESS, NEEDED),
}


@pytest.mark.parametrize(("last", "then"), THEN.values(), ids=THEN)
def test_what_follows_is_said(last: Rollback, then: str) -> None:
    assert recovered([last], V2).message.endswith(then)
