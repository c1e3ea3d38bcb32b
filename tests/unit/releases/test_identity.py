"""What a release is: the template without annotations, and the configuration that it began with."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rollback_operator.api.v1alpha1 import Mode, RollbackPolicyStatus, RollbackStatus, StepName
from rollback_operator.model.workload import Workload, digest_of
from rollback_operator.releases import identity
from tests.builders import (
    make_deployment,
    make_entry,
    make_ref,
    make_replica_set,
    make_rollback,
    make_step,
    make_template,
    make_workload,
)

BARE = "release-v1"
FINE, OTHER = "config-1", "config-2"
WITH_FINE, WITH_OTHER = (digest_of([BARE, one]) for one in (FINE, OTHER))


def restarted(version: str = "v2") -> Workload:
    """The template of v1 with other annotations runs as a later revision."""
    template = make_template(version, release=BARE)
    return make_workload(
        version,
        deployment=make_deployment(version, template=template),
        replica_sets=(make_replica_set(version, template=template), make_replica_set("v1")),
    )


def entry(release: str = WITH_FINE, configuration: str | None = FINE, version: str = "v1"):
    return make_entry(version, release=release, configuration=configuration)


def known(*entries, running: int = 0) -> RollbackPolicyStatus:
    return RollbackPolicyStatus(revision=entries[running], revisions=list(entries))


def release_now(status: RollbackPolicyStatus, configuration: str | None, rollbacks=()) -> str:
    found = identity.identified(restarted(), status, rollbacks, configuration)
    current = found.current
    assert current is not None
    assert current.template == found.deployment.template
    assert current.template.bare == BARE
    assert current.template.configuration == configuration
    return current.template.release


@pytest.mark.parametrize(
    ("before", "configuration", "release"),
    [
        pytest.param(entry(), FINE, WITH_FINE, id="a restart is the same release"),
        pytest.param(entry(), OTHER, WITH_OTHER, id="a changed ConfigMap is another"),
        pytest.param(entry(), None, WITH_FINE, id="what cannot be read has not changed"),
        pytest.param(entry(BARE, None), OTHER, BARE, id="an old ledger is read as before"),
        pytest.param(entry(BARE, None), None, BARE, id="nothing is ever read"),
        pytest.param(entry(BARE, FINE), OTHER, WITH_OTHER, id="the second after an old ledger"),
        pytest.param(entry(BARE, FINE), FINE, BARE, id="a restart after an old ledger"),
    ],
)
def test_a_new_template_has_a_release(before, configuration, release) -> None:
    assert release_now(known(before), configuration) == release


def test_a_first_template_has_one_too() -> None:
    assert release_now(RollbackPolicyStatus(), FINE) == WITH_FINE
    assert release_now(RollbackPolicyStatus(), None) == BARE


def test_an_old_record_names_the_release_also_where_its_replica_sets_are_deleted() -> None:
    """Else an upgrade would free a quarantined release that is deployed anew."""
    record = make_rollback(from_revision=make_ref("v0", release=BARE))
    status = known(make_entry("v3"))

    assert release_now(status, FINE, [record]) == BARE
    assert release_now(known(make_entry("v3"), make_entry("v0", release=BARE)), FINE) == BARE


def test_a_revision_that_comes_back_with_another_configuration_is_another_release() -> None:
    back, before = entry(version="v2"), make_entry("v3")
    status = known(before, back)

    assert release_now(status, FINE) == WITH_FINE
    assert release_now(status, OTHER) == WITH_OTHER


def test_what_is_on_record_is_kept_and_nothing_is_to_be_read() -> None:
    running = entry(WITH_OTHER, OTHER, "v2")
    status = known(running, entry())

    found = identity.recorded(restarted(), status)

    assert identity.is_recorded(status, restarted().deployment)
    assert not identity.is_recorded(known(entry()), restarted().deployment)
    assert [one.template.release for one in found.replica_sets] == [WITH_OTHER, WITH_FINE]
    assert found.deployment.template.bare == BARE


def acted(**changes):
    spec = {
        "from_revision": make_ref("v3"),
        "to_revision": make_ref("v1", release=WITH_FINE, unannotated_digest=BARE),
    }
    status = RollbackStatus(steps=[make_step(StepName.UNDO, 20)])
    return make_rollback(status=status, **(spec | changes))


def test_what_a_rollback_restores_is_the_release_that_it_names() -> None:
    bad = make_entry("v3")

    assert release_now(known(bad, entry()), OTHER, [acted()]) == WITH_FINE


@pytest.mark.parametrize(
    ("running", "rollback"),
    [
        pytest.param("v3", acted().model_copy(update={"status": RollbackStatus()}), id="not begun"),
        pytest.param("v3", acted(mode=Mode.OBSERVE), id="observed"),
        pytest.param("v4", acted(), id="another release came between"),
        pytest.param("v3", acted(to_revision=make_ref("v0")), id="another target"),
    ],
)
def test_another_restore_is_not_the_rollback(running, rollback) -> None:
    status = known(make_entry(running), entry())

    assert release_now(status, OTHER, [rollback]) == WITH_OTHER


def test_a_lost_status_is_made_up_for_by_rollbacks() -> None:
    bad = make_ref("v2", release=WITH_OTHER, unannotated_digest=BARE, configuration=OTHER)
    rollback = make_rollback(from_revision=bad)

    found = identity.recorded(restarted("v2"), RollbackPolicyStatus(), [rollback])

    assert found.deployment.template.release == WITH_OTHER


def test_the_deployment_that_a_write_returned_keeps_its_release() -> None:
    workload = identity.identified(restarted(), known(entry()), (), OTHER)
    written = replace(restarted().deployment, paused=True)

    found = identity.with_deployment(workload, written)

    assert found.deployment.paused
    assert found.deployment.template.release == WITH_OTHER
    moved = replace(written, template=make_template("v5"))
    assert identity.with_deployment(workload, moved).deployment.template == moved.template


EARLIER = {
    "revision": {
        "digest": "0a855cb21399e69d",
        "images": ["registry.example.com/shop:v1"],
        "number": 3,
        "release": "8f73f3858c6829eb",
        "since": "2026-12-01T15:45:45Z",
        "templateHash": "5fd5d48d6",
    },
    "revisions": [
        {
            "digest": "0a855cb21399e69d",
            "health": "Good",
            "images": ["registry.example.com/shop:v1"],
            "number": 3,
            "release": "8f73f3858c6829eb",
            "since": "2026-12-01T15:45:32.207691Z",
            "templateHash": "5fd5d48d6",
        },
        {
            "condemned": {
                "message": "shop-146db974f0: all purchases fail",
                "rollback": "shop-146db974f0",
                "severity": "P1",
                "time": "2026-12-01T15:45:44.766249Z",
            },
            "digest": "8f2d06e85925f9d3",
            "health": "Bad",
            "images": ["registry.example.com/shop:v2"],
            "number": 2,
            "release": "4d23df191572eaba",
            "since": "2026-12-01T15:45:43.019125Z",
            "templateHash": "5d8545c6bf",
        },
    ],
    "quarantine": [
        {
            "images": [],
            "release": "4d23df191572eaba",
            "rollback": "shop-146db974f0",
            "templateHash": "5d8545c6bf",
            "untilTime": "2026-12-08T15:45:44.766249Z",
        }
    ],
}
"""What the operator before the release included its configuration wrote, after an undo."""


@pytest.mark.parametrize("entry", EARLIER["revisions"], ids=["the running release", "the bad"])
def test_an_upgrade_makes_no_release_new(entry) -> None:
    status = RollbackPolicyStatus.model_validate(EARLIER)
    running = make_template("v1", digest=status.revision.digest, release=status.revision.release)
    again = make_template("v9", digest="restarted", release=entry["release"])
    known = make_replica_set(
        "v2", template=make_template("v2", digest=entry["digest"], release=entry["release"])
    )
    now = make_workload("v1", deployment=make_deployment("v1", template=running))
    later = make_workload(
        "v9",
        deployment=make_deployment("v9", template=again),
        replica_sets=(make_replica_set("v9", template=again), known),
    )

    assert identity.is_recorded(status, now.deployment)
    kept = identity.recorded(now, status).deployment.template
    assert (kept.release, kept.configuration) == ("8f73f3858c6829eb", None)
    for workload in (later, replace(later, replica_sets=later.replica_sets[:1])):
        found = identity.identified(workload, status, (), FINE).deployment.template
        assert (found.release, found.configuration) == (entry["release"], FINE)
    assert status.quarantine[0].release == "4d23df191572eaba"
