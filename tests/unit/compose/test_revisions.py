"""Containers become the workload that a pass judges, and releases keep numbers as revisions do."""

from __future__ import annotations

from rollback_operator.adapters.compose.containers import Container
from rollback_operator.adapters.compose.ledger import ServiceRecord
from rollback_operator.adapters.compose.project import REVISION_LABEL
from rollback_operator.adapters.compose.revisions import (
    MOST_KNOWN_REVISIONS,
    ServicePlace,
    current_of,
    recorded,
    workload_of,
)
from rollback_operator.model.workload import Workload
from tests.unit.compose.builders import T0, container

PLACE = ServicePlace("shop", "shop", "shop")
A, B = "sha256:" + "a" * 64, "sha256:" + "b" * 64


def record_of(*rows: list[Container], now: float = T0 + 100) -> ServiceRecord:
    record = ServiceRecord(uid="u")
    for row in rows:
        record = recorded(record, row, now)
    return record


def workload(record: ServiceRecord, containers: list[Container], now: float = T0 + 100) -> Workload:
    made = workload_of(PLACE, record, containers, None, now)
    assert made is not None
    return made


def test_a_service_without_containers_is_none() -> None:
    assert workload_of(PLACE, ServiceRecord(uid="u"), [], None, T0) is None


def test_the_first_release() -> None:
    one = [container(A)]
    made = workload(record_of(one), one)
    assert made.deployment.is_rolled_out
    assert (made.deployment.revision, made.deployment.replicas) == (1, 1)
    assert made.deployment.template.images == (f"shop:1.0@{A}",)
    assert made.current is not None
    assert made.current.pod_hash == made.pods[0].pod_hash
    assert made.pods[0].ready_since == T0 + 0.5


def test_a_second_release_replaces_it_container_by_container() -> None:
    first = [container(A, 0, labels={"com.docker.compose.container-number": n}) for n in "12"]
    record = record_of(first)
    between = [first[1], container(B, 60, labels={"com.docker.compose.container-number": "1"})]
    record = recorded(record, between, T0 + 61)
    made = workload(record, between, T0 + 61)
    assert made.deployment.revision == 2
    assert (made.deployment.total, made.deployment.updated) == (2, 1)
    assert not made.deployment.is_rolled_out
    assert made.deployment.completed is None
    # While Compose replaces a container, both of its place are there: it still has two.
    three = [*between, container(A, 0, labels={"com.docker.compose.container-number": "1"})]
    assert workload(record, three, T0 + 61).deployment.replicas == 2


def test_looks_while_a_container_is_replaced_are_no_releases() -> None:
    old, new = container(A), container(B, 60)
    record = record_of([old], *[[old, new]] * 5)
    assert {each.image_id: each.number for each in record.revisions} == {A: 1, B: 2}
    back = container(A, 90)
    record = recorded(recorded(record, [new, back], T0 + 91), [new, back], T0 + 92)
    assert {each.image_id: each.number for each in record.revisions} == {A: 3, B: 2}


def test_a_release_that_returns_gets_the_next_number_and_its_record() -> None:
    record = record_of([container(A)], [container(B, 60)], [container(A, 90)])
    current = current_of(record)
    assert current is not None
    assert (current.number, current.image_id) == (3, A)
    assert current.created == T0 + 0.5
    assert len(record.revisions) == 2


def test_a_restored_image_is_its_revision_whatever_the_settings_are_now() -> None:
    record = record_of([container(A)], [container(B, 60, config={"Env": ["NEW=1"]})])
    good = next(each.revision for each in record.revisions if each.image_id == A)
    pinned = container(A, 90, config={"Env": ["NEW=1"]}, labels={REVISION_LABEL: good})
    record = recorded(record, [pinned], T0 + 100)
    assert record.current == good
    # A label of nobody's revision is not believed.
    foreign = container(A, 95, labels={REVISION_LABEL: "f" * 40})
    assert recorded(record, [foreign], T0 + 100).current == good


def test_an_image_with_the_label_of_a_known_revision_is_a_release_of_its_own() -> None:
    record = record_of([container(A)])
    forged = [container(B, 60, labels={REVISION_LABEL: record.current})]
    record = recorded(record, forged, T0 + 100)
    current = current_of(record)
    assert current is not None
    assert (current.number, current.image_id) == (2, B)
    assert workload(record, forged).pods[0].pod_hash == current.revision


def test_records_are_bounded_and_keep_the_current() -> None:
    rows = [[container("sha256:" + f"{n:064x}", n)] for n in range(30)]
    record = record_of(*rows)
    assert len(record.revisions) == MOST_KNOWN_REVISIONS
    current = current_of(record)
    assert current is not None
    assert current.number == 30


def test_complete_is_when_it_was_first_seen_and_stays() -> None:
    one = [container(A)]
    record = recorded(ServiceRecord(uid="u"), one, T0 + 1)
    assert current_of(record).completed is None  # type: ignore[union-attr]
    record = recorded(record, one, T0 + 10)
    later = recorded(record, one, T0 + 50)
    assert current_of(later).completed == T0 + 10  # type: ignore[union-attr]


def test_a_stopped_service_has_no_replicas_and_a_crashed_one_has() -> None:
    one = [container(A)]
    record = record_of(one)
    state = {"Status": "exited", "Running": False, "ExitCode": 143}
    stopped = [container(A, state=state | {"FinishedAt": "2025-12-01T12:00:50Z"})]
    assert workload(record, stopped, T0 + 100).deployment.replicas == 0
    # Compose stops a container before it starts the next: the service is not given up.
    replaced = workload(record, stopped, T0 + 55)
    assert (replaced.deployment.replicas, replaced.deployment.available) == (1, 0)
    assert replaced.pods[0].terminating
    crashed = [container(A, state={"Status": "exited", "Running": False, "ExitCode": 1})]
    made = workload(record, crashed)
    assert (made.deployment.replicas, made.deployment.available) == (1, 0)
    assert "exited with 1" in made.pods[0].own_failure


def test_a_crash_loop_is_not_ready_between_crashes() -> None:
    one = [container(A, 0, RestartCount=3)]
    assert not workload(record_of(one), one, T0 + 5).pods[0].ready
    assert workload(record_of(one), one, T0 + 30).pods[0].ready


def test_a_health_check_decides_where_there_is_one() -> None:
    starting = [container(A, state={"Health": {"Status": "starting", "Log": []}})]
    made = workload(record_of(starting), starting)
    assert made.deployment.available == 0
    assert "not ready" in made.pods[0].own_failure


def test_no_undo_of_a_service_is_express_or_holds() -> None:
    one = [container(A)]
    deployment = workload(record_of(one), one).deployment
    assert (deployment.max_surge, deployment.paused) == ("0", False)
