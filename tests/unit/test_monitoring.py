"""Alerts and dashboard ask for metrics that there are, and each metric is documented and used."""

from __future__ import annotations

import json
import re
from pathlib import Path

import yaml

from rollback_operator.reconcile.cache import Cache
from rollback_operator.runtime.telemetry import Census, Telemetry

ROOT = Path(__file__).parents[2]
FILES = ROOT / "deploy" / "helm" / "rollback-operator" / "files"
NAME = re.compile(r"\brollback_operator_\w+")
PARTS = re.compile(r"_(bucket|sum|count)$")


def defined() -> set[str]:
    telemetry = Telemetry()
    telemetry.registry.register(Census(Cache(), lambda: True))
    suffixes = {"counter": "_total", "info": "_info"}
    return {one.name + suffixes.get(one.type, "") for one in telemetry.registry.collect()}


def named(text: str) -> set[str]:
    return {PARTS.sub("", one) for one in NAME.findall(text)}


def alerts() -> list[dict[str, str]]:
    (group,) = yaml.safe_load((FILES / "alerts.yaml").read_text())["groups"]
    return list(group["rules"])


def queries() -> list[str]:
    panels = json.loads((FILES / "dashboard.json").read_text())["panels"]
    return [target["expr"] for panel in panels for target in panel["targets"]]


def test_every_metric_is_documented_and_no_other() -> None:
    text = (ROOT / "docs" / "metrics.md").read_text()
    assert named(text) == defined()


def test_alerts_and_dashboard_ask_for_metrics_that_there_are() -> None:
    for one in (*(each["expr"] for each in alerts()), *queries()):
        assert named(one) <= defined(), one


def test_every_metric_is_used() -> None:
    used = named(" ".join((*(each["expr"] for each in alerts()), *queries())))
    assert used == defined()


def test_every_alert_is_documented_and_says_what_to_do() -> None:
    text = (ROOT / "docs" / "metrics.md").read_text()
    listed = re.findall(r"^\| `([A-Z]\w+)` \|", text, re.M)
    assert listed == [one["alert"] for one in alerts()]
    for one in alerts():
        assert len(one["annotations"]["description"]) > 30, one["alert"]
