"""Commands that messages quote: whole, so that they work as they are printed.

Each is followed by punctuation or by nothing: who copies it sees where it ends.
"""


def undo(policy: str, namespace: str, to: str = "") -> str:
    """Go back by hand; `to` names the revision, empty: the one that the policy leads to."""
    where = f" --to {to}" if to else ""
    return f"kubectl rollback undo {policy} -n {namespace}{where} --reason TEXT"


def approve(rollback: str, namespace: str) -> str:
    """Let a rollback go on."""
    return f"kubectl rollback approve {rollback} -n {namespace} --reason TEXT"


def trust(policy: str, namespace: str, revision: int) -> str:
    """Say that a revision may be gone back to."""
    return f"kubectl rollback trust {policy} -n {namespace} --revision {revision} --reason TEXT"


def resume(policy: str, namespace: str) -> str:
    """Let the operator act again, and have it put back what it has raised."""
    return f"kubectl rollback resume {policy} -n {namespace}"
