"""What options of `kubectl rollback` take, and what is said where that is wrong."""

import argparse

from rollback_operator.api.remedy import MOST_REPLICAS
from rollback_operator.api.resource import LONGEST_REASON


def way(text: str) -> dict[str, object]:
    """Read where an undo is to lead."""
    named = {"last-known-good": "LastKnownGood", "previous": "Previous"}
    if text.lower() in named:
        return {"type": "Undo", "to": named[text.lower()]}
    if text.isdecimal() and int(text) > 0:
        return {"type": "Undo", "to": "Revision", "revision": int(text)}
    raise argparse.ArgumentTypeError(f"{text} is neither last-known-good, previous nor a number")


def number(text: str) -> int:
    """Read a revision's number."""
    if not (text.isdecimal() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text} is no revision's number")
    return int(text)


def replicas(text: str) -> int:
    """Read how many replicas are wanted."""
    if not (text.isdecimal() and 1 <= int(text) <= MOST_REPLICAS):
        raise argparse.ArgumentTypeError(f"{text} is no number from 1 to {MOST_REPLICAS}")
    return int(text)


def seconds(text: str) -> float:
    """Read a span of time."""
    try:
        found = float(text)
    except ValueError:
        found = -1.0
    if not 0 <= found < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is no number of seconds")
    return found


def reason_or_none(text: str) -> str:
    """Read a reason that may be left out."""
    return text if not text else reason(text)


def reason(text: str) -> str:
    """Read why something is done."""
    if not text.strip():
        raise argparse.ArgumentTypeError("it is empty: say why, for the record")
    if len(text) > LONGEST_REASON:
        raise argparse.ArgumentTypeError(f"it is longer than {LONGEST_REASON} characters")
    return text


def image(text: str) -> dict[str, object]:
    """Read which container is to run which image."""
    container, sign, wanted = text.partition("=")
    if not (container and sign and wanted):
        raise argparse.ArgumentTypeError(f"{text} is not of the form CONTAINER=IMAGE")
    return {"type": "PinImage", "container": container, "image": wanted}
