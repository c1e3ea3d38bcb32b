"""Events of what comes and goes are told once in a while."""

from __future__ import annotations

from dataclasses import replace

from rollback_operator.api.reasons import EventReason
from rollback_operator.model.message import Notice
from rollback_operator.reconcile.status_writer import REPEAT_AFTER, RecentEvents
from tests.builders import at, make_workload
from tests.unit.report.test_events import CLEAN, WATCHING, status_of


def test_what_comes_and_goes_is_told_once_in_a_while() -> None:
    told, started_ = RecentEvents(), Notice(EventReason.RELEASE_WATCHED, "revision 2")
    bad = Notice(EventReason.RELEASE_BAD, "P1: 81 of 90", True, cause="ErrorRateAboveControl")
    refused_ = Notice(EventReason.ROLLBACK_REFUSED, "81 of 90", True, cause="CooldownActive")
    first = [bad, refused_, started_]

    assert told.news("uid", WATCHING, first, at(0)) == first
    assert told.news("uid", WATCHING, first, at(30)) == [started_]
    other = replace(refused_, cause="BudgetExhausted")
    assert told.news("uid", WATCHING, [other], at(31)) == [other]
    assert told.news("another", WATCHING, [bad], at(32)) == [bad]
    next_release = status_of(CLEAN, WATCHING, workload=make_workload("v3", older=("v2",)))
    assert told.news("uid", next_release, [bad], at(33)) == [bad]
    later = REPEAT_AFTER.total_seconds() + 1
    assert told.news("uid", WATCHING, [bad], at(later)) == [bad]
    assert len(told.times) == 4


def test_what_is_kept_of_what_was_told_is_dropped() -> None:
    told = RecentEvents()
    bad = Notice(EventReason.RELEASE_BAD, "P1", True, cause="x")
    told.news("uid", WATCHING, [bad], at(0))
    told.news("uid", WATCHING, [], at(REPEAT_AFTER.total_seconds() + 1))
    assert told.times == {}
