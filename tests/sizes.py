"""Two sizes of one test: that of `make test`, and that of `make test-all`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any

import pytest

PROFILE = "HYPOTHESIS_PROFILE"
EXTENDED = "extended"
SHARE = 4


def is_extended() -> bool:
    """Tell whether this run is that of `make test-all`."""
    return os.environ.get(PROFILE) == EXTENDED


def examples(count: int) -> int:
    """Give the number of examples of an expensive law: all of them only in the extended size."""
    return count if is_extended() else max(1, count // SHARE)


def few_of(values: Iterable[Any], few: int) -> Sequence[Any]:
    """Give parameters of which only the first few are not marked as extended."""
    return [
        value if place < few else pytest.param(value, marks=pytest.mark.extended)
        for place, value in enumerate(values)
    ]
