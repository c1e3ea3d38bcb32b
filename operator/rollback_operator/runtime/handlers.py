"""The edge to kopf: its settings, its login, and its watches -> `intake`. Handlers return None.

Only `on.event` is used: it is stateless and puts no finalizer and no annotation on any object. The
queue owns retries.
"""

import os
from datetime import datetime, timedelta
from typing import Any

import aiohttp
import kopf

from rollback_operator.adapters.kube.response_budget import ResponseBudget
from rollback_operator.adapters.kube.watches import Bounded, ReadLimits
from rollback_operator.api.v1alpha1 import GROUP, VERSION, Rollback, RollbackPolicy
from rollback_operator.reconcile.cache import DEPLOYMENTS_PLURAL
from rollback_operator.runtime.bootstrap import utc_now
from rollback_operator.runtime.intake import Intake

DELETED = "DELETED"
WATCH_SECONDS = 20
"""Lifetime of a watch: then the API server ends it, after a bookmark that states how far it got."""
IDLE_WORKER_SECONDS = 0.1
SILENT_SECONDS = 25.0
"""A watch that has delivered nothing for this long is half-open, and is started again."""
LOGIN_MINUTES = 10


def configure(settings: kopf.OperatorSettings) -> None:
    """Set all of kopf's behaviour, in one place."""
    settings.peering.standalone = True  # our own Lease elects the leader
    settings.scanning.disabled = True  # the kinds are known: no right on CRDs or namespaces needed
    settings.posting.enabled = False  # the store posts Events, on transitions
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 5
    settings.watching.chunk_size = 500
    # There is a worker per object, and it keeps the last version of the object until it ends.
    settings.queueing.idle_timeout = IDLE_WORKER_SECONDS
    settings.watching.server_timeout = WATCH_SECONDS
    settings.watching.inactivity_timeout = SILENT_SECONDS
    settings.persistence.finalizer = f"{GROUP}/finalizer"
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=GROUP)
    settings.persistence.diffbase_storage = kopf.AnnotationsDiffBaseStorage(
        prefix=GROUP, key="last-handled"
    )


def register(registry: kopf.OperatorRegistry, intake: Intake) -> None:
    """Register the three watches."""

    def take(plural: str, event: Any) -> None:
        raw = dict(event["object"])
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


def register_login(
    registry: kopf.OperatorRegistry, kubeconfig: str | None, budget: ResponseBudget
) -> None:
    """Register how kopf logs in, and that it reads answers within the memory budget."""

    @kopf.on.login(registry=registry)
    async def login(**options: Any) -> kopf.AiohttpSession | None:
        if kubeconfig is not None:
            os.environ["KUBECONFIG"] = kubeconfig  # kopf takes the file from nowhere else
            known = kopf.login_with_kubeconfig(**options)
            return None if known is None else _bounded(known, known.expiration, budget)
        known = kopf.login_with_service_account(**options)
        # A service account's token is rotated: log in again well before it expires.
        expiration = utc_now() + timedelta(minutes=LOGIN_MINUTES)
        return None if known is None else _bounded(known, expiration, budget)


def _bounded(
    known: kopf.ConnectionInfo, expiration: datetime | None, budget: ResponseBudget
) -> kopf.AiohttpSession:
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ssl=known.as_ssl_context()),
        headers=known.as_http_headers(),
        proxy=known.proxy_url,
        trust_env=known.trust_env,
        response_class=Bounded,
        middlewares=(ReadLimits(budget),),
    )
    return kopf.AiohttpSession(
        server=known.server,
        priority=known.priority,
        default_namespace=known.default_namespace,
        expiration=expiration,
        aiohttp_session=session,
    )
