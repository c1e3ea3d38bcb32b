"""Secrets of a policy's namespace, read on demand.

No value is logged, cached or part of a failure.
"""

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from rollback_operator.adapters.kube import paths
from rollback_operator.adapters.kube.apiserver import ApiServer
from rollback_operator.ports.failure import Failure, FailureKind


class ApiSecrets:
    """The Secrets port on a real API server."""

    def __init__(self, api: ApiServer) -> None:
        self._api = api

    async def read(self, namespace: str, name: str, key: str) -> str | Failure:
        """Read one value."""
        data = await self._read_data(namespace, name)
        if isinstance(data, Failure):
            return data
        if data.get(key) is None:
            message = (
                f"Secret {name} in namespace {namespace} has no key {key}: add the key, or correct "
                "the name of the key in the policy"
            )
            return Failure(FailureKind.GONE, message)
        return _decoded(data[key], name, key)

    async def read_all(self, namespace: str, name: str) -> Mapping[str, str] | Failure:
        """Read all values."""
        data = await self._read_data(namespace, name)
        if isinstance(data, Failure):
            return data
        values: dict[str, str] = {}
        for key, value in data.items():
            text = _decoded(value, name, key)
            if isinstance(text, Failure):
                return text
            values[key] = text
        return values

    async def _read_data(self, namespace: str, name: str) -> dict[str, Any] | Failure:
        raw = await self._api.get(paths.object_in(paths.SECRETS, namespace, name))
        return (
            _read_failure(raw, namespace, name)
            if isinstance(raw, Failure)
            else raw.get("data") or {}
        )


def _decoded(value: Any, name: str, key: str) -> str | Failure:
    try:
        return base64.b64decode(value, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError, TypeError, ValueError):
        # Neither chained nor quoted: the decoder's message contains the value.
        return Failure(FailureKind.REJECTED, f"key {key} of Secret {name} is not UTF-8 text")


def _read_failure(failure: Failure, namespace: str, name: str) -> Failure:
    """Name the fault and the remedy, instead of the server's message."""
    match failure.kind:
        case FailureKind.GONE:
            message = (
                f"there is no Secret {name} in namespace {namespace}: create it, or correct its "
                "name in the policy"
            )
            return Failure(FailureKind.GONE, message)
        case FailureKind.REJECTED:
            message = (
                f"the operator may not read Secret {name} of namespace {namespace}: list it in the "
                "chart's readSecrets, or correct its name in the policy"
            )
            return Failure(FailureKind.REJECTED, message)
        case _:
            message = f"Secret {name} cannot be read now: the API server does not answer"
            return Failure(FailureKind.UNAVAILABLE, message, failure.retry_after)
