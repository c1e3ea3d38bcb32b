"""What the API server's refusals mean for the caller."""

from rollback_operator.api.user_text.json_text import parsed
from rollback_operator.ports.failure import Failure, FailureKind

_CONFLICT, _GONE, _INVALID, _TOO_MANY = 409, 404, 422, 429
_SERVER_ERROR = 500
_REQUEST_TIMEOUT = 408


def failure_of(call: str, status: int, content: str, retry_after: float | None) -> Failure:
    """Classify a refusal for the caller.

    Args:
        call: method and path.
        status: of HTTP; 0: none.
        content: the body: a Status object, or the page of an intermediary.
        retry_after: seconds that the server requests.
    """
    message, reason, has_details = content[:400], "", True
    try:
        status_object = parsed(content)
        message = str(status_object.get("message", ""))
        reason = str(status_object.get("reason", ""))
        has_details = bool(status_object.get("details"))
    except (ValueError, AttributeError):
        pass
    summary = f"{call}: {status} {reason} {message}".strip()
    if status == _CONFLICT:
        kind = FailureKind.EXISTS if reason == "AlreadyExists" else FailureKind.CONFLICT
    elif status == _GONE:
        kind = FailureKind.GONE
    elif status == _INVALID and call.startswith("PATCH ") and not has_details:
        # A failed `test` of a patch; an invalid object has details, field by field.
        kind = FailureKind.CONFLICT
    elif status in (_REQUEST_TIMEOUT, _TOO_MANY, 401) or status >= _SERVER_ERROR or not status:
        kind = FailureKind.UNAVAILABLE
    else:
        kind = FailureKind.REJECTED
    return Failure(kind, summary, retry_after)
