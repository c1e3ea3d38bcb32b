"""Which words tell of a transition, and what they say is to be done next."""

from dataclasses import dataclass

from rollback_operator.api.reasons import ConditionType, EventReason, Reason
from rollback_operator.api.v1alpha1 import Outcome, Rollback, StepName
from rollback_operator.model.conditions import find
from rollback_operator.model.message import IncidentStage
from rollback_operator.remedies import flags
from rollback_operator.report.transitions import Transition, TransitionKind


@dataclass(frozen=True, slots=True)
class Words:
    """What a transition is called, and what follows from it."""

    subject: str
    status: str
    stage: IncidentStage
    next_steps: tuple[str, ...]


UNDO = "{undo}"
"""Stands for the command by which a person goes back."""
_CAUSE = "Find the cause in what the bad release changed"
_FIX = "Fix it and test the fix"
_STAGED = "Roll the fix out in stages: spec.stage.maxSeconds holds its first new pods for proof"
_BY_PERSON = "Decide by hand what runs: nothing more is done by itself"
_ENDS = {
    Outcome.VERIFIED: Words(
        "rolled back, service healthy",
        "ROLLBACK COMPLETED, verified",
        IncidentStage.RESOLVED,
        (_CAUSE, _FIX, _STAGED),
    ),
    Outcome.NOT_RECOVERED: Words(
        "ROLLBACK DID NOT HELP",
        "ROLLBACK COMPLETED, but the service has not recovered",
        IncidentStage.OPEN,
        (
            "Look at once at what both versions need: database, other services, nodes, traffic",
            "Decide by hand what runs: nothing rolls a rollback back",
            _CAUSE,
        ),
    ),
    Outcome.UNKNOWN: Words(
        "rolled back, success unproved",
        "ROLLBACK COMPLETED, not verified",
        IncidentStage.OPEN,
        ("See for yourself whether the service works: the metrics do not tell", _CAUSE, _FIX),
    ),
    Outcome.ABANDONED: Words(
        "rollback abandoned",
        "ROLLBACK ABANDONED",
        IncidentStage.OPEN,
        ("See whether what runs now is sound: it was not rolled back", _CAUSE),
    ),
    Outcome.FAILED: Words(
        "ROLLBACK FAILED",
        "ROLLBACK FAILED: the bad release may still run",
        IncidentStage.OPEN,
        ("Roll back by hand now, if the release is still bad", _BY_PERSON),
    ),
    Outcome.OBSERVED: Words(
        "would be rolled back",
        "OBSERVED ONLY: nothing was done (mode Observe)",
        IncidentStage.OPEN,
        ("Roll back by hand, if you agree", "Set spec.mode to Enforce to have it done"),
    ),
}
_ENDS |= {
    Outcome.BLOCKED: Words(
        "rollback BLOCKED by the checklist",
        "ROLLBACK BLOCKED: nothing was done, the bad release still runs",
        IncidentStage.OPEN,
        ("See which check failed: fix forward, or remove what blocks and roll back", _BY_PERSON),
    ),
    Outcome.REJECTED: Words(
        "rollback rejected by a person",
        "ROLLBACK REJECTED: nothing was done",
        IncidentStage.OPEN,
        ("Fix forward: the release that was found bad still runs", _BY_PERSON),
    ),
}
_FLAG_ENDS = {
    Outcome.VERIFIED: Words(
        "flag set, service healthy",
        "FLAG SET, verified: the release stays",
        IncidentStage.RESOLVED,
        ("Leave the flag as it is until the feature is fixed: nothing sets it back", _CAUSE, _FIX),
    ),
    Outcome.NOT_RECOVERED: Words(
        "flag set, DID NOT HELP",
        "FLAG SET, but the service has not recovered",
        IncidentStage.OPEN,
        ("Nothing yet: the policy's next remedy follows if the release is still bad", _CAUSE),
    ),
    Outcome.UNKNOWN: Words(
        "flag set, success unproved",
        "FLAG SET, not verified",
        IncidentStage.OPEN,
        ("See for yourself whether the service works: the metrics do not tell", _CAUSE, _FIX),
    ),
    Outcome.ABANDONED: Words(
        "setting of a flag abandoned",
        "ABANDONED: what was set so far stays set",
        IncidentStage.OPEN,
        ("See whether what runs now is sound: the release was not taken back", _CAUSE),
    ),
    Outcome.FAILED: Words(
        "SETTING OF A FLAG FAILED",
        "FLAG NOT SET, or set back: the release may still be bad",
        IncidentStage.OPEN,
        ("Nothing yet: the policy's next remedy follows if the release is still bad", _CAUSE),
    ),
}
REQUEST_REFUSED = Words(
    "rollback by hand REFUSED",
    "ROLLBACK REFUSED: nothing was done",
    IncidentStage.WAITING,
    (
        "Put right what it was refused for, then ask again: this request is not tried again",
        "See whether what runs now is sound: somebody wanted it taken back",
    ),
)
_REVERTED = Words(
    "rollback REVERTED by somebody else",
    "ROLLBACK REVERTED: the bad release runs again, and it is not taken back again",
    IncidentStage.OPEN,
    (
        "Revert the release at its source: whoever has brought it back applies it again",
        "Or have them suspended first: spec.safety.gitOps: Suspend",
        _BY_PERSON,
    ),
)
RELEASE = "Put Git right, then release who is suspended (see below): until then nothing is applied"
RAISED = "Have the autoscaler's bounds put back when the pods are not needed any more (see below)"
BY_ITSELF = "; after spec.safety.watchSeconds it is done by itself"
_OTHER_END = Words("rollback ended", "ROLLBACK ENDED", IncidentStage.OPEN, (_BY_PERSON, _CAUSE))
_KINDS = {
    TransitionKind.STARTED: Words(
        "rollback started",
        "ROLLBACK IN PROGRESS",
        IncidentStage.OPEN,
        (
            "Nothing: the next message tells how it ended",
            "Do not release anything else until then: a new release ends the rollback",
        ),
    ),
    TransitionKind.UPDATE: Words(
        "rollback still in progress",
        "ROLLBACK IN PROGRESS",
        IncidentStage.OPEN,
        ("See which step waits, and for what",),
    ),
    TransitionKind.APPROVAL_NEEDED: Words(
        "APPROVAL NEEDED for a rollback",
        "WAITING FOR APPROVAL: nothing is done until somebody decides",
        IncidentStage.WAITING,
        ("Look at the checklist and the plan", "Approve or reject"),
    ),
}
STEP_WORDS = {
    StepName.AWAITING_APPROVAL: "approval",
    StepName.SUSPEND_OWNER: "suspension of who would revert it",
    StepName.DISABLE_FLAG: "flag",
    StepName.RESTART_PODS: "replacement of the pods",
    StepName.UNDO: "undo",
    StepName.PIN_IMAGE: "image pin",
    StepName.SCALE: "replicas",
    StepName.ROLLOUT_COMPLETE: "rollout",
    StepName.RESTORE_STRATEGY: "rollout strategy",
    StepName.VERIFY: "verification",
}
_ASKED = {
    EventReason.RELEASE_CAME_BACK: Words(
        "a release that was rolled back RUNS AGAIN",
        "BAD RELEASE IS BACK: nothing has been done about it yet",
        IncidentStage.WAITING,
        (
            "Remove it at its source: whoever has brought it back applies it again",
            f"Roll back by hand: {UNDO}",
        ),
    ),
    EventReason.ROLLBACK_REFUSED: Words(
        "bad release NOT rolled back",
        "NO ROLLBACK: it was refused",
        IncidentStage.WAITING,
        ("Roll back by hand, or remove what stands against it", _CAUSE),
    ),
    EventReason.RELEASE_SUSPECT: Words(
        "something fails, and the release is NOT SHOWN to be the cause",
        "SUSPECT: nothing was rolled back",
        IncidentStage.WAITING,
        (
            "Look at what both versions need: database, other services, nodes, traffic",
            f"Roll back by hand if you know that the release is to blame: {UNDO}",
        ),
    ),
    EventReason.INVESTIGATION_NEEDED: Words(
        "a release needs looking at",
        "INVESTIGATION NEEDED: nothing was done",
        IncidentStage.WAITING,
        ("Read what was found, then decide whether to roll back", _CAUSE),
    ),
    EventReason.FIX_FORWARD_ADVISED: Words(
        "a release fails a little",
        "FIX FORWARD: nothing was done",
        IncidentStage.WAITING,
        (_CAUSE, _FIX),
    ),
}


def words_of(rollback: Rollback, transition: Transition) -> Words:
    """Choose the words for a transition of a Rollback."""
    if transition.kind is not TransitionKind.ENDED:
        return _KINDS[transition.kind]
    outcome, done = (
        rollback.status.outcome,
        find(rollback.status.conditions, ConditionType.COMPLETE),
    )
    if done is not None and done.reason == Reason.UNDO_REVERTED:
        return _REVERTED
    if outcome is None:
        return _OTHER_END
    known = _ENDS.get(outcome, _OTHER_END)
    return _FLAG_ENDS.get(outcome, known) if flags.is_flag(rollback) else known


def words_asked(transition: str) -> Words:
    """Choose the words for a release that is not rolled back, by the event that tells of it."""
    reason = next((one for one in _ASKED if one == transition), None)
    return _ASKED[reason] if reason is not None else _OTHER_END
