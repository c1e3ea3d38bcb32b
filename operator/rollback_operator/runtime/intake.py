"""Objects as the API server shows them -> the cache, and policy keys on the queue.

They come from the watches of kopf, from a read of one object, and from a list once a minute. The
list is necessary because a broken watch looks like an idle watch, and a restarted watch does not
report deletions in between. kopf restarts a silent watch after some seconds (`handlers`); where an
intermediary keeps back the events of the next watch too, only the list shows a release.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rollback_operator.adapters.kube import paths
from rollback_operator.adapters.kube.apiserver import ApiServer, TooLarge
from rollback_operator.adapters.kube.projections.outlines import is_stub
from rollback_operator.api.v1alpha1 import Rollback, RollbackPolicy
from rollback_operator.ports.failure import Failure
from rollback_operator.reconcile.cache import (
    DEPLOYMENTS_PLURAL,
    Cache,
    Key,
    ObjectVersion,
    version_of,
)

_log = logging.getLogger(__name__)
WATCHED: Mapping[str, paths.ResourceKind] = {
    RollbackPolicy.PLURAL: paths.POLICIES,
    Rollback.PLURAL: paths.ROLLBACKS,
    DEPLOYMENTS_PLURAL: paths.DEPLOYMENTS,
}
"""The watched kinds, by plural."""
STATUS_SECONDS = 0.3
"""Delay of a pass after a change of a Deployment's status, which changes several times a second
during a rollout. A new template is evaluated without delay."""
RESYNC_SECONDS = 60.0


def path_of(plural: str, namespace: str) -> paths.ApiPath:
    """Return the path of a kind's list; an empty namespace means all namespaces."""
    return paths.in_namespace_or_all(WATCHED[plural], namespace)


@dataclass(slots=True)
class Intake:
    """Puts objects into the cache, and the policies that they concern on the queue."""

    cache: Cache
    want: Callable[[Key, float], None]
    """Puts a policy's key on the queue, due after some seconds."""
    delivered: set[str] | None = field(default_factory=set)
    """The uids of all objects so far, readable or not; None: the first lists are complete."""
    left_out: dict[tuple[str, Key], ObjectVersion] = field(default_factory=dict)
    """The objects that are too large to read, by plural and key."""

    def look_at_all(self) -> None:
        """Requeue every policy: a change concerns all of them."""
        for key in self.cache.policies:
            self.want(key, 0.0)

    def take(self, plural: str, raw: dict[str, Any]) -> None:
        """Take in an object that exists."""
        if self.delivered is not None:
            self.delivered.add(raw["metadata"]["uid"])
        key = raw["metadata"]["namespace"], raw["metadata"]["name"]
        self.left_out.pop((plural, key), None)
        match plural:
            case RollbackPolicy.PLURAL:
                self._take_policy(raw)
            case Rollback.PLURAL:
                self._take_rollback(raw)
            case _ if is_stub(raw):
                self.drop(plural, key)  # a policy reads its own
            case _:
                key, is_release = self.cache.put_deployment(raw)
                self._want_policies_of(key, 0.0 if is_release else STATUS_SECONDS)
        if is_stub(raw):
            self.left_out[plural, key] = version_of(raw["metadata"])

    def drop(self, plural: str, key: Key) -> None:
        """Forget an object that was deleted, or a Deployment that is too large to read."""
        self.left_out.pop((plural, key), None)
        match plural:
            case RollbackPolicy.PLURAL:
                others = [policy for policy in self._policies_beside(key) if policy != key]
                self.cache.drop_policy(key)
                for policy in (key, *others):
                    self.want(policy, 0.0)
            case Rollback.PLURAL:
                self.cache.drop_rollback(key)
            case _:
                self.cache.drop_deployment(key)
                self._want_policies_of(key, 0.0)

    def _take_policy(self, raw: dict[str, Any]) -> None:
        """Take in a policy, and requeue the policies whose precedence it may change.

        These are the younger policies on its target and, if the target changed, all policies on
        the old and on the new target.
        """
        metadata = raw["metadata"]
        key = metadata["namespace"], metadata["name"]
        is_known = key in self.cache.policies
        old_target, old_target_policies = self._target(key), self._policies_beside(key)
        self.want(self.cache.put_policy(raw), 0.0)
        policies = self._policies_beside(key)
        affected = policies[policies.index(key) + 1 :] if policies else []
        if is_known and old_target != self._target(key):
            affected = [*old_target_policies, *policies]
        for policy in dict.fromkeys(affected):
            if policy != key:
                self.want(policy, 0.0)

    def _take_rollback(self, raw: dict[str, Any]) -> None:
        metadata = raw["metadata"]
        key = metadata["namespace"], metadata["name"]
        before = self.cache.unreadable.get(key)
        self.cache.put_rollback(raw)
        known = self.cache.rollbacks.get(key) or self.cache.requests.get(key)
        unreadable = self.cache.unreadable.get(key)
        if known is not None:
            self.want((key[0], known.spec.policy_ref.name), 0.0)
        elif unreadable is not None and (before is None or before.message != unreadable.message):
            _log.warning("Rollback %s/%s cannot be read: %s", *key, unreadable.message)
            self.want((key[0], unreadable.policy), 0.0)

    def _want_policies_of(self, deployment: Key, delay: float) -> None:
        for policy in self.cache.policies_on(*deployment):
            self.want(policy.key, delay)

    def _target(self, key: Key) -> str:
        """Name the Deployment of a policy; empty: the policy is unknown or unreadable."""
        known = self.cache.policies.get(key)
        return known.spec.target_ref.name if isinstance(known, RollbackPolicy) else ""

    def _policies_beside(self, key: Key) -> list[Key]:
        """Name the policies on a policy's target, itself among them, the oldest first."""
        target = self._target(key)
        return [policy.key for policy in self.cache.policies_on(key[0], target)] if target else []


@dataclass(frozen=True, slots=True)
class Resync:
    """Reads objects that watches may have missed: single objects on demand, all once a minute."""

    api: ApiServer
    intake: Intake
    namespaces: Sequence[str] = ()
    """The watched namespaces; empty: all."""

    async def run(self) -> None:
        """Compare the cache with the API server once a minute, until cancelled."""
        while True:
            await asyncio.sleep(RESYNC_SECONDS)
            await self.compare()

    async def compare(self) -> None:
        """Compare now; after a failed list, the cache keeps its objects."""
        for plural in WATCHED:
            for namespace in self.namespaces or ("",):
                await self._compare(plural, namespace)

    async def refresh(self, plural: str, key: Key) -> Failure | None:
        """Read one object: the cache may be behind, whatever the watches deliver.

        A list of one object needs no right beyond those of the watches.
        """
        cache, (namespace, name) = self.intake.cache, key
        before = cache.version(plural, key)
        listed = await self.api.get(path_of(plural, namespace), **paths.name_query(name))
        if isinstance(listed, Failure):
            _log.info("%s %s/%s: not read: %s", plural, namespace, name, listed.message)
            if isinstance(listed, TooLarge) and listed.outline.identity:
                self.intake.take(plural, listed.outline.stub)
            return listed
        items = listed.get("items") or ()
        for item in items:
            if cache.version(plural, key) != version_of(item["metadata"]):
                self.intake.take(plural, item)
        # An object that was created again in the meantime is not the deleted object.
        if not items and before is not None and cache.version(plural, key) == before:
            self.intake.drop(plural, key)
        return None

    async def _compare(self, plural: str, namespace: str) -> None:
        cache = self.intake.cache
        before = cache.versions(plural)
        listed = await self.api.list_metadata(path_of(plural, namespace))
        if isinstance(listed, Failure):
            _log.info("%s: not compared with the API server: %s", plural, listed.message)
            return
        there = {(item["namespace"], item["name"]): version_of(item) for item in listed}
        for key, version in there.items():
            if self._is_behind(plural, key, version):
                await self.refresh(plural, key)
        for kind, key in tuple(self.intake.left_out):
            if kind == plural and namespace in ("", key[0]) and key not in there:
                del self.intake.left_out[kind, key]
        now = cache.versions(plural)
        for key, version in before.items():
            is_here = namespace in ("", key[0])
            # An object created again in the meantime is not the object missing in the list.
            if is_here and key not in there and now.get(key) == version:
                _log.info("%s %s/%s is gone: no watch reported it", plural, *key)
                self.intake.drop(plural, key)

    def _is_behind(self, plural: str, key: Key, listed: ObjectVersion) -> bool:
        """Report whether the cache is behind; a Deployment matters only if a policy names it."""
        cache = self.intake.cache
        known = cache.version(plural, key) or self.intake.left_out.get((plural, key))
        if plural == DEPLOYMENTS_PLURAL and not cache.policies_on(*key):
            return False
        return known is None or (known != listed and not known.is_newer(listed))
