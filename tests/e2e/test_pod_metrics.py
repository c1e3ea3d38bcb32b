"""Evidence from the pods' own pages, on a node whose Prometheus scrapes them as well."""

from __future__ import annotations

import pytest

from tests.e2e.conftest import MakeShop
from tests.e2e.shop import Shop


@pytest.mark.extended
def test_a_bad_release_that_prometheus_never_scrapes_is_undone(shop: Shop) -> None:
    shop.serves_after("v1.2.3", rate=25)

    shop.releases_unscraped("v1.3.0")

    ended = shop.goes_back_to("v1.2.3")
    assert ended["spec"]["severity"] == "P1"
    assert ended["spec"]["trigger"]["errors"] > 0
    assert ended["spec"]["trigger"]["controlErrors"] == 0
    assert shop.scrapes_of(ended["spec"]["fromRevision"]) == {}
    assert shop.scrapes_of(ended["spec"]["toRevision"])


@pytest.mark.extended
def test_where_the_policy_wants_prometheus_alone_no_pod_is_read(shop: Shop) -> None:
    shop.opens("v1.2.3", podMetrics={"everyMilliseconds": 0})
    shop.has_served(15)

    told = shop.condition("PodMetricsAvailable")
    assert (told["status"], told["reason"]) == ("False", "PodMetricsDisabled")


@pytest.mark.extended
def test_pods_that_cannot_be_reached_are_left_to_prometheus(make_shop: MakeShop) -> None:
    shop = make_shop()
    shop.opens("v1.2.3", podMetrics={"port": 9})
    shop.has_served(20)

    told = shop.condition("PodMetricsAvailable")
    assert (told["status"], told["reason"]) == ("False", "PodsUnreachable")
    assert shop.condition("MetricsAvailable")["status"] == "True"
