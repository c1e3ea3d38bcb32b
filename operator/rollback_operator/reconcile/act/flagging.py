"""Reads the flags that policies' remedies name, and sets one for a rollback.

Each call looks before it does: replayed after a crash, it does no harm.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from rollback_operator.api.reasons import Reason
from rollback_operator.api.remedy import Flag
from rollback_operator.api.v1alpha1 import Mode, Outcome, Rollback, RollbackPolicy
from rollback_operator.model.samples import Missing
from rollback_operator.model.workload import Deployment, FlagState
from rollback_operator.ports.cluster import Flags
from rollback_operator.ports.failure import Failure, FailureKind
from rollback_operator.remedies import flags
from rollback_operator.remedies.progress import Act, Done, RollbackEnd

FLAG_KNOWN_SECONDS = 5.0
"""How long what was read of a flag will do for a decision: what is set is looked at anew."""
FORESEEN_SECONDS = 300.0
"""How long it is known that a flag could be set: that is only told beforehand."""
FLAG_RETRY_SECONDS = 60.0
"""How long it is known that it could not: somebody may be putting it right."""
FORGOTTEN_SECONDS = 3600.0

Found = FlagState | Missing


Place = tuple[str, Flag, Mode]


def _place(policy: RollbackPolicy, flag: Flag) -> Place:
    return policy.metadata.namespace, flag, policy.spec.mode


@dataclass
class Switch:
    """Knows how flags stand, and sets them."""

    flags: Flags
    clock: Callable[[], datetime]
    known: dict[tuple[str, Flag], tuple[datetime, Found]] = field(default_factory=dict)
    """Until when it is known how a flag stands, and how, by namespace."""
    foreseen: dict[Place, tuple[datetime, Found | None]] = field(default_factory=dict)
    """Until when it is known whether a flag could be set, and what was found."""

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
        self.known[namespace, flag] = now + timedelta(seconds=FLAG_KNOWN_SECONDS), state
        return state

    async def obstacles(self, policy: RollbackPolicy, deployment: Deployment) -> Mapping[Flag, str]:
        """Say beforehand which flags of a policy could not be set, and why.

        Told at once, not in the night when it matters; nothing is said of what cannot be seen now.
        """
        said, soon = {}, self.clock() + timedelta(seconds=FLAG_RETRY_SECONDS)
        for flag in flags.wanted(policy.spec.remedies):
            found = await self._foreseen(policy, flag)
            if found is None or not (why := flags.obstacle(policy, deployment, flag, found)):
                continue
            said[flag] = why
            place = _place(policy, flag)
            self.foreseen[place] = min(soon, self.foreseen[place][0]), found
        return said

    def next_look(self, policy: RollbackPolicy) -> float | None:
        """Give the seconds until a policy's flags are to be looked at again; None: it has none."""
        now, named = self.clock(), flags.wanted(policy.spec.remedies)
        places = [_place(policy, one) for one in named]
        due = [self.foreseen[one][0] for one in places if one in self.foreseen]
        return max(0.05, (min(due) - now).total_seconds()) if due else None

    async def _foreseen(self, policy: RollbackPolicy, flag: Flag) -> Found | None:
        """Look at a flag and at the right to it, seldom; None: neither is known."""
        now, place = self.clock(), _place(policy, flag)
        until, known = self.foreseen.get(place, (now, None))
        if now < until:
            return known
        seen = await self._looked_ahead(policy, flag)
        found = known if seen is None else seen
        seconds = FORESEEN_SECONDS if seen is not None else FLAG_RETRY_SECONDS
        forgotten = now - timedelta(seconds=FORGOTTEN_SECONDS)
        self.foreseen = {key: one for key, one in self.foreseen.items() if one[0] > forgotten}
        self.foreseen[place] = now + timedelta(seconds=seconds), found
        return found

    async def _looked_ahead(self, policy: RollbackPolicy, flag: Flag) -> Found | None:
        namespace = policy.metadata.namespace
        found = await self.flags.read(namespace, flag)
        if isinstance(found, Failure):
            is_known = found.kind in (FailureKind.GONE, FailureKind.REJECTED)
            return Missing(Reason.FLAG_UNUSABLE, found.message) if is_known else None
        if found.value is None:
            return found  # without the key the right to it is of no use
        # In mode Observe nothing is set, and no right is needed.
        if policy.spec.mode is Mode.ENFORCE and await self.flags.may_set(namespace, flag) is False:
            return Missing(Reason.FLAG_UNUSABLE, flags.no_right(flag))
        return found

    async def set(self, rollback: Rollback) -> Done | RollbackEnd | Failure:
        """Set the flag of a rollback whose step has begun."""
        flag, plan = rollback.spec.remedy.flag, rollback.spec.flag
        if flag is None or plan is None:
            return _refused("the Rollback does not say how the flag was found")
        found = await self._look(rollback, flag)
        if isinstance(found, Failure):
            return found
        following = flags.compare_flag(rollback, found)
        if not isinstance(following, Act):
            return following
        self.known.pop((rollback.metadata.namespace, flag), None)
        done = await self.flags.set(rollback.metadata.namespace, flag, plan)
        if isinstance(done, Failure) and done.kind is FailureKind.GONE:
            return Failure(FailureKind.CONFLICT, done.message)  # the next look says what that means
        if isinstance(done, Failure):
            return _refused(done.message) if done.kind is FailureKind.REJECTED else done
        return Done(f"{flags.named(flag)} was set; it was {plan.old_value[:64]!r}")

    async def reverted(self, rollback: Rollback) -> RollbackEnd | None:
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


def _refused(said: str) -> RollbackEnd:
    return RollbackEnd(Outcome.FAILED, Reason.STEP_REFUSED, said)
