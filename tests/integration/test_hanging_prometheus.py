"""A Prometheus that accepts connections and never answers: nobody waits for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.integration.api import Object, eventually, rollbacks
from tests.integration.conftest import RunningOperator
from tests.integration.faulty_prometheus import FaultyPrometheus, hanging
from tests.integration.operator_process import Options, Zygote
from tests.integration.service import Service, outcome
from tests.integration.stand import Stand
from tests.integration.traffic import GOOD

pytestmark = [pytest.mark.xdist_group("hanging"), pytest.mark.timeout(1200)]
POLICIES = 12
"""More than the operator has workers."""


@pytest.fixture(scope="module")
def server(stand: Stand) -> Iterator[FaultyPrometheus]:
    with FaultyPrometheus(stand.background, stand.prometheus.url) as found:
        found.listen()
        found.fail("all", hanging)
        yield found


@pytest.fixture(scope="module")
def operator(
    stand: Stand,
    server: FaultyPrometheus,
    zygote: Zygote,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[RunningOperator]:
    """An operator all of whose policies read a Prometheus that hangs."""
    directory = tmp_path_factory.mktemp("hanging")
    proxy = stand.proxy()
    proxy.start()
    options = Options(proxy.write_kubeconfig(directory / "kubeconfig"), server.url("all"))
    process = zygote.start(options, directory / "operator.log")
    try:
        process.wait_until_ready()
        yield RunningOperator(process, proxy)  # type: ignore[arg-type] # a fork will do
    finally:
        process.kill()
        proxy.stop()


def ask(service: Service) -> None:
    """Ask for an undo by hand."""
    service.ask()


def is_reading(server: FaultyPrometheus) -> bool:
    return server.open["all"] > 0


def test_an_undo_by_hand_is_done_and_ends_while_prometheus_hangs(
    stand: Stand,
    make_service: Callable[..., Service],
    operator: RunningOperator,
    server: FaultyPrometheus,
) -> None:
    services = [make_service(f"shop-{number}") for number in range(POLICIES)]
    for one in services:
        one.deploy(replicas=1)
    first = services[0]
    first.roll_out("v2", GOOD)
    first.wait_for_rollout()
    for one in services:
        one.watch(verification={"timeoutSeconds": 30})
    eventually(lambda: is_reading(server), "Prometheus is asked")

    ask(first)

    eventually(lambda: first.image == "v1", "the undo is done", 120)

    def done() -> Object | None:
        found = stand.api.get(f"{rollbacks(first.namespace)}/by-hand")
        return found if found.get("status", {}).get("outcome") else None

    ended = eventually(done, "the rollback has ended", 180)
    assert outcome(ended) == ("Unknown", "ProviderUnreachable"), ended["status"]
    assert "retries at least every 30 s" in first.condition("MetricsAvailable")["message"]


@pytest.mark.extended
def test_a_release_is_watched_and_its_status_says_that_prometheus_does_not_answer(
    service: Service, operator: RunningOperator
) -> None:
    service.deploy(replicas=1)
    service.watch()
    service.wait_for("Ready", "SingleReplica")

    service.roll_out("v2", GOOD)

    service.wait_for_watch("v2")
    service.wait_for("MetricsAvailable", "ProviderUnreachable", seconds=120)
    waits = service.wait_for("PodMetricsAvailable", "ProviderUnreachable")
    assert "waits for Prometheus" in waits["message"]
    before = service.policy()["metadata"]["resourceVersion"]
    operator.wait_for_passes(5)
    assert service.policy()["metadata"]["resourceVersion"] == before  # no write a look
