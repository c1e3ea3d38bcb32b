"""Records -> figures. Everything that the tables say is computed here."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from bench.detection.baselines import BASELINES
from bench.detection.families import OWN_FAMILY, ROWS
from bench.detection.records import Record
from bench.detection.scenario import BOTH_FAIL, UNREADABLE, Fault, Truth, worse

CONFIDENCE = 0.95
SILENT = (Fault.CRASH_LOOP, Fault.SILENT)
OURS = "rollback-operator"
When = Callable[[Record], float | None]


@dataclass(frozen=True)
class Judge:
    """Somebody who decides, and when: the operator, or a baseline."""

    name: str
    when: When


def judges() -> list[Judge]:
    """List who is compared."""
    return [
        Judge(OURS, lambda one: one.outcome.rolled_back),
        *(Judge(name, _when(name)) for name in BASELINES),
    ]


def _when(name: str) -> When:
    return lambda one: one.baselines.get(name)


def upper_bound(count: int, of: int) -> float:
    """Compute the exact upper bound of a share (Clopper and Pearson 1934), one-sided 95 %."""
    if of == 0:
        return 1.0
    if count >= of:
        return 1.0
    low, high = count / of, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if _at_most(count, of, middle) > 1 - CONFIDENCE:
            low = middle
        else:
            high = middle
    return high


def _at_most(count: int, of: int, share: float) -> float:
    """Compute P(X <= count) of a binomial."""
    nats = [
        math.lgamma(of + 1)
        - math.lgamma(one + 1)
        - math.lgamma(of - one + 1)
        + one * math.log(share)
        + (of - one) * math.log1p(-share)
        for one in range(count + 1)
    ]
    return math.fsum(math.exp(one) for one in nats)


def healthy(records: Iterable[Record]) -> list[Record]:
    """Choose the releases that do well by themselves."""
    return [one for one in records if one.truth is Truth.NO_ROLLBACK]


def bad(records: Iterable[Record]) -> list[Record]:
    """Choose the releases that are to be rolled back."""
    return [one for one in records if one.truth is Truth.ROLLBACK]


def knowable(records: Iterable[Record]) -> list[Record]:
    """Choose the bad ones whose limit lies within the deadline: what recall counts."""
    return [one for one in bad(records) if one.limit is not None and one.limit.is_within]


def quality(records: Sequence[Record], judge: Judge) -> dict[str, Any]:
    """Compute precision, recall and false rollbacks of one judge."""
    good, wanted = healthy(records), bad(records)
    counted = knowable(records)
    false = [one for one in good if judge.when(one) is not None]
    right = [one for one in wanted if judge.when(one) is not None]
    caught = [one for one in counted if _in_time(one, judge)]
    plain = [one for one in good if not one.scenario.is_confounded]
    confounded = [one for one in good if one.scenario.is_confounded]
    both = [one for one in confounded if one.scenario.confounder in BOTH_FAIL]
    hidden = [one for one in confounded if one.is_undecidable]
    return {
        "precision": _share(len(right), len(right) + len(false)),
        "recall": _share(len(caught), len(counted)),
        "bad": len(wanted),
        "badKnowable": len(counted),
        "missed": len(counted) - len(caught),
        "falsePlain": _per_thousand(plain, judge),
        "falseConfounded": _per_thousand(confounded, judge),
        "bothFail": _per_thousand(both, judge),
        "undecidable": _per_thousand(hidden, judge),
    }


def _in_time(one: Record, judge: Judge) -> bool:
    """Tell whether it was rolled back at all, and not before its fault began."""
    time = judge.when(one)
    return time is not None and (one.limit is None or time >= one.limit.since)


def _per_thousand(records: Sequence[Record], judge: Judge) -> dict[str, Any]:
    false = sum(judge.when(one) is not None for one in records)
    return {
        "releases": len(records),
        "rolledBack": false,
        "perThousand": _round(1000 * false / len(records)) if records else None,
        "upperBound": _round(1000 * upper_bound(false, len(records))),
    }


def _share(part: int, of: int) -> float | None:
    return _round(part / of) if of else None


def _round(value: float, digits: int = 4) -> float:
    return round(value, digits)


def quantiles(values: Sequence[float]) -> dict[str, Any]:
    """Give median and 99th percentile (nearest rank)."""
    found = sorted(values)
    if not found:
        return {"count": 0, "median": None, "p99": None}
    ranks = {"median": 0.5, "p99": 0.99}
    return {
        "count": len(found),
        **{
            name: _round(found[max(0, math.ceil(share * len(found)) - 1)], 3)
            for name, share in ranks.items()
        },
    }


def times(records: Sequence[Record], judge: Judge) -> dict[str, Any]:
    """Compute time to decision as multiples of the limit and of the scrape interval."""
    caught = [
        one
        for one in knowable(records)
        if _in_time(one, judge) and one.scenario.fault not in SILENT
    ]
    found: dict[str, Any] = {}
    for severity in ("P1", "P2"):
        mine = [one for one in caught if one.scenario.severity == severity]
        found[severity] = {
            "overLimitWithFloors": quantiles([_took(one, judge) / _floored(one) for one in mine]),
            "overBareLimit": quantiles([_took(one, judge) / _bare(one) for one in mine]),
            "scrapes": quantiles([_took(one, judge) / one.scenario.scrape for one in mine]),
            "seconds": quantiles([_took(one, judge) for one in mine]),
        }
    busy = [
        one
        for one in caught
        if one.scenario.severity == "P1"
        and one.scenario.rps >= 100
        and one.scenario.confounder not in UNREADABLE
    ]
    found["P1FromHundredRps"] = {
        "scrapes": quantiles([_took(one, judge) / one.scenario.scrape for one in busy])
    }
    silent = [
        one for one in knowable(records) if _in_time(one, judge) and one.scenario.fault in SILENT
    ]
    found["byKubernetes"] = quantiles([_took(one, judge) for one in silent])
    return found


def _took(one: Record, judge: Judge) -> float:
    time = judge.when(one)
    if time is None or one.limit is None:
        raise ValueError("only what was decided has a time")
    return time - one.limit.since


def _floored(one: Record) -> float:
    return math.inf if one.limit is None else one.limit.floored


def _bare(one: Record) -> float:
    return math.inf if one.limit is None else one.limit.bare


def rows(records: Sequence[Record]) -> dict[str, Any]:
    """For each confounder: what was decided on it alone, and with a real fault beside it."""
    found = {}
    for row in (*ROWS, *OWN_FAMILY):
        mine = [one for one in records if one.scenario.confounder is row]
        alone = [one for one in mine if not _is_beside(one)]
        found[row.value] = {
            "alone": _decided(alone),
            "beside": _decided([one for one in mine if _is_beside(one)]),
            "baselinesAlone": {
                judge.name: sum(judge.when(one) is not None for one in alone)
                for judge in judges()[1:]
            },
        }
    return found


def _is_beside(one: Record) -> bool:
    """Tell whether there is a real fault beside the confounder, by the seed's family."""
    family = one.scenario.seed % 1_000_000 % 500_000
    # Later families draw both.
    return family >= 300_000 if family < 400_000 else one.scenario.fault is not Fault.NONE


def _decided(records: Sequence[Record]) -> dict[str, int]:
    counts = Counter(decision(one) for one in records)
    names = ("Rollback", "Told", "NoVerdict", "Nothing")
    return {"of": len(records), **{name: counts[name] for name in names}}


def decision(one: Record) -> str:
    """Name what came out in the end."""
    if one.is_rolled_back:
        return "Rollback"
    if one.outcome.told is not None or one.outcome.refusal:
        return "Told"
    return "NoVerdict" if one.outcome.final == "NoVerdict" else "Nothing"


def severities(records: Sequence[Record]) -> dict[str, dict[str, int]]:
    """Count what severity was given to what true one, by what could be told while acting."""
    found: dict[str, dict[str, int]] = {}
    for one in records:
        if one.truth is Truth.NO_ROLLBACK and one.scenario.severity == "None":
            true = "None"
        else:
            true = one.scenario.severity
        line = found.setdefault(true, dict.fromkeys(("P1", "P2", "P3", "P4", "None"), 0))
        line[given(one)] += 1
    return dict(sorted(found.items()))


def given(one: Record) -> str:
    """Give the severity that was stated, raised by what came in while the undo took effect."""
    return worse(one.outcome.severity, one.outcome.severity_later)


def unknowable(records: Sequence[Record]) -> dict[str, Any]:
    """Count what became of bad releases that nobody could prove within the deadline."""
    left = [one for one in bad(records) if one.limit is not None and not one.limit.is_within]
    return _decided(left)


def pages(records: Sequence[Record]) -> dict[str, Any]:
    """Count what became of faults that are for people to judge, by their kind."""
    found: dict[str, list[Record]] = {}
    for one in records:
        if one.truth is Truth.PAGE:
            found.setdefault(_kind(one), []).append(one)
    return {name: _decided(mine) for name, mine in sorted(found.items())}


def _kind(one: Record) -> str:
    if one.scenario.is_confounded:
        return one.scenario.confounder.value
    return "late, no old pod left" if one.scenario.is_bad else one.scenario.fault.value


def no_verdict(records: Sequence[Record]) -> dict[str, Any]:
    """Compute the share of releases that end without a verdict."""

    def share(mine: Sequence[Record]) -> dict[str, Any]:
        count = sum(one.outcome.final == "NoVerdict" for one in mine)
        return {"releases": len(mine), "share": _share(count, len(mine))}

    good = healthy(records)
    return {
        "plain": share([one for one in good if not one.scenario.is_confounded]),
        "plainFromOneRps": share(
            [one for one in good if not one.scenario.is_confounded and one.scenario.rps >= 1]
        ),
        "confounded": share([one for one in good if one.scenario.is_confounded]),
        "bad": share(bad(records)),
    }


def summary(records: Sequence[Record]) -> dict[str, Any]:
    """Compute all figures."""
    looks = sum(one.outcome.looks for one in records)
    judged = sum(one.outcome.judged for one in records)
    return {
        "releases": len(records),
        "hoursWatched": _round(sum(_watched(one) for one in records) / 3600, 1),
        "looks": looks,
        "judged": judged,
        "cpuSeconds": _round(sum(one.outcome.seconds for one in records), 1),
        "quality": {judge.name: quality(records, judge) for judge in judges()},
        "times": {judge.name: times(records, judge) for judge in judges()},
        "severity": severities(records),
        "noVerdict": no_verdict(records),
        "unknowable": unknowable(records),
        "forPeople": pages(records),
        "confounders": rows(records),
        "replay": agreement(records),
    }


def agreement(records: Sequence[Record]) -> dict[str, Any]:
    """Count on how many scenarios a replay of the samples decides as the operator does."""
    both = [(one, one.replayed) for one in records if one.replayed is not None]
    same = sum((one.is_rolled_back) == (found.rolled_back is not None) for one, found in both)
    return {
        "scenarios": len(both),
        "same": same,
        "cpuSeconds": _round(sum(found.seconds for _, found in both), 1),
    }


def _watched(one: Record) -> float:
    return one.outcome.rolled_back or one.scenario.horizon


def wrong(records: Sequence[Record]) -> list[Record]:
    """List the wrong decisions, the most harmful first: false rollbacks, misses, severities."""
    false = [one for one in healthy(records) if one.is_rolled_back]
    missed = [one for one in knowable(records) if not one.is_rolled_back]
    mistaken = [
        one for one in bad(records) if one.is_rolled_back and given(one) != one.scenario.severity
    ]
    false.sort(key=lambda one: one.scenario.is_confounded)
    return [*false, *missed, *mistaken]
