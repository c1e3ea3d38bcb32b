"""The state that the watches deliver: our resources parsed, Deployments as projections."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, TypeVar

from pydantic import ValidationError

from rollback_operator.adapters.kube.projections.deployments import deployment_of
from rollback_operator.adapters.kube.projections.outlines import is_stub
from rollback_operator.api.user_text.documents import fault_of
from rollback_operator.api.v1alpha1 import (
    Mode,
    ObjectMeta,
    Resource,
    Rollback,
    RollbackPolicy,
    RollbackPolicySpec,
    RollbackPolicyStatus,
    RollbackRequest,
    TargetRef,
    rollback_of,
)
from rollback_operator.evidence.retention import weight
from rollback_operator.model.workload import Deployment
from rollback_operator.reconcile.sharing import Sharing

K = TypeVar("K")
Key = tuple[str, str]
DEPLOYMENTS_PLURAL = "deployments"
MOST_NAMES = 8192
"""Characters of images, containers and probes of a Deployment that no policy watches."""
_TOO_LARGE = "the object takes more than 24 MiB of memory: remove labels, annotations or fields"
_BEFORE_ALL = "0"
"""A resourceVersion that is older than that of every object."""
_NO_SPEC = RollbackPolicySpec(target_ref=TargetRef(name="unreadable"), mode=Mode.OBSERVE)


@dataclass(frozen=True, slots=True)
class ObjectVersion:
    """A version of an object."""

    uid: str
    number: str
    """Its resourceVersion."""

    def is_newer(self, other: "ObjectVersion") -> bool:
        """Tell whether this is a later version of the same object."""
        numbers = self.number, other.number
        is_same = self.uid == other.uid and all(number.isdecimal() for number in numbers)
        return is_same and int(numbers[0]) > int(numbers[1])


def version_of(metadata: Mapping[str, Any]) -> ObjectVersion:
    """Return the version that metadata names."""
    return ObjectVersion(metadata["uid"], str(metadata.get("resourceVersion", "")))


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A policy that the API server took and that cannot be read, with the fields at fault."""

    metadata: ObjectMeta
    message: str
    status: RollbackPolicyStatus
    is_unread: bool = False
    """Too large to read since the start: its status is unknown, and must not be replaced."""

    @property
    def shell(self) -> RollbackPolicy:
        """A policy for writes of metadata and status."""
        return RollbackPolicy(metadata=self.metadata, spec=_NO_SPEC, status=self.status)


class UnreadableRollback(Resource):
    """A Rollback that the API server took and the models refuse, with the fields at fault."""

    KIND: ClassVar[str] = Rollback.KIND
    PLURAL: ClassVar[str] = Rollback.PLURAL
    SHORT: ClassVar[str] = Rollback.SHORT
    COLUMNS: ClassVar[tuple[dict[str, Any], ...]] = Rollback.COLUMNS

    policy: str
    """The name of its policy; empty: it names none."""
    message: str


_Known = RollbackPolicy | Unreadable | Rollback | RollbackRequest | UnreadableRollback


@dataclass
class Cache:
    """The newest version seen of each object, by namespace and name."""

    policies: dict[Key, RollbackPolicy | Unreadable] = field(default_factory=dict)
    rollbacks: dict[Key, Rollback] = field(default_factory=dict)
    requests: dict[Key, RollbackRequest] = field(default_factory=dict)
    """Rollbacks made by hand that are not planned."""
    unreadable: dict[Key, UnreadableRollback] = field(default_factory=dict)
    deployments: dict[Key, Deployment] = field(default_factory=dict)
    _shown: dict[Key, ObjectVersion] = field(default_factory=dict)
    """Versions of the Deployments."""
    _watching: dict[Key, set[Key]] = field(default_factory=dict)
    _asked: dict[Key, set[Key]] = field(default_factory=dict)
    """Requests by policy."""
    _undoing: dict[str, set[Key]] = field(default_factory=dict)
    _decided: dict[Key, set[Key]] = field(default_factory=dict)
    _sharing: Sharing = field(default_factory=Sharing)

    def put_policy(self, raw: dict[str, Any]) -> Key:
        """Take in a policy as the API server shows it."""
        metadata = ObjectMeta.model_validate(raw["metadata"])
        key = metadata.namespace, metadata.name
        known = self.policies.get(key)
        if known is not None and _is_newer(known.metadata, metadata):
            return key
        self.drop_policy(key)
        if is_stub(raw):
            self.policies[key] = _left_out(metadata, known)
            return key
        try:
            self.remember(RollbackPolicy.model_validate(raw))
        except ValidationError as error:
            self.policies[key] = Unreadable(metadata, _error_text(error), _readable_status(raw))
        return key

    def put_rollback(self, raw: dict[str, Any]) -> Key:
        """Take in a Rollback; a Rollback that cannot be parsed is kept as such."""
        metadata = ObjectMeta.model_validate(raw["metadata"])
        key = metadata.namespace, metadata.name
        known = self._known_rollback(key)
        if known is None or not _is_newer(known.metadata, metadata):
            self.drop_rollback(key)
            try:
                self.remember(rollback_of(raw))
            except ValidationError as error:
                self.unreadable[key] = UnreadableRollback(
                    metadata=metadata, policy=_policy_named(raw), message=_error_text(error)
                )
        return key

    def _known_rollback(self, key: Key) -> Rollback | RollbackRequest | UnreadableRollback | None:
        return self.rollbacks.get(key) or self.requests.get(key) or self.unreadable.get(key)

    def put_deployment(self, raw: dict[str, Any]) -> tuple[Key, bool]:
        """Take in a Deployment; gives its key, and whether its policies are requeued at once."""
        metadata = raw["metadata"]
        key = metadata["namespace"], metadata["name"]
        shown = version_of(metadata)
        known, last = self.deployments.get(key), self._shown.get(key)
        if known is not None and last is not None and last.is_newer(shown):
            return key, False
        deployment = deployment_of(raw)
        if _is_long(deployment) and not self._watching.get(key):
            self.drop_deployment(key)  # no policy watches it; a policy reads it anew
            return key, False
        self.deployments[key], self._shown[key] = deployment, shown
        return key, known is None or _urgent_parts(known) != _urgent_parts(deployment)

    def version(self, plural: str, key: Key) -> ObjectVersion | None:
        """Tell which version of an object is known; None: it is not."""
        if plural == DEPLOYMENTS_PLURAL:
            return self._shown.get(key)
        known: _Known | None = self._known_rollback(key)
        if plural == RollbackPolicy.PLURAL:
            known = self.policies.get(key)
        return None if known is None else _version_of(known.metadata)

    def versions(self, plural: str) -> dict[Key, ObjectVersion]:
        """Tell which version is known of each object of a kind."""
        match plural:
            case RollbackPolicy.PLURAL:
                keys = set(self.policies)
            case Rollback.PLURAL:
                keys = {*self.rollbacks, *self.requests, *self.unreadable}
            case _:
                keys = set(self._shown)
        pairs = ((key, self.version(plural, key)) for key in sorted(keys))
        return {key: version for key, version in pairs if version is not None}

    def drop_deployment(self, key: Key) -> None:
        """Forget a Deployment."""
        self.deployments.pop(key, None)
        self._shown.pop(key, None)

    def forget_cause(self, seen: Deployment) -> None:
        """Forget a Deployment's change-cause until it is delivered again.

        By a watch after a change, or by the next comparison with the API server: a refused removal
        is repeated once a minute.
        """
        key = seen.namespace, seen.name
        known = self.deployments.get(key)
        shown = seen.uid, seen.revision, seen.change_cause
        if known is not None and (known.uid, known.revision, known.change_cause) == shown:
            self.deployments[key] = replace(known, change_cause="")
            self._shown[key] = ObjectVersion(seen.uid, _BEFORE_ALL)

    def drop_policy(self, key: Key) -> None:
        """Forget a policy."""
        known = self.policies.pop(key, None)
        if isinstance(known, RollbackPolicy):
            _take_out(self._watching, (key[0], known.spec.target_ref.name), key)

    def drop_rollback(self, key: Key) -> None:
        """Forget a Rollback."""
        self._drop_request(key)
        self.unreadable.pop(key, None)
        known = self.rollbacks.pop(key, None)
        if known is not None:
            _take_out(self._undoing, known.spec.target_ref.uid, key)
            _take_out(self._decided, _policy_key(known), key)

    def remember(self, written: Resource) -> None:
        """Take in what a write or a list returned: the next pass must not act on a stale view.

        Somebody may have changed the object since, and a watch may have delivered that sooner.
        """
        key = written.key
        known: _Known | None = self._known_rollback(key)
        if isinstance(written, RollbackPolicy):
            known = self.policies.get(key)
        if known is not None and _is_newer(known.metadata, written.metadata):
            return
        if isinstance(known, UnreadableRollback):
            del self.unreadable[key]
        match written:
            case RollbackPolicy():
                self._sharing.share(written)
                self.policies[written.key] = written
                target = written.metadata.namespace, written.spec.target_ref.name
                self._watching.setdefault(target, set()).add(written.key)
            case RollbackRequest():
                self.requests[written.key] = written
                self._asked.setdefault(_policy_key(written), set()).add(written.key)
            case Rollback():
                self._drop_request(written.key)
                self.rollbacks[written.key] = written
                self._undoing.setdefault(written.spec.target_ref.uid, set()).add(written.key)
                self._decided.setdefault(_policy_key(written), set()).add(written.key)

    def rollbacks_of(self, namespace: str, deployment_uid: str) -> list[Rollback]:
        """Give all Rollbacks of a Deployment."""
        keys = self._undoing.get(deployment_uid, set())
        return [self.rollbacks[key] for key in sorted(keys) if key[0] == namespace]

    def records_of(self, policy: RollbackPolicy, deployment_uid: str) -> list[Rollback]:
        """Give all Rollbacks of a Deployment, and those of the policy for other Deployments."""
        here = self.rollbacks_of(policy.metadata.namespace, deployment_uid)
        named = self.rollbacks_by(policy.key)
        return [*here, *(each for each in named if each.spec.target_ref.uid != deployment_uid)]

    def policy_of(self, rollback: Rollback) -> RollbackPolicy | None:
        """Find the policy that a Rollback belongs to; None: it is gone, or cannot be read."""
        return self.policy_at(_policy_key(rollback))

    def requests_of(self, policy: Key) -> list[RollbackRequest]:
        """Give the unanswered requests to a policy, the oldest first."""
        asked = [each for each in self.requests_by(policy) if each.status.outcome is None]
        return sorted(asked, key=_by_age)

    def requests_by(self, policy: Key) -> list[RollbackRequest]:
        """Give the requests to a policy, refused requests included."""
        return [self.requests[key] for key in sorted(self._asked.get(policy, set()))]

    def _drop_request(self, key: Key) -> None:
        known = self.requests.pop(key, None)
        if known is not None:
            _take_out(self._asked, _policy_key(known), key)

    def rollbacks_by(self, policy: Key) -> list[Rollback]:
        """Give all Rollbacks that name a policy."""
        return [self.rollbacks[key] for key in sorted(self._decided.get(policy, set()))]

    def unreadable_by(self, policy: Key) -> list[UnreadableRollback]:
        """Give the Rollbacks that name a policy, and cannot be read."""
        known = self.unreadable.items()
        return [each for key, each in known if (key[0], each.policy) == policy]

    def is_waited_for(self, policy: Key) -> bool:
        """Tell whether a policy has an unanswered request or an open Rollback."""
        asked = (self.requests[key].status for key in self._asked.get(policy, ()))
        decided = (self.rollbacks[key].status for key in self._decided.get(policy, ()))
        return any(status.outcome is None for status in (*asked, *decided))

    def policy_at(self, key: Key) -> RollbackPolicy | None:
        """Give a policy that can be read."""
        policy = self.policies.get(key)
        return policy if isinstance(policy, RollbackPolicy) else None

    def is_unreadable(self, key: Key) -> bool:
        """Tell whether there is a policy that cannot be read."""
        return isinstance(self.policies.get(key), Unreadable)

    def take_in(self, written: RollbackPolicy | Rollback | RollbackRequest) -> None:
        """Take in what a write returned, unless it is gone or replaced by now.

        A policy that cannot be read stays so: only its metadata and status are of the write.
        """
        key = written.key
        known: _Known | None = self.rollbacks.get(key) or self.requests.get(key)
        if isinstance(written, RollbackPolicy):
            known = self.policies.get(key)
        if known is None or known.metadata.uid != written.metadata.uid:
            return
        if isinstance(known, Unreadable) and isinstance(written, RollbackPolicy):
            self.policies[key] = replace(known, metadata=written.metadata, status=written.status)
        else:
            self.remember(written)

    def policies_on(self, namespace: str, deployment: str) -> list[RollbackPolicy]:
        """Give the policies that watch a Deployment, oldest first."""
        keys = self._watching.get((namespace, deployment), set())
        known = map(self.policies.get, keys)
        return sorted((each for each in known if isinstance(each, RollbackPolicy)), key=_by_age)


def _take_out(index: dict[K, set[Key]], place: K, key: Key) -> None:
    """Remove a key from an index, which keeps no empty places: their names come and go."""
    keys = index.get(place, set())
    keys.discard(key)
    if not keys:
        index.pop(place, None)


def _is_long(deployment: Deployment) -> bool:
    """Tell whether a Deployment's names are too long to keep for every Deployment."""
    known = deployment.template
    names = (*known.images, *known.containers, *known.init_images, *known.init_containers)
    return sum(map(weight, (*names, *deployment.probe_paths))) > MOST_NAMES


def _urgent_parts(deployment: Deployment) -> tuple[object, ...]:
    """Give the parts whose change is urgent: a template, its first pods, a pause."""
    return deployment.template.digest, deployment.has_new_pods, deployment.paused


def _by_age(resource: Resource) -> tuple[float, str]:
    return _created(resource.metadata), resource.metadata.name


def _policy_key(rollback: Rollback | RollbackRequest) -> Key:
    return rollback.metadata.namespace, rollback.spec.policy_ref.name


def _policy_named(raw: Mapping[str, Any]) -> str:
    spec = raw.get("spec")
    policy = spec.get("policyRef") if isinstance(spec, dict) else None
    name = policy.get("name") if isinstance(policy, dict) else None
    return name if isinstance(name, str) else ""


def _created(metadata: ObjectMeta) -> float:
    return metadata.creation_timestamp.timestamp() if metadata.creation_timestamp else 0.0


def _is_newer(known: ObjectMeta, seen: ObjectMeta) -> bool:
    """Tell whether the known version is newer than a late delivery."""
    return _version_of(known).is_newer(_version_of(seen))


def _version_of(metadata: ObjectMeta) -> ObjectVersion:
    return ObjectVersion(metadata.uid, metadata.resource_version)


def _left_out(metadata: ObjectMeta, known: RollbackPolicy | Unreadable | None) -> Unreadable:
    """Give a policy that is too large to read, with the status that is known of it."""
    if known is None or known.metadata.uid != metadata.uid:
        return Unreadable(metadata, _TOO_LARGE, RollbackPolicyStatus(), is_unread=True)
    newer = known.metadata.model_copy(update={"resource_version": metadata.resource_version})
    is_unread = isinstance(known, Unreadable) and known.is_unread
    return Unreadable(newer, _TOO_LARGE, known.status, is_unread)


def _readable_status(raw: dict[str, Any]) -> RollbackPolicyStatus:
    try:
        return RollbackPolicyStatus.model_validate(raw.get("status") or {})
    except ValidationError:
        return RollbackPolicyStatus()


def _error_text(error: ValidationError) -> str:
    return "; ".join(
        f"{'.'.join(str(part) for part in fault['loc'])}: {fault_of(fault)}"
        for fault in error.errors()
    )[:2000]
