"""Reads the flags that policies' remedies name, and sets one for a rollback.

Each call looks before it does: replayed after a crash, it does no harm.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from rollback_operator.api.flags import Flag
from rollback_operator.api.reasons import Reason
from rollback_operator.api.v1alpha1 import Outcome, Rollback, RollbackPolicy
from rollback_operator.core import flags
from rollback_operator.core.model import FlagState, Missing
from rollback_operator.core.progress import Act, Done, End
from rollback_operator.ports import Failure, FailureKind, Flags

KNOWN_SECONDS = 5.0
"""How long what was read of a flag will do for a decision: what is set is looked at anew."""

Found = FlagState | Missing


@dataclass
class Switch:
    """Knows how flags stand, and sets them."""

    flags: Flags
    clock: Callable[[], datetime]
    known: dict[tuple[str, Flag], tuple[datetime, Found]] = field(default_factory=dict)
    """Until when it is known how a flag stands, and how, by namespace."""

    async def states(self, policy: RollbackPolicy) -> Mapping[tuple[str, str], Found]:
        """Tell how the flags of a policy's remedies stand; asked only while it judges a release."""
        namespace = policy.metadata.namespace
        return {
            one.key: await self._state(namespace, one) for one in flags.wanted(policy.spec.remedies)
        }

    async def _state(self, namespace: str, flag: Flag) -> Found:
        now = self.clock()
        until, known = self.known.get((namespace, flag), (now, None))
        if known is not None and now < until:
            return known
        self.known = {key: one for key, one in self.known.items() if now < one[0]}
        found = await self.flags.read(namespace, flag)
        state = Missing(Reason.READ_FAILED, found.message) if isinstance(found, Failure) else found
        self.known[namespace, flag] = now + timedelta(seconds=KNOWN_SECONDS), state
        return state

    async def set(self, rollback: Rollback) -> Done | End | Failure:
        """Set the flag of a rollback whose step has begun."""
        flag, plan = rollback.spec.remedy.flag, rollback.spec.flag
        if flag is None or plan is None:
            return _refused("the Rollback does not say how the flag was found")
        found = await self._look(rollback, flag)
        if isinstance(found, Failure):
            return found
        following = flags.look(rollback, found)
        if not isinstance(following, Act):
            return following
        self.known.pop((rollback.metadata.namespace, flag), None)
        done = await self.flags.set(rollback.metadata.namespace, flag, plan)
        if isinstance(done, Failure) and done.kind is FailureKind.GONE:
            return Failure(FailureKind.CONFLICT, done.message)  # the next look says what that means
        if isinstance(done, Failure):
            return _refused(done.message) if done.kind is FailureKind.REJECTED else done
        return Done(f"{flags.named(flag)} was set; it was {plan.old_value[:64]!r}")

    async def reverted(self, rollback: Rollback) -> End | None:
        """Tell that a flag does not stay as a rollback has set it; None: nothing shows that."""
        flag = rollback.spec.remedy.flag
        if flag is None or not flags.is_set(rollback):
            return None
        found = await self._look(rollback, flag)
        return None if isinstance(found, Failure) else flags.reverted(rollback, found)

    async def _look(self, rollback: Rollback, flag: Flag) -> FlagState | Failure | None:
        """Read a flag; None: there is no such ConfigMap."""
        found = await self.flags.read(rollback.metadata.namespace, flag)
        is_gone = isinstance(found, Failure) and found.kind is FailureKind.GONE
        return None if is_gone else found


def _refused(said: str) -> End:
    return End(Outcome.FAILED, Reason.STEP_REFUSED, said)
