"""The rules that are never to be broken, held against every write as it happens, and at the end."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from bench.simulation.controller import bounds
from bench.simulation.pods import Pod
from bench.simulation.releases import Release, Truth, pod_hash
from bench.simulation.scenario import APP, NAMESPACE, OPERATORS
from bench.simulation.server import Change, Raw, Request, Server
from rollback_operator.adapters.kube.projections.deployments import change_cause_of, is_held
from rollback_operator.adapters.kube.projections.templates import template_of
from rollback_operator.api.terms import Mode, Response
from rollback_operator.api.v1alpha1 import RollbackPolicySpec
from rollback_operator.remedies.change_cause import own

EPOCH = 1_800_000_000.0
"""The world's time at the loop's zero."""
SLACK = 15.0
"""Seconds within which an operator need not know yet what a user has done."""
SETTLED = 20.0
"""Seconds by which what is said may be behind what is."""
BY_HAND = "by-hand"
"""With this begin the names of Rollbacks that people make."""
GRACE = 30.0
"""Seconds for which who has lost the lease, or was stopped, may go on with what it has begun."""
CLOCKS = 2.0
"""Seconds by which a time on record may be ahead."""
_RECORDS = ("rollbackpolicies", "rollbacks")
"""Kinds of objects that tell what was taken back."""
_UNDONE = ("Verified", "NotRecovered", "Unknown")
WATCH = 3600.0
"""Seconds for which what was gone back to is not taken back, and what was taken back not again."""
CONDEMNED = ("P1", "P2", "P3")
"""Severities of a verdict after which a release is no target any more."""
TOLD_WITHIN = 240.0
"""Seconds within which a channel is told, whatever goes wrong meanwhile."""
LEAST_RUN = 60.0
"""Seconds that a release must have run to be compared with."""
LEAST_SERVED = 10.0
"""Seconds that a release must have served to be recorded as good, and be gone back to."""
_UNREADABLE = "the policy is unreadable"
_BLIND = ("the policy is suspended", _UNREADABLE)
"""Why a policy's status does not tell what runs."""


@dataclass(frozen=True, slots=True)
class Undo:
    """A template that an operator has written."""

    at: float
    source: Release
    target: Release
    intent: str
    """Name of the Rollback that it belongs to; empty: there is none."""

    @property
    def is_by_hand(self) -> bool:
        """Tell whether a person has asked for it."""
        return self.intent.startswith(BY_HAND)


@dataclass
class Episode:
    """The time for which somebody's release is what is wanted."""

    since: float
    release: Release
    is_excused: str = ""
    """Why no rollback of it is wanted, whatever becomes of the policy."""
    is_policy_off: str = ""
    """Why the policy, as it stands, wants none."""
    undos: list[Undo] = field(default_factory=list)
    is_seen: bool = False
    """An operator was there while it was what is wanted."""

    @property
    def is_wanted(self) -> bool:
        """Tell whether it is to be taken back."""
        return self.release.is_bad and not self.is_excused and not self.is_policy_off


@dataclass
class Audit:
    """Sees all writes."""

    server: Server
    now: Callable[[], float]
    broke: Callable[[str], None]
    """Told of each rule that is broken."""
    release_of: Callable[[Raw], Release]
    pods: Callable[[], dict[str, Pod]]
    arrived: Sequence[tuple[str, str]] = ()
    """Messages that have arrived: channel and identifier."""
    tells_twice: bool = True
    """Whether the faults may have made a message arrive twice."""
    longest_pause: float = math.inf
    """Seconds."""
    excused: str = ""
    """Why no rollback at all is wanted."""
    unaware: float = SLACK
    """Seconds within which an operator need not know what a user has done."""
    stopped: dict[str, float] = field(default_factory=dict)
    """Until when operators were stopped."""
    holder: tuple[str, float] = ("", 0.0)
    """Whose the lease is, and since when."""
    severities: dict[tuple[str, str, int], str] = field(default_factory=dict)
    """The worst that a policy's status has told of a revision, by its uid, digest and number."""
    paused_at: float | None = None
    """Since when the operator holds the rollout."""
    episodes: list[Episode] = field(default_factory=list)
    outcomes: dict[str, tuple[str, float]] = field(default_factory=dict)
    """Of Rollbacks: how and when they ended."""
    templates: list[tuple[float, str]] = field(default_factory=list)
    """When the Deployment got which template, by digest."""
    taken_back: set[str] = field(default_factory=set)
    """Digests of what was rolled back, or found bad, and is on record as such."""
    strategy: Any = None
    """As the user has set it."""
    is_watching: bool = False
    """The cluster is set up: from now on enough pods are to serve."""
    changed_by_user: float = 0.0
    is_policy_off: str = ""
    policy_off_at: float = 0.0
    stored: dict[str, float] = field(default_factory=dict)
    """When messages were put on record, by identifier."""
    emptied_at: float = math.inf
    """When the Deployment was scaled to nothing, the last time."""
    spoiled: set[int] = field(default_factory=set)
    """Versions that fail by now, whatever they were."""
    policy: str = ""
    """Uid of the policy that is in force: the oldest that names the Deployment."""
    """Since when it is in force."""
    gone: list[str] = field(default_factory=list)
    hashes: dict[str, str] = field(default_factory=dict)
    """Digests of releases as they were rolled out first, by the name that the operator gives."""
    trusted: set[str] = field(default_factory=set)
    """Digests of what a person trusts, knowing what was found: that word is obeyed."""
    known: dict[str, str] = field(default_factory=dict)
    """Digests of releases as they were rolled out first, by the digests of their restarts."""

    def see(self, change: Change) -> None:
        """Hold a write against the rules."""
        if change.id[0] in _RECORDS and change.after is not None:
            for one in (change.after.get("status") or {}).get("notifications") or []:
                self.stored.setdefault(one["id"], self.now())
        if change.after is None and change.id[0] in _RECORDS:
            self._forget()
        match change.id[0]:
            case "deployments" if change.id[2] == APP:
                self._deployment(change)
            case "rollbacks":
                self._rollback(change)
            case "rollbackpolicies":
                self._policy(change)
            case "pods":
                self._capacity()
            case "leases":
                self._lease(change)

    # -- who acts ----------------------------------------------------------------------------------

    def sent(self, name: str, request: Request) -> None:
        """Hold a call against the rule that one acts: who has lost the lease has stopped."""
        if self.episodes:
            self.episodes[-1].is_seen = True
        holder, since = self.holder
        if request.method == "GET" or "/leases" in request.path or holder in ("", name):
            return
        now = self.now()
        if now - max(since, self.stopped.get(name, 0.0)) > GRACE:
            self.broke(f"{name} writes, and {holder} has held the lease for {now - since:.0f} s")

    def _lease(self, change: Change) -> None:
        said = (change.after or {}).get("spec", {}).get("holderIdentity") or ""
        holder = str(said).partition(".")[0]
        if holder != self.holder[0]:
            self.holder = holder, self.now()

    # -- the target --------------------------------------------------------------------------------

    def _deployment(self, change: Change) -> None:
        before, after = change.before, change.after
        if after is None:
            self.gone.append("the Deployment was deleted")
            self.excuse("the Deployment is gone")
            self.paused_at, self.is_watching = None, False
            return
        self._pause(is_held(after))
        is_operator = change.actor in OPERATORS
        digest = template_of(after["spec"]["template"]).digest
        old = before and template_of(before["spec"]["template"]).digest
        if before is None or old != digest:
            self.templates.append((self.now(), digest))
            release = self.release_of(after["spec"]["template"])
            if is_operator and before is not None:
                if _is_stopped(before):
                    self.broke("undone although somebody has paused the Deployment")
                self._undone(self.release_of(before["spec"]["template"]), release)
            else:
                self.changed_by_user = self.now()
                self._begin(release)
                if _is_stopped(after):
                    self._excuse_paused()
                if not after["spec"]["replicas"] and self._is_beyond_compare():
                    self.excuse("what ran before it was left, and what people went to never ran")
        if not is_operator:
            self._set_by_user(before, after)
        elif before is not None and after["spec"]["replicas"] != before["spec"]["replicas"]:
            self.broke(f"{change.actor} has changed the replicas")

    def _set_by_user(self, before: Raw | None, after: Raw) -> None:
        """Note what people have set: it is to stay so."""
        was, now = (before or {"spec": {}})["spec"], after["spec"]
        if was.get("strategy") != now.get("strategy"):
            self.strategy = now.get("strategy")
        if before is None:
            return
        if was.get("paused") != now.get("paused"):
            self._excuse_paused()
        if was.get("replicas") != now["replicas"]:
            self.is_watching = False
            if not now["replicas"]:
                self.emptied_at = self.now()
                self.excuse("the Deployment is scaled to nothing")

    def _pause(self, held: bool) -> None:
        """Hold the time for which a rollout is paused against its limit."""
        if not held and self.paused_at is not None:
            seconds = self.now() - self.paused_at
            if seconds > self.longest_pause:
                self.broke(f"paused for {seconds:.0f} s, longest {self.longest_pause:.0f} s")
            self.paused_at = None
        elif held and self.paused_at is None:
            self.paused_at = self.now()

    def _begin(self, release: Release) -> None:
        first = release.unrestarted.digest
        self.known[release.digest] = first
        self.hashes[template_of(release.template).release] = first
        episode = Episode(self.now(), release, self.excused, self.is_policy_off)
        if release.truth is Truth.RESTARTING:
            episode.is_excused = "its fault is one that people look into"
        elif self._is_taken_back(release) or any(
            (one.release.version == release.version and one.undos) for one in self.episodes
        ):
            episode.is_excused = "it was taken back before: people are told"
        elif any(_is_done(one) for one in self._planned() if _source(one) == release.digest):
            episode.is_excused = "people took it back before the operator could: they are told"
        elif self._fails_as_before(release):
            episode.is_excused = episode.is_excused or "what it replaces fails as much"
        elif self._is_without_target(release):
            episode.is_excused = episode.is_excused or "what people went back to had hardly run"
        elif self.episodes and self._is_taken_back(self.episodes[-1].release):
            episode.is_excused = episode.is_excused or "what it replaces was known to fail as well"
        self.episodes.append(episode)

    def excuse(self, why: str) -> None:
        """Want the release that runs not taken back, from now on."""
        if self.episodes and not self.episodes[-1].is_excused:
            self.episodes[-1].is_excused = why

    def _excuse_paused(self) -> None:
        """Want a release not taken back that is paused, where a policy would have it taken back."""
        if self.episodes and not self.episodes[-1].is_policy_off:
            self.excuse("somebody has paused the Deployment")

    def _fails_as_before(self, release: Release) -> bool:
        """Tell whether a release answers as badly as the release before it, and no worse.

        Requests show then that something is wrong, and not that it is the release: people are told.
        """
        before = self._before(release)
        if before is None or (release.truth, before.release.truth) != (Truth.FAILING,) * 2:
            return False
        return release.fails <= before.release.fails

    def _is_without_target(self, release: Release) -> bool:
        """Tell whether people left what ran for an older release that a new one replaces at once.

        What they left is no target, and what they went back to is not known to be good yet.
        """
        before = self._before(release)
        if before is None or self.now() - before.since >= LEAST_SERVED:
            return False
        number = self.episodes.index(before)
        made = {
            one["metadata"]["name"]: one["metadata"].get("creationTimestamp", "")
            for one in self.server.listed("replicasets")
        }
        names = [f"{APP}-{pod_hash(one.release.template)}" for one in self.episodes[: number + 1]]
        since = [made.get(one, "") for one in names[-2:]]
        return len(since) > 1 and "" not in since and since[1] < since[0]

    def _before(self, release: Release) -> Episode | None:
        """Give the last episode of another release; None: there was none."""
        others = (one for one in reversed(self.episodes) if one.release.version != release.version)
        return next(others, None)

    def _is_beyond_compare(self) -> bool:
        """Tell whether nothing is left that a release could be compared with, or go back to.

        People went back from what had run, which is good for nothing from then on, to a release
        that had hardly run when all was scaled to nothing: no pod of it has counted anything.
        """
        if len(self.episodes) < 3:  # what ran, what people went to, what is new
            return False
        ran, gone_to = self.episodes[-3:-1]
        made = {
            one["metadata"]["name"]: one["metadata"].get("creationTimestamp", "")
            for one in self.server.listed("replicasets")
        }
        ran_since, gone_to_since = (
            made.get(f"{APP}-{pod_hash(one.release.template)}", "") for one in (ran, gone_to)
        )
        return self.emptied_at - gone_to.since < LEAST_RUN and gone_to_since < ran_since

    def _undone(self, source: Release, target: Release) -> None:
        intent = self._intent(source, target)
        undo = Undo(self.now(), source, target, intent)
        episode = self.episodes[-1]
        if not intent:
            self.broke("an undo without an intent that is stored and open")
        elif any(intent == each.intent for one in self.episodes for each in one.undos):
            self.broke(f"{intent}: undone twice")
        episode.undos.append(undo)
        if self._is_taken_back(target):
            self.broke(f"gone back to v{target.version}, which was taken back")
        if not undo.is_by_hand:
            self._by_itself(undo, episode)
        self.taken_back.add(source.unrestarted.digest)

    def _by_itself(self, undo: Undo, episode: Episode) -> None:
        """Hold an undo that nobody has asked for against what is bad and what was done before."""
        source, target, intent = undo.source, undo.target, undo.intent
        if sum(not one.is_by_hand for one in episode.undos) > 1:
            self.broke(f"undone twice: {[one.target.version for one in episode.undos]}")
        if self._is_restored(undo):
            self.broke(f"a rollback was rolled back: v{source.version}")
        if self._was_taken_back(undo):
            self.broke(f"v{source.version} was taken back twice")
        if not source.is_bad:
            self.broke(f"a healthy release was taken back: v{source.version}")
        is_trusted = target.unrestarted.digest in self.trusted or self._was_asked_for(target)
        is_only = self._is_all_there_is(undo) or self._is_unknown(undo)
        if target.is_bad and not is_trusted and not is_only:
            self.broke(f"gone back to v{target.version}, which is bad")
        if self.is_policy_off and not self._has_begun(intent):
            self.broke(f"undone although {self.is_policy_off}")

    def _is_all_there_is(self, undo: Undo) -> bool:
        """Tell whether there is nothing else to go back to, and what was left fails more."""
        there = {
            self.release_of(one["spec"]["template"]).unrestarted
            for one in self.server.listed("replicasets")
        }
        others = there - {undo.source.unrestarted, undo.target.unrestarted}
        is_dead = undo.source.truth not in (Truth.HEALTHY, Truth.FAILING)
        return not others and (is_dead or undo.target.fails < undo.source.fails)

    def _is_unknown(self, undo: Undo) -> bool:
        """Tell whether nobody has seen the target run alone, and what was left fails more.

        It came and was replaced while no operator ran, and no release is on record as good: the
        policy, whose status knew the releases before it, was made anew.
        """
        ran = [one for one in self.episodes if one.release.version == undo.target.version]
        is_unseen = bool(ran) and not any(one.is_seen for one in ran)
        is_dead = undo.source.truth not in (Truth.HEALTHY, Truth.FAILING)
        is_worse = is_dead or undo.target.fails < undo.source.fails
        return is_unseen and is_worse and not self._recorded_as_good()

    def _recorded_as_good(self) -> set[str]:
        return {
            entry["digest"]
            for one in self.server.listed("rollbackpolicies")
            for entry in (one.get("status") or {}).get("revisions") or []
            if entry["health"] in ("Good", "Assumed")
        }

    def _was_asked_for(self, target: Release) -> bool:
        """Tell whether a person has had the operator go back to a release: that is their word."""
        return any(
            one["metadata"]["name"].startswith(BY_HAND)
            and (_plan(one).get("toRevision") or {}).get("digest") == target.digest
            and any(step["name"] == "Undo" for step in (one.get("status") or {}).get("steps") or [])
            for one in self._planned()
        )

    def _is_restored(self, undo: Undo) -> bool:
        """Tell whether what an undo takes back was itself gone back to a while ago."""
        return any(
            one.target.unrestarted == undo.source.unrestarted and undo.at - one.at < WATCH
            for episode in self.episodes
            for one in episode.undos
            if one is not undo
        )

    def _was_taken_back(self, undo: Undo) -> bool:
        """Tell whether the operator took a release back a while ago, and it is on record.

        A record that was restored from before its undo had begun tells nothing of it any more.
        """
        return any(
            one.source.unrestarted == undo.source.unrestarted
            and not one.is_by_hand
            and undo.at - one.at < WATCH
            and _tells_of_undo(self.server.read(("rollbacks", NAMESPACE, one.intent)), one.at)
            for episode in self.episodes
            for one in episode.undos
            if one is not undo
        )

    def _is_taken_back(self, release: Release) -> bool:
        """Tell whether a release was taken back or found bad, by what is on record."""
        return release.unrestarted.digest in self.taken_back

    def _planned(self) -> Iterator[Raw]:
        """Give the Rollbacks of which it is known what they do."""
        for one in self.server.listed("rollbacks"):
            if "fromRevision" in _plan(one):
                yield one

    def _has_left(self, name: str | None, revision: Raw) -> bool:
        """Report whether a rollback is from another release than that of the status."""
        known = (_plan(each) for each in self._planned() if each["metadata"]["name"] == name)
        return any(plan["fromRevision"].get("release") != revision.get("release") for plan in known)

    def _intent(self, source: Release, target: Release) -> str:
        for one in self._planned():
            status, spec = one.get("status") or {}, _plan(one)
            steps = {step["name"] for step in status.get("steps") or []}
            way = spec["fromRevision"]["digest"], (spec.get("toRevision") or {}).get("digest")
            is_it = way == (source.digest, target.digest) and "Undo" in steps
            if is_it and not _outcome(one):
                return str(one["metadata"]["name"])
        return ""

    def _has_begun(self, intent: str) -> bool:
        """Tell whether an intent's act had begun before the policy came to a stand."""
        raw = self.server.read(("rollbacks", NAMESPACE, intent))
        steps = ((raw or {}).get("status") or {}).get("steps") or []
        starts = [datetime.fromisoformat(one["startedTime"]).timestamp() for one in steps]
        return min(starts, default=math.inf) - EPOCH <= self.policy_off_at + self.unaware

    def _capacity(self) -> None:
        if not self.is_watching:
            return
        for raw in self._deployments():
            before = {**raw, "spec": {**raw["spec"], "strategy": self.strategy}}
            least = raw["spec"]["replicas"] - bounds(before)[1]
            pods = self.pods().values()
            if any(pod.release.truth is Truth.RESTARTING for pod in pods):
                return
            serving = sum(pod.serves for pod in pods)
            if serving < least:
                self.broke(f"{serving} pods serve, at least {least} are to")

    def _deployments(self) -> Iterator[Raw]:
        """Give the Deployment, if it is there."""
        raw = self.server.read(("deployments", NAMESPACE, APP))
        if raw is not None:
            yield raw

    # -- what is said ------------------------------------------------------------------------------

    def _policy(self, change: Change) -> None:
        known, self.policy = self.policy, ""
        self.is_policy_off = self._off()
        if change.actor not in OPERATORS:
            self.policy_off_at = self.now()
        elif change.after is not None:
            self._severity(
                change.after["metadata"].get("uid", ""), change.after.get("status") or {}
            )
        if change.actor not in OPERATORS and change.after is not None:
            given = change.after["spec"].get("trust") or []
            self.trusted = {self.hashes.get(one["release"], "") for one in given}
            self.taken_back -= self.trusted
        if change.actor not in OPERATORS and _target(change.before) != _target(change.after):
            self._remember_records()  # its status tells of another Deployment from now on
        if not self.episodes:
            return
        last = self.episodes[-1]
        if self.policy not in ("", known) and not last.is_policy_off:
            self.excuse("the policy began after the release")
        if change.actor not in OPERATORS and not last.undos:
            was_off, last.is_policy_off = last.is_policy_off, self.is_policy_off
            if was_off and not last.is_policy_off and any(map(_is_stopped, self._deployments())):
                self.excuse("somebody has paused the Deployment")

    def _off(self) -> str:
        """Tell why nothing is to be taken back; empty: it is."""
        naming = [
            one
            for one in self.server.listed("rollbackpolicies")
            if (one["spec"].get("targetRef") or {"name": APP}).get("name", APP) == APP
        ]
        if not naming:
            return "the policy is gone"
        raw = min(naming, key=lambda one: _age(one["metadata"]))
        if raw["metadata"].get("deletionTimestamp"):
            return "the policy is gone"
        self.policy = raw["metadata"].get("uid", "")
        try:
            spec = RollbackPolicySpec.model_validate(raw["spec"])
        except ValidationError:
            return _UNREADABLE
        if spec.suspend:
            return "the policy is suspended"
        if spec.mode is Mode.OBSERVE:
            return "the policy is in mode Observe"
        acts = any(one.response is Response.ROLLBACK for one in spec.matrix)
        applies = any(one.severities is None or "P1" in one.severities for one in spec.remedies)
        return "" if acts and applies else "the policy is to take nothing back"

    def _severity(self, policy: str, status: Raw) -> None:
        revision, severity = status.get("revision"), status.get("severity", "None")
        last = status.get("lastRollback") or {}
        if revision and "outcome" not in last and self._has_left(last.get("name"), revision):
            return  # the severity is that of the rollback in progress
        if revision and severity in CONDEMNED and status.get("verdict") == "Bad":
            digest = self.known.get(revision["digest"], revision["digest"])
            self.taken_back |= {digest} - self.trusted
        if revision and severity != "None":
            key = policy, revision["digest"], revision["number"]
            self.severities[key] = min(severity, self.severities.get(key, severity))

    def _rollback(self, change: Change) -> None:
        if change.after is None:
            self.outcomes.pop(change.id[2], None)
            return
        going_on = [
            one["metadata"]["name"]
            for one in self._planned()
            if not _outcome(one) and (_plan(one).get("targetRef") or {}).get("name", APP) == APP
        ]
        if len(going_on) > 1:
            self.broke(f"{' and '.join(sorted(going_on))} go on at the same time")
        name, status = change.id[2], change.after.get("status") or {}
        outcome = status.get("outcome")
        known = self.outcomes.get(name)
        if known is not None and known[0] != outcome and change.actor in OPERATORS:
            self.broke(f"{name}: {known[0]} became {outcome}")
        if outcome is None:
            self.outcomes.pop(name, None)
        if outcome is None or known is not None:
            return
        self.outcomes[name] = outcome, self.now()
        self._told(change.after, outcome)

    def _forget(self) -> None:
        """Let go of what is on no record any more, when people have deleted one.

        That a release is bad is known by the Rollback that went away from it and by the policy's
        status. Who deletes both, or makes anew a policy that alone knew it, leaves nobody who could
        know: to an operator that release is one of which nothing was ever seen.
        """
        policies = self.server.listed("rollbackpolicies")
        if any((one.get("status") or {}).get("revisions") for one in policies):
            return  # it has read the Rollbacks that were there, and remembers
        self._remember_records()

    def _remember_records(self) -> None:
        digests = {_plan(one)["fromRevision"]["digest"] for one in self._condemning()}
        self.taken_back &= {self.known.get(one, one) for one in digests}

    def _condemning(self) -> Iterator[Raw]:
        """Give the Rollbacks that say that what they went away from is bad."""
        for one in self._planned():
            is_by_hand = one["metadata"]["name"].startswith(BY_HAND)
            if not is_by_hand or _outcome(one) in _UNDONE:
                yield one

    def _told(self, rollback: Raw, outcome: str) -> None:
        """Hold an outcome against what was when it was found: its write may come late."""
        finished = (rollback.get("status") or {}).get("finishedTime")
        ended = datetime.fromisoformat(finished).timestamp() - EPOCH if finished else math.inf
        since = min(ended, self.now()) - SETTLED
        name = rollback["metadata"]["name"]
        target = (_plan(rollback).get("toRevision") or {}).get("digest", "")
        undos = [undo for one in self.episodes for undo in one.undos if undo.intent == name]
        if outcome in _UNDONE and self.known.get(target, target) not in self._ran(since):
            self.broke(f"{name} is {outcome}, and its target does not run")
        if outcome == "Verified" and not self._is_served(since):
            self.broke(f"{name} is Verified, and the pods of its target do not all serve")
        has_moved = self.changed_by_user > max((one.at for one in undos), default=0.0)
        if outcome not in _UNDONE and undos and not has_moved and not self.gone:
            self.broke(f"{name} is {outcome}, and the release was taken back")

    def _ran(self, since: float) -> set[str]:
        """Give the releases that the Deployment has had since a time, as they were at first.

        With the one that it had by then: a look at slow metrics finds a rollback well by what it
        has read at its beginning, and whoever rolls out something else meanwhile does not make
        that untrue.
        """
        before = [digest for at, digest in self.templates if at <= since]
        ran = {*before[-1:], *(digest for at, digest in self.templates if at > since)}
        return {self.known.get(digest, digest) for digest in ran}

    def _is_served(self, since: float) -> bool:
        for raw in self._deployments():
            if not raw["spec"]["replicas"]:
                continue
            wanted = self.release_of(raw["spec"]["template"])
            serving = [pod for pod in self.pods().values() if pod.serves]
            if self.changed_by_user < since and not any(
                pod.release.version == wanted.version for pod in serving
            ):
                return False
        return True

    # -- the end ---------------------------------------------------------------------------------

    def is_settled(self) -> bool:
        """Tell whether nothing goes on any more."""
        is_open = any(
            "outcome" not in (one.get("status") or {}) or one["metadata"].get("finalizers")
            for one in self.server.listed("rollbacks")
        )
        is_marked = any(
            is_held(one) or own(change_cause_of(one["metadata"]))
            for one in self.server.listed("deployments")
        )
        told = (one for _, one in self._notifications())
        untold = any(_is_open(one) and not self._may_be_told_later(one) for one in told)
        return not is_open and not is_marked and not untold and not self.lost()

    def lost(self) -> list[Episode]:
        """Give the bad release that still runs, if it was to be taken back."""
        last = self.episodes[-1:]
        return [
            episode
            for episode in last
            if episode.is_wanted and not episode.undos and not self._is_left_to_people()
        ]

    def _is_left_to_people(self) -> bool:
        """Tell whether nothing is on record as good, what ran before is bad, and people know."""
        before = [episode.release for episode in self.episodes[:-1]]
        delivered = {
            notification["transition"]
            for _, notification in self._notifications()
            if notification.get("deliveredTime")
            and notification["id"].split(".")[1:2] == [self._running()]
        }
        is_told = "RollbackRefused" in delivered
        return is_told and bool(before) and before[-1].is_bad and not self._recorded_as_good()

    def _running(self) -> str:
        """Give the start of the name under which people are told of what runs."""
        kept = [policy.get("status") or {} for policy in self.server.listed("rollbackpolicies")]
        named = [(status.get("revision") or {}).get("release", "") for status in kept]
        return named[0][:10] if named else ""

    def wanted(self) -> int:
        """Count the rollbacks that were wanted: done, or still to be done."""
        return self.done() + len(self.lost())

    def done(self) -> int:
        """Count the releases that were taken back."""
        return sum(bool(one.undos) for one in self.episodes)

    def double(self) -> int:
        """Count the undos that were too many."""
        undos = [undo for one in self.episodes for undo in one.undos]
        again = len(undos) - len({undo.intent for undo in undos})
        own = [sum(not undo.is_by_hand for undo in one.undos) for one in self.episodes]
        return max(again, sum(max(0, count - 1) for count in own))

    def finish(self) -> None:
        """Hold the end against the rules."""
        for one in self.lost():
            self.broke(f"lost: v{one.release.version} still runs ({one.release.truth})")
        for raw in self.server.listed("rollbacks"):
            name, status = raw["metadata"]["name"], raw.get("status") or {}
            if "outcome" not in status:
                self.broke(f"{name} has not ended: {status.get('step')}")
            elif raw["metadata"].get("finalizers"):
                self.broke(f"{name} has ended and still has its finalizer")
            self._as_severe(name, raw)
        for raw in self.server.listed("deployments"):
            if is_held(raw):
                self.broke("the Deployment is still paused by the operator")
            if raw["metadata"]["name"] == APP and raw["spec"].get("strategy") != self.strategy:
                self.broke(f"the strategy is not as it was: {raw['spec'].get('strategy')}")
            if own(change_cause_of(raw["metadata"])):
                self.broke("the next release would inherit the change-cause of a Rollback")
        for raw in self.server.listed("rollbackpolicies"):
            self._at_rest(raw)
        self._messages()

    def _as_severe(self, name: str, rollback: Raw) -> None:
        """Hold a Rollback against what was told by the policy that has decided it.

        What one tells that was made anew, with a uid of its own, is for Rollbacks of its own.
        """
        source = _plan(rollback).get("fromRevision")
        if source is None or name.startswith(BY_HAND):
            return
        said = (rollback.get("status") or {}).get("severity") or rollback["spec"]["severity"]
        policy = (rollback["spec"].get("policyRef") or {}).get("uid", "")
        worst = self.severities.get((policy, source["digest"], source["number"]), said)
        if worst < said:
            self.broke(f"{name} is {said}, and the policy's status has told {worst}")

    def _messages(self) -> None:
        for whose, one in self._notifications():
            count = self.arrived.count((one["channel"], one["id"]))
            if _is_open(one) and not self._may_be_told_later(one):
                self.broke(f"{whose}: {one['channel']} was not told {one['transition']}")
            elif "deliveredTime" in one and not count:
                self.broke(f"{whose}: {one['channel']} was told {one['transition']}, and was not")
            elif count > 1 and not self.tells_twice:
                self.broke(f"{whose}: {one['channel']} was told {one['transition']} {count} times")

    def _may_be_told_later(self, notification: Raw) -> bool:
        """Tell whether a message waits for its channel: the policy was broken just after it.

        Of a policy that cannot be read nobody knows the channels. The message stays on record
        until somebody mends the policy.
        """
        if self.is_policy_off != _UNREADABLE:
            return False
        return self.policy_off_at - self.stored[notification["id"]] < TOLD_WITHIN

    def _notifications(self) -> Iterator[tuple[str, Raw]]:
        for plural in ("rollbacks", "rollbackpolicies"):
            for raw in self.server.listed(plural):
                for one in (raw.get("status") or {}).get("notifications") or []:
                    yield raw["metadata"]["name"], one

    def _at_rest(self, policy: Raw) -> None:
        status = policy.get("status") or {}
        held = status.get("hold") or {}
        if held and "releasedTime" not in held:
            self.broke("a hold is still on record")
        if policy["metadata"].get("finalizers"):
            self.broke("the policy still has a finalizer")
        running = next(self._deployments(), None)
        if running is None or running["spec"].get("paused") or not running["spec"]["replicas"]:
            return
        if policy["metadata"].get("uid") != self.policy or self.is_policy_off in _BLIND:
            return
        digest = template_of(running["spec"]["template"]).digest
        said = (status.get("revision") or {}).get("digest")
        if said != digest:
            self.broke(f"the policy's status tells of {said}, what runs is {digest}")
        release = self.release_of(running["spec"]["template"])
        is_bad = release.is_bad or release.version in self.spoiled
        if status.get("verdict") == "Bad" and not is_bad:
            self.broke(f"the verdict is Bad, and v{release.version} is healthy")
        last = status.get("lastRollback") or {}
        known = self.outcomes.get(last.get("name", ""))
        if known is not None and last.get("outcome") != known[0]:
            self.broke(f"lastRollback tells {last.get('outcome')}, it is {known[0]}")


def _target(policy: Raw | None) -> str:
    return str((((policy or {}).get("spec") or {}).get("targetRef") or {}).get("name", APP))


def _age(metadata: Raw) -> tuple[str, str]:
    return metadata.get("creationTimestamp", ""), metadata["name"]


def _is_stopped(deployment: Raw) -> bool:
    """Tell whether a person has paused a Deployment."""
    return bool(deployment["spec"].get("paused")) and not is_held(deployment)


def _is_open(notification: Raw) -> bool:
    return "deliveredTime" not in notification and "gaveUpTime" not in notification


def _plan(rollback: Raw) -> Raw:
    """Give what a Rollback is to do; a person's has it in its status once it is planned."""
    found: Raw = (rollback.get("status") or {}).get("plan") or rollback["spec"]
    return found


def _source(rollback: Raw) -> str:
    return str(_plan(rollback)["fromRevision"]["digest"])


def _is_done(rollback: Raw) -> bool:
    """Tell whether an undo has found its target's template in place, whoever has put it there."""
    steps = (rollback.get("status") or {}).get("steps") or []
    is_done = any(one["name"] == "Undo" and "finishedTime" in one for one in steps)
    return is_done and _outcome(rollback) in (None, *_UNDONE)


def _tells_of_undo(rollback: Raw | None, at: float) -> bool:
    """Tell whether a record is there and says that an undo was at least begun by then.

    A step that began later is that of a record that was restored from before the undo.
    """
    steps = ((rollback or {}).get("status") or {}).get("steps") or []
    begun = [one["startedTime"] for one in steps if one["name"] == "Undo"]
    return any(datetime.fromisoformat(one).timestamp() - EPOCH <= at + CLOCKS for one in begun)


def _outcome(rollback: Raw) -> str | None:
    return (rollback.get("status") or {}).get("outcome")
