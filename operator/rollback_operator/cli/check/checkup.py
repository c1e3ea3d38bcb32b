"""What was found out about a policy, for people and for machines."""

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
    """A policy with what was found."""

    file: str
    document: Document
    survey: Survey | None = None

    @cached_property
    def findings(self) -> tuple[PolicyFinding, ...]:
        """What follows, the worst first; keys that nobody knows are among it."""
        unknown = tuple(
            PolicyFinding(
                FindingLevel.PROBLEM,
                one,
                "this version knows no such field: kubectl's validation would refuse it",
                "see docs/api.md for the fields there are",
            )
            for one in self.document.unknown
        )
        return (*(find(self.survey) if self.survey else ()), *unknown)

    @property
    def status(self) -> int:
        """The exit status."""
        if self.document.faults:
            return BAD_FILE
        is_prevented = any(one.level is FindingLevel.PROBLEM for one in self.findings)
        return PROBLEMS if is_prevented else USABLE

    @property
    def name(self) -> str:
        """Namespace and name of the policy, or the file's name."""
        policy = self.document.policy
        return "/".join(policy.key) if policy else self.file

    @cached_property
    def outlook(self) -> tuple[Outlook, ...]:
        """How fast what could be decided."""
        return outlook(self.survey) if self.survey else ()


# -- for machines ----------------------------------------------------------------------------------


def as_json(checkup: Checkup) -> dict[str, Any]:
    """Write everything with plain types; what is never reached is null."""
    survey = checkup.survey
    found: dict[str, Any] = {
        "policy": checkup.name,
        "file": checkup.file,
        "result": ("Usable", "Problems", "BadFile")[checkup.status],
        "errors": [{"field": one.path, "message": one.message} for one in checkup.document.faults],
        "findings": [
            {
                "level": str(one.level),
                "field": one.path,
                "message": one.message,
                "remedy": one.remedy,
            }
            for one in checkup.findings
        ],
    }
    if survey is not None:
        found |= {"seen": _seen(survey), "outlook": [_row(one) for one in checkup.outlook]}
    return found


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
                "field": one.path,
                "what": one.what,
                "found": None if isinstance(one.found, Missing) else one.found,
                "missing": str(one.found.reason) if isinstance(one.found, Missing) else None,
            }
            for one in survey.slow
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
            "ready": sum(one.ready for one in workload.pods),
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


def _row(one: Outlook) -> dict[str, Any]:
    return {
        "route": one.route,
        "requestsPerSecond": round(one.rate, 4),
        "failing": one.fault,
        "severity": one.severity,
        "withinSeconds": one.within_seconds,
        "byPrometheus": _reach(one.by_prometheus),
        "byPodMetrics": _reach(one.by_pods),
        "besideOldPods": _reach(one.beside_old_pods),
    }


def _reach(one: Reach | None) -> dict[str, Any] | None:
    if one is None:
        return None
    plain = {name: value for name, value in asdict(one).items() if name != "floor"}
    numbers = {
        name: round(value, 1) if math.isfinite(value) else None for name, value in plain.items()
    }
    return {
        "requests": numbers["requests"],
        "meanSeconds": numbers["mean"],
        "mostSeconds": numbers["most"],
        "boundBy": one.floor,
    }


# -- for people ------------------------------------------------------------------------------------


def as_text(checkup: Checkup) -> str:
    """Write what a person reads before applying a policy."""
    return "\n".join(_lines(checkup))


def _lines(checkup: Checkup) -> Iterator[str]:
    told = ("usable", "cannot be judged yet", "not valid")[checkup.status]
    yield f"{checkup.name}: {told}"
    for one in checkup.document.faults:
        yield from _wrapped(
            f"{one.path}: {one.message}" if one.path else one.message, "  error    "
        )
    if checkup.survey is not None:
        yield ""
        yield from _sight(checkup.survey)
        yield from _table(checkup)
    if checkup.findings:
        yield ""
    for found in checkup.findings:
        yield from _wrapped(f"{found.path}: {found.message}", f"  {found.level.lower():9}")
        if found.remedy:
            yield from _wrapped(found.remedy, "         -> ")


def _sight(survey: Survey) -> Iterator[str]:
    yield _fact("target", _target(survey))
    skew = "" if isinstance(survey.skew, Missing) else f", clock {survey.skew:+.1f} s"
    yield _fact("prometheus", f"{survey.url}{skew}")
    for facts in (survey.requests, survey.errors):
        name = facts.path.rpartition(".")[2]
        if facts.missing is not None:
            yield _fact(name, f"{facts.metric}: none ({facts.missing.reason})")
            continue
        if survey.requests.missing is not None:
            yield _fact(name, f"{facts.metric}: not looked for")
            continue
        said = f"{facts.metric}: {f'{len(facts.series)} series' if facts.series else 'none so far'}"
        if facts is survey.requests and facts.series:
            step = survey.interval
            has_pods = bool(survey.policy.spec.signals.labels.pod)
            said += f", {_number(len(survey.pods), 'pod') if has_pods else 'no pod label'}"
            said += f", {_number(len(survey.routes), 'route')}, {survey.rate:.2f} requests/s"
            said += f", scraped every {_seconds(step)} s" if step else ""
        yield _fact(name, said)
    routes = sorted(survey.routes.items(), key=lambda one: (-one[1], one[0]))
    for route, rate in routes[:_SHOWN_ROUTES]:
        left_out = "  (not judged)" if route in survey.excluded else ""
        yield _fact("", f"{rate:10.2f}/s  {route or '(no route label)'}{left_out}")
    if len(routes) > _SHOWN_ROUTES:
        yield _fact("", f"and {len(routes) - _SHOWN_ROUTES} routes more")
    for slow in survey.slow:
        told = f"none ({slow.found.reason})" if isinstance(slow.found, Missing) else slow.found
        yield _fact(slow.path.rpartition(".")[2][:10], f"{slow.what[:60]}: {told}")
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
        return f"Deployment {name}: {'there is none' if survey.is_gone else 'not looked at'}"
    deployment = survey.workload.deployment
    ready = sum(one.ready for one in survey.workload.pods)
    return f"Deployment {name}: {ready} of {deployment.replicas} pods ready, {deployment.strategy}"


def _number(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _fact(name: str, said: str) -> str:
    return f"  {name:11}{said}"


def _table(checkup: Checkup) -> Iterator[str]:
    rows = checkup.outlook
    if not rows:
        return
    faults = sorted({one.fault for one in rows}, reverse=True)
    yield ""
    yield "  How soon a bad release is proved: seconds from its first request"
    head = "".join(f"{f'{fault:.0%} of it fails':>18}" for fault in faults)
    yield f"  {'traffic, and where it is read':40}{head}"
    told = any(one.beside_old_pods is not None for one in rows)
    ways = (
        (
            "Prometheus, once no old pod is left" if told else "Prometheus, after against before",
            "by_prometheus",
        ),
        ("Prometheus, half of the pods still old", "beside_old_pods"),
        ("the pods' own metrics, no old pod left", "by_pods"),
    )
    cells: list[str] = []
    for route in dict.fromkeys(one.route for one in rows):
        own = {one.fault: one for one in rows if one.route == route}
        severities = "".join(f"{own[fault].severity or '-':>18}" for fault in faults)
        yield f"  {(route or 'all requests')[:40]:40}{severities}"
        for said, field in ways:
            reaches = [getattr(own[fault], field) for fault in faults]
            if reaches[0] is not None:
                shown = [_cell(one) for one in reaches]
                cells += shown
                yield f"    {said:38}" + "".join(f"{one:>18}" for one in shown)
    yield from _wrapped(" ".join(_legend(rows, cells)), "  ")


def _legend(rows: Sequence[Outlook], cells: Sequence[str]) -> Iterator[str]:
    """Say how the table is read, as far as it has what is to be said."""
    timed = next((one for one in cells if "(" in one), "")
    if timed:
        usual, most = timed.rstrip(")").split(" (")
        yield (
            f"{timed} means: {usual} s on average, {most} s if every sample comes as late as it "
            "can; chance may double both."
        )
    yield "Beside the traffic stands the severity that spec.matrix gives such a release"
    yield "(-: no row, nothing follows)." if any(not one.severity for one in rows) else ""
    if _NEVER in cells:
        yield f"{_NEVER}: no number of requests proves it, the last hour makes it plausible."
    if any(one.beside_old_pods is not None for one in rows):
        yield (
            f"Of the times by Prometheus up to {DISCOVERY_SECONDS:.0f} s pass until it reads a "
            "new pod; the pods' own metrics are read where the operator reaches the pods "
            "(PodMetricsAvailable)."
        )


def _cell(one: Reach) -> str:
    if not math.isfinite(one.mean):
        return _NEVER
    return f"{_seconds(one.mean)} ({_seconds(one.most)})"


def _seconds(value: float) -> str:
    return f"{value:.1f}" if value < 10 else f"{value:,.0f}"  # noqa: PLR2004 (a width)


def _wrapped(text: str, begin: str) -> Iterator[str]:
    yield from textwrap.wrap(
        text,
        WIDTH,
        initial_indent=begin,
        subsequent_indent=" " * len(begin),
        break_long_words=False,
        break_on_hyphens=False,
    )
