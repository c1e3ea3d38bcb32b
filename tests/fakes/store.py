"""The operator's own resources, kept as the API server keeps them.

Versions rise with each write, a write to an older version is a conflict, a name is there once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from rollback_operator.api.checklist import Approval
from rollback_operator.api.v1alpha1 import (
    BOUNDS_FINALIZER,
    FINALIZER,
    HOLD_FINALIZER,
    OWNER_FINALIZER,
    TRAFFIC_FINALIZER,
    ObjectMeta,
    Resource,
    Rollback,
    RollbackPolicy,
    RollbackPolicyStatus,
    RollbackRequest,
    RollbackSpec,
    RollbackStatus,
)
from rollback_operator.model.message import Notice
from rollback_operator.ports.failure import Failure, FailureKind
from rollback_operator.ports.store import Refresh, Store
from rollback_operator.reconcile.cache import Cache
from tests.fakes.failures import CONFLICT, GONE, REFUSAL, Failures

R = TypeVar("R", bound=Resource)
_GUARDED = {
    FINALIZER: "rollback",
    BOUNDS_FINALIZER: "bounds",
    OWNER_FINALIZER: "owner",
    TRAFFIC_FINALIZER: "traffic",
    HOLD_FINALIZER: "policy",
}
"""The purpose of each finalizer, as recorded calls name it."""


@dataclass
class FakeStore(Failures):
    """Policies, Rollbacks and Events in memory."""

    policies: dict[str, RollbackPolicy] = field(default_factory=dict)
    rollbacks: dict[str, Rollback] = field(default_factory=dict)
    requests: dict[str, RollbackRequest] = field(default_factory=dict)
    notices: list[Notice] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    _version: int = 100

    def decide(self, rollback: Rollback, approval: Approval, time: datetime | None = None) -> None:
        """Let a person put a decision into a Rollback's spec; None: its time is not recorded."""
        known = self.rollbacks[rollback.metadata.name]
        spec = known.spec.model_copy(update={"approval": approval})
        raw = known.model_copy(update={"spec": spec, "decision_time": None})
        owned = {"f:spec": {"f:approval": {"f:planDigest": {}}}}
        written = raw.model_dump(by_alias=True, mode="json", exclude_none=True)
        if time is not None:
            written["metadata"]["managedFields"] = [{"time": time.isoformat(), "fieldsV1": owned}]
        self.rollbacks[known.metadata.name] = self._stored(Rollback.model_validate(written))

    def hold(self, *resources: RollbackPolicy | Rollback | RollbackRequest) -> None:
        """Put objects in as if they had been there before."""
        for one in resources:
            if isinstance(one, RollbackRequest):
                self.requests[one.metadata.name] = one
            elif isinstance(one, Rollback):
                self.rollbacks[one.metadata.name] = one
            else:
                self.policies[one.metadata.name] = one

    def refresher(self, cache: Cache) -> Refresh:
        """Have objects read anew: what is known of them may be old."""

        async def refresh(plural: str, key: tuple[str, str]) -> Failure | None:
            failure = self.take("refresh")
            if failure is not None:
                return failure
            is_policy, name = plural == RollbackPolicy.PLURAL, key[1]
            found: Resource | None = self.rollbacks.get(name) or self.requests.get(name)
            found = self.policies.get(name) if is_policy else found
            if found is None:
                (cache.drop_policy if is_policy else cache.drop_rollback)(key)
            else:
                cache.remember(found)
            return None

        return refresh

    async def list_rollbacks(self, namespace: str) -> list[Rollback] | Failure:
        failure = self._called("list_rollbacks")
        found = (one for one in self.rollbacks.values() if one.metadata.namespace == namespace)
        return failure or list(found)

    async def create_rollback(
        self, namespace: str, name: str, spec: RollbackSpec
    ) -> Rollback | Failure:
        failure = self._called("create_rollback")
        if failure is None and name in self.rollbacks:
            failure = Failure(FailureKind.EXISTS, f"{name} already exists")
        if failure is not None:
            return failure
        metadata = ObjectMeta(
            name=name,
            namespace=namespace,
            uid=f"uid-{name}",
            resource_version=self._next_version(),
            finalizers=[FINALIZER],
        )
        made = self.rollbacks[name] = Rollback(metadata=metadata, spec=spec)
        return made

    async def write_rollback(
        self, rollback: Rollback, status: RollbackStatus
    ) -> Rollback | Failure:
        known = self._called("write_rollback") or self._current(rollback)
        return known if isinstance(known, Failure) else self._replaced(known, status=status)

    async def answer_request(
        self, request: RollbackRequest, status: RollbackStatus
    ) -> Rollback | RollbackRequest | Failure:
        failure = self._called("answer_request")
        known = self.requests.get(request.metadata.name)
        failure = failure or _staleness(known, request)
        if failure is not None or known is None:
            return failure or GONE
        if status.plan is None:
            written = self._stored(known.model_copy(update={"status": status}))
            self.requests[request.metadata.name] = written
            return written
        del self.requests[request.metadata.name]
        asked = {"reason": known.spec.reason, "requested_by": known.spec.requested_by}
        planned = Rollback(
            metadata=known.metadata.model_copy(update={"finalizers": [FINALIZER]}),
            spec=RollbackSpec(**{**dict(status.plan), **asked}),
            status=status,
        )
        self.rollbacks[request.metadata.name] = self._stored(planned)
        return self.rollbacks[request.metadata.name]

    async def guard(self, resource: R, finalizer: str) -> R | Failure:
        failure = self._called(f"guard_{_GUARDED[finalizer]}")
        if failure is None and resource.metadata.deletion_timestamp is not None:
            failure = REFUSAL  # as the API server: no new finalizer on what is being deleted
        return failure or self._finalized(resource, [*resource.metadata.finalizers, finalizer])

    async def release(self, resource: R, finalizer: str) -> R | Failure:
        failure = self._called(f"release_{_GUARDED[finalizer]}")
        kept = [one for one in resource.metadata.finalizers if one != finalizer]
        return failure or self._finalized(resource, kept)

    def _finalized(self, resource: R, finalizers: list[str]) -> R | Failure:
        """Store other finalizers; without any, what is being deleted is gone."""
        known = self._current(resource)
        if isinstance(known, Failure):
            return known
        metadata = known.metadata.model_copy(update={"finalizers": finalizers})
        written = self._replaced(known, metadata=metadata)
        if metadata.deletion_timestamp is not None and not finalizers:
            del self._kept(known)[known.metadata.name]
        return written

    def _current(self, resource: R) -> R | Failure:
        """Give an object as it is stored, if it is still the one that was read."""
        known: R | None = self._kept(resource).get(resource.metadata.name)
        return _staleness(known, resource) or known or GONE

    def _replaced(self, known: R, **changed: Any) -> R:
        written = self._stored(known.model_copy(update=changed))
        self._kept(known)[known.metadata.name] = written
        return written

    def _kept(self, resource: Resource) -> dict[str, Any]:
        if isinstance(resource, RollbackPolicy):
            return self.policies
        return self.requests if isinstance(resource, RollbackRequest) else self.rollbacks

    async def delete_rollback(self, record: Rollback | RollbackRequest) -> Failure | None:
        failure = self._called("delete_rollback")
        kept = self.rollbacks if isinstance(record, Rollback) else self.requests
        failure = failure or _staleness(kept.get(record.metadata.name), record)
        if failure is None:
            del kept[record.metadata.name]
        return failure

    async def write_policy(
        self, policy: RollbackPolicy, status: RollbackPolicyStatus
    ) -> RollbackPolicy | Failure:
        known = self._called("write_policy") or self._current(policy)
        return known if isinstance(known, Failure) else self._replaced(known, status=status)

    async def post(self, regarding: Resource, notice: Notice) -> Failure | None:
        failure = self._called("post")
        if failure is not None:
            return failure
        if not notice.occurrence or notice.occurrence not in {
            one.occurrence for one in self.notices
        }:
            self.notices.append(notice)
        return None

    @property
    def writes(self) -> list[str]:
        """List the calls that an API server would have had to store."""
        return [one for one in self.calls if one not in ("list_rollbacks", "post")]

    def told(self) -> list[str]:
        return [str(one.reason) for one in self.notices]

    def _called(self, name: str) -> Failure | None:
        self.calls.append(name)
        return self.take(name)

    def _stored(self, changed: R) -> R:
        metadata = changed.metadata.model_copy(update={"resource_version": self._next_version()})
        return changed.model_copy(update={"metadata": metadata})

    def _next_version(self) -> str:
        self._version += 1
        return str(self._version)


def _staleness(known: Resource | None, written: Resource) -> Failure | None:
    if known is None:
        return GONE
    is_same = known.metadata.resource_version == written.metadata.resource_version
    return None if is_same else CONFLICT


def names(rollbacks: Iterable[Rollback]) -> list[str]:
    return [one.metadata.name for one in rollbacks]


if TYPE_CHECKING:
    # The type checker holds the fakes against the ports.
    _store: Store = FakeStore()
