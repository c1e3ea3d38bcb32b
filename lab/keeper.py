"""Parent of every program of one lab; a script of its own, that imports nothing from the lab.

It starts programs on request (JSON lines on a Unix socket), reaps them and remembers how they
ended. When its tether (standard input) closes without the word "detach", or when it is told to
end, it kills all its descendants, removes the lab's cgroups and folder, and exits. So nothing
outlives the tool that made the lab, however that tool died. In a node it is also process 1.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import pwd
import selectors
import shutil
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
LIBC = ctypes.CDLL(None, use_errno=True)
SPAWN_FAILED = 127


class Program:
    """One started program: how to start it, and what became of it."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self.spec = spec
        self.pid = 0
        self.returncode: int | None = None

    def start(self) -> None:
        self.returncode = None
        self.pid = os.fork()
        if self.pid == 0:
            _become(self.spec)

    def describe(self) -> dict[str, Any]:
        return {"pid": self.pid, "returncode": self.returncode, "log": self.spec["log"]}


def _become(spec: dict[str, Any]) -> None:
    """Turn the forked child into the program; never returns."""
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        log = os.open(spec["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.closerange(3, 256)
        if spec.get("user"):
            account = pwd.getpwnam(spec["user"])
            os.setgroups([])
            os.setgid(account.pw_gid)
            os.setuid(account.pw_uid)
        # After the change of user, which would clear it again.
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        os.chdir(spec.get("cwd") or "/")
        os.execvpe(spec["argv"][0], spec["argv"], {**os.environ, **spec.get("env", {})})
    except BaseException as error:
        os.write(2, f"cannot start {spec['argv'][0]}: {error}\n".encode())
    finally:
        os._exit(SPAWN_FAILED)


class Keeper:
    def __init__(self, directory: Path, socket_name: str) -> None:
        self.directory = directory
        self.programs: dict[str, Program] = {}
        self.ending = False
        self.cgroups: list[str] = []
        self.selector = selectors.DefaultSelector()
        self.buffers: dict[socket.socket, bytes] = {}
        self.server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        path = directory / socket_name
        path.unlink(missing_ok=True)
        self.server.bind(str(path))
        path.chmod(0o600)
        self.server.listen(16)
        self.selector.register(self.server, selectors.EVENT_READ, self._accept)

    def watch_tether(self) -> None:
        self.selector.register(sys.stdin.fileno(), selectors.EVENT_READ, self._tether)

    def run(self) -> None:
        read_end, write_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(write_end)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: setattr(self, "ending", True))
        self.selector.register(read_end, selectors.EVENT_READ, self._drain)
        while not self.ending:
            for key, _ in self.selector.select():
                key.data(key.fileobj)
            self._reap()

    def _drain(self, read_end: int) -> None:
        with contextlib.suppress(BlockingIOError):
            while os.read(read_end, 4096):
                pass

    def _tether(self, stdin: int) -> None:
        if os.read(stdin, 4096).startswith(b"detach"):
            self.selector.unregister(stdin)
        else:
            self.ending = True

    def _accept(self, server: socket.socket) -> None:
        connection, _ = server.accept()
        self.buffers[connection] = b""
        self.selector.register(connection, selectors.EVENT_READ, self._receive)

    def _receive(self, connection: socket.socket) -> None:
        try:
            data = connection.recv(1 << 16)
        except ConnectionError:
            data = b""
        if not data:
            self.selector.unregister(connection)
            del self.buffers[connection]
            connection.close()
            return
        *lines, self.buffers[connection] = (self.buffers[connection] + data).split(b"\n")
        for line in lines:
            request = json.loads(line)
            try:
                answer = getattr(self, "do_" + request.pop("do"))(**request) or {}
            except (OSError, KeyError, TypeError) as error:
                answer = {"error": f"{type(error).__name__}: {error}"}
            with contextlib.suppress(OSError):
                connection.sendall(json.dumps(answer).encode() + b"\n")

    def do_start(self, name: str, **spec: Any) -> dict[str, Any]:
        """Start a program; without a specification, one that was started before."""
        if spec:
            self.programs[name] = Program(spec)
        program = self.programs[name]
        if not spec and program.returncode is None:
            return program.describe()
        program.start()
        return program.describe()

    def do_stop(self, name: str, number: int, grace: float) -> dict[str, Any]:
        program = self.programs[name]
        deadline = time.monotonic() + grace
        while program.returncode is None:
            late = time.monotonic() > deadline
            with contextlib.suppress(ProcessLookupError):
                os.kill(program.pid, signal.SIGKILL if late else number)
            pause = time.monotonic() + 1
            while program.returncode is None and time.monotonic() < pause:
                time.sleep(0.01)
                self._reap()
        return program.describe()

    def do_signal(self, name: str, number: int) -> None:
        os.kill(self.programs[name].pid, number)

    def do_status(self) -> dict[str, Any]:
        self._reap()
        return {name: program.describe() for name, program in self.programs.items()}

    def do_own_cgroups(self, paths: list[str]) -> None:
        self.cgroups += paths

    def do_end(self) -> None:
        self.ending = True

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for program in self.programs.values():
                if program.pid == pid and program.returncode is None:
                    program.returncode = os.waitstatus_to_exitcode(status)

    def clean_up(self) -> None:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            self._reap()
            left = _descendants(os.getpid()) | _marked(self.directory)
            if not left:
                break
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.02)
        for path in self.cgroups:
            _remove_cgroup(path)
        shutil.rmtree(self.directory, ignore_errors=True)


def _parents() -> dict[int, int]:
    parents = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError, IndexError):
                fields = Path("/proc", entry, "stat").read_text().rpartition(")")[2].split()
                parents[int(entry)] = int(fields[1])
    return parents


def _descendants(root: int) -> set[int]:
    parents = _parents()
    found = {root}
    grew = True
    while grew:
        more = {pid for pid, parent in parents.items() if parent in found} - found
        found |= more
        grew = bool(more)
    return found - {root}


def _marked(directory: Path) -> set[int]:
    """Commands that others run in this lab, and the children of those."""
    marker = f"LAB_DIR={directory}".encode()
    found = set()
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) != os.getpid():
            with contextlib.suppress(OSError):
                if marker in Path("/proc", entry, "environ").read_bytes().split(b"\0"):
                    found.add(int(entry))
    return found


def _remove_cgroup(path: str) -> None:
    deadline = time.monotonic() + 5
    while os.path.isdir(path):
        for folder, _, _ in os.walk(path, topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(folder)
        if time.monotonic() > deadline:
            return
        time.sleep(0.01)


def main() -> None:
    directory, socket_name, role = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    keeper = Keeper(directory, socket_name)
    if role == "node":
        keeper.run()
        return  # the kernel ends the namespaces with their first process
    # The lab's lock, inherited and held for life; a folder whose lock is free is a leftover.
    os.set_inheritable(int(sys.argv[4]), False)
    LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1)
    keeper.watch_tether()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    keeper.run()
    keeper.clean_up()


if __name__ == "__main__":
    main()
