"""The commands, each in a module or package: `add(commands)` adds its parser, `run` executes it.

No command imports another; `__main__` lists them.
"""

import argparse
import sys
from collections.abc import Iterable, Mapping

from pydantic.fields import FieldInfo


def add_settings(parser: argparse.ArgumentParser, fields: Mapping[str, FieldInfo]) -> None:
    """Add a flag for each field of the settings."""
    for name, field in fields.items():
        default = field.get_default(call_default_factory=True, validated_data={})
        shown = f" (default: {default})" if default not in (None, (), "") else ""
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            metavar="VALUE",
            default=argparse.SUPPRESS,
            help=f"{field.description}{shown}".replace("%", "%%"),
        )


def refused(faults: Iterable[tuple[str, str]]) -> int:
    """Report invalid options or variables, and return the exit status."""
    for name, fault in faults:
        print(f"rollback-operator: {name}: {fault}", file=sys.stderr)  # noqa: T201
    return 2
