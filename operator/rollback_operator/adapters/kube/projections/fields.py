"""Fields that any object may have: times, owners of fields; and objects of unknown form."""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, TypeVar

from rollback_operator.ports.failure import Failure, FailureKind

T = TypeVar("T")
_OTHER_FORM = (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError)


def seconds_of(text: Any) -> float | None:
    """Return a time in seconds since the epoch; None: it is absent or unreadable."""
    if not isinstance(text, str) or not text:
        return None
    try:
        return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
    except (ValueError, OverflowError):
        return None


def entries_of(metadata: Mapping[str, Any], *path: str) -> list[Mapping[str, Any]]:
    """List the entries of managedFields that own a field below a path."""
    return [
        entry
        for entry in metadata.get("managedFields") or []
        if not entry.get("subresource") and _contains(entry.get("fieldsV1") or {}, path)
    ]


def managers_of(metadata: Mapping[str, Any], *path: str) -> list[str]:
    """List the field managers that own a field below a path, by name."""
    return sorted({str(entry.get("manager")) for entry in entries_of(metadata, *path)})


def _contains(fields: Mapping[str, Any], path: Iterable[str]) -> bool:
    for part in path:
        if part not in fields:
            return False
        fields = fields[part]
    return True


def projected(what: str, make: Callable[[], T]) -> T | Failure:
    """Project an object of a kind that another project defines, and may change.

    Args:
        what: names the object in the failure, if it has an unexpected form.
        make: projects the object completely; not a generator.
    """
    try:
        return make()
    except _OTHER_FORM as error:
        message = f"{what} has an unknown form ({type(error).__name__}: {error})"
        return Failure(FailureKind.REJECTED, message[:512])
