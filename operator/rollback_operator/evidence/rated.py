"""Errors on routes that count no request: by whatever label, they are failures of some request.

Some services count requests without the route and errors with it, or count the errors that no
handler caught on a route of their own (`unknown`). Such a route has no error rate, and no share of
the requests: where it holds much of the errors, only all routes together show what fails.
"""

from collections.abc import Iterable, Sequence

from rollback_operator.evidence.limits import UNRATED_SHARE
from rollback_operator.stats.windows import Increment, add

TOGETHER = "(all routes)"


def rated(increments: Sequence[Increment]) -> Sequence[Increment]:
    """Give counts in which each route with errors has requests; as a rule they are unchanged.

    Args:
        increments: of both revisions, in time order, without the excluded routes.

    Returns:
        All routes merged, where much of the errors is on routes without requests; a smaller part
        is left out.
    """
    failed: dict[str, float] = {}
    for increment in increments:
        if increment.errors > 0:
            failed[increment.route] = failed.get(increment.route, 0.0) + increment.errors
    if not failed:
        return increments
    served = {increment.route for increment in increments if increment.requests > 0}
    unrated = failed.keys() - served
    if not unrated or not served:
        return increments
    if sum(failed[route] for route in unrated) < UNRATED_SHARE * sum(failed.values()):
        return [increment for increment in increments if increment.route not in unrated]
    return _as_one(increments, min(served) if len(served) == 1 else TOGETHER)


def _as_one(increments: Iterable[Increment], route: str) -> list[Increment]:
    """Count all routes of a pod together, sample by sample."""
    joined: dict[tuple[str, float], Increment] = {}
    for increment in increments:
        pod, end = increment.pod, increment.end
        alone = Increment(pod, route, increment.start, end, increment.requests, increment.errors)
        add(joined, (pod, end), alone)
    return list(joined.values())
