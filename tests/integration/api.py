"""The API server as a test uses it: paths, dictionaries, an error with the server's own words."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import requests

GROUP = "/apis/rollback.tickettoken.io/v1alpha1"
MERGE = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
APPLY = "application/apply-patch+yaml"
TIMEOUT_SECONDS = 120.0
PATIENCE = 4
"""How many times as long is waited as an idle machine may take: none of it says how fast it is."""
ERROR = 400
TOO_EARLY = 429
TIMED_OUT = 504
"""Said while the server has not read its storage yet, too."""

Object = dict[str, Any]
T = TypeVar("T")


class ApiError(Exception):
    """The API server refused."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


class Api:
    """The administrator's connection."""

    def __init__(self, kubeconfig: Path) -> None:
        document = json.loads(kubeconfig.read_text())
        cluster = document["clusters"][0]["cluster"]
        self.server: str = cluster["server"]
        self.authority: str = cluster["certificate-authority"]
        self.token: str = document["users"][0]["user"]["token"]
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.verify = self.authority
        self._session.headers["Authorization"] = f"Bearer {self.token}"
        adapter = requests.adapters.HTTPAdapter(pool_maxsize=64)
        self._session.mount("https://", adapter)

    def close(self) -> None:
        self._session.close()

    def impersonate(self, user: str) -> None:
        """Be somebody else from now on."""
        self._session.headers["Impersonate-User"] = user

    def log_in(self, token: str) -> None:
        """Be whoever has this token from now on."""
        self._session.headers["Authorization"] = f"Bearer {token}"

    def get(self, path: str, **query: str) -> Object:
        return self._call("GET", path, params=query)

    def find(self, path: str) -> Object | None:
        """Get an object, or None where there is none."""
        try:
            return self.get(path)
        except ApiError as error:
            if error.status == requests.codes.not_found:
                return None
            raise

    def create(self, path: str, body: Object) -> Object:
        return self._call("POST", path, json=body)

    def merge(self, path: str, patch: Object) -> Object:
        headers = {"Content-Type": MERGE}
        return self._call("PATCH", path, data=json.dumps(patch), headers=headers)

    def patch(self, path: str, operations: list[Object]) -> Object:
        headers = {"Content-Type": JSON_PATCH}
        return self._call("PATCH", path, data=json.dumps(operations), headers=headers)

    def apply(self, path: str, manifest: Object, manager: str) -> Object:
        """Apply server-side, over whoever owns the fields."""
        headers = {"Content-Type": APPLY}
        query = {"fieldManager": manager, "force": "true"}
        return self._call("PATCH", path, data=json.dumps(manifest), headers=headers, params=query)

    def delete(self, path: str) -> None:
        self._call("DELETE", path)

    def _call(self, method: str, path: str, **options: Any) -> Object:
        url, deadline = f"{self.server}{path}", time.monotonic() + TIMEOUT_SECONDS
        answer = self._session.request(method, url, timeout=TIMEOUT_SECONDS, **options)
        again = (TOO_EARLY, TIMED_OUT) if method == "GET" else (TOO_EARLY,)
        while answer.status_code in again and time.monotonic() < deadline:
            time.sleep(0.2)
            answer = self._session.request(method, url, timeout=TIMEOUT_SECONDS, **options)
        if answer.status_code >= ERROR:
            raise ApiError(answer.status_code, _words(answer))
        found: Object = answer.json()
        return found


def _words(answer: requests.Response) -> str:
    try:
        return str(answer.json()["message"])
    except (ValueError, KeyError):
        return answer.text[:400]


def deployments(namespace: str) -> str:
    return f"/apis/apps/v1/namespaces/{namespace}/deployments"


def policies(namespace: str) -> str:
    return f"{GROUP}/namespaces/{namespace}/rollbackpolicies"


def rollbacks(namespace: str) -> str:
    return f"{GROUP}/namespaces/{namespace}/rollbacks"


def eventually(
    probe: Callable[[], T | None], what: str, seconds: float = 60.0, every: float = 0.15
) -> T:
    """Ask until the answer is truthy; what it was last is in the error."""
    deadline = time.monotonic() + PATIENCE * seconds
    while True:
        found = probe()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"after {seconds:.0f} s still not: {what} (last seen: {found!r})")
        time.sleep(every)


def throughout(seconds: float, fault: Callable[[], object]) -> None:
    """See at each moment that there is no fault."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert not fault(), fault()
        time.sleep(0.25)
