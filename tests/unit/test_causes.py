"""Errors of libraries, as real servers provoke them, described without their wrapping."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Iterator

import aiohttp
import pytest
import requests

from rollback_operator.adapters.http.causes import cause


@pytest.fixture
def port() -> Iterator[int]:
    """Listen, and answer nobody."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def by_requests(url: str) -> str:
    with pytest.raises(requests.RequestException) as found:
        requests.get(url, timeout=0.2)
    return cause(found.value)


def by_aiohttp(url: str) -> str:
    async def ask() -> None:
        timeout = aiohttp.ClientTimeout(0.2)
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url):
            pass

    with pytest.raises((aiohttp.ClientError, OSError)) as found:
        asyncio.run(ask())
    return cause(found.value)


BOTH = pytest.mark.parametrize("ask", [by_requests, by_aiohttp])


@BOTH
def test_nobody_listens(ask: Callable[[str], str]) -> None:
    assert ask(f"http://127.0.0.1:{free_port()}/") == "connection refused"


@BOTH
def test_nobody_answers(ask: Callable[[str], str], port: int) -> None:
    assert ask(f"http://127.0.0.1:{port}/") == "no answer in time"


@BOTH
def test_no_such_host(ask: Callable[[str], str]) -> None:
    assert ask("http://nowhere.invalid/") == "its host name cannot be resolved"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ssl.SSLError(1, "x"), "the TLS handshake failed: no reason was given"),
        (OSError("the file holds no token"), "the file holds no token"),
        (requests.ReadTimeout("no end within 8 s"), "no answer in time"),
        (requests.ConnectTimeout(), "no answer in time"),
        (OSError(113, "No route to host"), "no route to host"),
        (ConnectionResetError(104, "x"), "the connection was closed without an answer"),
        (aiohttp.ServerDisconnectedError(), "the connection was closed without an answer"),
        (aiohttp.InvalidURL("http://["), "the address cannot be used"),
        (RuntimeError("<PlainPool object at 0x7f>"), "the request failed (RuntimeError)"),
    ],
)
def test_what_is_said(error: Exception, said: str) -> None:
    assert cause(error) == said


def test_errors_that_wrap_each_other_end() -> None:
    first, second = RuntimeError("a"), RuntimeError("b")
    first.__context__, second.__context__ = second, first
    assert cause(first) == "the request failed (RuntimeError)"
