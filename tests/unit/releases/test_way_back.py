"""What people are offered where a bad release has no rollback target."""

from dataclasses import replace

import pytest

from rollback_operator.api.reasons import Reason
from rollback_operator.api.rollback_plan import MOST_ATTEMPTS
from rollback_operator.api.v1alpha1 import (
    Health,
    MatrixSeverity,
    Outcome,
    Remedy,
    RemedyType,
    Revision,
    RollbackPolicyStatus,
    RollbackStatus,
    UndoTo,
)
from rollback_operator.decide import guards
from rollback_operator.decide.target import resolve_target
from rollback_operator.model.context import Refusal
from rollback_operator.model.workload import Workload
from rollback_operator.releases.usefulness import LAST_FAILED
from rollback_operator.releases.way_back import choice, now, of_case, recorded, warning
from rollback_operator.remedies.attempts import rollback_name
from rollback_operator.remedies.progress import RollbackEnd
from rollback_operator.remedies.rollback_status import ended
from tests.builders import (
    NAME,
    NAMESPACE,
    at,
    make_case,
    make_entry,
    make_policy,
    make_ref,
    make_rollback,
    make_template,
    make_workload,
)

KEY = (NAMESPACE, NAME)
WORKLOAD = make_workload("v4", older=("v3", "v2"))
BAD = make_entry("v3", Health.BAD)
WATCHED = make_entry("v3", Health.UNKNOWN)
FAILED = make_entry("v2", Health.UNKNOWN, reason="not Good: at least half of its requests failed")
TO = f"kubectl rollback undo {NAME} -n {NAMESPACE} --to"
TRUST = f"kubectl rollback trust {NAME} -n {NAMESPACE} --revision"
OFFERS = {
    "watched before it failed": ((WATCHED, FAILED), f"{TO} 3 --reason TEXT"),
    "a newer that failed": (
        (FAILED.model_copy(update={"release": "release-v3"}), make_entry("v2", Health.UNKNOWN)),
        f"{TO} 2 --reason TEXT",
    ),
    "failed before it is known to be bad": ((BAD, FAILED), f"{TO} 2 --reason TEXT"),
    "all are known to be bad": ((BAD, make_entry("v2", Health.BAD)), f"{TRUST} 3 --reason TEXT"),
}


@pytest.mark.parametrize(("ledger", "command"), OFFERS.values(), ids=OFFERS)
def test_a_refusal_names_the_newest_revision_that_can_be_chosen(ledger, command) -> None:
    remedy = Remedy(type=RemedyType.UNDO, to=UndoTo.LAST_KNOWN_GOOD)

    refusal = resolve_target(make_case(workload=WORKLOAD, ledger=ledger), remedy)

    assert isinstance(refusal, Refusal)
    assert refusal.reason is Reason.NO_TARGET_REVISION
    assert refusal.message.endswith(command)
    assert now(ledger, WORKLOAD, KEY).endswith(command)


USUAL = f"To roll back now: kubectl rollback undo {NAME} -n {NAMESPACE} --reason TEXT"
NONE = "There is no other revision to restore"


def test_the_usual_command_is_named_where_there_is_a_target() -> None:
    good = (make_entry("v2"),)
    case = make_case(workload=WORKLOAD, ledger=good)
    assert now(good, WORKLOAD, KEY) == of_case(case) == USUAL


@pytest.mark.parametrize(
    ("other", "better"),
    [(WATCHED, f"{TO} 3 --reason TEXT"), (BAD, f"{TRUST} 3 --reason TEXT")],
    ids=["another is named", "a bad one needs trust"],
)
def test_a_good_target_that_failed_since_is_warned_of(other, better) -> None:
    failed = make_entry("v2", reason=LAST_FAILED)
    text = warning((other, failed), WORKLOAD, KEY, make_ref("v2"))
    assert text.startswith(f"Warning: revision 2 is {LAST_FAILED}. ")
    assert text.endswith(better)
    assert warning((other, make_entry("v2")), WORKLOAD, KEY, make_ref("v2")) == ""


def test_a_target_that_fails_is_not_offered() -> None:
    case = make_case(workload=WORKLOAD, ledger=(make_entry("v3"),))
    case = replace(case, failing={make_template("v3").release: "9 of 10 failed"})
    assert of_case(case).endswith(f"{TO} 2 --reason TEXT")


@pytest.mark.parametrize(
    "workload",
    [
        make_workload("v4", older=()),
        replace(WORKLOAD, deployment=replace(WORKLOAD.deployment, history_limit=0)),
    ],
    ids=["alone", "without history"],
)
def test_nothing_is_offered_where_nothing_is_left(workload: Workload) -> None:
    assert choice((WATCHED,), workload, KEY) == ""
    assert now((make_entry("v2"),), workload, KEY) == NONE
    assert of_case(make_case(workload=workload, ledger=(make_entry("v2"),))) == NONE


FREEZE = {"freeze": [{"name": "always", "from": "00:00", "until": "00:00"}]}
BLOCKED = RollbackEnd(Outcome.BLOCKED, Reason.CHECKLIST_BLOCKED, "no")
LAST = make_rollback(
    rollback_name(make_case(workload=WORKLOAD)),
    ended(
        make_rollback(status=RollbackStatus()),
        RollbackEnd(Outcome.BLOCKED, Reason.CHECK_FAILED, "no"),
        at(10),
    ),
    from_revision=make_ref("v4"),
    attempt=MOST_ATTEMPTS,
)
REJECTED = RollbackEnd(Outcome.REJECTED, Reason.REJECTED_BY_PERSON, "rejected")
REFUSED = {
    "frozen": ({"safety": FREEZE}, (), Reason.FREEZE_ACTIVE),
    "tried too often": ({}, (LAST,), Reason.ALREADY_ROLLED_BACK),
    "rejected": (
        {},
        (
            make_rollback(
                "earlier-proposal",
                ended(make_rollback(status=RollbackStatus()), REJECTED, at(10)),
                from_revision=make_ref("v4"),
            ),
        ),
        Reason.REJECTED_BY_PERSON,
    ),
}


@pytest.mark.parametrize(("spec", "rollbacks", "reason"), REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize(
    ("ledger", "way"),
    [
        ((make_entry("v2"),), USUAL),
        ((WATCHED, FAILED), f"{TO} 3 --reason TEXT"),
        ((BAD, make_entry("v2", Health.BAD)), f"{TRUST} 3 --reason TEXT"),
    ],
    ids=["a target", "a choice", "trust first"],
)
def test_a_guard_offers_what_is_not_refused(spec, rollbacks, reason, ledger, way) -> None:
    case = make_case(make_policy(**spec), WORKLOAD, ledger, rollbacks)

    refusal = guards.refusal(case, MatrixSeverity.P1, at(100))

    assert refusal is not None
    assert refusal.reason is reason
    assert refusal.message.endswith(way)


def revision(version: str) -> Revision:
    return Revision(**make_entry(version).model_dump(exclude={"health", "reason"}))


@pytest.mark.parametrize(
    ("good", "command"),
    [(None, ""), ("v4", ""), ("v2", f"kubectl rollback undo {NAME} -n {NAMESPACE} --reason TEXT")],
    ids=["none", "it runs", "another"],
)
def test_a_status_alone_names_only_its_own_target(good: str | None, command: str) -> None:
    status = RollbackPolicyStatus(
        revision=revision("v4"), last_known_good=revision(good) if good else None
    )
    assert recorded(status, KEY) == command
