"""`rollback-operator run`: runs the operator; each setting is a flag."""

import argparse
import sys
from typing import Any

from pydantic import ValidationError

from rollback_operator.cli import add_settings, refused
from rollback_operator.runtime.settings import Settings, faults


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = commands.add_parser(
        "run",
        help="run the operator",
        description="Each flag may also be set in the environment: --lease-name as "
        "ROLLBACK_OPERATOR_LEASE_NAME. Flags win.",
    )
    add_settings(parser, Settings.model_fields)
    parser.set_defaults(command=run)


def run(given: dict[str, Any]) -> int:
    """Run the operator until it ends, and return the exit status."""
    try:
        settings = Settings(**given)
    except ValidationError as error:
        return refused(faults(error, given))
    # Imported here, because other commands need neither API watches nor a Kubernetes client.
    from kubernetes.aio.config import ConfigException  # noqa: PLC0415

    from rollback_operator.runtime.main import serve  # noqa: PLC0415

    try:
        return serve(settings)
    except ConfigException as error:
        return refused([("--kubeconfig", str(error))])
    except OSError as error:
        print(f"rollback-operator: {error}", file=sys.stderr)  # noqa: T201
        return 1
