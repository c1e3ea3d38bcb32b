"""The words that fields of both kinds take, each with its meaning."""

from enum import StrEnum


class Mode(StrEnum):
    """Observe decides and records; Enforce also acts."""

    OBSERVE = "Observe"
    ENFORCE = "Enforce"


class Severity(StrEnum):
    """The runbook's severities, worst first."""

    P1 = "P1"
    P2 = "P2"
    P3 = "P3"
    P4 = "P4"
    NONE = "None"


class MatrixSeverity(StrEnum):
    """A severity that a rule may give."""

    P1 = "P1"
    P2 = "P2"
    P3 = "P3"
    P4 = "P4"


class Response(StrEnum):
    """What a rule asks for."""

    ROLLBACK = "Rollback"
    INVESTIGATE = "Investigate"
    REPORT = "Report"


class SignalName(StrEnum):
    """What a condition looks at."""

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


class TimeoutResponse(StrEnum):
    """What follows when an investigation's time is up."""

    REPORT = "Report"
    ROLLBACK = "Rollback"


class RouteSet(StrEnum):
    """A named set of routes."""

    PURCHASE = "Purchase"


class RemedyType(StrEnum):
    """What is done about a bad release."""

    DISABLE_FLAG = "DisableFlag"
    UNDO = "Undo"
    PIN_IMAGE = "PinImage"
    SCALE = "Scale"


class UndoTo(StrEnum):
    """Which revision an undo goes back to."""

    LAST_KNOWN_GOOD = "LastKnownGood"
    PREVIOUS = "Previous"
    REVISION = "Revision"


class VerdictValue(StrEnum):
    """What is thought of the running revision."""

    WATCHING = "Watching"
    HEALTHY = "Healthy"
    SUSPECT = "Suspect"
    BAD = "Bad"
    NO_VERDICT = "NoVerdict"


class Health(StrEnum):
    """What the ledger knows of a revision."""

    GOOD = "Good"
    ASSUMED = "Assumed"
    UNKNOWN = "Unknown"
    BAD = "Bad"


class Outcome(StrEnum):
    """How a rollback ended."""

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
    """The steps of a rollback, in the order in which they may follow each other."""

    AWAITING_APPROVAL = "AwaitingApproval"
    SUSPEND_OWNER = "SuspendOwner"
    DISABLE_FLAG = "DisableFlag"
    RESTART_PODS = "RestartPods"
    UNDO = "Undo"
    PIN_IMAGE = "PinImage"
    SCALE = "Scale"
    ROLLOUT_COMPLETE = "RolloutComplete"
    RESTORE_STRATEGY = "RestoreStrategy"
    VERIFY = "Verify"


class Pace(StrEnum):
    """Express surges all good pods at once; Normal keeps the Deployment's own strategy."""

    NORMAL = "Normal"
    EXPRESS = "Express"


class HoldReason(StrEnum):
    """Why a rollout is held."""

    SUSPICION = "Suspicion"
    STAGE = "Stage"


class TargetKind(StrEnum):
    """The kinds a policy can watch."""

    DEPLOYMENT = "Deployment"
