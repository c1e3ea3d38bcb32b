"""The operator's own resources."""

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from rollback_operator.api.v1alpha1 import (
    Resource,
    Rollback,
    RollbackPolicy,
    RollbackPolicyStatus,
    RollbackRequest,
    RollbackSpec,
    RollbackStatus,
)
from rollback_operator.model.message import Notice
from rollback_operator.ports.failure import Failure

R = TypeVar("R", bound=Resource)
Refresh = Callable[[str, tuple[str, str]], Awaitable[Failure | None]]
"""Rereads a resource by plural, namespace and name, and updates the cache."""


async def left_as_known(_: str, __: tuple[str, str]) -> Failure | None:
    """Refresh nothing, for a command that caches no objects."""
    return None


class Store(Protocol):
    """Policies, Rollbacks and RollbackRequests."""

    async def list_rollbacks(self, namespace: str) -> list[Rollback] | Failure:
        """Read all Rollbacks of a namespace without a cache."""

    async def create_rollback(
        self, namespace: str, name: str, spec: RollbackSpec
    ) -> Rollback | Failure:
        """Store an intent; Exists if it is stored already."""

    async def write_rollback(
        self, rollback: Rollback, status: RollbackStatus
    ) -> Rollback | Failure:
        """Replace a Rollback's status; Conflict if it has changed since it was read."""

    async def answer_request(
        self, request: RollbackRequest, status: RollbackStatus
    ) -> Rollback | RollbackRequest | Failure:
        """Store a plan behind a finalizer, or why there is none; Conflict if it has changed."""

    async def guard(self, resource: R, finalizer: str) -> R | Failure:
        """Add a finalizer: the deleted resource stays until the operator removes it.

        Conflict if it has changed since it was read; Rejected if its deletion has begun.
        """

    async def release(self, resource: R, finalizer: str) -> R | Failure:
        """Remove a finalizer; Conflict if the resource has changed since it was read."""

    async def delete_rollback(self, record: Rollback | RollbackRequest) -> Failure | None:
        """Delete an old record; Conflict if it has changed since it was read."""

    async def write_policy(
        self, policy: RollbackPolicy, status: RollbackPolicyStatus
    ) -> RollbackPolicy | Failure:
        """Replace a policy's status; Conflict if it has changed since it was read."""

    async def post(self, regarding: Resource, notice: Notice) -> Failure | None:
        """Post an Event; a failure is logged. None also if its occurrence has an Event already."""
