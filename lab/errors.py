"""The one exception of the lab: a sentence for a person, with the remedy in it."""

from __future__ import annotations


class LabError(Exception):
    """What went wrong and what to do about it; printed without a traceback."""
