"""Services that lead out of a policy's namespace: on a real API server, with the chart's rights.

A listener on this machine stands for whatever only the operator reaches. DNS answers as it would
for the one who owns the name: with the listener's address.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from rollback_operator.adapters.channels.senders import Senders
from rollback_operator.adapters.http.addresses import Addresses, Rules
from rollback_operator.adapters.http.probes import HttpProbes
from rollback_operator.adapters.kube.apiserver import ApiServer
from rollback_operator.adapters.kube.target.services import ServiceBackends
from rollback_operator.adapters.postgres.database import PostgresSchemas
from rollback_operator.adapters.prometheus import Access, Limits, PrometheusMetrics
from rollback_operator.api.checklist import DatabaseSpec
from rollback_operator.api.notify import Channel, MailSpec
from rollback_operator.api.shape import SecretKeyRef
from rollback_operator.api.verification import HttpProbe
from rollback_operator.ports.failure import Failure
from rollback_operator.ports.metrics import Prometheus
from rollback_operator.report import incident
from rollback_operator.report.transitions import transition_named
from rollback_operator.runtime.settings import Settings
from tests.builders import at, make_rollback
from tests.integration.api import Object, eventually
from tests.integration.stand import Stand
from tests.sizes import chosen_of

pytestmark = [pytest.mark.xdist_group("services"), pytest.mark.timeout(1200)]

MESSAGE = incident.of_rollback(make_rollback(), None, transition_named("Started", at(11)))
REF = SecretKeyRef(name="secret", key="value")
SETTINGS = Settings(prometheus_url="http://prometheus.monitoring:9090")
BY_HAND = "by-hand"
"""A node that nobody fakes: its pods are as a test writes them."""
PORT = 80
SAID = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"


class Counter:
    """Counts connections, at an address of this machine that is not its loopback."""

    def __init__(self) -> None:
        self.count = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.count += 1
        writer.write(SAID)
        await writer.drain()
        writer.close()

    async def start(self) -> asyncio.Server:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as found:
            found.connect(("192.0.2.1", 9))  # sends nothing
            self.ip: str = found.getsockname()[0]
        server = await asyncio.start_server(self.serve, self.ip, 0)
        self.port: int = server.sockets[0].getsockname()[1]
        return server


@dataclass
class Values:
    """What the policy's Secret holds."""

    value: str

    async def read(self, namespace: str, name: str, key: str) -> str | Failure:
        return self.value

    async def read_all(self, namespace: str, name: str) -> Mapping[str, str] | Failure:
        return {}


@dataclass(frozen=True)
class Tenant:
    """A namespace, and what its policies may have called."""

    stand: Stand
    namespace: str
    other: str
    counter: Counter
    kubeconfig: Path

    # -- what a tenant may write ------------------------------------------------------------------

    def service(self, **spec: Any) -> None:
        spec = {"ports": [{"name": "web", "port": PORT, "targetPort": self.counter.port}], **spec}
        body = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "api"}, "spec": spec}
        self.stand.api.create(f"/api/v1/namespaces/{self.namespace}/services", body)

    def slice(self, **endpoint: Any) -> None:
        body = {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": "by-hand", "labels": {"kubernetes.io/service-name": "api"}},
            "addressType": "IPv4",
            "ports": [{"name": "web", "port": self.counter.port}],
            "endpoints": [{"addresses": [self.counter.ip], **endpoint}],
        }
        self.stand.api.create(self.slices, body)

    def endpoints(self) -> None:
        subset = {
            "addresses": [{"ip": self.counter.ip}],
            "ports": [{"name": "web", "port": self.counter.port}],
        }
        body = {
            "apiVersion": "v1",
            "kind": "Endpoints",
            "metadata": {"name": "api"},
            "subsets": [subset],
        }
        self.stand.api.create(f"/api/v1/namespaces/{self.namespace}/endpoints", body)

    @property
    def slices(self) -> str:
        return f"/apis/discovery.k8s.io/v1/namespaces/{self.namespace}/endpointslices"

    def wait_for_slice(self) -> None:
        def is_listed() -> bool:
            found = self.stand.api.get(self.slices, labelSelector="kubernetes.io/service-name=api")
            ends = [end for one in found["items"] for end in one.get("endpoints") or ()]
            return any(self.counter.ip in end["addresses"] for end in ends)

        eventually(is_listed, "the listener is an endpoint")

    # -- what only the cluster writes --------------------------------------------------------------

    def pod(self, ip: str, namespace: str = "", phase: str = "Running", **spec: Any) -> None:
        path = f"/api/v1/namespaces/{namespace or self.namespace}/pods"
        body: Object = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "api-0", "labels": {"app": "api"}},
            "spec": {
                "nodeName": BY_HAND,
                "containers": [{"name": "api", "image": "registry.example.com/api:v1"}],
                "tolerations": [{"operator": "Exists"}],
                **spec,
            },
        }
        self.stand.api.create(path, body)
        ready = {"type": "Ready", "status": "True"}
        status = {"phase": phase, "podIP": ip, "podIPs": [{"ip": ip}], "conditions": [ready]}
        self.stand.api.merge(f"{path}/api-0/status", {"status": status})


def ref(**more: Any) -> Object:
    return {"targetRef": {"kind": "Pod", "name": "api-0", **more}}


# -- Services that lead elsewhere ------------------------------------------------------------------


def external_name(it: Tenant) -> None:
    it.service(type="ExternalName", externalName=it.counter.ip)


def external_name_with_a_slice(it: Tenant) -> None:
    it.service(type="ExternalName", externalName=it.counter.ip)
    it.slice()


def endpoints_by_hand(it: Tenant) -> None:
    it.service()
    it.endpoints()
    it.wait_for_slice()


def slice_by_hand(it: Tenant) -> None:
    it.service()
    it.slice()


def headless_slice_by_hand(it: Tenant) -> None:
    it.service(clusterIP="None")
    it.slice()


def slice_beside_a_selector(it: Tenant) -> None:
    it.pod("192.0.2.7")
    it.service(selector={"app": "api"})
    it.slice()


def slice_that_names_a_pod_with_another_address(it: Tenant) -> None:
    it.pod("192.0.2.7")
    it.service(selector={"app": "api"})
    it.slice(**ref())


def slice_that_names_another_namespace_s_pod(it: Tenant) -> None:
    it.pod(it.counter.ip, it.other)
    it.service()
    it.slice(**ref(namespace=it.other))


def slice_that_names_a_pod_of_that_name_elsewhere(it: Tenant) -> None:
    it.pod(it.counter.ip, it.other)
    it.service()
    it.slice(**ref())


def pod_of_the_host_s_network(it: Tenant) -> None:
    it.pod(it.counter.ip, hostNetwork=True)
    it.service()
    it.slice(**ref())


def pod_that_has_ended(it: Tenant) -> None:
    it.pod(it.counter.ip, phase="Failed")
    it.service()
    it.slice(**ref())


AWAY = (
    external_name,
    external_name_with_a_slice,
    endpoints_by_hand,
    slice_by_hand,
    headless_slice_by_hand,
    slice_beside_a_selector,
    slice_that_names_a_pod_with_another_address,
    slice_that_names_another_namespace_s_pod,
    slice_that_names_a_pod_of_that_name_elsewhere,
    pod_of_the_host_s_network,
    pod_that_has_ended,
)

WORST = (
    external_name,
    slice_beside_a_selector,
    slice_that_names_a_pod_of_that_name_elsewhere,
    pod_of_the_host_s_network,
)

# -- Services that lead to the namespace's pods ----------------------------------------------------


def selector(it: Tenant) -> None:
    it.pod(it.counter.ip)
    it.service(selector={"app": "api"})
    it.wait_for_slice()


def headless(it: Tenant) -> None:
    # It translates no ports: a client names the pods' own.
    it.pod(it.counter.ip)
    it.service(
        selector={"app": "api"},
        clusterIP="None",
        ports=[{"name": "web", "port": it.counter.port}],
    )
    it.wait_for_slice()


def leader_s_slice(it: Tenant) -> None:
    """As Patroni writes for the pod that leads."""
    it.pod(it.counter.ip)
    it.service()
    it.slice(**ref())


THERE = (selector, headless, leader_s_slice)

# -- the five kinds of calls -----------------------------------------------------------------------

Call = Callable[[ApiServer, Tenant, int], Awaitable[object]]


def addresses(api: ApiServer, it: Tenant) -> Addresses:
    async def resolve(host: str, port: int, namespace: str) -> list[str]:
        return [it.counter.ip]

    rules = Rules(SETTINGS.may_call, service_of=SETTINGS.service_called)
    return Addresses(rules, resolve, ServiceBackends(api).find)


async def prometheus(api: ApiServer, it: Tenant, port: int) -> object:
    access = Access(url=SETTINGS.prometheus_url, pin_url=addresses(api, it).pin_url)
    metrics = PrometheusMetrics(access, Limits(connect_seconds=5, read_seconds=5))
    try:
        return await metrics.read_clock(
            Prometheus(f"http://api.{it.namespace}.svc:{port}", it.namespace)
        )
    finally:
        metrics.close()


async def probe(api: ApiServer, it: Tenant, port: int) -> object:
    sent = HttpProbe(name="api", url=f"http://api.{it.namespace}.svc:{port}/")
    return await HttpProbes(addresses(api, it), Values("")).send(it.namespace, sent)


async def webhook(api: ApiServer, it: Tenant, port: int) -> object:
    url = f"http://API.{it.namespace}:{port}/"
    channel = Channel(name="bridge", type="Webhook", url=url, secret_ref=REF)
    return await Senders(Values("key"), addresses(api, it)).send(channel, it.namespace, MESSAGE)


async def mail(api: ApiServer, it: Tenant, port: int) -> object:
    spec = MailSpec.model_validate(
        {
            "host": f"api.{it.namespace}.svc",
            "port": port,
            "encryption": "None",
            "from": "operator@example.com",
            "to": ["on-call@example.com"],
        }
    )
    channel = Channel(name="mail", type="SMTP", mail=spec)
    return await Senders(Values(""), addresses(api, it)).send(channel, it.namespace, MESSAGE)


async def database(api: ApiServer, it: Tenant, port: int) -> object:
    host = f"api.{it.namespace}.svc.cluster.local"
    dsn = f"postgresql://reader:secret@{host}:{port}/shop?sslmode=disable"
    schemas = PostgresSchemas(Values(dsn), addresses(api, it).pin)
    spec = DatabaseSpec.model_validate({"connectionSecretRef": {"name": "db", "key": "dsn"}})
    return await schemas.read(it.namespace, spec)


CALLS = (prometheus, probe, webhook, mail, database)


@pytest.fixture(scope="module")
def kubeconfig(stand: Stand, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The operator's own account, with what the chart grants it."""
    proxy = stand.proxy()
    proxy.start()
    yield proxy.write_kubeconfig(tmp_path_factory.mktemp("services") / "kubeconfig")
    proxy.stop()


@pytest.fixture(scope="module")
def counter(stand: Stand) -> Iterator[Counter]:
    found = Counter()
    server = stand.background.run(found.start())
    yield found
    server.close()


@pytest.fixture(scope="module", autouse=True)
def node(stand: Stand) -> None:
    body: Object = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": BY_HAND}}
    stand.api.create("/api/v1/nodes", body)
    ready = {"type": "Ready", "status": "True"}
    stand.api.merge(f"/api/v1/nodes/{BY_HAND}/status", {"status": {"conditions": [ready]}})


@pytest.fixture
def tenant(stand: Stand, counter: Counter, kubeconfig: Path) -> Tenant:
    counter.count = 0
    return Tenant(stand, stand.namespace("tenant"), stand.namespace("other"), counter, kubeconfig)


def called(it: Tenant, calls: tuple[Call, ...], port: int) -> dict[str, object]:
    async def all_() -> dict[str, object]:
        api = await ApiServer.connect(str(it.kubeconfig), lambda verb, result: None)
        try:
            return {call.__name__: await call(api, it, port) for call in calls}
        finally:
            await api.close()

    return asyncio.run(all_())


@pytest.mark.parametrize("prepare", chosen_of(AWAY, WORST), ids=lambda one: one.__name__)
def test_a_service_that_leads_elsewhere_is_not_called(
    tenant: Tenant, prepare: Callable[[Tenant], None]
) -> None:
    prepare(tenant)

    for port in (PORT, tenant.counter.port):
        found = called(tenant, CALLS, port)

        assert tenant.counter.count == 0, found
        for kind, said in found.items():
            assert "api" in str(getattr(said, "message", said)), (kind, said)


@pytest.mark.parametrize("prepare", THERE, ids=lambda one: one.__name__)
def test_a_service_of_the_namespace_s_pods_is_called(
    tenant: Tenant, prepare: Callable[[Tenant], None]
) -> None:
    prepare(tenant)
    port = tenant.counter.port if prepare is headless else PORT

    for call in CALLS:
        tenant.counter.count = 0
        found = called(tenant, (call,), port)

        assert tenant.counter.count > 0, found


def test_without_the_right_to_look_nothing_is_called_and_the_right_is_named(
    tenant: Tenant, tmp_path: Path
) -> None:
    selector(tenant)
    account = f"/api/v1/namespaces/{tenant.other}/serviceaccounts"
    body = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "rollback-operator"}}
    tenant.stand.api.create(account, body)
    proxy = tenant.stand.proxy(tenant.other)
    proxy.start()
    kubeconfig = proxy.write_kubeconfig(tmp_path / "kubeconfig")
    narrow = Tenant(tenant.stand, tenant.namespace, tenant.other, tenant.counter, kubeconfig)

    found = called(narrow, CALLS, PORT)
    proxy.stop()

    assert tenant.counter.count == 0
    for kind, said in found.items():
        assert "may not list services" in str(getattr(said, "message", said)), (kind, said)
