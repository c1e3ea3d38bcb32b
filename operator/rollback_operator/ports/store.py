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
"""Reads one of our resources anew, by plural, namespace and name, and has it known as it is."""


async def left_as_known(_: str, __: tuple[str, str]) -> Failure | None:
    """Read nothing: of who keeps no objects in memory."""
    return None


class Store(Protocol):
    """Our own resources."""

    async def list_rollbacks(self, namespace: str) -> list[Rollback] | Failure:
        """Read all Rollbacks of a namespace, fresh."""

    async def create_rollback(
        self, namespace: str, name: str, spec: RollbackSpec
    ) -> Rollback | Failure:
        """Store an intent; Exists if somebody has."""

    async def write_rollback(
        self, rollback: Rollback, status: RollbackStatus
    ) -> Rollback | Failure:
        """Replace a Rollback's status; Conflict if it is not the one that was read."""

    async def answer_request(
        self, request: RollbackRequest, status: RollbackStatus
    ) -> Rollback | RollbackRequest | Failure:
        """Store a plan, behind our finalizer, or why there is none; Conflict if it has changed."""

    async def guard(self, resource: R, finalizer: str) -> R | Failure:
        """Put one of our finalizers on: deleted, the resource stays until it is taken off.

        Conflict if it is not the one that was read; Rejected if it is being deleted already.
        """

    async def release(self, resource: R, finalizer: str) -> R | Failure:
        """Take one of our finalizers off; Conflict if it is not the one that was read."""

    async def delete_rollback(self, record: Rollback | RollbackRequest) -> Failure | None:
        """Delete an old record; Conflict if it is not the one that was read."""

    async def write_policy(
        self, policy: RollbackPolicy, status: RollbackPolicyStatus
    ) -> RollbackPolicy | Failure:
        """Replace a policy's status; Conflict if it is not the one that was read."""

    async def post(self, regarding: Resource, notice: Notice) -> None:
        """Post an Event; one that cannot be posted is logged and dropped."""
