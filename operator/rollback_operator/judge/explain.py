"""Verdicts in words: counts, odds, blame and missing evidence."""

from rollback_operator.api.reasons import Reason
from rollback_operator.model.verdict import Method, ScopeVerdict, Symptom

_WORDS = {
    Reason.OLD_REVISION_FAILS_TOO: "the old pods began to fail alike before they stopped, so a "
    "rollback would not help",
    Reason.TRAFFIC_SPIKE: "traffic is more than three times that of the busiest minute before the "
    "release",
    Reason.ENVIRONMENT_SUSPECTED: "the release is not clearly to blame",
    Reason.TOO_FEW_REQUESTS: "too few requests for a verdict",
    Reason.NO_CONTROL: "there is no older revision to compare with, or its history is too short",
    Reason.NO_EVIDENCE_AGAINST: "nothing speaks against it",
}


_ADOPTED = (
    "this revision was already running when the watch began: the next release is compared with it"
)
_MOST = 1e9
"""Higher odds carry no further information for a reader."""


def ratio(odds: float) -> str:
    """Write odds for people: '9300 : 1', with a cap above which figures add nothing."""
    if odds >= _MOST:
        return "over a billion : 1"
    if odds <= 1 / _MOST:
        return "1 : over a billion"
    return f"{odds:.0f} : 1" if odds >= 1 else f"1 : {1 / odds:.0f}"


def describe_scope(evidence: ScopeVerdict, reason: Reason) -> str:
    """Describe the evidence in a scope and its consequence."""
    where = "all routes" if evidence.route is None else evidence.route
    pods = "running pods" if evidence.is_adopted else "new pods"
    message = (
        f"the {pods} served {evidence.requests:.0f} requests on {where} and failed "
        f"{evidence.errors:.0f} ({_percent(evidence.requests, evidence.errors)})"
    )
    if evidence.requests == 0:
        message = f"the {pods} have served no request on {where} yet"
    if evidence.control_requests > 0:
        message += (
            f"; the old revision failed {evidence.control_errors:.0f} of "
            f"{evidence.control_requests:.0f} "
            + ("in the same seconds" if evidence.method is Method.CONTROL else "before the release")
        )
    if evidence.errors > 0 and evidence.odds > 0:  # zero: nothing to compare with
        message += f"; odds {ratio(evidence.odds)} that the new one is worse"
    if evidence.blame is not None:
        whose = "each pod's own" if evidence.blame.is_by_age else "its"
        onset = (
            "failing from its first request on"
            if evidence.blame.is_from_first_request
            else f"the fault began {evidence.blame.onset:.0f} s after {whose} first request"
        )
        message += f"; {onset}, {ratio(evidence.blame.odds)} that the release is to blame"
    if reason is Reason.FEW_PODS_AFFECTED:
        message += (
            f"; only {evidence.pods_failing} of {evidence.pods} {pods} fail, check their nodes"
        )
    if evidence.nodes:
        message += (
            f"; the old pods on {' and '.join(evidence.nodes)} fail alike, those on other nodes do "
            "not: check the node" + ("s" if len(evidence.nodes) > 1 else "")
        )
    # "5 of 20 requests" states the same as the reason, with the figures.
    is_unmet = bool(evidence.unmet) and evidence.odds >= 1
    is_same = is_unmet and reason is Reason.TOO_FEW_REQUESTS and "requests" in evidence.unmet
    if is_unmet:
        message += f"; not enough yet: {evidence.unmet}"
    if reason is Reason.NO_EVIDENCE_AGAINST and not evidence.odds and evidence.errors > 0:
        # Counts of different seconds are not compared: they do not clear the release yet.
        return f"{message}; not compared yet: the old pods have no newer sample"
    if reason is Reason.NO_CONTROL and evidence.is_adopted:
        return f"{message}; {_ADOPTED}"
    return f"{message}; {_WORDS[reason]}" if reason in _WORDS and not is_same else message


def describe_symptom(shown: Symptom) -> str:
    """Describe a symptom and its consequence."""
    if shown.veto is None:
        return shown.message
    return f"{shown.message}; {_VETOES.get(shown.veto, 'the release is not clearly to blame')}"


_VETOES = {
    Reason.OLD_REVISION_FAILS_TOO: "the old revision does the same, so a rollback would not help",
    Reason.THERE_BEFORE: "it was the same before the release",
    Reason.FEW_PODS_AFFECTED: "only few of the new pods are affected, check their nodes",
    Reason.TRAFFIC_SPIKE: _WORDS[Reason.TRAFFIC_SPIKE],
    Reason.ENVIRONMENT_SUSPECTED: "the revision ran before, so its environment may be the cause",
}


def _percent(requests: float, errors: float) -> str:
    return f"{100 * errors / requests:.1f} %" if requests else "none"
