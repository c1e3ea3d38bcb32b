"""Reversible acts on objects of others: guard, record, act, restore.

The bounds of an autoscaler are raised, and the owner of a Deployment is suspended, only for the
duration of a rollback. In this order: a finalizer guards the Rollback, the state as it was is put
on record, the object is changed; then the object is restored, the record closed, the finalizer
removed. Each part compares before it acts, so that a replay after a crash does no harm.
"""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import ClassVar

from rollback_operator.api.crd import BOUNDS_FINALIZER, OWNER_FINALIZER
from rollback_operator.api.reasons import Reason
from rollback_operator.api.remedy import AutoscalerRecord, OwnerRecord
from rollback_operator.api.v1alpha1 import (
    Condition,
    Outcome,
    Rollback,
    RollbackPolicy,
    RollbackStatus,
)
from rollback_operator.decide.schedule import soonest
from rollback_operator.model import conditions
from rollback_operator.model.controllers import OwnedDeployment, OwnerState
from rollback_operator.model.workload import Autoscaler, Deployment
from rollback_operator.ports.cluster import Autoscalers, Owners
from rollback_operator.ports.failure import Failure, FailureKind
from rollback_operator.ports.store import Store
from rollback_operator.reconcile.act.recording import PostedOnce, Write
from rollback_operator.remedies import autoscaling, gitops, suspension
from rollback_operator.remedies.autoscaling import Closed, Due
from rollback_operator.remedies.progress import Done, RollbackEnd
from rollback_operator.report import events

_log = logging.getLogger(__name__)
OWNER_POLL_SECONDS = 30.0
"""Interval at which a suspended owner is compared with what runs."""
OWNER_SECONDS = 300.0
"""Lifetime of the preflight result for an owner."""
OBSTACLE_SECONDS = 60.0
"""Lifetime of an obstacle: an Application lists a new Deployment only after its first sync."""
_FINAL = (FailureKind.UNKNOWN_KIND, FailureKind.GONE, FailureKind.REJECTED)


@dataclass(frozen=True, slots=True)
class RecordRules:
    """Questions to the record of a Rollback about a kind of reversible act."""

    finalizer: str
    is_left: Callable[[Rollback], bool]
    """Whether a rollback that is over has something to restore, or a guard to remove."""
    is_open: Callable[[Rollback], bool]
    """Whether the object is still changed, as far as is known."""
    is_asked: Callable[[Rollback], bool]
    """Whether a person waits for the object to be restored."""


@dataclass
class Reversible(ABC):
    """The part that all reversible acts have in common."""

    store: Store
    clock: Callable[[], datetime]
    write: Write
    take_in: Callable[[Rollback], None]
    """Takes in what another write returned, unless the Rollback is gone by now."""
    due: dict[str, tuple[datetime, bool]] = field(default_factory=dict, init=False)
    """By the Rollback's uid: the time of the next look, and whether a person had asked by then."""
    once: PostedOnce = field(init=False)
    """Each Event is posted before its record, which may be retried."""
    rules: ClassVar[RecordRules]

    def __post_init__(self) -> None:
        self.once = PostedOnce(self.store)

    @abstractmethod
    async def restore(
        self, rollback: Rollback, deployment: Deployment | None
    ) -> Rollback | float | Failure:
        """Restore the object if it is time; gives the seconds until the next look if it is not."""

    async def settle(
        self, rollbacks: Sequence[Rollback], deployment: Deployment | None = None
    ) -> float | None:
        """Restore what is due; gives the seconds until the next look, None: nothing is changed.

        Args:
            rollbacks: of one Deployment. While one goes on its own steps come first.
            deployment: of that name, as it is now; None: it is gone, or does not matter.
        """
        left = [rollback for rollback in rollbacks if self.rules.is_left(rollback)]
        return soonest(*[await self._settle(rollback, deployment) for rollback in left])

    async def guard(self, rollback: Rollback) -> Rollback | Failure:
        """Put the finalizer on a Rollback, so that its record outlives a deletion."""
        if self.rules.finalizer in rollback.metadata.finalizers:
            return rollback
        guarded = await self.store.guard(rollback, self.rules.finalizer)
        if not isinstance(guarded, Failure):
            self.take_in(guarded)
        return guarded

    async def _settle(self, rollback: Rollback, deployment: Deployment | None) -> float | None:
        if not self.rules.is_open(rollback):
            return await self._release(rollback)
        uid, now, is_asked = rollback.metadata.uid, self.clock(), self.rules.is_asked(rollback)
        due, was_asked = self.due.get(uid, (now, is_asked))
        if now < due and is_asked == was_asked:
            return (due - now).total_seconds()
        done = await self.restore(rollback, deployment)
        if isinstance(done, Rollback):
            self.due.pop(uid, None)
            return await self._release(done)
        if isinstance(done, Failure):
            _log.warning("%s: %s", rollback.metadata.name, done.message)
        wait = done.wait if isinstance(done, Failure) else done
        # Entries that are due have no effect, and their Rollbacks may be gone.
        self.due = {other: due for other, due in self.due.items() if now < due[0]}
        self.due[uid] = now + timedelta(seconds=wait), is_asked
        return wait

    async def _release(self, rollback: Rollback) -> float | None:
        """Remove the finalizer from a Rollback that has nothing left to restore."""
        if self.rules.finalizer not in rollback.metadata.finalizers:
            return None
        done = await self.store.release(rollback, self.rules.finalizer)
        if not isinstance(done, Failure):
            self.take_in(done)
            return None
        _log.warning("%s: %s", rollback.metadata.name, done.message)
        return None if done.kind is FailureKind.GONE else done.wait


# -- the bounds of an autoscaler -------------------------------------------------------------------


@dataclass
class Scaler(Reversible):
    """Raises the bounds of the autoscaler that sets a Deployment's replicas."""

    autoscalers: Autoscalers
    rules = RecordRules(
        BOUNDS_FINALIZER, autoscaling.is_left, autoscaling.is_open, autoscaling.is_wanted_back
    )

    async def raise_bounds(
        self, rollback: Rollback, autoscaler: Autoscaler
    ) -> tuple[Rollback, Failure | None]:
        """Raise the bounds of a rollback whose step has begun; gives it with what is on record."""
        guarded = await self.guard(rollback)
        if isinstance(guarded, Failure):
            return rollback, guarded
        rollback, record = guarded, autoscaling.recorded(guarded, autoscaler)
        if record != rollback.status.autoscaler:
            condition = autoscaling.intended_condition(rollback, record)
            status = autoscaling.stored(rollback.status, record, condition, self.clock())
            written = await self.write(rollback, status)
            if isinstance(written, Failure):
                return rollback, written
            rollback = written
        wanted = autoscaling.after(record)
        _log.info("%s: gives %s %s", rollback.metadata.name, autoscaler, wanted)
        done = await self.autoscalers.set_bounds(rollback.metadata.namespace, autoscaler, wanted)
        if not isinstance(done, Failure):
            reported = await self._report_raised(rollback, record)
            return (rollback, None) if isinstance(reported, Failure) else (reported, None)
        if done.kind is FailureKind.REJECTED:
            condition = autoscaling.refused_condition(rollback, record, done.message)
            status = autoscaling.stored(rollback.status, record, condition, self.clock())
            if status != rollback.status:
                written = await self.write(rollback, status)
                rollback = rollback if isinstance(written, Failure) else written
        return rollback, done

    async def _report_raised(
        self, rollback: Rollback, record: AutoscalerRecord
    ) -> Rollback | Failure:
        """Report raised bounds once; what a crash prevents is done when they are restored."""
        if autoscaling.is_reported(rollback):
            return rollback
        condition = autoscaling.raised_condition(rollback, record)
        # Before it is stored: a leader that reads the record cannot know that it was posted.
        await self.once.post(rollback, events.bounds_raised(condition.message))
        status = autoscaling.stored(rollback.status, record, condition, self.clock())
        return await self.write(rollback, status)

    async def restore(
        self, rollback: Rollback, deployment: Deployment | None
    ) -> Rollback | float | Failure:
        """Restore the bounds if that is due and they are still the operator's."""
        plan, namespace, now = rollback.spec.autoscaler, rollback.metadata.namespace, self.clock()
        assert plan is not None  # or nothing would be on record
        read = await self.autoscalers.read_autoscaler(namespace, plan.name)
        if isinstance(read, Failure) and read.kind is not FailureKind.GONE:
            return read
        autoscaler = None if isinstance(read, Failure) else read
        record = rollback.status.autoscaler
        if record is not None and autoscaler and autoscaler.bounds == autoscaling.after(record):
            reported = await self._report_raised(rollback, record)
            if isinstance(reported, Failure):
                return reported
            rollback = reported
        end = autoscaling.settled(rollback, autoscaler, now)
        if end is None:
            return autoscaling.next_check(rollback, now)
        if isinstance(end, Due):
            assert autoscaler is not None
            _log.info(
                "%s: gives %s %s: %s", rollback.metadata.name, autoscaler, end.bounds, end.why
            )
            done = await self.autoscalers.set_bounds(namespace, autoscaler, end.bounds)
            if isinstance(done, Failure):
                return done
            end = Closed(Reason.BOUNDS_RESTORED, f"it has {end.bounds} as before: {end.why}")
        record, condition = autoscaling.closed(rollback, end, self.clock())
        await self.once.post(rollback, events.bounds_settled(end.reason, condition.message))
        status = autoscaling.stored(rollback.status, record, condition, self.clock())
        return await self.write(rollback, status)


# -- the owner of a Deployment ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Taken:
    """How far a suspension has come."""

    rollback: Rollback
    """With the changes to store with the step's end."""
    next: Done | RollbackEnd | Failure


@dataclass
class Suspender(Reversible):
    """Suspends the GitOps controller that would revert an act, for the duration of a rollback.

    A record that is deleted stays until the owner is released, or until people are notified that
    it stays suspended.
    """

    owners: Owners
    known: dict[OwnedDeployment, tuple[datetime, str]] = field(default_factory=dict, init=False)
    """By owner: until when the preflight result holds, and the obstacle."""
    rules = RecordRules(
        OWNER_FINALIZER, suspension.is_left, suspension.is_open, suspension.is_being_deleted
    )

    async def obstacle(self, policy: RollbackPolicy, deployment: Deployment) -> str:
        """Check in advance whether the owner could be suspended; empty: no obstacle is known."""
        steered, now = gitops.expected_suspension(policy, deployment), self.clock()
        if steered is None:
            return ""
        until, why = self.known.get(steered, (now, ""))
        if now < until:
            return why
        return self._remember(steered, await self.owners.read_owner(steered))

    def _remember(self, steered: OwnedDeployment, read: OwnerState | Failure) -> str:
        """Keep the obstacle that a read shows, and return it; an outage shows nothing new."""
        now = self.clock()
        _, why = self.known.get(steered, (now, ""))
        if not isinstance(read, Failure):
            why = "" if read.is_suspended and read.is_proved else read.obstacle
        elif read.kind in _FINAL:
            why = read.message
        forgotten = now - timedelta(seconds=OWNER_SECONDS)
        self.known = {key: kept for key, kept in self.known.items() if kept[0] > forgotten}
        seconds = OBSTACLE_SECONDS if why else OWNER_SECONDS
        self.known[steered] = now + timedelta(seconds=seconds), why
        return why

    async def suspend(self, rollback: Rollback) -> Taken:
        """Suspend the owner for a rollback whose step has begun."""
        steered = gitops.planned_suspension(rollback)
        if steered is None:
            return Taken(rollback, Done("no owner is to be suspended"))
        owner = await self.owners.read_owner(steered)
        self._remember(steered, owner)
        if isinstance(owner, Failure):
            return Taken(rollback, _refused(owner.message) if owner.kind in _FINAL else owner)
        record = suspension.recorded(rollback, owner)
        if owner.obstacle and not (record.was_suspended and owner.is_proved):
            return Taken(rollback, _refused(owner.obstacle))
        noted = await self._record_owner(rollback, record)
        if isinstance(noted, Failure):
            return Taken(rollback, noted)
        if not owner.is_suspended:
            by = f"{noted.metadata.namespace}/{noted.metadata.name}"
            _log.info("%s: suspends %s", by, gitops.named(steered.object, owner.namespace))
            done = await self.owners.suspend(steered, owner, by)
            if isinstance(done, Failure):
                return Taken(noted, done)
        now, stored = self.clock(), noted.status.owner
        assert stored is not None
        record, condition = suspension.suspended(noted, stored, now)
        if not record.was_suspended:
            # Before it is stored: a leader that finds the step open cannot know it was posted.
            await self.once.post(noted, events.owner_suspended(condition.message))
        status = _with_owner(noted.status, record, condition, now)
        return Taken(noted.model_copy(update={"status": status}), Done(condition.message))

    async def _record_owner(self, rollback: Rollback, record: OwnerRecord) -> Rollback | Failure:
        """Put on record how an owner was, behind a finalizer where it is to be suspended."""
        guarded = rollback if record.was_suspended else await self.guard(rollback)
        if isinstance(guarded, Failure) or record == guarded.status.owner:
            return guarded
        return await self.write(guarded, _with_owner(guarded.status, record, None, self.clock()))

    async def restore(
        self, rollback: Rollback, deployment: Deployment | None
    ) -> Rollback | float | Failure:
        """Release the owner once it wants what runs; a deletion does not wait for that."""
        done = await self._release_owner_if_due(rollback, deployment)
        if not self.rules.is_asked(rollback):
            return OWNER_POLL_SECONDS if done is None else done
        if done is None:
            return await self._leave_suspended(rollback, "")
        if isinstance(done, Failure) and done.kind is FailureKind.REJECTED:
            return await self._leave_suspended(rollback, done.message)
        return done

    async def _leave_suspended(self, rollback: Rollback, why: str) -> Rollback:
        """Notify people that an owner stays suspended; the finalizer is removed after that.

        In this order: a crash in between leaves it to the next leader, which posts it if it is not.
        """
        left = suspension.left(rollback, why)
        _log.warning("%s", left)
        await self.once.post(rollback, events.owner_left(left))
        return rollback

    async def _release_owner_if_due(
        self, rollback: Rollback, deployment: Deployment | None
    ) -> Rollback | Failure | None:
        """Release the owner, or record that it is released already; None: it is not time yet."""
        steered = gitops.planned_suspension(rollback)
        assert steered is not None  # or nobody would be on record
        owner = await self.owners.read_owner(steered)
        if isinstance(owner, Failure):
            if owner.kind not in (FailureKind.GONE, FailureKind.UNKNOWN_KIND):
                return owner
            return await self._record_released(rollback, "it is gone")
        if over := suspension.taken_over(rollback, owner):
            return await self._record_released(rollback, over)
        if deployment is None:
            return None  # to release it could bring the bad release back
        why = suspension.release(rollback, owner, deployment)
        why = why or suspension.replaced(rollback, deployment)
        return await self._resume(rollback, owner, why) if why else None

    async def _resume(self, rollback: Rollback, owner: OwnerState, why: str) -> Rollback | Failure:
        steered = gitops.planned_suspension(rollback)
        assert steered is not None
        record, _ = suspension.released(rollback, why, None)
        if record != rollback.status.owner:
            status = _with_owner(rollback.status, record, None, self.clock())
            written = await self.write(rollback, status)
            if isinstance(written, Failure):
                return written
            rollback = written
        done = await self.owners.resume(steered, owner, record.automated)
        if isinstance(done, Failure):
            return done
        return await self._record_released(rollback, why)

    async def _record_released(self, rollback: Rollback, why: str) -> Rollback | Failure:
        now = self.clock()
        record, condition = suspension.released(rollback, why, now)
        if condition is not None:
            await self.once.post(rollback, events.owner_released(condition.message))
        return await self.write(rollback, _with_owner(rollback.status, record, condition, now))


def _refused(why: str) -> RollbackEnd:
    message = f"the owner, which would revert it, cannot be suspended, so nothing was done: {why}"
    return RollbackEnd(Outcome.FAILED, Reason.OWNER_NOT_SUSPENDED, message)


def _with_owner(
    status: RollbackStatus, record: OwnerRecord, condition: Condition | None, now: datetime
) -> RollbackStatus:
    """Put the state of an owner on record."""
    known = status.conditions
    if condition is not None:
        known = conditions.upsert(known, [condition], 1, now)
    return status.model_copy(update={"owner": record, "conditions": known})
