"""Fields of log lines: the policy, Deployment and Rollback that a line is about.

The code that works on an object names it once; each line that is logged meanwhile, in any module,
carries the field. Without it the lines of two policies of the same name would look alike.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar

from rollback_operator.api.shape import printable

NAMES = ("namespace", "policy", "deployment", "rollback")
_tags: ContextVar[tuple[tuple[str, str], ...]] = ContextVar("tags", default=())


@contextmanager
def tagged(**tags: str) -> Iterator[None]:
    """Have the lines of this task carry these fields beside those that they carry already.

    Args:
        tags: by the names in NAMES; an empty field is left out.

    Raises:
        ValueError: there is no such field.
    """
    unknown = [name for name in tags if name not in NAMES]
    if unknown:
        raise ValueError(f"no field of log lines is called {', '.join(unknown)}")
    given = {name: value for name, value in tags.items() if value}
    token = _tags.set(tuple({**dict(_tags.get()), **given}.items()))
    try:
        yield
    finally:
        # An abandoned coroutine is finalised from elsewhere: nothing is to be reset there.
        with suppress(ValueError):
            _tags.reset(token)


class Tagging(logging.Filter):
    """Puts the fields on each line, and keeps it a line; lets every line through."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Add to a record what it has no field of its own for.

        A text of a stranger would begin a line of its own, or steer the terminal of a reader.
        """
        text = ""
        with suppress(TypeError, ValueError):  # wrong arguments: the handler reports them
            text = record.getMessage()
        inert = printable(text).replace("\n", "\\n")
        if inert != text:
            record.msg, record.args = inert, ()
        for name, value in _tags.get():
            if not hasattr(record, name):
                setattr(record, name, value)
        return True


def put_on(logger: logging.Logger) -> None:
    """Have all handlers of a logger tag what they write."""
    for handler in logger.handlers:
        if not any(isinstance(filter_, Tagging) for filter_ in handler.filters):
            handler.addFilter(Tagging())
