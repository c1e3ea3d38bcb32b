"""A restart of the operator at any instant: the verdict after it is the verdict without it."""

from dataclasses import replace

import pytest

from bench.detection import families
from bench.detection.judged import Follower
from bench.detection.scenario import Confounder, Scenario
from bench.detection.target import PROMETHEUS, when
from bench.detection.world import World, build
from rollback_operator.api.v1alpha1 import RollbackPolicyStatus
from rollback_operator.decide.evaluate import EvaluationResult, evaluate_release, watch_of
from rollback_operator.ports.metrics import Prometheus
from rollback_operator.reconcile.observe.observation import Source
from rollback_operator.report.readiness import Around, readiness
from rollback_operator.report.status import StatusInputs, next_status
from tests.sizes import few_of


class Twin:
    """Judges a release, and at each look again as an operator that has just started."""

    def __init__(self, world: World) -> None:
        self.follower = Follower(world, self.look)
        self.status = RollbackPolicyStatus()
        self.differing: list[str] = []
        self.looks = 0

    def look(self, now: float, found: EvaluationResult) -> None:
        again = self.judged_again(now, found)
        self.looks += 1
        if shown(again) != shown(found):
            self.differing.append(f"{now:.1f}: {shown(found)}, after a restart {shown(again)}")
        policy = found.case.policy
        inputs = StatusInputs(
            readiness(policy, found.case.workload.deployment, Around()),
            workload=found.case.workload,
            ledger=found.case.ledger,
            decision=found.decision,
            opened=when(0),
        )
        self.status = next_status(self.status, inputs, 1, when(now))

    def judged_again(self, now: float, found: EvaluationResult) -> EvaluationResult:
        follower, case = self.follower, found.case
        status = self.status.model_copy(update={"hold": case.policy.status.hold})
        policy = case.policy.model_copy(update={"status": status})
        case = replace(case, policy=policy)
        watch = watch_of(None, case, PROMETHEUS, when(now))
        source = Source(policy, Prometheus(PROMETHEUS))
        observed = follower.observer.observe(watch, case.workload, source)
        return evaluate_release(case, follower.loop.run_until_complete(observed), when(now))


def shown(found: EvaluationResult) -> tuple[str, ...]:
    """What people see of it."""
    return found.verdict.value, found.verdict.reason, found.decision.severity


def is_rebuilt(scenario: Scenario) -> bool:
    """Reads of pods and slow signals begin anew, which docs/judgement.md says."""
    return not scenario.pages and not scenario.trends


SERVICE = Scenario(seed=500_900, rps=50.0, pods=4, scrape=5.0, horizon=60.0)
OUTAGE = replace(SERVICE, confounder=Confounder.DEPENDENCY, extent=0.5, since=-8.0)
"""It began on old pods that are gone soon: their last minute clears the release."""
CASES = [OUTAGE, *[each for each in families.fixed() if is_rebuilt(each)][::7]]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("scenario", few_of(CASES, 2), ids=lambda each: str(each.seed))
def test_a_restart_at_any_instant_changes_no_verdict(scenario) -> None:
    twin = Twin(build(scenario))
    twin.follower.go()
    assert twin.looks
    assert twin.differing == [], scenario.line()
