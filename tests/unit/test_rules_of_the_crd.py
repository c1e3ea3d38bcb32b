"""Every rule that the API server checks, the models check too: what `check` accepts is accepted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from rollback_operator.api.v1alpha1 import RollbackPolicySpec

CRD = Path(__file__).parents[2] / "deploy/crds/rollbackpolicies.yaml"
LONGEST = {"watchSeconds": 600}


def _rules(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        yield from (one["message"] for one in node.get("x-kubernetes-validations", ()))
        for each in node.values():
            yield from _rules(each)
    elif isinstance(node, list):
        for each in node:
            yield from _rules(each)


def _schema() -> Any:
    versions = yaml.load(CRD.read_text(), yaml.CSafeLoader)["spec"]["versions"]
    return versions[0]["schema"]["openAPIV3Schema"]["properties"]["spec"]


def _when(**condition: Any) -> dict[str, Any]:
    return {"matrix": [{"severity": "P1", "when": [condition], "response": "Rollback"}]}


def _row(**fields: Any) -> dict[str, Any]:
    down = [{"signal": "Unavailable"}]
    return {"severity": "P1", "when": down, "response": "Rollback"} | fields


def _counter(**fields: Any) -> dict[str, Any]:
    return {"signals": {"requests": fields}}


def _freeze(start: str, end: str, **fields: Any) -> dict[str, Any]:
    return {"safety": {"freeze": [{"name": "night", "from": start, "until": end} | fields]}}


def _told(**channel: Any) -> dict[str, Any]:
    return {"notify": [{"name": "one"} | channel]}


def _database(**fields: Any) -> dict[str, Any]:
    return {"database": {"connectionSecretRef": SECRET} | fields}


def _down(**fields: Any) -> dict[str, Any]:
    return _database(onNewerSchema="RollbackMigrations", rollbackMigrations=fields)


SECRET = {"name": "one", "key": "key"}
JOB = {"command": ["true"]}
MAIL = {"host": "mail", "from": "a@example.com", "to": ["b@example.com"]}
BROKEN: dict[str, dict[str, Any]] = {
    "goodAfterSeconds must be at most": {"safety": LONGEST | {"goodAfterSeconds": 601}},
    "suspectOdds must be below badOdds": {"safety": {"suspectOdds": 1000, "badOdds": 500}},
    "maxPauseSeconds must be at most": {"safety": LONGEST | {"maxPauseSeconds": 900}},
    "stage.maxSeconds must be at most": {"safety": LONGEST, "stage": {"maxSeconds": 900}},
    "set only one of bearerTokenSecretRef": {
        "prometheus": {
            "url": "http://prometheus:9090",
            "bearerTokenSecretRef": SECRET,
            "basicAuthSecretRef": {"name": "one"},
        }
    },
    "errors must not select the same series": {
        "signals": {"requests": {"metric": "http"}, "errors": {"metric": "http"}}
    },
    "must be a counter, histogram or gauge": _counter(metric="job:http:rate5m"),
    "label names must contain only": _counter(metric="http", matchers={"a-b": "x"}),
    "rules must be ordered": {"matrix": [_row(severity="P2"), _row(severity="P1")]},
    "onTimeout requires": {"matrix": [_row(onTimeout="Rollback")]},
    "propose requires": {"matrix": [_row(propose=True)]},
    "ErrorRate requires exactly one": _when(signal="ErrorRate"),
    "LatencyRatio, Latency and MemoryGrowth require": _when(signal="LatencyRatio", atLeast="3"),
    "OOMKills and Restarts require": _when(signal="Restarts", atLeast="1.5"),
    "Query requires query and exactly one": _when(signal="Query", name="own", query="up"),
    "query, below and changeAbove are allowed": _when(signal="Unavailable", query="up"),
    "Probe requires name": _when(signal="Probe"),
    "Unavailable, StuckRollout, TrafficLost": _when(signal="Unavailable", above="1"),
    "routes is allowed only": _when(signal="Unavailable", routes="Purchase"),
    "above must be at least 0": _when(signal="ErrorRate", above="1.5"),
    "atLeast must be greater than 0": _when(signal="ErrorRate", atLeast="0"),
    "times and looks are allowed": _when(signal="Unavailable", times=2),
    "times must be at most looks": _when(
        signal="Query", name="own", query="up", above="1", times=4, looks=2
    ),
    "to is required for type Undo": {"remedies": [{"type": "Undo"}]},
    "revision is required for": {"remedies": [{"type": "Undo", "to": "Revision"}]},
    "container and image are required": {"remedies": [{"type": "PinImage", "container": "web"}]},
    "replicas is required for type Scale": {"remedies": [{"type": "Scale"}]},
    "flag is required for type DisableFlag": {"remedies": [{"type": "DisableFlag"}]},
    "set either configMapRef or env": {
        "remedies": [{"type": "DisableFlag", "flag": {"name": "NEW", "value": "false"}}]
    },
    "restore must not be set unless": {
        "remedies": [{"type": "Scale", "replicas": 3, "restore": ["a"]}]
    },
    "rollbackMigrations is required with": _database(onNewerSchema="RollbackMigrations"),
    "set exactly one of job and sql": _down(backup={"required": False}),
    "job is required: name the Job": _down(job=JOB, backup={}),
    "migrations.sql must not be set together with job": _down(
        job=JOB, backup={"required": False}, migrations=[{"name": "1", "sql": "SELECT 1"}]
    ),
    "service is required for 'stopTraffic: Service'": _database(
        onCorruption={"stopTraffic": "Service"}
    ),
    "query must not be set together with preset": {
        "database": {
            "connectionSecretRef": SECRET,
            "history": {"query": "select 1", "preset": "SchemaMigrations"},
        }
    },
    "query must not be set together with preset, schema or table": {
        "database": {
            "connectionSecretRef": SECRET,
            "history": {"query": "select 1", "table": "steps"},
        }
    },
    "name must not be the name of a built-in check": {
        "verification": {"http": [{"name": "ErrorRate", "url": "http://shop.shop.svc/"}]}
    },
    "body requires a method": {
        "verification": {"http": [{"name": "one", "url": "http://shop.shop.svc/", "body": "{}"}]}
    },
    "from and until must both": _freeze("22:00", "2026-12-24T18:00"),
    "until must be later than from": _freeze("2026-12-24T18:00", "2026-12-23T18:00"),
    "days requires clock times": _freeze("2026-12-24T18:00", "2026-12-25T18:00", days=["Mon"]),
    "everyMilliseconds must be 0": {"podMetrics": {"everyMilliseconds": 100}},
    "Slack and PagerDuty require secretRef": _told(type="Slack"),
    "Webhook requires exactly one": _told(type="Webhook"),
    "Alertmanager requires url": _told(type="Alertmanager"),
    "mail is required for type SMTP": _told(type="SMTP"),
    "mail.username and secretRef": _told(type="SMTP", mail=MAIL | {"username": "me"}),
    "url is allowed only": _told(type="Slack", secretRef=SECRET, url="http://example.com"),
    "urlSecretRef is allowed only": _told(type="Slack", secretRef=SECRET, urlSecretRef=SECRET),
    "encryption must be StartTLS or TLS": _told(
        type="SMTP", secretRef=SECRET, mail=MAIL | {"username": "me", "encryption": "None"}
    ),
}
"""By how a rule's message begins, what breaks it and, where that can be, no other."""
BASE = {"targetRef": {"name": "shop"}, "mode": "Enforce"}


def test_every_rule_has_an_example_that_breaks_it() -> None:
    rules = set(_rules(_schema()))
    without = {rule for rule in rules if not any(map(rule.startswith, BROKEN))}
    assert without == set()
    assert {begin for begin in BROKEN if not any(rule.startswith(begin) for rule in rules)} == set()


@pytest.mark.parametrize("begin", BROKEN)
def test_what_breaks_a_rule_of_the_api_server_is_no_policy(begin: str) -> None:
    with pytest.raises(ValidationError) as caught:
        RollbackPolicySpec.model_validate(BASE | BROKEN[begin])
    assert begin in str(caught.value)
    kinds = {one["type"] for one in caught.value.errors()}
    assert kinds.isdisjoint({"missing", "extra_forbidden", "enum"}), caught.value
