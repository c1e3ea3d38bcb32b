"""The time of the API server.

Its clock sets the creation and readiness times of pods, and must therefore measure how long they
have been waiting: a machine whose own clock is ahead, or is set during a rollout, would take a slow
release for a stuck release.
"""

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

_log = logging.getLogger(__name__)
SECOND = timedelta(seconds=1)
"""Resolution of the header Date."""
WORTH_TELLING = timedelta(seconds=5)


class ServerClock:
    """This machine's clock, corrected by the answers of the API server.

    Their Date is a moment between request and answer, truncated to the second; a clock that agrees
    with it is not corrected. The wall clock is read once. Time continues by the monotonic clock,
    which cannot be set: between two answers a change of the wall clock would go unnoticed, and a
    stored time (the end of a hold) outlives the next answer.
    """

    def __init__(self, wall: Callable[[], datetime], monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._begin = wall(), monotonic()
        self._ahead = timedelta(0)

    def own(self) -> datetime:
        """Return the time of this machine's clock, as it was set when the process began."""
        wall, begun = self._begin
        return wall + timedelta(seconds=self._monotonic() - begun)

    def now(self) -> datetime:
        """Return the time."""
        return self.own() + self._ahead

    def hear(self, date: str, asked: datetime) -> None:
        """Correct the clock by the Date of an answer that has just arrived.

        Args:
            date: the header.
            asked: when the request was sent, by `own`.
        """
        try:
            stated = parsedate_to_datetime(date).astimezone(UTC)
        except ValueError:
            return
        least, most = stated - self.own(), stated + SECOND - asked
        ahead = min(max(self._ahead, least), most)
        if abs(ahead - self._ahead) >= WORTH_TELLING:
            seconds = ahead.total_seconds()
            _log.warning("the API server's clock differs from this machine's by %+.0f s", seconds)
        self._ahead = ahead
