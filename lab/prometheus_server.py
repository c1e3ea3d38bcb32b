"""A real Prometheus on a free port, with the configuration its caller gives.

Remote write, the admin API and reloads by HTTP are on, so that a test can feed it samples,
delete series and change targets.
"""

from __future__ import annotations

import signal
import urllib.request
from pathlib import Path

from lab.access import http_ok
from lab.binaries import programs
from lab.ports import free_ports
from lab.workspace import KeeperClient, Occupant, Program, Workspace

EMPTY = "global: {scrape_interval: 5s}\n"
NAME = "prometheus"
RELOAD_SECONDS = 30


def program(directory: Path, listen: str, binary: Path | None = None) -> Program:
    """How the lab runs Prometheus, in whatever mode; config and data lie in the folder."""
    return Program(
        NAME,
        (
            str(binary or programs("prometheus") / "prometheus"),
            f"--config.file={directory}/prometheus.yml",
            f"--storage.tsdb.path={directory}/data",
            f"--web.listen-address={listen}",
            "--storage.tsdb.retention.time=30d",
            "--web.enable-admin-api",
            "--web.enable-lifecycle",
            "--web.enable-remote-write-receiver",
            "--log.level=warn",
        ),
    )


def scraping_pods(discovery: str) -> str:
    """Give a configuration that scrapes each pod whose annotations ask for it, every 5 s.

    `discovery` is one line of `kubernetes_sd_configs` that says where pods are looked for.
    """
    # A pod with several ports is found several times; without a port's name in its labels the
    # finds are one and the same target.
    return f"""\
global:
  scrape_interval: 5s
  scrape_timeout: 4s
scrape_configs:
- job_name: pods
  # For servers that do not say what they send; Prometheus 3 refuses them otherwise.
  fallback_scrape_protocol: PrometheusText0.0.4
  kubernetes_sd_configs:
  - role: pod
    {discovery}
  relabel_configs:
  - source_labels: [__meta_kubernetes_pod_annotation_prometheus_io_scrape]
    regex: "true"
    action: keep
  - source_labels: [__meta_kubernetes_pod_phase]
    regex: Running
    action: keep
  - source_labels: [__meta_kubernetes_pod_ip, __meta_kubernetes_pod_annotation_prometheus_io_port]
    regex: (.+);(\\d+)
    replacement: $1:$2
    target_label: __address__
  - source_labels: [__meta_kubernetes_pod_annotation_prometheus_io_path]
    regex: (.+)
    target_label: __metrics_path__
  - source_labels: [__meta_kubernetes_namespace]
    target_label: namespace
  - source_labels: [__meta_kubernetes_pod_name]
    target_label: pod
"""


class Prometheus(Occupant):
    """A Prometheus for the time of a `with` block."""

    def __init__(
        self,
        config: str = EMPTY,
        workspace: Workspace | None = None,
        binary: Path | None = None,
    ) -> None:
        self._binary = binary or programs("prometheus") / "prometheus"
        self._config = config
        super().__init__(workspace, "prometheus")
        self.url = f"http://127.0.0.1:{free_ports(1)[0]}"

    @property
    def directory(self) -> Path:
        return self._workspace.directory / NAME

    @property
    def data_directory(self) -> Path:
        """Blocks put here while it is stopped are there at the next start."""
        return self.directory / "data"

    @property
    def promtool(self) -> Path:
        return programs("prometheus") / "promtool"

    @property
    def _keeper(self) -> KeeperClient:
        return self._workspace.keeper

    def _open(self) -> None:
        self.directory.mkdir()
        self._write(self._config)
        listen = self.url.removeprefix("http://")
        self._keeper.start(program(self.directory, listen, self._binary))
        self._wait()

    def reload(self, config: str | None = None) -> None:
        """Take a new configuration. New targets are scraped after about five seconds."""
        if config is not None:
            self._write(config)
        request = urllib.request.Request(f"{self.url}/-/reload", method="POST")
        with urllib.request.urlopen(request, timeout=RELOAD_SECONDS):
            pass

    def stop(self) -> None:
        self._keeper.stop(NAME, signal.SIGTERM)

    def start(self) -> None:
        """Start it again on the same address, with its data; returns when it is ready."""
        self._keeper.start_again(NAME)
        self._wait()

    def freeze(self) -> None:
        """Connections stay open and nothing answers, until `thaw`."""
        self._keeper.signal(NAME, signal.SIGSTOP)

    def thaw(self) -> None:
        self._keeper.signal(NAME, signal.SIGCONT)

    def _wait(self) -> None:
        self._keeper.wait("Prometheus", lambda: http_ok(f"{self.url}/-/ready"), needs=(NAME,))

    def _write(self, config: str) -> None:
        (self.directory / "prometheus.yml").write_text(config)
