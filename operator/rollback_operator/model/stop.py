"""A stop for everything: a person's word on the operator's Lease, after which nobody acts.

The Lease is read by whoever acts, every few seconds and before it may act at all, so that no other
object has to be there, watched, or permitted. The word is an annotation: a renewal keeps it, a
standby that takes over finds it, and it outlives every restart until somebody takes it off.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from rollback_operator.api.shape import clipped
from rollback_operator.api.v1alpha1 import GROUP

ANNOTATION = f"{GROUP}/suspended"
LABEL = f"{GROUP}/lease"
"""On the Lease of each operator, so that the command finds it."""
_LONGEST = 300


def nobody() -> str:
    """Say that nobody has stopped anything."""
    return ""


def annotation_value(by: str, reason: str, time: datetime) -> str:
    """Write the annotation's value."""
    return json.dumps({"by": by, "reason": reason, "time": f"{time:%Y-%m-%dT%H:%M:%SZ}"})


def stop_message(annotations: Mapping[str, Any]) -> str:
    """Say who has stopped everything, when and why; empty: nobody has.

    Any value stops, also one that was not written by the command: whoever sets it in haste means
    it.
    """
    value = annotations.get(ANNOTATION)
    if value is None:
        return ""
    try:
        found = json.loads(value)
    except (TypeError, ValueError):
        found = None
    parts = found if isinstance(found, dict) else {"reason": str(value)}
    by, since = (str(parts.get(name) or "") for name in ("by", "time"))
    message = "everything is suspended"
    message += f" by {by}" if by else ""
    message += f" since {since}" if since else ""
    why = " ".join(str(parts.get("reason") or "no reason given").split())
    return clipped(f"{message}: {why}", _LONGEST) + " (kubectl rollback resume --all-namespaces)"
