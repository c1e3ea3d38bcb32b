"""Looks beforehand for what would keep a rollback from being done: in the night it is too late.

Only tells; each looks as seldom as that allows.
"""

from dataclasses import dataclass, replace

from rollback_operator.api.v1alpha1 import RollbackPolicy
from rollback_operator.decide import schedule
from rollback_operator.model.workload import Deployment
from rollback_operator.ports.metrics import Prometheus
from rollback_operator.reconcile.act.flagging import Switch
from rollback_operator.reconcile.act.suspending import OWNER_SECONDS, Suspender
from rollback_operator.reconcile.observe.observation import Observer
from rollback_operator.reconcile.observe.permits import Decisions, Permits
from rollback_operator.report.readiness import Around


@dataclass
class Foresight:
    """Asks all who would take part in a rollback what stands against it."""

    suspender: Suspender
    switch: Switch
    observer: Observer
    default: str
    """Where the metrics of policies are read that name no address."""
    permits: Permits
    decisions: Decisions

    async def look(
        self, policy: RollbackPolicy, deployment: Deployment | None, around: Around
    ) -> tuple[Around, float | None]:
        """Add what would be missing; gives the seconds until that is looked at anew.

        Args:
            policy: that would decide the rollback.
            deployment: its target; None: there is none, and nothing to be foreseen.
            around: what else bears on the policy.
        """
        if deployment is None:
            return around, None
        owner = await self.suspender.obstacle(policy, deployment)
        unusable = await self.switch.obstacles(policy, deployment)
        missing = await self.permits.missing(policy)
        unprotected = await self.decisions.unprotected(policy)
        acts = schedule.soonest(
            OWNER_SECONDS if owner else None,
            self.switch.next_look(policy),
            self.permits.next_look(policy),
            self.decisions.next_look(policy),
        )
        around = replace(
            around,
            owner_obstacle=owner,
            unusable_flags=unusable,
            missing_rights=missing,
            unprotected=unprotected,
        )
        if not (around.is_address_allowed and around.is_tenant_allowed):
            return around, acts
        around, reads = await self.observer.foresee(Prometheus.of(policy, self.default), around)
        return around, schedule.soonest(acts, reads)
