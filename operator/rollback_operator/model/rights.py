"""Rights that only some policies need, and the right to act, once a write was refused."""

from dataclasses import dataclass

from rollback_operator.api.reasons import ConditionType, Reason
from rollback_operator.api.remedy import GitOps
from rollback_operator.api.v1alpha1 import Mode, RollbackPolicy
from rollback_operator.model.conditions import find


@dataclass(frozen=True, slots=True)
class Right:
    """An RBAC permission in a policy's namespace, and the chart's value that grants it."""

    verb: str
    group: str
    resource: str
    subresource: str
    value: str

    def lacking(self, field: str, loss: str) -> str:
        """Describe a missing right: the field that needs it, the effect, and the remedy."""
        what = f"{self.resource}/{self.subresource}" if self.subresource else self.resource
        return (
            f"{field}: the operator has no permission to {self.verb} {what}: set {self.value} in "
            f"the chart, otherwise {loss}"
        )


LOGS = Right("get", "", "pods", "log", "rbac.podLogs")
AUTOSCALER_BOUNDS = Right(
    "patch", "autoscaling", "horizontalpodautoscalers", "", "rbac.autoscalers"
)

CREATE_JOBS = Right("create", "batch", "jobs", "", "migrations.namespaces")
PATCH_SERVICES = Right("patch", "", "services", "", "traffic.namespaces")
"""Granted together with the right to set zero replicas, which only admission knows."""

EXEC = Right("create", "", "pods", "exec", "podCommands.namespaces")

PATCH_DEPLOYMENTS = Right("patch", "apps", "deployments", "", "")
_REFUSALS = (
    (ConditionType.RECOVERED, Reason.STEP_REFUSED),
    (ConditionType.ROLLOUT_HELD, Reason.PAUSE_REFUSED),
    (ConditionType.ROLLOUT_HELD, Reason.RESUME_REFUSED),
)


def wanted(policy: RollbackPolicy) -> dict[Right, str]:
    """List the rights that not every policy needs, and the message where each is missing."""
    spec = policy.spec
    found: dict[Right, str] = {}
    if spec.verification.logs is not None:
        found[LOGS] = LOGS.lacking("spec.verification.logs", "Logs will be Unknown")
    # In mode Observe the operator scales nothing and needs no right.
    if spec.mode is Mode.ENFORCE and any(remedy.replicas for remedy in spec.remedies):
        loss = "Scale is refused where an autoscaler sets the replicas"
        found[AUTOSCALER_BOUNDS] = AUTOSCALER_BOUNDS.lacking("spec.remedies", loss)
    if spec.mode is Mode.ENFORCE and _has_jobs(policy):
        loss = "no migration is rolled back"
        found[CREATE_JOBS] = CREATE_JOBS.lacking("spec.database.rollbackMigrations", loss)
    if spec.mode is Mode.ENFORCE and spec.diagnosis.run is not None:
        found[EXEC] = EXEC.lacking("spec.diagnosis.exec", "no diagnosis is collected")
    field = _stopping_field(policy)
    if spec.mode is Mode.ENFORCE and field:
        found[PATCH_SERVICES] = PATCH_SERVICES.lacking(field, "the traffic cannot be stopped")
    if spec.mode is Mode.ENFORCE and _is_refused(policy):
        found[PATCH_DEPLOYMENTS] = (
            "spec.mode: the operator has no permission to patch deployments: install the chart's "
            "roles again (helm upgrade), otherwise it can neither roll back nor pause a rollout"
        )
    return found


def lent(policy: RollbackPolicy) -> str:
    """Name the field of a policy that adds rights to those of a manual request; empty: none does.

    The admission policy `rollback-operator-requested-policies` checks these of the author.
    """
    database = policy.spec.database
    allowed = database.rollback_migrations if database is not None else None
    if _has_jobs(policy) or (allowed is not None and allowed.sql is not None):
        return "spec.database.rollbackMigrations"
    stop = database.on_corruption if database is not None else None
    if stop is not None and stop.service:
        return "spec.database.onCorruption"
    return "spec.safety.gitOps" if policy.spec.safety.git_ops is GitOps.SUSPEND else ""


def _has_jobs(policy: RollbackPolicy) -> bool:
    database = policy.spec.database
    allowed = database.rollback_migrations if database is not None else None
    return allowed is not None and (allowed.job is not None or allowed.backup.job is not None)


def _stopping_field(policy: RollbackPolicy) -> str:
    """Return the field that stops traffic; empty: none does."""
    if policy.spec.database is not None and policy.spec.database.on_corruption is not None:
        return "spec.database.onCorruption"
    return "spec.remedies" if any(remedy.replicas == 0 for remedy in policy.spec.remedies) else ""


def _is_refused(policy: RollbackPolicy) -> bool:
    """Report whether a write was refused: only then is the chart's own right checked."""
    stored = policy.status.conditions
    known = [(find(stored, kind), reason) for kind, reason in _REFUSALS]
    return any(one is not None and one.reason == reason for one, reason in known)
