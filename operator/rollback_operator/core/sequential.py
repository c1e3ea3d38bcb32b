"""The tests: odds that may be looked at after every sample. Pure arithmetic.

Coin flip: if both revisions are equally good, an error falls on the new one with probability w, its
share of the requests in that time. The likelihood ratio against 'k times worse' is a martingale
under that hypothesis, so by Ville's inequality it ever reaches 1/alpha with probability alpha at
most, however often one looks. It is the two-sample form of the anytime-valid multinomial test of
Lindon and Malek (NeurIPS 2022) with the traffic share as the null. Averages over several k and
spending over several starts keep the property.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

EFFECTS = (3.0, 10.0, 100.0)
"""How many times worse the new revision could be."""
_MAX_EXPONENT = 600.0
_MAX_RATE = 0.99


class Cell(NamedTuple):
    """Requests and errors of both revisions in the same seconds on one route."""

    start: float
    new_requests: float
    new_errors: float
    old_requests: float
    old_errors: float


@dataclass(frozen=True, slots=True)
class Odds:
    """Odds after spending, and since when the count that reached them runs."""

    value: float
    since: float


def coin_flip(cells: Sequence[Cell], dispersion: float) -> Odds:
    """Compute the odds that the new revision fails more often than the old one.

    A fresh count starts each minute so that a late fault is not diluted by an hour without one; the
    j-th must reach (pi j)^2 / 6 times as much, so that the chances of all counts add up to alpha.

    Args:
        cells: in time order; cells without requests of both revisions say nothing.
        dispersion: how much more the old pods differ than chance allows, at least 1.
    """
    scores = [(cell.start, _coin_scores(cell)) for cell in cells if _is_comparable(cell)]
    return _best_count(scores, dispersion)


def against_ceiling(counts: Sequence[tuple[float, float, float]], ceiling: float) -> Odds:
    """Compute the odds that a revision fails more often than `ceiling`, without a control.

    The likelihood ratio of a binomial against the worst rate that the null allows (Wald 1945), a
    supermartingale for every rate up to that one.

    Args:
        counts: (start, requests, errors) in time order.
        ceiling: the highest error rate that is still no reason for suspicion, in (0, 1).
    """
    worse = [min(_MAX_RATE, effect * ceiling) for effect in EFFECTS]
    scores = [
        (start, [_binomial_score(requests, errors, rate, ceiling) for rate in worse])
        for start, requests, errors in counts
    ]
    return _best_count(scores, 1.0)


def _is_comparable(cell: Cell) -> bool:
    return cell.new_requests > 0 and cell.old_requests > 0


def _coin_scores(cell: Cell) -> list[float]:
    share = cell.new_requests / (cell.new_requests + cell.old_requests)
    scores = []
    for effect in EFFECTS:
        worse = effect * share / (effect * share + 1 - share)
        scores.append(
            cell.new_errors * math.log(worse / share)
            + cell.old_errors * math.log((1 - worse) / (1 - share))
        )
    return scores


def _binomial_score(requests: float, errors: float, rate: float, ceiling: float) -> float:
    if rate <= ceiling:
        return 0.0
    successes = max(0.0, requests - errors)
    return errors * math.log(rate / ceiling) + successes * math.log((1 - rate) / (1 - ceiling))


def _best_count(scores: Sequence[tuple[float, list[float]]], phi: float) -> Odds:
    if not scores:
        return Odds(0.0, 0.0)
    counts = _by_minute(scores)
    sums = [0.0] * len(EFFECTS)
    best = Odds(0.0, counts[0][0])
    for number, (since, minute) in reversed(list(enumerate(counts, start=1))):
        sums = [total + one for total, one in zip(sums, minute, strict=True)]
        raw = sum(math.exp(min(_MAX_EXPONENT, one / phi)) for one in sums) / len(sums)
        # The j-th count spends 6 / (pi j)^2 of alpha; the first one gets nearly all that matters.
        odds = raw * 6 / (math.pi * number) ** 2
        if odds >= best.value:
            best = Odds(odds, since)
    return best


def _by_minute(scores: Sequence[tuple[float, list[float]]]) -> list[tuple[float, list[float]]]:
    minutes: list[tuple[float, list[float]]] = []
    for start, score in scores:
        if not minutes or start >= minutes[-1][0] + 60:
            minutes.append((start, list(score)))
        else:
            minutes[-1] = (
                minutes[-1][0],
                [total + one for total, one in zip(minutes[-1][1], score, strict=True)],
            )
    return minutes


def dispersion(units: Iterable[tuple[float, float]]) -> float:
    """Compute Pearson's dispersion between pods of one revision: 1 is pure chance.

    Args:
        units: (requests, errors) of each pod and time; fewer than two say nothing.
    """
    known = [(requests, errors) for requests, errors in units if requests > 0]
    requests = sum(one for one, _ in known)
    rate = sum(one for _, one in known) / requests if requests else 0.0
    if len(known) < 2 or not 0 < rate < 1:  # noqa: PLR2004 (one pod cannot differ)
        return 1.0
    spread = sum((e - n * rate) ** 2 / (n * rate * (1 - rate)) for n, e in known)
    return max(1.0, spread / (len(known) - 1))


def wilson_lower(requests: float, errors: float, z: float = 1.96) -> float:
    """Compute the lower end of Wilson's interval for a rate (Wilson 1927), 0 without requests."""
    if requests <= 0:
        return 0.0
    rate = min(1.0, errors / requests)
    centre = rate + z * z / (2 * requests)
    spread = z * math.sqrt(rate * (1 - rate) / requests + z * z / (4 * requests * requests))
    return max(0.0, (centre - spread) / (1 + z * z / requests))


def is_lower(before: tuple[float, float], after: tuple[float, float]) -> bool:
    """Tell whether the rate has fallen between two counts of (requests, errors), one-sided 5 %."""
    requests = before[0] + after[0]
    pooled = (before[1] + after[1]) / requests if requests else 0.0
    if not 0 < pooled < 1 or not before[0] or not after[0]:
        return False
    error = math.sqrt(pooled * (1 - pooled) * (1 / before[0] + 1 / after[0]))
    return (after[1] / after[0] - before[1] / before[0]) / error < -1.645  # noqa: PLR2004
