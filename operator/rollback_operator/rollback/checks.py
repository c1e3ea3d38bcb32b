"""The items of the checklist, each from facts: subject, result, and reason.

Pure. An item that could not be checked is Warned with the reason: before an urgent undo, a missing
answer to a side question stops nothing. The consequence of an item is a rule of its own, here.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import assert_never

from rollback_operator.api.checklist import (
    CheckItem,
    CheckName,
    CheckResult,
    Consequence,
)
from rollback_operator.api.remedy import FlagTaking, TrafficPlan
from rollback_operator.api.shape import clipped
from rollback_operator.api.v1alpha1 import (
    Health,
    Pace,
    RemedyType,
    RevisionRef,
    Rollback,
    RollbackPolicy,
    TrafficStop,
)
from rollback_operator.evidence.watch import Watch
from rollback_operator.model.controllers import Claims, OwnerState
from rollback_operator.model.samples import Missing
from rollback_operator.model.schema import (
    SchemaHistory,
)
from rollback_operator.model.surroundings import ClusterCapacity, Quota, Reference, quota_left
from rollback_operator.model.workload import Deployment, ReplicaSet, Workload, floor_of, share_of
from rollback_operator.remedies import autoscaling, gitops
from rollback_operator.remedies.database.migrations import LossReport
from rollback_operator.remedies.gitops import warning
from rollback_operator.remedies.progress import has_acted

FRESH_SECONDS = 60.0
"""An older sample does not show the current state of a service."""
MOST_OBJECTS_NAMED = 5


@dataclass(frozen=True, slots=True)
class ChecklistFacts:
    """State just before the act."""

    rollback: Rollback
    workload: Workload
    now: datetime
    policy: RollbackPolicy | None = None
    """None: it is gone."""
    others: Sequence[Rollback] = ()
    """Other open rollbacks of the same Deployment."""
    watch: Watch | None = None
    references: Mapping[Reference, bool | Missing] = field(default_factory=dict)
    """Existence of the objects that the target's pods name."""
    cluster: ClusterCapacity | Missing | None = None
    quotas: Sequence[Quota] | Missing = ()
    schema: SchemaHistory | None = None
    """None: the policy names no database."""
    loss: LossReport | None = None
    """Data that rolling the newer migrations back would lose; None: nothing was measured."""
    owner: OwnerState | Missing | None = None
    """None: no owner is to be suspended."""
    claims: Claims | Missing | None = None
    """References of rollout tools and image updaters to the Deployment; None: not read."""

    @property
    def deployment(self) -> Deployment:
        """The Deployment as read."""
        return self.workload.deployment

    @property
    def target(self) -> ReplicaSet | None:
        """The ReplicaSet of the rollback target, even if its template has changed."""
        wanted = self.rollback.spec.to_revision
        uid = wanted.replica_set_uid if wanted else None
        return next(
            (replica_set for replica_set in self.workload.replica_sets if replica_set.uid == uid),
            None,
        )

    @property
    def template(self) -> ReplicaSet | None:
        """The ReplicaSet that gets more pods: the target's, or the running revision's."""
        return self.target if self.rollback.spec.to_revision else self.workload.current


def bad_revision(facts: ChecklistFacts) -> CheckItem:
    """Name the bad release: revision, images, and the commit if the template names it."""
    bad = facts.rollback.spec.from_revision
    commit = facts.deployment.template.commit
    message = f"revision {bad.number} ({bad.template_hash}) with {', '.join(bad.images)}"
    message += f", built from commit {commit}" if commit else ", whose template names no commit"
    return _item(CheckName.BAD_REVISION, CheckResult.PASSED, message)


def known_good(facts: ChecklistFacts) -> CheckItem:
    """Report the recorded health of the rollback target."""
    name, target = CheckName.TARGET_KNOWN_GOOD, facts.rollback.spec.to_revision
    if target is None:
        return _item(name, CheckResult.SKIPPED, no_target(facts.rollback.spec.remedy.type))
    message = f"revision {target.number} with {', '.join(target.images)} is recorded as"
    if target.health is Health.GOOD:
        return _item(name, CheckResult.PASSED, f"{message} Good")
    if target.health is Health.BAD:
        return _item(name, CheckResult.FAILED, f"{message} Bad", Consequence.BLOCK)
    return _item(
        name,
        CheckResult.WARNED,
        f"{message} {target.health}: it was not observed to be Good under this policy",
        Consequence.REQUIRE_APPROVAL if is_asked(facts.policy, target) else Consequence.PROCEED,
    )


def is_asked(policy: RollbackPolicy | None, target: RevisionRef | None) -> bool:
    """Return whether spec.safety requires an approval of this target."""
    if policy is None or target is None or target.health is Health.GOOD:
        return False
    return policy.spec.safety.require_verified


def template(facts: ChecklistFacts) -> CheckItem:
    """Check that the target still exists, unchanged since the decision."""
    name, wanted, replica_set = (
        CheckName.TARGET_TEMPLATE,
        facts.rollback.spec.to_revision,
        facts.target,
    )
    if wanted is None:
        return _item(name, CheckResult.SKIPPED, no_target(facts.rollback.spec.remedy.type))
    if replica_set is None:
        message = f"ReplicaSet {wanted.replica_set} of revision {wanted.number} no longer exists"
        return _item(name, CheckResult.FAILED, message, Consequence.BLOCK)
    if replica_set.template.digest != wanted.digest:
        message = f"the template of ReplicaSet {replica_set.name} changed since the decision"
        return _item(name, CheckResult.FAILED, message, Consequence.BLOCK)
    message = f"ReplicaSet {replica_set.name} exists, its template is unchanged"
    return _item(name, CheckResult.PASSED, message)


def images(facts: ChecklistFacts) -> CheckItem:
    """Check whether a node of this cluster has the images: then no pull is needed."""
    name, remedy = CheckName.IMAGES, facts.rollback.spec.remedy
    target = facts.rollback.spec.to_revision
    wanted = [*target.images, *target.init_images] if target else []
    wanted += [remedy.image] if target is None and remedy.image else []
    if not wanted:
        return _item(name, CheckResult.SKIPPED, no_target(remedy.type))
    cluster = facts.cluster
    if not isinstance(cluster, ClusterCapacity):
        return _item(
            name, CheckResult.WARNED, f"the images of the nodes could not be read: {_why(cluster)}"
        )
    counts = {image: cluster.nodes_with(image) for image in wanted}
    message = ", ".join(f"{image} on {count}" for image, count in counts.items())
    message += f" of {len(cluster.nodes)} nodes" + ("" if cluster.is_whole else " that were read")
    if all(counts.values()):
        return _item(name, CheckResult.PASSED, message)
    return _item(name, CheckResult.WARNED, f"{message}: an image on no node must be pulled")


def references(facts: ChecklistFacts) -> CheckItem:
    """Check that all objects exist that the target's pods name."""
    name = CheckName.REFERENCES
    if not facts.references:
        return _item(name, CheckResult.PASSED, "the template references nothing but its images")
    present, absent, unread = [], [], []
    for reference, state in sorted(facts.references.items()):
        if isinstance(state, Missing):
            unread.append(f"{reference} ({state.message})")
        elif state:
            present.append(str(reference))
        else:
            absent.append(reference)
    needed = [str(reference) for reference in absent if not reference.is_optional]
    if needed:
        message = f"missing: {_listed(needed)}; the pods would not start"
        return _item(name, CheckResult.FAILED, message, Consequence.BLOCK)
    if unread:
        return _item(name, CheckResult.WARNED, f"not read: {_listed(unread)}")
    if absent:
        message = f"missing, but optional: {_listed([str(reference) for reference in absent])}"
        return _item(name, CheckResult.WARNED, message)
    return _item(name, CheckResult.PASSED, f"present: {_listed(present)}")


def configuration(facts: ChecklistFacts) -> CheckItem:
    """Show the changes of ConfigMaps, and what stays."""
    name, spec = CheckName.CONFIGURATION, facts.rollback.spec
    changes = "; ".join(f"ConfigMap {item.name}: {item.diff}" for item in spec.config_maps)
    if spec.kept_configuration:
        restored = f"{changes}; " if changes else ""
        return _item(name, CheckResult.WARNED, f"{restored}not restored: {spec.kept_configuration}")
    if not changes:
        return _item(name, CheckResult.SKIPPED, "no ConfigMap is restored")
    return _item(name, CheckResult.PASSED, f"restored: {changes}")


def room(facts: ChecklistFacts) -> CheckItem:
    """Check whether quotas and nodes take the new pods beside the running pods."""
    name, replica_set = CheckName.ROOM, facts.template
    wanted = _additional_pods(facts)
    if not wanted or replica_set is None:
        return _item(name, CheckResult.SKIPPED, "no additional pods are started")
    quotas, cluster = facts.quotas, facts.cluster
    if isinstance(quotas, Missing):
        return _item(name, CheckResult.WARNED, f"quotas could not be read: {quotas.message}")
    if not isinstance(cluster, ClusterCapacity):
        return _item(name, CheckResult.WARNED, f"nodes could not be read: {_why(cluster)}")
    free, by = quota_left(quotas, replica_set.requests)
    if free is not None and free < wanted:
        message = f"{_pods_needed(wanted)}, quota {by} leaves room for {free}"
        return _item(name, CheckResult.WARNED, message)
    fits = cluster.pods_that_fit(replica_set.requests)
    if fits is None:
        message = f"{_pods_needed(wanted)}, {len(cluster.usable)} nodes accept pods; "
        message += cluster.unread or "the cluster is too large to sum up the free capacity"
        return _item(name, CheckResult.WARNED if cluster.unread else CheckResult.PASSED, message)
    message = f"{_pods_needed(wanted)}, nodes have room for {fits}"
    message += f" ({cluster.unread})" if cluster.unread else ""
    return _item(name, CheckResult.WARNED if fits < wanted else CheckResult.PASSED, message)


def _pods_needed(wanted: int) -> str:
    return "1 more pod is needed" if wanted == 1 else f"{wanted} more pods are needed"


def _additional_pods(facts: ChecklistFacts) -> int:
    """Count the pods that the act starts before others end."""
    spec, deployment = facts.rollback.spec, facts.deployment
    if spec.remedy.replicas is not None:
        return max(0, spec.remedy.replicas - deployment.replicas)
    if deployment.strategy != "RollingUpdate" or _keeps_pods(facts):
        return 0
    if spec.pace is Pace.EXPRESS:
        return deployment.replicas
    return math.ceil(share_of(deployment.max_surge, deployment.replicas))


def _keeps_pods(facts: ChecklistFacts) -> bool:
    """Return whether the remedy keeps the running pods."""
    flag = facts.rollback.spec.flag
    return flag is not None and flag.taken_by is FlagTaking.MOUNT


def capacity(facts: ChecklistFacts, stop: TrafficPlan | None) -> CheckItem:
    """Report how many pods stay available during the rollback.

    Args:
        facts: just before the act.
        stop: how the rollback stops the traffic; None: it does not.
    """
    name, deployment = CheckName.CAPACITY, facts.deployment
    if stop is not None:
        what = "Deployment has no pods" if stop.stop is TrafficStop.REPLICAS else "Service has none"
        message = f"the traffic is stopped: the {what} until the release is replaced"
        return _item(name, CheckResult.WARNED, message)
    if facts.rollback.spec.remedy.replicas is not None:
        return _item(name, CheckResult.PASSED, "pods are added, none is removed")
    if _keeps_pods(facts):
        return _item(name, CheckResult.PASSED, "the running pods stay")
    if deployment.strategy != "RollingUpdate":
        message = f"strategy {deployment.strategy}: all pods stop before the restored pods start"
        return _item(name, CheckResult.WARNED, message)
    least = floor_of(deployment)
    message = f"at least {least} of {deployment.replicas} replicas are kept, {deployment.available}"
    result = CheckResult.PASSED if least or not deployment.replicas else CheckResult.WARNED
    return _item(name, result, f"{message} are available now")


def nobody_else(facts: ChecklistFacts) -> CheckItem:
    """Check that no other client manages the Deployment."""
    name, deployment = CheckName.NOBODY_ELSE_STEERS, facts.deployment
    owner = gitops.checked(deployment.owner, facts.rollback, facts.policy, facts.owner)
    if owner is not None and owner.consequence is Consequence.BLOCK:
        return owner
    if deployment.paused and not deployment.is_held:
        message = "another client paused the Deployment: resume it, otherwise no pod is replaced"
        return _item(name, CheckResult.FAILED, message, Consequence.BLOCK)
    begun = [rollback.metadata.name for rollback in facts.others if has_acted(rollback)]
    if begun:
        message = f"Rollback {begun[0]} of the same Deployment is in progress"
        return _item(name, CheckResult.FAILED, message, Consequence.BLOCK)
    scaler = facts.workload.autoscaler
    against = autoscaling.blocked(facts.rollback, scaler)
    if against is not None:
        return _item(name, CheckResult.FAILED, against[1], Consequence.BLOCK)
    message = "no GitOps owner, no pause and no other rollback"
    if bounds := autoscaling.outlook(facts.rollback, scaler):
        message += f"; {bounds}"
    return _with_claims(owner or _item(name, CheckResult.PASSED, message), facts)


def _with_claims(item: CheckItem, facts: ChecklistFacts) -> CheckItem:
    """Add updaters that may deploy the bad image again, and unread objects."""
    claims = facts.claims
    unseen = (_why(claims),) if isinstance(claims, Missing) else claims.unseen if claims else ()
    doubts = [f"not read: {text}" for text in unseen]
    if pushed := warning(facts.deployment.updaters):
        doubts.insert(0, pushed)
    if not doubts:
        return item
    message = clipped("; ".join((item.message, *doubts)), 1024)
    return item.model_copy(update={"result": CheckResult.WARNED, "message": message})


def metrics(facts: ChecklistFacts) -> CheckItem:
    """Check whether metrics can show afterwards that the rollback helped."""
    name, watch = CheckName.METRICS_FRESH, facts.watch
    if watch is None:
        return _item(name, CheckResult.WARNED, "the release is not being evaluated")
    if watch.missing is not None:
        return _item(name, CheckResult.WARNED, watch.missing.message)
    newest = watch.evidence.newest
    if newest is None:
        return _item(name, CheckResult.WARNED, "no sample of the release was read")
    age = max(0.0, facts.now.timestamp() + watch.skew - newest)
    result = CheckResult.PASSED if age <= FRESH_SECONDS else CheckResult.WARNED
    return _item(name, result, f"the newest sample is {age:.0f} s old")


def no_target(remedy: RemedyType) -> str:
    """Explain why a rollback has no target."""
    match remedy:
        case RemedyType.UNDO:
            return "the undo names no revision"
        case RemedyType.PIN_IMAGE:
            return "an image is pinned: no revision is restored"
        case RemedyType.SCALE:
            return "replicas are changed: no revision is restored"
        case RemedyType.DISABLE_FLAG:
            return "a flag is set: no revision is restored"
        case _:
            assert_never(remedy)


def _item(
    name: CheckName,
    result: CheckResult,
    message: str,
    consequence: Consequence = Consequence.PROCEED,
) -> CheckItem:
    return CheckItem(
        name=name, result=result, consequence=consequence, message=clipped(message, 1024)
    )


def _why(missing: Missing | None) -> str:
    return missing.message if missing is not None else "not checked"


def _listed(names: Sequence[str]) -> str:
    more = len(names) - MOST_OBJECTS_NAMED
    return ", ".join(names[:MOST_OBJECTS_NAMED]) + (f" and {more} more" if more > 0 else "")
