"""Which Events whoever looks at the Deployment finds there."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, cast

import pytest

from rollback_operator.adapters.kube.apiserver import ApiServer
from rollback_operator.adapters.kube.store import ApiStore
from rollback_operator.api.reasons import EventReason, Reason
from rollback_operator.api.v1alpha1 import RollbackPolicyStatus
from rollback_operator.model.message import Notice, RelatedDeployment
from rollback_operator.model.samples import Missing
from rollback_operator.ports.failure import Failure, FailureKind
from rollback_operator.reconcile.act.recording import PostedOnce
from rollback_operator.reconcile.status_writer import REPEAT_AFTER
from rollback_operator.report import events
from tests.builders import NAME, make_hold, make_pod, make_pods, make_policy, make_workload
from tests.unit.test_reconcile import World

ON_BOTH = ["RollbackPolicy", "Deployment"]


class Server:
    """An API server that takes Events."""

    def __init__(self, failure: Failure | None = None) -> None:
        self.events: list[dict[str, Any]] = []
        self.failure = failure

    async def create(self, _: str, body: dict[str, Any]) -> dict[str, Any] | Failure:
        self.events.append(body)
        return self.failure or body


async def posted(notice: Notice, failure: Failure | None = None) -> list[dict[str, Any]]:
    server = Server(failure)
    now = lambda: datetime(2026, 1, 1, tzinfo=UTC)  # noqa: E731
    store = ApiStore(cast("ApiServer", server), "me", now)
    status = RollbackPolicyStatus(hold=make_hold())
    await store.post(make_policy().model_copy(update={"status": status}), notice)
    return server.events


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("ReleaseCameBack", ON_BOTH),
        ("RollbackNotRecovered", ON_BOTH),
        ("RollbackRefused", ON_BOTH),
        ("InvestigationNeeded", ON_BOTH),
        ("FixForwardAdvised", ON_BOTH),
        ("ImageNotPulled", ON_BOTH),
        ("MetricsUnavailable", ["RollbackPolicy"]),
        ("ReleaseWatched", ["RollbackPolicy"]),
    ],
)
async def test_what_asks_for_people_is_told_on_the_deployment_too(reason, expected) -> None:
    (notice,) = events.on_deployment([Notice(EventReason(reason), "why", True)], make_workload())

    found = await posted(notice)

    assert [one["involvedObject"]["kind"] for one in found] == expected
    if expected == ON_BOTH:
        involved = found[1]["involvedObject"]
        assert (involved["name"], involved["uid"]) == (NAME, "deployment-uid")
        assert found[1]["message"] == f"RollbackPolicy {make_policy().metadata.name}: why"


@pytest.mark.parametrize(
    "notice",
    [events.held(make_hold(), "To roll back: COMMAND"), events.let_go(make_hold())],
)
async def test_a_hold_and_its_end_are_told_on_the_deployment_too(notice) -> None:
    found = await posted(notice)
    assert [one["involvedObject"]["kind"] for one in found] == ON_BOTH


async def test_an_event_of_one_occurrence_has_one_name_whichever_replica_posts_it() -> None:
    hold = make_hold()
    names = []
    for mark in ("one", "one", "another"):
        server = Server()
        now = lambda: datetime(2026, 1, 1, tzinfo=UTC)  # noqa: E731
        once = PostedOnce(ApiStore(cast("ApiServer", server), "me", now))
        await once.post(make_policy(), events.let_go(hold), mark)
        names.append([one["metadata"]["name"] for one in server.events])

    assert names[0] == names[1]
    assert len({*names[0], *names[2]}) == 4
    assert names[0][0].startswith(f"{make_policy().metadata.name}.")


@pytest.mark.parametrize(("occurrence", "is_logged"), [("hold", False), ("", True)])
async def test_an_event_that_is_there_already_is_no_fault(
    occurrence: str, is_logged: bool, caplog: pytest.LogCaptureFixture
) -> None:
    failure = Failure(FailureKind.EXISTS, "it already exists")
    await posted(Notice(EventReason.ROLLOUT_LET_GO, "why", occurrence=occurrence), failure)

    assert bool(caplog.records) is is_logged


async def test_without_a_deployment_they_are_told_on_the_policy_alone() -> None:
    (notice,) = events.on_deployment([Notice(EventReason.RELEASE_CAME_BACK, "why")], None)
    found = await posted(notice)
    assert [one["involvedObject"]["kind"] for one in found] == ["RollbackPolicy"]


async def test_a_rollback_that_did_not_help_is_told_on_the_deployment() -> None:
    world = World(bad=frozenset({"v1", "v2"}))
    needed = EventReason.ROLLBACK_NOT_RECOVERED

    await world.run(world.operator(), lambda: needed in world.store.told())

    (found,) = [one for one in world.store.notices if one.reason == needed]
    assert found.deployment == RelatedDeployment(NAME, "deployment-uid")


async def test_an_image_that_is_not_pulled_is_told_once_on_the_deployment_too() -> None:
    world = World(bad=frozenset())
    fault = "image shop:v2 of container shop: ErrImagePull"
    world.workloads.workload = make_workload(pods=(make_pod(image_fault=fault),))
    needed = EventReason.IMAGE_NOT_PULLED
    await world.run(world.operator(), lambda: needed in world.store.told())
    world.seconds += 2 * REPEAT_AFTER.total_seconds()
    begun = world.seconds
    await world.run(world.operator(), lambda: world.seconds > begun + 6)

    (found,) = [one for one in world.store.notices if one.reason == needed]
    assert found.message == f"revision 2: {fault}"
    assert found.deployment == RelatedDeployment(NAME, "deployment-uid")


async def test_an_image_is_named_too_while_the_status_stays_as_it_is() -> None:
    world = World(bad=frozenset())
    world.metrics.reading = Missing(Reason.PROVIDER_UNREACHABLE, "connection refused")
    operator, begun = world.operator(), world.seconds
    await world.run(operator, lambda: world.seconds > begun + 10)
    absent = "container shop: ErrImagePull not found"
    pod = make_pod(image_fault="image shop:v2 of container shop: ErrImagePull", own_failure=absent)
    world.workloads.workload = make_workload(pods=(*make_pods(3, "v1"), pod))
    known = world.store.policies.copy()

    await world.run(operator, lambda: EventReason.IMAGE_NOT_PULLED in world.store.told(), most=10)

    assert world.store.policies == known
