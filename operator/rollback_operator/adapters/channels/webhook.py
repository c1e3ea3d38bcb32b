"""A webhook of one's own: the message as JSON, as a CloudEvent in HTTP's binary mode, signed."""

import hashlib
import hmac
from collections.abc import Mapping

from rollback_operator.adapters.channels.posting import encoded, post
from rollback_operator.adapters.http.addresses import PinnedUrl
from rollback_operator.api.v1alpha1 import GROUP
from rollback_operator.model.message import Message
from rollback_operator.ports.failure import Failure
from rollback_operator.report import formats

SIGNATURE = "X-Rollback-Signature-256"
EVENT_TYPE = ".".join(reversed(GROUP.split(".")))
"""CloudEvents want the reversed name of who defines the event."""


def headers(message: Message, body: bytes, key: str | None) -> Mapping[str, str]:
    """Make the CloudEvents headers and, with a key, the signature over the body."""
    found = {
        "ce-specversion": "1.0",
        "ce-id": message.id,
        "ce-source": message.source,
        "ce-type": f"{EVENT_TYPE}.{message.transition}",
        "ce-subject": f"{message.namespace}/{message.deployment}",
        "ce-time": message.time.isoformat(),
    }
    if key is not None:
        digest = hmac.new(key.encode(), body, hashlib.sha256).hexdigest()
        found[SIGNATURE] = f"sha256={digest}"
    return found


async def tell(url: PinnedUrl, key: str | None, message: Message) -> Failure | None:
    """Send one message."""
    body = encoded(formats.document(message))
    return await post(url, body, headers(message, body, key))
