"""Whether a flag could be set is told while all is well: rights and ConfigMaps as they are."""

from __future__ import annotations

import pytest

from tests.integration.api import Object, eventually
from tests.integration.service import FLAG, FLAGS, Service
from tests.integration.stand import ACCOUNT, HOME

pytestmark = [
    pytest.mark.xdist_group("flags-beforehand"),
    pytest.mark.usefixtures("operator"),
    pytest.mark.timeout(1200),
]

UNDO = {"type": "Undo", "to": "LastKnownGood"}
RBAC = "/apis/rbac.authorization.k8s.io/v1"


def disable(name: str = FLAG) -> Object:
    flag = {"name": name, "value": "false", "configMapRef": {"name": FLAGS}}
    return {"type": "DisableFlag", "flag": flag}


def grant(service: Service) -> None:
    """Let the operator patch the ConfigMap, as the chart's patchConfigMaps does."""
    api, place = service.stand.api, f"{RBAC}/namespaces/{service.namespace}"
    rule = {
        "apiGroups": [""],
        "resources": ["configmaps"],
        "resourceNames": [FLAGS],
        "verbs": ["patch"],
    }
    api.create(f"{place}/roles", {"metadata": {"name": "flags"}, "rules": [rule]})
    binding = {
        "metadata": {"name": "flags"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "flags"},
        "subjects": [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": HOME}],
    }
    api.create(f"{place}/rolebindings", binding)


def is_told(service: Service, status: str, said: str) -> bool:
    found = service.condition("Ready")
    is_unusable = (found.get("status"), found.get("reason")) == (status, "FlagUnusable")
    return is_unusable and said in found["message"]


@pytest.mark.extended
def test_a_right_that_is_missing_is_told_until_it_is_given(service: Service) -> None:
    service.has_flag("true")
    service.prepare(remedies=[disable(), UNDO])
    eventually(lambda: is_told(service, "True", "patchConfigMaps"), "the right is missed", 30)

    grant(service)

    eventually(
        lambda: service.condition("Ready")["reason"] != "FlagUnusable", "the right is seen", 90
    )


def test_a_key_that_is_not_there_is_told_and_that_nothing_else_is_left(service: Service) -> None:
    service.has_flag("true")
    service.prepare(remedies=[disable("ANOTHER")])

    eventually(
        lambda: is_told(service, "False", "the ConfigMap has no key ANOTHER; for P1, P2 no other"),
        "the key is missed",
        30,
    )
