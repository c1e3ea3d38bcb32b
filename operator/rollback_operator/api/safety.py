"""What a policy allows, how it is carried out, and what keeps it from being done."""

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
    """What is done. The first that applies to the severity, and can be the cure, is taken."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                cel(
                    "has(self.to) == (self.type == 'Undo')",
                    "to belongs to type Undo, which needs it",
                ),
                cel(
                    "has(self.revision) == (has(self.to) && self.to == 'Revision')",
                    "revision belongs to 'to: Revision', which needs it",
                ),
                cel(
                    "(has(self.container) && has(self.image)) == (self.type == 'PinImage')"
                    " && has(self.container) == has(self.image)",
                    "container and image belong to type PinImage, which needs both",
                ),
                cel(
                    "has(self.replicas) == (self.type == 'Scale')",
                    "replicas belongs to type Scale, which needs it",
                ),
                cel(
                    "has(self.flag) == (self.type == 'DisableFlag')",
                    "flag belongs to type DisableFlag, which needs it",
                ),
            ]
        }
    )

    type: RemedyType
    """Undo goes back to an earlier revision, PinImage to a named image, Scale sets the replicas,
    DisableFlag a feature flag in a ConfigMap; the remedy after it follows if that is no cure."""
    severities: (
        Annotated[
            list[MatrixSeverity],
            Field(min_length=1, max_length=4, json_schema_extra={"x-kubernetes-list-type": "set"}),
        ]
        | None
    ) = None
    """The severities that this remedy is for. Default: all."""
    to: UndoTo | None = None
    """LastKnownGood: the newest older revision that was recorded as good. Previous: the newest
    older revision. Revision: the one with the number in `revision`."""
    revision: Annotated[int, Field(ge=1)] | None = None
    """With `to: Revision`: its number, as `kubectl rollout history` shows it."""
    container: DnsLabel | None = None
    """With PinImage: the container of the pod template whose image is set."""
    image: Annotated[str, Field(min_length=1, max_length=1024, pattern=IMAGE_FORM)] | None = None
    """With PinImage: the whole reference of the image."""
    replicas: Annotated[int, Field(ge=1, le=MOST_REPLICAS)] | None = None
    """With Scale: how many pods there shall be, at least. Where a HorizontalPodAutoscaler sets the
    replicas its bounds are raised, and put back `safety.watchSeconds` after a verified end."""
    flag: Flag | None = None
    """With DisableFlag: which key of which ConfigMap is set to what."""

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
            raise ValueError(f"type {self.type} takes {sorted(wanted)}, not {sorted(given)}")
        return self

    def applies_to(self, severity: str) -> bool:
        """Tell whether it is for a severity."""
        return self.severities is None or severity in self.severities


class SafetySpec(Model):
    """What keeps the operator from doing harm."""

    watch_seconds: Annotated[int, Field(ge=60, le=86400)] = 3600
    """How long a release is judged after its template appeared. Time in which nobody could look, as
    while the operator was down, the policy at rest or Prometheus away, is not counted."""
    good_after_seconds: Annotated[int, Field(ge=10, le=86400)] = 600
    """A release is Good after this time fully rolled out, with enough traffic, and with nothing
    against it for as long by any signal of the matrix. It is the least: a leak shows after 15
    minutes."""
    cooldown_seconds: Annotated[int, Field(ge=0, le=604800)] = 3600
    """After a rollback, how long the same release is not rolled back again by itself."""
    max_rollbacks_per_day: Annotated[int, Field(ge=1, le=100)] = 3
    """Rollbacks that this policy may decide on in any 24 hours, whatever it watches, those that
    were abandoned, blocked or rejected not counted; after that people are told instead."""
    stuck_after_seconds: Annotated[int, Field(ge=10, le=86400)] = 300
    """A rollout without progress for this long is stuck, or after the Deployment's
    progressDeadlineSeconds if that is shorter."""
    suspect_odds: Annotated[int, Field(ge=10, le=1000000)] = 100
    """From these odds that the release is worse it is Suspect."""
    bad_odds: Annotated[int, Field(ge=100, le=1000000000)] = 10000
    """From these odds it is Bad and acted on at once; at a deadline a tenth of them will do."""
    express: Annotated[
        list[MatrixSeverity],
        Field(max_length=4, json_schema_extra={"x-kubernetes-list-type": "set"}),
    ] = [MatrixSeverity.P1]
    """Severities whose undo starts all good pods at once (maxSurge 100 % for its time)."""
    pause_on_suspicion: bool = True
    """True: while a rollout goes on, a suspicion against the release pauses it, so that the old
    pods stay alive to compare with; it goes on when the suspicion has faded."""
    max_pause_seconds: Annotated[int, Field(ge=10, le=3600)] = 300
    """How long a rollout may be held on suspicion, in all, for one release."""
    quarantine_seconds: Annotated[int, Field(ge=0, le=7776000)] = 604800
    """How long a release that was rolled back, and its images, must not come back: it is told at
    once if it does. 0: no quarantine."""
    on_quarantined: QuarantineResponse = QuarantineResponse.TELL
    """Refuse: the API server does not take an image that is in quarantine back into the Deployment;
    for that the chart's admission policies must be installed. A release without such an image is
    told."""
    freeze: Annotated[
        list[FreezeWindow], Field(max_length=16, json_schema_extra=keyed_by("name"))
    ] = []
    """Times in which releases are judged and people told, and nothing is done by itself; what a
    person asks for is."""
    require_verified: bool = False
    """True: a person is asked before an undo to a revision that is not recorded as Good."""
    git_ops: GitOps = GitOps.REFUSE
    """What is done where Argo CD or Flux steers the Deployment and would revert an undo. Refuse:
    nothing, people are told. Suspend: its Application, Kustomization or HelmRelease is suspended
    first and stays so until a person releases it, or Git wants what runs. Proceed: it is undone all
    the same; if that is reverted, people are told, and it is not done again."""


class StageSpec(Model):
    """Holds a rollout with its first new pods until they are proved no worse than the old ones."""

    max_seconds: Annotated[int, Field(ge=0, le=3600)] = 0
    """How long a rollout may be held for the proof; if nothing speaks against the release by then
    it goes on without. 0: rollouts are not staged. It takes two replicas: of one, Kubernetes takes
    the old pod away as soon as the new one is available, paused or not."""
