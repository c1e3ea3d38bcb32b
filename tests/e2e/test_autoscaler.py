"""A shop that an autoscaler scales, by the CPU that its pods really take."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from lab import session
from lab.session import Session
from lab.tickets import wait_for
from tests.e2e.shop import Shop

NAME = "ticket-service"
FIGURES_SECONDS = 120
FOLLOW_SECONDS = 90
"""The controller looks at an autoscaler every 15 seconds."""


@pytest.fixture(scope="module")
def lab_with_metrics(lab: Session) -> Session:
    lab.start_metrics_server()
    return lab


@pytest.fixture
def scaled_shop(lab_with_metrics: Session, shop: Shop) -> Shop:
    """A shop of which the autoscaler wants three pods, where its Deployment was made with two."""
    shop.opens()
    # So many that load alone never raises it: then each change of replicas has been somebody's.
    shop.service.kubectl(
        "autoscale", f"deployment/{NAME}", "--min=3", "--max=4", "--cpu-percent=1000"
    )
    wait_for("the autoscaler's pods", FOLLOW_SECONDS, lambda: replicas(shop) == 3)
    measured(shop)
    shop.has_rolled_out()
    return shop


def autoscaler(shop: Shop) -> dict[str, Any]:
    return dict(json.loads(shop.service.kubectl("get", "hpa", NAME, "-o", "json")))


def bounds(shop: Shop) -> tuple[int, int]:
    spec = autoscaler(shop)["spec"]
    return spec["minReplicas"], spec["maxReplicas"]


def percent(shop: Shop) -> int | None:
    """What `kubectl get hpa` shows of the pods' CPU, in percent of their requests."""
    shown = shop.service.kubectl("get", "hpa", NAME, "--no-headers").split()
    figure = next(one for one in shown if "/1000%" in one).partition("%")[0]
    return int(figure) if figure.isdecimal() else None


def measured(shop: Shop) -> None:
    """The autoscaler has figures of the pods that run; of new ones it takes some readings."""
    wait_for("the pods' CPU", FIGURES_SECONDS, lambda: percent(shop) is not None)


def replicas(shop: Shop) -> int:
    return int(shop.service.deployment()["spec"]["replicas"])


def plugin(shop: Shop, *words: str) -> str:
    """Run `kubectl rollback` as the administrator."""
    argv = ["kubectl", "rollback", *words, "-n", shop.namespace]
    argv, environment = session.command_in(shop.lab, argv)
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_bad_release_is_undone_and_the_replicas_stay_the_autoscalers(scaled_shop: Shop) -> None:
    shop = scaled_shop
    shop.has_a_past()

    shop.releases("v1.3.0")

    ended = shop.goes_back_to("v1.2.3")
    item = next(one for one in ended["status"]["checklist"] if one["name"] == "NobodyElseSteers")
    assert item["result"] in ("Passed", "Warned")
    assert (replicas(shop), bounds(shop)) == (3, (3, 4))
    assert "autoscaler" not in ended["status"]
    measured(shop)


@pytest.mark.extended
def test_more_replicas_come_through_the_autoscalers_bounds_which_are_put_back(
    scaled_shop: Shop,
) -> None:
    shop = scaled_shop

    told = plugin(shop, "undo", "--replicas=5", "--reason", "a queue forms", "--wait")

    assert "Verified" in told, told
    assert (replicas(shop), bounds(shop)) == (5, (5, 5))
    (made,) = shop.service.rollbacks()
    record = made["status"]["autoscaler"]
    assert (record["minReplicas"], record["maxReplicas"]) == (3, 4)
    # The autoscaler has done it, and goes on by what it measures.
    managers = {
        one["manager"]
        for one in shop.service.deployment()["metadata"]["managedFields"]
        if "f:replicas" in one.get("fieldsV1", {}).get("f:spec", {})
    }
    assert "rollback-operator" not in managers
    measured(shop)

    assert "restores the autoscaler bounds" in plugin(shop, "resume")

    assert "3 to 4 replicas as before" in shop.tells("BoundsRestored")
    assert bounds(shop) == (3, 4)
    # To the upper bound at once, and on to the lower one at its next look, 15 seconds later.
    wait_for("the autoscaler's pods", FOLLOW_SECONDS, lambda: replicas(shop) in (3, 4))
