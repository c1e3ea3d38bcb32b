"""A stored object, read field by field: what is not there is empty, never an error."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def shown(text: str) -> str:
    """Write control characters out: a message may quote a pod, and a terminal would obey it."""
    return _CONTROL.sub(lambda one: f"\\x{ord(one[0]):02x}", text)


@dataclass(frozen=True, slots=True)
class Record:
    """An object, or a part of one, as the API server shows it."""

    raw: Mapping[str, object] = field(default_factory=dict)

    def _at(self, path: str) -> object:
        found: object = self.raw
        for name in path.split("."):
            if not isinstance(found, Mapping):
                return None
            found = found.get(name)
        return found

    def text(self, path: str) -> str:
        """Read a field as text."""
        found = self._at(path)
        if isinstance(found, bool):
            return "true" if found else "false"
        return "" if found is None else shown(str(found))

    def number(self, path: str) -> int:
        """Read a whole number; 0 where there is none."""
        found = self._at(path)
        return found if isinstance(found, int) else 0

    def time(self, path: str) -> datetime | None:
        """Read a point in time."""
        try:
            return datetime.fromisoformat(self.text(path).replace("Z", "+00:00"))
        except ValueError:
            return None

    def part(self, path: str) -> "Record":
        """Read a part."""
        found = self._at(path)
        return Record(found) if isinstance(found, Mapping) else Record()

    def rows(self, path: str) -> list["Record"]:
        """Read a list of parts."""
        found = self._at(path)
        if not isinstance(found, list):
            return []
        return [Record(one) for one in found if isinstance(one, Mapping)]

    def words(self, path: str) -> list[str]:
        """Read a list of texts."""
        found = self._at(path)
        return [shown(str(one)) for one in found] if isinstance(found, list) else []

    def others(self, known: frozenset[str]) -> Iterator[tuple[str, object]]:
        """Give the fields that are not among the known ones."""
        for name, value in self.raw.items():
            if name not in known and value not in (None, [], {}):
                yield name, value

    @property
    def name(self) -> str:
        """The object's name."""
        return self.text("metadata.name")

    @property
    def namespace(self) -> str:
        """The object's namespace."""
        return self.text("metadata.namespace")

    def condition(self, kind: str) -> "Record":
        """Find a condition by its type."""
        rows = self.rows("status.conditions")
        return next((one for one in rows if one.text("type") == kind), Record())


def decided(rollback: Record) -> Record:
    """Give what was decided: the spec, or for one made by hand what the operator made of it."""
    return Record({**rollback.part("status.plan").raw, **rollback.part("spec").raw})


def decided_time(rollback: Record) -> datetime | None:
    """Tell when a rollback was decided."""
    made = rollback.time("metadata.creationTimestamp")
    return decided(rollback).time("trigger.decidedTime") or made


def word(policy: Record) -> str:
    """Tell how a policy stands in a word; empty: the operator has not looked at it yet."""
    if policy.text("spec.suspend") == "true":  # before the operator has seen it
        return "Suspended"
    return policy.text("status.summary") or policy.text("status.verdict")


def newest_first(rollbacks: list[Record]) -> list[Record]:
    """Sort rollbacks, the newest first."""
    return sorted(rollbacks, key=lambda one: str(decided_time(one) or ""), reverse=True)


def way(rollback: Record) -> str:
    """Tell what is done in a few words: 'Undo to revision 5'."""
    spec = decided(rollback)
    remedy = spec.part("remedy")
    match remedy.text("type"):
        case "Undo":
            to = spec.text("toRevision.number") or remedy.text("revision")
            return f"Undo to revision {to}" if to else f"Undo to {remedy.text('to')}"
        case "PinImage":
            return f"PinImage {remedy.text('container')}={remedy.text('image')}"
        case "Scale":
            return f"Scale to {remedy.text('replicas')}"
        case "DisableFlag":
            return f"DisableFlag {remedy.text('flag.name')}={remedy.text('flag.value')}"
        case other:
            return other
