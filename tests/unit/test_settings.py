"""Settings: where they come from, what is wrong with a bad one, which addresses are allowed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from os import environ
from pathlib import Path

import pytest

from rollback_operator.__main__ import main
from rollback_operator.api.shape import SecretKeyRef
from rollback_operator.api.v1alpha1 import (
    RUNBOOK_MATRIX,
    MatrixCondition,
    MatrixRule,
    PrometheusSpec,
)
from rollback_operator.runtime.settings import Settings
from tests.builders import NAMESPACE, make_policy

REPOSITORY = Path(__file__).parents[2]
BAD_FLAGS = (
    ("--prometheus-url", "prometheus:9090"),
    ("--prometheus-url", "http://user@prometheus:9090"),
    ("--prometheus-url", "http://[::1"),
    ("--prometheus-url", "http://prometheus:99999"),
    ("--prometheus-url", "http://prometheus:9090?x=y"),
    ("--namespaces", "shop,Till"),
    ("--namespaces", "a b"),
    ("--lease-namespace", ""),
    ("--argo-cd-namespace", "argo_cd"),
    ("--lease-seconds", "1"),
    ("--lease-seconds", "soon"),
    ("--workers", "0"),
    ("--workers", "65"),
    ("--http-port", "65536"),
    ("--http-port", "-1"),
    ("--log-level", "loud"),
    ("--log-format", "xml"),
)


@contextmanager
def environment(**values: str) -> Iterator[None]:
    """Set variables for the time of a test."""
    before = {name: environ.get(name) for name in values}
    environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            environ.pop(name) if value is None else environ.update({name: value})


def test_flags_win_over_the_environment_and_that_over_defaults() -> None:
    with environment(ROLLBACK_OPERATOR_LEASE_NAME="of-env", ROLLBACK_OPERATOR_WORKERS="3"):
        settings = Settings(lease_name="of-flag")

    assert (settings.lease_name, settings.workers, settings.http_port) == ("of-flag", 3, 8080)


def test_lists_are_comma_separated_also_in_the_environment() -> None:
    with environment(ROLLBACK_OPERATOR_NAMESPACES="shop, payments,,"):
        assert Settings().namespaces == ("shop", "payments")


@pytest.mark.parametrize(("flag", "value"), [("--lease-seconds", "soon"), ("--kubeconfig", "/no")])
def test_a_bad_flag_of_release_is_named(
    capsys: pytest.CaptureFixture[str], flag: str, value: str
) -> None:
    assert main(["release", f"{flag}={value}"]) == 2
    assert f"rollback-operator: {flag}: " in capsys.readouterr().err


@pytest.mark.parametrize(("flag", "value"), BAD_FLAGS)
def test_a_bad_flag_is_named(capsys: pytest.CaptureFixture[str], flag: str, value: str) -> None:
    status = main(["run", f"{flag}={value}"])

    said = capsys.readouterr().err
    assert status == 2
    assert f"rollback-operator: {flag}: " in said
    assert "Traceback" not in said


def test_a_bad_variable_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with environment(ROLLBACK_OPERATOR_WORKERS="many"):
        assert main(["run"]) == 2

    assert "rollback-operator: ROLLBACK_OPERATOR_WORKERS: " in capsys.readouterr().err


def test_an_unknown_flag_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["run", "--wrokers=3"])

    assert ended.value.code == 2
    assert "--wrokers" in capsys.readouterr().err


def test_a_missing_kubeconfig_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["run", f"--kubeconfig={tmp_path}/none", "--http-port=0"]) == 2

    assert "--kubeconfig" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["rollbackpolicies", "rollbacks"])
def test_the_delivered_crds_are_what_the_command_prints(
    capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    assert main(["crd"]) == 0

    delivered = (REPOSITORY / "deploy" / "crds" / f"{kind}.yaml").read_text()
    body = delivered.partition("apiVersion:")[2]
    assert body
    assert body.strip() in capsys.readouterr().out


# -- which addresses a policy may name -------------------------------------------------------------

SETTINGS = Settings(
    prometheus_url="http://prometheus.monitoring:9090",
    allowed_prometheus_hosts="thanos.example.com, Mimir.Example.COM,fd00::9",
)
ALLOWED = (
    "http://prometheus.monitoring:9090",
    "http://PROMETHEUS.monitoring:9090/",
    "http://prometheus.production",
    "http://prometheus.production:9090/base",
    "http://prometheus.production.svc:9090",
    "https://prometheus.production.svc.cluster.local",
    "https://thanos.example.com",
    "https://thanos.example.com:10902/api",
    "https://mimir.example.com",
    "http://[fd00::9]:9090",
)
REFUSED = (
    "http://prometheus.monitoring",
    "http://prometheus.monitoring:22",
    "https://prometheus.monitoring:9090",
    "http://prometheus.monitoring:9090/another",
    "http://prometheus.monitoring:99999",
    "http://prometheus.other:9090",
    "http://prometheus.other.svc.cluster.local",
    "http://prometheus",
    "http://production",
    "http://.production",
    "http://evil.production.attacker.com",
    "http://evil.com.production",
    "http://xproduction",
    "http://prometheus.monitoring.attacker.com",
    "http://thanos.example.com.attacker.com",
    "http://xthanos.example.com",
    "http://prometheus.monitoring@attacker.com",
    "http://prometheus.monitoring:9090@attacker.com/",
    "http://prometheus.monitoring%40attacker.com/",
    "http://attacker.com#.production",
    "http://attacker.com?.production",
    "http://prometheus.production/?a=",
    "http://prometheus.production/a#",
    "http://attacker.com/.production",
    "http://[::1]:9090",
    "http://[::1]",
    "http://[::1].production",
    "http://169.254.169.254/latest",
    "http://127.0.0.1:9090",
    "http://2130706433",
    "http://localhost",
    "file://prometheus.production/etc/passwd",
    "",
    "http://",
    "http://[",
)
DISGUISED = (
    "http://localhost\\.production",
    "http://2852039166\\.production:80",
    "http://attacker\\@prometheus.monitoring",
    "http://attacker\uff0ecom.production",
    "http://attacker\u3002com.production",
    "http://attacker%2ecom.production",
    "http://prometheus.prod\tuction",
    "http://prometheus.production\n",
    "http://prometheus .production",
)


@pytest.mark.parametrize("url", ALLOWED)
def test_an_allowed_address(url: str) -> None:
    assert SETTINGS.allows(url, "production")


@pytest.mark.parametrize("url", REFUSED)
def test_a_refused_address(url: str) -> None:
    assert not SETTINGS.allows(url, "production")


@pytest.mark.parametrize("url", DISGUISED, ids=ascii)
def test_an_address_that_two_parsers_read_differently_is_refused(url: str) -> None:
    assert not SETTINGS.allows(url, "production")


@pytest.mark.parametrize(
    ("own", "listed", "url", "expected"),
    [
        (f"http://mimir.{NAMESPACE}:9009", "", f"http://mimir.{NAMESPACE}:9009", False),
        (f"http://mimir.{NAMESPACE}:9009", "", f"http://MIMIR.{NAMESPACE}:80", False),
        ("http://other:9090", f"mimir.{NAMESPACE}", f"http://mimir.{NAMESPACE}:9009", False),
        ("http://other:9090", "", f"http://mimir.{NAMESPACE}:9009", True),
        (f"http://mimir.{NAMESPACE}.svc:9009", "", f"http://mimir.{NAMESPACE}.svc:9009", True),
    ],
    ids=["the operator's own", "another port of it", "a listed host", "a Service", "certainly"],
)
def test_a_namespace_does_not_own_a_host_by_its_name(own, listed, url, expected) -> None:
    """A namespace named as the rest of a host is not its owner."""
    settings = Settings(
        prometheus_url=own, allowed_prometheus_hosts=listed, own_queries="own-credentials"
    )
    policy = make_policy(prometheus={"url": url}, matrix=list(ASKING))
    assert settings.may_query(policy) is expected
    assert settings.needs_login_proof(url, NAMESPACE) is not expected
    assert settings.may_read_as("foreign", url, NAMESPACE) is expected


# -- whose own queries are taken -------------------------------------------------------------------

UP = MatrixCondition(signal="Query", query="up", below="1")
ASKING = (MatrixRule(severity="P3", when=[UP], response="Report"),)
SHARED = PrometheusSpec()
LISTED = PrometheusSpec(url="https://thanos.example.com")
WITH_TOKEN = PrometheusSpec(bearer_token_secret_ref=SecretKeyRef(name="prometheus", key="token"))
OF_THE_NAMESPACE = PrometheusSpec(url=f"http://prometheus.{NAMESPACE}.svc:9090")


@pytest.mark.parametrize(
    ("whose", "source", "matrix", "expected"),
    [
        ("allowed", SHARED, ASKING, True),
        ("own-credentials", SHARED, ASKING, False),
        ("own-credentials", LISTED, ASKING, False),
        ("own-credentials", WITH_TOKEN, ASKING, True),
        ("own-credentials", OF_THE_NAMESPACE, ASKING, True),
        ("Own-Credentials", SHARED, RUNBOOK_MATRIX, True),
    ],
    ids=["anyone's", "none", "a listed host", "with a token", "of its namespace", "no query"],
)
def test_whose_own_queries_are_taken(whose, source, matrix, expected) -> None:
    settings = Settings(prometheus_url="http://prometheus.monitoring:9090", own_queries=whose)
    policy = make_policy(prometheus=source, matrix=list(matrix))
    assert settings.may_query(policy) is expected


def test_who_sets_no_such_rule_is_told_the_choices() -> None:
    with pytest.raises(ValueError, match="'allowed' or 'own-credentials'"):
        Settings(own_queries="none")
