"""A stop for everything, as people call it: nobody acts, whoever runs, until it is lifted."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.integration.api import eventually, throughout
from tests.integration.api_proxy import ApiProxy
from tests.integration.operator_process import COMMAND, OperatorProcess, Options, Zygote
from tests.integration.service import Service, outcome
from tests.integration.stand import Stand
from tests.integration.traffic import BAD, GOOD

pytestmark = [pytest.mark.xdist_group("stop"), pytest.mark.timeout(1200)]

WHY = "maintenance of the network"
LONG_ENOUGH_SECONDS = 12.0
"""A bad release is undone sooner, where nobody has stopped anything."""
COMMAND_SECONDS = 600


@dataclass
class Stopped:
    """An operator over a healthy service, and a person at a shell."""

    service: Service
    stand: Stand
    zygote: Zygote
    proxy: ApiProxy
    directory: Path
    process: OperatorProcess

    def says(self, *words: str) -> str:
        """Call `kubectl rollback`; what it says."""
        argv = [COMMAND.with_name("kubectl-rollback"), *words]
        kubeconfig = f"--kubeconfig={self.stand.cluster.kubeconfig}"
        done = subprocess.run(
            [*argv, kubeconfig],
            capture_output=True,
            text=True,
            check=False,
            timeout=COMMAND_SECONDS,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def stop(self) -> None:
        said = self.says("suspend", "--all-namespaces", "--reason", WHY)
        assert f"operator {self.service.namespace}/rollback-operator: stopped" in said
        self.service.wait_for("Ready", "EverythingSuspended")

    def restart(self) -> None:
        """End the operator in good order, and start another."""
        self.process.terminate()
        self.process.wait_for_end()
        self.process = started(self.service, self.stand, self.zygote, self.proxy, self.directory)
        eventually(lambda: WHY in self.process.tail(), "the next one has read it")

    def has_acted(self) -> str:
        """Tell what the operator has done; empty: nothing."""
        changes = self.proxy.changes_of_deployments(self.service.namespace)
        made = [one for one in self.proxy.writes() if one.resource == "rollbacks"]
        return ", ".join(f"{one.verb} {one.resource}" for one in (*changes, *made))


def started(
    service: Service, stand: Stand, zygote: Zygote, proxy: ApiProxy, directory: Path
) -> OperatorProcess:
    options = Options(
        proxy.write_kubeconfig(directory / "kubeconfig"),
        stand.prometheus.url,
        namespaces=service.namespace,
        lease_namespace=service.namespace,
    )
    process = zygote.start(options, directory / "operator.log")
    process.wait_until_ready()
    return process


@pytest.fixture
def stopped(stand: Stand, zygote: Zygote, service: Service, tmp_path: Path) -> Iterator[Stopped]:
    """Stop an operator that has watched a healthy service."""
    stand.grant(service.namespace)
    proxy = stand.proxy(service.namespace)
    proxy.start()
    found: Stopped | None = None
    try:
        process = started(service, stand, zygote, proxy, tmp_path)
        found = Stopped(service, stand, zygote, proxy, tmp_path, process)
        service.prepare()
        found.stop()
        yield found
    finally:
        if found is not None:
            found.process.kill()
            found.says("resume", "--all-namespaces")  # Leases of other tests have it as well
        proxy.stop()


def test_a_bad_release_is_left_until_it_is_lifted_though_the_operator_is_started_anew(
    stopped: Stopped,
) -> None:
    service = stopped.service
    service.roll_out("v2", BAD)

    throughout(LONG_ENOUGH_SECONDS, stopped.has_acted)
    said = stopped.says("status", "-n", service.namespace)
    assert "EverythingSuspended" in said
    assert WHY in said

    stopped.restart()
    throughout(LONG_ENOUGH_SECONDS, stopped.has_acted)
    assert service.reason("Ready") == ("False", "EverythingSuspended")
    assert service.image == "v2"

    assert "resumed" in stopped.says("resume", "--all-namespaces")
    assert outcome(service.wait_for_rollback()) == ("Verified", "Recovered"), service.told()
    assert service.image == "v1"
    assert len(service.rollbacks()) == 1
    assert service.condition("Ready")["status"] == "True"


@pytest.mark.extended
def test_what_a_person_asks_for_is_refused_and_done_when_they_ask_again(stopped: Stopped) -> None:
    service = stopped.service
    service.roll_out("v2", GOOD)
    service.wait_for_rollout()

    service.ask("stopped")
    eventually(lambda: service.request("stopped").get("status", {}).get("outcome"), "an answer")
    assert outcome(service.request("stopped")) == ("Refused", "EverythingSuspended")
    complete = service.request("stopped")["status"]["conditions"][-1]
    assert WHY in complete["message"]
    assert stopped.proxy.changes_of_deployments(service.namespace) == []

    stopped.says("resume", "--all-namespaces")
    eventually(lambda: service.condition("Ready").get("status") == "True", "it goes on")
    service.ask("lifted")
    eventually(lambda: service.image == "v1", "the undo is done")
