"""What Kubernetes alone shows: outage, standstill, and what is not the release's doing."""

import pytest

from rollback_operator.judge.availability import Availability, Patience, Since, availability
from rollback_operator.model.workload import Workload
from tests.builders import T0, make_deployment, make_pod, make_pods, make_workload

CRASH = "container ticket-service: CrashLoopBackOff"
PATIENCE = Patience(stuck_after=300, startup=10)


def crashing(count: int = 4, **changes) -> tuple:
    fields = {"ready": False, "ready_since": None, "own_failure": CRASH} | changes
    return make_pods(count, **fields)


def down(pods=None, **changes) -> Workload:
    deployment = make_deployment(available=0, **changes)
    return make_workload(deployment=deployment, pods=crashing() if pods is None else pods)


def half(pods, **changes) -> Workload:
    fields = {"available": 3, "updated": 1, "total": 5} | changes
    return make_workload(deployment=make_deployment(**fields), pods=pods)


ROWS = {
    "rolled out": (make_workload(), None, 1000, ""),
    "down for less than a start takes and 30 s": (down(), 0, 40, ""),
    "down for longer": (down(), 0, 41, "unavailable"),
    "down, but nothing of its own fails": (down(pods=make_pods()), 0, 100, ""),
    "down, and its pods are going": (down(pods=crashing(terminating=True)), 0, 100, ""),
    "scaled to nothing": (down(replicas=0), 0, 100, ""),
    "down under Recreate: a start may take longer": (down(strategy="Recreate"), 0, 300, ""),
    "down under Recreate: a standstill, no outage yet": (
        down(strategy="Recreate"),
        0,
        640,
        "stuck",
    ),
    "down under Recreate for longer": (down(strategy="Recreate"), 0, 641, "unavailable"),
    "down since later than the change": (down(), 100, 141, "unavailable"),
    "no progress for less than five minutes": (half(crashing(1)), None, 300, ""),
    "no progress for longer": (half(crashing(1)), None, 301, "stuck"),
    "no progress, a shorter deadline": (
        half(crashing(1), progress_deadline_seconds=60),
        None,
        61,
        "stuck",
    ),
    "a pod became ready meanwhile": (
        half((*crashing(1), make_pod(1, ready_since=T0 + 100))),
        None,
        400,
        "",
    ),
    "and nothing since": (
        half((*crashing(1), make_pod(1, ready_since=T0 + 100))),
        None,
        401,
        "stuck",
    ),
    "an old release that is gone back to: its pods are young": (
        half(crashing(1, created=T0 + 250)),
        None,
        550,
        "",
    ),
    "and never come up": (half(crashing(1, created=T0 + 250)), None, 551, "stuck"),
    "one of them has been there for long, others are added": (
        half((*crashing(1), make_pod(1, created=T0 + 299, ready=False, own_failure=CRASH))),
        None,
        301,
        "stuck",
    ),
    "every new pod restarted three times": (half(crashing(2, restarts=3)), None, 20, "stuck"),
    "one of two restarted three times": (
        half((*crashing(1, restarts=3), make_pod(1, ready_since=T0 + 2))),
        None,
        20,
        "",
    ),
    "paused": (half(crashing(1), paused=True), None, 1000, ""),
    "it goes on after a hold": (half(crashing(1)), Since(T0, resumed=T0 + 200), 500, ""),
    "it has gone on after a hold for longer": (
        half(crashing(1)),
        Since(T0, resumed=T0 + 200),
        501,
        "stuck",
    ),
    "slow, but nothing of its own fails": (half(make_pods(1, ready=False)), None, 1000, ""),
    "only old pods fail": (half(make_pods(2, "v1", own_failure=CRASH)), None, 1000, ""),
    "quota": (half(crashing(1), failed_create="exceeded quota"), None, 1000, "environment"),
    "no room on the nodes": (
        half((*crashing(1), make_pod(1, environment="0/3 nodes are available"))),
        None,
        1000,
        "environment",
    ),
    "registry down, and all is down": (
        down(pods=crashing(environment="an image cannot be pulled")),
        0,
        1000,
        "environment",
    ),
    "no ReplicaSet yet": (
        make_workload(replica_sets=(), deployment=make_deployment(available=0)),
        0,
        1000,
        "",
    ),
    "all at once, long after it was complete: a database went away": (
        down(completed=T0 + 10),
        60,
        200,
        "suspicion",
    ),
    "all at once, but out of memory": (
        down(pods=crashing(is_out_of_memory=True), completed=T0 + 10),
        60,
        200,
        "unavailable",
    ),
    "down within seconds of being complete": (down(completed=T0 + 10), 15, 200, "unavailable"),
    "complete, but that was the revision before": (
        down(completed=T0 - 500),
        60,
        200,
        "unavailable",
    ),
    "the old pods are down as well": (
        down(pods=(*crashing(2), *make_pods(2, "v1", ready=False))),
        0,
        200,
        "suspicion",
    ),
    "complete once, and restarting since long after": (
        half(crashing(2, restarts=3), completed=T0 + 10),
        100,
        200,
        "suspicion",
    ),
    "complete once: no progress is no standstill": (
        half(crashing(1), completed=T0 + 10),
        None,
        400,
        "",
    ),
}


def kind(found: Availability) -> str:
    return (
        "unavailable"
        if found.is_unavailable
        else "stuck"
        if found.is_stuck
        else "environment"
        if found.environment
        else "suspicion"
        if found.suspicion
        else ""
    )


@pytest.mark.parametrize(("workload", "since", "now", "expected"), ROWS.values(), ids=ROWS)
def test_availability(workload, since, now, expected) -> None:
    if not isinstance(since, Since):
        since = Since(T0, None if since is None else T0 + since)
    found = availability(workload, since, PATIENCE, T0 + now)
    assert kind(found) == expected
    if expected in ("unavailable", "stuck"):
        assert CRASH in found.message
        assert found.since is not None
