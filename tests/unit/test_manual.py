"""A Rollback that a person makes: read, planned, carried out on the same road, or refused."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from rollback_operator.api.reasons import ConditionType, Reason
from rollback_operator.api.remedy import GitOps
from rollback_operator.api.safety import FreezeWindow
from rollback_operator.api.v1alpha1 import (
    FINALIZER,
    Health,
    Mode,
    Outcome,
    Remedy,
    Rollback,
    RollbackPolicy,
    RollbackRequest,
    RollbackTarget,
    SafetySpec,
    StepName,
    rollback_of,
)
from rollback_operator.decide.requests import make_manual_plan, refused
from rollback_operator.model.conditions import condition, find
from rollback_operator.model.context import Case, Refusal, RollbackBudget
from rollback_operator.reconcile.cache import Unreadable
from rollback_operator.releases import ledger
from rollback_operator.releases.records import KEPT
from rollback_operator.remedies.attempts import name_of
from tests.builders import (
    NAME,
    PREVIOUS,
    at,
    make_case,
    make_deployment,
    make_ended,
    make_entry,
    make_policy,
    make_request,
    make_rollback,
    make_template,
    make_workload,
    request_raw,
)
from tests.fakes.failures import CONFLICT, OUTAGE, Crash
from tests.world import KEY, World, watched

IMAGE = make_template("v1").images[0]
CONTAINER = make_template("v1").containers[0]


def asked(world: World, remedy: dict[str, Any] | None = None) -> None:
    world.store.hold(make_request(remedy, requestedBy="ann"))


class TestReading:
    def test_what_names_no_plan_is_a_request(self) -> None:
        assert make_request().spec.remedy == Remedy.model_validate(PREVIOUS)

    def test_with_a_stored_plan_it_is_a_rollback(self) -> None:
        spec = make_rollback().spec
        plan = spec.plan.model_dump(by_alias=True, exclude_none=True, mode="json")
        made = rollback_of({**request_raw(requestedBy="ann"), "status": {"plan": plan}})
        assert isinstance(made, Rollback)
        assert made.is_by_hand
        assert made.spec.policy_ref == spec.policy_ref
        assert made.spec.from_revision == spec.from_revision
        assert (made.spec.reason, made.spec.requested_by) == ("customers call", "ann")

    def test_a_policy_has_the_time_at_which_its_lending_fields_had_their_values(self) -> None:
        def entry(time: str, *path: str, **more: str) -> dict[str, Any]:
            fields: dict[str, Any] = {}
            for name in reversed(("spec", *path)):
                fields = {f"f:{name}": fields}
            return {"time": time, "fieldsV1": fields, **more}

        jobs = "database", "rollbackMigrations", "job"
        entries = [
            entry("2026-01-01T10:00:00Z", "safety", "gitOps"),
            entry("2026-01-01T11:00:00Z", *jobs),
            entry("2026-01-01T12:00:00Z", "trust"),
            entry("2026-01-01T13:00:00Z", *jobs, subresource="status"),
            {"time": "2026-01-01T14:00:00Z"},
        ]
        raw = make_policy().model_dump(by_alias=True, exclude_none=True, mode="json")
        raw["metadata"]["managedFields"] = entries

        made = RollbackPolicy.model_validate(raw)

        assert made.metadata.lending_time == datetime(2026, 1, 1, 11, tzinfo=UTC)
        raw["metadata"]["managedFields"] = entries[2:]
        assert RollbackPolicy.model_validate(raw).metadata.lending_time is None

    def test_the_plan_of_the_operator_itself_is_its_spec(self) -> None:
        made = make_rollback()
        raw = made.model_dump(by_alias=True, exclude_none=True, mode="json")
        again = rollback_of(raw)
        assert again == made
        assert isinstance(again, Rollback)
        assert not again.is_by_hand

    def test_half_a_plan_is_neither(self) -> None:
        raw = request_raw()
        raw["spec"]["fromRevision"] = {"number": 1}
        with pytest.raises(ValidationError):
            rollback_of(raw)


class TestPlanning:
    def test_says_who_asks_and_why(self) -> None:
        plan = make_manual_plan(make_case(), make_request(requestedBy="ann"), at(20))
        assert not isinstance(plan, Refusal)
        assert plan.trigger.reason == Reason.REQUESTED
        assert plan.trigger.message == "requested by ann: customers call"
        assert plan.to_revision is not None
        assert plan.to_revision.number == 1

    def test_observe_keeps_the_operator_from_acting_not_people(self) -> None:
        case = make_case(policy=watched(make_policy(mode=Mode.OBSERVE)))
        plan = make_manual_plan(case, make_request(), at(20))
        assert not isinstance(plan, Refusal)
        assert plan.mode is Mode.ENFORCE

    @pytest.mark.parametrize(
        ("remedy", "reason"),
        [
            pytest.param(
                {"type": "PinImage", "container": CONTAINER, "image": "evil.example.com/x:1"},
                Reason.FOREIGN_IMAGE,
                id="an image that never ran here",
            ),
            pytest.param(
                {"type": "PinImage", "container": "nope", "image": IMAGE},
                Reason.UNKNOWN_CONTAINER,
                id="no such container",
            ),
            pytest.param(
                {"type": "Undo", "to": "Revision", "revision": 9},
                Reason.NO_TARGET_REVISION,
                id="no such revision",
            ),
            pytest.param(
                {"type": "Scale", "replicas": 1}, Reason.ALREADY_AT_TARGET, id="less capacity"
            ),
            pytest.param(
                {
                    "type": "DisableFlag",
                    "flag": {"name": "A", "value": "false", "configMapRef": {"name": "a"}},
                },
                Reason.FLAG_UNUSABLE,
                id="a flag, which a person sets without a rollback",
            ),
        ],
    )
    def test_what_is_no_way_back_is_refused(self, remedy: dict[str, Any], reason: Reason) -> None:
        found = make_manual_plan(make_case(), make_request(remedy), at(20))
        assert isinstance(found, Refusal)
        assert found.reason is reason

    @pytest.mark.parametrize(
        "remedy",
        [
            pytest.param(PREVIOUS, id="previous"),
            pytest.param({"type": "Undo", "to": "LastKnownGood"}, id="last known good"),
            pytest.param({"type": "Undo", "to": "Revision", "revision": 1}, id="by its number"),
            pytest.param(
                {"type": "PinImage", "container": CONTAINER, "image": IMAGE}, id="an image it ran"
            ),
            pytest.param({"type": "Scale", "replicas": 40}, id="more replicas"),
        ],
    )
    def test_each_way_is_planned(self, remedy: dict[str, Any]) -> None:
        assert not isinstance(make_manual_plan(make_case(), make_request(remedy), at(20)), Refusal)

    @pytest.mark.parametrize(
        "remedy",
        [
            pytest.param(PREVIOUS, id="undo"),
            pytest.param({"type": "PinImage", "container": CONTAINER, "image": IMAGE}, id="image"),
        ],
    )
    def test_nobody_goes_back_to_what_is_known_bad(self, remedy: dict[str, Any]) -> None:
        case = make_case(ledger=(make_entry("v1", Health.BAD),))
        found = make_manual_plan(case, make_request(remedy), at(20))
        assert isinstance(found, Refusal)
        assert found.reason is Reason.TARGET_KNOWN_BAD

    def test_one_rollback_at_a_time(self) -> None:
        found = make_manual_plan(make_case(rollbacks=(make_rollback(),)), make_request(), at(20))
        assert isinstance(found, Refusal)
        assert found.reason is Reason.ROLLBACK_ACTIVE
        assert found.message.endswith("is still running")

    @pytest.mark.parametrize(
        ("approved", "said"),
        [
            ((None, Reason.APPROVAL_NEEDED, "Room"), "approve or reject it first"),
            (
                (False, Reason.APPROVAL_UNPROTECTED, "decisions are ignored"),
                "decisions are ignored",
            ),
        ],
    )
    def test_one_that_waits_for_a_person_is_to_be_decided_first(
        self, approved: tuple[bool | None, Reason, str], said: str
    ) -> None:
        asked = condition(ConditionType.APPROVED, *approved)
        step = make_rollback().status.model_copy(
            update={"step": StepName.AWAITING_APPROVAL, "conditions": [asked]}
        )
        waiting = make_rollback().model_copy(update={"status": step})
        found = make_manual_plan(make_case(rollbacks=(waiting,)), make_request(), at(20))
        assert isinstance(found, Refusal)
        assert found.reason is Reason.ROLLBACK_ACTIVE
        assert f"waits for approval: {said}" in found.message

    def test_a_person_may_ask_again_within_the_cooldown(self) -> None:
        done = make_rollback(status=make_ended())
        found = make_manual_plan(make_case(rollbacks=(done,)), make_request(), at(70))
        assert not isinstance(found, Refusal)


SUSPENDING = make_policy(safety=SafetySpec(git_ops=GitOps.SUSPEND))
MIGRATING = make_policy(
    database={
        "connectionSecretRef": {"name": "shop-db", "key": "dsn"},
        "onNewerSchema": "RollbackMigrations",
        "rollbackMigrations": {"job": {"command": ["down"]}, "backup": {"required": False}},
    }
)
READS = {"connectionSecretRef": {"name": "shop-db", "key": "dsn"}}
USED: dict[str, dict[str, Any]] = {
    "executes SQL": {
        "onNewerSchema": "RollbackMigrations",
        "rollbackMigrations": {
            "sql": {"migrationsSecretRef": {"name": "owner", "key": "dsn"}},
            "backup": {"required": False},
            "migrations": [{"name": "2", "sql": "DROP TABLE x"}],
        },
    },
    "stops a Service": {
        "onCorruption": {"response": "Proceed", "stopTraffic": "Service", "service": "shop"},
    },
}
SEEN = {"deployment": NAME, "revision": 2, "digest": "digest-v2"}


def lending(policy: RollbackPolicy, time: datetime) -> RollbackPolicy:
    metadata = policy.metadata.model_copy(update={"lending_time": time})
    return policy.model_copy(update={"metadata": metadata})


OLD = {
    "what was seen still runs": (make_case(), {}, 0, 20, None),
    "ten minutes, just not over": (make_case(), {}, 0, 600, None),
    "ten minutes are over": (make_case(), {}, 0, 601, Reason.REQUEST_EXPIRED),
    "a fix was shipped since": (
        make_case(workload=make_workload("v3", older=("v2", "v1"))),
        {},
        0,
        20,
        Reason.REQUEST_OUTDATED,
    ),
    "what was seen has come back after something else": (
        make_case(),
        {"seen": {**SEEN, "revision": 1}},
        0,
        20,
        Reason.REQUEST_OUTDATED,
    ),
    "made by an older command": (make_case(), {"seen": None}, 0, 20, Reason.REQUEST_OUTDATED),
    "asked for another Deployment": (
        make_case(),
        {"seen": {**SEEN, "deployment": "other"}},
        0,
        20,
        Reason.TARGET_MOVED,
    ),
    "older than its policy": (
        make_case(),
        {},
        -86401,
        -86400 + 20,
        Reason.REQUEST_BEFORE_POLICY,
    ),
    "made in one second with its policy": (make_case(), {}, -86400, -86400 + 20, None),
    "in one second with a policy that suspends the owner": (
        make_case(policy=SUSPENDING),
        {},
        -86400,
        -86400 + 20,
        Reason.REQUEST_BEFORE_POLICY,
    ),
    "in one second with a policy that creates Jobs": (
        make_case(policy=MIGRATING),
        {},
        -86400,
        -86400 + 20,
        Reason.REQUEST_BEFORE_POLICY,
    ),
    **{
        f"in one second with a policy that {name}": (
            make_case(policy=make_policy(database={**READS, **field})),
            {},
            -86400,
            -86400 + 20,
            Reason.REQUEST_BEFORE_POLICY,
        )
        for name, field in USED.items()
    },
    "admission may not know that policy yet": (
        make_case(policy=SUSPENDING),
        {},
        -86390,
        -86400 + 20,
        Reason.REQUEST_BEFORE_POLICY,
    ),
    "admission knows that policy": (make_case(policy=SUSPENDING), {}, -86389, -86400 + 20, None),
    "made before the policy began to create Jobs": (
        make_case(policy=lending(MIGRATING, at(15))),
        {},
        0,
        20,
        Reason.REQUEST_BEFORE_POLICY,
    ),
    "admission may not know that change yet": (
        make_case(policy=lending(SUSPENDING, at(-10))),
        {},
        0,
        20,
        Reason.REQUEST_BEFORE_POLICY,
    ),
    "admission knows that change": (
        make_case(policy=lending(SUSPENDING, at(-11))),
        {},
        0,
        20,
        None,
    ),
    "made before a change that adds no right": (
        make_case(policy=lending(make_policy(), at(15))),
        {},
        0,
        20,
        None,
    ),
    "the number lags behind": (
        make_case(workload=replace(make_workload(), deployment=make_deployment(revision=1))),
        {},
        0,
        20,
        None,
    ),
}


@pytest.mark.parametrize(("case", "spec", "made", "now", "reason"), OLD.values(), ids=OLD)
def test_a_request_is_done_for_what_was_seen_and_only_soon(
    case: Case, spec: dict[str, Any], made: float, now: float, reason: Reason | None
) -> None:
    found = make_manual_plan(case, make_request(seconds=made, **spec), at(now))
    if reason is None:
        assert not isinstance(found, Refusal), found
        return
    assert isinstance(found, Refusal)
    assert found.reason is reason
    assert "repeat it: kubectl rollback undo ticket-service -n production --to" in found.message


@pytest.mark.parametrize(
    ("remedy", "outcome", "health"),
    [
        pytest.param(PREVIOUS, Outcome.VERIFIED, Health.BAD, id="undone"),
        pytest.param(PREVIOUS, Outcome.ABANDONED, None, id="not carried out"),
        pytest.param({"type": "Scale", "replicas": 9}, Outcome.VERIFIED, None, id="scaled"),
    ],
)
def test_what_a_person_went_away_from_is_bad(
    remedy: dict[str, Any], outcome: Outcome, health: Health | None
) -> None:
    spec = make_rollback(remedy=Remedy.model_validate(remedy)).spec
    status = make_ended(outcome).model_copy(update={"plan": spec.plan})
    done = make_rollback(remedy=spec.remedy, status=status)
    workload = make_workload("v3", older=("v2", "v1"))
    found = ledger.entries(make_policy(), workload, [done], at(90))
    assert ledger.health_of(found, make_template("v2").release) is health


# -- whole passes ----------------------------------------------------------------------------------


async def test_a_person_takes_a_release_back_by_the_same_road() -> None:
    world = World(bad=frozenset())
    asked(world)
    operator = world.operator()
    await world.run(operator, world.is_all_done, most=700)
    done = world.rollback
    assert done.status.plan is not None
    assert done.status.outcome is Outcome.VERIFIED
    assert [one.name for one in done.status.steps] == [
        StepName.UNDO,
        StepName.ROLLOUT_COMPLETE,
        StepName.VERIFY,
    ]
    assert world.workloads.workload.deployment.template == make_template("v1")


async def test_a_plan_that_nobody_has_begun_in_time_is_not_begun() -> None:
    world = World(bad=frozenset())
    asked(world)
    await world.run(world.operator(), lambda: bool(world.store.rollbacks))
    (planned,) = world.store.rollbacks.values()
    bare = planned.status.model_copy(update={"steps": [], "step": None, "checklist": []})
    world.store.rollbacks[planned.metadata.name] = planned.model_copy(update={"status": bare})
    world.workloads.workload = make_workload()
    world.seconds += 700  # the operator is down

    await world.run(world.operator(), world.is_all_done)

    assert world.rollback.status.outcome is Outcome.ABANDONED
    done = find(world.rollback.status.conditions, ConditionType.COMPLETE)
    assert done is not None
    assert done.reason == Reason.REQUEST_EXPIRED
    assert world.workloads.workload.deployment.template == make_template("v2")


async def test_the_plan_is_stored_before_the_deployment_is_touched() -> None:
    world = World(bad=frozenset())
    asked(world)
    await world.run(world.operator(), lambda: "undo" in world.journal, most=5)
    calls = [one for one in world.journal if one in ("answer_request", "write_rollback", "undo")]
    assert calls[:3] == ["answer_request", "write_rollback", "undo"]


async def test_after_a_crash_at_any_call_the_request_is_carried_out_once() -> None:
    for point in range(60):
        world = World(bad=frozenset())
        asked(world)
        world.journal.crash_at = point
        operator = world.operator()
        try:
            await world.run(operator, world.is_all_done, most=700)
        except Crash:
            await world.run(world.operator(), world.is_all_done, most=700)
        else:
            break
        assert world.journal.count("undo") <= 2  # the crashed undo may have been sent
        assert world.workloads.workload.deployment.template == make_template("v1")
    else:
        raise AssertionError("there are more calls than points")


def refused_before(number: int) -> RollbackRequest:
    """A request that was refused, the one with the highest number last."""
    made = make_request(requestedBy="ann")
    name = f"refused-{number:02}"
    metadata = made.metadata.model_copy(update={"name": name, "uid": f"uid-{name}"})
    status = refused(made.status, Refusal(Reason.NO_TARGET_REVISION, "none"), at(-900 + number))
    return made.model_copy(update={"metadata": metadata, "status": status})


@pytest.mark.parametrize("suspend", [False, True])
async def test_of_what_was_refused_the_newest_are_kept_and_no_rollback_goes_for_them(
    suspend: bool,
) -> None:
    policy = watched(make_policy(suspend=suspend))
    world = World(policy, bad=frozenset())
    world.store.hold(*[refused_before(one) for one in range(KEPT + 4)])
    world.store.hold(*[make_rollback(f"done-{one}", make_ended()) for one in range(KEPT)])

    await world.operator().reconcile(KEY)

    assert sorted(world.store.requests) == [f"refused-{one:02}" for one in range(4, KEPT + 4)]
    assert len(world.store.rollbacks) == KEPT


async def test_what_was_refused_for_want_of_a_policy_is_pruned_too() -> None:
    world = World(policy=None)
    world.store.hold(*[refused_before(one) for one in range(KEPT + 4)])

    await world.operator().reconcile(KEY)

    assert len(world.store.requests) == KEPT


async def test_after_a_crash_while_pruning_the_newest_are_kept_and_the_rest_goes() -> None:
    for point in range(30):
        world = World(bad=frozenset())
        world.store.hold(*[refused_before(one) for one in range(KEPT + 4)])
        world.journal.crash_at = point
        try:
            await world.operator().reconcile(KEY)
        except Crash:
            await world.operator().reconcile(KEY)
        else:
            break
        assert sorted(world.store.requests) == [f"refused-{one:02}" for one in range(4, KEPT + 4)]
    else:
        raise AssertionError("there are more calls than points")


async def test_a_record_that_could_not_be_deleted_is_tried_again() -> None:
    world = World(bad=frozenset())
    world.store.hold(*[refused_before(one) for one in range(KEPT + 1)])
    world.store.fail_next("delete_rollback", OUTAGE)
    operator = world.operator()

    wait = await operator.reconcile(KEY)
    assert len(world.store.requests) == KEPT + 1
    assert wait is not None
    assert wait <= OUTAGE.wait

    await operator.reconcile(KEY)
    assert len(world.store.requests) == KEPT


async def test_a_refusal_is_stored_and_told_once() -> None:
    world = World(bad=frozenset())
    foreign = {"type": "PinImage", "container": CONTAINER, "image": "evil.example.com/x:1"}
    asked(world, foreign)
    operator = world.operator()
    for _ in range(4):
        world.tell(operator)
        await operator.reconcile(KEY)
        world.seconds += 2
    answered = world.store.requests["by-hand"].status
    done = find(answered.conditions, ConditionType.COMPLETE)
    assert answered.outcome is Outcome.REFUSED
    assert done is not None
    assert done.reason == Reason.FOREIGN_IMAGE
    assert [one.reason for one in world.store.notices].count("RollbackRefused") == 1
    assert world.journal.count("answer_request") == 1
    assert world.workloads.workload.deployment.template == make_template("v2")


@pytest.mark.parametrize("policy", ["stands", "suspended", "unreadable", "gone"])
async def test_a_refused_request_keeps_no_finalizer_of_a_plan_that_was_never_stored(
    policy: str,
) -> None:
    made = watched(make_policy(suspend=policy == "suspended"))
    world = World(policy=None if policy == "gone" else made, bad=frozenset())
    foreign = {"type": "PinImage", "container": CONTAINER, "image": "evil.example.com/x:1"}
    asked(world, foreign)
    known = world.store.requests["by-hand"]
    metadata = known.metadata.model_copy(update={"finalizers": ["team/x", FINALIZER]})
    world.store.hold(known.model_copy(update={"metadata": metadata}))
    world.seconds += 60
    operator = world.operator()
    if policy == "unreadable":
        operator.cache.policies[KEY] = Unreadable(made.metadata, "spec.mode: no mode", made.status)
    world.store.fail_next("release_rollback", CONFLICT)

    for _ in range(5):
        world.tell(operator)
        await operator.reconcile(KEY)
        world.seconds += 2

    answered = world.store.requests["by-hand"]
    assert answered.status.outcome is Outcome.REFUSED
    assert answered.metadata.finalizers == ["team/x"]
    assert world.journal.count("release_rollback") == 2


async def test_of_two_requests_one_is_carried_out() -> None:
    world = World(bad=frozenset())
    asked(world)
    raw = request_raw()
    raw["metadata"] |= {"name": "second", "uid": "uid-second"}
    world.store.hold(RollbackRequest.model_validate(raw))
    await world.run(world.operator(), lambda: not _open(world), most=10)
    assert list(world.store.rollbacks) == ["by-hand"]
    assert world.store.requests["second"].status.outcome is Outcome.REFUSED


def _open(world: World) -> list[str]:
    found = world.store.requests.values()
    return [one.metadata.name for one in found if one.status.outcome is None]


async def test_suspended_a_policy_still_does_what_a_person_asks() -> None:
    world = World(policy=watched(make_policy(suspend=True)), bad=frozenset())
    asked(world)
    await world.run(world.operator(), world.is_all_done, most=700)
    assert world.workloads.workload.deployment.template == make_template("v1")


def without_replicas(world: World, **changes: Any) -> None:
    empty = make_deployment(replicas=0, updated=0, total=0, available=0, **changes)
    world.workloads.workload = replace(world.workloads.workload, deployment=empty, pods=())


@pytest.mark.parametrize("mode", [Mode.ENFORCE, Mode.OBSERVE])
async def test_without_replicas_the_template_is_changed_and_nothing_is_claimed(mode: Mode) -> None:
    world = World(policy=watched(make_policy(mode=mode)), bad=frozenset())
    without_replicas(world)
    asked(world)

    await world.run(world.operator(), world.is_all_done, most=20)

    deployment = world.workloads.workload.deployment
    assert (deployment.template, deployment.replicas) == (make_template("v1"), 0)
    done = find(world.rollback.status.conditions, ConditionType.COMPLETE)
    assert done is not None
    assert world.rollback.status.outcome is Outcome.UNKNOWN
    assert done.reason == Reason.TARGET_SCALED_TO_ZERO
    assert "nothing was verified" in done.message


@pytest.mark.parametrize(
    ("remedy", "changes"),
    [({"type": "Scale", "replicas": 4}, {}), (None, {"is_stopped": True})],
    ids=["more replicas", "the operator has stopped the traffic"],
)
async def test_without_replicas_nothing_else_is_served(
    remedy: dict[str, Any] | None, changes: dict[str, Any]
) -> None:
    world = World(bad=frozenset())
    without_replicas(world, **changes)
    asked(world, remedy)

    await world.run(world.operator(), lambda: not _open(world), most=5)

    done = find(world.store.requests["by-hand"].status.conditions, ConditionType.COMPLETE)
    assert done is not None
    assert done.reason == Reason.TARGET_SCALED_TO_ZERO
    assert world.workloads.workload.deployment.template == make_template("v2")


async def test_a_paused_deployment_is_told_to_the_person() -> None:
    world = World(bad=frozenset())
    paused = make_deployment("v2", paused=True)
    world.workloads.workload = replace(world.workloads.workload, deployment=paused)
    asked(world)
    await world.run(world.operator(), lambda: not _open(world), most=5)
    done = find(world.store.requests["by-hand"].status.conditions, ConditionType.COMPLETE)
    assert done is not None
    assert done.reason == Reason.TARGET_PAUSED
    assert "kubectl rollout resume" in done.message


async def test_without_a_policy_it_is_refused_once_that_cannot_be_late() -> None:
    world = World(policy=None)
    world.seconds = 1
    asked(world)
    operator = world.operator()
    wait = await operator.reconcile(KEY)
    assert wait == pytest.approx(9)
    assert _open(world) == ["by-hand"]
    world.seconds = 12
    await operator.reconcile(KEY)
    done = find(world.store.requests["by-hand"].status.conditions, ConditionType.COMPLETE)
    assert done is not None
    assert done.reason == Reason.POLICY_NOT_FOUND


@pytest.mark.parametrize("failure", [CONFLICT, OUTAGE])
async def test_an_answer_that_is_not_stored_is_given_again(failure: Any) -> None:
    world = World(bad=frozenset())
    world.store.fail_next("answer_request", failure)
    asked(world)
    await world.run(world.operator(), lambda: bool(world.store.rollbacks), most=5)


async def test_a_rollback_unknown_to_the_watches_keeps_a_plan_from_being_stored() -> None:
    world = World(bad=frozenset())
    asked(world)
    operator = world.operator()
    world.store.hold(make_rollback())  # decided by another leader a moment ago
    world.tell(operator)
    await operator.reconcile(KEY)
    assert list(world.store.rollbacks) == [make_rollback().metadata.name]
    assert _open(world) == ["by-hand"]


async def test_in_a_freeze_a_bad_release_is_told_and_a_person_may_act() -> None:
    always = FreezeWindow.model_validate({"name": "xmas", "from": "00:00", "until": "00:00"})
    safety = SafetySpec(freeze=[always])
    world = World(policy=watched(make_policy(safety=safety)))
    operator = world.operator()
    await world.run(operator, lambda: _healthy(world) == Reason.FREEZE_ACTIVE)
    assert world.store.rollbacks == {}
    assert world.condition(ConditionType.READY) == ("True", Reason.FREEZE_ACTIVE)
    request = make_request()
    world.store.hold(request)
    operator.cache.remember(request)
    await world.run(operator, world.is_all_done, most=100)
    assert world.rollback.status.outcome is Outcome.VERIFIED


async def test_past_the_clusters_budget_a_rollback_waits_its_turn() -> None:
    world = World()
    operator = replace(world.operator(), budget=RollbackBudget(max_concurrent=1))
    other = make_rollback("other", target_ref=RollbackTarget(name="other", uid="other-uid"))
    known = {"namespace": "elsewhere", "name": name_of(other.spec)}
    other = other.model_copy(update={"metadata": other.metadata.model_copy(update=known)})
    operator.cache.remember(other)
    await world.run(
        operator,
        lambda: _healthy(world) == Reason.CLUSTER_BUDGET_EXHAUSTED,
    )
    assert world.store.rollbacks == {}
    operator.cache.remember(other.model_copy(update={"status": make_ended()}))
    await world.run(operator, world.is_over)
    assert world.rollback.status.outcome is Outcome.VERIFIED


def _healthy(world: World) -> str:
    found = find(world.status.conditions, ConditionType.HEALTHY)
    return found.reason if found else ""
