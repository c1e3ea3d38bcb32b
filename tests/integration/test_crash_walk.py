"""The operator is killed at each of its writes, before it is sent and before it is answered.

Whatever the moment, the next operator carries on: one Rollback, one change of the Deployment, the
strategy as it was, the outcome reached and told, nothing left behind.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.integration.api import eventually
from tests.integration.api_proxy import Call, Cut
from tests.integration.operator_process import OperatorProcess, Options, Zygote
from tests.integration.service import FLAG, FLAGS, REPOSITORY, SETTINGS, Service, outcome
from tests.integration.stand import Stand
from tests.integration.traffic import BAD, GOOD
from tests.integration.writes import BY_CUTTING, Cutting, Point, chosen, kind, once, points, twice
from tests.integration.writes import UNDO as UNDO_WRITES

pytestmark = [pytest.mark.xdist_group("crash-walk"), pytest.mark.timeout(1200)]

AT_ONCE = 5
"""Walks that go on side by side: each has a namespace, a proxy and an operator of its own."""
LONGEST_SECONDS = 120.0
UNDO = {"type": "Undo", "to": "LastKnownGood"}
PIN = {"type": "PinImage", "container": "shop", "image": f"{REPOSITORY}:v1"}
SCALE = {"type": "Scale", "replicas": 6}
RESTORE = {**UNDO, "restore": [SETTINGS]}
DISABLE = {
    "type": "DisableFlag",
    "flag": {"name": FLAG, "value": "false", "configMapRef": {"name": FLAGS}},
}


@dataclass
class Walk:
    """One release that is taken back while the operator dies once, or not at all."""

    stand: Stand
    zygote: Zygote
    directory: Path
    remedy: Mapping[str, Any]
    number: int = 0
    is_before: bool = True
    point: str = ""
    """The resource, or the kind of write, of which the n-th is meant; empty: any write."""
    late: dict[str, float] = field(default_factory=dict)
    """Seconds by which the next operator's lists of a resource are late."""
    faults: list[str] = field(default_factory=list)
    flags: tuple[str, ...] = ()
    """Further ones of the operators."""
    seconds: float = LONGEST_SECONDS
    states: list[str] = field(default_factory=list)
    """Before the release and after the end."""
    changes: int = 1
    """Of the Deployment's template or replicas, by the operator."""

    def go(self) -> Walk:
        service = self.service = Service(self.stand, self.stand.namespace("walk"))
        self.stand.grant(service.namespace)
        if self.remedy is DISABLE:
            service.has_flag("true")
        if self.remedy is RESTORE:
            service.has_settings(TIMEOUT="10")
        service.deploy()
        with self.surrounded():
            self._go()
        return self

    @contextmanager
    def surrounded(self) -> Iterator[None]:
        """What else there is while the operator walks."""
        yield

    def adopt(self) -> None:
        safety = {"safety": {"goodAfterSeconds": 10}} if self.remedy is RESTORE else {}
        self.service.adopt(remedies=[self.remedy], **safety)
        if self.remedy is RESTORE:
            assert "digest" in self.service.wait_until_stored()

    def release(self) -> None:
        if self.remedy is RESTORE:
            self.service.reconfigure("v2", BAD, TIMEOUT="0")
        else:
            self.service.roll_out("v2", BAD)

    def _go(self) -> None:
        service = self.service
        service.remember()
        self.before = service.deployment()["spec"]
        proxy = self.proxy = self.stand.proxy(service.namespace)
        proxy.start()
        operator = self._start()
        try:
            operator.wait_until_ready()
            self.adopt()
            proxy.cut_at(Cut(self.number, self.is_before, operator.kill, self._is_meant))
            self.states.append(self.state())
            self.release()
            operator = self._carry_through(operator)
            self.states.append(self.state())
            self.faults += self.left_wrong()
        except AssertionError as error:
            self.faults.append(f"{error}; {service.told()}\n{operator.tail()}")
        finally:
            operator.kill()
            proxy.stop()
            service.retire()

    def _start(self) -> OperatorProcess:
        namespace = self.service.namespace
        kubeconfig = self.proxy.write_kubeconfig(self.directory / f"kubeconfig-{namespace}")
        options = Options(
            kubeconfig,
            self.stand.prometheus.url,
            # A container that is started again has the name of its pod, as before.
            identity=namespace,
            namespaces=namespace,
            lease_namespace=namespace,
            flags=self.flags,
        )
        return self.zygote.start(options, self.directory / f"operator-{namespace}.log")

    def _carry_through(self, operator: OperatorProcess) -> OperatorProcess:
        """Start the next operator when one has died, and wait for the end of it all."""
        running = operator

        def probe() -> bool:
            nonlocal running
            if not running.is_running():
                self.proxy.delays = self.late
                running = self._start()
            if self.remedy is SCALE and self.service.deployment()["spec"]["replicas"] == 6:
                self.service.flow("v2", GOOD)
            if self.remedy is DISABLE and self.service.flag() == "false":
                self.service.flow("v2", GOOD)
            return self.is_over()

        eventually(probe, "the rollback is over and on record", self.seconds, every=0.5)
        return running

    def is_over(self) -> bool:
        return self.service.is_over()

    def state(self) -> str:
        """Show what may neither be lost nor changed twice."""
        return f"{self.service.image} x {self.service.deployment()['spec']['replicas']}"

    def left_wrong(self) -> Iterator[str]:
        """List what is not as it has to be, whenever the operator died."""
        service = self.service
        found = service.rollbacks()
        if len(found) != 1:
            yield f"{len(found)} rollbacks"
        if outcome(found[0]) != ("Verified", "Recovered"):
            yield f"outcome {outcome(found[0])}"
        acts = [one for one in self.proxy.calls if one.status == 200 and is_act(one)]
        if len(acts) != self.changes:
            yield f"{len(acts)} changes of the Deployment"
        spec = service.deployment()["spec"]
        wanted = {**self.before, **({"replicas": 6} if self.remedy is SCALE else {})}
        version = "v2" if self.remedy in (SCALE, DISABLE) else "v1"
        if service.image != version:
            yield f"image {service.image}"
        if {**spec, "template": {}} != {**wanted, "template": {}}:
            yield f"the Deployment's spec is not as it was: {spec}"
        told = {one.partition(":")[0] for one in service.events()}
        if not {"RollbackStarted", "RollbackFinished"} <= told:
            yield f"told is only {told}"
        if self.remedy is DISABLE:
            yield from self._flag_left_wrong()
        elif not any(one["health"] == "Bad" for one in service.status()["revisions"]):
            yield "the ledger does not know the bad release"
        yield from _open_steps(found[0])
        if self.remedy is RESTORE:
            yield from self._settings_left_wrong()

    def _settings_left_wrong(self) -> Iterator[str]:
        writes = [one for one in self.proxy.calls if one.status == 200 and is_restore(one)]
        settings = self.service.settings()
        if len(writes) != 1 or settings != {"TIMEOUT": "10"}:
            yield f"the settings are {settings}, restored {len(writes)} times"

    def _flag_left_wrong(self) -> Iterator[str]:
        writes = [one for one in self.proxy.calls if one.status == 200 and is_flag(one)]
        if len(writes) != 1 or self.service.flag() != "false":
            yield f"the flag is {self.service.flag()}, set {len(writes)} times"

    def _is_meant(self, call: Call) -> bool:
        if self.point == "deployments: act":
            return is_act(call)  # a pause may come before it
        return self.point in ("", call.resource, kind(call))

    @property
    def row(self) -> str:
        died_at = self.proxy.died_at
        at = f"not reached: {self.point}" if died_at is None else kind(died_at)
        moment = "before" if self.is_before else "after"
        point = f"{type(self).__name__} {self.remedy['type']} {self.number:>2} {moment:<6} {at:<40}"
        return f"{point} {'; '.join(self.faults) or 'Verified'}"


def _open_steps(rollback: Mapping[str, Any]) -> Iterator[str]:
    if any("finishedTime" not in one for one in rollback["status"]["steps"]):
        yield "a step has no end"


def is_flag(call: Call) -> bool:
    """Tell whether a call sets the flag."""
    return call.resource == "configmaps" and call.verb == "patch"


def is_restore(call: Call) -> bool:
    """Tell whether a call restores the ConfigMap."""
    return (call.verb, call.resource, call.name) == ("patch", "configmaps", SETTINGS)


def is_act(call: Call) -> bool:
    """Tell whether a call changes the template or the replicas."""
    operations = call.body if isinstance(call.body, list) else []
    return call.resource == "deployments" and any(
        one["op"] != "test" and one["path"].startswith(("/spec/template", "/spec/replicas"))
        for one in operations
    )


@pytest.fixture(scope="module")
def writes(
    stand: Stand, zygote: Zygote, tmp_path_factory: pytest.TempPathFactory
) -> Sequence[Call]:
    """List what an operator writes for an undo if nobody kills it."""
    rehearsal = Walk(stand, zygote, tmp_path_factory.mktemp("rehearsal"), UNDO).go()
    assert rehearsal.faults == []
    # A cut at number 0 counts and never cuts.
    return rehearsal.proxy.writes()[-rehearsal.proxy.counted :]


# The cuts of the short tier: before it is answered and before it is sent by turns.
UNDO_SHORT = (("deployments: template", 1), ("rollbacks: intent", 1))
FLAG_CUTS = (
    ("rollbacks", 1),
    ("rollbacks/status: DisableFlag begun", 1),
    ("configmaps: flag", 1),
    ("rollbacks/status: DisableFlag ended", 1),
    ("rollbacks/status: RestartPods begun", 1),
    ("deployments: act", 1),
    ("rollbacks/status: RestartPods ended", 1),
    ("rollbacks/status: over", 1),
)
FLAG_SHORT = (("configmaps: flag", 1),)
RESTORE_CUTS = (
    ("rollbacks", 1),
    ("rollbacks/status: RestoreConfiguration begun", 1),
    ("configmaps: content", 1),
    ("rollbacks/status: RestoreConfiguration ended", 1),
    ("rollbacks/status: Undo begun", 1),
    ("deployments: act", 1),
    ("rollbacks/status: Undo ended", 1),
    ("rollbacks/status: over", 1),
)
RESTORE_SHORT = (("configmaps: content", 1),)
OTHER_CUTS = (
    ("rollbacks", 1),
    ("rollbacks/status", 1),
    ("deployments: act", 1),
    ("rollbacks/status", 2),
)
OTHER_SHORT = (("deployments: act", 1),)


@BY_CUTTING
def test_no_crash_at_any_write_of_an_undo_loses_or_repeats_anything(
    request: pytest.FixtureRequest, tmp_path: Path, cutting: Cutting
) -> None:
    stand, zygote = map(request.getfixturevalue, ("stand", "zygote"))
    cuts: Iterable[Point] = (
        UNDO_SHORT if cutting is once else points(request.getfixturevalue("writes"))
    )

    done = side_by_side(
        Walk(stand, zygote, tmp_path, UNDO, number, is_before, point)
        for point, number, is_before in cutting(cuts)
    )

    assert [one.row for one in done if one.faults] == []
    # How often a kind is written differs from run to run; that it is written does not.
    written = {kind(call) for one in done for call in one.proxy.writes()}
    assert UNDO_WRITES - written == set()
    cut = {kind(one.proxy.died_at) for one in done if one.proxy.died_at}
    assert (UNDO_WRITES if cutting is twice else {point for point, _ in UNDO_SHORT}) - cut == set()


@BY_CUTTING
def test_no_crash_about_another_act_loses_or_repeats_anything(
    stand: Stand, zygote: Zygote, tmp_path: Path, cutting: Cutting
) -> None:
    done = side_by_side(
        Walk(stand, zygote, tmp_path, remedy, number, is_before, resource)
        for remedy in (PIN, SCALE)
        for resource, number, is_before in chosen(cutting, OTHER_CUTS, OTHER_SHORT)
    )

    assert [one.row for one in done if one.faults or one.proxy.died_at is None] == []


@BY_CUTTING
def test_no_crash_about_a_flag_loses_or_repeats_anything(
    stand: Stand, zygote: Zygote, tmp_path: Path, cutting: Cutting
) -> None:
    done = side_by_side(
        Walk(stand, zygote, tmp_path, DISABLE, number, is_before, point)
        for point, number, is_before in chosen(cutting, FLAG_CUTS, FLAG_SHORT)
    )

    assert [one.row for one in done if one.faults or one.proxy.died_at is None] == []


@BY_CUTTING
def test_no_crash_about_a_restored_configuration_loses_or_repeats_anything(
    stand: Stand, zygote: Zygote, tmp_path: Path, cutting: Cutting
) -> None:
    done = side_by_side(
        Walk(stand, zygote, tmp_path, RESTORE, number, is_before, point)
        for point, number, is_before in chosen(cutting, RESTORE_CUTS, RESTORE_SHORT)
    )

    assert [one.row for one in done if one.faults or one.proxy.died_at is None] == []


def side_by_side(walks: Iterable[Walk]) -> list[Walk]:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        done = list(pool.map(Walk.go, walks))
    print("\n".join(one.row for one in done))
    return done


@pytest.mark.extended
def test_an_intent_is_not_given_up_because_the_policies_come_late(
    stand: Stand, zygote: Zygote, tmp_path: Path
) -> None:
    walk = Walk(stand, zygote, tmp_path, UNDO, 1, point="rollbacks/status")
    walk.late = {"rollbackpolicies": 2.0}

    assert walk.go().faults == []
    assert walk.proxy.died_at is not None
