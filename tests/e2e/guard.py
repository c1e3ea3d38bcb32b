"""Keeps the operator from changing the Deployments of one namespace, by the API server's own means.

So the moment between a stored intent and the act, of a few milliseconds, lasts as long as a
scenario wants it to.
"""

from __future__ import annotations

import json
from types import TracebackType
from typing import Any, Self

from lab.errors import LabError
from lab.session import Session
from lab.tickets import wait_for

API = "admissionregistration.k8s.io/v1"
PROPAGATION_SECONDS = 30


class Guard:
    """In force for the time of a `with` block."""

    def __init__(self, lab: Session, namespace: str, operator: str) -> None:
        self._lab = lab
        self._namespace = namespace
        self._user = f"system:serviceaccount:{operator}:{operator}"

    def __enter__(self) -> Self:
        document = {"apiVersion": "v1", "kind": "List", "items": self._objects()}
        self._lab.kubectl("apply", "-f", "-", input=json.dumps(document))
        wait_for("the guard to refuse", PROPAGATION_SECONDS, lambda: not self._lets_pass())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        kinds = "validatingadmissionpolicybindings,validatingadmissionpolicies"
        self._lab.kubectl("delete", kinds, self._namespace)

    def _objects(self) -> list[dict[str, Any]]:
        metadata = {"name": self._namespace}
        rule = {
            "apiGroups": ["apps"],
            "apiVersions": ["v1"],
            "operations": ["UPDATE"],
            "resources": ["deployments"],
        }
        here = {"matchLabels": {"kubernetes.io/metadata.name": self._namespace}}
        is_operator = f"request.userInfo.username == '{self._user}'"
        policy = {
            "failurePolicy": "Fail",
            "matchConstraints": {"namespaceSelector": here, "resourceRules": [rule]},
            "matchConditions": [{"name": "the-operator", "expression": is_operator}],
            "validations": [{"expression": "false", "message": "the scenario holds this back"}],
        }
        binding = {"policyName": self._namespace, "validationActions": ["Deny"]}
        return [
            {
                "apiVersion": API,
                "kind": "ValidatingAdmissionPolicy",
                "metadata": metadata,
                "spec": policy,
            },
            {
                "apiVersion": API,
                "kind": "ValidatingAdmissionPolicyBinding",
                "metadata": metadata,
                "spec": binding,
            },
        ]

    def _lets_pass(self) -> bool:
        """Ask the API server whether the operator might write now; nothing is written."""
        change = json.dumps([{"op": "add", "path": "/spec/paused", "value": False}])
        try:
            self._lab.kubectl(
                "patch",
                "deployment/ticket-service",
                f"--namespace={self._namespace}",
                f"--as={self._user}",
                "--dry-run=server",
                "--type=json",
                f"--patch={change}",
            )
        except LabError as error:
            if "holds this back" not in str(error):
                raise
            return False
        return True
