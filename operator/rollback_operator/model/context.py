"""Input of a decision on one policy, and the result where nothing is done."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rollback_operator.api.policy_status import RecentRollback
from rollback_operator.api.reasons import Reason
from rollback_operator.api.v1alpha1 import LedgerEntry, Rollback, RollbackPolicy
from rollback_operator.model.samples import Missing
from rollback_operator.model.workload import Configuration, FlagState, Workload


@dataclass(frozen=True, slots=True)
class RollbackBudget:
    """The operator's own limits over all policies; 0: no limit."""

    max_concurrent: int = 0
    max_per_day: int = 0


@dataclass(frozen=True, slots=True)
class Load:
    """Used part of the limits."""

    budget: RollbackBudget = field(default_factory=RollbackBudget)
    active: int = 0
    day: int = 0

    @property
    def exhausted(self) -> str:
        """Name the limit that is reached; empty: none."""
        if 0 < self.budget.max_concurrent <= self.active:
            most = self.budget.max_concurrent
            return (
                f"{self.active} rollbacks are in progress in this cluster and --max-concurrent is "
                f"{most}: the rollback waits. Check for a cause that the failing releases share"
            )
        if 0 < self.budget.max_per_day <= self.day:
            return (
                f"{self.day} rollbacks in this cluster in the last 24 hours, "
                f"--max-rollbacks-per-day is {self.budget.max_per_day}"
            )
        return ""


@dataclass(frozen=True, slots=True)
class RestoreFacts:
    """What a decision to restore ConfigMaps takes, read for that decision."""

    current: Configuration
    """As it is now."""
    began: Configuration | None = None
    """As it was when the release began, without texts; None: only its digest is known."""
    contents: Mapping[str, str] = field(default_factory=dict)
    """Stored contents of known good revisions, as canonical JSON, by digest."""
    users: Mapping[str, tuple[str, ...] | Missing] = field(default_factory=dict)
    """Other workloads that use a ConfigMap, by its name."""


@dataclass(frozen=True, slots=True)
class Case:
    """Complete input of a decision on one policy."""

    policy: RollbackPolicy
    workload: Workload
    ledger: Sequence[LedgerEntry]
    rollbacks: Sequence[Rollback]
    """All Rollbacks of this Deployment, of any author."""
    past: Sequence[RecentRollback] = ()
    """The policy's other rollbacks: their records are deleted, or belong to another Deployment."""
    load: Load = field(default_factory=Load)
    """Of the entire cluster."""
    flags: Mapping[tuple[str, str], FlagState | Missing] = field(default_factory=dict)
    """Observed flags of the policy's remedies, by ConfigMap and key."""
    restorable: RestoreFacts | None = None
    """None: not read yet."""
    failing: Mapping[str, str] = field(default_factory=dict)
    """Older releases without a record that fail by their own counts, and the reason."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A rollback that is needed but not made."""

    reason: Reason
    message: str
    needs_person: bool = False
    """It lasts until a person decides on another Rollback that waits for approval."""


def is_active(rollback: Rollback) -> bool:
    """Return whether a rollback has not ended yet."""
    return rollback.status.outcome is None
