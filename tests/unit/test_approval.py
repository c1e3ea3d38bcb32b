"""The checklist before the act, and a person who is asked: what is stored, told and done."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from rollback_operator.api.checklist import (
    AppliedMigrations,
    Approval,
    ApprovalDecision,
    ApprovalSpec,
    ApprovalTimeout,
    CheckName,
    CheckResult,
    Consequence,
    DatabaseSpec,
)
from rollback_operator.api.reasons import ConditionType, Reason
from rollback_operator.api.v1alpha1 import (
    Health,
    MatrixSeverity,
    Mode,
    Outcome,
    Pace,
    Revision,
    Rollback,
    RollbackPolicy,
    RollbackPolicyStatus,
    SafetySpec,
    StepName,
)
from rollback_operator.api.verification import VerificationSpec
from rollback_operator.model.conditions import find
from rollback_operator.model.schema import (
    Applied,
    DirtyReason,
    DirtySchema,
    Migration,
    SchemaHistory,
    UnknownSchema,
)
from rollback_operator.model.surroundings import Amounts, Quota, Reference
from rollback_operator.report.events import finished
from rollback_operator.report.recovery import recovered
from rollback_operator.rollback import approval
from tests.builders import (
    NAME,
    NAMESPACE,
    at,
    make_entry,
    make_policy,
    make_ref,
    make_replica_set,
    make_rollback,
    make_trigger_record,
    make_workload,
)
from tests.fakes.failures import CONFLICT, OUTAGE, REFUSAL, Crash
from tests.unit.test_execution import SCALE, World, why

SECRET = Reference("Secret", "key")


def asking(**changes: Any) -> World:
    """A rollback to a revision that is only assumed to be good, under a policy that asks then."""
    rollback = make_rollback(
        **{
            "to_revision": make_ref("v1", health=Health.ASSUMED),
            "verification": VerificationSpec(timeout_seconds=10),
        }
        | changes
    )
    return World(rollback, policy=strict(rollback.spec.approval_policy))


def strict(terms: ApprovalSpec) -> RollbackPolicy:
    return make_policy(safety=SafetySpec(require_verified=True), approval=terms)


def needing(reference: Reference = SECRET, **changes: Any) -> World:
    world = World(make_rollback(verification=VerificationSpec(timeout_seconds=10), **changes))
    sets = (make_replica_set("v2"), make_replica_set("v1", references=(reference,)))
    world.workloads.workload = make_workload(replica_sets=sets)
    return world


def decision(world: World, **changes: Any) -> Approval:
    fields = {
        "decision": ApprovalDecision.APPROVE,
        "by": "jane@example.com",
        "reason": "seen",
        "plan_digest": world.stored.status.plan_digest,
    }
    return Approval(**(fields | changes))


async def decided(world: World, **changes: Any) -> Rollback | object:
    await world.carry_on()
    world.store.decide(world.stored, decision(world, **changes))
    return await world.carry_on()


def approved(world: World) -> tuple[str, str]:
    found = find(world.stored.status.conditions, ConditionType.APPROVED)
    assert found is not None
    return found.status, found.reason


def item(world: World, name: CheckName) -> tuple[CheckResult, str]:
    found = next(one for one in world.stored.status.checklist if one.name is name)
    return found.result, found.message


# -- the checklist ---------------------------------------------------------------------------------


async def test_the_checklist_is_stored_with_the_first_step_before_the_act() -> None:
    world = World()
    world.store.fail_next("write_rollback", CONFLICT)

    await world.carry_on()
    assert "undo" not in world.journal
    await world.carry_on()

    assert len(world.stored.status.checklist) == len(CheckName)
    assert item(world, CheckName.TARGET_KNOWN_GOOD)[0] is CheckResult.PASSED
    assert world.journal.count("undo") == 1


async def test_a_rollback_whose_target_cannot_start_is_blocked_and_told() -> None:
    world = needing()
    world.surroundings.gone = frozenset({"key"})

    done = await world.carry_on()

    assert isinstance(done, Rollback)
    assert done.status.outcome is Outcome.BLOCKED
    assert why(done) == Reason.REFERENCE_GONE
    assert world.workloads.writes == ["write_rollback", "post"]
    assert world.store.told() == ["RollbackBlocked"]
    assert item(world, CheckName.REFERENCES)[0] is CheckResult.FAILED


async def test_what_is_optional_or_there_blocks_nothing() -> None:
    world = needing(replace(SECRET, is_optional=True))
    world.surroundings.gone = frozenset({"key"})

    await world.carry_on()

    assert world.journal.count("undo") == 1
    assert item(world, CheckName.REFERENCES)[0] is CheckResult.WARNED


@pytest.mark.parametrize("call", ["cluster", "quotas", "is_there"])
async def test_what_does_not_answer_in_time_is_a_warning(call: str) -> None:
    world = needing()
    world.surroundings.delays = {call: 60.0}

    await world.carry_on()

    assert world.journal.count("undo") == 1
    name = {"is_there": CheckName.REFERENCES}.get(call, CheckName.ROOM)
    result, said = item(world, name)
    assert result is CheckResult.WARNED
    assert "did not answer within 0.2 s" in said


@pytest.mark.parametrize("call", ["cluster", "quotas", "is_there"])
async def test_what_may_not_be_read_is_a_warning_with_the_reason(call: str) -> None:
    world = needing()
    world.surroundings.fail_next(call, REFUSAL)

    await world.carry_on()

    assert world.journal.count("undo") == 1
    name = {"is_there": CheckName.REFERENCES}.get(call, CheckName.ROOM)
    assert "forbidden" in item(world, name)[1]


async def test_an_express_undo_without_room_goes_at_the_deployments_own_pace() -> None:
    world = needing(pace=Pace.EXPRESS)
    sets = (make_replica_set("v2"), make_replica_set("v1", requests=Amounts(1.0, 0)))
    world.workloads.workload = make_workload(replica_sets=sets)
    world.surroundings.limits = (Quota("all", {"cpu": 3.5}),)

    await world.carry_on()

    assert world.stored.status.pace is Pace.NORMAL
    assert world.workloads.surges == [None]
    assert world.stored.status.strategy is None


async def test_mode_observe_stores_what_the_checklist_would_have_said() -> None:
    world = needing(mode=Mode.OBSERVE)
    world.surroundings.gone = frozenset({"key"})

    done = await world.carry_on()

    assert isinstance(done, Rollback)
    assert done.status.outcome is Outcome.OBSERVED
    assert item(world, CheckName.REFERENCES)[0] is CheckResult.FAILED


# -- the database ----------------------------------------------------------------------------------

OLD = Migration("001", at(-86400))
NEW = Migration("002_rename", at(15))
DOWN = UnknownSchema("the connection was refused")


def with_database(found: SchemaHistory, **database: Any) -> World:
    """A policy that knows which migrations v1 ran with, and what is found now."""
    ref = {"connectionSecretRef": {"name": "ticket-db"}}
    policy = make_policy(database=DatabaseSpec.model_validate({**ref, **database}))
    record = AppliedMigrations(count=1, names=["001"], time=at(-3600))
    status = RollbackPolicyStatus(
        revision=make_entry("v2", since=at(10)), revisions=[make_entry("v1", migrations=record)]
    )
    world = World(policy=policy.model_copy(update={"status": status}))
    world.schemas.found = found
    return world


async def test_an_old_release_does_not_go_onto_a_newer_schema() -> None:
    world = with_database(Applied((OLD, NEW)))

    done = await world.carry_on()

    assert isinstance(done, Rollback)
    assert done.status.outcome is Outcome.BLOCKED
    assert why(done) == Reason.NEWER_SCHEMA
    assert world.store.told() == ["RollbackBlocked"]
    assert "002_rename; fix forward, or revert" in world.store.notices[0].message


async def test_a_schema_between_two_states_is_no_reason_to_proceed() -> None:
    dirty = DirtySchema(DirtyReason.FAILED, "Flyway marks V2__prices.sql as failed", ("V2",))
    asked = with_database(dirty, onUnknownSchema="Ignore")
    blocked = with_database(dirty, onUnknownSchema="Block")
    ignored = with_database(dirty, onUnknownSchema="Ignore", onNewerSchema="Ignore")

    for world in (asked, blocked, ignored):
        await world.carry_on()

    assert asked.store.told() == ["ApprovalNeeded"]
    assert why(blocked.stored) == Reason.SCHEMA_DIRTY
    assert "V2__prices.sql" in item(blocked, CheckName.DATABASE_SCHEMA)[1]
    assert [world.journal.count("undo") for world in (asked, blocked, ignored)] == [0, 0, 1]


async def test_it_does_where_a_person_approves_or_the_policy_ignores_it() -> None:
    asked = with_database(Applied((OLD, NEW)), onNewerSchema="RequireApproval")
    ignored = with_database(Applied((OLD, NEW)), onNewerSchema="Ignore")

    await asked.carry_on()
    assert "undo" not in asked.journal
    asked.store.decide(asked.stored, decision(asked))
    for world in (asked, ignored):
        await world.carry_on()
        assert world.journal.count("undo") == 1


async def test_an_approval_does_not_hold_for_migrations_that_came_later() -> None:
    world = with_database(Applied((OLD, NEW)), onNewerSchema="RequireApproval")
    await world.carry_on()
    given = decision(world)
    world.schemas.found = Applied((OLD, NEW, Migration("003", at(20))))
    world.store.decide(world.stored, given)

    await world.carry_on()

    assert "undo" not in world.journal
    assert approved(world) == ("False", "PlanChanged")
    assert "003" in item(world, CheckName.DATABASE_SCHEMA)[1]


async def test_a_database_that_answers_after_all_answers_for_the_person() -> None:
    world = with_database(DOWN)
    await world.carry_on()
    assert world.store.told() == ["ApprovalNeeded"]
    assert "connection was refused" in world.store.notices[0].message

    world.schemas.found = Applied((OLD,))
    world.seconds += 10
    await world.carry_on()

    assert world.journal.count("undo") == 1


async def test_a_database_that_answers_too_late_is_unknown() -> None:
    world = with_database(Applied((OLD,)), onUnknownSchema="Ignore")
    world.schemas.delay = 60.0

    await world.carry_on()

    assert world.journal.count("undo") == 1
    assert "did not answer within 0.2 s" in item(world, CheckName.DATABASE_SCHEMA)[1]


async def test_more_replicas_need_no_database() -> None:
    world = with_database(Applied((OLD, NEW)))
    spec = world.stored.spec.model_copy(update={"remedy": SCALE, "to_revision": None})
    world.store.rollbacks[world.stored.metadata.name] = world.stored.model_copy(
        update={"spec": spec}
    )

    await world.carry_on()

    assert world.journal.count("apply_in_place") == 1


# -- a person is asked -----------------------------------------------------------------------------


async def test_a_question_is_told_once_and_waits_with_nothing_done() -> None:
    world = asking()

    for _ in range(3):
        await world.carry_on()
        world.seconds += 10

    status = world.stored.status
    assert status.step is StepName.AWAITING_APPROVAL
    assert status.plan_digest
    assert status.approval_deadline_time is not None
    assert world.store.told() == ["ApprovalNeeded"]
    assert world.writes == ["write_rollback"]
    assert approved(world) == ("Unknown", "ApprovalNeeded")
    name = world.stored.metadata.name
    assert f"kubectl rollback approve {name} -n {NAMESPACE}" in world.store.notices[0].message


async def test_an_approval_lets_it_go_on() -> None:
    world = asking()

    await decided(world)

    assert world.journal.count("undo") == 1
    assert approved(world) == ("True", "ApprovedByPerson")
    step = world.stored.status.steps[0]
    assert step.name is StepName.AWAITING_APPROVAL
    assert step.message == "approved by jane@example.com: seen"
    assert world.store.told() == ["ApprovalNeeded", "RollbackApproved", "RollbackStarted"]


async def test_a_rejection_ends_it() -> None:
    world = asking()

    done = await decided(world, decision=ApprovalDecision.REJECT, reason="it is the database")

    assert isinstance(done, Rollback)
    assert done.status.outcome is Outcome.REJECTED
    assert why(done) == Reason.REJECTED_BY_PERSON
    assert "undo" not in world.journal


async def test_a_decision_on_another_plan_does_not_count() -> None:
    world = asking()

    await decided(world, plan_digest="another")
    await world.carry_on()

    assert "undo" not in world.journal
    assert approved(world) == ("False", "PlanChanged")
    assert world.store.told() == ["ApprovalNeeded", "ApprovalRefused"]

    world.store.decide(world.stored, decision(world))
    await world.carry_on()
    assert world.journal.count("undo") == 1


async def test_a_plan_of_another_object_has_another_digest() -> None:
    digests = set()
    for name in ("one", "two"):
        world = asking()
        kept = world.stored.metadata.model_copy(update={"uid": name})
        world.store.rollbacks[world.stored.metadata.name] = world.stored.model_copy(
            update={"metadata": kept}
        )
        await world.carry_on()
        digests.add(world.stored.status.plan_digest)

    assert len(digests) == 2


@pytest.mark.parametrize("kind", list(ApprovalDecision))
async def test_where_anybody_could_decide_for_another_nobody_does(kind: ApprovalDecision) -> None:
    world = asking()
    world.surroundings.unprotected = "the admission policy is not installed"

    await decided(world, decision=kind)

    assert "undo" not in world.journal
    assert world.stored.status.outcome is None
    assert approved(world) == ("False", "ApprovalUnprotected")


async def test_that_no_decision_would_count_is_said_beforehand_with_the_way_out() -> None:
    world = asking()
    world.surroundings.unprotected = "the admission policy is not installed"

    await world.carry_on()

    assert approved(world) == ("False", "ApprovalUnprotected")
    found = find(world.stored.status.conditions, ConditionType.APPROVED)
    assert found is not None
    assert "decisions are ignored: the admission policy is not installed" in found.message
    undo = "kubectl rollout undo deployment/ticket-service -n production --to-revision=1"
    assert undo in found.message
    assert world.store.told() == ["ApprovalNeeded", "ApprovalRefused"]


async def test_that_it_is_not_known_whether_decisions_count_is_no_news_before_there_is_one() -> (
    None
):
    world = asking()
    world.surroundings.fail_next("approvals_unprotected", OUTAGE)

    await world.carry_on()

    assert approved(world) == ("Unknown", "ApprovalNeeded")


async def test_whether_decisions_are_protected_is_asked_until_it_is_known() -> None:
    world = asking()
    await world.carry_on()
    world.store.decide(world.stored, decision(world))
    world.surroundings.fail_next("approvals_unprotected", OUTAGE)

    world.seconds = 20 + 3700  # past the deadline: the decision may have been in time
    world.store.decide(world.stored, decision(world), at(100))
    await world.carry_on()
    assert "undo" not in world.journal
    assert approved(world) == ("Unknown", "ApprovalUnread")

    await world.carry_on()
    assert world.journal.count("undo") == 1


@pytest.mark.parametrize(
    ("then", "outcome", "undos"),
    [(ApprovalTimeout.ABANDON, Outcome.ABANDONED, 0), (ApprovalTimeout.PROCEED, None, 1)],
)
async def test_what_follows_at_the_deadline(
    then: ApprovalTimeout, outcome: Outcome | None, undos: int
) -> None:
    world = asking(approval_policy=ApprovalSpec(timeout_seconds=60, on_timeout=then))

    for _ in range(8):
        await world.carry_on()
        assert world.journal.count("undo") == (undos if world.seconds >= 80 else 0)
        if world.stored.status.outcome is not None or (undos and world.seconds >= 80):
            break
        world.seconds += 10

    assert world.stored.status.outcome is outcome
    assert approved(world)[1] == "ApprovalTimedOut"


@pytest.mark.parametrize(
    ("exempt", "outcome", "reason"),
    [([], Outcome.ABANDONED, "FreezeActive"), (["P1"], None, "ApprovalTimedOut")],
)
async def test_in_a_freeze_nothing_is_done_undecided(
    exempt: list[str], outcome: Outcome | None, reason: str
) -> None:
    proceed = ApprovalSpec(timeout_seconds=60, on_timeout=ApprovalTimeout.PROCEED)
    world = asking(approval_policy=proceed)
    await world.carry_on()
    window = {"name": "sales", "from": "2026-01-01T00:00", "until": "2030-01-01T00:00"}
    cold = SafetySpec.model_validate(
        {"requireVerified": True, "freeze": [{**window, "exempt": exempt}]}
    )
    world.policy = make_policy(safety=cold, approval=proceed)
    world.executor = world.operator()
    assert approved(world)[1] == "ApprovalNeeded"
    world.seconds += 61

    await world.carry_on()

    assert world.stored.status.outcome is outcome
    assert approved(world)[1] == reason
    assert ("undo" in world.journal) is (outcome is None)


async def test_in_a_freeze_a_person_may_approve() -> None:
    world = asking()
    window = {"name": "sales", "from": "2026-01-01T00:00", "until": "2030-01-01T00:00"}
    cold = SafetySpec.model_validate({"requireVerified": True, "freeze": [window]})
    world.policy = make_policy(safety=cold)
    world.executor = world.operator()

    await decided(world)

    assert "undo" in world.journal


IN_TIME, TOO_LATE = -72.0, 3.0
"""When a decision is made, in seconds after the deadline."""


@pytest.mark.parametrize("then", list(ApprovalTimeout))
@pytest.mark.parametrize(
    ("given", "made", "read", "reason"),
    [
        (ApprovalDecision.APPROVE, IN_TIME, 65.0, "ApprovedByPerson"),
        (ApprovalDecision.APPROVE, 0.0, 65.0, "ApprovedByPerson"),
        (ApprovalDecision.APPROVE, TOO_LATE, 8.0, "ApprovalTimedOut"),
        (ApprovalDecision.APPROVE, TOO_LATE, 65.0, "ApprovalTimedOut"),
        (ApprovalDecision.APPROVE, None, -1.0, "ApprovedByPerson"),
        (ApprovalDecision.APPROVE, None, 1.0, "ApprovalTimedOut"),
        (ApprovalDecision.REJECT, IN_TIME, 65.0, "RejectedByPerson"),
        (ApprovalDecision.REJECT, TOO_LATE, 65.0, "RejectedByPerson"),
    ],
)
async def test_an_approval_counts_if_it_was_made_by_the_deadline_whenever_it_is_read(
    given: ApprovalDecision, made: float | None, read: float, reason: str, then: ApprovalTimeout
) -> None:
    world = asking(approval_policy=ApprovalSpec(timeout_seconds=100, on_timeout=then))
    await world.carry_on()
    deadline = world.stored.status.approval_deadline_time
    assert deadline is not None
    time = None if made is None else deadline + timedelta(seconds=made)
    world.store.decide(world.stored, decision(world, decision=given), time)
    world.seconds += 100 + read

    await world.carry_on()

    is_silence = reason == "ApprovalTimedOut" and then is ApprovalTimeout.PROCEED
    assert approved(world)[1] == reason
    assert ("undo" in world.journal) is (is_silence or reason == "ApprovedByPerson")


async def test_a_time_of_a_decision_from_before_the_rollback_is_not_recorded() -> None:
    """A person who may change an object may write the times in its managedFields."""
    world = asking(approval_policy=ApprovalSpec(timeout_seconds=100))
    await world.carry_on()
    created = world.stored.metadata.creation_timestamp
    assert created is not None
    world.store.decide(world.stored, decision(world), created - timedelta(seconds=60))
    world.seconds += 110

    await world.carry_on()

    assert approved(world)[1] == "ApprovalTimedOut"
    assert "undo" not in world.journal


BY_PERSON = {"f:spec": {"f:approval": {"f:by": {}, "f:planDigest": {}}}}


@pytest.mark.parametrize(
    ("entries", "seconds"),
    [
        pytest.param([({}, 5), (BY_PERSON, 10)], 10, id="another field is older"),
        pytest.param([(BY_PERSON, 10), (BY_PERSON, 30)], 10, id="the same value is stored again"),
        pytest.param([({"f:spec": {"f:approval": {"f:reason": {}}}}, 10)], None, id="not the plan"),
        pytest.param([({"f:metadata": {"f:finalizers": {}}}, 10)], None, id="nobody decided"),
        pytest.param([(None, 10)], None, id="no fields"),
        pytest.param([], None, id="no entries"),
        pytest.param([(BY_PERSON, -9999999)], None, id="before the rollback was made"),
        pytest.param([(BY_PERSON, -9999999), (BY_PERSON, 30)], 30, id="... but stored since, too"),
    ],
)
def test_when_a_decision_was_made_is_read_from_the_owners_of_its_fields(
    entries: list[tuple[Any, float]], seconds: float | None
) -> None:
    raw = make_rollback().model_dump(by_alias=True, mode="json", exclude_none=True)
    raw["metadata"]["managedFields"] = [
        {"manager": "a", "time": at(time).isoformat(), "fieldsV1": fields}
        for fields, time in entries
    ]

    made = Rollback.model_validate(raw).decision_time

    assert made == (None if seconds is None else at(seconds))


async def test_of_an_approval_that_came_too_late_the_end_names_the_time() -> None:
    world = asking(approval_policy=ApprovalSpec(timeout_seconds=60))
    await world.carry_on()
    deadline = world.stored.status.approval_deadline_time
    assert deadline is not None
    late = deadline + timedelta(seconds=3)
    world.store.decide(world.stored, decision(world), late)
    world.seconds += 70

    done = await world.carry_on()

    assert isinstance(done, Rollback)
    complete = find(done.status.conditions, ConditionType.COMPLETE)
    assert complete is not None
    assert f"no decision by {deadline:%Y-%m-%d %H:%M:%S} UTC" in complete.message
    assert f"jane@example.com approved at {late:%Y-%m-%d %H:%M:%S} UTC" in complete.message
    assert "kubectl rollback undo" in complete.message


@pytest.mark.parametrize("is_rejected", [False, True], ids=["nobody decided", "rejected"])
async def test_the_end_without_an_approval_states_what_runs_and_the_way_out(
    is_rejected: bool,
) -> None:
    trigger = make_trigger_record().model_copy(update={"requests": 21, "errors": 20})
    world = asking(approval_policy=ApprovalSpec(timeout_seconds=60), trigger=trigger)
    await world.carry_on()
    if is_rejected:
        answer = decision(world, decision=ApprovalDecision.REJECT)
        world.store.decide(world.stored, answer, at(21))
    world.seconds += 70

    done = await world.carry_on()

    assert isinstance(done, Rollback)
    complete = find(done.status.conditions, ConditionType.COMPLETE)
    approved = find(done.status.conditions, ConditionType.APPROVED)
    assert complete is not None
    assert approved is not None
    then = f"{trigger.decided_time:%Y-%m-%d %H:%M:%S} UTC"
    undo = f"kubectl rollback undo {NAME} -n {NAMESPACE} --to 1 --reason TEXT"
    assert complete.message == (
        f"{approved.message}. Nothing was rolled back: revision 2 "
        f"({', '.join(done.spec.from_revision.images)}) still runs; 20 of 21 requests had failed "
        f"at {then}. To roll back: {undo}"
    )
    assert finished(done).message == f"Not rolled back: {complete.message}"
    running = Revision(**make_entry("v2").model_dump(exclude={"health", "reason"}))
    assert recovered([done], running).message.count(undo) == 1


async def test_an_approval_in_time_does_not_count_for_a_plan_that_changed_since() -> None:
    world = with_database(Applied((OLD, NEW)), onNewerSchema="RequireApproval")
    await world.carry_on()
    status = world.stored.status
    assert status.approval_deadline_time is not None
    made = status.approval_deadline_time - timedelta(seconds=60)
    world.store.decide(world.stored, decision(world), made)
    world.schemas.found = Applied((OLD, NEW, Migration("003", at(20))))
    world.seconds += (status.approval_deadline_time - at(world.seconds)).total_seconds() + 30

    done = await world.carry_on()

    assert isinstance(done, Rollback)
    assert done.status.outcome is Outcome.ABANDONED
    assert "undo" not in world.journal


async def test_a_question_follows_what_the_policy_says_at_the_deadline() -> None:
    world = asking(
        approval_policy=ApprovalSpec(timeout_seconds=60, on_timeout=ApprovalTimeout.PROCEED)
    )
    await world.carry_on()
    asked = world.stored.status.approval_deadline_time
    assert asked is not None
    world.policy = strict(ApprovalSpec(timeout_seconds=100))
    world.executor = world.operator()

    world.seconds += 61
    await world.carry_on()
    assert world.stored.status.outcome is None
    assert world.stored.status.approval_deadline_time == asked + timedelta(seconds=40)

    world.seconds += 40
    await world.carry_on()
    assert world.stored.status.outcome is Outcome.ABANDONED
    assert approved(world)[1] == "ApprovalTimedOut"
    assert "undo" not in world.journal


async def test_what_a_person_has_asked_for_asks_as_it_was_planned() -> None:
    proceed = ApprovalSpec(timeout_seconds=60, on_timeout=ApprovalTimeout.PROCEED)
    rollback = asking(approval_policy=proceed).stored
    by_hand = rollback.model_copy(
        update={"status": rollback.status.model_copy(update={"plan": rollback.spec.plan})}
    )

    assert approval.terms(by_hand, make_policy()) == proceed
    assert approval.terms(rollback, None) == proceed
    assert approval.terms(rollback, make_policy()) == ApprovalSpec(timeout_seconds=3600)


LONG = 5 * 3600
"""For how many seconds nobody looks, since the operator is down: longer than any step may take."""


async def test_after_a_long_time_nothing_is_done_for_a_question_without_an_answer() -> None:
    proceed = ApprovalSpec(timeout_seconds=60, on_timeout=ApprovalTimeout.PROCEED)
    world = asking(approval_policy=proceed)
    await world.carry_on()
    world.seconds += LONG

    done = await world.carry_on()

    assert isinstance(done, Rollback)
    assert done.status.outcome is Outcome.ABANDONED
    assert why(done) == Reason.ROLLBACK_STALE
    assert "undo" not in world.journal


async def test_after_a_long_time_nothing_is_done_for_a_question_that_answers_itself() -> None:
    world = asking(approval_policy=ApprovalSpec(timeout_seconds=60))
    await world.carry_on()
    world.policy = make_policy()
    world.executor = world.operator()
    world.seconds += LONG

    done = await world.carry_on()

    assert isinstance(done, Rollback)
    assert why(done) == Reason.ROLLBACK_STALE
    assert "undo" not in world.journal


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (ApprovalDecision.APPROVE, Reason.ROLLBACK_STALE),
        (ApprovalDecision.REJECT, Reason.REJECTED_BY_PERSON),
    ],
)
async def test_after_a_long_time_only_a_rejection_counts(
    given: ApprovalDecision, reason: Reason
) -> None:
    world = asking(approval_policy=ApprovalSpec(timeout_seconds=60))
    await world.carry_on()
    world.store.decide(world.stored, decision(world, decision=given), at(21))
    world.seconds += LONG

    done = await world.carry_on()

    assert isinstance(done, Rollback)
    assert why(done) == reason
    assert "undo" not in world.journal


async def test_nobody_is_asked_about_what_was_decided_long_ago() -> None:
    world = asking()
    world.seconds += LONG

    done = await world.carry_on()

    assert isinstance(done, Rollback)
    assert why(done) == Reason.ROLLBACK_STALE
    assert world.store.told() == ["RollbackFinished"]


async def test_what_is_found_gone_while_a_person_is_asked_blocks_it() -> None:
    world = asking()
    await world.carry_on()
    world.seconds += 10
    world.workloads.workload = make_workload(older=())

    done = await world.carry_on()

    assert isinstance(done, Rollback)
    assert done.status.outcome is Outcome.BLOCKED
    assert item(world, CheckName.TARGET_TEMPLATE)[0] is CheckResult.FAILED


async def test_a_newer_release_ends_the_question() -> None:
    world = asking()
    await world.carry_on()
    world.workloads.workload = make_workload("v3", ("v2", "v1"))

    done = await world.carry_on()

    assert isinstance(done, Rollback)
    assert done.status.outcome is Outcome.ABANDONED
    assert why(done) == Reason.TARGET_MOVED


async def test_a_question_is_about_one_revision() -> None:
    """The release was replaced, and rolled out once more: it is not what was asked about."""
    world = asking()
    await world.carry_on()
    again = replace(world.workloads.workload.deployment, revision=4)
    world.workloads.workload = replace(world.workloads.workload, deployment=again)

    done = await world.carry_on()

    assert isinstance(done, Rollback)
    assert done.status.outcome is Outcome.ABANDONED
    assert why(done) == Reason.TARGET_MOVED
    assert "undo" not in world.journal


async def test_a_question_that_answers_itself_is_dropped() -> None:
    world = asking()
    await world.carry_on()
    world.policy = make_policy()
    world.executor = world.operator()

    await world.carry_on()

    assert world.journal.count("undo") == 1
    assert approved(world) == ("True", "NotNeededAnyMore")


async def test_what_is_only_proposed_waits_for_a_person() -> None:
    world = World(make_rollback(requires_approval=True, severity="P3"))

    for _ in range(3):
        await world.carry_on()
        world.seconds += 10
    assert world.writes == ["write_rollback"]
    assert "P3 proposes it: all purchases fail" in world.store.notices[0].message

    world.store.decide(world.stored, decision(world))
    await world.carry_on()
    assert world.journal.count("undo") == 1


async def test_what_was_proposed_and_becomes_worse_is_done_without_asking() -> None:
    world = World(make_rollback(requires_approval=True, severity="P3"))
    await world.carry_on()

    await world.executor.escalate(world.stored, MatrixSeverity.P1)
    await world.carry_on()

    assert world.journal.count("undo") == 1
    assert world.stored.status.severity == "P1"
    assert "the severity is now P1" in world.stored.status.steps[0].message


async def test_what_becomes_worse_is_asked_about_still_where_the_checklist_asks() -> None:
    world = asking(requires_approval=True, severity="P3")
    await world.carry_on()

    await world.executor.escalate(world.stored, MatrixSeverity.P1)
    await world.carry_on()

    assert "undo" not in world.journal


async def test_a_crash_at_any_call_of_an_approved_rollback_costs_nothing() -> None:
    whole = asking()
    await decided(whole)
    await whole.last()
    for number in range(len(whole.journal)):
        world = asking()
        world.journal.crash_at = number
        for _ in range(200):
            try:
                done = await world.carry_on()
            except Crash:
                world.executor = world.operator()
                continue
            if isinstance(done, Rollback):
                break
            if world.stored.spec.approval is None and world.stored.status.plan_digest:
                world.store.decide(world.stored, decision(world))
            else:
                world.seconds += done.seconds

        assert world.stored.status.outcome is Outcome.UNKNOWN
        assert world.journal.count("undo") == 1
        assert {"ApprovalNeeded", "RollbackApproved", "RollbackFinished"} <= set(world.store.told())


def test_consequences_are_ordered_from_the_mildest() -> None:
    assert list(Consequence) == [
        Consequence.PROCEED,
        Consequence.REQUIRE_APPROVAL,
        Consequence.BLOCK,
    ]


async def test_the_question_on_the_deployment_names_the_error_rate_and_what_to_type() -> None:
    world = with_database(DOWN)
    await world.carry_on()

    (asked,) = [one for one in world.store.notices if one.reason == "ApprovalNeeded"]
    trigger = world.stored.spec.trigger
    assert f"({trigger.errors} of {trigger.requests})" in asked.message
    share = f"{100 * trigger.errors / trigger.requests:.0f} % of requests"
    assert asked.message.startswith(share)
    assert f"kubectl rollback approve {world.stored.metadata.name} -n " in asked.message


# -- whether the release is to blame ---------------------------------------------------------------


def unclear() -> World:
    """A rollback that is planned although it is not clear whether the release is to blame."""
    made = make_rollback()
    trigger = made.spec.trigger.model_copy(update={"reason": Reason.ENVIRONMENT_SUSPECTED})
    terms = ApprovalSpec(timeout_seconds=600)
    verification = VerificationSpec(timeout_seconds=10)
    changes = {"trigger": trigger, "approval_policy": terms, "verification": verification}
    return World(make_rollback(requires_approval=True, severity="P2", **changes))


async def test_the_question_names_the_blame_and_what_follows_without_an_answer() -> None:
    world = unclear()
    await world.carry_on()

    told = world.store.notices[0].message
    assert "P2 if the release is to blame: all purchases fail" in told
    assert "it proceeds without a decision after 120 s if over 90 % of all requests" in told


async def test_a_question_that_proceeds_says_why_and_undoes_once() -> None:
    world = unclear()
    await world.carry_on()
    assert "undo" not in world.journal

    await world.executor.escalate(world.stored, MatrixSeverity.P1, "100 % still fail")
    await world.carry_on()
    await world.carry_on()

    assert world.journal.count("undo") == 1
    assert world.stored.status.steps[0].message == "100 % still fail"
    assert world.stored.status.severity == "P1"


async def test_a_question_that_was_rejected_stays_rejected_though_it_would_proceed() -> None:
    world = unclear()
    await world.carry_on()
    world.store.decide(world.stored, decision(world, decision=ApprovalDecision.REJECT))

    await world.executor.escalate(world.stored, MatrixSeverity.P1, "100 % still fail")
    await world.carry_on()

    assert world.stored.status.outcome is Outcome.REJECTED
    assert "undo" not in world.journal


async def test_an_unanswered_question_is_abandoned_at_its_deadline() -> None:
    world = unclear()
    await world.carry_on()
    world.seconds += 3601
    await world.carry_on()

    assert world.stored.status.outcome is Outcome.ABANDONED
    assert "undo" not in world.journal


async def test_a_crash_at_any_call_of_a_question_that_proceeds_costs_nothing() -> None:
    for number in range(60):
        world = unclear()
        world.journal.crash_at = number
        for _ in range(100):
            try:
                done = await world.carry_on()
                if isinstance(done, Rollback):
                    break
                if world.stored.status.escalated_time is None:
                    await world.executor.escalate(world.stored, MatrixSeverity.P1, "all fail")
                world.seconds += done.seconds
            except Crash:
                world.executor = world.operator()

        assert world.journal.count("undo") == 1
