"""Looks after Rollbacks on record, also where their policy is suspended, changed or gone.

An open Rollback is carried on, bounds, traffic and owners are restored, finalizers of ended
Rollbacks are removed, and superfluous records are deleted. Decisions of an active policy are none
of it.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from rollback_operator.api.reasons import Reason
from rollback_operator.api.v1alpha1 import (
    FINALIZER,
    Condition,
    Resource,
    Rollback,
    RollbackPolicy,
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
from rollback_operator.reconcile.act.reversible import Scaler, Suspender
from rollback_operator.reconcile.act.stopping import TrafficSwitch
from rollback_operator.reconcile.act.verifying import VerificationInputs
from rollback_operator.reconcile.cache import Cache, Key, Unreadable
from rollback_operator.reconcile.tags import tagged
from rollback_operator.releases import records
from rollback_operator.remedies import change_cause, stopped_traffic
from rollback_operator.remedies.progress import RollbackEnd
from rollback_operator.report import events, recent
from rollback_operator.rollback.course import Carry, Retry, context_of, course

_log = logging.getLogger(__name__)
UNREAD_SECONDS = 60.0
_NOTHING_TO_STORE_IN = frozenset({FailureKind.GONE, FailureKind.REJECTED})
"""The policy is gone, or the API server refuses its status: a deletion does not wait for that."""


@dataclass
class RecordKeeper:
    """Settles Rollbacks on record; each call gives the seconds until the next is due."""

    cache: Cache
    workloads: Workloads
    store: Store
    recorder: Recorder
    executor: Executor
    suspender: Suspender
    scaler: Scaler
    traffic: TrafficSwitch
    clock: Callable[[], datetime]
    refresh: Refresh

    async def settle(
        self, policy: RollbackPolicy, deployment: Deployment, ready: Condition
    ) -> float | None:
        """Settle the Rollbacks that are not carried on with the release of a policy.

        Args:
            policy: that judges the Deployment.
            deployment: its target.
            ready: the policy's condition.
        """
        carried = await self.carry(self._leftovers(policy, deployment, ready), ready)
        rollbacks = self.cache.rollbacks_of(deployment.namespace, deployment.uid)
        return schedule.soonest(
            carried,
            await self._settle_earlier(policy.key, deployment),
            await self.suspender.settle(rollbacks, deployment),
            await self.scaler.settle(rollbacks),
            await self.traffic.settle(rollbacks),
            await self.settle_cause(deployment),
        )

    def _leftovers(
        self, policy: RollbackPolicy, deployment: Deployment, ready: Condition
    ) -> list[Rollback]:
        """Give the open Rollbacks that are of another Deployment than is judged, or are to end."""
        now = self.clock()
        return [
            rollback
            for rollback in self.cache.rollbacks_by(policy.key)
            if is_active(rollback)
            and (
                rollback.spec.target_ref.uid != deployment.uid
                or isinstance(
                    course(rollback, context_of(rollback, policy, ready, deployment), now),
                    RollbackEnd,
                )
            )
        ]

    async def settle_cause(self, deployment: Deployment) -> float | None:
        """Remove a change-cause that would be taken for that of the next release."""
        known = self.cache.rollbacks_of(deployment.namespace, deployment.uid)
        overdue = change_cause.overdue(deployment, known)
        if overdue is None:
            return None
        done = await self.workloads.drop_cause(deployment, overdue)
        kind = done.kind if isinstance(done, Failure) else None
        if kind is not FailureKind.UNAVAILABLE:
            # Until it is delivered again: a refused write is not repeated at each look.
            self.cache.forget_cause(deployment)
        is_open = kind in (FailureKind.UNAVAILABLE, FailureKind.CONFLICT)
        return done.wait if isinstance(done, Failure) and is_open else None

    async def _settle_earlier(self, key: Key, deployment: Deployment) -> float | None:
        """Settle the Rollbacks of a policy for an earlier Deployment.

        It was deleted and recreated, or the policy names another Deployment now.
        """
        kept = self._kept(key)
        earlier = [each for each in kept if each.spec.target_ref.uid != deployment.uid]
        return await self._restore(earlier)

    async def let_be_deleted(self, key: Key) -> float | None:
        """Restore the bounds and owners of Rollbacks that are being deleted: a person waits for it.

        Also where the policy is suspended, unreadable or gone.
        """
        known = self.cache.rollbacks_by(key)
        deleted = [each for each in known if each.metadata.deletion_timestamp is not None]
        return await self._restore(deleted)

    def _kept(self, key: Key) -> list[Rollback]:
        """Give the Rollbacks that are not being deleted: the pass has settled these already."""
        known = self.cache.rollbacks_by(key)
        return [each for each in known if each.metadata.deletion_timestamp is None]

    async def _restore(self, rollbacks: Sequence[Rollback]) -> float | None:
        """Restore owners and bounds, whatever has become of the policy and the Deployment."""
        waits = []
        for rollback in rollbacks:
            name = rollback.spec.target_ref.name
            deployment = self.cache.deployments.get((rollback.metadata.namespace, name))
            waits.append(await self.suspender.settle([rollback], deployment))
        waits.append(await self.traffic.settle(rollbacks))
        return schedule.soonest(*waits, await self.scaler.settle(rollbacks))

    async def carry_open(self, key: Key, why: Condition) -> float | None:
        """Carry on the Rollbacks that a policy had begun before it was deleted or became idle."""
        own = self.cache.rollbacks_by(key)
        names = {(key[0], rollback.spec.target_ref.name) for rollback in own}
        known = (self.cache.deployments.get(name) for name in sorted(names))
        waits = [await self.settle_cause(each) for each in known if each is not None]
        kept = self._kept(key)
        if why.reason in (Reason.SUSPENDED, Reason.EVERYTHING_SUSPENDED):
            asked = [each for each in kept if stopped_traffic.is_wanted_back(each)]
            waits.append(await self.traffic.settle(asked))
        else:
            waits.append(await self._restore(kept))
        return schedule.soonest(*waits, await self.carry(own, why))

    async def carry(self, rollbacks: Iterable[Rollback], ready: Condition) -> float | None:
        """Carry on or end each open Rollback by policy and target; no metrics are read.

        Args:
            rollbacks: that name one policy.
            ready: the policy's condition; where it is gone or unreadable, the reason.
        """
        waits = [await self._carry_record(each, ready) for each in rollbacks if is_active(each)]
        return schedule.soonest(*waits)

    async def _carry_record(self, rollback: Rollback, ready: Condition) -> float | None:
        namespace, name = rollback.metadata.namespace, rollback.spec.target_ref.name
        target = await self.workloads.inspect(namespace, name)
        policy = self.cache.policy_of(rollback)
        scene = context_of(rollback, policy, ready, _deployment_or_missing(target))
        deployment = target.deployment if isinstance(target, Workload) else None
        match course(rollback, scene, self.clock()):
            case Retry():
                return RETRY_SECONDS
            case RollbackEnd() as end:
                is_same = deployment is not None and deployment.uid == rollback.spec.target_ref.uid
                left = deployment if is_same else None
                done = await self.executor.end(rollback, end, left)
            case Carry():
                assert isinstance(target, Workload)  # or it would not go on
                inputs = VerificationInputs(
                    blind=f"metrics are not read: {scene.withdrawal_message}"
                )
                with tagged(rollback=rollback.metadata.name):
                    done = await self.executor.carry_on(rollback, target, inputs)
        if isinstance(done, Again):
            return done.seconds
        return None if deployment is None else await self.settle_cause(deployment)

    async def release_ended(self, key: Key) -> float | None:
        """Remove the finalizers of ended Rollbacks, once the policy's status records their ends.

        Without a finalizer an object can vanish before the next pass: its end limits later
        rollbacks, and a rejection is respected, only if it is stored before. Most passes have
        stored it with their report. A policy that is gone or being deleted has no status to store.
        """
        own = self.cache.rollbacks_by(key)
        ended = [each for each in own if not is_active(each) and _finalizer_delay(each)]
        failure = await self._store_ends(key, own, ended) if ended else None
        if failure is not None and failure.kind not in _NOTHING_TO_STORE_IN:
            return failure.wait
        return schedule.soonest(*[await self._release_ended(rollback) for rollback in ended])

    async def _store_ends(
        self, key: Key, own: Sequence[Rollback], ended: Sequence[Rollback]
    ) -> Failure | None:
        """Store the ends that the policy's status lacks: this pass has not reported, or failed."""
        known = self.cache.policies.get(key)
        if known is None or known.metadata.deletion_timestamp is not None:
            return None
        if isinstance(known, Unreadable) and known.is_unread:
            return Failure(FailureKind.UNAVAILABLE, known.message, UNREAD_SECONDS)
        policy = known.shell if isinstance(known, Unreadable) else known
        safety = None if isinstance(known, Unreadable) else known.spec.safety
        new = recent.with_ends(policy.status, own, safety, self.clock())
        names = (each.metadata.name for each in ended)
        if all(recent.is_end_stored(policy.status, new, name) for name in names):
            return None
        written = await self.store.write_policy(policy, new)
        if isinstance(written, Failure):
            _log.warning("%s: the end of a rollback is not stored: %s", key[1], written.message)
            return written
        self.cache.take_in(written)
        return None

    async def _release_ended(self, known: Rollback) -> float | None:
        """Post the end and remove the finalizer, unless an earlier leader has done so."""
        unread = await self.refresh(known.PLURAL, known.key)
        if unread is not None:
            return unread.wait
        now = self.cache.rollbacks.get(known.key)
        if now is None or is_active(now) or not _finalizer_delay(now):
            return None
        return _finalizer_delay(await self.recorder.release(now))

    async def release_refused(self, requests: Iterable[RollbackRequest]) -> float | None:
        """Remove the finalizer of a plan that was never stored: the request was refused since.

        It is put on before a plan is: a leader may have died, or lost the Lease, in between.
        """
        refused = [
            each for each in requests if each.status.outcome is not None and _finalizer_delay(each)
        ]
        waits: list[float | None] = []
        for request in refused:
            done = await self.store.release(request, FINALIZER)
            if isinstance(done, Failure):
                waits.append(None if done.kind is FailureKind.GONE else done.wait)
            else:
                self.cache.take_in(done)
        return schedule.soonest(*waits)

    async def report_unreadable(self, key: Key) -> None:
        """Report each Rollback that cannot be read, once per leader and content."""
        for rollback in self.cache.unreadable_by(key):
            message = rollback.message
            await self.recorder.once.post(rollback, events.unreadable(message), message)

    async def prune(self, key: Key) -> float | None:
        """Delete superfluous records; a deletion that fails is repeated by the next pass."""
        policy = self.cache.policy_at(key)
        known = self.cache.rollbacks_by(key), self.cache.requests_by(key)
        waits = []
        for rollback in records.superfluous(policy, *known, self.clock()):
            failure = await self.store.delete_rollback(rollback)
            if failure is None or failure.kind is FailureKind.GONE:
                self.cache.drop_rollback(rollback.key)
            elif failure.kind is not FailureKind.REJECTED:
                waits.append(failure.wait)
        return schedule.soonest(*waits)


def _deployment_or_missing(target: Workload | Failure) -> Deployment | Missing | None:
    if isinstance(target, Workload):
        return target.deployment
    is_gone = target.kind is FailureKind.GONE
    return None if is_gone else Missing(Reason.READ_FAILED, target.message)


def _finalizer_delay(ended: Resource) -> float | None:
    """Give the seconds until a finalizer is to be removed: it blocks a namespace's deletion."""
    return RETRY_SECONDS if FINALIZER in ended.metadata.finalizers else None
