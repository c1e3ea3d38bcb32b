"""How many policies one core looks at in a second, and what pods and routes do to it.

    python -m bench.detection throughput

A healthy release at 20 requests/s a pod, 0.1 % of which fail, read each 5 s: CPU time of a look
(reading the answer, judging, deciding; without what Prometheus and the API server take). Figures
are ratios to the first line too, so that another machine's can be laid beside them.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.detection.judged import Follower
from bench.detection.lives import BIRTH, NEW, OLD, Cast, Life
from bench.detection.scenario import PURCHASE, RESERVE, Scenario
from bench.detection.world import Floats, Series, World
from rollback_operator.decide.evaluate import EvaluationResult

SCRAPE = 5.0
PER_POD = 20.0
RATE = 0.001
PAST = 3600.0
HTTP_QUERIES = 2
"""A reading of counters asks for requests and for errors."""
PODS, ROUTES = (4, 1, 2, 8, 16, 32), (3, 1, 10, 30)
BASE = PODS[0], ROUTES[0]
AGES = (60.0, 300.0, 900.0)


@dataclass(frozen=True, slots=True)
class Size:
    """How big a Deployment is."""

    pods: int
    routes: int


class EachLook(Follower):
    """Judges at every look, as the operator does."""

    def _may_matter(self, now: float) -> bool:
        return True


def healthy(size: Size, horizon: float) -> World:
    """Lay out a fast release of that size."""
    scenario = Scenario(seed=1, rps=PER_POD * size.pods, pods=size.pods, horizon=horizon)
    new = [
        Life(f"ticket-service-{NEW}-{number:05d}", NEW, f"node-{number}", 1.0, 2.0)
        for number in range(size.pods)
    ]
    old = [
        Life(f"ticket-service-{OLD}-{number:05d}", OLD, f"node-{number}", BIRTH, BIRTH, 4.0)
        for number in range(size.pods)
    ]
    dice = np.random.default_rng(1)
    routes = [PURCHASE, RESERVE, *(f"/api/v1/other/{number}" for number in range(size.routes))]
    found: tuple[list[Series], list[Series]] = ([], [])
    for life in (*new, *old):
        begin, end = max(life.started, -PAST) + dice.uniform(0, SCRAPE), min(life.gone, horizon)
        times = np.arange(begin, end, SCRAPE)
        served = dice.poisson(SCRAPE * PER_POD / size.routes, (size.routes, len(times)))
        failed = dice.binomial(served, RATE)
        for number, route in enumerate(routes[: size.routes]):
            for side, counts in zip(found, (served, failed), strict=True):
                sums: Floats = np.cumsum(counts[number]).astype(np.float64)
                side.append(Series(life.name, route, times, sums))
    nothing: Floats = np.zeros(0)
    return World(
        scenario,
        Cast((*new, *old)),
        tuple(found[0]),
        tuple(found[1]),
        nothing,
        nothing,
        nothing,
        None,
        np.zeros(0, dtype=np.int64),
        np.zeros(0, dtype=np.int64),
    )


def measure(size: Size) -> dict[str, Any]:
    """Compute the CPU time of a look by the release's age."""
    stamps: list[tuple[float, float]] = []

    def tell(now: float, _: EvaluationResult) -> None:
        stamps.append((now, time.process_time()))

    follower = EachLook(healthy(size, AGES[-1]), tell)
    outcome = follower.go()
    found: dict[str, Any] = {"pods": size.pods, "routes": size.routes}
    begin = 0.0
    for age in AGES:
        chosen = [cpu for now, cpu in stamps if begin < now <= age]
        looks = len(chosen) - 1
        taken = (chosen[-1] - chosen[0]) / looks
        found[f"to{age:.0f}s"] = {
            "looksPerSecond": round(looks / (age - begin), 2),
            "milliseconds": round(1000 * taken, 2),
            "policiesPerSecondAndCore": round(1 / taken, 1),
            "watchesPerCore": round((age - begin) / looks / taken, 1),
        }
        begin = age
    found["queriesPerLook"] = round(
        (HTTP_QUERIES * outcome.reads + follower.past.other_reads) / outcome.judged, 2
    )
    return found


def throughput() -> dict[str, Any]:
    """Measure all sizes, each with its ratio to the first one."""
    sizes = [Size(pods, BASE[1]) for pods in PODS]
    sizes += [Size(BASE[0], routes) for routes in ROUTES if routes != BASE[1]]
    lines = [measure(one) for one in sizes]
    for line in lines:
        for age in AGES:
            key = f"to{age:.0f}s"
            base = lines[0][key]["milliseconds"]
            line[key]["ratio"] = round(line[key]["milliseconds"] / base, 2)
    return {"base": {"pods": BASE[0], "routes": BASE[1]}, "sizes": lines}
