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
    known = [autoscaler_of(one) for one in listed if scales(one, name)]
    if not known:
        return None
    return replace(known[0], rivals=tuple(one.name for one in known[1:]))


def scales(raw: Mapping[str, Any], name: str) -> bool:
    """Report whether an autoscaler scales a Deployment."""
    target = (raw.get("spec") or {}).get("scaleTargetRef") or {}
    return target.get("kind") == "Deployment" and target.get("name") == name


def _autoscaler_owner(metadata: Mapping[str, Any]) -> str:
    """Name the owner of an autoscaler: KEDA, or the controller of the object."""
    for one in metadata.get("ownerReferences") or []:
        kind, name = one.get("kind"), one.get("name")
        if str(one.get("apiVersion", "")).startswith("keda.sh/"):
            return f"KEDA's {kind} {name} (ownerReference)"
        if one.get("controller"):
            return f"{kind} {name} (ownerReference)"
    name = (metadata.get("labels") or {}).get(_KEDA)
    return f"KEDA's ScaledObject {name} (label {_KEDA})" if name else ""
