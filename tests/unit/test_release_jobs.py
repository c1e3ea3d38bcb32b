"""Jobs made from a release: what they take over, what they leave, how their end is read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import kubernetes_validate
import pytest

from rollback_operator.adapters.kube.projections.templates import template_of
from rollback_operator.adapters.kube.target.jobs import ApiJobs, job_of
from rollback_operator.ports.failure import Failure, FailureKind
from rollback_operator.ports.jobs import JobOrder, JobOwner, JobPhase, JobState

NAMESPACE, NAME = "production", "rollback-migratedown-0123456789abcdef"
TEMPLATE: dict[str, Any] = {
    "serviceAccountName": "shop",
    "imagePullSecrets": [{"name": "registry"}],
    "hostNetwork": True,
    "hostPID": True,
    "initContainers": [{"name": "wait", "image": "wait:1"}],
    "volumes": [
        {"name": "ca", "secret": {"secretName": "ca"}},
        {"name": "node", "hostPath": {"path": "/"}},
        {"name": "unused", "emptyDir": {}},
    ],
    "containers": [
        {
            "name": "shop",
            "image": "registry.example.com/shop:v2",
            "command": ["serve"],
            "args": ["--all"],
            "env": [
                {"name": "STEPS", "value": "99"},
                {"name": "DSN", "valueFrom": {"secretKeyRef": {"name": "db", "key": "dsn"}}},
            ],
            "envFrom": [{"configMapRef": {"name": "shop"}}],
            "ports": [{"containerPort": 8080, "hostPort": 8080}],
            "livenessProbe": {"httpGet": {"path": "/", "port": 8080}},
            "lifecycle": {"preStop": {"exec": {"command": ["x"]}}},
            "volumeMounts": [
                {"name": "ca", "mountPath": "/ca"},
                {"name": "node", "mountPath": "/node"},
            ],
        },
        {"name": "proxy", "image": "registry.example.com/proxy:v1"},
    ],
}


SET = {"spec": {"template": {"spec": TEMPLATE}}}


def order(**changes: Any) -> JobOrder:
    fields = {
        "namespace": NAMESPACE,
        "name": NAME,
        "owner": JobOwner("Rollback", "shop-0123456789", "the-uid"),
        "replica_set": "shop-6d5f9c",
        "template": template_of(SET["spec"]["template"]).digest,
        "container": None,
        "image": None,
        "command": ("npm", "run", "down", "--", "--step=$(STEPS)"),
        "environment": {"STEPS": "2"},
        "seconds": 60,
    }
    return JobOrder(**{**fields, **changes})


def made(**changes: Any) -> dict[str, Any]:
    found = job_of(order(**changes), TEMPLATE)
    assert isinstance(found, dict)
    return found


def test_it_runs_once_with_what_the_container_has_and_kubernetes_takes_it() -> None:
    job = made()

    kubernetes_validate.validate(job, "1.34", strict=True)
    assert job["spec"]["backoffLimit"] == 0
    assert job["spec"]["activeDeadlineSeconds"] == 60
    (owner,) = job["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"]) == ("Rollback", "the-uid")
    pod = job["spec"]["template"]["spec"]
    assert pod["restartPolicy"] == "Never"
    assert pod["serviceAccountName"] == "shop"
    assert pod["imagePullSecrets"] == [{"name": "registry"}]
    (container,) = pod["containers"]
    assert container["image"] == "registry.example.com/shop:v2"
    assert container["command"][-1] == "--step=$(STEPS)"
    assert container["envFrom"] == [{"configMapRef": {"name": "shop"}}]
    assert container["env"][-1] == {"name": "STEPS", "value": "2"}  # the last of a name wins


def test_nothing_of_the_node_and_no_traffic_comes_to_it() -> None:
    pod = made()["spec"]["template"]["spec"]

    assert not {"hostNetwork", "hostPID", "initContainers"} & set(pod)
    (container,) = pod["containers"]
    assert not {"args", "ports", "livenessProbe", "lifecycle"} & set(container)
    assert container["volumeMounts"] == [{"name": "ca", "mountPath": "/ca"}]
    assert [one["name"] for one in pod["volumes"]] == ["ca"]
    labels = made()["spec"]["template"]["metadata"]["labels"]
    assert set(labels) == {"app.kubernetes.io/managed-by", "rollback.tickettoken.io/job"}


def test_another_container_and_image_may_be_named() -> None:
    (container,) = made(container="proxy", image="tools:v1")["spec"]["template"]["spec"][
        "containers"
    ]
    assert container["image"] == "tools:v1"
    assert "envFrom" not in container

    found = job_of(order(container="nothing"), TEMPLATE)
    assert isinstance(found, Failure)
    assert "no container nothing" in found.message


# -- on the API server -----------------------------------------------------------------------------


@dataclass
class Server:
    """Answers by path."""

    answers: dict[str, Any] = field(default_factory=dict)
    created: list[Any] = field(default_factory=list)

    async def get(self, path: str) -> Any:
        return self.answers.get(path, Failure(FailureKind.GONE, path))

    async def create(self, path: str, body: Any, **query: str) -> Any:
        if query:
            assert query == {"dryRun": "All"}
            assert body["metadata"]["name"] != NAME  # that name is taken
            return self.answers.get("dry run", body)
        self.created.append((path, body))
        return self.answers.get(path, body)


JOBS = f"/apis/batch/v1/namespaces/{NAMESPACE}/jobs"
SETS = f"/apis/apps/v1/namespaces/{NAMESPACE}/replicasets"
OWNED = {"metadata": {"ownerReferences": [{"uid": "the-uid", "controller": True}]}}


def on(**answers: Any) -> tuple[Server, ApiJobs]:
    server = Server(answers)
    return server, ApiJobs(server)  # type: ignore[arg-type] # what is used of it


async def test_a_job_is_made_from_the_replica_set_of_the_release() -> None:
    template = {"spec": {"template": {"spec": TEMPLATE}}}
    server, jobs = on(**{f"{SETS}/shop-6d5f9c": template})

    assert await jobs.create(order()) == JobState("the-uid", JobPhase.RUNNING)

    ((path, body),) = server.created
    assert (path, body["metadata"]["name"]) == (JOBS, NAME)


async def test_a_template_that_changed_since_the_plan_makes_no_job() -> None:
    changed = {"spec": {"template": {"spec": {**TEMPLATE, "serviceAccountName": "admin"}}}}
    server, jobs = on(**{f"{SETS}/shop-6d5f9c": changed})

    found = await jobs.create(order())

    assert isinstance(found, Failure)
    assert found.kind is FailureKind.REJECTED
    assert "has changed since the plan" in found.message
    assert server.created == []


def stored(**changes: Any) -> dict[str, Any]:
    """The operator's Job as the API server and the controller keep it."""
    job = made()
    labels = {**job["spec"]["template"]["metadata"]["labels"], "controller-uid": "1"}
    template = {**job["spec"]["template"], "metadata": {"labels": labels}}
    spec = {**job["spec"], "template": template, "selector": {"matchLabels": {}}, **changes}
    done = {"conditions": [{"type": "Complete", "status": "True"}]}
    return {"metadata": {**job["metadata"], "uid": "job"}, "spec": spec, "status": done}


async def test_a_job_as_planned_is_adopted() -> None:
    _, jobs = on(**{f"{SETS}/shop-6d5f9c": SET, f"{JOBS}/{NAME}": stored()})
    assert await jobs.adopt(order()) == JobState("the-uid", JobPhase.SUCCEEDED, uid="job")


async def test_where_there_is_no_job_none_is_adopted() -> None:
    _, jobs = on()
    found = await jobs.adopt(order())
    assert isinstance(found, Failure)
    assert found.kind is FailureKind.GONE


FOREIGN: dict[str, dict[str, Any]] = {
    "another command": {
        "template": {"spec": {"containers": [{"name": "c", "command": ["true"]}]}},
    },
    "succeeds by a policy": {"successPolicy": {"rules": [{"succeededCount": 0}]}},
    "pods of others": {"manualSelector": True},
    "another controller": {"managedBy": "example.com/tenant"},
    "no completion": {"completions": 0},
}


@pytest.mark.parametrize("case", FOREIGN)
async def test_a_job_of_another_client_is_not_adopted(case: str) -> None:
    _, jobs = on(**{f"{SETS}/shop-6d5f9c": SET, f"{JOBS}/{NAME}": stored(**FOREIGN[case])})
    found = await jobs.adopt(order())
    assert isinstance(found, Failure)
    assert found.kind is FailureKind.REJECTED
    assert "another client has created it" in found.message


@pytest.mark.parametrize("kind", [FailureKind.REJECTED, FailureKind.UNAVAILABLE])
async def test_a_job_that_cannot_be_compared_is_not_adopted(kind: FailureKind) -> None:
    answers = {"dry run": Failure(kind, "no"), f"{SETS}/shop-6d5f9c": SET}
    _, jobs = on(**answers, **{f"{JOBS}/{NAME}": stored()})
    found = await jobs.adopt(order())
    assert isinstance(found, Failure)
    assert found.kind is kind


async def test_without_the_right_the_value_of_the_chart_is_named() -> None:
    template = {"spec": {"template": {"spec": TEMPLATE}}}
    refusal = Failure(FailureKind.REJECTED, "forbidden")
    _, jobs = on(**{f"{SETS}/shop-6d5f9c": template, JOBS: refusal})

    found = await jobs.create(order())

    assert isinstance(found, Failure)
    assert f"list namespace {NAMESPACE} in the chart's migrations.namespaces" in found.message


CONDITIONS = {
    "none": ([], JobState("the-uid", JobPhase.RUNNING)),
    "suspended": (
        [{"type": "Suspended", "status": "True"}],
        JobState("the-uid", JobPhase.RUNNING),
    ),
    "about to fail": (
        [{"type": "FailureTarget", "status": "True", "reason": "BackoffLimitExceeded"}],
        JobState("the-uid", JobPhase.RUNNING),
    ),
    "complete": (
        [{"type": "Complete", "status": "True"}],
        JobState("the-uid", JobPhase.SUCCEEDED),
    ),
    "out of time": (
        [
            {
                "type": "Failed",
                "status": "True",
                "reason": "DeadlineExceeded",
                "message": "Job was active longer than\nspecified deadline",
            }
        ],
        JobState(
            "the-uid",
            JobPhase.FAILED,
            "DeadlineExceeded: Job was active longer than specified deadline",
        ),
    ),
}


@pytest.mark.parametrize("case", CONDITIONS)
async def test_the_end_of_a_job_is_read_from_its_conditions(case: str) -> None:
    conditions, state = CONDITIONS[case]
    _, jobs = on(**{f"{JOBS}/{NAME}": {**OWNED, "status": {"conditions": conditions}}})

    assert await jobs.look(NAMESPACE, NAME) == state
