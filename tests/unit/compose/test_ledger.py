"""The record on disk survives kill -9 at every write, a full disk, and a second agent."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from rollback_operator.adapters.compose.ledger import (
    LEDGER,
    LOCK,
    Ledger,
    LedgerError,
    LedgerState,
    PolicyRecord,
    holder_of,
    read,
    replace_file,
)
from rollback_operator.ports.failure import Failure, FailureKind


def write_until_killed(folder: Path, fatal: int, reports: int) -> None:
    """Store records, and be killed at the given open, rename or removal in the folder.

    The kernel's own kill, at Python's audit events: the code under test knows nothing of it.
    """
    seen = 0

    def kill(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal seen
        if event in ("open", "os.rename", "os.remove") and str(folder) in str(arguments[0]):
            seen += 1
            if seen == fatal:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(kill)
    ledger = Ledger.open(folder)
    for number in range(1, 5):
        policy = PolicyRecord(uid="u", created="2026-01-01T00:00:00+00:00", version=number)
        assert ledger.store(LedgerState(policies={"shop": policy})) is None
        os.write(reports, str(number).encode())


def version_in(folder: Path) -> int:
    known = read(folder).policies
    return known["shop"].version if known else 0


def child(folder: Path, fatal: int) -> tuple[int, str]:
    """Run it in a process of its own; how that ended, and what it had reported."""
    reading, reports = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        with contextlib.suppress(BaseException):
            write_until_killed(folder, fatal, reports)
            status = 0
        os._exit(status)
    os.close(reports)
    with os.fdopen(reading) as reported:
        text = reported.read()
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), text


def test_killed_at_every_write_the_record_is_whole(tmp_path: Path) -> None:
    killed = 0
    for fatal in range(1, 100):
        folder = tmp_path / str(fatal)
        status, text = child(folder, fatal)
        if status == 0:
            break
        assert status == -signal.SIGKILL
        killed += 1
        reported = int(text[-1]) if text else 0
        # What was reported as stored is there; at most the write in progress is there too.
        assert version_in(folder) in (reported, reported + 1)
        # The lock has ended with the process, and the next agent goes on.
        ledger = Ledger.open(folder)
        assert ledger.store(ledger.state) is None
        ledger.close()
    assert killed >= 12, "each write opens, renames and syncs its folder"


def test_a_failed_write_changes_neither_disk_nor_memory(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path)
    policy = PolicyRecord(uid="u", created="2026-01-01T00:00:00+00:00")
    before = LedgerState(policies={"shop": policy})
    assert ledger.store(before) is None
    written = (tmp_path / LEDGER).read_bytes()
    (tmp_path / f"{LEDGER}.new").mkdir()  # no file can be written there, not even by root
    failure = ledger.store(LedgerState())
    assert isinstance(failure, Failure)
    assert failure.kind is FailureKind.UNAVAILABLE
    assert "free space" in failure.message
    assert ledger.state == before
    assert (tmp_path / LEDGER).read_bytes() == written


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this machine has no /dev/full")
    (tmp_path / "x.new").symlink_to(full)
    failure = replace_file(tmp_path / "x", "text")
    assert failure is not None
    assert "No space left on device" in failure.message
    assert list(tmp_path.iterdir()) == []


def test_a_second_agent_is_told_the_first(tmp_path: Path) -> None:
    first = Ledger.open(tmp_path)
    assert holder_of(tmp_path) == str(os.getpid())
    with pytest.raises(LedgerError, match=rf"process {os.getpid()}\).*stop it first"):
        Ledger.open(tmp_path)
    first.close()
    assert holder_of(tmp_path) == ""
    Ledger.open(tmp_path).close()


def test_a_lock_without_a_text_is_held_all_the_same(tmp_path: Path) -> None:
    """A full disk leaves no text in it."""
    first = Ledger.open(tmp_path)
    os.truncate(tmp_path / LOCK, 0)
    assert holder_of(tmp_path) == "unknown"
    first.close()


def test_a_look_at_the_lock_keeps_no_agent_from_starting(tmp_path: Path) -> None:
    Ledger.open(tmp_path).close()
    look = os.open(tmp_path / LOCK, os.O_RDONLY)
    fcntl.flock(look, fcntl.LOCK_SH)
    ends = threading.Timer(0.1, os.close, (look,))
    ends.start()
    Ledger.open(tmp_path).close()
    ends.join()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "restore it, or move it away"),
        ('{"version": 2}', "newer agent"),
        ('{"services": {"shop": {}}}', re.escape("services.shop.uid")),
    ],
)
def test_an_unreadable_record_is_named(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / LEDGER).write_text(text)
    with pytest.raises(LedgerError, match=said):
        read(tmp_path)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LedgerError, match="make the folder writable"):
        Ledger.open(tmp_path / "file" / "state")
