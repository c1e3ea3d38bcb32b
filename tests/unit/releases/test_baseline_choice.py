"""How a watch begins: since when the release is there, and what it is compared with."""

from dataclasses import replace

import pytest

from rollback_operator.api.v1alpha1 import Health, Revision, RollbackPolicyStatus
from rollback_operator.decide.evaluate import watch_of
from rollback_operator.releases.baseline_choice import (
    control_hashes,
    good_hashes,
    opened,
    replaced_hashes,
)
from rollback_operator.releases.usefulness import with_usefulness
from tests.builders import (
    T0,
    at,
    make_case,
    make_deployment,
    make_entry,
    make_policy,
    make_replica_set,
    make_scope,
    make_template,
    make_watching,
    make_workload,
)


def known(version: str, since: float | None):
    template = make_template(version)
    revision = Revision(
        number=int(version[1:]),
        template_hash=f"hash{version}",
        digest=template.digest,
        release=template.release,
        since=None if since is None else at(since),
    )
    status = RollbackPolicyStatus(revision=revision)
    return make_policy().model_copy(update={"status": status})


ROLLING = make_workload(deployment=make_deployment(updated=1))
GOING_BACK = replace(
    ROLLING,
    replica_sets=(make_replica_set("v2", created=T0 - 7200), make_replica_set("v1", created=T0)),
)


@pytest.mark.parametrize(
    ("policy", "workload", "expected"),
    [
        (known("v2", 5), make_workload(), 5),
        (known("v2", None), make_workload(), 100),
        (make_policy(), make_workload(), 100),
        (make_policy(), ROLLING, 0),
        (make_policy(), GOING_BACK, 100),
        (make_policy(), replace(ROLLING, replica_sets=()), 100),
        (known("v1", -50), make_workload(), 0),
        (known("v1", None), make_workload(), 0),
        (known("v1", 50), make_workload(), 100),
    ],
    ids=[
        "known",
        "known without a time",
        "adopted",
        "adopted in the middle of a rollout",
        "adopted while an older release is gone back to",
        "no ReplicaSet yet",
        "a new release, also while nobody looked",
        "a new release after one without a time",
        "an old release has come back",
    ],
)
def test_opened(policy, workload, expected) -> None:
    case = make_case(policy=policy, workload=workload)
    assert opened(case, at(100.7)) == T0 + expected


BETWEEN = (
    make_replica_set("v3", created=T0),
    make_replica_set("v2", created=T0 - 200),
    make_replica_set("v1", created=T0 - 7200),
)


@pytest.mark.parametrize(
    ("health", "created", "expected"),
    [
        (Health.UNKNOWN, -200, {"hashv2"}),
        (None, -200, {"hashv2"}),
        (Health.BAD, -200, set()),
        (Health.UNKNOWN, -20, set()),
        (Health.GOOD, -200, set()),
    ],
    ids=["not known", "not on record", "bad", "ran for a moment", "the control itself"],
)
def test_the_replaced_revision_is_a_witness_of_its_own(health, created, expected) -> None:
    sets = (BETWEEN[0], replace(BETWEEN[1], created=T0 + created), BETWEEN[2])
    workload = replace(
        make_workload(deployment=make_deployment(template=make_template("v3"))), replica_sets=sets
    )
    entries = [make_entry("v1"), *([make_entry("v2", health)] if health else [])]
    assert replaced_hashes(make_case(workload=workload, ledger=entries)) == expected


def test_what_is_found_bad_during_the_watch_is_a_witness_no_more() -> None:
    workload = replace(
        make_workload(deployment=make_deployment(template=make_template("v3"))),
        replica_sets=BETWEEN,
    )
    unknown = [make_entry("v1"), make_entry("v2", Health.UNKNOWN)]
    watch = watch_of(None, make_case(workload=workload, ledger=unknown), "url", at(10))
    assert watch.replaced_hashes == {"hashv2"}

    bad = make_case(workload=workload, ledger=[make_entry("v1"), make_entry("v2", Health.BAD)])
    assert watch_of(watch, bad, "url", at(20)).replaced_hashes == frozenset()


SAME = make_replica_set("v3", template=make_template("v3", release="release-v2"))


@pytest.mark.parametrize(
    ("ledger", "replica_sets", "expected"),
    [
        ([make_entry("v1")], ("v2", "v1"), {"hashv1"}),
        ([make_entry("v1", Health.UNKNOWN)], ("v2", "v1"), {"hashv1"}),
        ([make_entry("v1")], ("v2", "v0", "v1"), {"hashv1"}),
        ([], ("v2",), set()),
    ],
    ids=[
        "the good one",
        "what ran before, though not known to be good",
        "of several",
        "none is left",
    ],
)
def test_control(ledger, replica_sets, expected) -> None:
    workload = make_workload(replica_sets=tuple(make_replica_set(one) for one in replica_sets))
    assert control_hashes(make_case(workload=workload, ledger=ledger)) == expected


def test_restarts_of_the_good_release_are_the_control_too() -> None:
    again = make_replica_set("v0", template=make_template("v0", release="release-v1"))
    workload = make_workload(
        replica_sets=(make_replica_set("v2"), make_replica_set("v1"), again, SAME)
    )
    assert control_hashes(make_case(workload=workload)) == {"hashv0", "hashv1"}


@pytest.mark.parametrize(
    ("ago", "replicas", "expected"),
    [(7200.0, 0, {"hashv1"}), (600.0, 0, {"hashv0"}), (7200.0, 1, {"hashv0"})],
    ids=["good was long ago", "good was in the last hour", "good still serves"],
)
def test_a_good_revision_of_which_nothing_is_known_any_more_is_no_control(
    ago, replicas, expected
) -> None:
    workload = make_workload(
        replica_sets=(
            make_replica_set("v2", created=T0),
            make_replica_set("v1", created=T0 - ago),
            make_replica_set("v0", created=T0 - 86400, replicas=replicas),
        )
    )
    ledger = (make_entry("v1", health=Health.BAD), make_entry("v0", health=Health.GOOD))
    assert control_hashes(make_case(workload=workload, ledger=ledger)) == expected


def test_what_did_well_before_is_named_beside_the_control() -> None:
    sets = tuple(make_replica_set(f"v{number}") for number in range(5))
    workload = make_workload("v4", deployment=make_deployment("v4"))
    workload = replace(workload, replica_sets=sets)
    healths = (Health.GOOD, Health.BAD, Health.ASSUMED, Health.GOOD, Health.GOOD)
    ledger = [make_entry(f"v{number}", one) for number, one in enumerate(healths)]
    case = make_case(workload=workload, ledger=ledger)

    assert control_hashes(case) == {"hashv3"}
    assert good_hashes(case) == {"hashv0", "hashv2", "hashv3"}


def _gone_back(*before):
    """v1 ran; v2 failed and was left; v1 came back; then `before`, if any; then the current v5."""
    sets = (
        make_replica_set("v5", created=T0),
        *before,
        make_replica_set("v1", revision=3, created=T0 - 3000),
        make_replica_set("v2", created=T0 - 2900, replicas=0),
    )
    workload = make_workload("v5", deployment=make_deployment(template=make_template("v5")))
    return replace(workload, replica_sets=sets)


TRUSTED = make_entry("v2", trusted_time=at(-60))
BETWEEN_THEM = make_replica_set("v4", created=T0 - 300, replicas=0)


@pytest.mark.parametrize(
    ("workload", "ledger", "expected"),
    [
        (_gone_back(), [TRUSTED, make_entry("v1", Health.ASSUMED)], {"hashv1"}),
        (
            _gone_back(BETWEEN_THEM),
            [TRUSTED, make_entry("v1", Health.ASSUMED), make_entry("v4", Health.BAD)],
            {"hashv1"},
        ),
        (_gone_back(), [TRUSTED, make_entry("v1", Health.BAD)], {"hashv2"}),
        (_gone_back(), [TRUSTED, make_entry("v1", Health.UNKNOWN)], {"hashv2"}),
        (
            _gone_back(),
            [TRUSTED, make_entry("v1", Health.ASSUMED, quarantined_by="v0")],
            {"hashv2"},
        ),
        (_gone_back(), [make_entry("v2"), make_entry("v1", Health.ASSUMED)], {"hashv2"}),
        (
            _gone_back(replace(BETWEEN_THEM, replicas=4)),
            [make_entry("v4", trusted_time=at(-60)), make_entry("v1", Health.ASSUMED)],
            {"hashv4"},
        ),
    ],
    ids=[
        "what ran before it does well",
        "what ran before it is bad, another witness is there",
        "what ran before it is bad",
        "of what ran before it nothing is known",
        "what ran before it is in quarantine",
        "what it would go back to has earned it",
        "what is trusted ran before it",
    ],
)
def test_a_release_that_a_person_trusts_is_no_control_where_another_did_well(
    workload, ledger, expected
) -> None:
    assert control_hashes(make_case(workload=workload, ledger=ledger)) == expected


def test_the_past_of_a_release_that_a_person_trusts_stands_in_for_no_other() -> None:
    case = make_case(workload=_gone_back(), ledger=[TRUSTED, make_entry("v1", Health.ASSUMED)])
    assert good_hashes(case) == {"hashv1"}


def test_a_release_adopted_in_an_outage_is_no_baseline_beside_its_fix() -> None:
    sets = tuple(make_replica_set(version) for version in ("v4", "v3", "v2"))
    workload = make_workload("v4", replica_sets=sets)
    adopted = [make_entry("v3", Health.UNKNOWN), make_entry("v2", Health.ASSUMED)]
    fails = make_watching(scopes=(make_scope(),))

    ledger = with_usefulness(adopted, "release-v2", fails)

    assert control_hashes(make_case(workload=workload, ledger=adopted)) == {"hashv2"}
    assert control_hashes(make_case(workload=workload, ledger=ledger)) == {"hashv3"}
