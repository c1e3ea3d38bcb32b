"""Our own resources through the API server. Every status is written complete and guarded."""

import asyncio
import hashlib
import logging
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from rollback_operator.adapters.kube import paths
from rollback_operator.adapters.kube.apiserver import ApiServer, Listing, TooLarge
from rollback_operator.api.shape import printable
from rollback_operator.api.v1alpha1 import (
    API_VERSION,
    FINALIZER,
    GROUP,
    Resource,
    Rollback,
    RollbackPolicy,
    RollbackPolicyStatus,
    RollbackRequest,
    RollbackSpec,
    RollbackStatus,
    rollback_of,
)
from rollback_operator.model.message import Notice
from rollback_operator.ports.failure import RETRY_SECONDS, Failure, FailureKind
from rollback_operator.ports.store import Refresh, left_as_known

_log = logging.getLogger(__name__)
POLICY_LABEL = f"{GROUP}/policy"
_KINDS = {kind.plural: kind for kind in (paths.POLICIES, paths.ROLLBACKS)}
_EVENT_LIMIT = 1024
_LABEL_LIMIT = 63

R = TypeVar("R", bound=Resource)


class ApiStore:
    """The Store port on a real API server.

    A conflict means that the cache is behind: the object is read again at once, because the next
    pass would conflict too until a watch delivers the new version.
    """

    def __init__(
        self, api: ApiServer, instance: str, now: Any, refresh: Refresh = left_as_known
    ) -> None:
        self._api = api
        self._instance = instance
        self._now = now
        self._refresh = refresh

    async def list_rollbacks(self, namespace: str) -> list[Rollback] | Failure:
        """Read all Rollbacks of a namespace."""
        path = paths.in_namespace(paths.ROLLBACKS, namespace)
        listed = await self._api.list_of(Listing(path, _planned_rollback))
        if isinstance(listed, Failure):
            return listed
        return [rollback for rollback in listed if isinstance(rollback, Rollback)]

    async def create_rollback(
        self, namespace: str, name: str, spec: RollbackSpec
    ) -> Rollback | Failure:
        """Store an intent."""
        body = {
            "apiVersion": API_VERSION,
            "kind": Rollback.KIND,
            "metadata": {
                "name": name,
                "namespace": namespace,
                "finalizers": [FINALIZER],
                "labels": {POLICY_LABEL: spec.policy_ref.name[:_LABEL_LIMIT].rstrip("-.")},
            },
            "spec": _dump(spec),
        }
        made = await self._api.create(paths.in_namespace(paths.ROLLBACKS, namespace), body)
        return _written(Rollback, made)

    async def write_rollback(
        self, rollback: Rollback, status: RollbackStatus
    ) -> Rollback | Failure:
        """Replace a Rollback's status."""
        return await self._write(rollback, status)

    async def answer_request(
        self, request: RollbackRequest, status: RollbackStatus
    ) -> Rollback | RollbackRequest | Failure:
        """Store the plan, or the refusal, of a request."""
        if status.plan is not None and FINALIZER not in request.metadata.finalizers:
            guarded = await self.guard(request, FINALIZER)
            if isinstance(guarded, Failure):
                return guarded
            request = guarded
        written = await self._replace(request, status)
        if status.plan is None:
            return _written(RollbackRequest, written)
        return _written(Rollback, written)

    async def write_policy(
        self, policy: RollbackPolicy, status: RollbackPolicyStatus
    ) -> RollbackPolicy | Failure:
        """Replace a policy's status."""
        return await self._write(policy, status)

    async def guard(self, resource: R, finalizer: str) -> R | Failure:
        """Add a finalizer."""
        return await self._set_finalizers(resource, [*resource.metadata.finalizers, finalizer])

    async def release(self, resource: R, finalizer: str) -> R | Failure:
        """Remove a finalizer."""
        kept = [known for known in resource.metadata.finalizers if known != finalizer]
        return await self._set_finalizers(resource, kept)

    async def delete_rollback(self, record: Rollback | RollbackRequest) -> Failure | None:
        """Delete an old record."""
        done = await self._api.delete(_path(record), record.metadata.resource_version)
        return await self._read_again(record, done) if isinstance(done, Failure) else None

    async def post(self, regarding: Resource, notice: Notice) -> Failure | None:
        """Post an Event, also on the Deployment if it is affected or people have to act."""
        objects = [_reference(regarding), *_affected_deployment(regarding, notice)]
        done = await asyncio.gather(
            *(self._post(regarding, involved, notice) for involved in objects)
        )
        return next(filter(None, done), None)

    async def _post(
        self, regarding: Resource, involved: dict[str, str], notice: Notice
    ) -> Failure | None:
        namespace = regarding.metadata.namespace
        moment: datetime = self._now()
        text = printable(notice.message)
        message = text[:_EVENT_LIMIT]
        if involved["kind"] != regarding.KIND:
            where = f"{regarding.KIND} {regarding.metadata.name}"
            message = f"{where}: {text}"[:_EVENT_LIMIT]
        stamp = moment.strftime("%Y-%m-%dT%H:%M:%SZ")
        body = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {**_event_name(involved, notice), "namespace": namespace},
            "involvedObject": {**involved, "namespace": namespace},
            "reason": notice.reason,
            "message": message,
            "type": "Warning" if notice.is_warning else "Normal",
            "source": {"component": "rollback-operator"},
            "reportingComponent": f"{GROUP}/rollback-operator",
            "reportingInstance": self._instance[:128],
            "action": notice.reason,
            "firstTimestamp": stamp,
            "lastTimestamp": stamp,
            "count": 1,
        }
        done = await self._api.create(paths.in_namespace(paths.EVENTS, namespace), body)
        if not isinstance(done, Failure):
            return None
        if notice.occurrence and done.kind is FailureKind.EXISTS:
            return None
        _log.warning("an Event was not posted: %s", done.message)
        return done

    async def _set_finalizers(self, resource: R, finalizers: list[str]) -> R | Failure:
        operations = [
            _unchanged(resource),
            {"op": "add", "path": "/metadata/finalizers", "value": finalizers},
        ]
        done = await self._api.patch(_path(resource), operations)
        if isinstance(done, Failure):
            return await self._read_again(resource, done)
        return _parsed(type(resource), done)

    async def _write(self, resource: R, status: BaseModel) -> R | Failure:
        done = await self._replace(resource, status)
        if isinstance(done, TooLarge) and done.outline.identity:
            # Only the answer is too large: the write was done.
            version = str(done.outline.identity.get("resourceVersion", ""))
            metadata = resource.metadata.model_copy(update={"resource_version": version})
            return resource.model_copy(update={"metadata": metadata, "status": status})
        return _written(type(resource), done)

    async def _replace(self, resource: Resource, status: BaseModel) -> dict[str, Any] | Failure:
        operations = [
            _unchanged(resource),
            {"op": "add", "path": "/status", "value": _dump(status)},
        ]
        done = await self._api.patch(_path(resource, "status"), operations)
        return await self._read_again(resource, done) if isinstance(done, Failure) else done

    async def _read_again(self, resource: Resource, failure: Failure) -> Failure:
        """Read an outdated object again; if that fails too, delay the next attempt."""
        if failure.kind not in (FailureKind.CONFLICT, FailureKind.GONE):
            return failure
        unread = await self._refresh(resource.PLURAL, resource.key)
        if unread is None or failure.kind is FailureKind.GONE:
            return failure
        return replace(failure, retry_after=unread.retry_after or RETRY_SECONDS)


def _path(resource: Resource, part: str = "") -> paths.ApiPath:
    return paths.object_in(_KINDS[resource.PLURAL], *resource.key, part)


def _unchanged(resource: Resource) -> dict[str, Any]:
    version = resource.metadata.resource_version
    return {"op": "test", "path": "/metadata/resourceVersion", "value": version}


def _dump(model: BaseModel) -> dict[str, Any]:
    return model.model_dump(by_alias=True, exclude_none=True, mode="json")


def _written(kind: type[R], raw: dict[str, Any] | Failure) -> R | Failure:
    return raw if isinstance(raw, Failure) else _parsed(kind, raw)


def _planned_rollback(raw: dict[str, Any]) -> Rollback | Failure | None:
    return None if _is_request(raw) else _parsed(Rollback, raw)


def _is_request(raw: dict[str, Any]) -> bool:
    """Report whether a person created a Rollback that is not planned yet."""
    with suppress(ValidationError):
        return isinstance(rollback_of(raw), RollbackRequest)
    return False


def _parsed(kind: type[R], raw: dict[str, Any]) -> R | Failure:
    try:
        return kind.model_validate(raw)
    except ValidationError as error:
        name = raw.get("metadata", {}).get("name")
        _log.warning("%s %s cannot be read: %s", kind.KIND, name, error)
        return Failure(FailureKind.REJECTED, f"{kind.KIND} {name} cannot be read: {error}")


def _event_name(involved: dict[str, str], notice: Notice) -> dict[str, str]:
    """Name an Event; an Event of one occurrence has the same name whichever replica posts it."""
    prefix = f"{involved['name'][:200].rstrip('-.')}."  # a part of a name must not end so
    if not notice.occurrence:
        return {"generateName": prefix}
    text = f"{involved['kind']} {notice.occurrence}"
    return {"name": prefix + hashlib.sha256(text.encode()).hexdigest()[:16]}


def _reference(regarding: Resource) -> dict[str, str]:
    return {
        "apiVersion": API_VERSION,
        "kind": regarding.KIND,
        "name": regarding.metadata.name,
        "uid": regarding.metadata.uid,
    }


def _affected_deployment(regarding: Resource, notice: Notice) -> Iterator[dict[str, str]]:
    """Name the Deployment on which an Event is posted too."""
    name = uid = ""
    if isinstance(regarding, Rollback):
        name, uid = regarding.spec.target_ref.name, regarding.spec.target_ref.uid
    elif notice.deployment is not None:
        name, uid = notice.deployment.name, notice.deployment.uid
    if name and uid:
        yield {"apiVersion": "apps/v1", "kind": "Deployment", "name": name, "uid": uid}
