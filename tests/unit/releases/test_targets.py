"""What a policy knows of a Deployment that it named before, and names again."""

from typing import Any

from rollback_operator.api.policy_status import QuarantineEntry
from rollback_operator.api.v1alpha1 import (
    MOST_TARGETS,
    Health,
    LedgerEntry,
    RollbackPolicy,
    TargetRef,
)
from rollback_operator.releases.ownership import informed, of_target
from tests.builders import at, make_entry, make_policy

BAD, GOOD = make_entry("v2", Health.BAD), make_entry("v1")
KEPT = QuarantineEntry(
    rollback="shop-1", release=BAD.release, images=BAD.images, until_time=at(3600)
)


def policy(target: str, **status: Any) -> RollbackPolicy:
    made = make_policy(target_ref=TargetRef(name=target))
    return made.model_copy(update={"status": made.status.model_copy(update=status)})


def retargeted(known: RollbackPolicy, target: str) -> RollbackPolicy:
    spec = known.spec.model_copy(update={"target_ref": TargetRef(name=target)})
    return of_target(known.model_copy(update={"spec": spec}))


def test_what_was_known_comes_back_with_the_target() -> None:
    shop = policy("shop", deployment="shop", revisions=[BAD, GOOD], quarantine=[KEPT])

    other = retargeted(shop, "worker")

    assert other.status.deployment == "worker"
    assert (other.status.revisions, other.status.quarantine) == ([], [])
    assert other.status.revision is None
    back = retargeted(other, "shop")
    assert (back.status.revisions, back.status.quarantine) == ([BAD, GOOD], [KEPT])
    assert [one.deployment for one in back.status.earlier_targets] == ["worker"]


def test_the_same_target_changes_nothing() -> None:
    shop = policy("shop", deployment="shop", revisions=[BAD])

    assert of_target(shop) is shop


def test_a_status_of_before_tells_of_the_target_that_is_named() -> None:
    found = of_target(policy("shop", revisions=[BAD, GOOD]))

    assert (found.status.deployment, found.status.revisions) == ("shop", [BAD, GOOD])


def test_of_the_targets_before_the_last_are_kept() -> None:
    found = policy("t-0", deployment="t-0", revisions=[BAD])
    for number in range(1, 3 + MOST_TARGETS):
        found = retargeted(found, f"t-{number}")

    kept = [one.deployment for one in found.status.earlier_targets]
    assert kept == [f"t-{number}" for number in range(1 + MOST_TARGETS, 1, -1)]


def named(name: str, *revisions: LedgerEntry) -> RollbackPolicy:
    made = policy("shop", deployment="shop", revisions=list(revisions))
    return made.model_copy(update={"metadata": made.metadata.model_copy(update={"name": name})})


def test_who_stands_back_learns_what_the_older_one_knows() -> None:
    """The older one may be deleted: what it has found bad must not become what is adopted."""
    assumed, own = make_entry("v2", Health.ASSUMED), make_entry("v3")
    older, younger = named("older", BAD, GOOD), named("younger", assumed, own)

    assert informed(younger, [older, younger]).status.revisions == [BAD, GOOD, own]
    assert informed(older, [older, younger]) is older
    assert informed(younger, [younger]) is younger


def test_who_comes_to_a_target_and_acts_begins_with_what_another_one_knows() -> None:
    older, younger = named("older"), named("younger", BAD, GOOD)

    assert informed(older, [older, younger]).status.revisions == [BAD, GOOD]
    assert informed(younger, [older, younger]) is younger
