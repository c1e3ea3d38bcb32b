"""The cluster that kubectl would talk to: kubeconfig, context, namespace, impersonation."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from math import inf
from typing import Any

from kubernetes.aio import config

from rollback_operator.adapters.kube import paths
from rollback_operator.adapters.kube.apiserver import ApiServer, Listing
from rollback_operator.adapters.kube.login import log_in, usual_kubeconfig
from rollback_operator.adapters.kube.target.workloads import ApiWorkloads
from rollback_operator.api.v1alpha1 import GROUP, KINDS, VERSION
from rollback_operator.cli.plugin.cluster import USAGE, ClusterClient, Stop
from rollback_operator.cli.plugin.record import Record
from rollback_operator.model.workload import Workload
from rollback_operator.ports.failure import Failure

_KINDS = {
    one.plural: one
    for one in (
        *(paths.POLICIES, paths.ROLLBACKS, paths.LEASES),
        *(paths.DEPLOYMENTS, paths.REPLICA_SETS),
    )
}
_OURS = {one.PLURAL: one.KIND for one in KINDS}
_STRICT = {"fieldManager": "kubectl-rollback", "fieldValidation": "Strict"}


@dataclass(frozen=True, slots=True)
class Login:
    """Which cluster, and as whom."""

    kubeconfig: str = ""
    context: str = ""
    namespace: str = ""
    user: str = ""
    group: str = ""


@dataclass(frozen=True, slots=True)
class Connection:
    """An open cluster, and the namespace that is meant where none is named."""

    cluster: ClusterClient
    namespace: str


@asynccontextmanager
async def connect(login: Login) -> AsyncIterator[Connection]:
    """Connect as kubectl does: the flag, $KUBECONFIG, ~/.kube/config, the pod's own account."""
    file = login.kubeconfig or usual_kubeconfig()
    try:
        made: Any = await log_in(file, login.context or None)
    except config.ConfigException as error:
        raise Stop(
            f"no cluster to ask: {error}\n"
            "Name a kubeconfig with --kubeconfig or $KUBECONFIG, and a context with --context.",
            USAGE,
        ) from None
    named = _namespace(file, login.context) if file else ""
    namespace = login.namespace or named or "default"
    if login.user:
        made.set_default_header("Impersonate-User", login.user)
    if login.group:
        made.set_default_header("Impersonate-Group", login.group)
    api = ApiServer(made, lambda *_: None)
    try:
        yield Connection(ApiCluster(api), namespace)
    finally:
        await api.close()


def _namespace(file: str, context: str) -> str:
    contexts, active = config.list_kube_config_contexts(file)  # type: ignore[no-untyped-call]
    wanted = next((one for one in contexts if one["name"] == context), active)
    return str(wanted["context"].get("namespace") or "")


class ApiCluster:
    """The Cluster port on a real API server."""

    def __init__(self, api: ApiServer) -> None:
        self._api = api

    async def list(self, plural: str, namespace: str) -> list[Record] | Failure:
        """Read all of a kind."""
        head = {"apiVersion": f"{GROUP}/{VERSION}", "kind": _OURS.get(plural, "")}
        return await self._api.list_of(
            Listing(_path(plural, namespace), lambda one: Record({**head, **one}), free=inf)
        )

    async def read(self, plural: str, namespace: str, name: str) -> Record | Failure:
        """Read one object."""
        return _record(await self._api.get(paths.one_in(_KINDS[plural], namespace, name)))

    async def create(self, plural: str, made: Record) -> Record | Failure:
        """Create an object; a field that the API server does not know is refused."""
        path = _path(plural, made.namespace)
        return _record(await self._api.create(path, dict(made.raw), **_STRICT))

    async def rehearse(self, plural: str, made: Record) -> Record | Failure:
        """Have the API server and its admission policies say whether they would take it."""
        path = _path(plural, made.namespace)
        return _record(await self._api.create(path, dict(made.raw), **_STRICT, dryRun="All"))

    async def patch(self, plural: str, seen: Record, path: str, value: object) -> Record | Failure:
        """Set one field."""
        version = seen.text("metadata.resourceVersion")
        operations: list[dict[str, Any]] = [
            {"op": "test", "path": "/metadata/resourceVersion", "value": version},
            {"op": "add", "path": path, "value": value},
        ]
        place = paths.one_in(_KINDS[plural], seen.namespace, seen.name)
        return _record(await self._api.patch(place, operations))

    async def user(self) -> str | Failure:
        """Tell who asks: impersonated, it is the one that is impersonated."""
        path = paths.whole_cluster(paths.USER_REVIEWS)
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
        found = _record(await self._api.create(path, body))
        return found if isinstance(found, Failure) else found.text("status.userInfo.username")

    async def inspect(self, namespace: str, name: str) -> Workload | Failure:
        """Read a Deployment with its ReplicaSets and pods."""
        return await ApiWorkloads(self._api).inspect(namespace, name)

    async def template(self, plural: str, namespace: str, name: str) -> Record | Failure:
        """Read a pod template."""
        found = _record(await self._api.get(paths.one_in(_KINDS[plural], namespace, name)))
        return found if isinstance(found, Failure) else found.part("spec.template")


def _record(found: dict[str, Any] | Failure) -> Record | Failure:
    return found if isinstance(found, Failure) else Record(found)


def _path(plural: str, namespace: str) -> paths.ApiPath:
    return paths.in_namespace_or_all(_KINDS[plural], namespace)
