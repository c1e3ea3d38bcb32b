"""What was applied to the database when a revision was found good is put into the ledger, once."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

import pytest

from rollback_operator.api.checklist import DatabaseSpec
from rollback_operator.api.v1alpha1 import Health, LedgerEntry, RollbackPolicy, RollbackPolicyStatus
from rollback_operator.model.schema import Applied, Migration, UnknownSchema
from rollback_operator.reconcile.details import REST_SECONDS, MigrationRecorder
from tests.builders import at, make_entry, make_policy
from tests.fakes.application import FakeSchemas

DOWN = UnknownSchema("refused")
FOUND = Applied((Migration("001"), Migration("002")))
DATABASE = DatabaseSpec.model_validate({"connectionSecretRef": {"name": "ticket-db"}})


@dataclass
class World:
    """One policy, whose ledger is as it was remembered last."""

    policy: RollbackPolicy = field(default_factory=lambda: make_policy(database=DATABASE))
    seconds: float = 0.0

    def __post_init__(self) -> None:
        self.schemas = FakeSchemas(FOUND)
        self.rememberer = MigrationRecorder(self.schemas, self.now)

    def now(self) -> datetime:
        return at(self.seconds)

    async def remember(self, *ledger: LedgerEntry) -> list[LedgerEntry]:
        found = await self.rememberer.remember(self.policy, ledger, "release-v1")
        status = RollbackPolicyStatus(revisions=found)
        self.policy = self.policy.model_copy(update={"status": status})
        return found


@pytest.mark.parametrize(
    ("health", "reads"),
    [(Health.GOOD, 1), (Health.ASSUMED, 1), (Health.UNKNOWN, 0), (Health.BAD, 0)],
)
async def test_only_what_is_trusted_is_remembered_and_once(health: Health, reads: int) -> None:
    world = World()

    found = await world.remember(make_entry("v1", health), make_entry("v2"))
    again = await world.remember(*found)

    assert world.schemas.reads == reads
    assert again == found
    record = found[0].migrations
    assert (record.names if record else None) == (["001", "002"] if reads else None)
    assert found[1].migrations is None


async def test_what_becomes_good_is_looked_at_anew() -> None:
    world = World()
    (assumed,) = await world.remember(make_entry("v1", Health.ASSUMED))
    world.schemas.found = Applied((Migration("003"),))

    (good,) = await world.remember(assumed.model_copy(update={"health": Health.GOOD}))

    assert good.migrations is not None
    assert good.migrations.names == ["003"]


async def test_a_database_that_does_not_answer_is_left_alone_for_a_while() -> None:
    world = World()
    world.schemas.found = DOWN
    for _ in range(3):
        (entry,) = await world.remember(make_entry("v1"))
        assert entry.migrations is None
    assert world.schemas.reads == 1

    world.seconds += REST_SECONDS
    world.schemas.found = FOUND
    (entry,) = await world.remember(entry)
    assert entry.migrations is not None


async def test_without_a_database_nobody_is_asked() -> None:
    world = World(make_policy())

    await world.remember(make_entry("v1"))

    assert world.schemas.reads == 0
