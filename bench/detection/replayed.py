"""A scenario as the files that `rollback-operator backtest` takes, and replayed in memory."""

from __future__ import annotations

import time
from typing import Any

from bench.detection.judged import Outcome
from bench.detection.lives import DEPLOYMENT, EVER, NEW, OLD, Life
from bench.detection.past import is_replayable
from bench.detection.scenario import PURCHASE, RESERVE, Fault, Scenario, worse
from bench.detection.target import NAMESPACE, Target
from bench.detection.world import T0, Series, World
from rollback_operator.api.v1alpha1 import VerdictValue
from rollback_operator.cli.backtest.entry import Action, Entry
from rollback_operator.cli.backtest.history import History
from rollback_operator.cli.backtest.policy import parse_policy
from rollback_operator.cli.backtest.replay import Replay, ReplaySchedule
from rollback_operator.cli.backtest.rollouts import parse_rollouts
from rollback_operator.model.samples import Counters, CounterSeries

STEP = 1.0
BEFORE = 60.0
"""The clock starts that much before the release."""
POLICY: dict[str, Any] = {
    "targetRef": {"name": DEPLOYMENT},
    "mode": "Enforce",
    "signals": {
        "requests": {"metric": "http_requests_total"},
        "errors": {"metric": "http_request_errors_total"},
        "purchaseRoutes": [PURCHASE, RESERVE],
    },
}


def rollouts(world: World) -> dict[str, Any]:
    """Write ROLLOUTS.json: what is optional in it is there in three of four scenarios.

    What Kubernetes alone shows (pods that never serve, restarts) is always told.
    """
    scenario = world.scenario
    is_silent = scenario.fault in (Fault.CRASH_LOOP, Fault.SILENT, Fault.LEAK)
    found: dict[str, Any] = {
        "deployment": DEPLOYMENT,
        "namespace": NAMESPACE,
        "rollouts": [
            _rollout(-86400.0, OLD, 1, scenario.pods),
            _rollout(0.0, NEW, 2, scenario.pods),
        ],
    }
    if is_silent or scenario.seed % 4 in (1, 3):
        found["observations"] = _observations(world)
    if is_silent or scenario.seed % 4 in (2, 3):
        found["pods"] = [_pod(one) for one in world.cast.lives]
    return found


def _rollout(at: float, pod_hash: str, revision: int, replicas: int) -> dict[str, Any]:
    return {
        "time": T0 + at,
        "templateHash": pod_hash,
        "revision": revision,
        "image": f"registry.example.com/{DEPLOYMENT}:{pod_hash}",
        "replicas": replicas,
    }


def _observations(world: World) -> list[dict[str, Any]]:
    target = Target(world)
    found = []
    for change in target.changes:
        workload = target.at(change)
        new = [one for one in workload.pods if one.pod_hash == NEW]
        found.append(
            {
                "time": T0 + change,
                "readyReplicas": sum(one.ready for one in workload.pods),
                "updatedReplicas": len(new),
                "updatedReadyReplicas": sum(one.ready for one in new),
                "unavailable": max(0, world.scenario.pods - workload.deployment.available),
                "restarts": sum(one.restarts for one in new),
                "oomKills": sum(one.restarts for one in new)
                if world.scenario.fault is Fault.LEAK
                else 0,
            }
        )
    return found


def _pod(life: Life) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": life.name,
        "templateHash": life.pod_hash,
        "node": life.node,
        "ready": False if life.ready == EVER else T0 + life.ready,
    }
    if life.gone < EVER:
        found["deleted"] = T0 + life.gone
    return found


def counters(world: World) -> Counters:
    """Give all samples as the replay takes them."""
    return Counters(_series(world.requests), _series(world.errors))


def _series(all_: tuple[Series, ...]) -> tuple[CounterSeries, ...]:
    return tuple(
        CounterSeries(
            one.pod,
            one.route,
            (),
            f"{one.pod}:8080",
            tuple(
                (T0 + float(at), float(value))
                for at, value in zip(one.times, one.values, strict=True)
            ),
        )
        for one in all_
    )


def span(scenario: Scenario) -> ReplaySchedule:
    """Give the clock of a replay."""
    return ReplaySchedule(T0 - BEFORE, T0 + scenario.horizon, STEP)


def replay(world: World) -> Outcome | None:
    """Replay a scenario; None for one that files cannot tell."""
    if not is_replayable(world.scenario):
        return None
    began = time.process_time()
    read = parse_rollouts(rollouts(world))
    replayed = Replay(parse_policy(POLICY, read), read, History(counters(world)))
    found = replayed.run(span(world.scenario))
    outcome = outcome_of(world.scenario, list(found.decisions))
    outcome.seconds = time.process_time() - began
    return outcome


def outcome_of(scenario: Scenario, entries: list[Entry]) -> Outcome:
    """Make an outcome from what a replay or a backtest has printed."""
    outcome = Outcome(scenario.seed)
    for one in entries:
        now = one.time - T0
        if now < 0:
            continue
        outcome.final = one.verdict.value
        is_told = one.action is not Action.NONE or one.verdict is VerdictValue.SUSPECT
        if is_told and outcome.told is None:
            outcome.told, outcome.message, outcome.reason = now, one.message, one.reason
        if one.action is Action.ASK and outcome.asked is None:
            outcome.asked = now
        outcome.severity_later = worse(outcome.severity_later, one.severity.value)
        if one.action is Action.ROLLBACK and outcome.rolled_back is None:
            outcome.rolled_back = now
            outcome.severity = one.severity.value
            outcome.reason, outcome.message = one.reason, one.message
    if outcome.rolled_back is None:
        outcome.severity = outcome.severity_later
    return outcome
