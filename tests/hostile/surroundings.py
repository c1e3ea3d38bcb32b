"""What there is around a policy in a drawn cluster: objects as the API server takes them.

Names and references hold to their forms, as the API server has it; everything else is as odd as
it may be: annotations with anything in them, 40 containers, images of 1,500 characters, quantities
with exponents, statuses with fields missing, times in the future.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from bench.simulation.server import Server

Raw = dict[str, Any]
REVISION, HASH = "deployment.kubernetes.io/revision", "pod-template-hash"
PERSON = "people"
_ODD_TEXTS = (
    "",
    "0",
    "-1",
    "abc",
    "99999999999999999999",
    "NaN",
    "1e999",
    "../../victim/x",
    "a/b/c/d:e",
    "\u202e\u0000",
    "x" * 5000,
    "{}",
    "[",
    "null",
    "true",
    "%s%n",
    "٣",
    "²",
    "0x10",
    "1_000",
)
_ODD_ANNOTATIONS = (
    REVISION,
    "prometheus.io/port",
    "prometheus.io/path",
    "prometheus.io/scheme",
    "prometheus.io/scrape",
    "argocd.argoproj.io/tracking-id",
    "argocd.argoproj.io/installation-id",
    "meta.helm.sh/release-name",
    "meta.helm.sh/release-namespace",
    "kubectl.kubernetes.io/restartedAt",
    "keel.sh/policy",
    "rollback.tickettoken.io/restore-bounds",
    "org.opencontainers.image.revision",
    "flagger.app/x",
)
_ODD_LABELS = (
    "app.kubernetes.io/instance",
    "kustomize.toolkit.fluxcd.io/name",
    "kustomize.toolkit.fluxcd.io/namespace",
    "helm.toolkit.fluxcd.io/name",
    "helm.toolkit.fluxcd.io/namespace",
    "app.kubernetes.io/managed-by",
)
_LABEL_VALUES = ("shop", "Helm", "victim", "a.b_c-d", "", "x" * 63)
_QUANTITIES = ("100m", "1", "1e3", "1E3", "64Mi", "9e18", "0", "1n", "5Ei", "0.1", 2)
_WAITING = (
    "CrashLoopBackOff",
    "ImagePullBackOff",
    "ErrImagePull",
    "ContainerCreating",
    "CreateContainerConfigError",
    "PodInitializing",
    "",
    "RunContainerError",
)


class Surroundings:
    """Draws the objects around one target, and what becomes of them."""

    def __init__(self, server: Server, dice: random.Random, namespace: str, name: str) -> None:
        self.server, self.dice = server, dice
        self.namespace, self.name = namespace, name
        self.versions = 0
        self._pods = 0

    # -- time --------------------------------------------------------------------------------------

    def time(self, seconds: float) -> str:
        """Give the time so many seconds from now, as the API server writes it."""
        now = datetime.fromisoformat(self.server.now())
        at = min(now + timedelta(seconds=seconds), datetime(9999, 12, 31, tzinfo=UTC))
        return at.strftime("%Y-%m-%dT%H:%M:%SZ")

    def _some_time(self) -> str:
        return self.time(self.dice.choice((0, -1, -5, -60, -3600, -864000, 3600, -1e8)))

    # -- at the beginning --------------------------------------------------------------------------

    def fill(self) -> None:
        """Put up the Deployment, what belongs to it and what is named by it."""
        if self.dice.random() < 0.95:
            self.server.make(PERSON, "deployments", self._deployment())
            for _ in range(self.dice.randint(0, 3)):
                self._replica_set(self._template(), self.dice.choice((0, 0, 2)))
            self._replica_set(self.deployment()["spec"]["template"], 2)
            self._populate()
        for plural, raw in self._others():
            raw["metadata"] = {"namespace": self.namespace, **raw["metadata"]}
            self.server.make(PERSON, plural, raw)

    def deployment(self) -> Raw:
        """Read the Deployment; there must be one."""
        found = self.server.read(("deployments", self.namespace, self.name))
        assert found is not None
        return found

    @property
    def is_there(self) -> bool:
        """Tell whether there is a Deployment."""
        return ("deployments", self.namespace, self.name) in self.server.texts

    def pods(self) -> list[str]:
        """Give the names of the pods that there are."""
        return [id_[2] for id_ in self.server.texts if id_[0] == "pods"]

    # -- later -------------------------------------------------------------------------------------

    def happen(self) -> None:
        """Let something happen that a team, a controller or a kubelet does."""
        if not self.is_there:
            if self.dice.random() < 0.3:
                self.server.make(PERSON, "deployments", self._deployment())
            return
        self.dice.choice(
            (
                self._release,
                self._release,
                self._kubelet,
                self._kubelet,
                self._status,
                self._scale,
                self._pause,
                self._delete,
                self._restart,
                self._lose_sets,
            )
        )()

    def _write(self, raw: Raw) -> None:
        self.server.write(PERSON, ("deployments", self.namespace, self.name), raw)

    def _release(self) -> None:
        raw = self.deployment()
        raw["spec"]["template"] = self._template()
        self._write(raw)
        self._replica_set(raw["spec"]["template"], self.dice.randint(0, 3))
        self._populate()
        self._status()

    def _restart(self) -> None:
        raw = self.deployment()
        metadata = raw["spec"]["template"].setdefault("metadata", {})
        annotations = metadata.setdefault("annotations", {})
        annotations["kubectl.kubernetes.io/restartedAt"] = self._some_time()
        self._write(raw)

    def _kubelet(self) -> None:
        for name in self.pods():
            raw = self.server.read(("pods", self.namespace, name))
            if raw is not None and self.dice.random() < 0.5:
                raw["status"] = self._pod_status(raw["spec"])
                self.server.write("kubelet", ("pods", self.namespace, name), raw)

    def _status(self) -> None:
        raw = self.deployment()
        raw["status"] = self._deployment_status(raw)
        self._write(raw)

    def _scale(self) -> None:
        raw = self.deployment()
        raw["spec"]["replicas"] = self.dice.choice((0, 1, 3, 200, 2**31 - 1))
        self._write(raw)

    def _pause(self) -> None:
        raw = self.deployment()
        raw["spec"]["paused"] = not raw["spec"].get("paused")
        self._write(raw)

    def _delete(self) -> None:
        if self.dice.random() < 0.2:
            self.server.delete(PERSON, ("deployments", self.namespace, self.name))

    def _lose_sets(self) -> None:
        for id_ in [one for one in self.server.texts if one[0] == "replicasets"]:
            if self.dice.random() < 0.3:
                self.server.delete(PERSON, id_)

    # -- what it is made of ------------------------------------------------------------------------

    def _deployment(self) -> Raw:
        template = self._template()
        spec: Raw = {
            "replicas": self.dice.choice((0, 1, 2, 4)),
            "selector": {"matchLabels": {"app": self.name[:63]}},
            "template": template,
            "strategy": self.dice.choice(
                (
                    {"type": "Recreate"},
                    {
                        "type": "RollingUpdate",
                        "rollingUpdate": {"maxSurge": 1, "maxUnavailable": "0%"},
                    },
                    {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "1000%"}},
                    {"type": "RollingUpdate"},
                )
            ),
        }
        for key, values in (
            ("paused", (True, False)),
            ("minReadySeconds", (0, 30, 2**31 - 2)),
            ("progressDeadlineSeconds", (1, 600, 2**31 - 1)),
            ("revisionHistoryLimit", (0, 10, 2**31 - 1)),
        ):
            if self.dice.random() < 0.3:
                spec[key] = self.dice.choice(values)
        raw: Raw = {
            "metadata": {
                "name": self.name,
                "namespace": self.namespace,
                "labels": self._labels(),
                "annotations": {REVISION: "1", **self._annotations()},
                "creationTimestamp": self.time(-86400),
                "managedFields": self._managed(),
            },
            "spec": spec,
        }
        raw["status"] = self._deployment_status(raw)
        return raw

    def _deployment_status(self, raw: Raw) -> Raw:
        count = raw["spec"].get("replicas", 1)
        status: Raw = {"observedGeneration": raw["metadata"].get("generation", 1)}
        for key in ("replicas", "updatedReplicas", "availableReplicas"):
            if self.dice.random() < 0.8:
                status[key] = self.dice.choice((count, count, 0, 1))
        if self.dice.random() < 0.7:
            status["conditions"] = [
                {
                    "type": kind,
                    "status": self.dice.choice(("True", "False", "Unknown")),
                    "reason": self.dice.choice(
                        ("NewReplicaSetAvailable", "ReplicaSetUpdated", "ProgressDeadlineExceeded")
                    ),
                    "message": self.dice.choice(_ODD_TEXTS),
                    "lastUpdateTime": self._some_time(),
                    "lastTransitionTime": self._some_time(),
                }
                for kind in ("Progressing", "Available", "ReplicaFailure")
                if self.dice.random() < 0.7
            ]
        return status

    def _template(self) -> Raw:
        self.versions += 1
        count = self.dice.choice((1, 1, 1, 2, 40))
        spec: Raw = {"containers": [self._container(one) for one in range(count)]}
        if self.dice.random() < 0.3:
            count = self.dice.choice((1, 35))
            spec["initContainers"] = [self._container(100 + one) for one in range(count)]
        if self.dice.random() < 0.3:
            spec["volumes"] = [
                {"name": "a", "configMap": {"name": "flags", "optional": True}},
                {"name": "b", "secret": {"secretName": "own"}},
                {"name": "c", "persistentVolumeClaim": {"claimName": "data"}},
                {"name": "d", "projected": {"sources": [{"configMap": {"name": "flags"}}, {}]}},
                {"name": "e"},
            ]
        for key, value in (
            ("serviceAccountName", "shop"),
            ("hostNetwork", True),
            ("imagePullSecrets", [{"name": "own"}, {}]),
            ("overhead", {"cpu": "1", "memory": "1Mi"}),
            ("topologySpreadConstraints", []),
        ):
            if self.dice.random() < 0.2:
                spec[key] = value
        labels = {"app": self.name[:63], **self._labels()}
        metadata: Raw = {"labels": labels}
        if self.dice.random() < 0.6:
            metadata["annotations"] = self._annotations()
        return {"metadata": metadata, "spec": spec}

    def _container(self, number: int) -> Raw:
        image = f"registry.example/shop:v{self.versions}"
        made: Raw = {
            "name": "shop" if number == 0 else f"c{number}",
            "image": self.dice.choice((image, image, "i" * 1500, "shop@sha256:" + "a" * 64, "")),
        }
        if self.dice.random() < 0.4:
            made["ports"] = [
                {"containerPort": self.dice.choice((1, 8080, 65535)), "name": "metrics"},
                {"containerPort": 8081},
            ]
        if self.dice.random() < 0.4:
            made["resources"] = {
                kind: {one: self.dice.choice(_QUANTITIES) for one in ("cpu", "memory")}
                for kind in ("limits", "requests")
            }
        if self.dice.random() < 0.4:
            made["env"] = [
                {"name": "A", "value": self.dice.choice(_ODD_TEXTS)},
                {
                    "name": "B",
                    "valueFrom": {"configMapKeyRef": {"name": "flags", "key": "FEATURE"}},
                },
                {"name": "C", "valueFrom": {"secretKeyRef": {"name": "own", "key": "token"}}},
                {"name": "D", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                {"name": "E"},
            ]
            made["envFrom"] = [{"configMapRef": {"name": "flags"}}, {"prefix": "X_"}]
        if self.dice.random() < 0.4:
            http = {
                "path": self.dice.choice(
                    ("/health", "", "//evil.example/x", "/?a=b#c", "x" * 2000)
                ),
                "port": self.dice.choice((8080, "metrics", "none", 65535)),
            }
            made["readinessProbe"] = {
                "httpGet": http,
                "periodSeconds": self.dice.choice((1, 2**31 - 1)),
            }
            made["livenessProbe"] = self.dice.choice(
                ({"exec": {"command": ["x"]}}, {"tcpSocket": {"port": 1}})
            )
        return made

    def _annotations(self) -> Raw:
        count = self.dice.randint(0, 3)
        chosen = self.dice.sample(_ODD_ANNOTATIONS, count)
        return {one: self.dice.choice(_ODD_TEXTS) for one in chosen}

    def _labels(self) -> Raw:
        chosen = self.dice.sample(_ODD_LABELS, self.dice.choice((0, 0, 1, 2)))
        return {one: self.dice.choice(_LABEL_VALUES) for one in chosen}

    def _managed(self) -> list[Raw]:
        managers = ("rollback-operator", "kubectl", "argocd-controller", "x" * 128, "")
        fields: tuple[Raw, ...] = (
            {"f:spec": {"f:paused": {}}},
            {"f:spec": {"f:template": {}}},
            {"f:metadata": {"f:annotations": {}}},
            {},
        )
        return [
            {
                "manager": self.dice.choice(managers),
                "operation": self.dice.choice(("Update", "Apply")),
                "time": self._some_time(),
                "fieldsV1": self.dice.choice(fields),
            }
            for _ in range(self.dice.randint(0, 3))
        ]

    def _replica_set(self, template: Mapping[str, Any], replicas: int) -> None:
        self._pods += 1
        hash_ = f"h{self._pods}"
        copied = json.loads(json.dumps(template))
        copied.setdefault("metadata", {}).setdefault("labels", {})[HASH] = hash_
        metadata = self.deployment()["metadata"]
        owner = {
            "kind": "Deployment",
            "name": self.name,
            "uid": metadata["uid"],
            "controller": True,
        }
        number = self.dice.choice((str(self._pods), str(self._pods), *_ODD_TEXTS))
        raw: Raw = {
            "metadata": {
                "name": f"{self.name[:200].rstrip('.-')}-{hash_}",
                "namespace": self.namespace,
                "labels": {"app": self.name[:63], HASH: hash_},
                "annotations": {REVISION: number},
                "ownerReferences": [owner],
                "creationTimestamp": self._some_time(),
            },
            "spec": {"replicas": replicas, "template": copied},
        }
        if self.dice.random() < 0.7:
            raw["status"] = {"replicas": replicas, "readyReplicas": self.dice.randint(0, replicas)}
        self.server.make("controller", "replicasets", raw)

    def _populate(self) -> None:
        for id_ in [one for one in self.server.texts if one[0] == "replicasets"]:
            raw = self.server.read(id_)
            if raw is None or self.dice.random() < 0.2:
                continue
            for _ in range(min(3, raw["spec"]["replicas"])):
                self.server.make("controller", "pods", self._pod(raw))

    def _pod(self, replica_set: Raw) -> Raw:
        self._pods += 1
        template, metadata = replica_set["spec"]["template"], replica_set["metadata"]
        spec = {**template["spec"], "nodeName": self.dice.choice(("node-1", ""))}
        owner = {"kind": "ReplicaSet", "name": metadata["name"], "uid": metadata["uid"]}
        raw: Raw = {
            "metadata": {
                "name": f"{metadata['name'][:230].rstrip('.-')}-p{self._pods}",
                "namespace": self.namespace,
                "labels": template["metadata"]["labels"],
                "annotations": template["metadata"].get("annotations") or {},
                "creationTimestamp": self._some_time(),
                "ownerReferences": [{**owner, "controller": True}],
            },
            "spec": spec,
            "status": self._pod_status(spec),
        }
        if self.dice.random() < 0.1:
            raw["metadata"]["deletionTimestamp"] = self._some_time()
        return raw

    def _pod_status(self, spec: Raw) -> Raw:
        if self.dice.random() < 0.1:
            return {}
        status: Raw = {
            "phase": self.dice.choice(("Running", "Running", "Pending", "Failed", "Succeeded")),
            "podIP": self.dice.choice(("10.1.0.1", "fd00::1", "169.254.169.254", "127.0.0.1", "")),
            "conditions": [
                {
                    "type": kind,
                    "status": self.dice.choice(("True", "True", "False")),
                    "message": self.dice.choice(_ODD_TEXTS),
                    "lastTransitionTime": self._some_time(),
                }
                for kind in ("PodScheduled", "Ready", "Initialized")
                if self.dice.random() < 0.8
            ],
        }
        names = [one["name"] for one in spec["containers"]]
        status["containerStatuses"] = [self._container_status(one) for one in names]
        return status

    def _container_status(self, name: str) -> Raw:
        ended = {
            "exitCode": self.dice.choice((0, 1, 137, 2**31 - 1)),
            "reason": self.dice.choice(("OOMKilled", "Error", "Completed")),
            "finishedAt": self._some_time(),
            "startedAt": self._some_time(),
        }
        waiting = {
            "reason": self.dice.choice(_WAITING),
            "message": self.dice.choice(_ODD_TEXTS),
        }
        states: tuple[Raw, ...] = (
            {"running": {"startedAt": self._some_time()}},
            {"running": {"startedAt": self._some_time()}},
            {"waiting": waiting},
            {"terminated": ended},
            {},
        )
        made: Raw = {
            "name": name,
            "ready": self.dice.random() < 0.7,
            "restartCount": self.dice.choice((0, 0, 1, 5, 2**31 - 1)),
            "state": self.dice.choice(states),
            "imageID": self.dice.choice(("x@sha256:" + "c" * 64, "", "docker://" + "x" * 3000)),
        }
        if self.dice.random() < 0.3:
            made["lastState"] = {"terminated": ended}
        return made

    def _others(self) -> Iterator[tuple[str, Raw]]:
        target = {"kind": "Deployment", "name": self.name, "apiVersion": "apps/v1"}
        values = {"FEATURE": self.dice.choice(_ODD_TEXTS), "x": "y" * 2000}
        if self.dice.random() < 0.8:
            yield (
                "configmaps",
                {
                    "metadata": {"name": "flags", "managedFields": self._managed()},
                    "data": values,
                    "binaryData": {"z": "AAAA"},
                    "immutable": self.dice.random() < 0.2,
                },
            )
        if self.dice.random() < 0.8:
            yield "secrets", {"metadata": {"name": "own"}, "data": {"token": "eA=="}}
        if self.dice.random() < 0.4:
            bounds = self.dice.choice(((1, 3), (2, 2), (1, 2**31 - 1), (0, 1)))
            yield (
                "horizontalpodautoscalers",
                {
                    "metadata": {
                        "name": "hpa",
                        "managedFields": self._managed(),
                        "annotations": self._annotations(),
                        "ownerReferences": self.dice.choice(
                            (
                                [],
                                [
                                    {
                                        "kind": "ScaledObject",
                                        "name": "x",
                                        "uid": "u",
                                        "controller": True,
                                    }
                                ],
                            )
                        ),
                    },
                    "spec": {
                        "scaleTargetRef": target,
                        "minReplicas": bounds[0],
                        "maxReplicas": bounds[1],
                    },
                    "status": {"currentReplicas": 2, "desiredReplicas": 2, "conditions": []},
                },
            )
        if self.dice.random() < 0.3:
            amounts = {
                one: self.dice.choice(_QUANTITIES)
                for one in ("pods", "requests.cpu", "limits.memory", "count/pods", "x.example/gpu")
            }
            yield (
                "resourcequotas",
                {
                    "metadata": {"name": "quota"},
                    "spec": {"hard": amounts, "scopes": self.dice.choice(([], ["BestEffort"]))},
                    "status": {"hard": amounts, "used": dict.fromkeys(amounts, "1")},
                },
            )
        yield (
            "services",
            {
                "metadata": {"name": "shop"},
                "spec": self.dice.choice(
                    (
                        {
                            "selector": {"app": self.name[:63]},
                            "ports": [{"port": 80, "targetPort": "metrics"}],
                        },
                        {"type": "ExternalName", "externalName": "evil.example"},
                        {"selector": None},
                        {"selector": {"app": self.name[:63]}},
                    )
                ),
            },
        )
        yield (
            "endpointslices",
            {
                "metadata": {"name": "shop-x", "labels": {"kubernetes.io/service-name": "shop"}},
                "addressType": "IPv4",
                "endpoints": self.dice.choice(
                    (
                        None,
                        [],
                        [{"addresses": ["169.254.169.254"], "conditions": {}}],
                        [{"addresses": ["10.1.0.1"], "conditions": {"ready": True}}],
                    )
                ),
                "ports": [{"port": 80}],
            },
        )
        yield (
            "nodes",
            {
                "metadata": {"name": "node-1", "namespace": ""},
                "spec": {"unschedulable": self.dice.random() < 0.2, "taints": None},
                "status": {
                    "allocatable": {
                        "cpu": self.dice.choice(_QUANTITIES),
                        "memory": "1Gi",
                        "pods": "110",
                    },
                    "images": [
                        {"names": ["registry.example/shop:v1", None]},
                        {"sizeBytes": 1},
                        {"names": None},
                    ],
                    "conditions": [{"type": "Ready", "status": "True"}],
                },
            },
        )
