"""Services of a namespace's own that lead to the lab's servers, and can be cut."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from lab.node_config import POSTGRES_PORT, PROMETHEUS_PORT
from lab.session import Session

LABEL = "kubernetes.io/service-name"


@dataclass(frozen=True)
class Server:
    """Where the lab's own Service of it is."""

    name: str
    namespace: str
    port: int


PROMETHEUS = Server("prometheus", "monitoring", PROMETHEUS_PORT)
POSTGRES = Server("postgres", "database", POSTGRES_PORT)


@dataclass(frozen=True)
class OwnWay:
    lab: Session
    namespace: str
    server: Server

    @property
    def host(self) -> str:
        return f"{self.server.name}.{self.namespace}.svc"

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.server.port}"

    def open(self) -> None:
        """Lead where the lab's own Service leads."""
        name, home = self.server.name, self.server.namespace
        service = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name},
            "spec": {"ports": [{"name": self.server.name, "port": self.server.port}]},
        }
        known = json.loads(
            self.lab.kubectl(
                "get", "endpointslices", "-n", home, "-l", f"{LABEL}={name}", "-o", "json"
            )
        )["items"][0]
        endpoints = {key: known[key] for key in ("apiVersion", "kind", "addressType")}
        endpoints["ports"] = [{**one, "name": name} for one in known["ports"]]
        endpoints["endpoints"] = [{"addresses": one["addresses"]} for one in known["endpoints"]]
        endpoints["metadata"] = {"name": name, "labels": {LABEL: name}}
        for one in (service, endpoints):
            self._kubectl("apply", "-f", "-", document=one)

    @contextmanager
    def cut(self) -> Iterator[None]:
        """Reset connections for a while, also those that stand: a client may keep one open."""
        service = json.loads(self._kubectl("get", "service", self.server.name, "-o", "json"))
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
