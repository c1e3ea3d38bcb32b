"""What reading pods' own metrics pages costs: processor time per page and per look at a policy.

    python -m bench.pages

The pages are served by another process on loopback. A look is what happens twice a second while a
release is young: all pages are read, counted and judged. Pages as prom-client writes them: a
histogram of 13 buckets and an error counter for each route, among 120 other series.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import sys
import time
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from rollback_operator.adapters.http.pod_pages import PodPages
from rollback_operator.api.v1alpha1 import RUNBOOK_MATRIX, CounterSignal, SignalLabels
from rollback_operator.decide.schedule import next_read
from rollback_operator.evidence.arms import Question
from rollback_operator.evidence.watch import open_watch, with_pages, with_workload
from rollback_operator.judge.judge import judge
from rollback_operator.model.pod import MetricsPage, Pod
from rollback_operator.model.samples import Counters
from rollback_operator.model.workload import Deployment, ReplicaSet, Template, Workload
from rollback_operator.ports.metrics import PageQuery, PodPage

REQUESTS, ERRORS = "http_request_duration_seconds_count", "http_request_errors_total"
BUCKETS = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, "+Inf")
OTHERS = 120
ROUNDS = 240
"""Two minutes of looks."""
EVERY_SECONDS = 0.5
CASES = ((4, 8), (4, 50), (25, 8), (25, 50), (4, 500))
"""Pods of each revision, routes."""


@dataclass(frozen=True)
class Cost:
    """Of one case."""

    bytes_a_page: int
    read: float
    """Milliseconds of processor time per page that is read and parsed."""
    look: float
    """... per look: all pages, the counting and the judgement."""
    share: float
    """Of one core, while a release is young."""


def main() -> int:
    print("pods  routes  KiB a page  ms a page  ms a look  % of a core")
    for pods, routes in CASES:
        found = asyncio.run(_measure(pods, routes))
        print(
            f"{2 * pods:4}  {routes:6}  {found.bytes_a_page / 1024:10.0f}  {found.read:9.2f}"
            f"  {found.look:9.1f}  {100 * found.share:11.1f}"
        )
    return 0


async def _measure(pods: int, routes: int) -> Cost:
    text = _page(routes).encode()
    ports: multiprocessing.Queue[int] = multiprocessing.Queue()
    server = multiprocessing.Process(target=_serve, args=(text, ports), daemon=True)
    server.start()
    page = MetricsPage(port=ports.get())
    workload = _workload(pods)
    query = PageQuery(
        tuple(PodPage(one.name, "127.0.0.1", page, "new" in one.name) for one in workload.pods),
        CounterSignal(metric=REQUESTS),
        CounterSignal(metric=ERRORS),
        SignalLabels(),
    )
    clock = _Clock()
    reader = PodPages(clock, lambda address: address == "127.0.0.1")
    watch = open_watch("new", 0.0, frozenset({"old"}))
    read = spent = 0.0
    for number in range(ROUNDS + 1):
        clock.now = EVERY_SECONDS * (number + 1)
        begun = time.process_time()
        found = await reader.read(query)
        parsed = time.process_time()
        watch = with_pages(with_workload(watch, workload, clock.now), found, clock.now)
        verdict = judge(watch, workload, _QUESTION, clock.now)
        if number and isinstance(found, Counters):  # the first one makes the connections
            read += parsed - begun
            spent += time.process_time() - begun
    await reader.close()
    server.terminate()
    pages = ROUNDS * len(query.pages)
    look = spent / ROUNDS
    young = replace(watch, opened=clock.now, read_at=clock.now)
    pause = next_read(young, verdict, EVERY_SECONDS, clock.now) - clock.now
    return Cost(len(text), 1000 * read / pages, 1000 * look, look / pause)


class _Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


_QUESTION = Question(
    purchase_routes=("/api/v1/tickets/0", "/api/v1/tickets/1"),
    excluded_routes=frozenset({"/metrics"}),
    watch_seconds=3600.0,
    stuck_after=300.0,
    conditions=tuple(one for rule in RUNBOOK_MATRIX for one in rule.when),
)


def _workload(count: int) -> Workload:
    pods = tuple(
        Pod(
            name=f"{kind}-{number}",
            pod_hash=kind,
            created=created,
            started=created,
            ready=True,
            ready_since=created,
        )
        for kind, created in (("new", 0.0), ("old", -3600.0))
        for number in range(count)
    )
    sets = tuple(
        ReplicaSet(kind, kind, kind, number, Template(kind, kind), 0.0)
        for number, kind in enumerate(("old", "new"))
    )
    target = Deployment("bench", "bench", "uid", Template("new", "new"), replicas=count)
    return Workload(target, sets, pods)


def _page(routes: int) -> str:
    lines = [f'process_{number}{{service="tickets"}} {number}.5' for number in range(OTHERS)]
    for number in range(routes):
        route = f'service="tickets",method="POST",route="/api/v1/tickets/{number}"'
        labels = f'{route},status="200"'
        lines += [
            f'http_request_duration_seconds_bucket{{le="{one}",{labels}}} 500' for one in BUCKETS
        ]
        lines.append(f"http_request_duration_seconds_sum{{{labels}}} 1.5")
        lines.append(f"{REQUESTS}{{{labels}}} 500")
        lines.append(f"{ERRORS}{{{route}}} 3")
    return "\n".join(lines) + "\n"


def _serve(text: bytes, ports: multiprocessing.Queue[int]) -> None:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    ports.put(server.server_address[1])
    server.serve_forever()


if __name__ == "__main__":
    sys.exit(main())
