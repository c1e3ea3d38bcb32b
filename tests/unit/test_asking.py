"""When the integrity checks are asked, and that a release which damages data is taken back."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from rollback_operator.api.checklist import DatabaseSpec
from rollback_operator.api.reasons import ConditionType, Reason
from rollback_operator.api.v1alpha1 import (
    MatrixCondition,
    MatrixRule,
    MatrixSeverity,
    Outcome,
    Response,
    RollbackPolicy,
    SignalName,
    StepName,
)
from rollback_operator.evidence.watch import Watch, open_watch
from rollback_operator.model.samples import Missing
from rollback_operator.model.workload import Workload
from rollback_operator.reconcile.observe.asking import ASK_INTERVAL_SECONDS, IntegrityReader
from rollback_operator.rollback.integrity import QueryRows
from tests.builders import T0, make_pods, make_policy, make_workload
from tests.fakes.application import FakeSchemas
from tests.world import KEY, World, watched

RULE = MatrixRule(
    severity=MatrixSeverity.P1,
    when=[MatrixCondition(signal=SignalName.INTEGRITY)],
    response=Response.ROLLBACK,
)
INVALID = "invalid-tickets"
INTACT, DAMAGED = QueryRows(('{"count":0}',)), QueryRows(('{"count":7}',))
CHECKS = [{"name": INVALID, "query": "SELECT count(*) FROM tickets"}]


def database(**rules: Any) -> DatabaseSpec:
    return DatabaseSpec.model_validate(
        {
            "connectionSecretRef": {"name": "ticket-db"},
            "onUnknownSchema": "Ignore",
            "integrityChecks": CHECKS,
            "onCorruption": rules,
        }
    )


def policy(**changes: Any) -> RollbackPolicy:
    spec = {"matrix": [RULE], "database": database(response="Proceed")} | changes
    return watched(make_policy(**spec))


@dataclass
class Bench:
    policy: RollbackPolicy = field(default_factory=policy)
    workload: Workload = field(default_factory=make_workload)
    seconds: float = 0.0

    def __post_init__(self) -> None:
        self.schemas = FakeSchemas(answers={INVALID: INTACT})
        self.asker = IntegrityReader(self.schemas, lambda: T0 + self.seconds)
        self.watch: Watch = open_watch("digest-v2", T0, frozenset({"hashv1"}))

    async def look(self, seconds: float = 1.0) -> None:
        self.seconds += seconds
        self.watch = await self.asker.ask_due(self.watch, self.workload, self.policy)


async def test_nothing_is_asked_that_the_matrix_does_not_name() -> None:
    rule = RULE.model_copy(update={"when": [MatrixCondition(signal=SignalName.UNAVAILABLE)]})
    for unused in (policy(matrix=[rule]), policy(database=None)):
        bench = Bench(unused)
        await bench.look()
        assert bench.schemas.asked == []


async def test_the_first_answer_is_that_of_the_old_pods() -> None:
    bench = Bench()
    bench.workload = replace(
        bench.workload, pods=(*make_pods(2, "v1"), *make_pods(1, "v2", ready=False))
    )

    await bench.look()

    assert bench.watch.trends.integrity[INVALID].by_old is True


async def test_the_rate_is_bounded() -> None:
    bench = Bench()
    for _ in range(60):
        await bench.look()
    assert len(bench.schemas.asked) == 60 / ASK_INTERVAL_SECONDS


async def test_the_first_question_about_a_release_does_not_wait_for_that_before() -> None:
    bench = Bench()
    await bench.look()
    bench.watch = open_watch("digest-v3", T0, frozenset({"hashv2"}))

    await bench.look()

    assert len(bench.schemas.asked) == 2
    assert bench.watch.trends.integrity[INVALID].has_passed


async def test_a_question_that_hangs_does_not_delay_that_about_the_next_release() -> None:
    bench = Bench()
    bench.schemas.delay = 3600.0
    await bench.look()
    (before,) = bench.asker.asked.values()
    bench.watch = open_watch("digest-v3", T0, frozenset({"hashv2"}))
    bench.schemas.delay = 0.0

    await bench.look()

    assert bench.watch.trends.integrity[INVALID].has_passed
    assert before.task.cancelled() or before.task.cancelling()


async def test_a_database_that_hangs_is_asked_once_and_does_not_keep_a_look_waiting() -> None:
    bench = Bench()
    bench.schemas.delay = 3600.0
    for _ in range(3):
        await bench.look()
    assert len(bench.schemas.asked) == 1
    (asked,) = bench.asker.asked.values()
    await bench.asker.close()
    assert asked.task.cancelled()


async def test_without_a_database_a_release_is_neither_bad_nor_known_as_good() -> None:
    bench = Bench()
    bench.schemas.answers = Missing(Reason.SCHEMA_UNKNOWN, "refused")

    await bench.look()

    assert bench.watch.trends.unread_integrity is not None
    assert bench.watch.trends.integrity[INVALID].failures == 0


# -- a whole release -------------------------------------------------------------------------------


async def damaged(made: RollbackPolicy) -> World:
    """A release whose data is intact at first."""
    world = World(made, bad=frozenset())
    operator = world.operator()
    world.tell(operator)
    await operator.reconcile(KEY)
    world.schemas.answers = {INVALID: DAMAGED}
    await world.run(operator, lambda: bool(world.store.rollbacks))
    return world


async def test_a_release_that_damages_data_loses_its_traffic_and_is_taken_back() -> None:
    world = await damaged(policy())
    world.schemas.answers = {INVALID: INTACT}

    await world.run(world.operator(), world.is_all_done)

    done = world.rollback
    assert done.spec.trigger.signal is SignalName.INTEGRITY
    assert [step.name for step in done.status.steps][:3] == [
        StepName.STOP_TRAFFIC,
        StepName.UNDO,
        StepName.RESTORE_TRAFFIC,
    ]
    assert done.status.outcome is Outcome.VERIFIED
    assert "Integrity-invalid-tickets" in {check.name for check in done.status.verification}
    assert world.workloads.workload.deployment.replicas == 4
    assert world.workloads.workload.deployment.template.digest == "digest-v1"


async def test_data_that_stays_damaged_is_not_recovered() -> None:
    world = await damaged(policy())

    await world.run(world.operator(), world.is_over, most=600)

    assert world.rollback.status.outcome is Outcome.NOT_RECOVERED
    assert world.workloads.workload.deployment.replicas == 4


async def test_by_default_a_person_is_asked() -> None:
    world = await damaged(policy(database=database()))
    operator = world.operator()
    await world.run(operator, lambda: bool(world.rollback.status.steps))

    assert [step.name for step in world.rollback.status.steps] == [StepName.AWAITING_APPROVAL]
    assert world.rollback.spec.traffic is not None
    assert "set_replicas" not in world.journal


async def test_data_that_was_damaged_before_is_no_fault_of_the_release() -> None:
    world = World(policy(), bad=frozenset())
    world.schemas.answers = {INVALID: DAMAGED}
    operator = world.operator()

    for _ in range(30):
        world.tell(operator)
        await operator.reconcile(KEY)
        world.seconds += 2

    assert world.store.rollbacks == {}
    assert world.condition(ConditionType.HEALTHY)[1] == Reason.THERE_BEFORE


async def test_without_a_rule_for_damage_the_release_is_undone_as_for_any_fault() -> None:
    spec = database().model_copy(update={"on_corruption": None})
    world = await damaged(policy(database=spec))
    world.schemas.answers = {INVALID: INTACT}

    await world.run(world.operator(), world.is_over)

    assert world.rollback.spec.traffic is None
    assert "set_replicas" not in world.journal
