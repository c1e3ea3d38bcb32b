"""What the operator tells Prometheus of itself: by how things stand, and by what has ended."""

from __future__ import annotations

from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry

from rollback_operator.api.reasons import ConditionType, Reason
from rollback_operator.api.v1alpha1 import (
    Outcome,
    RollbackPolicyStatus,
    RollbackStatus,
    StepName,
)
from rollback_operator.model.conditions import condition
from rollback_operator.reconcile.act.recording import Recorder
from rollback_operator.reconcile.cache import Cache
from rollback_operator.runtime.telemetry import Census, Telemetry
from tests.builders import (
    at,
    make_ended,
    make_hold,
    make_policy,
    make_rollback,
    make_step,
    make_trigger_record,
)
from tests.fakes.store import FakeStore

UNBORN = {"apiVersion": "rollback.tickettoken.io/v1alpha1", "kind": "RollbackPolicy"}


@dataclass
class Scraped:
    """A registry with a census of a cache."""

    is_leading: bool = True
    cache: Cache = field(default_factory=Cache)
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)

    def __post_init__(self) -> None:
        self.registry.register(Census(self.cache, lambda: self.is_leading))

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"rollback_operator_{name}", labels)


def put(scraped: Scraped, name: str, **status: object) -> None:
    policy = make_policy(name)
    scraped.cache.remember(
        policy.model_copy(update={"status": RollbackPolicyStatus.model_validate(status)})
    )


def test_policies_are_counted_by_how_they_stand() -> None:
    scraped = Scraped()
    gone = condition(ConditionType.READY, False, Reason.TARGET_NOT_FOUND, "gone")
    blind = condition(ConditionType.METRICS_AVAILABLE, False, Reason.NO_SERIES, "none")
    unheard = condition(ConditionType.NOTIFIED, False, Reason.DELIVERY_FAILING, "500")
    put(scraped, "a", summary="Healthy")
    put(scraped, "b", summary="Healthy", conditions=[unheard])
    put(scraped, "c", summary="TargetNotFound", conditions=[gone])
    put(scraped, "d", summary="Degraded", conditions=[blind], hold=make_hold())
    scraped.cache.put_policy({**UNBORN, "metadata": {"name": "e", "namespace": "n", "uid": "1"}})

    assert scraped.value("policies", status="Healthy") == 2
    assert scraped.value("policies", status="TargetNotFound") == 1
    assert scraped.value("policies", status="InvalidSpec") == 1
    assert scraped.value("policies_not_ready", reason="TargetNotFound") == 1
    assert scraped.value("policies_not_ready", reason="InvalidSpec") == 1
    assert scraped.value("policies_without_metrics", reason="NoSeries") == 1
    assert scraped.value("policies_not_notified", reason="DeliveryFailing") == 1
    assert scraped.value("rollouts_held") == 1


def test_open_rollbacks_are_counted() -> None:
    scraped = Scraped()
    asked = RollbackStatus(step=StepName.AWAITING_APPROVAL)
    for name, status in (("a", RollbackStatus()), ("b", asked), ("c", make_ended())):
        one = make_rollback(status=status)
        metadata = one.metadata.model_copy(update={"name": name})
        scraped.cache.remember(one.model_copy(update={"metadata": metadata}))

    assert scraped.value("rollbacks_active", severity="P1") == 2
    assert scraped.value("rollbacks_awaiting_approval") == 1


def test_a_standby_counts_nothing_that_the_leader_counts() -> None:
    scraped = Scraped(is_leading=False)
    put(scraped, "a", summary="Healthy", hold=make_hold())
    assert scraped.value("policies", status="Healthy") is None
    assert scraped.value("rollouts_held") == 0


async def test_an_end_is_counted_once_with_how_soon_it_came() -> None:
    telemetry, store = Telemetry(), FakeStore()
    trigger = make_trigger_record().model_copy(
        update={"first_bad_time": at(0), "decided_time": at(4)}
    )
    one = make_rollback(
        trigger=trigger, status=RollbackStatus(steps=[make_step(StepName.UNDO, 4, 7)])
    )
    store.hold(one)
    recorder = Recorder(store, lambda _: None, measured=telemetry.measure_end)

    ended = make_ended(Outcome.VERIFIED).model_copy(update={"steps": one.status.steps})
    written = await recorder.write(one, ended)
    await recorder.write(written, ended.model_copy(update={"message": "told"}))

    def value(name: str, **labels: str) -> float | None:
        return telemetry.registry.get_sample_value(f"rollback_operator_{name}", labels)

    assert value("rollbacks_total", outcome="Verified", severity="P1") == 1
    assert value("decision_delay_seconds_sum") == 4
    assert value("undo_delay_seconds_sum") == 7
    assert value("undo_delay_seconds_bucket", le="10.0") == 1
    assert value("undo_delay_seconds_bucket", le="5.0") == 0
