"""Feature flags, through the API server: a key of a ConfigMap, or a variable of a Deployment.

A key is set here with a guard; a variable is set with the pod template (`target/workloads`).
"""

from typing import Any

from rollback_operator.adapters.kube import paths
from rollback_operator.adapters.kube.apiserver import ApiServer
from rollback_operator.adapters.kube.projections.config_maps import flag_of
from rollback_operator.adapters.kube.projections.variables import variable_of
from rollback_operator.api.remedy import Flag, FlagPlan
from rollback_operator.model.rights import Right
from rollback_operator.model.workload import FlagState
from rollback_operator.ports.failure import Failure, FailureKind
from rollback_operator.remedies import flags

_SET_FLAG = Right("patch", "", "configmaps", "", "patchConfigMaps")


class ApiFlags:
    """The Flags port on a real API server."""

    def __init__(self, api: ApiServer) -> None:
        self._api = api

    async def read(self, namespace: str, flag: Flag, target: str) -> FlagState | Failure:
        """Read the flag."""
        if flag.env is not None:
            raw = await self._api.get(paths.object_in(paths.DEPLOYMENTS, namespace, target))
            return raw if isinstance(raw, Failure) else variable_of(raw, flag, flag.env.container)
        raw = await self._api.get(_path(namespace, flag))
        return _read_failure(raw, flag) if isinstance(raw, Failure) else flag_of(raw, flag.name)

    async def may_set(self, namespace: str, flag: Flag) -> bool | Failure:
        """Ask for the right to set the flag."""
        if flag.config_map_ref is None:
            return True  # the right to patch the Deployment is that of every remedy
        return await self._api.may(namespace, _SET_FLAG, flag.config_map_ref.name)

    async def set(self, namespace: str, flag: Flag, plan: FlagPlan) -> FlagState | Failure:
        """Set the flag, guarded by the ConfigMap's uid and the value that was read."""
        place = f"/data/{flag.name}"  # a key of a ConfigMap has neither / nor ~
        operations: list[dict[str, Any]] = [
            {"op": "test", "path": "/metadata/uid", "value": plan.config_map_uid},
            {"op": "test", "path": place, "value": plan.old_value},
            {"op": "replace", "path": place, "value": flag.value},
        ]
        raw = await self._api.patch(_path(namespace, flag), operations)
        return _write_failure(raw, flag) if isinstance(raw, Failure) else flag_of(raw, flag.name)


def _path(namespace: str, flag: Flag) -> paths.ApiPath:
    return paths.object_in(paths.CONFIG_MAPS, namespace, flag.key[0])


def _read_failure(failure: Failure, flag: Flag) -> Failure:
    match failure.kind:
        case FailureKind.GONE:
            return Failure(failure.kind, f"there is no ConfigMap {flag.key[0]}")
        case FailureKind.REJECTED:
            return Failure(failure.kind, flags.no_right(flag))
        case _:
            return failure


def _write_failure(failure: Failure, flag: Flag) -> Failure:
    """Add the remedy to the server's message."""
    if failure.kind is FailureKind.REJECTED:
        return Failure(failure.kind, f"{flags.no_right(flag)} ({failure.message})")
    return _read_failure(failure, flag)
