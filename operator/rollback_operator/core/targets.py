"""Of which Deployment a policy's status tells, and what is known of those that it named before.

Pure. A policy that names another Deployment, by mistake for six seconds or for good, forgets
nothing of the one before: what was found bad of that must not come back as good, and what is in
quarantine there is not in quarantine here.
"""

from rollback_operator.api.v1alpha1 import (
    MOST_TARGETS,
    EarlierTarget,
    RollbackPolicy,
    RollbackPolicyStatus,
)


def of_target(policy: RollbackPolicy) -> RollbackPolicy:
    """Give a policy with a status of the Deployment that it names: itself where it has one."""
    name = policy.spec.target_ref.name
    if policy.status.deployment == name:
        return policy
    return policy.model_copy(update={"status": _turned(policy.status, name)})


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
            "last_known_good": None,
            "revisions": back.revisions,
            "quarantine": back.quarantine,
            "earlier_targets": [left, *others][:MOST_TARGETS],
        }
    )
