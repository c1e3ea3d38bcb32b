"""Approval: a person's decision on one plan, and the action when nobody decides."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from rollback_operator.api.shape import LINE_FORM, TOKEN_FORM, Model

LEAST_APPROVAL_SECONDS = 10


class ApprovalDecision(StrEnum):
    """Decision on a plan: Approve or Reject."""

    APPROVE = "Approve"
    REJECT = "Reject"


class ApprovalTimeout(StrEnum):
    """Action at the approval deadline: Abandon or Proceed."""

    ABANDON = "Abandon"
    PROCEED = "Proceed"


class Approval(Model):
    """Decision of a person on one plan."""

    decision: ApprovalDecision
    """Approve starts the rollback. Reject ends it with outcome Rejected."""
    by: Annotated[str, Field(min_length=1, max_length=512, pattern=LINE_FORM)]
    """User name of the person, as authenticated by the API server. The chart's admission policy
    rejects any other name; without that policy, approvals are ignored."""
    reason: Annotated[str, Field(max_length=1024)] = ""
    """Reason for the decision, kept for the record. Optional."""
    plan_digest: Annotated[str, Field(min_length=1, max_length=64, pattern=TOKEN_FORM)]
    """Digest of the approved plan, copied from `status.planDigest`. A decision on a different plan
    is ignored."""


class ApprovalSpec(Model):
    """Deadline for approvals and the action when nobody responds."""

    timeout_seconds: Annotated[int, Field(ge=LEAST_APPROVAL_SECONDS, le=604800)] = 3600
    """Seconds to wait for a decision after approval is requested. Default: 3600."""
    on_timeout: ApprovalTimeout = ApprovalTimeout.ABANDON
    """Action when nobody approves or rejects before the deadline. Abandon (default): the rollback
    ends as Abandoned and nothing is changed. Proceed: the rollback continues as if approved."""
