"""How each migration tool is installed and run: a clean history, a newer history, and a failure.

Data only. Commands are of the shell, in a folder of the tool's own, with DATABASE_URL, JDBC_URL and
libpq's variables set. A stage's files come beside those of the stage before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from textwrap import dedent

HANGS = "SELECT pg_sleep(600)"
"""A migration with this runs until the tool is killed."""
CLEAN, NEWER, DIRTY = STAGES = ("clean", "newer", "dirty")


@dataclass(frozen=True)
class Recipe:
    """A tool that makes its own history."""

    preset: str
    version: str
    """Command that prints the tool's name and version."""
    install: str
    run: str
    files: Mapping[str, Mapping[str, str]]
    """Files of each stage, by path."""
    is_killed: bool = False
    """The last stage hangs until the tool is killed; otherwise its migration fails."""
    documented: str = ""
    """SQL of the mark that the tool documents for a failure, and does not leave on this server."""


def _version_of(package: str) -> str:
    # Not by require: a package need not export its package.json.
    return (
        f"node -p \"'{package} ' + JSON.parse(require('fs').readFileSync("
        f"'node_modules/{package}/package.json')).version\""
    )


def _js(text: str) -> str:
    return dedent(text).lstrip()


def _knex(up: str, config: str = "") -> str:
    return f"exports.up = (knex) => knex.raw(`{up}`);\nexports.down = () => {{}};\n{config}"


def _sequelize(up: str) -> str:
    return _js(f"""
        module.exports = {{
          async up(queryInterface) {{ await queryInterface.sequelize.query(`{up}`); }},
          async down() {{}},
        }};
    """)


def _typeorm(name: str, up: str) -> str:
    return _js(f"""
        module.exports = class {name} {{
          async up(queryRunner) {{ await queryRunner.query(`{up}`); }}
          async down() {{}}
        }};
    """)


def _alembic(revision: str, down: str | None, up: str) -> str:
    return _js(f"""
        from alembic import op

        revision = "{revision}"
        down_revision = {down!r}


        def upgrade():
            op.execute("{up}")


        def downgrade():
            pass
    """)


def _django(after: str, up: str, atomic: bool = True) -> str:
    before = f'[("tickets", "{after}")]' if after else "[]"
    return _js(f"""
        from django.db import migrations


        class Migration(migrations.Migration):
            atomic = {atomic}
            dependencies = {before}
            operations = [migrations.RunSQL("{up}", migrations.RunSQL.noop)]
    """)


def _rails(name: str, up: str) -> str:
    return f"class {name} < ActiveRecord::Migration[6.1]\n  def up = execute({up!r})\nend\n"


def _dbmate(up: str, option: str = "") -> str:
    return f"-- migrate:up{option}\n{up};\n-- migrate:down\nSELECT 1;\n"


def _goose(up: str, head: str = "") -> str:
    return f"{head}-- +goose Up\n{up};\n-- +goose Down\nSELECT 1;\n"


ONE, TWO, THREE = (
    "CREATE TABLE tickets(id int)",
    "ALTER TABLE tickets ADD COLUMN seat text",
    "ALTER TABLE tickets ADD COLUMN price int",
)
FAILS = "SELECT 1/0"
_POM = """
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>lab</groupId><artifactId>histories</artifactId><version>1</version>
  <packaging>pom</packaging>
  <build><plugins><plugin>
    <groupId>{group}</groupId><artifactId>{artifact}</artifactId><version>{version}</version>
    <dependencies>
      <dependency>
        <groupId>org.postgresql</groupId><artifactId>postgresql</artifactId><version>42.7.5</version>
      </dependency>{more}
    </dependencies>
  </plugin></plugins></build>
</project>
"""
_FLYWAY, _LIQUIBASE = "11.8.2", "4.31.1"
_FLYWAY_POSTGRES = f"""
      <dependency>
        <groupId>org.flywaydb</groupId><artifactId>flyway-database-postgresql</artifactId>
        <version>{_FLYWAY}</version>
      </dependency>"""
_MAVEN = "mvn --batch-mode --quiet"
_PIP = "python3 -m venv venv && venv/bin/pip install --quiet"

RECIPES: tuple[Recipe, ...] = (
    Recipe(
        "SchemaMigrations",
        "echo the lab\\'s ticket-service",
        "npm ci --silent",
        "node src/migrate.js up",
        {
            CLEAN: {"release": "v1.2.3"},
            NEWER: {"release": "v1.3.7"},
            DIRTY: {
                "release": "v1.5.0",
                "migrations/005_retire_classic_checkout.up.sql": f"{FAILS};\n",
            },
        },
    ),
    Recipe(
        "NodePgMigrate",
        _version_of("node-pg-migrate"),
        "npm install --silent node-pg-migrate@8 pg@8",
        "npx node-pg-migrate up --migration-file-language sql",
        {
            CLEAN: {
                "migrations/1700000000000_tickets.sql": f"-- Up Migration\n{ONE};\n",
                "migrations/1700000000001_seats.sql": f"-- Up Migration\n{TWO};\n",
            },
            NEWER: {"migrations/1700000000002_prices.sql": f"-- Up Migration\n{THREE};\n"},
            DIRTY: {"migrations/1700000000003_fails.sql": f"-- Up Migration\n{FAILS};\n"},
        },
    ),
    Recipe(
        "Knex",
        _version_of("knex"),
        "npm install --silent knex@3 pg@8",
        "npx knex migrate:latest",
        {
            CLEAN: {
                "knexfile.js": (
                    "module.exports = {client: 'pg', connection: process.env.DATABASE_URL};\n"
                ),
                "migrations/20240101000000_tickets.js": _knex(ONE),
                "migrations/20240102000000_seats.js": _knex(TWO),
            },
            NEWER: {"migrations/20240103000000_prices.js": _knex(THREE)},
            DIRTY: {
                "migrations/20240104000000_hangs.js": _knex(
                    HANGS, "exports.config = {transaction: false};\n"
                )
            },
        },
        is_killed=True,
    ),
    Recipe(
        "Sequelize",
        _version_of("sequelize-cli"),
        "npm install --silent sequelize@6 sequelize-cli@6 pg@8",
        'npx sequelize-cli db:migrate --url "$DATABASE_URL"',
        {
            CLEAN: {
                "migrations/20240101000000-tickets.js": _sequelize(ONE),
                "migrations/20240102000000-seats.js": _sequelize(TWO),
            },
            NEWER: {"migrations/20240103000000-prices.js": _sequelize(THREE)},
            DIRTY: {"migrations/20240104000000-fails.js": _sequelize(FAILS)},
        },
    ),
    Recipe(
        "TypeORM",
        _version_of("typeorm"),
        "npm install --silent typeorm@0.3 pg@8 reflect-metadata@0.2",
        "npx typeorm migration:run -d source.js",
        {
            CLEAN: {
                "source.js": _js("""
                    const { DataSource } = require("typeorm");
                    module.exports = new DataSource({
                      type: "postgres",
                      url: process.env.DATABASE_URL,
                      migrations: ["migrations/*.js"],
                    });
                """),
                "migrations/1-tickets.js": _typeorm("Tickets1700000000000", ONE),
                "migrations/2-seats.js": _typeorm("Seats1700000000001", TWO),
            },
            NEWER: {"migrations/3-prices.js": _typeorm("Prices1700000000002", THREE)},
            DIRTY: {"migrations/4-fails.js": _typeorm("Fails1700000000003", FAILS)},
        },
    ),
    Recipe(
        "Prisma",
        _version_of("prisma"),
        "npm install --silent prisma@6 @prisma/adapter-pg@6 pg@8",
        # Its engine would be a binary that no package ships; the JavaScript engine makes the same.
        "PRISMA_SCHEMA_ENGINE_BINARY=/bin/true PRISMA_QUERY_ENGINE_LIBRARY=/bin/true"
        " PRISMA_HIDE_UPDATE_MESSAGE=1 CHECKPOINT_DISABLE=1 npx prisma migrate deploy",
        {
            CLEAN: {
                "prisma.config.ts": _js("""
                    import { PrismaPg } from "@prisma/adapter-pg";
                    import pg from "pg";
                    import { defineConfig } from "prisma/config";

                    // The adapter does not know PostgreSQL's type `name` (19): give it as text.
                    const query = pg.Client.prototype.query;
                    const asText = (result) => {
                      for (const field of result?.fields ?? [])
                        if (field.dataTypeID === 19) field.dataTypeID = 25;
                      return result;
                    };
                    pg.Client.prototype.query = function (...given) {
                      const last = given.at(-1);
                      if (typeof last === "function")
                        given[given.length - 1] = (error, result) => last(error, asText(result));
                      const made = query.apply(this, given);
                      return typeof made?.then === "function" ? made.then(asText) : made;
                    };
                    export default defineConfig({
                      experimental: { adapter: true },
                      engine: "js",
                      schema: "prisma/schema.prisma",
                      adapter: async () =>
                        new PrismaPg({ connectionString: process.env.DATABASE_URL }),
                    });
                """),
                "prisma/schema.prisma": _js("""
                    datasource db {
                      provider = "postgresql"
                      url      = env("DATABASE_URL")
                    }
                """),
                "prisma/migrations/migration_lock.toml": 'provider = "postgresql"\n',
                "prisma/migrations/20240101000000_tickets/migration.sql": f"{ONE};\n",
                "prisma/migrations/20240102000000_seats/migration.sql": f"{TWO};\n",
            },
            NEWER: {"prisma/migrations/20240103000000_prices/migration.sql": f"{THREE};\n"},
            DIRTY: {"prisma/migrations/20240104000000_fails/migration.sql": f"{FAILS};\n"},
        },
    ),
    Recipe(
        "Flyway",
        f"echo flyway-maven-plugin {_FLYWAY}",
        "true",
        f'{_MAVEN} flyway:migrate -Dflyway.url="$JDBC_URL" -Dflyway.user="$PGUSER"'
        ' -Dflyway.password="$PGPASSWORD" -Dflyway.locations=filesystem:sql',
        {
            CLEAN: {
                "pom.xml": _POM.format(
                    group="org.flywaydb",
                    artifact="flyway-maven-plugin",
                    version=_FLYWAY,
                    more=_FLYWAY_POSTGRES,
                ).lstrip(),
                "sql/V1__tickets.sql": f"{ONE};\n",
                "sql/V2__seats.sql": f"{TWO};\n",
                "sql/R__view.sql": "CREATE OR REPLACE VIEW sold AS SELECT id FROM tickets;\n",
            },
            NEWER: {"sql/V10__prices.sql": f"{THREE};\n"},
            DIRTY: {"sql/V11__fails.sql": "CREATE INDEX CONCURRENTLY fails ON nowhere(id);\n"},
        },
        documented="INSERT INTO flyway_schema_history VALUES (5, '11', 'fails', 'SQL',"
        " 'V11__fails.sql', 0, 'ticket', now(), 0, false)",
    ),
    Recipe(
        "Liquibase",
        f"echo liquibase-maven-plugin {_LIQUIBASE}",
        "true",
        f'{_MAVEN} liquibase:update -Dliquibase.url="$JDBC_URL" -Dliquibase.username="$PGUSER"'
        ' -Dliquibase.password="$PGPASSWORD" -Dliquibase.changeLogFile=changelog.sql'
        " -Dliquibase.analytics.enabled=false",
        {
            CLEAN: {
                "pom.xml": _POM.format(
                    group="org.liquibase",
                    artifact="liquibase-maven-plugin",
                    version=_LIQUIBASE,
                    more="",
                ).lstrip(),
                "changelog.sql": "--liquibase formatted sql\n"
                f"--changeset shop:tickets\n{ONE};\n--changeset shop:seats\n{TWO};\n",
            },
            NEWER: {"changelog.sql+": f"--changeset shop:prices\n{THREE};\n"},
            DIRTY: {"changelog.sql+": f"--changeset shop:hangs\n{HANGS};\n"},
        },
        is_killed=True,
    ),
    Recipe(
        "Alembic",
        "echo alembic $(venv/bin/python -c 'import alembic; print(alembic.__version__)')",
        f"{_PIP} 'alembic>=1.14,<2' 'psycopg[binary]>=3.2,<4'",
        "venv/bin/alembic upgrade head",
        {
            CLEAN: {
                "alembic.ini": "[alembic]\nscript_location = migrations\n",
                "migrations/env.py": _js("""
                    import os

                    from alembic import context
                    from sqlalchemy import create_engine

                    url = os.environ["DATABASE_URL"].replace("postgresql:", "postgresql+psycopg:")
                    with create_engine(url).connect() as connection:
                        context.configure(connection=connection)
                        with context.begin_transaction():
                            context.run_migrations()
                """),
                "migrations/versions/a.py": _alembic("1a2b3c4d5e6f", None, ONE),
                "migrations/versions/b.py": _alembic("2b3c4d5e6f7a", "1a2b3c4d5e6f", TWO),
            },
            NEWER: {"migrations/versions/c.py": _alembic("3c4d5e6f7a8b", "2b3c4d5e6f7a", THREE)},
            DIRTY: {"migrations/versions/d.py": _alembic("4d5e6f7a8b9c", "3c4d5e6f7a8b", FAILS)},
        },
    ),
    Recipe(
        "Django",
        "echo django $(venv/bin/python -c 'import django; print(django.__version__)')",
        f"{_PIP} 'django>=5.2,<5.3' 'psycopg[binary]>=3.2,<4'",
        "DJANGO_SETTINGS_MODULE=settings PYTHONPATH=. venv/bin/django-admin migrate",
        {
            CLEAN: {
                "settings.py": _js("""
                    import os

                    SECRET_KEY = "lab"
                    INSTALLED_APPS = ["tickets"]
                    DATABASES = {
                        "default": {
                            "ENGINE": "django.db.backends.postgresql",
                            "NAME": os.environ["PGDATABASE"],
                            "USER": os.environ["PGUSER"],
                            "PASSWORD": os.environ["PGPASSWORD"],
                            "HOST": os.environ["PGHOST"],
                            "PORT": os.environ["PGPORT"],
                        }
                    }
                """),
                "tickets/__init__.py": "",
                "tickets/migrations/__init__.py": "",
                "tickets/migrations/0001_tickets.py": _django("", ONE),
                "tickets/migrations/0002_seats.py": _django("0001_tickets", TWO),
            },
            NEWER: {"tickets/migrations/0003_prices.py": _django("0002_seats", THREE)},
            DIRTY: {"tickets/migrations/0004_fails.py": _django("0003_prices", FAILS, False)},
        },
    ),
    Recipe(
        "GolangMigrate",
        "echo golang-migrate $(go version -m bin/migrate | awk '$1 == \"mod\" {print $3}')",
        'GOBIN="$PWD/bin" CGO_ENABLED=0 go install -tags postgres'
        " github.com/golang-migrate/migrate/v4/cmd/migrate@v4.18.3",
        'bin/migrate -path migrations -database "$DATABASE_URL?sslmode=disable" up',
        {
            CLEAN: {
                "migrations/0001_tickets.up.sql": f"{ONE};\n",
                "migrations/0002_seats.up.sql": f"{TWO};\n",
            },
            NEWER: {"migrations/0003_prices.up.sql": f"{THREE};\n"},
            DIRTY: {"migrations/0004_fails.up.sql": f"{FAILS};\n"},
        },
    ),
    Recipe(
        "Goose",
        "echo goose $(go version -m bin/goose | awk '$1 == \"mod\" {print $3}')",
        'GOBIN="$PWD/bin" CGO_ENABLED=0 go install -tags "no_clickhouse no_libsql no_mssql no_mysql'
        ' no_sqlite3 no_vertica no_ydb" github.com/pressly/goose/v3/cmd/goose@v3.24.3',
        'bin/goose -dir migrations postgres "$DATABASE_URL?sslmode=disable" up',
        {
            CLEAN: {
                "migrations/00001_tickets.sql": _goose(ONE),
                "migrations/00002_seats.sql": _goose(TWO),
            },
            NEWER: {"migrations/00003_prices.sql": _goose(THREE)},
            DIRTY: {"migrations/00004_fails.sql": _goose(FAILS, "-- +goose NO TRANSACTION\n")},
        },
    ),
    Recipe(
        "Dbmate",
        "node_modules/@dbmate/linux-x64/bin/dbmate --version",
        "npm install --silent @dbmate/linux-x64@2",
        'node_modules/@dbmate/linux-x64/bin/dbmate --url "$DATABASE_URL?sslmode=disable"'
        " --no-dump-schema --migrations-dir migrations up",
        {
            CLEAN: {
                "migrations/20240101000000_tickets.sql": _dbmate(ONE),
                "migrations/20240102000000_seats.sql": _dbmate(TWO),
            },
            NEWER: {"migrations/20240103000000_prices.sql": _dbmate(THREE)},
            DIRTY: {"migrations/20240104000000_fails.sql": _dbmate(FAILS, " transaction:false")},
        },
    ),
    Recipe(
        "Rails",
        "ruby -r active_record -e 'puts \"activerecord #{ActiveRecord.version}\"'",
        "ruby -r active_record -r pg -e '' || apt-get install -y -q --no-install-recommends"
        " ruby-activerecord ruby-pg",
        "ruby migrate.rb",
        {
            CLEAN: {
                "migrate.rb": _js("""
                    require "active_record"
                    ActiveRecord::Base.establish_connection(ENV["DATABASE_URL"])
                    ActiveRecord::MigrationContext
                      .new("db/migrate", ActiveRecord::SchemaMigration).migrate
                """),
                "db/migrate/20240101000000_tickets.rb": _rails("Tickets", ONE),
                "db/migrate/20240102000000_seats.rb": _rails("Seats", TWO),
            },
            NEWER: {"db/migrate/20240103000000_prices.rb": _rails("Prices", THREE)},
            DIRTY: {"db/migrate/20240104000000_fails.rb": _rails("Fails", FAILS)},
        },
    ),
)
