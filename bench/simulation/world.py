"""One simulation: puts the cluster, its users and the operators together, and lets time go by."""

from __future__ import annotations

import asyncio
import inspect
import logging
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from bench.simulation.actors import OTHER
from bench.simulation.audit import EPOCH, SLACK, Audit
from bench.simulation.conduct import REST, Conduct
from bench.simulation.controller import REVISION, Controller
from bench.simulation.loop import NOBODY, VirtualLoop
from bench.simulation.network import Air, Trace
from bench.simulation.operators import Ground, Operator
from bench.simulation.people import People
from bench.simulation.pods import Kubelet, Pod
from bench.simulation.prometheus import Database
from bench.simulation.releases import Release, pod_hash
from bench.simulation.scenario import APP, FURTHEST, NAMESPACE, OPERATORS, Scenario
from bench.simulation.server import Raw, Request, Server
from bench.simulation.tenants import USER, Tenants
from bench.simulation.traffic import Traffic
from bench.simulation.weather import Effect, Spell, Weather
from rollback_operator.adapters.kube.projections.templates import template_of
from rollback_operator.api.v1alpha1 import API_VERSION, RollbackSpec
from rollback_operator.remedies.attempts import name_of
from rollback_operator.rollback.approval import POLICY_NAME

AGE = 7200.0
"""For how long the first release has been running, seconds."""
LOOK = 5.0
CALM = 90.0
"""For how long things are watched after the last event, at least."""
PATIENCE = 480.0
"""... and at most: by then all is to be over, and a bad release taken back."""
TOLD_ONCE = ("none", "pages", "cluster", "prometheus", "events")
"""Under these faults nobody is told anything twice."""
UNAWARE = 80.0
"""Seconds within which operators need not know what a user has done: what no watch has told, a list
shows a minute later."""
EXCUSED = {
    "remaker": "the Deployment is another one",
    "restorer": "what is on record is of another time",
    "approver": "a person is asked",
    "retargeter": "the policy has begun anew",
}
"""Why none of the rollbacks need be done with these actors: what must never be done stays so."""
UNREACHABLE = (
    *(Effect.LOST, Effect.UNANSWERED, Effect.LATE, Effect.SLOW, Effect.OUTAGE),
    *(Effect.REFUSED, Effect.API_HUNG),
)
"""Under these a pass waits for the API server."""
MOST = 10
"""Rollbacks that may go on at a time in the cluster, where there are orphans."""
ORPHANS = 12
"""Rollbacks that go on, and whose policy and Deployment are gone."""
BLIND = (Effect.WATCH_GONE, Effect.WATCH_SILENT, Effect.WATCH_MUTE)
UNANSWERED = (Effect.DOWN, Effect.API_HUNG, *BLIND)
"""Under these a request may wait."""
FORGOTTEN = 300.0
"""Seconds of absence after which what happened meanwhile need not be undone any more."""
_HEALTH = ("health", "reason")
BARE_NOISE = ("asyncio", "rollback_operator")
"""Loggers that say nothing of use in a run: what is done to operators makes them complain."""


@dataclass(frozen=True, slots=True)
class Result:
    """What has come of a simulation."""

    seed: int
    fault: str
    actor: str
    steps: int
    seconds: float
    """Of virtual time."""
    wanted: int
    done: int
    double: int
    lost: int
    told: int
    passes: int
    longest: float
    """Seconds that the longest pass took."""
    healthy: int
    """Healthy releases that went out."""
    broken: tuple[str, ...]
    """The rules that were broken."""
    sum: int
    """Of the trace: the same for the same seed."""
    trace: tuple[str, ...] = ()


class World:
    """Everything there is."""

    def __init__(self, scenario: Scenario, loop: VirtualLoop) -> None:
        self.scenario, self.loop = scenario, loop
        dice = {
            name: random.Random(f"{name} {scenario.seed}")
            for name in ("weather", "nodes", "traffic", "scrapes", "operators", "people")
        }
        self.dice = dice
        self.trace = Trace(loop.time)
        self.broken: list[str] = []
        self.releases: dict[str, Release] = {}
        self.weather = Weather(loop.time, dice["weather"], scenario.spells)
        self.server = Server(self.stamp)
        self.kubelet = Kubelet(
            loop,
            self.server,
            dice["nodes"],
            self._pod_changed,
            scenario.pace,
            self.weather.slowness,
        )
        self.controller = Controller(
            loop, self.server, dice["nodes"], self.kubelet, self.release_of, self.weather.stall
        )
        self.database = Database(loop, dice["scrapes"], scenario.rps, EPOCH)
        self.traffic = Traffic(loop, dice["traffic"], scenario.rps, lambda: self._pods().values())
        self.told: list[tuple[str, str]] = []
        self.conduct = Conduct(
            self.server,
            loop.time,
            self.broke,
            self.release_of,
            answers_soon=scenario.fault in TOLD_ONCE
            and not any(one.effect in UNANSWERED for one in scenario.spells),
            is_reachable=not any(one.effect in UNREACHABLE for one in scenario.spells),
            idle=sum(
                one.end - one.start for one in scenario.spells if one.effect is Effect.STOPPED
            ),
        )
        self.audit = Audit(
            self.server,
            loop.time,
            self.broke,
            self.release_of,
            self._pods,
            self.told,
            excused=EXCUSED.get(scenario.actor, ""),
            tells_twice=scenario.fault not in TOLD_ONCE or scenario.actor == "restorer",
            longest_pause=scenario.longest_pause,
            unaware=_unaware(scenario),
        )
        ground = Ground(
            Air(loop, self.weather, self.trace, self._sent),
            self.server,
            self.database,
            lambda: self.kubelet.pods,
            self.told,
            dice["operators"],
            EPOCH,
        )
        self.operators = [
            Operator(
                ground,
                name,
                offset=offset,
                renames=scenario.renames,
                passed=self.conduct.passed,
                settings={"max_concurrent": MOST} if scenario.actor == "orphans" else {},
            )
            for name, offset in zip(OPERATORS, scenario.offsets, strict=False)
        ]
        self.people = People(
            loop,
            self.server,
            dice["people"],
            self.trace,
            self.releases,
            scenario.policy,
            scenario.first,
            scenario.reflex,
        )
        self.traffic.is_unseen = self._is_unseen
        self.kubelet.spoiled = self.audit.spoiled = self.people.spoiled
        self.people.tenants = Tenants(
            loop,
            self.server,
            dice["people"],
            scenario.policy,
            self.people.roll_out,
            self.release_of,
            restored=self.conduct.restored,
        )

    def _is_unseen(self) -> bool:
        """Tell whether no operator will run for a while."""
        return all(self.loop.time() + LOOK < one.down_until for one in self.operators)

    def _pods(self) -> dict[str, Pod]:
        """Give the pods of the application."""
        pods = self.kubelet.pods
        if self.scenario.actor != "retargeter":
            return pods
        return {name: one for name, one in pods.items() if one.release.app == APP}

    def stamp(self, ago: float = 0.0) -> str:
        """Give the cluster's time as the API server writes it."""
        moment = datetime.fromtimestamp(EPOCH + self.loop.time() - ago, UTC)
        return moment.strftime("%Y-%m-%dT%H:%M:%SZ")

    def release_of(self, template: Raw) -> Release:
        """Give the truth about a pod template."""
        return self.releases[template_of(template).digest]

    def broke(self, rule: str) -> None:
        """Note that a rule was broken."""
        if rule not in self.broken:
            self.broken.append(rule)
        self.trace.note(f"BROKEN: {rule}")

    def _sent(self, name: str, request: Request) -> None:
        self.audit.sent(name, request)
        self.conduct.sent(name, request)
        self.people.sent(request)

    async def run(self) -> Result:
        """Let everything happen."""
        self._set_up()
        scenario = self.scenario
        for one in self.operators:
            self.loop.after(self.dice["operators"].uniform(0.0, 5.0), one.start)
        for deed in scenario.deeds:
            self.loop.after(deed.at, self.people.do, deed)
        for spell in scenario.spells:
            self._schedule(spell)
        drawn = max(self.weather.last(), *(one.at for one in scenario.deeds))
        while self.loop.time() < (last := max(drawn, self.people.last)) + PATIENCE:
            await asyncio.sleep(LOOK)
            if self.loop.time() > last + CALM and self.audit.is_settled():
                break
        await asyncio.sleep(LOOK)  # what is stored is told of
        self.audit.finish()
        self.conduct.is_over = True
        await asyncio.sleep(REST)
        self.conduct.at_rest()
        audit = self.audit
        return Result(
            seed=scenario.seed,
            fault=scenario.fault,
            actor=scenario.actor,
            steps=self.trace.steps,
            seconds=self.loop.time(),
            wanted=audit.wanted(),
            done=audit.done(),
            double=audit.double(),
            lost=len(audit.lost()),
            told=len(self.told),
            passes=self.conduct.passes,
            longest=round(self.conduct.longest, 1),
            healthy=self.people.healthy,
            broken=tuple(self.broken),
            sum=self.trace.sum,
            trace=tuple(self.trace.lines),
        )

    # -- how it begins -----------------------------------------------------------------------------

    def _set_up(self) -> None:
        scenario, server = self.scenario, self.server
        server.auditors += [
            self.audit.see,
            self.conduct.see,
            self.controller.audit,
            self.people.see,
        ]
        self.server.make(USER, "nodes", _node(self.stamp(AGE)))
        first = scenario.first
        for one in (*scenario.past, first):
            self.releases[one.digest] = one
        self.audit.taken_back |= {one.digest for one in scenario.past if one.is_bad}
        self._protect_approvals()
        if scenario.names_config and self.people.tenants is not None:
            self.people.tenants.bring_config()
        self._first_pods(server.make(USER, "deployments", self._deployment(first)))
        if scenario.actor == "retargeter":
            self._make_other()
        if scenario.actor == "orphans":
            for number in range(ORPHANS):
                server.make(USER, "rollbacks", orphan(number, self.stamp(AGE)))
        policy = self.people.policy(self.stamp(AGE))
        if scenario.is_known:
            policy["status"] = self._known(first)
        server.make(USER, "rollbackpolicies", policy)
        self.traffic.start()
        self.audit.is_watching = True

    def _deployment(self, first: Release) -> Raw:
        rolling = {"maxSurge": _bound(self.scenario.surge)}
        rolling["maxUnavailable"] = _bound(self.scenario.unavailable)
        replicas = self.scenario.replicas
        return {
            "metadata": {
                "name": APP,
                "namespace": NAMESPACE,
                "creationTimestamp": self.stamp(AGE),
                "annotations": {REVISION: str(len(self.scenario.past) + 1)},
            },
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": {"app": APP}},
                "strategy": {"type": "RollingUpdate", "rollingUpdate": rolling},
                "template": first.template,
            },
            "status": {
                "observedGeneration": 1,
                "replicas": replicas,
                "updatedReplicas": replicas,
                "availableReplicas": replicas,
                "conditions": [
                    {
                        "type": "Progressing",
                        "status": "True",
                        "reason": "NewReplicaSetAvailable",
                        "lastUpdateTime": self.stamp(AGE),
                    }
                ],
            },
        }

    def _protect_approvals(self) -> None:
        """Install the admission policy without which no approval counts."""
        bound = {"policyName": POLICY_NAME, "validationActions": ["Deny"]}
        plural = "validatingadmissionpolicies"
        for kind, spec in ((plural, {}), (f"{plural[:-3]}ybindings", bound)):
            self.server.make(USER, kind, {"metadata": {"name": POLICY_NAME}, "spec": spec})

    def _make_other(self) -> None:
        """Make another Deployment, which policies may be made to name."""
        other = Release(OTHER, 1)
        self.releases[other.digest] = other
        labels = {"matchLabels": {"app": OTHER}}
        metadata = {"name": OTHER, "namespace": NAMESPACE, "annotations": {}}
        spec = {"replicas": 2, "selector": labels, "strategy": {}, "template": other.template}
        self.server.make(USER, "deployments", {"metadata": metadata, "spec": spec})

    def _first_pods(self, deployment: Raw) -> None:
        for number, release in enumerate(self.scenario.past, 1):
            created = self.stamp(AGE * (2 + len(self.scenario.past) - number))
            self.controller.old_set(deployment, release, number, created)
        replica_set = self.controller.first_set(deployment, self.stamp(AGE))
        for _ in range(self.scenario.replicas):
            pod = self.controller.new_pod(replica_set)
            pod.created = pod.started = pod.ready_since = self.stamp(AGE)
            pod.started_at, pod.is_ready = -AGE, True
            for route in pod.requests:
                pod.requests[route], pod.errors[route] = 50_000, 50
            self.kubelet.adopt(pod)
            self.database.follow(pod, AGE)

    def _known(self, first: Release) -> Raw:
        ran = [*self.scenario.past, first]
        entries = [self._entry(release, number) for number, release in enumerate(ran, 1)]
        running = {name: entries[-1][name] for name in entries[-1] if name not in _HEALTH}
        return {"revision": running, "revisions": entries[::-1]}

    def _entry(self, release: Release, number: int) -> Raw:
        template = template_of(release.template)
        health, reason = ("Bad", "taken back") if release.is_bad else ("Good", "nothing against it")
        return {
            "number": number,
            "templateHash": pod_hash(release.template),
            "digest": template.digest,
            "release": template.release,
            "images": list(template.images),
            "initImages": list(template.init_images),
            "since": self.stamp(AGE),
            **dict(zip(_HEALTH, (health, reason), strict=True)),
        }

    def _pod_changed(self, pod: Pod) -> None:
        self.controller.pod_changed(pod)
        self.database.pod_changed(pod)

    # -- what befalls operators --------------------------------------------------------------------

    def _schedule(self, spell: Spell) -> None:
        after = self.loop.after
        if spell.effect is Effect.DOWN:
            after(spell.start, self._down, spell)
        for one in self.operators:
            if spell.who not in ("", one.name):
                continue
            match spell.effect:
                case Effect.STOPPED:
                    after(spell.start, self._stop, one, spell.end - spell.start)
                case Effect.RESTARTED:
                    after(spell.start, self._ask_to_end, one)
                case Effect.CLOCK:
                    after(spell.start, self._move_clock, one)
                case Effect.WATCH_GONE:
                    after(spell.end, one.gone)

    def _stop(self, operator: Operator, seconds: float) -> None:
        process = operator.process
        if process is not None and not process.is_dead:
            self.trace.note(f"{process.name} is stopped for {seconds:.1f} s")
            process.stop()
            self.audit.stopped[operator.name] = self.loop.time() + seconds
            self.loop.after(seconds, process.go_on)

    def _down(self, spell: Spell) -> None:
        """Let no operator run for a while."""
        for one in self.operators:
            one.down_until = max(one.down_until, spell.end)
            one.kill()
        if spell.end - spell.start > FORGOTTEN:
            self.audit.excuse("no operator ran for long")
            self.loop.after(spell.end - spell.start, self.audit.excuse, "no operator ran for long")

    def _ask_to_end(self, operator: Operator) -> None:
        if operator.life is not None:
            self.trace.note(f"{operator.name} is asked to end")
            operator.life.stop.set()

    def _move_clock(self, operator: Operator) -> None:
        operator.offset = self.dice["operators"].choice(
            (0.0, self.dice["operators"].uniform(-FURTHEST, FURTHEST), 1.0, -30.0)
        )
        self.trace.note(f"the clock of {operator.name} is {operator.offset:.1f} s ahead")


def _unaware(scenario: Scenario) -> float:
    return UNAWARE if any(one.effect in BLIND for one in scenario.spells) else SLACK


def orphan(number: int, created: str) -> Raw:
    """Write a Rollback whose policy and Deployment are no more."""
    revision = {"number": 2, "templateHash": "abc", "digest": f"gone-{number}", "release": "gone"}
    spec = {
        "policyRef": {"name": f"gone-{number}", "uid": f"gone-{number}"},
        "targetRef": {"kind": "Deployment", "name": f"gone-{number}", "uid": f"target-{number}"},
        "mode": "Enforce",
        "severity": "P1",
        "remedy": {"type": "Undo", "to": "LastKnownGood"},
        "fromRevision": revision,
        "toRevision": {**revision, "number": 1},
        "trigger": {"reason": "ErrorRateRaised", "message": "it failed", "decidedTime": created},
    }
    name = name_of(RollbackSpec.model_validate(spec))
    metadata = {"name": name, "namespace": NAMESPACE, "creationTimestamp": created}
    head = {"apiVersion": API_VERSION, "kind": "Rollback", "metadata": metadata}
    return {**head, "spec": spec}


def _bound(text: str) -> int | str:
    return int(text) if text.isdecimal() else text


def _node(created: str) -> Raw:
    allocatable = {"cpu": "64", "memory": "256Gi", "pods": "250"}
    conditions = [{"type": "Ready", "status": "True"}]
    return {
        "metadata": {"name": "node-1", "creationTimestamp": created},
        "status": {"conditions": conditions, "allocatable": allocatable},
    }


def simulate(scenario: Scenario) -> Result:
    """Run one simulation to its end."""
    random.seed(scenario.seed)  # the work queue's jitter
    loop = VirtualLoop()
    loop.set_exception_handler(lambda loop, context: None)
    try:
        world = World(scenario, loop)
        task = loop.create_task(world.run(), context=NOBODY.copy())
        return loop.run_until_complete(task)
    finally:
        loop.is_over = True
        sweep(asyncio.all_tasks(loop))
        loop.close()


def sweep(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Close what killed processes have never begun: nobody is to be told that it was forgotten."""
    for task in tasks:
        work = task.get_coro()
        if inspect.iscoroutine(work) and inspect.getcoroutinestate(work) == inspect.CORO_CREATED:
            work.close()


def quiet(names: Sequence[str] = BARE_NOISE) -> None:
    """Keep the operators' logs out of the way."""
    for name in names:
        logging.getLogger(name).setLevel(logging.CRITICAL)
