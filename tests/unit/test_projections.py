"""Whose a pause is: told by the owners of the field, and by nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from rollback_operator.api.v1alpha1 import FIELD_MANAGER
from rollback_operator.projections import is_held


def owner(manager: str, *fields: str, operation: str = "Update") -> dict[str, Any]:
    owned = {f"f:{field}": {} for field in fields}
    return {"manager": manager, "operation": operation, "fieldsV1": {"f:spec": owned}}


OURS = owner(FIELD_MANAGER, "paused", "template")


@pytest.mark.parametrize(
    ("spec", "owners", "expected"),
    [
        ({"paused": True}, [OURS, owner("kubectl", "replicas")], True),
        ({"paused": True}, [owner("kubectl-rollout", "paused"), owner(FIELD_MANAGER)], False),
        ({"paused": True}, [OURS, owner("helm", "paused", operation="Apply")], False),
        ({"paused": True}, [{"manager": FIELD_MANAGER, "fieldsV1": {"f:status": {}}}], False),
        ({"paused": True}, [], False),
        ({"paused": True}, None, False),
        ({}, [OURS], False),
    ],
    ids=[
        "ours",
        "a person's",
        "ours and somebody else's",
        "of another field",
        "nobody's",
        "unknown",
        "not paused",
    ],
)
def test_a_pause_is_ours_alone(
    spec: dict[str, Any], owners: list[dict[str, Any]] | None, expected: bool
) -> None:
    metadata = {} if owners is None else {"managedFields": owners}

    assert is_held({"metadata": metadata, "spec": spec}) is expected
