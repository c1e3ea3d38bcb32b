"""Let all go: rollouts on a policy's record, pauses of ours that nobody has on record, bounds.

An autoscaler's bounds that a rollback has raised are put back: nobody would do so later, and the
record of what they were could never be deleted. Nor could a Rollback that is under way.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

from rollback_operator.adapters.kube import paths
from rollback_operator.adapters.kube.apiserver import ApiServer, Listing
from rollback_operator.adapters.kube.lease import Elector, LeaseName
from rollback_operator.adapters.kube.projections.deployments import is_held
from rollback_operator.adapters.kube.store import ApiStore
from rollback_operator.adapters.kube.target.autoscalers import ApiAutoscalers
from rollback_operator.adapters.kube.target.workloads import ApiWorkloads
from rollback_operator.api.reasons import Reason
from rollback_operator.api.v1alpha1 import (
    FINALIZER,
    OWNER_FINALIZER,
    Rollback,
    RollbackStatus,
)
from rollback_operator.decide.hold_end import HoldEnd
from rollback_operator.decide.holds import is_on_record
from rollback_operator.ports.failure import RETRY_SECONDS, Failure, FailureKind
from rollback_operator.reconcile.act.holding import Holder
from rollback_operator.reconcile.act.reversible import Scaler
from rollback_operator.reconcile.cache import Cache, Unreadable
from rollback_operator.remedies import autoscaling, suspension
from rollback_operator.runtime.bootstrap import utc_now
from rollback_operator.runtime.settings import Settings

TRIES = 10
_END = HoldEnd(Reason.RELEASED_BY_COMMAND, "`rollback-operator release` has let all rollouts go")


@dataclass(frozen=True, slots=True)
class Released:
    """What was let go, and what could not be."""

    done: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()


async def release(settings: Settings) -> Released:
    """Take the Lease, then let everything go.

    Raises:
        ConfigException: there is no cluster to ask.
    """
    kubeconfig = str(settings.kubeconfig) if settings.kubeconfig else None
    api = await ApiServer.connect(kubeconfig, lambda method, outcome: None)
    try:
        fault = await _stop_the_leader(api, settings)
        found = await _everything(api, settings)
    finally:
        await api.close()
    return Released(found.done, (*([fault] if fault else ()), *found.faults))


async def _stop_the_leader(api: ApiServer, settings: Settings) -> str:
    """See that nobody else acts: a leader that runs would hold again what is let go."""
    lease = LeaseName(
        settings.lease_namespace,
        settings.lease_name,
        f"{settings.identity}-release",
        settings.lease_seconds,
    )
    elector = Elector(api, lease, utc_now, time.monotonic)
    fault = ""
    for _ in range(TRIES):
        taken = await elector.take()
        if not isinstance(taken, Failure):
            await asyncio.sleep(taken)
            return ""
        fault = f"the Lease was not taken, a leader may still act: {taken.message}"
        await asyncio.sleep(taken.wait)
    return fault


async def _everything(api: ApiServer, settings: Settings) -> Released:
    done: set[str] = set()
    faults: list[str] = []
    for number in range(TRIES):
        await asyncio.sleep(RETRY_SECONDS if number else 0)
        results = await Sweep(api, settings.identity).through(settings.namespaces)
        done |= {name for name, fault in results.items() if not fault}
        faults = [f"{name}: {fault}" for name, fault in results.items() if fault]
        if not faults:
            break
    return Released(tuple(sorted(done)), tuple(faults))


class Sweep:
    """Goes through all there is once; notes of each what was wrong, or that it was let go."""

    def __init__(self, api: ApiServer, identity: str) -> None:
        self._api = api
        self._cache = Cache()
        self._workloads = ApiWorkloads(api)
        store = ApiStore(api, identity, utc_now)
        self._store = store
        self._scaler = Scaler(store, utc_now, self._write, self._cache.take_in, ApiAutoscalers(api))
        self._holder = Holder(self._workloads, store, self._cache.take_in, utc_now)
        self._results: dict[str, str] = {}

    async def through(self, namespaces: Sequence[str]) -> dict[str, str]:
        """Go through namespaces, none: all; what is wrong by name, empty: let go."""
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
        listed = await self._api.list_of(
            Listing(path, lambda one: one if is_meant(one) else None, free=inf)
        )
        if not isinstance(listed, Failure):
            return [one for one in listed if one is not None]
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
        known = self._cache.rollbacks.get(self._cache.put_rollback(raw))
        if known is None:
            return
        said = f"Rollback {'/'.join(known.key)}"
        if autoscaling.is_left(known):
            self._results[said] = await self._lower(known)
        if suspension.is_guarded(known):
            self._results[said] = self._results.get(said) or await self._leave(known)
        if FINALIZER in known.metadata.finalizers:
            fault = await self._let_go(self._cache.rollbacks[known.key])
            self._results[said] = self._results.get(said) or fault

    async def _lower(self, known: Rollback) -> str:
        """Put back the bounds that a rollback which is over has raised, as if asked to."""
        wanted = {**known.metadata.annotations, autoscaling.RESTORE: "released"}
        metadata = known.metadata.model_copy(update={"annotations": wanted})
        self._cache.remember(known.model_copy(update={"metadata": metadata}))
        await self._scaler.settle([self._cache.rollbacks[known.key]])
        is_left = autoscaling.is_left(self._cache.rollbacks[known.key])
        return f"{autoscaling.named(known)} may still have raised bounds" if is_left else ""

    async def _leave(self, known: Rollback) -> str:
        """Let the record of who is suspended be deleted; it says how they are released."""
        written = await self._store.release(self._cache.rollbacks[known.key], OWNER_FINALIZER)
        if isinstance(written, Failure):
            return written.message
        self._cache.remember(written)
        return ""

    async def _let_go(self, known: Rollback) -> str:
        """Take the finalizer off, also of what is under way.

        Nobody else could, and it keeps a namespace from deletion. Its status stays: who is
        installed next carries it on.
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
        """Lift a pause of ours that no policy has on record."""
        namespace, name = raw["metadata"]["namespace"], raw["metadata"]["name"]
        done = await self._workloads.resume(namespace, name)
        fault = done.message if isinstance(done, Failure) else ""
        self._results[f"Deployment {namespace}/{name}"] = fault
