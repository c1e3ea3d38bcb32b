"""What the demo makes in a cluster is known by one label; here it is found by it, and removed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from lab.demo.context import Context
from lab.errors import LabError

LABEL = "rollback.tickettoken.io/made-by"
MARK = {LABEL: "demo"}
SELECTOR = f"{LABEL}=demo"
NAMESPACE = "rollback-demo"
OPERATOR_NAMESPACE = "rollback-operator"
POLICIES = "rollbackpolicies.rollback.tickettoken.io"
# Whatever is of the cluster and not of a namespace.
KINDS = (
    "namespaces,clusterrolebindings,clusterroles,customresourcedefinitions,"
    "validatingadmissionpolicybindings,validatingadmissionpolicies"
)
END_SECONDS = 240

Object = Mapping[str, Any]


def is_ours(found: Object) -> bool:
    """Whether the demo has made this."""
    return (found["metadata"].get("labels") or {}).get(LABEL) == MARK[LABEL]


def title(found: Object) -> str:
    """Kind and name, as in `ClusterRole viewer`."""
    return f"{found['kind']} {found['metadata']['name']}"


def remains(context: Context) -> list[dict[str, Any]]:
    """What there is of a demo: objects of the cluster, namespaces among them."""
    return context.find(KINDS, f"--selector={SELECTOR}")


def remove(context: Context, say: Callable[[str], None]) -> bool:
    """Remove all of a demo and tell of each part; False where something was left for others.

    Raises:
        LabError: something cannot be removed, or not in time; a second call goes on.
    """
    found = remains(context)
    definitions = [one for one in found if one["kind"] == "CustomResourceDefinition"]
    others = _policies_of_others(context) if definitions else []
    if others:
        say(
            f"kept: {', '.join(map(title, definitions))}, because policies of others would be "
            f"deleted with them ({', '.join(others)}). No operator acts on these now"
        )
        found = [one for one in found if one not in definitions]
    # The operator first: it would put its finalizer on a policy again.
    for one in sorted(found, key=_rank):
        if one["metadata"]["name"] == NAMESPACE and definitions:
            _release_policies(context)
        kind, name = one["kind"].lower(), one["metadata"]["name"]
        context.kubectl("delete", kind, name, "--ignore-not-found", f"--timeout={END_SECONDS}s")
        say(f"removed: {title(one)}{_contents(one)}")
    return not others


def _rank(found: Object) -> int:
    order = (OPERATOR_NAMESPACE, NAMESPACE)
    name = found["metadata"]["name"]
    return order.index(name) if found["kind"] == "Namespace" and name in order else len(order)


def _contents(found: Object) -> str:
    return " with its contents" if found["kind"] == "Namespace" else ""


def _policies_of_others(context: Context) -> list[str]:
    places = [one["metadata"] for one in context.find(POLICIES, "--all-namespaces")]
    return [f"{one['namespace']}/{one['name']}" for one in places if one["namespace"] != NAMESPACE]


def _release_policies(context: Context) -> None:
    """Take the operator's finalizer off, which it has on a policy while it holds a rollout."""
    for one in context.find(POLICIES, f"--namespace={NAMESPACE}"):
        if not one["metadata"].get("finalizers"):
            continue
        name, patch = one["metadata"]["name"], '{"metadata":{"finalizers":null}}'
        where = f"--namespace={NAMESPACE}"
        context.kubectl("patch", POLICIES, name, where, "--type=merge", f"--patch={patch}")


def foreign(context: Context) -> list[str]:
    """What bears the name of a namespace of the demo and is not its own."""
    names = (NAMESPACE, OPERATOR_NAMESPACE)
    try:
        found = context.find("namespaces", *names)
    except LabError:
        return []
    return [title(one) for one in found if not is_ours(one)]
