"""Services and EndpointSlices through the API server: which Services exist, and their pods.

A call to a Service goes to the addresses of its pods, which the API server names. DNS and the
Service's own address are not trusted: a name may lead to any host (ExternalName), and an
EndpointSlice may hold any address. Only an address that a Pod object of the namespace confirms is
called: the kubelet writes it, and tenants have no right on `pods/status`.
"""

import asyncio
import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from rollback_operator.adapters.http.addresses import Backends
from rollback_operator.adapters.kube import paths
from rollback_operator.adapters.kube.apiserver import ApiServer, Listing
from rollback_operator.model.services import STOP_LABEL, Service, ServiceSelector
from rollback_operator.ports.failure import Failure, FailureKind

BACKENDS_KNOWN_SECONDS = 5.0
"""How long an answer is reused: the address of a deleted pod may soon belong to another pod."""
MOST_CANDIDATES = 8
"""Pods that are read for one answer."""
MOST_CALLED = 3
MOST_KNOWN = 1000
SERVICE_LABEL = "kubernetes.io/service-name"
_ENDED = ("Succeeded", "Failed")
_REMEDY = "use the host itself as the address, and let the operator's owner allow that host"

_Key = tuple[str, str, int]


class ApiServices:
    """The Services port on a real API server."""

    def __init__(self, api: ApiServer) -> None:
        self._api = api

    async def list_all(self, namespace: str) -> tuple[Service, ...] | Failure:
        """Read the Services of a namespace that select pods, and whether they have endpoints."""
        at = paths.in_namespace
        services, slices = await asyncio.gather(
            self._api.list_of(Listing(at(paths.SERVICES, namespace), _service)),
            self._api.list_of(Listing(at(paths.ENDPOINT_SLICES, namespace), _slice)),
        )
        if isinstance(services, Failure):
            return services
        if isinstance(slices, Failure):
            return slices
        ready = [endpoints for endpoints in slices if endpoints.has_ready_endpoint]
        # A slice without ports has no endpoint of a Service with ports.
        ported = frozenset(endpoints.service for endpoints in ready if endpoints.has_ports)
        addressed = frozenset(endpoints.service for endpoints in ready)
        return tuple(
            replace(
                service,
                has_ready_endpoint=service.name in (ported if service.target_ports else addressed),
            )
            for service in services
            if service is not None
        )


class ApiSelectors:
    """The Selectors port on a real API server."""

    def __init__(self, api: ApiServer) -> None:
        self._api = api

    async def read_selector(self, namespace: str, name: str) -> ServiceSelector | Failure:
        """Read the selector of a Service."""
        raw = await self._api.get(paths.object_in(paths.SERVICES, namespace, name))
        return raw if isinstance(raw, Failure) else _selector_of(raw)

    async def set_mark(
        self, namespace: str, known: ServiceSelector, mark: str
    ) -> ServiceSelector | Failure:
        """Add or remove the label of a stop."""
        change = {"op": "add", "value": mark} if mark else {"op": "remove"}
        operations: list[dict[str, Any]] = [
            {"op": "test", "path": "/metadata/uid", "value": known.uid},
            {"op": "test", "path": "/spec/selector", "value": dict(known.selector)},
            {"path": f"/spec/selector/{STOP_LABEL.replace('/', '~1')}", **change},
        ]
        path = paths.object_in(paths.SERVICES, namespace, known.name)
        written = await self._api.patch(path, operations)
        return written if isinstance(written, Failure) else _selector_of(written)


def _selector_of(raw: Mapping[str, Any]) -> ServiceSelector:
    metadata, selector = raw["metadata"], (raw.get("spec") or {}).get("selector") or {}
    return ServiceSelector(
        name=str(metadata["name"]),
        uid=str(metadata["uid"]),
        selector=tuple(sorted((str(name), str(value)) for name, value in selector.items())),
    )


class ServiceBackends:
    """Finds the pods behind a Service's port."""

    def __init__(self, api: ApiServer) -> None:
        self._api = api
        self._known: dict[_Key, Backends | Failure] = {}

    async def find(self, namespace: str, service: str, port: int) -> Backends | Failure:
        """Return the addresses of pods.

        The failure is REJECTED if the Service leads elsewhere or may not be read, and UNAVAILABLE
        if it has no ready pod now.
        """
        key = namespace, service, port
        known = self._known.get(key)
        if known is not None:
            return known
        backends = await self._backends(namespace, service, port)
        is_passing = isinstance(backends, Failure) and backends.kind is FailureKind.UNAVAILABLE
        if len(self._known) < MOST_KNOWN and not is_passing:
            self._known[key] = backends
            forget = self._known.pop
            asyncio.get_running_loop().call_later(BACKENDS_KNOWN_SECONDS, forget, key, None)
        return backends

    async def _backends(self, namespace: str, service: str, port: int) -> Backends | Failure:
        chosen = paths.label_query({"matchLabels": {SERVICE_LABEL: service}})
        if isinstance(chosen, Failure):
            return Failure(FailureKind.REJECTED, f"{service!r} is not the name of a Service")
        path = paths.in_namespace(paths.ENDPOINT_SLICES, namespace)
        services, slices = await asyncio.gather(
            self._api.get(
                paths.in_namespace(paths.SERVICES, namespace), **paths.name_query(service)
            ),
            self._api.list_of(Listing(path, lambda raw: raw, {"labelSelector": chosen}, free=0)),
        )
        for kind, listed in (("services", services), ("endpointslices", slices)):
            if isinstance(listed, Failure):
                return _read_failure(listed, kind, namespace)
        assert not isinstance(services, Failure)
        assert not isinstance(slices, Failure)
        raw = next(iter(services.get("items") or ()), None)
        if raw is None:
            absent = f"there is no Service {service} in namespace {namespace}"
            return Failure(FailureKind.UNAVAILABLE, absent)
        wanted = _port_of_slices(raw.get("spec") or {}, service, port)
        if isinstance(wanted, Failure):
            return wanted
        ends = list(_endpoints(slices, wanted))
        candidates = sorted(
            _candidates(ends), key=lambda candidate: (candidate.port, candidate.pod)
        )
        if ends and not candidates:
            return _foreign_backends(service, namespace)
        return await self._confirm_pods(candidates[:MOST_CANDIDATES], namespace, service)

    async def _confirm_pods(
        self, candidates: list["_Candidate"], namespace: str, service: str
    ) -> Backends | Failure:
        path = paths.in_namespace(paths.PODS, namespace)
        listed = await asyncio.gather(
            *(self._api.get(path, **paths.name_query(candidate.pod)) for candidate in candidates)
        )
        confirmed: list[_Candidate] = []
        is_host = False
        for candidate, answer in zip(candidates, listed, strict=True):
            if isinstance(answer, Failure):
                return _read_failure(answer, "pods", namespace)
            for pod in answer.get("items") or ():
                is_host = is_host or bool((pod.get("spec") or {}).get("hostNetwork"))
                if _has_own_address(candidate.ip, pod):
                    confirmed.append(candidate)
        # All calls go to one port, as to one server.
        same = [candidate.ip for candidate in confirmed if candidate.port == confirmed[0].port]
        if same:
            return Backends(confirmed[0].port, tuple(same[:MOST_CALLED]))
        if is_host:
            return _foreign_backends(service, namespace)
        message = f"Service {service} has no ready pod in namespace {namespace}"
        return Failure(FailureKind.UNAVAILABLE, message)


@dataclass(frozen=True, slots=True)
class _Slice:
    """What is kept of an EndpointSlice."""

    service: str
    has_ready_endpoint: bool
    has_ports: bool


@dataclass(frozen=True, slots=True)
class _Candidate:
    """An endpoint that names its pod."""

    pod: str
    ip: str
    port: int


@dataclass(frozen=True, slots=True)
class _SlicePort:
    """A port of a Service, as its slices have it."""

    name: str
    number: int | None
    """Only of a headless Service, which maps no ports."""


def _slice(raw: Mapping[str, Any]) -> _Slice:
    labels = raw["metadata"].get("labels") or {}
    has_ready_endpoint = any(map(_is_ready, raw.get("endpoints") or []))
    return _Slice(str(labels.get(SERVICE_LABEL) or ""), has_ready_endpoint, bool(raw.get("ports")))


def _is_ready(endpoint: Mapping[str, Any]) -> bool:
    # An absent condition means ready.
    return (endpoint.get("conditions") or {}).get("ready") is not False


def _service(raw: Mapping[str, Any]) -> Service | None:
    """Project a Service; None: it selects no pods."""
    spec = raw.get("spec") or {}
    if not spec.get("selector"):
        return None
    return Service(
        name=raw["metadata"]["name"],
        selector=tuple(sorted((str(k), str(v)) for k, v in spec["selector"].items())),
        target_ports=tuple(
            str(port.get("targetPort") or port.get("port")) for port in spec.get("ports") or []
        ),
        has_ready_endpoint=False,  # known from its slices alone
    )


def _port_of_slices(spec: Mapping[str, Any], service: str, port: int) -> _SlicePort | Failure:
    if spec.get("type") == "ExternalName":
        message = f"Service {service} is an ExternalName, which may lead to any host: {_REMEDY}"
        return Failure(FailureKind.REJECTED, message)
    if spec.get("clusterIP") == "None":
        return _SlicePort("", port)
    ports = [
        exposed for exposed in spec.get("ports") or () if exposed.get("protocol", "TCP") == "TCP"
    ]
    for exposed in ports:
        if exposed.get("port") == port:
            return _SlicePort(str(exposed.get("name") or ""), None)
    has = ", ".join(str(exposed.get("port")) for exposed in ports) or "none"
    message = f"Service {service} has no TCP port {port} (it has {has}): correct the port"
    return Failure(FailureKind.REJECTED, message)


def _endpoints(
    slices: Iterable[Mapping[str, Any]], wanted: _SlicePort
) -> Iterator[tuple[Mapping[str, Any], int]]:
    """List the ready endpoints, each with its port."""
    for raw_slice in slices:
        port = wanted.number or _port_number(raw_slice, wanted.name)
        for end in raw_slice.get("endpoints") or ():
            if port and _is_ready(end):
                yield end, port


def _port_number(raw_slice: Mapping[str, Any], name: str) -> int:
    for port in raw_slice.get("ports") or ():
        if (port.get("name") or "") == name and port.get("protocol", "TCP") == "TCP":
            return int(port.get("port") or 0)
    return 0


def _candidates(ends: Iterable[tuple[Mapping[str, Any], int]]) -> Iterator[_Candidate]:
    for end, port in ends:
        target = end.get("targetRef") or {}
        # The namespace of the reference is ignored: the Pod is read from this namespace alone.
        if target.get("kind") == "Pod" and target.get("name"):
            for ip in end.get("addresses") or ():
                yield _Candidate(str(target["name"]), str(ip), port)


def _has_own_address(ip: str, pod: Mapping[str, Any]) -> bool:
    """Report whether only this pod has an address; a node's or a dead pod's may be shared."""
    spec, status = pod.get("spec") or {}, pod.get("status") or {}
    if spec.get("hostNetwork") or status.get("phase") in _ENDED:
        return False
    own = {str(address.get("ip")) for address in status.get("podIPs") or ()} | {
        str(status.get("podIP"))
    }
    return _canonical(ip) in {_canonical(address) for address in own}


def _canonical(ip: str) -> str:
    try:
        return str(ipaddress.ip_address(ip))
    except ValueError:
        return ""


def _foreign_backends(service: str, namespace: str) -> Failure:
    message = (
        f"Service {service} leads to an address that belongs to no pod of namespace {namespace} "
        f"alone: {_REMEDY}"
    )
    return Failure(FailureKind.REJECTED, message)


def _read_failure(failure: Failure, kind: str, namespace: str) -> Failure:
    if failure.kind is FailureKind.REJECTED:
        message = f"the operator may not list {kind} of namespace {namespace}: see the chart's rbac"
        return Failure(FailureKind.REJECTED, message)
    message = f"cannot read {kind} of namespace {namespace}: the API server does not answer"
    return Failure(FailureKind.UNAVAILABLE, message, failure.retry_after)
