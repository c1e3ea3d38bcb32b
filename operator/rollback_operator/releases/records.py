"""Retention of ended Rollbacks: the newest records, and the facts that guards still need.

Pure. Of each kind the newest records are kept, and all records in use. Turned-down records are a
separate kind: people may create any number of them, and they must not evict that of a rollback.
Records are deleted, pruned or not restored, and a recreated Deployment has another uid. Records
take precedence; `status.recentRollbacks` replaces a lost record, and is rebuilt from the records.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta

from rollback_operator.api.policy_status import MOST_RECENT, RecentRollback
from rollback_operator.api.reasons import ConditionType, Reason
from rollback_operator.api.shape import fitted
from rollback_operator.api.v1alpha1 import (
    BOUNDS_FINALIZER,
    FINALIZER,
    OWNER_FINALIZER,
    TRAFFIC_FINALIZER,
    LastRollback,
    Mode,
    Outcome,
    Rollback,
    RollbackPolicy,
    RollbackRequest,
    SafetySpec,
    StepName,
)
from rollback_operator.model.conditions import find
from rollback_operator.model.context import Case, is_active
from rollback_operator.model.workload import Template, Workload
from rollback_operator.releases import statements
from rollback_operator.releases.statements import condemns
from rollback_operator.remedies import autoscaling, stopped_traffic, suspension
from rollback_operator.remedies.attempts import is_left, is_unbegun, vanished
from rollback_operator.remedies.gitops import act_of
from rollback_operator.remedies.progress import (
    NOTHING_DONE,
    decided_time,
    ended_time,
    step_status,
    was_done,
)

DAY = timedelta(days=1)
_OUTCOMES_AFTER_ACT = (Outcome.VERIFIED, Outcome.NOT_RECOVERED, Outcome.UNKNOWN)


def is_turned_down(rollback: Rollback) -> bool:
    """Return whether a Rollback's whole plan was written by hand, and so not executed."""
    done = find(rollback.status.conditions, ConditionType.COMPLETE)
    return done is not None and done.reason == Reason.NOT_OF_THIS_POLICY


# -- records for the guards ------------------------------------------------------------------------


def of_target(case: Case, now: datetime) -> list[RecentRollback]:
    """List the rollbacks of the target, of any author, and earlier rollbacks of its name."""
    name = case.workload.deployment.name
    return [*_on_record(case, now), *(record for record in case.past if record.deployment == name)]


def of_policy(case: Case, now: datetime) -> list[RecentRollback]:
    """List the rollbacks of the policy, of any target, and all of its target.

    The key is the name: a recreated policy keeps its rollbacks. A policy under another name on the
    same Deployment gives no new budget.
    """
    return [*_on_record(case, now), *case.past]


def restored(case: Case) -> frozenset[str]:
    """Return the releases that rollbacks of the target have restored."""
    name = case.workload.deployment.name
    past = (
        record for record in case.past if record.deployment == name and record.mode is Mode.ENFORCE
    )
    led_away = (record for record in past if record.done or record.outcome in _OUTCOMES_AFTER_ACT)
    gone_back_to = {record.to_release for record in led_away if record.to_release}
    return statements.restored(case.rollbacks) | gone_back_to


def is_done(record: RecentRollback) -> bool:
    """Return whether a rollback has acted, or is acting, whatever its outcome."""
    return not is_left(record.outcome, record.done, record.retryable)


def ended(record: RecentRollback) -> datetime:
    """Return the end of a rollback; of a rollback deleted before its end, the decision time."""
    return record.finished_time or record.decided_time


def _on_record(case: Case, now: datetime) -> list[RecentRollback]:
    return [
        of_rollback(rollback, case.workload, now).model_copy(
            update={"finished_time": ended_time(rollback, now)}
        )
        for rollback in case.rollbacks
    ]


# -- stored summaries ------------------------------------------------------------------------------


def of_rollback(rollback: Rollback, workload: Workload | None, now: datetime) -> RecentRollback:
    """Summarize a Rollback.

    Args:
        rollback: ended or not.
        workload: its target, if known: it shows the release of a pinned image.
        now: the current time.
    """
    spec, status = rollback.spec, rollback.status
    to_release = spec.to_revision.release if spec.to_revision is not None else None
    if to_release is None and workload is not None and _is_pinned(rollback, workload):
        to_release = workload.deployment.template.release
    return RecentRollback(
        name=rollback.metadata.name,
        deployment=spec.target_ref.name,
        mode=spec.mode,
        severity=status.severity or spec.severity,
        from_release=spec.from_revision.release,
        to_release=to_release,
        flag=spec.remedy.flag,
        replicas=spec.remedy.replicas,
        by_hand=rollback.is_by_hand,
        outcome=status.outcome,
        done=was_done(rollback) or (is_active(rollback) and act_of(rollback) is not None),
        retryable=is_unbegun(rollback),
        decided_time=decided_time(rollback, now),
        finished_time=ended_time(rollback, now) if status.finished_time is not None else None,
    )


def last(rollbacks: Sequence[Rollback]) -> LastRollback | None:
    """Summarize the newest Rollback; None: there is no Rollback."""
    newest = max(rollbacks, key=lambda rollback: rollback.spec.trigger.decided_time, default=None)
    if newest is None:
        return None
    return LastRollback(
        name=newest.metadata.name,
        outcome=newest.status.outcome,
        time=newest.status.finished_time or newest.spec.trigger.decided_time,
    )


def past(
    policy: RollbackPolicy, workload: Workload, rollbacks: Sequence[Rollback], now: datetime
) -> list[RecentRollback]:
    """List the policy's rollbacks beside the Rollbacks of its current target.

    Args:
        policy: the policy, with its stored summaries.
        workload: its target.
        rollbacks: all of the target, and all that name the policy.
        now: the current time.
    """
    uid = workload.deployment.uid
    others = [rollback for rollback in rollbacks if rollback.spec.target_ref.uid != uid]
    earlier = [
        of_rollback(rollback, None, now) for rollback in others if not is_turned_down(rollback)
    ]
    return [*earlier, *_without_record(policy.status.recent_rollbacks, rollbacks, now)]


def remembered(
    stored: Sequence[RecentRollback],
    rollbacks: Sequence[Rollback],
    workload: Workload | None,
    now: datetime,
) -> list[RecentRollback]:
    """List all known rollbacks of a policy.

    Args:
        stored: the stored summaries.
        rollbacks: all that name the policy.
        workload: its target; None: it was not read.
        now: the current time.
    """
    releases = {record.name: record.to_release for record in stored}
    summaries = [
        of_rollback(rollback, workload, now)
        for rollback in rollbacks
        if not is_turned_down(rollback)
    ]
    completed = [
        record.model_copy(update={"to_release": record.to_release or releases.get(record.name)})
        for record in summaries
    ]
    return [*completed, *_without_record(stored, rollbacks, now)]


def _without_record(
    stored: Iterable[RecentRollback], rollbacks: Iterable[Rollback], now: datetime
) -> list[RecentRollback]:
    """Return the stored rollbacks without a record; a future time counts as now.

    No object is left that could still end: an open summary gets the outcome that it shows.
    """
    names = {rollback.metadata.name for rollback in rollbacks}
    return [
        record.model_copy(
            update={
                "decided_time": min(record.decided_time, now),
                "finished_time": min(ended(record), now),
                "outcome": record.outcome or vanished(record.done),
            }
        )
        for record in stored
        if record.name not in names
    ]


def needed(
    records: Iterable[RecentRollback], safety: SafetySpec, now: datetime
) -> list[RecentRollback]:
    """Return the records that guards need, newest first: of each kind the newest of a release.

    Args:
        records: of one policy.
        safety: the policy's time limits.
        now: the current time.
    """
    newest = sorted(records, key=lambda record: record.decided_time, reverse=True)
    wanted = {record.name for record in newest if record.outcome is None}
    cold = timedelta(seconds=safety.cooldown_seconds)
    watched = timedelta(seconds=safety.watch_seconds)
    for kind, span in (
        (_replaced_release, cold),
        (_restored_release, watched),
        (_unapplied_plan, watched),
    ):
        wanted |= _newest([record for record in newest if now - ended(record) < span], kind)
    wanted |= _counted_today(newest, safety.max_rollbacks_per_day, now)
    return [record for record in newest if record.name in wanted][:MOST_RECENT]


_Kind = Callable[[RecentRollback], tuple[object, ...] | None]


def _newest(records: Iterable[RecentRollback], kind: _Kind) -> set[str]:
    names: dict[tuple[object, ...], str] = {}
    for record in records:
        key = kind(record)
        if key is not None:
            names.setdefault(key, record.name)
    return set(names.values())


def _replaced_release(record: RecentRollback) -> tuple[object, ...] | None:
    remedy = record.flag and record.flag.key, record.replicas
    key = record.deployment, record.mode, record.from_release, *remedy
    return key if is_done(record) else None


def _restored_release(record: RecentRollback) -> tuple[object, ...] | None:
    is_it = record.to_release is not None and record.mode is Mode.ENFORCE
    return (record.deployment, record.to_release) if is_it else None


def _unapplied_plan(record: RecentRollback) -> tuple[object, ...] | None:
    is_it = not is_done(record) and not record.retryable and not record.by_hand
    return (record.deployment, record.from_release, record.outcome) if is_it else None


def _counted_today(records: Iterable[RecentRollback], most: int, now: datetime) -> set[str]:
    counted = [record for record in records if is_counted(record, now)]
    of_mode = [[record.name for record in counted if record.mode is mode] for mode in Mode]
    return {name for names in of_mode for name in names[:most]}


def is_counted(record: RecentRollback, now: datetime) -> bool:
    """Return whether a rollback counts toward the policy's daily limit."""
    return is_done(record) and not record.by_hand and now - record.decided_time < DAY


# -- a pinned image --------------------------------------------------------------------------------


def _is_pinned(rollback: Rollback, workload: Workload) -> bool:
    """Return whether a PinImage created the running release.

    The images identify it, and of the revisions with them the first since the step: any other
    change by people is a separate release.
    """
    if rollback.spec.remedy.image is None:
        return False
    if rollback.status.outcome in NOTHING_DONE and not was_done(rollback):
        return False
    running = workload.deployment.template
    if not _has_images(rollback, running):
        return False
    act = step_status(rollback, StepName.PIN_IMAGE)
    began = act.revision if act is not None else None
    later = [
        replica_set
        for replica_set in workload.replica_sets
        if began is not None
        and replica_set.revision > began
        and _has_images(rollback, replica_set.template)
    ]
    first = min(later, key=lambda replica_set: replica_set.revision, default=None)
    return first is None or first.template.release == running.release


def _has_images(rollback: Rollback, template: Template) -> bool:
    bad, remedy = rollback.spec.from_revision, rollback.spec.remedy
    images = fitted(template.images_from(remedy.container))
    wanted = fitted([remedy.image, *bad.images[1:]]), bad.init_images
    return bool((images, fitted(list(template.init_images))) == wanted)


KEPT = 20
"""Per policy: of the rollbacks of one Deployment, and of the turned-down records."""
_FINALIZERS = frozenset({FINALIZER, BOUNDS_FINALIZER, OWNER_FINALIZER, TRAFFIC_FINALIZER})
_NO_TIME = datetime.min.replace(tzinfo=UTC)

Record = Rollback | RollbackRequest


def superfluous(
    policy: RollbackPolicy | None,
    rollbacks: Sequence[Rollback],
    requests: Sequence[RollbackRequest],
    now: datetime,
) -> list[Record]:
    """List the records beyond the limit, newest first.

    Args:
        policy: None: it is gone or unreadable, and its rollbacks stay on record.
        rollbacks: all that name the policy, ended or not.
        requests: all that name it, answered or not.
        now: the current time.
    """
    ended = [rollback for rollback in rollbacks if not is_active(rollback)]
    refused = [request for request in requests if request.status.outcome is not None]
    turned_down: list[Record] = [*refused, *filter(is_turned_down, ended)]
    excess = _beyond_limit(turned_down)
    if policy is not None:
        kept = {entry.rollback for entry in policy.status.quarantine} | _condemning_names(
            policy, ended
        )
        done = [rollback for rollback in ended if not is_turned_down(rollback)]
        kept |= _names_for_guards(policy, done, now)
        for target in sorted({rollback.spec.target_ref.name for rollback in done}):
            old = _beyond_limit(
                [rollback for rollback in done if rollback.spec.target_ref.name == target]
            )
            excess += [rollback for rollback in old if rollback.metadata.name not in kept]
    return [record for record in excess if not _is_needed(record)]


def _names_for_guards(policy: RollbackPolicy, ended: Sequence[Rollback], now: datetime) -> set[str]:
    """Return the Rollbacks that guards need: the status repeats them, but may be lost."""
    records = remembered((), ended, None, now)
    return {record.name for record in needed(records, policy.spec.safety, now)}


def _condemning_names(policy: RollbackPolicy, ended: Sequence[Rollback]) -> set[str]:
    """Return the newest Rollback that condemns each existing release.

    Without a ledger, all releases count as existing until the next evaluation.
    """
    existing = {entry.release for entry in policy.status.revisions}
    newest = {
        rollback.spec.from_revision.release: rollback.metadata.name
        for rollback in sorted(ended, key=_time)
        if condemns(rollback)
    }
    return {name for release, name in newest.items() if release in existing or not existing}


def _beyond_limit(records: Iterable[Record]) -> list[Record]:
    return sorted(records, key=_time, reverse=True)[KEPT:]


def _time(record: Record) -> datetime:
    if isinstance(record, Rollback) and not is_turned_down(record):
        return record.spec.trigger.decided_time
    # The spec of a turned-down record proves nothing: any person may have written it.
    return record.status.finished_time or record.metadata.creation_timestamp or _NO_TIME


def _is_needed(record: Record) -> bool:
    """Return whether a record still has work to do, or is already under deletion."""
    meta = record.metadata
    if meta.deletion_timestamp is not None or _FINALIZERS.intersection(meta.finalizers):
        return True
    if any(notification.is_open for notification in record.status.notifications):
        return True  # it notifies people, now or after a crash
    return isinstance(record, Rollback) and (
        suspension.is_open(record) or autoscaling.is_open(record) or stopped_traffic.is_open(record)
    )
