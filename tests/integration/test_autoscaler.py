"""A Scale where an autoscaler sets the replicas: through its bounds, which are put back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from rollback_operator.remedies.autoscaling import RESTORE
from tests.integration.api import Object, eventually, rollbacks, throughout
from tests.integration.conftest import RunningOperator
from tests.integration.service import Service, outcome
from tests.integration.test_refusals import refused
from tests.integration.traffic import BAD, GOOD

pytestmark = [pytest.mark.xdist_group("autoscaler"), pytest.mark.usefixtures("operator")]

MakeService = Callable[..., Service]
REMEDY = {"type": "Scale", "replicas": 6}
FOLLOW_SECONDS = 90.0
"""The controller looks at an autoscaler every 15 seconds."""


def autoscalers(service: Service) -> str:
    return f"/apis/autoscaling/v2/namespaces/{service.namespace}/horizontalpodautoscalers"


def autoscale(service: Service, least: int, most: int, **metadata: Any) -> None:
    """Make a HorizontalPodAutoscaler for the service's Deployment."""
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": service.name}
    body = {
        "metadata": {"name": "shop-hpa", **metadata},
        "spec": {"scaleTargetRef": reference, "minReplicas": least, "maxReplicas": most},
    }
    service.stand.api.create(autoscalers(service), body)


def bounds(service: Service) -> tuple[int, int]:
    spec = service.stand.api.get(f"{autoscalers(service)}/shop-hpa")["spec"]
    return spec["minReplicas"], spec["maxReplicas"]


def replicas(service: Service) -> int:
    return int(service.deployment()["spec"]["replicas"])


def condition(rollback: Object) -> tuple[str, str, str]:
    """Give how it is with the bounds that a Rollback has raised."""
    found = next(
        (one for one in rollback["status"]["conditions"] if one["type"] == "BoundsRaised"), {}
    )
    return str(found.get("status")), str(found.get("reason")), str(found.get("message"))


def ask_to_put_back(service: Service, rollback: Object) -> None:
    """Do what `kubectl rollback resume` does."""
    path = f"{rollbacks(service.namespace)}/{rollback['metadata']['name']}"
    service.stand.api.merge(path, {"metadata": {"annotations": {RESTORE: "requested"}}})


def wait_until_settled(service: Service, seconds: float = 60.0) -> tuple[str, str, str]:
    def probe() -> tuple[str, str, str] | None:
        found = condition(service.rollbacks()[-1])
        return found if found[0] == "False" else None

    return eventually(probe, f"{service.namespace}: the bounds are settled", seconds)


def scaled(service: Service, **spec: Any) -> Object:
    """Have a bad release of which more replicas cure: the Rollback, verified."""
    service.prepare(remedies=[REMEDY], **spec)
    autoscale(service, 2, 5)
    service.roll_out("v2", BAD)
    eventually(lambda: replicas(service) == 6, "the autoscaler follows", FOLLOW_SECONDS)
    service.flow("v2", GOOD)
    ended = service.wait_for_rollback(120)
    assert outcome(ended) == ("Verified", "Recovered"), service.told()
    return ended


@pytest.mark.extended
def test_replicas_are_raised_through_the_bounds_and_the_bounds_are_put_back(
    service: Service, operator: RunningOperator
) -> None:
    ended = scaled(service, safety={"watchSeconds": 60, "goodAfterSeconds": 60})

    assert bounds(service) == (6, 6)
    assert condition(ended)[:2] == ("True", "RaisedForRollback")
    assert ended["status"]["autoscaler"] == {
        "minReplicas": 2,
        "maxReplicas": 5,
        "raisedMinReplicas": 6,
        "raisedMaxReplicas": 6,
        "restoreMessage": "",
    }
    item = next(one for one in ended["status"]["checklist"] if one["name"] == "NobodyElseSteers")
    assert "shop-hpa gets 6 to 6 replicas instead of 2 to 5 replicas" in item["message"]
    # spec.replicas is the autoscaler's to set, and the release is the one that was pushed.
    assert operator.proxy.acts_on_deployments(service.namespace) == []
    assert service.image == "v2"

    assert wait_until_settled(service, 120)[1] == "BoundsRestored"
    assert bounds(service) == (2, 5)
    eventually(lambda: replicas(service) == 5, "the autoscaler follows", FOLLOW_SECONDS)
    assert operator.proxy.acts_on_deployments(service.namespace) == []
    told = [one.partition(":")[0] for one in service.events()]
    assert [one for one in told if one.startswith("Bounds")] == ["BoundsRaised", "BoundsRestored"]


@pytest.mark.extended
def test_bounds_that_somebody_else_has_set_since_are_left_alone(service: Service) -> None:
    ended = scaled(service)
    path = f"{autoscalers(service)}/shop-hpa"
    service.stand.api.merge(path, {"spec": {"minReplicas": 4, "maxReplicas": 12}})

    ask_to_put_back(service, ended)

    status, reason, said = wait_until_settled(service)
    assert (status, reason) == ("False", "BoundsChanged")
    assert "set 4 to 12 replicas since: the bounds stay unchanged" in said
    assert said in service.wait_for_event("BoundsLeft")
    throughout(3.0, lambda: bounds(service) != (4, 12))


def test_an_autoscaler_that_keda_steers_is_refused(
    service: Service, operator: RunningOperator
) -> None:
    service.prepare(remedies=[REMEDY])
    autoscale(service, 2, 5, labels={"scaledobject.keda.sh/name": "shop"})

    service.roll_out("v2", BAD)

    assert "shop-hpa is managed by KEDA's ScaledObject shop" in refused(service, "AutoscalerOwned")
    assert operator.proxy.acts_on_deployments(service.namespace) == []
    assert bounds(service) == (2, 5)
    assert service.rollbacks() == []
