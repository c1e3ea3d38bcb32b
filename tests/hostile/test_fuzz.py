"""A small share of `make fuzz`: some hundred drawn manifests and the passes over them."""

from __future__ import annotations

import pytest

from tests.hostile.fuzz import Profile, faults, run

pytestmark = pytest.mark.xdist_group("fuzz")
SMALL = Profile(policies=220, plans=40, requests=40, values=15, created=10, least=1)


@pytest.mark.timeout(600)
@pytest.mark.extended
def test_no_drawn_manifest_makes_a_pass_raise_or_leave_its_namespace() -> None:
    admitted, found = run(SMALL, seed=7)
    assert found.passes > SMALL.policies
    assert list(faults(SMALL, admitted, found)) == []
