"""Suspends who would revert an act, and releases them when nothing would change by it.

What was is on record before it is changed, and the record is guarded: deleted, it stays until they
are released, or until it is told that they stay suspended. Each call looks before it does: replayed
after a crash, it does no harm.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from rollback_operator.api.reasons import Reason
from rollback_operator.api.remedy import OwnerRecord
from rollback_operator.api.resource import OWNER_FINALIZER
from rollback_operator.api.v1alpha1 import (
    Condition,
    Outcome,
    Rollback,
    RollbackPolicy,
    RollbackStatus,
)
from rollback_operator.model import conditions
from rollback_operator.model.controllers import OwnedDeployment, OwnerState
from rollback_operator.model.workload import Deployment
from rollback_operator.ports.cluster import Owners
from rollback_operator.ports.failure import Failure, FailureKind
from rollback_operator.ports.store import Store
from rollback_operator.reconcile.act.recording import Write
from rollback_operator.remedies import gitops, suspension
from rollback_operator.remedies.progress import Done, RollbackEnd
from rollback_operator.report import events

_log = logging.getLogger(__name__)
OWNER_POLL_SECONDS = 30.0
"""How often it is looked whether who is suspended can go on, or does already."""
OWNER_SECONDS = 300.0
"""How long it is known whether an owner could be suspended: that is only told beforehand."""
_FINAL = (FailureKind.UNKNOWN_KIND, FailureKind.GONE, FailureKind.REJECTED)


@dataclass(frozen=True, slots=True)
class Taken:
    """How far a suspension has come."""

    rollback: Rollback
    """With what is to be stored with the step's end."""
    next: Done | RollbackEnd | Failure


@dataclass
class Suspender:
    """Suspends owners, and looks after those that are."""

    owners: Owners
    store: Store
    clock: Callable[[], datetime]
    write: Write
    take_in: Callable[[Rollback], None]
    """Takes in what another write returned, unless the Rollback is gone by now."""
    due: dict[str, tuple[datetime, bool]] = field(default_factory=dict)
    """When an owner that is suspended is looked at next, by the Rollback's uid, and whether it was
    known then that the record is to be deleted."""
    known: dict[OwnedDeployment, tuple[datetime, str]] = field(default_factory=dict)
    """Until when it is known what stands against suspending an owner, and what does."""

    async def obstacle(self, policy: RollbackPolicy, deployment: Deployment) -> str:
        """Say beforehand why an owner could not be suspended; empty: nothing is known against it.

        Told at once, not in the night when it matters.
        """
        steered, now = gitops.expected_suspension(policy, deployment), self.clock()
        if steered is None:
            return ""
        until, said = self.known.get(steered, (now, ""))
        if now < until:
            return said
        found = await self.owners.look(steered)
        if not isinstance(found, Failure):
            said = "" if found.is_suspended else found.obstacle
        elif found.kind in _FINAL:
            said = found.message
        forgotten = now - timedelta(seconds=OWNER_SECONDS)
        self.known = {key: one for key, one in self.known.items() if one[0] > forgotten}
        self.known[steered] = now + timedelta(seconds=OWNER_SECONDS), said
        return said

    async def suspend(self, rollback: Rollback) -> Taken:
        """Suspend who would revert the act of a rollback whose step has begun."""
        steered = gitops.planned_suspension(rollback)
        if steered is None:
            return Taken(rollback, Done("nobody is to be suspended"))
        found = await self.owners.look(steered)
        if isinstance(found, Failure):
            return Taken(rollback, _refused(found.message) if found.kind in _FINAL else found)
        if found.obstacle and not suspension.recorded(rollback, found).was_suspended:
            return Taken(rollback, _refused(found.obstacle))
        noted = await self._noted(rollback, found)
        if isinstance(noted, Failure):
            return Taken(rollback, noted)
        if not found.is_suspended:
            by = f"{noted.metadata.namespace}/{noted.metadata.name}"
            _log.info("%s: suspends %s", by, gitops.named(steered.object, found.namespace))
            done = await self.owners.suspend(steered, found, by)
            if isinstance(done, Failure):
                return Taken(noted, done)
        now, record = self.clock(), noted.status.owner
        assert record is not None
        record, told = suspension.suspended(noted, record, now)
        if not record.was_suspended:
            # Before it is stored: who finds the step open cannot know that it was told.
            await self.store.post(noted, events.owner_suspended(told.message))
        status = _with(noted.status, record, told, now)
        changed = noted.model_copy(update={"status": status})
        return Taken(changed, Done(told.message))

    async def _noted(self, rollback: Rollback, found: OwnerState) -> Rollback | Failure:
        """Put on record how an owner was, behind a finalizer where it is to be suspended."""
        record = suspension.recorded(rollback, found)
        if not record.was_suspended and not suspension.is_guarded(rollback):
            guarded = await self.store.guard(rollback, OWNER_FINALIZER)
            if isinstance(guarded, Failure):
                return guarded
            self.take_in(guarded)
            rollback = guarded
        if record == rollback.status.owner:
            return rollback
        return await self.write(rollback, _with(rollback.status, record, None, self.clock()))

    async def settle(
        self, rollbacks: Sequence[Rollback], deployment: Deployment | None
    ) -> float | None:
        """Look after who is suspended; gives the seconds until the next look, None: nobody is.

        Args:
            rollbacks: of one Deployment. While one goes on its own steps come first.
            deployment: of that name, as it is now; None: it is gone.
        """
        left = [one for one in rollbacks if suspension.is_left(one)]
        waits = [await self._settled(one, deployment) for one in left]
        return min((one for one in waits if one is not None), default=None)

    async def _settled(self, rollback: Rollback, deployment: Deployment | None) -> float | None:
        if not suspension.is_open(rollback):
            return await self._let_go(rollback)
        uid, now = rollback.metadata.uid, self.clock()
        is_deleted = rollback.metadata.deletion_timestamp is not None
        due, was_deleted = self.due.get(uid, (now, is_deleted))
        if now < due and is_deleted == was_deleted:
            return (due - now).total_seconds()
        done = await self._looked(rollback, deployment)
        if isinstance(done, Failure) and is_deleted and done.kind is FailureKind.REJECTED:
            return await self._leave(rollback, done.message)  # a deletion waits for no right
        if isinstance(done, Failure):
            _log.warning("%s: %s", rollback.metadata.name, done.message)
            wait = done.wait
        elif not suspension.is_open(done):
            self.due.pop(uid, None)
            return await self._let_go(done)
        elif is_deleted:
            return await self._leave(done)
        else:
            wait = OWNER_POLL_SECONDS
        self.due[uid] = now + timedelta(seconds=wait), is_deleted
        return wait

    async def _leave(self, rollback: Rollback, why: str = "") -> float | None:
        """Tell that an owner stays suspended, then let its record be deleted: a person wants that.

        In this order: told twice if there is a crash in between, never not at all.
        """
        said = suspension.left(rollback, why)
        _log.warning("%s", said)
        await self.store.post(rollback, events.owner_left(said))
        self.due.pop(rollback.metadata.uid, None)
        return await self._let_go(rollback)

    async def _let_go(self, rollback: Rollback) -> float | None:
        """Let a Rollback be deleted by which nobody is looked after any more."""
        if not suspension.is_guarded(rollback):
            return None
        done = await self.store.release(rollback, OWNER_FINALIZER)
        if not isinstance(done, Failure):
            self.take_in(done)
            return None
        _log.warning("%s: %s", rollback.metadata.name, done.message)
        return None if done.kind is FailureKind.GONE else done.wait

    async def _looked(
        self, rollback: Rollback, deployment: Deployment | None
    ) -> Rollback | Failure:
        steered = gitops.planned_suspension(rollback)
        assert steered is not None  # or nobody would be on record
        found = await self.owners.look(steered)
        if isinstance(found, Failure):
            if found.kind not in (FailureKind.GONE, FailureKind.UNKNOWN_KIND):
                return found
            return await self._released(rollback, "it is gone")
        if over := suspension.taken_over(rollback, found):
            return await self._released(rollback, over)
        if deployment is None:
            return rollback  # to let it go on could bring the bad release back
        why = suspension.release(rollback, found, deployment)
        why = why or suspension.replaced(rollback, deployment)
        return await self._resume(rollback, found, why) if why else rollback

    async def _resume(self, rollback: Rollback, found: OwnerState, why: str) -> Rollback | Failure:
        steered = gitops.planned_suspension(rollback)
        assert steered is not None
        record, _ = suspension.released(rollback, why, None)
        if record != rollback.status.owner:
            written = await self.write(rollback, _with(rollback.status, record, None, self.clock()))
            if isinstance(written, Failure):
                return written
            rollback = written
        done = await self.owners.resume(steered, found, record.automated)
        if isinstance(done, Failure):
            return done
        return await self._released(rollback, why)

    async def _released(self, rollback: Rollback, why: str) -> Rollback | Failure:
        now = self.clock()
        record, told = suspension.released(rollback, why, now)
        if told is not None:
            await self.store.post(rollback, events.owner_released(told.message))
        return await self.write(rollback, _with(rollback.status, record, told, now))


def _refused(why: str) -> RollbackEnd:
    said = f"who would revert it cannot be suspended, so nothing was done: {why}"
    return RollbackEnd(Outcome.FAILED, Reason.OWNER_NOT_SUSPENDED, said)


def _with(
    status: RollbackStatus, record: OwnerRecord, told: Condition | None, now: datetime
) -> RollbackStatus:
    """Put on record how it is with an owner."""
    known = status.conditions
    if told is not None:
        known = conditions.upsert(known, [told], 1, now)
    return status.model_copy(update={"owner": record, "conditions": known})
