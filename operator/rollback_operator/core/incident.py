"""The one message that people get, whatever it is sent by: what failed, what is done, what next.

Made from what is on record and from nothing else, as of the transition that it tells of: tried
again an hour later it says the same. No value of a Secret or a variable is in it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from rollback_operator.api.checklist import CheckResult
from rollback_operator.api.notify import CommunicationSpec, Notification
from rollback_operator.api.reasons import ConditionType, EventReason, Reason
from rollback_operator.api.v1alpha1 import (
    API_VERSION,
    Outcome,
    RemedyType,
    Revision,
    RevisionRef,
    Rollback,
    RollbackPolicy,
    StepName,
)
from rollback_operator.core import autoscaling, flags, gitops
from rollback_operator.core.conditions import find
from rollback_operator.core.transitions import Kind, Transition

MOST_IMAGES = 4


class Stage(StrEnum):
    """How an incident stands."""

    OPEN = "Open"
    """Being dealt with, or over without success: somebody may have to look."""
    WAITING = "Waiting"
    """Nothing goes on until somebody decides."""
    RESOLVED = "Resolved"


@dataclass(frozen=True, slots=True)
class Moment:
    """One entry of the timeline."""

    time: datetime
    text: str


@dataclass(frozen=True, slots=True)
class Version:
    """A revision as people know it."""

    revision: int
    images: tuple[str, ...]

    def __str__(self) -> str:
        more = [f"and {len(self.images) - MOST_IMAGES} more"] * (len(self.images) > MOST_IMAGES)
        return f"revision {self.revision} ({', '.join([*self.images[:MOST_IMAGES], *more])})"


@dataclass(frozen=True, slots=True)
class Message:
    """What is told."""

    id: str
    """Of the object and the transition; the channel is added where it is sent."""
    incident: str
    """The same in all messages of one incident."""
    source: str
    """Path of the object that it is about, in the API."""
    transition: str
    stage: Stage
    subject: str
    status: str
    service: str
    namespace: str
    deployment: str
    policy: str
    severity: str
    before: Version | None
    """The release at fault."""
    after: str
    """What is gone back to, or done instead."""
    reason: str
    counts: str
    impact: str
    checks: tuple[str, ...]
    """What was looked at before the act and after it, one line each."""
    timeline: tuple[Moment, ...]
    next_steps: tuple[str, ...]
    commands: tuple[str, ...]
    contact: str
    begun: datetime
    time: datetime


@dataclass(frozen=True, slots=True)
class _Words:
    """What a transition is called, and what follows from it."""

    subject: str
    status: str
    stage: Stage
    next_steps: tuple[str, ...]


_CAUSE = "Find the cause in what the bad release changed"
_FIX = "Fix it and test the fix"
_STAGED = "Roll the fix out in stages: spec.stage.maxSeconds holds its first new pods for proof"
_BY_PERSON = "Decide by hand what runs: nothing more is done by itself"
_ENDS = {
    Outcome.VERIFIED: _Words(
        "rolled back, service healthy",
        "ROLLBACK COMPLETED, verified",
        Stage.RESOLVED,
        (_CAUSE, _FIX, _STAGED),
    ),
    Outcome.NOT_RECOVERED: _Words(
        "ROLLBACK DID NOT HELP",
        "ROLLBACK COMPLETED, but the service has not recovered",
        Stage.OPEN,
        (
            "Look at once at what both versions need: database, other services, nodes, traffic",
            "Decide by hand what runs: nothing rolls a rollback back",
            _CAUSE,
        ),
    ),
    Outcome.UNKNOWN: _Words(
        "rolled back, success unproved",
        "ROLLBACK COMPLETED, not verified",
        Stage.OPEN,
        ("See for yourself whether the service works: the metrics do not tell", _CAUSE, _FIX),
    ),
    Outcome.ABANDONED: _Words(
        "rollback abandoned",
        "ROLLBACK ABANDONED",
        Stage.OPEN,
        ("See whether what runs now is sound: it was not rolled back", _CAUSE),
    ),
    Outcome.FAILED: _Words(
        "ROLLBACK FAILED",
        "ROLLBACK FAILED: the bad release may still run",
        Stage.OPEN,
        ("Roll back by hand now, if the release is still bad", _BY_PERSON),
    ),
    Outcome.OBSERVED: _Words(
        "would be rolled back",
        "OBSERVED ONLY: nothing was done (mode Observe)",
        Stage.OPEN,
        ("Roll back by hand, if you agree", "Set spec.mode to Enforce to have it done"),
    ),
}
_ENDS |= {
    Outcome.BLOCKED: _Words(
        "rollback BLOCKED by the checklist",
        "ROLLBACK BLOCKED: nothing was done, the bad release still runs",
        Stage.OPEN,
        ("See which check failed: fix forward, or remove what blocks and roll back", _BY_PERSON),
    ),
    Outcome.REJECTED: _Words(
        "rollback rejected by a person",
        "ROLLBACK REJECTED: nothing was done",
        Stage.OPEN,
        ("Fix forward: the release that was found bad still runs", _BY_PERSON),
    ),
}
_FLAG_ENDS = {
    Outcome.VERIFIED: _Words(
        "flag set, service healthy",
        "FLAG SET, verified: the release stays",
        Stage.RESOLVED,
        ("Leave the flag as it is until the feature is fixed: nothing sets it back", _CAUSE, _FIX),
    ),
    Outcome.NOT_RECOVERED: _Words(
        "flag set, DID NOT HELP",
        "FLAG SET, but the service has not recovered",
        Stage.OPEN,
        ("Nothing yet: the policy's next remedy follows if the release is still bad", _CAUSE),
    ),
    Outcome.UNKNOWN: _Words(
        "flag set, success unproved",
        "FLAG SET, not verified",
        Stage.OPEN,
        ("See for yourself whether the service works: the metrics do not tell", _CAUSE, _FIX),
    ),
    Outcome.ABANDONED: _Words(
        "setting of a flag abandoned",
        "ABANDONED: what was set so far stays set",
        Stage.OPEN,
        ("See whether what runs now is sound: the release was not taken back", _CAUSE),
    ),
    Outcome.FAILED: _Words(
        "SETTING OF A FLAG FAILED",
        "FLAG NOT SET, or set back: the release may still be bad",
        Stage.OPEN,
        ("Nothing yet: the policy's next remedy follows if the release is still bad", _CAUSE),
    ),
}
_REVERTED = _Words(
    "rollback REVERTED by somebody else",
    "ROLLBACK REVERTED: the bad release runs again, and it is not taken back again",
    Stage.OPEN,
    (
        "Revert the release at its source: whoever has brought it back applies it again",
        "Or have them suspended first: spec.safety.gitOps: Suspend",
        _BY_PERSON,
    ),
)
_RELEASE = "Put Git right, then release who is suspended (see below): until then nothing is applied"
_RAISED = "Have the autoscaler's bounds put back when the pods are not needed any more (see below)"
_BY_ITSELF = "; after spec.safety.watchSeconds it is done by itself"
_OTHER_END = _Words("rollback ended", "ROLLBACK ENDED", Stage.OPEN, (_BY_PERSON, _CAUSE))
_KINDS = {
    Kind.STARTED: _Words(
        "rollback started",
        "ROLLBACK IN PROGRESS",
        Stage.OPEN,
        (
            "Nothing: the next message tells how it ended",
            "Do not release anything else until then: a new release ends the rollback",
        ),
    ),
    Kind.UPDATE: _Words(
        "rollback still in progress",
        "ROLLBACK IN PROGRESS",
        Stage.OPEN,
        ("See which step waits, and for what",),
    ),
    Kind.APPROVAL_NEEDED: _Words(
        "APPROVAL NEEDED for a rollback",
        "WAITING FOR APPROVAL: nothing is done until somebody decides",
        Stage.WAITING,
        ("Look at the checklist and the plan", "Approve or reject"),
    ),
}
_STEPS = {
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
    EventReason.ROLLBACK_REFUSED: _Words(
        "bad release NOT rolled back",
        "NO ROLLBACK: it was refused",
        Stage.WAITING,
        ("Roll back by hand, or remove what stands against it", _CAUSE),
    ),
    EventReason.INVESTIGATION_NEEDED: _Words(
        "a release needs looking at",
        "INVESTIGATION NEEDED: nothing was done",
        Stage.WAITING,
        ("Read what was found, then decide whether to roll back", _CAUSE),
    ),
    EventReason.FIX_FORWARD_ADVISED: _Words(
        "a release fails a little",
        "FIX FORWARD: nothing was done",
        Stage.WAITING,
        (_CAUSE, _FIX),
    ),
}


def of_rollback(
    rollback: Rollback, policy: RollbackPolicy | None, transition: Transition
) -> Message:
    """Make the message about a transition of a Rollback."""
    spec, meta = rollback.spec, rollback.metadata
    said = policy.spec.communication if policy is not None else CommunicationSpec()
    words = _words(rollback, transition)
    service = said.service or spec.target_ref.name
    return Message(
        id=f"{meta.uid}.{transition.name}",
        incident=meta.uid,
        source=f"/apis/{API_VERSION}/namespaces/{meta.namespace}/rollbacks/{meta.name}",
        transition=transition.name,
        stage=words.stage,
        subject=_subject(service, words, transition.time),
        status=_status(rollback, transition, words),
        service=service,
        namespace=meta.namespace,
        deployment=spec.target_ref.name,
        policy=spec.policy_ref.name,
        severity=str(rollback.status.severity or spec.severity),
        before=_version(spec.from_revision),
        after=_after(rollback),
        reason=spec.trigger.message,
        counts=_counts(rollback),
        impact=said.impact or _impact(rollback),
        checks=tuple(_checks(rollback, transition)),
        timeline=tuple(sorted(_timeline(rollback, transition), key=lambda one: one.time)),
        next_steps=(*words.next_steps, *_left_to_do(rollback, transition)),
        commands=tuple(_commands(rollback, transition)),
        contact=said.contact,
        begun=spec.trigger.first_bad_time or spec.trigger.decided_time,
        time=transition.time,
    )


def _words(rollback: Rollback, transition: Transition) -> _Words:
    if transition.kind is not Kind.ENDED:
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


def _status(rollback: Rollback, transition: Transition, words: _Words) -> str:
    """Tell how it stands: of an end why, of a question until when."""
    ended = find(rollback.status.conditions, ConditionType.COMPLETE)
    if transition.kind is Kind.ENDED and ended is not None and ended.message:
        return f"{words.status} - {ended.message}"
    deadline = rollback.status.approval_deadline_time
    if transition.kind is Kind.APPROVAL_NEEDED and deadline is not None:
        then = rollback.spec.approval_policy.on_timeout
        return f"{words.status}, until {deadline:%Y-%m-%d %H:%M} UTC at the latest (then {then})"
    return words.status


def _subject(service: str, words: _Words, time: datetime) -> str:
    return f"[INCIDENT] {service}: {words.subject} - {time:%Y-%m-%d %H:%M} UTC"


def _version(ref: RevisionRef | Revision) -> Version:
    return Version(ref.number, tuple(ref.images))


def _after(rollback: Rollback) -> str:
    spec, remedy = rollback.spec, rollback.spec.remedy
    if remedy.flag is not None:
        was = f", which was {spec.flag.old_value[:64]!r}" if spec.flag is not None else ""
        return f"the same release with {flags.named(remedy.flag)}{was}"
    match remedy.type:
        case RemedyType.PIN_IMAGE:
            return f"container {remedy.container} with {remedy.image}"
        case RemedyType.SCALE:
            by = f" ({autoscaling.named(rollback)})" if spec.autoscaler is not None else ""
            return f"the same release with {remedy.replicas} replicas{by}"
        case _:
            return str(_version(spec.to_revision)) if spec.to_revision else "not known"


def _counts(rollback: Rollback) -> str:
    """Tell the figures of the decision; empty where there are none, as in an outage."""
    trigger = rollback.spec.trigger
    said = []
    if trigger.requests:
        said.append(
            f"{trigger.errors} of {trigger.requests} requests failed on the new revision, "
            f"{trigger.control_errors} of {trigger.control_requests} on the old one"
        )
    if trigger.odds:
        said.append(f"odds {trigger.odds} that the new one is worse")
    if trigger.blame_odds:
        said.append(f"{trigger.blame_odds} that the release is to blame")
    return "; ".join(said)


def _impact(rollback: Rollback) -> str:
    trigger = rollback.spec.trigger
    if not trigger.requests:
        return "not described (spec.communication.impact)"
    return f"{100 * trigger.errors / trigger.requests:.0f} % of the requests to the release failed"


def _checks(rollback: Rollback, transition: Transition) -> Iterator[str]:
    """Tell what did not pass before the act, and all that was looked at after it."""
    before = rollback.status.checklist
    quiet = (CheckResult.PASSED, CheckResult.SKIPPED)
    if before:
        passed = sum(one.result is CheckResult.PASSED for one in before)
        yield f"{passed} of {len(before)} checks before the act passed"
    for item in before:
        if item.result not in quiet:
            yield f"{item.result}: {item.name}: {item.message}"
    if transition.kind is Kind.ENDED:
        for one in rollback.status.verification:
            yield f"{one.result}: {one.name}: {one.message}"


def _timeline(rollback: Rollback, transition: Transition) -> Iterator[Moment]:
    spec, status = rollback.spec, rollback.status
    if spec.trigger.first_bad_time is not None:
        yield Moment(spec.trigger.first_bad_time, "first sign of trouble")
    yield Moment(spec.trigger.decided_time, f"{spec.severity} found, rollback decided")
    for one in status.steps:
        if one.name is StepName.AWAITING_APPROVAL and one.started_time <= transition.time:
            yield Moment(one.started_time, "approval asked for")
        if one.finished_time is not None and one.finished_time <= transition.time:
            said = _STEPS.get(one.name, str(one.name))
            yield Moment(one.finished_time, f"{said}: {one.message or 'done'}")
    acts = [one.started_time for one in status.steps if one.name is not StepName.AWAITING_APPROVAL]
    if acts and min(acts) <= transition.time:
        yield Moment(min(acts), "rollback initiated")
    if transition.kind is Kind.ENDED:
        yield Moment(transition.time, f"ended: {status.outcome}")


def _suspended(rollback: Rollback, transition: Transition) -> str:
    """Give the command that releases who was suspended then; empty: nobody was."""
    plan, record = rollback.spec.owner, rollback.status.owner
    if plan is None or record is None or record.suspended_time is None:
        return ""
    is_over = record.released_time is not None and record.released_time <= transition.time
    is_suspended = record.suspended_time <= transition.time and not is_over
    return gitops.command(plan, record) if is_suspended else ""


def _are_raised(rollback: Rollback, transition: Transition) -> bool:
    """Tell whether an autoscaler's bounds were raised then, and not put back yet."""
    record = rollback.status.autoscaler
    if record is None:
        return False
    return record.restored_time is None or record.restored_time > transition.time


def _left_to_do(rollback: Rollback, transition: Transition) -> Iterator[str]:
    if _suspended(rollback, transition):
        yield _RELEASE
    if transition.kind is Kind.ENDED and _are_raised(rollback, transition):
        is_by_itself = rollback.status.outcome is Outcome.VERIFIED
        yield _RAISED + (_BY_ITSELF if is_by_itself else "")


def _commands(rollback: Rollback, transition: Transition) -> Iterator[str]:
    where, name = f"-n {rollback.metadata.namespace}", rollback.metadata.name
    if transition.kind is Kind.APPROVAL_NEEDED:
        yield f"kubectl rollback approve {name} {where} --reason '...'"
        yield f"kubectl rollback reject {name} {where} --reason '...'"
    if release := _suspended(rollback, transition):
        yield release
    if transition.kind is Kind.ENDED and _are_raised(rollback, transition):
        yield autoscaling.command(rollback)
    yield f"kubectl describe rollback {name} {where}"
    yield from _looks(rollback.spec.target_ref.name, where)


def _looks(deployment: str, where: str) -> Iterator[str]:
    yield f"kubectl rollout status deployment/{deployment} {where}"
    yield f"kubectl rollout history deployment/{deployment} {where}"
    yield f"kubectl logs deployment/{deployment} {where} --since=10m --tail=100"


def of_policy(policy: RollbackPolicy, told: Notification) -> Message:
    """Make the message about a release that is not rolled back: people are to look at it."""
    spec, meta, revision = policy.spec, policy.metadata, policy.status.revision
    reason = next((one for one in _ASKED if one == told.transition), None)
    words = _ASKED[reason] if reason is not None else _OTHER_END
    service = spec.communication.service or spec.target_ref.name
    where = f"-n {meta.namespace}"
    whose = told.id.removesuffix(f".{told.channel}")
    return Message(
        id=whose,
        incident=whose.removesuffix(f".{told.transition}"),
        source=f"/apis/{API_VERSION}/namespaces/{meta.namespace}/rollbackpolicies/{meta.name}",
        transition=told.transition,
        stage=words.stage,
        subject=_subject(service, words, told.time),
        status=words.status,
        service=service,
        namespace=meta.namespace,
        deployment=spec.target_ref.name,
        policy=meta.name,
        severity=str(told.severity),
        before=_version(revision) if revision is not None else None,
        after="nothing was rolled back",
        reason=told.text,
        counts="",
        impact=spec.communication.impact or "not described (spec.communication.impact)",
        checks=(),
        timeline=(Moment(told.time, "found"),),
        next_steps=words.next_steps,
        commands=(
            f"kubectl describe rollbackpolicy {meta.name} {where}",
            *_looks(spec.target_ref.name, where),
        ),
        contact=spec.communication.contact,
        begun=told.time,
        time=told.time,
    )
