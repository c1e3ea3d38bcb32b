"""Resolves a name to an object: a name, `rollback/NAME`, `policy/NAME`, or the newest object."""

import difflib
from collections.abc import Iterable

from pydantic import ValidationError

from rollback_operator.api.v1alpha1 import LedgerEntry, Revision, RollbackPolicyStatus
from rollback_operator.cli.plugin.connection import (
    GUARDS,
    LEASES,
    POLICIES,
    ROLLBACKS,
    ClusterClient,
    Stop,
    needed,
)
from rollback_operator.cli.plugin.record import Record, decided, newest_first, summary_of
from rollback_operator.model import stop
from rollback_operator.model.workload import Workload
from rollback_operator.ports.failure import Failure, FailureKind
from rollback_operator.releases.identity import recorded
from rollback_operator.report.readiness import not_found

_REF = ("number", "templateHash", "digest", "release", "configuration")
_PREFIXES = {
    **dict.fromkeys(("rollback", "rollbacks", "rbk"), ROLLBACKS),
    **dict.fromkeys(("deployment", "deployments", "deploy"), POLICIES),
    **dict.fromkeys(("rollbackpolicy", "rollbackpolicies", "policy", "rbp"), POLICIES),
}


async def read_policy(cluster: ClusterClient, namespace: str, name: str) -> Record:
    """Read a policy by its name or its Deployment's; without a name the namespace's only policy."""
    bare = _policy_name(name)
    if bare:
        policy = await cluster.read(POLICIES, namespace, bare)
        if not _is_missing(policy):
            return needed(policy)
    policies = needed(await cluster.list(POLICIES, namespace))
    named = [policy for policy in policies if policy.text("spec.targetRef.name") == bare]
    chosen = named if bare else policies
    if len(chosen) == 1:
        return chosen[0]
    if not policies:
        await expect_namespace(cluster, namespace)
    names = ", ".join(policy.name for policy in policies) or "none"
    wanted = "name the policy" if policies else "there is no policy"
    if bare:
        wanted = f"no policy is called {bare} or watches a Deployment of that name"
    meant = near(bare, (known for policy in policies for known in _names(policy)))
    there = f"namespace {namespace} has: {names}."
    raise Stop(f"{wanted}{meant}; {there}\nTo ask in another namespace: -n NAMESPACE")


async def expect_namespace(cluster: ClusterClient, namespace: str) -> None:
    """End the command if a namespace does not exist; nothing is known without the permission."""
    known = await cluster.namespaces()
    if isinstance(known, Failure) or namespace in known:
        return
    raise Stop(
        f"namespace {namespace} does not exist in this cluster{near(namespace, known)}.\n"
        "Name it with -n, list them with `kubectl get namespaces`, or ask in all: "
        "`kubectl rollback status -A`."
    )


def called(policies: list[Record], name: str) -> list[Record]:
    """Select the policies with a name, or with a target of that name, in any namespace."""
    bare = _policy_name(name)
    chosen = [policy for policy in policies if bare in _names(policy)]
    if not chosen:
        meant = near(bare, (known for policy in policies for known in _names(policy)))
        raise Stop(
            f"no policy of the cluster is called {bare} or watches a Deployment of that name{meant}"
        )
    return chosen


def _policy_name(name: str) -> str:
    kind, bare = split(name)
    if kind == ROLLBACKS:
        raise Stop(f"{name} is a Rollback; the command needs a policy")
    return bare


def near(name: str, known: Iterable[str]) -> str:
    """Suggest a similar name; empty: there is none."""
    close = difflib.get_close_matches(name, sorted(set(filter(None, known))), n=1)
    return f" (did you mean {close[0]}?)" if name and close else ""


def _names(policy: Record) -> tuple[str, str]:
    return policy.name, policy.text("spec.targetRef.name")


async def in_progress(
    cluster: ClusterClient, policies: Iterable[Record]
) -> dict[tuple[str, str], Record]:
    """Read the Rollbacks in progress, by policy; an unreadable Rollback is left out."""
    rollbacks = {}
    for policy in policies:
        if summary_of(policy) in ("AwaitingApproval", "RollingBack"):
            name = policy.text("status.lastRollback.name")
            rollback = await cluster.read(ROLLBACKS, policy.namespace, name)
            if isinstance(rollback, Record):
                rollbacks[policy.namespace, policy.name] = rollback
    return rollbacks


async def operator_leases(cluster: ClusterClient) -> list[Record] | Failure:
    """Read each Lease that has the operators' label; everybody who may write Leases can set it."""
    listed = await cluster.list(LEASES, "")
    if isinstance(listed, Failure):
        return listed
    return [lease for lease in listed if stop.LABEL in lease.part("metadata.labels").raw]


async def own_lease(cluster: ClusterClient) -> Record | Failure | None:
    """Read the Lease that the chart's admission policy names, which no tenant can forge.

    None: there is no such policy (admission.create is false), or the user may not read it.
    """
    anchor = await cluster.read(GUARDS, "", stop.ANCHOR)
    if isinstance(anchor, Failure):
        return None
    place = str(anchor.part("metadata.annotations").raw.get(stop.LABEL) or "")
    namespace, _, name = place.partition("/")
    return await cluster.read(LEASES, namespace, name) if namespace and name else None


async def stopped(cluster: ClusterClient, policy: Record) -> str:
    """Say who stopped the operator of a policy, and why; empty: nobody did."""
    own = await own_lease(cluster)
    if isinstance(own, Record):
        return stop.stop_message(own.part("metadata.annotations").raw)
    listed, ready = await operator_leases(cluster), policy.condition("Ready")
    leases = listed if isinstance(listed, list) else []
    stops = [stop.stop_message(lease.part("metadata.annotations").raw) for lease in leases]
    if stops and (all(stops) or not any(stops)):
        return stops[0]
    # The user may not read the Leases, or only some operators are stopped: the policy's own knows.
    is_stopped = ready.text("reason") == "EverythingSuspended"
    return ready.text("message") if is_stopped else ""


async def read_workload(cluster: ClusterClient, policy: Record) -> Workload:
    """Read the Deployment of a policy, each revision with the release on record."""
    target = policy.text("spec.targetRef.name")
    workload = await cluster.inspect(policy.namespace, target)
    if _is_missing(workload):
        raise Stop(not_found(target, policy.namespace))
    return _identified(policy, needed(workload))


def _identified(policy: Record, workload: Workload) -> Workload:
    """Give each revision the release that the policy has on record."""
    rows = [*policy.rows("status.revisions"), policy.part("status.revision")]
    refs = [{key: row.raw.get(key) for key in _REF} for row in rows if row.text("digest")]
    try:
        known = [Revision.model_validate(ref) for ref in refs]
    except ValidationError:
        return workload  # of another version: the template alone
    running = known.pop() if policy.part("status.revision").raw else None
    entries = [LedgerEntry(**dict(each)) for each in known]
    return recorded(workload, RollbackPolicyStatus(revision=running, revisions=entries))


def revisions(policy: Record, workload: Workload) -> list[str]:
    """List the revisions, a line each, the newest first: images and recorded health."""
    sets = sorted(workload.replica_sets, key=lambda item: item.revision, reverse=True)
    lines = []
    for item in sets:
        health = entry(policy, item.template.release).text("health")
        notes = ", ".join(filter(None, (health, "running" if item is workload.current else "")))
        images = ", ".join(item.template.images)
        lines.append(f"  {item.revision:>4}  {images}" + (f"  ({notes})" if notes else ""))
    return lines


def entry(policy: Record, release: str) -> Record:
    """Return the ledger entry of a release; empty: there is none."""
    rows = policy.rows("status.revisions")
    return next((row for row in rows if row.text("release") == release), Record())


async def read_rollback(cluster: ClusterClient, namespace: str, name: str) -> Record:
    """Read a Rollback by its name, or the newest Rollback of a policy or of the namespace."""
    bare, named = split(name)[1], await _named_rollback(cluster, namespace, name)
    if named is not None:
        return named
    stored = newest_first(needed(await cluster.list(ROLLBACKS, namespace)))
    chosen = of_policy(stored, bare) if bare else stored
    if chosen:
        return chosen[0]
    if not stored:
        await expect_namespace(cluster, namespace)
    policies = await cluster.list(POLICIES, namespace) if not bare else []
    if isinstance(policies, list) and policies:
        raise Stop(
            f"no Rollback yet in namespace {namespace}. The running release: "
            f"kubectl rollback explain policy/{policies[0].name} -n {namespace}"
        )
    meant = near(bare, (known for item in stored for known in (item.name, *_belongs(item))))
    whose = (
        f"is called {bare}, nor belongs to a policy or Deployment {bare}{meant}"
        if bare
        else "exists"
    )
    raise Stop(
        f"no Rollback {whose} in namespace {namespace}.\n"
        "See `kubectl rollback history -A`, or name another namespace with -n."
    )


async def read_any(cluster: ClusterClient, namespace: str, name: str) -> Record:
    """Read a Rollback by its full name, else a policy, else the newest Rollback."""
    kind, bare = split(name)
    if kind == ROLLBACKS or not bare:
        return await read_rollback(cluster, namespace, name)
    named = await _named_rollback(cluster, namespace, name)
    return named if named is not None else await read_policy(cluster, namespace, name)


async def _named_rollback(cluster: ClusterClient, namespace: str, name: str) -> Record | None:
    kind, bare = split(name)
    if not bare or kind == POLICIES:
        return None
    rollback = await cluster.read(ROLLBACKS, namespace, bare)
    return None if _is_missing(rollback) else needed(rollback)


def split(name: str) -> tuple[str, str]:
    """Split `rollback/NAME` into the kind's plural and the name; without a prefix no kind."""
    prefix, slash, rest = name.partition("/")
    if not slash:
        return "", name
    if prefix.lower() not in _PREFIXES:
        raise Stop(
            f"{name}: {prefix} is not a supported kind; use rollback/NAME, policy/NAME or "
            "deployment/NAME"
        )
    return _PREFIXES[prefix.lower()], rest


async def orphans(cluster: ClusterClient, scope: str, policies: Iterable[Record]) -> list[str]:
    """Describe the Rollbacks in progress without their policy; empty: none, or unreadable."""
    listed = await cluster.list(ROLLBACKS, scope)
    known = {(policy.namespace, policy.name) for policy in policies}
    return [
        f"{item.name} is still in progress; its policy {name} does not exist. "
        f"Progress: kubectl rollback explain {item.name} -n {item.namespace}"
        for item in (listed if isinstance(listed, list) else [])
        for name in [decided(item).text("policyRef.name")]
        if not item.text("status.outcome") and (item.namespace, name) not in known
    ]


def of_policy(rollbacks: list[Record], name: str) -> list[Record]:
    """Select the Rollbacks of a policy or of a Deployment."""
    return [item for item in rollbacks if name in _belongs(item)]


def _belongs(rollback: Record) -> tuple[str, str]:
    spec = decided(rollback)
    return spec.text("policyRef.name"), spec.text("targetRef.name")


def _is_missing(result: object) -> bool:
    """Report whether the object does not exist, in a cluster that has its kind."""
    if not isinstance(result, Failure) or result.kind is not FailureKind.GONE:
        return False
    return "page not found" not in result.message
