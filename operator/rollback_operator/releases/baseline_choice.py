"""The start of a watch: the start time of the release, and its baseline."""

from collections.abc import Sequence
from datetime import datetime

from rollback_operator.api.v1alpha1 import Health
from rollback_operator.evidence.baseline import HOUR_SECONDS
from rollback_operator.model.context import Case
from rollback_operator.model.workload import ReplicaSet
from rollback_operator.releases import ledger, records
from rollback_operator.releases.replacements import runs_on
from rollback_operator.remedies import flags

LEAST_RUN_SECONDS = 60.0
"""By then, a release that fails from its first request on is known to fail."""
_GOOD_OR_ASSUMED = (Health.GOOD, Health.ASSUMED)


def opened(case: Case, now: datetime) -> float:
    """Return the time at which the current template appeared, or at which a flag cured it.

    A ReplicaSet younger than the previous revision was created for this release, also during an
    outage of the operator. An older ReplicaSet has just returned.
    """
    cured = flags.cured(case)
    if cured is not None and cured.status.finished_time is not None:
        return cured.status.finished_time.timestamp()
    recorded, current = case.policy.status.revision, case.workload.current
    second = float(int(now.timestamp()))  # as coarse as the API server's times of pods
    number = current.revision if current is not None else 0
    digest = case.workload.deployment.template.digest
    if recorded is not None and runs_on(recorded, digest, number):
        return recorded.since.timestamp() if recorded.since else second
    if current is None:
        return second
    if recorded is None:
        newest = max(replica_set.created for replica_set in case.workload.replica_sets)
        is_made = current.created >= newest and not case.workload.deployment.is_rolled_out
        return current.created if is_made else second
    is_new = recorded.since is None or current.created > recorded.since.timestamp()
    return current.created if is_new else second


def control_hashes(case: Case) -> frozenset[str]:
    """Return the pod hashes of the current revision's baseline: its rollback target.

    Without a target, or if its last hour is too long ago to be known, the baseline is the previous
    revision: a release can be proved worse than its predecessor, whatever the rollback target. A
    revision that is Good only by a person's trust may have failed: it is no baseline if it is not
    the previous revision and another revision has done well.
    """
    current = case.workload.deployment.template.release
    others = [
        replica_set
        for replica_set in case.workload.replica_sets
        if replica_set.template.release != current
    ]
    gone_back_to = records.restored(case)
    good = ledger.last_known_good(case.ledger, case.workload, gone_back_to)
    before = max(others, key=lambda replica_set: replica_set.revision, default=None)
    control = before if good is None or _is_forgotten(good, before, case) else good
    if control is None:
        return frozenset()
    if control is not before and _is_trusted(control, case):
        control = _witness(others, before, case) or control
    return frozenset(
        replica_set.pod_hash
        for replica_set in others
        if replica_set.template.release == control.template.release
    )


def good_hashes(case: Case) -> frozenset[str]:
    """Return the pod hashes of all other good revisions, except those that only a person trusts."""
    current = case.workload.deployment.template.release
    return frozenset(
        replica_set.pod_hash
        for replica_set in case.workload.replica_sets
        if replica_set.template.release != current
        and ledger.health_of(case.ledger, replica_set.template.release) in _GOOD_OR_ASSUMED
        and not _is_trusted(replica_set, case)
    )


def bad_hashes(case: Case) -> frozenset[str]:
    """Return the pod hashes of all known bad revisions."""
    return frozenset(
        replica_set.pod_hash
        for replica_set in case.workload.replica_sets
        if ledger.health_of(case.ledger, replica_set.template.release) is Health.BAD
    )


def replaced_hashes(case: Case) -> frozenset[str]:
    """Return the pod hash of the previous revision if it is an independent witness.

    A known bad revision causes its own failures, and a revision that ran for less than a minute
    may. The last failures of any other revision show the conditions that the current revision met.
    """
    current = case.workload.current
    if current is None:
        return frozenset()
    release = current.template.release
    others = [
        replica_set
        for replica_set in case.workload.replica_sets
        if replica_set.template.release != release
    ]
    before = max(others, key=lambda replica_set: replica_set.revision, default=None)
    if before is None or current.created - before.created < LEAST_RUN_SECONDS:
        return frozenset()
    return frozenset({before.pod_hash}) - control_hashes(case) - bad_hashes(case)


def _is_trusted(replica_set: ReplicaSet, case: Case) -> bool:
    entry = ledger.entry_of(case.ledger, replica_set.template.release)
    return entry is not None and entry.trusted_time is not None


def _witness(
    others: Sequence[ReplicaSet], before: ReplicaSet | None, case: Case
) -> ReplicaSet | None:
    """Return the newest revision that has done well and whose last hour is known."""
    candidates = (
        replica_set
        for replica_set in others
        if ledger.health_of(case.ledger, replica_set.template.release) in _GOOD_OR_ASSUMED
        and not ledger.bar(case.ledger, replica_set.template.release)
        and not _is_trusted(replica_set, case)
        and not _is_forgotten(replica_set, before, case)
    )
    return max(candidates, key=lambda replica_set: replica_set.revision, default=None)


def _is_forgotten(good: ReplicaSet, before: ReplicaSet | None, case: Case) -> bool:
    """Return whether a revision was replaced an hour or more before the current revision."""
    current = case.workload.current
    if before is None or current is None or good.template.release == before.template.release:
        return False
    return good.replicas == 0 and current.created - before.created >= HOUR_SECONDS
