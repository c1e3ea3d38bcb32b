"""Control plane mode: etcd, API server, controller manager, scheduler, and KWOK on demand.

Ordinary processes on free ports of 127.0.0.1. No containers run: pods are objects, which KWOK
makes Ready on fake nodes. Enough for most integration tests, and ready in about three seconds.
"""

from __future__ import annotations

import secrets
import shutil
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lab import access, packages
from lab.binaries import HERE, control_plane_program, programs
from lab.ports import free_ports
from lab.workspace import KeeperClient, Occupant, Program, Workspace

SERVICE_RANGE = "10.96.0.0/16"
FAKE_NODE = "kwok.x-k8s.io/node"


@dataclass(frozen=True)
class Addresses:
    """Where etcd and the API server listen."""

    bind: str
    advertise: str
    port: int
    etcd_client: int
    etcd_peer: int

    @property
    def server(self) -> str:
        return f"https://{self.advertise}:{self.port}"


class Core:
    """The control plane's programs in a folder, started through a keeper.

    Shared by both modes; only addresses and a few API server flags differ.
    """

    def __init__(
        self,
        directory: Path,
        keeper: KeeperClient,
        addresses: Addresses,
        program: Callable[[str], Path],
    ) -> None:
        self.directory = directory
        self.keeper = keeper
        self.addresses = addresses
        self._program = program
        self.token = secrets.token_hex(16)
        self.pki = directory / "pki"
        self.access = access.Access(
            directory,
            addresses.server,
            directory / "kubeconfig",
            program("kubectl"),
        )

    def prepare(self) -> None:
        """Write keys and kubeconfig; the API server adds its own certificate."""
        self.pki.mkdir(mode=0o700)
        key, public = self.pki / "sa.key", self.pki / "sa.pub"
        make = ("openssl", "genrsa", "-out", str(key), "2048")
        publish = ("openssl", "rsa", "-in", str(key), "-pubout", "-out", str(public))
        for argv in (make, publish):
            subprocess.run(argv, check=True, capture_output=True)
        tokens = self.directory / "tokens.csv"
        tokens.touch(mode=0o600)
        tokens.write_text(f'{self.token},admin,1,"system:masters"\n')
        authority = self.pki / "apiserver.crt"
        access.write_kubeconfig(
            self.access.kubeconfig, self.addresses.server, self.token, authority
        )

    def start_server(self, *apiserver_flags: str) -> None:
        """Start etcd and the API server, without waiting for them."""
        a = self.addresses
        client, peer = f"http://127.0.0.1:{a.etcd_client}", f"http://127.0.0.1:{a.etcd_peer}"
        self._start(
            "etcd",
            f"--data-dir={self.directory}/etcd",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            # Alone, it elects itself; short intervals save a second at the start.
            "--heartbeat-interval=10",
            "--election-timeout=100",
            "--unsafe-no-fsync",
            "--log-level=warn",
        )
        self._start(
            "kube-apiserver",
            f"--etcd-servers={client}",
            f"--bind-address={a.bind}",
            f"--advertise-address={a.advertise}",
            f"--secure-port={a.port}",
            f"--cert-dir={self.pki}",
            f"--service-cluster-ip-range={SERVICE_RANGE}",
            f"--service-account-key-file={self.pki}/sa.pub",
            f"--service-account-signing-key-file={self.pki}/sa.key",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--token-auth-file={self.directory}/tokens.csv",
            "--authorization-mode=Node,RBAC",
            "--allow-privileged",
            "--enable-aggregator-routing",
            "--profiling=false",
            *apiserver_flags,
        )

    def start_controllers(self) -> None:
        """Start what turns Deployments into pods and pods into assignments."""
        common = (
            f"--kubeconfig={self.access.kubeconfig}",
            "--leader-elect=false",
            "--secure-port=0",
            "--kube-api-qps=200",
            "--kube-api-burst=400",
        )
        self._start(
            "kube-controller-manager",
            *common,
            f"--service-account-private-key-file={self.pki}/sa.key",
            f"--root-ca-file={self.pki}/apiserver.crt",
            "--use-service-account-credentials",
            "--allocate-node-cidrs=false",
            # Made at the start, used or not; the default would lie outside of the lab.
            f"--flex-volume-plugin-dir={self.directory}/flex-volumes",
        )
        self._start("kube-scheduler", *common)

    def wait_for_server(self) -> None:
        url = f"{self.addresses.server}/readyz"
        self.keeper.wait(
            "the API server",
            lambda: access.http_ok(url, self.token),
            needs=("kube-apiserver", "etcd"),
        )

    def wait_for_controllers(self) -> None:
        """The first ServiceAccount is the controller manager's sign of life; pods need it."""
        account = "/api/v1/namespaces/default/serviceaccounts/default"
        self.keeper.wait(
            "the controller manager",
            lambda: access.http_ok(f"{self.addresses.server}{account}", self.token),
            needs=("kube-controller-manager", "kube-scheduler", "kube-apiserver", "etcd"),
        )

    def start_kwok(self, nodes: int, taints: tuple[dict[str, str], ...] = ()) -> None:
        """Start KWOK and wait until its fake nodes are Ready."""
        names = [f"fake-{index}" for index in range(nodes)]
        objects = [
            {
                "apiVersion": "v1",
                "kind": "Node",
                "metadata": {
                    "name": name,
                    "annotations": {FAKE_NODE: "fake"},
                    "labels": {"type": "kwok", "kubernetes.io/hostname": name},
                },
                "spec": {"taints": list(taints)},
            }
            for name in names
        ]
        self.keeper.start(
            Program(
                "kwok",
                (
                    str(programs("kwok") / "kwok"),
                    f"--kubeconfig={self.access.kubeconfig}",
                    f"--config={HERE}/kwok/stages.yaml",
                    f"--manage-nodes-with-annotation-selector={FAKE_NODE}=fake",
                    # Without a lease a node is taken for lost after 50 s, and its pods with it.
                    "--node-lease-duration-seconds=40",
                ),
            )
        )
        access.apply_list(self.access, objects)
        query = ("get", "nodes", "--selector=type=kwok", "--output=jsonpath={.items[*].status}")
        self.keeper.wait(
            "KWOK's fake nodes",
            lambda: self.access.kubectl(*query).count('"KubeletReady"') == nodes,
            needs=("kwok",),
        )

    def _start(self, name: str, *flags: str) -> None:
        self.keeper.start(Program(name, (str(self._program(name)), *flags)))


class ControlPlane(Occupant):
    """A control plane for the time of a `with` block.

    `apiserver_flags` are added to the API server's own, for example an audit log.
    """

    def __init__(
        self, workspace: Workspace | None = None, apiserver_flags: tuple[str, ...] = ()
    ) -> None:
        if not shutil.which("openssl"):
            packages.ensure(packages.CONTROL_PLANE)
        for name in ("etcd", "kube-apiserver", "kube-controller-manager"):
            control_plane_program(name)
        super().__init__(workspace, "cp")
        self._apiserver_flags = apiserver_flags
        self._core: Core | None = None

    def _open(self) -> None:
        port, client, peer = free_ports(3)
        self._core = Core(
            self._workspace.directory,
            self._workspace.keeper,
            Addresses("127.0.0.1", "127.0.0.1", port, client, peer),
            control_plane_program,
        )
        self._core.prepare()
        # The kubernetes Service may not point at a loopback address; nobody uses it here.
        self._core.start_server("--endpoint-reconciler-type=none", *self._apiserver_flags)
        self._core.wait_for_server()
        self._core.start_controllers()
        self._core.wait_for_controllers()

    @property
    def core(self) -> Core:
        assert self._core is not None, "use ControlPlane as a context manager"
        return self._core

    @property
    def directory(self) -> Path:
        return self._workspace.directory

    @property
    def server(self) -> str:
        return self.core.addresses.server

    @property
    def kubeconfig(self) -> Path:
        """The administrator's."""
        return self.core.access.kubeconfig

    @property
    def kubectl_path(self) -> Path:
        return self.core.access.kubectl_path

    def kubectl(self, *arguments: str, input: str | None = None) -> str:  # noqa: A002
        return self.core.access.kubectl(*arguments, input=input)

    def service_account_kubeconfig(self, namespace: str, name: str) -> Path:
        return self.core.access.service_account_kubeconfig(namespace, name)

    def start_kwok(self, nodes: int = 1) -> None:
        self.core.start_kwok(nodes)

    def stop_apiserver(self) -> None:
        """As in a power cut: connections break, nothing is said."""
        self._workspace.keeper.stop("kube-apiserver", signal.SIGKILL)

    def start_apiserver(self) -> None:
        """Start it again on the same address; returns when it is ready."""
        self._workspace.keeper.start_again("kube-apiserver")
        self.core.wait_for_server()

    def freeze_apiserver(self) -> None:
        """Connections stay open and nothing answers, until `thaw_apiserver`."""
        self._workspace.keeper.signal("kube-apiserver", signal.SIGSTOP)

    def thaw_apiserver(self) -> None:
        self._workspace.keeper.signal("kube-apiserver", signal.SIGCONT)
