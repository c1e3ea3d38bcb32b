"""Applications, Kustomizations and HelmReleases through the API server: read, suspended, resumed.

The API server names the served version of a group, which distinguishes an absent CRD from an absent
object. Every write is guarded by the resourceVersion of an object that is as it was read before.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from rollback_operator.adapters.kube import paths
from rollback_operator.adapters.kube.apiserver import ApiServer
from rollback_operator.adapters.kube.projections.fields import projected
from rollback_operator.adapters.kube.projections.gitops import application_of, flux_of, generator_of
from rollback_operator.api.remedy import OwnerKind
from rollback_operator.model.controllers import OwnedDeployment, OwnerState
from rollback_operator.ports.failure import Failure, FailureKind
from rollback_operator.remedies.suspension import SUSPENDED_BY, automation

OWNER_KINDS = {
    OwnerKind.APPLICATION: ("argoproj.io", "applications"),
    OwnerKind.KUSTOMIZATION: ("kustomize.toolkit.fluxcd.io", "kustomizations"),
    OwnerKind.HELM_RELEASE: ("helm.toolkit.fluxcd.io", "helmreleases"),
}
_SYNC_POLICY = "/spec/syncPolicy"
_AUTOMATED = f"{_SYNC_POLICY}/automated"
_SUSPEND = "/spec/suspend"
_ANNOTATIONS = "/metadata/annotations"
_MARK = f"{_ANNOTATIONS}/{SUSPENDED_BY.replace('/', '~1')}"

MOST_CONFLICTS = 5
"""Attempts of a write whose object its controller writes at the same moment."""

Operations = list[dict[str, Any]]
Changes = Callable[[dict[str, Any]], Operations]


class ApiOwners:
    """The Owners port on a real API server.

    Args:
        api: the API server.
        argo_cd: the namespace of Applications without a namespace on record.
    """

    def __init__(self, api: ApiServer, argo_cd: str) -> None:
        self._api = api
        self._argo_cd = argo_cd

    async def read_owner(self, steered: OwnedDeployment) -> OwnerState | Failure:
        """Read the object."""
        raw = await self._read(steered)
        return raw if isinstance(raw, Failure) else await self._state(raw, steered)

    async def suspend(
        self, steered: OwnedDeployment, state: OwnerState, by: str
    ) -> OwnerState | Failure:
        """Suspend it, and annotate for which Rollback."""
        return await self._change(steered, state, lambda raw: _suspension(raw, steered, by))

    async def resume(
        self, steered: OwnedDeployment, state: OwnerState, automated: str
    ) -> OwnerState | Failure:
        """Resume it, and remove the annotation."""
        return await self._change(steered, state, lambda raw: _resumption(raw, steered, automated))

    async def _change(
        self, steered: OwnedDeployment, state: OwnerState, changes_of: Changes
    ) -> OwnerState | Failure:
        """Change an object that is as it was read before.

        Its controller writes its status all the time, which alone is no conflict.
        """
        for _ in range(MOST_CONFLICTS):
            raw = await self._read(steered)
            seen = raw if isinstance(raw, Failure) else await self._state(raw, steered)
            if isinstance(raw, Failure) or isinstance(seen, Failure):
                return seen
            if _without_status(seen) != _without_status(state):
                message = f"{_kind_and_name(steered)} has changed since it was read"
                return Failure(FailureKind.CONFLICT, message)
            changes = projected(_kind_and_name(steered), partial(changes_of, raw))
            if isinstance(changes, Failure):
                return changes
            written = await self._patch(steered, seen, changes)
            if not isinstance(written, Failure) or written.kind is not FailureKind.CONFLICT:
                return written
        return written

    async def _read(self, steered: OwnedDeployment) -> dict[str, Any] | Failure:
        path = await self._path(steered)
        return path if isinstance(path, Failure) else await self._api.get(path)

    async def _path(self, steered: OwnedDeployment) -> paths.ApiPath | Failure:
        group, plural = OWNER_KINDS[steered.object.kind]
        served = await self._api.get(paths.api_group(group))
        if isinstance(served, Failure):
            if served.kind is not FailureKind.GONE:
                return served
            message = f"there is no {steered.object.kind} in this cluster: its CRD is not installed"
            return Failure(FailureKind.UNKNOWN_KIND, message)
        version = projected(group, lambda: str(served["preferredVersion"]["version"]))
        if isinstance(version, Failure):
            return version
        kind = paths.ResourceKind(group, version, plural)
        return paths.object_in(kind, self._namespace(steered), steered.object.name)

    def _namespace(self, steered: OwnedDeployment) -> str:
        return steered.object.namespace or self._argo_cd

    async def _patch(
        self, steered: OwnedDeployment, seen: OwnerState, changes: Operations
    ) -> OwnerState | Failure:
        path = await self._path(steered)
        if isinstance(path, Failure):
            return path
        guard = {"op": "test", "path": "/metadata/resourceVersion", "value": seen.version}
        written = await self._api.patch(path, [guard, *changes])
        return written if isinstance(written, Failure) else await self._state(written, steered)

    async def _state(self, raw: dict[str, Any], steered: OwnedDeployment) -> OwnerState | Failure:
        if steered.object.kind is not OwnerKind.APPLICATION:
            return projected(_kind_and_name(steered), lambda: flux_of(raw, steered))
        name, generator = projected(_kind_and_name(steered), lambda: generator_of(raw)), None
        if isinstance(name, Failure):
            return name
        if name:
            kind = paths.kind_of(raw["apiVersion"], "applicationsets")
            answer = await self._api.get(paths.object_in(kind, raw["metadata"]["namespace"], name))
            if isinstance(answer, Failure) and answer.kind is not FailureKind.GONE:
                return answer
            generator = None if isinstance(answer, Failure) else answer
        return projected(_kind_and_name(steered), lambda: application_of(raw, generator, steered))


def _without_status(state: OwnerState) -> OwnerState:
    """Drop the fields that its controller's status writes change."""
    return replace(state, version="", in_sync_at=None)


def _kind_and_name(steered: OwnedDeployment) -> str:
    return f"{steered.object.kind} {steered.object.name}"


def _suspension(raw: dict[str, Any], steered: OwnedDeployment, by: str) -> Operations:
    mark: Operations = [{"op": "add", "path": _MARK, "value": by}]
    if not raw["metadata"].get("annotations"):
        mark = [{"op": "add", "path": _ANNOTATIONS, "value": {SUSPENDED_BY: by}}]
    if steered.object.kind is OwnerKind.APPLICATION:
        mark.append({"op": "remove", "path": _AUTOMATED})
    else:
        mark.append({"op": "add", "path": _SUSPEND, "value": True})
    return mark


def _resumption(raw: dict[str, Any], steered: OwnedDeployment, automated: str) -> Operations:
    changes: Operations = []
    if SUSPENDED_BY in (raw["metadata"].get("annotations") or {}):
        changes.append({"op": "remove", "path": _MARK})
    if steered.object.kind is not OwnerKind.APPLICATION:
        changes.append({"op": "remove", "path": _SUSPEND})
    elif raw["spec"].get("syncPolicy") is None:
        value = {"automated": automation(automated)}
        changes.append({"op": "add", "path": _SYNC_POLICY, "value": value})
    else:
        value = automation(automated)
        changes.append({"op": "add", "path": _AUTOMATED, "value": value})
    return changes
