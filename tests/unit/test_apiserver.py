"""What the API server's refusals mean: its own answers, as a 1.34 server gave them."""

import asyncio
import json
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from math import inf
from typing import Any

import pytest
from aiohttp import web
from kubernetes.aio import client

from rollback_operator.adapters.kube.apiserver import (
    LIST_BYTES,
    ApiServer,
    Listing,
    TooLarge,
)
from rollback_operator.adapters.kube.paths import ApiPath
from rollback_operator.adapters.kube.refusals import failure_of
from rollback_operator.adapters.kube.response_budget import ANSWER_BYTES
from rollback_operator.cli.plugin.connection import ApiCluster
from rollback_operator.ports.failure import Failure, FailureKind

PATH = "/apis/apps/v1/namespaces/production/deployments/shop"


def answer(reason: str, message: str, **details: Any) -> str:
    status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
    return json.dumps({**status, "message": message, "reason": reason, "details": details})


GENERIC = "the server rejected our request due to an error in our request"
ROWS = {
    "a test of a JSON patch failed": (
        "PATCH",
        422,
        answer("Invalid", GENERIC),
        FailureKind.CONFLICT,
    ),
    "the object would be invalid": (
        "PATCH",
        422,
        answer("Invalid", "spec.replicas: Invalid value: -1", causes=[{"field": "spec.replicas"}]),
        FailureKind.REJECTED,
    ),
    "a new object is invalid": ("POST", 422, answer("Invalid", GENERIC), FailureKind.REJECTED),
    "somebody was faster": ("PUT", 409, answer("Conflict", "modified"), FailureKind.CONFLICT),
    "it is there": ("POST", 409, answer("AlreadyExists", "exists"), FailureKind.EXISTS),
    "it is gone": ("GET", 404, answer("NotFound", "not found"), FailureKind.GONE),
    "no right": ("PATCH", 403, answer("Forbidden", "forbidden"), FailureKind.REJECTED),
    "token expired": ("GET", 401, answer("Unauthorized", "no"), FailureKind.UNAVAILABLE),
    "too many requests": ("GET", 429, "slow down", FailureKind.UNAVAILABLE),
    "a proxy's page": ("PATCH", 503, "<html>", FailureKind.UNAVAILABLE),
    "an answer that is no object": ("PATCH", 422, "[]", FailureKind.REJECTED),
}


@pytest.mark.parametrize(("method", "status", "content", "kind"), ROWS.values(), ids=ROWS)
def test_failure_of(method: str, status: int, content: str, kind: FailureKind) -> None:
    assert failure_of(f"{method} {PATH}", status, content, None).kind is kind


@asynccontextmanager
async def answered_by(
    serve: Callable[[web.Request], Awaitable[web.Response]], counted: list[str]
) -> AsyncIterator[ApiServer]:
    """Be a client of a server that answers like this; what it counts is added to the list."""
    app = web.Application()
    app.router.add_get("/{path:.*}", serve)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    configuration = client.Configuration(host=f"http://127.0.0.1:{runner.addresses[0][1]}")
    api = ApiServer(client.ApiClient(configuration), lambda *call: counted.append(" ".join(call)))
    try:
        yield api
    finally:
        await api.close()
        await runner.cleanup()


async def test_a_log_is_read_as_it_is_and_a_refusal_of_it_is_a_failure() -> None:
    asked: list[tuple[str, str]] = []
    counted: list[str] = []

    async def serve(request: web.Request) -> web.Response:
        asked.append((request.path_qs, request.headers["Accept"]))
        if request.path.endswith("/secret/log"):
            return web.Response(status=403, text=answer("Forbidden", "forbidden"))
        return web.Response(body=b"ERROR \xff\nINFO\n", content_type="text/plain")

    async with answered_by(serve, counted) as api:
        read = await api.get_text("/api/v1/namespaces/shop/pods/a/log", limitBytes="9")
        refused = await api.get_text("/api/v1/namespaces/shop/pods/secret/log")

    assert read == b"ERROR \xff\nINFO\n"
    assert isinstance(refused, Failure)
    assert refused.kind is FailureKind.REJECTED
    assert asked[0][0] == "/api/v1/namespaces/shop/pods/a/log?limitBytes=9"
    # A refusal is a Status object; a server that may answer in no other way would refuse the log.
    assert asked[0][1] == "application/json, */*;q=0.5"
    assert counted == ["GET OK", "GET Rejected"]


def page(*uids: str, following: str = "") -> str:
    items = [{"metadata": {"uid": uid, "managedFields": [{"manager": "all"}]}} for uid in uids]
    return json.dumps({"metadata": {"continue": following}, "items": items})


async def test_metadata_is_listed_page_by_page() -> None:
    pages = {"": page("a", "b", following="2"), "2": page("c")}

    async def serve(request: web.Request) -> web.Response:
        assert request.query["limit"] == "500"
        assert "as=PartialObjectMetadataList" in request.headers["Accept"]
        return web.Response(text=pages[request.query.get("continue", "")])

    async with answered_by(serve, []) as api:
        listed = await api.list_metadata(PATH)

    assert listed == [{"uid": "a"}, {"uid": "b"}, {"uid": "c"}]


async def test_a_list_without_objects_is_empty() -> None:
    async def serve(_: web.Request) -> web.Response:
        return web.Response(text='{"metadata": {"resourceVersion": "3"}, "items": null}')

    async with answered_by(serve, []) as api:
        assert await api.list_metadata(PATH) == []


async def test_a_page_that_is_too_large_is_asked_for_again_with_fewer_objects() -> None:
    """A hundred objects with annotations of 256 KiB each take more than an answer may."""
    asked: list[tuple[int, str]] = []
    names = [str(number) for number in range(150)]

    async def serve(request: web.Request) -> web.Response:
        limit, start = int(request.query["limit"]), int(request.query.get("continue", "0"))
        asked.append((limit, request.query.get("continue", "")))
        items = names[start : start + limit]
        padding = " " * (len(items) * 256 * 1024)
        following = str(start + limit) if start + limit < len(names) else ""
        return web.Response(text=page(*items, following=following) + padding)

    async with answered_by(serve, []) as api:
        listed = await api.list_metadata(PATH)

    assert listed == [{"uid": one} for one in names]
    assert asked[:2] == [(500, ""), (62, "")]


async def test_one_object_that_is_too_large_is_a_failure() -> None:
    async def serve(_: web.Request) -> web.Response:
        return web.Response(text=page("a") + " " * (ANSWER_BYTES // 3 + 1))

    async with answered_by(serve, []) as api:
        listed = await api.list_metadata(PATH)

    assert isinstance(listed, Failure)
    assert "takes more than 24 MiB of memory" in listed.message


async def test_an_object_that_is_too_large_is_listed_by_its_metadata_alone() -> None:
    """No tenant's object keeps the operator from listing those of the others."""
    names, asked = ["a", "huge", *(f"b{number}" for number in range(40))], []
    dense = '"annotations":{' + '"a":"",' * 135_000 + '"b":""},'

    def item(name: str) -> str:
        identity = {"name": name, "namespace": "shop", "resourceVersion": "7", "uid": name}
        annotations = dense if name == "huge" else ""
        return '{"metadata":{' + annotations + json.dumps(identity, separators=(",", ":"))[1:] + "}"

    async def serve(request: web.Request) -> web.Response:
        start, limit = int(request.query.get("continue", "0")), int(request.query["limit"])
        asked.append(limit)
        end = start + limit
        metadata = {"continue": str(end) if end < len(names) else "", "resourceVersion": "9"}
        items = ",".join(map(item, names[start:end]))
        text = json.dumps(metadata, separators=(",", ":"))
        return web.Response(text='{"items":[' + items + '],"metadata":' + text + "}")

    async with answered_by(serve, []) as api:
        listed = await api.list_metadata(PATH)
        left_out: list[str] = []
        counted = await api.list_of(
            Listing(
                ApiPath(PATH),
                lambda one: str(one["metadata"]["name"]),
                left_out=lambda outline: left_out.append(outline.name) or "",
            )
        )

    assert not isinstance(listed, Failure)
    assert [one["name"] for one in listed] == names
    assert set(listed[1]) == {"name", "namespace", "uid", "resourceVersion"}
    assert counted == ["a", "", *names[2:]]
    assert left_out == ["shop/huge"]
    assert len(asked) < 30  # and the pages grow again


async def test_commas_in_an_annotation_are_no_values() -> None:
    note = "\U0001f600" + "," * 255_000
    metadata = {"uid": "a", "annotations": {"note": note}}
    text = json.dumps({"metadata": {}, "items": [{"metadata": metadata}]}, ensure_ascii=False)

    async def serve(_: web.Request) -> web.Response:
        return web.Response(text=text)

    async with answered_by(serve, []) as api:
        assert await api.list_metadata(PATH) == [{"uid": "a"}]


DENSE = {
    "a page of small values": "[" + ",".join(["[]"] * 150_000) + "]",
    "a page of one wide character": '"' + "x" * 3_000_000 + "\U0001f600" + '"',
    "deeply nested": '{"f:a":' * 130_000 + "1" + "}" * 130_000,
}


@pytest.mark.parametrize("value", DENSE.values(), ids=DENSE)
async def test_what_becomes_large_is_counted_before_it_is_made(value: str) -> None:
    """Less than 3 MB of text: parsed it would take ten times that, of any number at once."""
    body = f'{{"metadata": {{}}, "items": [{{"metadata": {{"uid": "a"}}, "spec": {value}}}]}}'
    content = body.encode()

    async def serve(_: web.Request) -> web.Response:
        return web.Response(body=content, content_type="application/json")

    tracemalloc.start()
    try:
        async with answered_by(serve, []) as api:
            listed = await api.list_of(Listing(ApiPath(PATH), lambda one: one))
            read = await api.get(ApiPath(PATH))
            assert api.response_budget.held == 0
        assert tracemalloc.get_traced_memory()[1] < ANSWER_BYTES
    finally:
        tracemalloc.stop()

    assert isinstance(listed, TooLarge)
    assert isinstance(read, TooLarge)


async def test_objects_that_are_kept_are_bounded_together() -> None:
    """Each page is small enough; whoever keeps what is in all of them is not."""
    item = '{"metadata": {"uid": "a"}, "spec": "' + "x" * 1_000_000 + '"}'
    pages = 0

    async def serve(_: web.Request) -> web.Response:
        nonlocal pages
        pages += 1
        following = "next" if pages < 40 else ""
        return web.Response(
            text='{"metadata": {"continue": "' + following + '"}, "items": [' + item + "]}"
        )

    async with answered_by(serve, []) as api:
        kept = await api.list_of(Listing(ApiPath(PATH), lambda one: one))
        until = pages
        pages = 0
        small = await api.list_of(Listing(ApiPath(PATH), lambda one: 1, free=inf))

    assert isinstance(kept, TooLarge)
    assert until < LIST_BYTES // 3_000_000 + 3
    assert small == [1] * 40


async def test_lists_that_are_being_read_keep_no_more_together_than_the_budget() -> None:
    item = '{"metadata": {"uid": "a"}, "spec": "' + "x" * 1_000_000 + '"}'

    async def serve(request: web.Request) -> web.Response:
        number = int(request.query.get("continue", "0")) + 1
        following = str(number) if number < 6 else ""
        return web.Response(
            text='{"metadata": {"continue": "' + following + '"}, "items": [' + item + "]}"
        )

    async with answered_by(serve, []) as api:
        listing = Listing(ApiPath(PATH), lambda one: one)
        alone = await api.list_of(listing)
        found = await asyncio.gather(*(api.list_of(listing) for _ in range(8)))
        again = await api.list_of(listing)

    assert not isinstance(alone, Failure)
    assert len(alone) == 6
    assert again == alone
    refused = [one for one in found if isinstance(one, Failure)]
    assert refused
    assert all(isinstance(one, TooLarge) for one in refused)
    assert "concurrent lists" in refused[0].message


async def test_answers_in_flight_share_one_budget() -> None:
    """However many are asked for at once, no more are read than the budget allows."""
    item = '{"metadata": {"uid": "a"}, "spec": "' + "x" * 4_000_000 + '"}'
    most = 0

    async def serve(_: web.Request) -> web.Response:
        return web.Response(text='{"metadata": {}, "items": [' + item + "]}")

    async with answered_by(serve, []) as api:

        def seen(_: object) -> int:
            nonlocal most
            most = max(most, api.response_budget.held)
            return 1

        paths = [
            ApiPath(f"/api/v1/namespaces/{namespace}/pods")
            for namespace in ("shop", "bank", "cinema")
            for _ in range(6)
        ]
        found = await asyncio.gather(*(api.list_of(Listing(one, seen, free=inf)) for one in paths))
        assert api.response_budget.held == 0

    assert found == [[1]] * 18
    assert 0 < most <= api.response_budget.most


EXPIRED = answer("Expired", "The provided continue parameter is too old")
NO_LISTS = {
    "a later page is gone": ({"": page("a", following="2"), "2": EXPIRED}, "too old"),
    "no list": ({"": answer("", "hello")}, "the answer is no list"),
}


@pytest.mark.parametrize(("pages", "said"), NO_LISTS.values(), ids=NO_LISTS)
async def test_half_a_list_is_none(pages: dict[str, str], said: str) -> None:
    async def serve(request: web.Request) -> web.Response:
        text = pages[request.query.get("continue", "")]
        return web.Response(status=410 if text == EXPIRED else 200, text=text)

    async with answered_by(serve, []) as api:
        listed = await api.list_metadata(PATH)

    assert isinstance(listed, Failure)
    assert said in listed.message


def test_the_server_says_when_to_try_again() -> None:
    assert failure_of(f"GET {PATH}", 429, "", 7.0).wait == 7


@pytest.mark.parametrize(
    "content", ["<html>", "", "[]", "null", "[" * 100_000], ids=["html", "", "list", "null", "deep"]
)
async def test_an_answer_that_is_no_object_is_a_failure(content: str) -> None:
    async def serve(_: web.Request) -> web.Response:
        return web.Response(text=content)

    async with answered_by(serve, []) as api:
        found = await api.get(PATH)

    assert isinstance(found, Failure)
    assert found.kind is FailureKind.UNAVAILABLE


async def test_what_is_no_list_is_not_taken_for_an_empty_one() -> None:
    answers = iter(['{"status": "ok"}', '{"kind": "RollbackPolicyList", "items": null}'])

    async def serve(_: web.Request) -> web.Response:
        return web.Response(text=next(answers))

    async with answered_by(serve, []) as api:
        cluster = ApiCluster(api)
        none, empty = [await cluster.list("rollbackpolicies", "shop") for _ in range(2)]

    assert isinstance(none, Failure)
    assert none.kind is FailureKind.UNAVAILABLE
    assert empty == []
