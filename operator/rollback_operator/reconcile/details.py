"""Details: reads that a decision leads to, and that go on record with it.

Live counts while a person watches, migrations and ConfigMaps of a good release, durations by route
where a person is to investigate. Each is read before the acts of its pass, and none of them keeps a
rollback or a pause waiting.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial

from rollback_operator.adapters.fairness.slices import apart
from rollback_operator.api.policy_status import Evaluation
from rollback_operator.api.v1alpha1 import (
    Health,
    Investigation,
    LedgerEntry,
    Response,
    RollbackPolicy,
)
from rollback_operator.decide.evaluate import EvaluationResult
from rollback_operator.model.schema import Applied
from rollback_operator.ports.application import Schemas
from rollback_operator.ports.metrics import Prometheus
from rollback_operator.reconcile.observe.configurations import ConfigurationReader
from rollback_operator.reconcile.observe.observation import Observer, Source
from rollback_operator.releases.ledger import health_of
from rollback_operator.remedies.database import schema
from rollback_operator.report import live_counts
from rollback_operator.report.diagnosis import diagnose
from rollback_operator.report.live_counts import RecordRateLimit

REST_SECONDS = 30.0
"""A database that did not answer is not asked again before this."""
_TRUSTED = (Health.GOOD, Health.ASSUMED)


@dataclass
class MigrationRecorder:
    """Puts the applied migrations into the ledger, once for a revision that is trusted."""

    schemas: Schemas
    clock: Callable[[], datetime]
    rests: dict[tuple[str, str], datetime] = field(default_factory=dict)

    async def remember(
        self, policy: RollbackPolicy, ledger: Sequence[LedgerEntry], release: str
    ) -> list[LedgerEntry]:
        """Give the ledger with the migrations of the running release, if they are to be read."""
        now, database = self.clock(), policy.spec.database
        before = health_of(policy.status.revisions, release)
        wanted = any(
            entry.release == release
            and entry.health in _TRUSTED
            and (entry.migrations is None or entry.health is not before)
            for entry in ledger
        )
        if database is None or not wanted or now < self.rests.get(policy.key, now):
            return list(ledger)
        self.rests = {key: due for key, due in self.rests.items() if now < due}
        self.rests[policy.key] = now + timedelta(seconds=REST_SECONDS)
        try:
            async with asyncio.timeout(schema.MIGRATIONS_SECONDS):
                applied = await self.schemas.read(policy.metadata.namespace, database)
        except TimeoutError:
            return list(ledger)
        if not isinstance(applied, Applied):
            return list(ledger)
        self.rests.pop(policy.key, None)
        record = schema.recorded(applied, now)
        return [
            entry.model_copy(update={"migrations": record}) if entry.release == release else entry
            for entry in ledger
        ]


@dataclass(frozen=True, slots=True)
class Details:
    """The record of a decision besides the watch."""

    ledger: Sequence[LedgerEntry]
    investigation: Investigation | None
    evaluation: Evaluation | None


@dataclass
class DetailReader:
    """Reads the details of a decision."""

    rememberer: MigrationRecorder
    configurations: ConfigurationReader
    observer: Observer
    default: str
    """The address of Prometheus for policies that name none."""
    clock: Callable[[], datetime]
    pace: RecordRateLimit = field(default_factory=RecordRateLimit)
    """How many evaluations were put on record of late, for all policies."""

    async def observe(self, result: EvaluationResult) -> Details:
        """Read the details of a decision."""
        policy, workload = result.case.policy, result.case.workload
        release = workload.deployment.template.release
        ledger = await self.configurations.remember(policy, result.case.ledger, workload)
        return Details(
            await self.rememberer.remember(policy, ledger, release),
            await self._investigation(result),
            await self._evaluation(result),
        )

    async def _investigation(self, result: EvaluationResult) -> Investigation | None:
        """Collect the evidence when a person is first asked to investigate, or it gets worse."""
        case, decision, watch = result.case, result.decision, result.watch
        # A pause does not wait for durations: the pass after it reads them.
        if decision.response is not Response.INVESTIGATE or result.hold != case.policy.status.hold:
            return None
        known, workload = case.policy.status.investigation, case.workload
        is_known = known is not None and known.release == workload.deployment.template.release
        if is_known and known is not None and known.severity <= decision.severity:
            return None
        source = Source(case.policy, Prometheus.of(case.policy, self.default))
        latency = await self.observer.latency_by_route(watch, workload, source)
        return diagnose(decision, workload, watch, latency, self.clock())

    async def _evaluation(self, result: EvaluationResult) -> Evaluation | None:
        """Give the counts to put on record; None: no person watches, or the limit is reached."""
        policy, now = result.case.policy, self.clock()
        if not live_counts.is_watched(policy.metadata.annotations, now):
            return None
        known = policy.status.evaluation
        if known is not None and not live_counts.is_current(known, result):
            known = None
        if not live_counts.is_due(known, result.verdict, now):
            return known
        namespace = policy.metadata.namespace
        pace = self.pace.after(namespace, now)
        if pace is None:
            return known
        self.pace = pace
        size = len(result.watch.evidence.increments)
        return await apart(namespace, size, partial(live_counts.evaluate, result, now))
