"""kopf's watches -> the cache, and a key on the queue. No decision; handlers return None.

`on.event` only: it is stateless, puts no finalizer and no annotation on anything, and the queue
owns retries.
"""

from collections.abc import Callable
from typing import Any

import kopf

from rollback_operator.api.v1alpha1 import GROUP, VERSION, Rollback, RollbackPolicy
from rollback_operator.cache import Cache, Key

DELETED = "DELETED"
STATUS_SECONDS = 0.3


def configure(settings: kopf.OperatorSettings) -> None:
    """Set all of kopf's behaviour, in one place."""
    settings.peering.standalone = True  # our own Lease elects the leader
    settings.scanning.disabled = True  # the kinds are known: no right on CRDs or namespaces needed
    settings.posting.enabled = False  # events are posted by the store, on transitions
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 5
    settings.watching.chunk_size = 500
    settings.persistence.finalizer = f"{GROUP}/finalizer"
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=GROUP)
    settings.persistence.diffbase_storage = kopf.AnnotationsDiffBaseStorage(
        prefix=GROUP, key="last-handled"
    )


def register(
    registry: kopf.OperatorRegistry,
    cache: Cache,
    want: Callable[[Key, float], None],
    saw: Callable[[str], None],
) -> None:
    """Register the three watches.

    Args:
        registry: kopf's, made for this operator.
        cache: takes in what is seen.
        want: puts a policy's key on the queue, due after some seconds.
        saw: told the uid at every event, for readiness.
    """

    @kopf.on.event(GROUP, VERSION, RollbackPolicy.PLURAL, registry=registry)
    async def on_policy(event: Any, **_: Any) -> None:
        raw = dict(event["object"])
        saw(raw["metadata"]["uid"])
        if event["type"] == DELETED:
            key = raw["metadata"]["namespace"], raw["metadata"]["name"]
            others = _rivals(cache, key)
            cache.drop_policy(key)
            for one in (key, *others):
                want(one, 0.0)
            return
        want(cache.put_policy(raw), 0.0)

    @kopf.on.event(GROUP, VERSION, Rollback.PLURAL, registry=registry)
    async def on_rollback(event: Any, **_: Any) -> None:
        raw = dict(event["object"])
        saw(raw["metadata"]["uid"])
        if event["type"] == DELETED:
            cache.drop_rollback((raw["metadata"]["namespace"], raw["metadata"]["name"]))
            return
        key = cache.put_rollback(raw)
        known = cache.rollbacks.get(key) or cache.requests.get(key)
        if known is not None:
            want((known.metadata.namespace, known.spec.policy_ref.name), 0.0)

    @kopf.on.event("apps", "v1", "deployments", registry=registry)
    async def on_deployment(event: Any, **_: Any) -> None:
        raw = dict(event["object"])
        saw(raw["metadata"]["uid"])
        if event["type"] == DELETED:
            key = raw["metadata"]["namespace"], raw["metadata"]["name"]
            cache.deployments.pop(key, None)
            delay = 0.0
        else:
            key, is_release = cache.put_deployment(raw)
            # A rollout's status moves several times a second; only a template is looked at at once.
            delay = 0.0 if is_release else STATUS_SECONDS
        for policy in cache.policies_on(*key):
            want(policy.key, delay)


def _rivals(cache: Cache, key: Key) -> list[Key]:
    """Name the younger policies on the same target: one of them takes over."""
    known = cache.policies.get(key)
    if not isinstance(known, RollbackPolicy):
        return []
    return [
        one.key for one in cache.policies_on(key[0], known.spec.target_ref.name) if one.key != key
    ]
