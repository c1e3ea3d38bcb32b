"""The same counters in Debian 12's Prometheus and in Prometheus 3, and `check`.

Each scrapes one target that has them in every form; Prometheus 3 reads its own native histograms
as well. No cluster is needed.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeVar

import pytest

from lab import packages
from lab.errors import LabError
from lab.prometheus_server import Prometheus
from rollback_operator.adapters.prometheus import PrometheusMetrics
from rollback_operator.adapters.prometheus.queries import number
from rollback_operator.api.reasons import Reason
from rollback_operator.api.v1alpha1 import CounterSignal, SignalLabels
from rollback_operator.model.samples import Counters, Missing
from rollback_operator.ports import metrics as metrics_port
from rollback_operator.ports.metrics import CounterQuery
from tests.integration.api import eventually
from tests.provider import ANYWHERE

pytestmark = [pytest.mark.xdist_group("dialects"), pytest.mark.timeout(1200)]

T = TypeVar("T")
POD = "shop-5d9c-abcde"
OWN = f'namespace="production",pod="{POD}",route="/buy"'
RATE = 20
CONFIG = """
global: {{scrape_interval: 1s}}
scrape_configs:
- job_name: pods
  honor_labels: true
  static_configs: [{{targets: ["127.0.0.1:{}"]}}]
"""
NATIVE = """
- job_name: self
  scrape_native_histograms: true
  static_configs:
  - {{targets: ["{}"], labels: {{namespace: production, pod: shop-5d9c-itself}}}}
"""


@dataclass
class Target:
    """What is scraped: counters that grow all the time, errors among them if it fails."""

    begin: float
    fails: bool = False
    failed: float = 0.0

    def text(self) -> str:
        count = int((time.monotonic() - self.begin) * RATE)
        self.failed += 7 if self.fails else 0
        error = f'http_requests_total{{{OWN},code="503"}} {self.failed}\n' if self.failed else ""
        return (
            "# TYPE http_requests_total counter\n"
            f'http_requests_total{{{OWN},code="200"}} {count}\n{error}'
            "# TYPE durations_seconds histogram\n"
            f'durations_seconds_bucket{{{OWN},le="1"}} {count}\n'
            f'durations_seconds_bucket{{{OWN},le="+Inf"}} {count}\n'
            f"durations_seconds_sum{{{OWN}}} {count / 10}\n"
            f"durations_seconds_count{{{OWN}}} {count}\n"
            "# TYPE rpc_seconds summary\n"
            f'rpc_seconds{{{OWN},quantile="1"}} 0.5\n'
            f"rpc_seconds_sum{{{OWN}}} {count / 10}\nrpc_seconds_count{{{OWN}}} {count}\n"
            f"# TYPE in_flight gauge\nin_flight{{{OWN}}} 3\n"
        )


@pytest.fixture(scope="module")
def target() -> Iterator[tuple[Target, int]]:
    made = Target(time.monotonic())

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = made.text().encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Stay quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield made, int(server.server_address[1])
    server.shutdown()
    server.server_close()
    thread.join(5)


@pytest.fixture(scope="module", params=["2.42", "3"])
def prometheus(request: pytest.FixtureRequest, target: tuple[Target, int]) -> Iterator[Prometheus]:
    config = CONFIG.format(target[1])
    binary = None
    if request.param != "3":
        try:
            binary = packages.unpacked("prometheus") / "usr/bin/prometheus"
        except LabError as error:
            pytest.skip(f"Debian's Prometheus is not to be had: {error}")
    with Prometheus(config, binary=binary) as found:
        if request.param == "3":
            found.reload(config + NATIVE.format(found.url.removeprefix("http://")))
        with urllib.request.urlopen(f"{found.url}/api/v1/status/buildinfo", timeout=5) as answer:
            version = json.load(answer)["data"]["version"] or "3"
        assert version.startswith(request.param)
        counted = query(found.url, "durations_seconds")
        eventually(lambda: isinstance(asked(lambda it: it.read(counted, 60)), Counters), "a sample")
        yield found


def asked(call: Callable[[PrometheusMetrics], Any]) -> Any:
    async def ask() -> Any:
        metrics = PrometheusMetrics(ANYWHERE)
        try:
            return await call(metrics)
        finally:
            metrics.close()

    return asyncio.run(ask())


def query(url: str, requests: str, errors: CounterSignal | None = None) -> CounterQuery:
    return CounterQuery(
        prometheus=metrics_port.Prometheus(url),
        namespace="production",
        pods=("shop-.*",),
        requests=CounterSignal(metric=requests),
        errors=errors or CounterSignal(metric="http_requests_total"),
        labels=SignalLabels(),
    )


def newest(found: Counters) -> float:
    return sum(one.samples[-1][1] for one in found.requests)


@pytest.mark.parametrize("metric", ["http_requests_total", "durations_seconds", "rpc_seconds"])
def test_counters_are_read_by_any_name(
    prometheus: Prometheus, target: tuple[Target, int], metric: str
) -> None:
    errors = CounterSignal(metric="http_requests_total", matchers={"code": "200"})
    found = asked(lambda it: it.read(query(prometheus.url, metric, errors), 60))

    assert isinstance(found, Counters), found
    expected = (time.monotonic() - target[0].begin) * RATE
    assert 0.3 * expected < newest(found) <= expected + target[0].failed
    assert {(one.pod, one.route) for one in found.requests} == {(POD, "/buy")}


def test_a_gauge_is_refused(prometheus: Prometheus) -> None:
    found = asked(lambda it: it.read(query(prometheus.url, "in_flight"), 60))
    assert isinstance(found, Missing)
    assert (found.reason, "in_flight is a gauge" in found.message) == (Reason.NOT_A_COUNTER, True)


def test_a_native_histogram_is_counted(prometheus: Prometheus) -> None:
    metric = "prometheus_http_request_duration_seconds"
    errors = CounterSignal(metric=metric, matchers={"handler": "=~/no/.*"})
    wanted = query(prometheus.url, metric, errors)
    if "2.42" in prometheus_version(prometheus):
        assert asked(lambda it: it.read(wanted, 60)).reason == Reason.NO_SERIES
        return

    def probe() -> Counters | None:
        found = asked(lambda it: it.read(wanted, 60))
        return found if isinstance(found, Counters) else None

    found = eventually(probe, "Prometheus has read itself", 60)
    assert newest(found) >= 1
    assert any(dict(one.identity)["handler"] == "/api/v1/query" for one in found.requests)


def prometheus_version(prometheus: Prometheus) -> str:
    with urllib.request.urlopen(f"{prometheus.url}/api/v1/status/buildinfo", timeout=5) as answer:
        return str(json.load(answer)["data"]["version"])


def test_names_of_prometheus_3_are_asked_for_or_refused(prometheus: Prometheus) -> None:
    found = asked(lambda it: it.read(query(prometheus.url, "http.server.requests_total"), 60))
    is_old = "2.42" in prometheus_version(prometheus)
    assert found.reason == (Reason.QUERY_REFUSED if is_old else Reason.NO_SERIES)


def test_numbers_in_labels_are_matched_in_both_spellings(prometheus: Prometheus) -> None:
    for text in (
        f"rpc_seconds{{{number('quantile', '1')}}}",
        f"durations_seconds_bucket{{{number('le', '1.0')}}}",
    ):
        found = asked(
            lambda it, text=text: it.read_vector(metrics_port.Prometheus(prometheus.url), text)
        )
        assert len(found) == 1, (text, found)


def test_the_first_error_of_a_status_is_seen(
    prometheus: Prometheus, target: tuple[Target, int]
) -> None:
    errors = CounterSignal(metric="http_requests_total", matchers={"code": "=~5.."})
    wanted = query(prometheus.url, "http_requests_total", errors)
    target[0].failed = 0.0
    eventually(
        lambda: asked(lambda it: it.read(wanted, 2)).errors == (), "no error is counted any more"
    )
    target[0].fails = True
    try:
        eventually(lambda: asked(lambda it: it.read(wanted, 60)).errors, "errors are counted")
    finally:
        target[0].fails = False


def test_the_past_is_read(prometheus: Prometheus) -> None:
    errors = CounterSignal(metric="http_requests_total", matchers={"code": "=~5.."})
    wanted = query(prometheus.url, "durations_seconds", errors)

    def probe() -> bool:
        now = time.clock_gettime(time.CLOCK_REALTIME)
        return bool(asked(lambda it: it.read_control(wanted, now)).pooled.requests > 0)

    eventually(probe, "some requests are in the last hour")


POLICY = """
apiVersion: rollback.tickettoken.io/v1alpha1
kind: RollbackPolicy
metadata: {name: shop, namespace: production}
spec:
  targetRef: {name: shop}
  mode: Observe
  signals:
    requests: {metric: durations_seconds}
    errors: {metric: http_requests_total, matchers: {code: "=~[45].."}}
    purchaseRoutes: [/buy]
  matrix:
  - severity: P1
    when: [{signal: ErrorRate, atLeast: "0.90", routes: Purchase}]
    response: Rollback
    withinSeconds: 60
"""


def check(directory: Path, url: str, text: str) -> tuple[int, Any]:
    path = directory / "policy.yaml"
    path.write_text(text)
    argv = (sys.executable, "-m", "rollback_operator", "check", "-f", str(path))
    argv += ("--prometheus", url, "--kubeconfig", str(directory / "none"), "--output", "json")
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)[0]


def test_check_finds_what_is_right(
    prometheus: Prometheus, target: tuple[Target, int], tmp_path: Path
) -> None:
    target[0].failed += 1  # the counter of errors is there
    url = prometheus.url
    errors = CounterSignal(metric="http_requests_total", matchers={"code": "=~[45].."})
    wanted = query(url, "durations_seconds", errors)
    eventually(lambda: getattr(asked(lambda it: it.read(wanted, 60)), "errors", ()), "errors")

    def measured() -> tuple[int, dict[str, Any]] | None:
        status, found = check(tmp_path, url, POLICY)
        return (status, found) if found["seen"]["scrapeIntervalSeconds"] else None

    status, found = eventually(measured, "several scrapes")

    assert (status, found["result"]) == (0, "Usable"), found
    seen = found["seen"]
    assert seen["pods"] == [POD]
    assert seen["scrapeIntervalSeconds"] == pytest.approx(1.0, abs=0.2)
    assert seen["requestsPerSecond"] == pytest.approx(RATE, rel=0.3)
    assert abs(seen["clockSkewSeconds"]) < 1
    p1 = next(one for one in found["outlook"] if one["route"] == "/buy" and one["failing"] == 1)
    assert p1["severity"] == "P1"
    assert p1["byPrometheus"]["meanSeconds"] < 10


def test_check_knows_a_summary(prometheus: Prometheus, tmp_path: Path) -> None:
    latency = "    latency: {metric: rpc_seconds, quantile: '0.5'}\n    purchaseRoutes"
    rule = """  - severity: P3
    when: [{signal: Latency, above: "1"}]
    response: Report
"""
    text = POLICY.replace("    purchaseRoutes", latency) + rule
    _, found = check(tmp_path, prometheus.url, text)

    (told,) = [one for one in found["findings"] if one["field"] == "spec.signals.latency"]
    assert 'max(rpc_seconds{namespace="production",quantile=~"0\\\\.50*"})' in told["remedy"]


def test_check_lets_prometheus_read_own_queries(prometheus: Prometheus, tmp_path: Path) -> None:
    rule = """  - severity: P3
    when:
    - {signal: Query, query: "sum(up", above: "1"}
    - {signal: Query, query: "sum(up)", above: "1"}
    response: Report
"""
    status, found = check(tmp_path, prometheus.url, POLICY + rule)

    (told,) = [one for one in found["findings"] if one["field"].endswith(".query")]
    row = POLICY.count("severity:")
    assert (status, told["level"]) == (1, "Problem")
    assert told["field"] == f"spec.matrix[{row}].when[0].query"
    assert "parse error" in told["message"]


WRONG = {
    "metric": ("durations_seconds", "duration_seconds", "requests", "durations_seconds_count"),
    "namespace": ("ce: production", "ce: staging", "requests", "namespace=production only"),
    "target": ("{name: shop}\n  mode", "{name: cart}\n  mode", "requests", f"other pods ({POD}"),
    "gauge": ("{metric: durations_seconds}", "{metric: in_flight}", "requests", "is a gauge"),
    "matcher": ("_seconds}", "_seconds, matchers: {a: b}}", "requests", "no series has"),
    "errors": ("http_requests_total", "http_errors_total", "errors", "http_requests_total"),
}


@pytest.mark.parametrize("name", WRONG)
def test_check_tells_what_is_wrong_and_what_there_is_instead(
    prometheus: Prometheus, tmp_path: Path, name: str
) -> None:
    right, wrong, field, said = WRONG[name]
    assert right in POLICY
    status, found = check(tmp_path, prometheus.url, POLICY.replace(right, wrong))

    problems = [one for one in found["findings"] if one["level"] == "Problem"]
    assert (status, found["result"]) == (1, "Problems")
    assert problems[0]["field"] == f"spec.signals.{field}"
    assert said in f"{problems[0]['message']} {problems[0]['remedy']}", problems
