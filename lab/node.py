"""Node mode: a one-node Kubernetes with real containers, DNS, Prometheus and PostgreSQL.

All of it lives in namespaces of its own, at addresses that the machine's network does not know,
and under a cgroup of its own. Several nodes run at once.
"""

from __future__ import annotations

import sys
from pathlib import Path

from lab import access, aggregation, cgroups, machine, node_config, oci, packages, prometheus_server
from lab.binaries import programs
from lab.control_plane import Addresses, Core
from lab.errors import LabError
from lab.namespace import network_of
from lab.postgres_server import Postgres
from lab.session import NODE, Session
from lab.workspace import KeeperClient, Occupant, Program, Workspace

BOOT = Path(__file__).with_name("node_boot.py")
SOCKET = "node.sock"
TAINT = {"key": "kwok.x-k8s.io/node", "value": "fake", "effect": "NoSchedule"}


class Node(Occupant):
    """A node for the time of a `with` block; `.session` says how to reach it."""

    def __init__(self, workspace: Workspace | None = None, kwok_nodes: int = 0) -> None:
        machine.require_node_support()
        packages.ensure({**packages.NODE, **packages.POSTGRES})
        for name in ("cluster", "coredns", "prometheus"):
            programs(name)
        super().__init__(workspace, "node")
        self._kwok_nodes = kwok_nodes
        self._session: Session | None = None

    @property
    def session(self) -> Session:
        assert self._session is not None, "use Node as a context manager"
        return self._session

    def _open(self) -> None:
        self._session = self._start()

    def _start(self) -> Session:
        directory = self._workspace.directory
        node_config.write_all(directory)
        inner = self._boot(directory)
        pid = inner.peer_pid()
        with network_of(pid):
            core, postgres = self._start_servers(directory, inner)
            access.apply_list(core.access, node_config.services())
            self._wait(core, inner)
            if self._kwok_nodes:
                core.start_kwok(self._kwok_nodes, (TAINT,))
        session = Session(
            mode=NODE,
            name=directory.name,
            directory=directory,
            server=core.addresses.server,
            kubeconfig=core.access.kubeconfig,
            kubectl_path=core.access.kubectl_path,
            prometheus_url=f"http://{node_config.ADDRESS}:{node_config.PROMETHEUS_PORT}",
            database_url=postgres.url,
            prometheus_url_in_cluster=f"http://prometheus.monitoring:{node_config.PROMETHEUS_PORT}",
            database_url_in_cluster=postgres.url_at("postgres.database", postgres.port),
            node_pid=pid,
            node_address=node_config.ADDRESS,
            containerd_socket=f"/proc/{pid}/root{node_config.SOCKET}",
        )
        session.write()
        return session

    def _boot(self, directory: Path) -> KeeperClient:
        """Make the namespaces; the answer is the keeper inside of them."""
        keeper = self._workspace.keeper
        groups = cgroups.create(directory)
        keeper.ask("own_cgroups", paths=[str(group.own_group) for group in groups])
        argv = (sys.executable, "-I", str(BOOT), "enter", str(directory))
        keeper.start(Program("node", argv))
        inner = KeeperClient(directory, SOCKET)
        keeper.wait("the node's namespaces", lambda: _answers(inner), needs=("node",))
        return inner

    def _start_servers(self, directory: Path, inner: KeeperClient) -> tuple[Core, Postgres]:
        """Start everything in the order in which it is needed, waiting as late as possible."""
        containerd = ("containerd", "-c", f"{directory}/containerd.toml")
        inner.start(Program("containerd", containerd))
        address = node_config.ADDRESS
        core = Core(
            directory,
            inner,
            Addresses("0.0.0.0", address, 6443, 2379, 2380),
            lambda name: programs("cluster") / name,
        )
        core.prepare()
        aggregated = aggregation.prepare(core.pki)
        core.start_server("--kubelet-preferred-address-types=InternalIP", *aggregated)
        postgres = Postgres(
            self._workspace, inner, f"{address},127.0.0.1", node_config.POSTGRES_PORT
        )
        postgres.begin()
        self._import_pause(directory, inner)
        core.wait_for_server()
        core.start_controllers()
        kubeconfig = f"--kubeconfig={core.access.kubeconfig}"
        tools = programs("cluster")
        inner.start(
            Program(
                "kubelet",
                (
                    str(tools / "kubelet"),
                    kubeconfig,
                    f"--config={directory}/kubelet.json",
                    f"--root-dir={directory}/kubelet",
                    f"--cert-dir={directory}/pki",
                    f"--hostname-override={node_config.NAME}",
                    f"--node-ip={address}",
                ),
            )
        )
        inner.start(
            Program(
                "kube-proxy",
                (
                    str(tools / "kube-proxy"),
                    kubeconfig,
                    "--proxy-mode=iptables",
                    f"--cluster-cidr={node_config.CLUSTER_RANGE}",
                    f"--hostname-override={node_config.NAME}",
                    # Zero keeps it from kernel settings that it may not write.
                    "--conntrack-max-per-core=0",
                    "--conntrack-tcp-timeout-established=0",
                    "--conntrack-tcp-timeout-close-wait=0",
                ),
            )
        )
        coredns = (str(programs("coredns") / "coredns"), "-conf", f"{directory}/Corefile")
        inner.start(Program("coredns", coredns))
        listen = f"0.0.0.0:{node_config.PROMETHEUS_PORT}"
        inner.start(prometheus_server.program(directory / "prometheus", listen))
        postgres.wait()
        return core, postgres

    def _import_pause(self, directory: Path, inner: KeeperClient) -> None:
        archive = directory / "pause.tar"
        oci.write(oci.busybox_image(oci.PAUSE, ("/bin/sleep", "2147483647")), archive)
        pid = inner.peer_pid()
        socket = Path(f"/proc/{pid}/root{node_config.SOCKET}")
        inner.wait("containerd", socket.exists, needs=("containerd",))
        node = Session(NODE, "", directory, "", directory, directory, node_pid=pid)
        node.import_image(archive)

    def _wait(self, core: Core, inner: KeeperClient) -> None:
        address = node_config.ADDRESS
        core.wait_for_controllers()
        inner.wait("the node to be Ready", lambda: _is_ready(core), needs=("kubelet", "containerd"))
        dns = f"http://{address}:{node_config.DNS_READY_PORT}/ready"
        inner.wait("DNS", lambda: access.http_ok(dns), needs=("coredns",))
        prometheus = f"http://{address}:{node_config.PROMETHEUS_PORT}/-/ready"
        inner.wait("Prometheus", lambda: access.http_ok(prometheus), needs=("prometheus",))


def _answers(keeper: KeeperClient) -> bool:
    try:
        keeper.connect().close()
    except OSError:
        return False
    return True


def _is_ready(core: Core) -> bool:
    query = "jsonpath={.status.conditions[?(@.type=='Ready')].status}"
    try:
        return core.access.kubectl("get", "node", node_config.NAME, "--output", query) == "True"
    except LabError:
        return False  # it has not registered yet
