"""Enumerations of both kinds."""

from enum import StrEnum


class Mode(StrEnum):
    """Observe evaluates and records; Enforce also acts.

    With Observe, a bad release produces a Rollback with outcome Observed, and the Deployment is
    never changed, paused or held. Notifications are still sent. With suspend: true, nothing is
    evaluated.
    """

    OBSERVE = "Observe"
    ENFORCE = "Enforce"


class Severity(StrEnum):
    """Severity of the running release: P1 is the worst, None means no matrix rule matches."""

    P1 = "P1"
    P2 = "P2"
    P3 = "P3"
    P4 = "P4"
    NONE = "None"


class MatrixSeverity(StrEnum):
    """Severity that a matrix rule assigns: P1 is the worst, P4 the mildest."""

    P1 = "P1"
    P2 = "P2"
    P3 = "P3"
    P4 = "P4"


class Response(StrEnum):
    """Action for a severity: Rollback, Investigate or Report.

    Rollback applies the first suitable remedy without asking. Investigate notifies people and
    records a diagnosis in status.investigation. Report only notifies people.
    """

    ROLLBACK = "Rollback"
    INVESTIGATE = "Investigate"
    REPORT = "Report"


class SignalName(StrEnum):
    """Signal that a condition evaluates."""

    ERROR_RATE = "ErrorRate"
    UNAVAILABLE = "Unavailable"
    STUCK_ROLLOUT = "StuckRollout"
    TRAFFIC_LOST = "TrafficLost"
    LATENCY_RATIO = "LatencyRatio"
    LATENCY = "Latency"
    OOM_KILLS = "OOMKills"
    RESTARTS = "Restarts"
    MEMORY_GROWTH = "MemoryGrowth"
    QUERY = "Query"
    PROBE = "Probe"
    INTEGRITY = "Integrity"


class TimeoutResponse(StrEnum):
    """Action when an investigation exceeds withinSeconds: Report or Rollback."""

    REPORT = "Report"
    ROLLBACK = "Rollback"


class RouteSet(StrEnum):
    """Named set of routes. Purchase is the set in spec.signals.purchaseRoutes."""

    PURCHASE = "Purchase"


class RemedyType(StrEnum):
    """Action that repairs a bad release."""

    DISABLE_FLAG = "DisableFlag"
    UNDO = "Undo"
    PIN_IMAGE = "PinImage"
    SCALE = "Scale"


class UndoTo(StrEnum):
    """Revision that an undo restores."""

    LAST_KNOWN_GOOD = "LastKnownGood"
    PREVIOUS = "Previous"
    REVISION = "Revision"


class VerdictValue(StrEnum):
    """Current judgement of the running release.

    Watching: evidence is being collected. Healthy: no evidence against the release. Suspect: some
    evidence, or no proof that the release is the cause; it is not rolled back. Bad: proved worse.
    NoVerdict: the release cannot be judged; the condition Healthy states the reason.
    """

    WATCHING = "Watching"
    HEALTHY = "Healthy"
    SUSPECT = "Suspect"
    BAD = "Bad"
    NO_VERDICT = "NoVerdict"


class Health(StrEnum):
    """Recorded health of a revision.

    Good: it met safety.goodAfterSeconds, or a person trusts it. Assumed: it was running when the
    policy started. Unknown: not evaluated, or not yet Good. Bad: it was found bad and is not a
    rollback target until a person trusts it.
    """

    GOOD = "Good"
    ASSUMED = "Assumed"
    UNKNOWN = "Unknown"
    BAD = "Bad"


class Starts(StrEnum):
    """Requests to the pods of a revision in their first 20 s.

    Clean: at most 1 % failed. Failing: more did, a warm-up.
    """

    CLEAN = "Clean"
    FAILING = "Failing"


class Outcome(StrEnum):
    """Final result of a rollback.

    Observed: recorded only, because mode is Observe. Verified: recovery is proved. NotRecovered:
    the fault continues. Unknown: recovery could not be determined. Abandoned: stopped because the
    preconditions changed or approval timed out. Failed: a step failed or was reverted. Blocked: the
    checklist blocked it. Rejected: a person rejected it. Refused: a manual request was not
    accepted.
    """

    OBSERVED = "Observed"
    VERIFIED = "Verified"
    NOT_RECOVERED = "NotRecovered"
    UNKNOWN = "Unknown"
    ABANDONED = "Abandoned"
    FAILED = "Failed"
    BLOCKED = "Blocked"
    REJECTED = "Rejected"
    REFUSED = "Refused"


class StepName(StrEnum):
    """Step of a rollback, listed in execution order."""

    AWAITING_APPROVAL = "AwaitingApproval"
    SUSPEND_OWNER = "SuspendOwner"
    BACKUP = "Backup"
    MIGRATE_DOWN = "MigrateDown"
    RESTORE_CONFIGURATION = "RestoreConfiguration"
    DIAGNOSE = "Diagnose"
    STOP_TRAFFIC = "StopTraffic"
    ASSESS_DAMAGE = "AssessDamage"
    DISABLE_FLAG = "DisableFlag"
    RESTART_PODS = "RestartPods"
    UNDO = "Undo"
    PIN_IMAGE = "PinImage"
    SCALE = "Scale"
    RESTORE_TRAFFIC = "RestoreTraffic"
    ROLLOUT_COMPLETE = "RolloutComplete"
    RESTORE_STRATEGY = "RestoreStrategy"
    VERIFY = "Verify"


class TrafficStop(StrEnum):
    """Method to stop the traffic of a release: Replicas or Service.

    Replicas sets the Deployment to zero replicas: no pod runs. Service lets a Service select no
    pod: the pods keep running, and established connections stay open.
    """

    REPLICAS = "Replicas"
    SERVICE = "Service"


class Pace(StrEnum):
    """Speed of a rollout: Normal or Express.

    Normal uses the Deployment's own strategy. Express temporarily sets maxSurge to 100 % to start
    all good pods at once.
    """

    NORMAL = "Normal"
    EXPRESS = "Express"


class HoldReason(StrEnum):
    """Reason for pausing a rollout: Suspicion or Stage.

    Suspicion: there is evidence against the release (safety.pauseOnSuspicion). Stage: the first new
    pods are being compared with the old pods (stage.maxSeconds).
    """

    SUSPICION = "Suspicion"
    STAGE = "Stage"


class TargetKind(StrEnum):
    """Kind of workload that a policy can watch. Only Deployment is supported."""

    DEPLOYMENT = "Deployment"


class QuarantineResponse(StrEnum):
    """Handling of a release that contains a quarantined image."""

    TELL = "Tell"
    REFUSE = "Refuse"
