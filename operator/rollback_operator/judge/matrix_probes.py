"""Matrix probes while a release is watched: the results of each on the old and the new revision.

The new revision is the cause of a probe that fails three times in a row and that the old revision
passed. Pure; reconcile/observe/trying.py sends the probes.
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
    """The revisions that answer behind the address of the service."""

    OLD = auto()
    BOTH = auto()
    NEW = auto()


def serving(workload: Workload) -> Serving | None:
    """Find the revisions that can answer; None: no pod is ready."""
    ready = [pod for pod in workload.pods if pod.ready and not pod.terminating]
    new = set(workload.current_of(ready))
    if not ready:
        return None
    if not new:
        return Serving.OLD
    return Serving.NEW if len(new) == len(ready) else Serving.BOTH


def opened_trial(name: str, records: Iterable[ProbeRecord], release: str) -> Trial:
    """Open the history of a probe from its records."""
    known = {record.release for record in records if record.name == name}
    return Trial(passed_before=bool(known - {release}), has_passed=release in known)


def with_result(trial: Trial, check: Check, who: Serving, now: float) -> Trial:
    """Add a result. A probe without an answer is evidence neither for nor against the release.

    Args:
        trial: the results of the probe so far.
        check: the new result.
        who: the revisions that could have answered since it was sent.
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


def probe_symptom(trials: Mapping[str, Trial], condition: MatrixCondition) -> Symptom | None:
    """Find a probe that the old revision passed and this one fails; None: there is none."""
    name = condition.name or ""
    trial = trials.get(name)
    if trial is None or trial.failures < LEAST_FAILURES:
        return None
    is_known = trial.passed_before if trial.by_old is None else True
    if not is_known:
        return None  # the old revision may never have passed
    message = f"the probe {name} has failed {trial.failures} times in a row: {trial.message}"
    return Symptom(
        SignalName.PROBE,
        message if trial.by_old is False else f"{message}; the old revision passed it",
        value=float(trial.failures),
        since=trial.since,
        veto=Reason.OLD_REVISION_FAILS_TOO if trial.by_old is False else None,
        name=name,
    )


def recorded(
    records: Sequence[ProbeRecord], trials: Mapping[str, Trial], release: str, now: datetime
) -> list[ProbeRecord]:
    """Record the probes that the release has passed, each once.

    Args:
        records: the records so far.
        trials: of the watch.
        release: the watched release.
        now: the time of the evaluation.
    """
    passed = {name for name, trial in trials.items() if trial.has_passed}
    known = {record.name for record in records if record.release == release}
    fresh = [
        ProbeRecord(name=name, release=release, passed_time=now) for name in sorted(passed - known)
    ]
    replaced = {record.name for record in fresh}
    kept = [record for record in records if record.name not in replaced]
    return [*kept, *fresh][-MOST_RECORDS:]
