"""What is released, and the truth about it, which nobody inside the simulation is told."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache
from typing import Any

from rollback_operator.adapters.kube.projections.templates import template_of

PURCHASE, LIST = "/api/v1/tickets/purchase", "/api/v1/tickets"
ROUTES = {PURCHASE: 0.6, LIST: 0.4}
PORT = 8080


class Truth(StrEnum):
    """How a release is."""

    HEALTHY = "healthy"
    FAILING = "failing"
    """Its pods are ready and fail a share of their requests from the first one on."""
    CRASHING = "crashing"
    """Its containers end a moment after their start."""
    UNREADY = "unready"
    """Its containers run and never become ready."""
    RESTARTING = "restarting"
    """Its pods serve, and their containers end now and then: looked into, not taken back."""


@dataclass(frozen=True, slots=True)
class Release:
    """A version of an application."""

    app: str
    version: int
    truth: Truth = Truth.HEALTHY
    fails: float = 0.0
    """Share of the requests that fail beyond the usual ones."""
    restart: int = 0
    """Number of the restart: an annotation, and no other release."""
    names_config: bool = False
    """Its pods take variables from a ConfigMap and a Secret."""

    @property
    def is_bad(self) -> bool:
        """Tell whether it is to be taken back."""
        return self.truth is not Truth.HEALTHY

    @property
    def template(self) -> dict[str, Any]:
        """Give the pod template that a user applies."""
        annotations = {"prometheus.io/port": str(PORT)}
        if self.restart:
            annotations["kubectl.kubernetes.io/restartedAt"] = f"restart-{self.restart}"
        image = f"registry.example.com/{self.app}:v{self.version}"
        ports = [{"name": "http", "containerPort": PORT}]
        container: dict[str, Any] = {"name": self.app, "image": image, "ports": ports}
        if self.names_config:
            container["envFrom"] = [
                {"configMapRef": {"name": f"{self.app}-config"}},
                {"secretRef": {"name": f"{self.app}-keys"}},
            ]
        return {
            "metadata": {"labels": {"app": self.app}, "annotations": annotations},
            "spec": {"containers": [container]},
        }

    @property
    def unrestarted(self) -> Release:
        """Give the release as it was rolled out first: a restart is the same one."""
        return replace(self, restart=0)

    @property
    def digest(self) -> str:
        """Give the digest by which the operator knows the template."""
        return _digest(self)


@cache
def _digest(release: Release) -> str:
    return template_of(release.template).digest


def pod_hash(template: dict[str, Any]) -> str:
    """Make the hash that the controller gives a template's ReplicaSet."""
    text = json.dumps(template, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:10]
