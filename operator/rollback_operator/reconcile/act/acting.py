"""Dispatches a step of a rollback to its executor; `execution` decides what follows.

The start of the step is stored before. Each act is guarded, or compares before it acts, so that a
replay after a crash does no harm.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from rollback_operator.api.v1alpha1 import Rollback, StepName, StoredStrategy
from rollback_operator.model.workload import Autoscaler, Deployment, Workload
from rollback_operator.ports.cluster import Workloads
from rollback_operator.ports.failure import Failure
from rollback_operator.reconcile.act.diagnosing import Diagnoser
from rollback_operator.reconcile.act.flagging import FlagSetter
from rollback_operator.reconcile.act.migrating import Migrator
from rollback_operator.reconcile.act.recording import Acted
from rollback_operator.reconcile.act.restoring import ConfigurationRestorer
from rollback_operator.reconcile.act.reversible import Scaler, Suspender
from rollback_operator.reconcile.act.stopping import DamageReader, TrafficSwitch
from rollback_operator.remedies import autoscaling, flags, progress
from rollback_operator.remedies.database import migrations
from rollback_operator.remedies.database.migration_order import MIGRATION_STEPS
from rollback_operator.remedies.progress import Done, Wait
from rollback_operator.remedies.steps import done_in_words

_log = logging.getLogger(__name__)
_OWN_STEPS = (
    *MIGRATION_STEPS,
    StepName.RESTORE_CONFIGURATION,
    StepName.DIAGNOSE,
    StepName.STOP_TRAFFIC,
    StepName.ASSESS_DAMAGE,
    StepName.RESTORE_TRAFFIC,
)
_WHILE_STOPPED = (StepName.ASSESS_DAMAGE, *MIGRATION_STEPS)
"""Steps that rely on the stop of the traffic, if the plan stops it."""
SURGE = StoredStrategy(max_surge=progress.EXPRESS_SURGE, max_unavailable="25%")


@dataclass
class Actor:
    """Dispatches steps: what changes the Deployment is done here, and all else by its executor."""

    workloads: Workloads
    suspender: Suspender
    switch: FlagSetter
    scaler: Scaler
    migrator: Migrator
    restorer: ConfigurationRestorer
    traffic: TrafficSwitch
    damage: DamageReader
    diagnoser: Diagnoser
    clock: Callable[[], datetime]

    async def act(
        self,
        rollback: Rollback,
        step: StepName,
        workload: Workload,
    ) -> Acted:
        """Execute a step.

        Args:
            rollback: its step has begun, and the comparison has shown that an act is due.
            step: that has begun.
            workload: the target, with the newest Deployment that is known.
        """
        deployment, autoscaler = workload.deployment, workload.autoscaler
        if step is StepName.SUSPEND_OWNER:
            taken = await self.suspender.suspend(rollback)
            return Acted(taken.rollback, deployment, taken.next)
        if step in _OWN_STEPS:
            ended = await self._ended_by_others(rollback, step, deployment)
            return ended or await self._take(rollback, step, workload)
        if step is StepName.DISABLE_FLAG and not flags.is_variable(rollback):
            return Acted(rollback, deployment, await self.switch.set(rollback))
        if autoscaling.is_left_to_autoscaler(rollback, step):
            assert autoscaler is not None  # or there would be nothing to be done
            return await self._raise(rollback, deployment, autoscaler)
        done = await self._change(rollback, step)
        if isinstance(done, Failure):
            return Acted(rollback, deployment, done)
        return Acted(rollback, done, Done(done_in_words(rollback.spec, step)))

    async def _ended_by_others(
        self, rollback: Rollback, step: StepName, deployment: Deployment
    ) -> Acted | None:
        """End a rollback that relies on stopped traffic once the bad release may write again."""
        if step not in _WHILE_STOPPED or migrations.is_started(rollback, step):
            return None
        ended = await self.traffic.ended_by_others(rollback, deployment)
        return None if ended is None else Acted(rollback, deployment, ended)

    async def _take(self, rollback: Rollback, step: StepName, workload: Workload) -> Acted:
        match step:
            case StepName.DIAGNOSE:
                return await self.diagnoser.collect(rollback, workload)
            case StepName.STOP_TRAFFIC:
                return await self.traffic.stop(rollback, workload)
            case StepName.ASSESS_DAMAGE:
                return await self.damage.assess(rollback, workload.deployment)
            case StepName.RESTORE_CONFIGURATION:
                done = await self.restorer.restore(rollback)
                return Acted(rollback, workload.deployment, done)
            case StepName.BACKUP | StepName.MIGRATE_DOWN:
                migrated = await self.migrator.take(rollback, step)
                return Acted(migrated.rollback, workload.deployment, migrated.next)
            case _:
                return await self.traffic.give_back(rollback, workload.deployment)

    async def _raise(
        self, rollback: Rollback, deployment: Deployment, autoscaler: Autoscaler
    ) -> Acted:
        """Raise the bounds of the autoscaler, which sets the replicas in its own time."""
        if deployment.is_held:
            # Nothing else lifts our own pause: the Deployment itself is not written to.
            lifted = await self.workloads.resume(rollback.metadata.namespace, deployment.name)
            if isinstance(lifted, Failure):
                return Acted(rollback, deployment, lifted)
        rollback, failure = await self.scaler.raise_bounds(rollback, autoscaler)
        return Acted(rollback, deployment, Wait() if failure is None else failure)

    async def _change(self, rollback: Rollback, step: StepName) -> Deployment | Failure:
        """Change the Deployment, in one guarded write."""
        _log.info("%s: %s %s", rollback.metadata.name, step, rollback.spec.target_ref.name)
        stored = rollback.status.strategy
        match step:
            case StepName.UNDO:
                return await self.workloads.undo(rollback, SURGE if stored is not None else None)
            case StepName.RESTART_PODS:
                known = progress.step_status(rollback, step)
                time = known.started_time if known is not None else self.clock()
                return await self.workloads.restart(rollback, time)
            case StepName.RESTORE_STRATEGY if stored is not None:
                return await self.workloads.set_strategy(rollback, stored)
            case _:
                return await self.workloads.apply_in_place(rollback, rollback.spec.remedy)
