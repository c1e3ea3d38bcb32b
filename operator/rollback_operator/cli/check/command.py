"""`rollback-operator check`: whether a policy can judge releases, before it is applied."""

import argparse
import asyncio
import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from rollback_operator.cli import refused
from rollback_operator.cli.check import checkup
from rollback_operator.cli.check.sources import (
    SourceOptions,
    add_sources,
    opened,
    sources_of,
    wrong_sources,
)
from rollback_operator.cli.documents import Document, read_policies
from rollback_operator.runtime.settings import Settings, faults

_DESCRIPTION = """\
Reads a RollbackPolicy from a file, the series that it names from Prometheus and, if a cluster is
available, its target. Reports what is missing, and how soon a bad release would be proved. Nothing
is written.
"""
_EPILOG = """\
exit status: 0 a release can be judged; 1 a problem prevents it; 2 the file or an option is not
valid.

From outside the cluster, forward a port to Prometheus:
  kubectl -n monitoring port-forward service/prometheus 9090
  rollback-operator check -f policy.yaml --prometheus http://127.0.0.1:9090
"""


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = commands.add_parser(
        "check",
        help="check what a policy can judge by, before it is applied",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "-f",
        "--file",
        type=Path,
        required=True,
        metavar="FILE",
        help="the policy; - is the standard input",
    )
    add_sources(parser)
    parser.add_argument(
        "-n",
        "--namespace",
        default="default",
        help="namespace of a policy that names none (default: default)",
    )
    parser.add_argument("--output", choices=("text", "json"), default="text")
    parser.set_defaults(command=run)


def run(given: dict[str, Any]) -> int:
    """Check each policy of the file; return the exit status."""
    try:
        settings = Settings()
    except ValidationError as error:
        return refused(faults(error))
    wrong = tuple(wrong_sources(given))
    if wrong:
        return refused(wrong)
    documents = read_policies(given["file"], given["namespace"])
    checked = asyncio.run(_check_all(given["file"], documents, sources_of(given, settings)))
    if given["output"] == "json":
        print(json.dumps([checkup.as_json(each) for each in checked], indent=2))  # noqa: T201 (this command's output)
    else:
        print("\n\n".join(checkup.as_text(each) for each in checked))  # noqa: T201
    return max(each.status for each in checked)


async def _check_all(
    file: Path, documents: tuple[Document, ...], options: SourceOptions
) -> list[checkup.Checkup]:
    checked: list[checkup.Checkup] = []
    async with opened(options) as sources:
        for document in documents:
            survey = None
            if document.policy is not None:
                policies = (each.document.policy for each in checked)
                earlier = [policy for policy in policies if policy is not None]
                survey = await sources.survey(document.policy, earlier)
            checked.append(checkup.Checkup(str(file), document, survey))
    return checked
