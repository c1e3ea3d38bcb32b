"""Pasts for replays: a service whose pods are read every few seconds, and what its file would say.

Times are seconds after T0, when the release comes; the old revision's hour lies before it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from rollback_operator.model.samples import Counters, CounterSeries
from tests.builders import LIST, NAME, NAMESPACE, PURCHASE, RESERVE, T0

OLD, NEW = "hash1", "hash2"
ROUTES = (PURCHASE, RESERVE, LIST)


def rfc3339(seconds: float) -> str:
    return datetime.fromtimestamp(T0 + seconds, UTC).isoformat().replace("+00:00", "Z")


def make_file(*, shift: float = 0.0, **changes: Any) -> dict[str, Any]:
    """ROLLOUTS.json of one release at T0, or so much later."""
    return {
        "deployment": NAME,
        "namespace": NAMESPACE,
        "rollouts": [
            {"time": rfc3339(shift - 86400), "templateHash": OLD, "revision": 1, "image": "shop:v1",
             "replicas": 4},
            {"time": rfc3339(shift), "templateHash": NEW, "revision": 2, "image": "shop:v2",
             "replicas": 4},
        ],
    } | changes  # fmt: skip


@dataclass
class Served:
    """A pod that served from `begin` to `end`."""

    name: str
    begin: float
    end: float
    rate: float = 4.0
    """Requests a second on each route."""
    fails: Callable[[float, str], float] = lambda time, route: 0.001
    routes: Iterable[str] = field(default=ROUTES)


def pods(template_hash: str, begin: float, end: float, **more: Any) -> list[Served]:
    names = [f"{NAME}-{template_hash}-{'abcd'[n] * 5}" for n in range(4)]
    return [Served(name, begin + 0.7 * number, end, **more) for number, name in enumerate(names)]


def counted(served: Iterable[Served], every: float = 5.0, seed: int = 1) -> Counters:
    """What Prometheus would hold: each pod's counters, read at its own offset."""
    requests, errors = [], []
    for number, pod in enumerate(served):
        times = []
        time = pod.begin + (number * 1.3) % every
        while time <= pod.end:
            times.append(time)
            time += every
        for route in pod.routes:
            dice = random.Random(f"{seed} {pod.name} {route}")
            ok = bad = 0.0
            before = pod.begin
            good_samples, bad_samples = [], []
            for time in times:
                amount = round(pod.rate * (time - before))
                share = pod.fails(time, route)
                failed = sum(dice.random() < share for _ in range(amount)) if share else 0
                ok, bad, before = ok + amount, bad + failed, time
                good_samples.append((T0 + time, ok))
                bad_samples.append((T0 + time, bad))
            for side, samples in ((requests, good_samples), (errors, bad_samples)):
                side.append(CounterSeries(pod.name, route, (), f"{pod.name}:8080", tuple(samples)))
    return Counters(tuple(requests), tuple(errors))


def shifted(counters: Counters, shift: float) -> Counters:
    """The same past at another time, as exactly as Prometheus keeps it."""

    def moved(one: CounterSeries) -> CounterSeries:
        samples = ((int((time + shift) * 1000) / 1000, value) for time, value in one.samples)
        return replace(one, samples=tuple(samples))

    return Counters(tuple(map(moved, counters.requests)), tuple(map(moved, counters.errors)))


def release(
    fails: Callable[[float, str], float] = lambda time, route: 0.001,
    *,
    until: float = 600.0,
    old_until: float = 8.0,
    old_fails: Callable[[float, str], float] = lambda time, route: 0.001,
    before: float = 3600.0,
) -> list[Served]:
    """A rollout at T0: old pods serve until `old_until`, new ones from two seconds on."""
    return [
        *pods(OLD, -before, old_until, fails=old_fails),
        *pods(NEW, 2.0, until, fails=fails),
    ]
