"""One pass over one policy: observe, decide, act, report, in that order and once.

Nothing here knows kopf, HTTP or SQL: observations come through ports, decisions from the pure
rooms, and each act is recorded before it begins. Holds, requests and open Rollbacks that need no
metrics are acted on before metrics are read.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial

from rollback_operator.adapters.fairness.slices import apart
from rollback_operator.api.reasons import IDLE, Reason
from rollback_operator.api.v1alpha1 import (
    Condition,
    Hold,
    RollbackPolicy,
    RollbackRequest,
)
from rollback_operator.decide import freeze, hold_end, holds, schedule
from rollback_operator.decide.evaluate import (
    EvaluationResult,
    case_of,
    evaluate_release,
    is_due,
    watch_of,
)
from rollback_operator.decide.guards import load_of
from rollback_operator.decide.hold_end import HoldFacts
from rollback_operator.decide.requests import is_served_at_rest
from rollback_operator.evidence.watch import Watch
from rollback_operator.model.context import Case, Refusal, RollbackBudget, is_active
from rollback_operator.model.workload import Deployment
from rollback_operator.ports.failure import RETRY_SECONDS, Failure, FailureKind
from rollback_operator.ports.metrics import Prometheus
from rollback_operator.reconcile.act.flagging import FlagSetter
from rollback_operator.reconcile.act.holding import Holder, Settled
from rollback_operator.reconcile.cache import Cache, Key, Unreadable
from rollback_operator.reconcile.carrying import SOON, Carrier
from rollback_operator.reconcile.details import DetailReader, Details
from rollback_operator.reconcile.keeping import RecordKeeper
from rollback_operator.reconcile.notifier import Notifier
from rollback_operator.reconcile.observe.configurations import ConfigurationReader
from rollback_operator.reconcile.observe.inspection import Inspector
from rollback_operator.reconcile.observe.observation import Source
from rollback_operator.reconcile.observe.readings import Readings
from rollback_operator.reconcile.preflight import MetricsAccess, Preflight, around
from rollback_operator.reconcile.requests import RequestHandler
from rollback_operator.reconcile.status_writer import Reporter
from rollback_operator.releases import identity, ownership, quarantine
from rollback_operator.releases.baseline_choice import control_hashes
from rollback_operator.report import status
from rollback_operator.report.readiness import readiness


@dataclass(frozen=True, slots=True)
class _TargetState:
    """A policy's target as the watches show it, and whether it can be judged."""

    deployment: Deployment | None
    ready: Condition
    again: float | None
    """Seconds until the preflight checks are due again."""


@dataclass(frozen=True, slots=True)
class _ActResult:
    """How far the acts of a pass have come."""

    policy: RollbackPolicy
    again: float | None
    """Seconds until an open act is looked at again; None: there is none."""
    retry: float | None = None
    """Seconds until a hold that could not be settled is tried again."""


@dataclass
class Reconciler:
    """The parts of a pass; made once, in bootstrap."""

    cache: Cache
    inspector: Inspector
    configurations: ConfigurationReader
    readings: Readings
    foresight: Preflight
    switch: FlagSetter
    carrier: Carrier
    keeper: RecordKeeper
    holder: Holder
    desk: RequestHandler
    details: DetailReader
    teller: Notifier
    reporter: Reporter
    address: MetricsAccess
    clock: Callable[[], datetime]
    budget: RollbackBudget = field(default_factory=RollbackBudget)
    watches: dict[Key, Watch] = field(default_factory=dict)

    async def reconcile(self, key: Key) -> float | None:
        """Make a pass; gives the seconds until the requeue, None: when something changes."""
        freed = await self.keeper.let_be_deleted(key)
        try:
            wait = schedule.soonest(freed, await self._reconcile_known(key))
        except Exception:
            # A bug must not keep an open Rollback from its end.
            await self.keeper.carry(self.cache.rollbacks_by(key), _PASS_FAILED)
            await self.keeper.release_ended(key)
            raise
        wait = schedule.soonest(wait, await self.keeper.release_ended(key))
        await self.keeper.report_unreadable(key)
        # After all acts: notifications follow the record, and no act waits for them.
        notified = await self.teller.settle(key)
        refused = await self.keeper.release_refused(self.cache.requests_by(key))
        return schedule.soonest(wait, notified, refused, await self.keeper.prune(key))

    async def _reconcile_known(self, key: Key) -> float | None:
        policy = self.cache.policies.get(key)
        match policy:
            case None:
                self._end_watch(key)
                missing = await self.desk.without_policy(self.cache.requests_of(key))
                return schedule.soonest(missing, await self.keeper.carry_open(key, _POLICY_DELETED))
            case Unreadable():
                self._end_watch(key)
                why = status.not_ready(Reason.INVALID_SPEC, policy.message)
                carried = await self.keeper.carry_open(key, why)
                answered = await self._refuse(self.cache.requests_of(key), why)
                reported = await self._report_unreadable(policy)
                return schedule.soonest(reported, carried, answered)
            case RollbackPolicy():
                return await self._pass(policy)

    async def _pass(self, policy: RollbackPolicy) -> float | None:
        policy = ownership.of_target(policy)
        target = await self._observe_target(policy)
        if target is None:
            return RETRY_SECONDS / 4  # the watch has not delivered it yet
        deployment, ready = target.deployment, target.ready
        if deployment is None or ready.reason in IDLE:
            return await self._rest(policy, deployment, ready)
        # Earlier Rollbacks are settled by the record, before the release is observed.
        left = await self.keeper.settle(policy, deployment, ready)
        if self._is_judged(policy, deployment):
            return schedule.soonest(left, await self._judge(policy, deployment, ready))
        self._end_watch(policy.key)
        return schedule.soonest(left, target.again, await self._report_at_rest(policy, target))

    def _is_judged(self, policy: RollbackPolicy, deployment: Deployment) -> bool:
        """Tell whether the release is under watch, or something of it is open."""
        rollbacks = self.cache.rollbacks_of(deployment.namespace, deployment.uid)
        return (
            any(is_active(rollback) for rollback in rollbacks)
            or holds.is_held(policy, deployment)
            or bool(self.cache.requests_of(policy.key))
            or is_due(policy, deployment, self.clock())
            or self.configurations.is_due(policy)
        )

    async def _judge(
        self, policy: RollbackPolicy, deployment: Deployment, ready: Condition
    ) -> float | None:
        """Observe, decide, act, report. What needs no metrics is acted on before they are read."""
        asked = self.cache.requests_of(policy.key)
        case = await self._observe_release(policy, deployment, asked)
        if isinstance(case, Failure):
            return await self.reporter.report_unread(policy, case)
        case = await self._act_on_hold(case)
        if case.workload.current is None:
            return RETRY_SECONDS / 4  # the controller has not made the ReplicaSet yet
        if asked:
            return await self.desk.answer(case, asked)
        carried = await self.carrier.before_metrics(case, self.watches.get(policy.key))
        if carried is not None and carried.is_changed:
            return SOON
        watch = await self._observe_metrics(case)
        result = await self.carrier.make_way(await self._decide(case, watch))
        details = await self.details.observe(result)
        acted = await self._act(result)
        if carried is not None:
            acted = replace(acted, again=schedule.soonest(acted.again, carried.seconds))
        return await self._report(result, ready, details, acted)

    # -- observe -----------------------------------------------------------------------------------

    async def _observe_target(self, policy: RollbackPolicy) -> _TargetState | None:
        """Observe the target and run the preflight checks; None: the watch is not up to date."""
        target = policy.metadata.namespace, policy.spec.target_ref.name
        deployment = self.cache.deployments.get(target)
        if deployment is not None:
            deployment = await self.inspector.lookout.claimed(deployment)
        context = around(policy, self.cache, self.address, self.clock())
        context, again = await self.foresight.check(policy, deployment, context)
        ready = readiness(policy, deployment, context)
        if ready.reason == Reason.TARGET_NOT_FOUND:
            absence = await self.inspector.absence(*target)
            if absence is None:
                return None
            if absence.kind is not FailureKind.GONE:
                message = f"the Deployment {target[1]} cannot be read: {absence.message}"
                ready = status.not_ready(Reason.TARGET_NOT_FOUND, message)
        if policy.metadata.deletion_timestamp is not None:
            ready = _POLICY_DELETED
        return _TargetState(deployment, ready, again)

    async def _observe_release(
        self, policy: RollbackPolicy, deployment: Deployment, asked: Sequence[RollbackRequest]
    ) -> Case | Failure:
        """Read the target, and collect the input of a decision."""
        key, now = policy.key, self.clock()
        rollbacks = self.cache.rollbacks_of(key[0], deployment.uid)
        is_open = bool(asked) or any(is_active(rollback) for rollback in rollbacks)
        # A Rollback that is carried on writes to the target: an older read would hide its write.
        watched = None if is_open else self.watches.get(key)
        workload = await self.inspector.inspect(key, deployment, watched)
        if isinstance(workload, Failure):
            return workload
        workload = await self.configurations.identify(policy, workload, rollbacks)
        if isinstance(workload, Failure):
            return workload
        load = load_of(self.cache.rollbacks.values(), key[0], self.budget, now)
        flags = await self.switch.states(policy, workload.deployment.template.digest)
        records = self.cache.records_of(policy, deployment.uid)
        known = ownership.informed(policy, self.cache.policies_on(key[0], deployment.name))
        return replace(case_of(known, workload, records, now), load=load, flags=flags)

    async def _observe_metrics(self, case: Case) -> Watch:
        """Bring the watch of the release up to date."""
        policy, now = case.policy, self.clock()
        source = Source(policy, Prometheus.of(policy, self.address.default))
        watch = watch_of(self.watches.get(policy.key), case, source.prometheus.identity, now)
        if any(is_active(rollback) for rollback in case.rollbacks):
            watch = replace(watch, read_due=math.inf)  # whether it helped is for scrapes to show
        watch = await self.readings.observe(policy.key, watch, case.workload, source)
        self.watches[policy.key] = watch
        return watch

    # -- decide ------------------------------------------------------------------------------------

    async def _decide(self, case: Case, watch: Watch) -> EvaluationResult:
        """Judge the release, beside the loop where there is much to count."""
        size = len(watch.evidence.increments)
        namespace, now = case.policy.metadata.namespace, self.clock()
        result = await apart(namespace, size, partial(evaluate_release, case, watch, now))
        refusal = result.decision.refusal
        if refusal is None or refusal.reason is not Reason.CONFIGURATION_UNREAD:
            return result
        case = await self.configurations.for_restore(case)
        return await apart(namespace, size, partial(evaluate_release, case, watch, self.clock()))

    # -- act ---------------------------------------------------------------------------------------

    async def _act_on_hold(self, case: Case) -> Case:
        """Pause a staged rollout, or resume a held rollout: neither waits for metrics.

        The pass goes on with the objects that the writes returned.
        """
        wanted = holds.wanted_hold(HoldFacts(case, control_hashes(case)), self.clock())
        held = await self._settle_hold(case, wanted)
        deployment = held.deployment or case.workload.deployment
        claimed = await self.inspector.lookout.claimed(deployment)
        workload = identity.with_deployment(case.workload, claimed)
        return replace(case, policy=held.policy, workload=workload)

    async def _settle_hold(self, case: Case, wanted: Hold | None) -> Settled:
        deployment = case.workload.deployment
        settled = await self.holder.settle(case, wanted, deployment)
        if settled.deployment != deployment:
            self.inspector.forget(case.policy.key)
        return settled

    async def _act(self, result: EvaluationResult) -> _ActResult:
        """Execute a decision: the hold of the rollout, and the rollback."""
        settled = await self._settle_hold(result.case, result.hold)
        again = await self.carrier.act(result.case, result.decision, result.watch)
        return _ActResult(settled.policy, again, settled.retry)

    # -- at rest -----------------------------------------------------------------------------------

    async def _rest(
        self, policy: RollbackPolicy, deployment: Deployment | None, why: Condition
    ) -> float | None:
        """Judge nothing; resume a held rollout, and carry on open Rollbacks."""
        self._end_watch(policy.key)
        # Another policy may hold the same target.
        ours = None if why.reason == Reason.TARGET_ALREADY_WATCHED else deployment
        end = hold_end.HoldEnd(Reason(why.reason), why.message)
        settled = await self.holder.end(policy, end, ours)
        answered = await self._answer_at_rest(policy, ours, why)
        carried = schedule.soonest(answered, await self.keeper.carry_open(policy.key, why))
        if policy.metadata.deletion_timestamp is not None:
            return schedule.soonest(settled.retry, carried)
        uid = deployment.uid if deployment is not None else ""
        known = self.cache.rollbacks_of(policy.metadata.namespace, uid)
        seen = status.StatusInputs(why, rollbacks=ownership.own(policy, known), of_target=known)
        reported = await self.reporter.report(settled.policy, seen)
        return schedule.soonest(settled.retry, carried, reported)

    async def _answer_at_rest(
        self, policy: RollbackPolicy, deployment: Deployment | None, why: Condition
    ) -> float | None:
        """Answer requests while nothing is judged; some are served all the same."""
        asked, ready = self.cache.requests_of(policy.key), Reason(why.reason)
        served = [each for each in asked if is_served_at_rest(ready, deployment, each)]
        refused = await self._refuse([each for each in asked if each not in served], why)
        if not served or deployment is None:
            return refused
        workload = await self.inspector.read_target(policy.metadata.namespace, deployment.name)
        if isinstance(workload, Failure):
            return workload.wait
        records = self.cache.records_of(policy, deployment.uid)
        workload = identity.recorded(workload, policy.status, records)
        case = case_of(policy, workload, records, self.clock())
        return schedule.soonest(refused, await self.desk.answer(case, served))

    async def _refuse(self, asked: Sequence[RollbackRequest], why: Condition) -> float | None:
        refusal = Refusal(Reason(why.reason), why.message)
        waits = [await self.desk.refuse(request, refusal) for request in asked]
        return max(waits, default=0.0) or None

    def _end_watch(self, key: Key) -> None:
        self.watches.pop(key, None)
        self.readings.forget(key)
        self.configurations.forget(key)
        self.inspector.forget(key)

    # -- report ------------------------------------------------------------------------------------

    async def _report(
        self, result: EvaluationResult, ready: Condition, details: Details, acted: _ActResult
    ) -> float:
        """Write the status, and give the seconds until the requeue."""
        policy, workload, watch = acted.policy, result.case.workload, result.watch
        uid = workload.deployment.uid
        rollbacks = self.cache.rollbacks_of(policy.metadata.namespace, uid)
        seen = status.StatusInputs(
            ready,
            workload=workload,
            ledger=details.ledger,
            decision=result.decision,
            missing=watch.missing,
            folded=watch.folded,
            direct=watch.pages_state,
            rollbacks=ownership.own(policy, rollbacks),
            of_target=rollbacks,
            quarantine_seconds=policy.spec.safety.quarantine_seconds,
            opened=datetime.fromtimestamp(watch.opened, UTC),
            investigation=details.investigation,
            evaluation=details.evaluation,
            trends=watch.trends,
            configuration=self.configurations.condition(policy, workload),
        )
        retry = await self.reporter.report(policy, seen)
        stamp = self.clock().timestamp()
        every = policy.spec.pod_metrics.every_milliseconds / 1000
        scrape = schedule.next_look(watch, workload, result.verdict, stamp)
        is_calm = acted.again is None
        read = schedule.next_read(watch, result.verdict, every, stamp) if is_calm else math.inf
        self.watches[policy.key] = replace(watch, scrape_due=scrape, read_due=read)
        times = result.decision.deadline, holds.limit(policy)
        limit = schedule.next_limit(watch, result.question, times, stamp)
        due = min(scrape, read, limit) - stamp
        return max(0.05, schedule.soonest(due, acted.again, retry, acted.retry) or 0.0)

    async def _report_at_rest(self, policy: RollbackPolicy, target: _TargetState) -> float | None:
        """Write the status of a policy whose release is no longer under watch."""
        uid = target.deployment.uid if target.deployment is not None else ""
        rollbacks = self.cache.rollbacks_of(policy.metadata.namespace, uid)
        now, safety = self.clock(), policy.spec.safety
        seen = status.StatusInputs(
            target.ready,
            rollbacks=ownership.own(policy, rollbacks),
            of_target=rollbacks,
            quarantine_seconds=safety.quarantine_seconds,
        )
        return schedule.soonest(
            await self.reporter.report(policy, seen),
            quarantine.next_end(policy.status.quarantine, now),
            freeze.next_change(safety.freeze, now),
        )

    async def _report_unreadable(self, policy: Unreadable) -> float | None:
        end = hold_end.HoldEnd(Reason.INVALID_SPEC, policy.message)
        if policy.is_unread:
            return None
        settled = await self.holder.end(policy.shell, end, None)
        why = status.not_ready(Reason.INVALID_SPEC, policy.message)
        reported = await self.reporter.report_unreadable(settled.policy, why)
        return schedule.soonest(settled.retry, reported)


_PASS_FAILED = status.ready(
    Reason.PASS_FAILED, "the pass over the policy fails: see the operator's log"
)
_POLICY_DELETED = status.not_ready(Reason.POLICY_DELETED, "the policy was deleted")
