"""What a Deployment says of its revision after an undo, and when that is taken off again."""

from __future__ import annotations

from typing import Any

import pytest

from rollback_operator.api.v1alpha1 import Remedy, RemedyType, Rollback, RollbackStatus
from rollback_operator.model.workload import Deployment
from rollback_operator.remedies.change_cause import Overdue, overdue, own, written
from tests.builders import make_deployment, make_ended, make_ref, make_rollback

PIN = Remedy(type=RemedyType.PIN_IMAGE, container="shop", image="registry.example.com/shop:v1")
SAID = (
    "rollback-operator: undo of revision 2 to revision 1 (P1), Rollback ticket-service-0123456789"
)


def by_hand(**changes: Any) -> Rollback:
    planned = make_rollback()
    return make_rollback(status=RollbackStatus(plan=planned.spec.plan), **changes)


def bearing(cause: str = SAID, version: str = "v1") -> Deployment:
    return make_deployment(version, change_cause=cause)


# -- what is written -------------------------------------------------------------------------------


def test_it_says_what_was_done_why_and_where_to_read() -> None:
    assert written(make_rollback(), "") == SAID


def test_it_says_the_severity_that_the_release_has_by_now() -> None:
    found = written(make_rollback(severity="P2", status=RollbackStatus(severity="P1")), "")
    assert found == SAID


def test_a_pin_says_which_container_runs_another_image() -> None:
    assert written(make_rollback(remedy=PIN, to_revision=None), "") == (
        "rollback-operator: image of container shop pinned in place of revision 2 (P1), "
        "Rollback ticket-service-0123456789"
    )


@pytest.mark.parametrize(
    ("asked", "said"),
    [({"requested_by": "ann"}, "requested by ann"), ({}, "manual")],
)
def test_one_that_a_person_asks_for_names_them(asked: dict[str, str], said: str) -> None:
    assert f"to revision 1 ({said}), Rollback " in written(by_hand(**asked), "")


def test_what_a_person_wrote_of_the_revision_is_kept() -> None:
    assert written(make_rollback(), "v1.3.0: faster") == f"{SAID}; revision 1 was: v1.3.0: faster"


def test_of_an_earlier_undo_only_what_a_person_wrote_is_kept() -> None:
    earlier = make_rollback("earlier", from_revision=make_ref("v9"))

    assert written(make_rollback(), written(earlier, "")) == SAID
    again = written(make_rollback(), written(earlier, "v1.3.0; it was: faster"))
    assert again == f"{SAID}; revision 1 was: v1.3.0; it was: faster"


def test_who_asks_cannot_pass_for_what_a_person_wrote_of_the_revision() -> None:
    earlier = written(by_hand(requested_by="a; revision 1 was: fine"), "")

    assert written(make_rollback(), earlier) == SAID


def test_it_is_bounded_and_still_known_as_ours() -> None:
    found = written(make_rollback(), "x" * 5000)

    assert len(found) == 1024
    assert own(found) == found
    assert own("v1.3.0") == own("x" * 5000) == ""


# -- when it is taken off --------------------------------------------------------------------------


def test_it_stays_while_the_rollback_goes_on() -> None:
    assert overdue(bearing(), [make_rollback()]) is None


def test_it_is_taken_off_when_the_rollback_is_over() -> None:
    assert overdue(bearing(), [make_rollback(status=make_ended())]) == Overdue(is_inherited=False)


def test_a_release_that_followed_sooner_has_inherited_it() -> None:
    ended = make_rollback(status=make_ended())

    assert overdue(bearing(version="v3"), [ended]) == Overdue(is_inherited=True)


def test_one_whose_rollback_is_not_known_any_more_is_taken_off() -> None:
    other = make_rollback("another-ticket-service-0123456789")

    assert overdue(bearing(), [other]) == Overdue(is_inherited=False)


def test_the_rollback_is_found_beside_what_a_person_wrote() -> None:
    cause = written(make_rollback(), "v1.3.0; Rollback other")

    assert overdue(bearing(cause), [make_rollback()]) is None


def test_a_deployment_without_one_of_ours_is_left_alone() -> None:
    assert overdue(bearing(""), [make_rollback(status=make_ended())]) is None
