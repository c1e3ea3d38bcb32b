"""Renders what a check found, for people and for programs."""

import math
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from rollback_operator.advise.findings import find
from rollback_operator.advise.outlook import Outlook, outlook
from rollback_operator.advise.policy import FindingLevel, PolicyFinding
from rollback_operator.advise.survey import Survey
from rollback_operator.cli.documents import Document
from rollback_operator.judge.time_to_detect import DISCOVERY_SECONDS, Reach
from rollback_operator.model.samples import Missing

USABLE, PROBLEMS, BAD_FILE = 0, 1, 2
WIDTH = 100
_SHOWN_ROUTES = 12
_NEVER = "never"


@dataclass(frozen=True)
class Checkup:
    """A policy with its survey and its findings."""

    file: str
    document: Document
    survey: Survey | None = None

    @cached_property
    def findings(self) -> tuple[PolicyFinding, ...]:
        """The findings, the worst first, with the unknown keys at the end."""
        unknown = tuple(
            PolicyFinding(
                FindingLevel.PROBLEM,
                key,
                "this version knows no such field: kubectl's validation would refuse it",
                "see docs/api.md for the fields",
            )
            for key in self.document.unknown
        )
        return (*(find(self.survey) if self.survey else ()), *unknown)

    @property
    def status(self) -> int:
        """The exit status."""
        if self.document.faults:
            return BAD_FILE
        is_prevented = any(finding.level is FindingLevel.PROBLEM for finding in self.findings)
        return PROBLEMS if is_prevented else USABLE

    @property
    def name(self) -> str:
        """Namespace and name of the policy, or the file's name."""
        policy = self.document.policy
        return "/".join(policy.key) if policy else self.file

    @cached_property
    def outlook(self) -> tuple[Outlook, ...]:
        """How soon bad releases would be proved."""
        return outlook(self.survey) if self.survey else ()


# -- for programs ----------------------------------------------------------------------------------


def as_json(checkup: Checkup) -> dict[str, Any]:
    """Write everything with plain types; a time that is never reached is null."""
    survey = checkup.survey
    result: dict[str, Any] = {
        "policy": checkup.name,
        "file": checkup.file,
        "result": ("Usable", "Problems", "BadFile")[checkup.status],
        "errors": [
            {"field": fault.path, "message": fault.message} for fault in checkup.document.faults
        ],
        "findings": [
            {
                "level": str(finding.level),
                "field": finding.path,
                "message": finding.message,
                "remedy": finding.remedy,
            }
            for finding in checkup.findings
        ],
    }
    if survey is not None:
        result |= {"seen": _seen(survey), "outlook": outlook_rows(checkup.outlook)}
    return result


def _seen(survey: Survey) -> dict[str, Any]:
    control = survey.control
    workload = survey.workload
    return {
        "prometheus": survey.url,
        "clockSkewSeconds": None if isinstance(survey.skew, Missing) else round(survey.skew, 3),
        "scrapeIntervalSeconds": survey.interval,
        "requests": _signal(survey, "requests"),
        "errors": _signal(survey, "errors"),
        "errorLabels": {name: list(values) for name, values in survey.marks.items()},
        "slow": [
            {
                "field": slow.path,
                "what": slow.what,
                "found": None if isinstance(slow.data, Missing) else slow.data,
                "missing": str(slow.data.reason) if isinstance(slow.data, Missing) else None,
            }
            for slow in survey.slow
        ],
        "pods": sorted(survey.pods),
        "routes": {name: round(rate, 4) for name, rate in sorted(survey.routes.items())},
        "excludedRoutes": sorted(survey.excluded & survey.routes.keys()),
        "requestsPerSecond": round(survey.rate, 4),
        "control": None
        if isinstance(control, Missing)
        else {
            "seconds": control.seconds,
            "requests": round(control.pooled.requests),
            "errors": round(control.pooled.errors),
            "worstMinute": round(control.pooled.worst_minute, 6),
            "isSufficient": control.is_sufficient,
        },
        "target": None
        if workload is None
        else {
            "replicas": workload.deployment.replicas,
            "ready": sum(pod.ready for pod in workload.pods),
            "strategy": workload.deployment.strategy,
        },
    }


def _signal(survey: Survey, name: str) -> dict[str, Any]:
    facts = survey.requests if name == "requests" else survey.errors
    return {
        "metric": facts.metric,
        "series": len(facts.series),
        "missing": None if facts.missing is None else str(facts.missing.reason),
    }


def outlook_rows(outlooks: Sequence[Outlook]) -> list[dict[str, Any]]:
    """Write how soon bad releases would be proved, with plain types."""
    return [_row(row) for row in outlooks]


def _row(row: Outlook) -> dict[str, Any]:
    return {
        "route": row.route,
        "requestsPerSecond": round(row.rate, 4),
        "failing": row.fault,
        "severity": row.severity,
        "withinSeconds": row.within_seconds,
        "byPrometheus": _reach(row.by_prometheus),
        "byPodMetrics": _reach(row.by_pods),
        "besideOldPods": _reach(row.beside_old_pods),
    }


def _reach(reach: Reach | None) -> dict[str, Any] | None:
    if reach is None:
        return None
    plain = {name: value for name, value in asdict(reach).items() if name != "floor"}
    numbers = {
        name: round(value, 1) if math.isfinite(value) else None for name, value in plain.items()
    }
    return {
        "requests": numbers["requests"],
        "meanSeconds": numbers["mean"],
        "mostSeconds": numbers["most"],
        "boundBy": reach.floor,
    }


# -- for people ------------------------------------------------------------------------------------


def as_text(checkup: Checkup) -> str:
    """Write the result for a person who is about to apply the policy."""
    return "\n".join(_lines(checkup))


def _lines(checkup: Checkup) -> Iterator[str]:
    result = ("usable", "cannot be judged yet", "not valid")[checkup.status]
    yield f"{checkup.name}: {result}"
    for fault in checkup.document.faults:
        text = f"{fault.path}: {fault.message}" if fault.path else fault.message
        yield from wrapped(text, "  error    ")
    if checkup.survey is not None:
        yield ""
        yield from _facts(checkup.survey)
        yield from outlook_table(checkup.outlook)
    if checkup.findings:
        yield ""
    for finding in checkup.findings:
        yield from wrapped(f"{finding.path}: {finding.message}", f"  {finding.level.lower():9}")
        if finding.remedy:
            yield from wrapped(finding.remedy, "         -> ")


def _facts(survey: Survey) -> Iterator[str]:
    yield _fact("target", _target(survey))
    skew = "" if isinstance(survey.skew, Missing) else f", clock {survey.skew:+.1f} s"
    yield _fact("prometheus", f"{survey.url}{skew}")
    for facts in (survey.requests, survey.errors):
        name = facts.path.rpartition(".")[2]
        if facts.missing is not None:
            yield _fact(name, f"{facts.metric}: none ({facts.missing.reason})")
            continue
        if survey.requests.missing is not None:
            yield _fact(name, f"{facts.metric}: not read")
            continue
        text = f"{facts.metric}: {f'{len(facts.series)} series' if facts.series else 'none so far'}"
        if facts is survey.requests and facts.series:
            step = survey.interval
            has_pods = bool(survey.policy.spec.signals.labels.pod)
            text += f", {_number(len(survey.pods), 'pod') if has_pods else 'no pod label'}"
            text += f", {_number(len(survey.routes), 'route')}, {survey.rate:.2f} requests/s"
            text += f", scraped every {_seconds(step)} s" if step else ""
        yield _fact(name, text)
    routes = sorted(survey.routes.items(), key=lambda item: (-item[1], item[0]))
    for route, rate in routes[:_SHOWN_ROUTES]:
        excluded = "  (excluded)" if route in survey.excluded else ""
        yield _fact("", f"{rate:10.2f}/s  {route or '(no route label)'}{excluded}")
    if len(routes) > _SHOWN_ROUTES:
        yield _fact("", f"and {len(routes) - _SHOWN_ROUTES} more routes")
    for slow in survey.slow:
        text = f"none ({slow.data.reason})" if isinstance(slow.data, Missing) else slow.data
        yield _fact(slow.path.rpartition(".")[2][:10], f"{slow.what[:60]}: {text}")
    control = survey.control
    if not isinstance(control, Missing):
        pooled = control.pooled
        failed = pooled.errors / pooled.requests if pooled.requests else 0.0
        yield _fact(
            "last hour",
            f"{control.seconds / 60:.0f} minutes, {pooled.requests:.0f} requests, {failed:.2%} "
            f"failed, {pooled.worst_minute:.2%} in the worst minute",
        )


def _target(survey: Survey) -> str:
    name = survey.policy.spec.target_ref.name
    if survey.workload is None:
        return f"Deployment {name}: {'not found' if survey.is_gone else 'not read'}"
    deployment = survey.workload.deployment
    ready = sum(pod.ready for pod in survey.workload.pods)
    return f"Deployment {name}: {ready} of {deployment.replicas} pods ready, {deployment.strategy}"


def _number(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _fact(name: str, text: str) -> str:
    return f"  {name:11}{text}"


def outlook_table(rows: Sequence[Outlook]) -> Iterator[str]:
    """Write how soon bad releases would be proved, with an explanation; nothing without rows."""
    if not rows:
        return
    faults = sorted({row.fault for row in rows}, reverse=True)
    yield ""
    yield "  How soon a bad release is proved: seconds from its first request"
    head = "".join(f"{f'{fault:.0%} of it fails':>18}" for fault in faults)
    yield f"  {'requests, and their source':40}{head}"
    has_pods = any(row.beside_old_pods is not None for row in rows)
    alone = (
        "Prometheus, once no old pod is left" if has_pods else "Prometheus, after against before"
    )
    sources = (
        (alone, "by_prometheus"),
        ("Prometheus, half of the pods still old", "beside_old_pods"),
        ("the pods' own metrics, no old pod left", "by_pods"),
    )
    cells: list[str] = []
    for route in dict.fromkeys(row.route for row in rows):
        own = {row.fault: row for row in rows if row.route == route}
        severities = "".join(f"{own[fault].severity or '-':>18}" for fault in faults)
        yield f"  {(route or 'all requests')[:40]:40}{severities}"
        for source, field in sources:
            reaches = [getattr(own[fault], field) for fault in faults]
            if reaches[0] is not None:
                shown = [_cell(reach) for reach in reaches]
                cells += shown
                yield f"    {source:38}" + "".join(f"{cell:>18}" for cell in shown)
    yield from wrapped(" ".join(_legend(rows, cells)), "  ")


def _legend(rows: Sequence[Outlook], cells: Sequence[str]) -> Iterator[str]:
    """Explain the table, as far as it has what needs an explanation."""
    timed = next((cell for cell in cells if "(" in cell), "")
    if timed:
        usual, most = timed.rstrip(")").split(" (")
        yield (
            f"{timed} means: {usual} s on average, {most} s if every sample is as late as "
            "possible; chance may double both."
        )
    yield "The row of the requests shows the severity that spec.matrix gives such a release"
    yield "(-: no row, no response)." if any(not row.severity for row in rows) else ""
    if _NEVER in cells:
        yield f"{_NEVER}: no number of requests proves it; the last hour makes it plausible."
    if any(row.beside_old_pods is not None for row in rows):
        yield (
            f"The times by Prometheus include up to {DISCOVERY_SECONDS:.0f} s until it reads a new "
            "pod. The operator reads the pods' own metrics where it reaches the pods "
            "(PodMetricsAvailable)."
        )


def _cell(reach: Reach) -> str:
    if not math.isfinite(reach.mean):
        return _NEVER
    return f"{_seconds(reach.mean)} ({_seconds(reach.most)})"


def _seconds(value: float) -> str:
    return f"{value:.1f}" if value < 10 else f"{value:,.0f}"  # noqa: PLR2004 (a width)


def wrapped(text: str, begin: str) -> Iterator[str]:
    """Break a text into lines, all as far indented as the first begins."""
    yield from textwrap.wrap(
        text,
        WIDTH,
        initial_indent=begin,
        subsequent_indent=" " * len(begin),
        break_long_words=False,
        break_on_hyphens=False,
    )
