"""Act: carry a stored Rollback on, step by step.

A step runs only if its start is stored, and looks before it acts: replayed after a crash, it does
no harm. Its end is stored before the next begins. Only waiting ends the pass.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from rollback_operator.api.checklist import Consequence
from rollback_operator.api.reasons import Reason
from rollback_operator.api.rollback import stored_strategy
from rollback_operator.api.shape import clipped
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
from rollback_operator.evidence.watch import NOT_YET_READ
from rollback_operator.model import stop
from rollback_operator.model.samples import Missing
from rollback_operator.model.workload import Deployment, Workload
from rollback_operator.ports.cluster import Workloads
from rollback_operator.ports.failure import Failure, FailureKind
from rollback_operator.ports.store import Store
from rollback_operator.reconcile.act.acting import Actor
from rollback_operator.reconcile.act.checking import Checker
from rollback_operator.reconcile.act.recording import Recorder
from rollback_operator.reconcile.act.verifying import (
    VerificationInputs,
    VerificationSubject,
    Verifier,
    relevant_evidence,
)
from rollback_operator.remedies import autoscaling, progress, rollback_status, stopped_traffic
from rollback_operator.remedies.comparison import compare
from rollback_operator.remedies.progress import Act, Done, RollbackEnd, Wait
from rollback_operator.remedies.refusals import refused_step
from rollback_operator.remedies.steps import is_lasting_stop
from rollback_operator.report import events
from rollback_operator.rollback import approval, approval_notice, recovery, verification
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
    inputs: VerificationInputs
    deployment: Deployment
    """The newest version: that of the workload, or what our own write returned."""


@dataclass(frozen=True, slots=True)
class _Stepped:
    rollback: Rollback
    deployment: Deployment


@dataclass
class Executor:
    """Executes rollbacks through the ports."""

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
        """Store a severity; a write that fails is repeated by the next pass."""
        return await self._store(rollback, {"severity": severity})

    async def escalate(
        self, rollback: Rollback, severity: MatrixSeverity, message: str = ""
    ) -> Rollback:
        """Store that a proposed rollback proceeds without approval; a failed write is repeated.

        Args:
            rollback: the proposal.
            severity: its severity now.
            message: why it proceeds; empty: because of its severity.
        """
        because = clipped(message, 1024)
        changes = {"escalated_time": self.clock(), "escalated_message": because}
        return await self._store(rollback, {"severity": severity, **changes})

    async def _store(self, rollback: Rollback, changes: dict[str, object]) -> Rollback:
        written = await self.recorder.write(rollback, rollback.status.model_copy(update=changes))
        return rollback if isinstance(written, Failure) else written

    async def carry_on(
        self, rollback: Rollback, workload: Workload, inputs: VerificationInputs
    ) -> Rollback | Again:
        """Carry a rollback on as far as it goes now.

        Args:
            rollback: the stored intent, not ended.
            workload: the target as it was read in this pass.
            inputs: what it is verified by.
        """
        if workload.deployment.uid != rollback.spec.target_ref.uid:
            gone = RollbackEnd(Outcome.ABANDONED, Reason.TARGET_DELETED, REPLACED_MESSAGE)
            return await self.end(rollback, gone)
        seen = _ExecutionState(workload, inputs, workload.deployment)
        rebased = await self._correct_future_times(rollback)
        if isinstance(rebased, Failure):
            return _retry_later(rollback, rebased)
        rollback = rebased
        if not rollback.status.steps:
            late = requests.too_late_to_begin(rollback, seen.deployment, self.clock())
            if late is not None:
                return await self.end(rollback, late)
            checked = await self._evaluate_checklist(rollback, seen)
            if not isinstance(checked, _Stepped):
                return checked
            rollback = checked.rollback
        while (step := progress.next_step(rollback)) is not None:
            is_asked = step is StepName.AWAITING_APPROVAL
            taken = (
                self._await_decision(rollback, seen)
                if is_asked
                else self._step(rollback, step, seen)
            )
            result = await taken
            if not isinstance(result, _Stepped):
                return result
            rollback, seen = result.rollback, replace(seen, deployment=result.deployment)
        over = RollbackEnd(Outcome.UNKNOWN, Reason.IN_PROGRESS, "all steps are done")
        if is_lasting_stop(rollback.spec):
            over = stopped_traffic.lasting_stop(rollback)
        return await self.end(rollback, over)

    async def _correct_future_times(self, rollback: Rollback) -> Rollback | Failure:
        """Store times that are ahead of the clock as now."""
        seconds = self.checker.terms(rollback).timeout_seconds
        status = rollback_status.by_this_clock(rollback.status, seconds, self.clock())
        if status == rollback.status:
            return rollback
        _log.warning("%s: its times are ahead of the clock: they begin now", rollback.metadata.name)
        return await self.recorder.write(rollback, status)

    async def _evaluate_checklist(
        self, rollback: Rollback, seen: _ExecutionState
    ) -> _Stepped | Rollback | Again:
        """Evaluate the checklist; it is stored with the first step, or with the end."""
        checklist = await self.checker.check(rollback, seen.workload, seen.inputs.watch)
        checked = rollback.model_copy(update={"status": with_checklist(rollback.status, checklist)})
        if rollback.spec.mode is Mode.OBSERVE:
            return await self.end(checked, checklist.observed)
        if checklist.consequence is Consequence.BLOCK:
            return await self.end(checked, checklist.blocked)
        if not approval.is_asked(rollback, checklist):
            return _Stepped(checked, seen.deployment)
        status = approval.asked(rollback, checklist, self.clock())
        written = await self._store_approval(rollback, status)
        if isinstance(written, Failure):
            return _retry_later(rollback, written)
        return _Stepped(written, seen.deployment)

    async def _await_decision(
        self, rollback: Rollback, seen: _ExecutionState
    ) -> _Stepped | Rollback | Again:
        """Check whether a person has decided, and whether a decision is still needed."""
        looked = await self.checker.recheck(rollback, seen.workload, seen.inputs.watch)
        decided, status = approval.take(rollback, looked)
        if isinstance(decided, RollbackEnd):
            return await self.end(rollback.model_copy(update={"status": status}), decided)
        written = await self._store_approval(rollback, status)
        if isinstance(written, Failure):
            return _retry_later(rollback, written)
        if isinstance(decided, Done):
            return _Stepped(written, seen.deployment)
        return Again(written, approval.next_check(written, looked.now))

    async def _store_approval(
        self, rollback: Rollback, status: RollbackStatus
    ) -> Rollback | Failure:
        """Store the state of an approval if it is new; the Event about it is posted before."""
        if status == rollback.status:
            return rollback
        notice = approval_notice.notice(rollback, status)
        if notice is not None:
            await self.recorder.once.post(rollback, notice, approval_notice.mark(rollback))
        return await self.recorder.write(rollback, status)

    async def _step(
        self, rollback: Rollback, step: StepName, seen: _ExecutionState
    ) -> _Stepped | Rollback | Again:
        """Take a step: store its start, compare, act if that is due, store its end."""
        deployment = seen.deployment
        if self._is_too_late(rollback, step, seen):
            late = progress.stale(rollback, self.clock())
            return await self.end(rollback, late, deployment)
        begun = await self._begin(rollback, step, deployment)
        if isinstance(begun, Failure):
            return _retry_later(rollback, begun)
        following = await self.actor.switch.reverted(begun) or self._compare(begun, step, seen)
        return await self._follow(begun, step, following, seen)

    async def _follow(
        self,
        rollback: Rollback,
        step: StepName,
        following: progress.Next | Failure,
        seen: _ExecutionState,
    ) -> _Stepped | Rollback | Again:
        """Do what follows from a comparison, or from an act."""
        if isinstance(following, Act) and self.stopped() and step not in progress.RESTORING:
            following = Wait()
        match following:
            case Act():
                workload = replace(seen.workload, deployment=seen.deployment)
                acted = await self.actor.act(rollback, step, workload)
                seen = replace(seen, deployment=acted.deployment)
                return await self._follow(acted.rollback, step, acted.next, seen)
            case Wait() if step is StepName.VERIFY:
                return await self._verify(rollback, seen)
            case Wait():
                return Again(rollback, STEP_POLL_SECONDS)
            case RollbackEnd():
                return await self.end(rollback, following, seen.deployment)
            case Done(message):
                return await self._finish(rollback, step, message, seen.deployment)
            case Failure():
                return await self._refused(rollback, step, following)

    def _is_too_late(self, rollback: Rollback, step: StepName, seen: _ExecutionState) -> bool:
        """Tell whether an act is due that was decided too long ago; restoring is never late."""
        is_late = stopped_traffic.is_too_late(rollback, self.clock())
        if progress.is_never_late(rollback, step) or not is_late:
            return False
        return isinstance(self._compare(rollback, step, seen), Act)

    async def _finish(
        self, rollback: Rollback, step: StepName, message: str, deployment: Deployment
    ) -> _Stepped | Again:
        status = rollback_status.finished(rollback.status, step, message, self.clock())
        written = await self.recorder.write(rollback, status)
        if isinstance(written, Failure):
            return _retry_later(rollback, written)
        return _Stepped(written, deployment)

    def _compare(self, rollback: Rollback, step: StepName, seen: _ExecutionState) -> progress.Next:
        now = self.clock()
        if autoscaling.is_left_to_autoscaler(rollback, step):
            following = autoscaling.compare(
                rollback, seen.workload.autoscaler, seen.deployment, now
            )
        else:
            late = progress.overtaken(rollback, step, seen.workload)
            following = late or compare(rollback, step, seen.deployment, now)
        rests = now < self.rests.get(rollback.metadata.uid, now)
        return Wait() if isinstance(following, Act) and rests else following

    async def _verify(self, rollback: Rollback, seen: _ExecutionState) -> Rollback | Again:
        """Evaluate all checks of recovery; failed checks are stored while the rollback waits."""
        watch, blind, now = seen.inputs.watch, seen.inputs.blind, self.clock()
        missing: Missing | None = NOT_YET_READ
        skew = 0.0
        if watch is None or watch.digest != seen.deployment.template.digest:
            counted = recovery.without_evidence(rollback, blind, now)
            if blind:
                missing = Missing(Reason.NOT_YET_READ, blind)
        else:
            pods = seen.workload.current_of(seen.workload.pods)
            evidence = relevant_evidence(watch, seen.deployment, seen.inputs.meter)
            missing, skew = watch.missing, watch.skew
            counted = recovery.verify(rollback, recovery.Served(evidence, missing), pods, now)
        asked = await self.verifier.check(
            VerificationSubject(rollback, seen.workload, seen.inputs, skew)
        )
        checks = verification.in_order(
            (
                verification.rollout(seen.deployment),
                verification.error_rate(counted, missing),
                *asked,
            )
        )
        end = verification.conclude(checks, verification.situation(rollback, missing, now))
        if isinstance(end, RollbackEnd):
            return await self.end(rollback, end, seen.deployment)
        status = rollback_status.with_checks(rollback.status, verification.stored(checks))
        known, failing = (
            verification.failures_of(each.verification) for each in (rollback.status, status)
        )
        is_reported = bool(rollback.status.verification) or not blind
        if known == failing and is_reported:
            return Again(rollback, STEP_POLL_SECONDS)
        written = await self.recorder.write(rollback, status)
        if isinstance(written, Failure):
            return _retry_later(rollback, written)
        return Again(written, STEP_POLL_SECONDS)

    async def _begin(
        self, rollback: Rollback, step: StepName, deployment: Deployment
    ) -> Rollback | Failure:
        """Store the start of a step; for an express undo with the strategy that it changes."""
        if progress.step_status(rollback, step) is not None:
            return rollback
        if not progress.has_acted(rollback):
            # Before the first step is stored: a leader that finds none cannot know it was posted.
            await self.recorder.once.post(rollback, events.started(rollback))
        strategy = None
        if step is StepName.UNDO and (rollback.status.pace or rollback.spec.pace) is Pace.EXPRESS:
            strategy = stored_strategy(deployment.max_surge, deployment.max_unavailable)
        revision = deployment.revision
        status = rollback_status.begun(rollback.status, step, self.clock(), strategy, revision)
        return await self.recorder.write(rollback, status)

    async def _refused(
        self, rollback: Rollback, step: StepName, failure: Failure
    ) -> Rollback | Again:
        """Retry after a conflict or an outage; end the rollback after a final refusal."""
        _log.warning("%s: %s: %s", rollback.metadata.name, step, failure.message)
        match failure.kind:
            case FailureKind.CONFLICT | FailureKind.EXISTS:
                return Again(rollback, 0.1)
            case FailureKind.UNAVAILABLE:
                return _retry_later(rollback, failure)
            case FailureKind.GONE if step is not StepName.SUSPEND_OWNER:
                name = rollback.spec.target_ref.name
                live = await self.workloads.inspect(rollback.metadata.namespace, name)
                if step is not StepName.UNDO or isinstance(live, Failure):
                    return _retry_later(rollback, failure)  # the next look names what is gone
                gone = RollbackEnd(Outcome.FAILED, Reason.REPLICA_SET_GONE, failure.message)
                return await self.end(rollback, gone)
            case _:
                known = progress.step_status(rollback, step)
                if known is not None and known.attempts < MOST_STEP_ATTEMPTS:
                    status = rollback_status.begun(rollback.status, step, self.clock())
                    written = await self.recorder.write(rollback, status)
                    again = _retry_later(
                        rollback if isinstance(written, Failure) else written, failure
                    )
                    # Fixing a quota or an admission policy takes some seconds.
                    rest = again.seconds * 2.0 ** (known.attempts - 1)
                    now = self.clock()
                    # Entries that are due have no effect, and their Rollbacks may be gone.
                    self.rests = {uid: due for uid, due in self.rests.items() if now < due}
                    self.rests[rollback.metadata.uid] = now + timedelta(seconds=rest)
                    return replace(again, seconds=rest)
                message = refused_step(rollback, step, failure.message)
                return await self.end(
                    rollback, RollbackEnd(Outcome.FAILED, Reason.STEP_REFUSED, message)
                )

    async def end(
        self, rollback: Rollback, end: RollbackEnd, deployment: Deployment | None = None
    ) -> Rollback | Again:
        """Store the end; but leave no surge of ours on a Deployment, if it is given."""
        if deployment is not None and rollback.status.strategy is not None:
            left = compare(rollback, StepName.RESTORE_STRATEGY, deployment, self.clock())
            if isinstance(left, Act):
                done = await self.workloads.set_strategy(rollback, rollback.status.strategy)
                if isinstance(done, Failure) and done.kind is not FailureKind.REJECTED:
                    return _retry_later(rollback, done)
        status = rollback_status.ended(rollback, end, self.clock())
        written = await self.recorder.write(rollback, status)
        if isinstance(written, Failure):
            return _retry_later(rollback, written)
        self.rests.pop(written.metadata.uid, None)
        self.checker.forget(written)
        await self.verifier.forget(written.metadata.uid)
        _log.info("%s: %s: %s", written.metadata.name, end.outcome, end.message)
        # The finalizer stays until the policy's status records the end (`reconcile/keeping`).
        await self.recorder.post_end(written)
        return written


def _retry_later(rollback: Rollback, failure: Failure) -> Again:
    _log.warning("%s: %s", rollback.metadata.name, failure.message)
    return Again(rollback, failure.wait)
