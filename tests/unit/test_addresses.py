"""Outgoing addresses: what may be called, and that a name is asked for once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from rollback_operator.adapters.http import outgoing
from rollback_operator.adapters.http.addresses import (
    Addresses,
    Backends,
    Pinned,
    PinnedUrl,
    Rules,
    is_callable,
)
from rollback_operator.ports.failure import Failure, FailureKind
from rollback_operator.runtime.settings import Settings

SETTINGS = Settings(
    prometheus_url="http://prometheus.monitoring:9090",
    allowed_hosts="hooks.slack.com,127.0.0.1,rebound.example.com,hooks.dev",
)


class Names:
    """A resolver that answers from a list, the last answer for ever."""

    def __init__(self, *answers: Sequence[str] | OSError) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int, namespace: str) -> Sequence[str]:
        self.asked.append(f"{host}:{port}")
        found = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(found, OSError):
            raise found
        return found


class Services:
    """What is found behind each Service."""

    def __init__(self, found: Backends | Failure) -> None:
        self.found = found
        self.asked: list[tuple[str, str, int]] = []

    async def __call__(self, namespace: str, service: str, port: int) -> Backends | Failure:
        self.asked.append((namespace, service, port))
        return self.found


def addresses(names: Names, *, loopback: bool = False) -> Addresses:
    return Addresses(Rules(SETTINGS.may_call, loopback, SETTINGS.service_called), names)


def behind(*ips: str) -> Services:
    return Services(Backends(8443, ips))


def by_services(services: Services, names: Names | None = None) -> Addresses:
    rules = Rules(SETTINGS.may_call, service_of=SETTINGS.service_called)
    return Addresses(rules, names or Names(["192.0.2.1"]), services)


@pytest.mark.parametrize(
    "ip", ["10.244.0.7", "192.168.1.1", "fd00::7", "203.0.113.9", "2001:db8::1", "64:ff9b::a00:1"]
)
def test_an_address_that_may_be_called(ip: str) -> None:
    assert is_callable(ip)


@pytest.mark.parametrize(
    "ip",
    [
        "",
        "127.0.0.1",
        "127.8.8.8",
        "::1",
        "::ffff:127.0.0.1",
        "169.254.169.254",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "2002:7f00:1::",
        "fe80::1",
        "fe80::1%eth0",
        "fd00:ec2::254",
        "FD00:EC2:0::254",
        "fd20:ce::254",
        "fd00:42::42",
        "fd00:c1::a9fe:a9fe",
        "64:ff9b:1::a9fe:a9fe",
        "2001:0:a9fe:a9fe::1",
        "::169.254.169.254",
        "::ffff:0:169.254.169.254",
        "fec0::1",
        "ff02::1",
        "0.1.2.3",
        "0177.0.0.1",
        "2130706433",
        "0x7f000001",
        "100.100.100.200",
        "168.63.129.16",
        "0.0.0.0",
        "::",
        "224.0.0.1",
        "255.255.255.255",
        "localhost",
        "10.0.0.1/../x",
    ],
)
def test_an_address_that_may_not_be_called(ip: str) -> None:
    assert not is_callable(ip)


def test_only_loopback_is_ever_allowed_beside() -> None:
    assert is_callable("127.0.0.1", is_loopback_allowed=True)
    assert not is_callable("169.254.169.254", is_loopback_allowed=True)


@pytest.mark.parametrize(
    ("url", "host", "port", "target"),
    [
        ("https://hooks.slack.com/services/T/B/x", "hooks.slack.com", 443, "/services/T/B/x"),
        ("http://bridge.shop", "bridge.shop", 80, "/"),
        ("http://BRIDGE.shop.svc:8080/a?b=c%2F", "bridge.shop.svc", 8080, "/a?b=c%2F"),
        ("http://bridge.shop.svc.cluster.local/#x", "bridge.shop.svc.cluster.local", 80, "/"),
    ],
)
async def test_an_allowed_url_is_pinned(url: str, host: str, port: int, target: str) -> None:
    names, services = Names(["10.0.0.9", "fd00::9"]), behind("10.0.0.9", "fd00::9")

    found = await by_services(services, names).pin_url(url, "shop")

    assert isinstance(found, PinnedUrl)
    is_service = host.startswith("bridge.")
    at = Pinned(host, port, ("10.0.0.9", "fd00::9"), 8443 if is_service else None)
    assert (found.at, found.target) == (at, target)
    assert found.at.called_port == (8443 if is_service else port)
    assert names.asked == ([] if is_service else [f"{host}:{port}"])
    assert services.asked == ([("shop", "bridge", port)] if is_service else [])


@pytest.mark.parametrize(
    ("host", "service"),
    [
        ("api.dev", "api"),
        ("API.dev", "api"),
        ("api.dev.svc", "api"),
        ("api.dev.svc.Cluster.Local", "api"),
        ("hooks.dev", None),
        ("hooks.slack.com", None),
    ],
)
async def test_a_service_is_not_asked_of_dns(host: str, service: str | None) -> None:
    names, services = Names(["10.0.0.9"]), behind("10.0.0.9")

    found = await by_services(services, names).pin(host, 80, "dev")

    assert isinstance(found, Pinned)
    assert found.host == host.lower()
    assert names.asked == ([] if service else [f"{host.lower()}:80"])
    assert services.asked == ([("dev", service, 80)] if service else [])


@pytest.mark.parametrize("host", ["api.dev.", "api.dev.svc.", "a.b.dev.svc", ".dev", "api", "dev"])
async def test_what_only_resembles_a_service_is_refused(host: str) -> None:
    names, services = Names(["10.0.0.9"]), behind("10.0.0.9")

    found = await by_services(services, names).pin(host, 80, "dev")

    assert isinstance(found, Failure)
    assert (found.kind, names.asked, services.asked) == (FailureKind.REJECTED, [], [])


@pytest.mark.parametrize("kind", [FailureKind.REJECTED, FailureKind.UNAVAILABLE])
async def test_a_service_that_leads_elsewhere_is_told_with_its_name(kind: FailureKind) -> None:
    services = Services(Failure(kind, "Service api leads elsewhere"))

    found = await by_services(services).pin("api.dev.svc", 80, "dev")

    assert found == Failure(kind, "api.dev.svc: Service api leads elsewhere")


async def test_without_a_cluster_no_service_is_found() -> None:
    found = await addresses(Names(["10.0.0.9"])).pin("api.dev.svc", 80, "dev")

    assert isinstance(found, Failure)
    assert found.kind is FailureKind.UNAVAILABLE


@pytest.mark.parametrize(
    "url",
    [
        "ftp://bridge.shop/",
        "bridge.shop",
        "http://user:s3cret@bridge.shop/",
        "http://bridge\\.shop/s3cret",
        "http://bridge.shop:0/s3cret",
        "http://bridge.shop:70000/s3cret",
        "http://bridge.payments/s3cret",
        "http://bridge/s3cret",
        "http://prometheus.monitoring:9090/-/quit?s3cret",
        "http://hooks.slack.com.evil.example/s3cret",
        "http://bridge.shop/s3cret\n",
    ],
    ids=ascii,
)
async def test_a_refused_url_is_not_resolved_and_not_told_whole(url: str) -> None:
    names = Names(["10.0.0.9"])

    found = await addresses(names).pin_url(url, "shop")

    assert isinstance(found, Failure)
    assert found.kind is FailureKind.REJECTED
    assert "s3cret" not in found.message
    assert names.asked == []


@pytest.mark.parametrize(
    "ips", [["127.0.0.1"], ["10.0.0.9", "169.254.169.254"], ["::ffff:127.0.0.1"]]
)
async def test_a_name_that_leads_to_the_machine_itself_is_refused(ips: list[str]) -> None:
    for found in (
        await by_services(behind(*ips)).pin("bridge.shop", 80, "shop"),
        await addresses(Names(ips)).pin("hooks.slack.com", 80, "shop"),
    ):
        assert isinstance(found, Failure)
        assert found.kind is FailureKind.REJECTED


@pytest.mark.parametrize("answer", [OSError(-2, "Name or service not known"), []])
async def test_a_name_that_is_not_known_may_be_known_later(answer: list[str] | OSError) -> None:
    found = await addresses(Names(answer)).pin("hooks.slack.com", 80, "shop")

    assert isinstance(found, Failure)
    assert found.kind is FailureKind.UNAVAILABLE
    assert "hooks.slack.com" in found.message


async def test_a_host_is_called_at_what_it_was_pinned_to_and_redirects_are_not_followed() -> None:
    seen: list[tuple[str, str]] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append((request.host, request.raw_path))
        return web.Response(status=302, headers={"Location": "http://127.0.0.1/elsewhere"})

    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", answer)
    async with TestServer(app, host="127.0.0.1") as server:
        names = Names(["127.0.0.1"], ["192.0.2.1"])
        host = f"rebound.example.com:{server.port}"
        url = f"http://{host}/a%2Fb?c=d%20e"
        pinned = await addresses(names, loopback=True).pin_url(url, "shop")
        assert isinstance(pinned, PinnedUrl)
        found = await outgoing.send(outgoing.Request(pinned, "POST", body=b"x"))

    assert isinstance(found, outgoing.HttpResponse)
    assert (found.status, len(names.asked)) == (302, 1)
    assert seen == [(host, "/a%2Fb?c=d%20e")]


async def test_an_answer_is_read_only_so_far() -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=b"x" * 300_000)

    app = web.Application()
    app.router.add_get("/", answer)
    async with TestServer(app, host="127.0.0.1") as server:
        at = Pinned("127.0.0.1", server.port or 0, ("127.0.0.1",))
        found = await outgoing.send(outgoing.Request(PinnedUrl("http", at, "/")))

    assert isinstance(found, outgoing.HttpResponse)
    assert len(found.body) == outgoing.MOST_BODY_BYTES


async def test_nobody_there_is_a_failure_that_tells_no_path() -> None:
    async with TestServer(web.Application(), host="127.0.0.1") as server:
        port = server.port or 0
    at = Pinned("127.0.0.1", port, ("127.0.0.1",))

    found = await outgoing.send(outgoing.Request(PinnedUrl("http", at, "/s3cret")))

    assert isinstance(found, Failure)
    assert found.kind is FailureKind.UNAVAILABLE
    assert f"127.0.0.1:{port}" in found.message
    assert "s3cret" not in found.message


@pytest.mark.parametrize(
    "target", ["/ HTTP/1.1\r\nX-Injected: 1\r\n\r\n", "/a b", "/\u00fc", "@evil.example/", ""]
)
async def test_a_path_that_would_be_a_second_request_is_not_sent(target: str) -> None:
    seen: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(request.raw_path)
        return web.Response()

    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", answer)
    async with TestServer(app, host="127.0.0.1") as server:
        at = Pinned("127.0.0.1", server.port or 0, ("127.0.0.1",))
        found = await outgoing.send(outgoing.Request(PinnedUrl("http", at, target)))

    assert isinstance(found, Failure)
    assert (found.kind, seen) == (FailureKind.REJECTED, [])


async def test_a_slow_answer_is_not_waited_for() -> None:
    async def answer(request: web.Request) -> web.Response:
        await request.content.read()
        await never.wait()
        return web.Response()

    never = asyncio.Event()
    app = web.Application()
    app.router.add_get("/", answer)
    async with TestServer(app, host="127.0.0.1") as server:
        at = Pinned("127.0.0.1", server.port or 0, ("127.0.0.1",))
        found = await outgoing.send(outgoing.Request(PinnedUrl("http", at, "/"), seconds=0.2))
        never.set()

    assert isinstance(found, Failure)
    assert "did not answer" in found.message
