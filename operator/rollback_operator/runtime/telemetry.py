"""The operator's own metrics and health: /metrics, /healthz, /readyz.

Labels take only words of the API, so that the number of series is bounded.
"""

import asyncio
import math
from collections import Counter as Tally
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version

from aiohttp import web
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from rollback_operator.api.reasons import ConditionType, Reason
from rollback_operator.api.v1alpha1 import (
    MatrixSeverity,
    Outcome,
    Rollback,
    RollbackPolicy,
    StepName,
)
from rollback_operator.model.conditions import find
from rollback_operator.model.context import is_active
from rollback_operator.reconcile.cache import Cache, Unreadable
from rollback_operator.runtime.listening import BoundedServer

disable_created_metrics()  # type: ignore[no-untyped-call] # has no annotations


NAMESPACE = "rollback_operator"
DELAYS = (0.5, 1, 2, 3, 5, 10, 15, 30, 60, 120, 300, 900)
"""Buckets: seconds after the first bad sample."""
PAGE_SECONDS = 0.5
"""A page of metrics is rendered once in this time, however often it is asked for."""


@dataclass(frozen=True, slots=True)
class ProcessHealth:
    """State of the process, for the endpoints."""

    is_alive: Callable[[], bool]
    is_ready: Callable[[], bool]
    is_leading: Callable[[], bool]
    depth: Callable[[], int]


@dataclass
class Telemetry:
    """The registry and the metrics in it."""

    registry: CollectorRegistry = field(default_factory=CollectorRegistry)

    def __post_init__(self) -> None:
        """Register the metrics."""
        known = self.registry
        counter = partial(Counter, namespace=NAMESPACE, registry=known)
        gauge = partial(Gauge, namespace=NAMESPACE, registry=known)
        histogram = partial(Histogram, namespace=NAMESPACE, registry=known)
        self.passes = counter("passes", "Passes over policies.")
        self.failures = counter(
            "pass_failures", "Passes that failed with an error, which is a defect: see the log."
        )
        self.seconds = histogram("pass_duration_seconds", "Duration of a pass.")
        self.api_calls = counter(
            "api_calls", "Calls to the API server by verb and by result.", ("verb", "result")
        )
        self.leading = gauge("leader", "1 while this replica acts.")
        self.depth = gauge("queue_depth", "Policies that have a due time.")
        self.rollbacks = counter(
            "rollbacks",
            "Rollbacks that have ended since this replica started, by outcome and severity.",
            ("outcome", "severity"),
        )
        for outcome in Outcome:
            for severity in MatrixSeverity:
                # From zero on: a series that begins at its first event shows no increase.
                self.rollbacks.labels(outcome.value, severity.value)
        self.decision, self.undo = (
            histogram(
                f"{what}_delay_seconds",
                f"From the first bad sample to the {what}, of rollbacks that have ended.",
                buckets=DELAYS,
            )
            for what in ("decision", "undo")
        )
        build = Info("build", "Version of this replica.", namespace=NAMESPACE, registry=known)
        build.info({"version": version("rollback-operator")})

    def measure_end(self, rollback: Rollback) -> None:
        """Count a Rollback that has just ended, with its delays of decision and undo."""
        severity = rollback.status.severity or rollback.spec.severity
        self.rollbacks.labels(str(rollback.status.outcome), str(severity)).inc()
        trigger = rollback.spec.trigger
        if trigger.first_bad_time is None:
            return
        since = trigger.first_bad_time
        self.decision.observe(max(0.0, (trigger.decided_time - since).total_seconds()))
        undone = next((step for step in rollback.status.steps if step.name is StepName.UNDO), None)
        if undone is not None and undone.finished_time is not None:
            self.undo.observe(max(0.0, (undone.finished_time - since).total_seconds()))

    def measure_call(self, verb: str, result: str) -> None:
        """Count one call to the API server."""
        self.api_calls.labels(verb, result).inc()


async def serve(
    telemetry: Telemetry, health: ProcessHealth, host: str, port: int
) -> web.ServerRunner:
    """Serve the endpoints until the runner is cleaned up.

    Raises:
        OSError: the port cannot be bound; the message names it.
    """
    page = b""
    rendered = -math.inf

    def metrics() -> web.Response:
        nonlocal page, rendered
        now = asyncio.get_running_loop().time()
        if now - rendered >= PAGE_SECONDS:
            telemetry.leading.set(health.is_leading())
            telemetry.depth.set(health.depth())
            page, rendered = generate_latest(telemetry.registry), now
        return web.Response(body=page, headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def answer(request: web.BaseRequest) -> web.Response:
        match request.path if request.method in ("GET", "HEAD") else "":
            case "/healthz":
                response = web.Response(text="ok\n", status=200 if health.is_alive() else 500)
            case "/readyz":
                response = web.Response(text="ok\n", status=200 if health.is_ready() else 503)
            case "/metrics":
                response = metrics()
            case _:
                response = web.Response(status=404)
        response.force_close()
        return response

    runner = web.ServerRunner(BoundedServer(answer))
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
    return runner


@dataclass(frozen=True, eq=False)
class Census(Collector):
    """Counts policies and Rollbacks by their state, at each scrape, from the cache.

    Only the leader counts: the standby would report the same objects again.
    """

    cache: Cache
    is_leading: Callable[[], bool]

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """Name the metrics; a registry asks before the cache is filled."""
        yield from self._families(Cache())

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Count now."""
        yield from self._families(self.cache if self.is_leading() else Cache())

    def _families(self, cache: Cache) -> Iterator[GaugeMetricFamily]:
        known = list(cache.policies.values())
        policies = [policy for policy in known if isinstance(policy, RollbackPolicy)]
        active = [rollback for rollback in cache.rollbacks.values() if is_active(rollback)]
        words = Tally(policy.status.summary for policy in policies if policy.status.summary)
        not_ready = Tally(_reasons_of_false(policies, ConditionType.READY))
        if unreadable := sum(isinstance(policy, Unreadable) for policy in known):
            words[Reason.INVALID_SPEC.value] += unreadable
            not_ready[Reason.INVALID_SPEC.value] += unreadable
        yield _gauge_by_label("policies", "Policies by their summary.", "status", words)
        yield _gauge_by_label(
            "policies_not_ready", "Policies that are not ready.", "reason", not_ready
        )
        yield _gauge_by_label(
            "policies_without_metrics",
            "Policies whose watched release has no metrics.",
            "reason",
            Tally(_reasons_of_false(policies, ConditionType.METRICS_AVAILABLE)),
        )
        yield _gauge_by_label(
            "policies_not_notified",
            "Policies with a channel that accepts no messages.",
            "reason",
            Tally(_reasons_of_false(policies, ConditionType.NOTIFIED)),
        )
        yield _gauge_by_label(
            "rollbacks_active",
            "Active Rollbacks, including those that wait for an approval.",
            "severity",
            Tally(str(rollback.status.severity or rollback.spec.severity) for rollback in active),
        )
        asked = sum(rollback.status.step is StepName.AWAITING_APPROVAL for rollback in active)
        yield _gauge("rollbacks_awaiting_approval", "Rollbacks that wait for an approval.", asked)
        held = sum(
            policy.status.hold is not None and policy.status.hold.is_in_effect
            for policy in policies
        )
        yield _gauge("rollouts_held", "Rollouts that the operator holds.", held)


def _reasons_of_false(policies: list[RollbackPolicy], kind: ConditionType) -> Iterator[str]:
    """Yield the reason of each policy whose condition is False."""
    for policy in policies:
        condition = find(policy.status.conditions, kind)
        if condition is not None and condition.status == "False":
            yield condition.reason


def _gauge_by_label(name: str, help_: str, label: str, counts: Tally[str]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"{NAMESPACE}_{name}", help_, labels=[label])
    for value, count in sorted(counts.items()):
        family.add_metric([value], count)
    return family


def _gauge(name: str, help_: str, count: int) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"{NAMESPACE}_{name}", help_, value=count)
