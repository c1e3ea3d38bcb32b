"""Functional probes of the matrix while a release is watched: how each has fared, old and new.

What the old revision passed and the new one fails three times running is the new one's doing. Pure;
who sends them is reconcile/observe/trying.py.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from enum import Enum, auto

from rollback_operator.api.reasons import Reason
from rollback_operator.api.v1alpha1 import MatrixCondition, SignalName
from rollback_operator.api.verification import ProbeRecord, VerificationResult
from rollback_operator.evidence.limits import LEAST_FAILURES
from rollback_operator.evidence.trends import Trial
from rollback_operator.model.check import Check
from rollback_operator.model.verdict import Symptom
from rollback_operator.model.workload import Workload

MOST_RECORDS = 16


class Serving(Enum):
    """Who answers behind the service's address."""

    OLD = auto()
    BOTH = auto()
    NEW = auto()


def serving(workload: Workload) -> Serving | None:
    """Tell which pods can answer; None: there is none that is ready."""
    ready = [pod for pod in workload.pods if pod.ready and not pod.terminating]
    new = set(workload.current_of(ready))
    if not ready:
        return None
    if not new:
        return Serving.OLD
    return Serving.NEW if len(new) == len(ready) else Serving.BOTH


def opened(name: str, records: Iterable[ProbeRecord], release: str) -> Trial:
    """Begin with what is on record of a probe."""
    known = {one.release for one in records if one.name == name}
    return Trial(passed_before=bool(known - {release}), has_passed=release in known)


def after(trial: Trial, check: Check, who: Serving, now: float) -> Trial:
    """Take an answer in. What was not answered says nothing, for or against.

    Args:
        trial: how the probe has fared so far.
        check: what it has shown.
        who: could have answered, from when it was sent on.
        now: when it was answered.
    """
    if check.result is VerificationResult.UNKNOWN or trial.has_passed:
        return trial
    has_passed = check.result is VerificationResult.PASSED
    if who is Serving.OLD:
        return replace(trial, by_old=has_passed)
    if has_passed:
        return replace(trial, failures=0, since=None, has_passed=who is Serving.NEW)
    since = now if trial.since is None else trial.since
    return replace(trial, failures=trial.failures + 1, since=since, message=check.message)


def symptom(trials: Mapping[str, Trial], condition: MatrixCondition) -> Symptom | None:
    """Tell whether a probe speaks against the release."""
    name = condition.name or ""
    trial = trials.get(name)
    if trial is None or trial.failures < LEAST_FAILURES:
        return None
    is_known = trial.passed_before if trial.by_old is None else True
    if not is_known:
        return None  # nothing is known of the old revision: it may never have passed
    said = f"the probe {name} has failed {trial.failures} times in a row: {trial.message}"
    return Symptom(
        SignalName.PROBE,
        said if trial.by_old is False else f"{said}; the old revision passed it",
        value=float(trial.failures),
        since=trial.since,
        veto=Reason.OLD_REVISION_FAILS_TOO if trial.by_old is False else None,
        name=name,
    )


def recorded(
    records: Sequence[ProbeRecord], trials: Mapping[str, Trial], release: str, now: datetime
) -> list[ProbeRecord]:
    """Put on record which probes the release has passed, each once.

    Args:
        records: what is known so far.
        trials: of the watch.
        release: that is watched.
        now: the time of the look.
    """
    passed = {name for name, one in trials.items() if one.has_passed}
    known = {one.name for one in records if one.release == release}
    fresh = [
        ProbeRecord(name=name, release=release, passed_time=now) for name in sorted(passed - known)
    ]
    replaced = {one.name for one in fresh}
    kept = [one for one in records if one.name not in replaced]
    return [*kept, *fresh][-MOST_RECORDS:]
