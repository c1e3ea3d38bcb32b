"""The operator's own metrics and health: /metrics, /healthz, /readyz. No label that grows."""

from collections.abc import Callable
from dataclasses import dataclass, field
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
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from rollback_operator.api.v1alpha1 import MatrixSeverity, Outcome, Rollback, StepName

disable_created_metrics()  # type: ignore[no-untyped-call] # has no annotations


DELAYS = (0.5, 1, 2, 3, 5, 10, 15, 30, 60, 120, 300, 900)
"""Buckets: seconds after the first bad sample."""


@dataclass(frozen=True, slots=True)
class ProcessHealth:
    """What the endpoints ask."""

    is_alive: Callable[[], bool]
    is_ready: Callable[[], bool]
    is_leading: Callable[[], bool]
    depth: Callable[[], int]


@dataclass
class Telemetry:
    """The registry and what is counted in it."""

    registry: CollectorRegistry = field(default_factory=CollectorRegistry)

    def __post_init__(self) -> None:
        """Register the metrics."""
        registry = self.registry
        self.passes = Counter(
            "rollback_operator_passes", "Passes over policies.", registry=registry
        )
        self.failures = Counter(
            "rollback_operator_pass_failures",
            "Passes that ended in an error: a defect, see the log.",
            registry=registry,
        )
        self.seconds = Histogram(
            "rollback_operator_pass_duration_seconds", "Duration of a pass.", registry=registry
        )
        self.api_calls = Counter(
            "rollback_operator_api_calls",
            "Calls to the API server by verb and by what came of them.",
            ("verb", "result"),
            registry=registry,
        )
        self.leading = Gauge(
            "rollback_operator_leader", "1 while this replica acts.", registry=registry
        )
        self.rollbacks = Counter(
            "rollback_operator_rollbacks",
            "Rollbacks that have ended since this replica started, by outcome and severity.",
            ("outcome", "severity"),
            registry=registry,
        )
        for outcome in Outcome:
            for severity in MatrixSeverity:
                # From zero on: of a series that begins with its first event nothing increases.
                self.rollbacks.labels(outcome.value, severity.value)
        self.decision, self.undo = (
            Histogram(
                f"rollback_operator_{what}_delay_seconds",
                f"From the first bad sample to the {what}, of rollbacks that have ended.",
                buckets=DELAYS,
                registry=registry,
            )
            for what in ("decision", "undo")
        )
        Info("rollback_operator_build", "Of this replica.", registry=registry).info(
            {"version": version("rollback-operator")}
        )
        self.depth = Gauge(
            "rollback_operator_queue_depth", "Keys that have a due time.", registry=registry
        )

    def measure_end(self, rollback: Rollback) -> None:
        """Count a Rollback that has just ended, and how soon it was decided and undone."""
        severity = rollback.status.severity or rollback.spec.severity
        self.rollbacks.labels(str(rollback.status.outcome), str(severity)).inc()
        trigger = rollback.spec.trigger
        if trigger.first_bad_time is None:
            return
        since = trigger.first_bad_time
        self.decision.observe(max(0.0, (trigger.decided_time - since).total_seconds()))
        undone = next((one for one in rollback.status.steps if one.name is StepName.UNDO), None)
        if undone is not None and undone.finished_time is not None:
            self.undo.observe(max(0.0, (undone.finished_time - since).total_seconds()))

    def measure_call(self, verb: str, result: str) -> None:
        """Count one call to the API server."""
        self.api_calls.labels(verb, result).inc()


async def serve(telemetry: Telemetry, health: ProcessHealth, host: str, port: int) -> web.AppRunner:
    """Serve the endpoints until the runner is cleaned up.

    Raises:
        OSError: the port cannot be bound; the message names it.
    """

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok\n", status=200 if health.is_alive() else 500)

    async def readyz(_: web.Request) -> web.Response:
        return web.Response(text="ok\n", status=200 if health.is_ready() else 503)

    async def metrics(_: web.Request) -> web.Response:
        telemetry.leading.set(health.is_leading())
        telemetry.depth.set(health.depth())
        body = generate_latest(telemetry.registry)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.add_routes(
        [web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", metrics)]
    )
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
    return runner
