"""Report: one guarded write of a policy's status, or none when nothing has changed.

Notifications are put on record in the same write; Events follow it.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from rollback_operator.api.reasons import EventReason, Reason
from rollback_operator.api.v1alpha1 import Condition, RollbackPolicy, RollbackPolicyStatus
from rollback_operator.model.message import Notice
from rollback_operator.ports.failure import RETRY_SECONDS, Failure, FailureKind
from rollback_operator.ports.store import Store
from rollback_operator.reconcile.cache import Cache
from rollback_operator.releases import ledger, ownership
from rollback_operator.report import events, outbox, status
from rollback_operator.report.readiness import not_found

_log = logging.getLogger(__name__)
GONE_SECONDS = 0.05
"""Seconds until the Rollbacks of a policy that is gone are settled."""


REPEAT_AFTER = timedelta(minutes=10)
"""An Event that comes and goes is posted again after this time: people read Events."""


@dataclass
class RecentEvents:
    """The Events of lasting causes posted recently, by policy and release. Bounded by time."""

    times: dict[tuple[str, str, EventReason, str], datetime] = field(default_factory=dict)
    """The oldest first."""

    def news(
        self, uid: str, status: RollbackPolicyStatus, events: Sequence[Notice], now: datetime
    ) -> list[Notice]:
        """Leave out Events that were posted recently for the same release and cause."""
        while self.times and now - next(iter(self.times.values())) >= REPEAT_AFTER:
            del self.times[next(iter(self.times))]
        digest = status.revision.digest if status.revision is not None else ""
        news = []
        for event in events:
            key = (uid, digest, event.reason, event.cause)
            if event.cause and key in self.times:
                continue
            if event.cause:
                self.times[key] = now
            news.append(event)
        return news


@dataclass
class Reporter:
    """Writes statuses through the port."""

    cache: Cache
    store: Store
    clock: Callable[[], datetime]
    recent: RecentEvents = field(default_factory=RecentEvents)

    async def report(self, policy: RollbackPolicy, seen: status.StatusInputs) -> float | None:
        """Write what was observed; gives the seconds until a failed write is repeated."""
        policy = ownership.of_target(policy)
        old, now = policy.status, self.clock()
        own = self.cache.rollbacks_by(policy.key)
        asked = self.cache.requests_by(policy.key)
        delivery = outbox.notified(policy, own, asked)
        spec = policy.spec
        seen = replace(seen, key=policy.key, own=own, notified=delivery)
        seen = replace(seen, trust=spec.trust, safety=spec.safety)
        others = self.cache.policies_on(policy.key[0], spec.target_ref.name)
        known = ownership.informed(policy, others)
        seen = replace(seen, quarantined=known.status.quarantine)
        if seen.workload is None:
            seen = replace(seen, ledger=ledger.at_rest(known, own, now))
        new = status.next_status(old, seen, policy.metadata.generation, now)
        notices = events.policy_notices(old, new, seen.decision)
        announced = [*notices, *events.suspicion(new, seen.decision)]
        notices += events.image_not_pulled(seen.workload)
        notices = events.on_deployment(notices, seen.workload)
        return await self._write(
            policy, outbox.announced_of_policy(policy, new, announced, now), notices
        )

    async def report_unreadable(self, policy: RollbackPolicy, why: Condition) -> float | None:
        """Report why a policy cannot be parsed: nothing of its spec is known."""
        own = self.cache.rollbacks_by(policy.key)
        seen, generation = status.StatusInputs(why, own=own), policy.metadata.generation
        new = status.next_status(policy.status, seen, generation, self.clock())
        return await self._write(policy, new, ())

    async def _write(
        self, policy: RollbackPolicy, new: RollbackPolicyStatus, events: Sequence[Notice]
    ) -> float | None:
        written: RollbackPolicy | Failure = policy
        if new != policy.status:
            written = await self.store.write_policy(policy, new)
        if isinstance(written, Failure):
            return self._after_failed_write(policy, written)
        if written is not policy:
            self.cache.take_in(written)
        # After the write: without the record, the next pass posts the Event again.
        for event in self.recent.news(policy.metadata.uid, new, events, self.clock()):
            await self.store.post(written, event)
        return None

    def _after_failed_write(self, policy: RollbackPolicy, failure: Failure) -> float:
        """Drop a policy that is gone: an interrupted watch does not deliver the deletion."""
        if failure.kind is not FailureKind.GONE:
            _log.warning("%s: status not written: %s", policy.metadata.name, failure.message)
            return failure.wait
        known = self.cache.policies.get(policy.key)
        if known is not None and known.metadata.uid == policy.metadata.uid:
            self.cache.drop_policy(policy.key)
        return GONE_SECONDS

    async def report_unread(self, policy: RollbackPolicy, failure: Failure) -> float | None:
        """Report that the target could not be read; gives the seconds until the next try."""
        if failure.kind is FailureKind.GONE:
            name = policy.spec.target_ref.name
            missing = status.not_ready(
                Reason.TARGET_NOT_FOUND, not_found(name, policy.metadata.namespace)
            )
            await self.report(policy, status.StatusInputs(missing))
            return RETRY_SECONDS
        _log.warning("%s: the target cannot be read: %s", policy.metadata.name, failure.message)
        if failure.kind is FailureKind.REJECTED:
            refused = status.not_ready(Reason.READ_FAILED, failure.message)
            await self.report(policy, status.StatusInputs(refused))
        return failure.wait
