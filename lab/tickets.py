"""The ticket service in a namespace of a lab, and the operator beside it: what demo, e2e and
benchmark have in common. Everything goes through kubectl, as a person would do it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab import chart
from lab.errors import LabError
from lab.loadgen.load import Load
from lab.session import Session

TOKEN = "lab-token"  # noqa: S105 (of a cluster that ends with the run)
MANIFEST = Path(__file__).parent / "manifests" / "ticket-service.yaml"
OPERATOR = "rollback-operator"
ROLLOUT_SECONDS = 180


def wait_for(what: str, seconds: float, look: Callable[[], Any]) -> Any:
    """Look until the answer is true.

    Raises:
        LabError: it was not within `seconds`; says what was awaited and what was seen last.
    """
    until = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > until:
            raise LabError(f"waited {seconds:.0f} s for {what}; last seen: {found!r}")
        time.sleep(0.2)


def install_operator(
    lab: Session, archive: Path, values: Mapping[str, Any] | None = None
) -> None:
    """Install the chart with the image in an archive, and wait until it leads."""
    lab.import_image(archive)
    settings = chart.merged(
        {
            "image": {"repository": "localhost/rollback-operator", "tag": "dev"},
            "prometheus": {"url": lab.prometheus_url_in_cluster},
            "lease": {"seconds": 5},
        },
        values or {},
    )
    objects = [*chart.crds(), chart.namespace(OPERATOR)]
    objects += chart.rendered(settings, name=OPERATOR, namespace=OPERATOR)
    lab.kubectl("apply", "--server-side", "-f", "-", input=chart.stream(objects))
    lab.kubectl("label", "namespace", OPERATOR, "pod-security.kubernetes.io/enforce=restricted")
    wait = f"--timeout={ROLLOUT_SECONDS}s"
    lab.kubectl("rollout", "status", f"deployment/{OPERATOR}", "-n", OPERATOR, wait)


@dataclass
class TicketService:
    """One ticket service in a namespace of its own."""

    lab: Session
    namespace: str
    replicas: int = 4

    def deploy(self, version: str) -> None:
        """Make the namespace and roll a first release out."""
        document = json.dumps(
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}}
        )
        self.lab.kubectl("apply", "-f", "-", input=document)
        self.kubectl(
            "create",
            "secret",
            "generic",
            "ticket-service",
            f"--from-literal=DATABASE_URL={self.lab.database_url_in_cluster}",
            f"--from-literal=API_TOKEN={TOKEN}",
        )
        text = MANIFEST.read_text().replace("replicas: 4", f"replicas: {self.replicas}")
        self.kubectl("apply", "-f", "-", input=text.replace(":v1.2.3", f":{version}"))
        self.wait_rolled_out()

    def release(self, version: str) -> None:
        """Roll a release out, as a pipeline would."""
        image = f"ticket-service=localhost/ticket-service:{version}"
        self.kubectl("set", "image", "deployment/ticket-service", image)

    def wait_rolled_out(self) -> None:
        """Wait until the rollout is complete."""
        wait = f"--timeout={ROLLOUT_SECONDS}s"
        self.kubectl("rollout", "status", "deployment/ticket-service", wait)

    def apply_policy(self, spec: Mapping[str, Any] | None = None, name: str = "tickets") -> None:
        """Apply a policy on the ticket service; `spec` adds to the least that it needs."""
        document = {
            "apiVersion": "rollback.tickettoken.io/v1alpha1",
            "kind": "RollbackPolicy",
            "metadata": {"name": name},
            "spec": {"targetRef": {"name": "ticket-service"}, "mode": "Enforce", **(spec or {})},
        }
        self.kubectl("apply", "-f", "-", input=json.dumps(document))

    def load(self, rate: float, folder: Path) -> Load:
        """Make a load of buyers, through the Service."""
        address = self.kubectl(
            "get", "service", "ticket-service", "-o", "jsonpath={.spec.clusterIP}"
        ).strip()
        return Load(f"http://{address}", TOKEN, folder, rate, self.lab.network_prefix())

    def image(self) -> str:
        """The image that the Deployment wants now."""
        path = "jsonpath={.spec.template.spec.containers[0].image}"
        return self.kubectl("get", "deployment", "ticket-service", "-o", path).rsplit(":", 1)[-1]

    def policy(self, name: str = "tickets") -> dict[str, Any]:
        """The policy as it stands."""
        return dict(json.loads(self.kubectl("get", "rollbackpolicy", name, "-o", "json")))

    def rollbacks(self) -> list[dict[str, Any]]:
        """All Rollbacks of the namespace, oldest first."""
        found = json.loads(self.kubectl("get", "rollbacks", "-o", "json"))["items"]
        return sorted(found, key=lambda one: one["spec"]["trigger"]["decidedTime"])

    def kubectl(self, *arguments: str, input: str | None = None) -> str:  # noqa: A002 (as Session)
        """Run kubectl in the namespace."""
        return self.lab.kubectl("-n", self.namespace, *arguments, input=input)
