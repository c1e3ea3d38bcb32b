"""Series that no pod can be told from (an ingress, a gateway): before the release against after.

Nothing tells the revisions apart while both serve, so the old one's time is the only control, and
blame rests on the onset alone. The rollout itself counts as one moment: a fault that comes with it
comes with the release's first requests.
"""

from collections.abc import Iterable, Sequence

from rollback_operator.core.evidence import Increment
from rollback_operator.core.model import Pod

POD = ""
"""What such a series says that it belongs to."""


def split(
    increments: Sequence[Increment], new: Iterable[Pod], until: float
) -> tuple[list[Increment], list[Increment]]:
    """Tell what was counted before the release from what was counted since.

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
    before = [one for one in increments if one.end <= begin]
    since = [one for one in increments if one.end > begin]
    meanwhile = [one for one in since if one.start < until]
    return [*_as_one(meanwhile), *(one for one in since if one.start >= until)], before


def _as_one(increments: Iterable[Increment]) -> list[Increment]:
    """Make one count of each route's."""
    found: dict[str, Increment] = {}
    for one in increments:
        known = found.get(one.route)
        found[one.route] = (
            one
            if known is None
            else Increment(
                POD,
                one.route,
                min(known.start, one.start),
                max(known.end, one.end),
                known.requests + one.requests,
                known.errors + one.errors,
            )
        )
    return list(found.values())
