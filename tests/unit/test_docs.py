"""What README and docs show can be applied as it is: YAML that is parsed as `check` parses it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab import chart
from rollback_operator.api.reasons import ConditionType, EventReason, Reason
from rollback_operator.api.user_text.documents import load_all, model_as_stored, unknown_keys
from rollback_operator.api.v1alpha1 import (
    RollbackPolicy,
    RollbackPolicySpec,
    RollbackRequest,
    VerdictValue,
)
from rollback_operator.report.summary import WORDS

ROOT = Path(__file__).parents[2]
RUN_ELSEWHERE = {"prevention.md"}
"""tests/integration/test_preflight.py runs its pipelines."""
NOT_OURS = {"ignoreApplicationDifferences"}
"""Fields of the specs of others: an ApplicationSet's."""
FIELDS = {one.alias or name for name, one in RollbackPolicySpec.model_fields.items()}
VALUES = set(yaml.safe_load((chart.CHART / "values.yaml").read_text()))
LEAST = {"targetRef": {"name": "shop"}, "mode": "Enforce"}


def shown() -> Iterator[Any]:
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        if path.name in RUN_ELSEWHERE:
            continue
        text = path.read_text()
        for block in re.finditer(r"^```ya?ml\n(.*?)^```", text, re.S | re.M):
            line = text[: block.start()].count("\n") + 1
            for one in load_all(block[1]):
                yield pytest.param(one, id=f"{path.name}:{line}")


@pytest.mark.parametrize("one", list(shown()))
def test_what_is_shown_can_be_applied(one: dict[str, Any]) -> None:
    if one.get("kind") == RollbackRequest.KIND:
        metadata = {"name": "by-hand", **one["metadata"]}
        assert model_as_stored(RollbackRequest, {**one, "metadata": metadata})
        return
    if set(one) <= VALUES:
        values = chart.merged({"prometheus": {"url": "http://prometheus:9090"}}, one)
        assert chart.rendered(values, name="shown", namespace="operators")
        return
    spec = one.get("spec", one)
    if set(spec) <= NOT_OURS:
        return
    whole = {**LEAST, **spec}
    assert list(unknown_keys(RollbackPolicySpec, whole)) == []
    metadata = {"name": "shown", "namespace": "production", **one.get("metadata", {})}
    assert model_as_stored(RollbackPolicy, {"metadata": metadata, "spec": whole})


def test_fields_and_values_are_told_apart() -> None:
    """A block with a bare `database:` is a policy's, one with `gitOps:` the chart's."""
    assert FIELDS.isdisjoint(VALUES - {"prometheus"})


# -- troubleshooting.md: each reason is explained --------------------------------------------------

ENUMS = (ConditionType, Reason, EventReason)
DEFINED = {one.value for kind in ENUMS for one in kind}


def explained() -> set[str]:
    """List what stands in the first column of a table."""
    rows = re.findall(r"^\| (`.*?) \|", (ROOT / "docs" / "troubleshooting.md").read_text(), re.M)
    return {name for row in rows for name in re.findall(r"`([A-Z]\w+)`", row)}


def test_every_condition_reason_and_event_is_explained() -> None:
    assert sorted(DEFINED - explained()) == []


def test_nothing_is_explained_that_there_is_not() -> None:
    words = {one.value for one in VerdictValue} | set(WORDS)
    assert sorted(explained() - DEFINED - words) == []


def test_every_word_of_a_status_is_explained() -> None:
    assert sorted(set(WORDS) - explained()) == []
