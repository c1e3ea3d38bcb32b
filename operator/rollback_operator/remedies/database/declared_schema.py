"""What a release declares about its schema, and which names of a history that covers.

Pure. Two annotations of the pod template. Names are compared exactly, then by the number that they
begin with: `7` is `V7__seats.sql`, and `00007_seats.up.sql` is the version 7 of golang-migrate.
"""

from collections.abc import Sequence

from rollback_operator.model.schema import DeclaredSchema, UnknownSchema

HEAD_ANNOTATION = "rollback.tickettoken.io/schema-head"
RANGE_ANNOTATION = "rollback.tickettoken.io/schema-range"
MOST_DECLARED_CHARACTERS = 512
MOST_DECLARED_HEADS = 20
_RANGE = ".."
_LONGEST_NUMBER = 64


def declared(head: str, span: str) -> DeclaredSchema | UnknownSchema:
    """Parse the annotations schema-head and schema-range; empty: the template has none."""
    for name, text in ((HEAD_ANNOTATION, head), (RANGE_ANNOTATION, span)):
        if len(text) > MOST_DECLARED_CHARACTERS:
            most = MOST_DECLARED_CHARACTERS
            return UnknownSchema(f"annotation {name} has more than {most} characters")
    if head and span:
        return UnknownSchema(f"set annotation {HEAD_ANNOTATION} or {RANGE_ANNOTATION}, not both")
    if not span:
        heads = tuple(part.strip() for part in head.split(",") if part.strip())
        if len(heads) > MOST_DECLARED_HEADS:
            most = MOST_DECLARED_HEADS
            return UnknownSchema(f"annotation {HEAD_ANNOTATION} names more than {most} migrations")
        return DeclaredSchema(heads)
    least, is_range, most_known = (part.strip() for part in span.partition(_RANGE))
    if not (least and is_range and most_known) or _RANGE in most_known:
        form = "FIRST..LAST, such as 003_seats..007_prices"
        return UnknownSchema(f"annotation {RANGE_ANNOTATION} is not of the form {form}")
    return DeclaredSchema((most_known,), least)


def known_until(names: Sequence[str], heads: Sequence[str]) -> int | str:
    """Count the names of a history, the newest last, up to the last of the declared heads.

    By a head's place in the history, or, if it is not applied, by numbers. Text: a head for which
    there is neither.
    """
    numbers, known = [number_of(name) for name in names], 0
    for head in heads:
        places = [at for at, name in enumerate(names) if _is_named(name, head)]
        wanted = number_of(head)
        if places:
            known = max(known, places[-1] + 1)
        elif wanted is None or None in numbers:
            return head
        else:
            smaller = [at for at, number in enumerate(numbers) if number and number <= wanted]
            known = max(known, smaller[-1] + 1 if smaller else 0)
    return known


def is_reached(names: Sequence[str], least: str) -> bool:
    """Return whether a history has this migration, or by its number a later migration."""
    wanted = number_of(least)
    numbers = [number for name in names if (number := number_of(name)) is not None]
    by_number = wanted is not None and max(numbers, default=()) >= wanted
    return by_number or any(_is_named(name, least) for name in names)


def _is_named(name: str, head: str) -> bool:
    return name == head or (name.startswith(head) and not name[len(head)].isalnum())


def number_of(name: str) -> tuple[int, ...] | None:
    """Return the version that a name begins with, such as (1, 2) of V1_2__x; None: it has none."""
    is_flyway = name[:1] in {"V", "v"}
    text, parts = name[1:] if is_flyway else name, [""]
    for character in text[:_LONGEST_NUMBER]:
        if character.isascii() and character.isdigit():
            parts[-1] += character
        elif parts[-1] and (character == "." or (is_flyway and character == "_")):
            parts.append("")
        else:
            break
    digits = [part for part in parts if part]
    return tuple(int(part) for part in digits) if digits else None
