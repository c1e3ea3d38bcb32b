"""Reads the feature flags that remedies name, and sets a flag for a rollback.

Each call compares before it acts, so that a replay after a crash does no harm.
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
"""Lifetime of a flag's value for decisions; an act reads it anew."""
FORESEEN_SECONDS = 300.0
"""Lifetime of a preflight result without an obstacle."""
FLAG_RETRY_SECONDS = 60.0
"""Lifetime of a preflight result with an obstacle, which somebody may be fixing."""
FORGOTTEN_SECONDS = 3600.0

FlagReading = FlagState | Missing


PreflightKey = tuple[str, str, Flag, Mode]


def _preflight_key(policy: RollbackPolicy, flag: Flag) -> PreflightKey:
    return policy.metadata.namespace, policy.spec.target_ref.name, flag, policy.spec.mode


@dataclass
class FlagSetter:
    """Reads flags, remembers them for a while, and sets them."""

    flags: Flags
    clock: Callable[[], datetime]
    known: dict[tuple[str, str, Flag], tuple[datetime, str, FlagReading]] = field(
        default_factory=dict
    )
    """Until when it is known how a flag stands, for which template, and how, by namespace and
    Deployment. A variable is part of the template: what was read of another is not of this."""
    foreseen: dict[PreflightKey, tuple[datetime, FlagReading | None]] = field(default_factory=dict)
    """The end of a preflight result's lifetime, and the result."""

    async def states(
        self, policy: RollbackPolicy, digest: str
    ) -> Mapping[tuple[str, str], FlagReading]:
        """Read the flags of a policy's remedies; only while a release is judged.

        Args:
            policy: names them.
            digest: of the pod template that is judged.
        """
        return {
            flag.key: await self._read_for_decision(policy, flag, digest)
            for flag in flags.wanted(policy.spec.remedies)
        }

    async def _read_for_decision(
        self, policy: RollbackPolicy, flag: Flag, digest: str
    ) -> FlagReading:
        now, namespace = self.clock(), policy.metadata.namespace
        target = policy.spec.target_ref.name
        place = namespace, target, flag
        until, of, known = self.known.get(place, (now, "", None))
        if known is not None and of == digest and now < until:
            return known
        self.known = {key: kept for key, kept in self.known.items() if now < kept[0]}
        answer = await self.flags.read(namespace, flag, target)
        state = (
            Missing(Reason.READ_FAILED, answer.message) if isinstance(answer, Failure) else answer
        )
        self.known[place] = now + timedelta(seconds=FLAG_KNOWN_SECONDS), digest, state
        return state

    async def obstacles(self, policy: RollbackPolicy, deployment: Deployment) -> Mapping[Flag, str]:
        """Check in advance which flags of a policy could not be set, and why.

        A flag that cannot be read now has no obstacle that is known.
        """
        obstacles, soon = {}, self.clock() + timedelta(seconds=FLAG_RETRY_SECONDS)
        for flag in flags.wanted(policy.spec.remedies):
            state = await self._preflight_result(policy, flag)
            if state is None or not (why := flags.obstacle(policy, deployment, flag, state)):
                continue
            obstacles[flag] = why
            place = _preflight_key(policy, flag)
            self.foreseen[place] = min(soon, self.foreseen[place][0]), state
        return obstacles

    def next_look(self, policy: RollbackPolicy) -> float | None:
        """Give the seconds until a policy's flags are to be looked at again; None: it has none."""
        now, named = self.clock(), flags.wanted(policy.spec.remedies)
        places = [_preflight_key(policy, flag) for flag in named]
        due = [self.foreseen[place][0] for place in places if place in self.foreseen]
        return max(0.05, (min(due) - now).total_seconds()) if due else None

    async def _preflight_result(self, policy: RollbackPolicy, flag: Flag) -> FlagReading | None:
        """Read a flag and the right to set it, seldom; None: neither is known."""
        now, place = self.clock(), _preflight_key(policy, flag)
        until, known = self.foreseen.get(place, (now, None))
        if now < until:
            return known
        seen = await self._read_ahead(policy, flag)
        state = known if seen is None else seen
        seconds = FORESEEN_SECONDS if seen is not None else FLAG_RETRY_SECONDS
        forgotten = now - timedelta(seconds=FORGOTTEN_SECONDS)
        self.foreseen = {key: kept for key, kept in self.foreseen.items() if kept[0] > forgotten}
        self.foreseen[place] = now + timedelta(seconds=seconds), state
        return state

    async def _read_ahead(self, policy: RollbackPolicy, flag: Flag) -> FlagReading | None:
        namespace = policy.metadata.namespace
        state = await self.flags.read(namespace, flag, policy.spec.target_ref.name)
        if isinstance(state, Failure):
            is_known = state.kind in (FailureKind.GONE, FailureKind.REJECTED)
            return Missing(Reason.FLAG_UNUSABLE, state.message) if is_known else None
        if state.value is None or flag.env is not None:
            return state  # without the key the right to it is of no use
        # In mode Observe nothing is set, and no right is needed.
        if policy.spec.mode is Mode.ENFORCE and await self.flags.may_set(namespace, flag) is False:
            return Missing(Reason.FLAG_UNUSABLE, flags.no_right(flag))
        return state

    async def set(self, rollback: Rollback) -> Done | RollbackEnd | Failure:
        """Set the flag of a rollback whose step has begun."""
        flag, plan = rollback.spec.remedy.flag, rollback.spec.flag
        if flag is None or plan is None:
            return _refused("the Rollback does not record the previous value of the flag")
        state = await self._read_for_act(rollback, flag)
        if isinstance(state, Failure):
            return state
        following = flags.compare_flag(rollback, state)
        if not isinstance(following, Act):
            return following
        target = rollback.spec.target_ref.name
        self.known.pop((rollback.metadata.namespace, target, flag), None)
        done = await self.flags.set(rollback.metadata.namespace, flag, plan)
        if isinstance(done, Failure) and done.kind is FailureKind.GONE:
            return Failure(FailureKind.CONFLICT, done.message)  # the next look says what that means
        if isinstance(done, Failure):
            return _refused(done.message) if done.kind is FailureKind.REJECTED else done
        return Done(f"{flags.named(flag)} was set; it was {plan.old_value[:64]!r}")

    async def reverted(self, rollback: Rollback) -> RollbackEnd | None:
        """Tell that a flag does not stay as a rollback has set it; None: nothing shows that."""
        flag = rollback.spec.remedy.flag
        if flag is None or not flags.is_set(rollback) or flags.is_variable(rollback):
            return None  # a variable is compared with the pod template
        state = await self._read_for_act(rollback, flag)
        return None if isinstance(state, Failure) else flags.reverted(rollback, state)

    async def _read_for_act(self, rollback: Rollback, flag: Flag) -> FlagState | Failure | None:
        """Read a flag; None: there is no such ConfigMap."""
        target = rollback.spec.target_ref.name
        state = await self.flags.read(rollback.metadata.namespace, flag, target)
        is_gone = isinstance(state, Failure) and state.kind is FailureKind.GONE
        return None if is_gone else state


def _refused(message: str) -> RollbackEnd:
    return RollbackEnd(Outcome.FAILED, Reason.STEP_REFUSED, message)
