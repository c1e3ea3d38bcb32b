"""`report`: a rollback as a Markdown incident report, for filing or mailing."""

from collections.abc import Sequence

from rollback_operator.api.shape import one_line
from rollback_operator.cli.plugin.explanation import evidence, facts
from rollback_operator.cli.plugin.next_step import steps_after
from rollback_operator.cli.plugin.page import clock
from rollback_operator.cli.plugin.record import (
    Record,
    cause_of,
    decided,
    decided_time,
    remedy_text,
    requester,
    severity_of,
)


def report(rollback: Record, policy: Record) -> str:
    """Write the report.

    Args:
        rollback: the rollback.
        policy: its policy, for spec.communication; empty if it does not exist any more.
    """
    spec, outcome = decided(rollback), rollback.text("status.outcome")
    communication, complete = policy.part("spec.communication"), rollback.condition("Complete")
    is_manual = requester(rollback) != "rollback-operator"
    severity = severity_of(rollback) or ("by hand" if is_manual else "severity unknown")
    target = spec.text("targetRef.name") or spec.text("policyRef.name")
    service = communication.text("service") or target
    cause = cause_of(rollback) or "Not stored."
    next_steps = steps_after(rollback) if outcome else ("The rollback is still in progress",)
    checks = ("name", "result", "message")
    lines = [
        f"# Incident: {service}, {severity}, {outcome or 'in progress'}",
        "",
        *_facts(
            [
                ("Service", service),
                ("Impact", communication.text("impact")),
                ("Rollback", f"{rollback.namespace}/{rollback.name}"),
                *facts(rollback),
                ("Reason given", rollback.text("spec.reason") if outcome == "Refused" else ""),
                ("Outcome", ": ".join(filter(None, (outcome, complete.text("message"))))),
                ("Contact", communication.text("contact")),
            ]
        ),
        "",
        "## Cause",
        "",
        _escaped(cause),
        "",
        *_facts(evidence(spec.part("trigger"))),
        "",
        "## Timeline",
        "",
        *_table(("Time (UTC)", "Event"), _timeline(rollback)),
        *_section("Checklist", rollback.rows("status.checklist"), checks),
        *_approval(rollback.part("spec.approval")),
        *_section("Verification", rollback.rows("status.verification"), checks),
        "## Next steps",
        "",
        *(f"- {_escaped(step)}" for step in next_steps or (complete.text("message"),)),
        "",
    ]
    return "\n".join(lines)


def _facts(pairs: Sequence[tuple[str, str]]) -> list[str]:
    return _table(("", ""), [(name, value) for name, value in pairs if value])[:-1]


def _timeline(rollback: Record) -> list[tuple[str, str]]:
    spec, outcome = decided(rollback), rollback.text("status.outcome")
    events = [
        (spec.time("trigger.firstBadTime"), "first bad sample"),
        (decided_time(rollback), f"decided: {remedy_text(rollback)}"),
    ]
    for step in rollback.rows("status.steps"):
        name = step.text("name")
        end = ": ".join(filter(None, (f"{name} ends", step.text("message"))))
        events += [(step.time("startedTime"), f"{name} begins"), (step.time("finishedTime"), end)]
    events += [
        (sent.time("deliveredTime"), f"sent: {sent.text('transition')} by {sent.text('channel')}")
        for sent in rollback.rows("status.notifications")
    ]
    events.append((rollback.time("status.finishedTime"), f"ended: {outcome}"))
    past = sorted(((time, event) for time, event in events if time), key=lambda pair: pair[0])
    return [(clock(time).removesuffix(" UTC"), event) for time, event in past]


def _approval(approval: Record) -> list[str]:
    if not approval.raw:
        return []
    words = {"Approve": "Approved", "Reject": "Rejected"}
    decision = words.get(approval.text("decision"), "Decided")
    line = f"{decision} by {approval.text('by')}: {approval.text('reason')}"
    return ["## Approval", "", _escaped(line), ""]


def _section(head: str, rows: Sequence[Record], fields: Sequence[str]) -> list[str]:
    if not rows:
        return []
    cells = [[row.text(field) for field in fields] for row in rows]
    return [f"## {head}", "", *_table([field.capitalize() for field in fields], cells)]


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    body = ["| " + " | ".join(_escaped(cell) for cell in row) + " |" for row in rows]
    return ["| " + " | ".join(heads) + " |", "|" + " --- |" * len(heads), *body, ""]


def _escaped(text: str) -> str:
    """Keep text from outside from being read as Markdown or HTML."""
    flat = one_line(text)
    for sign, name in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("|", "\\|"), ("`", "\\`")):
        flat = flat.replace(sign, name)
    return flat
