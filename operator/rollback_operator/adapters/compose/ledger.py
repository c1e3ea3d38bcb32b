"""The agent's record on disk: one file, replaced as a whole, behind a lock.

A write goes to a second file, is synced, and takes the place of the first in one rename: after a
crash at any point the file holds the old record or the new record, complete. The lock is the
kernel's (flock): it ends with the process that holds it, however that ends.
"""

import fcntl
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError

from rollback_operator.api.shape import Model
from rollback_operator.ports.failure import Failure, FailureKind

LEDGER, LOCK = "ledger.json", "lock"
LOCK_PAUSES = (0.0, 0.05, 0.1, 0.2, 0.4)
"""Seconds before each try to take the lock."""
MOST_LEDGER_BYTES = 64 * 1024 * 1024


class KnownRevision(Model):
    """A release of a service: an image with the settings of the service; a ReplicaSet's part."""

    number: int
    """Increases with each release; a release that returns gets the next number."""
    revision: str
    """Digest of image and settings: its identity, and the value of the override's label."""
    image: str
    """As the Compose file named it."""
    image_id: str
    """sha256:..., the digest of the image's configuration: it names content, not a tag."""
    repo_digest: str = ""
    """Reference by which a registry has the same image; empty: it was built or loaded here."""
    settings: str
    """Digest of environment, command, mounts, limits and ports of the containers."""
    commit: str = ""
    created: float
    completed: float | None = None
    """When all containers were of it and available, since it became current."""


class ServiceRecord(Model):
    """What is known of a service."""

    uid: str
    current: str = ""
    """The revision that runs; empty: none was seen."""
    revisions: tuple[KnownRevision, ...] = ()
    pinned: str = ""
    """The revision that the override file restores; empty: none."""
    restoring: int = 0
    """Containers of an `up` of that revision that has begun and not ended; 0: none is open."""
    watched: bool = True
    """Whether a policy of the agent names it."""


class PolicyRecord(Model):
    """A policy's part that its file does not hold."""

    uid: str
    created: str
    namespace: str = ""
    """Of its file, as the next two: for people who read the record."""
    target: str = ""
    mode: str = ""
    watched: bool = True
    """Whether the agent's file has it."""
    version: int = 0
    status: Annotated[dict[str, Any], Field(default_factory=dict)]


class LedgerState(Model):
    """All that the agent remembers."""

    version: int = 1
    """Of this form."""
    services: Annotated[dict[str, ServiceRecord], Field(default_factory=dict)]
    policies: Annotated[dict[str, PolicyRecord], Field(default_factory=dict)]
    rollbacks: Annotated[dict[str, dict[str, Any]], Field(default_factory=dict)]
    """Rollbacks and requests by name, in the form of the API."""


class LedgerError(Exception):
    """The record cannot be used; the text names the file and the remedy."""


class Ledger:
    """The record, in memory as on disk."""

    def __init__(self, folder: Path, state: LedgerState, lock: int) -> None:
        self.folder = folder
        self.state = state
        self._lock = lock

    @classmethod
    def open(cls, folder: Path) -> "Ledger":
        """Lock the folder and read the record.

        Raises:
            LedgerError: another agent holds it, or it cannot be read or written.
        """
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            text = f"{folder}: {error.strerror}: the agent keeps its record there, beside the"
            raise LedgerError(f"{text} Compose file: make the folder writable for it") from None
        if not _locked(lock):
            holder = holder_of(folder) or "unknown"
            os.close(lock)
            text = f"another agent (process {holder}) watches this Compose file"
            raise LedgerError(f"{text}: stop it first, or ask it: status, undo")
        with suppress(OSError):  # a full disk: the lock holds without its text
            os.ftruncate(lock, 0)
            os.pwrite(lock, str(os.getpid()).encode(), 0)
        return cls(folder, read(folder), lock)

    def close(self) -> None:
        """Release the lock."""
        os.close(self._lock)

    def store(self, state: LedgerState) -> Failure | None:
        """Replace the record; after a failure memory and disk hold the old record."""
        failure = replace_file(
            self.folder / LEDGER, state.model_dump_json(by_alias=True, exclude_none=True)
        )
        if failure is None:
            self.state = state
        return failure


def _locked(lock: int) -> bool:
    """Take the lock; a verb that looks who holds it has it for a moment."""
    for pause in LOCK_PAUSES:
        time.sleep(pause)
        with suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
    return False


def holder_of(folder: Path) -> str:
    """Name the process that holds the lock, or `unknown`; empty: none does."""
    try:
        lock = os.open(folder / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return os.pread(lock, 20, 0).decode(errors="replace").strip() or "unknown"
    finally:
        os.close(lock)
    return ""


def read(folder: Path) -> LedgerState:
    """Read the record without the lock; an absent file is an empty record.

    Raises:
        LedgerError: it cannot be read.
    """
    path = folder / LEDGER
    try:
        with path.open("rb") as file:
            text = file.read(MOST_LEDGER_BYTES + 1)
    except FileNotFoundError:
        return LedgerState()
    except OSError as error:
        raise LedgerError(f"{path}: {error.strerror}: run this as the agent's user") from None
    try:
        state = LedgerState.model_validate_json(text)
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(map(str, fault["loc"]))
        text_ = f"{path}: {where}: {fault['msg']}"
        raise LedgerError(
            f"{text_}: restore it, or move it away: without it no release is known to be good"
        ) from None
    if state.version != LedgerState().version:
        raise LedgerError(f"{path}: version {state.version} is of a newer agent: use that agent")
    return state


def replace_file(path: Path, text: str) -> Failure | None:
    """Replace a file atomically; nothing of a failed write is left.

    The folder is synced too: the rename itself must survive a power cut.
    """
    new = path.with_name(f"{path.name}.new")
    try:
        file = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            _write_all(file, text.encode())
            os.fsync(file)
        finally:
            os.close(file)
        os.replace(new, path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        with suppress(OSError):
            new.unlink(missing_ok=True)
        text_ = f"{path} cannot be written: {error.strerror}: free space on its disk, and let"
        return Failure(FailureKind.UNAVAILABLE, f"{text_} the agent write to {path.parent}")
    return None


def _write_all(file: int, content: bytes) -> None:
    left = memoryview(content)
    while left:
        left = left[os.write(file, left) :]
