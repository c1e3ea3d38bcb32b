"""The words for each transition, and the next steps of a person after it.

Messages, `kubectl rollback explain` and `kubectl rollback report` share the next steps.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from rollback_operator.api.reasons import ConditionType, EventReason, Reason
from rollback_operator.api.v1alpha1 import Outcome, Rollback, StepName
from rollback_operator.model.conditions import find
from rollback_operator.model.message import IncidentStage
from rollback_operator.remedies import flags
from rollback_operator.report.transitions import Transition, TransitionKind


@dataclass(frozen=True, slots=True)
class Words:
    """The name of a transition, and its next steps."""

    subject: str
    status: str
    stage: IncidentStage
    next_steps: tuple[str, ...]


UNDO = "{undo}"
"""Placeholder for the command of a manual rollback."""
_CAUSE = "Find the cause in the changes of the bad release"
_CALM = "Nothing is urgent"
_FIX = "Fix it and test the fix"
_STAGED = "Roll the fix out in stages: spec.stage.maxSeconds holds its first new pods for proof"
_BY_PERSON = "Decide which revision runs: the operator takes no further action"
_NEXT_REMEDY = (
    "If the release is still bad, the policy's next remedy follows; if there is none, roll back "
    "manually"
)
_LEFT = (
    "Check the running release: the steps of the Rollback show whether it was changed",
    _CAUSE,
)
_ENDS = {
    Outcome.VERIFIED: Words(
        "rolled back, service healthy",
        "ROLLBACK COMPLETED, verified",
        IncidentStage.RESOLVED,
        (f"{_CALM}: find the cause before the next release", _FIX, _STAGED),
    ),
    Outcome.NOT_RECOVERED: Words(
        "ROLLBACK DID NOT HELP",
        "ROLLBACK COMPLETED, but the service has not recovered",
        IncidentStage.OPEN,
        (
            "Check at once what both revisions depend on: database, other services, nodes, traffic",
            "Decide which revision runs: the operator never reverts a rollback",
            _CAUSE,
        ),
    ),
    Outcome.UNKNOWN: Words(
        "rolled back, success unproved",
        "ROLLBACK COMPLETED, not verified",
        IncidentStage.OPEN,
        ("Check whether the service works: the metrics were not sufficient", _CAUSE, _FIX),
    ),
    Outcome.ABANDONED: Words(
        "rollback abandoned",
        "ROLLBACK ABANDONED",
        IncidentStage.OPEN,
        _LEFT,
    ),
    Outcome.FAILED: Words(
        "ROLLBACK FAILED",
        "ROLLBACK FAILED: the bad release may still run",
        IncidentStage.OPEN,
        ("Roll back manually now if the release is still bad", _BY_PERSON),
    ),
    Outcome.OBSERVED: Words(
        "would be rolled back",
        "OBSERVED ONLY: nothing was done (mode Observe)",
        IncidentStage.OPEN,
        ("Roll back manually if you agree", "Set spec.mode to Enforce for automatic rollbacks"),
    ),
    Outcome.BLOCKED: Words(
        "rollback BLOCKED by the checklist",
        "ROLLBACK BLOCKED: nothing was done, the bad release still runs",
        IncidentStage.OPEN,
        (
            "Read the failed check, then fix forward, or remove the obstacle and roll back",
            _BY_PERSON,
        ),
    ),
    Outcome.REJECTED: Words(
        "rollback rejected by a person",
        "ROLLBACK REJECTED: nothing was done",
        IncidentStage.OPEN,
        ("Fix forward: the bad release still runs", _BY_PERSON),
    ),
}
_FLAG_ENDS = {
    Outcome.VERIFIED: Words(
        "flag set, service healthy",
        "FLAG SET, verified: the release stays",
        IncidentStage.RESOLVED,
        (
            f"{_CALM}: keep the flag until the feature is fixed, the operator does not reset it",
            _CAUSE,
            _FIX,
        ),
    ),
    Outcome.NOT_RECOVERED: Words(
        "flag set, DID NOT HELP",
        "FLAG SET, but the service has not recovered",
        IncidentStage.OPEN,
        (
            _NEXT_REMEDY,
            _CAUSE,
        ),
    ),
    Outcome.UNKNOWN: Words(
        "flag set, success unproved",
        "FLAG SET, not verified",
        IncidentStage.OPEN,
        ("Check whether the service works: the metrics were not sufficient", _CAUSE, _FIX),
    ),
    Outcome.ABANDONED: Words(
        "flag change abandoned",
        "ABANDONED: a flag that was set stays set",
        IncidentStage.OPEN,
        _LEFT,
    ),
    Outcome.FAILED: Words(
        "FLAG CHANGE FAILED",
        "FLAG NOT SET, or reset: the release may still be bad",
        IncidentStage.OPEN,
        (
            _NEXT_REMEDY,
            _CAUSE,
        ),
    ),
}
REQUEST_REFUSED = Words(
    "manual rollback REFUSED",
    "ROLLBACK REFUSED: nothing was done",
    IncidentStage.WAITING,
    (
        "Fix the cause of the refusal, then request again: the operator does not retry",
        "Check the running release: a person requested its rollback",
    ),
)
_REVERTED = Words(
    "rollback REVERTED by another writer",
    "ROLLBACK REVERTED: another writer changed it back; the operator does not repeat it",
    IncidentStage.OPEN,
    (
        "Correct it at its source: the tool that applied it applies it again",
        "Or let the operator suspend that tool: spec.safety.gitOps: Suspend",
        _BY_PERSON,
    ),
)
_TRAFFIC_STOPPED = Words(
    "traffic STOPPED",
    "TRAFFIC STOPPED: nothing was rolled back",
    IncidentStage.OPEN,
    (
        "Release a fix, which ends the stop, or restore the traffic by the command in the message "
        "of the outcome",
        _CAUSE,
        _FIX,
    ),
)
_TRAFFIC_NOT_STOPPED = Words(
    "traffic NOT STOPPED, nothing was rolled back",
    "TRAFFIC NOT STOPPED: nothing was rolled back, the bad release still runs",
    IncidentStage.OPEN,
    (
        "Read in the message of the outcome what kept the traffic from stopping, and remove it",
        "Stop the traffic by hand if the release damages data",
        _BY_PERSON,
    ),
)
_TRAFFIC_CHANGED = Words(
    "stop of the traffic CHANGED by another writer",
    "ROLLBACK ENDED: another writer changed the stopped traffic, and the operator leaves it so",
    IncidentStage.OPEN,
    (
        "Check the replicas of the Deployment, or the selector of the Service",
        "Stop the traffic by hand if the release damages data",
        _BY_PERSON,
    ),
)
_WITHOUT_REPLICAS = Words(
    "rolled back at 0 replicas, nothing verified",
    "ROLLBACK COMPLETED at 0 replicas: nothing could be verified",
    IncidentStage.OPEN,
    ("Scale the Deployment up, and check that the service works", _CAUSE, _FIX),
)
RELEASE = "Correct Git, then resume the suspended tool (see below): until then it applies nothing"
RAISED = (
    "Restore the autoscaler's bounds when the additional pods are not needed any more (see below)"
)
RESTORED_LATER = "; the operator does so after spec.safety.watchSeconds"
_OTHER_END = Words("rollback ended", "ROLLBACK ENDED", IncidentStage.OPEN, (_BY_PERSON, _CAUSE))
_KINDS = {
    TransitionKind.STARTED: Words(
        "rollback started",
        "ROLLBACK IN PROGRESS",
        IncidentStage.OPEN,
        (
            "Wait: the next message reports the outcome",
            "Do not release anything until then: a new release ends the rollback",
        ),
    ),
    TransitionKind.UPDATE: Words(
        "rollback still in progress",
        "ROLLBACK IN PROGRESS",
        IncidentStage.OPEN,
        ("Check which step is running, and why it has not finished",),
    ),
    TransitionKind.APPROVAL_NEEDED: Words(
        "APPROVAL NEEDED for a rollback",
        "WAITING FOR APPROVAL: the rollback starts after a decision",
        IncidentStage.WAITING,
        ("Review the checklist and the plan", "Approve or reject"),
    ),
}
STEP_WORDS = {
    StepName.AWAITING_APPROVAL: "approval",
    StepName.SUSPEND_OWNER: "suspension of the GitOps owner",
    StepName.BACKUP: "backup",
    StepName.MIGRATE_DOWN: "migrations",
    StepName.RESTORE_CONFIGURATION: "restore of the ConfigMaps",
    StepName.DIAGNOSE: "diagnosis",
    StepName.STOP_TRAFFIC: "stop of the traffic",
    StepName.ASSESS_DAMAGE: "assessment of the damage",
    StepName.RESTORE_TRAFFIC: "restoration of the traffic",
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
        "BAD RELEASE IS BACK: the operator has not acted yet",
        IncidentStage.WAITING,
        (
            "Remove it at its source: the tool that applied it applies it again",
            f"Roll back manually: {UNDO}",
        ),
    ),
    EventReason.ROLLBACK_REFUSED: Words(
        "bad release NOT rolled back",
        "NO ROLLBACK: it was refused",
        IncidentStage.WAITING,
        ("Roll back manually, or remove the obstacle", _CAUSE),
    ),
    EventReason.RELEASE_SUSPECT: Words(
        "the service has a fault, and the release is NOT PROVED to be the cause",
        "SUSPECT: nothing was rolled back",
        IncidentStage.WAITING,
        (
            "Check what both revisions depend on: database, other services, nodes, traffic",
            f"Roll back manually if you know that the release is to blame: {UNDO}",
        ),
    ),
    EventReason.INVESTIGATION_NEEDED: Words(
        "a release needs investigation",
        "INVESTIGATION NEEDED: nothing was done",
        IncidentStage.WAITING,
        ("Read the findings, then decide whether to roll back", _CAUSE),
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
    complete = find(rollback.status.conditions, ConditionType.COMPLETE)
    reason = complete.reason if complete is not None else ""
    return _words_after(rollback.status.outcome or "", reason, is_flag=flags.is_flag(rollback))


def next_steps_after(outcome: str, reason: str, *, is_flag: bool) -> tuple[str, ...]:
    """List the next steps after an outcome, also after an outcome of a newer operator."""
    return _words_after(outcome, reason, is_flag=is_flag).next_steps


_MIGRATION_FAILED = Words(
    "ROLLBACK STOPPED at the database",
    "ROLLBACK FAILED: migrations are not rolled back, or not all",
    IncidentStage.OPEN,
    (
        "Read in the message of the outcome which migrations are rolled back, and compare the "
        "history of the database",
        "Complete the schema by hand, or fix forward: the operator forces nothing",
        _BY_PERSON,
    ),
)
_STEP_REFUSED = Words(
    "ROLLBACK FAILED: the change was refused",
    "ROLLBACK FAILED: the operator may not make the change, the bad release still runs",
    IncidentStage.OPEN,
    (
        "Run the command in the message of the outcome: it needs only your own rights, and "
        "a request to the operator would be refused again",
        "Then grant what the message names: a right of the operator, or an exception of the "
        "admission policy",
    ),
)


_BY_END: Mapping[tuple[str, str], Words] = {
    (Outcome.ABANDONED, Reason.TARGET_MOVED): Words(
        "rollback ended by another rollout",
        "ROLLBACK ENDED: another client rolled out a release, which stays",
        IncidentStage.OPEN,
        ("Check the release that runs now: it is evaluated as any other release", _CAUSE),
    ),
    (Outcome.ABANDONED, Reason.SUPERSEDED): Words(
        "question ended by an automatic rollback",
        "ROLLBACK ENDED unanswered: an automatic rollback takes its place",
        IncidentStage.OPEN,
        ("Wait: the automatic rollback reports its outcome", _CAUSE),
    ),
    (Outcome.ABANDONED, Reason.APPROVAL_TIMED_OUT): Words(
        "NOT rolled back: nobody decided",
        "NOT ROLLED BACK: nobody decided in time, the bad release still runs",
        IncidentStage.OPEN,
        ("If the release is still bad, run the command in the message of the outcome", _CAUSE),
    ),
    (Outcome.REJECTED, Reason.REJECTED_BY_PERSON): Words(
        "rollback rejected by a person",
        "ROLLBACK REJECTED: nothing was done, the bad release still runs",
        IncidentStage.OPEN,
        ("Fix forward, or run the command in the message of the outcome", _CAUSE),
    ),
}
_BY_REASON: Mapping[str, Words] = {
    Reason.UNDO_REVERTED: _REVERTED,
    Reason.TRAFFIC_STOPPED: _TRAFFIC_STOPPED,
    Reason.TRAFFIC_NOT_STOPPED: _TRAFFIC_NOT_STOPPED,
    Reason.TRAFFIC_CHANGED: _TRAFFIC_CHANGED,
    Reason.BACKUP_FAILED: _MIGRATION_FAILED,
    Reason.MIGRATION_FAILED: _MIGRATION_FAILED,
    Reason.MIGRATION_INCOMPLETE: _MIGRATION_FAILED,
}


def _words_after(outcome: str, reason: str, *, is_flag: bool) -> Words:
    if reason in _BY_REASON:
        return _BY_REASON[reason]
    if (outcome, reason) in _BY_END:
        return _BY_END[outcome, reason]
    if reason == Reason.TARGET_SCALED_TO_ZERO and outcome == Outcome.UNKNOWN:
        return _WITHOUT_REPLICAS
    if reason == Reason.STEP_REFUSED and not is_flag:
        return _STEP_REFUSED
    if outcome == Outcome.REFUSED:
        return REQUEST_REFUSED
    words = {**_ENDS, **(_FLAG_ENDS if is_flag else {})}
    return next((each for known, each in words.items() if known == outcome), _OTHER_END)


def words_asked(transition: str) -> Words:
    """Choose the words for a release that is not rolled back, by the reason of its Event."""
    return next((words for reason, words in _ASKED.items() if reason == transition), _OTHER_END)
