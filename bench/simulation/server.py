"""The API server in memory: objects with resourceVersions, guarded writes, and who watches them.

What the operator depends on is kept as the real one does it: versions rise with each write and stay
where nothing changes, a patch is applied whole or not at all, a status is written through its
subresource, finalizers hold a deletion up, and generation moves with the spec alone. Schemas,
defaults and admission are not here. What this shows is confirmed on a real one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from bench.simulation import patching
from bench.simulation.patching import PatchError
from rollback_operator.api.v1alpha1 import FIELD_MANAGER

Id = tuple[str, str, str]
"""Plural, namespace, name."""
Raw = dict[str, Any]
ADDED, MODIFIED, DELETED = "ADDED", "MODIFIED", "DELETED"
_OK, _CREATED, _NOT_FOUND, _CONFLICT, _INVALID = 200, 201, 404, 409, 422
_WITH_STATUS = frozenset({"rollbackpolicies", "rollbacks", "deployments"})


@dataclass(frozen=True, slots=True)
class Request:
    """One call, as it arrives."""

    method: str
    path: str
    query: Mapping[str, str]
    body: Any = None


@dataclass(frozen=True, slots=True)
class Response:
    """Its answer."""

    status: int
    text: str
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Event:
    """What a watch tells."""

    type: str
    id: Id
    version: int
    text: str


@dataclass(frozen=True, slots=True)
class Change:
    """What a write has done: for those who hold it against the rules."""

    actor: str
    id: Id
    before: Raw | None
    after: Raw | None


@dataclass(frozen=True, slots=True)
class _Path:
    plural: str
    namespace: str
    name: str
    subresource: str

    @property
    def id(self) -> Id:
        return self.plural, self.namespace, self.name


@dataclass
class Server:
    """All objects, and those who want to know of them."""

    now: Callable[[], str]
    """Its clock, as a timestamp."""
    texts: dict[Id, str] = field(default_factory=dict)
    watchers: list[Callable[[Event], None]] = field(default_factory=list)
    auditors: list[Callable[[Change], None]] = field(default_factory=list)
    version: int = 1000
    _labels: dict[Id, Mapping[str, str]] = field(default_factory=dict)
    """By these a list is narrowed down without reading all objects."""
    _uids: int = 0

    # -- for those inside the cluster ----------------------------------------------------------

    def read(self, id_: Id) -> Raw | None:
        """Give a copy of an object."""
        text = self.texts.get(id_)
        found: Raw | None = None if text is None else json.loads(text)
        return found

    def listed(self, plural: str) -> Iterator[Raw]:
        """Give copies of all objects of a kind."""
        for id_, text in list(self.texts.items()):
            if id_[0] == plural:
                yield json.loads(text)

    def make(self, actor: str, plural: str, raw: Raw) -> Raw:
        """Store a new object."""
        metadata = raw["metadata"]
        self._uids += 1
        metadata.setdefault("uid", f"uid-{self._uids:06d}")
        metadata.setdefault("creationTimestamp", self.now())
        metadata.setdefault("generation", 1)
        id_ = plural, metadata.get("namespace", ""), metadata["name"]
        if id_ in self.texts:
            raise AssertionError(f"{id_} is there already")
        self._store(actor, id_, None, raw)
        return raw

    def write(self, actor: str, id_: Id, raw: Raw) -> None:
        """Replace an object as somebody does who has just read it."""
        before = self.read(id_)
        if before is not None:
            self._replace(actor, id_, before, raw)

    def delete(self, actor: str, id_: Id) -> None:
        """Delete an object, or mark it where finalizers hold it."""
        before = self.read(id_)
        if before is None:
            return
        if not before["metadata"].get("finalizers"):
            self._drop(actor, id_, before)
        elif "deletionTimestamp" not in before["metadata"]:
            after = json.loads(json.dumps(before))
            after["metadata"]["deletionTimestamp"] = self.now()
            self._store(actor, id_, before, after)

    # -- for those who come over the network -----------------------------------------------------

    def handle(self, actor: str, request: Request) -> Response:
        """Answer a call."""
        path = _parsed(request.path)
        match request.method:
            case "GET" if not path.name:
                return self._list(path, request.query)
            case "GET":
                return self._get(path)
            case "POST":
                return self._post(actor, path, request.body)
            case "PUT":
                return self._put(actor, path, request.body)
            case "PATCH":
                return self._patch(actor, path, request.body)
            case "DELETE":
                return self._delete(actor, path, request.body)
        raise NotImplementedError(request.method)

    def _list(self, path: _Path, query: Mapping[str, str]) -> Response:
        selector = query.get("labelSelector", "")
        wanted = dict(term.split("=", 1) for term in selector.split(",")) if selector else {}
        chosen = [
            text
            for id_, text in self.texts.items()
            if id_[0] == path.plural
            and path.namespace in ("", id_[1])
            and wanted.items() <= self._labels[id_].items()
            and query.get("fieldSelector") in (None, f"metadata.name={id_[2]}")
        ]
        head = f'{{"metadata":{{"resourceVersion":"{self.version}"}},"items":['
        return Response(_OK, f"{head}{','.join(chosen)}]}}")

    def _get(self, path: _Path) -> Response:
        if path.subresource == "log":
            return Response(_OK, "")
        text = self.texts.get(path.id)
        return _absent(path) if text is None else Response(_OK, text)

    def _post(self, actor: str, path: _Path, body: Raw) -> Response:
        raw = json.loads(json.dumps(body))
        if path.plural == "events":
            return Response(_CREATED, json.dumps(raw))
        raw["metadata"].setdefault("namespace", path.namespace)
        id_ = path.plural, path.namespace, raw["metadata"]["name"]
        if id_ in self.texts:
            return refusal(_CONFLICT, "AlreadyExists", f"{id_[2]} already exists")
        self.make(actor, path.plural, raw)
        return Response(_CREATED, self.texts[id_])

    def _put(self, actor: str, path: _Path, body: Raw) -> Response:
        before = self.read(path.id)
        if before is None:
            return _absent(path)
        raw = json.loads(json.dumps(body))
        if raw["metadata"].get("resourceVersion") != before["metadata"]["resourceVersion"]:
            return refusal(_CONFLICT, "Conflict", "the object has been modified")
        raw["metadata"] = {**before["metadata"], **raw["metadata"]}
        self._replace(actor, path.id, before, raw)
        return Response(_OK, self.texts.get(path.id, json.dumps(raw)))

    def _patch(self, actor: str, path: _Path, body: Any) -> Response:
        before, after = self.read(path.id), self.read(path.id)
        if before is None or after is None:
            return _absent(path)
        try:
            patching.apply(after, json.loads(json.dumps(body)))
        except PatchError as error:
            return refusal(_INVALID, "Invalid", str(error))
        if path.plural in _WITH_STATUS:
            # A subresource takes its own part of an object and leaves the rest as it is.
            kept = "status" if not path.subresource else "spec"
            after = {key: value for key, value in after.items() if key != kept}
            after |= {kept: before[kept]} if kept in before else {}
        _own(before, after)
        self._replace(actor, path.id, before, after)
        return Response(_OK, self.texts.get(path.id, json.dumps(after)))

    def _delete(self, actor: str, path: _Path, body: Raw) -> Response:
        before = self.read(path.id)
        if before is None:
            return _absent(path)
        wanted = (body.get("preconditions") or {}).get("resourceVersion")
        if wanted not in (None, before["metadata"]["resourceVersion"]):
            return refusal(_CONFLICT, "Conflict", "the object has been modified")
        self.delete(actor, path.id)
        return Response(_OK, json.dumps({"kind": "Status", "status": "Success"}))

    # -- storing ---------------------------------------------------------------------------------

    def _replace(self, actor: str, id_: Id, before: Raw, after: Raw) -> None:
        if before.get("spec") != after.get("spec"):
            after["metadata"]["generation"] = before["metadata"].get("generation", 1) + 1
        metadata = after["metadata"]
        if metadata.get("deletionTimestamp") and not metadata.get("finalizers"):
            self._drop(actor, id_, before)
        elif after != before:
            self._store(actor, id_, before, after)

    def _store(self, actor: str, id_: Id, before: Raw | None, after: Raw) -> None:
        self.version += 1
        after["metadata"]["resourceVersion"] = str(self.version)
        self.texts[id_] = json.dumps(after)
        self._labels[id_] = dict(after["metadata"].get("labels") or {})
        self._tell(ADDED if before is None else MODIFIED, id_, Change(actor, id_, before, after))

    def _drop(self, actor: str, id_: Id, before: Raw) -> None:
        self.version += 1
        before["metadata"]["resourceVersion"] = str(self.version)
        self.texts.pop(id_)
        self._labels.pop(id_)
        self._tell(DELETED, id_, Change(actor, id_, before, None))

    def _tell(self, type_: str, id_: Id, change: Change) -> None:
        text = self.texts.get(id_) or json.dumps(change.before)
        event = Event(type_, id_, self.version, text)
        for audit in self.auditors:
            audit(change)
        for watch in list(self.watchers):
            watch(event)


def _own(before: Raw, after: Raw) -> None:
    """Keep on record who has paused a Deployment."""
    paused = (after.get("spec") or {}).get("paused")
    if paused == (before.get("spec") or {}).get("paused"):
        return
    entry = {"manager": FIELD_MANAGER, "fieldsV1": {"f:spec": {"f:paused": {}}}}
    after["metadata"]["managedFields"] = [entry] if paused else []


def refusal(status: int, reason: str, message: str, **headers: str) -> Response:
    """Make a Status object that says no."""
    body = {"kind": "Status", "status": "Failure", "reason": reason, "message": message}
    return Response(status, json.dumps({**body, "details": {}, "code": status}), headers)


def _absent(path: _Path) -> Response:
    return refusal(_NOT_FOUND, "NotFound", f"{path.plural} {path.name!r} not found")


def _parsed(path: str) -> _Path:
    parts = path.strip("/").split("/")
    parts = parts[2:] if parts[0] == "api" else parts[3:]
    namespace = ""
    if parts[0] == "namespaces" and len(parts) > 2:  # else it is a Namespace
        namespace, parts = parts[1], parts[2:]
    plural, name, subresource = (*parts, "", "")[:3]
    return _Path(plural, namespace, name, subresource)
