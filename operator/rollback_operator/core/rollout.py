"""A rollout that goes on, as far as it bears on holding it: facts, and what they say."""

from dataclasses import dataclass

from rollback_operator.api.v1alpha1 import Response, VerdictValue
from rollback_operator.core.case import Case, is_active
from rollback_operator.core.decide import Decision
from rollback_operator.core.pod import Pod
from rollback_operator.core.workload import Workload

PROOF_ODDS = 100.0
"""As good as the old pods against clearly worse; a suspicion needs as much."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What a wanted hold is told from."""

    case: Case
    control_hashes: frozenset[str]
    decision: Decision | None = None
    """None: this pass has not judged yet."""
    proof: float = 0.0
    """Odds that the new pods are no worse; asked for only where `needs_proof`."""

    @property
    def suspect_odds(self) -> float:
        """The policy's odds of a suspicion."""
        return self.case.policy.spec.safety.suspect_odds

    @property
    def is_no_worse(self) -> bool:
        """Tell whether the new pods that have served are proved no worse."""
        return self.proof >= PROOF_ODDS

    @property
    def is_proved(self) -> bool:
        """Tell whether the new pods, all of them serving, are proved no worse."""
        return self.is_no_worse and are_new_pods_ready(self.case.workload)


def speaks_against(decision: Decision, suspect_odds: float) -> bool:
    """Tell whether the release is suspected, or is to be taken back and cannot be yet."""
    if decision.verdict.value is VerdictValue.BAD:
        return decision.response in (Response.ROLLBACK, Response.INVESTIGATE)
    return decision.verdict.value is VerdictValue.SUSPECT or odds(decision) >= suspect_odds


def odds(decision: Decision) -> float:
    """Give the strongest evidence of a verdict, met floors or not."""
    return max((one.odds for one in decision.verdict.scopes), default=0.0)


def is_being_undone(case: Case) -> bool:
    """Tell whether a rollback is going on."""
    return any(is_active(one) for one in case.rollbacks)


def old_pods(workload: Workload) -> tuple[Pod, ...]:
    """Choose the ready pods of other templates."""
    current = workload.current
    return tuple(
        pod
        for pod in workload.pods
        if pod.ready
        and not pod.terminating
        and (current is None or pod.pod_hash != current.pod_hash)
    )


def are_new_pods_ready(workload: Workload) -> bool:
    """Tell whether all pods of the template serve, and there are some."""
    new = [pod for pod in workload.current_of(workload.pods) if not pod.terminating]
    return bool(new) and all(pod.ready for pod in new)
