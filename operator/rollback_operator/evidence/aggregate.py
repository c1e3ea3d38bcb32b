"""Series that no pod can be told from (an ingress, a gateway): before the release against after.

Nothing tells the revisions apart while both serve, so the old one's time is the only control, and
blame rests on the onset alone. The rollout itself counts as one moment: a fault that comes with it
comes with the release's first requests. While it goes on only a share of the requests is the new
revision's, which thins its errors out: what that share may have been is no sign of a later onset.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from rollback_operator.evidence.limits import SHARE_TIMES
from rollback_operator.model.pod import Pod
from rollback_operator.stats.windows import Increment

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
    meanwhile = _as_one([one for one in since if one.start < until])
    later = [one for one in since if one.start >= until]
    return [*(_of_the_new(one, ready, later) for one in meanwhile), *later], before


def _of_the_new(one: Increment, ready: Sequence[float], later: Iterable[Increment]) -> Increment:
    """Choose how many of a rollout's requests the new pods had: as fits the rate since, if it may.

    Args:
        one: what a route counted in the rollout.
        ready: when each new pod became ready.
        later: what was counted since.
    """
    same = [each for each in later if each.route == one.route]
    requests, errors = sum(each.requests for each in same), sum(each.errors for each in same)
    if not errors or one.errors * requests >= errors * one.requests:
        return one
    length = max(one.end - one.start, 1.0)
    share = sum(max(0.0, one.end - max(since, one.start)) for since in ready) / len(ready) / length
    least, most = (
        one.requests * min(1.0, each) for each in (share / SHARE_TIMES, SHARE_TIMES * share)
    )
    served = min(most, max(least, one.errors * requests / errors))
    return replace(one, requests=max(one.errors, served))


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
