"""`report`: a rollback as a Markdown incident report, to be filed or mailed."""

from collections.abc import Sequence

from rollback_operator.cli.plugin.explanation import revision
from rollback_operator.cli.plugin.overview import by, severity_of, took
from rollback_operator.cli.plugin.page import clock
from rollback_operator.cli.plugin.record import Record, decided, decided_time, way

_NEXT = {
    "Verified": "The errors have ceased. Fix the release forward; its template is known Bad.",
    "NotRecovered": "The rollback did not help: escalate. Nothing rolls a rollback back.",
    "Unknown": "Whether it helped was not proved: look at the service.",
    "Observed": "Mode Observe: nothing was done.",
    "Abandoned": "Nothing more is done; see the reason above.",
    "Failed": "The rollback was not carried out: act by hand.",
    "Blocked": "The checklist forbids it: fix forward, or remove what it names.",
    "Rejected": "A person has decided against it.",
    "Refused": "What was asked for is not carried out; see the reason above.",
    "": "It is still running.",
}


def report(rollback: Record, policy: Record) -> str:
    """Write the report.

    Args:
        rollback: the rollback.
        policy: its policy, for the words of spec.communication; empty where that is gone.
    """
    spec, outcome = decided(rollback), rollback.text("status.outcome")
    said = policy.part("spec.communication")
    done = rollback.condition("Complete")
    severity = severity_of(rollback) or ("by hand" if by(rollback) != "rollback-operator" else "")
    service = said.text("service") or spec.text("targetRef.name") or spec.text("policyRef.name")
    lines = [
        f"# Incident: {service}, {severity or 'severity unknown'}, {outcome or 'in progress'}",
        "",
        *_facts(
            [
                ("Service", service),
                ("Impact", said.text("impact")),
                ("Rollback", f"{rollback.namespace}/{rollback.name}"),
                ("Policy", spec.text("policyRef.name")),
                ("Decided by", by(rollback)),
                ("Remedy", way(rollback)),
                ("From", revision(spec.part("fromRevision"))),
                ("To", revision(spec.part("toRevision"))),
                ("Outcome", ": ".join(filter(None, (outcome, done.text("message"))))),
                ("Decision to end", took(rollback, decided_time(rollback)).removeprefix("-")),
                ("Contact", said.text("contact")),
            ]
        ),
        "",
        "## Cause",
        "",
        _escaped(spec.text("trigger.message") or rollback.text("spec.reason") or "Not stored."),
        "",
        *_evidence(spec.part("trigger")),
        "## Timeline",
        "",
        *_table(("Time (UTC)", "What"), _timeline(rollback)),
        *_section("Checklist", rollback.rows("status.checklist"), ("name", "result", "message")),
        *_approval(rollback.part("spec.approval")),
        *_section(
            "Verification", rollback.rows("status.verification"), ("name", "result", "message")
        ),
        "## What follows",
        "",
        _NEXT.get(outcome, done.text("message")),
        "",
    ]
    return "\n".join(lines)


def _facts(pairs: Sequence[tuple[str, str]]) -> list[str]:
    shown = [(name, value) for name, value in pairs if value]
    return _table(("", ""), shown)[:-1]


def _evidence(trigger: Record) -> list[str]:
    counts = [
        ("new revision", trigger.number("requests"), trigger.number("errors")),
        ("old revision", trigger.number("controlRequests"), trigger.number("controlErrors")),
    ]
    rows = [
        (name, str(requests), str(errors), f"{100 * errors / requests:.1f} %")
        for name, requests, errors in counts
        if requests
    ]
    odds = [
        f"Odds that the {what}: {trigger.text(field)}."
        for field, what in (("odds", "new one is worse"), ("blameOdds", "release is to blame"))
        if trigger.text(field)
    ]
    table = _table(("", "Requests", "Errors", "Rate"), rows) if rows else []
    return [*table, *odds, *([""] if odds else [])]


def _timeline(rollback: Record) -> list[tuple[str, str]]:
    spec = decided(rollback)
    trigger, events = spec.part("trigger"), []
    if first := trigger.time("firstBadTime"):
        events.append((first, "first bad sample"))
    if then := decided_time(rollback):
        events.append((then, f"decided: {way(rollback)}"))
    for step in rollback.rows("status.steps"):
        if start := step.time("startedTime"):
            events.append((start, f"{step.text('name')} begins"))
        if end := step.time("finishedTime"):
            events.append(
                (end, ": ".join(filter(None, (f"{step.text('name')} ends", step.text("message")))))
            )
    events += [
        (sent, f"told: {one.text('transition')} by {one.text('channel')}")
        for one in rollback.rows("status.notifications")
        if (sent := one.time("deliveredTime"))
    ]
    if over := rollback.time("status.finishedTime"):
        events.append((over, f"over: {rollback.text('status.outcome')}"))
    ordered = sorted(events, key=lambda one: one[0])
    return [(clock(time).removesuffix(" UTC"), what) for time, what in ordered]


def _approval(given: Record) -> list[str]:
    if not given.raw:
        return []
    decision = {"Approve": "Approved", "Reject": "Rejected"}.get(given.text("decision"), "Decided")
    said = f"{decision} by {given.text('by')}: {given.text('reason')}"
    return ["## Approval", "", _escaped(said), ""]


def _section(head: str, rows: Sequence[Record], fields: Sequence[str]) -> list[str]:
    if not rows:
        return []
    heads = [one.capitalize() for one in fields]
    return [f"## {head}", "", *_table(heads, [[one.text(name) for name in fields] for one in rows])]


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    body = ["| " + " | ".join(_escaped(cell) for cell in row) + " |" for row in rows]
    return ["| " + " | ".join(heads) + " |", "|" + " --- |" * len(heads), *body, ""]


def _escaped(text: str) -> str:
    """Keep what others wrote from being taken for Markdown or HTML."""
    flat = " ".join(text.split())
    for sign, name in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("|", "\\|"), ("`", "\\`")):
        flat = flat.replace(sign, name)
    return flat
