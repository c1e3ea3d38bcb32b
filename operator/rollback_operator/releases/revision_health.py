"""Older revisions that have not proved their health and that fail by their own counts.

A policy that was created during a rollout, or that lost its record, restores a serving revision,
which may be the first of two bad releases. A revision that was running at the policy's start may
have been the cause of the incident in which the policy was created. Revisions on record as Good are
not checked, except for a target that failed when it last served while its successor did well. A
revision that fails less than half, on each of its routes, is accepted: it is better than a release
that is proved worse, and a service that fails a tenth of all requests, year in, year out, still
needs a rollback target.
"""

from collections.abc import Sequence

from rollback_operator.api.v1alpha1 import Health
from rollback_operator.evidence.limits import LEAST_REQUESTS, USELESS
from rollback_operator.evidence.rated import rated
from rollback_operator.evidence.watch import Watch
from rollback_operator.model.context import Case
from rollback_operator.model.workload import ReplicaSet
from rollback_operator.releases.ledger import health_of
from rollback_operator.stats.sequential import wilson_lower
from rollback_operator.stats.windows import Increment, by_route, total

RECENT_SECONDS = 60.0
"""The newest minute of counts shows a revision's current health."""


def failing(case: Case, watch: Watch, left_out: frozenset[str]) -> dict[str, str]:
    """Describe the failures of older releases; a release with too few counts is left out.

    Args:
        case: the target and its ledger.
        watch: the counts.
        left_out: routes that prove nothing.
    """
    current = case.workload.deployment.template.release
    messages = {}
    failed = watch.failed_target
    for replica_set in case.workload.replica_sets:
        release = replica_set.template.release
        if failed is not None and replica_set.pod_hash in failed.hashes:
            messages[release] = failed.failure  # Good, too: it has failed since
            continue
        health = health_of(case.ledger, release)
        if release != current and health in (None, Health.ASSUMED):
            if health is Health.ASSUMED and _did_well(replica_set, watch):
                continue  # the few pods that the bad release left may be overloaded
            message = _failure_of(replica_set, watch, left_out)
            if message:
                messages[release] = message
    return messages


def _failure_of(replica_set: ReplicaSet, watch: Watch, left_out: frozenset[str]) -> str:
    """Measure the serving pods; without serving pods, the last hour of the control."""
    serving = {
        pod.name
        for pod in watch.pods
        if pod.pod_hash == replica_set.pod_hash and pod.ready and not pod.terminating
    }
    # Each evaluation checks every release without an entry: few of them still have pods.
    counted = watch.evidence.increments if serving else ()
    own = [each for each in counted if each.pod in serving and each.route not in left_out]
    recent = _recent([increment for increment in rated(own) if increment.requests > 0])
    pooled = total(recent)
    if pooled[0] >= LEAST_REQUESTS:
        scopes = {"": pooled}
        scopes |= {f" on {route}": total(counts) for route, counts in by_route(recent).items()}
        when = " in the last minute"
        messages = (_failure(counts, where + when) for where, counts in scopes.items())
        return next(filter(None, messages), "")
    if watch.control is None or replica_set.pod_hash not in watch.control_hashes:
        return ""
    control = watch.control.pooled
    return _failure((control.requests, control.errors), " in the hour before")


def _did_well(replica_set: ReplicaSet, watch: Watch) -> bool:
    """Return whether the hour before the current release shows that a revision fails less."""
    if watch.control is None or replica_set.pod_hash not in watch.control_hashes:
        return False
    requests, errors = watch.control.pooled.requests, watch.control.pooled.errors
    return requests >= LEAST_REQUESTS and errors < USELESS * requests


def _failure(counts: tuple[float, float], where_and_when: str) -> str:
    """Describe a share of errors that is surely useless, by its lower bound (Wilson 1927)."""
    requests, errors = counts
    if requests < LEAST_REQUESTS or wilson_lower(requests, errors) <= USELESS:
        return ""
    return f"{errors:.0f} of its {requests:.0f} requests failed{where_and_when}"


def _recent(counts: Sequence[Increment]) -> list[Increment]:
    newest = max((increment.end for increment in counts), default=0.0)
    return [increment for increment in counts if increment.end > newest - RECENT_SECONDS]
