"""What a person reads first of a policy or a rollback: the status, its cause, the next action."""

from datetime import timedelta

from rollback_operator.api.reasons import IDLE
from rollback_operator.api.shape import one_line
from rollback_operator.cli.plugin.page import TextPage, clock
from rollback_operator.cli.plugin.record import (
    Record,
    cause_of,
    decided,
    failed_share,
    repeated,
    summary_of,
)
from rollback_operator.model import commands
from rollback_operator.releases.usefulness import FAILS, LAST_FAILED
from rollback_operator.report.wording import next_steps_after

JUDGED = frozenset({"Bad", "Suspect", "Watching", "NoVerdict", "Degraded"})
"""Summaries of a release that may be bad, and that nothing is about to replace."""
_NEXT = {
    "Healthy": "no action is required",
    "Watching": "no action is required: the evaluation has no evidence against the release so far",
    "Suspect": "check the service: it has a fault, and the release is not proved to be the cause",
    "NoVerdict": "check the conditions: they name the missing data",
    "Degraded": "the release is not judged: {missing}. If users report errors: {undo}",
    "Held": "no action is required: the operator resumes the rollout or rolls it back",
    "Suspended": "to resume: kubectl rollback resume {name} -n {namespace}",
    "EverythingSuspended": "to resume: kubectl rollback resume --all-namespaces",
    "RollingBack": "no action is required. Progress: kubectl rollback explain -n {namespace}",
    "Bad": "the operator decides again at each evaluation. To roll back manually: {undo}",
    "Paused": "the operator evaluates nothing until the Deployment is resumed: kubectl rollout "
    "resume deployment/{target} -n {namespace}",
    "ScaledToZero": "the operator evaluates nothing until the Deployment has replicas: kubectl "
    "scale deployment/{target} -n {namespace} --replicas=N",
}
"""Next action by the summary of a policy."""
_NEXT_BY_REASON = {
    "EnvironmentPreventsPods": "fix the cause that prevents the new pods from starting, or roll "
    "back: {undo}",
    "PodFailing": "correct the release, or wait: the matrix decides about a rollout that stays "
    "stuck",
    "InvalidImageName": "correct the image name in the pod template, or roll back: {undo}",
    "TooFewRequests": "no action is required: the release is judged after enough requests",
    "EvidenceGathering": "no action is required: the release is judged after more samples",
    "NoControl": "no action is required: the next release is compared with this release",
    "NotYetRead": "no action is required: the first metrics are being read",
}
"""Next action by the reason of a policy without a verdict, or by the fault of its pods."""
_PODS_DO_NOT_START = frozenset({"EnvironmentPreventsPods", "PodFailing"})
IDLE_SUMMARIES = ("Paused", "ScaledToZero")
"""Summaries without an evaluation: nothing is rolled back."""
LIMITING = frozenset(
    {
        *("RightMissing", "ApprovalUnprotected", "FreezeActive", "ChannelUnusable"),
        *("FlagUnusable", "ImageUpdater", "SingleReplica", "PassFailed"),
    }
)
"""Reasons of Ready=True that restrict the operator."""
_WITHOUT_ACTION = "no action is required"
_RELEASE_STAYS = ("Rejected", "Failed", "Blocked", "Abandoned", "Observed")
"""Outcomes after which the bad release still runs."""


def rollback_headline(page: TextPage, rollback: Record, policy: Record) -> None:
    """Show the outcome, the cause and the next action of a rollback, or of its bad release now."""
    outcome, complete = rollback.text("status.outcome"), rollback.condition("Complete")
    step = rollback.text("status.step")
    state = outcome or (f"running, at step {step}" if step else "running")
    is_refused = outcome == "Refused"
    message = complete.text("message") if outcome and not is_refused else ""
    if outcome and message.startswith(f"{outcome.lower()} "):
        state, message = f"{message[:1].upper()}{message[1:]}", ""
    is_back = condemnation(policy).text("rollback") == rollback.name
    back = known_bad(policy) if is_back and came_back(policy) else ""
    page.pairs(
        [
            ("Now", back),
            ("Outcome", ": ".join(filter(None, (state, message)))),
            ("Cause", cause_of(rollback)),
            ("Reason given", rollback.text("spec.reason") if is_refused else ""),
            ("Next", next_policy_action(policy) if back else next_action(rollback)),
        ]
    )


def next_action(rollback: Record) -> str:
    """Describe what a person does next about a rollback."""
    outcome, spec = rollback.text("status.outcome"), decided(rollback)
    if outcome == "Rejected" and spec.text("requestedBy"):
        again = f". To repeat it: {repeated(rollback)}" if repeated(rollback) else ""
        return f"the request was rejected and nothing was changed{again}"
    if outcome:
        return "\n".join(steps_after(rollback))
    if rollback.text("status.step") != "AwaitingApproval":
        return "no action is required: the rollback is in progress"
    question, answer = _question_and_answer(rollback)
    return f"decide {answer}\n{question}" if answer else question


def question_line(rollback: Record) -> str:
    """State the cause of an open question, the question, and the command that answers it."""
    question, answer = _question_and_answer(rollback)
    cause = failed_share(rollback) or decided(rollback).text("trigger.message")
    parts = ["" if cause in question else cause, question, f"Decide {answer}" if answer else ""]
    return one_line(". ".join(filter(None, parts)))


def _question_and_answer(rollback: Record) -> tuple[str, str]:
    """Return the question of an open rollback, and the command; empty: no decision would count."""
    approved = rollback.condition("Approved")
    if approved.text("reason") == "ApprovalUnprotected":
        return approved.text("message"), ""
    until = clock(rollback.time("status.approvalDeadlineTime"))
    decide = commands.approve(rollback.name, rollback.namespace)
    question = approved.text("message") or "the rollback requires approval"
    return question, f"by {until}: {decide} (or reject)"


def steps_after(rollback: Record) -> tuple[str, ...]:
    """List the next steps after the outcome of a rollback, as the notifications list them."""
    return next_steps_after(
        rollback.text("status.outcome"),
        rollback.condition("Complete").text("reason"),
        is_flag=decided(rollback).text("remedy.type") == "DisableFlag",
    )


def policy_headline(page: TextPage, policy: Record) -> None:
    """Show the status of the running release, its cause and the next action."""
    summary, ready = summary_of(policy), policy.condition("Ready")
    kind = {"Degraded": "MetricsAvailable", "Held": "RolloutHeld"}.get(summary, "Healthy")
    if are_pods_prevented(policy):
        kind = "Healthy"  # pods that do not start have no metrics either
    is_not_ready = summary == "Suspended" or ready.text("status") == "False"
    cause = ready if is_not_ready else policy.condition(kind)
    page.pairs(
        [
            ("Status", summary or "not evaluated yet"),
            ("Now", known_bad(policy)),
            ("Cause", cause.text("message") or cause.text("reason")),
            ("Next", next_policy_action(policy)),
        ]
    )


def _is_refused(recovered: Record) -> bool:
    """Report whether a rollback ended because the operator may not make the change."""
    is_bad = recovered.text("status") == "False"
    return is_bad and recovered.text("reason") == "StepRefused"


def _warning(policy: Record) -> Record | None:
    """Return the condition that restricts the operator, or reports that people are needed."""
    ready, recovered = policy.condition("Ready"), policy.condition("Recovered")
    if recovered.text("status") == "False":
        return recovered
    is_limited = ready.text("status") == "True" and ready.text("reason") in LIMITING
    return ready if is_limited else None


def are_pods_prevented(policy: Record) -> bool:
    """Report whether new pods do not start, by the environment's fault or the release's."""
    return policy.condition("Healthy").text("reason") in _PODS_DO_NOT_START


def next_policy_action(policy: Record) -> str:
    """Describe what a person does next about the running release."""
    summary, last = summary_of(policy), policy.part("status.lastRollback")
    if summary == "AwaitingApproval":
        return f"decide: kubectl rollback explain {last.text('name')} -n {policy.namespace}"
    action = _NEXT.get(summary, "")
    if summary == "Suspect" and _fails_half(policy):
        action += "; it fails at least half of its requests. To roll back all the same: {undo}"
    if summary == "NoVerdict" or are_pods_prevented(policy):
        action = _NEXT_BY_REASON.get(_fault_of(policy), action)
    target = policy.text("spec.targetRef.name")
    action = action.format(
        name=policy.name,
        namespace=policy.namespace,
        target=target,
        missing=missing(policy),
        undo=way_back(policy),
    )
    recovered = policy.condition("Recovered")
    if _is_refused(recovered) and summary not in IDLE_SUMMARIES:
        return f"{recovered.text('reason')}: {one_line(recovered.text('message'))}"
    if known_bad(policy):
        after = "; then remove the release at its source" if came_back(policy) else ""
        return f"to roll it back now: {way_back(policy)}{after}"
    if action.startswith(_WITHOUT_ACTION) and (warned := _warning(policy)):
        return f"{warned.text('reason')}: {one_line(warned.text('message'))}"
    is_another = recovered.text("reason") == "NotRolledBack" and last.text("outcome") != "Observed"
    is_another = is_another or bool(condemned_release(policy))
    if summary == "Bad" and last.text("outcome") in _RELEASE_STAYS and not is_another:
        ended = f"{last.text('name')} ended as {last.text('outcome')}"
        return f"{ended}: roll back manually: {_manual(policy, recovered)}"
    return action


def _fails_half(policy: Record) -> bool:
    """Report whether the running release is useless, and there is another revision."""
    release = policy.text("status.revision.release")
    others = [row for row in policy.rows("status.revisions") if row.text("release") != release]
    return bool(others) and _entry(policy, release).text("reason").startswith(FAILS)


def way_back(policy: Record) -> str:
    """Return the command that rolls back; without a target, the command that Healthy names.

    A target that failed when it last served is none. If neither is known, it is how to choose: the
    status may list revisions that are deleted.
    """
    usual = commands.undo(policy.name, policy.namespace)
    good, running = policy.part("status.lastKnownGood"), policy.part("status.revision")
    is_other = good.raw and (not running.raw or good.text("release") != running.text("release"))
    if is_other and _entry(policy, good.text("release")).text("reason") != LAST_FAILED:
        return usual
    text = policy.condition("Healthy").text("message").partition("; an earlier finding")[0]
    trust = commands.trust(policy.name, policy.namespace, 0)
    for begin in (usual.partition("--reason")[0], trust.partition("--revision")[0]):
        option, end, _ = text.rpartition(begin)[2].partition("--reason TEXT")
        if begin in text and end:
            return f"{begin}{option}{end}"
    target = policy.text("spec.targetRef.name")
    listed = f"kubectl rollout history deployment/{target} -n {policy.namespace}"
    return f"choose a revision, the status names no target: {listed}"


def _manual(policy: Record, recovered: Record) -> str:
    """Return the command that Recovered names, so that `status` shows no other; else the usual."""
    usual = commands.undo(policy.name, policy.namespace)
    verb, reason, _ = usual.partition(" --reason")
    option, end, _ = recovered.text("message").partition(verb)[2].partition(reason)
    return usual.replace(reason, f"{option}{reason}") if end else way_back(policy)


def _fault_of(policy: Record) -> str:
    """Return why there is no verdict: the reason, or a fault of the pods that no wait ends."""
    healthy = policy.condition("Healthy")
    is_named = "InvalidImageName" in healthy.text("message")
    is_failing = healthy.text("reason") == "PodFailing"
    return "InvalidImageName" if is_failing and is_named else healthy.text("reason")


def is_watched(policy: Record) -> bool:
    """Report whether the operator reads the target: else its revision is that of the last read."""
    is_suspended = policy.text("spec.suspend") == "true"
    return not is_suspended and policy.condition("Ready").text("reason") not in IDLE


# -- a release that was found bad before -----------------------------------------------------------


def condemnation(policy: Record) -> Record:
    """Return the finding against the running release; empty: there is none."""
    release = policy.text("status.revision.release")
    return _entry(policy, release).part("condemned") if release else Record()


def _entry(policy: Record, release: str) -> Record:
    rows = policy.rows("status.revisions")
    return next((row for row in rows if row.text("release") == release), Record())


def condemned_release(policy: Record) -> str:
    """Name the images of the last rollback's release if another runs; empty: it runs, or unknown.

    A rollback without a finding, such as a manual request, has no such release.
    """
    rollback, running = (
        policy.text("status.lastRollback.name"),
        policy.text("status.revision.release"),
    )
    rows = policy.rows("status.revisions") if rollback else []
    return next(
        (
            ", ".join(row.words("images"))
            for row in rows
            if row.text("condemned.rollback") == rollback and row.text("release") != running
        ),
        "",
    )


def came_back(policy: Record) -> bool:
    """Report whether the running release was rolled back before and was rolled out again."""
    recovered = policy.condition("Recovered")
    is_reverted = (recovered.text("status"), recovered.text("reason")) == ("False", "UndoReverted")
    is_back = is_reverted or policy.condition("Quarantined").text("status") == "True"
    return is_back and bool(condemnation(policy).text("rollback"))


def known_bad(policy: Record) -> str:
    """State that the running release was found bad before, and why it stays; empty: it was not."""
    healthy, finding = policy.condition("Healthy"), condemnation(policy)
    is_found_bad = healthy.text("reason") == "FoundBad"
    is_back = came_back(policy)
    if summary_of(policy) not in JUDGED or not finding.raw or not (is_found_bad or is_back):
        return ""
    running = policy.part("status.revision")
    release = ", ".join(running.words("images")) or f"revision {running.text('number')}"
    by = f"by {running.text('changedBy')}, " if running.text("changedBy") else ""
    then = f"was found bad at {clock(finding.time('time'))}"
    now = "and runs now"
    if is_back:
        then = f"was rolled back by {finding.text('rollback')}"
        now = f"and runs again ({by}{clock(running.time('since'))})"
    if is_found_bad:
        return f"{release} {then} {now}; it is not judged now: {missing(policy)}"
    is_cooling = healthy.text("reason") == "CooldownActive"
    stays = _until_cooldown(policy, finding.text("rollback")) if is_cooling else ""
    why = one_line(healthy.text("message")).partition("Not rolled back: ")[2]
    stays = stays or (f"Not rolled back: {why}" if why else "")
    return f"{release} {then} {now}" + (f". {stays}" if stays else "")


def _until_cooldown(policy: Record, rollback: str) -> str:
    """State until when a release that is back is not rolled back again; empty: not known."""
    ends = {
        row.text("name"): row.time("finishedTime") for row in policy.rows("status.recentRollbacks")
    }
    end, seconds = ends.get(rollback), policy.number("spec.safety.cooldownSeconds")
    if end is None or not seconds:
        return ""
    until = clock(end + timedelta(seconds=seconds))
    return f"It is not rolled back automatically again before {until}: remove it at its source"


def missing(policy: Record) -> str:
    """State why the release is not judged."""
    metrics = policy.condition("MetricsAvailable")
    if metrics.text("status") != "False":
        return "there is no new evidence so far"
    is_silent = metrics.text("reason") == "ProviderUnreachable"
    return "Prometheus does not answer" if is_silent else "its metrics are missing"
