"""Collects the facts of the checklist: side by side, within a time limit, before an act.

An item whose fact is not read by then says so, and why: an urgent undo does not wait for a side
question.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TypeVar

from rollback_operator.api.checklist import Approval, ApprovalSpec, DatabaseSpec
from rollback_operator.api.database.rolling_back import MigrationOrder, MigrationRecord
from rollback_operator.api.reasons import Reason
from rollback_operator.api.v1alpha1 import Mode, Rollback, RollbackPolicy
from rollback_operator.decide.freeze import frozen
from rollback_operator.evidence.watch import Watch
from rollback_operator.model.context import is_active
from rollback_operator.model.controllers import Claims, OwnedDeployment, OwnerState
from rollback_operator.model.samples import Missing
from rollback_operator.model.schema import SchemaHistory, UnknownSchema
from rollback_operator.model.workload import Workload
from rollback_operator.ports.application import SchemaChanges, Schemas
from rollback_operator.ports.cluster import Owners, Surroundings, Tools
from rollback_operator.ports.failure import Failure, FailureKind
from rollback_operator.remedies import gitops
from rollback_operator.remedies.database.migrations import LossReport
from rollback_operator.remedies.database.schema import MIGRATIONS_SECONDS
from rollback_operator.remedies.gitops import claimed
from rollback_operator.rollback import approval, checklist, schema_check
from rollback_operator.rollback.approval import ApprovalFacts
from rollback_operator.rollback.checklist import Checklist
from rollback_operator.rollback.checks import ChecklistFacts

CHECKLIST_SECONDS = 2.0
"""For all reads of a checklist together, but for the database's."""
LOSS_SECONDS = 40.0
"""For the measuring of a loss, the wait for other policies' included."""
LOSS_KNOWN_SECONDS = 300.0
"""Lifetime of a loss report: to measure it takes the locks of the migration for a moment."""

KEPT_AFTER = timedelta(hours=1)
"""A question is checked every few seconds: after this time its Rollback is gone."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class OwnResources:
    """Access to our own resources."""

    policy_of: Callable[[Rollback], RollbackPolicy | None]
    rollbacks_of: Callable[[str, str], Sequence[Rollback]]
    """Of a Deployment: namespace, uid."""


@dataclass(frozen=True, slots=True)
class _Kept:
    checklist: Checklist
    time: datetime
    approval: Approval | None
    unprotected: str | None = None
    """Why decisions do not count; None: not known yet."""


@dataclass(frozen=True, slots=True)
class _KnownLoss:
    names: Sequence[str]
    database: DatabaseSpec
    until: datetime
    report: LossReport


@dataclass
class Checker:
    """Evaluates the checklist, and again while a person is asked."""

    surroundings: Surroundings
    schemas: Schemas
    changes: SchemaChanges
    records: OwnResources
    clock: Callable[[], datetime]
    owners: Owners
    tools: Tools
    seconds: float = CHECKLIST_SECONDS
    database_seconds: float = MIGRATIONS_SECONDS
    kept: dict[str, _Kept] = field(default_factory=dict)
    """The newest checklist of each Rollback that a person is asked about, by uid."""
    losses: dict[str, _KnownLoss] = field(default_factory=dict)
    """By the Deployment's uid."""

    async def check(self, rollback: Rollback, workload: Workload, watch: Watch | None) -> Checklist:
        """Collect the facts and make the checklist."""
        facts = await self._collect_facts(rollback, workload, watch)
        made, now = checklist.make(facts), self.clock()
        recent = {uid: kept for uid, kept in self.kept.items() if now - kept.time < KEPT_AFTER}
        self.kept = recent | {rollback.metadata.uid: _Kept(made, now, rollback.spec.approval)}
        return made

    async def recheck(
        self, rollback: Rollback, workload: Workload, watch: Watch | None
    ) -> ApprovalFacts:
        """Give the current facts about a rollback that waits for an approval."""
        known, now = self.kept.get(rollback.metadata.uid), self.clock()
        if (
            known is None
            or known.approval != rollback.spec.approval
            or (now - known.time).total_seconds() >= approval.APPROVAL_POLL_SECONDS
        ):
            made = await self.check(rollback, workload, watch)
        else:
            made = known.checklist
        fault = await self._protection_fault(rollback)
        unprotected, unread = ("", fault.message) if isinstance(fault, Missing) else (fault, "")
        cold = self._freeze_reason(rollback, self.clock())
        granted = self.terms(rollback)
        now = self.clock()
        return ApprovalFacts(made, workload.deployment, unprotected, now, granted, unread, cold)

    def terms(self, rollback: Rollback) -> ApprovalSpec:
        """Give until when a person is asked, and what follows then."""
        return approval.terms(rollback, self.records.policy_of(rollback))

    def _freeze_reason(self, rollback: Rollback, now: datetime) -> str:
        """Name the freeze that keeps the operator, and no person, from acting for a Rollback."""
        policy = self.records.policy_of(rollback)
        if policy is None or rollback.is_by_hand:
            return ""
        severity = rollback.status.severity or rollback.spec.severity
        cold = frozen(policy.spec.safety.freeze, now, severity)
        return str(cold) if cold is not None else ""

    def forget(self, rollback: Rollback) -> None:
        """Drop the checklist of a Rollback that is over."""
        self.kept.pop(rollback.metadata.uid, None)

    async def _protection_fault(self, rollback: Rollback) -> str | Missing:
        """Give the reason why decisions do not count; before a decision, as of the checklist."""
        kept, is_decided = self.kept[rollback.metadata.uid], rollback.spec.approval is not None
        if kept.unprotected is not None and not is_decided:
            return kept.unprotected
        (answer,) = await _read_within([self.surroundings.approvals_unprotected()], self.seconds)
        if isinstance(answer, Missing):
            return answer if is_decided else ""  # reported once it is known
        self.kept[rollback.metadata.uid] = replace(kept, unprotected=answer)
        return answer

    async def _collect_facts(
        self, rollback: Rollback, workload: Workload, watch: Watch | None
    ) -> ChecklistFacts:
        policy = self.records.policy_of(rollback)
        namespace, uid = rollback.metadata.namespace, rollback.spec.target_ref.uid
        others = [
            other
            for other in self.records.rollbacks_of(namespace, uid)
            if is_active(other) and other.metadata.uid != rollback.metadata.uid
        ]
        facts = ChecklistFacts(rollback, workload, self.clock(), policy, others, watch)
        wanted = facts.target.references if facts.target else ()
        around = self.surroundings
        (cluster,), (quotas,), applied, owner, (claims,), there = await asyncio.gather(
            _read_within([around.cluster()], self.seconds),
            _read_within([around.quotas(namespace)], self.seconds),
            self._applied_migrations(policy),
            self._owner(rollback),
            _read_within([self.tools.read_claims(workload.deployment)], self.seconds),
            _read_within(
                [around.is_there(namespace, reference) for reference in wanted], self.seconds
            ),
        )
        if isinstance(claims, Claims):
            deployment = claimed(workload.deployment, claims)
            facts = replace(facts, workload=replace(workload, deployment=deployment))
        facts = replace(
            facts,
            claims=claims,
            references=dict(zip(wanted, there, strict=True)),
            cluster=cluster,
            quotas=quotas,
            schema=applied,
            owner=owner,
        )
        return replace(facts, loss=await self._loss(facts))

    async def _loss(self, facts: ChecklistFacts) -> LossReport | None:
        """Measure which data is lost with the newer migrations; a known loss stays as it is."""
        rollback, record, now = facts.rollback, schema_check.migrations_down(facts), self.clock()
        if not isinstance(record, MigrationRecord) or record.order is MigrationOrder.UNDO_ONLY:
            return None
        if rollback.spec.mode is Mode.OBSERVE:
            return LossReport(unknown="it is not measured in mode Observe")
        stored, uid = rollback.status.migrations, rollback.spec.target_ref.uid
        if stored is not None and stored.names == record.names and not stored.unknown_loss:
            return LossReport(tuple(stored.losses))  # an approval names these figures
        self.losses = {key: known for key, known in self.losses.items() if now < known.until}
        database, namespace = rollback.spec.database, rollback.metadata.namespace
        assert database is not None  # or there would be no record
        known = self.losses.get(uid)
        if known is not None and (known.names, known.database) == (record.names, database):
            return known.report
        try:
            async with asyncio.timeout(LOSS_SECONDS):
                report = await self.changes.measure(namespace, database, record)
        except TimeoutError:
            return LossReport(unknown=f"the loss could not be measured in {LOSS_SECONDS:g} s")
        if not report.unknown and not report.fault:
            until = now + timedelta(seconds=LOSS_KNOWN_SECONDS)
            self.losses[uid] = _KnownLoss(record.names, database, until, report)
        return report

    async def _owner(self, rollback: Rollback) -> OwnerState | Missing | None:
        steered = gitops.planned_suspension(rollback)
        if steered is None:
            return None
        (state,) = await _read_within([self._owner_state(steered)], self.seconds)
        return state

    async def _owner_state(self, steered: OwnedDeployment) -> OwnerState | Failure:
        """Read the owner to be suspended; a final failure is an obstacle."""
        state = await self.owners.read_owner(steered)
        final = (FailureKind.UNKNOWN_KIND, FailureKind.GONE, FailureKind.REJECTED)
        if isinstance(state, Failure) and state.kind in final:
            return OwnerState(steered.object.namespace, obstacle=state.message)
        return state

    async def _applied_migrations(self, policy: RollbackPolicy | None) -> SchemaHistory | None:
        if policy is None or policy.spec.database is None:
            return None
        try:
            async with asyncio.timeout(self.database_seconds):
                return await self.schemas.read(policy.metadata.namespace, policy.spec.database)
        except TimeoutError:
            seconds = self.database_seconds
            return UnknownSchema(f"the database did not answer within {seconds:g} s")


async def _read_within(
    reads: Sequence[Awaitable[T | Failure]], seconds: float
) -> list[T | Missing]:
    """Read all side by side; a late answer is missing."""
    if not reads:
        return []
    tasks = [asyncio.ensure_future(read) for read in reads]
    await asyncio.wait(tasks, timeout=seconds)
    late = Missing(Reason.READ_FAILED, f"the API server did not answer within {seconds:g} s")
    unread = [task for task in tasks if not task.done()]
    for task in unread:
        task.cancel()
    await asyncio.gather(*unread, return_exceptions=True)
    return [late if task in unread else _value_or_missing(task.result()) for task in tasks]


def _value_or_missing(answer: T | Failure) -> T | Missing:
    if isinstance(answer, Failure):
        return Missing(Reason.READ_FAILED, answer.message)
    return answer
