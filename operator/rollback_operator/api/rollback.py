"""Rollback: plan, steps and result; created by the operator or by a person."""

from typing import Annotated, Any, ClassVar

from pydantic import AwareDatetime, ConfigDict, Field, model_validator

from rollback_operator.api.checklist import Approval, CheckItem, CheckName
from rollback_operator.api.crd import LONGEST_REASON, Condition, Resource
from rollback_operator.api.database.rolling_back import MigrationRecord
from rollback_operator.api.notify import LONGEST_MESSAGE, Notifications
from rollback_operator.api.remedy import AutoscalerRecord, OwnerRecord, Remedy, TrafficRecord
from rollback_operator.api.rollback_plan import RollbackPlan, whole_or_by_hand
from rollback_operator.api.safety import DiagnosisRecord
from rollback_operator.api.shape import (
    Digest,
    Identifier,
    Model,
    Name,
    UserName,
    cel,
    keyed_by,
)
from rollback_operator.api.terms import (
    MatrixSeverity,
    Outcome,
    Pace,
    StepName,
)
from rollback_operator.api.verification import (
    MOST_ASSESSED,
    DamageAssessment,
    VerificationCheck,
)


def _unchangeable(schema: dict[str, Any]) -> None:
    """Make the spec of a Rollback immutable except for its approval."""
    same = [
        f"has(self.{name}) == has(oldSelf.{name})"
        f" && (!has(self.{name}) || self.{name} == oldSelf.{name})"
        for name in sorted(set(schema["properties"]) - {"approval"})
    ]
    schema["x-kubernetes-validations"] = [
        cel(
            " && ".join(f"({rule})" for rule in same),
            "spec is immutable except for approval",
        ),
    ]
    whole_or_by_hand(schema)


_HAS_SAME_APPROVAL = (
    "has(self.spec.approval) && has(oldSelf.spec.approval)"
    " && self.spec.approval == oldSelf.spec.approval"
)
_HAS_PLAN = "has(self.status) && has(self.status.planDigest)"
_DECISIONS = (
    # A decision on an older plan is replaced; so it must have been on a plan that was stored.
    cel(
        f"!has(oldSelf.spec.approval) || {_HAS_SAME_APPROVAL} || has(self.spec.approval)"
        f" && !({_HAS_PLAN} && oldSelf.spec.approval.planDigest == self.status.planDigest)",
        "a plan can be approved or rejected only once",
        ".spec.approval",
    ),
    cel(
        f"!has(self.spec.approval) || {_HAS_SAME_APPROVAL} || {_HAS_PLAN}"
        " && self.spec.approval.planDigest == self.status.planDigest",
        "must be status.planDigest, the digest of the current plan",
        ".spec.approval.planDigest",
    ),
)
"""Rules of the whole object: a decision is on the stored plan, and a plan is decided once."""


class SeenByPerson(Model):
    """State that the person observed before the request.

    The request is executed only for this state.
    """

    deployment: Name
    """Name of the Deployment that the policy watched. The requester must have permission to patch
    it. If the policy watches another Deployment at planning time, the request is refused."""
    revision: Annotated[int, Field(ge=1)]
    """Number of the running revision: `status.revision.number` of the policy."""
    digest: Identifier
    """Digest of its pod template: `status.revision.digest` of the policy."""


class RollbackSpec(RollbackPlan):
    """Plan of the rollback. Immutable except for approval.

    To request a rollback, set only policyRef.name, remedy, reason and seen; the operator plans the
    rest.
    """

    model_config = ConfigDict(json_schema_extra=_unchangeable)

    reason: Annotated[str, Field(min_length=1, max_length=LONGEST_REASON)] | None = None
    """Reason for a manual request. Required if the rest of the plan is omitted."""
    requested_by: UserName | None = None
    """User name of the requester. With the chart's admission policies, it must be the name of the
    requesting user."""
    seen: SeenByPerson | None = None
    """State that the requester observed. The request is refused if another revision is running at
    planning time, or if the request is older than ten minutes."""
    approval: Approval | None = None
    """Decision of a person, where approval is required. Set by `kubectl rollback approve` and
    `kubectl rollback reject`."""

    @property
    def plan(self) -> RollbackPlan:
        """Plan without the fields of the request."""
        return RollbackPlan(**{name: getattr(self, name) for name in RollbackPlan.model_fields})


class RequestedPolicy(Model):
    """Policy named in a manual request."""

    name: Name
    """Name of the RollbackPolicy, in the same namespace."""


class RequestSpec(Model):
    """Manual request that the operator has not planned yet."""

    policy_ref: RequestedPolicy
    remedy: Remedy
    reason: Annotated[str, Field(min_length=1, max_length=LONGEST_REASON)] | None = None
    requested_by: UserName | None = None
    seen: SeenByPerson | None = None


class StepStatus(Model):
    """State of one step. A step runs only after its start is stored."""

    name: StepName
    """Name of the step."""
    started_time: AwareDatetime
    """Time when the step started."""
    finished_time: AwareDatetime | None = None
    """Time when the step finished. Absent while it is running."""
    attempts: Annotated[int, Field(ge=1)] = 1
    """Number of attempts."""
    revision: Annotated[int, Field(ge=0)] | None = None
    """Revision of the Deployment when the step started. A later revision with the same template
    indicates that the step was executed and reverted."""
    message: Annotated[str, Field(max_length=1024)] = ""
    """Result of the step, or what it waits for."""


LONGEST_BOUND = 16


class StoredStrategy(Model):
    """Original rolling-update bounds of the Deployment, for restoration after an express undo."""

    max_surge: Annotated[str, Field(max_length=LONGEST_BOUND)]
    """Original maxSurge."""
    max_unavailable: Annotated[str, Field(max_length=LONGEST_BOUND)]
    """Original maxUnavailable."""


def stored_strategy(max_surge: str, max_unavailable: str) -> StoredStrategy | None:
    """Record the bounds; None: they have more digits than the record can store.

    The bounds must then stay unchanged, because they could not be restored.
    """
    if max(len(max_surge), len(max_unavailable)) > LONGEST_BOUND:
        return None
    return StoredStrategy(max_surge=max_surge, max_unavailable=max_unavailable)


class RollbackStatus(Model):
    """Progress and result of the rollback."""

    plan: RollbackPlan | None = None
    """For a manual request: the operator's plan, stored before any change."""
    conditions: Annotated[
        list[Condition],
        Field(
            max_length=16,
            json_schema_extra=keyed_by("type"),
        ),
    ] = []
    """Conditions of the rollback, such as Complete and Approved."""
    severity: MatrixSeverity | None = None
    """Worst severity so far. It can rise after the decision."""
    step: StepName | None = None
    """Current step, or the last step if the rollback has ended."""
    steps: Annotated[
        list[StepStatus],
        Field(
            max_length=len(StepName),
            json_schema_extra=keyed_by("name"),
        ),
    ] = []
    """State of each step that has started."""
    checklist: Annotated[
        list[CheckItem], Field(max_length=len(CheckName), json_schema_extra=keyed_by("name"))
    ] = []
    """Results of the preflight checks."""
    pace: Pace | None = None
    """Effective pace, after checking the available capacity."""
    plan_digest: Digest = ""
    """Digest of the plan that requires approval. A decision must name it."""
    approval_deadline_time: AwareDatetime | None = None
    """Deadline for the approval. If nobody decides, `approvalPolicy.onTimeout` applies."""
    escalated_time: AwareDatetime | None = None
    """Time when a proposed rollback became severe enough to start without approval."""
    escalated_message: Annotated[str, Field(max_length=1024)] = ""
    """Reason why it starts without approval, if it is not its severity."""
    strategy: StoredStrategy | None = None
    """Original rolling-update bounds of the Deployment."""
    owner: OwnerRecord | None = None
    """Suspension of the GitOps owner."""
    autoscaler: AutoscalerRecord | None = None
    """Original and raised bounds of the HorizontalPodAutoscaler."""
    migrations: MigrationRecord | None = None
    """Migrations that are rolled back. Absent: none is newer than the target, or none is rolled
    back."""
    diagnosis: DiagnosisRecord | None = None
    """Data collected from the bad release before it was replaced."""
    traffic: TrafficRecord | None = None
    """State of the traffic before it was stopped."""
    assessment: Annotated[
        list[DamageAssessment], Field(max_length=MOST_ASSESSED, json_schema_extra=keyed_by("name"))
    ] = []
    """Damage, assessed while the traffic was stopped."""
    verification: Annotated[
        list[VerificationCheck],
        Field(
            max_length=32,
            json_schema_extra=keyed_by("name"),
        ),
    ] = []
    """Results of the checks after the rollback."""
    outcome: Outcome | None = None
    """Final result. Observed: recorded only. Verified: recovery is proved. NotRecovered: the fault
    continues. Unknown: recovery could not be determined. Abandoned: stopped because the
    preconditions changed or approval timed out. Failed: a step failed or was reverted. Blocked: the
    checklist blocked it. Rejected: a person rejected it. Refused: a manual request was not
    accepted. Absent while in progress."""
    finished_time: AwareDatetime | None = None
    """Time when the rollback ended."""
    message: Annotated[str, Field(max_length=LONGEST_MESSAGE)] = ""
    """Most recent notification, as plain text."""
    notifications: Notifications = []
    """Notifications about this rollback and their delivery."""


def _of_plan(path: str) -> str:
    """Return the JSON path of a plan field: in spec, or in status.plan of a manual request."""
    return f".*['{path}','plan.{path}']"


class Rollback(Resource):
    """Rollback records one rollback: its plan, its steps and its result."""

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

    RULES: ClassVar[tuple[dict[str, Any], ...]] = _DECISIONS

    spec: RollbackSpec
    status: RollbackStatus = RollbackStatus()
    decision_time: AwareDatetime | None = None
    """Latest time at which the decision in spec.approval was made, by the clock of the API server,
    from managedFields and in whole seconds. None: no decision, or its time is not recorded."""

    @model_validator(mode="before")
    @classmethod
    def _planned(cls, raw: Any) -> Any:
        """Read the plan of a manual request from status.plan, and the time of a decision."""
        plan = (raw.get("status") or {}).get("plan") if _is_by_hand(raw) else None
        time = _decision_time(raw)
        raw = raw if time is None else {**raw, "decisionTime": time}
        if not plan:
            return raw
        spec = raw["spec"]
        return {**raw, "spec": {**plan, **spec, "policyRef": plan.get("policyRef")}}

    @property
    def is_by_hand(self) -> bool:
        """Return whether a person requested the rollback."""
        return self.status.plan is not None


class RollbackRequest(Resource):
    """Rollback requested by a person that is not planned yet, or was refused."""

    KIND: ClassVar[str] = Rollback.KIND
    PLURAL: ClassVar[str] = Rollback.PLURAL
    SHORT: ClassVar[str] = Rollback.SHORT
    COLUMNS: ClassVar[tuple[dict[str, Any], ...]] = Rollback.COLUMNS

    spec: RequestSpec
    status: RollbackStatus = RollbackStatus()


def rollback_of(raw: dict[str, Any]) -> Rollback | RollbackRequest:
    """Parse a Rollback from the API server.

    Raises:
        ValidationError: the object is neither a plan nor a request.
    """
    is_planned = (raw.get("status") or {}).get("plan") or not _is_by_hand(raw)
    return Rollback.model_validate(raw) if is_planned else RollbackRequest.model_validate(raw)


_DECIDED_FIELD = ("f:spec", "f:approval", "f:planDigest")


def _decision_time(raw: Any) -> str | None:
    """Return when the stored decision was made, from managedFields; None: it is not recorded.

    A new decision changes the digest, so the entry that owns the digest has the time of the
    decision. The API server renews the time of an entry when its manager changes any other field
    too: then the decision is older. A time from before the object was made is not the API server's:
    a person who changes an object may write the times of its managers.
    """
    metadata = raw.get("metadata") if isinstance(raw, dict) else None
    known = metadata if isinstance(metadata, dict) else {}
    made = str(known.get("creationTimestamp") or "")
    times = [
        str(entry["time"])
        for entry in known.get("managedFields") or ()
        if entry.get("time") and not entry.get("subresource") and _owns_decision(entry)
    ]
    # More than one owner: each later owner stored the same value again. Times are in UTC.
    return min((time for time in times if _second(time) >= _second(made)), default=None)


def _second(time: str) -> str:
    """Return the part of a time in UTC that is the same in all notations; these are in order."""
    return time[:19].replace(" ", "T")


def _owns_decision(entry: dict[str, Any]) -> bool:
    fields = entry.get("fieldsV1")
    for name in _DECIDED_FIELD:
        fields = fields.get(name) if isinstance(fields, dict) else None
    return isinstance(fields, dict)


def _is_by_hand(raw: Any) -> bool:
    spec = raw.get("spec") if isinstance(raw, dict) else None
    return isinstance(spec, dict) and "fromRevision" not in spec and "reason" in spec
