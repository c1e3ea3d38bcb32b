"""The Channels port: reads a channel's Secret, pins its address, and sends."""

import re
from dataclasses import dataclass

from rollback_operator.adapters.channels import smtp, webhooks
from rollback_operator.adapters.http.addresses import Addresses, PinnedUrl
from rollback_operator.api.notify import Channel, ChannelType
from rollback_operator.api.shape import SecretKeyRef
from rollback_operator.model.message import Message
from rollback_operator.ports.cluster import Secrets
from rollback_operator.ports.failure import Failure, FailureKind


class Senders:
    """Sends for all policies; keeps no state."""

    def __init__(self, secrets: Secrets, addresses: Addresses) -> None:
        self._secrets = secrets
        self._addresses = addresses

    async def send(self, channel: Channel, namespace: str, message: Message) -> Failure | None:
        """Send a message by the channel's type."""
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
                request = webhooks.slack(url, message)
            case ChannelType.PAGER_DUTY:
                request = webhooks.pager_duty(url, secret or "", message)
            case ChannelType.ALERTMANAGER:
                request = webhooks.alertmanager(url, secret, message)
            case ChannelType.WEBHOOK:
                request = webhooks.webhook(url, secret, message)
        return await webhooks.post(request)

    async def obstacle(self, channel: Channel, namespace: str) -> str:
        """State why a channel's Secret is unusable, as `send` would; the value is dropped."""
        form = _FORMS.get(channel.type, _WORD)
        for ref, wanted in ((channel.secret_ref, form), (channel.url_secret_ref, _WORD)):
            read = await self._value(ref, namespace, wanted)
            if isinstance(read, Failure) and read.kind is not FailureKind.UNAVAILABLE:
                return read.message
        return ""

    async def _url(
        self, channel: Channel, secret: str | None, namespace: str
    ) -> PinnedUrl | Failure:
        """Find and pin the URL: Slack's is its credential, a webhook's may be a credential."""
        default = {ChannelType.SLACK: secret, ChannelType.PAGER_DUTY: webhooks.PAGER_DUTY_URL}
        url = channel.url or default.get(channel.type)
        if url is None:
            value = await self._value(channel.url_secret_ref, namespace, _WORD)
            if isinstance(value, Failure):
                return value
            url = value
        return await self._addresses.pin_url(url or "", namespace)

    async def _mail(
        self, channel: Channel, password: str | None, namespace: str, message: Message
    ) -> Failure | None:
        if channel.mail is None:
            return Failure(FailureKind.REJECTED, "spec.notify[].mail is missing")
        at = await self._addresses.pin(channel.mail.host, channel.mail.port, namespace)
        if isinstance(at, Failure):
            return at
        return await smtp.send(smtp.Mailbox(at, channel.mail, password), message)

    async def _value(
        self, ref: SecretKeyRef | None, namespace: str, form: "_Form"
    ) -> str | Failure | None:
        if ref is None:
            return None
        read = await self._secrets.read(namespace, ref.name, ref.key)
        if isinstance(read, Failure):
            return read
        # Files and editors append a line break that belongs to no credential.
        value = read.strip()
        if form.pattern.fullmatch(value):
            return value
        fault = f"holds {form.fault}" if value else "is empty"
        where = f"key {ref.key} of Secret {ref.name} in namespace {namespace}"
        return Failure(FailureKind.REJECTED, f"{where} {fault}: store the credential alone in it")


@dataclass(frozen=True, slots=True)
class _Form:
    """Characters that a credential may have, so that it cannot break out of its header or field."""

    pattern: re.Pattern[str]
    fault: str


_WORD = _Form(re.compile(r"[!-~]+"), "no credential: it has spaces, line breaks or is not ASCII")
"""A URL, a token or a key, sent in a header or a field."""
_LINE = _Form(re.compile(r"[^\x00-\x1f\x7f]+"), "line breaks or control characters")
_TEXT = _Form(re.compile(r".+", re.DOTALL), "nothing")
"""A signing key, never sent; with an empty key anybody could sign."""
_FORMS = {ChannelType.WEBHOOK: _TEXT, ChannelType.SMTP: _LINE}
