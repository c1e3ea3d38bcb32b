"""Raises the bounds of who sets a Deployment's replicas, and puts them back when it is time.

What they were is on record before they are changed. Each call looks before it does: replayed after
a crash, it does no harm.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from rollback_operator.api.reasons import Reason
from rollback_operator.api.resource import BOUNDS_FINALIZER
from rollback_operator.api.v1alpha1 import Rollback
from rollback_operator.model.workload import Autoscaler
from rollback_operator.ports.cluster import Autoscalers
from rollback_operator.ports.failure import Failure, FailureKind
from rollback_operator.ports.store import Store
from rollback_operator.reconcile.act.recording import Write
from rollback_operator.remedies import autoscaling
from rollback_operator.remedies.autoscaling import Closed, Due
from rollback_operator.report import events

_log = logging.getLogger(__name__)


@dataclass
class Scaler:
    """Sets bounds, and looks after those that are raised."""

    autoscalers: Autoscalers
    store: Store
    clock: Callable[[], datetime]
    write: Write
    take_in: Callable[[Rollback], None]
    """Takes in what another write returned, unless the Rollback is gone by now."""
    due: dict[str, tuple[datetime, bool]] = field(default_factory=dict)
    """When raised bounds are looked at next, by the Rollback's uid, and whether it was known then
    that a person wants them put back."""

    async def raise_bounds(
        self, rollback: Rollback, found: Autoscaler
    ) -> tuple[Rollback, Failure | None]:
        """Raise the bounds of a rollback whose step has begun; gives it with what is on record."""
        if not autoscaling.is_guarded(rollback):
            guarded = await self.store.guard(rollback, BOUNDS_FINALIZER)
            if isinstance(guarded, Failure):
                return rollback, guarded
            self.take_in(guarded)
            rollback = guarded
        record = autoscaling.recorded(rollback, found)
        if record != rollback.status.autoscaler:
            told = autoscaling.raised_condition(rollback, record)
            # Before it is stored: who finds it on record cannot know that it was told.
            await self.store.post(rollback, events.bounds_raised(told.message))
            status = autoscaling.stored(rollback.status, record, told, self.clock())
            written = await self.write(rollback, status)
            if isinstance(written, Failure):
                return rollback, written
            rollback = written
        wanted = autoscaling.after(record)
        _log.info("%s: gives %s %s", rollback.metadata.name, found, wanted)
        done = await self.autoscalers.set_bounds(rollback.metadata.namespace, found, wanted)
        return rollback, done if isinstance(done, Failure) else None

    async def settle(self, rollbacks: Sequence[Rollback]) -> float | None:
        """Put back what is due; gives the seconds until the next look, None: nothing is raised."""
        # While one goes on its own steps come first.
        left = [one for one in rollbacks if autoscaling.is_left(one)]
        waits = [await self._settled(one) for one in left]
        return min((one for one in waits if one is not None), default=None)

    async def _settled(self, rollback: Rollback) -> float | None:
        if not autoscaling.is_open(rollback):
            return await self._released(rollback)
        uid, now = rollback.metadata.uid, self.clock()
        is_asked = autoscaling.is_wanted_back(rollback)
        due, was_asked = self.due.get(uid, (now, is_asked))
        if now < due and is_asked == was_asked:
            return (due - now).total_seconds()
        done = await self._looked(rollback)
        if isinstance(done, Failure):
            _log.warning("%s: %s", rollback.metadata.name, done.message)
            wait = done.wait
        elif autoscaling.is_open(done):
            wait = autoscaling.next_check(done, now)
        else:
            self.due.pop(uid, None)
            return await self._released(done)
        self.due[uid] = now + timedelta(seconds=wait), is_asked
        return wait

    async def _released(self, rollback: Rollback) -> float | None:
        """Let a Rollback be deleted by which nothing is raised any more."""
        if not autoscaling.is_guarded(rollback):
            return None
        done = await self.store.release(rollback, BOUNDS_FINALIZER)
        if not isinstance(done, Failure):
            self.take_in(done)
            return None
        _log.warning("%s: %s", rollback.metadata.name, done.message)
        return None if done.kind is FailureKind.GONE else done.wait

    async def _looked(self, rollback: Rollback) -> Rollback | Failure:
        plan, namespace = rollback.spec.autoscaler, rollback.metadata.namespace
        assert plan is not None  # or nothing would be on record
        read = await self.autoscalers.look(namespace, plan.name)
        if isinstance(read, Failure) and read.kind is not FailureKind.GONE:
            return read
        found = None if isinstance(read, Failure) else read
        match autoscaling.settled(rollback, found, self.clock()):
            case None:
                return rollback
            case Closed() as end:
                return await self._close(rollback, end)
            case Due(bounds, why):
                assert found is not None
                _log.info("%s: gives %s %s: %s", rollback.metadata.name, found, bounds, why)
                done = await self.autoscalers.set_bounds(namespace, found, bounds)
                if isinstance(done, Failure):
                    return done
                end = Closed(Reason.BOUNDS_RESTORED, f"it has {bounds} as before: {why}")
                return await self._close(rollback, end)

    async def _close(self, rollback: Rollback, end: Closed) -> Rollback | Failure:
        now = self.clock()
        record, told = autoscaling.closed(rollback, end, now)
        await self.store.post(rollback, events.bounds_settled(end.reason, told.message))
        return await self.write(rollback, autoscaling.stored(rollback.status, record, told, now))
