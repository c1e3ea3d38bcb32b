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
    versions = yaml.safe_load(CRD.read_text())["spec"]["versions"]
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


SECRET = {"name": "one", "key": "key"}
MAIL = {"host": "mail", "from": "a@example.com", "to": ["b@example.com"]}
BROKEN: dict[str, dict[str, Any]] = {
    "goodAfterSeconds must be at most": {"safety": LONGEST | {"goodAfterSeconds": 601}},
    "suspectOdds must be below badOdds": {"safety": {"suspectOdds": 1000, "badOdds": 500}},
    "maxPauseSeconds must be at most": {"safety": LONGEST | {"maxPauseSeconds": 900}},
    "stage.maxSeconds must be at most": {"safety": LONGEST, "stage": {"maxSeconds": 900}},
    "set bearerTokenSecretRef or basicAuthSecretRef": {
        "prometheus": {
            "url": "http://prometheus:9090",
            "bearerTokenSecretRef": SECRET,
            "basicAuthSecretRef": {"name": "one"},
        }
    },
    "errors selects the series of requests": {
        "signals": {"requests": {"metric": "http"}, "errors": {"metric": "http"}}
    },
    "a name with a colon": _counter(metric="job:http:rate5m"),
    "a label name has letters": _counter(metric="http", matchers={"a-b": "x"}),
    "rules go from the worst": {"matrix": [_row(severity="P2"), _row(severity="P1")]},
    "onTimeout belongs to": {"matrix": [_row(onTimeout="Rollback")]},
    "propose belongs to": {"matrix": [_row(propose=True)]},
    "ErrorRate needs exactly one": _when(signal="ErrorRate"),
    "LatencyRatio, Latency and MemoryGrowth need": _when(signal="LatencyRatio", atLeast="3"),
    "OOMKills and Restarts need a whole": _when(signal="Restarts", atLeast="1.5"),
    "Query needs query and exactly one": _when(signal="Query", name="own", query="up"),
    "query, name, below and changeAbove": _when(signal="Unavailable", query="up"),
    "Probe needs name": _when(signal="Probe"),
    "Unavailable, StuckRollout, TrafficLost": _when(signal="Unavailable", above="1"),
    "routes belongs to ErrorRate": _when(signal="Unavailable", routes="Purchase"),
    "a rate is from 0 to 1": _when(signal="ErrorRate", above="1.5"),
    "a rate is above 0": _when(signal="ErrorRate", atLeast="0"),
    "times and looks belong": _when(signal="Unavailable", times=2),
    "times is at most looks": _when(
        signal="Query", name="own", query="up", above="1", times=4, looks=2
    ),
    "to belongs to type Undo": {"remedies": [{"type": "Undo"}]},
    "revision belongs to": {"remedies": [{"type": "Undo", "to": "Revision"}]},
    "container and image belong": {"remedies": [{"type": "PinImage", "container": "web"}]},
    "replicas belongs to type Scale": {"remedies": [{"type": "Scale"}]},
    "flag belongs to type DisableFlag": {"remedies": [{"type": "DisableFlag"}]},
    "history takes a preset": {
        "database": {
            "connectionSecretRef": SECRET,
            "history": {"query": "select 1", "preset": "SchemaMigrations"},
        }
    },
    "this is the name of one of the operator's own": {
        "verification": {"http": [{"name": "ErrorRate", "url": "http://shop.shop.svc/"}]}
    },
    "GET and HEAD carry no body": {
        "verification": {"http": [{"name": "one", "url": "http://shop.shop.svc/", "body": "{}"}]}
    },
    "from and until are both": _freeze("22:00", "2026-12-24T18:00"),
    "until is after from": _freeze("2026-12-24T18:00", "2026-12-23T18:00"),
    "days belongs to clock times": _freeze("2026-12-24T18:00", "2026-12-25T18:00", days=["Mon"]),
    "everyMilliseconds is 0": {"podMetrics": {"everyMilliseconds": 100}},
    "Slack needs secretRef": _told(type="Slack"),
    "Webhook needs exactly one": _told(type="Webhook"),
    "Alertmanager needs url": _told(type="Alertmanager"),
    "mail belongs to type SMTP": _told(type="SMTP"),
    "SMTP takes mail.username": _told(type="SMTP", mail=MAIL | {"username": "me"}),
    "url belongs to Webhook": _told(type="Slack", secretRef=SECRET, url="http://example.com"),
    "urlSecretRef belongs to Webhook": _told(type="Slack", secretRef=SECRET, urlSecretRef=SECRET),
    "a password is not sent": _told(
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


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
def test_what_breaks_a_rule_of_the_api_server_is_no_policy(broken: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as caught:
        RollbackPolicySpec.model_validate(BASE | broken)
    kinds = {one["type"] for one in caught.value.errors()}
    assert kinds.isdisjoint({"missing", "extra_forbidden", "enum"}), caught.value
