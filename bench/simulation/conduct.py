"""Rules on what operators may write, on requests, approvals, holds, passes and rest.

`audit` holds releases and rollbacks against the truth; here is what holds whatever the truth is.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from bench.simulation.audit import BY_HAND, EPOCH, SLACK
from bench.simulation.operators import Pass
from bench.simulation.releases import Release
from bench.simulation.scenario import APP, NAMESPACE, OPERATORS
from bench.simulation.server import Change, Raw, Request, Server
from rollback_operator.adapters.kube.projections.deployments import REVISION_ANNOTATION, is_held
from rollback_operator.remedies.change_cause import own

EXPIRY = 600.0
"""Seconds after which a request that nobody has planned is refused."""
LONGEST_PASS = 60.0
"""Seconds within which a pass ends where the API server answers."""
EACH_CALL = 11.0
"""Seconds that a call to a server which does not answer takes at most."""
MOST_CALLS = 16
"""Calls that a pass makes to it one after the other at most."""
ANSWERED = 30.0
"""Seconds within which a request is planned or refused where the API server answers."""
REST = 40.0
"""Seconds for which is looked whether anything is written when all is over."""
AT_REST = 4
"""Writes within them that are no more than what time brings about: a release has become good."""
TOLD_OF_BAD = 6
"""Writes more where a bad release runs: its verdict, and the telling of it."""
_ACTS = ("DisableFlag", "RestartPods", "Undo", "PinImage", "Scale")
_CAUSE = "/metadata/annotations/kubernetes.io~1change-cause"
_OWN = re.compile(
    rf"/(api/v1/namespaces/{NAMESPACE}/events"
    r"|apis/coordination\.k8s\.io/v1/namespaces/[a-z0-9-]+/leases(/[a-z0-9-]+)?"
    rf"|apis/rollback\.tickettoken\.io/v1alpha1/namespaces/{NAMESPACE}"
    r"/(rollbackpolicies/[a-z0-9-]+(/status)?|rollbacks(/[a-z0-9-]+(/status)?)?)"
    rf"|apis/apps/v1/namespaces/{NAMESPACE}/deployments/(?P<target>[a-z0-9-]+))"
)
"""Paths that an operator may write to."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, and what its author saw."""

    at: float
    uid: str
    """Of the Deployment."""
    digest: str
    """Of the template that ran, as it was rolled out first; empty: nothing ran."""
    release: Release | None


@dataclass
class Conduct:
    """Sees calls, writes and passes."""

    server: Server
    now: Callable[[], float]
    broke: Callable[[str], None]
    release_of: Callable[[Raw], Release]
    restored: set[str] = field(default_factory=set)
    """Rollbacks that a restore has put back as going on."""
    answers_soon: bool = False
    """Nothing keeps operators from answering a request."""
    is_reachable: bool = True
    """No fault keeps operators from the API server."""
    idle: float = 0.0
    """Seconds for which an operator may have been stopped in the midst of a pass."""
    asked: dict[str, Asked] = field(default_factory=dict)
    lifted: set[str] = field(default_factory=set)
    """Templates whose hold people have lifted, by uid and digest."""
    passes: int = 0
    longest: float = 0.0
    writes: int = 0
    """Since all is over."""
    is_over: bool = False
    is_stirred: bool = False
    """Something has happened since: a rollback was stored, or somebody has changed a spec."""

    # -- writes ------------------------------------------------------------------------------------

    def sent(self, name: str, request: Request) -> None:
        """Hold a call against what an operator may write."""
        if request.method == "GET":
            return
        path = _OWN.fullmatch(request.path)
        if path is None:
            self.broke(f"{name} writes to {request.path}")
        elif (
            path["target"] is not None
            and path["target"] not in self._targets()
            and not _puts_back(request.body)
        ):
            self.broke(f"{name} writes to {path['target']}, which no policy names")
        if self.is_over and "/leases" not in request.path:
            self.writes += 1

    def _targets(self) -> set[str]:
        """Name the Deployments that policies or open Rollbacks name, or are held for."""
        found = set()
        for one in self.server.listed("rollbackpolicies"):
            found.add((one["spec"].get("targetRef") or {}).get("name", APP))
            found.add(((one.get("status") or {}).get("hold") or {}).get("deployment", APP))
        plans = ((one.get("status") or {}).get("plan") for one in self.server.listed("rollbacks"))
        specs = [one["spec"] for one in self.server.listed("rollbacks")]
        for plan in (*plans, *specs):
            found.add(((plan or {}).get("targetRef") or {}).get("name", APP))
        return found

    def see(self, change: Change) -> None:
        """Hold a write against the rules."""
        self.is_stirred |= self.is_over and _stirs(change)
        match change.id[0]:
            case "rollbacks" if change.before is None and change.actor not in OPERATORS:
                if change.id[2].startswith(BY_HAND) and change.id[2] not in self.asked:
                    self.asked[change.id[2]] = self._seen()
            case "rollbacks" if change.before is None and change.after is not None:
                self._decided(change.id[2], change.after["spec"])
            case "rollbacks" if change.after is not None and change.actor in OPERATORS:
                self._answered(change.id[2], change.before, change.after)
            case "deployments" if change.before is not None and change.after is not None:
                self._paused(change, change.before, change.after)
                self._changed(change, change.before, change.after)

    def _decided(self, name: str, spec: Raw) -> None:
        """Hold an intent against those on record: one decision for one revision.

        What has ended before it changed anything may be tried again, under the next number.
        """
        for one in self.server.listed("rollbacks"):
            known = one["spec"]
            is_next = spec.get("attempt", 1) > known.get("attempt", 1) and _is_unbegun(one)
            is_same = one["metadata"]["name"] != name and _decision(known) == _decision(spec)
            if is_same and not is_next:
                self.broke(f"{name} and {one['metadata']['name']} decide on one revision")

    # -- people's changes --------------------------------------------------------------------------

    def _paused(self, change: Change, before: Raw, after: Raw) -> None:
        was, now = before["spec"].get("paused", False), after["spec"].get("paused", False)
        if was == now:
            return
        key = before["metadata"]["uid"] + self.release_of(after["spec"]["template"]).digest
        if change.actor not in OPERATORS:
            if is_held(before) and not now:
                self.lifted.add(key)
        elif now and key in self.lifted:
            self.broke("held again after a person has lifted the pause")
        elif was and not is_held(before):
            self.broke("a person's pause was lifted")

    def _changed(self, change: Change, before: Raw, after: Raw) -> None:
        """Let operators change the template, the pause and the bounds of rolling updates only."""
        if before["spec"]["template"] != after["spec"]["template"]:
            gone = self.release_of(before["spec"]["template"]).digest
            self.lifted.discard(before["metadata"]["uid"] + gone)
        if change.actor not in OPERATORS:
            return
        names = {*before["spec"], *after["spec"]} - {"template", "paused", "strategy"}
        for name in sorted(names):
            if before["spec"].get(name) != after["spec"].get(name):
                self.broke(f"{change.actor} has changed spec.{name}")
        if before["spec"]["template"] != after["spec"]["template"]:
            self._undone(before)

    def _undone(self, before: Raw) -> None:
        """Hold an undo against what people have decided, and against a restore."""
        source = self.release_of(before["spec"]["template"]).digest
        for one in self.server.listed("rollbacks"):
            status = one.get("status") or {}
            plan = status.get("plan") or one["spec"]
            undo = [step for step in status.get("steps") or [] if step["name"] == "Undo"]
            if "outcome" in status or not undo or "finishedTime" in undo[0]:
                continue
            if (plan.get("fromRevision") or {}).get("digest") != source:
                continue
            name = one["metadata"]["name"]
            number = int(before["metadata"].get("annotations", {}).get(REVISION_ANNOTATION, 0))
            is_other = number != (plan.get("fromRevision") or {}).get("number")
            # Where the rollout that it was decided on is there, nothing tells that it was away.
            if name in self.restored and is_other:
                self.broke(f"{name} is from a backup, and was carried out")
            self._approved(name, one["spec"].get("approval") or {}, status)

    def _approved(self, name: str, approval: Raw, status: Raw) -> None:
        digest = status.get("planDigest")
        is_it = digest and approval.get("planDigest") == digest
        if is_it and approval["decision"] == "Reject":
            self.broke(f"{name} was rejected, and was carried out")

    # -- requests ----------------------------------------------------------------------------------

    def _seen(self) -> Asked:
        raw = self.server.read(("deployments", NAMESPACE, APP))
        if raw is None:
            return Asked(self.now(), "", "", None)
        release = self.release_of(raw["spec"]["template"])
        return Asked(self.now(), raw["metadata"]["uid"], release.unrestarted.digest, release)

    def _answered(self, name: str, before: Raw | None, after: Raw) -> None:
        asked, status = self.asked.get(name), after.get("status") or {}
        was = (before or {}).get("status") or {}
        if asked is None or was.get("plan") or "outcome" in was:
            return
        plan = status.get("plan")
        seconds = self.now() - asked.at
        if (plan or "outcome" in status) and self.answers_soon and seconds > ANSWERED:
            self.broke(f"{name} is answered after {seconds:.0f} s, at most {ANSWERED:.0f} s")
        if plan is None:
            return
        if seconds > EXPIRY + SLACK:
            self.broke(f"{name} is planned {seconds:.0f} s after it was asked for")
        if plan["targetRef"]["uid"] != asked.uid:
            self.broke(f"{name} acts on a Deployment that its author did not see")
            return
        known = {one.digest: one for one in self._releases()}
        source = known.get(plan["fromRevision"]["digest"])
        if source is not None and source.unrestarted.digest != asked.digest:
            self.broke(f"{name} acts on v{source.version}, its author saw v{_version(asked)}")
        self._has_policy(name, plan, asked)

    def _has_policy(self, name: str, plan: Raw, asked: Asked) -> None:
        raw = self.server.read(("rollbackpolicies", NAMESPACE, plan["policyRef"]["name"]))
        if raw is None:
            return
        made = datetime.fromisoformat(raw["metadata"]["creationTimestamp"]).timestamp() - EPOCH
        if made > asked.at + SLACK:
            self.broke(f"{name} is done for a policy that was made after it")

    def _releases(self) -> list[Release]:
        return [self.release_of(one["spec"]["template"]) for one in self._templates()]

    def _deployments(self) -> list[Raw]:
        return [one for one in self.server.listed("deployments") if one["metadata"]["name"] == APP]

    def _templates(self) -> list[Raw]:
        return self._deployments() + [
            {"spec": {"template": _unhashed(one["spec"]["template"])}}
            for one in self.server.listed("replicasets")
        ]

    # -- passes ------------------------------------------------------------------------------------

    def passed(self, one: Pass) -> None:
        """Hold a pass against its bound."""
        self.passes += 1
        self.longest = max(self.longest, one.seconds)
        if one.raised:
            self.broke(f"a pass has raised {one.raised}")
        most = LONGEST_PASS if self.is_reachable else EACH_CALL * MOST_CALLS
        if one.seconds > most + self.idle:
            self.broke(f"a pass took {one.seconds:.0f} s, at most {most:.0f} s")

    def at_rest(self) -> None:
        """Hold the writes since all is over against what rest means.

        A bad release that runs, as a person wants it to, may be found so meanwhile, and told of.
        """
        is_bad = any(self.release_of(one["spec"]["template"]).is_bad for one in self._deployments())
        most = AT_REST + (TOLD_OF_BAD if is_bad else 0)
        if self.writes > most and not self.is_stirred:
            self.broke(f"{self.writes} writes in {REST:.0f} s at rest")


def _puts_back(body: Any) -> bool:
    """Tell whether a patch takes a change-cause of the operator's own off, and does nothing else.

    Whoever deletes policy and Rollback leaves it on a Deployment that nobody names any more.
    """
    patch = body if isinstance(body, list) else []
    tested = {one["path"]: one["value"] for one in patch if one["op"] == "test"}
    changed = [one for one in patch if one["op"] != "test"]
    is_empty = all(one["op"] == "remove" or one.get("value") == "" for one in changed)
    names = [one["path"] for one in changed]
    return names == [_CAUSE] and is_empty and bool(own(str(tested.get(_CAUSE, ""))))


def _stirs(change: Change) -> bool:
    """Tell whether a change is one that operators have to act on."""
    if change.id[0] not in ("deployments", "rollbacks", "rollbackpolicies"):
        return False
    before, after = change.before or {}, change.after or {}
    return before.get("spec") != after.get("spec")


def _decision(spec: Raw) -> tuple[Any, ...]:
    """Give what a decision is about; one that is only proposed may be followed by another."""
    source = spec["fromRevision"]
    about = source["digest"], source["number"], spec["mode"], spec.get("requiresApproval", False)
    return (*about, spec["policyRef"]["uid"], spec["targetRef"]["uid"])


def _is_unbegun(rollback: Raw) -> bool:
    status = rollback.get("status") or {}
    steps = status.get("steps") or []
    if _reason(status) == "ReplicaSetGone":
        # The end closes the step that is open: what was done was closed before.
        ended = status.get("finishedTime")
        return not any(one["name"] in _ACTS and one.get("finishedTime") != ended for one in steps)
    has_acted = any(one["name"] in _ACTS and "finishedTime" in one for one in steps)
    return status.get("outcome") in ("Blocked", "Abandoned") and not has_acted


def _reason(status: Raw) -> str:
    known = {one["type"]: one["reason"] for one in status.get("conditions") or []}
    return str(known.get("Complete", ""))


def _version(asked: Asked) -> str:
    return "none" if asked.release is None else str(asked.release.version)


def _unhashed(template: Raw) -> Raw:
    labels = {
        name: value
        for name, value in template["metadata"]["labels"].items()
        if name != "pod-template-hash"
    }
    return {**template, "metadata": {**template["metadata"], "labels": labels}}
