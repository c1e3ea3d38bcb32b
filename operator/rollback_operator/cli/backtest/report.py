"""What a replay has given, as JSON for programs and as text for people."""

import math
from collections.abc import Iterator
from typing import Any

from rollback_operator.cli.backtest.case import Ran, rfc3339
from rollback_operator.cli.backtest.entry import Action, Blamed, Entry
from rollback_operator.model.verdict import Method, ScopeVerdict, Symptom

_MOST = 1e300
"""JSON has no infinity."""


def as_json(ran: Ran) -> dict[str, Any]:
    """Write a result as the dictionary that `--output json` prints."""
    return {
        "decisions": [_entry(one) for one in ran.found.decisions],
        "final": _entry(ran.found.final),
    }


def _entry(one: Entry) -> dict[str, Any]:
    return {
        "time": rfc3339(one.time),
        "verdict": one.verdict.value,
        "severity": one.severity.value,
        "action": one.action.value,
        "reason": one.reason.value,
        "message": one.message,
        "evidence": _evidence(one),
        "blame": _blame(one.blame),
    }


def _evidence(one: Entry) -> dict[str, Any]:
    newest = one.newest_sample
    leading = one.leading
    return {
        "newestSample": None if newest is None else rfc3339(newest),
        **({} if leading is None else _scope(leading)),
        "scopes": [_scope(scope) for scope in one.scopes],
        "symptoms": [_symptom(symptom) for symptom in one.symptoms],
        "missing": [
            {"signal": name, "reason": why.reason.value, "message": why.message}
            for name, why in sorted(one.missing.items())
        ],
    }


def _scope(one: ScopeVerdict) -> dict[str, Any]:
    return {
        "route": one.route,
        "method": one.method.value,
        "requests": _number(one.requests),
        "errors": _number(one.errors),
        "rateLowerBound": _number(one.rate_lower_bound),
        "controlRequests": _number(one.control_requests),
        "controlErrors": _number(one.control_errors),
        "odds": _number(one.odds),
        "blameOdds": None if one.blame is None else _number(one.blame.odds),
        "onsetSeconds": None if one.blame is None else _number(one.blame.onset),
        "firstBad": None if one.first_bad is None else rfc3339(one.first_bad),
        "pods": one.pods,
        "podsFailing": one.pods_failing,
        "unmet": one.unmet or None,
        "veto": None if one.veto is None else one.veto.value,
    }


def _symptom(one: Symptom) -> dict[str, Any]:
    return {
        "signal": one.signal.value,
        "message": one.message,
        "odds": _number(one.odds),
        "value": _number(one.value),
        "pods": list(one.pods),
        "since": None if one.since is None else rfc3339(one.since),
        "veto": None if one.veto is None else one.veto.value,
    }


def _blame(one: Blamed) -> dict[str, Any]:
    return {
        "revision": one.revision,
        "route": one.route,
        "pod": one.pod,
        "node": one.node,
        "sharedWithOld": one.shared_with_old,
    }


def _number(value: float) -> float | int | None:
    if math.isnan(value):
        return None
    value = max(-_MOST, min(_MOST, value))
    return int(value) if value == int(value) and abs(value) < 1e15 else float(f"{value:.6g}")  # noqa: PLR2004


def as_text(ran: Ran) -> str:
    """Tell a result as one would on the phone: each change, and where it ended."""
    rollouts = ran.rollouts
    lines = [
        f"{rollouts.namespace}/{rollouts.deployment}, policy {ran.policy.metadata.name}, mode "
        f"{ran.policy.spec.mode}: {rfc3339(ran.span.start)} to {rfc3339(ran.span.end)}, "
        f"a look every {ran.span.step:g} s",
        "",
    ]
    events = sorted(
        [(one.time, 0, list(_rollout_lines(ran, one.time))) for one in rollouts.rollouts]
        + [(one.time, 1, list(_entry_lines(one))) for one in ran.found.decisions],
        key=lambda one: one[:2],
    )
    for time, _, told in events:
        if time <= ran.found.final.time:
            lines += told
    final = ran.found.final
    lines += [
        "",
        f"In the end, {rfc3339(final.time)}: {final.verdict}"
        + (f", {final.severity}" if final.severity != "None" else "")
        + f" ({final.reason})",
    ]
    lines += [f"    {name} could not be read: {why.message}" for name, why in final.missing.items()]
    return "\n".join(lines) + "\n"


def _rollout_lines(ran: Ran, time: float) -> Iterator[str]:
    for one in ran.rollouts.rollouts:
        if one.time == time:
            name = one.revision if one.revision is not None else one.template_hash
            image = f", {one.image}" if one.image else ""
            yield f"{rfc3339(time)}  rollout of revision {name}{image}"


def _entry_lines(one: Entry) -> Iterator[str]:
    said = [str(one.verdict)]
    if one.severity != "None":
        said.append(str(one.severity))
    if one.action is not Action.NONE:
        said.append(f"-> {one.action}")
    yield f"{rfc3339(one.time)}  {' '.join(said)}  ({one.reason})"
    yield f"    {one.message}"
    for scope in one.scopes:
        if scope.errors:
            yield f"    {_scope_text(scope)}"
    for symptom in one.symptoms:
        yield f"    {symptom.signal}: {symptom.message}"
    blame = [
        f"{name} {value}"
        for name, value in _blame(one.blame).items()
        if value is not None and name != "sharedWithOld"
    ]
    if one.blame.shared_with_old:
        blame.append("shared with the old revision")
    if blame:
        yield f"    blame: {', '.join(blame)}"


def _scope_text(one: ScopeVerdict) -> str:
    against = "old pods now" if one.method is Method.CONTROL else "the hour before"
    return (
        f"{one.route or 'all routes'}: {one.errors:.0f} of {one.requests:.0f} failed, at least "
        f"{100 * one.rate_lower_bound:.1f} %; {against}: {one.control_errors:.0f} of "
        f"{one.control_requests:.0f}; odds {one.odds:.3g} : 1"
        + (f"; unmet: {one.unmet}" if one.unmet else "")
        + (f"; veto: {one.veto}" if one.veto else "")
    )
