"""Whole replays in memory: what a live operator would have decided, and when."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from rollback_operator.api.reasons import Reason
from rollback_operator.api.v1alpha1 import VerdictValue
from rollback_operator.cli.backtest.entry import Action, Entry
from rollback_operator.cli.backtest.history import History
from rollback_operator.cli.backtest.policy import parse_policy
from rollback_operator.cli.backtest.replay import Replay, Replayed, ReplaySchedule
from rollback_operator.cli.backtest.rollouts import parse_rollouts
from rollback_operator.model.samples import Counters, CounterSeries, Missing
from tests.builders import NAME, PURCHASE, T0
from tests.unit.backtest.past import NEW, OLD, counted, make_file, pods, release, rfc3339

SPEC = {"targetRef": {"name": NAME}, "mode": "Enforce"}


def replayed(
    counters: Counters | Missing,
    file: dict[str, Any] | None = None,
    spec: dict[str, Any] | None = None,
    span: tuple[float, float, float] = (-60, 300, 5),
    **options: bool,
) -> Replayed:
    rollouts = parse_rollouts(file or make_file())
    policy = parse_policy(SPEC | (spec or {}), rollouts)
    start, end, step = span
    replay = Replay(policy, rollouts, History(counters), **options)
    return replay.run(ReplaySchedule(T0 + start, T0 + end, step))


def rollbacks(found: Replayed) -> list[Entry]:
    return [one for one in found.decisions if one.action is Action.ROLLBACK]


def all_fail(_time: float, _route: str) -> float:
    return 1.0


def test_a_release_that_fails_entirely_is_rolled_back_within_three_scrapes() -> None:
    found = replayed(counted(release(all_fail)))

    last = found.decisions[-1]
    assert found.final == last
    assert (last.verdict, last.severity, last.action) == ("Bad", "P1", "Rollback")
    assert T0 + 2 < last.time <= T0 + 17
    assert last.blame.revision == 2
    assert last.newest_sample is not None
    assert last.newest_sample <= last.time


def test_a_fault_of_one_route_is_named() -> None:
    fails = lambda time, route: 0.3 if route == PURCHASE else 0.0  # noqa: E731
    found = replayed(counted(release(fails, old_until=300)))

    (last,) = rollbacks(found)
    assert (last.severity, last.blame.route) == ("P2", PURCHASE)
    assert last.blame.shared_with_old is False


def test_a_healthy_release_becomes_healthy() -> None:
    found = replayed(counted(release(until=700)), span=(-60, 700, 5))

    assert rollbacks(found) == []
    assert found.final.verdict is VerdictValue.HEALTHY
    assert found.final.time == T0 + 700


def test_what_the_release_before_had_come_to_fail_is_not_this_ones() -> None:
    """An outage hits a release that did well; people push another one into it."""
    between = "hash1b"
    file = make_file()
    file["rollouts"][1:1] = [file["rollouts"][1] | {"time": rfc3339(-200), "templateHash": between}]
    outage = lambda time, route: 0.4 if time > -80 else 0.001  # noqa: E731
    past = [
        *pods(OLD, -3600, -192),
        *pods(between, -198, 8, fails=outage),
        *pods(NEW, 2, 300, fails=outage),
    ]
    found = replayed(counted(past), file, span=(-300, 300, 5))
    assert rollbacks(found) == []
    last = found.decisions[-1]
    assert (last.reason, last.action) == (Reason.OLD_REVISION_FAILS_TOO, Action.NOTIFY)

    alone = lambda time, route: 0.4  # noqa: E731
    past[4:] = [*pods(between, -198, 8), *pods(NEW, 2, 300, fails=alone)]
    (last,) = rollbacks(replayed(counted(past), file, span=(-300, 300, 5)))
    assert last.severity == "P2"


def test_what_both_revisions_have_is_not_the_releases() -> None:
    fails = lambda time, route: 0.3 if time > 0 else 0.001  # noqa: E731
    found = replayed(counted(release(fails, old_until=300, old_fails=fails, until=300)))

    assert rollbacks(found) == []
    assert found.final.blame.shared_with_old is True
    assert found.final.blame.revision is None


def test_a_provider_that_never_answers_gives_no_verdict() -> None:
    found = replayed(Missing(Reason.PROVIDER_UNREACHABLE, "connection refused"))

    assert {one.verdict for one in found.decisions} == {VerdictValue.NO_VERDICT}
    assert found.final.reason == Reason.PROVIDER_UNREACHABLE
    assert found.final.action is Action.NONE


def test_a_gap_is_stale_and_then_over() -> None:
    full = counted(release(until=300))
    gap = Counters(*(tuple(map(without_gap, side)) for side in (full.requests, full.errors)))
    found = replayed(gap)

    states = [(one.verdict, one.reason) for one in found.decisions]
    stale = states.index((VerdictValue.NO_VERDICT, Reason.SAMPLES_STALE))
    assert T0 + 105 <= found.decisions[stale].time <= T0 + 125
    assert states[stale + 1] == (VerdictValue.WATCHING, Reason.NO_EVIDENCE_AGAINST)


def without_gap(series: CounterSeries) -> CounterSeries:
    kept = tuple(one for one in series.samples if not T0 + 100 < one[0] < T0 + 180)
    return replace(series, samples=kept)


def test_values_that_are_no_numbers_are_named_while_they_are_the_newest() -> None:
    full = counted(release(until=300))
    one = full.requests[-1]
    samples = tuple((t, float("nan") if T0 + 100 < t < T0 + 150 else v) for t, v in one.samples)
    found = replayed(Counters((*full.requests[:-1], replace(one, samples=samples)), full.errors))

    named = [one for one in found.decisions if one.reason == Reason.NOT_A_NUMBER]
    assert len(named) == 1
    assert T0 + 100 < named[0].time <= T0 + 110
    assert found.final.verdict is VerdictValue.WATCHING


def test_a_rollback_ends_the_case_unless_it_is_continued() -> None:
    counters = counted(release(all_fail))
    assert replayed(counters).final.action is Action.ROLLBACK
    found = replayed(counters, is_continued=True)
    assert found.final.time == T0 + 300
    assert len(rollbacks(found)) == 1


def test_a_release_that_comes_back_is_told_and_not_fought() -> None:
    file = make_file()
    back = {"time": rfc3339(120), "templateHash": NEW, "revision": 4, "replicas": 4}
    file["rollouts"].append(back)
    found = replayed(counted(release(all_fail)), file, is_continued=True)

    (first,) = rollbacks(found)
    assert first.time < T0 + 60
    told = [one for one in found.decisions if one.reason == Reason.COOLDOWN_ACTIVE]
    assert [one.action for one in told] == [Action.NOTIFY]
    assert told[0].time >= T0 + 120


def test_mode_observe_decides_and_leaves_the_release() -> None:
    found = replayed(counted(release(all_fail)), spec={"mode": "Observe"}, is_continued=True)

    assert len(rollbacks(found)) == 1
    assert found.final.verdict is VerdictValue.BAD


def test_a_suspended_policy_decides_nothing() -> None:
    found = replayed(counted(release(all_fail)), spec={"suspend": True})

    assert [one.reason for one in found.decisions] == [Reason.SUSPENDED]


def test_a_deployment_that_is_not_there_yet() -> None:
    file = make_file(rollouts=[{"time": rfc3339(30), "templateHash": NEW}])
    found = replayed(Counters((), ()), file)

    assert found.decisions[0].reason == Reason.TARGET_NOT_FOUND
    assert found.final.reason == Reason.NO_SERIES


@pytest.mark.parametrize("later", [all_fail, lambda time, route: 0.0], ids=["bad", "good"])
def test_nothing_later_than_the_clock_is_used(later: Callable[[float, str], float]) -> None:
    fails = lambda time, route: 0.01 if time <= 60 else later(time, route)  # noqa: E731
    cut = counted(release(fails, until=60, old_until=30))
    whole = counted(release(fails, until=300, old_until=30))
    known = replayed(cut, span=(-60, 60, 5))
    found = replayed(whole, span=(-60, 60, 5))

    assert found == known


def test_every_step_gives_what_the_steps_with_something_new_give() -> None:
    counters = counted(release(lambda time, route: 0.05 if time > 30 else 0.0, until=120), 15.0)
    found = replayed(counters, span=(-30, 240, 1))
    every = Replay(
        parse_policy(SPEC, parse_rollouts(make_file())),
        parse_rollouts(make_file()),
        _EveryStep(counters),
    ).run(ReplaySchedule(T0 - 30, T0 + 240, 1))

    assert [one.state for one in found.decisions] == [one.state for one in every.decisions]
    assert [one.time for one in found.decisions] == [one.time for one in every.decisions]


class _EveryStep(History):
    """A past in which something may be new at any time."""

    def next_after(self, now: float) -> float | None:
        return now + 0.001


# -- what Kubernetes shows -------------------------------------------------------------------------


def observed(seconds: float, **fields: Any) -> dict[str, Any]:
    return {"time": rfc3339(seconds), **fields}


DOWN = observed(5, readyReplicas=0, updatedReplicas=4, updatedReadyReplicas=0, unavailable=4)
FAILING = {"readyReplicas": 4, "updatedReplicas": 1, "updatedReadyReplicas": 0}
UP = {"readyReplicas": 4, "updatedReplicas": 4, "updatedReadyReplicas": 4}


@pytest.mark.parametrize(
    ("old_until", "observations", "expected"),
    [
        (10, [DOWN], (70, "P1", Reason.UNAVAILABLE)),
        (
            600,
            [observed(5, **FAILING, restarts=0), observed(100, **FAILING, restarts=4)],
            (100, "P2", Reason.STUCK_ROLLOUT),
        ),
        (
            600,
            [observed(5, **FAILING), observed(120, **FAILING, progressDeadlineExceeded=True)],
            (125, "P2", Reason.STUCK_ROLLOUT),
        ),
    ],
    ids=["no pod available", "a crash loop", "the progress deadline"],
)
def test_a_release_that_never_comes_up(
    old_until: float, observations: list[dict[str, Any]], expected: tuple[float, str, Reason]
) -> None:
    counters = counted(pods(OLD, -3600, old_until))
    found = replayed(counters, make_file(observations=observations), span=(-60, 200, 5))

    last = found.final
    seconds, severity, reason = expected
    assert (last.action, last.severity, last.reason) == (Action.ROLLBACK, severity, reason)
    assert abs(last.time - T0 - seconds) <= 5
    assert last.blame.revision == 2


def test_pods_that_find_no_node_are_no_verdict() -> None:
    listed = [{"name": f"{NAME}-{NEW}-abcde", "node": "", "ready": False}]
    found = replayed(counted(pods(OLD, -3600, 600)), make_file(pods=listed), span=(-60, 400, 5))
    assert rollbacks(found) == []
    assert found.final.reason == Reason.ENVIRONMENT_PREVENTS_PODS


def test_kills_for_memory_are_investigated() -> None:
    told = [observed(30, **UP), observed(200, **UP, restarts=3, oomKills=3)]
    found = replayed(counted(release()), make_file(observations=told))
    assert (found.final.severity, found.final.action) == ("P3", Action.INVESTIGATE)
    assert "OOMKills" in [one.signal for one in found.final.symptoms]
    assert found.final.blame.revision == 2


# -- and the rest ----------------------------------------------------------------------------------


def test_series_without_a_pod_label_are_judged_by_before_and_after() -> None:
    counters = counted(release(lambda time, route: 0.5))
    spec = {"signals": {"labels": {"pod": ""}}}
    found = replayed(Counters(*map(podless, (counters.requests, counters.errors))), spec=spec)
    assert (found.final.action, found.final.severity) == (Action.ROLLBACK, "P2")


def podless(side: tuple[CounterSeries, ...]) -> tuple[CounterSeries, ...]:
    return tuple(
        replace(one, pod="", identity=(("instance", one.instance),), instance="") for one in side
    )


def test_a_suspicion_pauses_the_rollout_while_old_pods_live() -> None:
    fails = lambda time, route: 0.06  # noqa: E731
    new = pods(NEW, 2, 300, fails=fails, rate=1.0)[:1]
    found = replayed(counted([*pods(OLD, -3600, 300), *new]))
    assert Action.PAUSE in {one.action for one in found.decisions}


def test_the_severity_of_what_was_taken_back_may_rise() -> None:
    fails = lambda time, route: 0.94  # noqa: E731
    found = replayed(counted(release(fails)), is_continued=True)

    (first,) = rollbacks(found)
    assert first.severity == "P2"
    risen = [one for one in found.decisions if one.severity == "P1"]
    assert [one.action for one in risen] == [Action.NONE]
    assert first.time < risen[0].time <= first.time + 120


def test_a_clock_that_never_runs_says_so() -> None:
    found = replayed(counted(release()), span=(10, 5, 5))
    assert found.decisions == ()
    assert found.final.reason == Reason.NOT_YET_READ
