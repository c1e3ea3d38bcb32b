"""What people are told: counts, odds, blame, what is missing."""

from dataclasses import replace

import pytest

from rollback_operator.api.reasons import Reason
from rollback_operator.judge.explain import describe_scope, ratio
from rollback_operator.model.verdict import Blame, Method
from tests.builders import PURCHASE, make_scope


@pytest.mark.parametrize(
    ("odds", "expected"),
    [
        (0.0, "1 : over a billion"),
        (0.25, "1 : 4"),
        (1.0, "1 : 1"),
        (9331.4, "9331 : 1"),
        (1e9, "over a billion : 1"),
        (float("inf"), "over a billion : 1"),
    ],
)
def test_ratio(odds, expected) -> None:
    assert ratio(odds) == expected


def test_proof_against_history() -> None:
    found = describe_scope(make_scope(PURCHASE), Reason.ERROR_RATE_ABOVE_CONTROL)
    assert found == (
        "the new pods served 100 requests on /api/v1/tickets/purchase and failed 100 (100.0 %); "
        "the old revision failed 36 of 36000 before the release; odds 100000000 : 1 that the new "
        "one is worse; failing from its first request on, 9331 : 1 that the release is to blame"
    )


@pytest.mark.parametrize(
    ("changes", "reason", "said"),
    [
        ({"method": Method.CONTROL, "blame": None}, Reason.STUCK_ROLLOUT, "in the same seconds"),
        (
            {"blame": Blame(28, False, 20)},
            Reason.ENVIRONMENT_SUSPECTED,
            "the fault began 20 s after its first request, 28 : 1 that the release is to blame; "
            "the release is not clearly to blame",
        ),
        (
            {"unmet": "only one sample"},
            Reason.EVIDENCE_GATHERING,
            "not enough yet: only one sample",
        ),
        ({}, Reason.TRAFFIC_SPIKE, "more than three times that"),
        ({"pods_failing": 1}, Reason.FEW_PODS_AFFECTED, "only 1 of 4 new pods fail"),
        ({"requests": 0.0, "errors": 0.0}, Reason.TOO_FEW_REQUESTS, "served no request on all"),
    ],
    ids=["beside old pods", "environment", "floor", "spike", "few pods", "no requests"],
)
def test_what_is_said(changes, reason, said) -> None:
    assert said in describe_scope(replace(make_scope(), **changes), reason)


def test_without_anything_to_compare_with_there_are_no_odds() -> None:
    alone = make_scope(odds=0.0, blame=None, method=Method.CONTROL)
    found = describe_scope(alone, Reason.NO_CONTROL)
    assert "odds" not in found
    assert found.endswith("its history is too short")


def test_without_errors_there_is_nothing_to_weigh() -> None:
    clean = make_scope(errors=0.0, blame=None, odds=0.3, unmet="0 of 10 errors")
    found = describe_scope(clean, Reason.NO_EVIDENCE_AGAINST)
    assert "odds" not in found
    assert "not enough" not in found
    assert found.endswith("nothing speaks against it")
