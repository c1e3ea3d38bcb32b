"""The first lines of `explain`: how it stands, why, and what a person does next."""

from rollback_operator.cli.plugin.page import TextPage, clock
from rollback_operator.cli.plugin.record import Record, decided, word
from rollback_operator.model import commands

_NEXT = {
    "Verified": "nothing for the service. Mend the release, and ship it as a new one",
    "NotRecovered": "look at the service now: going back has not helped, so the fault is likely "
    "not the release's",
    "Unknown": "see for yourself whether the service is well: nothing could be measured",
    "Failed": "take it back by hand, or mend what stands in the way: nothing tries again",
    "Blocked": "mend what the checklist found; while the release is watched it is tried again",
    "Rejected": "nothing is done to this release any more; mend it forward",
    "Observed": "nothing was done: mode Observe. With mode Enforce it would have been",
    "Abandoned": "nothing, unless the release still fails: then it is decided anew",
    "Refused": "do what the reason says, then ask again",
}
"""By outcome."""
_SUMMARIES = {
    "Healthy": "nothing",
    "Watching": "nothing: the release is young, and nothing speaks against it so far",
    "Suspect": "look at the release: something fails, and it is not proved that the release is why",
    "NoVerdict": "see which condition says what is missing to judge by",
    "Degraded": "mend the metrics: a bad release is not seen without them",
    "Held": "nothing: the rollout goes on by itself, or is taken back",
    "Suspended": "kubectl rollback resume {name} -n {namespace}, once it may act again",
    "RollingBack": "nothing. How it goes: kubectl rollback explain -n {namespace}",
    "Bad": "go back by hand, if nothing else does: kubectl rollback undo {name} -n {namespace} "
    "--dry-run",
}
"""By a policy's status in a word."""
_REASONS = {
    "EnvironmentPreventsPods": "mend what keeps the new pods from starting, or go back: "
    + commands.undo("{name}", "{namespace}", "last-known-good"),
    "TooFewRequests": "nothing: it is judged once it has served enough",
    "EvidenceGathering": "nothing: it is judged once it has served for longer",
    "NoControl": "nothing: the next release is compared with this one",
    "NotYetRead": "nothing: metrics are being read for the first time",
}
"""By the reason of a policy without a verdict."""
_UNDONE = ("Rejected", "Failed", "Blocked", "Abandoned", "Observed")
"""Outcomes after which the release still runs."""


def of_rollback(page: TextPage, rollback: Record) -> None:
    """Say how a rollback stands, why it was decided, and what follows."""
    outcome, done = rollback.text("status.outcome"), rollback.condition("Complete")
    step = rollback.text("status.step")
    how = f"running, at step {step}" if step else "running"
    said = done.text("message") if outcome else ""
    is_told = bool(outcome) and said.startswith(f"{outcome.lower()} ")
    told = [f"{said[:1].upper()}{said[1:]}"] if is_told else [outcome or how, said]
    cause = decided(rollback).text("trigger.message") or rollback.text("spec.reason")
    page.pairs(
        [
            ("Outcome", ": ".join(one for one in told if one)),
            ("Cause", cause),
            ("Next", following(rollback)),
        ]
    )


def following(rollback: Record) -> str:
    """Say what a person does next about a rollback."""
    outcome = rollback.text("status.outcome")
    if outcome == "Rejected" and decided(rollback).text("requestedBy"):
        again = commands.undo(decided(rollback).text("policyRef.name"), rollback.namespace)
        return f"nothing was done. To ask again: {again}"
    if outcome:
        return _NEXT.get(outcome, "")
    if rollback.text("status.step") != "AwaitingApproval":
        return "nothing: it goes on by itself"
    approved = rollback.condition("Approved")
    if approved.text("reason") == "ApprovalUnprotected":
        return approved.text("message")
    until = clock(rollback.time("status.approvalDeadlineTime"))
    decide = commands.approve(rollback.name, rollback.namespace)
    asked = approved.text("message") or "a person is asked"
    return f"decide, until {until}: {decide}\n(or reject): {asked}"


def of_policy(page: TextPage, policy: Record) -> None:
    """Say how the running release does, why that is thought, and what a person may do."""
    known = word(policy)
    ready = policy.condition("Ready")
    kind = {"Degraded": "MetricsAvailable", "Held": "RolloutHeld"}.get(known, "Healthy")
    if are_pods_prevented(policy):
        kind = "Healthy"  # pods that do not start have no metrics either
    is_why = known == "Suspended" or ready.text("status") == "False"
    cause = ready if is_why else policy.condition(kind)
    page.pairs(
        [
            ("Status", known or "not looked at yet"),
            ("Cause", cause.text("message") or cause.text("reason")),
            ("Next", following_policy(policy)),
        ]
    )


def are_pods_prevented(policy: Record) -> bool:
    """Tell whether something keeps the pods from starting that is not the release's doing."""
    return policy.condition("Healthy").text("reason") == "EnvironmentPreventsPods"


def following_policy(policy: Record) -> str:
    """Say what a person does next about the running release."""
    known, last = word(policy), policy.part("status.lastRollback")
    if known == "AwaitingApproval":
        return f"decide: kubectl rollback explain {last.text('name')} -n {policy.namespace}"
    said = _SUMMARIES.get(known, "")
    if known == "NoVerdict" or are_pods_prevented(policy):
        said = _REASONS.get(policy.condition("Healthy").text("reason"), said)
    said = said.format(name=policy.name, namespace=policy.namespace)
    if known == "Bad" and last.text("outcome") in _UNDONE:
        return f"{last.text('name')} has ended as {last.text('outcome')}: {said}"
    return said
