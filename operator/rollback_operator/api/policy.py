"""RollbackPolicy: the watched workload, the limits on automatic action, and the observed state."""

from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, AwareDatetime, Field

from rollback_operator.api.checklist import ApprovalSpec, CheckName, CheckRule, DatabaseSpec
from rollback_operator.api.crd import LONGEST_REASON, Resource
from rollback_operator.api.matrix import RUNBOOK_MATRIX, MatrixRule, worst_first
from rollback_operator.api.notify import Channels, CommunicationSpec
from rollback_operator.api.policy_status import RollbackPolicyStatus
from rollback_operator.api.remedy import Remedy
from rollback_operator.api.safety import DiagnosisSpec, SafetySpec, StageSpec
from rollback_operator.api.shape import (
    LINE_FORM,
    Identifier,
    Model,
    Name,
    Rule,
    RuledModel,
    cel,
    keyed_by,
)
from rollback_operator.api.signals import PodMetricsSpec, PrometheusSpec, SignalsSpec
from rollback_operator.api.terms import (
    Mode,
    RemedyType,
    TargetKind,
    UndoTo,
)
from rollback_operator.api.verification import VerificationSpec

MOST_TRUSTED = 10


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


class RollbackPolicySpec(RuledModel):
    """Desired behavior: the workload to watch, when a release is bad, and the response.

    Only targetRef and mode are required. Evaluate without acting: mode: Observe. Stop evaluation
    and automatic action: suspend: true. Block automatic action at certain times, such as at night:
    safety.freeze. Limit repetition: safety.cooldownSeconds and safety.maxRollbacksPerDay. Require a
    person's approval: matrix[].propose, checklist[].onWarned or safety.requireVerified; if nobody
    approves before approval.timeoutSeconds, approval.onTimeout applies (default: the rollback is
    abandoned). It is also required where the release may be to blame for a late fault, and the odds
    of that are below 100 : 1; if the service is down and nobody answers, approval.onTimeoutWhenDown
    applies. Use your own counters: signals.requests and signals.errors; your own PromQL:
    matrix[].when[].query. Notify people: notify. A release is Good, and so a rollback target, after
    safety.goodAfterSeconds with enough traffic and without evidence against it.
    """

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.safety)"
            " || (has(self.safety.goodAfterSeconds) ? self.safety.goodAfterSeconds : 600)"
            " <= (has(self.safety.watchSeconds) ? self.safety.watchSeconds : 3600)",
            lambda it: it.safety.good_after_seconds <= it.safety.watch_seconds,
            "goodAfterSeconds must be at most watchSeconds; otherwise no release can become Good",
            ".safety.goodAfterSeconds",
        ),
        Rule(
            "!has(self.safety)"
            " || (has(self.safety.suspectOdds) ? self.safety.suspectOdds : 100)"
            " < (has(self.safety.badOdds) ? self.safety.badOdds : 10000)",
            lambda it: it.safety.suspect_odds < it.safety.bad_odds,
            "suspectOdds must be below badOdds",
            ".safety.suspectOdds",
        ),
        Rule(
            "!has(self.safety) || !has(self.safety.maxPauseSeconds)"
            " || self.safety.maxPauseSeconds"
            " <= (has(self.safety.watchSeconds) ? self.safety.watchSeconds : 3600)",
            # The default is not checked: it may be longer than a short evaluation period.
            lambda it: (
                "max_pause_seconds" not in it.safety.model_fields_set
                or it.safety.max_pause_seconds <= it.safety.watch_seconds
            ),
            "maxPauseSeconds must be at most watchSeconds; otherwise the evaluation ends before the"
            " pause",
            ".safety.maxPauseSeconds",
        ),
        Rule(
            "!has(self.stage) || !has(self.stage.maxSeconds) || self.stage.maxSeconds"
            " <= (has(self.safety) && has(self.safety.watchSeconds)"
            " ? self.safety.watchSeconds : 3600)",
            lambda it: it.stage.max_seconds <= it.safety.watch_seconds,
            "stage.maxSeconds must be at most safety.watchSeconds; otherwise the evaluation ends"
            " before the stage",
            ".stage.maxSeconds",
        ),
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
    diagnosis: DiagnosisSpec = DiagnosisSpec()
    """Data to collect from a slow or leaking release before it is rolled back. Default: none."""
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
    """Notification channels, in this order. Each is notified when a rollback starts or ends, when a
    release needs a person, and again while a person is awaited. Default: none; Events and status
    are always written."""
    communication: CommunicationSpec = CommunicationSpec()
    """Description of the service for use in notifications."""


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
    status: RollbackPolicyStatus = RollbackPolicyStatus()
