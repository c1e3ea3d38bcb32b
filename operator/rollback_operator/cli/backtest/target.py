"""The Deployment as a live operator would have seen it at a virtual moment.

The file records the rollouts and, if it has them, the status over time and the pods by name. The
pods' own series show the rest, and never a later sample:

- A pod exists and is ready from its first sample on. It started one scrape interval before, or with
  the rollout. It restarted where all its counters fall.
- A pod is gone when it is three intervals behind the newest sample of any pod of the target. An old
  pod that misses one scrape is gone if as many new pods as replicas have samples, or if other old
  pods still do: a live operator would know of its deletion. If no pod has new samples, no pod is
  gone: that is a gap, and the judge decides what follows from it.
- A rollout is complete when no old pod is left.
- If nothing shows a new revision's pods, they count as ready 30 s after the rollout: no series then
  means missing data, not a release that never starts. If series have no pod label, the pods count
  as ready within ten seconds, as most are.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from rollback_operator.cli.backtest.rollouts import ListedPod, Rollout, Rollouts
from rollback_operator.cli.backtest.status import Status, observed
from rollback_operator.cli.backtest.tracks import Track, Tracks, hash_of
from rollback_operator.evidence.watch import DEFAULT_STARTUP_SECONDS
from rollback_operator.model.pod import Pod
from rollback_operator.model.workload import Deployment, ReplicaSet, Template, Workload

UID = "backtest-deployment"
GONE_INTERVALS = 3.0
MISSED_INTERVALS = 1.2
MISSED_SECONDS = 0.5
VANISHED_SECONDS = 120.0
PROBES = frozenset(
    {"/metrics", "/health", "/health/live", "/health/ready", "/healthz", "/livez", "/readyz"}
)
"""Routes excluded by default: a live operator reads the probes from the template."""


@dataclass(frozen=True, slots=True)
class TemplateStage:
    """The Deployment's template from a time on."""

    time: float
    pod_hash: str
    revision: int
    image: str | None
    replicas: int | None


@dataclass(frozen=True, slots=True)
class Unknown:
    """When unknown pods count as ready, in seconds after the rollout."""

    first: float = DEFAULT_STARTUP_SECONDS
    last: float = DEFAULT_STARTUP_SECONDS

    def ready(self, number: int, count: int) -> float:
        """Return the time for one of the pods."""
        return self.first + (self.last - self.first) * number / max(1, count - 1)


WITHOUT_POD_LABEL = Unknown(first=2.0, last=10.0)
"""Small Deployments roll out in two to ten seconds."""


@dataclass
class VirtualTarget:
    """A Deployment's past, to be read at any moment."""

    rollouts: Rollouts
    tracks: Tracks
    unknown: Unknown = Unknown()
    _undone: list[tuple[float, str, str]] = field(default_factory=list)
    """Rollbacks as if they had been executed: the time, and the templates before and after."""

    def undo(self, now: float, to: str) -> None:
        """Return to a template, as a rollback would have done."""
        self._undone.append((now, self.stages(now)[-1].pod_hash, to))

    def stages(self, now: float) -> list[TemplateStage]:
        """List the templates that the Deployment has had by now."""
        known = [rollout for rollout in self.rollouts.rollouts if rollout.time <= now]
        images = {each.template_hash: each.image for each in known if each.image is not None}
        replicas = {rollout.template_hash: rollout.replicas for rollout in known}
        undone = [
            Rollout(time=at, template_hash=to, replicas=replicas.get(to))
            for at, _, to in self._undone
            if at <= now
        ]
        stages: list[TemplateStage] = []
        for rollout in sorted((*known, *undone), key=lambda each: each.time):
            newest = stages[-1].revision if stages else 0
            label = rollout.revision
            given = label if isinstance(label, int) else _number(label)
            size = rollout.replicas
            if size is None and stages:
                size = stages[-1].replicas
            pod_hash = rollout.template_hash
            image = rollout.image if rollout.image is not None else images.get(pod_hash)
            revision = max(newest + 1, given)
            stages.append(TemplateStage(rollout.time, pod_hash, revision, image, size))
        return stages

    def at(self, now: float) -> Workload | None:
        """Return the target as it would have been read at `now`; None before it exists."""
        stages = self.stages(now)
        if not stages:
            return None
        pods = self._pods(stages, now)
        current = stages[-1]
        alive = [pod for pod in pods if not pod.terminating]
        new = [pod for pod in alive if pod.pod_hash == current.pod_hash]
        old = [pod for pod in alive if pod.pod_hash != current.pod_hash]
        replicas = self._replicas(stages, len(new) or len(old))
        status = Status(
            current.time,
            current.pod_hash,
            replicas,
            tuple(new),
            tuple(old),
            unread=self._unread(now),
        )
        is_listed = any(self._hash(pod) == current.pod_hash for pod in self.rollouts.pods)
        if not any(at == current.time for at, _, _ in self._undone):
            # The file knows nothing of a virtual rollback: its later observations do not apply.
            status = observed(status, self.rollouts, is_listed=is_listed, now=now)
        if not status.new and status.observation is None and self._is_silent(current, now):
            status = replace(status, new=self._assumed_ready(current, replicas, now))
        kept = {pod.name for pod in (*status.new, *status.old)}
        gone = [replace(pod, terminating=True) for pod in pods if pod.name not in kept]
        return Workload(
            self._deployment(stages, status),
            replica_sets=self._replica_sets(stages),
            pods=(*status.new, *status.old, *gone),
        )

    def events(self) -> list[float]:
        """List the times at which the target may change without a new sample."""
        times = [observation.time for observation in self.rollouts.observations]
        rollouts = [rollout.time for rollout in self.rollouts.rollouts]
        most = max(rollout.replicas or 1 for rollout in self.rollouts.rollouts)
        offsets = {self.unknown.ready(number, most) for number in range(most)}
        for at in (*rollouts, *(at for at, _, _ in self._undone)):
            times += [at, at + DEFAULT_STARTUP_SECONDS, *(at + offset for offset in offsets)]
        moments = [moment for pod in self.rollouts.pods for moment in (pod.ready, pod.deleted)]
        times += [
            float(each) for each in moments if each is not None and not isinstance(each, bool)
        ]
        return sorted(times)

    # -- pods --------------------------------------------------------------------------------------

    def _pods(self, stages: Sequence[TemplateStage], now: float) -> list[Pod]:
        known = {stage.pod_hash for stage in stages}
        seen = {track.name: track for track in self.tracks.seen(now) if track.pod_hash in known}
        pods = []
        for listed in self.rollouts.pods:
            track = seen.pop(listed.name, None)
            is_known = self._hash(listed) in known
            pod = self._listed(listed, track, stages, now) if is_known else None
            if pod is not None:
                pods.append(pod)
        pods += [self._derived(track, stages, now) for track in seen.values()]
        return self._without_gone(pods, stages, now)

    def _without_gone(
        self, pods: list[Pod], stages: Sequence[TemplateStage], now: float
    ) -> list[Pod]:
        """Decide which pods are gone, by their last samples."""
        last = {track.name: track.last(now) or 0.0 for track in self.tracks.seen(now)}
        undone = {pod.name for pod in pods if self._is_undone(pod, stages, now)}
        newest = max((last.get(pod.name, 0.0) for pod in pods if pod.name not in undone), default=0)
        interval = self.tracks.interval(now)
        current = stages[-1]
        limit = GONE_INTERVALS * interval
        read = [
            pod
            for pod in pods
            if pod.pod_hash == current.pod_hash and newest - last.get(pod.name, 0.0) <= limit
        ]
        missed = MISSED_INTERVALS * interval + MISSED_SECONDS
        old = [last.get(pod.name, 0.0) for pod in pods if pod.pod_hash != current.pod_hash]
        is_replaced = len(read) >= max(1, self._wanted(stages))
        # While other old pods have samples, an old pod without was deleted by the rollout.
        has_others = any(newest - time <= missed for time in old)
        deletions = {
            pod.name: pod.deleted for pod in self.rollouts.pods if "deleted" in pod.model_fields_set
        }
        kept = []
        for pod in pods:
            deleted = deletions.get(pod.name)
            if pod.name in deletions and deleted is not True:
                is_gone = bool(deleted) and float(deleted or 0) <= now
            elif pod.name not in last:
                is_gone = False
            else:
                is_old = pod.pod_hash != current.pod_hash
                behind = newest - last[pod.name]
                is_deleted = is_old and (is_replaced or has_others)
                is_gone = behind > (missed if is_deleted else limit)
            if not is_gone and pod.name not in undone:
                kept.append(pod)
            elif last.get(pod.name, 0.0) >= current.time - VANISHED_SECONDS:
                kept.append(replace(pod, terminating=True, ready=False))
        return kept

    def _unread(self, now: float) -> frozenset[str]:
        """Return the pods that missed a scrape, whether others were read or not."""
        missed = MISSED_INTERVALS * self.tracks.interval(now) + MISSED_SECONDS
        return frozenset(
            track.name for track in self.tracks.seen(now) if now - (track.last(now) or now) > missed
        )

    def _is_undone(self, pod: Pod, stages: Sequence[TemplateStage], now: float) -> bool:
        """Tell whether a virtual rollback has replaced a pod."""
        last = max((each.time for each in stages if each.pod_hash == pod.pod_hash), default=0.0)
        return any(source == pod.pod_hash and last <= at <= now for at, source, _ in self._undone)

    def _derived(self, track: Track, stages: Sequence[TemplateStage], now: float) -> Pod:
        since = self._rolled_out(track.pod_hash, stages, track.first)
        started = self._first_start(track, since)
        return self._restarted(
            Pod(
                name=track.name,
                pod_hash=track.pod_hash,
                created=max(since, started - DEFAULT_STARTUP_SECONDS),
                started=started,
                ready=True,
                ready_since=started,
            ),
            track,
            now,
        )

    def _listed(
        self, listed: ListedPod, track: Track | None, stages: Sequence[TemplateStage], now: float
    ) -> Pod | None:
        pod_hash = self._hash(listed)
        is_time = listed.ready is not None and not isinstance(listed.ready, bool)
        if is_time and float(listed.ready or 0) > now:
            return None  # before it is ready, it may not exist
        if "ready" not in listed.model_fields_set:
            if track is None:
                return None
            return replace(self._derived(track, stages, now), node=listed.node or "")
        seen = float(listed.ready or 0) if is_time else (track.first if track is not None else now)
        since = self._rolled_out(pod_hash, stages, seen)
        base = Pod(listed.name, pod_hash, listed.node or "", created=since)
        if not listed.ready:
            if "node" in listed.model_fields_set and not listed.node:
                return replace(base, environment="a pod cannot be scheduled: it has no node")
            why = f"container {self.rollouts.deployment}: running but not ready"
            return replace(base, started=since, own_failure=why)
        ready = float(listed.ready) if is_time else since + DEFAULT_STARTUP_SECONDS
        started = ready
        if track is not None:
            started = min(ready, self._first_start(track, since))
            ready = ready if is_time else started
        pod = replace(
            base,
            created=max(since, started - DEFAULT_STARTUP_SECONDS),
            started=started,
            ready=ready <= now,
            ready_since=ready if ready <= now else None,
        )
        return pod if track is None else self._restarted(pod, track, now)

    def _first_start(self, track: Track, since: float) -> float:
        """Estimate when a pod's container started: its first scrape follows within an interval."""
        return min(track.first, max(since, track.first - self.tracks.interval(track.first)))

    def _restarted(self, pod: Pod, track: Track, now: float) -> Pod:
        restarts = track.restarted(now)
        if not restarts:
            return pod
        return replace(pod, restarts=len(restarts), started=restarts[-1][0])

    def _rolled_out(self, pod_hash: str, stages: Sequence[TemplateStage], until: float) -> float:
        """Return when a pod's template was last rolled out before the pod existed."""
        times = [stage.time for stage in stages if stage.pod_hash == pod_hash]
        return max((time for time in times if time <= until), default=min(times))

    def _hash(self, pod: ListedPod) -> str:
        return pod.template_hash or hash_of(pod.name, self.rollouts.deployment)

    def _assumed_ready(self, stage: TemplateStage, replicas: int, now: float) -> tuple[Pod, ...]:
        pods = []
        for number in range(replicas):
            ready = stage.time + self.unknown.ready(number, replicas)
            pod = Pod(
                name=f"{self.rollouts.deployment}-{stage.pod_hash}-{number:05d}",
                pod_hash=stage.pod_hash,
                created=stage.time,
            )
            if ready <= now:
                pod = replace(pod, started=ready, ready=True, ready_since=ready)
            pods.append(pod)
        return tuple(pods)

    def _is_silent(self, current: TemplateStage, now: float) -> bool:
        """Tell whether neither series nor the file show the current template's pods."""
        is_read = any(
            track.pod_hash == current.pod_hash and (track.last(now) or 0.0) >= current.time
            for track in self.tracks.seen(now)
        )
        is_listed = any(self._hash(pod) == current.pod_hash for pod in self.rollouts.pods)
        waited = now - current.time >= self.unknown.first
        return waited and not is_read and not is_listed

    # -- Deployment and ReplicaSets ----------------------------------------------------------------

    def _wanted(self, stages: Sequence[TemplateStage]) -> int:
        """Return how many new pods replace all old pods: as recorded, else their number before."""
        current = stages[-1]
        if current.replicas is not None:
            return current.replicas
        limit = GONE_INTERVALS * self.tracks.interval(current.time)
        seen = self.tracks.seen(current.time)
        return sum((track.last(current.time) or 0.0) >= current.time - limit for track in seen)

    def _replicas(self, stages: Sequence[TemplateStage], seen: int) -> int:
        given = stages[-1].replicas
        return given if given is not None else max(1, seen)

    def _deployment(self, stages: Sequence[TemplateStage], status: Status) -> Deployment:
        current = stages[-1]
        return Deployment(
            namespace=self.rollouts.namespace,
            name=self.rollouts.deployment,
            uid=UID,
            template=self._template(current),
            generation=len(stages),
            observed_generation=len(stages),
            revision=current.revision,
            replicas=status.replicas,
            updated=status.counts.updated,
            total=status.counts.total,
            available=status.counts.available,
            progress_deadline_seconds=status.progress_deadline,
            probe_paths=PROBES,
            completed=status.completed,
        )

    def _replica_sets(self, stages: Sequence[TemplateStage]) -> tuple[ReplicaSet, ...]:
        sets: dict[str, ReplicaSet] = {}
        for stage in stages:
            known = sets.get(stage.pod_hash)
            name = f"{self.rollouts.deployment}-{stage.pod_hash}"
            sets[stage.pod_hash] = ReplicaSet(
                name=name,
                uid=name,
                pod_hash=stage.pod_hash,
                revision=stage.revision,
                template=self._template(stage),
                created=known.created if known else stage.time,
                replicas=stage.replicas or 0,
            )
        return tuple(sets.values())

    def _template(self, stage: TemplateStage) -> Template:
        images = (stage.image,) if stage.image is not None else ()
        containers = (self.rollouts.deployment,) if images else ()
        return Template(stage.pod_hash, stage.pod_hash, images, containers)


def _number(label: str | None) -> int:
    return int(label) if label is not None and label.isdecimal() else 0
