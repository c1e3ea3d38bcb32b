"""Preflight checks before a rollback: their names, results and stricter rules of a policy."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from rollback_operator.api.shape import Model


class CheckName(StrEnum):
    """Preflight check, listed in execution order."""

    BAD_REVISION = "BadRevision"
    TARGET_KNOWN_GOOD = "TargetKnownGood"
    TARGET_TEMPLATE = "TargetTemplate"
    IMAGES = "Images"
    REFERENCES = "References"
    ROOM = "Room"
    CAPACITY = "Capacity"
    NOBODY_ELSE_STEERS = "NobodyElseSteers"
    METRICS_FRESH = "MetricsFresh"
    DATABASE_SCHEMA = "DatabaseSchema"


class CheckResult(StrEnum):
    """Result of a preflight check."""

    PASSED = "Passed"
    FAILED = "Failed"
    WARNED = "Warned"
    SKIPPED = "Skipped"


class Consequence(StrEnum):
    """Effect of a check that did not pass: Proceed, RequireApproval or Block.

    Proceed: the rollback continues. RequireApproval: the rollback waits for a person's approval.
    Block: the rollback ends as Blocked and nothing is changed.
    """

    PROCEED = "Proceed"
    REQUIRE_APPROVAL = "RequireApproval"
    BLOCK = "Block"


class CheckItem(Model):
    """Result of one preflight check."""

    name: CheckName
    """Name of the check."""
    result: CheckResult
    """Passed, Failed, Warned (an issue, or the check could not be completed) or Skipped (not
    applicable)."""
    consequence: Consequence = Consequence.PROCEED
    """Effect on the rollback. Proceed: it continues. RequireApproval: it waits for a person's
    approval. Block: it ends as Blocked and nothing is changed."""
    message: Annotated[str, Field(max_length=1024)] = ""
    """Explanation with the evidence."""


class CheckRule(Model):
    """Stricter handling of a warning from one preflight check."""

    name: CheckName
    """Name of the check."""
    on_warned: Consequence
    """Effect when the check results in Warned. Proceed (default): continue. RequireApproval: wait
    for a person's approval. Block: end the rollback. This can only tighten the check's own
    handling; Failed is not affected."""
