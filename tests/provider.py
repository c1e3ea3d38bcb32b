"""A server that speaks Prometheus' HTTP API as a test says."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

from rollback_operator.adapters.prometheus import Access
from rollback_operator.ports.metrics import Prometheus

POD = "ticket-service-abc-1"
ANYWHERE = Access(may_call=lambda ip: True)
"""Servers of tests are on this machine."""


@dataclass(frozen=True)
class Answer:
    """What the server sends."""

    body: bytes = b""
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()


@dataclass
class Provider:
    """A server that answers each query as a test says, and notes what it was asked."""

    answer: Callable[[str], Answer] = lambda query: Answer()
    queries: list[str] = field(default_factory=list)
    parameters: list[dict[str, str]] = field(default_factory=list)
    heads: list[tuple[str, str]] = field(default_factory=list)
    """Path and headers of each query, as they were sent."""
    tokens: list[str | None] = field(default_factory=list)
    """What stood in the header Authorization."""
    tenants: list[str | None] = field(default_factory=list)
    """What stood in the header X-Scope-OrgID."""
    types: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """What the metrics' own targets call them."""
    declared: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Metrics that a pod's target declares, with or without samples."""
    has_metadata: bool = True
    asked_targets: list[str] = field(default_factory=list)
    hangs: bool = False
    trickles: bool = False
    url: str = ""
    ended: Event = field(default_factory=Event)

    @property
    def prometheus(self) -> Prometheus:
        """Read it as a policy that brings no credentials does."""
        return Prometheus(self.url)

    def target_metadata(self, target: str, metric: str) -> Answer:
        self.asked_targets.append(f"{target} {metric}")
        is_declared = any(
            f'"{pod}"' in target and metric in names for pod, names in self.declared.items()
        )
        data = [{"target": {}, "type": "histogram", "help": ""}] if is_declared else []
        return Answer(json.dumps({"status": "success", "data": data}).encode())

    def metadata(self, metric: str) -> Answer:
        if not self.has_metadata:
            return Answer(b"404 page not found", 404)
        said = [{"type": one, "help": "", "unit": ""} for one in self.types.get(metric, ())]
        data = {metric: said} if said else {}
        return Answer(json.dumps({"status": "success", "data": data}).encode())


def _handler(provider: Provider) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            asked = {k: v[0] for k, v in parse_qs(urlsplit(self.path).query).items()}
            if "query" in asked:
                provider.queries.append(asked["query"])
                provider.parameters.append(asked)
                provider.heads.append((self.path, str(self.headers)))
                provider.tokens.append(self.headers.get("Authorization"))
                provider.tenants.append(self.headers.get("X-Scope-OrgID"))
            if provider.hangs:
                provider.ended.wait(20)
                self.close_connection = True
                return
            answer = provider.metadata(asked.get("metric", ""))
            if "match_target" in asked:
                answer = provider.target_metadata(asked["match_target"], asked["metric"])
            if "query" in asked:
                answer = provider.answer(asked["query"])
            self.send_response(answer.status)
            length = 10_000_000 if provider.trickles else len(answer.body)
            for name, value in (*answer.headers, ("Content-Length", str(length))):
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body)
            while provider.trickles and not provider.ended.wait(0.05):
                self.wfile.write(b" ")

        def log_message(self, *_: object) -> None:
            """Stay quiet."""

    return Handler


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """A client that hangs up in the middle is what some tests are about."""


@contextmanager
def running() -> Iterator[Provider]:
    made = Provider()
    server = _Server(("127.0.0.1", 0), _handler(made))
    made.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield made
    made.ended.set()
    server.shutdown()
    server.server_close()
    thread.join(5)


def answer_of(result: Any, **envelope: Any) -> Answer:
    data = {"status": "success", "data": {"resultType": "matrix", "result": result}, **envelope}
    return Answer(json.dumps(data).encode())


def series(*values: tuple[float, Any], **labels: Any) -> dict[str, Any]:
    metric = {"pod": POD, "route": "/buy", "instance": "10.0.0.1:8080", "job": "pods", **labels}
    return {"metric": metric, "values": [list(one) for one in values]}
