"""A server that does not answer costs a time-out now and then, and not one a policy and look."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import pytest

from rollback_operator.adapters.prometheus import Limits, PrometheusMetrics
from rollback_operator.adapters.prometheus.known import Breaker
from rollback_operator.adapters.prometheus.session import Session
from rollback_operator.api.reasons import Reason
from rollback_operator.api.shape import SecretKeyRef
from rollback_operator.model.samples import LONGEST_REST_SECONDS, Missing
from rollback_operator.ports.metrics import Prometheus
from tests.provider import ANYWHERE, Answer, Provider, answer_of, running

SHORT = Limits(connect_seconds=0.2, read_seconds=0.2)


class Time:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Token:
    """The Secrets of a namespace: one token."""

    async def read(self, namespace: str, name: str, key: str) -> str:
        return "a-token-of-its-own"


@pytest.fixture
def provider() -> Iterator[Provider]:
    with running() as found:
        found.answer = lambda _: answer_of([])
        yield found


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def session(time: Time) -> Iterator[Session]:
    made = Session(ANYWHERE, SHORT, Token(), time)
    yield made
    made.close()


async def ask(session: Session, prometheus: Prometheus) -> str:
    found = await session.query(prometheus, "up", None, list)
    return found.message if isinstance(found, Missing) else "answered"


async def tried(session: Session) -> None:
    """Wait until no light query is running."""
    while session._trials:
        await asyncio.gather(*session._trials)


def test_it_rests_longer_each_time_and_never_for_ever() -> None:
    breaker, now, rests = Breaker(), 0.0, []
    for _ in range(8):
        assert breaker.begins_trial(now)
        assert not breaker.begins_trial(now)  # never two trials at once
        breaker.is_trying = False
        breaker.open(now)
        assert breaker.is_open
        assert not breaker.begins_trial(breaker.due - 0.1)
        rests.append(breaker.due - now)
        now = breaker.due

    assert rests[:3] == [2, 4, 8]
    assert rests[-1] == LONGEST_REST_SECONDS
    breaker.close()
    assert not breaker.is_open


async def test_a_server_that_hangs_is_asked_once_an_interval_whoever_asks(
    session: Session, provider: Provider, time: Time
) -> None:
    provider.hangs = True
    policies = [replace(provider.prometheus, namespace=f"team-{one}") for one in range(20)]
    await ask(session, policies[0])
    await tried(session)
    asked = len(provider.queries)

    said = {await ask(session, one) for one in policies}

    await tried(session)
    assert len(provider.queries) == asked
    assert len(said) == 1
    time.now += LONGEST_REST_SECONDS
    await asyncio.gather(*(ask(session, one) for one in policies))
    await tried(session)
    assert len(provider.queries) == asked + 1


async def test_what_it_says_does_not_change_while_it_is_open(
    session: Session, provider: Provider, time: Time
) -> None:
    provider.hangs = True
    await ask(session, provider.prometheus)
    await tried(session)
    said = []

    for _ in range(5):
        said.append(await ask(session, provider.prometheus))
        await tried(session)
        time.now += LONGEST_REST_SECONDS

    assert len(set(said)) == 1
    assert "tried again" not in said[0]  # who asks once does not try again


async def test_it_is_asked_again_once_it_answers(
    session: Session, provider: Provider, time: Time
) -> None:
    provider.hangs = True
    await ask(session, provider.prometheus)
    await tried(session)
    provider.hangs = False
    assert await ask(session, provider.prometheus) != "answered"
    time.now += 2.1

    await ask(session, provider.prometheus)
    await tried(session)

    assert await ask(session, provider.prometheus) == "answered"


async def test_one_slow_query_keeps_nobody_from_asking(
    session: Session, provider: Provider
) -> None:
    """A policy's own PromQL takes for ever; the server is well."""

    def answer(query: str) -> Answer:
        if query == "dear":
            provider.ended.wait(1.0)
        return answer_of([])

    provider.answer = answer
    found = await session.query(provider.prometheus, "dear", None, list)
    await tried(session)

    assert isinstance(found, Missing)
    assert found.reason is Reason.PROVIDER_UNREACHABLE
    assert await ask(session, provider.prometheus) == "answered"


async def test_a_gateway_that_keeps_one_tenant_waiting_is_open_for_that_tenant_alone(
    session: Session, provider: Provider
) -> None:
    token = SecretKeyRef(name="prometheus", key="token")
    tenant = Prometheus(provider.url, "tenant", token)
    provider.hangs = True
    await ask(session, tenant)
    await tried(session)
    provider.hangs = False

    assert await ask(session, tenant) != "answered"
    assert await ask(session, provider.prometheus) == "answered"


async def test_what_was_wrong_is_told() -> None:
    metrics = PrometheusMetrics(ANYWHERE, SHORT)
    try:
        nobody = Prometheus("http://127.0.0.1:9")
        await metrics.read_clock(nobody)
        await tried(metrics._session)
        found = await metrics.read_clock(nobody)
    finally:
        metrics.close()

    assert isinstance(found, Missing)
    assert "refused" in found.message.lower()
