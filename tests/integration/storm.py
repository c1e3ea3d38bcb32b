"""One release that is taken back while something goes wrong between the operator and others."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from tests.integration.api import eventually
from tests.integration.api_proxy import Call
from tests.integration.operator_process import KeptOperator, OperatorProcess, Options, Zygote
from tests.integration.service import Service, outcome
from tests.integration.stand import Stand
from tests.integration.traffic import BAD

LONGEST_SECONDS = 240.0
STILL_SECONDS = 4.0
"""Longer than the operator waits between two looks at a release."""
PASSES = "rollback_operator_passes_total"
VERIFIED = ("Verified", "Recovered")


class Struck(Protocol):
    """Whatever counts how often it has struck."""

    struck: int


@dataclass
class Tally:
    """What became of the undo that was wanted."""

    fault: str
    wanted: int = 1
    done: int = 0
    lost: int = 0
    double: int = 0
    struck: int = 0
    restarts: int = 0
    """How often the operator had to be started again."""
    seconds: float = 0.0
    """From the release to the undo."""
    faults: list[str] = field(default_factory=list)

    def row(self) -> dict[str, Any]:
        """Give it as it is written down."""
        return asdict(self)


@dataclass
class Storm:
    """A service, an operator of its own, and a fault from the release on."""

    stand: Stand
    zygote: Zygote
    directory: Path
    name: str
    begin: Callable[[Storm], Struck]
    """Sets the fault off; called when the release is about to go out."""
    prometheus_url: str = ""
    policy: dict[str, Any] = field(default_factory=dict)
    is_at_rest: bool = False
    """Nothing is under watch when the release goes out: only by the watches is it seen to."""
    may_end: bool = False
    """The fault may end the operator, which is then started again."""
    check: Callable[[Storm], Iterator[str]] = lambda _: iter(())
    """Looks at what else is to be as it should."""

    def go(self) -> Tally:
        """Let it come to an end."""
        tally = Tally(self.name)
        service = self.service = Service(self.stand, self.stand.namespace("storm"))
        self.stand.grant(service.namespace)
        service.deploy()
        service.remember()
        before = service.deployment()["spec"]
        proxy = self.proxy = self.stand.proxy(service.namespace)
        proxy.start()
        operator = KeptOperator(self._start)
        released = time.monotonic()
        try:
            operator.process.wait_until_ready()
            service.adopt(**self.policy)
            if self.is_at_rest:
                service.settle()
                eventually(lambda: is_still(operator.process), "nothing is looked at")
            striking = self.begin(self)
            released = time.monotonic()
            service.roll_out("v2", BAD)
            eventually(self.service.is_over, "the rollback is over", LONGEST_SECONDS, every=0.5)
            tally.faults += self._faults(before)
            tally.faults += self.check(self)
            tally.struck = striking.struck
            if operator.restarts and not self.may_end:
                tally.faults.append(f"the operator has ended: {operator.process.tail()}")
        except AssertionError as error:
            tally.faults.append(f"{error}; {service.told()}\n{operator.process.tail()}")
        finally:
            proxy.fault = proxy.relay = None
            acts = [one for one in proxy.calls if one.status == 200 and is_undo(one)]
            tally.done, tally.double = min(1, len(acts)), max(0, len(acts) - 1)
            tally.seconds = max((one.time - released for one in acts), default=0.0)
            tally.restarts = operator.restarts
            tally.lost = int(service.image != "v1")
            operator.kill()
            proxy.stop()
            service.retire()
        return tally

    def _start(self) -> OperatorProcess:
        namespace = self.service.namespace
        kubeconfig = self.proxy.write_kubeconfig(self.directory / f"kubeconfig-{namespace}")
        options = Options(
            kubeconfig,
            self.prometheus_url or self.stand.prometheus.url,
            identity=namespace,
            namespaces=namespace,
            lease_namespace=namespace,
            flags=("--allowed-hosts=127.0.0.1", "--loopback=allowed"),
        )
        return self.zygote.start(options, self.directory / f"operator-{namespace}.log")

    def _faults(self, before: dict[str, Any]) -> Iterator[str]:
        found = self.service.rollbacks()
        if len(found) != 1:
            yield f"{len(found)} rollbacks"
        if outcome(found[0]) != VERIFIED:
            yield f"outcome {outcome(found[0])}"
        spec = self.service.deployment()["spec"]
        if {**spec, "template": {}} != {**before, "template": {}}:
            yield f"the Deployment's spec is not as it was: {spec}"


def is_still(operator: OperatorProcess) -> bool:
    """Tell whether no pass is made for as long as any policy that is watched waits for one."""
    before = operator.metric(PASSES)
    time.sleep(STILL_SECONDS)
    return operator.metric(PASSES) == before


def is_undo(call: Call) -> bool:
    """Tell whether a call changes the template."""
    operations = call.body if isinstance(call.body, list) else []
    return call.resource == "deployments" and any(
        one["op"] != "test" and one["path"].startswith("/spec/template") for one in operations
    )
