"""Why a server could not be asked, in words: no names of classes, no pools, no addresses twice.

Libraries wrap the error that says why in several of their own, each of which quotes the one within.
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
    "TooManyRedirects": "it leads from one address to the next without end",
    "ContentTypeError": "the answer is of another kind than asked for",
    "ClientPayloadError": "the connection was closed in the midst of the answer",
}
"""Errors of libraries that hold none of the system's."""


def cause(error: BaseException) -> str:
    """Tell what an error means for whoever has to mend it, by what lies deepest in it."""
    found = list(_within(error))
    for one in reversed(found):
        said = _said(one)
        if said:
            return said
    names = (_BY_NAME.get(type(one).__name__) for one in found)
    known = next((name for name in names if name), "")
    return known or f"it could not be asked ({type(error).__name__})"


def _within(error: BaseException) -> Iterator[BaseException]:
    """Give an error and those that it wraps, the outermost first."""
    seen: list[BaseException] = []
    waiting: list[object] = [error]
    while waiting and len(seen) < _DEEPEST:
        one = waiting.pop(0)
        if not isinstance(one, BaseException) or any(one is known for known in seen):
            continue
        seen.append(one)
        yield one
        inner = (getattr(one, name, None) for name in ("reason", "os_error", "__cause__"))
        waiting += [*inner, *one.args, one.__context__]


def _said(error: BaseException) -> str:
    for kinds, words in _WORDS:
        if isinstance(error, kinds):
            return words
    match error:
        case ssl.SSLCertVerificationError():
            said = getattr(error, "verify_message", "")  # OpenSSL sets it, and nothing else does
            return f"its TLS certificate is not accepted: {said or 'no reason was given'}"
        case ssl.SSLError():
            said = getattr(error, "reason", "")
            return f"TLS could not be agreed on: {said or 'no reason was given'}"
        case OSError() if error.errno and error.strerror:
            said = error.strerror[:1].lower() + error.strerror[1:]
            return f"{error.filename}: {said}" if error.filename else said
        case OSError() if type(error) is OSError:
            return str(error)  # our own words
        case _:
            return ""
