"""Limits on automatic action: thresholds, freeze windows, staged rollouts, diagnosis before."""

from datetime import datetime, time
from enum import StrEnum
from typing import Annotated, ClassVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AwareDatetime, Field, field_validator

from rollback_operator.api.remedy import GitOps
from rollback_operator.api.shape import (
    DnsLabel,
    Label,
    Model,
    NameOrNone,
    Rule,
    RuledModel,
    keyed_by,
)
from rollback_operator.api.terms import MatrixSeverity, QuarantineResponse

_CLOCK = "^([01][0-9]|2[0-3]):[0-5][0-9]$"
_DATE = "^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3]):[0-5][0-9]$"
MOMENT = f"({_CLOCK})|({_DATE})"

Moment = Annotated[str, Field(max_length=16, pattern=MOMENT)]


class Day(StrEnum):
    """Day of the week."""

    MON = "Mon"
    TUE = "Tue"
    WED = "Wed"
    THU = "Thu"
    FRI = "Fri"
    SAT = "Sat"
    SUN = "Sun"


class FrozenSeverity(StrEnum):
    """Severity that can be exempt from a freeze window."""

    P1 = "P1"
    P2 = "P2"
    P3 = "P3"


class FreezeWindow(RuledModel):
    """Period without automatic action.

    Releases are evaluated and people are notified, but the operator does not roll back or pause
    rollouts automatically. Rollbacks that a person requests are executed. Example for nights: name:
    night, from: "22:00", until: "06:00", timeZone: Europe/Berlin.
    """

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.from.contains('T') == self.until.contains('T')",
            lambda it: it.is_daily == ("T" not in it.until),
            "from and until must both be clock times (22:00) or both be dates (2026-12-24T18:00)",
            ".until",
        ),
        Rule(
            "!self.from.contains('T') || self.from < self.until",
            lambda it: (
                it.is_daily or datetime.fromisoformat(it.from_) < datetime.fromisoformat(it.until)
            ),
            "until must be later than from",
            ".until",
        ),
        Rule(
            "!has(self.days) || !self.from.contains('T')",
            lambda it: it.days is None or it.is_daily,
            "days requires clock times in from and until",
            ".days",
        ),
    )

    name: Label
    """Name of the window in messages."""
    time_zone: Annotated[
        str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z][A-Za-z0-9_+/-]*$")
    ] = "UTC"
    """IANA time zone of `from` and `until`, such as Europe/Berlin. Default: UTC."""
    from_: Annotated[Moment, Field(alias="from")]
    """Start of the window: a clock time such as "22:00", which recurs daily or on `days`, or a date
    such as "2026-12-24T18:00", which applies once."""
    until: Moment
    """End of the window, in the same form as `from`. A clock time that is not later than `from`
    refers to the next day."""
    days: (
        Annotated[
            list[Day],
            Field(min_length=1, max_length=7, json_schema_extra={"x-kubernetes-list-type": "set"}),
        ]
        | None
    ) = None
    """Days of the week on which a recurring window starts. Only for clock times. Default: every
    day."""
    exempt: Annotated[
        list[FrozenSeverity],
        Field(max_length=3, json_schema_extra={"x-kubernetes-list-type": "set"}),
    ] = []
    """Severities for which automatic action continues during the window, such as P1. Default:
    none. No rollout is held during a window."""

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"{name} is not a known time zone; example: Europe/Berlin") from None
        return name

    @property
    def is_daily(self) -> bool:
        """Return whether the window recurs, daily or on days of the week."""
        return "T" not in self.from_

    @property
    def zone(self) -> ZoneInfo:
        """Time zone of the window."""
        return ZoneInfo(self.time_zone)

    @property
    def hours(self) -> tuple[time, time]:
        """Start and end of a recurring window."""
        return time.fromisoformat(self.from_), time.fromisoformat(self.until)


class SafetySpec(Model):
    """Limits on automatic action.

    Rollbacks that a person requests are not limited by cooldown, daily limit or freeze windows.
    """

    watch_seconds: Annotated[int, Field(ge=60, le=86400)] = 3600
    """Evaluation period of a release in seconds, from the appearance of its pod template. Time
    without evaluation is not counted: operator down, policy suspended, or Prometheus unavailable.
    Default: 3600."""
    good_after_seconds: Annotated[int, Field(ge=10, le=86400)] = 600
    """A release is Good, and so a rollback target, after it has been fully rolled out for this many
    seconds, has served enough traffic, and no signal of the matrix has shown evidence against it
    for as long. This is a minimum: memory growth takes 15 minutes to detect. Must be at most
    `watchSeconds`. Default: 600."""
    cooldown_seconds: Annotated[int, Field(ge=0, le=604800)] = 3600
    """Seconds after a rollback during which the same release is not rolled back again
    automatically. Default: 3600."""
    max_rollbacks_per_day: Annotated[int, Field(ge=1, le=100)] = 3
    """Maximum number of automatic rollbacks of this policy, and of its Deployment by any policy, in
    any 24 hours. Abandoned, blocked and rejected rollbacks do not count. Beyond the limit, people
    are only notified. Default: 3."""
    stuck_after_seconds: Annotated[int, Field(ge=10, le=86400)] = 300
    """Seconds without rollout progress after which a rollout is stuck. A shorter
    progressDeadlineSeconds of the Deployment takes precedence. Default: 300."""
    suspect_odds: Annotated[int, Field(ge=10, le=1000000)] = 100
    """Odds to 1 that the release is worse, at which it becomes Suspect. Must be below `badOdds`.
    Default: 100."""
    bad_odds: Annotated[int, Field(ge=100, le=1000000000)] = 10000
    """Odds to 1 that the release is worse, at which it becomes Bad and is acted on at once. At the
    deadline of a matrix rule, a tenth suffices. Higher values mean fewer false alarms and slower
    decisions. Default: 10000."""
    express: Annotated[
        list[MatrixSeverity],
        Field(max_length=4, json_schema_extra={"x-kubernetes-list-type": "set"}),
    ] = [MatrixSeverity.P1]
    """Severities whose undo starts all good pods at once, by a temporary maxSurge 100 %. Other
    severities use the Deployment's own strategy. Default: P1."""
    pause_on_suspicion: bool = True
    """Pauses a rollout while there is evidence against the release, so that old pods remain for
    comparison. The rollout resumes when the suspicion fades, or after `maxPauseSeconds`. Default:
    true."""
    max_pause_seconds: Annotated[int, Field(ge=10, le=3600)] = 300
    """Maximum total time in seconds that a rollout is paused on suspicion, per release. Must be at
    most `watchSeconds`. Default: 300."""
    quarantine_seconds: Annotated[int, Field(ge=0, le=7776000)] = 604800
    """Seconds during which a rolled-back release and its images are quarantined. If they are
    deployed again, `onQuarantined` applies. 0: no quarantine. Default: 604800 (7 days)."""
    on_quarantined: QuarantineResponse = QuarantineResponse.TELL
    """Action when a quarantined release is deployed again. Tell (default): notify people at once.
    Refuse: the API server rejects changes of the Deployment to a quarantined image; this requires
    the chart's admission policies. A release without such an image is only notified."""
    freeze: Annotated[
        list[FreezeWindow], Field(max_length=16, json_schema_extra=keyed_by("name"))
    ] = []
    """Freeze windows, such as nights or holidays: releases are evaluated and people are notified,
    but the operator does not roll back or pause rollouts automatically. Rollbacks that a person
    requests are executed. Default: none."""
    require_verified: bool = False
    """Requires a person's approval for an undo to a revision that is not recorded as Good. Default:
    false."""
    git_ops: GitOps = GitOps.REFUSE
    """Handling of a Deployment that Argo CD or Flux manages and would revert. Refuse (default): no
    rollback; people are notified. Suspend: suspends the Application, Kustomization or HelmRelease
    before the rollback, until a person resumes it or Git contains the restored state. Proceed:
    rolls back anyway; if that is reverted, people are notified and it is not repeated."""


class PodCommand(Model):
    """Command that runs in a pod of the bad release before the pods are replaced.

    It stores its result itself, such as a heap profile: on a volume of the pod, or by an upload.
    Only the end of its output is kept.
    """

    command: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=1024)]],
        Field(min_length=1, max_length=16, json_schema_extra={"x-kubernetes-list-type": "atomic"}),
    ]
    """Program and arguments, without a shell."""
    container: DnsLabel | None = None
    """Container to run it in. Default: the first container of the pod template."""
    timeout_seconds: Annotated[int, Field(ge=1, le=60)] = 20
    """Maximum delay of the rollback in seconds. A command that takes longer is not waited for.
    Default: 20."""


class DiagnosisSpec(Model):
    """Data to collect from the bad release before it is rolled back.

    It applies to rollbacks because of OOMKills, Restarts, MemoryGrowth, Latency or LatencyRatio;
    other rollbacks are not delayed. The memory of the pods, as `kubectl top` shows it, is recorded
    too where the cluster has a metrics-server.
    """

    run: Annotated[PodCommand | None, Field(alias="exec")] = None
    """Command to run in one pod of the release. The namespace must be listed in the chart value
    `podCommands.namespaces`. Default: none."""


class DiagnosisRecord(Model):
    """Data collected from the bad release."""

    pod: NameOrNone = ""
    """Pod in which the command ran."""
    time: AwareDatetime
    """Time when it ended."""
    message: Annotated[str, Field(max_length=512)] = ""
    """Result of the command."""
    output: Annotated[str, Field(max_length=2048)] = ""
    """End of its output."""
    memory: Annotated[str, Field(max_length=1024)] = ""
    """Memory of the pods, as `kubectl top` shows it, or why it is not known."""


class StageSpec(Model):
    """Staged rollout.

    The rollout pauses with its first new pods until they are proved no worse than the old pods.
    """

    max_seconds: Annotated[int, Field(ge=0, le=3600)] = 0
    """Maximum time in seconds that a rollout waits for the proof. Without evidence against the
    release by then, the rollout resumes. 0 (default): rollouts are not staged. Requires at least
    two replicas: with a single replica, Kubernetes removes the old pod as soon as the new pod is
    available. Must be at most `safety.watchSeconds`."""
