"""Makes the rollout file of a running Deployment from its ReplicaSets and pods.

For a revision that was rolled out again, Kubernetes keeps only the newest number, not the time: the
file has the time at which its ReplicaSet was created.
"""

from typing import Any

from rollback_operator.adapters.kube.apiserver import ApiServer
from rollback_operator.adapters.kube.target.workloads import ApiWorkloads
from rollback_operator.cli.backtest.case import rfc3339
from rollback_operator.model.pod import Pod
from rollback_operator.model.workload import ReplicaSet, Workload
from rollback_operator.ports.failure import Failure


async def read_rollouts(
    kubeconfig: str | None, namespace: str, deployment: str
) -> dict[str, Any] | Failure:
    """Read a Deployment and convert it to a rollout file.

    Raises:
        kubernetes.aio.config.ConfigException: there is no usable configuration.
    """
    api = await ApiServer.connect(kubeconfig, lambda verb, result: None)
    try:
        workload = await ApiWorkloads(api).inspect(namespace, deployment)
    finally:
        await api.close()
    return workload if isinstance(workload, Failure) else rollouts_of(workload)


def rollouts_of(workload: Workload) -> dict[str, Any]:
    """Convert a Deployment with its ReplicaSets and pods to a rollout file."""
    deployment = workload.deployment
    sets = sorted(workload.replica_sets, key=lambda each: (each.created, each.revision))
    return {
        "deployment": deployment.name,
        "namespace": deployment.namespace,
        "rollouts": [_rollout(each, deployment.replicas) for each in sets],
        "pods": [_pod(pod) for pod in sorted(workload.pods, key=lambda pod: pod.name)],
    }


def _rollout(replica_set: ReplicaSet, replicas: int) -> dict[str, Any]:
    images = replica_set.template.images
    image = {"image": ", ".join(images)} if images else {}
    return {
        "time": rfc3339(replica_set.created),
        "templateHash": replica_set.pod_hash,
        "revision": replica_set.revision,
        **image,
        "replicas": replicas,
    }


def _pod(pod: Pod) -> dict[str, Any]:
    return {
        "name": pod.name,
        "templateHash": pod.pod_hash,
        "node": pod.node,
        "ready": rfc3339(pod.ready_since) if pod.ready_since is not None else False,
        "deleted": pod.terminating,
    }
