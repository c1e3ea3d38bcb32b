"""Least time until a fault of a given size is proved on the present traffic.

Formulas: Wald's expected sample number with Ville's bound, n* = ln(odds) / KL; against old pods in
the same seconds the coin flip's. The delay of a scrape is added, and the judge's floors hold.
"""

import math
from dataclasses import dataclass

from rollback_operator.evidence.baseline import Ceiling
from rollback_operator.evidence.limits import LEAST_ERRORS, LEAST_REQUESTS

DISCOVERY_SECONDS = 5.0
"""Prometheus hands new targets to its scrapers this often."""
REACTION_SECONDS = 0.3
"""From a sample to the evaluation that includes it."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """The traffic of a new revision, once it has all of it."""

    rate: float
    """Requests a second."""
    error_rate: float
    """Of the control: its mean."""
    ceilings: tuple[Ceiling, ...]
    """The error rates that the control's past makes plausible, by how long they last."""
    pods: int


@dataclass(frozen=True, slots=True)
class Sampling:
    """Reads of a pod's counters."""

    interval: float
    """Seconds between two samples of a pod."""
    discovery: float = DISCOVERY_SECONDS
    """Seconds at most until a new pod is read at all."""


@dataclass(frozen=True, slots=True)
class Reach:
    """Time and requests until a fault is proved."""

    requests: float
    """Of the new revision; infinite where no number is enough."""
    mean: float
    """Seconds from the new revision's first request to the proof."""
    most: float
    """... where each sample comes as late as it can."""
    floor: str
    """The origin of the number of requests: the evidence, or a floor of the judge."""


def divergence(rate: float, other: float) -> float:
    """Compute the Kullback-Leibler divergence of two error rates, nats a request."""
    parts = ((rate, other), (1 - rate, 1 - other))
    return sum(a * math.log(a / b) if b > 0 else math.inf for a, b in parts if a > 0)


def against_history(fault: float, traffic: Traffic, odds: float) -> float:
    """Compute the requests that prove a fault where no old pod is left.

    The null is the highest error rate that the control's own history makes plausible: a high rate
    for a minute, a lower rate for longer spans.
    """
    return min(
        (
            max(_until(odds, divergence(fault, ceiling.rate)), ceiling.seconds * traffic.rate)
            for ceiling in traffic.ceilings
            if fault > ceiling.rate
        ),
        default=math.inf,
    )


def against_old_pods(fault: float, traffic: Traffic, odds: float, share: float = 0.5) -> float:
    """Compute the new revision's requests that prove a fault beside old pods (the coin flip).

    Args:
        fault: the new revision's error rate.
        traffic: the control's figures.
        odds: the odds that are enough.
        share: the share of the requests that the new revision gets.
    """
    base = traffic.error_rate
    if fault <= base:
        return math.inf
    odd = share * fault / (share * fault + (1 - share) * base)
    each = (fault + base * (1 - share) / share) * divergence(odd, share)
    return _until(odds, each)


def _until(odds: float, each: float) -> float:
    """Give the requests until the odds are reached, where each adds so many nats.

    No number of requests separates nearly equal rates: rounding may leave less than zero.
    """
    return math.log(odds) / each if each > 0 else math.inf


def reach(requests: float, fault: float, traffic: Traffic, sampling: Sampling) -> Reach:
    """Compute how soon the requests are counted and all floors are met.

    Args:
        requests: of the new revision, that prove the fault.
        fault: its error rate.
        traffic: of the new revision.
        sampling: how its pods are read.
    """
    needed, floor = _floored(requests, fault)
    if not math.isfinite(needed) or traffic.rate <= 0:
        return Reach(needed, math.inf, math.inf, floor)
    interval, served = sampling.interval, needed / traffic.rate
    # Two samples at different times: of one pod the second, of several the second pod's first.
    two_mean = interval * (1.5 if traffic.pods < 2 else 2 / (traffic.pods + 1))  # noqa: PLR2004
    two_most = interval * (2 if traffic.pods < 2 else 1)  # noqa: PLR2004
    mean = max(served + interval / 2, two_mean) + sampling.discovery / 2 + REACTION_SECONDS
    most = max(served + interval, two_most) + sampling.discovery + REACTION_SECONDS
    return Reach(needed, mean, most, floor)


def _floored(requests: float, fault: float) -> tuple[float, str]:
    floors = [(requests, "evidence"), (float(LEAST_REQUESTS), f"{LEAST_REQUESTS} requests")]
    if fault < 1:
        floors.append((LEAST_ERRORS / fault, f"{LEAST_ERRORS} errors"))
    return max(floors, key=lambda floor: floor[0])
