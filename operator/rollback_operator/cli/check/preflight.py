"""`rollback-operator preflight`: whether a release could be taken back, before it is deployed."""

import argparse
import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from rollback_operator.advise.deploy_facts import DeployCheck, DeployFinding
from rollback_operator.advise.migrations import MigrationFiles, files_of
from rollback_operator.advise.policy import problem, warning
from rollback_operator.cli import refused
from rollback_operator.cli.check.deploy_report import (
    DeployReport,
    deploy_annotations,
    deploy_json,
    deploy_text,
    worst,
)
from rollback_operator.cli.check.deploying import ClusterReader, DeployError, NoPolicyError
from rollback_operator.cli.check.manifest import Manifest, ManifestError, read_manifest
from rollback_operator.cli.check.sources import (
    SourceOptions,
    Sources,
    add_sources,
    opened,
    sources_of,
    wrong_sources,
)
from rollback_operator.cli.documents import STANDARD_INPUT
from rollback_operator.runtime.bootstrap import utc_now
from rollback_operator.runtime.settings import Settings, faults

MOST_MIGRATION_FILES, MOST_MIGRATION_BYTES = 2000, 1024 * 1024
_DESCRIPTION = """\
Run before a deploy, with the manifest that is about to be applied. Checks that a revision to go
back to is known good and kept, that the objects exist which the new pod template names, that the
release was not rolled back before, that the operator would act now, and how soon it would prove a
bad release. Nothing is written.
"""
_EPILOG = """\
exit status: 0 deploy; 1 a problem was found; 2 nothing was checked: an option or the manifest is
not valid, or the cluster does not answer or refuses a read.

  kustomize build overlays/production | rollback-operator preflight -f -
  rollback-operator preflight --deployment ticket-service -n production
"""


@dataclass(frozen=True, slots=True)
class PreflightOptions:
    """The options of a run."""

    manifest: Manifest
    names: tuple[tuple[str, str], ...]
    """Namespaces and names of the Deployments to check."""
    sources: SourceOptions
    migrations: MigrationFiles | None


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = commands.add_parser(
        "preflight",
        help="check before a deploy that a bad release could be taken back",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "-f",
        "--file",
        type=Path,
        metavar="FILE",
        help="the manifests of the deploy, of any number and kind; - is the standard input",
    )
    parser.add_argument(
        "--deployment",
        metavar="NAME",
        help="the Deployment to check; default: all of the file",
    )
    parser.add_argument(
        "-n",
        "--namespace",
        default="default",
        help="namespace of an object that names none (default: default)",
    )
    parser.add_argument(
        "--down-migrations",
        type=Path,
        metavar="FOLDER",
        help="folder of database migrations: each must have a down migration, unless the record of "
        "the revision to go back to lists it as applied",
    )
    add_sources(parser)
    parser.add_argument("--output", choices=("text", "json", "github"), default="text")
    parser.set_defaults(command=run)


def run(given: dict[str, Any]) -> int:
    """Check each Deployment; return the exit status."""
    try:
        settings = Settings()
    except ValidationError as error:
        return refused(faults(error))
    wrong = list(wrong_sources(given))
    if given["file"] is None and given["deployment"] is None:
        wrong.append(("-f", "name the manifest of the deploy, or a Deployment with --deployment"))
    if wrong:
        return refused(wrong)
    try:
        reports = asyncio.run(_reports(_options(given, settings)))
    except (ManifestError, DeployError) as error:
        name = given["deployment"] or str(given["file"])
        reports = [DeployReport(name, fault=str(error))]
    _show(reports, given)
    return worst(reports)


def _options(given: dict[str, Any], settings: Settings) -> PreflightOptions:
    """Read what the options name.

    Raises:
        ManifestError: a file is not valid.
    """
    file, wanted, namespace = given["file"], given["deployment"], given["namespace"]
    manifest = read_manifest(file, namespace) if file is not None else Manifest({})
    for document in manifest.policies:
        wrong = [f"{fault.path}: {fault.message}" for fault in document.faults]
        wrong += [f"{key}: this version knows no such field" for key in document.unknown]
        if wrong:
            raise ManifestError(f"a RollbackPolicy of {file}: {'; '.join(wrong)}")
    policies = [each.policy for each in manifest.policies if each.policy is not None]
    targets = [(each.metadata.namespace, each.spec.target_ref.name) for each in policies]
    names = list(dict.fromkeys((*manifest.deployments, *targets)))
    if wanted is not None:
        chosen = [key for key in names if key[1] == wanted]
        if file is not None and not chosen:
            known = ", ".join("/".join(key) for key in names)
            raise ManifestError(f"--deployment: {file} holds no Deployment {wanted}, only {known}")
        names = chosen or [(namespace, wanted)]
    folder = given["down_migrations"]
    migrations = _migrations(folder) if folder is not None else None
    return PreflightOptions(manifest, tuple(names), sources_of(given, settings), migrations)


def _migrations(folder: Path) -> MigrationFiles:
    contents: dict[str, str] = {}
    try:
        files = sorted(path for path in folder.iterdir() if path.is_file())
        if len(files) > MOST_MIGRATION_FILES:
            message = f"{folder} holds more than {MOST_MIGRATION_FILES} files"
            raise ManifestError(f"--down-migrations: {message}")
        for path in files:
            with path.open(encoding="utf-8", errors="replace") as file:
                contents[path.name] = file.read(MOST_MIGRATION_BYTES)
    except OSError as error:
        message = f"{error.filename or folder}: {error.strerror or error}"
        raise ManifestError(f"--down-migrations: {message}") from None
    migrations = files_of(str(folder), contents)
    if not migrations.downs:
        raise ManifestError(f"--down-migrations: {folder} holds no migration of a known form")
    return migrations


async def _reports(options: PreflightOptions) -> list[DeployReport]:
    async with opened(options.sources) as sources:
        if sources.api is None:
            raise DeployError(
                f"{sources.no_cluster}: set --kubeconfig, or run this in a pod of the cluster"
            )
        reader = ClusterReader(sources.api, options.manifest, utc_now())
        reports = [await _report(reader, key, sources, options) for key in options.names]
    return _with_unwatched(reports)


async def _report(
    reader: ClusterReader, key: tuple[str, str], sources: Sources, options: PreflightOptions
) -> DeployReport:
    name = "/".join(key)
    try:
        policy = (await reader.policies_of(*key))[0]
        target = await reader.read(policy, sources, options.migrations)
    except NoPolicyError as error:
        unwatched = problem("", str(error), "create a policy for it: docs/install.md")
        return DeployReport(name, early=(DeployFinding(DeployCheck.POLICY, unwatched),))
    except DeployError as error:
        return DeployReport(name, fault=str(error))
    return DeployReport(name, target)


def _with_unwatched(reports: Sequence[DeployReport]) -> list[DeployReport]:
    """Make a missing policy a warning if another Deployment of the file has a policy.

    A file of many Deployments may hold some that nobody wants to be rolled back.
    """
    if not any(report.target is not None for report in reports):
        return list(reports)
    return [
        DeployReport(
            report.name,
            early=tuple(
                DeployFinding(each.check, warning("", each.finding.message, each.finding.remedy))
                for each in report.early
            ),
        )
        if report.early
        else report
        for report in reports
    ]


def _show(reports: Sequence[DeployReport], given: dict[str, Any]) -> None:
    match given["output"]:
        case "json":
            text = json.dumps([deploy_json(each) for each in reports], indent=2)
        case "github":
            file = given["file"]
            shown = "" if file is None or file == STANDARD_INPUT else str(file)
            text = "\n".join(deploy_annotations(each, shown) for each in reports)
        case _:
            text = "\n\n".join(deploy_text(each) for each in reports)
    print(text)  # noqa: T201 (this command's output)
