"""The chart's admission policies: shaped as Kubernetes wants them, no Secret forgotten."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import kubernetes_validate
import pytest

from lab import chart
from rollback_operator.api.crd import custom_resource_definition
from rollback_operator.api.v1alpha1 import RollbackPolicy
from rollback_operator.core.approval import POLICY_NAME

URL = {
    "prometheus": {"url": "http://prometheus.monitoring:9090"},
    "admission": {"create": True},
}
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


def test_a_release_for_some_namespaces_asks_for_nothing_of_the_clusters() -> None:
    assert policies(watchNamespaces=["production"]) == {}


def test_the_operator_is_known_by_its_account() -> None:
    found = policies(serviceAccount={"name": "judge"})[POLICY, "rollback-operator-requests"]
    (condition,) = found["spec"]["matchConditions"]
    account = "system:serviceaccount:operators:judge"
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
        ("rollback-operator-requests", "params.spec.safety.gitOps == 'Suspend'"),
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
    assert any(one["expression"] == f"size(variables.flags) <= {len(asked)}" for one in rights)
    for place, one in enumerate(asked):
        assert f"variables.flags[{place}]" in one
        assert ".check('patch')" in one
