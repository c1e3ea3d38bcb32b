"""What GitOps controllers leave on a Deployment, and how their own objects are read."""

from __future__ import annotations

from typing import Any

import pytest

from rollback_operator.adapters.kube.projections.autoscalers import autoscaler_on
from rollback_operator.adapters.kube.projections.gitops import (
    SKIP_RECONCILE,
    application_of,
    flux_of,
    generator_of,
    manages,
)
from rollback_operator.adapters.kube.projections.owners import changed_by, owner_of
from rollback_operator.api.remedy import OwnerKind
from rollback_operator.api.v1alpha1 import FIELD_MANAGER
from rollback_operator.model.controllers import OwnedDeployment, OwnerObject
from rollback_operator.model.workload import Bounds
from rollback_operator.remedies.suspension import SUSPENDED_BY

APPLICATION, KUSTOMIZATION, HELM_RELEASE = OwnerKind
TRACKING, INSTANCE = "argocd.argoproj.io/tracking-id", "argocd.argoproj.io/instance"
SHOP = OwnedDeployment(OwnerObject(APPLICATION, "", "shop"), "production", "ticket-service")
HERE = {"server": "https://kubernetes.default.svc", "namespace": "production"}
ENTRY = {
    "group": "apps",
    "kind": "Deployment",
    "namespace": "production",
    "name": "ticket-service",
    "status": "Synced",
}


def fields(manager: str, *path: str, time: str = "2026-01-01T00:00:00Z") -> dict[str, Any]:
    owned: dict[str, Any] = {}
    for part in reversed(path):
        owned = {part: owned}
    return {"manager": manager, "operation": "Update", "time": time, "fieldsV1": owned}


def template(manager: str, **changes: Any) -> dict[str, Any]:
    return fields(manager, "f:spec", "f:template", "f:spec") | changes


# -- of the Deployment -----------------------------------------------------------------------------

OWNERS: dict[str, tuple[dict[str, Any], str, OwnerObject | None]] = {
    "a label of Argo CD": (
        {"labels": {INSTANCE: "shop"}},
        "Argo CD",
        OwnerObject(APPLICATION, "", "shop"),
    ),
    "an annotation of Argo CD": (
        {"annotations": {TRACKING: "shop:apps/Deployment:production/ticket-service"}},
        "Argo CD",
        OwnerObject(APPLICATION, "", "shop"),
    ),
    "an Application in another namespace": (
        {"annotations": {TRACKING: "team-a_shop:apps/Deployment:production/ticket-service"}},
        "Argo CD",
        OwnerObject(APPLICATION, "team-a", "shop"),
    ),
    "a Kustomization": (
        {
            "labels": {
                "kustomize.toolkit.fluxcd.io/name": "shop",
                "kustomize.toolkit.fluxcd.io/namespace": "flux-system",
            }
        },
        "Flux Kustomization",
        OwnerObject(KUSTOMIZATION, "flux-system", "shop"),
    ),
    "a Kustomization somewhere": (
        {"labels": {"kustomize.toolkit.fluxcd.io/name": "shop"}},
        "Flux Kustomization",
        None,
    ),
    "a HelmRelease, not Helm": (
        {
            "labels": {
                "helm.toolkit.fluxcd.io/name": "shop",
                "helm.toolkit.fluxcd.io/namespace": "apps",
            },
            "annotations": {"meta.helm.sh/release-name": "shop"},
        },
        "Flux HelmRelease",
        OwnerObject(HELM_RELEASE, "apps", "shop"),
    ),
    "Helm": ({"annotations": {"meta.helm.sh/release-name": "shop"}}, "Helm", None),
    "fields of Argo CD": ({"managedFields": [template("argocd-controller")]}, "Argo CD", None),
    "fields of Flux": ({"managedFields": [template("kustomize-controller")]}, "Flux", None),
}


@pytest.mark.parametrize(("metadata", "tool", "expected"), OWNERS.values(), ids=OWNERS)
def test_an_owner_is_known_by_what_it_leaves(
    metadata: dict[str, Any], tool: str, expected: OwnerObject | None
) -> None:
    found = owner_of(metadata)
    assert found is not None
    assert (found.kind, found.object) == (tool, expected)
    assert found.evidence
    assert found.remedy


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"labels": {"app": "shop"}, "managedFields": [template("kubectl")]},
        {"managedFields": [fields("argocd-controller", "f:metadata", "f:labels")]},
        {"managedFields": [template("argocd-controller", subresource="scale")]},
    ],
)
def test_nobody_is_found_where_nobody_is(metadata: dict[str, Any]) -> None:
    assert owner_of(metadata) is None


@pytest.mark.parametrize(
    ("manager", "tool"), [("flagger", "Flagger"), ("rollouts-controller", "Argo Rollouts")]
)
def test_a_rollout_tool_is_known_by_the_replicas_that_it_sets(manager: str, tool: str) -> None:
    scaled = fields(manager, "f:spec", "f:replicas")

    found = owner_of({"labels": {INSTANCE: "shop"}, "managedFields": [scaled]})

    assert found is not None
    assert (found.kind, found.is_rollout_tool, found.is_trace) == (tool, True, True)
    # What is behind it counts if its own objects name the Deployment no more.
    assert found.behind == owner_of({"labels": {INSTANCE: "shop"}})
    assert owner_of({"managedFields": [fields("kubectl", "f:spec", "f:replicas")]}) is None
    by_scale = {**scaled, "subresource": "scale"}
    assert owner_of({"managedFields": [by_scale]}) is None


def test_the_newest_owner_of_the_template_has_changed_it() -> None:
    entries = [
        template("argocd-controller", time="2026-01-01T00:00:09Z"),
        template(FIELD_MANAGER, time="2026-01-01T00:00:05Z"),
        fields("kubectl", "f:spec", "f:replicas", time="2026-01-01T00:00:30Z"),
    ]
    assert changed_by({"managedFields": entries}) == "argocd-controller"
    assert changed_by({"managedFields": entries[2:]}) == ""
    assert changed_by({}) == ""


# -- Applications ----------------------------------------------------------------------------------


def application(
    annotations: dict[str, str] | None = None, status: dict[str, Any] | None = None, **spec: Any
) -> dict[str, Any]:
    fields = {"destination": HERE, "syncPolicy": {"automated": {"selfHeal": True}}}
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "metadata": {
            "name": "shop",
            "namespace": "argocd",
            "resourceVersion": "7",
            "annotations": annotations or {},
        },
        "spec": fields | spec,
        "status": {
            "sync": {"status": "Synced"},
            "reconciledAt": "2026-01-01T00:00:00Z",
            "resources": [ENTRY],
            **(status or {}),
        },
    }


def app_set(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "shops"}, "spec": spec}


MARK = {SUSPENDED_BY: "production/shop-1"}
STATES: dict[str, tuple[dict[str, Any], bool, bool, str]] = {
    "applies by itself": (application(), False, False, '{"selfHeal": true}'),
    "never did": (application(syncPolicy=None), True, False, ""),
    "was stopped by somebody": (application(syncPolicy={}), True, False, ""),
    "is turned off": (
        application(syncPolicy={"automated": {"enabled": False}}),
        True,
        False,
        '{"enabled": false}',
    ),
    "is skipped": (
        application({SKIP_RECONCILE: "true"}),
        True,
        False,
        '{"selfHeal": true}',
    ),
    "is suspended by us": (application(MARK, syncPolicy={"retry": {}}), True, True, ""),
    "was turned on again": (application(MARK), False, False, '{"selfHeal": true}'),
}


@pytest.mark.parametrize(("raw", "off", "ours", "stored"), STATES.values(), ids=STATES)
def test_an_application_is_read(raw: dict[str, Any], off: Any, ours: Any, stored: str) -> None:
    found = application_of(raw, None, SHOP)
    assert (found.is_suspended, found.is_ours, found.automated) == (off, ours, stored)
    assert (found.namespace, found.version, found.obstacle) == ("argocd", "7", "")


OBSTACLES: dict[str, tuple[dict[str, Any], dict[str, Any] | None, str]] = {
    "another cluster": (
        application(destination={"server": "https://10.0.0.1"}),
        None,
        "another cluster",
    ),
    "another cluster by name": (application(destination={"name": "eu"}), None, "another cluster"),
    "by its name in Argo CD": (application(destination={"name": "in-cluster"}), None, ""),
    "not its resource": (application(status={"resources": []}), None, "does not name"),
    "another cluster, and not its resource": (
        application(destination={"server": "https://10.0.0.1"}, status={"resources": []}),
        None,
        "does not name",
    ),
    "somebody else's resource": (
        application(status={"resources": [ENTRY | {"namespace": "staging"}]}),
        None,
        "does not name",
    ),
    "generated": (application(), app_set(), "ApplicationSet shops would turn auto-sync on"),
    "generated, and let be": (
        application(),
        app_set(ignoreApplicationDifferences=[{"jsonPointers": ["/spec/syncPolicy"]}]),
        "",
    ),
    "another is let be": (
        application(),
        app_set(
            ignoreApplicationDifferences=[
                {"name": "other", "jsonPointers": ["/spec/syncPolicy/automated"]}
            ]
        ),
        "would turn auto-sync on",
    ),
    "generated once": (application(), app_set(syncPolicy={"applicationsSync": "create-only"}), ""),
    "updated too": (
        application(),
        app_set(syncPolicy={"applicationsSync": "create-update"}),
        "would turn auto-sync on",
    ),
    "too long": (
        application(syncPolicy={"automated": {"x": "y" * 2000}}),
        None,
        "too long",
    ),
}


@pytest.mark.parametrize(("raw", "generator", "said"), OBSTACLES.values(), ids=OBSTACLES)
def test_what_stands_against_suspending_an_application(
    raw: dict[str, Any], generator: dict[str, Any] | None, said: str
) -> None:
    state = application_of(raw, generator, SHOP)
    found = state.obstacle
    assert said in found
    assert bool(said) == bool(found)
    assert state.is_proved is ("does not name" not in found)
    assert manages(raw, SHOP) is (said not in ("another cluster", "does not name"))


def test_a_generated_application_loses_its_mark_and_is_ours_all_the_same() -> None:
    raw = application(syncPolicy={})
    generator = app_set(ignoreApplicationDifferences=[{"jsonPointers": ["/spec/syncPolicy"]}])
    found = application_of(raw, generator, SHOP)
    assert (found.is_ours, found.suspended_for) == (True, "")


def test_the_generator_is_the_one_that_owns_it() -> None:
    raw = application()
    assert generator_of(raw) == ""
    raw["metadata"]["ownerReferences"] = [{"kind": "ApplicationSet", "name": "shops"}]
    assert generator_of(raw) == "shops"


NEW_YEAR = 1767225600.0
SYNCS: dict[str, tuple[dict[str, Any], float | None, float | None]] = {
    "in sync": ({}, NEW_YEAR, None),
    "something of it is not": ({"sync": {"status": "OutOfSync"}}, None, None),
    "the Deployment is not": ({"resources": [ENTRY | {"status": "OutOfSync"}]}, None, None),
    "never compared": ({"reconciledAt": None}, None, None),
    "no time": ({"reconciledAt": "soon"}, None, None),
    "synced by itself": (
        {
            "operationState": {
                "startedAt": "2026-01-01T00:00:05Z",
                "operation": {"initiatedBy": {"automated": True}},
            }
        },
        NEW_YEAR,
        NEW_YEAR + 5,
    ),
    "synced by a person, and by itself before": (
        {
            "operationState": {
                "startedAt": "2026-01-01T00:00:09Z",
                "operation": {"initiatedBy": {"username": "jane"}},
            },
            "history": [
                {
                    "deployStartedAt": "2026-01-01T00:00:03Z",
                    "initiatedBy": {"automated": True},
                }
            ],
        },
        NEW_YEAR,
        NEW_YEAR + 3,
    ),
}


@pytest.mark.parametrize(("status", "in_sync", "synced"), SYNCS.values(), ids=SYNCS)
def test_when_an_application_was_in_sync_and_synced_by_itself(
    status: dict[str, Any], in_sync: float | None, synced: float | None
) -> None:
    found = application_of(application(status=status), None, SHOP)
    assert (found.in_sync_at, found.auto_synced) == (in_sync, synced)


# -- Flux ------------------------------------------------------------------------------------------

SUSPEND = ("f:spec", "f:suspend")


def flux(
    managers: tuple[str, ...] = (),
    status: dict[str, Any] | None = None,
    namespace: str = "production",
    **spec: Any,
) -> dict[str, Any]:
    entries = [{"id": "production_ticket-service_apps_Deployment", "v": "v1"}]
    return {
        "metadata": {
            "name": "shop",
            "namespace": namespace,
            "resourceVersion": "7",
            "annotations": MARK if managers else {},
            "managedFields": [fields(one, *SUSPEND) for one in managers],
        },
        "spec": spec,
        "status": {"inventory": {"entries": entries}} if status is None else status,
    }


def steered(kind: OwnerKind) -> OwnedDeployment:
    return OwnedDeployment(OwnerObject(kind, "production", "shop"), "production", "ticket-service")


FLUX: dict[str, tuple[OwnerKind, dict[str, Any], tuple[bool, bool], str]] = {
    "applies": (KUSTOMIZATION, flux(), (False, False), ""),
    "by somebody": (KUSTOMIZATION, flux(suspend=True), (True, False), ""),
    "by us": (KUSTOMIZATION, flux((FIELD_MANAGER,), suspend=True), (True, True), ""),
    "by somebody after us": (KUSTOMIZATION, flux(("flux",), suspend=True), (True, False), ""),
    "by somebody beside us": (
        KUSTOMIZATION,
        flux((FIELD_MANAGER, "kustomize-controller"), suspend=True),
        (True, False),
        "",
    ),
    "another cluster": (KUSTOMIZATION, flux(kubeConfig={"x": 1}), (False, False), "another"),
    "not in its inventory": (
        KUSTOMIZATION,
        flux(status={"inventory": {"entries": []}}),
        (False, False),
        "does not name",
    ),
    "no inventory yet": (KUSTOMIZATION, flux(status={}), (False, False), "does not name"),
    "a release that names it": (HELM_RELEASE, flux(), (False, False), ""),
    "a release without an inventory": (
        HELM_RELEASE,
        flux(status={}),
        (False, False),
        "update Flux, or set spec.safety.gitOps to Proceed",
    ),
    "a release into this namespace, without an inventory": (
        HELM_RELEASE,
        flux(status={}, namespace="flux-system", targetNamespace="production"),
        (False, False),
        "does not name",
    ),
    "another cluster is not told of what is not its own": (
        KUSTOMIZATION,
        flux(status={}, kubeConfig={"x": 1}),
        (False, False),
        "does not name",
    ),
    "suspended, and not proved": (
        KUSTOMIZATION,
        flux(status={}, suspend=True),
        (True, False),
        "does not name",
    ),
    "a release with an inventory": (
        HELM_RELEASE,
        flux(status={"inventory": {"entries": []}}),
        (False, False),
        "does not name",
    ),
}


@pytest.mark.parametrize(("kind", "raw", "suspended", "said"), FLUX.values(), ids=FLUX)
def test_an_object_of_flux_is_read(
    kind: OwnerKind, raw: dict[str, Any], suspended: tuple[bool, bool], said: str
) -> None:
    found = flux_of(raw, steered(kind))
    assert (found.is_suspended, found.is_ours) == suspended
    assert (said in found.obstacle, bool(said)) == (True, bool(found.obstacle))
    assert found.is_proved is ("does not name" not in found.obstacle)
    assert manages(raw, steered(kind)) is (not found.obstacle)


# -- of autoscalers --------------------------------------------------------------------------------


def autoscaler(
    name: str = "hpa", target: str = "ticket-service", **metadata: Any
) -> dict[str, Any]:
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": target}
    return {
        "metadata": {"name": name, "uid": f"uid-{name}", **metadata},
        "spec": {"scaleTargetRef": reference, "minReplicas": 2, "maxReplicas": 4},
    }


def test_who_scales_a_deployment_is_found_with_its_bounds() -> None:
    own = fields("kubectl-client-side-apply", "f:spec", "f:minReplicas")
    listed = [autoscaler("other", "basket"), autoscaler(managedFields=[own])]

    found = autoscaler_on(listed, "ticket-service")

    assert found is not None
    assert (found.name, found.uid, found.bounds) == ("hpa", "uid-hpa", Bounds(2, 4))
    assert (found.owner, found.rivals) == ("", ())
    assert (found.set_by, found.is_ours) == ("kubectl-client-side-apply", False)
    assert autoscaler_on(listed[:1], "ticket-service") is None


def test_two_that_scale_the_same_deployment_are_told() -> None:
    found = autoscaler_on([autoscaler("a"), autoscaler("b")], "ticket-service")
    assert found is not None
    assert (found.name, found.rivals) == ("a", ("b",))


@pytest.mark.parametrize(
    ("managers", "is_ours"),
    [
        pytest.param([FIELD_MANAGER], True, id="ours"),
        pytest.param([FIELD_MANAGER, "flux"], False, id="somebody says the same"),
        pytest.param(["kubectl-edit"], False, id="somebody else's"),
        pytest.param([], False, id="not known"),
    ],
)
def test_bounds_are_ours_if_nobody_else_owns_them(managers: list[str], is_ours: bool) -> None:
    owned = [fields(one, "f:spec", "f:minReplicas") for one in managers]
    upper = fields("somebody", "f:spec", "f:maxReplicas")
    found = autoscaler_on([autoscaler(managedFields=[*owned, upper])], "ticket-service")
    assert found is not None
    assert found.is_ours is is_ours
    assert found.set_by == ", ".join(sorted(managers))


SCALED = {"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "name": "shop"}


@pytest.mark.parametrize(
    ("metadata", "owner"),
    [
        pytest.param({"labels": {"scaledobject.keda.sh/name": "shop"}}, "KEDA", id="label"),
        pytest.param({"ownerReferences": [SCALED]}, "KEDA's ScaledObject shop", id="KEDA's"),
        pytest.param(
            {"ownerReferences": [{"kind": "Shop", "name": "x", "controller": True}]},
            "Shop x",
            id="another controller",
        ),
        pytest.param({"ownerReferences": [{"kind": "Shop", "name": "x"}]}, "", id="no controller"),
        pytest.param({"labels": {"app": "shop"}}, "", id="nobody"),
    ],
)
def test_who_steers_an_autoscaler_is_told(metadata: dict[str, Any], owner: str) -> None:
    found = autoscaler_on([autoscaler(**metadata)], "ticket-service")
    assert found is not None
    assert owner in found.owner
    assert bool(found.owner) is bool(owner)
