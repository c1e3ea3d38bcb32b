"""How people are told."""

from typing import Protocol

from rollback_operator.api.notify import Channel
from rollback_operator.model.message import Message
from rollback_operator.ports.failure import Failure


class Channels(Protocol):
    """How people are told."""

    async def send(self, channel: Channel, namespace: str, message: Message) -> Failure | None:
        """Send one message by one channel of a policy of that namespace; None: it was taken.

        Rejected: it will be refused again until somebody changes something. Unavailable: it may
        work later. The message holds no credential, nor an address whose path may be one.
        """
