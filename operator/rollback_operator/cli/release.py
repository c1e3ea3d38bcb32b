"""`rollback-operator release`: resume all held rollouts, and restore raised bounds."""

import argparse
import asyncio
import sys
from typing import Any

from kubernetes.aio.config import ConfigException
from pydantic import ValidationError

from rollback_operator.api.shape import one_line
from rollback_operator.cli import add_settings, refused
from rollback_operator.cli.releasing import Released, release
from rollback_operator.runtime.settings import Settings, faults

_SETTINGS = (
    "kubeconfig",
    "namespaces",
    "lease_namespace",
    "lease_name",
    "lease_seconds",
    "argo_cd_namespace",
)
_EPILOG = """\
The command takes the Lease first, so that no operator holds a rollout meanwhile; a running operator
restarts and waits until the Lease has expired. A resumed rollout is not held again for the same
release.

exit status: 0 nothing is held any more; 1 something could not be resumed or restored; 2 no
reachable cluster.
"""


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = commands.add_parser(
        "release",
        help="resume all held rollouts",
        description="Removes each pause of a Deployment that the operator set, and no other pause; "
        "restores bounds of autoscalers, maxSurge and stopped traffic; resumes an owner whose "
        "rollback had not replaced the release. A rollback in progress that changed one of "
        "them ends (ReleasedByCommand).",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_settings(parser, {name: Settings.model_fields[name] for name in _SETTINGS})
    parser.set_defaults(command=run)


def run(given: dict[str, Any]) -> int:
    """Release everything, and return the exit status."""
    try:
        released = asyncio.run(release(Settings(**given)))
    except ValidationError as error:
        return refused(faults(error, given))
    except ConfigException as error:
        return refused([("--kubeconfig", str(error))])
    return _report(released)


def _report(released: Released) -> int:
    for line in released.done:
        print(f"{one_line(line)}: released")  # noqa: T201 (this command's output)
    for line in released.faults:
        print(f"rollback-operator: {one_line(line)}", file=sys.stderr)  # noqa: T201
    for line in released.left_out:
        kept = f"not released, since it takes too much memory to read: {one_line(line)}"
        print(f"rollback-operator: {kept}", file=sys.stderr)  # noqa: T201
    if not released.done and not released.faults:
        print("nothing is held")  # noqa: T201 (this command's output)
    return 1 if released.faults else 0
