"""Objects of kinds that other projects define: their schema is not known here, and may change."""

from collections.abc import Callable
from typing import TypeVar

from rollback_operator.ports.failure import Failure, FailureKind

T = TypeVar("T")
_OTHER_FORM = (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError)


def projected(what: str, make: Callable[[], T]) -> T | Failure:
    """Project an object; one of a form that is not expected is a failure that names it.

    Args:
        what: the object, in words.
        make: projects it, wholly: no generator.
    """
    try:
        return make()
    except _OTHER_FORM as error:
        said = f"{what} has a form that is not known here ({type(error).__name__}: {error})"
        return Failure(FailureKind.REJECTED, said[:512])
