"""The chart asks for no right too many, and for none of the cluster where namespaces are named."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from lab import chart
from lab.errors import LabError
from rollback_operator.api.v1alpha1 import GROUP

URL = {"prometheus": {"url": "http://prometheus.monitoring:9090"}}
NO_POLICIES = {"admission": {"create": False}}
IN_NAMESPACES = {**URL, **NO_POLICIES, "watchNamespaces": ["production", "staging"]}
RIGHTS = {
    (GROUP, "rollbackpolicies"): {"list", "watch", "patch"},
    (GROUP, "rollbackpolicies/status"): {"patch"},
    (GROUP, "rollbacks"): {"list", "watch", "create", "patch", "delete"},
    (GROUP, "rollbacks/status"): {"patch"},
    ("apps", "deployments"): {"get", "list", "watch", "patch"},
    ("apps", "replicasets"): {"get", "list"},
    ("", "pods"): {"list"},
    ("autoscaling", "horizontalpodautoscalers"): {"list"},
    ("", "services"): {"list"},
    ("discovery.k8s.io", "endpointslices"): {"list"},
    ("", "events"): {"create"},
    ("", "persistentvolumeclaims"): {"get"},
    ("", "serviceaccounts"): {"get"},
    ("", "resourcequotas"): {"list"},
}
CLUSTER_RIGHTS = {
    ("", "nodes"): {"list"},
    ("admissionregistration.k8s.io", "validatingadmissionpolicies"): {"get"},
    ("admissionregistration.k8s.io", "validatingadmissionpolicybindings"): {"get"},
}
LEASE_RIGHTS = {("coordination.k8s.io", "leases"): {"get", "create", "update"}}


def render(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    return chart.rendered(values, name="guard", namespace="operators")


def of_kind(objects: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [each for each in objects if each["kind"] == kind]


def rights(role: Mapping[str, Any]) -> dict[tuple[str, str], set[str]]:
    found: dict[tuple[str, str], set[str]] = {}
    for rule in role["rules"]:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                found.setdefault((group, resource), set()).update(rule["verbs"])
    return found


def granted(objects: list[dict[str, Any]], binding: Mapping[str, Any]) -> dict[str, Any]:
    """The role behind a binding, which must be in the chart too."""
    reference, namespace = binding["roleRef"], binding["metadata"].get("namespace")
    (role,) = (
        each
        for each in of_kind(objects, reference["kind"])
        if each["metadata"]["name"] == reference["name"]
        and each["metadata"].get("namespace") == namespace
    )
    return role


def test_rights_of_the_whole_cluster_are_exactly_those_used() -> None:
    objects = render(URL)
    (binding,) = of_kind(objects, "ClusterRoleBinding")

    assert rights(granted(objects, binding)) == RIGHTS | CLUSTER_RIGHTS
    assert binding["subjects"] == [
        {"kind": "ServiceAccount", "name": "guard-rollback-operator", "namespace": "operators"}
    ]


@pytest.mark.parametrize(
    ("value", "added"),
    [
        pytest.param("podLogs", {("", "pods/log"): {"get"}}, id="logs"),
        pytest.param(
            "autoscalers",
            {("autoscaling", "horizontalpodautoscalers"): {"get", "list", "patch"}},
            id="bounds of autoscalers",
        ),
    ],
)
def test_what_some_policies_need_is_given_only_where_it_is_wanted(
    value: str, added: Mapping[tuple[str, str], set[str]]
) -> None:
    objects = render({**URL, "rbac": {value: True}})
    (binding,) = of_kind(objects, "ClusterRoleBinding")

    assert rights(granted(objects, binding)) == {**RIGHTS, **CLUSTER_RIGHTS, **added}


def test_other_tools_objects_are_listed_only_where_that_is_wanted() -> None:
    objects = render({**URL, "rbac": {"otherTools": True}})
    (binding,) = of_kind(objects, "ClusterRoleBinding")

    assert rights(granted(objects, binding)) == RIGHTS | CLUSTER_RIGHTS | {
        ("flagger.app", "canaries"): {"list"},
        ("argoproj.io", "rollouts"): {"list"},
        ("image.toolkit.fluxcd.io", "imagepolicies"): {"list"},
        ("image.toolkit.fluxcd.io", "imageupdateautomations"): {"list"},
    }


def test_rights_of_named_namespaces_need_no_cluster_role() -> None:
    objects = render(IN_NAMESPACES)
    bindings = of_kind(objects, "RoleBinding")
    found = {
        binding["metadata"]["namespace"]: rights(granted(objects, binding)) for binding in bindings
    }

    assert found == {"production": RIGHTS, "staging": RIGHTS, "operators": LEASE_RIGHTS}
    assert not [each["kind"] for each in objects if each["kind"].startswith("Cluster")]
    assert {each["subjects"][0]["namespace"] for each in bindings} == {"operators"}


def test_the_own_namespace_can_be_watched_too() -> None:
    objects = render({**URL, **NO_POLICIES, "watchNamespaces": ["operators"]})
    bindings = of_kind(objects, "RoleBinding")
    found = {each["metadata"]["name"]: rights(granted(objects, each)) for each in bindings}

    assert found == {
        "guard-rollback-operator-lease": LEASE_RIGHTS,
        "operators-guard-rollback-operator": RIGHTS,
    }


@pytest.mark.parametrize("values", [URL, IN_NAMESPACES])
def test_rights_of_leases_end_at_the_own_one(values: Mapping[str, Any]) -> None:
    objects = render(values)
    (binding,) = (
        each
        for each in of_kind(objects, "RoleBinding")
        if each["metadata"]["namespace"] == "operators"
    )
    role = granted(objects, binding)

    assert rights(role) == LEASE_RIGHTS
    named = [rule.get("resourceNames") for rule in role["rules"] if rule["verbs"] != ["create"]]
    (deployment,) = of_kind(objects, "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    settings = {each["name"]: each.get("value") for each in container["env"]}
    assert named == [[settings["ROLLBACK_OPERATOR_LEASE_NAME"]]]


def test_rights_of_people_widen_the_clusters_own_roles() -> None:
    prefix = "rbac.authorization.k8s.io/aggregate-to-"
    found = {
        to: rights({"rules": rules})
        for to in ("view", "edit", "admin")
        if (
            rules := [
                rule
                for role in of_kind(render(URL), "ClusterRole")
                if role["metadata"]["labels"].get(prefix + to) == "true"
                for rule in role["rules"]
            ]
        )
    }
    policies, rollbacks = (GROUP, "rollbackpolicies"), (GROUP, "rollbacks")
    look = {"get", "list", "watch"}
    change = {"create", "update", "patch", "delete", "deletecollection"}

    # Which Lease is the operator's, so that `undo` knows of a stop.
    anchor = "admissionregistration.k8s.io", "validatingadmissionpolicies"

    assert found["view"] == {policies: look, rollbacks: look, anchor: {"get"}}
    assert found["edit"] == {
        policies: look | change,
        rollbacks: look | {"create"},
        anchor: {"get"},
    }
    assert found["admin"] == {
        anchor: {"get"},
        policies: look | change,
        rollbacks: look | {"create", "patch", "delete", "deletecollection"},
        (GROUP, "rollbacks/approval"): {"update"},
    }


def test_without_admission_policies_nobody_asks_or_approves_by_them() -> None:
    objects = render({**URL, **NO_POLICIES})
    assert not [each for each in objects if each["kind"].startswith("ValidatingAdmission")]
    people = [
        rule
        for role in of_kind(objects, "ClusterRole")
        if "aggregationRule" not in role and not role["metadata"]["name"].endswith("-operator")
        for rule in role["rules"]
    ]
    given = rights({"rules": people})[GROUP, "rollbacks"]
    assert given.isdisjoint({"create", "patch"})


@pytest.mark.parametrize(
    ("setting", "left"), [("aggregate", {"ClusterRole": 1, "Role": 1}), ("create", {})]
)
def test_rights_can_be_left_to_others(setting: str, left: Mapping[str, int]) -> None:
    objects = render({**URL, "rbac": {setting: False}})

    for kind in ("ClusterRole", "Role"):
        assert len(of_kind(objects, kind)) == left.get(kind, 0)


def test_secrets_are_read_only_where_they_are_listed() -> None:
    listed = [{"namespace": "production", "names": ["slack", "ticket-db"]}, {"namespace": "qa"}]
    objects = render({**URL, "readSecrets": listed})
    bindings = [
        each
        for each in of_kind(objects, "RoleBinding")
        if each["metadata"]["name"] == "operators-guard-rollback-operator-secrets"
    ]
    rules = {each["metadata"]["namespace"]: granted(objects, each)["rules"] for each in bindings}
    secrets = {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}

    assert rules == {
        "production": [{**secrets, "resourceNames": ["slack", "ticket-db"]}],
        "qa": [secrets],
    }
    assert {each["subjects"][0]["namespace"] for each in bindings} == {"operators"}
    (binding,) = of_kind(objects, "ClusterRoleBinding")
    assert rights(granted(objects, binding)) == RIGHTS | CLUSTER_RIGHTS


def test_owners_are_suspended_only_where_they_are_listed() -> None:
    listed = {"argoCD": {"namespaces": ["argocd", "apps"]}, "flux": {"namespaces": ["flux-system"]}}
    objects = render({**URL, "gitOps": listed})
    suspended = {"get", "patch"}
    found = {
        (binding["metadata"]["namespace"], key): verbs
        for binding in of_kind(objects, "RoleBinding")
        if binding["metadata"]["namespace"] != "operators"
        for key, verbs in rights(granted(objects, binding)).items()
    }

    assert found == {
        ("argocd", ("argoproj.io", "applications")): suspended,
        ("argocd", ("argoproj.io", "applicationsets")): {"get"},
        ("argocd", ("argocd-image-updater.argoproj.io", "imageupdaters")): {"list"},
        ("apps", ("argoproj.io", "applications")): suspended,
        ("apps", ("argoproj.io", "applicationsets")): {"get"},
        ("apps", ("argocd-image-updater.argoproj.io", "imageupdaters")): {"list"},
        ("flux-system", ("kustomize.toolkit.fluxcd.io", "kustomizations")): suspended,
        ("flux-system", ("helm.toolkit.fluxcd.io", "helmreleases")): suspended,
        ("flux-system", ("image.toolkit.fluxcd.io", "imagepolicies")): {"list"},
        ("flux-system", ("image.toolkit.fluxcd.io", "imageupdateautomations")): {"list"},
    }
    (deployment,) = of_kind(objects, "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    settings = {each["name"]: each.get("value") for each in container["env"]}
    assert settings["ROLLBACK_OPERATOR_ARGO_CD_NAMESPACE"] == "argocd"


@pytest.mark.parametrize(
    "value", ["readSecrets", "patchConfigMaps", "restoreConfigMaps", "readConfigMaps"]
)
def test_a_namespace_listed_twice_is_refused(value: str) -> None:
    twice = [{"namespace": "qa", "names": ["a"]}, {"namespace": "qa", "names": ["b"]}]

    with pytest.raises(LabError, match="namespace qa is listed twice"):
        render({**URL, value: twice})


def test_config_maps_are_restored_and_stored_only_where_they_are_listed() -> None:
    listed = [{"namespace": "production", "names": ["shop"]}, {"namespace": "qa"}]
    objects = render({**URL, "restoreConfigMaps": listed})
    rules = {
        each["metadata"]["namespace"]: granted(objects, each)["rules"]
        for each in of_kind(objects, "RoleBinding")
        if each["metadata"]["name"] == "operators-guard-rollback-operator-configmaps"
    }
    config_maps = {"apiGroups": [""], "resources": ["configmaps"]}
    changed = {**config_maps, "verbs": ["get", "patch"]}
    made = {**config_maps, "verbs": ["create"]}

    assert rules == {
        "production": [{**changed, "resourceNames": ["shop", "shop.known-good"]}, made],
        "qa": [changed, made],
    }


def test_config_maps_are_read_and_changed_only_where_they_are_listed() -> None:
    set_there = [
        {"namespace": "production", "names": ["ticket-service-config"]},
        {"namespace": "qa"},
    ]
    read = [{"namespace": "production", "names": ["urls"]}, {"namespace": "staging"}]
    objects = render({**URL, "patchConfigMaps": set_there, "readConfigMaps": read})
    bindings = [
        each
        for each in of_kind(objects, "RoleBinding")
        if each["metadata"]["name"] == "operators-guard-rollback-operator-configmaps"
    ]
    rules = {each["metadata"]["namespace"]: granted(objects, each)["rules"] for each in bindings}
    config_maps = {"apiGroups": [""], "resources": ["configmaps"]}
    looked_for = {**config_maps, "verbs": ["get"]}
    changed = {**config_maps, "verbs": ["get", "patch"]}

    assert rules == {
        "production": [
            {**changed, "resourceNames": ["ticket-service-config"]},
            {**looked_for, "resourceNames": ["urls"]},
        ],
        "qa": [changed],
        "staging": [looked_for],
    }
    assert {each["subjects"][0]["namespace"] for each in bindings} == {"operators"}
    (binding,) = of_kind(objects, "ClusterRoleBinding")
    assert rights(granted(objects, binding)) == RIGHTS | CLUSTER_RIGHTS
