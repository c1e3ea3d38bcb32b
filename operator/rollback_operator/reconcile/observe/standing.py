"""What else there is that bears on a policy: what it may have called, an older one, a freeze."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from rollback_operator.api.v1alpha1 import RollbackPolicy
from rollback_operator.decide import freeze
from rollback_operator.model import stop
from rollback_operator.reconcile.cache import Cache
from rollback_operator.report.readiness import Around


@dataclass(frozen=True, slots=True)
class MetricsAccess:
    """Where metrics are read by default, and what else a policy may name."""

    default: str
    allows: Callable[[str, str], bool]
    may_call: Callable[[str, str], bool]
    """Whether probes may be sent to a host: host, namespace."""
    may_query: Callable[[RollbackPolicy], bool]
    """Whether a policy's own queries may be put to its Prometheus."""
    stopped: Callable[[], str] = stop.nobody
    """Who has stopped everything, when and why; empty: nobody has."""
    may_read_as: Callable[[str, str, str], bool] = lambda tenant, url, namespace: True
    """Whether the metrics of a tenant may be read: tenant, address, the policy's namespace."""


def around(policy: RollbackPolicy, cache: Cache, address: MetricsAccess, now: datetime) -> Around:
    """Look around a policy; who else steers its target is looked at elsewhere."""
    namespace, source = policy.metadata.namespace, policy.spec.prometheus
    url, tenant = source.url, source.tenant
    oldest = cache.policies_on(namespace, policy.spec.target_ref.name)[:1]
    rivals = [one.metadata.name for one in oldest if one.key != policy.key]
    return Around(
        stopped=address.stopped(),
        is_address_allowed=url is None or address.allows(url, namespace),
        is_tenant_allowed=tenant is None
        or address.may_read_as(tenant, url or address.default, namespace),
        are_queries_allowed=address.may_query(policy),
        older_policy=rivals[0] if rivals else "",
        refused_probes=tuple(
            one.name
            for one in policy.spec.verification.http
            if not address.may_call(one.host, namespace)
        ),
        frozen=str(freeze.frozen(policy.spec.safety.freeze, now) or ""),
    )
