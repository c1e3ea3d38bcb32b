"""Errors on routes without requests: of whichever label, they are failures of some request."""

import pytest

from rollback_operator.evidence.rated import TOGETHER, rated
from rollback_operator.stats.windows import Increment
from tests.builders import LIST, PURCHASE, make_increment


def errors(route: str, count: float, end: float = 5.0) -> Increment:
    return make_increment(route=route, requests=0.0, errors=count, end=end)


UNNAMED = make_increment(route="")
BOTH = [make_increment(), make_increment(route=LIST, errors=9.0)]


@pytest.mark.parametrize(
    ("counted", "expected"),
    [
        ([UNNAMED, errors(PURCHASE, 7), errors(LIST, 2)], [("", 100, 9)]),
        ([*BOTH, errors("unknown", 1)], [(TOGETHER, 200, 10)]),
        ([*BOTH, errors("unknown", 0.5)], [(PURCHASE, 100, 0), (LIST, 100, 9)]),
        (BOTH, [(PURCHASE, 100, 0), (LIST, 100, 9)]),
        ([errors(PURCHASE, 7)], [(PURCHASE, 0, 7)]),
        ([], []),
    ],
    ids=["no route label", "much of them", "hardly any", "all have requests", "no request", "none"],
)
def test_errors_on_routes_without_requests_count_with_all_requests(counted, expected) -> None:
    assert [(each.route, each.requests, each.errors) for each in rated(counted)] == expected


def test_pods_and_samples_stay_apart_and_in_order() -> None:
    counted = [
        make_increment(route=""),
        make_increment(pod="pod-1", route=""),
        errors(PURCHASE, 3),
        make_increment(route="", start=5, end=10),
        errors(PURCHASE, 4, end=10),
    ]

    found = rated(counted)

    assert [(each.pod, each.errors) for each in found] == [("pod-0", 3), ("pod-1", 0), ("pod-0", 4)]
    assert [each.end for each in found] == sorted(each.end for each in found)
