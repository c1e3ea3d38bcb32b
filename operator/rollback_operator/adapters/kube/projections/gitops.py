"""State of the objects through which GitOps controllers own Deployments.

An object counts only if it names the Deployment itself: any user who may patch the Deployment can
set its labels and annotations, and must not get an unrelated object suspended, or read about it.
"""

import json
from collections.abc import Mapping
from typing import Any

from rollback_operator.adapters.kube.projections.fields import managers_of, seconds_of
from rollback_operator.api.remedy import LONGEST_SYNC_POLICY, OwnerKind
from rollback_operator.api.v1alpha1 import FIELD_MANAGER
from rollback_operator.model.controllers import OwnedDeployment, OwnerState
from rollback_operator.remedies.suspension import SUSPENDED_BY

SKIP_RECONCILE = "argocd.argoproj.io/skip-reconcile"
_HERE = frozenset({"", "https://kubernetes.default.svc", "https://kubernetes.default.svc:443"})
_KEEPS_CHANGES = frozenset({"create-only", "create-delete"})
_WITHOUT_INVENTORY = (
    ". If its helm-controller keeps no status.inventory, update Flux, or set spec.safety.gitOps to "
    "Proceed"
)


def manages(raw: Mapping[str, Any], steered: OwnedDeployment) -> bool:
    """Report whether an owner's object names the Deployment among what it applies here."""
    spec = raw.get("spec") or {}
    if not _names(raw, steered):
        return False
    is_application = steered.object.kind is OwnerKind.APPLICATION
    return _deploys_here(spec) if is_application else not spec.get("kubeConfig")


def _names(raw: Mapping[str, Any], steered: OwnedDeployment) -> bool:
    status = raw.get("status") or {}
    if steered.object.kind is OwnerKind.APPLICATION:
        return _resource_entry(status, steered) is not None
    # A HelmRelease of older versions has no inventory. Its target namespace and the names that
    # Helm writes on the Deployment are no proof: people who may patch the Deployment set those.
    wanted = f"{steered.namespace}_{steered.deployment}_apps_Deployment"
    entries = (status.get("inventory") or {}).get("entries") or []
    return any(entry.get("id") == wanted for entry in entries)


def _deploys_here(spec: Mapping[str, Any]) -> bool:
    destination = spec.get("destination") or {}
    return (
        destination.get("name") in (None, "", "in-cluster")
        and str(destination.get("server") or "") in _HERE
    )


def application_of(
    raw: Mapping[str, Any], generator: Mapping[str, Any] | None, steered: OwnedDeployment
) -> OwnerState:
    """Project an Argo CD Application.

    Args:
        raw: the Application.
        generator: the ApplicationSet that generates it; None: none.
        steered: the Deployment whose labels name it.
    """
    metadata, spec, status = raw["metadata"], raw.get("spec") or {}, raw.get("status") or {}
    annotations = metadata.get("annotations") or {}
    automated = (spec.get("syncPolicy") or {}).get("automated")
    is_off = automated is None or automated.get("enabled") is False
    stored = json.dumps(automated, sort_keys=True) if automated is not None else ""
    by = str(annotations.get(SUSPENDED_BY) or "")
    return OwnerState(
        namespace=metadata["namespace"],
        version=str(metadata.get("resourceVersion") or ""),
        obstacle=_application_obstacle(raw, generator, steered) or _length_obstacle(stored),
        is_proved=_names(raw, steered),
        is_suspended=is_off or annotations.get(SKIP_RECONCILE) == "true",
        suspended_for=by,
        # A removed field has no owner, hence the annotation decides, and what has been synced.
        # An ApplicationSet removes annotations from what it generates.
        is_ours=automated is None and (bool(by) or generator is not None),
        automated="" if _length_obstacle(stored) else stored,
        auto_synced=_last_auto_sync(status),
        in_sync_at=_in_sync_at(status, steered),
    )


def generator_of(raw: Mapping[str, Any]) -> str:
    """Return the name of the ApplicationSet that generates an Application; empty: none."""
    for reference in raw["metadata"].get("ownerReferences") or []:
        if reference.get("kind") == "ApplicationSet":
            return str(reference.get("name"))
    return ""


def _application_obstacle(
    raw: Mapping[str, Any], generator: Mapping[str, Any] | None, steered: OwnedDeployment
) -> str:
    name = raw["metadata"]["name"]
    if not _names(raw, steered):
        return (
            f"Application {name} does not name the Deployment among its resources: the operator "
            "does not suspend it"
        )
    if not _deploys_here(raw.get("spec") or {}):
        return f"Application {name} deploys to another cluster: suspend it there"
    if generator is not None and not _keeps_auto_sync(generator, str(name)):
        return (
            f"ApplicationSet {generator['metadata']['name']} would turn auto-sync on again: list "
            "/spec/syncPolicy in its spec.ignoreApplicationDifferences[].jsonPointers, or set "
            "spec.safety.gitOps to Proceed"
        )
    return ""


def _keeps_auto_sync(generator: Mapping[str, Any], name: str) -> bool:
    """Report whether an ApplicationSet keeps changes of auto-sync in what it generates."""
    spec = generator.get("spec") or {}
    if (spec.get("syncPolicy") or {}).get("applicationsSync") in _KEEPS_CHANGES:
        return True
    ignored = {"/spec/syncPolicy", "/spec/syncPolicy/automated"}
    return any(
        ignored & set(difference.get("jsonPointers") or [])
        for difference in spec.get("ignoreApplicationDifferences") or []
        if difference.get("name") in (None, "", name)
    )


def _length_obstacle(automated: str) -> str:
    if len(automated) <= LONGEST_SYNC_POLICY:
        return ""
    return "its spec.syncPolicy.automated is too long to be put on record"


def _resource_entry(
    status: Mapping[str, Any], steered: OwnedDeployment
) -> Mapping[str, Any] | None:
    wanted = "apps", "Deployment", steered.namespace, steered.deployment
    for resource in status.get("resources") or []:
        if tuple(resource.get(key) for key in ("group", "kind", "namespace", "name")) == wanted:
            return dict(resource)
    return None


def _in_sync_at(status: Mapping[str, Any], steered: OwnedDeployment) -> float | None:
    entry = _resource_entry(status, steered) or {}
    is_whole = (status.get("sync") or {}).get("status") == "Synced"
    return (
        seconds_of(status.get("reconciledAt"))
        if is_whole and entry.get("status") == "Synced"
        else None
    )


def _last_auto_sync(status: Mapping[str, Any]) -> float | None:
    now = status.get("operationState") or {}
    begun = [
        (now.get("startedAt"), (now.get("operation") or {}).get("initiatedBy")),
        *(
            (deployed.get("deployStartedAt"), deployed.get("initiatedBy"))
            for deployed in status.get("history") or []
        ),
    ]
    times = [seconds_of(time) for time, by in begun if (by or {}).get("automated")]
    return max((time for time in times if time is not None), default=None)


def flux_of(raw: Mapping[str, Any], steered: OwnedDeployment) -> OwnerState:
    """Project a Flux Kustomization or HelmRelease."""
    metadata, spec = raw["metadata"], raw.get("spec") or {}
    by = str((metadata.get("annotations") or {}).get(SUSPENDED_BY) or "")
    is_suspended = bool(spec.get("suspend"))
    managers = managers_of(metadata, "f:spec", "f:suspend")
    return OwnerState(
        namespace=metadata["namespace"],
        version=str(metadata.get("resourceVersion") or ""),
        obstacle=_flux_obstacle(raw, steered),
        is_proved=_names(raw, steered),
        is_suspended=is_suspended,
        suspended_for=by,
        is_ours=is_suspended and bool(by) and managers == [FIELD_MANAGER],
    )


def _flux_obstacle(raw: Mapping[str, Any], steered: OwnedDeployment) -> str:
    kind, name = steered.object.kind, raw["metadata"]["name"]
    if not _names(raw, steered):
        fault = f"{kind} {name} does not name the Deployment in its inventory"
        remedy = _WITHOUT_INVENTORY if kind is OwnerKind.HELM_RELEASE else ""
        return f"{fault}: the operator does not suspend it{remedy}"
    if (raw.get("spec") or {}).get("kubeConfig"):
        return f"{kind} {name} deploys to another cluster: suspend it there"
    return ""
