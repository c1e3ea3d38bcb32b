"""One budget of memory for answers in flight: who waits, and for whom nobody waits."""

from __future__ import annotations

import asyncio
import json
import tracemalloc

import pytest

from rollback_operator.adapters.fairness.holdings import BudgetExhaustedError
from rollback_operator.adapters.kube import response_budget
from rollback_operator.adapters.kube.response_budget import (
    ANSWER_BYTES,
    MIB,
    ResponseBudget,
    weight_of,
)
from rollback_operator.api.user_text.json_text import values_outside_strings


async def test_small_answers_wait_for_nobody() -> None:
    budget = ResponseBudget(8 * MIB)
    with budget.part("shop") as part:
        await budget.take("bank", 4 * MIB)
        await budget.take("shop", 4 * MIB)
        await part.grow(response_budget.SHARE_STEPS[0])
        assert budget.held == 8 * MIB


async def test_one_namespace_has_no_more_than_half() -> None:
    budget = ResponseBudget(8 * MIB)
    await budget.take("shop", 4 * MIB)
    second = asyncio.create_task(budget.take("shop", 4 * MIB))
    await asyncio.sleep(0)

    await budget.take("bank", 4 * MIB)

    assert not second.done()
    budget.give_back("shop", 4 * MIB)
    await second
    assert budget.held == 8 * MIB


async def test_who_waits_is_served_in_the_order_of_coming() -> None:
    budget = ResponseBudget(4 * MIB)
    await budget.take("a", 2 * MIB)
    await budget.take("b", 2 * MIB)
    served: list[str] = []

    async def take(owner: str, amount: int) -> None:
        await budget.take(owner, amount)
        served.append(owner)

    waiting = [asyncio.create_task(take("c", 2 * MIB)), asyncio.create_task(take("d", MIB))]
    await asyncio.sleep(0)
    budget.give_back("a", MIB)
    await asyncio.sleep(0)
    assert served == []  # a smaller one does not pass a larger one by
    budget.give_back("a", MIB)
    budget.give_back("b", 2 * MIB)
    await asyncio.gather(*waiting)
    assert served == ["c", "d"]


async def test_who_leaves_the_line_holds_nothing_and_keeps_nobody_waiting() -> None:
    budget = ResponseBudget(4 * MIB)
    await budget.take("a", 2 * MIB)
    await budget.take("b", 2 * MIB)
    first, second = (asyncio.create_task(budget.take(one, 2 * MIB)) for one in "cd")
    await asyncio.sleep(0)
    budget.give_back("a", 2 * MIB)
    first.cancel()  # in the moment in which its turn came
    await asyncio.gather(first, return_exceptions=True)
    await second
    assert budget.held == 4 * MIB


async def test_waiting_ends() -> None:
    budget = ResponseBudget(2 * ANSWER_BYTES, wait=0.05)
    await budget.take("shop", ANSWER_BYTES)
    with pytest.raises(BudgetExhaustedError), budget.part("shop") as part:
        await part.grow(5 * MIB)
    budget.give_back("shop", ANSWER_BYTES)
    assert budget.held == 0


async def test_an_answer_that_grows_holds_nothing_while_it_waits() -> None:
    budget = ResponseBudget(2 * ANSWER_BYTES)
    with budget.part("shop") as first, budget.part("shop") as second:
        await first.grow(MIB)
        await second.grow(MIB)
        both = [asyncio.create_task(one.grow(ANSWER_BYTES)) for one in (first, second)]
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        assert budget.held == ANSWER_BYTES
        (first if both[0].done() else second).give_back()
        await asyncio.gather(*both)
    assert budget.held == 0


TEXTS = {
    "lists": ",".join(["[]"] * 50_000),
    "objects": ",".join(["{}"] * 50_000),
    "nested lists": ",".join(["[" * 50 + "]" * 50] * 1000),
    "nested objects": ",".join(['{"a":' * 50 + "1" + "}" * 50] * 1000),
    "one field each": ",".join(f'{{"name":"{one:x}"}}' for one in range(1000, 30_000)),
    "many keys": "{" + ",".join(f'"{one:x}":1' for one in range(50_000)) + "}",
    "owned fields": "{" + ",".join(f'"f:{one:x}":{{}}' for one in range(50_000)) + "}",
    "numbers": ",".join(f"{one}" for one in range(1000, 60_000)),
    "texts": ",".join(f'"{one:x}"' for one in range(1000, 60_000)),
    "umlauts": '"' + "ä" * 500_000 + '"',
    "a wide character": '"' + "x" * 1_000_000 + "\U0001f600" + '"',
    "an escaped one": '"' + "x" * 1_000_000 + "\\ud83d\\ude00" + '"',
    "wide ones": ",".join(['"\u20ac\u20ac' + f'{one:x}"' for one in range(50_000)]),
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_nothing_takes_more_than_it_weighs(text: str) -> None:
    content = f"[{text}]".encode()
    tracemalloc.start()
    try:
        json.loads(content)
        peak = tracemalloc.get_traced_memory()[1] + len(content)
    finally:
        tracemalloc.stop()

    assert peak <= weight_of(content) * 1.05


@pytest.mark.parametrize("size", [300 * 1024, 2 * MIB, 4 * MIB + 1, 9 * MIB, 17 * MIB])
async def test_a_part_is_no_many_times_what_it_is_for(size: int) -> None:
    budget = ResponseBudget()
    with budget.part("") as part:
        await part.grow(size)
        assert size <= budget.held < 4 * size


@pytest.mark.parametrize("before", range(65_530, 65_540))
def test_only_the_structure_outside_of_strings_is_counted(before: int) -> None:
    r"""Whatever a piece ends with: a quote, an escape, half of one."""
    fields = {"a" * before: ',[{:\\",:\\\\', "\\": [1, "[,", {'"': ","}], "b" * before: "\\"}
    content = json.dumps(fields).encode()

    # Maps and lists: 3, keys: 4, commas: 4; and the text itself.
    assert values_outside_strings(content, 10**6) == 1 + 3 + 4 + 4
