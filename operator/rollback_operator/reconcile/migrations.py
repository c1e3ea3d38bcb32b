"""Remember which migrations were applied when a revision was found good: later that is compared."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from rollback_operator.api.v1alpha1 import Health, LedgerEntry, RollbackPolicy
from rollback_operator.ports.application import Schemas
from rollback_operator.releases.ledger import health_of
from rollback_operator.remedies import schema
from rollback_operator.remedies.schema import Applied

MIGRATIONS_SECONDS = 2.0
REST_SECONDS = 30.0
"""A database that did not answer is not asked again before this."""
_TRUSTED = (Health.GOOD, Health.ASSUMED)


@dataclass
class Rememberer:
    """Puts the applied migrations into the ledger, once for a revision that is trusted."""

    schemas: Schemas
    clock: Callable[[], datetime]
    rests: dict[tuple[str, str], datetime] = field(default_factory=dict)

    async def remember(
        self, policy: RollbackPolicy, ledger: Sequence[LedgerEntry], release: str
    ) -> list[LedgerEntry]:
        """Give the ledger with the migrations of the running release, if they are to be read."""
        now, database = self.clock(), policy.spec.database
        before = health_of(policy.status.revisions, release)
        wanted = any(
            one.release == release
            and one.health in _TRUSTED
            and (one.migrations is None or one.health is not before)
            for one in ledger
        )
        if database is None or not wanted or now < self.rests.get(policy.key, now):
            return list(ledger)
        self.rests = {key: due for key, due in self.rests.items() if now < due}
        self.rests[policy.key] = now + timedelta(seconds=REST_SECONDS)
        try:
            async with asyncio.timeout(MIGRATIONS_SECONDS):
                found = await self.schemas.read(policy.metadata.namespace, database)
        except TimeoutError:
            return list(ledger)
        if not isinstance(found, Applied):
            return list(ledger)
        self.rests.pop(policy.key, None)
        record = schema.recorded(found, now)
        return [
            one.model_copy(update={"migrations": record}) if one.release == release else one
            for one in ledger
        ]
