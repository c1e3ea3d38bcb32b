"""Plan of a Rollback: trigger, target, revisions and remedy.

The operator's own Rollbacks have their whole plan in spec. A manual request has a policy, a remedy,
a reason and the observed state; the operator stores its plan in status.plan before any change.
"""

from typing import Annotated, Any

from pydantic import AwareDatetime, ConfigDict, Field

from rollback_operator.api.checklist import ApprovalSpec, DatabaseSpec
from rollback_operator.api.reasons import Reason
from rollback_operator.api.remedy import (
    MOST_RESTORED,
    AutoscalerPlan,
    ConfigMapPlan,
    FlagPlan,
    OwnerPlan,
    Remedy,
    TrafficPlan,
    Updaters,
)
from rollback_operator.api.safety import PodCommand
from rollback_operator.api.shape import (
    TOKEN_OR_NONE_FORM,
    Digest,
    Identifier,
    Images,
    Model,
    Name,
    NameOrNone,
    PodHash,
    Text,
    cel,
    keyed_by,
)
from rollback_operator.api.terms import (
    Health,
    MatrixSeverity,
    Mode,
    Pace,
    SignalName,
    TargetKind,
)
from rollback_operator.api.verification import VerificationSpec

_PLANNED = ("targetRef", "mode", "severity", "fromRevision", "trigger")
_WITH_PLAN = (
    "toRevision",
    "flag",
    "configMaps",
    "keptConfiguration",
    "pace",
    "verification",
    "approvalPolicy",
    "requiresApproval",
    "attempt",
    "owner",
    "autoscaler",
    "database",
    "diagnosis",
    "traffic",
)


def whole_or_by_hand(schema: dict[str, Any]) -> None:
    """Let a spec contain the whole plan or none of it; the model itself requires the whole."""
    first, *rest = _PLANNED
    known = [name for name in _WITH_PLAN if name in schema["properties"]]
    together = [f"has(self.{name}) == has(self.{first})" for name in rest]
    within = [f"(!has(self.{name}) || has(self.{first}))" for name in known]
    schema["required"] = ["policyRef", "remedy"]
    schema.setdefault("x-kubernetes-validations", []).extend(
        [
            cel(
                " && ".join([*together, *within]),
                "a manual request must set only policyRef.name, remedy, reason and seen; the "
                "operator plans the rest",
            ),
            cel(
                f"has(self.{first}) != has(self.reason)",
                "reason is required in a manual request and must not be set otherwise",
                ".reason",
            ),
            cel(
                f"has(self.{first}) != has(self.seen)",
                "seen is required in a manual request and must not be set otherwise: Deployment, "
                "revision and digest from the policy's status, which the plugin copies",
                ".seen",
            ),
            cel(
                f"!has(self.{first}) || has(self.policyRef.uid)",
                "policyRef.uid is required in a plan",
            ),
            cel(
                f"has(self.{first}) || !has(self.remedy.restore)",
                "restore must not be set in a manual request: restore the ConfigMap, and restart "
                "the pods",
                ".remedy.restore",
            ),
            cel(
                f"has(self.{first}) || self.remedy.type != 'DisableFlag'",
                "DisableFlag must not be set in a manual request: change the ConfigMap, and "
                "restart the pods if they read it as an environment variable, or kubectl set env",
                ".remedy.type",
            ),
        ]
    )


def name_suffices(schema: dict[str, Any]) -> None:
    """Make the uid of a policy reference optional: only the operator knows it for sure."""
    schema["required"] = ["name"]


class Trigger(Model):
    """Reason for the rollback, with counts, odds and times."""

    reason: Annotated[str, Field(max_length=256)]
    """Reason in CamelCase."""
    message: Text
    """Explanation of the decision."""
    first_bad_time: AwareDatetime | None = None
    """Time of the first bad sample, or of the start of the outage."""
    decided_time: AwareDatetime
    """Time of the decision."""
    deadline_time: AwareDatetime | None = None
    """Deadline of the matrix rule."""
    requests: Annotated[int, Field(ge=0)] = 0
    """Evaluated requests of the new revision."""
    errors: Annotated[int, Field(ge=0)] = 0
    """Failed requests of the new revision."""
    control_requests: Annotated[int, Field(ge=0)] = 0
    """Requests of the baseline, such as the old revision."""
    control_errors: Annotated[int, Field(ge=0)] = 0
    """Failed requests of the baseline."""
    odds: Annotated[str, Field(max_length=32)] = ""
    """Likelihood ratio in favor of the new revision being worse, such as '12000 : 1'."""
    blame_odds: Annotated[str, Field(max_length=32)] = ""
    """Likelihood ratio of release against environment as the cause. Only set when no old pod is
    left for comparison."""
    signal: SignalName | None = None
    """Matrix signal that matched. Absent for ErrorRate."""


class RollbackTarget(Model):
    """Deployment at the time of the decision."""

    kind: TargetKind = TargetKind.DEPLOYMENT
    """Kind of the workload. Only Deployment is supported."""
    name: Name
    """Name of the Deployment."""
    uid: Identifier
    """UID of the Deployment."""


class RevisionRef(Model):
    """Source or target revision of the rollback."""

    number: Annotated[int, Field(ge=0)]
    """Revision number at the time of the decision."""
    template_hash: PodHash
    """pod-template-hash of the ReplicaSet."""
    digest: Digest
    """Digest of the pod template."""
    release: Digest
    """Digest of the release, as in the policy's `status.revisions`."""
    unannotated_digest: Digest | None = None
    """Digest of the pod template without annotations. Absent: equal to `release`, which then
    includes no configuration."""
    configuration: Digest | None = None
    """Digest of the ConfigMaps and Secrets when the revision began. Absent: not read."""
    images: Images = []
    """Images of the containers."""
    init_images: Images = []
    """Images of the init containers, including sidecars."""
    image_digests: Images = []
    """For the bad revision: digests of its images when they ran, except images that the target
    revision also uses."""
    brought_images: Images | None = None
    """For the bad revision: images that the target revision does not use."""
    replica_set: NameOrNone = ""
    """Name of the ReplicaSet."""
    replica_set_uid: Annotated[str, Field(max_length=64, pattern=TOKEN_OR_NONE_FORM)] = ""
    """UID of the ReplicaSet."""
    health: Health = Health.UNKNOWN
    """Recorded health at the time of the decision."""

    @property
    def bare(self) -> str:
        """Digest of the pod template without annotations, whatever its configuration."""
        return self.unannotated_digest or self.release


class PolicyRef(Model):
    """Policy that governs the rollback."""

    model_config = ConfigDict(json_schema_extra=name_suffices)

    name: Name
    """Name of the RollbackPolicy, in the same namespace."""
    uid: Identifier
    """UID of the policy. Set by the operator; omit it in a manual request."""


MOST_ATTEMPTS = 5


class RollbackPlan(Model):
    """Plan of the rollback, stored before any change."""

    policy_ref: PolicyRef
    """Policy that governs the rollback."""
    target_ref: RollbackTarget
    """Deployment at the time of the decision."""
    mode: Mode
    """Mode of the policy at the time of the decision. Observe: the Rollback is only recorded.
    Enforce: it is executed."""
    severity: MatrixSeverity
    """Severity at the time of the decision."""
    remedy: Remedy
    """Remedy to apply."""
    pace: Pace = Pace.NORMAL
    """Requested pace. Express temporarily sets maxSurge to 100 %. Normal (default) uses the
    Deployment's own strategy."""
    from_revision: RevisionRef
    """Revision that is replaced."""
    to_revision: RevisionRef | None = None
    """Revision that is restored. Absent for Scale, PinImage and DisableFlag."""
    flag: FlagPlan | None = None
    """For DisableFlag: state of the flag at the time of the decision."""
    config_maps: Annotated[
        list[ConfigMapPlan],
        Field(max_length=MOST_RESTORED, json_schema_extra=keyed_by("name")),
    ] = []
    """ConfigMaps to restore before the revision."""
    kept_configuration: Text = ""
    """ConfigMaps and Secrets that changed and are not restored, and why."""
    verification: VerificationSpec = VerificationSpec()
    """The policy's `verification` at the time of the decision."""
    approval_policy: ApprovalSpec = ApprovalSpec()
    """The policy's `approval` at the time of the decision."""
    attempt: Annotated[int, Field(ge=1, le=MOST_ATTEMPTS)] = 1
    """Number of the attempt, at most 5. A rollback that was blocked by the checklist, or abandoned
    before any change, is retried as a new Rollback after the cause is resolved."""
    requires_approval: bool = False
    """Requires approval regardless of the checklist, because the matrix rule sets `propose`, or
    because it is not clear whether the release is to blame."""
    owner: OwnerPlan | None = None
    """GitOps owner of the Deployment and its handling. Absent: no owner detected."""
    updaters: Updaters = []
    """Image updaters that may deploy the bad image again."""
    autoscaler: AutoscalerPlan | None = None
    """For Scale: HorizontalPodAutoscaler whose bounds are raised. Absent: spec.replicas of the
    Deployment is set."""
    database: DatabaseSpec | None = None
    """The policy's `database` at the time of the decision, if it allows rolling migrations back."""
    diagnosis: PodCommand | None = None
    """Command to run in a pod of the bad release before it is replaced. Absent: none."""
    traffic: TrafficPlan | None = None
    """Stop of the traffic for the duration of the rollback: of a release that damages data, or
    while migrations are rolled back whose order requires it. Absent: the traffic continues."""
    trigger: Trigger
    """Reason for the rollback."""

    @property
    def flag_digest(self) -> str | None:
        """Digest of the template that a flag's variable makes; None: it makes none."""
        return self.flag.unannotated_digest if self.flag is not None else None

    @property
    def is_blame_open(self) -> bool:
        """Return whether people are asked if the release, not its environment, is to blame."""
        return self.requires_approval and self.trigger.reason == Reason.ENVIRONMENT_SUSPECTED
