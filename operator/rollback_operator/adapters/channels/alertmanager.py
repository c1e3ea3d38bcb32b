"""Alertmanager's API v2: an alert for each incident, that ends when it is over and verified."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

from rollback_operator.adapters.channels.posting import encoded, post
from rollback_operator.adapters.http.addresses import PinnedUrl
from rollback_operator.model.message import IncidentStage, Message
from rollback_operator.ports.failure import Failure
from rollback_operator.report import formats

OPEN_HOURS = 24
"""Without an end of its own an alert would be taken for resolved after five minutes."""
_PATH = "/api/v2/alerts"


def alert(message: Message) -> Mapping[str, object]:
    """Make the alert. Its labels are the same in all messages of an incident, or none would end."""
    is_over = message.stage is IncidentStage.RESOLVED
    ends = message.time if is_over else message.time + timedelta(hours=OPEN_HOURS)
    told = formats.document(message)
    annotations = {
        "summary": told["subject"],
        "description": formats.plain(message),
        "severity": message.severity,
        "status": told["status"],
        "id": message.id,
    }
    return {
        "labels": {
            "alertname": "ReleaseRollback",
            "namespace": message.namespace,
            "deployment": message.deployment,
            "policy": message.policy,
            "incident": message.incident,
        },
        "annotations": annotations,
        "startsAt": message.begun.isoformat(),
        "endsAt": max(ends, message.begun + timedelta(seconds=1)).isoformat(),
    }


async def tell(base: PinnedUrl, token: str | None, message: Message) -> Failure | None:
    """Send one message."""
    url = replace(base, target=base.target.rstrip("/") + _PATH)
    headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
    return await post(url, encoded([alert(message)]), headers)
