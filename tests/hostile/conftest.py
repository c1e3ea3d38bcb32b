"""The stand, one for the session; its tests run in one worker."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.hostile.stand import HostileStand


@pytest.fixture(scope="session")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostileStand]:
    with HostileStand(tmp_path_factory.mktemp("hostile")) as found:
        yield found
