"""Evaluates a policy at each step of a virtual clock, as the operator would have.

The stages of a pass are the operator's own; its writes are not made. A status that it would store
stays in memory, and a Rollback that it would execute counts as done.
"""

import asyncio
import math
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from rollback_operator.api.reasons import IDLE, Reason
from rollback_operator.api.v1alpha1 import (
    Mode,
    RemedyType,
    RollbackPolicy,
    Severity,
    VerdictValue,
)
from rollback_operator.cli.backtest.entry import Action, Entry, action_of, blame_of, reason_of
from rollback_operator.cli.backtest.history import History, PastMetrics
from rollback_operator.cli.backtest.questions import VirtualRollbacks
from rollback_operator.cli.backtest.rollouts import Rollouts
from rollback_operator.cli.backtest.target import WITHOUT_POD_LABEL, Unknown, VirtualTarget
from rollback_operator.cli.backtest.tracks import Tracks, tracks_of
from rollback_operator.decide import schedule
from rollback_operator.decide.evaluate import (
    EvaluationResult,
    case_of,
    evaluate_release,
    is_due,
    watch_of,
)
from rollback_operator.evidence.limits import SETTLING_SECONDS, STALE_INTERVALS, TREND_SECONDS
from rollback_operator.evidence.watch import Watch
from rollback_operator.ports.metrics import Prometheus, TrendMetrics
from rollback_operator.reconcile.observe.observation import Observer, Source
from rollback_operator.report import status
from rollback_operator.report.readiness import Around, readiness

REPLAY_PATIENCE_SECONDS = 120.0
"""A decision of a replay must not depend on the speed of the machine."""
RISE_SECONDS = 120.0
"""How long a severity may rise after the decision: by then the bad pods are gone."""


@dataclass(frozen=True, slots=True)
class ReplaySchedule:
    """The virtual clock: start, end and step, in seconds."""

    start: float
    end: float
    step: float

    def moments(self) -> list[float]:
        """List the moments of the clock."""
        count = math.floor((self.end - self.start) / self.step + 1e-9) + 1
        return [self.start + number * self.step for number in range(max(0, count))]


@dataclass(frozen=True, slots=True)
class Replayed:
    """The result of a replay: the changes, and the state at its end."""

    decisions: tuple[Entry, ...]
    final: Entry
    evaluations: tuple[Entry, ...] = ()
    """All evaluations, for a plot; only if they were asked for."""


@dataclass
class _RolledBack:
    """A release that was rolled back, and whose last samples still come in."""

    policy: RollbackPolicy
    target: VirtualTarget
    watch: Watch
    digest: str
    since: float
    severity: Severity


@dataclass
class Replay:
    """A policy over a past, to be run once."""

    policy: RollbackPolicy
    rollouts: Rollouts
    history: History
    is_continued: bool = False
    """Whether to continue after a rollback, as if it had been executed."""
    keeps_evaluations: bool = False
    """Whether to return every evaluation, not only the changes."""
    trends: TrendMetrics | None = None
    """None: slow signals are not read."""
    url: str = "history"
    _now: float = 0.0
    _watch: Watch | None = None
    _rolled_back: _RolledBack | None = None

    def __post_init__(self) -> None:
        """Build the virtual target and its ports."""
        hashes = {rollout.template_hash for rollout in self.rollouts.rollouts}
        tracks = tracks_of(self.history.counters, self.rollouts.deployment, hashes)
        self._rollbacks = VirtualRollbacks(self.rollouts.namespace)
        has_pods = bool(self.policy.spec.signals.labels.pod)
        unknown = Unknown() if has_pods else WITHOUT_POD_LABEL
        self._target = VirtualTarget(self.rollouts, tracks, unknown)
        self._observer = Observer(
            PastMetrics(self.history, lambda: self._now),
            lambda: self._now,
            self.trends,
            REPLAY_PATIENCE_SECONDS,
        )

    @property
    def tracks(self) -> Tracks:
        """The pods as the past shows them."""
        return self._target.tracks

    def run(self, span: ReplaySchedule) -> Replayed:
        """Run the replay in an event loop of its own."""
        return asyncio.run(self.follow(span))

    async def follow(self, span: ReplaySchedule) -> Replayed:
        """Evaluate at each moment of the clock at which the result may differ."""
        decisions: list[Entry] = []
        evaluations: list[Entry] = []
        final = Entry(
            span.start,
            VerdictValue.NO_VERDICT,
            Severity.NONE,
            Action.NONE,
            Reason.NOT_YET_READ,
            "the clock never ran: --end is before --start",
        )
        due = span.start
        for now in span.moments():
            if now < due and now != span.start:
                continue
            self._now = now
            final, due = await self._evaluate()
            if self.keeps_evaluations:
                evaluations.append(final)
            if not decisions or final.state != decisions[-1].state:
                decisions.append(final)
            if final.action is Action.ROLLBACK and not self.is_continued:
                break
            risen = await self._risen()
            if risen is not None:
                decisions.append(risen)
        return Replayed(tuple(decisions), final, tuple(evaluations))

    # -- one evaluation ----------------------------------------------------------------------------

    async def _evaluate(self) -> tuple[Entry, float]:
        """Evaluate the release; also return when the result may differ."""
        now = datetime.fromtimestamp(self._now, UTC)
        workload = self._target.at(self._now)
        deployment = workload.deployment if workload is not None else None
        ready = readiness(self.policy, deployment, Around())
        if workload is None or ready.reason in IDLE:
            self._keep(status.StatusInputs(ready), now)
            return self._idle(Reason(ready.reason), ready.message)
        self._rollbacks.leave(workload.deployment.template.digest, now)
        self._rollbacks.expire(now)
        is_over = not is_due(self.policy, workload.deployment, now)
        if is_over and self._rollbacks.open is None:
            own = self._rollbacks.stored
            self._keep(status.StatusInputs(ready, rollbacks=own, of_target=own), now)
            return self._idle(Reason.NO_RELEASE_WATCHED, "the watch of the release is over")
        case = case_of(self.policy, workload, self._rollbacks.stored, now)
        watch = watch_of(self._watch, case, self.url, now)
        watch = await self._observer.observe(watch, workload, self._source(self.policy))
        evaluation = evaluate_release(case, watch, now)
        watch = self._watch = evaluation.watch
        inputs = status.StatusInputs(
            ready,
            workload=workload,
            ledger=evaluation.case.ledger,
            decision=evaluation.decision,
            missing=watch.missing,
            rollbacks=self._rollbacks.stored,
            of_target=self._rollbacks.stored,
            opened=datetime.fromtimestamp(watch.opened, UTC),
        )
        self._keep(inputs, now)
        entry = self._entry(evaluation, watch, self.policy.status.verdict)
        plan = self._rollbacks.follow(evaluation, now)
        if plan is None:
            return entry, self._next_evaluation(evaluation, watch)
        if plan.mode is Mode.ENFORCE:
            target = VirtualTarget(self.rollouts, self._target.tracks, self._target.unknown)
            digest, severity = workload.deployment.template.digest, evaluation.decision.severity
            self._rolled_back = _RolledBack(self.policy, target, watch, digest, self._now, severity)
            if plan.remedy.type is RemedyType.UNDO and plan.to_revision is not None:
                self._target.undo(self._now, plan.to_revision.template_hash)
        return entry, self._now

    async def _risen(self) -> Entry | None:
        """Return an entry when the evidence raises the severity of the release rolled back.

        Its pods serve for a while longer, and the past holds their errors.
        """
        behind = self._rolled_back
        if behind is None or behind.since == self._now:
            return None
        workload = behind.target.at(self._now)
        is_over = self._now - behind.since > RISE_SECONDS
        if is_over or workload is None or workload.deployment.template.digest != behind.digest:
            self._rolled_back = None
            return None
        now = datetime.fromtimestamp(self._now, UTC)
        case = case_of(behind.policy, workload, self._rollbacks.stored, now)
        source = self._source(behind.policy)
        behind.watch = await self._observer.observe(behind.watch, workload, source)
        evaluation = evaluate_release(case, behind.watch, now)
        severity = evaluation.decision.severity
        if severity is Severity.NONE or severity >= behind.severity:
            return None
        behind.severity = severity
        entry = self._entry(evaluation, behind.watch, self.policy.status.verdict)
        return replace(entry, verdict=evaluation.verdict.value, action=Action.NONE)

    def _source(self, policy: RollbackPolicy) -> Source:
        tenant = policy.spec.prometheus.tenant or ""
        return Source(policy, Prometheus(self.url, tenant=tenant))

    def _keep(self, inputs: status.StatusInputs, now: datetime) -> None:
        """Keep the status that the operator would have stored."""
        kept = status.next_status(self.policy.status, inputs, 1, now)
        if kept != self.policy.status:
            self.policy = self.policy.model_copy(update={"status": kept})

    def _idle(self, reason: Reason, message: str) -> tuple[Entry, float]:
        """Evaluate nothing until Kubernetes shows something new."""
        self._watch = None
        kept = self.policy.status
        entry = Entry(self._now, kept.verdict, kept.severity, Action.NONE, reason, message)
        return entry, self._next_event()

    def _entry(self, evaluation: EvaluationResult, watch: Watch, verdict: VerdictValue) -> Entry:
        reason, message = reason_of(evaluation.decision)
        return Entry(
            time=self._now,
            verdict=verdict,
            severity=evaluation.decision.severity,
            action=action_of(evaluation, verdict),
            reason=reason,
            message=message,
            newest_sample=evaluation.verdict.newest_sample or watch.evidence.newest,
            scopes=evaluation.verdict.scopes,
            leading=evaluation.verdict.leading,
            symptoms=evaluation.verdict.symptoms,
            missing=watch.trends.missing,
            blame=blame_of(evaluation, watch, lambda each: self.rollouts.label_of(each, self._now)),
        )

    # -- when the result may differ ----------------------------------------------------------------

    def _next_event(self) -> float:
        """Return when Kubernetes shows something new."""
        return min((time for time in self._target.events() if time > self._now), default=math.inf)

    def _next_evaluation(self, evaluation: EvaluationResult, watch: Watch) -> float:
        """Return the earliest time at which the result may differ from that of now.

        Between two samples it differs only where a limit passes; all limits are listed here.
        """
        now = self._now
        if watch.missing is not None or self._rolled_back is not None:
            return now
        deadlines = (evaluation.decision.deadline,)
        limits = [
            self._next_event(),
            self.history.next_after(now),
            None if watch.trends.read is None else watch.trends.read + TREND_SECONDS - 1,
            # The limit that passes right now, which may take a moment, and the next.
            *(
                schedule.next_limit(watch, evaluation.question, deadlines, since) - 0.1
                for since in (now - 0.2, now)
            ),
            *_limits(evaluation, watch),
            *self._rollbacks.deadlines(),
        ]
        return min(limit for limit in limits if limit is not None and limit >= now)


def _limits(evaluation: EvaluationResult, watch: Watch) -> list[float]:
    """List when a sample becomes stale or is missed, and when the release may be proved good."""
    staleness = STALE_INTERVALS * watch.evidence.interval
    good_after = evaluation.case.policy.spec.safety.good_after_seconds
    pods = evaluation.case.workload.pods
    ready = [pod.ready_since for pod in pods if pod.ready_since is not None]
    return [
        *(time + staleness for time in watch.evidence.seen.values()),
        *(time + SETTLING_SECONDS + staleness for time in ready),
        *(time + good_after for time in (watch.opened, *ready)),
    ]
