"""Renders what a preflight has checked: for people, for programs, for GitHub's workflows.

Objects of a cluster are written by many: no text of theirs becomes a command of a runner, or a
control sequence of a terminal.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from rollback_operator.advise.deploy import of_deploy, ordered
from rollback_operator.advise.deploy_facts import DeployCheck, DeployFinding
from rollback_operator.advise.deploy_metrics import of_metrics
from rollback_operator.advise.outlook import outlook
from rollback_operator.advise.policy import FindingLevel
from rollback_operator.cli.check.checkup import (
    PROBLEMS,
    USABLE,
    outlook_rows,
    outlook_table,
    wrapped,
)
from rollback_operator.cli.check.deploying import DeployTarget

STOPPED = 2
"""Exit status: nothing was checked."""
MOST_FINDINGS = 20
"""Findings of one check; more are counted."""
_COMMANDS = {
    FindingLevel.PROBLEM: "error",
    FindingLevel.WARNING: "warning",
    FindingLevel.NOTE: "notice",
}
"""https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands"""
_RESULTS = ("Ready", "Problems", "NotChecked")
_WORDS = ("ready to deploy", "do not deploy", "not checked")


@dataclass(frozen=True)
class DeployReport:
    """A Deployment, and what was found before its deploy."""

    name: str
    """Namespace and name."""
    target: DeployTarget | None = None
    """None: nothing was read."""
    early: tuple[DeployFinding, ...] = ()
    """Findings without a target."""
    fault: str = ""
    """Why nothing was checked; empty: something was."""

    @cached_property
    def findings(self) -> tuple[DeployFinding, ...]:
        """The findings by check, in order; of one check the worst first."""
        if self.target is None:
            return self.early
        facts, survey = self.target.facts, self.target.survey
        return (*self.early, *ordered([*of_deploy(facts), *of_metrics(facts, survey)]))

    @property
    def status(self) -> int:
        """The exit status."""
        if self.fault:
            return STOPPED
        levels = {each.finding.level for each in self.findings}
        return PROBLEMS if FindingLevel.PROBLEM in levels else USABLE

    @property
    def shown(self) -> Iterator[DeployFinding]:
        """The findings without repetitions beyond a bound."""
        for check in DeployCheck:
            of_check = [each for each in self.findings if each.check is check]
            yield from of_check[:MOST_FINDINGS]


# -- for programs ----------------------------------------------------------------------------------


def deploy_json(report: DeployReport) -> dict[str, Any]:
    """Write everything with plain types."""
    return {
        "deployment": report.name,
        "result": _RESULTS[report.status],
        "error": report.fault,
        "findings": [
            {
                "check": str(each.check),
                "level": str(each.finding.level),
                "field": each.finding.path,
                "message": each.finding.message,
                "remedy": each.finding.remedy,
            }
            for each in report.findings
        ],
        "outlook": outlook_rows(outlook(report.target.survey)) if report.target is not None else [],
    }


# -- for people ------------------------------------------------------------------------------------


def deploy_text(report: DeployReport) -> str:
    """Write the result for a person who is about to deploy."""
    return "\n".join(map(inert, _lines(report)))


def _lines(report: DeployReport) -> Iterator[str]:
    yield f"{report.name}: {_WORDS[report.status]}"
    if report.fault:
        yield from wrapped(report.fault, "  error    ")
        return
    yield ""
    for each in report.shown:
        finding = each.finding
        field = f"{finding.path}: " if finding.path else ""
        head = f"  {finding.level.lower():9}{each.check:11} "
        yield from wrapped(f"{field}{finding.message}", head)
        if finding.remedy:
            yield from wrapped(finding.remedy, " " * (len(head) - 3) + "-> ")
    if report.target is not None:
        yield from outlook_table(outlook(report.target.survey))


def inert(line: str) -> str:
    """Make a line that neither a terminal nor a runner takes for a command."""
    printable = "".join(each if each.isprintable() else " " for each in line)
    # GitHub's runner reads `::` at the start of a line, and `##[` anywhere.
    if printable.lstrip().startswith("::"):
        printable = printable.replace("::", ": :", 1)
    return printable.replace("##[", "## [")


# -- for GitHub's workflows ------------------------------------------------------------------------


def deploy_annotations(report: DeployReport, file: str) -> str:
    """Write a workflow command for each finding, and a line for each check that passed.

    Args:
        report: to write.
        file: of the manifest; empty: none.
    """
    return "\n".join(_annotated(report, file))


def _annotated(report: DeployReport, file: str) -> Iterator[str]:
    if report.fault:
        yield _command("error", report.name, [report.fault], file)
    for each in report.shown:
        finding = each.finding
        command = _COMMANDS.get(finding.level)
        text = f"{finding.path}: {finding.message}" if finding.path else finding.message
        if command is None:
            yield inert(f"{each.check}: {text}")
            continue
        title = f"{each.check} of {report.name}"
        yield _command(command, title, [text, finding.remedy], file)
    yield inert(f"{report.name}: {_WORDS[report.status]}")


def _command(name: str, title: str, texts: Sequence[str], file: str) -> str:
    properties = {"file": file, "title": title}
    given = ",".join(f"{key}={_property(text)}" for key, text in properties.items() if text)
    return f"::{name} {given}::{_data('. '.join(filter(None, texts)))}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def worst(reports: Iterable[DeployReport]) -> int:
    """Return the exit status of all."""
    return max((report.status for report in reports), default=STOPPED)
