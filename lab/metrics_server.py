"""metrics-server in a node, beside the kubelet that it reads: for autoscalers and `kubectl top`.

Not part of a node at its start: whoever wants it starts it (`session.start_metrics_server`).
"""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import Any

from lab import access, node_config
from lab.access import Access
from lab.binaries import programs
from lab.errors import LabError
from lab.workspace import KeeperClient, Program

NAME = "metrics-server"
PORT = 4443
GROUP, VERSION = "metrics.k8s.io", "v1beta1"
RESOLUTION_SECONDS = 10
"""How often it reads the kubelet; it takes no shorter time."""


def ensure(servers: KeeperClient, reached: Access, directory: Path) -> None:
    """Start it, unless it runs; returns when the API server gives its answers, with figures."""
    with (directory / f"{NAME}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if NAME not in servers.ask("status"):
            servers.start(_program(directory))
            access.apply_list(reached, [*node_config.service_of(NAME, PORT), _registration()])
        servers.wait("metrics-server", lambda: _has_figures(reached), needs=(NAME,))


def _program(directory: Path) -> Program:
    kubeconfig = directory / "kubeconfig"
    return Program(
        NAME,
        (
            str(programs(NAME) / NAME),
            f"--kubeconfig={kubeconfig}",
            f"--authentication-kubeconfig={kubeconfig}",
            f"--authorization-kubeconfig={kubeconfig}",
            f"--bind-address={node_config.ADDRESS}",
            f"--secure-port={PORT}",
            f"--cert-dir={directory}/{NAME}",
            # The kubelet signs its certificate itself.
            "--kubelet-insecure-tls",
            "--kubelet-preferred-address-types=InternalIP",
            f"--metric-resolution={RESOLUTION_SECONDS}s",
            "--kubelet-request-timeout=5s",
        ),
    )


def _registration() -> dict[str, Any]:
    return {
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": f"{VERSION}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "version": VERSION,
            "service": {"namespace": "kube-system", "name": NAME, "port": PORT},
            "insecureSkipTLSVerify": True,
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
        },
    }


def _has_figures(reached: Access) -> bool:
    """Whether it has read the kubelet twice: a rate takes two readings."""
    try:
        return '"usage"' in reached.kubectl("get", "--raw", f"/apis/{GROUP}/{VERSION}/nodes")
    except LabError:
        return False  # not registered, not available, or not yet read
