"""Turns are shared out: who hangs delays those of the own share."""

import asyncio
import re
from pathlib import Path

import pytest

import rollback_operator
from rollback_operator.adapters.fairness.gates import (
    SLOW_FOR_SECONDS,
    SLOW_TURN_SECONDS,
    Gate,
    PacedGate,
)

SOURCES = Path(rollback_operator.__file__).parent
UNSHARED = re.compile(r"asyncio\.(Bounded)?Semaphore\(|(TCP|Counted)Connector\(limit=[^0]")


async def hold(gate: Gate | PacedGate, share: str, until: asyncio.Event, order: list[str]) -> None:
    async with gate.turn(share):
        order.append(share)
        await until.wait()


async def test_a_share_has_no_more_than_its_part() -> None:
    gate, never, order = Gate(4, 2), asyncio.Event(), list[str]()
    hanging = [asyncio.create_task(hold(gate, "tenant", never, order)) for _ in range(50)]
    await asyncio.sleep(0)

    async with asyncio.timeout(5), gate.turn("victim"):
        assert order == ["tenant", "tenant"]

    for one in hanging:
        one.cancel()
    await asyncio.gather(*hanging, return_exceptions=True)
    assert gate.is_idle


async def test_the_turn_goes_round_among_those_that_wait() -> None:
    gate, begin, order = Gate(1, 1), asyncio.Event(), list[str]()
    first = asyncio.create_task(hold(gate, "first", begin, []))
    await asyncio.sleep(0)
    over = asyncio.Event()
    over.set()
    waiting = [
        asyncio.create_task(hold(gate, share, over, order))
        for share in ("tenant", "tenant", "tenant", "victim")
    ]
    await asyncio.sleep(0)

    begin.set()
    await asyncio.gather(first, *waiting)

    assert order == ["tenant", "victim", "tenant", "tenant"]
    assert gate.is_idle


async def test_shares_that_were_slow_leave_a_turn_to_the_others() -> None:
    now = [0.0]
    gate, never = PacedGate(2, 1, lambda: now[0]), asyncio.Event()
    for tenant in ("first", "second"):
        async with gate.turn(tenant):
            now[0] += SLOW_TURN_SECONDS + 1
    tenants = [asyncio.create_task(hold(gate, tenant, never, [])) for tenant in ("first", "second")]
    await asyncio.sleep(0)

    for victim in ("third", "fourth"):
        async with asyncio.timeout(5), gate.turn(victim):
            pass

    for one in tenants:
        one.cancel()
    await asyncio.gather(*tenants, return_exceptions=True)
    now[0] += SLOW_FOR_SECONDS
    async with asyncio.timeout(5), gate.turn("first"), gate.turn("second"):
        pass  # the past is forgotten


@pytest.mark.parametrize("steps", range(4))
async def test_who_gives_up_takes_no_turn_along(steps: int) -> None:
    gate, begin = Gate(1, 1), asyncio.Event()
    first = asyncio.create_task(hold(gate, "first", begin, []))
    await asyncio.sleep(0)
    leaves = asyncio.create_task(hold(gate, "leaves", asyncio.Event(), []))
    await asyncio.sleep(0)
    begin.set()
    for _ in range(steps):
        await asyncio.sleep(0)

    leaves.cancel()
    await asyncio.gather(first, leaves, return_exceptions=True)

    async with asyncio.timeout(5), gate.turn("next"):
        pass
    assert gate.is_idle


def test_nothing_hands_out_turns_without_a_look_at_whose_they_are() -> None:
    found = {
        str(path.relative_to(SOURCES))
        for path in SOURCES.rglob("*.py")
        if not path.is_relative_to(SOURCES / "cli" / "plugin")  # a process of one person
        if UNSHARED.search(path.read_text())
    }
    assert found == set()
