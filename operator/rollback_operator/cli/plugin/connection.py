"""The cluster that kubectl would use, with the rights of the user; a refusal is a value."""

import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import Any, Protocol, TypeVar

from kubernetes.aio import config

from rollback_operator.adapters.kube import paths
from rollback_operator.adapters.kube.apiserver import ApiServer, Listing, TooLarge
from rollback_operator.adapters.kube.login import log_in, usual_kubeconfig
from rollback_operator.adapters.kube.projections.outlines import Outline
from rollback_operator.adapters.kube.target.workloads import ApiWorkloads
from rollback_operator.api.v1alpha1 import GROUP, KINDS, VERSION
from rollback_operator.cli.plugin.record import Record
from rollback_operator.model import stop
from rollback_operator.model.workload import Workload
from rollback_operator.ports.failure import Failure, FailureKind

T = TypeVar("T")
POLICIES, ROLLBACKS, LEASES = "rollbackpolicies", "rollbacks", "leases"
GUARDS = "validatingadmissionpolicies"
DONE, REFUSED, USAGE, NOT_VERIFIED, NOT_OVER = range(5)
"""Exit statuses; the last two of `undo --wait` only."""


class Stop(Exception):  # noqa: N818 (it ends a command, and is not a fault of the program)
    """Ends the command with a message that names the remedy."""

    def __init__(self, message: str, status: int = REFUSED) -> None:
        super().__init__(message)
        self.status = status


class ClusterClient(Protocol):
    """An API server, with the rights of the user."""

    async def list(self, plural: str, namespace: str) -> list[Record] | Failure:
        """Read all objects of a kind in a namespace; an empty namespace: in all namespaces.

        Of Leases only those with the operators' label. An object that is too large is left out, and
        named on stderr.
        """

    async def read(self, plural: str, namespace: str, name: str) -> Record | Failure:
        """Read one object; an empty namespace: a cluster-scoped object."""

    async def create(self, plural: str, made: Record) -> Record | Failure:
        """Create an object."""

    async def rehearse(self, plural: str, made: Record) -> Record | Failure:
        """Create an object as a dry run."""

    async def patch(self, plural: str, seen: Record, path: str, value: object) -> Record | Failure:
        """Set a field of an object; Conflict if the object has changed since it was read."""

    async def user(self) -> str | Failure:
        """Return the name by which the API server knows the user."""

    async def namespaces(self) -> Sequence[str] | Failure:
        """List the names of all namespaces, if the user may."""

    async def inspect(self, namespace: str, name: str) -> Workload | Failure:
        """Read a Deployment with its ReplicaSets and pods."""

    async def template(self, plural: str, namespace: str, name: str) -> Record | Failure:
        """Read the whole pod template of a Deployment or a ReplicaSet."""


def needed(result: T | Failure) -> T:
    """Return the value, or end the command with the failure and its remedy."""
    if not isinstance(result, Failure):
        return result
    match result.kind:
        case _ if isinstance(result, TooLarge):
            raise Stop(f"{result.message}\nReduce its labels, annotations or fields.")
        case FailureKind.UNAVAILABLE:
            raise Stop(
                f"the API server does not answer: {result.message}\n"
                "Check --context and --kubeconfig; `kubectl cluster-info` asks the same server.",
                USAGE,
            )
        case FailureKind.GONE if "page not found" in result.message:
            raise Stop(
                "this cluster does not have the CRDs of rollback-operator.\n"
                "Install its chart first, or choose another cluster with --context."
            )
        case FailureKind.REJECTED if "Forbidden" in result.message:
            raise Stop(
                f"{result.message}\nRequest the permission; your permissions: "
                "`kubectl auth can-i --list`."
            )
        case FailureKind.CONFLICT:
            raise Stop(
                f"the object has changed meanwhile: {result.message}\nReview it, then repeat."
            )
        case _:
            raise Stop(result.message)


_KINDS = {
    kind.plural: kind
    for kind in (
        *(paths.POLICIES, paths.ROLLBACKS, paths.LEASES),
        *(paths.DEPLOYMENTS, paths.REPLICA_SETS),
        paths.ADMISSION_POLICIES,
    )
}
_OURS = {kind.PLURAL: kind.KIND for kind in KINDS}
_STRICT = {"fieldManager": "kubectl-rollback", "fieldValidation": "Strict"}


@dataclass(frozen=True, slots=True)
class Login:
    """The cluster and the user, as given on the command line."""

    kubeconfig: str = ""
    context: str = ""
    namespace: str = ""
    user: str = ""
    group: str = ""


@dataclass(frozen=True, slots=True)
class Connection:
    """An open connection, and the default namespace."""

    cluster: ClusterClient
    namespace: str


@asynccontextmanager
async def connect(login: Login) -> AsyncIterator[Connection]:
    """Connect as kubectl does: flag, $KUBECONFIG, ~/.kube/config, the pod's service account."""
    file = login.kubeconfig or usual_kubeconfig()
    try:
        made: Any = await log_in(file, login.context or None)
    except config.ConfigException as error:
        raise Stop(
            f"no cluster is configured: {error}\n"
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
    wanted = next((item for item in contexts if item["name"] == context), active)
    return str(wanted["context"].get("namespace") or "")


class ApiCluster:
    """The ClusterClient of a real API server."""

    def __init__(self, api: ApiServer) -> None:
        self._api = api

    async def list(self, plural: str, namespace: str) -> list[Record] | Failure:
        """Read all objects of a kind."""
        head = {"apiVersion": f"{GROUP}/{VERSION}", "kind": _OURS.get(plural, "")}
        listing: Listing[Record | None] = Listing(
            _path(plural, namespace),
            lambda item: Record({**head, **item}),
            {"labelSelector": stop.LABEL} if plural == LEASES else {},
            free=inf,
            left_out=partial(_named_as_left_out, plural),
        )
        listed = await self._api.list_of(listing)
        if isinstance(listed, Failure):
            return listed
        return [record for record in listed if record is not None]

    async def read(self, plural: str, namespace: str, name: str) -> Record | Failure:
        """Read one object."""
        kind = _KINDS[plural]
        if not namespace:
            return _record(await self._api.get(paths.cluster_object(kind, name)))
        return _record(await self._api.get(paths.object_in(kind, namespace, name)))

    async def create(self, plural: str, made: Record) -> Record | Failure:
        """Create an object; the API server refuses unknown fields."""
        path = _path(plural, made.namespace)
        return _record(await self._api.create(path, dict(made.raw), **_STRICT))

    async def rehearse(self, plural: str, made: Record) -> Record | Failure:
        """Create an object as a dry run, through the admission policies."""
        path = _path(plural, made.namespace)
        return _record(await self._api.create(path, dict(made.raw), **_STRICT, dryRun="All"))

    async def patch(self, plural: str, seen: Record, path: str, value: object) -> Record | Failure:
        """Set a field."""
        version = seen.text("metadata.resourceVersion")
        operations: list[dict[str, Any]] = [
            {"op": "test", "path": "/metadata/resourceVersion", "value": version},
            {"op": "add", "path": path, "value": value},
        ]
        place = paths.object_in(_KINDS[plural], seen.namespace, seen.name)
        return _record(await self._api.patch(place, operations))

    async def user(self) -> str | Failure:
        """Return the user name, under impersonation the impersonated name."""
        path = paths.whole_cluster(paths.USER_REVIEWS)
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
        review = _record(await self._api.create(path, body))
        return review if isinstance(review, Failure) else review.text("status.userInfo.username")

    async def namespaces(self) -> Sequence[str] | Failure:
        """List the names of all namespaces."""
        path = paths.whole_cluster(paths.NAMESPACES)
        return await self._api.list_of(
            Listing(
                path,
                lambda item: str(item["metadata"]["name"]),
                free=inf,
                left_out=lambda outline: outline.name,
            )
        )

    async def inspect(self, namespace: str, name: str) -> Workload | Failure:
        """Read a Deployment with its ReplicaSets and pods."""
        return await ApiWorkloads(self._api).inspect(namespace, name)

    async def template(self, plural: str, namespace: str, name: str) -> Record | Failure:
        """Read a pod template."""
        owner = _record(await self._api.get(paths.object_in(_KINDS[plural], namespace, name)))
        return owner if isinstance(owner, Failure) else owner.part("spec.template")


def _named_as_left_out(plural: str, outline: Outline) -> None:
    text = f"{plural} {outline.name} is left out: it takes too much memory to read"
    print(text, file=sys.stderr)  # noqa: T201 (this command's output)


def _record(result: dict[str, Any] | Failure) -> Record | Failure:
    return result if isinstance(result, Failure) else Record(result)


def _path(plural: str, namespace: str) -> paths.ApiPath:
    return paths.in_namespace_or_all(_KINDS[plural], namespace)
