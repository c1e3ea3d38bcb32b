"""What a database server sends back of the password reaches nobody."""

from __future__ import annotations

import json

import pytest

from rollback_operator.adapters.postgres import reader

PASSWORD = "p@ss 'w\\ord\""


@pytest.mark.parametrize(
    "text",
    [
        f"login as x:{PASSWORD}@db",
        "postgresql://x:p%40ss%20%27w%5Cord%22@db",
        "password='p@ss \\'w\\\\ord\"'",
        json.dumps({"dsn": PASSWORD}),
    ],
)
def test_in_each_form_and_at_any_place(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    answer = {"missing": text, "answers": {"a": {"rows": [text]}}, "losses": [(text, 1, True)]}

    reader.tell(answer, {"user": "x", "password": PASSWORD})

    printed = json.loads(capsys.readouterr().out)
    (row,), (place, *others) = printed["answers"]["a"]["rows"], printed["losses"][0]
    assert printed["missing"] == row == place
    assert "***" in row
    assert not any(part in row for part in ("p@ss", "p%40ss", "%5C"))
    assert others == [1, True]


def test_what_is_short_is_in_any_text(capsys: pytest.CaptureFixture[str]) -> None:
    reader.tell({"migrations": [["001_begin", None]]}, {"password": "1"})

    assert json.loads(capsys.readouterr().out) == {"migrations": [["001_begin", None]]}
