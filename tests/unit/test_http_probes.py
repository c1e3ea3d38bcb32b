"""Functional probes and health endpoints over real HTTP on loopback; logs as the API gives them."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web

from rollback_operator.adapters.http.addresses import Addresses, Rules
from rollback_operator.adapters.http.probes import HttpProbes
from rollback_operator.adapters.kube.target.logs import MOST_LOG_BYTES, ApiLogs
from rollback_operator.api.verification import HttpProbe
from rollback_operator.model.pod import Endpoint
from rollback_operator.ports.application import LogQuery
from rollback_operator.ports.failure import Failure
from rollback_operator.rollback.probing import LineCount, ProbeResponse, Silence
from tests.builders import at
from tests.fakes.failures import GONE, OUTAGE, REFUSAL

TOKEN = "s3cret-token"


@dataclass
class Heard:
    """What has reached the listener."""

    requests: list[tuple[str, str, Mapping[str, str], str]] = field(default_factory=list)
    port: int = 0


@asynccontextmanager
async def listener(
    answer: Callable[[web.Request], web.StreamResponse | float] = lambda _: web.Response(),
) -> AsyncIterator[Heard]:
    heard = Heard()

    async def serve(request: web.Request) -> web.StreamResponse:
        text = await request.text()
        heard.requests.append((request.method, request.path, dict(request.headers), text))
        found = answer(request)
        if isinstance(found, float):
            await asyncio.sleep(found)
            return web.Response()
        return found

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", serve)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    heard.port = runner.addresses[0][1]
    try:
        yield heard
    finally:
        await runner.cleanup()


@dataclass
class Secrets:
    found: Mapping[str, str] | Failure = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    async def read(self, namespace: str, name: str, key: str) -> str | Failure:
        raise AssertionError

    async def read_all(self, namespace: str, name: str) -> Mapping[str, str] | Failure:
        self.asked.append(f"{namespace}/{name}")
        return self.found


def probes(secrets: Secrets | None = None) -> HttpProbes:
    rules = Rules(lambda host, _: host == "127.0.0.1", is_loopback_allowed=True)
    return HttpProbes(Addresses(rules), secrets or Secrets(), lambda ip: ip == "127.0.0.1")


def probe(port: int, **fields: Any) -> HttpProbe:
    url = f"http://127.0.0.1:{port}/api/v1/tickets/reserve?dry=1"
    return HttpProbe(name="reserve", url=url, **fields)


BEARER = {"Authorization": f"Bearer {TOKEN}\n", "X-Tenant": "test"}
WITH_SECRET = {"headersSecretRef": {"name": "probe"}}


async def test_method_headers_and_body_arrive_and_the_answer_comes_back() -> None:
    secrets = Secrets(BEARER)
    async with listener(lambda _: web.json_response({"status": "reserved"}, status=201)) as heard:
        sent = probe(heard.port, method="POST", body='{"n": 1}', **WITH_SECRET)
        found = await probes(secrets).send("shop", sent)

    assert isinstance(found, ProbeResponse)
    assert (found.status, json.loads(found.body)) == (201, {"status": "reserved"})
    assert found.is_whole
    ((method, path, headers, text),) = heard.requests
    assert (method, path, text) == ("POST", "/api/v1/tickets/reserve", '{"n": 1}')
    assert headers["Authorization"] == f"Bearer {TOKEN}"
    assert headers["X-Tenant"] == "test"
    assert headers["Content-Type"] == "application/json"
    assert secrets.asked == ["shop/probe"]


async def test_a_content_type_of_the_secret_stands() -> None:
    async with listener() as heard:
        sent = probe(heard.port, method="PUT", body="<a/>", **WITH_SECRET)
        await probes(Secrets({"content-type": "text/xml"})).send("shop", sent)

    ((_, _, headers, _),) = heard.requests
    types = [value for name, value in headers.items() if name.lower() == "content-type"]
    assert types == ["text/xml"]


async def test_a_redirect_is_an_answer_and_not_followed() -> None:
    async with listener(lambda _: web.Response(status=302, headers={"Location": "/"})) as heard:
        found = await probes().send("shop", probe(heard.port))

    assert isinstance(found, ProbeResponse)
    assert found.status == 302
    assert len(heard.requests) == 1


async def test_a_long_answer_is_read_in_part() -> None:
    async with listener(lambda _: web.Response(body=b"x" * 200_000)) as heard:
        found = await probes().send("shop", probe(heard.port))

    assert isinstance(found, ProbeResponse)
    assert (len(found.body), found.is_whole) == (65536, False)


async def test_an_answer_that_does_not_come_is_silence() -> None:
    async with listener(lambda _: 30.0) as heard:
        found = await probes().send("shop", probe(heard.port, timeout_seconds=1))

    assert isinstance(found, Silence)
    assert not found.is_final


async def test_nobody_there_is_silence_and_the_path_is_told_to_nobody() -> None:
    async with listener() as heard:
        pass
    found = await probes().send("shop", probe(heard.port))

    assert isinstance(found, Silence)
    assert not found.is_final
    assert "tickets" not in found.message


@pytest.mark.parametrize(
    "found",
    [
        GONE,
        REFUSAL,
        {"Host": "elsewhere"},
        {"Content-Length": "3"},
        {"transfer-encoding": "chunked"},
        {"X Y": "v"},
        {"X": f"{TOKEN}\r\nY: 1"},
        {f"X-{n}": "v" for n in range(17)},
    ],
    ids=str,
)
async def test_headers_that_cannot_be_had_are_final_silence_and_nothing_is_sent(
    found: Mapping[str, str] | Failure,
) -> None:
    async with listener() as heard:
        reply = await probes(Secrets(found)).send("shop", probe(heard.port, **WITH_SECRET))

    assert isinstance(reply, Silence)
    assert reply.is_final
    assert TOKEN not in reply.message
    assert heard.requests == []


async def test_a_secret_that_cannot_be_read_now_is_read_later() -> None:
    async with listener() as heard:
        reply = await probes(Secrets(OUTAGE)).send("shop", probe(heard.port, **WITH_SECRET))

    assert isinstance(reply, Silence)
    assert not reply.is_final


@pytest.mark.parametrize("url", ["http://elsewhere.example/", "http://169.254.169.254/latest"])
async def test_an_address_that_is_not_allowed_is_not_called(url: str) -> None:
    reply = await probes().send("shop", HttpProbe(name="steal", url=url))

    assert isinstance(reply, Silence)
    assert reply.is_final


async def test_no_header_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with listener() as heard:
        await probes(Secrets(BEARER)).send("shop", probe(heard.port, **WITH_SECRET))

    assert TOKEN not in caplog.text


async def test_probes_that_hang_hold_up_no_other_namespace() -> None:
    async with listener(
        lambda asked: 3600.0 if asked.method == "POST" else web.Response()
    ) as heard:
        found = probes()
        sent = probe(heard.port, method="POST", timeoutSeconds=30)
        hanging = [asyncio.create_task(found.send("tenant", sent)) for _ in range(200)]
        async with asyncio.timeout(20):
            while not heard.requests:  # noqa: ASYNC110 (the listener has no event)
                await asyncio.sleep(0.01)
            assert isinstance(await found.send("production", probe(heard.port)), ProbeResponse)

        for one in hanging:
            one.cancel()
        await asyncio.gather(*hanging, return_exceptions=True)


# -- health endpoints ------------------------------------------------------------------------------


async def test_a_pod_is_asked_as_the_kubelet_asks() -> None:
    async with listener(lambda _: web.Response(status=503)) as heard:
        headers = (("X-Probe", "yes"), ("Host", "elsewhere"))
        found = await probes().ask(
            "production", "127.0.0.1", Endpoint("/health/ready", heard.port, "http", headers)
        )

    assert found == ProbeResponse(503)
    ((method, path, got, _),) = heard.requests
    assert (method, path, got["X-Probe"]) == ("GET", "/health/ready", "yes")
    assert got["Host"].startswith("127.0.0.1")


@pytest.mark.parametrize("address", ["", "127.0.0.2", "shop.production.svc"])
async def test_only_a_pods_own_address_is_asked(address: str) -> None:
    found = await probes().ask("production", address, Endpoint("/", 80))

    assert isinstance(found, Silence)
    assert found.is_final


async def test_by_default_no_pod_is_asked_at_loopback() -> None:
    made = HttpProbes(Addresses(Rules(lambda *_: True)), Secrets())

    for address in ("127.0.0.1", "169.254.1.1", "::1"):
        assert isinstance(await made.ask("production", address, Endpoint("/", 80)), Silence)


# -- logs ------------------------------------------------------------------------------------------


@dataclass
class Api:
    answer: bytes | Failure
    asked: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)

    async def get_text(self, path: str, **query: str) -> bytes | Failure:
        self.asked.append((path, query))
        return self.answer


LINES = b"INFO ok\nERROR one\nERROR two, an ERROR\nerror three\nFATAL \xff\n"


async def count(answer: bytes | Failure, *texts: str) -> tuple[LineCount | Silence, Api]:
    api = Api(answer)
    query = LogQuery("shop", "pod-1", "app", at(0), texts or ("ERROR",))
    return await ApiLogs(api).count(query), api  # type: ignore[arg-type] # a partial fake


@pytest.mark.parametrize(
    ("texts", "lines"), [(("ERROR",), 2), (("ERROR", "FATAL"), 3), (("three",), 1), (("E.R",), 0)]
)
async def test_lines_are_counted(texts: tuple[str, ...], lines: int) -> None:
    found, api = await count(LINES, *texts)

    assert found == LineCount(lines)
    ((path, query),) = api.asked
    assert path == "/api/v1/namespaces/shop/pods/pod-1/log"
    assert query == {
        "container": "app",
        "sinceTime": "2027-01-15T08:00:00Z",
        "limitBytes": str(MOST_LOG_BYTES),
    }


async def test_a_log_that_is_longer_is_said_to_be() -> None:
    found, _ = await count(b"ERROR x\n" * (MOST_LOG_BYTES // 8))

    assert found == LineCount(MOST_LOG_BYTES // 8, is_whole=False)


@pytest.mark.parametrize(
    ("failure", "said"),
    [(REFUSAL, "may not be read"), (GONE, "pod is gone"), (OUTAGE, "cannot be read now")],
)
async def test_a_log_that_cannot_be_read(failure: Failure, said: str) -> None:
    found, _ = await count(failure)

    assert isinstance(found, Silence)
    assert said in found.message
    assert not found.is_final
