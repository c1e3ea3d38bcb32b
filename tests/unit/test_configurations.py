"""A release that differs only in its configuration: noticed, judged, taken back, step by step."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from rollback_operator.api.checklist import CheckName, CheckResult
from rollback_operator.api.reasons import ConditionType, Reason
from rollback_operator.api.remedy import ConfigMapPlan, StoredConfigMap
from rollback_operator.api.v1alpha1 import (
    Health,
    Mode,
    Outcome,
    Remedy,
    RemedyType,
    Rollback,
    RollbackPolicyStatus,
    StepName,
    UndoTo,
)
from rollback_operator.api.verification import VerificationSpec
from rollback_operator.model.conditions import find
from rollback_operator.model.surroundings import Reference
from rollback_operator.model.workload import Workload, digest_of
from rollback_operator.ports.failure import Failure, FailureKind
from rollback_operator.reconcile.observe.configurations import AWAITED_SECONDS
from tests.builders import (
    CONFIG_MAP,
    T0,
    make_deployment,
    make_entry,
    make_policy,
    make_ref,
    make_replica_set,
    make_rollback,
    make_template,
    make_workload,
)
from tests.carrying import Carried
from tests.fakes.configurations import config_state, content
from tests.fakes.failures import CONFLICT, OUTAGE, REFUSAL, Crash
from tests.world import KEY, World

KEYED = f"ConfigMap {CONFIG_MAP}"
GOOD, BAD = config_state(T0, TIMEOUT="10"), config_state(T0, TIMEOUT="0")
RESTORE = Remedy(
    type=RemedyType.UNDO, to=UndoTo.LAST_KNOWN_GOOD, restore=[CONFIG_MAP, "not-referenced"][:1]
)
REFERENCES = (
    Reference("ConfigMap", CONFIG_MAP, is_configuration=True),
    Reference("Secret", "password", is_configuration=True),
    Reference("ServiceAccount", "shop"),
)
PASSWORD = config_state(PASSWORD="old")
BARE = "release-v1"


def configured(config=GOOD, password=PASSWORD) -> str:
    return digest_of({KEYED: config.digest, "Secret password": password.digest})


def restarted(world: World, version: str = "v2") -> None:
    """A restart, or a checksum annotation: the template of v1 is rolled out anew."""
    template = make_template(version, release=BARE)
    fields = {"template": template, "references": REFERENCES}
    world.workloads.workload = make_workload(
        version,
        deployment=make_deployment(version, template=template),
        replica_sets=(
            make_replica_set(version, **fields),
            make_replica_set("v1", references=REFERENCES, replicas=0, created=T0 - 3600),
        ),
    )


def changed(config=BAD, remedy=RESTORE, stored=GOOD, **spec) -> World:
    """The ConfigMap changed with the restart; v1 was Good with the old content."""
    release = digest_of([BARE, configured()])
    digest = stored.digest if stored is not None else None
    kept = [StoredConfigMap(name=CONFIG_MAP, digest=digest, message="" if digest else "too large")]
    known = make_entry("v1", release=release, configuration=configured(), config_maps=kept)
    status = RollbackPolicyStatus(revision=known, revisions=[known])
    policy = make_policy(remedies=[remedy], **spec).model_copy(update={"status": status})
    world = World(policy=policy)
    world.configurations.states = {KEYED: config, "Secret password": PASSWORD}
    if stored is not None:
        world.configurations.stored = {CONFIG_MAP: {stored.digest: stored.text}}
    restarted(world)
    return world


def steps(world: World) -> list[StepName]:
    return [one.name for one in world.rollback.status.steps]


def is_told(world: World) -> bool:
    """The status reports that the release is bad."""
    healthy = find(world.status.conditions, ConditionType.HEALTHY)
    return healthy is not None and healthy.status == "False"


async def refusal(world: World) -> str:
    """The reason why nothing is rolled back."""
    await world.run(world.operator(), lambda: is_told(world))
    healthy = find(world.status.conditions, ConditionType.HEALTHY)
    assert world.store.rollbacks == {}
    assert healthy is not None
    assert healthy.reason == Reason.SAME_TEMPLATE
    return healthy.message


async def test_a_release_of_its_configuration_alone_is_taken_back() -> None:
    world = changed()

    await world.run(world.operator(), world.is_all_done)

    assert world.rollback.status.outcome is Outcome.VERIFIED
    assert steps(world)[:2] == [StepName.RESTORE_CONFIGURATION, StepName.UNDO]
    assert world.configurations.states[KEYED].text == GOOD.text
    assert world.workloads.workload.deployment.template.digest == "digest-v1"
    item = world.rollback.spec.config_maps[0]
    assert item.diff == 'TIMEOUT: "0" -> "10"'
    shown = next(
        one for one in world.rollback.status.checklist if one.name is CheckName.CONFIGURATION
    )
    assert shown.result is CheckResult.PASSED
    assert item.diff in shown.message
    bad = next(one for one in world.status.revisions if one.number == 2)
    assert bad.health is Health.BAD
    assert bad.release != world.rollback.spec.to_revision.release


async def test_it_stays_taken_back_also_where_a_secret_has_been_rotated() -> None:
    world = changed()
    world.configurations.states["Secret password"] = config_state(PASSWORD="new")

    await world.run(world.operator(), world.is_all_done)
    restored = world.rollback.spec.to_revision.release

    assert world.configurations.states["Secret password"] == config_state(PASSWORD="new")
    assert world.rollback.status.outcome is Outcome.VERIFIED
    assert world.status.revision.release == restored
    assert "differ from those of revision 1" in world.rollback.spec.kept_configuration
    # The running release is what the rollback restored: it is not rolled back itself.
    world.bad = frozenset({"v1"})
    operator = world.operator()
    for _ in range(20):
        world.tell(operator)
        await operator.reconcile(KEY)
        world.seconds += 2
    assert len(world.store.rollbacks) == 1


@pytest.mark.parametrize(
    ("world", "message"),
    [
        pytest.param(
            lambda: changed(remedy=RESTORE.model_copy(update={"restore": None})),
            "no remedy lists a ConfigMap in restore",
            id="not listed",
        ),
        pytest.param(lambda: changed(stored=None), "not stored (too large)", id="not stored"),
        pytest.param(
            lambda: changed(replace(BAD, obstacle="it is immutable")), "immutable", id="immutable"
        ),
        pytest.param(
            lambda: changed(replace(BAD, changed=T0 - 7200)), "long before the release", id="before"
        ),
        pytest.param(
            lambda: changed(replace(BAD, changed=None)), "managedFields", id="unknown when"
        ),
        pytest.param(lambda: changed(config_state(T0)), "none can be", id="emptied"),
    ],
)
async def test_what_cannot_be_restored_is_left_with_the_reason(world, message) -> None:
    made = world()
    if message == "none can be":
        made.configurations.others = {CONFIG_MAP: ("Deployment other",)}
        message = "Deployment other uses it too"

    told = await refusal(made)

    assert message in told
    assert "kubectl rollout restart" in told
    assert "restore" not in made.journal


async def test_a_content_that_was_tampered_with_is_not_restored() -> None:
    world = changed()
    world.configurations.stored = {CONFIG_MAP: {"another": content(TIMEOUT="evil")}}

    assert f"{CONFIG_MAP}.known-good does not hold" in await refusal(world)


async def test_a_change_between_release_and_verdict_is_kept() -> None:
    world = changed()
    world.seconds = 2.0  # no counts yet
    operator = world.operator()
    await operator.reconcile(KEY)  # the release is noticed
    assert world.store.rollbacks == {}
    world.configurations.states[KEYED] = config_state(T0 + 30, TIMEOUT="5")

    await world.run(operator, lambda: is_told(world))

    assert world.configurations.states[KEYED] == config_state(T0 + 30, TIMEOUT="5")


async def test_a_change_between_decision_and_restore_is_kept() -> None:
    world = changed()
    other = config_state(T0 + 30, TIMEOUT="5")
    world.configurations.fail_next("restore", CONFLICT)
    take = world.configurations.take

    def somebody(call: str) -> Failure | None:
        failure = take(call)
        if failure is not None:
            world.configurations.states[KEYED] = other
        return failure

    world.configurations.take = somebody

    await world.run(world.operator(), world.is_over)

    done = find(world.rollback.status.conditions, ConditionType.COMPLETE)
    assert (world.rollback.status.outcome, done.reason) == (
        Outcome.ABANDONED,
        Reason.CONFIGURATION_CHANGED,
    )
    assert "kubectl changed it since the decision" in done.message
    assert world.configurations.states[KEYED] == other
    assert "undo" not in world.journal


async def test_a_restart_after_a_restore_that_never_was_is_a_release_of_its_own() -> None:
    """It was taken for the good release: Good before its first request, and never rolled back."""
    world = changed()
    operator = world.operator()
    world.configurations.fail_next("restore", CONFLICT)
    await world.run(operator, lambda: "restore" in world.configurations.calls)
    world.configurations.states[KEYED] = config_state(T0, TIMEOUT="-1")
    await world.run(operator, world.is_over)
    target, bad = world.rollback.spec.to_revision, world.rollback.spec.from_revision

    restarted(world, "v3")
    for _ in range(5):
        world.tell(operator)
        await operator.reconcile(KEY)
        world.seconds += 5

    running = world.status.revision
    assert running.digest == "digest-v3"
    assert running.release not in (target.release, bad.release)


async def test_where_the_template_differs_it_goes_back_without_the_configmap() -> None:
    world = changed()
    template = make_template("v2")
    workload = world.workloads.workload
    world.workloads.workload = replace(
        workload,
        deployment=replace(workload.deployment, template=template),
        replica_sets=(
            replace(workload.replica_sets[0], template=template),
            workload.replica_sets[1],
        ),
    )
    world.configurations.fail_next("restore", REFUSAL)

    await world.run(world.operator(), world.is_all_done)

    step = world.rollback.status.steps[0]
    assert step.name is StepName.RESTORE_CONFIGURATION
    assert "stays as it is" in step.message
    assert world.rollback.status.outcome is Outcome.VERIFIED
    assert world.workloads.workload.deployment.template.digest == "digest-v1"


async def test_a_workload_that_uses_it_since_the_decision_keeps_it() -> None:
    world = RestoringWorld()
    world.configurations.others = {"a": ("CronJob report",)}

    await world.last()

    done = find(world.stored.status.conditions, ConditionType.COMPLETE)
    states = world.configurations.states
    assert [states[name].digest for name in RESTORED] == [BAD.digest, GOOD.digest]
    assert done is not None
    step = world.stored.status.steps[0]
    assert "ConfigMap a stays as it is: CronJob report uses it too" in step.message


async def test_where_another_workload_uses_all_of_it_nothing_is_undone() -> None:
    world = RestoringWorld()
    world.configurations.others = dict.fromkeys(("a", "b"), ("Deployment other",))

    done = await world.last()

    complete = find(done.status.conditions, ConditionType.COMPLETE)
    assert complete is not None
    assert complete.reason == Reason.CONFIGURATION_CHANGED
    assert "Deployment other uses it too" in complete.message
    assert "undo" not in world.journal


async def test_an_operator_that_dies_at_any_call_restores_once() -> None:
    calm = changed()
    await calm.run(calm.operator(), calm.is_all_done)
    for number in range(len(calm.journal)):
        world = changed()
        world.journal.crash_at = number
        operator = world.operator()
        for _ in range(80):
            if world.is_all_done():
                break
            world.tell(operator)
            try:
                await operator.reconcile(KEY)
            except Crash:
                operator = world.operator()
            world.seconds += 2
        assert world.is_all_done(), number
        assert world.rollback.status.outcome is Outcome.VERIFIED, number
        assert world.journal.count("restore") == 1, number
        assert world.configurations.states[KEYED].text == GOOD.text, number


WHOLE = {"unannotated_digest": BARE, "configuration": configured()}
RESTORED = ("ConfigMap a", "ConfigMap b")


@dataclass
class RestoringWorld(Carried):
    """Two ConfigMaps are restored, and nothing else differs."""

    rollback: Rollback = field(
        default_factory=lambda: make_rollback(
            from_revision=make_ref("v2", release="with-bad", **WHOLE),
            to_revision=make_ref("v1", release="with-good", **WHOLE),
            verification=VerificationSpec(timeout_seconds=10),
            config_maps=[
                ConfigMapPlan(
                    name=name, uid=BAD.uid, digest=GOOD.digest, previous_digest=BAD.digest
                )
                for name in ("a", "b")
            ],
        )
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.configurations.states = dict.fromkeys(RESTORED, BAD)
        self.configurations.stored = {key: {GOOD.digest: GOOD.text} for key in ("a", "b")}

    def target(self) -> Workload:
        sets = [
            make_replica_set(version, template=make_template(version, release=BARE))
            for version in ("v2", "v1")
        ]
        deployment = make_deployment("v2", template=sets[0].template)
        return make_workload(deployment=deployment, replica_sets=sets)

    def restarted(self) -> None:
        template = make_template("v3", release=BARE)
        deployment = replace(self.workloads.workload.deployment, template=template)
        self.workloads.workload = replace(self.workloads.workload, deployment=deployment)


async def test_a_restart_in_the_middle_is_not_taken_for_the_restored_release() -> None:
    rehearsal = RestoringWorld()
    await rehearsal.last()
    reasons = set()
    for crash_at in range(len(rehearsal.journal)):
        world = RestoringWorld()
        world.journal.crash_at = crash_at
        with pytest.raises(Crash):
            await world.last()
        world.executor = world.operator()
        world.restarted()
        status = (await world.last()).status
        done = find(status.conditions, ConditionType.COMPLETE)
        reasons.add(done.reason)
        if status.outcome is not Outcome.ABANDONED:
            restored = [world.configurations.states[name].digest for name in RESTORED]
            assert restored == [GOOD.digest, GOOD.digest], crash_at
        elif any(step.name is StepName.RESTORE_CONFIGURATION for step in status.steps):
            assert "ConfigMap a" in done.message, crash_at
    assert Reason.TARGET_MOVED in reasons
    assert len(reasons) > 1


async def test_nothing_is_read_while_nothing_changes() -> None:
    world = changed(GOOD)
    world.bad = frozenset()
    operator = world.operator()
    for _ in range(5):
        world.tell(operator)
        await operator.reconcile(KEY)
        world.seconds += 2

    assert sorted(world.configurations.reads) == [KEYED, "Secret password"]
    assert world.status.revision.release == digest_of([BARE, configured()])
    assert world.condition(ConditionType.CONFIGURATION_READ) == (
        "True",
        Reason.CONFIGURATION_COMPARED,
    )
    await world.operator().reconcile(KEY)  # the next leader knows by the record
    assert len(world.configurations.reads) == 2


async def test_what_may_not_be_read_is_named_and_a_release_is_its_template() -> None:
    world = changed()
    world.bad = frozenset()
    advice = Failure(FailureKind.REJECTED, "list it in the chart value readConfigMaps")
    world.configurations.fail_next("read", advice, advice)

    await world.operator().reconcile(KEY)

    told = find(world.status.conditions, ConditionType.CONFIGURATION_READ)
    assert (told.status, told.reason) == ("False", Reason.CONFIGURATION_UNREADABLE)
    assert f"{KEYED}: list it in the chart value readConfigMaps" in told.message
    assert world.status.revision.release == digest_of([BARE, configured()])  # as that of v1
    assert world.status.revision.configuration is None


async def test_a_configuration_that_does_not_answer_is_read_again() -> None:
    world = changed()
    world.bad = frozenset()
    operator, late = world.operator(), Failure(FailureKind.UNAVAILABLE, "no answer")
    world.configurations.fail_next("read", late)

    await operator.reconcile(KEY)
    assert world.status.revision.number == 1
    await operator.reconcile(KEY)

    assert world.status.revision.number == 2
    assert world.status.revision.release == digest_of([BARE, configured(BAD)])


async def test_a_configuration_that_never_answers_is_not_awaited_for_ever() -> None:
    world = changed()
    world.bad = frozenset()
    operator, late = world.operator(), Failure(FailureKind.UNAVAILABLE, "no answer")
    world.configurations.fail_next("read", *[late] * 6)

    for _ in range(3):
        await operator.reconcile(KEY)
        world.seconds += AWAITED_SECONDS / 2

    assert world.status.revision.number == 2
    assert world.condition(ConditionType.CONFIGURATION_READ) == (
        "False",
        Reason.CONFIGURATION_UNREADABLE,
    )


async def test_only_the_contents_that_may_be_restored_are_kept_in_memory() -> None:
    """A template may name 32 objects of 1 MiB; the facts of a decision are kept for seconds."""
    world = changed(remedy=RESTORE.model_copy(update={"restore": ["another"]}))
    operator = world.operator()

    await world.run(operator, lambda: is_told(world))

    reader = operator.configurations
    kept = [facts.current for _, _, facts in reader.facts.values()]
    kept += [began for _, began in reader.known.values()]
    assert kept
    texts = [getattr(state, "text", "") for each in kept for state in each.states.values()]
    assert set(texts) == {""}


def becoming_good(**spec) -> World:
    """v1 is watched and earns Good; nothing is stored yet."""
    safety = {"good_after_seconds": 10, "watch_seconds": 600}
    policy = make_policy(remedies=[RESTORE], safety=make_policy().spec.safety.model_copy(
        update=safety), **spec)  # fmt: skip
    release = digest_of([BARE, configured()])
    known = make_entry("v1", release=release, configuration=configured(), since=None)
    status = RollbackPolicyStatus(revision=known, revisions=[known])
    world = World(policy=policy.model_copy(update={"status": status}), bad=frozenset())
    world.configurations.states = {KEYED: GOOD, "Secret password": PASSWORD}
    world.workloads.workload = make_workload("v1", older=())
    sets = (make_replica_set("v1", references=REFERENCES),)
    world.workloads.workload = replace(world.workloads.workload, replica_sets=sets)
    return world


async def passes(world: World, count: int = 2) -> list[StoredConfigMap]:
    operator = world.operator()
    for _ in range(count):
        world.tell(operator)
        await operator.reconcile(KEY)
        world.seconds += 2
    return world.status.revisions[0].config_maps


async def test_the_content_of_a_good_revision_is_stored_once() -> None:
    world = becoming_good()

    assert await passes(world, 4) == [StoredConfigMap(name=CONFIG_MAP, digest=GOOD.digest)]
    assert world.configurations.stored == {CONFIG_MAP: {GOOD.digest: GOOD.text}}
    assert world.configurations.calls.count("store") == 1


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (replace(GOOD, text="x" * 70_000), "larger than 64 KiB"),
        (BAD, "as it was when the release began"),
        (None, "it does not exist"),
    ],
)
async def test_what_is_not_stored_has_a_reason(state, message) -> None:
    world = becoming_good()
    world.configurations.states[KEYED] = state
    if state is None:
        del world.configurations.states[KEYED]

    (stored,) = await passes(world)

    assert stored.digest is None
    assert message in stored.message
    assert world.configurations.calls.count("store") == 0


async def test_a_store_that_fails_for_now_is_tried_again() -> None:
    world = becoming_good()
    world.configurations.fail_next("store", OUTAGE)

    assert await passes(world) == []
    world.seconds += 60
    (stored,) = await passes(world)
    assert stored.digest == GOOD.digest


async def test_a_store_that_is_refused_names_the_remedy() -> None:
    world = becoming_good()
    world.configurations.fail_next("store", Failure(FailureKind.REJECTED, "restoreConfigMaps"))

    (stored,) = await passes(world)

    assert stored == StoredConfigMap(name=CONFIG_MAP, message="restoreConfigMaps")


async def test_in_mode_observe_nothing_is_stored() -> None:
    world = becoming_good()
    policy = world.policy.model_copy(
        update={"spec": world.policy.spec.model_copy(update={"mode": Mode.OBSERVE})}
    )
    world.store.hold(policy)

    assert await passes(world) == []
    assert world.configurations.calls.count("store") == 0
