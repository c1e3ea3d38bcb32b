"""Renders the result of a replay, as JSON for programs and as text for people."""

import math
from collections.abc import Iterator
from typing import Any

from rollback_operator.cli.backtest.case import CaseResult, rfc3339
from rollback_operator.cli.backtest.entry import Action, Blamed, Entry
from rollback_operator.cli.backtest.rollouts import Rollout
from rollback_operator.model.verdict import Method, ScopeVerdict, Symptom

_MOST = 1e300
"""JSON has no infinity."""


def as_json(result: CaseResult) -> dict[str, Any]:
    """Return the object that `--output json` prints."""
    return {
        "decisions": [_entry(entry) for entry in result.replayed.decisions],
        "final": _entry(result.replayed.final),
    }


def _entry(entry: Entry) -> dict[str, Any]:
    return {
        "time": rfc3339(entry.time),
        "verdict": entry.verdict.value,
        "severity": entry.severity.value,
        "action": entry.action.value,
        "reason": entry.reason.value,
        "message": entry.message,
        "evidence": _evidence(entry),
        "blame": _blame(entry.blame),
    }


def _evidence(entry: Entry) -> dict[str, Any]:
    return {
        "newestSample": None if entry.newest_sample is None else rfc3339(entry.newest_sample),
        **({} if entry.leading is None else _scope(entry.leading)),
        "scopes": [_scope(scope) for scope in entry.scopes],
        "symptoms": [_symptom(symptom) for symptom in entry.symptoms],
        "missing": [
            {"signal": name, "reason": why.reason.value, "message": why.message}
            for name, why in sorted(entry.missing.items())
        ],
    }


def _scope(scope: ScopeVerdict) -> dict[str, Any]:
    return {
        "route": scope.route,
        "method": scope.method.value,
        "requests": _number(scope.requests),
        "errors": _number(scope.errors),
        "rateLowerBound": _number(scope.rate_lower_bound),
        "controlRequests": _number(scope.control_requests),
        "controlErrors": _number(scope.control_errors),
        "odds": _number(scope.odds),
        "blameOdds": None if scope.blame is None else _number(scope.blame.odds),
        "onsetSeconds": None if scope.blame is None else _number(scope.blame.onset),
        "firstBad": None if scope.first_bad is None else rfc3339(scope.first_bad),
        "pods": scope.pods,
        "podsFailing": scope.pods_failing,
        "unmet": scope.unmet or None,
        "veto": None if scope.veto is None else scope.veto.value,
    }


def _symptom(symptom: Symptom) -> dict[str, Any]:
    return {
        "signal": symptom.signal.value,
        "message": symptom.message,
        "odds": _number(symptom.odds),
        "value": _number(symptom.value),
        "pods": list(symptom.pods),
        "since": None if symptom.since is None else rfc3339(symptom.since),
        "veto": None if symptom.veto is None else symptom.veto.value,
    }


def _blame(blame: Blamed) -> dict[str, Any]:
    return {
        "revision": blame.revision,
        "route": blame.route,
        "pod": blame.pod,
        "node": blame.node,
        "sharedWithOld": blame.shared_with_old,
    }


def _number(value: float) -> float | int | None:
    if math.isnan(value):
        return None
    value = max(-_MOST, min(_MOST, value))
    return int(value) if value == int(value) and abs(value) < 1e15 else float(f"{value:.6g}")  # noqa: PLR2004


def as_text(result: CaseResult) -> str:
    """Return the text that people read: each change, and the state at the end."""
    rollouts, final, policy = result.rollouts, result.replayed.final, result.policy
    lines = [
        f"{rollouts.namespace}/{rollouts.deployment}, policy {policy.metadata.name}, mode "
        f"{policy.spec.mode}: {rfc3339(result.span.start)} to {rfc3339(result.span.end)}, "
        f"evaluated every {result.span.step:g} s",
        "",
    ]
    events = sorted(
        [(rollout.time, 0, [_rollout_line(rollout)]) for rollout in rollouts.rollouts]
        + [(entry.time, 1, list(_entry_lines(entry))) for entry in result.replayed.decisions],
        key=lambda event: event[:2],
    )
    for time, _, event_lines in events:
        if time <= final.time:
            lines += event_lines
    severity = f", {final.severity}" if final.severity != "None" else ""
    lines += [
        "",
        f"At the end, {rfc3339(final.time)}: {final.verdict}{severity} ({final.reason})",
        *(f"    {name} could not be read: {why.message}" for name, why in final.missing.items()),
    ]
    return "\n".join(lines) + "\n"


def _rollout_line(rollout: Rollout) -> str:
    name = rollout.revision if rollout.revision is not None else rollout.template_hash
    image = f", {rollout.image}" if rollout.image else ""
    return f"{rfc3339(rollout.time)}  rollout of revision {name}{image}"


def _entry_lines(entry: Entry) -> Iterator[str]:
    words = [str(entry.verdict)]
    if entry.severity != "None":
        words.append(str(entry.severity))
    if entry.action is not Action.NONE:
        words.append(f"-> {entry.action}")
    yield f"{rfc3339(entry.time)}  {' '.join(words)}  ({entry.reason})"
    yield f"    {entry.message}"
    for scope in entry.scopes:
        if scope.errors:
            yield f"    {_scope_text(scope)}"
    for symptom in entry.symptoms:
        yield f"    {symptom.signal}: {symptom.message}"
    blame = [
        f"{name} {value}"
        for name, value in _blame(entry.blame).items()
        if value is not None and name != "sharedWithOld"
    ]
    if entry.blame.shared_with_old:
        blame.append("shared with the old revision")
    if blame:
        yield f"    blame: {', '.join(blame)}"


def _scope_text(scope: ScopeVerdict) -> str:
    control = "old pods now" if scope.method is Method.CONTROL else "the hour before"
    return (
        f"{scope.route or 'all routes'}: {scope.errors:.0f} of {scope.requests:.0f} failed, at "
        f"least {100 * scope.rate_lower_bound:.1f} %; {control}: {scope.control_errors:.0f} of "
        f"{scope.control_requests:.0f}; odds {scope.odds:.3g} : 1"
        + (f"; unmet: {scope.unmet}" if scope.unmet else "")
        + (f"; veto: {scope.veto}" if scope.veto else "")
    )
