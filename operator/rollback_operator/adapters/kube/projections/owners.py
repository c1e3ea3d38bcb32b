"""Who else steers an object, from what they leave on it and from the fields that they own."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rollback_operator.api.remedy import OwnerKind
from rollback_operator.api.shape import is_object_name
from rollback_operator.model.controllers import Owner, OwnerObject
from rollback_operator.remedies.gitops import NEW_RELEASE

REPLICAS_FIELD = ("f:spec", "f:replicas")
POD_TEMPLATE = ("f:spec", "f:template")
"""Where managedFields tell who owns a Deployment's pod template."""
DATA = ("f:data",)
"""... and what is in a ConfigMap."""
_ARGO_CD = "Argo CD"
_INSTANCE = "argocd.argoproj.io/instance"
_TRACKING = "argocd.argoproj.io/tracking-id"
_FLUX = (
    ("kustomize.toolkit.fluxcd.io", "Flux Kustomization", OwnerKind.KUSTOMIZATION),
    ("helm.toolkit.fluxcd.io", "Flux HelmRelease", OwnerKind.HELM_RELEASE),
)
_HELM = "meta.helm.sh/release-name"
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
        "roll back through its Rollout (the undo of its plugin); where that is gone, set "
        "spec.replicas by hand",
    ),
}
"""Rollout tools by their names as owners of fields: each sets the replicas of what it drives."""


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
    names = {str(one.get("manager")) for one in entries_of(metadata, *REPLICAS_FIELD)}
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
            known = _object(OwnerKind.APPLICATION, namespace, name)
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
            known = _object(kind, namespace, str(name)) if namespace else None
            return Owner(tool, f"label {group}/name={name}", remedy, object=known)
    return None


def _object(kind: OwnerKind, namespace: str, name: str) -> OwnerObject | None:
    """Name an object by what a label or an annotation says: anything may stand there."""
    is_one = is_object_name(name) and (not namespace or is_object_name(namespace))
    return OwnerObject(kind, namespace, name) if is_one else None


def _helm(metadata: Mapping[str, Any]) -> Owner | None:
    name = (metadata.get("annotations") or {}).get(_HELM)
    if not name:
        return None
    remedy = "use `helm rollback`, or take it out of the release"
    return Owner("Helm", f"annotation {_HELM}={name}", remedy)


def _manager(metadata: Mapping[str, Any], fields: Sequence[str]) -> Owner | None:
    """Find a GitOps controller by the fields that it owns, where it marks nothing."""
    names = {str(one.get("manager")) for one in entries_of(metadata, *fields)}
    for manager in sorted(names & set(_MANAGERS)):
        tool, remedy = _MANAGERS[manager]
        return Owner(tool, f"fields owned by {manager}", remedy)
    return None


def changed_by(metadata: Mapping[str, Any], fields: Sequence[str] = POD_TEMPLATE) -> str:
    """Find who has last put something into these fields; empty: not known."""
    found = entries_of(metadata, *fields)
    newest = max(found, key=lambda one: str(one.get("time") or ""), default={})
    return str(newest.get("manager") or "")


def entries_of(metadata: Mapping[str, Any], *path: str) -> list[Mapping[str, Any]]:
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
