"""What a deploy changes, and what bears on it: the facts of a preflight, and the form of findings.

Contains observed facts only; deploy.py and deploy_metrics.py draw the conclusions.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from rollback_operator.advise.migrations import MigrationFiles
from rollback_operator.advise.policy import PolicyFinding
from rollback_operator.api.v1alpha1 import MatrixSeverity
from rollback_operator.decide import matrix
from rollback_operator.model.context import Case
from rollback_operator.model.samples import Missing
from rollback_operator.model.surroundings import Mention
from rollback_operator.model.workload import Workload


class DeployCheck(StrEnum):
    """What is checked before a deploy, in the order of the output."""

    POLICY = "Policy"
    TARGET = "Target"
    HISTORY = "History"
    RELEASE = "Release"
    REFERENCES = "References"
    RESPONSE = "Response"
    MIGRATIONS = "Migrations"
    METRICS = "Metrics"
    PROOF = "Proof"


@dataclass(frozen=True, slots=True)
class DeployFinding:
    """A finding, and the check that made it."""

    check: DeployCheck
    finding: PolicyFinding


@dataclass(frozen=True, slots=True)
class DeployFacts:
    """The target before and after the deploy, and what the release needs."""

    case: Case
    """The policy, the target as it is, the ledger and the rollbacks."""
    after: Workload
    """The target with the new template; the same as before if no manifest is given."""
    now: datetime
    is_first: bool = False
    """The Deployment does not exist yet."""
    is_stored: bool = True
    """The policy is in the cluster."""
    is_changed: bool = False
    """The deploy changes the policy: its conditions are those of another spec."""
    requests: tuple[str, ...] = ()
    """Rollbacks that people requested and the operator has not planned yet."""
    mentions: Mapping[Mention, bool | Missing] = field(default_factory=dict)
    """Whether the objects and keys exist that the new template names."""
    migrations: MigrationFiles | None = None
    """None: not given."""
    is_compared: bool = True
    """The new template has the defaults of the API server, and can be compared with others."""
    is_prometheus_given: bool = False
    """The user has named an address of Prometheus: it must answer."""
    refused: str = ""
    """Why the API server would refuse the Deployment; empty: it would not, or was not asked."""

    @property
    def is_rollout(self) -> bool:
        """Whether the deploy changes the pod template."""
        before = self.case.workload.deployment.template.digest
        return self.is_first or self.after.deployment.template.digest != before

    @property
    def severities(self) -> tuple[MatrixSeverity, ...]:
        """The severities at which the operator acts."""
        rules = self.case.policy.spec.matrix
        return tuple(rule.severity for rule in rules if matrix.acts(rule))
