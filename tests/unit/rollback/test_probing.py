"""What an answer, a health endpoint and a log show; and that none of their words is told."""

from __future__ import annotations

import json

import pytest

from rollback_operator.api.verification import HttpProbe, JsonExpectation, LogCheck
from rollback_operator.model.pod import Endpoint
from rollback_operator.rollback.probing import (
    LineCount,
    ProbeResponse,
    Silence,
    functional,
    health,
    logs,
)

URL = "http://shop.production.svc/api/v1/tickets/reserve"
BODY = {
    "status": "reserved",
    "count": 3,
    "ok": True,
    "none": None,
    "data": {"tickets": [{"id": "a"}, {"id": "b"}]},
    "rows": [[1, 2], [3, 4]],
}
SECRET = "s3cret"


def probe(path: str = "", value: str = "", **fields: object) -> HttpProbe:
    expected = JsonExpectation(path=path, value=value) if path else None
    return HttpProbe(name="reserve", url=URL, expect_json=expected, **fields)


@pytest.mark.parametrize(
    ("expected", "status", "result"),
    [([200], 200, "Passed"), ([200, 201], 201, "Passed"), ([200], 201, "Failed")]
    + [([200], code, "Failed") for code in (302, 404, 500, 503)],
)
def test_statuses(expected, status, result) -> None:
    found = functional(probe(expect_status=expected), ProbeResponse(status), 1)
    assert found.result == result
    assert str(status) in found.message


@pytest.mark.parametrize(
    ("path", "value", "result"),
    [
        ("status", "reserved", "Passed"),
        ("status", "Reserved", "Failed"),
        ("count", "3", "Passed"),
        ("ok", "true", "Passed"),
        ("none", "null", "Passed"),
        ("data.tickets[1].id", "b", "Passed"),
        ("rows[1][0]", "3", "Passed"),
        ("data.tickets[2].id", "b", "Failed"),
        ("data.tickets.id", "b", "Failed"),
        ("status.deeper", "x", "Failed"),
        ("absent", "", "Failed"),
    ],
)
def test_fields(path, value, result) -> None:
    found = functional(probe(path, value), ProbeResponse(200, json.dumps(BODY).encode()), 1)
    assert found.result == result
    assert path.partition("[")[0] in found.message


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (ProbeResponse(200, b"<html>"), "not JSON"),
        (ProbeResponse(200, b"\xff\xfe\x00"), "not JSON"),
        (ProbeResponse(200, b"[" * 100_000), "not JSON"),
        (ProbeResponse(200, b"{}", is_whole=False), "too long"),
    ],
)
def test_what_is_no_json_fails(answer, said) -> None:
    found = functional(probe("status", "reserved"), answer, 1)
    assert found.result == "Failed"
    assert said in found.message


def test_silence_is_neither_good_nor_bad() -> None:
    away, refused = Silence("no answer"), Silence("the address is refused", is_final=True)
    found = [functional(probe(), one, 3) for one in (away, refused)]
    assert [(one.result, one.is_final) for one in found] == [("Unknown", False), ("Unknown", True)]


def test_no_word_of_an_answer_is_told() -> None:
    body = json.dumps({"status": SECRET}).encode()
    for one in (
        functional(probe("status", "x"), ProbeResponse(200, body), 2),
        functional(probe(), ProbeResponse(500, body), 2),
    ):
        assert one.result == "Failed"
        assert SECRET not in one.message
        assert "2 attempts" in one.message


# -- health ----------------------------------------------------------------------------------------

LIVE, READY = Endpoint("/health/live", 8080), Endpoint("/health/ready", 8080)
AWAY = Silence("port 8080 did not answer")


@pytest.mark.parametrize(
    ("replies", "pods", "result", "said"),
    [
        (
            [
                ("a", LIVE, ProbeResponse(200)),
                ("a", READY, ProbeResponse(204)),
                ("b", LIVE, ProbeResponse(302)),
            ],
            5,
            "Passed",
            "/health/live, /health/ready: healthy on 2 of 5 pods",
        ),
        (
            [("a", LIVE, ProbeResponse(200)), ("b", READY, ProbeResponse(503))],
            2,
            "Failed",
            "503 at /health/ready of b",
        ),
        ([("a", LIVE, ProbeResponse(200)), ("b", LIVE, AWAY)], 2, "Unknown", "1 of 2 pods"),
        (
            [("a", LIVE, AWAY), ("b", LIVE, ProbeResponse(500))],
            2,
            "Failed",
            "500 at /health/live of b",
        ),
        ([(str(one), LIVE, ProbeResponse(500)) for one in range(5)], 5, "Failed", "and 2 more"),
    ],
    ids=["well", "one is not ready", "one cannot be asked", "bad wins", "many"],
)
def test_health(replies, pods, result, said) -> None:
    found = health(replies, pods)
    assert found.result == result
    assert said in found.message


# -- logs ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("counts", "result", "said"),
    [
        ({"a": LineCount(1), "b": LineCount(2)}, "Passed", "3 lines with ERROR in 2 of 9 pods"),
        ({"a": LineCount(1), "b": LineCount(3)}, "Failed", "3 of them in b; 3 are allowed"),
        ({"a": LineCount(1), "b": Silence("away")}, "Unknown", "1 of 2 pods: away"),
        ({"a": LineCount(4), "b": Silence("away")}, "Failed", "4 lines"),
        ({"a": LineCount(0, is_whole=False)}, "Unknown", "there is more"),
        ({}, "Passed", "0 lines"),
    ],
)
def test_logs(counts, result, said) -> None:
    found = logs(LogCheck(pattern="ERROR", at_most=3), counts, 9)
    assert (found.result, found.is_final) == (result, False)
    assert said in found.message


def test_logs_that_nobody_may_read_are_not_waited_for() -> None:
    refused = Silence("may not be read", is_final=True)
    found = logs(LogCheck(pattern="ERROR"), {"a": refused, "b": refused}, 2)
    assert (found.result, found.is_final) == ("Unknown", True)


def test_a_pattern_is_alternatives_of_plain_text() -> None:
    assert LogCheck(pattern="ERROR|level=error|F.*").texts == ("ERROR", "level=error", "F.*")
