"""Everything that an integration test stands on: a cluster, its pods' metrics, Prometheus.

One for each test worker. Each test has a namespace and a service of its own in it.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from lab import chart
from lab.access import wait_for_crds
from lab.control_plane import ControlPlane
from lab.ports import free_ports
from lab.prometheus_server import Prometheus
from tests.integration.api import Api, Object
from tests.integration.api_proxy import ApiProxy
from tests.integration.background import BackgroundLoop
from tests.integration.traffic import Traffic

ACCOUNT = "rollback-operator"
HOME = "rollback-operator"
"""The namespace that the chart is installed in."""
RIGHTS = ("ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding")
FENCES = ("rollback-operator-fence-", "rollback-operator-records")
FEATURES = {"podLogs": True, "autoscalers": True}
"""Rights that a release of the chart has only where they are wanted."""
PATHS = {
    "ServiceAccount": "/api/v1/namespaces/{}/serviceaccounts",
    "Role": "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/roles",
    "RoleBinding": "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/rolebindings",
}
TOKEN_SECONDS = 7200
AUDIT_VARIABLE = "ROLLBACK_OPERATOR_AUDIT_LOG"
"""Where the audit log is to be, for whoever reads it after the run (tools/rights.py)."""
AUDIT = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived", "ResponseStarted"],
    "rules": [{"level": "Metadata", "users": [f"system:serviceaccount:{HOME}:{ACCOUNT}"]}],
}
"""Of what the operator of all namespaces asks, and of nothing else."""
SCRAPE = """
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
- job_name: pods
  honor_labels: true
  static_configs: [{{targets: ["127.0.0.1:{}"]}}]
"""


class Stand:
    """Control plane with KWOK, traffic, Prometheus; the chart's CRDs and rights."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.audit_log = Path(os.environ.get(AUDIT_VARIABLE) or directory / "audit.log")
        self._stack = ExitStack()
        self._numbers = itertools.count(1)
        self._narrow: str | None = None
        self._reading: str | None = None

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            rules = self.directory / "audit.json"
            rules.write_text(json.dumps(AUDIT))
            flags = (f"--audit-policy-file={rules}", f"--audit-log-path={self.audit_log}")
            self.cluster = stack.enter_context(ControlPlane(apiserver_flags=flags))
            self.cluster.start_kwok(nodes=4)
            self.api = Api(self.cluster.kubeconfig)
            stack.callback(self.api.close)
            self.background = stack.enter_context(BackgroundLoop())
            port = free_ports(1)[0]
            self.prometheus = stack.enter_context(Prometheus(SCRAPE.format(port)))
            self.traffic = Traffic(self.api, self.background, port)
            self.traffic.start()
            stack.callback(self.traffic.stop)
            self._install()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def namespace(self, name: str) -> str:
        """Make a namespace whose name nobody else has."""
        made = f"{name.replace('_', '-')[:40].strip('-')}-{next(self._numbers)}"
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": made}}
        self.api.create("/api/v1/namespaces", body)
        if self._reading is None:
            self._reading = json.dumps(_reading("placeholder"))
        for one in json.loads(self._reading.replace("placeholder", made)):
            self.api.create(PATHS[one["kind"]].format(made), one)
        return made

    def proxy(self, namespace: str = HOME) -> ApiProxy:
        """Make a way to the API server with the rights of the ServiceAccount there."""
        path = PATHS["ServiceAccount"].format(namespace)
        body: Object = {"spec": {"expirationSeconds": TOKEN_SECONDS}}
        token = self.api.create(f"{path}/{ACCOUNT}/token", body)["status"]["token"]
        return ApiProxy(self.background, self.api.server, self.api.authority, token)

    def grant(self, namespace: str) -> None:
        """Give an operator for one namespace, in that namespace, what the chart gives it."""
        if self._narrow is None:
            self._narrow = json.dumps(_narrow("placeholder"))
        for one in json.loads(self._narrow.replace("placeholder", namespace)):
            self.api.create(PATHS[one["kind"]].format(namespace), one)

    def _install(self) -> None:
        wide = [*chart.crds(), chart.namespace(HOME), *rights(HOME), *_fences()]
        self.cluster.kubectl("apply", "-f", "-", input=chart.stream(wide))
        wait_for_crds(self.cluster.kubectl, chart.crd_names())


def _narrow(namespace: str) -> list[Mapping[str, Any]]:
    """For an operator of one namespace that may set flags there."""
    listed = [{"namespace": namespace}]
    return rights(
        namespace,
        watchNamespaces=[namespace],
        patchConfigMaps=listed,
        restoreConfigMaps=listed,
        readSecrets=listed,
        traffic={"namespaces": [namespace]},
    )


def _reading(namespace: str) -> list[Mapping[str, Any]]:
    """For the operator of all namespaces: to look whether ConfigMaps of one are there."""
    made = rights(HOME, readConfigMaps=[{"namespace": namespace}])
    return [one for one in made if one["metadata"]["name"].endswith("-configmaps")]


def rights(namespace: str, **values: Any) -> list[Mapping[str, Any]]:
    """The chart's own account and roles, without its pods; every right that a value gives."""
    given = {
        "prometheus": {"url": "http://prometheus"},
        "admission": {"create": "watchNamespaces" not in values},
        "rbac": FEATURES,
    }
    objects = chart.rendered(chart.merged(given, values), name=ACCOUNT, namespace=namespace)
    return [one for one in objects if one["kind"] in RIGHTS]


def _fences() -> list[Mapping[str, Any]]:
    """The admission policies around what operators write; here each namespace may have its own.

    Those on what people write are left out: tests make plans and approvals as they need them.
    """
    values = {
        "prometheus": {"url": "http://prometheus"},
        "migrations": {"namespaces": ["any"]},
        "restoreConfigMaps": [{"namespace": "any"}],
        "traffic": {"namespaces": ["any"]},
    }
    made = [
        one
        for one in chart.rendered(values, name=ACCOUNT, namespace=HOME)
        if one["metadata"]["name"].startswith(FENCES)
    ]
    user, text = "request.userInfo.username", json.dumps(made)
    any_operator = f"({user}.startsWith('system:serviceaccount:') && {user}.endsWith(':{ACCOUNT}'))"
    named = f"'system:serviceaccount:{HOME}:{ACCOUNT}'"
    assert f"{user} == {named}" in text
    assert "(request.namespace == 'any')" in text
    text = text.replace("(request.namespace == 'any')", "true")
    text = text.replace(f"{user} == {named}", any_operator)
    listed = "request.namespace in ['any']"
    assert listed in text
    text = text.replace(listed, "true")
    found: list[Mapping[str, Any]] = json.loads(
        text.replace(f"{user} != {named}", f"!{any_operator}")
    )
    return found
