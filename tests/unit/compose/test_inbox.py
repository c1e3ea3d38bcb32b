"""Files in the agent's folder that are no requests stop nothing."""

from __future__ import annotations

import os
from pathlib import Path

from rollback_operator.cli.compose.inbox import REQUESTS, Asked, leave, letters


def test_a_request_is_read_among_what_is_none(tmp_path: Path) -> None:
    asked = Asked(verb="undo", name="shop-1", reason="a test", policy="shop")
    assert leave(tmp_path, asked) is None
    folder = tmp_path / REQUESTS
    (folder / "a.json").mkdir()
    os.mkfifo(folder / "b.json")
    (folder / "c.json").write_text("{" * 100_000)
    (folder / "d.json").symlink_to("nowhere")
    (folder / "e.json").write_text('{"verb": "undo", "name": "../x", "reason": "r"}')
    readable, refused = letters(tmp_path)
    assert [letter.asked for letter in readable] == [asked]
    assert len(refused) == 5
    assert not (folder / "c.json").exists()
    assert all("remove" in text for text in refused)
