from dataclasses import replace

import pytest

from rollback_operator.api.reasons import Reason
from rollback_operator.api.v1alpha1 import RUNBOOK_MATRIX, VerdictValue
from rollback_operator.core.judge import judge
from rollback_operator.core.matrix import classify
from rollback_operator.core.verdict import BAD_ODDS
from rollback_operator.core.watch import open_watch, with_reading, with_workload
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
NEW = tuple(replace(pod, ready_since=T0 + 2) for pod in make_pods(version="v2"))


def verdict(rate=0.0, seconds=30, pods=NEW, quietest=40.0, conditions=CONDITIONS, **changes):
    """Four ready pods, each read every 5 s, with so many requests a second."""
    workload = make_workload(pods=pods, **changes)
    control = make_control(quietest_minute=quietest)
    watch = replace(open_watch("digest-v2", T0, frozenset({"hashv1"})), control=control)
    watch = with_workload(watch, workload, T0 + seconds)
    series = [
        make_series(
            [(at, rate * max(0, at - 2)) for at in range(2, seconds + 1, 5)],
            pod=pod.name,
            route=LIST,
        )
        for pod in pods
    ]
    watch = with_reading(watch, make_counters(series))
    return judge(watch, workload, make_question(conditions=conditions), T0 + seconds)


def test_ready_pods_that_nobody_reaches() -> None:
    found = verdict()
    assert (found.value, found.reason) == (VerdictValue.BAD, Reason.TRAFFIC_LOST)
    assert classify(RUNBOOK_MATRIX, found, BAD_ODDS).rule.severity == "P1"
    assert "have had 0 requests" in found.message
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
    assert not verdict(**case).is_traffic_lost


def test_one_request_in_a_thousand_is_still_lost_traffic() -> None:
    assert verdict(rate=0.02).is_traffic_lost
