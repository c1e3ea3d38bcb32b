"""`rollback-operator backtest` against a real Prometheus that has been given a past."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from time import time
from typing import Any

import pytest

from lab.ports import free_ports
from lab.prometheus_server import Prometheus
from lab.remote_write import write
from rollback_operator.model.samples import Counters
from tests.builders import NAME, PURCHASE, T0
from tests.unit.backtest.past import counted, make_file, release, rfc3339, shifted
from tests.unit.backtest.test_replay import replayed

pytestmark = pytest.mark.xdist_group("backtest")
SHIFT = time() // 3600 * 3600 - 3 * 3600 - T0
"""Prometheus takes no samples from the future: the past that is replayed is moved before now."""
CONFIG = """
global: {scrape_interval: 5s}
storage: {tsdb: {out_of_order_time_window: 3h}}
"""
REQUESTS, ERRORS = "http_request_duration_seconds_count", "http_request_errors_total"
POLICY = {
    "apiVersion": "rollback.tickettoken.io/v1alpha1",
    "kind": "RollbackPolicy",
    "metadata": {"name": "shop", "namespace": "shop"},
    "spec": {"targetRef": {"name": NAME}, "mode": "Enforce"},
}


def then(seconds: float) -> str:
    return rfc3339(SHIFT + seconds)


@pytest.fixture(scope="module")
def prometheus() -> Iterator[Prometheus]:
    with Prometheus(CONFIG) as found:
        yield found


@dataclass
class Case:
    """A namespace with a past, and files that tell of it."""

    prometheus: Prometheus
    namespace: str
    folder: Path

    def store(self, counters: Counters) -> None:
        counters = shifted(counters, SHIFT)
        for metric, side in ((REQUESTS, counters.requests), (ERRORS, counters.errors)):
            for one in side:
                labels = {
                    "__name__": metric,
                    "namespace": self.namespace,
                    "pod": one.pod,
                    "route": one.route,
                    "instance": one.instance,
                    "job": "pods",
                }
                write(self.prometheus.url, [(labels, one.samples)])

    def file(self, name: str, content: Any) -> Path:
        path = self.folder / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    def arguments(self, *more: str, **changes: str) -> list[str]:
        rollouts = make_file(shift=SHIFT, namespace=self.namespace)
        given = {
            "policy": str(self.file("policy.yaml", POLICY)),
            "rollouts": str(self.file("rollouts.json", rollouts)),
            "prometheus": self.prometheus.url,
            "start": then(-60),
            "end": then(300),
            "step": "5",
        } | changes
        return [part for name, value in given.items() for part in (f"--{name}", value)] + [*more]

    def run(self, *more: str, **changes: str) -> subprocess.CompletedProcess[str]:
        return run(*self.arguments(*more, **changes))

    def result(self, *more: str, **changes: str) -> dict[str, Any]:
        done = self.run("--output", "json", *more, **changes)
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "rollback_operator", "backtest", *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)


@pytest.fixture
def case(prometheus: Prometheus, request: pytest.FixtureRequest, tmp_path: Path) -> Case:
    name = request.node.name.removeprefix("test_").partition("[")[0]
    return Case(prometheus, name.replace("_", "-")[:60].rstrip("-"), tmp_path)


def actions(found: dict[str, Any]) -> list[str]:
    return [one["action"] for one in found["decisions"]]


def test_a_bad_release_is_rolled_back(case: Case) -> None:
    case.store(counted(release(lambda time, route: 1.0)))

    found = case.result()

    last = found["decisions"][-1]
    assert last == found["final"]
    assert (last["verdict"], last["severity"], last["action"]) == ("Bad", "P1", "Rollback")
    assert then(5) <= last["time"] <= then(17)
    assert last["evidence"]["newestSample"] <= last["time"]
    assert last["evidence"]["errors"] == last["evidence"]["requests"] >= 20
    assert last["blame"] == {
        "revision": 2,
        "route": None,
        "pod": None,
        "node": None,
        "sharedWithOld": False,
    }
    assert actions(found).count("Rollback") == 1
    assert {"time", "verdict", "severity", "action", "reason", "message", "evidence", "blame"} == {
        *last
    }


def test_the_provider_s_answer_is_judged_as_the_past_in_memory(case: Case) -> None:
    counters = counted(release(lambda time, route: 0.2 if route == PURCHASE else 0.001))
    case.store(counters)

    found = case.result()

    file = make_file(shift=SHIFT, namespace=case.namespace)
    span = (SHIFT - 60, SHIFT + 300, 5)
    known = replayed(shifted(counters, SHIFT), file, span=span)
    assert [(one["time"], one["verdict"], one["reason"]) for one in found["decisions"]] == [
        (then(one.time - T0 - SHIFT), one.verdict, one.reason) for one in known.decisions
    ]


def test_a_healthy_release_is_not(case: Case) -> None:
    case.store(counted(release(until=700)))

    found = case.result(end=then(700))

    assert "Rollback" not in actions(found)
    assert found["final"]["verdict"] == "Healthy"


def test_what_fails_on_both_revisions_is_not_the_release_s(case: Case) -> None:
    fails = lambda time, route: 0.3 if time > 0 else 0.001  # noqa: E731
    case.store(counted(release(fails, old_until=300, old_fails=fails, until=300)))

    found = case.result()

    assert "Rollback" not in actions(found)
    assert found["final"]["blame"]["sharedWithOld"] is True


def test_a_gap_is_stale(case: Case) -> None:
    case.store(counted(release(until=100)))

    found = case.result()

    assert found["final"]["verdict"] == "NoVerdict"
    assert found["final"]["reason"] == "SamplesStale"
    assert "Rollback" not in actions(found)


def test_values_that_are_no_numbers(case: Case) -> None:
    counters = counted(release(until=300))
    samples = tuple((at, float("nan")) for at, _ in counters.requests[-1].samples)
    broken = type(counters.requests[-1])(
        counters.requests[-1].pod, "/odd", (), counters.requests[-1].instance, samples
    )
    case.store(Counters((*counters.requests, broken), counters.errors))

    found = case.result()

    assert (found["final"]["verdict"], found["final"]["reason"]) == ("NoVerdict", "NotANumber")


def test_a_prometheus_that_is_not_there_is_no_verdict(case: Case) -> None:
    found = case.result(prometheus=f"http://127.0.0.1:{free_ports(1)[0]}")

    assert [one["verdict"] for one in found["decisions"]] == ["NoVerdict"]
    assert found["final"]["reason"] == "ProviderUnreachable"


@pytest.mark.parametrize(
    ("name", "content", "field"),
    [
        ("rollouts", "{", "rollouts"),
        ("rollouts", {"deployment": NAME, "namespace": "x"}, "rollouts: is missing"),
        ("rollouts", make_file(rollouts=[{"templateHash": "a"}]), "rollouts[0].time"),
        (
            "rollouts",
            make_file(rollouts=[{"time": "soon", "templateHash": "a"}]),
            "rollouts[0].time",
        ),
        ("rollouts", make_file(observations=[{"readyReplicas": 1}]), "observations[0].time"),
        ("rollouts", make_file(pods=[{"ready": True}]), "pods[0].name"),
        ("policy", "spec: {mode: Sometimes, targetRef: {name: x}}", "spec.mode"),
        ("policy", "spec: {mode: Observe}", "spec.targetRef"),
        ("policy", "[", "policy"),
        ("policy", "kind: Deployment\nspec: {}", "kind"),
    ],
    ids=str,
)
def test_a_file_that_is_wrong_names_its_field(
    case: Case, name: str, content: Any, field: str
) -> None:
    done = case.run(**{name: str(case.file("wrong", content))})

    assert done.returncode != 0
    assert field in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_batch_gives_a_line_for_each_and_fails_for_a_bad_one(case: Case) -> None:
    case.store(counted(release(lambda time, route: 1.0)))
    line = {
        "policy": POLICY,
        "rollouts": "mine.json",
        "start": then(-60),
        "end": then(60),
        "step": 5,
    }
    case.file("mine.json", make_file(shift=SHIFT, namespace=case.namespace))
    lines = [json.dumps(line), "{", json.dumps(line | {"step": 0}), json.dumps(line)]
    cases = case.file("cases.jsonl", "\n".join(lines))

    done = run("--batch", str(cases), "--prometheus", case.prometheus.url, "--jobs", "2")

    results = [json.loads(one) for one in done.stdout.splitlines()]
    assert done.returncode != 0
    assert results[0] == results[3]
    assert results[0]["final"]["action"] == "Rollback"
    assert [results[1]["error"]["line"], results[2]["error"]["field"]] == [2, "step"]
