"""Which migration tool a table belongs to: by its columns, and what a wrong preset says."""

from __future__ import annotations

import pytest

from rollback_operator.adapters.postgres.presets import (
    AUTO,
    PRESETS,
    Preset,
    Recognized,
    TableColumns,
    names_to_find,
    recognized,
)
from rollback_operator.api.checklist import HistoryPreset
from rollback_operator.model.schema import HistoryForm

SAME_COLUMNS = {"Dbmate", "Rails"}


def tables_of(preset: Preset, schema: str = "public") -> list[TableColumns]:
    """What the tool leaves in a database."""
    made = [TableColumns(schema, preset.table, preset.columns)]
    beside = [name for name in (preset.lock, preset.companion) if name]
    return [*made, *(TableColumns(schema, name, frozenset({"id"})) for name in beside)]


def preset_of(found: Recognized | str) -> str:
    assert isinstance(found, Recognized), found
    return found.preset.name


def test_each_preset_of_the_policy_has_its_table_and_the_other_way_round() -> None:
    assert [AUTO, *(one.name for one in PRESETS)] == list(HistoryPreset)
    assert {one.form for one in PRESETS} <= set(HistoryForm)


@pytest.mark.parametrize("preset", PRESETS, ids=lambda one: one.name)
def test_a_tool_is_recognized_and_its_name_is_confirmed(preset: Preset) -> None:
    tables = tables_of(preset)

    assert preset_of(recognized(tables, AUTO, "")) == preset.name
    assert preset_of(recognized(tables, preset.name, "")) == preset.name


@pytest.mark.parametrize("preset", PRESETS, ids=lambda one: one.name)
def test_a_tool_is_recognized_under_another_name_of_its_table(preset: Preset) -> None:
    own = TableColumns("public", "history", preset.columns)
    beside = [f"history{preset.lock_suffix}", preset.companion]
    tables = [own, *(TableColumns("public", name, frozenset({"id"})) for name in beside if name)]

    assert {own.name for own in tables} <= set(names_to_find("history"))
    assert preset_of(recognized(tables, AUTO, "history")) == preset.name
    assert preset_of(recognized(tables, preset.name, "history")) == preset.name


@pytest.mark.parametrize("wrong", PRESETS, ids=lambda one: one.name)
@pytest.mark.parametrize("preset", PRESETS, ids=lambda one: one.name)
def test_a_wrong_preset_says_what_it_expects_and_what_fits(preset: Preset, wrong: Preset) -> None:
    found = recognized(tables_of(preset), wrong.name, "")

    if wrong is preset or {wrong.name, preset.name} == SAME_COLUMNS:
        assert preset_of(found) == wrong.name
        return
    assert isinstance(found, str)
    assert found.startswith(f"history.preset {wrong.name} expects {wrong}, and there is ")
    assert f"preset {preset.name} (table {preset.table}) fits" in found
    there = str(tables_of(preset)[0]) if wrong.table == preset.table else "no such table"
    assert there in found


def test_the_first_schema_of_the_search_path_counts() -> None:
    knex, flyway = (next(one for one in PRESETS if one.name == name) for name in ("Knex", "Flyway"))
    tables = [*tables_of(knex, "shop"), *tables_of(knex, "public")]

    found = recognized(tables, AUTO, "")

    assert isinstance(found, Recognized)
    assert found.schema == "shop"
    assert "set history.preset" in str(recognized([*tables, *tables_of(flyway)], AUTO, ""))
    assert preset_of(recognized([*tables, *tables_of(flyway)], "Flyway", "")) == "Flyway"


@pytest.mark.parametrize("preset", [one for one in PRESETS if one.lock], ids=lambda one: one.name)
@pytest.mark.parametrize("is_named", [True, False])
def test_a_lock_that_the_role_may_not_read_is_said(preset: Preset, is_named: bool) -> None:
    found = recognized(tables_of(preset)[:1], preset.name if is_named else AUTO, "")

    assert isinstance(found, str)
    assert f"may not read {preset.lock}" in found


def test_an_unknown_tool_of_the_usual_table_is_read_by_its_key() -> None:
    def of(*columns: str) -> Recognized | str:
        return recognized([TableColumns("x", "schema_migrations", frozenset(columns))], AUTO, "")

    assert preset_of(of("version", "inserted_at")) == ""
    assert preset_of(of("id", "dirty")) == ""
    assert "is no known tool's: set history.query" in str(of("step"))
    other = TableColumns("x", "migrations", frozenset({"id", "migration", "batch"}))
    assert "migrations(batch, id, migration) is no known tool's" in str(
        recognized([other], AUTO, "")
    )
    assert recognized([], AUTO, "") == "there is no table of a known migration tool"
    assert recognized([], AUTO, "steps") == "there is no steps"
