"""Rollouts that do not come to an end, and releases that follow on each other's heels."""

from __future__ import annotations

import pytest

from lab.session import Session
from lab.weakness import Weakness
from tests.e2e.conftest import MakeShop
from tests.e2e.shop import Shop

WARM_SECONDS = 25
QUICKLY_STUCK = {"stuckAfterSeconds": 20}


@pytest.fixture
def shop_of_four(make_shop: MakeShop) -> Shop:
    return make_shop(replicas=4)


@pytest.mark.extended
def test_a_release_that_never_becomes_ready_is_undone(shop: Shop) -> None:
    shop.opens("v1.2.3", safety={"stuckAfterSeconds": 20})
    shop.has_served(10)

    shop.releases("v1.3.4")

    ended = shop.goes_back_to("v1.2.3")
    assert ended["spec"]["severity"] == "P2"
    assert ended["spec"]["trigger"]["reason"] == "StuckRollout"
    assert shop.errors() == []


@pytest.mark.extended
def test_a_rollout_paused_on_suspicion_is_resumed(lab: Session, shop_of_four: Shop) -> None:
    shop = shop_of_four
    shop.opens("v1.2.3", rate=25, safety={"suspectOdds": 10})
    shop.changes_pace(seconds=60)
    purchases = Weakness(lab.database_url, shop.namespace, "purchases")
    shop.has_a_past()

    address = f"{lab.database_url_in_cluster}?application_name=fresh"
    shop.service.release_with("v1.4.0", {"DATABASE_URL": address})
    # A fault that comes and goes with a pod's first seconds is taken for its warm-up.
    shop.pods_have_served("v1.4.0", WARM_SECONDS)
    # Fewer errors than prove anything, on the new pods alone.
    purchases.fails_first(9, application="fresh")

    shop.is_held("Suspicion")
    assert shop.condition("RolloutHeld")["status"] == "True"
    shop.is_let_go("SuspicionFaded")
    shop.has_rolled_out()
    shop.is_whole()
    assert shop.service.rollbacks() == []
    assert shop.service.image() == "v1.4.0"
    shop.sells()


def test_a_release_that_is_killed_again_and_again_is_undone(make_shop: MakeShop) -> None:
    shop = make_shop(replicas=2, LEAK_MIB_PER_SECOND="40")
    shop.opens("v1.2.3")
    shop.has_served(20)

    shop.releases("v1.3.3")

    ended = shop.goes_back_to("v1.2.3")
    assert ended["spec"]["trigger"]["reason"] in ("SymptomFound", "StuckRollout", "Unavailable")


@pytest.mark.extended
def test_two_bad_releases_in_a_row_end_on_the_good_one(shop: Shop) -> None:
    shop.serves_after("v1.2.3", rate=25)

    shop.releases("v1.3.0")
    shop.releases("v1.3.1")

    shop.is_over_with("v1.3.1")
    aims = [one["spec"]["toRevision"]["images"] for one in shop.service.rollbacks()]
    assert all(images == ["localhost/ticket-service:v1.2.3"] for images in aims)
    shop.runs("v1.2.3")
    shop.sells()


@pytest.mark.extended
def test_a_release_that_comes_during_a_rollback_stays(shop: Shop) -> None:
    shop.serves_after("v1.2.3")
    shop.releases("v1.3.0")
    shop.begins_to_go_back()

    shop.releases("v1.4.0")

    ended = shop.is_over()
    assert ended["status"]["outcome"] == "Abandoned"
    assert ended["status"]["conditions"][0]["reason"] == "TargetMoved"
    shop.has_rolled_out()
    shop.runs("v1.4.0")
    shop.customers_return()
    shop.sells()
    assert len(shop.service.rollbacks()) == 1


@pytest.mark.extended
def test_a_release_that_finds_no_node_is_no_bad_one(shop: Shop) -> None:
    shop.serves_after("v1.2.3", safety=QUICKLY_STUCK)

    shop.changes_template({"spec": {"nodeSelector": {"no-node": "has-this"}}})

    shop.is_left_alone("v1.2.3", seconds=40)
    assert shop.verdict() == "NoVerdict"
    assert shop.condition("Healthy")["reason"] == "EnvironmentPreventsPods"
    assert "cannot be scheduled" in shop.condition("Healthy")["message"]


@pytest.mark.extended
def test_a_release_whose_registry_does_not_answer_is_no_bad_one(shop: Shop) -> None:
    shop.serves_after("v1.2.3", safety=QUICKLY_STUCK)

    image = "127.0.0.1:9/ticket-service:v1.4.0"
    containers = [{"name": "ticket-service", "image": image, "imagePullPolicy": "Always"}]
    shop.changes_template({"spec": {"containers": containers}})

    shop.is_left_alone("v1.4.0", seconds=40)
    assert shop.verdict() == "NoVerdict"
    assert shop.condition("Healthy")["reason"] == "EnvironmentPreventsPods"
    assert "image cannot be pulled" in shop.condition("Healthy")["message"]
