"""Remedies, staged rollouts, and limits on automatic action."""

from typing import Annotated, Self

from pydantic import ConfigDict, Field, model_validator

from rollback_operator.api.flags import Flag
from rollback_operator.api.freeze import FreezeWindow
from rollback_operator.api.gitops import GitOps
from rollback_operator.api.quarantine import QuarantineResponse
from rollback_operator.api.shape import IMAGE_FORM, DnsLabel, Model, cel, keyed_by
from rollback_operator.api.terms import MatrixSeverity, RemedyType, UndoTo

MOST_REPLICAS = 10_000


class Remedy(Model):
    """Action on a bad release.

    The first remedy that applies to the severity and can help is used.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                cel(
                    "has(self.to) == (self.type == 'Undo')",
                    "to is required for type Undo and must not be set otherwise",
                ),
                cel(
                    "has(self.revision) == (has(self.to) && self.to == 'Revision')",
                    "revision is required for 'to: Revision' and must not be set otherwise",
                ),
                cel(
                    "(has(self.container) && has(self.image)) == (self.type == 'PinImage')"
                    " && has(self.container) == has(self.image)",
                    "container and image are required for type PinImage and must not be set"
                    " otherwise",
                ),
                cel(
                    "has(self.replicas) == (self.type == 'Scale')",
                    "replicas is required for type Scale and must not be set otherwise",
                ),
                cel(
                    "has(self.flag) == (self.type == 'DisableFlag')",
                    "flag is required for type DisableFlag and must not be set otherwise",
                ),
            ]
        }
    )

    type: RemedyType
    """Undo restores an earlier revision. PinImage sets a given image. Scale sets a minimum number
    of replicas. DisableFlag sets a feature flag in a ConfigMap instead of rolling back; if that
    does not help, the next remedy follows."""
    severities: (
        Annotated[
            list[MatrixSeverity],
            Field(min_length=1, max_length=4, json_schema_extra={"x-kubernetes-list-type": "set"}),
        ]
        | None
    ) = None
    """Severities to which this remedy applies. Default: all."""
    to: UndoTo | None = None
    """For Undo: revision to restore. LastKnownGood: the newest older revision that is recorded as
    good. Previous: the newest older revision. Revision: the revision with the number in
    `revision`."""
    revision: Annotated[int, Field(ge=1)] | None = None
    """For `to: Revision`: revision number, as shown by `kubectl rollout history`."""
    container: DnsLabel | None = None
    """For PinImage: container of the pod template whose image is set."""
    image: Annotated[str, Field(min_length=1, max_length=1024, pattern=IMAGE_FORM)] | None = None
    """For PinImage: full image reference."""
    replicas: Annotated[int, Field(ge=1, le=MOST_REPLICAS)] | None = None
    """For Scale: minimum number of replicas. If a HorizontalPodAutoscaler controls the Deployment,
    its bounds are raised, and restored `safety.watchSeconds` after a Verified outcome."""
    flag: Flag | None = None
    """For DisableFlag: ConfigMap key to set, and its value."""

    @model_validator(mode="after")
    def _fields_of_its_type(self) -> Self:
        wanted = {
            RemedyType.UNDO: {"to"},
            RemedyType.PIN_IMAGE: {"container", "image"},
            RemedyType.SCALE: {"replicas"},
            RemedyType.DISABLE_FLAG: {"flag"},
        }[self.type] | ({"revision"} if self.to is UndoTo.REVISION else set())
        fields = ("to", "revision", "container", "image", "replicas", "flag")
        given = {field for field in fields if getattr(self, field) is not None}
        if given != wanted:
            raise ValueError(f"type {self.type} requires {sorted(wanted)}, not {sorted(given)}")
        return self

    def applies_to(self, severity: str) -> bool:
        """Return whether the remedy applies to a severity."""
        return self.severities is None or severity in self.severities


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
    """Maximum number of automatic rollbacks of this policy in any 24 hours. Abandoned, blocked and
    rejected rollbacks do not count. Beyond the limit, people are only notified. Default: 3."""
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


class StageSpec(Model):
    """Staged rollout.

    The rollout pauses with its first new pods until they are proved no worse than the old pods.
    """

    max_seconds: Annotated[int, Field(ge=0, le=3600)] = 0
    """Maximum time in seconds that a rollout waits for the proof. Without evidence against the
    release by then, the rollout resumes. 0 (default): rollouts are not staged. Requires at least
    two replicas: with a single replica, Kubernetes removes the old pod as soon as the new pod is
    available. Must be at most `safety.watchSeconds`."""
