"""What `watch` shows at a moment, made of what was read; nothing is read here."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from rollback_operator.cli.plugin.page import age, clock, colour_of, span
from rollback_operator.cli.plugin.record import Record, decided, shown, way, word
from rollback_operator.judge.explain import ratio
from rollback_operator.model import commands
from rollback_operator.model.pod import Pod
from rollback_operator.model.workload import ReplicaSet, Workload

BAR_CELLS = 40
_MOST_FAILING = 3
_HEADS = ("", "REVISION", "PODS", "READY", "COUNTED", "REQUESTS", "ERRORS", "RATE")
_RIGHT_FROM = 2
"""Columns from here on are figures."""


@dataclass(frozen=True, slots=True)
class FrameInputs:
    """What was read for one frame."""

    policy: Record
    now: datetime
    workload: Workload | None = None
    """None: it could not be read."""
    rollback: Record | None = None
    """The newest of the policy; None: there is none, or it could not be read."""
    remarks: Sequence[str] = ()
    """What is missing from the view, and why."""

    @property
    def evaluation(self) -> Record:
        """What the operator has counted, as far as it is of the release that runs."""
        found = self.policy.part("status.evaluation")
        is_current = found.number("revision") == self.policy.number("status.revision.number")
        return found if is_current else Record()

    @property
    def judged(self) -> ReplicaSet | None:
        """The revision that the counts are of, also where the Deployment has gone on since."""
        if self.workload is None:
            return None
        number = self.evaluation.number("revision")
        of_counts = (one for one in self.workload.replica_sets if one.revision == number)
        return next(of_counts, self.workload.current)


def frame(scene: FrameInputs) -> RenderableType:
    """Draw one frame."""
    parts: list[RenderableType] = [_head(scene), "", _state(scene), "", _revisions(scene)]
    failing = _failing(scene.workload)
    if failing:
        parts += ["", *failing]
    if scene.evaluation.raw:
        parts += ["", *_odds(scene.evaluation, scene.now)]
    if scene.rollback is not None:
        parts += ["", *_rollback(scene.rollback, scene.now)]
    if scene.remarks:
        parts += ["", *(Text(_line(one), style="yellow") for one in scene.remarks)]
    return Group(*parts)


def _head(scene: FrameInputs) -> RenderableType:
    grid = Table.grid(expand=True)
    grid.add_column()
    grid.add_column(justify="right")
    name = Text(f"{scene.policy.namespace}/{scene.policy.name}", style="bold")
    grid.add_row(name, Text(clock(scene.now), style="dim"))
    return grid


def _state(scene: FrameInputs) -> RenderableType:
    policy, found = scene.policy, scene.evaluation
    healthy, ready = policy.condition("Healthy"), policy.condition("Ready")
    cause = ready if ready.text("status") == "False" else healthy
    running = policy.part("status.revision")
    severity, reason = policy.text("status.severity"), found.text("reason")
    said = Text.assemble(_word(policy.text("status.verdict") or "-"))
    if severity not in ("", "None"):
        said.append(" ").append(_word(severity))
    if reason:
        said.append(f" ({reason})", "dim")
    since = running.time("since")
    began = f", {age(since, scene.now)} ago" if since is not None else ""
    images = ", ".join(running.words("images"))
    why = found.text("message") or cause.text("message") or cause.text("reason")
    release = f"revision {running.text('number')}{began}: {images}" if running.raw else ""
    pairs = [
        ("Target", Text(f"Deployment {policy.text('spec.targetRef.name')}, mode "
                        f"{policy.text('spec.mode')}")),
        ("Status", _word(word(policy) or "not looked at yet")),
        ("Verdict", said),
        ("Why", Text(_line(why))),
        ("Release", Text(release)),
    ]  # fmt: skip
    hold = policy.part("status.hold")
    if hold.raw and not hold.text("releasedTime"):
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
    counted = scene.evaluation
    new, old = _pods(scene)
    table.add_row("new", _running(scene), *_ready(new), *_counts(counted.part("new")))
    table.add_row("old", _earlier(scene), *_ready(old), *_counts(counted.part("old")))
    past = counted.part("past")
    if past.raw:
        before = f"{span(past.number('seconds'))} before"
        table.add_row("past", before, "", "", *_counts(past))
    return table


def _pods(scene: FrameInputs) -> tuple[Sequence[Pod] | None, Sequence[Pod] | None]:
    """Give the pods of the revision that is judged and those of all others; None: not known."""
    if scene.workload is None:
        return None, None
    judged, pods = scene.judged, scene.workload.pods
    pod_hash = judged.pod_hash if judged is not None else None
    new = [one for one in pods if one.pod_hash == pod_hash]
    return new, [one for one in pods if one.pod_hash != pod_hash]


def _ready(pods: Sequence[Pod] | None) -> tuple[str, str]:
    """Tell how many pods there are, and how many of them are ready."""
    if pods is None:
        return "-", "-"
    ending = sum(one.terminating for one in pods)
    count = f"{len(pods)} ({ending} ending)" if ending else str(len(pods))
    return count, str(sum(one.ready and not one.terminating for one in pods))


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
    """Number the revisions that have pods beside the running one's, or else the last good one."""
    good = scene.policy.text("status.lastKnownGood.number")
    if scene.workload is None:
        return good or "-"
    _, old = _pods(scene)
    hashes = {one.pod_hash for one in old or ()}
    living = sorted(one.revision for one in scene.workload.replica_sets if one.pod_hash in hashes)
    if living:
        return ", ".join(map(str, living))
    return good if good and good != _running(scene) else "-"


def _failing(workload: Workload | None) -> list[Text]:
    """Say what keeps pods from serving."""
    pods = workload.pods if workload is not None else ()
    faults = [(one.name, one.own_failure or one.environment) for one in pods]
    said = [f"pod {name}: {_line(fault)}" for name, fault in faults if fault]
    more = len(said) - _MOST_FAILING
    lines = [Text(one, style="red") for one in said[:_MOST_FAILING]]
    return [*lines, Text(f"and {more} pods more", style="red")] if more > 0 else lines


# -- odds ------------------------------------------------------------------------------------------


def _odds(found: Record, now: datetime) -> list[RenderableType]:
    odds = _decimal(found.text("odds"))
    bounds = found.number("suspectOdds"), found.number("badOdds")
    said = ratio(odds) if odds > 0 else "none so far"
    of = f" on {found.text('route')}" if found.text("route") else ""
    lines: list[RenderableType] = [
        Text.assemble((f"Odds that the new one is worse{of}: ", "dim"), (said, "bold")),
        Bar(odds, *bounds),
        Text(f"suspect from {bounds[0]} : 1, bad from {bounds[1]} : 1", style="dim"),
    ]
    if found.text("blameOdds"):
        blame = ratio(_decimal(found.text("blameOdds")))
        lines.append(Text.assemble(("Odds that the release is to blame: ", "dim"), (blame, "bold")))
    counted = f"counted at {clock(found.time('time'))}, {age(found.time('time'), now)} ago"
    lines.append(Text(counted, style="dim"))
    return lines


@dataclass(frozen=True, slots=True)
class Bar:
    """Odds against both bounds, on a logarithmic scale that ends beyond the second one."""

    odds: float
    suspect: int
    bad: int

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw it, in signs that the terminal has."""
        full, rest, mark = ("=", "-", "|") if options.ascii_only else ("━", "─", "┃")
        cells = min(BAR_CELLS, options.max_width)
        filled, marks = (
            self._cell(self.odds, cells),
            [self._cell(one, cells) for one in self.bounds],
        )
        style = ("green", "yellow", "red")[sum(self.odds >= one for one in self.bounds)]
        line = Text()
        for place in range(cells):
            if place in marks:
                line.append(mark, style="bold")
            else:
                line.append(full if place < filled else rest, style if place < filled else "dim")
        yield line

    @property
    def bounds(self) -> tuple[int, int]:
        """Give both bounds."""
        return self.suspect, self.bad

    def _cell(self, odds: float, cells: int) -> int:
        """Place odds: nothing up to 1 : 1, the whole bar from ten times the second bound on."""
        whole = math.log10(max(self.bad, 1) * 10)
        return min(cells, round(cells * math.log10(max(odds, 1.0)) / whole))


def _decimal(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        return 0.0
    return found if math.isfinite(found) else 0.0


# -- the rollback ----------------------------------------------------------------------------------


def _rollback(rollback: Record, now: datetime) -> list[RenderableType]:
    outcome, done = rollback.text("status.outcome"), rollback.condition("Complete")
    cause = decided(rollback).text("trigger.message") or rollback.text("spec.reason")
    how = _word(outcome) if outcome else Text(f"at step {rollback.text('status.step') or '-'}")
    lines: list[RenderableType] = [
        Text.assemble(("Rollback ", "dim"), (rollback.name, "bold")),
        Text.assemble(way(rollback), ": ", how),
        Text.assemble(("because ", "dim"), _line(cause)),
    ]
    if outcome and done.text("message"):
        lines.append(Text(_line(done.text("message"))))
    elif rollback.text("status.step") == "AwaitingApproval":
        asked = commands.approve(rollback.name, rollback.namespace)
        lines.append(Text(f"a person is asked: {asked}", style="yellow"))
    grid = Table.grid(padding=(0, 2, 0, 0))
    for one in rollback.rows("status.steps"):
        grid.add_row(f"  {one.text('name')}", _took(one, now), Text(_line(one.text("message"))))
    return [*lines, grid] if grid.row_count else lines


def _took(step: Record, now: datetime) -> Text:
    start, end = step.time("startedTime"), step.time("finishedTime")
    seconds = span(((end or now) - start).total_seconds()) if start is not None else "-"
    return Text(seconds) if end is not None else Text(f"running, {seconds}", style="yellow")


def _word(text: str) -> Text:
    """Colour a word by what it means."""
    return Text(text, style=colour_of(text))


def _line(text: str) -> str:
    return " ".join(shown(text).split())
