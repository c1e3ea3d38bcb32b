"""The queue: one worker per key, the earliest time wins, errors hold up their own key only."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from time import monotonic

import pytest

from rollback_operator.runtime.turns import MOST_IN_A_ROW
from rollback_operator.runtime.workqueue import FIRST_BACKOFF_SECONDS, MOST_SLOW, Work, WorkQueue
from tests.loop_time import watched


@pytest.fixture
def queue() -> WorkQueue[str]:
    return WorkQueue(monotonic)


@asynccontextmanager
async def running(
    queue: WorkQueue[str], work: Work[str], may_work: Callable[[], bool] = lambda: True
) -> AsyncIterator[None]:
    task = asyncio.create_task(queue.run(work, 4, may_work))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def eventually(condition: Callable[[], bool], within: float = 10.0) -> None:
    async with asyncio.timeout(within):
        while not condition():  # noqa: ASYNC110 (what is waited for has no event of its own)
            await asyncio.sleep(0.005)


async def test_a_key_is_worked_on_by_one_worker_at_a_time(queue: WorkQueue[str]) -> None:
    busy: set[str] = set()
    passes: list[str] = []

    async def work(key: str) -> float | None:
        assert key not in busy
        busy.add(key)
        await asyncio.sleep(0.01)
        busy.discard(key)
        passes.append(key)
        return None

    async with running(queue, work):
        for _ in range(20):
            queue.add("a")
            queue.add("b")
            await asyncio.sleep(0.003)
        await eventually(lambda: len(queue) == 0 and not busy)

    assert {"a", "b"} == set(passes)
    assert len(passes) < 40


async def test_a_key_wanted_while_it_is_worked_on_is_worked_on_again(
    queue: WorkQueue[str],
) -> None:
    go_on, passes = asyncio.Event(), []

    async def work(key: str) -> None:
        passes.append(key)
        await go_on.wait()

    async with running(queue, work):
        queue.add("a")
        await eventually(lambda: passes == ["a"])
        queue.add("a")
        queue.add("a")
        await eventually(lambda: len(queue) == 0)
        assert passes == ["a"]
        go_on.set()
        await eventually(lambda: len(passes) > 1)

    assert passes == ["a", "a"]


async def test_the_earlier_time_wins(queue: WorkQueue[str]) -> None:
    begin, done = monotonic(), asyncio.Event()

    async def work(key: str) -> None:
        done.set()

    queue.add("a", 30)
    queue.add("a", 0.05)
    queue.add("a", 60)
    assert len(queue) == 1
    async with running(queue, work), asyncio.timeout(10):
        await done.wait()

    assert monotonic() - begin >= 0.05
    assert len(queue) == 0


async def test_keys_come_in_the_order_of_their_times() -> None:
    now = [0.0]
    queue: WorkQueue[str] = WorkQueue(lambda: now[0])
    order: list[str] = []

    async def work(key: str) -> None:
        order.append(key)

    for key, delay in (("late", 3.0), ("soon", 1.0), ("now", 0.0)):
        queue.add(key, delay)
    now[0] = 10.0
    task = asyncio.create_task(queue.run(work, 1, lambda: True))
    await eventually(lambda: len(order) == 3)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert order == ["now", "soon", "late"]


async def test_a_pass_says_when_it_wants_the_next(queue: WorkQueue[str]) -> None:
    times: list[float] = []

    async def work(key: str) -> float | None:
        times.append(monotonic())
        return 0.05 if len(times) < 3 else None

    async with running(queue, work):
        queue.add("a")
        await eventually(lambda: len(times) == 3 and len(queue) == 0)

    assert all(later - earlier >= 0.05 for earlier, later in pairwise(times))


async def test_errors_back_off_and_other_keys_go_on(queue: WorkQueue[str]) -> None:
    failures: list[float] = []
    others: list[str] = []

    async def work(key: str) -> float | None:
        if key == "bad":
            failures.append(monotonic())
            raise RuntimeError("a server nobody has thought of")
        others.append(key)
        return 0.02

    async with running(queue, work):
        queue.add("bad")
        queue.add("good")
        await eventually(lambda: len(failures) == 3, within=20)

    waits = [later - earlier for earlier, later in pairwise(failures)]
    assert waits[0] >= FIRST_BACKOFF_SECONDS  # 0.5 to 1 second
    assert waits[1] >= 2 * FIRST_BACKOFF_SECONDS  # 1 to 2 seconds
    assert len(others) > 5


async def test_a_success_forgets_earlier_failures(queue: WorkQueue[str]) -> None:
    times: list[float] = []

    async def work(key: str) -> float | None:
        times.append(monotonic())
        if len(times) in (1, 2, 4):
            raise RuntimeError("once in a while")
        return 0.0 if len(times) == 3 else None

    async with running(queue, work):
        queue.add("a")
        await eventually(lambda: len(times) == 5, within=20)

    # A third failure in a row would have waited for at least 4 * FIRST_BACKOFF_SECONDS.
    assert times[4] - times[3] < 4 * FIRST_BACKOFF_SECONDS


async def test_nothing_is_worked_on_by_one_that_may_not(queue: WorkQueue[str]) -> None:
    is_leader, asked, passes = asyncio.Event(), asyncio.Event(), []

    async def work(key: str) -> None:
        passes.append(key)

    def may_work() -> bool:
        asked.set()
        return is_leader.is_set()

    async with running(queue, work, may_work):
        queue.add("a")
        await asyncio.wait_for(asked.wait(), 10)
        await eventually(lambda: len(queue) == 1)
        assert passes == []
        is_leader.set()
        await eventually(lambda: passes == ["a"])


async def test_a_forgotten_key_is_not_worked_on(queue: WorkQueue[str]) -> None:
    passes: list[str] = []

    async def work(key: str) -> None:
        passes.append(key)

    queue.add("gone")
    queue.add("there", 0.02)
    queue.forget("gone")
    async with running(queue, work):
        await eventually(lambda: passes != [])

    assert passes == ["there"]


async def test_a_queue_without_work_shows_that_it_lives() -> None:
    now = [100.0]
    queue: WorkQueue[str] = WorkQueue(lambda: now[0])
    begin = queue.beat
    now[0] = 200.0

    async def work(key: str) -> None:
        raise AssertionError(key)

    async with running(queue, work):
        await eventually(lambda: queue.beat == 200.0)

    assert begin == 100.0


# -- slow passes -----------------------------------------------------------------------------------


async def test_passes_that_wait_for_a_server_hold_up_nobody_else() -> None:
    """More of one namespace than there are workers, and none of them ends."""
    queue: WorkQueue[tuple[str, str]] = WorkQueue(monotonic, share=lambda key: key[0])
    never, begun, done = asyncio.Event(), [], asyncio.Event()

    async def work(key: tuple[str, str]) -> None:
        if key[0] == "slow":
            begun.append(key)
            await never.wait()
        else:
            done.set()

    task = asyncio.create_task(queue.run(work, 2, lambda: True))
    try:
        for number in range(2 * MOST_SLOW):
            queue.add(("slow", str(number)))
        await eventually(lambda: len(begun) >= MOST_SLOW, 60.0)
        queue.add(("another", "policy"))
        async with asyncio.timeout(60):
            await done.wait()
        assert len(begun) <= MOST_SLOW + 2  # each worker may be finding out about one more
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_share_of_twenty_thousand_keys_keeps_nobody_from_the_loop() -> None:
    """Each key that waits for a slow pass of its share is looked at once, not again and again."""
    queue = WorkQueue[str](monotonic, share=lambda key: key.partition("/")[0])
    release, served = asyncio.Event(), list[str]()

    async def work(key: str) -> None:
        if key.startswith("tenant"):
            await release.wait()
        served.append(key)

    with watched() as found:
        async with running(queue, work):
            for number in range(20_000):
                queue.add(f"tenant/{number}")
            queue.add("victim/a")
            await eventually(lambda: "victim/a" in served and not queue._due, 60.0)
            count = found.count
            await asyncio.sleep(1.0)
            busy = found.count - count
            release.set()
            await eventually(lambda: len(served) == 20_001, 120.0)

    assert busy < 1_000  # nothing goes round while all wait
    assert len(queue) == 0


async def test_a_key_that_is_forgotten_while_it_waits_keeps_no_other_waiting() -> None:
    queue = WorkQueue[str](monotonic, share=lambda _: "tenant")
    release, served = asyncio.Event(), list[str]()

    async def work(key: str) -> None:
        if key.startswith("slow"):
            await release.wait()
        served.append(key)

    async with running(queue, work):
        for number in range(MOST_SLOW):
            queue.add(f"slow-{number}")
        await eventually(lambda: not queue._due, 60.0)
        await asyncio.sleep(1.5)
        for name in ("a", "b", "c"):
            queue.add(name)
        await eventually(lambda: not queue._due, 60.0)
        queue.forget("a")
        release.set()
        await eventually(lambda: {"b", "c"} <= set(served), 60.0)

    assert "a" not in served


async def test_a_pass_that_never_ends_is_broken_off_and_begun_anew() -> None:
    queue: WorkQueue[str] = WorkQueue(monotonic, pass_seconds=0.05)
    begun: list[str] = []

    async def work(key: str) -> None:
        begun.append(key)
        await asyncio.Event().wait()

    async with running(queue, work):
        queue.add("a")
        await eventually(lambda: len(begun) > 1, 30.0)


async def test_slow_passes_end_with_the_queue(queue: WorkQueue[str]) -> None:
    ended, begun = asyncio.Event(), asyncio.Event()

    async def work(key: str) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with running(queue, work):
        queue.add("a")
        await begun.wait()
        await eventually(lambda: len(queue._slow.get("a", ())) == 1, 30.0)

    assert ended.is_set()


async def taken(queue: WorkQueue[str], count: int) -> list[str]:
    """Give the order in which one worker takes what is due."""
    order: list[str] = []

    async def work(key: str) -> None:
        order.append(key)

    task = asyncio.create_task(queue.run(work, 1, lambda: True))
    await eventually(lambda: len(order) == count)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return order


async def test_what_somebody_waits_for_goes_before_others_that_are_due() -> None:
    urgent: set[str] = set()
    queue: WorkQueue[str] = WorkQueue(monotonic, is_urgent=urgent.__contains__)
    for key in ("a", "b", "c"):
        queue.add(key)
    urgent.add("c")  # asked for after it was put on the queue
    queue.add("c")

    assert await taken(queue, 3) == ["c", "a", "b"]


async def test_what_is_urgent_starves_nobody() -> None:
    now = [0.0]
    queue: WorkQueue[str] = WorkQueue(lambda: now[0], is_urgent=lambda key: key.startswith("u"))
    for key in ("a", *(f"u{number}" for number in range(2 * MOST_IN_A_ROW))):
        queue.add(key)

    order = await taken(queue, 1 + 2 * MOST_IN_A_ROW)

    assert order.index("a") == MOST_IN_A_ROW


# -- turns of a share ------------------------------------------------------------------------------


async def turns_of(
    tenants: int, is_urgent: Callable[[tuple[str, str]], bool], count: int
) -> list[str]:
    """Give whose turns one worker takes while every pass wants the next at once.

    One share has fifty keys, each of the others has one.
    """
    queue: WorkQueue[tuple[str, str]] = WorkQueue(
        monotonic, share=lambda key: key[0], is_urgent=is_urgent
    )
    for number in range(50):
        queue.add(("crowd", str(number)))
    for number in range(tenants):
        queue.add((f"tenant-{number}", "shop"))
    order: list[str] = []

    async def work(key: tuple[str, str]) -> float:
        order.append(key[0])
        return 0.0

    task = asyncio.create_task(queue.run(work, 1, lambda: True))
    await eventually(lambda: len(order) >= count, 60.0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return order[:count]


@pytest.mark.parametrize("is_crowd_urgent", [True, False])
async def test_a_share_with_many_keys_takes_no_more_turns_than_another(
    is_crowd_urgent: bool,
) -> None:
    order = await turns_of(4, lambda key: is_crowd_urgent and key[0] == "crowd", 200)

    for tenant in ("tenant-0", "tenant-1", "tenant-2", "tenant-3"):
        assert order.count("crowd") - order.count(tenant) <= MOST_IN_A_ROW + 1
        assert order.index(tenant) <= 2 * MOST_IN_A_ROW


async def test_a_person_who_waits_once_goes_before_a_share_of_which_many_are_waited_for() -> None:
    queue: WorkQueue[tuple[str, str]] = WorkQueue(
        monotonic, share=lambda key: key[0], is_urgent=lambda key: key[0] in ("crowd", "person")
    )
    order: list[str] = []

    async def work(key: tuple[str, str]) -> float:
        order.append(key[0])
        if len(order) == 60:
            queue.add(("person", "shop"))
        return 0.0

    for number in range(50):
        queue.add(("crowd", str(number)))
    for number in range(20):
        queue.add((f"tenant-{number}", "shop"))
    task = asyncio.create_task(queue.run(work, 1, lambda: True))
    await eventually(lambda: len(order) >= 80, 60.0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert "person" in order[60:63]
