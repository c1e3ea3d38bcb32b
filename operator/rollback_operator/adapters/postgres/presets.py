"""The history tables of migration tools, as data: columns that identify them, and how to read them.

A table is recognized by its columns: six tools name theirs `schema_migrations` or `migrations`, and
most let people choose the name. The reader process imports this, so it needs the standard library
only. docs/database.md has the tools' versions, and what each of them marks.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

LONGEST_COLUMNS = 300
AUTO = "Auto"
SCHEMA_MIGRATIONS = "schema_migrations"
_KEYS = ("name", "version", "filename", "id")
"""Key column of a table schema_migrations that is no known tool's; the first that exists."""


@dataclass(frozen=True, slots=True)
class Preset:
    """A migration tool's history."""

    name: str
    table: str
    columns: frozenset[str]
    key: str
    """SQL expression of a row's name."""
    time: str = "NULL::timestamptz"
    """SQL expression of the time of application."""
    where: str = ""
    """The rows that are applied migrations."""
    order: str = ""
    """Oldest first; empty: by name, in the order of their characters."""
    latest: str = ""
    """SQL expression that repeated rows share: of these, the last counts, if it is applied."""
    considered: str = "true"
    """The rows among which the last counts."""
    form: str = "List"
    """HistoryForm of the rows."""
    is_exact: bool = False
    """Another column makes it another tool's table."""
    companion: str = ""
    """Table that distinguishes it from a tool with the same columns."""
    dirty: str = ""
    """SELECT of a DirtyReason and a name."""
    lock_suffix: str = ""
    """The tool's lock table has the history's name and this suffix; empty: it has none."""
    advisory: int | None = None
    """Advisory lock that the tool holds while it migrates."""
    is_known: bool = True
    """False: an unknown tool's table, whose empty history means nothing."""

    @property
    def rows(self) -> str:
        """SELECT of name and applied_at, the newest last."""
        source, where = "{table}", f" WHERE {self.where}" if self.where else ""
        order = self.order or f'({self.key}) COLLATE "C"'
        if self.latest:
            source = (
                f"(SELECT DISTINCT ON ({self.latest}) * FROM {{table}} WHERE {self.considered}"
                f" ORDER BY {self.latest}, {order} DESC) AS latest"
            )
        return (
            f"SELECT {self.key} AS name, {self.time} AS applied_at FROM {source}{where}"
            f" ORDER BY {order}"
        )

    @property
    def lock(self) -> str:
        """Name of the tool's lock table; empty: it has none."""
        return self.table + self.lock_suffix if self.lock_suffix else ""

    def fits(self, columns: frozenset[str]) -> bool:
        """Return whether a table with these columns is this tool's."""
        return self.columns == columns if self.is_exact else self.columns <= columns

    def __str__(self) -> str:
        return f"{self.table}({', '.join(sorted(self.columns))})"


@dataclass(frozen=True, slots=True)
class TableColumns:
    """A table that the role may read."""

    schema: str
    name: str
    columns: frozenset[str]

    def __str__(self) -> str:
        return f"{self.name}({', '.join(sorted(self.columns))})"[:LONGEST_COLUMNS]


@dataclass(frozen=True, slots=True)
class Recognized:
    """A history and the preset that reads it."""

    preset: Preset
    schema: str


def _of(text: str) -> frozenset[str]:
    return frozenset(text.split())


PRESETS: tuple[Preset, ...] = (
    Preset(
        "SchemaMigrations",
        SCHEMA_MIGRATIONS,
        _of("name applied_at"),
        key="name::text",
        time="applied_at",
        order="applied_at, name",
    ),
    Preset(
        "NodePgMigrate",
        "pgmigrations",
        _of("id name run_on"),
        key="name::text",
        time="run_on",
        order="run_on, id",
        advisory=7241865325823964,
    ),
    Preset(
        "Knex",
        "knex_migrations",
        _of("id name batch migration_time"),
        key="name::text",
        time="migration_time",
        order="id",
        lock_suffix="_lock",
        dirty="SELECT 'Locked', '' FROM {lock} WHERE is_locked = 1",
    ),
    Preset("Sequelize", "SequelizeMeta", _of("name"), key="name::text", is_exact=True),
    Preset(
        "TypeORM",
        "migrations",
        _of("id timestamp name"),  # timestamp is when somebody wrote the migration
        key="name::text",
        order="id",
        is_exact=True,
    ),
    Preset(
        "Prisma",
        "_prisma_migrations",
        _of("id checksum finished_at migration_name logs rolled_back_at started_at"),
        key="migration_name::text",
        time="finished_at",
        where="finished_at IS NOT NULL AND rolled_back_at IS NULL",
        order="started_at",
        dirty="SELECT CASE WHEN coalesce(logs, '') = '' THEN 'HalfApplied' ELSE 'Failed' END,"
        " migration_name::text FROM {table} WHERE finished_at IS NULL AND rolled_back_at IS NULL"
        " ORDER BY started_at",
        advisory=72707369,
    ),
    Preset(
        "Flyway",
        "flyway_schema_history",
        _of("installed_rank version description type script checksum installed_on success"),
        # A repeatable migration runs again when its text changes: the checksum is part of it.
        key="CASE WHEN version IS NULL THEN concat(script, ' (', checksum, ')') ELSE script END",
        time="installed_on",
        # An undo or a deletion takes a version back.
        where="type NOT LIKE 'UNDO%' AND type NOT IN ('DELETE', 'SCHEMA')",
        order="installed_rank",
        latest="coalesce(version, script)",
        considered="success",
        dirty="SELECT 'Failed', script::text FROM {table} WHERE NOT success"
        " ORDER BY installed_rank",
    ),
    Preset(
        "Liquibase",
        "databasechangelog",
        _of("id author filename dateexecuted orderexecuted exectype md5sum"),
        # The id comes first: a name on record is cut. A change set that ran again has another sum.
        key="concat(id, '::', author, '::', filename,"
        " CASE WHEN exectype = 'RERAN' THEN concat(' (', md5sum, ')') END)",
        time="dateexecuted",
        where="exectype <> 'FAILED'",
        order="orderexecuted, dateexecuted",
        lock_suffix="lock",
        dirty="SELECT 'Locked', '' FROM {lock} WHERE locked UNION ALL"
        " SELECT 'Failed', concat(id, '::', author, '::', filename) FROM {table}"
        " WHERE exectype = 'FAILED'",
    ),
    Preset(
        "Alembic",
        "alembic_version",
        _of("version_num"),
        key="version_num::text",
        form="Head",
        is_exact=True,
    ),
    Preset(
        "Django",
        "django_migrations",
        _of("id app name applied"),
        key="concat(app, '.', name)",
        time="applied",
        order="id",
    ),
    Preset(
        "GolangMigrate",
        SCHEMA_MIGRATIONS,
        _of("version dirty"),
        key="version::text",
        form="Version",
        is_exact=True,
        dirty="SELECT 'HalfApplied', version::text FROM {table} WHERE dirty",
    ),
    Preset(
        "Goose",
        "goose_db_version",
        _of("id version_id is_applied tstamp"),
        key="version_id::text",
        time="tstamp",
        where="is_applied",
        order="id",
        # Older versions of it add a row for a down migration, and do not delete the row.
        latest="version_id",
        considered="version_id > 0",
    ),
    Preset("Dbmate", SCHEMA_MIGRATIONS, _of("version"), key="version::text", is_exact=True),
    Preset(
        "Rails",
        SCHEMA_MIGRATIONS,
        _of("version"),
        key="version::text",
        is_exact=True,
        companion="ar_internal_metadata",
    ),
)


def names_to_find(table: str) -> list[str]:
    """List the tables to look for: the given history, or all tools', with what stands beside."""
    presets = [_at(preset, table) for preset in PRESETS]
    names = {name for each in presets for name in (each.table, each.lock, each.companion) if name}
    return sorted(names | {preset.table for preset in PRESETS})


def recognized(tables: Sequence[TableColumns], wanted: str, table: str) -> Recognized | str:
    """Choose the history among the tables, which are in the order of the search path.

    A text says why there is none, with what is there, and the preset that fits.
    """
    if wanted != AUTO:
        return _named(tables, _at(next(each for each in PRESETS if each.name == wanted), table))
    fitting = _fitting(tables, table)
    if len(fitting) > 1:
        shown = ", ".join(f"{each.preset.table} ({each.preset.name})" for each in fitting)
        return f"several histories are there: {shown}; set history.preset to the current tool's"
    if fitting:
        return _with_lock(fitting[0], tables)
    histories = _histories(tables, table)
    if not histories:
        return f"there is no {table or 'table of a known migration tool'}"
    return _unknown_tool(histories[0])


def _named(tables: Sequence[TableColumns], preset: Preset) -> Recognized | str:
    there = next((each for each in tables if each.name == preset.table), None)
    if there is not None and preset.fits(there.columns):
        return _with_lock(Recognized(preset, there.schema), tables)
    expected = f"history.preset {preset.name} expects {preset}"
    shown = f"{expected}, and there is {there or 'no such table'}"
    others = (there and _fitting(tables, there.name)) or _fitting(tables, "")
    fits = " or ".join(f"{each.preset.name} (table {each.preset.table})" for each in others)
    return f"{shown}; preset {fits} fits" if fits else shown


def _fitting(tables: Sequence[TableColumns], table: str) -> list[Recognized]:
    """List each table of a known tool once, with the preset that says most about it."""
    fitting: dict[str, Recognized] = {}
    present = {(each.schema, each.name) for each in tables}
    for there in tables:
        matching = [
            preset
            for preset in (_at(each, table) for each in PRESETS)
            if preset.table == there.name
            and preset.fits(there.columns)
            and (not preset.companion or (there.schema, preset.companion) in present)
        ]
        if matching and there.name not in fitting:
            best = max(matching, key=lambda each: (len(each.columns), bool(each.companion)))
            fitting[there.name] = Recognized(best, there.schema)
    return list(fitting.values())


def _histories(tables: Sequence[TableColumns], table: str) -> list[TableColumns]:
    names = {_at(preset, table).table for preset in PRESETS}
    return [each for each in tables if each.name in names]


def _with_lock(history: Recognized, tables: Iterable[TableColumns]) -> Recognized | str:
    """Refuse a history whose lock cannot be read: a migration in progress would not be seen."""
    lock = history.preset.lock
    if lock and not any((each.schema, each.name) == (history.schema, lock) for each in tables):
        return f"the role may not read {lock}, the lock of {history.preset.name}: grant SELECT"
    return history


def _unknown_tool(there: TableColumns) -> Recognized | str:
    """Read a table schema_migrations of another tool by its key column."""
    key = next((name for name in _KEYS if name in there.columns), None)
    if key is None or there.name != SCHEMA_MIGRATIONS:
        return f"{there} is no known tool's: set history.query"
    has_dirty, has_time = ("dirty" in there.columns), ("applied_at" in there.columns)
    preset = Preset(
        "",
        there.name,
        there.columns,
        key=f"{key}::text",
        time="applied_at" if has_time else "NULL::timestamptz",
        dirty=f"SELECT 'HalfApplied', {key}::text FROM {{table}} WHERE dirty::boolean"
        if has_dirty
        else "",
        is_known=False,
    )
    return Recognized(preset, there.schema)


def _at(preset: Preset, table: str) -> Preset:
    return replace(preset, table=table) if table else preset
