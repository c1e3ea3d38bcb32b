"""What a server asks for before the next try, whatever it writes into Retry-After."""

from __future__ import annotations

from datetime import timedelta

import pytest

from rollback_operator.ports.failure import MOST_RETRY_SECONDS, Failure, FailureKind, asked_wait

NOW = "Mon, 30 Nov 2026 10:00:00 GMT"
MOST = float(MOST_RETRY_SECONDS)


@pytest.mark.parametrize(
    ("after", "date", "expected"),
    [
        (None, NOW, None),
        ("", NOW, None),
        ("7", None, 7.0),
        (" 007 ", None, 7.0),
        ("0", NOW, 0.0),
        ("999999999999", NOW, MOST),
        ("9" * 5000, NOW, MOST),
        ("-1", NOW, None),
        ("1.5", NOW, None),
        ("NaN", NOW, None),
        ("inf", NOW, None),
        ("\u0663", NOW, None),
        ("1e9", NOW, None),
        ("Mon, 30 Nov 2026 10:00:30 GMT", NOW, 30.0),
        ("Mon, 30 Nov 2026 10:00:30 GMT", None, None),
        ("Mon, 30 Nov 2026 10:00:30 GMT", "soon", None),
        ("Mon, 30 Nov 2026 10:00:30", NOW, None),
        ("Fri, 31 Dec 9999 23:59:59 GMT", NOW, MOST),
        ("Fri, 31 Dec 9999 23:59:59 -2359", NOW, MOST),
        ("Fri, 31 Dec 99999 23:59:59 GMT", NOW, None),
        ("Mon, 30 Nov 1900 10:00:00 GMT", NOW, 0.0),
        ("Mon, 99 Nov 2026 99:99:99 GMT", NOW, None),
        (NOW, "Mon, 30 Nov 0001 10:00:00 +2359", MOST),
    ],
    ids=ascii,
)
def test_a_wait_is_bounded_or_there_is_none(
    after: str | None, date: str | None, expected: float | None
) -> None:
    found = asked_wait(after, date)

    assert found == expected
    timedelta(seconds=Failure(FailureKind.UNAVAILABLE, "", found).wait)
