"""Freezes: when one is on, in the time of its place; what it keeps from being done."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from rollback_operator.api.reasons import Reason
from rollback_operator.api.safety import FreezeWindow
from rollback_operator.api.v1alpha1 import SafetySpec
from rollback_operator.decide.freeze import frozen, next_change
from rollback_operator.decide.plan import make_plan
from rollback_operator.model.context import Refusal
from rollback_operator.report.readiness import Around, readiness
from tests.builders import at, make_case, make_deployment, make_policy, make_trigger_record

NIGHT = {"name": "night", "from": "22:00", "until": "06:00", "timeZone": "Europe/Berlin"}
WEEKEND = {"name": "weekend", "from": "00:00", "until": "00:00", "days": ["Sat", "Sun"]}
XMAS = {"name": "xmas", "from": "2026-12-24T18:00", "until": "2026-12-27T06:00"}


def window(raw: dict[str, Any], **changes: Any) -> FreezeWindow:
    return FreezeWindow.model_validate(raw | changes)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("raw", "now", "until"),
    [
        pytest.param(NIGHT, "2026-07-01T19:59", None, id="summer, 21:59 in Berlin"),
        pytest.param(NIGHT, "2026-07-01T20:00", "2026-07-02T04:00", id="summer, 22:00"),
        pytest.param(NIGHT, "2026-12-01T20:30", None, id="winter, 21:30"),
        pytest.param(NIGHT, "2026-12-01T21:00", "2026-12-02T05:00", id="winter, 22:00"),
        pytest.param(NIGHT, "2026-12-02T04:59", "2026-12-02T05:00", id="after midnight"),
        pytest.param(NIGHT, "2026-12-02T05:00", None, id="its end is not in it"),
        pytest.param(NIGHT, "2026-03-28T21:00", "2026-03-29T04:00", id="clocks go forward"),
        pytest.param(NIGHT, "2026-10-24T20:00", "2026-10-25T05:00", id="clocks go back"),
        pytest.param(WEEKEND, "2026-11-27T23:59", None, id="Friday"),
        pytest.param(WEEKEND, "2026-11-28T00:00", "2026-11-29T00:00", id="Saturday"),
        pytest.param(WEEKEND, "2026-11-29T23:59", "2026-11-30T00:00", id="Sunday"),
        pytest.param(WEEKEND, "2026-11-30T00:00", None, id="Monday"),
        pytest.param(XMAS, "2026-12-24T17:59", None, id="before the date"),
        pytest.param(XMAS, "2026-12-25T00:00", "2026-12-27T06:00", id="within the dates"),
        pytest.param(XMAS, "2027-12-25T00:00", None, id="another year"),
    ],
)
def test_is_on_by_the_clocks_of_its_place(raw: dict[str, Any], now: str, until: str | None) -> None:
    found = frozen([window(raw)], utc(now))
    assert (found.until if found else None) == (utc(until) if until else None)


def test_of_two_the_longer_is_told() -> None:
    found = frozen([window(NIGHT), window(XMAS)], utc("2026-12-24T22:00"))
    assert str(found) == "freeze xmas until 2026-12-27 06:00 UTC"


@pytest.mark.parametrize(
    ("now", "seconds"),
    [
        pytest.param("2026-12-01T20:00", 3600, id="it begins"),
        pytest.param("2026-12-01T21:00", 8 * 3600, id="it ends"),
    ],
)
def test_tells_when_it_changes(now: str, seconds: float) -> None:
    assert next_change([window(NIGHT)], utc(now)) == seconds


def test_what_is_over_changes_nothing_any_more() -> None:
    assert next_change([window(XMAS)], utc("2027-01-01T00:00")) is None


@given(st.datetimes(datetime(2026, 1, 1), datetime(2028, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001 (hypothesis adds the zone)
def test_nothing_changes_before_it_is_told_to(now: datetime) -> None:
    windows = [window(NIGHT), window(WEEKEND), window(XMAS)]
    wait = next_change(windows, now)
    assert wait is not None
    assert wait > 0
    last = now + timedelta(seconds=wait) - timedelta(microseconds=1)
    assert (frozen(windows, now) is None) == (frozen(windows, last) is None)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        pytest.param({"timeZone": "Berlin"}, "not a known time zone", id="zone"),
        pytest.param({"timeZone": "../etc/passwd"}, "pattern", id="a path"),
        pytest.param({"until": "2026-12-24T18:00"}, "both", id="two forms"),
        pytest.param({"from": "24:00"}, "pattern", id="clock"),
        pytest.param(
            XMAS | {"until": "2026-12-24T18:00"}, "until must be later than from", id="no span"
        ),
        pytest.param(XMAS | {"days": ["Sat"]}, "days requires clock times", id="days of a date"),
        pytest.param(XMAS | {"until": "2026-02-31T00:00"}, "day", id="no such day"),
    ],
)
def test_what_cannot_be_meant_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        window(NIGHT, **changes)


ALWAYS = {"name": "always", "from": "00:00", "until": "00:00"}


@pytest.mark.parametrize(
    ("exempt", "is_refused"),
    [pytest.param([], True, id="held"), pytest.param(["P1"], False, id="exempt")],
)
def test_nothing_is_planned_in_it_but_what_is_exempt(exempt: list[str], is_refused: bool) -> None:
    safety = SafetySpec(freeze=[window(ALWAYS, exempt=exempt)])
    case = make_case(policy=make_policy(safety=safety))
    rule = case.policy.spec.matrix[0]
    found = make_plan(case, rule, make_trigger_record(), at(20))
    assert isinstance(found, Refusal) == is_refused
    if isinstance(found, Refusal):
        assert found.reason is Reason.FREEZE_ACTIVE
        assert "freeze always until" in found.message


def test_the_policy_says_so() -> None:
    policy, deployment = make_policy(), make_deployment("v2", replicas=4)
    found = readiness(policy, deployment, Around(frozen="freeze xmas until tomorrow"))
    assert (found.status, found.reason) == ("True", Reason.FREEZE_ACTIVE)
    assert "freeze xmas until tomorrow" in found.message
    suspended = readiness(make_policy(suspend=True), deployment, Around(frozen="freeze xmas"))
    assert suspended.reason == Reason.SUSPENDED
