"""The chart's admission policies: shaped as Kubernetes wants them, no Secret forgotten."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import kubernetes_validate
import pytest
import yaml

from lab import chart
from lab.errors import LabError
from rollback_operator.api.crd import custom_resource_definition
from rollback_operator.api.v1alpha1 import GROUP, RollbackPolicy
from rollback_operator.model import stop
from rollback_operator.rollback.approval import POLICY_NAME

URL = {"prometheus": {"url": "http://prometheus.monitoring:9090"}}
POLICY, BINDING = "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"


def policies(**values: Any) -> dict[tuple[str, str], dict[str, Any]]:
    objects = chart.rendered({**URL, **values}, name="guard", namespace="operators")
    kinds = (POLICY, BINDING)
    return {(one["kind"], one["metadata"]["name"]): one for one in objects if one["kind"] in kinds}


def test_each_policy_is_bound_so_that_it_refuses() -> None:
    found = policies()
    names = {name for kind, name in found if kind == POLICY}
    assert POLICY_NAME in names
    for name in names:
        # What people release must not hang on the operator's own policies.
        wanted = "Ignore" if name == "rollback-operator-quarantine" else "Fail"
        assert found[POLICY, name]["spec"]["failurePolicy"] == wanted
        bound = found[BINDING, name]["spec"]
        assert (bound["policyName"], bound["validationActions"]) == (name, ["Deny"])
    assert len(found) == 2 * len(names)


@pytest.mark.parametrize("one", policies().values(), ids=lambda one: one["metadata"]["name"])
def test_kubernetes_takes_them(one: Mapping[str, Any]) -> None:
    kubernetes_validate.validate(one, "1.34", strict=True)


def test_only_a_decision_on_the_stored_plan_is_taken_and_only_an_older_one_is_replaced() -> None:
    """The texts; tests/integration/test_admission.py has a real API server apply them."""
    found = policies()[POLICY, POLICY_NAME]["spec"]
    (plan,) = [one["expression"] for one in found["variables"] if one["name"] == "plan"]
    rules = " ".join(one["expression"] for one in found["validations"])
    assert "oldObject.status.planDigest" in plan
    assert "variables.given.planDigest == variables.plan" in rules
    assert "variables.before.planDigest != variables.plan" in rules
    assert "variables.given.planDigest != variables.before.planDigest" not in rules


def test_a_release_for_some_namespaces_asks_for_nothing_of_the_clusters() -> None:
    assert policies(watchNamespaces=["production"], admission={"create": False}) == {}


def test_it_is_not_left_out_without_a_word() -> None:
    with pytest.raises(LabError, match=r"Set admission\.create=false"):
        policies(watchNamespaces=["production"])


@pytest.mark.parametrize(
    "version",
    ["v1.30.0", "v1.30.5-gke.1014000", "v1.31.2-eks-7f9249a", "v1.32.0+k3s1", "v1.34.0-rc.1"],
)
def test_versions_that_bring_what_it_needs_are_taken(version: str) -> None:
    assert is_taken(version)


@pytest.mark.parametrize("version", ["v1.29.14", "v1.29.9-gke.1496000", "v1.28.0"])
def test_versions_without_admission_policies_are_refused(version: str) -> None:
    assert not is_taken(version)


def is_taken(version: str) -> bool:
    """Compare as helm does (semver with pre-releases, which `-0` lets in)."""
    wanted = yaml.safe_load((chart.CHART / "Chart.yaml").read_text())["kubeVersion"]
    least = re.fullmatch(r">=(\d+)\.(\d+)\.0-0", wanted)
    assert least is not None, f"{wanted} leaves vendors' versions out"
    found = re.match(r"v(\d+)\.(\d+)\.", version)
    assert found is not None
    return tuple(map(int, found.groups())) >= tuple(map(int, least.groups()))


def test_the_fence_can_be_left_out() -> None:
    left = {name for _, name in policies(admission={"fence": False})}
    assert not [name for name in left if "fence" in name]
    assert "rollback-operator-records" in left


def test_the_operators_account_is_fenced_in_each_kind_that_it_may_change() -> None:
    """What a role lets it write is fenced, or is harmless by itself and named here."""
    unfenced = {("coordination.k8s.io", "leases")}
    status = {(GROUP, "rollbackpolicies/status"), (GROUP, "rollbacks/status")}
    objects = chart.rendered(
        {
            **URL,
            "rbac": {"podLogs": True, "autoscalers": True, "otherTools": True},
            "gitOps": OWNERS,
            "patchConfigMaps": [{"namespace": "a"}],
            "migrations": {"namespaces": ["a"]},
            "restoreConfigMaps": [{"namespace": "a"}],
        },
        name="guard",
        namespace="operators",
    )
    people = ("-view", "-edit", "-admin", "-approver")
    written = {
        (group, resource)
        for one in objects
        if one["kind"] in {"Role", "ClusterRole"} and not one["metadata"]["name"].endswith(people)
        for rule in one["rules"]
        if set(rule["verbs"]) & {"create", "update", "patch", "delete"}
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }
    fenced = {
        (group, resource)
        for (kind, name), one in policies().items()
        if kind == POLICY and name.startswith("rollback-operator-fence-")
        for rule in one["spec"]["matchConstraints"]["resourceRules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }
    assert written - fenced == unfenced | status


def test_whoever_has_jobs_created_may_create_them() -> None:
    """The texts; a real API server compiles them in tests/integration/test_admission.py."""
    for name in ("rollback-operator-rights", "rollback-operator-requested-policies"):
        rules = policies()[POLICY, name]["spec"]["validations"]
        asked = [one["expression"] for one in rules if "resource('jobs')" in one["expression"]]
        (rule,) = asked
        assert ".check('create').allowed()" in rule
        assert "rollbackMigrations.job" in rule
        assert "rollbackMigrations.backup.job" in rule


@pytest.mark.parametrize(
    ("resource", "verb"), [("jobs", "create"), ("secrets", "get"), ("services", "patch")]
)
def test_who_requests_a_rollback_may_do_what_it_changes(resource: str, verb: str) -> None:
    rules = policies()[POLICY, "rollback-operator-requested-policies"]["spec"]["validations"]
    (rule,) = [one["expression"] for one in rules if f"resource('{resource}')" in one["expression"]]
    assert f".check('{verb}').allowed()" in rule


def test_a_policy_names_the_lease_of_the_operator() -> None:
    objects = chart.rendered(URL, name="guard", namespace="operators")
    (anchor,) = [one for one in objects if one["metadata"]["name"] == stop.ANCHOR][:1]
    (role,) = [one for one in objects if one["metadata"]["name"].endswith("-lease")][:1]
    place = f"operators/{role['rules'][0]['resourceNames'][0]}"
    assert anchor["metadata"]["annotations"][stop.LABEL] == place


def test_who_writes_a_status_is_asked_for_the_operators_account() -> None:
    found = policies(serviceAccount={"name": "judge"})[POLICY, "rollback-operator-records"]
    first, _ = found["spec"]["matchConditions"]
    account = "system:serviceaccount:operators:judge"
    assert first["expression"] == f"request.userInfo.username != '{account}'"


def test_the_operator_is_known_by_its_account() -> None:
    account = "system:serviceaccount:operators:judge"
    for name in ("rollback-operator-requests", "rollback-operator-requested-policies"):
        rules = policies(serviceAccount={"name": "judge"})[POLICY, name]["spec"]
        (condition,) = rules["matchConditions"]
        assert condition["expression"] == f"request.userInfo.username != '{account}'"


def test_every_secret_that_a_policy_can_name_is_asked_for() -> None:
    """A reference that is not in the list would be read with the operator's rights, for anybody."""
    rights = policies()[POLICY, "rollback-operator-rights"]["spec"]
    asked = " ".join(one["expression"] for one in rights["variables"])
    named = set(_references(_schema()["properties"]["spec"], ""))
    assert named, "the walk finds none"
    missing = {one for one in named if f"{one.rpartition('.')[2]}.name" not in asked}
    assert not missing


def test_who_has_logs_read_may_read_them() -> None:
    rights = policies()[POLICY, "rollback-operator-rights"]["spec"]
    (asked,) = (one for one in rights["validations"] if "'log'" in one["expression"])
    assert "object.spec.verification.logs" in asked["expression"]


OWNERS = {"argoCD": {"namespaces": ["argocd"]}, "flux": {"namespaces": ["flux-system", "apps"]}}


@pytest.mark.parametrize(
    ("name", "asks"),
    [
        ("rollback-operator-rights", "object.spec.safety.gitOps == 'Suspend'"),
        ("rollback-operator-requested-policies", "params.spec.safety.gitOps == 'Suspend'"),
    ],
)
def test_who_has_owners_suspended_may_patch_them(name: str, asks: str) -> None:
    found = policies(gitOps=OWNERS)[POLICY, name]
    kubernetes_validate.validate(found, "1.34", strict=True)
    validations = found["spec"]["validations"]
    asked = [one for one in validations if "spec.safety.gitOps" in one.get("message", "")]
    where = [one["message"].partition(" in ")[2].partition(",")[0] for one in asked]
    assert where == ["argocd", "flux-system", "apps"]
    assert all(asks in one["expression"] for one in asked)


def _references(node: Mapping[str, Any], path: str) -> Iterator[str]:
    for name, child in (node.get("properties") or {}).items():
        if name.lower().endswith("secretref"):
            yield f"{path}.{name}"
        yield from _references(child, f"{path}.{name}")
    if "items" in node:
        yield from _references(node["items"], path)


def _schema() -> dict[str, Any]:
    (version,) = custom_resource_definition(RollbackPolicy)["spec"]["versions"]
    found: dict[str, Any] = version["schema"]["openAPIV3Schema"]
    return found


def test_every_config_map_that_a_policy_has_set_is_asked_for() -> None:
    rights = policies()[POLICY, "rollback-operator-rights"]["spec"]["validations"]
    asked = [one["expression"] for one in rights if "'configmaps'" in one["expression"]]
    for names, most in (("flags", 4), ("restored", 8)):
        assert any(one["expression"] == f"size(variables.{names}) <= {most}" for one in rights)
        for place in range(most):
            (one,) = (each for each in asked if f"variables.{names}[{place}]" in each)
            assert ".check('patch')" in one
