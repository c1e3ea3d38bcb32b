"""A person at a shell, with the rights that a Role gives and no others."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lab import session
from lab.session import Session

GROUP = "rollback.tickettoken.io"
LIMIT_SECONDS = 120


@dataclass(frozen=True)
class Person:
    lab: Session
    namespace: str
    name: str

    def may(self, rights: Mapping[str, Sequence[str]]) -> None:
        """Give rights: verbs by resource, as `deployments.apps` or `secrets:ticket-probe`."""
        for place, (resource, verbs) in enumerate(rights.items()):
            role = f"{self.name}-{place}"
            kind, _, name = resource.partition(":")
            named = [f"--resource-name={name}"] if name else []
            asked = [f"--verb={','.join(verbs)}", f"--resource={kind}", *named]
            self._as_administrator("create", "role", role, *asked)
            self._as_administrator(
                "create", "rolebinding", role, f"--role={role}", f"--user={self.name}"
            )

    def may_view(self) -> None:
        """Give what Kubernetes' own role `view` gives."""
        self._as_administrator(
            "create",
            "rolebinding",
            f"{self.name}-view",
            "--clusterrole=view",
            f"--user={self.name}",
        )

    def does(self, *arguments: str, document: str | None = None) -> str:
        """Call kubectl; what it says where it succeeds."""
        result = self._run(arguments, document)
        assert result.returncode == 0, result.stderr
        return result.stdout

    def is_refused(self, *arguments: str, document: str | None = None) -> str:
        """Call kubectl; what it says where it fails."""
        result = self._run(arguments, document)
        assert result.returncode != 0, result.stdout
        return result.stdout + result.stderr

    def _run(
        self, arguments: Sequence[str], document: str | None
    ) -> subprocess.CompletedProcess[str]:
        who = [f"--namespace={self.namespace}", f"--as={self.name}"]
        argv, environment = session.command_in(self.lab, ["kubectl", *arguments, *who])
        return subprocess.run(
            argv,
            env=environment,
            input=document,
            stdin=subprocess.DEVNULL if document is None else None,
            capture_output=True,
            text=True,
            check=False,
            timeout=LIMIT_SECONDS,
        )

    def _as_administrator(self, *arguments: str) -> None:
        self.lab.kubectl("-n", self.namespace, *arguments)
