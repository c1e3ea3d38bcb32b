"""Commands in messages: complete, so that they work as printed.

Punctuation or nothing follows each command, so that its end is clear to copy.
"""


def undo(policy: str, namespace: str, to: str = "") -> str:
    """Roll back manually; `to` names the revision, empty: the policy's rollback target."""
    return request(policy, namespace, f" --to {to}" if to else "")


def request(policy: str, namespace: str, remedy: str) -> str:
    """Request a remedy; `remedy` is its option with a leading space, empty: the policy's target."""
    return f"kubectl rollback undo {policy} -n {namespace}{remedy} --reason TEXT"


def approve(rollback: str, namespace: str) -> str:
    """Approve a rollback."""
    return f"kubectl rollback approve {rollback} -n {namespace} --reason TEXT"


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
