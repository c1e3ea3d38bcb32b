"""A scenario as the operator would live through it: look after look on a virtual clock."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

from bench.detection.direct import Pages
from bench.detection.past import INGESTED, Past
from bench.detection.scenario import Scenario, worse
from bench.detection.target import NAMESPACE, PROMETHEUS, Target, case, when
from bench.detection.trends import SlowSignals
from bench.detection.world import T0, World, build
from rollback_operator.api.v1alpha1 import Hold, Severity, VerdictValue
from rollback_operator.cli.backtest.questions import VirtualRollbacks
from rollback_operator.decide import schedule
from rollback_operator.decide.evaluate import EvaluationResult, evaluate_release, watch_of
from rollback_operator.evidence.watch import Watch
from rollback_operator.model.context import Case
from rollback_operator.model.verdict import AGAINST_RELEASE, Verdict
from rollback_operator.model.workload import Workload
from rollback_operator.ports.metrics import Prometheus
from rollback_operator.reconcile.observe.observation import Observer, Source

HEARTBEAT = 15.0
"""At least this often something is looked at, whatever has come in."""
AFTERMATH_INTERVALS = 3.0
"""While an undo takes effect its severity may still rise: for this long it is looked at."""
SUSPICIOUS = 10.0
PATIENCE = 120.0
"""A suspicion that has stood for so long is looked at each heartbeat only, not at each sample."""
DUE_SECONDS = 1e-3
"""A read of pages is a moment late."""
REACTION = 0.05
"""A change in Kubernetes is looked at that much later."""


@dataclass(slots=True)
class Outcome:
    """What was decided, and when (seconds from the template's change)."""

    seed: int
    rolled_back: float | None = None
    severity: str = "None"
    """At the decision, or of the report."""
    severity_later: str = "None"
    """The worst that the same evidence showed while the undo took effect."""
    asked: float | None = None
    """When people were asked first whether the release is to blame."""
    blame: float = 0.0
    """Odds of the release's blame when they were asked, and then when an undo needed no answer."""
    told: float | None = None
    """When people were told first: suspicion, report, refusal."""
    let_go: float | None = None
    """When a staged rollout went on."""
    refusal: str = ""
    reason: str = ""
    final: str = ""
    """The last verdict: Watching, Suspect, Bad or NoVerdict."""
    no_verdict: float = 0.0
    """Share of the looks that gave none."""
    looks: int = 0
    judged: int = 0
    """Looks for which the judge was asked; the others could not have changed anything."""
    message: str = ""
    reads: int = 0
    seconds: float = 0.0
    """CPU time."""

    def fields(self) -> dict[str, Any]:
        """Give it for JSON."""
        return asdict(self)


def run(scenario: Scenario) -> Outcome:
    """Draw a scenario and judge it."""
    return judge_world(build(scenario))


def judge_world(world: World) -> Outcome:
    """Judge a scenario that has been drawn, up to its horizon or to the end of its undo."""
    return Follower(world, _ignore).go()


def _ignore(now: float, found: EvaluationResult) -> None:
    """Nobody watches."""


class Follower:
    """Goes through a scenario as the operator would, and tells each look."""

    def __init__(self, world: World, tell: Callable[[float, EvaluationResult], None]) -> None:
        self.tell = tell
        self.loop = asyncio.new_event_loop()
        self.world = world
        self.scenario = world.scenario
        self.target = Target(world)
        self.past = Past(world)
        self.outcome = Outcome(self.scenario.seed)
        self.pages = Pages(world)
        self.observer = Observer(
            self.past,
            lambda: T0 + self.past.now,
            trends=SlowSignals(world) if self.scenario.trends else None,
            pods=self.pages if self.scenario.pages else None,
        )
        self.hold: Hold | None = None
        self.rollbacks = VirtualRollbacks(NAMESPACE)
        self.watch: Watch | None = None
        self.last: EvaluationResult | None = None
        self.judged = self.suspicious = -math.inf
        self.missing = 0
        self.new = frozenset(one.name for one in world.cast.new)

    def go(self) -> Outcome:
        """Look from the template's change to the horizon, or to the end of the undo."""
        began = time.process_time()
        with contextlib.closing(self.loop):
            self._go()
        self._end()
        self.outcome.seconds = time.process_time() - began
        self.outcome.reads = self.past.reads
        return self.outcome

    def _go(self) -> None:
        now, until = REACTION, self.scenario.horizon
        while now <= until:
            self.outcome.looks += 1
            if self._may_matter(now):
                self._look(now)
            if self.outcome.let_go is not None:
                # How the rest of the rollout would go is not drawn.
                until = now
            if self.outcome.rolled_back is not None:
                wait = AFTERMATH_INTERVALS * self.scenario.scrape
                until = min(until, self.outcome.rolled_back + wait)
            now = self._next(now)
        if self.judged < until and self.outcome.rolled_back is None:
            self._look(until)

    def _look(self, now: float) -> None:
        self.past.now = self.pages.now = now
        self.judged = now
        workload = self.target.at(now)
        made = self._case(workload)
        self.rollbacks.expire(when(now))
        made = replace(made, rollbacks=[*made.rollbacks, *self.rollbacks.stored])
        watch = watch_of(self.watch, made, PROMETHEUS, when(now))
        source = Source(made.policy, Prometheus(PROMETHEUS))
        self.watch = self.loop.run_until_complete(self.observer.observe(watch, workload, source))
        self.last = evaluate_release(made, self.watch, when(now))
        self.watch = self.last.watch
        self._plan_reads(made, workload, now)
        self.outcome.judged += 1
        self._note(self.last, now)
        self.tell(now, self.last)

    def _case(self, workload: Workload) -> Case:
        """Put together what is decided from, with the hold that is open."""
        made = case(self.scenario, workload)
        if self.hold is None:
            return made
        status = made.policy.status.model_copy(update={"hold": self.hold})
        return replace(made, policy=made.policy.model_copy(update={"status": status}))

    def _plan_reads(self, made: Case, workload: Workload, now: float) -> None:
        """Keep the hold and the time of the next read of pages, as the reconciler does."""
        if self.watch is None or self.last is None:
            return
        if self.scenario.stage:
            self.hold = self.last.hold
            is_over = self.hold is not None and self.hold.released_time is not None
            if is_over and self.outcome.let_go is None:
                self.outcome.let_go = now
        if self.scenario.pages:
            verdict, every = self.last.verdict, made.policy.spec.pod_metrics.every_milliseconds
            scrape = schedule.next_look(self.watch, workload, verdict, T0 + now)
            read = schedule.next_read(self.watch, verdict, every / 1000, T0 + now)
            self.watch = replace(self.watch, scrape_due=scrape, read_due=read)

    def _note(self, found: EvaluationResult, now: float) -> None:
        outcome, decision, verdict = self.outcome, found.decision, found.verdict
        self.missing += verdict.value is VerdictValue.NO_VERDICT
        is_told = verdict.value in AGAINST_RELEASE
        if is_told and outcome.told is None:
            outcome.told, outcome.message = now, verdict.message
            outcome.reason = verdict.reason
        if decision.refusal is not None and not outcome.refusal:
            outcome.refusal = decision.refusal.reason
        if decision.severity is not Severity.NONE:
            outcome.severity_later = worse(outcome.severity_later, decision.severity.value)
        if decision.plan is not None and decision.is_asked and outcome.asked is None:
            outcome.asked, outcome.blame = now, _blame(verdict)
        plan = self.rollbacks.follow(found, when(now))
        if plan is not None and outcome.rolled_back is None:
            outcome.rolled_back = now
            outcome.blame = _blame(verdict)
            outcome.severity = decision.severity.value
            outcome.reason = verdict.reason
            outcome.message = plan.trigger.message

    def _end(self) -> None:
        outcome = self.outcome
        if self.last is not None:
            outcome.final = self.last.verdict.value.value
            outcome.no_verdict = self.missing / max(1, outcome.judged)
        if outcome.rolled_back is None:
            outcome.severity = outcome.severity_later

    def _may_matter(self, now: float) -> bool:
        """Tell whether a look could find anything that the last one did not.

        Without a new sample and without a change in Kubernetes it could not. Nor could it while
        nothing speaks against the release and none of its requests has failed of late: odds rise
        by its errors only. Each heartbeat is a look all the same, for what time alone brings.
        """
        if self.last is None or self.watch is None:
            return True
        is_changed = self.target.next_change(self.judged) <= now
        due = self.last.decision.deadline
        if self._reads_at() <= T0 + now or self.scenario.trends:
            return True
        if is_changed or (due is not None and T0 + now >= due):
            return True
        if not self.past.has_news(self.judged, now):
            return now - self.judged >= 2 * HEARTBEAT
        if self._is_suspicious(self.last.verdict):
            return now - self.suspicious < PATIENCE or now - self.judged >= HEARTBEAT
        self.suspicious = now
        span = 3 * self.watch.evidence.interval
        has_failed = self.past.new_errors(self.new, self.judged - span, now - INGESTED)
        return has_failed or now - self.judged >= 4 * HEARTBEAT

    def _reads_at(self) -> float:
        """Give the time at which the pods' own pages are read next; infinity: never."""
        if not self.scenario.pages or self.watch is None:
            return math.inf
        return self.watch.read_due or math.inf

    def _is_suspicious(self, verdict: Verdict) -> bool:
        return verdict.value is VerdictValue.BAD or any(
            one.odds >= SUSPICIOUS for one in verdict.scopes
        )

    def _next(self, now: float) -> float:
        """Give the time of the next look that could be of use, by the operator's own schedule."""
        if self.watch is None or self.last is None:
            return now + 1.0
        workload = self.target.at(now)
        planned = schedule.next_look(self.watch, workload, self.last.verdict, T0 + now) - T0
        change = self.target.next_change(now) + REACTION
        due = self.last.decision.deadline
        read = self._reads_at() - T0 + DUE_SECONDS
        if read > now:
            change = min(change, read)
        limit = math.inf if due is None or due - T0 <= now else due - T0 + REACTION
        arrival = self.past.next_arrival(now)
        return min(max(planned, min(arrival, now + HEARTBEAT)), change, limit)


def _blame(verdict: Verdict) -> float:
    """Give the odds of blame where they are computed: no old pod is left."""
    return max((one.blame.odds for one in verdict.scopes if one.blame is not None), default=0.0)
