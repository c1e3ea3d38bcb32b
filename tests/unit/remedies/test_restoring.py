"""A ConfigMap just before its restore, and the differences that people are shown."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rollback_operator.api.remedy import ConfigMapPlan
from rollback_operator.remedies.restoring import compare, diff
from tests.fakes.configurations import config_state, content

NOW = config_state(TIMEOUT="0")
PLAN = ConfigMapPlan(
    name="shop", uid=NOW.uid, digest=config_state(TIMEOUT="10").digest, previous_digest=NOW.digest
)


@pytest.mark.parametrize(
    ("state", "answer"),
    [
        (NOW, None),
        (replace(NOW, version="2"), None),
        (config_state(TIMEOUT="10"), ""),
        (replace(NOW, digest="", uid=""), "it was deleted since the decision"),
        (replace(NOW, uid="other"), "kubectl changed it since the decision"),
        (config_state(TIMEOUT="5"), "kubectl changed it since the decision"),
        (replace(NOW, obstacle="it is immutable"), "it is immutable"),
    ],
)
def test_it_is_restored_only_as_planned(state, answer) -> None:
    assert compare(PLAN, state) == answer


@pytest.mark.parametrize(
    ("before", "after", "shown"),
    [
        (content(A="1", B="2"), content(A="1", B="3"), 'B: "2" -> "3"'),
        (content(A="1"), content(B="2"), 'A: "1" -> none; B: none -> "2"'),
        (content(F="a\nb\nc"), content(F="a\nx\nd"), 'F, line 2: "b" -> "x" and 1 more lines'),
        (content(F="a"), content(F="a\nb"), 'F, line 2: none -> "b"'),
        ("{}", '{"binaryData":{"K":"AAA="}}', 'K: none -> "base64 AAA="'),
    ],
)
def test_the_keys_that_change_are_shown(before, after, shown) -> None:
    assert diff(before, after) == shown


def test_the_differences_of_large_contents_are_bounded() -> None:
    left, right = ("\n".join(f"{word} {one}" for one in range(30_000)) for word in ("a", "b"))
    keys = {f"K{one}": left for one in range(20)}

    assert len(diff(content(**keys), content(F=right))) <= 1024
