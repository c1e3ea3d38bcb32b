"""A Rollback that the models refuse is reported; what is gone stays gone; awkward answers."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from rollback_operator.adapters.kube.projections.deployments import deployment_of
from rollback_operator.adapters.kube.store import _event_name
from rollback_operator.adapters.postgres.database import fault_of
from rollback_operator.adapters.postgres.relay import Relay
from rollback_operator.api.reasons import EventReason
from rollback_operator.api.user_text.json_text import parsed
from rollback_operator.api.v1alpha1 import Rollback
from rollback_operator.model.message import Notice
from rollback_operator.reconcile.cache import Cache, Key
from rollback_operator.runtime.intake import Intake
from tests.builders import make_rollback
from tests.world import KEY, World

UNREADABLE: dict[str, Any] = {
    "metadata": {"name": "odd", "namespace": KEY[0], "uid": "u-odd", "resourceVersion": "7"},
    "spec": {"policyRef": {"name": KEY[1]}, "fromRevision": {"number": "many"}},
}


def test_an_unreadable_rollback_is_logged_once_and_requeues_its_policy(
    caplog: pytest.LogCaptureFixture,
) -> None:
    wanted: list[Key] = []
    intake = Intake(Cache(), lambda key, _: wanted.append(key))

    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            intake.take(Rollback.PLURAL, UNREADABLE)

    assert wanted == [KEY]
    assert len(caplog.messages) == 1
    assert f"Rollback {KEY[0]}/odd cannot be read: spec." in caplog.messages[0]
    assert intake.cache.version(Rollback.PLURAL, (KEY[0], "odd")) is not None
    intake.drop(Rollback.PLURAL, (KEY[0], "odd"))
    assert intake.cache.unreadable == {}


async def test_an_unreadable_rollback_is_reported_once_with_field_and_remedy() -> None:
    world = World()
    operator = world.operator()
    operator.cache.put_rollback(UNREADABLE)

    for _ in range(2):
        await operator.reconcile(KEY)

    assert world.store.told().count(EventReason.ROLLBACK_UNREADABLE) == 1
    (notice,) = (
        each for each in world.store.notices if each.reason is EventReason.ROLLBACK_UNREADABLE
    )
    assert "spec.trigger: is missing" in notice.message
    assert "Correct these fields" in notice.message


def test_a_written_rollback_that_is_gone_or_replaced_is_not_remembered() -> None:
    cache, written = Cache(), make_rollback()

    cache.take_in(written)

    assert cache.rollbacks == {}
    metadata = written.metadata.model_copy(update={"uid": "another"})
    another = written.model_copy(update={"metadata": metadata})
    cache.remember(another)
    cache.take_in(written)
    assert list(cache.rollbacks.values()) == [another]


# -- hostile or awkward answers --------------------------------------------------------------------


def test_a_trigger_of_another_form_does_not_hide_the_deployment() -> None:
    annotations = {"image.openshift.io/triggers": '[{"from":"x"}]'}
    metadata = {"namespace": "n", "name": "d", "uid": "u", "annotations": annotations}

    (updater,) = deployment_of({"metadata": metadata, "spec": {}}).updaters

    assert updater.evidence.endswith(": x")


def test_the_answer_of_a_database_counts_although_another_address_is_out_of_reach() -> None:
    relay = Relay(1, 1.0, error=ConnectionRefusedError())
    assert fault_of(relay) == "the connection was refused"
    relay.is_connected = True
    assert fault_of(relay) == ""
    unreachable = Relay(1, 1.0, error=OSError(113, "Connect call failed ('10.0.0.1', 5432)"))
    assert fault_of(unreachable) == "no route to host"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('"\\ud800"', "\ufffd"),
        ('"a\\uDC00b"', "a\ufffdb"),
        ('"\\ud83d\\ude00"', "\U0001f600"),
        ('"\\\\ud800"', "\\ud800"),
        (b'"\\ud800\\ud83d\\ude00"', "\ufffd\U0001f600"),
    ],
)
def test_half_of_a_surrogate_pair_reaches_no_model(text: str | bytes, value: str) -> None:
    assert parsed(text) == value


def test_an_event_of_a_long_name_has_a_valid_name() -> None:
    involved = {"kind": "Rollback", "name": "a" * 199 + "-" + "b" * 20}
    notice = Notice(EventReason.ROLLBACK_FINISHED, "done", occurrence="once")
    assert "-." not in _event_name(involved, notice)["name"]
