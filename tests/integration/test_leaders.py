"""Two operators, one Lease: one acts, however the other ends; what wakes late does nothing."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from tests.integration.api import eventually
from tests.integration.api_proxy import ApiProxy, Call, Cut
from tests.integration.operator_process import OperatorProcess, Options, Zygote
from tests.integration.service import Service, outcome
from tests.integration.stand import Stand
from tests.integration.traffic import BAD
from tests.sizes import chosen_of

pytestmark = [pytest.mark.xdist_group("leaders"), pytest.mark.timeout(1200)]

LEASE_SECONDS = 6
MARGIN_SECONDS = 4.0


@dataclass
class Replica:
    """One operator, and what it has asked of the API server."""

    process: OperatorProcess
    proxy: ApiProxy
    identity: str

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.process.pid, number)

    def done(self, since: int = 0) -> list[Call]:
        """List its writes that came to something, but for those to the Lease."""
        return [one for one in self.proxy.calls[since:] if one.is_counted and is_done(one)]

    def acts(self) -> list[Call]:
        """List its changes of a template."""
        return [one for one in self.proxy.calls if is_done(one) and changes_template(one)]


def is_done(call: Call) -> bool:
    return call.status // 100 == 2


def changes_template(call: Call) -> bool:
    operations = call.body if isinstance(call.body, list) else []
    return call.resource == "deployments" and any(
        one["op"] != "test" and one["path"].startswith("/spec/template") for one in operations
    )


@dataclass
class Pair:
    """A leader and a standby over a service with a past."""

    service: Service
    leader: Replica
    standby: Replica

    def seconds_to_take_over(self, longest: float) -> float:
        begin = time.monotonic()
        eventually(
            lambda: self.service.leader == self.standby.identity, "the standby leads", longest
        )
        return time.monotonic() - begin

    def see_undone_once(self) -> None:
        """See that the bad release is taken back, whoever leads."""
        assert outcome(self.service.wait_for_rollback()) == ("Verified", "Recovered")
        assert len(self.service.rollbacks()) == 1
        assert self.service.image == "v1"
        assert len(self.leader.acts() + self.standby.acts()) == 1


def leads(pair: Pair, identity: str) -> bool:
    return pair.service.leader == identity


@pytest.fixture
def pair(stand: Stand, zygote: Zygote, service: Service, tmp_path: Path) -> Iterator[Pair]:
    stand.grant(service.namespace)
    service.deploy(replicas=2)
    service.remember()
    replicas = []
    try:
        for identity in ("first", "second"):
            proxy = stand.proxy(service.namespace)
            proxy.start()
            options = Options(
                proxy.write_kubeconfig(tmp_path / f"kubeconfig-{identity}"),
                stand.prometheus.url,
                identity=identity,
                namespaces=service.namespace,
                lease_namespace=service.namespace,
                lease_seconds=LEASE_SECONDS,
            )
            process = zygote.start(options, tmp_path / f"{identity}.log")
            replicas.append(Replica(process, proxy, identity))
            process.wait_until_ready()
            found = Pair(service, replicas[0], replicas[-1])
            eventually(partial(leads, found, "first"), "the first leads")
        service.adopt()
        yield found
    finally:
        for one in replicas:
            one.process.kill()
            one.proxy.stop()


def test_only_the_leader_acts_and_gives_the_lease_up_when_it_ends(pair: Pair) -> None:
    pair.service.roll_out("v2", BAD)
    pair.see_undone_once()
    assert pair.standby.done() == []

    pair.leader.process.terminate()

    pair.seconds_to_take_over(LEASE_SECONDS + MARGIN_SECONDS)
    pair.leader.process.wait_for_end()
    assert "lease released" in pair.leader.process.tail()
    pair.service.amend(suspend=True)
    pair.service.wait_for("Ready", "Suspended")
    assert len(pair.service.rollbacks()) == 1


def test_a_dead_leader_is_replaced_when_its_lease_has_ended(pair: Pair) -> None:
    pair.leader.process.kill()
    pair.service.roll_out("v2", BAD)

    seconds = pair.seconds_to_take_over(LEASE_SECONDS + MARGIN_SECONDS)

    assert seconds > LEASE_SECONDS / 3, "nobody takes what may still be held"
    pair.see_undone_once()


@pytest.mark.extended
def test_a_leader_that_wakes_late_does_nothing(pair: Pair) -> None:
    pair.leader.signal(signal.SIGSTOP)
    pair.service.roll_out("v2", BAD)
    pair.seconds_to_take_over(LEASE_SECONDS + MARGIN_SECONDS)
    pair.see_undone_once()
    since = len(pair.leader.proxy.calls)

    pair.leader.signal(signal.SIGCONT)

    pair.leader.process.wait_for_end()
    assert pair.leader.done(since) == []
    assert pair.service.leader == pair.standby.identity
    assert len(pair.service.rollbacks()) == 1


@pytest.mark.parametrize("resource", chosen_of(["rollbacks", "deployments"], ["deployments"]))
def test_a_leader_that_falls_asleep_in_the_act_does_not_act_when_it_wakes(
    pair: Pair, resource: str
) -> None:
    """It sleeps as it stores the intent, or as it undoes: its connection is gone when it wakes."""
    asleep = Cut(
        1, True, lambda: pair.leader.signal(signal.SIGSTOP), lambda call: call.resource == resource
    )
    pair.leader.proxy.cut_at(asleep)
    pair.service.roll_out("v2", BAD)
    eventually(lambda: asleep.at, "the leader sleeps")
    pair.seconds_to_take_over(LEASE_SECONDS + MARGIN_SECONDS)
    pair.see_undone_once()
    since = len(pair.leader.proxy.calls)

    pair.leader.signal(signal.SIGCONT)

    pair.leader.process.wait_for_end()
    assert pair.leader.done(since) == []
    assert len(pair.service.rollbacks()) == 1
