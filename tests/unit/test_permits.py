"""Rights that only some policies take, and whether decisions count: asked beforehand, seldom."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rollback_operator.api.notify import Channel, ChannelType
from rollback_operator.api.reasons import ConditionType, Reason
from rollback_operator.api.shape import SecretKeyRef
from rollback_operator.api.v1alpha1 import Mode, Remedy, RemedyType, RollbackPolicy, SafetySpec
from rollback_operator.api.verification import LogCheck, VerificationSpec
from rollback_operator.model.conditions import condition
from rollback_operator.model.rights import AUTOSCALER_BOUNDS, LOGS, PATCH_DEPLOYMENTS, Right
from rollback_operator.reconcile.preflight import (
    DENIED_SECONDS,
    GIVEN_SECONDS,
    ApprovalProtection,
    ChannelCheck,
    PolicyRights,
)
from rollback_operator.report.readiness import Around, readiness
from tests.builders import make_deployment, make_policy
from tests.fakes.channels import FakeChannels
from tests.fakes.cluster import FakeRights
from tests.fakes.failures import OUTAGE
from tests.fakes.surroundings import FakeSurroundings

COUNTING: dict[str, Any] = {"verification": VerificationSpec(logs=LogCheck(pattern="ERROR"))}
SCALING: dict[str, Any] = {"remedies": [Remedy(type=RemedyType.SCALE, replicas=6)]}


class Office:
    """The rights of policies at a time that a test sets."""

    def __init__(self, *missing: Right) -> None:
        self.time = datetime(2030, 1, 1, tzinfo=UTC)
        self.rights = FakeRights(missing=set(missing))
        self.permits = PolicyRights(self.rights, lambda: self.time)

    async def missing(self, policy: RollbackPolicy) -> tuple[str, ...]:
        return await self.permits.missing(policy)

    def later(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


async def test_a_policy_that_takes_none_is_not_asked_for() -> None:
    office = Office(LOGS, AUTOSCALER_BOUNDS)
    assert await office.missing(make_policy()) == ()
    assert await office.missing(make_policy(mode=Mode.OBSERVE, **SCALING)) == ()
    assert office.rights.asked == []
    assert office.permits.next_look(make_policy()) is None


@pytest.mark.parametrize(
    ("fields", "right", "field", "value"),
    [
        pytest.param(COUNTING, LOGS, "spec.verification.logs", "rbac.podLogs", id="logs"),
        pytest.param(SCALING, AUTOSCALER_BOUNDS, "spec.remedies", "rbac.autoscalers", id="bounds"),
    ],
)
async def test_a_missing_right_is_told_with_the_charts_value(
    fields: dict[str, Any], right: Right, field: str, value: str
) -> None:
    policy = make_policy(**fields)
    assert await Office().missing(policy) == ()

    (said,) = await Office(right).missing(policy)
    assert said.startswith(f"{field}: the operator has no permission to ")
    assert f"set {value} in the chart" in said
    ready = readiness(policy, make_deployment(), Around(missing_rights=(said,)))
    assert (ready.status, ready.reason, ready.message) == ("True", Reason.RIGHT_MISSING, said)


async def test_the_right_to_act_is_checked_once_an_act_was_refused() -> None:
    office, policy = Office(PATCH_DEPLOYMENTS), make_policy()
    refused = condition(ConditionType.RECOVERED, False, Reason.STEP_REFUSED, "403")
    status = policy.status.model_copy(update={"conditions": [refused]})

    (said,) = await office.missing(policy.model_copy(update={"status": status}))

    assert "no permission to patch deployments" in said
    assert await office.missing(policy) == ()


async def test_it_is_asked_for_seldom_and_sooner_while_it_is_missing() -> None:
    office, policy = Office(LOGS), make_policy(**COUNTING)
    assert await office.missing(policy)
    office.rights.missing.clear()
    office.later(DENIED_SECONDS - 1)
    assert await office.missing(policy)
    assert office.permits.next_look(policy) == 1
    office.later(1)
    assert await office.missing(policy) == ()
    office.later(GIVEN_SECONDS - 1)
    assert await office.missing(policy) == ()
    assert len(office.rights.asked) == 2


async def test_nothing_is_said_of_what_cannot_be_seen() -> None:
    office, policy = Office(LOGS), make_policy(**COUNTING)
    office.rights.fail_next("may", OUTAGE)
    assert await office.missing(policy) == ()
    office.later(DENIED_SECONDS)
    assert await office.missing(policy)
    office.rights.missing.clear()
    office.rights.fail_next("may", OUTAGE)
    office.later(DENIED_SECONDS)
    assert await office.missing(policy), "what was known stands"


ASKING: dict[str, Any] = {"safety": SafetySpec(require_verified=True)}
WHY = "the admission policy is not installed"


async def test_that_no_decision_would_count_is_told_beforehand_where_people_may_be_asked() -> None:
    around, office = FakeSurroundings(unprotected=WHY), Office()
    decisions = ApprovalProtection(around, lambda: office.time)
    assert await decisions.unprotected(make_policy()) == ""
    assert around.calls == []

    said = await decisions.unprotected(make_policy(**ASKING))

    assert said == WHY
    ready = readiness(make_policy(**ASKING), make_deployment(), Around(unprotected=said))
    assert (ready.status, ready.reason) == ("True", Reason.APPROVAL_UNPROTECTED)
    assert WHY in ready.message
    assert "admission.create" in ready.message


async def test_whether_decisions_count_is_asked_seldom_and_for_all_policies_at_once() -> None:
    around, office = FakeSurroundings(unprotected=WHY), Office()
    decisions = ApprovalProtection(around, lambda: office.time)
    for name in ("a", "b"):
        assert await decisions.unprotected(make_policy(name, **ASKING)) == WHY
    assert len(around.calls) == 1
    assert decisions.next_look(make_policy(**ASKING)) == DENIED_SECONDS
    assert decisions.next_look(make_policy()) is None

    around.unprotected = ""
    office.later(DENIED_SECONDS)
    assert await decisions.unprotected(make_policy(**ASKING)) == ""
    assert decisions.next_look(make_policy(**ASKING)) is None
    around.unprotected = WHY
    office.later(GIVEN_SECONDS - 1)
    assert await decisions.unprotected(make_policy(**ASKING)) == ""
    around.fail_next("approvals_unprotected", OUTAGE)
    office.later(1)
    assert await decisions.unprotected(make_policy(**ASKING)) == "", "what was known stands"


SLACK = Channel(
    name="oncall", type=ChannelType.SLACK, secret_ref=SecretKeyRef(name="slak", key="url")
)
OPEN = Channel(name="hook", type=ChannelType.WEBHOOK, url="https://hooks.shop.svc/a")
NO_SECRET = "there is no Secret slak in namespace production: create it, or correct its name"


async def test_a_channel_whose_secret_is_missing_is_named_before_a_message_needs_it() -> None:
    channels, office = FakeChannels(unusable={"oncall": NO_SECRET}), Office()
    check = ChannelCheck(channels, lambda: office.time)
    policy = make_policy(notify=[SLACK, OPEN])

    unusable = await check.obstacles(policy)

    assert unusable == (f"oncall: {NO_SECRET}",)
    ready = readiness(policy, make_deployment(), Around(unusable_channels=unusable))
    assert (ready.status, ready.reason) == ("True", "ChannelUnusable")
    assert NO_SECRET in ready.message
    assert check.next_look(policy) == pytest.approx(60.0)
    assert channels.checked == ["oncall"]  # a channel without a Secret has nothing to check


async def test_a_channels_secret_is_checked_seldom_and_sooner_while_it_is_missing() -> None:
    channels, office = FakeChannels(unusable={"oncall": NO_SECRET}), Office()
    check, policy = ChannelCheck(channels, lambda: office.time), make_policy(notify=[SLACK])
    await check.obstacles(policy)
    await check.obstacles(policy)
    assert channels.checked == ["oncall"]

    office.later(61)
    channels.unusable = {}
    assert await check.obstacles(policy) == ()
    assert check.next_look(policy) is None

    office.later(61)
    await check.obstacles(policy)
    assert channels.checked == ["oncall"] * 2
    changed = make_policy(notify=[SLACK.model_copy(update={"secret_ref": SECOND})])
    await check.obstacles(changed)
    assert channels.checked == ["oncall"] * 3


SECOND = SecretKeyRef(name="slack", key="url")
