"""Ports for what a Compose project does not have, and for the machine that it runs on."""

import pwd
from collections.abc import Mapping
from pathlib import Path

from rollback_operator.adapters.compose.engine import Engine
from rollback_operator.adapters.compose.revisions import image_name
from rollback_operator.adapters.compose.workloads import ComposeWorkloads
from rollback_operator.api.remedy import Flag, FlagPlan
from rollback_operator.api.safety import PodCommand
from rollback_operator.api.v1alpha1 import ObjectMeta
from rollback_operator.model.controllers import Claims, OwnedDeployment, OwnerState
from rollback_operator.model.rights import Right
from rollback_operator.model.services import Service, ServiceSelector
from rollback_operator.model.surroundings import ClusterCapacity, Node, Quota, Reference, full_name
from rollback_operator.model.workload import (
    Autoscaler,
    Bounds,
    ConfigState,
    Deployment,
    FlagState,
)
from rollback_operator.ports.application import CommandOutput, LogQuery
from rollback_operator.ports.failure import Failure, FailureKind
from rollback_operator.ports.jobs import JobOrder, JobState
from rollback_operator.rollback.probing import LineCount, Silence

MOST_CONTAINER_LOG_BYTES = 1024 * 1024
MOST_SECRET_BYTES = 64 * 1024
MOST_KEYS = 64
_NONE = Failure(FailureKind.UNKNOWN_KIND, "a Compose project has no such object")


class NoFlags:
    """The Flags port: a policy with a flag is refused at the start."""

    async def read(self, namespace: str, flag: Flag, target: str) -> FlagState | Failure:
        """Find none."""
        return _NONE

    async def may_set(self, namespace: str, flag: Flag) -> bool | Failure:
        """Find none."""
        return False

    async def set(self, namespace: str, flag: Flag, plan: FlagPlan) -> FlagState | Failure:
        """Set none."""
        return _NONE


class NoOwners:
    """The Owners and Tools ports: nobody else rolls out a Compose project by an object."""

    async def read_owner(self, steered: OwnedDeployment) -> OwnerState | Failure:
        """Find none."""
        return _NONE

    async def suspend(
        self, steered: OwnedDeployment, state: OwnerState, by: str
    ) -> OwnerState | Failure:
        """Suspend none."""
        return _NONE

    async def resume(
        self, steered: OwnedDeployment, state: OwnerState, automated: str
    ) -> OwnerState | Failure:
        """Resume none."""
        return _NONE

    async def read_claims(self, deployment: Deployment) -> Claims:
        """Find none: `workloads` names what speaks against an undo."""
        return Claims()


class NoConfigurations:
    """The Configurations port: what a container reads is part of its service's configuration."""

    async def read(self, namespace: str, reference: Reference) -> ConfigState | Failure:
        """Find none."""
        return _NONE

    async def read_stored(self, namespace: str, name: str) -> Mapping[str, str] | Failure:
        """Find none."""
        return {}

    async def store(
        self, policy: ObjectMeta, name: str, contents: Mapping[str, str]
    ) -> Failure | None:
        """Store none."""
        return _NONE

    async def users(self, namespace: str, name: str, target: str) -> tuple[str, ...] | Failure:
        """Find none."""
        return ()

    async def restore(
        self, namespace: str, name: str, known: ConfigState, text: str
    ) -> ConfigState | Failure:
        """Restore none."""
        return _NONE


class NoJobs:
    """The Jobs port: a policy that rolls migrations back by a Job is refused at the start."""

    async def create(self, order: JobOrder) -> JobState | Failure:
        """Create none."""
        return _NONE

    async def adopt(self, order: JobOrder) -> JobState | Failure:
        """Find none."""
        return _NONE

    async def look(self, namespace: str, name: str) -> JobState | Failure:
        """Find none."""
        return _NONE


class NoSelectors:
    """The Selectors port: a policy that stops traffic is refused at the start."""

    async def read_selector(self, namespace: str, name: str) -> ServiceSelector | Failure:
        """Find none."""
        return _NONE

    async def set_mark(
        self, namespace: str, known: ServiceSelector, mark: str
    ) -> ServiceSelector | Failure:
        """Change none."""
        return _NONE


class NoPodTools:
    """The PodTools port: a policy with a diagnosis is refused at the start."""

    async def run(self, namespace: str, pod: str, command: PodCommand) -> CommandOutput | Failure:
        """Run none."""
        return _NONE

    async def memory(self, namespace: str) -> Mapping[str, int] | Failure:
        """Read none."""
        return _NONE


class NoAutoscalers:
    """The Autoscalers port."""

    async def read_autoscaler(self, namespace: str, name: str) -> Autoscaler | Failure:
        """Find none."""
        return _NONE

    async def set_bounds(
        self, namespace: str, autoscaler: Autoscaler, bounds: Bounds
    ) -> Autoscaler | Failure:
        """Set none."""
        return _NONE


class AllRights:
    """The Rights port: who may use the Docker socket may do everything."""

    async def may(self, namespace: str, right: Right) -> bool | Failure:
        """Grant it."""
        return True


class NoServices:
    """The Services port: Compose's network leads to every container of a service."""

    async def list_all(self, namespace: str) -> tuple[Service, ...] | Failure:
        """Find none."""
        return ()


class Machine:
    """The Surroundings and Logs ports on a Docker daemon."""

    def __init__(self, engine: Engine, workloads: ComposeWorkloads) -> None:
        self._engine = engine
        self._workloads = workloads

    async def is_there(self, namespace: str, reference: Reference) -> bool | Failure:
        """Check for an image on this machine, or in a registry that is known to have had it."""
        read = await self._engine.image(reference.name)
        if not isinstance(read, Failure):
            return True
        if read.kind is not FailureKind.GONE:
            return read
        records = (each.record for each in self._workloads.known.values())
        known = [each for record in records for each in record.revisions]
        return any(each.repo_digest for each in known if each.image_id == reference.name)

    async def cluster(self) -> ClusterCapacity | Failure:
        """Describe the machine as a single node, with the images of known releases."""
        known = [
            revision
            for observed in self._workloads.known.values()
            for revision in observed.record.revisions
        ]
        images = set()
        for revision in known:
            read = await self._engine.image(revision.image_id)
            if not isinstance(read, Failure):
                images.add(full_name(image_name(revision)))
            elif read.kind is not FailureKind.GONE:
                return read
        return ClusterCapacity((Node("this machine", images=frozenset(images)),), usage=None)

    async def quotas(self, namespace: str) -> tuple[Quota, ...] | Failure:
        """Find none."""
        return ()

    async def approvals_unprotected(self) -> str | Failure:
        """Approvals are files whose owner the kernel knows, in a folder of the agent's own."""
        return ""

    async def count(self, query: LogQuery) -> LineCount | Silence:
        """Count lines in the log of a container."""
        ids = {
            each.key: each.id
            for observed in self._workloads.known.values()
            for each in observed.containers
        }
        if query.pod not in ids:
            return Silence("the container is gone")
        since = query.since.timestamp()
        log = await self._engine.log(ids[query.pod], since, MOST_CONTAINER_LOG_BYTES)
        if isinstance(log, Failure):
            return Silence(log.message)
        wanted = tuple(text.encode() for text in query.texts)
        lines = sum(any(text in line for text in wanted) for line in log.splitlines())
        return LineCount(lines, len(log) < MOST_CONTAINER_LOG_BYTES)


class FileSecrets:
    """The Secrets port on a folder: FOLDER/NAME/KEY, as Kubernetes mounts Secrets."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    async def read(self, namespace: str, name: str, key: str) -> str | Failure:
        """Read a file."""
        if self._folder is None:
            text = f"Secret {name}, key {key}: no folder of secrets is known: pass --secrets FOLDER"
            return Failure(FailureKind.GONE, f"{text}, with the value in FOLDER/{name}/{key}")
        return _text_of(self._folder / name / key)

    async def read_all(self, namespace: str, name: str) -> Mapping[str, str] | Failure:
        """Read all files of a Secret."""
        folder = None if self._folder is None else self._folder / name
        try:
            keys = (
                sorted(each.name for each in folder.iterdir() if each.is_file()) if folder else []
            )
        except OSError as error:
            return Failure(FailureKind.GONE, f"{folder}: {error.strerror}")
        if not keys:
            return Failure(FailureKind.GONE, f"Secret {name}: pass --secrets FOLDER with its files")
        values: dict[str, str] = {}
        for key in keys[:MOST_KEYS]:
            value = await self.read(namespace, name, key)
            if isinstance(value, Failure):
                return value
            values[key] = value
        return values


def _text_of(path: Path) -> str | Failure:
    try:
        with path.open("rb") as file:
            return file.read(MOST_SECRET_BYTES).decode()
    except FileNotFoundError:
        return Failure(FailureKind.GONE, f"{path}: there is no such file: write the value into it")
    except OSError as error:
        return Failure(FailureKind.REJECTED, f"{path}: {error.strerror}: let the agent read it")
    except UnicodeDecodeError:
        return Failure(FailureKind.REJECTED, f"{path} is not text")


def user_of(path: Path) -> str:
    """Name the owner of a file."""
    uid = path.stat().st_uid
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"
