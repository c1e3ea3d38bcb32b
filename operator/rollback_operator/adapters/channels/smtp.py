"""E-mail by SMTP, at the pinned address, under a stable Message-ID."""

import asyncio
import socket
import ssl
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


async def send(box: Mailbox, message: Message, tls: ssl.SSLContext | None = None) -> Failure | None:
    """Send a message; a failure holds only the code of the server's reply."""
    try:
        await _sent(box, letter(message, box.spec), tls)
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
        start_tls=encryption is Encryption.START_TLS,
        tls_context=None if encryption is Encryption.NONE else tls or verified(),
        local_hostname="rollback-operator",
        timeout=ANSWER_SECONDS,
    )
    async with client:
        if username is not None and box.password is not None:
            await client.login(username, box.password)
        await client.send_message(mail)


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
