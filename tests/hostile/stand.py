"""A cluster with a tenant, a victim and a neighbour: the chart's own account, admission, an audit.

The tenant has the role `admin` in their namespace, as a cluster's owner gives it to a team. The
victim's namespace holds canaries: values that must turn up nowhere. What the operator's account
asks of the API server is in the audit log, and where its process connects to is written down by
the interpreter's own audit hook.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote

from lab import chart
from lab.access import wait_for_crds
from lab.control_plane import ControlPlane
from lab.ports import free_ports
from lab.prometheus_server import Prometheus
from tests.hostile import carriers
from tests.integration.api import Api, Object, eventually, policies
from tests.integration.background import BackgroundLoop
from tests.integration.listener import Listener
from tests.integration.operator_process import ROOT, OperatorProcess, Options

HOME, RELEASE = "operators", "rollback-operator"
ACCOUNT = f"system:serviceaccount:{HOME}:{RELEASE}"
TENANT, VICTIM, NEIGHBOUR = "tenant", "victim", "neighbour"
PERSON = carriers.PERSON
"""Who has `admin` in the tenant's namespace, and nothing else."""
SECRET_CANARY, MAP_CANARY = "canary-of-a-secret-7d1f", "canary-of-a-config-map-93ab"
OWN = "own-token-5c2e"
"""The tenant's own Secret: it may turn up at the tenant's own server, and nowhere else."""
HOOKS = "hooks.example"
"""A host that the operator's owner allows; the tenant's server answers there."""
VALUES: Mapping[str, Any] = {
    "prometheus": {"url": "http://prometheus"},
    # What only some policies need: the more rights, the more there is to be gained.
    "rbac": {"podLogs": True, "autoscalers": True},
    # As an owner does who lets these teams use Secrets and flags: the victim is one of them.
    "readSecrets": [{"namespace": one} for one in (TENANT, VICTIM, NEIGHBOUR)],
    "patchConfigMaps": [{"namespace": one} for one in (TENANT, VICTIM, NEIGHBOUR)],
}
AUDIT = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": [{"level": "Metadata"}]}
TOKEN_SECONDS = 7200
READY_SECONDS = 120.0


class HostileStand:
    """The cluster and the operator on it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.audit_log = directory / "audit.log"
        self.connections = directory / "connections"
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            rules = self.directory / "audit.json"
            rules.write_text(json.dumps(AUDIT))
            flags = (f"--audit-policy-file={rules}", f"--audit-log-path={self.audit_log}")
            self.cluster = stack.enter_context(ControlPlane(apiserver_flags=flags))
            self.cluster.start_kwok(nodes=2)
            self.admin = Api(self.cluster.kubeconfig)
            stack.callback(self.admin.close)
            self.tenant = Api(self.cluster.kubeconfig)
            stack.callback(self.tenant.close)
            self.tenant.impersonate(PERSON)
            self.account = Api(self.cluster.kubeconfig)
            stack.callback(self.account.close)
            self.account.impersonate(ACCOUNT)
            self._background = stack.enter_context(BackgroundLoop())
            self.listener = self.make_listener()
            stack.callback(self.listener.stop)
            self._install()
            self._fill()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def make_listener(self) -> Listener:
        """Start a server at an address of this machine that is not its loopback."""
        made = Listener(self._background, own_address())
        made.start()
        return made

    def operator(self, hosts: Mapping[str, Iterable[str]]) -> WatchedOperator:
        """Start the operator under the chart's account; `hosts`: addresses and their names."""
        path = f"/api/v1/namespaces/{HOME}/serviceaccounts/{RELEASE}/token"
        spec: Object = {"spec": {"expirationSeconds": TOKEN_SECONDS}}
        token = self.admin.create(path, spec)["status"]["token"]
        config = json.loads(self.cluster.kubeconfig.read_text())
        config["users"][0]["user"] = {"token": token}
        kubeconfig = self.directory / "kubeconfig.json"
        kubeconfig.write_text(json.dumps(config))
        known = self.directory / "hosts"
        lines = [f"{ip} {' '.join(names)}" for ip, names in hosts.items()]
        known.write_text("\n".join(lines) + "\n")
        flags = (f"--allowed-hosts={HOOKS}", f"--allowed-prometheus-hosts={HOOKS}")
        self.prometheus = self._stack.enter_context(Prometheus())
        options = Options(
            kubeconfig,
            self.prometheus.url,
            lease_namespace=HOME,
            flags=(*flags, "--max-concurrent=0"),
        )
        return WatchedOperator(options, known, self.directory)

    def asked(self) -> list[Object]:
        """Give what the operator's account has asked of the API server, from the audit log."""
        found = []
        for line in self.audit_log.read_text().splitlines():
            event = json.loads(line)
            # The tests' own questions in its name are told apart by who impersonates.
            if event["user"]["username"] == ACCOUNT and "impersonatedUser" not in event:
                found.append(event)
        return found

    def connected(self) -> set[tuple[str, int]]:
        """Give the addresses that the operator's process has connected to."""
        lines = self.connections.read_text().splitlines()
        return {(host, int(port)) for host, _, port in (one.rpartition(" ") for one in lines)}

    def _install(self) -> None:
        namespaces = [chart.namespace(one) for one in (HOME, TENANT, VICTIM, NEIGHBOUR)]
        rendered = chart.rendered(VALUES, name=RELEASE, namespace=HOME)
        # Its pods are the process that the tests start.
        kept = [one for one in rendered if one["kind"] not in ("Deployment", "Service")]
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "admin"}
        binding = {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": PERSON, "namespace": TENANT},
            "roleRef": role,
            "subjects": [{"kind": "User", "name": PERSON}],
        }
        objects = [*chart.crds(), *namespaces, *kept, binding]
        self.cluster.kubectl("apply", "-f", "-", input=chart.stream(objects))
        wait_for_crds(self.cluster.kubectl, chart.crd_names())
        # Roles are aggregated, and admission policies taken in, a moment later.
        eventually(lambda: self._may("rollbackpolicies"), "the tenant may write policies")
        eventually(self._bites, "the admission policies bite")

    def _may(self, resource: str) -> bool:
        attributes = {"namespace": TENANT, "verb": "create", "resource": resource}
        spec = {"resourceAttributes": {"group": "rollback.tickettoken.io", **attributes}}
        path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        return bool(self.tenant.create(path, {"spec": spec})["status"]["allowed"])

    def _bites(self) -> bool:
        """See that a policy is refused whose author may not do what it would do."""
        nobody = Api(self.cluster.kubeconfig)
        nobody.impersonate("nobody")
        path = "/apis/rbac.authorization.k8s.io/v1/namespaces/victim/rolebindings"
        if self.admin.find(f"{path}/probe") is None:
            self.admin.create(path, _may_write_policies())
        body = {
            "apiVersion": "rollback.tickettoken.io/v1alpha1",
            "kind": "RollbackPolicy",
            "metadata": {"name": "probe"},
            "spec": {"targetRef": {"name": "ledger"}, "mode": "Observe"},
        }
        said = refusal(nobody, f"{policies(VICTIM)}?dryRun=All", body)
        nobody.close()
        return "you may not patch Deployment" in said

    def _fill(self) -> None:
        secret = {"token": SECRET_CANARY, "url": SECRET_CANARY, "dsn": SECRET_CANARY}
        own = {
            "token": OWN,
            "url": self.url("/hidden"),
            "ca.crt": OWN,
            "dsn": f"postgresql://{OWN}@{HOOKS}:{self.listener.port}/shop?sslmode=disable",
        }
        for namespace, name, values in ((VICTIM, "payments", secret), (TENANT, "own", own)):
            encoded = {key: base64.b64encode(one.encode()).decode() for key, one in values.items()}
            body = {"metadata": {"name": name}, "data": encoded}
            self.admin.create(f"/api/v1/namespaces/{namespace}/secrets", body)
        for namespace, value in ((VICTIM, MAP_CANARY), (TENANT, "true")):
            body = {"metadata": {"name": "flags"}, "data": {"FEATURE": value}}
            self.admin.create(f"/api/v1/namespaces/{namespace}/configmaps", body)

    def url(self, path: str) -> str:
        """Give the address of the tenant's own server."""
        return f"http://{HOOKS}:{self.listener.port}{path}"


class WatchedOperator(OperatorProcess):
    """The operator in a mount namespace of its own, whose connections are written down."""

    def __init__(self, options: Options, hosts: Path, directory: Path) -> None:
        port = free_ports(1)[0]
        log = directory / "operator.log"
        program = [sys.executable, "-m", "tests.hostile.watched", str(directory / "connections")]
        paths = os.pathsep.join((str(ROOT), str(ROOT / "operator")))
        mounted = f'mount --bind {hosts} /etc/hosts && exec "$@"'
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [
                    shutil.which("unshare") or "unshare",
                    "--mount",
                    "sh",
                    "-c",
                    mounted,
                    "sh",
                    *program,
                    *options.arguments(port),
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": paths},
            )
        super().__init__(self._process.pid, port, log)

    def is_running(self) -> bool:
        return self._process.poll() is None

    def end(self) -> None:
        self.terminate()
        try:
            self._process.wait(60)
        finally:
            self._process.kill()


def own_address() -> str:
    """Give an address of this machine that is not its loopback: what a tenant's server has."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # nothing is sent
        found: str = probe.getsockname()[0]
    return found


def refusal(api: Api, path: str, body: Object) -> str:
    """Say why the API server refuses to create it; empty if it does not."""
    from tests.integration.api import ApiError

    try:
        api.create(path, body)
    except ApiError as error:
        return str(error)
    return ""


def names_victim(event: Mapping[str, Any]) -> bool:
    """Tell whether a request was about the victim's namespace, however it is written."""
    namespace = (event.get("objectRef") or {}).get("namespace")
    uri = str(event["requestURI"])
    for _ in range(3):
        uri = unquote(uri)
    return namespace == VICTIM or VICTIM in uri


def texts(admin: Api) -> Iterator[tuple[str, str]]:
    """Give everything that the operator writes for people to read, and where it stands."""
    group = "/apis/rollback.tickettoken.io/v1alpha1"
    lists = (f"{group}/rollbackpolicies", f"{group}/rollbacks", "/api/v1/events")
    for path in (*lists, "/apis/events.k8s.io/v1/events"):
        yield path, json.dumps(admin.get(path))


def _may_write_policies() -> Object:
    edit = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole"}
    return {
        "metadata": {"name": "probe"},
        "roleRef": {**edit, "name": f"{HOME}-{RELEASE}-edit"},
        "subjects": [{"kind": "User", "name": "nobody"}],
    }
