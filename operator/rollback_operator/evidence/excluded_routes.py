"""Kubelet probes among the requests: excluded by their routes, where a route label exists.

Probes hardly ever fail: they lower the error rate, and make a service without clients look used.
"""

from collections.abc import Sequence

from rollback_operator.api.v1alpha1 import SignalsSpec
from rollback_operator.evidence.limits import PROBE_TIMES
from rollback_operator.model.workload import Deployment
from rollback_operator.stats.windows import Increment


def left_out(signals: SignalsSpec, deployment: Deployment | None) -> frozenset[str]:
    """Name the routes that are not counted, for a release and for its control.

    Args:
        signals: the policy's.
        deployment: the source of the default, its probe paths and metrics page; None: unknown.
    """
    if signals.exclude_routes is not None:
        return frozenset(signals.exclude_routes)
    return deployment.probe_paths if deployment is not None else frozenset()


def drowned(new: Sequence[Increment], probe_rate: float) -> str:
    """Describe how probes outnumber the requests; empty: they do not, or a route excludes them.

    Args:
        new: what the new revision has counted.
        probe_rate: requests a second that HTTP probes make to each pod.
    """
    # Series without a pod label are those of a gateway, which no kubelet probe passes.
    if not probe_rate:
        return ""
    counted = [increment for increment in new if increment.pod]
    if not counted or any(increment.route for increment in counted):
        return ""
    seconds = sum(increment.end - increment.start for increment in counted)
    requests = sum(increment.requests for increment in counted)
    if requests >= PROBE_TIMES * probe_rate * seconds:
        return ""
    return (
        f"its pods have counted {requests:.0f} requests in {seconds:.0f} s of their time, and "
        f"{probe_rate * seconds:.0f} are probes. Without a route label probes cannot be excluded, "
        f"and an error rate needs {PROBE_TIMES:.0f} times as many requests as probes. Set "
        "spec.signals.labels.route to the label that holds the route"
    )
