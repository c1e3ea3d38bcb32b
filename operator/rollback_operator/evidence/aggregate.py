"""Series without a pod label (an ingress, a gateway): before the release against after.

Nothing separates the revisions while both serve, so the time of the old revision is the only
control, and blame rests on the onset alone. The rollout counts as one moment: a fault that begins
during it begins with the first requests of the release. During the rollout only a share of the
requests goes to the new revision, which dilutes its errors; that dilution is no sign of a later
onset.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from rollback_operator.evidence.limits import SHARE_TIMES
from rollback_operator.model.pod import Pod
from rollback_operator.stats.windows import Increment, add, on, total

POD = ""
"""The pod name of such a series."""


def split(
    increments: Sequence[Increment], new: Iterable[Pod], until: float
) -> tuple[list[Increment], list[Increment]]:
    """Separate the counts before the release from the counts since.

    Args:
        increments: of the service as a whole, in time order.
        new: the release's pods.
        until: when the rollout was complete; while it goes on: now.

    Returns:
        (since, before); both empty while no new pod has become ready.
    """
    ready = [pod.ready_since for pod in new if pod.ready_since is not None]
    if not ready:
        return [], []
    begin = min(ready)
    before = [increment for increment in increments if increment.end <= begin]
    since = [increment for increment in increments if increment.end > begin]
    meanwhile = _as_one([increment for increment in since if increment.start < until])
    later = [increment for increment in since if increment.start >= until]
    return [*(_of_the_new(increment, ready, later) for increment in meanwhile), *later], before


def _of_the_new(
    increment: Increment, ready: Sequence[float], later: Iterable[Increment]
) -> Increment:
    """Estimate how many requests of a rollout the new pods had, by the error rate since.

    Args:
        increment: the counts of a route during the rollout.
        ready: when each new pod became ready.
        later: the counts since.
    """
    requests, errors = total(on(later, increment.route))
    if not errors or increment.errors * requests >= errors * increment.requests:
        return increment
    length = max(increment.end - increment.start, 1.0)
    share = (
        sum(max(0.0, increment.end - max(since, increment.start)) for since in ready)
        / len(ready)
        / length
    )
    least, most = (
        increment.requests * min(1.0, each) for each in (share / SHARE_TIMES, SHARE_TIMES * share)
    )
    served = min(most, max(least, increment.errors * requests / errors))
    return replace(increment, requests=max(increment.errors, served))


def _as_one(increments: Iterable[Increment]) -> list[Increment]:
    """Merge the counts of each route."""
    routes: dict[str, Increment] = {}
    for increment in increments:
        add(routes, increment.route, increment)
    return list(routes.values())
