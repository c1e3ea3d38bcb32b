"""What a policy would have to judge by: which series, of which pods and routes, and how fresh.

Facts only, as they were read; findings.py says what follows from them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from rollback_operator.api.remedy import Flag
from rollback_operator.api.v1alpha1 import RollbackPolicy
from rollback_operator.evidence.baseline import Control
from rollback_operator.evidence.excluded_routes import left_out
from rollback_operator.model.samples import CounterSeries, Missing
from rollback_operator.model.workload import FlagState, Workload

READ_SECONDS = 300.0
"""Of this time samples are read."""


@dataclass(frozen=True, slots=True)
class Trace:
    """Where the series of a signal are, if not where the policy looks for them."""

    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Of the series that come nearest: each label with some of its values."""
    is_without_pods: bool = False
    """They have all matchers, but belong to other pods, or to no pod."""
    namespaces: tuple[str, ...] = ()
    """Where else the metric is, when it is not in the policy's namespace."""
    similar: tuple[str, ...] = ()
    """Counters of the namespace by other names."""


@dataclass(frozen=True, slots=True)
class SignalFacts:
    """The series of one signal."""

    path: str
    """The field of the policy: spec.signals.requests."""
    metric: str
    series: tuple[CounterSeries, ...] = ()
    missing: Missing | None = None
    trace: Trace | None = None


@dataclass(frozen=True, slots=True)
class SlowFacts:
    """What a signal that changes slowly is read from: durations, memory, an own query."""

    path: str
    """The field of the policy."""
    what: str
    """The metric, or the query."""
    found: Missing | str
    """What was read, in words."""
    instead: str = ""
    """A query that would tell as much, where it is a summary."""

    @property
    def is_query(self) -> bool:
        """Tell whether it is PromQL of the policy's author."""
        return self.path.endswith(".query")


@dataclass(frozen=True, slots=True)
class FlagFacts:
    """A flag that a remedy sets, as it is found now."""

    path: str
    """The field of the policy."""
    flag: Flag
    found: FlagState | Missing
    """Missing: why it was not read."""
    is_gone: bool = False
    """There is no such ConfigMap."""
    may_set: bool | None = None
    """Whether who runs this has the right to set it; None: not known."""


@dataclass(frozen=True, slots=True)
class Survey:
    """Everything that was seen."""

    policy: RollbackPolicy
    url: str
    requests: SignalFacts
    errors: SignalFacts
    control: Control | Missing
    now: float
    """By Prometheus' clock; by our own where that cannot be read."""
    skew: float | Missing
    """Prometheus' clock minus our own, seconds."""
    workload: Workload | None = None
    unseen: str = ""
    """Why there is no workload to look at."""
    is_gone: bool = False
    """There is no Deployment of this name."""
    unclaimed: tuple[str, ...] = ()
    """What could not be looked at of rollout tools and image updaters, and why."""
    marks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Where errors are requests with a label: the values that those labels have."""

    slow: tuple[SlowFacts, ...] = ()
    """Only of signals that the matrix asks for."""
    without_credentials: str = ""
    """Why the policy's own credentials for Prometheus were not used; empty: they were, or it has
    none."""
    flags: tuple[FlagFacts, ...] = ()
    """Of the policy's remedies; none where no cluster can be seen."""

    is_address_allowed: bool = True
    """Whether the operator reads from spec.prometheus.url, by the settings that are known."""
    is_tenant_allowed: bool = True
    """Whether it reads as spec.prometheus.tenant, by the same."""
    rival: str = ""
    """Another policy on the same target, of the file or of the cluster; empty: there is none."""

    @property
    def pods(self) -> frozenset[str]:
        """Pods whose requests are counted."""
        return frozenset(one.pod for one in self.requests.series)

    @property
    def routes(self) -> Mapping[str, float]:
        """Requests a second on each route."""
        return rates(self.requests.series)

    @property
    def excluded(self) -> frozenset[str]:
        """Routes that are not judged: of probes and metrics, as far as they are known."""
        deployment = self.workload.deployment if self.workload else None
        return left_out(self.policy.spec.signals, deployment)

    @property
    def rate(self) -> float:
        """Requests a second on the routes that are judged."""
        return sum(rate for route, rate in self.routes.items() if route not in self.excluded)

    @property
    def interval(self) -> float | None:
        """Seconds between two samples of a pod; None: no pod has two."""
        return interval(self.requests.series)

    @property
    def newest(self) -> float | None:
        """Time of the newest sample."""
        return max(
            (one.samples[-1][0] for one in self.requests.series if one.samples), default=None
        )


def interval(series: Iterable[CounterSeries]) -> float | None:
    """Give the usual time between two samples of a series."""
    gaps = sorted(
        later[0] - earlier[0] for one in series for earlier, later in pairwise(one.samples)
    )
    return gaps[len(gaps) // 2] if gaps else None


def rates(series: Iterable[CounterSeries]) -> dict[str, float]:
    """Compute how many a second were counted on each route; what was scraped twice counts once."""
    found: dict[str, float] = {}
    for one in _once(series):
        found.setdefault(one.route, 0.0)
        if len(one.samples) > 1:
            counted = sum(max(0.0, b[1] - a[1]) for a, b in pairwise(one.samples))
            found[one.route] += counted / (one.samples[-1][0] - one.samples[0][0])
    return found


def twice(series: Iterable[CounterSeries]) -> dict[str, tuple[str, ...]]:
    """Name the pods whose counters are read more than once, with the scrape targets that do."""
    found: dict[tuple[str, str, object], list[str]] = {}
    for one in series:
        found.setdefault((one.pod, one.route, one.identity), []).append(one.instance)
    doubled: dict[str, tuple[str, ...]] = {}
    for (pod, _, _), instances in found.items():
        if len(instances) > 1:
            doubled[pod] = tuple(sorted(set(instances)))
    return doubled


def _once(series: Iterable[CounterSeries]) -> list[CounterSeries]:
    found: dict[object, CounterSeries] = {}
    for one in series:
        key = one.pod, one.route, one.identity
        known = found.get(key)
        if known is None or len(one.samples) > len(known.samples):
            found[key] = one
    return list(found.values())
