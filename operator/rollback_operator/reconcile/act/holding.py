"""Hold: pause and resume a rollout, so that no crash leaves a Deployment paused.

In this order: guard the policy with a finalizer, record the hold in its status, pause; then close
the record, resume, remove the finalizer. A leader that finds any part of it knows what is left to
do. The record is closed first: a pause that is off while the record is open was lifted by a person.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from rollback_operator.api.v1alpha1 import HOLD_FINALIZER, Hold, LedgerEntry, RollbackPolicy
from rollback_operator.decide import holds
from rollback_operator.decide.hold_end import HoldEnd
from rollback_operator.model.workload import Deployment
from rollback_operator.ports.cluster import Workloads
from rollback_operator.ports.failure import Failure, FailureKind
from rollback_operator.ports.store import Store
from rollback_operator.reconcile.act.recording import PostedOnce
from rollback_operator.releases.ledger import with_entry
from rollback_operator.report import events, status

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Settled:
    """Policy and Deployment as they are now, and a failure if something is left to do."""

    policy: RollbackPolicy
    deployment: Deployment | None
    failure: Failure | None = None

    @property
    def retry(self) -> float | None:
        """Seconds until another try; None: all is done."""
        return None if self.failure is None else self.failure.wait


@dataclass
class Holder:
    """Executes holds through the ports."""

    workloads: Workloads
    store: Store
    remember: Callable[[RollbackPolicy], None]
    clock: Callable[[], datetime]
    once: PostedOnce = field(init=False)

    def __post_init__(self) -> None:
        self.once = PostedOnce(self.store)

    async def settle(
        self,
        policy: RollbackPolicy,
        wanted: Hold | None,
        deployment: Deployment | None,
        ledger: Sequence[LedgerEntry],
    ) -> Settled:
        """Make record and Deployment what is wanted; nothing is written where they are.

        Args:
            policy: as it is stored.
            wanted: the hold as it is to be on record.
            deployment: the policy's target as it was read; None: it is gone, or not ours to touch.
            ledger: what is known of each release, that which is held included.
        """
        stands = Settled(policy, deployment)
        if wanted is None or not wanted.is_open:
            return await self._end_hold(stands, wanted)
        if wanted == policy.status.hold and wanted.paused_time is not None:
            return stands
        held = next((entry for entry in ledger if entry.digest == wanted.digest), None)
        return await self._hold(stands, wanted, held)

    async def end(
        self, policy: RollbackPolicy, end: HoldEnd, deployment: Deployment | None
    ) -> Settled:
        """Resume the rollout that a policy holds, if there is a hold."""
        known = policy.status.hold
        if known is not None and known.is_open:
            known = holds.let_go(known, end, self.clock())
        return await self._end_hold(Settled(policy, deployment), known)

    async def _hold(self, stands: Settled, wanted: Hold, held: LedgerEntry | None) -> Settled:
        if HOLD_FINALIZER not in stands.policy.metadata.finalizers:
            stands = self._remember_written(
                stands, await self.store.guard(stands.policy, HOLD_FINALIZER)
            )
        if stands.failure is None and wanted != stands.policy.status.hold:
            stands = await self._record(stands, wanted, held)
        if stands.failure is not None or wanted.paused_time is not None:
            return stands
        policy = stands.policy
        paused = await self.workloads.pause(policy.metadata.namespace, wanted)
        if isinstance(paused, Failure):
            return _with_failure(stands, paused)
        _log.info("%s: %s is held: %s", policy.metadata.name, wanted.deployment, wanted.message)
        # Before it is recorded as done: a leader that finds it open posts it again.
        await self.once.post(policy, events.held(policy, wanted), _mark(wanted))
        noted = wanted.model_copy(update={"paused_time": self.clock()})
        return await self._record(replace(stands, deployment=paused), noted, held)

    async def _end_hold(self, stands: Settled, wanted: Hold | None) -> Settled:
        known, names = stands.policy.status.hold, _held_names(stands)
        if wanted is not None and wanted != known:
            _log.info("%s: let go: %s", stands.policy.metadata.name, wanted.release_message)
            stands = await self._record(stands, wanted)
            if stands.failure is not None and not self._cannot_wait(wanted, stands.failure):
                return stands
        stands = await self._resume(stands, names)
        if stands.failure is not None or HOLD_FINALIZER not in stands.policy.metadata.finalizers:
            return stands
        if wanted is not None and wanted.paused_time is not None:
            # Before the finalizer is removed: a leader that finds the finalizer posts it again.
            await self.once.post(stands.policy, events.let_go(wanted), _mark(wanted))
        return self._remember_written(
            stands, await self.store.release(stands.policy, HOLD_FINALIZER)
        )

    def _cannot_wait(self, hold: Hold, failure: Failure) -> bool:
        """Tell whether a rollout is resumed although that cannot be put on record."""
        return failure.kind is FailureKind.GONE or self.clock() >= hold.until_time

    async def _resume(self, stands: Settled, names: frozenset[str]) -> Settled:
        namespace = stands.policy.metadata.namespace
        for name in sorted(names):
            done = await self.workloads.resume(namespace, name)
            if isinstance(done, Failure) and done.kind is not FailureKind.GONE:
                return _with_failure(stands, done)
            known = stands.deployment
            if isinstance(done, Deployment) and known is not None and name == known.name:
                stands = replace(stands, deployment=done)
        return stands

    async def _record(
        self, stands: Settled, hold: Hold, held: LedgerEntry | None = None
    ) -> Settled:
        """Store a hold, with the release that is held: it was under watch, whatever replaces it."""
        policy = stands.policy
        new = status.with_hold(policy.status, hold, policy.metadata.generation, self.clock())
        new = new.model_copy(update={"revisions": with_entry(new.revisions, held)})
        return self._remember_written(stands, await self.store.write_policy(policy, new))

    def _remember_written(self, stands: Settled, written: RollbackPolicy | Failure) -> Settled:
        if isinstance(written, Failure):
            return _with_failure(stands, written)
        self.remember(written)
        return replace(stands, policy=written)


def _mark(hold: Hold) -> str:
    return f"{hold.deployment_uid} {hold.digest} {hold.since_time.isoformat()}"


def _held_names(stands: Settled) -> frozenset[str]:
    """Name the Deployments that may be paused: the target, and what it was when it was held."""
    deployment, known = stands.deployment, stands.policy.status.hold
    names = {deployment.name} if deployment is not None and deployment.is_held else set()
    is_guarded = HOLD_FINALIZER in stands.policy.metadata.finalizers
    if known is not None and (known.is_open or is_guarded):
        names.add(known.deployment)
    return frozenset(names)


def _with_failure(stands: Settled, failure: Failure) -> Settled:
    _log.warning("%s: its hold: %s", stands.policy.metadata.name, failure.message)
    return replace(stands, failure=failure)
