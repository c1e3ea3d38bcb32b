"""A rollout that is held: what the policy and the Deployment show of it."""

from __future__ import annotations

from tests.integration.api import Object, eventually
from tests.integration.service import Service
from tests.integration.traffic import Flow

FINALIZER = "rollback.tickettoken.io/held-rollout"
STAGED = {"stage": {"maxSeconds": 120}}
BATCH_SECONDS = 3
"""Pods count as available so late that a rollout takes its time, pod by pod, as real ones do."""
STANDSTILL_SECONDS = 90
"""... or so late that it stands half-way by itself."""


def hold(service: Service) -> Object:
    found: Object = service.status().get("hold") or {}
    return found


def is_paused(service: Service) -> bool:
    return bool(service.deployment()["spec"].get("paused"))


def finalizers(service: Service) -> list[str]:
    found: list[str] = service.policy()["metadata"].get("finalizers", [])
    return found


def wait_until_held(service: Service, reason: str) -> Object:
    """Wait until the Deployment is paused, and the hold is noted as done."""

    def probe() -> Object | None:
        found = hold(service)
        return found if found.get("pausedTime") and is_paused(service) else None

    try:
        found = eventually(probe, f"{service.namespace} is held", 60.0)
    except AssertionError as error:
        raise AssertionError(f"{error}; {service.told()}") from error
    assert found["reason"] == reason
    assert FINALIZER in finalizers(service)
    return found


def wait_until_let_go(service: Service, reason: str, seconds: float = 90.0) -> None:
    def probe() -> bool:
        is_left = is_paused(service) or FINALIZER in finalizers(service)
        return not is_left and hold(service).get("releaseReason") == reason

    said = f"{service.namespace} is let go because of {reason}"
    try:
        eventually(probe, said, seconds)
    except AssertionError as error:
        raise AssertionError(f"{error}; {hold(service)}; {service.told()}") from error


def rolling(service: Service, version: str, flow: Flow) -> None:
    """Push a release whose rollout stands half-way by itself."""
    service.change(minReadySeconds=STANDSTILL_SECONDS)
    service.roll_out(version, flow)
