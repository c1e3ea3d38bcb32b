"""Rule -> plan, or the reason why there is none: remedy, target, pace.

A plan is a Rollback's spec: the intent, stored before any change.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from rollback_operator.api.checklist import DatabaseSpec, NewerSchemaResponse
from rollback_operator.api.reasons import Reason
from rollback_operator.api.safety import PodCommand
from rollback_operator.api.shape import MOST_IMAGES, clipped
from rollback_operator.api.v1alpha1 import (
    Health,
    LedgerEntry,
    MatrixRule,
    MatrixSeverity,
    Mode,
    Pace,
    PolicyRef,
    Remedy,
    RemedyType,
    RevisionRef,
    RollbackSpec,
    RollbackTarget,
    SignalName,
    Trigger,
)
from rollback_operator.decide import guards
from rollback_operator.decide.matrix import Match
from rollback_operator.decide.restoring import RestorePlan, plan_restore
from rollback_operator.decide.target import resolve_target
from rollback_operator.judge import explain
from rollback_operator.model.context import Case, Refusal
from rollback_operator.model.verdict import Verdict
from rollback_operator.model.workload import ReplicaSet, Template, Workload
from rollback_operator.releases.ledger import health_of, revision_of
from rollback_operator.releases.way_back import of_case
from rollback_operator.remedies import attempts, autoscaling, flags, gitops, stopped_traffic
from rollback_operator.remedies.steps import KEEP_THE_RELEASE

EXPRESS_READY_SECONDS = 30
LONGEST_TEXT = 2048


@dataclass(frozen=True, slots=True)
class Order:
    """A chosen remedy, and the reason."""

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
        rule: the matched rule of the matrix.
        trigger: the reason, for the record.
        now: the time of the decision.
    """
    refused = guards.refusal(case, rule.severity, now)
    if refused is not None:
        return refused
    passed: list[str] = []
    for remedy in _remedies(case, rule):
        if remedy.flag is not None and (why := flags.unfit(case, remedy.flag, now)):
            passed.append(f"{flags.named(remedy.flag)}: {why}")
            continue
        if remedy.replicas and (why := guards.scaled_before(case, remedy.replicas, now)):
            passed.append(f"Scale to {remedy.replicas} replicas: {why}")
            continue
        made = _after(passed, case, Order(remedy, rule.severity, case.policy.spec.mode, trigger))
        return made if isinstance(made, Refusal) else tried(case, made, now)
    if passed:
        message = f"no remedy is left for {rule.severity}: {'; '.join(passed)}"
        return Refusal(Reason.NO_REMEDY_LEFT, message)
    return Refusal(
        Reason.NO_REMEDY,
        f"no remedy applies to {rule.severity}: add one to spec.remedies, or remove its severities",
    )


def tried(case: Case, spec: RollbackSpec, now: datetime) -> RollbackSpec | Refusal:
    """Number the attempt of a plan, or refuse it for now."""
    last = attempts.of_plan(case.rollbacks, spec)
    attempt = attempts.following(last, now)
    if last is not None and attempt is None:
        return Refusal(Reason.ALREADY_ROLLED_BACK, attempts.attempt_message(last, of_case(case)))
    return attempts.numbered(spec, attempt or 1)


def _remedies(case: Case, rule: MatrixRule) -> Iterator[Remedy]:
    for one in case.policy.spec.remedies:
        if one.applies_to(rule.severity):
            yield one


def _after(passed: Sequence[str], case: Case, order: Order) -> RollbackSpec | Refusal:
    """Plan a remedy, and record the earlier remedies that do not apply."""
    if not passed:
        return plan_remedy(case, order)
    before = f"skipped before: {'; '.join(passed)}"
    message = clipped(f"{order.trigger.message}; {before}", LONGEST_TEXT)
    trigger = order.trigger.model_copy(update={"message": message})
    made = plan_remedy(case, replace(order, trigger=trigger))
    return Refusal(made.reason, f"{made.message}; {before}") if isinstance(made, Refusal) else made


def plan_remedy(case: Case, order: Order) -> RollbackSpec | Refusal:
    """Plan a chosen remedy: its rollback target and its pace."""
    found = resolve_target(case, order.remedy)
    if isinstance(found, Refusal):
        return found
    restore = plan_restore(case, order.remedy, found) if found is not None else RestorePlan()
    if isinstance(restore, Refusal):
        return restore
    return RollbackSpec(
        policy_ref=PolicyRef(name=case.policy.metadata.name, uid=case.policy.metadata.uid),
        target_ref=RollbackTarget(
            name=case.workload.deployment.name, uid=case.workload.deployment.uid
        ),
        mode=order.mode,
        severity=order.severity,
        remedy=order.remedy,
        pace=_pace(case, order),
        from_revision=_from(case.workload, found, order.remedy.container),
        to_revision=_ref(found, case.ledger) if isinstance(found, ReplicaSet) else None,
        flag=flags.planned(case, order.remedy.flag) if order.remedy.flag is not None else None,
        config_maps=list(restore.config_maps),
        kept_configuration=restore.kept,
        verification=case.policy.spec.verification,
        approval_policy=case.policy.spec.approval,
        database=_database(case, order.remedy),
        trigger=order.trigger,
        owner=gitops.planned(case.workload.deployment.owner, case.policy.spec.safety.git_ops),
        updaters=gitops.planned_updaters(case.workload.deployment),
        autoscaler=(
            autoscaling.planned(case.workload, case.policy) if order.remedy.replicas else None
        ),
        diagnosis=_diagnosis(case, order),
        traffic=stopped_traffic.planned(case.policy, order.remedy, order.trigger.signal),
    )


def _database(case: Case, remedy: Remedy) -> DatabaseSpec | None:
    """Return the database if the policy allows rolling its migrations back for this remedy."""
    database = case.policy.spec.database
    if database is None or remedy.type in KEEP_THE_RELEASE:
        return None
    is_allowed = database.on_newer_schema is NewerSchemaResponse.ROLLBACK_MIGRATIONS
    return database if is_allowed else None


_DIAGNOSED = (
    SignalName.OOM_KILLS,
    SignalName.RESTARTS,
    SignalName.MEMORY_GROWTH,
    SignalName.LATENCY,
    SignalName.LATENCY_RATIO,
)
"""Signals of a release that still serves, whose cause only its pods show."""


def _diagnosis(case: Case, order: Order) -> PodCommand | None:
    is_shown = order.trigger.signal in _DIAGNOSED
    return case.policy.spec.diagnosis.run if is_shown else None


def make_trigger(
    verdict: Verdict, match: Match, deadline: datetime | None, now: datetime
) -> Trigger:
    """Record a verdict and the matching evidence as the reason for a rollback."""
    one = match.scope
    message = (
        match.evidence(verdict) if one is None else explain.describe_scope(one, verdict.reason)
    )
    return Trigger(
        reason=verdict.reason,
        message=clipped(message, LONGEST_TEXT),
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


def _pace(case: Case, order: Order) -> Pace:
    deployment = case.workload.deployment
    fits = (
        order.remedy.type is RemedyType.UNDO
        and order.trigger.signal is not SignalName.INTEGRITY  # without traffic nothing surges
        and order.severity in case.policy.spec.safety.express
        and deployment.strategy == "RollingUpdate"
        and deployment.min_ready_seconds < EXPRESS_READY_SECONDS
    )
    return Pace.EXPRESS if fits else Pace.NORMAL


def _ref(replica_set: ReplicaSet, ledger: Sequence[LedgerEntry]) -> RevisionRef:
    return RevisionRef(
        **dict(revision_of(replica_set, None)),
        unannotated_digest=replica_set.template.unannotated or None,
        replica_set=replica_set.name,
        replica_set_uid=replica_set.uid,
        health=health_of(ledger, replica_set.template.release) or Health.UNKNOWN,
    )


def _from(workload: Workload, target: ReplicaSet | None, pinned: str | None) -> RevisionRef:
    deployment, current = workload.deployment, workload.current
    kept = set(target.template.all_images) if target is not None else set()
    named = deployment.template.image_by_name
    digests = {
        digest
        for pod in workload.current_of(workload.pods)
        for container, digest in pod.image_digests
        if named.get(container) not in {None, *kept} and pinned in (None, container)
    }
    brought = [one for one in _at_fault(deployment.template, pinned) if one not in kept]
    return RevisionRef(
        number=deployment.revision,
        template_hash=current.pod_hash if current else "",
        digest=deployment.template.digest,
        release=deployment.template.release,
        unannotated_digest=deployment.template.unannotated or None,
        configuration=deployment.template.configuration,
        images=deployment.template.images_from(pinned),
        init_images=list(deployment.template.init_images),
        image_digests=sorted(digests)[:MOST_IMAGES],
        brought_images=list(dict.fromkeys(brought)) if target or pinned else None,
        replica_set=current.name if current else "",
        replica_set_uid=current.uid if current else "",
        health=Health.BAD,
    )


def _at_fault(template: Template, pinned: str | None) -> Iterable[str]:
    """Return the images that the rollback replaces: all, or that of the pinned container.

    Images that other containers share are excluded: they stay, and are not at fault.
    """
    if pinned is None:
        return template.all_images
    named = template.image_by_name
    staying = {image for name, image in named.items() if name != pinned}
    return {named[pinned]} - staying if pinned in named else ()
