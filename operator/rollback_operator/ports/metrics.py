"""Metrics of a policy's Prometheus and of its pods' own pages: queries, and the ports for them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol, Self

from rollback_operator.api.shape import SecretKeyRef, SecretRef
from rollback_operator.api.v1alpha1 import CounterSignal, RollbackPolicy, SignalLabels
from rollback_operator.evidence.baseline import Control
from rollback_operator.model.pod import MetricsPage
from rollback_operator.model.samples import Missing, Reading
from rollback_operator.stats.histogram import Histogram


@dataclass(frozen=True, slots=True)
class Prometheus:
    """A Prometheus server, and the credentials to read it with."""

    url: str
    """Base URL of its HTTP API."""
    namespace: str = ""
    """Namespace of the Secrets that the references name."""
    token: SecretKeyRef | None = None
    """None: the operator's own token, if the URL is the operator's own."""
    authorities: SecretKeyRef | None = None
    """CA certificates; None: those that the operator trusts."""
    basic_auth: SecretRef | None = None
    """Username and password, instead of the token."""
    tenant: str = ""
    """Tenant to read; empty: the operator's, if the URL is the operator's own."""

    @property
    def has_own_credentials(self) -> bool:
        """Whether the policy has credentials or certificates of its own."""
        return any((self.token, self.basic_auth, self.authorities))

    @property
    def identity(self) -> str:
        """URL, tenant and login: evidence read under another identity is other evidence."""
        logins = (self.token, self.basic_auth)
        return " ".join((self.url, self.tenant, *(repr(login) for login in logins if login)))

    @property
    def is_read_alike(self) -> bool:
        """Whether every policy that reads this URL gets the same answers."""
        return not (self.has_own_credentials or self.tenant)

    def without_secrets(self) -> Self:
        """Drop every reference to a Secret of the policy."""
        return replace(self, token=None, basic_auth=None, authorities=None)

    @classmethod
    def of(cls, policy: RollbackPolicy, default: str) -> Self:
        """Locate a policy's metrics; `default` applies if the policy names no URL."""
        spec = policy.spec.prometheus
        return cls(
            spec.url or default,
            policy.metadata.namespace,
            spec.bearer_token_secret_ref,
            spec.ca_secret_ref,
            spec.basic_auth_secret_ref,
            spec.tenant or "",
        )


@dataclass(frozen=True, slots=True)
class CounterQuery:
    """Request and error counters of some pods."""

    prometheus: Prometheus
    namespace: str
    pods: tuple[str, ...]
    """Regular expressions for pod names, joined by OR."""
    requests: CounterSignal
    errors: CounterSignal
    labels: SignalLabels
    left_out: frozenset[str] = frozenset()
    """Routes excluded from a control; raw counters keep them, as a sign that a pod is scraped."""


@dataclass(frozen=True, slots=True)
class SeriesQuery:
    """Series of a single signal of some pods."""

    prometheus: Prometheus
    namespace: str
    pods: tuple[str, ...]
    """Regular expressions for pod names, joined by OR; empty: series without a pod."""
    signal: CounterSignal
    labels: SignalLabels


@dataclass(frozen=True, slots=True)
class PodPage:
    """A pod's own metrics page."""

    pod: str
    address: str
    page: MetricsPage
    is_judged: bool = False
    """Belongs to the judged revision: timed at its answer, the others at the request."""
    is_leaving: bool = False
    """The pod terminates: its page may be gone, so a read does not wait for it."""


@dataclass(frozen=True, slots=True)
class PageQuery:
    """Request and error counters to read from pods' own pages."""

    pages: tuple[PodPage, ...]
    requests: CounterSignal
    errors: CounterSignal
    labels: SignalLabels
    namespace: str = ""
    """Namespace of the pods; the read counts against its share."""


class TrendMetrics(Protocol):
    """Slowly changing metrics of the provider."""

    async def read_latency(
        self, query: SeriesQuery, at: float
    ) -> Mapping[str, Histogram] | Missing:
        """Read each pod's durations over all routes, counted since its container started."""

    async def read_past_latency(self, query: SeriesQuery, until: float) -> Histogram | Missing:
        """Read the durations of the hour up to `until`, over all pods."""

    async def read_route_latency(
        self, query: SeriesQuery, until: float
    ) -> Mapping[str, Histogram] | Missing:
        """Read the durations of the hour up to `until` by route, over all pods."""

    async def read_gauge(self, query: SeriesQuery, at: float) -> Mapping[str, float] | Missing:
        """Read a gauge of each pod, the highest if a pod has several."""

    async def read_gauge_slope(
        self, query: SeriesQuery, seconds: float, at: float
    ) -> Mapping[str, float] | Missing:
        """Read the growth per second of each pod's gauge, over so many seconds up to `at`.

        A pod without two values is left out.
        """

    async def read_query(self, prometheus: Prometheus, query: str, at: float) -> float | Missing:
        """Evaluate PromQL to a single number."""


class Metrics(Protocol):
    """The provider of metrics."""

    async def read(self, query: CounterQuery, seconds: float) -> Reading:
        """Read the raw counters of the last `seconds`; Missing holds the reason for a failure."""

    async def read_control(self, query: CounterQuery, until: float) -> Control | Missing:
        """Read the error rate of each minute of the hour up to `until`, by the provider's clock."""

    async def read_clock(self, prometheus: Prometheus) -> float | Missing:
        """Read the provider's time in seconds since the epoch."""


class CredentialsCheck(Protocol):
    """Validation of the credentials that a policy has for its Prometheus."""

    async def obstacle(self, prometheus: Prometheus) -> str:
        """Name the field without a usable value, and the reason; empty: all are usable."""


class PodMetrics(Protocol):
    """Metrics pages of the watched pods."""

    async def read(self, query: PageQuery) -> Reading:
        """Read the counters of all pages at once: one sample per series, by the operator's clock.

        Pods that do not answer are left out; Missing holds the reason if no page is usable.
        """
