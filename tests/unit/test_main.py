"""The installed command as a process: how it ends."""

import os
import subprocess
import sys
from pathlib import Path

import rollback_operator


def test_a_reader_that_has_seen_enough_is_no_fault() -> None:
    begun = subprocess.Popen(
        [sys.executable, "-m", "rollback_operator", "crd"],
        env={**os.environ, "PYTHONPATH": str(Path(rollback_operator.__file__).parents[1])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert begun.stdout is not None
    assert begun.stderr is not None
    begun.stdout.close()

    assert begun.stderr.read() == b""
    assert begun.wait() == 0
    begun.stderr.close()
