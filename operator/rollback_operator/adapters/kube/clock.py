"""The time as the API server has it.

When pods were made and became ready is told by its clock, and so must be for how long they have
been waiting: a machine whose own clock is ahead, or is set while a rollout goes on, would take a
release that starts slowly for one that is stuck.
"""

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

_log = logging.getLogger(__name__)
SECOND = timedelta(seconds=1)
"""What the header Date tells, it tells in whole seconds."""
WORTH_TELLING = timedelta(seconds=5)


class ServerClock:
    """A machine's own clock, set right by what the answers of the API server say.

    Their Date is that of a moment between question and answer, cut off to the second. As long as
    the own clock agrees with that it is left as it is. Between two answers nothing would tell that
    it was set, and what is stored then (until when a rollout is held) outlives the next answer: so
    it is read once, and time goes on by the monotonic one, which nobody sets.
    """

    def __init__(self, wall: Callable[[], datetime], monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._begin = wall(), monotonic()
        self._ahead = timedelta(0)

    def own(self) -> datetime:
        """Give the time by this machine's clock, as it was set when the process began."""
        wall, begun = self._begin
        return wall + timedelta(seconds=self._monotonic() - begun)

    def now(self) -> datetime:
        """Give the time."""
        return self.own() + self._ahead

    def hear(self, date: str, asked: datetime) -> None:
        """Take in the Date of an answer that has just come.

        Args:
            date: the header.
            asked: when the question was sent, by the own clock.
        """
        try:
            told = parsedate_to_datetime(date).astimezone(UTC)
        except ValueError:
            return
        least, most = told - self.own(), told + SECOND - asked
        ahead = min(max(self._ahead, least), most)
        if abs(ahead - self._ahead) >= WORTH_TELLING:
            seconds = ahead.total_seconds()
            _log.warning("the API server's clock is %+.0f s from this machine's", seconds)
        self._ahead = ahead
