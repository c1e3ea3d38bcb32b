"""Rule -> plan, or the reason why there is none. Guards, the way back, the steps in order.

A plan is a Rollback's spec: the intent that is stored before anything is touched. Its name follows
from policy, Deployment, template, revision and mode, so a replay and a second leader make the same.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from rollback_operator.api.reasons import Reason
from rollback_operator.api.v1alpha1 import (
    Health,
    LedgerEntry,
    MatrixRule,
    MatrixSeverity,
    Mode,
    Outcome,
    Pace,
    PolicyRef,
    Remedy,
    RemedyType,
    RevisionRef,
    Rollback,
    RollbackPolicy,
    RollbackSpec,
    RollbackTarget,
    StepName,
    Trigger,
    UndoTo,
)
from rollback_operator.core import explain, gitops
from rollback_operator.core.budget import Load
from rollback_operator.core.freeze import frozen
from rollback_operator.core.ledger import health_of, last_known_good
from rollback_operator.core.matrix import Match
from rollback_operator.core.model import ReplicaSet, Workload
from rollback_operator.core.verdict import Verdict

EXPRESS_READY_SECONDS = 30
NAME_PART = 40


@dataclass(frozen=True, slots=True)
class Case:
    """Everything that a decision on one policy is made from."""

    policy: RollbackPolicy
    workload: Workload
    ledger: Sequence[LedgerEntry]
    rollbacks: Sequence[Rollback]
    """All Rollbacks of this Deployment, whoever made them."""
    load: Load = field(default_factory=Load)
    """Of the whole cluster."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A rollback that is wanted and not made."""

    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class Order:
    """A remedy that is chosen, and why."""

    remedy: Remedy
    severity: MatrixSeverity
    mode: Mode
    trigger: Trigger


def make_plan(
    case: Case, rule: MatrixRule, trigger: Trigger, now: datetime
) -> RollbackSpec | Refusal:
    """Plan the remedy for a bad release.

    Args:
        case: policy, target, ledger and earlier rollbacks.
        rule: the rule of the matrix that was met.
        trigger: why, for the record.
        now: the time of the decision.
    """
    for guard in _GUARDS:
        refusal = guard(case, now)
        if refusal is not None:
            return refusal
    if (cold := frozen(case.policy.spec.safety.freeze, now, rule.severity)) is not None:
        return Refusal(
            Reason.FREEZE_ACTIVE,
            f"spec.safety.freeze: {cold}; kubectl rollback undo acts in it all the same",
        )
    remedy = _remedy(case, rule)
    if remedy is None:
        return Refusal(
            Reason.NO_REMEDY,
            f"no remedy applies to {rule.severity}: add one to spec.remedies, or leave its "
            "severities out",
        )
    return plan_remedy(case, Order(remedy, rule.severity, case.policy.spec.mode, trigger))


def plan_remedy(case: Case, order: Order) -> RollbackSpec | Refusal:
    """Plan a remedy that is chosen: which revision it leads to, and at what pace."""
    way = _way(case, order.remedy)
    if isinstance(way, Refusal):
        return way
    return RollbackSpec(
        policy_ref=PolicyRef(name=case.policy.metadata.name, uid=case.policy.metadata.uid),
        target_ref=RollbackTarget(
            name=case.workload.deployment.name, uid=case.workload.deployment.uid
        ),
        mode=order.mode,
        severity=order.severity,
        remedy=order.remedy,
        pace=_pace(case, order),
        from_revision=_from(case.workload, way),
        to_revision=_ref(way, case.ledger) if isinstance(way, ReplicaSet) else None,
        verification=case.policy.spec.verification,
        approval_policy=case.policy.spec.approval,
        trigger=order.trigger,
        owner=gitops.planned(case.workload.deployment.owner, case.policy.spec.safety.git_ops),
    )


def make_trigger(
    verdict: Verdict, match: Match, deadline: datetime | None, now: datetime
) -> Trigger:
    """Record a verdict, and the evidence that met the rule, as the reason of a rollback."""
    one = match.scope
    message = verdict.message if one is None else explain.scope(one, verdict.reason)
    return Trigger(
        reason=verdict.reason,
        message=message[:2048],
        first_bad_time=(
            datetime.fromtimestamp(verdict.first_bad, now.tzinfo) if verdict.first_bad else None
        ),
        decided_time=now,
        deadline_time=deadline,
        requests=round(one.requests) if one else 0,
        errors=round(one.errors) if one else 0,
        control_requests=round(one.control_requests) if one else 0,
        control_errors=round(one.control_errors) if one else 0,
        odds=explain.ratio(one.odds) if one else "",
        blame_odds=explain.ratio(one.blame.odds) if one and one.blame else "",
        signal=match.symptom.signal if match.symptom is not None else None,
    )


def rollback_name(case: Case) -> str:
    """Make the name under which this policy's rollback of this revision is stored."""
    policy = PolicyRef(name=case.policy.metadata.name, uid=case.policy.metadata.uid)
    deployment = case.workload.deployment
    revision = deployment.template.digest, deployment.revision
    return _name(policy, deployment.uid, revision, case.policy.spec.mode)


def name_of(spec: RollbackSpec) -> str:
    """Make the name that a Rollback with this spec has if the operator made it."""
    revision = spec.from_revision.digest, spec.from_revision.number
    # What was only proposed, and not approved, must not stand in the way of what is decided later.
    kind = f"{spec.mode}/proposed" if spec.requires_approval else spec.mode
    return _name(spec.policy_ref, spec.target_ref.uid, revision, kind)


def _name(policy: PolicyRef, target_uid: str, revision: tuple[str, int], kind: str) -> str:
    digest, number = revision
    identity = "/".join((policy.uid, target_uid, digest, str(number), kind))
    suffix = hashlib.sha256(identity.encode()).hexdigest()[:10]
    return f"{policy.name[:NAME_PART].rstrip('-.')}-{suffix}"


def steps_of(spec: RollbackSpec) -> tuple[StepName, ...]:
    """List the steps of a rollback in their order; none in mode Observe."""
    if spec.mode is Mode.OBSERVE:
        return ()
    act = {
        RemedyType.UNDO: StepName.UNDO,
        RemedyType.PIN_IMAGE: StepName.PIN_IMAGE,
        RemedyType.SCALE: StepName.SCALE,
    }[spec.remedy.type]
    restore = (StepName.RESTORE_STRATEGY,) if spec.pace is Pace.EXPRESS else ()
    suspend = (StepName.SUSPEND_OWNER,) if gitops.needs_suspension(spec) else ()
    return (*suspend, act, StepName.ROLLOUT_COMPLETE, *restore, StepName.VERIFY)


def is_active(rollback: Rollback) -> bool:
    """Tell whether a rollback has not ended yet."""
    return rollback.status.outcome is None


# -- guards, in the order in which they are told ---------------------------------------------------


def _recorded(case: Case, _: datetime) -> Refusal | None:
    """The name only arbitrates: once-only comes from looking whether it is there."""
    name = rollback_name(case)
    if any(one.metadata.name == name for one in case.rollbacks):
        return Refusal(Reason.ALREADY_ROLLED_BACK, f"{name} deals with this revision")
    return None


def _owner(case: Case, _: datetime) -> Refusal | None:
    owner = case.workload.deployment.owner
    refused = gitops.refusal(owner, case.policy.spec.safety.git_ops) if owner is not None else None
    return None if refused is None else Refusal(*refused)


def _restored(case: Case, now: datetime) -> Refusal | None:
    """A rollback is never rolled back: it would go on to older and older revisions."""
    digest = case.workload.deployment.template.digest
    span = timedelta(seconds=case.policy.spec.safety.watch_seconds)
    for one in case.rollbacks:
        restored = one.spec.to_revision is not None and one.spec.to_revision.digest == digest
        if restored and one.spec.mode is Mode.ENFORCE and now - _end(one, now) < span:
            return Refusal(
                Reason.IS_A_ROLLBACK,
                f"this revision was restored by {one.metadata.name}; it is not rolled back again",
            )
    return None


def is_restored(case: Case, now: datetime) -> bool:
    """Tell whether the running revision is one that a rollback has just gone back to."""
    return _restored(case, now) is not None


def _active(case: Case, _: datetime) -> Refusal | None:
    one = next((one for one in case.rollbacks if is_active(one)), None)
    if one is None:
        return None
    return Refusal(Reason.ROLLBACK_ACTIVE, f"{one.metadata.name} is still running")


def _cooldown(case: Case, now: datetime) -> Refusal | None:
    deployment = case.workload.deployment
    release = deployment.template.release
    by = f", brought by {deployment.changed_by}" if deployment.changed_by else ""
    span = timedelta(seconds=case.policy.spec.safety.cooldown_seconds)
    for one in _own(case):
        if one.spec.from_revision.release == release and now - _end(one, now) < span:
            return Refusal(
                Reason.COOLDOWN_ACTIVE,
                f"{one.metadata.name} has rolled this release back already and it has come back"
                f"{by}: remove it at its source; it is not rolled back by itself again before "
                f"{(_end(one, now) + span):%Y-%m-%d %H:%M:%S} UTC",
            )
    return None


def _budget(case: Case, now: datetime) -> Refusal | None:
    own = [one for one in _own(case) if not one.is_by_hand]
    day = [one for one in own if now - one.spec.trigger.decided_time < timedelta(days=1)]
    most = case.policy.spec.safety.max_rollbacks_per_day
    if len(day) < most:
        return None
    return Refusal(
        Reason.BUDGET_EXHAUSTED,
        f"{len(day)} rollbacks in the last 24 hours, spec.safety.maxRollbacksPerDay is {most}",
    )


def _cluster(case: Case, _: datetime) -> Refusal | None:
    said = case.load.exhausted if case.policy.spec.mode is Mode.ENFORCE else ""
    return Refusal(Reason.CLUSTER_BUDGET_EXHAUSTED, said) if said else None


_GUARDS: tuple[Callable[[Case, datetime], Refusal | None], ...] = (
    _recorded,
    _owner,
    _active,
    _restored,
    _cooldown,
    _budget,
    _cluster,
)


_NOTHING_DONE = (Outcome.ABANDONED, Outcome.BLOCKED, Outcome.REJECTED)


def obstacle(case: Case, now: datetime) -> Refusal | None:
    """Tell what stands in the way of a person too: others' rollouts, and a rollback that runs."""
    refusals = (guard(case, now) for guard in (_owner, _active))
    return next((one for one in refusals if one is not None), None)


def _own(case: Case) -> list[Rollback]:
    mode = case.policy.spec.mode
    return [
        one
        for one in case.rollbacks
        if one.spec.policy_ref.uid == case.policy.metadata.uid
        and one.spec.mode is mode
        and one.status.outcome not in _NOTHING_DONE
    ]


def _end(rollback: Rollback, now: datetime) -> datetime:
    return rollback.status.finished_time or now


# -- the way back ----------------------------------------------------------------------------------


def _remedy(case: Case, rule: MatrixRule) -> Remedy | None:
    return next(
        (
            one
            for one in case.policy.spec.remedies
            if one.severities is None or rule.severity in one.severities
        ),
        None,
    )


def _way(case: Case, remedy: Remedy) -> ReplicaSet | Refusal | None:
    match remedy.type:
        case RemedyType.UNDO:
            return _undo_target(case, remedy)
        case RemedyType.PIN_IMAGE:
            return _pin(case.workload, remedy)
        case RemedyType.SCALE:
            return _scale(case.workload, remedy)


def _undo_target(case: Case, remedy: Remedy) -> ReplicaSet | Refusal:
    if case.workload.deployment.history_limit == 0:
        return Refusal(
            Reason.NO_HISTORY,
            "the Deployment keeps no old ReplicaSets: set spec.revisionHistoryLimit above 0",
        )
    found = _named(case, remedy)
    if found is None:
        return Refusal(
            Reason.NO_TARGET_REVISION,
            f"no revision to go back to: {_told(remedy)} is not among the Deployment's ReplicaSets",
        )
    if found.template.release == case.workload.deployment.template.release:
        return Refusal(
            Reason.SAME_RELEASE,
            f"revision {found.revision} differs in annotations only: it is the same release",
        )
    if health_of(case.ledger, found.template.release) is Health.BAD:
        return Refusal(
            Reason.TARGET_KNOWN_BAD, f"revision {found.revision} is known to be bad itself"
        )
    return found


def _named(case: Case, remedy: Remedy) -> ReplicaSet | None:
    if remedy.to is UndoTo.LAST_KNOWN_GOOD:
        return last_known_good(case.ledger, case.workload)
    # By the template: the Deployment's number may lag behind that of its newest ReplicaSet.
    current = case.workload.deployment.template.digest
    older = [one for one in case.workload.replica_sets if one.template.digest != current]
    if remedy.to is UndoTo.REVISION:
        return next((one for one in older if one.revision == remedy.revision), None)
    return max(older, key=lambda one: one.revision, default=None)


def _told(remedy: Remedy) -> str:
    return {
        UndoTo.LAST_KNOWN_GOOD: "one that was known good",
        UndoTo.PREVIOUS: "a previous one",
        UndoTo.REVISION: f"number {remedy.revision}",
    }[remedy.to or UndoTo.PREVIOUS]


def _pin(workload: Workload, remedy: Remedy) -> Refusal | None:
    template = workload.deployment.template
    image = template.image_of(remedy.container)
    if image is None:
        return Refusal(
            Reason.UNKNOWN_CONTAINER,
            f"the pod template has no container {remedy.container!r}, only "
            f"{', '.join(template.containers)}: correct spec.remedies[].container",
        )
    if image == remedy.image:
        return Refusal(Reason.ALREADY_AT_TARGET, f"{remedy.container} runs {remedy.image} already")
    return None


def _scale(workload: Workload, remedy: Remedy) -> Refusal | None:
    if workload.autoscaler:
        return Refusal(
            Reason.AUTOSCALER_PRESENT,
            f"HorizontalPodAutoscaler {workload.autoscaler} sets the replicas and would undo this",
        )
    if (remedy.replicas or 0) <= workload.deployment.replicas:
        return Refusal(
            Reason.ALREADY_AT_TARGET,
            f"{workload.deployment.replicas} replicas are there already; capacity is never reduced",
        )
    return None


def _pace(case: Case, order: Order) -> Pace:
    deployment = case.workload.deployment
    fits = (
        order.remedy.type is RemedyType.UNDO
        and order.severity in case.policy.spec.safety.express
        and deployment.strategy == "RollingUpdate"
        and deployment.min_ready_seconds < EXPRESS_READY_SECONDS
    )
    return Pace.EXPRESS if fits else Pace.NORMAL


def _ref(replica_set: ReplicaSet, ledger: Sequence[LedgerEntry]) -> RevisionRef:
    return RevisionRef(
        number=replica_set.revision,
        template_hash=replica_set.pod_hash,
        digest=replica_set.template.digest,
        release=replica_set.template.release,
        images=list(replica_set.template.images),
        replica_set=replica_set.name,
        replica_set_uid=replica_set.uid,
        health=health_of(ledger, replica_set.template.release) or Health.UNKNOWN,
    )


def _from(workload: Workload, way: ReplicaSet | None) -> RevisionRef:
    deployment, current = workload.deployment, workload.current
    kept = set(way.template.images) if way is not None else set()
    digests = {
        digest
        for pod in workload.current_of(workload.pods)
        for container, digest in pod.image_digests
        if deployment.template.image_of(container) not in {None, *kept}
    }
    return RevisionRef(
        number=deployment.revision,
        template_hash=current.pod_hash if current else "",
        digest=deployment.template.digest,
        release=deployment.template.release,
        images=list(deployment.template.images),
        image_digests=sorted(digests)[:32],
        replica_set=current.name if current else "",
        replica_set_uid=current.uid if current else "",
        health=Health.BAD,
    )
