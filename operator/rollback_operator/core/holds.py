"""Which rollout is to be held, why, and until when. Pure: holding.py carries it out.

A hold on suspicion keeps the old pods alive as the control. Stage holds a rollout with its first
new pods until they are proved no worse (proof.py). Neither lasts longer than its limit, whatever
happens, and neither hinders the way back: rollbacks and known good releases are never held.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from rollback_operator.api.reasons import Reason
from rollback_operator.api.v1alpha1 import (
    HOLD_FINALIZER,
    Health,
    Hold,
    HoldReason,
    Mode,
    Response,
    RollbackPolicy,
    VerdictValue,
)
from rollback_operator.core.decide import Decision
from rollback_operator.core.ledger import health_of
from rollback_operator.core.model import Deployment, Pod, Workload
from rollback_operator.core.plan import Case, is_active, is_restored

FADED_SHARE = 0.1
"""Part of the odds of a suspicion below which it has faded: between the two nothing is changed."""
LEAST_SECONDS = 10
"""A hold for less than two scrapes would show nothing."""
PROOF_ODDS = 100.0
"""As good as the old pods against clearly worse; a suspicion needs as much."""
_FINAL = frozenset({Reason.LIFTED_BY_OTHERS, Reason.TARGET_PAUSED, Reason.RELEASED_BY_COMMAND})
"""A person has decided about this release: it is not held again."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What a wanted hold is told from."""

    case: Case
    control_hashes: frozenset[str]
    decision: Decision | None = None
    """None: this pass has not judged yet."""
    proof: float = 0.0
    """Odds that the new pods are no worse; asked for only while a rollout is staged."""

    @property
    def suspect_odds(self) -> float:
        """The policy's odds of a suspicion."""
        return self.case.policy.spec.safety.suspect_odds


@dataclass(frozen=True, slots=True)
class End:
    """Why a rollout is let go."""

    reason: Reason
    message: str


def wanted_hold(facts: Facts, now: datetime) -> Hold | None:
    """Give the hold as it is to be on record: going on, begun, or let go; None: never any."""
    known = facts.case.policy.status.hold
    if known is not None and known.is_open:
        return _continued(known, facts, now)
    return _begun(known, facts, now) or known


def is_held(policy: RollbackPolicy, deployment: Deployment) -> bool:
    """Tell whether there is a hold to look after, by the record or by the Deployment itself."""
    return deployment.is_held or is_on_record(policy)


def is_on_record(policy: RollbackPolicy) -> bool:
    """Tell whether a policy holds a rollout, or has something left of a hold."""
    known = policy.status.hold
    is_open = known is not None and known.is_open
    return is_open or HOLD_FINALIZER in policy.metadata.finalizers


def is_staged(policy: RollbackPolicy) -> bool:
    """Tell whether a rollout is held until it is proved no worse."""
    known = policy.status.hold
    return known is not None and known.is_open and known.reason is HoldReason.STAGE


def limit(policy: RollbackPolicy) -> float | None:
    """Give the time at which the rollout is let go at the latest; None: it is not held."""
    known = policy.status.hold
    return _limit(known, policy).timestamp() if known is not None and known.is_open else None


def resumed(policy: RollbackPolicy, digest: str) -> float | None:
    """Give the time since which a release that was held goes on: it could not progress before."""
    known = policy.status.hold
    if known is None or known.digest != digest or known.released_time is None:
        return None
    return known.released_time.timestamp()


def let_go(hold: Hold, end: End, now: datetime) -> Hold:
    """Record that a rollout is held no longer."""
    return hold.model_copy(
        update={
            "released_time": now,
            "release_reason": end.reason,
            "release_message": end.message[:1024],
        }
    )


# -- a hold that goes on, or ends ------------------------------------------------------------------


def _continued(hold: Hold, facts: Facts, now: datetime) -> Hold:
    end = _lapse(hold, facts, now)
    if end is not None:
        return let_go(hold, end, now)
    policy, decision = facts.case.policy, facts.decision
    if decision is None:
        return hold
    if now >= _limit(hold, policy):
        if hold.reason is HoldReason.STAGE and _is_to_be_paused(hold, facts):
            # What the proof was to rule out is what is suspected now.
            return _suspected(hold, facts, now, paused=hold.paused_time)
        return let_go(hold, _timed_out(hold, now), now)
    if decision.plan is not None or _is_being_undone(facts.case):
        return hold  # the way back lifts the pause itself
    end = _outcome(hold, facts, decision)
    return hold if end is None else let_go(hold, end, now)


def _lapse(hold: Hold, facts: Facts, now: datetime) -> End | None:
    """Tell why a hold is void, whatever the release does."""
    case, policy = facts.case, facts.case.policy
    deployment = case.workload.deployment
    is_off = (
        policy.spec.stage.max_seconds == 0
        if hold.reason is HoldReason.STAGE
        else not policy.spec.safety.pause_on_suspicion
    )
    reasons: tuple[tuple[bool, Callable[[], End]], ...] = (
        (
            hold.deployment_uid != deployment.uid,
            lambda: End(Reason.TARGET_CHANGED, "the policy has another target now"),
        ),
        (hold.digest != deployment.template.digest, lambda: _replaced(hold, case)),
        (
            policy.spec.mode is Mode.OBSERVE,
            lambda: End(Reason.HOLDS_TURNED_OFF, "mode Observe touches nothing"),
        ),
        (is_off, lambda: End(Reason.HOLDS_TURNED_OFF, "the policy does not ask for it any more")),
        (
            hold.paused_time is not None and not deployment.paused,
            lambda: End(
                Reason.LIFTED_BY_OTHERS,
                "the Deployment is not paused any more: this release is not held again",
            ),
        ),
        (
            deployment.paused and not deployment.is_held,
            lambda: End(Reason.TARGET_PAUSED, "somebody else has paused the Deployment"),
        ),
        (
            not _old_pods(case.workload),
            lambda: End(Reason.NO_OLD_POD_LEFT, "no old pod is left to compare with"),
        ),
    )
    return next((say() for is_void, say in reasons if is_void), None)


def _replaced(hold: Hold, case: Case) -> End:
    undone = any(one.spec.from_revision.digest == hold.digest for one in case.rollbacks)
    if undone:
        return End(Reason.RELEASE_TAKEN_BACK, "the release has been taken back")
    return End(Reason.RELEASE_CHANGED, "another release has been pushed")


def _timed_out(hold: Hold, now: datetime) -> End:
    seconds = (now - hold.since_time).total_seconds()
    said = {
        HoldReason.STAGE: "it was not proved no worse, and nothing speaks against it",
        HoldReason.SUSPICION: "the suspicion stands, and a rollout is held no longer than this",
    }[hold.reason]
    return End(Reason.HOLD_TIMED_OUT, f"held for {seconds:.0f} s: {said}")


def _outcome(hold: Hold, facts: Facts, decision: Decision) -> End | None:
    """Tell what the judgement means for a hold; None: it goes on."""
    verdict = decision.verdict
    if verdict.value is VerdictValue.BAD:
        if _speaks_against(decision, facts.suspect_odds):
            return None  # refused for now: people are told and have the time that is left
        return End(Reason.NO_ROLLBACK_WANTED, f"{decision.severity}: the matrix asks for no undo")
    if _speaks_against(decision, facts.suspect_odds):
        return None
    if hold.reason is HoldReason.STAGE:
        if facts.proof < PROOF_ODDS or not _are_new_pods_ready(facts.case.workload):
            return None
        return End(Reason.PROVED_NO_WORSE, f"no worse than the old pods by {facts.proof:.0f} : 1")
    # Without scopes there is no data: no reason to go on, nor one to hold longer than the limit.
    has_faded = bool(verdict.scopes) and _odds(decision) < FADED_SHARE * facts.suspect_odds
    return End(Reason.SUSPICION_FADED, verdict.message) if has_faded else None


def _limit(hold: Hold, policy: RollbackPolicy) -> datetime:
    """Give the latest end of a hold, also where the policy's limit has been lowered since."""
    seconds = (
        policy.spec.stage.max_seconds
        if hold.reason is HoldReason.STAGE
        else policy.spec.safety.max_pause_seconds - hold.earlier_seconds
    )
    return min(hold.until_time, hold.since_time + timedelta(seconds=seconds))


# -- a hold that begins ----------------------------------------------------------------------------


def _begun(known: Hold | None, facts: Facts, now: datetime) -> Hold | None:
    case = facts.case
    deployment = case.workload.deployment
    if known is not None and known.digest != deployment.template.digest:
        known = None
    if known is not None and known.release_reason in _FINAL:
        return None
    if not _may_be_held(case, now):
        return None
    staged = case.policy.spec.stage.max_seconds
    if known is None and staged > 0 and deployment.has_new_pods and _old_pods(case.workload):
        until = now + timedelta(seconds=staged)
        said = "the first new pods are compared with the old ones before the rollout goes on"
        return _hold(deployment, HoldReason.STAGE, said, (now, until))
    if _has_control(facts) and _is_to_be_paused(known, facts):
        return _suspected(known, facts, now)
    return None


def _may_be_held(case: Case, now: datetime) -> bool:
    """Tell whether the rollout that goes on is one that may be held at all."""
    policy, deployment = case.policy, case.workload.deployment
    health = health_of(case.ledger, deployment.template.release)
    return (
        policy.spec.mode is Mode.ENFORCE
        and not policy.spec.suspend
        and deployment.owner is None
        and not deployment.paused
        and not deployment.is_rolled_out
        and health not in (Health.GOOD, Health.ASSUMED)
        and not is_restored(case, now)
        and not _is_being_undone(case)
    )


def _is_to_be_paused(known: Hold | None, facts: Facts) -> bool:
    safety = facts.case.policy.spec.safety
    left = safety.max_pause_seconds - _spent(known)
    return (
        safety.pause_on_suspicion
        and left >= LEAST_SECONDS
        and facts.decision is not None
        and facts.decision.plan is None
        and _speaks_against(facts.decision, facts.suspect_odds)
    )


def _suspected(
    known: Hold | None, facts: Facts, now: datetime, paused: datetime | None = None
) -> Hold:
    assert facts.decision is not None
    spent = _spent(known)
    left = facts.case.policy.spec.safety.max_pause_seconds - spent
    times = now, now + timedelta(seconds=left)
    said = facts.decision.verdict.message
    made = _hold(facts.case.workload.deployment, HoldReason.SUSPICION, said, times)
    return made.model_copy(update={"earlier_seconds": spent, "paused_time": paused})


def _spent(known: Hold | None) -> int:
    """Add up how long this release has been held on suspicion."""
    if known is None:
        return 0
    if known.reason is not HoldReason.SUSPICION or known.released_time is None:
        return known.earlier_seconds
    return known.earlier_seconds + round((known.released_time - known.since_time).total_seconds())


def _hold(
    deployment: Deployment, reason: HoldReason, said: str, times: tuple[datetime, datetime]
) -> Hold:
    since, until = times
    return Hold(
        reason=reason,
        message=said[:1024],
        deployment=deployment.name,
        deployment_uid=deployment.uid,
        digest=deployment.template.digest,
        since_time=since,
        until_time=until,
    )


# -- what speaks for a hold ------------------------------------------------------------------------


def _speaks_against(decision: Decision, suspect_odds: float) -> bool:
    """Tell whether the release is suspected, or is to be taken back and cannot be yet."""
    if decision.verdict.value is VerdictValue.BAD:
        return decision.response in (Response.ROLLBACK, Response.INVESTIGATE)
    return decision.verdict.value is VerdictValue.SUSPECT or _odds(decision) >= suspect_odds


def _odds(decision: Decision) -> float:
    return max((one.odds for one in decision.verdict.scopes), default=0.0)


def _is_being_undone(case: Case) -> bool:
    return any(is_active(one) for one in case.rollbacks)


def _old_pods(workload: Workload) -> tuple[Pod, ...]:
    current = workload.current
    return tuple(
        pod
        for pod in workload.pods
        if pod.ready
        and not pod.terminating
        and (current is None or pod.pod_hash != current.pod_hash)
    )


def _has_control(facts: Facts) -> bool:
    """Tell whether old pods live that the release is compared with."""
    return any(pod.pod_hash in facts.control_hashes for pod in _old_pods(facts.case.workload))


def _are_new_pods_ready(workload: Workload) -> bool:
    new = [pod for pod in workload.current_of(workload.pods) if not pod.terminating]
    return bool(new) and all(pod.ready for pod in new)
