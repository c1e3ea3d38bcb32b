"""Parsers for the values of options; an error names the expected form."""

import argparse

from rollback_operator.api.resource import LONGEST_REASON
from rollback_operator.api.safety import MOST_REPLICAS


def undo_target(text: str) -> dict[str, object]:
    """Parse the target of an undo."""
    named = {"last-known-good": "LastKnownGood", "previous": "Previous"}
    if text.lower() in named:
        return {"type": "Undo", "to": named[text.lower()]}
    if text.isdecimal() and int(text) > 0:
        return {"type": "Undo", "to": "Revision", "revision": int(text)}
    raise argparse.ArgumentTypeError(f"{text} is not last-known-good, previous or a number")


def number(text: str) -> int:
    """Parse a revision number."""
    if not (text.isdecimal() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text} is not a revision number")
    return int(text)


def replicas(text: str) -> int:
    """Parse a number of replicas."""
    if not (text.isdecimal() and 1 <= int(text) <= MOST_REPLICAS):
        raise argparse.ArgumentTypeError(f"{text} is not a number from 1 to {MOST_REPLICAS}")
    return int(text)


def seconds(text: str) -> float:
    """Parse a duration."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a number of seconds")
    return value


def reason_or_none(text: str) -> str:
    """Parse an optional reason."""
    return text if not text else reason(text)


def reason(text: str) -> str:
    """Parse a reason."""
    if not text.strip():
        raise argparse.ArgumentTypeError("the reason is empty")
    if len(text) > LONGEST_REASON:
        raise argparse.ArgumentTypeError(f"the reason is longer than {LONGEST_REASON} characters")
    return text


def image(text: str) -> dict[str, object]:
    """Parse a container and its image."""
    container, sign, wanted = text.partition("=")
    if not (container and sign and wanted):
        raise argparse.ArgumentTypeError(f"{text} does not have the form CONTAINER=IMAGE")
    return {"type": "PinImage", "container": container, "image": wanted}
