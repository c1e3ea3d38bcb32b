from dataclasses import replace

import pytest

from rollback_operator.api.reasons import Reason
from rollback_operator.api.v1alpha1 import RUNBOOK_MATRIX, VerdictValue
from rollback_operator.decide.matrix import classify, doubted
from rollback_operator.evidence.watch import open_watch, with_reading, with_workload
from rollback_operator.judge.judge import judge
from rollback_operator.model.verdict import BAD_ODDS, Cause, Thresholds
from tests.builders import (
    LIST,
    T0,
    make_control,
    make_counters,
    make_pods,
    make_question,
    make_series,
    make_workload,
)

CONDITIONS = tuple(one for rule in RUNBOOK_MATRIX for one in rule.when)
OLD = replace(make_pods(1, "v1")[0], created=T0 - 900, started=T0 - 900)
NEW = tuple(replace(pod, ready_since=T0 + 2) for pod in make_pods(version="v2"))


def verdict(rate=0.0, seconds=30, pods=NEW, conditions=CONDITIONS, **past):
    """Four ready pods, each read every 5 s, with so many requests a second.

    Args:
        past: `old`, series of old pods that are gone; `quietest`, the control's quietest minute;
            `ends`, the second from which on no request comes any more; `every`, the seconds
            between two samples.
    """
    old, ends, every = past.get("old", []), past.get("ends", seconds), past.get("every", 5)
    workload = make_workload(pods=pods)
    control = make_control(quietest_minute=past.get("quietest", 40.0))
    watch = replace(open_watch("digest-v2", T0, frozenset({"hashv1"})), control=control)
    if old:
        watch = with_workload(watch, make_workload(pods=(*pods, OLD)), T0 + 1)
    watch = with_workload(watch, workload, T0 + seconds)
    series = [
        make_series(
            [(at, rate * max(0, min(at, ends) - 2)) for at in range(2, seconds + 1, every)],
            pod=pod.name,
            route=LIST,
        )
        for pod in pods
    ]
    series += old
    watch = with_reading(watch, make_counters(series))
    return judge(watch, workload, make_question(conditions=conditions), T0 + seconds)


def test_ready_pods_that_nobody_reaches() -> None:
    found = verdict()
    assert (found.value, found.reason) == (VerdictValue.BAD, Reason.TRAFFIC_LOST)
    assert classify(RUNBOOK_MATRIX, found, BAD_ODDS).rule.severity == "P1"
    assert "received 0 requests" in found.message
    assert found.first_bad == T0 + 2


@pytest.mark.parametrize(
    "case",
    [
        {"rate": 1.0},
        {"rate": 0.2},
        {"seconds": 7},
        {"quietest": 0.0},
        {"quietest": 1.0},
        {"conditions": ()},
        {"pods": (*NEW[:3], replace(NEW[3], ready=False, ready_since=None))},
        {"pods": (*NEW[:3], *make_pods(1, "v1"))},
        {"pods": ()},
    ],
    ids=[
        "some traffic",
        "little traffic",
        "too early",
        "a service with minutes without traffic",
        "too little was to be expected",
        "the policy does not ask",
        "one pod is not ready",
        "an old pod still serves",
        "no pods",
    ],
)
def test_traffic_is_not_said_to_be_lost(case) -> None:
    assert verdict(**case).cause is not Cause.TRAFFIC_LOST


def test_one_request_in_a_thousand_is_still_lost_traffic() -> None:
    assert verdict(rate=0.02).cause is Cause.TRAFFIC_LOST


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([(at, 40.0 * at) for at in range(0, 26, 5)], True),
        ([(0, 0.0), (5, 200.0), *((at, 200.0) for at in range(10, 61, 5))], False),
        ([(0, 0.0), (5, 0.0)], True),
    ],
    ids=[
        "the old pods served to their end",
        "they had been without requests for long",
        "they went too soon to tell",
    ],
)
def test_requests_that_had_ceased_before_are_not_the_releases_doing(counts, expected) -> None:
    old = [make_series(counts, pod=OLD.name, route=LIST)]
    assert (verdict(seconds=65, old=old).cause is Cause.TRAFFIC_LOST) is expected


@pytest.mark.parametrize("every", [15, 30, 60])
@pytest.mark.parametrize(
    ("rate", "expected"), [(0.0, False), (40.0, True)], ids=["had ceased", "had not"]
)
def test_traffic_that_had_ceased_before_is_known_at_any_scrape_interval(
    every, rate, expected
) -> None:
    # The first answer reaches back before the release: two counts of an old pod that then stops.
    samples = [(at - 3 * every, rate * at) for at in range(0, 3 * every + 1, every)]
    old = [make_series(samples, pod=OLD.name, route=LIST)]
    found = verdict(seconds=4 * every + 2, old=old, every=every)
    assert (found.cause is Cause.TRAFFIC_LOST) is expected


def test_traffic_that_ceases_later_is_told_and_proves_nothing() -> None:
    found = verdict(rate=10.0, seconds=60, ends=12)
    assert (found.value, found.reason) == (VerdictValue.SUSPECT, Reason.TRAFFIC_LOST)
    assert found.first_bad == T0 + 27
    assert "received 0 requests in the last 30 s" in found.message
    assert "1200 were expected" in found.message
    assert found.cause is Cause.UNATTRIBUTED
    assert classify(RUNBOOK_MATRIX, found, BAD_ODDS) is None
    assert doubted(RUNBOOK_MATRIX, found, Thresholds(), T0 + 60) == "P1"


@pytest.mark.parametrize(
    "case",
    [
        {"ends": 60},
        {"ends": 40},
        {"ends": 12, "quietest": 0.0},
        {"ends": 12, "quietest": 1.0},
        {"ends": 12, "conditions": ()},
        {"ends": 12, "old": [make_series([(0, 0.0), (40, 0.0)], pod=OLD.name, route=LIST)]},
    ],
    ids=[
        "it goes on",
        "it has just ended",
        "a service with minutes without traffic",
        "too little was to be expected",
        "the policy does not ask",
        "the old pods had none any more either",
    ],
)
def test_traffic_is_not_said_to_have_ceased(case) -> None:
    assert verdict(rate=10.0, seconds=60, **case).value is not VerdictValue.SUSPECT
