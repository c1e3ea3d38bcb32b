"""Remedy -> rollback target, none, or the reason why the remedy is impossible."""

from collections.abc import Set

from rollback_operator.api.reasons import Reason
from rollback_operator.api.v1alpha1 import Health, Remedy, RemedyType, UndoTo
from rollback_operator.model import commands
from rollback_operator.model.context import Case, Refusal
from rollback_operator.model.workload import ReplicaSet, Workload
from rollback_operator.releases.ledger import bar, entry_of, health_of, last_known_good
from rollback_operator.releases.records import restored
from rollback_operator.releases.way_back import choice
from rollback_operator.remedies import autoscaling, flags


def resolve_target(case: Case, remedy: Remedy) -> ReplicaSet | Refusal | None:
    """Return the rollback target of a remedy; None: the remedy restores no revision."""
    match remedy.type:
        case RemedyType.DISABLE_FLAG:
            return _flag(case, remedy)
        case RemedyType.UNDO:
            return _undo_target(case, remedy)
        case RemedyType.PIN_IMAGE:
            return _pin(case.workload, remedy)
        case RemedyType.SCALE:
            return _scale(case.workload, remedy)


def _flag(case: Case, remedy: Remedy) -> Refusal | None:
    """Refuse a missing flag: it cannot be recorded, and only recorded flags are changed."""
    if remedy.flag is not None and flags.planned(case, remedy.flag) is not None:
        return None
    return Refusal(Reason.FLAG_UNUSABLE, "there is no such flag")


def _undo_target(case: Case, remedy: Remedy) -> ReplicaSet | Refusal:
    if case.workload.deployment.history_limit == 0:
        return Refusal(
            Reason.NO_HISTORY,
            "the Deployment keeps no old ReplicaSets: set spec.revisionHistoryLimit above 0",
        )
    found = _named(case, remedy)
    if found is None:
        return Refusal(
            Reason.NO_TARGET_REVISION,
            f"{_without_target(case, remedy)}{_choice(case)}",
        )
    if found.template.release == case.workload.deployment.template.release:
        return Refusal(
            Reason.SAME_RELEASE,
            f"revision {found.revision} differs only in annotations: it is the same release",
        )
    if why := bar(case.ledger, found.template.release):
        meta, revision = case.policy.metadata, found.revision
        return Refusal(
            Reason.TARGET_KNOWN_BAD,
            f"revision {revision} is {why}. If it is good: "
            f"{commands.trust(meta.name, meta.namespace, revision)}",
        )
    if (fails := case.failing.get(found.template.release)) is not None:
        is_good = health_of(case.ledger, found.template.release) is Health.GOOD
        how = "is recorded as Good, but failed" if is_good else "is not recorded as Good, and fails"
        return Refusal(
            Reason.TARGET_FAILING,
            f"revision {found.revision} is the target, {how}: "
            f"{fails}{_choice(case, {found.template.release})}",
        )
    return found


def _without_target(case: Case, remedy: Remedy) -> str:
    """Say why a remedy has no target: what is asked for may be what runs."""
    current = case.workload.current
    if current is not None:
        runs = f"revision {current.revision} ({', '.join(current.template.images)})"
        if remedy.to is UndoTo.REVISION and remedy.revision == current.revision:
            return f"{runs} is what runs"
        entry = entry_of(case.ledger, current.template.release)
        is_good = entry is not None and entry.health in (Health.GOOD, Health.ASSUMED)
        if remedy.to is UndoTo.LAST_KNOWN_GOOD and entry is not None and is_good:
            return f"{runs}, recorded as {entry.health}, already runs; no other is known good"
    return f"the Deployment has no ReplicaSet of {_described(remedy)}"


def _choice(case: Case, left_out: Set[str] = frozenset()) -> str:
    """Add what a person may choose instead of the target, as a sentence; empty: nothing."""
    meta = case.policy.metadata
    none = flags.left(case.rollbacks) | left_out
    other = choice(case.ledger, case.workload, (meta.namespace, meta.name), none)
    return f". {other}" if other else ""


def _named(case: Case, remedy: Remedy) -> ReplicaSet | None:
    if remedy.to is UndoTo.LAST_KNOWN_GOOD:
        return last_known_good(case.ledger, case.workload, restored(case))
    # Compare templates: the Deployment's number may lag behind that of its newest ReplicaSet.
    current = case.workload.deployment.template.digest
    older = [one for one in case.workload.replica_sets if one.template.digest != current]
    if remedy.to is UndoTo.REVISION:
        return next((one for one in older if one.revision == remedy.revision), None)
    # A restart creates a revision of the same release: it is previous only if no other exists.
    # Nor is a release whose flag a rollback has set: it is the running release without the flag.
    same = {case.workload.deployment.template.release, *flags.left(case.rollbacks)}
    others = [one for one in older if one.template.release not in same]
    return max(others or older, key=lambda one: one.revision, default=None)


def _described(remedy: Remedy) -> str:
    return {
        UndoTo.LAST_KNOWN_GOOD: "a known good revision",
        UndoTo.PREVIOUS: "a previous revision",
        UndoTo.REVISION: f"revision {remedy.revision}",
    }[remedy.to or UndoTo.PREVIOUS]


def _pin(workload: Workload, remedy: Remedy) -> Refusal | None:
    template = workload.deployment.template
    image = template.image_of(remedy.container)
    if image is None:
        return Refusal(
            Reason.UNKNOWN_CONTAINER,
            f"the pod template has no container {remedy.container!r}, only "
            f"{', '.join(template.containers)}: correct spec.remedies[].container or --image",
        )
    if image == remedy.image:
        return Refusal(Reason.ALREADY_AT_TARGET, f"{remedy.container} already runs {remedy.image}")
    return None


def _scale(workload: Workload, remedy: Remedy) -> Refusal | None:
    if remedy.replicas == 0:
        return None  # a stop: an autoscaler rests while there are no replicas
    refused = autoscaling.refusal(workload, remedy.replicas or 0)
    if refused is not None:
        return Refusal(*refused)
    if (remedy.replicas or 0) <= workload.deployment.replicas:
        return Refusal(
            Reason.ALREADY_AT_TARGET,
            f"it already has {workload.deployment.replicas} replicas; capacity is never reduced",
        )
    return None
