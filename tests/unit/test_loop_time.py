"""The measure of the loop's callbacks sees what holds the loop up, and nothing else."""

import asyncio
import time

from tests.loop_time import PROMISED_SECONDS, watched


def _work(seconds: float) -> None:
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


async def test_a_step_that_computes_is_found_with_its_place() -> None:
    async def greedy() -> None:
        await asyncio.sleep(0)
        _work(1.5 * PROMISED_SECONDS)

    with watched() as found:
        await asyncio.create_task(greedy())
    assert found.longest.seconds > PROMISED_SECONDS
    assert "greedy" in found.longest.name
    assert __file__.rpartition("/")[2] in found.longest.name


async def test_a_step_that_waits_or_works_in_a_thread_is_not() -> None:
    with watched() as found:
        await asyncio.sleep(1.2 * PROMISED_SECONDS)
        await asyncio.to_thread(_work, 1.5 * PROMISED_SECONDS)
    assert found.count > 1
    assert found.longest.seconds < found.allowed


async def test_it_ends_with_its_block() -> None:
    with watched() as found:
        await asyncio.sleep(0)
    await asyncio.sleep(0)  # the step in which the block ends is one of it
    before = found.count
    await asyncio.sleep(0)
    assert found.count == before
