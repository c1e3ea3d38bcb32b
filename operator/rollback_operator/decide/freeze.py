"""Freeze windows: the active window, its end, and the time of the next change."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from rollback_operator.api.safety import Day, FreezeWindow

_DAYS = tuple(Day)
_WEEK = 8
"""Days to look ahead: a window on one day of the week recurs after seven."""


@dataclass(frozen=True, slots=True)
class Frozen:
    """An active freeze."""

    window: FreezeWindow
    until: datetime

    def __str__(self) -> str:
        return f"freeze {self.window.name} until {self.until.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def frozen(
    windows: Sequence[FreezeWindow], now: datetime, severity: str | None = None
) -> Frozen | None:
    """Return the active freeze that lasts longest.

    Args:
        windows: spec.safety.freeze.
        now: the time.
        severity: of the planned action; windows that exempt it do not count. None: all count.
    """
    found = [
        Frozen(window, end)
        for window in windows
        if severity is None or severity not in window.exempt
        for begin, end in _spans(window, now)
        if begin <= now < end
    ]
    return max(found, key=lambda one: one.until, default=None)


def next_change(windows: Sequence[FreezeWindow], now: datetime) -> float | None:
    """Return the seconds until a freeze begins or ends; None: no change is ahead."""
    moments = (moment for window in windows for span in _spans(window, now) for moment in span)
    return min(((one - now).total_seconds() for one in moments if one > now), default=None)


def _spans(window: FreezeWindow, now: datetime) -> Iterator[tuple[datetime, datetime]]:
    """Return the spans from yesterday on in which a window is active.

    Each local time becomes a point in time separately: on days with a clock change, a window is
    longer or shorter, and its ends keep their local times.
    """
    zone = window.zone
    if not window.is_daily:
        first, last = (datetime.fromisoformat(one) for one in (window.from_, window.until))
        yield _point(first.replace(tzinfo=zone)), _point(last.replace(tzinfo=zone))
        return
    begin, end = window.hours
    today = now.astimezone(zone).date()
    for offset in range(-1, _WEEK):
        day = today + timedelta(days=offset)
        if window.days is not None and _DAYS[day.weekday()] not in window.days:
            continue
        last_day = day if begin < end else day + timedelta(days=1)
        yield (
            _point(datetime.combine(day, begin, zone)),
            _point(datetime.combine(last_day, end, zone)),
        )


def _point(local: datetime) -> datetime:
    return local.astimezone(UTC)
