"""Sequential tests: odds that stay valid when they are read after every sample. Pure arithmetic.

Coin flip: if both revisions are equally good, an error falls on the new revision with probability
w, its share of the requests in that time. The likelihood ratio against 'k times worse' is a
martingale under that hypothesis, so by Ville's inequality it ever reaches 1/alpha with probability
alpha at most, however often it is read. It is the two-sample form of the anytime-valid multinomial
test of Lindon and Malek (NeurIPS 2022) with the traffic share as the null. Averages over several k
and spending over several starts keep the property.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from statistics import NormalDist
from typing import NamedTuple

EFFECTS = (3.0, 10.0, 100.0)
"""How many times worse the new revision could be."""
MINUTE_SECONDS = 60
FALL = 4.0
"""A rate that falls to a quarter of itself in ten seconds is that of a warm-up."""
_MAX_EXPONENT = 600.0
_MAX_RATE = 0.99


class Cell(NamedTuple):
    """Requests and errors of both revisions in the same seconds on one route."""

    start: float
    new_requests: float
    new_errors: float
    old_requests: float
    old_errors: float
    new_errors_unsure: float = 0.0
    """The new revision's errors, here or later, that may have happened before `start`."""
    old_errors_before: float = 0.0
    """The old revision's, counted before `start`, that may have happened after it."""


@dataclass(frozen=True, slots=True)
class Odds:
    """Odds after spending, and since when the count that reached them runs."""

    value: float
    since: float
    """Start of the count that shows the fault undiluted, of those that prove it."""
    number: int = 1
    """Which count of the watch that is: the more counts are compared, the surer each must be."""


def coin_flip(cells: Sequence[Cell], dispersion: float, enough: float) -> Odds:
    """Compute the odds that the new revision fails more often than the old.

    A fresh count starts each minute, so that an hour without errors dilutes no late fault; the
    j-th must reach (pi j)^2 / 6 times as much, so that the chances of all counts add up to alpha.

    Args:
        cells: in time order; cells without requests of both revisions say nothing.
        dispersion: how much more the old pods differ than chance allows, at least 1.
        enough: odds that are enough for an act.
    """
    parts = []
    for cell in cells:
        if cell.new_requests > 0 and cell.old_requests > 0:
            coins = _coins(cell.new_requests / (cell.new_requests + cell.old_requests))
            # A count is only sure of what happened after its start. What the samples leave open is
            # decided against suspicion: doubtful errors of the new revision out, of the old in.
            unsure, before = -cell.new_errors_unsure, cell.old_errors_before
            scores = [cell.new_errors * new + cell.old_errors * old for new, old in coins]
            border = [unsure * new + before * old for new, old in coins]
            parts.append(_Segment(cell.start, cell.new_requests, cell.new_errors, scores, border))
    return _best_count(parts, dispersion, enough)


def against_ceiling(
    counts: Sequence[tuple[float, float, float]],
    ceiling: float,
    enough: float = math.inf,
    lasting: float = 0.0,
) -> Odds:
    """Compute the odds that a revision fails more often than `ceiling`, without a control.

    The likelihood ratio of a binomial against the worst rate that the null allows (Wald 1945), a
    supermartingale for every rate up to that rate.

    Args:
        counts: (start, requests, errors) in time order.
        ceiling: the highest error rate that is still no reason for suspicion, in (0, 1).
        enough: odds that are enough for an act.
        lasting: seconds over which the ceiling holds: a count of less says nothing against it.
    """
    newest = counts[-1][0] if counts else 0.0
    return against_ceilings(_counted_by_minute(counts), [(ceiling, newest - lasting)], enough)[0]


class Minute(NamedTuple):
    """One revision's counts of a minute."""

    start: float
    requests: float
    errors: float
    passed: float


def against_ceilings(
    minutes: Sequence[Minute], ceilings: Iterable[tuple[float, float]], enough: float
) -> list[Odds]:
    """Compute the odds against several ceilings.

    Args:
        minutes: in time order.
        ceilings: each with the latest start of a count that has lasted as long as it holds.
        enough: odds that are enough for an act.
    """
    all_odds = []
    for ceiling, last_start in ceilings:
        weights = [_weights(_worse(ceiling, effect), ceiling) for effect in EFFECTS]
        all_odds.append(_best_by_minute(minutes, weights, enough, last_start))
    return all_odds


def _best_by_minute(
    minutes: Sequence[Minute],
    weights: Sequence[tuple[float, float]],
    enough: float,
    last_start: float,
) -> Odds:
    """Give the best of the counts that begin each minute, `last_start` at the latest."""
    if not minutes or minutes[0].start > last_start:
        return Odds(0.0, minutes[0].start if minutes else 0.0)
    counts: list[_Count] = []
    requests = errors = passed = 0.0
    (first, first_passed), (second, second_passed), (third, third_passed) = weights
    least = -math.inf
    for number in range(len(minutes), 0, -1):
        start, served, failed, well = minutes[number - 1]
        requests += served
        errors += failed
        passed += well
        if start > last_start:
            continue
        nats = (
            first * errors + first_passed * passed,
            second * errors + second_passed * passed,
            third * errors + third_passed * passed,
        )
        # Of most minutes of a long watch no effect is likely: neither the best nor a proof.
        if nats[0] < least and nats[1] < least and nats[2] < least:
            continue
        raw = sum([math.exp(each if each < _MAX_EXPONENT else _MAX_EXPONENT) for each in nats])
        value = _spent(raw / len(nats), number)
        counts.append(_Count(value, requests, errors, start, number))
        known = min(value, enough)
        if known > 0:
            least = max(least, math.log(known))
    return _best(counts, enough)


def _spent(odds: float, number: int) -> float:
    """Let the j-th count spend 6 / (pi j)^2 of alpha; the first gets nearly all that matters."""
    return odds * 6 / (math.pi * number) ** 2


class _Count(NamedTuple):
    """What is counted from a minute on."""

    value: float
    """Odds, after spending."""
    requests: float
    errors: float
    start: float
    number: int


def _best(counts: Sequence[_Count], enough: float) -> Odds:
    best = max(count.value for count in counts)
    # Of the counts that prove it, the count with the highest rate shows the fault undiluted.
    proof = min(best, enough)
    proving = [count for count in counts if count.value >= proof]
    if len(proving) == 1:
        return Odds(best, proving[0].start, proving[0].number)
    worst = max(
        proving, key=lambda count: wilson_lower(count.requests, count.errors, z_of(count.number))
    )
    return Odds(best, worst.start, worst.number)


def _counted_by_minute(counts: Sequence[tuple[float, float, float]]) -> list[Minute]:
    """Add counts up before they are scored: the score is linear, an hour has many of them."""
    minutes: list[Minute] = []
    for start, requests, errors in counts:
        minute = Minute(start, requests, errors, max(0.0, requests - errors))
        if not minutes or start >= minutes[-1].start + MINUTE_SECONDS:
            minutes.append(minute)
        else:
            last = minutes[-1]
            minutes[-1] = Minute(
                last.start, *(a + b for a, b in zip(last[1:], minute[1:], strict=True))
            )
    return minutes


class _Segment(NamedTuple):
    start: float
    requests: float
    errors: float
    scores: list[float]
    """Log-likelihood ratios of each effect against none."""
    border: list[float]
    """... of what a count that begins here must not profit from."""

    def joined(self, later: "_Segment") -> "_Segment":
        """Add what follows; the border stays that of the beginning."""
        is_same = later.start == self.start
        return _Segment(
            self.start,
            self.requests + later.requests,
            self.errors + later.errors,
            _added(self.scores, later.scores),
            _added(self.border, later.border) if is_same else self.border,
        )


def _coins(share: float) -> list[tuple[float, float]]:
    """Give what an error of the new, and of the old, revision adds to the log-likelihood ratios."""
    # q / w and (1 - q) / (1 - w) divided out: near a share of 1, 1 - q is rounded to zero.
    coins = []
    for effect in EFFECTS:
        odds = math.log1p((effect - 1) * share)
        coins.append((math.log(effect) - odds, -odds))
    return coins


def _worse(rate: float, effect: float) -> float:
    """Give the rate whose odds (failed : passed) are so many times as high.

    Of small rates that is so many times the rate. Beyond a third, three times the rate would be all
    requests, and a revision that fails most of them no worse than a failure of a third.
    """
    return min(_MAX_RATE, effect * rate / (1 - rate + effect * rate))


def _weights(rate: float, ceiling: float) -> tuple[float, float]:
    """Give what an error and what a success adds to the log-likelihood ratio."""
    if rate <= ceiling:
        return 0.0, 0.0
    return math.log(rate / ceiling), math.log((1 - rate) / (1 - ceiling))


def _best_count(parts: Sequence[_Segment], phi: float, enough: float) -> Odds:
    """Give the best of the counts that begin each minute."""
    if not parts:
        return Odds(0.0, 0.0)
    counts: list[_Count] = []
    minutes = _by_minute(parts)
    requests = errors = 0.0
    scores = [0.0] * len(EFFECTS)
    for number in range(len(minutes), 0, -1):
        minute = minutes[number - 1]
        requests += minute.requests
        errors += minute.errors
        raw = 0.0
        for index, (score, border) in enumerate(zip(minute.scores, minute.border, strict=True)):
            scores[index] += score
            raw += math.exp(min(_MAX_EXPONENT, (scores[index] + border) / phi))
        spent = _spent(raw / len(scores), number)
        counts.append(_Count(spent, requests, errors, minute.start, number))
    return _best(counts, enough)


def _by_minute(parts: Sequence[_Segment]) -> list[_Segment]:
    minutes: list[_Segment] = []
    for part in parts:
        if not minutes or part.start >= minutes[-1].start + MINUTE_SECONDS:
            minutes.append(part)
        else:
            minutes[-1] = minutes[-1].joined(part)
    return minutes


def _added(left: Sequence[float], right: Sequence[float]) -> list[float]:
    return [a + b for a, b in zip(left, right, strict=True)]


def dispersion(groups: Iterable[Sequence[tuple[float, float]]]) -> float:
    """Compute Pearson's dispersion between pods of one revision: 1 is pure chance.

    Args:
        groups: (requests, errors) of each pod, grouped by what the pods have in common, the route
            and the time: that errors come and go there says nothing about the pods.
    """
    spread, freedom = 0.0, 0
    for group in groups:
        if not any(errors for _, errors in group):
            continue  # of most groups: no error
        known = [(requests, errors) for requests, errors in group if requests > 0]
        total = sum([requests for requests, _ in known])
        rate = sum([errors for _, errors in known]) / total if total else 0.0
        if len(known) > 1 and 0 < rate < 1:
            spread += sum([(e - n * rate) ** 2 / (n * rate * (1 - rate)) for n, e in known])
            freedom += len(known) - 1
    return max(1.0, spread / freedom) if freedom else 1.0


def wilson_lower(requests: float, errors: float, z: float = 1.96) -> float:
    """Compute the lower end of Wilson's interval for a rate (Wilson 1927), 0 without requests."""
    if requests <= 0:
        return 0.0
    rate = min(1.0, errors / requests)
    centre = rate + z * z / (2 * requests)
    spread = z * math.sqrt(rate * (1 - rate) / requests + z * z / (4 * requests * requests))
    return max(0.0, (centre - spread) / (1 + z * z / requests))


@cache
def z_of(number: int) -> float:
    """Give the quantile of Wilson's bound of the j-th count: its chance is 2.5 % / j^2.

    The worst of many counts is worse than its rate by chance. The first is the whole watch, and the
    chances of all others add up to less than its own.
    """
    return NormalDist().inv_cdf(1 - 0.025 / number**2)


def persistence_odds(before: tuple[float, float], after: tuple[float, float]) -> float:
    """Compute the odds that an error rate stays, against that it falls to a quarter of itself.

    Args:
        before: requests and errors at first.
        after: requests and errors later.
    """
    if not before[0] or not after[0] or not before[1] + after[1]:
        return 1.0
    rate = min(_MAX_RATE, max(before[1] / before[0], after[1] / after[0]))
    fallen = rate / FALL
    passed = max(0.0, after[0] - after[1])
    likelihood = after[1] * math.log(rate / fallen) + passed * math.log((1 - rate) / (1 - fallen))
    return math.exp(max(-_MAX_EXPONENT, min(_MAX_EXPONENT, likelihood)))


def log_likelihood(
    requests: float, errors: float, rate: float, bounds: tuple[float, float]
) -> float:
    """Compute the log-likelihood of an error rate (binomial, without its constant).

    Args:
        requests: how many there were.
        errors: how many of them; spread over time they may be more than the requests by a hair.
        rate: the error rate.
        bounds: the least and the highest rate that it is taken for, in (0, 1): no count is a proof.
    """
    # Called a thousand times in an evaluation: comparisons cost a third of min() and max().
    least, most = bounds
    if rate < least:
        rate = least
    elif rate > most:
        rate = most
    passed = requests - errors
    nats = errors * math.log(rate) if errors else 0.0
    return nats + passed * math.log1p(-rate) if passed > 0 else nats
