"""`rollback-operator crd`: the CustomResourceDefinitions as YAML."""

import argparse
from typing import Any

import yaml

from rollback_operator.api.crd import custom_resource_definition
from rollback_operator.api.v1alpha1 import KINDS


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = commands.add_parser("crd", help="print the CustomResourceDefinitions as YAML")
    parser.set_defaults(command=run)


def run(_: dict[str, Any]) -> int:
    """Print both CRDs as one stream."""
    made = [custom_resource_definition(kind) for kind in KINDS]
    print(yaml.safe_dump_all(made, sort_keys=False, width=100, allow_unicode=True), end="")  # noqa: T201 (this command's output)
    return 0
