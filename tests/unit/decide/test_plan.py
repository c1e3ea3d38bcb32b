from dataclasses import replace

import pytest

from rollback_operator.api.reasons import ConditionType, Reason
from rollback_operator.api.v1alpha1 import (
    RUNBOOK_MATRIX,
    Health,
    Mode,
    ObjectMeta,
    Outcome,
    Pace,
    Remedy,
    RemedyType,
    RollbackSpec,
    RollbackStatus,
    SafetySpec,
    StepName,
    Trust,
    UndoTo,
)
from rollback_operator.decide.matrix import Match
from rollback_operator.decide.plan import make_plan, make_trigger
from rollback_operator.model.conditions import condition
from rollback_operator.model.context import Refusal, is_active
from rollback_operator.model.controllers import Owner
from rollback_operator.model.verdict import Cause
from rollback_operator.model.workload import Autoscaler
from rollback_operator.remedies.attempts import name_of, rollback_name
from rollback_operator.remedies.steps import steps_of
from tests.builders import (
    NAME,
    UNDO,
    at,
    make_autoscaler,
    make_case,
    make_deployment,
    make_ended,
    make_entry,
    make_policy,
    make_ref,
    make_replica_set,
    make_rollback,
    make_scope,
    make_step,
    make_template,
    make_trigger_record,
    make_verdict,
    make_workload,
)

P1, P2, P3, P4 = RUNBOOK_MATRIX
PIN = Remedy(type=RemedyType.PIN_IMAGE, container=NAME, image="registry.example.com/x:v1")
SCALE = Remedy(type=RemedyType.SCALE, replicas=8)
PREVIOUS = Remedy(type=RemedyType.UNDO, to=UndoTo.PREVIOUS)
THIRD = make_workload("v3", older=("v2", "v1"))
DAY = 86_400.0


def scaled(autoscaler: Autoscaler):
    """More replicas are wanted where somebody scales the Deployment."""
    return make_case(policy=with_remedies(SCALE), workload=make_workload(autoscaler=autoscaler))


def numbered(revision: int) -> Remedy:
    return Remedy(type=RemedyType.UNDO, to=UndoTo.REVISION, revision=revision)


def planned(case, rule=P1, now: float = 100.0) -> RollbackSpec | Refusal:
    return make_plan(case, rule, make_trigger_record(), at(now))


def with_remedies(*remedies: Remedy):
    return make_policy(remedies=list(remedies))


def owned(kind: str, *, by_rollout_tool: bool = False):
    owner = Owner(kind, "a label", "do it there", is_rollout_tool=by_rollout_tool)
    return make_workload(deployment=make_deployment(owner=owner))


def ended(name: str, finished: float = 60.0, outcome=Outcome.VERIFIED, **changes):
    return make_rollback(name, make_ended(outcome, finished), **changes)


def other_release(name: str, decided: float, **changes):
    trigger = make_trigger_record(decided_time=at(decided))
    source, target = make_ref("v8"), make_ref("v9")
    return ended(
        name, decided, trigger=trigger, from_revision=source, to_revision=target, **changes
    )


def restarted(version: str):
    """The release runs as another revision, with another annotation."""
    template = make_template(version, digest=f"digest-{version}-restarted")
    there = make_workload(version)
    again = replace(there.replica_sets[0], name="again", revision=7, template=template)
    return replace(
        there,
        deployment=make_deployment(version, template=template, revision=7),
        replica_sets=(again, *there.replica_sets),
    )


CASE = make_case()
OWN_NAME = rollback_name(CASE)


def blocked_tries(count: int, finished: float):
    """So many tries were blocked, the last one at this time."""
    return [
        ended(rollback_name(CASE, one), finished, Outcome.BLOCKED, attempt=one)
        for one in range(1, count + 1)
    ]


def abandoned(reason: Reason, *steps: StepName, finished: float = 0.0, **changes):
    """A try that has ended without having changed anything."""
    done = condition(ConditionType.COMPLETE, True, reason, "over")
    known = [make_step(one, -40, finished) for one in steps]
    status = make_ended(Outcome.ABANDONED, finished)
    made = status.model_copy(update={"conditions": [done], "steps": known})
    return make_rollback(OWN_NAME, made, **changes)


PASSING = [
    Reason.SUSPENDED,
    Reason.MODE_CHANGED,
    Reason.POLICY_CHANGED,
    Reason.INVALID_SPEC,
    Reason.INVALID_MATRIX,
    Reason.ADDRESS_NOT_ALLOWED,
    Reason.QUERY_NOT_ALLOWED,
    Reason.POLICY_DELETED,
    Reason.TARGET_CHANGED,
    Reason.TARGET_NOT_FOUND,
    Reason.TARGET_ALREADY_WATCHED,
    Reason.TARGET_PAUSED,
    Reason.TARGET_SCALED_TO_ZERO,
    Reason.ROLLBACK_STALE,
    Reason.READ_FAILED,
]
FINAL = [
    (abandoned(Reason.APPROVAL_TIMED_OUT, StepName.AWAITING_APPROVAL), "nobody has answered"),
    (abandoned(Reason.TARGET_MOVED), "somebody has changed the template"),
    (abandoned(Reason.SUSPENDED, StepName.UNDO), "something was begun"),
    (abandoned(Reason.SUSPENDED, finished=71), "it has only just ended"),
]


@pytest.mark.parametrize("reason", PASSING)
def test_what_was_abandoned_before_it_began_is_tried_again(reason: Reason) -> None:
    """It kept its revision from ever being decided on again, and the bad release stayed."""
    made = planned(make_case(rollbacks=[abandoned(reason)]))
    assert isinstance(made, RollbackSpec), made
    assert made.attempt == 2
    asked = abandoned(reason, StepName.AWAITING_APPROVAL)
    assert planned(make_case(rollbacks=[asked])).attempt == 2


def test_a_pause_that_outlasted_a_step_is_tried_again() -> None:
    made = planned(make_case(rollbacks=[abandoned(Reason.TARGET_PAUSED, StepName.UNDO)]))
    assert made.attempt == 2


@pytest.mark.parametrize("last", [one for one, _ in FINAL], ids=[why for _, why in FINAL])
def test_what_people_or_an_act_have_decided_is_not_tried_again(last) -> None:
    found = planned(make_case(rollbacks=[last]))
    assert isinstance(found, Refusal)
    assert found.reason is Reason.ALREADY_ROLLED_BACK


def more_pods(**changes):
    """Six or more replicas were set for this release, under the name of a proposal."""
    return ended("r", remedy=SCALE, to_revision=None, **changes)


@pytest.mark.parametrize("by", [{}, {"reason": "the sale begins", "requested_by": "anna"}])
def test_more_replicas_took_nothing_back_so_that_the_next_remedy_follows(by) -> None:
    policy = with_remedies(SCALE, UNDO)
    made = planned(make_case(policy=policy, rollbacks=[more_pods(**by)]))
    assert isinstance(made, RollbackSpec), made
    assert made.remedy == UNDO
    assert "r tried it on this release (Verified)" in made.trigger.message


def test_replicas_that_did_not_help_are_not_called_a_release_that_came_back() -> None:
    policy = with_remedies(SCALE)
    found = planned(make_case(policy=policy, rollbacks=[more_pods(outcome=Outcome.NOT_RECOVERED)]))
    assert isinstance(found, Refusal)
    assert found.reason is Reason.NO_REMEDY_LEFT
    assert "Scale to 8 replicas: r tried it on this release (NotRecovered)" in found.message


def test_more_replicas_than_before_may_help() -> None:
    fewer = more_pods(outcome=Outcome.NOT_RECOVERED)
    more = SCALE.model_copy(update={"replicas": 9})
    made = planned(make_case(policy=with_remedies(more), rollbacks=[fewer]))
    assert isinstance(made, RollbackSpec), made


def pinned(version: str = "v3", revision: int = 4, **changes):
    """The Deployment runs what a pin of v1's image into a release has made of it."""
    image = {"images": (PIN.image,), "release": "release-pinned"}
    template = make_template(version, digest="digest-pinned", **(image | changes))
    there = make_workload(version)
    made = replace(there.replica_sets[0], name="pinned", revision=revision, template=template)
    deployment = make_deployment(version, template=template, revision=revision)
    return replace(there, deployment=deployment, replica_sets=(made, *there.replica_sets))


def by_pin(**changes):
    step = make_step(StepName.PIN_IMAGE, 20, 21).model_copy(update={"revision": 3})
    status = make_ended(Outcome.VERIFIED).model_copy(update={"steps": [step]})
    fields = {"remedy": PIN, "from_revision": make_ref("v3"), "to_revision": None}
    return make_rollback("pin", status, **(fields | changes))


def changed_since(workload):
    """Somebody has changed more than images since the pin."""
    template = replace(workload.deployment.template, release="theirs", digest="theirs")
    made = replace(workload.replica_sets[0], name="theirs", revision=5, template=template)
    deployment = replace(workload.deployment, template=template, revision=5)
    sets = (made, *workload.replica_sets)
    return replace(workload, deployment=deployment, replica_sets=sets)


REFUSALS = {
    "this release is what a pin has led to": (
        make_case(workload=pinned(), rollbacks=[by_pin()]),
        Reason.IS_A_ROLLBACK,
    ),
    "this release is what a pin has led to, by a person": (
        make_case(workload=pinned(), rollbacks=[by_pin(reason="it is bad", requested_by="anna")]),
        Reason.IS_A_ROLLBACK,
    ),
    "this revision has its rollback": (
        make_case(rollbacks=[ended(OWN_NAME, outcome=Outcome.ABANDONED)]),
        Reason.ALREADY_ROLLED_BACK,
    ),
    "it was blocked just now": (
        make_case(rollbacks=[ended(OWN_NAME, finished=71, outcome=Outcome.BLOCKED)]),
        Reason.ALREADY_ROLLED_BACK,
    ),
    "it was blocked again, and twice as long is waited": (
        make_case(rollbacks=blocked_tries(2, finished=41)),
        Reason.ALREADY_ROLLED_BACK,
    ),
    "it was blocked as often as it may be tried": (
        make_case(rollbacks=blocked_tries(5, finished=-3000)),
        Reason.ALREADY_ROLLED_BACK,
    ),
    "the try after the blocked one is over": (
        make_case(
            rollbacks=[
                *blocked_tries(1, finished=0),
                ended(rollback_name(CASE, 2), outcome=Outcome.REJECTED, attempt=2),
            ]
        ),
        Reason.ALREADY_ROLLED_BACK,
    ),
    "Argo CD owns it": (make_case(workload=owned("Argo CD")), Reason.GITOPS_OWNER),
    "a rollout tool owns it": (
        make_case(workload=owned("Flagger", by_rollout_tool=True)),
        Reason.ROLLOUT_OWNER,
    ),
    "another rollback is running": (
        make_case(rollbacks=[make_rollback("another")]),
        Reason.ROLLBACK_ACTIVE,
    ),
    "somebody else's rollback is running": (
        make_case(
            rollbacks=[make_rollback("another", policy_ref={"name": "other", "uid": "other"})]
        ),
        Reason.ROLLBACK_ACTIVE,
    ),
    "this revision was restored by a rollback": (
        make_case(
            rollbacks=[
                ended("r", from_revision=make_ref("v3"), to_revision=make_ref("v2", number=1))
            ]
        ),
        Reason.IS_A_ROLLBACK,
    ),
    "this revision was restored by a rollback, and restarted since": (
        make_case(
            workload=restarted("v2"),
            rollbacks=[ended("r", from_revision=make_ref("v3"), to_revision=make_ref("v2"))],
        ),
        Reason.IS_A_ROLLBACK,
    ),
    "a person has rejected the rollback of this release, and it was restarted since": (
        make_case(
            workload=restarted("v2"),
            rollbacks=[ended("r", outcome=Outcome.REJECTED)],
        ),
        Reason.REJECTED_BY_PERSON,
    ),
    "this release was rolled back and has come back": (
        make_case(
            workload=replace(
                make_workload(), deployment=make_deployment(revision=4, uid="deployment-uid")
            ),
            rollbacks=[ended("r", finished=60)],
        ),
        Reason.COOLDOWN_ACTIVE,
    ),
    "a policy that was there before has rolled it back": (
        make_case(
            workload=make_workload(deployment=make_deployment(revision=4)),
            rollbacks=[ended("r", policy_ref={"name": NAME, "uid": "of-the-one-before"})],
        ),
        Reason.COOLDOWN_ACTIVE,
    ),
    "a policy of another name has rolled it back": (
        make_case(
            workload=make_workload(deployment=make_deployment(revision=4)),
            rollbacks=[ended("r", policy_ref={"name": "other", "uid": "other"})],
        ),
        Reason.COOLDOWN_ACTIVE,
    ),
    "three rollbacks today, by a policy under another name": (
        make_case(
            rollbacks=[
                other_release(f"r{n}", -60.0 * n, policy_ref={"name": "other", "uid": "other"})
                for n in range(3)
            ]
        ),
        Reason.BUDGET_EXHAUSTED,
    ),
    "three rollbacks today, by the policy as it was made before": (
        make_case(
            rollbacks=[
                other_release(f"r{n}", -n * 3600.0, policy_ref={"name": NAME, "uid": f"made-{n}"})
                for n in range(3)
            ]
        ),
        Reason.BUDGET_EXHAUSTED,
    ),
    "three rollbacks today": (
        make_case(rollbacks=[other_release(f"r{n}", -n * 3600.0) for n in range(3)]),
        Reason.BUDGET_EXHAUSTED,
    ),
    "no remedy for this severity": (
        make_case(policy=with_remedies(UNDO.model_copy(update={"severities": ["P2"]}))),
        Reason.NO_REMEDY,
    ),
    "no old ReplicaSets are kept": (
        make_case(workload=make_workload(deployment=make_deployment(history_limit=0))),
        Reason.NO_HISTORY,
    ),
    "no good revision": (
        make_case(ledger=[make_entry("v1", Health.BAD)]),
        Reason.NO_TARGET_REVISION,
    ),
    "no older revision": (
        make_case(policy=with_remedies(PREVIOUS), workload=make_workload(older=())),
        Reason.NO_TARGET_REVISION,
    ),
    "the numbered revision is gone": (
        make_case(policy=with_remedies(numbered(7))),
        Reason.NO_TARGET_REVISION,
    ),
    "the numbered revision is the current one": (
        make_case(policy=with_remedies(numbered(2))),
        Reason.NO_TARGET_REVISION,
    ),
    "the previous revision is known to be bad": (
        make_case(policy=with_remedies(PREVIOUS), ledger=[make_entry("v1", Health.BAD)]),
        Reason.TARGET_KNOWN_BAD,
    ),
    "the previous revision is not on record and fails itself": (
        replace(make_case(ledger=()), failing={"release-v1": "90 of 100 requests have failed"}),
        Reason.TARGET_FAILING,
    ),
    "the previous revision differs in annotations only": (
        make_case(
            policy=with_remedies(PREVIOUS),
            workload=make_workload(
                replica_sets=(
                    make_replica_set("v2"),
                    make_replica_set("v1", template=make_template("v1", release="release-v2")),
                )
            ),
        ),
        Reason.SAME_RELEASE,
    ),
    "no such container": (
        make_case(policy=with_remedies(PIN.model_copy(update={"container": "other"}))),
        Reason.UNKNOWN_CONTAINER,
    ),
    "the image runs already": (
        make_case(
            policy=with_remedies(
                PIN.model_copy(update={"image": f"registry.example.com/{NAME}:v2"})
            )
        ),
        Reason.ALREADY_AT_TARGET,
    ),
    "somebody else sets the autoscaler's bounds": (
        scaled(make_autoscaler(owner="KEDA's ScaledObject shop")),
        Reason.AUTOSCALER_OWNED,
    ),
    "two autoscalers": (scaled(make_autoscaler(rivals=("other",))), Reason.AUTOSCALERS_CONTEND),
    "the autoscaler keeps as many already": (
        scaled(make_autoscaler(8, 10)),
        Reason.ALREADY_AT_TARGET,
    ),
    "capacity is never reduced": (
        make_case(policy=with_remedies(SCALE.model_copy(update={"replicas": 4}))),
        Reason.ALREADY_AT_TARGET,
    ),
}


@pytest.mark.parametrize(("trusted", "is_planned"), [(40, False), (61, True), (500, False)])
def test_a_rollback_before_a_persons_trust_starts_no_cooldown(trusted: float, is_planned) -> None:
    word = {"release": "release-v2", "revision": 2, "reason": "it was the database", "by": "anna"}
    case = make_case(
        make_policy(trust=[Trust(**word, time=at(trusted))]),
        workload=make_workload(deployment=make_deployment(revision=4)),
        rollbacks=[ended("r", trigger=make_trigger_record(decided_time=at(50)))],
    )
    made = planned(case)
    assert isinstance(made, RollbackSpec) == is_planned
    assert is_planned or made.reason is Reason.COOLDOWN_ACTIVE


@pytest.mark.parametrize(("case", "reason"), REFUSALS.values(), ids=REFUSALS)
def test_refused(case, reason) -> None:
    found = planned(case)
    assert isinstance(found, Refusal)
    assert found.reason is reason
    assert found.message


PLANS = {
    "the last known good revision": (CASE, "v1"),
    "skips one that is not known good": (
        make_case(workload=THIRD, ledger=[make_entry("v2", Health.UNKNOWN), make_entry("v1")]),
        "v1",
    ),
    "the previous revision": (
        make_case(policy=with_remedies(PREVIOUS), workload=THIRD, ledger=[]),
        "v2",
    ),
    "the previous revision, while the Deployment's number lags behind": (
        make_case(
            policy=with_remedies(PREVIOUS),
            workload=replace(THIRD, deployment=make_deployment("v3", revision=2)),
            ledger=[],
        ),
        "v2",
    ),
    "the previous release, not the running one before its restart": (
        make_case(policy=with_remedies(PREVIOUS), workload=restarted("v2")),
        "v1",
    ),
    "a restart of a release that nobody has restored": (
        make_case(
            workload=restarted("v2"),
            rollbacks=[ended("r", from_revision=make_ref("v4"), to_revision=make_ref("v3"))],
        ),
        "v1",
    ),
    "the numbered revision": (
        make_case(policy=with_remedies(numbered(1)), workload=THIRD, ledger=[]),
        "v1",
    ),
    "the first remedy for the severity": (
        make_case(policy=with_remedies(SCALE.model_copy(update={"severities": ["P2"]}), UNDO)),
        "v1",
    ),
    "an image": (make_case(policy=with_remedies(PIN)), None),
    "a release that people have made of what a pin has led to": (
        make_case(workload=changed_since(pinned()), rollbacks=[by_pin()]),
        "v1",
    ),
    "a release with another image than the pinned one": (
        make_case(workload=pinned(images=("registry.example.com/x:v4",)), rollbacks=[by_pin()]),
        "v1",
    ),
    "more replicas": (make_case(policy=with_remedies(SCALE)), None),
    "the cool-down is over": (
        make_case(
            workload=make_workload(deployment=make_deployment(revision=4)),
            rollbacks=[
                ended("r", finished=-3601, trigger=make_trigger_record(decided_time=at(-DAY)))
            ],
        ),
        "v1",
    ),
    "an abandoned rollback is no rollback": (
        make_case(
            workload=make_workload(deployment=make_deployment(revision=4)),
            rollbacks=[ended(f"r{n}", outcome=Outcome.ABANDONED) for n in range(5)],
        ),
        "v1",
    ),
    "what was only observed does not bind an Enforce policy": (
        make_case(
            rollbacks=[
                ended(f"r{n}", mode=Mode.OBSERVE, to_revision=make_ref("v2")) for n in range(5)
            ]
        ),
        "v1",
    ),
    "yesterday's rollbacks": (
        make_case(rollbacks=[other_release(f"r{n}", -DAY + 99 - n) for n in range(5)]),
        "v1",
    ),
    "restored, but that is longer ago than a watch": (
        make_case(
            rollbacks=[
                ended("r", -3600.0, from_revision=make_ref("v3"), to_revision=make_ref("v2"))
            ]
        ),
        "v1",
    ),
}


@pytest.mark.parametrize(
    ("tries", "finished", "attempt"),
    [(0, 0, 1), (1, 70, 2), (2, 40, 3), (4, -140, 5)],
)
def test_what_was_blocked_is_tried_again_under_a_name_of_its_own(tries, finished, attempt) -> None:
    found = planned(make_case(rollbacks=blocked_tries(tries, finished)))
    assert isinstance(found, RollbackSpec), found
    assert found.attempt == attempt
    assert name_of(found) == rollback_name(CASE, attempt)
    assert len({rollback_name(CASE, one) for one in range(1, 6)}) == 5


@pytest.mark.parametrize(("case", "target"), PLANS.values(), ids=PLANS)
def test_planned(case, target) -> None:
    found = planned(case)
    assert isinstance(found, RollbackSpec), found
    assert (f"v{found.to_revision.number}" if found.to_revision else None) == target
    assert found.from_revision.digest == case.workload.deployment.template.digest
    assert found.from_revision.health is Health.BAD
    assert steps_of(found)


def test_a_plan_says_where_it_comes_from_and_where_it_goes() -> None:
    found = planned(CASE)
    assert found.target_ref.uid == "deployment-uid"
    assert found.policy_ref.name == NAME
    assert (found.to_revision.replica_set, found.to_revision.replica_set_uid) == (
        "ticket-service-hashv1",
        "rs-v1",
    )
    assert found.to_revision.health is Health.GOOD
    assert found.from_revision.replica_set_uid == "rs-v2"
    unknown = planned(make_case(ledger=[]))
    assert unknown.to_revision.health is Health.UNKNOWN
    early = make_workload(replica_sets=(make_replica_set("v1"),))
    assert planned(make_case(workload=early)).from_revision.replica_set == ""


@pytest.mark.parametrize(
    ("rule", "changes", "policy", "expected"),
    [
        (P1, {}, make_policy(), Pace.EXPRESS),
        (P2, {}, make_policy(), Pace.NORMAL),
        (P2, {}, make_policy(safety=SafetySpec(express=["P1", "P2"])), Pace.EXPRESS),
        (P1, {}, make_policy(safety=SafetySpec(express=[])), Pace.NORMAL),
        (P1, {"strategy": "Recreate"}, make_policy(), Pace.NORMAL),
        (P1, {"min_ready_seconds": 30}, make_policy(), Pace.NORMAL),
        (P1, {"min_ready_seconds": 29}, make_policy(), Pace.EXPRESS),
        (P1, {}, with_remedies(PIN), Pace.NORMAL),
        (P1, {}, with_remedies(SCALE), Pace.NORMAL),
    ],
    ids=[
        "P1",
        "P2",
        "P2 by wish",
        "P1 not by wish",
        "Recreate",
        "slow to count as available",
        "just fast enough",
        "a pin",
        "scaling",
    ],
)
def test_pace(rule, changes, policy, expected) -> None:
    workload = make_workload(deployment=make_deployment(**changes))
    assert planned(make_case(policy=policy, workload=workload), rule).pace is expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ["Undo", "RolloutComplete", "Verify"]),
        (
            {"pace": Pace.EXPRESS},
            ["Undo", "RolloutComplete", "RestoreStrategy", "Verify"],
        ),
        ({"remedy": PIN}, ["PinImage", "RolloutComplete", "Verify"]),
        ({"remedy": SCALE}, ["Scale", "RolloutComplete", "Verify"]),
        ({"mode": Mode.OBSERVE}, []),
    ],
    ids=["undo", "express undo", "pin", "scale", "observe"],
)
def test_steps(changes, expected) -> None:
    steps = steps_of(make_rollback(**changes).spec)
    assert list(steps) == expected
    assert len(set(steps)) == len(steps)
    assert set(steps) <= set(StepName)


# -- names -----------------------------------------------------------------------------------------


def named(name: str, **changes):
    workload = make_workload(deployment=make_deployment(**changes))
    return rollback_name(make_case(policy=make_policy(name), workload=workload))


def test_names_are_stable_and_follow_from_the_plan() -> None:
    assert named("a") == named("a")
    assert name_of(planned(CASE)) == OWN_NAME


def test_names_tell_policies_revisions_and_modes_apart() -> None:
    observing = make_case(policy=make_policy(mode=Mode.OBSERVE))
    names = {
        named("a"),
        named("b"),
        named("a", uid="other"),
        named("a", revision=3),
        named("a", template=make_template("v3")),
        OWN_NAME,
        rollback_name(observing),
    }
    assert len(names) == 7


@pytest.mark.parametrize("name", ["a" * 253, "a" * 39 + "-b", "a" * 39 + ".b", "x"])
def test_names_fit_a_label_and_end_well(name) -> None:
    found = named(name)
    assert len(found) <= 63
    prefix, _, suffix = found.rpartition("-")
    assert len(suffix) == 10
    assert prefix[-1].isalnum()
    assert name.startswith(prefix)


def test_names_of_policies_that_begin_alike_differ() -> None:
    assert named("a" * 60 + "-1") != named("a" * 60 + "-2")


def test_a_policy_made_anew_has_names_of_its_own() -> None:
    again = make_policy()
    meta = ObjectMeta(name=NAME, namespace="production", uid="another-uid")
    again = again.model_copy(update={"metadata": meta})
    assert rollback_name(make_case(policy=again)) != OWN_NAME


def test_activity() -> None:
    assert is_active(make_rollback())
    assert not is_active(make_rollback(status=RollbackStatus(outcome=Outcome.FAILED)))


# -- the record ------------------------------------------------------------------------------------


def test_the_trigger_records_counts_odds_and_times() -> None:
    scope = make_scope(requests=99.6, errors=40.4)
    trigger = make_trigger(make_verdict(), Match(P1, scope), at(65), at(10))
    assert (trigger.requests, trigger.errors) == (100, 40)
    assert (trigger.control_requests, trigger.control_errors) == (36_000, 36)
    assert trigger.odds == "100000000 : 1"
    assert trigger.blame_odds == "9331 : 1"
    assert (trigger.first_bad_time, trigger.decided_time, trigger.deadline_time) == (
        at(5),
        at(10),
        at(65),
    )
    assert "failing from its first request on" in trigger.message


def test_the_trigger_of_an_outage_has_no_counts() -> None:
    verdict = make_verdict(
        message="no pod has been available", first_bad=None, cause=Cause.UNAVAILABLE
    )
    trigger = make_trigger(verdict, Match(P1), None, at(10))
    assert (trigger.requests, trigger.odds, trigger.blame_odds) == (0, "", "")
    assert trigger.message == "no pod has been available"
    assert trigger.first_bad_time is None
    assert trigger.deadline_time is None


def test_a_long_message_is_cut_to_its_bound() -> None:
    verdict = make_verdict(message="x" * 5000, cause=Cause.STUCK_ROLLOUT)
    assert len(make_trigger(verdict, Match(P2), None, at(10)).message) == 2048
