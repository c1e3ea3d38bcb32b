"""HorizontalPodAutoscalers: their bounds, and which tools set them."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from rollback_operator.adapters.kube.projections.fields import managers_of
from rollback_operator.api.v1alpha1 import FIELD_MANAGER
from rollback_operator.model.workload import Autoscaler, Bounds

_KEDA = "scaledobject.keda.sh/name"


def autoscaler_of(raw: Mapping[str, Any]) -> Autoscaler:
    """Project a HorizontalPodAutoscaler."""
    metadata, spec = raw["metadata"], raw["spec"]
    by = managers_of(metadata, "f:spec", "f:minReplicas")
    return Autoscaler(
        name=str(metadata["name"]),
        uid=str(metadata["uid"]),
        bounds=Bounds(int(spec.get("minReplicas", 1)), int(spec["maxReplicas"])),
        owner=_autoscaler_owner(metadata),
        set_by=", ".join(by),
        is_ours=by == [FIELD_MANAGER],
    )


def autoscaler_on(listed: Iterable[Mapping[str, Any]], name: str) -> Autoscaler | None:
    """Find the autoscaler of a Deployment; None: it has none."""
    known = [autoscaler_of(item) for item in listed if scales(item, name)]
    if not known:
        return None
    return replace(known[0], rivals=tuple(other.name for other in known[1:]))


def scales(raw: Mapping[str, Any], name: str) -> bool:
    """Report whether an autoscaler scales a Deployment."""
    target = (raw.get("spec") or {}).get("scaleTargetRef") or {}
    return target.get("kind") == "Deployment" and target.get("name") == name


def _autoscaler_owner(metadata: Mapping[str, Any]) -> str:
    """Name the owner of an autoscaler: KEDA, or the controller of the object."""
    for owner in metadata.get("ownerReferences") or []:
        kind, name = owner.get("kind"), owner.get("name")
        if str(owner.get("apiVersion", "")).startswith("keda.sh/"):
            return f"KEDA's {kind} {name} (ownerReference)"
        if owner.get("controller"):
            return f"{kind} {name} (ownerReference)"
    name = (metadata.get("labels") or {}).get(_KEDA)
    return f"KEDA's ScaledObject {name} (label {_KEDA})" if name else ""
