"""Releases that fail at least half of their requests, whatever the control: no target. Pure.

A release that is Assumed has not earned it: it was running when the policy started, perhaps in the
middle of an outage. Once it is seen to fail, it is Unknown until it no longer fails. The reason on
record says so, also after another release has replaced it.
"""

from collections.abc import Sequence, Set

from rollback_operator.api.reasons import Reason
from rollback_operator.api.shape import clipped
from rollback_operator.api.v1alpha1 import Health, LedgerEntry, VerdictValue
from rollback_operator.evidence.limits import LEAST_REQUESTS, USELESS
from rollback_operator.model.verdict import Verdict

CLEAN = (Reason.NO_EVIDENCE_AGAINST, Reason.NO_CONTROL)
"""Reasons of a verdict without evidence against a release, or without a control."""
FAILS_ALIKE = "a person is needed, it is "
"""How the status begins to report a release that fails no more than its control: no verdict."""
LAST_FAILED = "Good, but at least half of its requests failed when it last served"
FAILS = "not Good: at least half of its requests"
_LONGEST_WORDS = 256
_UNPROVED = (Health.UNKNOWN, Health.ASSUMED)


def useless(verdict: Verdict) -> str:
    """Describe a failure of half of a release's requests, whatever the control; empty: none.

    In the whole watch, or recently: a release may fail after a good hour. Without numbers: they
    would change with each evaluation.
    """
    rates = [
        (scope.rate_lower_bound, scope.late_lower_bound, scope.route) for scope in verdict.scopes
    ]
    failing = next((rate for rate in rates if max(rate[:2]) >= USELESS), None)
    if failing is None:
        return ""
    whole_watch, _, route = failing
    where = f" on {route}" if route is not None else ""
    when = "" if whole_watch >= USELESS else " recently"
    return f"{FAILS}{where} failed{when}"


def fails_alike(verdict: Verdict) -> str:
    """Describe a failure of half of a release's requests that is no worse than its baseline.

    The baseline of a restored release may be the rolled-back release, and any baseline may fail: to
    fail equally is not healthy. Empty: there is no such failure.
    """
    is_open = verdict.value in (VerdictValue.WATCHING, VerdictValue.NO_VERDICT)
    return useless(verdict) if is_open and verdict.reason in CLEAN else ""


def fails(entry: LedgerEntry) -> bool:
    """Return whether a release without proved health failed half of its requests when last seen."""
    return entry.health in _UNPROVED and entry.reason.startswith(FAILS)


def failed_last(entry: LedgerEntry | None) -> bool:
    """Return whether a Good release failed when it last served, while its successor did well."""
    return entry is not None and entry.health is Health.GOOD and entry.reason == LAST_FAILED


def with_last_failures(
    ledger: Sequence[LedgerEntry], running: str, verdict: Verdict, failed: Set[str]
) -> list[LedgerEntry]:
    """Record which Good releases failed when they last served; the running release may serve again.

    Args:
        ledger: of the target.
        running: the release that the verdict is about.
        verdict: the judge's verdict.
        failed: releases that failed when they last served.
    """
    reasons = dict.fromkeys(failed, LAST_FAILED)
    if failed_last(next((each for each in ledger if each.release == running), None)):
        reasons[running] = "serves again" if _serves(verdict) else LAST_FAILED
    return [
        entry.model_copy(update={"reason": reasons[entry.release]})
        if entry.release in reasons and entry.health is Health.GOOD
        else entry
        for entry in ledger
    ]


def with_usefulness(
    ledger: Sequence[LedgerEntry], release: str, verdict: Verdict
) -> list[LedgerEntry]:
    """Record that a release fails half of its requests, or no longer does.

    An Assumed release is Unknown meanwhile; its mark (`found_time`) makes it Assumed again. Good
    and Bad stay: they are proved by more.
    """
    return [
        _weighed(entry, verdict)
        if entry.release == release and entry.health in _UNPROVED
        else entry
        for entry in ledger
    ]


def _weighed(entry: LedgerEntry, verdict: Verdict) -> LedgerEntry:
    if reason := clipped(useless(verdict), _LONGEST_WORDS):
        is_adopted = entry.health is Health.ASSUMED
        mark = entry.since if is_adopted else entry.found_time if fails(entry) else None
        changes = {"health": Health.UNKNOWN, "found_time": mark, "reason": reason}
        return entry.model_copy(update=changes)
    if not fails(entry) or not _serves(verdict):
        return entry
    if entry.found_time is None:
        return entry.model_copy(update={"reason": ""})
    changes = {"health": Health.ASSUMED, "found_time": None, "reason": "serves again"}
    return entry.model_copy(update=changes)


def _serves(verdict: Verdict) -> bool:
    """Return whether enough requests show that a release fails less than half: more than a doubt.

    The share itself must be below the limit, not only its lower bound: the health does not flap.
    """
    counted = [scope for scope in verdict.scopes if scope.requests >= LEAST_REQUESTS]
    is_open = verdict.value is VerdictValue.WATCHING
    return (
        is_open
        and bool(counted)
        and all(scope.errors < USELESS * scope.requests for scope in counted)
    )
