"""The fence around the operator's own account, and around what it writes down.

The account is bound to cluster-admin here, so that what is refused is refused by the fence and not
for want of a right; the tenant has every verb on our kinds in a namespace.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterator
from operator import getitem
from typing import Any

import pytest

from lab import chart
from lab.access import wait_for_crds
from lab.control_plane import ControlPlane
from rollback_operator.adapters.kube.apiserver import ApiServer
from rollback_operator.adapters.kube.projections.templates import template_of
from rollback_operator.adapters.kube.target.jobs import ApiJobs, job_of
from rollback_operator.ports.failure import Failure
from rollback_operator.ports.jobs import JobOrder, JobOwner, JobState
from tests.integration import manifests
from tests.integration.api import (
    Api,
    ApiError,
    Object,
    deployments,
    eventually,
    policies,
    rollbacks,
)

pytestmark = pytest.mark.xdist_group("fence")

NAMESPACE, HOME, ACCOUNT = "production", "operators", "rollback-operator"
GROUP = "rollback.tickettoken.io"
GITOPS = chart.CHART.parents[2] / "tests" / "gitops" / "crds.yaml"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
POWERS = {
    "powerful": ("list", "secrets"),
    "maker": ("create", "pods"),
    "entrant": ("create", "pods/exec"),
    "lender": ("create", "serviceaccounts/token"),
    "impostor": ("impersonate", "users"),
    "spreader": ("create", "daemonsets"),
    "binder": ("create", "clusterrolebindings"),
}
"""ServiceAccounts, and what each may do in the whole cluster."""
POWERFUL = "powerful"
CONFIG_MAPS = f"/api/v1/namespaces/{NAMESPACE}/configmaps"
SCALERS = f"/apis/autoscaling/v2/namespaces/{NAMESPACE}/horizontalpodautoscalers"
SERVICES = f"/api/v1/namespaces/{NAMESPACE}/services"
LISTED = "listed"
"""The namespace of `traffic.namespaces`."""
APPLICATIONS = "/apis/argoproj.io/v1alpha1/namespaces/argocd/applications"
KUSTOMIZATIONS = "/apis/kustomize.toolkit.fluxcd.io/v1/namespaces/flux-system/kustomizations"
ESCAPED = GROUP + "~1suspended-by"
STATUS = {"conditions": [], "message": "x"}


@pytest.fixture(scope="module")
def cluster() -> Iterator[ControlPlane]:
    with ControlPlane() as found:
        found.kubectl("apply", "-f", str(GITOPS))
        values = {
            "prometheus": {"url": "http://prometheus"},
            "restoreConfigMaps": [{"namespace": NAMESPACE, "names": ["config"]}],
            "traffic": {"namespaces": [LISTED]},
            "migrations": {"namespaces": [NAMESPACE]},
        }
        namespaces = map(chart.namespace, (HOME, NAMESPACE, LISTED))
        rendered = chart.rendered(values, name=ACCOUNT, namespace=HOME)
        objects = [*chart.crds(), *namespaces, *rendered, *_accounts()]
        found.kubectl("apply", "-f", "-", input=chart.stream(objects))
        wait_for_crds(found.kubectl, chart.crd_names())
        yield found


def _accounts() -> Iterator[Object]:
    """The operator's rights, which are all there are; accounts with powers; the tenant's rights."""
    yield _binding("ClusterRoleBinding", "operator-admin", "cluster-admin", _account(HOME, ACCOUNT))
    yield _object("ServiceAccount", "plain", NAMESPACE)
    for name, (verb, resource) in POWERS.items():
        group = "rbac.authorization.k8s.io" if "role" in resource else ""
        group = "apps" if resource == "daemonsets" else group
        rule = {"apiGroups": [group], "resources": [resource], "verbs": [verb]}
        yield _object("ServiceAccount", name, NAMESPACE)
        yield {**_object("ClusterRole", name), "rules": [rule]}
        yield _binding("ClusterRoleBinding", name, name, _account(NAMESPACE, name))
    rule = {"apiGroups": [GROUP], "resources": ["*"], "verbs": ["*"]}
    yield {**_object("ClusterRole", "tenant"), "rules": [rule]}
    for role in ("tenant", "admin"):
        yield _binding("RoleBinding", f"tenant-{role}", role, {"kind": "User", "name": "tenant"})


def _account(namespace: str, name: str) -> Object:
    return {"kind": "ServiceAccount", "namespace": namespace, "name": name}


def _object(kind: str, name: str, namespace: str = "") -> Object:
    version = "v1" if kind == "ServiceAccount" else RBAC.removeprefix("/apis/")
    place = {"namespace": namespace} if namespace else {}
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, **place}}


def _binding(kind: str, name: str, role: str, subject: Object) -> Object:
    """Bind a ClusterRole, in the tenant's namespace or in the whole cluster."""
    place = NAMESPACE if kind == "RoleBinding" else ""
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role}
    return {**_object(kind, name, place), "roleRef": reference, "subjects": [subject]}


@pytest.fixture(scope="module")
def admin(cluster: ControlPlane) -> Iterator[Api]:
    api = Api(cluster.kubeconfig)
    yield api
    api.close()


@pytest.fixture(scope="module")
def tenant(cluster: ControlPlane, admin: Api) -> Iterator[Api]:
    api = Api(cluster.kubeconfig)
    api.impersonate("tenant")
    _ready(cluster, admin)
    # Aggregated rights take the controller manager a moment, policies the API server.
    path = f"{policies(NAMESPACE)}/shop/status"
    eventually(
        lambda: (
            "only the operator writes it" in refusal(lambda: api.merge(path, {"status": STATUS}))
        ),
        "the policy on records bites",
    )
    yield api
    api.close()


@pytest.fixture(scope="module")
def operator(cluster: ControlPlane, admin: Api) -> Iterator[Api]:
    _ready(cluster, admin)
    path = f"/api/v1/namespaces/{HOME}/serviceaccounts/{ACCOUNT}/token"
    token = admin.create(path, {"spec": {"expirationSeconds": 7200}})["status"]["token"]
    api = Api(cluster.kubeconfig)
    api.log_in(token)
    eventually(
        lambda: (
            "changes only template"
            in refusal(
                lambda: api.merge(
                    f"{deployments(NAMESPACE)}/shop", {"spec": {"minReadySeconds": 9}}
                )
            )
        ),
        "the fence bites",
    )
    yield api
    api.close()


def _ready(cluster: ControlPlane, admin: Api) -> None:
    """Make what is written to, once."""
    made: list[tuple[str, Object]] = [
        (deployments(NAMESPACE), deployment("shop")),
        (deployments("kube-system"), deployment("shop")),
        (deployments(HOME), deployment("shop")),
        (policies(NAMESPACE), named("shop", manifests.policy(targetRef={"name": "shop"}))),
        (CONFIG_MAPS, {"metadata": {"name": "flags"}, "data": {"NEW": "true", "OLD": "1"}}),
        (CONFIG_MAPS, {"metadata": {"name": "config"}, "data": {"NEW": "true", "OLD": "1"}}),
        (SCALERS, scaler("shop")),
        (APPLICATIONS, application("shop")),
        (KUSTOMIZATIONS, kustomization("shop")),
        (SERVICES, {"metadata": {"name": "shop"}, "spec": service_spec()}),
        (deployments(LISTED), deployment("shop")),
    ]
    for path, body in made:
        if admin.find(f"{path}/{body['metadata']['name']}") is None:
            admin.create(path, body)
    if admin.find(STORED) is None:
        # A plan is the operator's; whoever administrates the cluster may be it for a moment.
        own = Api(cluster.kubeconfig)
        own.impersonate(f"system:serviceaccount:{HOME}:{ACCOUNT}")
        own.create(rollbacks(NAMESPACE), named("stored", manifests.rollback()))
        own.merge(f"{STORED}/status", {"status": {"planDigest": PLAN_DIGEST}})
        own.close()


def deployment(name: str) -> Object:
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "annotations": {"team": "shop"}},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "shop", "image": "example.com/shop:v1"}]},
            },
        },
    }


def service_spec() -> Object:
    return {"selector": {"app": "shop"}, "ports": [{"port": 80}]}


def named(name: str, body: Object) -> Object:
    return {**body, "metadata": {**body["metadata"], "name": name, "namespace": NAMESPACE}}


def scaler(name: str) -> Object:
    return {
        "metadata": {"name": name},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
            "minReplicas": 2,
            "maxReplicas": 4,
        },
    }


def application(name: str) -> Object:
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Application",
        "metadata": {"name": name},
        "spec": {
            "destination": {"namespace": NAMESPACE},
            "project": "default",
            "syncPolicy": {"automated": {"selfHeal": True}, "syncOptions": ["a=b"]},
        },
    }


def kustomization(name: str) -> Object:
    return {
        "apiVersion": "kustomize.toolkit.fluxcd.io/v1",
        "kind": "Kustomization",
        "metadata": {"name": name},
        "spec": {
            "interval": "1m",
            "prune": True,
            "sourceRef": {"kind": "GitRepository", "name": "x"},
        },
    }


def refusal(call: Callable[[], object]) -> str:
    """Say why the API server refuses; empty if it does not."""
    try:
        call()
    except ApiError as error:
        return str(error)
    return ""


def put(path: str, value: Any, op: str = "add") -> list[Object]:
    return [{"op": op, "path": path, "value": value}]


SHOP = f"{deployments(NAMESPACE)}/shop"
POLICY = f"{policies(NAMESPACE)}/shop"
PLAN_DIGEST = "0123456789abcdef"
STORED = f"{rollbacks(NAMESPACE)}/stored"
FLAGS, SCALER = f"{CONFIG_MAPS}/flags", f"{SCALERS}/shop"
CONFIG = f"{CONFIG_MAPS}/config"
APPLICATION, KUSTOMIZATION = f"{APPLICATIONS}/shop", f"{KUSTOMIZATIONS}/shop"
SERVICE, STOPPED_BY = f"{SERVICES}/shop", f"/spec/selector/{GROUP}~1stopped-by"
POD = "/spec/template/spec"
ANNOTATION, CAUSE = "/metadata/annotations", "kubernetes.io~1change-cause"
FORBIDDEN: dict[str, tuple[str, list[Object], str]] = {
    "selector": (SHOP, put("/spec/revisionHistoryLimit", 0), "changes only template"),
    "deadline": (SHOP, put("/spec/progressDeadlineSeconds", 5), "changes only template"),
    "strategy": (
        SHOP,
        put("/spec/strategy", {"type": "Recreate"}, "replace"),
        "spec.strategy.type",
    ),
    "no replicas": (SHOP, put("/spec/replicas", 0), "does not scale to zero"),
    "label": (SHOP, put("/metadata/labels", {"a": "b"}), "changes only annotations"),
    "finalizer": (
        SHOP,
        put("/metadata/finalizers", ["a.example/b"]),
        "metadata: the operator changes only",
    ),
    "owner": (
        SHOP,
        put(
            "/metadata/ownerReferences",
            [{"apiVersion": "v1", "kind": "ConfigMap", "name": "flags", "uid": "u"}],
        ),
        "metadata: the operator changes only",
    ),
    "foreign annotation": (SHOP, put(f"{ANNOTATION}/x", "y"), "changes only its own"),
    "foreign annotation beside a cause": (
        SHOP,
        [*put(f"{ANNOTATION}/{CAUSE}", "undone"), *put(f"{ANNOTATION}/kubernetes.io~1x", "y")],
        "changes only its own",
    ),
    "lost annotation": (
        SHOP,
        [{"op": "remove", "path": f"{ANNOTATION}/team"}],
        "changes only its own",
    ),
    "host network": (SHOP, put(f"{POD}/hostNetwork", True), "hostNetwork"),
    "host processes": (SHOP, put(f"{POD}/hostPID", True), "hostPID"),
    "host IPC": (SHOP, put(f"{POD}/hostIPC", True), "hostIPC"),
    "host path": (
        SHOP,
        put(f"{POD}/volumes", [{"name": "root", "hostPath": {"path": "/"}}]),
        "hostPath",
    ),
    "privileged": (
        SHOP,
        put(f"{POD}/containers/0/securityContext", {"privileged": True}),
        "makes no container privileged",
    ),
    "privileged at first": (
        SHOP,
        put(
            f"{POD}/initContainers",
            [{"name": "a", "image": "b", "securityContext": {"privileged": True}}],
        ),
        "makes no container privileged",
    ),
    **{
        what: (SHOP, put(f"{POD}/{where}", value), said)
        for what, where, value, said in (
            ("node", "nodeName", "control-plane", "nodeName"),
            ("priority", "priorityClassName", "system-cluster-critical", "priorityClassName"),
            (
                "sysctl",
                "securityContext",
                {"sysctls": [{"name": "kernel.msgmax", "value": "1"}]},
                "securityContext.sysctls",
            ),
            *(
                (f"{kind} volume", "volumes", [{"name": "a", kind: source}], "a hostPath, or")
                for kind, source in (
                    ("nfs", {"server": "a.example", "path": "/"}),
                    ("iscsi", {"targetPortal": "192.0.2.1", "iqn": "iqn.2001-04.a:b", "lun": 0}),
                    ("flexVolume", {"driver": "a.example/b"}),
                    ("gitRepo", {"repository": "https://a.example"}),
                    ("rbd", {"monitors": ["192.0.2.1"], "image": "a"}),
                )
            ),
        )
    },
    **{
        f"{what} of {where}": (SHOP, change, said)
        for where, start in (
            ("a container", {}),
            ("an init container", {"name": "a", "image": "b"}),
        )
        for what, value, said in (
            *(
                (
                    f"capability {right}",
                    {"securityContext": {"capabilities": {"add": ["CHOWN", right]}}},
                    "securityContext.capabilities",
                )
                for right in ("SYS_ADMIN", "NET_RAW", "ALL", "sys_admin")
            ),
            *(
                (
                    f"unconfined {field}",
                    {"securityContext": {field: {"type": "Unconfined"}}},
                    f"securityContext.{field}",
                )
                for field in ("seccompProfile", "appArmorProfile")
            ),
            *(
                (
                    f"SELinux {field}",
                    {"securityContext": {"seLinuxOptions": {field: "spc_t"}}},
                    "securityContext.seLinuxOptions",
                )
                for field in ("type", "user", "role")
            ),
            ("node's port", {"ports": [{"containerPort": 80, "hostPort": 80}]}, "hostPort"),
        )
        for change in (
            put(f"{POD}/initContainers", [{**start, **value}])
            if start
            else [*(put(f"{POD}/containers/0/{key}", one)[0] for key, one in value.items())],
        )
    },
    **{
        f"unconfined {field} of a pod": (
            SHOP,
            put(f"{POD}/securityContext", {field: {"type": "Unconfined"}}),
            f"securityContext.{field}",
        )
        for field in ("seccompProfile", "appArmorProfile")
    },
    "unconfined by annotation": (
        SHOP,
        put(
            "/spec/template/metadata/annotations",
            {"container.apparmor.security.beta.kubernetes.io/shop": "unconfined"},
        ),
        "AppArmor",
    ),
    "SELinux type of a pod": (
        SHOP,
        put(f"{POD}/securityContext", {"seLinuxOptions": {"type": "spc_t"}}),
        "securityContext.seLinuxOptions",
    ),
    "unmasked /proc": (
        SHOP,
        [
            *put(f"{POD}/hostUsers", False),
            *put(f"{POD}/containers/0/securityContext", {"procMount": "Unmasked"}),
        ],
        "procMount",
    ),
    **{
        f"{name} by {how} of another host": (
            SHOP,
            put(f"{POD}/containers/0/{name}", {how: {"host": "192.0.2.1", "port": 80}}),
            f"containers.{name}",
        )
        for name in ("livenessProbe", "readinessProbe", "startupProbe")
        for how in ("httpGet", "tcpSocket")
    },
    **{
        f"{name} by {how} of another host": (
            SHOP,
            put(
                f"{POD}/containers/0/lifecycle",
                {name: {how: {"host": "192.0.2.1", "port": 80}}},
            ),
            f"containers.lifecycle.{name}",
        )
        for name in ("postStart", "preStop")
        for how in ("httpGet", "tcpSocket")
    },
    "an account by its old field": (
        SHOP,
        put(f"{POD}/serviceAccount", POWERFUL),
        "no account that may list secrets",
    ),
    **{
        f"an account that may {verb} {resource}": (
            SHOP,
            put(f"{POD}/serviceAccountName", name),
            f"no account that may {verb} {resource}",
        )
        for name, (verb, resource) in POWERS.items()
    },
    "closed namespace": (
        f"{deployments('kube-system')}/shop",
        put("/spec/replicas", 3),
        "closedNamespaces",
    ),
    "own namespace": (f"{deployments(HOME)}/shop", put("/spec/replicas", 3), "closedNamespaces"),
    "scale": (f"{SHOP}/scale", put("/spec/replicas", 3), "no subresource"),
    "status of a Deployment": (
        f"{SHOP}/status",
        put("/status/readyReplicas", 2),
        "no subresource",
    ),
    "a policy": (POLICY, put("/spec/mode", "Observe", "replace"), "does not change a policy"),
    "a policy's labels": (
        POLICY,
        put("/metadata/labels", {"a": "b"}),
        "changes only finalizers",
    ),
    "foreign finalizer": (
        POLICY,
        put("/metadata/finalizers", ["a.example/b"]),
        "changes only its own",
    ),
    "foreign finalizer of a Rollback": (
        STORED,
        put("/metadata/finalizers", ["a.example/b"]),
        "changes only its own",
    ),
    "approval": (
        STORED,
        put(
            "/spec/approval",
            {
                "decision": "Approve",
                "by": f"system:serviceaccount:{HOME}:{ACCOUNT}",
                "reason": "x",
                "planDigest": PLAN_DIGEST,
            },
        ),
        "approves none",
    ),
    "a Rollback's annotation": (
        STORED,
        put(ANNOTATION, {f"{GROUP}/restore-bounds": "requested"}),
        "changes only finalizers",
    ),
    "whom a Service selects": (
        SERVICE,
        put("/spec/selector/app", "other", "replace"),
        "adds and removes only its own label",
    ),
    "another label of a Service's selector": (
        SERVICE,
        put("/spec/selector/team", "x"),
        "adds and removes only its own label",
    ),
    "a Service's selector as a whole": (
        SERVICE,
        [{"op": "remove", "path": "/spec/selector"}],
        "adds and removes only its own label",
    ),
    "a Service's type": (SERVICE, put("/spec/type", "NodePort"), "changes only selector"),
    "a Service's label": (SERVICE, put("/metadata/labels", {"a": "b"}), "metadata: "),
    "a ConfigMap's label": (FLAGS, put("/metadata/labels", {"a": "b"}), "metadata: "),
    "an autoscaler's label": (SCALER, put("/metadata/labels", {"a": "b"}), "metadata: "),
    "an autoscaler's status": (
        f"{SCALER}/status",
        put("/status/desiredReplicas", 9),
        "no subresource",
    ),
    "new key": (FLAGS, put("/data/ANOTHER", "x"), "one existing key"),
    "lost key": (FLAGS, [{"op": "remove", "path": "/data/OLD"}], "one existing key"),
    "two keys": (
        FLAGS,
        [*put("/data/NEW", "x", "replace"), *put("/data/OLD", "y", "replace")],
        "one existing key",
    ),
    "binary data": (FLAGS, put("/binaryData", {"a": "AAAA"}), "changes only data"),
    "for good": (FLAGS, put("/immutable", True), "changes only data"),
    "a restored ConfigMap's label": (CONFIG, put("/metadata/labels", {"a": "b"}), "metadata: "),
    "a restored ConfigMap for good": (CONFIG, put("/immutable", True), "changes only data"),
    "who is scaled": (
        SCALER,
        put("/spec/scaleTargetRef/name", "other", "replace"),
        "only minReplicas and maxReplicas",
    ),
    "an Application's source": (
        APPLICATION,
        put("/spec/source", {"repoURL": "https://evil.example"}),
        "only syncPolicy.automated",
    ),
    "an Application's project": (
        APPLICATION,
        put("/spec/project", "admin", "replace"),
        "only syncPolicy.automated",
    ),
    "an Application's operation": (
        APPLICATION,
        put("/operation", {"sync": {}}),
        "syncPolicy.automated of an Application",
    ),
    "how it is synced": (
        APPLICATION,
        put("/spec/syncPolicy/syncOptions", []),
        "changes only automated",
    ),
    **{
        f"{what} of {kind}": (path, put(place, value), said)
        for kind, path in (("an Application", APPLICATION), ("a Kustomization", KUSTOMIZATION))
        for what, place, value, said in (
            ("the labels", "/metadata/labels", {"a": "b"}, "changes only annotations"),
            ("a foreign annotation", ANNOTATION, {"a": "b"}, "changes only its own"),
            ("a cause", ANNOTATION, {"kubernetes.io/change-cause": "x"}, "changes only its own"),
        )
    },
    "a Kustomization's status": (
        f"{KUSTOMIZATION}/status",
        put("/status", {"conditions": []}),
        "no subresource",
    ),
    "a Kustomization's source": (
        KUSTOMIZATION,
        put("/spec/sourceRef/name", "evil", "replace"),
        "changes only suspend",
    ),
}
ALLOWED: dict[str, tuple[str, list[Object]]] = {
    "no replicas where that is listed": (
        f"{deployments(LISTED)}/shop",
        put("/spec/replicas", 0, "replace"),
    ),
    "its own label of a selector": (SERVICE, put(STOPPED_BY, "11111111-2222")),
    "the end of it": (SERVICE, [{"op": "remove", "path": STOPPED_BY}]),
    "template": (SHOP, put(f"{POD}/containers/0/image", "example.com/shop:v0", "replace")),
    "another account": (SHOP, put(f"{POD}/serviceAccountName", "plain")),
    "no node": (SHOP, put(f"{POD}/nodeName", "")),
    "weaker in itself": (
        SHOP,
        put(
            f"{POD}/containers/0/securityContext",
            {
                "runAsUser": 0,
                "runAsNonRoot": False,
                "allowPrivilegeEscalation": True,
                "readOnlyRootFilesystem": False,
                "capabilities": {"add": ["NET_BIND_SERVICE"]},
                "seccompProfile": {"type": "RuntimeDefault"},
            },
        ),
    ),
    "volumes of its own": (
        SHOP,
        put(
            f"{POD}/volumes",
            [
                {"name": "a", "emptyDir": {}},
                {"name": "b", "configMap": {"name": "a"}},
                {"name": "c", "secret": {"secretName": "a"}},
                {"name": "d", "persistentVolumeClaim": {"claimName": "a"}},
                {"name": "e", "projected": {"sources": []}},
                {"name": "f", "csi": {"driver": "a.example"}},
            ],
        ),
    ),
    "a sandbox": (SHOP, put(f"{POD}/runtimeClassName", "sandbox")),
    "out of it": (SHOP, [{"op": "remove", "path": f"{POD}/runtimeClassName"}]),
    "a safe sysctl": (
        SHOP,
        put(
            f"{POD}/securityContext",
            {"sysctls": [{"name": "net.ipv4.tcp_syncookies", "value": "1"}]},
        ),
    ),
    "pause": (SHOP, put("/spec/paused", True)),
    "go on": (SHOP, [{"op": "remove", "path": "/spec/paused"}]),
    "replicas": (SHOP, put("/spec/replicas", 3)),
    "bounds of a rollout": (SHOP, put("/spec/strategy/rollingUpdate/maxSurge", "100%")),
    "own annotation": (SHOP, put(f"{ANNOTATION}/{GROUP}~1undone", "x")),
    "say a cause": (SHOP, put(f"{ANNOTATION}/{CAUSE}", "rollback-operator: undo")),
    "say none": (SHOP, put(f"{ANNOTATION}/{CAUSE}", "")),
    "take the cause off": (SHOP, [{"op": "remove", "path": f"{ANNOTATION}/{CAUSE}"}]),
    "guard a policy": (POLICY, put("/metadata/finalizers", [f"{GROUP}/held-rollout"])),
    "let it go": (POLICY, put("/metadata/finalizers", [])),
    "a policy's status": (f"{POLICY}/status", put("/status", {"observedGeneration": 1})),
    "guard a Rollback": (STORED, put("/metadata/finalizers", [f"{GROUP}/open-step"])),
    "a Rollback's status": (f"{STORED}/status", put("/status", {"severity": "P1"})),
    "let that go": (STORED, put("/metadata/finalizers", [])),
    "a flag": (FLAGS, put("/data/NEW", "false", "replace")),
    "a content as a whole": (
        CONFIG,
        [*put("/data", {"OTHER": "1"}), *put("/binaryData", {"a": "AAAA"})],
    ),
    "an autoscaler's bounds": (
        SCALER,
        [*put("/spec/minReplicas", 4, "replace"), *put("/spec/maxReplicas", 8, "replace")],
    ),
    "suspend an Application": (
        APPLICATION,
        [
            *put(ANNOTATION, {f"{GROUP}/suspended-by": "x"}),
            {"op": "remove", "path": "/spec/syncPolicy/automated"},
        ],
    ),
    "let the Application go on": (
        APPLICATION,
        [
            {"op": "remove", "path": f"{ANNOTATION}/{ESCAPED}"},
            *put("/spec/syncPolicy/automated", {"selfHeal": True}),
        ],
    ),
    "suspend a Kustomization": (KUSTOMIZATION, put("/spec/suspend", True)),
    "let the Kustomization go on": (KUSTOMIZATION, [{"op": "remove", "path": "/spec/suspend"}]),
}
ACCOUNT_FIELDS = ("serviceAccountName", "serviceAccount")
STRONG: Object = {
    "hostNetwork": True,
    "hostPID": True,
    "hostIPC": True,
    "nodeName": "one",
    "securityContext": {
        "seccompProfile": {"type": "Unconfined"},
        "appArmorProfile": {"type": "Unconfined"},
        "seLinuxOptions": {"type": "spc_t"},
    },
    "containers": [
        {
            "name": "shop",
            "image": "example.com/shop:v1",
            "securityContext": {"privileged": True, "capabilities": {"add": ["SYS_ADMIN"]}},
            "ports": [{"containerPort": 80, "hostPort": 80}],
            "volumeMounts": [{"name": "root", "mountPath": "/host"}],
            "livenessProbe": {"httpGet": {"host": "192.0.2.1", "port": 80}},
            "lifecycle": {"preStop": {"tcpSocket": {"host": "192.0.2.1", "port": 80}}},
        }
    ],
    "volumes": [
        {"name": "root", "hostPath": {"path": "/"}},
        {"name": "files", "nfs": {"server": "a.example", "path": "/"}},
    ],
}
_READER = {
    "containers": [
        {
            "name": "shop",
            "image": "example.com/shop:v1",
            "volumeMounts": [
                {"name": "root", "mountPath": "/host", "readOnly": True},
                {"name": "root", "mountPath": "/logs", "subPath": "var/log"},
            ],
        }
    ],
    "volumes": [{"name": "root", "hostPath": {"path": "/"}}],
}
_ADDS = {"capabilities": {"add": ["SYS_ADMIN"]}}
_SHOP = {"name": "shop", "image": "example.com/shop:v1"}
_TUNED = {
    "securityContext": {"sysctls": [{"name": "kernel.msgmax", "value": "1"}]},
    "containers": [_SHOP],
}
_WINDOWS = {
    "hostNetwork": True,
    "securityContext": {"windowsOptions": {"hostProcess": True}},
    "containers": [_SHOP],
}
KEPT: dict[str, tuple[Object, list[Object]]] = {
    "another image": (STRONG, put(f"{POD}/containers/0/image", "example.com/shop:v0", "replace")),
    "by other names": (
        STRONG,
        [
            *put(f"{POD}/volumes/0/name", "all", "replace"),
            *put(f"{POD}/volumes/1/name", "some", "replace"),
            *put(f"{POD}/containers/0/volumeMounts/0/name", "all", "replace"),
        ],
    ),
    "less of the node": (
        STRONG,
        put(
            f"{POD}/containers/0/volumeMounts/0",
            {"name": "root", "mountPath": "/host", "subPath": "var", "readOnly": True},
            "replace",
        ),
    ),
    "at the container instead of the pod": (
        STRONG,
        put(f"{POD}/containers/0/securityContext/seccompProfile", {"type": "Unconfined"}),
    ),
    "a pause": (STRONG, put("/spec/paused", True)),
    "a sysctl": (_TUNED, put(f"{POD}/securityContext/sysctls/0/value", "2", "replace")),
    "host processes": (
        _WINDOWS,
        put(f"{POD}/containers/0/image", "example.com/shop:v0", "replace"),
    ),
}
MORE: dict[str, tuple[Object, list[Object], str]] = {
    "another sysctl": (
        _TUNED,
        put(f"{POD}/securityContext/sysctls/0/name", "kernel.sem", "replace"),
        "securityContext.sysctls",
    ),
    "host processes": (
        {"hostNetwork": True, "containers": [_SHOP]},
        put(f"{POD}/securityContext", {"windowsOptions": {"hostProcess": True}}),
        "are not host processes",
    ),
    "a container's host processes": (
        {"hostNetwork": True, "containers": [_SHOP]},
        put(f"{POD}/containers/0/securityContext", {"windowsOptions": {"hostProcess": True}}),
        "are not host processes",
    ),
    "to be written": (
        _READER,
        put(f"{POD}/containers/0/volumeMounts/0/readOnly", False),
        "containers.volumeMounts",
    ),
    "all of it": (
        _READER,
        [{"op": "remove", "path": f"{POD}/containers/0/volumeMounts/1/subPath"}],
        "containers.volumeMounts",
    ),
    "another part": (
        _READER,
        put(f"{POD}/containers/0/volumeMounts/1/subPath", "etc", "replace"),
        "containers.volumeMounts",
    ),
    "by an init container": (
        _READER,
        put(
            f"{POD}/initContainers",
            [{**_SHOP, "name": "a", "volumeMounts": [{"name": "root", "mountPath": "/"}]}],
        ),
        "containers.volumeMounts",
    ),
    "another capability": (
        {"containers": [{**_SHOP, "securityContext": _ADDS}]},
        put(f"{POD}/containers/0/securityContext/capabilities/add/-", "SYS_MODULE"),
        "securityContext.capabilities",
    ),
    "another container's capability": (
        {"containers": [{**_SHOP, "securityContext": _ADDS}, {**_SHOP, "name": "other"}]},
        put(f"{POD}/containers/1/securityContext", _ADDS),
        "securityContext.capabilities",
    ),
    "the pod's profile where the container had its own": (
        {
            "securityContext": {"seccompProfile": {"type": "Unconfined"}},
            "containers": [
                {**_SHOP, "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}}}
            ],
        },
        [{"op": "remove", "path": f"{POD}/containers/0/securityContext"}],
        "securityContext.seccompProfile",
    ),
    "out of a user namespace": (
        {"hostUsers": False, "containers": [{**_SHOP, "securityContext": _ADDS}]},
        [{"op": "remove", "path": f"{POD}/hostUsers"}],
        "securityContext.capabilities",
    ),
    "out of a sandbox": (
        {
            "runtimeClassName": "sandbox",
            "containers": [{**_SHOP, "securityContext": {"privileged": True}}],
        },
        [{"op": "remove", "path": f"{POD}/runtimeClassName"}],
        "makes no container privileged",
    ),
    "of every address": (
        {
            "containers": [
                {
                    **_SHOP,
                    "ports": [{"containerPort": 80, "hostPort": 80, "hostIP": "127.0.0.1"}],
                }
            ]
        },
        [{"op": "remove", "path": f"{POD}/containers/0/ports/0/hostIP"}],
        "hostPort",
    ),
    "another server's volume": (
        {
            "containers": [_SHOP],
            "volumes": [{"name": "a", "nfs": {"server": "a.example", "path": "/"}}],
        },
        put(f"{POD}/volumes/0/nfs/server", "b.example", "replace"),
        "a hostPath, or",
    ),
    "a token": (
        {
            "serviceAccountName": POWERFUL,
            "automountServiceAccountToken": False,
            "containers": [_SHOP],
        },
        [{"op": "remove", "path": f"{POD}/automountServiceAccountToken"}],
        "no account that may list secrets",
    ),
    "a token by a volume": (
        {
            "serviceAccountName": POWERFUL,
            "automountServiceAccountToken": False,
            "containers": [_SHOP],
        },
        put(
            f"{POD}/volumes",
            [{"name": "a", "projected": {"sources": [{"serviceAccountToken": {"path": "a"}}]}}],
        ),
        "no account that may list secrets",
    ),
}


JOBS = "/apis/batch/v1/namespaces/{}/jobs"
_BARE = {"containers": [_SHOP]}
_ON_NODE = "no power over its node"


def job(pods: Object, name: str = "rollback-a", kind: str = "Rollback") -> Object:
    """What the operator makes of the pods of a release."""
    owner = JobOwner(kind, "stored", "11111111-2222")
    order = JobOrder(NAMESPACE, name, owner, "shop", "", None, None, ("down",), {"STEPS": "1"}, 60)
    made = job_of(order, pods)
    assert isinstance(made, dict)
    return made


FOREIGN_JOBS: dict[str, tuple[Object, list[str | int], Any, str]] = {
    # the Job, and what is written where
    "another name": (job(_BARE, "backup"), [], None, "only Jobs of its own Rollbacks"),
    "no owner": (job(_BARE), ["metadata", "ownerReferences"], [], "only Jobs of its own"),
    "another owner": (
        job(_BARE),
        ["metadata", "ownerReferences", 0, "apiVersion"],
        "apps/v1",
        "only Jobs of its own Rollbacks",
    ),
    "again and again": (job(_BARE), ["spec", "backoffLimit"], 6, "one container, once"),
    "many at once": (job(_BARE), ["spec", "parallelism"], 2, "one container, once"),
    "many in turn": (job(_BARE), ["spec", "completions"], 2, "one container, once"),
    "without an end": (job(_BARE), ["spec", "activeDeadlineSeconds"], 3601, "a time limit"),
    "for ever": (job(_BARE), ["spec", "ttlSecondsAfterFinished"], None, "a time limit"),
    "host network": (job(_BARE), ["spec", "template", "spec", "hostNetwork"], True, _ON_NODE),
    "host processes": (job(_BARE), ["spec", "template", "spec", "hostPID"], True, _ON_NODE),
    "a host path": (
        job(_BARE),
        ["spec", "template", "spec", "volumes"],
        [{"name": "root", "hostPath": {"path": "/"}}],
        _ON_NODE,
    ),
    "privileged": (
        job({"containers": [{**_SHOP, "securityContext": {"privileged": True}}]}),
        [],
        None,
        _ON_NODE,
    ),
    "a capability": (
        job({"containers": [{**_SHOP, "securityContext": _ADDS}]}),
        [],
        None,
        _ON_NODE,
    ),
    **{
        f"an account that may {verb} {resource}": (
            job({**_BARE, "serviceAccountName": name}),
            [],
            None,
            f"may {verb} {resource}",
        )
        for name, (verb, resource) in POWERS.items()
    },
}


def made(admin: Api, name: str, pods: Object) -> str:
    """Make a Deployment anew, with such pods."""
    path = f"{deployments(NAMESPACE)}/{name}"
    if admin.find(path) is not None:
        admin.delete(path)
        eventually(lambda: admin.find(path) is None, "it is gone")
    body = deployment(name)
    body["spec"]["template"]["spec"] = pods
    admin.create(deployments(NAMESPACE), body)
    return path


class TestOperator:
    @pytest.mark.parametrize(("path", "change", "said"), FORBIDDEN.values(), ids=FORBIDDEN)
    def test_changes_nothing_that_is_not_its_work(
        self, operator: Api, path: str, change: list[Object], said: str
    ) -> None:
        assert said in refusal(lambda: operator.patch(path, change))

    def test_does_its_work(self, operator: Api) -> None:
        refused = {
            name: said
            for name, (path, change) in ALLOWED.items()
            if (said := refusal(lambda path=path, change=change: operator.patch(path, change)))
        }
        assert not refused

    def test_keeps_an_account_that_runs_already(self, admin: Api, operator: Api) -> None:
        body = deployment("strong")
        body["spec"]["template"]["spec"]["serviceAccountName"] = POWERFUL
        admin.create(deployments(NAMESPACE), body)
        image = put(f"{POD}/containers/0/image", "example.com/shop:v0", "replace")
        assert not refusal(lambda: operator.patch(f"{deployments(NAMESPACE)}/strong", image))

    @pytest.mark.parametrize(("running", "change"), KEPT.values(), ids=KEPT)
    def test_keeps_what_runs_already(
        self, admin: Api, operator: Api, running: Object, change: list[Object]
    ) -> None:
        path = made(admin, "strong", running)
        assert not refusal(lambda: operator.patch(path, change))

    @pytest.mark.parametrize(("running", "change", "said"), MORE.values(), ids=MORE)
    def test_gives_no_more_than_what_runs(
        self, admin: Api, operator: Api, running: Object, change: list[Object], said: str
    ) -> None:
        path = made(admin, "stronger", running)
        assert said in refusal(lambda: operator.patch(path, change))

    def test_goes_to_no_default_account_that_rules_over_the_cluster(
        self, cluster: ControlPlane, admin: Api, operator: Api
    ) -> None:
        """A template that names no account has the default one."""
        cluster.kubectl("create", "namespace", "ruled")
        account = "--serviceaccount=ruled:default"
        cluster.kubectl("create", "clusterrolebinding", "ruled", "--clusterrole=maker", account)
        body = deployment("shop")
        body["spec"]["template"]["spec"]["serviceAccountName"] = "plain"
        admin.create(deployments("ruled"), body)
        remove = [{"op": "remove", "path": f"{POD}/{one}"} for one in ACCOUNT_FIELDS]
        said = eventually(
            lambda: refusal(lambda: operator.patch(f"{deployments('ruled')}/shop", remove)),
            "the account's rights are known",
        )
        assert "no account that may create pods" in said

    def test_a_large_template_is_no_reason_to_refuse(self, admin: Api, operator: Api) -> None:
        """What the API server lets an expression cost is enough for 100 containers."""
        strong = STRONG["containers"][0]
        many = [
            {
                **strong,
                "name": f"c{number}",
                "ports": [{"containerPort": 1000 + port, "name": f"p{port}"} for port in range(3)],
            }
            for number in range(100)
        ]
        volumes = [{"name": f"v{number}", "emptyDir": {}} for number in range(100)]
        running = {**STRONG, "containers": many, "volumes": [*STRONG["volumes"], *volumes]}
        path = made(admin, "large", running)
        changed = [{**one, "image": "example.com/shop:v0"} for one in many]
        assert not refusal(lambda: operator.patch(path, put(f"{POD}/containers", changed)))
        assert not refusal(lambda: operator.patch(path, put("/spec/paused", True)))

    @pytest.mark.parametrize("case", FOREIGN_JOBS)
    def test_creates_no_job_that_is_not_a_migrations(self, operator: Api, case: str) -> None:
        body, path, value, said = copy.deepcopy(FOREIGN_JOBS[case])
        if path:
            *outer, last = path
            functools.reduce(getitem, outer, body)[last] = value

        found = refusal(lambda: operator.create(JOBS.format(NAMESPACE), body))

        assert said in found

    def test_creates_and_deletes_the_jobs_of_migrations_where_they_are_listed(
        self, admin: Api, operator: Api
    ) -> None:
        path, stored = JOBS.format(NAMESPACE), named("with-a-job", manifests.rollback())
        operator.create(rollbacks(NAMESPACE), stored)
        own = job({**_BARE, "serviceAccountName": "plain"}, "rollback-own")
        # The garbage collector deletes the Job of a Rollback that does not exist.
        uid = admin.get(f"{rollbacks(NAMESPACE)}/with-a-job")["metadata"]["uid"]
        own["metadata"]["ownerReferences"][0] |= {"name": "with-a-job", "uid": uid}
        operator.create(path, own)
        operator.delete(f"{path}/rollback-own")
        said = refusal(lambda: operator.create(JOBS.format(LISTED), job(_BARE)))
        assert "only in the namespaces of migrations.namespaces" in said

        others = job(_BARE, "backup")
        del others["metadata"]["ownerReferences"]
        admin.create(path, others)
        said = refusal(lambda: operator.delete(f"{path}/backup"))
        assert "only Jobs of its own Rollbacks" in said

    def test_makes_no_request_and_approves_nothing(self, operator: Api) -> None:
        asked = manifests.by_hand("asked")
        said = refusal(lambda: operator.create(rollbacks(NAMESPACE), asked))
        assert "carry their plan" in said

    def test_creates_only_known_good_contents(self, admin: Api, operator: Api) -> None:
        uid = admin.get(POLICY)["metadata"]["uid"]
        owner = {"apiVersion": f"{GROUP}/v1alpha1", "kind": "RollbackPolicy", "name": "shop"}
        owners = {"ownerReferences": [{**owner, "uid": uid}]}
        for name in ("config", "flags.known-good", "x.config.known-good"):
            other = {"metadata": {"name": name, **owners}}
            assert "creates only NAME.known-good" in refusal(
                lambda other=other: operator.create(CONFIG_MAPS, other)
            ), name
        generated = {"metadata": {"generateName": "config.known-good", **owners}}
        assert "creates only NAME.known-good" in refusal(
            lambda: operator.create(CONFIG_MAPS, generated)
        )
        free = {"metadata": {"name": "config.known-good"}}
        assert "a RollbackPolicy owns" in refusal(lambda: operator.create(CONFIG_MAPS, free))
        operator.create(CONFIG_MAPS, {"metadata": {"name": "config.known-good", **owners}})
        path = f"{CONFIG_MAPS}/config.known-good"
        operator.patch(path, put("/data", {"a" * 64: "{}"}))
        assert "deletes none" in refusal(lambda: operator.delete(path))

    def test_deletes_no_rollback_that_goes_on(self, admin: Api, operator: Api) -> None:
        operator.create(rollbacks(NAMESPACE), named("going-on", manifests.rollback()))
        path = f"{rollbacks(NAMESPACE)}/going-on"
        assert "has not ended" in refusal(lambda: operator.delete(path))
        operator.patch(f"{path}/status", put("/status", {"outcome": "Verified"}))
        operator.delete(path)

    def test_posts_events_in_its_own_name(self, operator: Api) -> None:
        event = {
            "metadata": {"generateName": "a."},
            "involvedObject": {
                "apiVersion": "v1",
                "kind": "Pod",
                "name": "a",
                "namespace": NAMESPACE,
            },
            "reason": "x",
            "message": "x",
            "source": {"component": "kubelet"},
        }
        path = f"/api/v1/namespaces/{NAMESPACE}/events"
        assert "in its own name" in refusal(lambda: operator.create(path, event))
        kind = {"apiVersion": f"{GROUP}/v1alpha1", "kind": "RollbackPolicy", "name": "shop"}
        ours = {
            **event,
            "involvedObject": {**kind, "namespace": NAMESPACE},
            "source": {"component": "rollback-operator"},
        }
        operator.create(path, ours)
        deployment = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop"}
        on_it = {**ours, "involvedObject": {**deployment, "namespace": NAMESPACE}}
        operator.create(path, on_it)
        in_anothers_name = {**on_it, "source": {"component": "deployment-controller"}}
        assert "in its own name" in refusal(lambda: operator.create(path, in_anothers_name))
        of_a_set = {**deployment, "kind": "ReplicaSet", "namespace": NAMESPACE}
        other = {**ours, "involvedObject": of_a_set}
        assert "in its own name" in refusal(lambda: operator.create(path, other))


class TestTenant:
    @pytest.mark.parametrize("path", [f"{POLICY}/status", f"{STORED}/status"])
    def test_writes_no_status(self, tenant: Api, path: str) -> None:
        said = refusal(lambda: tenant.merge(path, {"status": STATUS}))
        assert "only the operator writes it" in said

    def test_a_status_is_repaired_by_who_administrates_the_cluster(
        self, admin: Api, operator: Api
    ) -> None:
        admin.merge(f"{POLICY}/status", {"status": {"observedGeneration": 2}})

    @pytest.mark.parametrize("path", [POLICY, STORED])
    def test_sets_and_removes_no_finalizer_of_ours(
        self, admin: Api, tenant: Api, path: str
    ) -> None:
        ours = [f"{GROUP}/raised-bounds"]
        said = refusal(lambda: tenant.merge(path, {"metadata": {"finalizers": ours}}))
        assert "metadata.finalizers: only the operator" in said
        admin.merge(path, {"metadata": {"finalizers": ours}})
        said = refusal(lambda: tenant.merge(path, {"metadata": {"finalizers": None}}))
        assert "metadata.finalizers: only the operator" in said
        tenant.merge(path, {"metadata": {"finalizers": [*ours, "team.example/own"]}})
        admin.merge(path, {"metadata": {"finalizers": None}})

    def test_brings_no_finalizer_of_ours_along(self, tenant: Api) -> None:
        made = named("brought", manifests.policy(targetRef={"name": "shop"}))
        made["metadata"]["finalizers"] = [f"{GROUP}/held-rollout"]
        said = refusal(lambda: tenant.create(policies(NAMESPACE), made))
        assert "metadata.finalizers: only the operator" in said

    def test_gives_no_rollback_to_another_policy(self, tenant: Api) -> None:
        labels = {f"{GROUP}/policy": "other"}
        said = refusal(lambda: tenant.merge(STORED, {"metadata": {"labels": labels}}))
        assert "metadata.labels: only the operator" in said

    def test_gives_no_rollback_an_owner(self, admin: Api, tenant: Api) -> None:
        """The garbage collector deletes what an object owns that does not exist."""
        gone = {"apiVersion": "v1", "kind": "ConfigMap", "name": "gone", "uid": "gone"}
        owned = {"metadata": {"ownerReferences": [gone]}}
        assert "metadata.ownerReferences: only" in refusal(lambda: tenant.merge(STORED, owned))
        tenant.merge(STORED, {"metadata": {"annotations": {"team.example/seen": "yes"}}})

    async def test_has_no_job_taken_for_the_operators(
        self, cluster: ControlPlane, admin: Api, tenant: Api
    ) -> None:
        """Everybody can compute the name of the next Job of a Rollback."""
        labels = {"app": "planned"}
        template = {"metadata": {"labels": labels}, "spec": _BARE}
        sets = f"/apis/apps/v1/namespaces/{NAMESPACE}/replicasets"
        spec = {"replicas": 0, "selector": {"matchLabels": labels}, "template": template}
        source = admin.create(sets, {"metadata": {"name": "planned"}, "spec": spec})
        # The garbage collector deletes the Job of a Rollback that does not exist.
        owner = JobOwner("Rollback", "stored", admin.get(STORED)["metadata"]["uid"])
        digest, name = template_of(source["spec"]["template"]).digest, "rollback-planned"
        order = JobOrder(NAMESPACE, name, owner, "planned", digest, None, None, ("a",), {}, 60)
        forged = job_of(order, source["spec"]["template"]["spec"])
        assert isinstance(forged, dict)
        forged["spec"]["template"]["spec"]["containers"][0]["command"] = ["true"]
        tenant.create(JOBS.format(NAMESPACE), forged)
        server = await ApiServer.connect(str(cluster.kubeconfig), lambda verb, result: None)
        try:
            found = await ApiJobs(server).adopt(order)
            assert isinstance(found, Failure)
            assert "is not as planned" in found.message
            tenant.delete(f"{JOBS.format(NAMESPACE)}/{name}?propagationPolicy=Background")
            made = await ApiJobs(server).create(order)
            assert isinstance(made, JobState)
            assert made.uid
            assert await ApiJobs(server).adopt(order) == made
        finally:
            await server.close()
            admin.delete(f"{sets}/planned")

    def test_writes_no_plan(self, tenant: Api) -> None:
        made = named("by-tenant", manifests.rollback())
        assert "only the operator creates Rollbacks with a plan" in refusal(
            lambda: tenant.create(rollbacks(NAMESPACE), made)
        )
