"""The owner of an object, from its labels, annotations, references and field managers."""

from collections.abc import Mapping, Sequence
from typing import Any

from rollback_operator.adapters.kube.projections.fields import entries_of, managers_of
from rollback_operator.api.remedy import OwnerKind
from rollback_operator.api.shape import is_object_name
from rollback_operator.model.controllers import Owner, OwnerObject
from rollback_operator.remedies.gitops import NEW_RELEASE

REPLICAS_FIELD = ("f:spec", "f:replicas")
POD_TEMPLATE = ("f:spec", "f:template")
"""The path of a Deployment's pod template in managedFields."""
DATA = ("f:data",)
"""The path of a ConfigMap's content."""
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
        "roll back where the release comes from: Flagger analyses each release and reverts a bad "
        "release; if its Canary is deleted, set spec.replicas by hand",
    ),
    "rollouts-controller": (
        "Argo Rollouts",
        "roll back through its Rollout (the undo of its plugin); if that is deleted, set "
        "spec.replicas by hand",
    ),
}
"""Rollout tools by field manager: each sets the replicas of its Deployments."""


def owner_of(metadata: Mapping[str, Any], fields: Sequence[str] = POD_TEMPLATE) -> Owner | None:
    """Find the owner of an object, with its evidence and the remedy."""
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
    owner = _argo_cd(metadata) or _flux(metadata) or _helm(metadata)
    return _rollout_tool(metadata, owner or _manager(metadata, fields))


def _rollout_tool(metadata: Mapping[str, Any], behind: Owner | None) -> Owner | None:
    """Find a rollout tool that set the replicas last, in front of another owner."""
    for manager in managers_of(metadata, *REPLICAS_FIELD):
        if manager not in _DRIVERS:
            continue
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
    for place, key, text in (
        ("label", _INSTANCE, labels.get(_INSTANCE)),
        ("annotation", _TRACKING, annotations.get(_TRACKING)),
    ):
        if text:
            # namespace_name where Applications are allowed beside Argo CD's own namespace.
            namespace, _, name = str(text).partition(":")[0].rpartition("_")
            known = _owner_object(OwnerKind.APPLICATION, namespace, name)
            return Owner(_ARGO_CD, f"{place} {key}={text}", remedy, object=known)
    return None


def _flux(metadata: Mapping[str, Any]) -> Owner | None:
    labels = metadata.get("labels") or {}
    for group, tool, kind in _FLUX:
        name = labels.get(f"{group}/name")
        if name:
            remedy = f"roll back in Git, or `flux suspend {kind.lower()}`"
            namespace = str(labels.get(f"{group}/namespace") or "")
            # Without its namespace it could be any object of that name.
            known = _owner_object(kind, namespace, str(name)) if namespace else None
            return Owner(tool, f"label {group}/name={name}", remedy, object=known)
    return None


def _owner_object(kind: OwnerKind, namespace: str, name: str) -> OwnerObject | None:
    """Name an object by a label or an annotation; None: the text is no valid name."""
    is_valid = is_object_name(name) and (not namespace or is_object_name(namespace))
    return OwnerObject(kind, namespace, name) if is_valid else None


def _helm(metadata: Mapping[str, Any]) -> Owner | None:
    name = (metadata.get("annotations") or {}).get(_HELM)
    if not name:
        return None
    remedy = "use `helm rollback`, or take it out of the release"
    return Owner("Helm", f"annotation {_HELM}={name}", remedy)


def _manager(metadata: Mapping[str, Any], fields: Sequence[str]) -> Owner | None:
    """Find a GitOps controller by its field manager, where it leaves no label."""
    for manager in managers_of(metadata, *fields):
        if manager in _MANAGERS:
            tool, remedy = _MANAGERS[manager]
            return Owner(tool, f"fields owned by {manager}", remedy)
    return None


def changed_by(metadata: Mapping[str, Any], fields: Sequence[str] = POD_TEMPLATE) -> str:
    """Return the field manager that wrote these fields last; empty: unknown."""
    entries = entries_of(metadata, *fields)
    newest = max(entries, key=lambda entry: str(entry.get("time") or ""), default={})
    return str(newest.get("manager") or "")
