"""What people do to the cluster while the operators are at work."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from bench.simulation.loop import VirtualLoop
from bench.simulation.network import Trace
from bench.simulation.releases import Release
from bench.simulation.scenario import APP, NAMESPACE, OPERATORS, Act, Cue, Deed, Reflex
from bench.simulation.server import Change, Id, Raw, Request, Server
from bench.simulation.tenants import DEPLOYMENT, POLICY, USER, Tenants
from rollback_operator.adapters.kube.projections.deployments import REVISION_ANNOTATION, is_held
from rollback_operator.adapters.kube.projections.templates import template_of
from rollback_operator.api.v1alpha1 import API_VERSION

HELD_SECONDS = 5.0
"""Between two tries to make a policy anew whose finalizer is still on."""


@dataclass
class People:
    """Whoever releases, reverts, suspends, deletes."""

    loop: VirtualLoop
    server: Server
    dice: random.Random
    trace: Trace
    releases: dict[str, Release]
    """All that were ever rolled out, by the digest of their template."""
    spec: Mapping[str, Any]
    """Of the policy."""
    first: Release
    """What they go back to by hand."""
    reflex: Reflex | None = None
    tenants: Tenants | None = None
    """Those who do what is more than to release."""
    last: float = 0.0
    """When the latest deed is done of those that were not drawn for a time."""
    healthy: int = 0
    """Healthy releases that they have rolled out."""
    spoiled: set[int] = field(default_factory=set)
    """Versions that fail by now, whatever they were."""
    _asked: int = 0

    def policy(self, created: str) -> Raw:
        """Write a policy."""
        metadata = {"name": APP, "namespace": NAMESPACE, "creationTimestamp": created}
        return {
            "apiVersion": API_VERSION,
            "kind": "RollbackPolicy",
            "metadata": metadata,
            "spec": dict(self.spec),
        }

    def see(self, change: Change) -> None:
        """See a write, and react to it."""
        if self.reflex is not None and change.actor in OPERATORS and _is(change, self.reflex.cue):
            self._react(self.reflex)

    def sent(self, request: Request) -> None:
        """Happen to act while an operator's call is on its way."""
        if self.reflex is not None and self.reflex.cue is Cue.SENT and _is_undo(request):
            self._react(self.reflex)

    def _react(self, reflex: Reflex) -> None:
        self.reflex = None
        seconds = self.dice.uniform(0.0, reflex.within)
        self.last = self.loop.time() + seconds
        deed = Deed(self.last, reflex.act, reflex.release, reflex.value)
        self.loop.after(seconds, self.do, deed)
        if (then := reflex.then) is not None:
            self.last += then.at
            self.loop.after(seconds + then.at, self.do, replace(then, at=self.last))

    def do(self, deed: Deed) -> None:
        """Do what was drawn."""
        self.trace.note(f"user: {deed.act} {deed.release or ''}")
        newest = list(self.releases.values())[-1]
        match deed.act:
            case Act.RELEASE if deed.release is not None:
                self.roll_out(deed.release)
            case Act.REVERT:
                self.roll_out(self.first)
            case Act.RELEASE_AGAIN:
                self.roll_out(newest)
            case Act.RESTART:
                self._restart()
            case Act.ASK:
                self._ask()
            case Act.SPOIL:
                self.spoiled.add(self.first.version)
            case Act.SUSPEND | Act.RESUME:
                self._set(POLICY, "suspend", deed.act is Act.SUSPEND)
            case Act.PAUSE | Act.LIFT:
                self._set(DEPLOYMENT, "paused", deed.act is Act.PAUSE)
            case _:
                self._delete(deed)

    def _delete(self, deed: Deed) -> None:
        match deed.act:
            case Act.DELETE_POLICY:
                self.server.delete(USER, POLICY)
            case Act.DELETE_TARGET:
                self.server.delete(USER, DEPLOYMENT)
            case Act.DELETE_ROLLBACK:
                for one in list(self.server.listed("rollbacks"))[-1:]:
                    self.server.delete(USER, ("rollbacks", NAMESPACE, one["metadata"]["name"]))
            case Act.REMAKE_POLICY:
                self.server.delete(USER, POLICY)
                self.loop.after(self.dice.uniform(0.5, HELD_SECONDS), self._remake)
            case _ if self.tenants is not None:
                self.tenants.do(deed)

    def _ask(self) -> None:
        self._asked += 1
        to = self.dice.choice(("Previous", "LastKnownGood"))
        metadata = {"name": f"by-hand-{self._asked}", "namespace": NAMESPACE}
        spec: Raw = {"policyRef": {"name": APP}, "remedy": {"type": "Undo", "to": to}}
        raw = {"apiVersion": API_VERSION, "kind": "Rollback", "metadata": metadata}
        spec |= {"reason": "it was drawn", "seen": self._seen()}
        self.server.make(USER, "rollbacks", {**raw, "spec": spec})

    def _seen(self) -> dict[str, Any]:
        """Say what runs as this person asks."""
        raw = self.server.read(DEPLOYMENT)
        if raw is None:
            return {"deployment": APP, "revision": 1, "digest": "none"}
        number = (raw["metadata"].get("annotations") or {}).get(REVISION_ANNOTATION, "1")
        digest = template_of(raw["spec"]["template"]).digest
        return {"deployment": APP, "revision": int(number), "digest": digest}

    def _remake(self) -> None:
        if self.server.read(POLICY) is not None:
            self.loop.after(HELD_SECONDS, self._remake)
        else:
            self.server.make(USER, POLICY[0], self.policy(self.server.now()))

    def roll_out(self, release: Release) -> None:
        """Apply a template."""
        self.releases.setdefault(release.digest, release)
        raw = self.server.read(DEPLOYMENT)
        if raw is not None and template_of(raw["spec"]["template"]).digest != release.digest:
            self.healthy += not release.is_bad
            raw["spec"]["template"] = release.template
            self.server.write(USER, DEPLOYMENT, raw)

    def _restart(self) -> None:
        raw = self.server.read(DEPLOYMENT)
        if raw is not None:
            running = self.releases[template_of(raw["spec"]["template"]).digest]
            self.roll_out(replace(running, restart=running.restart + 1))

    def _set(self, id_: Id, name: str, value: bool) -> None:
        raw = self.server.read(id_)
        if raw is None or bool(raw["spec"].get(name)) == value:
            return
        raw["spec"][name] = value
        if name == "paused" and value:
            owned: Raw = {"f:spec": {"f:paused": {}}}
            raw["metadata"]["managedFields"] = [{"manager": "kubectl", "fieldsV1": owned}]
        elif name == "paused":
            del raw["spec"]["paused"]
            raw["metadata"]["managedFields"] = []
        self.server.write(USER, id_, raw)


def _is(change: Change, cue: Cue) -> bool:
    """Tell whether a write is what somebody reacts to."""
    before, after = change.before, change.after
    match cue, change.id[0]:
        case Cue.INTENT, "rollbacks":
            return before is None
        case Cue.HELD, "deployments" if before and after:
            return is_held(after) and not is_held(before)
        case Cue.UNDONE, "deployments" if before and after:
            templates = (template_of(one["spec"]["template"]).digest for one in (before, after))
            return len(set(templates)) > 1
        case _:
            return False


def _is_undo(request: Request) -> bool:
    if request.method != "PATCH" or "/deployments/" not in request.path:
        return False
    return any(one["op"] != "test" and one["path"] == "/spec/template" for one in request.body)
