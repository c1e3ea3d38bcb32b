"""Carries on the Rollbacks of a policy, in its pass; the intent is stored before.

A Rollback that needs no metrics is carried on before they are read: an undo does not wait for
Prometheus.
"""

import logging
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from rollback_operator.api.checklist import Consequence
from rollback_operator.api.reasons import Reason
from rollback_operator.api.v1alpha1 import (
    MatrixSeverity,
    ObjectMeta,
    Outcome,
    Response,
    Rollback,
    RollbackSpec,
    Severity,
)
from rollback_operator.decide import asking, superseding
from rollback_operator.decide.decide import Decision
from rollback_operator.decide.evaluate import EvaluationResult
from rollback_operator.evidence.watch import Watch
from rollback_operator.model.context import Case, is_active
from rollback_operator.ports.failure import RETRY_SECONDS, Failure, FailureKind
from rollback_operator.ports.store import Store
from rollback_operator.reconcile.act.execution import Again, Executor
from rollback_operator.reconcile.act.verifying import VerificationInputs, meter_of
from rollback_operator.reconcile.cache import Cache
from rollback_operator.reconcile.tags import tagged
from rollback_operator.releases import ownership
from rollback_operator.remedies import attempts
from rollback_operator.remedies.attempts import name_of
from rollback_operator.remedies.progress import RollbackEnd
from rollback_operator.rollback.checklist import Checklist, summarized
from rollback_operator.rollback.course import needs_no_metrics

_log = logging.getLogger(__name__)
SOON = 0.05
"""Seconds until the next pass after a change."""


@dataclass(frozen=True, slots=True)
class Carried:
    """How far a Rollback has been carried before metrics were read."""

    seconds: float
    is_changed: bool = False


@dataclass
class Carrier:
    """Stores intents, and carries on the open Rollback of a policy."""

    cache: Cache
    store: Store
    executor: Executor
    default: str
    """The address of Prometheus for policies that name none."""
    previews: dict[tuple[str, str], tuple[datetime, Checklist]] = field(default_factory=dict)
    """By plan: the checklist that it would have, and until when that is not evaluated again."""

    async def before_metrics(self, case: Case, known: Watch | None) -> Carried | None:
        """Carry on a Rollback that needs no metrics; None: there is none.

        Args:
            case: the policy and its target, as they were read in this pass.
            known: the watch of the release so far; None: there is none.
        """
        active = _open(case)
        if active is None or not needs_no_metrics(active):
            return None
        is_same = known is not None and known.digest == case.workload.deployment.template.digest
        done = await self._carry_on(active, case, known if is_same else None)
        if isinstance(done, Again) and done.rollback == active:
            return Carried(done.seconds)
        return Carried(SOON, is_changed=True)

    async def _carry_on(
        self, active: Rollback, case: Case, watch: Watch | None
    ) -> Rollback | Again:
        if not ownership.is_ours(active, case.policy):
            # It arrived during this pass and requeued it: the next pass ends it by its course.
            # No sooner: while its end cannot be written, passes must not spin.
            return Again(active, RETRY_SECONDS)
        meter = meter_of(case.policy, case.workload.deployment, self.default)
        inputs = VerificationInputs(watch, meter, database=case.policy.spec.database)
        with tagged(rollback=active.metadata.name):
            return await self.executor.carry_on(active, case.workload, inputs)

    async def make_way(self, result: EvaluationResult) -> EvaluationResult:
        """End the open question whose place a plan takes, just before that is stored.

        Not if the plan would need an approval too, or would be blocked: the refusal then names the
        question. After a crash in between, the decision is made again, without the question.
        """
        case, decision = result.case, result.decision
        named = (each for each in case.rollbacks if each.metadata.name == decision.supersedes)
        question, plan = next(named, None), decision.plan
        if question is None or plan is None:
            return result
        without_plan = replace(decision, plan=None, supersedes="")
        checklist = await self._preview(case, plan, result.watch)
        if checklist.consequence is not Consequence.PROCEED:
            why = summarized(checklist.of(checklist.consequence))
            refusal = superseding.stays(question, why)
            return replace(result, decision=replace(without_plan, refusal=refusal))
        end = superseding.superseded(plan, decision.severity)
        ended = await self.executor.end(question, end)
        if isinstance(ended, Again):
            return replace(result, decision=without_plan)
        return replace(result, case=superseding.with_rollback(case, ended))

    async def act(self, case: Case, decision: Decision, watch: Watch) -> float | None:
        """Execute a decision; gives the seconds until the next look, None: nothing is open."""
        active = _open(case)
        if decision.plan is not None and await self._is_blocked_still(case, decision.plan, watch):
            return None
        if decision.plan is not None:
            stored = await self._store_intent(case, decision.plan)
            if isinstance(stored, Failure):
                return 0.1 if stored.kind is FailureKind.CONFLICT else RETRY_SECONDS
            active = stored
        known = attempts.of_revision(case)
        if active is None or not is_active(active):
            if known is not None:
                await self._raise_severity(known, decision)
            return None
        if asking.is_waiting(active):
            answered = await self._answered(active, decision)
            if isinstance(answered, Again) or not is_active(answered):
                return answered.seconds if isinstance(answered, Again) else SOON
            active = answered
        elif known is not None and known.metadata.uid == active.metadata.uid:
            active = await self._raise_severity(active, decision)
        if needs_no_metrics(active) and decision.plan is None:
            return None  # carried on before metrics were read
        done = await self._carry_on(active, case, watch)
        return done.seconds if isinstance(done, Again) else SOON

    async def _answered(self, asked: Rollback, decision: Decision) -> Rollback | Again:
        """Answer a proposal that needs no person any more: it proceeds, or is obsolete."""
        if decision.response is Response.ROLLBACK:
            severity = MatrixSeverity(decision.severity)
            return await self.executor.escalate(asked, severity, decision.proceeds)
        if not asked.spec.is_blame_open:
            return asked
        if decision.recovered:
            end = RollbackEnd(Outcome.ABANDONED, Reason.TRAFFIC_RECOVERED, decision.recovered)
            return await self.executor.end(asked, end)
        return await self._raise_severity(asked, decision)

    async def _is_blocked_still(self, case: Case, spec: RollbackSpec, watch: Watch) -> bool:
        """Check whether the last try of this plan was blocked, and still would be."""
        last = attempts.of_plan(case.rollbacks, spec)
        if last is None or last.status.outcome is not Outcome.BLOCKED:
            return False  # no report yet of what blocks it
        checklist = await self._preview(case, spec, watch)
        return checklist.consequence is Consequence.BLOCK

    async def _preview(self, case: Case, spec: RollbackSpec, watch: Watch) -> Checklist:
        """Evaluate the checklist of a plan that is not stored."""
        now, key = self.executor.clock(), (case.policy.metadata.namespace, name_of(spec))
        self.previews = {name: kept for name, kept in self.previews.items() if now < kept[0]}
        if key in self.previews:
            return self.previews[key][1]
        made = ObjectMeta(namespace=key[0], name=key[1], uid="/".join(key))
        preview = Rollback(metadata=made, spec=spec)
        checklist = await self.executor.checker.check(preview, case.workload, watch)
        self.executor.checker.forget(preview)
        until = now + timedelta(seconds=attempts.ATTEMPT_POLL_SECONDS)
        self.previews[key] = until, checklist
        return checklist

    async def _store_intent(self, case: Case, spec: RollbackSpec) -> Rollback | Failure:
        """Store the intent, unless a fresh list shows what the watches have not delivered yet."""
        namespace, name = case.policy.metadata.namespace, name_of(spec)
        fresh = await self.store.list_rollbacks(namespace)
        if isinstance(fresh, Failure):
            return fresh
        for rollback in fresh:
            self.cache.remember(rollback)
        same = [each for each in fresh if each.spec.target_ref.uid == spec.target_ref.uid]
        if ownership.records(same) != ownership.records(case.rollbacks):
            # The guards decided on a stale view: this pass ends, the next decides again.
            return Failure(FailureKind.CONFLICT, f"{name}: the rollbacks on record have changed")
        made = await self.store.create_rollback(namespace, name, spec)
        if isinstance(made, Failure):
            _log.warning("%s: the intent was not stored: %s", name, made.message)
            return made
        self.cache.remember(made)
        _log.info("%s: %s", name, spec.trigger.message)
        return made

    async def _raise_severity(self, known: Rollback, decision: Decision) -> Rollback:
        """Raise a recorded severity with the evidence; it never falls."""
        if decision.severity is Severity.NONE:
            return known
        if decision.severity < (known.status.severity or known.spec.severity):
            return await self.executor.set_severity(known, MatrixSeverity(decision.severity))
        return known


def _open(case: Case) -> Rollback | None:
    """Find the open Rollback of a policy on its target."""
    opened = (each for each in case.rollbacks if ownership.is_open(each, case.policy))
    return next(opened, None)
