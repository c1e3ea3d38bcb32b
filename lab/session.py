"""What runs in the present lab and how to reach it; for tests and commands inside the lab.

`current()` reads the session that `run`, `exec` and `shell` announce by LAB_DIR.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lab import metrics_server
from lab.access import Access, http_ok
from lab.errors import LabError
from lab.namespace import network_of
from lab.workspace import KeeperClient

FILE = "session.json"
CONTROL_PLANE = "control-plane"
NODE = "node"
RELOAD_SECONDS = 30
READ_SECONDS = 30
# Where kubectl finds its plugin `rollback`, and the shell its completion: the environment of this
# checkout, or that of the Python that runs (a worktree has none of its own).
_BIN = Path(__file__).parents[1] / ".venv" / "bin"
PLUGINS = _BIN if _BIN.is_dir() else Path(sys.executable).parent


@dataclass(frozen=True)
class Session:
    """One running lab. Empty strings stand for servers that it does not have."""

    mode: str
    name: str
    directory: Path
    server: str
    kubeconfig: Path
    kubectl_path: Path
    prometheus_url: str = ""
    database_url: str = ""
    # The same two as pods in the node reach them, by the names of Services.
    prometheus_url_in_cluster: str = ""
    database_url_in_cluster: str = ""
    # Node mode only.
    node_pid: int = 0
    node_address: str = ""
    containerd_socket: str = ""

    def write(self) -> None:
        document = {k: str(v) if isinstance(v, Path) else v for k, v in asdict(self).items()}
        path = self.directory / FILE
        path.touch(mode=0o600)
        path.write_text(json.dumps(document, indent=2))

    def environment(self) -> dict[str, str]:
        """What a command in the lab gets on top of the caller's environment."""
        found = {
            "KUBECONFIG": str(self.kubeconfig),
            "PATH": os.pathsep.join(
                [str(self.kubectl_path.parent), str(PLUGINS), os.environ.get("PATH", "")]
            ),
            "KUBECACHEDIR": str(self.directory / "kubectl-cache"),
            "LAB_DIR": str(self.directory),
            "LAB_MODE": self.mode,
            "PROMETHEUS_URL": self.prometheus_url,
            "DATABASE_URL": self.database_url,
        }
        return {key: value for key, value in found.items() if value}

    def network_prefix(self) -> tuple[str, ...]:
        """What to put before a command so that it is in the lab's network."""
        if not self.node_pid:
            return ()
        own, node = (os.readlink(f"/proc/{pid}/ns/net") for pid in ("self", self.node_pid))
        return () if own == node else ("nsenter", "-t", str(self.node_pid), "-n", "--")

    def in_node(self, *argv: str, input: bytes | None = None) -> str:  # noqa: A002
        """Run a command inside all of the node's namespaces; its output."""
        self._require_node("in_node")
        enter = ["nsenter", "-t", str(self.node_pid), "-m", "-u", "-i", "-n", "-p", "-C", "--"]
        result = subprocess.run([*enter, *argv], input=input, capture_output=True, check=False)
        if result.returncode != 0:
            said = result.stderr.decode(errors="replace").strip()
            raise LabError(f"{' '.join(argv)} failed: {said}")
        return result.stdout.decode()

    @property
    def access(self) -> Access:
        return Access(
            self.directory, self.server, self.kubeconfig, self.kubectl_path, self.network_prefix()
        )

    def kubectl(self, *arguments: str, input: str | None = None) -> str:  # noqa: A002
        return self.access.kubectl(*arguments, input=input)

    def get(self, path: str) -> dict[str, Any]:
        """Read an object or a list from the API server, as the administrator.

        Over HTTPS: a kubectl for each look would take the machine's time from what it looks at.
        """
        user = json.loads(self.kubeconfig.read_text())
        token, cluster = user["users"][0]["user"]["token"], user["clusters"][0]["cluster"]
        trust = ssl.create_default_context(cafile=cluster["certificate-authority"])
        headers = {"Authorization": f"Bearer {token}"}
        request = urllib.request.Request(f"{self.server}{path}", headers=headers)
        is_outside = bool(self.network_prefix())
        with network_of(self.node_pid) if is_outside else contextlib.nullcontext():
            try:
                answer = urllib.request.urlopen(request, timeout=READ_SECONDS, context=trust)
                with answer:
                    return dict(json.load(answer))
            except (OSError, ValueError) as error:
                raise LabError(f"GET {path} failed: {error}") from error

    def service_account_kubeconfig(self, namespace: str, name: str) -> Path:
        return self.access.service_account_kubeconfig(namespace, name)

    def import_image(self, archive: Path | str) -> None:
        """Give the node an image from an OCI or Docker archive, under the name in the archive."""
        self.in_node("ctr", "--namespace=k8s.io", "images", "import", str(Path(archive).resolve()))

    def images(self) -> list[str]:
        listing = self.in_node("ctr", "--namespace=k8s.io", "images", "list", "--quiet")
        return listing.split()

    def stop_prometheus(self) -> None:
        self._servers.stop("prometheus", signal.SIGTERM)

    def start_prometheus(self) -> None:
        """Start it again with its data; returns when it is ready."""
        self._servers.start_again("prometheus")
        with self._network():
            self._servers.wait(
                "Prometheus",
                lambda: http_ok(f"{self.prometheus_url}/-/ready"),
                needs=("prometheus",),
            )

    def add_scrape_config(self, name: str, config: str) -> None:
        """Let the node's Prometheus scrape more; the text is a file with `scrape_configs:`."""
        self._require_node("add_scrape_config")
        folder = self.directory / "prometheus" / "scrape.d"
        folder.mkdir(exist_ok=True)
        (folder / f"{name}.yml").write_text(config)
        request = urllib.request.Request(f"{self.prometheus_url}/-/reload", method="POST")
        with self._network(), urllib.request.urlopen(request, timeout=RELOAD_SECONDS):
            pass

    def start_metrics_server(self) -> None:
        """Have a metrics-server answer for metrics.k8s.io; returns when it has figures."""
        self._require_node("start_metrics_server")
        metrics_server.ensure(self._servers, self.access, self.directory)

    def freeze(self, program: str) -> None:
        """Stop a program without ending it: connections to it stay open, nothing answers."""
        self._servers.signal(program, signal.SIGSTOP)

    def thaw(self, program: str) -> None:
        self._servers.signal(program, signal.SIGCONT)

    def programs(self) -> dict[str, Any]:
        """Every program of the lab: pid, exit code if it has ended, and log."""
        return self._servers.ask("status")

    @property
    def _servers(self) -> KeeperClient:
        return KeeperClient(self.directory, "node.sock" if self.node_pid else "keeper.sock")

    def _network(self) -> contextlib.AbstractContextManager[None]:
        return network_of(self.node_pid) if self.node_pid else contextlib.nullcontext()

    def _require_node(self, what: str) -> None:
        if not self.node_pid:
            raise LabError(f"{what} needs a lab in node mode, this one is in mode {self.mode}")


def read(directory: Path) -> Session:
    """The session of the lab in a folder."""
    try:
        document = json.loads((directory / FILE).read_text())
    except FileNotFoundError as error:
        raise LabError(f"no lab runs in {directory}; see python -m lab status") from error
    for key in ("directory", "kubeconfig", "kubectl_path"):
        document[key] = Path(document[key])
    return Session(**document)


def current(environment: Mapping[str, str] = os.environ) -> Session:
    """The session of the lab that this process was started in."""
    directory = environment.get("LAB_DIR")
    if not directory:
        raise LabError("LAB_DIR is not set: start this with python -m lab run ... -- COMMAND")
    return read(Path(directory))


def command_in(session: Session, argv: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Argument list and environment that run a command in the lab."""
    environment = {**os.environ, **session.environment()}
    return [*session.network_prefix(), *argv], environment
