"""What fails around a release: the operator itself, or what the service depends on."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from lab.session import Session
from lab.tickets import OPERATOR, Operator, process_of, wait_for
from tests.e2e.database import OwnRole
from tests.e2e.guard import Guard
from tests.e2e.provider import PROMETHEUS, OwnWay
from tests.e2e.shop import Shop


@contextmanager
def alone(lab: Session) -> Iterator[None]:
    """One operator serves all scenarios: only one of them at a time takes it away."""
    with (lab.directory / "operator-is-taken-away").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def test_an_operator_killed_between_intent_and_act_finishes(
    lab: Session, operator: Operator, shop: Shop
) -> None:
    shop.serves_after("v1.2.3")
    with alone(lab):
        process = process_of(operator, lab)
        with Guard(lab, shop.namespace, OPERATOR):
            shop.releases("v1.3.0")
            intent = shop.has_a_rollback()
            lab.in_node("kill", "-KILL", str(process))
            assert shop.service.image() == "v1.3.0"
        ended = shop.goes_back_to("v1.2.3")

    assert ended["metadata"]["uid"] == intent["metadata"]["uid"]


@pytest.mark.extended
def test_an_operator_lost_during_a_rollback_is_replaced(
    lab: Session, operator: Operator, shop: Shop
) -> None:
    shop.opens("v1.2.3")
    # A rollback that is over before the operator is taken away would show nothing.
    shop.changes_pace(seconds=20)
    shop.has_a_past()
    with alone(lab):
        shop.releases("v1.3.0")
        begun = shop.begins_to_go_back()
        pod = operator.pod()["metadata"]["name"]
        lab.kubectl("delete", "pod", pod, "-n", OPERATOR, "--force", "--grace-period=0")
        operator.wait_ready()
        assert "outcome" not in shop.service.rollbacks()[-1]["status"]
        shop.customers_return()
        ended = shop.goes_back_to("v1.2.3")

    assert ended["metadata"]["uid"] == begun["metadata"]["uid"]


def suffers(lab: Session, shop: Shop, seconds: float) -> None:
    """A release has served for a while when its database is gone for so long."""
    role = OwnRole(lab, shop.namespace)
    shop.service.database_url = role.url
    shop.serves_after("v1.2.3")
    shop.releases("v1.4.0")
    shop.has_rolled_out()
    shop.is_left_alone("v1.4.0", seconds=25)
    before = len(shop.failures())
    with role.turned_away():
        wait_for("requests to fail", 30, lambda: len(shop.failures()) > before + 20)
        shop.is_at_most_asked_about("v1.4.0", seconds)
    shop.is_whole()


def test_a_release_is_not_blamed_for_its_database(lab: Session, shop: Shop) -> None:
    suffers(lab, shop, seconds=30)

    shop.is_at_most_asked_about("v1.4.0", seconds=10)
    shop.sells()


@pytest.mark.extended
def test_a_question_about_a_long_outage_needs_no_answer(lab: Session, shop: Shop) -> None:
    suffers(lab, shop, seconds=60)

    shop.needs_no_answer()
    shop.is_at_most_asked_about("v1.4.0", seconds=15)
    shop.sells()


@pytest.mark.extended
def test_nothing_is_lost_while_prometheus_is_away(lab: Session, shop: Shop) -> None:
    way = OwnWay(lab, shop.namespace, PROMETHEUS)
    prometheus = {"url": way.url}
    shop.opens("v1.2.3", prometheus=prometheus, podMetrics={"everyMilliseconds": 0})
    way.open()
    shop.has_a_past()
    assert shop.condition("MetricsAvailable")["status"] == "True"
    before = len(shop.failures())

    with way.cut():
        shop.releases("v1.3.0")
        shop.has_rolled_out()
        wait_for("purchases to fail", 30, lambda: len(shop.failures()) > before + 20)
        shop.is_left_alone("v1.3.0", seconds=15)
        assert shop.verdict() == "NoVerdict"
        assert shop.condition("MetricsAvailable")["reason"] == "ProviderUnreachable"

    shop.goes_back_to("v1.2.3")
