"""Deployments that rollout tools drive or image updaters push to: recognised, told, not fought.

The tools' CRDs are real, and so is all that the operator reads; the tools themselves are not there.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab import chart
from lab.access import wait_for_crds
from tests.integration.api import throughout
from tests.integration.conftest import RunningOperator
from tests.integration.service import REPOSITORY, Service, outcome
from tests.integration.stand import HOME, Stand, rights
from tests.integration.traffic import BAD
from tests.sizes import rows_of

pytestmark = [
    pytest.mark.xdist_group("gitops"),
    pytest.mark.usefixtures("installed", "operator"),
    pytest.mark.timeout(1200),
]

CRDS = Path(__file__).parents[1] / "gitops" / "tools.yaml"
NAMES = (
    "canaries.flagger.app",
    "rollouts.argoproj.io",
    "imagepolicies.image.toolkit.fluxcd.io",
    "imageupdateautomations.image.toolkit.fluxcd.io",
)
CANARY = ("flagger.app/v1beta1", "Canary", "canaries")
ROLLOUT = ("argoproj.io/v1alpha1", "Rollout", "rollouts")
POLICY = ("image.toolkit.fluxcd.io/v1", "ImagePolicy", "imagepolicies")
AUTOMATION = ("image.toolkit.fluxcd.io/v1", "ImageUpdateAutomation", "imageupdateautomations")
LEFT_ALONE_SECONDS = 8.0


@pytest.fixture(scope="module")
def installed(stand: Stand) -> Iterator[None]:
    """The tools' CRDs, for this module alone, and the chart's right to list what there is."""
    stand.cluster.kubectl("apply", "--server-side", "-f", str(CRDS))
    wait_for_crds(stand.cluster.kubectl, NAMES)
    grant(stand, rbac={"otherTools": True})
    yield
    stand.cluster.kubectl("delete", "-f", str(CRDS), "--wait=true")
    grant(stand)


def grant(stand: Stand, **values: Any) -> None:
    wide = [one for one in rights(HOME, **values) if one["kind"] == "ClusterRole"]
    stand.cluster.kubectl("apply", "-f", "-", input=chart.stream(wide))


def make(service: Service, kind: tuple[str, str, str], **fields: Any) -> None:
    version, name, plural = kind
    metadata = {"name": service.name, "namespace": service.namespace}
    body = {"apiVersion": version, "kind": name, "metadata": metadata, **fields}
    path = f"/apis/{version}/namespaces/{service.namespace}/{plural}"
    service.stand.api.create(path, body)


def reference(service: Service) -> dict[str, str]:
    return {"apiVersion": "apps/v1", "kind": "Deployment", "name": service.name}


@pytest.mark.parametrize(
    ("kind", "field", "said"),
    rows_of(
        {
            "Flagger": (
                CANARY,
                "targetRef",
                "Flagger manages this Deployment (Canary shop, spec.targetRef)",
            ),
            "Argo Rollouts": (
                ROLLOUT,
                "workloadRef",
                "Argo Rollouts manages this Deployment (Rollout shop",
            ),
        },
        ["Flagger"],
    ),
)
def test_what_a_rollout_tool_drives_is_left_alone_and_that_is_told(
    service: Service,
    operator: RunningOperator,
    kind: tuple[str, str, str],
    field: str,
    said: str,
) -> None:
    service.deploy()
    service.remember()
    make(service, kind, spec={field: reference(service)})

    service.adopt(safety={"gitOps": "Proceed"})

    ready = service.condition("Ready")
    assert (ready["status"], ready["reason"]) == ("False", "RolloutOwner")
    assert said in ready["message"]
    service.roll_out("v2", BAD)
    assert said in service.wait_for("Healthy", "RolloutOwner")["message"]
    throughout(LEFT_ALONE_SECONDS, lambda: service.rollbacks() != [])
    assert operator.proxy.changes_of_deployments(service.namespace) == []


def test_an_image_updater_is_told_beforehand_at_the_rollback_and_with_what_helps(
    service: Service,
) -> None:
    service.deploy()
    service.remember()
    service.mark("annotations", "keel.sh/policy", "minor")
    make(service, POLICY, status={"latestRef": {"name": REPOSITORY, "tag": "v2"}})
    make(service, AUTOMATION, spec={"interval": "30m"})

    service.adopt()

    ready = service.condition("Ready")
    assert (ready["status"], ready["reason"]) == ("True", "ImageUpdater")
    assert "Keel updates images of this Deployment" in ready["message"]
    assert f"ImagePolicy {service.namespace}/shop chooses {REPOSITORY}" in ready["message"]
    service.roll_out("v2", BAD)
    rollback = service.wait_for_rollback(90.0)
    assert outcome(rollback) == ("Verified", "Recovered"), service.told()
    (item,) = (one for one in rollback["status"]["checklist"] if one["name"] == "NobodyElseSteers")
    assert (item["result"], item["consequence"]) == ("Warned", "Proceed")
    assert "may deploy the bad image again" in item["message"]
    assert "Prevent Keel from deploying the image again" in rollback["status"]["message"]
