"""What a verification asks, when, and for how long it waits."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import pairwise
from typing import Any

import pytest

from rollback_operator.api.reasons import Reason
from rollback_operator.api.v1alpha1 import (
    CounterSignal,
    Rollback,
    RollbackStatus,
    SignalLabels,
    StepName,
)
from rollback_operator.api.verification import HttpProbe, LogCheck, VerificationSpec
from rollback_operator.evidence.limits import LATENCY_WARM_UP_SECONDS
from rollback_operator.model.check import Check
from rollback_operator.model.pod import Endpoint, Pod
from rollback_operator.model.samples import Missing
from rollback_operator.model.workload import Workload
from rollback_operator.ports.metrics import Prometheus, SeriesQuery
from rollback_operator.reconcile.act.verifying import (
    MOST_VERIFIED_PODS,
    Meter,
    VerificationInputs,
    VerificationSubject,
    Verifier,
)
from rollback_operator.rollback.probing import LineCount, ProbeResponse, Silence
from rollback_operator.stats.histogram import Histogram, added
from tests.builders import (
    T0,
    at,
    make_pods,
    make_replica_set,
    make_rollback,
    make_step,
    make_workload,
)
from tests.fakes.application import FakeLogs, FakeProbes, FakeSchemas
from tests.fakes.metrics import NOTHING, FakeTrends

BUY = HttpProbe(name="buy", url="http://shop.production.svc/buy", method="POST", body="{}")
METER = Meter(
    SeriesQuery(
        Prometheus("http://prometheus"), "production", (), CounterSignal(metric="d"), SignalLabels()
    ),
    0.99,
)
QUICK = Histogram((0.1, 1.0, float("inf")), (1000.0, 1000.0, 1000.0))
SLOW = Histogram((0.1, 1.0, float("inf")), (0.0, 1000.0, 1000.0))
LIVE, READY = Endpoint("/live", 80), Endpoint("/ready", 80)
PODS = make_pods(
    2, "v1", created=T0 + 11, started=T0 + 12, address="10.0.0.1", endpoints=(LIVE, READY)
)


def rollback(**spec: Any) -> Rollback:
    steps = [
        make_step(StepName.UNDO, 10, 11),
        make_step(StepName.ROLLOUT_COMPLETE, 11, 20),
        make_step(StepName.VERIFY, 20),
    ]
    return make_rollback(status=RollbackStatus(steps=steps), verification=VerificationSpec(**spec))


def workload(pods: tuple[Pod, ...] = PODS) -> Workload:
    sets = (make_replica_set("v1", created=T0 - 9000), make_replica_set("v2", created=T0 + 1))
    return replace(make_workload("v1", ("v2",)), replica_sets=sets, pods=pods)


@dataclass
class Bench:
    """A verifier with everything that it asks, and the time."""

    rollback: Rollback
    workload: Workload = field(default_factory=workload)
    seconds: float = 21.0

    def __post_init__(self) -> None:
        self.probes, self.logs = FakeProbes(), FakeLogs()
        self.trends = FakeTrends()
        self.verifier = Verifier(self.probes, self.logs, self.trends, FakeSchemas(), self.now)

    def now(self) -> datetime:
        return at(self.seconds)

    async def look(self, seconds: float = 0.0, meter: Meter | None = METER) -> dict[str, Check]:
        self.seconds += seconds
        found = await self.verifier.check(
            VerificationSubject(
                self.rollback, self.workload, VerificationInputs(meter=meter), skew=2.0
            )
        )
        return {one.name: one for one in found}


async def test_every_check_that_applies_is_asked_at_the_first_look() -> None:
    bench = Bench(rollback(http=[BUY], logs=LogCheck(pattern="ERROR")))

    found = await bench.look()

    results = {name: str(one.result) for name, one in found.items()}
    assert results == {
        "HealthEndpoints": "Passed",
        "buy": "Passed",
        "Latency": "Unknown",
        "Logs": "Passed",
    }
    assert sorted(bench.probes.asked) == ["10.0.0.1/live"] * 2 + ["10.0.0.1/ready"] * 2


async def test_nothing_is_asked_that_nobody_asked_for() -> None:
    bench = Bench(rollback(), workload(make_pods(2, "v1")))

    assert list(await bench.look()) == ["Latency"]
    assert (bench.probes.sent, bench.probes.asked, bench.logs.queries) == ([], [], [])


async def test_a_probe_that_has_passed_is_not_sent_again() -> None:
    bench = Bench(rollback(http=[BUY]))
    for _ in range(10):
        await bench.look(5.0)

    assert bench.probes.sent == ["buy"]


async def test_a_probe_that_fails_is_tried_again_ever_less_often() -> None:
    bench = Bench(rollback(http=[BUY]))
    bench.probes.answer("buy", ProbeResponse(503))
    times = []
    for _ in range(60):
        before = len(bench.probes.sent)
        found = await bench.look(1.0)
        assert found["buy"].result == "Failed"
        if len(bench.probes.sent) > before:
            times.append(bench.seconds)

    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert gaps[:5] == [1.0, 2.0, 3.0, 5.0, 8.0]
    assert set(gaps[5:]) == {8.0}
    bench.probes.answer("buy", ProbeResponse(200))
    assert (await bench.look(8.0))["buy"].result == "Passed"


async def test_a_probe_that_hangs_keeps_nobody_waiting_and_is_not_sent_twice() -> None:
    bench = Bench(rollback(http=[BUY]))
    bench.probes.delay = 0.6

    first = await bench.look()
    assert (first["buy"].result, first["buy"].is_final) == ("Unknown", False)
    assert first["HealthEndpoints"].result == "Passed"
    await bench.look(5.0)
    assert bench.probes.sent == ["buy"]
    async with asyncio.timeout(5):
        while (await bench.look(1.0))["buy"].result != "Passed":
            pass
    assert bench.probes.sent == ["buy"]


async def test_what_hangs_ends_with_the_rollback() -> None:
    bench = Bench(rollback(http=[BUY]))
    bench.probes.delay = 3600.0
    await bench.look()
    (task,) = bench.verifier.courses[bench.rollback.metadata.uid].running.values()

    await bench.verifier.forget(bench.rollback.metadata.uid)

    assert task.cancelled()
    assert bench.verifier.courses == {}


async def test_health_is_asked_again_while_the_verification_lasts() -> None:
    bench = Bench(rollback())
    await bench.look()
    bench.probes.answer("/ready", ProbeResponse(503))

    assert (await bench.look(1.0))["HealthEndpoints"].result == "Passed"
    assert (await bench.look(1.5))["HealthEndpoints"].result == "Failed"


async def test_only_living_pods_of_the_restored_revision_are_asked_and_not_all_of_many() -> None:
    many = tuple(replace(PODS[0], name=f"pod-{n:02}", address=f"10.0.0.{n}") for n in range(50))
    others = make_pods(2, "v2", address="10.9.9.9", endpoints=(LIVE,))
    dying = replace(PODS[0], name="dying", terminating=True, address="10.8.8.8")
    bench = Bench(rollback(logs=LogCheck(pattern="ERROR")), workload((*others, dying, *many)))

    found = await bench.look()

    assert len({one.partition("/")[0] for one in bench.probes.asked}) == MOST_VERIFIED_PODS
    assert not {"10.9.9.9/live", "10.8.8.8/live"} & set(bench.probes.asked)
    assert f"{MOST_VERIFIED_PODS} of 50 pods" in found["HealthEndpoints"].message
    assert f"{MOST_VERIFIED_PODS} of 50 pods" in found["Logs"].message


@pytest.mark.parametrize(("since", "begin"), [(600, 10.0), (5, 16.0)])
async def test_no_line_from_before_the_rollback_counts(since: int, begin: float) -> None:
    bench = Bench(rollback(logs=LogCheck(pattern="ERROR|FATAL", since_seconds=since)))
    bench.logs.counts[PODS[0].name] = LineCount(7)

    found = await bench.look()

    query = bench.logs.queries[0]
    assert (query.since, query.texts) == (at(begin), ("ERROR", "FATAL"))
    assert query.container == "ticket-service"
    assert found["Logs"].result == "Failed"


async def test_a_container_can_be_named() -> None:
    bench = Bench(rollback(logs=LogCheck(pattern="ERROR", container="proxy")))
    bench.logs.counts[PODS[0].name] = Silence("no such container", is_final=True)

    found = await bench.look()

    assert {one.container for one in bench.logs.queries} == {"proxy"}
    assert found["Logs"].result == "Unknown"


# -- durations -------------------------------------------------------------------------------------


async def test_durations_are_compared_with_those_before_the_bad_release_came() -> None:
    bench = Bench(rollback())
    bench.trends.past = QUICK
    bench.trends.latency = {PODS[0].name: QUICK, "pod-of-another": SLOW}

    found = await bench.look()

    assert found["Latency"].result == "Passed", found
    assert bench.trends.asked == [
        f"past ticket-service-hashv1-[a-z0-9]+ {T0 + 1 + 2:.0f}",
        f"latency d {T0 + 21 + 2:.0f}",
    ]
    bench.trends.latency = {PODS[0].name: SLOW}
    bench.trends.asked.clear()
    await bench.look(6.0)
    assert bench.trends.asked == [f"latency d {T0 + 27 + 2:.0f}"]


async def test_a_slow_restored_release_fails() -> None:
    bench = Bench(rollback())
    bench.trends.past = QUICK
    bench.trends.latency = {PODS[0].name: SLOW}

    assert (await bench.look())["Latency"].result == "Unknown"
    assert (await bench.look(LATENCY_WARM_UP_SECONDS))["Latency"].result == "Unknown"
    bench.trends.latency = {PODS[0].name: added([SLOW, SLOW])}
    assert (await bench.look(6.0))["Latency"].result == "Failed"


async def test_a_slow_warm_up_is_not_held_against_a_release_that_nobody_calls_any_more() -> None:
    bench = Bench(rollback())
    bench.trends.past = QUICK
    bench.trends.latency = {PODS[0].name: SLOW}
    for _ in range(30):
        found = (await bench.look(6.0))["Latency"]
        assert found.result == "Unknown"

    assert "too few requests after the warm-up" in found.message


async def test_what_pods_had_counted_before_the_act_does_not_count() -> None:
    old = tuple(replace(one, created=T0 - 900, started=T0 - 900) for one in PODS)
    bench = Bench(rollback(), workload(old))
    bench.trends.past = QUICK
    bench.trends.latency = {one.name: SLOW for one in old}

    assert (await bench.look())["Latency"].result == "Unknown"
    both = added([SLOW, QUICK])
    bench.trends.latency = {one.name: both for one in old}
    assert (await bench.look(6.0))["Latency"].result == "Passed"


async def test_what_was_slow_while_it_warmed_up_is_forgiven_soon() -> None:
    bench = Bench(rollback())
    bench.trends.past = QUICK
    name = PODS[0].name
    bench.trends.latency = {name: SLOW}
    assert (await bench.look(LATENCY_WARM_UP_SECONDS))["Latency"].result == "Unknown"
    seconds, counted = 0, SLOW
    while seconds < 60:
        counted = added([counted, QUICK])
        bench.trends.latency = {name: counted}
        seconds += 5
        if (await bench.look(5.0))["Latency"].result == "Passed":
            break

    assert seconds == 5


async def test_metrics_that_come_late_are_waited_for() -> None:
    bench = Bench(rollback())
    bench.trends.past = QUICK

    first = (await bench.look())["Latency"]
    assert (first.result, first.is_final) == ("Unknown", False)
    bench.trends.latency = {PODS[0].name: QUICK}
    assert (await bench.look(6.0))["Latency"].result == "Passed"


async def test_a_past_that_prometheus_did_not_answer_for_once_is_asked_for_again() -> None:
    """The first of two hours has requests, and the second has none."""
    bench = Bench(rollback())
    away = Missing(Reason.PROVIDER_UNREACHABLE, "no answer")
    pasts = [away, NOTHING, QUICK]

    async def answer(_: SeriesQuery, __: float) -> Histogram | Missing:
        return pasts.pop(0)

    bench.trends.read_past_latency = answer  # type: ignore[method-assign]
    bench.trends.latency = {PODS[0].name: QUICK}

    first = (await bench.look())["Latency"]
    assert (first.result, first.is_final, first.message) == ("Unknown", False, "no answer")
    assert (await bench.look(6.0))["Latency"].result == "Passed"


@pytest.mark.parametrize("what", ["no policy", "no past", "no revision", "a name that is cut"])
async def test_what_cannot_be_compared_is_not_waited_for(what: str) -> None:
    made = rollback()
    if what == "no revision":
        spec = made.spec.model_copy(update={"to_revision": None})
        made = made.model_copy(update={"spec": spec})
    if what == "a name that is cut" and made.spec.to_revision is not None:
        cut = made.spec.to_revision.model_copy(update={"replica_set": "x" * 60})
        made = made.model_copy(update={"spec": made.spec.model_copy(update={"to_revision": cut})})
    bench = Bench(made)
    bench.trends.past = NOTHING if what == "no past" else QUICK
    bench.trends.latency = {PODS[0].name: SLOW}

    found = (await bench.look(meter=None if what == "no policy" else METER))["Latency"]

    assert (found.result, found.is_final) == ("Unknown", True)
