"""Reads applied migrations from PostgreSQL: a short-lived process with a read-only transaction.

The DSN comes from a Secret: only listed keys are accepted, its host is checked and pinned, and no
part of it reaches a message. A read-only transaction prevents accidents, not attacks: the role of
the DSN should have SELECT alone. What the server answers is processed by `reader`, outside this
process.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict
from pydantic import BaseModel, ValidationError

from rollback_operator.adapters.fairness.gates import Gate
from rollback_operator.adapters.http.addresses import Pinned
from rollback_operator.adapters.postgres import reader
from rollback_operator.adapters.postgres.reader import CONNECT_SECONDS
from rollback_operator.adapters.postgres.relay import HOST, Relay
from rollback_operator.api.checklist import DatabaseSpec, HistoryPreset, HistorySpec
from rollback_operator.api.reasons import Reason
from rollback_operator.api.shape import MOST_PORT
from rollback_operator.api.user_text.json_text import whole
from rollback_operator.model.samples import Missing
from rollback_operator.ports.cluster import Secrets
from rollback_operator.ports.failure import Failure
from rollback_operator.remedies.schema import Applied, Migration, ordered

MOST_SENT_BYTES = 4 * 1024 * 1024
"""Bytes that the server may send on a connection."""
MOST_READER_BYTES = 8 * 1024 * 1024
"""Bytes of the reader's answer: the server's, with JSON's escapes."""
AT_ONCE, EACH = 2, 1
"""Reading processes in total, and at once per namespace."""
DEFAULT_PORT = 5432
KEYS = frozenset(
    {
        "host",
        "port",
        "dbname",
        "user",
        "password",
        "sslmode",
        "sslrootcert",
        "application_name",
        "channel_binding",
        "connect_timeout",
    }
)
"""Allowed keys of a DSN; others name files, services or options of the operator's machine."""
_FORM = (
    "set a single host, and of the rest only port, dbname, user, password, sslmode, "
    "sslrootcert=system and channel_binding"
)
_READER = (sys.executable, "-m", reader.__name__)
_ENVIRONMENT = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "LANG")
"""What the reader inherits: none of the operator's credentials, and none of libpq's variables."""

Pin = Callable[[str, int, str], Awaitable[Pinned | Failure]]


class _ParsedAnswer(BaseModel, extra="forbid"):
    """What the reader answers: exactly one of the three."""

    migrations: list[tuple[str, datetime | None]] | None = None
    missing: str = ""
    error: str = ""


class PostgresSchemas:
    """The Schemas port on a real PostgreSQL."""

    def __init__(self, secrets: Secrets, pin: Pin) -> None:
        self._secrets = secrets
        self._pin = pin
        self._gate = Gate(AT_ONCE, EACH)

    async def read(self, namespace: str, database: DatabaseSpec) -> Applied | Missing:
        """Read the applied migrations."""
        ref = database.connection_secret_ref
        dsn = await self._secrets.read(namespace, ref.name, ref.key)
        if isinstance(dsn, Failure):
            return _unknown(dsn.message)
        parameters = parameters_of(dsn)
        if parameters is None:
            return _unknown(f"key {ref.key} of Secret {ref.name} is not a valid DSN: {_FORM}")
        port = int(parameters.get("port") or DEFAULT_PORT)
        pinned = await self._pin(parameters["host"], port, namespace)
        if isinstance(pinned, Failure):
            return _unknown(pinned.message)
        async with self._gate.turn(namespace):
            return await _read(parameters, pinned, database.history)


async def _read(parameters: dict[str, Any], pinned: Pinned, spec: HistorySpec) -> Applied | Missing:
    history = reader.HistorySource(
        query=spec.query, preset=spec.preset or HistoryPreset.AUTO, schema=spec.schema_name or ""
    )
    relay = Relay(MOST_SENT_BYTES, CONNECT_SECONDS)
    try:
        async with relay.open(pinned.ips, pinned.called_port):
            connection = relayed(parameters, pinned, relay)
            answer = await _answer_of(reader.ReadRequest(parameters=connection, history=history))
    except OSError as error:
        return _unknown(f"{pinned}: {type(error).__name__}")
    if answer.migrations is not None:
        return ordered([Migration(name, applied) for name, applied in answer.migrations])
    if answer.missing:
        return _unknown(answer.missing)
    return _unknown(f"{pinned}: {fault_of(relay) or answer.error}")


def parameters_of(dsn: str) -> dict[str, Any] | None:
    """Parse a DSN; None: it is malformed or has a key that is not allowed."""
    try:
        parameters = {key: value for key, value in conninfo_to_dict(dsn.strip()).items() if value}
    except psycopg.Error:
        return None  # its text quotes the DSN
    host, port = str(parameters.get("host") or ""), str(parameters.get("port") or DEFAULT_PORT)
    is_plain = bool(host) and not {",", "/"} & set(host) and whole(port, MOST_PORT)
    has_own_files = parameters.get("sslrootcert", "system") != "system"
    if not is_plain or has_own_files or not parameters.keys() <= KEYS:
        return None
    return parameters


NO_FILE = "/dev/null/none"
"""A path that cannot exist; for /dev/null itself libpq prints a warning."""


def relayed(parameters: dict[str, Any], pinned: Pinned, relay: Relay) -> dict[str, Any]:
    """Connect to the pinned addresses by the relay, under the name of the certificate."""
    count = len(pinned.ips)
    return parameters | {
        "host": ",".join([pinned.host] * count),
        "hostaddr": ",".join([HOST] * count),
        "port": ",".join(map(str, relay.ports)),
        "connect_timeout": CONNECT_SECONDS,
        "passfile": NO_FILE,
        "gssencmode": "disable",
        "application_name": "rollback-operator",
    }


async def _answer_of(request: reader.ReadRequest) -> _ParsedAnswer:
    """Take the reader's answer."""
    answer = await answer_of(_READER, request)
    if answer is None:
        return _ParsedAnswer(error="its answer is too large: select names and times only")
    return _parsed(*answer)


async def answer_of(command: Sequence[str], request: Mapping[str, Any]) -> tuple[bytes, int] | None:
    """Start a process, give it the request on stdin, and take its answer and exit status.

    None: the answer is too large. The password is in the request only: command lines and
    environments are public on a machine.
    """
    inherited = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=inherited,
        limit=MOST_READER_BYTES,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(json.dumps(request).encode())
        process.stdin.close()
        try:
            text = await process.stdout.readuntil(b"\n")
        except asyncio.IncompleteReadError as error:
            text = error.partial
        except asyncio.LimitOverrunError:
            return None
        return text, await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def _parsed(text: bytes, status: int) -> _ParsedAnswer:
    """Parse the reader's answer; an exit without it is the server's doing."""
    try:
        answer = _ParsedAnswer.model_validate_json(text)
    except ValidationError:
        answer = _ParsedAnswer()
    if answer.migrations is not None or answer.missing or answer.error:
        return answer
    ended = f"exit status {status}"
    if status < 0:
        ended = signal.Signals(-status).name
    what = {
        "SIGXCPU": f"takes more than {reader.CPU_SECONDS} s of CPU time",
        "SIGALRM": f"takes more than {reader.READER_SECONDS} s",
    }.get(ended, f"ended the process that reads it ({ended})")
    return _ParsedAnswer(error=f"its answer {what}: check the server and history.query")


def fault_of(relay: Relay) -> str:
    """Describe a failure of the relay; empty: there was none."""
    if relay.is_over:
        most = MOST_SENT_BYTES >> 20
        return f"it sends more than {most} MiB: select names and times only in history.query"
    match relay.error:
        case None:
            return ""
        case TimeoutError():
            return f"it did not answer within {CONNECT_SECONDS} s"
        case ConnectionRefusedError():
            return "the connection was refused"
        case error:
            return type(error).__name__


def _unknown(message: str) -> Missing:
    return Missing(Reason.SCHEMA_UNKNOWN, message)
