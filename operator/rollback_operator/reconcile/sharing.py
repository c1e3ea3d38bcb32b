"""One copy in memory of the parts that policies have in common: ten thousand have few matrices."""

from collections.abc import Iterator
from typing import Any
from weakref import WeakValueDictionary

from pydantic import BaseModel

from rollback_operator.api.v1alpha1 import RollbackPolicy

_FIELDS_SET = "__pydantic_fields_set__"


class Sharing:
    """Knows the parts that some policy holds; what none holds any more is forgotten."""

    def __init__(self) -> None:
        self._known: WeakValueDictionary[tuple[type, str], BaseModel] = WeakValueDictionary()
        self._given: dict[type[BaseModel], set[str]] = {}

    def share(self, policy: RollbackPolicy) -> None:
        """Put known equals into a policy that was just parsed, in the place of its own parts.

        Done in place, which has no visible effect: the models are immutable, and equal.
        """
        parts = policy.spec.__dict__
        for name, value in parts.items():
            if isinstance(value, BaseModel):
                parts[name] = self._share(value)
            elif isinstance(value, list):
                parts[name] = [
                    self._share(part) if isinstance(part, BaseModel) else part for part in value
                ]
        for part in _models(policy):
            # Which fields were given is asked of no model of the API; a copy gets a set of its own.
            kind = type(part)
            if kind not in self._given:
                self._given[kind] = set(kind.model_fields)
            object.__setattr__(part, _FIELDS_SET, self._given[kind])

    def _share(self, part: BaseModel) -> BaseModel:
        return self._known.setdefault((type(part), part.model_dump_json()), part)


def _models(value: Any) -> Iterator[BaseModel]:
    """Go through a model and all that it holds."""
    if isinstance(value, BaseModel):
        yield value
        for part in value.__dict__.values():
            yield from _models(part)
    elif isinstance(value, list):
        for part in value:
            yield from _models(part)
