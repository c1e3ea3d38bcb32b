"""No credential in any output: every kind of failure of each channel, all texts searched."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

import pytest

from rollback_operator.adapters.channels.senders import Senders
from rollback_operator.adapters.http.addresses import Addresses, Rules
from rollback_operator.api.notify import Channel
from rollback_operator.api.shape import SecretKeyRef
from rollback_operator.api.v1alpha1 import Outcome
from rollback_operator.ports.failure import Failure, FailureKind
from rollback_operator.report import outbox
from tests.builders import make_policy
from tests.unit.test_channels import HOST, SECRET, listening, mail
from tests.unit.test_telling import KEY, Desk

REF = SecretKeyRef(name="chat", key="value")
REFUSED = Failure(FailureKind.REJECTED, "the operator may not read Secret chat")


class Values:
    """The Secrets: every value holds the credential, as an address or bare."""

    def __init__(self, url: str | None) -> None:
        self.url = url

    async def read(self, namespace: str, name: str, key: str) -> str | Failure:
        if self.url is None:
            return REFUSED
        return f"{self.url}/{SECRET}" if key == "url" else SECRET

    async def read_all(self, namespace: str, name: str) -> Mapping[str, str] | Failure:
        raise AssertionError(name)


def channels(url: str) -> list[Channel]:
    address, bare = SecretKeyRef(name="chat", key="url"), REF
    box = mail(1, encryption="StartTLS", username="shop")
    return [
        Channel(name="a", type="Slack", secret_ref=address),
        Channel(name="b", type="Webhook", url_secret_ref=address, secret_ref=bare),
        Channel(name="c", type="PagerDuty", url=url, secret_ref=bare),
        Channel(name="d", type="Alertmanager", url=url, secret_ref=bare),
        Channel(name="e", type="SMTP", mail=box, secret_ref=bare),
    ]


async def unknown(host: str, port: int, namespace: str) -> list[str]:
    raise OSError(-2, "Name or service not known")


async def local(host: str, port: int, namespace: str) -> list[str]:
    return ["127.0.0.1"]


WAYS = ["redirect", "400", "500", "nobody", "unknown name", "forbidden host", "no Secret", "odd"]


@pytest.mark.parametrize("way", WAYS)
async def test_nothing_that_is_said_holds_a_credential(
    way: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with listening() as listener:
        listener.status = {"redirect": 307, "400": 400}.get(way, 500)
        listener.headers = {"Location": f"{listener.url}/{SECRET}"}
        url = f"http://{HOST}:1" if way == "nobody" else listener.url
        held = {"no Secret": None, "odd": f"http://u:{SECRET}@{HOST}"}.get(way, url)
        allowed = "nowhere" if way == "forbidden host" else HOST
        rules = Rules(lambda host, _: host == allowed, is_loopback_allowed=True)
        addresses = Addresses(rules, unknown if way == "unknown name" else local)
        desk = Desk(make_policy(notify=channels(url)))
        desk.channels = Senders(Values(held), addresses)  # type: ignore[assignment]
        with caplog.at_level(logging.DEBUG):
            async with desk.running() as teller:
                await desk.end(teller, Outcome.NOT_RECOVERED)
                for _ in range(100):
                    await teller.settle(KEY)
                    if all(one.attempts for one in desk.notifications):
                        break
                    await asyncio.sleep(0.05)

    assert all(one.message for one in desk.notifications)
    condition = outbox.notified(desk.policy, [desk.rollback])
    said = f"{desk.rollback} {condition} {caplog.text}"
    assert SECRET not in said
    assert "not delivered" in caplog.text
