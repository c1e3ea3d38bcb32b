"""Remedies: what a policy may do about a bad release, and what a Rollback stores of each.

Flags (`spec.flag`), autoscalers (`spec.autoscaler`) and GitOps owners (`spec.owner`): the plan is
made at the decision, the record is stored before the change.
"""

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import AwareDatetime, Field

from rollback_operator.api.shape import (
    IMAGE_FORM,
    TOKEN_OR_NONE_FORM,
    DataKey,
    Digest,
    DnsLabel,
    Identifier,
    Model,
    Name,
    NameOrNone,
    Rule,
    RuledModel,
    keyed_by,
)
from rollback_operator.api.terms import MatrixSeverity, RemedyType, TrafficStop, UndoTo
from rollback_operator.api.verification import MOST_ASSESSED, DamageQuery

LONGEST_VALUE = 1024
MOST_REPLICAS = 10_000


MOST_RESTORED = 4
"""Maximum number of ConfigMaps that a policy restores."""


class ConfigMapPlan(Model):
    """ConfigMap that is restored with the rollback, as planned."""

    name: Name
    """Name of the ConfigMap."""
    uid: Identifier
    """UID of the ConfigMap."""
    digest: Digest
    """Digest of the content to restore, which the ConfigMap `NAME.known-good` holds."""
    previous_digest: Digest
    """Digest of the content at the time of the decision. The ConfigMap is restored only while it
    still has this content."""
    diff: Annotated[str, Field(max_length=1024)] = ""
    """Keys that change, with their values before and after."""


class StoredConfigMap(Model):
    """Content of a ConfigMap that is stored for `spec.remedies[].restore`."""

    name: Name
    """Name of the ConfigMap. Its content is stored in the ConfigMap `NAME.known-good`."""
    digest: Digest | None = None
    """Digest of the stored content. Absent: it is not stored."""
    message: Annotated[str, Field(max_length=512)] = ""
    """Reason why the content is not stored."""


StoredConfigMaps = Annotated[
    list[StoredConfigMap],
    Field(max_length=MOST_RESTORED, json_schema_extra=keyed_by("name")),
]


class ConfigMapRef(Model):
    """Reference to a ConfigMap in the policy's namespace."""

    name: Name
    """Name of the ConfigMap. The operator needs permission to patch it: list the ConfigMap in the
    chart value `patchConfigMaps`."""


class EnvFlag(Model):
    """Container whose environment holds a flag."""

    container: DnsLabel
    """Name of the container in the pod template. The variable must be in its `env` with a `value`:
    for a variable from `valueFrom` or `envFrom`, set configMapRef to its ConfigMap."""


class Flag(RuledModel):
    """Feature flag, and the value that disables the feature."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.configMapRef) != has(self.env)",
            lambda it: (it.config_map_ref is not None) != (it.env is not None),
            "set either configMapRef or env",
        ),
    )

    name: DataKey
    """Key in the ConfigMap, or name of the environment variable."""
    value: Annotated[str, Field(max_length=LONGEST_VALUE)]
    """Value to set."""
    config_map_ref: ConfigMapRef | None = None
    """ConfigMap that holds the flag, in the policy's namespace. With the chart's admission
    policies, the author of the policy must have permission to patch it."""
    env: EnvFlag | None = None
    """Container with the flag as an environment variable. The pod template is changed, as by
    `kubectl set env`, so that all pods are replaced."""

    @property
    def key(self) -> tuple[str, str]:
        """Place of the flag, and its name."""
        if self.config_map_ref is not None:
            return self.config_map_ref.name, self.name
        assert self.env is not None
        return f"container {self.env.container}", self.name


class FlagTaking(StrEnum):
    """Mechanism by which pods receive a changed value: Restart, Mount or Template."""

    RESTART = "Restart"
    MOUNT = "Mount"
    TEMPLATE = "Template"


class FlagPlan(Model):
    """State of the flag at the time of the decision."""

    config_map_uid: Identifier | None = None
    """UID of the ConfigMap. Absent for an environment variable of the pod template."""
    unannotated_digest: Digest | None = None
    """For an environment variable: digest of the pod template with the new value, without
    annotations."""
    old_value: Annotated[str, Field(max_length=LONGEST_VALUE)]
    """Value before the change. The change is applied only while the flag still has this value."""
    taken_by: FlagTaking
    """Restart: a container reads the flag as an environment variable, so the pods are restarted.
    Mount: the flag is read only from a mounted file, which the kubelet updates in running pods.
    Template: the pod template is changed, which replaces the pods."""


Replicas = Annotated[int, Field(ge=0, le=2147483647)]
"""Bound of an autoscaler: a 32-bit integer."""


class AutoscalerPlan(Model):
    """HorizontalPodAutoscaler whose bounds a Scale remedy raises instead of spec.replicas."""

    name: Name
    """Name of the HorizontalPodAutoscaler."""
    uid: Identifier
    """UID of the HorizontalPodAutoscaler at the time of the decision."""
    restore_after_seconds: Annotated[int, Field(ge=0, le=86400)]
    """Seconds after a Verified outcome until the original bounds are restored. Set from the
    policy's `safety.watchSeconds`."""


class AutoscalerRecord(Model):
    """Original and raised bounds of the autoscaler, stored before the change."""

    min_replicas: Replicas
    """Original minReplicas."""
    max_replicas: Replicas
    """Original maxReplicas."""
    raised_min_replicas: Replicas
    """minReplicas during the rollback."""
    raised_max_replicas: Replicas
    """maxReplicas during the rollback."""
    restored_time: AwareDatetime | None = None
    """Time when the original bounds were restored, or when another client was detected to have
    changed them. Absent while the bounds are raised."""
    restore_message: Annotated[str, Field(max_length=512)] = ""
    """Reason why the bounds were restored or left unchanged."""

    @property
    def is_open(self) -> bool:
        """Return whether the original bounds still have to be restored."""
        return self.restored_time is None


LONGEST_SYNC_POLICY = 1024
MOST_UPDATERS = 8


class GitOps(StrEnum):
    """Handling of a Deployment whose GitOps controller would revert a rollback."""

    REFUSE = "Refuse"
    SUSPEND = "Suspend"
    PROCEED = "Proceed"


class OwnerKind(StrEnum):
    """Kind of GitOps object that the operator can suspend."""

    APPLICATION = "Application"
    KUSTOMIZATION = "Kustomization"
    HELM_RELEASE = "HelmRelease"


class OwnerPlan(Model):
    """GitOps owner of the Deployment and its handling during the rollback."""

    tool: Annotated[str, Field(min_length=1, max_length=64)]
    """Name of the tool: Argo CD, Flux or Helm."""
    kind: OwnerKind | None = None
    """Kind of the owning object. Absent if the object is not known."""
    namespace: NameOrNone = ""
    """Namespace of the owning object. Empty: the namespace from the operator's settings."""
    name: NameOrNone = ""
    """Name of the owning object. Empty if the object is not known."""
    response: GitOps
    """Suspend: the owner is suspended before the rollback. Proceed: the owner stays active and may
    revert the rollback."""


class OwnerRecord(Model):
    """Suspension of the GitOps owner, stored before the change."""

    namespace: NameOrNone = ""
    """Namespace of the owning object."""
    was_suspended: bool = False
    """Indicates that another client had already suspended the owner. The operator then leaves it
    suspended."""
    automated: Annotated[str, Field(max_length=LONGEST_SYNC_POLICY)] = ""
    """Original `spec.syncPolicy.automated` of an Argo CD Application, as JSON."""
    suspended_time: AwareDatetime | None = None
    """Time when the owner was suspended."""
    released_time: AwareDatetime | None = None
    """Time when the owner was resumed, or was detected as resumed. Absent while it is suspended for
    this rollback."""
    release_message: Annotated[str, Field(max_length=512)] = ""
    """Reason why the owner was resumed, or the client that resumed it."""

    @property
    def is_open(self) -> bool:
        """Return whether the owner is, or may be, suspended for this rollback.

        From the record on: an operator that ends between the change and the next write leaves no
        `suspendedTime`.
        """
        return not self.was_suspended and self.released_time is None


class TrafficPlan(Model):
    """Stop of the traffic for the duration of a rollback."""

    stop: TrafficStop
    """Method to stop the traffic."""
    service: NameOrNone = ""
    """For `stop: Service`: Service whose selector is changed."""
    assess: Annotated[
        list[DamageQuery], Field(max_length=MOST_ASSESSED, json_schema_extra=keyed_by("name"))
    ] = []
    """Queries on the damage, run while the traffic is stopped."""


LONGEST_SELECTOR = 1024


class TrafficRecord(Model):
    """State of the traffic before the rollback, stored before the change."""

    replicas: Annotated[int, Field(ge=0, le=MOST_REPLICAS)] | None = None
    """Original replicas of the Deployment."""
    service_uid: Annotated[str, Field(max_length=64, pattern=TOKEN_OR_NONE_FORM)] = ""
    """UID of the Service."""
    selector: Annotated[str, Field(max_length=LONGEST_SELECTOR)] = ""
    """Original selector of the Service, as text. The operator adds one label to it, and removes
    this label again."""
    restored_time: AwareDatetime | None = None
    """Time when the traffic was restored, or was found to be under the control of another client.
    Absent while it is stopped."""
    restore_message: Annotated[str, Field(max_length=512)] = ""
    """Reason why the traffic was restored, or why it stays as it is."""

    @property
    def is_open(self) -> bool:
        """Return whether the traffic is stopped, according to the record."""
        return self.restored_time is None


class UpdaterPlan(Model):
    """Image updater that may deploy the bad image again."""

    tool: Annotated[str, Field(min_length=1, max_length=64)]
    """Name of the tool, such as Keel or Argo CD Image Updater."""
    advice: Annotated[str, Field(max_length=512)]
    """Action that prevents the tool from deploying the bad image again."""


Updaters = Annotated[
    list[UpdaterPlan],
    Field(max_length=MOST_UPDATERS, json_schema_extra={"x-kubernetes-list-type": "atomic"}),
]


class Remedy(RuledModel):
    """Action on a bad release.

    The first remedy that applies to the severity and can help is used.
    """

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.to) == (self.type == 'Undo')",
            lambda it: (it.to is not None) == (it.type is RemedyType.UNDO),
            "to is required for type Undo and must not be set otherwise",
        ),
        Rule(
            "has(self.revision) == (has(self.to) && self.to == 'Revision')",
            lambda it: (it.revision is not None) == (it.to is UndoTo.REVISION),
            "revision is required for 'to: Revision' and must not be set otherwise",
        ),
        Rule(
            "(has(self.container) && has(self.image)) == (self.type == 'PinImage')"
            " && has(self.container) == has(self.image)",
            lambda it: (
                (it.container is not None)
                == (it.image is not None)
                == (it.type is RemedyType.PIN_IMAGE)
            ),
            "container and image are required for type PinImage and must not be set otherwise",
        ),
        Rule(
            "has(self.replicas) == (self.type == 'Scale')",
            lambda it: (it.replicas is not None) == (it.type is RemedyType.SCALE),
            "replicas is required for type Scale and must not be set otherwise",
        ),
        Rule(
            "has(self.flag) == (self.type == 'DisableFlag')",
            lambda it: (it.flag is not None) == (it.type is RemedyType.DISABLE_FLAG),
            "flag is required for type DisableFlag and must not be set otherwise",
        ),
        Rule(
            "!has(self.restore) || self.type == 'Undo'",
            lambda it: it.restore is None or it.type is RemedyType.UNDO,
            "restore must not be set unless type is Undo",
        ),
    )

    type: RemedyType
    """Undo restores an earlier revision. PinImage sets a given image. Scale sets a minimum number
    of replicas, or zero. DisableFlag sets a feature flag instead of rolling back; if that
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
    replicas: Annotated[int, Field(ge=0, le=MOST_REPLICAS)] | None = None
    """For Scale: minimum number of replicas. If a HorizontalPodAutoscaler controls the Deployment,
    its bounds are raised, and restored `safety.watchSeconds` after a Verified outcome. 0 stops the
    Deployment until another release is rolled out or a person runs `kubectl rollback resume`; then
    it has the number of replicas that it had before."""
    flag: Flag | None = None
    """For DisableFlag: the flag to set, and its value."""
    restore: (
        Annotated[
            list[Name],
            Field(
                min_length=1,
                max_length=MOST_RESTORED,
                json_schema_extra={"x-kubernetes-list-type": "set"},
            ),
        ]
        | None
    ) = None
    """For Undo: ConfigMaps to restore with the revision, if they changed with the release and not
    since. Their content is stored when a revision is recorded as good, up to 64 KiB each. A
    ConfigMap with an owner, of a GitOps tool, that is immutable, or that another workload uses is
    never restored. The operator needs permission: list each ConfigMap in the chart value
    `restoreConfigMaps`."""

    def applies_to(self, severity: str) -> bool:
        """Return whether the remedy applies to a severity."""
        return self.severities is None or severity in self.severities
