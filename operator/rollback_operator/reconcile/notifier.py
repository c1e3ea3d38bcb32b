"""Delivers the notifications on record to the channels, and records the result of each delivery.

Off the rollback's path: a pass only hands messages over and takes results in; the sending waits in
tasks of its own. Each channel gets its messages in their order. A delivery is on record
after the delivery, so a message may arrive twice if the operator dies in between, and then under
the same identifier.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from rollback_operator.adapters.fairness.gates import Gate
from rollback_operator.api.notify import Channel, Notification
from rollback_operator.api.v1alpha1 import Rollback, RollbackPolicy, RollbackRequest, RollbackStatus
from rollback_operator.model.message import Message
from rollback_operator.ports.application import Channels
from rollback_operator.ports.failure import Failure, FailureKind
from rollback_operator.ports.store import Refresh, Store, left_as_known
from rollback_operator.reconcile.cache import Cache, Key
from rollback_operator.report import incident, outbox
from rollback_operator.report.transitions import next_update, transition_named

_log = logging.getLogger(__name__)
AT_ONCE, EACH = 64, 8
"""Messages that are being sent, of all and of one namespace."""
SEND_SECONDS = 20.0
"""For one attempt, whatever it waits for."""
FINISH_SECONDS = 1.0

NotifiedResource = Rollback | RollbackRequest | RollbackPolicy


@dataclass(frozen=True, slots=True)
class DeliveryPorts:
    """The dependencies of a delivery."""

    clock: Callable[[], datetime]
    is_leading: Callable[[], bool]
    """Asked before each message: without the Lease nothing is sent."""
    wake: Callable[[Key], None]
    """Requeues a policy: there is a result to put on record."""
    refresh: Refresh = left_as_known
    """Reads the record of a message anew: an earlier leader may have delivered it."""


@dataclass(frozen=True, slots=True)
class _Job:
    key: Key
    record: tuple[str, Key]
    """On which object's record it is: plural, and namespace with name."""
    id: str
    channel: Channel
    message: Message


@dataclass(frozen=True, slots=True)
class _Result:
    key: Key
    failure: Failure | None


@dataclass
class Notifier:
    """Made once, in bootstrap; `run` is its task."""

    channels: Channels
    store: Store
    records: Cache
    runtime: DeliveryPorts
    _jobs: asyncio.Queue[_Job] = field(default_factory=asyncio.Queue)
    _gate: Gate = field(default_factory=lambda: Gate(AT_ONCE, EACH))
    _busy: set[str] = field(default_factory=set)
    _results: dict[str, _Result] = field(default_factory=dict)
    _due: dict[str, datetime] = field(default_factory=dict)
    """When a message that failed is tried again. A new leader tries at once."""
    _is_ending: bool = False

    async def run(self) -> None:
        """Deliver until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._dispatch(group))

    def announced(self, rollback: Rollback, status: RollbackStatus) -> RollbackStatus:
        """Add the notifications to a status that is about to be stored."""
        return outbox.announced(rollback, status, self._policy_of(rollback), self.runtime.clock())

    def refused(self, request: RollbackRequest, status: RollbackStatus) -> RollbackStatus:
        """Add the notifications to a refusal that is about to be stored."""
        return outbox.refused(request, status, self._policy_of(request))

    async def settle(self, key: Key) -> float | None:
        """Put results on record and hand over what is due; gives the seconds until there is more.

        Called at the end of a policy's pass and nowhere else: two writers of a status would
        conflict.
        """
        policy = self.records.policy_at(key)
        records: list[NotifiedResource] = [
            *self.records.rollbacks_by(key),
            *self.records.requests_by(key),
        ]
        if policy is not None:
            records.append(policy)
        waits = [await self._settle(key, record) for record in records]
        known = {notification.id for each in records for notification in each.status.notifications}
        for gone in [id_ for id_, result in self._results.items() if result.key == key]:
            if gone not in known:
                del self._results[gone]
        return min((wait for wait in waits if wait is not None), default=None)

    async def finish(self) -> None:
        """Record what is delivered already: else the next leader would deliver it again."""
        self._is_ending = True
        with suppress(TimeoutError):
            async with asyncio.timeout(FINISH_SECONDS):
                while self._busy:  # noqa: ASYNC110 (bounded, once in a life)
                    await asyncio.sleep(0.05)
        for key in {result.key for result in self._results.values()}:
            if self.runtime.is_leading():
                await self.settle(key)

    def _policy_of(self, rollback: Rollback | RollbackRequest) -> RollbackPolicy | None:
        key = rollback.metadata.namespace, rollback.spec.policy_ref.name
        policy = self.records.policy_at(key)
        if isinstance(rollback, RollbackRequest):
            return policy
        is_same = policy is not None and policy.metadata.uid == rollback.spec.policy_ref.uid
        return policy if is_same else None

    async def _settle(self, key: Key, record: NotifiedResource) -> float | None:
        policy = record if isinstance(record, RollbackPolicy) else self._policy_of(record)
        now = self.runtime.clock()
        new = self._with_delivery_results(key, record, policy, now)
        # A result that arrives during the write is not in it, and must not be dropped with it.
        arrived = frozenset(self._results)
        if new.status != record.status:
            written = await self._write(new, record)
            if isinstance(written, Failure):
                return None if written.kind is FailureKind.GONE else written.wait
            for notification in written.status.notifications:
                if notification.id in arrived or not notification.is_open:
                    self._forget_settled(notification, now)
            self.records.take_in(written)
            record = written
        if policy is None:
            return None
        waits = [
            self._hand_over(key, record, policy, notification)
            for notification in outbox.heads(record.status.notifications)
        ]
        if isinstance(record, Rollback) and (update := next_update(record, now)) is not None:
            waits.append((update - now).total_seconds())
        return min((wait for wait in waits if wait is not None), default=None)

    def _with_delivery_results(
        self, key: Key, record: NotifiedResource, policy: RollbackPolicy | None, now: datetime
    ) -> NotifiedResource:
        if isinstance(record, Rollback):
            status = outbox.announced(record, record.status, policy, now)
            record = record.model_copy(update={"status": status})
        channels = {channel.name for channel in policy.spec.notify} if policy is not None else set()
        may_return = self.records.is_unreadable(key)
        notifications = []
        for notification in record.status.notifications:
            result = self._results.get(notification.id) if notification.is_open else None
            if result is not None:
                notifications.append(_with_delivery_result(notification, result.failure, now))
            elif notification.is_open and notification.channel not in channels and not may_return:
                why = "spec.notify names the channel no longer" if policy else "the policy is gone"
                notifications.append(outbox.given_up(notification, why, now))
            else:
                notifications.append(notification)
        changed = record.status.model_copy(update={"notifications": notifications})
        return record.model_copy(update={"status": changed})

    async def _write(
        self, new: NotifiedResource, old: NotifiedResource
    ) -> NotifiedResource | Failure:
        if isinstance(new, Rollback) and isinstance(old, Rollback):
            return await self.store.write_rollback(old, new.status)
        if isinstance(new, RollbackRequest) and isinstance(old, RollbackRequest):
            return await self.store.answer_request(old, new.status)
        if isinstance(new, RollbackPolicy) and isinstance(old, RollbackPolicy):
            return await self.store.write_policy(old, new.status)
        raise AssertionError(new)

    def _forget_settled(self, notification: Notification, now: datetime) -> None:
        """Drop a result that is on record; note when a failed message is sent again."""
        result = self._results.pop(notification.id, None)
        if not notification.is_open:
            self._due.pop(notification.id, None)
            return
        if result is not None and result.failure is not None:
            asked = timedelta(seconds=result.failure.retry_after or 0.0)
            # Entries that are due have no effect, and their records may be gone.
            self._due = {id_: due for id_, due in self._due.items() if now < due}
            self._due[notification.id] = now + max(asked, outbox.backoff(notification.attempts))

    def _hand_over(
        self, key: Key, record: NotifiedResource, policy: RollbackPolicy, notification: Notification
    ) -> float | None:
        now = self.runtime.clock()
        due = self._due.get(notification.id, now)
        if due > now:
            return (due - now).total_seconds()
        if self._is_ending or notification.id in self._busy or notification.id in self._results:
            return None
        channel = next(
            (each for each in policy.spec.notify if each.name == notification.channel), None
        )
        if channel is not None:
            self._busy.add(notification.id)
            where = record.PLURAL, record.key
            self._jobs.put_nowait(
                _Job(key, where, notification.id, channel, _message(record, policy, notification))
            )
        return None

    async def _dispatch(self, group: asyncio.TaskGroup) -> None:
        while True:
            group.create_task(self._deliver(await self._jobs.get()))

    async def _deliver(self, job: _Job) -> None:
        try:
            async with self._gate.turn(job.key[0]):
                if self._may_send() and not await self._is_settled(job) and self._may_send():
                    self._results[job.id] = _Result(job.key, await self._send(job))
        finally:
            self._busy.discard(job.id)
        self.runtime.wake(job.key)

    def _may_send(self) -> bool:
        return self.runtime.is_leading() and not self._is_ending

    async def _is_settled(self, job: _Job) -> bool:
        """Tell whether an earlier leader has recorded a message as delivered or given up.

        A watch may be stale. Where the record cannot be read the message is sent: twice is better
        than not at all.
        """
        await self.runtime.refresh(*job.record)
        policy = self.records.policy_at(job.key)
        rollbacks, requests = self.records.rollbacks_by(job.key), self.records.requests_by(job.key)
        known: list[NotifiedResource] = [
            *rollbacks,
            *requests,
            *([] if policy is None else [policy]),
        ]
        notifications = (
            notification for each in known for notification in each.status.notifications
        )
        return any(each.id == job.id and not each.is_open for each in notifications)

    async def _send(self, job: _Job) -> Failure | None:
        try:
            async with asyncio.timeout(SEND_SECONDS):
                failure = await self.channels.send(job.channel, job.key[0], job.message)
        except TimeoutError:
            failure = Failure(FailureKind.UNAVAILABLE, f"no end within {SEND_SECONDS:.0f} s")
        except Exception as error:
            # Its text and its trace may hold what was being sent, and a credential with it.
            failure = Failure(FailureKind.UNAVAILABLE, f"a bug: {type(error).__name__}")
        if failure is None:
            _log.info("%s: delivered", job.id)
        else:
            _log.warning("%s: not delivered: %s", job.id, failure.message)
        return failure


def _with_delivery_result(
    notification: Notification, failure: Failure | None, now: datetime
) -> Notification:
    if failure is None:
        return outbox.delivered(notification, now)
    return outbox.failed(notification, failure.message, now)


def _message(
    record: NotifiedResource, policy: RollbackPolicy, notification: Notification
) -> Message:
    """Make the message of a notification, under its identifier."""
    if isinstance(record, RollbackPolicy):
        made = incident.of_policy(record, notification)
    elif isinstance(record, RollbackRequest):
        made = incident.of_request(record, policy, notification)
    else:
        made = incident.of_rollback(
            record, policy, transition_named(notification.transition, notification.time)
        )
    return replace(made, id=notification.id)
