"""What a result looks like: JSON with the keys of its format, text, and a plot that is XML."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from rollback_operator.api.reasons import Reason
from rollback_operator.cli.backtest.case import CaseResult, rfc3339
from rollback_operator.cli.backtest.history import History
from rollback_operator.cli.backtest.plot import draw
from rollback_operator.cli.backtest.policy import parse_policy
from rollback_operator.cli.backtest.replay import Replay, ReplaySchedule
from rollback_operator.cli.backtest.replica_sets import rollouts_of
from rollback_operator.cli.backtest.report import as_json, as_text
from rollback_operator.cli.backtest.rollouts import parse_rollouts
from rollback_operator.model.samples import Missing
from tests.builders import T0, make_pod, make_replica_set, make_workload
from tests.unit.backtest.past import counted, make_file, release

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def ran() -> CaseResult:
    rollouts = parse_rollouts(make_file())
    policy = parse_policy({"mode": "Enforce"}, rollouts)
    history = History(counted(release(lambda time, route: 1.0)))
    span = ReplaySchedule(T0 - 60, T0 + 60, 5)
    found = Replay(policy, rollouts, history, keeps_evaluations=True).run(span)
    return CaseResult(policy, rollouts, history, span, found)


def test_json(ran: CaseResult) -> None:
    found = json.loads(json.dumps(as_json(ran), allow_nan=False))
    assert set(found) == {"decisions", "final"}
    last = found["decisions"][-1]
    assert last == found["final"]
    keys = ["time", "verdict", "severity", "action", "reason", "message", "evidence", "blame"]
    assert list(last) == keys
    assert set(last["blame"]) == {"revision", "route", "pod", "node", "sharedWithOld"}
    evidence = last["evidence"]
    assert evidence["newestSample"] <= last["time"]
    assert evidence["odds"] > 10_000
    assert evidence["requests"] == evidence["errors"] > 0
    assert {one["route"] for one in evidence["scopes"]} >= {None}
    first = found["decisions"][0]
    assert (first["severity"], first["action"]) == ("None", "None")


def test_what_could_not_be_read_is_told(ran: CaseResult) -> None:
    why = Missing(Reason.QUERY_REFUSED, "parse error: unclosed parenthesis")
    final = replace(ran.replayed.final, missing={"max(": why})
    lacking = replace(ran, replayed=replace(ran.replayed, final=final))
    assert as_json(lacking)["final"]["evidence"]["missing"] == [
        {"signal": "max(", "reason": "QueryRefused", "message": why.message}
    ]
    assert "    max( could not be read: parse error: unclosed parenthesis" in as_text(lacking)
    assert as_json(ran)["final"]["evidence"]["missing"] == []


def test_text_tells_rollouts_and_changes_in_order(ran: CaseResult) -> None:
    lines = as_text(ran).splitlines()
    times = [line[:20] for line in lines if line.startswith("20")]
    assert times == sorted(times)
    assert any("rollout of revision 2, shop:v2" in line for line in lines)
    assert any("Bad P1 -> Rollback" in line for line in lines)
    assert any("blame: revision 2" in line for line in lines)


def test_a_plot_is_xml_with_both_revisions_both_lines_and_all_marks(
    ran: CaseResult, tmp_path: Path
) -> None:
    path = tmp_path / "plot.svg"
    draw(ran, path)
    drawing = ElementTree.parse(path).getroot()
    texts = [(text.text or "").strip() for text in drawing.iter(f"{SVG}text")]
    assert {"revision 1", "revision 2", "rollout 2", "failed requests"} <= set(texts)
    assert {"Suspect 100 : 1", "Bad 10000 : 1"} <= set(texts)
    assert any("Rollback" in text for text in texts)
    assert {str(number) for number, _ in enumerate(ran.replayed.decisions, 1)} <= set(texts)
    width = float(drawing.attrib["viewBox"].split()[2])
    for name in ("revision 1", "revision 2", "odds"):
        (line,) = (group for group in drawing.iter(f"{SVG}g") if group.get("id") == name)
        (path_drawn,) = line.iter(f"{SVG}path")
        places = [float(place) for place in re.findall(r"[ML] ([\d.]+)", path_drawn.attrib["d"])]
        assert len(places) > 1
        assert 0 <= min(places) <= max(places) <= width


def test_the_same_replay_gives_the_same_drawing(ran: CaseResult, tmp_path: Path) -> None:
    first, second = tmp_path / "first.svg", tmp_path / "second.svg"
    draw(ran, first)
    draw(ran, second)
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.0, "2027-01-15T08:00:00Z"),
        (0.9996, "2027-01-15T08:00:00.999Z"),
        (1.25, "2027-01-15T08:00:01.250Z"),
    ],
)
def test_times_are_never_rounded_up(seconds: float, expected: str) -> None:
    assert rfc3339(T0 + seconds) == expected


def test_a_running_deployment_makes_a_file_that_can_be_read() -> None:
    workload = make_workload(
        pods=(make_pod(1), make_pod(0, ready=False, ready_since=None, terminating=True)),
        replica_sets=(make_replica_set("v2"), make_replica_set("v1", created=T0 - 3600)),
    )
    file = rollouts_of(workload)
    told: list[str] = []
    found = parse_rollouts(json.loads(json.dumps(file)), told.append)
    assert told == []
    assert [(one.template_hash, one.revision) for one in found.rollouts] == [
        ("hashv1", 1),
        ("hashv2", 2),
    ]
    assert [(one.ready, one.deleted) for one in found.pods] == [(False, True), (T0 + 2, False)]
