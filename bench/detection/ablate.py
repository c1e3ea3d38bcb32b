"""What each rule of the judge buys: the same releases with one rule at a time taken away.

The judge has no switches. A rule is a function, which is replaced in this process by another that
finds nothing. While the whole judge decides, each replacement is asked beside its original: where
no answer differs, the decision is the same without the rule, and the release is not judged again.
"""

from __future__ import annotations

import contextlib
import importlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from types import ModuleType
from typing import Any

from bench.detection.judged import Outcome, judge_world
from bench.detection.limits import Limit, is_to_be_undone, limit, truth
from bench.detection.records import fingerprint
from bench.detection.scenario import Scenario, Truth, parse
from bench.detection.world import build
from rollback_operator.evidence.arms import Arms
from rollback_operator.judge.affected import AffectedPods
from rollback_operator.judge.warm_up import Fading
from rollback_operator.model.verdict import Blame

Function = Callable[..., Any]
WHOLE = "nothing"
SURE = 1e9


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule of the judge, and what stands in its place when it is taken away."""

    name: str
    place: str
    """`module:name`, below rollback_operator: where the function is called from."""
    made: Callable[[Function], Function]
    """Makes what stands there from what stood there."""

    @property
    def _where(self) -> tuple[ModuleType, str]:
        module, _, name = self.place.partition(":")
        return importlib.import_module(f"rollback_operator.{module}"), name

    @contextlib.contextmanager
    def put(self, make: Callable[[Function], Function]) -> Iterator[None]:
        """Replace the function for a time."""
        module, name = self._where
        kept = getattr(module, name)
        setattr(module, name, make(kept))
        try:
            yield
        finally:
            setattr(module, name, kept)


def _watching(rules: Sequence[Rule], differing: set[str]) -> Callable[[Function], Function]:
    """Make a function that answers as ever, and notes which replacements of it would not."""

    def make(kept: Function) -> Function:
        others = {rule.name: rule.made(kept) for rule in rules}

        def asked(*arguments: Any) -> Any:
            answer = kept(*arguments)
            for name in others.keys() - differing:
                if others[name](*arguments) != answer:
                    differing.add(name)
            return answer

        return asked

    return make


def _always(value: Any) -> Callable[[Function], Function]:
    return lambda _: lambda *_: value


def _with_limit(module: str, name: str, value: float) -> Callable[[Function], Function]:
    """Call the function with another limit in its module."""

    def make(kept: Function) -> Function:
        def limited(*arguments: Any) -> Any:
            owner = importlib.import_module(f"rollback_operator.{module}")
            known = getattr(owner, name)
            setattr(owner, name, value)
            try:
                return kept(*arguments)
            finally:
                setattr(owner, name, known)

        return limited

    return make


def _counts_first_seconds(kept: Function) -> Function:
    def all_of(arms: Arms, route: str | None) -> object:
        new = arms.counted_on(route)
        return (new, new.increments) if new else kept(arms, route)

    return all_of


def _all_pods(kept: Function) -> Function:
    return lambda *arguments: AffectedPods(kept(*arguments).bad, is_shared=True)


def _one_pod_is_enough(kept: Function) -> Function:
    return lambda arms, new, pods: kept(arms, new, replace(pods, is_shared=True))


def _first_only(kept: Function) -> Function:
    return lambda *arguments: kept(*arguments)[:1]


def _all_routes_only(kept: Function) -> Function:
    return lambda arms, question: kept(arms, replace(question, purchase_routes=()))


def _unmet(name: str, value: float) -> Rule:
    return Rule("", "judge.vetoes:unmet_floor", _with_limit("judge.vetoes", name, value))


RULES = (
    Rule("blame by onset", "judge.scope:blame", _always(Blame(SURE, True, 0.0))),
    Rule("blame: onset by age", "judge.blame:_by_age", _always({})),
    Rule("prior failure (alike)", "judge.vetoes:is_alike", _always(False)),
    Rule("vetoes by history", "judge.vetoes:veto_by_history", _always(None)),
    Rule(
        "veto: traffic spike",
        "judge.vetoes:veto_by_history",
        _with_limit("judge.vetoes", "SPIKE_TIMES", SURE),
    ),
    Rule("warm-up", "judge.scope:counts_that_matter", _counts_first_seconds),
    Rule("warm-up: fading", "judge.warm_up:fading", _always(Fading())),
    Rule("ending: fault has ended", "judge.scope:has_ended", _always(False)),
    Rule("ending: newest samples", "judge.vetoes:_has_ceased", _always(False)),
    Rule("affected: one pod or node", "judge.scope:affected", _all_pods),
    Rule("affected: counts of all others", "judge.affected:_concentrated", _always(frozenset())),
    Rule("scopes: purchase routes", "judge.judge:judged_scopes", _all_routes_only),
    Rule("ceilings of longer spans", "judge.scope:ceilings", _first_only),
    Rule("dispersion between pods", "judge.scope:dispersion", _always(1.0)),
    Rule("traffic lost", "judge.judge:traffic_lost", _always(None)),
    Rule("traffic ceased", "judge.judge:traffic_ceased", _always(None)),
    Rule("slow signals", "judge.symptoms:find_symptoms", _always(())),
    Rule("pods by Kubernetes", "judge.judge:pod_fault", _always(None)),
    replace(_unmet("LEAST_REQUESTS", 1), name="floor: 20 requests"),
    replace(_unmet("LEAST_ERRORS", 1), name="floor: 10 errors"),
    replace(_unmet("LEAST_SAMPLES", 1), name="floor: two samples"),
    Rule("floor: two pods", "judge.vetoes:unmet_floor", _one_pod_is_enough),
    Rule("floor: pods read at their start", "judge.vetoes:_fails_on", _always(True)),
)


@dataclass(frozen=True, slots=True)
class Case:
    """A release, and what is decided on it by the whole judge and without each rule."""

    scenario: Scenario
    truth: Truth
    limit: Limit | None
    whole: Outcome
    without: Mapping[str, Outcome]
    """By rule; a rule that is not in it makes no difference."""

    def outcome(self, rule: str) -> Outcome:
        """Give the decision without a rule."""
        return self.without.get(rule, self.whole)

    @property
    def is_bad(self) -> bool:
        """Tell whether the release is to be undone."""
        return is_to_be_undone(self.scenario, self.truth)

    def seconds(self, rule: str) -> float | None:
        """Give the time from the fault to its undo; None: it is not undone."""
        time = self.outcome(rule).rolled_back
        if time is None or self.limit is None or time < self.limit.since:
            return None
        return time - self.limit.since


def judge_without(scenario: Scenario, rules: Sequence[Rule]) -> Case:
    """Judge a release by the whole judge, and again without each rule that would matter."""
    world = build(scenario)
    differing: set[str] = set()
    with contextlib.ExitStack() as stack:
        for place in {rule.place for rule in rules}:
            there = [rule for rule in rules if rule.place == place]
            stack.enter_context(there[0].put(_watching(there, differing)))
        whole = judge_world(world)
    without = {}
    for rule in rules:
        if rule.name in differing:
            with rule.put(rule.made):
                without[rule.name] = judge_world(world)
    return Case(scenario, truth(world), limit(world), whole, without)


def run(scenarios: Iterable[Scenario], rules: Sequence[Rule], path: Path) -> Iterator[Case]:
    """Judge all releases that `path` holds no result of, and add theirs to it."""
    mark = f"{fingerprint()} {' '.join(rule.name for rule in rules)}"
    done: dict[str, Case] = {}
    if path.exists():
        for line in path.read_text().splitlines():
            if (fields := json.loads(line))["of"] == mark:
                done[fields["scenario"]] = _case(fields)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        for scenario in scenarios:
            case = done.get(scenario.line())
            if case is None:
                case = judge_without(scenario, rules)
                file.write(_line(case, mark) + "\n")
                file.flush()
            yield case


def _line(case: Case, mark: str) -> str:
    return json.dumps(
        {
            "of": mark,
            "scenario": case.scenario.line(),
            "truth": case.truth,
            "limit": None if case.limit is None else asdict(case.limit),
            "whole": case.whole.fields(),
            "without": {name: outcome.fields() for name, outcome in case.without.items()},
        },
        separators=(",", ":"),
    )


def _case(fields: Mapping[str, Any]) -> Case:
    known = fields["limit"]
    return Case(
        parse(fields["scenario"]),
        Truth(fields["truth"]),
        None if known is None else Limit(**known),
        Outcome(**fields["whole"]),
        {name: Outcome(**outcome) for name, outcome in fields["without"].items()},
    )


def table(cases: Sequence[Case], rules: Sequence[Rule]) -> list[dict[str, Any]]:
    """Compute right, wrong and seconds by the whole judge and without each rule."""
    return [_row(cases, name) for name in (WHOLE, *(rule.name for rule in rules))]


def _row(cases: Sequence[Case], rule: str) -> dict[str, Any]:
    bad = [case for case in cases if case.is_bad and case.limit and case.limit.is_within]
    healthy = [case for case in cases if case.truth is Truth.NO_ROLLBACK]
    right = [case for case in bad if case.seconds(rule) is not None]
    both = [case for case in right if case.seconds(WHOLE) is not None]
    wrong = [case for case in healthy if case.outcome(rule).rolled_back is not None]
    pairs = [(case.seconds(rule) or 0.0, case.seconds(WHOLE) or 0.0) for case in both]
    mild = [case for case in cases if case.scenario.severity == "P3"]
    severe = [case for case in right if case.outcome(rule).severity == case.scenario.severity]
    return {
        "without": rule,
        "bad": len(bad),
        "right": len(right),
        "healthy": len(healthy),
        "wrong": len(wrong),
        "wrongPlain": sum(not case.scenario.is_confounded for case in wrong),
        "reported": sum(case.outcome(rule).told is not None for case in healthy),
        "mild": len(mild),
        "mildReported": sum(case.outcome(rule).told is not None for case in mild),
        "severityRight": len(severe),
        "medianSeconds": round(median(time for time, _ in pairs), 2) if pairs else None,
        "secondsMore": round(sum(time - whole for time, whole in pairs) / max(1, len(pairs)), 2),
        "differ": sum(_differs(case, rule) for case in cases),
    }


def _differs(case: Case, rule: str) -> bool:
    """Tell whether the decision, its severity or a report to people is another without it."""
    first, other = case.whole, case.outcome(rule)
    return (first.rolled_back, first.severity, first.told) != (
        other.rolled_back,
        other.severity,
        other.told,
    )


HEAD = (
    "without",
    "bad undone",
    "healthy undone (plain)",
    "healthy reported",
    "P3 reported",
    "severity right",
    "median s",
    "mean s more",
    "other outcome",
)


def markdown(rows: Sequence[Mapping[str, Any]], command: str, first: int) -> str:
    """Write the table."""
    whole = rows[0]
    lines = [
        "# What each rule of the judge buys",
        "",
        f"{whole['bad']} bad (P1, P2), {whole['mild']} of P3 and {whole['healthy']} healthy "
        f"releases of a few minutes, seeds from {first}; made by `{command}`. Each line is the "
        "same releases with one rule taken away. Seconds are from the fault to its undo, on "
        "releases that both undo. The last column counts releases with another decision, severity "
        "or report.",
        "",
        f"| {' | '.join(HEAD)} |",
        f"| --- |{' ---: |' * (len(HEAD) - 1)}",
        *(f"| {' | '.join(_cells(row))} |" for row in rows),
    ]
    return "\n".join(lines) + "\n"


def _cells(row: Mapping[str, Any]) -> list[str]:
    wrong = f"{row['wrong']} ({row['wrongPlain']})"
    counts = (row["without"], row["right"], wrong, row["reported"], row["mildReported"])
    more = f"{row['secondsMore']:+.2f}"
    return [
        *map(str, counts),
        str(row["severityRight"]),
        str(row["medianSeconds"]),
        more,
        str(row["differ"]),
    ]
