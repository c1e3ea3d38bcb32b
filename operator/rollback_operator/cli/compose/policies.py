"""Reads policies for Compose services: the shape of the cluster's, without what Compose lacks."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from pydantic import ValidationError

from rollback_operator.adapters.compose.ledger import LedgerState, PolicyRecord
from rollback_operator.adapters.compose.revisions import ServicePlace
from rollback_operator.api.v1alpha1 import (
    ObjectMeta,
    RemedyType,
    RollbackPolicy,
    RollbackPolicySpec,
    RollbackPolicyStatus,
)
from rollback_operator.cli.documents import read_policies

POD, INSTANCE = "pod", "instance"


class PolicyError(Exception):
    """A policy that cannot be used; its text names the file, the field and the remedy."""


def load(
    path: Path, project: str, service: str | None
) -> list[tuple[RollbackPolicy, ServicePlace]]:
    """Read the policies of a file, each with the service that it watches.

    Args:
        path: of the file; several documents are several services.
        project: of Compose, the namespace of its objects.
        service: replaces the name in spec.targetRef of a single policy; None: that name counts.

    Raises:
        PolicyError: with every fault.
    """
    namespace = project.replace("_", "-").strip("-")
    documents = read_policies(path, namespace)
    faults = [
        f"{path}: {fault.path}: {fault.message}".replace(": : ", ": ")
        for document in documents
        for fault in document.faults
    ]
    faults += [
        f"{path}: {key}: there is no such field: correct or remove it"
        for document in documents
        for key in document.unknown
    ]
    policies = [document.policy for document in documents if document.policy is not None]
    for policy in policies:
        faults += [f"{path}: {fault}" for fault in _unfit(policy.spec)]
    if service is not None and len(documents) > 1:
        faults.append(f"--service: {path} has {len(documents)} policies: name each in targetRef")
    names = [policy.spec.target_ref.name for policy in policies]
    for name in sorted({name for name in names if names.count(name) > 1}):
        faults.append(
            f"{path}: spec.targetRef.name: two policies watch service {name}: keep a single policy"
        )
    if faults:
        raise PolicyError("\n".join(faults))
    made = []
    for policy in policies:
        name = policy.spec.target_ref.name
        metadata = policy.metadata.model_copy(update={"namespace": namespace})
        kept = policy.model_copy(update={"metadata": metadata, "spec": _fitted(policy.spec)})
        made.append((kept, ServicePlace(namespace, name, service or name)))
    return made


def with_record(policy: RollbackPolicy, state: LedgerState) -> RollbackPolicy:
    """Add to a policy what the record holds of it; a status that cannot be read is empty."""
    record = state.policies[policy.metadata.name]
    metadata = ObjectMeta(
        name=policy.metadata.name,
        namespace=policy.metadata.namespace,
        uid=record.uid,
        generation=1,
        resource_version=str(record.version),
        creation_timestamp=datetime.fromisoformat(record.created),
    )
    try:
        status = RollbackPolicyStatus.model_validate(record.status)
    except ValidationError:
        status = RollbackPolicyStatus()
    return policy.model_copy(update={"metadata": metadata, "status": status})


def record_of(policy: RollbackPolicy, known: PolicyRecord | None, now: datetime) -> PolicyRecord:
    """Begin or continue the record of a policy."""
    if known is None:
        created = now.replace(microsecond=0).isoformat()
        uid = f"{policy.metadata.name}.{now.timestamp():.0f}"
        known = PolicyRecord(uid=uid, created=created)
    of_file = {
        "watched": True,
        "namespace": policy.metadata.namespace,
        "target": policy.spec.target_ref.name,
        "mode": str(policy.spec.mode),
    }
    return known.model_copy(update=of_file)


def _unfit(spec: RollbackPolicySpec) -> Iterator[str]:
    """Yield what a Compose service cannot do, with the field and the remedy."""
    for number, remedy in enumerate(spec.remedies):
        if remedy.type is not RemedyType.UNDO:
            yield (
                f"spec.remedies[{number}].type: {remedy.type} is not possible for a Compose "
                "service: use Undo"
            )
        if remedy.restore:
            yield f"spec.remedies[{number}].restore: Compose has no ConfigMaps: remove it"
    down = spec.database.rollback_migrations if spec.database is not None else None
    if down is not None and (down.job is not None or down.backup.job is not None):
        yield (
            "spec.database.rollbackMigrations: Compose runs no Jobs: use sql, and set "
            "backup.required to false"
        )
    if spec.database is not None and spec.database.on_corruption is not None:
        yield "spec.database.onCorruption: Compose has no traffic to stop: remove it"
    if spec.diagnosis.run is not None:
        yield "spec.diagnosis.exec: not possible for a Compose service: remove it"
    if spec.stage.max_seconds:
        yield "spec.stage.maxSeconds: Compose cannot pause a rollout: remove stage"
    if not spec.signals.requests.matchers:
        yield (
            "spec.signals.requests.matchers: is required here: series have no namespace, so name "
            "a label that selects the service alone, such as {job: ticket-service}"
        )


def _fitted(spec: RollbackPolicySpec) -> RollbackPolicySpec:
    """Replace the defaults that mean a cluster."""
    signals = spec.signals
    own = {"matchers": signals.requests.matchers}
    narrowed = {
        name: signal if signal.matchers else signal.model_copy(update=own)
        for name, signal in (
            ("errors", signals.errors),
            ("latency", signals.latency),
            ("memory", signals.memory),
        )
    }
    labels = signals.labels
    if labels.pod == POD:  # the default, which no scrape of a container has
        labels = labels.model_copy(update={"pod": INSTANCE})
    return spec.model_copy(
        update={
            "signals": signals.model_copy(update={**narrowed, "labels": labels}),
            # Neither a surge nor a pause exists here.
            "safety": spec.safety.model_copy(update={"express": [], "pause_on_suspicion": False}),
        }
    )
