"""The Deployment as a live operator would have seen it at a virtual moment.

Told by the file: rollouts, and, where they are there, the status over time and pods by name. What
it leaves open is taken from the pods' own series, and never from a later one:

- A pod exists and is ready from its first sample on; it started an interval before, or with the
  rollout. Its restarts are where all its counters fall.
- It is gone once it is three intervals behind the newest sample of any pod of the target. An old
  one that misses one scrape is gone when as many new pods as there are replicas have been read, or
  as long as other old ones are: a live operator would have been told of its deletion. If nobody is
  read, nobody is gone: that is a gap, and the judge's to see.
- A rollout is complete when no old pod is left.
- Where nothing at all tells of a new revision's pods, they are taken for ready 30 s after the
  rollout: silence is then missing data, not a release that never came up. Where series have no pod
  label at all, they are taken for ready within ten seconds, as most are.
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
"""Paths that are not judged by default: a live operator reads the probes from the template."""


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
    """When pods of which nothing is known are taken for ready, seconds after the rollout."""

    first: float = DEFAULT_STARTUP_SECONDS
    last: float = DEFAULT_STARTUP_SECONDS

    def ready(self, number: int, count: int) -> float:
        """Give the time of one of them."""
        return self.first + (self.last - self.first) * number / max(1, count - 1)


WITHOUT_POD_LABEL = Unknown(first=2.0, last=10.0)
"""Small Deployments roll in two to ten seconds."""


@dataclass
class VirtualTarget:
    """A Deployment's past that can be looked at."""

    rollouts: Rollouts
    tracks: Tracks
    unknown: Unknown = Unknown()
    _undone: list[tuple[float, str, str]] = field(default_factory=list)
    """Rollbacks as if they had been carried out: when, from and to which template."""

    def undo(self, now: float, to: str) -> None:
        """Go back to a template, as a rollback would have done."""
        self._undone.append((now, self.stages(now)[-1].pod_hash, to))

    def stages(self, now: float) -> list[TemplateStage]:
        """List the templates that the Deployment has had by now."""
        known = [one for one in self.rollouts.rollouts if one.time <= now]
        images = {one.template_hash: one.image for one in known if one.image is not None}
        replicas = {one.template_hash: one.replicas for one in known}
        found: list[TemplateStage] = []
        undone = [
            Rollout(time=at, template_hash=to, replicas=replicas.get(to))
            for at, _, to in self._undone
            if at <= now
        ]
        for one in sorted((*known, *undone), key=lambda one: one.time):
            newest = found[-1].revision if found else 0
            given = one.revision if isinstance(one.revision, int) else _number(one.revision)
            size = one.replicas if one.replicas is not None or not found else found[-1].replicas
            revision = max(newest + 1, given)
            image = one.image if one.image is not None else images.get(one.template_hash)
            found.append(TemplateStage(one.time, one.template_hash, revision, image, size))
        return found

    def at(self, now: float) -> Workload | None:
        """Give the target as it would have been read at `now`; None: it was not there yet."""
        stages = self.stages(now)
        if not stages:
            return None
        pods = self._pods(stages, now)
        alive = [one for one in pods if not one.terminating]
        mine = [one for one in alive if one.pod_hash == stages[-1].pod_hash]
        others = [one for one in alive if one.pod_hash != stages[-1].pod_hash]
        replicas = self._replicas(stages, len(mine) or len(others))
        current = stages[-1]
        status = Status(
            current.time,
            current.pod_hash,
            replicas,
            tuple(mine),
            tuple(others),
            unread=self._unread(now),
        )
        if not any(at == current.time for at, _, _ in self._undone):
            # What the file shows after a rollback that it knows nothing of has not come about.
            listed = any(self._hash(one) == current.pod_hash for one in self.rollouts.pods)
            status = observed(status, self.rollouts, is_listed=listed, now=now)
        if not status.new and status.observation is None and self._is_silent(current, now):
            status = replace(status, new=self._taken_for_ready(current, replicas, now))
        kept = {one.name for one in (*status.new, *status.old)}
        gone = [replace(one, terminating=True) for one in pods if one.name not in kept]
        return Workload(
            self._deployment(stages, status),
            replica_sets=self._replica_sets(stages),
            pods=(*status.new, *status.old, *gone),
        )

    def events(self) -> list[float]:
        """List the times at which the target may change without a new sample."""
        found = [one.time for one in self.rollouts.observations]
        rollouts = [one.time for one in self.rollouts.rollouts] + [at for at, _, _ in self._undone]
        most = max([one.replicas or 1 for one in self.rollouts.rollouts])
        offsets = {self.unknown.ready(number, most) for number in range(most)}
        for at in rollouts:
            found += [at, at + DEFAULT_STARTUP_SECONDS, *(at + offset for offset in offsets)]
        moments = [time for pod in self.rollouts.pods for time in (pod.ready, pod.deleted)]
        found += [float(one) for one in moments if one is not None and not isinstance(one, bool)]
        return sorted(found)

    # -- pods --------------------------------------------------------------------------------------

    def _pods(self, stages: Sequence[TemplateStage], now: float) -> list[Pod]:
        known = {one.pod_hash for one in stages}
        seen = {one.name: one for one in self.tracks.seen(now) if one.pod_hash in known}
        found = []
        for one in self.rollouts.pods:
            track = seen.pop(one.name, None)
            pod = self._listed(one, track, stages, now) if self._hash(one) in known else None
            if pod is not None:
                found.append(pod)
        found += [self._derived(one, stages, now) for one in seen.values()]
        return self._without_gone(found, stages, now)

    def _without_gone(
        self, pods: list[Pod], stages: Sequence[TemplateStage], now: float
    ) -> list[Pod]:
        """Tell which pods are gone by what is no longer read of them."""
        last = {one.name: one.last(now) or 0.0 for one in self.tracks.seen(now)}
        undone = {one.name for one in pods if self._is_undone(one, stages, now)}
        newest = max((last.get(one.name, 0.0) for one in pods if one.name not in undone), default=0)
        interval = self.tracks.interval(now)
        current = stages[-1]
        limit = GONE_INTERVALS * interval
        read = [
            one
            for one in pods
            if one.pod_hash == current.pod_hash and newest - last.get(one.name, 0.0) <= limit
        ]
        missed = MISSED_INTERVALS * interval + MISSED_SECONDS
        old = [last.get(one.name, 0.0) for one in pods if one.pod_hash != current.pod_hash]
        is_replaced = len(read) >= max(1, self._wanted(stages))
        # While others of its kind are read, one that is not has been deleted: the rollout does so.
        has_others = any(newest - one <= missed for one in old)
        kept_until = {one.name: one.deleted for one in self.rollouts.pods}
        told = {one.name for one in self.rollouts.pods if "deleted" in one.model_fields_set}
        found = []
        for pod in pods:
            deleted = kept_until.get(pod.name)
            if pod.name in told and deleted is not True:
                is_gone = bool(deleted) and float(deleted or 0) <= now
            elif pod.name not in last:
                is_gone = False
            else:
                is_old = pod.pod_hash != current.pod_hash
                behind = newest - last[pod.name]
                is_deleted = is_old and (is_replaced or has_others)
                is_gone = behind > (missed if is_deleted else limit)
            if is_gone or pod.name in undone:
                if last.get(pod.name, 0.0) < current.time - VANISHED_SECONDS:
                    continue
                found.append(replace(pod, terminating=True, ready=False))
            else:
                found.append(pod)
        return found

    def _unread(self, now: float) -> frozenset[str]:
        """Name the pods that have missed a scrape, whether others were read or not."""
        missed = MISSED_INTERVALS * self.tracks.interval(now) + MISSED_SECONDS
        return frozenset(
            one.name for one in self.tracks.seen(now) if now - (one.last(now) or now) > missed
        )

    def _is_undone(self, pod: Pod, stages: Sequence[TemplateStage], now: float) -> bool:
        """Tell whether a rollback that is taken for carried out has replaced a pod."""
        last = max((one.time for one in stages if one.pod_hash == pod.pod_hash), default=0.0)
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
        self, one: ListedPod, track: Track | None, stages: Sequence[TemplateStage], now: float
    ) -> Pod | None:
        pod_hash = self._hash(one)
        is_time = one.ready is not None and not isinstance(one.ready, bool)
        if is_time and float(one.ready or 0) > now:
            return None  # a pod that is not ready yet may not have been there at all
        if "ready" not in one.model_fields_set:
            if track is None:
                return None
            return replace(self._derived(track, stages, now), node=one.node or "")
        seen = float(one.ready or 0) if is_time else (track.first if track is not None else now)
        since = self._rolled_out(pod_hash, stages, seen)
        base = Pod(one.name, pod_hash, one.node or "", created=since)
        if not one.ready:
            if "node" in one.model_fields_set and not one.node:
                return replace(base, environment="a pod cannot be scheduled: it has no node")
            return replace(base, started=since, own_failure=_unready(self.rollouts.deployment))
        ready = float(one.ready) if is_time else since + DEFAULT_STARTUP_SECONDS
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
        """Estimate when a pod's container started: it is read within an interval of that."""
        return min(track.first, max(since, track.first - self.tracks.interval(track.first)))

    def _restarted(self, pod: Pod, track: Track, now: float) -> Pod:
        restarts = track.restarted(now)
        if not restarts:
            return pod
        return replace(pod, restarts=len(restarts), started=restarts[-1][0])

    def _rolled_out(self, pod_hash: str, stages: Sequence[TemplateStage], until: float) -> float:
        """Give when a pod's template was last rolled out before it was there."""
        times = [one.time for one in stages if one.pod_hash == pod_hash]
        return max((time for time in times if time <= until), default=min(times))

    def _hash(self, one: ListedPod) -> str:
        return one.template_hash or hash_of(one.name, self.rollouts.deployment)

    def _taken_for_ready(self, stage: TemplateStage, replicas: int, now: float) -> tuple[Pod, ...]:
        found = []
        for number in range(replicas):
            ready = stage.time + self.unknown.ready(number, replicas)
            pod = Pod(
                name=f"{self.rollouts.deployment}-{stage.pod_hash}-{number:05d}",
                pod_hash=stage.pod_hash,
                created=stage.time,
            )
            if ready <= now:
                pod = replace(pod, started=ready, ready=True, ready_since=ready)
            found.append(pod)
        return tuple(found)

    def _is_silent(self, current: TemplateStage, now: float) -> bool:
        """Tell whether nothing at all tells of the current template's pods."""
        is_read = any(
            one.pod_hash == current.pod_hash and (one.last(now) or 0.0) >= current.time
            for one in self.tracks.seen(now)
        )
        is_listed = any(self._hash(one) == current.pod_hash for one in self.rollouts.pods)
        waited = now - current.time >= self.unknown.first
        return waited and not is_read and not is_listed

    # -- Deployment and ReplicaSets ----------------------------------------------------------------

    def _wanted(self, stages: Sequence[TemplateStage]) -> int:
        """Tell how many new pods replace all old ones: where the file does not, as many as were."""
        current = stages[-1]
        if current.replicas is not None:
            return current.replicas
        limit = GONE_INTERVALS * self.tracks.interval(current.time)
        seen = self.tracks.seen(current.time)
        return sum((one.last(current.time) or 0.0) >= current.time - limit for one in seen)

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
        found: dict[str, ReplicaSet] = {}
        for one in stages:
            known = found.get(one.pod_hash)
            name = f"{self.rollouts.deployment}-{one.pod_hash}"
            found[one.pod_hash] = ReplicaSet(
                name=name,
                uid=name,
                pod_hash=one.pod_hash,
                revision=one.revision,
                template=self._template(one),
                created=known.created if known else one.time,
                replicas=one.replicas or 0,
            )
        return tuple(found.values())

    def _template(self, one: TemplateStage) -> Template:
        images = (one.image,) if one.image is not None else ()
        containers = (self.rollouts.deployment,) if images else ()
        return Template(one.pod_hash, one.pod_hash, images, containers)


def _unready(container: str) -> str:
    return f"container {container}: running but not ready"


def _number(label: str | None) -> int:
    return int(label) if label is not None and label.isdecimal() else 0
