"""The Store port on the agent's record: each write replaces the record, or changes nothing."""

import logging
from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from rollback_operator.adapters.compose.ledger import Ledger, LedgerState
from rollback_operator.api.v1alpha1 import (
    API_VERSION,
    FINALIZER,
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
from rollback_operator.ports.failure import Failure, FailureKind

_log = logging.getLogger(__name__)
R = TypeVar("R", bound=Resource)
_GONE = Failure(FailureKind.GONE, "the record has no such object")
_CONFLICT = Failure(FailureKind.CONFLICT, "the object has changed since it was read")


class DiskStore:
    """Objects in the form of the API, by name; a project is their namespace."""

    def __init__(self, ledger: Ledger, clock: Callable[[], datetime]) -> None:
        self._ledger = ledger
        self._clock = clock

    @property
    def _state(self) -> LedgerState:
        return self._ledger.state

    def stored(self) -> list[Rollback | RollbackRequest]:
        """Parse all Rollbacks and requests of the record; an unreadable object is logged."""
        made = []
        for name, raw in self._state.rollbacks.items():
            try:
                made.append(rollback_of(raw))
            except ValidationError as error:
                _log.error("rollback %s of the record cannot be read: %s", name, error)
        return made

    async def list_rollbacks(self, namespace: str) -> list[Rollback] | Failure:
        """Give all Rollbacks of the project."""
        return [each for each in self.stored() if isinstance(each, Rollback)]

    async def create_rollback(
        self, namespace: str, name: str, spec: RollbackSpec
    ) -> Rollback | Failure:
        """Store an intent."""
        return self._parsed(Rollback, self.create(namespace, name, _dump(spec)))

    def create(self, namespace: str, name: str, spec: dict[str, Any]) -> dict[str, Any] | Failure:
        """Store a new object; Exists: there is one of that name."""
        if name in self._state.rollbacks:
            return Failure(FailureKind.EXISTS, f"{name} is on record already")
        metadata = {
            "name": name,
            "namespace": namespace,
            "uid": f"{name}.{self._clock().timestamp():.0f}",
            "resourceVersion": "1",
            "creationTimestamp": self._clock().replace(microsecond=0).isoformat(),
            "finalizers": [FINALIZER],
        }
        raw = {
            "apiVersion": API_VERSION,
            "kind": Rollback.KIND,
            "metadata": metadata,
            "spec": spec,
            "status": {},
        }
        try:
            rollback_of(raw)
        except ValidationError as error:
            return Failure(
                FailureKind.REJECTED, f"{name} is no request: {error.errors()[0]['msg']}"
            )
        return self._store(name, raw)

    async def write_rollback(
        self, rollback: Rollback, status: RollbackStatus
    ) -> Rollback | Failure:
        """Replace a Rollback's status."""
        return self._parsed(Rollback, self._change(rollback, {"status": _dump(status)}))

    async def answer_request(
        self, request: RollbackRequest, status: RollbackStatus
    ) -> Rollback | RollbackRequest | Failure:
        """Store the plan, or the refusal, of a request."""
        raw = self._change(request, {"status": _dump(status)})
        if status.plan is None:
            return self._parsed(RollbackRequest, raw)
        return self._parsed(Rollback, raw)

    def decide(self, rollback: Rollback, approval: dict[str, Any]) -> Rollback | Failure:
        """Store a person's decision, and when it was made.

        Rejected: it is on another plan, or that plan is decided already.
        """
        digest, known = rollback.status.plan_digest, rollback.spec.approval
        if not digest or approval["planDigest"] != digest:
            return Failure(FailureKind.REJECTED, "the decision is on another plan: see explain")
        if known is not None and known.plan_digest == digest:
            return Failure(FailureKind.REJECTED, f"the plan is decided already, by {known.by}")
        now = self._clock().replace(microsecond=0).isoformat()
        fields: dict[str, Any] = {"f:spec": {"f:approval": {"f:planDigest": {}}}}
        raw = self._state.rollbacks.get(rollback.metadata.name)
        if raw is None:
            return _GONE
        spec = {**raw["spec"], "approval": approval}
        metadata = {**raw["metadata"], "managedFields": [{"time": now, "fieldsV1": fields}]}
        changed = self._change(rollback, {"spec": spec, "metadata": metadata})
        return self._parsed(Rollback, changed)

    async def guard(self, resource: R, finalizer: str) -> R | Failure:
        """Add a finalizer."""
        return self._with_finalizers(resource, [*resource.metadata.finalizers, finalizer])

    async def release(self, resource: R, finalizer: str) -> R | Failure:
        """Remove a finalizer."""
        kept = [each for each in resource.metadata.finalizers if each != finalizer]
        return self._with_finalizers(resource, kept)

    async def delete_rollback(self, record: Rollback | RollbackRequest) -> Failure | None:
        """Remove an old object."""
        name = record.metadata.name
        if name not in self._state.rollbacks:
            return _GONE
        kept = {key: raw for key, raw in self._state.rollbacks.items() if key != name}
        return self._ledger.store(self._state.model_copy(update={"rollbacks": kept}))

    async def write_policy(
        self, policy: RollbackPolicy, status: RollbackPolicyStatus
    ) -> RollbackPolicy | Failure:
        """Replace a policy's status; its spec is the user's file."""
        name = policy.metadata.name
        known = self._state.policies.get(name)
        if known is None:
            return _GONE
        if str(known.version) != policy.metadata.resource_version:
            return _CONFLICT
        changed = known.model_copy(update={"version": known.version + 1, "status": _dump(status)})
        policies = self._state.policies | {name: changed}
        failure = self._ledger.store(self._state.model_copy(update={"policies": policies}))
        if failure is not None:
            return failure
        metadata = policy.metadata.model_copy(update={"resource_version": str(changed.version)})
        return policy.model_copy(update={"metadata": metadata, "status": status})

    async def post(self, regarding: Resource, notice: Notice) -> None:
        """Log an Event: nothing else shows Events here."""
        level = logging.WARNING if notice.is_warning else logging.INFO
        _log.log(level, "%s: %s: %s", regarding.metadata.name, notice.reason, notice.message)

    def _with_finalizers(self, resource: R, finalizers: list[str]) -> R | Failure:
        if isinstance(resource, RollbackPolicy):
            # The file holds the policy; nothing deletes it while the agent runs.
            metadata = resource.metadata.model_copy(update={"finalizers": finalizers})
            return resource.model_copy(update={"metadata": metadata})
        raw = self._state.rollbacks.get(resource.metadata.name)
        if raw is None:
            return _GONE
        metadata_ = {**raw["metadata"], "finalizers": finalizers}
        return self._parsed(type(resource), self._change(resource, {"metadata": metadata_}))

    def _change(self, resource: Resource, changes: dict[str, Any]) -> dict[str, Any] | Failure:
        name = resource.metadata.name
        raw = self._state.rollbacks.get(name)
        if raw is None:
            return _GONE
        version = raw["metadata"]["resourceVersion"]
        if version != resource.metadata.resource_version:
            return _CONFLICT
        changed = {**raw, **changes}
        newer = {**changed["metadata"], "resourceVersion": str(int(version) + 1)}
        return self._store(name, {**changed, "metadata": newer})

    def _store(self, name: str, raw: dict[str, Any]) -> dict[str, Any] | Failure:
        rollbacks = self._state.rollbacks | {name: raw}
        failure = self._ledger.store(self._state.model_copy(update={"rollbacks": rollbacks}))
        if failure is not None:
            _log.error("%s", failure.message)
        return failure or raw

    @staticmethod
    def _parsed(kind: type[R], raw: dict[str, Any] | Failure) -> R | Failure:
        return raw if isinstance(raw, Failure) else kind.model_validate(raw)


def _dump(model: BaseModel) -> dict[str, Any]:
    return model.model_dump(by_alias=True, exclude_none=True, mode="json")
