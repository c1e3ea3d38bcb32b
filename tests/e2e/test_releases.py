"""Releases of the ticket service, each broken in its own way or not at all."""

from __future__ import annotations

from tests.e2e.conftest import MakeShop
from tests.e2e.shop import Shop

QUICKLY_GOOD = {"goodAfterSeconds": 15}


def test_a_release_that_fails_every_purchase_is_undone(shop: Shop) -> None:
    shop.serves_after("v1.2.3")

    shop.releases("v1.3.0")

    ended = shop.goes_back_to("v1.2.3")
    assert ended["spec"]["severity"] == "P1"
    assert ended["spec"]["pace"] == "Express"
    assert ended["spec"]["trigger"]["errors"] > 0
    assert ended["spec"]["trigger"]["controlErrors"] == 0


def test_a_release_that_fails_a_fifth_is_undone(shop: Shop) -> None:
    shop.serves_after("v1.2.3", rate=25)

    shop.releases("v1.3.1")

    ended = shop.goes_back_to("v1.2.3")
    assert ended["spec"]["severity"] == "P2"
    assert ended["spec"]["pace"] == "Normal"


def test_a_slow_release_is_left_alone(shop: Shop) -> None:
    shop.serves_after("v1.2.3")

    shop.releases("v1.3.2")
    shop.has_rolled_out()

    verdicts = shop.is_left_alone("v1.3.2", seconds=40)
    assert verdicts.isdisjoint({"Bad", "Suspect"})


def test_a_release_without_requests_is_never_healthy(shop: Shop) -> None:
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
    shop.opens("v1.2.3", safety=QUICKLY_GOOD)
    shop.becomes_good("v1.2.3")

    shop.releases("v1.4.0")
    shop.has_rolled_out()
    shop.becomes_good("v1.4.0")

    assert shop.failures() == []
    assert shop.service.rollbacks() == []

    shop.has_served()
    shop.releases("v1.3.0")

    shop.goes_back_to("v1.4.0")


def test_a_change_of_scale_is_no_release(shop: Shop) -> None:
    shop.opens("v1.2.3")
    since = shop.watched_since()

    shop.service.scale(3)
    shop.has_rolled_out()

    shop.is_left_alone("v1.2.3", seconds=10)
    assert shop.watched_since() == since


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


def test_an_image_is_pinned_where_the_policy_wants_that(shop: Shop) -> None:
    image = "localhost/ticket-service:v1.2.3"
    remedy = {"type": "PinImage", "container": "ticket-service", "image": image}
    shop.serves_after("v1.2.3", remedies=[remedy])

    shop.releases("v1.3.0")

    ended = shop.goes_back_to("v1.2.3")
    assert ended["spec"]["remedy"]["type"] == "PinImage"
    assert ended["status"]["steps"][0]["name"] == "PinImage"
