"""The lab against the real thing: what it promises to other tests, and that it leaves nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import oci
from lab.control_plane import ControlPlane
from lab.errors import LabError
from lab.namespace import network_of
from lab.node import Node
from lab.postgres_server import Postgres
from lab.prometheus_server import Prometheus
from lab.session import Session
from lab.workspace import all_folders

pytestmark = pytest.mark.xdist_group("lab")
ROOT = Path(__file__).parents[2]
LAB = (sys.executable, "-m", "lab")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="the node mode needs root")


@pytest.fixture(scope="module")
def cluster() -> Iterator[ControlPlane]:
    with ControlPlane() as found:
        found.start_kwok(nodes=2)
        yield found


@pytest.fixture(scope="module")
def node() -> Iterator[Session]:
    with Node() as found:
        _import_busybox(found.session)
        yield found.session


def _import_busybox(session: Session) -> None:
    archive = session.directory / "busybox.tar"
    oci.write(oci.busybox_image(oci.BUSYBOX, ("/bin/sleep", "3600")), archive)
    session.import_image(archive)


def _deploy(target: ControlPlane | Session, name: str) -> None:
    target.kubectl("create", "deployment", name, f"--image={oci.BUSYBOX}", "--replicas=2")
    target.kubectl("rollout", "status", f"deployment/{name}", "--timeout=60s")


def test_pods_of_a_deployment_become_ready_on_fake_nodes(cluster: ControlPlane) -> None:
    _deploy(cluster, "web")

    nodes = cluster.kubectl(
        "get", "pods", "-l", "app=web", "-o", "jsonpath={.items[*].spec.nodeName}"
    )
    assert set(nodes.split()) <= {"fake-0", "fake-1"}
    assert len(nodes.split()) == 2


def test_a_service_account_has_no_more_rights_than_it_was_given(cluster: ControlPlane) -> None:
    cluster.kubectl("create", "serviceaccount", "reader")
    kubeconfig = cluster.service_account_kubeconfig("default", "reader")

    with pytest.raises(LabError, match="forbidden"):
        cluster.kubectl("--kubeconfig", str(kubeconfig), "get", "pods")


def test_the_api_server_comes_back_with_its_data(cluster: ControlPlane) -> None:
    cluster.kubectl("create", "configmap", "kept")

    cluster.stop_apiserver()
    with pytest.raises(LabError, match="refused"):
        cluster.kubectl("get", "configmap", "kept")
    cluster.start_apiserver()

    assert "kept" in cluster.kubectl("get", "configmap", "kept")


@pytest.mark.extended
def test_two_control_planes_are_separate(cluster: ControlPlane) -> None:
    with ControlPlane() as other:
        other.kubectl("create", "namespace", "only-there")

        assert other.server != cluster.server
        assert "only-there" not in cluster.kubectl("get", "namespaces")


def test_a_failed_start_names_the_program_and_its_words() -> None:
    flawed = ControlPlane(apiserver_flags=("--no-such-flag",))
    with pytest.raises(LabError, match=r"(?s)kube-apiserver ended with .*unknown flag"), flawed:
        pass

    assert flawed.directory not in all_folders()


@pytest.mark.extended
def test_prometheus_and_postgres_keep_their_data_over_a_restart() -> None:
    with Prometheus() as prometheus, Postgres() as postgres:
        prometheus.stop()
        prometheus.start()
        _query(postgres, "CREATE TABLE kept (id int)")
        postgres.stop()
        postgres.start()
        assert _query(postgres, "SELECT count(*) FROM kept") == "0"


def _query(postgres: Postgres, statement: str) -> str:
    argv = ("psql", "-X", "-t", "-A", postgres.url, "-c", statement)
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()


@needs_root
@pytest.mark.extended
def test_a_pod_runs_and_finds_services_by_name(node: Session) -> None:
    _deploy(node, "shell")

    address = node.kubectl(
        "exec", "deployment/shell", "--", "nslookup", "postgres.database.svc.cluster.local"
    )
    ready = node.kubectl(
        "exec",
        "deployment/shell",
        "--",
        "wget",
        "-qO-",
        "http://prometheus.monitoring:9090/-/ready",
    )
    service = node.kubectl(
        "get", "service", "-n", "database", "postgres", "-o", "jsonpath={.spec.clusterIP}"
    )
    assert service in address
    assert "Ready" in ready


METRICS_POD = """
apiVersion: v1
kind: Pod
metadata:
  name: metrics
  labels: {app: ticket-service}
  annotations: {prometheus.io/scrape: "true", prometheus.io/port: "8080"}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: metrics
    image: localhost/busybox:1
    command: [sh, -c, "mkdir /www && echo lab_answer 42 > /www/metrics && httpd -f -p 8080 -h /www"]
"""


@needs_root
@pytest.mark.extended
def test_an_annotated_pod_is_scraped_under_its_names(node: Session) -> None:
    node.kubectl("apply", "-f", "-", input=METRICS_POD)

    deadline = time.monotonic() + 60
    found: list[dict[str, str]] = []
    while not found and time.monotonic() < deadline:
        time.sleep(0.5)
        with network_of(node.node_pid):
            url = f"{node.prometheus_url}/api/v1/query?query=lab_answer"
            with urllib.request.urlopen(url, timeout=10) as answer:
                found = [series["metric"] for series in json.load(answer)["data"]["result"]]

    expected = {"namespace": "default", "pod": "metrics"}
    assert [{key: metric[key] for key in expected} for metric in found] == [expected]
    # A target label of that name would push an application's own one aside.
    assert [metric for metric in found if "service" in metric] == []


@needs_root
@pytest.mark.extended
def test_two_nodes_leave_each_others_pods_alone(node: Session) -> None:
    _deploy(node, "first")
    with Node() as other:
        _import_busybox(other.session)
        _deploy(other.session, "second")
        restarts = "jsonpath={.items[*].status.containerStatuses[*].restartCount}"
        for session, name in ((node, "first"), (other.session, "second")):
            found = session.kubectl("get", "pods", "-l", f"app={name}", "-o", restarts)
            assert found.split() == ["0", "0"]


@needs_root
def test_nothing_is_left_when_the_tool_is_killed() -> None:
    command = ("sh", "-c", "echo $LAB_DIR; exec sleep 600")
    with subprocess.Popen(
        (*LAB, "run", "node", "--", *command), cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as tool:
        assert tool.stdout is not None
        directory = Path(tool.stdout.readline().strip())
        assert directory.name.startswith("run-")
        assert len(_traces(directory)) > 20

        tool.send_signal(signal.SIGKILL)
        tool.wait()

    deadline = time.monotonic() + 30
    while _traces(directory) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert _traces(directory) == set()


def _traces(directory: Path) -> set[str]:
    """The folder, cgroups, mounts and processes of one lab, as far as the machine shows them."""
    name = directory.name
    found = {str(directory)} if directory.exists() else set()
    # Not by glob: it fails where another lab's cgroup goes away under it.
    walked = (Path(at, one) for at, folders, _ in os.walk("/sys/fs/cgroup") for one in folders)
    found |= {str(path) for path in walked if path.name.endswith(name)}
    found |= {line for line in Path("/proc/self/mounts").read_text().splitlines() if name in line}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
        except OSError:
            continue
        if name.encode() in words:
            found.add(process.name)
    return found


def test_the_exit_code_is_the_commands() -> None:
    script = "test -r $KUBECONFIG && kubectl get namespace default && exit 7"
    command = (*LAB, "run", "control-plane", "--", "sh", "-c", script)
    assert subprocess.run(command, cwd=ROOT, check=False, capture_output=True).returncode == 7


def test_wrong_names_are_refused_with_the_choices() -> None:
    result = subprocess.run(
        (*LAB, "run", "control-plane", "--with", "mysql", "--", "true"),
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 1
    assert "kwok, prometheus, postgres" in result.stderr
