"""Have the errors ceased on the pods that serve after an act? Tables of counts."""

from dataclasses import replace

import pytest

from rollback_operator.api.reasons import Reason
from rollback_operator.api.v1alpha1 import Outcome, Remedy, RemedyType, RollbackStatus, StepName
from rollback_operator.api.verification import VerificationSpec
from rollback_operator.evidence import aggregate
from rollback_operator.evidence.counters import Evidence
from rollback_operator.model.samples import Missing
from rollback_operator.remedies.progress import RollbackEnd, Wait
from rollback_operator.rollback.recovery import Served, verify, without_evidence
from tests.builders import (
    T0,
    at,
    make_increment,
    make_pods,
    make_rollback,
    make_step,
    make_trigger_record,
)

UNDOING = make_rollback()
SCALING = make_rollback(remedy=Remedy(type=RemedyType.SCALE, replicas=8), to_revision=None)


def running(*steps, rollback=UNDOING):
    return rollback.model_copy(update={"status": RollbackStatus(steps=list(steps))})


PODS = make_pods(2, "v1", created=T0 + 10, started=T0 + 11, ready_since=T0 + 12)
VERIFYING = running(
    make_step(StepName.UNDO, 10, 11),
    make_step(StepName.ROLLOUT_COMPLETE, 11, 20),
    make_step(StepName.VERIFY, 20),
)


def counted(*counts: tuple[float, float], begin: float = 12.0, pods=PODS) -> Evidence:
    return Evidence(
        T0 + 10,
        increments=tuple(
            make_increment(
                pod=pod.name,
                start=begin + 5 * index,
                end=begin + 5 * index + 5,
                requests=float(requests),
                errors=float(errors),
            )
            for index, (requests, errors) in enumerate(counts)
            for pod in pods
        ),
    )


def without_control(rollback):
    trigger = make_trigger_record(control_requests=0, control_errors=0)
    spec = rollback.spec.model_copy(update={"trigger": trigger})
    return rollback.model_copy(update={"spec": spec})


CLEAN = [(60, 0)] * 4
VERIFIED, FAILING, UNKNOWN, WAIT = (
    Outcome.VERIFIED,
    Outcome.NOT_RECOVERED,
    Outcome.UNKNOWN,
    None,
)
PROOFS = {
    "the errors have ceased": (VERIFYING, counted(*CLEAN), 40, VERIFIED),
    "one sample proves nothing": (VERIFYING, counted((60, 0)), 40, WAIT),
    "twenty requests do": (VERIFYING, counted((5, 0), (5, 0)), 40, VERIFIED),
    "nineteen do not": (
        VERIFYING,
        counted((9, 0), (0.5, 0)),
        40,
        WAIT,
    ),
    "no request": (VERIFYING, counted((0, 0), (0, 0)), 40, WAIT),
    "nothing read": (VERIFYING, counted(), 40, WAIT),
    "they go on": (VERIFYING, counted(*[(60, 12)] * 4), 40, FAILING),
    "everything fails": (VERIFYING, counted((60, 60), (60, 60)), 40, FAILING),
    "errors of the pods' first seconds": (
        VERIFYING,
        counted((60, 20), (60, 5), (60, 0), (60, 0)),
        40,
        WAIT,
    ),
    "errors of the pods' first seconds, and nothing since": (
        VERIFYING,
        counted((60, 20), (60, 5), *[(60, 0)] * 6),
        60,
        VERIFIED,
    ),
    "a burst that has ended": (
        VERIFYING,
        counted(*[(60, 0)] * 4, (60, 40), *[(60, 0)] * 13),
        110,
        VERIFIED,
    ),
    "a burst a moment ago": (VERIFYING, counted(*[(60, 0)] * 4, (60, 40), (60, 0)), 50, WAIT),
    "as many errors as before": (
        running(
            make_step(StepName.UNDO, 10, 11),
            make_step(StepName.VERIFY, 20),
            rollback=make_rollback(
                trigger=make_trigger_record(control_requests=1000, control_errors=50)
            ),
        ),
        counted(*[(60, 4)] * 4),
        40,
        VERIFIED,
    ),
    "an outage left no control: the runbook's limit": (
        without_control(VERIFYING),
        counted(*[(60, 2)] * 4),
        40,
        VERIFIED,
    ),
    "an outage left no control, and it goes on": (
        without_control(VERIFYING),
        counted(*[(60, 20)] * 4),
        40,
        FAILING,
    ),
    "other pods' counts": (
        VERIFYING,
        counted(*CLEAN, pods=make_pods(2, "v2")),
        40,
        WAIT,
    ),
    "counts from before the act": (VERIFYING, counted((60, 60), (60, 60), begin=-5), 40, WAIT),
    "out of time, too few requests": (VERIFYING, counted((1, 0), (1, 0)), 621, UNKNOWN),
    "out of time, and errors now and then": (
        VERIFYING,
        counted(*[(60, 0), (60, 2)] * 6, (60, 0)),
        621,
        FAILING,
    ),
    "nearly out of time": (VERIFYING, counted((1, 0), (1, 0)), 620, WAIT),
    "more replicas: only what they serve after the rollout": (
        running(
            make_step(StepName.SCALE, 10, 11),
            make_step(StepName.ROLLOUT_COMPLETE, 11, 20),
            make_step(StepName.VERIFY, 22),
            rollback=SCALING,
        ),
        counted((60, 60), (60, 60), *CLEAN, *CLEAN),
        60,
        VERIFIED,
    ),
}


@pytest.mark.parametrize(("rollback", "evidence", "now", "expected"), PROOFS.values(), ids=PROOFS)
def test_verify(rollback, evidence, now, expected) -> None:
    found = verify(rollback, Served(evidence), PODS, at(now))
    assert (found.outcome if isinstance(found, RollbackEnd) else None) is expected


LATE = make_pods(3, "v1", created=T0 + 10, started=T0 + 11, ready_since=T0 + 12)[2]


def since(seconds: float, pod=LATE, **changes):
    return replace(pod, ready_since=T0 + seconds, **changes)


LATE_PODS = {
    "it has answered nothing yet": (LATE, counted(*CLEAN), 40, WAIT),
    "it became ready long after the others": (since(200), counted(*CLEAN * 10), 210, WAIT),
    "it has answered": (
        LATE,
        Evidence(T0, increments=counted(*CLEAN, pods=(*PODS, LATE)).increments),
        40,
        VERIFIED,
    ),
    "only its warm-up was seen": (
        since(30),
        Evidence(
            T0,
            increments=(
                *counted(*CLEAN).increments,
                make_increment(pod=LATE.name, start=T0 + 30, end=T0 + 32, requests=20, errors=5),
            ),
        ),
        40,
        WAIT,
    ),
    "with little traffic, for two minutes": (LATE, counted((10, 0), (9, 0)), 131, WAIT),
    "with little traffic, by chance": (LATE, counted((10, 0), (9, 0)), 133, VERIFIED),
    "though the others answer much": (LATE, counted(*CLEAN * 10), 133, VERIFIED),
    "it is not ready, which RolloutComplete says": (
        replace(LATE, ready=False),
        counted(*CLEAN),
        40,
        VERIFIED,
    ),
    "it goes away": (replace(LATE, terminating=True), counted(*CLEAN), 40, VERIFIED),
    "the series name no pod": (
        LATE,
        counted(*CLEAN, pods=(replace(LATE, name=aggregate.POD),)),
        40,
        VERIFIED,
    ),
    "the others fail": (LATE, counted(*[(60, 60)] * 2), 40, FAILING),
}


@pytest.mark.parametrize(("late", "evidence", "now", "expected"), LATE_PODS.values(), ids=LATE_PODS)
def test_a_late_pod_is_waited_for(late, evidence, now, expected) -> None:
    found = verify(VERIFYING, Served(evidence), (*PODS, late), at(now))
    assert (found.outcome if isinstance(found, RollbackEnd) else None) is expected
    is_unseen = expected in (WAIT, VERIFIED) and late.ready and not late.terminating
    heard = {each.pod for each in evidence.increments}
    if is_unseen and not heard & {LATE.name, aggregate.POD}:
        assert found.message.endswith(f"no request to 1 of 3 ready pods was counted: {LATE.name}")


def test_verification_has_the_time_that_the_policy_gives() -> None:
    spec = VERIFYING.spec.model_copy(update={"verification": VerificationSpec(timeout_seconds=10)})
    quick = VERIFYING.model_copy(update={"spec": spec})
    assert isinstance(verify(quick, Served(counted()), PODS, at(30)), Wait)
    assert verify(quick, Served(counted()), PODS, at(31)).outcome is UNKNOWN
    assert isinstance(without_evidence(quick, "", at(30)), Wait)
    assert without_evidence(quick, "", at(31)).outcome is UNKNOWN
    assert isinstance(without_evidence(UNDOING, "", at(10_000)), Wait)


SILENT = Missing(Reason.PROVIDER_UNREACHABLE, "http://prometheus:9090: no answer in time")


@pytest.mark.parametrize(
    ("evidence", "missing", "expected"),
    [
        (
            counted(),
            SILENT,
            "recovery is not proved, because requests could not be counted: "
            "http://prometheus:9090: no answer in time",
        ),
        (
            counted((1, 0), (1, 0)),
            SILENT,
            "recovery is not proved, because requests could not be counted: "
            "http://prometheus:9090: no answer in time; before that, 0 of 4 requests failed on the "
            "serving pods",
        ),
        (
            counted((0, 0), (0, 0)),
            None,
            "no request to the serving pods was counted: recovery is not proved",
        ),
        (
            counted((1, 0), (1, 0)),
            None,
            "0 of 4 requests failed on the serving pods: too few to prove recovery",
        ),
    ],
)
def test_without_an_answer_it_is_not_known_whether_requests_came(
    evidence, missing, expected
) -> None:
    found = verify(VERIFYING, Served(evidence, missing), PODS, at(621))
    assert isinstance(found, RollbackEnd)
    assert (found.outcome, found.message) == (UNKNOWN, f"{expected}; the rollout is complete")
