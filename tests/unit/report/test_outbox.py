"""What is to be told, to whom, once; and what the condition makes of what became of it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollback_operator.api.notify import MOST_NOTIFICATIONS, Channel, Notification
from rollback_operator.api.reasons import EventReason
from rollback_operator.api.v1alpha1 import (
    Outcome,
    Rollback,
    RollbackPolicyStatus,
    RollbackStatus,
    Severity,
    StepName,
)
from rollback_operator.model.message import Notice
from rollback_operator.report import outbox
from rollback_operator.report.transitions import UPDATE_SECONDS, next_update, transitions
from tests.builders import at, make_entry, make_policy, make_rollback, make_step


def hook(name: str = "chat", **changes: Any) -> Channel:
    return Channel(name=name, type="Webhook", url="http://bridge.production/", **changes)


POLICY = make_policy(notify=[hook(), hook("pager", severities=["P1"])])
SENT = RollbackStatus(step=StepName.UNDO, steps=[make_step(StepName.UNDO, 11)])
ENDED = SENT.model_copy(update={"outcome": Outcome.VERIFIED, "finished_time": at(70)})


def told(
    before: Rollback, status: RollbackStatus, seconds: float = 11, policy: Any = POLICY
) -> list[tuple[str, str]]:
    found = outbox.announced(before, status, policy, at(seconds))
    return [(one.transition, one.channel) for one in found.notifications]


def test_a_start_is_announced_to_every_channel_of_its_severity() -> None:
    assert told(make_rollback(), SENT) == [("Started", "chat"), ("Started", "pager")]
    assert told(make_rollback(severity="P2"), SENT) == [("Started", "chat")]


def test_an_intent_on_which_nothing_was_done_tells_nothing_yet() -> None:
    assert told(make_rollback(), RollbackStatus()) == []


def test_what_is_announced_is_not_announced_again() -> None:
    before = make_rollback()
    once = outbox.announced(before, SENT, POLICY, at(11))
    again = outbox.announced(before.model_copy(update={"status": once}), once, POLICY, at(40))

    assert again == once


def test_a_severity_that_rises_reaches_who_was_not_told_yet() -> None:
    before = make_rollback(severity="P2")
    first = outbox.announced(before, SENT, POLICY, at(11))
    worse = first.model_copy(update={"severity": "P1"})
    now = outbox.announced(before.model_copy(update={"status": first}), worse, POLICY, at(20))

    assert [one.channel for one in now.notifications] == ["chat", "pager"]


@pytest.mark.parametrize("outcome", Outcome)
def test_every_end_is_announced_by_its_outcome(outcome: Outcome) -> None:
    status = RollbackStatus(outcome=outcome, finished_time=at(12))

    assert told(make_rollback(), status, 12)[0] == (outcome, "chat")


def test_what_has_ended_is_never_announced_to_whoever_is_named_later() -> None:
    ended = make_rollback(status=ENDED)

    assert told(ended, ENDED, 80) == []


def test_waiting_for_approval_is_not_a_start() -> None:
    status = RollbackStatus(steps=[make_step(StepName.AWAITING_APPROVAL, 11)])

    assert told(make_rollback(), status)[0] == ("ApprovalNeeded", "chat")
    assert ("Started", "chat") not in told(make_rollback(), status)


def test_a_long_one_is_told_again_and_only_the_newest_update() -> None:
    started = make_rollback(status=SENT)

    names = [[one.name for one in transitions(started, at(10 + s))] for s in (299, 300, 4000)]

    assert names == [["Started"], ["Started", "Update-1"], ["Started", "Update-4"]]
    assert next_update(started, at(10 + 300)) == at(10 + 900)
    assert next_update(started, at(10 + UPDATE_SECONDS[-1])) is None
    assert next_update(make_rollback(status=ENDED), at(80)) is None


def test_an_id_follows_from_object_transition_and_channel() -> None:
    found = outbox.announced(make_rollback(), SENT, POLICY, at(11))

    assert found.notifications[0].id == "uid-ticket-service-0123456789.Started.chat"


def test_the_message_is_kept_also_where_nobody_is_told() -> None:
    found = outbox.announced(make_rollback(), SENT, None, at(11))

    assert found.notifications == []
    assert "Status: ROLLBACK IN PROGRESS" in found.message


# -- releases that are not rolled back -------------------------------------------------------------

ASKED = Notice(EventReason.INVESTIGATION_NEEDED, "P3: slower", True)
STATUS = RollbackPolicyStatus(revision=make_entry("v2"), severity=Severity.P3)


def test_people_are_asked_once_for_a_release_and_a_reason() -> None:
    policy = make_policy(notify=[hook(), hook("pager", severities=["P1"])])
    other = Notice(EventReason.RELEASE_WATCHED, "revision 2")

    once = outbox.announced_of_policy(policy, STATUS, [ASKED, other], at(30))
    twice = outbox.announced_of_policy(policy, once, [ASKED], at(60))

    (found,) = once.notifications
    assert (found.channel, found.text, found.severity) == ("chat", "P3: slower", "P3")
    assert twice == once
    refused = Notice(EventReason.ROLLBACK_REFUSED, "GitOpsOwner", True)
    both = outbox.announced_of_policy(policy, once, [refused], at(60))
    assert len({one.id for one in both.notifications}) == 2


def test_a_suspicion_is_told_with_the_severity_that_it_would_have() -> None:
    policy = make_policy(notify=[hook(), hook("pager", severities=["P1"])])
    suspect = Notice(EventReason.RELEASE_SUSPECT, "P2 if ...", True, severity=Severity.P2)
    unjudged = RollbackPolicyStatus(revision=make_entry("v2"))

    found = outbox.announced_of_policy(policy, unjudged, [suspect], at(30)).notifications

    assert [(one.channel, one.severity) for one in found] == [("chat", "P2")]


def test_what_has_no_severity_yet_is_told_to_every_channel() -> None:
    policy = make_policy(notify=[hook(), hook("pager", severities=["P1"])])
    back = Notice(EventReason.RELEASE_CAME_BACK, "the release has come back", True)
    unjudged = RollbackPolicyStatus(revision=make_entry("v2"))

    found = outbox.announced_of_policy(policy, unjudged, [back], at(30)).notifications

    assert [(one.channel, one.severity) for one in found] == [("chat", "None"), ("pager", "None")]


# -- what became of it -----------------------------------------------------------------------------


def note(seconds: float = 0, channel: str = "chat", **changes: Any) -> Notification:
    name = f"t{seconds}"
    fields = {"id": f"{name}.{channel}", "transition": name, "channel": channel}
    return Notification(**fields, time=at(seconds), **changes)


def test_a_channel_gets_its_messages_in_their_order() -> None:
    waiting = [note(5), note(1), note(0, delivered_time=at(1)), note(9, "mail")]

    assert [one.id for one in outbox.heads(waiting)] == ["t1.chat", "t9.mail"]


def test_a_message_is_given_up_after_many_attempts() -> None:
    one, attempts = note(), 0
    while one.is_open:
        one, attempts = outbox.failed(one, "no answer", at(attempts)), attempts + 1

    assert (attempts, one.message) == (outbox.MOST_SEND_ATTEMPTS, "no answer")


def test_old_news_is_given_up_but_not_untried() -> None:
    late = at(outbox.NEWS_SECONDS + 1)
    one = outbox.failed(note(), "no", late)
    assert one.is_open
    one = outbox.failed(one, "no", late)
    assert one.is_open
    assert not outbox.failed(one, "no", late).is_open


def test_attempts_are_further_and_further_apart() -> None:
    waits = [outbox.backoff(count) for count in range(1, 12)]

    assert waits[:3] == [timedelta(seconds=5), timedelta(seconds=10), timedelta(seconds=20)]
    assert waits == sorted(waits)
    assert waits[-1] == timedelta(seconds=300)


@pytest.mark.parametrize(
    ("notifications", "found"),
    [
        ([], ("Unknown", "NothingToTell")),
        ([note()], ("Unknown", "Delivering")),
        ([note(attempts=1, message="x")], ("Unknown", "Delivering")),
        ([note(delivered_time=at(1))], ("True", "Delivered")),
        ([note(attempts=3, message="x"), note(9)], ("False", "DeliveryFailing")),
        ([note(gave_up_time=at(9), message="x")], ("False", "DeliveryGivenUp")),
        ([note(gave_up_time=at(9)), note(10, delivered_time=at(11))], ("True", "Delivered")),
        ([note(gave_up_time=at(9), channel="removed")], ("Unknown", "NothingToTell")),
        (
            [note(gave_up_time=at(9)), note(10, "pager", delivered_time=at(11))],
            ("False", "DeliveryGivenUp"),
        ),
    ],
)
def test_the_condition(notifications: Sequence[Notification], found: tuple[str, str]) -> None:
    status = ENDED.model_copy(update={"notifications": list(notifications)})

    said = outbox.notified(POLICY, [make_rollback(status=status)])

    assert (said.status, said.reason) == found
    if found[0] == "False":
        assert said.message.startswith("chat: t0: ")


def test_without_channels_the_condition_says_so() -> None:
    assert outbox.notified(make_policy(), []).reason == "NoChannels"


@given(st.lists(st.tuples(st.integers(0, 40), st.booleans()), max_size=200))
def test_the_record_is_bounded_and_keeps_what_is_open(entries: list[tuple[int, bool]]) -> None:
    known: list[Notification] = []
    for number, (seconds, is_closed) in enumerate(entries):
        closed = {"delivered_time": at(1)} if is_closed else {}
        new = note(seconds, **closed).model_copy(update={"id": f"n{number}"})
        known = outbox.added(known, [new])

    assert len(known) <= MOST_NOTIFICATIONS
    opened = [f"n{n}" for n, (_, closed) in enumerate(entries) if not closed]
    kept = [one.id for one in known if one.is_open]
    assert kept == opened[-len(kept) or len(opened) :]
    assert len(kept) == min(len(opened), MOST_NOTIFICATIONS)
