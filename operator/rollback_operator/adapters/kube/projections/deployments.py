"""Deployments and ReplicaSets."""

from collections.abc import Iterable, Mapping
from typing import Any

from rollback_operator.adapters.kube.projections.claims import updaters_on
from rollback_operator.adapters.kube.projections.config_maps import reads_of
from rollback_operator.adapters.kube.projections.fields import managers_of, seconds_of
from rollback_operator.adapters.kube.projections.needs import (
    port_names_of,
    references_of,
    requests_of,
)
from rollback_operator.adapters.kube.projections.owners import changed_by, owner_of
from rollback_operator.adapters.kube.projections.pods import MOST_PROBE_BYTES
from rollback_operator.adapters.kube.projections.templates import (
    POD_HASH_LABEL,
    facts_of,
    labels_of,
    template_of,
)
from rollback_operator.api.shape import clipped
from rollback_operator.api.user_text.json_text import whole
from rollback_operator.api.v1alpha1 import FIELD_MANAGER
from rollback_operator.evidence.retention import LABEL_BYTES, weight
from rollback_operator.model.pod import page_path
from rollback_operator.model.workload import Deployment, ReplicaSet
from rollback_operator.remedies.change_cause import CHANGE_CAUSE, own

REVISION_ANNOTATION = "deployment.kubernetes.io/revision"
PROBE_SECONDS = 10
"""Kubernetes' default period of a probe."""

HIGHEST_REVISION = 2**31
LONGEST_FAILURE = 2048
"""Characters of a failure to create pods, which quotes a tenant's webhooks."""


def deployment_of(raw: Mapping[str, Any]) -> Deployment:
    """Project a Deployment."""
    metadata, spec, status = raw["metadata"], raw.get("spec") or {}, raw.get("status") or {}
    strategy = spec.get("strategy") or {}
    rolling = strategy.get("rollingUpdate") or {}
    conditions = {condition.get("type"): condition for condition in status.get("conditions") or []}
    failed = conditions.get("ReplicaFailure") or {}
    served = conditions.get("Available") or {}
    return Deployment(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        template=template_of(spec.get("template") or {}),
        generation=int(metadata.get("generation") or 0),
        observed_generation=int(status.get("observedGeneration") or 0),
        revision=_revision_number(metadata),
        replicas=int(spec.get("replicas", 1)),
        updated=int(status.get("updatedReplicas") or 0),
        total=int(status.get("replicas") or 0),
        available=int(status.get("availableReplicas") or 0),
        paused=bool(spec.get("paused")),
        is_held=is_held(raw),
        is_stopped=is_stopped(raw),
        strategy=str(strategy.get("type") or "RollingUpdate"),
        max_surge=str(rolling.get("maxSurge", "25%")),
        max_unavailable=str(rolling.get("maxUnavailable", "25%")),
        min_ready_seconds=int(spec.get("minReadySeconds") or 0),
        progress_deadline_seconds=int(spec.get("progressDeadlineSeconds") or 600),
        history_limit=int(spec.get("revisionHistoryLimit", 10)),
        probe_paths=_fitting(_probe_paths(spec.get("template") or {})),
        probe_rate=sum(_probe_rates(spec.get("template") or {})),
        owner=owner_of(metadata),
        updaters=updaters_on(metadata),
        changed_by=changed_by(metadata),
        change_cause=own(change_cause_of(metadata)),
        completed=_completed_at(conditions.get("Progressing") or {}),
        unavailable_since=(
            seconds_of(served.get("lastTransitionTime"))
            if served.get("status") == "False"
            else None
        ),
        failed_create=(
            clipped(str(failed.get("message") or ""), LONGEST_FAILURE)
            if failed.get("status") == "True"
            else ""
        ),
    )


def is_held(raw: Mapping[str, Any]) -> bool:
    """Report whether this operator, and no other field manager, has paused a Deployment.

    Another manager that applies the same pause server-side becomes a second owner of the field.
    """
    if not (raw.get("spec") or {}).get("paused"):
        return False
    return managers_of(raw["metadata"], "f:spec", "f:paused") == [FIELD_MANAGER]


def is_stopped(raw: Mapping[str, Any]) -> bool:
    """Report whether this operator, and no other field manager, has set zero replicas."""
    if (raw.get("spec") or {}).get("replicas", 1) != 0:
        return False
    return managers_of(raw["metadata"], "f:spec", "f:replicas") == [FIELD_MANAGER]


def change_cause_of(metadata: Mapping[str, Any]) -> str:
    """Return the change-cause of an object, of any author."""
    return str((metadata.get("annotations") or {}).get(CHANGE_CAUSE) or "")


def replica_set_of(raw: Mapping[str, Any]) -> ReplicaSet:
    """Project a ReplicaSet."""
    metadata, spec = raw["metadata"], raw.get("spec") or {}
    return ReplicaSet(
        name=metadata["name"],
        uid=metadata["uid"],
        pod_hash=str((metadata.get("labels") or {}).get(POD_HASH_LABEL, "")),
        revision=_revision_number(metadata),
        template=template_of(spec.get("template") or {}),
        created=seconds_of(metadata.get("creationTimestamp")) or 0.0,
        replicas=int(spec.get("replicas") or 0),
        ready=int((raw.get("status") or {}).get("readyReplicas") or 0),
        facts=tuple(sorted(facts_of(spec.get("template") or {}))),
        references=references_of(spec.get("template") or {}),
        reads=reads_of(spec.get("template") or {}),
        requests=requests_of((spec.get("template") or {}).get("spec") or {}),
        labels=tuple(sorted(labels_of(spec.get("template") or {}).items())),
        port_names=port_names_of((spec.get("template") or {}).get("spec") or {}),
    )


def _completed_at(progressing: Mapping[str, Any]) -> float | None:
    """Return when the rollout was complete; the controller keeps this reason until the next."""
    if progressing.get("reason") != "NewReplicaSetAvailable":
        return None
    return seconds_of(progressing.get("lastUpdateTime"))


def _fitting(paths: Iterable[str]) -> frozenset[str]:
    """Keep the paths that fit in the memory limit of a Deployment."""
    kept, left = set[str](), MOST_PROBE_BYTES
    for path in paths:
        left -= LABEL_BYTES + weight(path) if path not in kept else 0
        if left >= 0:
            kept.add(path)
    return frozenset(kept)


def _probe_paths(template: Mapping[str, Any]) -> Iterable[str]:
    for container in (template.get("spec") or {}).get("containers") or []:
        for probe in ("readinessProbe", "livenessProbe", "startupProbe"):
            path = ((container.get(probe) or {}).get("httpGet") or {}).get("path")
            if path:
                yield str(path).split("?", 1)[0]
    annotations = (template.get("metadata") or {}).get("annotations") or {}
    yield page_path(annotations.get("prometheus.io/path"))


def _probe_rates(template: Mapping[str, Any]) -> Iterable[float]:
    """Yield the requests per second of each HTTP probe, without startup probes."""
    for container in (template.get("spec") or {}).get("containers") or []:
        for name in ("readinessProbe", "livenessProbe"):
            probe = container.get(name) or {}
            if probe.get("httpGet"):
                yield 1 / max(1, int(probe.get("periodSeconds") or PROBE_SECONDS))


def _revision_number(metadata: Mapping[str, Any]) -> int:
    text = str((metadata.get("annotations") or {}).get(REVISION_ANNOTATION, "0"))
    return whole(text, HIGHEST_REVISION) or 0
