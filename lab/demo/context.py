"""One context of the user's kubeconfig, by its name: it stays whatever becomes current later."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lab.access import run_kubectl
from lab.binaries import control_plane_program
from lab.demo.stage import RefusedError
from lab.errors import LabError
from lab.session import PLUGINS

ANSWER_SECONDS = 10


@dataclass(frozen=True)
class Right:
    """One thing to do, such as `create` with `deployments.apps` or `pods/exec`."""

    verb: str
    resource: str
    namespace: str = ""
    """Empty: in the whole cluster."""

    def question(self) -> dict[str, Any]:
        """The API server's form of the question whether one may.

        kubectl's own takes no resource that is still to be defined.
        """
        name, _, group = self.resource.partition(".")
        resource, _, part = name.partition("/")
        asked = {"verb": self.verb, "group": group, "resource": resource, "subresource": part}
        return {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {**asked, "namespace": self.namespace}},
        }


@dataclass(frozen=True)
class Context:
    """A cluster as the user's own kubectl reaches it."""

    name: str
    server: str

    def kubectl(self, *arguments: str, input: str | None = None) -> str:  # noqa: A002 (as Session)
        """Run kubectl; its output, or a LabError with what it said."""
        return run_kubectl([program(), f"--context={self.name}"], arguments, input)

    def get(self, path: str) -> dict[str, Any]:
        """Read an object or a list by its path on the API server; LabError where that fails."""
        return dict(json.loads(self.kubectl("get", "--raw", path)))

    def find(self, *arguments: str, input: str | None = None) -> list[dict[str, Any]]:  # noqa: A002
        """What `kubectl get ARGUMENTS` finds; nothing found is no error."""
        found = self.kubectl("get", *arguments, "--ignore-not-found", "-o", "json", input=input)
        document = json.loads(found or '{"items": []}')
        return list(document.get("items", [document]))

    def version(self) -> str:
        """The API server's version; RefusedError where it does not answer."""
        try:
            limit = f"--request-timeout={ANSWER_SECONDS}s"
            return str(json.loads(self.kubectl("get", "--raw", "/version", limit))["gitVersion"])
        except LabError as error:
            raise RefusedError(
                f"the API server {self.server} cannot be reached in the context {self.name}. Is "
                f"the cluster up, and does `kubectl --context={self.name} version` work? {error}"
            ) from error

    def lacking(self, rights: Sequence[Right]) -> list[Right]:
        """Those that the user has not, by the API server's own word (as `kubectl auth can-i`)."""
        document = {"apiVersion": "v1", "kind": "List", "items": [one.question() for one in rights]}
        shown = 'jsonpath={.status.allowed}{"\\n"}'
        answers = self.kubectl("create", "-f", "-", "-o", shown, input=json.dumps(document)).split()
        return [one for one, told in zip(rights, answers, strict=True) if told != "true"]

    def show(self, arguments: Sequence[str]) -> None:
        """Run kubectl, or its plugin, as anybody would who looks; LabError where it fails."""
        command = ["kubectl", *arguments, f"--context={self.name}"]
        print(f"\n$ {' '.join(command)}", flush=True)
        folders = [str(PLUGINS), os.environ.get("PATH", "")]
        environment = {**os.environ, "PATH": os.pathsep.join(folders)}
        if subprocess.run([program(), *command[1:]], env=environment, check=False).returncode != 0:
            raise LabError(f"{' '.join(command)} failed; see its output above")


def program() -> str:
    """The kubectl of the user's PATH; the lab's own where there is none."""
    return shutil.which("kubectl") or str(control_plane_program("kubectl"))


def current() -> Context:
    """The user's current context; RefusedError where there is none."""
    return named("")


def named(name: str) -> Context:
    """One context of the user's kubeconfig; RefusedError where there is no such context."""
    chosen = [f"--context={name}"] if name else []
    try:
        text = run_kubectl([program()], ["config", "view", "--minify", "-o", "json", *chosen])
        found = json.loads(text)
        server = found["clusters"][0]["cluster"]["server"]
        return Context(found["current-context"], server)
    except (LabError, KeyError, IndexError, TypeError) as error:
        raise RefusedError(
            f"kubectl has no {f'context {name}' if name else 'current context'}: set KUBECONFIG, "
            f"or choose one with `kubectl config use-context NAME` ({error})"
        ) from error
