"""Suspends who would revert an act, and releases them when nothing would change by it.

What was is on record before it is changed. Each call looks before it does: replayed after a crash,
it does no harm.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from rollback_operator.api.gitops import OwnerRecord
from rollback_operator.api.reasons import Reason
from rollback_operator.api.v1alpha1 import (
    Condition,
    Outcome,
    Rollback,
    RollbackPolicy,
    RollbackStatus,
)
from rollback_operator.core import conditions, gitops, notices
from rollback_operator.core.model import Deployment, OwnerState, Steered
from rollback_operator.core.progress import Done, End
from rollback_operator.ports import Failure, FailureKind, Owners, Store

_log = logging.getLogger(__name__)
LOOK_SECONDS = 30.0
"""How often it is looked whether who is suspended can go on, or does already."""
OWNER_SECONDS = 300.0
"""How long it is known whether an owner could be suspended: that is only told beforehand."""
_FINAL = (FailureKind.UNKNOWN_KIND, FailureKind.GONE, FailureKind.REJECTED)

Write = Callable[[Rollback, RollbackStatus], Awaitable[Rollback | Failure]]


@dataclass(frozen=True, slots=True)
class Taken:
    """How far a suspension has come."""

    rollback: Rollback
    """With what is to be stored with the step's end."""
    next: Done | End | Failure


@dataclass
class Suspender:
    """Suspends owners, and looks after those that are."""

    owners: Owners
    store: Store
    clock: Callable[[], datetime]
    due: dict[str, datetime] = field(default_factory=dict)
    """When an owner that is suspended is looked at next, by the Rollback's uid."""
    known: dict[Steered, tuple[datetime, str]] = field(default_factory=dict)
    """Until when it is known what stands against suspending an owner, and what does."""

    async def obstacle(self, policy: RollbackPolicy, deployment: Deployment) -> str:
        """Say beforehand why an owner could not be suspended; empty: nothing is known against it.

        Told at once, not in the night when it matters.
        """
        steered, now = gitops.to_suspend(policy, deployment), self.clock()
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
        self.known[steered] = now + timedelta(seconds=OWNER_SECONDS), said
        return said

    async def suspend(self, rollback: Rollback, write: Write) -> Taken:
        """Suspend who would revert the act of a rollback whose step has begun."""
        steered = gitops.steered(rollback)
        if steered is None:
            return Taken(rollback, Done("nobody is to be suspended"))
        found = await self.owners.look(steered)
        if isinstance(found, Failure):
            return Taken(rollback, _refused(found.message) if found.kind in _FINAL else found)
        record = gitops.recorded(rollback, found)
        if not record.was_suspended and found.obstacle:
            return Taken(rollback, _refused(found.obstacle))
        if record != rollback.status.owner:
            written = await write(rollback, _with(rollback.status, record, None, self.clock()))
            if isinstance(written, Failure):
                return Taken(rollback, written)
            rollback = written
        if not found.is_suspended:
            by = f"{rollback.metadata.namespace}/{rollback.metadata.name}"
            _log.info("%s: suspends %s", by, gitops.named(steered.object, found.namespace))
            done = await self.owners.suspend(steered, found, by)
            if isinstance(done, Failure):
                return Taken(rollback, done)
        now = self.clock()
        record, told = gitops.suspended(rollback, record, now)
        if not record.was_suspended:
            # Before it is stored: who finds the step open cannot know that it was told.
            await self.store.post(rollback, notices.owner_suspended(told.message))
        status = _with(rollback.status, record, told, now)
        changed = rollback.model_copy(update={"status": status})
        return Taken(changed, Done(told.message))

    async def settle(
        self, rollbacks: Sequence[Rollback], deployment: Deployment, write: Write
    ) -> float | None:
        """Look after who is suspended; gives the seconds until the next look, None: nobody is."""
        waits = [
            await self._settled(one, deployment, write) for one in rollbacks if gitops.is_open(one)
        ]
        return min((one for one in waits if one is not None), default=None)

    async def _settled(
        self, rollback: Rollback, deployment: Deployment, write: Write
    ) -> float | None:
        if rollback.status.outcome is None:
            return None  # its own steps come first
        uid, now = rollback.metadata.uid, self.clock()
        due = self.due.get(uid, now)
        if now < due:
            return (due - now).total_seconds()
        self.due[uid] = now + timedelta(seconds=LOOK_SECONDS)
        done = await self._looked(rollback, deployment, write)
        if isinstance(done, Failure):
            _log.warning("%s: %s", rollback.metadata.name, done.message)
            self.due[uid] = now + timedelta(seconds=done.wait)
            return done.wait
        if gitops.is_open(done):
            return LOOK_SECONDS
        self.due.pop(uid, None)
        return None

    async def _looked(
        self, rollback: Rollback, deployment: Deployment, write: Write
    ) -> Rollback | Failure:
        steered = gitops.steered(rollback)
        assert steered is not None  # or nobody would be on record
        found = await self.owners.look(steered)
        if isinstance(found, Failure):
            if found.kind not in (FailureKind.GONE, FailureKind.UNKNOWN_KIND):
                return found
            return await self._released(rollback, "it is gone", write)
        if over := gitops.taken_over(rollback, found):
            return await self._released(rollback, over, write)
        why = gitops.release(rollback, found, deployment)
        return await self._resume(rollback, found, why, write) if why else rollback

    async def _resume(
        self, rollback: Rollback, found: OwnerState, why: str, write: Write
    ) -> Rollback | Failure:
        steered = gitops.steered(rollback)
        assert steered is not None
        record, _ = gitops.released(rollback, why, None)
        if record != rollback.status.owner:
            written = await write(rollback, _with(rollback.status, record, None, self.clock()))
            if isinstance(written, Failure):
                return written
            rollback = written
        done = await self.owners.resume(steered, found, record.automated)
        if isinstance(done, Failure):
            return done
        return await self._released(rollback, why, write)

    async def _released(self, rollback: Rollback, why: str, write: Write) -> Rollback | Failure:
        now = self.clock()
        record, told = gitops.released(rollback, why, now)
        if told is not None:
            await self.store.post(rollback, notices.owner_released(told.message))
        return await write(rollback, _with(rollback.status, record, told, now))


def _refused(why: str) -> End:
    said = f"who would revert it cannot be suspended, so nothing was done: {why}"
    return End(Outcome.FAILED, Reason.OWNER_NOT_SUSPENDED, said)


def _with(
    status: RollbackStatus, record: OwnerRecord, told: Condition | None, now: datetime
) -> RollbackStatus:
    """Put on record how it is with an owner."""
    known = status.conditions
    if told is not None:
        known = conditions.upsert(known, [told], 1, now)
    return status.model_copy(update={"owner": record, "conditions": known})
