"""A release after a repair: its rollback target failed, and its predecessor did well."""

from dataclasses import replace

import pytest

from rollback_operator.api.reasons import Reason
from rollback_operator.api.v1alpha1 import Health, HoldReason, Severity, VerdictValue
from rollback_operator.decide.evaluate import EvaluationResult, evaluate_release, watch_of
from rollback_operator.evidence.baseline import RouteControl
from rollback_operator.evidence.counters import Evidence
from rollback_operator.evidence.watch import Watch, open_watch
from rollback_operator.releases.ledger import entry_of
from rollback_operator.releases.usefulness import LAST_FAILED, with_last_failures
from rollback_operator.releases.way_back import now
from tests.builders import (
    NAME,
    NAMESPACE,
    T0,
    at,
    make_case,
    make_control,
    make_deployment,
    make_entry,
    make_increment,
    make_pods,
    make_policy,
    make_replica_set,
    make_scope,
    make_watching,
    make_workload,
)

NEW, BEFORE = make_pods(version="v4"), make_pods(version="v3")
LEDGER = (
    make_entry("v4", Health.UNKNOWN),
    make_entry("v3", Health.UNKNOWN),
    make_entry("v1"),
)
FAILED = replace(
    make_control(errors=40_000, worst_minute=1.0),
    pooled=RouteControl(180_000, 40_000, 1.0, last=(6000.0, 6000.0)),
)
SETS = (
    make_replica_set("v4", created=T0),
    make_replica_set("v3", created=T0 - 200),
    make_replica_set("v1", created=T0 - 7200),
)
CASE = make_case(
    policy=make_policy(safety={"pause_on_suspicion": True}),
    workload=make_workload(
        "v4",
        ("v3", "v1"),
        replica_sets=SETS,
        deployment=make_deployment("v4", updated=4, total=8, available=8),
        pods=(*NEW, *BEFORE),
    ),
    ledger=LEDGER,
)


def counted(pods, errors: float, begin: float = 2.0):
    """Four samples of 60 requests of each pod."""
    return [
        make_increment(
            pod=pod.name, start=begin + 5 * k, end=begin + 5 * k + 5, requests=60.0, errors=errors
        )
        for k in range(4)
        for pod in pods
    ]


def evaluated(*counts, alive: bool = False, **changes) -> EvaluationResult:
    increments = tuple(sorted((one for each in counts for one in each), key=lambda one: one.end))
    seen = {one.pod: one.end for one in increments}
    before = BEFORE if alive else tuple(replace(pod, terminating=True) for pod in BEFORE)
    watch = replace(
        open_watch("digest-v4", T0, frozenset({"hashv1"})),
        evidence=Evidence(T0, seen=seen, increments=increments, interval=5.0),
        missing=None,
        control=FAILED,
        control_before=make_control(),
        replaced_hashes=frozenset({"hashv3"}),
        pods=(*NEW, *before),
    )
    workload = replace(CASE.workload, pods=watch.pods)
    case = replace(CASE, workload=workload)
    return evaluate_release(case, replace(watch, **changes), at(22.3))


@pytest.mark.parametrize("alive", [True, False], ids=["beside its predecessor", "none is left"])
def test_what_fails_after_a_repair_is_bad_and_is_not_undone_to_what_failed(alive) -> None:
    served = counted(BEFORE, 0.0, 2.0 if alive else -18.0)
    found = evaluated(counted(NEW, 60.0), served, alive=alive)

    assert (found.verdict.value, found.decision.severity) == (VerdictValue.BAD, Severity.P1)
    assert (found.decision.plan, found.watch.control_hashes) == (None, {"hashv3"})
    refusal = found.decision.refusal
    assert refusal is not None
    assert refusal.reason is Reason.TARGET_FAILING
    assert "revision 1 is the target, is recorded as Good, but failed: 6000" in refusal.message
    assert refusal.message.endswith("--to 3 --reason TEXT")
    entry = entry_of(found.case.ledger, "release-v1")
    assert entry is not None
    assert (entry.health, entry.reason) == (Health.GOOD, LAST_FAILED)
    assert "--to 3" in now(found.case.ledger, found.case.workload, (NAMESPACE, NAME))
    if alive:
        assert found.hold is not None
        assert found.hold.reason is HoldReason.SUSPICION


ALIKE = {
    "the pods beside it fail, too": (counted(BEFORE, 60.0), True, None),
    "its predecessor failed before it stopped": (
        counted(BEFORE, 60.0, -15.0),
        False,
        Reason.OLD_REVISION_FAILS_TOO,
    ),
}


@pytest.mark.parametrize(("served", "alive", "reason"), ALIKE.values(), ids=ALIKE)
def test_an_outage_that_its_predecessor_has_is_not_the_releases(served, alive, reason) -> None:
    found = evaluated(counted(NEW, 60.0), served, alive=alive)
    assert found.watch.failed_target is not None
    assert found.verdict.value is not VerdictValue.BAD
    assert found.decision.severity is Severity.NONE
    assert reason in (None, found.verdict.reason)


def test_what_fails_as_its_young_predecessor_is_compared_with_the_target() -> None:
    found = evaluated(
        counted(NEW, 6.0),
        control=make_control(),
        control_before=make_control(errors=18_000),
    )
    assert found.watch.control_hashes == {"hashv1"}
    assert found.verdict.value is VerdictValue.BAD
    assert found.decision.plan is not None
    assert found.decision.plan.to_revision is not None
    assert found.decision.plan.to_revision.number == 1


def test_a_failed_target_is_the_control_again_once_its_successor_is_known_to_be_bad() -> None:
    watch: Watch = evaluated(counted(NEW, 0.0), counted(BEFORE, 0.0, -18.0)).watch
    opened = watch_of(None, CASE, "url", at(10))
    assert opened.replaced_hashes == {"hashv3"}
    identity = {"digest": opened.digest, "source": opened.source}
    watch = replace(watch, good_hashes=opened.good_hashes, **identity)
    assert watch_of(watch, CASE, "url", at(20)) is watch

    bad = replace(CASE, ledger=(LEDGER[0], make_entry("v3", Health.BAD), LEDGER[2]))
    again = watch_of(watch, bad, "url", at(30))

    assert (again.control_hashes, again.replaced_hashes) == ({"hashv1"}, frozenset())
    assert (again.control, again.failed_target) == (None, None)


def test_a_failed_target_that_runs_again_and_serves_is_no_longer_marked() -> None:
    marked = (make_entry("v1", reason=LAST_FAILED),)
    serves = make_watching(scopes=(make_scope(requests=100.0, errors=1.0),))
    fails = make_watching(scopes=(make_scope(requests=100.0, errors=90.0),))
    for verdict, running, expected in (
        (serves, "release-v1", "serves again"),
        (fails, "release-v1", LAST_FAILED),
        (serves, "release-v2", LAST_FAILED),
    ):
        (entry,) = with_last_failures(marked, running, verdict, frozenset())
        assert (entry.health, entry.reason) == (Health.GOOD, expected)
