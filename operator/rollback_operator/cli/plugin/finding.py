"""Which object is meant: a name, `rollback/NAME`, `policy/NAME`, or the newest there is."""

import difflib
from collections.abc import Iterable

from rollback_operator.cli.plugin.cluster import POLICIES, ROLLBACKS, ClusterClient, Stop, needed
from rollback_operator.cli.plugin.record import Record, decided, newest_first, word
from rollback_operator.model.workload import Workload
from rollback_operator.ports.failure import Failure, FailureKind

_PREFIXES = {
    **dict.fromkeys(("rollback", "rollbacks", "rbk"), ROLLBACKS),
    **dict.fromkeys(("deployment", "deployments", "deploy"), POLICIES),
    **dict.fromkeys(("rollbackpolicy", "rollbackpolicies", "policy", "rbp"), POLICIES),
}


async def read_policy(cluster: ClusterClient, namespace: str, name: str) -> Record:
    """Read a policy by its name, or the only one of the namespace where none is named."""
    kind, bare = split(name)
    if kind == ROLLBACKS:
        raise Stop(f"{name} is a Rollback; a policy is asked for")
    if bare:
        found = await cluster.read(POLICIES, namespace, bare)
        if not _is_missing(found):
            return needed(found)
    known = needed(await cluster.list(POLICIES, namespace))
    named = [one for one in known if one.text("spec.targetRef.name") == bare]
    chosen = named if bare else known
    if len(chosen) == 1:
        return chosen[0]
    names = ", ".join(one.name for one in known) or "none"
    wanted = (
        f"no policy is called {bare} or watches a Deployment of that name"
        if bare
        else ("say which policy is meant" if known else "there is no policy")
    )
    meant = near(bare, (name for one in known for name in _names(one)))
    there = f"namespace {namespace} has: {names}."
    raise Stop(f"{wanted}{meant}; {there}\nTo ask in another namespace: -n NAMESPACE")


def called(policies: list[Record], name: str) -> list[Record]:
    """Choose the policies of a name, or of a Deployment's name, in whatever namespace."""
    kind, bare = split(name)
    if kind == ROLLBACKS:
        raise Stop(f"{name} is a Rollback; a policy is asked for")
    found = [one for one in policies if bare in _names(one)]
    if not found:
        meant = near(bare, (name for one in policies for name in _names(one)))
        raise Stop(
            f"no policy of the cluster is called {bare} or watches a Deployment of that name{meant}"
        )
    return found


def near(name: str, known: Iterable[str]) -> str:
    """Ask whether a name much like it was meant; empty: there is none."""
    close = difflib.get_close_matches(name, sorted({one for one in known if one}), n=1)
    return f" (did you mean {close[0]}?)" if name and close else ""


def _names(policy: Record) -> tuple[str, str]:
    return policy.name, policy.text("spec.targetRef.name")


async def waiting(
    cluster: ClusterClient, policies: Iterable[Record]
) -> dict[tuple[str, str], Record]:
    """Read the Rollbacks that wait for a person, where they may be read, by their policies."""
    found = {}
    for one in policies:
        if word(one) == "AwaitingApproval":
            name = one.text("status.lastRollback.name")
            rollback = await cluster.read(ROLLBACKS, one.namespace, name)
            if isinstance(rollback, Record):
                found[one.namespace, one.name] = rollback
    return found


def revisions(policy: Record, workload: Workload) -> list[str]:
    """Tell which revisions there are, a line each, the newest first: images, and what is known."""
    sets = sorted(workload.replica_sets, key=lambda one: one.revision, reverse=True)
    lines = []
    for one in sets:
        known = [entry(policy, one.template.release).text("health")]
        known += ["runs now"] if one is workload.current else []
        said = ", ".join(word for word in known if word)
        images = ", ".join(one.template.images)
        lines.append(f"  {one.revision:>4}  {images}" + (f"  ({said})" if said else ""))
    return lines


def entry(policy: Record, release: str) -> Record:
    """Give what a policy has on record of a release; empty: nothing."""
    rows = policy.rows("status.revisions")
    return next((one for one in rows if one.text("release") == release), Record())


async def read_rollback(cluster: ClusterClient, namespace: str, name: str) -> Record:
    """Read a Rollback by its name, or the newest one of a policy, or of the namespace."""
    kind, bare = split(name)
    if bare and kind != POLICIES:
        found = await cluster.read(ROLLBACKS, namespace, bare)
        if not _is_missing(found):
            return needed(found)
    there = newest_first(needed(await cluster.list(ROLLBACKS, namespace)))
    known = [one for one in there if not bare or bare in _belongs(one)]
    if known:
        return known[0]
    meant = near(bare, (name for one in there for name in (one.name, *_belongs(one))))
    whose = (
        f"is called {bare}, nor belongs to a policy or Deployment {bare}{meant}"
        if bare
        else "is there"
    )
    raise Stop(
        f"no Rollback {whose} in namespace {namespace}.\n"
        "See `kubectl rollback history -A`, or name another namespace with -n."
    )


async def read_any(cluster: ClusterClient, namespace: str, name: str) -> Record:
    """Read a Rollback by its full name, else a policy, else the newest Rollback."""
    kind, bare = split(name)
    if bare and kind != POLICIES:
        found = await cluster.read(ROLLBACKS, namespace, bare)
        if not _is_missing(found):
            return needed(found)
    if kind == ROLLBACKS or not bare:
        return await read_rollback(cluster, namespace, name)
    return await read_policy(cluster, namespace, name)


def split(name: str) -> tuple[str, str]:
    """Split `rollback/NAME` into the kind's plural and the name; no kind where none is said."""
    prefix, slash, rest = name.partition("/")
    if not slash:
        return "", name
    if prefix.lower() not in _PREFIXES:
        raise Stop(
            f"{name}: {prefix} is no kind known here; say rollback/NAME, policy/NAME or "
            "deployment/NAME"
        )
    return _PREFIXES[prefix.lower()], rest


def of_policy(rollbacks: list[Record], name: str) -> list[Record]:
    """Choose the Rollbacks of a policy or of a Deployment."""
    return [one for one in rollbacks if name in _belongs(one)]


def _belongs(rollback: Record) -> tuple[str, str]:
    spec = decided(rollback)
    return spec.text("policyRef.name"), spec.text("targetRef.name")


def _is_missing(found: Record | Failure) -> bool:
    is_gone = isinstance(found, Failure) and found.kind is FailureKind.GONE
    return is_gone and isinstance(found, Failure) and "page not found" not in found.message
