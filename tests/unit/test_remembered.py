"""What is remembered of policies, and that nothing of those that are gone is."""

from __future__ import annotations

import asyncio

import pytest

from rollback_operator.adapters.prometheus import remembered
from rollback_operator.adapters.prometheus.remembered import Remembered

GENEROUS = 30.0


async def test_a_thousand_entries_leave_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembered, "SWEEP_SECONDS", 0.01)
    now = 0.0
    known: Remembered[str, int] = Remembered(10_000, lambda: now)
    for number in range(1000):
        known.put(f"policy-{number}", number, 60)
    await asyncio.sleep(0.05)
    assert len(known) == 1000

    now = 61.0
    assert known.get("policy-1") is None
    async with asyncio.timeout(GENEROUS):
        while len(known):  # noqa: ASYNC110 (a timer sets no event)
            await asyncio.sleep(0.01)

    known.put("policy-1", 7, 60)
    assert known.get("policy-1") == 7
    now = 200.0
    async with asyncio.timeout(GENEROUS):
        while len(known):  # noqa: ASYNC110 (a timer sets no event)
            await asyncio.sleep(0.01)


async def test_when_it_is_full_the_oldest_goes_and_the_others_stay() -> None:
    known: Remembered[int, int] = Remembered(3, lambda: 0.0)
    for number in (1, 2, 3, 1, 4):
        known.put(number, number, 60)

    assert [known.get(one) for one in (1, 2, 3, 4)] == [1, None, 3, 4]
    known.forget(3)
    assert (known.get(3), len(known)) == (None, 2)
