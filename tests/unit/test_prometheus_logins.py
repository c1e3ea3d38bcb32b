"""A user's name and password, and a tenant: what a server is sent, and for whom."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from pydantic import ValidationError

from rollback_operator.adapters.prometheus import Access, PrometheusMetrics
from rollback_operator.adapters.prometheus.credentials import MISSING_CREDENTIALS_SECONDS
from rollback_operator.api.reasons import Reason
from rollback_operator.api.shape import SecretKeyRef, SecretRef
from rollback_operator.api.signals import PrometheusSpec
from rollback_operator.model.samples import Missing
from rollback_operator.ports.failure import Failure, FailureKind
from rollback_operator.ports.metrics import Prometheus
from rollback_operator.runtime.settings import Settings
from tests.builders import T0, make_policy
from tests.provider import Answer, Provider, answer_of, running

USER, PASSWORD, OWN = "shop", 'p:ssw"rd-s3cret', "operators-s3cret"
LOGIN = SecretRef(name="login")
TOKEN = SecretKeyRef(name="login", key="token")


def encoded(user: str, password: str) -> str:
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


SENT = encoded(USER, PASSWORD)


@dataclass
class Values:
    """The Secret `login` of namespace `shop`, which may change."""

    data: dict[str, str] = field(default_factory=lambda: {"username": USER, "password": PASSWORD})
    reads: int = 0

    async def read(self, namespace: str, name: str, key: str) -> str | Failure:
        return self.data[key]

    async def read_all(self, namespace: str, name: str) -> Mapping[str, str] | Failure:
        self.reads += 1
        if (namespace, name) != ("shop", "login"):
            return Failure(FailureKind.GONE, f"there is no Secret {name} in namespace {namespace}")
        return self.data


@pytest.fixture
def provider() -> Iterator[Provider]:
    with running() as found:
        found.answer = lambda _: answer_of([T0, str(T0)])
        yield found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "username").write_text("operator")
    (tmp_path / "password").write_text(f"{OWN}\n")
    return tmp_path


async def clock(
    access: Access, asked: Prometheus, secrets: Values | None = None
) -> float | Missing:
    metrics = PrometheusMetrics(access, secrets=secrets)
    try:
        return await metrics.read_clock(asked)
    finally:
        metrics.close()


def with_login(url: str, **more: str) -> Prometheus:
    return replace(Prometheus(url, "shop", basic_auth=LOGIN), **more)


# -- a user's name and password --------------------------------------------------------------------


async def test_a_policy_s_login_is_sent_in_place_of_the_operator_s(
    provider: Provider, folder: Path
) -> None:
    for own in (provider.url, "http://elsewhere"):
        access = Access(url=own, login_folder=folder, may_call=lambda ip: True)
        assert await clock(access, with_login(provider.url), Values()) == T0

    assert provider.tokens == [SENT] * 2


@pytest.mark.parametrize(("path", "is_told"), [("", True), ("/", True), ("/base", False)])
async def test_the_operator_s_login_is_for_its_own_address(
    provider: Provider, folder: Path, path: str, is_told: bool
) -> None:
    access = Access(url=provider.url, login_folder=folder, tenant="all")

    await clock(access, Prometheus(provider.url + path))

    assert set(provider.tokens) <= {encoded("operator", OWN) if is_told else None}
    assert set(provider.tenants) <= {"all" if is_told else None}


UNUSABLE: Mapping[str, tuple[Mapping[str, str], str]] = {
    "no username": ({"password": PASSWORD}, "has no key username"),
    "no password": ({"username": USER, "token": PASSWORD}, "has no key password"),
    "an empty password": ({"username": USER, "password": "\n"}, "key password that is empty"),
    "a password of two lines": (
        {"username": USER, "password": f"{PASSWORD}\r\nX-Injected: 1"},
        "a line break or another control character in its key password",
    ),
    "a name of two lines": (
        {"username": f"{USER}\nx", "password": PASSWORD},
        "a line break or another control character in its key username",
    ),
    "a colon in the name": (
        {"username": f"{USER}:{PASSWORD}", "password": PASSWORD},
        "a colon in its key username",
    ),
    "a password that is too long": (
        {"username": USER, "password": "x" * 4097},
        "key password that is too long",
    ),
}


@pytest.mark.parametrize("case", UNUSABLE)
async def test_a_login_that_cannot_be_sent_is_told_by_field_and_key(
    provider: Provider, case: str
) -> None:
    held, said = UNUSABLE[case]

    found = await clock(Access(url=provider.url), with_login(provider.url), Values(dict(held)))

    assert isinstance(found, Missing)
    assert found.reason is Reason.CREDENTIALS_UNAVAILABLE
    assert found.message.startswith("spec.prometheus.basicAuthSecretRef: Secret login has ")
    assert said in found.message
    assert PASSWORD not in found.message
    assert provider.queries == []


async def test_the_line_s_end_that_an_editor_leaves_is_no_part_of_it(provider: Provider) -> None:
    held = {"username": f"{USER}\n", "password": f"{PASSWORD}\r\n"}

    assert await clock(Access(url=provider.url), with_login(provider.url), Values(held)) == T0

    assert provider.tokens == [SENT]


async def test_another_namespace_s_secret_is_not_there(provider: Provider) -> None:
    asked = with_login(provider.url, namespace="other")

    found = await clock(Access(url=provider.url), asked, Values())

    assert isinstance(found, Missing)
    assert "basicAuthSecretRef: there is no Secret login in namespace other" in found.message
    assert provider.queries == []


async def test_a_password_that_was_renewed_is_taken_when_the_old_one_is_refused(
    provider: Provider,
) -> None:
    secrets, accepted, now = Values(), [SENT], 0.0

    def answer(_: str) -> Answer:
        is_known = provider.tokens[-1] == accepted[0]
        return answer_of([T0, str(T0)]) if is_known else Answer(b"who are you?", 401)

    provider.answer = answer
    metrics = PrometheusMetrics(Access(url=provider.url), secrets=secrets)
    metrics._session.credentials.clock = lambda: now
    asked = with_login(provider.url)
    assert await metrics.read_clock(asked) == T0

    secrets.data = {"username": USER, "password": "renewed"}
    accepted[0], now = encoded(USER, "renewed"), MISSING_CREDENTIALS_SECONDS + 1
    assert await metrics.read_clock(asked) == T0
    accepted[0] = "nobody has it"
    refused = await metrics.read_clock(asked)
    metrics.close()

    assert isinstance(refused, Missing)
    assert refused.reason is Reason.PROVIDER_UNAUTHORIZED
    assert "a username and password" in refused.message
    assert "spec.prometheus.basicAuthSecretRef" in refused.message


async def test_a_password_that_a_server_sends_back_is_told_nobody(provider: Provider) -> None:
    raw = SENT.removeprefix("Basic ").encode()
    said = []
    for sent in (raw, PASSWORD.encode(), PASSWORD.replace('"', '\\"').encode()):
        for body in (sent, b'{"status":"error","error":"no %s"}' % sent):
            provider.answer = lambda _, b=body: Answer(b, 400)
            said.append(await clock(Access(url=provider.url), with_login(provider.url), Values()))

    assert all(isinstance(one, Missing) for one in said)
    assert "s3cret" not in str(said)
    assert raw.decode() not in str(said)
    assert str(said).count("***") == len(said)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("username", "a:b", "a colon in its key username"),
        ("password", f"{OWN}\nx", "a line break or another control character in its key password"),
    ],
)
async def test_files_that_hold_no_login_are_told_by_the_flag(
    provider: Provider, folder: Path, name: str, text: str, said: str
) -> None:
    (folder / name).write_text(text)

    found = await clock(Access(url=provider.url, login_folder=folder), Prometheus(provider.url))

    assert isinstance(found, Missing)
    assert "--prometheus-basic-auth-folder" in found.message
    assert said in found.message
    assert OWN not in found.message
    assert provider.queries == []


# -- a tenant --------------------------------------------------------------------------------------


async def test_a_policy_s_tenant_is_sent_in_place_of_the_operator_s(provider: Provider) -> None:
    access = Access(url=provider.url, tenant="all")

    assert await clock(access, Prometheus(provider.url, "shop", tenant="team-shop")) == T0
    assert await clock(access, Prometheus(provider.url, "shop")) == T0
    assert await clock(Access(url=provider.url), Prometheus(provider.url, "shop")) == T0

    assert provider.tenants == ["team-shop", "all", None]


async def test_nothing_is_sent_for_a_tenant_that_a_policy_may_not_name(
    provider: Provider, folder: Path
) -> None:
    settings = Settings(prometheus_url=provider.url, allowed_tenants="shop/team-shop")
    access = Access(url=provider.url, login_folder=folder, may_read_as=settings.may_read_as)

    found = await clock(access, Prometheus(provider.url, "shop", tenant="team-bank"))

    assert isinstance(found, Missing)
    assert found.reason is Reason.TENANT_NOT_ALLOWED
    assert "spec.prometheus.tenant" in found.message
    assert "allowedTenants" in found.message
    assert provider.queries == []
    assert await clock(access, Prometheus(provider.url, "shop", tenant="team-shop")) == T0


async def test_policies_that_read_as_others_share_nothing_at_an_address(provider: Provider) -> None:
    """Neither a connection nor what was found out about the server."""
    url = provider.url
    asked = (
        Prometheus(url, "shop"),
        Prometheus(url, "shop", tenant="a"),
        Prometheus(url, "shop", tenant="b"),
        Prometheus(url, "shop", TOKEN),
        with_login(url),
        with_login(url, tenant="a"),
    )
    secrets = Values({"username": USER, "password": PASSWORD, "token": "a-token"})
    metrics = PrometheusMetrics(Access(url=url), secrets=secrets)
    try:
        for _ in range(2):
            for one in asked:
                assert await metrics.read_clock(one) == T0
        address = metrics._session._known.of(url)
        openings = [one._session.opening for one in address.idle]
        seen = [address.seen_by(one) for one in asked]
    finally:
        metrics.close()

    sent = list(zip(provider.tokens, provider.tenants, strict=True))
    assert sent[: len(asked)] == sent[len(asked) :]
    assert len(set(sent)) == len(asked)
    assert len(openings) == len(set(openings)) == len(asked)
    assert len({id(one) for one in seen}) == len(asked)
    assert len({one.identity for one in asked}) == len(asked)


async def test_a_gateway_that_takes_no_wishes_of_one_tenant_is_asked_for_all_by_the_others(
    provider: Provider,
) -> None:
    def answer(_: str) -> Answer:
        if provider.tenants[-1] == "old" and "partial_response" in provider.parameters[-1]:
            return Answer(b'{"status":"error","error":"unknown parameter partial_response"}', 400)
        return answer_of([T0, str(T0)])

    provider.answer = answer
    metrics = PrometheusMetrics(Access(url=provider.url))
    try:
        for tenant in ("old", "new"):
            asked = Prometheus(provider.url, "shop", tenant=tenant)
            assert await metrics.read_clock(asked) == T0
    finally:
        metrics.close()

    assert "partial_response" in provider.parameters[-1]


# -- who may say what ------------------------------------------------------------------------------


def test_a_policy_names_its_own_namespace_s_login_and_tenant() -> None:
    policy = make_policy(prometheus={"basicAuthSecretRef": {"name": "login"}, "tenant": "shop"})

    found = Prometheus.of(policy, "http://default")

    assert (found.basic_auth, found.tenant) == (LOGIN, "shop")
    assert found.namespace == policy.metadata.namespace


def test_a_request_has_one_login() -> None:
    with pytest.raises(
        ValidationError, match="set only one of bearerTokenSecretRef and basicAuthSecretRef"
    ):
        PrometheusSpec(bearer_token_secret_ref=TOKEN, basic_auth_secret_ref=LOGIN)
    with pytest.raises(ValidationError, match="a request has one login"):
        Settings(prometheus_token_file="/a", prometheus_basic_auth_folder="/b")


@pytest.mark.parametrize("tenant", ["shop", "1234", "team-a|team_b", "a!_.*'()-", "x" * 150])
def test_a_tenant(tenant: str) -> None:
    assert PrometheusSpec(tenant=tenant).tenant == tenant


@pytest.mark.parametrize(
    "tenant", ["", ".", "..", "../a", "a/b", "a b", "a\r\nb: c", "a\n", "|a", "a|", "x" * 151]
)
def test_what_is_no_tenant(tenant: str) -> None:
    with pytest.raises(ValidationError):
        PrometheusSpec(tenant=tenant)


MIMIR = "http://mimir.monitoring:8080/prometheus"


@pytest.mark.parametrize(
    ("tenant", "url", "expected"),
    [
        ("all", MIMIR, True),
        ("all", f"{MIMIR}/other", False),
        ("team-shop", MIMIR, True),
        ("team-shop", "https://mimir.example.com", True),
        ("team-bank", MIMIR, False),
        ("team-shop|team-cart", MIMIR, True),
        ("team-shop|team-bank", MIMIR, False),
        ("team-bank", "http://mimir.shop.svc:8080", True),
        ("team-bank", "http://mimir.bank.svc:8080", False),
    ],
    ids=[
        "the operator's own",
        "the same behind another path",
        "listed",
        "listed, elsewhere",
        "another namespace's",
        "two that are listed",
        "one of two",
        "at a Service of its namespace",
        "at another namespace's Service",
    ],
)
def test_whose_metrics_a_policy_may_name(tenant: str, url: str, expected: bool) -> None:
    """Servers trust the header: a policy that may set it reads every tenant's metrics."""
    settings = Settings(
        prometheus_url=MIMIR,
        prometheus_tenant="all",
        allowed_tenants="shop/team-shop, shop/team-cart,bank/team-bank",
        allowed_prometheus_hosts="mimir.example.com",
    )
    assert settings.may_read_as(tenant, url, "shop") is expected


@pytest.mark.parametrize("listed", ["team-shop", "shop/", "/team", "Shop/a", "shop/a/b", "shop/.."])
def test_a_list_of_tenants_of_another_form_is_refused(listed: str) -> None:
    with pytest.raises(ValidationError, match="is not of the form NAMESPACE/TENANT"):
        Settings(allowed_tenants=listed)


def test_own_queries_may_be_asked_with_a_password_too() -> None:
    settings = Settings(own_queries="own-credentials")
    query = {"signal": "Query", "query": "up", "below": "1"}
    matrix = [{"severity": "P3", "when": [query], "response": "Report"}]

    with_password = make_policy(prometheus={"basicAuthSecretRef": {"name": "login"}}, matrix=matrix)
    with_tenant = make_policy(prometheus={"tenant": "shop"}, matrix=matrix)

    assert settings.may_query(with_password)
    assert not settings.may_query(with_tenant)
