"""The condition Recovered: true or false of what runs now, and of nothing else."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from rollback_operator.api.reasons import ConditionType, EventReason, Reason
from rollback_operator.api.remedy import TrafficRecord
from rollback_operator.api.rollback_plan import MOST_ATTEMPTS
from rollback_operator.api.v1alpha1 import (
    Condemnation,
    Health,
    MatrixSeverity,
    Mode,
    Outcome,
    Remedy,
    RemedyType,
    Revision,
    Rollback,
    RollbackPolicyStatus,
    Severity,
    UndoTo,
    VerdictValue,
)
from rollback_operator.decide.decide import Decision
from rollback_operator.model.conditions import condition, find
from rollback_operator.model.verdict import Verdict
from rollback_operator.remedies.progress import RollbackEnd
from rollback_operator.remedies.rollback_status import ended
from rollback_operator.report.events import policy_notices
from rollback_operator.report.recovery import AGAIN, NEEDED, REMOVE, STAYS, recovered
from rollback_operator.report.status import StatusInputs, next_status, ready
from tests.builders import (
    at,
    make_entry,
    make_ref,
    make_rollback,
    make_scope,
    make_trigger_record,
    make_verdict,
    make_watching,
    make_workload,
)

BLOCKED = Outcome.BLOCKED, Reason.CHECKLIST_BLOCKED
SCALE = Remedy(type=RemedyType.SCALE, replicas=6)
PIN = Remedy(type=RemedyType.PIN_IMAGE, container="ticket-service", image="shop:v1")


def revision(version: str, **changes: Any) -> Revision:
    entry = make_entry(version).model_dump(exclude={"health", "reason"})
    return Revision(**{**entry, **changes})


def over(outcome: Outcome, reason: Reason = Reason.STILL_FAILING, **changes: Any) -> Rollback:
    status = ended(make_rollback(), RollbackEnd(outcome, reason, "so it was"), at(60))
    return make_rollback(status=status, **changes)


def by_hand(outcome: Outcome, reason: Reason, **changes: Any) -> Rollback:
    made = over(outcome, reason, **changes)
    status = made.status.model_copy(update={"plan": made.spec.plan})
    return made.model_copy(update={"status": status})


V1, V2, V3 = revision("v1"), revision("v2"), revision("v3")
TO_PREVIOUS = Remedy(type=RemedyType.UNDO, to=UndoTo.PREVIOUS)
TO_FIRST = Remedy(type=RemedyType.UNDO, to=UndoTo.REVISION, revision=1)
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
        of_target=rollbacks,
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
NAMED_BEFORE = "; a person is needed: nothing was rolled back"
"""The end's own message names the command."""
THEN = {
    "blocked": (over(*BLOCKED), AGAIN),
    "blocked for the last time": (over(*BLOCKED, attempt=MOST_ATTEMPTS), STAYS),
    "suspended meanwhile": (over(Outcome.ABANDONED, Reason.SUSPENDED), AGAIN),
    "nobody answered": (over(Outcome.ABANDONED, Reason.APPROVAL_TIMED_OUT), NAMED_BEFORE),
    "rejected": (over(Outcome.REJECTED, Reason.REJECTED_BY_PERSON), NAMED_BEFORE),
    "a request whose question was deleted": (
        by_hand(Outcome.REJECTED, Reason.ROLLBACK_DELETED, remedy=TO_FIRST),
        STILL_RUNS.replace("production", "production --to 1"),
    ),
    "a request that expired": (
        by_hand(Outcome.ABANDONED, Reason.REQUEST_EXPIRED, remedy=PIN),
        NAMED_BEFORE,
    ),
    "it did not help": (USELESS, NEEDED),
}


@pytest.mark.parametrize(("last", "then"), THEN.values(), ids=THEN)
def test_what_follows_is_said(last: Rollback, then: str) -> None:
    assert recovered([last], V2).message.endswith(then)


ABANDONED, PAUSED = Outcome.ABANDONED, Reason.TARGET_PAUSED
REQUESTS = {
    "paused": (by_hand(ABANDONED, PAUSED), "--to last-known-good"),
    "stale": (by_hand(ABANDONED, Reason.ROLLBACK_STALE, remedy=TO_FIRST), "--to 1"),
    "blocked": (by_hand(*BLOCKED, remedy=TO_PREVIOUS), "--to previous"),
    "scaled": (by_hand(*BLOCKED, remedy=SCALE), "--replicas 6"),
    "pinned": (by_hand(ABANDONED, PAUSED, remedy=PIN), "--image ticket-service=shop:v1"),
}


@pytest.mark.parametrize(("last", "option"), REQUESTS.values(), ids=REQUESTS)
def test_no_retry_of_a_manual_rollback_is_promised(last: Rollback, option: str) -> None:
    message = recovered([last], V2).message
    assert AGAIN not in message
    assert "does not repeat a manual rollback" in message
    undo = f"kubectl rollback undo ticket-service -n production {option} --reason TEXT"
    assert message.endswith(undo)


STOPPED = over(
    Outcome.UNKNOWN,
    Reason.TRAFFIC_STOPPED,
    remedy=Remedy(type=RemedyType.SCALE, replicas=0),
    to_revision=None,
)
RESUME = "To end the stop: kubectl rollback resume ticket-service -n production"


@pytest.mark.parametrize(
    ("record", "then"),
    [
        (TrafficRecord(replicas=2), RESUME),
        (
            TrafficRecord(replicas=2, restored_time=at(70), restore_message="it has 3 replicas"),
            "The stop has ended: it has 3 replicas",
        ),
    ],
)
def test_a_stop_of_the_traffic_is_stated_whatever_runs_by_now(record, then) -> None:
    status = STOPPED.status.model_copy(update={"traffic": record})
    message = recovered([STOPPED.model_copy(update={"status": status})], V2).message
    assert message == (
        f"{STOPPED.metadata.name} stopped the traffic, and nothing was rolled back. {then}"
    )


PROVED = make_scope(odds=1e9)
GOES_WELL = make_watching(scopes=(make_scope(errors=0, odds=0.0, rate_lower_bound=0.0),))
FAILS_ALIKE = make_watching(scopes=(make_scope(odds=0.0, rate_lower_bound=0.9),))
STALE = make_watching(value=VerdictValue.NO_VERDICT, reason=Reason.SAMPLES_STALE, message="8 s old")
FEW = make_watching(value=VerdictValue.NO_VERDICT, reason=Reason.TOO_FEW_REQUESTS)
HALF = replace(
    make_verdict(PROVED), value=VerdictValue.SUSPECT, reason=Reason.ENVIRONMENT_SUSPECTED
)
BAD = Decision(make_verdict(PROVED), Severity.P1)
RESTORED = make_entry("v1", Health.ASSUMED)


def seen_with(decision: Decision | None, rollback: Rollback = HELPED, **changes: Any):
    entry = RESTORED.model_copy(update=changes)
    return StatusInputs(
        ready(Reason.WATCHING_TARGET),
        workload=make_workload("v1", ("v2",)) if decision is not None else None,
        ledger=(entry,),
        decision=decision,
        of_target=(rollback,),
    )


def followed(*inputs: StatusInputs) -> tuple[list[str], list[str]]:
    """Return Recovered after each pass, and the messages of the Event in all of them."""
    status, results, events = status_of(), [], []
    for number, seen in enumerate(inputs, 2):
        new = next_status(status, seen, 1, at(100 * number))
        found = find(new.conditions, ConditionType.RECOVERED)
        assert found is not None
        results.append(found.status)
        events += [
            notice.message
            for notice in policy_notices(status, new, seen.decision)
            if notice.reason is EventReason.ROLLBACK_NOT_RECOVERED
        ]
        assert next_status(new, seen, 1, at(100 * number + 50)) == new
        status = new
    return results, events


def of(verdict: Verdict) -> StatusInputs:
    return seen_with(Decision(verdict))


@pytest.mark.parametrize(
    "failing", [seen_with(BAD), of(FAILS_ALIKE), of(HALF)], ids=["bad", "alike", "suspect"]
)
def test_a_restored_release_that_fails_is_not_recovered_until_counts_show_it(failing) -> None:
    well = of(GOES_WELL)
    passes = [well, failing, of(STALE), failing, of(FEW), seen_with(None), failing, well, failing]

    results, (message,) = followed(*passes)

    assert results == ["True", *["False"] * 6, "True", "False"]
    assert NEEDED in message
    assert "Since then it is" in message


def test_missing_data_does_not_withdraw_a_recovery() -> None:
    assert followed(of(GOES_WELL), of(STALE), of(FEW), seen_with(None)) == (["True"] * 4, [])


def test_a_finding_after_the_rollback_counts_until_a_person_trusts_the_release() -> None:
    def found(time: float) -> StatusInputs:
        record = Condemnation(time=at(time), message="P1: all failed", severity=MatrixSeverity.P1)
        return seen_with(Decision(STALE), condemned=record, health=Health.BAD)

    trusted = seen_with(Decision(STALE), trusted_time=at(350), health=Health.GOOD)

    assert followed(found(30))[0] == ["True"]
    results, events = followed(of(GOES_WELL), found(120), trusted)
    assert results == ["True", "False", "True"]
    assert len(events) == 1


@pytest.mark.parametrize(
    "rollback", [HELPED, over(Outcome.FAILED, Reason.UNDO_REVERTED)], ids=["verified", "reverted"]
)
def test_a_release_that_a_person_has_trusted_since_runs_again_without_a_warning(rollback) -> None:
    def running(**changes: Any) -> StatusInputs:
        entry = make_entry("v2").model_copy(update=changes)
        again = make_workload("v2", ("v1",))
        return replace(seen_with(Decision(STALE), rollback), workload=again, ledger=(entry,))

    decided = rollback.spec.trigger.decided_time
    trusted = running(trusted_time=decided + timedelta(seconds=1))
    assert followed(trusted) == (["Unknown"], [])
    earlier = running(trusted_time=decided - timedelta(seconds=1))
    results, events = followed(earlier, trusted, running(health=Health.BAD))
    assert results == ["False", "Unknown", "False"]
    assert len(events) == 1


def test_a_rollback_with_an_unknown_result_is_known_once_its_release_is_found_bad() -> None:
    unknown = over(Outcome.UNKNOWN, Reason.TOO_FEW_REQUESTS)
    passes = seen_with(Decision(STALE), unknown), seen_with(BAD, unknown)

    results, events = followed(*passes)

    assert results == ["Unknown", "False"]
    assert len(events) == 1


def test_each_rollback_and_each_cause_is_reported_once() -> None:
    later = over(
        Outcome.NOT_RECOVERED, trigger=make_trigger_record(decided_time=at(100))
    ).model_copy(update={"metadata": HELPED.metadata.model_copy(update={"name": "later"})})
    again = seen_with(Decision(STALE), later)

    results, events = followed(seen_with(BAD), again, again)

    assert results == ["False"] * 3
    assert [message.partition(":")[0].partition(" ")[0] for message in events] == [
        HELPED.metadata.name,
        "later",
    ]


def test_the_report_of_an_earlier_version_is_not_repeated() -> None:
    known = status_of(USELESS).model_copy(update={"not_recovered": None})

    assert policy_notices(known, status_of(USELESS, old=known), None) == []


def test_an_older_fault_does_not_count_against_a_rollback_that_kept_the_release() -> None:
    plan = {"remedy": SCALE, "to_revision": None, "from_revision": make_ref("v1")}
    scaled = over(Outcome.VERIFIED, Reason.RECOVERED, **plan)

    def since(seconds: float) -> StatusInputs:
        verdict = replace(make_verdict(PROVED), first_bad=at(seconds).timestamp())
        return seen_with(Decision(verdict, Severity.P2), scaled)

    assert followed(since(10))[0] == ["True"]
    assert followed(since(90))[0] == ["False"]


def test_of_two_policies_on_a_target_the_older_reports() -> None:
    younger = StatusInputs(
        condition(ConditionType.READY, False, Reason.TARGET_ALREADY_WATCHED), of_target=(USELESS,)
    )
    known = status_of()

    new = next_status(known, younger, 1, at(99))

    assert new.not_recovered is None
    assert find(new.conditions, ConditionType.RECOVERED) == find(
        known.conditions, ConditionType.RECOVERED
    )
