"""Files of migrations: which have a down migration, by the conventions of common tools.

Pure. Only the presence of a down migration is known, never whether it restores the data.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

_PAIRED = re.compile(r"([^/]+)\.(up|down)\.([A-Za-z0-9]+)")
"""golang-migrate, node-pg-migrate: 008_add.up.sql, 008_add.down.sql."""
_FLYWAY = re.compile(r"([VU])([0-9][0-9._]*__[^/]+\.sql)")
_MARKS = ("-- +goose down", "-- migrate:down", "-- down migration")
"""goose, dbmate, node-pg-migrate: begin the part of a file that reverts it."""
_LIQUIBASE = "--rollback"
_SCRIPTS = {
    **dict.fromkeys(("js", "cjs", "mjs", "ts"), re.compile(r"\bdown\s?(\(|:|=(?! ?false\b))")),
    "rb": re.compile(r"\bdef (down|change)\b"),
}
"""Knex, Sequelize, TypeORM; Rails."""


@dataclass(frozen=True, slots=True)
class MigrationFiles:
    """A folder of migrations."""

    folder: str
    downs: Mapping[str, bool]
    """Whether a migration has a down migration, by its file."""
    unread: tuple[str, ...] = ()
    """Files of a form that is not known."""

    def newer_than(self, known: Iterable[str]) -> Mapping[str, bool]:
        """Leave out the migrations that a record names, with or without their endings."""
        names = frozenset(known)
        return {
            file: has_down
            for file, has_down in self.downs.items()
            if not {file, file.partition(".")[0]} & names
        }


def files_of(folder: str, contents: Mapping[str, str]) -> MigrationFiles:
    """Recognize the migrations of a folder.

    Args:
        folder: for messages.
        contents: the text of each file, by its name.
    """
    downs: dict[str, bool] = {}
    unread: list[str] = []
    for name, text in sorted(contents.items()):
        if (paired := _PAIRED.fullmatch(name)) is not None:
            if paired[2] == "up":
                other = contents.get(f"{paired[1]}.down.{paired[3]}", "")
                downs[name] = any(map(_is_statement, other.splitlines()))
        elif (flyway := _FLYWAY.fullmatch(name)) is not None:
            if flyway[1] == "V":
                downs[name] = f"U{flyway[2]}" in contents
        elif (has_down := _has_down(name.rpartition(".")[2], text)) is None:
            unread.append(name)
        else:
            downs[name] = has_down
    return MigrationFiles(folder, downs, tuple(unread))


def _has_down(suffix: str, text: str) -> bool | None:
    """Report whether a file has its own down migration; None: its form is not known."""
    if suffix == "sql":
        return _reverts_in_sql(text)
    if suffix == "py":
        return _reverts_in_alembic(text)
    declares = _SCRIPTS.get(suffix)
    return None if declares is None else declares.search(text) is not None


def _reverts_in_sql(text: str) -> bool:
    is_after = False
    for line in map(str.strip, text.splitlines()):
        if line.lower().startswith(_LIQUIBASE) and line[len(_LIQUIBASE) :].strip():
            return True
        is_after = is_after or line.lower().startswith(_MARKS)
        if is_after and _is_statement(line):
            return True
    return False


def _reverts_in_alembic(text: str) -> bool | None:
    _, definition, body = text.partition("\ndef downgrade(")
    if not definition:
        return None  # Django's operations revert themselves, or not: only Django knows
    lines = (line.strip() for line in body.splitlines()[1:])
    first = next((line for line in lines if line and not line.startswith(("#", '"'))), "")
    return first not in ("", "pass", "...") and not first.startswith("raise ")


def _is_statement(line: str) -> bool:
    text = line.strip()
    return bool(text) and not text.startswith("--")
