"""The message as people get it: golden files, and what comes from outside does no harm in it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollback_operator.api.checklist import CheckItem
from rollback_operator.api.notify import LONGEST_MESSAGE, CommunicationSpec, Notification
from rollback_operator.api.reasons import ConditionType, EventReason, Reason
from rollback_operator.api.remedy import (
    AutoscalerPlan,
    AutoscalerRecord,
    GitOps,
    OwnerKind,
    OwnerPlan,
    OwnerRecord,
)
from rollback_operator.api.v1alpha1 import (
    LedgerEntry,
    Outcome,
    Remedy,
    RemedyType,
    Rollback,
    RollbackPolicyStatus,
    RollbackStatus,
    StepName,
)
from rollback_operator.api.verification import VerificationCheck
from rollback_operator.decide import requests
from rollback_operator.model.conditions import condition
from rollback_operator.model.context import Refusal
from rollback_operator.model.message import IncidentStage, Message, Notice
from rollback_operator.report import formats, incident
from rollback_operator.report.transitions import transition_named
from rollback_operator.report.wording import words_asked
from tests.builders import (
    NAME,
    at,
    make_entry,
    make_policy,
    make_request,
    make_rollback,
    make_step,
    make_trigger_record,
)

GOLDEN = Path(__file__).parent / "golden"
POLICY = make_policy(
    communication=CommunicationSpec(
        service="Ticket Service",
        impact="Customers cannot buy tickets",
        contact="on-call@example.com",
    )
)
TRIGGER = make_trigger_record(
    first_bad_time=at(4),
    message="the new pods served 100 requests on all routes and failed 100 (100.0 %)",
    blame_odds="9300 : 1",
)
STEPS = [
    make_step(StepName.UNDO, 10, 11),
    make_step(StepName.ROLLOUT_COMPLETE, 11, 19),
    make_step(StepName.VERIFY, 19, 60),
]


def ended(outcome: Outcome, reason: Reason, said: str) -> RollbackStatus:
    done = condition(ConditionType.COMPLETE, True, reason, said)
    return RollbackStatus(
        steps=STEPS, outcome=outcome, finished_time=at(60), conditions=[done], severity="P1"
    )


VERIFIED = ended(Outcome.VERIFIED, Reason.RECOVERED, "0 of 250 requests have failed").model_copy(
    update={
        "verification": [
            VerificationCheck(name="ErrorRate", result="Passed", message="0 of 250 failed"),
            VerificationCheck(name="reserve", result="Unknown", message="nobody answered"),
        ]
    }
)
CHECKLIST = [
    CheckItem(name="BadRevision", result="Passed", message="revision 2 runs"),
    CheckItem(name="Images", result="Warned", message="no node holds the image of revision 1"),
    CheckItem(name="DatabaseSchema", result="Skipped"),
]
WAITING = RollbackStatus(
    steps=[make_step(StepName.AWAITING_APPROVAL, 12)],
    checklist=CHECKLIST,
    approval_deadline_time=at(3612),
)
BLOCKED = RollbackStatus(
    checklist=[
        CheckItem(name="DatabaseSchema", result="Failed", message="add_seat_map is applied since")
    ],
    outcome=Outcome.BLOCKED,
    finished_time=at(12),
    conditions=[condition(ConditionType.COMPLETE, True, Reason.RECOVERED, "DatabaseSchema failed")],
)
HELPLESS = ended(Outcome.NOT_RECOVERED, Reason.STILL_FAILING, "240 of 250 requests have failed")


OWNER = OwnerPlan(tool="Argo CD", kind=OwnerKind.APPLICATION, name="shop", response=GitOps.SUSPEND)
SUSPENDED = VERIFIED.model_copy(
    update={
        "owner": OwnerRecord(
            namespace="argocd", automated='{"selfHeal": true}', suspended_time=at(10)
        ),
        "steps": [make_step(StepName.SUSPEND_OWNER, 10, 10), *STEPS],
    }
)
RAISED = VERIFIED.model_copy(
    update={
        "autoscaler": AutoscalerRecord(
            min_replicas=2, max_replicas=4, raised_min_replicas=6, raised_max_replicas=6
        ),
        "steps": [make_step(StepName.SCALE, 10, 25), *STEPS[1:]],
    }
)
REVERTED = ended(Outcome.FAILED, Reason.UNDO_REVERTED, "the undo was reverted by argocd-controller")


def of(status: RollbackStatus, name: str, seconds: float, **changes: object) -> Message:
    rollback = make_rollback(status=status, trigger=TRIGGER, **changes)
    return incident.of_rollback(rollback, POLICY, transition_named(name, at(seconds)))


def asked(
    transition: EventReason = EventReason.INVESTIGATION_NEEDED, good: LedgerEntry | None = None
) -> Message:
    status = RollbackPolicyStatus(revision=make_entry("v2"), last_known_good=good)
    policy = POLICY.model_copy(update={"status": status})
    told = Notification(
        id="policy-ticket-service.release-v2.InvestigationNeeded.chat",
        transition=transition,
        channel="chat",
        time=at(30),
        severity="P3",
        text="P3: p99 is 3.1 times the old revision's",
    )
    return incident.of_policy(policy, told)


@pytest.mark.parametrize("reason", [EventReason.RELEASE_CAME_BACK, EventReason.RELEASE_SUSPECT])
@pytest.mark.parametrize("version", ["v1", "v2", None])
def test_a_command_is_quoted_only_where_the_status_has_a_target(
    reason: EventReason, version: str | None
) -> None:
    message = asked(reason, make_entry(version) if version else None)
    steps = " ".join(message.next_steps)
    assert ("kubectl rollback undo" in steps) == (version == "v1")
    assert ("choose a revision" in steps) == (version != "v1")


def refused() -> Message:
    not_there = {"type": "Undo", "to": "Revision", "revision": 9}
    request = make_request(not_there, seconds=25, requestedBy="ann")
    why = Refusal(Reason.NO_TARGET_REVISION, "there is no revision 9")
    status = requests.refused(request.status, why, at(26))
    told = Notification(
        id="uid-by-hand.Refused.chat",
        transition=Outcome.REFUSED,
        channel="chat",
        time=at(26),
        severity="P3",
    )
    running = RollbackPolicyStatus(revision=make_entry("v2"))
    return incident.of_request(
        request.model_copy(update={"status": status}),
        POLICY.model_copy(update={"status": running}),
        told,
    )


ASKED = [
    *(reason for reason in EventReason if Notice(reason, "").is_for_people),
    EventReason.RELEASE_SUSPECT,
]


@pytest.mark.parametrize("reason", ASKED)
def test_what_people_are_told_has_words_of_its_own(reason: EventReason) -> None:
    assert words_asked(reason).subject != words_asked("unheard of").subject


MESSAGES: Mapping[str, Message] = {
    "started": of(VERIFIED, "Started", 10),
    "verified": of(VERIFIED, "Verified", 60),
    "not-recovered": of(HELPLESS, "NotRecovered", 60),
    "approval-needed": of(WAITING, "ApprovalNeeded", 12),
    "owner-suspended": of(SUSPENDED, "Verified", 60, owner=OWNER),
    "bounds-raised": of(
        RAISED,
        "Verified",
        60,
        remedy=Remedy(type=RemedyType.SCALE, replicas=6),
        to_revision=None,
        autoscaler=AutoscalerPlan(name="shop-hpa", uid="u", restore_after_seconds=3600),
    ),
    "reverted": of(REVERTED, "Failed", 60),
    "blocked": of(BLOCKED, "Blocked", 12),
    "update": of(RollbackStatus(steps=STEPS[:1]), "Update-1", 310),
    "investigation": asked(),
    "refused": refused(),
}


def as_json(found: object) -> str:
    return json.dumps(found, indent=1, ensure_ascii=False) + "\n"


def as_mail(message: Message) -> str:
    found = formats.mail(message)
    headers = [f"{name}: {value}" for name, value in found.headers.items()]
    return "\n".join([f"Subject: {found.subject}", *headers, "", found.text])


RENDERED: Mapping[str, Callable[[Message], str]] = {
    "txt": lambda message: formats.plain(message) + "\n",
    "slack.json": lambda message: as_json(formats.slack(message)),
    "json": lambda message: as_json(formats.document(message)),
    "eml": as_mail,
}


@pytest.mark.parametrize("form", RENDERED)
@pytest.mark.parametrize("name", MESSAGES)
def test_the_message_is_the_golden_one(name: str, form: str) -> None:
    """Written anew by deleting the file and running the test twice."""
    golden, found = GOLDEN / f"{name}.{form}", RENDERED[form](MESSAGES[name])
    if not golden.exists():
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(found)
        pytest.fail(f"{golden} was missing and is written: read it")

    assert found == golden.read_text()


def test_a_message_is_as_of_its_transition_whenever_it_is_made() -> None:
    """A start that is delivered only after the end must not tell the end under the start's id."""
    during = RollbackStatus(steps=[make_step(StepName.UNDO, 10)], severity="P1")

    assert of(during, "Started", 10) == MESSAGES["started"]


@pytest.mark.parametrize("outcome", Outcome)
def test_every_outcome_has_words_and_only_success_resolves(outcome: Outcome) -> None:
    found = of(ended(outcome, Reason.IN_PROGRESS, "why"), outcome, 60)

    assert found.next_steps
    assert (found.stage is IncidentStage.RESOLVED) == (outcome is Outcome.VERIFIED)
    assert found.status != "ROLLBACK ENDED - why"


SCALE = Remedy(type=RemedyType.SCALE, replicas=0)


@pytest.mark.parametrize(
    ("outcome", "reason", "expected"),
    [
        (Outcome.UNKNOWN, Reason.TRAFFIC_STOPPED, "TRAFFIC STOPPED: nothing was rolled back"),
        (Outcome.FAILED, Reason.UNDO_REVERTED, "another writer changed it back"),
        (Outcome.FAILED, Reason.TRAFFIC_NOT_STOPPED, "TRAFFIC NOT STOPPED: nothing was rolled"),
        (Outcome.FAILED, Reason.TRAFFIC_CHANGED, "another writer changed the stopped traffic"),
    ],
)
def test_a_scale_is_no_rollback(outcome: Outcome, reason: Reason, expected: str) -> None:
    message = of(ended(outcome, reason, "why"), outcome, 60, remedy=SCALE, to_revision=None)
    assert expected in message.status
    text = f"{message.subject} {message.status} {message.next_steps}"
    assert "ROLLBACK FAILED" not in text
    assert "was rolled back, " not in text.replace("nothing was rolled back, ", "")
    assert "COMPLETED" not in text
    assert "runs again" not in text


@pytest.mark.parametrize(
    ("remedy", "said"),
    [
        (Remedy(type=RemedyType.SCALE, replicas=6), "the same release with 6 replicas"),
        (Remedy(type=RemedyType.PIN_IMAGE, container="a", image="b:1"), "container a with b:1"),
    ],
)
def test_other_remedies_are_told_by_what_they_do(remedy: Remedy, said: str) -> None:
    assert of(VERIFIED, "Verified", 60, remedy=remedy, to_revision=None).after == said


def test_without_words_of_the_policy_it_speaks_for_itself() -> None:
    rollback = make_rollback(status=VERIFIED)
    found = incident.of_rollback(rollback, None, transition_named("Verified", at(60)))

    assert found.service == NAME
    assert found.impact == "100 % of the requests to the release failed"
    assert "Contact: not named" in formats.plain(found)


def test_an_outage_without_counts_tells_none() -> None:
    trigger = make_trigger_record(requests=0, errors=0, odds="", message="no pod is available")
    rollback = make_rollback(status=VERIFIED, trigger=trigger)
    found = incident.of_rollback(rollback, None, transition_named("Verified", at(60)))

    assert found.counts == ""
    assert "Evidence" not in formats.plain(found)


# -- what comes from outside -----------------------------------------------------------------------


def hostile(text: str) -> Rollback:
    return make_rollback(status=VERIFIED, trigger=make_trigger_record(message=text[:2048]))


def made(text: str) -> Message:
    service = "".join(one for one in text if one.isprintable())[:128]
    policy = make_policy(communication=CommunicationSpec(service=service, impact=text[:1024]))
    return incident.of_rollback(hostile(text), policy, transition_named("Verified", at(60)))


def test_markup_calls_nobody() -> None:
    found = json.dumps(formats.slack(made("<!channel> <https://evil.example|click> & co")))

    assert "<!channel>" not in found
    assert "<https" not in found
    assert "&lt;!channel&gt;" in found


def test_a_line_end_makes_no_header_and_no_line() -> None:
    found = formats.mail(made("a\r\nBcc: victim@example.com\nStatus: fine\u2028x\u202eevil"))

    assert "\n" not in found.subject
    assert "\nBcc" not in found.text
    assert "\nStatus: fine" not in found.text
    assert "\u202e" not in found.text


@given(st.text(max_size=3000))
def test_no_text_breaks_a_form_or_its_bounds(text: str) -> None:
    message = made(text)

    assert len(formats.plain(message)) <= LONGEST_MESSAGE
    assert "\n" not in formats.mail(message).subject
    json.dumps(formats.document(message))
    (attached,) = formats.slack(message)["attachments"]  # type: ignore[misc]
    for block in attached["blocks"]:
        if block["type"] == "section":
            assert 0 < len(block["text"]["text"]) <= 3000
        if block["type"] == "header":
            assert 0 < len(block["text"]["text"]) <= 150
