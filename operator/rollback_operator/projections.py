"""The API server's dictionaries -> values of the core. Pure; only what decisions need is kept."""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from rollback_operator.api.v1alpha1 import FIELD_MANAGER
from rollback_operator.claiming import updaters_on
from rollback_operator.core.config_map import FlagState
from rollback_operator.core.pod import Endpoint, Page, Pod
from rollback_operator.core.workload import Deployment, ReplicaSet, Template
from rollback_operator.steering import DATA, changed_by, owner_of
from rollback_operator.templates import (
    commit_of,
    port_names_of,
    reads_of,
    references_of,
    requests_of,
)

POD_HASH_LABEL = "pod-template-hash"
REVISION_ANNOTATION = "deployment.kubernetes.io/revision"
DIGEST_LENGTH = 16
PROBE_SECONDS = 10
"""Kubernetes' default period of a probe."""
MOST_PORTS = 65536

_REGISTRY_REASONS = frozenset({"ErrImagePull", "ImagePullBackOff", "RegistryUnavailable"})
_METRICS_PORTS = ("metrics", "http-metrics", "http")
_SERVING_PORTS = ("http", "web", "https")
_STARTING_REASONS = frozenset({"ContainerCreating", "PodInitializing", ""})


def template_of(template: Mapping[str, Any]) -> Template:
    """Make a template's digests; the label that the controller adds to ReplicaSets is left out."""
    metadata = template.get("metadata") or {}
    annotations = metadata.get("annotations") or {}
    spec = template.get("spec") or {}
    containers, first = spec.get("containers") or [], spec.get("initContainers") or []
    bare = {"labels": _labels(template), "spec": spec}
    return Template(
        digest=_digest({**bare, "annotations": annotations}),
        release=_digest(bare),
        images=tuple(str(one.get("image", "")) for one in containers),
        containers=tuple(str(one.get("name", "")) for one in containers),
        init_images=tuple(str(one.get("image", "")) for one in first),
        init_containers=tuple(str(one.get("name", "")) for one in first),
        memory_limit=_memory_limit(containers),
        commit=commit_of(metadata),
    )


_UNITS = {
    "": 1.0,
    "k": 1e3,
    "M": 1e6,
    "G": 1e9,
    "T": 1e12,
    "Ki": 2.0**10,
    "Mi": 2.0**20,
    "Gi": 2.0**30,
    "Ti": 2.0**40,
    "m": 1e-3,
}


def _memory_limit(containers: Iterable[Mapping[str, Any]]) -> float | None:
    """Give the limit that a pod's memory is measured against: that of its first container with one.

    Sidecars have theirs; the process whose memory is read is as a rule the first container's.
    """
    for one in containers:
        text = str(((one.get("resources") or {}).get("limits") or {}).get("memory") or "")
        found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?(?:e[0-9]+)?)([kMGTm]|[KMGT]i)?", text)
        if found:
            return float(found[1]) * _UNITS[found[2] or ""]
    return None


def without_pod_hash(template: Mapping[str, Any]) -> dict[str, Any]:
    """Copy a ReplicaSet's template as a Deployment may carry it."""
    return {
        **template,
        "metadata": {**(template.get("metadata") or {}), "labels": _labels(template)},
    }


def _labels(template: Mapping[str, Any]) -> dict[str, str]:
    """Give a template's labels without the one that the controller adds."""
    labels = (template.get("metadata") or {}).get("labels") or {}
    return {str(key): str(one) for key, one in labels.items() if key != POD_HASH_LABEL}


def deployment_of(raw: Mapping[str, Any]) -> Deployment:
    """Project a Deployment."""
    metadata, spec, status = raw["metadata"], raw.get("spec") or {}, raw.get("status") or {}
    strategy = spec.get("strategy") or {}
    rolling = strategy.get("rollingUpdate") or {}
    conditions = {one.get("type"): one for one in status.get("conditions") or []}
    failed = conditions.get("ReplicaFailure") or {}
    served = conditions.get("Available") or {}
    return Deployment(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        template=template_of(spec.get("template") or {}),
        generation=int(metadata.get("generation") or 0),
        observed_generation=int(status.get("observedGeneration") or 0),
        revision=_revision(metadata),
        replicas=int(spec.get("replicas", 1)),
        updated=int(status.get("updatedReplicas") or 0),
        total=int(status.get("replicas") or 0),
        available=int(status.get("availableReplicas") or 0),
        paused=bool(spec.get("paused")),
        is_held=is_held(raw),
        strategy=str(strategy.get("type") or "RollingUpdate"),
        max_surge=str(rolling.get("maxSurge", "25%")),
        max_unavailable=str(rolling.get("maxUnavailable", "25%")),
        min_ready_seconds=int(spec.get("minReadySeconds") or 0),
        progress_deadline_seconds=int(spec.get("progressDeadlineSeconds") or 600),
        history_limit=int(spec.get("revisionHistoryLimit", 10)),
        probe_paths=frozenset(_probe_paths(spec.get("template") or {})),
        probe_rate=sum(_probe_rates(spec.get("template") or {})),
        owner=owner_of(metadata),
        updaters=updaters_on(metadata),
        changed_by=changed_by(metadata),
        completed=_completed(conditions.get("Progressing") or {}),
        unavailable_since=(
            _seconds(served.get("lastTransitionTime")) if served.get("status") == "False" else None
        ),
        failed_create=str(failed.get("message") or "") if failed.get("status") == "True" else "",
    )


def is_held(raw: Mapping[str, Any]) -> bool:
    """Tell whether a Deployment is paused by this operator and by nobody else.

    Who applies the same pause server-side becomes an owner beside us: then it is theirs too.
    """
    if not (raw.get("spec") or {}).get("paused"):
        return False
    owners = {
        str(one.get("manager"))
        for one in raw["metadata"].get("managedFields") or []
        if "f:paused" in ((one.get("fieldsV1") or {}).get("f:spec") or {})
    }
    return owners == {FIELD_MANAGER}


def replica_set_of(raw: Mapping[str, Any]) -> ReplicaSet:
    """Project a ReplicaSet."""
    metadata, spec = raw["metadata"], raw.get("spec") or {}
    return ReplicaSet(
        name=metadata["name"],
        uid=metadata["uid"],
        pod_hash=str((metadata.get("labels") or {}).get(POD_HASH_LABEL, "")),
        revision=_revision(metadata),
        template=template_of(spec.get("template") or {}),
        created=_seconds(metadata.get("creationTimestamp")) or 0.0,
        replicas=int(spec.get("replicas") or 0),
        ready=int((raw.get("status") or {}).get("readyReplicas") or 0),
        facts=tuple(sorted(_facts(spec.get("template") or {}))),
        references=references_of(spec.get("template") or {}),
        reads=reads_of(spec.get("template") or {}),
        requests=requests_of((spec.get("template") or {}).get("spec") or {}),
        labels=tuple(sorted(_labels(spec.get("template") or {}).items())),
        port_names=port_names_of((spec.get("template") or {}).get("spec") or {}),
    )


def _facts(template: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """List what a person compares of two templates."""
    metadata, spec = template.get("metadata") or {}, template.get("spec") or {}
    for key, value in (metadata.get("annotations") or {}).items():
        yield f"annotation {key}", f"#{_digest(value)}"
    for kind in ("initContainers", "containers"):
        for one in spec.get(kind) or []:
            yield from _facts_of_container(f"container {one.get('name')}", one)
    for volume in spec.get("volumes") or []:
        source = {key: value for key, value in volume.items() if key != "name"}
        yield f"volume {volume.get('name')}", f"#{_digest(source)}"
    known = {"initContainers", "containers", "volumes"}
    for key, value in spec.items():
        if key not in known:
            yield f"spec.{key}", f"#{_digest(value)}"


def _facts_of_container(where: str, one: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield f"{where} image", str(one.get("image"))
    for kind, amounts in (one.get("resources") or {}).items():
        for resource, amount in amounts.items() if isinstance(amounts, Mapping) else ():
            yield f"{where} {kind} {resource}", str(amount)
    for variable in one.get("env") or []:
        source = variable.get("valueFrom") or variable.get("value") or ""
        yield f"{where} env {variable.get('name')}", f"#{_digest(source)}"
    known = {"name", "image", "resources", "env"}
    for key, value in one.items():
        if key not in known:
            yield f"{where} {key}", f"#{_digest(value)}"


def pod_of(raw: Mapping[str, Any]) -> Pod:
    """Project a pod."""
    metadata, spec, status = raw["metadata"], raw.get("spec") or {}, raw.get("status") or {}
    containers = [
        *(status.get("initContainerStatuses") or []),
        *(status.get("containerStatuses") or []),
    ]
    running = status.get("containerStatuses") or []
    conditions = {one.get("type"): one for one in status.get("conditions") or []}
    ready = conditions.get("Ready") or {}
    is_ready = ready.get("status") == "True"
    starts = [
        _seconds(((one.get("state") or {}).get("running") or {}).get("startedAt"))
        for one in running
    ]
    known = [one for one in starts if one is not None]
    changed = _seconds(ready.get("lastTransitionTime") or metadata.get("creationTimestamp"))
    return Pod(
        name=metadata["name"],
        pod_hash=str((metadata.get("labels") or {}).get(POD_HASH_LABEL, "")),
        node=str(spec.get("nodeName") or ""),
        created=_seconds(metadata.get("creationTimestamp")) or 0.0,
        started=max(known, default=None),
        ready=is_ready,
        ready_since=_seconds(ready.get("lastTransitionTime")) if is_ready else None,
        unready_since=None if is_ready else changed,
        restarts=sum(int(one.get("restartCount") or 0) for one in containers),
        terminating=bool(metadata.get("deletionTimestamp"))
        or status.get("phase") in ("Succeeded", "Failed"),
        own_failure=_own_failure(containers, conditions),
        is_out_of_memory=any(map(_is_out_of_memory, containers)),
        environment=_environment(containers, conditions, status),
        address=_address(metadata, spec, status),
        page=_page(metadata, spec),
        image_digests=tuple(
            (str(one.get("name")), digest)
            for one in containers
            if (digest := str(one.get("imageID") or "").rpartition("@")[2]).startswith("sha256:")
        ),
        endpoints=tuple(dict.fromkeys(_endpoints(spec))),
    )


def _endpoints(spec: Mapping[str, Any]) -> Iterator[Endpoint]:
    """List the httpGet probes of a pod's containers; what names another host is not the pod's."""
    for container in spec.get("containers") or []:
        ports = {one.get("name"): one.get("containerPort") for one in container.get("ports") or []}
        for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
            found = (container.get(kind) or {}).get("httpGet") or {}
            named = found.get("port")
            port = str(ports.get(named, named))
            if not found or found.get("host") or not port.isdecimal():
                continue
            path = str(found.get("path") or "/")
            yield Endpoint(
                path=path if path.startswith("/") else f"/{path}",
                port=int(port),
                scheme="https" if found.get("scheme") == "HTTPS" else "http",
                headers=tuple(
                    (str(one.get("name")), str(one.get("value") or ""))
                    for one in found.get("httpHeaders") or []
                ),
            )


def _own_failure(
    containers: Iterable[Mapping[str, Any]], conditions: Mapping[Any, Mapping[str, Any]]
) -> str:
    for one in containers:
        name, state = one.get("name"), one.get("state") or {}
        waiting, terminated = state.get("waiting") or {}, state.get("terminated") or {}
        reason = str(waiting.get("reason") or "")
        if waiting and reason not in _STARTING_REASONS and not _is_registry(waiting):
            return f"container {name}: {reason} {waiting.get('message', '')}".strip()[:400]
        if terminated and terminated.get("exitCode"):
            return f"container {name}: {terminated.get('reason')} ({terminated['exitCode']})"
    is_ready = (conditions.get("Ready") or {}).get("status") == "True"
    unready = [
        str(one.get("name"))
        for one in containers
        if (one.get("state") or {}).get("running") and not one.get("ready")
    ]
    if unready and not is_ready:
        return f"container {', '.join(unready)}: running but not ready"
    return ""


def _environment(
    containers: Iterable[Mapping[str, Any]],
    conditions: Mapping[Any, Mapping[str, Any]],
    status: Mapping[str, Any],
) -> str:
    scheduled = conditions.get("PodScheduled") or {}
    if scheduled.get("status") == "False":
        return f"a pod cannot be scheduled: {scheduled.get('message', '')}"[:400]
    if status.get("reason") == "NodeLost":
        return "a pod's node does not answer"
    for one in containers:
        waiting = (one.get("state") or {}).get("waiting") or {}
        if _is_registry(waiting):
            return f"an image cannot be pulled: {waiting.get('message', '')}"[:400]
    return ""


def _is_registry(waiting: Mapping[str, Any]) -> bool:
    """Tell a registry that does not answer from an image that is not there: the release's fault."""
    if waiting.get("reason") not in _REGISTRY_REASONS:
        return False
    message = str(waiting.get("message") or "").lower()
    return not any(word in message for word in ("not found", "manifest unknown"))


def _address(
    metadata: Mapping[str, Any], spec: Mapping[str, Any], status: Mapping[str, Any]
) -> str:
    """Give the address that is the pod's alone: a node's, or a dead pod's, is somebody else's."""
    is_refused = (metadata.get("annotations") or {}).get("prometheus.io/scrape") == "false"
    has_ended = status.get("phase") in ("Succeeded", "Failed")
    if spec.get("hostNetwork") or is_refused or has_ended:
        return ""
    return str(status.get("podIP") or "")


def _page(metadata: Mapping[str, Any], spec: Mapping[str, Any]) -> Page:
    annotations = metadata.get("annotations") or {}
    named = {
        str(port.get("name")): port.get("containerPort")
        for container in spec.get("containers") or []
        for port in container.get("ports") or []
    }
    guessed = next((named[name] for name in _METRICS_PORTS if name in named), 0)
    port = str(annotations.get("prometheus.io/port") or guessed)
    path = str(annotations.get("prometheus.io/path") or "")
    return Page(
        port=int(port) if port.isdecimal() and int(port) < MOST_PORTS else 0,
        path=path if path.startswith("/") else "/metrics",
        scheme="https" if annotations.get("prometheus.io/scheme") == "https" else "http",
        serving_port=int(next((named[name] for name in _SERVING_PORTS if name in named), 0)),
    )


def _is_out_of_memory(container: Mapping[str, Any]) -> bool:
    states = (container.get("state") or {}, container.get("lastState") or {})
    return any((one.get("terminated") or {}).get("reason") == "OOMKilled" for one in states)


def _completed(progressing: Mapping[str, Any]) -> float | None:
    """Read when a rollout was complete: the controller keeps this reason until the next one."""
    if progressing.get("reason") != "NewReplicaSetAvailable":
        return None
    return _seconds(progressing.get("lastUpdateTime"))


def _probe_paths(template: Mapping[str, Any]) -> Iterable[str]:
    for container in (template.get("spec") or {}).get("containers") or []:
        for probe in ("readinessProbe", "livenessProbe", "startupProbe"):
            path = ((container.get(probe) or {}).get("httpGet") or {}).get("path")
            if path:
                yield str(path).split("?", 1)[0]
    annotations = (template.get("metadata") or {}).get("annotations") or {}
    yield str(annotations.get("prometheus.io/path") or "/metrics")


def _probe_rates(template: Mapping[str, Any]) -> Iterable[float]:
    """Give how many requests a second each HTTP probe makes, start-up probes left out."""
    for container in (template.get("spec") or {}).get("containers") or []:
        for name in ("readinessProbe", "livenessProbe"):
            probe = container.get(name) or {}
            if probe.get("httpGet"):
                yield 1 / max(1, int(probe.get("periodSeconds") or PROBE_SECONDS))


def _revision(metadata: Mapping[str, Any]) -> int:
    text = str((metadata.get("annotations") or {}).get(REVISION_ANNOTATION, "0"))
    return int(text) if text.isdecimal() else 0


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:DIGEST_LENGTH]


def _seconds(text: str | None) -> float | None:
    if not text:
        return None
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def flag_of(raw: Mapping[str, Any], key: str) -> FlagState:
    """Project a ConfigMap: one key of it. One that is being deleted has none any more."""
    metadata = raw["metadata"]
    data = {} if metadata.get("deletionTimestamp") else raw.get("data") or {}
    value = data.get(key)
    return FlagState(
        uid=metadata["uid"],
        value=None if value is None else str(value),
        is_immutable=bool(raw.get("immutable")),
        owner=owner_of(metadata, DATA),
        changed_by=changed_by(metadata, DATA),
    )
