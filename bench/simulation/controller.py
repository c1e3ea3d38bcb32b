"""The controllers of Deployments and ReplicaSets, as kube-controller-manager does it.

The arithmetic of a rolling update (maxSurge rounded up, maxUnavailable down, unhealthy old pods
first) is that of `k8s.io/kubernetes/pkg/controller/deployment/rolling.go`.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from bench.simulation.loop import VirtualLoop
from bench.simulation.pods import Kubelet, Pod
from bench.simulation.releases import Release, pod_hash
from bench.simulation.server import Change, Id, Raw, Server
from rollback_operator.remedies.change_cause import CHANGE_CAUSE

CONTROLLER = "controller"
REVISION = "deployment.kubernetes.io/revision"
HASH = "pod-template-hash"


@dataclass
class Controller:
    """Makes of each Deployment what its spec says, one step after another."""

    loop: VirtualLoop
    server: Server
    dice: random.Random
    kubelet: Kubelet
    release_of: Callable[[Raw], Release]
    """By a pod template."""
    stall: Callable[[], float] = lambda: 0.0
    """Seconds for which it does nothing."""
    _due: set[Id] = field(default_factory=set)
    _number: int = 0

    def audit(self, change: Change) -> None:
        """See a write, as its watches do."""
        if change.id[0] == "deployments" and change.actor != CONTROLLER:
            self.want(change.id)

    def pod_changed(self, pod: Pod) -> None:
        """See a pod change."""
        self.want(("deployments", pod.namespace, pod.release.app))

    def want(self, id_: Id) -> None:
        """Look at a Deployment in a moment."""
        if id_ not in self._due:
            self._due.add(id_)
            self.loop.after(self.dice.uniform(0.01, 0.1) + self.stall(), self._sync, id_)

    def _sync(self, id_: Id) -> None:
        self._due.discard(id_)
        raw = self.server.read(id_)
        if raw is None or raw["metadata"].get("deletionTimestamp"):
            self._orphans(id_)
            return
        self._orphans(id_, raw["metadata"]["uid"])
        sets = self.sets_of(raw)
        has_scaled = False
        if not raw["spec"].get("paused"):
            new = self._new_set(raw, sets)
            sets = self.sets_of(raw)
            has_scaled = self._roll(raw, new, sets)
        for one in sets:
            self._populate(raw, one)
        self._prune(raw, sets)
        self._status(id_, raw)
        if has_scaled:
            self.want(id_)

    # -- ReplicaSets -------------------------------------------------------------------------------

    def sets_of(self, raw: Raw) -> list[Raw]:
        """Give a Deployment's ReplicaSets, the oldest revision first."""
        uid = raw["metadata"]["uid"]
        found = [
            one
            for one in self.server.listed("replicasets")
            if one["metadata"]["ownerReferences"][0]["uid"] == uid
        ]
        return sorted(found, key=_revision)

    def _new_set(self, raw: Raw, sets: list[Raw]) -> Raw:
        wanted = pod_hash(raw["spec"]["template"])
        newest = max(map(_revision, sets), default=0)
        found = next((one for one in sets if one["metadata"]["labels"][HASH] == wanted), None)
        if found is None:
            found = self._made(raw, wanted, newest + 1)
        elif _revision(found) < newest:
            found["metadata"]["annotations"][REVISION] = str(newest + 1)
            self._write(found)
        # As it does with each annotation: it copies and never takes away.
        said, known = raw["metadata"]["annotations"], found["metadata"]["annotations"]
        if CHANGE_CAUSE in said and known.get(CHANGE_CAUSE) != said[CHANGE_CAUSE]:
            known[CHANGE_CAUSE] = said[CHANGE_CAUSE]
            self._write(found)
        number = str(_revision(found))
        if raw["metadata"]["annotations"].get(REVISION) != number:
            raw["metadata"]["annotations"][REVISION] = number
        return found

    def old_set(self, raw: Raw, release: Release, number: int, created: str) -> None:
        """Make the ReplicaSet of what a Deployment ran before."""
        before = {**raw, "spec": {**raw["spec"], "template": release.template}}
        made = self._made(before, pod_hash(release.template), number)
        made["metadata"]["creationTimestamp"] = created
        self._write(made)

    def first_set(self, raw: Raw, created: str) -> Raw:
        """Make the ReplicaSet of a Deployment that has been there for long."""
        made = self._made(raw, pod_hash(raw["spec"]["template"]), _revision(raw))
        made["metadata"]["creationTimestamp"] = created
        made["spec"]["replicas"] = raw["spec"]["replicas"]
        self._write(made)
        return made

    def _made(self, raw: Raw, hash_: str, number: int) -> Raw:
        metadata, template = raw["metadata"], json.loads(json.dumps(raw["spec"]["template"]))
        template["metadata"]["labels"][HASH] = hash_
        owner = {"kind": "Deployment", "name": metadata["name"], "uid": metadata["uid"]}
        return self.server.make(
            CONTROLLER,
            "replicasets",
            {
                "metadata": {
                    "name": f"{metadata['name']}-{hash_}",
                    "namespace": metadata["namespace"],
                    "labels": {"app": metadata["name"], HASH: hash_},
                    "annotations": {REVISION: str(number)},
                    "ownerReferences": [{**owner, "controller": True}],
                },
                "spec": {"replicas": 0, "template": template},
            },
        )

    def _write(self, replica_set: Raw) -> None:
        metadata = replica_set["metadata"]
        id_ = "replicasets", metadata["namespace"], metadata["name"]
        self.server.write(CONTROLLER, id_, replica_set)

    def _scale(self, replica_set: Raw, replicas: int) -> bool:
        if replica_set["spec"]["replicas"] == replicas:
            return False
        replica_set["spec"]["replicas"] = replicas
        self._write(replica_set)
        return True

    def _prune(self, raw: Raw, sets: list[Raw]) -> None:
        wanted = pod_hash(raw["spec"]["template"])
        old = [
            one
            for one in sets
            if one["metadata"]["labels"][HASH] != wanted
            and not one["spec"]["replicas"]
            and not self.pods_of(one)
        ]
        for one in old[: max(0, len(old) - raw["spec"].get("revisionHistoryLimit", 10))]:
            metadata = one["metadata"]
            self.server.delete(CONTROLLER, ("replicasets", metadata["namespace"], metadata["name"]))

    # -- a rolling update --------------------------------------------------------------------------

    def _roll(self, raw: Raw, new: Raw, sets: list[Raw]) -> bool:
        replicas = raw["spec"]["replicas"]
        surge, unavailable = bounds(raw)
        name = new["metadata"]["name"]
        new = next(one for one in sets if one["metadata"]["name"] == name)
        old = [one for one in sets if one is not new]
        total = sum(one["spec"]["replicas"] for one in sets)
        count = new["spec"]["replicas"]
        if count > replicas:
            return self._scale(new, replicas)
        increase = min(replicas + surge - total, replicas - count)
        if increase > 0:
            return self._scale(new, count + increase)
        least = replicas - unavailable
        missing = count - self._available(new)
        left = total - least - missing
        if left <= 0:
            return False
        has_scaled = False
        for one in old:
            unhealthy = one["spec"]["replicas"] - self._available(one)
            cut = min(left, unhealthy)
            if cut > 0:
                has_scaled |= self._scale(one, one["spec"]["replicas"] - cut)
                left -= cut
        spare = sum(map(self._available, sets)) - least
        for one in old:
            cut = min(spare, one["spec"]["replicas"])
            if cut > 0:
                has_scaled |= self._scale(one, one["spec"]["replicas"] - cut)
                spare -= cut
        return has_scaled

    def _available(self, replica_set: Raw) -> int:
        found = sum(pod.serves for pod in self.pods_of(replica_set))
        return min(found, int(replica_set["spec"]["replicas"]))

    # -- pods --------------------------------------------------------------------------------------

    def pods_of(self, replica_set: Raw) -> list[Pod]:
        """Give a ReplicaSet's pods, those that are being ended left out."""
        uid = replica_set["metadata"]["uid"]
        pods = self.kubelet.pods.values()
        return [pod for pod in pods if pod.owner["uid"] == uid and not pod.is_leaving]

    def _populate(self, raw: Raw, replica_set: Raw) -> None:
        pods, wanted = self.pods_of(replica_set), replica_set["spec"]["replicas"]
        for _ in range(wanted - len(pods)):
            self.kubelet.add(self.new_pod(replica_set))
        # Who is not ready goes first, then who has come last.
        going = sorted(pods, key=lambda pod: (pod.is_ready, -pod.started_at))
        for pod in going[: max(0, len(pods) - wanted)]:
            self.kubelet.remove(pod)

    def new_pod(self, replica_set: Raw) -> Pod:
        """Make a pod of a ReplicaSet's template."""
        metadata = replica_set["metadata"]
        self._number += 1
        return Pod(
            name=f"{metadata['name']}-{self._number:05d}",
            namespace=metadata["namespace"],
            address=self.kubelet.address(),
            release=self.release_of(replica_set["spec"]["template"]),
            owner={"name": metadata["name"], "uid": metadata["uid"]},
            hash=metadata["labels"][HASH],
            created=self.server.now(),
        )

    def _orphans(self, id_: Id, uid: str = "") -> None:
        """End what belonged to a Deployment that is gone, also where one of its name is there."""
        for one in list(self.server.listed("replicasets")):
            metadata = one["metadata"]
            owner = metadata["ownerReferences"][0]
            if owner["name"] == id_[2] and owner["uid"] != uid:
                for pod in self.pods_of(one):
                    self.kubelet.remove(pod)
                self.server.delete(CONTROLLER, ("replicasets", id_[1], metadata["name"]))

    # -- status ------------------------------------------------------------------------------------

    def _status(self, id_: Id, raw: Raw) -> None:
        sets = self.sets_of(raw)
        self._counts(sets)
        wanted = pod_hash(raw["spec"]["template"])
        pods = {one["metadata"]["labels"][HASH]: self.pods_of(one) for one in sets}
        updated = len(pods.get(wanted, []))
        total = sum(map(len, pods.values()))
        available = sum(pod.serves for each in pods.values() for pod in each)
        status: dict[str, Any] = {
            "observedGeneration": raw["metadata"]["generation"],
            "replicas": total,
            "updatedReplicas": updated,
            "availableReplicas": available,
        }
        replicas = raw["spec"]["replicas"]
        is_complete = updated == replicas == total == available
        known = (raw.get("status") or {}).get("conditions") or []
        reason = "NewReplicaSetAvailable" if is_complete else "ReplicaSetUpdated"
        same = known and known[0]["reason"] == reason
        since = known[0]["lastUpdateTime"] if same else self.server.now()
        progressing = {"type": "Progressing", "status": "True", "reason": reason}
        serves = "True" if available >= replicas - bounds(raw)[1] else "False"
        same = len(known) > 1 and known[1]["status"] == serves
        changed = known[1]["lastTransitionTime"] if same else self.server.now()
        status["conditions"] = [
            {**progressing, "lastUpdateTime": since},
            {"type": "Available", "status": serves, "lastTransitionTime": changed},
        ]
        self.server.write(CONTROLLER, id_, {**raw, "status": status})

    def _counts(self, sets: list[Raw]) -> None:
        """Show how many pods each ReplicaSet has: one that serves is told by it."""
        for one in sets:
            pods = self.pods_of(one)
            ready = sum(pod.is_ready for pod in pods)
            status = {"replicas": len(pods), "readyReplicas": ready}
            if one.get("status") != status:
                self._write({**one, "status": status})


def bounds(raw: Raw) -> tuple[int, int]:
    """Give maxSurge and maxUnavailable of a Deployment in pods."""
    rolling = (raw["spec"].get("strategy") or {}).get("rollingUpdate") or {}
    replicas = raw["spec"]["replicas"]
    surge = _share(rolling.get("maxSurge", "25%"), replicas, math.ceil)
    unavailable = _share(rolling.get("maxUnavailable", "25%"), replicas, math.floor)
    return surge, unavailable if surge or unavailable else 1


def _share(value: Any, replicas: int, rounded: Callable[[float], int]) -> int:
    text = str(value)
    return rounded(int(text[:-1]) * replicas / 100) if text.endswith("%") else int(text)


def _revision(replica_set: Raw) -> int:
    return int(replica_set["metadata"]["annotations"][REVISION])
