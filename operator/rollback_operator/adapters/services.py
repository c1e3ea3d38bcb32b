"""Services and their EndpointSlices through the API server; only read."""

import asyncio
from collections.abc import Mapping
from typing import Any

from rollback_operator import paths
from rollback_operator.apiserver import ApiServer
from rollback_operator.core.services import Service
from rollback_operator.ports.failure import Failure

SERVICE_LABEL = "kubernetes.io/service-name"


class ApiServices:
    """The Services port on a real API server."""

    def __init__(self, api: ApiServer) -> None:
        self._api = api

    async def list_all(self, namespace: str) -> tuple[Service, ...] | Failure:
        """Read the Services of a namespace that choose pods, and whether they lead to any."""
        services, slices = await asyncio.gather(
            self._api.get(paths.in_namespace(paths.SERVICES, namespace)),
            self._api.get(paths.in_namespace(paths.ENDPOINT_SLICES, namespace)),
        )
        if isinstance(services, Failure):
            return services
        if isinstance(slices, Failure):
            return slices
        ready = [one for one in slices.get("items") or () if _has_ready_endpoint(one)]
        # Of a Service with ports, a slice without one leads nowhere.
        ported = frozenset(_service_of(one) for one in ready if one.get("ports"))
        addressed = frozenset(map(_service_of, ready))
        return tuple(
            _service(one, ported if one["spec"].get("ports") else addressed)
            for one in services.get("items") or ()
            if (one.get("spec") or {}).get("selector")
        )


def _service_of(raw: Mapping[str, Any]) -> str:
    return str((raw["metadata"].get("labels") or {}).get(SERVICE_LABEL) or "")


def _has_ready_endpoint(raw: Mapping[str, Any]) -> bool:
    # A condition that is not given is to be taken for ready.
    return any(
        (one.get("conditions") or {}).get("ready") is not False
        for one in raw.get("endpoints") or []
    )


def _service(raw: Mapping[str, Any], serving: frozenset[str]) -> Service:
    spec = raw["spec"]
    return Service(
        name=raw["metadata"]["name"],
        selector=tuple(sorted((str(k), str(v)) for k, v in spec["selector"].items())),
        target_ports=tuple(
            str(one.get("targetPort") or one.get("port")) for one in spec.get("ports") or []
        ),
        has_ready_endpoint=raw["metadata"]["name"] in serving,
    )
