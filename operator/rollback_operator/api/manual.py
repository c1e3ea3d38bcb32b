"""Manual requests: the fields that a person sets, and the schema that makes the rest optional.

The operator's own Rollbacks have their whole plan in spec. A manual request has a policy, a remedy,
a reason and the observed state; the operator stores its plan in status.plan before any change.
"""

from typing import Any

from rollback_operator.api.shape import cel

_PLANNED = ("targetRef", "mode", "severity", "fromRevision", "trigger")
_WITH_PLAN = (
    "toRevision",
    "flag",
    "pace",
    "verification",
    "approvalPolicy",
    "requiresApproval",
    "attempt",
    "owner",
    "autoscaler",
)


def whole_or_by_hand(schema: dict[str, Any]) -> None:
    """Let a spec contain the whole plan or none of it; the model itself requires the whole."""
    first, *rest = _PLANNED
    known = [name for name in _WITH_PLAN if name in schema["properties"]]
    together = [f"has(self.{name}) == has(self.{first})" for name in rest]
    within = [f"(!has(self.{name}) || has(self.{first}))" for name in known]
    schema["required"] = ["policyRef", "remedy"]
    schema.setdefault("x-kubernetes-validations", []).extend(
        [
            cel(
                " && ".join([*together, *within]),
                "a manual request must set only policyRef.name, remedy, reason and seen; the "
                "operator plans the rest",
            ),
            cel(
                f"has(self.{first}) != has(self.reason)",
                "reason is required in a manual request and must not be set otherwise",
                ".reason",
            ),
            cel(
                f"has(self.{first}) != has(self.seen)",
                "seen is required in a manual request and must not be set otherwise: Deployment, "
                "revision and digest from the policy's status, which the plugin copies",
                ".seen",
            ),
            cel(
                f"!has(self.{first}) || has(self.policyRef.uid)",
                "policyRef.uid is required in a plan",
            ),
            cel(
                f"has(self.{first}) || self.remedy.type != 'DisableFlag'",
                "DisableFlag must not be set in a manual request: change the ConfigMap, and "
                "restart the pods if they read it as an environment variable",
                ".remedy.type",
            ),
        ]
    )


def name_suffices(schema: dict[str, Any]) -> None:
    """Make the uid of a policy reference optional: only the operator knows it for sure."""
    schema["required"] = ["name"]
