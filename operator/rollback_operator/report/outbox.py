"""What is to be told and to whom, and what became of it: the only maker of notifications.

A notification is put on record in the same write as the transition that it tells of. So nothing is
told that is not stored, and what is stored is told, by whoever leads then. Its identifier follows
from object, transition and channel: told twice, it is known to be one.
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
"""After this time a message is no news any more; but it is tried a few times whenever."""
LEAST_ATTEMPTS = 3
FAILING_ATTEMPTS = 3
FIRST_RESEND_SECONDS = 5.0
LONGEST_RESEND_SECONDS = 300.0


def announced(
    before: Rollback, status: RollbackStatus, policy: RollbackPolicy | None, now: datetime
) -> RollbackStatus:
    """Add to a Rollback's new status what it has to tell.

    Args:
        before: the Rollback as it is stored. What has ended has been announced.
        status: what is about to be stored.
        policy: names the channels; None: it is gone, and with it the channels.
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
        _notification(before.metadata.uid, one.name, channel, one.time)
        for one in happened
        for channel in channels
        if channel.wants(severity)
    ]
    told = incident.of_rollback(rollback, policy, happened[-1])
    names = {one.name for one in happened}
    known = [one for one in status.notifications if not _is_stale(one, names)]
    return status.model_copy(
        update={
            "notifications": added(known, wanted),
            "message": formats.plain(told),
        }
    )


def refused(
    request: RollbackRequest, status: RollbackStatus, policy: RollbackPolicy | None
) -> RollbackStatus:
    """Add to the status by which a request is refused what it has to tell, once a channel.

    Args:
        request: as it is stored, without an answer.
        status: what is about to be stored: it has ended.
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


def _is_stale(one: Notification, happened: set[str]) -> bool:
    """Tell whether an update has not arrived yet and a newer message says more."""
    is_update = one.transition.startswith(f"{TransitionKind.UPDATE}-")
    return one.is_open and is_update and one.transition not in happened


def told_of_policy(
    policy: RollbackPolicy, status: RollbackPolicyStatus, notices: Sequence[Notice], now: datetime
) -> RollbackPolicyStatus:
    """Add to a policy's new status what people are asked to look at without a rollback.

    Once for a release and a reason: a verdict that comes and goes is told once. What has no
    severity yet, as a release that has come back, is told to every channel.
    """
    release = status.revision.release if status.revision is not None else ""
    wanted = [
        _notification(f"{policy.metadata.uid}.{release[:10]}", one.reason, channel, now).model_copy(
            update={"severity": str(severity), "text": clipped(one.message, 1024)}
        )
        for one in notices
        if one.is_for_people
        for severity in [one.severity or status.severity]
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
    """Add to a record what is not on it, within its bound."""
    ids = {one.id for one in known}
    merged = [*known, *(one for one in wanted if one.id not in ids)]
    while len(merged) > MOST_NOTIFICATIONS:
        # The oldest that is settled goes first; an open one only if there is nothing else.
        closed = next((one for one in merged if not one.is_open), merged[0])
        merged.remove(closed)
    return merged


def heads(notifications: Sequence[Notification]) -> Iterator[Notification]:
    """Give the oldest open one of each channel: an end must not arrive before its beginning."""
    seen: set[str] = set()
    for one in sorted(notifications, key=lambda each: each.time):
        if one.is_open and one.channel not in seen:
            seen.add(one.channel)
            yield one


def delivered(one: Notification, now: datetime) -> Notification:
    """Put a delivery on record."""
    return one.model_copy(update={"delivered_time": now, "message": ""})


def failed(one: Notification, why: str, now: datetime) -> Notification:
    """Put a failed attempt on record, and give up where it is too much or too late."""
    attempts = one.attempts + 1
    is_old = (now - one.time).total_seconds() > NEWS_SECONDS and attempts >= LEAST_ATTEMPTS
    given_up = now if is_old or attempts >= MOST_SEND_ATTEMPTS else None
    return one.model_copy(
        update={"attempts": attempts, "message": clipped(why, 512), "gave_up_time": given_up}
    )


def given_up(one: Notification, why: str, now: datetime) -> Notification:
    """Put on record that nobody will be told any more."""
    return one.model_copy(update={"message": clipped(why, 512), "gave_up_time": now})


def backoff(attempts: int) -> timedelta:
    """Tell how long to wait after so many failed attempts."""
    longest = FIRST_RESEND_SECONDS * 2.0 ** min(attempts - 1, 10)
    return timedelta(seconds=min(LONGEST_RESEND_SECONDS, longest))


def notified(
    policy: RollbackPolicy,
    rollbacks: Sequence[Rollback],
    requests: Sequence[RollbackRequest] = (),
) -> Condition:
    """Tell whether people were told: of the newest rollback, the newest refusal, and the rest."""
    kind = ConditionType.NOTIFIED
    if not policy.spec.notify:
        said = "spec.notify names nobody; events and statuses tell"
        return conditions.condition(kind, None, Reason.NO_CHANNELS, said)
    newest = max(rollbacks, key=lambda one: one.spec.trigger.decided_time, default=None)
    told = list(policy.status.notifications)
    told += newest.status.notifications if newest is not None else []
    answered = [(time, one) for one in requests if (time := one.status.finished_time)]
    told += max(answered, key=lambda each: each[0])[1].status.notifications if answered else []
    names = {one.name for one in policy.spec.notify}
    told = [one for one in told if one.channel in names]
    for reason, bad in (
        (Reason.DELIVERY_GIVEN_UP, [_given_up_last(one.name, told) for one in policy.spec.notify]),
        (Reason.DELIVERY_FAILING, [one for one in told if _is_failing(one)]),
    ):
        found = [f"{one.channel}: {one.transition}: {one.message}" for one in bad if one]
        if found:
            return conditions.condition(kind, False, reason, clipped("; ".join(found), 1024))
    if not told:
        return conditions.condition(kind, None, Reason.NOTHING_TO_TELL)
    if any(one.is_open for one in told):
        return conditions.condition(kind, None, Reason.DELIVERING)
    return conditions.condition(kind, True, Reason.DELIVERED)


def _given_up_last(channel: str, told: Sequence[Notification]) -> Notification | None:
    """Find the message that a channel did not take, unless it has taken one since."""
    settled = [(time, one) for one in told if one.channel == channel and (time := _end(one))]
    newest = max(settled, key=lambda each: each[0], default=None)
    return newest[1] if newest is not None and newest[1].gave_up_time else None


def _end(one: Notification) -> datetime | None:
    return one.delivered_time or one.gave_up_time


def _is_failing(one: Notification) -> bool:
    return one.is_open and one.attempts >= FAILING_ATTEMPTS
