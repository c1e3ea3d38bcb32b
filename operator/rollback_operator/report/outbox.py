"""Notifications and their delivery: the only maker of notifications.

A notification is stored in the same write as its transition. So a transition that is not stored is
never sent, and a stored transition is sent by the current leader. The identifier follows from
object, transition and channel, so that a receiver recognizes a message that is sent twice.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta

from rollback_operator.api.notify import MOST_NOTIFICATIONS, Channel, Notification
from rollback_operator.api.reasons import ConditionType, Reason
from rollback_operator.api.shape import clipped
from rollback_operator.api.v1alpha1 import (
    Condition,
    Rollback,
    RollbackPolicy,
    RollbackPolicyStatus,
    RollbackRequest,
    RollbackStatus,
    Severity,
)
from rollback_operator.decide import requests
from rollback_operator.model import conditions
from rollback_operator.model.message import Notice
from rollback_operator.report import formats, incident
from rollback_operator.report.transitions import TransitionKind, transitions

MOST_SEND_ATTEMPTS = 16
NEWS_SECONDS = 3600
"""After this time a message is outdated; it is still tried LEAST_ATTEMPTS times."""
LEAST_ATTEMPTS = 3
FAILING_ATTEMPTS = 3
FIRST_RESEND_SECONDS = 5.0
LONGEST_RESEND_SECONDS = 300.0


def announced(
    before: Rollback, status: RollbackStatus, policy: RollbackPolicy | None, now: datetime
) -> RollbackStatus:
    """Add the notifications of new transitions to a Rollback's new status.

    Args:
        before: the Rollback as it is stored; an ended Rollback has been announced.
        status: the status that is about to be stored.
        policy: names the channels; None: it does not exist any more, and has no channels.
        now: the time of the write.
    """
    if before.status.outcome is not None:
        return status
    rollback = before.model_copy(update={"status": status})
    happened = transitions(rollback, now)
    if not happened:
        return status
    channels = policy.spec.notify if policy is not None else []
    severity = status.severity or before.spec.severity
    wanted = [
        _notification(before.metadata.uid, item.name, channel, item.time)
        for item in happened
        for channel in channels
        if channel.wants(severity)
    ]
    message = incident.of_rollback(rollback, policy, happened[-1])
    names = {item.name for item in happened}
    known = [item for item in status.notifications if not _is_stale(item, names)]
    return status.model_copy(
        update={
            "notifications": added(known, wanted),
            "message": formats.plain(message),
        }
    )


def refused(
    request: RollbackRequest, status: RollbackStatus, policy: RollbackPolicy | None
) -> RollbackStatus:
    """Add the notifications of a refusal to the status of a request, one per channel.

    Args:
        request: as it is stored, without an outcome.
        status: the status with the outcome that is about to be stored.
        policy: names the channels; None: there is none.
    """
    if policy is None or status.outcome is None or status.finished_time is None:
        return status
    severity, uid = requests.severity_asked(policy), request.metadata.uid
    wanted = [
        _notification(uid, status.outcome, channel, status.finished_time).model_copy(
            update={"severity": str(severity)}
        )
        for channel in policy.spec.notify
        if channel.wants(severity)
    ]
    return status.model_copy(update={"notifications": added(status.notifications, wanted)})


def _is_stale(notification: Notification, happened: set[str]) -> bool:
    """Report whether an unsent update is superseded by a newer message."""
    is_update = notification.transition.startswith(f"{TransitionKind.UPDATE}-")
    return notification.is_open and is_update and notification.transition not in happened


def announced_of_policy(
    policy: RollbackPolicy, status: RollbackPolicyStatus, notices: Sequence[Notice], now: datetime
) -> RollbackPolicyStatus:
    """Add the notifications without a rollback to a policy's new status.

    Each release and reason is reported once, also for a verdict that alternates. A notice without
    a severity, such as a release that has come back, goes to every channel.
    """
    release = status.revision.release if status.revision is not None else ""
    wanted = [
        _notification(
            f"{policy.metadata.uid}.{release[:10]}", notice.reason, channel, now
        ).model_copy(update={"severity": str(severity), "text": clipped(notice.message, 1024)})
        for notice in notices
        if notice.is_for_people
        for severity in [notice.severity or status.severity]
        for channel in policy.spec.notify
        if severity is Severity.NONE or channel.wants(severity)
    ]
    return status.model_copy(update={"notifications": added(status.notifications, wanted)})


def _notification(whose: str, transition: str, channel: Channel, time: datetime) -> Notification:
    return Notification(
        id=f"{whose}.{transition}.{channel.name}",
        transition=transition,
        channel=channel.name,
        time=time,
    )


def added(known: Sequence[Notification], wanted: Iterable[Notification]) -> list[Notification]:
    """Add new notifications to a record, within its bound."""
    ids = {item.id for item in known}
    merged = [*known, *(item for item in wanted if item.id not in ids)]
    while len(merged) > MOST_NOTIFICATIONS:
        # The oldest settled notification goes first; an open notification only if all are open.
        closed = next((item for item in merged if not item.is_open), merged[0])
        merged.remove(closed)
    return merged


def heads(notifications: Sequence[Notification]) -> Iterator[Notification]:
    """Return the oldest open notification of each channel: messages arrive in their order."""
    seen: set[str] = set()
    for item in sorted(notifications, key=lambda each: each.time):
        if item.is_open and item.channel not in seen:
            seen.add(item.channel)
            yield item


def delivered(notification: Notification, now: datetime) -> Notification:
    """Record a delivery."""
    return notification.model_copy(update={"delivered_time": now, "message": ""})


def failed(notification: Notification, why: str, now: datetime) -> Notification:
    """Record a failed attempt, and give up after too many attempts or too much time."""
    attempts = notification.attempts + 1
    is_old = (now - notification.time).total_seconds() > NEWS_SECONDS and attempts >= LEAST_ATTEMPTS
    gave_up = now if is_old or attempts >= MOST_SEND_ATTEMPTS else None
    return notification.model_copy(
        update={"attempts": attempts, "message": clipped(why, 512), "gave_up_time": gave_up}
    )


def given_up(notification: Notification, why: str, now: datetime) -> Notification:
    """Record that the notification is not sent any more."""
    return notification.model_copy(update={"message": clipped(why, 512), "gave_up_time": now})


def backoff(attempts: int) -> timedelta:
    """Return the delay after a number of failed attempts."""
    longest = FIRST_RESEND_SECONDS * 2.0 ** min(attempts - 1, 10)
    return timedelta(seconds=min(LONGEST_RESEND_SECONDS, longest))


def notified(
    policy: RollbackPolicy,
    rollbacks: Sequence[Rollback],
    requests: Sequence[RollbackRequest] = (),
) -> Condition:
    """Report whether the messages of policy, newest rollback and newest refusal arrived."""
    kind = ConditionType.NOTIFIED
    if not policy.spec.notify:
        message = "spec.notify has no channels; see Events and statuses"
        return conditions.condition(kind, None, Reason.NO_CHANNELS, message)
    newest = max(rollbacks, key=lambda item: item.spec.trigger.decided_time, default=None)
    sent = list(policy.status.notifications)
    sent += newest.status.notifications if newest is not None else []
    answered = [(time, item) for item in requests if (time := item.status.finished_time)]
    sent += max(answered, key=lambda each: each[0])[1].status.notifications if answered else []
    names = {item.name for item in policy.spec.notify}
    sent = [item for item in sent if item.channel in names]
    for reason, bad in (
        (
            Reason.DELIVERY_GIVEN_UP,
            [_given_up_last(item.name, sent) for item in policy.spec.notify],
        ),
        (Reason.DELIVERY_FAILING, [item for item in sent if _is_failing(item)]),
    ):
        problems = [f"{item.channel}: {item.transition}: {item.message}" for item in bad if item]
        if problems:
            return conditions.condition(kind, False, reason, clipped("; ".join(problems), 1024))
    if not sent:
        return conditions.condition(kind, None, Reason.NOTHING_TO_TELL)
    if any(item.is_open for item in sent):
        return conditions.condition(kind, None, Reason.DELIVERING)
    return conditions.condition(kind, True, Reason.DELIVERED)


def _given_up_last(channel: str, sent: Sequence[Notification]) -> Notification | None:
    """Return the message that a channel did not accept, unless it accepted a later message."""
    settled = [(time, item) for item in sent if item.channel == channel and (time := _end(item))]
    newest = max(settled, key=lambda each: each[0], default=None)
    return newest[1] if newest is not None and newest[1].gave_up_time else None


def _end(notification: Notification) -> datetime | None:
    return notification.delivered_time or notification.gave_up_time


def _is_failing(notification: Notification) -> bool:
    return notification.is_open and notification.attempts >= FAILING_ATTEMPTS
