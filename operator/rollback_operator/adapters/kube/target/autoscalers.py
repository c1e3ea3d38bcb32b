"""HorizontalPodAutoscalers through the API server: read on demand; only their bounds are written.

Every write is a JSON patch that tests uid and bounds as they were read. The guard is not
resourceVersion, because the controller's status updates change it every 15 seconds.
"""

from rollback_operator.adapters.kube import paths
from rollback_operator.adapters.kube.apiserver import ApiServer
from rollback_operator.adapters.kube.projections.autoscalers import autoscaler_of
from rollback_operator.model.workload import Autoscaler, Bounds
from rollback_operator.ports.failure import Failure, FailureKind

_LEAST, _MOST = "/spec/minReplicas", "/spec/maxReplicas"


class ApiAutoscalers:
    """The Autoscalers port on a real API server."""

    def __init__(self, api: ApiServer) -> None:
        self._api = api

    async def read_autoscaler(self, namespace: str, name: str) -> Autoscaler | Failure:
        """Read an autoscaler."""
        raw = await self._api.get(_path(namespace, name))
        return raw if isinstance(raw, Failure) else autoscaler_of(raw)

    async def set_bounds(
        self, namespace: str, autoscaler: Autoscaler, bounds: Bounds
    ) -> Autoscaler | Failure:
        """Set the bounds that differ."""
        known = autoscaler.bounds
        operations: list[dict[str, object]] = [
            {"op": "test", "path": "/metadata/uid", "value": autoscaler.uid},
            {"op": "test", "path": _LEAST, "value": known.least},
            {"op": "test", "path": _MOST, "value": known.most},
        ]
        for path, before, after in (
            (_LEAST, known.least, bounds.least),
            (_MOST, known.most, bounds.most),
        ):
            if before != after:
                operations.append({"op": "replace", "path": path, "value": after})
        written = await self._api.patch(_path(namespace, autoscaler.name), operations)
        if isinstance(written, Failure):
            if written.kind is FailureKind.REJECTED:
                # A missing right, or a refusal by admission: the server's message says which.
                message = (
                    f"{written.message} (rbac.autoscalers of the operator's chart gives the right)"
                )
                return Failure(written.kind, message)
            # The caller reads again after a conflict, and then sees that it is gone.
            is_gone = written.kind is FailureKind.GONE
            return Failure(FailureKind.CONFLICT, written.message) if is_gone else written
        return autoscaler_of(written)


def _path(namespace: str, name: str) -> paths.ApiPath:
    return paths.object_in(paths.AUTOSCALERS, namespace, name)
