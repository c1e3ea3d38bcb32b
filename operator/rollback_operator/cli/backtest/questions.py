"""Virtual Rollbacks of a replay: those that count as done, and questions that nobody answers.

The past shows nothing of a person: a question waits for its deadline, proceeds while the service
is down, or is obsolete once the traffic has recovered, as it would in a cluster.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from rollback_operator.api.reasons import Reason
from rollback_operator.api.v1alpha1 import (
    Mode,
    ObjectMeta,
    Outcome,
    Response,
    Rollback,
    RollbackSpec,
    RollbackStatus,
    StepName,
)
from rollback_operator.decide import asking
from rollback_operator.decide.evaluate import EvaluationResult
from rollback_operator.remedies import rollback_status
from rollback_operator.remedies.attempts import name_of, rollback_name
from rollback_operator.remedies.progress import RollbackEnd


@dataclass
class VirtualRollbacks:
    """The Rollbacks that the operator would have stored."""

    namespace: str
    stored: list[Rollback] = field(default_factory=list)

    @property
    def open(self) -> Rollback | None:
        """The question that waits for an answer; None: nobody is asked."""
        return next((each for each in self.stored if each.status.outcome is None), None)

    def execute(self, spec: RollbackSpec, name: str, now: datetime) -> None:
        """Count a Rollback as done."""
        outcome = Outcome.VERIFIED if spec.mode is Mode.ENFORCE else Outcome.OBSERVED
        self._store(spec, name, RollbackStatus(outcome=outcome, finished_time=now))

    def ask(self, spec: RollbackSpec, now: datetime) -> None:
        """Store a question; in mode Observe it is only recorded."""
        if spec.mode is Mode.OBSERVE:
            self.execute(spec, name_of(spec), now)
            return
        asked = rollback_status.begun(RollbackStatus(), StepName.AWAITING_APPROVAL, now)
        deadline = now + timedelta(seconds=spec.approval_policy.timeout_seconds)
        status = asked.model_copy(update={"approval_deadline_time": deadline})
        self._store(spec, name_of(spec), status)

    def close(self, end: RollbackEnd, now: datetime) -> None:
        """End the open question."""
        asked = self.open
        if asked is not None:
            status = rollback_status.ended(asked, end, now)
            if end.outcome is Outcome.VERIFIED:
                status = status.model_copy(update={"escalated_time": now})
            self._replace(asked, asked.model_copy(update={"status": status}))

    def follow(self, evaluation: EvaluationResult, now: datetime) -> RollbackSpec | None:
        """Store what an evaluation leads to; return the plan that is executed at once, if any."""
        decision, question = evaluation.decision, asking.question_of(evaluation.case)
        plan = decision.plan
        if question is not None and decision.response is Response.ROLLBACK:
            message = decision.proceeds or decision.verdict.message
            self.close(RollbackEnd(Outcome.VERIFIED, Reason.RECOVERED, message), now)
            return question.spec
        if question is not None and decision.recovered:
            reason = Reason.TRAFFIC_RECOVERED
            self.close(RollbackEnd(Outcome.ABANDONED, reason, decision.recovered), now)
        elif plan is not None and plan.is_blame_open:
            self.ask(plan, now)
        elif plan is not None and not plan.requires_approval:
            self.execute(plan, rollback_name(evaluation.case), now)
            return plan
        return None  # any other proposal waits for a person, of whom the past shows nothing

    def expire(self, now: datetime) -> None:
        """Abandon a question at its deadline, and a question about an earlier release."""
        asked = self.open
        deadline = asked.status.approval_deadline_time if asked is not None else None
        if deadline is not None and now >= deadline:
            message = f"no decision by {deadline:%Y-%m-%d %H:%M:%S} UTC"
            end = RollbackEnd(Outcome.ABANDONED, Reason.APPROVAL_TIMED_OUT, message)
            self.close(end, now)

    def leave(self, digest: str, now: datetime) -> None:
        """Abandon a question about a release that does not run any more."""
        asked = self.open
        if asked is not None and asked.spec.from_revision.digest != digest:
            message = "another release was deployed"
            self.close(RollbackEnd(Outcome.ABANDONED, Reason.TARGET_MOVED, message), now)

    def deadlines(self) -> Sequence[float]:
        """List the time at which the open question is abandoned."""
        asked = self.open
        deadline = asked.status.approval_deadline_time if asked is not None else None
        return [] if deadline is None else [deadline.timestamp()]

    def _store(self, spec: RollbackSpec, name: str, status: RollbackStatus) -> None:
        meta = ObjectMeta(name=name, namespace=self.namespace, uid=name)
        self.stored.append(Rollback(metadata=meta, spec=spec, status=status))

    def _replace(self, old: Rollback, new: Rollback) -> None:
        self.stored = [new if each is old else each for each in self.stored]
