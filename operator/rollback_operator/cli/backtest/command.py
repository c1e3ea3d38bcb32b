"""`rollback-operator backtest`: what would have been decided, over a past that Prometheus has."""

import argparse
import asyncio
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from rollback_operator.cli.backtest.batch import run_batch
from rollback_operator.cli.backtest.case import parse_options, run_case
from rollback_operator.cli.backtest.files import BadFileError
from rollback_operator.cli.backtest.plot import draw, require_matplotlib
from rollback_operator.cli.backtest.report import as_json, as_text

_PASSED_ON = ("policy", "rollouts", "prometheus", "start", "end", "step")


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = commands.add_parser(
        "backtest",
        help="replay a past from Prometheus and tell what would have been decided",
        description="Runs the operator's own judgement over a past, by a virtual clock. "
        "The files are described in docs/backtest.md.",
    )
    parser.add_argument("--policy", metavar="FILE", help="a RollbackPolicy, YAML or JSON")
    parser.add_argument("--rollouts", metavar="FILE", help="what Kubernetes showed, JSON")
    parser.add_argument("--prometheus", metavar="URL", help="base address of its HTTP API")
    parser.add_argument("--start", metavar="TIME", help="RFC 3339")
    parser.add_argument("--end", metavar="TIME", help="RFC 3339")
    parser.add_argument("--step", metavar="SECONDS", help="between two looks")
    parser.add_argument("--output", choices=("text", "json"), default="text")
    parser.add_argument(
        "--plot", metavar="FILE", type=Path, help="draw it as SVG; needs the extra `plot`"
    )
    parser.add_argument(
        "--continue",
        dest="is_continued",
        action="store_true",
        help="go on after a rollback, as if it had been carried out",
    )
    parser.add_argument(
        "--batch", metavar="FILE", type=Path, help="many cases, one JSON object a line"
    )
    parser.add_argument("--jobs", metavar="N", type=int, default=1, help="processes for --batch")
    parser.add_argument(
        "--from-cluster",
        action="store_true",
        help="print the rollout file of a running Deployment instead",
    )
    parser.add_argument("--namespace", metavar="NAME", help="with --from-cluster")
    parser.add_argument("--deployment", metavar="NAME", help="with --from-cluster")
    parser.add_argument(
        "--kubeconfig", metavar="FILE", help="with --from-cluster; default: as for kubectl"
    )
    parser.set_defaults(command=run)


def run(given: dict[str, Any]) -> int:
    """Run one case, a batch, or write a rollout file; gives the exit status."""
    try:
        if given["from_cluster"]:
            return _from_cluster(given)
        if given["batch"] is not None:
            return _batch(given)
        return _one(given)
    except BadFileError as error:
        return _failed(str(error))


def _one(given: dict[str, Any]) -> int:
    passed = {**_passed_on(given), "continue": given["is_continued"]}
    try:
        options = parse_options(passed, Path())
    except BadFileError as error:
        return _failed(f"--{error}" if error.field in _PASSED_ON else str(error))
    if given["plot"] is not None:
        require_matplotlib()
        options = replace(options, keeps_looks=True)
    ran = asyncio.run(run_case(options, _warn))
    if given["output"] == "json":
        print(json.dumps(as_json(ran), indent=2), flush=True)  # noqa: T201 (this command's output)
    else:
        print(as_text(ran), end="", flush=True)  # noqa: T201 (this command's output)
    # Last: what was found is not lost where the plot cannot be written.
    if given["plot"] is not None:
        draw(ran, given["plot"])
    return 0


def _batch(given: dict[str, Any]) -> int:
    if given["jobs"] < 1:
        raise BadFileError("--jobs", f"must be at least 1, not {given['jobs']}")
    if given["plot"] is not None:
        raise BadFileError("--plot", "is for one case; with --batch each line names its own plot")
    passed = {**_passed_on(given), "continue": given["is_continued"]}
    for name in ("policy", "rollouts"):
        if name in passed:
            # A line's own paths are relative to the batch; those given here to where we are.
            passed[name] = str(Path(passed[name]).absolute())
    failed = 0
    for result in run_batch(given["batch"], passed, given["jobs"]):
        failed += "error" in result
        print(json.dumps(result), flush=True)  # noqa: T201 (this command's output)
    return _failed(f"--batch: {failed} lines could not be run") if failed else 0


def _from_cluster(given: dict[str, Any]) -> int:
    # Only this needs a Kubernetes client, which takes long to load.
    from kubernetes.aio.config import ConfigException  # noqa: PLC0415

    from rollback_operator.adapters.kube.login import usual_kubeconfig  # noqa: PLC0415
    from rollback_operator.cli.backtest.cluster import read_rollouts  # noqa: PLC0415
    from rollback_operator.ports.failure import Failure  # noqa: PLC0415

    namespace, deployment = given["namespace"], given["deployment"]
    if not namespace or not deployment:
        lacking = "--deployment" if namespace else "--namespace"
        raise BadFileError(lacking, "is needed with --from-cluster")
    kubeconfig = given["kubeconfig"] or usual_kubeconfig()
    try:
        found = asyncio.run(read_rollouts(kubeconfig, namespace, deployment))
    except ConfigException as error:
        raise BadFileError("--kubeconfig", str(error)) from None
    if isinstance(found, Failure):
        return _failed(f"{namespace}/{deployment} cannot be read: {found.message}")
    print(json.dumps(found, indent=2))  # noqa: T201 (this command's output)
    return 0


def _passed_on(given: dict[str, Any]) -> dict[str, Any]:
    return {name: given[name] for name in _PASSED_ON if given[name] is not None}


def _warn(message: str) -> None:
    print(f"rollback-operator: warning: {message}", file=sys.stderr)  # noqa: T201


def _failed(message: str) -> int:
    print(f"rollback-operator: {message}", file=sys.stderr)  # noqa: T201
    return 2
