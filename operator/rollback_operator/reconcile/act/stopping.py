"""Stops the traffic of a release for the duration of a rollback, assesses the damage meanwhile.

In the order of all reversible acts: a finalizer guards the Rollback, the state as it was is put on
record, the replicas or the selector are changed; then they are restored, the record closed, the
finalizer removed.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from rollback_operator.api.crd import TRAFFIC_FINALIZER
from rollback_operator.api.reasons import Reason
from rollback_operator.api.v1alpha1 import Rollback, TrafficStop
from rollback_operator.model.samples import Missing
from rollback_operator.model.services import ServiceSelector
from rollback_operator.model.workload import Deployment, Workload
from rollback_operator.ports.application import Schemas
from rollback_operator.ports.cluster import Selectors, Workloads
from rollback_operator.ports.failure import Failure, FailureKind
from rollback_operator.reconcile.act.checking import OwnResources
from rollback_operator.reconcile.act.recording import Acted
from rollback_operator.reconcile.act.reversible import RecordRules, Reversible
from rollback_operator.remedies import progress, stopped_traffic
from rollback_operator.remedies.progress import Done, RollbackEnd, Wait
from rollback_operator.remedies.stopped_traffic import ASSESSMENT_SECONDS, TrafficSettled
from rollback_operator.report import events
from rollback_operator.rollback import integrity

_log = logging.getLogger(__name__)
_NO_DATABASE = Missing(Reason.POLICY_DELETED, "the policy names no database any more")
DATABASE_SECONDS = 12.0
"""The reading process ends sooner; the connection is waited for beside it."""


@dataclass(frozen=True, slots=True)
class _Restored:
    """The Rollback with the end of the stop, and its Deployment as it is then."""

    rollback: Rollback
    deployment: Deployment | None


@dataclass
class TrafficSwitch(Reversible):
    """Sets the replicas to zero, or lets a Service select no pod, and restores either."""

    workloads: Workloads
    selectors: Selectors
    others: Callable[[str, str], Sequence[Rollback]]
    """Gives all Rollbacks of a Deployment, by its namespace and its uid."""
    rules = RecordRules(
        TRAFFIC_FINALIZER,
        stopped_traffic.is_left,
        stopped_traffic.is_open,
        stopped_traffic.is_wanted_back,
    )

    # -- stop --------------------------------------------------------------------------------------

    async def stop(self, rollback: Rollback, workload: Workload) -> Acted:
        """Stop the traffic; with replicas, until no pod is left that could write."""
        deployment, selected = workload.deployment, await self._selector_or_none(rollback)
        if isinstance(selected, Failure):
            return Acted(rollback, deployment, selected)
        if stopped_traffic.is_reported(rollback):
            over = self._over(rollback, deployment, selected)
            following = self._stopped(rollback, workload) if over is None else over.as_end()
            return Acted(rollback, deployment, following)
        if stopped_traffic.is_anothers(rollback, selected):
            return Acted(rollback, deployment, self._wait_for_another(rollback))
        if stopped_traffic.is_unfit(rollback, selected, workload.current):
            return Acted(rollback, deployment, stopped_traffic.unfit(rollback))
        return await self._stop(rollback, deployment, selected)

    def _wait_for_another(self, rollback: Rollback) -> Wait | RollbackEnd:
        """Wait while the Service is stopped for a rollback of another Deployment."""
        step = progress.next_step(rollback)
        if step is not None and progress.is_out_of_time(rollback, step, self.clock()):
            return stopped_traffic.anothers(rollback)
        return Wait()

    async def ended_by_others(
        self, rollback: Rollback, deployment: Deployment
    ) -> RollbackEnd | Failure | None:
        """End a rollback whose stop another client has ended; None: it lasts, or there is none."""
        if not stopped_traffic.is_open(rollback):
            return None
        selected = await self._selector_or_none(rollback)
        if isinstance(selected, Failure):
            return selected
        over = self._over(rollback, deployment, selected)
        return None if over is None else over.as_end()

    async def _stop(
        self, rollback: Rollback, deployment: Deployment, selected: ServiceSelector | None
    ) -> Acted:
        """Record, change, report; the next look sees what has become of it."""
        noted = await self._record_traffic(rollback, deployment, selected)
        if isinstance(noted, Failure):
            return Acted(rollback, deployment, noted)
        changed = await self._change(noted, deployment, selected)
        if isinstance(changed, Failure):
            return Acted(noted, deployment, changed)
        reported = await self._report(noted)
        if isinstance(reported, Failure):
            return Acted(noted, changed, reported)
        return Acted(reported, changed, Wait())

    async def _record_traffic(
        self, rollback: Rollback, deployment: Deployment, selected: ServiceSelector | None
    ) -> Rollback | Failure:
        """Put on record how the traffic was, behind a finalizer."""
        guarded = await self.guard(rollback)
        if isinstance(guarded, Failure):
            return guarded
        record = stopped_traffic.recorded(guarded, deployment, selected)
        if record == guarded.status.traffic:
            return guarded
        status = guarded.status.model_copy(update={"traffic": record})
        condition = stopped_traffic.intended_condition(
            guarded.model_copy(update={"status": status})
        )
        status = stopped_traffic.stored(guarded.status, record, condition, self.clock())
        return await self.write(guarded, status)

    async def _change(
        self, rollback: Rollback, deployment: Deployment, selected: ServiceSelector | None
    ) -> Deployment | Failure:
        """Stop the traffic, unless that is done."""
        namespace = rollback.metadata.namespace
        if selected is not None:
            if selected.mark:
                return deployment
            mark = stopped_traffic.mark_of(rollback)
            done = await self.selectors.set_mark(namespace, selected, mark)
            return done if isinstance(done, Failure) else deployment
        if not deployment.replicas:
            return deployment
        _log.info("%s: stops %s", rollback.metadata.name, deployment.name)
        return await self.workloads.set_replicas(rollback, deployment.replicas, 0)

    async def _report(self, rollback: Rollback) -> Rollback | Failure:
        """Report the stop once."""
        if stopped_traffic.is_reported(rollback):
            return rollback
        record, condition = rollback.status.traffic, stopped_traffic.stopped_condition(rollback)
        assert record is not None
        # Before it is stored: a leader that reads the record cannot know that it was posted.
        await self.once.post(rollback, events.traffic_stopped(condition.message))
        status = stopped_traffic.stored(rollback.status, record, condition, self.clock())
        return await self.write(rollback, status)

    def _stopped(self, rollback: Rollback, workload: Workload) -> Done | Wait | RollbackEnd:
        plan, step = rollback.spec.traffic, progress.next_step(rollback)
        assert plan is not None
        if plan.stop is TrafficStop.SERVICE:
            return Done(f"Service {plan.service} selects no pod")
        left = stopped_traffic.running(workload.pods)
        if not left:
            return Done("no pod is left")
        if step is not None and progress.is_out_of_time(rollback, step, self.clock()):
            return stopped_traffic.pods_left(rollback, len(left))
        return Wait()

    # -- back --------------------------------------------------------------------------------------

    async def give_back(self, rollback: Rollback, deployment: Deployment) -> Acted:
        """Restore the traffic as a step of its rollback."""
        if not stopped_traffic.is_open(rollback):
            return Acted(rollback, deployment, Done("the traffic is not stopped"))
        ended = await self._restored(rollback, deployment, "the release is replaced")
        if isinstance(ended, Failure):
            return Acted(rollback, deployment, ended)
        record = ended.rollback.status.traffic if ended is not None else None
        assert ended is not None  # since there is a reason
        assert record is not None
        newest = ended.deployment or deployment
        return Acted(ended.rollback, newest, Done(record.restore_message))

    async def restore(
        self, rollback: Rollback, deployment: Deployment | None
    ) -> Rollback | float | Failure:
        """Restore the traffic of an ended rollback if that is due."""
        target = rollback.spec.target_ref.name
        live = await self.workloads.inspect(rollback.metadata.namespace, target)
        if isinstance(live, Failure) and live.kind is not FailureKind.GONE:
            return live
        known = live.deployment if isinstance(live, Workload) else None
        why = stopped_traffic.restore_reason(rollback, known)
        ended = await self._restored(rollback, known, why)
        if isinstance(ended, Failure):
            return ended
        if ended is None:
            return stopped_traffic.TRAFFIC_POLL_SECONDS
        return await self.write(rollback, ended.rollback.status)

    async def _restored(
        self, rollback: Rollback, deployment: Deployment | None, why: str
    ) -> _Restored | Failure | None:
        """Restore the traffic while it is the operator's; None: without `why` it stays stopped."""
        selected = await self._selector_or_none(rollback)
        if isinstance(selected, Failure):
            return selected
        over = self._over(rollback, deployment, selected)
        if over is not None:
            return _Restored(await self._closed(rollback, over), deployment)
        if not why:
            return None
        record, namespace = rollback.status.traffic, rollback.metadata.namespace
        assert record is not None
        _log.info("%s: restores the traffic: %s", rollback.metadata.name, why)
        if selected is not None:
            done = await self.selectors.set_mark(namespace, selected, "")
            if isinstance(done, Failure):
                return done
        else:
            scaled = await self.workloads.set_replicas(rollback, 0, record.replicas or 0)
            if isinstance(scaled, Failure):
                return scaled
            deployment = scaled
        end = stopped_traffic.restored(rollback, why)
        return _Restored(await self._closed(rollback, end), deployment)

    async def _closed(self, rollback: Rollback, end: TrafficSettled) -> Rollback:
        """Report the end; gives the Rollback with it, to be stored."""
        now: datetime = self.clock()
        record, condition = stopped_traffic.closed(rollback, end, now)
        await self.once.post(rollback, events.traffic_settled(end.reason, condition.message))
        status = stopped_traffic.stored(rollback.status, record, condition, now)
        return rollback.model_copy(update={"status": status})

    def _over(
        self,
        rollback: Rollback,
        deployment: Deployment | None,
        selected: ServiceSelector | None,
    ) -> TrafficSettled | None:
        of_target = self.others(rollback.metadata.namespace, rollback.spec.target_ref.uid)
        newer = stopped_traffic.superseded(rollback, of_target)
        return newer or stopped_traffic.taken_over(rollback, deployment, selected)

    async def _selector_or_none(self, rollback: Rollback) -> ServiceSelector | Failure | None:
        """Read the Service of a plan; None: the plan has none, or it is gone."""
        plan = rollback.spec.traffic
        if plan is None or plan.stop is not TrafficStop.SERVICE:
            return None
        read = await self.selectors.read_selector(rollback.metadata.namespace, plan.service)
        return None if isinstance(read, Failure) and read.kind is FailureKind.GONE else read


@dataclass
class DamageReader:
    """Asks the queries on the damage once, while the traffic is stopped."""

    schemas: Schemas
    records: OwnResources
    clock: Callable[[], datetime]

    async def assess(self, rollback: Rollback, deployment: Deployment) -> Acted:
        """Store the answers to the queries on the damage, or why there are none."""
        plan, policy, now = rollback.spec.traffic, self.records.policy_of(rollback), self.clock()
        assert plan is not None
        database = policy.spec.database if policy is not None else None
        questions = {asked.name: asked.query for asked in plan.assess}
        if database is None:
            return self._assessed(rollback, deployment, _NO_DATABASE)
        try:
            async with asyncio.timeout(DATABASE_SECONDS):
                answers = await self.schemas.ask(rollback.metadata.namespace, database, questions)
        except TimeoutError:
            message = f"the database did not answer within {DATABASE_SECONDS:g} s"
            answers = Missing(Reason.SCHEMA_UNKNOWN, message)
        step = progress.next_step(rollback)
        waited = 0.0 if step is None else progress.seconds_in(rollback, step, now)
        if isinstance(answers, Missing) and waited < ASSESSMENT_SECONDS:
            return Acted(rollback, deployment, Wait())
        return self._assessed(rollback, deployment, answers)

    def _assessed(
        self, rollback: Rollback, deployment: Deployment, answers: integrity.Answers | Missing
    ) -> Acted:
        plan = rollback.spec.traffic
        assert plan is not None
        assessment = integrity.assessed(
            [asked.name for asked in plan.assess], answers, self.clock()
        )
        status = rollback.status.model_copy(update={"assessment": assessment})
        changed = rollback.model_copy(update={"status": status})
        return Acted(changed, deployment, Done(integrity.summary(assessment)))
