"""Operators that die, or are removed, while they hold a rollout: no Deployment stays paused.

Nothing here may use the module's cluster-wide operator: it would let go what these have held.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.integration.api import eventually, policies, throughout
from tests.integration.api_proxy import ApiProxy, Call, Cut
from tests.integration.held import (
    BATCH_SECONDS,
    FINALIZER,
    STAGED,
    finalizers,
    hold,
    is_paused,
    rolling,
    wait_until_held,
)
from tests.integration.operator_process import COMMAND, OperatorProcess, Options, Zygote
from tests.integration.service import Service, outcome
from tests.integration.stand import Stand
from tests.integration.traffic import BAD, GOOD, SILENT, Flow
from tests.integration.writes import BY_CUTTING, Cutting, Point, kind, once, points, twice
from tests.integration.writes import HOLD as HOLD_WRITES

pytestmark = [pytest.mark.xdist_group("hold-crashes"), pytest.mark.timeout(1200)]

AT_ONCE = 5
LONGEST_SECONDS = 120.0


@dataclass
class Starts:
    """Starts operators for one namespace."""

    zygote: Zygote
    proxy: ApiProxy
    options: Options
    log: Path
    started: list[OperatorProcess] = field(default_factory=list)

    def __call__(self) -> OperatorProcess:
        process = self.zygote.start(self.options, self.log)
        self.started.append(process)
        process.wait_until_ready()
        return process


@contextmanager
def own_operator(
    stand: Stand,
    zygote: Zygote,
    service: Service,
    directory: Path,
    lease_seconds: int = Options.lease_seconds,
) -> Iterator[Starts]:
    """Gives a service operators of its own, under the chart's rights in its namespace."""
    stand.grant(service.namespace)
    proxy = stand.proxy(service.namespace)
    proxy.start()
    options = Options(
        proxy.write_kubeconfig(directory / "kubeconfig"),
        stand.prometheus.url,
        # A container that is started again has the name of its pod, as before.
        identity=service.namespace,
        namespaces=service.namespace,
        lease_namespace=service.namespace,
        lease_seconds=lease_seconds,
    )
    starts = Starts(zygote, proxy, options, directory / "operator.log")
    try:
        yield starts
    finally:
        for process in starts.started:
            process.kill()
        proxy.stop()


@pytest.mark.extended
def test_the_next_leader_lets_go_what_the_last_one_held(
    stand: Stand, zygote: Zygote, service: Service, tmp_path: Path
) -> None:
    service.deploy()
    service.remember()
    with own_operator(stand, zygote, service, tmp_path) as start:
        first = start()
        service.adopt(**STAGED)
        rolling(service, "v2", SILENT)
        wait_until_held(service, "Stage")
        first.kill()
        service.unwatch()  # it waits for its finalizer
        assert is_paused(service)

        start()

        path = f"{policies(service.namespace)}/{service.name}"
        eventually(lambda: stand.api.find(path) is None, "the policy is gone", 60.0)
        assert not is_paused(service)


def test_the_command_lets_go_and_nothing_is_held_again(
    stand: Stand, zygote: Zygote, service: Service, tmp_path: Path
) -> None:
    service.deploy()
    service.remember()
    with own_operator(stand, zygote, service, tmp_path, lease_seconds=9) as start:
        leader = start()
        service.adopt(**STAGED)
        rolling(service, "v2", SILENT)
        wait_until_held(service, "Stage")

        done = subprocess.run(
            [
                str(COMMAND),
                "release",
                f"--kubeconfig={tmp_path / 'kubeconfig'}",
                f"--namespaces={service.namespace}",
                f"--lease-namespace={service.namespace}",
                "--lease-seconds=5",
            ],
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )

        assert done.returncode == 0, done.stderr
        assert f"policy {service.namespace}/{service.name}: released" in done.stdout
        assert (is_paused(service), FINALIZER in finalizers(service)) == (False, False)
        assert hold(service)["releaseReason"] == "ReleasedByCommand"
        leader.wait_for_end()
        start()
        throughout(8.0, lambda: is_paused(service))


# -- killed at each write of a hold and of its end -------------------------------------------------


@dataclass
class Walk:
    """One staged release while the operator dies once, or not at all."""

    stand: Stand
    zygote: Zygote
    directory: Path
    flow: Flow = GOOD
    number: int = 0
    is_before: bool = True
    point: str = ""
    """The resource, or the kind of write, of which the n-th is meant; empty: any write."""
    reason: str = ""
    """Why the rollout was let go."""
    faults: list[str] = field(default_factory=list)

    def go(self) -> Walk:
        service = self.service = Service(self.stand, self.stand.namespace("hold-walk"))
        service.deploy(minReadySeconds=BATCH_SECONDS)
        service.remember()
        self.before = service.deployment()["spec"]
        directory = self.directory / service.namespace
        directory.mkdir()
        with own_operator(self.stand, self.zygote, service, directory) as start:
            self._through(start)
        service.retire()
        return self

    def _through(self, start: Starts) -> None:
        service = self.service
        try:
            operator = start()
            service.adopt(**STAGED)
            eventually(self._has_control, "v1 is one to go back to")
            self.proxy = start.proxy
            self.proxy.cut_at(Cut(self.number, self.is_before, operator.kill, self._is_meant))
            # It stands still until it is held: a late operator would have nothing left to hold.
            rolling(service, "v2", self.flow)
            is_still = True

            def probe() -> bool:
                nonlocal operator, is_still
                if is_still and (self.proxy.died_at is not None or self._was_held()):
                    service.change(minReadySeconds=BATCH_SECONDS)
                    is_still = False
                if not operator.is_running():
                    operator = start()
                return self._is_over()

            eventually(probe, "the rollout is over", LONGEST_SECONDS, every=0.3)
            self.faults += self._left()
            self.reason = hold(service).get("releaseReason", "")
        except AssertionError as error:
            self.faults.append(f"{error}; {service.told()}")

    def _has_control(self) -> bool:
        return any(one["health"] == "Assumed" for one in self.service.status()["revisions"])

    def _was_held(self) -> bool:
        return bool({"pausedTime", "releasedTime"} & set(hold(self.service)))

    def _is_over(self) -> bool:
        known = hold(self.service)
        # A rollout may be over before the next operator is there: then it is not held at all.
        is_closed = (not known or "releasedTime" in known) and not finalizers(self.service)
        found = self.service.rollbacks()
        is_undone = bool(found) and outcome(found[-1])[0] != "None"
        wanted = is_undone if self.flow is BAD else self.service.is_rolled_out()
        return wanted and is_closed and not is_paused(self.service)

    def _left(self) -> Iterator[str]:
        """List what is not as it has to be, whenever the operator died."""
        version = "v1" if self.flow is BAD else "v2"
        spec = self.service.deployment()["spec"]
        if self.service.image != version:
            yield f"image {self.service.image}"
        if {**spec, "template": {}} != {**self.before, "template": {}}:
            yield f"the Deployment's spec is not as it was: {spec}"
        told = {one.partition(":")[0] for one in self.service.events()}
        if hold(self.service).get("pausedTime") and not {"RolloutHeld", "RolloutLetGo"} <= told:
            yield f"told is only {told}"

    def _is_meant(self, call: Call) -> bool:
        return self.point in ("", call.resource, kind(call))

    @property
    def row(self) -> str:
        died_at = self.proxy.died_at
        at = f"not reached: {self.point}" if died_at is None else kind(died_at)
        moment = "before" if self.is_before else "after"
        return f"{self.number:>2} {moment:<6} {at:<40} {'; '.join(self.faults) or self.reason}"


@pytest.fixture(scope="module")
def writes(
    stand: Stand, zygote: Zygote, tmp_path_factory: pytest.TempPathFactory
) -> Sequence[Call]:
    """List what an operator writes for a staged release if nobody kills it."""
    rehearsal = Walk(stand, zygote, tmp_path_factory.mktemp("rehearsal")).go()
    assert rehearsal.faults == []
    return rehearsal.proxy.writes()[-rehearsal.proxy.counted :]


SHORT = (("deployments: pause", 1), ("deployments: resume", 1))
"""A pause that is stored and unanswered is what could be lost."""


@BY_CUTTING
def test_no_crash_at_any_write_of_a_hold_leaves_a_deployment_paused(
    request: pytest.FixtureRequest, tmp_path: Path, cutting: Cutting
) -> None:
    stand, zygote = map(request.getfixturevalue, ("stand", "zygote"))
    cuts: Iterable[Point] = SHORT if cutting is once else points(request.getfixturevalue("writes"))

    done = side_by_side(
        Walk(stand, zygote, tmp_path, GOOD, number, is_before, point)
        for point, number, is_before in cutting(cuts)
    )

    assert [one.row for one in done if one.faults] == []
    # How often a kind is written differs from run to run; that it is written does not.
    written = {kind(call) for one in done for call in one.proxy.writes()}
    assert HOLD_WRITES - written == set()
    cut = {kind(one.proxy.died_at) for one in done if one.proxy.died_at}
    assert (HOLD_WRITES if cutting is twice else {point for point, _ in SHORT}) - cut == set()


@BY_CUTTING
@pytest.mark.extended
def test_no_crash_about_a_bad_staged_release_leaves_it_paused(
    stand: Stand, zygote: Zygote, tmp_path: Path, cutting: Cutting
) -> None:
    cuts = (
        ("rollbackpolicies", 1),
        ("rollbackpolicies/status", 1),
        ("deployments", 1),
        ("deployments", 2),
        ("rollbackpolicies", 2),
    )

    done = side_by_side(
        Walk(stand, zygote, tmp_path, BAD, number, is_before, resource)
        for resource, number, is_before in cutting(cuts)
    )

    assert [one.row for one in done if one.faults] == []


def side_by_side(walks: Iterable[Walk]) -> list[Walk]:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        done = list(pool.map(Walk.go, walks))
    print("\n".join(one.row for one in done))
    return done
