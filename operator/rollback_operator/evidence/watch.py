"""A release under watch: since when, against what, and what has been counted.

It is rebuilt from Prometheus and from Kubernetes when the operator starts anew; nothing of it is
stored but the time at which the template changed.
"""

import math
from collections.abc import Iterable, Set
from dataclasses import dataclass, field, replace
from statistics import median_low

from rollback_operator.api.reasons import Reason
from rollback_operator.api.shape import clipped
from rollback_operator.api.v1alpha1 import VerdictValue
from rollback_operator.evidence import aggregate, scrape_state
from rollback_operator.evidence.baseline import Control
from rollback_operator.evidence.counters import Evidence, fold, fold_read
from rollback_operator.evidence.limits import BASELINE_SECONDS
from rollback_operator.evidence.retention import OTHER, pod_size
from rollback_operator.evidence.scrape_state import Direct
from rollback_operator.evidence.trends import Trends, with_kills
from rollback_operator.model.pod import Pod
from rollback_operator.model.pod_names import survives
from rollback_operator.model.samples import Counters, CounterSeries, Missing, Reading
from rollback_operator.model.services import Routing
from rollback_operator.model.workload import Workload

DEFAULT_STARTUP_SECONDS = 30.0
LONGEST_STARTUP_SECONDS = 600.0
MOST_GONE = 1000
"""Pods that are no longer there: those seen first are forgotten, with what they counted."""
ROUTE_BYTES = 1024
"""Of memory, for what a route did before."""
NOT_YET_READ = Missing(Reason.NOT_YET_READ, "metrics have not been read yet")


@dataclass(frozen=True, slots=True)
class FailedTarget:
    """The rollback target that failed when it last served: another revision is the control."""

    hashes: frozenset[str]
    failure: str


@dataclass(frozen=True, slots=True)
class Watch:
    """What is known of the release that is being watched."""

    digest: str
    opened: float
    evidence: Evidence
    control: Control | None = None
    control_hashes: frozenset[str] = frozenset()
    """pod-template-hash values of the revision that it is compared with."""
    good_hashes: frozenset[str] = frozenset()
    """... of all known good revisions: their history replaces a short history of the control."""
    replaced_hashes: frozenset[str] = frozenset()
    """... of the revision that it replaced, where that is not the rollback target."""
    control_before: Control | None = None
    """The past of that revision; read only where the target failed at its end."""
    failed_target: FailedTarget | None = None
    """Set where the revision that was replaced is the control in its place."""
    startup: float = DEFAULT_STARTUP_SECONDS
    unavailable_since: float | None = None
    restarted_since: float | None = None
    """When a pod of the release was first seen to have restarted."""
    skew: float = 0.0
    """Prometheus' clock minus the operator's, seconds."""
    skew_read: float | None = None
    """When that was last measured."""
    missing: Missing | None = NOT_YET_READ
    source: str = ""
    """Which signals, read where: counts of others are no evidence."""
    trends: Trends = field(default_factory=Trends)
    pods: tuple[Pod, ...] = ()
    """Every pod of the target seen since the watch opened: their names outlive them."""
    is_forgetting: bool = False
    """More pods have gone than are remembered."""
    direct: Direct = field(default_factory=Direct)
    """The state of reads of the metrics pages of the pods."""
    routing: Routing = field(default_factory=Routing)
    """Whether Services lead to the release."""
    clean_since: float | None = None
    """Since when nothing has been seen that speaks against the release; None: something does."""
    against: VerdictValue | None = None
    """The verdict against the release at the last evaluation, Suspect or Bad; None: none."""
    scrape_due: float = 0.0
    """When Prometheus has something new, as far as its rhythm is known."""
    read_at: float = 0.0
    """When the pods' own pages were last asked for."""
    read_due: float = 0.0
    """When they are to be read next; infinity: not for now."""

    @property
    def size(self) -> int:
        """Estimate the bytes of what was answered and is kept."""
        pasts = (self.control, self.control_before)
        routes = sum(len(past.routes) for past in pasts if past is not None)
        counted = self.evidence.size + self.trends.size + ROUTE_BYTES * routes
        return counted + sum(map(pod_size, self.pods))

    @property
    def folded(self) -> str:
        """Describe what is no longer counted separately, since a bound is met; empty: nothing."""
        notes = []
        if self.evidence.routes.is_full:
            count = len(self.evidence.routes.known.keys() - {OTHER})
            notes.append(
                "the release has more routes than a watch separates: the "
                f"{count} busiest are judged separately, all others together. Check whether the "
                "route label holds ids"
            )
        if self.is_forgetting:
            notes.append(f"only the newest {MOST_GONE} deleted pods are counted")
        return "; ".join(notes)

    def is_reading_pods(self, now: float) -> bool:
        """Return whether the operator reads the metrics pages of the pods, beside Prometheus."""
        return self.read_due < math.inf and self.direct.is_usable(now)

    @property
    def pages_state(self) -> Direct:
        """The state of reads of the pods; before the first, they may wait for Prometheus."""
        is_waiting = self.direct.missing is scrape_state.NOT_YET and self.skew_read is None
        if not is_waiting or self.missing is None or self.missing.reason is Reason.NOT_YET_READ:
            return self.direct
        message = (
            f"{scrape_state.NOT_YET.message}: the first read waits for Prometheus, "
            f"whose clock times the samples: {self.missing.message}"
        )
        return replace(self.direct, missing=Missing(self.missing.reason, clipped(message, 500)))


def open_watch(digest: str, opened: float, control_hashes: frozenset[str]) -> Watch:
    """Start to watch a release whose template appeared at `opened`."""
    return Watch(digest, opened, Evidence(opened), control_hashes=control_hashes)


def with_workload(watch: Watch, workload: Workload, now: float) -> Watch:
    """Add the present state of the Deployment and its pods."""
    is_down = workload.deployment.replicas > 0 and workload.deployment.available == 0
    since = (watch.unavailable_since or _down_since(watch, workload, now)) if is_down else None
    listed = {pod.name: pod for pod in workload.pods}
    # A pod that has left the list is kept as it was last seen, but not as a living pod.
    pods = {pod.name: listed.get(pod.name) or pod.as_gone for pod in watch.pods} | listed
    watch, pods = _without_oldest(watch, pods, listed.keys())
    startups = [
        pod.ready_since - pod.created
        for pod in workload.pods
        if pod.pod_hash in watch.control_hashes and pod.ready_since is not None
    ]
    # A pod that was unready for a moment has become ready long after its start: not the longest.
    startup = min(LONGEST_STARTUP_SECONDS, median_low(startups)) if startups else watch.startup
    restarted = watch.restarted_since
    if restarted is None:
        # An operator that starts later sees the start of a container, not the end before it.
        begun = (pod.started or now for pod in workload.current_of(workload.pods) if pod.restarts)
        restarted = min(begun, default=None)
    return replace(
        watch,
        unavailable_since=since,
        restarted_since=restarted,
        startup=startup,
        pods=tuple(pods.values()),
        trends=with_kills(watch.trends, pods, watch.opened),
    )


def with_gone(watch: Watch, workload: Workload, counters: Counters) -> Watch:
    """Add pods that left before this operator saw them: their counts are still in Prometheus.

    A pod belongs to the ReplicaSet whose complete name its name contains. It counts from zero where
    it came after the release, at most one scrape interval before its first sample.
    """
    known = {pod.name for pod in watch.pods}
    sets = {each.name: each for each in workload.replica_sets if survives(each.name)}
    gone: dict[str, Pod] = {}
    for series in counters.requests:
        replica_set = sets.get(series.pod.rpartition("-")[0])
        if replica_set is None or series.pod in known or not series.samples:
            continue
        first = series.samples[0][0] - watch.skew
        least = watch.opened if first > watch.opened else 0.0
        created = max(replica_set.created, least, first - watch.evidence.interval)
        if series.pod not in gone or created < gone[series.pod].created:
            gone[series.pod] = Pod(
                series.pod, replica_set.pod_hash, created=created, terminating=True
            )
    return replace(watch, pods=(*gone.values(), *watch.pods)) if gone else watch


def _without_oldest(
    watch: Watch, pods: dict[str, Pod], listed: Set[str]
) -> tuple[Watch, dict[str, Pod]]:
    gone = [name for name in pods if name not in listed]
    if len(gone) <= MOST_GONE:
        return watch, pods
    kept = {*listed, *gone[-MOST_GONE:]}
    evidence, trends = watch.evidence.of({aggregate.POD, *kept}), watch.trends.of(kept)
    watch = replace(watch, evidence=evidence, trends=trends, is_forgetting=True)
    return watch, {name: pod for name, pod in pods.items() if name in kept}


def _down_since(watch: Watch, workload: Workload, now: float) -> float:
    """Give the time since when no pod is available, for an operator that has not seen it begin.

    Not before the last of the pods ceased to be ready, nor before the Deployment fell below what
    its strategy keeps. A pod that is being ended may have served until now.
    """
    times = [None if pod.terminating else pod.unready_since for pod in workload.pods]
    if not times or None in times:
        return now
    known = (watch.opened, workload.deployment.unavailable_since or 0.0)
    return min(now, max(*known, *(time for time in times if time is not None)))


def with_reading(watch: Watch, reading: Reading) -> Watch:
    """Add an answer of Prometheus, or the reason why there is none."""
    match reading:
        case Missing():
            return replace(watch, missing=reading)
        case Counters():
            evidence = fold(watch.evidence, reading, watch.pods)
            if evidence.book.excess:
                message = f"{evidence.book.excess}: expose fewer labels"
                return replace(watch, missing=Missing(Reason.ANSWER_TOO_LARGE, message))
            return _with_begin_of_past(replace(watch, evidence=evidence, missing=None))


def _with_begin_of_past(watch: Watch) -> Watch:
    """Add to a short past when it began, which whole minutes do not show and raw samples do."""
    control, opened = watch.control, watch.opened + watch.skew
    if control is None or control.seconds >= BASELINE_SECONDS:
        return watch
    old = {pod.name for pod in watch.pods if pod.pod_hash in watch.control_hashes}
    old.add(aggregate.POD)
    begins = [increment.start for increment in watch.evidence.increments if increment.pod in old]
    begin = min(begins, default=opened)
    return replace(watch, control=control.since(begin, opened)) if begin < opened else watch


def with_pages(watch: Watch, reading: Reading, now: float) -> Watch:
    """Add reads of the metrics pages of the pods, timed by the operator's clock."""
    watch = replace(watch, direct=scrape_state.after_round(watch.direct, reading, now))
    if isinstance(reading, Missing):
        return watch
    shifted = Counters(*(_shifted(side, watch.skew) for side in (reading.requests, reading.errors)))
    return replace(watch, evidence=fold_read(watch.evidence, shifted, watch.pods))


def naming(watch: Watch, routes: frozenset[str]) -> Watch:
    """Count the routes that the policy names separately, however many there are."""
    return replace(watch, evidence=replace(watch.evidence, named=routes))


def _shifted(all_: Iterable[CounterSeries], seconds: float) -> tuple[CounterSeries, ...]:
    return tuple(
        replace(series, samples=tuple((at + seconds, value) for at, value in series.samples))
        for series in all_
    )


def with_read(known: Watch, read: Watch) -> Watch:
    """Take the metrics from a watch that is older in all else."""
    trends = replace(
        read.trends,
        kills=known.trends.kills,
        trials=known.trends.trials,
        integrity=known.trends.integrity,
        unread_integrity=known.trends.unread_integrity,
    )
    return replace(
        known,
        evidence=read.evidence,
        control=read.control,
        control_before=read.control_before,
        skew=read.skew,
        skew_read=read.skew_read,
        missing=read.missing,
        direct=read.direct,
        read_at=read.read_at,
        trends=trends,
    )


def without_pages(watch: Watch) -> Watch:
    """Forget all counts and stop reads of pods in this watch: Prometheus has every count."""
    evidence = Evidence(watch.opened, interval=watch.evidence.interval)
    message = f"the metrics pages of the pods and Prometheus differ: {watch.evidence.book.conflict}"
    return replace(
        watch,
        evidence=evidence,
        direct=scrape_state.off(Reason.SERIES_DIFFER, clipped(message, 500)),
    )
