"""What must hold before the demo changes anything in a cluster that is not its own."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lab import chart
from lab.demo.context import Context, Right
from lab.demo.delivery import architecture
from lab.demo.removal import NAMESPACE, OPERATOR_NAMESPACE, is_ours, title
from lab.demo.stage import RefusedError
from lab.errors import LabError
from lab.tickets import OPERATOR

Object = Mapping[str, Any]
RBAC = "rbac.authorization.k8s.io"
KEEPING = ("get", "list", "create", "patch", "delete")
OF_THE_CLUSTER = {
    "namespaces": KEEPING,
    f"clusterroles.{RBAC}": KEEPING,
    f"clusterrolebindings.{RBAC}": KEEPING,
    "customresourcedefinitions.apiextensions.k8s.io": KEEPING,
    "validatingadmissionpolicies.admissionregistration.k8s.io": KEEPING,
    "validatingadmissionpolicybindings.admissionregistration.k8s.io": KEEPING,
    "nodes": ("list",),
    "deployments.apps": ("list",),
}
OF_A_NAMESPACE = {
    "secrets": ("create",),
    "configmaps": ("create",),
    "serviceaccounts": ("create",),
    "services": ("create",),
    f"roles.{RBAC}": ("create",),
    f"rolebindings.{RBAC}": ("create",),
    "deployments.apps": ("create", "patch"),
    "daemonsets.apps": ("create", "delete"),
    "rollbackpolicies.rollback.tickettoken.io": ("create", "list", "patch"),
    "rollbacks.rollback.tickettoken.io": ("list",),
    "pods": ("create", "list"),
    # To count purchases, to read failures and summary, to see what the operator costs.
    "pods/exec": ("create",),
    "pods/log": ("get",),
    "pods/proxy": ("get",),
}


def announcement(objects: Iterable[Object]) -> str:
    """What will be made of the cluster's own, a line for each kind."""
    found: dict[str, list[str]] = {}
    for one in objects:
        found.setdefault(one["kind"], []).append(one["metadata"]["name"])
    return "\n".join(f"  {kind}: {', '.join(names)}" for kind, names in found.items())


def of_the_cluster(objects: Iterable[Object]) -> list[Object]:
    """Those of the objects that lie in no namespace, in their order."""
    return [one for one in objects if "namespace" not in one["metadata"]]


def check(context: Context, objects: Sequence[Object]) -> bool:
    """See that the demo can be made and is in nobody's way; whether an earlier one is there.

    `objects` are those of the cluster that it will make.

    Raises:
        RefusedError: it cannot, or would be; says what to do about it.
    """
    _require_rights(context, objects)
    _require_architecture(context)
    found = context.find("-f", "-", input=chart.stream(objects))
    foreign = [one for one in found if not is_ours(one)]
    spaces = [one["metadata"]["name"] for one in foreign if one["kind"] == "Namespace"]
    if spaces:
        raise RefusedError(
            f"namespace {spaces[0]} exists, and the demo did not create it: the demo would use it, "
            "and remove all of it at the end. Remove it if nobody needs it, or use another cluster"
        )
    if foreign:
        raise RefusedError(
            "the operator, or a part of it, is already installed: "
            f"{', '.join(map(title, foreign))}. The demo installs its own, and two operators "
            "would act on the same Deployments: use another cluster, or uninstall that one"
        )
    _refuse_other_operator(context)
    return bool(found)


def _refuse_other_operator(context: Context) -> None:
    selector = f"--selector=app.kubernetes.io/name={OPERATOR}"
    for one in context.find("deployments", "--all-namespaces", selector):
        place = one["metadata"]["namespace"]
        if place != OPERATOR_NAMESPACE:
            raise RefusedError(
                f"an operator already runs in namespace {place}: the demo installs its own, and "
                "both would act on the same Deployments. Use another cluster, or uninstall that one"
            )


def _require_architecture(context: Context) -> None:
    nodes = [one["status"]["nodeInfo"]["architecture"] for one in context.find("nodes")]
    others = sorted(set(nodes) - {architecture()})
    if others or not nodes:
        raise RefusedError(
            f"the cluster has nodes of {', '.join(others) or 'no architecture'}, and this machine "
            f"builds images for {architecture()}: run the demo on a machine like the nodes"
        )


def _require_rights(context: Context, objects: Sequence[Object]) -> None:
    lacking = context.lacking(
        [
            *_rights(OF_THE_CLUSTER),
            *_rights(OF_A_NAMESPACE, NAMESPACE),
            *_rights(OF_A_NAMESPACE, OPERATOR_NAMESPACE),
        ]
    )
    if lacking:
        found: dict[str, dict[str, None]] = {}
        for one in lacking:
            found.setdefault(one.resource.partition(".")[0], {})[one.verb] = None
        told = "; ".join(f"{', '.join(verbs)} {resource}" for resource, verbs in found.items())
        raise RefusedError(
            f"in the context {context.name} you may not: {told}. The demo needs the permissions of "
            "a cluster administrator: ask for them, or use a cluster of your own (CLUSTER=kind)"
        )
    _require_right_to_grant(context, [one for one in objects if one["kind"] == "ClusterRole"])


def _rights(wanted: Mapping[str, Sequence[str]], namespace: str = "") -> list[Right]:
    return [Right(verb, each, namespace) for each, verbs in wanted.items() for verb in verbs]


def _require_right_to_grant(context: Context, roles: Sequence[Object]) -> None:
    """Nobody may grant more than they have: only the API server can tell, so it is asked."""
    items = {"apiVersion": "v1", "kind": "List", "items": list(roles)}
    dry = ("apply", "--server-side", "--dry-run=server", "-f", "-")
    try:
        context.kubectl(*dry, input=json.dumps(items))
    except LabError as error:
        raise RefusedError(
            f"in the context {context.name} you may not grant the operator the permissions that it "
            f"needs: {error}"
        ) from error
