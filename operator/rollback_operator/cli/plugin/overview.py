"""`status` and `history`: a row per object, and below it each policy that needs attention."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from rollback_operator.api.shape import one_line
from rollback_operator.cli.plugin.next_step import (
    IDLE_SUMMARIES,
    JUDGED,
    LIMITING,
    are_pods_prevented,
    condemned_release,
    is_watched,
    known_bad,
    next_policy_action,
    question_line,
)
from rollback_operator.cli.plugin.page import TextPage, age, clock, span
from rollback_operator.cli.plugin.record import (
    Record,
    cause_of,
    decided,
    decided_time,
    progress_text,
    remedy_text,
    requester,
    severity_of,
    summary_of,
)
from rollback_operator.model import stop

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
_RECENT = timedelta(hours=1)


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
            _revision(policy),
            f"{outcome} {age(last.time('time'), now)}" if outcome else "-",
            age(policy.time("metadata.creationTimestamp"), now),
        ]
        healthy, ready = policy.condition("Healthy"), policy.condition("Ready")
        row += [
            policy.text("status.verdict") or "-",
            policy.text("status.lastKnownGood.number") or "-",
            one_line(healthy.text("message") or ready.text("message")),
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


def _revision(policy: Record) -> str:
    """Return the number of the running revision, or of the last that was watched."""
    number = policy.text("status.revision.number")
    return f"{number} (last watched)" if number and not is_watched(policy) else number or "-"


def _question(page: TextPage, name: str, policy: Record, waiting: Record | None) -> None:
    """Show the open question, its deadline and the command that answers it."""
    asked = policy.text("status.lastRollback.name")
    question = f"to see the plan: kubectl rollback explain {asked} -n {policy.namespace}"
    if waiting is not None:
        question = question_line(waiting)
    page.line(f"{name}: {page.paint.word('AwaitingApproval')}: {question}")


def _rolled_back(policy: Record, now: datetime) -> str:
    """Name the release that was rolled back in the last hour, and the release that runs instead."""
    last, running = policy.part("status.lastRollback"), policy.part("status.revision")
    time = last.time("time")
    is_recent = time is not None and now - time < _RECENT
    is_recovered = policy.condition("Recovered").text("status") == "True"
    if not is_recent or not is_recovered or not is_watched(policy):
        return ""
    old, new = condemned_release(policy), ", ".join(running.words("images"))
    done = f"{old} was rolled back {age(time, now)} ago ({last.text('name')})"
    return f"{done}; {new} runs as revision {running.text('number')}" if old else ""


def _verdict(page: TextPage, name: str, policy: Record) -> None:
    """Show why a release is bad or not judged, and the next action."""
    healthy, summary = policy.condition("Healthy"), summary_of(policy)
    message, known = one_line(healthy.text("message")), known_bad(policy)
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
        page.line(f"{name}: {page.paint.word(summary)}: {one_line(why or 'spec.suspend is true')}")
        page.line(f"{name}: next: {next_policy_action(policy)}")
    elif summary in IDLE_SUMMARIES:
        page.line(f"{name}: next: {next_policy_action(policy)}")
    held = policy.condition("RolloutHeld")
    if held.text("status") == "True" or held.text("reason") == "PauseRefused":
        word = page.paint.word("Held") if held.text("status") == "True" else "NotHeld"
        page.line(f"{name}: {word} {held.text('reason')}: {one_line(held.text('message'))}")
    for kind in _BY_URGENCY:
        condition = policy.condition(kind)
        value, reason = condition.text("status"), condition.text("reason")
        is_limited = kind == "Ready" and value == "True" and reason in LIMITING
        if reason == "UndoReverted" and known_bad(policy):
            continue  # the first line says so
        is_open = kind == "Recovered" and value == "Unknown" and reason not in _NOT_OPEN
        if value == "False" or is_limited or is_open:
            message = one_line(condition.text("message"))
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
        rows.append([*row, requester(rollback), one_line(cause_of(rollback))])
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
            reason = one_line(trust.text("reason"))
            page.line(f"{name}: {who}, {clock(trust.time('time'))}: {reason}")


def took(rollback: Record, since: datetime | None) -> str:
    """Return the time from the decision to the end; empty: it has not ended."""
    end = rollback.time("status.finishedTime")
    return span((end - since).total_seconds()) if end is not None and since is not None else ""
