"""The commands, each in a module or package: `add(commands)` adds its parser, `run` executes it.

No command imports another; `__main__` lists them.
"""

import sys
from collections.abc import Iterable


def refused(wrong: Iterable[tuple[str, str]]) -> int:
    """Report invalid options or variables, and return the exit status."""
    for name, fault in wrong:
        print(f"rollback-operator: {name}: {fault}", file=sys.stderr)  # noqa: T201
    return 2
