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

from rollback_operator.adapters.fairness.gates import PacedGate
from rollback_operator.adapters.http.addresses import Pinned
from rollback_operator.adapters.postgres import questioning, reader
from rollback_operator.adapters.postgres.reader import CONNECT_SECONDS
from rollback_operator.adapters.postgres.relay import HOST, Relay
from rollback_operator.api.checklist import DatabaseSpec, HistoryPreset
from rollback_operator.api.reasons import Reason
from rollback_operator.api.shape import MOST_PORT
from rollback_operator.api.user_text.json_text import whole
from rollback_operator.model.samples import Missing
from rollback_operator.model.schema import (
    Applied,
    DirtyReason,
    DirtySchema,
    HistoryForm,
    Migration,
    SchemaHistory,
    UnknownSchema,
)
from rollback_operator.ports.cluster import Secrets
from rollback_operator.ports.failure import Failure
from rollback_operator.remedies.database.schema import ordered
from rollback_operator.rollback.integrity import Answers, QueryFailure, QueryRows

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
_FOREIGN = "the reader answered another question"
_READER = (sys.executable, "-m", reader.__name__)
_ENVIRONMENT = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "LANG")
"""What the reader inherits: none of the operator's credentials, and none of libpq's variables."""

Pin = Callable[[str, int, str], Awaitable[Pinned | Failure]]


class _ParsedRows(BaseModel, extra="forbid"):
    """What the reader answers to one question."""

    rows: list[str] = []
    error: str = ""


class _ParsedAnswer(BaseModel, extra="forbid"):
    """What the reader answers: either migrations, dirty, answers, missing or error."""

    migrations: list[tuple[str, datetime | None]] | None = None
    form: HistoryForm = HistoryForm.LIST
    tool: str = ""
    dirty: DirtyReason | None = None
    names: tuple[str, ...] = ()
    answers: dict[str, _ParsedRows] | None = None
    missing: str = ""
    error: str = ""


class PostgresSchemas:
    """The Schemas port on a real PostgreSQL."""

    def __init__(self, secrets: Secrets, pin: Pin) -> None:
        self._secrets = secrets
        self._pin = pin
        self._gate = PacedGate(AT_ONCE, EACH)

    async def read(self, namespace: str, database: DatabaseSpec) -> SchemaHistory:
        """Read the migration history."""
        spec = database.history
        history = reader.HistorySource(
            query=spec.query,
            preset=spec.preset or HistoryPreset.AUTO,
            schema=spec.schema_name or "",
            table=spec.table or "",
        )
        answer = await self._answer(namespace, database, {"history": history})
        return UnknownSchema(answer) if isinstance(answer, str) else _history_of(answer)

    async def ask(
        self, namespace: str, database: DatabaseSpec, questions: Mapping[str, str]
    ) -> Answers | Missing:
        """Answer SELECT statements."""
        answer = await self._answer(namespace, database, {"questions": dict(questions)})
        if isinstance(answer, str) or answer.answers is None:
            text = answer if isinstance(answer, str) else _FOREIGN
            return Missing(Reason.SCHEMA_UNKNOWN, text)
        return {
            name: QueryFailure(given.error)
            if given.error
            else QueryRows(tuple(given.rows[: questioning.MOST_ROWS]), _is_whole(given.rows))
            for name, given in answer.answers.items()
            if name in questions
        }

    async def _answer(
        self, namespace: str, database: DatabaseSpec, asked: reader.ReaderQuestion
    ) -> _ParsedAnswer | str:
        ref = database.connection_secret_ref
        dsn = await self._secrets.read(namespace, ref.name, ref.key)
        if isinstance(dsn, Failure):
            return dsn.message
        parameters = parameters_of(dsn)
        if parameters is None:
            return f"key {ref.key} of Secret {ref.name} is not a valid DSN: {_FORM}"
        port = int(parameters.get("port") or DEFAULT_PORT)
        pinned = await self._pin(parameters["host"], port, namespace)
        if isinstance(pinned, Failure):
            return pinned.message
        async with self._gate.turn(namespace):
            return await _read(parameters, pinned, asked)


def _is_whole(rows: list[str]) -> bool:
    return len(rows) <= questioning.MOST_ROWS


async def _read(
    parameters: dict[str, Any], pinned: Pinned, asked: reader.ReaderQuestion
) -> _ParsedAnswer | str:
    """Ask the reader; a text says why there is no answer."""
    relay = Relay(MOST_SENT_BYTES, CONNECT_SECONDS)
    try:
        async with relay.open(pinned.ips, pinned.called_port):
            connection = relayed(parameters, pinned, relay)
            answer = await _answer_of({"parameters": connection, **asked})
    except OSError as error:
        return f"{pinned}: {system_fault(error)}"
    if answer.error:
        return f"{pinned}: {fault_of(relay) or answer.error}"
    return answer


def _history_of(answer: _ParsedAnswer) -> SchemaHistory:
    if answer.dirty:
        return dirty_schema(answer.dirty, answer.names, answer.tool)
    if answer.migrations is None:
        return UnknownSchema(answer.missing or _FOREIGN)
    migrations = [Migration(name, applied) for name, applied in answer.migrations]
    if not answer.tool:
        return ordered(migrations)
    return Applied(tuple(migrations), answer.form, answer.tool)


def dirty_schema(reason: DirtyReason, names: Sequence[str], tool: str) -> DirtySchema:
    """Describe the marks that a process has read."""
    return DirtySchema(reason, _dirty_words(reason, names, tool), tuple(names))


def _dirty_words(reason: DirtyReason, names: Sequence[str], tool: str) -> str:
    """Describe what the tool has marked, and what ends it."""
    which = ", ".join(names) or "a migration"
    by = tool or "the migration tool"
    match reason:
        case DirtyReason.HALF_APPLIED:
            return f"{by} marks {which} as begun and not ended: complete or revert it by hand"
        case DirtyReason.FAILED:
            return f"{by} marks {which} as failed: repair the history with the tool"
        case DirtyReason.LOCKED:
            return f"the history is locked: {by} migrates now, or ended and left its lock"


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
        return _ParsedAnswer(error="its answer is too large: select less")
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
    is_answered = answer.migrations is not None or answer.answers is not None
    if is_answered or answer.dirty or answer.missing or answer.error:
        return answer
    ended = f"exit status {status}"
    if status < 0:
        ended = signal.Signals(-status).name
    what = {
        "SIGXCPU": f"takes more than {reader.CPU_SECONDS} s of CPU time",
        "SIGALRM": f"takes more than {reader.READER_SECONDS} s",
    }.get(ended, f"ended the process that reads it ({ended})")
    return _ParsedAnswer(error=f"its answer {what}: check the server and the queries")


def system_fault(error: OSError) -> str:
    """Describe an error of the system in its own words, without the address."""
    return os.strerror(error.errno).lower() if error.errno else type(error).__name__


def fault_of(relay: Relay) -> str:
    """Describe a failure of the relay; empty: there was none.

    Of several addresses only some may be out of reach: once the server answers, its answer counts.
    """
    if relay.is_over:
        most = MOST_SENT_BYTES >> 20
        return f"it sends more than {most} MiB: select less in its queries"
    match None if relay.is_connected else relay.error:
        case None:
            return ""
        case TimeoutError():
            return f"it did not answer within {CONNECT_SECONDS} s"
        case ConnectionRefusedError():
            return "the connection was refused"
        case error:
            return system_fault(error)
