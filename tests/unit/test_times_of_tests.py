"""The log of `make test` -> how long each tier took; a run that failed is not recorded."""

from __future__ import annotations

import os
import subprocess

import pytest

from tools import test_times

LOG = """\
== installing the Python packages into .venv (about a minute)
== lint 2026-12-01T03:00:00Z
All checks passed!
== unit 2026-12-01T03:01:30Z
1200 passed, 3 skipped in 95.50s (0:01:35)
============================= slowest 25 durations =============================
4.20s call     tests/unit/test_a.py::test_b[the old one]
0.90s setup    tests/unit/test_c.py::test_d
==================== 300 passed in 20.25s ====================
== e2e 2026-12-01T03:05:00Z
31 passed in 640.00s (0:10:40)
lab: e2e took 700 s in all
== test 2026-12-01T03:17:00Z
"""


def test_tiers_last_from_mark_to_mark() -> None:
    run = test_times.times(LOG)

    assert (run["date"], run["seconds"]) == ("2026-12-01", 1020)
    assert {tier: each["seconds"] for tier, each in run["tiers"].items()} == {
        "lint": 90,
        "unit": 210,
        "e2e": 720,
    }


def test_pytests_own_lines_are_added_up() -> None:
    tiers = test_times.times(LOG)["tiers"]

    assert tiers["lint"] == {"seconds": 90}
    assert (tiers["unit"]["passed"], tiers["unit"]["pytestSeconds"]) == (1500, 115.75)
    assert tiers["unit"]["slowest"] == [
        {"seconds": 4.2, "test": "tests/unit/test_a.py::test_b[the old one]"},
        {"seconds": 0.9, "test": "tests/unit/test_c.py::test_d"},
    ]
    assert tiers["e2e"]["slowest"] == []


@pytest.mark.parametrize(
    "log",
    [
        "",
        LOG.replace("== test 2026-12-01T03:17:00Z\n", ""),
        LOG.replace("31 passed", "1 failed, 30 passed"),
        LOG.replace("31 passed", "31 passed, 2 errors"),
    ],
    ids=["empty", "ended early", "a failure", "an error"],
)
def test_only_a_whole_run_that_passed_is_recorded(log: str) -> None:
    with pytest.raises(test_times.NotRecordedError):
        test_times.times(log)


def test_the_last_cell_of_a_tier_s_row_is_filled() -> None:
    document = "| `make unit` | rules | Python | |\n| `make e2e` | pods | root | 9.0 min |\n"

    assert test_times.filled(document, {"unit": {"seconds": 210}, "e2e": {"seconds": 720}}) == (
        "| `make unit` | rules | Python | 3.5 min |\n| `make e2e` | pods | root | 12.0 min |\n"
    )


def test_make_lets_each_process_use_what_the_first_compiled() -> None:
    """Else every operator, worker and command of the tests compiles its whole program anew."""
    show = "show:; @echo set:$$PYTHONDONTWRITEBYTECODE"
    done = subprocess.run(
        ["make", "--silent", f"--eval={show}", "show"],
        cwd=test_times.ROOT,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        check=True,
        capture_output=True,
        text=True,
    )

    assert done.stdout == "set:\n"
