"""The Deployment's status at a virtual moment: what the file tells of it, else what follows."""

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
    """The newest template's pods, the others', and the status that follows from them."""

    since: float
    """When the newest template was rolled out."""
    pod_hash: str
    replicas: int
    new: tuple[Pod, ...]
    old: tuple[Pod, ...]
    unread: frozenset[str] = frozenset()
    """Names of old pods that have missed a scrape."""
    observation: Observation | None = None
    progress_deadline: int = DEFAULT_DEADLINE
    completed_at: float | None = field(default=None)
    """When the file first shows the rollout as complete."""

    @property
    def is_complete(self) -> bool:
        """Tell whether no old pod is left and every new one is ready."""
        return bool(self.new) and not self.old and all(one.ready for one in self.new)

    @property
    def completed(self) -> float | None:
        """When the rollout was complete."""
        if self.completed_at is not None or not self.is_complete:
            return self.completed_at
        return max(one.ready_since or self.since for one in self.new)

    @property
    def counts(self) -> PodCounts:
        """The counts: as told, else by the pods.

        Without being told a complete rollout has all its replicas: pods that nobody asks for
        anything may have no series.
        """
        ready = sum(one.ready for one in (*self.new, *self.old))
        told = self.observation
        if told is None:
            if self.is_complete:
                size = max(self.replicas, len(self.new))
                return PodCounts(size, size, size)
            return PodCounts(len(self.new), len(self.new) + len(self.old), ready)
        updated = told.updated_replicas if told.updated_replicas is not None else len(self.new)
        total = updated + len(self.old)
        return PodCounts(updated, total, _available(told, total, ready))


def observed(status: Status, rollouts: Rollouts, *, is_listed: bool, now: float) -> Status:
    """Lay what the file tells of the status over the pods that are known.

    Args:
        status: by what is known of the pods.
        rollouts: the file.
        is_listed: whether it lists the new template's pods by name: then there are no others.
        now: the virtual time.
    """
    known = [one for one in rollouts.observations if one.time <= now]
    since = [one for one in known if one.time >= status.since]
    if not since:
        return status
    told, before = since[-1], known[: len(known) - len(since)]
    status = replace(status, observation=told)
    if not is_listed:
        status = _with_unseen(status, rollouts)
        status = _with_readiness(status, since, rollouts.deployment)
    status = _with_old(status, told)
    status = _with_restarts(status, since, before[-1] if before else None)
    exceeded = [one.time for one in since if one.progress_deadline_exceeded]
    if told.progress_deadline_exceeded and exceeded:
        progress = [one.ready_since for one in status.new if one.ready and one.ready_since]
        deadline = int(min(exceeded) - max([status.since, *progress])) - 1
        status = replace(status, progress_deadline=max(1, min(DEFAULT_DEADLINE, deadline)))
    complete = [one.time for one in since if _shows_complete(one, status.replicas)]
    return replace(status, completed_at=min(complete, default=None))


def _is_down(told: Observation, replicas: int) -> bool:
    """Tell whether no pod at all is available."""
    if isinstance(told.unavailable, bool) or told.unavailable is None:
        return told.unavailable is True
    return not told.ready_replicas and told.unavailable >= replicas > 0


def _available(told: Observation, total: int, ready: int) -> int:
    if told.unavailable is True:
        return 0
    if told.ready_replicas is not None:
        return told.ready_replicas
    if told.unavailable is not None and told.unavailable is not False:
        return max(0, total - told.unavailable)
    return ready


def _with_unseen(status: Status, rollouts: Rollouts) -> Status:
    """Add the new pods that are told of and that nobody has read."""
    told = status.observation
    if told is None:
        return status
    wanted = told.updated_replicas
    if wanted is None:
        is_failing = told.progress_deadline_exceeded or _is_down(told, status.replicas)
        wanted = max(told.updated_ready_replicas or 0, status.replicas if is_failing else 0)
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
    """Let as many new pods be ready as are told."""
    ready = _updated_ready(since[-1], status)
    pods = []
    for number, pod in enumerate(status.new):
        if number < ready:
            at = pod.ready_since or _since_when(since, number + 1, status)
            pods.append(replace(pod, ready=True, ready_since=at, own_failure=""))
        else:
            why = f"container {container}: running but not ready"
            pods.append(replace(pod, ready=False, ready_since=None, own_failure=why))
    return replace(status, new=tuple(pods))


def _updated_ready(told: Observation, status: Status) -> int:
    if told.updated_ready_replicas is not None:
        return told.updated_ready_replicas
    if _is_down(told, status.replicas):
        return 0
    if told.ready_replicas is not None:
        old = sum(one.ready for one in status.old)
        return max(0, told.ready_replicas - old)
    return sum(one.ready for one in status.new)


def _since_when(since: Sequence[Observation], wanted: int, status: Status) -> float:
    """Give since when at least so many new pods have been ready without a break."""
    at = since[-1].time
    for one in reversed(since):
        if _updated_ready(one, status) < wanted:
            break
        at = one.time
    return at


def _with_old(status: Status, told: Observation) -> Status:
    """Let as many old pods be ready as are told; after a complete rollout none is left."""
    if _shows_complete(told, status.replicas):
        return replace(status, old=())
    is_down = _is_down(told, status.replicas)
    if is_down or (told.updated_replicas or 0) >= status.replicas:
        # All pods are new ones: of the old ones there is only what is still being read.
        kept = tuple(pod for pod in status.old if pod.name not in status.unread)
        status = replace(status, old=kept)
    if told.ready_replicas is None and not is_down:
        return status
    ready = max(0, (told.ready_replicas or 0) - _updated_ready(told, status))
    old = tuple(
        pod if number < ready else replace(pod, ready=False, ready_since=None)
        for number, pod in enumerate(status.old)
    )
    return replace(status, old=old)


def _shows_complete(told: Observation, replicas: int) -> bool:
    counts = (told.updated_replicas, told.updated_ready_replicas, told.ready_replicas)
    known = [one for one in counts if one is not None]
    is_whole = len(known) == len(counts) and min(known) >= replicas > 0
    return is_whole and told.ready_replicas == told.updated_ready_replicas


def _with_restarts(
    status: Status, since: Sequence[Observation], before: Observation | None
) -> Status:
    """Spread the restarts that are told over the new pods, those that are not ready first."""
    told = since[-1]
    restarts = _grown(told.restarts, before.restarts if before else None)
    kills = _grown(told.oom_kills, before.oom_kills if before else None)
    if not status.new or not (restarts or kills):
        return status
    first = next((one.time for one in since if one.restarts == told.restarts), told.time)
    order = sorted(range(len(status.new)), key=lambda number: status.new[number].ready)
    pods = list(status.new)
    for place, number in enumerate(order):
        pod = pods[number]
        mine = restarts // len(order) + (place < restarts % len(order))
        told_more = mine > pod.restarts
        failure = pod.own_failure
        if failure and mine:
            failure = f"{failure.partition(':')[0]}: restarted {mine} times and is not ready"
        pods[number] = replace(
            pod,
            restarts=max(mine, pod.restarts),
            started=first if told_more and not pod.restarts else pod.started,
            is_out_of_memory=place < kills,
            own_failure=failure,
        )
    return replace(status, new=tuple(pods))


def _grown(told: int | None, before: int | None) -> int:
    """Give how much a count has grown since the rollout; a count that fell began anew."""
    if told is None:
        return 0
    return told - before if before is not None and before <= told else told
