"""A check and its result: passed, failed, unknown, or unseeable."""

from dataclasses import dataclass

from rollback_operator.api.verification import VerificationResult


@dataclass(frozen=True, slots=True)
class Check:
    """Result of a check so far."""

    name: str
    result: VerificationResult
    message: str
    is_final: bool = False
    """Another look shows nothing else: a proved failure, or what cannot be seen at all."""


def passed(name: str, message: str) -> Check:
    """Make a check that has passed."""
    return Check(name, VerificationResult.PASSED, message)


def failed(name: str, message: str) -> Check:
    """Make a check that has failed, and may pass the next time."""
    return Check(name, VerificationResult.FAILED, message)


def unknown(name: str, message: str) -> Check:
    """Make a check that has not shown anything yet."""
    return Check(name, VerificationResult.UNKNOWN, message)


def unseeable(name: str, message: str) -> Check:
    """Make a check that cannot show anything."""
    return Check(name, VerificationResult.UNKNOWN, message, is_final=True)
