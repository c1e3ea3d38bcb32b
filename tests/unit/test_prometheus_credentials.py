"""With what a policy's Prometheus is read: its own Secrets, or the operator's where it may."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from rollback_operator.adapters.prometheus import Access, PrometheusMetrics
from rollback_operator.adapters.prometheus import credentials as credentials_module
from rollback_operator.adapters.prometheus.credentials import (
    KNOWN_CREDENTIALS_SECONDS,
    MISSING_CREDENTIALS_SECONDS,
    Credentials,
    PolicyCredentials,
)
from rollback_operator.api.reasons import Reason
from rollback_operator.api.shape import SecretKeyRef
from rollback_operator.model.samples import Missing
from rollback_operator.ports.failure import Failure, FailureKind
from rollback_operator.ports.metrics import Prometheus
from tests.builders import T0, make_policy
from tests.provider import Answer, Provider, answer_of, running

TOKEN, OWN = "policys-s3cret-token", "operators-s3cret-token"
REF = SecretKeyRef(name="prometheus", key="token")
CA = SecretKeyRef(name="prometheus", key="ca.crt")


@dataclass
class Values:
    """The Secret `prometheus` of namespace `shop`, which may change."""

    data: dict[str, str] = field(default_factory=lambda: {"token": TOKEN})
    reads: int = 0

    async def read(self, namespace: str, name: str, key: str) -> str | Failure:
        self.reads += 1
        if (namespace, name) != ("shop", "prometheus"):
            return Failure(FailureKind.GONE, f"there is no Secret {name} in namespace {namespace}")
        if key not in self.data:
            return Failure(FailureKind.GONE, f"Secret {name} has no key {key}")
        return self.data[key]

    async def read_all(self, namespace: str, name: str) -> Mapping[str, str] | Failure:
        raise AssertionError(name)


@pytest.fixture
def provider() -> Iterator[Provider]:
    with running() as found:
        found.answer = lambda _: answer_of([T0, str(T0)])
        yield found


@pytest.fixture
def own_token(tmp_path: Path) -> Path:
    file = tmp_path / "token"
    file.write_text(OWN)
    return file


async def clock(access: Access, asked: Prometheus, secrets: Values | None) -> float | Missing:
    metrics = PrometheusMetrics(access, secrets=secrets)
    try:
        return await metrics.read_clock(asked)
    finally:
        metrics.close()


def with_token(url: str, namespace: str = "shop") -> Prometheus:
    return Prometheus(url, namespace, REF)


async def test_a_policy_s_token_is_sent_in_place_of_the_operator_s(
    provider: Provider, own_token: Path
) -> None:
    for own in (provider.url, "http://elsewhere"):
        access = Access(own_token, url=own, may_call=lambda ip: True)
        assert await clock(access, with_token(provider.url), Values()) == T0

    assert provider.tokens == [f"Bearer {TOKEN}"] * 2


@pytest.mark.parametrize(
    ("path", "is_told"),
    [("", True), ("/", True), ("/base", False), ("//", True), ("/?a=b", False), ("/%2e", False)],
)
async def test_the_operator_s_token_is_for_its_own_address_with_its_path(
    provider: Provider, own_token: Path, path: str, is_told: bool
) -> None:
    """Behind another path of a gateway there may be somebody who collects tokens."""
    await clock(Access(own_token, url=provider.url), Prometheus(provider.url + path), None)

    assert set(provider.tokens) <= {f"Bearer {OWN}" if is_told else None}


async def test_the_operator_s_token_is_not_told_to_whom_a_policy_s_authority_vouches_for(
    provider: Provider, own_token: Path, authority: Trust
) -> None:
    asked = Prometheus(provider.url, "shop", authorities=CA)
    secrets = Values({"ca.crt": authority.pem})

    assert await clock(Access(own_token, url=provider.url), asked, secrets) == T0

    assert provider.tokens == [None]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (with_token("{}", "other"), "bearerTokenSecretRef: there is no Secret prometheus"),
        (Prometheus("{}", "shop", CA), "bearerTokenSecretRef: Secret prometheus has no key ca.crt"),
        (
            Prometheus("{}", "shop", REF.model_copy(update={"key": "bad"})),
            "bearerTokenSecretRef: key bad of Secret prometheus holds no bearer token",
        ),
        (
            Prometheus("{}", "shop", REF, REF.model_copy(update={"key": "bad"})),
            "caSecretRef: key bad of Secret prometheus holds no certificate in PEM",
        ),
        (
            Prometheus("{}", "shop", authorities=REF.model_copy(update={"key": "empty"})),
            "caSecretRef: key empty of Secret prometheus holds no certificate in PEM",
        ),
    ],
)
async def test_what_cannot_be_had_is_told_by_its_field_and_nothing_is_sent(
    provider: Provider, own_token: Path, asked: Prometheus, said: str
) -> None:
    secrets = Values({"token": TOKEN, "bad": f"two {TOKEN}\nlines \u2603", "empty": ""})
    access = Access(own_token, url=provider.url)

    found = await clock(access, replace(asked, url=provider.url), secrets)

    assert isinstance(found, Missing)
    assert found.reason is Reason.CREDENTIALS_UNAVAILABLE
    assert found.message.startswith(f"spec.prometheus.{said}")
    assert TOKEN not in found.message
    assert provider.queries == []


async def test_without_a_cluster_no_secret_is_read(provider: Provider) -> None:
    found = await clock(Access(url=provider.url), with_token(provider.url), None)

    assert isinstance(found, Missing)
    assert "no cluster is known" in found.message
    assert provider.queries == []


async def test_a_token_that_was_renewed_is_taken_when_the_old_one_is_refused(
    provider: Provider,
) -> None:
    secrets, accepted = Values(), TOKEN

    def answer(_: str) -> Answer:
        is_known = provider.tokens[-1] == f"Bearer {accepted}"
        return answer_of([T0, str(T0)]) if is_known else Answer(b"who are you?", 401)

    provider.answer = answer
    now = 0.0
    metrics = PrometheusMetrics(Access(url=provider.url), secrets=secrets)
    metrics._session.credentials.clock = lambda: now
    asked = with_token(provider.url)
    assert await metrics.read_clock(asked) == T0

    secrets.data["token"] = accepted = "renewed-token"
    now = MISSING_CREDENTIALS_SECONDS + 1
    assert await metrics.read_clock(asked) == T0
    accepted = "nobody-has-it"
    read = secrets.reads
    refused = [await metrics.read_clock(asked) for _ in range(3)]
    metrics.close()

    assert secrets.reads == read
    assert {one.reason for one in refused if isinstance(one, Missing)} == {
        Reason.PROVIDER_UNAUTHORIZED
    }
    assert "spec.prometheus.bearerTokenSecretRef" in str(refused[0])
    assert provider.tokens[:3] == [f"Bearer {TOKEN}", f"Bearer {TOKEN}", "Bearer renewed-token"]


async def test_they_are_known_for_a_while_and_forgotten_with_the_policy() -> None:
    secrets, now = Values(), 0.0
    credentials = PolicyCredentials(secrets, lambda: now)
    first, second = with_token("http://a"), with_token("http://b")

    assert await credentials.of(first) == Credentials(f"Bearer {TOKEN}")
    now = KNOWN_CREDENTIALS_SECONDS - 1
    assert await credentials.of(first) == Credentials(f"Bearer {TOKEN}")
    assert secrets.reads == 1
    now = KNOWN_CREDENTIALS_SECONDS + 1
    assert await credentials.of(second) == Credentials(f"Bearer {TOKEN}")
    assert await credentials.of(first) == Credentials(f"Bearer {TOKEN}")
    assert secrets.reads == 3

    assert TOKEN not in repr(await credentials.of(second))


async def test_they_do_not_outlive_the_policies_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials_module, "KNOWN_CREDENTIALS_SECONDS", 0.01)
    known = PolicyCredentials(Values())
    for number in range(1000):
        assert await known.of(with_token(f"http://{number}")) == Credentials(f"Bearer {TOKEN}")

    async with asyncio.timeout(30):
        while known._known:  # noqa: ASYNC110 (a timer sets no event)
            await asyncio.sleep(0.01)


async def test_a_token_that_a_server_sends_back_is_told_nobody(provider: Provider) -> None:
    """Who may see a policy's status may not see its Secrets."""
    said = []
    for body in (TOKEN.encode(), b'{"status":"error","error":"no %s"}' % TOKEN.encode()):
        for status in (200, 400, 401, 503):
            provider.answer = lambda _, b=body, s=status: Answer(b, s)
            said.append(await clock(Access(url=provider.url), with_token(provider.url), Values()))
    warned = answer_of([T0, str(T0)], warnings=[f"{'x' * 470} {TOKEN}"])
    provider.answer = lambda _: warned
    said.append(await clock(Access(url=provider.url), with_token(provider.url), Values()))

    assert all(isinstance(one, Missing) for one in said)
    assert TOKEN[:6] not in str(said)
    assert "***" in str(said)


def test_a_policy_names_its_own_namespace_s_secrets() -> None:
    spec = {
        "bearerTokenSecretRef": {"name": "a", "key": "b"},
        "caSecretRef": {"name": "c", "key": "d"},
    }
    policy = make_policy(prometheus=spec)

    found = Prometheus.of(policy, "http://default")

    assert found == Prometheus(
        "http://default",
        policy.metadata.namespace,
        SecretKeyRef(name="a", key="b"),
        SecretKeyRef(name="c", key="d"),
    )


# -- certificates ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Trust:
    """A certificate that is its own authority."""

    file: Path
    pem: str


def _authority(directory: Path, name: str) -> Trust:
    made = directory / f"{name}.crt"
    argv = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
        f" -subj /CN={name} -addext subjectAltName=IP:127.0.0.1"
        " -addext keyUsage=digitalSignature,keyCertSign"
        f" -keyout {directory / name}.key -out {made}"
    )
    subprocess.run(argv.split(), check=True, capture_output=True)
    return Trust(made, made.read_text())


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Trust:
    return _authority(tmp_path_factory.mktemp("trust"), "own")


@pytest.fixture
def secure(authority: Trust) -> Iterator[tuple[str, list[str | None]]]:
    """Answer time() over TLS, with a certificate that is its own authority."""
    heard: list[str | None] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            heard.append(self.headers.get("Authorization"))
            body = answer_of([T0, str(T0)]).body
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Stay quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.file, authority.file.with_suffix(".key"))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # type: ignore[method-assign] # a refused certificate
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield f"https://127.0.0.1:{server.server_address[1]}", heard
    server.shutdown()
    server.server_close()
    thread.join(5)


async def test_a_policy_s_authority_is_trusted_for_it_alone(
    secure: tuple[str, list[str | None]], authority: Trust, tmp_path: Path
) -> None:
    url, heard = secure
    other = _authority(tmp_path, "other")
    secrets = Values({"token": TOKEN, "ca.crt": authority.pem, "other": other.pem})
    strange = CA.model_copy(update={"key": "other"})
    metrics = PrometheusMetrics(Access(may_call=lambda ip: True), secrets=secrets)
    operators = PrometheusMetrics(
        Access(ca_file=authority.file, may_call=lambda ip: True), secrets=secrets
    )

    trusted = await metrics.read_clock(Prometheus(url, "shop", REF, CA))
    refused = [
        await metrics.read_clock(Prometheus(url, "shop", REF, strange)),
        await metrics.read_clock(Prometheus(url, "shop", REF)),
        # A policy that names whom to trust does not also trust whom the operator does.
        await operators.read_clock(Prometheus(url, "shop", REF, strange)),
    ]
    by_default = await operators.read_clock(Prometheus(url, "shop", REF))
    metrics.close()
    operators.close()

    assert trusted == by_default == T0
    for one in refused:
        assert isinstance(one, Missing)
        assert (one.reason, "TLS certificate is not accepted" in one.message) == (
            Reason.PROVIDER_UNREACHABLE,
            True,
        )
    assert heard == [f"Bearer {TOKEN}"] * 2
