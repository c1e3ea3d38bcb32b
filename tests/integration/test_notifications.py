"""People are told: every channel against a real listener, over a restart and a change of leader."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from lab.alertmanager_server import Alertmanager
from lab.ports import free_ports
from tests.integration.api import Object, eventually
from tests.integration.listener import Listener
from tests.integration.mail_server import MailServer
from tests.integration.operator_process import OperatorProcess, Options, Zygote
from tests.integration.service import Service, outcome
from tests.integration.stand import PATHS, Stand, rights
from tests.integration.traffic import BAD

pytestmark = [pytest.mark.xdist_group("notifications"), pytest.mark.timeout(1200)]

LEASE_SECONDS = 6
TOKEN = "s3cret-T0KEN"
SIGNING = "s3cret-signing-key"
LIVE = ("chat", "bridge", "pager", "alerts", "manager", "mail")
WANTED = ["Started", "Verified"]
ALERTMANAGER = """
route: {{receiver: on-call, group_wait: 0s, group_interval: 1s, repeat_interval: 1h}}
receivers:
- name: on-call
  webhook_configs: [{{url: {}, send_resolved: true}}]
"""


@pytest.fixture
def listener(stand: Stand) -> Iterator[Listener]:
    found = Listener(stand.background)
    found.start()
    for path in (f"/slack/{TOKEN}", "/bridge", "/pager", "/api/v2/alerts"):
        found.answer(path, lambda _: web.Response(text="ok"))
    yield found
    found.stop()


@pytest.fixture
def mail_server(stand: Stand) -> Iterator[MailServer]:
    found = MailServer(stand.background)
    found.start()
    yield found
    found.stop()


@pytest.fixture
def options(stand: Stand, service: Service, tmp_path: Path) -> Iterator[Options]:
    """An operator for the service's namespace, with its Secrets' rights, by a proxy."""
    stand.grant(service.namespace)
    values = {
        "watchNamespaces": [service.namespace],
        "readSecrets": [{"namespace": service.namespace, "names": ["channels"]}],
    }
    for one in rights(service.namespace, **values):
        if one["metadata"]["name"].endswith("-secrets"):
            # Applied: a busy etcd may have stored what a repeated create then finds.
            path = f"{PATHS[one['kind']].format(service.namespace)}/{one['metadata']['name']}"
            stand.api.apply(path, dict(one), "tests")
    proxy = stand.proxy(service.namespace)
    proxy.start()
    yield Options(
        proxy.write_kubeconfig(tmp_path / "kubeconfig"),
        stand.prometheus.url,
        namespaces=service.namespace,
        lease_namespace=service.namespace,
        lease_seconds=LEASE_SECONDS,
        flags=("--allowed-hosts=127.0.0.1", "--loopback=allowed"),
    )
    proxy.stop()


@pytest.fixture
def alertmanager(listener: Listener) -> Iterator[Alertmanager]:
    """A real one, which tells the listener what it has been told."""
    listener.answer("/on-call", lambda _: web.Response())
    with Alertmanager(ALERTMANAGER.format(listener.url("/on-call"))) as found:
        yield found


@dataclass
class Audience:
    """Whoever is told, and the operators that tell them."""

    listener: Listener
    mail_server: MailServer
    alertmanager: Alertmanager
    zygote: Zygote
    options: Options
    log: Path
    running: list[OperatorProcess] = field(default_factory=list)

    def start(self, identity: str = "first") -> OperatorProcess:
        self.running.append(self.zygote.start(replace(self.options, identity=identity), self.log))
        self.running[-1].wait_until_ready()
        return self.running[-1]


@pytest.fixture
def audience(
    listener: Listener,
    mail_server: MailServer,
    alertmanager: Alertmanager,
    zygote: Zygote,
    options: Options,
) -> Iterator[Audience]:
    log = options.kubeconfig.with_name("operator.log")
    found = Audience(listener, mail_server, alertmanager, zygote, options, log)
    yield found
    for one in found.running:
        one.kill()


def give_secret(stand: Stand, namespace: str, listener: Listener) -> None:
    values = {"slack": listener.url(f"/slack/{TOKEN}"), "token": TOKEN, "signing": SIGNING}
    data = {key: base64.b64encode(f"{one}\n".encode()).decode() for key, one in values.items()}
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "channels"}, "data": data}
    stand.api.create(f"/api/v1/namespaces/{namespace}/secrets", body)


def channels(audience: Audience) -> list[dict[str, Any]]:
    listener, mail_server = audience.listener, audience.mail_server

    def ref(key: str) -> dict[str, str]:
        return {"name": "channels", "key": key}

    nobody = f"http://127.0.0.1:{free_ports(1)[0]}/{TOKEN}"
    return [
        {"name": "dead", "type": "Webhook", "url": nobody},
        {"name": "chat", "type": "Slack", "secretRef": ref("slack")},
        {
            "name": "bridge",
            "type": "Webhook",
            "url": listener.url("/bridge"),
            "secretRef": ref("signing"),
        },
        {
            "name": "pager",
            "type": "PagerDuty",
            "url": listener.url("/pager"),
            "secretRef": ref("token"),
        },
        {"name": "alerts", "type": "Alertmanager", "url": listener.url("/")},
        {"name": "manager", "type": "Alertmanager", "url": audience.alertmanager.url},
        {
            "name": "mail",
            "type": "SMTP",
            "mail": {
                "host": "127.0.0.1",
                "port": mail_server.port,
                "encryption": "None",
                "from": "rollback@example.com",
                "to": ["on-call@example.com"],
            },
        },
    ]


def told(service: Service) -> dict[str, list[str]]:
    """By channel, what is on record as delivered."""
    found: dict[str, list[str]] = {}
    for rollback in service.rollbacks():
        for one in rollback.get("status", {}).get("notifications", []):
            if "deliveredTime" in one:
                found.setdefault(one["channel"], []).append(one["transition"])
    return {name: sorted(one) for name, one in found.items()}


def bodies(listener: Listener, path: str) -> list[Any]:
    return [json.loads(one.body) for one in listener.heard(path)]


def restart(audience: Audience, service: Service) -> None:
    """The leader is killed, and started again."""
    audience.running[0].kill()
    audience.running[0].wait_for_end()
    audience.start()


def hand_over(audience: Audience, service: Service) -> None:
    """The leader ends in good order, and another one that has been there leads."""
    eventually(lambda: service.leader == "first", "the first leads")
    audience.start("second")
    audience.running[0].terminate()
    eventually(lambda: service.leader == "second", "the second leads", 60.0)


@pytest.mark.parametrize("change", [restart, pytest.param(hand_over, marks=pytest.mark.extended)])
def test_each_transition_is_told_once_whoever_tells(
    stand: Stand, service: Service, audience: Audience, change: Callable[[Audience, Service], None]
) -> None:
    listener, mail_server = audience.listener, audience.mail_server
    give_secret(stand, service.namespace, listener)
    listener.answer("/probe", lambda _: web.Response(status=503))
    probe = {"name": "sells", "url": listener.url("/probe")}
    service.deploy(replicas=2)
    service.remember()
    audience.start()
    service.adopt(
        verification={"http": [probe], "timeoutSeconds": 120},
        notify=channels(audience),
        communication={"service": "Shop", "contact": "on-call@example.com"},
    )
    service.roll_out("v2", BAD)
    started = {name: ["Started"] for name in LIVE}
    eventually(lambda: told(service) == started, "all are told of the start", 60.0)
    change(audience, service)
    listener.answer("/probe", lambda _: web.Response())

    rollback = service.wait_for_rollback(120.0)
    assert outcome(rollback) == ("Verified", "Recovered"), service.told()
    both = dict.fromkeys(LIVE, WANTED)
    eventually(lambda: told(service) == both, "all are told of the end", 60.0)
    service.wait_for("Notified", "DeliveryFailing")

    see_each_once(listener, mail_server, rollback)
    see_alert_resolved(listener, rollback)
    assert len(service.rollbacks()) == 1
    # What is told are statuses and events; the policy's spec is not among it.
    everything = f"{service.told()}{audience.log.read_text()}"
    assert TOKEN not in everything
    assert SIGNING not in everything


def see_each_once(listener: Listener, mail_server: MailServer, rollback: Object) -> None:
    """See that each channel has got each transition once, under one identifier."""
    uid = rollback["metadata"]["uid"]
    events = listener.heard("/bridge")
    assert [one.headers["ce-id"] for one in events] == [f"{uid}.{one}.bridge" for one in WANTED]
    for one in events:
        digest = hmac.new(SIGNING.encode(), one.body.encode(), hashlib.sha256).hexdigest()
        assert one.headers["X-Rollback-Signature-256"] == f"sha256={digest}"

    texts = [json.dumps(one) for one in bodies(listener, f"/slack/{TOKEN}")]
    assert len(texts) == len(WANTED)
    assert all(f"{uid}.{w}.chat" in text for w, text in zip(WANTED, texts, strict=True))

    pages = bodies(listener, "/pager")
    assert [one["event_action"] for one in pages] == ["trigger", "resolve"]
    assert {one["dedup_key"] for one in pages} == {uid}

    alerts = [one for (one,) in bodies(listener, "/api/v2/alerts")]
    ids = [one["annotations"]["id"] for one in alerts]
    assert ids == [f"{uid}.{one}.alerts" for one in WANTED]

    mails = mail_server.mails()
    assert [one["Message-ID"] for one in mails] == [
        f"<{uid}.{one}.mail@example.com>" for one in WANTED
    ]
    assert len({one["References"] for one in mails}) == 1


def see_alert_resolved(listener: Listener, rollback: Object) -> None:
    """See that the real Alertmanager has passed one alert on: firing, and then resolved."""

    def passed_on() -> list[tuple[str, str]]:
        groups = bodies(listener, "/on-call")
        return [(one["status"], one["annotations"]["id"]) for g in groups for one in g["alerts"]]

    uid = rollback["metadata"]["uid"]
    wanted = [("firing", f"{uid}.Started.manager"), ("resolved", f"{uid}.Verified.manager")]
    eventually(lambda: passed_on() == wanted, f"{wanted} and no more", 30.0)
