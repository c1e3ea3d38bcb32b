"""Each sender against a real listener: its message, and no failure with a credential."""

from __future__ import annotations

import asyncio
import email
import email.policy
import hashlib
import hmac
import json
import logging
import ssl
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

from rollback_operator.adapters.channels import smtp, webhooks
from rollback_operator.adapters.channels.senders import Senders
from rollback_operator.adapters.http.addresses import Addresses, Pinned, Rules
from rollback_operator.api.notify import Channel, Encryption, MailSpec
from rollback_operator.api.shape import SecretKeyRef
from rollback_operator.api.v1alpha1 import Outcome, RollbackStatus
from rollback_operator.model.message import Message
from rollback_operator.ports.failure import Failure, FailureKind
from rollback_operator.report import incident
from rollback_operator.report.transitions import transition_named
from tests.builders import NAMESPACE, at, make_rollback

HOST = "listener.production"
SECRET = "s3cret-T0KEN"
REF = SecretKeyRef(name="chat", key="value")
STARTED = incident.of_rollback(make_rollback(), None, transition_named("Started", at(11)))
ENDED = incident.of_rollback(
    make_rollback(status=RollbackStatus(outcome=Outcome.VERIFIED, finished_time=at(60))),
    None,
    transition_named("Verified", at(60)),
)


class Values:
    """The Secrets of the namespace."""

    def __init__(self, value: str | Failure) -> None:
        self.value = value

    async def read(self, namespace: str, name: str, key: str) -> str | Failure:
        assert (namespace, name, key) == (NAMESPACE, REF.name, REF.key)
        return self.value

    async def read_all(self, namespace: str, name: str) -> Mapping[str, str] | Failure:
        raise AssertionError(name)


def senders(secret: str | Failure = SECRET) -> Senders:
    async def local(host: str, port: int, namespace: str) -> list[str]:
        return ["127.0.0.1"]

    rules = Rules(lambda host, namespace: host == HOST, is_loopback_allowed=True)
    return Senders(Values(secret), Addresses(rules, local))


class Listener:
    """An HTTP server that accepts everything, or answers as configured, also with the request."""

    def __init__(self) -> None:
        self.got: list[tuple[str, Mapping[str, str], bytes]] = []
        self.status = 200
        self.headers: dict[str, str] = {}
        self.port = 0

    async def answer(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.got.append((request.raw_path, dict(request.headers), body))
        echo = f"{request.raw_path} {dict(request.headers)} {body.decode()}"
        return web.Response(status=self.status, text=echo, headers=self.headers)

    @property
    def body(self) -> Any:
        ((_, _, body),) = self.got
        return json.loads(body)

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"


@asynccontextmanager
async def listening() -> AsyncIterator[Listener]:
    listener, app = Listener(), web.Application()
    app.router.add_route("*", "/{rest:.*}", listener.answer)
    runner = web.AppRunner(app, access_log=None)  # its own log would name the address
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    listener.port = runner.addresses[0][1]
    try:
        yield listener
    finally:
        await runner.cleanup()


async def told(channel: Channel, message: Message = STARTED, secret: str | Failure = SECRET) -> Any:
    return await senders(secret).send(channel, NAMESPACE, message)


def alertmanager(url: str) -> Channel:
    return Channel(name="alerts", type="Alertmanager", url=url, secret_ref=REF)


# -- what arrives ----------------------------------------------------------------------------------


async def test_slack_gets_blocks_at_the_address_in_the_secret() -> None:
    async with listening() as listener:
        address = f"{listener.url}/services/T/B/{SECRET}\n"
        done = await told(Channel(name="chat", type="Slack", secret_ref=REF), secret=address)

        assert done is None
        assert listener.got[0][0] == f"/services/T/B/{SECRET}"
        assert listener.body["text"] == STARTED.subject
        assert SECRET not in json.dumps(listener.body)


async def test_a_webhook_gets_a_signed_cloud_event() -> None:
    async with listening() as listener:
        channel = Channel(name="hook", type="Webhook", url=f"{listener.url}/in", secret_ref=REF)
        assert await told(channel) is None

        ((path, headers, body),) = listener.got
    assert path == "/in"
    assert headers["Content-Type"].startswith("application/json")
    assert {name: value for name, value in headers.items() if name.startswith("ce-")} == {
        "ce-specversion": "1.0",
        "ce-id": STARTED.id,
        "ce-source": STARTED.source,
        "ce-type": "io.tickettoken.rollback.Started",
        "ce-subject": "production/ticket-service",
        "ce-time": STARTED.time.isoformat(),
    }
    digest = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    assert headers["X-Rollback-Signature-256"] == f"sha256={digest}"
    assert json.loads(body)["id"] == STARTED.id


async def test_a_webhooks_address_may_be_a_secret_and_needs_no_signature() -> None:
    async with listening() as listener:
        channel = Channel(name="hook", type="Webhook", url_secret_ref=REF)
        assert await told(channel, secret=f"{listener.url}/{SECRET}") is None

        ((path, headers, _),) = listener.got
    assert path == f"/{SECRET}"
    assert "X-Rollback-Signature-256" not in headers


async def test_pagerduty_opens_one_incident_and_resolves_it() -> None:
    async with listening() as listener:
        listener.status = 202
        channel = Channel(name="pager", type="PagerDuty", url=listener.url, secret_ref=REF)
        assert await told(channel, STARTED) is None
        assert await told(channel, ENDED) is None
        first, last = (json.loads(body) for _, _, body in listener.got)

    assert (first["event_action"], last["event_action"]) == ("trigger", "resolve")
    assert first["dedup_key"] == last["dedup_key"] == STARTED.incident
    assert (first["payload"]["severity"], first["routing_key"]) == ("critical", SECRET)


def test_pagerdutys_own_address_is_the_default() -> None:
    assert webhooks.PAGER_DUTY_URL == "https://events.pagerduty.com/v2/enqueue"


async def test_alertmanager_gets_one_alert_that_ends() -> None:
    async with listening() as listener:
        channel = alertmanager(f"{listener.url}/prefix/")
        assert await told(channel, STARTED) is None
        assert await told(channel, ENDED) is None
        (path, headers, begun), (_, _, ended) = listener.got

    ((first,), (last,)) = json.loads(begun), json.loads(ended)
    assert path == "/prefix/api/v2/alerts"
    assert headers["Authorization"] == f"Bearer {SECRET}"
    assert first["labels"] == last["labels"]
    assert first["endsAt"] > at(3600).isoformat()
    assert last["endsAt"] == at(60).isoformat()


# -- e-mail ----------------------------------------------------------------------------------------


class MailServer:
    """A real SMTP server's handler."""

    def __init__(self) -> None:
        self.mails: list[tuple[str, list[str], EmailMessage]] = []
        self.logins: list[tuple[str, str]] = []
        self.answer = "250 OK"
        self.port = 0

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        assert isinstance(envelope.content, bytes)
        found = email.message_from_bytes(envelope.content, policy=email.policy.default)
        assert isinstance(found, EmailMessage)
        if self.answer.startswith("2"):
            self.mails.append((str(envelope.mail_from), envelope.rcpt_tos, found))
        return self.answer

    def login(self, server: SMTP, session: Session, envelope: Envelope, how: str, data: Any) -> Any:
        self.logins.append((data.login.decode(), data.password.decode()))
        return AuthResult(success=data.password.decode() == SECRET, handled=False)


@asynccontextmanager
async def mailing(**options: Any) -> AsyncIterator[MailServer]:
    found = MailServer()
    server = await asyncio.get_running_loop().create_server(
        lambda: SMTP(found, hostname=HOST, authenticator=found.login, **options), "127.0.0.1", 0
    )
    found.port = server.sockets[0].getsockname()[1]
    async with server:
        yield found


def mail(port: int, **changes: Any) -> MailSpec:
    fields = {
        "host": HOST,
        "port": port,
        "encryption": "None",
        "from": "rollback@shop.example.com",
        "to": ["on-call@example.com", "lead@example.com"],
    }
    return MailSpec(**(fields | changes))


async def test_a_mail_arrives_under_a_stable_message_id_in_one_thread() -> None:
    async with mailing() as server:
        channel = Channel(name="mail", type="SMTP", mail=mail(server.port))
        for _ in range(2):
            assert await told(channel) is None

    (sender, recipients, first), (_, _, second) = server.mails
    assert (sender, len(recipients)) == ("rollback@shop.example.com", 2)
    assert first["Message-ID"] == second["Message-ID"] == f"<{STARTED.id}@shop.example.com>"
    assert first["References"] == f"<{STARTED.incident}@shop.example.com>"
    assert first["Subject"] == STARTED.subject
    assert "Status: ROLLBACK IN PROGRESS" in first.get_content()


async def test_a_mail_goes_to_the_first_address_that_accepts() -> None:
    async with mailing() as server:
        box = smtp.Mailbox(Pinned(HOST, server.port, ("127.0.0.2", "127.0.0.1")), mail(1), None)
        assert await smtp.send(box, STARTED) is None
        refused = replace(box, at=Pinned(HOST, server.port, ("127.0.0.2", "127.0.0.3")))
        done = await smtp.send(refused, STARTED)

    assert len(server.mails) == 1
    assert isinstance(done, Failure)
    assert done.kind is FailureKind.UNAVAILABLE
    assert "ConnectionRefusedError" in done.message


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    key, cert = folder / "key.pem", folder / "cert.pem"
    made = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
        f" -subj /CN={HOST} -addext subjectAltName=DNS:{HOST} -keyout {key} -out {cert}"
    )
    subprocess.run(made.split(), check=True, capture_output=True)
    return key, cert


def serving(certificate: tuple[Path, Path]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate[1], certificate[0])
    return context


@pytest.mark.parametrize("password", [SECRET, "another"])
async def test_a_login_goes_over_tls_only(certificate: tuple[Path, Path], password: str) -> None:
    trusted = ssl.create_default_context(cafile=certificate[1])
    async with mailing(tls_context=serving(certificate), auth_require_tls=True) as server:
        spec = mail(server.port, encryption="StartTLS", username="shop")
        at_ = Pinned(HOST, server.port, ("127.0.0.1",))
        done = await smtp.send(smtp.Mailbox(at_, spec, password), STARTED, trusted)

    assert server.logins[0] == ("shop", password)
    if password == SECRET:
        assert done is None
        assert len(server.mails) == 1
    else:
        assert isinstance(done, Failure)
        assert done.kind is FailureKind.REJECTED
        assert "login" in done.message
        assert password not in done.message


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"encryption": Encryption.START_TLS},
            "offers no STARTTLS, which spec.notify[].mail.encryption",
        ),
        ({"username": "shop"}, "offers no login, which spec.notify[].mail.username"),
    ],
    ids=["StartTLS", "login"],
)
async def test_a_server_without_what_the_policy_requires_is_no_outage(
    changes: dict[str, Any], said: str
) -> None:
    async with mailing() as server:  # offers a login over TLS only
        # The API server refuses a login without encryption; another server may still offer none.
        spec = mail(server.port).model_copy(update=changes)
        at_ = Pinned(HOST, server.port, ("127.0.0.1",))
        done = await smtp.send(smtp.Mailbox(at_, spec, SECRET), STARTED)

    assert (server.logins, server.mails) == ([], [])
    assert isinstance(done, Failure)
    assert done.kind is FailureKind.REJECTED
    assert said in done.message
    assert "set " in done.message


async def test_a_certificate_that_is_not_trusted_gets_no_password(
    certificate: tuple[Path, Path],
) -> None:
    async with mailing(tls_context=serving(certificate), auth_require_tls=True) as server:
        spec = mail(server.port, encryption="StartTLS", username="shop")
        done = await told(Channel(name="mail", type="SMTP", mail=spec, secret_ref=REF))

    assert server.logins == []
    assert isinstance(done, Failure)
    assert "certificate is not trusted" in done.message


# -- credentials that are none ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind", ["Slack", "Webhook", "by url", "PagerDuty", "Alertmanager", "SMTP"]
)
@pytest.mark.parametrize("value", ["", " \n\t", "a\r\nX-Injected: b", "a\x00b", "to\u200bken"])
async def test_a_credential_that_is_none_is_told_by_its_key_and_nothing_is_sent(
    kind: str, value: str
) -> None:
    async with listening() as listener, mailing() as server:
        url = listener.url
        spec = mail(server.port, encryption="StartTLS", username="shop")
        channel = {
            "Slack": Channel(name="a", type="Slack", secret_ref=REF),
            "Webhook": Channel(name="a", type="Webhook", url=url, secret_ref=REF),
            "by url": Channel(name="a", type="Webhook", url_secret_ref=REF),
            "PagerDuty": Channel(name="a", type="PagerDuty", url=url, secret_ref=REF),
            "Alertmanager": alertmanager(url),
            "SMTP": Channel(name="a", type="SMTP", mail=spec, secret_ref=REF),
        }[kind]
        is_text = bool(value.strip())
        # A key that signs is sent nowhere, and a password goes encoded.
        if is_text and (kind == "Webhook" or (kind == "SMTP" and not {"\r", "\x00"} & set(value))):
            return
        prefix = url + "/" if is_text and kind in ("Slack", "by url") else ""

        done = await told(channel, secret=prefix + value)

        assert isinstance(done, Failure)
        assert done.kind is FailureKind.REJECTED
        assert f"key {REF.key} of Secret {REF.name} " in done.message
        assert listener.got == []
        assert server.mails == []
        assert not is_text or value not in done.message


@pytest.mark.parametrize(
    "value",
    ["ftp://x/y", "file:///etc/passwd", "//x/y", "javascript:alert(1)", "http:x", "data:,x"],
)
async def test_an_address_of_another_scheme_is_refused(value: str) -> None:
    done = await told(Channel(name="a", type="Slack", secret_ref=REF), secret=value)

    assert isinstance(done, Failure)
    assert done.kind is FailureKind.REJECTED
    assert value not in done.message


# -- failures --------------------------------------------------------------------------------------

ANSWERS = {
    302: FailureKind.REJECTED,
    400: FailureKind.REJECTED,
    401: FailureKind.REJECTED,
    404: FailureKind.REJECTED,
    408: FailureKind.UNAVAILABLE,
    429: FailureKind.UNAVAILABLE,
    500: FailureKind.UNAVAILABLE,
    503: FailureKind.UNAVAILABLE,
}


def each_channel(url: str) -> list[tuple[Channel, str]]:
    """Every kind of channel whose credential is known, with the value of its Secret."""
    return [
        (Channel(name="a", type="Slack", secret_ref=REF), f"{url}/{SECRET}"),
        (Channel(name="b", type="Webhook", url_secret_ref=REF), f"{url}/{SECRET}?k={SECRET}"),
        (Channel(name="c", type="Webhook", url=url, secret_ref=REF), SECRET),
        (Channel(name="d", type="PagerDuty", url=url, secret_ref=REF), SECRET),
        (alertmanager(url), SECRET),
    ]


@pytest.mark.parametrize("status", ANSWERS)
async def test_an_error_is_told_by_its_status_and_no_credential_with_it(
    status: int, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        async with listening() as listener:
            listener.status = status
            listener.headers = {"Retry-After": "7", "Location": f"{listener.url}/{SECRET}"}
            found = [
                await told(channel, secret=value) for channel, value in each_channel(listener.url)
            ]
            assert len(listener.got) == len(found)  # no redirect was followed

    for failure in found:
        assert failure.kind is ANSWERS[status]
        assert str(status) in failure.message
        assert SECRET not in repr(failure)
    assert SECRET not in caplog.text
    if status == 429:
        assert found[0].retry_after == 7


HOSTILE = {
    "nobody there": f"http://{HOST}:1/{SECRET}",
    "not allowed": f"http://elsewhere.example/{SECRET}",
    "no address": f"not an address {SECRET}",
    "with a password": f"http://user:{SECRET}@{HOST}/",
    "a line's end within": f"http://{HOST}:1/{SECRET}\r\nX: {SECRET}",
    "odd port": f"http://{HOST}:99999/{SECRET}",
    "https to http": f"https://{HOST}:PORT/{SECRET}",
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_an_address_that_does_not_work_is_not_told(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        async with listening() as listener:
            value = HOSTILE[name].replace("PORT", str(listener.port))
            for channel, _ in each_channel(listener.url)[:2]:
                found = await told(channel, secret=value)
                assert isinstance(found, Failure)
                assert SECRET not in repr(found)
    assert SECRET not in caplog.text


@pytest.mark.parametrize("value", [f"{SECRET}\r\nX: y", f"{SECRET}\x00", "é" + SECRET])
async def test_a_credential_that_no_header_can_carry_is_not_told(value: str) -> None:
    async with listening() as listener:
        found = await told(alertmanager(listener.url), secret=value)

    assert found is None or SECRET not in repr(found)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (f"550 no {SECRET}", FailureKind.REJECTED),
        (f"451 later {SECRET}", FailureKind.UNAVAILABLE),
    ],
)
async def test_of_what_a_mail_server_says_only_the_code_is_told(
    answer: str, kind: FailureKind, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, logger="rollback_operator"):
        async with mailing() as server:
            server.answer = answer
            found = await told(Channel(name="mail", type="SMTP", mail=mail(server.port)))

    assert isinstance(found, Failure)
    assert (found.kind, answer[:3] in found.message) == (kind, True)
    assert SECRET not in found.message + caplog.text


async def test_a_mail_server_that_is_not_there() -> None:
    found = await told(Channel(name="mail", type="SMTP", mail=mail(1)))

    assert isinstance(found, Failure)
    assert found.kind is FailureKind.UNAVAILABLE
    assert f"{HOST}:1" in found.message


async def test_a_secret_that_cannot_be_read_is_the_failure() -> None:
    missing = Failure(FailureKind.GONE, "there is no Secret chat in namespace production")
    async with listening() as listener:
        for channel, _ in each_channel(listener.url):
            assert await told(channel, secret=missing) == missing
        assert listener.got == []


@pytest.mark.parametrize(
    ("secret", "expected"),
    [
        (SECRET, ""),
        (Failure(FailureKind.GONE, "there is no Secret"), "there is no Secret"),
        (Failure(FailureKind.UNAVAILABLE, "no answer"), ""),
        ("two words", f"key {REF.key} of Secret {REF.name} in namespace {NAMESPACE} holds"),
    ],
    ids=["usable", "missing", "not known now", "of the wrong form"],
)
async def test_an_unusable_secret_is_an_obstacle_before_anything_is_sent(
    secret: str | Failure, expected: str
) -> None:
    for channel in (
        Channel(name="chat", type="Slack", secret_ref=REF),
        Channel(name="hook", type="Webhook", url_secret_ref=REF),
    ):
        why = await senders(secret).obstacle(channel, NAMESPACE)
        assert why.startswith(expected)
        assert bool(why) == bool(expected)
        assert "two words" not in why
