"""Image updaters and rollout tools: what they leave on a Deployment, how their objects are read.

The objects have the shape in which their own tools write them.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from rollback_operator.adapters.kube.projections.claims import (
    FLAGGER,
    IMAGE_LIST,
    ROLLOUTS,
    application_of,
    argo_cd_updater,
    canary_on,
    flux_updaters,
    primary_of,
    rollout_on,
    updaters_on,
)

SHOP = "ghcr.io/example/shop"
RUNNING = (f"{SHOP}:v1.2.3", "docker.io/library/busybox:1.36@sha256:" + "0" * 64)
TRIGGER = {
    "from": {"kind": "ImageStreamTag", "name": "shop:latest", "namespace": "production"},
    "fieldPath": 'spec.template.spec.containers[?(@.name=="shop")].image',
    "paused": "false",
}
TRIGGERS = "image.openshift.io/triggers"


# -- on the Deployment -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("metadata", "tool", "evidence"),
    [
        ({"annotations": {"keel.sh/policy": "minor"}}, "Keel", "annotation keel.sh/policy=minor"),
        ({"labels": {"keel.sh/policy": "force"}}, "Keel", "label keel.sh/policy=force"),
        ({"labels": {"keel.observer/policy": "all"}}, "Keel", "label keel.observer/policy=all"),
        (
            {"name": "shop", "annotations": {TRIGGERS: json.dumps([TRIGGER])}},
            "OpenShift image triggers",
            f"annotation {TRIGGERS}: shop:latest",
        ),
    ],
    ids=["an annotation of Keel", "a label of Keel", "an older one", "OpenShift"],
)
def test_an_updater_is_known_by_what_the_deployment_tells_it(
    metadata: dict[str, Any], tool: str, evidence: str
) -> None:
    (found,) = updaters_on(metadata)

    assert (found.tool, found.evidence) == (tool, evidence)
    assert "until a newer image is out" in found.remedy


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"labels": None, "annotations": None},
        {"annotations": {"keel.sh/policy": "never"}},
        {"annotations": {"keel.sh/policy": "never"}, "labels": {"keel.sh/policy": "force"}},
        {"annotations": {"keel.sh/trigger": "poll"}},
        {"annotations": {TRIGGERS: json.dumps([{**TRIGGER, "paused": "true"}])}},
        {"annotations": {TRIGGERS: json.dumps([{**TRIGGER, "paused": True}])}},
        {"annotations": {TRIGGERS: "not JSON"}},
        {"annotations": {TRIGGERS: '{"from": 1}'}},
    ],
)
def test_nobody_is_found_where_nobody_updates(metadata: dict[str, Any]) -> None:
    assert updaters_on(metadata) == ()


# -- rollout tools ---------------------------------------------------------------------------------


def canary(called: str, **target: str) -> dict[str, Any]:
    return {
        "apiVersion": "flagger.app/v1beta1",
        "kind": "Canary",
        "metadata": {"name": called, "namespace": "production"},
        "spec": {
            "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", **target},
            "service": {"port": 80},
            "analysis": {"interval": "30s", "threshold": 5},
        },
        "status": {"phase": "Succeeded", "canaryWeight": 0},
    }


def rollout(called: str, **reference: str) -> dict[str, Any]:
    found = {"apiVersion": "apps/v1", "kind": "Deployment", "scaleDown": "onsuccess", **reference}
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Rollout",
        "metadata": {"name": called, "namespace": "production"},
        "spec": {"replicas": 4, "workloadRef": found, "strategy": {"canary": {"steps": []}}},
    }


def test_a_canary_drives_its_target_and_no_other() -> None:
    listed = [canary("other", name="other"), canary("shop-canary", name="shop")]

    found = canary_on(listed, "shop")

    assert found.driver is not None
    assert (found.driver.kind, found.driver.is_rollout_tool) == (FLAGGER, True)
    assert found.driver.evidence == "Canary shop-canary, spec.targetRef"
    assert "shop-primary" in found.driver.remedy
    assert canary_on(listed[:1], "shop").denied == {FLAGGER}
    assert canary_on([canary("a", name="shop", kind="DaemonSet")], "shop").driver is None


def test_where_canaries_may_not_be_read_their_primary_tells() -> None:
    reference = {"apiVersion": "flagger.app/v1beta1", "kind": "Canary", "name": "shop-canary"}
    metadata = {"name": "shop-primary", "ownerReferences": [{**reference, "controller": True}]}

    found = primary_of({"metadata": metadata}, "shop")

    assert found.driver is not None
    assert found.driver.evidence == "Canary shop-canary, ownerReference of Deployment shop-primary"
    assert primary_of({"metadata": {"name": "shop-primary"}}, "shop").denied == {FLAGGER}


def test_a_rollout_drives_the_deployment_that_it_takes_its_template_from() -> None:
    own_template = {"metadata": {"name": "own"}, "spec": {"template": {"spec": {}}}}
    listed = [own_template, rollout("other", name="other"), rollout("shop", name="shop")]

    found = rollout_on(listed, "shop")

    assert found.driver is not None
    assert (found.driver.kind, found.driver.is_rollout_tool) == (ROLLOUTS, True)
    assert "kubectl argo rollouts abort shop -n production" in found.driver.remedy
    assert rollout_on(listed[:2], "shop").denied == {ROLLOUTS}
    assert rollout_on([rollout("a", name="shop", kind="ReplicaSet")], "shop").driver is None


# -- Flux ------------------------------------------------------------------------------------------


def image_policy(**status: Any) -> dict[str, Any]:
    return {
        "apiVersion": "image.toolkit.fluxcd.io/v1",
        "metadata": {"name": "shop", "namespace": "flux-system"},
        "spec": {"imageRepositoryRef": {"name": "shop"}, "policy": {"semver": {"range": "1.x"}}},
        "status": status,
    }


def automation(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "image.toolkit.fluxcd.io/v1",
        "metadata": {"name": "apps", "namespace": "flux-system"},
        "spec": {"interval": "30m", "update": {"strategy": "Setters"}, **spec},
    }


@pytest.mark.parametrize(
    "status",
    [{"latestRef": {"name": SHOP, "tag": "v1.2.4"}}, {"latestImage": f"{SHOP}:v1.2.4"}],
    ids=["v1", "v1beta2"],
)
def test_flux_writes_the_tag_of_an_image_that_runs(status: dict[str, Any]) -> None:
    (found,) = flux_updaters([image_policy(**status)], [automation()], RUNNING)

    assert found.tool == "Flux image automation"
    assert found.evidence == (
        f"ImagePolicy flux-system/shop chooses {SHOP}, ImageUpdateAutomation apps writes it to Git"
    )
    assert "flux suspend image update apps -n flux-system" in found.remedy


@pytest.mark.parametrize(
    ("policies", "automations"),
    [
        ([image_policy(latestRef={"name": SHOP})], [automation(suspend=True)]),
        ([image_policy(latestRef={"name": SHOP})], []),
        ([image_policy(latestRef={"name": f"{SHOP}-worker"})], [automation()]),
        ([image_policy()], [automation()]),
    ],
    ids=["suspended", "no automation", "another image", "nothing chosen yet"],
)
def test_flux_leaves_other_images_alone(policies: list[Any], automations: list[Any]) -> None:
    assert list(flux_updaters(policies, automations, RUNNING)) == []


# -- Argo CD Image Updater -------------------------------------------------------------------------


def application(images: str | None = None, **labels: str) -> dict[str, Any]:
    annotations = {} if images is None else {IMAGE_LIST: images}
    return {
        "metadata": {
            "name": "shop-production",
            "namespace": "argocd",
            "labels": labels,
            "annotations": annotations,
        },
        "status": {
            "resources": [
                {
                    "group": "apps",
                    "kind": "Deployment",
                    "namespace": "production",
                    "name": "ticket-service",
                }
            ]
        },
    }


@pytest.mark.parametrize(
    ("images", "is_found"),
    [
        (f"shop={SHOP}:~1.2", True),
        (f"redis:7, {SHOP}", True),
        ("bb=busybox:1.x", True),
        (f"{SHOP}-worker", False),
        ("", False),
        (None, False),
    ],
)
def test_an_applications_annotation_lists_what_is_updated(
    images: str | None, is_found: bool
) -> None:
    found = list(argo_cd_updater(application_of(application(images)), None, RUNNING))

    assert [one.tool for one in found] == ["Argo CD Image Updater"] * is_found


def image_updater(**reference: Any) -> dict[str, Any]:
    """As of version 1.0; later ones have no spec.namespace."""
    images = [{"alias": "shop", "imageName": f"{SHOP}:1.x"}]
    found = {"namePattern": "shop-*", "images": images, **reference}
    return {
        "apiVersion": "argocd-image-updater.argoproj.io/v1alpha1",
        "kind": "ImageUpdater",
        "metadata": {"name": "shops", "namespace": "argocd"},
        "spec": {"namespace": "argocd", "applicationRefs": [found]},
    }


@pytest.mark.parametrize(
    ("updater", "is_found"),
    [
        (image_updater(), True),
        (image_updater(labelSelectors={"matchLabels": {"team": "shop"}}), True),
        (image_updater(labelSelectors={"matchLabels": {"team": "other"}}), False),
        (
            image_updater(
                labelSelectors={
                    "matchExpressions": [
                        {"key": "team", "operator": "In", "values": ["shop"]},
                        {"key": "tier", "operator": "DoesNotExist"},
                    ]
                }
            ),
            True,
        ),
        (image_updater(namePattern="billing-*"), False),
        (image_updater(images=[{"alias": "x", "imageName": "redis:7"}]), False),
        (image_updater(images=[], useAnnotations=True), True),
        ({**image_updater(), "spec": {"namespace": "elsewhere", "applicationRefs": []}}, False),
    ],
    ids=[
        "by name",
        "by label",
        "another label",
        "by expressions",
        "another name",
        "another image",
        "by its annotation",
        "another namespace",
    ],
)
def test_an_image_updater_chooses_applications(updater: dict[str, Any], is_found: bool) -> None:
    found = application_of(application(f"shop={SHOP}", team="shop"))

    assert bool(list(argo_cd_updater(found, [updater], RUNNING))) is is_found


def test_an_annotation_counts_no_more_where_there_are_image_updaters() -> None:
    found = application_of(application(f"shop={SHOP}"))

    assert list(argo_cd_updater(found, [], RUNNING)) == []
