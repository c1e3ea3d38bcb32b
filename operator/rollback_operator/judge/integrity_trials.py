"""Integrity checks of a database while a release is watched: intact before, damaged since.

Damage is the release's doing only if the check has passed in this watch, by old pods or by new,
and then failed twice in a row: transactions that are only half done show for a moment. Pure;
reconcile/observe/asking.py asks the checks.
"""

from collections.abc import Mapping
from dataclasses import replace

from rollback_operator.api.reasons import Reason
from rollback_operator.api.v1alpha1 import MatrixCondition, SignalName
from rollback_operator.api.verification import INTEGRITY_PREFIX, VerificationResult
from rollback_operator.evidence.trends import Trial
from rollback_operator.judge.matrix_probes import Serving
from rollback_operator.model.check import Check
from rollback_operator.model.verdict import Symptom

LEAST_DAMAGED = 2
"""Failures in a row."""


def with_answer(trial: Trial, check: Check, who: Serving | None, now: float) -> Trial:
    """Add an answer. A check without an answer is evidence neither for nor against the release.

    Args:
        trial: the answers to the check so far.
        check: the new result.
        who: whose pods served, from the question to the answer; None: that changed, or none did.
        now: when it was answered.
    """
    if check.result is VerificationResult.UNKNOWN:
        return trial
    if check.result is VerificationResult.PASSED:
        by_old = True if who is Serving.OLD else trial.by_old
        return replace(trial, by_old=by_old, failures=0, since=None, has_passed=True)
    if who is Serving.OLD:
        return replace(trial, by_old=False, has_passed=False, message=check.message)
    since = now if trial.since is None else trial.since
    return replace(trial, failures=trial.failures + 1, since=since, message=check.message)


def titled(trials: Mapping[str, Trial]) -> dict[str, Trial]:
    """Name the checks as the record of passed probes and a verification do."""
    return {f"{INTEGRITY_PREFIX}{name}": trial for name, trial in trials.items()}


def damage(trials: Mapping[str, Trial], condition: MatrixCondition) -> Symptom | None:
    """Find a check that passed in this watch and fails now; None: there is none."""
    failing = {
        name: trial
        for name, trial in sorted(trials.items())
        if trial.failures >= LEAST_DAMAGED and condition.name in (None, name)
    }
    caused = {name: trial for name, trial in failing.items() if trial.has_passed}
    name, trial = next(iter({**caused, **failing}.items()), ("", None))
    if trial is None:
        return None
    before = "it passed before" if caused else "it may have failed before the release"
    if trial.by_old is False and not caused:
        before = "it failed before the release"
    return Symptom(
        SignalName.INTEGRITY,
        f"the integrity check {name} has failed {trial.failures} times in a row: {trial.message}; "
        f"{before}",
        value=float(trial.failures),
        since=trial.since,
        veto=None if caused else Reason.THERE_BEFORE,
        name=condition.name or "",
    )
