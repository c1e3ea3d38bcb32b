"""How a watch begins: since when the release is there, and what it is compared with."""

from collections.abc import Sequence
from datetime import datetime

from rollback_operator.api.v1alpha1 import Health
from rollback_operator.evidence.baseline import HOUR_SECONDS
from rollback_operator.model.context import Case
from rollback_operator.model.workload import ReplicaSet
from rollback_operator.releases import ledger, records
from rollback_operator.remedies import flags

LEAST_RUN_SECONDS = 60.0
"""A release that fails from its first request on is known to by then."""
_WELL = (Health.GOOD, Health.ASSUMED)


def opened(case: Case, now: datetime) -> float:
    """Return the time at which the current template appeared, or was cured by a flag in place.

    A ReplicaSet younger than the revision before it was made for this release, also while nobody
    was looking. An older one has come back just now.
    """
    cured = flags.cured(case)
    if cured is not None and cured.status.finished_time is not None:
        return cured.status.finished_time.timestamp()
    known, current = case.policy.status.revision, case.workload.current
    second = float(int(now.timestamp()))  # as coarse as the API server's times of pods
    if known is not None and known.digest == case.workload.deployment.template.digest:
        return known.since.timestamp() if known.since else second
    if current is None:
        return second
    if known is None:
        newest = max(one.created for one in case.workload.replica_sets)
        is_made = current.created >= newest and not case.workload.deployment.is_rolled_out
        return current.created if is_made else second
    is_new = known.since is None or current.created > known.since.timestamp()
    return current.created if is_new else second


def control_hashes(case: Case) -> frozenset[str]:
    """Name the revision that the current one is compared with: the one it would go back to.

    Where there is none, or where it went so long ago that nothing is known of its last hour, the
    one before: a release can be told to be worse than what ran before it, whatever is gone back to.
    What is Good by a person's word alone may have failed: its past is no measure where it is not
    what ran before and another one has done well.
    """
    current = case.workload.deployment.template.release
    others = [one for one in case.workload.replica_sets if one.template.release != current]
    gone_back_to = records.restored(case)
    good = ledger.last_known_good(case.ledger, case.workload, gone_back_to)
    before = max(others, key=lambda one: one.revision, default=None)
    control = before if good is None or _is_forgotten(good, before, case) else good
    if control is None:
        return frozenset()
    if control is not before and _is_trusted(control, case):
        control = _witness(others, before, case) or control
    return frozenset(
        one.pod_hash for one in others if one.template.release == control.template.release
    )


def good_hashes(case: Case) -> frozenset[str]:
    """Name all other revisions that have done well, not those that a person's word alone covers."""
    current = case.workload.deployment.template.release
    return frozenset(
        one.pod_hash
        for one in case.workload.replica_sets
        if one.template.release != current
        and ledger.health_of(case.ledger, one.template.release) in _WELL
        and not _is_trusted(one, case)
    )


def bad_hashes(case: Case) -> frozenset[str]:
    """Name all revisions that are known to be bad."""
    return frozenset(
        one.pod_hash
        for one in case.workload.replica_sets
        if ledger.health_of(case.ledger, one.template.release) is Health.BAD
    )


def replaced_hashes(case: Case) -> frozenset[str]:
    """Name the revision that ran before the current one, if it is a witness of its own.

    One that is known to be bad fails by its own doing, and one that ran for less than a minute may;
    of any other, what it failed before it went is what the current one came upon.
    """
    current = case.workload.current
    if current is None:
        return frozenset()
    release = current.template.release
    others = [one for one in case.workload.replica_sets if one.template.release != release]
    before = max(others, key=lambda one: one.revision, default=None)
    if before is None or current.created - before.created < LEAST_RUN_SECONDS:
        return frozenset()
    return frozenset({before.pod_hash}) - control_hashes(case) - bad_hashes(case)


def _is_trusted(one: ReplicaSet, case: Case) -> bool:
    entry = ledger.entry_of(case.ledger, one.template.release)
    return entry is not None and entry.trusted_time is not None


def _witness(
    others: Sequence[ReplicaSet], before: ReplicaSet | None, case: Case
) -> ReplicaSet | None:
    """Find the newest revision that has done well by what was seen of it in the last hour."""
    found = (
        one
        for one in others
        if ledger.health_of(case.ledger, one.template.release) in _WELL
        and not ledger.bar(case.ledger, one.template.release)
        and not _is_trusted(one, case)
        and not _is_forgotten(one, before, case)
    )
    return max(found, key=lambda one: one.revision, default=None)


def _is_forgotten(good: ReplicaSet, before: ReplicaSet | None, case: Case) -> bool:
    """Return whether a revision had been replaced for an hour when the current one came."""
    current = case.workload.current
    if before is None or current is None or good.template.release == before.template.release:
        return False
    return good.replicas == 0 and current.created - before.created >= HOUR_SECONDS
