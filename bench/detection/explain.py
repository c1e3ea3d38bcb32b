"""One scenario, look by look: what was counted, what was thought of it."""

from __future__ import annotations

from bench.detection.judged import Follower
from bench.detection.limits import limit, truth
from bench.detection.scenario import Scenario
from bench.detection.world import build
from rollback_operator.decide.evaluate import EvaluationResult
from rollback_operator.model.verdict import ScopeVerdict


def explain(scenario: Scenario) -> None:
    """Print a scenario's truth, its limit and all looks at it."""
    world = build(scenario)
    print(scenario.line())
    print(f"truth {truth(world)} {scenario.severity}; limit {limit(world)}")
    cast = world.cast
    print(f"first request {cast.first_request:.1f}, last old pod {cast.last_old:.1f}")
    print(f"first failed {world.first_failed}")
    outcome = Follower(world, _print).go()
    print(outcome.fields())


def _print(now: float, found: EvaluationResult) -> None:
    verdict = found.verdict
    print(f"{now:8.1f} {verdict.value.value} {verdict.reason} {found.decision.severity.value}")
    for one in verdict.scopes:
        print(f"         {_scope(one)}")


def _scope(one: ScopeVerdict) -> str:
    blame = f" blame {one.blame.odds:.0f} at {one.blame.onset:.0f}" if one.blame else ""
    doubts = f" unmet {one.unmet!r}" if one.unmet else ""
    veto = f" veto {one.veto}" if one.veto else ""
    return (
        f"{one.route or 'all'}: {one.errors:.0f}/{one.requests:.0f} against "
        f"{one.control_errors:.0f}/{one.control_requests:.0f} by {one.method} odds {one.odds:.3g} "
        f"bound {one.rate_lower_bound:.3f} pods {one.pods_failing}/{one.pods}{blame}{doubts}{veto}"
    )
