"""Regular expressions that people write, on RE2: time grows with the text, never beyond.

RE2 is what Prometheus itself takes. Python's own engine goes back and forth, and nine characters
can keep it busy for years: it runs on no pattern of a policy.
"""

from functools import lru_cache
from typing import Any

import re2

MOST_MEMORY = 512 * 1024
"""Bytes that RE2 may use for one expression."""
MOST_SIZE = 2000
"""RE2's instructions: a text costs at most so many steps a character."""
KNOWN = 32
"""Expressions that are kept, compiled."""
_KNOWN_NAMES = 256


def _options() -> Any:
    found = re2.Options()
    found.log_errors = False
    found.never_capture = True
    found.dot_nl = True  # as in Prometheus: (?s:...)
    found.max_mem = MOST_MEMORY
    return found


class Expression:
    """An expression that a whole text matches or does not, as a matcher of Prometheus."""

    def __init__(self, pattern: str) -> None:
        """Compile it.

        Raises:
            ValueError: it is none of RE2's, or too large; says why.
        """
        try:
            self._compiled = re2.compile(pattern, _options())
        except re2.error as error:
            raise ValueError(_words(error)) from None
        except UnicodeEncodeError:
            raise ValueError("it holds half a character") from None
        self.size: int = self._compiled.programsize
        """How many steps a character may cost."""
        if self.size > MOST_SIZE:
            raise ValueError(
                f"it needs {self.size} of RE2's instructions, {MOST_SIZE} at most are taken: "
                "repeat less"
            )

    def matches(self, text: str) -> bool:
        """Tell whether it matches the text from its beginning to its end."""
        if not text.isascii():
            text = text.encode(errors="replace").decode()  # half a character is in no UTF-8
        return self._compiled.fullmatch(text) is not None


@lru_cache(maxsize=KNOWN)
def expression(pattern: str) -> Expression:
    """Compile an expression, or give one that is known.

    Raises:
        ValueError: it is none of RE2's, or too large; says why.
    """
    return Expression(pattern)


@lru_cache(maxsize=_KNOWN_NAMES)
def is_glob_match(pattern: str, text: str) -> bool:
    """Match a name by a shell's pattern of `*`, `?` and classes; a malformed one matches none."""
    try:
        return Expression(_of_glob(pattern)).matches(text)
    except ValueError:
        return False


def _of_glob(pattern: str) -> str:
    found, index = "", 0
    while index < len(pattern):
        one = pattern[index]
        end = pattern.find("]", index + 2) if one == "[" else -1
        if end > 0:
            inner = pattern[index + 1 : end].replace("\\", r"\\").replace("[", r"\[")
            found += f"[^{inner[1:]}]" if inner[0] in "!^" else f"[{inner}]"
            index = end
        else:
            found += {"*": ".*", "?": "."}.get(one) or re2.escape(one)
        index += 1
    return found


def _words(error: Exception) -> str:
    said = error.args[0] if error.args else ""
    text = said.decode(errors="replace") if isinstance(said, bytes) else str(said)
    return text[:200] or "it cannot be compiled"
