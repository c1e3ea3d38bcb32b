"""Messages over HTTP: requests for Slack, PagerDuty, Alertmanager and a policy's own webhook.

A failure holds only the status of an answer: its text may repeat the request, and with it a
credential.
"""

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

from rollback_operator.adapters.http.addresses import PinnedUrl
from rollback_operator.adapters.http.outgoing import Request, send
from rollback_operator.api.v1alpha1 import GROUP
from rollback_operator.model.message import IncidentStage, Message
from rollback_operator.ports.failure import Failure, FailureKind, asked_wait
from rollback_operator.report import formats

JSON = "application/json; charset=utf-8"
PAGER_DUTY_URL = "https://events.pagerduty.com/v2/enqueue"
SIGNATURE = "X-Rollback-Signature-256"
EVENT_TYPE = ".".join(reversed(GROUP.split(".")))
"""CloudEvents require the reversed domain name of the defining organization."""
OPEN_HOURS = 24
"""Without an end of its own, Alertmanager resolves an alert after five minutes."""
_ALERTS = "/api/v2/alerts"
_SEVERITIES = {"P1": "critical", "P2": "error", "P3": "warning", "P4": "info"}
_SUMMARY = 1024
_USER_AGENT = "rollback-operator"
_TOO_MANY, _TIMEOUT = 429, 408


def slack(url: PinnedUrl, message: Message) -> Request:
    """Build the request for an incoming webhook; its URL is the credential."""
    return _request(url, _encoded(formats.slack(message)), {})


def webhook(url: PinnedUrl, key: str | None, message: Message) -> Request:
    """Build a CloudEvent in binary mode; with a key, its body is signed."""
    body = _encoded(formats.document(message))
    headers = {
        "ce-specversion": "1.0",
        "ce-id": message.id,
        "ce-source": message.source,
        "ce-type": f"{EVENT_TYPE}.{message.transition}",
        "ce-subject": f"{message.namespace}/{message.deployment}",
        "ce-time": message.time.isoformat(),
    }
    if key is not None:
        digest = hmac.new(key.encode(), body, hashlib.sha256).hexdigest()
        headers[SIGNATURE] = f"sha256={digest}"
    return _request(url, body, headers)


def pager_duty(url: PinnedUrl, routing_key: str, message: Message) -> Request:
    """Build an event of the Events API v2.

    Its dedup_key is the incident, so that no later message opens a second incident.
    """
    action = "resolve" if message.stage is IncidentStage.RESOLVED else "trigger"
    event = {
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
    return _request(url, _encoded(event), {})


def alertmanager(base: PinnedUrl, token: str | None, message: Message) -> Request:
    """Build an alert of the API v2.

    All messages of an incident have the same labels, since Alertmanager ends an alert by them.
    """
    is_over = message.stage is IncidentStage.RESOLVED
    ends = message.time if is_over else message.time + timedelta(hours=OPEN_HOURS)
    document = formats.document(message)
    alert = {
        "labels": {
            "alertname": "ReleaseRollback",
            "namespace": message.namespace,
            "deployment": message.deployment,
            "policy": message.policy,
            "incident": message.incident,
        },
        "annotations": {
            "summary": document["subject"],
            "description": formats.plain(message),
            "severity": message.severity,
            "status": document["status"],
            "id": message.id,
        },
        "startsAt": message.begun.isoformat(),
        "endsAt": max(ends, message.begun + timedelta(seconds=1)).isoformat(),
    }
    url = replace(base, target=base.target.rstrip("/") + _ALERTS)
    headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
    return _request(url, _encoded([alert]), headers)


async def post(request: Request) -> Failure | None:
    """Send a message; classify an answer other than 2xx."""
    answer = await send(request)
    if isinstance(answer, Failure):
        return answer
    status, at = answer.status, request.url.at
    match status // 100:
        case 2:
            return None
        case 3:
            text = f"{at} answers {status}: redirects are not followed"
            return Failure(FailureKind.REJECTED, text)
        case 4 if status not in (_TOO_MANY, _TIMEOUT):
            text = f"{at} refuses the message with {status}{_HINTS.get(status, '')}"
            return Failure(FailureKind.REJECTED, text)
    wait = asked_wait(answer.headers.get("retry-after"), answer.headers.get("date"))
    return Failure(FailureKind.UNAVAILABLE, f"{at} answers {status}", wait)


_HINTS = {
    401: ": check the credential in the channel's Secret",
    403: ": check the credential in the channel's Secret",
    404: ": the channel does not exist at this path",
    410: ": the channel does not exist at this path",
}


def _request(url: PinnedUrl, body: bytes, headers: Mapping[str, str]) -> Request:
    sent = {"Content-Type": JSON, "User-Agent": _USER_AGENT, **headers}
    return Request(url, "POST", sent, body)


def _encoded(body: object) -> bytes:
    """Encode as JSON, the same bytes for the same facts: a webhook's body is signed."""
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
