"""The checklist before an act: what was looked at, how it was found, what a policy tightens."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from rollback_operator.api.shape import Model


class CheckName(StrEnum):
    """What is looked at before an act, in the order of the record."""

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
    """How an item was found."""

    PASSED = "Passed"
    FAILED = "Failed"
    WARNED = "Warned"
    SKIPPED = "Skipped"


class Consequence(StrEnum):
    """What an item that did not pass leads to."""

    PROCEED = "Proceed"
    REQUIRE_APPROVAL = "RequireApproval"
    BLOCK = "Block"


class CheckItem(Model):
    """One item of the checklist."""

    name: CheckName
    result: CheckResult
    consequence: Consequence = Consequence.PROCEED
    """Block: nothing is done. RequireApproval: a person is asked."""
    message: Annotated[str, Field(max_length=1024)] = ""
    """One sentence, with the evidence."""


class CheckRule(Model):
    """How strictly an item of the checklist is taken."""

    name: CheckName
    on_warned: Consequence
    """What follows when the item is Warned. It only tightens: what the item itself asks for, and
    what Failed leads to, stands. Proceed is the default."""
