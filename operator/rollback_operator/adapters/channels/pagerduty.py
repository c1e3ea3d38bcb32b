"""PagerDuty's Events API v2: one incident a rollback, resolved when it is verified."""

from collections.abc import Mapping

from rollback_operator.adapters.channels.posting import encoded, post
from rollback_operator.adapters.http.addresses import PinnedUrl
from rollback_operator.model.message import IncidentStage, Message
from rollback_operator.ports.failure import Failure
from rollback_operator.report import formats

URL = "https://events.pagerduty.com/v2/enqueue"
_SEVERITIES = {"P1": "critical", "P2": "error", "P3": "warning", "P4": "info"}
_SUMMARY = 1024


def event(message: Message, routing_key: str) -> Mapping[str, object]:
    """Make the event. Its dedup_key is the incident, so that no message opens a second one."""
    action = "resolve" if message.stage is IncidentStage.RESOLVED else "trigger"
    return {
        "routing_key": routing_key,
        "event_action": action,
        "dedup_key": message.incident,
        "client": "rollback-operator",
        "payload": {
            "summary": formats.mail(message).subject[:_SUMMARY],
            "source": f"{message.namespace}/{message.deployment}",
            "severity": _SEVERITIES.get(message.severity, "warning"),
            "timestamp": message.time.isoformat(),
            "component": message.deployment,
            "group": message.namespace,
            "class": message.transition,
            "custom_details": formats.document(message),
        },
    }


async def tell(url: PinnedUrl, routing_key: str, message: Message) -> Failure | None:
    """Send one message."""
    return await post(url, encoded(event(message, routing_key)), {})
