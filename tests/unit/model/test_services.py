"""Services that lead to nobody: which are the release's doing, and from when on it is shown."""

from dataclasses import replace

import pytest

from rollback_operator.api.reasons import Reason
from rollback_operator.api.v1alpha1 import RUNBOOK_MATRIX, MatrixCondition, SignalName, VerdictValue
from rollback_operator.decide.matrix import classify
from rollback_operator.evidence.watch import open_watch, with_reading, with_workload
from rollback_operator.judge.judge import judge
from rollback_operator.model.services import (
    LEAST_ROUTING_SECONDS,
    Routing,
    Service,
    after,
    leads_to,
)
from rollback_operator.model.verdict import BAD_ODDS
from tests.builders import (
    T0,
    make_control,
    make_counters,
    make_question,
    make_replica_set,
    make_series,
    make_workload,
)

OLD = make_replica_set(
    "v1", labels=(("app", "shop"), ("tier", "web")), port_names=frozenset({"http"})
)
NEW = replace(make_replica_set("v2"), labels=OLD.labels, port_names=OLD.port_names)
UNLABELLED = replace(NEW, labels=(("app", "shop"),))
RENAMED = replace(NEW, port_names=frozenset({"web"}))
WEB = Service("web", (("app", "shop"), ("tier", "web")), ("http",), has_ready_endpoint=False)
CONDITIONS = tuple(one for rule in RUNBOOK_MATRIX for one in rule.when)


def seen(*services: Service, new=UNLABELLED, seconds=LEAST_ROUTING_SECONDS) -> Routing:
    """What two looks make of it, so many seconds apart."""
    return after(after(Routing(), services, OLD, new, T0), services, OLD, new, T0 + seconds)


@pytest.mark.parametrize(
    ("new", "why"),
    [
        (UNLABELLED, "its selector requires tier=web, which the release's pods do not have"),
        (RENAMED, "the release's pods have no port named http"),
        (NEW, "none of its endpoints is ready, although all pods are"),
    ],
)
def test_a_service_that_led_to_the_old_pods_and_leads_to_none(new, why) -> None:
    found = seen(WEB, new=new)

    assert found.is_lost
    assert found.since == T0
    assert found.cut == f"Service web selects no ready pod: {why}"


@pytest.mark.parametrize(
    "service",
    [
        pytest.param(replace(WEB, has_ready_endpoint=True), id="it leads somewhere"),
        pytest.param(replace(WEB, selector=(("app", "other"),)), id="another target's"),
        pytest.param(replace(WEB, selector=()), id="its endpoints are set by hand"),
        pytest.param(replace(WEB, target_ports=("grpc",)), id="the old pods had no such port"),
    ],
)
def test_a_service_that_is_not_cut_off_by_the_release(service) -> None:
    assert seen(service) == Routing(is_settled=True)


def test_a_service_of_each_version_goes_with_it() -> None:
    old, new = (
        replace(make_replica_set(one), labels=(("app", "shop"), ("version", one)))
        for one in ("v1", "v2")
    )
    general = Service("shop", (("app", "shop"),), ("8080",), has_ready_endpoint=True)
    of_old = replace(general, name="shop-v1", selector=old.labels, has_ready_endpoint=False)
    of_new = replace(general, name="shop-v2", selector=new.labels)

    assert after(Routing(), [general, of_old], old, new, T0).is_settled
    assert after(Routing(), [of_old, of_new], old, new, T0).is_settled
    assert not after(Routing(), [of_old], old, new, T0).is_settled


def test_one_look_is_not_enough() -> None:
    assert not seen(WEB, seconds=LEAST_ROUTING_SECONDS / 2).is_lost
    assert not after(Routing(), [WEB], OLD, UNLABELLED, T0).is_lost


def test_endpoints_that_come_late_settle_it() -> None:
    late = replace(WEB, has_ready_endpoint=True)
    first = after(Routing(), [WEB], OLD, NEW, T0)

    assert after(first, [late], OLD, NEW, T0 + 9).is_settled


def test_a_number_needs_no_name_and_a_headless_service_no_port() -> None:
    assert leads_to(replace(WEB, target_ports=("8080",)), RENAMED)
    assert leads_to(replace(WEB, target_ports=()), RENAMED)
    assert not leads_to(WEB, RENAMED)


def verdict(routing=None, conditions=CONDITIONS, requests=0):
    workload = make_workload()
    watch = open_watch("digest-v2", T0, frozenset({"hashv1"}))
    watch = replace(watch, control=make_control(), routing=routing or seen(WEB))
    watch = with_workload(watch, workload, T0 + 30)
    if requests:
        series = [
            make_series([(2, 0), (12, requests / 2), (22, requests)], pod=pod.name)
            for pod in workload.pods
        ]
        watch = with_reading(watch, make_counters(series))
    return judge(watch, workload, make_question(conditions=conditions), T0 + 30)


def test_a_release_that_its_service_does_not_lead_to_is_p1_without_a_single_sample() -> None:
    found = verdict()

    assert (found.value, found.reason) == (VerdictValue.BAD, Reason.TRAFFIC_LOST)
    assert classify(RUNBOOK_MATRIX, found, BAD_ODDS).rule.severity == "P1"
    assert found.message.startswith("all new pods are ready, and Service web selects no ready pod")
    assert found.first_bad == T0


def test_requests_that_come_all_the_same_are_for_people_to_explain() -> None:
    found = verdict(requests=400)

    assert (found.value, found.reason) == (VerdictValue.SUSPECT, Reason.TRAFFIC_LOST)
    assert classify(RUNBOOK_MATRIX, found, BAD_ODDS) is None
    assert "1600 requests still reach them" in found.message


def test_a_matrix_that_does_not_ask_is_not_answered() -> None:
    wanted = (MatrixCondition(signal=SignalName.UNAVAILABLE),)

    assert verdict(conditions=wanted).reason is not Reason.TRAFFIC_LOST
