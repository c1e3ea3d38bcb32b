"""A database role for one shop alone, which can be turned away while the others go on selling."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import psycopg
from psycopg import sql

from lab.session import Session

PASSWORD = "of-this-run"


class OwnRole:
    """To its shop, PostgreSQL is gone while the role is turned away: sessions end, none begins."""

    def __init__(self, lab: Session, name: str) -> None:
        self._owner_url = lab.database_url
        self._role = name
        self._name = sql.Identifier(name)
        parts = urlsplit(lab.database_url_in_cluster)
        where = f"{parts.hostname}:{parts.port}"
        self.url = parts._replace(netloc=f"{name}:{PASSWORD}@{where}").geturl()
        owner, database = sql.Identifier(parts.username or ""), parts.path.removeprefix("/")
        password = sql.Literal(PASSWORD)
        self._run(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(self._name, password))
        # Whose member one is, their sessions one may end.
        self._run(sql.SQL("GRANT {} TO {}").format(self._name, owner))
        on = sql.Identifier(database)
        self._run(sql.SQL("GRANT CREATE ON DATABASE {} TO {}").format(on, self._name))

    @contextmanager
    def turned_away(self) -> Iterator[None]:
        self._run(sql.SQL("ALTER ROLE {} NOLOGIN").format(self._name))
        name = sql.Literal(self._role)
        self._run(
            sql.SQL(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = {}"
            ).format(name)
        )
        try:
            yield
        finally:
            self._run(sql.SQL("ALTER ROLE {} LOGIN").format(self._name))

    def _run(self, statement: sql.Composed) -> None:
        with psycopg.connect(self._owner_url, autocommit=True) as connection:
            connection.execute(statement)
