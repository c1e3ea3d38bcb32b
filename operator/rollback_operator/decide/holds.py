"""Holds of a rollout: reason, begin and end. Pure: reconcile/act/holding.py executes them.

A hold on suspicion keeps the old pods alive as the control, until the suspicion fades. A stage hold
stops a rollout at its first new pods until they are proved no worse (judge/non_inferiority.py).
Neither ever exceeds its limit, and neither blocks a rollback: rollbacks and known good releases are
never held.
"""

from datetime import datetime, timedelta

from rollback_operator.api.reasons import Reason
from rollback_operator.api.shape import clipped
from rollback_operator.api.v1alpha1 import (
    HOLD_FINALIZER,
    Health,
    Hold,
    HoldReason,
    Mode,
    Outcome,
    RollbackPolicy,
)
from rollback_operator.decide.decide import Decision
from rollback_operator.decide.freeze import frozen
from rollback_operator.decide.guards import is_restored
from rollback_operator.decide.hold_end import (
    RELEASE_REPLACED,
    HoldEnd,
    HoldFacts,
    is_being_undone,
    is_over,
    lapse,
    latest_end,
    old_pods,
    outcome,
    speaks_against,
    timed_out,
)
from rollback_operator.model.context import Case
from rollback_operator.model.workload import Deployment
from rollback_operator.releases.ledger import health_of
from rollback_operator.remedies.progress import was_done

LEAST_HOLD_SECONDS = 10
"""A hold for less than two scrapes would show nothing."""
_FINAL = frozenset({Reason.PAUSE_LIFTED, Reason.TARGET_PAUSED, Reason.RELEASED_BY_COMMAND})
"""A person has decided about this release: it is not held again."""
_LED_AWAY = frozenset({Outcome.VERIFIED, Outcome.NOT_RECOVERED, Outcome.UNKNOWN})


def wanted_hold(facts: HoldFacts, now: datetime) -> Hold | None:
    """Return the hold to store: continued, begun or ended; None: there was never a hold."""
    known = facts.case.policy.status.hold
    if known is not None and known.is_open:
        return _continued(known, facts, now)
    return _begun(known, facts, now) or known


def is_held(policy: RollbackPolicy, deployment: Deployment) -> bool:
    """Return whether a hold exists, by the record or by the Deployment itself."""
    return deployment.is_held or is_on_record(policy)


def is_on_record(policy: RollbackPolicy) -> bool:
    """Return whether a policy holds a rollout, or still has the finalizer of a hold."""
    known = policy.status.hold
    is_open = known is not None and known.is_open
    return is_open or HOLD_FINALIZER in policy.metadata.finalizers


def needs_proof(policy: RollbackPolicy, decision: Decision) -> bool:
    """Return whether a hold depends on the proof that the new pods are no worse."""
    known = policy.status.hold
    is_open = known is not None and known.is_open
    return is_open or speaks_against(decision, policy.spec.safety.suspect_odds)


def limit(policy: RollbackPolicy) -> float | None:
    """Return the latest time at which the rollout resumes; None: it is not held."""
    known = policy.status.hold
    return latest_end(known, policy).timestamp() if known is not None and known.is_open else None


def resumed(policy: RollbackPolicy, digest: str) -> float | None:
    """Return the time at which a held release resumed: it could not progress before."""
    known = policy.status.hold
    if known is None or known.digest != digest or known.released_time is None:
        return None
    return known.released_time.timestamp()


def let_go(hold: Hold, end: HoldEnd, now: datetime) -> Hold:
    """Record the end of a hold."""
    return hold.model_copy(
        update={
            "released_time": now,
            "release_reason": end.reason,
            "release_message": clipped(end.message, 1024),
        }
    )


def _continued(hold: Hold, facts: HoldFacts, now: datetime) -> Hold:
    end = lapse(hold, facts)
    if end is not None:
        return let_go(hold, end, now)
    policy, decision = facts.case.policy, facts.decision
    if decision is None:
        return hold
    if is_over(hold, policy, now):
        if hold.reason is HoldReason.STAGE and _is_to_be_paused(hold, facts):
            # The suspicion is now the case that the proof was to exclude.
            return _suspected(hold, facts, now, paused=hold.paused_time)
        return let_go(hold, timed_out(hold, now), now)
    if decision.plan is not None or is_being_undone(facts.case):
        return hold  # the rollback lifts the pause
    end = outcome(hold, facts, decision)
    return hold if end is None else let_go(hold, end, now)


# -- a hold that begins ----------------------------------------------------------------------------


def _begun(known: Hold | None, facts: HoldFacts, now: datetime) -> Hold | None:
    case = facts.case
    deployment = case.workload.deployment
    if known is not None and not _is_of_this_rollout(known, case):
        known = None
    if known is not None and known.release_reason in _FINAL:
        return None
    if not _may_be_held(case, now):
        return None
    staged = case.policy.spec.stage.max_seconds
    if known is None and staged > 0 and deployment.has_new_pods and old_pods(case.workload):
        until = now + timedelta(seconds=staged)
        message = "the first new pods are compared with the old pods before the rollout continues"
        return _hold(deployment, HoldReason.STAGE, message, (now, until))
    if _has_control(facts) and _is_to_be_paused(known, facts):
        return _suspected(known, facts, now)
    return None


def _is_of_this_rollout(hold: Hold, case: Case) -> bool:
    """Return whether an ended hold belongs to the current rollout.

    A template that returns is a new rollout: it is staged again, and has the full time of a
    suspicion again.
    """
    if hold.digest != case.workload.deployment.template.digest or hold.released_time is None:
        return False
    if hold.release_reason in RELEASE_REPLACED:
        return False
    return not any(
        one.spec.from_revision.digest == hold.digest
        and (one.status.outcome in _LED_AWAY or was_done(one))
        and one.status.finished_time is not None
        and one.status.finished_time > hold.released_time
        for one in case.rollbacks
    )


def _may_be_held(case: Case, now: datetime) -> bool:
    """Return whether the current rollout may be held at all."""
    policy, deployment = case.policy, case.workload.deployment
    health = health_of(case.ledger, deployment.template.release)
    return (
        policy.spec.mode is Mode.ENFORCE
        and not policy.spec.suspend
        and frozen(policy.spec.safety.freeze, now) is None
        and deployment.owner is None
        and not deployment.paused
        and not deployment.is_rolled_out
        and health not in (Health.GOOD, Health.ASSUMED)
        and not is_restored(case, now)
        and not is_being_undone(case)
    )


def _is_to_be_paused(known: Hold | None, facts: HoldFacts) -> bool:
    safety = facts.case.policy.spec.safety
    left = safety.max_pause_seconds - _spent(known)
    return (
        safety.pause_on_suspicion
        and left >= LEAST_HOLD_SECONDS
        and facts.decision is not None
        and facts.decision.plan is None
        # When a hold ends, the next pods start: pods that do not serve yet raise no suspicion.
        and not facts.is_no_worse
        and speaks_against(facts.decision, facts.suspect_odds)
    )


def _suspected(
    known: Hold | None, facts: HoldFacts, now: datetime, paused: datetime | None = None
) -> Hold:
    assert facts.decision is not None
    spent = _spent(known)
    left = facts.case.policy.spec.safety.max_pause_seconds - spent
    times = now, now + timedelta(seconds=left)
    message = facts.decision.verdict.message
    made = _hold(facts.case.workload.deployment, HoldReason.SUSPICION, message, times)
    return made.model_copy(update={"earlier_seconds": spent, "paused_time": paused})


def _spent(known: Hold | None) -> int:
    """Return the total seconds of this release's holds on suspicion."""
    if known is None:
        return 0
    if known.reason is not HoldReason.SUSPICION or known.released_time is None:
        return known.earlier_seconds
    seconds = (known.released_time - known.since_time).total_seconds()
    return known.earlier_seconds + max(0, round(seconds))


def _hold(
    deployment: Deployment, reason: HoldReason, said: str, times: tuple[datetime, datetime]
) -> Hold:
    since, until = times
    return Hold(
        reason=reason,
        message=clipped(said, 1024),
        deployment=deployment.name,
        deployment_uid=deployment.uid,
        digest=deployment.template.digest,
        since_time=since,
        until_time=until,
    )


def _has_control(facts: HoldFacts) -> bool:
    """Return whether old pods of the control are alive."""
    return any(pod.pod_hash in facts.control_hashes for pod in old_pods(facts.case.workload))
