"""Hold: pause and resume a rollout, so that no crash leaves a Deployment paused.

In this order: guard the policy with a finalizer, record the hold in its status, pause; then close
the record, resume, remove the finalizer. A leader that finds any part of it knows what is left to
do. The record is closed first: a pause that is off while the record is open was lifted by a person.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from rollback_operator.api.v1alpha1 import (
    HOLD_FINALIZER,
    Condition,
    Hold,
    LedgerEntry,
    RollbackPolicy,
)
from rollback_operator.decide import holds
from rollback_operator.decide.hold_end import HoldEnd
from rollback_operator.model.context import Case
from rollback_operator.model.workload import Deployment
from rollback_operator.ports.cluster import Workloads
from rollback_operator.ports.failure import Failure, FailureKind
from rollback_operator.ports.store import Store
from rollback_operator.reconcile.act.recording import PostedOnce
from rollback_operator.releases import way_back
from rollback_operator.releases.ledger import with_entry
from rollback_operator.remedies.refusals import refused_by
from rollback_operator.report import events, rollout_hold

_log = logging.getLogger(__name__)
MOST_REST_SECONDS = 60.0
"""Longest time between two attempts at a pause that is refused: a right is granted by hand."""


@dataclass(frozen=True, slots=True)
class _Rest:
    """A pause that was refused: it is not attempted again until then."""

    until: datetime
    seconds: float
    failure: Failure


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
    rests: dict[str, _Rest] = field(default_factory=dict, init=False)
    """By the mark of a hold: or by the Deployment for its end: each pass of a watched release would
    attempt a refused write again."""

    def __post_init__(self) -> None:
        self.once = PostedOnce(self.store)

    async def settle(
        self,
        case: Case,
        wanted: Hold | None,
        deployment: Deployment | None,
    ) -> Settled:
        """Make record and Deployment what is wanted; nothing is written where they are.

        Args:
            case: the policy as it is stored, and what is known of each release.
            wanted: the hold as it is to be on record.
            deployment: the policy's target as it was read; None: it is gone, or not ours to touch.
        """
        policy = case.policy
        stands = Settled(policy, deployment)
        if wanted is None or not wanted.is_open:
            return await self._end_hold(stands, wanted)
        if wanted == policy.status.hold and wanted.paused_time is not None:
            return stands
        held = next((entry for entry in case.ledger if entry.digest == wanted.digest), None)
        return await self._hold(stands, wanted, held, way_back.of_case(case))

    async def end(
        self, policy: RollbackPolicy, end: HoldEnd, deployment: Deployment | None
    ) -> Settled:
        """Resume the rollout that a policy holds, if there is a hold."""
        known = policy.status.hold
        if known is not None and known.is_open:
            known = holds.let_go(known, end, self.clock())
        return await self._end_hold(Settled(policy, deployment), known)

    async def _hold(
        self, stands: Settled, wanted: Hold, held: LedgerEntry | None, back: str
    ) -> Settled:
        if HOLD_FINALIZER not in stands.policy.metadata.finalizers:
            stands = self._remember_written(
                stands, await self.store.guard(stands.policy, HOLD_FINALIZER)
            )
        if stands.failure is None and wanted != stands.policy.status.hold:
            stands = await self._record(stands, wanted, held)
        if stands.failure is not None or wanted.paused_time is not None:
            return stands
        policy, mark = stands.policy, _mark(wanted)
        if resting := self._resting(mark):
            return replace(stands, failure=resting)
        paused = await self.workloads.pause(policy.metadata.namespace, wanted)
        if isinstance(paused, Failure):
            name = wanted.deployment
            why = self._reason(name, paused)
            stands = _with_failure(stands, self._rested(mark, paused))
            return await self._refused(stands, paused, rollout_hold.pause_refused(name, why))
        self.rests.pop(mark, None)
        _log.info("%s: %s is held: %s", policy.metadata.name, wanted.deployment, wanted.message)
        # Before it is recorded as done: a leader that finds it open posts it again.
        await self.once.post(policy, events.held(wanted, back), _mark(wanted))
        noted = wanted.model_copy(update={"paused_time": self.clock()})
        return await self._record(replace(stands, deployment=paused), noted, held)

    def _resting(self, mark: str) -> Failure | None:
        """Return the earlier failure with the time that is left, while no attempt is due."""
        rest = self.rests.get(mark)
        if rest is None or self.clock() >= rest.until:
            return None
        left = (rest.until - self.clock()).total_seconds()
        return replace(rest.failure, retry_after=left)

    def _rested(self, mark: str, failure: Failure) -> Failure:
        """Rest before the next attempt: after each refusal twice as long, up to the limit."""
        before, now = self.rests.get(mark), self.clock()
        seconds = failure.wait
        if failure.kind is FailureKind.REJECTED and before is not None:
            seconds = min(MOST_REST_SECONDS, 2 * before.seconds)
        failure = replace(failure, retry_after=seconds)
        until, longest = now + timedelta(seconds=seconds), timedelta(seconds=MOST_REST_SECONDS)
        # Those that are long over belong to holds that have ended.
        kept = {key: rest for key, rest in self.rests.items() if now < rest.until + longest}
        self.rests = kept | {mark: _Rest(until, seconds, failure)}
        return failure

    def _reason(self, deployment: str, failure: Failure) -> str:
        who = refused_by(failure.message, f"Deployment {deployment}")
        again = f"the operator tries again, at intervals of up to {MOST_REST_SECONDS:.0f} s"
        return f"{who}; {again}: {failure.message}"

    async def _refused(self, stands: Settled, failure: Failure, refused: Condition) -> Settled:
        """Store that a write was refused; a conflict or an outage is no refusal."""
        if failure.kind is not FailureKind.REJECTED:
            return stands
        policy = stands.policy
        generation, now = policy.metadata.generation, self.clock()
        new = rollout_hold.with_refusal(policy.status, refused, generation, now)
        if new == policy.status:
            return stands
        written = self._remember_written(stands, await self.store.write_policy(policy, new))
        return replace(written, failure=stands.failure)

    async def _end_hold(self, stands: Settled, wanted: Hold | None) -> Settled:
        known, names = stands.policy.status.hold, _held_names(stands)
        if wanted is not None and wanted != known:
            _log.info("%s: let go: %s", stands.policy.metadata.name, wanted.release_message)
            stands = await self._record(stands, wanted)
            if stands.failure is not None and not self._cannot_wait(wanted, stands.failure):
                return stands
        stands = await self._resume(stands, names)
        ended = stands.policy.status.hold
        if stands.failure is None and ended and rollout_hold.is_refused(stands.policy.status):
            stands = await self._record(stands, ended)
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
            mark = f"{namespace} {name}"
            if resting := self._resting(mark):
                return replace(stands, failure=resting)
            done = await self.workloads.resume(namespace, name)
            if isinstance(done, Failure) and done.kind is not FailureKind.GONE:
                stands = _with_failure(stands, self._rested(mark, done))
                refused = rollout_hold.resume_refused(name, namespace, self._reason(name, done))
                return await self._refused(stands, done, refused)
            self.rests.pop(mark, None)
            known = stands.deployment
            if isinstance(done, Deployment) and known is not None and name == known.name:
                stands = replace(stands, deployment=done)
        return stands

    async def _record(
        self, stands: Settled, hold: Hold, held: LedgerEntry | None = None
    ) -> Settled:
        """Store a hold, with the release that is held: it was under watch, whatever replaces it."""
        policy = stands.policy
        new = rollout_hold.with_hold(policy.status, hold, policy.metadata.generation, self.clock())
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
