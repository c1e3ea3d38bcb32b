"""A real PostgreSQL 15 with the database `tickettoken`, owned by the role `ticket`.

Own data folder and port; the machine's instance, if there is one, is left alone. Nothing is
flushed to disk: the data goes with the lab.
"""

from __future__ import annotations

import os
import pwd
import secrets
import signal
import subprocess
from pathlib import Path

from lab import packages
from lab.errors import LabError
from lab.ports import free_ports
from lab.workspace import KeeperClient, Occupant, Program, Workspace

PROGRAMS = Path("/usr/lib/postgresql/15/bin")
DATABASE = "tickettoken"
OWNER = "ticket"
NAME = "postgres"
# Roles of the lab come in with a password over TCP, the superuser through the socket only.
ACCESS = "local all all trust\nhost all all 0.0.0.0/0 scram-sha-256\n"


class Postgres(Occupant):
    """A PostgreSQL for the time of a `with` block.

    `listen` is a list of addresses; clients are told the first. `keeper` starts it elsewhere than
    in the workspace's own namespaces.
    """

    def __init__(
        self,
        workspace: Workspace | None = None,
        keeper: KeeperClient | None = None,
        listen: str = "127.0.0.1",
        port: int | None = None,
    ) -> None:
        packages.ensure(packages.POSTGRES)
        super().__init__(workspace, "postgres")
        self._keeper = keeper or self._workspace.keeper
        self._listen = listen
        self.host = listen.split(",", maxsplit=1)[0]
        self.port = port or free_ports(1)[0]
        self.password = secrets.token_hex(12)
        # It refuses to run as root.
        self._user = "postgres" if os.geteuid() == 0 else None

    @property
    def directory(self) -> Path:
        return self._workspace.directory / NAME

    @property
    def url(self) -> str:
        """DSN of the owner, who may also make roles and databases."""
        return self.url_at(self.host, self.port)

    def url_at(self, host: str, port: int) -> str:
        """The owner's DSN under another name of the server, such as a Service's."""
        return f"postgresql://{OWNER}:{self.password}@{host}:{port}/{DATABASE}"

    def _open(self) -> None:
        self.begin()
        self.wait()

    def begin(self) -> None:
        """Make the data folder and start the server, without waiting for it."""
        self.directory.mkdir()
        if self._user:
            account = pwd.getpwnam(self._user)
            os.chown(self.directory, account.pw_uid, account.pw_gid)
        data = self.directory / "data"
        encoding = ("-E", "UTF8", "--locale=C.UTF-8")
        self._run("initdb", "-D", str(data), "-U", NAME, "--no-sync", *encoding)
        (data / "pg_hba.conf").write_text(ACCESS)
        settings = {
            "listen_addresses": self._listen,
            "port": str(self.port),
            "unix_socket_directories": str(self.directory),
            "fsync": "off",
            "full_page_writes": "off",
        }
        flags = [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
        argv = (str(PROGRAMS / "postgres"), "-D", str(data), *flags)
        self._keeper.start(Program(NAME, argv, user=self._user))

    def wait(self) -> None:
        """Wait until it answers, then make role and database."""
        self._wait_until_it_answers()
        self._psql(f"CREATE ROLE {OWNER} LOGIN CREATEROLE CREATEDB PASSWORD '{self.password}'")
        self._psql(f"CREATE DATABASE {DATABASE} OWNER {OWNER}")

    def stop(self) -> None:
        """Break off its connections and end it, with all that was committed kept."""
        self._keeper.stop(NAME, signal.SIGINT)

    def start(self) -> None:
        """Start it again on the same address, with its data; returns when it answers."""
        self._keeper.start_again(NAME)
        self._wait_until_it_answers()

    def _wait_until_it_answers(self) -> None:
        program = str(PROGRAMS / "pg_isready")
        argv = [program, "-q", "-h", str(self.directory), "-p", str(self.port)]
        self._keeper.wait(
            "PostgreSQL",
            lambda: subprocess.run(argv, check=False).returncode == 0,
            needs=(NAME,),
        )

    def _psql(self, statement: str) -> None:
        socket_folder, port = str(self.directory), str(self.port)
        self._run("psql", "-X", "-q", "-h", socket_folder, "-p", port, "-U", NAME, "-c", statement)

    def _run(self, name: str, *arguments: str) -> None:
        if not (PROGRAMS / name).is_file():
            raise LabError(f"{PROGRAMS}/{name} is missing; install the package postgresql-15")
        result = subprocess.run(
            [str(PROGRAMS / name), *arguments],
            user=self._user,
            group=self._user,
            extra_groups=[] if self._user else None,
            cwd="/",
            env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C.UTF-8"},
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode != 0:
            raise LabError(f"{name} failed ({result.returncode}): {result.stderr.strip()}")
