"""When the matrix' probes are sent, and that a release which fails one is taken back."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import Any

from rollback_operator.api.reasons import ConditionType, Reason
from rollback_operator.api.v1alpha1 import (
    MatrixCondition,
    MatrixRule,
    MatrixSeverity,
    Outcome,
    Response,
    RollbackPolicy,
    SignalName,
)
from rollback_operator.api.verification import HttpProbe, ProbeRecord, VerificationSpec
from rollback_operator.evidence.watch import Watch, open_watch
from rollback_operator.model.conditions import find
from rollback_operator.model.workload import Workload
from rollback_operator.reconcile.observe.trying import ProbeSender
from rollback_operator.rollback.probing import ProbeResponse
from tests.builders import T0, at, make_pods, make_policy, make_workload
from tests.fakes.application import FakeProbes
from tests.world import KEY, World, watched

BUY = HttpProbe(name="buy", url="http://shop.production.svc/buy")
SPARE = HttpProbe(name="spare", url="http://shop.production.svc/spare")
RULE = MatrixRule(
    severity=MatrixSeverity.P1,
    when=[MatrixCondition(signal=SignalName.PROBE, name="buy")],
    response=Response.ROLLBACK,
    within_seconds=60,
)
ON_RECORD = ProbeRecord(name="buy", release="release-v1", passed_time=at(-60))


def policy(*records: ProbeRecord, **changes: Any) -> RollbackPolicy:
    spec = {"matrix": [RULE], "verification": VerificationSpec(http=[BUY, SPARE])} | changes
    made = watched(make_policy(**spec))
    status = made.status.model_copy(update={"probes": list(records)})
    return made.model_copy(update={"status": status})


@dataclass
class Bench:
    policy: RollbackPolicy = field(default_factory=lambda: policy(ON_RECORD))
    workload: Workload = field(default_factory=make_workload)
    seconds: float = 0.0

    def __post_init__(self) -> None:
        self.probes = FakeProbes()
        self.trier = ProbeSender(self.probes, lambda: T0 + self.seconds)
        self.watch: Watch = open_watch("digest-v2", T0, frozenset({"hashv1"}))

    async def look(self, seconds: float = 1.0) -> None:
        self.seconds += seconds
        self.watch = await self.trier.send_due(self.watch, self.workload, self.policy)


async def test_a_probe_that_the_matrix_does_not_name_is_not_sent() -> None:
    bench = Bench(policy(matrix=[RULE.model_copy(update={"when": []})]))
    await bench.look()
    assert bench.probes.sent == []
    bench = Bench()
    await bench.look()
    assert bench.probes.sent == ["buy"]


async def test_a_release_that_has_passed_is_left_alone() -> None:
    bench = Bench()
    for _ in range(20):
        await bench.look()
    assert bench.probes.sent == ["buy"]
    assert bench.watch.trends.trials["buy"].has_passed
    again = Bench(policy(ON_RECORD.model_copy(update={"release": "release-v2"})))
    await again.look()
    assert again.probes.sent == []


async def test_failures_are_counted_two_seconds_apart() -> None:
    bench = Bench()
    bench.probes.answer("buy", ProbeResponse(500))
    for _ in range(6):
        await bench.look()
    trial = bench.watch.trends.trials["buy"]
    assert (trial.failures, trial.since) == (3, T0 + 1)


async def test_old_pods_are_asked_before_the_first_new_one_is_ready() -> None:
    bench = Bench(policy())
    bench.workload = replace(
        bench.workload, pods=(*make_pods(2, "v1"), *make_pods(1, "v2", ready=False))
    )
    await bench.look()
    assert bench.watch.trends.trials["buy"].by_old is True
    bench.workload = make_workload()
    bench.probes.answer("buy", ProbeResponse(500))
    await bench.look(2.0)
    assert bench.watch.trends.trials["buy"].failures == 1


async def test_an_answer_that_nobody_can_be_told_to_have_given_is_dropped() -> None:
    bench = Bench(policy())
    bench.probes.delay = 0.07
    bench.probes.answer("buy", ProbeResponse(500))
    bench.workload = replace(
        bench.workload, pods=(*make_pods(2, "v1"), *make_pods(1, "v2", ready=False))
    )
    await bench.look()
    bench.workload = make_workload()
    await bench.look()
    assert (bench.watch.trends.trials["buy"].by_old, bench.trier.sent) == (None, {})


async def test_a_probe_that_hangs_is_sent_once_and_ends_with_the_operator() -> None:
    bench = Bench()
    bench.probes.delay = 3600.0
    for _ in range(3):
        await bench.look()
    assert bench.probes.sent == ["buy"]
    (one,) = bench.trier.sent.values()
    await bench.trier.close()
    assert one.task.cancelled()


async def test_no_probe_is_sent_where_no_pod_is_ready() -> None:
    bench = Bench()
    bench.workload = replace(bench.workload, pods=make_pods(2, "v2", ready=False))
    await bench.look()
    assert bench.probes.sent == []


# -- a whole release -------------------------------------------------------------------------------


async def test_a_release_that_fails_a_probe_which_the_old_one_passed_is_taken_back() -> None:
    world = World(policy(ON_RECORD), bad=frozenset())
    world.probes.answer(
        "buy", ProbeResponse(503), ProbeResponse(503), ProbeResponse(503), ProbeResponse(200)
    )

    await world.run(world.operator(), world.is_over)

    done = world.rollback
    assert done.spec.severity is MatrixSeverity.P1
    assert done.spec.trigger.signal is SignalName.PROBE
    assert "the probe buy has failed 3 times in a row" in done.spec.trigger.message
    assert done.status.outcome is Outcome.VERIFIED


async def test_a_probe_that_may_not_be_sent_is_told_and_all_else_goes_on() -> None:
    away = HttpProbe(name="away", url="https://[::1]:8443/buy")
    world = World(policy(verification=VerificationSpec(http=[BUY, away])))

    await world.run(world.operator(), lambda: bool(world.status.conditions))

    ready = find(world.status.conditions, ConditionType.READY)
    assert ready is not None
    assert (ready.status, ready.reason) == ("False", Reason.PROBE_NOT_ALLOWED)
    assert "the hosts of away are" in ready.message
    assert world.status.revision is not None


async def test_a_release_that_passes_is_remembered_in_status_and_stays() -> None:
    world = World(policy(ON_RECORD), bad=frozenset())
    operator = world.operator()
    for _ in range(5):
        world.tell(operator)
        await operator.reconcile(KEY)
        world.seconds += 2
    assert world.store.rollbacks == {}
    assert [(one.name, one.release) for one in world.status.probes] == [("buy", "release-v2")]


async def test_a_probe_of_a_policy_that_is_gone_is_given_up() -> None:
    bench = Bench()
    bench.probes.delay = 3600.0
    await bench.look()
    ((key, _),) = bench.trier.sent
    (one,) = bench.trier.sent.values()

    bench.trier.forget(("production", "another"))
    assert len(bench.trier.sent) == 1
    bench.trier.forget(key)
    await asyncio.gather(one.task, return_exceptions=True)

    assert one.task.cancelled()
    assert bench.trier.sent == {}
