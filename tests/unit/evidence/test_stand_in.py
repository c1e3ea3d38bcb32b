"""When the previous revision is the control in place of a rollback target that failed."""

from dataclasses import replace

import pytest

from rollback_operator.evidence.baseline import RouteControl, control_of
from rollback_operator.evidence.stand_in import failure_at_end, with_stand_in
from rollback_operator.evidence.watch import Watch, open_watch
from tests.builders import LIST, PURCHASE, T0, make_control, make_pod

HEALTHY = make_control()


def past(last_errors: float, errors: float = 180, seconds: float = 3600.0):
    """An hour with so many errors, and such last two minutes."""
    return replace(
        make_control(errors=errors, seconds=seconds),
        pooled=RouteControl(180_000, errors, 0.0, last=(1000.0, last_errors)),
    )


def watched(**changes) -> Watch:
    watch = open_watch("digest-v4", T0, frozenset({"hashv1"}))
    fields = {
        "replaced_hashes": frozenset({"hashv3"}),
        "control": past(1000.0),
        "control_before": HEALTHY,
    }
    return replace(watch, **(fields | changes))


def test_the_previous_revision_stands_in_for_a_target_that_failed_at_its_end() -> None:
    watch = with_stand_in(watched(), ())

    assert (watch.control, watch.control_hashes) == (HEALTHY, {"hashv3"})
    assert watch.failed_target is not None
    assert watch.failed_target.hashes == {"hashv1"}
    assert watch.failed_target.failure.startswith("1000 of its 1000 requests failed")
    assert with_stand_in(watch, ()) is watch


BAD_PURCHASES = {PURCHASE: RouteControl(100, 3, 0.0), LIST: RouteControl(900, 0, 0.0)}


@pytest.mark.parametrize(
    "changes",
    [
        {"control": past(499.0)},
        {"control": past(0.0, errors=10_000)},
        {"control": replace(past(0.0), pooled=RouteControl(180_000, 180, 0, last=(19.0, 19.0)))},
        {"control": None},
        {"control_before": None},
        {"control_before": make_control(errors=9_000)},
        {"control_before": make_control(routes=BAD_PURCHASES)},
        {"control_before": make_control(seconds=0.0)},
        {"control_before": make_control(requests=99, errors=0)},
        {"replaced_hashes": frozenset()},
        {"pods": (make_pod(version="v1"),)},
    ],
    ids=[
        "the target fails less than half",
        "the target failed before, and recovered",
        "hardly a request of the target",
        "the target has no past",
        "the previous has no past",
        "the previous fails a twentieth",
        "the previous fails a few purchases",
        "the previous ran for a moment",
        "hardly a request of the previous",
        "there is no independent witness",
        "the target still serves",
    ],
)
def test_the_target_stays_the_control(changes) -> None:
    watch = watched(**changes)
    assert with_stand_in(watch, (PURCHASE,)) is watch


def test_a_purchase_route_is_enough_and_another_route_is_not() -> None:
    failed = RouteControl(1000, 100, 0.0, last=(100.0, 100.0))
    watch = watched(control=replace(past(100.0), routes={PURCHASE: failed}))
    assert f"100 of its 100 requests on {PURCHASE} failed" in failure_at_end(watch, (PURCHASE,))
    assert failure_at_end(watch, (LIST,)) == ""


@pytest.mark.parametrize(("stops", "expected"), [(0, (1200.0, 60.0)), (120, (1200.0, 0.0))])
def test_the_last_two_minutes_are_those_with_requests(stops, expected) -> None:
    requests = {T0 - stops - 60 * back: 600.0 for back in range(5)}
    requests |= dict.fromkeys((T0 - back for back in range(0, stops, 60)), 0.0)
    errors = {T0 - 60.0: 60.0}
    control = control_of({PURCHASE: requests}, {PURCHASE: errors}, T0)
    assert control.pooled.last == control.routes[PURCHASE].last == expected
