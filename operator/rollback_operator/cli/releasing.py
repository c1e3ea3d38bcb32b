"""Releases holds of policies, the operator's own pauses without a record, and raised bounds.

Bounds and maxSurge that a rollback raised, traffic that it stopped, and an owner that it suspended
without an act are restored: without an operator nothing would restore them, and their Rollback
could never be deleted. A Rollback in progress that has changed one of them ends.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import Any

from rollback_operator.adapters.kube import paths
from rollback_operator.adapters.kube.apiserver import ApiServer, Listing
from rollback_operator.adapters.kube.lease import Elector, LeaseName
from rollback_operator.adapters.kube.projections.deployments import is_held
from rollback_operator.adapters.kube.store import ApiStore
from rollback_operator.adapters.kube.target.autoscalers import ApiAutoscalers
from rollback_operator.adapters.kube.target.owners import ApiOwners
from rollback_operator.adapters.kube.target.services import ApiSelectors
from rollback_operator.adapters.kube.target.workloads import ApiWorkloads
from rollback_operator.api.reasons import Reason
from rollback_operator.api.v1alpha1 import (
    BOUNDS_FINALIZER,
    FINALIZER,
    OWNER_FINALIZER,
    TRAFFIC_FINALIZER,
    Outcome,
    Rollback,
    RollbackStatus,
)
from rollback_operator.decide.hold_end import HoldEnd
from rollback_operator.decide.holds import is_on_record
from rollback_operator.model.workload import Workload
from rollback_operator.ports.failure import RETRY_SECONDS, Failure, FailureKind
from rollback_operator.reconcile.act.holding import Holder
from rollback_operator.reconcile.act.reversible import Scaler, Suspender
from rollback_operator.reconcile.act.stopping import TrafficSwitch
from rollback_operator.reconcile.cache import Cache, Unreadable
from rollback_operator.remedies import autoscaling, rollback_status, stopped_traffic, suspension
from rollback_operator.remedies.progress import RollbackEnd
from rollback_operator.runtime.bootstrap import utc_now
from rollback_operator.runtime.settings import Settings

TRIES = 10
_ENDED = RollbackEnd(
    Outcome.ABANDONED,
    Reason.RELEASED_BY_COMMAND,
    "`rollback-operator release` ended it and restored what it had changed temporarily",
)
_GUARDS = frozenset({FINALIZER, BOUNDS_FINALIZER, OWNER_FINALIZER, TRAFFIC_FINALIZER})
_OPEN = (autoscaling.is_open, stopped_traffic.is_open, suspension.is_open)
_END = HoldEnd(Reason.RELEASED_BY_COMMAND, "`rollback-operator release` resumed all rollouts")


@dataclass(frozen=True, slots=True)
class Released:
    """The released objects, and the failures."""

    done: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    """Objects too large to read. They are no failures: no repetition helps, and an object of one
    tenant does not keep the operator from being uninstalled."""


async def release(settings: Settings) -> Released:
    """Take the Lease, then release everything.

    Raises:
        ConfigException: no cluster is configured.
    """
    kubeconfig = str(settings.kubeconfig) if settings.kubeconfig else None
    api = await ApiServer.connect(kubeconfig, lambda method, outcome: None)
    try:
        fault = await _stop_the_leader(api, settings)
        result = await _everything(api, settings)
    finally:
        await api.close()
    return replace(result, faults=(*([fault] if fault else ()), *result.faults))


async def _stop_the_leader(api: ApiServer, settings: Settings) -> str:
    """Take the Lease: a running leader would hold the rollouts again."""
    lease = LeaseName(
        settings.lease_namespace,
        settings.lease_name,
        f"{settings.identity}-release",
        settings.lease_seconds,
    )
    elector = Elector(api, lease, utc_now, time.monotonic, utc_now)
    fault = ""
    for _ in range(TRIES):
        taken = await elector.take()
        if not isinstance(taken, Failure):
            await asyncio.sleep(taken)
            return ""
        fault = f"the Lease was not acquired; a leader may still act: {taken.message}"
        await asyncio.sleep(taken.wait)
    return fault


async def _everything(api: ApiServer, settings: Settings) -> Released:
    done: set[str] = set()
    faults: list[str] = []
    left_out: set[str] = set()
    for number in range(TRIES):
        await asyncio.sleep(RETRY_SECONDS if number else 0)
        sweep = Sweep(api, settings.identity, settings.argo_cd_namespace)
        results = await sweep.through(settings.namespaces)
        done |= {name for name, fault in results.items() if not fault}
        left_out |= sweep.left_out
        faults = [f"{name}: {fault}" for name, fault in results.items() if fault]
        if not faults:
            break
    return Released(tuple(sorted(done)), tuple(faults), tuple(sorted(left_out)))


class Sweep:
    """Releases all objects once, and collects the failure of each, empty after a success."""

    def __init__(self, api: ApiServer, identity: str, argo_cd: str) -> None:
        self._api = api
        self._cache = Cache()
        self._workloads = ApiWorkloads(api)
        store = ApiStore(api, identity, utc_now)
        self._store = store
        self._scaler = Scaler(store, utc_now, self._write, self._cache.take_in, ApiAutoscalers(api))
        self._traffic = TrafficSwitch(
            store,
            utc_now,
            self._write,
            self._cache.take_in,
            self._workloads,
            ApiSelectors(api),
            self._cache.rollbacks_of,
        )
        self._suspender = Suspender(
            store, utc_now, self._write, self._cache.take_in, ApiOwners(api, argo_cd)
        )
        self._holder = Holder(self._workloads, store, self._cache.take_in, utc_now)
        self._results: dict[str, str] = {}
        self.left_out: set[str] = set()

    async def through(self, namespaces: Sequence[str]) -> dict[str, str]:
        """Release all objects of the namespaces, or of the cluster; returns a failure by name."""
        for namespace in namespaces or ("",):
            for raw in await self._listed(paths.in_namespace_or_all(paths.POLICIES, namespace)):
                await self._policy(raw)
            for raw in await self._listed(paths.in_namespace_or_all(paths.ROLLBACKS, namespace)):
                await self._rollback(raw)
            path = paths.in_namespace_or_all(paths.DEPLOYMENTS, namespace)
            for raw in await self._listed(path, is_held):
                await self._deployment(raw)
        return self._results

    async def _listed(
        self, path: paths.ApiPath, is_meant: Callable[[dict[str, Any]], bool] = bool
    ) -> list[dict[str, Any]]:
        listing: Listing[dict[str, Any] | None] = Listing(
            path,
            lambda item: item if is_meant(item) else None,
            free=inf,
            left_out=lambda outline: self.left_out.add(f"{path}: {outline.name}"),
        )
        listed = await self._api.list_of(listing)
        if not isinstance(listed, Failure):
            return [item for item in listed if item is not None]
        if listed.kind is not FailureKind.GONE:  # without the CRD there are no policies
            self._results[path] = listed.message
        return []

    async def _policy(self, raw: dict[str, Any]) -> None:
        known = self._cache.policies[self._cache.put_policy(raw)]
        policy = known.shell if isinstance(known, Unreadable) else known
        if is_on_record(policy):
            settled = await self._holder.end(policy, _END, None)
            fault = settled.failure.message if settled.failure is not None else ""
            self._results[f"policy {'/'.join(policy.key)}"] = fault

    async def _rollback(self, raw: dict[str, Any]) -> None:
        key = self._cache.put_rollback(raw)
        name = f"Rollback {'/'.join(key)}"
        unreadable = self._cache.unreadable.get(key)
        if unreadable is not None and _GUARDS.intersection(unreadable.metadata.finalizers):
            fault = f"it cannot be read, so its finalizers stay: {unreadable.message}"
            self._results[name] = f"{fault}: correct these fields, or remove the finalizers"
        known = self._cache.rollbacks.get(key)
        if known is None:
            return
        if fault := await self._end(known):
            self._results[name] = fault
            return
        known = self._cache.rollbacks[known.key]
        if autoscaling.is_left(known):
            self._results[name] = await self._lower(known)
        if stopped_traffic.is_left(known):
            fault = await self._open(self._cache.rollbacks[known.key])
            self._results[name] = self._results.get(name) or fault
        if suspension.is_guarded(known):
            fault = await self._leave(self._cache.rollbacks[known.key])
            self._results[name] = self._results.get(name) or fault
        if FINALIZER in known.metadata.finalizers:
            fault = await self._let_go(self._cache.rollbacks[known.key])
            self._results[name] = self._results.get(name) or fault

    async def _end(self, known: Rollback) -> str:
        """End a Rollback in progress that has changed what nobody else restores.

        Not continued by the next installation: its later steps rely on what is restored now.
        """
        strategy = known.status.strategy
        if known.status.outcome is not None:
            return ""
        if strategy is not None:
            done = await self._workloads.set_strategy(known, strategy)
            # A refusal or a conflict: maxSurge is not, or no longer, that of the express undo.
            if isinstance(done, Failure) and done.kind is FailureKind.UNAVAILABLE:
                return done.message
        if not any(is_open(known) for is_open in _OPEN):
            return ""
        written = await self._write(known, rollback_status.ended(known, _ENDED, utc_now()))
        return written.message if isinstance(written, Failure) else ""

    async def _lower(self, known: Rollback) -> str:
        """Restore the bounds that an ended rollback raised, as if requested."""
        wanted = {**known.metadata.annotations, autoscaling.RESTORE: "released"}
        metadata = known.metadata.model_copy(update={"annotations": wanted})
        self._cache.remember(known.model_copy(update={"metadata": metadata}))
        await self._scaler.settle([self._cache.rollbacks[known.key]])
        is_left = autoscaling.is_left(self._cache.rollbacks[known.key])
        return f"{autoscaling.named(known)} may still have raised bounds" if is_left else ""

    async def _open(self, known: Rollback) -> str:
        """Restore the traffic that an ended rollback left stopped, as if requested."""
        wanted = {**known.metadata.annotations, stopped_traffic.RESTORE_TRAFFIC: "released"}
        metadata = known.metadata.model_copy(update={"annotations": wanted})
        self._cache.remember(known.model_copy(update={"metadata": metadata}))
        await self._traffic.settle([self._cache.rollbacks[known.key]])
        is_left = stopped_traffic.is_left(self._cache.rollbacks[known.key])
        return f"{known.spec.target_ref.name} may still get no traffic" if is_left else ""

    async def _leave(self, known: Rollback) -> str:
        """Resume the owner if that changes nothing, and remove the finalizer of the suspension.

        Otherwise the record names the command for the owner.
        """
        if suspension.is_open(known):
            target = known.spec.target_ref.name
            live = await self._workloads.inspect(known.metadata.namespace, target)
            deployment = live.deployment if isinstance(live, Workload) else None
            resumed = await self._suspender.restore(known, deployment)
            if isinstance(resumed, Failure) and resumed.kind is FailureKind.UNAVAILABLE:
                return resumed.message
        written = await self._store.release(self._cache.rollbacks[known.key], OWNER_FINALIZER)
        if isinstance(written, Failure):
            return written.message
        self._cache.remember(written)
        return ""

    async def _let_go(self, known: Rollback) -> str:
        """Remove the finalizer, also from a Rollback in progress.

        Without an operator it would prevent the deletion of the namespace. The status of a
        Rollback that has restored nothing stays: the next installation continues it.
        """
        written = await self._store.release(known, FINALIZER)
        if isinstance(written, Failure):
            return written.message
        self._cache.remember(written)
        return ""

    async def _write(self, rollback: Rollback, status: RollbackStatus) -> Rollback | Failure:
        written = await self._store.write_rollback(rollback, status)
        if isinstance(written, Rollback):
            self._cache.remember(written)
        return written

    async def _deployment(self, raw: dict[str, Any]) -> None:
        """Remove the operator's own pause without a record in a policy."""
        namespace, name = raw["metadata"]["namespace"], raw["metadata"]["name"]
        done = await self._workloads.resume(namespace, name)
        fault = done.message if isinstance(done, Failure) else ""
        self._results[f"Deployment {namespace}/{name}"] = fault
