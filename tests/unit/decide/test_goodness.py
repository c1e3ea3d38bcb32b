"""Good is what was clean for its time by every signal of the matrix; and what keeps it waiting."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest

from rollback_operator.api.reasons import ConditionType, Reason
from rollback_operator.api.v1alpha1 import (
    RUNBOOK_MATRIX,
    Health,
    RollbackPolicy,
    RollbackPolicyStatus,
    Severity,
    SignalName,
    Starts,
    VerdictValue,
)
from rollback_operator.decide.decide import Decision
from rollback_operator.decide.evaluate import evaluate_release, watch_of
from rollback_operator.decide.goodness import is_ripe, with_against, with_clean_since
from rollback_operator.evidence.trends import LatencySample, PastGrowth, Point, Trends, Trial
from rollback_operator.evidence.watch import Watch, open_watch, with_reading, with_workload
from rollback_operator.model.conditions import condition
from rollback_operator.model.samples import Missing
from rollback_operator.model.verdict import Cause, Symptom, Verdict
from rollback_operator.model.workload import Workload
from rollback_operator.releases.ledger import health_of, revision_of
from rollback_operator.releases.usefulness import FAILS_ALIKE
from rollback_operator.stats.histogram import Histogram
from tests.builders import (
    T0,
    at,
    make_case,
    make_control,
    make_counters,
    make_deployment,
    make_entry,
    make_increment,
    make_pods,
    make_policy,
    make_replica_set,
    make_scope,
    make_series,
    make_template,
    make_verdict,
    make_watching,
    make_workload,
)

GIB = 2.0**30
CONDITIONS = [one for rule in RUNBOOK_MATRIX for one in rule.when]
PODS = [one.name for one in make_pods(4)]
READ = Trends(read=T0 + 600)


def limited() -> Workload:
    """The release whose containers have a limit of memory."""
    template = make_template("v2", memory_limit=GIB)
    return make_workload(deployment=make_deployment("v2", template=template))


def watched(trends: Trends = READ, clean: float | None = 0.0) -> Watch:
    made = open_watch("digest-v2", T0, frozenset({"hashv1"}))
    since = None if clean is None else T0 + clean
    return replace(made, missing=None, control=make_control(), trends=trends, clean_since=since)


def remembering(seconds: float, names: Iterable[str] = PODS, **changes: object) -> Trends:
    """Memory was read for so long after the pods' first minute."""
    points = tuple(Point(T0 + 61 + one, GIB / 4) for one in range(0, int(seconds) + 1, 15))
    return replace(READ, memory=dict.fromkeys(names, points), **changes)


def timing(seconds: float) -> Trends:
    """Durations were read for so long after the pods' warm-up."""
    bases = {name: LatencySample(T0 + 32, {}) for name in PODS}
    newest = LatencySample(T0 + 32 + seconds, dict.fromkeys(PODS, Histogram()))
    return replace(READ, latency=(newest,), bases=bases)


def missing(reason: Reason) -> Trends:
    return replace(READ, missing={"latency": Missing(reason, "it is so")})


KNOWN, UNKNOWN = PastGrowth(600, 0.0), PastGrowth(600, None)
WAITS: dict[str, tuple[Watch, Workload, bool]] = {
    "all was read, nothing was said": (watched(), limited(), True),
    "clean for less than its time": (watched(clean=1), limited(), False),
    "something speaks against it": (watched(clean=None), limited(), False),
    "nothing slow was read yet": (watched(Trends()), limited(), False),
    "a leak would show by now": (watched(remembering(900)), limited(), True),
    "a leak would not show yet": (watched(remembering(600)), limited(), False),
    "... but what the old pods did is known": (
        watched(remembering(300, past_growth=KNOWN)),
        limited(),
        True,
    ),
    "... and what the old pods did is not known": (
        watched(remembering(600, past_growth=UNKNOWN)),
        limited(),
        False,
    ),
    "no limit, so no leak": (watched(remembering(600)), make_workload(), True),
    "one pod's memory is not told": (watched(remembering(900, PODS[:3])), limited(), True),
    "it would be slow by now": (watched(timing(60)), limited(), True),
    "it may be slow yet": (watched(timing(45)), limited(), False),
    "there are no durations": (watched(missing(Reason.NO_SERIES)), limited(), True),
    "durations cannot be read for now": (
        watched(missing(Reason.PROVIDER_UNREACHABLE)),
        limited(),
        False,
    ),
    "a probe fails": (
        watched(replace(READ, trials={"buy": Trial(failures=1)})),
        limited(),
        False,
    ),
    "a probe passes": (
        watched(replace(READ, trials={"buy": Trial(has_passed=True)})),
        limited(),
        True,
    ),
}


@pytest.mark.parametrize(("watch", "workload", "expected"), WAITS.values(), ids=WAITS)
def test_good_waits_for_every_signal_of_the_matrix(
    watch: Watch, workload: Workload, expected: bool
) -> None:
    assert is_ripe(watch, workload, CONDITIONS, T0) is expected


def test_a_signal_that_the_matrix_does_not_name_is_not_waited_for() -> None:
    rates = [one for one in CONDITIONS if one.signal is SignalName.ERROR_RATE]
    assert is_ripe(watched(Trends()), limited(), rates, T0)
    assert is_ripe(watched(remembering(600)), limited(), rates, T0)


SLOW = Symptom(SignalName.LATENCY_RATIO, "p99 is ten times")
NOT_ITS = replace(SLOW, veto=Reason.ENVIRONMENT_SUSPECTED)
UNCLEAN: dict[str, tuple[Verdict, Severity, Severity]] = {
    "P4": (make_watching(), Severity.P4, Severity.NONE),
    "a doubt that people are told of": (make_watching(), Severity.NONE, Severity.P2),
    "bad": (make_verdict(), Severity.P1, Severity.NONE),
    "suspect, and the environment's doing": (
        make_watching(value=VerdictValue.SUSPECT, reason=Reason.ENVIRONMENT_SUSPECTED),
        Severity.NONE,
        Severity.NONE,
    ),
    "a slow signal that is not its doing": (
        make_watching(symptoms=(NOT_ITS,)),
        Severity.NONE,
        Severity.NONE,
    ),
    "odds, and too few counts": (
        make_watching(reason=Reason.EVIDENCE_GATHERING),
        Severity.NONE,
        Severity.NONE,
    ),
}


@pytest.mark.parametrize(("verdict", "severity", "doubted"), UNCLEAN.values(), ids=UNCLEAN)
def test_what_speaks_against_it_makes_it_wait_anew(
    verdict: Verdict, severity: Severity, doubted: Severity
) -> None:
    found = Decision(verdict, severity, doubted=doubted)
    unclean = with_clean_since(watched(), found, T0 + 300)
    assert unclean.clean_since is None
    clean = with_clean_since(unclean, Decision(make_watching()), T0 + 310)
    assert clean.clean_since == T0 + 310
    assert with_clean_since(clean, Decision(make_watching()), T0 + 400) == clean
    # Missing data speaks neither for it nor against it.
    blind = make_watching(value=VerdictValue.NO_VERDICT, reason=Reason.SAMPLES_STALE)
    assert with_clean_since(clean, Decision(blind), T0 + 400) == clean


@pytest.mark.parametrize(
    ("verdict", "expected"),
    [
        (make_verdict(), VerdictValue.BAD),
        (make_verdict(value=VerdictValue.SUSPECT), VerdictValue.SUSPECT),
        (make_watching(), None),
        (make_watching(value=VerdictValue.NO_VERDICT), VerdictValue.BAD),
        (make_verdict(make_scope(odds=9.0)), None),
        (make_verdict(cause=Cause.STUCK_ROLLOUT), None),
    ],
    ids=["bad", "suspect", "watching", "no data", "by a symptom", "by Kubernetes"],
)
def test_a_verdict_against_it_by_counts_is_kept_for_the_next_one(
    verdict: Verdict, expected: VerdictValue | None
) -> None:
    before = replace(watched(), against=VerdictValue.BAD)
    assert with_against(before, verdict, 100.0).against is expected


@pytest.mark.parametrize(("odds", "expected"), [(2.0, VerdictValue.SUSPECT), (0.9, None)])
def test_a_suspicion_at_lower_odds_of_the_policy_ends_at_a_tenth_of_these(odds, expected) -> None:
    before = replace(watched(), against=VerdictValue.SUSPECT)
    verdict = make_verdict(make_scope(odds=odds), value=VerdictValue.SUSPECT)
    assert with_against(before, verdict, 10.0).against is expected


def stored(
    reason: Reason, verdict: VerdictValue, version: str = "v2", message: str = "it is so"
) -> RollbackPolicy:
    """A policy whose status another operator has written."""
    revision = revision_of(make_replica_set(version), at(0))
    healthy = condition(ConditionType.HEALTHY, False, reason, message)
    status = RollbackPolicyStatus(revision=revision, conditions=[healthy], verdict=verdict)
    return make_policy().model_copy(update={"status": status})


BY_COUNTS = Reason.ERROR_RATE_ABOVE_CONTROL
STORED = {
    "bad": (stored(BY_COUNTS, VerdictValue.BAD), VerdictValue.BAD),
    "suspect": (stored(Reason.ENVIRONMENT_SUSPECTED, VerdictValue.SUSPECT), VerdictValue.SUSPECT),
    "healthy": (stored(BY_COUNTS, VerdictValue.HEALTHY), None),
    "found bad earlier": (stored(Reason.FOUND_BAD, VerdictValue.BAD), None),
    "no worse than its control": (
        stored(
            Reason.ENVIRONMENT_SUSPECTED, VerdictValue.SUSPECT, message=f"{FAILS_ALIKE}no target"
        ),
        None,
    ),
    "by Kubernetes": (stored(Reason.UNAVAILABLE, VerdictValue.BAD), None),
    "of another release": (stored(BY_COUNTS, VerdictValue.BAD, "v1"), None),
    "nothing": (make_policy(), None),
}


@pytest.mark.parametrize(("policy", "expected"), STORED.values(), ids=STORED)
def test_a_new_leader_knows_the_stored_verdict_against_a_release(policy, expected) -> None:
    assert watch_of(None, make_case(policy), "http://prometheus", at(60)).against is expected


def served(trends: Trends) -> Watch:
    """The release has served 2,000 requests, and failed none."""
    samples = [(float(one), 10.0 * one) for one in range(5, 701, 5)]
    counted = make_counters([make_series(samples, pod=one) for one in PODS])
    made = with_workload(watched(trends, clean=-900), limited(), T0 + 700)
    return with_reading(made, counted)


@pytest.mark.parametrize(
    ("trends", "expected"),
    [
        pytest.param(remembering(900), Health.GOOD, id="a leak would show"),
        pytest.param(remembering(600), Health.UNKNOWN, id="a leak would not show yet"),
    ],
)
def test_a_look_records_it(trends: Trends, expected: Health) -> None:
    case = make_case(
        workload=limited(), ledger=(make_entry("v2", Health.UNKNOWN), make_entry("v1"))
    )
    found = evaluate_release(case, served(trends), at(702))
    assert health_of(found.case.ledger, "release-v2") is expected, found.verdict


@pytest.mark.parametrize(
    ("failed", "expected"),
    [(0, Starts.CLEAN), (30, Starts.FAILING)],
    ids=["its pods failed nothing at first", "its pods failed some requests at first"],
)
def test_how_its_pods_started_is_recorded_with_good(failed: float, expected: Starts) -> None:
    ledger = (make_entry("v2", Health.UNKNOWN), make_entry("v1"))
    errors = [(float(one), failed) for one in range(5, 701, 5)]
    failing = make_counters(
        [
            make_series([(float(one), 10.0 * one) for one in range(5, 701, 5)], pod=one)
            for one in PODS
        ],
        [make_series(errors, pod=PODS[0])],
    )
    watch = with_workload(watched(remembering(900), clean=-900), limited(), T0 + 700)
    case = make_case(workload=limited(), ledger=ledger)
    found = evaluate_release(case, with_reading(watch, failing), at(702))
    assert [one.starts for one in found.case.ledger] == [expected, None]
    assert found.case.ledger[0].health is Health.GOOD
    # It is recorded once: nothing is written at rest.
    again = evaluate_release(
        replace(case, ledger=found.case.ledger), with_reading(watch, failing), at(800)
    )
    assert again.case.ledger == found.case.ledger


def test_a_release_found_bad_at_p3_is_recorded_so_and_does_not_become_good() -> None:
    case = make_case(
        workload=make_workload(pods=make_pods(4, restarts=3)),
        ledger=(make_entry("v2", Health.UNKNOWN), make_entry("v1")),
    )
    found = evaluate_release(case, watched(clean=-900), at(700))
    assert found.decision.severity is Severity.P3
    assert health_of(found.case.ledger, "release-v2") is Health.BAD
    again = evaluate_release(
        make_case(ledger=found.case.ledger), replace(found.watch, clean_since=T0 - 900), at(1400)
    )
    assert health_of(again.case.ledger, "release-v2") is Health.BAD


def test_what_is_found_bad_at_p4_before_it_has_come_up_is_not_adopted() -> None:
    rule = {
        "severity": "P4",
        "when": [{"signal": "Restarts", "atLeast": "3"}],
        "response": "Report",
        "withinSeconds": 3600,
    }
    case = make_case(
        policy=make_policy(matrix=[rule]),
        workload=make_workload(pods=make_pods(4, restarts=3), older=()),
        ledger=(make_entry("v2", Health.UNKNOWN, found_time=at(0)),),
    )

    found = evaluate_release(case, watched(), at(700))

    (entry,) = found.case.ledger
    assert found.decision.severity is Severity.P4
    assert (entry.health, entry.found_time) == (Health.UNKNOWN, None)


def test_what_fails_when_the_policy_begins_is_not_assumed_to_be_good() -> None:
    """The policy was made in the outage: the release that runs may be its cause."""
    counts = tuple(
        make_increment(pod=pod, start=5.0 * k, end=5.0 * k + 5, requests=50.0, errors=50.0)
        for k in range(20)
        for pod in PODS
    )
    watch = replace(watched(clean=None), control=None, control_hashes=frozenset())
    seen = dict.fromkeys(PODS, T0 + 100)
    evidence = replace(watch.evidence, increments=counts, seen=seen, scraped=seen)
    watch = replace(watch, evidence=evidence, pods=make_pods(4))
    case = make_case(
        workload=make_workload(older=()), ledger=(make_entry("v2", Health.ASSUMED, since=at(0)),)
    )

    found = evaluate_release(case, watch, at(102))

    (entry,) = found.case.ledger
    assert (entry.health, entry.found_time) == (Health.UNKNOWN, at(0))
    assert entry.reason == "not Good: at least half of its requests failed"
