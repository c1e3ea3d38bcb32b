"""How a watch begins: since when the release is there, and what it is compared with."""

from dataclasses import replace

import pytest

from rollback_operator.api.v1alpha1 import Health, Revision, RollbackPolicyStatus
from rollback_operator.core.opening import control_hashes, good_hashes, opened, replaced_hashes
from tests.builders import (
    T0,
    at,
    make_case,
    make_deployment,
    make_entry,
    make_policy,
    make_replica_set,
    make_template,
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
