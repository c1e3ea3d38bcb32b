"""Releases of the ticket service, each broken in its own way or not at all."""

from __future__ import annotations

import pytest

from tests.e2e.conftest import MakeShop
from tests.e2e.shop import ERRORS_ONLY, QUICKLY_GOOD, Shop


def test_a_release_that_fails_every_purchase_is_undone(shop: Shop) -> None:
    shop.serves_after("v1.2.3")

    shop.releases("v1.3.0")

    ended = shop.goes_back_to("v1.2.3")
    assert ended["spec"]["severity"] == "P1"
    assert ended["spec"]["pace"] == "Express"
    assert ended["spec"]["trigger"]["errors"] > 0
    assert ended["spec"]["trigger"]["controlErrors"] == 0


@pytest.mark.extended
def test_a_release_that_fails_a_fifth_is_undone(shop: Shop) -> None:
    shop.serves_after("v1.2.3", rate=25)

    shop.releases("v1.3.1")

    ended = shop.goes_back_to("v1.2.3")
    assert ended["spec"]["severity"] == "P2"
    assert ended["spec"]["pace"] == "Normal"


@pytest.mark.extended
def test_a_slow_release_is_looked_into(make_shop: MakeShop) -> None:
    shop = make_shop(SLOW_MS="1500")  # far above what a loaded machine makes of the old one
    shop.serves_after("v1.2.3", rate=25)

    shop.releases("v1.3.2")

    told = shop.is_looked_into("P3")
    assert "p99 is at least" in told["Symptom"]
    assert "times that of the old revision" in told["Symptom"]
    assert "/api/v1/tickets/purchase: p99" in told["Latency"]
    assert "image changed from localhost/ticket-service:v1.2.3" in told["Changes"]
    shop.is_left_alone("v1.3.2", seconds=5)


@pytest.mark.long
def test_a_release_that_leaks_is_looked_into(make_shop: MakeShop) -> None:
    shop = make_shop(LEAK_MIB_PER_SECOND="0.1")
    shop.serves_after("v1.2.3")

    shop.releases("v1.3.3")

    told = shop.is_looked_into("P3", seconds=480)
    assert "memory grows by" in told["Symptom"]
    assert "of its limit of 128 MiB an hour on 2 of 2 new pods" in told["Symptom"]
    shop.is_left_alone("v1.3.3", seconds=5)


@pytest.mark.extended
def test_a_release_that_nobody_reaches_is_undone(shop: Shop) -> None:
    shop.serves_after("v1.2.3")

    shop.releases("v1.3.5")

    ended = shop.goes_back_to("v1.2.3")
    assert ended["spec"]["severity"] == "P1"
    assert ended["spec"]["trigger"]["reason"] == "TrafficLost"
    assert "were expected" in ended["spec"]["trigger"]["message"]


@pytest.mark.extended
def test_a_release_whose_port_has_another_name_is_undone(shop: Shop) -> None:
    shop.opens("v1.2.3")
    shop.is_reached_by_port_name("http")
    shop.has_a_past()

    shop.releases_with_port_name("v1.4.0", "web")

    ended = shop.goes_back_to("v1.2.3")
    assert ended["spec"]["severity"] == "P1"
    trigger = ended["spec"]["trigger"]
    assert trigger["reason"] == "TrafficLost"
    assert "Service ticket-service selects no ready pod: the release's pods" in trigger["message"]


@pytest.mark.extended
def test_a_release_without_traffic_is_judged_only_with_enough_of_a_past(shop: Shop) -> None:
    shop.opens("v1.2.3", safety=QUICKLY_GOOD)
    shop.has_served(20)

    shop.releases("v1.3.5")
    shop.has_rolled_out()

    verdicts = shop.is_left_alone("v1.3.5", seconds=50)
    assert "Healthy" not in verdicts
    assert shop.verdict() == "NoVerdict"
    assert shop.condition("Healthy")["status"] != "True"


def test_a_good_release_is_the_one_to_go_back_to(make_shop: MakeShop) -> None:
    shop = make_shop(replicas=3)
    shop.opens("v1.2.3", safety=QUICKLY_GOOD, matrix=ERRORS_ONLY)
    shop.becomes_good("v1.2.3")

    shop.releases("v1.4.0")
    shop.has_rolled_out()
    shop.becomes_good("v1.4.0")

    assert shop.errors() == []
    assert shop.service.rollbacks() == []

    shop.has_a_past()
    shop.releases("v1.3.0")

    shop.goes_back_to("v1.4.0")


@pytest.mark.extended
def test_a_change_of_scale_is_no_release(shop: Shop) -> None:
    shop.opens("v1.2.3")
    since = shop.watched_since()

    shop.service.scale(3)
    shop.has_rolled_out()

    shop.is_left_alone("v1.2.3", seconds=10)
    assert shop.watched_since() == since


@pytest.mark.extended
def test_a_policy_that_observes_records_and_touches_nothing(shop: Shop) -> None:
    shop.serves_after("v1.2.3", mode="Observe")

    shop.releases("v1.3.0")
    shop.has_rolled_out()
    generation = shop.service.deployment()["metadata"]["generation"]

    ended = shop.is_over()
    assert ended["status"]["outcome"] == "Observed"
    assert ended["status"].get("steps", []) == []
    shop.runs("v1.3.0")
    assert shop.service.deployment()["metadata"]["generation"] == generation
    assert len(shop.service.rollbacks()) == 1


@pytest.mark.extended
def test_an_image_is_pinned_where_the_policy_wants_that(shop: Shop) -> None:
    image = "localhost/ticket-service:v1.2.3"
    remedy = {"type": "PinImage", "container": "ticket-service", "image": image}
    shop.serves_after("v1.2.3", remedies=[remedy])

    shop.releases("v1.3.0")

    ended = shop.goes_back_to("v1.2.3")
    assert ended["spec"]["remedy"]["type"] == "PinImage"
    assert ended["status"]["steps"][0]["name"] == "PinImage"
