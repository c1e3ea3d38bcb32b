"""Deployments through the API server: read fresh, write guarded.

Every write is a JSON patch that tests uid, template and revision as judged, and replaces single
fields. A patch that changes the running release also tests that the Deployment is not paused; a
patch of replicas or maxSurge tests their values, so that a person's change in the meantime stays.
The guard is not resourceVersion, because the status updates of a rollout would fail half of the
patches, and not generation, because an autoscaler changes it.
"""

import asyncio
from datetime import datetime
from math import inf
from typing import Any

from rollback_operator.adapters.kube import paths
from rollback_operator.adapters.kube.apiserver import ApiServer, Listing
from rollback_operator.adapters.kube.projections.autoscalers import autoscaler_on, scales
from rollback_operator.adapters.kube.projections.deployments import (
    REVISION_ANNOTATION,
    change_cause_of,
    deployment_of,
    is_held,
    replica_set_of,
)
from rollback_operator.adapters.kube.projections.pods import pod_of
from rollback_operator.adapters.kube.projections.templates import template_of, without_pod_hash
from rollback_operator.adapters.kube.projections.variables import variable_at
from rollback_operator.api.remedy import MOST_REPLICAS
from rollback_operator.api.user_text.json_text import whole
from rollback_operator.api.v1alpha1 import Hold, Remedy, Rollback, StoredStrategy
from rollback_operator.model.workload import Deployment, ReplicaSet, Workload
from rollback_operator.ports.failure import Failure, FailureKind
from rollback_operator.remedies.change_cause import CHANGE_CAUSE, Overdue, written
from rollback_operator.remedies.progress import EXPRESS_SURGE

Operations = list[dict[str, Any]]
PAUSED = "/spec/paused"
REPLICAS_PATH = "/spec/replicas"
MAX_SURGE = "/spec/strategy/rollingUpdate/maxSurge"
ANNOTATIONS = "/metadata/annotations"
REVISION, CAUSE = (
    f"{ANNOTATIONS}/{annotation.replace('/', '~1')}"
    for annotation in (REVISION_ANNOTATION, CHANGE_CAUSE)
)
RESTARTED = "kubectl.kubernetes.io/restartedAt"
"""The annotation of `kubectl rollout restart`, which GitOps tools leave alone."""


class ApiWorkloads:
    """The Workloads port on a real API server."""

    def __init__(self, api: ApiServer) -> None:
        self._api = api

    async def inspect(self, namespace: str, name: str) -> Workload | Failure:
        """Read the Deployment with its ReplicaSets, pods and autoscaler."""
        raw = await self._api.get(_deployment(namespace, name))
        if isinstance(raw, Failure):
            return raw
        selector = paths.label_query(raw["spec"].get("selector") or {})
        if isinstance(selector, Failure):
            return selector
        at, uid, chosen = paths.in_namespace, raw["metadata"]["uid"], {"labelSelector": selector}
        sets, pods, scalers = await asyncio.gather(
            self._api.list_of(
                Listing(
                    at(paths.REPLICA_SETS, namespace),
                    lambda raw: _owned_replica_set(raw, uid),
                    chosen,
                )
            ),
            self._api.list_of(Listing(at(paths.PODS, namespace), pod_of, chosen, free=inf)),
            self._api.list_of(
                Listing(
                    at(paths.AUTOSCALERS, namespace), lambda raw: raw if scales(raw, name) else None
                )
            ),
        )
        if isinstance(sets, Failure):
            return sets
        if isinstance(pods, Failure):
            return pods
        if isinstance(scalers, Failure):
            return scalers
        owned = [owned_set for owned_set in sets if owned_set is not None]
        hashes = {owned_set.pod_hash for owned_set in owned}
        return Workload(
            deployment_of(raw),
            replica_sets=tuple(owned),
            pods=tuple(pod for pod in pods if pod.pod_hash in hashes),
            autoscaler=autoscaler_on((scaler for scaler in scalers if scaler is not None), name),
        )

    async def undo(self, rollback: Rollback, surge: StoredStrategy | None) -> Deployment | Failure:
        """Put the recorded ReplicaSet's template into the Deployment."""
        raw = await self._read_as_judged(rollback)
        if isinstance(raw, Failure):
            return raw
        target = rollback.spec.to_revision
        if target is None:
            return Failure(FailureKind.REJECTED, "the Rollback names no target revision")
        source = await self._api.get(
            paths.object_in(paths.REPLICA_SETS, rollback.metadata.namespace, target.replica_set)
        )
        if isinstance(source, Failure):
            return source
        if not _is_recorded(source, raw, rollback):
            return Failure(
                FailureKind.GONE,
                f"ReplicaSet {target.replica_set} no longer holds revision {target.number}",
            )
        template = without_pod_hash(source["spec"]["template"])
        change = {"op": "replace", "path": "/spec/template", "value": template}
        plain = [*_test_as_judged(raw), *_lift_own_pause(raw), change]
        cause = _record_cause(raw, written(rollback, change_cause_of(source["metadata"])))
        if surge is not None:
            raised = _raise_surge(rollback.status.strategy, surge)
            express = await self._write(rollback, [*plain, *raised, *cause])
            # The API server answers an inapplicable patch like a failed test; the plain patch, with
            # the same guard, distinguishes them.
            refused = (FailureKind.REJECTED, FailureKind.CONFLICT)
            if not isinstance(express, Failure) or express.kind not in refused:
                return express
        return await self._change(rollback, plain, cause)

    async def apply_in_place(self, rollback: Rollback, remedy: Remedy) -> Deployment | Failure:
        """Pin an image, set a variable, or set the replicas."""
        raw = await self._read_as_judged(rollback)
        if isinstance(raw, Failure):
            return raw
        if remedy.replicas is not None:
            known = {"op": "test", "path": REPLICAS_PATH, "value": raw["spec"].get("replicas")}
            change = {"op": "replace", "path": REPLICAS_PATH, "value": remedy.replicas}
            return await self._write(
                rollback, [*_test_as_judged(raw), *_lift_own_pause(raw), known, change]
            )
        changed = _template_change(raw["spec"]["template"], remedy)
        if isinstance(changed, Failure):
            return changed
        cause = _record_cause(raw, written(rollback, ""))
        return await self._change(
            rollback, [*_test_as_judged(raw), *_lift_own_pause(raw), changed], cause
        )

    async def restart(self, rollback: Rollback, time: datetime) -> Deployment | Failure:
        """Annotate the pod template, so that pods of the same release replace all pods."""
        raw = await self._read_as_judged(rollback)
        if isinstance(raw, Failure):
            return raw
        known = raw["spec"]["template"]["metadata"].get("annotations") or {}
        marked = {**known, RESTARTED: time.isoformat()}
        change = {"op": "add", "path": "/spec/template/metadata/annotations", "value": marked}
        return await self._write(rollback, [*_test_as_judged(raw), *_lift_own_pause(raw), change])

    async def set_strategy(
        self, rollback: Rollback, strategy: StoredStrategy
    ) -> Deployment | Failure:
        """Restore maxSurge, only while it has the value of the express undo.

        The undo did not change maxUnavailable: its current value is a person's.
        """
        ours = {"op": "test", "path": MAX_SURGE, "value": EXPRESS_SURGE}
        uid = {"op": "test", "path": "/metadata/uid", "value": rollback.spec.target_ref.uid}
        return await self._write(rollback, [uid, ours, *_set_surge(strategy)])

    async def set_replicas(
        self, rollback: Rollback, known: int, wanted: int
    ) -> Deployment | Failure:
        """Set the replicas, only while they are as known."""
        namespace, name = rollback.metadata.namespace, rollback.spec.target_ref.name
        tests: Operations = [
            {"op": "test", "path": "/metadata/uid", "value": rollback.spec.target_ref.uid}
        ]
        if not wanted:
            raw = await self._read_as_judged(rollback)
            if isinstance(raw, Failure):
                return raw
            tests = _test_as_judged(raw)
        replicas = {"path": REPLICAS_PATH}
        change = [
            {"op": "test", "value": known, **replicas},
            {"op": "replace", "value": wanted, **replicas},
        ]
        return await self._patch(namespace, name, [*tests, *change])

    async def drop_cause(self, deployment: Deployment, overdue: Overdue) -> Deployment | Failure:
        """Remove our change-cause, only while it and the revision are unchanged."""
        known = {
            "/metadata/uid": deployment.uid,
            REVISION: str(deployment.revision),
            CAUSE: deployment.change_cause,
        }
        operations = [{"op": "test", "path": path, "value": value} for path, value in known.items()]
        if overdue.is_inherited:
            operations.append({"op": "replace", "path": CAUSE, "value": ""})
        else:
            operations.append({"op": "remove", "path": CAUSE})
        return await self._patch(deployment.namespace, deployment.name, operations)

    async def pause(self, namespace: str, hold: Hold) -> Deployment | Failure:
        """Pause a rollout like `kubectl rollout pause`, with our field manager."""
        raw = await self._api.get(_deployment(namespace, hold.deployment))
        if isinstance(raw, Failure):
            return raw
        digest = template_of(raw["spec"]["template"]).digest
        if (raw["metadata"]["uid"], digest) != (hold.deployment_uid, hold.digest):
            return Failure(FailureKind.CONFLICT, "the Deployment is not as it was judged")
        if raw["spec"].get("paused"):
            is_ours = is_held(raw)
            message = "somebody else has paused the Deployment"
            return deployment_of(raw) if is_ours else Failure(FailureKind.CONFLICT, message)
        operations = [
            *_test_as_judged(raw),
            {"op": "test", "path": PAUSED, "value": None},
            {"op": "add", "path": PAUSED, "value": True},
        ]
        return await self._patch(namespace, hold.deployment, operations)

    async def resume(self, namespace: str, name: str) -> Deployment | Failure:
        """Lift our own pause, whatever the current template is."""
        raw = await self._api.get(_deployment(namespace, name))
        if isinstance(raw, Failure):
            return raw
        if not is_held(raw):
            return deployment_of(raw)
        return await self._patch(namespace, name, [*_test_as_judged(raw), *_lift_own_pause(raw)])

    async def _read_as_judged(self, rollback: Rollback) -> dict[str, Any] | Failure:
        """Read the Deployment, and check that it is as judged and that nobody has paused it."""
        raw = await self._api.get(
            _deployment(rollback.metadata.namespace, rollback.spec.target_ref.name)
        )
        if isinstance(raw, Failure):
            return raw
        template, judged = template_of(raw["spec"]["template"]), rollback.spec.from_revision
        # Scaling leaves the template alone, hence it allows a restart of the same release.
        is_scaled = rollback.spec.remedy.replicas is not None
        is_same = template.digest == judged.digest or (is_scaled and template.bare == judged.bare)
        if raw["metadata"]["uid"] != rollback.spec.target_ref.uid or not is_same:
            return Failure(FailureKind.CONFLICT, "the Deployment is not as it was judged")
        if raw["spec"].get("paused") and not is_held(raw):
            return Failure(FailureKind.CONFLICT, "somebody has paused the Deployment")
        return raw

    async def _change(
        self, rollback: Rollback, operations: Operations, cause: Operations
    ) -> Deployment | Failure:
        """Change the Deployment and record why; if that is refused, only change it."""
        done = await self._write(rollback, [*operations, *cause])
        if isinstance(done, Failure) and done.kind is FailureKind.REJECTED:
            return await self._write(rollback, operations)
        return done

    async def _write(self, rollback: Rollback, operations: Operations) -> Deployment | Failure:
        namespace, name = rollback.metadata.namespace, rollback.spec.target_ref.name
        return await self._patch(namespace, name, operations)

    async def _patch(
        self, namespace: str, name: str, operations: Operations
    ) -> Deployment | Failure:
        written = await self._api.patch(_deployment(namespace, name), operations)
        return written if isinstance(written, Failure) else deployment_of(written)


def _deployment(namespace: str, name: str) -> paths.ApiPath:
    return paths.object_in(paths.DEPLOYMENTS, namespace, name)


def _test_as_judged(raw: dict[str, Any]) -> Operations:
    """Test the judged template, and its revision: it may have come back before a late patch."""
    revision = (raw["metadata"].get("annotations") or {}).get(REVISION_ANNOTATION)
    known = {"/metadata/uid": raw["metadata"]["uid"], "/spec/template": raw["spec"]["template"]}
    if revision is not None:
        known[REVISION] = revision
    return [{"op": "test", "path": path, "value": value} for path, value in known.items()]


def _template_change(template: dict[str, Any], remedy: Remedy) -> dict[str, Any] | Failure:
    """Make the change of a template by which a remedy keeps its revision."""
    root = "/spec/template/spec/containers"
    if remedy.flag is not None and remedy.flag.env is not None:
        place = variable_at(template, remedy.flag.env.container, remedy.flag.name)
        if isinstance(place, str):
            return Failure(FailureKind.REJECTED, place)
        at, position = place
        path = f"{root}/{at}/env/{position}/value"
        return {"op": "add", "path": path, "value": remedy.flag.value}
    names = [container["name"] for container in template["spec"]["containers"]]
    if remedy.container not in names:
        return Failure(
            FailureKind.REJECTED, f"the pod template has no container {remedy.container!r}"
        )
    path = f"{root}/{names.index(remedy.container)}/image"
    return {"op": "replace", "path": path, "value": remedy.image}


def _record_cause(raw: dict[str, Any], cause: str) -> Operations:
    """Record on the Deployment why it is changed, in the same patch."""
    if raw["metadata"].get("annotations") is None:
        none = {"op": "test", "path": ANNOTATIONS, "value": None}
        return [none, {"op": "add", "path": ANNOTATIONS, "value": {CHANGE_CAUSE: cause}}]
    return [{"op": "add", "path": CAUSE, "value": cause}]


def _lift_own_pause(raw: dict[str, Any]) -> Operations:
    """Lift our own pause in the same patch: a paused Deployment would not roll the change out.

    Without a pause, test that there is none, to respect a person's pause in the meantime.
    """
    if not is_held(raw):
        return [{"op": "test", "path": PAUSED, "value": None}]
    return [{"op": "test", "path": PAUSED, "value": True}, {"op": "remove", "path": PAUSED}]


def _raise_surge(stored: StoredStrategy | None, surge: StoredStrategy) -> Operations:
    """Raise maxSurge, only while it has the recorded value: another value is a person's."""
    if stored is None:
        return _set_surge(surge)
    known = {"op": "test", "path": MAX_SURGE, "value": _number_or_share(stored.max_surge)}
    return [known, *_set_surge(surge)]


def _set_surge(bounds: StoredStrategy) -> Operations:
    """Set maxSurge alone: a change of maxUnavailable in the meantime stays."""
    return [{"op": "add", "path": MAX_SURGE, "value": _number_or_share(bounds.max_surge)}]


def _number_or_share(bound: str) -> int | str:
    number = whole(bound, MOST_REPLICAS)
    return bound if number is None else number


def _owned_replica_set(raw: dict[str, Any], uid: str) -> ReplicaSet | None:
    owners = raw["metadata"].get("ownerReferences") or []
    is_owned = any(ref.get("controller") and ref.get("uid") == uid for ref in owners)
    return replica_set_of(raw) if is_owned else None


def _is_recorded(source: dict[str, Any], raw: dict[str, Any], rollback: Rollback) -> bool:
    """Report whether a ReplicaSet is as it was recorded, and still the Deployment's own."""
    target = rollback.spec.to_revision
    return (
        target is not None
        and source["metadata"]["uid"] == target.replica_set_uid
        and template_of(source["spec"]["template"]).digest == target.digest
        and _owned_replica_set(source, raw["metadata"]["uid"]) is not None
    )
