"""The chart on a real API server: it installs, its pod is admitted, its rights are enough."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
import yaml

from lab import chart
from lab.control_plane import ControlPlane
from rollback_operator.api.v1alpha1 import GROUP

pytestmark = pytest.mark.xdist_group("chart-install")
URL = {"prometheus": {"url": "http://prometheus.monitoring:9090"}}
ACCOUNT = "rollback-operator"
NEEDED = [
    *(f"{verb} rollbackpolicies.{GROUP}" for verb in ("list", "watch", "patch")),
    f"patch rollbackpolicies.{GROUP}/status",
    *(f"{verb} rollbacks.{GROUP}" for verb in ("list", "watch", "create", "patch", "delete")),
    f"patch rollbacks.{GROUP}/status",
    *(f"{verb} deployments.apps" for verb in ("get", "list", "watch", "patch")),
    "get replicasets.apps",
    "list replicasets.apps",
    "list pods",
    "list horizontalpodautoscalers.autoscaling",
    "list services",
    "list endpointslices.discovery.k8s.io",
    "create events",
]
NEVER = [
    "get secrets",
    "list secrets",
    "get configmaps",
    "list configmaps",
    "patch configmaps",
    "get pods/log",
    "patch horizontalpodautoscalers.autoscaling",
    "update deployments.apps",
    "create deployments.apps",
    "create pods",
    "delete pods",
    f"update rollbackpolicies.{GROUP}",
    f"delete rollbackpolicies.{GROUP}",
    "create rolebindings.rbac.authorization.k8s.io",
]
LEASE = "leases.coordination.k8s.io"


@pytest.fixture(scope="module")
def cluster() -> Iterator[ControlPlane]:
    with ControlPlane() as found:
        found.start_kwok(nodes=1)
        for name in ("wide", "narrow", "production", "staging"):
            found.kubectl("create", "namespace", name)
        for name in ("wide", "narrow"):
            label = "pod-security.kubernetes.io/enforce=restricted"
            found.kubectl("label", "namespace", name, label)
        install(found, "wide", URL)
        alone = {"watchNamespaces": ["production"], "admission": {"create": False}}
        install(found, "narrow", {**URL, **alone})
        yield found


def install(cluster: ControlPlane, namespace: str, values: Mapping[str, Any]) -> None:
    """As `python -m lab.chart | kubectl apply -f -` does it."""
    objects = [*chart.crds(), chart.namespace(namespace)]
    objects += chart.rendered(values, name=ACCOUNT, namespace=namespace)
    cluster.kubectl("apply", "-f", "-", input=chart.stream(objects))


def allowed(
    cluster: ControlPlane, account: str, namespace: str, requests: Sequence[str]
) -> list[str]:
    """Those of the requests (`VERB RESOURCE.GROUP[/SUBRESOURCE] [NAME]`) that it may do."""
    reviews = [_review(account, namespace, each) for each in requests]
    document = json.dumps({"apiVersion": "v1", "kind": "List", "items": reviews})
    answers = yaml.safe_load_all(
        cluster.kubectl("create", "-f", "-", "--output=yaml", input=document)
    )
    return [
        each for each, found in zip(requests, answers, strict=True) if found["status"]["allowed"]
    ]


def _review(account: str, namespace: str, request: str) -> dict[str, Any]:
    verb, what, *name = request.split()
    full, _, subresource = what.partition("/")
    resource, _, group = full.partition(".")
    attributes = {
        "verb": verb,
        "resource": resource,
        "group": group,
        "subresource": subresource,
        "namespace": namespace,
        "name": "".join(name),
    }
    return {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": f"system:serviceaccount:{account}", "resourceAttributes": attributes},
    }


@pytest.mark.parametrize("namespace", ["wide", "narrow"])
def test_the_pod_is_admitted_at_the_restricted_level(cluster: ControlPlane, namespace: str) -> None:
    cluster.kubectl("rollout", "status", f"deployment/{ACCOUNT}", "-n", namespace, "--timeout=60s")


def test_installing_again_changes_nothing(cluster: ControlPlane) -> None:
    before = generation(cluster)
    install(cluster, "wide", URL)

    assert generation(cluster) == before


def generation(cluster: ControlPlane) -> int:
    found = cluster.kubectl("get", "deployment", ACCOUNT, "-n", "wide", "--output=json")
    return int(json.loads(found)["metadata"]["generation"])


def test_the_account_may_do_what_the_operator_does(cluster: ControlPlane) -> None:
    assert allowed(cluster, f"wide:{ACCOUNT}", "staging", NEEDED) == NEEDED
    assert allowed(cluster, f"narrow:{ACCOUNT}", "production", NEEDED) == NEEDED


def test_the_account_may_do_nothing_else(cluster: ControlPlane) -> None:
    assert allowed(cluster, f"wide:{ACCOUNT}", "wide", NEVER) == []
    assert allowed(cluster, f"narrow:{ACCOUNT}", "production", NEVER) == []
    assert allowed(cluster, f"narrow:{ACCOUNT}", "staging", NEEDED) == []


@pytest.mark.parametrize("namespace", ["wide", "narrow"])
def test_leases_are_its_own_only(cluster: ControlPlane, namespace: str) -> None:
    account = f"{namespace}:{ACCOUNT}"
    own = [f"create {LEASE}", f"get {LEASE} {ACCOUNT}", f"update {LEASE} {ACCOUNT}"]
    others = [f"get {LEASE} other", f"update {LEASE} other", f"delete {LEASE} {ACCOUNT}"]

    assert allowed(cluster, account, namespace, own + others) == own
    assert allowed(cluster, account, "kube-system", own) == []


def test_the_clusters_own_roles_know_the_two_kinds(cluster: ControlPlane) -> None:
    requests = [
        f"list rollbackpolicies.{GROUP}",
        f"list rollbacks.{GROUP}",
        f"create rollbackpolicies.{GROUP}",
        f"delete rollbacks.{GROUP}",
    ]
    expected = {"view": requests[:2], "edit": requests[:3], "admin": requests}
    for role in expected:
        account = ("-n", "production", f"--serviceaccount=production:{role}")
        cluster.kubectl("create", "rolebinding", role, f"--clusterrole={role}", *account)

    found: dict[str, list[str]] = {}
    # Aggregation is the controller manager's work and takes a moment.
    deadline = time.monotonic() + 30
    while found != expected and time.monotonic() < deadline:
        found = {
            role: allowed(cluster, f"production:{role}", "production", requests)
            for role in expected
        }
    assert found == expected
