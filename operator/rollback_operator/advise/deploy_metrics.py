"""Findings before a deploy from a survey: whether its policy can judge the release, how soon. Pure.

The findings are those of `rollback-operator check`.
"""

import math
from collections.abc import Iterator

from rollback_operator.advise.deploy_facts import DeployCheck, DeployFacts, DeployFinding
from rollback_operator.advise.findings import find as findings_of
from rollback_operator.advise.outlook import outlook
from rollback_operator.advise.policy import PolicyFinding, note, passed, problem, warning
from rollback_operator.advise.survey import Survey
from rollback_operator.api.reasons import ConditionType, Reason
from rollback_operator.model.conditions import find

_OF_METRICS = ("spec.signals", "spec.prometheus")
_OF_PROOF = "spec.matrix, "


def of_metrics(facts: DeployFacts, survey: Survey) -> Iterator[DeployFinding]:
    """List the findings of a survey that was made for the target after the deploy."""
    missing = survey.requests.missing
    is_away = missing is not None and missing.reason is Reason.PROVIDER_UNREACHABLE
    is_hidden = missing is not None and (
        (is_away and not facts.is_prometheus_given) or (not is_away and facts.is_first)
    )
    for finding in findings_of(survey):
        if not (is_hidden and finding.path.startswith(_OF_METRICS)):
            yield DeployFinding(_check_of(finding), finding)
    if is_hidden and missing is not None:
        hidden = _away(facts, missing.message) if is_away else _none_yet(missing.message)
        yield DeployFinding(DeployCheck.METRICS, hidden)
    elif missing is None and survey.errors.missing is None:
        series = len(survey.requests.series)
        message = f"{series} series, {survey.rate:.3g} requests a second"
        yield DeployFinding(DeployCheck.METRICS, passed(survey.requests.path, message))
    for finding in _proof(survey):
        yield DeployFinding(DeployCheck.PROOF, finding)


def _check_of(finding: PolicyFinding) -> DeployCheck:
    if finding.path.startswith(_OF_METRICS):
        return DeployCheck.METRICS
    return DeployCheck.PROOF if finding.path.startswith(_OF_PROOF) else DeployCheck.POLICY


def _none_yet(why: str) -> PolicyFinding:
    return note(
        "spec.signals",
        f"before its first release it has no metrics: {why}",
        "run `rollback-operator check` once it serves requests",
    )


def _away(facts: DeployFacts, why: str) -> PolicyFinding:
    """Take the operator's word where a pipeline does not reach Prometheus."""
    known = find(facts.case.policy.status.conditions, ConditionType.METRICS_AVAILABLE)
    if known is not None and known.status == "False":
        message = f"MetricsAvailable is False ({known.reason}): {known.message}"
        return problem("spec.signals", message)
    return warning(
        "spec.prometheus",
        f"the metrics were not checked, because Prometheus is not reachable from here: {why}",
        "set --prometheus to an address that is reachable from here, such as a forwarded port",
    )


def _proof(survey: Survey) -> Iterator[PolicyFinding]:
    """State how soon the worst fault of each severity is proved, by Prometheus alone."""
    stated: set[tuple[str, str | None]] = set()
    for row in outlook(survey):
        seconds, scope = row.by_prometheus.mean, (row.severity, row.route)
        if not row.severity or not math.isfinite(seconds) or scope in stated:
            continue
        stated.add(scope)
        yield passed(
            "spec.matrix",
            f"{row.severity}: {row.fault:.0%} failed requests of {row.route or 'all routes'} are "
            f"proved in {seconds:.0f} s on average",
        )
