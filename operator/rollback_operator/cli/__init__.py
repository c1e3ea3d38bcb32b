"""What people run, one module or package a command: `add(commands)` adds its parser, `run` works.

No command knows another; `__main__` lists them.
"""

import sys
from collections.abc import Iterable


def refused(wrong: Iterable[tuple[str, str]]) -> int:
    """Say which options or variables cannot be used, and why; gives the exit status."""
    for name, told in wrong:
        print(f"rollback-operator: {name}: {told}", file=sys.stderr)  # noqa: T201
    return 2
