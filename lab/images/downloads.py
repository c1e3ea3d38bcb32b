"""The one condition of every download: a network that has a way out."""

from __future__ import annotations

import os

from lab.errors import LabError


def require_way_out(what: str) -> None:
    """Refuse at once inside a node, where a download would only fail after minutes."""
    if os.environ.get("LAB_MODE") == "node":
        raise LabError(f"cannot download {what} inside a node; build first: python3 -m lab.images")
