"""The surroundings of a target, through the API server: references, nodes, quotas, admission.

Of ConfigMaps and Secrets only the metadata is read, never the content.
"""

import asyncio
from collections.abc import Mapping
from math import inf
from typing import Any

from rollback_operator.adapters.kube import paths
from rollback_operator.adapters.kube.apiserver import ApiServer, Listing
from rollback_operator.adapters.kube.projections.needs import quantity, requests_of
from rollback_operator.adapters.kube.projections.outlines import Outline
from rollback_operator.model.surroundings import (
    Amounts,
    ClusterCapacity,
    Node,
    Quota,
    Reference,
    Usage,
)
from rollback_operator.ports.failure import Failure, FailureKind
from rollback_operator.rollback.approval import POLICY_NAME

MOST_CLUSTER_NODES = 200
MOST_CLUSTER_PODS = 500
REFERENCE_KINDS = {
    "ConfigMap": paths.CONFIG_MAPS,
    "Secret": paths.SECRETS,
    "ServiceAccount": paths.SERVICE_ACCOUNTS,
    "PersistentVolumeClaim": paths.VOLUME_CLAIMS,
}
LISTED = {"ConfigMap": "readConfigMaps", "Secret": "readSecrets"}
"""The chart's values that give the right to read the metadata of single objects."""
_ENDED = ("Succeeded", "Failed")


class ApiSurroundings:
    """The Surroundings port on a real API server."""

    def __init__(self, api: ApiServer) -> None:
        self._api = api

    async def is_there(self, namespace: str, reference: Reference) -> bool | Failure:
        """Report whether an object exists."""
        path = paths.object_in(REFERENCE_KINDS[reference.kind], namespace, reference.name)
        if path.fault:
            # A template may name anything, and no object can have this name.
            return False
        raw = await self._api.get_metadata(path)
        if not isinstance(raw, Failure):
            return not raw["metadata"].get("deletionTimestamp")
        if raw.kind is FailureKind.GONE:
            return False
        if raw.kind is FailureKind.REJECTED:
            value = LISTED.get(reference.kind)
            listed = f": list it in the chart's {value}" if value else ""
            return Failure(raw.kind, f"the operator may not read its metadata{listed}")
        return raw

    async def cluster(self) -> ClusterCapacity | Failure:
        """Read the nodes, and the pods if they are not too many."""
        everywhere = paths.whole_cluster
        listing: Listing[Usage | Outline | None] = Listing(
            everywhere(paths.PODS),
            _usage,
            free=inf,
            most=MOST_CLUSTER_PODS + 1,
            left_out=lambda outline: outline,
        )
        nodes, pods = await asyncio.gather(
            self._api.list_of(Listing(everywhere(paths.NODES), _node, most=MOST_CLUSTER_NODES + 1)),
            self._api.list_of(listing),
        )
        if isinstance(nodes, Failure):
            refused = nodes.kind is FailureKind.REJECTED
            return Failure(nodes.kind, "the operator may not list nodes") if refused else nodes
        unread, usage = "", None
        if isinstance(pods, Failure):
            unread = f"the pods could not be read: {pods.message}"
        elif len(pods) <= MOST_CLUSTER_PODS:
            usage = tuple(each for each in pods if isinstance(each, Usage))
            large = [each for each in pods if isinstance(each, Outline)]
            unread = f"{len(large)} pods too large to read are not counted" if large else ""
        return ClusterCapacity(
            nodes=tuple(nodes[:MOST_CLUSTER_NODES]),
            usage=usage,
            is_whole=len(nodes) <= MOST_CLUSTER_NODES,
            unread=unread,
        )

    async def quotas(self, namespace: str) -> tuple[Quota, ...] | Failure:
        """Read what the quotas of a namespace leave over."""
        quotas = await self._api.list_of(
            Listing(paths.in_namespace(paths.QUOTAS, namespace), _quota)
        )
        if isinstance(quotas, Failure):
            return quotas
        return tuple(quota for quota in quotas if quota is not None)

    async def approvals_unprotected(self) -> str | Failure:
        """Report why the chart's admission policy does not protect approvals; empty: it does."""
        policy, binding = await asyncio.gather(
            self._api.get(paths.cluster_object(paths.ADMISSION_POLICIES, POLICY_NAME)),
            self._api.get(paths.cluster_object(paths.ADMISSION_BINDINGS, POLICY_NAME)),
        )
        for kind, raw in (("policy", policy), ("its binding", binding)):
            if isinstance(raw, Failure) and raw.kind is FailureKind.GONE:
                return f"the admission policy {POLICY_NAME} is not installed ({kind} is missing)"
            if isinstance(raw, Failure) and raw.kind is FailureKind.REJECTED:
                return f"the operator may not read the admission policy {POLICY_NAME}"
            if isinstance(raw, Failure):
                return raw
        return "" if _denies(policy, binding) else f"admission policy {POLICY_NAME} denies nothing"


class NarrowSurroundings(ApiSurroundings):
    """The same for an operator of single namespaces, without rights on the whole cluster."""

    async def cluster(self) -> ClusterCapacity | Failure:
        """Refuse without a request, which would be forbidden."""
        return Failure(FailureKind.REJECTED, "an operator of single namespaces may not list nodes")


def _denies(policy: Any, binding: Any) -> bool:
    """Report whether a policy is bound so that it denies, everywhere."""
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


def _node(raw: Mapping[str, Any]) -> Node:
    spec, status = raw.get("spec") or {}, raw.get("status") or {}
    conditions = {
        condition.get("type"): condition.get("status")
        for condition in status.get("conditions") or []
    }
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
            name for image in status.get("images") or [] for name in image.get("names") or []
        ),
    )


def _usage(pod: Mapping[str, Any]) -> Usage | None:
    """Return what a pod takes of its node; None: nothing."""
    spec = pod["spec"]
    if not spec.get("nodeName") or (pod.get("status") or {}).get("phase") in _ENDED:
        return None
    return Usage(str(spec["nodeName"]), requests_of(spec))


def _quota(raw: Mapping[str, Any]) -> Quota | None:
    """Project a quota; None: a scoped quota, which may not apply to these pods."""
    spec = raw.get("spec") or {}
    if spec.get("scopes") or spec.get("scopeSelector"):
        return None
    status = raw.get("status") or {}
    used = status.get("used") or {}
    left = {
        name: quantity(hard) - quantity(used.get(name))
        for name, hard in (status.get("hard") or {}).items()
    }
    return Quota(raw["metadata"]["name"], left)
