"""A lab's folder and the keeper that owns the programs in it.

The folder lives under one base folder of the user, so that `python -m lab status` finds every
lab and a new one can sweep what a machine's crash left behind.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from lab import cgroups
from lab.errors import LabError

KEEPER = Path(__file__).with_name("keeper.py")
SOCKET = "keeper.sock"
POLL_SECONDS = 0.05
LAST_LINES = 20


def base_folder() -> Path:
    """The folder of all of this user's labs. ROLLBACK_LAB_BASE moves it."""
    default = Path(tempfile.gettempdir(), f"rollback-lab-{os.getuid()}")
    base = Path(os.environ.get("ROLLBACK_LAB_BASE") or default)
    base.mkdir(mode=0o711, parents=True, exist_ok=True)
    if base.stat().st_uid != os.getuid():
        raise LabError(f"{base} belongs to another user; set ROLLBACK_LAB_BASE to another folder")
    return base


@dataclass(frozen=True)
class Program:
    """What to start under which name."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    user: str | None = None
    log_folder: Path | None = None


class KeeperClient:
    """Requests to one keeper process over its socket in the lab's folder."""

    def __init__(self, directory: Path, socket_name: str = SOCKET) -> None:
        self.directory = directory
        self._path = directory / socket_name

    def connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.connect(str(self._path))
        except OSError:
            connection.close()
            raise
        return connection

    def ask(self, do: str, **request: Any) -> dict[str, Any]:
        try:
            with self.connect() as connection, connection.makefile("rw") as stream:
                stream.write(json.dumps({"do": do, **request}) + "\n")
                stream.flush()
                line = stream.readline()
        except OSError as error:
            raise LabError(f"the lab in {self.directory} no longer runs ({error})") from error
        if not line and do != "end":
            raise LabError(f"the lab in {self.directory} ended while it was asked to {do}")
        answer: dict[str, Any] = json.loads(line or "{}")
        if "error" in answer:
            raise LabError(f"lab in {self.directory}: {do} failed: {answer['error']}")
        return answer

    def start(self, program: Program) -> None:
        log = (program.log_folder or self.directory / "log") / f"{program.name}.log"
        self.ask(
            "start",
            name=program.name,
            argv=list(map(str, program.argv)),
            env=dict(program.env),
            user=program.user,
            log=str(log),
        )

    def start_again(self, name: str) -> None:
        self.ask("start", name=name)

    def stop(
        self, name: str, number: signal.Signals = signal.SIGTERM, grace_seconds: float = 10
    ) -> None:
        self.ask("stop", name=name, number=int(number), grace=grace_seconds)

    def signal(self, name: str, number: signal.Signals) -> None:
        self.ask("signal", name=name, number=int(number))

    def peer_pid(self) -> int:
        """The keeper's process id as this process sees it, from whatever namespace."""
        with self.connect() as connection:
            raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        return int.from_bytes(raw[:4], sys.byteorder)

    def wait(
        self, what: str, ready: Callable[[], bool], needs: Sequence[str], limit_seconds: float = 120
    ) -> None:
        """Poll until ready; fail early, with the log's end, if a program it needs has ended."""
        deadline = time.monotonic() + limit_seconds
        while not ready():
            state = self.ask("status")
            for name in needs:
                if state[name]["returncode"] is not None:
                    raise LabError(obituary(name, state[name], f"while waiting for {what}"))
            if time.monotonic() > deadline:
                name = needs[0]
                reason = f"{what} did not happen within {limit_seconds:.0f} s; {name} still runs"
                raise LabError(f"{reason}\n{_log_end(state[name]['log'])}")
            time.sleep(POLL_SECONDS)


def obituary(name: str, state: Mapping[str, Any], moment: str) -> str:
    """How a program ended, with its log's last lines; the whole log is kept."""
    code = state["returncode"]
    how = f"ended with exit code {code}"
    if code < 0:
        how = f"was killed by {signal.Signals(-code).name}"
    return f"{name} {how} {moment}\n{_log_end(state['log'])}"


def _log_end(path: str) -> str:
    try:
        lines = Path(path).read_text(errors="replace").splitlines()[-LAST_LINES:]
    except OSError as error:
        return f"its log cannot be read: {error}"
    # The folder goes with the lab, the log is what a person needs then: keep a copy.
    kept = base_folder() / ".failed" / Path(path).name
    kept.parent.mkdir(exist_ok=True)
    shutil.copyfile(path, kept)
    body = "\n".join(f"    {line}" for line in lines)
    return f"last lines of its log (whole log: {kept}):\n{body}"


class Workspace:
    """One lab's folder and keeper, from creation to the end of the `with` block."""

    def __init__(self, prefix: str, name: str | None = None) -> None:
        self.directory = base_folder() / (name or f"{prefix}-{secrets.token_hex(4)}")
        self.keeper = KeeperClient(self.directory)
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        sweep()
        lock = self._claim_folder()
        argv = [sys.executable, "-I", str(KEEPER), str(self.directory), SOCKET, "lab", str(lock)]
        with (self.directory / "log" / "keeper.log").open("w") as log:
            self._process = subprocess.Popen(
                argv,
                pass_fds=(lock,),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
                env=_environment(),
                cwd="/",
            )
        os.close(lock)
        assert self._process.stdout is not None
        if self._process.stdout.readline() != "ready\n":
            raise LabError(f"the keeper of the lab in {self.directory} did not start")
        return self

    def _claim_folder(self) -> int:
        """Make the folder under its name only once its lock is held, so no sweep takes it."""
        unnamed = self.directory.with_name(f".{self.directory.name}-{secrets.token_hex(4)}")
        unnamed.mkdir(mode=0o711)
        (unnamed / "log").mkdir(mode=0o711)
        lock = os.open(unnamed / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            unnamed.rename(self.directory)
        except OSError as error:
            os.close(lock)
            shutil.rmtree(unnamed)
            name = self.directory.name
            raise LabError(
                f"a lab named {name} is up already; end it first: python -m lab down {name}"
            ) from error
        return lock

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end()

    def end(self) -> None:
        """End every program and remove the folder; returns when all of it is gone."""
        if self._process is None:
            return
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()
        self._process = None

    def detach(self) -> None:
        """Let the lab live on after this process; `KeeperClient.ask("end")` ends it."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write("detach\n")
        self._process.stdin.close()
        self._process = None


def _environment() -> dict[str, str]:
    """What the lab's programs inherit: not the lab that this process itself may be in."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("LAB_")}
    inherited["PATH"] = f"{os.environ.get('PATH', '/usr/bin:/bin')}:/usr/sbin:/sbin"
    return inherited


def all_folders() -> list[Path]:
    """The folders of labs; those with a dot are just being made."""
    return sorted(path for path in base_folder().iterdir() if not path.name.startswith("."))


def is_alive(directory: Path) -> bool:
    """Whether a keeper holds the folder's lock."""
    try:
        with (directory / "lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def sweep() -> None:
    """Remove what labs left whose keeper is gone: a power cut, a kill -9 of everything."""
    for directory in all_folders():
        with contextlib.suppress(FileNotFoundError):
            if not is_alive(directory):
                cgroups.remove(cgroups.paths_of(directory))
                _unmount(directory)
                shutil.rmtree(directory, ignore_errors=True)


def _unmount(directory: Path) -> None:
    """Detach what a killed daemon has left mounted, which cannot be removed."""
    mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    below = [path for path in mounts if Path(path).is_relative_to(directory)]
    for path in sorted(below, reverse=True):
        subprocess.run(["umount", "--lazy", path], check=False)


def end_detached(directory: Path) -> None:
    """End a lab started by `up`; returns when its keeper is gone."""
    client = KeeperClient(directory)
    with client.connect() as connection:
        connection.sendall(b'{"do": "end"}\n')
        while connection.recv(4096):
            pass


class Occupant:
    """What runs in a workspace for the time of a `with` block: in its own, or in another's."""

    def __init__(self, workspace: Workspace | None, kind: str) -> None:
        self._workspace = workspace or Workspace(kind)
        self._owns_workspace = workspace is None

    def _open(self) -> None:
        """Start what it is; what it leaves behind when it fails ends with the workspace."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        if self._owns_workspace:
            self._workspace.__enter__()
        try:
            self._open()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._owns_workspace:
            self._workspace.end()
