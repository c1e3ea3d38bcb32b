"""Probes among the requests: without a route label they cannot be left out, and they never fail."""

from collections.abc import Sequence

from rollback_operator.core.evidence import Increment

TIMES = 10.0
"""From so many times more requests than probes on, probes hardly change a rate."""


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
    if requests >= TIMES * probe_rate * seconds:
        return ""
    return (
        f"{requests:.0f} requests in {seconds:.0f} s of its pods, of which "
        f"{probe_rate * seconds:.0f} are probes: without a route label they cannot be told apart, "
        f"and under {TIMES:.0f} times as many requests no error rate is judged. Name the label "
        "that holds the route in spec.signals.labels.route"
    )
