"""ConfigMaps and Secrets that pods read, through the API server, and what is stored of ConfigMaps.

A Secret is read for a keyed digest only: without the key nobody can test a guess of its value. The
contents of a ConfigMap NAME are stored in the ConfigMap NAME.known-good, a key for each content.
"""

import asyncio
import hmac
import json
from collections.abc import Mapping
from hashlib import sha256
from math import inf
from pathlib import Path
from typing import Any

from rollback_operator.adapters.kube import paths
from rollback_operator.adapters.kube.apiserver import ApiServer, Listing
from rollback_operator.adapters.kube.projections.config_maps import config_state_of, content_digest
from rollback_operator.adapters.kube.projections.needs import references_of
from rollback_operator.api.crd import API_VERSION
from rollback_operator.api.v1alpha1 import ObjectMeta, RollbackPolicy
from rollback_operator.model.surroundings import Reference
from rollback_operator.model.workload import ConfigState
from rollback_operator.ports.failure import Failure, FailureKind

STORED = ".known-good"
"""Ends the name of the ConfigMap with the stored contents of another."""
_KINDS = {"ConfigMap": paths.CONFIG_MAPS, "Secret": paths.SECRETS}
_LISTED = {"ConfigMap": "readConfigMaps", "Secret": "readSecrets"}
_LEAST_KEY_BYTES = 16


class ApiConfigurations:
    """The Configurations port on a real API server."""

    def __init__(self, api: ApiServer, key_file: Path | None = None) -> None:
        self._api = api
        self._key_file = key_file

    async def read(self, namespace: str, reference: Reference) -> ConfigState | Failure:
        """Read an object."""
        if reference.kind == "ConfigMap":
            raw = await self._read(namespace, reference)
            return raw if isinstance(raw, Failure | ConfigState) else config_state_of(raw)
        key = self._read_key()
        if isinstance(key, Failure):
            return key  # the content is not even read
        raw = await self._read(namespace, reference)
        if isinstance(raw, Failure | ConfigState):
            return raw
        # With its name: equal values of two Secrets have different digests.
        text = json.dumps([namespace, reference.name, raw.get("data") or {}], sort_keys=True)
        digest = hmac.new(key, text.encode(), sha256).hexdigest()[:32]
        return ConfigState(digest, version=raw["metadata"]["resourceVersion"])

    async def _read(
        self, namespace: str, reference: Reference
    ) -> dict[str, Any] | ConfigState | Failure:
        """Read an object as it is stored; the empty state: it does not exist."""
        path = paths.object_in(_KINDS[reference.kind], namespace, reference.name)
        # A template may name anything: no object has a name of another form.
        raw = Failure(FailureKind.GONE, path.fault) if path.fault else await self._api.get(path)
        if not isinstance(raw, Failure):
            return raw
        if raw.kind is FailureKind.REJECTED:
            return Failure(raw.kind, f"list it in the chart value {_LISTED[reference.kind]}")
        return ConfigState("") if raw.kind is FailureKind.GONE else raw

    def _read_key(self) -> bytes | Failure:
        """Read the key of digests anew: a mounted Secret may have changed.

        Not in a thread: the file is in memory, and threads may be occupied.
        """
        if self._key_file is None:
            return Failure(FailureKind.REJECTED, "set the chart value secretDigestKey")
        try:
            key = self._key_file.read_bytes().strip()
        except OSError as error:
            return Failure(FailureKind.REJECTED, f"secretDigestKey: {error.strerror}")
        if len(key) < _LEAST_KEY_BYTES:
            message = f"secretDigestKey: the key must have at least {_LEAST_KEY_BYTES} bytes"
            return Failure(FailureKind.REJECTED, message)
        return key

    async def read_stored(self, namespace: str, name: str) -> Mapping[str, str] | Failure:
        """Read the stored contents; only those that are as they were stored."""
        raw = await self._api.get(_stored_at(namespace, name))
        if isinstance(raw, Failure):
            return {} if raw.kind is FailureKind.GONE else _unlisted(raw, name)
        contents = (raw.get("data") or {}).items()
        return {digest: text for digest, text in contents if content_digest(text) == digest}

    async def store(
        self, policy: ObjectMeta, name: str, contents: Mapping[str, str]
    ) -> Failure | None:
        """Create the ConfigMap with the contents, or replace them."""
        path = _stored_at(policy.namespace, name)
        raw = await self._api.get(path)
        if isinstance(raw, Failure) and raw.kind is not FailureKind.GONE:
            return _unlisted(raw, name)
        if isinstance(raw, Failure):
            made = await self._api.create(
                paths.in_namespace(paths.CONFIG_MAPS, policy.namespace),
                _stored_object(policy, name, contents),
            )
            return _unlisted(made, name) if isinstance(made, Failure) else None
        owners = raw["metadata"].get("ownerReferences") or []
        if [owner.get("uid") for owner in owners] != [policy.uid]:
            message = f"ConfigMap {name}{STORED} belongs to somebody else: delete it"
            return Failure(FailureKind.REJECTED, message)
        if raw.get("data") == contents:
            return None
        version = raw["metadata"]["resourceVersion"]
        done = await self._api.patch(
            path,
            [
                {"op": "test", "path": "/metadata/resourceVersion", "value": version},
                {"op": "add", "path": "/data", "value": dict(contents)},
            ],
        )
        return _unlisted(done, name) if isinstance(done, Failure) else None

    async def users(self, namespace: str, name: str, target: str) -> tuple[str, ...] | Failure:
        """List other workloads that use a ConfigMap: Deployments, and pods of any other kind."""
        deployments, pods = await asyncio.gather(
            self._api.list_of(
                Listing(
                    paths.in_namespace(paths.DEPLOYMENTS, namespace),
                    lambda raw: _user(raw, name, (raw.get("spec") or {}).get("template") or {}),
                    free=inf,
                )
            ),
            self._api.list_of(
                Listing(
                    paths.in_namespace(paths.PODS, namespace),
                    lambda raw: _user(raw, name, raw),
                    free=inf,
                )
            ),
        )
        if isinstance(deployments, Failure):
            return deployments
        if isinstance(pods, Failure):
            return pods
        sets = await self._api.list_of(
            Listing(
                paths.in_namespace(paths.REPLICA_SETS, namespace),
                lambda raw: raw["metadata"]["name"] if _is_of(raw, target) else "",
                free=inf,
            )
        )
        if isinstance(sets, Failure):
            return sets
        own = {f"ReplicaSet {each}" for each in sets}
        users = {f"Deployment {each}" for each in deployments if each and each != target}
        users |= {each for each in pods if each and each not in own}
        return tuple(sorted(users))

    async def restore(
        self, namespace: str, name: str, known: ConfigState, text: str
    ) -> ConfigState | Failure:
        """Replace the content, guarded by uid and resourceVersion."""
        content, old = json.loads(text), json.loads(known.text)
        operations: list[dict[str, Any]] = [
            {"op": "test", "path": "/metadata/uid", "value": known.uid},
            {"op": "test", "path": "/metadata/resourceVersion", "value": known.version},
        ]
        for key in ("data", "binaryData"):
            if content.get(key):
                operations.append({"op": "add", "path": f"/{key}", "value": content[key]})
            elif old.get(key):
                operations.append({"op": "remove", "path": f"/{key}"})
        path = paths.object_in(paths.CONFIG_MAPS, namespace, name)
        raw = await self._api.patch(path, operations)
        return _unlisted(raw, name) if isinstance(raw, Failure) else config_state_of(raw)


def _stored_at(namespace: str, name: str) -> paths.ApiPath:
    return paths.object_in(paths.CONFIG_MAPS, namespace, f"{name}{STORED}")


def _stored_object(policy: ObjectMeta, name: str, contents: Mapping[str, str]) -> dict[str, Any]:
    owner = {"kind": RollbackPolicy.KIND, "name": policy.name, "uid": policy.uid}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": f"{name}{STORED}",
            "ownerReferences": [{"apiVersion": API_VERSION, **owner}],
        },
        "data": dict(contents),
    }


def _unlisted(failure: Failure, name: str) -> Failure:
    """Add the remedy to a refusal."""
    if failure.kind is not FailureKind.REJECTED:
        return failure
    return Failure(
        failure.kind,
        f"the operator may not store or restore ConfigMap {name}: list it in the chart value "
        f"restoreConfigMaps ({failure.message})",
    )


def _user(raw: Mapping[str, Any], name: str, template: Mapping[str, Any]) -> str:
    """Name a Deployment, or the controller of a pod, whose pods use a ConfigMap; empty: another.

    A pod without a controller stands for itself.
    """
    if not any((each.kind, each.name) == ("ConfigMap", name) for each in references_of(template)):
        return ""
    metadata = raw["metadata"]
    if template is not raw:
        return str(metadata["name"])
    owners = [each for each in metadata.get("ownerReferences") or [] if each.get("controller")]
    return f"{owners[0]['kind']} {owners[0]['name']}" if owners else f"Pod {metadata['name']}"


def _is_of(raw: Mapping[str, Any], deployment: str) -> bool:
    owners = raw["metadata"].get("ownerReferences") or []
    return any(
        (each.get("kind"), each.get("name")) == ("Deployment", deployment) for each in owners
    )
