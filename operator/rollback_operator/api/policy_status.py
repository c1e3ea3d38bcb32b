"""Status of a RollbackPolicy: revisions, holds, past rollbacks, quarantine."""

from typing import Annotated

from pydantic import AwareDatetime, Field

from rollback_operator.api.checklist import AppliedMigrations
from rollback_operator.api.crd import GROUP, Condition
from rollback_operator.api.notify import Notifications
from rollback_operator.api.remedy import Flag, StoredConfigMaps
from rollback_operator.api.shape import (
    TOKEN_FORM,
    TOKEN_OR_NONE_FORM,
    Decimal,
    Digest,
    Identifier,
    Images,
    Model,
    Name,
    NameOrNone,
    PodHash,
    Route,
    keyed_by,
)
from rollback_operator.api.terms import (
    Health,
    HoldReason,
    MatrixSeverity,
    Mode,
    Outcome,
    Severity,
    Starts,
    VerdictValue,
)
from rollback_operator.api.verification import ProbeRecord

WATCHED_UNTIL = f"{GROUP}/watched-until"
"""Annotation of a policy: its evaluations are stored until this time (RFC 3339)."""


class ObservedCounts(Model):
    """Counts for a revision since the release began."""

    pods: Annotated[int, Field(ge=0)]
    """Number of pods counted, including deleted pods. 0 if the series have no pod label."""
    requests: Annotated[int, Field(ge=0)]
    """Number of requests."""
    errors: Annotated[int, Field(ge=0)]
    """Number of failed requests."""


class PastCounts(Model):
    """Counts for the old revision before the release began."""

    seconds: Annotated[int, Field(ge=0)]
    """Length of the period in seconds."""
    requests: Annotated[int, Field(ge=0)]
    """Number of requests."""
    errors: Annotated[int, Field(ge=0)]
    """Number of failed requests."""


class Evaluation(Model):
    """Most recent evaluation of the watched release. The verdict is in status.verdict."""

    time: AwareDatetime
    """Time of the evaluation."""
    revision: Annotated[int, Field(ge=0)]
    """Number of the evaluated revision."""
    since_time: AwareDatetime
    """Time when the release began."""
    new: ObservedCounts
    """Counts for the evaluated revision."""
    old: ObservedCounts
    """Counts for the revision used as the baseline."""
    past: PastCounts | None = None
    """Baseline before the release, used when no old pod is left. Absent if it has not been read."""
    odds: Decimal
    """Odds to 1 that the new revision is worse, on the route with the strongest evidence. Capped at
    1000000000."""
    route: Route | None = None
    """Route with the strongest evidence. Absent: all routes combined."""
    blame_odds: Decimal | None = None
    """Odds to 1 that the release, not its environment, is the cause. Absent if not evaluated."""
    suspect_odds: Annotated[int, Field(ge=0)]
    """Odds at which the release becomes Suspect."""
    bad_odds: Annotated[int, Field(ge=0)]
    """Odds at which the release becomes Bad."""
    reason: Identifier
    """Reason for the verdict, in CamelCase."""
    message: Annotated[str, Field(max_length=1024)] = ""
    """Explanation of the verdict."""


MOST_RECENT = 100
MOST_CAUSES = 8
"""Equal to the maximum of `safety.maxRollbacksPerDay`."""


class RecentRollback(Model):
    """Rollback that limits further rollbacks, kept after its object is deleted."""

    name: Name
    """Name of the Rollback."""
    deployment: Name
    """Name of the target Deployment."""
    mode: Mode
    """Mode at the time of the decision."""
    severity: MatrixSeverity
    """Severity at the time of the decision."""
    from_release: Digest
    """Release that was rolled back, not again automatically for `safety.cooldownSeconds`."""
    to_release: Digest | None = None
    """Release that was restored. It is not rolled back automatically for `safety.watchSeconds`."""
    flag: Flag | None = None
    """Flag that was set instead of rolling back the release."""
    replicas: Annotated[int, Field(ge=0)] | None = None
    """Number of replicas that was set instead of rolling back the release; 0: it was stopped."""
    by_hand: bool = False
    """Indicates that a person requested the rollback. It does not count toward
    `safety.maxRollbacksPerDay`."""
    outcome: Outcome | None = None
    """Final result. Absent while the rollback is in progress."""
    done: bool = False
    """Indicates that the remedy was applied, or began to be, regardless of the outcome."""
    retryable: bool = False
    """Indicates that the rollback ended for a temporary reason before changing anything and may be
    retried."""
    decided_time: AwareDatetime
    """Time of the decision."""
    finished_time: AwareDatetime | None = None
    """Time when the rollback ended."""


MOST_ENTRIES = 20


class QuarantineEntry(Model):
    """Release that was rolled back and is quarantined until untilTime."""

    rollback: Name
    """Name of the Rollback that replaced the release."""
    release: Digest
    """Digest of the release, as in `status.revisions`."""
    template_hash: PodHash = ""
    """pod-template-hash of the ReplicaSet."""
    images: Images = []
    """Images of the release, including init containers, that the restored revision does not use."""
    image_digests: Images = []
    """Digests (sha256:...) of these images when they ran."""
    until_time: AwareDatetime
    """Time when the quarantine ends."""


MOST_REVISIONS = 20
"""More than the ReplicaSets that a Deployment keeps by default, so that no Bad revision is lost."""
MOST_TARGETS = 3


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
    """Digest of the pod template without annotations, and of the ConfigMaps and Secrets that it
    references as far as the operator may read them. Restarts of a release keep it."""
    configuration: Digest | None = None
    """Digest of the ConfigMaps and Secrets when the revision began. Absent: not read."""
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
    the policy started and serves. Unknown: not evaluated, or not yet Good. Bad: it was found bad
    and is no rollback target until a person trusts it."""
    reason: Annotated[str, Field(max_length=256)] = ""
    """Explanation of the health."""
    condemned: Condemnation | None = None
    """Finding that made the revision Bad. Absent otherwise."""
    found_time: AwareDatetime | None = None
    """Begin of a revision that was present when the policy started, and was unavailable or failing.
    It becomes Assumed once it serves, unless it is replaced or found bad before."""
    trusted_time: AwareDatetime | None = None
    """Time of a person's trust that made the revision Good. Absent otherwise."""
    quarantined_by: NameOrNone = ""
    """Name of the Rollback that quarantined one of its images. The revision is not a rollback
    target during the quarantine."""
    starts: Starts | None = None
    """Whether its pods failed requests in their first 20 s, as recorded when it became Good. Where
    the revisions on record did not, errors in the first seconds of a release count at once. Absent:
    not known."""
    migrations: AppliedMigrations | None = None
    """Migrations applied when the revision was recorded as good. Only with `spec.database`."""
    config_maps: StoredConfigMaps = []
    """ConfigMaps of `spec.remedies[].restore`, stored when the revision was recorded as good."""


class LastRollback(Model):
    """Most recent rollback of the policy."""

    name: Name
    """Name of the Rollback."""
    outcome: Outcome | None = None
    """Final result. Absent while it is in progress."""
    time: AwareDatetime
    """Time of the end, or of the decision while it is in progress."""


class NotRecovered(Model):
    """Rollback after which the condition Recovered was False."""

    rollback: Name
    """Name of the Rollback."""
    reasons: Annotated[
        list[Annotated[str, Field(max_length=64, pattern=TOKEN_FORM)]],
        Field(max_length=MOST_CAUSES, json_schema_extra={"x-kubernetes-list-type": "set"}),
    ] = []
    """Reasons for which the Event RollbackNotRecovered was posted, once each."""


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
        """Return whether the hold has not ended; its pause may not be made yet."""
        return self.released_time is None

    @property
    def is_in_effect(self) -> bool:
        """Return whether the rollout is paused by this hold."""
        return self.is_open and self.paused_time is not None


class InvestigationFinding(Model):
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
    """Digest of the release, as in `status.revisions`."""
    since: AwareDatetime
    """Time when the investigation began."""
    findings: Annotated[
        list[InvestigationFinding],
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
        list[QuarantineEntry], Field(max_length=MOST_ENTRIES, json_schema_extra=keyed_by("release"))
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
        list[Condition], Field(max_length=16, json_schema_extra=keyed_by("type"))
    ] = []
    """Conditions of the policy, such as Ready, Healthy and Recovered."""
    missing_metrics: Annotated[str, Field(max_length=64, pattern=TOKEN_OR_NONE_FORM)] = ""
    """Reason for which MetricsAvailable was False last, until the metrics are readable again."""
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
    """Worst severity of the running release and of the rollback in progress, or None."""
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
        list[QuarantineEntry], Field(max_length=MOST_ENTRIES, json_schema_extra=keyed_by("release"))
    ] = []
    """Quarantined releases and their images."""
    earlier_targets: Annotated[
        list[EarlierTarget],
        Field(max_length=MOST_TARGETS, json_schema_extra=keyed_by("deployment")),
    ] = []
    """Records for Deployments that `spec.targetRef` named earlier, used if it names them again."""
    not_recovered: NotRecovered | None = None
    """Rollback after which Recovered was False, and the reasons that were reported."""
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
    """Most recent releases that passed the probes and integrity checks named in the matrix."""
    notifications: Notifications = []
    """Notifications about releases without a Rollback."""
