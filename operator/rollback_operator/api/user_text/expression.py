"""Regular expressions of users, on RE2: matching time is linear in the text.

Prometheus uses RE2 too. Python's own engine backtracks, so that a pattern of nine characters can
run for years: it must not run any pattern of a policy.
"""

from functools import lru_cache
from typing import Any

import re2

MOST_MEMORY = 512 * 1024
"""Memory limit of RE2 per expression, in bytes."""
MOST_SIZE = 2000
"""Maximum number of RE2 instructions: the steps per character of a text."""
KNOWN = 32
"""Number of compiled expressions in the cache."""
_KNOWN_NAMES = 256


def _options() -> Any:
    result = re2.Options()
    result.log_errors = False
    result.never_capture = True
    result.dot_nl = True  # as in Prometheus: (?s:...)
    result.max_mem = MOST_MEMORY
    return result


class Expression:
    """Anchored regular expression, like a label matcher of Prometheus."""

    def __init__(self, pattern: str) -> None:
        """Compile the expression.

        Raises:
            ValueError: it is not valid in RE2, or too large; the message states why.
        """
        try:
            self._compiled = re2.compile(pattern, _options())
        except re2.error as error:
            raise ValueError(_words(error)) from None
        except UnicodeEncodeError:
            raise ValueError("it holds half a character") from None
        self.size: int = self._compiled.programsize
        """Maximum number of steps per character."""
        if self.size > MOST_SIZE:
            raise ValueError(
                f"it needs {self.size} of RE2's instructions, {MOST_SIZE} at most are taken: "
                "repeat less"
            )

    def matches(self, text: str) -> bool:
        """Return whether the expression matches the whole text."""
        if not text.isascii():
            text = text.encode(errors="replace").decode()  # half a character is in no UTF-8
        return self._compiled.fullmatch(text) is not None


@lru_cache(maxsize=KNOWN)
def expression(pattern: str) -> Expression:
    """Compile an expression, or return it from the cache.

    Raises:
        ValueError: it is not valid in RE2, or too large; the message states why.
    """
    return Expression(pattern)


@lru_cache(maxsize=_KNOWN_NAMES)
def is_glob_match(pattern: str, text: str) -> bool:
    """Match a name against a shell pattern of `*`, `?` and classes; malformed: no match."""
    try:
        return Expression(_of_glob(pattern)).matches(text)
    except ValueError:
        return False


def _of_glob(pattern: str) -> str:
    result, index = "", 0
    while index < len(pattern):
        character = pattern[index]
        end = pattern.find("]", index + 2) if character == "[" else -1
        if end > 0:
            inner = pattern[index + 1 : end].replace("\\", r"\\").replace("[", r"\[")
            result += f"[^{inner[1:]}]" if inner[0] in "!^" else f"[{inner}]"
            index = end
        else:
            result += {"*": ".*", "?": "."}.get(character) or re2.escape(character)
        index += 1
    return result


def _words(error: Exception) -> str:
    detail = error.args[0] if error.args else ""
    text = detail.decode(errors="replace") if isinstance(detail, bytes) else str(detail)
    return text[:200] or "it cannot be compiled"
