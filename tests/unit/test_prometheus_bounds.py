"""Whatever a Prometheus answers: so much memory and no more, a value and no exception."""

import asyncio
import gzip
import json
import threading
import tracemalloc
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from time import monotonic
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollback_operator.adapters.fairness.holdings import BudgetExhaustedError
from rollback_operator.adapters.prometheus import PrometheusMetrics
from rollback_operator.adapters.prometheus.budget import (
    FREE_ANSWER_BYTES,
    MIB,
    AnswerBudget,
)
from rollback_operator.adapters.prometheus.decoding import decoded
from rollback_operator.adapters.prometheus.transport import Limits
from rollback_operator.api.reasons import Reason
from rollback_operator.api.user_text.json_text import parsed, whole
from rollback_operator.model.samples import Counters, Missing
from tests.builders import T0
from tests.loop_time import watched
from tests.provider import ANYWHERE, Answer, Provider, running
from tests.sizes import examples
from tests.unit.test_prometheus import query

GZIP = (("Content-Encoding", "gzip"),)


@pytest.fixture
def provider() -> Iterator[Provider]:
    with running() as found:
        yield found


async def read(provider: Provider, answer: Answer, limits: Limits | None = None) -> Any:
    provider.answer = lambda _: answer
    metrics = PrometheusMetrics(ANYWHERE, limits or Limits())
    found = await metrics.read(query(provider), 60)
    metrics.close()
    return found


def matrix(count: int, samples: int) -> bytes:
    values = ",".join(f'[{T0 + 15 * n},"{n}"]' for n in range(samples))
    series = (
        f'{{"metric":{{"pod":"p","route":"/{n}"}},"values":[{values}]}}' for n in range(count)
    )
    head = '{"status":"success","data":{"resultType":"matrix","result":['
    return (head + ",".join(series) + "]}}").encode()


BOMB = zlib.compressobj(9, wbits=31)
PACKED = b"".join([BOMB.compress(bytes(MIB)) for _ in range(64)]) + BOMB.flush()
"""64 KiB that unpack to 64 MiB."""
HEAD = b'{"status":"success","data":{"resultType":"matrix","result":['


@pytest.mark.parametrize(
    "answer",
    [
        Answer(PACKED, headers=GZIP),
        Answer(gzip.compress(HEAD + b"[]," * 5_000_000 + b"[]]}}"), headers=GZIP),
        Answer(HEAD + b"[]," * 2_000_000 + b"[]]}}"),
        Answer(HEAD + b"0," * 5_000_000 + b"0]}}"),
        Answer(HEAD + b'{"":{},"a":""},' * 600_000 + b"{}]}}"),
    ],
    ids=["zeros", "lists, packed", "lists", "numbers", "objects"],
)
async def test_a_small_answer_does_not_become_a_large_one(
    provider: Provider, answer: Answer
) -> None:
    """56 KiB of gzip became 1,372 MiB."""
    tracemalloc.start()
    found = await read(provider, answer)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert isinstance(found, Missing)
    assert found.reason is Reason.ANSWER_TOO_LARGE
    assert peak < 96 * MIB


async def test_an_answer_that_is_packed_is_read(provider: Provider) -> None:
    found = await read(provider, Answer(gzip.compress(matrix(3, 4)), headers=GZIP))
    assert isinstance(found, Counters)
    assert len(found.requests) == 3


@pytest.mark.parametrize(
    ("body", "encoding"), [(b"{}", "br"), (b"no gzip", "gzip"), (b"", "x" * 9000)]
)
async def test_an_answer_that_cannot_be_unpacked_is_named(
    provider: Provider, body: bytes, encoding: str
) -> None:
    found = await read(provider, Answer(body, headers=(("Content-Encoding", encoding),)))
    assert isinstance(found, Missing)
    assert found.reason in (Reason.ANSWER_MALFORMED, Reason.PROVIDER_UNREACHABLE)
    assert len(found.message) < 600


async def test_a_large_answer_holds_up_nobody(provider: Provider) -> None:
    with watched() as found:
        answer = await read(provider, Answer(matrix(1000, 100)))
    assert isinstance(answer, Counters)
    assert found.longest.seconds < found.allowed, found.slowest


async def test_too_many_samples_are_counted_before_they_are_made(provider: Provider) -> None:
    found = await read(provider, Answer(matrix(10, 100)), Limits(most_values=2000))
    assert isinstance(found, Missing)
    assert found.reason is Reason.ANSWER_TOO_LARGE
    assert "666 samples" in found.message


BROKEN = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.just(10**400),
    st.lists(st.integers(), max_size=3),
    st.dictionaries(st.sampled_from(["metric", "values", "value", "histogram", "le"]), st.none()),
)
PLACES: list[Any] = [
    ["data"],
    ["data", "result"],
    ["data", "resultType"],
    ["data", "result", 0],
    ["data", "result", 0, "metric"],
    ["data", "result", 0, "metric", "pod"],
    ["data", "result", 0, "values"],
    ["data", "result", 0, "values", 0],
    ["data", "result", 0, "values", 0, 0],
    ["data", "result", 0, "values", 0, 1],
    ["data", "result", 0, "histograms"],
    ["warnings"],
    ["status"],
]


@pytest.fixture(scope="module")
def kept() -> Iterator[Provider]:
    with running() as found:
        yield found


@settings(max_examples=examples(150), deadline=None)
@given(place=st.sampled_from(PLACES), value=BROKEN)
def test_a_wrong_type_at_any_place_is_bad_data(kept: Provider, place: Any, value: Any) -> None:
    body = json.loads(matrix(2, 3))
    inner = body
    for part in place[:-1]:
        inner = inner[part]
    inner[place[-1]] = value
    found = asyncio.run(read(kept, Answer(json.dumps(body).encode())))
    assert isinstance(found, Counters | Missing)


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b'{"data":{"result":' + b"[" * 100_000 + b"]" * 100_000 + b"}}",
        b'{"data":{"result":[' + b'{"a":' * 50_000 + b"1" + b"}" * 50_000 + b"]}}",
        HEAD + b"9" * 5000 + b"]}}",
        HEAD + b'{"metric":{},"values":[[' + b"9" * 5000 + b',"1"]]}]}}',
        HEAD + b'{"metric":{},"values":[[1800000000,"' + b"9" * 5000 + b'"]]}]}}',
        HEAD + b'{"metric":{},"values":[[1e999,"1"]]}]}}',
        HEAD + b'{"metric":{},"values":[[NaN,"NaN"]]}]}}',
        HEAD + b'{"metric":{"a":"1","a":"2"},"values":[[1800000000,"1"]]}]}}',
        HEAD + b'{"metric":{"a":"\xff\xfe"},"values":[[1800000000,"1"]]}]}}',
        HEAD + b'{"metric":{"a":"\\ud800"},"values":[[1800000000,"1"]]}]}}',
        HEAD,
        HEAD + b"{}",
        HEAD + b"{} {}]}}",
        HEAD + b"{},]}}",
        b"\xef\xbb\xbf{}",
        b"\x00",
        b'{"data":{"result":[]},"data":[]}',
    ],
)
async def test_json_of_any_kind_is_bad_data(provider: Provider, body: bytes) -> None:
    assert isinstance(await read(provider, Answer(body)), Counters | Missing)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.just("result"), inner),
    max_leaves=12,
)


@given(JSON, st.sampled_from([None, 1]), st.lists(JSON, max_size=3))
def test_it_is_parsed_as_json_is(around: Any, indent: int | None, result: list[Any]) -> None:
    for value in (around, {"data": {"result": result, "x": around}, "result": around}):
        separators = (",", ":") if indent is None else None
        text = json.dumps(value, indent=indent, separators=separators).encode()
        assert decoded(text) == json.loads(text)


@given(st.binary(max_size=60))
def test_what_is_no_json_is_refused(body: bytes) -> None:
    for text in (body, HEAD + body):
        try:
            expected = json.loads(text.decode())
        except ValueError:
            with pytest.raises(ValueError):  # noqa: PT011 (of any kind)
                decoded(text)
        else:
            assert repr(decoded(text)) == repr(expected)


def test_the_budget_is_shared_in_the_order_of_coming() -> None:
    budget, until = AnswerBudget(8 * MIB), monotonic() + 60
    order: list[str] = []

    def wait(name: str, owner: str, size: int) -> None:
        with budget.part(owner, until) as part:
            part.grow(size)
            order.append(name)

    with budget.part("a", until) as first, budget.part("b", until) as second:
        first.grow(4 * MIB + FREE_ANSWER_BYTES)
        second.grow(2 * MIB + FREE_ANSWER_BYTES)
        threads = []
        for name, owner, size in [
            ("of a, who has its half", "a", 2 * MIB),
            ("large", "c", 2 * MIB),
            ("small, later", "b", MIB + FREE_ANSWER_BYTES),
        ]:
            thread = threading.Thread(target=wait, args=(name, owner, size))
            thread.start()
            threads.append(thread)
            while len(budget._line) < len(threads):
                pass
        assert not order
        second.give_back()
        for thread in threads[1:]:
            thread.join(30)
        assert order == ["large", "small, later"]
    for thread in threads:
        thread.join(30)
    assert order[-1] == "of a, who has its half"
    assert budget.held == 0


def test_who_holds_nothing_gets_memory_whatever_others_hold_and_never_give_back() -> None:
    """Answers that trickle, of several namespaces of one tenant."""
    budget = AnswerBudget(64 * MIB)
    with ExitStack() as held:
        for owner in ("a", "b", "c"):
            part = held.enter_context(budget.part(owner, monotonic()))
            with suppress(BudgetExhaustedError):
                for size in range(1, 100):
                    part.grow(size * MIB)
        assert budget.held > 48 * MIB
        with budget.part("victim", monotonic()) as part:
            part.grow(4 * MIB)
    assert budget.held == 0


def test_who_gets_no_part_in_time_is_told() -> None:
    budget = AnswerBudget(8 * MIB)
    with budget.part("a", monotonic()) as first, budget.part("a", monotonic()) as second:
        first.grow(4 * MIB)
        second.grow(FREE_ANSWER_BYTES)
        with pytest.raises(BudgetExhaustedError):
            second.grow(2 * MIB)
        assert not budget._line
    assert budget.held == 0


async def test_without_memory_an_answer_is_missing_and_the_next_is_read(provider: Provider) -> None:
    answer = Answer(matrix(200, 100))
    provider.answer = lambda _: answer
    metrics = PrometheusMetrics(ANYWHERE, Limits(connect_seconds=0.1, read_seconds=1))
    budget = metrics._session._budget
    budget.most = MIB
    found = await metrics.read(query(provider), 60)
    assert isinstance(found, Missing)
    assert found.reason is Reason.ANSWER_TOO_LARGE
    assert "memory budget" in found.message
    budget.most = 64 * MIB
    assert isinstance(await metrics.read(query(provider), 60), Counters)
    assert budget.held == 0
    metrics.close()


@pytest.mark.parametrize("text", ["", "-1", "1.0", "9" * 5000, "²", "٣", "11", "x"])
def test_a_whole_number_is_one_of_ascii_digits(text: str) -> None:
    assert whole(text, 10) is None


@pytest.mark.parametrize(("text", "number"), [("0", 0), ("007", 7), ("10", 10)])
def test_whole_numbers(text: str, number: int) -> None:
    assert whole(text, 10) == number


@pytest.mark.parametrize("text", ["[" * 200_000, "9" * 5000, "{", b"\xff"])
def test_json_that_cannot_be_read_is_a_value_error(text: str | bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 (of any kind)
        parsed(text)
