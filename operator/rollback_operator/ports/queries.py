"""What is asked of a Prometheus, and of pods' own metrics pages."""

from dataclasses import dataclass, replace
from typing import Self

from rollback_operator.api.shape import SecretKeyRef, SecretRef
from rollback_operator.api.v1alpha1 import CounterSignal, RollbackPolicy, SignalLabels
from rollback_operator.model.pod import MetricsPage


@dataclass(frozen=True, slots=True)
class Prometheus:
    """A Prometheus, and with what it is read."""

    url: str
    """Base address of its HTTP API."""
    namespace: str = ""
    """Whose Secrets the references name."""
    token: SecretKeyRef | None = None
    """None: the operator's own token, where the address is the operator's own."""
    authorities: SecretKeyRef | None = None
    """None: whom the operator trusts."""
    basic_auth: SecretRef | None = None
    """Holds a user's name and password, in place of the token."""
    tenant: str = ""
    """Whose metrics are read; empty: the operator's, where the address is the operator's own."""

    @property
    def has_own_credentials(self) -> bool:
        """Tell whether the policy brings something of its own to read it with."""
        return any((self.token, self.basic_auth, self.authorities))

    @property
    def identity(self) -> str:
        """Name where it is read, and as whom: what others are told there is other evidence."""
        logins = (self.token, self.basic_auth)
        return " ".join((self.url, self.tenant, *(repr(one) for one in logins if one)))

    @property
    def is_read_alike(self) -> bool:
        """Tell whether all policies that read it as this one does are told the same."""
        return not (self.has_own_credentials or self.tenant)

    def without_secrets(self) -> Self:
        """Read it with nothing that a Secret of the policy holds."""
        return replace(self, token=None, basic_auth=None, authorities=None)

    @classmethod
    def of(cls, policy: RollbackPolicy, default: str) -> Self:
        """Say where a policy's metrics are read; `default`: where it names no address."""
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
    """Which counters of which pods."""

    prometheus: Prometheus
    namespace: str
    pods: tuple[str, ...]
    """Regular expressions for pod names, any of them."""
    requests: CounterSignal
    errors: CounterSignal
    labels: SignalLabels
    left_out: frozenset[str] = frozenset()
    """Routes that count nothing in a control. Of raw counters they tell that a pod is read."""


@dataclass(frozen=True, slots=True)
class SeriesQuery:
    """Which series of one signal of which pods."""

    prometheus: Prometheus
    namespace: str
    pods: tuple[str, ...]
    """Regular expressions for pod names, any of them; none: series of no pod."""
    signal: CounterSignal
    labels: SignalLabels


@dataclass(frozen=True, slots=True)
class PodPage:
    """A pod's own metrics page."""

    pod: str
    address: str
    page: MetricsPage
    is_judged: bool = False
    """Of the revision that is judged: timed when it has answered, the others when asked."""
    is_leaving: bool = False
    """It is being ended: its page may be gone, and is not waited for."""


@dataclass(frozen=True, slots=True)
class PageQuery:
    """Which counters to read from which pods' own pages."""

    pages: tuple[PodPage, ...]
    requests: CounterSignal
    errors: CounterSignal
    labels: SignalLabels
    namespace: str = ""
    """Of the pods: whose turn it takes."""
