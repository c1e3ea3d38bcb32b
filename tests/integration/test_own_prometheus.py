"""A real Prometheus behind a gateway that wants a token: what it is read with, and by whom.

The Secrets are given through their port: no cluster is needed to see what a server is sent.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab.prometheus_server import Prometheus as Server
from rollback_operator.__main__ import main
from rollback_operator.adapters.prometheus import Access, PrometheusMetrics
from rollback_operator.api.reasons import Reason
from rollback_operator.api.shape import SecretKeyRef, SecretRef
from rollback_operator.api.v1alpha1 import CounterSignal, SignalLabels
from rollback_operator.model.samples import Counters, Missing
from rollback_operator.ports.failure import Failure
from rollback_operator.ports.metrics import CounterQuery, Prometheus
from tests.integration.api import eventually
from tests.integration.background import BackgroundLoop
from tests.integration.faulty_prometheus import FaultyPrometheus, wanting, wanting_headers

pytestmark = [pytest.mark.xdist_group("dialects"), pytest.mark.timeout(1200)]

OWN = "operators-own-s3cret"
FIRST, SECOND = "first-s3cret-token", "second-s3cret-token"
USER, TENANT = "shop", "team-shop"
POD = "shop-5d9c-abcde"
CONFIG = """
global: {scrape_interval: 1s}
scrape_configs:
- job_name: self
  static_configs:
  - targets: ["%s"]
    labels: {namespace: production, pod: shop-5d9c-abcde}
"""
REQUESTS = CounterSignal(metric="prometheus_http_requests_total")
ERRORS = CounterSignal(metric="prometheus_http_requests_total", matchers={"code": "=~5.."})


class Values:
    """The Secret `prometheus` of namespace `production`."""

    def __init__(self) -> None:
        self.token = FIRST

    async def read(self, namespace: str, name: str, key: str) -> str | Failure:
        assert (namespace, name, key) == ("production", "prometheus", "token")
        return f"{self.token}\n"

    async def read_all(self, namespace: str, name: str) -> Mapping[str, str] | Failure:
        assert (namespace, name) == ("production", "login")
        return {"username": USER, "password": f"{self.token}\n"}


@pytest.fixture(scope="module")
def front() -> Iterator[FaultyPrometheus]:
    with Server() as server, BackgroundLoop() as background:
        server.reload(CONFIG % server.url.removeprefix("http://"))
        with FaultyPrometheus(background, server.url) as found:
            found.listen()
            yield found


def asking(front: FaultyPrometheus, token: bool = True) -> CounterQuery:
    ref = SecretKeyRef(name="prometheus", key="token") if token else None
    return CounterQuery(
        prometheus=Prometheus(front.url("tenant"), "production", ref),
        namespace="production",
        pods=(f"{POD}.*",),
        requests=REQUESTS,
        errors=ERRORS,
        labels=SignalLabels(route="handler"),
    )


def test_a_policy_s_token_opens_its_prometheus_and_is_renewed(
    front: FaultyPrometheus, tmp_path: Path
) -> None:
    accepted, heard, secrets = [FIRST], list[str](), Values()
    front.fail("tenant", wanting(lambda: accepted[0], heard))
    own = tmp_path / "token"
    own.write_text(OWN)
    asked = _asked(Access(own, url=front.url("other"), may_call=lambda ip: True), secrets)

    def counted() -> bool:
        found = asked(lambda it: it.read(asking(front), 60))
        return isinstance(found, Counters) and {one.pod for one in found.requests} == {POD}

    eventually(counted, "requests are counted", 30)
    assert set(heard) == {f"Bearer {FIRST}"}

    # Another process of the operator has the old one; by now it is known to be no longer any good.
    accepted[0] = secrets.token = SECOND
    assert counted()
    assert heard[-1] == f"Bearer {SECOND}"

    strange = asked(lambda it: it.read(asking(front, token=False), 60))
    assert isinstance(strange, Missing)
    assert strange.reason is Reason.PROVIDER_UNAUTHORIZED
    assert "spec.prometheus.bearerTokenSecretRef" in strange.message
    assert heard[-1] == ""
    assert f"Bearer {OWN}" not in heard


def test_a_gateway_that_sends_the_token_back_gives_it_to_nobody(front: FaultyPrometheus) -> None:
    front.fail("tenant", wanting(lambda: "nobody-has-it", []))

    found = _asked(Access(may_call=lambda ip: True), Values())(
        lambda it: it.read(asking(front), 60)
    )

    assert isinstance(found, Missing)
    assert (found.reason, FIRST in found.message) == (Reason.PROVIDER_UNAUTHORIZED, False)
    assert "not with Bearer ***" in found.message


def login(password: str) -> str:
    return f"Basic {base64.b64encode(f'{USER}:{password}'.encode()).decode()}"


def test_a_policy_s_login_and_tenant_open_its_prometheus(
    front: FaultyPrometheus, tmp_path: Path
) -> None:
    heard: list[dict[str, str]] = []
    wanted = {"Authorization": login(FIRST), "X-Scope-OrgID": TENANT}
    front.fail("tenant", wanting_headers(wanted, heard))
    (tmp_path / "username").write_text("operator")
    (tmp_path / "password").write_text(OWN)
    access = Access(
        url=front.url("other"), login_folder=tmp_path, tenant="all", may_call=lambda ip: True
    )
    asked = _asked(access, Values())
    read = asking(front, token=False)
    source = replace(read.prometheus, basic_auth=SecretRef(name="login"), tenant=TENANT)

    def counted() -> bool:
        found = asked(lambda it: it.read(replace(read, prometheus=source), 60))
        return isinstance(found, Counters) and {one.pod for one in found.requests} == {POD}

    eventually(counted, "requests are counted", 30)
    assert all(one == wanted for one in heard)

    for less in (replace(source, tenant="team-bank"), read.prometheus):
        strange = asked(lambda it, less=less: it.read(replace(read, prometheus=less), 60))
        assert isinstance(strange, Missing)
        assert strange.reason is Reason.PROVIDER_UNAUTHORIZED
        assert FIRST not in strange.message
        assert login(FIRST).removeprefix("Basic ") not in strange.message
    assert heard[-1] == {"Authorization": "", "X-Scope-OrgID": ""}


def test_check_and_backtest_take_login_and_tenant(
    front: FaultyPrometheus,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    heard: list[dict[str, str]] = []
    wanted = {"Authorization": login(FIRST), "X-Scope-OrgID": TENANT}
    front.fail("tenant", wanting_headers(wanted, heard))
    policy, folder = tmp_path / "policy.yaml", tmp_path / "login"
    source = {"basicAuthSecretRef": {"name": "login"}, "tenant": TENANT}
    policy.write_text(yaml.safe_dump(manifest(source)))
    folder.mkdir()
    (folder / "username").write_text(USER)
    (folder / "password").write_text(FIRST)
    options = ["check", "-f", str(policy), "--prometheus", front.url("tenant")]
    options += ["--kubeconfig", str(tmp_path / "none")]

    assert main(options) == 1
    said = capsys.readouterr().out
    assert "ProviderUnauthorized" in said
    assert "--prometheus-basic-auth-folder" in said
    assert "spec.prometheus.tenant" in said, "the operator would not read as that tenant"
    assert {one["X-Scope-OrgID"] for one in heard} == {TENANT}

    heard.clear()
    monkeypatch.setenv("ROLLBACK_OPERATOR_ALLOWED_TENANTS", f"production/{TENANT}")
    told: list[str] = []

    def counts_the_pod() -> bool:
        main([*options, "--prometheus-basic-auth-folder", str(folder)])
        told.append(capsys.readouterr().out)
        return "1 pod" in told[-1]

    eventually(counts_the_pod, "check counts the pod", 60)
    assert "spec.prometheus.tenant" not in told[-1]
    assert all(one == wanted for one in heard)

    heard.clear()
    monkeypatch.setenv("ROLLBACK_OPERATOR_PROMETHEUS_BASIC_AUTH_FOLDER", str(folder))
    rollouts = {
        "deployment": "shop",
        "namespace": "production",
        "rollouts": [
            {"time": at, "templateHash": made, "revision": number, "image": made, "replicas": 1}
            for number, (at, made) in enumerate(
                [("2030-01-01T00:00:00Z", "4c8b"), ("2030-01-01T10:00:00Z", "5d9c")], 1
            )
        ],
    }
    (tmp_path / "rollouts.json").write_text(json.dumps(rollouts))
    replay = ["backtest", "--policy", str(policy), "--rollouts", str(tmp_path / "rollouts.json")]
    replay += ["--prometheus", front.url("tenant")]
    replay += ["--start", "2030-01-01T09:58:00Z", "--end", "2030-01-01T10:02:00Z", "--step", "30"]

    assert main(replay) == 0
    assert heard
    assert all(one == wanted for one in heard)


def manifest(source: dict[str, Any]) -> dict[str, Any]:
    signals: dict[str, Any] = {
        "requests": {"metric": REQUESTS.metric},
        "errors": {"metric": ERRORS.metric, "matchers": dict(ERRORS.matchers)},
        "labels": {"route": "handler"},
    }
    spec = {
        "targetRef": {"name": "shop"},
        "mode": "Observe",
        "prometheus": source,
        "signals": signals,
    }
    return {
        "apiVersion": "rollback.tickettoken.io/v1alpha1",
        "kind": "RollbackPolicy",
        "metadata": {"name": "shop", "namespace": "production"},
        "spec": spec,
    }


def test_check_takes_the_token_from_a_file(
    front: FaultyPrometheus, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    heard: list[str] = []
    front.fail("tenant", wanting(lambda: FIRST, heard))
    policy = tmp_path / "policy.yaml"
    ref = {"bearerTokenSecretRef": {"name": "prometheus", "key": "token"}}
    policy.write_text(yaml.safe_dump(manifest(ref)))
    token = tmp_path / "token"
    token.write_text(FIRST)
    options = ["check", "-f", str(policy), "--prometheus", front.url("tenant")]
    options += ["--kubeconfig", str(tmp_path / "none")]

    assert main(options) == 1
    said = capsys.readouterr().out
    assert "ProviderUnauthorized" in said
    assert "its Secrets were not read" in said
    assert set(heard) == {""}

    heard.clear()
    told: list[str] = []

    def counts_the_pod() -> bool:
        main([*options, "--prometheus-token-file", str(token)])
        told.append(capsys.readouterr().out)
        return "1 pod" in told[-1]

    # A busy machine may have missed the last scrapes.
    eventually(counts_the_pod, "check counts the pod", 60)
    assert not any("ProviderUnauthorized" in one for one in told)
    assert set(heard) == {f"Bearer {FIRST}"}


def _asked(
    access: Access, secrets: Values
) -> Callable[[Callable[[PrometheusMetrics], Awaitable[Any]]], Any]:
    """Ask in a loop of its own, as a process that has just begun."""

    def ask(call: Callable[[PrometheusMetrics], Awaitable[Any]]) -> Any:
        async def one() -> Any:
            metrics = PrometheusMetrics(access, secrets=secrets)
            try:
                return await call(metrics)
            finally:
                metrics.close()

        return asyncio.run(one())

    return ask
