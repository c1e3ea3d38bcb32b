"""Deployments that Argo CD and Flux steer: suspended first, acted on all the same, or refused.

The controllers are simulated, their CRDs and all that the operator does are real.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.access import wait_for_crds
from tests.gitops.controller import AUTOMATED, ArgoCD, Controller, Flux
from tests.integration.api import ApiError, Object, eventually, throughout
from tests.integration.conftest import RunningOperator
from tests.integration.service import REPOSITORY, Service, outcome, steps
from tests.integration.stand import HOME, PATHS, Stand, rights
from tests.integration.test_crash_walk import is_act
from tests.integration.traffic import BAD, GOOD
from tests.sizes import rows_of

pytestmark = [
    pytest.mark.xdist_group("gitops"),
    pytest.mark.usefixtures("installed", "operator"),
    pytest.mark.timeout(1200),
]

CRDS = Path(__file__).parents[1] / "gitops" / "crds.yaml"
SUSPENDED_BY = "rollback.tickettoken.io/suspended-by"
SUSPEND, PROCEED = {"gitOps": "Suspend"}, {"gitOps": "Proceed"}
FIGHT_SECONDS = 6.0
"""Twice over, a controller would have been fought."""


@pytest.fixture(scope="module")
def installed(stand: Stand) -> None:
    """Argo CD's and Flux's CRDs, and the chart's rights to their objects."""
    install(stand)
    where = {"argoCD": {"namespaces": ["argocd"]}, "flux": {"namespaces": ["flux-system"]}}
    for one in rights(HOME, gitOps=where):
        namespace = one["metadata"].get("namespace", HOME)
        if namespace != HOME:
            stand.api.create(PATHS[one["kind"]].format(namespace), dict(one))


def install(stand: Stand) -> None:
    stand.cluster.kubectl("apply", "--server-side", "-f", str(CRDS))
    names = ("applications.argoproj.io", "kustomizations.kustomize.toolkit.fluxcd.io")
    wait_for_crds(stand.cluster.kubectl, names)


@pytest.fixture
def argo_cd(service: Service) -> Iterator[ArgoCD]:
    service.deploy()
    with ArgoCD(**steering(service)) as found:
        adopt(service, found)
        yield found


@pytest.fixture
def flux(service: Service) -> Iterator[Flux]:
    service.deploy()
    with Flux(**steering(service)) as found:
        adopt(service, found)
        yield found


def steering(service: Service) -> dict[str, Any]:
    return {
        "api": service.stand.api,
        "name": service.namespace,
        "namespace": service.namespace,
        "deployment": service.name,
        "container": "shop",
        "image": image("v1"),
    }


def adopt(service: Service, controller: Controller) -> None:
    """Wait until the Deployment is the controller's, and give it a past."""
    eventually(lambda: controller.applied, "the controller has applied")
    service.wait_for_rollout()
    service.remember()


def image(version: str) -> str:
    return f"{REPOSITORY}:{version}"


def release(service: Service, controller: Controller, version: str) -> None:
    """Push a bad release through Git."""
    service.flow(version, BAD)
    controller.commit(image(version))
    eventually(lambda: service.image == version, f"{version} is rolled out", 30.0)


def condition(rollback: Object, kind: str) -> Object:
    found = rollback["status"]["conditions"]
    return next((one for one in found if one["type"] == kind), {})


def newest(service: Service) -> Object:
    return service.rollbacks()[-1]


def wait_for_release(service: Service, seconds: float = 90.0) -> Object:
    """Wait until it is on record that the owner goes on; the Rollback."""

    def probe() -> Object | None:
        found = newest(service)
        return found if condition(found, "OwnerSuspended").get("status") == "False" else None

    return eventually(probe, f"{service.namespace}: its owner is released", seconds)


def undos(operator: RunningOperator, service: Service) -> int:
    """Count changes of the template: the strategy is put back besides."""
    return sum(map(is_act, operator.proxy.acts_on_deployments(service.namespace)))


def writes_to_owners(operator: RunningOperator, name: str) -> int:
    kinds = ("applications", "kustomizations")
    calls = operator.proxy.calls
    return sum(one.is_write and one.resource in kinds and one.name == name for one in calls)


# -- Suspend ---------------------------------------------------------------------------------------


def test_an_application_is_suspended_until_git_wants_what_runs(
    service: Service, argo_cd: ArgoCD, operator: RunningOperator
) -> None:
    service.adopt(safety=SUSPEND)
    ready = service.condition("Ready")
    assert (ready["status"], ready["reason"]) == ("True", "GitOpsOwner")
    assert "is suspended before a rollback" in ready["message"]

    release(service, argo_cd, "v2")

    rollback = service.wait_for_rollback(90.0)
    assert outcome(rollback) == ("Verified", "Recovered"), service.told()
    assert steps(rollback)[:2] == ["SuspendOwner", "Undo"]
    owner = rollback["status"]["owner"]
    assert (owner["namespace"], json.loads(owner["automated"])) == ("argocd", AUTOMATED)
    suspended = argo_cd.object()
    assert "automated" not in suspended["spec"]["syncPolicy"]
    assert suspended["spec"]["syncPolicy"]["syncOptions"] == ["ServerSideApply=true"]
    name = f"{service.namespace}/{rollback['metadata']['name']}"
    assert suspended["metadata"]["annotations"][SUSPENDED_BY] == name
    said = condition(rollback, "OwnerSuspended")["message"]
    assert f"kubectl patch applications.argoproj.io {argo_cd.name} -n argocd" in said
    assert said in service.wait_for_event("OwnerSuspended")
    assert said.rpartition("-p ")[2] in rollback["status"]["message"]
    # Git still wants the bad release, so nothing is released, and the undo stays.
    throughout(FIGHT_SECONDS, lambda: service.image != "v1" or argo_cd.applies(argo_cd.object()))

    argo_cd.commit(image("v1"))

    released = wait_for_release(service)
    assert released["status"]["owner"]["releaseMessage"] == "Git contains the restored state"
    assert argo_cd.object()["spec"]["syncPolicy"]["automated"] == AUTOMATED
    assert SUSPENDED_BY not in argo_cd.object()["metadata"].get("annotations", {})
    assert service.wait_for_event("OwnerReleased")
    assert service.image == "v1"
    assert undos(operator, service) == 1
    assert writes_to_owners(operator, argo_cd.name) == 2 + conflicts(operator, argo_cd.name)


def conflicts(operator: RunningOperator, name: str) -> int:
    """Count writes that the API server refused since the controller had written in between."""
    calls = operator.proxy.calls
    return sum(
        one.resource == "applications" and one.name == name and one.status == 422 for one in calls
    )


@pytest.mark.extended
def test_the_command_that_is_told_releases(service: Service, argo_cd: ArgoCD) -> None:
    service.adopt(safety=SUSPEND)
    release(service, argo_cd, "v2")
    rollback = service.wait_for_rollback(90.0)
    assert outcome(rollback)[0] == "Verified", service.told()
    said = condition(rollback, "OwnerSuspended")["message"]
    command = said[said.index("kubectl patch") :]
    words, _, patch = command.partition(" -p ")

    service.stand.cluster.kubectl(*words.split()[1:], "-p", patch.strip("'"))

    assert argo_cd.object()["spec"]["syncPolicy"]["automated"] == AUTOMATED
    released = wait_for_release(service)
    assert "another client resumed it" in released["status"]["owner"]["releaseMessage"]
    # Git was not put right: the release is back, told with who brought it, and not fought.
    eventually(lambda: service.image == "v2", "the bad release is back")
    told = service.wait_for("Quarantined", "ReleaseInQuarantine")["message"]
    assert "deployed by argocd-controller" in told


@pytest.mark.extended
def test_a_kustomization_is_suspended_until_a_person_resumes_it(
    service: Service, flux: Flux
) -> None:
    service.adopt(safety=SUSPEND)
    release(service, flux, "v2")

    rollback = service.wait_for_rollback(90.0)
    assert outcome(rollback) == ("Verified", "Recovered"), service.told()
    assert flux.object()["spec"]["suspend"] is True
    said = condition(rollback, "OwnerSuspended")["message"]
    assert said.endswith(f"flux resume kustomization {flux.name} -n flux-system")
    throughout(FIGHT_SECONDS, lambda: service.image != "v1")

    flux.commit(image("v1"))
    service.stand.api.merge(flux.path, {"spec": {"suspend": False}})

    released = wait_for_release(service)
    assert "another client resumed it" in released["status"]["owner"]["releaseMessage"]
    assert service.image == "v1"


@pytest.mark.extended
def test_who_was_suspended_by_a_person_stays_so(
    service: Service, argo_cd: ArgoCD, operator: RunningOperator
) -> None:
    service.adopt(safety=SUSPEND)
    service.stand.api.merge(argo_cd.path, {"spec": {"syncPolicy": {"automated": None}}})
    service.flow("v2", BAD)
    argo_cd.commit(image("v2"))
    argo_cd.sync()

    rollback = service.wait_for_rollback(90.0)

    assert outcome(rollback) == ("Verified", "Recovered"), service.told()
    assert condition(rollback, "OwnerSuspended")["reason"] == "SuspendedBefore"
    argo_cd.commit(image("v1"))
    operator.wait_for_passes()
    assert "automated" not in argo_cd.object()["spec"]["syncPolicy"]
    assert writes_to_owners(operator, argo_cd.name) == 0


# -- what cannot be suspended ----------------------------------------------------------------------


def application_set(service: Service, **spec: Any) -> Object:
    path = "/apis/argoproj.io/v1alpha1/namespaces/argocd/applicationsets"
    body = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "ApplicationSet",
        "metadata": {"name": service.namespace, "namespace": "argocd"},
        "spec": {"generators": [], **spec},
    }
    return service.stand.api.create(path, body)


def blocked(service: Service) -> str:
    rollback = service.wait_for_rollback(90.0)
    assert outcome(rollback)[0] == "Blocked", service.told()
    assert service.image == "v2"
    (item,) = (one for one in rollback["status"]["checklist"] if one["name"] == "NobodyElseSteers")
    return str(item["message"])


@pytest.mark.extended
def test_what_an_application_set_would_turn_on_again_is_not_suspended(
    service: Service, operator: RunningOperator
) -> None:
    service.deploy()
    generator = application_set(service)
    with ArgoCD(**steering(service), generator=generator) as argo_cd:
        adopt(service, argo_cd)
        service.adopt(safety=SUSPEND)
        release(service, argo_cd, "v2")

        said = blocked(service)

    assert f"ApplicationSet {service.namespace} would turn auto-sync on again" in said
    assert "ignoreApplicationDifferences" in said
    assert writes_to_owners(operator, argo_cd.name) == 0


@pytest.mark.extended
def test_what_an_application_set_lets_be_is_suspended(service: Service) -> None:
    service.deploy()
    ignored = [{"jsonPointers": ["/spec/syncPolicy"]}]
    generator = application_set(service, ignoreApplicationDifferences=ignored)
    with ArgoCD(**steering(service), generator=generator) as argo_cd:
        adopt(service, argo_cd)
        service.adopt(safety=SUSPEND)
        release(service, argo_cd, "v2")

        rollback = service.wait_for_rollback(90.0)

        assert outcome(rollback) == ("Verified", "Recovered"), service.told()
        assert "automated" not in argo_cd.object()["spec"]["syncPolicy"]


FOREIGN: dict[str, tuple[str, dict[str, str], str]] = {
    "an absent CRD": (
        "labels",
        {"helm.toolkit.fluxcd.io/name": "shop", "helm.toolkit.fluxcd.io/namespace": "apps"},
        "there is no HelmRelease in this cluster: its CRD is not installed",
    ),
    "an absent object": (
        "annotations",
        {"argocd.argoproj.io/tracking-id": "nobody:apps/Deployment:x/shop"},
        '"nobody" not found',
    ),
    "no right": (
        "annotations",
        {"argocd.argoproj.io/tracking-id": "default_shop:apps/Deployment:x/shop"},
        "forbidden",
    ),
}


@pytest.mark.parametrize(("place", "marks", "said"), rows_of(FOREIGN, ["no right"]))
def test_each_reason_why_an_owner_is_not_suspended_is_told_apart(
    service: Service, place: str, marks: dict[str, str], said: str
) -> None:
    service.deploy()
    service.remember()
    for name, value in marks.items():
        service.mark(place, name, value)
    service.adopt(safety=SUSPEND)
    told = service.wait_for("Ready", "GitOpsOwner")
    assert (told["status"], said in told["message"]) == ("False", True), told

    service.roll_out("v2", BAD)

    assert said in blocked(service)


def test_a_label_gets_no_foreign_object_suspended(
    service: Service, make_service: Any, operator: RunningOperator
) -> None:
    victim = make_service()
    victim.deploy()
    with ArgoCD(**steering(victim)) as argo_cd:
        service.deploy()
        service.remember()
        tracked = f"{argo_cd.name}:apps/Deployment:{service.namespace}/{service.name}"
        service.mark("annotations", "argocd.argoproj.io/tracking-id", tracked)
        service.adopt(safety=SUSPEND)

        service.roll_out("v2", BAD)

        assert "does not name the Deployment among its resources" in blocked(service)
        assert argo_cd.object()["spec"]["syncPolicy"]["automated"] == AUTOMATED
    assert writes_to_owners(operator, argo_cd.name) == 0


# -- Refuse and Proceed ----------------------------------------------------------------------------


def test_by_default_a_steered_deployment_is_left_alone_and_that_is_told(
    service: Service, argo_cd: ArgoCD, operator: RunningOperator
) -> None:
    service.adopt()
    assert service.reason("Ready") == ("False", "GitOpsOwner")
    release(service, argo_cd, "v2")

    said = service.wait_for("Healthy", "GitOpsOwner")["message"]

    assert "set spec.safety.gitOps to Suspend" in said
    assert "Argo CD" in service.wait_for_event("RollbackRefused")
    assert (service.image, service.rollbacks()) == ("v2", [])
    assert operator.proxy.changes_of_deployments(service.namespace) == []
    assert writes_to_owners(operator, argo_cd.name) == 0


@pytest.mark.parametrize("which", ["argo_cd", pytest.param("flux", marks=pytest.mark.extended)])
def test_an_undo_that_is_reverted_is_told_and_not_fought(
    service: Service, request: pytest.FixtureRequest, operator: RunningOperator, which: str
) -> None:
    controller: Controller = request.getfixturevalue(which)
    service.adopt(safety=PROCEED)
    release(service, controller, "v2")

    rollback = service.wait_for_rollback(90.0)

    assert outcome(rollback) == ("Failed", "UndoReverted"), service.told()
    said = condition(rollback, "Complete")["message"]
    assert f"the undo was reverted by {controller.MANAGER}" in said
    assert "REVERTED" in rollback["status"]["message"]
    assert service.wait_for("Recovered", "UndoReverted")["status"] == "False"
    assert f"reverted by {controller.MANAGER}" in service.wait_for_event("RollbackFinished")
    refused = service.wait_for("Healthy", "CooldownActive")["message"]
    assert f"deployed by {controller.MANAGER}" in refused
    throughout(FIGHT_SECONDS, lambda: len(service.rollbacks()) != 1)
    assert service.image == "v2"
    assert undos(operator, service) == 1
    assert controller.applied[-2:] == [image("v2"), image("v2")]
    # Fixed at its source, it is over.
    service.flow("v3", GOOD)
    controller.commit(image("v3"))
    service.wait_for("Recovered", "NotRolledBack")


def test_only_known_answers_are_taken(service: Service) -> None:
    with pytest.raises(ApiError, match=r"spec\.safety\.gitOps"):
        service.watch(safety={"gitOps": "Fight"})
