"""What people and tenants do to policies, requests, ReplicaSets and records."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from bench.simulation.actors import OTHER, merged
from bench.simulation.loop import VirtualLoop
from bench.simulation.releases import Release
from bench.simulation.scenario import APP, NAMESPACE, Act, Deed
from bench.simulation.server import Id, Raw, Server
from rollback_operator.adapters.kube.projections.templates import template_of, without_pod_hash
from rollback_operator.api.v1alpha1 import API_VERSION

USER = "user"
DEPLOYMENT: Id = "deployments", NAMESPACE, APP
POLICY: Id = "rollbackpolicies", NAMESPACE, APP
SECOND: Id = "rollbackpolicies", NAMESPACE, f"{APP}-too"
RECORDS = ("rollbackpolicies", "rollbacks")
CONFIG: tuple[Id, ...] = (
    ("configmaps", NAMESPACE, f"{APP}-config"),
    ("secrets", NAMESPACE, f"{APP}-keys"),
)
REMADE = (1.0, 20.0)
"""Seconds between a Deployment's deletion and the next of its name."""


@dataclass
class Tenants:
    """Whoever edits, breaks, loses, restores."""

    loop: VirtualLoop
    server: Server
    dice: random.Random
    spec: Mapping[str, Any]
    """Of the policy, as it was at first."""
    roll_out: Callable[[Release], None]
    release_of: Callable[[Raw], Release]
    sets: list[Raw] = field(default_factory=list)
    """ReplicaSets that are lost."""
    saved: list[tuple[Id, str]] = field(default_factory=list)
    """The backup."""
    restored: set[str] = field(default_factory=set)
    """Names of Rollbacks that a restore has put back as going on."""

    def do(self, deed: Deed) -> None:
        """Do what was drawn, where it can be done."""
        match deed.act:
            case Act.EDIT:
                self._spec(self.spec if deed.value is None else merged(self.spec, deed.value))
            case Act.BREAK | Act.MEND:
                self._break(deed)
            case Act.RETARGET | Act.TARGET_BACK:
                name = OTHER if deed.act is Act.RETARGET else APP
                self._spec(merged(self.spec, {"targetRef": {"name": name}}))
            case Act.SECOND_POLICY:
                self._second()
            case Act.TRUST:
                self._trust()
            case Act.UNDO_ALONE:
                self._undo()
            case Act.SCALE:
                self._deployment({"replicas": deed.value})
            case Act.STRATEGY:
                surge = int(deed.value) if deed.value.isdecimal() else deed.value
                rolling = {"maxSurge": surge, "maxUnavailable": 1}
                strategy = {"type": "RollingUpdate", "rollingUpdate": rolling}
                self._deployment({"strategy": strategy})
            case Act.APPROVE | Act.REJECT:
                self._decide("Approve" if deed.act is Act.APPROVE else "Reject")
            case _:
                self._lose(deed)

    def _lose(self, deed: Deed) -> None:
        match deed.act:
            case Act.LOSE_CONFIG:
                for id_ in CONFIG:
                    self.server.delete(USER, id_)
            case Act.BRING_CONFIG:
                self.bring_config()
            case Act.LOSE_SETS:
                self._lose_sets()
            case Act.BRING_SETS:
                self._bring_sets()
            case Act.REMAKE_TARGET:
                self._remake_target()
            case Act.BACK_UP:
                kept = (*RECORDS, "deployments")
                texts = self.server.texts.items()
                self.saved = [(id_, text) for id_, text in texts if id_[0] in kept]
            case Act.RESTORE | Act.RESTORE_ANEW:
                self._restore(deed.act is Act.RESTORE_ANEW, bool(deed.value))
            case other:
                raise NotImplementedError(other)

    # -- policies ----------------------------------------------------------------------------------

    def _spec(self, spec: Mapping[str, Any]) -> None:
        raw = self.server.read(POLICY)
        if raw is not None:
            self.server.write(USER, POLICY, {**raw, "spec": dict(spec)})

    def _break(self, deed: Deed) -> None:
        raw = self.server.read(POLICY)
        if raw is not None and deed.act is Act.BREAK:
            self._spec(merged(raw["spec"], deed.value))
        elif raw is not None:
            self._spec(self.spec)

    def _trust(self) -> None:
        """Trust what the policy's status says was found bad, as kubectl rollback trust does."""
        raw = self.server.read(POLICY)
        if raw is None:
            return
        given = [
            {
                "release": one["release"],
                "revision": one["number"],
                "reason": "it was the weather",
                "by": "on-call",
                "time": self.server.now(),
            }
            for one in (raw.get("status") or {}).get("revisions") or []
            if one.get("condemned")
        ]
        self._spec({**raw["spec"], "trust": given})

    def _second(self) -> None:
        if self.server.read(SECOND) is not None:
            self.server.delete(USER, SECOND)
            return
        metadata = {"name": SECOND[2], "namespace": NAMESPACE}
        raw = {"apiVersion": API_VERSION, "kind": "RollbackPolicy", "metadata": metadata}
        spec = json.loads(json.dumps(self.spec))
        self.server.make(USER, SECOND[0], {**raw, "spec": spec})

    # -- the Deployment and what it needs ----------------------------------------------------------

    def _deployment(self, changes: Mapping[str, Any]) -> None:
        raw = self.server.read(DEPLOYMENT)
        if raw is not None:
            self.server.write(USER, DEPLOYMENT, {**raw, "spec": {**raw["spec"], **changes}})

    def _undo(self) -> None:
        """Go back to the newest older revision, whatever it is."""
        raw = self.server.read(DEPLOYMENT)
        if raw is None:
            return
        now = template_of(raw["spec"]["template"]).digest
        older = [
            one
            for one in self._sets(raw["metadata"]["uid"])
            if template_of(one["spec"]["template"]).digest != now
        ]
        if older:
            self.roll_out(self.release_of(without_pod_hash(older[-1]["spec"]["template"])))

    def _sets(self, uid: str) -> list[Raw]:
        found = [
            one
            for one in self.server.listed("replicasets")
            if one["metadata"]["ownerReferences"][0]["uid"] == uid
        ]
        number = "deployment.kubernetes.io/revision"
        return sorted(found, key=lambda one: int(one["metadata"]["annotations"][number]))

    def bring_config(self) -> None:
        """Make the ConfigMap and the Secret, where they are not there."""
        for plural, namespace, name in CONFIG:
            raw: Raw = {"metadata": {"name": name, "namespace": namespace}, "data": {"MODE": "b"}}
            if self._is_missing(plural, raw):
                self.server.make(USER, plural, raw)

    def _lose_sets(self) -> None:
        raw = self.server.read(DEPLOYMENT)
        for one in [] if raw is None else self._sets(raw["metadata"]["uid"]):
            if not one["spec"]["replicas"]:
                kept = ("name", "namespace", "labels", "annotations", "ownerReferences")
                metadata = {name: one["metadata"][name] for name in kept}
                self.sets.append({"metadata": metadata, "spec": one["spec"]})
                self.server.delete(USER, ("replicasets", NAMESPACE, metadata["name"]))

    def _bring_sets(self) -> None:
        for raw in self.sets:
            if self._is_missing("replicasets", raw):
                self.server.make(USER, "replicasets", raw)
        self.sets = []

    def _is_missing(self, plural: str, raw: Raw) -> bool:
        return self.server.read((plural, NAMESPACE, raw["metadata"]["name"])) is None

    def _remake_target(self) -> None:
        raw = self.server.read(DEPLOYMENT)
        if raw is not None:
            self.server.delete(USER, DEPLOYMENT)
            spec = {key: value for key, value in raw["spec"].items() if key != "paused"}
            self.loop.after(self.dice.uniform(*REMADE), self._make_target, spec)

    def _make_target(self, spec: Raw) -> None:
        if self.server.read(DEPLOYMENT) is None:
            metadata = {"name": APP, "namespace": NAMESPACE, "annotations": {}}
            self.server.make(USER, "deployments", {"metadata": metadata, "spec": spec})

    # -- approvals ---------------------------------------------------------------------------------

    def _decide(self, decision: str) -> None:
        """Decide on the plan of the newest Rollback that goes on, once, as admission allows."""
        going_on = [
            rollback
            for rollback in self.server.listed("rollbacks")
            if "outcome" not in (rollback.get("status") or {})
        ]
        for rollback in going_on[-1:]:
            digest = (rollback.get("status") or {}).get("planDigest")
            earlier = rollback["spec"].get("approval") or {}
            if not digest or earlier.get("planDigest") == digest:
                continue
            approval = {"decision": decision, "by": "on-call", "planDigest": digest}
            fields: Raw = {"f:spec": {"f:approval": {f"f:{name}": {} for name in approval}}}
            entry = {"manager": "kubectl", "time": self.server.now(), "fieldsV1": fields}
            metadata = {**rollback["metadata"], "managedFields": [entry]}
            spec = {**rollback["spec"], "approval": approval}
            id_ = "rollbacks", NAMESPACE, rollback["metadata"]["name"]
            self.server.write(USER, id_, {**rollback, "metadata": metadata, "spec": spec})

    # -- a backup ----------------------------------------------------------------------------------

    def _restore(self, is_anew: bool, is_whole: bool) -> None:
        """Put the records of an earlier moment back.

        Args:
            is_anew: under new uids, as a tool does that makes objects from files.
            is_whole: with what ran then; and records of what came after are gone.
        """
        if is_whole:
            for id_, _ in self._newer():
                self._drop(id_)
            self._restore_template(is_anew)
        for id_, text in self.saved:
            if id_[0] in RECORDS:
                self._put_back(id_, json.loads(text), is_anew)

    def _newer(self) -> Iterator[tuple[Id, str]]:
        known = {id_ for id_, _ in self.saved}
        for id_, text in list(self.server.texts.items()):
            if id_[0] in RECORDS and id_ not in known:
                yield id_, text

    def _put_back(self, id_: Id, raw: Raw, is_anew: bool) -> None:
        self._drop(id_)
        if is_anew:
            del raw["metadata"]["uid"]
            raw["metadata"]["creationTimestamp"] = self.server.now()
        if id_[0] == "rollbacks" and "outcome" not in (raw.get("status") or {}):
            self.restored.add(id_[2])
        self.server.make(USER, id_[0], raw)

    def _drop(self, id_: Id) -> None:
        """Remove an object whatever holds it: what is restored knows no finalizers."""
        raw = self.server.read(id_)
        if raw is not None:
            raw["metadata"]["finalizers"] = []
            self.server.write(USER, id_, raw)
            self.server.delete(USER, id_)

    def _restore_template(self, is_anew: bool) -> None:
        for id_, text in self.saved:
            if id_ != DEPLOYMENT:
                continue
            if is_anew:
                self.server.delete(USER, DEPLOYMENT)
                spec = json.loads(text)["spec"]
                spec.pop("paused", None)
                self.loop.after(self.dice.uniform(*REMADE), self._make_target, spec)
            else:
                self.roll_out(self.release_of(json.loads(text)["spec"]["template"]))
