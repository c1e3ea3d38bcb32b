"""What is computed apart is shared out by namespace."""

from __future__ import annotations

import asyncio
import threading

from rollback_operator.adapters.fairness.slices import LARGE, apart

PATIENCE = 30.0


async def test_the_computations_of_one_namespace_leave_time_for_those_of_another() -> None:
    end, began = threading.Event(), threading.Semaphore(0)

    def endless() -> str:
        began.release()
        end.wait(PATIENCE)
        return "crowd"

    crowd = [asyncio.create_task(apart("crowd", LARGE, endless)) for _ in range(6)]
    try:
        assert await asyncio.to_thread(began.acquire, timeout=PATIENCE)
        assert (
            await asyncio.wait_for(apart("victim", LARGE, lambda: "victim"), PATIENCE / 2)
            == "victim"
        )
        assert not any(one.done() for one in crowd)
        assert not began.acquire(blocking=False), "one thread is what a namespace has"
    finally:
        end.set()
    assert await asyncio.gather(*crowd) == ["crowd"] * 6


async def test_what_is_small_is_computed_at_once() -> None:
    assert await apart("", LARGE - 1, threading.get_ident) == threading.get_ident()
    assert await apart("", LARGE, threading.get_ident) != threading.get_ident()
