"""ConfigMaps and variables as the API server gives them: what may be changed, and what may not."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from rollback_operator.adapters.kube.projections.config_maps import config_state_of
from rollback_operator.adapters.kube.projections.needs import references_of
from rollback_operator.adapters.kube.projections.templates import template_of
from rollback_operator.adapters.kube.projections.variables import variable_of
from rollback_operator.api.remedy import EnvFlag, Flag

MANAGED = [
    {
        "manager": "kubectl-edit",
        "time": "2027-01-15T08:00:00Z",
        "fieldsV1": {"f:data": {"f:A": {}}},
    },
    {"manager": "older", "time": "2027-01-14T08:00:00Z", "fieldsV1": {"f:data": {}}},
    {"manager": "labeller", "time": "2027-01-16T08:00:00Z", "fieldsV1": {"f:metadata": {}}},
]


def config_map(name: str = "shop", /, **changes: Any) -> dict[str, Any]:
    metadata = {"name": name, "uid": "u", "resourceVersion": "7", "managedFields": MANAGED}
    metadata |= changes.pop("metadata", {})
    return {"metadata": metadata, "data": {"A": "1"}, **changes}


def test_a_configmap_has_a_digest_of_its_whole_content() -> None:
    state = config_state_of(config_map())

    assert state.text == '{"data":{"A":"1"}}'
    assert (state.uid, state.version, state.obstacle) == ("u", "7", "")
    assert (state.changed_by, state.changed) == ("kubectl-edit", 1_800_000_000.0)
    assert config_state_of(config_map(metadata={"labels": {"a": "b"}})).digest == state.digest
    assert config_state_of(config_map(binaryData={"B": "AAAA"})).digest != state.digest
    assert config_state_of(config_map(data={"A": "2"})).digest != state.digest


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (config_map(immutable=True), "immutable"),
        (config_map(metadata={"deletionTimestamp": "2027-01-15T08:00:00Z"}), "being deleted"),
        (config_map(metadata={"ownerReferences": [{"kind": "App", "name": "x"}]}), "App x owns it"),
        (config_map(metadata={"annotations": {"meta.helm.sh/release-name": "a"}}), "Helm manages"),
        (config_map(metadata={"labels": {"argocd.argoproj.io/instance": "a"}}), "Argo CD manages"),
        (
            config_map(metadata={"labels": {"kustomize.toolkit.fluxcd.io/name": "a"}}),
            "Flux Kustomization manages",
        ),
        (config_map(metadata={"labels": {"app.kubernetes.io/managed-by": "x"}}), "x manages it"),
        (config_map("shop-5g9kmbd8t2"), "made from its content"),
    ],
)
def test_what_others_own_is_not_restored(raw: dict[str, Any], said: str) -> None:
    assert said in config_state_of(raw).obstacle


def test_only_content_of_the_containers_is_configuration() -> None:
    found = references_of(
        {
            "spec": {
                "serviceAccountName": "shop",
                "imagePullSecrets": [{"name": "pull"}],
                "containers": [{"envFrom": [{"configMapRef": {"name": "a"}}]}],
                "volumes": [
                    {"secret": {"secretName": "b"}},
                    {"csi": {"nodePublishSecretRef": {"name": "c"}}},
                    {"secret": {"secretName": "pull"}},
                ],
            }
        }
    )

    assert {str(one): one.is_configuration for one in found} == {
        "ConfigMap a": True,
        "Secret b": True,
        "Secret c": False,
        "Secret pull": True,
        "ServiceAccount shop": False,
    }


FLAG = Flag(name="FEATURE", value="false", env=EnvFlag(container="shop"))


def deployment(*env: dict[str, Any], **container: Any) -> dict[str, Any]:
    shop = {"name": "shop", "image": "a", "env": list(env), **container}
    template = {"metadata": {}, "spec": {"containers": [{"name": "side"}, shop]}}
    return {"metadata": {"uid": "d"}, "spec": {"template": template}}


def test_a_variable_is_read_with_the_template_that_its_new_value_makes() -> None:
    raw = deployment({"name": "A", "value": "1"}, {"name": "FEATURE", "value": "true"})
    made = copy.deepcopy(raw["spec"]["template"])
    made["spec"]["containers"][1]["env"][1]["value"] = "false"

    state = variable_of(raw, FLAG, "shop")

    assert (state.uid, state.value, state.obstacle) == ("d", "true", "")
    assert state.bare == template_of(made).bare


def test_of_two_variables_the_last_counts_and_an_empty_value_is_stored_as_none() -> None:
    raw = deployment({"name": "FEATURE", "value": "1"}, {"name": "FEATURE", "value": "2"})
    made = copy.deepcopy(raw["spec"]["template"])
    del made["spec"]["containers"][1]["env"][1]["value"]

    state = variable_of(raw, FLAG.model_copy(update={"value": ""}), "shop")

    assert state.value == "2"
    assert state.bare == template_of(made).bare


@pytest.mark.parametrize(
    ("raw", "container", "said"),
    [
        (deployment(), "other", "no container other, only side, shop"),
        (deployment(), "shop", "no variable FEATURE in env. Otherwise set configMapRef"),
        (
            deployment(envFrom=[{"configMapRef": {"name": "c"}}]),
            "shop",
            "If it comes from envFrom, set configMapRef",
        ),
        (
            deployment(
                {"name": "FEATURE", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "F"}}}
            ),
            "shop",
            "has valueFrom: set the flag at its source (configMapRef: c)",
        ),
        (
            deployment({"name": "FEATURE", "valueFrom": {"secretKeyRef": {"name": "s"}}}),
            "shop",
            "has valueFrom: set the flag at its source",
        ),
    ],
)
def test_what_is_no_value_of_the_container_is_refused_with_the_remedy(raw, container, said) -> None:
    state = variable_of(raw, FLAG, container)

    assert state.value is None
    assert said in state.obstacle
