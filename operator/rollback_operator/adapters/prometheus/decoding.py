"""JSON of an answer, parsed series by series."""

from json import JSONDecoder
from typing import Any

from rollback_operator.api.user_text.json_text import encodable, parsed

SAMPLE_VALUE_BYTES = 64
"""Memory of a JSON value, averaged over a sample's: list, time and number."""
_RESULT = '"result":['
_DECODER = JSONDecoder()


def decoded(body: bytes) -> Any:
    """Parse an answer, series by series if it has any, so that other threads run in between.

    Raises:
        ValueError: it is not JSON.
    """
    text = encodable(body.decode())
    begin = text.find(_RESULT)
    if begin < 0:
        return parsed(text)
    begin += len(_RESULT)
    try:
        series, end = _listed(text, begin)
    except (IndexError, RecursionError):
        raise ValueError("a list does not end, or is nested too deeply") from None
    whole = parsed(text[:begin] + text[end:])
    data = whole.get("data") if isinstance(whole, dict) else None
    if not isinstance(data, dict) or data.get("result") != []:
        return parsed(text)  # the list is not that of data.result
    data["result"] = series
    return whole


def _listed(text: str, at: int) -> tuple[list[Any], int]:
    """Parse the elements of a list; returns them with the position of its end."""
    elements: list[Any] = []
    at = _past_blanks(text, at)
    while text[at] != "]":
        if elements:
            if text[at] != ",":
                raise ValueError("a list goes on without a comma")
            at = _past_blanks(text, at + 1)
        element, at = _DECODER.raw_decode(text, at)
        elements.append(element)
        at = _past_blanks(text, at)
    return elements, at


def _past_blanks(text: str, at: int) -> int:
    while text[at] in " \t\r\n":
        at += 1
    return at
