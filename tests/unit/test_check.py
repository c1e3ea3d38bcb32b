"""`rollback-operator check` as people and machines meet it, against a real HTTP server."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from rollback_operator.__main__ import main
from tests.provider import Answer, Provider, answer_of, running

POD = "shop-5d9c-abcde"
LABELS = {"pod": POD, "namespace": "production", "instance": "10.0.0.1:80", "job": "pods"}
CODES = {"200": 40.0, "404": 2.0}
POLICY = {
    "apiVersion": "rollback.tickettoken.io/v1alpha1",
    "kind": "RollbackPolicy",
    "metadata": {"name": "shop", "namespace": "production"},
    "spec": {
        "targetRef": {"name": "shop"},
        "mode": "Observe",
        "signals": {
            "requests": {"metric": "http_requests_total"},
            "errors": {"metric": "http_requests_total", "matchers": {"code": "=~5.."}},
            "purchaseRoutes": ["/buy"],
        },
        "matrix": [
            {
                "severity": "P1",
                "when": [{"signal": "ErrorRate", "atLeast": "0.90", "routes": "Purchase"}],
                "response": "Rollback",
                "withinSeconds": 60,
            },
            {
                "severity": "P2",
                "when": [{"signal": "ErrorRate", "above": "0.05"}],
                "response": "Rollback",
                "withinSeconds": 900,
            },
        ],
    },
}


@pytest.fixture
def provider() -> Iterator[Provider]:
    with running() as found:
        found.answer = shop
        yield found


def shop(text: str) -> Answer:
    """Answer for a service with one pod, two routes and no error so far."""
    now = time.clock_gettime(time.CLOCK_REALTIME)
    minutes = [[now - 60 * ago, "2400"] for ago in range(59, -1, -1)]
    answers = (
        (text == "time()", [now, str(now)]),
        (text.startswith("count by (code)"), [vector(code=one) for one in CODES]),
        (text.startswith("count by (__name__)"), [vector(__name__="http_requests_total")]),
        ("http_requests_total" not in text or '"cart' in text or "code=~" in text, []),
        (text.startswith("topk"), [vector(**LABELS, route="/buy")]),
        (text.startswith("sum by"), [{"metric": {"route": "/buy"}, "values": minutes}]),
        (True, counters(now)),
    )
    return answer_of(next(answer for is_asked, answer in answers if is_asked))


def counters(now: float) -> list[dict[str, Any]]:
    return [
        {
            "metric": {**LABELS, "route": route, "code": code},
            "values": [[now - ago, str(1e6 - rate * ago)] for ago in range(295, 0, -5)],
        }
        for code, rate in CODES.items()
        for route in ("/buy", "/list")
    ]


def vector(**labels: str) -> dict[str, Any]:
    return {"metric": labels, "value": [0, "1"]}


def write(directory: Path, **changes: Any) -> str:
    path = directory / "policy.yaml"
    spec = {**POLICY["spec"], **changes}  # type: ignore[dict-item] # a manifest
    path.write_text(yaml.safe_dump({**POLICY, "spec": spec}))
    return str(path)


def check(provider: Provider, path: str, *more: str) -> int:
    nothing = f"{path}.kubeconfig"
    given = ["check", "-f", path, "--prometheus", provider.url, "--kubeconfig", nothing]
    return main([*given, *more])


def test_a_right_policy_is_usable_and_all_is_told(
    provider: Provider, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(provider, write(tmp_path)) == 0

    said = capsys.readouterr().out
    assert said.startswith("production/shop: usable\n")
    assert "http_requests_total: 4 series, 1 pod, 2 routes, 84.00 requests/s" in said
    assert "scraped every 5.0 s" in said
    assert "59 minutes, 144000 requests, 0.00% failed" in said
    assert re.search(r"/buy +P1 ", said)
    table = " ".join(said.partition("How soon")[2].split())
    (cell,) = re.findall(r"(\S+ \(\S+\)) means: ", table)
    assert f" {cell} " in table.partition("means:")[0]
    assert "the severity that spec.matrix gives such a release (-: no row" in table
    # A path is never broken, and how long that of a test's own folder is differs from run to run.
    assert [one for one in said.splitlines() if len(one) > 100 and str(tmp_path) not in one] == []
    words = " ".join(said.split())
    assert "no request has been an error yet: code has the values 200, 404" in words
    assert "the Deployment was not read: " in words


def test_machines_are_told_the_same(
    provider: Provider, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(provider, write(tmp_path), "--output", "json") == 0

    (found,) = json.loads(capsys.readouterr().out)
    assert (found["policy"], found["result"], found["errors"]) == ("production/shop", "Usable", [])
    seen = found["seen"]
    assert seen["scrapeIntervalSeconds"] == 5.0
    assert seen["pods"] == [POD]
    assert seen["requests"] == {"metric": "http_requests_total", "series": 4, "missing": None}
    assert seen["errorLabels"] == {"code": ["200", "404"]}
    assert abs(seen["clockSkewSeconds"]) < 1
    assert seen["control"]["isSufficient"]
    rows = {(one["route"], one["failing"]): one for one in found["outlook"]}
    assert set(rows) == {(route, one) for route in (None, "/buy") for one in (1.0, 0.2, 0.05)}
    assert rows["/buy", 1.0]["severity"] == "P1"
    assert rows["/buy", 1.0]["byPrometheus"]["boundBy"] == "20 requests"
    assert rows["/buy", 1.0]["byPodMetrics"]["meanSeconds"] < 3
    assert {one["level"] for one in found["findings"]} == {"Note"}


def test_a_wrong_policy_is_told_what_there_is_instead(
    provider: Provider, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path, targetRef={"name": "cart"}, timeout=5)
    assert check(provider, path, "--output", "json") == 1

    (found,) = json.loads(capsys.readouterr().out)
    assert found["result"] == "Problems"
    assert found["outlook"] == []
    problem = found["findings"][0]
    assert (problem["level"], problem["field"]) == ("Problem", "spec.signals.requests")
    assert f"belong to other pods ({POD})" in problem["remedy"]
    assert "spec.timeout" in {one["field"] for one in found["findings"]}


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Answer(b"<html>Sign in"), "AnswerMalformed"),
        (Answer(b"", 401), "ProviderUnauthorized"),
        (Answer(b"", 503), "ProviderError"),
        (Answer(b'{"error":"no"}', 400), "QueryRefused"),
        (answer_of([], warnings=["a store is down"]), "AnswerPartial"),
        (answer_of([]), "NoSeries"),
        (answer_of([{"metric": LABELS, "values": [[1e9, "NaN"]]}]), "NotANumber"),
        (answer_of([{"metric": LABELS, "values": [[1e9, "1"]], "x": 1}, 5]), "AnswerMalformed"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_whatever_is_wrong_with_prometheus_keeps_its_reason(
    provider: Provider,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    answer: Answer,
    reason: str,
) -> None:
    provider.answer = lambda text: answer
    assert check(provider, write(tmp_path)) == 1
    said = capsys.readouterr().out
    assert re.search(rf"problem +spec.signals.requests: {reason}: ", said)


def test_a_policy_s_own_credentials_may_be_given_in_files(
    provider: Provider, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """From a laptop that sees no cluster, and so no Secrets."""
    path = write(tmp_path, prometheus={"bearerTokenSecretRef": {"name": "p", "key": "token"}})

    assert check(provider, path) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "spec.prometheus: its Secrets were not read: no cluster is known" in said
    assert "--prometheus-token-file" in said
    assert set(provider.tokens) == {None}

    provider.tokens.clear()
    token = tmp_path / "token"
    token.write_text("s3cret-token")
    assert check(provider, path, "--prometheus-token-file", str(token)) == 0
    assert "its Secrets" not in capsys.readouterr().out
    assert set(provider.tokens) == {"Bearer s3cret-token"}


def test_a_prometheus_that_is_not_there_is_told_with_the_way_to_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path, prometheus={"url": "http://127.0.0.1:1"})
    assert main(["check", "-f", path, "--kubeconfig", f"{path}.none"]) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert "ProviderUnreachable" in said
    assert "set --prometheus, outside the cluster to a forwarded port" in said


def test_a_bad_file_is_refused_with_all_its_fields(
    provider: Provider, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path, mode="Enforc", targetRef={})
    assert check(provider, path) == 2
    said = capsys.readouterr().out
    assert "spec.mode: Input should be 'Observe' or 'Enforce'" in said
    assert "spec.targetRef.name: is missing" in said
    assert provider.queries == []

    assert check(provider, path, "--output", "json") == 2
    (found,) = json.loads(capsys.readouterr().out)
    assert found["result"] == "BadFile"
    assert {one["field"] for one in found["errors"]} == {"spec.mode", "spec.targetRef.name"}


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("--prometheus", "prometheus:9090"),
        ("--prometheus", "http://[::1"),
        ("--prometheus", "http://127.0.0.1:99999"),
        ("--prometheus", ""),
        ("--prometheus-token-file", "/nowhere/token"),
        ("--prometheus-ca-file", "/"),
    ],
)
def test_an_option_that_cannot_be_used_is_named(
    flag: str, value: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", "-f", write(tmp_path), flag, value]) == 2
    assert capsys.readouterr().err.startswith(f"rollback-operator: {flag}: ")


def test_a_bad_variable_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROLLBACK_OPERATOR_WORKERS", "many")

    assert main(["check", "-f", write(tmp_path)]) == 2
    assert "ROLLBACK_OPERATOR_WORKERS: " in capsys.readouterr().err


@pytest.mark.parametrize("url", ["http://[::1", "http://prometheus.production:99999"])
def test_a_policy_s_address_that_is_none_is_a_fault(
    url: str, provider: Provider, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(provider, write(tmp_path, prometheus={"url": url})) == 2
    assert "spec.prometheus.url: must be a base address" in capsys.readouterr().out


def test_the_worst_of_several_policies_gives_the_status(
    provider: Provider, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    right = Path(write(tmp_path)).read_text()
    both = tmp_path / "both.yaml"
    both.write_text(f"{right}---\n{right.replace('name: shop', 'name: cart')}")
    assert check(provider, str(both)) == 1
    said = capsys.readouterr().out
    assert "production/shop: usable" in said
    assert "production/cart: cannot be judged yet" in said


def test_a_field_that_nobody_knows_is_refused_as_kubectl_does(
    provider: Provider, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(provider, write(tmp_path, bogus=1)) == 1
    assert "spec.bogus: this version knows no such field" in capsys.readouterr().out


def test_a_second_policy_of_the_file_on_the_same_target_is_refused(
    provider: Provider, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path)
    second = {**POLICY, "metadata": {"name": "second", "namespace": "production"}}
    elsewhere = {**POLICY, "metadata": {"name": "third", "namespace": "other"}}
    Path(path).write_text(yaml.safe_dump_all([POLICY, second, elsewhere]))

    assert check(provider, path, "--output", "json") == 1

    found = json.loads(capsys.readouterr().out)
    told = [
        [one["message"] for one in each["findings"] if "watches Deployment shop" in one["message"]]
        for each in found
    ]
    assert [len(one) for one in told] == [0, 1, 0]
    assert told[1][0].startswith("policy shop already watches Deployment shop")


def test_an_address_that_the_operator_refuses_is_told_with_prometheus_given_too(
    provider: Provider, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path, prometheus={"url": "http://elsewhere.example:9090"})
    assert check(provider, path) == 1
    assert "http://elsewhere.example:9090 is neither the operator's" in capsys.readouterr().out
