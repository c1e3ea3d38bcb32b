"""Probes among the requests: left out by their routes; without a route label they cannot be.

They never fail: an error rate seems lower by them, and a service that nobody calls to be called.
"""

from collections.abc import Sequence

from rollback_operator.api.v1alpha1 import SignalsSpec
from rollback_operator.evidence.limits import PROBE_TIMES
from rollback_operator.model.workload import Deployment
from rollback_operator.stats.windows import Increment


def left_out(signals: SignalsSpec, deployment: Deployment | None) -> frozenset[str]:
    """Name the routes that count nowhere, of a release as of what it is compared with.

    Args:
        signals: the policy's.
        deployment: whose probes and metrics page they are by default; None: it is not known.
    """
    if signals.exclude_routes is not None:
        return frozenset(signals.exclude_routes)
    return deployment.probe_paths if deployment is not None else frozenset()


def drowned(new: Sequence[Increment], probe_rate: float) -> str:
    """Say that probes drown the requests; empty: they do not, or have a route to be left out by.

    Args:
        new: what the new revision has counted.
        probe_rate: requests a second that HTTP probes make to each pod.
    """
    # Series without a pod are a gateway's: no probe comes through it.
    if not probe_rate:
        return ""
    told = [one for one in new if one.pod]
    if not told or any(one.route for one in told):
        return ""
    seconds = sum(one.end - one.start for one in told)
    requests = sum(one.requests for one in told)
    if requests >= PROBE_TIMES * probe_rate * seconds:
        return ""
    return (
        f"{requests:.0f} requests in {seconds:.0f} s of its pods, of which "
        f"{probe_rate * seconds:.0f} are probes: without a route label they cannot be told apart, "
        f"and under {PROBE_TIMES:.0f} times as many requests no error rate is judged. Name the "
        "label that holds the route in spec.signals.labels.route"
    )
