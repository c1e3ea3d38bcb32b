"""`rollback-operator release`: let all rollouts go that are held, and put raised bounds back."""

import argparse
import asyncio
import sys
from typing import Any

from kubernetes.aio.config import ConfigException
from pydantic import ValidationError

from rollback_operator.cli import refused
from rollback_operator.cli.releasing import Released, release
from rollback_operator.runtime.settings import Settings, faults

_SETTINGS = ("kubeconfig", "namespaces", "lease_namespace", "lease_name", "lease_seconds")
_EPILOG = """\
The Lease is taken first, so that no operator holds anything anew meanwhile; a running one starts
again and waits until it has expired. What was let go is not held again for the same release.

exit status: 0 nothing is held any more; 1 something could not be let go; 2 no cluster to ask.
"""


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = commands.add_parser(
        "release",
        help="let all rollouts go that are held",
        description="Lifts every pause that the operator has put on a Deployment, and no other; "
        "puts the bounds of autoscalers back that rollbacks have raised.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for name in _SETTINGS:
        field = Settings.model_fields[name]
        default = field.get_default(call_default_factory=True, validated_data={})
        shown = f" (default: {default})" if default not in (None, ()) else ""
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            metavar="VALUE",
            default=argparse.SUPPRESS,
            help=f"{field.description}{shown}",
        )
    parser.set_defaults(command=run)


def run(given: dict[str, Any]) -> int:
    """Let everything go; gives the exit status."""
    try:
        found = asyncio.run(release(Settings(**given)))
    except ValidationError as error:
        return refused(faults(error, given))
    except ConfigException as error:
        return refused([("--kubeconfig", str(error))])
    return _told(found)


def _told(found: Released) -> int:
    for one in found.done:
        print(f"{one}: let go")  # noqa: T201 (this command's output)
    for one in found.faults:
        print(f"rollback-operator: {one}", file=sys.stderr)  # noqa: T201
    if not found.done and not found.faults:
        print("nothing is held")  # noqa: T201 (this command's output)
    return 1 if found.faults else 0
