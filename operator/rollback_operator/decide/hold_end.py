"""Reasons for the end of a hold: it is void, its time is up, or the verdict ends it."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from rollback_operator.api.reasons import Reason
from rollback_operator.api.v1alpha1 import (
    Hold,
    HoldReason,
    Mode,
    Response,
    Revision,
    RollbackPolicy,
    VerdictValue,
)
from rollback_operator.decide.decide import Decision
from rollback_operator.judge.explain import ratio
from rollback_operator.judge.non_inferiority import margin_of
from rollback_operator.model.context import Case, is_active
from rollback_operator.model.pod import Pod
from rollback_operator.model.workload import Workload
from rollback_operator.remedies.progress import is_believed

PROOF_ODDS = 100.0
"""Odds for as good as the old pods, against clearly worse; a suspicion needs the same."""


@dataclass(frozen=True, slots=True)
class HoldFacts:
    """Input of the decision on a hold."""

    case: Case
    control_hashes: frozenset[str]
    decision: Decision | None = None
    """None: this pass has not judged yet."""
    proof: float = 0.0
    """Odds that the new pods are no worse; computed only where `needs_proof`."""

    @property
    def suspect_odds(self) -> float:
        """The policy's odds of a suspicion."""
        return self.case.policy.spec.safety.suspect_odds

    @property
    def is_no_worse(self) -> bool:
        """Return whether the new pods that have served are proved no worse."""
        return self.proof >= PROOF_ODDS

    @property
    def is_proved(self) -> bool:
        """Return whether all new pods serve and are proved no worse."""
        return self.is_no_worse and are_new_pods_ready(self.case.workload)


def speaks_against(decision: Decision, suspect_odds: float) -> bool:
    """Return whether the release is suspect, or due for a rollback that is not possible yet."""
    if decision.verdict.value is VerdictValue.BAD:
        return decision.response in (Response.ROLLBACK, Response.INVESTIGATE)
    return decision.verdict.value is VerdictValue.SUSPECT or odds(decision) >= suspect_odds


def odds(decision: Decision) -> float:
    """Return the strongest evidence of a verdict, even below its floors."""
    return max((one.odds for one in decision.verdict.scopes), default=0.0)


def is_being_undone(case: Case) -> bool:
    """Return whether a rollback is active."""
    return any(is_active(one) for one in case.rollbacks)


def old_pods(workload: Workload) -> tuple[Pod, ...]:
    """Return the ready pods of other templates."""
    current = workload.current
    return tuple(
        pod
        for pod in workload.pods
        if pod.ready
        and not pod.terminating
        and (current is None or pod.pod_hash != current.pod_hash)
    )


def are_new_pods_ready(workload: Workload) -> bool:
    """Return whether the template has pods and all of them serve."""
    new = [pod for pod in workload.current_of(workload.pods) if not pod.terminating]
    return bool(new) and all(pod.ready for pod in new)


FADED_SHARE = 0.1
"""Share of the suspicion odds below which a suspicion has faded: in between, nothing changes."""
RELEASE_REPLACED = frozenset({Reason.RELEASE_CHANGED, Reason.RELEASE_TAKEN_BACK})
"""Reasons of a hold that ended because of another template."""


@dataclass(frozen=True, slots=True)
class HoldEnd:
    """The reason for the end of a hold."""

    reason: Reason
    message: str


def lapse(hold: Hold, facts: HoldFacts) -> HoldEnd | None:  # noqa: PLR0911 (a ladder)
    """Return the reason why a hold is void, whatever the verdict; None: it is valid."""
    case, policy = facts.case, facts.case.policy
    deployment = case.workload.deployment
    if hold.deployment_uid != deployment.uid:
        return HoldEnd(Reason.TARGET_CHANGED, "the policy has another target now")
    if hold.digest != deployment.template.digest:
        return _replaced(hold, case)
    if policy.spec.mode is Mode.OBSERVE:
        return HoldEnd(Reason.HOLDS_TURNED_OFF, "mode Observe never pauses a rollout")
    if not _is_allowed(hold, policy):
        return HoldEnd(Reason.HOLDS_TURNED_OFF, "the policy no longer allows the hold")
    # Only after the pause was stored as done: until then the patch may be in flight.
    if hold.paused_time is not None and not deployment.paused:
        message = "the Deployment was resumed by another client: the release is not held again"
        return HoldEnd(Reason.PAUSE_LIFTED, message)
    # Another client owns the pause: the operator must not resume the rollout.
    if deployment.paused and not deployment.is_held:
        return HoldEnd(Reason.TARGET_PAUSED, "another client paused the Deployment")
    # Without old pods no comparison is possible, and a hold proves nothing.
    if not old_pods(case.workload):
        return HoldEnd(Reason.NO_OLD_POD_LEFT, "no old pod is left to compare with")
    return None


def _is_allowed(hold: Hold, policy: RollbackPolicy) -> bool:
    if hold.reason is HoldReason.STAGE:
        return policy.spec.stage.max_seconds > 0
    return policy.spec.safety.pause_on_suspicion


def _replaced(hold: Hold, case: Case) -> HoldEnd:
    undone = any(one.spec.from_revision.digest == hold.digest for one in case.rollbacks)
    if undone:
        return HoldEnd(Reason.RELEASE_TAKEN_BACK, "the release was rolled back")
    return HoldEnd(Reason.RELEASE_CHANGED, "another release was deployed")


def is_of_earlier_release(hold: Hold, running: Revision | None) -> bool:
    """Return whether a hold ended before the running revision: its end does not apply there."""
    if running is None or hold.released_time is None:
        return False
    if running.since is not None and running.since > hold.released_time:
        return True
    return running.digest != hold.digest and hold.release_reason not in RELEASE_REPLACED


def timed_out(hold: Hold, now: datetime) -> HoldEnd:
    """Describe the end of a hold at its limit."""
    seconds = max(0.0, (now - hold.since_time).total_seconds())
    message = {
        HoldReason.STAGE: "it was not proved no worse, and there is no evidence against it",
        HoldReason.SUSPICION: "the release is still suspect, and the limit of the hold is reached",
    }[hold.reason]
    return HoldEnd(Reason.HOLD_TIMED_OUT, f"held for {seconds:.0f} s: {message}")


def outcome(hold: Hold, facts: HoldFacts, decision: Decision) -> HoldEnd | None:
    """Return the end of a hold by the verdict; None: the hold continues."""
    verdict = decision.verdict
    if verdict.value is VerdictValue.BAD:
        if speaks_against(decision, facts.suspect_odds):
            return None  # refused for now: people are notified and have the remaining time
        return HoldEnd(
            Reason.NO_ROLLBACK_WANTED, f"{decision.severity}: the matrix requires no rollback"
        )
    margin = f"{100 * margin_of(facts.case.policy.spec.matrix):g} % of all requests"
    proved = (
        f"the new pods fail less than {margin} more than the old pods, odds {ratio(facts.proof)}"
    )
    if hold.reason is HoldReason.STAGE:
        is_over = facts.is_proved and not speaks_against(decision, facts.suspect_odds)
        return HoldEnd(Reason.PROVED_NO_WORSE, proved) if is_over else None
    if facts.is_proved:
        # After errors cease, their odds stay: the later successful requests are the evidence. And a
        # slightly worse release is no reason for a rollback.
        return HoldEnd(Reason.SUSPICION_FADED, proved)
    if speaks_against(decision, facts.suspect_odds):
        return None
    # Without scopes there is no data: no reason to resume, and none to exceed the limit.
    has_faded = bool(verdict.scopes) and odds(decision) < FADED_SHARE * facts.suspect_odds
    return HoldEnd(Reason.SUSPICION_FADED, verdict.message) if has_faded else None


def is_over(hold: Hold, policy: RollbackPolicy, now: datetime) -> bool:
    """Return whether a hold's time is up, or unknown: its start is far ahead of the clock."""
    return now >= latest_end(hold, policy) or not is_believed(hold.since_time, now)


def latest_end(hold: Hold, policy: RollbackPolicy) -> datetime:
    """Return the latest end of a hold, also after a decrease of the policy's limit."""
    seconds = (
        policy.spec.stage.max_seconds
        if hold.reason is HoldReason.STAGE
        else policy.spec.safety.max_pause_seconds - hold.earlier_seconds
    )
    return min(hold.until_time, hold.since_time + timedelta(seconds=seconds))
