"""Asks beforehand for the rights that only some policies take, seldom."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from rollback_operator.api.v1alpha1 import RollbackPolicy
from rollback_operator.model import rights
from rollback_operator.model.rights import Right
from rollback_operator.ports.cluster import Rights, Surroundings
from rollback_operator.ports.failure import Failure
from rollback_operator.rollback import approval

GIVEN_SECONDS = 300.0
"""How long it is known that a right is there."""
DENIED_SECONDS = 60.0
"""How long it is known that it is not: somebody may be giving it."""

Place = tuple[str, Right]


@dataclass
class Decisions:
    """Knows for a while whether people's decisions count here, for all policies that may ask."""

    surroundings: Surroundings
    clock: Callable[[], datetime]
    until: datetime | None = None
    known: str = ""

    async def unprotected(self, policy: RollbackPolicy) -> str:
        """Say why nobody's decision would count; empty: it would, nobody is asked, or not known."""
        if not approval.may_ask(policy):
            return ""
        now = self.clock()
        if self.until is None or now >= self.until:
            found = await self.surroundings.approvals_unprotected()
            is_known = not isinstance(found, Failure)
            self.known = found if isinstance(found, str) else self.known
            seconds = GIVEN_SECONDS if is_known and not self.known else DENIED_SECONDS
            self.until = now + timedelta(seconds=seconds)
        return self.known

    def next_look(self, policy: RollbackPolicy) -> float | None:
        """Give the seconds until that is asked again where it is not as it should be."""
        if self.until is None or not self.known or not approval.may_ask(policy):
            return None
        return max(0.05, (self.until - self.clock()).total_seconds())


@dataclass
class Permits:
    """Knows for a while which rights the operator has, by namespace."""

    rights: Rights
    clock: Callable[[], datetime]
    known: dict[Place, tuple[datetime, bool]] = field(default_factory=dict)
    """Until when it is known, and what."""

    async def missing(self, policy: RollbackPolicy) -> tuple[str, ...]:
        """Say which rights are missing that a policy takes; nothing of what cannot be seen now."""
        namespace = policy.metadata.namespace
        wanted = rights.wanted(policy)
        return tuple(
            [said for right, said in wanted.items() if not await self._given(namespace, right)]
        )

    def next_look(self, policy: RollbackPolicy) -> float | None:
        """Give the seconds until a policy's rights are asked for again; None: it takes none."""
        places = [(policy.metadata.namespace, one) for one in rights.wanted(policy)]
        due = [self.known[one][0] for one in places if one in self.known]
        return max(0.05, (min(due) - self.clock()).total_seconds()) if due else None

    async def _given(self, namespace: str, right: Right) -> bool:
        now, place = self.clock(), (namespace, right)
        until, known = self.known.get(place, (now, True))
        if now < until:
            return known
        found = await self.rights.may(namespace, right)
        is_given = known if isinstance(found, Failure) else found
        seconds = GIVEN_SECONDS if is_given and not isinstance(found, Failure) else DENIED_SECONDS
        self.known = {key: one for key, one in self.known.items() if now < one[0]}
        self.known[place] = now + timedelta(seconds=seconds), is_given
        return is_given
