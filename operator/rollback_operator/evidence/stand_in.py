"""The previous revision as the control, in place of a rollback target that failed when it left.

A release may repair a target that began to fail. Everything is plausible beside such a target, but
not beside its healthy successor. Both pasts end before the release: what happens later decides
nothing here.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from rollback_operator.evidence.baseline import Control, RouteControl
from rollback_operator.evidence.limits import LEAST_CEILING, LEAST_REQUESTS, USELESS
from rollback_operator.evidence.watch import FailedTarget, Watch


def with_stand_in(watch: Watch, purchase_routes: Iterable[str]) -> Watch:
    """Compare with the previous revision if it did well and the target failed before it.

    Args:
        watch: with the pasts of both.
        purchase_routes: routes that count beside all of them together.
    """
    before, routes = watch.control_before, tuple(purchase_routes)
    failure = failure_at_end(watch, routes)
    if before is None or not failure or not _did_well(before, routes):
        return watch
    return replace(
        watch,
        control=before,
        control_hashes=watch.replaced_hashes,
        control_before=None,
        failed_target=FailedTarget(watch.control_hashes, failure),
    )


def failure_at_end(watch: Watch, purchase_routes: Iterable[str]) -> str:
    """Describe how the target failed half of its last requests; empty: it did not, or it serves.

    Also empty without an independent witness (`Watch.replaced_hashes`) that could stand in.
    """
    is_living = any(
        pod.pod_hash in watch.control_hashes and not pod.terminating for pod in watch.pods
    )
    if watch.control is None or not watch.replaced_hashes - watch.control_hashes or is_living:
        return ""
    for where, known in _scopes(watch.control, purchase_routes):
        requests, errors = known.last
        if requests >= LEAST_REQUESTS and errors >= USELESS * requests:
            counts = f"{min(errors, requests):.0f} of its {requests:.0f} requests"
            return f"{counts}{where} failed in the last two minutes in which it served"
    return ""


def _did_well(control: Control, purchase_routes: Iterable[str]) -> bool:
    """Return whether a past is long enough and clean, on all routes and on purchase routes.

    A revision that fails a few percent may itself be the next fault: it stands in for nothing.
    """
    return control.is_sufficient and all(
        known.errors <= LEAST_CEILING * known.requests
        for _, known in _scopes(control, purchase_routes)
    )


def _scopes(control: Control, routes: Iterable[str]) -> Iterator[tuple[str, RouteControl]]:
    yield "", control.pooled
    for route in routes:
        if route in control.routes:
            yield f" on {route}", control.routes[route]
