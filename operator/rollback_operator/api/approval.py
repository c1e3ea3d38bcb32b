"""Approval: a person's decision on one plan, and what follows when nobody decides."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from rollback_operator.api.shape import LINE_FORM, TOKEN_FORM, Model

LEAST_APPROVAL_SECONDS = 10


class ApprovalDecision(StrEnum):
    """What a person has decided."""

    APPROVE = "Approve"
    REJECT = "Reject"


class ApprovalTimeout(StrEnum):
    """What follows when nobody has decided in time."""

    ABANDON = "Abandon"
    PROCEED = "Proceed"


class Approval(Model):
    """A person's decision on one plan."""

    decision: ApprovalDecision
    by: Annotated[str, Field(min_length=1, max_length=512, pattern=LINE_FORM)]
    """Who: the user name that the API server knows them by. The chart's admission policy refuses
    any other; where it is not installed, approvals do not count."""
    reason: Annotated[str, Field(max_length=1024)] = ""
    plan_digest: Annotated[str, Field(min_length=1, max_length=64, pattern=TOKEN_FORM)]
    """What is decided on: `status.planDigest` as it was read. On another plan it does not count."""


class ApprovalSpec(Model):
    """How long a person is waited for."""

    timeout_seconds: Annotated[int, Field(ge=LEAST_APPROVAL_SECONDS, le=604800)] = 3600
    """From the question to the deadline."""
    on_timeout: ApprovalTimeout = ApprovalTimeout.ABANDON
    """What follows at the deadline. Abandon: nothing is done. Proceed: the rollback goes on as if
    it had been approved."""
