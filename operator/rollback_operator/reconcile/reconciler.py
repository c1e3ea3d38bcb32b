"""One pass for one policy: observe, decide, act, report. Straight down, once.

Nothing here knows kopf, HTTP or SQL: what is seen comes through ports, what is decided comes from
core, and what is stored is stored before it is done.
"""

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial

from rollback_operator.adapters.fairness.slices import apart
from rollback_operator.api.reasons import IDLE, Reason
from rollback_operator.api.v1alpha1 import (
    Condition,
    Investigation,
    Response,
    Rollback,
    RollbackPolicy,
    RollbackRequest,
)
from rollback_operator.decide import freeze, hold_end, holds, schedule
from rollback_operator.decide.decide import Decision
from rollback_operator.decide.evaluate import case_of, evaluate_release, is_due, watch_of
from rollback_operator.decide.guards import load_of
from rollback_operator.decide.hold_end import HoldFacts
from rollback_operator.evidence.watch import Watch
from rollback_operator.model.context import Case, Refusal, RollbackBudget, is_active
from rollback_operator.model.workload import Deployment
from rollback_operator.ports.failure import RETRY_SECONDS, Failure, FailureKind
from rollback_operator.ports.queries import Prometheus
from rollback_operator.ports.store import Store
from rollback_operator.reconcile.act.flagging import Switch
from rollback_operator.reconcile.act.holding import Holder
from rollback_operator.reconcile.cache import Cache, Key, Unreadable
from rollback_operator.reconcile.carrying import SOON, Carried, Carrier
from rollback_operator.reconcile.keeping import Keeper
from rollback_operator.reconcile.live_counts import Evaluator
from rollback_operator.reconcile.migrations import Rememberer
from rollback_operator.reconcile.notifier import Teller
from rollback_operator.reconcile.observe.inspection import Inspector
from rollback_operator.reconcile.observe.lookout import Lookout
from rollback_operator.reconcile.observe.observation import Observer, Source
from rollback_operator.reconcile.observe.readings import Readings
from rollback_operator.reconcile.observe.standing import MetricsAccess, around
from rollback_operator.reconcile.preflight import Foresight
from rollback_operator.reconcile.requests import Desk
from rollback_operator.reconcile.status_writer import Reporter
from rollback_operator.releases import ownership, quarantine
from rollback_operator.releases.baseline_choice import control_hashes
from rollback_operator.remedies.progress import RollbackEnd
from rollback_operator.report import status
from rollback_operator.report.diagnosis import diagnose
from rollback_operator.report.readiness import not_found, readiness
from rollback_operator.rollback.course import context_of, course

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _PolicyState:
    """What is known of a policy before its release is judged."""

    ready: Condition
    carried: Carried | None


@dataclass
class Reconciler:
    """Everything that a pass needs; made once, in bootstrap."""

    cache: Cache
    inspector: Inspector
    store: Store
    observer: Observer
    readings: Readings
    foresight: Foresight
    switch: Switch
    carrier: Carrier
    keeper: Keeper
    holder: Holder
    lookout: Lookout
    desk: Desk
    rememberer: Rememberer
    teller: Teller
    reporter: Reporter
    address: MetricsAccess
    clock: Callable[[], datetime]
    budget: RollbackBudget = field(default_factory=RollbackBudget)
    evaluator: Evaluator = field(default_factory=Evaluator)
    watches: dict[Key, Watch] = field(default_factory=dict)

    async def reconcile(self, key: Key) -> float | None:
        """Make one pass; gives the seconds until the next look, None: when something happens."""
        freed = await self.keeper.let_be_deleted(key)
        try:
            wait = schedule.soonest(freed, await self._reconciled(key))
        except Exception:
            # Whatever a pass cannot make sense of, what has begun is brought to its end.
            await self.keeper.carry(self.cache.rollbacks_by(key), _PASS_FAILED)
            raise
        # After all acts: people are told of what is stored, and nothing waits for them.
        told = await self.teller.settle(key)
        refused = await self.keeper.release_refused(self.cache.requests_by(key))
        return schedule.soonest(wait, told, refused, await self.keeper.prune(key))

    async def _reconciled(self, key: Key) -> float | None:
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
                told = await self._report_unreadable(policy)
                return schedule.soonest(told, carried, answered)
            case RollbackPolicy():
                return await self._pass(policy)

    # -- observe -----------------------------------------------------------------------------------

    async def _pass(self, policy: RollbackPolicy) -> float | None:
        policy, key = ownership.of_target(policy), policy.key
        target = key[0], policy.spec.target_ref.name
        deployment = self.cache.deployments.get(target)
        if deployment is not None:
            deployment = await self.lookout.claimed(deployment)
        found = around(policy, self.cache, self.address, self.clock())
        found, anew = await self.foresight.look(policy, deployment, found)
        ready = readiness(policy, deployment, found)
        is_missing = ready.reason == Reason.TARGET_NOT_FOUND
        if is_missing:
            absence = await self.inspector.absence(*target)
            if absence is None:
                return RETRY_SECONDS / 4  # the watch has not delivered it yet
            if absence.kind is not FailureKind.GONE:
                said = f"the Deployment {target[1]} cannot be read: {absence.message}"
                ready = status.not_ready(Reason.TARGET_NOT_FOUND, said)
        if policy.metadata.deletion_timestamp is not None:
            ready = _POLICY_DELETED
        if deployment is None or ready.reason in IDLE:
            return await self._rest(policy, deployment, ready)
        now = self.clock()
        left_over = self._left_over(policy, deployment, ready)
        carried = await self.keeper.carry(left_over, ready)
        rollbacks = self.cache.rollbacks_of(key[0], deployment.uid)
        earlier = await self.keeper.settle_earlier(key, deployment)
        settled = await self.keeper.settle(rollbacks, deployment)
        left = schedule.soonest(carried, earlier, settled)
        active = next((one for one in rollbacks if is_active(one)), None)
        is_held = holds.is_held(policy, deployment)
        asked = self.cache.requests_of(key)
        is_busy = active is not None or is_held or bool(asked)
        if not is_busy and not is_due(policy, deployment, now):
            self._end_watch(key)
            seen = status.StatusInputs(
                ready,
                rollbacks=ownership.own(policy, rollbacks),
                quarantine_seconds=policy.spec.safety.quarantine_seconds,
            )
            thaw = freeze.next_change(policy.spec.safety.freeze, now)
            free = quarantine.next_end(policy.status.quarantine, now)
            return schedule.soonest(
                left, await self.reporter.report(policy, seen), free, thaw, anew
            )
        return schedule.soonest(left, await self._judge(policy, deployment, ready, asked))

    def _left_over(
        self, policy: RollbackPolicy, deployment: Deployment, ready: Condition
    ) -> list[Rollback]:
        """Give the open Rollbacks that are of another Deployment than is judged, or are to end."""
        now = self.clock()
        return [
            one
            for one in self.cache.rollbacks_by(policy.key)
            if is_active(one)
            and (
                one.spec.target_ref.uid != deployment.uid
                or isinstance(
                    course(one, context_of(one, policy, ready, deployment), now), RollbackEnd
                )
            )
        ]

    async def _judge(
        self,
        policy: RollbackPolicy,
        deployment: Deployment,
        ready: Condition,
        asked: Sequence[RollbackRequest],
    ) -> float | None:
        """Read the target and its metrics, and go on from there."""
        key, now = policy.key, self.clock()
        rollbacks = self.cache.rollbacks_of(key[0], deployment.uid)
        is_open = bool(asked) or any(is_active(one) for one in rollbacks)
        # What is carried on writes to the target: a look of before would show its own write undone.
        watched = None if is_open else self.watches.get(key)
        workload = await self.inspector.inspect(key, deployment, watched)
        if isinstance(workload, Failure):
            return await self._unread(policy, workload)
        load = load_of(self.cache.rollbacks.values(), key[0], self.budget, now)
        flags = await self.switch.states(policy)
        records = self.cache.records_of(policy, deployment.uid)
        known = ownership.informed(policy, self.cache.policies_on(key[0], deployment.name))
        made = replace(case_of(known, workload, records, now), load=load, flags=flags)
        case = await self._settled(made, now)
        workload, policy = case.workload, case.policy
        if workload.current is None:
            return RETRY_SECONDS / 4  # the controller has not made the ReplicaSet yet
        if asked:
            return await self.desk.answer(case, asked)
        # Before metrics: what has begun, or is asked for by a person, needs none of them.
        carried = await self.carrier.before_metrics(case, self.watches.get(key))
        if carried is not None and carried.is_changed:
            return SOON  # what has been changed is looked at anew
        source = Source(policy, Prometheus.of(policy, self.address.default))
        watch = watch_of(self.watches.get(key), case, source.prometheus.identity, now)
        if any(is_active(one) for one in rollbacks):
            watch = replace(watch, read_due=math.inf)  # whether it helped is for scrapes to show
        watch = self.watches[key] = await self.readings.observe(key, watch, workload, source)
        return await self._decide(case, watch, _PolicyState(ready, carried))

    async def _settled(self, case: Case, now: datetime) -> Case:
        """Hold a staged rollout, or let one go, before anything else: both cannot wait."""
        wanted = holds.wanted_hold(HoldFacts(case, control_hashes(case)), now)
        deployment = case.workload.deployment
        settled = await self.holder.settle(case.policy, wanted, deployment, case.ledger)
        if settled.deployment != deployment:
            self.inspector.forget(case.policy.key)
        claimed = await self.lookout.claimed(settled.deployment or deployment)
        workload = replace(case.workload, deployment=claimed)
        return replace(case, policy=settled.policy, workload=workload)

    async def _rest(
        self, policy: RollbackPolicy, deployment: Deployment | None, why: Condition
    ) -> float | None:
        """Judge nothing; let go of what is held, and carry on what has begun."""
        self._end_watch(policy.key)
        # Another policy's target may be held by that one.
        ours = None if why.reason == Reason.TARGET_ALREADY_WATCHED else deployment
        end = hold_end.HoldEnd(Reason(why.reason), why.message)
        settled = await self.holder.end(policy, end, ours)
        answered = await self._answer_at_rest(policy, ours, why)
        carried = schedule.soonest(answered, await self.keeper.carry_open(policy.key, why))
        if policy.metadata.deletion_timestamp is not None:
            return schedule.soonest(settled.retry, carried)
        uid = deployment.uid if deployment is not None else ""
        known = self.cache.rollbacks_of(policy.metadata.namespace, uid)
        seen = status.StatusInputs(why, rollbacks=ownership.own(policy, known))
        told = await self.reporter.report(settled.policy, seen)
        return schedule.soonest(settled.retry, carried, told)

    async def _answer_at_rest(
        self, policy: RollbackPolicy, deployment: Deployment | None, why: Condition
    ) -> float | None:
        """Answer people while nothing is judged: suspended, a policy does what they ask."""
        asked = self.cache.requests_of(policy.key)
        if not asked:
            return None
        if why.reason != Reason.SUSPENDED or deployment is None:
            return await self._refuse(asked, why)
        workload = await self.inspector.read(policy.metadata.namespace, deployment.name)
        if isinstance(workload, Failure):
            return workload.wait
        records = self.cache.records_of(policy, deployment.uid)
        case = case_of(policy, workload, records, self.clock())
        return await self.desk.answer(case, asked)

    async def _refuse(self, asked: Sequence[RollbackRequest], why: Condition) -> float | None:
        refusal = Refusal(Reason(why.reason), why.message)
        return max([await self.desk.refuse(one, refusal) for one in asked], default=0.0) or None

    def _end_watch(self, key: Key) -> None:
        self.watches.pop(key, None)
        self.readings.forget(key)
        self.inspector.forget(key)

    # -- decide, act, report -----------------------------------------------------------------------

    async def _decide(self, case: Case, watch: Watch, stands: _PolicyState) -> float | None:
        now = self.clock()
        policy, workload = case.policy, case.workload
        size = len(watch.evidence.increments)
        namespace = policy.metadata.namespace
        found = await apart(namespace, size, partial(evaluate_release, case, watch, now))
        deployment, ledger = workload.deployment, found.case.ledger
        settled = await self.holder.settle(policy, found.hold, deployment, ledger)
        policy = settled.policy
        if settled.deployment != workload.deployment:
            self.inspector.forget(policy.key)
        again = await self.carrier.act(found.case, found.decision, watch)
        if stands.carried is not None:
            again = schedule.soonest(again, stands.carried.seconds)
        rollbacks = self.cache.rollbacks_of(policy.metadata.namespace, workload.deployment.uid)
        seen = status.StatusInputs(
            stands.ready,
            workload=workload,
            ledger=await self.rememberer.remember(
                policy, found.case.ledger, workload.deployment.template.release
            ),
            decision=found.decision,
            missing=watch.missing,
            folded=watch.folded,
            direct=watch.pages_state,
            rollbacks=ownership.own(policy, rollbacks),
            quarantine_seconds=policy.spec.safety.quarantine_seconds,
            opened=datetime.fromtimestamp(watch.opened, UTC),
            investigation=await self._investigate(found.case, found.decision, watch),
            evaluation=await self.evaluator.evaluation(policy, found, now),
            trends=watch.trends,
        )
        retry = await self.reporter.report(policy, seen)
        stamp = self.clock().timestamp()
        every = policy.spec.pod_metrics.every_milliseconds / 1000
        scrape = schedule.next_look(watch, workload, found.verdict, stamp)
        is_calm = again is None
        read = schedule.next_read(watch, found.verdict, every, stamp) if is_calm else math.inf
        self.watches[policy.key] = replace(found.watch, scrape_due=scrape, read_due=read)
        times = found.decision.deadline, holds.limit(policy)
        limit = schedule.next_limit(watch, found.question, times, stamp)
        return max(
            0.05,
            schedule.soonest(min(scrape, read, limit) - stamp, again, retry, settled.retry) or 0.0,
        )

    async def _investigate(
        self, case: Case, decision: Decision, watch: Watch
    ) -> Investigation | None:
        """Collect what is known when a release is first found to need looking at, or gets worse."""
        if decision.response is not Response.INVESTIGATE:
            return None
        known, workload = case.policy.status.investigation, case.workload
        is_known = known is not None and known.release == workload.deployment.template.release
        if is_known and known is not None and known.severity <= decision.severity:
            return None
        source = Source(case.policy, Prometheus.of(case.policy, self.address.default))
        latency = await self.observer.latency_by_route(watch, workload, source)
        return diagnose(decision, workload, watch, latency, self.clock())

    async def _unread(self, policy: RollbackPolicy, failure: Failure) -> float | None:
        if failure.kind is FailureKind.GONE:
            name = policy.spec.target_ref.name
            missing = status.not_ready(
                Reason.TARGET_NOT_FOUND, not_found(name, policy.metadata.namespace)
            )
            await self.reporter.report(policy, status.StatusInputs(missing))
            return RETRY_SECONDS
        _log.warning("%s: the target cannot be read: %s", policy.metadata.name, failure.message)
        if failure.kind is FailureKind.REJECTED:
            refused = status.not_ready(Reason.READ_FAILED, failure.message)
            await self.reporter.report(policy, status.StatusInputs(refused))
        return failure.wait

    async def _report_unreadable(self, policy: Unreadable) -> float | None:
        end = hold_end.HoldEnd(Reason.INVALID_SPEC, policy.message)
        settled = await self.holder.end(policy.shell, end, None)
        said = status.not_ready(Reason.INVALID_SPEC, policy.message)
        told = await self.reporter.report_unreadable(settled.policy, said)
        return schedule.soonest(settled.retry, told)


_PASS_FAILED = status.ready(
    Reason.PASS_FAILED, "the pass over the policy fails: see the operator's log"
)
_POLICY_DELETED = status.not_ready(Reason.POLICY_DELETED, "the policy was deleted")
