"""Whatever goes wrong on the way to others: one undo, not none and not two.

More runs of each, and those on the way to the API server, which take minutes, are
`make bench-faults`.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.integration.operator_process import Zygote
from tests.integration.stand import Stand
from tests.integration.storm import Storm
from tests.integration.storms import NAMES, ground
from tests.integration.watch_faults import QUICK

pytestmark = [pytest.mark.xdist_group("storms"), pytest.mark.timeout(1200)]
AT_ONCE = 5
WORST = ("410 in the stream", "half-open")
SLOW = tuple(one for one in NAMES["watch"] if one not in QUICK)


@pytest.mark.parametrize(
    ("family", "names"),
    [
        pytest.param("api", NAMES["api"], marks=pytest.mark.long, id="the API server"),
        pytest.param("watch", WORST, id="its watches"),
        pytest.param(
            "watch",
            tuple(one for one in QUICK if one not in WORST),
            marks=pytest.mark.extended,
            id="its watches otherwise",
        ),
        pytest.param("watch", SLOW, marks=pytest.mark.long, id="its watches for long"),
        pytest.param(
            "prometheus", NAMES["prometheus"], marks=pytest.mark.extended, id="Prometheus"
        ),
        pytest.param("channel", NAMES["channel"], marks=pytest.mark.extended, id="a channel"),
    ],
)
def test_no_fault_loses_or_repeats_an_undo_on_the_way_to(
    family: str, names: Iterable[str], stand: Stand, zygote: Zygote, tmp_path: Path
) -> None:
    with ground(stand, zygote, tmp_path) as here, ThreadPoolExecutor(AT_ONCE) as pool:
        done = list(pool.map(Storm.go, [here.storm(family, name) for name in names]))
    print("\n".join(map(str, done)))

    assert [one for one in done if one.faults] == []
    assert [(one.done, one.lost, one.double) for one in done] == [(1, 0, 0)] * len(done)
    assert [one.fault for one in done if not one.struck] == []
