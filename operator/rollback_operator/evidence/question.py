"""The question of a policy to the judge, and the counts of both revisions that answer it."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from rollback_operator.api.v1alpha1 import MatrixCondition
from rollback_operator.evidence import aggregate
from rollback_operator.evidence.arms import Arms
from rollback_operator.evidence.limits import STALE_INTERVALS
from rollback_operator.evidence.watch import Watch
from rollback_operator.model.verdict import Thresholds
from rollback_operator.model.workload import Workload
from rollback_operator.stats.windows import Increment


@dataclass(frozen=True, slots=True)
class Question:
    """The question of a policy to the judge."""

    purchase_routes: tuple[str, ...]
    excluded_routes: frozenset[str]
    watch_seconds: float
    stuck_after: float
    odds: Thresholds = field(default_factory=Thresholds)
    conditions: tuple[MatrixCondition, ...] = ()
    """Of the matrix: which symptoms to look for."""
    quantile: float = 0.99
    has_pods: bool = True
    """False: the series carry no pod label."""
    resumed: float | None = None
    """Since when a rollout that had been held goes on."""


def arms_of(watch: Watch, workload: Workload, question: Question, now: float) -> Arms:
    """Assemble the counts of both revisions, and their living pods."""
    new = {pod.name: pod for pod in workload.current_of(watch.pods)}
    old = {pod.name: pod for pod in watch.pods if pod.pod_hash in watch.control_hashes}
    fresh = now + watch.skew - STALE_INTERVALS * watch.evidence.interval
    excluded = question.excluded_routes
    judged = [
        increment for increment in watch.evidence.increments if increment.route not in excluded
    ]
    if not question.has_pods:
        return _podless(watch, workload, question, judged)
    return Arms(
        new=_of(judged, frozenset(new)),
        old=_of(judged, frozenset(old)),
        replaced=_of(judged, frozenset(_replaced(watch))),
        control=watch.control,
        living_new=frozenset(
            name
            for name, pod in new.items()
            if not pod.terminating and (pod.ready or name in watch.evidence.seen)
        ),
        living_old=frozenset(
            name
            for name, pod in old.items()
            if pod.ready and not pod.terminating and watch.evidence.seen.get(name, 0.0) >= fresh
        ),
        seen=watch.evidence.seen,
        starts={
            name: (pod.created, *([pod.started] if pod.started is not None else []))
            for name, pod in new.items()
        },
        interval=watch.evidence.interval,
        watch_seconds=question.watch_seconds,
        nodes={name: pod.node for name, pod in new.items()},
        read=frozenset(watch.evidence.read),
        odds=question.odds,
    )


def _replaced(watch: Watch) -> list[str]:
    hashes = watch.replaced_hashes - watch.control_hashes
    return [pod.name for pod in watch.pods if pod.pod_hash in hashes]


def _podless(
    watch: Watch, workload: Workload, question: Question, judged: Sequence[Increment]
) -> Arms:
    pods = [pod for pod in workload.current_of(watch.pods) if not pod.terminating]
    complete = max((pod.ready_since or 0.0 for pod in pods), default=0.0)
    until = complete if workload.deployment.is_rolled_out else watch.evidence.newest or complete
    since, before = aggregate.split(judged, pods, until)
    return Arms(
        new=tuple(since),
        old=tuple(before),
        control=watch.control,
        living_new=frozenset({aggregate.POD}),
        living_old=frozenset(),
        seen=watch.evidence.seen,
        starts={},
        interval=watch.evidence.interval,
        watch_seconds=question.watch_seconds,
        odds=question.odds,
    )


def _of(increments: Sequence[Increment], pods: frozenset[str]) -> tuple[Increment, ...]:
    return tuple([increment for increment in increments if increment.pod in pods])
