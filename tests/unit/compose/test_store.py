"""Objects of the record: guarded as on the API server, and unchanged by a failed write."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rollback_operator.adapters.compose.ledger import LEDGER, Ledger, LedgerState, PolicyRecord
from rollback_operator.adapters.compose.store import DiskStore
from rollback_operator.api.v1alpha1 import (
    FINALIZER,
    Rollback,
    RollbackPolicyStatus,
    RollbackRequest,
    VerdictValue,
)
from rollback_operator.ports.failure import Failure, FailureKind
from tests.builders import at, make_policy, make_rollback

NAME = "shop-1"
REQUEST: dict[str, Any] = {
    "policyRef": {"name": "shop"},
    "remedy": {"type": "Undo", "to": "LastKnownGood"},
    "reason": "because",
    "requestedBy": "root",
    "seen": {"deployment": "shop", "revision": 2, "digest": "d"},
}


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    made = Ledger.open(tmp_path)
    yield made
    made.close()


@pytest.fixture
def store(ledger: Ledger) -> DiskStore:
    return DiskStore(ledger, lambda: at(0))


def kind_of(result: object) -> FailureKind | None:
    return result.kind if isinstance(result, Failure) else None


async def test_an_intent_is_stored_once(store: DiskStore) -> None:
    spec = make_rollback().spec
    made = await store.create_rollback("shop", NAME, spec)
    assert isinstance(made, Rollback)
    assert made.metadata.finalizers == [FINALIZER]
    assert kind_of(await store.create_rollback("shop", NAME, spec)) is FailureKind.EXISTS
    assert store.stored() == [made]


async def test_an_outdated_write_conflicts(store: DiskStore) -> None:
    made = await store.create_rollback("shop", NAME, make_rollback().spec)
    assert isinstance(made, Rollback)
    written = await store.write_rollback(made, made.status)
    assert isinstance(written, Rollback)
    assert kind_of(await store.write_rollback(made, made.status)) is FailureKind.CONFLICT
    released = await store.release(written, FINALIZER)
    assert isinstance(released, Rollback)
    assert released.metadata.finalizers == []
    assert await store.delete_rollback(released) is None
    assert kind_of(await store.write_rollback(released, made.status)) is FailureKind.GONE


async def test_what_is_stored_is_there_for_the_next_agent(
    ledger: Ledger, store: DiskStore, tmp_path: Path
) -> None:
    made = await store.create_rollback("shop", NAME, make_rollback().spec)
    ledger.close()
    again = Ledger.open(tmp_path)
    assert DiskStore(again, lambda: at(9)).stored() == [made]
    # The fixture closes the first lock once more: give it this.
    ledger._lock = again._lock


async def test_a_request_becomes_a_plan(store: DiskStore) -> None:
    assert isinstance(store.create("shop", NAME, REQUEST), dict)
    (request,) = store.stored()
    assert isinstance(request, RollbackRequest)
    plan = request.status.model_copy(update={"plan": make_rollback().spec.plan})
    planned = await store.answer_request(request, plan)
    assert isinstance(planned, Rollback)
    assert planned.is_by_hand


@pytest.mark.parametrize("change", [{"remedy": {"type": "Wish"}}, {"seen": 7}, {"policyRef": {}}])
def test_a_malformed_request_is_not_stored(store: DiskStore, change: dict[str, Any]) -> None:
    assert kind_of(store.create("shop", NAME, REQUEST | change)) is FailureKind.REJECTED
    assert store.stored() == []


async def test_a_decision_is_on_the_stored_plan_and_made_once(store: DiskStore) -> None:
    made = await store.create_rollback("shop", NAME, make_rollback().spec)
    assert isinstance(made, Rollback)
    approval = {"decision": "Approve", "by": "root", "reason": "", "planDigest": "p1"}
    assert kind_of(store.decide(made, approval)) is FailureKind.REJECTED, "no plan is asked about"
    asked = await store.write_rollback(made, made.status.model_copy(update={"plan_digest": "p1"}))
    assert isinstance(asked, Rollback)
    assert kind_of(store.decide(asked, approval | {"planDigest": "p0"})) is FailureKind.REJECTED
    decided = store.decide(asked, approval)
    assert isinstance(decided, Rollback)
    assert decided.decision_time == at(0)
    rejected = approval | {"decision": "Reject"}
    assert kind_of(store.decide(decided, rejected)) is FailureKind.REJECTED


async def test_a_policys_status_is_guarded(ledger: Ledger, store: DiskStore) -> None:
    record = PolicyRecord(uid="u", created="2026-01-01T00:00:00+00:00")
    policy = make_policy()
    name = policy.metadata.name
    assert ledger.store(LedgerState(policies={name: record})) is None
    metadata = policy.metadata.model_copy(update={"resource_version": "0"})
    policy = policy.model_copy(update={"metadata": metadata})
    status = RollbackPolicyStatus(verdict=VerdictValue.BAD)
    written = await store.write_policy(policy, status)
    assert not isinstance(written, Failure)
    assert written.status.verdict is VerdictValue.BAD
    assert kind_of(await store.write_policy(policy, status)) is FailureKind.CONFLICT


async def test_a_full_disk_fails_and_changes_nothing(store: DiskStore, tmp_path: Path) -> None:
    (tmp_path / f"{LEDGER}.new").mkdir()
    made = await store.create_rollback("shop", NAME, make_rollback().spec)
    assert kind_of(made) is FailureKind.UNAVAILABLE
    assert store.stored() == []
