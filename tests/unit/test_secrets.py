"""Secrets: what is read, and that no failure tells a value."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from typing import Any

import pytest

from rollback_operator.adapters.kube.secrets import ApiSecrets
from rollback_operator.ports.failure import Failure, FailureKind

VALUE = "s3cret-value"


class Api:
    """Answers each read with one thing."""

    def __init__(self, answer: dict[str, Any] | Failure) -> None:
        self.answer = answer
        self.paths: list[str] = []

    async def get(self, path: str, **query: str) -> dict[str, Any] | Failure:
        self.paths.append(path)
        return self.answer


def secret(data: dict[str, Any] | None) -> dict[str, Any]:
    return {"kind": "Secret", "data": data}


async def read(answer: dict[str, Any] | Failure) -> str | Failure:
    api = Api(answer)
    found = await ApiSecrets(api).read("shop", "slack", "url")  # type: ignore[arg-type]
    assert api.paths == ["/api/v1/namespaces/shop/secrets/slack"]
    return found


async def read_all(answer: dict[str, Any] | Failure) -> Mapping[str, str] | Failure:
    return await ApiSecrets(Api(answer)).read_all("shop", "probe")  # type: ignore[arg-type]


async def test_all_values_are_decoded_or_none() -> None:
    text, bad = (b64encode(one).decode() for one in (VALUE.encode(), b"\xff"))
    assert await read_all(secret({"a": text, "b": text})) == {"a": VALUE, "b": VALUE}
    assert await read_all(secret(None)) == {}
    for answer in (secret({"a": text, "b": bad}), Failure(FailureKind.GONE, VALUE)):
        found = await read_all(answer)
        assert isinstance(found, Failure)
        assert VALUE not in found.message


async def test_a_value_is_decoded() -> None:
    assert await read(secret({"url": b64encode(VALUE.encode()).decode()})) == VALUE


@pytest.mark.parametrize(
    ("answer", "kind", "said"),
    [
        (secret(None), FailureKind.GONE, "has no key url"),
        (secret({"other": b64encode(VALUE.encode()).decode()}), FailureKind.GONE, "no key url"),
        (secret({"url": f"{VALUE}!"}), FailureKind.REJECTED, "not UTF-8"),
        (
            secret({"url": b64encode(VALUE.encode() + b"\xff").decode()}),
            FailureKind.REJECTED,
            "key",
        ),
        (Failure(FailureKind.GONE, VALUE), FailureKind.GONE, "no Secret slack in namespace shop"),
        (Failure(FailureKind.GONE, VALUE), FailureKind.GONE, "create it, or correct its name"),
        (secret(None), FailureKind.GONE, "Secret slack in namespace shop has no key url"),
        (Failure(FailureKind.REJECTED, VALUE), FailureKind.REJECTED, "readSecrets"),
        (Failure(FailureKind.UNAVAILABLE, VALUE, 7.0), FailureKind.UNAVAILABLE, "slack"),
    ],
)
async def test_a_failure_names_secret_and_key_and_no_value(
    answer: dict[str, Any] | Failure, kind: FailureKind, said: str
) -> None:
    found = await read(answer)

    assert isinstance(found, Failure)
    assert (found.kind, VALUE in found.message) == (kind, False)
    assert said in found.message
    assert found.retry_after == (answer.retry_after if isinstance(answer, Failure) else None)
