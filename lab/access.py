"""How programs and people reach a lab's API server: kubeconfigs, kubectl, readiness."""

from __future__ import annotations

import http.client
import json
import os
import ssl
import subprocess
import time
import urllib.parse
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.errors import LabError

CRD_SECONDS = 120
TOKEN_HOURS = 24
KUBECTL_SECONDS = 300


@dataclass(frozen=True)
class Access:
    """One API server, the administrator's kubeconfig for it, and how to run kubectl against it.

    `prefix` is put before a command that must reach the server: empty, or `nsenter ...`.
    """

    directory: Path
    server: str
    kubeconfig: Path
    kubectl_path: Path
    prefix: tuple[str, ...] = ()

    def kubectl(self, *arguments: str, input: str | None = None) -> str:  # noqa: A002
        """Run kubectl as administrator; its output, or a LabError with what it said."""
        argv = [*self.prefix, str(self.kubectl_path), "--kubeconfig", str(self.kubeconfig)]
        # kubectl keeps what it discovered; one folder per lab, since addresses repeat.
        environment = {**os.environ, "KUBECACHEDIR": str(self.directory / "kubectl-cache")}
        return run_kubectl(argv, arguments, input, environment)

    def service_account_kubeconfig(self, namespace: str, name: str) -> Path:
        """A kubeconfig with a real token of the ServiceAccount, which must exist."""
        token = self.kubectl(
            "create", "token", name, "--namespace", namespace, f"--duration={TOKEN_HOURS}h"
        ).strip()
        path = self.directory / f"kubeconfig-{namespace}-{name}"
        authority = self.directory / "pki" / "apiserver.crt"
        write_kubeconfig(path, self.server, token, authority)
        return path


def wait_for_crds(kubectl: Callable[..., str], names: Iterable[str]) -> None:
    """Wait until the API server serves the resources of these CustomResourceDefinitions.

    `kubectl wait` fails where a definition is so new that its status has no conditions. Discovery,
    by which kubectl knows short names, follows a moment later.
    """
    end = time.monotonic() + CRD_SECONDS
    missing = set(names)
    while True:
        missing = {name for name in missing if not _is_served(kubectl, name)}
        if not missing:
            return
        if time.monotonic() > end:
            raise LabError(f"not served after {CRD_SECONDS} s: {', '.join(sorted(missing))}")
        time.sleep(0.1)


def _is_served(kubectl: Callable[..., str], name: str) -> bool:
    found = json.loads(kubectl("get", f"crd/{name}", "--output=json"))
    is_established = any(
        condition["type"] == "Established" and condition["status"] == "True"
        for condition in found.get("status", {}).get("conditions") or ()
    )
    if not is_established:
        return False
    group = f"--api-group={name.partition('.')[2]}"
    return name in kubectl("api-resources", group, "--output=name").split()


def run_kubectl(
    program: Sequence[str],
    arguments: Sequence[str],
    text: str | None = None,
    environment: Mapping[str, str] = os.environ,
) -> str:
    """Run kubectl, with a text as its input; its output, or a LabError with what it said."""
    command = " ".join(arguments)
    try:
        result = subprocess.run(
            [*program, *arguments],
            input=text,
            stdin=subprocess.DEVNULL if text is None else None,
            capture_output=True,
            text=True,
            check=False,
            timeout=KUBECTL_SECONDS,
            env=environment,
        )
    except subprocess.TimeoutExpired as error:
        raise LabError(f"kubectl {command} has not ended within {KUBECTL_SECONDS} s") from error
    if result.returncode != 0:
        raise LabError(f"kubectl {command} failed ({result.returncode}): {result.stderr.strip()}")
    return result.stdout


def write_kubeconfig(path: Path, server: str, token: str, authority: Path) -> None:
    """A kubeconfig in JSON, which is YAML; readable by its owner only."""
    name = "lab"
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": name,
        "clusters": [
            {"name": name, "cluster": {"server": server, "certificate-authority": str(authority)}}
        ],
        "users": [{"name": name, "user": {"token": token}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
    }
    path.touch(mode=0o600)
    path.write_text(json.dumps(document, indent=2))


def apply_list(access: Access, objects: Sequence[Mapping[str, Any]]) -> None:
    """Apply several objects with one kubectl call."""
    document = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
    access.kubectl("apply", "--server-side", "-f", "-", input=json.dumps(document))


def http_ok(url: str, token: str = "") -> bool:
    """Whether the address answers 200 now; certificates are not checked, this only waits."""
    parts = urllib.parse.urlsplit(url)
    address = (parts.hostname or "", parts.port)
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        connection = http.client.HTTPSConnection(*address, timeout=5, context=context)
    else:
        connection = http.client.HTTPConnection(*address, timeout=5)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        connection.request("GET", parts.path, headers=headers)
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
