"""The command line: `rollback-operator run`, `rollback-operator crd`."""

import argparse
import asyncio
import sys
from collections.abc import Sequence

import yaml
from kubernetes.aio.config import ConfigException
from pydantic import ValidationError

from rollback_operator import __version__
from rollback_operator.api.crd import custom_resource_definition
from rollback_operator.api.v1alpha1 import KINDS
from rollback_operator.main import run as run_operator
from rollback_operator.settings import Settings


def parser() -> argparse.ArgumentParser:
    """Make the parser; each setting is a flag of `run`."""
    made = argparse.ArgumentParser(
        prog="rollback-operator",
        description="Takes a bad release of a Kubernetes Deployment back before people notice.",
    )
    made.add_argument("--version", action="version", version=__version__)
    commands = made.add_subparsers(dest="command", required=True)
    commands.add_parser("crd", help="print the CustomResourceDefinitions as YAML")
    runs = commands.add_parser(
        "run",
        help="run the operator",
        description="Each flag may also be set in the environment: --lease-name as "
        "ROLLBACK_OPERATOR_LEASE_NAME. Flags win.",
    )
    for name, field in Settings.model_fields.items():
        default = field.get_default(call_default_factory=True, validated_data={})
        shown = f" (default: {default})" if default not in (None, (), "") else ""
        runs.add_argument(
            f"--{name.replace('_', '-')}",
            metavar="VALUE",
            default=argparse.SUPPRESS,
            help=f"{field.description}{shown}".replace("%", "%%"),
        )
    return made


def main(arguments: Sequence[str]) -> int:
    """Run one command; gives the exit status."""
    given = vars(parser().parse_args(arguments))
    if given.pop("command") == "crd":
        print(crds(), end="")  # noqa: T201 (this command's output)
        return 0
    try:
        settings = Settings(**given)
    except ValidationError as error:
        for one in error.errors():
            flag = "--" + "-".join(str(part) for part in one["loc"]).replace("_", "-")
            print(f"rollback-operator: {flag}: {one['msg']}", file=sys.stderr)  # noqa: T201
        return 2
    try:
        return asyncio.run(run_operator(settings))
    except ConfigException as error:
        print(f"rollback-operator: --kubeconfig: {error}", file=sys.stderr)  # noqa: T201
        return 2
    except OSError as error:
        print(f"rollback-operator: {error}", file=sys.stderr)  # noqa: T201
        return 1


def crds() -> str:
    """Write both CRDs as one YAML stream."""
    made = [custom_resource_definition(kind) for kind in KINDS]
    return yaml.safe_dump_all(made, sort_keys=False, width=100, allow_unicode=True)


def run() -> None:
    """Enter from the installed script."""
    raise SystemExit(main(sys.argv[1:]))


if __name__ == "__main__":
    run()
