"""The real operator as a child process: the installed command, or a fork of the loaded program."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import requests

from lab.ports import free_ports
from tests.integration.api import eventually

COMMAND = Path(sys.executable).with_name("rollback-operator")
ROOT = Path(__file__).parents[2]
TAIL_BYTES = 6000
END_SECONDS = 40.0
LOOK_SECONDS = 0.2
FIRST_BACKOFF_SECONDS, LONGEST_BACKOFF_SECONDS = 10.0, 300.0


@dataclass(frozen=True)
class Options:
    """What an operator is started with."""

    kubeconfig: Path
    prometheus_url: str
    identity: str = "first"
    namespaces: str = ""
    lease_namespace: str = "rollback-operator"
    lease_seconds: int = 60
    """Longer than a busy machine stands still."""
    flags: tuple[str, ...] = ()
    """Further ones, that only some tests need."""

    def arguments(self, port: int) -> list[str]:
        return [
            "run",
            f"--kubeconfig={self.kubeconfig}",
            f"--prometheus-url={self.prometheus_url}",
            f"--identity={self.identity}",
            f"--namespaces={self.namespaces}",
            f"--lease-namespace={self.lease_namespace}",
            f"--lease-seconds={self.lease_seconds}",
            "--http-host=127.0.0.1",
            f"--http-port={port}",
            "--log-format=text",
            *self.flags,
        ]


class OperatorProcess:
    """A running operator, known by its process id."""

    def __init__(self, pid: int, port: int, log: Path) -> None:
        self.pid = pid
        self.log = log
        self.url = f"http://127.0.0.1:{port}"

    def is_running(self) -> bool:
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        return True

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    def terminate(self) -> None:
        self._signal(signal.SIGTERM)

    def wait_for_end(self) -> None:
        eventually(lambda: not self.is_running(), f"{self.pid} ends\n{self.tail()}", END_SECONDS)

    def wait_until_ready(self, seconds: float = 60.0) -> None:
        eventually(self._is_ready, f"the operator is ready\n{self.tail()}", seconds)

    def metric(self, name: str) -> float:
        """Sum a metric of its own over all labels."""
        text = requests.get(f"{self.url}/metrics", timeout=5).text
        lines = (line for line in text.splitlines() if line.startswith((f"{name} ", f"{name}{{")))
        return sum(float(line.rpartition(" ")[2]) for line in lines)

    def tail(self) -> str:
        if not self.log.exists():
            return ""
        return self.log.read_text(errors="replace")[-TAIL_BYTES:]

    def _signal(self, number: int) -> None:
        try:
            os.kill(self.pid, number)
        except ProcessLookupError:
            return

    def _is_ready(self) -> bool:
        try:
            return requests.get(f"{self.url}/readyz", timeout=5).ok
        except requests.RequestException:
            return False


class InstalledOperator(OperatorProcess):
    """The installed command, as the image runs it."""

    def __init__(self, options: Options, log: Path) -> None:
        port = free_ports(1)[0]
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [str(COMMAND), *options.arguments(port)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        super().__init__(self._process.pid, port, log)

    def is_running(self) -> bool:
        return self._process.poll() is None

    def end(self) -> int:
        """End it in good order; its exit status."""
        self.terminate()
        try:
            return self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            self._process.wait(END_SECONDS)
            raise


class KeptOperator:
    """An operator that is started again when it ends, as a kubelet does it.

    At once the first time, then after 10 s, and after twice as long each time.
    """

    def __init__(self, start: Callable[[], OperatorProcess]) -> None:
        self._start = start
        self._is_over = threading.Event()
        self.restarts = 0
        self.process = start()
        self._thread = threading.Thread(target=self._keep, name="kubelet")
        self._thread.start()

    def kill(self) -> None:
        """End it for good."""
        self._is_over.set()
        self._thread.join()
        self.process.kill()

    def _keep(self) -> None:
        wait = 0.0
        while not self._is_over.wait(LOOK_SECONDS):
            if self.process.is_running():
                continue
            if self._is_over.wait(wait):
                return
            self.restarts += 1
            self.process = self._start()
            wait = min(LONGEST_BACKOFF_SECONDS, max(FIRST_BACKOFF_SECONDS, 2 * wait))


class Zygote:
    """Forks operators of a checkout, this one by default; what is left of them goes with it."""

    def __init__(self, root: Path = ROOT) -> None:
        self._root = root

    def __enter__(self) -> Self:
        paths = os.pathsep.join((str(self._root), str(self._root / "operator")))
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.zygote"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=self._root,
            env={**os.environ, "PYTHONPATH": paths},
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(END_SECONDS)
        self._process.stdout.close()

    def start(self, options: Options, log: Path) -> OperatorProcess:
        port = free_ports(1)[0]
        return OperatorProcess(self._fork(options.arguments(port), log), port, log)

    def _fork(self, arguments: Sequence[str], log: Path) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._lock:
            self._process.stdin.write(json.dumps({"arguments": arguments, "log": str(log)}) + "\n")
            self._process.stdin.flush()
            return int(self._process.stdout.readline())
