"""What a write to a Deployment is guarded by."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, cast

import pytest

from bench.simulation.patching import PatchError, apply
from rollback_operator.adapters.kube.apiserver import ApiServer
from rollback_operator.adapters.kube.projections.deployments import (
    REVISION_ANNOTATION,
    deployment_of,
)
from rollback_operator.adapters.kube.projections.templates import template_of
from rollback_operator.adapters.kube.target.workloads import ApiWorkloads
from rollback_operator.api.rollback import stored_strategy
from rollback_operator.api.v1alpha1 import FIELD_MANAGER, Remedy, RollbackStatus, StoredStrategy
from rollback_operator.model.workload import Deployment
from rollback_operator.ports.failure import Failure, FailureKind
from rollback_operator.remedies.change_cause import Overdue
from tests.builders import make_hold, make_ref, make_rollback
from tests.fakes.failures import CONFLICT, OUTAGE, REFUSAL

TEMPLATE = {"spec": {"containers": [{"name": "shop", "image": "shop:v2"}]}}


def deployment(**annotations: str) -> dict[str, Any]:
    metadata: dict[str, Any] = {"namespace": "production", "name": "shop", "uid": "a"}
    if annotations:
        metadata["annotations"] = annotations
    return {"metadata": metadata, "spec": {"template": TEMPLATE}}


class Lost:
    """An API server whose answers to patches get lost."""

    def __init__(self, raw: dict[str, Any]) -> None:
        self.raw = raw
        self.sent: list[dict[str, Any]] = []

    async def get(self, _: str) -> dict[str, Any]:
        return copy.deepcopy(self.raw)

    async def patch(self, _: str, operations: list[dict[str, Any]]) -> Failure:
        self.sent = operations
        return OUTAGE


async def sent(raw: dict[str, Any]) -> list[dict[str, Any]]:
    api = Lost(raw)
    digest = template_of(TEMPLATE).digest
    hold = make_hold(deployment="shop", deployment_uid="a", digest=digest)
    assert await ApiWorkloads(cast("ApiServer", api)).pause("production", hold) == OUTAGE
    return api.sent


async def test_a_patch_that_comes_late_does_not_meet_a_release_that_has_come_back() -> None:
    judged, back = (
        deployment(**{REVISION_ANNOTATION: "2"}),
        deployment(**{REVISION_ANNOTATION: "4"}),
    )
    late = await sent(judged)

    with pytest.raises(PatchError):
        apply(back, late)
    apply(judged, late)
    assert judged["spec"]["paused"] is True


async def test_a_deployment_without_a_revision_yet_is_guarded_by_its_template() -> None:
    raw = deployment()
    apply(raw, await sent(raw))
    assert raw["spec"]["paused"] is True


# -- a person's pause ------------------------------------------------------------------------------

UNDONE = {
    "metadata": {"labels": {"app": "shop"}},
    "spec": {"containers": [{"name": "shop", "image": "shop:v1"}]},
}
OURS = [{"manager": FIELD_MANAGER, "fieldsV1": {"f:spec": {"f:paused": {}}}}]


class Undoing(Lost):
    """... with the ReplicaSet that is gone back to."""

    async def get(self, path: str) -> dict[str, Any]:
        if "/replicasets/" not in path:
            return await super().get(path)
        owner = {"controller": True, "uid": "a"}
        metadata = {"name": "shop-v1", "uid": "rs-v1", "ownerReferences": [owner]}
        return {"metadata": metadata, "spec": {"template": copy.deepcopy(UNDONE)}}


async def undone(
    raw: dict[str, Any],
    surge: StoredStrategy | None = None,
    server: Callable[[dict[str, Any]], Lost] = Undoing,
) -> tuple[Deployment | Failure, list[dict[str, Any]]]:
    api = server(raw)
    judged = make_ref("v2", digest=template_of(TEMPLATE).digest)
    target = make_ref("v1", digest=template_of(UNDONE).digest, replica_set_uid="rs-v1")
    rollback = make_rollback(
        target_ref={"name": "shop", "uid": "a"}, from_revision=judged, to_revision=target
    )
    return await ApiWorkloads(cast("ApiServer", api)).undo(rollback, surge), api.sent


@pytest.mark.parametrize("surge", [None, StoredStrategy(max_surge="100%", max_unavailable="25%")])
async def test_an_undo_does_not_pass_a_pause_that_a_person_sets_meanwhile(
    surge: StoredStrategy | None,
) -> None:
    raw = deployment(**{REVISION_ANNOTATION: "2"})
    raw["spec"]["strategy"] = {"rollingUpdate": {}}
    paused = copy.deepcopy(raw)
    paused["spec"]["paused"] = True

    _, sent = await undone(raw, surge)

    with pytest.raises(PatchError):
        apply(paused, sent)
    apply(raw, sent)
    assert raw["spec"]["template"] == UNDONE


async def test_an_undo_is_not_sent_to_what_a_person_has_paused() -> None:
    raw = deployment()
    raw["spec"]["paused"] = True

    found, sent = await undone(raw)

    assert isinstance(found, Failure)
    assert (found.kind, found.message) == (
        FailureKind.CONFLICT,
        "somebody has paused the Deployment",
    )
    assert sent == []


async def test_an_undo_lifts_the_operators_own_pause() -> None:
    raw = deployment()
    raw["spec"]["paused"] = True
    raw["metadata"]["managedFields"] = OURS

    _, sent = await undone(raw)

    apply(raw, sent)
    assert "paused" not in raw["spec"]
    assert raw["spec"]["template"] == UNDONE


# -- the change-cause ------------------------------------------------------------------------------

CAUSE = "kubernetes.io/change-cause"
SAID = (
    "rollback-operator: undo of revision 2 to revision 1 (P1), Rollback ticket-service-0123456789"
)


@pytest.mark.parametrize("surge", [None, StoredStrategy(max_surge="100%", max_unavailable="25%")])
@pytest.mark.parametrize("known", [{}, {REVISION_ANNOTATION: "2", CAUSE: "v1.3.1", "team": "shop"}])
async def test_an_undo_says_in_its_own_patch_who_does_it(
    surge: StoredStrategy | None, known: dict[str, str]
) -> None:
    raw = deployment(**known)
    raw["spec"]["strategy"] = {"rollingUpdate": {}}

    _, sent = await undone(raw, surge)

    apply(raw, sent)
    assert raw["spec"]["template"] == UNDONE
    assert raw["metadata"]["annotations"] == {**known, CAUSE: SAID}


class Refusing(Undoing):
    """... which lets nobody write a change-cause."""

    async def patch(self, _: str, operations: list[dict[str, Any]]) -> Failure:
        if any(CAUSE.replace("/", "~1") in one["path"] for one in operations):
            return REFUSAL
        return await super().patch(_, operations)


async def test_an_undo_is_done_where_its_cause_may_not_be_written() -> None:
    raw = deployment(**{REVISION_ANNOTATION: "2"})
    surge = StoredStrategy(max_surge="100%", max_unavailable="25%")

    _, sent = await undone(raw, surge, Refusing)

    apply(raw, sent)
    assert raw["spec"]["template"] == UNDONE
    assert CAUSE not in raw["metadata"]["annotations"]


async def dropped(overdue: Overdue, **annotations: str) -> list[dict[str, Any]]:
    raw = deployment(**{REVISION_ANNOTATION: "3", CAUSE: SAID} | annotations)
    api = Lost(raw)
    await ApiWorkloads(cast("ApiServer", api)).drop_cause(deployment_of(raw), overdue)
    return api.sent


async def test_a_cause_is_taken_off_only_as_it_was_seen() -> None:
    sent = await dropped(Overdue(is_inherited=False))
    seen = deployment(**{REVISION_ANNOTATION: "3", CAUSE: SAID, "team": "shop"})
    another = deployment(**{REVISION_ANNOTATION: "3", CAUSE: "v1.3.2"})
    later = deployment(**{REVISION_ANNOTATION: "4", CAUSE: SAID})

    apply(seen, sent)
    assert seen["metadata"]["annotations"] == {REVISION_ANNOTATION: "3", "team": "shop"}
    for one in (another, later):
        with pytest.raises(PatchError):
            apply(one, sent)


async def test_a_cause_that_a_release_has_inherited_is_emptied_so_that_it_is_copied() -> None:
    sent = await dropped(Overdue(is_inherited=True))
    seen = deployment(**{REVISION_ANNOTATION: "3", CAUSE: SAID})

    apply(seen, sent)

    assert seen["metadata"]["annotations"][CAUSE] == ""
    assert deployment_of(seen).change_cause == ""


class Stored:
    """An API server with one Deployment."""

    def __init__(self, raw: dict[str, Any]) -> None:
        self.raw = raw

    async def get(self, _: str) -> dict[str, Any]:
        return copy.deepcopy(self.raw)

    async def patch(self, _: str, operations: list[dict[str, Any]]) -> dict[str, Any]:
        apply(self.raw, operations)
        return copy.deepcopy(self.raw)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ({"maxSurge": "100%", "maxUnavailable": "10%"}, {"maxSurge": 1, "maxUnavailable": "10%"}),
        ({"maxSurge": "100%", "maxUnavailable": 0}, {"maxSurge": 1, "maxUnavailable": 0}),
    ],
)
async def test_a_bound_that_a_person_sets_during_an_express_undo_stays(
    found: dict[str, Any], expected: dict[str, Any]
) -> None:
    raw = deployment()
    raw["metadata"]["uid"] = "deployment-uid"
    raw["spec"] |= {"replicas": 4, "strategy": {"type": "RollingUpdate", "rollingUpdate": found}}
    api = Stored(raw)
    before = StoredStrategy(max_surge="1", max_unavailable="10%")

    done = await ApiWorkloads(cast("ApiServer", api)).set_strategy(make_rollback(), before)

    assert isinstance(done, Deployment)
    assert api.raw["spec"]["strategy"]["rollingUpdate"] == expected


EXPRESS = StoredStrategy(max_surge="100%", max_unavailable="25%")


class Overtaken(Undoing):
    """An API server on which a person changes something just before the next patch arrives."""

    def __init__(self, raw: dict[str, Any], change: Callable[[dict[str, Any]], object]) -> None:
        super().__init__(raw)
        self.change = change
        self.refused = 0

    async def patch(self, _: str, operations: list[dict[str, Any]]) -> dict[str, Any] | Failure:  # type: ignore[override]
        self.change(self.raw)
        self.change = lambda _: None
        changed = copy.deepcopy(self.raw)
        try:
            apply(changed, operations)
        except PatchError:
            self.refused += 1
            return CONFLICT
        self.raw = changed
        return copy.deepcopy(changed)


async def undone_express(api: Overtaken) -> Deployment | Failure:
    judged = make_ref("v2", digest=template_of(TEMPLATE).digest)
    target = make_ref("v1", digest=template_of(UNDONE).digest, replica_set_uid="rs-v1")
    before = stored_strategy("1", "25%")
    rollback = make_rollback(
        status=RollbackStatus(strategy=before),
        target_ref={"name": "shop", "uid": "a"},
        from_revision=judged,
        to_revision=target,
    )
    return await ApiWorkloads(cast("ApiServer", api)).undo(rollback, EXPRESS)


def rolling(surge: int | str) -> dict[str, Any]:
    raw = deployment(**{REVISION_ANNOTATION: "2"})
    raw["spec"]["replicas"] = 3
    bounds = {"maxSurge": surge, "maxUnavailable": "25%"}
    raw["spec"]["strategy"] = {"type": "RollingUpdate", "rollingUpdate": bounds}
    return raw


async def test_an_express_undo_raises_a_surge_that_is_as_it_was_stored() -> None:
    api = Overtaken(rolling(1), lambda _: None)

    assert isinstance(await undone_express(api), Deployment)

    assert api.raw["spec"]["strategy"]["rollingUpdate"]["maxSurge"] == "100%"
    assert (api.raw["spec"]["template"], api.refused) == (UNDONE, 0)


@pytest.mark.parametrize("surge", [2, "50%"])
async def test_a_surge_that_a_person_sets_just_before_an_express_undo_stays(
    surge: int | str,
) -> None:
    def changed(raw: dict[str, Any]) -> None:
        raw["spec"]["strategy"]["rollingUpdate"]["maxSurge"] = surge

    api = Overtaken(rolling(1), changed)

    assert isinstance(await undone_express(api), Deployment)

    assert api.raw["spec"]["strategy"]["rollingUpdate"]["maxSurge"] == surge
    assert api.raw["spec"]["template"] == UNDONE


async def test_replicas_that_a_person_sets_just_before_a_scale_stay() -> None:
    api = Overtaken(rolling(1), lambda raw: raw["spec"].update(replicas=12))
    judged = make_ref("v2", digest=template_of(TEMPLATE).digest)
    remedy = Remedy(type="Scale", replicas=6)
    rollback = make_rollback(
        target_ref={"name": "shop", "uid": "a"}, from_revision=judged, remedy=remedy
    )

    found = await ApiWorkloads(cast("ApiServer", api)).apply_in_place(rollback, remedy)

    assert isinstance(found, Failure)
    assert (found.kind, api.raw["spec"]["replicas"]) == (FailureKind.CONFLICT, 12)


async def test_annotations_that_a_person_sets_just_before_an_undo_stay() -> None:
    raw = rolling(1)
    del raw["metadata"]["annotations"]
    api = Overtaken(raw, lambda raw: raw["metadata"].update(annotations={"team": "shop"}))

    found = await undone_express(api)

    assert isinstance(found, Failure)
    assert found.kind is FailureKind.CONFLICT  # the next look reads them
    assert api.raw["metadata"]["annotations"] == {"team": "shop"}
