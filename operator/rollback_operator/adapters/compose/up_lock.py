"""The lock of an `up`: held by Compose itself, which may outlive its agent.

The kernel ends the lock with the last process that holds it, and names these processes: no recorded
process id can become that of another program. An `up` that outlives its agent has the time of any
other `up`; the next agent ends it after that.
"""

import fcntl
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rollback_operator.ports.failure import Failure, FailureKind

UP_LOCK = "up.lock"
_PROCESSES = Path("/proc")
_STARTED = 19
"""Field of /proc/PID/stat after the name: the ticks from the boot of the machine to its start."""


class UpLock:
    """The lock of a project's `up`."""

    def __init__(self, folder: Path, program: str, seconds: float) -> None:
        """Take nothing yet.

        Args:
            folder: of the lock.
            program: Compose, for people.
            seconds: the longest time of an `up`.
        """
        self._path = folder / UP_LOCK
        self._program = program
        self._seconds = seconds

    @contextmanager
    def taken(self) -> Iterator[int | Failure]:
        """Hold the lock, as a file descriptor that an `up` is to inherit.

        Unavailable: it cannot be opened, or an `up` of an earlier agent holds it.
        """
        try:
            lock = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            text = f"{self._path} cannot be opened: {error.strerror}: let the agent write there"
            yield Failure(FailureKind.UNAVAILABLE, text)
            return
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield Failure(FailureKind.UNAVAILABLE, self._ended_if_late(os.fstat(lock)))
        else:
            yield lock
        finally:
            os.close(lock)

    def _ended_if_late(self, lock: os.stat_result) -> str:
        """End an `up` that has had its time; describe it for people."""
        holders = list(_holders(lock))
        named = ", ".join(map(str, holders)) or "of another user"
        what = f"{self._program} up, which an earlier agent began (process {named})"
        if not any(_age(pid) >= self._seconds for pid in holders):
            return f"{what}, still runs: it is ended after {self._seconds:.0f} s"
        for pid in holders:
            _end(pid, lock)
        return f"{what}, did not end within {self._seconds:.0f} s, and was ended"


def _holders(lock: os.stat_result) -> Iterator[int]:
    """List the processes that have the file open, but not this process."""
    for entry in _PROCESSES.iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid() and _has(entry, lock):
            yield int(entry.name)


def _has(process: Path, lock: os.stat_result) -> bool:
    with suppress(OSError):  # it has ended, or is another user's
        for file in (process / "fd").iterdir():
            with suppress(OSError):
                if os.path.samestat(file.stat(), lock):
                    return True
    return False


def _age(pid: int) -> float:
    """Seconds since the start of a process; 0: it has ended."""
    try:
        fields = (_PROCESSES / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    ticks = os.sysconf("SC_CLK_TCK")
    return time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[_STARTED]) / ticks


def _end(pid: int, lock: os.stat_result) -> None:
    """Kill a process if it still holds the lock: its number may be another's by now."""
    with suppress(OSError):
        process = os.pidfd_open(pid)
        try:
            if _has(_PROCESSES / str(pid), lock):
                signal.pidfd_send_signal(process, signal.SIGKILL)
        finally:
            os.close(process)
