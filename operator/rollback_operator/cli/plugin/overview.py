"""`status` and `history`: a row per object, and the status, cause and next action behind a row."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from rollback_operator.cli.plugin.found_bad import (
    JUDGED,
    came_back,
    condemnation,
    condemned_release,
    known_bad,
    missing,
)
from rollback_operator.cli.plugin.page import TextPage, age, clock, span
from rollback_operator.cli.plugin.record import (
    Record,
    decided,
    decided_time,
    progress_text,
    remedy_text,
    repeated,
    requester,
    severity_of,
    summary_of,
)
from rollback_operator.model import commands, stop
from rollback_operator.report.wording import next_steps_after

_HEADS = (
    *("POLICY", "TARGET", "MODE", "READY", "STATUS"),
    *("SEVERITY", "REVISION", "LAST ROLLBACK", "AGE"),
)
_WIDE_HEADS = ("VERDICT", "GOOD", "WHY")
_HISTORY = ("ROLLBACK", "POLICY", "SEVERITY", "FROM", "TO", "STEP", "OUTCOME", "TOOK", "AGE")
_HISTORY_WIDE = ("BY", "WHY")
_BY_URGENCY = (
    *("Recovered", "Ready", "MetricsAvailable", "Notified", "Trusted", "SlowSignalsAvailable"),
)
"""Conditions below the table, the most urgent first."""
_SHORTENED = frozenset({"SlowSignalsAvailable"})
"""Conditions with only their first sentence: `explain` has the rest."""
_NOT_OPEN = frozenset({"NotRolledBack", "InProgress", "RecordedOnly"})
"""Reasons of Recovered=Unknown that ask for nothing."""
_NEEDS_REASON = ("NoVerdict", "Suspect", "Bad")
_NEXT = {
    "Healthy": "no action is required",
    "Watching": "no action is required: the evaluation has no evidence against the release so far",
    "Suspect": "check the service: it has a fault, and the release is not proved to be the cause",
    "NoVerdict": "check the conditions: they name the missing data",
    "Degraded": "the release is not judged: {missing}. If users report errors: "
    + commands.undo("{name}", "{namespace}"),
    "Held": "no action is required: the operator resumes the rollout or rolls it back",
    "Suspended": "to resume: kubectl rollback resume {name} -n {namespace}",
    "EverythingSuspended": "to resume: kubectl rollback resume --all-namespaces",
    "RollingBack": "no action is required. Progress: kubectl rollback explain -n {namespace}",
    "Bad": "the operator decides again at each evaluation. To see the plan of a manual rollback: "
    "kubectl rollback undo {name} -n {namespace} --dry-run",
    "Paused": "the operator evaluates nothing until the Deployment is resumed: kubectl rollout "
    "resume deployment/{target} -n {namespace}",
    "ScaledToZero": "the operator evaluates nothing until the Deployment has replicas: kubectl "
    "scale deployment/{target} -n {namespace} --replicas=N",
}
"""Next action by the summary of a policy."""
_NEXT_BY_REASON = {
    "EnvironmentPreventsPods": "fix the cause that prevents the new pods from starting, or roll "
    "back: " + commands.undo("{name}", "{namespace}", "last-known-good"),
    "PodFailing": "correct the release, or wait: the matrix decides about a rollout that stays "
    "stuck",
    "TooFewRequests": "no action is required: the release is judged after enough requests",
    "EvidenceGathering": "no action is required: the release is judged after more samples",
    "NoControl": "no action is required: the next release is compared with this release",
    "NotYetRead": "no action is required: the first metrics are being read",
}
"""Next action by the reason of a policy without a verdict."""
_PODS_DO_NOT_START = frozenset({"EnvironmentPreventsPods", "PodFailing"})
_IDLE = ("Paused", "ScaledToZero")
"""Summaries without an evaluation: nothing is rolled back."""
_WARNINGS = frozenset(
    {
        *("RightMissing", "ApprovalUnprotected", "FreezeActive", "ChannelUnusable"),
        *("FlagUnusable", "ImageUpdater", "SingleReplica", "PassFailed"),
    }
)
"""Reasons of Ready=True that restrict the operator."""
_WITHOUT_ACTION = "no action is required"
_RECENT = timedelta(hours=1)
_RELEASE_STAYS = ("Rejected", "Failed", "Blocked", "Abandoned", "Observed")
"""Outcomes after which the bad release still runs."""


# -- status, cause and next action -----------------------------------------------------------------


def rollback_headline(page: TextPage, rollback: Record, policy: Record) -> None:
    """Show the outcome, the cause and the next action of a rollback, or of its bad release now."""
    outcome, complete = rollback.text("status.outcome"), rollback.condition("Complete")
    step = rollback.text("status.step")
    state = outcome or (f"running, at step {step}" if step else "running")
    message = complete.text("message") if outcome else ""
    if outcome and message.startswith(f"{outcome.lower()} "):
        state, message = f"{message[:1].upper()}{message[1:]}", ""
    is_back = condemnation(policy).text("rollback") == rollback.name
    back = known_bad(policy) if is_back and came_back(policy) else ""
    page.pairs(
        [
            ("Now", back),
            ("Outcome", ": ".join(filter(None, (state, message)))),
            ("Cause", decided(rollback).text("trigger.message") or rollback.text("spec.reason")),
            ("Next", next_policy_action(policy) if back else next_action(rollback)),
        ]
    )


def next_action(rollback: Record) -> str:
    """Describe what a person does next about a rollback."""
    outcome, spec = rollback.text("status.outcome"), decided(rollback)
    if outcome == "Rejected" and spec.text("requestedBy"):
        again = repeated(rollback)
        return f"the request was rejected and nothing was changed. To repeat it: {again}"
    if outcome:
        return "\n".join(steps_after(rollback))
    if rollback.text("status.step") != "AwaitingApproval":
        return "no action is required: the rollback is in progress"
    approved = rollback.condition("Approved")
    if approved.text("reason") == "ApprovalUnprotected":
        return approved.text("message")
    until = clock(rollback.time("status.approvalDeadlineTime"))
    decide = commands.approve(rollback.name, rollback.namespace)
    question = approved.text("message") or "the rollback requires approval"
    return f"decide by {until}: {decide}\n(or reject): {question}"


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
    is_limited = ready.text("status") == "True" and ready.text("reason") in _WARNINGS
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
    if summary == "NoVerdict" or are_pods_prevented(policy):
        action = _NEXT_BY_REASON.get(policy.condition("Healthy").text("reason"), action)
    target = policy.text("spec.targetRef.name")
    action = action.format(
        name=policy.name, namespace=policy.namespace, target=target, missing=missing(policy)
    )
    recovered = policy.condition("Recovered")
    if _is_refused(recovered) and summary not in _IDLE:
        return f"{recovered.text('reason')}: {_one_line(recovered.text('message'))}"
    if known_bad(policy):
        after = "; then remove the release at its source" if came_back(policy) else ""
        return f"to roll it back now: {commands.undo(policy.name, policy.namespace)}{after}"
    if action.startswith(_WITHOUT_ACTION) and (warned := _warning(policy)):
        return f"{warned.text('reason')}: {_one_line(warned.text('message'))}"
    is_another = recovered.text("reason") == "NotRolledBack" and last.text("outcome") != "Observed"
    is_another = is_another or bool(condemned_release(policy))
    if summary == "Bad" and last.text("outcome") in _RELEASE_STAYS and not is_another:
        manual = f"kubectl rollback undo {policy.name} -n {policy.namespace} --dry-run"
        ended = f"{last.text('name')} ended as {last.text('outcome')}"
        return f"{ended}: roll back manually: {manual}"
    return action


# -- tables ----------------------------------------------------------------------------------------


def status_page(
    page: TextPage,
    policies: Sequence[Record],
    in_progress: Mapping[tuple[str, str], Record],
    shape: tuple[bool, bool],
    now: datetime,
) -> None:
    """Show a row per policy, and below the table each policy that needs attention.

    Args:
        page: receives the lines.
        policies: as they are stored.
        in_progress: the Rollbacks in progress, by namespace and name of their policy.
        shape: whether namespaces are shown, and whether all columns are.
        now: for ages.
    """
    rows = []
    for policy in policies:
        last = policy.part("status.lastRollback")
        outcome = last.text("outcome") or ("running" if last.raw else "")
        row = [
            policy.namespace,
            policy.name,
            policy.text("spec.targetRef.name"),
            policy.text("spec.mode"),
            policy.condition("Ready").text("status") or "-",
            summary_of(policy) or "-",
            policy.text("status.severity").replace("None", "") or "-",
            policy.text("status.revision.number") or "-",
            f"{outcome} {age(last.time('time'), now)}" if outcome else "-",
            age(policy.time("metadata.creationTimestamp"), now),
        ]
        healthy, ready = policy.condition("Healthy"), policy.condition("Ready")
        row += [
            policy.text("status.verdict") or "-",
            policy.text("status.lastKnownGood.number") or "-",
            _one_line(healthy.text("message") or ready.text("message")),
        ]
        rows.append(row)
    _table(page, shape, (_HEADS, _WIDE_HEADS), rows)
    for policy in policies:
        name = f"{policy.namespace}/{policy.name}" if shape[0] else policy.name
        rollback = in_progress.get((policy.namespace, policy.name))
        if summary_of(policy) == "AwaitingApproval":
            _question(page, name, policy, rollback)
        elif summary_of(policy) == "RollingBack":
            what = progress_text(rollback) if rollback is not None else next_policy_action(policy)
            page.line(f"{name}: {page.paint.word('RollingBack')}: {what}")
        elif done := _rolled_back(policy, now):
            page.line(f"{name}: {done}")
        _concerns(page, name, policy)


def _question(page: TextPage, name: str, policy: Record, waiting: Record | None) -> None:
    """Show the open question, its deadline and the command that answers it."""
    asked = policy.text("status.lastRollback.name")
    question = f"to see the plan: kubectl rollback explain {asked} -n {policy.namespace}"
    if waiting is not None:
        question = _one_line(next_action(waiting))
    page.line(f"{name}: {page.paint.word('AwaitingApproval')}: {question}")


def _rolled_back(policy: Record, now: datetime) -> str:
    """Name the release that was rolled back in the last hour, and the release that runs instead."""
    last, running = policy.part("status.lastRollback"), policy.part("status.revision")
    time = last.time("time")
    is_recent = time is not None and now - time < _RECENT
    if not is_recent or policy.condition("Recovered").text("status") != "True":
        return ""
    old, new = condemned_release(policy), ", ".join(running.words("images"))
    done = f"{old} was rolled back {age(time, now)} ago ({last.text('name')})"
    return f"{done}; {new} runs as revision {running.text('number')}" if old else ""


def _verdict(page: TextPage, name: str, policy: Record) -> None:
    """Show why a release is bad or not judged, and the next action."""
    healthy, summary = policy.condition("Healthy"), summary_of(policy)
    message, known = _one_line(healthy.text("message")), known_bad(policy)
    evidence, _, why = message.partition(". Not rolled back: ")
    if known or why:
        shown = known or f"not rolled back: {why}"
        reason = healthy.text("reason")
        shown += f". Evidence: {evidence}" if evidence and reason != "FoundBad" else ""
        word = page.paint.word("Bad" if why else summary)
        page.line(f"{name}: {word} {reason}: {shown}")
        if summary in JUDGED:
            page.line(f"{name}: next: {next_policy_action(policy)}")
    elif summary == "Degraded" and not are_pods_prevented(policy):
        page.line(f"{name}: next: {next_policy_action(policy)}")
    elif message and (summary in _NEEDS_REASON or are_pods_prevented(policy)):
        page.line(f"{name}: {page.paint.word(summary)} {healthy.text('reason')}: {message}")
        page.line(f"{name}: next: {next_policy_action(policy)}")


def _concerns(page: TextPage, name: str, policy: Record) -> None:
    """Show each condition that keeps a policy from its work, with its message and the remedy."""
    _verdict(page, name, policy)
    summary = summary_of(policy)
    ready = policy.condition("Ready")
    if summary == "Suspended":
        why = ready.text("message") if ready.text("reason") == summary else ""
        # The command's own note, until the operator has observed the suspension.
        why = why or stop.suspension_reason(policy.part("metadata.annotations").raw)
        page.line(f"{name}: {page.paint.word(summary)}: {_one_line(why or 'spec.suspend is true')}")
        page.line(f"{name}: next: {next_policy_action(policy)}")
    elif summary in _IDLE:
        page.line(f"{name}: next: {next_policy_action(policy)}")
    held = policy.condition("RolloutHeld")
    if held.text("status") == "True" or held.text("reason") == "PauseRefused":
        word = page.paint.word("Held") if held.text("status") == "True" else "NotHeld"
        page.line(f"{name}: {word} {held.text('reason')}: {_one_line(held.text('message'))}")
    for kind in _BY_URGENCY:
        condition = policy.condition(kind)
        value, reason = condition.text("status"), condition.text("reason")
        is_limited = kind == "Ready" and value == "True" and reason in _WARNINGS
        if reason == "UndoReverted" and known_bad(policy):
            continue  # the first line says so
        is_open = kind == "Recovered" and value == "Unknown" and reason not in _NOT_OPEN
        if value == "False" or is_limited or is_open:
            message = _one_line(condition.text("message"))
            if kind in _SHORTENED:
                message = message.partition("; ")[0].partition(". ")[0]
            page.line(f"{name}: {kind}={page.paint.word(value)} {reason}: {message}")


def history_page(
    page: TextPage, rollbacks: Sequence[Record], shape: tuple[bool, bool], now: datetime
) -> None:
    """Show a row per rollback.

    Args:
        page: receives the lines.
        rollbacks: as they are stored, in the order in which they are shown.
        shape: whether namespaces are shown, and whether all columns are.
        now: for ages.
    """
    rows = []
    for rollback in rollbacks:
        spec, since = decided(rollback), decided_time(rollback)
        row = [
            rollback.namespace,
            rollback.name,
            spec.text("policyRef.name"),
            severity_of(rollback) or "-",
            spec.text("fromRevision.number") or "-",
            spec.text("toRevision.number") or remedy_text(rollback),
            rollback.text("status.step") or "-",
            rollback.text("status.outcome") or "running",
            took(rollback, since) or "-",
            age(since, now),
        ]
        cause = spec.text("trigger.message") or spec.text("reason")
        rows.append([*row, requester(rollback), _one_line(cause)])
    _table(page, shape, (_HISTORY, _HISTORY_WIDE), rows)


def _table(
    page: TextPage,
    shape: tuple[bool, bool],
    heads: tuple[Sequence[str], Sequence[str]],
    rows: Sequence[Sequence[str]],
) -> None:
    """Show rows with the columns of the shape: a namespace first, wide columns last."""
    has_namespaces, is_wide = shape
    columns = ("NAMESPACE", *heads[0], *heads[1])
    shown = slice(0 if has_namespaces else 1, None if is_wide else 1 + len(heads[0]))
    page.table(columns[shown], [row[shown] for row in rows])


def trust_lines(page: TextPage, policies: Sequence[Record], *, has_namespaces: bool) -> None:
    """Show the releases that people trust in spite of a rollback."""
    for policy in policies:
        name = f"{policy.namespace}/{policy.name}" if has_namespaces else policy.name
        for trust in policy.rows("spec.trust"):
            who = f"revision {trust.text('revision')} is trusted by {trust.text('by')}"
            reason = _one_line(trust.text("reason"))
            page.line(f"{name}: {who}, {clock(trust.time('time'))}: {reason}")


def took(rollback: Record, since: datetime | None) -> str:
    """Return the time from the decision to the end; empty: it has not ended."""
    end = rollback.time("status.finishedTime")
    return span((end - since).total_seconds()) if end is not None and since is not None else ""


def _one_line(text: str) -> str:
    return " ".join(text.split())
