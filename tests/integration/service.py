"""A service under test: its Deployment, its policy, what became of both. In its own namespace."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from lab.remote_write import write
from rollback_operator.adapters.kube.projections.deployments import REVISION_ANNOTATION
from rollback_operator.adapters.kube.projections.templates import template_of
from rollback_operator.api.v1alpha1 import FINALIZER
from tests.integration.api import Object, deployments, eventually, policies, rollbacks
from tests.integration.manifests import rollback as manifest
from tests.integration.stand import Stand
from tests.integration.traffic import ERRORS, LABEL, REQUESTS, Flow

API_VERSION = "rollback.tickettoken.io/v1alpha1"
REPOSITORY = "registry.example.com/shop"
PAST_SECONDS = 300
PAST_REQUESTS = 120
"""Requests a second on each route in the past: at no time since are there more."""
FLAGS, FLAG = "shop-config", "FEATURE_NEW_CHECKOUT"
SETTINGS = "shop-settings"
SAFETY = {"watchSeconds": 600, "goodAfterSeconds": 600}


@dataclass
class Service:
    """Speaks of one Deployment and of the policy of the same name."""

    stand: Stand
    namespace: str
    name: str = "shop"
    environment: tuple[Object, ...] = ()
    """Variables of its container."""

    # -- the Deployment ----------------------------------------------------------------------------

    @property
    def path(self) -> str:
        return f"{deployments(self.namespace)}/{self.name}"

    def deploy(self, version: str = "v1", replicas: int = 4, **spec: Any) -> None:
        """Make the Deployment and wait for its pods."""
        body = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": self.name, "namespace": self.namespace},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": {"app": self.name}},
                "template": self.template(version),
                **spec,
            },
        }
        self.stand.api.create(deployments(self.namespace), body)
        self.wait_for_rollout()

    def template(self, version: str, **labels: str) -> Object:
        """What its pods are made from, with labels beside those that it needs."""
        return {
            "metadata": {"labels": {"app": self.name, LABEL: self.name, **labels}},
            "spec": {
                "terminationGracePeriodSeconds": 0,
                "containers": [self._container(version)],
            },
        }

    def is_reached_by(self, selector: dict[str, str]) -> None:
        """Make a Service that leads to pods with these labels."""
        body = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "web"},
            "spec": {"selector": selector, "ports": [{"port": 80, "targetPort": 8080}]},
        }
        self.stand.api.create(f"/api/v1/namespaces/{self.namespace}/services", body)

    def _container(self, version: str) -> Object:
        variables = {"env": list(self.environment)} if self.environment else {}
        return {"name": "shop", "image": f"{REPOSITORY}:{version}", **variables}

    def has_flag(self, value: str) -> None:
        """Make a ConfigMap with a flag that the container reads into a variable."""
        path = f"/api/v1/namespaces/{self.namespace}/configmaps"
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": FLAGS}}
        self.stand.api.create(path, {**body, "data": {FLAG: value}})
        source = {"configMapKeyRef": {"name": FLAGS, "key": FLAG}}
        self.environment = ({"name": FLAG, "valueFrom": source},)

    def has_settings(self, **data: str) -> None:
        """Make a ConfigMap that the container reads into variables."""
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": SETTINGS}}
        path = f"/api/v1/namespaces/{self.namespace}/configmaps"
        self.stand.api.create(path, {**body, "data": data})
        self.environment = tuple(
            {"name": key, "valueFrom": {"configMapKeyRef": {"name": SETTINGS, "key": key}}}
            for key in data
        )

    def settings(self) -> Object:
        path = f"/api/v1/namespaces/{self.namespace}/configmaps/{SETTINGS}"
        return dict(self.stand.api.get(path)["data"])

    def set(self, **data: str) -> None:
        """Change the ConfigMap, as a person does."""
        path = f"/api/v1/namespaces/{self.namespace}/configmaps/{SETTINGS}"
        self.stand.api.merge(path, {"data": data})

    def reconfigure(self, version: str, flow: Flow, **data: str) -> None:
        """Release a changed ConfigMap with an annotation of the template, and nothing else."""
        self.set(**data)
        self.roll_over(version, flow)

    def roll_over(self, version: str, flow: Flow) -> None:
        """Replace the pods by others of the same template, which do as `flow` says."""
        self.flow(version, flow)
        self.change(template={"metadata": {"annotations": {"version": version}}})

    def wait_until_stored(self) -> Object:
        """Wait until the content of the ConfigMap is stored with the running revision."""

        def probe() -> Object | None:
            status = self.status()
            running = (status.get("revision") or {}).get("number")
            entries = [one for one in status.get("revisions", []) if one["number"] == running]
            stored = entries[0].get("configMaps", []) if entries else []
            return dict(stored[0]) if stored else None

        try:
            return eventually(probe, f"{self.namespace}: the ConfigMap is stored", 90)
        except AssertionError as error:
            raise AssertionError(f"{error}; {self.told()}") from error

    def forget_flags(self) -> Object:
        """Delete the ConfigMap; what it was like, to be made again."""
        path = f"/api/v1/namespaces/{self.namespace}/configmaps"
        known = self.stand.api.get(f"{path}/{FLAGS}")
        self.stand.api.delete(f"{path}/{FLAGS}")
        kept = {one: known[one] for one in ("apiVersion", "kind", "data") if one in known}
        return {"apiVersion": "v1", "kind": "ConfigMap", **kept, "metadata": {"name": FLAGS}}

    def flag(self) -> str:
        path = f"/api/v1/namespaces/{self.namespace}/configmaps/{FLAGS}"
        return str(self.stand.api.get(path)["data"][FLAG])

    def deployment(self) -> Object:
        return self.stand.api.get(self.path)

    def change(self, **spec: Any) -> Object:
        """Change fields of the Deployment's spec, as a person does."""
        return self.stand.api.merge(self.path, {"spec": spec})

    def mark(self, kind: str, name: str, value: str) -> None:
        """Put a label or an annotation on the Deployment, and wait until it is taken in."""
        self.stand.api.merge(self.path, {"metadata": {kind: {name: value}}})
        self.wait_for_rollout()

    def restart(self) -> None:
        """Do what `kubectl rollout restart` does."""
        annotations = {"kubectl.kubernetes.io/restartedAt": "2030-01-01T00:00:00Z"}
        self.change(template={"metadata": {"annotations": annotations}})

    def roll_out(self, version: str, flow: Flow | None = None, **template: Any) -> None:
        """Push a release, which does as `flow` says."""
        if flow is not None:
            self.flow(version, flow)
        self.change(template={"spec": {"containers": [self._container(version)]}, **template})

    def flow(self, version: str, flow: Flow) -> None:
        self.stand.traffic.set((self.namespace, self.name, version), flow)

    def wait_for_rollout(self) -> Object:
        return eventually(self._rolled_out, f"{self.namespace}/{self.name} is rolled out")

    def is_rolled_out(self) -> bool:
        return self._rolled_out() is not None

    def _rolled_out(self) -> Object | None:
        found = self.deployment()
        status, wanted = found.get("status", {}), found["spec"]["replicas"]
        counts = [status.get(one, 0) for one in ("replicas", "updatedReplicas", "readyReplicas")]
        is_seen = status.get("observedGeneration", 0) >= found["metadata"]["generation"]
        return found if is_seen and counts == [wanted] * 3 else None

    @property
    def image(self) -> str:
        """The tag that the Deployment asks for."""
        found = self.deployment()["spec"]["template"]["spec"]["containers"][0]["image"]
        return str(found).rpartition(":")[2]

    def replica_set(self) -> Object:
        """Find the ReplicaSet of the Deployment's template."""
        return eventually(self._replica_set, f"the ReplicaSet of {self.namespace}/{self.name}")

    def _replica_set(self) -> Object | None:
        path = f"/apis/apps/v1/namespaces/{self.namespace}/replicasets"
        wanted = self.deployment()["spec"]["template"]
        listed = self.stand.api.get(path, labelSelector=f"app={self.name}")["items"]
        # By the whole template: two revisions may have one image.
        return next((one for one in listed if _template(one) == wanted), None)

    def remember(self, errors: float = 0.0, requests: float = PAST_REQUESTS) -> None:
        """Give the running revision five minutes of past in Prometheus, on a pod that is gone."""
        pod = f"{self.replica_set()['metadata']['name']}-past"
        now = time.clock_gettime(time.CLOCK_REALTIME)
        times = range(-PAST_SECONDS, 0)
        routes = Flow().routes
        write(
            self.stand.prometheus.url,
            (
                (
                    {
                        "__name__": metric,
                        "namespace": self.namespace,
                        "pod": pod,
                        "route": route,
                        "job": "pods",
                        "instance": "past",
                    },
                    [(now + one, share * requests * (PAST_SECONDS + one)) for one in times],
                )
                for metric, share in ((REQUESTS, 1.0), (ERRORS, errors))
                for route in routes
            ),
        )

    # -- the policy --------------------------------------------------------------------------------

    def watch(self, mode: str = "Enforce", name: str = "", **spec: Any) -> Object:
        """Make a policy on the Deployment."""
        body = {
            "apiVersion": API_VERSION,
            "kind": "RollbackPolicy",
            "metadata": {"name": name or self.name, "namespace": self.namespace},
            "spec": {
                "targetRef": {"name": self.name},
                "mode": mode,
                **spec,
                "safety": {**SAFETY, **spec.get("safety", {})},
            },
        }
        return self.stand.api.create(policies(self.namespace), body)

    def adopt(self, **spec: Any) -> None:
        """Make a policy and wait until it knows the running revision."""
        self.watch(**spec)
        eventually(lambda: self.status().get("revision"), f"{self.namespace} is adopted")

    def settle(self) -> None:
        """Put on record that the running revision has been good for long: it is not under watch."""
        since = (datetime.now(UTC) - timedelta(days=1)).isoformat()
        revision = {**self.revision(self.replica_set()), "since": since}
        known = {"revision": revision, "revisions": [{**revision, "health": "Good"}]}
        self.stand.api.merge(f"{policies(self.namespace)}/{self.name}/status", {"status": known})

    @staticmethod
    def revision(replica_set: Object) -> Object:
        """Name a ReplicaSet's revision, as it is put on record."""
        template = template_of(replica_set["spec"]["template"])
        annotations = replica_set["metadata"]["annotations"]
        return {
            "number": int(annotations["deployment.kubernetes.io/revision"]),
            "templateHash": replica_set["metadata"]["labels"]["pod-template-hash"],
            "digest": template.digest,
            "release": template.release,
            "images": list(template.images),
        }

    def prepare(self, **spec: Any) -> None:
        """Have a healthy v1 with a past, known to a policy."""
        self.deploy()
        self.remember()
        self.adopt(**spec)

    def wait_for_watch(self, version: str) -> None:
        """Wait until the operator knows of a release."""

        def probe() -> bool:
            images = (self.status().get("revision") or {}).get("images", [""])
            return bool(images[0].endswith(f":{version}"))

        eventually(probe, f"{self.namespace}: {version} is watched")

    def policy(self, name: str = "") -> Object:
        return self.stand.api.get(f"{policies(self.namespace)}/{name or self.name}")

    def amend(self, name: str = "", **spec: Any) -> None:
        """Change fields of the policy's spec."""
        self.stand.api.merge(f"{policies(self.namespace)}/{name or self.name}", {"spec": spec})

    def unwatch(self, name: str = "") -> None:
        self.stand.api.delete(f"{policies(self.namespace)}/{name or self.name}")

    def retire(self) -> None:
        """Let the operator go on to other work."""
        api, path = self.stand.api, policies(self.namespace)
        for one in api.get(path)["items"]:
            api.delete(f"{path}/{one['metadata']['name']}")
        if api.find(self.path) is not None:
            self.change(replicas=0)

    def status(self, name: str = "") -> Object:
        found: Object = self.policy(name).get("status", {})
        return found

    def condition(self, kind: str, name: str = "") -> Object:
        listed = self.status(name).get("conditions", [])
        return next((one for one in listed if one["type"] == kind), {})

    def reason(self, kind: str, name: str = "") -> tuple[str, str]:
        found = self.condition(kind, name)
        return str(found.get("status")), str(found.get("reason"))

    def wait_for(self, kind: str, reason: str, name: str = "", seconds: float = 60.0) -> Object:
        """Wait for a reason of a condition; the condition."""

        def probe() -> Object | None:
            found = self.condition(kind, name)
            return found if found.get("reason") == reason else None

        said = f"{self.namespace}: {kind} because of {reason}"
        try:
            return eventually(probe, said, seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}; {self.told()}") from error

    # -- rollbacks and what is told ----------------------------------------------------------------

    @property
    def leader(self) -> str:
        """Who holds the Lease of the operators in the service's namespace; empty: nobody yet."""
        path = f"/apis/coordination.k8s.io/v1/namespaces/{self.namespace}/leases/rollback-operator"
        found = self.stand.api.find(path)
        return "" if found is None else str(found["spec"].get("holderIdentity"))

    def rollbacks(self) -> list[Object]:
        listed = self.stand.api.get(rollbacks(self.namespace))["items"]
        return sorted(listed, key=lambda one: str(one["spec"]["trigger"]["decidedTime"]))

    def is_over(self) -> bool:
        """Tell whether all rollbacks have ended, are let go of, and known to the policy."""
        found = self.rollbacks()
        is_open = any(
            outcome(one)[0] == "None" or FINALIZER in one["metadata"].get("finalizers", ())
            for one in found
        )
        if is_open or not found:
            return False
        known = self.status().get("lastRollback", {})
        return bool(known.get("outcome") == outcome(found[-1])[0])

    def ask(self, name: str = "by-hand", **spec: Any) -> Object:
        """Ask for an undo to the previous release, as a person does who sees what runs."""
        body = {
            "apiVersion": API_VERSION,
            "kind": "Rollback",
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": {
                "policyRef": {"name": self.name},
                "remedy": {"type": "Undo", "to": "Previous"},
                "reason": "customers call",
                "seen": self.seen(),
                **spec,
            },
        }
        return self.stand.api.create(rollbacks(self.namespace), body)

    def seen(self) -> Object:
        """Say what runs."""
        found = self.deployment()
        number = self.replica_set()["metadata"]["annotations"][REVISION_ANNOTATION]
        return {
            "deployment": self.name,
            "revision": int(number),
            "digest": template_of(found["spec"]["template"]).digest,
        }

    def request(self, name: str = "by-hand") -> Object:
        """Read a Rollback made by hand, planned or not."""
        return self.stand.api.get(f"{rollbacks(self.namespace)}/{name}")

    def demand_rollback(self) -> None:
        """Make a Rollback by hand, from the running revision to the last known good one."""
        policy, fields = self.policy(), ("number", "templateHash", "digest", "release")
        revisions = {
            name: {field: policy["status"][known][field] for field in fields}
            for name, known in (("fromRevision", "revision"), ("toRevision", "lastKnownGood"))
        }
        uid = self.deployment()["metadata"]["uid"]
        body = manifest(
            policyRef={"name": self.name, "uid": policy["metadata"]["uid"]},
            targetRef={"name": self.name, "uid": uid},
            **revisions,
        )
        body["metadata"] = {"name": "by-hand", "namespace": self.namespace}
        self.stand.api.create(rollbacks(self.namespace), body)

    def wait_for_rollback(self, seconds: float = 60.0) -> Object:
        """Wait until the newest rollback has ended."""

        def probe() -> Object | None:
            found = self.rollbacks()
            ended = found and found[-1].get("status", {}).get("outcome")
            return found[-1] if ended else None

        try:
            return eventually(probe, f"{self.namespace}: a rollback has ended", seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}; {self.told()}") from error

    def events(self, reason: str = "") -> list[str]:
        """List what the operator has told, in the order of the telling."""
        return self._events(reason, lambda kind: kind != "Deployment")

    def events_on_deployment(self, reason: str = "") -> list[str]:
        """List what whoever looks at the Deployment finds there."""
        return self._events(reason, lambda kind: kind == "Deployment")

    def _events(self, reason: str, is_listed: Callable[[str], bool]) -> list[str]:
        found = self.stand.api.get(f"/api/v1/namespaces/{self.namespace}/events")["items"]
        ours = [
            one
            for one in found
            if is_listed(one["involvedObject"]["kind"])
            and one.get("source", {}).get("component") == "rollback-operator"
            and reason in ("", one["reason"])
        ]
        ours.sort(key=lambda one: int(one["metadata"]["resourceVersion"]))
        return [f"{one['reason']}: {one['message']}" for one in ours]

    def wait_for_event(self, reason: str, seconds: float = 60.0) -> str:
        def probe() -> str | None:
            return next(iter(self.events(reason)), None)

        try:
            return eventually(probe, f"{self.namespace}: event {reason}", seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}; {self.told()}") from error

    def told(self) -> str:
        """Say all that is known, for a failure's message."""
        api = self.stand.api
        pods = api.get(f"/api/v1/namespaces/{self.namespace}/pods")["items"]
        found = {
            "policies": [one.get("status") for one in api.get(policies(self.namespace))["items"]],
            "rollbacks": [(one["spec"], one.get("status")) for one in self.rollbacks()],
            "deployment": (api.find(self.path) or {}).get("status"),
            "pods": [_pod(one) for one in pods],
            "events": self.events(),
        }
        return "\n".join(f"{name}: {value}" for name, value in found.items())


def _template(replica_set: Object) -> Object:
    """Give a ReplicaSet's template as its Deployment has it."""
    template: Object = replica_set["spec"]["template"]
    labels = {k: v for k, v in template["metadata"]["labels"].items() if k != "pod-template-hash"}
    return {**template, "metadata": {**template["metadata"], "labels": labels}}


def _pod(raw: Object) -> str:
    conditions = raw.get("status", {}).get("conditions", [])
    said = ",".join(one["type"] for one in conditions if one["status"] == "True")
    metadata = raw["metadata"]
    return f"{metadata['name']} [{said}] deleted={metadata.get('deletionTimestamp')}"


def outcome(rollback: Object) -> tuple[str, str]:
    """Give a rollback's outcome with its reason."""
    status = rollback.get("status", {})
    done = next(
        (one for one in status.get("conditions", []) if one["type"] == "Complete"), {"reason": ""}
    )
    return str(status.get("outcome")), str(done["reason"])


def steps(rollback: Object) -> list[str]:
    return [str(one["name"]) for one in rollback.get("status", {}).get("steps", [])]
