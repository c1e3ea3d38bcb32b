"""Commands in messages: complete, so that they work as printed.

Punctuation or nothing follows each command, so that its end is clear to copy.
"""

from rollback_operator.api.v1alpha1 import Remedy, RemedyType, Rollback, RollbackRequest, UndoTo


def undo(policy: str, namespace: str, to: str = "") -> str:
    """Roll back manually; `to` names the revision, empty: the policy's rollback target."""
    return request(policy, namespace, f" --to {to}" if to else "")


def request(policy: str, namespace: str, remedy: str) -> str:
    """Request a remedy; `remedy` is its option with a leading space, empty: the policy's target."""
    return f"kubectl rollback undo {policy} -n {namespace}{remedy} --reason TEXT"


def repeated(asked: Rollback | RollbackRequest) -> str:
    """Request the remedy of a Rollback again."""
    return request(asked.spec.policy_ref.name, asked.metadata.namespace, option(asked.spec.remedy))


def by_person(rollback: Rollback) -> str:
    """Roll back what a Rollback left: repeats a request, or names the revision of the plan.

    Empty where the plan restores none: a person's request for its image may be refused.
    """
    spec = rollback.spec
    if rollback.is_by_hand:
        return repeated(rollback)
    if spec.to_revision is None:
        return ""
    return undo(spec.policy_ref.name, rollback.metadata.namespace, str(spec.to_revision.number))


def option(remedy: Remedy) -> str:
    """Return the option of `kubectl rollback undo` for a remedy, with a leading space."""
    if remedy.type is RemedyType.PIN_IMAGE:
        return f" --image {remedy.container}={remedy.image}"
    if remedy.type is RemedyType.SCALE:
        return f" --replicas {remedy.replicas}"
    if remedy.to is UndoTo.REVISION:
        return f" --to {remedy.revision}"
    return " --to previous" if remedy.to is UndoTo.PREVIOUS else " --to last-known-good"


def approve(rollback: str, namespace: str) -> str:
    """Approve a rollback."""
    return f"kubectl rollback approve {rollback} -n {namespace} --reason TEXT"


def reject(rollback: str, namespace: str) -> str:
    """Reject a rollback."""
    return f"kubectl rollback reject {rollback} -n {namespace} --reason TEXT"


def withdraw(rollback: str, namespace: str) -> str:
    """Delete a rollback that waits for approval: that rejects it, also where no decision counts."""
    return f"kubectl delete rbk {rollback} -n {namespace}"


def trust(policy: str, namespace: str, revision: int) -> str:
    """Mark a revision as a trusted rollback target."""
    return f"kubectl rollback trust {policy} -n {namespace} --revision {revision} --reason TEXT"


def rollout_resume(deployment: str, namespace: str) -> str:
    """Resume a paused rollout by kubectl itself, without the operator."""
    return f"kubectl rollout resume deployment/{deployment} -n {namespace}"


def rollout_undo(deployment: str, namespace: str, revision: int) -> str:
    """Roll back by kubectl itself, with the rights of the person: without the operator."""
    return f"kubectl rollout undo deployment/{deployment} -n {namespace} --to-revision={revision}"


def resume(policy: str, namespace: str) -> str:
    """Resume the operator, and make it restore raised replicas and bounds."""
    return f"kubectl rollback resume {policy} -n {namespace}"
