"""Slack's incoming webhooks. The address is the credential."""

from rollback_operator.adapters.channels.posting import encoded, post
from rollback_operator.addresses import PinnedUrl
from rollback_operator.core import renderings
from rollback_operator.model.message import Message
from rollback_operator.ports.failure import Failure


async def tell(url: PinnedUrl, message: Message) -> Failure | None:
    """Send one message."""
    return await post(url, encoded(renderings.slack(message)), {})
