"""The data that a policy can be evaluated with: series, their pods and routes, and freshness.

Contains observed facts only; findings.py draws the conclusions.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from rollback_operator.api.remedy import Flag
from rollback_operator.api.v1alpha1 import RollbackPolicy
from rollback_operator.evidence.arms import excluded_routes
from rollback_operator.evidence.baseline import Control
from rollback_operator.model.samples import CounterSeries, Missing
from rollback_operator.model.workload import FlagState, Workload

READ_SECONDS = 300.0
"""Samples of this period are read."""


@dataclass(frozen=True, slots=True)
class Trace:
    """Where the series of a signal are, if the policy does not match them."""

    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Of the most similar series: each label with some of its values."""
    is_without_pods: bool = False
    """They have all matchers, but belong to other pods, or to no pod."""
    namespaces: tuple[str, ...] = ()
    """Other namespaces with the metric, if the policy's namespace has none."""
    similar: tuple[str, ...] = ()
    """Counters of the namespace with other names."""


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
    """The source of a slow signal: durations, memory or an own query."""

    path: str
    """The field of the policy."""
    what: str
    """The metric, or the query."""
    data: Missing | str
    """A description of the data that was read."""
    instead: str = ""
    """An equivalent query, if it is a summary."""

    @property
    def is_query(self) -> bool:
        """Report whether it is PromQL of the policy's author."""
        return self.path.endswith(".query")


@dataclass(frozen=True, slots=True)
class FlagFacts:
    """The state of a flag that a remedy sets."""

    path: str
    """The field of the policy."""
    flag: Flag
    state: FlagState | Missing
    """Missing: why it was not read."""
    is_gone: bool = False
    """The ConfigMap does not exist."""
    may_set: bool | None = None
    """Whether the user has permission to set it; None: unknown."""


@dataclass(frozen=True, slots=True)
class SecretFacts:
    """A Secret of a channel, database or probe that was not read, or is unusable."""

    path: str
    """The field of the policy."""
    message: str
    """Why."""
    is_known: bool
    """Whether it is unusable; otherwise it was not read."""


@dataclass(frozen=True, slots=True)
class Survey:
    """All observed facts."""

    policy: RollbackPolicy
    url: str
    requests: SignalFacts
    errors: SignalFacts
    control: Control | Missing
    now: float
    """Time of Prometheus, or of this machine if that is unreadable."""
    skew: float | Missing
    """Clock of Prometheus minus the clock of this machine, in seconds."""
    workload: Workload | None = None
    unseen: str = ""
    """Why the workload was not read."""
    is_gone: bool = False
    """The Deployment does not exist."""
    unclaimed: tuple[str, ...] = ()
    """Rollout tools and image updaters that could not be read, with the reason."""
    marks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """If errors are requests with a label: the values of the label."""

    slow: tuple[SlowFacts, ...] = ()
    """Only for the signals of the matrix."""
    without_credentials: str = ""
    """Why the policy's own credentials for Prometheus were not used; empty: they were, or there
    are none."""
    flags: tuple[FlagFacts, ...] = ()
    """Flags of the policy's remedies; empty without a cluster."""
    secrets: tuple[SecretFacts, ...] = ()
    """Secrets that a rollback would need and that were not usable; empty without a cluster."""

    is_address_allowed: bool = True
    """Whether the operator reads from spec.prometheus.url, with the known settings."""
    is_tenant_allowed: bool = True
    """Whether it reads as spec.prometheus.tenant, with the same settings."""
    rival: str = ""
    """Another policy with the same target, in the file or the cluster; empty: there is none."""

    @property
    def pods(self) -> frozenset[str]:
        """Pods with counted requests."""
        return frozenset(item.pod for item in self.requests.series)

    @property
    def routes(self) -> Mapping[str, float]:
        """Requests per second on each route."""
        return rates(self.requests.series)

    @property
    def excluded(self) -> frozenset[str]:
        """Routes that are not judged: known routes of probes and metrics."""
        deployment = self.workload.deployment if self.workload else None
        return excluded_routes(self.policy.spec.signals, deployment)

    @property
    def rate(self) -> float:
        """Requests per second on the judged routes."""
        return sum(rate for route, rate in self.routes.items() if route not in self.excluded)

    @property
    def interval(self) -> float | None:
        """Seconds between two samples of a pod; None: no pod has two."""
        return interval(self.requests.series)

    @property
    def newest(self) -> float | None:
        """Time of the newest sample."""
        return max(
            (item.samples[-1][0] for item in self.requests.series if item.samples), default=None
        )


def interval(series: Iterable[CounterSeries]) -> float | None:
    """Return the median time between two samples of a series."""
    gaps = sorted(
        later[0] - earlier[0] for item in series for earlier, later in pairwise(item.samples)
    )
    return gaps[len(gaps) // 2] if gaps else None


def rates(series: Iterable[CounterSeries]) -> dict[str, float]:
    """Compute the requests per second on each route; a pod that is scraped twice counts once."""
    counted_rates: dict[str, float] = {}
    for item in _once(series):
        counted_rates.setdefault(item.route, 0.0)
        if len(item.samples) > 1:
            counted = sum(max(0.0, b[1] - a[1]) for a, b in pairwise(item.samples))
            counted_rates[item.route] += counted / (item.samples[-1][0] - item.samples[0][0])
    return counted_rates


def twice(series: Iterable[CounterSeries]) -> dict[str, tuple[str, ...]]:
    """List the pods that are scraped more than once, with the scrape targets."""
    instances_of: dict[tuple[str, str, object], list[str]] = {}
    for item in series:
        instances_of.setdefault((item.pod, item.route, item.identity), []).append(item.instance)
    doubled: dict[str, tuple[str, ...]] = {}
    for (pod, _, _), instances in instances_of.items():
        if len(instances) > 1:
            doubled[pod] = tuple(sorted(set(instances)))
    return doubled


def _once(series: Iterable[CounterSeries]) -> list[CounterSeries]:
    longest: dict[object, CounterSeries] = {}
    for item in series:
        key = item.pod, item.route, item.identity
        known = longest.get(key)
        if known is None or len(item.samples) > len(known.samples):
            longest[key] = item
    return list(longest.values())
