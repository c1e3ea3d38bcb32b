"""What a first run has to build is known before it is begun."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab import binaries


def test_what_is_not_built_is_named_in_its_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    names = ("cluster", "coredns", "prometheus")
    found = binaries.missing(names)
    assert [one.name for one in found] == list(names)
    assert all(one.minutes > 0 and one.what for one in found)

    recipe = binaries.RECIPES["coredns"]
    (binaries.cache_folder() / f"coredns-{binaries._key(recipe)}").mkdir(parents=True)

    assert [one.name for one in binaries.missing(names)] == ["cluster", "prometheus"]
