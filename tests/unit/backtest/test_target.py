"""The virtual target: what a live operator would have been shown at a moment."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollback_operator.cli.backtest.rollouts import parse_rollouts
from rollback_operator.cli.backtest.target import VirtualTarget
from rollback_operator.cli.backtest.tracks import hash_of, tracks_of
from rollback_operator.model.pod import Pod
from rollback_operator.model.samples import Counters
from rollback_operator.model.workload import Workload
from tests.builders import NAME, T0
from tests.sizes import examples
from tests.unit.backtest.past import (
    NEW,
    OLD,
    Served,
    counted,
    make_file,
    pods,
    release,
    rfc3339,
)

NOTHING = Counters((), ())


def target(counters: Counters, **changes: Any) -> VirtualTarget:
    rollouts = parse_rollouts(make_file(**changes))
    hashes = {one.template_hash for one in rollouts.rollouts}
    return VirtualTarget(rollouts, tracks_of(counters, NAME, hashes))


def at(counters: Counters, seconds: float, **changes: Any) -> Workload:
    found = target(counters, **changes).at(T0 + seconds)
    assert found is not None
    return found


def alive(workload: Workload, pod_hash: str) -> list[Pod]:
    return [one for one in workload.pods if one.pod_hash == pod_hash and not one.terminating]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (f"{NAME}-{NEW}-abcde", NEW),
        (f"{NAME}-{NEW}", ""),
        (f"{NAME}-other-{NEW}-abcde", f"other-{NEW}"),
        ("shop-x-abcde", ""),
    ],
)
def test_pods_are_told_by_their_names(name: str, expected: str) -> None:
    assert hash_of(name, NAME) == expected


def test_before_its_first_rollout_there_is_no_deployment() -> None:
    assert target(NOTHING, rollouts=[{"time": rfc3339(0), "templateHash": NEW}]).at(T0 - 1) is None


def test_the_template_is_the_newest_rollout_s() -> None:
    file = make_file()["rollouts"] + [{"time": rfc3339(60), "templateHash": OLD}]
    for seconds, pod_hash, revision in ((-1, OLD, 1), (0, NEW, 2), (59, NEW, 2), (60, OLD, 3)):
        found = at(NOTHING, seconds, rollouts=file)
        assert found.current is not None
        assert (found.current.pod_hash, found.deployment.revision) == (pod_hash, revision)
        assert found.current.revision == revision
    assert found.deployment.replicas == 4
    assert found.deployment.template.images == ("shop:v1",)


def test_a_pod_is_there_from_its_first_sample_on() -> None:
    counters = counted([Served(f"{NAME}-{NEW}-aaaaa", 3, 60), *pods(OLD, -600, 60)])
    assert alive(at(counters, 2.9), NEW) == []
    (pod,) = alive(at(counters, 3), NEW)
    assert pod.ready
    assert T0 <= (pod.started or 0) <= T0 + 3
    assert len(alive(at(counters, 3), OLD)) == 4


def test_pods_of_other_deployments_are_none() -> None:
    counters = counted([Served(f"{NAME}-api-{NEW}-aaaaa", 3, 60), *pods(OLD, -600, 60)])
    assert alive(at(counters, 20), NEW) == []


def test_old_pods_go_when_they_miss_a_scrape_after_the_rollout() -> None:
    workload = at(counted(release(old_until=8)), 15)
    assert alive(workload, OLD) == []
    assert {one.terminating for one in workload.pods if one.pod_hash == OLD} == {True}
    assert workload.deployment.is_rolled_out


def test_as_many_new_pods_as_there_were_old_ones_replace_them() -> None:
    file = [
        {"time": rfc3339(-86400), "templateHash": OLD},
        {"time": rfc3339(0), "templateHash": NEW},
    ]
    assert alive(at(counted(release(old_until=8)), 15, rollouts=file), OLD) == []


def test_an_old_pod_that_misses_a_scrape_is_gone_while_others_are_read() -> None:
    old = pods(OLD, -600, 60)
    old[0].end = 3
    counters = counted([*old, Served(f"{NAME}-{NEW}-aaaaa", 4, 60)])
    assert len(alive(at(counters, 6), OLD)) == 4
    assert [one.name for one in alive(at(counters, 15), OLD)] == [one.name for one in old[1:]]


def test_old_pods_that_are_read_stay() -> None:
    workload = at(counted(release(old_until=600)), 300)
    assert len(alive(workload, OLD)) == len(alive(workload, NEW)) == 4
    assert not workload.deployment.is_rolled_out


def test_in_a_gap_nobody_goes() -> None:
    assert len(alive(at(counted(release(until=60, old_until=60)), 300), OLD)) == 4


def test_a_counter_that_falls_is_a_restart() -> None:
    name = f"{NAME}-{NEW}-aaaaa"
    before, after = (counted([Served(name, begin, end)]) for begin, end in ((3, 28), (30, 60)))
    joined = Counters(
        tuple(
            type(one)(one.pod, one.route, (), one.instance, one.samples + other.samples)
            for one, other in zip(before.requests, after.requests, strict=True)
        ),
        (),
    )
    assert alive(at(joined, 29), NEW)[0].restarts == 0
    (pod,) = alive(at(joined, 31), NEW)
    assert pod.restarts == 1
    assert T0 + 28 <= (pod.started or 0) <= T0 + 30


def test_a_revision_of_which_nothing_is_known_is_taken_for_ready_after_a_while() -> None:
    assert alive(at(NOTHING, 29), NEW) == []
    found = alive(at(NOTHING, 30), NEW)
    assert len(found) == 4
    assert {one.ready for one in found} == {True}


# -- pods by name ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "seconds", "expected"),
    [
        ({"ready": rfc3339(20)}, 19, None),
        ({"ready": rfc3339(20)}, 20, (True, False)),
        ({"ready": True}, 10, (False, False)),
        ({"ready": True}, 30, (True, False)),
        ({"ready": False}, 10, (False, True)),
        ({"ready": None}, 500, (False, True)),
        ({}, 500, None),
        ({"ready": True, "deleted": rfc3339(50)}, 49, (True, False)),
        ({"ready": True, "deleted": rfc3339(50)}, 50, None),
        ({"ready": True, "deleted": False}, 500, (True, False)),
    ],
    ids=str,
)
def test_a_pod_that_is_listed(
    fields: dict[str, Any], seconds: float, expected: tuple[bool, bool] | None
) -> None:
    listed = [{"name": f"{NAME}-{NEW}-aaaaa", "node": "node-1", **fields}]
    found = alive(at(NOTHING, seconds, pods=listed), NEW)
    assert [(one.ready, bool(one.own_failure)) for one in found] == ([expected] if expected else [])
    assert {one.node for one in found} <= {"node-1"}


def test_a_pod_without_a_node_could_not_be_scheduled() -> None:
    listed = [{"name": f"{NAME}-{NEW}-aaaaa", "node": "", "ready": False}]
    (pod,) = alive(at(NOTHING, 10, pods=listed), NEW)
    assert pod.environment
    assert not pod.own_failure


# -- the status over time --------------------------------------------------------------------------


def observed(seconds: float, **fields: Any) -> dict[str, Any]:
    return {"time": rfc3339(seconds), **fields}


def test_an_observation_holds_from_its_time_and_for_its_rollout() -> None:
    told = [observed(-10, readyReplicas=0), observed(20, readyReplicas=3, updatedReplicas=2)]
    counters = counted(release(old_until=600))
    assert at(counters, 10, observations=told).deployment.available == 8
    found = at(counters, 20, observations=told).deployment
    assert (found.available, found.updated) == (3, 2)


def test_pods_that_never_come_up_are_failing() -> None:
    told = [observed(10, readyReplicas=4, updatedReplicas=1, updatedReadyReplicas=0, restarts=3)]
    workload = at(counted(pods(OLD, -600, 600)), 60, observations=told)
    (pod,) = alive(workload, NEW)
    assert (pod.ready, pod.restarts) == (False, 3)
    assert "restarted 3 times" in pod.own_failure
    assert sum(one.ready for one in alive(workload, OLD)) == 4


def test_kills_for_memory_are_spread_over_the_new_pods() -> None:
    told = [observed(-5, restarts=7), observed(60, restarts=9, oomKills=2, updatedReplicas=4)]
    found = alive(at(counted(release()), 60, observations=told), NEW)
    assert sorted(one.restarts for one in found) == [0, 0, 1, 1]
    assert sum(one.is_out_of_memory for one in found) == 2


def test_a_deadline_that_is_exceeded_shortens_the_deployment_s() -> None:
    told = [observed(120, progressDeadlineExceeded=True, updatedReplicas=1, updatedReadyReplicas=0)]
    found = at(NOTHING, 130, observations=told)
    assert found.deployment.progress_deadline_seconds < 120
    assert alive(found, NEW)[0].own_failure


@pytest.mark.parametrize("told", [True, 4], ids=["a flag", "a count"])
def test_a_deployment_without_any_available_pod(told: bool | int) -> None:
    fields = {"updatedReplicas": 4, "updatedReadyReplicas": 0, "unavailable": told}
    found = at(NOTHING, 60, observations=[observed(30, **fields)])
    assert found.deployment.available == 0
    assert {one.ready for one in found.pods} == {False}


def test_a_rollout_that_is_told_complete_has_no_old_pods() -> None:
    told = [observed(12, readyReplicas=4, updatedReplicas=4, updatedReadyReplicas=4)]
    found = at(counted(release(old_until=11)), 12, observations=told)
    assert alive(found, OLD) == []
    assert found.deployment.is_rolled_out
    assert found.deployment.completed == T0 + 12


# -- laws ------------------------------------------------------------------------------------------

PAST = release(until=120, old_until=40)


@settings(max_examples=examples(40))
@given(
    now=st.floats(0, 110),
    later=st.lists(
        st.tuples(st.sampled_from([OLD, NEW]), st.floats(0.01, 60), st.integers(1, 5)), max_size=3
    ),
)
def test_what_comes_later_changes_nothing_that_was_shown(
    now: float, later: list[tuple[str, float, int]]
) -> None:
    cut = Counters(*(tuple(map(until(now), side)) for side in sides(counted(PAST))))
    more = [
        Served(f"{NAME}-{pod_hash}-z{number}zzz", now + after, now + after + 60)
        for number, (pod_hash, after, _) in enumerate(later)
    ]
    whole = counted([*PAST, *more])
    told = [observed(now + after + 1, updatedReplicas=count) for _, after, count in later]
    assert at(whole, now, observations=told) == at(cut, now)


def sides(counters: Counters) -> tuple[Any, Any]:
    return counters.requests, counters.errors


def until(now: float) -> Any:
    def cut(one: Any) -> Any:
        samples = tuple(sample for sample in one.samples if sample[0] <= T0 + now)
        return type(one)(one.pod, one.route, one.identity, one.instance, samples)

    return cut
