"""Which rollout is held, why it is let go, and what is never held."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from rollback_operator.api.reasons import Reason
from rollback_operator.api.v1alpha1 import (
    HOLD_FINALIZER,
    Health,
    Hold,
    HoldReason,
    Mode,
    Outcome,
    Response,
    Rollback,
    RollbackPolicy,
    SafetySpec,
    Severity,
    StageSpec,
    StepName,
    VerdictValue,
)
from rollback_operator.decide import holds
from rollback_operator.decide.decide import Decision
from rollback_operator.decide.hold_end import HoldEnd, HoldFacts
from rollback_operator.decide.holds import wanted_hold
from rollback_operator.model.context import Refusal
from rollback_operator.model.controllers import Owner
from rollback_operator.model.workload import Workload
from tests.builders import (
    at,
    make_case,
    make_deployment,
    make_ended,
    make_entry,
    make_hold,
    make_pods,
    make_policy,
    make_ref,
    make_rollback,
    make_scope,
    make_step,
    make_verdict,
    make_watching,
    make_workload,
)

CONTROL = frozenset({"hashv1"})
STAGED = {"stage": StageSpec(max_seconds=120)}
WEAK = make_scope(odds=200.0)
SUSPECT = Decision(make_verdict(WEAK, value=VerdictValue.SUSPECT, message="it fails more"))
UNSURE = Decision(make_watching())
UNMET = Decision(
    make_verdict(replace(WEAK, unmet="5 of 20 requests"), value=VerdictValue.NO_VERDICT)
)
LESS = Decision(make_verdict(make_scope(odds=30.0), value=VerdictValue.WATCHING))
NO_DATA = Decision(replace(make_watching(value=VerdictValue.NO_VERDICT), scopes=()))
UNDONE = Decision(make_verdict(), Severity.P1, Response.ROLLBACK, plan=make_rollback().spec)
REFUSED = Decision(
    make_verdict(),
    Severity.P1,
    Response.ROLLBACK,
    refusal=Refusal(Reason.BUDGET_EXHAUSTED, "three today"),
)
TOLD_ONLY = Decision(make_verdict(), Severity.P4, Response.REPORT)


def rolling(**changes: Any) -> Workload:
    """Half rolled out: two new pods, three old ones."""
    fields = {"updated": 2, "total": 5, "available": 5} | changes
    pods = (*make_pods(2), *make_pods(3, "v1"))
    return make_workload(deployment=make_deployment(**fields), pods=pods)


HELD = rolling(paused=True, is_held=True)


def with_hold(hold: Hold | None, **spec: Any) -> RollbackPolicy:
    policy = make_policy(**spec)
    return policy.model_copy(update={"status": policy.status.model_copy(update={"hold": hold})})


def wanted(
    decision: Decision | None = SUSPECT,
    hold: Hold | None = None,
    workload: Workload | None = None,
    **facts: Any,
) -> Hold | None:
    """What is wanted at 30 s; `facts` are the policy's spec, or of the case, or of the look."""
    case = {name: facts.pop(name) for name in ("ledger", "rollbacks") if name in facts}
    now: datetime = facts.pop("now", at(30))
    control, proof = facts.pop("control", CONTROL), facts.pop("proof", 0.0)
    policy = with_hold(hold, **facts)
    workload = workload or (rolling() if hold is None else HELD)
    return wanted_hold(
        HoldFacts(make_case(policy, workload, **case), control, decision, proof), now
    )


# -- what begins -----------------------------------------------------------------------------------


@pytest.mark.parametrize("decision", [SUSPECT, UNMET, REFUSED], ids=["suspect", "odds", "refused"])
def test_a_suspicion_pauses_the_rollout(decision: Decision) -> None:
    found = wanted(decision)

    assert found is not None
    assert (found.reason, found.is_open, found.paused_time) == (HoldReason.SUSPICION, True, None)
    assert found.message == decision.verdict.message
    assert (found.deployment_uid, found.digest) == ("deployment-uid", "digest-v2")
    assert (found.since_time, found.until_time) == (at(30), at(330))


def test_a_staged_rollout_is_held_before_it_is_judged() -> None:
    found = wanted(None, **STAGED)

    assert found is not None
    assert (found.reason, found.until_time) == (HoldReason.STAGE, at(150))


NEVER: dict[str, dict[str, Any]] = {
    "nothing speaks against it": {"decision": UNSURE},
    "odds below a suspicion": {"decision": LESS},
    "it is undone": {"decision": UNDONE},
    "a little worse only": {"proof": 100.0},
    "... while the next new pod starts": {
        "proof": 100.0,
        "workload": replace(
            rolling(), pods=(*make_pods(1), *make_pods(1, ready=False), *make_pods(3, "v1"))
        ),
    },
    "the matrix requires no rollback": {"decision": TOLD_ONLY},
    "turned off": {"safety": SafetySpec(pause_on_suspicion=False)},
    "not judged": {"decision": None},
    "no old pod that it is compared with": {"control": frozenset({"hashv0"})},
}
NEITHER: dict[str, dict[str, Any]] = {
    "mode Observe": {"mode": Mode.OBSERVE},
    "suspended": {"suspend": True},
    "rolled out": {"workload": make_workload()},
    "no old pod left": {
        "workload": replace(rolling(), pods=(*make_pods(2), *make_pods(3, "v1", ready=False)))
    },
    "old pods that are going": {
        "workload": replace(rolling(), pods=(*make_pods(2), *make_pods(3, "v1", terminating=True)))
    },
    "a person's pause": {"workload": rolling(paused=True)},
    "somebody else steers it": {"workload": rolling(owner=Owner("Argo CD", "label", "in Git"))},
    "known good": {"ledger": (make_entry("v2"), make_entry("v1"))},
    "assumed good": {"ledger": (make_entry("v2", Health.ASSUMED), make_entry("v1"))},
    "a rollback is going on": {"rollbacks": (make_rollback(),)},
    "it was gone back to": {
        "rollbacks": (
            make_rollback(
                status=make_ended(finished=20),
                from_revision=make_ref("v3"),
                to_revision=make_ref("v2"),
            ),
        )
    },
}


@pytest.mark.parametrize("facts", [*NEVER.values(), *NEITHER.values()], ids=[*NEVER, *NEITHER])
def test_is_not_held_on_suspicion(facts: dict[str, Any]) -> None:
    assert wanted(**facts) is None


@pytest.mark.parametrize("facts", NEITHER.values(), ids=NEITHER)
def test_is_not_staged(facts: dict[str, Any]) -> None:
    assert wanted(**{"decision": None, **STAGED, **facts}) is None


@pytest.mark.parametrize(
    "changes", [{"updated": 0}, {"generation": 2}], ids=["no new pod", "not observed"]
)
def test_a_stage_waits_for_the_first_new_pod(changes: dict[str, Any]) -> None:
    assert wanted(None, workload=rolling(**changes), **STAGED) is None


# -- what goes on, and what ends -------------------------------------------------------------------

SUSPICION = make_hold()
STAGE = make_hold(HoldReason.STAGE)
V3 = rolling(paused=True, is_held=True, template=make_deployment("v3").template)

GOES_ON: dict[str, tuple[Decision | None, Hold, dict[str, Any]]] = {
    "suspected": (SUSPECT, SUSPICION, {}),
    "odds between": (LESS, SUSPICION, {}),
    "no data": (NO_DATA, SUSPICION, {}),
    "not judged yet": (None, SUSPICION, {"now": at(1000)}),
    "bad, and refused": (REFUSED, SUSPICION, {}),
    "bad, and undone next": (UNDONE, SUSPICION, {}),
    "a rollback is going on": (UNSURE, SUSPICION, {"rollbacks": (make_rollback(),)}),
    "not paused yet": (
        SUSPECT,
        make_hold(paused_time=None),
        {"workload": rolling()},
    ),
    "staged, not proved": (UNSURE, STAGE, {"proof": 99.0}),
    "staged, suspected": (SUSPECT, STAGE, {"proof": 1e6}),
    "suspected, nearly proved": (SUSPECT, SUSPICION, {"proof": 99.0}),
    "bad and refused, whatever is proved": (REFUSED, SUSPICION, {"proof": 1e6}),
    "staged, no data": (NO_DATA, STAGE, {}),
    "staged, a new pod is not ready": (
        UNSURE,
        STAGE,
        {
            "proof": 1e6,
            "workload": replace(
                HELD, pods=(*make_pods(1), *make_pods(1, ready=False), *make_pods(3, "v1"))
            ),
        },
    ),
}


@pytest.mark.parametrize("row", GOES_ON.values(), ids=GOES_ON)
def test_a_hold_goes_on(row: tuple[Decision | None, Hold, dict[str, Any]]) -> None:
    decision, hold, facts = row

    assert wanted(decision, hold, **{**STAGED, **facts}) == hold


OFF = SafetySpec(pause_on_suspicion=False)
ENDS: dict[str, tuple[Decision | None, Hold, dict[str, Any], Reason]] = {
    "faded": (UNSURE, SUSPICION, {}, Reason.SUSPICION_FADED),
    "a little worse only": (SUSPECT, SUSPICION, {"proof": 100.0}, Reason.SUSPICION_FADED),
    "its errors have ceased": (UNMET, SUSPICION, {"proof": 100.0}, Reason.SUSPICION_FADED),
    "proved": (UNSURE, STAGE, {"proof": 100.0}, Reason.PROVED_NO_WORSE),
    "bad, and only told": (TOLD_ONLY, SUSPICION, {}, Reason.NO_ROLLBACK_WANTED),
    "staged, bad, and only told": (TOLD_ONLY, STAGE, {}, Reason.NO_ROLLBACK_WANTED),
    "held for long enough": (SUSPECT, SUSPICION, {"now": at(320)}, Reason.HOLD_TIMED_OUT),
    "held for long enough without data": (
        NO_DATA,
        SUSPICION,
        {"now": at(320)},
        Reason.HOLD_TIMED_OUT,
    ),
    "held for long enough, whatever is done": (
        UNDONE,
        SUSPICION,
        {"now": at(320)},
        Reason.HOLD_TIMED_OUT,
    ),
    "the limit was lowered": (
        SUSPECT,
        SUSPICION,
        {"safety": SafetySpec(max_pause_seconds=10)},
        Reason.HOLD_TIMED_OUT,
    ),
    "staged for long enough": (UNSURE, STAGE, {"now": at(140)}, Reason.HOLD_TIMED_OUT),
    "staged for long enough, suspected, and no pause wanted": (
        SUSPECT,
        STAGE,
        {"now": at(140), "safety": OFF},
        Reason.HOLD_TIMED_OUT,
    ),
    "another release": (None, SUSPICION, {"workload": V3}, Reason.RELEASE_CHANGED),
    "taken back": (
        None,
        SUSPICION,
        {"workload": V3, "rollbacks": (make_rollback(),)},
        Reason.RELEASE_TAKEN_BACK,
    ),
    "another Deployment": (
        None,
        SUSPICION,
        {"workload": rolling(uid="another")},
        Reason.TARGET_CHANGED,
    ),
    "mode Observe": (None, SUSPICION, {"mode": Mode.OBSERVE}, Reason.HOLDS_TURNED_OFF),
    "turned off": (None, SUSPICION, {"safety": OFF}, Reason.HOLDS_TURNED_OFF),
    "staged, turned off": (None, STAGE, {"stage": StageSpec()}, Reason.HOLDS_TURNED_OFF),
    "a person lifted it": (None, SUSPICION, {"workload": rolling()}, Reason.PAUSE_LIFTED),
    "a person paused as well": (
        None,
        SUSPICION,
        {"workload": rolling(paused=True)},
        Reason.TARGET_PAUSED,
    ),
    "a person paused first": (
        None,
        make_hold(paused_time=None),
        {"workload": rolling(paused=True)},
        Reason.TARGET_PAUSED,
    ),
    "no old pod left": (
        SUSPECT,
        SUSPICION,
        {"workload": replace(HELD, pods=make_pods(2))},
        Reason.NO_OLD_POD_LEFT,
    ),
}


@pytest.mark.parametrize("row", ENDS.values(), ids=ENDS)
def test_a_hold_ends(row: tuple[Decision | None, Hold, dict[str, Any], Reason]) -> None:
    decision, hold, facts, reason = row

    found = wanted(decision, hold, **{**STAGED, **facts})

    assert found is not None
    assert (found.is_open, found.release_reason) == (False, reason)
    assert found.released_time == facts.get("now", at(30))
    assert found.release_message


def test_what_is_proved_is_told_with_its_margin() -> None:
    found = wanted(SUSPECT, SUSPICION, proof=250.0)

    assert found is not None
    assert "less than 5 % of all requests more than the old pods, odds 250 : 1" in str(
        found.release_message
    )


def test_the_proof_is_asked_for_where_it_bears_on_a_hold() -> None:
    over = ended(HoldReason.STAGE, Reason.PROVED_NO_WORSE, 10)

    assert holds.needs_proof(with_hold(STAGE), UNSURE)
    assert holds.needs_proof(with_hold(None), SUSPECT)
    assert not holds.needs_proof(with_hold(over), UNSURE)


def test_what_is_suspected_at_the_end_of_a_stage_stays_paused() -> None:
    found = wanted(SUSPECT, STAGE, now=at(140), **STAGED)

    assert found is not None
    assert (found.reason, found.is_open) == (HoldReason.SUSPICION, True)
    assert found.paused_time == STAGE.paused_time
    assert (found.since_time, found.until_time) == (at(140), at(440))


# -- what is known of this release's earlier holds -------------------------------------------------


def ended(reason: HoldReason, why: Reason, seconds: float) -> Hold:
    held = make_hold(reason)
    return held.model_copy(
        update={
            "released_time": held.since_time + timedelta(seconds=seconds),
            "release_reason": why,
        }
    )


def test_a_suspicion_that_returns_has_only_the_time_that_is_left() -> None:
    before = ended(HoldReason.SUSPICION, Reason.SUSPICION_FADED, 100)

    found = wanted(SUSPECT, before, rolling(), now=at(200))

    assert found is not None
    assert (found.earlier_seconds, found.until_time) == (100, at(400))
    again = holds.let_go(found, HoldEnd(Reason.SUSPICION_FADED, "faded"), at(390))
    third = wanted(SUSPECT, again, rolling(), now=at(500))
    assert third is not None
    assert (third.earlier_seconds, third.until_time) == (290, at(510))


NOT_AGAIN: Sequence[tuple[HoldReason, Reason, float]] = (
    (HoldReason.SUSPICION, Reason.HOLD_TIMED_OUT, 300),
    (HoldReason.SUSPICION, Reason.PAUSE_LIFTED, 5),
    (HoldReason.STAGE, Reason.PAUSE_LIFTED, 5),
    (HoldReason.STAGE, Reason.TARGET_PAUSED, 5),
    (HoldReason.STAGE, Reason.RELEASED_BY_COMMAND, 5),
)


@pytest.mark.parametrize(("reason", "why", "seconds"), NOT_AGAIN)
def test_a_release_is_not_held_again(reason: HoldReason, why: Reason, seconds: float) -> None:
    before = ended(reason, why, seconds)

    assert wanted(SUSPECT, before, rolling(), now=at(400), **STAGED) == before


def test_a_release_is_staged_once_and_may_be_suspected_afterwards() -> None:
    before = ended(HoldReason.STAGE, Reason.PROVED_NO_WORSE, 10)

    assert wanted(UNSURE, before, rolling(), **STAGED) == before
    found = wanted(SUSPECT, before, rolling(), **STAGED)
    assert found is not None
    assert (found.reason, found.earlier_seconds) == (HoldReason.SUSPICION, 0)


def test_another_release_begins_anew() -> None:
    before = ended(HoldReason.SUSPICION, Reason.PAUSE_LIFTED, 300).model_copy(
        update={"digest": "digest-v1"}
    )

    found = wanted(None, before, rolling(), **STAGED)

    assert found is not None
    assert (found.reason, found.is_open) == (HoldReason.STAGE, True)


CAME_BACK: Sequence[tuple[Reason, list[Rollback]]] = (
    (Reason.RELEASE_CHANGED, []),
    (Reason.RELEASE_TAKEN_BACK, [make_rollback(status=make_ended(finished=40))]),
    (Reason.PROVED_NO_WORSE, [make_rollback(status=make_ended(finished=40))]),
    (Reason.PROVED_NO_WORSE, [make_rollback(status=make_ended(Outcome.UNKNOWN, 40))]),
)


@pytest.mark.parametrize(("why", "rollbacks"), CAME_BACK)
def test_a_release_that_comes_back_is_staged_again(why: Reason, rollbacks: list[Rollback]) -> None:
    before = ended(HoldReason.STAGE, why, 10)

    found = wanted(None, before, rolling(), rollbacks=rollbacks, now=at(4000), **STAGED)

    assert found is not None
    assert (found.reason, found.since_time) == (HoldReason.STAGE, at(4000))


def test_a_rollback_that_was_given_up_after_its_act_makes_a_new_rollout() -> None:
    before = ended(HoldReason.STAGE, Reason.PROVED_NO_WORSE, 10)
    steps = [make_step(StepName.UNDO, 20, 21), make_step(StepName.ROLLOUT_COMPLETE, 22, 40)]
    given_up = make_ended(Outcome.ABANDONED, 40).model_copy(update={"steps": steps})

    found = wanted(
        None, before, rolling(), rollbacks=[make_rollback(status=given_up)], now=at(4000), **STAGED
    )

    assert found is not None
    assert found.since_time == at(4000)


STILL_THERE: Sequence[tuple[Outcome, float]] = (
    (Outcome.ABANDONED, 40),
    (Outcome.FAILED, 40),
    (Outcome.OBSERVED, 40),
    (Outcome.VERIFIED, 15),
)


@pytest.mark.parametrize(("outcome", "finished"), STILL_THERE)
def test_a_rollback_that_led_nowhere_is_no_new_rollout(outcome: Outcome, finished: float) -> None:
    before = ended(HoldReason.STAGE, Reason.PROVED_NO_WORSE, 10)
    rollbacks = [make_rollback(status=make_ended(outcome, finished))]

    assert wanted(UNSURE, before, rolling(), rollbacks=rollbacks, now=at(4000), **STAGED) == before


# -- what others ask -------------------------------------------------------------------------------


def test_what_there_is_to_look_after() -> None:
    guarded = make_policy()
    metadata = guarded.metadata.model_copy(update={"finalizers": [HOLD_FINALIZER]})
    free, held = make_deployment(), make_deployment(paused=True, is_held=True)

    assert not holds.is_held(with_hold(None), free)
    assert not holds.is_held(with_hold(None), make_deployment(paused=True))
    assert holds.is_held(with_hold(None), held)
    assert holds.is_held(with_hold(SUSPICION), free)
    assert holds.is_held(guarded.model_copy(update={"metadata": metadata}), free)


def test_when_it_is_let_go_at_the_latest_and_since_when_it_goes_on() -> None:
    over = ended(HoldReason.SUSPICION, Reason.SUSPICION_FADED, 20)

    assert holds.limit(with_hold(SUSPICION)) == at(320).timestamp()
    assert holds.limit(with_hold(over)) is None
    assert holds.resumed(with_hold(over), "digest-v2") == at(40).timestamp()
    assert holds.resumed(with_hold(over), "digest-v3") is None
    assert holds.resumed(with_hold(SUSPICION), "digest-v2") is None
    assert holds.resumed(with_hold(None), "digest-v2") is None
