"""The operator's own metrics and health: /metrics, /healthz, /readyz. No label that grows."""

from collections.abc import Callable
from dataclasses import dataclass, field

from aiohttp import web
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST

disable_created_metrics()  # type: ignore[no-untyped-call] # has no annotations


@dataclass(frozen=True, slots=True)
class Health:
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
            "rollback_operator_pass_seconds", "Duration of a pass.", registry=registry
        )
        self.api_calls = Counter(
            "rollback_operator_api_calls",
            "Calls to the API server by verb and by what came of them.",
            ("verb", "result"),
            registry=registry,
        )
        self.leading = Gauge(
            "rollback_operator_leading", "1 while this replica acts.", registry=registry
        )
        self.depth = Gauge(
            "rollback_operator_queue_depth", "Keys that have a due time.", registry=registry
        )

    def measure_call(self, verb: str, result: str) -> None:
        """Count one call to the API server."""
        self.api_calls.labels(verb, result).inc()


async def serve(telemetry: Telemetry, health: Health, host: str, port: int) -> web.AppRunner:
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
