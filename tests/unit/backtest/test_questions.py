"""Late faults without old pods in a replay: people are asked, and what follows unanswered."""

from __future__ import annotations

from typing import Any

import pytest

from rollback_operator.cli.backtest.entry import Action, Entry
from tests.builders import T0
from tests.unit.backtest.past import NEW, OLD, Served, counted, pods
from tests.unit.backtest.test_replay import replayed

END = 700.0


def late(onset: float, rate: float, until: float = END) -> list[Served]:
    """New pods whose requests fail from `onset` to `until` at a rate."""

    def fails(time: float, _route: str) -> float:
        return rate if 8 + onset <= time < until else 0.0

    return pods(OLD, -3600, 6, rate=1.0) + pods(NEW, 8, END, fails=fails, rate=1.0)


def run(served: list[Served], **spec: Any) -> list[Entry]:
    return list(replayed(counted(served), spec=spec, span=(-60, END, 5)).decisions)


def first(found: list[Entry], action: Action) -> Entry | None:
    return next((entry for entry in found if entry.action is action), None)


def test_while_the_service_is_down_a_question_proceeds_after_two_minutes() -> None:
    found = run(late(60, 1.0))

    asked, undone = first(found, Action.ASK), first(found, Action.ROLLBACK)
    assert asked is not None
    assert undone is not None
    assert asked.severity in ("P1", "P2")
    assert 60 <= asked.time - T0 - 8 <= 90
    assert 120 <= undone.time - asked.time <= 130
    assert undone.severity == "P1"


@pytest.mark.parametrize(
    ("served", "spec"),
    [
        pytest.param(late(60, 0.3), {}, id="not all fails"),
        pytest.param(
            late(60, 1.0),
            {"approval": {"onTimeoutWhenDown": "Abandon"}},
            id="turned off",
            marks=pytest.mark.extended,
        ),
        pytest.param(late(260, 1.0), {}, id="hardly the release", marks=pytest.mark.extended),
    ],
)
def test_otherwise_it_waits_until_its_deadline_and_people_are_told(
    served: list[Served], spec: dict[str, Any]
) -> None:
    approval = {"timeoutSeconds": 300} | spec.get("approval", {})
    found = run(served, approval=approval)

    asked, told = first(found, Action.ASK), first(found, Action.NOTIFY)
    assert asked is not None
    assert told is not None
    assert first(found, Action.ROLLBACK) is None
    assert 300 <= told.time - asked.time <= 310
    assert asked.severity in ("P1", "P2")
    assert told.severity in ("P1", "P2")


def test_nobody_is_asked_about_a_fault_that_is_hardly_the_releases() -> None:
    found = run(late(500, 1.0))

    assert first(found, Action.ASK) is None
    assert first(found, Action.ROLLBACK) is None
    assert first(found, Action.NOTIFY) is not None


@pytest.mark.extended
def test_a_question_ends_when_the_traffic_recovers() -> None:
    found = run(late(60, 1.0, until=150))

    assert first(found, Action.ASK) is not None
    assert first(found, Action.ROLLBACK) is None
    assert found[-1].action is not Action.ASK
    assert found[-1].severity == "None"


def test_a_fault_from_the_first_request_on_is_undone_at_once() -> None:
    found = run(late(0, 1.0))

    assert first(found, Action.ASK) is None
    assert first(found, Action.ROLLBACK) is not None
