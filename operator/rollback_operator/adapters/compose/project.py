"""The Compose project: its files, resolved and applied by Compose's own program.

Anchors, profiles, `extends`, several files and variables have Compose's own meaning, since Compose
resolves them. No file of the user is ever written: an override file of the agent's own pins.
"""

import asyncio
import os
import signal
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from rollback_operator.adapters.compose.ledger import KnownRevision, replace_file
from rollback_operator.adapters.compose.up_lock import UpLock
from rollback_operator.ports.failure import Failure, FailureKind

CONFIG_SECONDS = 20.0
UP_SECONDS = 600.0
"""Grace periods and a pull included. Shorter than the time until an undo that makes no progress is
given up (`remedies/progress.LEAST_BOUND_SECONDS`), so that an `up` that is ended is repeated."""
MOST_OUTPUT_BYTES = 8 * 1024 * 1024
LONGEST_SAID = 400
REVISION_LABEL = "io.tickettoken.rollback.revision"
"""Label of the containers that the override file starts: the revision that it restores."""
OVERRIDE = "override.yml"
_HEADER = """\
# Written by `rollback-operator compose`: pins the last good image of a service after a rollback.
# Your own files are unchanged. A plain `up` from your own files ends the pin.
"""


@dataclass(frozen=True, slots=True)
class ComposeFiles:
    """A project as a person names it to Compose."""

    files: tuple[Path, ...]
    project: str
    profiles: tuple[str, ...] = ()
    env_files: tuple[Path, ...] = ()
    socket: Path = Path("/var/run/docker.sock")
    """Of the daemon that both the agent and Compose use."""

    @property
    def named(self) -> str:
        """The files, for people."""
        return ", ".join(map(str, self.files))

    @property
    def options(self) -> tuple[str, ...]:
        """Compose's options that stand before its command."""
        made = ["--project-name", self.project]
        for option, values in (
            ("--file", self.files),
            ("--profile", self.profiles),
            ("--env-file", self.env_files),
        ):
            for value in values:
                made += [option, str(value)]
        return tuple(made)


@dataclass(frozen=True, slots=True)
class Pin:
    """A service's image that the override file names."""

    service: str
    revision: KnownRevision
    is_local: bool = True
    """The image is on this machine: no registry is asked."""


@dataclass(frozen=True, slots=True)
class _ReadOverride:
    version: tuple[int, ...]
    entries: Mapping[str, object]


class Compose:
    """Runs Compose for a project."""

    def __init__(
        self,
        program: tuple[str, ...],
        files: ComposeFiles,
        folder: Path,
        up_seconds: float = UP_SECONDS,
    ) -> None:
        """Run nothing yet.

        Args:
            program: `docker compose`, or `docker-compose`.
            files: the project.
            folder: of the override file.
            up_seconds: the longest time of an `up`.
        """
        self._program = program
        self.up_seconds = up_seconds
        self.files = files
        self.override = folder / OVERRIDE
        self._lock = UpLock(folder, self.program, up_seconds)
        self._read: _ReadOverride | None = None

    @property
    def program(self) -> str:
        """The program, for people."""
        return " ".join(self._program)

    async def resolved(self) -> Mapping[str, Any] | Failure:
        """Resolve the files; Rejected: Compose refuses them, with what it says."""
        printed = await self._run([*self.files.options, "config"], CONFIG_SECONDS)
        if isinstance(printed, Failure):
            return printed
        try:
            loaded = yaml.safe_load(printed)
        except (yaml.YAMLError, RecursionError, ValueError):
            loaded = None
        if not isinstance(loaded, dict) or not isinstance(loaded.get("services"), dict):
            text = f"{self.files.named}: {self.program} config prints no services"
            return Failure(FailureKind.REJECTED, f"{text}: check it by hand")
        return loaded

    async def hash_of(self, service: str, is_pinned: bool) -> str | Failure:
        """Compute the hash that Compose would label a container of the service with now."""
        asked = [*self._options(is_pinned), "config", "--hash", service]
        printed = await self._run(asked, CONFIG_SECONDS)
        if isinstance(printed, Failure):
            return printed
        lines = [line.split() for line in printed.splitlines()]
        computed = next((line[1] for line in lines if line[:1] == [service] and len(line) > 1), "")
        text = f"{self.program} config --hash {service} prints no hash"
        return computed or Failure(FailureKind.REJECTED, text)

    async def restore(self, pins: Sequence[Pin], service: str, replicas: int) -> Failure | None:
        """Write the override file, and start a service, alone, from the files and that file.

        Compose leaves the containers alone if they are as the files say: a repetition is harmless.
        Without the number of containers it would take that of the file, and end the others.

        Unavailable: an `up` that has outlived its agent still runs, or this `up` was ended.
        """
        with self._lock.taken() as lock:
            if isinstance(lock, Failure):
                return lock
            failure = self._store({pin.service: _override(pin) for pin in pins})
            if failure is not None:
                return failure
            asked = [*self._options(True), "up", "--detach", "--no-deps", "--no-build"]
            asked += ["--scale", f"{service}={replicas}", service]
            printed = await self._run(asked, self.up_seconds, (lock,))
            return printed if isinstance(printed, Failure) else None

    def unpin(self, kept: Collection[str]) -> Failure | None:
        """Remove the pins of all but some services, unless an `up` may have yet to read them.

        An entry that stays would bring an old image back with the next `up` from this file.
        """
        pins = self._entries()
        if not pins.keys() - kept:
            return None
        left = {service: pin for service, pin in pins.items() if service in kept}
        with self._lock.taken() as lock:
            return None if isinstance(lock, Failure) else self._store(left)

    def _entries(self) -> Mapping[str, object]:
        """Give the entries of the override file; it is read only if it has changed."""
        version = _version_of(self.override)
        if version is None:
            return {}
        if self._read is None or self._read.version != version:
            self._read = _ReadOverride(version, _entries(self.override))
        return self._read.entries

    def _store(self, pins: Mapping[str, object]) -> Failure | None:
        """Write the override file; without pins there is none."""
        if pins:
            return replace_file(self.override, _HEADER + yaml.safe_dump({"services": dict(pins)}))
        try:
            self.override.unlink(missing_ok=True)
        except OSError as error:
            message = f"{self.override} cannot be removed: {error.strerror}"
            return Failure(FailureKind.UNAVAILABLE, message)
        return None

    def _options(self, is_pinned: bool) -> tuple[str, ...]:
        # Relative paths of all files refer to the folder of the first: the user's.
        added = ("--file", str(self.override)) if is_pinned else ()
        return (*self.files.options, *added)

    async def _run(
        self, arguments: list[str], seconds: float, kept: tuple[int, ...] = ()
    ) -> str | Failure:
        """Run Compose; it ends what it has begun, whatever becomes of the agent.

        It inherits the file descriptors `kept`. Its output goes to memory files, not to pipes: with
        a pipe it would be ended by its next line after the agent's death, between the end of one
        container and the start of another.
        """
        out, err = _memory_file(), _memory_file()
        what = f"{self.program} {'up' if 'up' in arguments else 'config'}"
        try:
            process = await asyncio.create_subprocess_exec(
                *self._program,
                *arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                cwd=self.files.files[0].parent,
                env={**os.environ, "DOCKER_HOST": f"unix://{self.files.socket}"},
                start_new_session=True,
                pass_fds=kept,
            )
            async with asyncio.timeout(seconds):
                status = await process.wait()
        except TimeoutError:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
            return Failure(
                FailureKind.UNAVAILABLE, f"{what} did not end within {seconds:.0f} s, and was ended"
            )
        except OSError as error:
            text = f"{self.program} cannot be run: {error.strerror}: install Docker Compose, or"
            return Failure(FailureKind.REJECTED, f"{text} name it with --compose-command")
        else:
            return _text(out) if status == 0 else _refused(what, _text(err))
        finally:
            os.close(out)
            os.close(err)


def _memory_file() -> int:
    return os.memfd_create("compose", os.MFD_CLOEXEC)


def _text(file: int) -> str:
    """Read the last part of an output: errors stand there."""
    begin = max(0, os.fstat(file).st_size - MOST_OUTPUT_BYTES)
    return os.pread(file, MOST_OUTPUT_BYTES, begin).decode(errors="replace")


_AWAY = (
    "cannot connect to the docker daemon",
    "couldn't connect to docker daemon",
    "error during connect",
    "error while fetching server api version",
    "an http request took too long",
    "connection aborted",
    "unexpected eof",
)
"""Of both programs: the daemon is not there, is silent, or goes away in between. They come before
those of a registry, which a silent daemon leads to as well (`timeout`)."""
_REGISTRY = ("pull access denied", "no such host", "i/o timeout", "connection refused", "timeout")


def _refused(what: str, err: str) -> Failure:
    """Give what Compose printed, and the remedy where it is known."""
    lines = [" ".join(line.split()) for line in err.splitlines() if line.strip()]
    printed = " / ".join(lines[-4:])[-LONGEST_SAID:] or "it says nothing"
    low = printed.lower()
    if any(word in low for word in _AWAY):
        return Failure(
            FailureKind.UNAVAILABLE,
            f"{what}: {printed}: the Docker daemon does not answer: start it",
        )
    if any(word in low for word in _REGISTRY):
        text = (
            f"{what}: {printed}: the registry does not give the image; load it by hand: docker load"
        )
        return Failure(FailureKind.UNAVAILABLE, text)
    return Failure(FailureKind.REJECTED, f"{what}: {printed}")


def _version_of(file: Path) -> tuple[int, ...] | None:
    """Distinguish the versions of a file without reading it; None: there is none."""
    try:
        known = file.stat()
    except OSError:
        return None
    return known.st_ino, known.st_size, known.st_mtime_ns, known.st_ctime_ns


def _entries(override: Path) -> Mapping[str, object]:
    """Read the override file; a file that a person has made unreadable counts as stale, whole."""
    try:
        services = yaml.safe_load(override.read_text())["services"]
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, KeyError, RecursionError, yaml.YAMLError):
        services = None
    return services if isinstance(services, dict) else {"": {}}


def _override(pin: Pin) -> Mapping[str, object]:
    revision = pin.revision
    # The id where there is no registry's digest: both name content, which no push can change.
    by_digest = revision.repo_digest if not pin.is_local else ""
    labels = {REVISION_LABEL: revision.revision}
    return {"image": by_digest or revision.image_id, "labels": labels}
