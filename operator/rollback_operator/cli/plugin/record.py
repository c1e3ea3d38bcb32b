"""A stored object, read field by field: a missing field is empty, never an error.

The API models would reject a value that only a newer operator knows; a person still sees it here.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from pydantic import ValidationError

from rollback_operator.api.shape import INVISIBLE
from rollback_operator.api.v1alpha1 import Remedy
from rollback_operator.model import commands
from rollback_operator.rollback.approval_notice import route_of

_MOST_BYTE = 0x100


def shown(text: str) -> str:
    """Escape control characters: a message may quote a pod, and a terminal would obey them."""
    return INVISIBLE.sub(lambda match: escaped(match[0]), text)


def escaped(character: str) -> str:
    """Write a character as a terminal shows and does not obey it."""
    code = ord(character)
    return f"\\x{code:02x}" if code < _MOST_BYTE else f"\\u{code:04x}"


@dataclass(frozen=True, slots=True)
class Record:
    """An object, or a part of it, as the API server returns it."""

    raw: Mapping[str, object] = field(default_factory=dict)

    def _at(self, path: str) -> object:
        value: object = self.raw
        for name in path.split("."):
            if not isinstance(value, Mapping):
                return None
            value = value.get(name)
        return value

    def text(self, path: str) -> str:
        """Read a field as text."""
        value = self._at(path)
        if isinstance(value, bool):
            return "true" if value else "false"
        return "" if value is None else shown(str(value))

    def number(self, path: str) -> int:
        """Read a whole number; 0 if it is missing."""
        value = self._at(path)
        return value if isinstance(value, int) else 0

    def time(self, path: str) -> datetime | None:
        """Read a point in time."""
        try:
            return datetime.fromisoformat(self.text(path).replace("Z", "+00:00"))
        except ValueError:
            return None

    def part(self, path: str) -> "Record":
        """Read an object."""
        value = self._at(path)
        return Record(value) if isinstance(value, Mapping) else Record()

    def rows(self, path: str) -> list["Record"]:
        """Read a list of objects."""
        value = self._at(path)
        if not isinstance(value, list):
            return []
        return [Record(item) for item in value if isinstance(item, Mapping)]

    def words(self, path: str) -> list[str]:
        """Read a list of texts."""
        value = self._at(path)
        return [shown(str(item)) for item in value] if isinstance(value, list) else []

    def others(self, known: frozenset[str]) -> Iterator[tuple[str, object]]:
        """List the fields that are not among the known fields."""
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
        return next((row for row in rows if row.text("type") == kind), Record())


def decided(rollback: Record) -> Record:
    """Return the plan: the spec, for a manual request together with the operator's plan."""
    return Record({**rollback.part("status.plan").raw, **rollback.part("spec").raw})


def repeated(rollback: Record) -> str:
    """Return the command that requests the remedy of a rollback again; empty: it is not known."""
    policy = decided(rollback).text("policyRef.name")
    try:
        remedy = Remedy.model_validate(rollback.part("spec.remedy").raw)
    except ValidationError:  # of a newer operator
        return ""
    return commands.request(policy, rollback.namespace, commands.option(remedy))


def decided_time(rollback: Record) -> datetime | None:
    """Return the time of the decision."""
    created = rollback.time("metadata.creationTimestamp")
    return decided(rollback).time("trigger.decidedTime") or created


def summary_of(policy: Record) -> str:
    """Return the status of a policy in a word; empty: the operator has not evaluated it yet."""
    if policy.text("spec.suspend") == "true":  # also before the operator has observed it
        return "Suspended"
    return policy.text("status.summary") or policy.text("status.verdict")


def newest_first(rollbacks: list[Record]) -> list[Record]:
    """Sort rollbacks, the newest first."""
    return sorted(rollbacks, key=lambda item: str(decided_time(item) or ""), reverse=True)


def remedy_text(rollback: Record) -> str:
    """Describe the remedy in a few words: 'Undo to revision 5'."""
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


def severity_of(rollback: Record) -> str:
    """Return the severity of a rollback; a manual request has none."""
    if requester(rollback) != "rollback-operator":
        return ""
    return rollback.text("status.severity") or decided(rollback).text("severity")


def requester(rollback: Record) -> str:
    """Name who requested a rollback: the operator or a person."""
    if name := decided(rollback).text("requestedBy"):
        return name
    is_manual = "reason" in rollback.part("spec").raw or rollback.part("status.plan").raw
    return "a person" if is_manual else "rollback-operator"


def failed_share(rollback: Record) -> str:
    """State how many requests of the release failed; empty: the decision counts none."""
    trigger = decided(rollback).part("trigger")
    errors, requests = trigger.number("errors"), trigger.number("requests")
    route = route_of(trigger.text("message"))
    return f"{errors} of {requests} requests{f' on {route}' * bool(route)} failed" if errors else ""


def cause_of(rollback: Record) -> str:
    """State why a rollback was made; of a refused request, why it was refused."""
    if rollback.text("status.outcome") == "Refused":
        complete = rollback.condition("Complete")
        return ": ".join(filter(None, map(complete.text, ("reason", "message"))))
    return decided(rollback).text("trigger.message") or rollback.text("spec.reason")


def progress_text(rollback: Record) -> str:
    """State what is replaced by what and why, and how far it is."""
    spec = decided(rollback)
    old, new = (", ".join(spec.words(f"{end}Revision.images")) for end in ("from", "to"))
    what = f"{old} -> {new}" if old and new else remedy_text(rollback)
    cause = failed_share(rollback) or spec.text("trigger.reason")
    why = ": ".join(filter(None, (severity_of(rollback), cause)))
    step = rollback.text("status.step") or "not begun"
    return f"{what}{f' ({why})' if why else ''}, step {step}; no action is required"


def revision(ref: Record) -> str:
    """Describe a revision: number, health, images."""
    if not ref.raw:
        return ""
    health = f" ({ref.text('health')})" if ref.text("health") else ""
    return f"revision {ref.text('number')}{health}: {', '.join(ref.words('images'))}"
