"""Whether old pods, before they went, had come to fail like the new ones.

An outage may have begun a second before an old pod was last read: that count has had it for a part
of its time only.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from rollback_operator.core.arms import CEILING_TIMES
from rollback_operator.core.blame import BAD_RELEASES, FINE_STEPS, GRAIN, MOST_TIMES
from rollback_operator.core.increments import Increment

ALIKE_ODDS = 100.0
ALIKE_ERRORS = 2.0
ALIKE_COUNTS = 2
"""One clump of errors that belong together is not yet a fault: so many counts must hold some."""
LESSER = tuple(CEILING_TIMES * times for times in (1, 2, 4, 8))
"""By how much less than the release another fault may fail that the old pods had."""
ROUNDS = 3
HIGHEST = 0.999
_ALIKE_NATS = math.log(ALIKE_ODDS)


class _Last(NamedTuple):
    """What old pods counted over the same seconds shortly before they went."""

    start: float
    end: float
    requests: float
    errors: float
    failed: int
    """How many counts of a pod and route hold an error."""

    def nats(self, rate: float, other: float | None = None) -> float:
        """Compute the log-likelihood of a rate, or its ratio to that of another one."""
        failed, passed = math.log(rate), math.log(1 - rate)
        if other is not None:
            failed, passed = failed - math.log(other), passed - math.log(1 - other)
        return self.errors * failed + (self.requests - self.errors) * passed


def is_alike(
    last: Sequence[Increment], rate: float, known: tuple[float, float], beside: float = 0.0
) -> bool:
    """Tell whether the old pods had come to fail like the new ones before they went.

    The likelihood ratio of a fault of the new pods' rate that began at some time, within a count as
    a rule, against the control's own rate. It is that of the best time: counted backwards it is a
    martingale as forwards, so that chance reaches 100 : 1 in about one of 100 releases at most. It
    only holds an act up, and needs no more.

    What the old pods show may also be another fault, several times less bad than the release's:
    going back helps then. Two faults at once are as much less likely than one as bad releases are,
    unless the new pods themselves show the lesser one on other routes.

    Args:
        last: what the old pods counted last.
        rate: the new pods' error rate.
        known: the control's own, as a rule and at its worst.
        beside: the new pods' error rate on other routes.
    """
    rate = min(HIGHEST, rate)
    counts = _together(last)
    if sum(one.failed for one in counts) < ALIKE_COUNTS:
        return False
    times = sorted({time for one in counts for time in (one.start, one.end)})
    times = times[:: -(-len(times) // MOST_TIMES)]
    if _highest(times, partial(_since, counts, rate, known)) < _ALIKE_NATS:
        return False
    one = _highest(times, partial(_likely, counts, rate, known))
    if known[0] < beside <= rate / CEILING_TIMES:
        return one >= _highest(times, partial(_likely, counts, beside, known))
    lesser = [rate / less for less in LESSER if rate / less > known[0]]
    two = (_highest(times, partial(_likely, counts, less, known)) for less in lesser)
    return one >= max(two, default=-math.inf) + math.log(BAD_RELEASES)


def _highest(times: Sequence[float], score: Callable[[float], float]) -> float:
    """Find the highest score at these times or near the best of them."""
    scores: list[float] = []
    for _ in range(ROUNDS):
        scores = [score(time) for time in times]
        best = scores.index(max(scores))
        left, right = times[max(0, best - 1)], times[min(len(times) - 1, best + 1)]
        times = [left + (right - left) * step / FINE_STEPS for step in range(FINE_STEPS + 1)]
    return max(scores)


def _together(last: Sequence[Increment]) -> list[_Last]:
    """Add up what was counted over nearly the same seconds: many pods cost no more than a few."""
    found: dict[tuple[int, int], _Last] = {}
    for one in last:
        key = round(one.start / GRAIN), round(one.end / GRAIN)
        old = found.get(key) or _Last(one.start, one.end, 0.0, 0.0, 0)
        errors = min(one.errors, one.requests)
        found[key] = old._replace(
            requests=old.requests + one.requests,
            errors=old.errors + errors,
            failed=old.failed + (errors > 0),
        )
    return list(found.values())


def _since(counts: Sequence[_Last], rate: float, known: tuple[float, float], begin: float) -> float:
    """Compute the log-likelihood ratio of a fault that began then; 0 where too little shows."""
    later = [one for one in counts if one.end > begin]
    requests = sum(one.requests for one in later)
    errors = sum(one.errors for one in later)
    if errors < ALIKE_ERRORS or sum(one.failed for one in later) < ALIKE_COUNTS:
        return 0.0
    usual = min(known[1], max(known[0], errors / requests))
    if usual >= rate:
        return 0.0
    before = min(usual, known[0])
    return sum(one.nats(_share(one, begin) * (rate - before) + before, usual) for one in later)


def _likely(
    counts: Sequence[_Last], rate: float, known: tuple[float, float], begin: float
) -> float:
    """Compute the log-likelihood of all counts if a fault of that rate began at a time."""
    before = [one for one in counts if one.end <= begin]
    requests = sum(one.requests for one in before)
    errors = sum(one.errors for one in before)
    usual = min(known[1], max(known[0], errors / requests if requests else 0.0), rate)
    return sum(one.nats(_share(one, begin) * (rate - usual) + usual) for one in counts)


def _share(one: _Last, begin: float) -> float:
    """Tell for how much of its time a count has had a fault: one holds the beginning."""
    return min(1.0, max(0.0, (one.end - begin) / max(one.end - one.start, GRAIN)))
