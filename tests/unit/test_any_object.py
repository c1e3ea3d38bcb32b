"""No object that the API server admits makes a look raise: a value or a failure, always.

Objects are drawn from whole ones: each field is left out, emptied, repeated or set to anything of
its type, but for what the API server sets or checks itself (names, uids, times).
"""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from rollback_operator.adapters.kube.apiserver import ApiServer, Listing
from rollback_operator.adapters.kube.projections.autoscalers import autoscaler_of
from rollback_operator.adapters.kube.projections.config_maps import flag_of
from rollback_operator.adapters.kube.target.owners import ApiOwners
from rollback_operator.adapters.kube.target.services import ApiServices
from rollback_operator.adapters.kube.target.surroundings import ApiSurroundings
from rollback_operator.adapters.kube.target.tools import ApiTools
from rollback_operator.adapters.kube.target.workloads import ApiWorkloads
from rollback_operator.api.reasons import Reason
from rollback_operator.api.remedy import OwnerKind
from rollback_operator.api.shape import LABEL_VALUE_FORM
from rollback_operator.api.v1alpha1 import (
    Mode,
    Remedy,
    RemedyType,
    RollbackPolicyStatus,
    RollbackSpec,
    UndoTo,
)
from rollback_operator.decide.plan import Order, plan_remedy
from rollback_operator.model.controllers import Claims, OwnedDeployment, OwnerObject
from rollback_operator.model.surroundings import ClusterCapacity
from rollback_operator.model.workload import Workload
from rollback_operator.ports.failure import Failure, FailureKind
from rollback_operator.releases import ledger
from rollback_operator.report.status import StatusInputs, next_status, ready
from tests.builders import at, make_case, make_policy, make_rollback, make_trigger_record
from tests.sizes import examples, is_extended

pytestmark = pytest.mark.filterwarnings("ignore:Generating overly large repr")
Raw = dict[str, Any]
NOW = "2030-01-01T00:00:00Z"
LONG = "x" * 3000
TEXTS = st.one_of(
    st.text(max_size=8),
    st.sampled_from(
        ["", "0", "-1", "1e999", "9" * 5000, "²", "%", "٣", "{", "[]", "a/b", "../..", LONG, "100%"]
    ),
)
NUMBERS = st.sampled_from([0, 1, -1, 7, 65535, 2**31 - 1, -(2**31), 2**63 - 1])
LABELS = st.from_regex(LABEL_VALUE_FORM.replace("*", "{0,20}"), fullmatch=True)
"""What the API server takes for the value of a label."""
FIXED = frozenset(
    {
        *("uid", "name", "namespace", "resourceVersion", "controller", "apiVersion", "kind", "key"),
        *("creationTimestamp", "deletionTimestamp", "lastTransitionTime", "lastUpdateTime", "time"),
        *("startedAt", "finishedAt", "matchLabels", "operator", "scaleTargetRef", "maxReplicas"),
        *("pod-template-hash", "f:spec"),
    }
)
"""What the API server sets, or takes in one form only."""
KEPT = frozenset(["metadata", "spec", "template", "containers", "selector"])
"""What each object has."""


def image(text: str) -> Raw:
    return {
        "name": "shop",
        "image": text,
        "env": [
            {"name": "A", "value": "b"},
            {"name": "B", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "d"}}},
        ],
        "envFrom": [{"prefix": "P_", "configMapRef": {"name": "c"}}, {"secretRef": {"name": "s"}}],
        "ports": [{"name": "http", "containerPort": 8080}],
        "resources": {"limits": {"memory": "64Mi", "cpu": "1"}, "requests": {"cpu": "100m"}},
        "readinessProbe": {
            "periodSeconds": 5,
            "httpGet": {
                "path": "/healthz",
                "port": "http",
                "scheme": "HTTP",
                "httpHeaders": [{"name": "a", "value": "b"}],
            },
        },
        "volumeMounts": [{"name": "v", "mountPath": "/v", "subPath": "a"}],
    }


TEMPLATE: Raw = {
    "metadata": {
        "labels": {"app": "shop"},
        "annotations": {"prometheus.io/port": "9090", "prometheus.io/path": "/metrics"},
    },
    "spec": {
        "initContainers": [{**image("init:v1"), "name": "init", "restartPolicy": "Always"}],
        "containers": [image("shop:v1")],
        "serviceAccountName": "shop",
        "imagePullSecrets": [{"name": "pull"}],
        "overhead": {"cpu": "1m"},
        "volumes": [
            {"name": "v", "configMap": {"name": "c", "items": [{"key": "a", "path": "b"}]}},
            {"name": "w", "projected": {"sources": [{"secret": {"name": "s"}}]}},
            {"name": "p", "persistentVolumeClaim": {"claimName": "d"}},
            {"name": "q", "csi": {"nodePublishSecretRef": {"name": "e"}}},
        ],
    },
}
MANAGED = [
    {
        "manager": "argocd-controller",
        "operation": "Apply",
        "time": NOW,
        "fieldsV1": {"f:spec": {"f:template": {}, "f:replicas": {}, "f:paused": {}}},
    }
]


def metadata(name: str, **more: Any) -> Raw:
    return {
        "name": name,
        "namespace": "production",
        "uid": f"uid-{name}",
        "resourceVersion": "1",
        "generation": 2,
        "creationTimestamp": NOW,
        "managedFields": MANAGED,
        **more,
    }


DEPLOYMENT: Raw = {
    "metadata": metadata(
        "shop",
        labels={"argocd.argoproj.io/instance": "shop", "keel.sh/policy": "all"},
        annotations={
            "deployment.kubernetes.io/revision": "2",
            "argocd.argoproj.io/tracking-id": "shop:apps/Deployment:production/shop",
            "image.openshift.io/triggers": '[{"from": {"name": "shop:v1"}, "paused": "false"}]',
            "meta.helm.sh/release-name": "shop",
        },
    ),
    "spec": {
        "replicas": 3,
        "paused": True,
        "minReadySeconds": 5,
        "progressDeadlineSeconds": 60,
        "revisionHistoryLimit": 5,
        "selector": {
            "matchLabels": {"app": "shop"},
            "matchExpressions": [{"key": "app", "operator": "In", "values": ["shop"]}],
        },
        "strategy": {
            "type": "RollingUpdate",
            "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 1},
        },
        "template": TEMPLATE,
    },
    "status": {
        "observedGeneration": 2,
        "replicas": 3,
        "updatedReplicas": 3,
        "availableReplicas": 3,
        "conditions": [
            {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable",
             "lastUpdateTime": NOW, "lastTransitionTime": NOW, "message": "done"},
            {"type": "ReplicaFailure", "status": "True", "message": "quota"},
            {"type": "Available", "status": "False", "lastTransitionTime": NOW},
        ],
    },
}  # fmt: skip


def replica_set(number: int, images: list[Raw] | None = None) -> Raw:
    owner = {"kind": "Deployment", "name": "shop", "uid": "uid-shop", "controller": True}
    template = copy.deepcopy(TEMPLATE)
    template["spec"]["containers"] = images or [image(f"shop:v{number}")]
    template["metadata"]["labels"]["pod-template-hash"] = f"hash{number}"
    return {
        "metadata": metadata(
            f"shop-hash{number}",
            labels={"app": "shop", "pod-template-hash": f"hash{number}"},
            annotations={"deployment.kubernetes.io/revision": str(number)},
            ownerReferences=[owner],
        ),
        "spec": {"replicas": 3, "template": template},
        "status": {"readyReplicas": 3},
    }


POD: Raw = {
    "metadata": metadata(
        "shop-hash2-a",
        labels={"app": "shop", "pod-template-hash": "hash2"},
        annotations={"prometheus.io/port": "9090", "prometheus.io/scheme": "https"},
    ),
    "spec": {**TEMPLATE["spec"], "nodeName": "node", "hostNetwork": False},
    "status": {
        "phase": "Running",
        "reason": "NodeLost",
        "podIP": "10.0.0.1",
        "conditions": [
            {"type": "Ready", "status": "False", "lastTransitionTime": NOW},
            {"type": "PodScheduled", "status": "False", "message": "no room"},
        ],
        "initContainerStatuses": [{"name": "init", "restartCount": 1, "state": {}}],
        "containerStatuses": [
            {
                "name": "shop",
                "ready": False,
                "restartCount": 3,
                "imageID": "shop@sha256:" + "a" * 64,
                "state": {
                    "waiting": {"reason": "ErrImagePull", "message": "not found"},
                    "running": {"startedAt": NOW},
                    "terminated": {"reason": "Error", "exitCode": 1},
                },
                "lastState": {"terminated": {"reason": "OOMKilled", "finishedAt": NOW}},
            }
        ],
    },
}
AUTOSCALER: Raw = {
    "metadata": metadata("shop", ownerReferences=[{"apiVersion": "keda.sh/v1", "kind": "A"}]),
    "spec": {
        "minReplicas": 1,
        "maxReplicas": 3,
        "scaleTargetRef": {"kind": "Deployment", "name": "shop"},
    },
}
SERVICE: Raw = {
    "metadata": metadata("shop"),
    "spec": {"selector": {"app": "shop"}, "ports": [{"port": 80, "targetPort": "http"}]},
}
SLICE: Raw = {
    "metadata": metadata("shop-a", labels={"kubernetes.io/service-name": "shop"}),
    "ports": [{"port": 80}],
    "endpoints": [{"conditions": {"ready": True}}],
}
NODE: Raw = {
    "metadata": metadata("node"),
    "spec": {"unschedulable": False},
    "status": {
        "allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110"},
        "conditions": [{"type": "Ready", "status": "True"}],
        "images": [{"names": ["shop:v1"]}],
    },
}
QUOTA: Raw = {
    "metadata": metadata("quota"),
    "spec": {"scopes": [], "hard": {"cpu": "4"}},
    "status": {"hard": {"requests.cpu": "4"}, "used": {"requests.cpu": "1"}},
}
CONFIG_MAP: Raw = {"metadata": metadata("config"), "immutable": False, "data": {"FLAG": "on"}}


@st.composite
def like(draw: st.DrawFn, whole: Any, key: str = "") -> Any:
    """Draw an object whose fields have the types that a whole one's have."""
    if key in FIXED:
        return whole
    if isinstance(whole, dict):
        is_map = key in ("labels", "annotations", "data", "hard", "used", "limits", "requests")
        found = {
            name: draw(LABELS if key == "labels" else like(value, "" if is_map else name))
            for name, value in whole.items()
            if name in FIXED | KEPT or draw(st.integers(0, 7))
        }
        if is_map and draw(st.booleans()):
            values = LABELS if key == "labels" else TEXTS
            found |= draw(st.dictionaries(TEXTS.filter(bool), values, max_size=2))
        return found
    if isinstance(whole, list):
        least = 1 if key == "containers" else 0
        times = draw(st.sampled_from([1, 1, 1, least, 3, 40 if key.endswith("ontainers") else 2]))
        made = [draw(like(one, "")) for one in whole]
        return [copy.deepcopy(one) for _ in range(times) for one in made]
    if isinstance(whole, bool):
        return draw(st.booleans())
    if isinstance(whole, int):
        return draw(st.one_of(st.just(whole), NUMBERS))
    return draw(st.one_of(st.just(whole), TEXTS))


@dataclass
class Server:
    """An API server by what its paths end with: lists, or single objects."""

    answers: dict[str, Any]

    async def list_of(self, listing: Listing[Any]) -> list[Any] | Failure:
        found = await self.get(listing.path)
        if isinstance(found, Failure):
            return found
        return [listing.taken(one) for one in found.get("items") or ()]

    async def get(self, path: str, **_: str) -> Raw | Failure:
        for end, found in self.answers.items():
            if path.endswith(end):
                return {"items": found} if isinstance(found, list) else found
        return Failure(FailureKind.GONE, "404")

    get_metadata = get

    async def patch(self, path: str, _: object) -> Raw | Failure:
        return await self.get(path)

    @property
    def api(self) -> ApiServer:
        return cast("ApiServer", self)


def many(**more: int) -> Any:
    return settings(
        max_examples=examples(more.get("examples", 40)),
        phases=(Phase.explicit, Phase.reuse, Phase.generate),  # smaller ones take minutes to find
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


def numbered(sets: list[Raw]) -> list[Raw]:
    """Give containers names of their own, as the API server wants them."""
    for one in sets:
        spec = (one["spec"].get("template") or one)["spec"]
        for kind in ("containers", "initContainers"):
            for number, container in enumerate(spec.get(kind) or []):
                container["name"] = f"{kind[0]}{number}"
    return sets


async def inspected(deployment: Raw, sets: list[Raw], pods: list[Raw], scalers: list[Raw]) -> Any:
    numbered([deployment, *sets])
    server = Server(
        {
            "/deployments/shop": deployment,
            "/replicasets": sets,
            "/pods": pods,
            "/horizontalpodautoscalers": scalers,
        }
    )
    return await ApiWorkloads(server.api).inspect("production", "shop")


def decided(workload: Workload) -> RollbackPolicyStatus:
    """Take it through what a look makes of it: ledger, plan, quarantine, status."""
    policy = make_policy()
    case = make_case(policy, workload)
    known = ledger.entries(policy, workload, [], at(10))
    rollbacks = []
    for remedy in (
        Remedy(type=RemedyType.UNDO, to=UndoTo.PREVIOUS),
        Remedy(type=RemedyType.SCALE, replicas=4),
        Remedy(type=RemedyType.PIN_IMAGE, container="c0", image="shop:v1"),
    ):
        planned = plan_remedy(case, Order(remedy, "P1", Mode.ENFORCE, make_trigger_record()))
        if isinstance(planned, RollbackSpec):
            rollbacks.append(make_rollback(remedy.type.lower(), **dict(planned)))
    seen = StatusInputs(
        ready=ready(Reason.WATCHING_TARGET),
        workload=workload,
        ledger=known,
        rollbacks=rollbacks,
        quarantine_seconds=1000,
    )
    made = next_status(RollbackPolicyStatus(), seen, 1, at(20))
    stored = json.loads(made.model_dump_json(by_alias=True, exclude_none=True))
    assert RollbackPolicyStatus.model_validate(stored) == made
    return made


@many(examples=100 if is_extended() else 32)
@given(
    like(DEPLOYMENT), st.lists(like(replica_set(2)), max_size=2), st.lists(like(POD), max_size=2)
)
async def test_a_target_of_any_form_is_looked_at(
    deployment: Raw, sets: list[Raw], pods: list[Raw]
) -> None:
    found = await inspected(deployment, [*sets, replica_set(1)], pods, [AUTOSCALER])

    if not isinstance(found, Failure):
        decided(found)


@many()
@given(st.lists(like(AUTOSCALER), min_size=1, max_size=2))
async def test_autoscalers_of_any_form_are_read(scalers: list[Raw]) -> None:
    assert isinstance(await inspected(DEPLOYMENT, [replica_set(2)], [POD], scalers), Workload)
    autoscaler_of(scalers[0])


@many()
@given(like(CONFIG_MAP))
def test_a_config_map_of_any_form_is_read(raw: Raw) -> None:
    flag_of(raw, "FLAG")


@many()
@given(st.lists(like(SERVICE), max_size=2), st.lists(like(SLICE), max_size=2))
async def test_services_of_any_form_are_read(services: list[Raw], slices: list[Raw]) -> None:
    server = Server({"/services": services, "/endpointslices": slices})

    assert isinstance(await ApiServices(server.api).list_all("production"), tuple)


@many()
@given(like(NODE), like(POD), like(QUOTA))
async def test_surroundings_of_any_form_are_read(node: Raw, pod: Raw, quota: Raw) -> None:
    server = Server({"/nodes": [node], "/pods": [pod], "/resourcequotas": [quota]})
    surroundings = ApiSurroundings(server.api)

    assert isinstance(await surroundings.cluster(), ClusterCapacity)
    assert isinstance(await surroundings.quotas("production"), tuple)


# -- objects of others: any JSON -------------------------------------------------------------------

FIELDS = (
    *("spec", "status", "metadata", "annotations", "ownerReferences", "syncPolicy", "automated"),
    *("resources", "history", "operationState", "targetRef", "workloadRef", "inventory", "sync"),
    *("entries", "suspend", "name", "kind", "namespace", "destination"),
)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS),
    lambda inner: st.one_of(
        st.lists(inner, max_size=2),
        st.dictionaries(
            st.sampled_from(FIELDS),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=12,
)
OWNED = st.fixed_dictionaries(
    {"metadata": st.just(metadata("shop"))},
    optional={"spec": JSON, "status": JSON, "apiVersion": st.just("argoproj.io/v1alpha1")},
)


@many()
@pytest.mark.parametrize("kind", OwnerKind)
@given(raw=OWNED)
async def test_what_steers_of_any_form_is_a_state_or_a_failure(kind: OwnerKind, raw: Raw) -> None:
    group = {"preferredVersion": {"version": "v1"}}
    groups = ("argoproj.io", "kustomize.toolkit.fluxcd.io", "helm.toolkit.fluxcd.io")
    owners = ApiOwners(Server({"/shop": raw, **dict.fromkeys(groups, group)}).api, "argocd")
    steered = OwnedDeployment(OwnerObject(kind, "production", "shop"), "production", "shop")

    state = await owners.read_owner(steered)
    if not isinstance(state, Failure):
        await owners.suspend(steered, state, "production/a")
        await owners.resume(steered, state, state.automated)


@many()
@given(st.lists(OWNED, max_size=2))
async def test_other_tools_of_any_form_are_claims(listed: list[Raw]) -> None:
    kinds = {
        "flagger.app/v1beta1": ["canaries"],
        "argoproj.io/v1alpha1": ["rollouts", "applications"],
        "image.toolkit.fluxcd.io/v1": ["imagepolicies", "imageupdateautomations"],
        "argocd-image-updater.argoproj.io/v1alpha1": ["imageupdaters"],
    }
    named = [
        {"name": one.partition("/")[0], "preferredVersion": {"groupVersion": one}} for one in kinds
    ]
    answers: dict[str, Any] = {"/apis": {"groups": named}}
    answers |= {f"/{one}": listed for many_ in kinds.values() for one in many_}
    answers |= {f"/{one}": {"resources": [{"name": n} for n in kinds[one]]} for one in kinds}
    found = await inspected(DEPLOYMENT, [replica_set(2)], [POD], [])
    assert isinstance(found, Workload)

    tools = ApiTools(Server(answers).api, "argocd", lambda: 0.0)

    assert isinstance(await tools.read_claims(found.deployment), Claims)
