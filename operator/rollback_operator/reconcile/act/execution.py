"""Act: carry a stored Rollback on, step by step.

A step runs only if its start is stored; its end is stored before the next begins. Each looks
before it does, so a step that is replayed after a crash does no harm. Steps follow each other at
once; only waiting ends the pass.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from rollback_operator.api.checklist import Consequence
from rollback_operator.api.reasons import Reason
from rollback_operator.api.rollback import stored_strategy
from rollback_operator.api.v1alpha1 import (
    MatrixSeverity,
    Mode,
    Outcome,
    Pace,
    Rollback,
    RollbackStatus,
    StepName,
)
from rollback_operator.decide import requests
from rollback_operator.evidence.counters import Evidence
from rollback_operator.evidence.watch import NOT_YET_READ, Watch
from rollback_operator.model import stop
from rollback_operator.model.samples import Missing
from rollback_operator.model.workload import Deployment, Workload
from rollback_operator.ports.cluster import Workloads
from rollback_operator.ports.failure import Failure, FailureKind
from rollback_operator.ports.store import Store
from rollback_operator.reconcile.act.acting import Actor
from rollback_operator.reconcile.act.checking import Checker
from rollback_operator.reconcile.act.recording import Recorder
from rollback_operator.reconcile.act.verifying import Meter, Sight, VerificationSubject, Verifier
from rollback_operator.remedies import autoscaling, progress, rollback_status
from rollback_operator.remedies.progress import Act, Done, RollbackEnd, Wait
from rollback_operator.report import events
from rollback_operator.rollback import approval, recovery, verification
from rollback_operator.rollback.checklist import with_checklist
from rollback_operator.rollback.course import REPLACED_MESSAGE

_log = logging.getLogger(__name__)
STEP_POLL_SECONDS = 1.0
MOST_STEP_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class Again:
    """The rollback is not over: look again after `seconds`."""

    rollback: Rollback
    seconds: float


@dataclass(frozen=True, slots=True)
class _ExecutionState:
    workload: Workload
    sight: Sight
    deployment: Deployment
    """The newest version: that of the workload, or what our own write returned."""

    @property
    def watch(self) -> Watch | None:
        return self.sight.watch

    @property
    def meter(self) -> Meter | None:
        return self.sight.meter


@dataclass(frozen=True, slots=True)
class _Stepped:
    rollback: Rollback
    deployment: Deployment


@dataclass
class Executor:
    """Carries rollbacks out through the ports."""

    workloads: Workloads
    store: Store
    recorder: Recorder
    clock: Callable[[], datetime]
    checker: Checker
    verifier: Verifier
    actor: Actor
    stopped: Callable[[], str] = stop.nobody
    """Why nothing may be done now; empty: it may."""
    rests: dict[str, datetime] = field(default_factory=dict)
    """Until when an act that was refused is not tried again, by the Rollback's uid: events of our
    own writes and of the rollout would else use all attempts up within a second."""

    async def set_severity(self, rollback: Rollback, severity: MatrixSeverity) -> Rollback:
        """Store a severity; one that is not stored now is seen again at the next look."""
        return await self._store(rollback, {"severity": severity})

    async def escalate(self, rollback: Rollback, severity: MatrixSeverity) -> Rollback:
        """Store that what was only proposed is now done without asking; if not now, then soon."""
        return await self._store(rollback, {"severity": severity, "escalated_time": self.clock()})

    async def _store(self, rollback: Rollback, changes: dict[str, object]) -> Rollback:
        written = await self.recorder.write(rollback, rollback.status.model_copy(update=changes))
        return rollback if isinstance(written, Failure) else written

    async def end(
        self, rollback: Rollback, end: RollbackEnd, deployment: Deployment | None = None
    ) -> Rollback | Again:
        """End a rollback here; a strategy of ours is put back on the Deployment, if it is given."""
        return await self._conclude(rollback, end, deployment)

    async def carry_on(
        self, rollback: Rollback, workload: Workload, sight: Sight
    ) -> Rollback | Again:
        """Carry a rollback on as far as it goes now.

        Args:
            rollback: the stored intent, not ended.
            workload: the target as it was read in this pass.
            sight: what it is verified by.
        """
        if workload.deployment.uid != rollback.spec.target_ref.uid:
            gone = RollbackEnd(Outcome.ABANDONED, Reason.TARGET_DELETED, REPLACED_MESSAGE)
            return await self.end(rollback, gone)
        seen = _ExecutionState(workload, sight, workload.deployment)
        rebased = await self._by_this_clock(rollback)
        if isinstance(rebased, Failure):
            return _again(rollback, rebased)
        rollback = rebased
        if not rollback.status.steps:
            late = requests.too_late_to_begin(rollback, seen.deployment, self.clock())
            if late is not None:
                return await self.end(rollback, late)
            checked = await self._checked(rollback, seen)
            if not isinstance(checked, _Stepped):
                return checked
            rollback = checked.rollback
        while (step := progress.next_step(rollback)) is not None:
            is_asked = step is StepName.AWAITING_APPROVAL
            taken = self._await(rollback, seen) if is_asked else self._step(rollback, step, seen)
            result = await taken
            if not isinstance(result, _Stepped):
                return result
            rollback, seen = result.rollback, replace(seen, deployment=result.deployment)
        return await self._conclude(
            rollback, RollbackEnd(Outcome.UNKNOWN, Reason.IN_PROGRESS, "all steps are done")
        )

    async def _by_this_clock(self, rollback: Rollback) -> Rollback | Failure:
        """Store what has begun at a time that is yet to come as begun now."""
        seconds = self.checker.terms(rollback).timeout_seconds
        status = rollback_status.by_this_clock(rollback.status, seconds, self.clock())
        if status == rollback.status:
            return rollback
        _log.warning("%s: its times are ahead of the clock: they begin now", rollback.metadata.name)
        return await self.recorder.write(rollback, status)

    async def _checked(
        self, rollback: Rollback, seen: "_ExecutionState"
    ) -> "_Stepped | Rollback | Again":
        """Go through the checklist; it is stored with the first step, or with the end."""
        checklist = await self.checker.check(rollback, seen.workload, seen.watch)
        checked = rollback.model_copy(update={"status": with_checklist(rollback.status, checklist)})
        if rollback.spec.mode is Mode.OBSERVE:
            return await self.end(checked, checklist.observed)
        if checklist.consequence is Consequence.BLOCK:
            return await self.end(checked, checklist.blocked)
        if not approval.is_asked(rollback, checklist):
            return _Stepped(checked, seen.deployment)
        status = approval.asked(rollback, checklist, self.clock())
        written = await self._told(rollback, status)
        if isinstance(written, Failure):
            return _again(rollback, written)
        return _Stepped(written, seen.deployment)

    async def _await(
        self, rollback: Rollback, seen: "_ExecutionState"
    ) -> "_Stepped | Rollback | Again":
        """Look whether a person has decided, and whether one still needs to."""
        looked = await self.checker.look(rollback, seen.workload, seen.watch)
        found, status = approval.take(rollback, looked)
        if isinstance(found, RollbackEnd):
            changed = rollback.model_copy(update={"status": status})
            return await self._conclude(changed, found)
        written = await self._told(rollback, status)
        if isinstance(written, Failure):
            return _again(rollback, written)
        if isinstance(found, Done):
            return _Stepped(written, seen.deployment)
        return Again(written, approval.next_check(written, looked.now))

    async def _told(self, rollback: Rollback, status: RollbackStatus) -> Rollback | Failure:
        """Store what is known of an approval, if it is new, and tell it before."""
        if status == rollback.status:
            return rollback
        notice = approval.notice(rollback, status)
        if notice is not None:
            await self.store.post(rollback, notice)
        return await self.recorder.write(rollback, status)

    async def _step(
        self, rollback: Rollback, step: StepName, seen: "_ExecutionState"
    ) -> "_Stepped | Rollback | Again":
        """Take one step: store its start, look, act if need be, store its end."""
        deployment = seen.deployment
        if self._is_too_late(rollback, step, seen):
            late = progress.stale(rollback, self.clock())
            return await self._conclude(rollback, late, deployment)
        begun = await self._begin(rollback, step, deployment)
        if isinstance(begun, Failure):
            return _again(rollback, begun)
        found = await self.actor.switch.reverted(begun) or self._look(begun, step, seen)
        return await self._followed(begun, step, found, seen)

    async def _followed(
        self, rollback: Rollback, step: StepName, found: progress.Next, seen: "_ExecutionState"
    ) -> "_Stepped | Rollback | Again":
        """Do what follows from a look."""
        match found:
            case Act() if self.stopped() and step is not StepName.RESTORE_STRATEGY:
                return Again(rollback, STEP_POLL_SECONDS)
            case Act():
                return await self._act(rollback, step, seen)
            case Wait() if step is StepName.VERIFY:
                return await self._verify(rollback, seen)
            case Wait():
                return Again(rollback, STEP_POLL_SECONDS)
            case RollbackEnd():
                return await self._conclude(rollback, found, seen.deployment)
            case Done(message):
                return await self._finish(rollback, step, message, seen.deployment)

    def _is_too_late(self, rollback: Rollback, step: StepName, seen: "_ExecutionState") -> bool:
        """Tell whether an act is due that was decided too long ago; putting back is never late."""
        if step is StepName.RESTORE_STRATEGY or not progress.is_stale(rollback, self.clock()):
            return False
        return isinstance(self._look(rollback, step, seen), Act)

    async def _act(
        self, rollback: Rollback, step: StepName, seen: "_ExecutionState"
    ) -> "_Stepped | Rollback | Again":
        """Do what a step says, and store what came of it."""
        acted = await self.actor.act(rollback, step, seen.deployment, seen.workload.autoscaler)
        match acted.next:
            case Done(message):
                return await self._finish(acted.rollback, step, message, acted.deployment)
            case Wait():
                return Again(acted.rollback, STEP_POLL_SECONDS)
            case RollbackEnd() as end:
                return await self._conclude(acted.rollback, end, acted.deployment)
            case Failure() as failure:
                return await self._refused(acted.rollback, step, failure)

    async def _finish(
        self, rollback: Rollback, step: StepName, message: str, deployment: Deployment
    ) -> "_Stepped | Again":
        status = rollback_status.finished(rollback.status, step, message, self.clock())
        written = await self.recorder.write(rollback, status)
        if isinstance(written, Failure):
            return _again(rollback, written)
        return _Stepped(written, deployment)

    def _look(self, rollback: Rollback, step: StepName, seen: "_ExecutionState") -> progress.Next:
        now = self.clock()
        if autoscaling.is_left_to_autoscaler(rollback, step):
            found = autoscaling.compare(rollback, seen.workload.autoscaler, seen.deployment, now)
        else:
            late = progress.overtaken(rollback, step, seen.workload)
            found = late or progress.compare(rollback, step, seen.deployment, now)
        rests = now < self.rests.get(rollback.metadata.uid, now)
        return Wait() if isinstance(found, Act) and rests else found

    async def _verify(self, rollback: Rollback, seen: "_ExecutionState") -> Rollback | Again:
        """Look at all that shows whether it helped; who waits for the end sees what has failed."""
        watch, now = seen.watch, self.clock()
        missing: Missing | None = NOT_YET_READ
        skew = 0.0
        if watch is None or watch.digest != seen.deployment.template.digest:
            counted = recovery.without_evidence(rollback, seen.sight.blind, now)
            if seen.sight.blind:
                missing = Missing(Reason.NOT_YET_READ, seen.sight.blind)
        else:
            pods = seen.workload.current_of(seen.workload.pods)
            counted = recovery.verify(rollback, _judged(watch, seen), pods, now)
            missing, skew = watch.missing, watch.skew
        asked = await self.verifier.look(
            VerificationSubject(rollback, seen.workload, seen.meter, skew)
        )
        checks = verification.in_order(
            (
                verification.rollout(seen.deployment),
                verification.error_rate(counted, missing),
                *asked,
            )
        )
        found = verification.conclude(checks, verification.situation(rollback, missing, now))
        if isinstance(found, RollbackEnd):
            return await self._conclude(rollback, found, seen.deployment)
        status = rollback_status.with_checks(rollback.status, verification.stored(checks))
        known, failing = (
            verification.failures_of(one.verification) for one in (rollback.status, status)
        )
        is_told = bool(rollback.status.verification) or not seen.sight.blind
        if known == failing and is_told:
            return Again(rollback, STEP_POLL_SECONDS)
        written = await self.recorder.write(rollback, status)
        if isinstance(written, Failure):
            return _again(rollback, written)
        return Again(written, STEP_POLL_SECONDS)

    async def _begin(
        self, rollback: Rollback, step: StepName, deployment: Deployment
    ) -> Rollback | Failure:
        """Store that a step begins; for the express undo, first of all, what it will change."""
        if progress.step_status(rollback, step) is not None:
            return rollback
        if not progress.has_acted(rollback):
            # Before the first step is stored: who finds none stored cannot know it was told.
            await self.store.post(rollback, events.started(rollback))
        strategy = None
        if step is StepName.UNDO and (rollback.status.pace or rollback.spec.pace) is Pace.EXPRESS:
            strategy = stored_strategy(deployment.max_surge, deployment.max_unavailable)
        revision = deployment.revision
        status = rollback_status.begun(rollback.status, step, self.clock(), strategy, revision)
        return await self.recorder.write(rollback, status)

    async def _refused(
        self, rollback: Rollback, step: StepName, failure: Failure
    ) -> Rollback | Again:
        """Read again after a conflict or an outage; give up on what will be refused again."""
        _log.warning("%s: %s: %s", rollback.metadata.name, step, failure.message)
        match failure.kind:
            case FailureKind.CONFLICT | FailureKind.EXISTS:
                return Again(rollback, 0.1)
            case FailureKind.UNAVAILABLE:
                return _again(rollback, failure)
            case FailureKind.GONE if step is not StepName.SUSPEND_OWNER:
                return await self._conclude(
                    rollback, RollbackEnd(Outcome.FAILED, Reason.REPLICA_SET_GONE, failure.message)
                )
            case _:
                known = progress.step_status(rollback, step)
                if known is not None and known.attempts < MOST_STEP_ATTEMPTS:
                    status = rollback_status.begun(rollback.status, step, self.clock())
                    written = await self.recorder.write(rollback, status)
                    again = _again(rollback if isinstance(written, Failure) else written, failure)
                    # A quota or an admission policy that is being mended takes its seconds.
                    rest = again.seconds * 2.0 ** (known.attempts - 1)
                    now = self.clock()
                    # What is over counts no more, and may be of Rollbacks that are gone.
                    self.rests = {uid: due for uid, due in self.rests.items() if now < due}
                    self.rests[rollback.metadata.uid] = now + timedelta(seconds=rest)
                    return replace(again, seconds=rest)
                return await self._conclude(
                    rollback, RollbackEnd(Outcome.FAILED, Reason.STEP_REFUSED, failure.message)
                )

    async def _conclude(
        self, rollback: Rollback, end: RollbackEnd, deployment: Deployment | None = None
    ) -> Rollback | Again:
        """Store the end; but leave no surge of ours behind on a Deployment that moved on."""
        if deployment is not None and rollback.status.strategy is not None:
            left = progress.compare(rollback, StepName.RESTORE_STRATEGY, deployment, self.clock())
            if isinstance(left, Act):
                done = await self.workloads.set_strategy(rollback, rollback.status.strategy)
                if isinstance(done, Failure) and done.kind is not FailureKind.REJECTED:
                    return _again(rollback, done)
        return _settled(rollback, await self._end(rollback, end))

    async def _end(self, rollback: Rollback, end: RollbackEnd) -> Rollback | Failure:
        written = await self.recorder.write(
            rollback, rollback_status.ended(rollback.status, end, self.clock())
        )
        if isinstance(written, Failure):
            return written
        self.rests.pop(written.metadata.uid, None)
        self.checker.forget(written)
        await self.verifier.forget(written.metadata.uid)
        _log.info("%s: %s: %s", written.metadata.name, end.outcome, end.message)
        return await self.recorder.release(written)


def _judged(watch: Watch, seen: _ExecutionState) -> Evidence:
    """Give what was counted of requests that prove something: probes are answered by anybody."""
    known = seen.deployment.probe_paths if seen.meter is None else seen.meter.left_out
    kept = tuple(one for one in watch.evidence.increments if one.route not in known)
    return replace(watch.evidence, increments=kept)


def _again(rollback: Rollback, failure: Failure) -> Again:
    _log.warning("%s: %s", rollback.metadata.name, failure.message)
    return Again(rollback, failure.wait)


def _settled(rollback: Rollback, ended: Rollback | Failure) -> Rollback | Again:
    return _again(rollback, ended) if isinstance(ended, Failure) else ended
