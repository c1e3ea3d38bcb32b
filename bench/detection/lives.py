"""Scenario -> pods: when each starts, serves, restarts and goes, by the kind of rollout."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, replace

from bench.detection.scenario import Confounder, Fault, Rollout, Scenario

EVER = math.inf
BIRTH = -7200.0
"""When the old pods started."""
DEPLOYMENT = "ticket-service"
NEW, OLD = "6d5f9c8b7", "58c7f94db"
BACKOFF = (10.0, 20.0, 40.0, 80.0, 160.0)
"""Seconds that the kubelet waits before each restart, then 300 for ever."""
LONGEST_BACKOFF = 300.0
CRASH_SECONDS = 3.0
SINGLE_NODES = 3
"""Nodes of a rollout that holds with its first new pod: old pods share them."""
CANARY_STEPS = (0.1, 0.25, 0.5, 0.75, 0.9)
DISCOVERY_SECONDS = 5.0
"""Prometheus sends what its discovery finds on every five seconds at most."""


@dataclass(frozen=True, slots=True)
class Life:
    """A pod's times."""

    name: str
    pod_hash: str
    node: str
    started: float
    ready: float
    gone: float = EVER
    restarts: tuple[float, ...] = ()
    """When its container ends; it serves again `pause` seconds later."""
    pause: float = 0.0

    @property
    def is_new(self) -> bool:
        """Tell whether it runs the release that is judged."""
        return self.pod_hash == NEW

    def serves(self, now: float) -> bool:
        """Tell whether it gets requests."""
        down = any(one <= now < one + self.pause for one in self.restarts)
        return self.ready <= now < self.gone and not down

    def restarted(self, now: float) -> int:
        """Count the restarts so far."""
        return sum(one <= now for one in self.restarts)

    def container_started(self, now: float) -> float:
        """Tell when its present container started."""
        return max([self.started, *(one for one in self.restarts if one <= now)])


@dataclass(frozen=True, slots=True)
class Cast:
    """All pods of a scenario, and the weights of a canary."""

    lives: tuple[Life, ...]
    weights: tuple[tuple[float, float], ...] = ()
    """(since, share of the new pods); empty: all pods that serve have the same share."""

    @property
    def new(self) -> tuple[Life, ...]:
        """The pods of the release."""
        return tuple(one for one in self.lives if one.is_new)

    @property
    def first_request(self) -> float:
        """When the first new pod begins to serve."""
        return min(one.ready for one in self.new)

    @property
    def last_old(self) -> float:
        """When the last old pod goes."""
        return max(one.gone for one in self.lives if not one.is_new)


def cast(scenario: Scenario) -> Cast:
    """Give the scenario's pods their times."""
    dice = random.Random(scenario.seed * 7919 + 1)
    if scenario.fault in (Fault.CRASH_LOOP, Fault.SILENT) or _has_no_room(scenario):
        return _that_never_serve(scenario, dice)
    made = {
        Rollout.FAST: _fast,
        Rollout.SURGE: _by_quarters,
        Rollout.ONE_OF_N: _one_by_one,
        Rollout.CANARY: _canary,
        Rollout.SINGLE: _single,
    }[scenario.rollout](scenario, dice)
    if scenario.fault is Fault.LEAK:
        return replace(made, lives=tuple(_leaking(one, scenario, dice) for one in made.lives))
    if scenario.confounder is Confounder.RESET:
        return replace(made, lives=tuple(_resetting(one, scenario, dice) for one in made.lives))
    return made


def _has_no_room(scenario: Scenario) -> bool:
    return scenario.confounder is Confounder.NEVER_SERVES


def _name(pod_hash: str, number: int, dice: random.Random) -> str:
    suffix = "".join(dice.choices("bcdfghjklmnpqrstvwxz2456789", k=4))
    return f"{DEPLOYMENT}-{pod_hash}-{'bcdfghjklmnpqrst'[number % 16]}{suffix}"


def _pod(
    pod_hash: str, number: int, times: tuple[float, float, float], dice: random.Random
) -> Life:
    started, ready, gone = times
    return Life(_name(pod_hash, number, dice), pod_hash, f"node-{number}", started, ready, gone)


def _fast(scenario: Scenario, dice: random.Random) -> Cast:
    """All new pods at once, each old one gone as soon as a new one is ready."""
    span, count = dice.uniform(1.0, 7.0), scenario.pods
    starts = [1.0 + span * number / count for number in range(count)]
    ready = [one + dice.uniform(0.5, 2.5) for one in starts]
    lives = [
        _pod(NEW, number, (starts[number], ready[number], EVER), dice) for number in range(count)
    ]
    for number, time in enumerate(sorted(ready)):
        gone = time + dice.uniform(0.1, 1.0)
        lives.append(_pod(OLD, number, (BIRTH, BIRTH + 5, gone), dice))
    return Cast(tuple(lives))


def _in_steps(scenario: Scenario, step: int, between: tuple[float, float], seed: int) -> Cast:
    dice = random.Random(seed)
    lives: list[Life] = []
    now = 1.0
    for begin in range(0, scenario.pods, step):
        numbers = range(begin, min(scenario.pods, begin + step))
        ready = [now + dice.uniform(1.0, 6.0) for _ in numbers]
        for number, time in zip(numbers, ready, strict=True):
            lives.append(_pod(NEW, number, (now, time, EVER), dice))
        now = max(ready) + dice.uniform(*between)
        lives += [_pod(OLD, number, (BIRTH, BIRTH + 5, now), dice) for number in numbers]
    return Cast(tuple(lives))


def _by_quarters(scenario: Scenario, dice: random.Random) -> Cast:
    return _in_steps(scenario, math.ceil(scenario.pods / 4), (2.0, 20.0), dice.getrandbits(32))


def _one_by_one(scenario: Scenario, dice: random.Random) -> Cast:
    return _in_steps(scenario, 1, (5.0, 30.0), dice.getrandbits(32))


def _canary(scenario: Scenario, dice: random.Random) -> Cast:
    """All new pods beside all old ones; the requests move over by weight."""
    count = scenario.pods
    ready = [1.0 + dice.uniform(1.0, 4.0) for _ in range(count)]
    step = dice.uniform(20.0, 60.0)
    begin = max(ready)
    weights = [(begin + step * number, share) for number, share in enumerate(CANARY_STEPS)]
    end = begin + step * len(CANARY_STEPS)
    lives = [_pod(NEW, number, (1.0, max(ready), EVER), dice) for number in range(count)]
    lives += [_pod(OLD, number, (BIRTH, BIRTH + 5, end), dice) for number in range(count)]
    return Cast(tuple(lives), tuple(weights))


def _single(scenario: Scenario, dice: random.Random) -> Cast:
    """One new pod on node-1, where an old pod serves too, beside all old pods until the end."""
    new = _pod(NEW, 1, (1.0, 1.0 + dice.uniform(1.0, 4.0), EVER), dice)
    old = [_pod(OLD, number, (BIRTH, BIRTH + 5, EVER), dice) for number in range(scenario.pods)]
    spread = (replace(pod, node=f"node-{i % SINGLE_NODES}") for i, pod in enumerate(old))
    return Cast((new, *spread))


def _that_never_serve(scenario: Scenario, dice: random.Random) -> Cast:
    """The rollout stands still with its first quarter; nearly all old pods stay."""
    quarter = math.ceil(scenario.pods / 4)
    lives = []
    for number in range(quarter):
        one = _pod(NEW, number, (1.0 + dice.uniform(0, 2), EVER, EVER), dice)
        if scenario.fault is Fault.CRASH_LOOP:
            one = replace(one, restarts=_crashes(one.started, scenario.horizon))
        lives.append(one)
    gone = scenario.pods // 4
    for number in range(scenario.pods):
        end = 1.0 if number < gone else EVER
        lives.append(_pod(OLD, number, (BIRTH, BIRTH + 5, end), dice))
    return Cast(tuple(lives))


def _crashes(started: float, until: float) -> tuple[float, ...]:
    """List when a container that ends after some seconds is started again."""
    times: list[float] = []
    now = started
    while now < until:
        wait = BACKOFF[len(times)] if len(times) < len(BACKOFF) else LONGEST_BACKOFF
        now += CRASH_SECONDS + wait
        times.append(now)
    return tuple(times)


def _leaking(one: Life, scenario: Scenario, dice: random.Random) -> Life:
    if not one.is_new:
        return one
    every = 60 * scenario.size
    count = int(scenario.horizon / every)
    times = [one.started + every * (number + dice.uniform(0.9, 1.1)) for number in range(1, count)]
    return replace(one, restarts=tuple(times), pause=5.0)


def _resetting(one: Life, scenario: Scenario, dice: random.Random) -> Life:
    every = scenario.extent * scenario.scrape
    first = max(one.ready, -1200.0) + every * dice.uniform(0.5, 1.5)
    times = []
    while first < min(one.gone, scenario.horizon):
        times.append(first)
        first += every * dice.uniform(0.8, 1.2)
    return replace(one, restarts=tuple(times), pause=1.5)
