"""Each step, looked at: done already, to be done, moved by somebody else, out of time."""

from dataclasses import replace

import pytest

from rollback_operator.api.reasons import Reason
from rollback_operator.api.v1alpha1 import (
    Mode,
    Outcome,
    Pace,
    Remedy,
    RemedyType,
    RollbackStatus,
    StepName,
    StoredStrategy,
)
from rollback_operator.remedies.comparison import compare
from rollback_operator.remedies.progress import (
    Act,
    Done,
    RollbackEnd,
    Wait,
    has_moved,
    next_step,
    overtaken,
)
from tests.builders import (
    NAME,
    at,
    make_deployment,
    make_replica_set,
    make_rollback,
    make_step,
    make_template,
    make_workload,
)

IMAGE = "registry.example.com/ticket-service:v1"
PIN = Remedy(type=RemedyType.PIN_IMAGE, container=NAME, image=IMAGE)
SCALE = Remedy(type=RemedyType.SCALE, replicas=8)
STORED = StoredStrategy(max_surge="25%", max_unavailable="25%")

UNDOING = make_rollback()
PINNING = make_rollback(remedy=PIN, to_revision=None)
SCALING = make_rollback(remedy=SCALE, to_revision=None)

BAD = make_deployment("v2")
RESTORED = make_deployment("v1", revision=3)
OTHER = make_deployment("v7")
PINNED = make_deployment(template=make_template("v5", images=(IMAGE,)))
HALF = replace(RESTORED, available=2)


def running(*steps, rollback=UNDOING, **status):
    new = RollbackStatus(steps=list(steps), **status)
    return rollback.model_copy(update={"status": new})


WAITING = running(make_step(StepName.UNDO, 10, 11), make_step(StepName.ROLLOUT_COMPLETE, 11))
RESTORING = running(strategy=STORED)
BEGUN = running(make_step(StepName.UNDO, 10).model_copy(update={"revision": 2}))
PIN_BEGUN = running(
    make_step(StepName.PIN_IMAGE, 10).model_copy(update={"revision": 2}), rollback=PINNING
)
"""Their patches were sent, and not answered."""

RESTARTED = replace(RESTORED, template=make_template("v1", digest="digest-v1-restarted"))
LATER, AGAIN = replace(BAD, revision=3), replace(BAD, revision=4)
"""Revision 2 is judged: another one is between it and revision 4."""
BAD_AGAIN = replace(BAD, template=make_template("v2", digest="digest-v2-restarted"))

LOOKS = {
    "undo: to do": (UNDOING, StepName.UNDO, BAD, Act),
    "undo: done, by us or somebody": (UNDOING, StepName.UNDO, RESTORED, Done),
    "undo: moved": (UNDOING, StepName.UNDO, OTHER, RollbackEnd),
    "undo: numbered only after it was judged": (UNDOING, StepName.UNDO, LATER, Act),
    "undo: replaced and rolled out once more": (UNDOING, StepName.UNDO, AGAIN, RollbackEnd),
    "pin: replaced and rolled out once more": (PINNING, StepName.PIN_IMAGE, AGAIN, RollbackEnd),
    "undo: begun and not done": (BEGUN, StepName.UNDO, replace(BAD, revision=2), Act),
    "pin: to do": (PINNING, StepName.PIN_IMAGE, BAD, Act),
    "pin: done": (PINNING, StepName.PIN_IMAGE, PINNED, Done),
    "pin: moved": (PINNING, StepName.PIN_IMAGE, OTHER, RollbackEnd),
    "pin: the container is gone": (
        PINNING,
        StepName.PIN_IMAGE,
        make_deployment(template=make_template("v7", containers=("other",))),
        RollbackEnd,
    ),
    "scale: to do": (SCALING, StepName.SCALE, BAD, Act),
    "scale: done": (SCALING, StepName.SCALE, replace(BAD, replicas=8), Done),
    "scale: more than wanted": (SCALING, StepName.SCALE, replace(BAD, replicas=9), Done),
    "scale: moved": (SCALING, StepName.SCALE, OTHER, RollbackEnd),
    "undo: done, and restarted since": (UNDOING, StepName.UNDO, RESTARTED, Done),
    "scale: to do on a release that was restarted": (SCALING, StepName.SCALE, BAD_AGAIN, Act),
    "rollout: of what was restored, restarted": (
        WAITING,
        StepName.ROLLOUT_COMPLETE,
        RESTARTED,
        Done,
    ),
    "verification goes on though what was restored was restarted": (
        UNDOING,
        StepName.VERIFY,
        RESTARTED,
        Wait,
    ),
    "verification ends where another release was rolled out": (
        UNDOING,
        StepName.VERIFY,
        OTHER,
        RollbackEnd,
    ),
    "rollout: going on": (WAITING, StepName.ROLLOUT_COMPLETE, HALF, Wait),
    "rollout: complete": (WAITING, StepName.ROLLOUT_COMPLETE, RESTORED, Done),
    "rollout: not observed yet": (
        WAITING,
        StepName.ROLLOUT_COMPLETE,
        replace(RESTORED, generation=2),
        Wait,
    ),
    "rollout: old pods still there": (
        WAITING,
        StepName.ROLLOUT_COMPLETE,
        replace(RESTORED, total=5),
        Wait,
    ),
    "rollout: moved": (WAITING, StepName.ROLLOUT_COMPLETE, OTHER, RollbackEnd),
    "rollout: of a pin": (PINNING, StepName.ROLLOUT_COMPLETE, PINNED, Done),
    "rollout: of a pin that moved": (PINNING, StepName.ROLLOUT_COMPLETE, OTHER, RollbackEnd),
    "rollout: of more replicas": (
        SCALING,
        StepName.ROLLOUT_COMPLETE,
        replace(BAD, replicas=8, updated=8, total=8, available=8),
        Done,
    ),
    "rollout: of more replicas that moved": (
        SCALING,
        StepName.ROLLOUT_COMPLETE,
        OTHER,
        RollbackEnd,
    ),
    "strategy: to restore": (
        RESTORING,
        StepName.RESTORE_STRATEGY,
        replace(RESTORED, max_surge="100%"),
        Act,
    ),
    "strategy: set by somebody since": (
        RESTORING,
        StepName.RESTORE_STRATEGY,
        replace(RESTORED, max_surge="1"),
        Done,
    ),
    "strategy: never changed": (UNDOING, StepName.RESTORE_STRATEGY, RESTORED, Done),
    "strategy: was 100 % before": (
        running(strategy=StoredStrategy(max_surge="100%", max_unavailable="0")),
        StepName.RESTORE_STRATEGY,
        replace(RESTORED, max_surge="100%"),
        Done,
    ),
    "verification is judged from counters": (UNDOING, StepName.VERIFY, RESTORED, Wait),
}


@pytest.mark.parametrize(("rollback", "step", "deployment", "expected"), LOOKS.values(), ids=LOOKS)
def test_look(rollback, step, deployment, expected) -> None:
    found = compare(rollback, step, deployment, at(20))
    assert isinstance(found, expected)
    if isinstance(found, RollbackEnd):
        assert (found.outcome, found.reason) == (Outcome.ABANDONED, Reason.TARGET_MOVED)
    if isinstance(found, Act):
        assert found.step is step


SCALED = running(
    make_step(StepName.SCALE, 10, 11), make_step(StepName.ROLLOUT_COMPLETE, 11), rollback=SCALING
)


@pytest.mark.parametrize(
    ("rollback", "step", "expected"),
    [
        (WAITING, StepName.ROLLOUT_COMPLETE, "revision 2 ({bad}) was rolled back. Then another "),
        (SCALED, StepName.ROLLOUT_COMPLETE, "the remedy Scale was applied to revision 2. Then "),
        (UNDOING, StepName.UNDO, "another client changed the pod template since it was evaluated"),
    ],
    ids=["undone", "scaled", "not begun"],
)
def test_the_end_by_another_release_states_what_was_done(rollback, step, expected) -> None:
    found = compare(rollback, step, replace(OTHER, replicas=8), at(20))
    assert isinstance(found, RollbackEnd)
    bad = ", ".join(rollback.spec.from_revision.images)
    assert found.message.startswith(expected.format(bad=bad))
    is_named = ", ".join(OTHER.template.images) in found.message
    assert is_named == (rollback is not UNDOING)


PAUSED = replace(BAD, paused=True)
STOPPED = {
    "an undo waits for a person's pause to be lifted": (BEGUN, StepName.UNDO, PAUSED, 609, Wait),
    "not for ever": (BEGUN, StepName.UNDO, PAUSED, 611, RollbackEnd),
    "a pin waits": (PIN_BEGUN, StepName.PIN_IMAGE, PAUSED, 609, Wait),
    "a scale waits": (SCALING, StepName.SCALE, PAUSED, 609, Wait),
    "a pause of our own is lifted": (
        BEGUN,
        StepName.UNDO,
        replace(PAUSED, is_held=True),
        611,
        Act,
    ),
    "what is done is done": (BEGUN, StepName.UNDO, replace(RESTORED, paused=True), 611, Done),
    "the bounds are put back all the same": (
        RESTORING,
        StepName.RESTORE_STRATEGY,
        replace(RESTORED, max_surge="100%", paused=True),
        611,
        Act,
    ),
}


@pytest.mark.parametrize(
    ("rollback", "step", "deployment", "now", "expected"), STOPPED.values(), ids=STOPPED
)
def test_a_persons_pause_is_respected(rollback, step, deployment, now, expected) -> None:
    found = compare(rollback, step, deployment, at(now))
    assert isinstance(found, expected)
    if isinstance(found, RollbackEnd):
        assert (found.outcome, found.reason) == (Outcome.ABANDONED, Reason.TARGET_PAUSED)


# -- acts whose answer was lost --------------------------------------------------------------------


def back(number: int, *older, annotated: bool = True):
    """The bad release runs as revision `number`: restarted, or just as it was judged."""
    digest = "digest-v2-restarted" if annotated else "digest-v2"
    template = make_template("v2", digest=digest)
    return make_workload(
        deployment=make_deployment("v2", template=template, revision=number),
        replica_sets=(make_replica_set(revision=number, template=template), *older),
    )


V1 = make_replica_set("v1")
V1_AGAIN = make_replica_set("v1", revision=3)
V3 = make_replica_set("v3")
LATE = {
    "restarted before the undo": (BEGUN, StepName.UNDO, back(3, V1), True),
    "replaced and put back before it": (
        BEGUN,
        StepName.UNDO,
        back(4, V3, V1, annotated=False),
        True,
    ),
    "undone, and put back": (BEGUN, StepName.UNDO, back(4, V1_AGAIN, annotated=False), False),
    "undone, and put back with an annotation": (BEGUN, StepName.UNDO, back(4, V1_AGAIN), False),
    "what was gone back to is not there any more": (BEGUN, StepName.UNDO, back(4), False),
    "nothing has happened": (BEGUN, StepName.UNDO, back(2, V1, annotated=False), False),
    "the controller has not looked yet": (BEGUN, StepName.UNDO, back(2, V1), False),
    "the undo was answered": (
        running(make_step(StepName.UNDO, 10, 11).model_copy(update={"revision": 2})),
        StepName.UNDO,
        back(3, V1),
        False,
    ),
    "the step has not begun": (UNDOING, StepName.UNDO, back(3, V1), False),
    "no act": (BEGUN, StepName.ROLLOUT_COMPLETE, back(3, V1), False),
    "put back with another in between, and not numbered yet": (
        running(make_step(StepName.UNDO, 10).model_copy(update={"revision": 3})),
        StepName.UNDO,
        replace(
            back(2, V1_AGAIN, annotated=False),
            deployment=back(3, annotated=False).deployment,
        ),
        True,
    ),
    "restarted before the pin": (PIN_BEGUN, StepName.PIN_IMAGE, back(3, V1), True),
    "pinned, and put back": (PIN_BEGUN, StepName.PIN_IMAGE, back(4, V1), False),
    "pinned, and the controller has not seen it put back": (
        PIN_BEGUN,
        StepName.PIN_IMAGE,
        replace(back(2, V1), deployment=back(3).deployment),
        False,
    ),
    "something new runs": (BEGUN, StepName.UNDO, make_workload("v3", ("v2", "v1")), False),
}


@pytest.mark.parametrize(("rollback", "step", "workload", "expected"), LATE.values(), ids=LATE)
def test_an_act_that_was_never_carried_out_is_told_from_one_that_was_reverted(
    rollback, step, workload, expected
) -> None:
    found = overtaken(rollback, step, workload)

    assert (found is not None) == expected
    if found is not None:
        assert (found.outcome, found.reason) == (Outcome.ABANDONED, Reason.TARGET_MOVED)
        runs = workload.deployment.revision
        assert f"of revision 2 was rolled out again as revision {runs} before" in found.message


@pytest.mark.parametrize(("now", "expected"), [(611, Wait), (612, RollbackEnd)])
def test_a_rollout_has_its_time(now, expected) -> None:
    found = compare(WAITING, StepName.ROLLOUT_COMPLETE, HALF, at(now))
    assert isinstance(found, expected)
    if isinstance(found, RollbackEnd):
        assert (found.outcome, found.reason) == (
            Outcome.NOT_RECOVERED,
            Reason.ROLLOUT_TIMED_OUT,
        )
        assert "2 of 4" in found.message


@pytest.mark.parametrize(
    ("rollback", "deployment", "expected"),
    [
        (UNDOING, RESTORED, False),
        (UNDOING, BAD, True),
        (PINNING, PINNED, False),
        (PINNING, BAD, True),
        (SCALING, BAD, False),
        (SCALING, OTHER, True),
    ],
)
def test_has_moved(rollback, deployment, expected) -> None:
    assert has_moved(rollback, deployment) is expected


@pytest.mark.parametrize(
    ("rollback", "expected"),
    [
        (UNDOING, StepName.UNDO),
        (running(make_step(StepName.UNDO, 10)), StepName.UNDO),
        (WAITING, StepName.ROLLOUT_COMPLETE),
        (
            running(
                make_step(StepName.UNDO, 10, 11),
                make_step(StepName.ROLLOUT_COMPLETE, 11, 20),
            ),
            StepName.VERIFY,
        ),
        (
            running(
                make_step(StepName.UNDO, 10, 11),
                make_step(StepName.ROLLOUT_COMPLETE, 11, 20),
                rollback=make_rollback(pace=Pace.EXPRESS),
            ),
            StepName.RESTORE_STRATEGY,
        ),
        (
            running(
                make_step(StepName.UNDO, 10, 11),
                make_step(StepName.ROLLOUT_COMPLETE, 11, 20),
                make_step(StepName.VERIFY, 20, 40),
            ),
            None,
        ),
        (make_rollback(mode=Mode.OBSERVE), None),
    ],
    ids=["first", "open", "second", "third", "express", "none is left", "observed only"],
)
def test_next_step(rollback, expected) -> None:
    assert next_step(rollback) is expected


@pytest.mark.parametrize(
    ("rollback", "step"), [(BEGUN, StepName.UNDO), (PIN_BEGUN, StepName.PIN_IMAGE)]
)
def test_what_came_back_while_no_answer_came_is_told_as_reverted(rollback, step) -> None:
    found = compare(rollback, step, replace(BAD, revision=4), at(20))

    assert isinstance(found, RollbackEnd)
    assert (found.outcome, found.reason) == (Outcome.FAILED, Reason.UNDO_REVERTED)
