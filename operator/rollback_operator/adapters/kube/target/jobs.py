"""Jobs in a container of a release, made from the template of its ReplicaSet.

A Job takes what the container needs to reach its database: image, variables, volumes, account and
the placement of its pods. It takes nothing of the node (host network, host paths, privileges) and
no label of the release, so that no Service sends requests to its pod.
"""

from typing import Any

from rollback_operator.adapters.kube import paths
from rollback_operator.adapters.kube.apiserver import ApiServer
from rollback_operator.adapters.kube.projections.templates import template_of
from rollback_operator.api.shape import clipped, one_line
from rollback_operator.api.v1alpha1 import API_VERSION, GROUP
from rollback_operator.ports.failure import Failure, FailureKind
from rollback_operator.ports.jobs import JobOrder, JobPhase, JobState

KEPT_SECONDS = 86_400
"""A Job that is over stays for a day, so that people can read its log."""
MANAGED_BY = {"app.kubernetes.io/managed-by": "rollback-operator"}
_OF_CONTROLLER = (
    "controller-uid",
    "job-name",
    "batch.kubernetes.io/controller-uid",
    "batch.kubernetes.io/job-name",
)
_NOT_COMPARED = ("selector", "suspend", "ttlSecondsAfterFinished")
"""The first is of the Job's own UID; a queue suspends and resumes Jobs."""
_OF_POD = (
    "serviceAccountName",
    "automountServiceAccountToken",
    "imagePullSecrets",
    "securityContext",
    "nodeSelector",
    "tolerations",
    "affinity",
    "runtimeClassName",
    "hostUsers",
    "dnsPolicy",
    "dnsConfig",
    "hostAliases",
)
_OF_CONTAINER = (
    "image",
    "imagePullPolicy",
    "env",
    "envFrom",
    "workingDir",
    "resources",
    "securityContext",
    "volumeMounts",
)


class ApiJobs:
    """The Jobs port on a real API server."""

    def __init__(self, api: ApiServer) -> None:
        self._api = api

    async def create(self, order: JobOrder) -> JobState | Failure:
        """Create a Job from the template of a ReplicaSet."""
        body = await self._planned(order)
        if isinstance(body, Failure):
            return body
        made = await self._api.create(paths.in_namespace(paths.JOBS, order.namespace), body)
        return _rejected(made, order.namespace) if isinstance(made, Failure) else _state(made)

    async def adopt(self, order: JobOrder) -> JobState | Failure:
        """Read the Job of an order, and compare it with what the API server would make now.

        A dry run, because the API server and its webhooks add to what is sent.
        """
        raw = await self._api.get(paths.object_in(paths.JOBS, order.namespace, order.name))
        if isinstance(raw, Failure):
            return _rejected(raw, order.namespace)
        state = _state(raw)
        if state.owner_uid != order.owner.uid:
            return state
        body = await self._planned(order)
        if not isinstance(body, Failure):
            body["metadata"]["name"] += "-planned"
            jobs = paths.in_namespace(paths.JOBS, order.namespace)
            body = await self._api.create(jobs, body, dryRun="All")
        if isinstance(body, Failure):
            if body.kind not in (FailureKind.REJECTED, FailureKind.GONE):
                return body
            message = f"Job {order.name} cannot be compared with the plan: {body.message}"
            return Failure(FailureKind.REJECTED, message)
        if _compared(raw) == _compared(body):
            return state
        message = (
            f"Job {order.name} is not as planned: another client has created it. Delete it, and "
            "request the rollback again"
        )
        return Failure(FailureKind.REJECTED, message)

    async def _planned(self, order: JobOrder) -> dict[str, Any] | Failure:
        source = await self._api.get(
            paths.object_in(paths.REPLICA_SETS, order.namespace, order.replica_set)
        )
        if isinstance(source, Failure):
            return source
        template = source["spec"]["template"]
        if template_of(template).digest != order.template:
            message = f"the template of ReplicaSet {order.replica_set} has changed since the plan"
            return Failure(FailureKind.REJECTED, message)
        return job_of(order, template["spec"])

    async def look(self, namespace: str, name: str) -> JobState | Failure:
        """Read a Job."""
        raw = await self._api.get(paths.object_in(paths.JOBS, namespace, name))
        return _rejected(raw, namespace) if isinstance(raw, Failure) else _state(raw)


def job_of(order: JobOrder, template: dict[str, Any]) -> dict[str, Any] | Failure:
    """Make the Job; Rejected: the release has no such container."""
    containers = {each["name"]: each for each in template["containers"]}
    container = containers.get(order.container or next(iter(containers)))
    if container is None:
        message = f"the release has no container {order.container}: correct container of the Job"
        return Failure(FailureKind.REJECTED, message)
    volumes = [each for each in template.get("volumes") or () if "hostPath" not in each]
    mounted = {each["name"] for each in volumes}
    mounts = [each for each in container.get("volumeMounts") or () if each["name"] in mounted]
    known = {key: container[key] for key in _OF_CONTAINER if key in container}
    own = [{"name": name, "value": value} for name, value in order.environment.items()]
    used = {each["name"] for each in mounts}
    runs = {
        **known,
        "name": "migration",
        "image": order.image or container["image"],
        "command": list(order.command),
        # The last variable of a name wins.
        "env": [*(known.get("env") or ()), *own],
        "volumeMounts": mounts,
    }
    pod = {key: template[key] for key in _OF_POD if key in template}
    labels = {**MANAGED_BY, f"{GROUP}/job": order.name}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": order.name,
            "labels": labels,
            "ownerReferences": [
                {
                    "apiVersion": API_VERSION,
                    "kind": order.owner.kind,
                    "name": order.owner.name,
                    "uid": order.owner.uid,
                    "controller": True,
                }
            ],
        },
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": order.seconds,
            "ttlSecondsAfterFinished": KEPT_SECONDS,
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    **pod,
                    "restartPolicy": "Never",
                    "containers": [runs],
                    "volumes": [each for each in volumes if each["name"] in used],
                },
            },
        },
    }


def _compared(raw: dict[str, Any]) -> dict[str, Any]:
    """Select what decides on what a Job runs and when it counts as a success."""
    spec = {key: value for key, value in raw["spec"].items() if key not in _NOT_COMPARED}
    template = spec.pop("template")
    labels = template.get("metadata", {}).get("labels") or {}
    kept = {key: value for key, value in labels.items() if key not in _OF_CONTROLLER}
    return {**spec, "labels": kept, "pod": template["spec"]}


def _state(raw: dict[str, Any]) -> JobState:
    owners = raw["metadata"].get("ownerReferences") or ()
    job = str(raw["metadata"].get("uid") or "")
    uid = next((each["uid"] for each in owners if each.get("controller")), "")
    for condition in raw.get("status", {}).get("conditions") or ():
        if condition.get("status") != "True":
            continue
        if condition.get("type") == "Complete":
            return JobState(uid, JobPhase.SUCCEEDED, uid=job)
        if condition.get("type") == "Failed":
            message = f"{condition.get('reason', '')}: {condition.get('message', '')}"
            return JobState(uid, JobPhase.FAILED, clipped(one_line(message), 300), job)
    return JobState(uid, JobPhase.RUNNING, uid=job)


def _rejected(failure: Failure, namespace: str) -> Failure:
    """Add the remedy to a refusal."""
    if failure.kind is not FailureKind.REJECTED:
        return failure
    message = (
        f"a Job was refused: list namespace {namespace} in the chart's migrations.namespaces, or "
        f"grant what the answer names ({failure.message})"
    )
    return Failure(failure.kind, message)
