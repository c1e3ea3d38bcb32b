"""Under which name a Rollback is stored: a replay and a second leader make the same."""

import hashlib

from rollback_operator.api.v1alpha1 import PolicyRef, RollbackSpec
from rollback_operator.core.case import Case

NAME_PART = 40


def rollback_name(case: Case, attempt: int = 1) -> str:
    """Make the name under which this policy's rollback of this revision is stored.

    Args:
        case: the policy and its target.
        attempt: which try it is.
    """
    policy = PolicyRef(name=case.policy.metadata.name, uid=case.policy.metadata.uid)
    deployment = case.workload.deployment
    revision = deployment.template.digest, deployment.revision
    kind = f"{case.policy.spec.mode}{_tried(attempt)}"
    return _name(policy, deployment.uid, revision, kind)


def name_of(spec: RollbackSpec) -> str:
    """Make the name that a Rollback with this spec has if the operator made it."""
    revision = spec.from_revision.digest, spec.from_revision.number
    # What was only proposed, and not approved, must not stand in the way of what is decided later.
    kind = f"{spec.mode}/proposed" if spec.requires_approval else f"{spec.mode}"
    if spec.remedy.flag is not None:
        # Where the flag is no cure, another remedy follows for the same revision.
        kind += "/".join(("", *spec.remedy.flag.key, spec.remedy.flag.value))
    return _name(spec.policy_ref, spec.target_ref.uid, revision, kind + _tried(spec.attempt))


def _tried(attempt: int) -> str:
    return f"/attempt-{attempt}" if attempt > 1 else ""


def _name(policy: PolicyRef, target_uid: str, revision: tuple[str, int], kind: str) -> str:
    digest, number = revision
    identity = "/".join((policy.uid, target_uid, digest, str(number), kind))
    suffix = hashlib.sha256(identity.encode()).hexdigest()[:10]
    return f"{policy.name[:NAME_PART].rstrip('-.')}-{suffix}"
