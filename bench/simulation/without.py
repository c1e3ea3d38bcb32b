"""Runs unit tests with a guard of the operator taken away: what no campaign can show, a test does.

A pytest plugin too: `-p bench.simulation.without` takes the guard that `WITHOUT_GUARD` names away
before the tests are collected.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bench.simulation.mutants import BY_NAME

ROOT = Path(__file__).parents[2]
GUARD = "WITHOUT_GUARD"
LONGEST_SECONDS = 1200
_FAILED = re.compile(r"^FAILED (.+?)(?: - .*)?$", re.MULTILINE)
_TESTS_FAILED = 1
"""The exit status of pytest where tests were run and some failed."""


def pytest_configure(config: pytest.Config) -> None:
    """Take the guard away, in this process."""
    del config
    for one in BY_NAME[os.environ[GUARD]].removals if os.environ.get(GUARD) else ():
        one.apply()


def failing(guard: str, tests: str) -> str:
    """Give the first test of a file that fails without a guard and passes with it; "" if none."""
    without = _run(tests, guard)
    if without.returncode != _TESTS_FAILED or _run(tests, "").returncode != 0:
        return ""
    found = _FAILED.search(without.stdout)
    return found[1] if found else ""


def _run(tests: str, guard: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-p", "bench.simulation.without"),
            *("-n", "0", "-q", "-x", "-rf", "-p", "no:cacheprovider", tests),
        ],
        cwd=ROOT,
        env={**os.environ, GUARD: guard},
        capture_output=True,
        text=True,
        timeout=LONGEST_SECONDS,
        check=False,
    )
