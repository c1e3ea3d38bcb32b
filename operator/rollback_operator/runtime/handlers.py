"""kopf's watches -> what takes their events in. No decision; handlers return None.

`on.event` only: it is stateless, puts no finalizer and no annotation on anything, and the queue
owns retries.
"""

from collections.abc import Callable
from typing import Any

import kopf

from rollback_operator.api.v1alpha1 import GROUP, VERSION, Rollback, RollbackPolicy
from rollback_operator.reconcile.cache import DEPLOYMENTS_PLURAL
from rollback_operator.runtime.intake import Intake

DELETED = "DELETED"
WATCH_SECONDS = 20
"""After this the API server ends a watch, and tells before how far it has come."""
IDLE_WORKER_SECONDS = 0.1
SILENT_SECONDS = 25.0
"""A watch that has told nothing for so long has been lost on the way: it is begun anew."""


def configure(settings: kopf.OperatorSettings) -> None:
    """Set all of kopf's behaviour, in one place."""
    settings.peering.standalone = True  # our own Lease elects the leader
    settings.scanning.disabled = True  # the kinds are known: no right on CRDs or namespaces needed
    settings.posting.enabled = False  # events are posted by the store, on transitions
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 5
    settings.watching.chunk_size = 500
    # A worker keeps the last object that it was given until it ends; each of them has one.
    settings.queueing.idle_timeout = IDLE_WORKER_SECONDS
    settings.watching.server_timeout = WATCH_SECONDS
    settings.watching.inactivity_timeout = SILENT_SECONDS
    settings.persistence.finalizer = f"{GROUP}/finalizer"
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=GROUP)
    settings.persistence.diffbase_storage = kopf.AnnotationsDiffBaseStorage(
        prefix=GROUP, key="last-handled"
    )


def register(registry: kopf.OperatorRegistry, intake: Intake, saw: Callable[[str], None]) -> None:
    """Register the three watches.

    Args:
        registry: kopf's, made for this operator.
        intake: takes in what is seen.
        saw: told the uid at every event, for readiness.
    """

    def take(plural: str, event: Any) -> None:
        raw = dict(event["object"])
        saw(raw["metadata"]["uid"])
        if event["type"] == DELETED:
            intake.drop(plural, (raw["metadata"]["namespace"], raw["metadata"]["name"]))
        else:
            intake.take(plural, raw)

    @kopf.on.event(GROUP, VERSION, RollbackPolicy.PLURAL, registry=registry)
    async def on_policy(event: Any, **_: Any) -> None:
        take(RollbackPolicy.PLURAL, event)

    @kopf.on.event(GROUP, VERSION, Rollback.PLURAL, registry=registry)
    async def on_rollback(event: Any, **_: Any) -> None:
        take(Rollback.PLURAL, event)

    @kopf.on.event("apps", "v1", DEPLOYMENTS_PLURAL, registry=registry)
    async def on_deployment(event: Any, **_: Any) -> None:
        take(DEPLOYMENTS_PLURAL, event)
