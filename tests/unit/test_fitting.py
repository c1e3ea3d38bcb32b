"""More images, or longer ones, than a status takes: what is compared stays right."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from rollback_operator.adapters.kube.projections.owners import owner_of
from rollback_operator.api.rollback import stored_strategy
from rollback_operator.api.shape import (
    LONGEST_IMAGE,
    MOST_IMAGES,
    clipped,
    fitted,
    is_among,
    is_whole,
)
from rollback_operator.api.v1alpha1 import Health, Mode, Remedy, RemedyType
from rollback_operator.decide.plan import Order, plan_remedy
from rollback_operator.releases import quarantine
from rollback_operator.releases.ledger import revision_of
from tests.builders import (
    at,
    make_case,
    make_entry,
    make_pod,
    make_ref,
    make_replica_set,
    make_template,
    make_trigger_record,
    make_workload,
)
from tests.unit.releases.test_quarantine import WEEK, ended

LONG = "registry.example.com/" + "a" * 2000
MANY = [f"registry.example.com/sidecar-{number}:v1" for number in range(100)]


def test_a_long_image_is_cut_and_still_told_from_others() -> None:
    (one,), (other,) = fitted([LONG]), fitted([LONG + "b"])

    assert len(one) == LONGEST_IMAGE
    assert one != other
    assert fitted([one]) == [one]
    assert is_among(LONG, [one])
    assert not is_among(LONG, [other])


def test_of_too_many_images_it_is_said_how_many_are_left_out() -> None:
    found = fitted(MANY)

    assert len(found) == MOST_IMAGES
    assert found[-1] == "... and 69 more"
    assert fitted(found) == found
    assert is_whole(MANY[:MOST_IMAGES])
    assert not is_whole(found)


def test_a_revision_of_any_number_of_images_has_a_status() -> None:
    template = make_template(images=(*MANY, LONG), init_images=tuple(MANY))

    found = revision_of(make_replica_set(template=template), None)

    assert len(found.images) == len(found.init_images) == MOST_IMAGES


def refs(bad: list[str], good: list[str]) -> dict[str, Any]:
    digest = "sha256:" + "0" * 64
    return {
        "from_revision": make_ref("v2", images=bad, image_digests=[digest], health=Health.BAD),
        "to_revision": make_ref("v1", images=good),
    }


def entry(**spec: Any) -> Any:
    (found,) = quarantine.entries([ended(**spec)], [], [], WEEK, at(100))
    return found


def test_an_image_that_may_be_in_both_revisions_is_not_in_quarantine() -> None:
    """The order differs: what fits into one list does not fit into the other."""
    found = entry(**refs([*MANY, "shop:v2"], [*reversed(MANY), "shop:v1"]))

    assert found.images == []
    assert found.release == "release-v2"
    assert found.image_digests == ["sha256:" + "0" * 64]


def test_a_long_image_that_was_rolled_back_is_known_again() -> None:
    found = entry(**refs([LONG], ["shop:v1"]))
    running = revision_of(
        make_replica_set("v3", template=make_template("v3", images=(LONG,))), None
    )

    assert quarantine.match([found], running, [LONG], at(100)) is found
    assert quarantine.match([found], running, [LONG + "b"], at(100)) is None


def test_an_image_in_quarantine_is_found_among_any_number() -> None:
    found = entry(**refs(["shop:v2"], ["shop:v1"]))
    images = (*MANY, "shop:v2")
    running = revision_of(make_replica_set("v3", template=make_template("v3", images=images)), None)

    assert quarantine.match([found], running, images, at(100)) is found


@pytest.mark.parametrize("place", [0, 1, 40])
def test_of_a_pinned_container_the_image_that_was_there_is_in_quarantine(place: int) -> None:
    names = tuple(f"c{number}" for number in range(60))
    images = tuple(MANY[:60])
    template = make_template("v2", containers=names, images=images)
    pod = make_pod(image_digests=tuple((one, f"sha256:{one}") for one in names))
    workload = make_workload("v2")
    sets = tuple(
        make_replica_set("v2", template=template) if one is workload.current else one
        for one in workload.replica_sets
    )
    workload = type(workload)(
        type(workload.deployment)(
            **{
                **{key: getattr(workload.deployment, key) for key in workload.deployment.__slots__},
                "template": template,
            }
        ),
        sets,
        (pod,),
    )
    remedy = Remedy(type=RemedyType.PIN_IMAGE, container=f"c{place}", image="shop:v1")
    order = Order(remedy, "P1", Mode.ENFORCE, make_trigger_record(decided_time=at(0)))
    planned = plan_remedy(make_case(workload=workload), order)

    found = entry(**dict(planned))  # type: ignore[arg-type]

    assert found.images == [images[place]]
    assert found.image_digests == [f"sha256:c{place}"]


@pytest.mark.parametrize("place", [0, 35, 99])
def test_of_any_number_of_images_those_that_were_new_are_in_quarantine(place: int) -> None:
    names = tuple(f"c{number}" for number in range(100))
    bad = (*MANY[:place], "shop:v2", *MANY[place + 1 :])
    workload = make_workload("v2")
    templates = {
        "release-v1": make_template("v1", containers=names, images=tuple(MANY)),
        "release-v2": make_template("v2", containers=names, images=bad),
    }
    sets = tuple(
        replace(one, template=templates[one.template.release]) for one in workload.replica_sets
    )
    deployment = replace(workload.deployment, template=templates["release-v2"])
    order = Order(
        Remedy.model_validate({"type": "Undo", "to": "LastKnownGood"}),
        "P1",
        Mode.ENFORCE,
        make_trigger_record(decided_time=at(0)),
    )
    case = make_case(workload=replace(workload, deployment=deployment, replica_sets=sets))
    planned = plan_remedy(case, order)

    found = entry(**dict(planned))  # type: ignore[arg-type]

    assert found.images == ["shop:v2"]
    again = make_template("v3", containers=names, images=bad)
    running = revision_of(make_replica_set("v3", template=again), None)
    assert quarantine.match([found], running, again.all_images, at(100)) is found
    (barred,) = quarantine.barred([make_entry("v3")], [found], [again], at(100))
    assert barred.quarantined_by == found.rollback


def test_more_new_images_than_fit_are_in_quarantine_as_far_as_they_fit() -> None:
    bad = [f"registry.example.com/new-{number}:v2" for number in range(100)]

    found = entry(**refs(bad, MANY) | {"from_revision": make_ref("v2", brought_images=bad)})

    assert found.images == bad[: MOST_IMAGES - 1]


def test_bounds_of_many_digits_are_not_put_on_record() -> None:
    assert stored_strategy("0" * 20 + "25%", "25%") is None
    assert stored_strategy("25%", "0" * 20 + "1%") is None
    assert stored_strategy("25%", "1") is not None


@pytest.mark.parametrize("name", ["../../victim/applications/a", "Shop", "", "a" * 300])
def test_an_object_by_which_a_deployment_is_steered_has_a_name(name: str) -> None:
    argo = owner_of({"annotations": {"argocd.argoproj.io/tracking-id": f"{name}:apps/a"}})
    place = owner_of({"annotations": {"argocd.argoproj.io/tracking-id": f"{name}_a:apps/a"}})
    labels = {
        "kustomize.toolkit.fluxcd.io/name": name,
        "kustomize.toolkit.fluxcd.io/namespace": "a",
    }
    flux = owner_of({"labels": labels})

    assert argo is not None
    assert argo.object is None
    assert place is not None
    assert place.object is None or not name
    assert flux is None or flux.object is None


@pytest.mark.parametrize(
    ("text", "most", "expected"),
    [
        ("short", 5, "short"),
        ("odds of 37973 : 1", 12, "odds of…"),
        ("odds of 37973 : 1", 14, "odds of 37973…"),
        ("odds of 37973 : 1", 16, "odds of 37973…"),
        ("0123456789", 5, "0123…"),
        ("at " + "x" * 100, 80, "at " + "x" * 76 + "…"),
    ],
)
def test_a_long_text_is_cut_between_two_words(text: str, most: int, expected: str) -> None:
    assert clipped(text, most) == expected
    assert len(clipped(text, most)) <= most
