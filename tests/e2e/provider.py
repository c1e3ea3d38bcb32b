"""A Service of a namespace's own that leads to the lab's Prometheus, and can be cut."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from lab.node_config import PROMETHEUS_PORT
from lab.session import Session

NAME = "prometheus"
LABEL = "kubernetes.io/service-name"


@dataclass(frozen=True)
class OwnWay:
    lab: Session
    namespace: str

    @property
    def url(self) -> str:
        return f"http://{NAME}.{self.namespace}:{PROMETHEUS_PORT}"

    def open(self) -> None:
        """Lead where the lab's own Service leads."""
        service = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": NAME},
            "spec": {"ports": [{"name": "http", "port": PROMETHEUS_PORT}]},
        }
        known = json.loads(
            self.lab.kubectl(
                "get", "endpointslices", "-n", "monitoring", "-l", f"{LABEL}={NAME}", "-o", "json"
            )
        )["items"][0]
        endpoints = {key: known[key] for key in ("apiVersion", "kind", "addressType", "ports")}
        endpoints["endpoints"] = [{"addresses": one["addresses"]} for one in known["endpoints"]]
        endpoints["metadata"] = {"name": NAME, "labels": {LABEL: NAME}}
        for one in (service, endpoints):
            self._kubectl("apply", "-f", "-", document=one)

    @contextmanager
    def cut(self) -> Iterator[None]:
        """Refuse connections for a while."""
        self._kubectl("delete", "endpointslice", NAME)
        try:
            yield
        finally:
            self.open()

    def _kubectl(self, *arguments: str, document: object = None) -> None:
        text = None if document is None else json.dumps(document)
        self.lab.kubectl("-n", self.namespace, *arguments, input=text)
