"""What a Service of a policy's namespace leads to: its pods, asked of the API server.

Not what DNS answers and not the Service's own address: behind a name may be any host
(ExternalName), and behind the address whatever somebody has written into an EndpointSlice. Of what
a Service's slices say only that is taken which a Pod object of the namespace confirms, and there it
is called. A pod's address is written by its kubelet: `pods/status` is no right of tenants.
"""

import asyncio
import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rollback_operator.adapters.http.addresses import Backends
from rollback_operator.adapters.kube import paths
from rollback_operator.adapters.kube.apiserver import ApiServer, Listing
from rollback_operator.ports.failure import Failure, FailureKind

BACKENDS_KNOWN_SECONDS = 5.0
"""For how long an answer is taken: a pod's address may be another's a while after its end."""
MOST_CANDIDATES = 8
"""Pods that are looked at for one answer."""
MOST_CALLED = 3
MOST_KNOWN = 1000
_SERVICE_LABEL = "kubernetes.io/service-name"
_ENDED = ("Succeeded", "Failed")
_REMEDY = "name the host itself, and have the operator's owner allow it"

_Key = tuple[str, str, int]


@dataclass(frozen=True, slots=True)
class _Candidate:
    """An endpoint that says whose it is."""

    pod: str
    ip: str
    port: int


class ServiceBackends:
    """Finds the pods behind a Service's port."""

    def __init__(self, api: ApiServer) -> None:
        self._api = api
        self._known: dict[_Key, Backends | Failure] = {}

    async def find(self, namespace: str, service: str, port: int) -> Backends | Failure:
        """Give the addresses of pods.

        Rejected: it leads elsewhere, or may not be looked at. Unavailable: to no ready pod now.
        """
        key = namespace, service, port
        known = self._known.get(key)
        if known is not None:
            return known
        found = await self._found(namespace, service, port)
        if len(self._known) < MOST_KNOWN and not _is_passing(found):
            self._known[key] = found
            asyncio.get_running_loop().call_later(
                BACKENDS_KNOWN_SECONDS, self._known.pop, key, None
            )
        return found

    async def _found(self, namespace: str, service: str, port: int) -> Backends | Failure:
        of = paths.label_query({"matchLabels": {_SERVICE_LABEL: service}})
        if isinstance(of, Failure):
            return Failure(FailureKind.REJECTED, f"{service!r} is no name of a Service")
        path = paths.in_namespace(paths.ENDPOINT_SLICES, namespace)
        services, slices = await asyncio.gather(
            self._api.get(paths.in_namespace(paths.SERVICES, namespace), **paths.only_one(service)),
            self._api.list_of(Listing(path, lambda one: one, {"labelSelector": of}, free=0)),
        )
        for kind, listed in (("services", services), ("endpointslices", slices)):
            if isinstance(listed, Failure):
                return _unread(listed, kind, namespace)
        assert not isinstance(services, Failure)
        assert not isinstance(slices, Failure)
        said = next(iter(services.get("items") or ()), None)
        if said is None:
            none = f"there is no Service {service} in namespace {namespace}"
            return Failure(FailureKind.UNAVAILABLE, none)
        wanted = _wanted(said.get("spec") or {}, service, port)
        if isinstance(wanted, Failure):
            return wanted
        ends = list(_endpoints(slices, wanted))
        candidates = sorted(_candidates(ends), key=lambda one: (one.port, one.pod))
        if ends and not candidates:
            return _strange(service, namespace)
        return await self._confirmed(candidates[:MOST_CANDIDATES], namespace, service)

    async def _confirmed(
        self, candidates: list[_Candidate], namespace: str, service: str
    ) -> Backends | Failure:
        path = paths.in_namespace(paths.PODS, namespace)
        listed = await asyncio.gather(
            *(self._api.get(path, **paths.only_one(one.pod)) for one in candidates)
        )
        found: list[_Candidate] = []
        is_host = False
        for one, answer in zip(candidates, listed, strict=True):
            if isinstance(answer, Failure):
                return _unread(answer, "pods", namespace)
            for pod in answer.get("items") or ():
                is_host = is_host or bool((pod.get("spec") or {}).get("hostNetwork"))
                if _is_its_own(one.ip, pod):
                    found.append(one)
        # One port for all: what is called is one server.
        same = [one.ip for one in found if one.port == found[0].port]
        if same:
            return Backends(found[0].port, tuple(same[:MOST_CALLED]))
        if is_host:
            return _strange(service, namespace)
        said = f"Service {service} leads to no ready pod of namespace {namespace}"
        return Failure(FailureKind.UNAVAILABLE, said)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A port of a Service, as its slices have it."""

    name: str
    number: int | None
    """Of a headless Service, which translates none."""


def _wanted(spec: Mapping[str, Any], service: str, port: int) -> _Wanted | Failure:
    if spec.get("type") == "ExternalName":
        said = f"Service {service} is an ExternalName, which may lead anywhere: {_REMEDY}"
        return Failure(FailureKind.REJECTED, said)
    if spec.get("clusterIP") == "None":
        return _Wanted("", port)
    ports = [one for one in spec.get("ports") or () if one.get("protocol", "TCP") == "TCP"]
    for one in ports:
        if one.get("port") == port:
            return _Wanted(str(one.get("name") or ""), None)
    has = ", ".join(str(one.get("port")) for one in ports) or "none"
    said = f"Service {service} has no TCP port {port}, but {has}: name its port in the address"
    return Failure(FailureKind.REJECTED, said)


def _endpoints(
    slices: Iterable[Mapping[str, Any]], wanted: _Wanted
) -> Iterator[tuple[Mapping[str, Any], int]]:
    """List the ready endpoints with the port at which each is called."""
    for one in slices:
        port = wanted.number or _port(one, wanted.name)
        for end in one.get("endpoints") or ():
            # A condition that is not given is to be taken for ready.
            if port and (end.get("conditions") or {}).get("ready") is not False:
                yield end, port


def _port(one: Mapping[str, Any], name: str) -> int:
    for port in one.get("ports") or ():
        if (port.get("name") or "") == name and port.get("protocol", "TCP") == "TCP":
            return int(port.get("port") or 0)
    return 0


def _candidates(ends: Iterable[tuple[Mapping[str, Any], int]]) -> Iterator[_Candidate]:
    for end, port in ends:
        target = end.get("targetRef") or {}
        # In whatever namespace it says the Pod is: only this one's is looked at.
        if target.get("kind") == "Pod" and target.get("name"):
            for ip in end.get("addresses") or ():
                yield _Candidate(str(target["name"]), str(ip), port)


def _is_its_own(ip: str, pod: Mapping[str, Any]) -> bool:
    """Tell whether an address is a pod's alone: a node's, or a dead pod's, is somebody else's."""
    spec, status = pod.get("spec") or {}, pod.get("status") or {}
    if spec.get("hostNetwork") or status.get("phase") in _ENDED:
        return False
    own = {str(one.get("ip")) for one in status.get("podIPs") or ()} | {str(status.get("podIP"))}
    return _plain(ip) in {_plain(one) for one in own}


def _plain(ip: str) -> str:
    try:
        return str(ipaddress.ip_address(ip))
    except ValueError:
        return ""


def _is_passing(found: Backends | Failure) -> bool:
    return isinstance(found, Failure) and found.kind is FailureKind.UNAVAILABLE


def _strange(service: str, namespace: str) -> Failure:
    said = (
        f"Service {service} leads to what is no pod of namespace {namespace} with an address of "
        f"its own: {_REMEDY}"
    )
    return Failure(FailureKind.REJECTED, said)


def _unread(failure: Failure, kind: str, namespace: str) -> Failure:
    if failure.kind is FailureKind.REJECTED:
        said = f"the operator may not list {kind} of namespace {namespace}: see the chart's rbac"
        return Failure(FailureKind.REJECTED, said)
    said = f"the {kind} of namespace {namespace} cannot be read now: the API server does not answer"
    return Failure(FailureKind.UNAVAILABLE, said, failure.retry_after)
