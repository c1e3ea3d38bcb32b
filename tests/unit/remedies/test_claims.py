"""What rollout tools and image updaters claim of a Deployment, and where people are told of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rollback_operator.api.checklist import CheckResult, Consequence
from rollback_operator.api.reasons import Reason
from rollback_operator.api.remedy import GitOps, UpdaterPlan
from rollback_operator.api.v1alpha1 import (
    Mode,
    Outcome,
    Remedy,
    RemedyType,
    RollbackStatus,
    SafetySpec,
)
from rollback_operator.decide.decide import make_plan
from rollback_operator.model.context import Refusal
from rollback_operator.model.controllers import Claims, Owner, Updater
from rollback_operator.model.samples import Missing
from rollback_operator.model.workload import Deployment
from rollback_operator.remedies import gitops
from rollback_operator.report import incident
from rollback_operator.report.readiness import Around, readiness
from rollback_operator.report.transitions import transition_named
from rollback_operator.rollback import checks
from rollback_operator.rollback.checks import ChecklistFacts
from tests.builders import (
    UNDO,
    at,
    make_case,
    make_deployment,
    make_policy,
    make_rollback,
    make_step,
    make_trigger_record,
    make_workload,
)

KEEL = Updater("Keel", "annotation keel.sh/policy=minor", "set keel.sh/policy to never")
FLUX = Updater("Flux image automation", "ImagePolicy flux-system/shop", "suspend it")
ARGO = Owner("Argo CD", "label x", "roll back in Git")
FLAGGER = Owner(
    "Flagger",
    "Canary shop, spec.targetRef",
    "roll back where the release comes from",
    is_rollout_tool=True,
    then=gitops.NEW_RELEASE,
)
TRACE = replace(FLAGGER, evidence="spec.replicas owned by flagger", is_trace=True, behind=ARGO)


def deployment(owner: Owner | None = None, *updaters: Updater, **changes: int) -> Deployment:
    return make_deployment(owner=owner, updaters=updaters, **changes)


# -- whose word counts -----------------------------------------------------------------------------

DENIED = Claims(denied=frozenset({"Flagger"}))


@pytest.mark.parametrize(
    ("left", "said", "expected"),
    [
        (None, Claims(), None),
        (ARGO, Claims(), ARGO),
        (ARGO, Claims(driver=FLAGGER), FLAGGER),
        (TRACE, Claims(driver=FLAGGER), FLAGGER),
        (TRACE, Claims(), TRACE),
        (TRACE, Claims(denied=frozenset({"Argo Rollouts"})), TRACE),
        (TRACE, DENIED, ARGO),
        (replace(TRACE, behind=None), DENIED, None),
        # An ownerReference is no trace.
        (replace(FLAGGER, evidence="ownerReference"), DENIED, "itself"),
    ],
)
def test_a_tools_own_object_counts_more_than_what_it_has_left(
    left: Owner | None, said: Claims, expected: Owner | str | None
) -> None:
    found = gitops.claimed(deployment(left), said).owner

    assert found == (left if expected == "itself" else expected)


def test_an_updater_is_told_once_whoever_has_seen_it() -> None:
    once = gitops.claimed(deployment(None, KEEL), Claims(updaters=(FLUX,)))
    twice = gitops.claimed(once, Claims(updaters=(KEEL, FLUX)))

    assert once.updaters == twice.updaters == (KEEL, FLUX)


def test_what_several_say_is_put_together() -> None:
    found = gitops.joined(
        (
            DENIED,
            Claims(driver=FLAGGER, unseen=("a",)),
            Claims(updaters=(KEEL,), unseen=("b",)),
            Claims(updaters=(FLUX,)),
        )
    )

    assert found == Claims(FLAGGER, (KEEL, FLUX), frozenset({"Flagger"}), ("a", "b"))


# -- a rollout tool is not fought ------------------------------------------------------------------


@pytest.mark.parametrize("response", list(GitOps))
@pytest.mark.parametrize("owner", [FLAGGER, TRACE])
def test_what_a_rollout_tool_drives_is_never_undone(owner: Owner, response: GitOps) -> None:
    policy = make_policy(safety=SafetySpec(git_ops=response))
    workload = make_workload(deployment=deployment(owner))
    case = make_case(policy, workload)

    found = make_plan(case, policy.spec.matrix[0], make_trigger_record(), at(20))
    ready = readiness(policy, workload.deployment, Around())

    assert isinstance(found, Refusal)
    assert found.reason is Reason.ROLLOUT_OWNER
    assert "would treat a rollback as a new release: roll back where" in found.message
    assert (ready.status, ready.reason) == ("False", Reason.ROLLOUT_OWNER)


def test_who_has_scaled_the_deployment_to_zero_is_named() -> None:
    found = readiness(make_policy(), deployment(FLAGGER, replicas=0), Around())

    assert found.reason == Reason.TARGET_SCALED_TO_ZERO
    assert "Flagger controls it (Canary shop, spec.targetRef)" in found.message


def test_a_canary_that_has_come_since_the_decision_blocks() -> None:
    facts = ChecklistFacts(make_rollback(), make_workload(deployment=deployment(FLAGGER)), at(20))

    found = checks.nobody_else(facts)

    assert (found.result, found.consequence) == (CheckResult.FAILED, Consequence.BLOCK)
    assert "Flagger manages this Deployment" in found.message


# -- an image updater is told ----------------------------------------------------------------------


def test_an_updater_is_told_from_the_beginning() -> None:
    found = readiness(make_policy(), deployment(None, KEEL), Around())

    assert (found.status, found.reason) == ("True", Reason.IMAGE_UPDATER)
    assert found.message == (
        "Keel updates images of this Deployment (annotation keel.sh/policy=minor) and may deploy "
        "the bad image again: set keel.sh/policy to never"
    )


def test_an_updater_is_told_beside_what_else_there_is_to_tell() -> None:
    proceeds = make_policy(safety=SafetySpec(git_ops=GitOps.PROCEED))

    owned = readiness(proceeds, deployment(ARGO, KEEL), Around())
    single = readiness(make_policy(), deployment(None, KEEL, replicas=1), Around())
    observed = readiness(make_policy(mode=Mode.OBSERVE), deployment(None, KEEL), Around())

    assert owned.reason == Reason.GITOPS_OWNER
    assert "may revert a rollback" in owned.message
    assert "Keel updates images" in owned.message
    assert "Keel updates images" in single.message
    assert "one replica" in single.message
    assert observed.reason == Reason.WATCHING_TARGET


def test_an_updater_stops_nothing_and_goes_on_record() -> None:
    policy = make_policy()
    workload = make_workload(deployment=deployment(None, KEEL, FLUX))

    found = make_plan(
        make_case(policy, workload), policy.spec.matrix[0], make_trigger_record(), at(20)
    )

    assert not isinstance(found, Refusal)
    assert found.updaters == [
        UpdaterPlan(tool="Keel", advice=KEEL.remedy),
        UpdaterPlan(tool="Flux image automation", advice="suspend it"),
    ]


@pytest.mark.parametrize(
    ("said", "updaters", "result", "message"),
    [
        (Claims(), (), CheckResult.PASSED, "no GitOps owner"),
        (None, (), CheckResult.PASSED, "no GitOps owner"),
        (Claims(), (KEEL,), CheckResult.WARNED, "Keel updates images of this Deployment"),
        (Claims(unseen=("Canaries (403)",)), (), CheckResult.WARNED, "not read: Canaries (403)"),
        (
            Missing(Reason.READ_FAILED, "it was not read within 2 s"),
            (),
            CheckResult.WARNED,
            "not read: it was not read within 2 s",
        ),
    ],
    ids=["nobody", "not checked", "an updater", "no right", "too late"],
)
def test_the_checklist_tells_of_updaters_and_of_what_was_not_seen(
    said: Claims | Missing | None,
    updaters: tuple[Updater, ...],
    result: CheckResult,
    message: str,
) -> None:
    workload = make_workload(deployment=deployment(None, *updaters))

    found = checks.nobody_else(ChecklistFacts(make_rollback(), workload, at(20), claims=said))

    assert (found.result, found.consequence) == (result, Consequence.PROCEED)
    assert message in found.message


@pytest.mark.parametrize(
    ("remedy", "is_told"),
    [
        (UNDO, True),
        (Remedy(type=RemedyType.SCALE, replicas=6), False),
    ],
    ids=["undo", "scale"],
)
def test_the_message_at_the_end_says_what_keeps_the_image_out(
    remedy: Remedy, is_told: bool
) -> None:
    plan = UpdaterPlan(tool="Keel", advice="set keel.sh/policy to never")
    status = RollbackStatus(
        steps=[make_step("Undo", 10, 11)], outcome=Outcome.VERIFIED, finished_time=at(60)
    )
    rollback = make_rollback(status=status, remedy=remedy, updaters=[plan])

    found = incident.of_rollback(rollback, make_policy(), transition_named("Verified", at(60)))

    step = "Prevent Keel from deploying the image again: set keel.sh/policy to never"
    assert (step in found.next_steps) is is_told
