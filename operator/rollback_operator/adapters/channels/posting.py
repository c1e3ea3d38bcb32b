"""A POST to a channel, and what its answer means. Of an answer only the status is told.

Its words may repeat what was sent, and with it a credential.
"""

import json
from collections.abc import Mapping

from rollback_operator.adapters.http.addresses import PinnedUrl
from rollback_operator.adapters.http.outgoing import Request, send
from rollback_operator.ports.failure import Failure, FailureKind, asked_wait

JSON = "application/json; charset=utf-8"
_USER_AGENT = "rollback-operator"
_TOO_MANY, _TIMEOUT = 429, 408


def encoded(body: object) -> bytes:
    """Encode as JSON, the same bytes for the same facts: they are signed."""
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


async def post(url: PinnedUrl, body: bytes, headers: Mapping[str, str]) -> Failure | None:
    """Send, and tell what did not work."""
    sent = {"Content-Type": JSON, "User-Agent": _USER_AGENT, **headers}
    answer = await send(Request(url, "POST", sent, body))
    if isinstance(answer, Failure):
        return answer
    status = answer.status
    match status // 100:
        case 2:
            return None
        case 3:
            said = f"{url.at} answers {status}: redirects are not followed"
            return Failure(FailureKind.REJECTED, said)
        case 4 if status not in (_TOO_MANY, _TIMEOUT):
            said = f"{url.at} refuses the message with {status}{_HINTS.get(status, '')}"
            return Failure(FailureKind.REJECTED, said)
    wait = asked_wait(answer.headers.get("retry-after"), answer.headers.get("date"))
    return Failure(FailureKind.UNAVAILABLE, f"{url.at} answers {status}", wait)


_HINTS = {
    401: ": see the credential in the channel's Secret",
    403: ": see the credential in the channel's Secret",
    404: ": nobody listens at this path any more",
    410: ": nobody listens at this path any more",
}
