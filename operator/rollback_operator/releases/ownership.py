"""The policy that planned a Rollback, and the Deployment that a policy's status describes.

Pure. A policy owns its decisions, and the operator executes nothing else for it. A policy that
names another Deployment, by mistake for six seconds or for good, keeps its records of the earlier
Deployment: its bad releases must not return as good, and its quarantine does not apply to the new
Deployment. Of two policies on one Deployment the older acts, and the younger copies its ledger and
its quarantine: bad releases stay bad, whichever policy remains.
"""

from collections.abc import Sequence

from rollback_operator.api.policy_status import MOST_ENTRIES, QuarantineEntry
from rollback_operator.api.v1alpha1 import (
    MOST_REVISIONS,
    MOST_TARGETS,
    EarlierTarget,
    Health,
    Outcome,
    Rollback,
    RollbackPolicy,
    RollbackPolicyStatus,
)
from rollback_operator.model.context import is_active
from rollback_operator.releases.ledger import health_of
from rollback_operator.remedies.attempts import name_of


def own(policy: RollbackPolicy, rollbacks: Sequence[Rollback]) -> list[Rollback]:
    """Return the Rollbacks of a policy of this name, also from before its re-creation."""
    return [
        rollback for rollback in rollbacks if rollback.spec.policy_ref.name == policy.metadata.name
    ]


def records(rollbacks: Sequence[Rollback]) -> set[tuple[str, Outcome | None]]:
    """Return the basis of a decision: the existing Rollbacks and their outcomes."""
    return {(rollback.metadata.uid, rollback.status.outcome) for rollback in rollbacks}


def is_open(rollback: Rollback, policy: RollbackPolicy) -> bool:
    """Return whether a Rollback under a policy's name is active."""
    return is_active(rollback) and rollback.spec.policy_ref.name == policy.metadata.name


def is_named(rollback: Rollback) -> bool:
    """Return whether the operator planned a Rollback: by its name, or by its stored plan."""
    return rollback.is_by_hand or rollback.metadata.name == name_of(rollback.spec)


def is_ours(rollback: Rollback, policy: RollbackPolicy) -> bool:
    """Return whether this policy decided a Rollback: no client borrows the operator's rights."""
    is_decided = rollback.spec.policy_ref.uid == policy.metadata.uid and (
        rollback.is_by_hand or rollback.spec.remedy in policy.spec.remedies
    )
    return is_named(rollback) and (bool(rollback.status.steps) or is_decided)


def of_target(policy: RollbackPolicy) -> RollbackPolicy:
    """Return the policy with a status of its target: unchanged if it already has that status."""
    name = policy.spec.target_ref.name
    if policy.status.deployment == name:
        return policy
    return policy.model_copy(update={"status": _with_target(policy.status, name)})


def informed(policy: RollbackPolicy, on_target: Sequence[RollbackPolicy]) -> RollbackPolicy:
    """Return the policy with the ledger and the quarantine of the other policies on its target.

    An inactive policy follows the active policy's ledger. An active policy with an empty ledger
    starts with another policy's ledger. The quarantine is common to all.

    Args:
        policy: a policy whose status describes the target.
        on_target: all policies on it, the oldest first.
    """
    own_ledger = policy.status.revisions
    others = [of_target(other) for other in on_target if other.key != policy.key]
    if on_target and on_target[0].key != policy.key:
        active_ledger = others[0].status.revisions
        known_releases = {entry.release for entry in active_ledger}
        ledger = [
            *active_ledger,
            *(entry for entry in own_ledger if entry.release not in known_releases),
        ][:MOST_REVISIONS]
    else:
        ledger = own_ledger or next(
            (other.status.revisions for other in others if other.status.revisions), own_ledger
        )
    quarantine = _quarantine(policy, on_target)
    if ledger == own_ledger and quarantine == policy.status.quarantine:
        return policy
    status = policy.status.model_copy(update={"revisions": list(ledger), "quarantine": quarantine})
    return policy.model_copy(update={"status": status})


def _quarantine(
    policy: RollbackPolicy, on_target: Sequence[RollbackPolicy]
) -> list[QuarantineEntry]:
    """Return the stored entries of all policies on a target; the oldest policy's take precedence.

    The oldest policy acts: a release is free if its ledger has that release as Good, and all are
    free if it wants no quarantine. A policy that takes over a target keeps what the others know,
    also where the Rollbacks are deleted.
    """
    if not on_target:
        return policy.status.quarantine
    known = [policy if other.key == policy.key else of_target(other) for other in on_target]
    active = known[0]
    if not active.spec.safety.quarantine_seconds:
        return []
    by_release: dict[str, QuarantineEntry] = {}
    for entry in (entry for item in known for entry in item.status.quarantine):
        if health_of(active.status.revisions, entry.release) is not Health.GOOD:
            by_release.setdefault(entry.release, entry)
    return list(by_release.values())[:MOST_ENTRIES]


def _with_target(status: RollbackPolicyStatus, name: str) -> RollbackPolicyStatus:
    if not status.deployment:
        return status.model_copy(update={"deployment": name})  # from before this field was recorded
    previous = EarlierTarget(
        deployment=status.deployment, revisions=status.revisions, quarantine=status.quarantine
    )
    by_name = {target.deployment: target for target in status.earlier_targets}
    current = by_name.get(name, EarlierTarget(deployment=name))
    others = [
        target
        for target in status.earlier_targets
        if target.deployment not in (name, previous.deployment)
    ]
    return status.model_copy(
        update={
            "deployment": name,
            "revision": None,
            "watched_since": None,
            "watched_until": None,
            "last_known_good": None,
            "revisions": current.revisions,
            "quarantine": current.quarantine,
            "earlier_targets": [previous, *others][:MOST_TARGETS],
        }
    )
