"""What people are offered where a bad release has no rollback target."""

import pytest

from rollback_operator.api.reasons import Reason
from rollback_operator.api.v1alpha1 import Health, Remedy, RemedyType, UndoTo
from rollback_operator.decide.target import resolve_target
from rollback_operator.model.context import Refusal
from rollback_operator.releases.usefulness import LAST_FAILED
from rollback_operator.releases.way_back import choice, now, warning
from tests.builders import NAME, NAMESPACE, make_case, make_entry, make_ref, make_workload

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


def test_the_usual_command_is_named_where_there_is_a_target() -> None:
    good = (make_entry("v2"),)
    usual = f"To roll back now: kubectl rollback undo {NAME} -n {NAMESPACE} --reason TEXT"
    assert now(good, WORKLOAD, KEY) == now(good, None, KEY) == usual


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


def test_nothing_is_offered_where_nothing_is_left() -> None:
    alone = make_workload("v4", older=())
    assert choice((), alone, KEY) == ""
    assert now((), alone, KEY) == "There is no other revision to restore"
