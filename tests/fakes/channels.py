"""A Channels port that records messages."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rollback_operator.api.notify import Channel
from rollback_operator.model.message import Message
from rollback_operator.ports.application import Channels
from rollback_operator.ports.failure import Failure
from tests.fakes.failures import OUTAGE


@dataclass
class FakeChannels:
    """Records messages; fails or hangs on demand."""

    told: list[tuple[str, Message]] = field(default_factory=list)
    failures: dict[str, deque[Failure | Exception]] = field(default_factory=dict)
    dead: set[str] = field(default_factory=set)
    hung: set[str] = field(default_factory=set)
    tried: list[str] = field(default_factory=list)
    unusable: dict[str, str] = field(default_factory=dict)
    """Why a channel's Secret is unusable, by channel."""
    checked: list[str] = field(default_factory=list)

    async def obstacle(self, channel: Channel, namespace: str) -> str:
        self.checked.append(channel.name)
        return self.unusable.get(channel.name, "")

    async def send(self, channel: Channel, namespace: str, message: Message) -> Failure | None:
        self.tried.append(message.id)
        if channel.name in self.hung:
            await asyncio.Event().wait()
        waiting = self.failures.get(channel.name)
        failure = OUTAGE if channel.name in self.dead else waiting.popleft() if waiting else None
        if isinstance(failure, Exception):
            raise failure
        if failure is None:
            self.told.append((channel.name, message))
        return failure

    def of(self, channel: str) -> list[str]:
        """List the transitions that a channel received."""
        return [message.transition for name, message in self.told if name == channel]


if TYPE_CHECKING:
    # The type checker holds the fakes against the ports.
    _channels: Channels = FakeChannels()
