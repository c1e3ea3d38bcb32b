"""Lines of containers' logs, counted as they come by; none is kept."""

from datetime import UTC

from rollback_operator.adapters.kube import paths
from rollback_operator.adapters.kube.apiserver import ApiServer
from rollback_operator.ports.application import LogQuery
from rollback_operator.ports.failure import Failure, FailureKind
from rollback_operator.rollback.probing import LineCount, Silence

MOST_LOG_BYTES = 1024 * 1024
"""Of one pod's log, from the beginning of the time that is asked for."""


class ApiLogs:
    """The Logs port on a real API server."""

    def __init__(self, api: ApiServer) -> None:
        self._api = api

    async def count(self, query: LogQuery) -> LineCount | Silence:
        """Read a log's part and count the lines in it."""
        found = await self._api.get_text(
            paths.one_in(paths.PODS, query.namespace, query.pod, "log"),
            container=query.container,
            sinceTime=query.since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            limitBytes=str(MOST_LOG_BYTES),
        )
        if isinstance(found, Failure):
            return _silence(found)
        texts = tuple(text.encode() for text in query.texts)
        lines = sum(any(text in line for text in texts) for line in found.splitlines())
        return LineCount(lines, len(found) < MOST_LOG_BYTES)


def _silence(failure: Failure) -> Silence:
    match failure.kind:
        case FailureKind.REJECTED:
            # Also said of a container that is about to start: it may be read a moment later.
            return Silence(
                "its log may not be read (rbac.podLogs of the operator's chart), or it has no such "
                "container"
            )
        case FailureKind.GONE:
            return Silence("the pod is gone")
        case _:
            return Silence("its log cannot be read now")
