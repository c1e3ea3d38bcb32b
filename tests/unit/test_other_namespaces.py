"""A tenant names another namespace on a Deployment: what is read and reported."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import rollback_operator
from rollback_operator.adapters.kube import paths
from rollback_operator.adapters.kube.apiserver import ApiServer, Listing
from rollback_operator.adapters.kube.projections.claims import IMAGE_LIST
from rollback_operator.adapters.kube.projections.deployments import deployment_of
from rollback_operator.adapters.kube.target.owners import OWNER_KINDS, ApiOwners
from rollback_operator.adapters.kube.target.tools import ApiTools
from rollback_operator.model.controllers import OwnedDeployment
from rollback_operator.ports.failure import Failure, FailureKind
from tests.syntax import parsed

SOURCE = Path(rollback_operator.__file__).parent
IMAGE, SECRET = "registry.example.com/team/shop", "unicorn"
"""An image that the tenant chooses, and what every name in the namespace `victim` contains."""
KEY = re.compile(r"([a-z0-9-]+(?:\.[a-z0-9-]+)*\.(?:io|sh|app|dev|org|com|observer))(/[\w.-]*)?")
VALUES = ("victim", "victim_ledger", "victim/ledger", "victim_ledger:apps/Deployment:tenant/spy")
SERVED = {
    "flagger.app": ("canaries",),
    "argoproj.io": ("rollouts", "applications"),
    "argocd-image-updater.argoproj.io": ("imageupdaters",),
    "image.toolkit.fluxcd.io": ("imagepolicies", "imageupdateautomations"),
    "kustomize.toolkit.fluxcd.io": ("kustomizations",),
    "helm.toolkit.fluxcd.io": ("helmreleases",),
}
NAMED = {plural for _, plural in OWNER_KINDS.values()} | {"applicationsets"}
"""Kinds whose object may be read if a label names it, to see whether it names the label's
Deployment."""


def keys() -> dict[str, set[str]]:
    """Find whatever looks like the key of a label in the source, by its domain."""
    known: dict[str, set[str]] = {}
    for file in SOURCE.rglob("*.py"):
        for node in ast.walk(parsed(file.read_text())):
            text = node.value if isinstance(node, ast.Constant) else None
            if isinstance(text, str) and (key := KEY.fullmatch(text)) is not None:
                names = known.setdefault(key[1], {f"{key[1]}/name", f"{key[1]}/namespace"})
                names |= {text} if key[2] else set()
    return known


def spies() -> Iterator[dict[str, Any]]:
    """Give Deployments of namespace `tenant` that name `victim` in each label and annotation."""
    for domain, names in keys().items():
        for value in VALUES:
            marks = dict.fromkeys(names, value)
            reference = {"apiVersion": f"{domain}/v1", "kind": "Kustomization", "name": value}
            for more in (
                {"labels": marks, "annotations": marks},
                {"annotations": marks},
                {"ownerReferences": [{**reference, "namespace": "victim"}]},
                {"ownerReferences": [{**reference, "namespace": "victim", "controller": True}]},
            ):
                yield {
                    "metadata": {"namespace": "tenant", "name": "spy", "uid": "1", **more},
                    "spec": {
                        "template": {"spec": {"containers": [{"name": "c", "image": f"{IMAGE}:1"}]}}
                    },
                }


@dataclass
class Cluster:
    """An API server that permits everything, and has something in every namespace."""

    asked: list[str] = field(default_factory=list)

    async def list_of(self, listing: Listing[Any]) -> list[Any] | Failure:
        self.asked.append(listing.path)
        return [listing.taken(thing(SECRET, paths.namespace_of(listing.path)))]

    async def get(self, path: str) -> dict[str, Any] | Failure:
        if isinstance(path, paths.ApiPath) and path.fault:
            return Failure(FailureKind.REJECTED, path.fault)
        self.asked.append(path)
        parts = path.split("/")
        if path == "/apis":
            preferred = ({"groupVersion": f"{name}/v1"} for name in SERVED)
            groups = zip(SERVED, preferred, strict=True)
            return {"groups": [{"name": name, "preferredVersion": one} for name, one in groups]}
        if len(parts) == 3:
            return {"preferredVersion": {"version": "v1"}}
        if len(parts) == 4:
            return {"resources": [{"name": plural} for plural in SERVED[parts[2]]]}
        return thing(parts[-1], paths.namespace_of(path))


def thing(name: str, namespace: str) -> dict[str, Any]:
    """Give an object that has something to tell, and does not name the tenant's Deployment."""
    other = {"group": "apps", "kind": "Deployment", "namespace": namespace, "name": SECRET}
    return {
        "apiVersion": "argoproj.io/v1",
        "metadata": {
            "namespace": namespace,
            "name": name,
            "annotations": {IMAGE_LIST: f"{SECRET}={IMAGE}"},
            "ownerReferences": [{"kind": "ApplicationSet", "name": SECRET}],
        },
        "spec": {
            "suspend": False,
            "targetNamespace": "tenant",
            "destination": {"namespace": "tenant", "server": f"https://{SECRET}"},
            "applicationRefs": [{"namePattern": "*", "images": [{"imageName": IMAGE}]}],
        },
        "status": {
            "latestRef": {"name": IMAGE if namespace != "tenant" else "", "tag": SECRET},
            "resources": [other],
            "inventory": {"entries": [{"id": f"{namespace}_{SECRET}_apps_Deployment"}]},
        },
    }


async def test_no_name_on_a_deployment_opens_another_namespace() -> None:
    """Of others only the named owner is read, and nothing of it is reported."""
    seen: set[str] = set()
    for raw in spies():
        cluster, deployment = Cluster(), deployment_of(raw)
        api = cast("ApiServer", cluster)
        said = repr(await ApiTools(api, "argocd", lambda: 0.0).read_claims(deployment))
        owner = deployment.owner.object if deployment.owner is not None else None
        if owner is not None:
            state = await ApiOwners(api, "argocd").read_owner(
                OwnedDeployment(owner, "tenant", "spy")
            )
            assert not isinstance(state, Failure)
            assert not state.is_proved
            said += state.obstacle
        assert SECRET not in said, raw["metadata"]
        for path in cluster.asked:
            if paths.namespace_of(path) in ("", "tenant"):
                continue
            kind, _, name = path.partition("/namespaces/")[2].partition("/")[2].partition("/")
            assert kind in NAMED, (path, raw["metadata"])
            assert name, (path, raw["metadata"])
            seen |= {kind} if paths.namespace_of(path) == "victim" else set()

    assert seen == NAMED  # or nothing was tried
