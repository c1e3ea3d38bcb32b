"""What the API server's refusals mean: its own answers, as a 1.34 server gave them."""

import json
from typing import Any

import pytest

from rollback_operator.apiserver import failure_of
from rollback_operator.ports import FailureKind

PATH = "/apis/apps/v1/namespaces/production/deployments/shop"


def answer(reason: str, message: str, **details: Any) -> str:
    status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
    return json.dumps({**status, "message": message, "reason": reason, "details": details})


GENERIC = "the server rejected our request due to an error in our request"
ROWS = {
    "a test of a JSON patch failed": (
        "PATCH",
        422,
        answer("Invalid", GENERIC),
        FailureKind.CONFLICT,
    ),
    "the object would be invalid": (
        "PATCH",
        422,
        answer("Invalid", "spec.replicas: Invalid value: -1", causes=[{"field": "spec.replicas"}]),
        FailureKind.REJECTED,
    ),
    "a new object is invalid": ("POST", 422, answer("Invalid", GENERIC), FailureKind.REJECTED),
    "somebody was faster": ("PUT", 409, answer("Conflict", "modified"), FailureKind.CONFLICT),
    "it is there": ("POST", 409, answer("AlreadyExists", "exists"), FailureKind.EXISTS),
    "it is gone": ("GET", 404, answer("NotFound", "not found"), FailureKind.GONE),
    "no right": ("PATCH", 403, answer("Forbidden", "forbidden"), FailureKind.REJECTED),
    "token expired": ("GET", 401, answer("Unauthorized", "no"), FailureKind.UNAVAILABLE),
    "too many requests": ("GET", 429, "slow down", FailureKind.UNAVAILABLE),
    "a proxy's page": ("PATCH", 503, "<html>", FailureKind.UNAVAILABLE),
    "an answer that is no object": ("PATCH", 422, "[]", FailureKind.REJECTED),
}


@pytest.mark.parametrize(("method", "status", "content", "kind"), ROWS.values(), ids=ROWS)
def test_failure_of(method: str, status: int, content: str, kind: FailureKind) -> None:
    assert failure_of(f"{method} {PATH}", status, content, None).kind is kind


def test_the_server_says_when_to_try_again() -> None:
    assert failure_of(f"GET {PATH}", 429, "", "7").wait == 7
