"""Cached values expire, and nothing stays in memory of policies that are gone."""

from __future__ import annotations

import asyncio
import time

from rollback_operator.adapters.prometheus.remembered import Remembered

GENEROUS = 30.0


async def test_a_thousand_entries_leave_nothing_behind() -> None:
    known: Remembered[str, int] = Remembered(10_000, time.monotonic)
    for number in range(1000):
        known.put(f"policy-{number}", number, 0.05)
    known.put("policy-1", 7, 3600)
    assert len(known) == 1000

    async with asyncio.timeout(GENEROUS):
        while len(known) > 1:  # noqa: ASYNC110 (a timer sets no event)
            await asyncio.sleep(0.01)
    assert known.get("policy-1") == 7


async def test_a_value_expires_by_the_clock_before_its_timer() -> None:
    now = 0.0
    known: Remembered[str, int] = Remembered(3, lambda: now)
    known.put("policy-1", 7, 60)
    assert known.get("policy-1") == 7
    now = 61.0
    assert known.get("policy-1") is None


async def test_when_it_is_full_the_oldest_goes_and_the_others_stay() -> None:
    known: Remembered[int, int] = Remembered(3, lambda: 0.0)
    for number in (1, 2, 3, 1, 4):
        known.put(number, number, 60)

    assert [known.get(one) for one in (1, 2, 3, 4)] == [1, None, 3, 4]
    known.forget(3)
    assert (known.get(3), len(known)) == (None, 2)
