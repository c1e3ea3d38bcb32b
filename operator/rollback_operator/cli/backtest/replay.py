"""The loop: at each step of a virtual clock the same look that the operator makes.

One pass of reconcile/reconciler.py without its writes: what it would have stored is kept here, what
it would have carried out is taken for done.
"""

import asyncio
import math
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from rollback_operator.api.reasons import IDLE, Reason
from rollback_operator.api.v1alpha1 import (
    Mode,
    ObjectMeta,
    Outcome,
    RemedyType,
    Rollback,
    RollbackPolicy,
    RollbackSpec,
    RollbackStatus,
    Severity,
    VerdictValue,
)
from rollback_operator.cli.backtest.entry import Action, Entry, action_of, blame_of, reason_of
from rollback_operator.cli.backtest.history import History, PastMetrics
from rollback_operator.cli.backtest.rollouts import Rollouts
from rollback_operator.cli.backtest.target import WITHOUT_POD_LABEL, Unknown, VirtualTarget
from rollback_operator.cli.backtest.tracks import tracks_of
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
from rollback_operator.model.workload import Workload
from rollback_operator.ports.metrics import TrendMetrics
from rollback_operator.ports.queries import Prometheus
from rollback_operator.reconcile.observe.observation import Observer, Source
from rollback_operator.remedies.attempts import rollback_name
from rollback_operator.report import status
from rollback_operator.report.readiness import Around, readiness

REPLAY_PATIENCE_SECONDS = 120.0
"""What a replay decides must not depend on how fast its machine is."""


RISE_SECONDS = 120.0
"""How long a severity may rise after the decision: the bad pods are gone by then."""


@dataclass(frozen=True, slots=True)
class ReplaySchedule:
    """The virtual clock: from, to, and how often is looked; seconds."""

    start: float
    end: float
    step: float

    def moments(self) -> list[float]:
        """List the moments of the clock."""
        count = math.floor((self.end - self.start) / self.step + 1e-9) + 1
        return [self.start + number * self.step for number in range(max(0, count))]


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a replay has given: the changes, and what stands at its end."""

    decisions: tuple[Entry, ...]
    final: Entry
    looks: tuple[Entry, ...] = ()
    """Every look, where it was asked for: what a plot is drawn from."""


@dataclass
class _Behind:
    """A release that has been taken back, and what is still read of it."""

    policy: RollbackPolicy
    target: VirtualTarget
    watch: Watch
    digest: str
    since: float
    severity: Severity


@dataclass
class Replay:
    """A policy over a past. It may be run once."""

    policy: RollbackPolicy
    rollouts: Rollouts
    history: History
    is_continued: bool = False
    """Whether to go on after a rollback, as if it had been carried out."""
    keeps_looks: bool = False
    """Whether to give every look, not only the changes."""
    trends: TrendMetrics | None = None
    """None: what changes slowly is not looked at."""
    url: str = "history"
    _now: float = 0.0
    _watch: Watch | None = None
    _behind: _Behind | None = None
    _rollbacks: list[Rollback] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Lay out the past."""
        hashes = {one.template_hash for one in self.rollouts.rollouts}
        tracks = tracks_of(self.history.counters, self.rollouts.deployment, hashes)
        has_pods = bool(self.policy.spec.signals.labels.pod)
        unknown = Unknown() if has_pods else WITHOUT_POD_LABEL
        self._target = VirtualTarget(self.rollouts, tracks, unknown)
        self._observer = Observer(
            PastMetrics(self.history, lambda: self._now),
            lambda: self._now,
            self.trends,
            REPLAY_PATIENCE_SECONDS,
        )

    def run(self, span: ReplaySchedule) -> Replayed:
        """Look at each moment of the clock at which something may be new."""
        return asyncio.run(self.follow(span))

    async def follow(self, span: ReplaySchedule) -> Replayed:
        """Do the same within a running loop."""
        decisions: list[Entry] = []
        looks: list[Entry] = []
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
            final, due = await self._look()
            if self.keeps_looks:
                looks.append(final)
            if not decisions or final.state != decisions[-1].state:
                decisions.append(final)
            if final.action is Action.ROLLBACK and not self.is_continued:
                break
            risen = await self._risen()
            if risen is not None:
                decisions.append(risen)
        return Replayed(tuple(decisions), final, tuple(looks))

    def _prometheus(self, policy: RollbackPolicy) -> Prometheus:
        return Prometheus(self.url, tenant=policy.spec.prometheus.tenant or "")

    # -- one look ----------------------------------------------------------------------------------

    async def _look(self) -> tuple[Entry, float]:
        """Look once; gives what came of it and when something may be new."""
        now = datetime.fromtimestamp(self._now, UTC)
        workload = self._target.at(self._now)
        deployment = workload.deployment if workload is not None else None
        ready = readiness(self.policy, deployment, Around())
        if workload is None or ready.reason in IDLE:
            self._watch = None
            said = status.StatusInputs(ready)
            self._keep(said, now)
            return self._idle(Reason(ready.reason), ready.message), self._next_event()
        if not is_due(self.policy, workload.deployment, now):
            self._watch = None
            self._keep(status.StatusInputs(ready, rollbacks=self._rollbacks), now)
            said_why = "the release is not under watch any more"
            return self._idle(Reason.NO_RELEASE_WATCHED, said_why), self._next_event()
        case = case_of(self.policy, workload, self._rollbacks, now)
        watch = watch_of(self._watch, case, self.url, now)
        watch = await self._observer.observe(
            watch, workload, Source(self.policy, self._prometheus(self.policy))
        )
        found = evaluate_release(case, watch, now)
        watch = self._watch = found.watch
        self._keep(
            status.StatusInputs(
                ready,
                workload=workload,
                ledger=found.case.ledger,
                decision=found.decision,
                missing=watch.missing,
                rollbacks=self._rollbacks,
                opened=datetime.fromtimestamp(watch.opened, UTC),
            ),
            now,
        )
        entry = self._entry(found, watch)
        planned = found.decision.plan
        # What is only proposed waits for a person, of whom the past tells nothing.
        if planned is not None and not planned.requires_approval:
            if planned.mode is Mode.ENFORCE:
                digest = workload.deployment.template.digest
                target = VirtualTarget(self.rollouts, self._target.tracks, self._target.unknown)
                severity = found.decision.severity
                self._behind = _Behind(self.policy, target, watch, digest, self._now, severity)
            self._carry_out(planned, rollback_name(found.case), now)
            return entry, self._now
        return entry, self._next_look(found, watch)

    async def _risen(self) -> Entry | None:
        """Tell when the evidence raises the severity of a release that has been taken back.

        Its pods serve on for a while; the past holds how badly they did.
        """
        behind = self._behind
        if behind is None or behind.since == self._now:
            return None
        workload = behind.target.at(self._now)
        is_over = self._now - behind.since > RISE_SECONDS
        if is_over or workload is None or workload.deployment.template.digest != behind.digest:
            self._behind = None
            return None
        now = datetime.fromtimestamp(self._now, UTC)
        case = case_of(behind.policy, workload, self._rollbacks, now)
        source = Source(behind.policy, self._prometheus(behind.policy))
        behind.watch = await self._observer.observe(behind.watch, workload, source)
        found = evaluate_release(case, behind.watch, now)
        severity = found.decision.severity
        if severity is Severity.NONE or severity >= behind.severity:
            return None
        behind.severity = severity
        entry = self._entry(found, behind.watch)
        return replace(entry, verdict=found.verdict.value, action=Action.NONE)

    def _keep(self, seen: status.StatusInputs, now: datetime) -> None:
        kept = status.next_status(self.policy.status, seen, 1, now)
        if kept != self.policy.status:
            self.policy = self.policy.model_copy(update={"status": kept})

    def _idle(self, reason: Reason, message: str) -> Entry:
        kept = self.policy.status
        return Entry(self._now, kept.verdict, kept.severity, Action.NONE, reason, message)

    def _entry(self, found: EvaluationResult, watch: Watch) -> Entry:
        reason, message = reason_of(found.decision)
        value = self.policy.status.verdict
        return Entry(
            time=self._now,
            verdict=value,
            severity=found.decision.severity,
            action=action_of(found, value),
            reason=reason,
            message=message,
            newest_sample=found.verdict.newest_sample or watch.evidence.newest,
            scopes=found.verdict.scopes,
            leading=found.verdict.leading,
            symptoms=found.verdict.symptoms,
            missing=watch.trends.missing,
            blame=blame_of(found, watch, lambda one: self.rollouts.label_of(one, self._now)),
        )

    def _carry_out(self, spec: RollbackSpec, name: str, now: datetime) -> None:
        """Take a rollback for done: the Deployment is at its target from the next look on."""
        is_real = spec.mode is Mode.ENFORCE
        outcome = Outcome.VERIFIED if is_real else Outcome.OBSERVED
        self._rollbacks.append(
            Rollback(
                metadata=ObjectMeta(name=name, namespace=self.rollouts.namespace, uid=name),
                spec=spec,
                status=RollbackStatus(outcome=outcome, finished_time=now),
            )
        )
        if is_real and spec.remedy.type is RemedyType.UNDO and spec.to_revision is not None:
            self._target.undo(self._now, spec.to_revision.template_hash)

    # -- when something may be new -----------------------------------------------------------------

    def _next_event(self) -> float:
        """Give when Kubernetes shows something new; without a watch nothing else matters."""
        return min((one for one in self._target.events() if one > self._now), default=float("inf"))

    def _next_look(self, found: EvaluationResult, watch: Watch) -> float:
        """Give the earliest time at which the outcome may differ from that of now.

        Between two samples only limits can pass; each of them is listed. Where there is no usable
        answer, every step is looked at.
        """
        now = self._now
        if watch.missing is not None:
            return now
        limits = [
            self._next_event(),
            self.history.next_after(now),
            None if watch.trends.read is None else watch.trends.read + TREND_SECONDS - 1,
            now if self._behind is not None else None,
            # The limit that is reached right now, which may ask for a moment more, and the next.
            *(
                schedule.next_limit(watch, found.question, (found.decision.deadline,), since) - 0.1
                for since in (now - 0.2, now)
            ),
            *_limits(found.case.workload, watch),
            *_good(found, watch),
        ]
        return min(one for one in limits if one is not None and one >= now)


def _limits(workload: Workload, watch: Watch) -> list[float]:
    """List when what was read becomes stale, and when the lack of any is told."""
    patience = STALE_INTERVALS * watch.evidence.interval
    found = [one + patience for one in watch.evidence.seen.values()]
    ready = [one.ready_since for one in workload.pods if one.ready_since is not None]
    return found + [one + SETTLING_SECONDS + patience for one in ready]


def _good(found: EvaluationResult, watch: Watch) -> list[float]:
    """List when the release may be proved good, and when a guard lets go."""
    after = found.case.policy.spec.safety.good_after_seconds
    ready = [one.ready_since for one in found.case.workload.pods if one.ready_since is not None]
    return [one + after for one in (watch.opened, *ready)]
