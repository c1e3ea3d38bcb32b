"""What was found bad or was left is no target until a person says so, whatever is on record."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from rollback_operator.api.reasons import ConditionType, EventReason, Reason
from rollback_operator.api.v1alpha1 import (
    Condemnation,
    Health,
    LastRollback,
    LedgerEntry,
    MatrixSeverity,
    Outcome,
    Remedy,
    RemedyType,
    Response,
    Rollback,
    RollbackPolicy,
    RollbackPolicyStatus,
    RollbackStatus,
    Severity,
    StepName,
    Trust,
    VerdictValue,
)
from rollback_operator.decide.decide import Decision
from rollback_operator.decide.evaluate import case_of
from rollback_operator.model.conditions import condition, find
from rollback_operator.model.context import Refusal
from rollback_operator.model.workload import Workload
from rollback_operator.releases import ledger, quarantine, records
from rollback_operator.remedies.progress import RollbackEnd
from rollback_operator.remedies.rollback_status import ended
from rollback_operator.report.events import policy_notices
from rollback_operator.report.status import StatusInputs, next_status, ready
from tests.builders import (
    T0,
    at,
    make_entry,
    make_policy,
    make_ref,
    make_replica_set,
    make_rollback,
    make_step,
    make_trigger_record,
    make_verdict,
    make_workload,
)

GOOD, ASSUMED, UNKNOWN, BAD = Health.GOOD, Health.ASSUMED, Health.UNKNOWN, Health.BAD
THIRD = make_workload("v3", older=("v2", "v1"))
"""v3 runs, and is bad: where to?"""
KNOWN = (make_entry("v2", GOOD), make_entry("v1", ASSUMED))
"""As a status whose later writes were lost has it."""
SCALE = Remedy(type=RemedyType.SCALE, replicas=8)


def left(
    decided: float = 10.0,
    outcome: Outcome | None = Outcome.VERIFIED,
    reason: Reason = Reason.RECOVERED,
    **spec: Any,
) -> Rollback:
    """The operator has gone back from v2."""
    status = RollbackStatus(steps=[make_step(StepName.UNDO, decided)])
    if outcome is not None:
        end = RollbackEnd(outcome, reason, "so it was")
        status = ended(make_rollback(status=status), end, at(decided + 50))
    trigger = make_trigger_record(decided_time=at(decided))
    return make_rollback(f"r-{decided:.0f}", status, **{"trigger": trigger, **spec})


def by_hand(rollback: Rollback, *steps: StepName) -> Rollback:
    """The same, and a person has asked for it."""
    plan = rollback.spec.plan
    changes: dict[str, Any] = {"plan": plan}
    if steps:
        changes["steps"] = [make_step(one, 10) for one in steps]
    status = rollback.status.model_copy(update=changes)
    return rollback.model_copy(update={"status": status})


def back_to(version: str, decided: float) -> Rollback:
    """A rollback from v9 has restored a version, verified 50 s later."""
    refs = {"from_revision": make_ref("v9"), "to_revision": make_ref(version)}
    return left(decided, **refs)


def trust(seconds: float, version: str = "v2") -> Trust:
    return Trust(
        release=f"release-{version}",
        revision=int(version[1:]),
        reason="it was the database",
        by="jane@example.com",
        time=at(seconds),
    )


def policy_of(
    known: tuple[LedgerEntry, ...] = KNOWN, *trusted: Trust, **status: Any
) -> RollbackPolicy:
    made = make_policy(trust=list(trusted))
    stored = RollbackPolicyStatus(revisions=list(known), **status)
    return made.model_copy(update={"status": stored})


def target(policy: RollbackPolicy, *rollbacks: Rollback, now: float = 1000.0) -> str:
    """Tell where a bad v3 would be undone to."""
    case = case_of(policy, THIRD, rollbacks, at(now))
    found = ledger.last_known_good(case.ledger, case.workload)
    return f"v{found.revision}" if found is not None else ""


P3 = Condemnation(time=at(20), message="P3: p99 is ten times", severity=MatrixSeverity.P3)
FOUND = make_entry("v2", BAD, condemned=P3)
TARGETS: dict[str, tuple[RollbackPolicy, tuple[Rollback, ...], str]] = {
    "nothing was ever said against v2": (policy_of(), (), "v2"),
    "the operator went back from it, and its status was not written": (
        policy_of(),
        (left(),),
        "v1",
    ),
    "... and the whole status was lost": (policy_of(()), (left(),), "v1"),
    "... and the record was deleted": (
        policy_of(
            (
                FOUND.model_copy(update={"condemned": P3.model_copy(update={"rollback": "r-10"})}),
                KNOWN[1],
            )
        ),
        (),
        "v1",
    ),
    "a person went back from it": (policy_of(), (by_hand(left()),), "v1"),
    "a person shipped v3 before that was verified": (
        policy_of(),
        (by_hand(left(outcome=Outcome.ABANDONED), StepName.UNDO, StepName.ROLLOUT_COMPLETE),),
        "v1",
    ),
    "the answer to a person's undo was lost, and v3 was shipped": (
        policy_of(),
        (by_hand(left(outcome=Outcome.ABANDONED), StepName.UNDO),),
        "v1",
    ),
    "a person's undo was reverted by another tool": (
        policy_of(),
        (by_hand(left(outcome=Outcome.FAILED, reason=Reason.UNDO_REVERTED), StepName.UNDO),),
        "v1",
    ),
    "a person's undo was refused by the API server": (
        policy_of(),
        (by_hand(left(outcome=Outcome.FAILED, reason=Reason.STEP_REFUSED), StepName.UNDO),),
        "v2",
    ),
    "a person's undo was not begun": (
        policy_of(),
        (by_hand(left(outcome=Outcome.REJECTED), StepName.AWAITING_APPROVAL),),
        "v2",
    ),
    "a person has only scaled it": (policy_of(), (by_hand(left(remedy=SCALE)),), "v2"),
    "a whole plan that nobody has decided": (
        policy_of(),
        (left(outcome=Outcome.FAILED, reason=Reason.NOT_OF_THIS_POLICY),),
        "v2",
    ),
    "found bad at P3, with nothing done about it": (policy_of((FOUND, KNOWN[1])), (), "v1"),
    "trusted after it was left": (policy_of(KNOWN, trust(100)), (left(),), "v2"),
    "trusted after it was found bad": (policy_of((FOUND, KNOWN[1]), trust(100)), (), "v2"),
    "trusted, with nothing else on record": (policy_of((), trust(100)), (left(),), "v2"),
    "left again since it was trusted": (policy_of(KNOWN, trust(100)), (left(200),), "v1"),
    "left in the second of the trust": (policy_of(KNOWN, trust(10)), (left(10),), "v1"),
    "trusted before it was left": (policy_of(KNOWN, trust(5)), (left(),), "v1"),
    "trusted for years to come": (policy_of(KNOWN, trust(1e9)), (left(),), "v1"),
    "trusted by a clock that is a little fast": (policy_of(KNOWN, trust(1030)), (left(),), "v2"),
    "another one is trusted": (policy_of(KNOWN, trust(100, "v1")), (left(),), "v1"),
    "gone back to since, and verified": (
        policy_of(
            KNOWN,
        ),
        (left(), back_to("v2", 300)),
        "v2",
    ),
    "gone back to before": (policy_of(KNOWN), (back_to("v2", -300), left()), "v1"),
}


@pytest.mark.parametrize(("policy", "rollbacks", "expected"), TARGETS.values(), ids=TARGETS)
def test_what_was_left_or_blamed_is_no_target_until_a_person_says_so(
    policy: RollbackPolicy, rollbacks: tuple[Rollback, ...], expected: str
) -> None:
    assert target(policy, *rollbacks) == expected


def test_a_trust_that_is_withdrawn_counts_no_more() -> None:
    trusted = make_entry("v2", GOOD, trusted_time=at(100), reason="trusted by jane")
    assert target(policy_of((trusted, KNOWN[1]), trust(100))) == "v2"
    assert target(policy_of((trusted, KNOWN[1]))) == "v1"


def test_a_trust_outlives_a_rollback_that_goes_back_to_what_is_trusted() -> None:
    there = (by_hand(left()), back_to("v2", 300)), at(1000)
    policy = policy_of((make_entry("v2", UNKNOWN), KNOWN[1]), trust(100))
    found = ledger.entries(policy, THIRD, *there)
    trusted = ledger.entry_of(found, "release-v2")
    assert trusted is not None
    assert (trusted.health, trusted.trusted_time) == (GOOD, at(100))
    kept = quarantine.entries(there[0], found, [], 3600, there[1])
    assert [one.release for one in kept] == ["release-v9"]
    again = ledger.entries(policy, THIRD, [*there[0], left(500)], at(1000))
    assert ledger.health_of(again, "release-v2") is BAD


def test_a_condemnation_goes_with_a_record_that_shows_that_nothing_was_done() -> None:
    said = P3.model_copy(update={"rollback": "r-10", "severity": None})
    entry = make_entry("v2", BAD, condemned=said)
    undone = by_hand(left(outcome=Outcome.REJECTED), StepName.AWAITING_APPROVAL)
    found = ledger.entries(policy_of((entry,)), THIRD, [undone], at(100))
    assert ledger.health_of(found, "release-v2") is UNKNOWN


# -- left without a Rollback -----------------------------------------------------------------------


def undone() -> Workload:
    """`kubectl rollout undo` has led from v2 back to v1, and v3 was shipped since."""
    v3, v2, v1 = THIRD.replica_sets
    times = {"v1": T0 - 3000, "v2": T0 - 2000, "v3": T0}
    sets = (
        replace(v3, revision=4, created=times["v3"]),
        replace(v2, revision=2, created=times["v2"]),
        replace(v1, revision=3, created=times["v1"]),
    )
    return replace(THIRD, replica_sets=sets)


def test_a_release_that_an_older_one_has_replaced_is_good_no_more() -> None:
    found = ledger.entries(policy_of(), undone(), [], at(100))
    assert ledger.health_of(found, "release-v2") is UNKNOWN
    assert ledger.last_known_good(found, undone()).template.release == "release-v1"


def test_it_may_be_trusted_and_a_newer_release_condemns_nothing() -> None:
    trusted = ledger.entries(policy_of(KNOWN, trust(50)), undone(), [], at(100))
    assert ledger.health_of(trusted, "release-v2") is GOOD
    forward = ledger.entries(policy_of(), THIRD, [], at(100))
    assert ledger.health_of(forward, "release-v2") is GOOD


@pytest.mark.parametrize(
    ("verdict", "expected"),
    [
        pytest.param(VerdictValue.SUSPECT, BAD, id="suspect"),
        pytest.param(VerdictValue.BAD, BAD, id="bad"),
        pytest.param(VerdictValue.WATCHING, UNKNOWN, id="young"),
    ],
)
def test_who_goes_back_from_what_is_suspect_leaves_it_bad(
    verdict: VerdictValue, expected: Health
) -> None:
    young = make_entry("v2", UNKNOWN)
    policy = policy_of((young, KNOWN[1]), revision=young, verdict=verdict)
    v2, v1 = make_replica_set("v2"), make_replica_set("v1", revision=3, created=T0 - 3600)
    back = replace(make_workload("v1", older=()), replica_sets=(v1, v2))

    found = ledger.entries(policy, back, [], at(100))

    assert ledger.health_of(found, "release-v2") is expected


@pytest.mark.parametrize(("bad", "expected"), [("v2", BAD), ("v3", UNKNOWN)])
def test_the_severity_of_a_rollback_does_not_condemn_what_it_restored(
    bad: str, expected: Health
) -> None:
    young, last = make_entry("v2", UNKNOWN), LastRollback(name="r-1", time=at(5))
    status = {"revision": young, "severity": Severity.P1, "last_rollback": last}
    going = make_rollback("r-1", from_revision=make_ref(bad))
    v2, v1 = make_replica_set("v2"), make_replica_set("v1", revision=3, created=T0 - 3600)
    back = replace(make_workload("v1", older=()), replica_sets=(v1, v2))

    found = ledger.entries(policy_of((young, KNOWN[1]), **status), back, [going], at(100))

    assert ledger.health_of(found, "release-v2") is expected


# -- records ---------------------------------------------------------------------------------------


def test_the_newest_record_against_each_release_that_is_there_is_kept() -> None:
    newer = [back_to("v8", 100.0 + one) for one in range(records.KEPT)]
    against = left(10)
    names = [
        one.metadata.name
        for one in records.superfluous(policy_of(), [against, *newer], [], at(100_000))
    ]
    assert names == []
    other = (make_entry("v7", GOOD),)
    gone = records.superfluous(policy_of(other), [against, *newer], [], at(100_000))
    assert [one.metadata.name for one in gone] == ["r-10"]
    lost = records.superfluous(policy_of(()), [against, *newer], [], at(100_000))
    assert lost == [], "nobody knows what is there"


# -- the status ------------------------------------------------------------------------------------


def test_what_is_condemned_is_not_outweighed_by_what_it_earns() -> None:
    (found,) = ledger.with_health([FOUND], "release-v2", GOOD, "ten minutes")
    assert found.health is BAD
    (worse,) = ledger.condemn(
        [FOUND], "release-v2", P3.model_copy(update={"severity": MatrixSeverity.P1, "time": at(90)})
    )
    assert (worse.condemned.severity, worse.condemned.time) == ("P1", at(90))
    (same,) = ledger.condemn([FOUND], "release-v2", P3.model_copy(update={"time": at(90)}))
    assert same == FOUND, "a look that finds the same writes nothing"


def test_a_severity_that_was_found_stays_while_the_release_runs() -> None:
    old = RollbackPolicyStatus(
        revision=make_entry("v2", UNKNOWN), revisions=[FOUND], verdict=VerdictValue.WATCHING
    )
    seen = StatusInputs(ready(Reason.WATCHING_TARGET), ledger=[FOUND])

    new = next_status(old, seen, 1, at(100))

    assert (new.verdict, new.severity) == (VerdictValue.BAD, Severity.P3)
    healthy = find(new.conditions, ConditionType.HEALTHY)
    assert (healthy.status, healthy.reason) == ("False", "FoundBad")
    assert "p99 is ten times" in healthy.message
    assert "kubectl rollback trust" in healthy.message
    assert policy_notices(old, new, None) == []


@pytest.mark.parametrize("severity", [MatrixSeverity.P1, None], ids=["by a verdict", "by hand"])
@pytest.mark.parametrize("is_evaluated", [True, False], ids=["evaluated", "not evaluated"])
def test_a_bad_release_that_runs_again_says_why_it_stays(
    is_evaluated: bool, severity: MatrixSeverity | None
) -> None:
    entry = make_entry("v2", BAD, condemned=P3.model_copy(update={"severity": severity}))
    old = RollbackPolicyStatus(revision=entry, revisions=[entry], verdict=VerdictValue.WATCHING)
    clean = make_verdict(value=VerdictValue.WATCHING, reason=Reason.NO_EVIDENCE_AGAINST, scopes=())
    seen = StatusInputs(
        ready(Reason.WATCHING_TARGET),
        workload=make_workload("v2"),
        ledger=[entry],
        decision=Decision(clean) if is_evaluated else None,
    )

    healthy = find(next_status(old, seen, 1, at(100)).conditions, ConditionType.HEALTHY)

    assert healthy is not None
    assert healthy.reason == "FoundBad"
    begin = "revision 2 (registry.example.com/ticket-service:v2) runs again or still, and was found"
    now = "To roll back now: kubectl rollback undo NAME -n NAMESPACE --reason TEXT; an earlier"
    assert healthy.message.startswith(
        f"{begin} bad before. {now} finding alone leads to no rollback"
    )
    assert f"Found at {P3.time:%Y-%m-%d %H:%M:%S} UTC: {P3.message}" in healthy.message


@pytest.mark.parametrize("is_on_record", [True, False], ids=["on record", "deleted"])
def test_a_bad_release_that_a_deleted_rollback_handled_says_so(is_on_record: bool) -> None:
    entry = make_entry("v2", UNKNOWN)
    old = RollbackPolicyStatus(revision=entry, revisions=[entry])
    refusal = Refusal(Reason.ALREADY_ROLLED_BACK, "shop-1 already handled this revision")
    record = make_rollback(from_revision=make_ref("v2"))
    seen = StatusInputs(
        ready(Reason.WATCHING_TARGET),
        workload=make_workload("v2"),
        ledger=[entry],
        decision=Decision(make_verdict(), Severity.P1, Response.ROLLBACK, refusal=refusal),
        of_target=[record] if is_on_record else [],
    )

    healthy = find(next_status(old, seen, 1, at(100)).conditions, ConditionType.HEALTHY)

    assert healthy is not None
    assert (healthy.reason == "AlreadyRolledBack") is not is_on_record
    assert ("Not rolled back: shop-1 already" in healthy.message) is not is_on_record


def test_a_trust_is_told_and_clears_the_status_while_nothing_is_watched() -> None:
    policy = policy_of((FOUND,), trust(100), revision=make_entry("v2", UNKNOWN))
    now = at(120)
    seen = StatusInputs(
        ready(Reason.WATCHING_TARGET),
        ledger=ledger.at_rest(policy, [], now),
        trust=policy.spec.trust,
    )

    new = next_status(policy.status, seen, 1, now)

    assert (new.verdict, new.severity) == (VerdictValue.HEALTHY, Severity.NONE)
    (told,) = policy_notices(policy.status, new, None)
    assert told.reason is EventReason.RELEASE_TRUSTED
    assert "trusted by jane@example.com: it was the database" in told.message
    trusted = find(new.conditions, ConditionType.TRUSTED)
    assert (trusted.status, trusted.reason) == ("True", "TrustedByPerson")
    assert policy_notices(new, new, None) == []


@pytest.mark.parametrize(
    ("said", "entry", "message"),
    [
        (trust(100, "v9"), FOUND, "revision 9 (release-v9) does not exist any more"),
        (trust(15), FOUND, "was found bad later: P3: p99 is ten times"),
        (trust(1e9), FOUND, "is trusted from 2058"),
    ],
    ids=["gone", "outdated", "not yet"],
)
def test_a_trust_that_leads_to_nothing_is_told(
    said: Trust, entry: LedgerEntry, message: str
) -> None:
    policy = policy_of((entry,), said)
    seen = StatusInputs(
        condition(ConditionType.READY, True, Reason.WATCHING_TARGET),
        ledger=ledger.at_rest(policy, [], at(120)),
        trust=policy.spec.trust,
    )
    new = next_status(policy.status, seen, 1, at(120))
    found = find(new.conditions, ConditionType.TRUSTED)
    assert (found.status, found.reason) == ("False", "TrustUnused")
    assert message in found.message
