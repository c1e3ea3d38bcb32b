"""A scenario: one line of JSON that says what happens to a release, and what is true of it.

Times are seconds from the change of the pod template. What the line does not say follows from its
seed: `world.py` draws requests, scrapes and pods from it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum

PURCHASE = "/api/v1/tickets/purchase"
RESERVE = "/api/v1/tickets/reserve"
LIST = "/api/v1/tickets"
MIX: Mapping[str, float] = {PURCHASE: 0.3, RESERVE: 0.3, LIST: 0.4}
"""Share of the requests that each route has."""
ROUTES = tuple(MIX)
P1_RATE, P2_RATE, P4_RATE = 0.90, 0.05, 0.01
"""The runbook's bounds: purchases that fail, requests that fail, requests that are reported."""
SEVERITIES = ("P1", "P2", "P3", "P4", "None")
ATTRIBUTABLE_SECONDS = 6.0
"""Without an old pod left, blame for a fault that begins later is below 100 : 1."""


class Rollout(StrEnum):
    """How the share of the new revision grows."""

    FAST = "Fast"
    """All pods in 2-10 s, no old pod left: what small Deployments do."""
    SURGE = "Surge"
    """A quarter at a time, each quarter ready before the next one."""
    ONE_OF_N = "OneOfN"
    """One pod after another."""
    CANARY = "Canary"
    """The new pods get a share by weight that moves from 1/10 to 9/10."""
    SINGLE = "Single"
    """One new pod beside all old pods, where a person has paused the rollout."""


class Fault(StrEnum):
    """What the release itself does wrong."""

    NONE = "None"
    TOTAL = "Total"
    """Every purchase fails."""
    ERRORS = "Errors"
    """A share of all requests fails."""
    RAMP = "Ramp"
    """The same, growing slowly."""
    ONE_ROUTE = "OneRoute"
    """A share of the reservations fails."""
    PARTIAL = "Partial"
    """Every second new pod has it."""
    LATENCY = "Latency"
    LEAK = "Leak"
    """Memory grows until the pods are killed."""
    CRASH_LOOP = "CrashLoop"
    SILENT = "Silent"
    """New pods run and never become ready."""


class Confounder(StrEnum):
    """What looks like a bad release, or hides one: the table of confounders, row by row."""

    NONE = "None"
    DEPENDENCY = "DependencyOutage"
    SHARED = "SharedDamage"
    SPIKE = "TrafficSpike"
    WARM_UP = "WarmUp"
    LOW_TRAFFIC = "LowTraffic"
    MISSING = "MetricsMissing"
    RESET = "CounterReset"
    GAP = "ScrapeGap"
    NODE = "BadNode"
    POD = "OneBadPod"
    CLUMPS = "Clumps"
    ROUTE_MIX = "RouteMix"
    CANARY = "Canary"
    OLDER = "OlderThanRelease"
    OLD_TOO = "OldRevisionToo"
    COINCIDENCE = "Coincidence"
    NEIGHBOUR = "NeighbourDeploy"
    FLAPPING = "Flapping"
    NO_WAY_BACK = "NoWayBack"
    NEVER_SERVES = "NeverServes"
    IDLE = "Idle"
    """No request arrives for a time, from before the release on."""


BOTH_FAIL = (
    Confounder.DEPENDENCY,
    Confounder.SPIKE,
    Confounder.OLDER,
    Confounder.OLD_TOO,
    Confounder.COINCIDENCE,
    Confounder.NEIGHBOUR,
)
"""Rows in which whatever fails would fail on either revision."""


UNREADABLE = (Confounder.MISSING, Confounder.GAP)
"""Rows in which no sample can be read for a time."""


class Truth(StrEnum):
    """What the right decision is."""

    ROLLBACK = "Rollback"
    NO_ROLLBACK = "NoRollback"
    PAGE = "Page"
    """The release is bad, or a bad one cannot be told from a bad environment: people are told."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """Everything that happens, in one line."""

    seed: int
    rps: float
    diurnal: float = 0.0
    """Amplitude of the day's swing, as a share of `rps`."""
    pods: int = 4
    rollout: Rollout = Rollout.FAST
    scrape: float = 5.0
    jitter: float = 0.0
    """Seconds by which a scrape may be late."""
    loss: float = 0.0
    """Share of the scrapes that fail."""
    base: float = 0.001
    """Error rate of both revisions, always."""
    bursts: float = 0.0
    """Times an hour at which both revisions fail more for some seconds, before and after."""
    clump: int = 1
    """Errors that come together on one pod (a client that tries again)."""
    fault: Fault = Fault.NONE
    size: float = 0.0
    """Share of the requests concerned that fail."""
    onset: float = 0.0
    """Seconds from the first request to the fault."""
    ramp: float = 0.0
    """Seconds until it has its full size."""
    confounder: Confounder = Confounder.NONE
    extent: float = 0.0
    """How bad the confounder is: an error rate, or a factor on the requests."""
    since: float = 0.0
    """When the confounder begins."""
    lasts: float = 0.0
    """How long it does; 0 is for ever."""
    horizon: float = 300.0
    """For how long the release is watched here."""
    past: float = 0.0
    """Seconds that the old revision has served before the release; 0: two hours."""
    pages: bool = False
    """The pods' own pages are read between scrapes."""
    stage: float = 0.0
    """Seconds that a staged rollout is held at its first new pods; 0: it is not staged."""
    trends: bool = False
    """Durations and memory are read."""
    starts: str = ""
    """What the ledger knows of earlier starts: Clean, Failing, or nothing."""
    purchases: float = MIX[PURCHASE]
    """Share of the requests that are purchases."""

    @property
    def is_bad(self) -> bool:
        """Tell whether the release itself has a fault of the runbook's P1 or P2."""
        return self.severity in ("P1", "P2")

    @property
    def severity(self) -> str:
        """Severity by the fault's full size, None for a release that does well."""
        match self.fault:
            case Fault.NONE:
                return "None"
            case Fault.CRASH_LOOP | Fault.SILENT:
                return "P2"
            case Fault.LATENCY | Fault.LEAK:
                return "P3"
            case _:
                return self._by_rate()

    def _by_rate(self) -> str:
        rates = self.rates()
        pooled = sum(self.mix[route] * rate for route, rate in rates.items())
        if max(rates[PURCHASE], rates[RESERVE]) >= P1_RATE:
            return "P1"
        if pooled > P2_RATE:
            return "P2"
        return "P4" if pooled > P4_RATE else "None"

    @property
    def mix(self) -> Mapping[str, float]:
        """Give the share of the requests that each route has."""
        others = (1 - self.purchases) / (1 - MIX[PURCHASE])
        shares = {route: others * share for route, share in MIX.items()}
        return shares | {PURCHASE: self.purchases}

    def rates(self) -> dict[str, float]:
        """Give the new revision's own error rate at full size, by route."""
        size = self.size / 2 if self.fault is Fault.PARTIAL else self.size
        own = dict.fromkeys(ROUTES, 0.0)
        match self.fault:
            case Fault.TOTAL:
                own[PURCHASE] = 1.0
            case Fault.ONE_ROUTE:
                own[RESERVE] = size
            case Fault.ERRORS | Fault.RAMP | Fault.PARTIAL:
                own = dict.fromkeys(ROUTES, size)
            case _:
                pass
        return {route: 1 - (1 - rate) * (1 - self.base) for route, rate in own.items()}

    @property
    def is_confounded(self) -> bool:
        """Tell whether anything but the release's own fault happens."""
        return self.confounder is not Confounder.NONE

    def line(self) -> str:
        """Write the scenario as one line of JSON; what has its default is left out."""
        plain = Scenario(self.seed, self.rps)
        fields = {
            name: value
            for name, value in asdict(self).items()
            if name in ("seed", "rps") or value != getattr(plain, name)
        }
        return json.dumps(fields, separators=(",", ":"))


def parse(line: str) -> Scenario:
    """Read what `Scenario.line` wrote."""
    fields = json.loads(line)
    kinds = {"rollout": Rollout, "fault": Fault, "confounder": Confounder}
    for name, kind in kinds.items():
        if name in fields:
            fields[name] = kind(fields[name])
    return Scenario(**fields)


def worse(one: str, other: str) -> str:
    """Give the worse of two severities."""
    return min(one, other, key=SEVERITIES.index)
