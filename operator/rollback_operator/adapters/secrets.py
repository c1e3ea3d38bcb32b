"""Secrets of a policy's namespace, read when they are needed and kept nowhere.

No value is logged, cached or put into a failure.
"""

import base64
import binascii

from rollback_operator.apiserver import ApiServer
from rollback_operator.ports import Failure, FailureKind


class ApiSecrets:
    """The Secrets port on a real API server."""

    def __init__(self, api: ApiServer) -> None:
        self._api = api

    async def read(self, namespace: str, name: str, key: str) -> str | Failure:
        """Read one value."""
        raw = await self._api.get(f"/api/v1/namespaces/{namespace}/secrets/{name}")
        if isinstance(raw, Failure):
            return _told(raw, namespace, name)
        value = (raw.get("data") or {}).get(key)
        if value is None:
            return Failure(FailureKind.GONE, f"Secret {name} has no key {key}")
        try:
            return base64.b64decode(value, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError, TypeError, ValueError):
            # Not chained and without words of the error: a decoder's would quote the value.
            return Failure(FailureKind.REJECTED, f"key {key} of Secret {name} is not UTF-8 text")


def _told(failure: Failure, namespace: str, name: str) -> Failure:
    """Say what is missing and what helps, in place of the server's words."""
    match failure.kind:
        case FailureKind.GONE:
            return Failure(FailureKind.GONE, f"there is no Secret {name} in namespace {namespace}")
        case FailureKind.REJECTED:
            said = (
                f"the operator may not read Secret {name} of namespace {namespace}: list it in the "
                "chart's readSecrets"
            )
            return Failure(FailureKind.REJECTED, said)
        case _:
            said = f"Secret {name} cannot be read now: the API server does not answer"
            return Failure(FailureKind.UNAVAILABLE, said, failure.retry_after)
