"""What a target needs around it, through the API server: existence, nodes, quotas, protection.

Of ConfigMaps and Secrets only metadata is asked for: what is in them is nobody's business here.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

from rollback_operator import paths
from rollback_operator.apiserver import ApiServer
from rollback_operator.core.approval import POLICY_NAME
from rollback_operator.core.surroundings import Amounts, Cluster, Node, Quota, Reference, Usage
from rollback_operator.ports.failure import Failure, FailureKind
from rollback_operator.projections.needs import quantity, requests_of

MOST_NODES = 200
MOST_PODS = 500
KINDS = {
    "ConfigMap": paths.CONFIG_MAPS,
    "Secret": paths.SECRETS,
    "ServiceAccount": paths.SERVICE_ACCOUNTS,
    "PersistentVolumeClaim": paths.VOLUME_CLAIMS,
}
LISTED = {"ConfigMap": "readConfigMaps", "Secret": "readSecrets"}
"""The chart's values that give the right to look for one: nobody has it unasked."""
_ENDED = ("Succeeded", "Failed")


class ApiSurroundings:
    """The Surroundings port on a real API server."""

    def __init__(self, api: ApiServer) -> None:
        self._api = api

    async def is_there(self, namespace: str, reference: Reference) -> bool | Failure:
        """Look whether an object exists."""
        path = paths.one_in(KINDS[reference.kind], namespace, reference.name)
        if path.fault:
            # A template may name anything: no object has a name of another form.
            return False
        found = await self._api.get_metadata(path)
        if not isinstance(found, Failure):
            return not found["metadata"].get("deletionTimestamp")
        if found.kind is FailureKind.GONE:
            return False
        if found.kind is FailureKind.REJECTED:
            value = LISTED.get(reference.kind)
            listed = f": list it in the chart's {value}" if value else ""
            return Failure(found.kind, f"the operator may not look for it{listed}")
        return found

    async def cluster(self) -> Cluster | Failure:
        """Read the nodes, and the pods if they are not too many."""
        nodes, pods = await asyncio.gather(
            self._api.get(
                paths.whole_cluster(paths.NODES), limit=str(MOST_NODES), resourceVersion="0"
            ),
            self._api.get(paths.whole_cluster(paths.PODS), limit=str(MOST_PODS)),
        )
        if isinstance(nodes, Failure):
            refused = nodes.kind is FailureKind.REJECTED
            return Failure(nodes.kind, "the operator may not list nodes") if refused else nodes
        is_counted = not isinstance(pods, Failure) and not _is_cut(pods)
        return Cluster(
            nodes=tuple(_node(one) for one in nodes.get("items") or ()),
            usage=_usage(pods) if is_counted and not isinstance(pods, Failure) else None,
            is_whole=not _is_cut(nodes),
        )

    async def quotas(self, namespace: str) -> tuple[Quota, ...] | Failure:
        """Read what the quotas of a namespace leave."""
        found = await self._api.get(paths.in_namespace(paths.QUOTAS, namespace))
        if isinstance(found, Failure):
            return found
        return tuple(
            _quota(one)
            for one in found.get("items") or ()
            # A quota of some pods only (terminating, best effort, a priority) may not be theirs.
            if not (one.get("spec") or {}).get("scopes")
            and not (one.get("spec") or {}).get("scopeSelector")
        )

    async def approvals_unprotected(self) -> str | Failure:
        """Look whether the chart's admission policy on approvals is there and bites."""
        policy, binding = await asyncio.gather(
            self._api.get(paths.one_of_cluster(paths.ADMISSION_POLICIES, POLICY_NAME)),
            self._api.get(paths.one_of_cluster(paths.ADMISSION_BINDINGS, POLICY_NAME)),
        )
        for kind, found in (("policy", policy), ("its binding", binding)):
            if isinstance(found, Failure) and found.kind is FailureKind.GONE:
                return f"the admission policy {POLICY_NAME} is not installed ({kind} is missing)"
            if isinstance(found, Failure) and found.kind is FailureKind.REJECTED:
                return f"the operator may not see whether admission policy {POLICY_NAME} is there"
            if isinstance(found, Failure):
                return found
        return "" if _bites(policy, binding) else f"admission policy {POLICY_NAME} refuses nothing"


class NarrowSurroundings(ApiSurroundings):
    """The same for an operator of single namespaces, which may not look at the whole cluster."""

    async def cluster(self) -> Cluster | Failure:
        """Say that the nodes cannot be seen, without asking in vain."""
        return Failure(FailureKind.REJECTED, "an operator of single namespaces may not list nodes")


def _bites(policy: Any, binding: Any) -> bool:
    """Tell whether a policy is bound so that it refuses, everywhere."""
    spec, bound = policy.get("spec") or {}, binding.get("spec") or {}
    narrow = bound.get("matchResources") or {}
    return (
        spec.get("failurePolicy", "Fail") == "Fail"
        and bound.get("policyName") == POLICY_NAME
        and "Deny" in (bound.get("validationActions") or [])
        and not any(
            narrow.get(key)
            for key in ("namespaceSelector", "objectSelector", "excludeResourceRules")
        )
    )


def _is_cut(listed: Mapping[str, Any]) -> bool:
    return bool((listed.get("metadata") or {}).get("continue"))


def _node(raw: Mapping[str, Any]) -> Node:
    spec, status = raw.get("spec") or {}, raw.get("status") or {}
    conditions = {one.get("type"): one.get("status") for one in status.get("conditions") or []}
    allocatable = status.get("allocatable") or {}
    return Node(
        name=raw["metadata"]["name"],
        is_usable=conditions.get("Ready") == "True" and not spec.get("unschedulable"),
        allocatable=Amounts(
            quantity(allocatable.get("cpu")),
            quantity(allocatable.get("memory")),
            quantity(allocatable.get("pods")),
        ),
        images=frozenset(
            name for one in status.get("images") or [] for name in one.get("names") or []
        ),
    )


def _usage(pods: Mapping[str, Any]) -> tuple[Usage, ...]:
    return tuple(
        Usage(str(one["spec"].get("nodeName")), requests_of(one["spec"]))
        for one in pods.get("items") or ()
        if one["spec"].get("nodeName") and (one.get("status") or {}).get("phase") not in _ENDED
    )


def _quota(raw: Mapping[str, Any]) -> Quota:
    status = raw.get("status") or {}
    used = status.get("used") or {}
    left = {
        name: quantity(hard) - quantity(used.get(name))
        for name, hard in (status.get("hard") or {}).items()
    }
    return Quota(raw["metadata"]["name"], left)
