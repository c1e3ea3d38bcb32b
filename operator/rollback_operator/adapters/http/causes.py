"""Causes of failed requests, as text without class names, pools or repeated addresses.

Libraries wrap the cause in several errors, each with the text of the inner error.
"""

import http.client
import socket
import ssl
from collections.abc import Iterator

import requests
import urllib3

_LOST = "the connection was closed without an answer"
_LATE = "no answer in time"
_WORDS: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], str], ...] = (
    (socket.gaierror, "its host name cannot be resolved"),
    (ConnectionRefusedError, "connection refused"),
    ((TimeoutError, requests.Timeout, urllib3.exceptions.TimeoutError), _LATE),
    ((ConnectionResetError, ConnectionAbortedError, BrokenPipeError, EOFError), _LOST),
    (http.client.HTTPException, _LOST),
)
_DEEPEST = 12
_BY_NAME = {
    "ServerDisconnectedError": _LOST,
    "ProtocolError": _LOST,
    "InvalidURL": "the address cannot be used",
    "TooManyRedirects": "too many redirects",
    "ContentTypeError": "the answer has an unexpected content type",
    "ClientPayloadError": "the connection was closed in the middle of the answer",
}
"""Errors of libraries without an error of the system inside."""


def cause(error: BaseException) -> str:
    """Describe an error by its innermost known cause."""
    chain = list(_chain(error))
    for inner in reversed(chain):
        text = _text(inner)
        if text:
            return text
    texts = (_BY_NAME.get(type(inner).__name__) for inner in chain)
    known = next((text for text in texts if text), "")
    return known or f"the request failed ({type(error).__name__})"


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and those that it wraps, the outermost first."""
    seen: list[BaseException] = []
    waiting: list[object] = [error]
    while waiting and len(seen) < _DEEPEST:
        outer = waiting.pop(0)
        if not isinstance(outer, BaseException) or any(outer is known for known in seen):
            continue
        seen.append(outer)
        yield outer
        inner = (getattr(outer, name, None) for name in ("reason", "os_error", "__cause__"))
        waiting += [*inner, *outer.args, outer.__context__]


def _text(error: BaseException) -> str:
    for kinds, words in _WORDS:
        if isinstance(error, kinds):
            return words
    match error:
        case ssl.SSLCertVerificationError():
            detail = getattr(error, "verify_message", "")  # only OpenSSL sets it
            return f"its TLS certificate is not accepted: {detail or 'no reason was given'}"
        case ssl.SSLError():
            detail = getattr(error, "reason", "")
            return f"the TLS handshake failed: {detail or 'no reason was given'}"
        case OSError() if error.errno and error.strerror:
            detail = error.strerror[:1].lower() + error.strerror[1:]
            return f"{error.filename}: {detail}" if error.filename else detail
        case OSError() if type(error) is OSError:
            return str(error)  # raised by the operator
        case _:
            return ""
