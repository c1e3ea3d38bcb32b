"""What fakes fail with next, when they end the operator, and in which order they were called."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from rollback_operator.ports.failure import Failure, FailureKind

CONFLICT = Failure(FailureKind.CONFLICT, "the object is not as it was read")
OUTAGE = Failure(FailureKind.UNAVAILABLE, "no answer")
REFUSAL = Failure(FailureKind.REJECTED, "forbidden")
GONE = Failure(FailureKind.GONE, "not found")


class Crash(Exception):  # noqa: N818 (it is the end of a process, not an error)
    """The operator ends here: nothing of what it had in memory is left."""


class Journal(list[str]):
    """Calls of several fakes in order; the operator crashes before the call at `crash_at`."""

    crash_at: int | None = None

    def append(self, call: str) -> None:
        if len(self) == self.crash_at:
            self.crash_at = None
            raise Crash(call)
        super().append(call)


@dataclass
class Failures:
    """What the next calls of a name fail with, each once."""

    _next: dict[str, deque[Failure]] = field(default_factory=dict)

    def fail_next(self, call: str, *failures: Failure) -> None:
        self._next.setdefault(call, deque()).extend(failures)

    def take(self, call: str) -> Failure | None:
        waiting = self._next.get(call)
        return waiting.popleft() if waiting else None
