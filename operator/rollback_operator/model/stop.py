"""The global stop: a person's annotation on the operator's Lease, after which nothing acts.

The same annotation on a policy holds who suspended it (spec.suspend), when and why.

Each replica reads the Lease every few seconds and before it may act at all, so that no other object
has to exist, be watched, or be permitted. A renewal keeps the annotation, a standby that takes over
reads it, and it outlives every restart until a person removes it.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from rollback_operator.api.shape import clipped, one_line
from rollback_operator.api.v1alpha1 import GROUP

ANNOTATION = f"{GROUP}/suspended"
LABEL = f"{GROUP}/lease"
"""On the Lease of each operator, so that the command can select it."""
ANCHOR = "rollback-operator-records"
"""The chart's admission policy, which no tenant can write.

Its annotation LABEL names the Lease of the operator of the whole cluster, as NAMESPACE/NAME.
Everybody who may write Leases can set the label.
"""
_LONGEST = 300
_LONGEST_NAME = 100
_LONGEST_VALUE = 8192


def nobody() -> str:
    """Say that no stop is set."""
    return ""


def annotation_value(by: str, reason: str, time: datetime) -> str:
    """Write the annotation's value."""
    return json.dumps({"by": by, "reason": reason, "time": f"{time:%Y-%m-%dT%H:%M:%SZ}"})


def stop_message(annotations: Mapping[str, Any]) -> str:
    """Name the author, time and reason of the stop; empty: no stop is set.

    Any value stops, even if the command did not write it: a value that a person sets in haste is
    intended.
    """
    value = annotations.get(ANNOTATION)
    if value is None:
        return ""
    message = f"everything is suspended{_author(str(value))}"
    return clipped(message, _LONGEST) + " (kubectl rollback resume --all-namespaces)"


def suspension_reason(annotations: Mapping[str, Any]) -> str:
    """Name the author, time and reason of a policy's suspension; empty: none is stored.

    The annotation is a note beside spec.suspend, which alone suspends.
    """
    value = annotations.get(ANNOTATION)
    return "" if value is None else clipped(f"suspended{_author(str(value))}", _LONGEST)


def _author(value: str) -> str:
    # Everybody who may annotate the object writes it, for the terminal of the person who asks.
    try:
        known = json.loads(value) if len(value) <= _LONGEST_VALUE else None
    except (ValueError, RecursionError):
        known = None
    parts = known if isinstance(known, dict) else {"reason": value[:_LONGEST_VALUE]}
    by, since = (
        clipped(one_line(str(parts.get(name) or "")), _LONGEST_NAME) for name in ("by", "time")
    )
    message = f" by {by}" if by else ""
    message += f" since {since}" if since else ""
    why = one_line(str(parts.get("reason") or "")) or "no reason given"
    return f"{message}: {why}"
