"""All condition types, reasons and event reasons of the operator.

A reason names a single situation. Explanations belong in messages, not here.
"""

from enum import StrEnum


class ConditionType(StrEnum):
    """Condition types of both resources (KEP-1623 shape)."""

    READY = "Ready"
    METRICS_AVAILABLE = "MetricsAvailable"
    POD_METRICS_AVAILABLE = "PodMetricsAvailable"
    SLOW_SIGNALS_AVAILABLE = "SlowSignalsAvailable"
    HEALTHY = "Healthy"
    ROLLOUT_HELD = "RolloutHeld"
    RECOVERED = "Recovered"
    COMPLETE = "Complete"
    APPROVED = "Approved"
    QUARANTINED = "Quarantined"
    TRUSTED = "Trusted"
    NOTIFIED = "Notified"
    OWNER_SUSPENDED = "OwnerSuspended"
    CONFIGURATION_READ = "ConfigurationRead"
    BOUNDS_RAISED = "BoundsRaised"
    TRAFFIC_STOPPED = "TrafficStopped"


class Reason(StrEnum):
    """Reasons of conditions, verdicts, refusals and events."""

    # Ready: the policy is in effect ...
    WATCHING_TARGET = "WatchingTarget"
    RECREATE_STRATEGY = "RecreateStrategy"
    SINGLE_REPLICA = "SingleReplica"
    IMAGE_UPDATER = "ImageUpdater"
    SUSPENDED = "Suspended"
    EVERYTHING_SUSPENDED = "EverythingSuspended"
    # ... or is not, and why.
    INVALID_SPEC = "InvalidSpec"
    INVALID_MATRIX = "InvalidMatrix"
    TARGET_NOT_FOUND = "TargetNotFound"
    TARGET_PAUSED = "TargetPaused"
    TARGET_SCALED_TO_ZERO = "TargetScaledToZero"
    NO_HISTORY = "NoHistory"
    TARGET_ALREADY_WATCHED = "TargetAlreadyWatched"
    ADDRESS_NOT_ALLOWED = "AddressNotAllowed"
    PROBE_NOT_ALLOWED = "ProbeNotAllowed"
    RIGHT_MISSING = "RightMissing"
    CHANNEL_UNUSABLE = "ChannelUnusable"
    QUERY_NOT_ALLOWED = "QueryNotAllowed"
    TENANT_NOT_ALLOWED = "TenantNotAllowed"
    READ_FAILED = "ReadFailed"
    PASS_FAILED = "PassFailed"

    # MetricsAvailable, and the four kinds of missing data behind a NoVerdict.
    SAMPLES_FRESH = "SamplesFresh"
    COUNTS_FOLDED = "CountsFolded"
    NOT_YET_READ = "NotYetRead"
    NO_SERIES = "NoSeries"
    NOT_A_COUNTER = "NotACounter"
    ERROR_SERIES_MISSING = "ErrorSeriesMissing"
    NOT_A_NUMBER = "NotANumber"
    TOO_FEW_REQUESTS = "TooFewRequests"
    SAMPLES_STALE = "SamplesStale"
    CLOCK_SKEW = "ClockSkew"
    PROVIDER_UNREACHABLE = "ProviderUnreachable"
    PROVIDER_UNAUTHORIZED = "ProviderUnauthorized"
    CREDENTIALS_UNAVAILABLE = "CredentialsUnavailable"
    PROVIDER_ERROR = "ProviderError"
    QUERY_REFUSED = "QueryRefused"
    ANSWER_MALFORMED = "AnswerMalformed"
    ANSWER_TOO_LARGE = "AnswerTooLarge"
    ANSWER_PARTIAL = "AnswerPartial"

    # PodMetricsAvailable: the pods' own pages, beside Prometheus.
    PODS_READ = "PodsRead"
    POD_METRICS_DISABLED = "PodMetricsDisabled"
    PODS_UNREACHABLE = "PodsUnreachable"
    PODS_SLOW = "PodsSlow"
    PODS_UNAUTHORIZED = "PodsUnauthorized"
    NO_COUNTERS_EXPOSED = "NoCountersExposed"
    SERIES_DIFFER = "SeriesDiffer"

    # SlowSignalsAvailable: durations, memory and own queries, where the matrix asks for them.
    SLOW_SIGNALS_READ = "SlowSignalsRead"

    # Verdicts.
    NO_RELEASE_WATCHED = "NoReleaseWatched"
    NO_EVIDENCE_AGAINST = "NoEvidenceAgainst"
    NO_CONTROL = "NoControl"
    ERROR_RATE_ABOVE_CONTROL = "ErrorRateAboveControl"
    ENVIRONMENT_SUSPECTED = "EnvironmentSuspected"
    OLD_REVISION_FAILS_TOO = "OldRevisionFailsToo"
    FEW_PODS_AFFECTED = "FewPodsAffected"
    TRAFFIC_SPIKE = "TrafficSpike"
    THERE_BEFORE = "ThereBefore"
    SYMPTOM_FOUND = "SymptomFound"
    TRAFFIC_LOST = "TrafficLost"
    EVIDENCE_GATHERING = "EvidenceGathering"
    POD_FAILING = "PodFailing"
    UNAVAILABLE = "Unavailable"
    STUCK_ROLLOUT = "StuckRollout"
    ENVIRONMENT_PREVENTS_PODS = "EnvironmentPreventsPods"

    # Why an indicated rollback is not created.
    ALREADY_ROLLED_BACK = "AlreadyRolledBack"
    ROLLBACK_ACTIVE = "RollbackActive"
    IS_A_ROLLBACK = "IsARollback"
    COOLDOWN_ACTIVE = "CooldownActive"
    BUDGET_EXHAUSTED = "BudgetExhausted"
    GITOPS_OWNER = "GitOpsOwner"
    ROLLOUT_OWNER = "RolloutOwner"
    SAME_RELEASE = "SameRelease"
    SAME_TEMPLATE = "SameTemplate"
    CONFIGURATION_UNREAD = "ConfigurationUnread"
    NO_TARGET_REVISION = "NoTargetRevision"
    TARGET_KNOWN_BAD = "TargetKnownBad"
    TARGET_FAILING = "TargetFailing"
    NO_REMEDY = "NoRemedy"
    NO_REMEDY_LEFT = "NoRemedyLeft"
    FLAG_UNUSABLE = "FlagUnusable"
    UNKNOWN_CONTAINER = "UnknownContainer"
    ALREADY_AT_TARGET = "AlreadyAtTarget"
    AUTOSCALER_OWNED = "AutoscalerOwned"
    AUTOSCALERS_CONTEND = "AutoscalersContend"
    FREEZE_ACTIVE = "FreezeActive"
    CLUSTER_BUDGET_EXHAUSTED = "ClusterBudgetExhausted"

    # Manual requests, and why they are refused.
    REQUESTED = "Requested"
    FOREIGN_IMAGE = "ForeignImage"
    POLICY_NOT_FOUND = "PolicyNotFound"

    # ConfigurationRead: a release includes its ConfigMaps and Secrets, or which it does not.
    CONFIGURATION_COMPARED = "ConfigurationCompared"
    CONFIGURATION_UNREADABLE = "ConfigurationUnreadable"

    # RolloutHeld: a rollout is held ...
    SUSPICION = "Suspicion"
    STAGE = "Stage"
    # ... or not, and why the last hold ended.
    NOT_HELD = "NotHeld"
    PAUSE_REFUSED = "PauseRefused"
    RESUME_REFUSED = "ResumeRefused"
    SUSPICION_FADED = "SuspicionFaded"
    PROVED_NO_WORSE = "ProvedNoWorse"
    HOLD_TIMED_OUT = "HoldTimedOut"
    RELEASE_TAKEN_BACK = "ReleaseTakenBack"
    RELEASE_CHANGED = "ReleaseChanged"
    NO_ROLLBACK_WANTED = "NoRollbackWanted"
    NO_OLD_POD_LEFT = "NoOldPodLeft"
    HOLDS_TURNED_OFF = "HoldsTurnedOff"
    TARGET_CHANGED = "TargetChanged"
    PAUSE_LIFTED = "PauseLifted"
    RELEASED_BY_COMMAND = "ReleasedByCommand"

    # Recovered: the running revision is not the result of a rollback (else the reason of its end).
    NOT_ROLLED_BACK = "NotRolledBack"
    # Notified: all notifications are delivered ...
    NO_CHANNELS = "NoChannels"
    NOTHING_TO_TELL = "NothingToTell"
    DELIVERED = "Delivered"
    # ... or pending, or a channel fails.
    DELIVERING = "Delivering"
    DELIVERY_FAILING = "DeliveryFailing"
    DELIVERY_GIVEN_UP = "DeliveryGivenUp"

    # Progress and result of a Rollback.
    IN_PROGRESS = "InProgress"
    STEP_REFUSED = "StepRefused"
    TARGET_MOVED = "TargetMoved"
    UNDO_REVERTED = "UndoReverted"
    BACKUP_FAILED = "BackupFailed"
    MIGRATION_FAILED = "MigrationFailed"
    MIGRATION_INCOMPLETE = "MigrationIncomplete"
    FLAG_CHANGED = "FlagChanged"
    CONFIGURATION_CHANGED = "ConfigurationChanged"
    FLAG_REVERTED = "FlagReverted"
    OWNER_NOT_SUSPENDED = "OwnerNotSuspended"
    TARGET_DELETED = "TargetDeleted"
    POLICY_DELETED = "PolicyDeleted"
    REQUEST_EXPIRED = "RequestExpired"
    REQUEST_OUTDATED = "RequestOutdated"
    REQUEST_BEFORE_POLICY = "RequestBeforePolicy"
    ROLLBACK_DELETED = "RollbackDeleted"
    REPLICA_SET_GONE = "ReplicaSetGone"
    MODE_CHANGED = "ModeChanged"
    POLICY_CHANGED = "PolicyChanged"
    ROLLBACK_STALE = "RollbackStale"
    ROLLOUT_TIMED_OUT = "RolloutTimedOut"
    NOT_OF_THIS_POLICY = "NotOfThisPolicy"
    RECOVERED = "Recovered"
    PROBES_PASSED = "ProbesPassed"
    STILL_FAILING = "StillFailing"
    CHECK_FAILED = "CheckFailed"
    CHECK_UNKNOWN = "CheckUnknown"
    RECORDED_ONLY = "RecordedOnly"

    # Trusted: a person's trust in a release, or why it has no effect.
    NOTHING_TRUSTED = "NothingTrusted"
    TRUSTED_BY_PERSON = "TrustedByPerson"
    TRUST_UNUSED = "TrustUnused"

    # Healthy: the running release was Bad, although there is no current evidence against it.
    FOUND_BAD = "FoundBad"

    # Quarantined: the running release was rolled back before.
    RELEASE_IN_QUARANTINE = "ReleaseInQuarantine"
    NOT_IN_QUARANTINE = "NotInQuarantine"

    # OwnerSuspended: the GitOps owner is suspended for a rollback, or resumed.
    SUSPENDED_BEFORE = "SuspendedBefore"
    SUSPENDED_FOR_ROLLBACK = "SuspendedForRollback"
    OWNER_RELEASED = "OwnerReleased"

    # BoundsRaised: an autoscaler's bounds are raised, restored, or changed by another client.
    RAISED_FOR_ROLLBACK = "RaisedForRollback"
    BOUNDS_REFUSED = "BoundsRefused"
    BOUNDS_RESTORED = "BoundsRestored"
    BOUNDS_CHANGED = "BoundsChanged"
    AUTOSCALER_GONE = "AutoscalerGone"
    # ... or had no effect.
    AUTOSCALER_IDLE = "AutoscalerIdle"

    # TrafficStopped: the traffic is stopped, restored, or changed by another client.
    STOPPED_FOR_ROLLBACK = "StoppedForRollback"
    TRAFFIC_RESTORED = "TrafficRestored"
    TRAFFIC_CHANGED = "TrafficChanged"
    # How a rollback ends whose traffic stays stopped, or cannot be stopped.
    TRAFFIC_STOPPED = "TrafficStopped"
    TRAFFIC_NOT_STOPPED = "TrafficNotStopped"

    # Why the checklist stops a rollback.
    TARGET_TEMPLATE_CHANGED = "TargetTemplateChanged"
    REFERENCE_GONE = "ReferenceGone"
    NEWER_SCHEMA = "NewerSchema"
    SCHEMA_DIRTY = "SchemaDirty"
    SCHEMA_UNKNOWN = "SchemaUnknown"
    CHECKLIST_BLOCKED = "ChecklistBlocked"

    # Approved: decided, pending, or why a decision is ignored.
    APPROVAL_NEEDED = "ApprovalNeeded"
    APPROVAL_UNPROTECTED = "ApprovalUnprotected"
    PLAN_CHANGED = "PlanChanged"
    APPROVED_BY_PERSON = "ApprovedByPerson"
    REJECTED_BY_PERSON = "RejectedByPerson"
    APPROVAL_TIMED_OUT = "ApprovalTimedOut"
    TRAFFIC_RECOVERED = "TrafficRecovered"
    SUPERSEDED = "Superseded"
    APPROVAL_UNREAD = "ApprovalUnread"
    NOT_NEEDED_ANY_MORE = "NotNeededAnyMore"


IDLE = frozenset(
    {
        Reason.SUSPENDED,
        Reason.EVERYTHING_SUSPENDED,
        Reason.INVALID_MATRIX,
        Reason.TARGET_NOT_FOUND,
        Reason.TARGET_PAUSED,
        Reason.TARGET_SCALED_TO_ZERO,
        Reason.TARGET_ALREADY_WATCHED,
        Reason.ADDRESS_NOT_ALLOWED,
        Reason.QUERY_NOT_ALLOWED,
        Reason.TENANT_NOT_ALLOWED,
        Reason.POLICY_DELETED,
    }
)
"""Reasons for which a policy is idle."""


class EventReason(StrEnum):
    """Reasons of the Kubernetes Events that the operator posts on transitions."""

    POLICY_NOT_READY = "PolicyNotReady"
    METRICS_UNAVAILABLE = "MetricsUnavailable"
    POLICY_READY = "PolicyReady"
    METRICS_AVAILABLE = "MetricsAvailable"
    IMAGE_NOT_PULLED = "ImageNotPulled"
    RELEASE_WATCHED = "ReleaseWatched"
    RELEASE_SUSPECT = "ReleaseSuspect"
    RELEASE_BAD = "ReleaseBad"
    RELEASE_GOOD = "ReleaseGood"
    RELEASE_TRUSTED = "ReleaseTrusted"
    ROLLBACK_STARTED = "RollbackStarted"
    ROLLBACK_FINISHED = "RollbackFinished"
    ROLLBACK_NOT_RECOVERED = "RollbackNotRecovered"
    ROLLBACK_OBSERVED = "RollbackObserved"
    ROLLBACK_REFUSED = "RollbackRefused"
    ROLLBACK_BLOCKED = "RollbackBlocked"
    ROLLBACK_UNREADABLE = "RollbackUnreadable"
    RELEASE_CAME_BACK = "ReleaseCameBack"
    APPROVAL_NEEDED = "ApprovalNeeded"
    APPROVAL_REFUSED = "ApprovalRefused"
    ROLLBACK_APPROVED = "RollbackApproved"
    INVESTIGATION_NEEDED = "InvestigationNeeded"
    FIX_FORWARD_ADVISED = "FixForwardAdvised"
    ROLLOUT_HELD = "RolloutHeld"
    ROLLOUT_LET_GO = "RolloutLetGo"
    OWNER_SUSPENDED = "OwnerSuspended"
    OWNER_RELEASED = "OwnerReleased"
    OWNER_LEFT_SUSPENDED = "OwnerLeftSuspended"
    BOUNDS_RAISED = "BoundsRaised"
    BOUNDS_RESTORED = "BoundsRestored"
    BOUNDS_LEFT = "BoundsLeft"
    TRAFFIC_STOPPED = "TrafficStopped"
    TRAFFIC_RESTORED = "TrafficRestored"
    TRAFFIC_LEFT = "TrafficLeft"
