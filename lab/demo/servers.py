"""Prometheus, PostgreSQL and the customers as pods in the demo's namespace."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from lab.chart import stream
from lab.demo.context import Context
from lab.demo.delivery import SERVERS, UNPRIVILEGED, Images
from lab.demo.removal import NAMESPACE
from lab.demo.stage import SOLD, Customers
from lab.errors import LabError
from lab.loadgen.load import Failure, Summary, failures_in, summary_in
from lab.prometheus_server import scraping_pods
from lab.tickets import wait_for

MANIFESTS = Path(__file__).parents[1] / "manifests"
WHERE = f"--namespace={NAMESPACE}"
PROMETHEUS_URL = f"http://prometheus.{NAMESPACE}.svc:9090"
READY_SECONDS = 120
POD = "customers"
LOG = "/load/failures.log"


def database_url(password: str) -> str:
    """Where the ticket service finds its database."""
    return f"postgresql://ticket:{password}@postgres.{NAMESPACE}.svc:5432/tickettoken"


def start(context: Context, images: Images, password: str) -> None:
    """Start Prometheus and PostgreSQL, and wait until both answer."""
    discovery = f"namespaces: {{names: [{NAMESPACE}]}}"
    objects = [
        _named("Secret", "postgres", {"stringData": {"PASSWORD": password}}),
        _named("ConfigMap", "prometheus", {"data": {"prometheus.yml": scraping_pods(discovery)}}),
        *filled("demo-servers.yaml", images),
    ]
    context.kubectl("apply", "--server-side", WHERE, "-f", "-", input=stream(objects))
    for name in ("postgres", "prometheus"):
        limit = f"--timeout={READY_SECONDS}s"
        context.kubectl("rollout", "status", f"deployment/{name}", WHERE, limit)


def purchases(context: Context) -> int:
    """Rows of completed purchases."""
    psql = (
        "psql",
        "--no-psqlrc",
        "--tuples-only",
        "--no-align",
        "--host=/data",
        "--username=postgres",
    )
    statement = ("--dbname=tickettoken", "--command", SOLD.format(namespace=NAMESPACE))
    return int(context.kubectl("exec", WHERE, "deployment/postgres", "--", *psql, *statement))


@contextmanager
def customers(context: Context, images: Images, rate: float) -> Iterator[Customers]:
    """The load generator as a pod, from its first request on; ended with the block."""
    (pod,) = filled("demo-load.yaml", images)
    pod["spec"]["containers"][0]["command"].append(f"-rate={rate:g}")
    context.kubectl("apply", "--server-side", WHERE, "-f", "-", input=stream([pod]))
    found = PodOfCustomers(context)
    wait_for("the customers' first requests", READY_SECONDS, lambda: found.phase() == "Running")
    try:
        yield found
    finally:
        # Where this fails, something else has failed before; it ends by itself in the end.
        with suppress(LabError):
            found.end()


@dataclass(frozen=True)
class PodOfCustomers:
    """A load generator that runs as a pod."""

    context: Context

    def now(self) -> datetime:
        """The time on the node that it runs on."""
        return datetime.fromisoformat(self._run("date", "--utc", "+%Y-%m-%dT%H:%M:%S.%6N+00:00"))

    def failures(self) -> list[Failure]:
        """Every failure up to now."""
        return failures_in(self._run("cat", LOG))

    def phase(self) -> str:
        """Pending, Running, Succeeded or Failed."""
        shown = "jsonpath={.status.phase}"
        return self.context.kubectl("get", "pod", POD, WHERE, "-o", shown).strip()

    def stop(self) -> Summary:
        """End it, wait for what is in flight, and read what it says in the end."""
        self.end()
        wait_for("the customers' end", READY_SECONDS, lambda: self.phase() == "Succeeded")
        return summary_in(self.context.kubectl("logs", POD, WHERE, f"--container={POD}"))

    def end(self) -> None:
        """Have it end, unless it has; its output stays."""
        if self.phase() == "Running":
            self._run("sh", "-c", "kill -TERM 1")

    def _run(self, *command: str) -> str:
        inside = ("exec", WHERE, POD, f"--container={POD}", "--")
        return self.context.kubectl(*inside, *command).strip()


def _named(kind: str, name: str, content: Mapping[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, **content}


def filled(file: str, images: Images) -> list[dict[str, Any]]:
    """The objects of a manifest; each pod with its image and with no rights on its node."""
    objects: list[dict[str, Any]] = list(yaml.safe_load_all((MANIFESTS / file).read_text()))
    for one in objects:
        spec = one if one["kind"] == "Pod" else one.get("spec", {}).get("template")
        if spec is None:
            continue
        spec["spec"]["securityContext"] = UNPRIVILEGED
        for group in ("initContainers", "containers"):
            for container in spec["spec"].get(group, []):
                container.update(images.container(container["name"], SERVERS))
    return objects
