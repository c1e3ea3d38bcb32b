"""Pods: their health, its cause, and their addresses."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from rollback_operator.adapters.kube.projections.fields import seconds_of
from rollback_operator.adapters.kube.projections.templates import POD_HASH_LABEL
from rollback_operator.api.user_text.json_text import whole
from rollback_operator.evidence.retention import endpoint_size
from rollback_operator.model.pod import NOT_READY, Endpoint, MetricsPage, Pod, page_path

MOST_PORTS = 65536
MOST_PROBE_BYTES = 16 * 1024
"""Memory limit for the probes of a pod."""
MOST_DIGESTS, LONGEST_DIGEST, LONGEST_NAMES = 64, 71, 400
"""Limits per pod, since thousands of pods are kept at once."""
_REGISTRY_REASONS = frozenset({"ErrImagePull", "ImagePullBackOff", "RegistryUnavailable"})
_IMAGE_REASONS = _REGISTRY_REASONS | {"InvalidImageName", "ErrImageNeverPull"}
_METRICS_PORTS = ("metrics", "http-metrics", "http")
_SERVING_PORTS = ("http", "web", "https")
_STARTING_REASONS = frozenset({"ContainerCreating", "PodInitializing", ""})


def pod_of(raw: Mapping[str, Any]) -> Pod:
    """Project a pod."""
    metadata, spec, status = raw["metadata"], raw.get("spec") or {}, raw.get("status") or {}
    containers = [
        *(status.get("initContainerStatuses") or []),
        *(status.get("containerStatuses") or []),
    ]
    running = status.get("containerStatuses") or []
    conditions = {condition.get("type"): condition for condition in status.get("conditions") or []}
    ready = conditions.get("Ready") or {}
    is_ready = ready.get("status") == "True"
    starts = [
        seconds_of(((container.get("state") or {}).get("running") or {}).get("startedAt"))
        for container in running
    ]
    known = [time for time in starts if time is not None]
    changed = seconds_of(ready.get("lastTransitionTime") or metadata.get("creationTimestamp"))
    return Pod(
        name=metadata["name"],
        pod_hash=str((metadata.get("labels") or {}).get(POD_HASH_LABEL, "")),
        node=str(spec.get("nodeName") or ""),
        created=seconds_of(metadata.get("creationTimestamp")) or 0.0,
        started=max(known, default=None),
        ready=is_ready,
        ready_since=seconds_of(ready.get("lastTransitionTime")) if is_ready else None,
        unready_since=None if is_ready else changed,
        restarts=sum(int(container.get("restartCount") or 0) for container in containers),
        terminating=bool(metadata.get("deletionTimestamp"))
        or status.get("phase") in ("Succeeded", "Failed"),
        own_failure=_own_failure(containers, conditions),
        is_out_of_memory=any(map(_is_out_of_memory, containers)),
        environment=_environment_fault(containers, conditions, status),
        image_fault=_image_fault(containers),
        address=_own_address(metadata, spec, status),
        page=_metrics_page(metadata, spec),
        image_digests=tuple(islice(_digests(containers), MOST_DIGESTS)),
        endpoints=tuple(_fitting(dict.fromkeys(_endpoints(spec)))),
    )


def _digests(containers: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """Yield the image digest of each container."""
    for container in containers:
        digest = str(container.get("imageID") or "").rpartition("@")[2]
        if digest.startswith("sha256:") and len(digest) <= LONGEST_DIGEST:
            yield str(container.get("name")), digest


def _fitting(endpoints: Iterable[Endpoint]) -> Iterator[Endpoint]:
    """Yield the endpoints that fit in the memory limit."""
    left = MOST_PROBE_BYTES
    for endpoint in endpoints:
        size = endpoint_size(endpoint)
        if size <= left:
            left -= size
            yield endpoint


def _endpoints(spec: Mapping[str, Any]) -> Iterator[Endpoint]:
    """List the httpGet probes of a pod's containers, without those that name another host."""
    for container in spec.get("containers") or []:
        ports = {
            port.get("name"): port.get("containerPort") for port in container.get("ports") or []
        }
        for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
            probe = (container.get(kind) or {}).get("httpGet") or {}
            named = probe.get("port")
            port = str(ports.get(named, named))
            number = whole(port, MOST_PORTS - 1)
            if not probe or probe.get("host") or number is None:
                continue
            path = str(probe.get("path") or "/")
            yield Endpoint(
                path=path if path.startswith("/") else f"/{path}",
                port=number,
                scheme="https" if probe.get("scheme") == "HTTPS" else "http",
                headers=tuple(
                    (str(header.get("name")), str(header.get("value") or ""))
                    for header in probe.get("httpHeaders") or []
                ),
            )


def _own_failure(
    containers: Iterable[Mapping[str, Any]], conditions: Mapping[Any, Mapping[str, Any]]
) -> str:
    for container in containers:
        name, state = container.get("name"), container.get("state") or {}
        waiting, terminated = state.get("waiting") or {}, state.get("terminated") or {}
        reason = str(waiting.get("reason") or "")
        if waiting and reason not in _STARTING_REASONS and not _is_registry_fault(waiting):
            return f"container {name}: {reason} {waiting.get('message', '')}".strip()[:400]
        if terminated and terminated.get("exitCode"):
            return f"container {name}: {terminated.get('reason')} ({terminated['exitCode']})"
    is_ready = (conditions.get("Ready") or {}).get("status") == "True"
    unready = [
        str(container.get("name"))
        for container in containers
        if (container.get("state") or {}).get("running") and not container.get("ready")
    ]
    if unready and not is_ready:
        return f"container {', '.join(unready)}"[:LONGEST_NAMES] + f": {NOT_READY}"
    return ""


def _environment_fault(
    containers: Iterable[Mapping[str, Any]],
    conditions: Mapping[Any, Mapping[str, Any]],
    status: Mapping[str, Any],
) -> str:
    scheduled = conditions.get("PodScheduled") or {}
    if scheduled.get("status") == "False":
        return f"a pod cannot be scheduled: {scheduled.get('message', '')}"[:400]
    if status.get("reason") == "NodeLost":
        return "a pod's node does not answer"
    for container in containers:
        waiting = (container.get("state") or {}).get("waiting") or {}
        if _is_registry_fault(waiting):
            return f"an image cannot be pulled: {waiting.get('message', '')}"[:400]
    return ""


def _image_fault(containers: Iterable[Mapping[str, Any]]) -> str:
    for container in containers:
        reason = ((container.get("state") or {}).get("waiting") or {}).get("reason")
        if reason in _IMAGE_REASONS:
            image = f"image {container.get('image') or 'without a name'}"
            return f"{image} of container {container.get('name')}: {reason}"[:LONGEST_NAMES]
    return ""


def _is_registry_fault(waiting: Mapping[str, Any]) -> bool:
    """Report whether the registry is at fault; an absent image is the release's fault."""
    if waiting.get("reason") not in _REGISTRY_REASONS:
        return False
    message = str(waiting.get("message") or "").lower()
    return not any(word in message for word in ("not found", "manifest unknown"))


def _own_address(
    metadata: Mapping[str, Any], spec: Mapping[str, Any], status: Mapping[str, Any]
) -> str:
    """Return the address that only this pod has; a node's or a dead pod's is shared."""
    is_refused = (metadata.get("annotations") or {}).get("prometheus.io/scrape") == "false"
    has_ended = status.get("phase") in ("Succeeded", "Failed")
    if spec.get("hostNetwork") or is_refused or has_ended:
        return ""
    return str(status.get("podIP") or "")


def _metrics_page(metadata: Mapping[str, Any], spec: Mapping[str, Any]) -> MetricsPage:
    annotations = metadata.get("annotations") or {}
    named = {
        str(port.get("name")): port.get("containerPort")
        for container in spec.get("containers") or []
        for port in container.get("ports") or []
    }
    guessed = next((named[name] for name in _METRICS_PORTS if name in named), 0)
    port = str(annotations.get("prometheus.io/port") or guessed)
    return MetricsPage(
        port=whole(port, MOST_PORTS - 1) or 0,
        path=page_path(annotations.get("prometheus.io/path")),
        scheme="https" if annotations.get("prometheus.io/scheme") == "https" else "http",
        serving_port=int(next((named[name] for name in _SERVING_PORTS if name in named), 0) or 0),
    )


def _is_out_of_memory(container: Mapping[str, Any]) -> bool:
    states = (container.get("state") or {}, container.get("lastState") or {})
    return any((state.get("terminated") or {}).get("reason") == "OOMKilled" for state in states)
