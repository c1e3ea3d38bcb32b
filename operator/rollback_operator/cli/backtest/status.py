"""The Deployment's status at a virtual moment: as recorded in the file, else derived."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from rollback_operator.cli.backtest.rollouts import Observation, Rollouts
from rollback_operator.model.pod import Pod

DEFAULT_DEADLINE = 600


@dataclass(frozen=True, slots=True)
class PodCounts:
    """Pods by the Deployment's own count."""

    updated: int
    total: int
    available: int


@dataclass(frozen=True, slots=True)
class Status:
    """The pods of the newest template and the others, and the status that follows from them."""

    since: float
    """When the newest template was rolled out."""
    pod_hash: str
    replicas: int
    new: tuple[Pod, ...]
    old: tuple[Pod, ...]
    unread: frozenset[str] = frozenset()
    """Names of pods that missed a scrape."""
    observation: Observation | None = None
    progress_deadline: int = DEFAULT_DEADLINE
    completed_at: float | None = field(default=None)
    """When the file first shows the rollout as complete."""

    @property
    def is_complete(self) -> bool:
        """Whether no old pod is left and every new pod is ready."""
        return bool(self.new) and not self.old and all(pod.ready for pod in self.new)

    @property
    def completed(self) -> float | None:
        """The time at which the rollout was complete."""
        if self.completed_at is not None or not self.is_complete:
            return self.completed_at
        return max(pod.ready_since or self.since for pod in self.new)

    @property
    def counts(self) -> PodCounts:
        """The counts: as observed, else by the pods.

        Without an observation a complete rollout has all its replicas: a pod without requests may
        have no series.
        """
        ready = sum(pod.ready for pod in (*self.new, *self.old))
        seen = self.observation
        if seen is None:
            if self.is_complete:
                size = max(self.replicas, len(self.new))
                return PodCounts(size, size, size)
            return PodCounts(len(self.new), len(self.new) + len(self.old), ready)
        updated = seen.updated_replicas if seen.updated_replicas is not None else len(self.new)
        total = updated + len(self.old)
        return PodCounts(updated, total, _available(seen, total, ready))


def observed(status: Status, rollouts: Rollouts, *, is_listed: bool, now: float) -> Status:
    """Apply the observations in the file to the pods that are known.

    Args:
        status: by the known pods.
        rollouts: the file.
        is_listed: whether it lists the new template's pods by name: then there are no others.
        now: the virtual time.
    """
    known = [each for each in rollouts.observations if each.time <= now]
    since = [each for each in known if each.time >= status.since]
    if not since:
        return status
    seen, before = since[-1], known[: len(known) - len(since)]
    status = replace(status, observation=seen)
    if not is_listed:
        status = _with_unseen(status, rollouts)
        status = _with_readiness(status, since, rollouts.deployment)
    status = _with_old(status, seen)
    status = _with_restarts(status, since, before[-1] if before else None)
    exceeded = [each.time for each in since if each.progress_deadline_exceeded]
    if seen.progress_deadline_exceeded and exceeded:
        progress = [pod.ready_since for pod in status.new if pod.ready and pod.ready_since]
        deadline = int(min(exceeded) - max([status.since, *progress])) - 1
        status = replace(status, progress_deadline=max(1, min(DEFAULT_DEADLINE, deadline)))
    complete = [each.time for each in since if _shows_complete(each, status.replicas)]
    return replace(status, completed_at=min(complete, default=None))


def _is_down(seen: Observation, replicas: int) -> bool:
    """Tell whether no pod at all is available."""
    if isinstance(seen.unavailable, bool) or seen.unavailable is None:
        return seen.unavailable is True
    return not seen.ready_replicas and seen.unavailable >= replicas > 0


def _available(seen: Observation, total: int, ready: int) -> int:
    if seen.unavailable is True:
        return 0
    if seen.ready_replicas is not None:
        return seen.ready_replicas
    if seen.unavailable is not None and seen.unavailable is not False:
        return max(0, total - seen.unavailable)
    return ready


def _with_unseen(status: Status, rollouts: Rollouts) -> Status:
    """Add the new pods that are observed and have no series."""
    seen = status.observation
    if seen is None:
        return status
    wanted = seen.updated_replicas
    if wanted is None:
        is_failing = seen.progress_deadline_exceeded or _is_down(seen, status.replicas)
        wanted = max(seen.updated_ready_replicas or 0, status.replicas if is_failing else 0)
    added = tuple(
        Pod(
            name=f"{rollouts.deployment}-{status.pod_hash}-{number:05d}",
            pod_hash=status.pod_hash,
            created=status.since,
            started=status.since,
        )
        for number in range(len(status.new), wanted)
    )
    return replace(status, new=(*status.new, *added))


def _with_readiness(status: Status, since: Sequence[Observation], container: str) -> Status:
    """Make as many new pods ready as are observed."""
    ready = _updated_ready(since[-1], status)
    pods = []
    for number, pod in enumerate(status.new):
        if number < ready:
            at = pod.ready_since or _ready_since(since, number + 1, status)
            pods.append(replace(pod, ready=True, ready_since=at, own_failure=""))
        else:
            why = f"container {container}: running but not ready"
            pods.append(replace(pod, ready=False, ready_since=None, own_failure=why))
    return replace(status, new=tuple(pods))


def _updated_ready(seen: Observation, status: Status) -> int:
    if seen.updated_ready_replicas is not None:
        return seen.updated_ready_replicas
    if _is_down(seen, status.replicas):
        return 0
    if seen.ready_replicas is not None:
        old = sum(pod.ready for pod in status.old)
        return max(0, seen.ready_replicas - old)
    return sum(pod.ready for pod in status.new)


def _ready_since(since: Sequence[Observation], wanted: int, status: Status) -> float:
    """Return the time since which at least so many new pods have been ready without a break."""
    at = since[-1].time
    for seen in reversed(since):
        if _updated_ready(seen, status) < wanted:
            break
        at = seen.time
    return at


def _with_old(status: Status, seen: Observation) -> Status:
    """Make as many old pods ready as are observed; a complete rollout leaves none."""
    if _shows_complete(seen, status.replicas):
        return replace(status, old=())
    is_down = _is_down(seen, status.replicas)
    if is_down or (seen.updated_replicas or 0) >= status.replicas:
        # All pods are new: of the old pods only those that are still scraped remain.
        kept = tuple(pod for pod in status.old if pod.name not in status.unread)
        status = replace(status, old=kept)
    if seen.ready_replicas is None and not is_down:
        return status
    ready = max(0, (seen.ready_replicas or 0) - _updated_ready(seen, status))
    old = tuple(
        pod if number < ready else replace(pod, ready=False, ready_since=None)
        for number, pod in enumerate(status.old)
    )
    return replace(status, old=old)


def _shows_complete(seen: Observation, replicas: int) -> bool:
    counts = (seen.updated_replicas, seen.updated_ready_replicas, seen.ready_replicas)
    known = [count for count in counts if count is not None]
    is_whole = len(known) == len(counts) and min(known) >= replicas > 0
    return is_whole and seen.ready_replicas == seen.updated_ready_replicas


def _with_restarts(
    status: Status, since: Sequence[Observation], before: Observation | None
) -> Status:
    """Spread the observed restarts over the new pods, first those that are not ready."""
    seen = since[-1]
    restarts = _increase(seen.restarts, before.restarts if before else None)
    kills = _increase(seen.oom_kills, before.oom_kills if before else None)
    if not status.new or not (restarts or kills):
        return status
    first = next((each.time for each in since if each.restarts == seen.restarts), seen.time)
    order = sorted(range(len(status.new)), key=lambda number: status.new[number].ready)
    pods = list(status.new)
    for place, number in enumerate(order):
        pod = pods[number]
        share = restarts // len(order) + (place < restarts % len(order))
        failure = pod.own_failure
        if failure and share:
            failure = f"{failure.partition(':')[0]}: restarted {share} times and is not ready"
        pods[number] = replace(
            pod,
            restarts=max(share, pod.restarts),
            started=first if share and not pod.restarts else pod.started,
            is_out_of_memory=place < kills,
            own_failure=failure,
        )
    return replace(status, new=tuple(pods))


def _increase(count: int | None, before: int | None) -> int:
    """Return the increase of a count since the rollout; a count that fell began again."""
    if count is None:
        return 0
    return count - before if before is not None and before <= count else count
