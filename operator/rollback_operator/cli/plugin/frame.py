"""Renders a frame of `watch` from objects that were read; reads nothing itself."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from rollback_operator.api.shape import one_line
from rollback_operator.cli.plugin.page import age, clock, colour_of, span
from rollback_operator.cli.plugin.record import Record, decided, remedy_text, shown, summary_of
from rollback_operator.judge.explain import ratio
from rollback_operator.model import commands
from rollback_operator.model.pod import Pod
from rollback_operator.model.workload import ReplicaSet, Workload

BAR_CELLS = 40
_MOST_FAILING = 3
_HEADS = ("", "REVISION", "PODS", "READY", "COUNTED", "REQUESTS", "ERRORS", "RATE")
_RIGHT_FROM = 2
"""The first column with figures."""


@dataclass(frozen=True, slots=True)
class FrameInputs:
    """The objects of one frame."""

    policy: Record
    now: datetime
    workload: Workload | None = None
    """None: it could not be read."""
    rollback: Record | None = None
    """The newest Rollback of the policy; None: there is none, or it could not be read."""
    remarks: Sequence[str] = ()
    """Data that is missing from the frame, with the reason."""

    @property
    def evaluation(self) -> Record:
        """The operator's counts of the running release; empty: they are of another release."""
        stored = self.policy.part("status.evaluation")
        is_current = stored.number("revision") == self.policy.number("status.revision.number")
        return stored if is_current else Record()

    @property
    def counts(self) -> Record:
        """The counts of the evaluation; empty: without metrics nothing was counted."""
        sides = (self.evaluation.part(side) for side in ("new", "old"))
        is_unread = self.policy.condition("MetricsAvailable").text("status") == "False"
        is_empty = not any(side.number("requests") for side in sides)
        return Record() if is_unread and is_empty else self.evaluation

    @property
    def judged(self) -> ReplicaSet | None:
        """The revision of the counts, even if the Deployment has a newer revision."""
        if self.workload is None:
            return None
        number = self.evaluation.number("revision")
        of_counts = (item for item in self.workload.replica_sets if item.revision == number)
        return next(of_counts, self.workload.current)


def frame(scene: FrameInputs) -> RenderableType:
    """Draw one frame."""
    parts: list[RenderableType] = [_head(scene), "", _state(scene), "", _revisions(scene)]
    failing = _failing(scene.workload)
    if failing:
        parts += ["", *failing]
    if scene.counts.raw:
        parts += ["", *_odds(scene.counts, scene.now)]
    if scene.rollback is not None:
        parts += ["", *_rollback(scene.rollback, scene.now)]
    if scene.remarks:
        parts += ["", *(Text(_line(remark), style="yellow") for remark in scene.remarks)]
    return Group(*parts)


def _head(scene: FrameInputs) -> RenderableType:
    grid = Table.grid(expand=True)
    grid.add_column()
    grid.add_column(justify="right")
    name = Text(f"{scene.policy.namespace}/{scene.policy.name}", style="bold")
    grid.add_row(name, Text(clock(scene.now), style="dim"))
    return grid


def _state(scene: FrameInputs) -> RenderableType:
    policy, evaluation = scene.policy, scene.evaluation
    healthy, ready = policy.condition("Healthy"), policy.condition("Ready")
    cause = ready if ready.text("status") == "False" else healthy
    running = policy.part("status.revision")
    severity, reason = policy.text("status.severity"), evaluation.text("reason")
    verdict = Text.assemble(_word(policy.text("status.verdict") or "-"))
    if severity not in ("", "None"):
        verdict.append(" ").append(_word(severity))
    if reason:
        verdict.append(f" ({reason})", "dim")
    since = running.time("since")
    began = f", {age(since, scene.now)} ago" if since is not None else ""
    images = ", ".join(running.words("images"))
    why = evaluation.text("message") or cause.text("message") or cause.text("reason")
    release = f"revision {running.text('number')}{began}: {images}" if running.raw else ""
    pairs = [
        ("Target", Text(f"Deployment {policy.text('spec.targetRef.name')}, mode "
                        f"{policy.text('spec.mode')}")),
        ("Status", _word(summary_of(policy) or "not evaluated yet")),
        ("Verdict", verdict),
        ("Why", Text(_line(why))),
        ("Release", Text(release)),
    ]  # fmt: skip
    hold = policy.part("status.hold")
    if hold.text("pausedTime") and not hold.text("releasedTime"):
        until = f"until {clock(hold.time('untilTime'))} at the latest"
        pairs.append(("Held", Text(f"{hold.text('reason')}, {until}", style="yellow")))
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="dim")
    grid.add_column(overflow="fold")
    for name, value in pairs:
        if value.plain.strip():
            grid.add_row(name, value)
    return grid


# -- revisions -------------------------------------------------------------------------------------


def _revisions(scene: FrameInputs) -> RenderableType:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for place, head in enumerate(_HEADS):
        table.add_column(head, justify="right" if place >= _RIGHT_FROM else "left", no_wrap=True)
    counted = scene.counts
    new, old = _pods(scene)
    table.add_row("new", _running(scene), *_ready(new), *_counts(counted.part("new")))
    table.add_row("old", _earlier(scene), *_ready(old), *_counts(counted.part("old")))
    past = counted.part("past")
    if past.raw:
        before = f"{span(past.number('seconds'))} before"
        table.add_row("past", before, "", "", *_counts(past))
    return table


def _pods(scene: FrameInputs) -> tuple[Sequence[Pod] | None, Sequence[Pod] | None]:
    """Return the pods of the judged revision and those of all others; None: unknown."""
    if scene.workload is None:
        return None, None
    judged, pods = scene.judged, scene.workload.pods
    pod_hash = judged.pod_hash if judged is not None else None
    new = [pod for pod in pods if pod.pod_hash == pod_hash]
    return new, [pod for pod in pods if pod.pod_hash != pod_hash]


def _ready(pods: Sequence[Pod] | None) -> tuple[str, str]:
    """Return the number of pods, and of ready pods."""
    if pods is None:
        return "-", "-"
    ending = sum(pod.terminating for pod in pods)
    count = f"{len(pods)} ({ending} ending)" if ending else str(len(pods))
    return count, str(sum(pod.ready and not pod.terminating for pod in pods))


def _counts(counts: Record) -> tuple[RenderableType, ...]:
    if not counts.raw:
        return "-", "-", "-", "-"
    requests, errors = counts.number("requests"), counts.number("errors")
    rate = f"{100 * errors / requests:.1f} %" if requests else "-"
    failed = Text(str(errors), style="red" if errors else "")
    return counts.text("pods"), str(requests), failed, rate


def _running(scene: FrameInputs) -> str:
    if scene.judged is not None:
        return str(scene.judged.revision)
    return scene.policy.text("status.revision.number") or "-"


def _earlier(scene: FrameInputs) -> str:
    """Return the other revisions that have pods, else the last known good revision."""
    good = scene.policy.text("status.lastKnownGood.number")
    if scene.workload is None:
        return good or "-"
    _, old = _pods(scene)
    hashes = {pod.pod_hash for pod in old or ()}
    sets = scene.workload.replica_sets
    living = sorted(item.revision for item in sets if item.pod_hash in hashes)
    if living:
        return ", ".join(map(str, living))
    return good if good and good != _running(scene) else "-"


def _failing(workload: Workload | None) -> list[Text]:
    """List the faults that keep pods from serving."""
    pods = workload.pods if workload is not None else ()
    faults = [(pod.name, pod.own_failure or pod.environment) for pod in pods]
    texts = [f"pod {name}: {_line(fault)}" for name, fault in faults if fault]
    more = len(texts) - _MOST_FAILING
    lines = [Text(text, style="red") for text in texts[:_MOST_FAILING]]
    return [*lines, Text(f"and {more} pods more", style="red")] if more > 0 else lines


# -- odds ------------------------------------------------------------------------------------------


def _odds(evaluation: Record, now: datetime) -> list[RenderableType]:
    odds = _decimal(evaluation.text("odds"))
    bounds = evaluation.number("suspectOdds"), evaluation.number("badOdds")
    shown_odds = ratio(odds) if odds > 0 else "none so far"
    where = f" on {evaluation.text('route')}" if evaluation.text("route") else ""
    lines: list[RenderableType] = [
        Text.assemble(
            (f"Odds that the new revision is worse{where}: ", "dim"), (shown_odds, "bold")
        ),
        Bar(odds, *bounds),
        Text(f"suspect from {bounds[0]} : 1, bad from {bounds[1]} : 1", style="dim"),
    ]
    if evaluation.text("blameOdds"):
        blame = ratio(_decimal(evaluation.text("blameOdds")))
        lines.append(Text.assemble(("Odds that the release is to blame: ", "dim"), (blame, "bold")))
    time = evaluation.time("time")
    lines.append(Text(f"counted at {clock(time)}, {age(time, now)} ago", style="dim"))
    return lines


@dataclass(frozen=True, slots=True)
class Bar:
    """Odds against both bounds, on a logarithmic scale that ends beyond the second bound."""

    odds: float
    suspect: int
    bad: int

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw the bar, in characters that the terminal supports."""
        full, rest, mark = ("=", "-", "|") if options.ascii_only else ("━", "─", "┃")
        cells = min(BAR_CELLS, options.max_width)
        filled = self._cell(self.odds, cells)
        marks = [self._cell(bound, cells) for bound in self.bounds]
        style = ("green", "yellow", "red")[sum(self.odds >= bound for bound in self.bounds)]
        line = Text()
        for place in range(cells):
            if place in marks:
                line.append(mark, style="bold")
            else:
                line.append(full if place < filled else rest, style if place < filled else "dim")
        yield line

    @property
    def bounds(self) -> tuple[int, int]:
        """The odds for Suspect and for Bad."""
        return self.suspect, self.bad

    def _cell(self, odds: float, cells: int) -> int:
        """Scale odds to cells: none up to 1 : 1, all from ten times the second bound."""
        whole = math.log10(max(self.bad, 1) * 10)
        return min(cells, round(cells * math.log10(max(odds, 1.0)) / whole))


def _decimal(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        return 0.0
    return value if math.isfinite(value) else 0.0


# -- the rollback ----------------------------------------------------------------------------------


def _rollback(rollback: Record, now: datetime) -> list[RenderableType]:
    outcome, done = rollback.text("status.outcome"), rollback.condition("Complete")
    cause = decided(rollback).text("trigger.message") or rollback.text("spec.reason")
    how = _word(outcome) if outcome else Text(f"at step {rollback.text('status.step') or '-'}")
    lines: list[RenderableType] = [
        Text.assemble(("Rollback ", "dim"), (rollback.name, "bold")),
        Text.assemble(remedy_text(rollback), ": ", how),
        Text.assemble(("because ", "dim"), _line(cause)),
    ]
    if outcome and done.text("message"):
        lines.append(Text(_line(done.text("message"))))
    elif rollback.text("status.step") == "AwaitingApproval":
        asked = commands.approve(rollback.name, rollback.namespace)
        lines.append(Text(f"awaits approval: {asked}", style="yellow"))
    grid = Table.grid(padding=(0, 2, 0, 0))
    for step in rollback.rows("status.steps"):
        message = Text(_line(step.text("message")))
        grid.add_row(f"  {step.text('name')}", _took(step, now), message)
    return [*lines, grid] if grid.row_count else lines


def _took(step: Record, now: datetime) -> Text:
    start, end = step.time("startedTime"), step.time("finishedTime")
    seconds = span(((end or now) - start).total_seconds()) if start is not None else "-"
    return Text(seconds) if end is not None else Text(f"running, {seconds}", style="yellow")


def _word(text: str) -> Text:
    """Colour a word by its meaning."""
    return Text(text, style=colour_of(text))


def _line(text: str) -> str:
    return one_line(shown(text))
