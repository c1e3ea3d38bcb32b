"""Containers of a service -> its revisions, and the workload that a pass judges.

A container is a pod. An image with the settings of the service is a template, and a release; the
agent's record keeps the releases that have run, as a cluster keeps ReplicaSets. A container that
the override file has started counts as the revision that it restores, whatever the settings of
the service have become since: those are the user's.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rollback_operator.adapters.compose.containers import Container, revision_of
from rollback_operator.adapters.compose.ledger import KnownRevision, ServiceRecord
from rollback_operator.model.controllers import Owner
from rollback_operator.model.pod import NOT_READY, MetricsPage, Pod
from rollback_operator.model.surroundings import Reference
from rollback_operator.model.workload import Deployment, ReplicaSet, Template, Workload

MOST_KNOWN_REVISIONS = 10
STEADY_SECONDS = 10.0
"""A container without a health check that has restarted is ready after so long: in a crash loop it
would else be available for a moment again and again."""
COMPLETE_SECONDS = 3.0
REPLACING_SECONDS = 30.0
"""A container that has ended so recently is as a rule about to be replaced by the next release."""
HEALTH_PATHS = frozenset(
    {"/health", "/health/live", "/health/ready", "/healthz", "/livez", "/readyz"}
)
"""Routes that are not evaluated by default: a health check of Compose is a command."""
IMAGE_KIND = "Image"


@dataclass(frozen=True, slots=True)
class ServicePlace:
    """A service by the names that a pass knows it by."""

    namespace: str
    name: str
    service: str
    """As the Compose file has it."""


def is_restored(container: Container, record: ServiceRecord) -> bool:
    """Report whether the override file has started a container.

    Its label counts only with the image of that revision: an image can bring labels of its own, and
    `docker commit` of a restored container makes such an image.
    """
    images = {each.revision: each.image_id for each in record.revisions}
    return images.get(container.restored) == container.image_id


def is_pinned(containers: Sequence[Container], record: ServiceRecord) -> bool:
    """Report whether a service runs from the override file: its newest container does."""
    newest = max(containers, key=lambda each: each.created, default=None)
    return newest is not None and is_restored(newest, record)


def identity_of(container: Container, record: ServiceRecord) -> str:
    """Return the revision of a container."""
    return container.restored if is_restored(container, record) else revision_of(container)


def recorded(record: ServiceRecord, containers: Sequence[Container], now: float) -> ServiceRecord:
    """Add the releases that run to the record; the newest container's is current.

    The number of a release that returns increases, as that of a ReplicaSet does. An older container
    that still ends beside its replacement is no return. Nor is a container of an `up` that has not
    ended: the judged release stays current, so that the step is due until it is done.
    """
    ordered = sorted(containers, key=lambda each: each.created)
    if _is_restored_whole(record, containers):
        record = record.model_copy(update={"restoring": 0})
    for container in ordered:
        if record.restoring and is_restored(container, record):
            continue
        known = {each.revision for each in record.revisions}
        if identity_of(container, record) not in known or container is ordered[-1]:
            record = _with_current(record, container)
    if not record.restoring:
        pinned = record.current if is_pinned(containers, record) else ""
        record = record.model_copy(update={"pinned": pinned})
    current = current_of(record)
    is_complete = current is not None and _is_complete(record, containers, now)
    if current is not None and is_complete and current.completed is None:
        return _replaced(record, current.model_copy(update={"completed": now}))
    return record


def _is_restored_whole(record: ServiceRecord, containers: Sequence[Container]) -> bool:
    """Report whether an `up` that has begun has nothing left to do.

    A container that it had yet to remove or to start is not left so.
    """
    return len(containers) == record.restoring and all(
        is_restored(each, record) and each.restored == record.pinned and each.is_running
        for each in containers
    )


def current_of(record: ServiceRecord) -> KnownRevision | None:
    """Return the revision that runs."""
    return next((each for each in record.revisions if each.revision == record.current), None)


def workload_of(
    place: ServicePlace,
    record: ServiceRecord,
    containers: Sequence[Container],
    owner: Owner | None,
    now: float,
) -> Workload | None:
    """Assemble the target; None: the service has never had a container."""
    current = current_of(record)
    if current is None:
        return None
    pods = tuple(_pod(each, record, now) for each in containers if not _is_stopped(each, now))
    newest = max(containers, key=lambda each: each.created, default=None)
    memory = newest.memory if newest is not None else None
    updated = [pod for pod in pods if pod.pod_hash == current.revision]
    numbers = {each.number for each in containers if not _is_stopped(each, now)}
    # In the middle of an `up`, all containers may have ended.
    replicas = record.restoring or len(numbers)
    deployment = Deployment(
        namespace=place.namespace,
        name=place.name,
        uid=record.uid,
        template=_template(current, place.name, memory),
        revision=current.number,
        replicas=replicas,
        updated=len(updated),
        total=len(pods),
        available=sum(pod.ready for pod in pods),
        # Compose ends a container before it starts the next: none is kept, none is added.
        max_surge="0",
        max_unavailable="100%",
        probe_paths=HEALTH_PATHS | {page[1] for page in (each.page for each in containers)},
        completed=current.completed,
        owner=owner,
    )
    sets = tuple(_replica_set(each, place.name, pods) for each in record.revisions)
    return Workload(deployment, replica_sets=sets, pods=pods)


def image_name(revision: KnownRevision) -> str:
    """Name an image by what the file says and by its content: a tag may be of another tomorrow."""
    if "@" in revision.image or revision.image.startswith("sha256:"):
        return revision.image
    return f"{revision.image}@{revision.image_id}"


def _with_current(record: ServiceRecord, container: Container) -> ServiceRecord:
    identity = identity_of(container, record)
    if identity == record.current:
        return record
    newest = max((each.number for each in record.revisions), default=0)
    known = next((each for each in record.revisions if each.revision == identity), None)
    if known is not None:
        changed = known.model_copy(update={"number": newest + 1, "completed": None})
        return _replaced(record, changed).model_copy(update={"current": identity})
    made = KnownRevision(
        number=newest + 1,
        revision=identity,
        image=container.image,
        image_id=container.image_id,
        repo_digest=container.repo_digest,
        settings=container.settings,
        commit=container.commit,
        created=container.created,
    )
    kept = sorted(record.revisions, key=lambda each: each.number)[1 - MOST_KNOWN_REVISIONS :]
    return record.model_copy(update={"revisions": (*kept, made), "current": identity})


def _replaced(record: ServiceRecord, changed: KnownRevision) -> ServiceRecord:
    others = [each for each in record.revisions if each.revision != changed.revision]
    return record.model_copy(update={"revisions": (*others, changed)})


def _is_complete(record: ServiceRecord, containers: Iterable[Container], now: float) -> bool:
    serving = [each for each in containers if not _is_stopped(each, now)]
    return bool(serving) and all(
        identity_of(each, record) == record.current
        and _is_ready(each, now)
        and now - (each.started or now) >= COMPLETE_SECONDS
        for each in serving
    )


def _is_ending(container: Container) -> bool:
    return container.is_ended and not container.is_failed


def _is_stopped(container: Container, now: float) -> bool:
    """Report whether a person has stopped it; Compose itself stops what it then replaces."""
    return _is_ending(container) and now - (container.ended or 0.0) >= REPLACING_SECONDS


def _is_ready(container: Container, now: float) -> bool:
    if not container.is_running or container.started is None:
        return False
    if container.health:
        return container.health == "healthy"
    return not container.restarts or now - container.started >= STEADY_SECONDS


def _pod(container: Container, record: ServiceRecord, now: float) -> Pod:
    is_ready = _is_ready(container, now)
    since = container.healthy_since if container.health else container.started
    port, path = container.page
    only = container.exposed[0] if len(container.exposed) == 1 else 0
    failure = container.failure
    if not failure and container.is_running and not is_ready:
        failure = NOT_READY
    return Pod(
        name=container.key,
        pod_hash=identity_of(container, record),
        node="docker",
        created=container.created,
        started=container.started,
        ready=is_ready,
        ready_since=since if is_ready else None,
        unready_since=None if is_ready else container.created,
        restarts=container.restarts,
        terminating=_is_ending(container),
        own_failure=f"container {container.name}: {failure}" if failure and not is_ready else "",
        is_out_of_memory=container.is_out_of_memory,
        address=container.address,
        page=MetricsPage(port=port or only, path=path, serving_port=only),
        image_digests=(("", container.image_id),),
    )


def _template(revision: KnownRevision, name: str, memory: float | None) -> Template:
    return Template(
        digest=revision.revision,
        release=revision.revision,
        images=(image_name(revision),),
        containers=(name,),
        memory_limit=memory,
        commit=revision.commit,
    )


def _replica_set(revision: KnownRevision, name: str, pods: Iterable[Pod]) -> ReplicaSet:
    own = [pod for pod in pods if pod.pod_hash == revision.revision]
    return ReplicaSet(
        name=f"{name[:40]}-{revision.revision[:10]}",
        uid=revision.revision,
        pod_hash=revision.revision,
        revision=revision.number,
        template=_template(revision, name, None),
        created=revision.created,
        replicas=len(own),
        ready=sum(pod.ready for pod in own),
        references=(Reference(IMAGE_KIND, revision.image_id),),
    )
