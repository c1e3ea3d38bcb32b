"""How a watch begins: since when the release is there, and what it is compared with."""

from datetime import datetime

from rollback_operator.core import ledger, plan


def opened(case: plan.Case, now: datetime) -> float:
    """Give the time at which the current template appeared.

    A ReplicaSet younger than the revision before it was made for this release, also while nobody
    was looking. An older one has come back just now.
    """
    known, current = case.policy.status.revision, case.workload.current
    second = float(int(now.timestamp()))  # as coarse as the API server's times of pods
    if known is not None and known.digest == case.workload.deployment.template.digest:
        return known.since.timestamp() if known.since else second
    if current is None:
        return second
    if known is None:
        return second if case.workload.deployment.is_rolled_out else current.created
    is_new = known.since is None or current.created > known.since.timestamp()
    return current.created if is_new else second


def control_hashes(case: plan.Case) -> frozenset[str]:
    """Name the revision that the current one is compared with: the one it would go back to.

    Where there is none, the one before it: a release can be told to be worse than what ran before
    also when that is nothing to go back to.
    """
    current = case.workload.deployment.template.release
    others = [one for one in case.workload.replica_sets if one.template.release != current]
    good = ledger.last_known_good(case.ledger, case.workload)
    control = good or max(others, key=lambda one: one.revision, default=None)
    if control is None:
        return frozenset()
    return frozenset(
        one.pod_hash for one in others if one.template.release == control.template.release
    )
