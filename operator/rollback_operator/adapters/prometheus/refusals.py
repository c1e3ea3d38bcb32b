"""Answers of a server that are no data, or not all of it -> reasons."""

from collections.abc import Mapping
from typing import Any

from rollback_operator.adapters.prometheus.credentials import Credentials, login_needed
from rollback_operator.adapters.prometheus.transport import QueryResponse
from rollback_operator.api.reasons import Reason
from rollback_operator.model.samples import Missing

_REFUSED = (400, 422)
_UNAUTHORIZED = (401, 403)
_REDIRECTS = (301, 302, 303, 307, 308)


def partial_answer(envelope: Mapping[str, Any]) -> Missing | None:
    """Recognize an incomplete answer by the fields of Prometheus and Thanos, or VictoriaMetrics."""
    warnings = envelope.get("warnings")
    if warnings:
        first = warnings[0] if isinstance(warnings, list) else warnings
        return Missing(Reason.ANSWER_PARTIAL, f"Prometheus warns: {first}"[:500])
    if envelope.get("isPartial"):
        return Missing(
            Reason.ANSWER_PARTIAL, "the answer is partial: a storage node did not answer"
        )
    return None


def refused(answer: QueryResponse, credentials: Credentials) -> Missing:
    """Give the reason why a server does not answer a query."""
    status, detail = answer.status_code, _error_text(answer)
    if status in _UNAUTHORIZED:
        return Missing(
            Reason.PROVIDER_UNAUTHORIZED,
            f"Prometheus answers {status}{detail}: {login_needed(credentials)}",
        )
    if status in _REFUSED:
        return Missing(Reason.QUERY_REFUSED, f"Prometheus refuses the query ({status}){detail}")
    if status in _REDIRECTS:
        # The location is not quoted: it may repeat the login.
        detail = f"{detail}: redirects are not followed; set the URL that it redirects to"
    return Missing(Reason.PROVIDER_ERROR, f"Prometheus answers {status}{detail}")


def _error_text(answer: QueryResponse) -> str:
    """Quote the server: `error` of an API answer, else the beginning of the text."""
    try:
        error = answer.json()["error"]
        error = error.get("message", error) if isinstance(error, dict) else error
    except (KeyError, TypeError, ValueError):
        error = answer.content[:200].decode(errors="replace")
    text = " ".join(str(error).split())[:200]
    # The first line of an HTML page explains nothing.
    return f": {text}" if text and not text.startswith("<") else ""
