"""What goes wrong, when and for whom: spells of faults, and what each makes of a call."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from bench.simulation.prometheus import NO_SERIES, UNREACHABLE
from bench.simulation.server import Request, Response, refusal
from rollback_operator.model.samples import Missing


class Effect(StrEnum):
    """One thing that goes wrong."""

    REFUSED = "calls are answered 409, 422, 429, 500 or 503 and not carried out"
    OUTAGE = "the API server takes no connection"
    LOST = "calls get lost on their way"
    UNANSWERED = "calls are carried out and their answers get lost"
    LATE = "calls are carried out long after the caller has given up"
    SLOW = "calls take seconds"
    WATCH_GONE = "watches end with 410 Gone; what happens until the next list is not told"
    WATCH_SILENT = "watches fall silent and tell everything later"
    WATCH_MUTE = "watches stay open, and what happens is never told"
    WATCH_LATE = "events come late, and those of different objects in another order"
    KILLED = "an operator is killed at a call, before it is sent or after it was carried out"
    STOPPED = "an operator is stopped for a while, in the midst of what it does"
    RESTARTED = "an operator is asked to end and begins anew"
    CLOCK = "an operator's clock jumps"
    METRICS_DOWN = "Prometheus does not answer"
    METRICS_SLOW = "Prometheus takes seconds"
    METRICS_STALE = "Prometheus has no new samples"
    METRICS_EMPTY = "Prometheus has no series"
    PAGES_DOWN = "the pods' own pages do not answer"
    CHANNELS_DEAD = "nobody can be told"
    CHANNELS_HUNG = "who is told does not answer"
    CLUSTER_SLOW = "controllers stand still and nodes are slow"
    METRICS_HUNG = "Prometheus takes connections and never answers"
    API_HUNG = "the API server takes connections and never answers"
    DOWN = "no operator runs"


@dataclass(frozen=True, slots=True)
class Spell:
    """A fault that lasts."""

    effect: Effect
    start: float
    end: float
    who: str = ""
    """The operator that it is for; empty: all."""


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of a call."""

    out: float
    """Seconds until it arrives; infinity: never."""
    back: float
    """Seconds until its answer is there; infinity: never."""
    refusal: Response | None = None
    """Comes in place of an answer; the call is not carried out."""
    is_reset: bool = False
    """The connection breaks in place of an answer."""
    kills: bool = False
    """The caller ends once it is carried out."""


FEW, MANY = 0.08, 0.35
"""Shares of the calls that a fault strikes: reads, and writes that matter."""
HUNG_SECONDS = 9.0
"""The adapter's own time-out for a question."""
KILLED_FEW, KILLED_MANY = 0.01, 0.12
_WRITES = ("POST", "PUT", "PATCH", "DELETE")


@dataclass
class Weather:
    """All spells of one simulation."""

    now: Callable[[], float]
    dice: random.Random
    spells: tuple[Spell, ...] = ()

    def has(self, effect: Effect, who: str = "") -> bool:
        """Tell whether something goes wrong now."""
        now = self.now()
        return any(
            one.effect is effect and one.start <= now < one.end and one.who in ("", who)
            for one in self.spells
        )

    def last(self) -> float:
        """Give the time at which all is well again."""
        return max((one.end for one in self.spells), default=0.0)

    def fate(self, who: str, request: Request) -> Fate:
        """Decide what becomes of a call to the API server."""
        dice = self.dice
        out, back = dice.uniform(0.001, 0.01), dice.uniform(0.001, 0.01)
        fate = Fate(out, back)
        is_write = request.method in _WRITES and "/leases" not in request.path
        share = MANY if is_write else FEW
        if self.has(Effect.API_HUNG, who):
            fate = Fate(math.inf, math.inf)
        elif self.has(Effect.OUTAGE, who):
            fate = Fate(math.inf, out, is_reset=True)
        elif self.has(Effect.REFUSED, who) and dice.random() < share:
            fate = Fate(math.inf, back, refusal=self._refusal(request))
        elif self.has(Effect.LOST, who) and dice.random() < share:
            fate = Fate(math.inf, math.inf)
        elif self.has(Effect.UNANSWERED, who) and dice.random() < share:
            is_reset = dice.random() < 0.5
            fate = Fate(out, back if is_reset else math.inf, is_reset=is_reset)
        elif self.has(Effect.LATE, who) and dice.random() < share:
            fate = Fate(dice.uniform(4.0, 40.0), back)
        elif self.has(Effect.SLOW, who):
            fate = Fate(dice.uniform(0.1, 4.0), dice.uniform(0.1, 4.0))
        elif self.has(Effect.KILLED, who) and dice.random() < (
            KILLED_MANY if is_write else KILLED_FEW
        ):
            fate = Fate(out if dice.random() < 0.7 else math.inf, math.inf, kills=True)
        return fate

    def _refusal(self, request: Request) -> Response:
        kinds: list[tuple[int, str, dict[str, str]]] = [
            (429, "TooManyRequests", {"Retry-After": "1"}),
            (500, "InternalError", {}),
            (503, "ServiceUnavailable", {}),
        ]
        if request.method in _WRITES:
            kinds.append((409, "Conflict", {}))
        if request.method == "PATCH":
            kinds.append((422, "Invalid", {}))
        status, reason, headers = self.dice.choice(kinds)
        return refusal(status, reason, "so it was drawn", **headers)

    def event_delay(self, who: str) -> float:
        """Give the seconds that an event takes."""
        longest = 15.0 if self.has(Effect.WATCH_LATE, who) else 0.05
        return self.dice.uniform(0.001, longest)

    def slowness(self) -> float:
        """Give the factor on what a node does.

        A pod that takes longer to start than a policy's stuckAfterSeconds is stuck by its word.
        """
        return self.dice.uniform(1.0, 3.0) if self.has(Effect.CLUSTER_SLOW) else 1.0

    def stall(self) -> float:
        """Give the seconds for which a controller does nothing."""
        return self.dice.uniform(0.0, 20.0) if self.has(Effect.CLUSTER_SLOW) else 0.0

    def metrics(self, who: str) -> tuple[float, Missing | None]:
        """Decide on a question to Prometheus: seconds, and what comes in place of an answer."""
        if self.has(Effect.METRICS_HUNG, who):
            return HUNG_SECONDS, UNREACHABLE
        if self.has(Effect.METRICS_DOWN, who):
            return self.dice.uniform(0.01, 5.0), UNREACHABLE
        if self.has(Effect.METRICS_EMPTY, who):
            return 0.01, NO_SERIES
        longest = 9.0 if self.has(Effect.METRICS_SLOW, who) else 0.03
        return self.dice.uniform(0.005, longest), None

    def newest_sample(self) -> float:
        """Give the time after which Prometheus has no samples."""
        now = self.now()
        stale = [one for one in self.spells if one.effect is Effect.METRICS_STALE]
        return min((one.start for one in stale if one.start <= now < one.end), default=math.inf)
