"""A policy that the file no longer has: its status is not listed as if it were watched."""

from __future__ import annotations

from pathlib import Path

from rollback_operator.adapters.compose.ledger import LedgerState, PolicyRecord, ServiceRecord
from rollback_operator.adapters.compose.project import Compose, ComposeFiles
from rollback_operator.cli.compose.record import StoredRecord, _is_seen


def test_a_policy_that_the_file_no_longer_has_is_explained_and_not_listed() -> None:
    policies = {
        "kept": PolicyRecord(uid="1", created="2026-01-01T00:00:00Z"),
        "left": PolicyRecord(uid="2", created="2026-01-01T00:00:00Z", watched=False),
    }
    services = {"left": ServiceRecord(uid="s", current="abc", watched=False)}

    known = StoredRecord(LedgerState(policies=policies, services=services))

    assert [each.name for each in known.policies] == ["kept"]
    assert [each.name for each in known.all_policies] == ["kept", "left"]
    assert _is_seen(known), "an undo does not wait for a service that nobody watches"


def test_the_override_file_is_read_only_after_a_change(tmp_path: Path) -> None:
    compose = Compose(("docker", "compose"), ComposeFiles((tmp_path / "c.yml",), "shop"), tmp_path)
    compose.override.write_text("services: {shop: {image: a}}\n")

    assert compose.unpin({"shop"}) is None
    first = compose._read
    assert compose.unpin({"shop"}) is None
    assert compose._read is first
    compose.override.write_text("services: {shop: {image: a}, other: {image: b}}\n")
    assert compose.unpin({"shop"}) is None

    assert "other" not in compose.override.read_text()
