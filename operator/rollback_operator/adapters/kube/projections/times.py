"""Times as the API server writes them."""

from datetime import datetime
from typing import Any


def seconds_of(text: Any) -> float | None:
    """Give seconds since the epoch; None: there is no time, or it cannot be read."""
    if not isinstance(text, str) or not text:
        return None
    try:
        return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
    except (ValueError, OverflowError):
        return None
