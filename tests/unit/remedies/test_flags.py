"""A flag in place of an undo: when it can be the cure, what follows if not, how it is set."""

from dataclasses import replace

import pytest

from rollback_operator.api.reasons import ConditionType, Reason
from rollback_operator.api.remedy import LONGEST_VALUE, FlagTaking, GitOps, OwnerKind
from rollback_operator.api.v1alpha1 import (
    RUNBOOK_MATRIX,
    Health,
    Mode,
    Outcome,
    RollbackPolicyStatus,
    RollbackSpec,
    RollbackStatus,
    SafetySpec,
    StepName,
)
from rollback_operator.decide.evaluate import watch_of
from rollback_operator.decide.plan import make_plan
from rollback_operator.model.conditions import condition
from rollback_operator.model.context import Refusal
from rollback_operator.model.controllers import Owner, OwnerObject
from rollback_operator.model.samples import Missing
from rollback_operator.model.workload import ConfigRead
from rollback_operator.releases import ledger, quarantine
from rollback_operator.releases.ledger import revision_of
from rollback_operator.remedies import flags
from rollback_operator.remedies.attempts import name_of, rollback_name
from rollback_operator.remedies.comparison import compare
from rollback_operator.remedies.progress import Act, Done, RollbackEnd
from rollback_operator.remedies.steps import steps_of
from rollback_operator.report import recovery
from rollback_operator.report.events import started
from rollback_operator.rollback.recovery import proof_begins
from tests.builders import (
    CONFIG_MAP,
    DISABLE,
    FLAG,
    MOUNTED,
    READ,
    UNDO,
    at,
    make_case,
    make_deployment,
    make_ended,
    make_entry,
    make_flag_plan,
    make_flag_rollback,
    make_policy,
    make_replica_set,
    make_rollback,
    make_step,
    make_template,
    make_trigger_record,
    make_workload,
)
from tests.fakes.cluster import flag_state

P1 = RUNBOOK_MATRIX[0]
ON = flag_state()
OFF = flag_state("false")
APP = OwnerObject(OwnerKind.APPLICATION, "", "shop")
ARGO = Owner("Argo CD", "label a=b", "roll back in Git", object=APP)
ELSE = replace(ARGO, object=replace(APP, name="config"))
RESTARTED = make_template("v2", digest="digest-v2-restarted")


def case_with(state=ON, reads=(READ,), rollbacks=(), remedies=(DISABLE, UNDO), **changes):
    """A bad v2 whose pods read the flag, and a policy that sets it before it undoes."""
    policy = make_policy(remedies=list(remedies), safety=SafetySpec(**changes.pop("safety", {})))
    current = make_replica_set("v2", reads=tuple(reads))
    sets = (current, make_replica_set("v1", replicas=0, created=0.0))
    workload = make_workload(replica_sets=sets, **changes)
    made = make_case(policy, workload, rollbacks=rollbacks)
    return replace(made, flags={(CONFIG_MAP, FLAG): state} if state is not None else {})


def planned(case, now: float = 100.0) -> RollbackSpec | Refusal:
    return make_plan(case, P1, make_trigger_record(), at(now))


def ended(outcome: Outcome, reason: Reason = Reason.STILL_FAILING, **changes):
    done = condition(ConditionType.COMPLETE, True, reason, "said")
    status = make_ended(outcome).model_copy(update={"conditions": [done]})
    return make_flag_rollback(status=status, **changes)


def given_up(reason: Reason):
    """A flag's rollback that ended after the flag was set."""
    steps = [make_step(StepName.DISABLE_FLAG, 20, 21), make_step(StepName.RESTART_PODS, 21, 60)]
    made = ended(Outcome.ABANDONED, reason)
    return made.model_copy(update={"status": made.status.model_copy(update={"steps": steps})})


def owned(owner: Owner, by_deployment: Owner | None = None, response=GitOps.REFUSE):
    return case_with(
        replace(ON, owner=owner),
        deployment=make_deployment(owner=by_deployment),
        safety={"git_ops": response},
    )


def test_a_flag_that_is_on_is_set_and_what_it_was_is_put_on_record() -> None:
    plan = planned(case_with())

    assert isinstance(plan, RollbackSpec)
    assert plan.remedy == DISABLE
    assert plan.flag == make_flag_plan()
    assert plan.to_revision is None
    assert steps_of(plan) == (
        StepName.DISABLE_FLAG,
        StepName.RESTART_PODS,
        StepName.ROLLOUT_COMPLETE,
        StepName.VERIFY,
    )
    assert plan.trigger == make_trigger_record()


def test_pods_that_read_a_file_are_not_replaced() -> None:
    plan = planned(case_with(reads=(MOUNTED,)))

    assert isinstance(plan, RollbackSpec)
    assert plan.flag == make_flag_plan(taken_by=FlagTaking.MOUNT)
    assert StepName.RESTART_PODS not in steps_of(plan)


def test_a_rollout_that_is_held_is_let_go_by_the_restart() -> None:
    plan = planned(
        case_with(reads=(MOUNTED,), deployment=make_deployment(paused=True, is_held=True))
    )
    assert isinstance(plan, RollbackSpec)
    assert plan.flag == make_flag_plan(taken_by=FlagTaking.RESTART)


@pytest.mark.parametrize(
    ("reads", "how"),
    [
        ((READ,), FlagTaking.RESTART),
        ((READ, MOUNTED), FlagTaking.RESTART),
        ((ConfigRead(CONFIG_MAP),), FlagTaking.RESTART),
        ((MOUNTED,), FlagTaking.MOUNT),
        ((ConfigRead(CONFIG_MAP, hidden=(FLAG,)),), None),
        ((ConfigRead(CONFIG_MAP, ("ANOTHER",)),), None),
        ((ConfigRead("another", (FLAG,)),), None),
        ((), None),
    ],
    ids=["variable", "both", "all variables", "file", "hidden", "other key", "other map", "none"],
)
def test_how_pods_come_by_a_flag(reads, how) -> None:
    assert flags.taking(case_with(reads=reads).workload, DISABLE.flag) is how


UNFIT = {
    "not read": (case_with(None), "its ConfigMap was not read"),
    "no ConfigMap": (
        case_with(Missing(Reason.READ_FAILED, "there is no ConfigMap x")),
        "there is no ConfigMap x",
    ),
    "no such key": (case_with(flag_state(None)), f"the ConfigMap has no key {FLAG}"),
    "set already": (case_with(OFF), "it is already 'false'"),
    "immutable": (case_with(flag_state(is_immutable=True)), "the ConfigMap is immutable"),
    "too long": (
        case_with(flag_state("x" * (LONGEST_VALUE + 1))),
        "its value is too long to store",
    ),
    "nobody reads it": (
        case_with(reads=()),
        "no container of the release reads it from the ConfigMap",
    ),
    "owned": (owned(ARGO), "Argo CD manages the ConfigMap (label a=b) and would revert it: roll"),
    "owned by a tool": (
        owned(replace(ARGO, is_rollout_tool=True), response=GitOps.PROCEED),
        "Argo CD manages the ConfigMap",
    ),
    "owned by somebody who is not suspended": (
        owned(ELSE, ARGO, GitOps.SUSPEND),
        "and is not suspended with the Deployment's owner",
    ),
    "tried": (
        case_with(rollbacks=[ended(Outcome.NOT_RECOVERED)]),
        "ticket-service-f1a9000000 tried it on this release (NotRecovered)",
    ),
    "tried, and somebody has changed it": (
        case_with(flag_state("maybe"), rollbacks=[ended(Outcome.ABANDONED, Reason.FLAG_CHANGED)]),
        "tried it on this release (Abandoned)",
    ),
    "tried, and given up once it was set": (
        case_with(rollbacks=[given_up(Reason.TARGET_MOVED)]),
        "tried it on this release (Abandoned)",
    ),
    "tried, and refused": (
        case_with(rollbacks=[ended(Outcome.FAILED, Reason.STEP_REFUSED)]),
        "tried it on this release (Failed)",
    ),
}


@pytest.mark.parametrize(("case", "says"), UNFIT.values(), ids=UNFIT)
def test_what_cannot_be_the_cure_gives_way_to_the_next_remedy_and_is_told(case, says) -> None:
    plan = planned(case)

    assert isinstance(plan, RollbackSpec), plan
    assert plan.remedy == UNDO
    assert plan.flag is None
    assert plan.trigger.message.startswith("all purchases fail; skipped before: ")
    assert says in plan.trigger.message


def test_without_another_remedy_it_is_told_that_none_is_left() -> None:
    refused = planned(case_with(OFF, remedies=[DISABLE]))

    assert isinstance(refused, Refusal)
    assert refused.reason is Reason.NO_REMEDY_LEFT
    assert "no remedy is left for P1" in refused.message
    assert "already" in refused.message


def test_where_the_next_remedy_is_refused_both_are_told() -> None:
    case = replace(case_with(OFF), ledger=[make_entry("v1", Health.BAD)])

    refused = planned(case)

    assert isinstance(refused, Refusal)
    assert refused.reason is Reason.NO_TARGET_REVISION
    assert "already" in refused.message


@pytest.mark.parametrize(
    ("case", "whose"),
    [
        (owned(ARGO, response=GitOps.PROCEED), "nobody waits for them"),
        (owned(ARGO, ARGO, GitOps.SUSPEND), "suspended with the Deployment"),
    ],
    ids=["proceed", "suspended"],
)
def test_what_somebody_else_steers_is_set_where_the_policy_deals_with_them(case, whose) -> None:
    plan = planned(case)
    assert isinstance(plan, RollbackSpec), whose
    assert plan.remedy == DISABLE


@pytest.mark.parametrize(
    "left",
    [
        ended(Outcome.BLOCKED, Reason.CHECKLIST_BLOCKED),
        ended(Outcome.REJECTED, Reason.REJECTED_BY_PERSON),
        ended(Outcome.ABANDONED, Reason.APPROVAL_TIMED_OUT),
    ],
    ids=["blocked", "rejected", "not answered"],
)
def test_what_was_kept_from_being_done_is_not_got_round_by_the_next_remedy(left) -> None:
    refused = planned(case_with(rollbacks=[left]), now=80.0)

    assert isinstance(refused, Refusal)
    assert refused.reason is Reason.ALREADY_ROLLED_BACK


def test_a_pause_that_outlasted_the_restart_is_tried_again_with_the_same_remedy() -> None:
    again = planned(case_with(rollbacks=[given_up(Reason.TARGET_PAUSED)]))

    assert isinstance(again, RollbackSpec), again
    assert again.remedy == DISABLE


def test_what_was_blocked_is_tried_again_with_the_same_remedy() -> None:
    again = planned(case_with(rollbacks=[ended(Outcome.BLOCKED, Reason.CHECKLIST_BLOCKED)]))

    assert isinstance(again, RollbackSpec)
    assert again.remedy == DISABLE


def test_what_was_observed_is_recorded_once() -> None:
    case = case_with(rollbacks=[ended(Outcome.OBSERVED, mode=Mode.OBSERVE)])
    policy = case.policy.model_copy(
        update={"spec": case.policy.spec.model_copy(update={"mode": Mode.OBSERVE})}
    )

    refused = planned(replace(case, policy=policy))

    assert isinstance(refused, Refusal)
    assert refused.reason is Reason.ALREADY_ROLLED_BACK


def test_what_was_only_proposed_does_not_stand_in_the_way() -> None:
    proposed = ended(Outcome.ABANDONED, Reason.APPROVAL_TIMED_OUT, requires_approval=True)
    plan = planned(case_with(rollbacks=[proposed]))
    assert isinstance(plan, RollbackSpec)
    assert plan.remedy == DISABLE


def test_after_the_cooldown_it_may_be_tried_again() -> None:
    plan = planned(case_with(rollbacks=[ended(Outcome.NOT_RECOVERED)]), now=60 + 3600.0)
    assert isinstance(plan, RollbackSpec)
    assert plan.remedy == DISABLE


def test_a_flag_and_the_undo_after_it_are_two_rollbacks() -> None:
    case = case_with()
    flag, undo = planned(case), planned(case_with(OFF))
    assert isinstance(flag, RollbackSpec)
    assert isinstance(undo, RollbackSpec)
    assert name_of(undo) == rollback_name(case)
    assert name_of(flag) != name_of(undo)
    proposed = flag.model_copy(update={"requires_approval": True})
    assert name_of(proposed) not in (name_of(flag), name_of(undo))


# -- the act ---------------------------------------------------------------------------------------


def test_the_flag_is_set_while_it_is_as_it_was_found() -> None:
    assert flags.compare_flag(make_flag_rollback(), ON) == Act(StepName.DISABLE_FLAG)


def test_a_flag_that_is_set_is_done_whoever_did_it() -> None:
    assert isinstance(
        flags.compare_flag(make_flag_rollback(), flag_state("false", uid="new")), Done
    )


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (flag_state("maybe"), "kubectl set FEATURE_NEW_CHECKOUT to 'maybe'"),
        (flag_state("maybe", changed_by=""), "another client set"),
        (flag_state(uid="another"), "it was deleted or recreated"),
        (flag_state(None), "it was deleted or recreated"),
        (None, "it was deleted or recreated"),
        (flag_state(is_immutable=True), "immutable"),
    ],
    ids=["other value", "nobody known", "another ConfigMap", "no key", "gone", "immutable"],
)
def test_what_somebody_has_changed_in_between_stands(found, says) -> None:
    end = flags.compare_flag(make_flag_rollback(), found)

    assert isinstance(end, RollbackEnd)
    assert (end.outcome, end.reason) == (Outcome.ABANDONED, Reason.FLAG_CHANGED)
    assert says in end.message
    assert end.message.endswith("it stays unchanged")


BAD = make_deployment("v2")
AGAIN = make_deployment("v2", template=RESTARTED)
OTHER = make_deployment("v3")
SET = make_flag_rollback(
    status=RollbackStatus(
        steps=[make_step(StepName.DISABLE_FLAG, 10, 11), make_step(StepName.RESTART_PODS, 11)]
    )
)


@pytest.mark.parametrize(
    ("step", "deployment", "found"),
    [
        (StepName.DISABLE_FLAG, BAD, Act),
        (StepName.DISABLE_FLAG, AGAIN, RollbackEnd),
        (StepName.DISABLE_FLAG, OTHER, RollbackEnd),
        (StepName.RESTART_PODS, BAD, Act),
        (StepName.RESTART_PODS, AGAIN, Done),
        (StepName.RESTART_PODS, OTHER, RollbackEnd),
        (StepName.ROLLOUT_COMPLETE, AGAIN, Done),
        (StepName.ROLLOUT_COMPLETE, OTHER, RollbackEnd),
        (StepName.VERIFY, OTHER, RollbackEnd),
    ],
)
def test_each_step_looks_at_the_pods_before_it_does(step, deployment, found) -> None:
    assert isinstance(compare(SET, step, deployment, at(12)), found)


def test_a_flag_that_does_not_stay_is_told_with_who_has_set_it() -> None:
    assert flags.reverted(SET, OFF) is None
    end = flags.reverted(SET, flag_state("true", changed_by="argocd-controller"))
    assert end is not None
    assert (end.outcome, end.reason) == (Outcome.FAILED, Reason.FLAG_REVERTED)
    assert "it is 'true' (argocd-controller)" in end.message
    gone = flags.reverted(SET, None)
    assert gone is not None
    assert "it no longer exists" in gone.message


def test_requests_prove_something_from_the_restart_on_or_once_files_are_renewed() -> None:
    assert proof_begins(SET) == at(11).timestamp()
    mounted = SET.model_copy(
        update={"spec": SET.spec.model_copy(update={"flag": make_flag_plan(taken_by="Mount")})}
    )
    assert proof_begins(mounted) == at(10 + 120).timestamp()


# -- afterwards ------------------------------------------------------------------------------------


def test_a_release_that_a_flag_has_cured_is_not_bad_any_more() -> None:
    workload = make_workload()
    known = [make_entry("v2", Health.BAD), make_entry("v1")]

    def health(*rollbacks) -> Health | None:
        status = RollbackPolicyStatus(revisions=known)
        policy = make_policy().model_copy(update={"status": status})
        found = ledger.entries(policy, workload, rollbacks, at(100))
        return ledger.health_of(found, "release-v2")

    assert health(ended(Outcome.VERIFIED, Reason.RECOVERED)) is Health.UNKNOWN
    assert health(ended(Outcome.NOT_RECOVERED)) is Health.BAD
    later = make_rollback(trigger=make_trigger_record(decided_time=at(90)))
    assert health(ended(Outcome.VERIFIED, Reason.RECOVERED), later) is Health.BAD


def test_a_release_that_stays_is_not_in_quarantine() -> None:
    status = SET.status.model_copy(update={"outcome": Outcome.VERIFIED})
    done = SET.model_copy(update={"status": status})
    assert quarantine.entries([done], [], [], 3600, at(100)) == []


@pytest.mark.parametrize(
    ("outcome", "reason", "status"),
    [
        (Outcome.VERIFIED, Reason.RECOVERED, "True"),
        (Outcome.NOT_RECOVERED, Reason.STILL_FAILING, "False"),
    ],
)
def test_whether_a_flag_has_helped_is_told_of_the_restarted_release(
    outcome, reason, status
) -> None:
    running = revision_of(make_replica_set("v2", template=RESTARTED), at(20))
    told = recovery.recovered([ended(outcome, reason)], running)
    assert (told.status, told.reason) == (status, reason)
    assert ("next remedy of spec.remedies follows" in told.message) is (status == "False")


def test_pods_that_were_cured_in_place_are_watched_anew() -> None:
    before, url = case_with(OFF, reads=(MOUNTED,)), "http://prometheus"
    watch = watch_of(None, before, url, at(50))
    assert watch_of(watch, before, url, at(100)) is watch

    cured = ended(
        Outcome.VERIFIED, Reason.RECOVERED, flag=make_flag_plan(taken_by=FlagTaking.MOUNT)
    )
    after = watch_of(watch, replace(before, rollbacks=[cured]), url, at(100))

    assert after.opened == at(60).timestamp()
    failed = replace(before, rollbacks=[ended(Outcome.NOT_RECOVERED)])
    assert watch_of(watch, failed, url, at(100)) is watch


def test_what_is_done_is_told_in_words() -> None:
    said = started(make_flag_rollback()).message
    assert said == f"P1 DisableFlag {FLAG}=false in ConfigMap {CONFIG_MAP}: all purchases fail"
