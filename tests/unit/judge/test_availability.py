"""What Kubernetes alone shows: outage, standstill, and what is not the release's doing."""

from dataclasses import replace

import pytest

from rollback_operator.evidence.watch import open_watch
from rollback_operator.judge.availability import pod_failing, pod_fault
from rollback_operator.model.pod import NOT_READY
from rollback_operator.model.verdict import Cause
from rollback_operator.model.workload import Workload
from tests.builders import T0, make_deployment, make_pod, make_pods, make_question, make_workload

CRASH = "container ticket-service: CrashLoopBackOff"
WATCH = replace(open_watch("digest-v2", T0, frozenset()), startup=10.0)
RESUMED = make_question(resumed=T0 + 200)


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
    "rolled out": (make_workload(), None, 1000, None),
    "down for less than a start takes and 30 s": (down(), 0, 40, None),
    "down for longer": (down(), 0, 41, Cause.UNAVAILABLE),
    "down, but nothing of its own fails": (down(pods=make_pods()), 0, 100, None),
    "down, and its pods are going": (down(pods=crashing(terminating=True)), 0, 100, None),
    "scaled to nothing": (down(replicas=0), 0, 100, None),
    "down under Recreate: a start may take longer": (down(strategy="Recreate"), 0, 300, None),
    "down under Recreate: a standstill, no outage yet": (
        down(strategy="Recreate"),
        0,
        640,
        Cause.STUCK_ROLLOUT,
    ),
    "down under Recreate for longer": (down(strategy="Recreate"), 0, 641, Cause.UNAVAILABLE),
    "down since later than the change": (down(), 100, 141, Cause.UNAVAILABLE),
    "no progress for less than five minutes": (half(crashing(1)), None, 300, None),
    "no progress for longer": (half(crashing(1)), None, 301, Cause.STUCK_ROLLOUT),
    "no progress, a shorter deadline": (
        half(crashing(1), progress_deadline_seconds=60),
        None,
        61,
        Cause.STUCK_ROLLOUT,
    ),
    "a pod became ready meanwhile": (
        half((*crashing(1), make_pod(1, ready_since=T0 + 100))),
        None,
        400,
        None,
    ),
    "and nothing since": (
        half((*crashing(1), make_pod(1, ready_since=T0 + 100))),
        None,
        401,
        Cause.STUCK_ROLLOUT,
    ),
    "an old release that is gone back to: its pods are young": (
        half(crashing(1, created=T0 + 250)),
        None,
        550,
        None,
    ),
    "and never come up": (half(crashing(1, created=T0 + 250)), None, 551, Cause.STUCK_ROLLOUT),
    "one of them has been there for long, others are added": (
        half((*crashing(1), make_pod(1, created=T0 + 299, ready=False, own_failure=CRASH))),
        None,
        301,
        Cause.STUCK_ROLLOUT,
    ),
    "every new pod restarted three times": (
        half(crashing(2, restarts=3)),
        None,
        20,
        Cause.STUCK_ROLLOUT,
    ),
    "one of two restarted three times": (
        half((*crashing(1, restarts=3), make_pod(1, ready_since=T0 + 2))),
        None,
        20,
        None,
    ),
    "paused": (half(crashing(1), paused=True), None, 1000, None),
    "it goes on after a hold": (half(crashing(1)), RESUMED, 500, None),
    "it has gone on after a hold for longer": (
        half(crashing(1)),
        RESUMED,
        501,
        Cause.STUCK_ROLLOUT,
    ),
    "slow, but nothing of its own fails": (half(make_pods(1, ready=False)), None, 1000, None),
    "only old pods fail": (half(make_pods(2, "v1", own_failure=CRASH)), None, 1000, None),
    "quota": (half(crashing(1), failed_create="exceeded quota"), None, 1000, Cause.ENVIRONMENT),
    "no capacity on the nodes": (
        half((*crashing(1), make_pod(1, environment="0/3 nodes are available"))),
        None,
        1000,
        Cause.ENVIRONMENT,
    ),
    "registry down, and all is down": (
        down(pods=crashing(environment="an image cannot be pulled")),
        0,
        1000,
        Cause.ENVIRONMENT,
    ),
    "no ReplicaSet yet": (
        make_workload(replica_sets=(), deployment=make_deployment(available=0)),
        0,
        1000,
        None,
    ),
    "all at once, long after it was complete: a database went away": (
        down(completed=T0 + 10),
        60,
        200,
        Cause.UNATTRIBUTED,
    ),
    "all at once, but out of memory": (
        down(pods=crashing(is_out_of_memory=True), completed=T0 + 10),
        60,
        200,
        Cause.UNAVAILABLE,
    ),
    "down within seconds of being complete": (down(completed=T0 + 10), 15, 200, Cause.UNAVAILABLE),
    "complete, but that was the revision before": (
        down(completed=T0 - 500),
        60,
        200,
        Cause.UNAVAILABLE,
    ),
    "the old pods are down as well": (
        down(pods=(*crashing(2), *make_pods(2, "v1", ready=False))),
        0,
        200,
        Cause.UNATTRIBUTED,
    ),
    "complete once, and restarting since long after": (
        half(crashing(2, restarts=3), completed=T0 + 10),
        100,
        200,
        Cause.UNATTRIBUTED,
    ),
    "complete once: no progress is no standstill": (
        half(crashing(1), completed=T0 + 10),
        None,
        400,
        None,
    ),
}


@pytest.mark.parametrize(("workload", "since", "now", "expected"), ROWS.values(), ids=ROWS)
def test_availability(workload, since, now, expected) -> None:
    question = since if since is RESUMED else make_question()
    watch = replace(WATCH, unavailable_since=T0 + since if isinstance(since, int) else None)
    fault = pod_fault(watch, workload, question, T0 + now)
    assert (fault.cause if fault else None) is expected
    if fault is not None and expected in (Cause.UNAVAILABLE, Cause.STUCK_ROLLOUT):
        assert CRASH in fault.message
        assert fault.since is not None


PENDING = {"ready": False, "ready_since": None, "started": None}


@pytest.mark.parametrize(
    ("pods", "now", "expected"),
    [
        (make_pods(1, **PENDING), 300, None),
        (make_pods(1, **PENDING), 301, Cause.UNATTRIBUTED),
        (make_pods(1), 301, None),
        (make_pods(1, **PENDING | {"started": T0 + 1.0}), 301, None),
        (make_pods(1, **PENDING | {"environment": "a node is full"}), 301, Cause.ENVIRONMENT),
        ((), 301, None),
    ],
    ids=["soon", "stuck in silence", "ready", "it has run", "no capacity", "no pod at all"],
)
def test_a_pod_that_reports_nothing_is_no_proof_and_no_silence(pods, now, expected) -> None:
    fault = pod_fault(WATCH, half(pods), make_question(), T0 + now)

    assert (fault.cause if fault is not None else None) is expected


@pytest.mark.parametrize(
    ("workload", "is_named"),
    [
        (half(crashing(1)), True),
        (half(crashing(1, own_failure=f"container ticket-service: {NOT_READY}")), False),
        (half(crashing(1), paused=True), False),
        (make_workload(), False),
    ],
    ids=["it cannot start", "it starts", "paused", "rolled out"],
)
def test_a_new_pod_that_cannot_start_is_named_before_it_is_judged(workload, is_named) -> None:
    message = pod_failing(WATCH, workload, make_question())

    assert (CRASH in message) is is_named
    assert bool(message) is is_named


@pytest.mark.parametrize(
    ("pods", "since", "now", "expected"),
    [
        (crashing(), 60, 200, Cause.UNATTRIBUTED),
        ((*crashing(1), *make_pods(3)[1:]), None, 700, None),
        ((*crashing(1, restarts=3), *make_pods(3, restarts=3)[1:]), None, 60, None),
    ],
    ids=["its database went away", "one pod fails", "all have restarted in the past"],
)
def test_a_revision_from_before_the_watch_has_no_rollout(pods, since, now, expected) -> None:
    pods = tuple(replace(pod, created=T0 - 86_400) for pod in pods)
    deployment = make_deployment(available=0 if since else 3, completed=T0 - 80_000)
    workload = make_workload(deployment=deployment, pods=pods)
    down = T0 + since if since else None
    watch = replace(WATCH, pods=pods, unavailable_since=down)

    fault = pod_fault(watch, workload, make_question(), T0 + now)

    assert (fault.cause if fault is not None else None) is expected


def test_a_rollout_that_began_before_the_watch_and_never_completed_may_be_stuck() -> None:
    pods = crashing(1, created=T0 - 60)
    watch = replace(WATCH, pods=pods)

    fault = pod_fault(watch, half(pods), make_question(), T0 + 301)

    assert fault is not None
    assert fault.cause is Cause.STUCK_ROLLOUT
