"""A real Alertmanager on a free port, with the configuration its caller gives."""

from __future__ import annotations

from lab.access import http_ok
from lab.binaries import programs
from lab.ports import free_ports
from lab.workspace import Occupant, Program, Workspace

NAME = "alertmanager"


class Alertmanager(Occupant):
    """An Alertmanager for the time of a `with` block."""

    def __init__(self, config: str, workspace: Workspace | None = None) -> None:
        self._program = programs(NAME) / NAME
        self._config = config
        super().__init__(workspace, NAME)
        self.url = f"http://127.0.0.1:{free_ports(1)[0]}"

    def _open(self) -> None:
        directory = self._workspace.directory / NAME
        directory.mkdir()
        (directory / "alertmanager.yml").write_text(self._config)
        argv = (
            str(self._program),
            f"--config.file={directory}/alertmanager.yml",
            f"--storage.path={directory}/data",
            f"--web.listen-address={self.url.removeprefix('http://')}",
            "--cluster.listen-address=",  # it has no peers
            "--log.level=warn",
        )
        keeper = self._workspace.keeper
        keeper.start(Program(NAME, argv))
        keeper.wait("Alertmanager", lambda: http_ok(f"{self.url}/-/ready"), needs=(NAME,))
