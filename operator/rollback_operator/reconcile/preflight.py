"""Preflight: what would keep a rollback from working, reported before an incident.

Only reports; each check is repeated as seldom as that allows.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from rollback_operator.api.notify import Channel, ChannelType
from rollback_operator.api.shape import SecretKeyRef
from rollback_operator.api.v1alpha1 import RollbackPolicy
from rollback_operator.decide import freeze, schedule
from rollback_operator.model import rights, stop
from rollback_operator.model.rights import Right
from rollback_operator.model.workload import Deployment
from rollback_operator.ports.application import Channels
from rollback_operator.ports.cluster import Rights, Surroundings
from rollback_operator.ports.failure import Failure
from rollback_operator.ports.metrics import Prometheus
from rollback_operator.reconcile.act.flagging import FlagSetter
from rollback_operator.reconcile.act.reversible import OBSTACLE_SECONDS, Suspender
from rollback_operator.reconcile.cache import Cache, Key
from rollback_operator.reconcile.observe.observation import Observer
from rollback_operator.report.readiness import Around
from rollback_operator.rollback import approval


@dataclass(frozen=True, slots=True)
class MetricsAccess:
    """Where metrics are read by default, and what else a policy may name."""

    default: str
    allows: Callable[[str, str], bool]
    may_call: Callable[[str, str], bool]
    """Whether probes may be sent to a host: host, namespace."""
    may_query: Callable[[RollbackPolicy], bool]
    """Whether a policy's own queries may be put to its Prometheus."""
    stopped: Callable[[], str] = stop.nobody
    """By whom, when and why everything is suspended; empty: it is not."""
    may_read_as: Callable[[str, str, str], bool] = lambda tenant, url, namespace: True
    """Whether the metrics of a tenant may be read: tenant, address, the policy's namespace."""


def around(policy: RollbackPolicy, cache: Cache, address: MetricsAccess, now: datetime) -> Around:
    """Collect what bears on a policy; other owners of its target are read elsewhere."""
    namespace, source = policy.metadata.namespace, policy.spec.prometheus
    url, tenant = source.url, source.tenant
    oldest = cache.policies_on(namespace, policy.spec.target_ref.name)[:1]
    rivals = [policy_.metadata.name for policy_ in oldest if policy_.key != policy.key]
    return Around(
        stopped=address.stopped(),
        is_address_allowed=url is None or address.allows(url, namespace),
        is_tenant_allowed=tenant is None
        or address.may_read_as(tenant, url or address.default, namespace),
        are_queries_allowed=address.may_query(policy),
        older_policy=rivals[0] if rivals else "",
        refused_probes=tuple(
            probe.name
            for probe in policy.spec.verification.http
            if not address.may_call(probe.host, namespace)
        ),
        frozen=str(freeze.frozen(policy.spec.safety.freeze, now) or ""),
    )


GIVEN_SECONDS = 300.0
"""Lifetime of the result that a right is granted."""
DENIED_SECONDS = 60.0
"""... that it is not: somebody may be granting it."""

Place = tuple[str, Right]


@dataclass
class ApprovalProtection:
    """Checks whether people's decisions count here, for all policies that may ask."""

    surroundings: Surroundings
    clock: Callable[[], datetime]
    until: datetime | None = None
    known: str = ""

    async def unprotected(self, policy: RollbackPolicy) -> str:
        """Give the reason why no decision would count; empty: none is known, or nobody is asked."""
        if not approval.may_ask(policy):
            return ""
        now = self.clock()
        if self.until is None or now >= self.until:
            answer = await self.surroundings.approvals_unprotected()
            is_known = not isinstance(answer, Failure)
            self.known = answer if isinstance(answer, str) else self.known
            seconds = GIVEN_SECONDS if is_known and not self.known else DENIED_SECONDS
            self.until = now + timedelta(seconds=seconds)
        return self.known

    def next_look(self, policy: RollbackPolicy) -> float | None:
        """Give the seconds until that is asked again where it is not as it should be."""
        if self.until is None or not self.known or not approval.may_ask(policy):
            return None
        return max(0.05, (self.until - self.clock()).total_seconds())


@dataclass
class PolicyRights:
    """Checks the rights that only some policies need, by namespace."""

    rights: Rights
    clock: Callable[[], datetime]
    known: dict[Place, tuple[datetime, bool]] = field(default_factory=dict)
    """Until when it is known, and what."""

    async def missing(self, policy: RollbackPolicy) -> tuple[str, ...]:
        """List the rights that a policy needs and the operator lacks, as far as is known."""
        namespace = policy.metadata.namespace
        wanted = rights.wanted(policy)
        lacks = {right for right in wanted if not await self._has_right(namespace, right)}
        return tuple(message for right, message in wanted.items() if right in lacks)

    def next_look(self, policy: RollbackPolicy) -> float | None:
        """Give the seconds until a policy's rights are asked for again; None: it takes none."""
        places = [(policy.metadata.namespace, right) for right in rights.wanted(policy)]
        due = [self.known[place][0] for place in places if place in self.known]
        return max(0.05, (min(due) - self.clock()).total_seconds()) if due else None

    async def _has_right(self, namespace: str, right: Right) -> bool:
        now, place = self.clock(), (namespace, right)
        until, known = self.known.get(place, (now, True))
        if now < until:
            return known
        answer = await self.rights.may(namespace, right)
        is_given = known if isinstance(answer, Failure) else answer
        seconds = GIVEN_SECONDS if is_given and not isinstance(answer, Failure) else DENIED_SECONDS
        self.known = {key: kept for key, kept in self.known.items() if now < kept[0]}
        self.known[place] = now + timedelta(seconds=seconds), is_given
        return is_given


_ChannelKey = tuple[Key, ChannelType, SecretKeyRef | None, SecretKeyRef | None]


def _channel_key(policy: RollbackPolicy, channel: Channel) -> _ChannelKey:
    return policy.key, channel.type, channel.secret_ref, channel.url_secret_ref


@dataclass
class ChannelCheck:
    """Checks whether the Secrets of a policy's channels are usable, before a message needs them."""

    channels: Channels
    clock: Callable[[], datetime]
    known: dict[_ChannelKey, tuple[datetime, str]] = field(default_factory=dict)
    """Until when it is known, and the obstacle."""

    async def obstacles(self, policy: RollbackPolicy) -> tuple[str, ...]:
        """Name the channels that cannot be sent to, with the reason."""
        now = self.clock()
        self.known = {key: kept for key, kept in self.known.items() if now < kept[0]}
        unusable = []
        for channel in policy.spec.notify:
            if channel.secret_ref is None and channel.url_secret_ref is None:
                continue
            key = _channel_key(policy, channel)
            if key not in self.known:
                why = await self.channels.obstacle(channel, policy.key[0])
                seconds = DENIED_SECONDS if why else GIVEN_SECONDS
                self.known[key] = now + timedelta(seconds=seconds), why
            if why := self.known[key][1]:
                unusable.append(f"{channel.name}: {why}")
        return tuple(unusable)

    def next_look(self, policy: RollbackPolicy) -> float | None:
        """Give the seconds until an unusable channel is checked again; None: all are usable."""
        keys = [_channel_key(policy, channel) for channel in policy.spec.notify]
        due = [self.known[key][0] for key in keys if key in self.known and self.known[key][1]]
        return max(0.05, (min(due) - self.clock()).total_seconds()) if due else None


@dataclass
class Preflight:
    """Runs all preflight checks of a policy."""

    suspender: Suspender
    switch: FlagSetter
    observer: Observer
    default: str
    """The address of Prometheus for policies that name none."""
    permits: PolicyRights
    decisions: ApprovalProtection
    channels: ChannelCheck

    async def check(
        self, policy: RollbackPolicy, deployment: Deployment | None, around: Around
    ) -> tuple[Around, float | None]:
        """Add what a rollback would lack; gives the seconds until the next check is due.

        Args:
            policy: that would decide the rollback.
            deployment: its target; None: there is none, and nothing to check.
            around: what else bears on the policy.
        """
        if deployment is None:
            return around, None
        owner = await self.suspender.obstacle(policy, deployment)
        unusable = await self.switch.obstacles(policy, deployment)
        missing = await self.permits.missing(policy)
        unprotected = await self.decisions.unprotected(policy)
        unusable_channels = await self.channels.obstacles(policy)
        acts = schedule.soonest(
            OBSTACLE_SECONDS if owner else None,
            self.switch.next_look(policy),
            self.permits.next_look(policy),
            self.decisions.next_look(policy),
            self.channels.next_look(policy),
        )
        around = replace(
            around,
            owner_obstacle=owner,
            unusable_flags=unusable,
            missing_rights=missing,
            unprotected=unprotected,
            unusable_channels=unusable_channels,
        )
        if not (around.is_address_allowed and around.is_tenant_allowed):
            return around, acts
        around, reads = await self.observer.foresee(Prometheus.of(policy, self.default), around)
        return around, schedule.soonest(acts, reads)
