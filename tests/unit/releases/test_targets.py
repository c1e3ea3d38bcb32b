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


OTHER = QuarantineEntry(rollback="shop-2", release="release-v3", until_time=at(900))
LATER = KEPT.model_copy(update={"until_time": at(9000)})


def keeping(name: str, *kept: QuarantineEntry, ledger: tuple[LedgerEntry, ...] = (BAD, GOOD)):
    made = named(name, *ledger)
    status = made.status.model_copy(update={"quarantine": list(kept)})
    return made.model_copy(update={"status": status})


def test_two_policies_on_a_target_have_one_quarantine_and_the_older_decides() -> None:
    older, younger = keeping("older", KEPT), keeping("younger", OTHER, LATER)
    both = [older, younger]

    assert informed(older, both).status.quarantine == [KEPT, OTHER]
    assert informed(younger, both).status.quarantine == [KEPT, OTHER]
    assert informed(younger, [younger]) is younger
    agreed = [informed(each, both) for each in both]
    assert informed(agreed[1], agreed) is agreed[1]


def test_a_policy_that_takes_over_keeps_what_another_policy_has_in_quarantine() -> None:
    assert informed(
        named("older"), [named("older"), keeping("younger", KEPT)]
    ).status.quarantine == [KEPT]


def test_what_the_older_policy_trusts_is_free_for_both() -> None:
    trusted = BAD.model_copy(update={"health": Health.GOOD, "trusted_time": at(0)})
    older, younger = keeping("older", ledger=(trusted, GOOD)), keeping("younger", KEPT)

    for each in (older, younger):
        assert informed(each, [older, younger]).status.quarantine == []


def test_without_quarantine_in_the_older_policy_there_is_none() -> None:
    older, younger = keeping("older"), keeping("younger", KEPT)
    safety = older.spec.safety.model_copy(update={"quarantine_seconds": 0})
    spec = older.spec.model_copy(update={"safety": safety})
    older = older.model_copy(update={"spec": spec})

    assert informed(younger, [older, younger]).status.quarantine == []


def test_what_another_policy_knows_of_its_earlier_target_does_not_apply() -> None:
    elsewhere = retargeted(keeping("older", KEPT), "worker")
    worker = policy("worker", deployment="worker")

    assert informed(worker, [elsewhere, worker]) is worker


def test_the_common_quarantine_stays_within_its_bound() -> None:
    many = [KEPT.model_copy(update={"release": f"release-{number}"}) for number in range(40)]
    older, younger = keeping("older", *many[:20]), keeping("younger", *many[20:])

    assert informed(older, [older, younger]) is older
    assert informed(younger, [older, younger]).status.quarantine == many[:20]
