"""A Prometheus that hangs holds up neither an undo nor what Kubernetes shows."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace

from rollback_operator.adapters.fairness.holdings import Holdings
from rollback_operator.api.reasons import ConditionType, Reason
from rollback_operator.api.v1alpha1 import Outcome, VerdictValue
from rollback_operator.evidence.baseline import Control
from rollback_operator.model.samples import Missing, Reading
from rollback_operator.ports.metrics import CounterQuery, Prometheus
from rollback_operator.reconcile.observe.readings import READ_WAIT_SECONDS
from tests.builders import make_deployment, make_pods, make_request, make_workload
from tests.fakes.metrics import FakeMetrics
from tests.unit.test_ends import ended, last, verifying
from tests.unit.test_trying import ON_RECORD, policy
from tests.world import KEY, World


@dataclass
class HangingMetrics(FakeMetrics):
    """Answers nothing before `released`, and is asked as often as it is."""

    released: asyncio.Event = field(default_factory=asyncio.Event)
    asked: int = 0

    async def read(self, query: CounterQuery, seconds: float) -> Reading:
        await self._hang()
        return await super().read(query, seconds)

    async def read_control(self, query: CounterQuery, until: float) -> Control | Missing:
        await self._hang()
        return await super().read_control(query, until)

    async def read_clock(self, prometheus: Prometheus) -> float | Missing:
        await self._hang()
        return await super().read_clock(prometheus)

    async def _hang(self) -> None:
        self.asked += 1
        await self.released.wait()


class Hanging(World):
    """A world whose Prometheus hangs."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.hung = HangingMetrics(control=self.metrics.control)
        self.metrics = self.hung
        self.quick = READ_WAIT_SECONDS


async def test_a_person_who_asks_for_an_undo_has_it_at_once() -> None:
    world = Hanging()
    world.store.hold(make_request(seconds=18))
    operator = world.operator()

    async with asyncio.timeout(60):
        for _ in range(20):
            if "undo" in world.journal:
                break
            world.tell(operator)
            world.seconds += (await operator.reconcile(KEY)) or 0.1

    assert "undo" in world.journal
    assert not world.hung.released.is_set()
    await operator.readings.close()


async def test_a_release_without_a_pod_is_taken_back_without_any_metrics() -> None:
    world = Hanging()
    deployment = make_deployment(available=0)
    pods = make_pods(ready=False, ready_since=None, restarts=3, own_failure="CrashLoopBackOff")
    world.workloads.workload = make_workload(deployment=deployment, pods=pods)
    operator = world.operator()

    async with asyncio.timeout(60):
        for _ in range(60):
            if "undo" in world.journal:
                break
            world.tell(operator)
            await operator.reconcile(KEY)
            world.seconds += 5

    assert "undo" in world.journal
    assert world.rollback.spec.trigger.reason in (Reason.STUCK_ROLLOUT, Reason.UNAVAILABLE)
    await operator.readings.close()


async def test_a_verification_ends_though_prometheus_never_answers() -> None:
    world = Hanging()
    world.store.hold(verifying())
    world.workloads.workload = make_workload("v1", ("v2",))
    operator = world.operator()

    async with asyncio.timeout(120):
        await last(world, operator, most=2000)

    assert ended(world)[0] is Outcome.UNKNOWN
    await operator.readings.close()


async def test_one_read_goes_on_at_a_time_and_its_answer_is_taken_in_when_it_comes() -> None:
    world = Hanging()
    operator = world.operator()
    for _ in range(5):
        await operator.reconcile(KEY)
    assert world.hung.asked == 1
    assert world.status.verdict is not VerdictValue.BAD

    world.hung.released.set()
    async with asyncio.timeout(30):
        while KEY not in world.woken:  # noqa: ASYNC110 (nothing but a list is told)
            await asyncio.sleep(0.01)
    await world.run(operator, world.is_over)

    assert world.rollback.status.outcome is Outcome.VERIFIED


async def test_what_is_read_for_another_release_is_given_up() -> None:
    world = Hanging()
    operator = world.operator()
    await operator.reconcile(KEY)
    (before,) = operator.readings.running.values()

    world.workloads.workload = make_workload("v3", ("v2", "v1"))
    world.tell(operator)
    await operator.reconcile(KEY)

    await asyncio.sleep(0)
    (after,) = operator.readings.running.values()
    assert after is not before
    assert before.task.cancelled()
    await operator.readings.close()


async def test_the_probes_of_a_new_release_do_not_end_with_the_reads_of_the_old_one() -> None:
    world = Hanging(policy(ON_RECORD))
    world.probes.delay = 3600.0
    operator = world.operator()
    await operator.reconcile(KEY)
    trier = operator.readings.observer.trier
    assert trier is not None
    (old,) = trier.sent.values()

    world.workloads.workload = make_workload("v3", ("v2", "v1"))
    world.tell(operator)
    await operator.reconcile(KEY)

    (new,) = trier.sent.values()
    assert (old.digest, new.digest) == ("digest-v2", "digest-v3")
    await trier.close()
    await operator.readings.close()


async def test_an_error_while_metrics_are_read_ends_no_pass() -> None:
    class Broken(FakeMetrics):
        async def read_clock(self, prometheus: Prometheus) -> float | Missing:
            raise ZeroDivisionError

    world = World()
    world.metrics = Broken()
    operator = world.operator()

    await operator.reconcile(KEY)

    status, reason = world.condition(ConditionType.METRICS_AVAILABLE)
    assert (status, reason) == ("False", Reason.ANSWER_MALFORMED)


async def test_what_has_begun_ends_though_every_pass_fails() -> None:
    world = World()
    world.store.hold(verifying())
    world.workloads.workload = make_workload("v1", ("v2",))
    operator = world.operator()

    class Failing:
        async def observe(self, *_: object) -> None:
            raise ZeroDivisionError

        def forget(self, _: object) -> None:
            """Nothing is read."""

    operator = replace(operator, readings=Failing())
    failures = 0
    for _ in range(400):
        if world.is_over():
            break
        world.tell(operator)
        try:
            await operator.reconcile(KEY)
        except ZeroDivisionError:
            failures += 1
        world.seconds += 2

    assert failures > 0
    outcome, reason, message = ended(world)
    assert outcome is Outcome.UNKNOWN
    assert "pass over the policy fails" in message
    assert reason == Reason.NOT_YET_READ


async def test_what_exceeds_the_budget_is_not_kept() -> None:
    world = World()
    operator = world.operator()
    operator.readings.holdings = Holdings(most=0, free=0)
    for _ in range(3):
        world.tell(operator)
        await operator.reconcile(KEY)
        world.seconds += 5

    watch = operator.watches[KEY]
    assert watch.evidence.increments == ()
    assert watch.missing is not None
    assert watch.missing.reason is Reason.ANSWER_TOO_LARGE
    (said,) = [
        one for one in world.status.conditions if one.type == ConditionType.METRICS_AVAILABLE
    ]
    assert (said.status, said.reason) == ("False", Reason.ANSWER_TOO_LARGE)
    assert "watches of this namespace" in said.message
