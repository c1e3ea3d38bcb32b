from dataclasses import replace
from datetime import timedelta

import pytest

from rollback_operator.api.reasons import Reason
from rollback_operator.api.v1alpha1 import (
    Health,
    Mode,
    Outcome,
    RollbackPolicyStatus,
    RollbackStatus,
    VerdictValue,
)
from rollback_operator.evidence.watch import open_watch
from rollback_operator.model.samples import Missing
from rollback_operator.releases import ledger
from rollback_operator.releases.ledger import (
    LIMIT,
    health_of,
    is_proved_good,
    last_known_good,
    with_health,
)
from rollback_operator.releases.replacements import with_known_times
from rollback_operator.releases.usefulness import with_usefulness
from rollback_operator.stats.sequential import wilson_lower
from tests.builders import (
    T0,
    at,
    make_control,
    make_deployment,
    make_entry,
    make_pods,
    make_policy,
    make_ref,
    make_replica_set,
    make_rollback,
    make_scope,
    make_template,
    make_verdict,
    make_watching,
    make_workload,
)

GOOD, ASSUMED, UNKNOWN, BAD = Health.GOOD, Health.ASSUMED, Health.UNKNOWN, Health.BAD


def entries(known, workload, rollbacks, now, **policy):
    """The ledger of a policy with these entries on record."""
    status = RollbackPolicyStatus(revisions=known)
    made = make_policy(**policy).model_copy(update={"status": status})
    return ledger.entries(made, workload, rollbacks, now)


def healths(found) -> dict[str, Health]:
    return {f"v{one.number}": one.health for one in found}


ROLLING = make_workload(deployment=make_deployment(updated=1, available=3))
ONLY = (make_replica_set("v2"),)
OLDEST = make_replica_set("v1", created=T0 - 86_400)
ROLLED_BACK = make_rollback()
FOUND = make_entry("v2", UNKNOWN, found_time=at(0))
"""The first release of all, at the first look, which came before its pods were ready."""


@pytest.mark.parametrize(
    ("known", "workload", "rollbacks", "expected"),
    [
        ([], make_workload(), [], {"v2": ASSUMED}),
        ([], ROLLING, [], {"v2": UNKNOWN}),
        ([make_entry("v2", UNKNOWN, since=at(5))], make_workload(), [], {"v2": UNKNOWN}),
        ([make_entry("v2", UNKNOWN, since=at(900))], make_workload(), [], {"v2": UNKNOWN}),
        ([make_entry("v2", UNKNOWN)], make_workload(older=()), [], {"v2": UNKNOWN}),
        ([FOUND], make_workload(older=()), [], {"v2": ASSUMED}),
        ([FOUND], replace(ROLLING, replica_sets=ONLY), [], {"v2": UNKNOWN}),
        ([make_entry("v2", BAD)], make_workload(older=()), [], {"v2": BAD}),
        ([make_entry("v1")], make_workload(), [], {"v2": UNKNOWN, "v1": GOOD}),
        ([make_entry("v1")], make_workload(older=()), [], {"v2": UNKNOWN}),
        (
            [make_entry("v2", UNKNOWN), make_entry("v1")],
            make_workload(),
            [ROLLED_BACK],
            {"v2": BAD, "v1": GOOD},
        ),
        ([], make_workload(), [ROLLED_BACK], {"v2": BAD}),
        ([], make_workload("v3", older=("v2", "v1")), [ROLLED_BACK], {"v3": ASSUMED, "v2": BAD}),
        (
            [make_entry("v2", ASSUMED)],
            make_workload(),
            [ROLLED_BACK],
            {"v2": BAD},
        ),
        ([make_entry("v2", GOOD)], make_workload(), [ROLLED_BACK], {"v2": BAD}),
    ],
    ids=[
        "adoption: it was running",
        "adoption in the middle of a rollout",
        "a rollout that adoption fell into stays under watch when it is complete",
        "first seen long after it was made, while the operator was down",
        "under watch, and all older ReplicaSets are gone",
        "adoption of the first release of all, as soon as it runs",
        "the first release of all, before it runs",
        "the first release of all, known bad",
        "a new revision",
        "a ReplicaSet that is gone is forgotten",
        "rolled back",
        "rolled back, and the status was lost",
        "rolled back long ago, and the status was lost",
        "assumed, and rolled back",
        "rolled back, and the status that says so was not written",
    ],
)
def test_entries(known, workload, rollbacks, expected) -> None:
    assert healths(entries(known, workload, rollbacks, at())) == expected


@pytest.mark.parametrize(
    ("first", "now", "expected"),
    [
        (replace(ROLLING, replica_sets=ONLY), 5, ASSUMED),
        (ROLLING, 900, ASSUMED),
        (ROLLING, 5, UNKNOWN),
    ],
    ids=["the only release", "an old release", "in the midst of a rollout"],
)
def test_what_the_policy_came_upon_is_adopted_once_it_runs(first, now, expected) -> None:
    found = entries([], first, [], at(now))
    assert healths(found) == {"v2": UNKNOWN}

    again = entries(found, first, [], at(now + 1))
    adopted = entries(again, make_workload(), [], at(now + 10))

    assert healths(adopted) == {"v2": expected}
    assert not any(one.found_time for one in adopted if one.health is ASSUMED)


def test_what_was_put_on_record_under_watch_is_never_adopted() -> None:
    """ReplicaSets are deleted or pruned: what is left over is no first release."""
    watched = entries([make_entry("v1", ASSUMED)], make_workload(), [], at(10))
    assert healths(watched) == {"v2": UNKNOWN, "v1": ASSUMED}
    alone = make_workload(older=())

    pruned = entries(watched, alone, [], at(20))

    assert healths(entries(pruned, alone, [], at(30))) == {"v2": UNKNOWN}


def test_a_release_made_anew_that_nothing_is_left_of_before_is_not_adopted() -> None:
    """The Deployment is deleted and comes again with another release: that is under watch."""
    known, alone = [make_entry("v1", ASSUMED)], make_workload("v3", older=())

    found = entries(entries(known, alone, [], at(20)), alone, [], at(30))

    assert healths(found) == {"v3": UNKNOWN}


def test_what_was_replaced_before_it_ran_is_not_adopted_any_more() -> None:
    first = entries([], replace(ROLLING, replica_sets=ONLY), [], at(5))
    replaced = entries(first, make_workload("v3", older=("v2",)), [], at(20))
    back = make_workload(older=())

    assert healths(entries(replaced, back, [], at(30))) == {"v2": UNKNOWN}


def test_what_a_verdict_has_found_bad_is_not_adopted_any_more() -> None:
    (found,) = ledger.found_bad([FOUND], FOUND.release)

    assert healths(entries([found], make_workload(older=()), [], at(30))) == {"v2": UNKNOWN}


VERIFIED = make_rollback(status=RollbackStatus(outcome=Outcome.VERIFIED))


@pytest.mark.parametrize(
    ("known", "rollback", "expected"),
    [
        ([], VERIFIED, {"v3": UNKNOWN, "v2": BAD, "v1": ASSUMED}),
        ([make_entry("v1", UNKNOWN)], VERIFIED, {"v3": UNKNOWN, "v2": BAD, "v1": ASSUMED}),
        ([make_entry("v1", BAD)], VERIFIED, {"v3": UNKNOWN, "v2": BAD, "v1": BAD}),
        ([make_entry("v1", GOOD)], VERIFIED, {"v3": UNKNOWN, "v2": BAD, "v1": GOOD}),
        ([make_entry("v1", UNKNOWN)], ROLLED_BACK, {"v3": UNKNOWN, "v2": BAD, "v1": UNKNOWN}),
    ],
    ids=["status lost", "still young", "bad since", "good since", "not verified yet"],
)
def test_what_a_rollback_restored_can_be_gone_back_to_again(known, rollback, expected) -> None:
    workload = make_workload("v3", older=("v2", "v1"), deployment=make_deployment("v3", updated=1))
    found = entries(known, workload, [rollback], at(100))
    assert healths(found) == expected
    wanted = {GOOD, ASSUMED} & {expected["v1"]}
    gone_back_to = last_known_good(found, workload)
    assert (gone_back_to.name if gone_back_to else "") == (
        "ticket-service-hashv1" if wanted else ""
    )


def test_a_release_keeps_its_health_when_its_revision_gets_a_new_number() -> None:
    workload = make_workload()
    again = make_replica_set("v1", revision=3)
    workload = replace(workload, replica_sets=(workload.replica_sets[0], again))
    found = entries([make_entry("v2", BAD), make_entry("v1")], workload, [], at())
    assert healths(found) == {"v3": GOOD, "v2": BAD}


def test_a_restart_inherits_the_health_of_its_release() -> None:
    restarted = make_template("v1", digest="digest-v1-restarted")
    workload = make_workload(
        "v2",
        replica_sets=(make_replica_set("v2", template=restarted), make_replica_set("v1")),
        deployment=make_deployment("v2", template=restarted),
    )
    found = entries([make_entry("v1")], workload, [], at())
    assert [(one.number, one.health, one.digest) for one in found] == [
        (2, GOOD, "digest-v1-restarted"),
        (1, GOOD, "digest-v1"),
    ]


def test_a_bounded_number_is_kept_the_newest_first() -> None:
    versions = [f"v{n}" for n in range(24, 0, -1)]
    known = [make_entry(one) for one in versions[:LIMIT]]
    workload = make_workload("v24", older=versions[1:])
    found = entries(known, workload, [], at())
    assert [one.number for one in found] == list(range(24, 24 - LIMIT, -1))
    none_good = [one.model_copy(update={"health": BAD}) for one in found]
    assert last_known_good(none_good, workload) is None, "it may be forgotten that it was bad"


def test_health_is_recorded_and_cut_to_its_bound() -> None:
    found = with_health([make_entry("v2", UNKNOWN), make_entry("v1")], "release-v2", BAD, "x" * 999)
    assert healths(found) == {"v2": BAD, "v1": GOOD}
    assert len(found[0].reason) == 256
    assert health_of(found, "release-v2") is BAD
    assert health_of(found, "release-v9") is None
    same = [make_entry("v1", reason="ten minutes")]
    assert with_health(same, "release-v1", GOOD, "again") == same


@pytest.mark.parametrize(
    ("ledger", "expected"),
    [
        ([make_entry("v2", ASSUMED), make_entry("v1", GOOD)], "v1"),
        ([make_entry("v2", GOOD), make_entry("v1", GOOD)], "v2"),
        ([make_entry("v2", UNKNOWN), make_entry("v1", ASSUMED)], "v1"),
        ([make_entry("v2", BAD), make_entry("v1", UNKNOWN)], None),
        ([make_entry("v2", BAD)], "v1"),
        ([], "v2"),
        ([make_entry("v3", GOOD), make_entry("v2", BAD), make_entry("v1", BAD)], None),
    ],
    ids=[
        "good before assumed",
        "the newest good one",
        "assumed before one that was still being watched",
        "never a bad one, nor one that was still being watched",
        "one that nothing was ever seen of",
        "the newest of those",
        "the current one is no way back",
    ],
)
def test_last_known_good(ledger, expected) -> None:
    workload = make_workload("v3", older=("v2", "v1"))
    found = last_known_good(ledger, workload)
    assert (f"v{found.revision}" if found else None) == expected


@pytest.mark.parametrize(
    ("health", "restored", "expected"),
    [
        pytest.param(Health.UNKNOWN, {"release-v2"}, 2, id="gone back to, it serves"),
        pytest.param(Health.UNKNOWN, set(), 1, id="watched when it was replaced"),
        pytest.param(Health.BAD, {"release-v2"}, 1, id="gone back to, and found bad"),
    ],
)
def test_what_was_gone_back_to_is_not_passed_over_for_what_was_never_seen_to_run(
    health: Health, restored: set[str], expected: int
) -> None:
    workload = make_workload("v3", older=("v2", "v1"))
    current, back, never_seen = workload.replica_sets
    midst = replace(workload, replica_sets=(current, replace(back, ready=3), never_seen))

    found = last_known_good([make_entry("v2", health)], midst, restored)

    assert found is not None
    assert found.revision == expected


@pytest.mark.parametrize(
    ("seconds", "expected"), [(4.0, 1), (599.0, 1), (600.0, 2)], ids=["hotfix", "young", "settled"]
)
def test_what_was_replaced_in_the_midst_of_its_rollout_is_gone_back_to_last(
    seconds, expected
) -> None:
    replaced = make_replica_set("v2", created=T0 - seconds)
    workload = make_workload(
        "v3", replica_sets=(make_replica_set("v3"), replaced, OLDEST), pods=make_pods(version="v3")
    )

    found = last_known_good([], workload)

    assert found is not None
    assert found.revision == expected
    assert (
        last_known_good([], replace(workload, replica_sets=workload.replica_sets[:2])) == replaced
    )


def test_a_restart_does_not_make_a_release_young() -> None:
    restarted = make_template("v2", digest="digest-v2-restarted")
    sets = (
        make_replica_set("v4"),
        make_replica_set("v3", template=restarted, created=T0 - 10),
        make_replica_set("v2", created=T0 - 3600),
        OLDEST,
    )
    workload = make_workload("v4", replica_sets=sets, pods=make_pods(version="v4"))

    found = last_known_good([], workload)

    assert found is not None
    assert found.revision == 3


@pytest.mark.parametrize(
    ("ready", "health", "expected"),
    [
        pytest.param(3, Health.UNKNOWN, 2, id="it serves"),
        pytest.param(0, Health.UNKNOWN, None, id="nothing of it is left"),
        pytest.param(3, Health.BAD, None, id="found bad"),
    ],
)
def test_what_people_have_just_gone_back_to_is_gone_back_to(
    ready: int, health: Health, expected: int | None
) -> None:
    workload = make_workload("v3", older=("v2", "v1"))
    current, back, left = workload.replica_sets
    older = replace(back, ready=ready, created=left.created - 60)
    midst = replace(workload, replica_sets=(current, older, left))
    known = [make_entry("v2", health), make_entry("v1", Health.UNKNOWN)]

    found = last_known_good(known, midst)

    assert (found.revision if found is not None else None) == expected


def test_what_people_went_back_from_unseen_is_gone_back_to_last() -> None:
    workload = make_workload("v5", older=("v4", "v3", "v1"))
    current, back, left, oldest = workload.replica_sets
    older = replace(back, created=left.created - 7200)
    seen = replace(
        workload,
        replica_sets=(current, older, left, replace(oldest, created=left.created - 9000)),
    )
    watched = [make_entry("v4", Health.UNKNOWN)]

    found = last_known_good(watched, seen)
    assert found is not None
    assert found.revision == 1

    only = replace(seen, replica_sets=(current, older, left))
    assert (last_known_good(watched, only) or current).revision == 3


def test_of_what_was_never_seen_to_run_that_is_gone_back_to_which_serves() -> None:
    workload = make_workload("v3", older=("v2", "v1"))
    current, never_up, serving = workload.replica_sets
    midst = replace(workload, replica_sets=(current, never_up, replace(serving, ready=3)))

    found = last_known_good([], midst)

    assert found is not None
    assert found.revision == 1


# -- becoming good ---------------------------------------------------------------------------------

WATCH = replace(
    open_watch("digest-v2", T0, frozenset({"hashv1"})), missing=None, control=make_control()
)
CLEAN = make_watching()
FEW = make_watching(reason=Reason.TOO_FEW_REQUESTS, value=VerdictValue.NO_VERDICT)
ALONE = make_watching(reason=Reason.NO_CONTROL)
UNCLEAN = make_watching(reason=Reason.NO_CONTROL, value=VerdictValue.NO_VERDICT)
IDLE = make_control(requests=0, errors=0)


def scoped(verdict, requests: float, errors: float):
    scope = replace(verdict.scopes[0], requests=requests, errors=errors)
    return replace(verdict, scopes=(scope,))


@pytest.mark.parametrize(
    ("watch", "workload", "verdict", "expected"),
    [
        (WATCH, make_workload(), scoped(CLEAN, 100, 0), True),
        (WATCH, make_workload(), scoped(CLEAN, 99, 0), False),
        (WATCH, ROLLING, scoped(CLEAN, 1000, 0), False),
        (replace(WATCH, opened=T0 + 1), make_workload(), scoped(CLEAN, 1000, 0), False),
        (
            WATCH,
            make_workload(pods=make_pods(4, ready_since=T0 + 5)),
            scoped(CLEAN, 1000, 0),
            False,
        ),
        (WATCH, make_workload(pods=()), scoped(CLEAN, 1000, 0), False),
        (
            WATCH,
            make_workload(),
            replace(scoped(CLEAN, 1000, 5), reason=Reason.EVIDENCE_GATHERING),
            False,
        ),
        (WATCH, make_workload(), make_verdict(), False),
        (WATCH, make_workload(), replace(CLEAN, scopes=()), False),
        (
            replace(WATCH, missing=Missing(Reason.PROVIDER_UNREACHABLE, "down")),
            make_workload(),
            scoped(CLEAN, 1000, 0),
            False,
        ),
        (WATCH, make_workload(), scoped(FEW, 0, 0), False),
        (replace(WATCH, control=IDLE), make_workload(), scoped(FEW, 0, 0), True),
        (replace(WATCH, control=None), make_workload(), scoped(FEW, 0, 0), False),
        (replace(WATCH, control=None), make_workload(), scoped(ALONE, 1000, 10), True),
        (replace(WATCH, control=None), make_workload(), scoped(UNCLEAN, 1000, 11), False),
        (replace(WATCH, control=None), make_workload(), scoped(ALONE, 99, 0), False),
    ],
    ids=[
        "ten minutes and a hundred requests",
        "too few requests",
        "not rolled out",
        "the template is younger",
        "a pod is younger",
        "no pod",
        "something speaks against it",
        "bad",
        "nothing was judged",
        "metrics are missing",
        "no traffic, where there was some before",
        "no traffic, as before",
        "no traffic, and nothing known of before",
        "nothing to compare with, clean by itself",
        "nothing to compare with, not clean",
        "nothing to compare with, too few requests",
    ],
)
def test_becoming_good(watch, workload, verdict, expected) -> None:
    if workload.pods and workload.pods[0].ready_since == T0 + 2:
        workload = replace(workload, pods=make_pods(4, ready_since=T0 - 5))
    assert is_proved_good(watch, workload, verdict, T0) is expected


def test_what_a_rollback_without_effect_says_of_a_release() -> None:
    scaled = make_rollback(
        mode=Mode.OBSERVE, to_revision=None, from_revision=make_ref("v2", health=BAD)
    )
    assert healths(entries([], make_workload(), [scaled], at())) == {"v2": BAD}


def test_scopes_are_read_from_the_pooled_one() -> None:
    pooled = replace(CLEAN.scopes[0], requests=10)
    verdict = replace(CLEAN, scopes=(pooled, make_scope("/x", requests=1e6)))
    workload = make_workload(pods=make_pods(4, ready_since=T0 - 5))
    assert not is_proved_good(WATCH, workload, verdict, T0)


@pytest.mark.parametrize(
    ("everything", "purchases", "expected"),
    [
        ((1000, 1000), None, False),
        ((1000, 550), None, False),
        ((1000, 510), None, True),
        ((1000, 100), None, True),
        ((1000, 250), (250, 250), False),
        ((1000, 100), (250, 25), True),
        ((1000, 3), (3, 3), True),
    ],
    ids=[
        "fails all",
        "fails more than half",
        "may fail less than half",
        "fails a tenth, as ever",
        "fails all purchases",
        "fails a tenth of the purchases, as ever",
        "three purchases prove nothing",
    ],
)
def test_what_fails_half_of_its_requests_is_not_good_whatever_the_control_failed(
    everything, purchases, expected
) -> None:
    counted = [(None, everything), *([("/buy", purchases)] if purchases else [])]
    scopes = tuple(
        replace(
            CLEAN.scopes[0],
            route=route,
            requests=requests,
            errors=errors,
            rate_lower_bound=wilson_lower(requests, errors),
        )
        for route, (requests, errors) in counted
    )
    watch = replace(WATCH, control=make_control(36_000, 36_000))
    workload = make_workload(pods=make_pods(4, ready_since=T0 - 5))
    assert is_proved_good(watch, workload, replace(CLEAN, scopes=scopes), T0) is expected


FAILS = replace(CLEAN, scopes=(make_scope("/buy"),))
HARDLY = replace(CLEAN, scopes=(replace(CLEAN.scopes[0], requests=19.0),))
HALF = replace(CLEAN, scopes=(replace(CLEAN.scopes[0], errors=50.0, rate_lower_bound=0.4),))


def test_an_assumed_release_that_fails_half_is_unknown_and_says_why() -> None:
    known = [make_entry(f"v{k}", one) for k, one in enumerate((GOOD, ASSUMED, BAD, UNKNOWN))]
    found = known
    for one in known:
        found = with_usefulness(found, one.release, FAILS)
    assert [one.health for one in found] == [GOOD, UNKNOWN, BAD, UNKNOWN]
    said = "not Good: at least half of its requests on /buy failed"
    assert [one.reason == said for one in found] == [False, True, False, True]


@pytest.mark.parametrize(
    ("verdict", "expected"),
    [(CLEAN, ASSUMED), (HALF, UNKNOWN), (HARDLY, UNKNOWN), (FAILS, UNKNOWN)],
    ids=["it serves again", "half fails still", "hardly a request", "it fails"],
)
def test_what_the_policy_came_upon_in_an_outage_is_no_target_until_it_serves(
    verdict, expected
) -> None:
    alone, beside = make_workload(older=()), make_workload()
    for workload in (alone, beside):
        first = with_usefulness(entries([], workload, [], at()), "release-v2", FAILS)
        assert healths(entries(first, workload, [], at(5))) == {"v2": UNKNOWN}
        left = entries(first, make_workload("v3", older=("v2",)), [], at(10))
        assert last_known_good(left, make_workload("v3", older=("v2",))) is None

        served = with_usefulness(entries(first, workload, [], at(5)), "release-v2", verdict)

        assert healths(entries(served, workload, [], at(10))) == {"v2": expected}


def test_a_release_under_watch_that_failed_is_not_adopted_when_it_serves_again() -> None:
    watched = with_usefulness([make_entry("v2", UNKNOWN), make_entry("v1")], "release-v2", FAILS)

    served = with_usefulness(watched, "release-v2", CLEAN)

    assert (served[0].health, served[0].reason) == (UNKNOWN, "")


@pytest.mark.parametrize(("verdict", "expected"), [(CLEAN, ASSUMED), (FAILS, UNKNOWN)])
def test_what_a_rollback_restored_and_fails_since_is_no_target(verdict, expected) -> None:
    v3 = make_workload("v3", older=("v2", "v1"))
    back = make_workload("v1", older=("v2",))
    known = entries([], back, [VERIFIED], at(100))
    assert health_of(known, "release-v1") is ASSUMED

    seen = with_usefulness(known, "release-v1", verdict)
    later = entries(seen, v3, [VERIFIED], at(200))

    assert health_of(later, "release-v1") is expected
    target = last_known_good(later, v3, frozenset({"release-v1"}))
    assert (target is not None) == (expected is ASSUMED)


def test_a_release_is_put_on_record_once_and_what_is_known_of_it_stays() -> None:
    known = [make_entry("v1")]
    entry = make_entry("v2", Health.UNKNOWN)

    found = ledger.with_entry(known, entry)

    assert found == [entry, *known]
    assert ledger.with_entry(found, entry.model_copy(update={"health": Health.GOOD})) == found
    assert ledger.with_entry(known, None) == known
    many = [make_entry(f"v{number}") for number in range(ledger.LIMIT)]
    assert ledger.with_entry(many, make_entry("v99")) == [make_entry("v99"), *many[:-1]]


@pytest.mark.parametrize(
    ("seconds", "expected"), [(60, {"v2": UNKNOWN, "v1": GOOD}), (3700, {"v2": UNKNOWN})]
)
def test_a_release_whose_replica_set_is_gone_stays_on_record_for_an_hour(
    seconds: float, expected: dict[str, Health]
) -> None:
    workload = make_workload("v2", older=())
    known = [make_entry("v2", UNKNOWN), make_entry("v1")]
    status = RollbackPolicyStatus(revisions=known, revision=known[0])
    policy = make_policy().model_copy(update={"status": status})
    since = known[0].since
    assert since is not None

    entries_left = ledger.entries(policy, workload, [], since + timedelta(seconds=seconds))

    assert healths(entries_left) == expected


def test_a_replica_set_that_was_made_again_is_not_replaced_by_its_successor() -> None:
    workload = make_workload("v2", older=("v1",))
    current, old = workload.replica_sets
    again = replace(workload, replica_sets=(current, replace(old, created=current.created + 60)))
    known = [make_entry("v2", UNKNOWN), make_entry("v1")]
    status = RollbackPolicyStatus(revisions=known, revision=known[0])
    policy = make_policy().model_copy(update={"status": status})

    entries_left = ledger.entries(policy, with_known_times(known, again), [], at())

    assert healths(entries_left) == {"v2": UNKNOWN, "v1": GOOD}
    assert healths(ledger.entries(policy, again, [], at()))["v1"] is UNKNOWN, "else it is not asked"
