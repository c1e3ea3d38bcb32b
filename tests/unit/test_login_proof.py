"""Own queries with a policy's login only: whether the server asks for a login at all."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import pytest

from rollback_operator.adapters.prometheus import Access, PrometheusMetrics, PrometheusTrends
from rollback_operator.adapters.prometheus.login_proof import NO_PROOF_SECONDS, PROOF_SECONDS
from rollback_operator.api.reasons import Reason
from rollback_operator.api.shape import SecretKeyRef, SecretRef
from rollback_operator.model.samples import Missing
from rollback_operator.ports.failure import Failure
from rollback_operator.ports.metrics import Prometheus
from rollback_operator.runtime.settings import Settings
from tests.builders import T0
from tests.provider import Answer, Provider, answer_of, running

TOKEN, REVENUE = "tenants-s3cret", 'sum(revenue_total{namespace="victim"})'
LOGINS: Mapping[str, dict[str, SecretKeyRef | SecretRef]] = {
    "a token": {"token": SecretKeyRef(name="login", key="token")},
    "a password": {"basic_auth": SecretRef(name="login")},
}


class Values:
    """The policy's Secret, with any words."""

    async def read(self, namespace: str, name: str, key: str) -> str | Failure:
        return TOKEN

    async def read_all(self, namespace: str, name: str) -> Mapping[str, str] | Failure:
        return {"username": "shop", "password": TOKEN}


@dataclass
class Asked:
    """A shared server, and the trends that ask it where own queries need a login."""

    provider: Provider
    trends: PrometheusTrends
    seconds: float = 0.0

    async def read(self, login: Mapping[str, SecretKeyRef | SecretRef]) -> float | Missing:
        policy = replace(Prometheus(self.provider.url, "tenant"), **login)
        return await self.trends.read_query(policy, REVENUE, T0)


@pytest.fixture
def provider() -> Iterator[Provider]:
    with running() as made:
        yield made


@pytest.fixture
async def asked(provider: Provider) -> AsyncIterator[Asked]:
    settings = Settings(prometheus_url=provider.url, own_queries="own-credentials")
    metrics = PrometheusMetrics(Access(url=provider.url), secrets=Values())
    proof = metrics.proof(settings.needs_login_proof)
    made = Asked(provider, PrometheusTrends(metrics, proof))
    proof.clock = proof._known.clock = lambda: made.seconds
    yield made
    metrics.close()


def answering(provider: Provider, refusal: Callable[[str], Answer | None]) -> None:
    """Answer all but what is refused, by the header Authorization."""

    def answer(text: str) -> Answer:
        sent = provider.tokens[-1] or ""
        return refusal(sent) or answer_of([T0, "4711"])

    provider.answer = answer


def knows(sent: str) -> bool:
    """Whether a header has the login of the policy: a token, or `shop` and the token."""
    return sent in (f"Bearer {TOKEN}", "Basic c2hvcDp0ZW5hbnRzLXMzY3JldA==")


@pytest.mark.parametrize("login", LOGINS.values(), ids=LOGINS)
async def test_a_server_that_checks_no_login_gets_no_own_query(
    asked: Asked, login: dict[str, SecretKeyRef | SecretRef]
) -> None:
    answering(asked.provider, lambda sent: None)

    read = await asked.read(login)

    assert isinstance(read, Missing)
    assert read.reason is Reason.QUERY_NOT_ALLOWED
    assert "turn authentication on there" in read.message
    assert asked.provider.queries == ["time()"]
    assert not knows(asked.provider.tokens[0] or "")


@pytest.mark.parametrize("status", [302, 400, 404, 500])
async def test_only_a_refusal_of_the_login_is_a_proof(asked: Asked, status: int) -> None:
    answering(asked.provider, lambda sent: None if knows(sent) else Answer(b"", status))

    read = await asked.read(LOGINS["a token"])

    assert isinstance(read, Missing)
    assert read.reason is Reason.QUERY_NOT_ALLOWED
    assert REVENUE not in asked.provider.queries


async def test_a_server_that_checks_tokens_and_no_passwords_proves_no_password(
    asked: Asked,
) -> None:
    def refusal(sent: str) -> Answer | None:
        return Answer(b"", 401) if sent.startswith("Bearer") and not knows(sent) else None

    answering(asked.provider, refusal)

    assert isinstance(await asked.read(LOGINS["a password"]), Missing)
    assert REVENUE not in asked.provider.queries
    assert await asked.read(LOGINS["a token"]) == 4711.0


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("login", LOGINS.values(), ids=LOGINS)
async def test_a_server_that_refuses_a_wrong_login_is_asked_with_the_policys(
    asked: Asked, login: dict[str, SecretKeyRef | SecretRef], status: int
) -> None:
    answering(asked.provider, lambda sent: None if knows(sent) else Answer(b"", status))

    for _ in range(2):
        assert await asked.read(login) == 4711.0
    assert asked.provider.queries == ["time()", REVENUE, REVENUE]
    assert [knows(sent or "") for sent in asked.provider.tokens] == [False, True, True]

    # Authentication may be turned off later.
    asked.seconds = PROOF_SECONDS
    answering(asked.provider, lambda sent: None)
    assert isinstance(await asked.read(login), Missing)
    asked.seconds += NO_PROOF_SECONDS
    answering(asked.provider, lambda sent: None if knows(sent) else Answer(b"", status))
    assert await asked.read(login) == 4711.0


async def test_where_every_policy_may_ask_no_proof_is_needed(provider: Provider) -> None:
    answering(provider, lambda sent: None)
    metrics = PrometheusMetrics(Access(url=provider.url), secrets=Values())
    trends = PrometheusTrends(metrics, metrics.proof(Settings().needs_login_proof))
    try:
        assert await Asked(provider, trends).read(LOGINS["a token"]) == 4711.0
    finally:
        metrics.close()
    assert provider.queries == [REVENUE]


def test_a_prometheus_of_the_namespace_needs_no_proof() -> None:
    settings = Settings(own_queries="own-credentials", allowed_prometheus_hosts="thanos.example")

    assert settings.needs_login_proof("http://prometheus.monitoring:9090", "tenant")
    assert settings.needs_login_proof("https://thanos.example", "tenant")
    assert not settings.needs_login_proof("http://prometheus.tenant.svc:9090", "tenant")
