"""Configuration of what runs in a node: containerd, CNI, kubelet, CoreDNS, Prometheus."""

from __future__ import annotations

import json
import resource
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lab import oci
from lab.prometheus_server import scraping_pods

ADDRESS = "198.18.0.2"
NAME = "node1"
DNS_ADDRESS = "10.96.0.10"
POD_RANGE = "10.244.0.0/24"
CLUSTER_RANGE = "10.244.0.0/16"
SOCKET = "/run/containerd/containerd.sock"
DNS_READY_PORT = 8181
PROMETHEUS_PORT = 9090
POSTGRES_PORT = 5432
MOST_OPEN_FILES = 20000


def write_all(directory: Path) -> None:
    """Write every file into the lab's folder."""
    for folder in ("containerd", "cni", "opt", "kubelet", "pod-logs", "prometheus"):
        (directory / folder).mkdir()
    (directory / "hosts").write_text(f"127.0.0.1 localhost\n{ADDRESS} {NAME}\n")
    (directory / "resolv.conf").write_text(f"nameserver {ADDRESS}\n")
    (directory / "containerd.toml").write_text(_containerd(directory))
    (directory / "cni" / "10-lab.conflist").write_text(json.dumps(_cni(directory)))
    (directory / "kubelet.json").write_text(json.dumps(_kubelet(directory)))
    (directory / "Corefile").write_text(_corefile(directory))
    (directory / "prometheus" / "prometheus.yml").write_text(_prometheus(directory))


def _containerd(directory: Path) -> str:
    return f"""\
version = 2
root = "{directory}/containerd"
state = "/run/containerd"
oom_score = 0
[grpc]
  address = "{SOCKET}"
[plugins."io.containerd.internal.v1.opt"]
  path = "{directory}/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{oci.PAUSE}"
  # Without CAP_SYS_RESOURCE no sandbox starts unless this is on.
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{directory}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
"""


def _cni(directory: Path) -> Mapping[str, Any]:
    return {
        "cniVersion": "0.4.0",
        "name": "lab",
        "plugins": [
            {
                "type": "bridge",
                "bridge": "cni0",
                "isGateway": True,
                "ipMasq": True,
                "hairpinMode": True,
                "ipam": {
                    "type": "host-local",
                    "dataDir": f"{directory}/cni-addresses",
                    "ranges": [[{"subnet": POD_RANGE}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ],
    }


def _kubelet(directory: Path) -> Mapping[str, Any]:
    hard_limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    unlimited = hard_limit == resource.RLIM_INFINITY
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": f"unix://{SOCKET}",
        "cgroupDriver": "cgroupfs",
        # How soon the node becomes Ready, and how soon a pod's end is noticed.
        "nodeStatusUpdateFrequency": "1s",
        "syncFrequency": "10s",
        # Open, since nothing outside of the node's network reaches it.
        "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
        "authorization": {"mode": "AlwaysAllow"},
        "address": "0.0.0.0",
        "port": 10250,
        "readOnlyPort": 0,
        "healthzBindAddress": "127.0.0.1",
        "healthzPort": 10248,
        "failSwapOn": False,
        "failCgroupV1": False,
        "oomScoreAdj": 0,
        "maxOpenFiles": MOST_OPEN_FILES if unlimited else min(hard_limit, MOST_OPEN_FILES),
        "makeIPTablesUtilChains": True,
        "evictionHard": {
            "nodefs.available": "1%",
            "imagefs.available": "1%",
            "memory.available": "50Mi",
        },
        "imageGCHighThresholdPercent": 100,
        "clusterDNS": [DNS_ADDRESS],
        "clusterDomain": "cluster.local",
        "podLogsDir": f"{directory}/pod-logs",
        "volumePluginDir": f"{directory}/kubelet-volume-plugins",
    }


def _corefile(directory: Path) -> str:
    # Names outside of the cluster do not exist here: an answer at once instead of a time-out.
    return f"""\
.:53 {{
    errors
    ready {ADDRESS}:{DNS_READY_PORT}
    kubernetes cluster.local in-addr.arpa {{
        kubeconfig {directory}/kubeconfig
    }}
    template ANY ANY . {{
        rcode NXDOMAIN
    }}
    cache 5
}}
"""


def _prometheus(directory: Path) -> str:
    discovery = f"kubeconfig_file: {directory}/kubeconfig"
    return f"""\
{scraping_pods(discovery)}\
scrape_config_files:
- {directory}/prometheus/scrape.d/*.yml
"""


def services() -> list[dict[str, Any]]:
    """Services by which pods reach the servers that run beside the kubelet."""
    dns = {"dns": (53, "UDP"), "dns-tcp": (53, "TCP")}
    return [
        *_namespaces("monitoring", "database"),
        *_service("kube-system", "kube-dns", dns, DNS_ADDRESS),
        *_service("monitoring", "prometheus", {"http": (PROMETHEUS_PORT, "TCP")}),
        *_service("database", "postgres", {"postgres": (POSTGRES_PORT, "TCP")}),
    ]


def service_of(name: str, port: int) -> list[dict[str, Any]]:
    """A Service in kube-system for a further server that runs beside the kubelet."""
    return _service("kube-system", name, {"https": (port, "TCP")})


def _namespaces(*names: str) -> list[dict[str, Any]]:
    return [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": n}} for n in names]


def _service(
    namespace: str, name: str, ports: Mapping[str, tuple[int, str]], address: str = ""
) -> list[dict[str, Any]]:
    listed = [
        {"name": key, "port": port, "protocol": protocol} for key, (port, protocol) in ports.items()
    ]
    service: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {"ports": listed},
    }
    if address:
        service["spec"]["clusterIP"] = address
    endpoints = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "namespace": namespace,
            "name": f"{name}-lab",
            "labels": {
                "kubernetes.io/service-name": name,
                "endpointslice.kubernetes.io/managed-by": "lab",
            },
        },
        "addressType": "IPv4",
        "ports": listed,
        "endpoints": [{"addresses": [ADDRESS], "conditions": {"ready": True}}],
    }
    return [service, endpoints]
