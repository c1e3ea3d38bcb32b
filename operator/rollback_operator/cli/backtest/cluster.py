"""The rollout file of a Deployment that runs now: what its ReplicaSets and pods remember.

Of a revision that was gone back to only the newest number is known, not when: it stands at the
time of its ReplicaSet's creation.
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
    """Read a Deployment and write it as a rollout file.

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
    """Write a Deployment with its ReplicaSets and pods as a rollout file."""
    deployment = workload.deployment
    sets = sorted(workload.replica_sets, key=lambda one: (one.created, one.revision))
    return {
        "deployment": deployment.name,
        "namespace": deployment.namespace,
        "rollouts": [_rollout(one, deployment.replicas) for one in sets],
        "pods": [_pod(one) for one in sorted(workload.pods, key=lambda one: one.name)],
    }


def _rollout(one: ReplicaSet, replicas: int) -> dict[str, Any]:
    image = {"image": ", ".join(one.template.images)} if one.template.images else {}
    return {
        "time": rfc3339(one.created),
        "templateHash": one.pod_hash,
        "revision": one.revision,
        **image,
        "replicas": replicas,
    }


def _pod(one: Pod) -> dict[str, Any]:
    return {
        "name": one.name,
        "templateHash": one.pod_hash,
        "node": one.node,
        "ready": rfc3339(one.ready_since) if one.ready_since is not None else False,
        "deleted": one.terminating,
    }
