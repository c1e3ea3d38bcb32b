"""Who else steers a Deployment: what a policy lets be done, what is on record, who is released."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from rollback_operator.api.checklist import CheckItem, CheckResult, Consequence
from rollback_operator.api.reasons import ConditionType, Reason
from rollback_operator.api.remedy import GitOps, OwnerKind, OwnerPlan, OwnerRecord
from rollback_operator.api.v1alpha1 import (
    Outcome,
    Remedy,
    RemedyType,
    Rollback,
    RollbackStatus,
    SafetySpec,
    StepName,
)
from rollback_operator.decide.decide import make_plan
from rollback_operator.decide.guards import obstacle
from rollback_operator.model.context import Refusal
from rollback_operator.model.controllers import Owner, OwnerObject, OwnerState
from rollback_operator.model.samples import Missing
from rollback_operator.remedies import comparison, gitops, progress, suspension
from rollback_operator.remedies.steps import steps_of
from rollback_operator.report.readiness import Around, readiness
from rollback_operator.rollback import checks
from rollback_operator.rollback.checks import ChecklistFacts
from tests.builders import (
    T0,
    at,
    make_case,
    make_deployment,
    make_policy,
    make_rollback,
    make_step,
    make_template,
    make_trigger_record,
    make_workload,
)
from tests.fakes.cluster import UNTOUCHED

REFUSE, SUSPEND, PROCEED = GitOps
APPLICATION = OwnerObject(OwnerKind.APPLICATION, "", "shop")
ARGO = Owner("Argo CD", "label x", "roll back in Git", object=APPLICATION)
FLUX = Owner(
    "Flux Kustomization",
    "label y",
    "roll back in Git",
    object=OwnerObject(OwnerKind.KUSTOMIZATION, "flux-system", "shop"),
)
HELM = Owner("Helm", "annotation z", "use `helm rollback`")
FLAGGER = Owner("Flagger", "ownerReference", "roll back through it", is_rollout_tool=True)
PLAN = gitops.planned(ARGO, SUSPEND)
SCALE = Remedy(type=RemedyType.SCALE, replicas=6)


def with_git_ops(response: GitOps):
    return make_policy(safety=SafetySpec(git_ops=response))


def owned(owner: Owner | None = ARGO, version: str = "v2", **changes: Any):
    return make_workload(deployment=make_deployment(version, owner=owner, **changes))


# -- what a policy lets be done --------------------------------------------------------------------

ANSWERS: dict[str, tuple[Owner, GitOps, Reason | None, str]] = {
    "refused": (ARGO, REFUSE, Reason.GITOPS_OWNER, "would revert a rollback: roll back in Git"),
    "Argo CD may be suspended": (
        ARGO,
        REFUSE,
        Reason.GITOPS_OWNER,
        "set spec.safety.gitOps to Suspend",
    ),
    "Helm cannot be": (HELM, REFUSE, Reason.GITOPS_OWNER, "set spec.safety.gitOps to Proceed"),
    "suspended": (ARGO, SUSPEND, None, "Application shop is suspended before a rollback"),
    "proceeds": (ARGO, PROCEED, None, "may revert a rollback, which is not repeated"),
    "Flux suspended": (FLUX, SUSPEND, None, "Kustomization flux-system/shop is suspended"),
    "nothing to suspend": (
        HELM,
        SUSPEND,
        Reason.GITOPS_OWNER,
        "the object to suspend is not known",
    ),
    "Helm proceeds": (HELM, PROCEED, None, "Helm manages this Deployment"),
    "a rollout tool": (FLAGGER, PROCEED, Reason.ROLLOUT_OWNER, "would revert a rollback"),
    "a rollout tool cannot be suspended": (FLAGGER, SUSPEND, Reason.ROLLOUT_OWNER, "Flagger"),
}


@pytest.mark.parametrize(("owner", "response", "reason", "said"), ANSWERS.values(), ids=ANSWERS)
def test_a_plan_is_made_or_refused_as_the_policy_says(
    owner: Owner, response: GitOps, reason: Reason | None, said: str
) -> None:
    policy, workload = with_git_ops(response), owned(owner)
    case = make_case(policy, workload)

    found = make_plan(case, policy.spec.matrix[0], make_trigger_record(), at(20))
    told = readiness(policy, workload.deployment, Around())

    assert said in told.message
    assert told.status == str(reason is None)
    assert told.reason == (reason or Reason.GITOPS_OWNER)
    if reason is not None:
        assert isinstance(found, Refusal)
        assert found.reason is reason
        return
    assert not isinstance(found, Refusal)
    assert found.owner is not None
    assert (found.owner.tool, found.owner.response) == (owner.kind, response)
    assert (StepName.SUSPEND_OWNER in steps_of(found)) == (response is SUSPEND)
    assert steps_of(found)[-1] is StepName.VERIFY


def test_who_reverts_is_suspended_before_anything_else() -> None:
    steps = steps_of(make_rollback(owner=PLAN).spec)
    assert steps[:2] == (StepName.SUSPEND_OWNER, StepName.UNDO)


def test_without_an_owner_nothing_is_planned_about_one() -> None:
    assert gitops.planned(None, SUSPEND) is None
    assert gitops.planned_suspension(make_rollback()) is None
    assert gitops.planned_suspension(make_rollback(owner=gitops.planned(ARGO, PROCEED))) is None
    assert gitops.planned_suspension(make_rollback(owner=gitops.planned(HELM, SUSPEND))) is None


def test_a_rollback_by_hand_is_refused_by_the_same_rule() -> None:
    assert obstacle(make_case(with_git_ops(REFUSE), owned())) is not None
    assert obstacle(make_case(with_git_ops(SUSPEND), owned())) is None


# -- the checklist ---------------------------------------------------------------------------------

PASSED, FAILED, WARNED, _ = CheckResult
OBSTACLE = replace(UNTOUCHED, obstacle="it deploys to another cluster")
OFF = replace(UNTOUCHED, is_suspended=True, automated="")
UNSEEN = Missing(Reason.READ_FAILED, "no answer")
ITEMS: dict[str, tuple[Owner | None, OwnerPlan | None, Any, CheckResult, str]] = {
    "nobody": (None, None, None, PASSED, "no GitOps owner"),
    "gone since": (None, PLAN, None, PASSED, "no GitOps owner"),
    "come since": (ARGO, None, None, FAILED, "manages this Deployment"),
    "another than planned": (FLUX, PLAN, UNTOUCHED, FAILED, "Flux Kustomization manages"),
    "to be suspended": (
        ARGO,
        PLAN,
        UNTOUCHED,
        PASSED,
        "argocd/shop is suspended before the rollback",
    ),
    "already suspended": (ARGO, PLAN, OFF, PASSED, "is already suspended"),
    "suspended, whatever stands against it": (
        ARGO,
        PLAN,
        replace(OFF, obstacle="it would be turned on again"),
        PASSED,
        "is already suspended",
    ),
    "suspended, but somebody else's": (
        ARGO,
        PLAN,
        replace(OFF, obstacle="it does not name the Deployment", is_proved=False),
        FAILED,
        "does not name",
    ),
    "cannot be suspended": (ARGO, PLAN, OBSTACLE, FAILED, "another cluster"),
    "not seen": (ARGO, PLAN, UNSEEN, WARNED, "could not be read: no answer"),
    "proceeds": (ARGO, gitops.planned(ARGO, PROCEED), None, WARNED, "may revert the rollback"),
}


def item(owner: Owner | None, plan: OwnerPlan | None, found: Any) -> CheckItem:
    facts = ChecklistFacts(make_rollback(owner=plan), owned(owner), at(20), owner=found)
    return checks.nobody_else(facts)


@pytest.mark.parametrize(("owner", "plan", "found", "result", "said"), ITEMS.values(), ids=ITEMS)
def test_the_checklist_sees_whether_owners_are_dealt_with(
    owner: Owner | None, plan: OwnerPlan | None, found: Any, result: CheckResult, said: str
) -> None:
    made = item(owner, plan, found)
    assert (made.result, said in made.message) == (result, True), made
    blocks = Consequence.BLOCK if result is FAILED else Consequence.PROCEED
    assert made.consequence is blocks


@pytest.mark.parametrize("response", [REFUSE, PROCEED])
def test_what_the_policy_says_by_now_counts(response: GitOps) -> None:
    policy = with_git_ops(response)
    facts = ChecklistFacts(make_rollback(owner=PLAN), owned(), at(20), policy, owner=UNTOUCHED)
    assert checks.nobody_else(facts).consequence is Consequence.BLOCK


def test_an_owner_that_is_dealt_with_hides_no_pause() -> None:
    facts = ChecklistFacts(make_rollback(owner=PLAN), owned(paused=True), at(20), owner=UNTOUCHED)
    assert checks.nobody_else(facts).consequence is Consequence.BLOCK


# -- on record -------------------------------------------------------------------------------------

OURS = replace(OFF, is_ours=True, suspended_for="production/ticket-service-0123456789")
THEIRS = replace(OURS, suspended_for="production/another")
RECORD = OwnerRecord(namespace="argocd", automated='{"selfHeal": true}')
SUSPENDED = RECORD.model_copy(update={"suspended_time": at(12)})
RECORDS: dict[str, tuple[OwnerRecord | None, OwnerState, OwnerRecord]] = {
    "as it was": (None, UNTOUCHED, RECORD),
    "changed since": (
        RECORD,
        replace(UNTOUCHED, automated="{}"),
        OwnerRecord(namespace="argocd", automated="{}"),
    ),
    "suspended by somebody": (None, OFF, OwnerRecord(namespace="argocd", was_suspended=True)),
    "suspended by us, killed before that was stored": (RECORD, OURS, RECORD),
    "and its mark was taken off": (RECORD, replace(OURS, suspended_for=""), RECORD),
    "suspended for another rollback": (
        None,
        THEIRS,
        OwnerRecord(namespace="argocd", was_suspended=True),
    ),
    "suspended by somebody in between": (
        RECORD,
        OFF,
        RECORD.model_copy(update={"was_suspended": True}),
    ),
}


def recorded(record: OwnerRecord | None, **status: Any) -> Rollback:
    steps = [make_step(StepName.SUSPEND_OWNER, 11, 12), make_step(StepName.UNDO, 12, 13)]
    fields = {"owner": record, "steps": steps} | status
    return make_rollback(status=RollbackStatus(**fields), owner=PLAN)


@pytest.mark.parametrize(("known", "found", "expected"), RECORDS.values(), ids=RECORDS)
def test_what_an_owner_was_is_on_record_before_it_is_touched(
    known: OwnerRecord | None, found: OwnerState, expected: OwnerRecord
) -> None:
    assert suspension.recorded(recorded(known), found) == expected


def test_how_to_release_is_said_with_what_was_before() -> None:
    record, told = suspension.suspended(recorded(RECORD), RECORD, at(12))

    assert record == SUSPENDED
    assert (told.type, told.status, told.reason) == (
        ConditionType.OWNER_SUSPENDED,
        "True",
        Reason.SUSPENDED_FOR_ROLLBACK,
    )
    assert "Argo CD: Application argocd/shop is suspended for this rollback" in told.message
    _, _, patch = told.message.partition("-p ")
    assert json.loads(patch.strip("'")) == {
        "metadata": {"annotations": {suspension.SUSPENDED_BY: None}},
        "spec": {"syncPolicy": {"automated": {"selfHeal": True}}},
    }


def test_flux_is_released_by_its_own_command() -> None:
    rollback = make_rollback(owner=gitops.planned(FLUX, SUSPEND))
    said = suspension.suspension_message(rollback, OwnerRecord(namespace="flux-system"))
    assert said.endswith(": flux resume kustomization shop -n flux-system")


def test_what_somebody_else_had_suspended_is_no_suspension_of_ours() -> None:
    record, told = suspension.suspended(
        recorded(None), OwnerRecord(namespace="argocd", was_suspended=True), at(12)
    )
    assert (record.is_open, told.reason) == (False, Reason.SUSPENDED_BEFORE)
    assert "stays suspended" in told.message


# -- reverted --------------------------------------------------------------------------------------

BAD = make_deployment("v2", owner=ARGO, changed_by="argocd-controller")
GOOD = make_deployment("v1", owner=ARGO)
DONE = RollbackStatus(steps=[make_step(StepName.UNDO, 11, 12), make_step(StepName.VERIFY, 12)])
OPEN = RollbackStatus(steps=[make_step(StepName.UNDO, 11)])
SCALED = RollbackStatus(steps=[make_step(StepName.SCALE, 11, 12)])
ANNOTATED = make_template("v2", digest="digest-v2-annotated")
REVERTS = {
    "the bad release is back": (DONE, {}, BAD, True),
    "with another annotation": (DONE, {}, replace(BAD, template=ANNOTATED), True),
    "the undo has not been made": (OPEN, {}, BAD, False),
    "nothing has begun": (RollbackStatus(), {}, BAD, False),
    "what was restored runs": (DONE, {}, GOOD, False),
    "something new runs": (DONE, {}, make_deployment("v3"), False),
    "fewer replicas": (SCALED, {"remedy": SCALE, "to_revision": None}, BAD, True),
    "more replicas": (
        SCALED,
        {"remedy": SCALE, "to_revision": None},
        replace(BAD, replicas=7),
        False,
    ),
}


@pytest.mark.parametrize(("status", "spec", "found", "expected"), REVERTS.values(), ids=REVERTS)
def test_an_act_that_is_reverted_is_told_from_a_newer_release(
    status: RollbackStatus, spec: dict[str, Any], found: Any, *, expected: bool
) -> None:
    rollback = make_rollback(status=status, owner=PLAN, **spec)

    assert gitops.is_reverted(rollback, found) is expected
    if expected:
        end = comparison.compare(rollback, StepName.VERIFY, found, at(14))
        assert isinstance(end, progress.RollbackEnd)
        assert (end.outcome, end.reason) == (Outcome.FAILED, Reason.UNDO_REVERTED)
        assert "was reverted by argocd-controller (Argo CD manages the Deployment)" in end.message


def test_who_reverted_need_not_be_known() -> None:
    said = gitops.reverted(make_rollback(status=DONE), make_deployment("v2"))
    assert said.startswith(
        "the undo was reverted by another client and the bad release is running again"
    )


def test_what_was_reverted_is_not_done_again() -> None:
    first = make_rollback("first", RollbackStatus(outcome=Outcome.FAILED, finished_time=at(14)))
    workload = owned(changed_by="argocd-controller")
    case = make_case(with_git_ops(PROCEED), workload, rollbacks=[first])

    found = make_plan(case, case.policy.spec.matrix[0], make_trigger_record(), at(20))

    assert isinstance(found, Refusal)
    assert found.reason is Reason.COOLDOWN_ACTIVE
    assert "it has come back, deployed by argocd-controller" in found.message


# -- released --------------------------------------------------------------------------------------

ENDED = {"outcome": Outcome.VERIFIED, "finished_time": at(60)}
IN_SYNC = replace(OURS, in_sync_at=T0 + 100)
RELEASES = {
    "Git contains the restored state": (recorded(SUSPENDED, **ENDED), IN_SYNC, GOOD, True),
    "Git wants a fix, and it was synced by hand": (
        recorded(SUSPENDED, **ENDED),
        IN_SYNC,
        make_deployment("v3"),
        True,
    ),
    "Git wants something else": (recorded(SUSPENDED, **ENDED), OURS, GOOD, False),
    "the rollback goes on": (recorded(SUSPENDED), IN_SYNC, GOOD, False),
    "compared before the undo": (
        recorded(SUSPENDED, **ENDED),
        replace(OURS, in_sync_at=T0 + 13),
        GOOD,
        False,
    ),
    "the bad release runs": (recorded(SUSPENDED, **ENDED), IN_SYNC, BAD, False),
    "nothing was done": (
        make_rollback(
            status=RollbackStatus(
                owner=SUSPENDED, steps=[make_step(StepName.SUSPEND_OWNER, 11, 12)], **ENDED
            ),
            owner=PLAN,
        ),
        IN_SYNC,
        GOOD,
        False,
    ),
}


@pytest.mark.parametrize(("rollback", "found", "runs", "expected"), RELEASES.values(), ids=RELEASES)
def test_an_owner_goes_on_only_when_nothing_changes_by_it(
    rollback: Rollback, found: OwnerState, runs: Any, *, expected: bool
) -> None:
    assert bool(suspension.release(rollback, found, runs)) is expected


TAKEN_OVER = {
    "still ours": (OURS, ""),
    "its mark was taken off by an ApplicationSet": (replace(OURS, suspended_for=""), ""),
    "released": (UNTOUCHED, "another client resumed it"),
    "suspended by somebody since": (OFF, "another client"),
    "suspended for another rollback": (THEIRS, "another client"),
    "it went on in between": (replace(OURS, auto_synced=T0 + 40), "another client"),
    "a sync that had begun before": (replace(OURS, auto_synced=T0 + 11), ""),
}


@pytest.mark.parametrize(("found", "said"), TAKEN_OVER.values(), ids=TAKEN_OVER)
def test_nobody_else_s_suspension_is_lifted(found: OwnerState, said: str) -> None:
    assert suspension.taken_over(recorded(SUSPENDED, **ENDED), found)[: len(said) or None] == said


def test_a_release_is_on_record_before_it_is_made() -> None:
    rollback = recorded(SUSPENDED, **ENDED)
    begun, nothing = suspension.released(rollback, "Git contains the restored state", None)
    assert (begun.is_open, begun.release_message, nothing) == (
        True,
        "Git contains the restored state",
        None,
    )
    # Killed now, the next leader finds it released, and knows why.
    found = rollback.model_copy(
        update={"status": rollback.status.model_copy(update={"owner": begun})}
    )
    assert suspension.taken_over(found, UNTOUCHED) == "Git contains the restored state"

    done, told = suspension.released(found, "Git contains the restored state", at(120))
    assert (done.is_open, done.released_time) == (False, at(120))
    assert told is not None
    assert (told.status, told.reason) == ("False", Reason.OWNER_RELEASED)
