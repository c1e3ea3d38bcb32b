"""Which records are kept: the newest of each kind, and whatever is still needed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from rollback_operator.api.notify import Notification
from rollback_operator.api.policy_status import QuarantineEntry
from rollback_operator.api.reasons import ConditionType, Reason
from rollback_operator.api.remedy import OwnerRecord
from rollback_operator.api.v1alpha1 import (
    FINALIZER,
    Outcome,
    Rollback,
    RollbackPolicy,
    RollbackPolicyStatus,
    RollbackRequest,
    RollbackStatus,
    RollbackTarget,
    SafetySpec,
)
from rollback_operator.model.conditions import condition, upsert
from rollback_operator.releases import records
from rollback_operator.releases.records import KEPT, Record
from tests.builders import (
    at,
    make_ended,
    make_entry,
    make_policy,
    make_ref,
    make_rollback,
    make_trigger_record,
)
from tests.fakes.store import names

POLICY = make_policy()
LATER = 100_000
"""When no guard asks for any of the records any more."""


def superfluous(
    policy: RollbackPolicy | None,
    rollbacks: Sequence[Rollback],
    requests: Sequence[RollbackRequest],
    seconds: float = LATER,
) -> list[Record]:
    return records.superfluous(policy, rollbacks, requests, at(seconds))


def ended(number: int, status: RollbackStatus | None = None, **spec: Any) -> Rollback:
    """One that ended, the one with the highest number last."""
    trigger = make_trigger_record(decided_time=at(number))
    return make_rollback(f"r-{number:02}", status or make_ended(), **{"trigger": trigger} | spec)


def not_ours(number: int) -> Rollback:
    """A whole plan that somebody has written by hand, from times to come as it says."""
    said = condition(ConditionType.COMPLETE, True, Reason.NOT_OF_THIS_POLICY, "no")
    status = make_ended(Outcome.FAILED, number).model_copy(
        update={"conditions": upsert([], [said], 1, at(number))}
    )
    made = ended(1000 - number, status)
    metadata = made.metadata.model_copy(update={"name": f"n-{number:02}"})
    return made.model_copy(update={"metadata": metadata})


def test_the_newest_of_each_deployment_are_kept() -> None:
    other = RollbackTarget(name="another", uid="uid-another")
    here = [ended(one) for one in range(KEPT + 2)]
    there = [ended(one + 50, target_ref=other) for one in range(KEPT + 1)]
    found = superfluous(POLICY, [*there, *here], [])
    assert sorted(names(found)) == ["r-00", "r-01", "r-50"]


def test_a_deployment_that_was_made_anew_has_no_records_of_its_own() -> None:
    first = ended(0)
    anew = RollbackTarget(name=first.spec.target_ref.name, uid="uid-anew")
    later = [ended(one + 1, target_ref=anew) for one in range(KEPT)]
    assert names(superfluous(POLICY, [first, *later], [])) == ["r-00"]


def test_what_was_turned_down_counts_for_itself_by_when_that_was() -> None:
    done = [ended(one) for one in range(KEPT)]
    found = superfluous(POLICY, [*done, *[not_ours(one) for one in range(KEPT + 1)]], [])
    assert names(found) == ["n-00"]


def test_without_a_policy_only_what_was_turned_down_goes() -> None:
    done = [ended(one) for one in range(KEPT + 5)]
    found = superfluous(None, [*done, *[not_ours(one) for one in range(KEPT + 1)]], [])
    assert names(found) == ["n-00"]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"outcome": None}, id="goes on"),
        pytest.param({"owner": OwnerRecord(suspended_time=at(1))}, id="somebody is suspended"),
        pytest.param(
            {
                "notifications": [
                    Notification(id="x", transition="Verified", channel="chat", time=at(1))
                ]
            },
            id="not told yet",
        ),
    ],
)
def test_what_is_still_needed_stays(change: dict[str, Any]) -> None:
    old = ended(0, make_ended().model_copy(update=change))
    assert superfluous(POLICY, [old, *[ended(one + 1) for one in range(KEPT)]], []) == []


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"finalizers": [FINALIZER]}, id="not released yet"),
        pytest.param({"deletion_timestamp": at(5)}, id="deleted already"),
    ],
)
def test_what_is_not_to_be_deleted_now_stays(change: dict[str, Any]) -> None:
    old = ended(0)
    old = old.model_copy(update={"metadata": old.metadata.model_copy(update=change)})
    assert superfluous(POLICY, [old, *[ended(one + 1) for one in range(KEPT)]], []) == []


def test_what_is_in_quarantine_stays() -> None:
    entry = QuarantineEntry(release="r", until_time=at(2 * LATER), rollback="r-00")
    policy = POLICY.model_copy(update={"status": RollbackPolicyStatus(quarantine=[entry])})
    found = superfluous(policy, [ended(one) for one in range(KEPT + 2)], [])
    assert names(found) == ["r-01"]


# -- what guards ask for ---------------------------------------------------------------------------


def many(**safety: Any) -> tuple[RollbackPolicy, list[Rollback]]:
    """More rollbacks than are kept, each of a release of its own, within half a minute."""
    made = [
        ended(
            one,
            make_ended(finished=one + 1),
            from_revision=make_ref(f"v{one + 10}"),
            to_revision=make_ref("v1"),
        )
        for one in range(KEPT + 5)
    ]
    there = [make_entry("v1")]  # the releases that were left are gone
    policy = make_policy(safety=SafetySpec(**safety))
    return policy.model_copy(update={"status": RollbackPolicyStatus(revisions=there)}), made


@pytest.mark.parametrize(
    ("cooldown", "seconds", "gone"),
    [(604_800, 90_000, 0), (604_800, 604_790, 0), (3600, 90_000, 5), (604_800, 700_000, 5)],
)
def test_the_records_whose_cooldown_lasts_are_kept(cooldown: int, seconds: int, gone: int) -> None:
    policy, made = many(cooldown_seconds=cooldown)
    assert len(superfluous(policy, made, [], seconds)) == gone


@pytest.mark.parametrize(
    ("most", "seconds", "gone"),
    [(100, 80_000, 0), (22, 80_000, 3), (3, 80_000, 5), (100, 90_000, 5)],
)
def test_as_many_records_of_a_day_are_kept_as_count_for_its_budget(
    most: int, seconds: int, gone: int
) -> None:
    policy, made = many(max_rollbacks_per_day=most)
    assert len(superfluous(policy, made, [], seconds)) == gone
