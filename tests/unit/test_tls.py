"""Handshakes with tenants' servers cost the event loop little, whatever group a server chooses."""

from __future__ import annotations

import ast
import base64
import contextlib
import secrets
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rollback_operator.adapters.http.addresses import Pinned, PinnedUrl
from rollback_operator.adapters.http.outgoing import HttpResponse, Request, send
from rollback_operator.adapters.http.tls import unverified, verified
from rollback_operator.ports.failure import Failure
from tests.syntax import parsed

GROUP_BITS = 10_000
MOST_CPU_SECONDS = 0.1
HELLO = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate, and a group so large that a key exchange takes long."""
    made = tmp_path_factory.mktemp("tls")
    subprocess.run(
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=a "
        f"-keyout {made / 'key.pem'} -out {made / 'cert.pem'}".split(),
        check=True,
        capture_output=True,
    )
    modulus = secrets.randbits(GROUP_BITS) | 1 << (GROUP_BITS - 1) | 1  # no client looks further
    body = _integer(modulus) + _integer(2)
    text = base64.encodebytes(b"\x30" + _length(len(body)) + body).decode()
    pem = f"-----BEGIN DH PARAMETERS-----\n{text}-----END DH PARAMETERS-----\n"
    (made / "group.pem").write_text(pem)
    return made


def _integer(value: int) -> bytes:
    raw = value.to_bytes(value.bit_length() // 8 + 1, "big")
    return b"\x02" + _length(len(raw)) + raw


def _length(count: int) -> bytes:
    if count < 128:
        return bytes([count])
    raw = count.to_bytes((count.bit_length() + 7) // 8, "big")
    return bytes([0x80 | len(raw)]) + raw


@contextlib.contextmanager
def serving(folder: Path, ciphers: str) -> Iterator[int]:
    """Serve TLS 1.2 with these ciphers only; gives the port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    context.load_dh_params(str(folder / "group.pem"))
    context.set_ciphers(f"{ciphers}:@SECLEVEL=0")
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    client = server.accept()[0]
                    threading.Thread(target=answer, args=(client,), daemon=True).start()

        def answer(client: socket.socket) -> None:
            with contextlib.suppress(OSError), context.wrap_socket(client, server_side=True) as own:
                own.recv(1000)
                own.sendall(HELLO)

        threading.Thread(target=accept, daemon=True).start()
        yield int(server.getsockname()[1])


async def ask(port: int) -> HttpResponse | Failure:
    at = Pinned("127.0.0.1", port, ("127.0.0.1",))
    return await send(Request(PinnedUrl("https", at, "/"), seconds=30), unverified())


async def test_a_server_with_elliptic_curves_is_called(folder: Path) -> None:
    with serving(folder, "ECDHE-RSA-AES256-GCM-SHA384") as port:
        answer = await ask(port)

    assert isinstance(answer, HttpResponse), answer
    assert answer.status == 200


async def test_a_server_that_chooses_a_large_group_is_refused_at_no_cost(folder: Path) -> None:
    with serving(folder, "DHE-RSA-AES256-GCM-SHA384") as port:
        await ask(port)  # the first call imports
        before = time.thread_time()
        answer = await ask(port)
        spent = time.thread_time() - before

    assert isinstance(answer, Failure)
    assert spent < MOST_CPU_SECONDS


@pytest.mark.parametrize("context", [verified(), unverified()], ids=["verified", "unverified"])
def test_no_group_is_a_servers_choice(context: ssl.SSLContext) -> None:
    exchanges = {cipher["name"].partition("-")[0] for cipher in context.get_ciphers()}
    assert {name for name in exchanges if not name.startswith("TLS_")} == {"ECDHE"}


def test_whatever_calls_a_tenants_server_takes_its_context_from_here() -> None:
    import rollback_operator

    folder = Path(rollback_operator.__file__).parent / "adapters"
    own = {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*.py")
        if "SSLContext(" in path.read_text() or "create_default_context(" in path.read_text()
    }
    assert own == {"http/tls.py"}
    connectors = [
        {keyword.arg for keyword in call.keywords}
        for path in folder.rglob("*.py")
        for call in ast.walk(parsed(path.read_text()))
        if isinstance(call, ast.Call)
        and ast.unparse(call.func) in ("aiohttp.TCPConnector", "CountedConnector")
    ]
    assert connectors
    assert all("ssl" in given for given in connectors)
