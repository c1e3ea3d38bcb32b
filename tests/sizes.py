"""Two sizes of one test: that of `make test`, and that of `make test-all`."""

from __future__ import annotations

import os
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import pytest

T = TypeVar("T")
PROFILE = "HYPOTHESIS_PROFILE"
EXTENDED = "extended"
SHARE, STEP = 4, 5


def is_extended() -> bool:
    """Tell whether this run is that of `make test-all`."""
    return os.environ.get(PROFILE) == EXTENDED


def examples(count: int) -> int:
    """Give the number of examples of an expensive law: all of them only in the extended size."""
    return count if is_extended() else max(1, count // SHARE)


def share_of(values: Sequence[T]) -> Sequence[T]:
    """Give each fifth case of an expensive test; all of them only in the extended size.

    Cases of two or four kinds by turns have all kinds among each fifth.
    """
    return values if is_extended() else values[::STEP]


def few_of(values: Iterable[Any], few: int) -> Sequence[Any]:
    """Give parameters of which only the first few are not marked as extended."""
    return [
        value if place < few else pytest.param(*_arguments(value), marks=pytest.mark.extended)
        for place, value in enumerate(values)
    ]


def _arguments(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def chosen_of(values: Iterable[Any], chosen: Container[Any]) -> Sequence[Any]:
    """Give parameters of which only the chosen are not marked as extended."""
    return [
        value if value in chosen else pytest.param(*_arguments(value), marks=pytest.mark.extended)
        for value in values
    ]


def rows_of(table: Mapping[str, tuple[Any, ...]], chosen: Container[str]) -> Sequence[Any]:
    """Give the rows of a table under their names; only the chosen are not marked as extended."""
    return [
        pytest.param(*row, id=name, marks=() if name in chosen else pytest.mark.extended)
        for name, row in table.items()
    ]
