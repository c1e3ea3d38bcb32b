"""What keeps the next rollback from being done outlasts the records of those before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from rollback_operator.api.policy_status import MOST_RECENT
from rollback_operator.api.reasons import Reason
from rollback_operator.api.v1alpha1 import (
    MatrixSeverity,
    Outcome,
    PolicyRef,
    Remedy,
    Rollback,
    RollbackPolicy,
    RollbackPolicyStatus,
    RollbackStatus,
    RollbackTarget,
    SafetySpec,
    StepName,
)
from rollback_operator.decide.evaluate import case_of
from rollback_operator.decide.guards import refusal
from rollback_operator.model.context import Case
from rollback_operator.model.workload import FlagState, Workload
from rollback_operator.releases import records
from rollback_operator.remedies import flags, rollback_status
from rollback_operator.remedies.attempts import rollback_name
from rollback_operator.remedies.progress import RollbackEnd
from rollback_operator.report import status
from tests.builders import (
    DISABLE,
    NAME,
    READ,
    at,
    make_case,
    make_ended,
    make_policy,
    make_ref,
    make_replica_set,
    make_rollback,
    make_step,
    make_template,
    make_trigger_record,
    make_workload,
)

READY = status.ready(Reason.WATCHING_TARGET)
LATER = 100
IMAGE = make_template("v1").images[0]
PIN = Remedy(type="PinImage", container="ticket-service", image=IMAGE)


def ended(outcome: Outcome = Outcome.VERIFIED, **spec: Any) -> Rollback:
    return make_rollback("r-1", make_ended(outcome), **spec)


def remembering(
    policy: RollbackPolicy, rollbacks: Sequence[Rollback], workload: Workload, seconds: float = 70
) -> RollbackPolicy:
    """The policy as a pass has left it that has seen the Rollbacks."""
    seen = status.StatusInputs(READY, workload, own=rollbacks, safety=policy.spec.safety)
    told = status.next_status(policy.status, seen, 1, at(seconds))
    return policy.model_copy(update={"status": told})


def asked(case: Case, severity: MatrixSeverity = MatrixSeverity.P1, seconds: float = LATER) -> str:
    found = refusal(case, severity, at(seconds))
    return str(found.reason) if found is not None else ""


def closed(outcome: Outcome) -> Rollback:
    """A rollback of the very revision that runs, under the name that it gets."""
    made = ended(outcome)
    name = rollback_name(make_case(workload=make_workload("v2")))
    return made.model_copy(update={"metadata": made.metadata.model_copy(update={"name": name})})


def pinned() -> tuple[Rollback, Workload]:
    step = make_step(StepName.PIN_IMAGE, 20, 21).model_copy(update={"revision": 3})
    done = make_ended().model_copy(update={"steps": [step]})
    from_v3 = {"from_revision": make_ref("v3"), "to_revision": None}
    template = make_template("v3", digest="pinned", release="pinned", images=(IMAGE,))
    there = make_workload("v3")
    made = replace(make_replica_set("v3"), name="pinned", revision=4, template=template)
    deployment = replace(there.deployment, template=template, revision=4)
    workload = replace(there, deployment=deployment, replica_sets=(made, *there.replica_sets))
    return make_rollback("pin", done, remedy=PIN, **from_v3), workload


def left(reason: Reason, seconds: float | None = 25) -> Rollback:
    """An undo that had begun, was done after so many seconds, and was given up later; None: open.

    The end closes the step that is open with its own time.
    """
    undo = make_step(StepName.UNDO, 20, seconds)
    steps = [undo, make_step(StepName.ROLLOUT_COMPLETE, 26)] if seconds is not None else [undo]
    given_up = RollbackEnd(Outcome.ABANDONED, reason, "given up")
    acted = make_rollback("r-1", RollbackStatus(steps=steps))
    return make_rollback("r-1", rollback_status.ended(acted, given_up, at(60)))


GUARDED = {
    **{
        f"what was taken back has come back, {why}": (
            left(reason, seconds),
            make_workload("v2"),
            Reason.COOLDOWN_ACTIVE,
        )
        for why, reason, seconds in (
            ("another release replaced what it was taken back to", Reason.TARGET_MOVED, 25),
            ("the Deployment was deleted before it was verified", Reason.TARGET_DELETED, 25),
            ("the Deployment was deleted before an answer came", Reason.TARGET_DELETED, None),
        )
    },
    "the day's budget is spent by what was given up after its act": (
        left(Reason.TARGET_MOVED),
        make_workload("v3"),
        Reason.BUDGET_EXHAUSTED,
    ),
    "what was restored is rolled back": (ended(), make_workload("v1", ()), Reason.IS_A_ROLLBACK),
    "what a pin has led to is rolled back": (*pinned(), Reason.IS_A_ROLLBACK),
    "what was taken back has come back": (ended(), make_workload("v2"), Reason.COOLDOWN_ACTIVE),
    "a person has rejected it": (
        ended(Outcome.REJECTED),
        make_workload("v2"),
        Reason.REJECTED_BY_PERSON,
    ),
    "nobody has answered": (
        closed(Outcome.ABANDONED),
        make_workload("v2"),
        Reason.ALREADY_ROLLED_BACK,
    ),
    "the day's budget is spent": (ended(), make_workload("v3"), Reason.BUDGET_EXHAUSTED),
}
POLICY = make_policy(safety=SafetySpec(max_rollbacks_per_day=1))


@pytest.mark.parametrize(("rollback", "workload", "reason"), GUARDED.values(), ids=list(GUARDED))
def test_a_guard_outlasts_the_record(
    rollback: Rollback, workload: Workload, reason: Reason
) -> None:
    policy = remembering(POLICY, [rollback], workload)
    assert asked(case_of(policy, workload, [rollback], at(LATER))) == reason, "it is on record"
    assert asked(case_of(policy, workload, [], at(LATER))) == reason, "it is gone"
    again = remembering(policy, [], workload, 80)
    assert asked(case_of(again, workload, [], at(LATER))) == reason, "it is gone for long"
    assert asked(case_of(POLICY, workload, [rollback], at(LATER))) == reason, "the status is lost"


@pytest.mark.parametrize(
    "kind",
    [
        one
        for one in GUARDED
        if one not in ("what a pin has led to is rolled back", "nobody has answered")
    ],
)
def test_a_deployment_that_is_made_anew_does_not_free_it(kind: str) -> None:
    rollback, workload, reason = GUARDED[kind]
    anew = replace(workload, deployment=replace(workload.deployment, uid="uid-anew"))
    assert asked(case_of(POLICY, anew, [rollback], at(LATER))) == reason, "it is on record"
    policy = remembering(POLICY, [rollback], anew)
    assert asked(case_of(policy, anew, [], at(LATER))) == reason, "it is gone"


def test_a_policy_that_is_made_anew_remembers_what_the_one_before_did() -> None:
    before = ended(policy_ref=PolicyRef(name=NAME, uid="uid-before"))
    policy = remembering(POLICY, [before], make_workload("v3"))
    case = case_of(policy, make_workload("v3"), [], at(LATER))
    assert asked(case) == Reason.BUDGET_EXHAUSTED


def test_a_policy_under_another_name_has_no_budget_of_its_own_on_its_deployment() -> None:
    policy = make_policy(safety=SafetySpec(max_rollbacks_per_day=1))
    before = ended(policy_ref=PolicyRef(name="before", uid="uid-before"))
    workload = make_workload("v3")
    assert asked(case_of(policy, workload, [before], at(LATER))) == Reason.BUDGET_EXHAUSTED


@pytest.mark.parametrize(
    ("version", "reason"), [("v1", ""), ("v2", ""), ("v3", Reason.BUDGET_EXHAUSTED)]
)
def test_another_target_has_no_budget_of_its_own_but_its_own_releases(
    version: str, reason: str
) -> None:
    most = 1 if version == "v3" else 3
    policy = make_policy(safety=SafetySpec(max_rollbacks_per_day=most))
    elsewhere = ended(target_ref=RollbackTarget(name="worker", uid="uid-worker"))
    workload = make_workload(version)
    assert asked(case_of(policy, workload, [elsewhere], at(LATER))) == reason
    policy = remembering(policy, [elsewhere], workload)
    assert asked(case_of(policy, workload, [], at(LATER))) == reason


@pytest.mark.parametrize("reason", [Reason.TARGET_MOVED, Reason.TARGET_PAUSED])
def test_what_was_given_up_before_its_act_takes_nothing_back(reason: Reason) -> None:
    workload = make_workload("v2")
    policy = remembering(POLICY, [left(reason, None)], workload)
    assert asked(case_of(policy, workload, [], at(LATER))) == ""
    assert asked(case_of(POLICY, workload, [left(reason, None)], at(LATER))) == ""


def test_what_was_gone_back_to_is_known_however_the_rollback_ended() -> None:
    made = left(Reason.TARGET_DELETED)
    policy = remembering(POLICY, [made], make_workload("v3"))
    assert records.restored(case_of(policy, make_workload("v3"), [], at(LATER))) == {"release-v1"}


def test_what_was_rejected_is_done_once_it_is_worse() -> None:
    workload = make_workload("v2")
    policy = remembering(POLICY, [ended(Outcome.REJECTED, severity="P2")], workload)
    case = case_of(policy, workload, [], at(LATER))
    assert asked(case, MatrixSeverity.P2) == Reason.REJECTED_BY_PERSON
    assert asked(case, MatrixSeverity.P1) == ""


def test_what_was_blocked_may_be_tried_again_without_its_record() -> None:
    workload = make_workload("v2")
    policy = remembering(POLICY, [closed(Outcome.BLOCKED)], workload)
    assert asked(case_of(policy, workload, [], at(LATER))) == ""


@pytest.mark.parametrize(("version", "seconds"), [("v1", 3661), ("v2", 3661), ("v3", 86_411)])
def test_a_guard_ends_with_its_time(version: str, seconds: float) -> None:
    workload = make_workload(version, () if version == "v1" else ("v1",))
    policy = make_policy(safety=SafetySpec(max_rollbacks_per_day=1 if version == "v3" else 3))
    policy = remembering(policy, [ended()], workload)
    assert asked(case_of(policy, workload, [], at(seconds)), seconds=seconds) == ""
    assert remembering(policy, [], workload, 90_000).status.recent_rollbacks == []


def test_what_was_asked_for_by_hand_counts_for_no_budget() -> None:
    by_hand = ended().model_copy(update={"status": _by_hand(ended())})
    policy = remembering(POLICY, [by_hand], make_workload("v3"))
    assert asked(case_of(policy, make_workload("v3"), [], at(LATER))) == ""
    case = case_of(policy, make_workload("v2"), [], at(LATER))
    assert asked(case) == Reason.COOLDOWN_ACTIVE


def _by_hand(rollback: Rollback) -> RollbackStatus:
    return rollback.status.model_copy(update={"plan": rollback.spec.plan})


def test_a_time_to_come_is_taken_for_that_of_the_look() -> None:
    workload = make_workload("v2")
    policy = remembering(POLICY, [ended()], workload)
    (known,) = policy.status.recent_rollbacks
    forged = known.model_copy(update={"decided_time": at(1e8), "finished_time": at(1e8)})
    told = RollbackPolicyStatus(recent_rollbacks=[forged])
    policy = remembering(policy.model_copy(update={"status": told}), [], workload, 80)
    (kept,) = policy.status.recent_rollbacks
    assert (kept.decided_time, kept.finished_time) == (at(80), at(80))


def test_a_flag_that_was_tried_is_no_cure_without_its_record() -> None:
    flag = DISABLE.flag
    assert flag is not None
    tried = ended(Outcome.NOT_RECOVERED, remedy=DISABLE, to_revision=None)
    current = replace(make_replica_set("v2"), reads=(READ,))
    workload = make_workload("v2")
    workload = replace(workload, replica_sets=(current, *workload.replica_sets[1:]))
    state = FlagState(uid="config-map-uid", value="true")

    def unfit(policy: RollbackPolicy, rollbacks: Sequence[Rollback]) -> str:
        case = case_of(policy, workload, rollbacks, at(LATER))
        return flags.unfit(replace(case, flags={flag.key: state}), flag, at(LATER))

    policy = remembering(POLICY, [tried], workload)
    assert unfit(POLICY, []) == ""
    assert "tried it" in unfit(policy, [tried])
    assert "tried it" in unfit(policy, [])


def test_what_was_gone_back_to_is_known_without_the_record() -> None:
    step = make_step(StepName.UNDO, 20, 21)
    done = make_ended().model_copy(update={"steps": [step]})
    made = make_rollback("r-1", done)
    policy = remembering(POLICY, [made], make_workload("v3"))
    known = {"release-v1"}
    assert records.restored(case_of(policy, make_workload("v3"), [made], at(LATER))) == known
    assert records.restored(case_of(policy, make_workload("v3"), [], at(LATER))) == known


def test_what_is_remembered_is_bounded_and_the_newest_stays() -> None:
    made = [
        make_rollback(
            f"r-{one}",
            make_ended(finished=one + 1),
            from_revision=make_ref(f"v{one + 10}"),
            trigger=make_trigger_record(decided_time=at(one)),
        )
        for one in range(MOST_RECENT + 20)
    ]
    policy = make_policy(safety=SafetySpec(max_rollbacks_per_day=100))
    kept = remembering(policy, made, make_workload(), 200).status.recent_rollbacks
    assert len(kept) == MOST_RECENT
    assert kept[0].name == f"r-{MOST_RECENT + 19}"


def open_at(*steps: StepName, **spec: Any) -> Rollback:
    """A rollback that is at the last of these steps."""
    return make_rollback(
        "r-1", RollbackStatus(steps=[make_step(step, 20) for step in steps]), **spec
    )


@pytest.mark.parametrize("steps", [(), (StepName.AWAITING_APPROVAL,), (StepName.SUSPEND_OWNER,)])
@pytest.mark.parametrize("version", ["v2", "v3"])
def test_what_vanished_before_its_act_was_not_done(version: str, steps: Any) -> None:
    workload = make_workload(version)
    policy = remembering(POLICY, [open_at(*steps)], workload)
    assert asked(case_of(policy, workload, [], at(LATER))) == ""
    (gone,) = remembering(policy, [], workload, 80).status.recent_rollbacks
    assert (gone.outcome, gone.done) == (Outcome.ABANDONED, False)


@pytest.mark.parametrize(
    ("version", "reason"), [("v2", Reason.COOLDOWN_ACTIVE), ("v3", Reason.BUDGET_EXHAUSTED)]
)
def test_what_vanished_in_its_act_may_have_been_done(version: str, reason: Reason) -> None:
    workload = make_workload(version)
    policy = remembering(POLICY, [open_at(StepName.UNDO)], workload)
    policy = remembering(policy, [], workload, 80)
    assert asked(case_of(policy, workload, [], at(LATER))) == reason
    (gone,) = policy.status.recent_rollbacks
    assert (gone.outcome, gone.done) == (Outcome.UNKNOWN, True)


@pytest.mark.parametrize("step", [StepName.AWAITING_APPROVAL, StepName.UNDO])
def test_what_vanished_is_not_remembered_for_ever(step: StepName) -> None:
    policy = remembering(POLICY, [open_at(step)], make_workload("v3"))
    assert policy.status.recent_rollbacks != []
    assert remembering(policy, [], make_workload("v3"), 90_000).status.recent_rollbacks == []


@pytest.mark.parametrize(
    ("step", "outcome"),
    [(StepName.AWAITING_APPROVAL, Outcome.ABANDONED), (StepName.UNDO, Outcome.UNKNOWN)],
)
def test_the_last_rollback_has_an_outcome_though_it_vanished(
    step: StepName, outcome: Outcome
) -> None:
    policy = remembering(POLICY, [open_at(step)], make_workload("v3"))
    last = remembering(policy, [], make_workload("v3"), 80).status.last_rollback
    assert last is not None
    assert (last.name, last.outcome) == ("r-1", outcome)


def test_more_replicas_and_an_undo_of_one_release_are_both_remembered() -> None:
    more = Remedy(type="Scale", replicas=6)
    later = make_trigger_record(decided_time=at(40))
    scaled = make_rollback("more", make_ended(), remedy=more, to_revision=None, trigger=later)
    workload = make_workload("v2")
    policy = remembering(make_policy(), [ended(), scaled], workload)
    assert asked(case_of(policy, workload, [], at(LATER))) == Reason.COOLDOWN_ACTIVE
    assert asked(case_of(make_policy(), workload, [scaled], at(LATER))) == ""
    policy = remembering(make_policy(), [scaled], workload)
    assert asked(case_of(policy, workload, [], at(LATER))) == ""


def test_a_policy_that_cannot_be_read_learns_how_its_rollback_ended() -> None:
    policy = remembering(POLICY, [open_at(StepName.AWAITING_APPROVAL)], make_workload())
    given_up = ended(Outcome.REJECTED)
    seen = status.StatusInputs(READY, own=[given_up])
    (known,) = status.next_status(policy.status, seen, 1, at(80)).recent_rollbacks
    assert known.outcome is Outcome.REJECTED


def test_a_policy_that_cannot_be_read_forgets_nothing() -> None:
    policy = remembering(POLICY, [ended()], make_workload())
    told = status.next_status(policy.status, status.StatusInputs(READY), 1, at(1e6))
    assert told.recent_rollbacks == policy.status.recent_rollbacks != []
