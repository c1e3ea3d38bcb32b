"""The question of a policy to the judge, and the counts of both revisions that answer it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from operator import attrgetter

from rollback_operator.api.v1alpha1 import MatrixCondition, SignalsSpec, VerdictValue
from rollback_operator.evidence import aggregate
from rollback_operator.evidence.baseline import Control
from rollback_operator.evidence.limits import HYSTERESIS_TIMES, PROBE_TIMES, STALE_INTERVALS
from rollback_operator.evidence.rated import rated
from rollback_operator.evidence.watch import Watch
from rollback_operator.model.verdict import Blame, Thresholds
from rollback_operator.model.workload import Deployment, Workload
from rollback_operator.stats.windows import Counts, Increment, counts_of

_START = attrgetter("start")


@dataclass(frozen=True)
class Arms:
    """Both revisions' counts."""

    new: tuple[Increment, ...]
    old: tuple[Increment, ...]
    control: Control | None
    living_new: frozenset[str]
    living_old: frozenset[str]
    seen: Mapping[str, float]
    starts: Mapping[str, tuple[float, ...]]
    """When each new pod was created and when its container last started."""
    interval: float
    watch_seconds: float
    nodes: Mapping[str, str] = field(default_factory=dict)
    """The node of each pod of both revisions; "": not known."""
    read: frozenset[str] = frozenset()
    """Pods whose own pages are read, between scrapes."""
    odds: Thresholds = field(default_factory=Thresholds)
    has_warm_up: bool = True
    """Whether errors in a pod's first seconds may be those of a warm-up."""
    replaced: tuple[Increment, ...] = ()
    """Of the revision that ran before, where it is not the control: evidence of a prior failure."""
    is_adopted: bool = False
    """Whether the revision was already running when the watch began."""
    against: VerdictValue | None = None
    """The verdict against the release so far: it takes less to keep it than to give it."""
    blames: dict[tuple[str, ...], Blame] = field(default_factory=dict)
    """Blame by the routes that share a fault, computed once for all scopes of an evaluation."""
    sharing: dict[tuple[str, ...], tuple[str, ...]] = field(default_factory=dict)
    """The routes with most errors, and all routes that share their fault."""

    @cached_property
    def counted(self) -> Counts:
        """The counts of the new revision, summed once."""
        return counts_of(self.new)

    def counted_on(self, route: str | None) -> Counts:
        """Give those on a route; None: all of them."""
        if route is None:
            return self.counted
        return Counts({route: self.counted.routes[route]} if route in self.counted.routes else {})

    @property
    def least_odds(self) -> float:
        """Give the odds from which the release is suspect, or remains so."""
        return self.odds.suspect / (1.0 if self.against is None else HYSTERESIS_TIMES)

    @property
    def bad_odds(self) -> float:
        """Give the odds from which the release is bad; once bad, a deadline's odds keep it so."""
        return self.odds.deadline if self.against is VerdictValue.BAD else self.odds.bad

    @property
    def has_control(self) -> bool:
        """Return whether there is a control: old pods, or enough history."""
        return bool(self.living_old) or (self.control is not None and self.control.is_sufficient)


@dataclass(frozen=True, slots=True)
class Question:
    """The question of a policy to the judge."""

    purchase_routes: tuple[str, ...]
    excluded_routes: frozenset[str]
    watch_seconds: float
    stuck_after: float
    odds: Thresholds = field(default_factory=Thresholds)
    conditions: tuple[MatrixCondition, ...] = ()
    """Conditions of the matrix, which name the symptoms."""
    quantile: float = 0.99
    objective: float | None = None
    """Seconds in which a request should be answered."""
    has_pods: bool = True
    """False: the series carry no pod label."""
    has_warm_up: bool = True
    """Whether pods of this service may fail in their first seconds; earlier starts show that."""
    resumed: float | None = None
    """Since when a rollout that had been held goes on."""


def arms_of(watch: Watch, workload: Workload, question: Question, now: float) -> Arms:
    """Assemble the counts of both revisions, and their living pods."""
    new = {pod.name: pod for pod in workload.current_of(watch.pods)}
    old = {pod.name: pod for pod in watch.pods if pod.pod_hash in watch.control_hashes}
    fresh = now + watch.skew - STALE_INTERVALS * watch.evidence.interval
    excluded = question.excluded_routes
    judged = rated(
        [increment for increment in watch.evidence.increments if increment.route not in excluded]
    )
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
        nodes={name: pod.node for name, pod in {**old, **new}.items()},
        read=frozenset(watch.evidence.read),
        odds=question.odds,
        has_warm_up=question.has_warm_up,
        against=watch.against,
        is_adopted=is_adopted(watch, workload),
    )


def is_adopted(watch: Watch, workload: Workload) -> bool:
    """Return whether the current revision was already running when the watch began."""
    return any(pod.created < watch.opened for pod in workload.current_of(watch.pods))


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
        against=watch.against,
    )


def _of(increments: Sequence[Increment], pods: frozenset[str]) -> tuple[Increment, ...]:
    return tuple([increment for increment in increments if increment.pod in pods])


def excluded_routes(signals: SignalsSpec, deployment: Deployment | None) -> frozenset[str]:
    """Name the routes that are not counted, for a release and for its control.

    Args:
        signals: the policy's.
        deployment: the source of the default, its probe paths and metrics page; None: unknown.
    """
    if signals.exclude_routes is not None:
        return frozenset(signals.exclude_routes)
    return deployment.probe_paths if deployment is not None else frozenset()


def probe_excess(new: Sequence[Increment], probe_rate: float) -> str:
    """Describe how probes outnumber the requests; empty: they do not, or a route excludes them.

    Args:
        new: what the new revision has counted.
        probe_rate: requests a second that HTTP probes make to each pod.
    """
    # Series without a pod label are those of a gateway, which no kubelet probe passes.
    if not probe_rate:
        return ""
    counted = [increment for increment in new if increment.pod]
    if not counted or any(increment.route for increment in counted):
        return ""
    seconds = sum(increment.end - increment.start for increment in counted)
    requests = sum(increment.requests for increment in counted)
    if requests >= PROBE_TIMES * probe_rate * seconds:
        return ""
    return (
        f"its pods have counted {requests:.0f} requests in {seconds:.0f} s of their time, and "
        f"{probe_rate * seconds:.0f} are probes. Without a route label probes cannot be excluded, "
        f"and an error rate needs {PROBE_TIMES:.0f} times as many requests as probes. Set "
        "spec.signals.labels.route to the label that holds the route"
    )
