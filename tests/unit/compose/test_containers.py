"""What identifies a release of a Compose service, and what a container's state means."""

from __future__ import annotations

import pytest

from rollback_operator.adapters.compose.containers import (
    container_of,
    revision_of,
    seconds_of,
)
from tests.unit.compose.builders import T0, container, image, raw


def test_a_container_is_read() -> None:
    read = container(second=1)
    assert read.name == "shop-shop-1"
    assert read.address == "172.20.0.2"
    assert read.published == frozenset({18080})
    assert read.exposed == (8080,)
    assert read.created == read.started == T0 + 1.5
    assert read.is_running
    assert not read.is_failed


def test_a_release_is_an_image_with_settings() -> None:
    first = revision_of(container())
    assert revision_of(container(second=9)) == first, "another container of the same"
    assert revision_of(container("sha256:" + "b" * 64)) != first
    assert revision_of(container(config={"Env": ["PATH=/bin", "KEY=other"]})) != first
    assert revision_of(container(config={"Image": "sha256:x"})) == first, "pinned by its digest"
    assert revision_of(container(labels={"any": "label"})) == first


def test_the_order_of_variables_is_no_change() -> None:
    one = container(config={"Env": ["A=1", "B=2", "PATH=/bin"]})
    two = container(config={"Env": ["B=2", "PATH=/bin", "A=1"]})
    assert revision_of(one) == revision_of(two)


def test_no_value_of_a_variable_is_kept() -> None:
    assert "secret" not in repr(container())


@pytest.mark.parametrize(
    ("state", "is_failed", "text"),
    [
        ({"Status": "exited", "Running": False, "ExitCode": 1}, True, "exited with 1"),
        ({"Status": "exited", "Running": False, "ExitCode": 0}, False, ""),
        ({"Status": "exited", "Running": False, "ExitCode": 137}, False, ""),
        ({"Status": "exited", "Running": False, "ExitCode": 137, "OOMKilled": True}, True,
         "memory"),
        ({"Status": "restarting", "Restarting": True, "ExitCode": 2}, True, "exited with 2"),
        ({"Health": {"Status": "unhealthy", "Log": [{"Output": "no\nanswer", "ExitCode": 1}]}},
         False,
         "no answer"),
        ({"Health": {"Status": "none"}}, False, ""),
    ],
)  # fmt: skip
def test_states(state: dict[str, object], is_failed: bool, text: str) -> None:
    read = container(state=state)
    assert read.is_failed is is_failed
    assert text in read.failure
    assert bool(read.failure) is bool(text)


def test_healthy_since_the_last_failed_check() -> None:
    log = [
        {"ExitCode": 0, "End": "2025-12-01T12:00:01Z"},
        {"ExitCode": 1, "End": "2025-12-01T12:00:02Z"},
        {"ExitCode": 0, "End": "2025-12-01T12:00:03Z"},
        {"ExitCode": 0, "End": "2025-12-01T12:00:04Z"},
    ]
    read = container(state={"Health": {"Status": "healthy", "Log": log}})
    assert read.healthy_since == T0 + 3


def test_a_container_outlives_its_image() -> None:
    assert container_of(raw(), None).repo_digest == ""
    assert container_of(raw(), image(RepoDigests=["r/shop@sha256:1"])).repo_digest


@pytest.mark.parametrize(
    ("declared", "path"),
    [
        ("/stats", "/stats"),
        ("", "/metrics"),
        ("@elsewhere/", "/metrics"),
        ("/" + "\U0001f600" * 900, "/metrics"),
    ],
)
def test_the_path_of_a_page_is_that_of_a_pods_page(declared: str, path: str) -> None:
    labels = {"prometheus.io/port": "9000", "prometheus.io/path": declared}
    assert container(labels=labels).page == (9000, path)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2025-12-01T12:00:00Z", T0),
        ("2025-12-01T12:00:00.25Z", T0 + 0.25),
        ("2025-12-01T13:00:00.123456789+01:00", T0 + 0.123456789),
        ("0001-01-01T00:00:00Z", None),
        ("", None),
        ("tomorrow", None),
        (None, None),
    ],
)
def test_times(text: object, seconds: float | None) -> None:
    assert seconds_of(text) == (None if seconds is None else pytest.approx(seconds, abs=1e-6))
