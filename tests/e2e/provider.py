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
        """Reset connections for a while, also those that stand: a client may keep one open."""
        service = json.loads(self._kubectl("get", "service", NAME, "-o", "json"))
        match = ["-p", "tcp", "-m", "conntrack", "--ctorigdst", service["spec"]["clusterIP"]]
        rule = ["INPUT", *match, "-j", "REJECT", "--reject-with", "tcp-reset"]
        self.lab.in_node("iptables", "-w", "-I", *rule)
        try:
            yield
        finally:
            self.lab.in_node("iptables", "-w", "-D", *rule)

    def _kubectl(self, *arguments: str, document: object = None) -> str:
        text = None if document is None else json.dumps(document)
        return self.lab.kubectl("-n", self.namespace, *arguments, input=text)
