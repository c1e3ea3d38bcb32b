"""A Compose project on the lab's own Docker daemon, its Prometheus, and the agent beside them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from lab import oci
from lab.binaries import cache_folder, programs
from lab.docker_server import Docker
from lab.errors import LabError
from lab.ports import free_ports

ROOT = Path(__file__).parents[1]
SHOP = Path(__file__).parent / "shop"
SERVICE = "shop"
GOOD, BAD = "shop:1.0", "shop:2.0"
FOLDER = ".rollback-operator"
AGENT_ENDS_SECONDS = 130
LAST_BYTES = 6000


def shop_program() -> Path:
    """Build the test service; Go's own cache makes a second build a matter of moments."""
    go = shutil.which("go") or "/usr/local/go/bin/go"
    target = cache_folder() / "shop"
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="shop-") as scratch:
        built = Path(scratch, "shop")
        argv = [
            go,
            "build",
            "-trimpath",
            "-buildvcs=false",
            "-ldflags=-s -w",
            "-o",
            str(built),
            ".",
        ]
        environment = {**os.environ, "CGO_ENABLED": "0"}
        result = subprocess.run(
            argv, cwd=SHOP, env=environment, capture_output=True, text=True, check=False
        )
        if result.returncode != 0:
            raise LabError(f"building the test service failed:\n{result.stderr}")
        built.rename(target)
    return target


def load_shop(docker: Docker, name: str, **environment: str) -> str:
    """Load a release of the test service, and return the image's id."""
    made = {"PATH": "/bin", "RELEASE": name, **environment}
    image = oci.Image(
        name=name,
        entrypoint=("/bin/shop",),
        files={"bin/shop": shop_program().read_bytes()},
        folders=("tmp",),
        env=[f"{key}={value}" for key, value in made.items()],
    )
    archive = docker.directory / f"{name.replace(':', '-').replace('/', '-')}.tar"
    oci.write_for_docker(image, archive)
    docker.load(archive)
    archive.unlink()
    return docker.image_id(name)


def compose_v2(docker: Docker) -> tuple[str, ...]:
    """Build Compose 2, and make it the plugin of the daemon's clients."""
    plugin = docker.configuration / "cli-plugins" / "docker-compose"
    if not plugin.exists():
        plugin.parent.mkdir(parents=True, exist_ok=True)
        plugin.symlink_to(programs("compose-v2") / "cmd")
    return ("docker", "compose")


def scraping(port: int, job: str = SERVICE, seconds: int = 2) -> str:
    """Configure Prometheus to scrape a published port of this machine."""
    return f"""\
global: {{scrape_interval: {seconds}s, scrape_timeout: {seconds}s}}
scrape_configs:
- job_name: {job}
  body_size_limit: 8MB
  fallback_scrape_protocol: PrometheusText0.0.4
  static_configs:
  - targets: ["127.0.0.1:{port}"]
"""


@dataclass(frozen=True)
class Files:
    """Where a project lies, and on which port it serves."""

    folder: Path
    port: int

    @property
    def compose(self) -> Path:
        return self.folder / "docker-compose.yml"

    @property
    def policy(self) -> Path:
        return self.folder / "policy.yaml"


class Project:
    """A project folder with a Compose file, as a user has it."""

    service = SERVICE

    def __init__(self, docker: Docker, folder: Path, command: Sequence[str]) -> None:
        self.docker = docker
        self.command = tuple(command)
        self.files = Files(folder, free_ports(1)[0])
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def name(self) -> str:
        return self.files.folder.name

    @property
    def state(self) -> Path:
        return self.files.folder / FOLDER / self.name

    @property
    def record(self) -> dict[str, Any]:
        """The agent's record as it is on disk."""
        path = self.state / "ledger.json"
        return dict(json.loads(path.read_text())) if path.exists() else {}

    @property
    def rollbacks(self) -> list[dict[str, Any]]:
        return list(self.record.get("rollbacks", {}).values())

    def write(self, image: str, extra: str = "") -> bytes:
        """Write the user's file with an image, and return its bytes."""
        text = f"""\
# A user's own file, with a comment that must stay.
version: "3.8"
services:
  {SERVICE}:
    image: {image}
    ports: ["127.0.0.1:{self.files.port}:8080"]
    labels: {{prometheus.io/port: "8080"}}
    stop_grace_period: 2s
{extra}"""
        self.files.compose.write_text(text)
        return self.files.compose.read_bytes()

    def policy(self, **spec: Any) -> None:
        """Write a policy that decides within the patience of a test."""
        written = {
            "apiVersion": "rollback.tickettoken.io/v1alpha1",
            "kind": "RollbackPolicy",
            "metadata": {"name": self.service},
            "spec": {
                "targetRef": {"name": self.service},
                "mode": "Enforce",
                "signals": {"requests": {"metric": "http_request_duration_seconds_count",
                                         "matchers": {"job": self.service}}},
                "verification": {"timeoutSeconds": 30},
                **spec,
            },
        }  # fmt: skip
        self.files.policy.write_text(json.dumps(written))

    def up(self, *options: str, **variables: str) -> None:
        """Deploy as a person does."""
        self.docker.compose(
            self.command, self.files.folder, "up", "-d", *options, self.service, **variables
        )

    def containers(self) -> list[Any]:
        return self.docker.containers(self.name, self.service)

    def runs(self) -> set[str]:
        """The ids of the images that run."""
        return {each["Image"] for each in self.containers() if each["State"]["Running"]}


class AgentProcess:
    """The agent as a person starts it, for the time of a `with` block."""

    def __init__(
        self,
        project: Project,
        prometheus_url: str,
        options: Sequence[str] = (),
        program: Sequence[str] = (sys.executable, "-m", "rollback_operator"),
    ) -> None:
        self._project = project
        self._argv = [
            *program,
            "compose",
            "-f",
            str(project.files.compose),
            "--policy",
            str(project.files.policy),
            "--prometheus-url",
            prometheus_url,
            "--compose-command",
            " ".join(project.command),
            *options,
        ]
        self.log = project.files.folder.with_name(f"{project.name}.agent.log")
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._argv, env=environment(self._project.docker), stdout=log, stderr=log, cwd="/"
            )
        return self

    def __exit__(self, *error: object) -> None:
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(AGENT_ENDS_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise
        finally:
            self._process = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """End it as a power cut does."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._process = None

    def poll(self) -> int | None:
        """Return the exit status if it has ended."""
        status = self._process.poll() if self._process is not None else None
        if status is not None:
            self._process = None
        return status

    def wait(self, seconds: float) -> int:
        """Wait for it to end, and return the exit status."""
        assert self._process is not None
        status = self._process.wait(seconds)
        self._process = None
        return status

    @property
    def tail(self) -> str:
        return self.log.read_text(errors="replace")[-LAST_BYTES:] if self.log.exists() else ""


def environment(docker: Docker) -> Mapping[str, str]:
    """What the agent and its verbs run with."""
    paths = [str(ROOT / "operator"), str(ROOT), os.environ.get("PYTHONPATH", "")]
    return {**docker.environment, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


def verb(project: Project, *arguments: str, file: Path | None = None) -> tuple[int, str, str]:
    """Run a verb of the command; its status, output and messages."""
    argv = [sys.executable, "-m", "rollback_operator", "compose", "-f"]
    argv += [str(file or project.files.compose), *arguments]
    result = subprocess.run(
        argv, env=environment(project.docker), capture_output=True, text=True, check=False
    )
    return result.returncode, result.stdout, result.stderr


def wait_for(what: str, seconds: float, look: Callable[[], Any], tail: Callable[[], str]) -> Any:
    """Look until the answer is true.

    Raises:
        LabError: it was not within `seconds`; with the end of a log.
    """
    until = time.monotonic() + seconds
    while True:
        answer = look()
        if answer:
            return answer
        if time.monotonic() > until:
            raise LabError(f"waited {seconds:.0f} s for {what}; the agent's log ends:\n{tail()}")
        time.sleep(0.2)
