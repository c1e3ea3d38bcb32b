"""A scenario as the operator would live through it: look after look on a virtual clock."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from bench.detection.past import INGESTED, Past
from bench.detection.scenario import Scenario, worse
from bench.detection.target import PROMETHEUS, Target, case, when
from bench.detection.world import T0, World, build
from rollback_operator.api.v1alpha1 import Severity, VerdictValue
from rollback_operator.decide import schedule
from rollback_operator.decide.evaluate import EvaluationResult, evaluate_release, watch_of
from rollback_operator.evidence.watch import Watch
from rollback_operator.model.verdict import Verdict
from rollback_operator.ports.metrics import Prometheus
from rollback_operator.reconcile.observe.observation import Observer, Source

HEARTBEAT = 15.0
"""At least this often something is looked at, whatever has come in."""
AFTERMATH_INTERVALS = 3.0
"""While an undo takes effect its severity may still rise: for this long it is looked at."""
SUSPICIOUS = 10.0
PATIENCE = 120.0
"""A suspicion that has stood for so long is looked at each heartbeat only, not at each sample."""
REACTION = 0.05
"""A change in Kubernetes is looked at that much later."""


@dataclass(slots=True)
class Outcome:
    """What was decided, and when (seconds from the template's change)."""

    seed: int
    rolled_back: float | None = None
    severity: str = "None"
    """At the decision, or of what was told."""
    severity_later: str = "None"
    """The worst that the same evidence showed while the undo took effect."""
    told: float | None = None
    """When people were told first: suspicion, report, refusal."""
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
        self.observer = Observer(self.past, lambda: T0 + self.past.now)
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
            if self.outcome.rolled_back is not None:
                wait = AFTERMATH_INTERVALS * self.scenario.scrape
                until = min(until, self.outcome.rolled_back + wait)
            now = self._next(now)
        if self.judged < until and self.outcome.rolled_back is None:
            self._look(until)

    def _look(self, now: float) -> None:
        self.past.now = now
        self.judged = now
        workload = self.target.at(now)
        made = case(self.scenario, workload)
        watch = watch_of(self.watch, made, PROMETHEUS, when(now))
        source = Source(made.policy, Prometheus(PROMETHEUS))
        self.watch = self.loop.run_until_complete(self.observer.observe(watch, workload, source))
        self.last = evaluate_release(made, self.watch, when(now))
        self.watch = self.last.watch
        self.outcome.judged += 1
        self._note(self.last, now)
        self.tell(now, self.last)

    def _note(self, found: EvaluationResult, now: float) -> None:
        outcome, decision, verdict = self.outcome, found.decision, found.verdict
        self.missing += verdict.value is VerdictValue.NO_VERDICT
        is_told = verdict.value in (VerdictValue.SUSPECT, VerdictValue.BAD)
        if is_told and outcome.told is None:
            outcome.told, outcome.message = now, verdict.message
            outcome.reason = verdict.reason
        if decision.refusal is not None and not outcome.refusal:
            outcome.refusal = decision.refusal.reason
        if decision.severity is not Severity.NONE:
            outcome.severity_later = worse(outcome.severity_later, decision.severity.value)
        if decision.plan is not None and outcome.rolled_back is None:
            outcome.rolled_back = now
            outcome.severity = decision.severity.value
            outcome.reason = verdict.reason
            outcome.message = decision.plan.trigger.message

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
        limit = math.inf if due is None or due - T0 <= now else due - T0 + REACTION
        arrival = self.past.next_arrival(now)
        return min(max(planned, min(arrival, now + HEARTBEAT)), change, limit)
