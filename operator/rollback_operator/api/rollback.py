"""Rollback: the stored intent, its steps and its end; made by the operator or by hand."""

from typing import Annotated, Any, ClassVar

from pydantic import AwareDatetime, ConfigDict, Field, model_validator

from rollback_operator.api.approval import Approval, ApprovalSpec
from rollback_operator.api.autoscaling import AutoscalerPlan, AutoscalerRecord
from rollback_operator.api.checklist import CheckItem, CheckName
from rollback_operator.api.flags import FlagPlan
from rollback_operator.api.gitops import OwnerPlan, OwnerRecord, Updaters
from rollback_operator.api.manual import name_suffices, whole_or_by_hand
from rollback_operator.api.notify import LONGEST_MESSAGE, Notifications
from rollback_operator.api.resource import LONGEST_REASON, Condition, Resource
from rollback_operator.api.safety import Remedy
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
    UserName,
    cel,
    keyed_by,
)
from rollback_operator.api.terms import (
    Health,
    MatrixSeverity,
    Mode,
    Outcome,
    Pace,
    SignalName,
    StepName,
    TargetKind,
)
from rollback_operator.api.verification import VerificationCheck, VerificationSpec


class Trigger(Model):
    """Why the rollback was decided: counts, odds, times."""

    reason: Annotated[str, Field(max_length=256)]
    message: Text
    """The decision in words."""
    first_bad_time: AwareDatetime | None = None
    """Time of the first bad sample, or of the start of the outage."""
    decided_time: AwareDatetime
    deadline_time: AwareDatetime | None = None
    requests: Annotated[int, Field(ge=0)] = 0
    """Requests of the new revision that were judged."""
    errors: Annotated[int, Field(ge=0)] = 0
    control_requests: Annotated[int, Field(ge=0)] = 0
    control_errors: Annotated[int, Field(ge=0)] = 0
    odds: Annotated[str, Field(max_length=32)] = ""
    """How much likelier the counts are if the new revision is worse: '12000 : 1'."""
    blame_odds: Annotated[str, Field(max_length=32)] = ""
    """Release against environment, where no old pod is left to compare with."""
    signal: SignalName | None = None
    """Which signal of the matrix was met, where it is no error rate."""


class RollbackTarget(Model):
    """The Deployment as it was judged."""

    kind: TargetKind = TargetKind.DEPLOYMENT
    name: Name
    uid: Identifier


class RevisionRef(Model):
    """One end of the rollback."""

    number: Annotated[int, Field(ge=0)]
    template_hash: PodHash
    digest: Digest
    release: Digest
    images: Images = []
    init_images: Images = []
    """Those of its init containers, sidecars among them."""
    image_digests: Images = []
    """Of the bad revision: what its images were when they ran, without those that stay."""
    brought_images: Images | None = None
    """Of the bad revision: those of all its images that what is gone back to does not have."""
    replica_set: NameOrNone = ""
    replica_set_uid: Annotated[str, Field(max_length=64, pattern=TOKEN_OR_NONE_FORM)] = ""
    health: Health = Health.UNKNOWN


class PolicyRef(Model):
    """The policy that decided."""

    model_config = ConfigDict(json_schema_extra=name_suffices)

    name: Name
    uid: Identifier
    """Left out where a person asks; the operator looks it up."""


MOST_ATTEMPTS = 5


class RollbackPlan(Model):
    """What is to be done, and why: stored before anything is touched."""

    policy_ref: PolicyRef
    target_ref: RollbackTarget
    mode: Mode
    severity: MatrixSeverity
    remedy: Remedy
    pace: Pace = Pace.NORMAL
    from_revision: RevisionRef
    to_revision: RevisionRef | None = None
    """Absent for Scale, PinImage and DisableFlag, which go to no recorded revision."""
    flag: FlagPlan | None = None
    """Of DisableFlag: the ConfigMap as it was found at the decision."""
    verification: VerificationSpec = VerificationSpec()
    approval_policy: ApprovalSpec = ApprovalSpec()
    """The policy's `approval` at the time of the decision."""
    attempt: Annotated[int, Field(ge=1, le=MOST_ATTEMPTS)] = 1
    """Which try it is: what the checklist has blocked, or was abandoned before it began, is tried
    again as another Rollback once its cause is mended."""
    requires_approval: bool = False
    """A person is asked, whatever the checklist says: the matrix only proposes it."""
    owner: OwnerPlan | None = None
    """Who else steers the Deployment, and what is done about it; absent: nobody was found."""
    updaters: Updaters = []
    """Image updaters that may push again what is taken back."""
    autoscaler: AutoscalerPlan | None = None
    """With Scale: whose bounds are raised; absent: the Deployment's own replicas are set."""
    trigger: Trigger


def _unchangeable(schema: dict[str, Any]) -> None:
    """Let a Rollback's spec change in nothing but its approval, which is given once for a plan."""
    same = [
        f"has(self.{name}) == has(oldSelf.{name})"
        f" && (!has(self.{name}) || self.{name} == oldSelf.{name})"
        for name in sorted(set(schema["properties"]) - {"approval"})
    ]
    schema["x-kubernetes-validations"] = [
        cel(
            " && ".join(f"({one})" for one in same),
            "a Rollback's spec is its stored intent and never changes, but for its approval",
        ),
        cel(
            "!has(oldSelf.approval) || has(self.approval) && (self.approval == oldSelf.approval"
            " || self.approval.planDigest != oldSelf.approval.planDigest)",
            "a plan is approved or rejected once",
        ),
    ]
    whole_or_by_hand(schema)


class SeenByPerson(Model):
    """What a person looked at when they asked: a request is done for that and for nothing else."""

    deployment: Name
    """The Deployment that the policy watched. Whoever asks must be allowed to patch it; where the
    policy watches another one when the request is planned, it is refused."""
    revision: Annotated[int, Field(ge=1)]
    """The number of the revision that ran: `status.revision.number` of the policy."""
    digest: Identifier
    """Of its pod template: `status.revision.digest` of the policy."""


class RollbackSpec(RollbackPlan):
    """The stored intent. Nothing but its approval ever changes.

    A person writes policyRef.name, remedy, reason and seen; the rest is the operator's.
    """

    model_config = ConfigDict(json_schema_extra=_unchangeable)

    reason: Annotated[str, Field(min_length=1, max_length=LONGEST_REASON)] | None = None
    """Why a person asks for this rollback."""
    requested_by: UserName | None = None
    """Who asks; where the chart's admission policies are installed, nobody but themselves."""
    seen: SeenByPerson | None = None
    """What the person looked at. Where something else runs by the time, or ten minutes after the
    request was made, it is refused."""
    approval: Approval | None = None
    """A person's decision, where one is asked for."""

    @property
    def plan(self) -> RollbackPlan:
        """What is to be done, without who asked for it."""
        return RollbackPlan(**{name: getattr(self, name) for name in RollbackPlan.model_fields})


class RequestedPolicy(Model):
    """The policy that a person names."""

    name: Name


class RequestSpec(Model):
    """What a person asks for, before the operator has planned it."""

    policy_ref: RequestedPolicy
    remedy: Remedy
    reason: Annotated[str, Field(min_length=1, max_length=LONGEST_REASON)] | None = None
    requested_by: UserName | None = None
    seen: SeenByPerson | None = None


class StepStatus(Model):
    """Facts of one step. It runs only if its start is stored."""

    name: StepName
    started_time: AwareDatetime
    finished_time: AwareDatetime | None = None
    attempts: Annotated[int, Field(ge=1)] = 1
    revision: Annotated[int, Field(ge=0)] | None = None
    """The Deployment's revision when the step began: a later one of the same template shows that
    the step was done and undone."""
    message: Annotated[str, Field(max_length=1024)] = ""


LONGEST_BOUND = 16


class StoredStrategy(Model):
    """The Deployment's rolling-update bounds as they were before an express undo."""

    max_surge: Annotated[str, Field(max_length=LONGEST_BOUND)]
    max_unavailable: Annotated[str, Field(max_length=LONGEST_BOUND)]


def stored_strategy(max_surge: str, max_unavailable: str) -> StoredStrategy | None:
    """Put bounds on record; None: Kubernetes takes any number of digits, and there are too many.

    What could not be put back is not changed.
    """
    if max(len(max_surge), len(max_unavailable)) > LONGEST_BOUND:
        return None
    return StoredStrategy(max_surge=max_surge, max_unavailable=max_unavailable)


class RollbackStatus(Model):
    """How far the rollback is, and how it ended."""

    plan: RollbackPlan | None = None
    """Of a Rollback made by hand: what the operator made of it, before it did anything."""
    conditions: Annotated[
        list[Condition],
        Field(
            max_length=16,
            json_schema_extra=keyed_by("type"),
        ),
    ] = []
    severity: MatrixSeverity | None = None
    """The worst severity seen so far: it may rise after the decision."""
    step: StepName | None = None
    steps: Annotated[
        list[StepStatus],
        Field(
            max_length=16,
            json_schema_extra=keyed_by("name"),
        ),
    ] = []
    checklist: Annotated[
        list[CheckItem], Field(max_length=len(CheckName), json_schema_extra=keyed_by("name"))
    ] = []
    """What was looked at before the act, and how it was found."""
    pace: Pace | None = None
    """The pace that there is room for."""
    plan_digest: Digest = ""
    """Of what a person is asked to approve; a decision names it."""
    approval_deadline_time: AwareDatetime | None = None
    """Until when a decision is waited for."""
    escalated_time: AwareDatetime | None = None
    """When what was only proposed became so bad that it is done without asking."""
    strategy: StoredStrategy | None = None
    owner: OwnerRecord | None = None
    """What was done about who else steers the Deployment."""
    autoscaler: AutoscalerRecord | None = None
    """What was done about the bounds of who sets the Deployment's replicas."""
    verification: Annotated[
        list[VerificationCheck],
        Field(
            max_length=32,
            json_schema_extra=keyed_by("name"),
        ),
    ] = []
    """What was looked at to see whether it helped."""
    outcome: Outcome | None = None
    finished_time: AwareDatetime | None = None
    message: Annotated[str, Field(max_length=LONGEST_MESSAGE)] = ""
    """The newest message to people, as plain text."""
    notifications: Notifications = []
    """What was told, and to whom."""


def _of_plan(path: str) -> str:
    """Give the column of a part of the plan: it is the spec, or, made by hand, in the status."""
    return f".*['{path}','plan.{path}']"


class Rollback(Resource):
    """One rollback: the stored intent, its steps, its end."""

    KIND: ClassVar[str] = "Rollback"
    PLURAL: ClassVar[str] = "rollbacks"
    SHORT: ClassVar[str] = "rbk"
    COLUMNS: ClassVar[tuple[dict[str, Any], ...]] = (
        {"name": "Policy", "type": "string", "jsonPath": ".spec.policyRef.name"},
        {"name": "Severity", "type": "string", "jsonPath": ".status.severity"},
        {"name": "From", "type": "integer", "jsonPath": _of_plan("fromRevision.number")},
        {"name": "To", "type": "integer", "jsonPath": _of_plan("toRevision.number")},
        {"name": "Step", "type": "string", "jsonPath": ".status.step"},
        {"name": "Outcome", "type": "string", "jsonPath": ".status.outcome"},
        {
            "name": "Checklist",
            "type": "string",
            "priority": 1,
            "jsonPath": ".status.checklist[?(@.consequence!='Proceed')].message",
        },
        {
            "name": "Why",
            "type": "string",
            "priority": 1,
            "jsonPath": _of_plan("trigger.message"),
        },
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    )

    spec: RollbackSpec
    status: RollbackStatus = RollbackStatus()

    @model_validator(mode="before")
    @classmethod
    def _planned(cls, raw: Any) -> Any:
        """Take the plan of one that was made by hand from where it is stored."""
        plan = (raw.get("status") or {}).get("plan") if _is_by_hand(raw) else None
        if not plan:
            return raw
        spec = raw["spec"]
        return {**raw, "spec": {**plan, **spec, "policyRef": plan.get("policyRef")}}

    @property
    def is_by_hand(self) -> bool:
        """Tell whether a person asked for it."""
        return self.status.plan is not None


class RollbackRequest(Resource):
    """A Rollback made by hand that the operator has not planned, or will not."""

    KIND: ClassVar[str] = Rollback.KIND
    PLURAL: ClassVar[str] = Rollback.PLURAL
    SHORT: ClassVar[str] = Rollback.SHORT
    COLUMNS: ClassVar[tuple[dict[str, Any], ...]] = Rollback.COLUMNS

    spec: RequestSpec
    status: RollbackStatus = RollbackStatus()


def rollback_of(raw: dict[str, Any]) -> Rollback | RollbackRequest:
    """Read a Rollback as the API server shows it.

    Raises:
        ValidationError: it is neither a plan nor a request.
    """
    is_planned = (raw.get("status") or {}).get("plan") or not _is_by_hand(raw)
    return Rollback.model_validate(raw) if is_planned else RollbackRequest.model_validate(raw)


def _is_by_hand(raw: Any) -> bool:
    spec = raw.get("spec") if isinstance(raw, dict) else None
    return isinstance(spec, dict) and "fromRevision" not in spec and "reason" in spec
