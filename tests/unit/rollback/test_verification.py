"""Many checks, one verdict: what it hangs on, what it waits for, and the laws it keeps."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollback_operator.api.reasons import Reason
from rollback_operator.api.v1alpha1 import Outcome, SignalName, StepName
from rollback_operator.api.verification import (
    HttpProbe,
    VerificationResult,
    VerificationSpec,
)
from rollback_operator.model.check import Check, failed, passed, unknown, unseeable
from rollback_operator.model.samples import Missing
from rollback_operator.remedies.progress import Next, RollbackEnd, Wait
from rollback_operator.rollback.verification import (
    ERRORS,
    HEALTH,
    LATENCY,
    LOGS,
    NO_METRICS_SECONDS,
    ROLLOUT,
    VERIFICATION_SETTLE_SECONDS,
    Situation,
    conclude,
    error_rate,
    failures_of,
    in_order,
    rollout,
    situation,
    stored,
)
from tests.builders import (
    at,
    make_deployment,
    make_rollback,
    make_step,
    make_trigger_record,
)
from tests.unit.remedies.test_progress import running

VERIFIED, FAILING, UNKNOWN = Outcome.VERIFIED, Outcome.NOT_RECOVERED, Outcome.UNKNOWN
SERVED = "0 of 300 requests have failed on the pods that serve now"
ROLLED, PROVED = passed(ROLLOUT, "4 of 4"), passed(ERRORS, SERVED)
UNPROVED = unknown(ERRORS, "0 of 3 requests")
STILL = Check(ERRORS, VerificationResult.FAILED, "90 of 300 requests", is_final=True)
PLAIN = Situation(frozenset({ROLLOUT, ERRORS}), frozenset(), 5.0, 600.0)
PROBED = replace(PLAIN, required=PLAIN.required | {"buy"}, probes=frozenset({"buy"}))
SILENT = replace(PROBED, has_no_metrics=True, unproved=Reason.NO_SERIES)
LATE = VERIFICATION_SETTLE_SECONDS
OVER = 601.0

VERDICTS = {
    "the errors have ceased": (PLAIN, 5, [ROLLED, PROVED], (VERIFIED, Reason.RECOVERED)),
    "they go on": (PLAIN, 5, [ROLLED, STILL], (FAILING, Reason.STILL_FAILING)),
    "too few requests": (PLAIN, 5, [ROLLED, UNPROVED], None),
    "too few requests, out of time": (
        PLAIN,
        OVER,
        [ROLLED, UNPROVED],
        (UNKNOWN, Reason.TOO_FEW_REQUESTS),
    ),
    "a rollout that is complete no more": (PLAIN, 5, [failed(ROLLOUT, "3 of 4"), PROVED], None),
    "... out of time": (
        PLAIN,
        OVER,
        [failed(ROLLOUT, "3 of 4"), PROVED],
        (FAILING, Reason.CHECK_FAILED),
    ),
    "a probe has passed": (
        PROBED,
        5,
        [ROLLED, passed("buy", "200"), PROVED],
        (VERIFIED, Reason.RECOVERED),
    ),
    "a probe fails: not yet": (PROBED, 5, [ROLLED, failed("buy", "500"), PROVED], None),
    "a probe fails: nor later": (PROBED, 599, [ROLLED, failed("buy", "500"), PROVED], None),
    "a probe fails, out of time": (
        PROBED,
        OVER,
        [ROLLED, failed("buy", "500"), PROVED],
        (FAILING, Reason.CHECK_FAILED),
    ),
    "a probe is not answered: not yet": (PROBED, 599, [ROLLED, unknown("buy", "no"), PROVED], None),
    "a probe is not answered, out of time": (
        PROBED,
        OVER,
        [ROLLED, unknown("buy", "no"), PROVED],
        (UNKNOWN, Reason.CHECK_UNKNOWN),
    ),
    "a probe may not be sent": (
        PROBED,
        5,
        [ROLLED, unseeable("buy", "refused"), PROVED],
        (UNKNOWN, Reason.CHECK_UNKNOWN),
    ),
    "a probe may not be sent, the errors are not proved yet": (
        PROBED,
        LATE,
        [ROLLED, unseeable("buy", "refused"), UNPROVED],
        None,
    ),
    "a probe is not there yet": (PROBED, LATE, [ROLLED, PROVED], None),
    "no metrics at all, the probe has passed: not yet": (
        SILENT,
        NO_METRICS_SECONDS - 1,
        [ROLLED, passed("buy", "200"), UNPROVED],
        None,
    ),
    "no metrics at all, the probe has passed": (
        SILENT,
        NO_METRICS_SECONDS,
        [ROLLED, passed("buy", "200"), UNPROVED],
        (VERIFIED, Reason.PROBES_PASSED),
    ),
    "no metrics at all, no probe": (
        replace(PLAIN, has_no_metrics=True, unproved=Reason.NO_SERIES),
        OVER,
        [ROLLED, UNPROVED],
        (UNKNOWN, Reason.NO_SERIES),
    ),
    "no metrics at all, the probe fails": (
        SILENT,
        OVER,
        [ROLLED, failed("buy", "500"), UNPROVED],
        (FAILING, Reason.CHECK_FAILED),
    ),
    "few requests, and a probe has passed: few prove nothing": (
        PROBED,
        OVER,
        [ROLLED, passed("buy", "200"), UNPROVED],
        (UNKNOWN, Reason.TOO_FEW_REQUESTS),
    ),
    "what the verdict does not hang on is waited for": (
        PLAIN,
        LATE - 1,
        [ROLLED, PROVED, unknown(LATENCY, "few")],
        None,
    ),
    "... and not for long": (
        PLAIN,
        LATE,
        [ROLLED, PROVED, unknown(LATENCY, "few")],
        (VERIFIED, Reason.RECOVERED),
    ),
    "what cannot be seen is not waited for": (
        PLAIN,
        1,
        [ROLLED, PROVED, unseeable(LATENCY, "no histogram")],
        (VERIFIED, Reason.RECOVERED),
    ),
    "a latency that made it roll back has to be back": (
        replace(PLAIN, required=PLAIN.required | {LATENCY}),
        599,
        [ROLLED, PROVED, unknown(LATENCY, "few")],
        None,
    ),
    "... or it is not known whether it helped": (
        replace(PLAIN, required=PLAIN.required | {LATENCY}),
        OVER,
        [ROLLED, PROVED, unknown(LATENCY, "few")],
        (UNKNOWN, Reason.CHECK_UNKNOWN),
    ),
    "slow in the end": (
        PLAIN,
        OVER,
        [ROLLED, PROVED, failed(LATENCY, "slow")],
        (FAILING, Reason.STILL_FAILING),
    ),
    "errors in the logs": (
        PLAIN,
        OVER,
        [ROLLED, PROVED, failed(LOGS, "30 lines")],
        (FAILING, Reason.CHECK_FAILED),
    ),
}


def verdict(found: Next) -> tuple[Outcome, Reason] | None:
    return (found.outcome, found.reason) if isinstance(found, RollbackEnd) else None


@pytest.mark.parametrize(
    ("where", "seconds", "checks", "expected"), VERDICTS.values(), ids=VERDICTS
)
def test_conclude(where, seconds, checks, expected) -> None:
    assert verdict(conclude(checks, replace(where, seconds=float(seconds)))) == expected


def test_the_end_says_what_decided_it_and_keeps_every_check() -> None:
    checks = [ROLLED, PROVED, unseeable(LATENCY, "no histogram")]
    found = conclude(checks, PLAIN)
    assert isinstance(found, RollbackEnd)
    assert found.message == f"{SERVED} (checks: 2 passed, 1 unknown)"
    assert [(one.name, one.result) for one in found.checks] == [
        (ROLLOUT, "Passed"),
        (ERRORS, "Passed"),
        (LATENCY, "Unknown"),
    ]


def test_a_verdict_by_probes_alone_says_so() -> None:
    checks = [ROLLED, passed("buy", "POST answered 201"), UNPROVED]
    found = conclude(checks, replace(SILENT, seconds=NO_METRICS_SECONDS))
    assert isinstance(found, RollbackEnd)
    assert "no traffic metrics" in found.message
    assert "buy: POST answered 201" in found.message


# -- laws ------------------------------------------------------------------------------------------

NAMES = (ROLLOUT, HEALTH, "buy", "list", ERRORS, LATENCY, LOGS)
CHECKS = st.lists(
    st.builds(
        Check,
        st.sampled_from(NAMES),
        st.sampled_from(VerificationResult),
        st.just(""),
        st.booleans(),
    ),
    unique_by=lambda one: one.name,
)
SITUATIONS = st.builds(
    Situation,
    required=st.frozensets(st.sampled_from(NAMES)).map(lambda one: one | {ROLLOUT, ERRORS}),
    probes=st.frozensets(st.sampled_from(["buy", "list"])),
    seconds=st.floats(0, 1000),
    limit=st.floats(10, 900),
    has_no_metrics=st.booleans(),
).map(lambda one: replace(one, required=one.required | one.probes))


@given(CHECKS, SITUATIONS)
def test_no_check_that_failed_is_ever_verified(checks, where) -> None:
    found = verdict(conclude(checks, where))
    if any(one.result is VerificationResult.FAILED for one in checks):
        assert found is None or found[0] is FAILING


@given(CHECKS, SITUATIONS, st.sampled_from(NAMES))
def test_one_more_failure_never_makes_it_verified(checks, where, name) -> None:
    worse = [*(one for one in checks if one.name != name), failed(name, "")]
    found = verdict(conclude(worse, where))
    assert found is None or found[0] is FAILING


@given(CHECKS, SITUATIONS)
def test_nothing_is_verified_without_traffic_or_a_probe(checks, where) -> None:
    found = verdict(conclude(checks, where))
    if found is not None and found[0] is VERIFIED:
        good = {one.name for one in checks if one.result is VerificationResult.PASSED}
        assert ERRORS in good or (good & where.probes and where.has_no_metrics)
        assert where.required - {ERRORS} <= good


@given(CHECKS, SITUATIONS)
def test_it_always_ends(checks, where) -> None:
    assert verdict(conclude(checks, replace(where, seconds=where.limit + 1))) is not None


# -- what it is made from --------------------------------------------------------------------------

VERIFYING = running(
    make_step(StepName.UNDO, 10, 11),
    make_step(StepName.ROLLOUT_COMPLETE, 11, 20),
    make_step(StepName.VERIFY, 20),
)


def test_the_situation_is_the_rollbacks_own() -> None:
    probe = HttpProbe(name="buy", url="http://shop.production.svc/buy")
    spec = VerificationSpec(timeout_seconds=90, http=[probe])
    trigger = make_trigger_record(signal=SignalName.LATENCY_RATIO)
    made = make_rollback(status=VERIFYING.status, verification=spec, trigger=trigger)

    found = situation(made, Missing(Reason.NO_SERIES, "none"), at(50))

    assert found.required == {ROLLOUT, ERRORS, LATENCY, "buy"}
    assert (found.probes, found.seconds, found.limit) == ({"buy"}, 30.0, 90.0)
    assert (found.has_no_metrics, found.unproved) == (True, Reason.NO_SERIES)
    plain = situation(VERIFYING, None, at(50))
    assert plain.required == {ROLLOUT, ERRORS}
    assert (plain.has_no_metrics, plain.unproved) == (False, Reason.TOO_FEW_REQUESTS)
    away = situation(VERIFYING, Missing(Reason.PROVIDER_UNREACHABLE, "none"), at(50))
    assert not away.has_no_metrics


@pytest.mark.parametrize(
    ("changes", "result", "said"),
    [
        ({}, "Passed", "4 of 4 replicas are available"),
        ({"generation": 2}, "Failed", "not observed the latest change"),
        ({"updated": 3}, "Failed", "3 of 4 replicas are updated"),
        ({"total": 5}, "Failed", "1 old replicas still exist"),
        ({"available": 3}, "Failed", "1 of 4 replicas are not available"),
    ],
)
def test_rollout(changes, result, said) -> None:
    found = rollout(make_deployment(**changes))
    assert (found.result, found.is_final) == (result, False)
    assert said in found.message


NONE = Missing(Reason.NO_SERIES, "there are no series")


@pytest.mark.parametrize(
    ("found", "missing", "expected"),
    [
        (RollbackEnd(VERIFIED, Reason.RECOVERED, "well"), None, passed(ERRORS, "well")),
        (
            RollbackEnd(FAILING, Reason.STILL_FAILING, "bad"),
            None,
            Check(ERRORS, VerificationResult.FAILED, "bad", is_final=True),
        ),
        (RollbackEnd(UNKNOWN, Reason.TOO_FEW_REQUESTS, "few"), NONE, unknown(ERRORS, "few")),
        (Wait(), NONE, unknown(ERRORS, "there are no series")),
        (Wait("a pod is silent"), None, unknown(ERRORS, "a pod is silent")),
    ],
)
def test_error_rate(found, missing, expected) -> None:
    assert error_rate(found, missing) == expected


def test_not_yet_is_told_in_words() -> None:
    assert "too few requests" in error_rate(Wait(), None).message


def test_checks_are_told_in_one_order_and_kept_short() -> None:
    names = [LOGS, "buy", LATENCY, ERRORS, "list", HEALTH, ROLLOUT]
    told = in_order(failed(name, "x" * 2000) for name in names)
    assert [one.name for one in told] == [ROLLOUT, HEALTH, "buy", "list", ERRORS, LATENCY, LOGS]
    kept = stored(told)
    assert {len(one.message) for one in kept} == {512}
    assert failures_of(kept) == frozenset(names)
    assert failures_of(stored([PROVED, UNPROVED])) == frozenset()
