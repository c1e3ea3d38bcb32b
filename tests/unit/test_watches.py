"""What kopf reads of the API server is bounded: pages, and the lines of a watch."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from rollback_operator.adapters.kube.projections.outlines import TOO_LARGE_MARK
from rollback_operator.adapters.kube.response_budget import ANSWER_BYTES, ResponseBudget
from rollback_operator.adapters.kube.watches import HELD_SECONDS, Bounded, ReadLimits

PATH = "/apis/apps/v1/deployments"
LARGE = "x" * (ANSWER_BYTES // 3)


@asynccontextmanager
async def session(
    serve: Callable[[web.Request], Awaitable[web.StreamResponse]],
    budget: ResponseBudget | None = None,
    held: float = HELD_SECONDS,
) -> AsyncIterator[aiohttp.ClientSession]:
    app = web.Application()
    app.router.add_get(PATH, serve)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made = aiohttp.ClientSession(
        f"http://127.0.0.1:{runner.addresses[0][1]}",
        response_class=Bounded,
        middlewares=(ReadLimits(budget or ResponseBudget(), held),),
    )
    try:
        yield made
    finally:
        await made.close()
        await runner.cleanup()


def page(names: list[str], following: str = "", text: str = "") -> web.Response:
    items = [{"metadata": {"name": one}, "spec": text} for one in names]
    content = {"metadata": {"continue": following, "resourceVersion": "7"}, "items": items}
    return web.Response(body=json.dumps(content).encode(), content_type="application/json")


async def listed(made: aiohttp.ClientSession) -> list[str]:
    """List as kopf does."""
    found: list[str] = []
    query = {"limit": "500"}
    while True:
        async with await made.request("get", PATH, params=query) as answer:
            content = await answer.json()
        found += [one["metadata"]["name"] for one in content["items"]]
        assert content["metadata"]["resourceVersion"] == "7"
        if not content["metadata"]["continue"]:
            return found
        query["continue"] = content["metadata"]["continue"]


async def test_a_page_that_is_too_large_is_asked_for_in_smaller_ones() -> None:
    asked: list[int] = []
    names = [str(number) for number in range(150)]

    async def serve(request: web.Request) -> web.Response:
        limit, start = int(request.query["limit"]), int(request.query.get("continue", "0"))
        asked.append(limit)
        end = start + limit
        text = "x" * 256 * 1024
        return page(names[start:end], str(end) if end < len(names) else "", text)

    async with session(serve) as made:
        assert await listed(made) == names
        again = len(asked)
        assert await listed(made) == names

    assert asked[:3] == [500, 62, 7]
    assert set(asked[3:again]) == {7}  # what was learnt holds for the rest of the list
    assert asked[again] == 500


async def test_an_object_that_is_too_large_is_passed_on_by_name_and_the_pages_grow_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    asked: list[int] = []
    names = ["a", "huge", *(f"b{number}" for number in range(40))]

    async def serve(request: web.Request) -> web.Response:
        start, limit = int(request.query.get("continue", "0")), int(request.query["limit"])
        asked.append(limit)
        end = start + limit
        shown = names[start:end]
        return page(shown, str(end) if end < len(names) else "", LARGE if "huge" in shown else "")

    with caplog.at_level(logging.WARNING):
        async with session(serve) as made:
            assert await listed(made) == names

    assert f"{PATH}: left out, too large: huge" in caplog.text
    assert len(asked) < 15


async def test_a_refusal_is_given_on() -> None:
    async def serve(_: web.Request) -> web.Response:
        return web.json_response({"kind": "Status", "code": 403}, status=403)

    async with session(serve) as made:
        for query in ({"limit": "500"}, {"watch": "true"}):
            async with await made.request("get", PATH, params=query) as answer:
                assert answer.status == 403
                assert (await answer.json())["code"] == 403


HUGE = {"namespace": "shop", "name": "huge", "uid": "u", "resourceVersion": "8"}
DENSE = {str(number): "" for number in range(90_000)}


async def test_a_line_of_a_watch_that_is_too_large_is_passed_on_without_the_content() -> None:
    """What is known is not what it was, or is gone: nobody may go on with it."""
    large = [
        {"type": "DELETED", "object": {"kind": "X", "metadata": HUGE, "spec": LARGE}},
        # In the order of a custom resource: the name is behind the labels.
        {
            "type": "MODIFIED",
            "object": {"metadata": {"labels": DENSE, **HUGE}, "spec": [{}] * 90_000},
        },
    ]

    async def serve(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        texts = ['{"a": 1}', *map(json.dumps, large), '"' + LARGE + '"', '{"c": 3}', '"' + LARGE]
        for text in texts:
            await answer.write(text.encode() + b"\n")
        await answer.write(b'{"d"')
        await answer.write(b": 4}")  # without an end of the line
        return answer

    async with (
        session(serve) as made,
        await made.request("get", PATH, params={"watch": "true"}) as answer,
    ):
        lines = [json.loads(line) async for line in answer.content.iter_chunked(1024 * 1024)]

    passed = [(line["type"], line["object"]) for line in lines if "type" in line]
    assert passed == [
        ("DELETED", {"kind": "X", "metadata": HUGE, TOO_LARGE_MARK: True}),
        ("MODIFIED", {"metadata": HUGE, TOO_LARGE_MARK: True}),
    ]
    assert [line for line in lines if "type" not in line] == [{"a": 1}, {"c": 3}, {"d": 4}]


async def test_what_kopf_has_read_holds_its_part_for_a_while() -> None:
    budget = ResponseBudget()

    async def serve(request: web.Request) -> web.StreamResponse:
        if "limit" in request.query:
            return page(["a"], text="x" * 1_000_000)
        return web.Response(text='"' + "x" * 1_000_000 + '"\n')

    async with session(serve, budget, held=60.0) as made:
        assert await listed(made) == ["a"]
        of_a_page = budget.held
        async with await made.request("get", PATH, params={"watch": "true"}) as answer:
            with_a_line = [budget.held async for _ in answer.content.iter_chunked(9)]

    assert of_a_page >= 3_000_000
    assert len(with_a_line) == 1
    assert with_a_line[0] >= of_a_page + 3_000_000
