"""ConfigMaps and Secrets that pods read, as the API server keeps them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from rollback_operator.api.v1alpha1 import ObjectMeta
from rollback_operator.model.surroundings import Reference
from rollback_operator.model.workload import ConfigState
from rollback_operator.ports.cluster import Configurations
from rollback_operator.ports.failure import Failure
from tests.fakes.failures import CONFLICT, Failures


def content(**data: str) -> str:
    """The canonical content of a ConfigMap."""
    return json.dumps({"data": data}, sort_keys=True, separators=(",", ":"))


def config_state(changed: float | None = None, **data: str) -> ConfigState:
    """A ConfigMap that kubectl has changed."""
    text = content(**data)
    digest = hashlib.sha256(text.encode()).hexdigest()[:32]
    return ConfigState(digest, "uid-config", "1", text=text, changed_by="kubectl", changed=changed)


@dataclass
class FakeConfigurations(Failures):
    """What is there, what is stored, and who else uses it."""

    states: dict[str, ConfigState] = field(default_factory=dict)
    """By kind and name, as `ConfigMap a`."""
    stored: dict[str, dict[str, str]] = field(default_factory=dict)
    """By name, the contents by digest."""
    others: dict[str, tuple[str, ...]] = field(default_factory=dict)
    reads: list[str] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)

    async def read(self, namespace: str, reference: Reference) -> ConfigState | Failure:
        self.reads.append(str(reference))
        return self.take("read") or self.states.get(str(reference), ConfigState(""))

    async def read_stored(self, namespace: str, name: str) -> Mapping[str, str] | Failure:
        return self.take("read_stored") or dict(self.stored.get(name, {}))

    async def store(
        self, policy: ObjectMeta, name: str, contents: Mapping[str, str]
    ) -> Failure | None:
        self.calls.append("store")
        failure = self.take("store")
        if failure is None:
            self.stored[name] = dict(contents)
        return failure

    async def users(self, namespace: str, name: str, target: str) -> tuple[str, ...] | Failure:
        return self.take("users") or self.others.get(name, ())

    async def restore(
        self, namespace: str, name: str, known: ConfigState, text: str
    ) -> ConfigState | Failure:
        self.calls.append("restore")
        key = f"ConfigMap {name}"
        failure = self.take("restore")
        if failure is None and self.states.get(key) != known:
            failure = CONFLICT
        if failure is not None:
            return failure
        digest = hashlib.sha256(text.encode()).hexdigest()[:32]
        self.states[key] = replace(known, digest=digest, text=text, version="restored")
        return self.states[key]


if TYPE_CHECKING:
    # The type checker holds the fake against the port.
    _configurations: Configurations = FakeConfigurations()
