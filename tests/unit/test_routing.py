"""When the Services of a release are read, and when no more."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from rollback_operator.api.v1alpha1 import RUNBOOK_MATRIX, RollbackPolicy, SignalName
from rollback_operator.evidence.watch import Watch, open_watch
from rollback_operator.model.services import Service
from rollback_operator.model.workload import Workload
from rollback_operator.ports.failure import Failure, FailureKind
from rollback_operator.reconcile.observe.routing import Router
from tests.builders import T0, make_pods, make_policy, make_replica_set, make_workload
from tests.fakes.failures import OUTAGE

LABELS = (("app", "shop"), ("tier", "web"))
SETS = (
    make_replica_set("v2", labels=LABELS[:1]),
    make_replica_set("v1", labels=LABELS, replicas=0),
)
CUT = Service("web", LABELS, ("8080",), has_ready_endpoint=False)
LEADS = replace(CUT, has_ready_endpoint=True)


@dataclass
class Bench:
    policy: RollbackPolicy = field(default_factory=make_policy)
    workload: Workload = field(default_factory=lambda: make_workload(replica_sets=SETS))
    found: tuple[Service, ...] | Failure = (CUT,)
    seconds: float = 0.0
    reads: int = 0

    def __post_init__(self) -> None:
        self.router = Router(self, lambda: T0 + self.seconds)
        self.watch: Watch = open_watch("digest-v2", T0, frozenset({"hashv1"}))

    async def list_all(self, namespace: str) -> tuple[Service, ...] | Failure:
        self.reads += 1
        return self.found

    async def look(self, times: int = 1) -> None:
        for _ in range(times):
            self.seconds += 1
            self.watch = await self.router.observe(self.watch, self.workload, self.policy)


async def test_what_leads_nowhere_is_looked_at_again_until_it_is_shown() -> None:
    bench = Bench()

    await bench.look(times=4)
    assert (bench.reads, bench.watch.routing.is_lost) == (1, False)

    await bench.look(times=4)
    assert (bench.reads, bench.watch.routing.is_lost) == (2, True)


async def test_what_leads_to_the_release_is_read_once() -> None:
    bench = Bench(found=(LEADS,))

    await bench.look(times=30)

    assert bench.reads == 1


async def test_pods_that_are_not_all_new_and_ready_have_no_endpoints_to_look_for() -> None:
    old = make_pods(1, "v1")
    bench = Bench(workload=make_workload(replica_sets=SETS, pods=(*make_pods(3), *old)))

    await bench.look(times=10)

    assert bench.reads == 0


async def test_a_pod_that_becomes_unready_begins_it_anew() -> None:
    bench = Bench()
    await bench.look()
    whole = bench.workload
    unready = replace(whole.pods[0], ready=False, ready_since=None)

    bench.workload = replace(whole, pods=(unready, *whole.pods[1:]))
    await bench.look(times=6)
    bench.workload = whole
    await bench.look()

    assert (bench.reads, bench.watch.routing.is_lost) == (2, False)


@pytest.mark.parametrize(
    ("failure", "reads"),
    [(OUTAGE, 2), (Failure(FailureKind.REJECTED, "services is forbidden"), 1)],
)
async def test_what_cannot_be_read_speaks_against_nobody(failure: Failure, reads: int) -> None:
    bench = Bench(found=failure)

    await bench.look(times=8)

    assert bench.reads == reads
    assert not bench.watch.routing.is_lost


async def test_a_matrix_without_the_signal_reads_nothing() -> None:
    matrix = [
        rule.model_copy(
            update={"when": [one for one in rule.when if one.signal is not SignalName.TRAFFIC_LOST]}
        )
        for rule in RUNBOOK_MATRIX
    ]
    bench = Bench(policy=make_policy(matrix=matrix))

    await bench.look(times=10)

    assert bench.reads == 0
