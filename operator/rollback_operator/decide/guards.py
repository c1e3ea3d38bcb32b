"""Guards: conditions that keep the operator from acting, in order of precedence."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from rollback_operator.api.reasons import ConditionType, Reason
from rollback_operator.api.v1alpha1 import MatrixSeverity, Mode, Outcome, Rollback, StepName
from rollback_operator.decide.freeze import frozen
from rollback_operator.model import commands
from rollback_operator.model.conditions import find
from rollback_operator.model.context import Case, Load, Refusal, RollbackBudget, is_active
from rollback_operator.releases import ownership, records, statements, way_back
from rollback_operator.remedies import attempts, flags, gitops, progress


def refusal(case: Case, severity: MatrixSeverity, now: datetime) -> Refusal | None:
    """Return the reason against automatic action; None: there is no reason."""
    return (
        _recorded(case, now)
        or _owner(case)
        or _active(case)
        or _restored(case, now)
        or _cooldown(case, now)
        or _budget(case, now)
        or _cluster(case)
        or _rejected(case, severity, now)
        or _frozen(case, severity, now)
    )


def refusal_to_proceed(case: Case, question: Rollback, now: datetime) -> Refusal | None:
    """Return the reason against an open question that proceeds without an answer.

    All guards applied when it was planned. These are checked again: the policy or the cluster's
    load may have changed since. The question's own record is no earlier rollback.
    """
    severity = question.status.severity or question.spec.severity
    others = [each for each in case.rollbacks if each is not question]
    beside = replace(case, rollbacks=others)
    return (
        _owner(case)
        or _cooldown(beside, now)
        or _budget(beside, now)
        or _cluster(case)
        or _frozen(case, severity, now)
    )


def _frozen(case: Case, severity: MatrixSeverity, now: datetime) -> Refusal | None:
    cold = frozen(case.policy.spec.safety.freeze, now, severity)
    if cold is None:
        return None
    return Refusal(
        Reason.FREEZE_ACTIVE,
        f"spec.safety.freeze: {cold}. The operator does not act until then. "
        f"{way_back.of_case(case)}",
    )


def obstacle(case: Case) -> Refusal | None:
    """Return the refusal that binds people too: another owner's rollouts, or an active rollback."""
    return _owner(case) or _active(case)


def is_restored(case: Case, now: datetime) -> bool:
    """Return whether a rollback has just restored the running revision."""
    return _restored(case, now) is not None


def _recorded(case: Case, now: datetime) -> Refusal | None:
    """Refuse a second rollback of a revision: its name only arbitrates, this check prevents it.

    A rollback that the checklist blocked is retried after a delay, a bounded number of times.
    """
    for last in (attempts.of_revision(case), flags.blocking_rollback(case)):
        if last is not None and attempts.following(last, now) is None:
            message = attempts.attempt_message(last, way_back.of_case(case))
            return Refusal(Reason.ALREADY_ROLLED_BACK, message)
    names = attempts.names_of_revision(case)
    gone = next((one for one in case.past if one.name in names and not one.retryable), None)
    if gone is None:
        return None
    return Refusal(Reason.ALREADY_ROLLED_BACK, f"{gone.name} already handled this revision")


def _owner(case: Case) -> Refusal | None:
    owner = case.workload.deployment.owner
    refused = gitops.refusal(owner, case.policy.spec.safety.git_ops) if owner is not None else None
    return None if refused is None else Refusal(*refused)


def _restored(case: Case, now: datetime) -> Refusal | None:
    """Never roll back a rollback: a chain leads to older and older revisions.

    The key is the release: a restart of a restored release leaves it restored.
    """
    release = case.workload.deployment.template.release
    span = timedelta(seconds=case.policy.spec.safety.watch_seconds)
    for one in records.of_target(case, now):
        restored = one.to_release == release and one.mode is Mode.ENFORCE
        if restored and now - records.ended(one) < span:
            # Other clients may have restored it where the operator could not: the same applies.
            how = "was" if records.is_done(one) else "was to be"
            message = f"this revision {how} restored by {one.name}; it is not rolled back again"
            return Refusal(Reason.IS_A_ROLLBACK, message)
    return None


def _rejected(case: Case, severity: MatrixSeverity, now: datetime) -> Refusal | None:
    """Respect a person's rejection of this release, also after a restart, unless it is worse."""
    release = case.workload.deployment.template.release
    span = timedelta(seconds=case.policy.spec.safety.watch_seconds)
    for one in records.of_target(case, now):
        is_it = one.outcome is Outcome.REJECTED and one.from_release == release
        is_worse = severity < one.severity
        if is_it and not is_worse and not one.by_hand and now - records.ended(one) < span:
            message = (
                f"a person rejected {one.name} for this release. Before "
                f"{records.ended(one) + span:%Y-%m-%d %H:%M:%S} UTC only a higher severity leads "
                f"to another rollback. {way_back.of_case(case)}"
            )
            return Refusal(Reason.REJECTED_BY_PERSON, message)
    return None


def _active(case: Case) -> Refusal | None:
    one = next((one for one in case.rollbacks if is_active(one)), None)
    if one is None:
        return None
    # The policy's own proposal proceeds without a person once its release is proved bad.
    is_proposal = one.spec.requires_approval and one.status.escalated_time is None
    is_own = is_proposal and ownership.is_open(one, case.policy)
    needs_person = awaits_approval(one) and not is_own
    return Refusal(Reason.ROLLBACK_ACTIVE, active_message(one), needs_person)


def awaits_approval(active: Rollback) -> bool:
    """Return whether an active rollback waits for a person."""
    return is_active(active) and active.status.step is StepName.AWAITING_APPROVAL


def active_message(active: Rollback) -> str:
    """Describe the progress of the active rollback, and a person's next action."""
    name = active.metadata.name
    if not awaits_approval(active):
        return f"{name} is still running"
    asked = find(active.status.conditions, ConditionType.APPROVED)
    if asked is not None and asked.reason == Reason.APPROVAL_UNPROTECTED:
        end = commands.withdraw(name, active.metadata.namespace)
        return f"{name} waits for approval: {asked.message}. To end it: {end}"
    decide = commands.approve(name, active.metadata.namespace)
    end = commands.reject(name, active.metadata.namespace)
    return f"{name} waits for approval: approve or reject it first: {decide}; to end it: {end}"


def _cooldown(case: Case, now: datetime) -> Refusal | None:
    deployment = case.workload.deployment
    release = deployment.template.release
    by = f", deployed by {deployment.changed_by}" if deployment.changed_by else ""
    span = timedelta(seconds=case.policy.spec.safety.cooldown_seconds)
    trusted = statements.trusted_time(case.policy, release, now)
    # Of any policy: a recreated policy must not repeat the rollback.
    for one in records.of_target(case, now):
        is_kept = one.flag is not None or one.replicas is not None
        if is_kept or one.mode is not case.policy.spec.mode:
            continue  # the release stayed: the next remedy follows
        is_back = one.from_release == release and records.is_done(one)
        if trusted is not None and one.decided_time < trusted:
            continue  # what failed since then is new evidence
        if is_back and now - records.ended(one) < span:
            return Refusal(
                Reason.COOLDOWN_ACTIVE,
                f"{one.name} rolled back this release and it has come back{by}. It is not rolled "
                f"back automatically again before {records.ended(one) + span:%Y-%m-%d %H:%M:%S} "
                "UTC: remove it at its source",
            )
    return None


def scaled_before(case: Case, replicas: int, now: datetime) -> str:
    """Name the Scale that set at least as many replicas of this release; empty: there is none."""
    release, mode = case.workload.deployment.template.release, case.policy.spec.mode
    span = timedelta(seconds=case.policy.spec.safety.cooldown_seconds)
    for record in records.of_target(case, now):
        is_tried = record.mode is mode and records.is_done(record)
        is_same = record.from_release == release and (record.replicas or 0) >= replicas
        if is_tried and is_same and now - records.ended(record) < span:
            return f"{record.name} tried it on this release ({record.outcome})"
    return ""


def _budget(case: Case, now: datetime) -> Refusal | None:
    # Of any target: a recreated or temporarily changed target gives no new budget.
    own = [one for one in records.of_policy(case, now) if one.mode is case.policy.spec.mode]
    day = [one for one in own if records.is_counted(one, now)]
    most = case.policy.spec.safety.max_rollbacks_per_day
    if len(day) < most:
        return None
    return Refusal(
        Reason.BUDGET_EXHAUSTED,
        f"{len(day)} rollbacks in the last 24 hours, spec.safety.maxRollbacksPerDay is {most}",
    )


def _cluster(case: Case) -> Refusal | None:
    message = case.load.exhausted if case.policy.spec.mode is Mode.ENFORCE else ""
    return Refusal(Reason.CLUSTER_BUDGET_EXHAUSTED, message) if message else None


LONGEST_RUN = timedelta(minutes=15)
"""The duration of a rollout and the default verification after it."""


def load_of(
    rollbacks: Iterable[Rollback], namespace: str, budget: RollbackBudget, now: datetime
) -> Load:
    """Count active and past rollbacks; merely recorded and manual rollbacks cost no budget.

    A rollback that waits for approval blocks no other rollback. Neither does a stale rollback, nor
    a Rollback that the operator did not plan. A rollback counts as active for `LONGEST_RUN` from
    its first step at most: a policy's author sets the length of its verification, and could block
    all others with it.
    For the same reason another namespace's rollbacks count up to half of each limit, the next
    namespace's up to half of the rest, and so on.

    Args:
        rollbacks: all on record.
        namespace: the namespace of the decision.
        budget: the operator's limits.
        now: the current time.
    """
    active: Counter[str] = Counter()
    day: Counter[str] = Counter()
    if budget == RollbackBudget():
        return Load()
    for one in rollbacks:
        if one.spec.mode is not Mode.ENFORCE or one.is_by_hand or not ownership.is_named(one):
            continue
        if one.status.outcome is None and progress.is_stale(one, now):
            continue
        where, decided = one.metadata.namespace, progress.decided_time(one, now)
        is_waiting = progress.next_step(one) is StepName.AWAITING_APPROVAL
        age = now - progress.acting_since(one, decided)
        if one.status.outcome is None and not is_waiting and age < LONGEST_RUN:
            active[where] += 1
        is_left = attempts.is_left(
            one.status.outcome, progress.was_done(one), attempts.is_unbegun(one)
        )
        day[where] += now - decided < records.DAY and not is_left
    return Load(
        budget,
        _felt(active, namespace, budget.max_concurrent),
        _felt(day, namespace, budget.max_per_day),
    )


def _felt(counts: Counter[str], namespace: str, most: int) -> int:
    """Weigh all counts for a namespace: each other counts up to half of the remaining limit.

    Each counts as at least 1: many simultaneous failures need attention, in any namespace.
    """
    felt, left = counts[namespace], most
    for count in sorted((many for one, many in counts.items() if one != namespace), reverse=True):
        share = min(count, max(1, left // 2))
        felt, left = felt + share, left - share
    return felt
