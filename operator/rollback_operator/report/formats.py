"""The incident message as plain text, Slack blocks, JSON and e-mail, with the same facts in each.

Names of routes and images and the texts of people come from outside: control characters are removed
and markup is escaped.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from rollback_operator.api.notify import LONGEST_MESSAGE
from rollback_operator.api.shape import one_line
from rollback_operator.model.message import IncidentStage, Message

_SLACK_TEXT = 2900
_SLACK_HEADER = 150
_SUBJECT = 180
_COLOURS = {
    IncidentStage.OPEN: "#d7263d",
    IncidentStage.WAITING: "#f0a202",
    IncidentStage.RESOLVED: "#2e933c",
}


@dataclass(frozen=True, slots=True)
class Mail:
    """An e-mail without its envelope."""

    subject: str
    text: str
    headers: Mapping[str, str]


def _facts(message: Message) -> Iterator[tuple[str, str]]:
    where = f"{message.kind} {message.namespace}/{message.deployment}"
    yield "Status", message.status
    yield "Affected service", f"{message.service} ({where})"
    yield "Severity", message.severity
    if message.before is not None:
        yield "Previous version", str(message.before)
    yield "Rollback version", message.after
    yield "Reason", message.reason
    if message.counts:
        yield "Evidence", message.counts
    yield "Impact", message.impact


def plain(message: Message) -> str:
    """Render as text for a terminal, a log, a status."""
    lines = [one_line(message.subject), ""]
    lines += [f"{name}: {one_line(value)}" for name, value in _facts(message)]
    if message.checks:
        lines += ["", "Checks:", *(f"- {one_line(item)}" for item in message.checks)]
    lines += ["", "Timeline (UTC):"]
    lines += [f"- {item.time:%H:%M:%S} {one_line(item.text)}" for item in message.timeline]
    lines += ["", "Next steps:", *(f"- [ ] {one_line(item)}" for item in message.next_steps)]
    lines += ["", "Where to look:", *(f"  {one_line(item)}" for item in message.commands), ""]
    lines += [f"Contact: {one_line(message.contact) or 'not named (spec.communication.contact)'}"]
    return "\n".join(lines)[:LONGEST_MESSAGE]


def mail(message: Message) -> Mail:
    """Render as an e-mail. Its thread is the incident."""
    headers = {
        "X-Rollback-Incident": message.incident,
        "X-Rollback-Transition": message.transition,
        "Auto-Submitted": "auto-generated",
    }
    if message.stage is not IncidentStage.RESOLVED and message.severity in ("P1", "P2"):
        headers["Importance"] = "high"
    text = f"{plain(message)}\n\nIncident {message.incident}, message {message.id}\n"
    return Mail(one_line(message.subject)[:_SUBJECT], text, headers)


def document(message: Message) -> Mapping[str, object]:
    """Render as JSON."""
    before = message.before
    return {
        "id": message.id,
        "incident": message.incident,
        "source": message.source,
        "transition": message.transition,
        "stage": message.stage.value,
        "subject": one_line(message.subject),
        "status": one_line(message.status),
        "service": one_line(message.service),
        "namespace": message.namespace,
        "deployment": message.deployment,
        "policy": message.policy,
        "severity": message.severity,
        "previousVersion": None
        if before is None
        else {"revision": before.revision, "images": list(before.images)},
        "rollbackVersion": one_line(message.after),
        "reason": one_line(message.reason),
        "evidence": one_line(message.counts),
        "impact": one_line(message.impact),
        "checks": [one_line(item) for item in message.checks],
        "timeline": [
            {"time": item.time.isoformat(), "text": one_line(item.text)}
            for item in message.timeline
        ],
        "nextSteps": list(message.next_steps),
        "commands": list(message.commands),
        "contact": one_line(message.contact),
        "time": message.time.isoformat(),
    }


def slack(message: Message) -> Mapping[str, object]:
    """Render as Slack blocks, with the subject as text for notifications and screen readers."""
    facts = "\n".join(f"*{name}:* {_escaped(value)}" for name, value in _facts(message))
    checks = "\n".join(f"• {_escaped(item)}" for item in message.checks)
    timeline = "\n".join(
        f"• `{item.time:%H:%M:%S}` {_escaped(item.text)}" for item in message.timeline
    )
    steps = "\n".join(f"☐ {_escaped(item)}" for item in message.next_steps)
    commands = "\n".join(_escaped(item) for item in message.commands)
    blocks: list[Mapping[str, object]] = [
        {
            "type": "header",
            "text": {"type": "plain_text", "text": _escaped(message.subject)[:_SLACK_HEADER]},
        },
        _section(facts),
        *([_section(f"*Checks*\n{checks}")] if checks else []),
        _section(f"*Timeline (UTC)*\n{timeline}"),
        _section(f"*Next steps*\n{steps}"),
        _section(f"*Where to look*\n```{commands.replace('`', chr(39))[: _SLACK_TEXT - 40]}```"),
        {
            "type": "context",
            "elements": [{"type": "mrkdwn", "text": _context(message)[:_SLACK_TEXT]}],
        },
    ]
    return {
        "text": _escaped(message.subject),
        "attachments": [{"color": _COLOURS[message.stage], "blocks": blocks}],
    }


def _section(text: str) -> Mapping[str, object]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text[:_SLACK_TEXT]}}


def _context(message: Message) -> str:
    contact = _escaped(message.contact) or "not named"
    return f"Contact: {contact} | message `{_escaped(message.id)}`"


def _escaped(text: str) -> str:
    """Escape what Slack takes for mentions and links: `<!channel>` in a route calls nobody."""
    return one_line(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
