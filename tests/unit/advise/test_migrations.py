"""Which migrations can be reverted, by the conventions of common tools."""

from __future__ import annotations

import pytest

from rollback_operator.advise.migrations import files_of

DROP = "ALTER TABLE tickets DROP COLUMN new_column;\n"
ADD = "ALTER TABLE tickets ADD COLUMN new_column int;\n"
ROWS: dict[str, tuple[dict[str, str], dict[str, bool]]] = {
    "a pair": ({"8_a.up.sql": ADD, "8_a.down.sql": DROP}, {"8_a.up.sql": True}),
    "an empty half": ({"8_a.up.sql": ADD, "8_a.down.sql": "\n-- later\n"}, {"8_a.up.sql": False}),
    "no half": ({"8_a.up.sql": ADD}, {"8_a.up.sql": False}),
    "Flyway": ({"V8__a.sql": ADD, "U8__a.sql": DROP}, {"V8__a.sql": True}),
    "Flyway without undo": ({"V8__a.sql": ADD}, {"V8__a.sql": False}),
    "goose": ({"8.sql": f"-- +goose Up\n{ADD}-- +goose Down\n{DROP}"}, {"8.sql": True}),
    "goose without": ({"8.sql": f"-- +goose Up\n{ADD}-- +goose Down\n"}, {"8.sql": False}),
    "dbmate": ({"8.sql": f"-- migrate:up\n{ADD}-- migrate:down\n{DROP}"}, {"8.sql": True}),
    "node-pg-migrate": ({"8.sql": f"{ADD}-- Down Migration\n{DROP}"}, {"8.sql": True}),
    "Liquibase": ({"8.sql": f"--liquibase formatted sql\n{ADD}--rollback {DROP}"}, {"8.sql": True}),
    "forward only": ({"8.sql": ADD}, {"8.sql": False}),
    "Knex": ({"8.js": "exports.down = async (knex) => {};"}, {"8.js": True}),
    "TypeORM": ({"8.ts": "async down(runner) { await runner.query('x') }"}, {"8.ts": True}),
    "Sequelize": ({"8.js": "module.exports = {up: f, down: g}"}, {"8.js": True}),
    "declared irreversible": ({"8.js": "exports.down = false"}, {"8.js": False}),
    "another word": ({"8.js": "exports.up = (x) => x.markdown('a')"}, {"8.js": False}),
    "Rails": ({"8.rb": "class A\n  def change\n"}, {"8.rb": True}),
    "Alembic": ({"8.py": "\ndef downgrade():\n    op.drop_column('a', 'b')\n"}, {"8.py": True}),
    "Alembic without": ({"8.py": '\ndef downgrade():\n    """x"""\n    pass\n'}, {"8.py": False}),
    "Alembic, refused": ({"8.py": "\ndef downgrade():\n    raise E()\n"}, {"8.py": False}),
}


@pytest.mark.parametrize(("contents", "downs"), ROWS.values(), ids=ROWS)
def test_a_down_migration_is_recognized(contents: dict[str, str], downs: dict[str, bool]) -> None:
    assert files_of("db", contents).downs == downs


def test_what_has_another_form_is_named() -> None:
    found = files_of("db", {"README.md": "x", "0001_a.py": "operations = []"})

    assert found.downs == {}
    assert found.unread == ("0001_a.py", "README.md")


def test_what_a_record_names_is_left_out() -> None:
    found = files_of("db", {"007_a.up.sql": ADD, "008_b.up.sql": ADD, "V9__c.sql": ADD})

    assert set(found.newer_than(["007_a", "V9__c.sql"])) == {"008_b.up.sql"}
