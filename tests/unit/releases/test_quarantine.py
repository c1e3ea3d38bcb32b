"""What was rolled back is known again when it comes back, by itself or by its images."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollback_operator.api.policy_status import QuarantineEntry
from rollback_operator.api.reasons import EventReason, Reason
from rollback_operator.api.v1alpha1 import (
    Health,
    LedgerEntry,
    Mode,
    Outcome,
    Remedy,
    RemedyType,
    Rollback,
    RollbackPolicyStatus,
    RollbackStatus,
    StepName,
)
from rollback_operator.model.conditions import condition, find
from rollback_operator.releases import quarantine
from rollback_operator.releases.ledger import bar, last_known_good
from rollback_operator.report.events import policy_notices
from rollback_operator.report.status import StatusInputs, next_status, ready
from tests.builders import (
    at,
    make_entry,
    make_ref,
    make_rollback,
    make_step,
    make_trigger_record,
    make_workload,
)

WEEK = 604_800
DIGEST = "sha256:" + "0" * 64


def ended(
    version: str = "v2",
    decided: float = 0.0,
    steps: tuple[StepName, ...] = (StepName.UNDO,),
    **spec: Any,
) -> Rollback:
    status = RollbackStatus(
        outcome=Outcome.VERIFIED,
        finished_time=at(decided + 60),
        steps=[make_step(one, decided, decided + 60) for one in steps],
    )
    fields = {
        "from_revision": make_ref(version, health=Health.BAD, image_digests=[DIGEST]),
        "trigger": make_trigger_record(decided_time=at(decided)),
    }
    return make_rollback(f"{version}-{decided:.0f}", status, **(fields | spec))


def entry_of(
    *rollbacks: Rollback,
    ledger: tuple[LedgerEntry, ...] = (),
    stored: tuple[QuarantineEntry, ...] = (),
    now: float = 100.0,
) -> Any:
    return quarantine.entries(rollbacks, ledger, stored, WEEK, at(now))


def test_what_was_taken_back_is_kept_for_its_time() -> None:
    (found,) = entry_of(ended())

    assert found.release == "release-v2"
    assert found.images == ["registry.example.com/ticket-service:v2"]
    assert found.image_digests == [DIGEST]
    assert found.until_time == at(WEEK)
    assert entry_of(ended(), now=WEEK) == []


@pytest.mark.parametrize(
    "rollback",
    [
        ended(mode=Mode.OBSERVE),
        ended(steps=()),
        ended(steps=(StepName.AWAITING_APPROVAL,)),
        ended(remedy=Remedy(type=RemedyType.SCALE, replicas=6), to_revision=None),
    ],
    ids=["observed", "blocked", "rejected", "scaled"],
)
def test_what_was_not_taken_back_is_free(rollback: Rollback) -> None:
    assert entry_of(rollback) == []


def test_what_was_found_good_since_is_free() -> None:
    assert entry_of(ended(), ledger=(make_entry("v2", Health.GOOD),)) == []
    assert len(entry_of(ended(), ledger=(make_entry("v2", Health.BAD),))) == 1


def test_a_record_that_is_deleted_sets_nothing_free() -> None:
    kept = tuple(entry_of(ended()))

    assert entry_of(stored=kept) == list(kept)
    assert entry_of(stored=kept, now=WEEK) == []
    assert entry_of(stored=kept, ledger=(make_entry("v2", Health.GOOD),)) == []
    # What the record itself says wins while it is there.
    assert entry_of(ended(mode=Mode.OBSERVE), stored=kept) == []


def test_a_release_with_an_image_in_quarantine_is_no_target_meanwhile() -> None:
    kept = entry_of(ended())
    sharing = make_entry("v1", Health.GOOD, images=["registry.example.com/ticket-service:v2"])
    trusted = sharing.model_copy(update={"trusted_time": at(90)})
    workload = make_workload("v3", older=("v1",))

    (barred,) = quarantine.barred([sharing], kept, [], at(100))

    assert barred.quarantined_by == "v2-0"
    assert last_known_good([barred], workload) is None
    assert "quarantined" in bar([barred], "release-v1")
    for free in (
        quarantine.barred([trusted], kept, [], at(100)),
        quarantine.barred([barred], kept, [], at(WEEK)),
        quarantine.barred([make_entry("v1")], kept, [], at(100)),
    ):
        assert last_known_good(free, workload) is not None


def test_an_image_that_the_good_revision_has_too_is_free() -> None:
    same = make_ref("v1", images=["registry.example.com/ticket-service:v2"])

    (found,) = entry_of(ended(to_revision=same))

    assert found.images == []
    assert found.image_digests == []


def test_an_image_of_an_init_container_is_kept_too_also_where_it_alone_has_changed() -> None:
    same = ["registry.example.com/ticket-service:v2"]
    bad = make_ref("v2", images=same, init_images=["registry.example.com/migrate:v2", "busybox"])
    target = make_ref("v1", images=same, init_images=["busybox"])

    (found,) = entry_of(ended(from_revision=bad, to_revision=target))

    assert found.images == ["registry.example.com/migrate:v2"]


def test_an_image_that_was_pinned_says_nothing_of_init_containers() -> None:
    remedy = Remedy(type=RemedyType.PIN_IMAGE, container="shop", image="shop:v1")
    bad = make_ref("v2", init_images=["registry.example.com/migrate:v2"])

    (found,) = entry_of(ended(from_revision=bad, to_revision=None, remedy=remedy))

    assert found.images == ["registry.example.com/ticket-service:v2"]


@pytest.mark.parametrize(
    ("changes", "is_kept"),
    [
        ({}, True),
        ({"release": "another"}, True),
        ({"release": "another", "images": [f"mirror.example.com/shop@{DIGEST}"]}, True),
        (
            {
                "release": "another",
                "images": ["registry.example.com/ticket-service:v3"],
                "init_images": ["registry.example.com/ticket-service:v2"],
            },
            True,
        ),
        ({"release": "another", "images": ["registry.example.com/ticket-service:v3"]}, False),
    ],
    ids=["itself", "its image", "its digest", "its image in an init container", "another"],
)
def test_it_is_known_by_itself_and_by_its_images(changes: dict[str, Any], is_kept: bool) -> None:
    revision = make_entry("v2", **changes)

    found = quarantine.match(
        entry_of(ended()), revision, [*revision.images, *revision.init_images], at(100)
    )

    assert (found is not None) is is_kept


@given(decided=st.lists(st.integers(0, 1000), max_size=40))
def test_there_is_one_entry_a_release_and_they_are_bounded(decided: list[int]) -> None:
    rollbacks = [ended(f"v{2 + one % 30}", float(one)) for one in decided]

    found = entry_of(*rollbacks, now=2000)

    releases = [one.release for one in found]
    assert len(releases) == len(set(releases)) <= 20
    assert [one.until_time for one in found] == sorted(
        (one.until_time for one in found), reverse=True
    )


# -- told ------------------------------------------------------------------------------------------


def seen(version: str, *rollbacks: Rollback, number: int | None = None) -> StatusInputs:
    workload = make_workload(version, tuple({"v1", "v2", "v3"} - {version}))
    if number is not None:
        current, *others = workload.replica_sets
        renumbered = replace(current, revision=number), *others
        workload = replace(workload, replica_sets=renumbered)
    return StatusInputs(
        ready(Reason.WATCHING_TARGET),
        workload,
        rollbacks=rollbacks,
        of_target=rollbacks,
        quarantine_seconds=WEEK,
    )


def test_a_come_back_is_told_once_and_stays_visible() -> None:
    gone = ended()
    good = next_status(RollbackPolicyStatus(), seen("v1", gone), 1, at(100))
    back = next_status(good, seen("v2", gone, number=4), 1, at(200))
    still = next_status(back, seen("v2", gone, number=4), 1, at(210))

    assert [one.release for one in good.quarantine] == ["release-v2"]
    assert _said(good) == ("False", "NotInQuarantine")
    assert _said(back) == ("True", "ReleaseInQuarantine")
    assert EventReason.RELEASE_CAME_BACK in [one.reason for one in policy_notices(good, back, None)]
    assert EventReason.RELEASE_CAME_BACK not in [
        one.reason for one in policy_notices(back, still, None)
    ]


@pytest.mark.parametrize(
    ("outcome", "is_told"), [(Outcome.VERIFIED, True), (Outcome.FAILED, False)]
)
def test_people_are_told_of_a_come_back_unless_its_rollback_tells(
    outcome: Outcome, is_told: bool
) -> None:
    gone = ended()
    over = gone.model_copy(update={"status": gone.status.model_copy(update={"outcome": outcome})})
    before = next_status(RollbackPolicyStatus(), seen("v1", over), 1, at(100))
    back = next_status(before, seen("v2", over, number=4), 1, at(200))

    (notice,) = [
        one
        for one in policy_notices(before, back, None)
        if one.reason is EventReason.RELEASE_CAME_BACK
    ]
    assert notice.is_for_people is is_told


def test_what_is_being_taken_back_has_not_come_back() -> None:
    running = ended().model_copy(
        update={"status": RollbackStatus(steps=[make_step(StepName.UNDO, 0)])}
    )

    found = next_status(RollbackPolicyStatus(), seen("v2", running), 1, at(100))

    assert [one.release for one in found.quarantine] == ["release-v2"]
    assert _said(found) == ("False", "NotInQuarantine")


def test_what_a_failed_rollback_has_left_running_has_not_come_back() -> None:
    failed = ended().model_copy(
        update={
            "status": RollbackStatus(
                outcome=Outcome.FAILED,
                finished_time=at(60),
                steps=[make_step(StepName.UNDO, 0, 60)],
            )
        }
    )

    left = next_status(RollbackPolicyStatus(), seen("v2", failed), 1, at(100))
    back = next_status(left, seen("v2", failed, number=4), 1, at(200))

    assert [one.release for one in left.quarantine] == ["release-v2"]
    assert _said(left) == ("False", "NotInQuarantine")
    assert _said(back) == ("True", "ReleaseInQuarantine")


def test_a_policy_at_a_stand_forgets_only_what_is_over() -> None:
    old = next_status(RollbackPolicyStatus(), seen("v1", ended()), 1, at(100))
    stand = StatusInputs(condition("Ready", False, "Suspended"))  # type: ignore[arg-type]

    assert next_status(old, stand, 1, at(200)).quarantine == old.quarantine
    assert next_status(old, stand, 1, at(WEEK)).quarantine == []


def test_the_operator_looks_again_when_the_first_is_free() -> None:
    known = entry_of(ended(), ended("v3", 50.0))

    assert quarantine.next_end(known, at(100)) == WEEK - 100
    assert quarantine.next_end([], at(100)) is None


def _said(status: RollbackPolicyStatus) -> tuple[str, str]:
    found = find(status.conditions, "Quarantined")  # type: ignore[arg-type]
    assert found is not None
    return found.status, found.reason
