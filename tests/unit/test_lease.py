"""Leader election against a Lease in memory: who holds it, and from when nobody may act."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from rollback_operator.adapters.kube.apiserver import ApiServer
from rollback_operator.adapters.kube.lease import Elector, LeaseName
from rollback_operator.model import stop
from rollback_operator.ports.failure import Failure, FailureKind
from tests.builders import at
from tests.fakes.failures import CONFLICT, OUTAGE, REFUSAL, Failures

SECONDS = 0.3


@dataclass
class LeaseServer(Failures):
    """The API server as far as an elector knows it: one Lease, guarded by its version."""

    lease: dict[str, Any] | None = None
    is_hanging: bool = False
    calls: list[str] = field(default_factory=list)
    version: int = 0

    async def get(self, path: str) -> dict[str, Any] | Failure:
        return await self._called("get") or self.lease or Failure(FailureKind.GONE, "not found")

    async def create(self, path: str, body: dict[str, Any]) -> dict[str, Any] | Failure:
        failure = await self._called("create")
        if failure is None and self.lease is not None:
            failure = Failure(FailureKind.EXISTS, "already exists")
        return failure or self.store(body)

    async def update(self, path: str, body: dict[str, Any]) -> dict[str, Any] | Failure:
        failure = await self._called("update")
        if body["metadata"]["resourceVersion"] != str(self.version):
            failure = CONFLICT
        return failure or self.store(body)

    def store(self, body: dict[str, Any]) -> dict[str, Any]:
        self.version += 1
        metadata = {**body["metadata"], "resourceVersion": str(self.version)}
        self.lease = {**body, "metadata": metadata}
        return self.lease

    def give_to(self, holder: str, seconds: int = 1) -> None:
        spec = {"holderIdentity": holder, "leaseDurationSeconds": seconds, "leaseTransitions": 4}
        self.store({"metadata": {"name": "lease"}, "spec": spec})

    @property
    def spec(self) -> dict[str, Any]:
        assert self.lease is not None
        return cast("dict[str, Any]", self.lease["spec"])

    async def _called(self, name: str) -> Failure | None:
        self.calls.append(name)
        if self.is_hanging:
            await asyncio.Event().wait()
        return self.take(name)


@dataclass
class Time:
    """A monotonic clock that stands still until it is put forward."""

    ahead: float = 0.0
    wall: float = 0.0
    """By how much the wall clock is ahead."""

    def __call__(self) -> float:
        return 1000.0 + self.ahead


@pytest.fixture
def server() -> LeaseServer:
    return LeaseServer()


def elector(
    server: LeaseServer, identity: str = "one", time: Time | None = None, seconds: float = SECONDS
) -> Elector:
    lease, time = LeaseName("operators", "lease", identity, seconds), time or Time()
    return Elector(cast("ApiServer", server), lease, at, time, lambda: at(time.wall))


@asynccontextmanager
async def running(*electors: Elector) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(one.run()) for one in electors]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 (what is waited for has no event of its own)
            await asyncio.sleep(0.005)


async def test_a_lease_that_is_not_there_is_made_and_held(server: LeaseServer) -> None:
    one = elector(server)
    assert not one.is_leading()

    async with running(one):
        await asyncio.wait_for(one.leading.wait(), 10)
        assert one.is_leading()
        await eventually(lambda: server.calls.count("update") >= 2)

    assert server.spec["holderIdentity"] == "one"
    assert server.spec["leaseDurationSeconds"] == 1


async def test_times_have_the_six_digits_that_micro_time_needs(server: LeaseServer) -> None:
    one = elector(server)
    async with running(one):
        await asyncio.wait_for(one.leading.wait(), 10)

    for name in ("acquireTime", "renewTime"):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", server.spec[name])


async def test_a_held_lease_is_taken_by_force_and_its_holder_stops(server: LeaseServer) -> None:
    one, two = elector(server), elector(server, "two", seconds=60)
    async with running(one):
        await asyncio.wait_for(one.leading.wait(), 10)

        waits = await two.take()
        if isinstance(waits, Failure):  # a renewal came in between
            waits = await two.take()

        await asyncio.wait_for(one.lost.wait(), 10)
    assert waits == pytest.approx(2 / 3)
    assert not one.is_leading()
    assert (server.spec["holderIdentity"], server.spec["leaseDurationSeconds"]) == ("two", 60)


async def test_nobody_is_waited_for_who_does_not_hold_it(server: LeaseServer) -> None:
    assert await elector(server).take() == 0.0
    assert server.spec["holderIdentity"] == "one"
    server.give_to("")
    assert await elector(server).take() == 0.0


@pytest.mark.parametrize("call", ["get", "create", "update"])
async def test_a_lease_that_cannot_be_taken_is_told(server: LeaseServer, call: str) -> None:
    if call == "update":
        server.give_to("another")
    server.fail_next(call, REFUSAL)

    assert await elector(server).take() == REFUSAL


async def test_a_free_lease_is_taken_and_the_change_is_counted(server: LeaseServer) -> None:
    server.give_to("")
    one = elector(server)

    async with running(one):
        await asyncio.wait_for(one.leading.wait(), 10)

    assert (server.spec["holderIdentity"], server.spec["leaseTransitions"]) == ("one", 5)


async def test_renewing_is_no_change_of_the_holder(server: LeaseServer) -> None:
    one = elector(server)
    async with running(one):
        await eventually(lambda: server.calls.count("update") >= 2)

    assert server.spec["leaseTransitions"] == 1


async def test_a_held_lease_keeps_a_standby_waiting(server: LeaseServer) -> None:
    one, two = elector(server, "one"), elector(server, "two")
    async with running(one):
        await asyncio.wait_for(one.leading.wait(), 10)
        async with running(two):
            await eventually(lambda: server.calls.count("update") >= 6)
            assert one.is_leading()
            assert not two.leading.is_set()
            assert not two.lost.is_set()


async def test_a_standby_takes_over_by_its_own_clock(server: LeaseServer) -> None:
    # Its times say that it ended long ago; a standby trusts only what it has seen itself.
    server.give_to("dead", seconds=600)
    server.spec["renewTime"] = "2001-01-01T00:00:00.000000Z"
    time = Time()
    two = elector(server, "two", time)

    async with running(two):
        await eventually(lambda: server.calls.count("get") >= 3)
        assert not two.leading.is_set()
        time.ahead = 599.0
        seen = server.calls.count("get")
        await eventually(lambda: server.calls.count("get") >= seen + 2)
        assert not two.leading.is_set()
        time.ahead = 601.0
        await asyncio.wait_for(two.leading.wait(), 10)

    assert server.spec["holderIdentity"] == "two"


async def test_a_renewal_begins_the_standby_s_waiting_anew(server: LeaseServer) -> None:
    server.give_to("one", seconds=600)
    time = Time()
    two = elector(server, "two", time)

    async with running(two):
        await eventually(lambda: server.calls.count("get") >= 2)
        server.give_to("one", seconds=600)
        time.ahead = 601.0
        seen = server.calls.count("get")
        await eventually(lambda: server.calls.count("get") >= seen + 3)

        assert not two.leading.is_set()


async def test_a_conflict_is_not_a_loss(server: LeaseServer) -> None:
    one = elector(server)
    async with running(one):
        await asyncio.wait_for(one.leading.wait(), 10)
        server.fail_next("update", CONFLICT)
        renewed = server.version
        await eventually(lambda: server.version > renewed)

        assert one.is_leading()
        assert not one.lost.is_set()


async def test_an_outage_shorter_than_the_lease_is_not_a_loss(server: LeaseServer) -> None:
    one = elector(server)
    async with running(one):
        await asyncio.wait_for(one.leading.wait(), 10)
        server.fail_next("get", OUTAGE)
        renewed = server.version
        await eventually(lambda: server.version > renewed)

        assert one.is_leading()
        assert not one.lost.is_set()


@pytest.mark.parametrize("failure", [OUTAGE, REFUSAL], ids=lambda one: one.kind)
async def test_a_deleted_lease_that_cannot_be_made_anew_at_once_is_not_a_loss(
    server: LeaseServer, failure: Failure
) -> None:
    one = elector(server)
    async with running(one):
        await asyncio.wait_for(one.leading.wait(), 10)
        server.lease = None
        server.fail_next("create", failure)
        await eventually(lambda: server.lease is not None)

        assert one.is_leading()
        assert not one.lost.is_set()


async def test_a_lease_that_another_holds_is_lost_at_once(server: LeaseServer) -> None:
    one = elector(server)
    async with running(one):
        await asyncio.wait_for(one.leading.wait(), 10)
        server.give_to("two", seconds=600)
        await asyncio.wait_for(one.lost.wait(), 10)

    assert not one.is_leading()
    assert server.spec["holderIdentity"] == "two"


async def test_a_holder_that_cannot_renew_stops_before_another_may_begin(
    server: LeaseServer,
) -> None:
    time = Time()
    one = elector(server, time=time)
    async with running(one):
        await asyncio.wait_for(one.leading.wait(), 10)
        server.is_hanging = True
        tried = len(server.calls)
        await eventually(lambda: len(server.calls) >= tried + 3)
        assert one.is_leading()
        time.ahead += SECONDS * 2 / 3
        assert not one.is_leading()
        await asyncio.wait_for(one.lost.wait(), 10)

    assert server.spec["leaseDurationSeconds"] > SECONDS * 2 / 3


async def test_after_a_long_sleep_nobody_believes_to_lead(server: LeaseServer) -> None:
    time = Time()
    one = elector(server, time=time, seconds=30)
    async with running(one):
        await asyncio.wait_for(one.leading.wait(), 10)
        assert one.is_leading()
        time.ahead = 21.0

        assert one.leading.is_set()
        assert not one.is_leading()


async def test_a_paused_virtual_machine_stops_the_monotonic_clock_alone(
    server: LeaseServer,
) -> None:
    time = Time()
    one = elector(server, time=time, seconds=30)
    await one.renew()
    time.wall = 21.0
    assert not one.is_leading()
    server.fail_next("get", OUTAGE)
    await one.renew()
    assert not one.lost.is_set(), "a clock that was set ahead ends nothing"

    await one.renew()
    assert one.is_leading()
    time.wall = -3600.0
    assert one.is_leading()
    time.ahead = 21.0
    assert not one.is_leading()


async def test_a_lease_given_up_is_free_for_the_next(server: LeaseServer) -> None:
    one, two = elector(server, "one"), elector(server, "two")
    async with running(one):
        await asyncio.wait_for(one.leading.wait(), 10)
    await one.release()
    assert server.spec["holderIdentity"] == ""
    assert not one.is_leading()

    async with running(two):
        await asyncio.wait_for(two.leading.wait(), 10)


async def test_only_the_holder_gives_a_lease_up(server: LeaseServer) -> None:
    one = elector(server)
    await one.release()
    assert server.calls == []
    async with running(one):
        await asyncio.wait_for(one.leading.wait(), 10)
    server.give_to("two")

    await one.release()

    assert server.spec["holderIdentity"] == "two"


# -- a stop for everything -------------------------------------------------------------------------

WORD = stop.annotation_value("ann", "network maintenance", at(0))
SAID = (
    f"everything is suspended by ann since {at(0):%Y-%m-%dT%H:%M:%SZ}: network maintenance "
    "(kubectl rollback resume --all-namespaces)"
)


def annotate(server: LeaseServer, value: str | None) -> None:
    """Set the annotation as a person does: the rest of the Lease stays."""
    assert server.lease is not None
    metadata = {**server.lease["metadata"]}
    kept = {"other": "theirs", **(metadata.get("annotations") or {})}
    kept.pop(stop.ANNOTATION, None)
    metadata["annotations"] = kept if value is None else {**kept, stop.ANNOTATION: value}
    server.store({**server.lease, "metadata": metadata})


async def test_a_stop_is_heard_kept_by_renewals_and_lifted(server: LeaseServer) -> None:
    one, heard = elector(server), []
    one.on_stop = lambda: heard.append(one.stopped)
    assert await one._try_to_lead()
    assert one.stopped == ""

    annotate(server, WORD)
    for _ in range(3):
        assert await one._try_to_lead()
    assert heard == [SAID]
    assert server.lease is not None
    assert server.lease["metadata"]["annotations"] == {"other": "theirs", stop.ANNOTATION: WORD}
    assert server.lease["metadata"]["labels"] == {stop.LABEL: "true"}

    annotate(server, None)
    assert await one._try_to_lead()
    assert heard == [SAID, ""]


async def test_who_takes_over_knows_of_a_stop_before_it_leads(server: LeaseServer) -> None:
    server.give_to("")
    annotate(server, WORD)
    one = elector(server)
    was_leading: list[bool] = []
    one.on_stop = lambda: was_leading.append(one.leading.is_set())

    await one.renew()

    assert was_leading == [False]
    assert one.stopped == SAID


async def test_a_stop_is_known_while_the_server_does_not_answer(server: LeaseServer) -> None:
    one = elector(server)
    await one._try_to_lead()
    annotate(server, WORD)
    await one._try_to_lead()
    server.fail_next("get", OUTAGE)
    await one._try_to_lead()
    assert one.stopped == SAID


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("", "no reason given"),
        ("now!", "everything is suspended: now!"),
        ("[1]", "everything is suspended: [1]"),
        ("[" * 8000, "everything is suspended: [["),
        (
            r'{"by": "\u001b[Hroot\nforged", "time": "\u202e1"}',
            "by [Hroot forged since 1: no reason",
        ),
        ('{"reason": 7}', "everything is suspended: 7"),
        ("x" * 5000, "x" * 100),
    ],
)
def test_whatever_stands_there_stops(value: str, said: str) -> None:
    found = stop.stop_message({stop.ANNOTATION: value})
    assert said in found
    assert len(found) < 400
    assert found.endswith("(kubectl rollback resume --all-namespaces)")


def test_however_long_the_lease_is_it_is_looked_at_in_time() -> None:
    assert LeaseName("n", "a", "i", 600).renew_every <= 4
