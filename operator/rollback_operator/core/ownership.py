"""Whose a Rollback is: what a policy has decided, and what the operator may carry out for it."""

from collections.abc import Sequence

from rollback_operator.api.v1alpha1 import Outcome, Rollback, RollbackPolicy
from rollback_operator.core.case import is_active
from rollback_operator.core.names import name_of


def own(policy: RollbackPolicy, rollbacks: Sequence[Rollback]) -> list[Rollback]:
    """Choose those that a policy of this name has decided: also before it was created anew."""
    return [one for one in rollbacks if one.spec.policy_ref.name == policy.metadata.name]


def records(rollbacks: Sequence[Rollback]) -> set[tuple[str, Outcome | None]]:
    """Tell what a decision rests on: which there are, and how they ended."""
    return {(one.metadata.uid, one.status.outcome) for one in rollbacks}


def is_open(rollback: Rollback, policy: RollbackPolicy) -> bool:
    """Tell whether a Rollback goes on in a policy's name."""
    return is_active(rollback) and rollback.spec.policy_ref.name == policy.metadata.name


def is_named(rollback: Rollback) -> bool:
    """Tell whether the operator has planned a Rollback: by its name, or by what it stored."""
    return rollback.is_by_hand or rollback.metadata.name == name_of(rollback.spec)


def is_ours(rollback: Rollback, policy: RollbackPolicy) -> bool:
    """Tell whether this policy decided a Rollback: the operator's rights are not lent to others."""
    is_decided = rollback.spec.policy_ref.uid == policy.metadata.uid and (
        rollback.is_by_hand or rollback.spec.remedy in policy.spec.remedies
    )
    return is_named(rollback) and (bool(rollback.status.steps) or is_decided)
