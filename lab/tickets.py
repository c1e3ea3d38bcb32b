"""The ticket service in a namespace of a lab, and the operator beside it: what demo, e2e and
benchmark have in common.

Everything is changed through kubectl, as a person would do it. What is looked at again and again
is read by the cluster's `get`, which a lab has without a kubectl for each look.
"""

from __future__ import annotations

import contextlib
import json
import socket
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from lab import chart
from lab.errors import LabError
from lab.loadgen.load import Load
from lab.namespace import network_of
from lab.session import Session

TOKEN = "lab-token"  # of a cluster that ends with the run
MANIFEST = Path(__file__).parent / "manifests" / "ticket-service.yaml"
OPERATOR = "rollback-operator"
API = "/apis/rollback.tickettoken.io/v1alpha1"
ROLLOUT_SECONDS = 180
READ_SECONDS = 30
CONNECTIONS = 40
"""So many in a row: each goes to one of the pods by chance."""
WRITES = ("POST", "PUT", "PATCH", "DELETE")
CALLS = "rollback_operator_api_calls_total"


class Cluster(Protocol):
    """What is needed of a cluster to have a service in it and to look after that."""

    def kubectl(self, *arguments: str, input: str | None = None) -> str:  # noqa: A002 (as Session)
        """Run kubectl; its output, or a LabError with what it said."""

    def get(self, path: str) -> dict[str, Any]:
        """Read an object or a list by its path on the API server; LabError where that fails."""


def wait_for(what: str, seconds: float, look: Callable[[], Any]) -> Any:
    """Look until the answer is true.

    Raises:
        LabError: it was not within `seconds`; says what was awaited and what was seen last.
    """
    until = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > until:
            raise LabError(f"waited {seconds:.0f} s for {what}; last seen: {found!r}")
        time.sleep(0.2)


def query(lab: Session, text: str) -> list[dict[str, Any]]:
    """Ask the lab's Prometheus; the series of its answer.

    Raises:
        LabError: it does not answer.
    """
    address = f"{lab.prometheus_url}/api/v1/query?{urllib.parse.urlencode({'query': text})}"
    is_outside = bool(lab.network_prefix())
    with network_of(lab.node_pid) if is_outside else contextlib.nullcontext():
        try:
            with urllib.request.urlopen(address, timeout=READ_SECONDS) as answer:
                return list(json.load(answer)["data"]["result"])
        except (OSError, ValueError, KeyError) as error:
            raise LabError(f"the query {text} failed: {error}") from error


def writes_in(metrics: str) -> dict[str, int]:
    """Read from an operator's own metrics how often it has called the API server to write."""
    found = dict.fromkeys(WRITES, 0)
    for line in metrics.splitlines():
        name, _, value = line.rpartition(" ")
        for verb in WRITES:
            if name.startswith(f"{CALLS}{{") and f'verb="{verb}"' in name:
                found[verb] += int(float(value))
    return found


def operator_objects(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """All objects of an installation by the chart: the CRDs, a namespace, and what is in it."""
    namespace = chart.namespace(OPERATOR)
    # From its first pod on, the namespace takes none with more rights than it needs.
    namespace["metadata"]["labels"] = {"pod-security.kubernetes.io/enforce": "restricted"}
    objects = [*chart.crds(), namespace]
    return objects + chart.rendered(values, name=OPERATOR, namespace=OPERATOR)


def install_operator(
    lab: Session, archive: Path, values: Mapping[str, Any] | None = None
) -> Operator:
    """Install the chart with the image in an archive, and wait until it is ready."""
    lab.import_image(archive)
    settings = chart.merged(
        {
            "image": {"repository": "localhost/rollback-operator", "tag": "dev"},
            "prometheus": {"url": lab.prometheus_url_in_cluster},
            "lease": {"seconds": 5},
        },
        values or {},
    )
    objects = operator_objects(settings)
    lab.kubectl("apply", "--server-side", "-f", "-", input=chart.stream(objects))
    operator = Operator(lab)
    operator.wait_ready()
    return operator


def process_of(operator: Operator, lab: Session) -> int:
    """The operator's process id inside of the lab's node."""
    container = operator.pod()["status"]["containerStatuses"][0]["containerID"]
    known = lab.in_node("ctr", "--namespace=k8s.io", "tasks", "list").splitlines()
    for line in known:
        found = line.split()
        if found[0] == container.removeprefix("containerd://"):
            return int(found[1])
    raise LabError(f"containerd knows no task of {container}")


@dataclass(frozen=True)
class Operator:
    """The operator as the chart installs it."""

    cluster: Cluster

    def wait_ready(self) -> None:
        """Wait until its Deployment is rolled out."""
        wait = f"--timeout={ROLLOUT_SECONDS}s"
        self._kubectl("rollout", "status", f"deployment/{OPERATOR}", wait)

    def pod(self) -> dict[str, Any]:
        """The pod that runs; LabError where there is not exactly one."""
        name = f"app.kubernetes.io/name={OPERATOR}"
        items = json.loads(self._kubectl("get", "pods", "-l", name, "-o", "json"))["items"]
        alive = [one for one in items if "deletionTimestamp" not in one["metadata"]]
        if len(alive) != 1:
            raise LabError(f"{len(alive)} pods of the operator are there instead of one")
        return dict(alive[0])

    def resident_mib(self) -> float:
        """The memory that its process holds now (VmRSS)."""
        status = self._kubectl("exec", f"deployment/{OPERATOR}", "--", "cat", "/proc/1/status")
        line = next(one for one in status.splitlines() if one.startswith("VmRSS:"))
        return int(line.split()[1]) / 1024

    def writes(self) -> dict[str, int]:
        """How often it has called the API server to write, by verb, since its process began."""
        path = f"/api/v1/namespaces/{OPERATOR}/pods/{self.pod()['metadata']['name']}:8080"
        return writes_in(self.cluster.kubectl("get", "--raw", f"{path}/proxy/metrics"))

    def renewals(self, seconds: int) -> int:
        """Watch its Lease for this long: how often it was written."""
        shown = 'jsonpath={.metadata.resourceVersion}{"\\n"}'
        limit = f"--request-timeout={seconds}s"
        seen = self._kubectl("get", "lease", OPERATOR, "--watch", limit, "-o", shown).split()
        return len(set(seen)) - 1  # the first is how it was found

    def log(self, lines: int = 40) -> str:
        """The end of its log."""
        return self._kubectl("logs", f"deployment/{OPERATOR}", f"--tail={lines}")

    def _kubectl(self, *arguments: str) -> str:
        return self.cluster.kubectl("-n", OPERATOR, *arguments)


@dataclass
class Tickets:
    """One ticket service in a namespace of its own, in whatever cluster."""

    cluster: Cluster
    namespace: str
    replicas: int = 4
    environment: Mapping[str, str] = field(default_factory=dict)
    """Further variables of its container."""
    database_url: str = ""
    """Where it keeps its tickets."""
    cpu_request: str = "50m"
    """Of each pod; less where many services share a node."""
    images: str = "localhost"
    """What stands before the name of its image."""
    pull_policy: str = "IfNotPresent"

    def deploy(self, version: str) -> None:
        """Make the namespace and roll a first release out."""
        document = json.dumps(
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}}
        )
        self.cluster.kubectl("apply", "-f", "-", input=document)
        self.kubectl(
            "create",
            "secret",
            "generic",
            "ticket-service",
            f"--from-literal=DATABASE_URL={self.database_url}",
            f"--from-literal=API_TOKEN={TOKEN}",
        )
        text = MANIFEST.read_text().replace("replicas: 4", f"replicas: {self.replicas}")
        text = text.replace("cpu: 50m", f"cpu: {self.cpu_request}")
        text = text.replace("localhost/", f"{self.images}/")
        text = text.replace("Policy: IfNotPresent", f"Policy: {self.pull_policy}")
        more = "".join(
            f"        - {{name: {name}, value: {json.dumps(value)}}}\n"
            for name, value in self.environment.items()
        )
        text = text.replace("        readinessProbe:\n", f"{more}        readinessProbe:\n")
        self.kubectl("apply", "-f", "-", input=text.replace(":v1.2.3", f":{version}"))
        self.wait_rolled_out()

    def release(self, version: str) -> None:
        """Roll a release out, as a pipeline would."""
        image = f"ticket-service={self.images}/ticket-service:{version}"
        self.kubectl("set", "image", "deployment/ticket-service", image)

    def release_with(self, version: str, environment: Mapping[str, str]) -> None:
        """Roll a release out that differs in variables of its container, too."""
        variables = [{"name": k, "value": v, "valueFrom": None} for k, v in environment.items()]
        image = f"{self.images}/ticket-service:{version}"
        container = {"name": "ticket-service", "image": image, "env": variables}
        patch = json.dumps({"spec": {"template": {"spec": {"containers": [container]}}}})
        self.kubectl("patch", "deployment", "ticket-service", "--patch", patch)

    def scale(self, replicas: int) -> None:
        """Change the number of pods, and nothing else."""
        self.kubectl("scale", "deployment/ticket-service", f"--replicas={replicas}")

    def wait_rolled_out(self) -> None:
        """Wait until the rollout is complete."""
        wait = f"--timeout={ROLLOUT_SECONDS}s"
        self.kubectl("rollout", "status", "deployment/ticket-service", wait)

    def apply_policy(self, spec: Mapping[str, Any] | None = None, name: str = "tickets") -> None:
        """Apply a policy on the ticket service; `spec` adds to the least that it needs."""
        document = {
            "apiVersion": "rollback.tickettoken.io/v1alpha1",
            "kind": "RollbackPolicy",
            "metadata": {"name": name},
            "spec": {"targetRef": {"name": "ticket-service"}, "mode": "Enforce", **(spec or {})},
        }
        self.kubectl("apply", "-f", "-", input=json.dumps(document))

    def deployment(self) -> dict[str, Any]:
        """The Deployment as it stands."""
        path = f"/apis/apps/v1/namespaces/{self.namespace}/deployments/ticket-service"
        return self.cluster.get(path)

    def image(self) -> str:
        """The version that the Deployment wants now."""
        containers = self.deployment()["spec"]["template"]["spec"]["containers"]
        return str(containers[0]["image"]).rsplit(":", 1)[-1]

    def policy(self, name: str = "tickets") -> dict[str, Any]:
        """The policy as it stands."""
        return self.cluster.get(f"{API}/namespaces/{self.namespace}/rollbackpolicies/{name}")

    def rollbacks(self) -> list[dict[str, Any]]:
        """All Rollbacks of the namespace, oldest first."""
        found = self.cluster.get(f"{API}/namespaces/{self.namespace}/rollbacks")["items"]
        return sorted(found, key=_begin)

    def kubectl(self, *arguments: str, input: str | None = None) -> str:  # noqa: A002 (as Session)
        """Run kubectl in the namespace."""
        return self.cluster.kubectl("-n", self.namespace, *arguments, input=input)


@dataclass
class TicketService(Tickets):
    """A ticket service in a lab: its tickets are in the lab's database, as its owner's."""

    cluster: Session

    def __post_init__(self) -> None:
        self.database_url = self.database_url or self.cluster.database_url_in_cluster

    def load(self, rate: float, folder: Path) -> Load:
        """Make a load of buyers, through the Service, once that leads anywhere."""
        address = self.kubectl(
            "get", "service", "ticket-service", "-o", "jsonpath={.spec.clusterIP}"
        ).strip()
        wait_for("the Service to take connections", READ_SECONDS, lambda: self._takes(address))
        return Load(f"http://{address}", TOKEN, folder, rate, self.cluster.network_prefix())

    def _takes(self, address: str) -> bool:
        """Tell whether the Service takes many connections: pods are ready before it knows them."""
        is_outside = bool(self.cluster.network_prefix())
        with network_of(self.cluster.node_pid) if is_outside else contextlib.nullcontext():
            try:
                for _ in range(CONNECTIONS):
                    socket.create_connection((address, 80), timeout=1).close()
            except OSError:
                return False
        return True


def _begin(rollback: Mapping[str, Any]) -> str:
    """When it was decided; one that a person asks for, when that was."""
    trigger = rollback["spec"].get("trigger", {})
    return str(trigger.get("decidedTime") or rollback["metadata"]["creationTimestamp"])
