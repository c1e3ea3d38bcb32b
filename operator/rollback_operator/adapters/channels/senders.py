"""The Channels port: reads what a channel's Secret holds, pins its address, and sends."""

import re
from dataclasses import dataclass

from rollback_operator.adapters.channels import alertmanager, pagerduty, slack, smtp, webhook
from rollback_operator.adapters.http.addresses import Addresses, PinnedUrl
from rollback_operator.api.notify import Channel, ChannelType
from rollback_operator.api.shape import SecretKeyRef
from rollback_operator.model.message import Message
from rollback_operator.ports.failure import Failure, FailureKind
from rollback_operator.ports.secrets import Secrets


class Senders:
    """One for all policies; keeps nothing."""

    def __init__(self, secrets: Secrets, addresses: Addresses) -> None:
        self._secrets = secrets
        self._addresses = addresses

    async def send(self, channel: Channel, namespace: str, message: Message) -> Failure | None:
        """Send one message by one channel."""
        form = _FORMS.get(channel.type, _WORD)
        secret = await self._value(channel.secret_ref, namespace, form)
        if isinstance(secret, Failure):
            return secret
        if channel.type is ChannelType.SMTP:
            return await self._mail(channel, secret, namespace, message)
        url = await self._url(channel, secret, namespace)
        if isinstance(url, Failure):
            return url
        match channel.type:
            case ChannelType.SLACK:
                sent = slack.tell(url, message)
            case ChannelType.PAGER_DUTY:
                sent = pagerduty.tell(url, secret or "", message)
            case ChannelType.ALERTMANAGER:
                sent = alertmanager.tell(url, secret, message)
            case ChannelType.WEBHOOK:
                sent = webhook.tell(url, secret, message)
        return await sent

    async def _url(
        self, channel: Channel, secret: str | None, namespace: str
    ) -> PinnedUrl | Failure:
        """Find where to: Slack's address is its credential, a webhook's may be one."""
        default = {ChannelType.SLACK: secret, ChannelType.PAGER_DUTY: pagerduty.URL}
        url = channel.url or default.get(channel.type)
        if url is None:
            found = await self._value(channel.url_secret_ref, namespace, _WORD)
            if isinstance(found, Failure):
                return found
            url = found
        return await self._addresses.pin_url(url or "", namespace)

    async def _mail(
        self, channel: Channel, password: str | None, namespace: str, message: Message
    ) -> Failure | None:
        if channel.mail is None:
            return Failure(FailureKind.REJECTED, "spec.notify[].mail is missing")
        at = await self._addresses.pin(channel.mail.host, channel.mail.port, namespace)
        if isinstance(at, Failure):
            return at
        return await smtp.tell(smtp.Mailbox(at, channel.mail, password), message)

    async def _value(
        self, ref: SecretKeyRef | None, namespace: str, form: "_Form"
    ) -> str | Failure | None:
        if ref is None:
            return None
        found = await self._secrets.read(namespace, ref.name, ref.key)
        if isinstance(found, Failure):
            return found
        # Files and editors leave a line's end behind that no credential has.
        value = found.strip()
        if form.pattern.fullmatch(value):
            return value
        said = "is empty" if not value else f"holds {form.fault}"
        return Failure(FailureKind.REJECTED, f"key {ref.key} of Secret {ref.name} {said}")


@dataclass(frozen=True, slots=True)
class _Form:
    """What a credential is made of, so that it stays in its place in a message."""

    pattern: re.Pattern[str]
    fault: str


_WORD = _Form(re.compile(r"[!-~]+"), "what is no credential: spaces, line ends or not ASCII")
"""An address, a token, a key: goes into a header or a field."""
_LINE = _Form(re.compile(r"[^\x00-\x1f\x7f]+"), "line ends or control characters")
_TEXT = _Form(re.compile(r".+", re.DOTALL), "nothing")
"""Signs, and is sent nowhere: with an empty one anybody could sign."""
_FORMS = {ChannelType.WEBHOOK: _TEXT, ChannelType.SMTP: _LINE}
