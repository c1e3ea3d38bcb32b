"""What is seen of policies, Rollbacks and Deployments -> the cache, and a key on the queue.

Whoever has seen it: a watch, or a list that was made because watches may fall silent.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rollback_operator.adapters.kube import paths
from rollback_operator.adapters.kube.apiserver import ApiServer
from rollback_operator.adapters.kube.paths import only_one
from rollback_operator.api.v1alpha1 import Rollback, RollbackPolicy
from rollback_operator.ports.failure import Failure
from rollback_operator.reconcile.cache import DEPLOYMENTS_PLURAL, Cache, Key, ObjectVersion

_log = logging.getLogger(__name__)
WATCHED: Mapping[str, paths.ResourceKind] = {
    RollbackPolicy.PLURAL: paths.POLICIES,
    Rollback.PLURAL: paths.ROLLBACKS,
    DEPLOYMENTS_PLURAL: paths.DEPLOYMENTS,
}
"""The kinds that are taken in, by plural."""
STATUS_SECONDS = 0.3


def path_of(plural: str, namespace: str) -> paths.ApiPath:
    """Give the path of a kind's list; empty namespace: of all."""
    return paths.in_namespace_or_all(WATCHED[plural], namespace)


@dataclass(frozen=True, slots=True)
class Intake:
    """Takes objects in, as the API server shows them."""

    cache: Cache
    want: Callable[[Key, float], None]
    """Puts a policy's key on the queue, due after some seconds."""

    def look_at_all(self) -> None:
        """Have every policy looked at: something that bears on all of them has changed."""
        for key in self.cache.policies:
            self.want(key, 0.0)

    def take(self, plural: str, raw: dict[str, Any]) -> None:
        """Take in an object that is there."""
        match plural:
            case RollbackPolicy.PLURAL:
                self._take_policy(raw)
            case Rollback.PLURAL:
                self._take_rollback(raw)
            case _:
                key, is_release = self.cache.put_deployment(raw)
                # A rollout's status moves several times a second; only a template is looked at at
                # once.
                self._want_all(key, 0.0 if is_release else STATUS_SECONDS)

    def drop(self, plural: str, key: Key) -> None:
        """Forget an object that is gone."""
        match plural:
            case RollbackPolicy.PLURAL:
                others = _rivals(self.cache, key)
                self.cache.drop_policy(key)
                for one in (key, *others):
                    self.want(one, 0.0)
            case Rollback.PLURAL:
                self.cache.drop_rollback(key)
            case _:
                self.cache.drop_deployment(key)
                self._want_all(key, 0.0)

    def _take_policy(self, raw: dict[str, Any]) -> None:
        """Take in a policy; who is on a target that it leaves or takes looks as well.

        So does who is younger on its own: it learns what this one knows.
        """
        metadata = raw["metadata"]
        key = metadata["namespace"], metadata["name"]
        is_known = key in self.cache.policies
        before = _target(self.cache, key), _rivals(self.cache, key)
        self.want(self.cache.put_policy(raw), 0.0)
        after = _target(self.cache, key), _rivals(self.cache, key)
        looking = _younger(self.cache, key)
        if is_known and before[0] != after[0]:
            looking = [*before[1], *after[1], *looking]
        for one in dict.fromkeys(looking):
            self.want(one, 0.0)

    def _take_rollback(self, raw: dict[str, Any]) -> None:
        key = self.cache.put_rollback(raw)
        known = self.cache.rollbacks.get(key) or self.cache.requests.get(key)
        if known is not None:
            self.want((known.metadata.namespace, known.spec.policy_ref.name), 0.0)

    def _want_all(self, deployment: Key, delay: float) -> None:
        for policy in self.cache.policies_on(*deployment):
            self.want(policy.key, delay)


@dataclass(frozen=True, slots=True)
class Refresher:
    """Reads one object as it is by now: what is known of it may be old, whatever the watches do."""

    api: ApiServer
    intake: Intake

    async def refresh(self, plural: str, key: Key) -> Failure | None:
        """Take an object in as it is, or that it is gone.

        Read by a list of one, for which the right to watch is enough.
        """
        cache, (namespace, name) = self.intake.cache, key
        before = cache.version(plural, key)
        found = await self.api.get(path_of(plural, namespace), **only_one(name))
        if isinstance(found, Failure):
            _log.info("%s %s/%s: not read: %s", plural, namespace, name, found.message)
            return found
        items = found.get("items") or ()
        for one in items:
            metadata = one["metadata"]
            seen = ObjectVersion(metadata["uid"], str(metadata.get("resourceVersion", "")))
            if cache.version(plural, key) != seen:
                self.intake.take(plural, one)
        # What has been made anew since is not what was found to be gone.
        if not items and before is not None and cache.version(plural, key) == before:
            self.intake.drop(plural, key)
        return None


def _target(cache: Cache, key: Key) -> str:
    """Name the Deployment that a policy watches; empty: none that is known."""
    known = cache.policies.get(key)
    return known.spec.target_ref.name if isinstance(known, RollbackPolicy) else ""


def _rivals(cache: Cache, key: Key) -> list[Key]:
    """Name the younger policies on the same target: one of them takes over."""
    known = cache.policies.get(key)
    if not isinstance(known, RollbackPolicy):
        return []
    return [
        one.key for one in cache.policies_on(key[0], known.spec.target_ref.name) if one.key != key
    ]


def _younger(cache: Cache, key: Key) -> list[Key]:
    """Name the policies on the same target that stand back for a policy."""
    known = cache.policies.get(key)
    if not isinstance(known, RollbackPolicy):
        return []
    keys = [one.key for one in cache.policies_on(key[0], known.spec.target_ref.name)]
    return keys[keys.index(key) + 1 :]
