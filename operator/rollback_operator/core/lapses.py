"""Why a hold ends: it is void, its time is up, or the judgement ends it."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from rollback_operator.api.reasons import Reason
from rollback_operator.api.v1alpha1 import (
    Hold,
    HoldReason,
    Mode,
    Revision,
    RollbackPolicy,
    VerdictValue,
)
from rollback_operator.core.case import Case
from rollback_operator.core.decide import Decision
from rollback_operator.core.explain import ratio
from rollback_operator.core.progress import is_believed
from rollback_operator.core.proof import margin_of
from rollback_operator.core.rollout import Facts, odds, old_pods, speaks_against

FADED_SHARE = 0.1
"""Part of the odds of a suspicion below which it has faded: between the two nothing is changed."""
REPLACED = frozenset({Reason.RELEASE_CHANGED, Reason.RELEASE_TAKEN_BACK})
"""Of a hold that ended because another template came."""


@dataclass(frozen=True, slots=True)
class End:
    """Why a rollout is let go."""

    reason: Reason
    message: str


def lapse(hold: Hold, facts: Facts) -> End | None:
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
                Reason.PAUSE_LIFTED,
                "the Deployment is not paused any more: this release is not held again",
            ),
        ),
        (
            deployment.paused and not deployment.is_held,
            lambda: End(Reason.TARGET_PAUSED, "somebody else has paused the Deployment"),
        ),
        (
            not old_pods(case.workload),
            lambda: End(Reason.NO_OLD_POD_LEFT, "no old pod is left to compare with"),
        ),
    )
    return next((say() for is_void, say in reasons if is_void), None)


def _replaced(hold: Hold, case: Case) -> End:
    undone = any(one.spec.from_revision.digest == hold.digest for one in case.rollbacks)
    if undone:
        return End(Reason.RELEASE_TAKEN_BACK, "the release has been taken back")
    return End(Reason.RELEASE_CHANGED, "another release has been pushed")


def is_of_earlier_release(hold: Hold, running: Revision | None) -> bool:
    """Tell whether a hold has ended before what runs came: its end says nothing of that."""
    if running is None or hold.released_time is None:
        return False
    if running.since is not None and running.since > hold.released_time:
        return True
    return running.digest != hold.digest and hold.release_reason not in REPLACED


def timed_out(hold: Hold, now: datetime) -> End:
    """Say that a hold has reached its limit."""
    seconds = max(0.0, (now - hold.since_time).total_seconds())
    said = {
        HoldReason.STAGE: "it was not proved no worse, and nothing speaks against it",
        HoldReason.SUSPICION: "the suspicion stands, and a rollout is held no longer than this",
    }[hold.reason]
    return End(Reason.HOLD_TIMED_OUT, f"held for {seconds:.0f} s: {said}")


def outcome(hold: Hold, facts: Facts, decision: Decision) -> End | None:
    """Tell what the judgement means for a hold; None: it goes on."""
    verdict = decision.verdict
    if verdict.value is VerdictValue.BAD:
        if speaks_against(decision, facts.suspect_odds):
            return None  # refused for now: people are told and have the time that is left
        return End(Reason.NO_ROLLBACK_WANTED, f"{decision.severity}: the matrix asks for no undo")
    margin = f"{100 * margin_of(facts.case.policy.spec.matrix):g} % of all requests"
    proved = (
        f"the new pods fail less than {margin} more than the old ones, odds {ratio(facts.proof)}"
    )
    if hold.reason is HoldReason.STAGE:
        is_over = facts.is_proved and not speaks_against(decision, facts.suspect_odds)
        return End(Reason.PROVED_NO_WORSE, proved) if is_over else None
    if facts.is_proved:
        # Errors that have ceased leave the odds where they are: the requests that went well since
        # are what speaks. And what is a little worse is nothing that would be undone.
        return End(Reason.SUSPICION_FADED, proved)
    if speaks_against(decision, facts.suspect_odds):
        return None
    # Without scopes there is no data: no reason to go on, nor one to hold longer than the limit.
    has_faded = bool(verdict.scopes) and odds(decision) < FADED_SHARE * facts.suspect_odds
    return End(Reason.SUSPICION_FADED, verdict.message) if has_faded else None


def is_over(hold: Hold, policy: RollbackPolicy, now: datetime) -> bool:
    """Tell whether the time of a hold is up, or cannot be told: it began far ahead of the clock."""
    return now >= latest_end(hold, policy) or not is_believed(hold.since_time, now)


def latest_end(hold: Hold, policy: RollbackPolicy) -> datetime:
    """Give the latest end of a hold, also where the policy's limit has been lowered since."""
    seconds = (
        policy.spec.stage.max_seconds
        if hold.reason is HoldReason.STAGE
        else policy.spec.safety.max_pause_seconds - hold.earlier_seconds
    )
    return min(hold.until_time, hold.since_time + timedelta(seconds=seconds))
