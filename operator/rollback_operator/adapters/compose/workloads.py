"""The Workloads port on services of a Compose project."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from rollback_operator.adapters.compose.containers import (
    Container,
    container_of,
    foreign_cause,
)
from rollback_operator.adapters.compose.engine import Engine
from rollback_operator.adapters.compose.ledger import KnownRevision, Ledger, ServiceRecord
from rollback_operator.adapters.compose.project import Compose, Pin
from rollback_operator.adapters.compose.revisions import (
    ServicePlace,
    current_of,
    is_pinned,
    is_restored,
    recorded,
    workload_of,
)
from rollback_operator.api.v1alpha1 import Hold, Remedy, Rollback, StoredStrategy
from rollback_operator.model.controllers import Owner
from rollback_operator.model.workload import Deployment, Workload
from rollback_operator.ports.failure import Failure, FailureKind
from rollback_operator.remedies.change_cause import Overdue

HASH_SECONDS = 600.0
"""How long a computed hash of the files counts, while none of them changes; before an undo it is
computed again, since files that they name may have changed."""
TAGS = "rollback-operator.local"
"""Repository of the names that keep the images of known revisions on this machine."""
DEPLOYING_SECONDS = 30.0
"""A file that was just edited is as a rule about to be deployed: that is not reported yet."""
MOST_KNOWN_IMAGES = 128
"""Descriptions of images that are kept: an image of an id never changes."""
_NOT_HERE = Failure(FailureKind.REJECTED, "a Compose service has no such field")


@dataclass(frozen=True, slots=True)
class Observed:
    """A service as it was read last."""

    containers: tuple[Container, ...]
    record: ServiceRecord
    ignored: tuple[str, ...] = ()
    """Containers that Compose takes for the service's and that are not, each with the reason."""


@dataclass(frozen=True, slots=True)
class _Hashed:
    key: tuple[object, ...]
    time: float
    owner: Owner | None


@dataclass
class ComposeWorkloads:
    """Reads services as workloads, and restores images.

    All its writes to the record are made here, on the agent's only event loop.
    """

    engine: Engine
    compose: Compose
    ledger: Ledger
    places: Mapping[tuple[str, str], ServicePlace]
    """By namespace and name, as passes name targets."""
    clock: Callable[[], float]
    left: dict[tuple[str, str], ServicePlace] = field(default_factory=dict)
    """Services of Rollbacks in progress whose policy the file no longer has."""
    known: dict[str, Observed] = field(default_factory=dict)
    """By service."""
    acting: set[str] = field(default_factory=set)
    """Services that Compose changes right now: their containers are between two states."""
    _images: dict[str, Mapping[str, Any] | None] = field(default_factory=dict)
    _hashed: dict[str, _Hashed] = field(default_factory=dict)
    _reading: asyncio.Lock = field(default_factory=asyncio.Lock)
    """A slower read must not put an older release on record after a newer release."""

    async def inspect(self, namespace: str, name: str) -> Workload | Failure:
        """Read the containers of a service; a release that is seen first is put on record."""
        place = self._place(namespace, name)
        if place is None:
            return Failure(FailureKind.GONE, f"the agent watches no service {name}")
        async with self._reading:
            seen = await self._observe(place.service)
        if isinstance(seen, Failure):
            return seen
        owner = self._beside(place.service, seen) or await self._owner(
            place.service, seen.containers
        )
        workload = workload_of(place, seen.record, seen.containers, owner, self.clock())
        text = f"service {place.service} has never had a container: {self.compose.program} up -d"
        ignored = f"; ignored: {', '.join(seen.ignored)}" if seen.ignored else ""
        return workload or Failure(FailureKind.GONE, text + ignored)

    def _place(self, namespace: str, name: str) -> ServicePlace | None:
        key = namespace, name
        return self.places.get(key) or self.left.get(key)

    async def undo(self, rollback: Rollback, surge: StoredStrategy | None) -> Deployment | Failure:
        """Pin the recorded image in the override file, and start the service from it."""
        place = self._place(rollback.metadata.namespace, rollback.spec.target_ref.name)
        target = rollback.spec.to_revision
        if place is None or target is None:
            return Failure(FailureKind.REJECTED, "the Rollback names no service or no revision")
        if self.acting:
            text = f"{self.compose.program} up of service {min(self.acting)} has not ended yet"
            return Failure(FailureKind.UNAVAILABLE, text)
        self._hashed.pop(place.service, None)
        read = await self.inspect(place.namespace, place.name)
        refused = read if isinstance(read, Failure) else self._refusal(place, read, rollback)
        record = self.known[place.service].record if place.service in self.known else None
        revisions = record.revisions if record is not None else ()
        known = next((each for each in revisions if each.revision == target.digest), None)
        if known is None and refused is None:
            refused = Failure(FailureKind.GONE, f"revision {target.number} is not on record")
        if refused is None and known is not None and isinstance(read, Workload):
            self.acting.add(place.service)
            try:
                refused = await self._restore(place.service, known, read.deployment.replicas)
            finally:
                self.acting.discard(place.service)
        if refused is not None:
            return refused
        after = await self.inspect(place.namespace, place.name)
        return after if isinstance(after, Failure) else after.deployment

    def _refusal(
        self, place: ServicePlace, workload: Workload, rollback: Rollback
    ) -> Failure | None:
        """Refuse an undo of another release than was judged, or an undo that would change more."""
        deployment, hashed = workload.deployment, self._hashed.get(place.service)
        if deployment.template.digest != rollback.spec.from_revision.digest:
            return Failure(FailureKind.CONFLICT, "the service is not as it was judged")
        owner = deployment.owner or (hashed.owner if hashed is not None else None)
        if owner is None:
            return None
        return Failure(FailureKind.REJECTED, f"{owner.evidence}: {owner.remedy}")

    async def _restore(self, service: str, known: KnownRevision, replicas: int) -> Failure | None:
        image = await self.engine.image(known.image_id)
        is_local = not isinstance(image, Failure)
        if isinstance(image, Failure) and image.kind is not FailureKind.GONE:
            return image
        if not is_local and not known.repo_digest:
            text = f"image {known.image_id} of {known.image} is not on this machine any more, and"
            return Failure(FailureKind.REJECTED, f"{text} no registry has it: build or load it")
        number = max(1, replicas)
        failure = self._note(service, pinned=known.revision, restoring=number)
        pins = [
            replace(pin, is_local=is_local) if pin.service == service else pin
            for pin in self._pins()
        ]
        failure = failure or await self.compose.restore(pins, service, number)
        return failure or self._note(service, restoring=0)

    def _note(self, service: str, **changes: object) -> Failure | None:
        """Store changes of a service's record."""
        changed = self.ledger.state.services[service].model_copy(update=changes)
        return self._put(service, changed)

    def _put(self, service: str, record: ServiceRecord) -> Failure | None:
        services = self.ledger.state.services | {service: record}
        return self.ledger.store(self.ledger.state.model_copy(update={"services": services}))

    def _pins(self) -> list[Pin]:
        """List the pins of all services on record, also of those that were not read yet."""
        return [
            Pin(service, revision)
            for service, record in self.ledger.state.services.items()
            for revision in record.revisions
            if revision.revision == record.pinned
        ]

    async def settle_pins(self) -> Failure | None:
        """Remove pins that a person's own `up` has ended; nothing while Compose works."""
        watched = {place.service for place in self.places.values()}
        if self.acting or not watched <= self.known.keys():
            return None
        for pin in self._pins():
            if pin.service not in watched:
                failure = await self._settle_unwatched(pin.service)
                if failure is not None:
                    return failure
        if self.acting:
            return None
        return self.compose.unpin({pin.service for pin in self._pins()})

    async def _settle_unwatched(self, service: str) -> Failure | None:
        """End the pin of a service that no policy names; only its containers show that."""
        read = await self._containers(service)
        record = self.ledger.state.services[service]
        if isinstance(read, Failure) or is_pinned(read[0], record):
            return None
        return self._note(service, pinned="", restoring=0)

    def give_up(self, service: str) -> Failure | None:
        """Take a service as it is, after a rollback that has ended before its `up` has."""
        record = self.ledger.state.services[service]
        return self._note(service, restoring=0) if record.restoring else None

    # -- what is observed --------------------------------------------------------------------------

    async def _observe(self, service: str) -> Observed | Failure:
        read = await self._containers(service)
        if isinstance(read, Failure):
            return read
        containers, ignored = read
        before = self.ledger.state.services[service]
        record = recorded(before, containers, self.clock())
        if record != before:
            failure = await self._remember(service, before, record)
            if failure is not None:
                return failure
        seen = self.known[service] = Observed(containers, record, ignored)
        return seen

    async def _containers(
        self, service: str
    ) -> tuple[tuple[Container, ...], tuple[str, ...]] | Failure:
        """Read the containers of the service, and name those that only bear its labels."""
        listed = await self.engine.containers(self.compose.files.project, service)
        if isinstance(listed, Failure):
            return listed
        made, ignored = [], []
        for raw in listed:
            id_ = str(raw["Image"])
            if id_ not in self._images:
                image = await self.engine.image(id_)
                if isinstance(image, Failure) and image.kind is not FailureKind.GONE:
                    return image
                self._images[id_] = None if isinstance(image, Failure) else image
            cause = foreign_cause(raw, self._images[id_], self.compose.files.files[0])
            if cause:
                ignored.append(f"{str(raw['Name']).lstrip('/')} ({cause})")
            else:
                made.append(container_of(raw, self._images[id_]))
        while len(self._images) > MOST_KNOWN_IMAGES:
            del self._images[next(iter(self._images))]
        return tuple(made), tuple(sorted(ignored))

    async def _remember(
        self, service: str, before: ServiceRecord, record: ServiceRecord
    ) -> Failure | None:
        """Keep the images of known releases from being pruned, and store the record."""
        had, has = _images_of(before), _images_of(record)
        for id_ in has.keys() - had.keys():
            # A failure only risks the image, and an undo without it says so.
            await self.engine.tag(id_, *_kept_name(self.compose.files.project, service, id_))
        failure = self._put(service, record)
        if failure is not None:
            return failure
        for id_ in had.keys() - has.keys():
            name = ":".join(_kept_name(self.compose.files.project, service, id_))
            await self.engine.untag(name)
        return None

    def _beside(self, service: str, seen: Observed) -> Owner | None:
        """Name containers of others that Compose would change, or end, with the service's own."""
        if not seen.ignored:
            return None
        evidence = (
            f"containers bear the labels of service {service} and are not of these files, so that "
            f"{self.compose.program} would change them too: {', '.join(seen.ignored[:5])}"
        )
        remedy = "remove them, or give the other project another name; they are not evaluated"
        return _owner(self._file_names, evidence, remedy)

    async def _owner(self, service: str, containers: Sequence[Container]) -> Owner | None:
        """Name what would make an undo change more, or other, than the image.

        It is reported as the owner of a Deployment is: before an incident, and each undo is
        refused until it is settled.
        """
        newest = max(containers, key=lambda each: each.created, default=None)
        if newest is None or service in self.acting:
            return None
        named = self.compose.files
        files = (*named.files, *named.env_files, named.files[0].parent / ".env")
        edited = tuple(map(_changed, files))
        key = (newest.config_hash, newest.id, *edited, _changed(self.compose.override))
        known = self._hashed.get(service)
        now = self.clock()
        if known is None or known.key != key or now >= known.time + HASH_SECONDS:
            owner = await self._compared(service, newest)
            known = self._hashed[service] = _Hashed(key, now, owner)
        is_lasting = now >= max(edited) + DEPLOYING_SECONDS
        lasting = known.owner if is_lasting else None
        return lasting or self._settings_alone(service, newest)

    @property
    def _file_names(self) -> str:
        return ", ".join(path.name for path in self.compose.files.files)

    async def _compared(self, service: str, newest: Container) -> Owner | None:
        """Compare what Compose would start now with what runs."""
        named, program = self._file_names, self.compose.program
        is_ours = is_restored(newest, self.known[service].record)
        would = await self.compose.hash_of(service, is_ours)
        if isinstance(would, Failure):
            if would.kind is FailureKind.UNAVAILABLE:
                return None  # of Docker: reading the containers reports it
            return _owner(named, f"it cannot be resolved: {would.message}", "correct the file")
        if would == newest.config_hash:
            return None
        evidence = (
            f"{program} would not only change the image of service {service}: the files, or a "
            "variable that they use, differ from those that its containers were started with"
        )
        remedy = (
            f"start the agent with the same files ({newest.config_files or 'unknown'}), variables, "
            f"profiles and Compose program (the containers: {newest.compose_version or 'unknown'}"
            f"), or run {program} up -d"
        )
        return _owner(named, evidence, remedy)

    def _settings_alone(self, service: str, newest: Container) -> Owner | None:
        """Name a release that has another release's image: a pinned image restores nothing."""
        record = self.known[service].record
        current = current_of(record)
        older = [each for each in record.revisions if each.revision != record.current]
        before = max(older, key=lambda each: each.number, default=None)
        if current is None or before is None or is_restored(newest, record):
            return None
        if before.image_id != current.image_id:
            return None
        evidence = "the newest release changes the settings of the service and not its image"
        remedy = "restore the earlier settings in the file yourself; an image alone is no remedy"
        return _owner(self._file_names, evidence, remedy)

    # -- what a service does not have --------------------------------------------------------------

    async def apply_in_place(self, rollback: Rollback, remedy: Remedy) -> Deployment | Failure:
        """Refuse: a policy with another remedy than Undo is refused at the start."""
        return _NOT_HERE

    async def restart(self, rollback: Rollback, time: datetime) -> Deployment | Failure:
        """Refuse: no flag is ever set."""
        return _NOT_HERE

    async def set_strategy(
        self, rollback: Rollback, strategy: StoredStrategy
    ) -> Deployment | Failure:
        """Refuse: no undo is express."""
        return _NOT_HERE

    async def set_replicas(
        self, rollback: Rollback, known: int, wanted: int
    ) -> Deployment | Failure:
        """Refuse: a policy that stops traffic is refused at the start."""
        return _NOT_HERE

    async def drop_cause(self, deployment: Deployment, overdue: Overdue) -> Deployment | Failure:
        """Refuse: no cause is ever written."""
        return _NOT_HERE

    async def pause(self, namespace: str, hold: Hold) -> Deployment | Failure:
        """Refuse: Compose has no pause of a rollout."""
        return _NOT_HERE

    async def resume(self, namespace: str, name: str) -> Deployment | Failure:
        """Return the service: nothing is ever paused."""
        read = await self.inspect(namespace, name)
        return read if isinstance(read, Failure) else read.deployment


def _owner(named: str, evidence: str, remedy: str) -> Owner:
    then = "a rollback would change more than the image, or nothing"
    return Owner(kind=named[:64], evidence=evidence, remedy=remedy, is_rollout_tool=True, then=then)


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _images_of(record: ServiceRecord) -> Mapping[str, str]:
    return {each.image_id: each.image for each in record.revisions}


def _kept_name(project: str, service: str, image_id: str) -> tuple[str, str]:
    digits = image_id.partition(":")[2][:12]
    return f"{TAGS}/{project}/{service}".lower().replace("_", "-"), digits
