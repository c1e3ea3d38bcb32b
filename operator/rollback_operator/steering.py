"""Who else steers a Deployment, from what they leave on it, and how their own objects stand. Pure.

An owner's object counts only if it says itself that it steers the Deployment: labels can be put on
by whoever may patch it, and must not get a foreign object suspended.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from rollback_operator.api.gitops import LONGEST_SYNC_POLICY, OwnerKind
from rollback_operator.api.v1alpha1 import FIELD_MANAGER
from rollback_operator.core.autoscaler import Autoscaler, Bounds
from rollback_operator.core.claims import NEW_RELEASE
from rollback_operator.core.gitops import SUSPENDED_BY
from rollback_operator.core.owner import Owner, OwnerObject, OwnerState, Steered

REPLICAS = ("f:spec", "f:replicas")
POD_TEMPLATE = ("f:spec", "f:template")
"""Where managedFields tell who owns a Deployment's pod template."""
DATA = ("f:data",)
"""... and what is in a ConfigMap."""
SKIP_RECONCILE = "argocd.argoproj.io/skip-reconcile"
_ARGO_CD = "Argo CD"
_INSTANCE = "argocd.argoproj.io/instance"
_TRACKING = "argocd.argoproj.io/tracking-id"
_FLUX = (
    ("kustomize.toolkit.fluxcd.io", "Flux Kustomization", OwnerKind.KUSTOMIZATION),
    ("helm.toolkit.fluxcd.io", "Flux HelmRelease", OwnerKind.HELM_RELEASE),
)
_HELM = "meta.helm.sh/release-name"
_KEDA = "scaledobject.keda.sh/name"
_MANAGERS = {
    "argocd-controller": (_ARGO_CD, "roll back in Git, or pause auto-sync"),
    "kustomize-controller": ("Flux", "roll back in Git, or suspend its Kustomization"),
    "helm-controller": ("Flux", "roll back in Git, or suspend its HelmRelease"),
}
_DRIVERS = {
    "flagger": (
        "Flagger",
        "roll back where the release comes from: Flagger analyses that, too, and takes what it "
        "finds bad back itself; where its Canary is gone, set spec.replicas by hand",
    ),
    "rollouts-controller": (
        "Argo Rollouts",
        "roll back through its Rollout (kubectl argo rollouts undo); where that is gone, set "
        "spec.replicas by hand",
    ),
}
"""Rollout tools by their names as owners of fields: each sets the replicas of what it drives."""
_HERE = frozenset({"", "https://kubernetes.default.svc", "https://kubernetes.default.svc:443"})
_KEEPS_CHANGES = frozenset({"create-only", "create-delete"})


# -- of the Deployment -----------------------------------------------------------------------------


def owner_of(metadata: Mapping[str, Any], fields: Sequence[str] = POD_TEMPLATE) -> Owner | None:
    """Find who else steers an object, by what they leave on it and by the fields that they own."""
    for reference in metadata.get("ownerReferences") or []:
        if reference.get("controller"):
            kind, name = reference.get("kind"), reference.get("name")
            is_flagger = str(reference.get("apiVersion", "")).startswith("flagger.app/")
            return Owner(
                "Flagger" if is_flagger else f"{kind} {name}",
                f"ownerReference {reference.get('apiVersion')}/{kind} {name}",
                f"roll back through {kind} {name}",
                is_rollout_tool=True,
            )
    found = _argo_cd(metadata) or _flux(metadata) or _helm(metadata)
    return _trace(metadata, found or _manager(metadata, fields))


def _trace(metadata: Mapping[str, Any], behind: Owner | None) -> Owner | None:
    """Find a rollout tool that has last set the replicas: it scales what it takes releases from."""
    names = {str(one.get("manager")) for one in _owners(metadata, *REPLICAS)}
    for manager in sorted(names & set(_DRIVERS)):
        tool, remedy = _DRIVERS[manager]
        return Owner(
            tool,
            f"spec.replicas owned by {manager}",
            remedy,
            is_rollout_tool=True,
            then=NEW_RELEASE,
            is_trace=True,
            behind=behind,
        )
    return behind


def _argo_cd(metadata: Mapping[str, Any]) -> Owner | None:
    labels, annotations = metadata.get("labels") or {}, metadata.get("annotations") or {}
    remedy = "roll back in Git, or pause auto-sync"
    for place, key, found in (
        ("label", _INSTANCE, labels.get(_INSTANCE)),
        ("annotation", _TRACKING, annotations.get(_TRACKING)),
    ):
        if found:
            # namespace_name where Applications are allowed beside Argo CD's own namespace.
            namespace, _, name = str(found).partition(":")[0].rpartition("_")
            known = OwnerObject(OwnerKind.APPLICATION, namespace, name)
            return Owner(_ARGO_CD, f"{place} {key}={found}", remedy, object=known)
    return None


def _flux(metadata: Mapping[str, Any]) -> Owner | None:
    labels = metadata.get("labels") or {}
    for group, tool, kind in _FLUX:
        name = labels.get(f"{group}/name")
        if name:
            remedy = f"roll back in Git, or `flux suspend {kind.lower()}`"
            namespace = str(labels.get(f"{group}/namespace") or "")
            # Without its namespace it could be any object of that name.
            known = OwnerObject(kind, namespace, str(name)) if namespace else None
            return Owner(tool, f"label {group}/name={name}", remedy, object=known)
    return None


def _helm(metadata: Mapping[str, Any]) -> Owner | None:
    name = (metadata.get("annotations") or {}).get(_HELM)
    if not name:
        return None
    remedy = "use `helm rollback`, or take it out of the release"
    return Owner("Helm", f"annotation {_HELM}={name}", remedy)


def _manager(metadata: Mapping[str, Any], fields: Sequence[str]) -> Owner | None:
    """Find a GitOps controller by the fields that it owns, where it marks nothing."""
    names = {str(one.get("manager")) for one in _owners(metadata, *fields)}
    for manager in sorted(names & set(_MANAGERS)):
        tool, remedy = _MANAGERS[manager]
        return Owner(tool, f"fields owned by {manager}", remedy)
    return None


def autoscaler_of(raw: Mapping[str, Any]) -> Autoscaler:
    """Project a HorizontalPodAutoscaler."""
    metadata, spec = raw["metadata"], raw["spec"]
    by = _setters(metadata)
    return Autoscaler(
        name=str(metadata["name"]),
        uid=str(metadata["uid"]),
        bounds=Bounds(int(spec.get("minReplicas", 1)), int(spec["maxReplicas"])),
        owner=_autoscaler_owner(metadata),
        set_by=", ".join(by),
        is_ours=by == [FIELD_MANAGER],
    )


def autoscaler_on(listed: Iterable[Mapping[str, Any]], name: str) -> Autoscaler | None:
    """Find who scales a Deployment; None: nobody does."""
    found = [autoscaler_of(one) for one in listed if _scales(one, name)]
    if not found:
        return None
    return replace(found[0], rivals=tuple(one.name for one in found[1:]))


def _scales(raw: Mapping[str, Any], name: str) -> bool:
    target = (raw.get("spec") or {}).get("scaleTargetRef") or {}
    return target.get("kind") == "Deployment" and target.get("name") == name


def _autoscaler_owner(metadata: Mapping[str, Any]) -> str:
    """Name who makes an autoscaler what it is: KEDA, or whoever controls the object."""
    for one in metadata.get("ownerReferences") or []:
        kind, name = one.get("kind"), one.get("name")
        if str(one.get("apiVersion", "")).startswith("keda.sh/"):
            return f"KEDA's {kind} {name} (ownerReference)"
        if one.get("controller"):
            return f"{kind} {name} (ownerReference)"
    name = (metadata.get("labels") or {}).get(_KEDA)
    return f"KEDA's ScaledObject {name} (label {_KEDA})" if name else ""


def _setters(metadata: Mapping[str, Any]) -> list[str]:
    return sorted(
        {
            str(one.get("manager"))
            for one in metadata.get("managedFields") or []
            if "f:minReplicas" in ((one.get("fieldsV1") or {}).get("f:spec") or {})
        }
    )


def changed_by(metadata: Mapping[str, Any], fields: Sequence[str] = POD_TEMPLATE) -> str:
    """Find who has last put something into these fields; empty: not known."""
    found = _owners(metadata, *fields)
    newest = max(found, key=lambda one: str(one.get("time") or ""), default={})
    return str(newest.get("manager") or "")


def _owners(metadata: Mapping[str, Any], *path: str) -> list[Mapping[str, Any]]:
    """List the entries of managedFields that own something below a path."""
    return [
        one
        for one in metadata.get("managedFields") or []
        if not one.get("subresource") and _has(one.get("fieldsV1") or {}, path)
    ]


def _has(fields: Mapping[str, Any], path: Iterable[str]) -> bool:
    for part in path:
        if part not in fields:
            return False
        fields = fields[part]
    return True


# -- of the owner's object -------------------------------------------------------------------------


def application_of(
    raw: Mapping[str, Any], generator: Mapping[str, Any] | None, steered: Steered
) -> OwnerState:
    """Project an Argo CD Application.

    Args:
        raw: the Application.
        generator: the ApplicationSet that has made it; None: none has.
        steered: the Deployment that it is said to steer.
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
        obstacle=_application_obstacle(raw, generator, steered) or _too_long(stored),
        is_suspended=is_off or annotations.get(SKIP_RECONCILE) == "true",
        suspended_for=by,
        # A field that is taken away has no owner: the mark has to do, and what has been synced.
        # An ApplicationSet takes marks off what it generates.
        is_ours=automated is None and (bool(by) or generator is not None),
        automated=stored,
        auto_synced=_auto_synced(status),
        in_sync_at=_in_sync_at(status, steered),
    )


def generator_of(raw: Mapping[str, Any]) -> str:
    """Give the name of the ApplicationSet that an Application is generated by; empty: of none."""
    for reference in raw["metadata"].get("ownerReferences") or []:
        if reference.get("kind") == "ApplicationSet":
            return str(reference.get("name"))
    return ""


def _application_obstacle(
    raw: Mapping[str, Any], generator: Mapping[str, Any] | None, steered: Steered
) -> str:
    name, spec = raw["metadata"]["name"], raw.get("spec") or {}
    destination = spec.get("destination") or {}
    is_here = (
        destination.get("name") in (None, "", "in-cluster")
        and str(destination.get("server") or "") in _HERE
    )
    if not is_here:
        return f"Application {name} deploys to another cluster: it must be suspended where it is"
    if _entry(raw.get("status") or {}, steered) is None:
        return (
            f"Application {name} does not name the Deployment among its resources: it is left alone"
        )
    if generator is not None and not _lets_be(generator, str(name)):
        return (
            f"ApplicationSet {generator['metadata']['name']} would turn auto-sync on again: list "
            "/spec/syncPolicy in its spec.ignoreApplicationDifferences[].jsonPointers, or let "
            "spec.safety.gitOps be Proceed"
        )
    return ""


def _lets_be(generator: Mapping[str, Any], name: str) -> bool:
    """Tell whether an ApplicationSet leaves auto-sync of what it generates as it is set there."""
    spec = generator.get("spec") or {}
    if (spec.get("syncPolicy") or {}).get("applicationsSync") in _KEEPS_CHANGES:
        return True
    ignored = {"/spec/syncPolicy", "/spec/syncPolicy/automated"}
    return any(
        ignored & set(one.get("jsonPointers") or [])
        for one in spec.get("ignoreApplicationDifferences") or []
        if one.get("name") in (None, "", name)
    )


def _too_long(automated: str) -> str:
    if len(automated) <= LONGEST_SYNC_POLICY:
        return ""
    return "its spec.syncPolicy.automated is too long to be put on record"


def _entry(status: Mapping[str, Any], steered: Steered) -> Mapping[str, Any] | None:
    wanted = "apps", "Deployment", steered.namespace, steered.deployment
    for one in status.get("resources") or []:
        if tuple(one.get(key) for key in ("group", "kind", "namespace", "name")) == wanted:
            return dict(one)
    return None


def _in_sync_at(status: Mapping[str, Any], steered: Steered) -> float | None:
    entry = _entry(status, steered) or {}
    is_whole = (status.get("sync") or {}).get("status") == "Synced"
    return (
        _seconds(status.get("reconciledAt"))
        if is_whole and entry.get("status") == "Synced"
        else None
    )


def _auto_synced(status: Mapping[str, Any]) -> float | None:
    now = status.get("operationState") or {}
    begun = [
        (now.get("startedAt"), (now.get("operation") or {}).get("initiatedBy")),
        *(
            (one.get("deployStartedAt"), one.get("initiatedBy"))
            for one in status.get("history") or []
        ),
    ]
    times = [_seconds(time) for time, by in begun if (by or {}).get("automated")]
    return max((one for one in times if one is not None), default=None)


def flux_of(raw: Mapping[str, Any], steered: Steered) -> OwnerState:
    """Project a Flux Kustomization or HelmRelease."""
    metadata, spec = raw["metadata"], raw.get("spec") or {}
    by = str((metadata.get("annotations") or {}).get(SUSPENDED_BY) or "")
    is_suspended = bool(spec.get("suspend"))
    managers = {str(one.get("manager")) for one in _owners(metadata, "f:spec", "f:suspend")}
    return OwnerState(
        namespace=metadata["namespace"],
        version=str(metadata.get("resourceVersion") or ""),
        obstacle=_flux_obstacle(raw, steered),
        is_suspended=is_suspended,
        suspended_for=by,
        is_ours=is_suspended and bool(by) and managers == {FIELD_MANAGER},
    )


def _flux_obstacle(raw: Mapping[str, Any], steered: Steered) -> str:
    kind, name = steered.object.kind, raw["metadata"]["name"]
    spec, status = raw.get("spec") or {}, raw.get("status") or {}
    if spec.get("kubeConfig"):
        return f"{kind} {name} deploys to another cluster: it must be suspended where it is"
    inventory = status.get("inventory")
    if inventory is None and kind is OwnerKind.HELM_RELEASE:
        # Older ones keep no inventory: a release's objects are in its own namespace.
        where = spec.get("targetNamespace") or raw["metadata"]["namespace"]
        is_named = where == steered.namespace
    else:
        wanted = f"{steered.namespace}_{steered.deployment}_apps_Deployment"
        entries = (inventory or {}).get("entries") or []
        is_named = any(one.get("id") == wanted for one in entries)
    if is_named:
        return ""
    return f"{kind} {name} does not name the Deployment in its inventory: it is left alone"


def _seconds(text: Any) -> float | None:
    if not isinstance(text, str) or not text:
        return None
    try:
        return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
    except ValueError:
        return None
