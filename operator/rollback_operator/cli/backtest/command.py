"""`rollback-operator backtest`: the decisions that the operator would have made in the past."""

import argparse
import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from rollback_operator.cli.backtest.batch import run_batch
from rollback_operator.cli.backtest.case import OPTIONS, parse_options, run_case
from rollback_operator.cli.backtest.files import BadFileError
from rollback_operator.cli.backtest.plot import draw, require_matplotlib
from rollback_operator.cli.backtest.report import as_json, as_text


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = commands.add_parser(
        "backtest",
        help="replay the past from Prometheus and show what the operator would have decided",
        description="Evaluates the past by a virtual clock, with the operator's own rules. "
        "docs/backtest.md describes the files.",
    )
    parser.add_argument("--policy", metavar="FILE", help="a RollbackPolicy, YAML or JSON")
    parser.add_argument(
        "--rollouts", metavar="FILE", help="the rollouts, as Kubernetes showed them, JSON"
    )
    parser.add_argument("--prometheus", metavar="URL", help="base address of its HTTP API")
    parser.add_argument("--start", metavar="TIME", help="RFC 3339")
    parser.add_argument("--end", metavar="TIME", help="RFC 3339")
    parser.add_argument("--step", metavar="SECONDS", help="between two evaluations")
    parser.add_argument("--output", choices=("text", "json"), default="text")
    parser.add_argument(
        "--plot", metavar="FILE", type=Path, help="draw the replay as SVG; needs the extra `plot`"
    )
    parser.add_argument(
        "--continue",
        dest="is_continued",
        action="store_true",
        help="continue after a rollback, as if it had been executed",
    )
    parser.add_argument(
        "--batch", metavar="FILE", type=Path, help="many cases, a JSON object per line"
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
    """Run a case or a batch, or print a rollout file; return the exit status."""
    try:
        if given["from_cluster"]:
            return _from_cluster(given)
        if given["batch"] is not None:
            return _batch(given)
        return _single(given)
    except BadFileError as error:
        return _failed(str(error))


def _single(given: dict[str, Any]) -> int:
    passed = _passed_on(given)
    try:
        options = parse_options(passed, Path())
    except BadFileError as error:
        return _failed(f"--{error}" if error.field in OPTIONS else str(error))
    if given["plot"] is not None:
        require_matplotlib()
        options = options.model_copy(update={"keeps_evaluations": True})
    ran = asyncio.run(run_case(options, _warn))
    if given["output"] == "json":
        print(json.dumps(as_json(ran), indent=2), flush=True)  # noqa: T201 (this command's output)
    else:
        print(as_text(ran), end="", flush=True)  # noqa: T201 (this command's output)
    # Last: if the plot cannot be written, the result is not lost.
    if given["plot"] is not None:
        draw(ran, given["plot"])
    return 0


def _batch(given: dict[str, Any]) -> int:
    if given["jobs"] < 1:
        raise BadFileError("--jobs", f"must be at least 1, not {given['jobs']}")
    if given["plot"] is not None:
        raise BadFileError("--plot", "is for a single case; with --batch each line names its plot")
    passed = _passed_on(given)
    for name in ("policy", "rollouts"):
        if name in passed:
            # Paths in a line are relative to the batch, paths in options to this directory.
            passed[name] = str(Path(passed[name]).absolute())
    failed = 0
    for result in run_batch(given["batch"], passed, given["jobs"]):
        failed += "error" in result
        print(json.dumps(result), flush=True)  # noqa: T201 (this command's output)
    return _failed(f"--batch: {failed} lines failed") if failed else 0


def _from_cluster(given: dict[str, Any]) -> int:
    # Only this needs a Kubernetes client, which is slow to load.
    from kubernetes.aio.config import ConfigException  # noqa: PLC0415

    from rollback_operator.adapters.kube.login import usual_kubeconfig  # noqa: PLC0415
    from rollback_operator.cli.backtest.replica_sets import read_rollouts  # noqa: PLC0415
    from rollback_operator.ports.failure import Failure  # noqa: PLC0415

    namespace, deployment = given["namespace"], given["deployment"]
    if not namespace or not deployment:
        missing = "--deployment" if namespace else "--namespace"
        raise BadFileError(missing, "is required with --from-cluster")
    kubeconfig = given["kubeconfig"] or usual_kubeconfig()
    try:
        rollouts = asyncio.run(read_rollouts(kubeconfig, namespace, deployment))
    except ConfigException as error:
        raise BadFileError("--kubeconfig", str(error)) from None
    if isinstance(rollouts, Failure):
        return _failed(f"{namespace}/{deployment} cannot be read: {rollouts.message}")
    print(json.dumps(rollouts, indent=2))  # noqa: T201 (this command's output)
    return 0


def _passed_on(given: dict[str, Any]) -> dict[str, Any]:
    passed = {name: given[name] for name in OPTIONS if given[name] is not None}
    return {**passed, "continue": given["is_continued"]}


def _warn(message: str) -> None:
    print(f"rollback-operator: warning: {message}", file=sys.stderr)  # noqa: T201


def _failed(message: str) -> int:
    print(f"rollback-operator: {message}", file=sys.stderr)  # noqa: T201
    return 2
