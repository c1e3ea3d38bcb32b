"""Looks after Rollbacks on record whatever has become of their policy: suspended, changed, gone.

What has begun is carried on, what was raised or suspended is put back, what is over is let go of,
and what is too much is deleted. What a policy that stands decides is none of it.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from rollback_operator.api.reasons import Reason
from rollback_operator.api.v1alpha1 import (
    FINALIZER,
    Condition,
    Resource,
    Rollback,
    RollbackRequest,
)
from rollback_operator.decide import schedule
from rollback_operator.model.context import is_active
from rollback_operator.model.samples import Missing
from rollback_operator.model.workload import Deployment, Workload
from rollback_operator.ports.cluster import Workloads
from rollback_operator.ports.failure import RETRY_SECONDS, Failure, FailureKind
from rollback_operator.ports.store import Refresh, Store
from rollback_operator.reconcile.act.execution import Again, Executor
from rollback_operator.reconcile.act.recording import Recorder
from rollback_operator.reconcile.act.scaling import Scaler
from rollback_operator.reconcile.act.suspending import Suspender
from rollback_operator.reconcile.act.verifying import Sight
from rollback_operator.reconcile.cache import Cache, Key
from rollback_operator.reconcile.tags import tagged
from rollback_operator.releases import records
from rollback_operator.remedies import change_cause
from rollback_operator.remedies.progress import RollbackEnd
from rollback_operator.rollback.course import Carry, Retry, context_of, course


@dataclass
class Keeper:
    """Settles what Rollbacks leave; each call gives the seconds until it is to be made again."""

    cache: Cache
    workloads: Workloads
    store: Store
    recorder: Recorder
    executor: Executor
    suspender: Suspender
    scaler: Scaler
    clock: Callable[[], datetime]
    refresh: Refresh

    async def settle(self, rollbacks: Sequence[Rollback], deployment: Deployment) -> float | None:
        """Look after what the rollbacks of a Deployment have left."""
        return schedule.soonest(
            await self.release_ended(rollbacks),
            await self.suspender.settle(rollbacks, deployment),
            await self.scaler.settle(rollbacks),
            await self.settle_cause(deployment),
        )

    async def settle_cause(self, deployment: Deployment) -> float | None:
        """Take a change-cause off that would pass for the next release's."""
        known = self.cache.rollbacks_of(deployment.namespace, deployment.uid)
        overdue = change_cause.overdue(deployment, known)
        if overdue is None:
            return None
        done = await self.workloads.drop_cause(deployment, overdue)
        kind = done.kind if isinstance(done, Failure) else None
        if kind is not FailureKind.UNAVAILABLE:
            # Until a watch tells how it is now: what was refused once is not tried at each look.
            self.cache.forget_cause(deployment)
        is_open = kind in (FailureKind.UNAVAILABLE, FailureKind.CONFLICT)
        return done.wait if isinstance(done, Failure) and is_open else None

    async def settle_earlier(self, key: Key, deployment: Deployment) -> float | None:
        """Look after what Rollbacks of a policy have left that were of another Deployment.

        It was deleted and created anew, or the policy names another one now.
        """
        known = self.cache.rollbacks_by(key)
        earlier = [one for one in known if one.spec.target_ref.uid != deployment.uid]
        owners = [await self.settle_owner(one) for one in earlier]
        ended = await self.release_ended(earlier)
        return schedule.soonest(ended, await self.scaler.settle(earlier), *owners)

    async def let_be_deleted(self, key: Key) -> float | None:
        """Put back what Rollbacks that are deleted have raised or suspended: a person waits for it.

        Whatever stands against the policy: suspended, unreadable or gone.
        """
        known = self.cache.rollbacks_by(key)
        deleted = [one for one in known if one.metadata.deletion_timestamp is not None]
        owners = [await self.settle_owner(one) for one in deleted]
        return schedule.soonest(await self.scaler.settle(deleted), *owners)

    async def settle_owner(self, rollback: Rollback) -> float | None:
        """Look after who is suspended for a rollback, whatever has become of its policy."""
        name = rollback.spec.target_ref.name
        found = self.cache.deployments.get((rollback.metadata.namespace, name))
        return await self.suspender.settle([rollback], found)

    async def carry_open(self, key: Key, why: Condition) -> float | None:
        """Carry on what a policy had begun before it was deleted or came to a stand."""
        own = self.cache.rollbacks_by(key)
        waits = [await self.release_ended(own)]
        names = {(key[0], one.spec.target_ref.name) for one in own}
        known = (self.cache.deployments.get(one) for one in sorted(names))
        waits += [await self.settle_cause(one) for one in known if one is not None]
        if why.reason not in (Reason.SUSPENDED, Reason.EVERYTHING_SUSPENDED):
            waits.append(await self.scaler.settle(own))
            waits += [await self.settle_owner(one) for one in own]
        return schedule.soonest(*waits, await self.carry(own, why))

    async def carry(self, rollbacks: Iterable[Rollback], ready: Condition) -> float | None:
        """Carry on or end each that is open, by what there is around it; no metrics are read.

        Args:
            rollbacks: that name one policy.
            ready: the policy's condition; of one that is gone or unreadable, why nothing is done.
        """
        waits = [await self._carried(one, ready) for one in rollbacks if is_active(one)]
        return schedule.soonest(*waits)

    async def _carried(self, rollback: Rollback, ready: Condition) -> float | None:
        namespace, name = rollback.metadata.namespace, rollback.spec.target_ref.name
        found = await self.workloads.inspect(namespace, name)
        policy = self.cache.policy_of(rollback)
        scene = context_of(rollback, policy, ready, _seen(found))
        deployment = found.deployment if isinstance(found, Workload) else None
        match course(rollback, scene, self.clock()):
            case Retry():
                return RETRY_SECONDS
            case RollbackEnd() as end:
                is_same = deployment is not None and deployment.uid == rollback.spec.target_ref.uid
                left = deployment if is_same else None
                done = await self.executor.end(rollback, end, left)
            case Carry():
                assert isinstance(found, Workload)  # or it would not go on
                sight = Sight(blind=f"metrics are not read: {scene.told}")
                with tagged(rollback=rollback.metadata.name):
                    done = await self.executor.carry_on(rollback, found, sight)
        if isinstance(done, Again):
            return done.seconds
        # Where the policy is gone nothing else leads to another pass.
        settled = None if deployment is None else await self.settle_cause(deployment)
        return schedule.soonest(_left_on(done), settled)

    async def release_ended(self, rollbacks: Sequence[Rollback]) -> float | None:
        """Take off the finalizers that a crash or an outage has left on what is over."""
        ended = [one for one in rollbacks if not is_active(one) and _left_on(one)]
        return schedule.soonest(*[await self._release_ended(one) for one in ended])

    async def _release_ended(self, known: Rollback) -> float | None:
        """Tell the end and let go, unless whoever led before has, and no watch has told it yet."""
        unread = await self.refresh(known.PLURAL, known.key)
        if unread is not None:
            return unread.wait
        now = self.cache.rollbacks.get(known.key)
        if now is None or is_active(now) or not _left_on(now):
            return None
        return _left_on(await self.recorder.release(now))

    async def release_refused(self, requests: Iterable[RollbackRequest]) -> float | None:
        """Take off the finalizer of a plan that was never stored: the request was refused since.

        It is put on before a plan is, and whoever put it on has died, or lost the Lease, between.
        """
        refused = [one for one in requests if one.status.outcome is not None and _left_on(one)]
        waits: list[float | None] = []
        for one in refused:
            done = await self.store.release(one, FINALIZER)
            if isinstance(done, Failure):
                waits.append(None if done.kind is FailureKind.GONE else done.wait)
            else:
                self.cache.take_in(done)
        return schedule.soonest(*waits)

    async def prune(self, key: Key) -> float | None:
        """Delete the records that are too many: seen at each pass, a crash puts it off only."""
        policy = self.cache.policy_at(key)
        known = self.cache.rollbacks_by(key), self.cache.requests_by(key)
        waits = []
        for one in records.superfluous(policy, *known, self.clock()):
            failure = await self.store.delete_rollback(one)
            if failure is None or failure.kind is FailureKind.GONE:
                self.cache.drop_rollback(one.key)
            elif failure.kind is not FailureKind.REJECTED:
                waits.append(failure.wait)
        return schedule.soonest(*waits)


def _seen(found: Workload | Failure) -> Deployment | Missing | None:
    if isinstance(found, Workload):
        return found.deployment
    is_gone = found.kind is FailureKind.GONE
    return None if is_gone else Missing(Reason.READ_FAILED, found.message)


def _left_on(ended: Resource | Failure) -> float | None:
    """Tell when a finalizer that is still on is to be taken off: it holds a namespace up."""
    is_off = isinstance(ended, Failure) or FINALIZER not in ended.metadata.finalizers
    return None if is_off else RETRY_SECONDS
