"""A server that speaks PostgreSQL's protocol as far as a reader needs, and forges one value."""

from __future__ import annotations

import base64
import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass

TEXT, INT4, JSON, UUID, INET, TEXT_ARRAY, TIMESTAMPTZ, RECORD = (
    25, 23, 114, 2950, 869, 1009, 1184, 2249,
)  # fmt: skip
_NO_TLS, _SSL_REQUEST = b"N", 80877103


@dataclass(frozen=True)
class Forged:
    """What the server sends for the column `name` of the only row."""

    value: bytes = b"v1"
    oid: int = TEXT
    column: bytes = b"name"
    iterations: int = 0
    """Of SCRAM-SHA-256; 0: no password is required."""


@contextlib.contextmanager
def forged(answer: Forged) -> Iterator[int]:
    """Serve on loopback during the block; gives the port."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    client = server.accept()[0]
                    threading.Thread(target=_serve, args=(client, answer), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield int(server.getsockname()[1])


def _serve(client: socket.socket, answer: Forged) -> None:
    with client, contextlib.suppress(OSError, EOFError):
        while struct.unpack("!I", _packet(client)[:4])[0] == _SSL_REQUEST:
            client.sendall(_NO_TLS)
        if answer.iterations:
            _ask_for_password(client, answer.iterations)
            return
        client.sendall(
            _message(b"R", struct.pack("!I", 0))
            + _message(b"S", b"client_encoding\0UTF8\0")
            + _message(b"S", b"server_version\x0016.0\0")
            + _message(b"K", struct.pack("!II", 1, 2))
            + _message(b"Z", b"I")
        )
        query = b""
        while (kind := _exactly(client, 1)) != b"X":
            body = _packet(client)
            query = body if kind == b"P" else query
            if kind == b"Q":
                client.sendall(_message(b"C", b"SET\0") + _message(b"Z", b"T"))
            if kind == b"S":
                client.sendall(_result(query, answer))


def _ask_for_password(client: socket.socket, iterations: int) -> None:
    client.sendall(_message(b"R", struct.pack("!I", 10) + b"SCRAM-SHA-256\0\0"))
    _exactly(client, 1)
    nonce = _packet(client).split(b"r=")[1]
    salt = base64.b64encode(b"a salt of a server")
    wanted = b"r=" + nonce + b"xyz,s=" + salt + b",i=%d" % iterations
    client.sendall(_message(b"R", struct.pack("!I", 11) + wanted))
    _exactly(client, 1)


def _result(query: bytes, answer: Forged) -> bytes:
    parsed = _message(b"1", b"") + _message(b"2", b"")
    if b"history" not in query:
        return parsed + _message(b"n", b"") + _message(b"C", b"SET\0") + _message(b"Z", b"T")
    column = answer.column + b"\0" + struct.pack("!IHIhiH", 0, 0, answer.oid, -1, -1, 1)
    row = struct.pack("!Hi", 1, len(answer.value)) + answer.value
    return (
        parsed
        + _message(b"T", struct.pack("!H", 1) + column)
        + _message(b"D", row)
        + _message(b"C", b"SELECT 1\0")
        + _message(b"Z", b"T")
    )


def _message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!I", len(body) + 4) + body


def _packet(client: socket.socket) -> bytes:
    (length,) = struct.unpack("!I", _exactly(client, 4))
    return _exactly(client, length - 4)


def _exactly(client: socket.socket, count: int) -> bytes:
    taken = b""
    while len(taken) < count:
        chunk = client.recv(count - len(taken))
        if not chunk:
            raise EOFError
        taken += chunk
    return taken
