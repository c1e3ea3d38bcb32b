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
    """Workload to watch, in the policy's namespace."""

    kind: TargetKind = TargetKind.DEPLOYMENT
    """Kind of the workload. Only Deployment is supported. Default: Deployment."""
    name: Name
    """Name of the Deployment. It does not have to exist yet."""


class Trust(Model):
    """Statement of a person that a release is a valid rollback target."""

    release: Identifier
    """Trusted release: `release` of its entry in `status.revisions`."""
    revision: Annotated[int, Field(ge=1)]
    """Revision number at the time of the statement, for information."""
    reason: Annotated[str, Field(min_length=1, max_length=LONGEST_REASON)]
    """Reason why the release is good."""
    by: Annotated[str, Field(min_length=1, max_length=512, pattern=LINE_FORM)]
    """User name of the person. With the chart's admission policies, it must be the name of the
    requesting user."""
    time: AwareDatetime
    """Time of the statement. Evidence against the release after this time counts again."""


class RollbackPolicySpec(Model):
    """Desired behavior: the workload to watch, when a release is bad, and the response.

    Only targetRef and mode are required. Evaluate without acting: mode: Observe. Stop evaluation
    and automatic action: suspend: true. Block automatic action at certain times, such as at night:
    safety.freeze. Limit repetition: safety.cooldownSeconds and safety.maxRollbacksPerDay. Require a
    person's approval: matrix[].propose, checklist[].onWarned or safety.requireVerified; if nobody
    approves before approval.timeoutSeconds, approval.onTimeout applies (default: the rollback is
    abandoned). Use your own counters: signals.requests and signals.errors; your own PromQL:
    matrix[].when[].query. Notify people: notify. A release is Good, and so a rollback target, after
    safety.goodAfterSeconds with enough traffic and without evidence against it.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                cel(
                    "!has(self.safety)"
                    " || (has(self.safety.goodAfterSeconds) ? self.safety.goodAfterSeconds : 600)"
                    " <= (has(self.safety.watchSeconds) ? self.safety.watchSeconds : 3600)",
                    "goodAfterSeconds must be at most watchSeconds; otherwise no release can"
                    " become Good",
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
                    "maxPauseSeconds must be at most watchSeconds; otherwise the evaluation"
                    " ends before the pause",
                    ".safety.maxPauseSeconds",
                ),
                cel(
                    "!has(self.stage) || !has(self.stage.maxSeconds) || self.stage.maxSeconds"
                    " <= (has(self.safety) && has(self.safety.watchSeconds)"
                    " ? self.safety.watchSeconds : 3600)",
                    "stage.maxSeconds must be at most safety.watchSeconds; otherwise the evaluation"
                    " ends before the stage",
                    ".stage.maxSeconds",
                ),
            ]
        }
    )

    target_ref: TargetRef
    """Deployment to watch, in the policy's namespace."""
    mode: Mode
    """Observe evaluates and records; Enforce also acts. With Observe, a bad release produces a
    Rollback with outcome Observed and notifications, and the Deployment is never changed. With
    suspend: true, nothing is evaluated."""
    suspend: bool = False
    """Suspends automatic evaluation and rollback. A rollback that has already changed something
    continues; any other is abandoned. Rollbacks that a person requests are executed. In contrast,
    mode: Observe evaluates every release and only skips the action. Default: false."""
    prometheus: PrometheusSpec = PrometheusSpec()
    """Connection to Prometheus. Default: the operator's own settings."""
    signals: SignalsSpec = SignalsSpec()
    """Metrics to read: counters of requests and errors, latency, memory. Default: the metric names
    listed per field."""
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
                        "rules must be ordered from the worst severity to the mildest",
                    )
                ],
            },
        ),
    ] = list(RUNBOOK_MATRIX)
    """Severity matrix: maps signals to severities and responses. The first matching rule applies;
    list the worst severity first. Default: P1 (error rate of at least 90 % on a purchase route, no
    available pod, or traffic lost) and P2 (error rate above 5 %, or stuck rollout) roll back within
    60 and 900 seconds; P3 (latency above twice the old revision's, 2 OOM kills, 3 restarts, or
    memory growth above 50 % of the limit per hour) is investigated; P4 (error rate above 1 %) is
    reported."""
    remedies: Annotated[
        list[Remedy],
        Field(min_length=1, max_length=8, json_schema_extra={"x-kubernetes-list-type": "atomic"}),
    ] = [Remedy(type=RemedyType.UNDO, to=UndoTo.LAST_KNOWN_GOOD)]
    """Remedies in order of preference. The first remedy that applies to the severity is used.
    DisableFlag is skipped if it cannot help; the next remedy follows if it did not help. Default:
    Undo to LastKnownGood."""
    database: DatabaseSpec | None = None
    """Database that the releases migrate. Before a rollback, its schema is compared with the schema
    of the target revision. Default: no database is checked."""
    verification: VerificationSpec = VerificationSpec()
    """Checks that determine whether a rollback helped. Default: rollout, the pods' own probes,
    error rate and latency."""
    safety: SafetySpec = SafetySpec()
    """Limits on automatic action: evaluation period, freeze windows, cooldown, daily limit,
    quarantine, GitOps handling."""
    checklist: Annotated[
        list[CheckRule],
        Field(max_length=len(CheckName), json_schema_extra=keyed_by("name")),
    ] = []
    """Preflight checks whose warnings are handled more strictly, such as to require approval.
    Default: a warning does not block a rollback."""
    approval: ApprovalSpec = ApprovalSpec()
    """Deadline for a person's approval, and the action when nobody responds. Default: abandon the
    rollback after one hour."""
    stage: StageSpec = StageSpec()
    """Staged rollout: pause with the first new pods until they are proved no worse. Default:
    rollouts are not staged."""
    pod_metrics: PodMetricsSpec = PodMetricsSpec()
    """Direct reading of the pods' metrics endpoints, in addition to Prometheus. Default: every 500
    milliseconds while a release is new or suspect."""
    trust: Annotated[
        list[Trust], Field(max_length=MOST_TRUSTED, json_schema_extra=keyed_by("release"))
    ] = []
    """Releases that a person declared valid rollback targets, whatever their recorded health.
    Managed by `kubectl rollback trust`. Default: none."""
    notify: Channels = []
    """Notification channels. Each is notified once when a rollback starts, ends or needs a person,
    in this order. Default: none; Events and status are always written."""
    communication: CommunicationSpec = CommunicationSpec()
    """Description of the service for use in notifications."""

    @model_validator(mode="after")
    def _times_fit(self) -> Self:
        safety, longest = self.safety, f"safety.watchSeconds ({self.safety.watch_seconds})"
        if safety.suspect_odds >= safety.bad_odds:
            raise ValueError(f"safety.suspectOdds must be below safety.badOdds ({safety.bad_odds})")
        times = {
            "safety.goodAfterSeconds": safety.good_after_seconds,
            "stage.maxSeconds": self.stage.max_seconds,
        }
        if "max_pause_seconds" in safety.model_fields_set:  # the default needs no check
            times["safety.maxPauseSeconds"] = safety.max_pause_seconds
        for field, seconds in times.items():
            if seconds > safety.watch_seconds:
                raise ValueError(f"{field} must be at most {longest}; it is {seconds}")
        return self


class Condemnation(Model):
    """Record that a release is Bad, valid until a person trusts the release."""

    time: AwareDatetime
    """Time of the finding."""
    message: Annotated[str, Field(max_length=256)]
    """Explanation of the finding."""
    severity: MatrixSeverity | None = None
    """Severity of the finding. Absent if a person rolled back the release."""
    rollback: NameOrNone = ""
    """Name of the Rollback that replaced the release, if any."""


class Revision(Model):
    """Revision of the target Deployment."""

    number: Annotated[int, Field(ge=0)]
    """Revision number, as shown by `kubectl rollout history`."""
    template_hash: PodHash
    """pod-template-hash of the ReplicaSet."""
    digest: Digest
    """Digest of the pod template. A new digest starts a new evaluation period."""
    release: Digest
    """Digest of the pod template without annotations. Restarts of a release keep it."""
    images: Images = []
    """Images of the containers."""
    init_images: Images = []
    """Images of the init containers, including sidecars."""
    since: AwareDatetime | None = None
    """Time when the revision was created."""
    changed_by: Annotated[str, Field(max_length=128)] | None = None
    """For the running revision: client that last changed the pod template, inferred from
    managedFields."""


class LedgerEntry(Revision):
    """Revision with its recorded health."""

    health: Health = Health.UNKNOWN
    """Good: it met `safety.goodAfterSeconds`, or a person trusts it. Assumed: it was running when
    the policy started. Unknown: not evaluated, or not yet Good. Bad: it was found bad and is not a
    rollback target until a person trusts it."""
    reason: Annotated[str, Field(max_length=256)] = ""
    """Explanation of the health."""
    condemned: Condemnation | None = None
    """Finding that made the revision Bad. Absent otherwise."""
    found_time: AwareDatetime | None = None
    """Time when the policy started and the revision was present but not yet available. It becomes
    Assumed once available, unless it is replaced or found bad before."""
    trusted_time: AwareDatetime | None = None
    """Time of a person's trust that made the revision Good. Absent otherwise."""
    quarantined_by: NameOrNone = ""
    """Name of the Rollback that quarantined one of its images. The revision is not a rollback
    target during the quarantine."""
    migrations: AppliedMigrations | None = None
    """Migrations applied when the revision was recorded as good. Only with `spec.database`."""


class LastRollback(Model):
    """Most recent rollback of the policy."""

    name: Name
    """Name of the Rollback."""
    outcome: Outcome | None = None
    """Final result. Absent while the rollback is in progress."""
    time: AwareDatetime
    """Time of the end, or of the decision while the rollback is in progress."""


class Hold(Model):
    """Pause of a rollout: the current hold, or the most recent hold if none is active.

    It is stored before the Deployment is paused, so that any replica of the operator can resume it.
    """

    reason: HoldReason
    """Suspicion: evidence against the release. Stage: staged rollout."""
    message: Annotated[str, Field(max_length=1024)]
    """Explanation of the reason."""
    deployment: Name
    """Name of the Deployment."""
    deployment_uid: Identifier
    """UID of the Deployment."""
    digest: Digest
    """Digest of the pod template that is being rolled out."""
    since_time: AwareDatetime
    """Time when the hold began."""
    until_time: AwareDatetime
    """Time when the rollout resumes at the latest."""
    paused_time: AwareDatetime | None = None
    """Time when the Deployment was paused."""
    released_time: AwareDatetime | None = None
    """Time when the rollout was resumed. Absent while it is held."""
    release_reason: Annotated[str, Field(max_length=64)] = ""
    """Reason for the end of the hold, in CamelCase."""
    release_message: Annotated[str, Field(max_length=1024)] = ""
    """Explanation of the end of the hold."""
    earlier_seconds: Annotated[int, Field(ge=0)] = 0
    """Seconds that earlier holds on suspicion lasted for this release."""

    @property
    def is_open(self) -> bool:
        """Tell whether the rollout is still to be held."""
        return self.released_time is None


class Finding(Model):
    """Single finding of an investigation."""

    name: Annotated[str, Field(max_length=64)]
    """Symptom, Latency, ErrorRate, Pods or Changes."""
    message: Annotated[str, Field(max_length=1024)]
    """Explanation of the finding."""


class Investigation(Model):
    """Diagnosis recorded when the release first required an investigation."""

    severity: MatrixSeverity
    """Severity of the release."""
    release: Digest
    """Digest of the pod template without annotations."""
    since: AwareDatetime
    """Time when the investigation began."""
    findings: Annotated[
        list[Finding],
        Field(max_length=16, json_schema_extra={"x-kubernetes-list-type": "atomic"}),
    ] = []
    """Findings at that time."""


class EarlierTarget(Model):
    """Records for a Deployment that spec.targetRef named earlier."""

    deployment: Name
    """Name of the Deployment."""
    revisions: Annotated[
        list[LedgerEntry],
        Field(max_length=MOST_REVISIONS, json_schema_extra={"x-kubernetes-list-type": "atomic"}),
    ] = []
    """Health records of its revisions."""
    quarantine: Annotated[
        list[QuarantineEntry],
        Field(max_length=MOST_ENTRIES, json_schema_extra=keyed_by("release")),
    ] = []
    """Its quarantined releases."""


class RollbackPolicyStatus(Model):
    """Observed state of the target and the operator's current judgement."""

    observed_generation: Annotated[int, Field(ge=0)] = 0
    """metadata.generation that the operator last reconciled."""
    summary: Annotated[str, Field(max_length=64, pattern=TOKEN_OR_NONE_FORM)] = ""
    """Overall state in one word: RollingBack, AwaitingApproval, Held, Suspended, Degraded (metrics
    unavailable), the reason why the policy is not Ready, or else the verdict."""
    conditions: Annotated[
        list[Condition],
        Field(
            max_length=16,
            json_schema_extra=keyed_by("type"),
        ),
    ] = []
    """Conditions of the policy, such as Ready, Healthy and Recovered."""
    deployment: NameOrNone = ""
    """Name of the Deployment that this status describes."""
    revision: Revision | None = None
    """Running revision."""
    watched_since: AwareDatetime | None = None
    """Start of the evaluation period of the running release, if later than its creation: time
    without evaluation is not counted. `safety.watchSeconds` counts from this time."""
    watched_until: AwareDatetime | None = None
    """Time of the last evaluation, stored ten times per evaluation period. Absent after the period,
    or once the release is Good or Assumed."""
    last_known_good: Revision | None = None
    """Most recent revision that is recorded as good."""
    verdict: VerdictValue = VerdictValue.NO_VERDICT
    """Judgement of the running release: Watching, Healthy, Suspect (not rolled back), Bad, or
    NoVerdict if it cannot be judged. The condition Healthy states the reason."""
    severity: Severity = Severity.NONE
    """Severity of the running release, or None."""
    revisions: Annotated[
        list[LedgerEntry],
        Field(max_length=MOST_REVISIONS, json_schema_extra={"x-kubernetes-list-type": "atomic"}),
    ] = []
    """Health ledger: revisions whose ReplicaSet still exists, with their recorded health."""
    last_rollback: LastRollback | None = None
    """Most recent rollback of the policy."""
    recent_rollbacks: Annotated[
        list[RecentRollback], Field(max_length=MOST_RECENT, json_schema_extra=keyed_by("name"))
    ] = []
    """Rollbacks that still limit the next rollback through `safety` settings or a person's
    decision, including deleted Rollbacks."""
    quarantine: Annotated[
        list[QuarantineEntry],
        Field(max_length=MOST_ENTRIES, json_schema_extra=keyed_by("release")),
    ] = []
    """Quarantined releases and their images."""
    earlier_targets: Annotated[
        list[EarlierTarget],
        Field(max_length=MOST_TARGETS, json_schema_extra=keyed_by("deployment")),
    ] = []
    """Records for Deployments that `spec.targetRef` named most recently, used if the policy names
    them again."""
    hold: Hold | None = None
    """Current or most recent pause of a rollout."""
    investigation: Investigation | None = None
    """Diagnosis of the running release. Absent if no investigation is required."""
    evaluation: Evaluation | None = None
    """Most recent evaluation of the watched release. Written only while a client requests it,
    through `kubectl rollback watch` or the annotation `rollback.tickettoken.io/watched-until`."""
    probes: Annotated[
        list[ProbeRecord], Field(max_length=16, json_schema_extra=keyed_by("name"))
    ] = []
    """Most recent releases that passed the probes named in the matrix."""
    notifications: Notifications = []
    """Notifications about releases without a Rollback."""


class RollbackPolicy(Resource):
    """RollbackPolicy watches a Deployment and rolls back bad releases."""

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
    """Desired behavior."""
    status: RollbackPolicyStatus = RollbackPolicyStatus()
    """Observed state."""
