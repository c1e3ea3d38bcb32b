"""What Kubernetes would show of a scenario at a time: the target, its ReplicaSets and its pods."""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache

from bench.detection.lives import BIRTH, DEPLOYMENT, EVER, NEW, OLD, STARTUP_SECONDS, Life
from bench.detection.scenario import PURCHASE, RESERVE, Confounder, Fault, Rollout, Scenario
from bench.detection.trends import MEMORY_LIMIT
from bench.detection.world import T0, World
from rollback_operator.api.reasons import Reason
from rollback_operator.api.v1alpha1 import (
    Health,
    LedgerEntry,
    Mode,
    ObjectMeta,
    Outcome,
    PolicyRef,
    Remedy,
    RemedyType,
    RevisionRef,
    Rollback,
    RollbackPolicy,
    RollbackPolicySpec,
    RollbackSpec,
    RollbackStatus,
    RollbackTarget,
    StageSpec,
    Starts,
    TargetRef,
    Trigger,
    UndoTo,
)
from rollback_operator.model.context import Case
from rollback_operator.model.pod import MetricsPage, Pod
from rollback_operator.model.workload import Deployment, ReplicaSet, Template, Workload

NAMESPACE = "production"
PROMETHEUS = "http://prometheus.monitoring:9090"
OLDER_HASH = "77d9d4c5d6"
EARLIER = 600.0
"""Seconds before the release at which a flapping one was rolled back."""


def when(seconds: float) -> datetime:
    """Turn a scenario's time into a point of the bench's calendar."""
    return datetime.fromtimestamp(T0 + seconds, UTC)


def template(pod_hash: str) -> Template:
    """Give the template of a revision."""
    return Template(
        digest=f"digest-{pod_hash}",
        release=f"release-{pod_hash}",
        images=(f"registry.example.com/{DEPLOYMENT}:{pod_hash}",),
        containers=(DEPLOYMENT,),
        memory_limit=MEMORY_LIMIT,
    )


@dataclass
class Target:
    """The target over time; between two changes it is one and the same value."""

    world: World
    changes: list[float] = field(init=False)
    _known: dict[int, Workload] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        times = {0.0}
        for one in self.world.cast.lives:
            times |= {one.started - 1.0, one.started, one.ready, one.gone}
            for restart in one.restarts:
                times |= {restart, restart + one.pause}
        until = self.world.scenario.horizon
        self.changes = sorted(time for time in times if 0 <= time <= until)

    def at(self, now: float) -> Workload:
        """Give the target as it is at a time."""
        index = bisect_right(self.changes, now) - 1
        if index not in self._known:
            self._known[index] = self._made(self.changes[max(0, index)])
        return self._known[index]

    def next_change(self, now: float) -> float:
        """Give the time of the next change, infinity if there is none."""
        index = bisect_right(self.changes, now)
        return self.changes[index] if index < len(self.changes) else EVER

    def _made(self, now: float) -> Workload:
        world = self.world
        alive = [one for one in world.cast.lives if one.started - 1.0 <= now < one.gone]
        new = [one for one in alive if one.is_new]
        ready = [one for one in alive if one.serves(now)]
        return Workload(
            deployment=Deployment(
                namespace=NAMESPACE,
                name=DEPLOYMENT,
                uid="deployment-uid",
                template=template(NEW),
                revision=2,
                replicas=world.scenario.pods,
                updated=len(new),
                total=len(alive),
                available=len(ready),
                completed=self._completed(now),
                paused=world.scenario.rollout is Rollout.SINGLE,
            ),
            replica_sets=_replica_sets(world.scenario, len(new), len(alive) - len(new)),
            pods=tuple(_pod(one, world.scenario, now) for one in alive),
        )

    def _completed(self, now: float) -> float | None:
        cast = self.world.cast
        done = max(cast.last_old, *(one.ready for one in cast.new))
        return T0 + math.floor(done) if done <= now else None


def _pod(life: Life, scenario: Scenario, now: float) -> Pod:
    is_ready = life.serves(now)
    has_started = life.started <= now and not _is_unschedulable(life, scenario)
    since = [life.ready, *(one + life.pause for one in life.restarts)]
    restarts = life.restarted(now)
    is_down = has_started and not is_ready
    is_leak = scenario.fault is Fault.LEAK and life.is_new
    return Pod(
        name=life.name,
        pod_hash=life.pod_hash,
        node="" if _is_unschedulable(life, scenario) else life.node,
        # The API server's times have no fractions.
        created=math.floor(T0 + life.started - 1),
        started=math.floor(T0 + life.container_started(now)) if has_started else None,
        ready=is_ready,
        ready_since=(
            math.floor(T0 + max(one for one in since if one <= now)) if is_ready else None
        ),
        restarts=restarts,
        own_failure=_failure(life, scenario, restarts) if is_down else "",
        is_out_of_memory=is_leak and restarts > 0 and is_down,
        environment=(
            "cannot be scheduled: 0/3 nodes are available: 3 Insufficient cpu"
            if _is_unschedulable(life, scenario)
            else ""
        ),
        address="198.51.100.7" if scenario.pages and has_started else "",
        page=MetricsPage(port=8080),
    )


def _is_unschedulable(life: Life, scenario: Scenario) -> bool:
    is_plain = scenario.confounder is Confounder.NEVER_SERVES and scenario.fault is Fault.NONE
    return is_plain and life.is_new


def _failure(life: Life, scenario: Scenario, restarts: int) -> str:
    if not life.is_new:
        return ""
    if scenario.fault is Fault.CRASH_LOOP and restarts:
        return "is in CrashLoopBackOff: exit code 1"
    if scenario.fault is Fault.SILENT:
        return "is not ready: its readiness probe fails"
    if scenario.fault is Fault.LEAK and restarts:
        return "was killed: OOMKilled"
    return ""


def _has_way_back(scenario: Scenario) -> bool:
    return scenario.confounder is not Confounder.NO_WAY_BACK or scenario.extent >= 1


def _replica_sets(scenario: Scenario, new: int, old: int) -> tuple[ReplicaSet, ...]:
    age = scenario.past + STARTUP_SECONDS if scenario.past else 86400
    found = [_replica_set(NEW, 2, T0, new), _replica_set(OLD, 1, T0 - age, old)]
    if scenario.confounder is Confounder.NO_WAY_BACK and _has_way_back(scenario):
        found.append(_replica_set(OLDER_HASH, 0, T0 - 2 * 86400, 0))
    return tuple(found)


def _replica_set(pod_hash: str, revision: int, created: float, replicas: int) -> ReplicaSet:
    return ReplicaSet(
        name=f"{DEPLOYMENT}-{pod_hash}",
        uid=f"rs-{pod_hash}",
        pod_hash=pod_hash,
        revision=revision,
        template=template(pod_hash),
        created=created,
        replicas=replicas,
    )


@cache
def policy(stage: int = 0) -> RollbackPolicy:
    """Give the policy with which all scenarios are judged: the defaults, the runbook.

    Args:
        stage: seconds that a rollout is held at its first new pods at most; 0: it is not staged.
    """
    return RollbackPolicy(
        metadata=ObjectMeta(name=DEPLOYMENT, namespace=NAMESPACE, uid="policy-uid"),
        spec=RollbackPolicySpec(
            target_ref=TargetRef(name=DEPLOYMENT),
            mode=Mode.ENFORCE,
            signals={"purchaseRoutes": [PURCHASE, RESERVE]},
            stage=StageSpec(max_seconds=stage),
        ),
    )


def case(scenario: Scenario, workload: Workload) -> Case:
    """Put together what is decided from: the old revision is good, unless the row says not.

    NoWayBack: the revision before is bad and there is no other (0), or an older good one (1); or
    an older one is bad and the one before is good (2).
    """
    entries = [_entry(OLD, 1, Health.GOOD, scenario.past)]
    if scenario.starts:
        entries = [entries[0].model_copy(update={"starts": Starts(scenario.starts)})]
    if scenario.confounder is Confounder.NO_WAY_BACK:
        before, older = {
            0.0: (Health.BAD, None),
            1.0: (Health.BAD, Health.GOOD),
            2.0: (Health.GOOD, Health.BAD),
        }[scenario.extent]
        entries = [_entry(OLD, 1, before)]
        entries += [_entry(OLDER_HASH, 0, older)] if older is not None else []
    rollbacks = []
    if scenario.confounder is Confounder.FLAPPING:
        flaps = scenario.extent < 1
        rollbacks.append(_earlier(NEW if flaps else "6b8f9d7c5f"))
    return Case(policy(round(scenario.stage)), workload, entries, rollbacks)


def _entry(pod_hash: str, revision: int, health: Health, past: float = 0.0) -> LedgerEntry:
    return LedgerEntry(
        number=revision,
        template_hash=pod_hash,
        digest=template(pod_hash).digest,
        release=template(pod_hash).release,
        images=list(template(pod_hash).images),
        since=when(-past if past else BIRTH - 86400),
        health=health,
        reason="",
    )


def _earlier(pod_hash: str) -> Rollback:
    """Give the record of a rollback of that revision, ended some minutes before the release."""
    started = when(-EARLIER - 60)
    return Rollback(
        metadata=ObjectMeta(
            name=f"{DEPLOYMENT}-{pod_hash}",
            namespace=NAMESPACE,
            uid=f"rollback-{pod_hash}",
            creation_timestamp=started,
        ),
        spec=RollbackSpec(
            policy_ref=PolicyRef(name=DEPLOYMENT, uid="policy-uid"),
            target_ref=RollbackTarget(name=DEPLOYMENT, uid="deployment-uid"),
            mode=Mode.ENFORCE,
            severity="P1",
            remedy=Remedy(type=RemedyType.UNDO, to=UndoTo.LAST_KNOWN_GOOD),
            from_revision=_reference(pod_hash, 0, Health.BAD),
            to_revision=_reference(OLD, 1, Health.GOOD),
            trigger=Trigger(
                reason=Reason.ERROR_RATE_ABOVE_CONTROL,
                message="every purchase failed",
                decided_time=started,
                requests=100,
                errors=100,
                control_requests=1000,
                control_errors=0,
            ),
        ),
        status=RollbackStatus(outcome=Outcome.VERIFIED, finished_time=when(-EARLIER)),
    )


def _reference(pod_hash: str, revision: int, health: Health) -> RevisionRef:
    return RevisionRef(
        number=revision,
        template_hash=pod_hash,
        digest=template(pod_hash).digest,
        release=template(pod_hash).release,
        images=list(template(pod_hash).images),
        replica_set=f"{DEPLOYMENT}-{pod_hash}",
        replica_set_uid=f"rs-{pod_hash}",
        health=health,
    )
