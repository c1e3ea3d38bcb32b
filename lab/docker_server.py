"""A real Docker daemon of the lab's own: its socket, data and networks lie beside the machine's.

No rule of the machine's firewall is touched: containers reach the machine and each other, nothing
else. Debian's package is enough; no registry is asked, images are loaded from archives.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import tarfile
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from lab import packages, workspace
from lab.errors import LabError
from lab.images.archive import CONTAINERD_NAME
from lab.workspace import Occupant, Program, Workspace

NAME = "dockerd"
KIND = "docker"
DOCKER: Mapping[str, str] = {
    ".".join(("docker", "io")): "is the Docker daemon",  # a package here, and no registry
    "docker-compose": "applies Compose files",
    "iproute2": "removes the networks of a daemon that was killed",
}
POOL = IPv4Network("10.231.0.0/16")
LAST_SECONDS = 60
ANSWER_SECONDS = 120


class Docker(Occupant):
    """A Docker daemon for the time of a `with` block."""

    def __init__(self, workspace: Workspace | None = None) -> None:
        if os.geteuid() != 0:
            raise LabError("the lab's Docker daemon needs root")
        packages.ensure(DOCKER)
        super().__init__(workspace, KIND)

    @property
    def directory(self) -> Path:
        return self._workspace.directory

    @property
    def socket(self) -> Path:
        return self.directory / "docker.sock"

    @property
    def environment(self) -> dict[str, str]:
        """How a client finds this daemon and no other."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("DOCKER_", "COMPOSE_"))}
        own = {"DOCKER_HOST": f"unix://{self.socket}", "DOCKER_CONFIG": str(self.configuration)}
        return {**kept, **own}

    @property
    def configuration(self) -> Path:
        """Of clients: plugins, and no user's credentials."""
        return self.directory / "client"

    def _open(self) -> None:
        _sweep_bridges(self.directory)
        self._workspace.keeper.start(self._program())
        self._wait()

    def _program(self) -> Program:
        dockerd = shutil.which("dockerd") or "/usr/sbin/dockerd"
        options = {
            "data-root": self.directory / "data",
            "exec-root": self.directory / "run",
            "pidfile": self.directory / "docker.pid",
            "host": f"unix://{self.socket}",
            "exec-opt": "native.cgroupdriver=cgroupfs",
            "iptables": "false",
            "ip6tables": "false",
            "ip-forward": "false",
            "bridge": "none",
            "default-address-pool": f"base={POOL},size=24",
        }
        return Program(NAME, (dockerd, *(f"--{name}={value}" for name, value in options.items())))

    def _wait(self) -> None:
        self._workspace.keeper.wait("the Docker daemon", self._answers, needs=(NAME,))

    def _answers(self) -> bool:
        try:
            return bool(self.ask("GET", "/_ping", is_json=False))
        except OSError:
            return False

    def stop(self) -> None:
        """End the daemon, and its containers with it."""
        self._workspace.keeper.stop(NAME, signal.SIGTERM, LAST_SECONDS)

    def send(self, name: str) -> None:
        """Send it a signal: STOP, KILL."""
        self._workspace.keeper.signal(NAME, signal.Signals[f"SIG{name}"])

    def come_back(self) -> None:
        """Go on after a signal, whichever it was."""
        with contextlib.suppress(LabError):
            self.thaw()
        self.start()

    @property
    def pid(self) -> int:
        return int((self.directory / "docker.pid").read_text())

    def start(self) -> None:
        """Start it again with its data."""
        self._workspace.keeper.start_again(NAME)
        self._wait()

    def freeze(self) -> None:
        """Connections stay open and nothing answers, until `thaw`."""
        self._workspace.keeper.signal(NAME, signal.SIGSTOP)

    def thaw(self) -> None:
        self._workspace.keeper.signal(NAME, signal.SIGCONT)

    def __exit__(self, *error: Any) -> None:
        bridges: list[str] = []
        with contextlib.suppress(LabError, OSError):
            bridges = [f"br-{each['Id'][:12]}" for each in self.ask("GET", "/networks")]
        # Else shims of containers would outlive their daemon for a moment.
        with contextlib.suppress(LabError):
            self.stop()
        _remove_interfaces(bridges)
        super().__exit__(*error)

    # -- the API, without a client -----------------------------------------------------------------

    def ask(
        self,
        method: str,
        path: str,
        body: Path | None = None,
        *,
        is_json: bool = True,
        **query: str,
    ) -> Any:
        """Ask the daemon.

        Raises:
            OSError: it does not answer.
            LabError: it refuses.
        """
        connection = _Connection(self.socket)
        target = f"{path}?{urlencode(query)}" if query else path
        headers = {"Content-Type": "application/x-tar"} if body else {}
        with open(body or os.devnull, "rb") as content:
            connection.request(method, target, body=content if body else None, headers=headers)
            answer = connection.getresponse()
            text = answer.read()
        connection.close()
        if answer.status >= 400:
            raise LabError(f"Docker refuses {method} {path}: {text[:500]!r}")
        return json.loads(text) if is_json and text else text

    def load(self, archive: Path) -> None:
        """Take in the images of an archive in Docker's form."""
        self.ask("POST", "/images/load", archive, is_json=False, quiet="1")

    def image_id(self, name: str) -> str:
        return str(self.ask("GET", f"/images/{name}/json")["Id"])

    def containers(self, project: str, service: str) -> list[Any]:
        """Inspect a service's containers."""
        labels = [f"com.docker.compose.{k}={v}" for k, v in
                  (("project", project), ("service", service))]  # fmt: skip
        filters = json.dumps({"label": labels})
        inspected = []
        for each in self.ask("GET", "/containers/json", all="1", filters=filters):
            with contextlib.suppress(LabError):  # removed since it was listed
                inspected.append(self.ask("GET", f"/containers/{each['Id']}/json"))
        return inspected

    def compose(
        self, command: Sequence[str], folder: Path, *arguments: str, **variables: str
    ) -> str:
        """Run Compose as a person does, in the folder of the file."""
        result = subprocess.run(
            [*command, *arguments],
            cwd=folder,
            env={**self.environment, **variables},
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode != 0:
            raise LabError(f"{' '.join((*command, *arguments))} failed:\n{result.stderr[-2000:]}")
        return result.stdout


class _Connection(http.client.HTTPConnection):
    """HTTP over the daemon's socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("docker", timeout=ANSWER_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def free_subnet() -> IPv4Network:
    """Addresses of the pool to which this machine has no route."""
    taken = [IPv4Network(each["dst"]) for each in _ip("-4", "route") if each["dst"] != "default"]
    return next(
        block
        for block in POOL.subnets(new_prefix=24)
        if not any(block.overlaps(other) for other in taken)
    )


def _sweep_bridges(own: Path) -> None:
    """Remove bridges of daemons whose lab was killed: they take addresses from ours."""
    others = (each for each in workspace.all_folders() if each != own)
    if not any(each.name.startswith(f"{KIND}-") and workspace.is_alive(each) for each in others):
        _remove_interfaces(_bridges())


def _bridges() -> list[str]:
    return [
        link["ifname"]
        for link in _ip("-4", "address")
        if link["ifname"].startswith("br-")
        and any(IPv4Address(each["local"]) in POOL for each in link["addr_info"])
    ]


def _remove_interfaces(names: Sequence[str]) -> None:
    for name in names:
        # The daemon may have removed it.
        subprocess.run(["ip", "link", "delete", name], check=False, capture_output=True)


def _ip(*arguments: str) -> Any:
    shown = subprocess.run(["ip", "-json", *arguments], capture_output=True, check=True)
    return json.loads(shown.stdout or b"[]")


def loadable(archive: Path, made: Path) -> Path:
    """Rewrite an OCI archive for Debian's daemon: one more file names its parts."""
    with tarfile.open(archive) as source, tarfile.open(made, "w") as target:
        contents = {member.name: member for member in source}

        def read(name: str) -> Any:
            file = source.extractfile(contents[name])
            assert file is not None
            return json.load(file)

        listed = []
        for entry in read("index.json")["manifests"]:
            manifest = read(_blob(entry["digest"]))
            listed.append(
                {
                    "Config": _blob(manifest["config"]["digest"]),
                    "RepoTags": [entry["annotations"][CONTAINERD_NAME]],
                    "Layers": [_blob(layer["digest"]) for layer in manifest["layers"]],
                }
            )
        for member in contents.values():
            target.addfile(member, source.extractfile(member) if member.isfile() else None)
        _add_json(target, "manifest.json", listed, made)
    return made


def _blob(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"


def _add_json(target: tarfile.TarFile, name: str, value: object, beside: Path) -> None:
    path = beside.with_name(f"{beside.name}.{name}")
    path.write_text(json.dumps(value))
    target.add(path, name)
    path.unlink()
