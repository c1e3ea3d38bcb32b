import math
from dataclasses import replace

import pytest

from rollback_operator.api.reasons import Reason
from rollback_operator.api.v1alpha1 import MatrixCondition
from rollback_operator.evidence.trends import (
    Kills,
    PastGrowth,
    Point,
    Trends,
    with_kills,
    with_latency,
    with_query,
)
from rollback_operator.judge.latency import LatencyGoal
from rollback_operator.judge.symptoms import SymptomFacts, find_symptoms, worst
from rollback_operator.stats.histogram import Histogram
from tests.builders import T0, make_pod, make_pods

BOUNDS = (0.05, 0.1, 0.25, 0.5, 1.0, math.inf)
FAST = (0.6, 0.95, 0.992, 0.999, 1.0, 1.0)
SLOW = (0.1, 0.3, 0.8, 0.97, 0.999, 1.0)
AWFUL = (0.0, 0.0, 0.1, 0.2, 0.5, 1.0)
TAIL = (0.6, 0.93, 0.95, 0.96, 0.99, 1.0)
MIB = 2.0**20
NEW = {pod.name: pod for pod in make_pods(version="v2")}
OLD = {pod.name: pod for pod in make_pods(version="v1")}
RATIO = MatrixCondition(signal="LatencyRatio", above="2.0")


def histogram(shape, requests) -> Histogram:
    return Histogram(BOUNDS, tuple(round(share * requests) for share in shape))


def looked(shapes, per_second=12.0, seconds=180, past=FAST) -> Trends:
    """Durations as read every 15 s: a shape of each pod, or of each pod at each time."""
    trends = Trends(past_latency=histogram(past, 50_000) if past else None)
    totals = {name: Histogram(BOUNDS, (0.0,) * len(BOUNDS)) for name in shapes}
    for at in range(0, seconds + 1, 15):
        for name, shape in shapes.items():
            more = histogram(shape(at) if callable(shape) else shape, 15 * per_second)
            pairs = zip(totals[name].counts, more.counts, strict=True)
            totals[name] = Histogram(BOUNDS, tuple(a + b for a, b in pairs))
        pods = {name: replace(pod, ready_since=T0) for name, pod in {**NEW, **OLD}.items()}
        trends = with_latency(trends, T0 + at, dict(totals), pods)
    return trends


def subject(trends, **changes) -> SymptomFacts:
    made = SymptomFacts(
        trends=trends,
        new=NEW,
        old={},
        opened=T0,
        goal=LatencyGoal(0.99, 0.5),
        memory_limit=128 * MIB,
        busiest=60.0,
    )
    return replace(made, **changes)


def each(pods, shape):
    return dict.fromkeys(pods, shape)


def found(trends, *conditions, **changes):
    return find_symptoms(subject(trends, **changes), conditions)


# -- durations -------------------------------------------------------------------------------------


def test_requests_over_the_objective_are_counted_where_one_is_set() -> None:
    trends = looked(each(NEW, SLOW))
    (one,) = found(trends, RATIO)
    assert "of them took longer than the objective of 500 ms" in one.message

    (without,) = found(trends, RATIO, goal=LatencyGoal(0.99))
    assert "objective" not in without.message


def test_slower_from_the_first_request_on_is_the_releases_doing() -> None:
    (one,) = found(looked(each(NEW, SLOW)), RATIO)
    assert one.veto is None
    assert one.value > 2
    assert one.odds >= 10_000
    assert one.is_on_every_pod
    assert "times that of the old revision in the hour before" in one.message


def test_slower_than_the_old_pods_in_the_same_minutes() -> None:
    (one,) = found(looked({**each(NEW, SLOW), **each(OLD, FAST)}), RATIO, old=OLD)
    assert one.veto is None
    assert "in the same minutes" in one.message


@pytest.mark.parametrize(
    ("trends", "changes"),
    [
        (looked(each(NEW, FAST)), {}),
        (looked({**each(NEW, SLOW), **each(OLD, SLOW)}), {"old": OLD}),
        (looked(each(NEW, SLOW), past=SLOW), {}),
        (looked(each(NEW, SLOW), seconds=75), {}),
        (looked(each(NEW, SLOW), per_second=0.1), {}),
        (looked(each(NEW, lambda at: SLOW if at <= 60 else FAST), seconds=300), {}),
        (looked(each(NEW, SLOW), past=None), {}),
        (Trends(), {}),
    ],
    ids=[
        "as fast as before",
        "the old pods are as slow",
        "it was as slow before",
        "no second look yet",
        "too few requests",
        "it has healed",
        "nothing to compare with",
        "nothing read",
    ],
)
def test_not_slower(trends, changes) -> None:
    assert found(trends, RATIO, **changes) == ()


@pytest.mark.parametrize(
    ("trends", "changes", "veto"),
    [
        (
            looked({name: AWFUL if name == min(NEW) else FAST for name in NEW}, per_second=40),
            {"busiest": 400.0},
            Reason.FEW_PODS_AFFECTED,
        ),
        (looked(each(NEW, SLOW)), {"busiest": 5.0}, Reason.TRAFFIC_SPIKE),
        (
            looked(each(NEW, lambda at: FAST if at <= 60 else SLOW), seconds=600),
            {},
            Reason.ENVIRONMENT_SUSPECTED,
        ),
    ],
    ids=["one pod", "a traffic spike", "all of a sudden, with no old pod left"],
)
def test_slow_but_not_by_the_release(trends, changes, veto) -> None:
    (one,) = found(trends, RATIO, **changes)
    assert one.veto is veto


def test_a_longer_tail_is_slower() -> None:
    (one,) = found(looked(each(NEW, TAIL)), RATIO)
    assert one.veto is None


def test_an_absolute_limit_needs_no_control() -> None:
    limit = MatrixCondition(signal="Latency", above="0.3")
    (one,) = found(looked(each(NEW, SLOW), past=None), limit)
    assert one.value > 0.3
    assert found(looked(each(NEW, FAST), past=None), limit) == ()


def test_an_absolute_limit_that_the_old_revision_broke_too() -> None:
    limit = MatrixCondition(signal="Latency", above="0.15")
    (one,) = found(looked(each(NEW, SLOW)), limit)
    assert one.veto is Reason.OLD_REVISION_FAILS_TOO


# -- memory, restarts ------------------------------------------------------------------------------


def killed(*counts):
    return {
        name: replace(pod, restarts=count, is_out_of_memory=count > 0, started=T0 + 50)
        for (name, pod), count in zip(NEW.items(), counts, strict=True)
    }


def watched(pods):
    """What is counted by an operator that sees each end of a container."""
    trends = Trends()
    for most in range(1, 1 + max(pod.restarts for pod in pods.values())):
        seen = {name: replace(pod, restarts=min(most, pod.restarts)) for name, pod in pods.items()}
        trends = with_kills(trends, seen, T0)
    return trends


KILLS = MatrixCondition(signal="OOMKills", at_least="2")
RESTARTS = MatrixCondition(signal="Restarts", at_least="3")


@pytest.mark.parametrize(
    ("counts", "signals"),
    [
        ((1, 0, 0, 0), []),
        ((1, 1, 0, 0), ["OOMKills"]),
        ((2, 0, 0, 0), ["OOMKills"]),
        ((1, 1, 1, 1), ["OOMKills", "Restarts"]),
    ],
)
def test_kills_and_restarts_are_counted_on_all_new_pods(counts, signals) -> None:
    pods = killed(*counts)
    trends = watched(pods)
    listed = found(trends, KILLS, RESTARTS, new=pods)
    assert [one.signal for one in listed] == signals
    assert all(one.veto is None for one in listed)
    assert [one.is_on_every_pod for one in listed if one.signal == "OOMKills"] == [
        all(counts)
    ] * signals.count("OOMKills")


@pytest.mark.parametrize(("count", "is_every"), [(2, False), (3, True), (5, True)])
def test_the_only_pod_is_every_pod_once_it_was_killed_three_times(count, is_every) -> None:
    name = min(NEW)
    pods = {name: killed(count, 0, 0, 0)[name]}

    (one,) = found(watched(pods), KILLS, new=pods)

    assert one.is_on_every_pod is is_every


def test_a_restart_for_another_reason_is_no_kill() -> None:
    pods = {name: replace(pod, restarts=3) for name, pod in NEW.items()}
    assert found(with_kills(Trends(), pods, T0), KILLS, new=pods) == ()


def test_of_restarts_that_nobody_saw_only_the_last_is_known_to_be_a_kill() -> None:
    """As by an operator that starts: a pod shows how its container ended last."""
    name = min(NEW)
    pods = {name: killed(7, 0, 0, 0)[name]}

    first = with_kills(Trends(), pods, T0)
    assert first.kills[name] == Kills(7, 1)
    assert found(first, KILLS, new=pods) == ()
    again = {name: replace(pods[name], restarts=8)}
    assert with_kills(first, again, T0).kills[name] == Kills(8, 2)


def test_a_kill_that_is_seen_twice_counts_once() -> None:
    pods = killed(1, 0, 0, 0)
    twice = with_kills(with_kills(Trends(), pods, T0), pods, T0)
    assert twice.kills[min(NEW)] == Kills(1, 1)


def test_of_a_pod_from_before_the_watch_only_what_happens_since_counts() -> None:
    pods = {name: replace(pod, created=T0 - 86_400) for name, pod in killed(3, 3, 3, 3).items()}
    trends = with_kills(Trends(), pods, T0)
    assert found(trends, KILLS, RESTARTS, new=pods) == ()

    later = {name: replace(pod, restarts=4) for name, pod in pods.items()}
    listed = found(with_kills(trends, later, T0), KILLS, RESTARTS, new=later)
    assert ["4 times on 4" in one.message for one in listed] == [True, True]


def test_restarts_of_a_revision_that_ran_before_are_not_its_fault() -> None:
    """Where a node or a runtime is upgraded, each container restarts once."""
    pods = {name: replace(pod, restarts=1) for name, pod in killed(0, 0, 0, 0).items()}
    trends = with_kills(Trends(), pods, T0)
    (of_new,) = found(trends, RESTARTS, new=pods)
    (of_known,) = found(trends, RESTARTS, new=pods, ran_before=True)

    assert (of_new.veto, of_known.veto) == (None, Reason.ENVIRONMENT_SUSPECTED)
    assert of_known.message == "containers have restarted 4 times on 4 pods"


def test_old_pods_that_restart_alike_speak_for_the_environment() -> None:
    pods = killed(1, 1, 1, 1)
    old = {
        name: replace(pod, restarts=2, is_out_of_memory=True, started=T0 + 60)
        for name, pod in OLD.items()
    }
    trends = with_kills(Trends(), pods, T0)
    assert {one.veto for one in found(trends, KILLS, RESTARTS, new=pods, old=old)} == {
        Reason.OLD_REVISION_FAILS_TOO
    }
    long_ago = {name: replace(pod, started=T0 - 900) for name, pod in old.items()}
    assert {one.veto for one in found(trends, KILLS, RESTARTS, new=pods, old=long_ago)} == {None}


GROWTH = MatrixCondition(signal="MemoryGrowth", above="0.5")


def leaking(pods, per_second, past=0.0, seconds=900):
    """Memory of pods; `past`: what old pods' grew by a second when they were as old."""
    hourly = None if past is None else 3600 * past
    return Trends(
        memory={
            name: tuple(Point(T0 + at, 40 * MIB + at * per_second) for at in range(0, seconds, 15))
            for name in pods
        },
        past_growth=PastGrowth(600.0, hourly),
    )


def test_a_leak_is_a_share_of_the_limit() -> None:
    (one,) = found(leaking(NEW, 50_000), GROWTH)
    assert one.value == pytest.approx(50_000 * 3600 / (128 * MIB), rel=0.05)
    assert one.veto is None
    assert "an hour on 4 of 4 new pods" in one.message
    assert one.message.endswith("grew by 0 % at the same age")


def test_what_the_old_pods_did_at_that_age_is_no_leak() -> None:
    """A heap that fills: 50 kB a second are 134 % of the limit an hour."""
    assert found(leaking(NEW, 50_000, past=40_000), GROWTH) == ()
    (one,) = found(leaking(NEW, 50_000, past=30_000), GROWTH)
    assert "grew by 80 % at the same age" in one.message


def test_what_they_did_may_not_be_known() -> None:
    assert found(leaking(NEW, 25_000, past=None), GROWTH) == ()
    (one,) = found(leaking(NEW, 25_000, past=None, seconds=1000), GROWTH)
    assert one.message.endswith("new pods")
    asked = replace(leaking(NEW, 25_000), past_growth=None)
    assert found(asked, GROWTH) == ()
    (one,) = found(replace(leaking(NEW, 50_000), past_growth=None), GROWTH)
    assert one.message.endswith("new pods")


@pytest.mark.parametrize(
    ("trends", "changes"),
    [
        (leaking(NEW, 1_000), {}),
        (leaking([min(NEW)], 50_000), {}),
        (leaking(NEW, 50_000), {"memory_limit": None}),
    ],
    ids=["slow enough", "one pod of several", "no limit"],
)
def test_no_leak(trends, changes) -> None:
    assert found(trends, GROWTH, **changes) == ()


def test_old_pods_that_leak_too() -> None:
    (one,) = found(leaking([*NEW, *OLD], 50_000), GROWTH, old=OLD)
    assert one.veto is Reason.OLD_REVISION_FAILS_TOO


# -- own queries -----------------------------------------------------------------------------------


def asked(values, before=None) -> Trends:
    trends = Trends(before={} if before is None else {"q": before})
    for at, value in enumerate(values):
        trends = with_query(trends, T0 + 15 * at, "q", value)
    return trends


def own(**fields):
    return MatrixCondition(signal="Query", query="q", **fields)


@pytest.mark.parametrize(
    ("condition", "values", "before", "expected"),
    [
        (own(above="5"), [6, 6, 6], 1, [None]),
        (own(above="5"), [6, 6], 1, []),
        (own(above="5"), [6, 1, 6, 1, 6], 1, [None]),
        (own(above="5"), [6, 6, 6, 1, 1, 1, 1], 1, []),
        (own(above="5"), [6, math.nan, 6, math.nan, 6], 1, [None]),
        (own(above="5"), [math.nan] * 5, 1, []),
        (own(above="5"), [6, 6, 6], 7, [Reason.THERE_BEFORE]),
        (own(above="5", change_above="1.5"), [6, 6, 6], 5.5, []),
        (own(above="5", change_above="1.5"), [9, 9, 9], 5.5, [None]),
        (own(above="5", change_above="1.5"), [9, 9, 9], None, []),
        (own(above="5", change_above="1.5"), [9, 9, 9], 0, [None]),
        (own(above="5", change_above="1.5"), [4, 4, 4], 0, []),
        (own(above="5", change_above="1.5"), [9, 9, 9], math.nan, []),
        (own(below="5"), [4, 4, 4], 8, [None]),
        (own(below="5"), [6, 6, 6], 8, []),
        (own(above="5", times=1, looks=1), [6], None, [None]),
    ],
)
def test_an_own_query(condition, values, before, expected) -> None:
    assert [one.veto for one in found(asked(values, before), condition)] == expected


def test_what_is_the_releases_is_spoken_of_first() -> None:
    mine = own(above="5", times=1)
    listed = found(asked([6.0] * 5, 7.0), mine, own(above="1", times=1, change_above="0.5"))
    assert worst(listed).veto is None
    assert worst(()) is None


def test_a_pods_first_half_minute_says_nothing_of_its_durations() -> None:
    pod = make_pod(ready_since=T0)
    trends = with_latency(Trends(), T0 + 29, {pod.name: Histogram()}, {pod.name: pod})
    assert trends.bases == {}
    trends = with_latency(trends, T0 + 31, {pod.name: Histogram()}, {pod.name: pod})
    assert set(trends.bases) == {pod.name}
