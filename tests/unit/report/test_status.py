from dataclasses import replace

import pytest

from rollback_operator.api.reasons import ConditionType, EventReason, Reason
from rollback_operator.api.v1alpha1 import (
    Health,
    HoldReason,
    Outcome,
    Response,
    Rollback,
    RollbackPolicyStatus,
    RollbackStatus,
    Severity,
    StepName,
    VerdictValue,
)
from rollback_operator.decide.decide import Decision, decide
from rollback_operator.evidence.scrape_state import Direct, off
from rollback_operator.evidence.trends import Trends
from rollback_operator.model import conditions
from rollback_operator.model.conditions import condition, find, upsert
from rollback_operator.model.context import Refusal
from rollback_operator.model.samples import Missing
from rollback_operator.report.events import policy_notices
from rollback_operator.report.rollout_hold import with_hold
from rollback_operator.report.status import StatusInputs, next_status, not_ready, ready
from tests.builders import (
    T0,
    at,
    make_case,
    make_ended,
    make_entry,
    make_hold,
    make_pod,
    make_pods,
    make_ref,
    make_rollback,
    make_scope,
    make_trigger_record,
    make_verdict,
    make_watching,
    make_workload,
)

READY = ready(Reason.WATCHING_TARGET)
CLEAN = Decision(make_watching())
BAD = Decision(make_verdict(), Severity.P1, Response.ROLLBACK)
LEDGER = (make_entry("v2", Health.UNKNOWN), make_entry("v1"))
SEEN = StatusInputs(READY, workload=make_workload(), ledger=LEDGER, decision=CLEAN, opened=at(0))
BEFORE = RollbackPolicyStatus()


def status_of(seen: StatusInputs = SEEN, old=BEFORE, now: float = 10.0, generation: int = 1):
    return next_status(old, seen, generation, at(now))


def word(status, kind: ConditionType) -> tuple[str, str]:
    found = find(status.conditions, kind)
    return found.status, found.reason


def test_it_is_equal_when_nothing_has_changed() -> None:
    first = status_of()
    assert status_of(old=first, now=500) == first


def test_figures_that_tick_do_not_change_it() -> None:
    first = status_of()
    ticked = make_watching(message="the new pods served 2000 requests")
    assert status_of(replace(SEEN, decision=Decision(ticked)), first, now=500) == first


@pytest.mark.parametrize(
    "change",
    [
        {"decision": BAD},
        {"ready": not_ready(Reason.READ_FAILED, "no right to read pods")},
        {"ledger": (make_entry("v2", Health.BAD), make_entry("v1"))},
        {"rollbacks": (make_rollback(),)},
        {"workload": make_workload("v3", older=("v2",))},
    ],
    ids=["the verdict", "readiness", "the ledger", "a rollback", "a release"],
)
def test_what_has_changed_is_written(change) -> None:
    first = status_of()
    assert status_of(replace(SEEN, **change), first, now=500) != first


def test_a_condition_is_dated_when_its_status_changes_and_only_then() -> None:
    first = status_of()
    bad = status_of(replace(SEEN, decision=BAD), first, now=500)
    moved = find(bad.conditions, ConditionType.HEALTHY)
    kept = find(bad.conditions, ConditionType.READY)
    assert moved.last_transition_time == at(500)
    assert kept.last_transition_time == at(10)
    other = replace(make_verdict(), reason=Reason.UNAVAILABLE, message="down")
    again = status_of(replace(SEEN, decision=Decision(other)), bad, now=600)
    moved = find(again.conditions, ConditionType.HEALTHY)
    assert (moved.reason, moved.last_transition_time) == ("Unavailable", at(500))


def test_a_new_generation_is_observed() -> None:
    first = status_of()
    second = status_of(old=first, now=20, generation=2)
    assert second.observed_generation == 2
    assert {one.observed_generation for one in second.conditions} == {2}
    assert {one.last_transition_time for one in second.conditions} == {at(10)}


VERDICTS = {
    "watching": (SEEN, VerdictValue.WATCHING, ("Unknown", "NoEvidenceAgainst")),
    "clean and known good": (
        replace(SEEN, ledger=(make_entry("v2"),)),
        VerdictValue.HEALTHY,
        ("True", "NoEvidenceAgainst"),
    ),
    "clean and adopted": (
        replace(SEEN, ledger=(make_entry("v2", Health.ASSUMED),)),
        VerdictValue.HEALTHY,
        ("True", "NoEvidenceAgainst"),
    ),
    "known good, and something speaks against it": (
        replace(
            SEEN,
            ledger=(make_entry("v2"),),
            decision=Decision(make_watching(reason=Reason.EVIDENCE_GATHERING)),
        ),
        VerdictValue.WATCHING,
        ("Unknown", "EvidenceGathering"),
    ),
    "bad": (
        replace(SEEN, decision=BAD),
        VerdictValue.BAD,
        ("False", "ErrorRateAboveControl"),
    ),
    "suspect": (
        replace(
            SEEN,
            decision=Decision(
                make_verdict(value=VerdictValue.SUSPECT, reason=Reason.ENVIRONMENT_SUSPECTED)
            ),
        ),
        VerdictValue.SUSPECT,
        ("Unknown", "EnvironmentSuspected"),
    ),
    "the watch is over": (
        replace(SEEN, decision=None, ledger=(make_entry("v2"),)),
        VerdictValue.HEALTHY,
        ("True", "NoReleaseWatched"),
    ),
    "the watch is over, and it was bad": (
        replace(SEEN, decision=None, ledger=(make_entry("v2", Health.BAD),)),
        VerdictValue.BAD,
        ("False", "NoReleaseWatched"),
    ),
    "the watch is over without a verdict": (
        replace(SEEN, decision=None),
        VerdictValue.NO_VERDICT,
        ("Unknown", "NoReleaseWatched"),
    ),
    "refused": (
        replace(SEEN, decision=replace(BAD, refusal=Refusal(Reason.GITOPS_OWNER, "Argo CD"))),
        VerdictValue.BAD,
        ("False", "GitOpsOwner"),
    ),
    "refused because it is being done": (
        replace(SEEN, decision=replace(BAD, refusal=Refusal(Reason.ROLLBACK_ACTIVE, "x"))),
        VerdictValue.BAD,
        ("False", "ErrorRateAboveControl"),
    ),
}


@pytest.mark.parametrize(("seen", "value", "healthy"), VERDICTS.values(), ids=VERDICTS)
def test_verdict_and_healthy(seen, value, healthy) -> None:
    status = status_of(seen)
    assert status.verdict is value
    assert word(status, ConditionType.HEALTHY) == healthy


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ("True", "SamplesFresh")),
        ({"folded": "many routes"}, ("True", "CountsFolded")),
        ({"decision": None}, ("Unknown", "NoReleaseWatched")),
        ({"missing": Missing(Reason.NOT_YET_READ, "")}, ("Unknown", "NotYetRead")),
        ({"missing": Missing(Reason.NO_SERIES, "none")}, ("False", "NoSeries")),
        (
            {"decision": Decision(make_watching(reason=Reason.SAMPLES_STALE))},
            ("False", "SamplesStale"),
        ),
        (
            {"decision": Decision(make_watching(reason=Reason.CLOCK_SKEW))},
            ("False", "ClockSkew"),
        ),
    ],
    ids=["fresh", "folded", "not watched", "not read yet", "missing", "stale", "clock"],
)
def test_metrics_available(changes, expected) -> None:
    status = status_of(replace(SEEN, **changes), now=100.0)
    assert word(status, ConditionType.METRICS_AVAILABLE) == expected


def test_that_prometheus_does_not_answer_says_that_it_is_asked_again() -> None:
    away = Missing(Reason.PROVIDER_UNREACHABLE, "connection refused")
    found = find(status_of(replace(SEEN, missing=away)).conditions, ConditionType.METRICS_AVAILABLE)
    assert found.message == "connection refused; the operator retries at least every 30 s"


@pytest.mark.parametrize(
    ("pods", "expected"),
    [
        (make_pods(2, ready=True, ready_since=T0 + 95), "Unknown"),
        (make_pods(2, ready=False), "Unknown"),
        (make_pods(2, ready=True, ready_since=T0 + 60), "False"),
        (
            (
                make_pod(0, ready=True, ready_since=T0 + 95),
                make_pod(1, ready=True, ready_since=T0 + 60),
            ),
            "False",
        ),
        ((), "False"),
    ],
    ids=["just ready", "not ready", "ready for long", "one of them", "none"],
)
def test_new_pods_have_a_moment_until_their_series_are_missed(pods, expected) -> None:
    none = Missing(Reason.NO_SERIES, "none")
    trends = Trends(read=5.0, missing={"memory": none})
    seen = replace(SEEN, workload=make_workload(pods=pods), missing=none, trends=trends)
    status = status_of(seen, now=100.0)
    assert word(status, ConditionType.METRICS_AVAILABLE) == (expected, "NoSeries")
    assert word(status, ConditionType.SLOW_SIGNALS_AVAILABLE) == (expected, "NoSeries")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"decision": None}, ("Unknown", Reason.NO_RELEASE_WATCHED)),
        ({}, ("Unknown", Reason.NOT_YET_READ)),
        ({"direct": Direct(None)}, ("True", Reason.PODS_READ)),
        (
            {"direct": Direct(Missing(Reason.PODS_UNREACHABLE, "refused"))},
            ("False", Reason.PODS_UNREACHABLE),
        ),
        ({"direct": off(Reason.SERIES_DIFFER, "routes")}, ("False", Reason.SERIES_DIFFER)),
        (
            {"direct": Direct(Missing(Reason.ERROR_SERIES_MISSING, "no errors yet"))},
            ("Unknown", Reason.ERROR_SERIES_MISSING),
        ),
    ],
    ids=["at rest", "at first", "it works", "it does not", "it must not", "it cannot be told"],
)
def test_pod_metrics_available(changes, expected) -> None:
    seen = replace(SEEN, **changes)
    assert word(status_of(seen), ConditionType.POD_METRICS_AVAILABLE) == expected


@pytest.mark.parametrize(
    ("changes", "expected", "said"),
    [
        ({"decision": None}, ("Unknown", Reason.NO_RELEASE_WATCHED), "while a release is watched"),
        ({}, ("Unknown", Reason.NOT_YET_READ), ""),
        ({"trends": Trends(read=5.0)}, ("True", Reason.SLOW_SIGNALS_READ), "of the matrix"),
        (
            {
                "trends": Trends(
                    read=5.0,
                    missing={
                        "up": Missing(Reason.QUERY_REFUSED, "no such function"),
                        "latency": Missing(Reason.NO_SERIES, "no series http_seconds_bucket"),
                    },
                )
            },
            ("False", Reason.NO_SERIES),
            "latency: no series http_seconds_bucket; up: no such function",
        ),
    ],
    ids=["at rest", "at first", "they are read", "two cannot be"],
)
def test_slow_signals_available(changes, expected, said) -> None:
    conditions = status_of(replace(SEEN, **changes), now=100.0).conditions
    found = find(conditions, ConditionType.SLOW_SIGNALS_AVAILABLE)
    assert (found.status, found.reason) == expected
    assert said in found.message


def test_a_refusal_says_both_what_is_wrong_and_why_nothing_is_done() -> None:
    refused = replace(BAD, refusal=Refusal(Reason.GITOPS_OWNER, "Argo CD steers it"))
    message = find(status_of(replace(SEEN, decision=refused)).conditions, "Healthy").message
    assert "all purchases fail" in message
    assert "Not rolled back: Argo CD steers it" in message


def test_a_rejected_release_that_is_back_says_so_and_people_are_notified() -> None:
    rejected = ended_by(Outcome.REJECTED)
    case = make_case(workload=make_workload("v2"), rollbacks=[rejected])
    decision = decide(case, make_verdict(), at(100))
    status = status_of(replace(SEEN, decision=decision), now=100)
    assert word(status, ConditionType.HEALTHY) == ("False", Reason.REJECTED_BY_PERSON)
    healthy = find(status.conditions, ConditionType.HEALTHY)
    assert healthy is not None
    assert "Not rolled back: a person rejected r-1 for this release" in healthy.message
    assert EventReason.ROLLBACK_REFUSED in {
        notice.reason for notice in policy_notices(BEFORE, status, decision)
    }


def ended_by(outcome: Outcome) -> Rollback:
    return make_rollback("r-1", make_ended(outcome))


def test_revisions() -> None:
    status = status_of()
    assert (status.revision.number, status.revision.since) == (2, at(0))
    assert status.last_known_good.number == 1
    assert status_of(replace(SEEN, ledger=(make_entry("v2"),))).last_known_good.number == 2
    assert status_of(replace(SEEN, ledger=())).last_known_good is None
    assert [one.number for one in status.revisions] == [2, 1]
    later = status_of(replace(SEEN, opened=at(99)), status, now=99)
    assert later.revision.since == at(0)


def test_what_cannot_be_seen_stays_as_it_was() -> None:
    first = status_of(replace(SEEN, ledger=(make_entry("v2"),), rollbacks=(make_rollback(),)))
    blind = StatusInputs(not_ready(Reason.READ_FAILED, "forbidden"))
    second = status_of(blind, first, now=60)
    assert second.revision == first.revision
    assert second.revisions == first.revisions
    assert second.last_known_good == first.last_known_good
    assert second.last_rollback == first.last_rollback
    assert second.verdict is VerdictValue.HEALTHY
    assert status_of(blind).revision is None


def test_the_newest_rollback_is_told() -> None:
    old = make_rollback("old", make_ended(finished=20))
    new = make_rollback("new", trigger=make_trigger_record(decided_time=at(90)))
    last = status_of(replace(SEEN, rollbacks=(new, old))).last_rollback
    assert (last.name, last.outcome, last.time) == ("new", None, at(90))
    last = status_of(replace(SEEN, rollbacks=(old,))).last_rollback
    assert (last.name, last.outcome, last.time) == ("old", Outcome.VERIFIED, at(20))


FADED = {
    "released_time": at(40),
    "release_reason": "SuspicionFaded",
    "release_message": "nothing speaks against it",
}


@pytest.mark.parametrize(
    ("hold", "expected", "says"),
    [
        (None, ("False", "NotHeld"), ""),
        (make_hold(), ("True", "Suspicion"), "held until 08:05:20 UTC at the latest: it fails"),
        (make_hold(HoldReason.STAGE), ("True", "Stage"), "held until 08:02:20 UTC at the latest"),
        (make_hold(**FADED), ("False", "SuspicionFaded"), "nothing speaks against it"),
        (make_hold(**FADED | {"release_reason": "Newer"}), ("False", "NotHeld"), "nothing"),
    ],
    ids=["never", "suspicion", "stage", "let go", "by another version"],
)
def test_a_hold_is_told_by_a_condition(hold, expected, says) -> None:
    found = status_of(old=RollbackPolicyStatus(hold=hold))

    assert found.hold == hold
    assert word(found, ConditionType.ROLLOUT_HELD) == expected
    assert find(found.conditions, ConditionType.ROLLOUT_HELD).message.startswith(says)


LATER = [
    ("v2", "SuspicionFaded", at(0), "SuspicionFaded"),
    ("v3", "SuspicionFaded", at(60), "NotHeld"),
    ("v3", "NoOldPodLeft", None, "NotHeld"),
    ("v2", "SuspicionFaded", at(60), "NotHeld"),
    ("v3", "ReleaseChanged", at(39), "ReleaseChanged"),
    ("v3", "ReleaseTakenBack", at(60), "NotHeld"),
    ("v3", "ReleaseTakenBack", None, "ReleaseTakenBack"),
]


@pytest.mark.parametrize(("runs", "reason", "since", "expected"), LATER)
def test_why_a_rollout_was_let_go_is_not_told_of_a_later_release(
    runs, reason, since, expected
) -> None:
    over = make_hold(released_time=at(40), release_reason=reason, release_message="why")
    old = status_of(old=RollbackPolicyStatus(hold=over), now=41)
    seen = replace(SEEN, workload=make_workload(runs), opened=since)
    old = old.model_copy(update={"revision": None})

    found = status_of(seen, old, 70)

    assert word(found, ConditionType.ROLLOUT_HELD) == ("False", expected)
    assert found.hold == over
    assert status_of(seen, found, 80) == found


def test_a_hold_is_recorded_without_a_judgement() -> None:
    before = status_of(SEEN)

    found = with_hold(before, make_hold(), 1, at(20))

    assert found.hold == make_hold()
    assert word(found, ConditionType.ROLLOUT_HELD) == ("True", "Suspicion")
    assert status_of(SEEN, found, 30).conditions == found.conditions
    assert found.summary == "Held"
    assert without_hold(found) == without_hold(before)


def without_hold(status: RollbackPolicyStatus) -> RollbackPolicyStatus:
    kept = [one for one in status.conditions if one.type != ConditionType.ROLLOUT_HELD]
    return status.model_copy(update={"summary": "", "hold": None, "conditions": kept})


def test_ready_comes_first_and_conditions_keep_what_is_not_theirs() -> None:
    other = condition("Zebra", True, Reason.SUSPENDED)
    found = upsert(
        [other], [condition(ConditionType.HEALTHY, None, Reason.NO_CONTROL), READY], 1, at()
    )
    assert [one.type for one in found] == ["Ready", "Healthy", "Zebra"]
    assert found[2] == other
    assert find(found, "Nothing") is None


def test_long_messages_are_cut_to_their_bound() -> None:
    assert len(condition(ConditionType.READY, False, Reason.NO_SERIES, "x" * 9999).message) == 4096


def test_scopes_do_not_reach_the_status() -> None:
    many = make_watching(scopes=tuple(make_scope(str(n), rate_lower_bound=0.1) for n in range(3)))
    assert status_of(replace(SEEN, decision=Decision(many))) == status_of()


OPEN = make_rollback()
ASKED = make_rollback(status=RollbackStatus(step=StepName.AWAITING_APPROVAL))
MISSING = Missing(Reason.PROVIDER_UNREACHABLE, "refused")
WORDS = {
    "a clean release": (replace(SEEN, ledger=(make_entry("v2"), make_entry("v1"))), "Healthy"),
    "a release that is watched": (SEEN, "Watching"),
    "a bad one": (replace(SEEN, decision=BAD), "Bad"),
    "no metrics": (replace(SEEN, missing=MISSING), "Degraded"),
    "a bad one without metrics": (replace(SEEN, decision=BAD, missing=MISSING), "Bad"),
    "no target": (StatusInputs(not_ready(Reason.TARGET_NOT_FOUND, "gone")), "TargetNotFound"),
    "paused": (StatusInputs(not_ready(Reason.TARGET_PAUSED, "by a person")), "Paused"),
    "no replicas": (StatusInputs(not_ready(Reason.TARGET_SCALED_TO_ZERO, "0")), "ScaledToZero"),
    "suspended": (
        StatusInputs(ready(Reason.SUSPENDED, "spec.suspend"), rollbacks=(OPEN,)),
        "Suspended",
    ),
    "everything is suspended": (
        StatusInputs(not_ready(Reason.EVERYTHING_SUSPENDED, "by ann"), rollbacks=(OPEN,)),
        "EverythingSuspended",
    ),
    "rolled back": (replace(SEEN, decision=BAD, rollbacks=(OPEN,)), "RollingBack"),
    "asked": (replace(SEEN, decision=BAD, rollbacks=(ASKED,)), "AwaitingApproval"),
    "one asked, one going": (replace(SEEN, rollbacks=(ASKED, OPEN)), "RollingBack"),
    "rolled back though not ready": (
        StatusInputs(not_ready(Reason.TARGET_PAUSED, "by us"), own=(OPEN,)),
        "RollingBack",
    ),
    "over": (replace(SEEN, rollbacks=(make_rollback(status=make_ended()),)), "Watching"),
}


@pytest.mark.parametrize(("seen", "expected"), WORDS.values(), ids=WORDS)
def test_the_status_in_a_word(seen: StatusInputs, expected: str) -> None:
    assert status_of(seen).summary == expected


MILD = make_rollback(severity="P3")
BY_HAND = make_rollback(status=RollbackStatus(plan=OPEN.spec.plan))


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        pytest.param(replace(SEEN, rollbacks=(OPEN,)), Severity.P1, id="in progress"),
        pytest.param(replace(SEEN, own=(OPEN,)), Severity.P1, id="of another target"),
        pytest.param(replace(SEEN, rollbacks=(ASKED,)), Severity.P1, id="asked"),
        pytest.param(replace(SEEN, decision=BAD, rollbacks=(MILD,)), Severity.P1, id="milder"),
        pytest.param(replace(SEEN, rollbacks=(BY_HAND,)), Severity.NONE, id="by hand"),
        pytest.param(
            replace(SEEN, rollbacks=(make_rollback(status=make_ended()),)), Severity.NONE, id="over"
        ),
    ],
)
def test_the_severity_is_at_least_that_of_the_rollback_in_progress(
    seen: StatusInputs, expected: Severity
) -> None:
    assert status_of(seen).severity is expected


def test_healthy_does_not_keep_its_message_of_another_release() -> None:
    failing = replace(
        SEEN, decision=Decision(make_watching(reason=Reason.POD_FAILING, message="v2-1: no image"))
    )
    again = replace(
        failing, decision=Decision(make_watching(reason=Reason.POD_FAILING, message="another pod"))
    )
    known = status_of(failing)
    kept, other = (
        find(status_of(seen, known, 20.0).conditions, ConditionType.HEALTHY)
        for seen in (again, replace(again, workload=make_workload("v3", older=("v2", "v1"))))
    )
    assert (kept.message, other.message) == ("v2-1: no image", "another pod")
    assert kept.last_transition_time == other.last_transition_time == at(10)


def test_a_held_rollout_is_told_at_once_and_until_it_is_let_go() -> None:
    held = with_hold(status_of(), make_hold(), 1, at(20))
    assert held.summary == "Held"
    assert status_of(old=held, now=21).summary == "Held"
    over = with_hold(held, make_hold(released_time=at(30)), 1, at(30))
    assert status_of(old=over, now=31).summary == "Watching"


def test_a_healthy_release_says_what_it_did_and_not_what_it_lacks() -> None:
    one = make_scope(
        requests=812, errors=0, control_requests=0, odds=0.0, rate_lower_bound=0.0, blame=None
    )
    alone = replace(make_watching(reason=Reason.NO_CONTROL), scopes=(one,))
    seen = replace(SEEN, decision=Decision(alone), ledger=(make_entry("v2"), make_entry("v1")))

    status = status_of(seen)

    found = find(status.conditions, ConditionType.HEALTHY)
    assert (found.status, found.reason) == ("True", "NoEvidenceAgainst")
    assert found.message.startswith("the new pods served 812 requests on all routes and failed 0")
    assert "0 of 0" not in found.message
    assert "nothing speaks against it" in found.message


@pytest.mark.parametrize(
    "why",
    [
        not_ready(Reason.EVERYTHING_SUSPENDED, "everything is suspended by ann: maintenance"),
        ready(Reason.SUSPENDED, "spec.suspend is true"),
    ],
    ids=["everything", "the policy"],
)
def test_nothing_is_healthy_while_it_is_suspended(why) -> None:
    ledger = (make_entry("v2"), make_entry("v1"))
    before = status_of(replace(SEEN, ledger=ledger))
    assert before.verdict is VerdictValue.HEALTHY

    status = status_of(StatusInputs(why, ledger=ledger), before, now=500)

    found = find(status.conditions, ConditionType.HEALTHY)
    assert (found.status, found.reason) == ("Unknown", why.reason)
    assert why.message in found.message
    assert (status.verdict, status.summary) == (VerdictValue.NO_VERDICT, why.reason)
    assert status_of(StatusInputs(why, ledger=ledger), status, now=900) == status


def test_a_bad_release_stays_bad_while_everything_is_suspended() -> None:
    why = not_ready(Reason.EVERYTHING_SUSPENDED, "by ann")
    ledger = (make_entry("v2", Health.BAD), make_entry("v1"))
    before = status_of(replace(SEEN, ledger=ledger))
    assert status_of(StatusInputs(why, ledger=ledger), before).verdict is VerdictValue.BAD


NO_CONTROL = Decision(
    make_watching(
        reason=Reason.NO_CONTROL, value=VerdictValue.NO_VERDICT, message="nothing to compare with"
    )
)


def undone(status: RollbackStatus) -> StatusInputs:
    made = make_rollback(from_revision=make_ref("v1"), to_revision=make_ref("v2"), status=status)
    return replace(
        SEEN,
        decision=NO_CONTROL,
        ledger=(make_entry("v2", Health.UNKNOWN), make_entry("v1", Health.BAD)),
        of_target=(made,),
    )


def test_a_restored_revision_is_as_healthy_as_its_rollback_has_verified() -> None:
    done = condition(ConditionType.COMPLETE, True, Reason.RECOVERED, "verified after 31 s")
    ended = make_ended().model_copy(update={"conditions": upsert([], [done], 1, at(60))})

    status = status_of(undone(ended))

    found = find(status.conditions, ConditionType.HEALTHY)
    assert (found.status, found.reason) == ("True", "Recovered")
    assert "verified after 31 s" in found.message
    assert (status.verdict, status.summary) == (VerdictValue.HEALTHY, "Healthy")


def test_a_restored_revision_that_is_still_verified_says_so() -> None:
    found = find(status_of(undone(RollbackStatus())).conditions, ConditionType.HEALTHY)
    assert (found.status, found.reason) == ("Unknown", "InProgress")
    assert found.message.startswith("this revision was restored by a rollback: ")


def test_without_a_rollback_that_led_to_it_a_release_lacks_a_control() -> None:
    alone = status_of(replace(undone(make_ended()), of_target=()))
    assert word(alone, ConditionType.HEALTHY) == ("Unknown", "NoControl")


ALIKE = make_watching(
    scopes=(make_scope(None, odds=0.0, rate_lower_bound=0.9), make_scope("/buy", odds=0.0)),
    message="the new pods failed 100 of 100; the old revision failed 100 of 100",
)
RESTORED = (make_entry("v2", Health.ASSUMED), make_entry("v1", Health.BAD))


def test_what_fails_half_of_its_requests_is_not_healthy_whatever_it_is_compared_with() -> None:
    made = make_rollback(from_revision=make_ref("v1"), to_revision=make_ref("v2"))
    done = condition(ConditionType.COMPLETE, True, Reason.RECOVERED, "it helped")
    ended = make_ended().model_copy(update={"conditions": upsert([], [done], 1, at(60))})
    back = made.model_copy(update={"status": ended})
    seen = replace(SEEN, ledger=RESTORED, of_target=(back,), decision=Decision(ALIKE))
    before = status_of(replace(seen, decision=CLEAN))
    assert before.verdict is VerdictValue.HEALTHY
    assert word(before, ConditionType.RECOVERED)[0] == "True"

    after = status_of(seen, old=before)

    assert after.verdict is VerdictValue.SUSPECT
    assert word(after, ConditionType.HEALTHY) == ("Unknown", "EnvironmentSuspected")
    assert word(after, ConditionType.RECOVERED) == ("False", "StillFailing")
    told = [one.reason for one in policy_notices(before, after, seen.decision)]
    assert told == [EventReason.ROLLBACK_NOT_RECOVERED, EventReason.RELEASE_SUSPECT]


def test_a_condition_quotes_a_stranger_without_what_a_terminal_obeys() -> None:
    made = conditions.condition(ConditionType.READY, False, Reason.NO_CONTROL, "a\x1b[2J\u202eb\nc")
    assert made.message == "a [2J b\nc"
