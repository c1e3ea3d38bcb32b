"""Replacements of releases, as the numbers and creation times of ReplicaSets show them. Pure."""

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from rollback_operator.api.v1alpha1 import (
    LedgerEntry,
    Revision,
    Rollback,
    RollbackPolicyStatus,
)
from rollback_operator.model.workload import ReplicaSet, Workload

ROLLOUT_SETTLED_SECONDS = 600.0
"""A release older than this at its first evaluation is no rollout, whatever its pods do."""


def runs_on(known: Revision | None, digest: str, number: int) -> bool:
    """Return whether a recorded revision runs on, and was not rolled out again unseen.

    A template that was replaced and rolled out again has a newer number.

    Args:
        known: the revision on record; None: there is none.
        digest: of the template now.
        number: of its revision now; 0: not known yet.
    """
    return known is not None and known.digest == digest and number <= known.number


def is_of_another(status: RollbackPolicyStatus, rollbacks: Sequence[Rollback]) -> bool:
    """Return whether the stored severity is that of a rollback which had left its bad release.

    Args:
        status: as it is stored.
        rollbacks: of the target.
    """
    last, running = status.last_rollback, status.revision
    if last is None or last.outcome is not None or running is None:
        return False
    bad = [item.spec.from_revision for item in rollbacks if item.metadata.name == last.name]
    return all(revision.release != running.release for revision in bad)


def with_known_times(recorded: Sequence[LedgerEntry], workload: Workload) -> Workload:
    """Date a ReplicaSet that was made again back to the time when its release was recorded.

    Its own time would make it newer than its successor, as if the successor had replaced it.
    """
    known = {entry.release: entry.since.timestamp() for entry in recorded if entry.since}
    sets = workload.replica_sets
    if all(each.created <= known.get(each.template.release, math.inf) for each in sets):
        return workload  # as nearly always: nothing is copied at each pass
    dated = (
        replace(each, created=min(each.created, known.get(each.template.release, math.inf)))
        for each in sets
    )
    return replace(workload, replica_sets=tuple(dated))


def replaced_by_older(workload: Workload) -> frozenset[str]:
    """Return the releases that an older release has replaced: the rollback had a reason.

    A ReplicaSet gets a new number whenever its template returns: a ReplicaSet older than its
    predecessor has returned. A release that has run again since has a newer number, and may earn
    Good.
    """
    in_order = sorted(workload.replica_sets, key=lambda replica_set: replica_set.revision)
    return frozenset(
        before.template.release
        for before, after in pairwise(in_order)
        if after.created < before.created and after.template.release != before.template.release
    )


def restored_by_people(older: Sequence[ReplicaSet], workload: Workload) -> frozenset[str]:
    """Return serving releases that people restored: they trusted them more than the successors."""
    in_order = sorted(workload.replica_sets, key=lambda replica_set: replica_set.revision)
    returned = {
        after.pod_hash for before, after in pairwise(in_order) if after.created < before.created
    }
    return frozenset(
        replica_set.template.release
        for replica_set in older
        if replica_set.pod_hash in returned and replica_set.ready > 0
    )


def replaced_young(workload: Workload) -> frozenset[str]:
    """Return the releases that another release replaced during their rollout.

    The successors' times show it, also after an outage. A restart in between is no successor.
    """
    began: dict[str, float] = {}
    for replica_set in workload.replica_sets:
        release = replica_set.template.release
        began[release] = min(replica_set.created, began.get(release, math.inf))
    in_order = sorted(workload.replica_sets, key=lambda replica_set: replica_set.revision)
    return frozenset(
        before.template.release
        for before, after in pairwise(in_order)
        if after.template.release != before.template.release
        and after.created - began[before.template.release] < ROLLOUT_SETTLED_SECONDS
    )
