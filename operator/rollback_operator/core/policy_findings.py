"""What follows from a policy by itself: what the operator would refuse, and what means nothing."""

from collections.abc import Iterator
from decimal import Decimal

from rollback_operator.api.v1alpha1 import SignalName
from rollback_operator.core.finding import Finding, Level
from rollback_operator.core.matrix import faults
from rollback_operator.core.survey import Survey

_ALWAYS = {
    SignalName.LATENCY_RATIO: (Decimal(1), "a release that is no slower than the old one"),
    SignalName.LATENCY: (Decimal(0), "every release that answers at all"),
    SignalName.MEMORY_GROWTH: (Decimal(0), "every release whose memory grows by a byte"),
}
"""Up to which bound a condition says nothing of a release, and whom it meets."""


def of_policy(survey: Survey) -> Iterator[Finding]:
    """Say what is wrong whatever Prometheus and the cluster hold."""
    spec = survey.policy.spec
    for one in faults(spec.matrix):
        yield Finding(Level.PROBLEM, "spec.matrix", one)
    yield from _thresholds(survey)
    labels = spec.signals.labels
    if labels.pod and labels.pod == labels.route:
        yield Finding(
            Level.PROBLEM,
            "spec.signals.labels",
            f"pod and route are both told by the label {labels.pod}: each pod would be a route",
            "name the label that holds the route; without one all requests are judged together",
        )
    if not survey.is_address_allowed:
        yield Finding(
            Level.PROBLEM,
            "spec.prometheus.url",
            f"{spec.prometheus.url} is neither the operator's Prometheus nor a Service of this "
            "namespace: by its settings as they are known here the operator refuses it",
            "have its owner list the host (allowedPrometheusHosts of the chart); here it is "
            "ROLLBACK_OPERATOR_ALLOWED_PROMETHEUS_HOSTS",
        )
    if not survey.is_tenant_allowed:
        yield Finding(
            Level.PROBLEM,
            "spec.prometheus.tenant",
            f"outside this namespace the operator reads no metrics of tenant "
            f"{spec.prometheus.tenant} for this policy, by its settings as they are known here",
            "have its owner list NAMESPACE/TENANT (allowedTenants of the chart); here it is "
            "ROLLBACK_OPERATOR_ALLOWED_TENANTS",
        )
    if survey.rival:
        yield Finding(
            Level.PROBLEM,
            "spec.targetRef",
            f"policy {survey.rival} watches Deployment {spec.target_ref.name} already: of two the "
            "older one acts, and this one would say TargetAlreadyWatched",
            "put into one policy what both say, or delete the other",
        )


def _thresholds(survey: Survey) -> Iterator[Finding]:
    for row, rule in enumerate(survey.policy.spec.matrix):
        for place, one in enumerate(rule.when):
            bound, whom = _ALWAYS.get(one.signal, (None, ""))
            if bound is not None and one.above is not None and Decimal(one.above) <= bound:
                yield Finding(
                    Level.PROBLEM,
                    f"spec.matrix[{row}].when[{place}].above",
                    f"{one.signal} above {one.above} meets {whom}",
                    f"let it be above {bound}, with room for noise",
                )
