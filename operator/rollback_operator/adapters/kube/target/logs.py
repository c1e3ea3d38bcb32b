"""Lines of container logs: counted, never kept."""

from datetime import UTC

from rollback_operator.adapters.kube import paths
from rollback_operator.adapters.kube.apiserver import ApiServer
from rollback_operator.ports.application import LogQuery
from rollback_operator.ports.failure import Failure, FailureKind
from rollback_operator.rollback.probing import LineCount, Silence

MOST_LOG_BYTES = 1024 * 1024
"""Limit per pod, from the start of the requested time."""


class ApiLogs:
    """The Logs port on a real API server."""

    def __init__(self, api: ApiServer) -> None:
        self._api = api

    async def count(self, query: LogQuery) -> LineCount | Silence:
        """Read a part of a log and count the matching lines."""
        text = await self._api.get_text(
            paths.object_in(paths.PODS, query.namespace, query.pod, "log"),
            container=query.container,
            sinceTime=query.since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            limitBytes=str(MOST_LOG_BYTES),
        )
        if isinstance(text, Failure):
            return _silence(text)
        wanted = tuple(pattern.encode() for pattern in query.texts)
        lines = sum(any(pattern in line for pattern in wanted) for line in text.splitlines())
        return LineCount(lines, len(text) < MOST_LOG_BYTES)


def _silence(failure: Failure) -> Silence:
    match failure.kind:
        case FailureKind.REJECTED:
            # The server gives the same answer for a container that is about to start.
            return Silence(
                "its log may not be read (rbac.podLogs of the operator's chart), or it has no such "
                "container"
            )
        case FailureKind.GONE:
            return Silence("the pod is gone")
        case _:
            return Silence("its log cannot be read now")
