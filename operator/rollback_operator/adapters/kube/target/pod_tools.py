"""`kubectl exec` and `kubectl top` for a diagnosis: one command in one container, memory of pods.

Of the output only the end is kept; what a container sends is never parsed but for its exit status,
which the kubelet writes.
"""

import re
from collections.abc import Mapping

import aiohttp

from rollback_operator.adapters.http.causes import cause
from rollback_operator.adapters.kube import paths
from rollback_operator.adapters.kube.apiserver import ApiServer, Listing
from rollback_operator.adapters.kube.refusals import failure_of
from rollback_operator.api.safety import PodCommand
from rollback_operator.api.user_text.json_text import parsed
from rollback_operator.ports.application import CommandOutput
from rollback_operator.ports.failure import Failure, FailureKind

KEPT_OUTPUT_BYTES = 2048
_OUTPUT, _STATUS = (1, 2), 3
"""Channels of the stream."""
_AMOUNT = re.compile(r"([0-9]{1,15})(Ki|Mi|Gi)?")
_UNITS = {None: 1, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}


class ApiPodTools:
    """The PodTools port on a real API server."""

    def __init__(self, api: ApiServer) -> None:
        self._api = api

    async def run(self, namespace: str, pod: str, command: PodCommand) -> CommandOutput | Failure:
        """Run a command, and keep the end of its output."""
        path = paths.object_in(paths.PODS, namespace, pod, "exec")
        query = [("stdout", "true"), ("stderr", "true")]
        query += [("container", command.container)] if command.container else []
        query += [("command", part) for part in command.command]
        kept, status = bytearray(), b""
        try:
            async with await self._api.socket(path, query) as socket:
                async for message in socket:
                    if message.type is not aiohttp.WSMsgType.BINARY or not message.data:
                        continue
                    channel, data = message.data[0], message.data[1:]
                    if channel in _OUTPUT:
                        kept += data
                        del kept[:-KEPT_OUTPUT_BYTES]
                    elif channel == _STATUS:
                        status = data
        except aiohttp.WSServerHandshakeError as error:
            return failure_of(f"exec in {pod}", error.status, error.message, None)
        except (aiohttp.ClientError, OSError) as error:
            return Failure(FailureKind.UNAVAILABLE, f"exec in {pod}: {cause(error)}")
        return CommandOutput(kept.decode(errors="replace"), _fault_of(status))

    async def memory(self, namespace: str) -> Mapping[str, int] | Failure:
        """Read the memory of pods from the metrics-server."""
        listing = Listing(paths.in_namespace(paths.POD_METRICS, namespace), _memory_of)
        listed = await self._api.list_of(listing)
        return listed if isinstance(listed, Failure) else dict(listed)


def _fault_of(status: bytes) -> str:
    """Return why a command failed; empty: it succeeded."""
    if not status:
        return "the connection ended before the command"
    try:
        answer = parsed(status)
    except ValueError:
        return "its exit status is not readable"
    if isinstance(answer, dict) and answer.get("status") == "Success":
        return ""
    return str(answer.get("message") if isinstance(answer, dict) else answer)[:256]


def _memory_of(raw: Mapping[str, object]) -> tuple[str, int]:
    metadata, containers = raw.get("metadata"), raw.get("containers")
    name = str(metadata.get("name")) if isinstance(metadata, dict) else ""
    usages = [
        str((each.get("usage") or {}).get("memory") or "")
        for each in (containers if isinstance(containers, list) else [])
        if isinstance(each, dict)
    ]
    return name, sum(map(_bytes_of, usages))


def _bytes_of(amount: str) -> int:
    match = _AMOUNT.fullmatch(amount)
    return int(match[1]) * _UNITS[match[2]] if match else 0
