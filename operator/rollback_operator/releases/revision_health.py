"""Older revisions without a ledger entry that fail by their own counts.

A policy that was created during a rollout, or that lost its record, restores a serving revision,
which may be the first of two bad releases. Revisions on record as good, or running at the policy's
start, are not checked: a service that fails a tenth of all requests, year in, year out, still needs
a rollback target. A revision that fails less than half is accepted: it is better than a release
that is proved worse.
"""

from collections.abc import Sequence

from rollback_operator.evidence.limits import LEAST_REQUESTS
from rollback_operator.evidence.watch import Watch
from rollback_operator.model.context import Case
from rollback_operator.model.verdict import SUSPECT_ODDS
from rollback_operator.model.workload import ReplicaSet
from rollback_operator.releases.ledger import USELESS, health_of
from rollback_operator.stats.sequential import against_ceiling, wilson_lower
from rollback_operator.stats.windows import Increment, in_order, total

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
    for replica_set in case.workload.replica_sets:
        release = replica_set.template.release
        if release != current and health_of(case.ledger, release) is None:
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
    recent = _recent(
        [
            increment
            for increment in counted
            if increment.pod in serving
            and increment.route not in left_out
            and increment.requests > 0
        ]
    )
    requests, errors = total(recent)
    if requests >= LEAST_REQUESTS:
        is_failing = against_ceiling(in_order(recent), USELESS).value >= SUSPECT_ODDS
        return _failure_message(requests, errors, "in the last minute") if is_failing else ""
    if watch.control is None or replica_set.pod_hash not in watch.control_hashes:
        return ""
    control = watch.control.pooled
    is_failing = control.requests >= LEAST_REQUESTS and (
        wilson_lower(control.requests, control.errors) > USELESS
    )
    return (
        _failure_message(control.requests, control.errors, "in the hour before")
        if is_failing
        else ""
    )


def _recent(counts: Sequence[Increment]) -> list[Increment]:
    newest = max((increment.end for increment in counts), default=0.0)
    return [increment for increment in counts if increment.end > newest - RECENT_SECONDS]


def _failure_message(requests: float, errors: float, when: str) -> str:
    return f"{errors:.0f} of its {requests:.0f} requests failed {when}"
