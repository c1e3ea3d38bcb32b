"""What the plugin needs of a cluster. A refusal is a value; who asked is told what helps."""

from typing import Protocol, TypeVar

from rollback_operator.cli.plugin.record import Record
from rollback_operator.model.workload import Workload
from rollback_operator.ports.failure import Failure, FailureKind

T = TypeVar("T")
POLICIES, ROLLBACKS, LEASES = "rollbackpolicies", "rollbacks", "leases"
DONE, REFUSED, USAGE, NOT_VERIFIED, NOT_OVER = range(5)
"""Exit statuses; the last two of `undo --wait` only."""


class Stop(Exception):  # noqa: N818 (it ends a command, and is no fault of the program)
    """The command ends here, with a message that names the remedy."""

    def __init__(self, message: str, status: int = REFUSED) -> None:
        super().__init__(message)
        self.status = status


class ClusterClient(Protocol):
    """An API server, with the rights of whoever runs the command."""

    async def list(self, plural: str, namespace: str) -> list[Record] | Failure:
        """Read all of a kind, in one namespace or, where that is empty, in all of them."""

    async def read(self, plural: str, namespace: str, name: str) -> Record | Failure:
        """Read one object."""

    async def create(self, plural: str, made: Record) -> Record | Failure:
        """Create an object."""

    async def rehearse(self, plural: str, made: Record) -> Record | Failure:
        """Have the API server say whether it would create an object, and not do it."""

    async def patch(self, plural: str, seen: Record, path: str, value: object) -> Record | Failure:
        """Set one field of an object; Conflict if it is not as it was seen."""

    async def user(self) -> str | Failure:
        """Tell who asks, by the name that the API server knows them by."""

    async def inspect(self, namespace: str, name: str) -> Workload | Failure:
        """Read a Deployment with its ReplicaSets and pods."""

    async def template(self, plural: str, namespace: str, name: str) -> Record | Failure:
        """Read the pod template of a Deployment or a ReplicaSet, whole."""


def needed(found: T | Failure) -> T:
    """Give what was read, or end the command and say why, and what helps."""
    if not isinstance(found, Failure):
        return found
    match found.kind:
        case FailureKind.UNAVAILABLE:
            raise Stop(
                f"the API server does not answer: {found.message}\n"
                "Check --context and --kubeconfig; `kubectl cluster-info` asks the same server.",
                USAGE,
            )
        case FailureKind.GONE if "page not found" in found.message:
            raise Stop(
                "this cluster does not know the kinds of rollback-operator.\n"
                "Install its chart first, or choose another cluster with --context."
            )
        case FailureKind.REJECTED if "Forbidden" in found.message:
            raise Stop(
                f"{found.message}\nAsk for the right, or see what you may do with "
                "`kubectl auth can-i --list`."
            )
        case FailureKind.CONFLICT:
            raise Stop(f"it has changed meanwhile: {found.message}\nLook again, then repeat.")
        case _:
            raise Stop(found.message)
