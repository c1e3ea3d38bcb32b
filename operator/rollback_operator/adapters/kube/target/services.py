"""Services and their EndpointSlices through the API server; only read."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from rollback_operator.adapters.kube import paths
from rollback_operator.adapters.kube.apiserver import ApiServer, Listing
from rollback_operator.model.services import Service
from rollback_operator.ports.failure import Failure

SERVICE_LABEL = "kubernetes.io/service-name"


class ApiServices:
    """The Services port on a real API server."""

    def __init__(self, api: ApiServer) -> None:
        self._api = api

    async def list_all(self, namespace: str) -> tuple[Service, ...] | Failure:
        """Read the Services of a namespace that choose pods, and whether they lead to any."""
        at = paths.in_namespace
        services, slices = await asyncio.gather(
            self._api.list_of(Listing(at(paths.SERVICES, namespace), _service)),
            self._api.list_of(Listing(at(paths.ENDPOINT_SLICES, namespace), _slice)),
        )
        if isinstance(services, Failure):
            return services
        if isinstance(slices, Failure):
            return slices
        ready = [one for one in slices if one.has_ready_endpoint]
        # Of a Service with ports, a slice without one leads nowhere.
        ported = frozenset(one.service for one in ready if one.has_ports)
        addressed = frozenset(one.service for one in ready)
        return tuple(
            replace(one, has_ready_endpoint=one.name in (ported if one.target_ports else addressed))
            for one in services
            if one is not None
        )


@dataclass(frozen=True, slots=True)
class _Slice:
    """What is kept of an EndpointSlice."""

    service: str
    has_ready_endpoint: bool
    has_ports: bool


def _slice(raw: Mapping[str, Any]) -> _Slice:
    return _Slice(_service_of(raw), _has_ready_endpoint(raw), bool(raw.get("ports")))


def _service_of(raw: Mapping[str, Any]) -> str:
    return str((raw["metadata"].get("labels") or {}).get(SERVICE_LABEL) or "")


def _has_ready_endpoint(raw: Mapping[str, Any]) -> bool:
    # A condition that is not given is to be taken for ready.
    return any(
        (one.get("conditions") or {}).get("ready") is not False
        for one in raw.get("endpoints") or []
    )


def _service(raw: Mapping[str, Any]) -> Service | None:
    """Project a Service; None: it chooses no pods."""
    spec = raw.get("spec") or {}
    if not spec.get("selector"):
        return None
    return Service(
        name=raw["metadata"]["name"],
        selector=tuple(sorted((str(k), str(v)) for k, v in spec["selector"].items())),
        target_ports=tuple(
            str(one.get("targetPort") or one.get("port")) for one in spec.get("ports") or []
        ),
        has_ready_endpoint=False,  # its slices say so
    )
