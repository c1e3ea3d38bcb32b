from dataclasses import replace

import pytest

from rollback_operator.api.reasons import EventReason, Reason
from rollback_operator.api.v1alpha1 import (
    Health,
    Outcome,
    Response,
    RollbackPolicyStatus,
    RollbackStatus,
    Severity,
    VerdictValue,
)
from rollback_operator.decide.decide import Decision
from rollback_operator.model.context import Refusal
from rollback_operator.model.samples import Missing
from rollback_operator.remedies.progress import RollbackEnd
from rollback_operator.remedies.rollback_status import ended
from rollback_operator.report.events import (
    finished,
    held,
    image_not_pulled,
    let_go,
    policy_notices,
    request_refused,
    started,
    suspicion,
)
from rollback_operator.report.status import StatusInputs, next_status, not_ready, ready
from tests.builders import (
    at,
    make_ended,
    make_entry,
    make_hold,
    make_pod,
    make_rollback,
    make_verdict,
    make_watching,
    make_workload,
)

CLEAN = Decision(make_watching())
ROLLBACK = Decision(make_verdict(), Severity.P1, Response.ROLLBACK)
LEDGER = (make_entry("v2", Health.UNKNOWN), make_entry("v1"))


def status_of(decision, old=None, workload=None, ledger=LEDGER):
    seen = StatusInputs(
        ready(Reason.WATCHING_TARGET),
        workload=workload or make_workload(),
        ledger=ledger,
        decision=decision,
        opened=at(0),
    )
    return next_status(old or RollbackPolicyStatus(), seen, 1, at(10))


WATCHING = status_of(CLEAN)


def told(decision, **changes) -> list[EventReason]:
    new = status_of(decision, WATCHING, **changes)
    return [one.reason for one in policy_notices(WATCHING, new, decision)]


def refused(reason: Reason) -> Decision:
    return replace(ROLLBACK, refusal=Refusal(reason, "why"))


@pytest.mark.parametrize(
    ("decision", "expected"),
    [
        (CLEAN, []),
        (ROLLBACK, [EventReason.RELEASE_BAD]),
        (replace(ROLLBACK, response=Response.REPORT), [EventReason.FIX_FORWARD_ADVISED]),
        (replace(ROLLBACK, response=Response.INVESTIGATE), [EventReason.INVESTIGATION_NEEDED]),
        (
            Decision(make_verdict(value=VerdictValue.SUSPECT, reason=Reason.FEW_PODS_AFFECTED)),
            [EventReason.RELEASE_SUSPECT],
        ),
        (refused(Reason.BUDGET_EXHAUSTED), [EventReason.ROLLBACK_REFUSED]),
        (refused(Reason.ROLLBACK_ACTIVE), [EventReason.RELEASE_BAD]),
        (Decision(make_watching(reason=Reason.TOO_FEW_REQUESTS)), []),
    ],
    ids=["clean", "bad", "report", "investigate", "suspect", "refused", "being done", "too few"],
)
def test_a_verdict_is_told_when_it_changes(decision, expected) -> None:
    assert told(decision) == expected


def test_a_symptom_is_reported_beside_an_error_rate_that_is_not_proved() -> None:
    slow = replace(ROLLBACK, response=Response.INVESTIGATE, basis="p99 is 3 times the old one")
    (notice,) = policy_notices(WATCHING, status_of(slow, WATCHING), slow)
    assert notice.message == f"{slow.severity}: p99 is 3 times the old one"


def test_it_is_told_once() -> None:
    bad = status_of(ROLLBACK, WATCHING)
    again = status_of(ROLLBACK, bad)
    assert policy_notices(bad, again, ROLLBACK) == []


def test_a_release_and_its_proof_are_told() -> None:
    workload = make_workload("v3", older=("v2", "v1"))
    assert told(CLEAN, workload=workload) == [EventReason.RELEASE_WATCHED]
    good = (make_entry("v2"), make_entry("v1"))
    assert told(CLEAN, ledger=good) == [EventReason.RELEASE_GOOD]
    assert policy_notices(RollbackPolicyStatus(), WATCHING, None) == []


def test_a_hold_and_its_end_are_told() -> None:
    begun, over = (
        held(make_hold(), "To restore revision 2: COMMAND"),
        let_go(
            make_hold(release_reason="SuspicionFaded", release_message="nothing speaks against it")
        ),
    )

    assert (begun.reason, begun.is_warning) == (EventReason.ROLLOUT_HELD, True)
    assert begun.message == (
        "Suspicion: held until 08:05:20 UTC at the latest: it fails more. To restore revision 2: "
        "COMMAND (kubectl's own undo fails while a rollout is paused)"
    )
    assert (over.reason, over.is_warning) == (EventReason.ROLLOUT_LET_GO, False)
    assert over.message == "SuspicionFaded: nothing speaks against it"


def test_start_and_end_of_a_rollback() -> None:
    start = started(make_rollback())
    assert start.reason is EventReason.ROLLBACK_STARTED
    assert start.message == "P1 Undo to revision 1: all purchases fail"
    assert "revision" not in started(make_rollback(to_revision=None)).message
    asked = started(make_rollback(status=RollbackStatus(plan=make_rollback().spec.plan)))
    assert asked.message == "Undo to revision 1: all purchases fail"  # a person gives no severity
    end = RollbackEnd(Outcome.VERIFIED, Reason.RECOVERED, "0 of 200 requests have failed")
    over = make_rollback(status=ended(make_rollback(), end, at(60)))
    assert finished(over).message == "Verified: 0 of 200 requests have failed"
    assert not finished(over).is_warning
    assert finished(make_rollback(status=make_ended(Outcome.FAILED))).is_warning
    observed = finished(make_rollback(status=make_ended(Outcome.OBSERVED)))
    assert observed.reason is EventReason.ROLLBACK_OBSERVED


def test_a_suspicion_is_for_people_once_it_waits_for_nothing() -> None:
    verdict = make_verdict(value=VerdictValue.SUSPECT, reason=Reason.OLD_REVISION_FAILS_TOO)
    waiting, over = Decision(verdict), Decision(verdict, doubted=Severity.P2)
    status = status_of(over, WATCHING)

    assert suspicion(status, waiting) == []
    (found,) = suspicion(status, over)
    assert found.is_for_people
    assert found.message.startswith("P2 if the release is to blame: ")
    (event,) = policy_notices(WATCHING, status, over)
    assert not event.is_for_people


def test_a_release_that_was_good_before_is_not_told_as_good_when_it_is_gone_back_to() -> None:
    good, bad = make_entry("v1"), make_entry("v2", Health.BAD)
    before = RollbackPolicyStatus(revision=bad, revisions=[bad, good])
    after = RollbackPolicyStatus(revision=good, revisions=[good, bad])
    told = [one.reason for one in policy_notices(before, after, None)]
    assert told == [EventReason.RELEASE_WATCHED]


GONE = StatusInputs(not_ready(Reason.TARGET_NOT_FOUND, "there is no Deployment shop"))
BLIND = Missing(Reason.PROVIDER_UNREACHABLE, "http://prometheus: connection refused")


def test_a_target_that_is_not_there_is_told_once() -> None:
    new = next_status(WATCHING, GONE, 1, at(20))

    found = policy_notices(WATCHING, new, None)

    assert [(one.reason, one.message) for one in found] == [
        (EventReason.POLICY_NOT_READY, "TargetNotFound: there is no Deployment shop")
    ]
    assert policy_notices(new, next_status(new, GONE, 1, at(30)), None) == []


def test_a_new_policy_without_its_target_tells_that() -> None:
    new = next_status(RollbackPolicyStatus(), GONE, 1, at(20))
    assert [one.reason for one in policy_notices(RollbackPolicyStatus(), new, None)] == [
        EventReason.POLICY_NOT_READY
    ]


SEEN = StatusInputs(
    ready(Reason.WATCHING_TARGET), workload=make_workload(), ledger=LEDGER, decision=CLEAN
)


def test_metrics_that_are_missing_are_told() -> None:
    new = next_status(WATCHING, replace(SEEN, missing=BLIND), 1, at(20))

    found = [one for one in policy_notices(WATCHING, new, CLEAN) if one.is_warning]

    assert [(one.reason, one.message) for one in found] == [
        (
            EventReason.METRICS_UNAVAILABLE,
            "ProviderUnreachable: http://prometheus: connection refused; the operator retries "
            "at least every 30 s",
        )
    ]


def test_the_end_of_an_obstacle_is_told_once() -> None:
    blind = replace(SEEN, missing=BLIND)
    for seen, said in (
        (GONE, (EventReason.POLICY_READY, "TargetNotFound has ended")),
        (blind, (EventReason.METRICS_AVAILABLE, "ProviderUnreachable has ended")),
    ):
        before = next_status(WATCHING, seen, 1, at(20))
        after = next_status(before, SEEN, 1, at(30))

        found = policy_notices(before, after, CLEAN)

        assert [(one.reason, one.message) for one in found] == [said]
        assert not any(one.is_warning for one in found)
        assert policy_notices(after, next_status(after, SEEN, 1, at(40)), CLEAN) == []


def test_metrics_that_are_read_again_are_reported_once_whatever_was_in_between() -> None:
    """As after a rollout: for the first seconds of its pods missing series are no fault."""
    not_yet = replace(SEEN, missing=Missing(Reason.NOT_YET_READ, "not yet"))
    status = next_status(WATCHING, replace(SEEN, missing=BLIND), 1, at(20))
    reported = []
    for seconds, seen in ((30, not_yet), (40, not_yet), (50, SEEN), (60, not_yet), (70, SEEN)):
        before, status = status, next_status(status, seen, 1, at(seconds))
        reported += [(seconds, one.reason) for one in policy_notices(before, status, CLEAN)]
    assert reported == [(50, EventReason.METRICS_AVAILABLE)]


def test_a_new_policy_without_an_obstacle_tells_of_none() -> None:
    assert policy_notices(RollbackPolicyStatus(), next_status(WATCHING, SEEN, 1, at(9)), None) == []


def test_a_refusal_begins_with_its_reason_and_ends_with_the_figures() -> None:
    decision = refused(Reason.BUDGET_EXHAUSTED)
    (notice,) = policy_notices(WATCHING, status_of(decision, WATCHING), decision)
    assert notice.message == f"Not rolled back: BudgetExhausted: why. Evidence: {decision.evidence}"
    asked = request_refused(Refusal(Reason.TARGET_PAUSED, "it is paused"))
    assert asked.message == "Not rolled back: TargetPaused: it is paused"


def test_an_image_that_is_not_pulled_is_named_once_per_release() -> None:
    fault = "image shop:v9 of container shop: ErrImagePull"
    pods = (make_pod(0, "v1", image_fault="of the old release"), make_pod(1, image_fault=fault))
    workload = make_workload(pods=pods)
    (notice,) = image_not_pulled(workload)
    assert (notice.reason, notice.is_warning) == (EventReason.IMAGE_NOT_PULLED, True)
    assert notice.message == f"revision 2: {fault}"
    (backs_off,) = image_not_pulled(make_workload(pods=(make_pod(1, image_fault="waits"),)))
    assert backs_off.occurrence == notice.occurrence
    later = make_workload("v3", older=("v2",), pods=(make_pod(1, "v3", image_fault=fault),))
    assert image_not_pulled(later)[0].occurrence != notice.occurrence
    assert image_not_pulled(make_workload()) == image_not_pulled(None) == []
    assert (
        image_not_pulled(make_workload(pods=(make_pod(image_fault="x", terminating=True),))) == []
    )


def test_bad_without_a_severity_is_told_without_one() -> None:
    plain = replace(ROLLBACK, severity=Severity.NONE, response=Response.ROLLBACK)
    new = status_of(plain, WATCHING)
    (one,) = policy_notices(WATCHING, new, plain)
    assert one.reason is EventReason.RELEASE_BAD
    assert "None" not in one.message
