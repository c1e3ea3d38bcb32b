"""The story on a lab: a new cluster with one node on this machine."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import psycopg

from lab import binaries, cli, images, machine, session
from lab.demo.stage import SOLD, Customers
from lab.errors import LabError
from lab.namespace import network_of
from lab.session import Session
from lab.story import Story
from lab.tickets import Operator, TicketService, install_operator
from lab.workspace import base_folder, is_alive

NAME = "demo"
NAMESPACE = "production"
PROGRAMS = ("cluster", "coredns", "prometheus")


class LabStage:
    """A lab of its own, under the name `demo`."""

    farewell = (
        "The cluster stays up: `make demo-shell` opens a shell for it, `make demo-down` removes it."
    )

    def __init__(self) -> None:
        self._folder = base_folder() / NAME
        self._operator: Operator | None = None

    @property
    def tickets(self) -> TicketService:
        return TicketService(self._lab, NAMESPACE)

    @property
    def operator(self) -> Operator:
        return Operator(self._lab)

    @property
    def _lab(self) -> Session:
        return session.read(self._folder)

    def prepare(self, story: Story) -> None:
        machine.require_node_support()
        archives = self._build(story)
        self._start(story)
        story.say(
            "Installing the operator from its chart: one pod with its own service account, in a "
            "namespace for restricted pods only."
        )
        self._lab.import_image(archives["ticket-service"])
        self._operator = install_operator(
            self._lab, archives["rollback-operator"], {"lease": {"seconds": 15}}
        )

    def policy(self, text: str) -> str:
        return text

    @contextmanager
    def customers(self, rate: float) -> Iterator[Customers]:
        folder = self._folder / "load"
        folder.mkdir(exist_ok=True)
        with self.tickets.load(rate, folder) as load:
            yield load

    def purchases(self) -> int:
        lab = self._lab
        try:
            with network_of(lab.node_pid), psycopg.connect(lab.database_url) as database:
                row = database.execute(SOLD.format(namespace=NAMESPACE).encode()).fetchone()
        except psycopg.Error as error:
            raise LabError(f"the purchases cannot be counted: {error}") from error
        assert row is not None
        return int(row[0])

    def show(self, arguments: Sequence[str]) -> None:
        argv, environment = session.command_in(self._lab, ["kubectl", *arguments])
        print(f"\n$ kubectl {' '.join(arguments)}", flush=True)
        if subprocess.run(argv, env=environment, check=False).returncode != 0:
            raise LabError(f"kubectl {' '.join(arguments)} failed; see its output above")

    def evidence(self) -> Mapping[str, Callable[[], str]]:
        if self._operator is None:
            return {}
        return {
            "Policies and Rollbacks": lambda: self.tickets.kubectl(
                "describe", "rollbackpolicies,rollbacks"
            ),
            "The end of the operator's log": self._operator.log,
        }

    def _build(self, story: Story) -> Mapping[str, Path]:
        left = binaries.missing(PROGRAMS)
        if left:
            minutes = sum(one.minutes for one in left)
            story.say(
                f"Building {len(left)} programs from source, once on this machine: about "
                f"{minutes:g} minutes on two cores."
            )
        for number, one in enumerate(left, 1):
            story.say(f"{number} of {len(left)}: {one.what}, about {one.minutes:g} min.")
            binaries.programs(one.name)
        story.say(
            "Building two container images, the ticket shop and the operator: about a minute."
        )
        with story.waiting("still building container images"):
            return {name: images.build(name) for name in ("ticket-service", "rollback-operator")}

    def _start(self, story: Story) -> None:
        if self._folder.is_dir() and is_alive(self._folder):
            story.say("Replacing the cluster of an earlier demo.")
            cli.main(["down", NAME])
        story.say("Starting a real Kubernetes with one node, Prometheus and PostgreSQL ...")
        if cli.main(["up", NAME]) != 0:
            raise LabError("the cluster did not start; see the reason above")
        # Who looks around in it means the shop.
        file = self._lab.kubeconfig
        known = json.loads(file.read_text())  # kubectl itself would write YAML
        known["contexts"][0]["context"]["namespace"] = NAMESPACE
        file.write_text(json.dumps(known))
