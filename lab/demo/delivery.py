"""How images come to a cluster's nodes, and a look at each node whether they are there."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab import images
from lab.demo.context import Context
from lab.demo.play import BAD, GOOD
from lab.demo.removal import NAMESPACE
from lab.errors import LabError
from lab.images import buildah
from lab.tickets import wait_for

OPERATOR = "rollback-operator:dev"
SERVERS = "demo-servers:1"
NEEDED = (OPERATOR, f"ticket-service:{GOOD}", f"ticket-service:{BAD}", SERVERS)
ARCHIVES = ("rollback-operator", "ticket-service", "demo-servers")
LOCAL = "localhost"
ARRIVAL_SECONDS = 300
# What a kubelet says when it will not get an image, or has tried more than once.
HOPELESS = {"ErrImageNeverPull", "ImagePullBackOff", "InvalidImageName"}
UNPRIVILEGED = {
    "runAsNonRoot": True,
    "runAsUser": 65532,
    "runAsGroup": 65532,
    "fsGroup": 65532,
    "seccompProfile": {"type": "RuntimeDefault"},
}
RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


@dataclass(frozen=True)
class Images:
    """Where pods find the images: in a registry, or on the nodes under names that none serves."""

    prefix: str = LOCAL

    @property
    def are_local(self) -> bool:
        return self.prefix == LOCAL

    @property
    def pull_policy(self) -> str:
        # A tag may have been pushed before, with older contents.
        return "Never" if self.are_local else "Always"

    def reference(self, image: str) -> str:
        """The whole name of an image such as `demo-servers:1`."""
        return f"{self.prefix}/{image}"

    def container(self, name: str, image: str) -> dict[str, Any]:
        """What every container of the demo has."""
        return {
            "name": name,
            "image": self.reference(image),
            "imagePullPolicy": self.pull_policy,
            "securityContext": RESTRICTED,
        }


def archives() -> dict[str, Path]:
    """All archives, built now where their inputs have changed."""
    return {name: images.build(name) for name in ARCHIVES}


def push(built: Mapping[str, Path], to: Images) -> None:
    """Push each image that is needed; LabError with the registry's words."""
    for image in NEEDED:
        archive = built[image.partition(":")[0]]
        buildah.publish(archive, f"{LOCAL}/{image}", to.reference(image))


def loading(built: Sequence[Path]) -> str:
    """How a person gives the images to nodes, for those who come without a registry."""
    each = "\n".join(f"  {path}" for path in built)
    return (
        f"The nodes need the images (for {architecture()}) in these archives:\n"
        f"{each}\n"
        "Load each FILE, and again after every change:\n"
        "  k3s, on each node           k3s ctr images import FILE\n"
        "  minikube                    minikube image load FILE\n"
        "  containerd, on each node    ctr --namespace=k8s.io images import FILE\n"
        "or let the demo push them to a registry that the nodes can pull from:\n"
        "  make demo CLUSTER=current IMAGES=REGISTRY/PREFIX"
    )


def await_arrival(context: Context, wanted: Images, remedy: str) -> None:
    """Wait until every node that takes pods has all images.

    Raises:
        LabError: one cannot be had; says which, on which node, and the remedy.
    """
    context.kubectl("apply", "--server-side", "-f", "-", input=json.dumps(_probe(wanted)))

    def look() -> bool:
        pods = context.find("pods", f"--namespace={NAMESPACE}", "--selector=app=images")
        missing = sorted({each for pod in pods for each in _missing(pod)})
        if missing:
            raise LabError(f"images are missing: {'; '.join(missing)}.\n{remedy}")
        (probe,) = context.find("daemonset", "images", f"--namespace={NAMESPACE}")
        status = probe["status"]
        return 0 < status["desiredNumberScheduled"] == status.get("numberReady")

    wait_for("all images on each node", ARRIVAL_SECONDS, look)
    context.kubectl("delete", "daemonset", "images", f"--namespace={NAMESPACE}")


def _missing(pod: Mapping[str, Any]) -> list[str]:
    node = pod["spec"].get("nodeName")
    found = []
    for each in pod["status"].get("containerStatuses", []):
        waiting = each["state"].get("waiting", {})
        if waiting.get("reason") in HOPELESS:
            found.append(f"{each['image']} on node {node} ({waiting['reason']})")
    return found


def _probe(wanted: Images) -> dict[str, Any]:
    """One pod on each node, with a container of each image that does nothing."""
    labels = {"app": "images"}
    containers = [
        wanted.container(f"image-{number}", image) | {"command": ["sleep", "infinity"]}
        for number, image in enumerate(NEEDED)
    ]
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": "images", "namespace": NAMESPACE, "labels": labels},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "automountServiceAccountToken": False,
                    "terminationGracePeriodSeconds": 1,
                    "securityContext": UNPRIVILEGED,
                    "containers": containers,
                },
            },
        },
    }


def architecture() -> str:
    """What the images are made for, as Kubernetes calls it."""
    machine = platform.machine()
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)
