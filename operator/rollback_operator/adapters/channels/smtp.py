"""E-mail by SMTP, at the pinned address, under a stable Message-ID."""

import asyncio
import socket
import ssl
from collections.abc import Awaitable
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import format_datetime

import aiosmtplib
from aiohappyeyeballs import start_connection

from rollback_operator.adapters.http.addresses import Pinned, family_of
from rollback_operator.adapters.http.tls import verified
from rollback_operator.api.notify import Encryption, MailSpec
from rollback_operator.model.message import Message
from rollback_operator.ports.failure import Failure, FailureKind
from rollback_operator.report import formats

SMTP_CONNECT_SECONDS = 5.0
NEXT_ADDRESS_SECONDS = 0.25
"""Wait for an address before the next address is tried too (RFC 8305)."""
ANSWER_SECONDS = 10.0
_PERMANENT = 500


def letter(message: Message, spec: MailSpec) -> EmailMessage:
    """Build the e-mail."""
    mail, rendered = EmailMessage(), formats.mail(message)
    domain = spec.from_.rpartition("@")[2]
    mail["Subject"] = rendered.subject
    mail["From"] = spec.from_
    mail["To"] = ", ".join(spec.to)
    mail["Date"] = format_datetime(message.time)
    mail["Message-ID"] = f"<{message.id}@{domain}>"
    mail["References"] = f"<{message.incident}@{domain}>"
    for name, value in rendered.headers.items():
        mail[name] = value
    mail.set_content(rendered.text)
    return mail


@dataclass(frozen=True, slots=True)
class Mailbox:
    """A mail server, with the sender's login."""

    at: Pinned
    spec: MailSpec
    password: str | None


class _NotOfferedError(Exception):
    """The server does not offer what the policy requires; the text names the field and remedy."""


_NO_TLS = (
    "offers no STARTTLS, which spec.notify[].mail.encryption requires: set it to TLS and mail.port "
    "to its port for TLS, or to None (without username) for a relay inside the cluster"
)
_NO_LOGIN = (
    "offers no login, which spec.notify[].mail.username requires: set mail.port to its port for "
    "logins, or remove username"
)


async def send(box: Mailbox, message: Message, tls: ssl.SSLContext | None = None) -> Failure | None:
    """Send a message; a failure holds only the code of the server's reply."""
    try:
        await _sent(box, letter(message, box.spec), tls)
    except _NotOfferedError as error:
        return Failure(FailureKind.REJECTED, f"{box.at} {error}")
    except (aiosmtplib.SMTPException, OSError, ValueError) as error:
        return _failure(box.at, error)
    return None


def _failure(at: Pinned, error: Exception) -> Failure:
    match error:
        case aiosmtplib.SMTPAuthenticationError():
            return Failure(FailureKind.REJECTED, f"{at} refuses the login with {error.code}")
        case aiosmtplib.SMTPResponseException():
            return _refused(at, error.code)
        case aiosmtplib.SMTPRecipientsRefused():
            return _refused(at, max(refused.code for refused in error.recipients))
    for cause in (error, error.__cause__):
        if isinstance(cause, ssl.SSLCertVerificationError):
            text = f"{at}: its certificate is not trusted: {cause.verify_message}"
            return Failure(FailureKind.REJECTED, text)
    return Failure(FailureKind.UNAVAILABLE, f"{at}: {type(error).__name__}")


async def _sent(box: Mailbox, mail: EmailMessage, tls: ssl.SSLContext | None) -> None:
    encryption, username = box.spec.encryption, box.spec.username
    client = aiosmtplib.SMTP(
        hostname=box.at.host,
        sock=await _connected(box.at),
        use_tls=encryption is Encryption.TLS,
        start_tls=False,  # below: without the extension it is no outage
        tls_context=None if encryption is Encryption.NONE else tls or verified(),
        local_hostname="rollback-operator",
        timeout=ANSWER_SECONDS,
    )
    async with client:
        if encryption is Encryption.START_TLS:
            await _required(client, "starttls", client.starttls(), _NO_TLS)
        if username is not None and box.password is not None:
            await _required(client, "auth", client.login(username, box.password), _NO_LOGIN)
        await client.send_message(mail)


async def _required(
    client: aiosmtplib.SMTP, extension: str, done: Awaitable[object], fault: str
) -> None:
    """Await what needs an extension of SMTP.

    Raises:
        _NotOfferedError: the server does not have it.
        aiosmtplib.SMTPException: it failed otherwise.
    """
    try:
        await done
    except aiosmtplib.SMTPException as error:
        # Without a reply, and not for want of a connection: the client did not even ask.
        is_unasked = type(error) is aiosmtplib.SMTPException
        if is_unasked and not client.supports_extension(extension):
            raise _NotOfferedError(fault) from None
        raise


async def _connected(at: Pinned) -> socket.socket:
    """Connect to the first address that accepts a connection.

    Raises:
        OSError: no address accepts in time.
    """
    addresses = [(family_of(ip), socket.SOCK_STREAM, 0, "", (ip, at.called_port)) for ip in at.ips]
    async with asyncio.timeout(SMTP_CONNECT_SECONDS):
        return await start_connection(addresses, happy_eyeballs_delay=NEXT_ADDRESS_SECONDS)


def _refused(at: Pinned, code: int) -> Failure:
    kind = FailureKind.REJECTED if code >= _PERMANENT else FailureKind.UNAVAILABLE
    return Failure(kind, f"{at} refuses the message with {code}")
