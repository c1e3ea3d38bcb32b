"""The one message that people get, whatever it is sent by: what failed, what is done, what next.

Made from what is on record and from nothing else, as of the transition that it tells of: tried
again an hour later it says the same. No value of a Secret or a variable is in it.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

from rollback_operator.api.checklist import CheckResult
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
from rollback_operator.model import commands
from rollback_operator.model.conditions import find
from rollback_operator.model.message import Message, Moment, RevisionLabel
from rollback_operator.remedies import autoscaling, flags, gitops, suspension
from rollback_operator.report.transitions import Transition, TransitionKind
from rollback_operator.report.wording import (
    BY_ITSELF,
    RAISED,
    RELEASE,
    REQUEST_REFUSED,
    STEP_WORDS,
    UNDO,
    Words,
    words_asked,
    words_of,
)


def of_rollback(
    rollback: Rollback, policy: RollbackPolicy | None, transition: Transition
) -> Message:
    """Make the message about a transition of a Rollback."""
    spec, meta = rollback.spec, rollback.metadata
    said = policy.spec.communication if policy is not None else CommunicationSpec()
    words = words_of(rollback, transition)
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


def _status(rollback: Rollback, transition: Transition, words: Words) -> str:
    """Tell how it stands: of an end why, of a question until when."""
    ended = find(rollback.status.conditions, ConditionType.COMPLETE)
    if transition.kind is TransitionKind.ENDED and ended is not None and ended.message:
        return f"{words.status} - {ended.message}"
    deadline = rollback.status.approval_deadline_time
    if transition.kind is TransitionKind.APPROVAL_NEEDED and deadline is not None:
        then = rollback.spec.approval_policy.on_timeout
        return f"{words.status}, until {deadline:%Y-%m-%d %H:%M} UTC at the latest (then {then})"
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
    if transition.kind is TransitionKind.ENDED:
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
            said = STEP_WORDS.get(one.name, str(one.name))
            yield Moment(one.finished_time, f"{said}: {one.message or 'done'}")
    acts = [one.started_time for one in status.steps if one.name is not StepName.AWAITING_APPROVAL]
    if acts and min(acts) <= transition.time:
        yield Moment(min(acts), "rollback initiated")
    if transition.kind is TransitionKind.ENDED:
        yield Moment(transition.time, f"ended: {status.outcome}")


def _suspended(rollback: Rollback, transition: Transition) -> str:
    """Give the command that releases who was suspended then; empty: nobody was."""
    plan, record = rollback.spec.owner, rollback.status.owner
    if plan is None or record is None or record.suspended_time is None:
        return ""
    is_over = record.released_time is not None and record.released_time <= transition.time
    is_suspended = record.suspended_time <= transition.time and not is_over
    return suspension.command(plan, record) if is_suspended else ""


def _are_raised(rollback: Rollback, transition: Transition) -> bool:
    """Tell whether an autoscaler's bounds were raised then, and not put back yet."""
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
        is_by_itself = rollback.status.outcome is Outcome.VERIFIED
        yield RAISED + (BY_ITSELF if is_by_itself else "")


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
    yield from _looks(rollback.spec.target_ref.name, namespace)


def _looks(deployment: str, namespace: str) -> Iterator[str]:
    yield f"kubectl rollout status deployment/{deployment} -n {namespace}"
    yield f"kubectl rollout history deployment/{deployment} -n {namespace}"
    yield f"kubectl logs deployment/{deployment} -n {namespace} --since=10m --tail=100"


def of_request(request: RollbackRequest, policy: RollbackPolicy, told: Notification) -> Message:
    """Make the message about a rollback that a person has asked for in vain."""
    meta, why = request.metadata, find(request.status.conditions, ConditionType.COMPLETE)
    asked = [Moment(meta.creation_timestamp, "asked for")] if meta.creation_timestamp else []
    made = _left_alone(policy, told, REQUEST_REFUSED, f"rollback {meta.name}")
    return replace(
        made,
        source=f"/apis/{API_VERSION}/namespaces/{meta.namespace}/rollbacks/{meta.name}",
        status=f"{made.status} - {why.message if why is not None else 'no reason'}",
        reason=f"{request.spec.remedy.type}: {requests.request_message(request)}",
        timeline=(*asked, Moment(told.time, "refused")),
        begun=meta.creation_timestamp or told.time,
    )


def of_policy(policy: RollbackPolicy, told: Notification) -> Message:
    """Make the message about a release that is not rolled back: people are to look at it."""
    words, name = words_asked(told.transition), policy.metadata.name
    return _left_alone(policy, told, words, f"rollbackpolicy {name}")


def _left_alone(policy: RollbackPolicy, told: Notification, words: Words, record: str) -> Message:
    """Tell of what is not done; of a policy unless somebody says otherwise.

    Args:
        policy: whose release stays.
        told: its identifier is <whose>.<transition>.<channel>.
        words: of the transition.
        record: kind and name of what kubectl shows.
    """
    spec, meta, revision = policy.spec, policy.metadata, policy.status.revision
    service = spec.communication.service or spec.target_ref.name
    undo = commands.undo(meta.name, meta.namespace)
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
        next_steps=tuple(one.replace(UNDO, undo) for one in words.next_steps),
        commands=(
            f"kubectl describe {record} -n {meta.namespace}",
            *_looks(spec.target_ref.name, meta.namespace),
        ),
        contact=spec.communication.contact,
        begun=told.time,
        time=told.time,
    )
