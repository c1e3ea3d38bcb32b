"""The message to people, the same on every channel: the fault, the action and the next steps.

It is made from stored data only, as of its transition, so that a later retry sends the same text.
It contains no value of a Secret or a variable.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

from rollback_operator.api.checklist import ApprovalTimeout, CheckResult
from rollback_operator.api.notify import CommunicationSpec, Notification
from rollback_operator.api.reasons import ConditionType
from rollback_operator.api.v1alpha1 import (
    API_VERSION,
    Outcome,
    RemedyType,
    Revision,
    RevisionRef,
    Rollback,
    RollbackPolicy,
    RollbackRequest,
    StepName,
)
from rollback_operator.decide import requests
from rollback_operator.model.conditions import find
from rollback_operator.model.message import Message, Moment, RevisionLabel
from rollback_operator.releases import way_back
from rollback_operator.remedies import autoscaling, flags, gitops, suspension
from rollback_operator.report.transitions import Transition, TransitionKind
from rollback_operator.report.wording import (
    RAISED,
    RELEASE,
    REQUEST_REFUSED,
    RESTORED_LATER,
    STEP_WORDS,
    UNDO,
    Words,
    words_asked,
    words_of,
)
from rollback_operator.rollback import approval

_NO_IMPACT = "not described (spec.communication.impact)"
_NO_TARGET = "choose a revision from the history, the status names no target"


def of_rollback(
    rollback: Rollback, policy: RollbackPolicy | None, transition: Transition
) -> Message:
    """Make the message about a transition of a Rollback."""
    spec, meta = rollback.spec, rollback.metadata
    communication = policy.spec.communication if policy is not None else CommunicationSpec()
    words = words_of(rollback, transition)
    service = communication.service or spec.target_ref.name
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
        impact=communication.impact or _impact(rollback),
        checks=tuple(_checks(rollback, transition)),
        timeline=tuple(sorted(_timeline(rollback, transition), key=lambda moment: moment.time)),
        next_steps=(*words.next_steps, *_left_to_do(rollback, transition)),
        commands=tuple(_commands(rollback, transition)),
        contact=communication.contact,
        begun=spec.trigger.first_bad_time or spec.trigger.decided_time,
        time=transition.time,
    )


def _status(rollback: Rollback, transition: Transition, words: Words) -> str:
    """Return the status: of an end with the reason, of a question with the deadline."""
    ended = find(rollback.status.conditions, ConditionType.COMPLETE)
    if transition.kind is TransitionKind.ENDED and ended is not None and ended.message:
        return f"{words.status} - {ended.message}"
    deadline = rollback.status.approval_deadline_time
    if transition.kind is TransitionKind.APPROVAL_NEEDED and deadline is not None:
        terms = rollback.spec.approval_policy
        status = f"{words.status}, until {deadline:%Y-%m-%d %H:%M} UTC at the latest"
        is_short = terms.on_timeout_when_down is ApprovalTimeout.PROCEED
        if rollback.spec.is_blame_open and is_short:
            status += f"; it proceeds without a decision after {approval.WITHOUT_ANSWER}"
        return f"{status} (then {terms.on_timeout})"
    return words.status


def _subject(service: str, words: Words, time: datetime) -> str:
    return f"[INCIDENT] {service}: {words.subject} - {time:%Y-%m-%d %H:%M} UTC"


def _version(ref: RevisionRef | Revision) -> RevisionLabel:
    return RevisionLabel(ref.number, tuple(ref.images))


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
            return str(_version(spec.to_revision)) if spec.to_revision else "unknown"


def _counts(rollback: Rollback) -> str:
    """Return the figures of the decision; empty if there are none, as in an outage."""
    trigger = rollback.spec.trigger
    parts = []
    if trigger.requests:
        parts.append(
            f"{trigger.errors} of {trigger.requests} requests failed on the new revision, "
            f"{trigger.control_errors} of {trigger.control_requests} on the old one"
        )
    if trigger.odds:
        parts.append(f"odds {trigger.odds} that the new revision is worse")
    if trigger.blame_odds:
        parts.append(f"{trigger.blame_odds} that the release is to blame")
    return "; ".join(parts)


def _impact(rollback: Rollback) -> str:
    trigger = rollback.spec.trigger
    if not trigger.requests:
        return _NO_IMPACT
    return f"{100 * trigger.errors / trigger.requests:.0f} % of the requests to the release failed"


def _checks(rollback: Rollback, transition: Transition) -> Iterator[str]:
    """List the checks before the act that did not pass, and all checks after it."""
    before = rollback.status.checklist
    quiet = (CheckResult.PASSED, CheckResult.SKIPPED)
    if before:
        passed = sum(item.result is CheckResult.PASSED for item in before)
        yield f"{passed} of {len(before)} checks before the act passed"
    for item in before:
        if item.result not in quiet:
            yield f"{item.result}: {item.name}: {item.message}"
    if transition.kind is TransitionKind.ENDED:
        for check in rollback.status.verification:
            yield f"{check.result}: {check.name}: {check.message}"


def _timeline(rollback: Rollback, transition: Transition) -> Iterator[Moment]:
    spec, status = rollback.spec, rollback.status
    if spec.trigger.first_bad_time is not None:
        yield Moment(spec.trigger.first_bad_time, "first bad sample")
    yield Moment(spec.trigger.decided_time, f"{spec.severity}, rollback decided")
    for step in status.steps:
        if step.name is StepName.AWAITING_APPROVAL and step.started_time <= transition.time:
            yield Moment(step.started_time, "approval requested")
        if step.finished_time is not None and step.finished_time <= transition.time:
            name = STEP_WORDS.get(step.name, str(step.name))
            yield Moment(step.finished_time, f"{name}: {step.message or 'done'}")
    others = (step for step in status.steps if step.name is not StepName.AWAITING_APPROVAL)
    acts = [step.started_time for step in others]
    if acts and min(acts) <= transition.time:
        yield Moment(min(acts), "rollback started")
    if transition.kind is TransitionKind.ENDED:
        yield Moment(transition.time, f"ended: {status.outcome}")


def _suspended(rollback: Rollback, transition: Transition) -> str:
    """Return the command that resumes the owner suspended at that time; empty: there is none."""
    plan, record = rollback.spec.owner, rollback.status.owner
    if plan is None or record is None or record.suspended_time is None:
        return ""
    is_over = record.released_time is not None and record.released_time <= transition.time
    is_suspended = record.suspended_time <= transition.time and not is_over
    return suspension.command(plan, record) if is_suspended else ""


def _are_raised(rollback: Rollback, transition: Transition) -> bool:
    """Report whether an autoscaler's bounds were raised at that time, and not restored yet."""
    record = rollback.status.autoscaler
    if record is None:
        return False
    return record.restored_time is None or record.restored_time > transition.time


def _left_to_do(rollback: Rollback, transition: Transition) -> Iterator[str]:
    if _suspended(rollback, transition):
        yield RELEASE
    if transition.kind is TransitionKind.ENDED:
        yield from gitops.next_steps(rollback)
    if transition.kind is TransitionKind.ENDED and _are_raised(rollback, transition):
        yield RAISED + (RESTORED_LATER if rollback.status.outcome is Outcome.VERIFIED else "")


def _commands(rollback: Rollback, transition: Transition) -> Iterator[str]:
    namespace, name = rollback.metadata.namespace, rollback.metadata.name
    if transition.kind is TransitionKind.APPROVAL_NEEDED:
        yield f"kubectl rollback approve {name} -n {namespace} --reason '...'"
        yield f"kubectl rollback reject {name} -n {namespace} --reason '...'"
    if release := _suspended(rollback, transition):
        yield release
    if transition.kind is TransitionKind.ENDED and _are_raised(rollback, transition):
        yield autoscaling.command(rollback)
    yield f"kubectl describe rollback {name} -n {namespace}"
    yield from _diagnostics(rollback.spec.target_ref.name, namespace)


def _diagnostics(deployment: str, namespace: str) -> Iterator[str]:
    yield f"kubectl rollout status deployment/{deployment} -n {namespace}"
    yield f"kubectl rollout history deployment/{deployment} -n {namespace}"
    yield f"kubectl logs deployment/{deployment} -n {namespace} --since=10m --tail=100"


def of_request(
    request: RollbackRequest, policy: RollbackPolicy, notification: Notification
) -> Message:
    """Make the message about a manual request that was refused."""
    meta, complete = request.metadata, find(request.status.conditions, ConditionType.COMPLETE)
    made = [Moment(meta.creation_timestamp, "requested")] if meta.creation_timestamp else []
    message = _not_rolled_back(policy, notification, REQUEST_REFUSED, f"rollback {meta.name}")
    return replace(
        message,
        source=f"/apis/{API_VERSION}/namespaces/{meta.namespace}/rollbacks/{meta.name}",
        status=f"{message.status} - {complete.message if complete is not None else 'no reason'}",
        reason=f"{request.spec.remedy.type}: {requests.request_message(request)}",
        timeline=(*made, Moment(notification.time, "refused")),
        begun=meta.creation_timestamp or notification.time,
    )


def of_policy(policy: RollbackPolicy, notification: Notification) -> Message:
    """Make the message about a release that is not rolled back and needs a person."""
    words, name = words_asked(notification.transition), policy.metadata.name
    return _not_rolled_back(policy, notification, words, f"rollbackpolicy {name}")


def _not_rolled_back(
    policy: RollbackPolicy, notification: Notification, words: Words, record: str
) -> Message:
    """Make the message about a release that stays.

    Args:
        policy: the policy of the release.
        notification: its identifier is <object>.<transition>.<channel>.
        words: of the transition.
        record: kind and name of the object for kubectl.
    """
    spec, meta, revision = policy.spec, policy.metadata, policy.status.revision
    service = spec.communication.service or spec.target_ref.name
    undo = way_back.recorded(policy.status, (meta.namespace, meta.name)) or _NO_TARGET
    identifier = notification.id.removesuffix(f".{notification.channel}")
    return Message(
        id=identifier,
        incident=identifier.removesuffix(f".{notification.transition}"),
        source=f"/apis/{API_VERSION}/namespaces/{meta.namespace}/rollbackpolicies/{meta.name}",
        transition=notification.transition,
        stage=words.stage,
        subject=_subject(service, words, notification.time),
        status=words.status,
        service=service,
        namespace=meta.namespace,
        deployment=spec.target_ref.name,
        policy=meta.name,
        severity=str(notification.severity),
        before=_version(revision) if revision is not None else None,
        after="nothing was rolled back",
        reason=notification.text,
        counts="",
        impact=spec.communication.impact or _NO_IMPACT,
        checks=(),
        timeline=(Moment(notification.time, "reported"),),
        next_steps=tuple(step.replace(UNDO, undo) for step in words.next_steps),
        commands=(
            f"kubectl describe {record} -n {meta.namespace}",
            *_diagnostics(spec.target_ref.name, meta.namespace),
        ),
        contact=spec.communication.contact,
        begun=notification.time,
        time=notification.time,
    )
