"""The policy that planned a Rollback, and the Deployment that a policy's status describes.

Pure. What a policy has decided is its own, and the operator carries nothing else out for it. A
policy that names another Deployment, by mistake for six seconds or for good, forgets nothing of the
one before: what was found bad of that must not come back as good, and what is in quarantine there
is not in quarantine here. Of two policies on one Deployment the older acts, and the younger learns
from it: whichever of them is left one day, what was found bad stays so.
"""

from collections.abc import Sequence

from rollback_operator.api.v1alpha1 import (
    MOST_REVISIONS,
    MOST_TARGETS,
    EarlierTarget,
    Outcome,
    Rollback,
    RollbackPolicy,
    RollbackPolicyStatus,
)
from rollback_operator.model.context import is_active
from rollback_operator.remedies.attempts import name_of


def own(policy: RollbackPolicy, rollbacks: Sequence[Rollback]) -> list[Rollback]:
    """Choose those that a policy of this name has decided: also before it was created anew."""
    return [one for one in rollbacks if one.spec.policy_ref.name == policy.metadata.name]


def records(rollbacks: Sequence[Rollback]) -> set[tuple[str, Outcome | None]]:
    """Tell what a decision rests on: which there are, and how they ended."""
    return {(one.metadata.uid, one.status.outcome) for one in rollbacks}


def is_open(rollback: Rollback, policy: RollbackPolicy) -> bool:
    """Return whether a Rollback goes on in a policy's name."""
    return is_active(rollback) and rollback.spec.policy_ref.name == policy.metadata.name


def is_named(rollback: Rollback) -> bool:
    """Return whether the operator has planned a Rollback: by its name, or by what it stored."""
    return rollback.is_by_hand or rollback.metadata.name == name_of(rollback.spec)


def is_ours(rollback: Rollback, policy: RollbackPolicy) -> bool:
    """Tell whether this policy decided a Rollback: the operator's rights are not lent to others."""
    is_decided = rollback.spec.policy_ref.uid == policy.metadata.uid and (
        rollback.is_by_hand or rollback.spec.remedy in policy.spec.remedies
    )
    return is_named(rollback) and (bool(rollback.status.steps) or is_decided)


def of_target(policy: RollbackPolicy) -> RollbackPolicy:
    """Give a policy with a status of the Deployment that it names: itself where it has one."""
    name = policy.spec.target_ref.name
    if policy.status.deployment == name:
        return policy
    return policy.model_copy(update={"status": _turned(policy.status, name)})


def informed(policy: RollbackPolicy, on_target: Sequence[RollbackPolicy]) -> RollbackPolicy:
    """Give a policy with what another one on its target knows of the releases.

    One that stands back keeps up with the one that acts. One that acts, and knows nothing yet,
    begins with what another one knows.

    Args:
        policy: whose status tells of the target.
        on_target: all policies on it, the oldest first.
    """
    own = policy.status.revisions
    others = [of_target(one) for one in on_target if one.key != policy.key]
    if on_target and on_target[0].key != policy.key:
        known = others[0].status.revisions
        told = {one.release for one in known}
        learnt = [*known, *(one for one in own if one.release not in told)][:MOST_REVISIONS]
    else:
        learnt = own or next((one.status.revisions for one in others if one.status.revisions), own)
    if learnt == own:
        return policy
    status = policy.status.model_copy(update={"revisions": list(learnt)})
    return policy.model_copy(update={"status": status})


def _turned(status: RollbackPolicyStatus, name: str) -> RollbackPolicyStatus:
    if not status.deployment:
        return status.model_copy(update={"deployment": name})  # of before this was on record
    left = EarlierTarget(
        deployment=status.deployment, revisions=status.revisions, quarantine=status.quarantine
    )
    known = {one.deployment: one for one in status.earlier_targets}
    back = known.get(name, EarlierTarget(deployment=name))
    others = [
        one for one in status.earlier_targets if one.deployment not in (name, left.deployment)
    ]
    return status.model_copy(
        update={
            "deployment": name,
            "revision": None,
            "watched_since": None,
            "watched_until": None,
            "last_known_good": None,
            "revisions": back.revisions,
            "quarantine": back.quarantine,
            "earlier_targets": [left, *others][:MOST_TARGETS],
        }
    )
