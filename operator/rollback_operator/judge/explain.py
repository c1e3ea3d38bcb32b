"""Decisions in words, as one would tell them on the phone: counts, odds, blame, what is missing."""

from rollback_operator.api.reasons import Reason
from rollback_operator.model.verdict import Method, ScopeVerdict, Symptom

_WORDS = {
    Reason.OLD_REVISION_FAILS_TOO: "the old pods had begun to fail alike before they went, so "
    "going back would not help",
    Reason.TRAFFIC_SPIKE: "there is more than three times the traffic of the busiest minute before",
    Reason.ENVIRONMENT_SUSPECTED: "the release is not clearly to blame",
    Reason.TOO_FEW_REQUESTS: "too few to judge",
    Reason.NO_CONTROL: "there is no older revision, or not enough of its past, to compare with",
    Reason.NO_EVIDENCE_AGAINST: "nothing speaks against it",
}


_MOST = 1e9
"""Beyond this nobody weighs odds any more."""


def ratio(odds: float) -> str:
    """Write odds for people: '9300 : 1', capped where a figure says no more."""
    if odds >= _MOST:
        return "over a billion : 1"
    if odds <= 1 / _MOST:
        return "1 : over a billion"
    return f"{odds:.0f} : 1" if odds >= 1 else f"1 : {1 / odds:.0f}"


def scope(one: ScopeVerdict, reason: Reason) -> str:
    """Tell what a scope's evidence is and what follows from it."""
    where = "all routes" if one.route is None else one.route
    said = (
        f"the new pods served {one.requests:.0f} requests on {where} and failed "
        f"{one.errors:.0f} ({_percent(one.requests, one.errors)})"
    )
    if one.requests == 0:
        said = f"the new pods have served no request on {where} yet"
    if one.control_requests > 0:
        said += (
            f"; the old revision failed {one.control_errors:.0f} of {one.control_requests:.0f} "
            + ("in the same seconds" if one.method is Method.CONTROL else "before the release")
        )
    if one.errors > 0 and one.odds > 0:  # zero: nothing there is to weigh them against
        said += f"; odds {ratio(one.odds)} that the new one is worse"
    if one.blame is not None:
        whose = "each pod's own" if one.blame.is_by_age else "its"
        onset = (
            "failing from its first request on"
            if one.blame.is_from_first_request
            else f"the fault began {one.blame.onset:.0f} s after {whose} first request"
        )
        said += f"; {onset}, {ratio(one.blame.odds)} that the release is to blame"
    if reason is Reason.FEW_PODS_AFFECTED:
        said += f"; only {one.pods_failing} of {one.pods} new pods fail, look at their nodes"
    if one.unmet and one.odds >= 1:
        said += f"; not enough yet: {one.unmet}"
    if reason is Reason.NO_EVIDENCE_AGAINST and not one.odds and one.errors > 0:
        # Counts of different seconds are not weighed: that is not yet word for the release.
        return f"{said}; not compared yet: the old pods have not been read since"
    return f"{said}; {_WORDS[reason]}" if reason in _WORDS else said


def symptom(one: Symptom) -> str:
    """Tell what a symptom is and what follows from it."""
    if one.veto is None:
        return one.message
    return f"{one.message}; {_VETOES.get(one.veto, 'the release is not clearly to blame')}"


_VETOES = {
    Reason.OLD_REVISION_FAILS_TOO: "the old revision does the same, so going back would not help",
    Reason.THERE_BEFORE: "it was so before the release",
    Reason.FEW_PODS_AFFECTED: "only on few of the new pods, look at their nodes",
    Reason.TRAFFIC_SPIKE: _WORDS[Reason.TRAFFIC_SPIKE],
}


def _percent(requests: float, errors: float) -> str:
    return f"{100 * errors / requests:.1f} %" if requests else "none"
