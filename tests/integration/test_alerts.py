"""The chart's alerts fire when they should and not before, and its dashboard's queries are PromQL.

By promtool and the real Prometheus.
"""

from __future__ import annotations

import json
import subprocess
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.stand import Stand

pytestmark = pytest.mark.xdist_group("alerts")
FILES = Path(__file__).parents[2] / "deploy" / "helm" / "rollback-operator" / "files"
ALERTS = FILES / "alerts.yaml"
LEADER = {"series": 'rollback_operator_leader{pod="a"}', "values": "1x40"}


@dataclass(frozen=True)
class Case:
    """Series a minute apart, and the alert that they lead to."""

    series: str
    values: str
    fires: int
    """In which minute it fires."""
    silent: int
    """In which it does not yet."""
    labels: dict[str, str]


CASES = {
    "RollbackOperatorAbsent": Case('rollback_operator_leader{pod="a"}', "1x5 0x30", 15, 8, {}),
    "RollbackNotRecovered": Case(
        'rollback_operator_rollbacks_total{outcome="NotRecovered",severity="P1"}',
        "0x9 1x30",
        11,
        9,
        {"severity": "P1", "priority": "P1"},
    ),
    "RollbackBlocked": Case(
        'rollback_operator_rollbacks_total{outcome="Blocked",severity="P2"}',
        "0x9 1x30",
        11,
        9,
        {"severity": "P2", "priority": "P2"},
    ),
    "RollbackAwaitingApproval": Case(
        'rollback_operator_rollbacks_awaiting_approval{pod="a"}', "0x9 1x30", 12, 10, {}
    ),
    "ReleaseBadNotTakenBack": Case(
        'rollback_operator_policies{status="Bad"}', "0x9 2x30", 21, 15, {"status": "Bad"}
    ),
    "RollbackPolicyNotReady": Case(
        'rollback_operator_policies_not_ready{reason="TargetNotFound"}',
        "1x39",
        16,
        14,
        {"reason": "TargetNotFound"},
    ),
    "RollbackPolicyWithoutMetrics": Case(
        'rollback_operator_policies_without_metrics{reason="NoSeries"}',
        "1x39",
        6,
        4,
        {"reason": "NoSeries"},
    ),
    "RollbackChannelFailing": Case(
        'rollback_operator_policies_not_notified{reason="DeliveryFailing"}',
        "1x39",
        16,
        14,
        {"reason": "DeliveryFailing"},
    ),
    "RolloutHeldLong": Case('rollback_operator_rollouts_held{pod="a"}', "1x39", 21, 19, {}),
    "RollbackOperatorPassFailures": Case(
        'rollback_operator_pass_failures_total{pod="a"}', "0x9 1x30", 11, 9, {}
    ),
}


def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load(ALERTS.read_text())["groups"]
    return list(group["rules"])


def promtool(stand: Stand, verb: str, file: Path) -> subprocess.CompletedProcess[str]:
    argv = [stand.prometheus.promtool, verb, "rules", file]
    return subprocess.run(argv, capture_output=True, text=True, check=False)


def test_each_alert_has_its_case() -> None:
    assert [one["alert"] for one in rules()] == list(CASES)


def test_promtool_takes_the_rules(stand: Stand) -> None:
    done = promtool(stand, "check", ALERTS)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(rules())} rules found" in done.stdout


def test_each_alert_fires_when_it_should_and_not_before(stand: Stand, tmp_path: Path) -> None:
    tests = [case_of(rule, CASES[rule["alert"]]) for rule in rules()]
    path = tmp_path / "alerts_test.yaml"
    path.write_text(yaml.safe_dump({"rule_files": [str(ALERTS)], "tests": tests}))

    done = promtool(stand, "test", path)

    assert done.returncode == 0, done.stdout + done.stderr


def case_of(rule: dict[str, Any], case: Case) -> dict[str, Any]:
    """Write a case as promtool takes it; what is said is the rule's, filled in."""
    words = {"$value": case.values.rpartition("x")[0][-1]}
    words |= {f"$labels.{name}": value for name, value in case.labels.items()}
    said = {name: filled(text, words) for name, text in rule["annotations"].items()}
    told = {"exp_labels": {**case.labels, **rule["labels"]}, "exp_annotations": said}
    inputs = [{"series": case.series, "values": case.values}]
    if rule["alert"] != "RollbackOperatorAbsent":
        inputs = [LEADER, *inputs]
    name = rule["alert"]
    return {
        "interval": "1m",
        "input_series": inputs,
        "alert_rule_test": [
            {"eval_time": f"{case.silent}m", "alertname": name, "exp_alerts": []},
            {"eval_time": f"{case.fires}m", "alertname": name, "exp_alerts": [told]},
        ],
    }


def filled(text: str, words: dict[str, str]) -> str:
    for name, value in words.items():
        text = text.replace(f"{{{{ {name} }}}}", value)
    assert "{{" not in text, text
    return text


def test_the_dashboards_queries_are_understood(stand: Stand) -> None:
    panels = json.loads((FILES / "dashboard.json").read_text())["panels"]
    asked = [target["expr"] for panel in panels for target in panel["targets"]]
    assert len(asked) >= len(panels) > 0
    for query in asked:
        words = urllib.parse.urlencode({"query": query})
        with urllib.request.urlopen(f"{stand.prometheus.url}/api/v1/query?{words}") as answer:
            assert json.load(answer)["status"] == "success", query


def test_the_dashboard_names_no_outcome_that_there_was_not(stand: Stand, tmp_path: Path) -> None:
    """The operator counts each outcome and severity from 0: forty lines at zero hide the one."""
    panels = json.loads((FILES / "dashboard.json").read_text())["panels"]
    (panel,) = [one for one in panels if "rollbacks_total" in one["targets"][0]["expr"]]
    series = [
        f'rollback_operator_rollbacks_total{{outcome="{outcome}",severity="P1"}}'
        for outcome in ("Verified", "Failed")
    ]
    values = ("0x9 1x30", "0x40")
    shown = {"labels": '{outcome="Verified", severity="P1"}', "value": 1}
    asked = {"expr": panel["targets"][0]["expr"], "eval_time": "30m", "exp_samples": [shown]}
    inputs = [{"series": one, "values": to} for one, to in zip(series, values, strict=True)]
    case = {"interval": "1m", "input_series": inputs, "promql_expr_test": [asked]}
    path = tmp_path / "dashboard_test.yaml"
    path.write_text(yaml.safe_dump({"rule_files": [], "tests": [case]}))

    done = promtool(stand, "test", path)

    assert done.returncode == 0, done.stdout + done.stderr
