"""Success of a rollback: many checks -> one verdict: Verified, NotRecovered, Unknown, or none yet.

Pure, and the only maker of a Rollback's verification. A failed check may recover until the
time-out, an unseeable check is neither good nor bad, and a failed check never leads to Verified.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from rollback_operator.api.reasons import Reason
from rollback_operator.api.shape import clipped
from rollback_operator.api.v1alpha1 import Outcome, Rollback, SignalName, StepName
from rollback_operator.api.verification import (
    INTEGRITY_PREFIX,
    VerificationCheck,
    VerificationResult,
)
from rollback_operator.evidence.watch import NOT_YET_READ
from rollback_operator.model.check import Check, failed, passed, unknown
from rollback_operator.model.samples import Missing
from rollback_operator.model.workload import Deployment
from rollback_operator.remedies import progress
from rollback_operator.remedies.progress import Next, RollbackEnd, Wait

ROLLOUT, HEALTH, ERRORS, LATENCY, LOGS = (
    "RolloutComplete",
    "HealthEndpoints",
    "ErrorRate",
    "Latency",
    "Logs",
)
VERIFICATION_SETTLE_SECONDS = 30.0
"""Time to wait for optional checks, once all required checks have passed."""
NO_METRICS_SECONDS = 120.0
"""A new pod is scraped late; without a series by then, it has none, and without a request by then
little traffic may explain it."""
LONGEST_CHECK_MESSAGE = 512
LONGEST_OUTCOME_MESSAGE = 1024
_LATENCY_SIGNALS = (SignalName.LATENCY, SignalName.LATENCY_RATIO)


# -- checks that need no question of their own -----------------------------------------------------


def rollout(deployment: Deployment) -> Check:
    """Check that the rollout is complete, by the rules of `kubectl rollout status`."""
    replicas = deployment.replicas
    if deployment.is_rolled_out:
        message = (
            f"{deployment.available} of {replicas} replicas are available, and no old pod is left"
        )
        return passed(ROLLOUT, message)
    if deployment.observed_generation < deployment.generation:
        return failed(ROLLOUT, "the Deployment controller has not observed the latest change yet")
    if deployment.updated < replicas:
        return failed(ROLLOUT, f"{deployment.updated} of {replicas} replicas are updated")
    if deployment.total > deployment.updated:
        old = deployment.total - deployment.updated
        return failed(ROLLOUT, f"{old} old replicas still exist")
    message = (
        f"{deployment.updated - deployment.available} of {replicas} replicas are not available"
    )
    return failed(ROLLOUT, message)


def error_rate(result: Next, missing: Missing | None) -> Check:
    """Make a check from the counters.

    Args:
        result: the result of recovery.verify or recovery.without_evidence.
        missing: the reason why the last read of the metrics failed; None: it succeeded.
    """
    match result:
        case RollbackEnd(Outcome.VERIFIED, _, message):
            return passed(ERRORS, message)
        case RollbackEnd(Outcome.NOT_RECOVERED, _, message):
            return Check(ERRORS, VerificationResult.FAILED, message, is_final=True)
        case RollbackEnd(_, _, message):
            return unknown(ERRORS, message)
        case Wait(message) if message:
            return unknown(ERRORS, message)
    if missing is not None and missing != NOT_YET_READ:
        return unknown(ERRORS, missing.message)
    return unknown(ERRORS, "too few requests since the rollback to prove recovery")


def in_order(checks: Iterable[Check]) -> tuple[Check, ...]:
    """Order checks for messages: the functional probes after the pods."""
    order = {ROLLOUT: 0, HEALTH: 1, ERRORS: 3, LATENCY: 4, LOGS: 5}
    return tuple(sorted(checks, key=lambda check: order.get(check.name, 2)))


# -- the verdict -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Situation:
    """Input of the verdict beside the checks."""

    required: frozenset[str]
    """Checks that Verified requires."""
    probes: frozenset[str]
    """The functional probes among them."""
    seconds: float
    """Since the verification began."""
    limit: float
    """The most seconds that it may take."""
    has_no_metrics: bool = False
    """The provider answers and has no series of the target at all."""
    unproved: Reason = Reason.TOO_FEW_REQUESTS
    """The reason why the error rate is not proved yet."""


def situation(rollback: Rollback, missing: Missing | None, now: datetime) -> Situation:
    """Collect the input of a rollback's verdict.

    Args:
        rollback: its verification has begun.
        missing: the reason why the last read of its counters failed; None: it succeeded.
        now: the current time.
    """
    spec = rollback.spec.verification
    probes = frozenset(probe.name for probe in spec.http)
    required = probes | {ROLLOUT, ERRORS}
    if rollback.spec.trigger.signal in _LATENCY_SIGNALS:
        required |= {LATENCY}
    return Situation(
        required=required,
        probes=probes,
        seconds=progress.seconds_in(rollback, StepName.VERIFY, now),
        limit=spec.timeout_seconds,
        has_no_metrics=missing is not None and missing.reason is Reason.NO_SERIES,
        unproved=Reason.TOO_FEW_REQUESTS if missing is None else missing.reason,
    )


def conclude(checks: Sequence[Check], situation: Situation) -> Next:
    """Make the verdict.

    A proved failure ends it at once; any other failure at the time-out. Without a failure it is
    Verified as soon as all required checks have passed; optional checks delay it only briefly.
    """
    proved = {check.name for check in checks if check.result is VerificationResult.PASSED}
    is_over = situation.seconds > situation.limit
    failures = [check for check in checks if check.result is VerificationResult.FAILED]
    if any(check.is_final for check in failures) or (failures and is_over):
        return _end(Outcome.NOT_RECOVERED, _why(failures), failures, checks)
    if failures:
        return Wait()
    damage = {check.name for check in checks if check.name.startswith(INTEGRITY_PREFIX)}
    lacking = (situation.required | damage) - proved
    is_settled = (
        is_over
        or situation.seconds >= VERIFICATION_SETTLE_SECONDS
        or not any(map(_is_open, checks))
    )
    if not lacking:
        decisive = [check for check in checks if check.name == ERRORS]
        return _end(Outcome.VERIFIED, Reason.RECOVERED, decisive, checks) if is_settled else Wait()
    has_waited = is_over or situation.seconds >= NO_METRICS_SECONDS
    if lacking == {ERRORS} and situation.probes and situation.has_no_metrics and has_waited:
        decisive = [check for check in checks if check.name in situation.probes]
        return _end(Outcome.VERIFIED, Reason.PROBES_PASSED, decisive, checks)
    of_lacking = [check for check in checks if check.name in lacking]
    is_hopeless = is_settled and bool(of_lacking) and all(check.is_final for check in of_lacking)
    if not is_over and not is_hopeless:
        return Wait()
    reason = situation.unproved if ERRORS in lacking else Reason.CHECK_UNKNOWN
    return _end(Outcome.UNKNOWN, reason, of_lacking, checks)


def _is_open(check: Check) -> bool:
    return check.result is VerificationResult.UNKNOWN and not check.is_final


def _why(failures: Sequence[Check]) -> Reason:
    is_traffic = any(check.name in (ERRORS, LATENCY) for check in failures)
    return Reason.STILL_FAILING if is_traffic else Reason.CHECK_FAILED


_REASON_MESSAGES: Mapping[Reason, str] = {
    Reason.PROBES_PASSED: "no traffic metrics exist; all functional probes passed",
}


def _end(
    outcome: Outcome, reason: Reason, decisive: Sequence[Check], checks: Sequence[Check]
) -> RollbackEnd:
    """Name the decisive check first, then the number of checks by result."""
    messages = [_REASON_MESSAGES[reason]] if reason in _REASON_MESSAGES else []
    messages += [
        check.message if check.name == ERRORS else f"{check.name}: {check.message}"
        for check in decisive
    ]
    counts = [
        f"{count} {result.lower()}"
        for result in VerificationResult
        if (count := sum(check.result is result for check in checks))
    ]
    message = f"{'; '.join(messages)[:LONGEST_OUTCOME_MESSAGE]} (checks: {', '.join(counts)})"
    return RollbackEnd(outcome, reason, message, stored(checks))


def stored(checks: Iterable[Check]) -> tuple[VerificationCheck, ...]:
    """Return the checks in the form in which the Rollback stores them."""
    return tuple(
        VerificationCheck(
            name=check.name,
            result=check.result,
            message=clipped(check.message, LONGEST_CHECK_MESSAGE),
        )
        for check in checks
    )


def failures_of(checks: Iterable[VerificationCheck]) -> frozenset[str]:
    """Name the failed checks."""
    return frozenset(check.name for check in checks if check.result is VerificationResult.FAILED)
