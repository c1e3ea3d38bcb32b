"""Helm itself on a real API server: what an upgrade and a removal do to CRDs and policies."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import helm_python
import pytest
import yaml

from lab import chart
from lab.access import wait_for_crds
from lab.control_plane import ControlPlane

pytestmark = [pytest.mark.xdist_group("chart-upgrade"), pytest.mark.timeout(600)]

RELEASE, HOME, NAMESPACE = "rollback-operator", "operators", "production"
VALUES = {"prometheus": {"url": "http://prometheus.monitoring:9090"}}
PATIENCE = 180
POLICIES = "rollbackpolicies.rollback.tickettoken.io"
DEFINITIONS = [POLICIES, "rollbacks.rollback.tickettoken.io"]
NEW = "communication"
"""A field that the older version does not have."""
POLICY = {
    "apiVersion": "rollback.tickettoken.io/v1alpha1",
    "kind": "RollbackPolicy",
    "metadata": {"name": "shop", "namespace": NAMESPACE},
    "spec": {"targetRef": {"kind": "Deployment", "name": "shop"}, "mode": "Observe"},
}


@pytest.fixture
def cluster() -> Iterator[ControlPlane]:
    with ControlPlane() as found:
        found.start_kwok(nodes=1)
        found.kubectl("create", "namespace", NAMESPACE)
        yield found


@pytest.fixture
def helm(cluster: ControlPlane) -> Iterator[helm_python.Config]:
    with helm_python.Config(kubeconfig_path=cluster.kubeconfig, namespace=HOME) as found:
        yield found


def older(folder: Path) -> Path:
    """The chart as it would have been before the field was added."""
    made = folder / "older"
    shutil.copytree(chart.CHART, made)
    path = made / "files" / "crds" / "rollbackpolicies.yaml"
    definition = yaml.load(path.read_text(), yaml.CSafeLoader)
    del _spec_of(definition)[NEW]
    path.write_text(yaml.safe_dump(definition))
    return made


def from_before(folder: Path) -> Path:
    """The chart as it was while its CRDs were in crds/, of no release."""
    made = older(folder)
    (made / "files" / "crds").rename(made / "crds")
    (made / "templates" / "crds.yaml").unlink()
    return made


def _spec_of(definition: dict[str, Any]) -> dict[str, Any]:
    (version,) = definition["spec"]["versions"]
    fields: dict[str, Any] = version["schema"]["openAPIV3Schema"]["properties"]["spec"][
        "properties"
    ]
    return fields


def install(helm: helm_python.Config, cluster: ControlPlane, version: Path) -> None:
    helm.install(version, RELEASE, VALUES, create_namespace=True, timeout=PATIENCE)
    wait_for_crds(cluster.kubectl, DEFINITIONS)
    cluster.kubectl("apply", "-f", "-", input=json.dumps(POLICY))


def upgrade(helm: helm_python.Config) -> None:
    helm.upgrade(chart.CHART, RELEASE, VALUES, timeout=PATIENCE)


def knows(cluster: ControlPlane) -> bool:
    found = json.loads(cluster.kubectl("get", f"crd/{POLICIES}", "--output=json"))
    return NEW in _spec_of(found)


def policy(cluster: ControlPlane) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        cluster.kubectl("get", f"{POLICIES}/shop", "-n", NAMESPACE, "--output=json")
    )
    return found


def admission(cluster: ControlPlane) -> set[str]:
    found = cluster.kubectl("get", "validatingadmissionpolicies", "--output=name")
    return set(found.split())


def test_an_upgrade_brings_new_fields_and_a_removal_leaves_all_policies(
    cluster: ControlPlane, helm: helm_python.Config, tmp_path: Path
) -> None:
    install(helm, cluster, older(tmp_path))
    before = policy(cluster)
    policies = admission(cluster)
    assert not knows(cluster)
    assert policies

    upgrade(helm)

    assert knows(cluster)
    assert admission(cluster) == policies
    assert policy(cluster) == before
    changed = {**POLICY, "spec": {**POLICY["spec"], NEW: {"service": "Shop"}}}
    cluster.kubectl("apply", "-f", "-", input=json.dumps(changed))
    assert policy(cluster)["spec"][NEW] == {"service": "Shop"}

    helm.uninstall(RELEASE, timeout=PATIENCE)

    assert knows(cluster)
    assert admission(cluster) == set()
    assert policy(cluster)["metadata"]["uid"] == before["metadata"]["uid"]

    # Installed anew it finds its CRDs, and the policies in them.
    helm.install(chart.CHART, RELEASE, VALUES, timeout=PATIENCE)
    assert policy(cluster)["spec"][NEW] == {"service": "Shop"}


@pytest.mark.extended
def test_crds_of_no_release_are_handed_to_it_by_two_commands(
    cluster: ControlPlane, helm: helm_python.Config, tmp_path: Path
) -> None:
    install(helm, cluster, from_before(tmp_path))
    before = policy(cluster)
    with pytest.raises(helm_python.HelmError, match="invalid ownership metadata"):
        upgrade(helm)

    cluster.kubectl("label", "crd", *DEFINITIONS, "app.kubernetes.io/managed-by=Helm")
    owner = (f"meta.helm.sh/release-name={RELEASE}", f"meta.helm.sh/release-namespace={HOME}")
    cluster.kubectl("annotate", "crd", *DEFINITIONS, *owner)
    upgrade(helm)

    assert knows(cluster)
    assert policy(cluster) == before


@pytest.mark.extended
def test_left_to_others_they_are_not_touched(
    cluster: ControlPlane, helm: helm_python.Config, tmp_path: Path
) -> None:
    definitions = older(tmp_path) / "files" / "crds"
    cluster.kubectl("apply", "--server-side", "-f", str(definitions))

    alone = {**VALUES, "crds": {"install": False}}
    helm.install(chart.CHART, RELEASE, alone, create_namespace=True, timeout=PATIENCE)
    assert not knows(cluster)

    cluster.kubectl("apply", "--server-side", "-f", str(chart.CHART.parents[1] / "crds"))
    assert knows(cluster)
