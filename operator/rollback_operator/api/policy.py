"""RollbackPolicy: what is watched and what is allowed, and what is known of it."""

from typing import Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, AwareDatetime, ConfigDict, Field, model_validator

from rollback_operator.api.approval import ApprovalSpec
from rollback_operator.api.checklist import CheckName, CheckRule
from rollback_operator.api.database import AppliedMigrations, DatabaseSpec
from rollback_operator.api.evaluation import Evaluation
from rollback_operator.api.matrix import RUNBOOK_MATRIX, MatrixRule, worst_first
from rollback_operator.api.notify import Channels, CommunicationSpec, Notifications
from rollback_operator.api.quarantine import MOST_ENTRIES, QuarantineEntry
from rollback_operator.api.recent import MOST_RECENT, RecentRollback
from rollback_operator.api.resource import LONGEST_REASON, Condition, Resource
from rollback_operator.api.safety import Remedy, SafetySpec, StageSpec
from rollback_operator.api.shape import (
    LINE_FORM,
    TOKEN_OR_NONE_FORM,
    Digest,
    Identifier,
    Images,
    Model,
    Name,
    NameOrNone,
    PodHash,
    cel,
    keyed_by,
)
from rollback_operator.api.signals import PodMetricsSpec, PrometheusSpec, SignalsSpec
from rollback_operator.api.terms import (
    Health,
    HoldReason,
    MatrixSeverity,
    Mode,
    Outcome,
    RemedyType,
    Severity,
    TargetKind,
    UndoTo,
    VerdictValue,
)
from rollback_operator.api.verification import ProbeRecord, VerificationSpec

MOST_TRUSTED = 10
MOST_REVISIONS = 20
MOST_TARGETS = 3
"""More than the ReplicaSets that a Deployment keeps by default: what is Bad is not forgotten."""


class TargetRef(Model):
    """The workload that is watched, in the policy's own namespace."""

    kind: TargetKind = TargetKind.DEPLOYMENT
    name: Name
    """The Deployment's name; it need not exist yet."""


class Trust(Model):
    """A person's word that a release may be gone back to, whatever it was found to be."""

    release: Identifier
    """Which: `release` of the entry in `status.revisions`."""
    revision: Annotated[int, Field(ge=1)]
    """Its number when it was trusted, for people."""
    reason: Annotated[str, Field(min_length=1, max_length=LONGEST_REASON)]
    """Why it is good after all."""
    by: Annotated[str, Field(min_length=1, max_length=512, pattern=LINE_FORM)]
    """Who says so; where the chart's admission policies are installed, nobody but themselves."""
    time: AwareDatetime
    """When. What speaks against the release from later on counts again."""


class RollbackPolicySpec(Model):
    """What to watch and what is allowed."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                cel(
                    "!has(self.safety)"
                    " || (has(self.safety.goodAfterSeconds) ? self.safety.goodAfterSeconds : 600)"
                    " <= (has(self.safety.watchSeconds) ? self.safety.watchSeconds : 3600)",
                    "goodAfterSeconds must be at most watchSeconds, or no release becomes good",
                    ".safety.goodAfterSeconds",
                ),
                cel(
                    "!has(self.safety)"
                    " || (has(self.safety.suspectOdds) ? self.safety.suspectOdds : 100)"
                    " < (has(self.safety.badOdds) ? self.safety.badOdds : 10000)",
                    "suspectOdds must be below badOdds",
                    ".safety.suspectOdds",
                ),
                cel(
                    "!has(self.safety) || !has(self.safety.maxPauseSeconds)"
                    " || self.safety.maxPauseSeconds"
                    " <= (has(self.safety.watchSeconds) ? self.safety.watchSeconds : 3600)",
                    "maxPauseSeconds must be at most watchSeconds, or nobody judges at the end",
                    ".safety.maxPauseSeconds",
                ),
                cel(
                    "!has(self.stage) || !has(self.stage.maxSeconds) || self.stage.maxSeconds"
                    " <= (has(self.safety) && has(self.safety.watchSeconds)"
                    " ? self.safety.watchSeconds : 3600)",
                    "stage.maxSeconds must be at most safety.watchSeconds, or nobody judges at the"
                    " end",
                    ".stage.maxSeconds",
                ),
            ]
        }
    )

    target_ref: TargetRef
    mode: Mode
    suspend: bool = False
    """True: nothing is judged, and nothing is done by itself, until it is false again. What has
    begun is carried on, and what a person asks for is done."""
    prometheus: PrometheusSpec = PrometheusSpec()
    signals: SignalsSpec = SignalsSpec()
    matrix: Annotated[
        list[MatrixRule],
        AfterValidator(worst_first),
        Field(
            min_length=1,
            max_length=4,
            json_schema_extra={
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["severity"],
                "x-kubernetes-validations": [
                    cel(
                        "self.all(i, r, i == 0 || self[i - 1].severity < r.severity)",
                        "rules go from the worst severity to the mildest: the first match wins",
                    )
                ],
            },
        ),
    ] = list(RUNBOOK_MATRIX)
    """First match from the top wins."""
    remedies: Annotated[
        list[Remedy],
        Field(min_length=1, max_length=8, json_schema_extra={"x-kubernetes-list-type": "atomic"}),
    ] = [Remedy(type=RemedyType.UNDO, to=UndoTo.LAST_KNOWN_GOOD)]
    """The first that applies to the severity is taken; a DisableFlag only where it can be the cure,
    and what follows it if it was none. Default: an undo to the newest good revision."""
    database: DatabaseSpec | None = None
    """The database that the releases migrate. Default: none is looked at."""
    verification: VerificationSpec = VerificationSpec()
    safety: SafetySpec = SafetySpec()
    checklist: Annotated[
        list[CheckRule],
        Field(max_length=len(CheckName), json_schema_extra=keyed_by("name")),
    ] = []
    """Items of the checklist before an act that are to be taken more strictly than by default."""
    approval: ApprovalSpec = ApprovalSpec()
    """How long a person is waited for where one is asked."""
    stage: StageSpec = StageSpec()
    pod_metrics: PodMetricsSpec = PodMetricsSpec()
    trust: Annotated[
        list[Trust], Field(max_length=MOST_TRUSTED, json_schema_extra=keyed_by("release"))
    ] = []
    """Releases that may be gone back to because a person has said so: `kubectl rollback trust`."""
    notify: Channels = []
    """Who is told when a rollback begins, ends or needs somebody; each once, in this order."""
    communication: CommunicationSpec = CommunicationSpec()

    @model_validator(mode="after")
    def _times_fit(self) -> Self:
        safety, longest = self.safety, f"safety.watchSeconds ({self.safety.watch_seconds})"
        if safety.suspect_odds >= safety.bad_odds:
            raise ValueError(f"safety.suspectOdds must be below safety.badOdds ({safety.bad_odds})")
        times = {
            "safety.goodAfterSeconds": safety.good_after_seconds,
            "stage.maxSeconds": self.stage.max_seconds,
        }
        if "max_pause_seconds" in safety.model_fields_set:  # the default gives way by itself
            times["safety.maxPauseSeconds"] = safety.max_pause_seconds
        for field, seconds in times.items():
            if seconds > safety.watch_seconds:
                raise ValueError(f"{field} must be at most {longest}; it is {seconds}")
        return self


class Condemnation(Model):
    """Why a release is no target of a rollback until a person trusts it."""

    time: AwareDatetime
    message: Annotated[str, Field(max_length=256)]
    severity: MatrixSeverity | None = None
    """How bad it was found; absent: a person has left it."""
    rollback: NameOrNone = ""
    """The Rollback that has left it, if one has."""


class Revision(Model):
    """A revision of the target."""

    number: Annotated[int, Field(ge=0)]
    template_hash: PodHash
    """The ReplicaSet's pod-template-hash."""
    digest: Digest
    """Own digest of the pod template: what opens a watch when it changes."""
    release: Digest
    """Digest of the template without annotations: a restart is the same release."""
    images: Images = []
    init_images: Images = []
    """Those of its init containers, sidecars among them."""
    since: AwareDatetime | None = None
    changed_by: Annotated[str, Field(max_length=128)] | None = None
    """Of the running revision: who has put its template there, by the Deployment's field owners."""


class LedgerEntry(Revision):
    """A revision and what is known of its health."""

    health: Health = Health.UNKNOWN
    reason: Annotated[str, Field(max_length=256)] = ""
    condemned: Condemnation | None = None
    """Why it is Bad."""
    found_time: AwareDatetime | None = None
    """When the policy began and found it there, before it had come up: it is Assumed once it has,
    unless another release comes or a verdict finds it bad before."""
    trusted_time: AwareDatetime | None = None
    """Since when it is Good because a person has said so."""
    quarantined_by: NameOrNone = ""
    """The Rollback that took one of its images back: no target while that is in quarantine."""
    migrations: AppliedMigrations | None = None
    """What was applied to the database when it was found good; only with `spec.database`."""


class LastRollback(Model):
    """The newest rollback of the policy."""

    name: Name
    outcome: Outcome | None = None
    time: AwareDatetime


class Hold(Model):
    """A rollout that is held, or the last one that was.

    It is stored before the Deployment is paused, so that whoever finds it can let it go.
    """

    reason: HoldReason
    message: Annotated[str, Field(max_length=1024)]
    """Why, in words."""
    deployment: Name
    deployment_uid: Identifier
    digest: Digest
    """Of the pod template that is being rolled out."""
    since_time: AwareDatetime
    until_time: AwareDatetime
    """The rollout goes on at this time at the latest."""
    paused_time: AwareDatetime | None = None
    """When the Deployment was paused."""
    released_time: AwareDatetime | None = None
    """When it was let go; absent while it is held."""
    release_reason: Annotated[str, Field(max_length=64)] = ""
    release_message: Annotated[str, Field(max_length=1024)] = ""
    earlier_seconds: Annotated[int, Field(ge=0)] = 0
    """How long this release had been held on suspicion before."""

    @property
    def is_open(self) -> bool:
        """Tell whether the rollout is still to be held."""
        return self.released_time is None


class InvestigationFinding(Model):
    """One thing that an investigation has found."""

    name: Annotated[str, Field(max_length=64)]
    """Symptom, Latency, ErrorRate, Pods or Changes."""
    message: Annotated[str, Field(max_length=1024)]


class Investigation(Model):
    """What was known when a release was first found to need looking at."""

    severity: MatrixSeverity
    release: Digest
    """Which release: digest of its template without annotations."""
    since: AwareDatetime
    findings: Annotated[
        list[InvestigationFinding],
        Field(max_length=16, json_schema_extra={"x-kubernetes-list-type": "atomic"}),
    ] = []


class EarlierTarget(Model):
    """What is known of a Deployment that the policy named before."""

    deployment: Name
    revisions: Annotated[
        list[LedgerEntry],
        Field(max_length=MOST_REVISIONS, json_schema_extra={"x-kubernetes-list-type": "atomic"}),
    ] = []
    quarantine: Annotated[
        list[QuarantineEntry],
        Field(max_length=MOST_ENTRIES, json_schema_extra=keyed_by("release")),
    ] = []


class RollbackPolicyStatus(Model):
    """What the operator sees and thinks. It can be rebuilt by looking again."""

    observed_generation: Annotated[int, Field(ge=0)] = 0
    summary: Annotated[str, Field(max_length=64, pattern=TOKEN_OR_NONE_FORM)] = ""
    """All of it in a word, for a column: RollingBack, AwaitingApproval, Held, Suspended, Degraded
    (no metrics to judge by), why the policy is not Ready, or else the verdict."""
    conditions: Annotated[
        list[Condition],
        Field(
            max_length=16,
            json_schema_extra=keyed_by("type"),
        ),
    ] = []
    deployment: NameOrNone = ""
    """Of which Deployment all of this tells."""
    revision: Revision | None = None
    watched_since: AwareDatetime | None = None
    """Since when the running release is watched, where that is not since it was made: time in
    which nobody could look is not counted. `safety.watchSeconds` count from then."""
    watched_until: AwareDatetime | None = None
    """Up to when it was looked at, put on record ten times in a watch; absent once the watch is
    over, or the release has earned to be trusted."""
    last_known_good: Revision | None = None
    verdict: VerdictValue = VerdictValue.NO_VERDICT
    severity: Severity = Severity.NONE
    revisions: Annotated[
        list[LedgerEntry],
        Field(max_length=MOST_REVISIONS, json_schema_extra={"x-kubernetes-list-type": "atomic"}),
    ] = []
    """The health ledger: only revisions whose ReplicaSet still exists."""
    last_rollback: LastRollback | None = None
    recent_rollbacks: Annotated[
        list[RecentRollback], Field(max_length=MOST_RECENT, json_schema_extra=keyed_by("name"))
    ] = []
    """Rollbacks that still keep the next one from being done, by `safety` and as people have
    decided; also those whose record was deleted."""
    quarantine: Annotated[
        list[QuarantineEntry],
        Field(max_length=MOST_ENTRIES, json_schema_extra=keyed_by("release")),
    ] = []
    """What was rolled back and must not come back for a while."""
    earlier_targets: Annotated[
        list[EarlierTarget],
        Field(max_length=MOST_TARGETS, json_schema_extra=keyed_by("deployment")),
    ] = []
    """Of the Deployments that `spec.targetRef` named last: what was found bad of them stays known
    where the policy names them again."""
    hold: Hold | None = None
    investigation: Investigation | None = None
    """Of the running release; none while nothing asks for one."""
    evaluation: Evaluation | None = None
    """What the release that is under watch is judged by; only while somebody watches it, by
    `kubectl rollback watch` or the annotation `rollback.tickettoken.io/watched-until`."""
    probes: Annotated[
        list[ProbeRecord], Field(max_length=16, json_schema_extra=keyed_by("name"))
    ] = []
    """Which release passed the matrix' probes last."""
    notifications: Notifications = []
    """What was told of releases that were not rolled back, and to whom."""


class RollbackPolicy(Resource):
    """Watches a Deployment and takes bad releases of it back."""

    KIND: ClassVar[str] = "RollbackPolicy"
    PLURAL: ClassVar[str] = "rollbackpolicies"
    SHORT: ClassVar[str] = "rbp"
    COLUMNS: ClassVar[tuple[dict[str, Any], ...]] = (
        {"name": "Target", "type": "string", "jsonPath": ".spec.targetRef.name"},
        {"name": "Mode", "type": "string", "jsonPath": ".spec.mode"},
        {
            "name": "Ready",
            "type": "string",
            "jsonPath": ".status.conditions[?(@.type=='Ready')].status",
        },
        {"name": "Status", "type": "string", "jsonPath": ".status.summary"},
        {"name": "Severity", "type": "string", "jsonPath": ".status.severity"},
        {"name": "Revision", "type": "integer", "jsonPath": ".status.revision.number"},
        {"name": "Last-Rollback", "type": "string", "jsonPath": ".status.lastRollback.outcome"},
        {"name": "Verdict", "type": "string", "priority": 1, "jsonPath": ".status.verdict"},
        {
            "name": "Why",
            "type": "string",
            "priority": 1,
            "jsonPath": ".status.conditions[?(@.type=='Healthy')].message",
        },
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    )

    spec: RollbackPolicySpec
    status: RollbackPolicyStatus = RollbackPolicyStatus()
