"""Puts live counts of a release on record while a person watches it; paced for all policies."""

from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from rollback_operator.adapters.fairness.slices import apart
from rollback_operator.api.policy_status import Evaluation
from rollback_operator.api.v1alpha1 import RollbackPolicy
from rollback_operator.decide.evaluate import EvaluationResult
from rollback_operator.report import live_counts
from rollback_operator.report.live_counts import RecordRateLimit


@dataclass
class Evaluator:
    """Knows how many evaluations were put on record of late."""

    pace: RecordRateLimit = field(default_factory=RecordRateLimit)

    async def evaluation(
        self, policy: RollbackPolicy, found: EvaluationResult, now: datetime
    ) -> Evaluation | None:
        """Give the evaluation that is to be on record; None: nobody watches, or there is no room.

        Args:
            policy: as it is stored.
            found: by the look at its release.
            now: the time of the look.
        """
        if not live_counts.is_watched(policy.metadata.annotations, now):
            return None
        known = policy.status.evaluation
        if known is not None and not live_counts.is_current(known, found):
            known = None
        if not live_counts.is_due(known, found.verdict, now):
            return known
        namespace = policy.metadata.namespace
        pace = self.pace.after(namespace, now)
        if pace is None:
            return known
        self.pace = pace
        size = len(found.watch.evidence.increments)
        return await apart(namespace, size, partial(live_counts.evaluate, found, now))
