"""Carrying a stored Rollback on: each step stored before and after, each failure by its kind."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from rollback_operator.api.reasons import ConditionType, Reason
from rollback_operator.api.v1alpha1 import (
    FINALIZER,
    MatrixSeverity,
    Mode,
    Outcome,
    Pace,
    Remedy,
    RemedyType,
    Rollback,
    RollbackPolicy,
    RollbackStatus,
    StepName,
    StoredStrategy,
)
from rollback_operator.api.verification import HttpProbe, VerificationSpec
from rollback_operator.decide import guards
from rollback_operator.evidence.counters import Evidence
from rollback_operator.evidence.watch import open_watch
from rollback_operator.model.conditions import find
from rollback_operator.ports.failure import RETRY_SECONDS, Failure, FailureKind
from rollback_operator.reconcile.act.execution import MOST_STEP_ATTEMPTS, STEP_POLL_SECONDS, Again
from rollback_operator.reconcile.act.verifying import VerificationInputs
from rollback_operator.rollback.probing import ProbeResponse
from rollback_operator.stats.windows import Increment
from tests.builders import (
    T0,
    at,
    make_case,
    make_deployment,
    make_pods,
    make_policy,
    make_replica_set,
    make_rollback,
    make_step,
    make_template,
    make_workload,
)
from tests.carrying import Carried
from tests.fakes.failures import CONFLICT, GONE, OUTAGE, REFUSAL, Crash

SCALE = Remedy(type=RemedyType.SCALE, replicas=6)
PIN = Remedy(
    type=RemedyType.PIN_IMAGE, container="ticket-service", image="registry.example.com/shop:v1"
)


def patient(status: RollbackStatus | None = None, **changes: Any) -> Rollback:
    """A Rollback whose rollout and verification may take ten seconds each."""
    spec = {"verification": VerificationSpec(timeout_seconds=10)} | changes
    return make_rollback(status=status, **spec)


@dataclass
class World(Carried):
    """... under a policy that the test gives."""

    rollback: Rollback = field(default_factory=patient)
    policy: RollbackPolicy = field(default_factory=make_policy)

    def policy_of(self, _: Rollback) -> RollbackPolicy:
        return self.policy


def why(rollback: Rollback) -> str:
    found = find(rollback.status.conditions, ConditionType.COMPLETE)
    assert found is not None
    return found.reason


def seconds_of(result: Rollback | Again) -> float:
    assert isinstance(result, Again), result
    return result.seconds


def express(**changes: Any) -> World:
    return World(patient(pace=Pace.EXPRESS, **changes))


# -- the order of things ---------------------------------------------------------------------------


async def test_each_step_is_stored_before_and_after() -> None:
    world = World()

    assert seconds_of(await world.carry_on()) == STEP_POLL_SECONDS

    assert world.writes == [
        "write_rollback",
        "undo",
        "write_rollback",
        "write_rollback",
        "write_rollback",
        "write_rollback",
    ]
    steps = {one.name: one.finished_time is not None for one in world.stored.status.steps}
    assert steps == {
        StepName.UNDO: True,
        StepName.ROLLOUT_COMPLETE: True,
        StepName.VERIFY: False,
    }


async def test_the_strategy_is_stored_before_it_is_changed_and_put_back() -> None:
    world = express()
    world.store.fail_next("write_rollback", OUTAGE)
    await world.carry_on()
    assert "undo" not in world.journal

    await world.carry_on()

    assert world.stored.status.strategy == StoredStrategy(max_surge="25%", max_unavailable="25%")
    assert world.workloads.surges == [StoredStrategy(max_surge="100%", max_unavailable="25%")]
    assert world.workloads.workload.deployment.max_surge == "25%"
    assert world.journal.index("undo") < world.journal.index("set_strategy")


async def test_the_begin_is_told_once_though_its_record_is_tried_again() -> None:
    world = World()
    world.store.fail_next("write_rollback", CONFLICT, CONFLICT)

    for _ in range(3):
        await world.carry_on()

    assert world.store.told().count("RollbackStarted") == 1


async def test_an_event_that_an_outage_keeps_back_is_told_with_the_next_try() -> None:
    world = World()
    world.store.fail_next("post", OUTAGE)
    world.store.fail_next("write_rollback", OUTAGE)

    for _ in range(2):
        await world.carry_on()

    assert world.store.told().count("RollbackStarted") == 1


async def test_a_normal_undo_touches_no_strategy() -> None:
    world = World()

    await world.carry_on()

    assert world.workloads.surges == [None]
    assert world.stored.status.strategy is None
    assert "set_strategy" not in world.journal


async def test_a_strategy_that_surges_by_itself_is_left_as_it_is() -> None:
    world = express()
    deployment = replace(world.workloads.workload.deployment, max_surge="100%")
    world.workloads.workload = replace(world.workloads.workload, deployment=deployment)

    await world.carry_on()

    assert "set_strategy" not in world.journal


async def test_the_end_is_stored_and_told_and_its_finalizer_waits_for_the_policy() -> None:
    world = World()

    done = await world.until_end()

    assert done.status.outcome is Outcome.UNKNOWN
    assert world.journal[-2:] == ["write_rollback", "post"]
    assert world.stored.metadata.finalizers == [FINALIZER]
    assert world.store.told() == ["RollbackStarted", "RollbackFinished"]


@pytest.mark.parametrize(("remedy", "step"), [(SCALE, StepName.SCALE), (PIN, StepName.PIN_IMAGE)])
async def test_other_remedies_act_in_place_once(remedy: Remedy, step: StepName) -> None:
    world = World(patient(remedy=remedy, to_revision=None))

    await world.carry_on()
    world.executor = world.operator()
    await world.carry_on()

    assert world.journal.count("apply_in_place") == 1
    assert world.stored.status.steps[0].name is step


async def test_mode_observe_ends_at_once() -> None:
    world = World(patient(mode=Mode.OBSERVE))

    done = await world.carry_on()

    assert isinstance(done, Rollback)
    assert done.status.outcome is Outcome.OBSERVED
    assert world.writes == ["write_rollback"]


# -- replay ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("pace", list(Pace))
@pytest.mark.parametrize("remedy", ["undo", "scale", "pin"])
async def test_a_crash_at_any_call_costs_nothing(pace: Pace, remedy: str) -> None:
    fields: dict[str, dict[str, Any]] = {
        "undo": {},
        "scale": {"remedy": SCALE, "to_revision": None},
        "pin": {"remedy": PIN, "to_revision": None},
    }
    whole = World(patient(pace=pace, **fields[remedy]))
    await whole.last()
    for number in range(len(whole.journal)):
        world = World(patient(pace=pace, **fields[remedy]))
        world.journal.crash_at = number
        with pytest.raises(Crash):
            await world.last()
        world.executor = world.operator()
        if world.stored.status.outcome is None:
            await world.last()

        assert world.stored.status.outcome is Outcome.UNKNOWN
        assert world.journal.count("undo") + world.journal.count("apply_in_place") == 1
        assert world.workloads.workload.deployment.max_surge == "25%"


async def test_a_step_whose_work_is_found_done_is_done() -> None:
    world = World()
    world.workloads.workload = make_workload("v1", ("v2",))

    await world.carry_on()

    assert "undo" not in world.journal
    assert world.stored.status.steps[0].finished_time is not None


# -- failures --------------------------------------------------------------------------------------


async def test_a_conflict_is_looked_at_again_at_once() -> None:
    world = World()
    world.workloads.fail_next("undo", CONFLICT)

    assert seconds_of(await world.carry_on()) == 0.1
    await world.carry_on()

    assert len(world.workloads.surges) == 1
    assert world.stored.status.steps[0].attempts == 1


async def test_an_outage_is_waited_out_however_long() -> None:
    world = World()
    world.workloads.fail_next("undo", *[OUTAGE] * 3 * MOST_STEP_ATTEMPTS)

    done = await world.last()

    assert done.status.outcome is Outcome.UNKNOWN
    assert len(world.workloads.surges) == 1


async def test_a_server_says_when_it_may_be_asked_again() -> None:
    world = World()
    world.workloads.fail_next("undo", Failure(FailureKind.UNAVAILABLE, "429", 33.0))

    assert seconds_of(await world.carry_on()) == 33.0


async def test_what_is_refused_is_given_up_in_the_end() -> None:
    world = express()
    world.workloads.fail_next("undo", *[REFUSAL] * 2 * MOST_STEP_ATTEMPTS)

    done = await world.last()

    assert done.status.outcome is Outcome.FAILED
    assert why(done) == Reason.STEP_REFUSED
    assert world.journal.count("undo") == MOST_STEP_ATTEMPTS
    assert done.status.steps[0].attempts == MOST_STEP_ATTEMPTS


async def test_a_refused_act_rests_before_it_is_tried_again_each_time_twice_as_long() -> None:
    world = World()
    world.workloads.fail_next("undo", *[REFUSAL] * MOST_STEP_ATTEMPTS)
    waits = []
    for tried in range(1, MOST_STEP_ATTEMPTS):
        waits.append(seconds_of(await world.carry_on()))
        for _ in range(10):
            await world.carry_on()
        assert world.journal.count("undo") == tried
        world.seconds += waits[-1]

    assert waits == [RETRY_SECONDS * 2**k for k in range(MOST_STEP_ATTEMPTS - 1)]


async def test_a_refusal_that_ends_is_forgotten() -> None:
    world = World()
    world.workloads.fail_next("undo", *[REFUSAL] * (MOST_STEP_ATTEMPTS - 1))

    done = await world.last()

    assert done.status.outcome is Outcome.UNKNOWN
    assert len(world.workloads.surges) == 1


async def test_a_bad_release_that_is_restarted_before_the_undo_is_judged_anew() -> None:
    world = World()
    world.workloads.fail_next("undo", OUTAGE)
    await world.carry_on()
    known = world.workloads.workload
    template = make_template(digest="digest-v2-restarted")
    world.workloads.workload = replace(
        known,
        deployment=make_deployment(template=template, revision=3),
        replica_sets=(
            make_replica_set("v3", template=template),
            *known.replica_sets,
        ),
    )

    done = await world.last()

    assert (done.status.outcome, why(done)) == (Outcome.ABANDONED, Reason.TARGET_MOVED)
    assert world.journal.count("undo") == 1
    case = make_case(workload=world.workloads.workload, rollbacks=[done])
    assert guards.refusal(case, MatrixSeverity.P1, at(60)) is None


async def test_a_revision_that_is_gone_ends_it() -> None:
    world = World()
    world.workloads.fail_next("undo", GONE)

    done = await world.carry_on()

    assert isinstance(done, Rollback)
    assert (done.status.outcome, why(done)) == (Outcome.FAILED, Reason.REPLICA_SET_GONE)


async def test_a_deployment_that_is_gone_is_not_taken_for_its_revision() -> None:
    world = World()
    world.workloads.fail_next("undo", GONE)
    world.workloads.fail_next("inspect", GONE)

    done = await world.carry_on()

    assert isinstance(done, Again)
    assert world.stored.status.outcome is None


async def test_a_strategy_that_cannot_be_put_back_is_a_failure_that_is_told() -> None:
    world = express()
    world.workloads.fail_next("set_strategy", *[REFUSAL] * 3 * MOST_STEP_ATTEMPTS)

    done = await world.last()

    assert done.status.outcome is Outcome.FAILED
    assert why(done) == Reason.STEP_REFUSED


async def test_an_end_that_is_not_stored_is_stored_later() -> None:
    world = World(patient(mode=Mode.OBSERVE))
    world.store.fail_next("write_rollback", CONFLICT)

    assert isinstance(await world.carry_on(), Again)
    assert world.store.notices == []
    done = await world.last()

    assert done.status.outcome is Outcome.OBSERVED
    assert world.store.told() == ["RollbackObserved"]


# -- the target changes ----------------------------------------------------------------------------


async def test_a_target_that_is_another_object_by_now_ends_it() -> None:
    world = World()
    found = make_workload()
    found = replace(found, deployment=replace(found.deployment, uid="made-anew"))

    done = await world.executor.carry_on(world.stored, found, VerificationInputs())

    assert isinstance(done, Rollback)
    assert (done.status.outcome, why(done)) == (Outcome.ABANDONED, Reason.TARGET_DELETED)
    assert "undo" not in world.journal


async def test_a_newer_release_stands() -> None:
    world = World()
    world.workloads.workload = make_workload("v3", ("v2", "v1"))

    done = await world.carry_on()

    assert isinstance(done, Rollback)
    assert (done.status.outcome, why(done)) == (Outcome.ABANDONED, Reason.TARGET_MOVED)
    assert "undo" not in world.journal


async def test_a_newer_release_keeps_no_surge_of_ours() -> None:
    status = RollbackStatus(
        strategy=StoredStrategy(max_surge="1", max_unavailable="0"),
        steps=[make_step(StepName.UNDO, 10, 11), make_step(StepName.ROLLOUT_COMPLETE, 11)],
    )
    world = World(patient(status=status, pace=Pace.EXPRESS))
    moved = make_workload("v3", ("v2", "v1"))
    surged = replace(moved.deployment, max_surge="100%")
    world.workloads.workload = replace(moved, deployment=surged)
    world.workloads.fail_next("set_strategy", OUTAGE)
    assert isinstance(await world.carry_on(), Again)
    assert world.stored.status.outcome is None

    done = await world.carry_on()

    assert isinstance(done, Rollback)
    assert why(done) == Reason.TARGET_MOVED
    assert world.workloads.workload.deployment.max_surge == "1"


async def test_a_rollout_that_never_ends_is_given_up_and_the_strategy_put_back() -> None:
    world = express()
    slow = replace(world.workloads.workload.deployment, available=2)
    world.workloads.workload = replace(world.workloads.workload, deployment=slow)

    done = await world.last()

    assert (done.status.outcome, why(done)) == (Outcome.NOT_RECOVERED, Reason.ROLLOUT_TIMED_OUT)
    assert world.workloads.workload.deployment.max_surge == "25%"


async def test_what_runs_is_not_verified_by_the_counts_of_another_release() -> None:
    world = World()
    watch = open_watch("digest-v2", 0.0, frozenset())

    for _ in range(3):
        assert seconds_of(await world.carry_on(watch)) == STEP_POLL_SECONDS

    assert world.stored.status.outcome is None


@pytest.mark.parametrize(
    ("route", "outcome"), [("/buy", Outcome.VERIFIED), ("/health", Outcome.UNKNOWN)]
)
async def test_nothing_is_verified_by_answers_to_probes(route: str, outcome: Outcome) -> None:
    done = [(StepName.UNDO, 20, 21), (StepName.ROLLOUT_COMPLETE, 21, 22), (StepName.VERIFY, 22)]
    status = RollbackStatus(step=StepName.VERIFY, steps=[make_step(*one) for one in done])
    world = World(patient(status), seconds=55)
    workload = make_workload("v1", ("v2",), pods=make_pods(version="v1"))
    paths = replace(workload.deployment, probe_paths=frozenset({"/health"}))
    world.workloads.workload = replace(workload, deployment=paths)
    counts = tuple(
        Increment(pod.name, route, T0 + end - 2, T0 + end, 50, 0)
        for end in (50, 52)
        for pod in workload.pods
    )
    watch = replace(
        open_watch("digest-v1", T0 + 20, frozenset()),
        missing=None,
        evidence=Evidence(T0 + 20, increments=counts),
    )

    over = await world.carry_on(watch)

    assert isinstance(over, Rollback)
    assert over.status.outcome is outcome


# -- verification ----------------------------------------------------------------------------------

BUY = HttpProbe(name="buy", url="http://shop.production.svc/buy")


def probed(seconds: int = 10) -> World:
    return World(make_rollback(verification=VerificationSpec(timeout_seconds=seconds, http=[BUY])))


def results(rollback: Rollback) -> dict[str, str]:
    return {one.name: str(one.result) for one in rollback.status.verification}


async def test_the_end_keeps_what_was_looked_at() -> None:
    world = probed()

    done = await world.last()

    assert results(done) == {
        "RolloutComplete": "Passed",
        "buy": "Passed",
        "ErrorRate": "Unknown",
        "Latency": "Unknown",
    }
    assert world.executor.verifier.courses == {}


async def test_a_probe_that_goes_on_failing_ends_it_at_the_time_out() -> None:
    world = probed()
    world.probes.answer("buy", ProbeResponse(500))
    begin = world.seconds

    done = await world.last()

    assert (done.status.outcome, why(done)) == (Outcome.NOT_RECOVERED, Reason.CHECK_FAILED)
    assert world.seconds - begin > 10
    assert world.journal.count("undo") == 1
    told = world.store.notices[-1]
    assert told.is_warning
    assert "buy: GET answered 500" in told.message


async def test_who_waits_sees_what_has_failed_and_nothing_is_written_twice_of_it() -> None:
    world = probed(60)
    world.probes.answer("buy", ProbeResponse(500))
    for _ in range(4):
        world.seconds += seconds_of(await world.carry_on())
    assert results(world.stored)["buy"] == "Failed"
    writes = world.journal.count("write_rollback")

    for _ in range(20):
        world.seconds += seconds_of(await world.carry_on())

    assert world.journal.count("write_rollback") == writes
    world.probes.answer("buy", ProbeResponse(200))
    for _ in range(8):
        world.seconds += seconds_of(await world.carry_on())
    assert results(world.stored)["buy"] == "Passed"


async def test_a_verification_that_begins_anew_after_a_crash_asks_anew() -> None:
    world = probed(60)
    world.probes.answer("buy", ProbeResponse(500))
    await world.carry_on()

    world.executor = world.operator()
    await world.carry_on()

    assert world.probes.sent == ["buy", "buy"]
    assert world.journal.count("undo") == 1


async def test_failures_that_are_not_stored_now_are_stored_later() -> None:
    world = probed(60)
    await world.carry_on()
    world.probes.answer("buy", ProbeResponse(500))
    world.executor = world.operator()
    world.store.fail_next("write_rollback", OUTAGE)

    assert seconds_of(await world.carry_on()) == RETRY_SECONDS
    assert results(world.stored) == {}
    await world.carry_on()

    assert results(world.stored)["buy"] == "Failed"


async def test_a_rollout_that_never_ends_is_a_check_that_failed() -> None:
    world = World()
    slow = replace(world.workloads.workload.deployment, available=2)
    world.workloads.workload = replace(world.workloads.workload, deployment=slow)

    assert results(await world.last()) == {"RolloutComplete": "Failed"}


async def test_a_newer_release_ends_a_verification() -> None:
    world = probed(60)
    world.probes.answer("buy", ProbeResponse(500))
    await world.carry_on()
    world.workloads.workload = make_workload("v3", ("v2", "v1"))

    done = await world.carry_on()

    assert isinstance(done, Rollback)
    assert why(done) == Reason.TARGET_MOVED
