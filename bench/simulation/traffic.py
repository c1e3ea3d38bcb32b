"""Requests that come in, and how many of them fail."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from bench.simulation.loop import VirtualLoop
from bench.simulation.pods import Pod
from bench.simulation.releases import ROUTES, Truth

TICK = 0.25
UNSEEN_TICK = 4.0
BASE_ERRORS = 0.001
_MANY = 20.0


@dataclass
class Traffic:
    """Spreads an application's requests over the pods that serve, four times a second."""

    loop: VirtualLoop
    dice: random.Random
    rps: float
    pods: Callable[[], Iterable[Pod]]
    is_unseen: Callable[[], bool] = lambda: False
    """Nobody reads the counters: they rise in greater steps."""

    def start(self) -> None:
        """Begin."""
        self.loop.after(TICK, self._tick)

    def _tick(self) -> None:
        tick = UNSEEN_TICK if self.is_unseen() else TICK
        serving = [pod for pod in self.pods() if pod.serves]
        for pod in serving:
            fails = pod.release.fails if pod.release.truth is Truth.FAILING else 0.0
            rate = 1 - (1 - BASE_ERRORS) * (1 - fails)
            for route, share in ROUTES.items():
                count = self._poisson(self.rps * tick * share / len(serving))
                pod.requests[route] += count
                pod.errors[route] += sum(self.dice.random() < rate for _ in range(count))
        self.loop.after(tick, self._tick)

    def _poisson(self, mean: float) -> int:
        if mean > _MANY:
            return max(0, round(self.dice.gauss(mean, math.sqrt(mean))))
        limit, count, product = math.exp(-mean), 0, self.dice.random()
        while product > limit:
            count += 1
            product *= self.dice.random()
        return count
