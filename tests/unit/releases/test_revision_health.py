from dataclasses import replace

import pytest

from rollback_operator.api.reasons import Reason
from rollback_operator.api.v1alpha1 import Health, VerdictValue
from rollback_operator.decide.evaluate import evaluate_release
from rollback_operator.evidence.watch import open_watch
from rollback_operator.releases.revision_health import failing
from tests.builders import (
    PURCHASE,
    T0,
    at,
    make_case,
    make_control,
    make_deployment,
    make_entry,
    make_increment,
    make_pod,
    make_pods,
    make_workload,
)

NONE: frozenset[str] = frozenset()
STUCK = make_workload(
    "v3",
    ("v2", "v1"),
    deployment=make_deployment("v3", updated=1, total=5, available=4),
    pods=(
        make_pod(version="v3", ready=False, own_failure="container shop: crashed"),
        *make_pods(version="v2"),
    ),
)
"""v3 does not come up, and the pods of v2 still serve."""
CONTROL = open_watch("digest-v3", T0, frozenset({"hashv2"}))


def watched(errors: float = 0.0, requests: float = 100.0, **changes):
    """A minute in which each pod of v2 has served twelve times so many requests."""
    counts = tuple(
        make_increment(
            pod=pod.name, start=5.0 * k, end=5.0 * k + 5, requests=requests, errors=errors
        )
        for k in range(12)
        for pod in make_pods(version="v2")
    )
    evidence = replace(CONTROL.evidence, increments=counts)
    return replace(CONTROL, evidence=evidence, **({"pods": STUCK.pods} | changes))


GONE = make_pods(version="v2", terminating=True)
LEDGERS = {
    "nothing": ((), {"release-v2"}),
    "assumed": ((make_entry("v2", Health.ASSUMED),), {"release-v2"}),
    "unknown": ((make_entry("v2", Health.UNKNOWN),), set()),
    "good": ((make_entry("v2", Health.GOOD),), set()),
    "bad": ((make_entry("v2", Health.BAD),), set()),
}


@pytest.mark.parametrize(("ledger", "expected"), LEDGERS.values(), ids=LEDGERS)
def test_only_what_has_not_proved_its_health_is_asked(ledger, expected) -> None:
    assert set(failing(make_case(workload=STUCK, ledger=ledger), watched(90), NONE)) == expected


COUNTS = {
    "everything fails": (watched(100), "4800 of its 4800 requests failed in the last minute"),
    "most fail": (watched(70), "3360 of its 4800 requests failed in the last minute"),
    "a part fails, year in, year out": (watched(40), None),
    "nothing fails": (watched(), None),
    "hardly a request": (watched(0.2, 0.2), None),
    "no pod serves": (watched(100, pods=GONE), None),
    "no pod serves, and its hour was bad": (
        watched(pods=GONE, control=make_control(1_000, 700)),
        "700 of its 1000 requests failed in the hour before",
    ),
    "no pod serves, and its hour was good": (
        watched(pods=GONE, control=make_control(1_000, 2)),
        None,
    ),
    "it has recovered since": (watched(control=make_control(1_000, 700)), None),
    "the hour is another revision's": (
        watched(pods=GONE, control=make_control(1_000, 700), control_hashes=frozenset({"hashv1"})),
        None,
    ),
}


@pytest.mark.parametrize(("watch", "expected"), COUNTS.values(), ids=COUNTS)
def test_what_a_revision_fails_by_its_own_counts(watch, expected) -> None:
    found = failing(make_case(workload=STUCK, ledger=()), watch, NONE)
    assert found.get("release-v2") == expected


def test_an_assumed_release_that_did_well_before_may_be_overloaded_now() -> None:
    """Of its pods few are left, because the bad release takes their place and does not come up."""
    case = make_case(workload=STUCK, ledger=(make_entry("v2", Health.ASSUMED),))
    assert failing(case, watched(100, control=make_control(1_000, 2)), NONE) == {}
    assert failing(case, watched(100, control=make_control(1_000, 700)), NONE)
    gone = watched(pods=GONE, control=make_control(1_000, 700))
    assert set(failing(case, gone, NONE)) == {"release-v2"}


def test_one_route_that_fails_is_enough() -> None:
    counts = tuple(
        replace(one, route=route, errors=errors)
        for one in watched().evidence.increments
        for route, errors in ((PURCHASE, 70.0), ("/", 0.0))
    )
    evidence = replace(CONTROL.evidence, increments=counts)
    watch = replace(CONTROL, evidence=evidence, pods=STUCK.pods)
    assert failing(make_case(workload=STUCK, ledger=()), watch, NONE) == {
        "release-v2": f"3360 of its 4800 requests failed on {PURCHASE} in the last minute"
    }


def test_routes_that_prove_nothing_are_left_out() -> None:
    case = make_case(workload=STUCK, ledger=())
    assert failing(case, watched(100), frozenset({PURCHASE})) == {}


@pytest.mark.parametrize(("errors", "is_planned"), [(0.0, True), (100.0, False)])
def test_a_policy_made_amid_a_rollout_does_not_go_back_to_what_fails(errors, is_planned) -> None:
    serving = tuple(replace(one, ready=4 * (one.revision == 2)) for one in STUCK.replica_sets)
    case = make_case(workload=replace(STUCK, replica_sets=serving), ledger=())

    found = evaluate_release(case, watched(errors), at(400))

    assert found.verdict.value is VerdictValue.BAD
    assert found.verdict.reason is Reason.STUCK_ROLLOUT
    if is_planned:
        assert found.decision.plan is not None
        assert found.decision.plan.to_revision is not None
        assert found.decision.plan.to_revision.number == 2
    else:
        assert found.decision.plan is None
        assert found.decision.refusal is not None
        assert found.decision.refusal.reason is Reason.TARGET_FAILING
        assert "revision 2 is the target" in found.decision.refusal.message
