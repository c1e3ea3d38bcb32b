"""A tenant's database server forges its answers: only the process that reads them suffers."""

from __future__ import annotations

import asyncio
import struct
import time

import pytest

from rollback_operator.adapters.http.addresses import Pinned
from rollback_operator.adapters.postgres.database import PostgresSchemas
from rollback_operator.adapters.postgres.down import PostgresChanges
from rollback_operator.api.checklist import DatabaseSpec
from rollback_operator.api.database.rolling_back import MigrationRecord
from rollback_operator.model.schema import Applied, Migration, SchemaHistory, UnknownSchema
from tests.unit.forged_postgres import (
    INET,
    INT4,
    JSON,
    RECORD,
    TEXT_ARRAY,
    TIMESTAMPTZ,
    UUID,
    Forged,
    forged,
)

SPEC = DatabaseSpec.model_validate(
    {"connectionSecretRef": {"name": "db"}, "history": {"query": "SELECT name FROM history"}}
)
MOST_CPU_SECONDS = 0.5
"""Of the event loop's thread: a start of a process, and no work of the server's choice."""


class Dsn:
    """One Secret, with one DSN."""

    def __init__(self, port: int) -> None:
        self.port = port

    async def read(self, namespace: str, name: str, key: str) -> str:
        return f"host=127.0.0.1 port={self.port} user=a password=b dbname=c sslmode=disable"


async def pin(host: str, port: int, namespace: str) -> Pinned:
    return Pinned(host, port, ("127.0.0.1",))


async def read(answer: Forged) -> SchemaHistory:
    with forged(answer) as port:
        before = time.thread_time()
        found = await PostgresSchemas(Dsn(port), pin).read("shop", SPEC)
        assert time.thread_time() - before < MOST_CPU_SECONDS
    return found


async def test_an_honest_answer_is_read() -> None:
    assert await read(Forged()) == Applied((Migration("v1"),))


@pytest.mark.parametrize(
    ("answer", "part"),
    [
        (
            Forged(struct.pack("!iiiii", 1, 0, 25, 2_000_000_000, 1), TEXT_ARRAY),
            "its answer",
        ),
        (Forged(iterations=2**31 - 1), "its answer takes more than"),
        (Forged(b"\xff\xfe"), "cannot be decoded (UnicodeDecodeError)"),
        (Forged(column=b"\xff\xfe"), "cannot be decoded"),
        (Forged(b"[" * 200_000, JSON), "cannot be decoded"),
        (Forged(b"{", JSON), "cannot be decoded"),
        (Forged(b"\1", UUID), "cannot be decoded"),
        (Forged(b"\1", INET), "cannot be decoded"),
        (Forged(struct.pack("!i", 2_000_000_000), RECORD), "cannot be decoded"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
async def test_a_forged_answer_is_no_history(answer: Forged, part: str) -> None:
    found = await read(answer)

    assert isinstance(found, UnknownSchema)
    assert part in found.reason


@pytest.mark.parametrize("oid", [INT4, TIMESTAMPTZ])
async def test_a_value_shorter_than_its_type_leads_to_a_name_at_most(oid: int) -> None:
    """psycopg may read past it: into the memory of a process that holds only this tenant's DSN."""
    assert isinstance(await read(Forged(b"\1", oid)), Applied | UnknownSchema)


async def test_of_a_namespace_one_reads_at_a_time_and_another_namespace_is_served() -> None:
    with forged(Forged(iterations=2**31 - 1)) as slow, forged(Forged()) as port:
        schemas = PostgresSchemas(Dsn(slow), pin)
        waiting = [asyncio.create_task(schemas.read("tenant", SPEC)) for _ in range(3)]
        await asyncio.sleep(0)
        schemas._secrets = Dsn(port)

        assert isinstance(await schemas.read("shop", SPEC), Applied)

        assert not all(task.done() for task in waiting)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


async def test_two_tenants_with_slow_servers_leave_a_process_to_the_others() -> None:
    ask = {"one": "SELECT 1"}
    with forged(Forged(iterations=2**31 - 1)) as slow, forged(Forged()) as port:
        schemas = PostgresSchemas(Dsn(slow), pin)
        tenants = ("tenant-a", "tenant-b")
        await asyncio.gather(*(schemas.read(tenant, SPEC) for tenant in tenants))
        again = [
            asyncio.create_task(call)
            for tenant in tenants
            for call in (schemas.ask(tenant, SPEC, ask), schemas.read(tenant, SPEC))
        ]
        await asyncio.sleep(0.1)
        schemas._secrets = Dsn(port)

        assert isinstance(await schemas.read("shop", SPEC), Applied)

        assert not any(task.done() for task in again)
        for task in again:
            task.cancel()
        await asyncio.gather(*again, return_exceptions=True)


# -- statements of migrations ----------------------------------------------------------------------

CHANGES = DatabaseSpec.model_validate(
    {
        "connectionSecretRef": {"name": "reader"},
        "onNewerSchema": "RollbackMigrations",
        "rollbackMigrations": {
            "sql": {"migrationsSecretRef": {"name": "owner", "key": "dsn"}},
            "backup": {"required": False},
            "migrations": [{"name": "002", "sql": "DROP TABLE seats"}],
        },
    }
)
RECORD = MigrationRecord(names=["002"], applied=2, order="MigrateFirst")


class TwoRoles:
    """A role of each Secret, at a port where nobody listens."""

    async def read(self, namespace: str, name: str, key: str) -> str:
        return f"host=127.0.0.1 port=1 user={name} password=b dbname=c sslmode=disable"


@pytest.mark.parametrize("is_tried", [True, False], ids=["tried", "executed"])
async def test_statements_of_one_namespace_run_one_at_a_time_and_delay_no_other(
    is_tried: bool,
) -> None:
    changes = PostgresChanges(TwoRoles(), pin)
    call = changes.measure if is_tried else changes.roll_back
    async with changes._gate.turn("shop"):
        waits = asyncio.create_task(call("shop", CHANGES, RECORD))
        for _ in range(2):
            await call("other", CHANGES, RECORD)
        assert not waits.done()
    await waits
