"""Slack's incoming webhooks. The address is the credential."""

from rollback_operator.adapters.channels.posting import encoded, post
from rollback_operator.adapters.http.addresses import PinnedUrl
from rollback_operator.model.message import Message
from rollback_operator.ports.failure import Failure
from rollback_operator.report import formats


async def tell(url: PinnedUrl, message: Message) -> Failure | None:
    """Send one message."""
    return await post(url, encoded(formats.slack(message)), {})
