"""What is kept of a pod for reading its own page: whose address it is, and where the page is."""

from __future__ import annotations

from typing import Any

import pytest

from rollback_operator.adapters.kube.projections.pods import pod_of
from rollback_operator.model.pod import MetricsPage


def raw(
    annotations: dict[str, str] | None = None,
    ports: list[dict[str, Any]] | None = None,
    **changes: Any,
) -> dict[str, Any]:
    pod: dict[str, Any] = {
        "metadata": {"name": "pod-0", "annotations": annotations or {}},
        "spec": {"containers": [{"name": "one", "ports": ports or []}]},
        "status": {"phase": "Running", "podIP": "10.244.0.7"},
    }
    for part, fields in changes.items():
        pod[part] |= fields
    return pod


@pytest.mark.parametrize(
    ("pod", "address"),
    [
        (raw(), "10.244.0.7"),
        (raw({"prometheus.io/scrape": "true"}), "10.244.0.7"),
        (raw({"prometheus.io/scrape": "false"}), ""),
        (raw(spec={"hostNetwork": True}), ""),
        (raw(status={"phase": "Failed"}), ""),
        (raw(status={"phase": "Succeeded"}), ""),
        (raw(status={"podIP": None}), ""),
    ],
    ids=["its own", "wants it", "wants none", "its node's", "failed", "done", "none yet"],
)
def test_the_address_is_the_pods_alone(pod: dict[str, Any], address: str) -> None:
    assert pod_of(pod).address == address


METRICS, WEB = {"name": "metrics", "containerPort": 9102}, {"name": "http", "containerPort": 8080}


@pytest.mark.parametrize(
    ("pod", "page"),
    [
        (raw({"prometheus.io/port": "9000", "prometheus.io/path": "/p"}), MetricsPage(9000, "/p")),
        (raw({"prometheus.io/port": "9000"}, [METRICS]), MetricsPage(9000)),
        (raw({"prometheus.io/scheme": "https"}, [METRICS]), MetricsPage(9102, scheme="https")),
        (raw({"prometheus.io/port": "many"}), MetricsPage()),
        (raw({"prometheus.io/port": "70000"}), MetricsPage()),
        (raw({"prometheus.io/path": "@elsewhere/"}, [METRICS]), MetricsPage(9102)),
        (raw(ports=[WEB, METRICS]), MetricsPage(9102, serving_port=8080)),
        (raw(ports=[WEB, {"containerPort": 7000}]), MetricsPage(8080, serving_port=8080)),
        (raw(ports=[{"name": "grpc", "containerPort": 7000}]), MetricsPage()),
    ],
    ids=[
        "annotations",
        "an annotation before a port's name",
        "https",
        "no number",
        "no port",
        "no path",
        "the port for metrics",
        "the port for requests",
        "unknown",
    ],
)
def test_where_the_page_is(pod: dict[str, Any], page: MetricsPage) -> None:
    assert pod_of(pod).page == page
