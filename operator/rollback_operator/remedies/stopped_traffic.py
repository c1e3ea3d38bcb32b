"""Traffic that is stopped for the duration of a rollback, and restored to what it was before.

Pure. The earlier state is on record before any change: the replicas of the Deployment, or the
selector of a Service. It is restored by a step of the rollback; after a rollback that ended before
that step, as soon as the bad release no longer runs or a person requests it, and only while no
other client has changed it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from rollback_operator.api.checklist import NewerSchemaResponse
from rollback_operator.api.crd import GROUP, TRAFFIC_FINALIZER
from rollback_operator.api.reasons import ConditionType, Reason
from rollback_operator.api.remedy import LONGEST_SELECTOR, TrafficPlan, TrafficRecord
from rollback_operator.api.shape import clipped
from rollback_operator.api.v1alpha1 import (
    Condition,
    Outcome,
    Remedy,
    Rollback,
    RollbackPolicy,
    RollbackStatus,
    SignalName,
    TrafficStop,
)
from rollback_operator.api.verification import CorruptionResponse
from rollback_operator.model import commands, conditions
from rollback_operator.model.pod import Pod
from rollback_operator.model.services import ServiceSelector
from rollback_operator.model.workload import Deployment, ReplicaSet
from rollback_operator.remedies.progress import RollbackEnd, is_stale
from rollback_operator.remedies.rollouts import runs_judged
from rollback_operator.remedies.steps import keeps_release

RESTORE_TRAFFIC = f"{GROUP}/restore-traffic"
"""Annotation on a Rollback: a person requests that the traffic is restored now."""
TRAFFIC_POLL_SECONDS = 5.0
"""Interval of the checks whether the bad release still runs while the traffic is stopped."""
ASSESSMENT_SECONDS = 60.0
"""A database that does not answer for so long is not waited for: the rollback continues."""


# -- before the act --------------------------------------------------------------------------------


def planned(
    policy: RollbackPolicy, remedy: Remedy, signal: SignalName | None
) -> TrafficPlan | None:
    """Plan the stop of the traffic; None: the traffic continues.

    Args:
        policy: its `database.onCorruption` states how the traffic is stopped: of a release that
            damages data, or while migrations are rolled back that neither release can do without.
        remedy: Scale to zero is a stop that lasts.
        signal: the matrix signal that led to the rollback.
    """
    if remedy.replicas == 0:
        return TrafficPlan(stop=TrafficStop.REPLICAS)
    database = policy.spec.database
    rules = database.on_corruption if database is not None else None
    if database is None or rules is None or keeps_release(remedy.type):
        return None
    if signal is SignalName.INTEGRITY:
        assess = rules.assess
    elif database.on_newer_schema is NewerSchemaResponse.ROLLBACK_MIGRATIONS:
        assess = []  # no data is damaged
    else:
        return None
    return TrafficPlan(stop=rules.stop_traffic, service=rules.service or "", assess=assess)


def is_asked(policy: RollbackPolicy, signal: SignalName | None) -> bool:
    """Return whether a person is asked before a rollback because of damaged data."""
    database = policy.spec.database
    rules = database.on_corruption if database is not None else None
    if rules is None or signal is not SignalName.INTEGRITY:
        return False
    return rules.response is CorruptionResponse.REQUIRE_APPROVAL


def is_unfit(
    rollback: Rollback, selected: ServiceSelector | None, revision: ReplicaSet | None
) -> bool:
    """Return whether the Service of a plan is gone, or does not select the release's pods."""
    plan = rollback.spec.traffic
    if plan is None or plan.stop is not TrafficStop.SERVICE:
        return False
    labels = dict(revision.labels) if revision is not None else {}
    kept = selected.original if selected is not None else {}
    return not kept or any(labels.get(name) != value for name, value in kept.items())


def is_anothers(rollback: Rollback, selected: ServiceSelector | None) -> bool:
    """Return whether a Service is stopped for another rollback, which will restore it."""
    return selected is not None and selected.mark not in ("", mark_of(rollback))


def anothers(rollback: Rollback) -> RollbackEnd:
    """End a rollback whose Service another rollback has stopped for too long."""
    plan = rollback.spec.traffic
    message = (
        f"Service {plan.service if plan is not None else ''} is stopped for the rollback of "
        f"another Deployment, and was not restored in {rollback.spec.verification.timeout_seconds} "
        "s; nothing was changed"
    )
    return RollbackEnd(Outcome.FAILED, Reason.TRAFFIC_NOT_STOPPED, message)


def unfit(rollback: Rollback) -> RollbackEnd:
    """End a rollback whose Service is not that of the Deployment."""
    plan = rollback.spec.traffic
    message = (
        f"Service {plan.service if plan is not None else ''} does not exist, or does not select "
        "the pods of the Deployment: correct spec.database.onCorruption.service; nothing was "
        "changed"
    )
    return RollbackEnd(Outcome.FAILED, Reason.TRAFFIC_NOT_STOPPED, message)


# -- on record -------------------------------------------------------------------------------------


def recorded(
    rollback: Rollback, deployment: Deployment, selected: ServiceSelector | None
) -> TrafficRecord:
    """Make the record that must exist before the traffic is stopped.

    Until then it follows what other clients set: a stop that failed may be tried again much later.
    """
    record = rollback.status.traffic
    is_stopped = bool(selected.mark) if selected is not None else not deployment.replicas
    if record is not None and is_stopped:
        return record  # written by an earlier leader
    if selected is None:
        return TrafficRecord(replicas=deployment.replicas)
    text = clipped(_selector_text(selected.original), LONGEST_SELECTOR)
    return TrafficRecord(service_uid=selected.uid, selector=text)


def _selector_text(selector: Mapping[str, str]) -> str:
    return ",".join(f"{name}={value}" for name, value in sorted(selector.items()))


def mark_of(rollback: Rollback) -> str:
    """Return the value of the label that a stopped Service requires, and no pod has."""
    return rollback.metadata.uid


def is_open(rollback: Rollback) -> bool:
    """Return whether traffic is stopped, as far as is known."""
    record = rollback.status.traffic
    return record is not None and record.is_open


def is_too_late(rollback: Rollback, now: datetime) -> bool:
    """Return whether an act is no longer carried out: it was decided too long ago.

    Never while the traffic is stopped: only the end of the rollback restores it.
    """
    return not is_open(rollback) and is_stale(rollback, now)


def is_guarded(rollback: Rollback) -> bool:
    """Return whether a deleted Rollback stays until its traffic is restored."""
    return TRAFFIC_FINALIZER in rollback.metadata.finalizers


def is_left(rollback: Rollback) -> bool:
    """Return whether an ended rollback has traffic to restore, or a finalizer to remove."""
    return rollback.status.outcome is not None and (is_open(rollback) or is_guarded(rollback))


def is_wanted_back(rollback: Rollback) -> bool:
    """Return whether a person wants the traffic back: requested it, or deletes the record."""
    meta = rollback.metadata
    return RESTORE_TRAFFIC in meta.annotations or meta.deletion_timestamp is not None


def _described(rollback: Rollback, verb: str) -> str:
    """Describe the stop; `verb` states whether it is still to be made."""
    plan, record = rollback.spec.traffic, rollback.status.traffic
    if plan is not None and plan.stop is TrafficStop.SERVICE:
        before = f" (its selector was {record.selector})" if record is not None else ""
        return f"Service {plan.service} {verb} to select no pod{before}"
    before = f"from {record.replicas} " if record is not None else ""
    return f"Deployment {rollback.spec.target_ref.name} {verb} {before}to 0 replicas"


def command(rollback: Rollback) -> str:
    """Return the command by which a person restores the traffic."""
    return commands.resume(rollback.spec.policy_ref.name, rollback.metadata.namespace)


def intended_condition(rollback: Rollback) -> Condition:
    """Announce the stop, before it is made."""
    message = f"to be stopped: {_described(rollback, 'is to be set')}"
    kind = ConditionType.TRAFFIC_STOPPED
    return conditions.condition(kind, None, Reason.IN_PROGRESS, message)


def stopped_condition(rollback: Rollback) -> Condition:
    """State the stop, its end, and the command that ends it."""
    message = (
        f"{_described(rollback, 'was set')}. It is restored when revision "
        f"{rollback.spec.from_revision.number} no longer runs. To restore it now: "
        f"{command(rollback)}"
    )
    kind = ConditionType.TRAFFIC_STOPPED
    return conditions.condition(kind, True, Reason.STOPPED_FOR_ROLLBACK, message)


def is_reported(rollback: Rollback) -> bool:
    """Return whether people know that the traffic is stopped."""
    known = conditions.find(rollback.status.conditions, ConditionType.TRAFFIC_STOPPED)
    return known is not None and known.status == "True"


def stored(
    status: RollbackStatus, record: TrafficRecord, condition: Condition, now: datetime
) -> RollbackStatus:
    """Record the state of the traffic."""
    updated = conditions.upsert(status.conditions, [condition], 1, now)
    return status.model_copy(update={"traffic": record, "conditions": updated})


# -- the stop --------------------------------------------------------------------------------------


def running(pods: Iterable[Pod]) -> tuple[Pod, ...]:
    """Select the pods that may still write: failed pods stay on record with no container."""
    return tuple(pod for pod in pods if pod.started is not None or not pod.terminating)


def lasting_stop(rollback: Rollback) -> RollbackEnd:
    """End a Scale to zero: a person decides when the traffic is restored."""
    message = f"{_described(rollback, 'was set')}. To restore it: {command(rollback)}"
    return RollbackEnd(Outcome.UNKNOWN, Reason.TRAFFIC_STOPPED, message)


def pods_left(rollback: Rollback, count: int) -> RollbackEnd:
    """End a rollback whose pods do not stop: they may still write."""
    seconds = rollback.spec.verification.timeout_seconds
    message = f"{count} pods did not stop in {seconds} s; nothing else was changed"
    return RollbackEnd(Outcome.FAILED, Reason.TRAFFIC_NOT_STOPPED, message)


# -- after the end ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TrafficSettled:
    """Nothing is left to restore."""

    reason: Reason
    message: str

    def as_end(self) -> RollbackEnd:
        """End a rollback whose stop another client has ended: it is not repeated."""
        message = f"the traffic was to stay stopped, and {self.message}"
        return RollbackEnd(Outcome.FAILED, Reason.TRAFFIC_CHANGED, message)


def superseded(rollback: Rollback, others: Iterable[Rollback]) -> TrafficSettled | None:
    """Return the newer stop of the same Deployment, if any: the zero replicas are its own.

    A newer rollback has recorded replicas: somebody had ended this stop before.

    Args:
        rollback: with an open record.
        others: all Rollbacks of its Deployment.
    """
    if rollback.spec.traffic is None or rollback.spec.traffic.stop is TrafficStop.SERVICE:
        return None  # a Service is marked with the Rollback that stopped it
    newer = [
        other.metadata.name
        for other in others
        if _age(other) > _age(rollback)
        and is_open(other)
        and other.status.traffic is not None
        and other.status.traffic.replicas
    ]
    if not newer:
        return None
    return TrafficSettled(Reason.TRAFFIC_CHANGED, f"Rollback {newer[0]} has stopped it since")


def _age(rollback: Rollback) -> tuple[datetime, str]:
    created = rollback.metadata.creation_timestamp or datetime.min.replace(tzinfo=UTC)
    return created, rollback.metadata.name


def taken_over(
    rollback: Rollback, deployment: Deployment | None, selected: ServiceSelector | None
) -> TrafficSettled | None:
    """Return why nothing is to be restored; None: the traffic is still stopped by this rollback.

    Args:
        rollback: with an open record.
        deployment: its Deployment, as read just now; None: it is gone.
        selected: the Service of the plan; None: the plan has none, or it is gone.
    """
    plan, record = rollback.spec.traffic, rollback.status.traffic
    assert plan is not None
    assert record is not None
    if plan.stop is TrafficStop.SERVICE:
        return _selected_otherwise(rollback, record, selected)
    if deployment is None or deployment.uid != rollback.spec.target_ref.uid:
        return TrafficSettled(Reason.TRAFFIC_CHANGED, "the Deployment was deleted, or recreated")
    if deployment.replicas:
        is_same = deployment.replicas == record.replicas
        reason = Reason.TRAFFIC_RESTORED if is_same else Reason.TRAFFIC_CHANGED
        return TrafficSettled(reason, f"it has {deployment.replicas} replicas")
    if not deployment.is_stopped:
        message = "another client has set 0 replicas since: they stay"
        return TrafficSettled(Reason.TRAFFIC_CHANGED, message)
    return None


def _selected_otherwise(
    rollback: Rollback, record: TrafficRecord, selected: ServiceSelector | None
) -> TrafficSettled | None:
    if selected is None or selected.uid != record.service_uid:
        return TrafficSettled(Reason.TRAFFIC_CHANGED, "the Service is gone")
    if selected.mark == mark_of(rollback):
        return None
    text = _selector_text(selected.original)
    return TrafficSettled(Reason.TRAFFIC_RESTORED, f"Service {selected.name} selects {text}")


def restore_reason(rollback: Rollback, deployment: Deployment | None) -> str:
    """Return why the traffic of an ended rollback is restored now; empty: it stays stopped.

    As long as the bad release is the Deployment's, it would go on with what it did.
    """
    if RESTORE_TRAFFIC in rollback.metadata.annotations:
        return "a person requested it"
    if rollback.metadata.deletion_timestamp is not None:
        return f"Rollback {rollback.metadata.name}, which stopped it, is deleted"
    if deployment is None or not runs_judged(rollback.spec, deployment.template):
        return "the bad release no longer runs"
    return ""


def restored(rollback: Rollback, why: str) -> TrafficSettled:
    """State that the traffic was restored."""
    plan, record = rollback.spec.traffic, rollback.status.traffic
    assert plan is not None
    assert record is not None
    what = (
        f"Service {plan.service} selects {record.selector}"
        if plan.stop is TrafficStop.SERVICE
        else f"{record.replicas} replicas are set"
    )
    return TrafficSettled(Reason.TRAFFIC_RESTORED, f"{what} as before: {why}")


def closed(
    rollback: Rollback, end: TrafficSettled, now: datetime
) -> tuple[TrafficRecord, Condition]:
    """Record that the traffic is restored, or why it is left."""
    record = rollback.status.traffic
    assert record is not None
    changes = {"restored_time": now, "restore_message": clipped(end.message, 512)}
    kind = ConditionType.TRAFFIC_STOPPED
    condition = conditions.condition(kind, False, end.reason, end.message)
    return record.model_copy(update=changes), condition
