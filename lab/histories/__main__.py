"""`make histories`: install each migration tool, run it on the lab's PostgreSQL, and dump.

Writes tests/integration/histories/TOOL.sql, which the tests read; only the tool's own tables are in
it. A tool that cannot be had here leaves its file as it is, and the command fails at its end.

    python -m lab.histories [PRESET ...]
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
from psycopg import sql

from lab.binaries import cache_folder, say
from lab.errors import LabError
from lab.histories.recipes import CLEAN, DIRTY, HANGS, RECIPES, STAGES, Recipe
from lab.postgres_server import PROGRAMS, Postgres
from rollback_operator.adapters.postgres.presets import names_to_find

ROOT = Path(__file__).parents[2]
TARGET = ROOT / "tests" / "integration" / "histories"
TICKET_SERVICE = ROOT / "lab" / "ticket-service"
SECONDS = 900
"""For each command of a tool, its downloads included."""
MARK = "-- == "
_MACHINE = re.compile(r"'[^' ]+ \(\d+(?:\.\d+){3}\)'")
"""What Liquibase says of the machine that holds its lock."""
_NOISE = ("--", "SET ", "SELECT pg_catalog.set_config", "\\")


class Maker:
    """Makes the history of a tool in its own database."""

    def __init__(self, server: Postgres, recipe: Recipe) -> None:
        self._recipe = recipe
        self._database = f"history_{recipe.preset.lower()}"
        self._folder = cache_folder() / "histories" / recipe.preset.lower()
        whole = urlsplit(server.url)
        self._url = server.url.rpartition("/")[0] + f"/{self._database}"
        with psycopg.connect(server.url, autocommit=True) as connection:
            name = sql.Identifier(self._database)
            connection.execute(sql.SQL("CREATE DATABASE {}").format(name))
        self._environment = os.environ | {
            "DATABASE_URL": self._url,
            "JDBC_URL": f"jdbc:postgresql://{server.host}:{server.port}/{self._database}",
            "PGHOST": server.host,
            "PGPORT": str(server.port),
            "PGUSER": str(whole.username),
            "PGPASSWORD": str(whole.password),
            "PGDATABASE": self._database,
            "DATABASE_SCHEMA": "public",
            "CI": "true",
        }

    def make(self) -> None:
        """Run all stages and write the dump."""
        self._lay_out()
        parts = []
        for stage in STAGES:
            self._write(stage)
            self._run_stage(stage)
            parts.append(f"{MARK}{stage}\n{self._dump()}")
        made_by = self._run(self._recipe.version).stdout.strip().splitlines()[-1]
        note = "the mark of its failure by its documentation, " if self._recipe.documented else ""
        header = f"-- Made by `make histories`, {note}with {made_by}\n"
        TARGET.joinpath(f"{self._recipe.preset}.sql").write_text(header + "".join(parts))

    def _lay_out(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
        if self._recipe.preset == "SchemaMigrations":
            shutil.copytree(TICKET_SERVICE, self._folder)
        self._folder.mkdir(parents=True, exist_ok=True)
        self._write(CLEAN)
        installed = self._run(self._recipe.install)
        if installed.returncode:
            raise LabError(f"not installed:\n{(installed.stdout + installed.stderr)[-2000:]}")

    def _write(self, stage: str) -> None:
        for path, text in self._recipe.files[stage].items():
            file = self._folder / path.removesuffix("+")
            file.parent.mkdir(parents=True, exist_ok=True)
            is_more = path.endswith("+")
            file.write_text((file.read_text() if is_more else "") + text)

    def _run_stage(self, stage: str) -> None:
        release = self._folder / "release"
        if release.is_file():
            self._environment["RELEASE"] = release.read_text()
        if stage == DIRTY and self._recipe.is_killed:
            self._kill_midway()
            return
        done = self._run(self._recipe.run)
        if bool(done.returncode) is (stage != DIRTY):
            raise LabError(f"{stage}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"[-3000:])
        if stage == DIRTY and self._recipe.documented:
            with psycopg.connect(self._url, autocommit=True) as connection:
                connection.execute(self._recipe.documented)

    def _kill_midway(self) -> None:
        process = subprocess.Popen(
            self._recipe.run,
            shell=True,
            cwd=self._folder,
            env=self._environment,
            start_new_session=True,
        )
        try:
            self._wait_for_the_migration()
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )

    def _wait_for_the_migration(self) -> None:
        asked = (
            "SELECT 1 FROM pg_stat_activity WHERE state = 'active' AND pid <> pg_backend_pid()"
            " AND query LIKE %s"
        )
        with psycopg.connect(self._url, autocommit=True) as connection:
            for _ in range(SECONDS * 10):
                if connection.execute(asked, [f"%{HANGS}%"]).fetchone():
                    return
                time.sleep(0.1)
        raise LabError("its migration did not begin")

    def _dump(self) -> str:
        with psycopg.connect(self._url) as connection:
            rows = connection.execute(
                "SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = 'public'"
                " AND tablename = ANY(%s)",
                [names_to_find("")],
            ).fetchall()
        tables = [part for (name,) in rows for part in ("-t", f"public.{name}")]
        flags = ("--inserts", "--no-owner", "--no-privileges", "--no-comments")
        program = str(PROGRAMS / "pg_dump")
        done = subprocess.run(
            [program, *flags, *tables, self._url], capture_output=True, text=True, check=True
        )
        lines = done.stdout.splitlines()
        text = "".join(f"{line}\n" for line in lines if line and not line.startswith(_NOISE))
        return _MACHINE.sub("'lab (192.0.2.1)'", text)

    def _run(self, command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            shell=True,
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )


def main() -> int:
    """Make the histories of all tools, or of those that are named."""
    TARGET.mkdir(exist_ok=True)
    wanted, failed = sys.argv[1:], []
    with Postgres() as server:
        for recipe in RECIPES:
            if wanted and recipe.preset not in wanted:
                continue
            begun = time.monotonic()
            try:
                Maker(server, recipe).make()
                say(f"{recipe.preset}: made in {time.monotonic() - begun:.0f} s")
            except (LabError, OSError, subprocess.SubprocessError) as error:
                failed.append(recipe.preset)
                say(f"{recipe.preset}: {error}")
    if failed:
        say(f"not made, the files are as they were: {', '.join(failed)}")
    return len(failed)


if __name__ == "__main__":
    sys.exit(main())
