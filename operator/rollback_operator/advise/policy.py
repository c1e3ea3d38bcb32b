"""Findings on a policy, its flags and its remedies, before a release is bad.

They report what the operator would refuse, conditions without meaning, flags that could not be set,
remedies that are never used, and severities without a remedy.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from rollback_operator.advise.survey import FlagFacts, Survey
from rollback_operator.api.v1alpha1 import MatrixSeverity, Remedy, SignalName
from rollback_operator.decide import matrix
from rollback_operator.decide.matrix import faults
from rollback_operator.model.samples import Missing
from rollback_operator.model.workload import FlagState, Workload
from rollback_operator.remedies import flags


class FindingLevel(StrEnum):
    """The importance of a finding."""

    PROBLEM = "Problem"
    """It prevents an evaluation, or the policy requests something that is impossible."""
    WARNING = "Warning"
    """It delays or limits the evaluation."""
    NOTE = "Note"
    PASSED = "Passed"
    """Nothing is wrong; `preflight` lists what it has checked."""


@dataclass(frozen=True, slots=True)
class PolicyFinding:
    """Advice to the author of a policy."""

    level: FindingLevel
    path: str
    """The field of the policy."""
    message: str
    remedy: str = ""


def problem(path: str, message: str, remedy: str = "") -> PolicyFinding:
    """Make a finding that prevents an evaluation or an act."""
    return PolicyFinding(FindingLevel.PROBLEM, path, message, remedy)


def warning(path: str, message: str, remedy: str = "") -> PolicyFinding:
    """Make a finding that delays or limits the evaluation."""
    return PolicyFinding(FindingLevel.WARNING, path, message, remedy)


def note(path: str, message: str, remedy: str = "") -> PolicyFinding:
    """Make a finding for information."""
    return PolicyFinding(FindingLevel.NOTE, path, message, remedy)


def passed(path: str, message: str) -> PolicyFinding:
    """Make a finding that nothing is wrong."""
    return PolicyFinding(FindingLevel.PASSED, path, message)


_ALWAYS = {
    SignalName.LATENCY_RATIO: (Decimal(1), "a release that is no slower than the old revision"),
    SignalName.LATENCY: (Decimal(0), "every release that answers requests"),
    SignalName.MEMORY_GROWTH: (Decimal(0), "every release whose memory grows"),
}
"""The bound up to which a condition is always met, and what meets it."""


def of_policy(survey: Survey) -> Iterator[PolicyFinding]:
    """List the faults that do not depend on Prometheus or the cluster."""
    spec = survey.policy.spec
    for fault in faults(spec.matrix):
        yield problem("spec.matrix", fault)
    yield from _thresholds(survey)
    labels = spec.signals.labels
    if labels.pod and labels.pod == labels.route:
        yield problem(
            "spec.signals.labels",
            f"the label {labels.pod} is set for both pod and route: each pod would be a route",
            "name the label of the route; without a label all requests are judged together",
        )
    if not survey.is_address_allowed:
        yield problem(
            "spec.prometheus.url",
            f"{spec.prometheus.url} is neither the operator's Prometheus nor a Service of this "
            "namespace: with the settings known here the operator refuses it",
            "add the host to allowedPrometheusHosts of the chart; for this command to "
            "ROLLBACK_OPERATOR_ALLOWED_PROMETHEUS_HOSTS",
        )
    if not survey.is_tenant_allowed:
        yield problem(
            "spec.prometheus.tenant",
            f"with the settings known here the operator reads no metrics of tenant "
            f"{spec.prometheus.tenant} from a Prometheus outside this namespace for this policy",
            "add NAMESPACE/TENANT to allowedTenants of the chart; for this command to "
            "ROLLBACK_OPERATOR_ALLOWED_TENANTS",
        )
    if survey.rival:
        yield problem(
            "spec.targetRef",
            f"policy {survey.rival} already watches Deployment {spec.target_ref.name}: only the "
            "older "
            "policy acts, and the other has the reason TargetAlreadyWatched",
            "merge the two policies, or delete the other",
        )


def _thresholds(survey: Survey) -> Iterator[PolicyFinding]:
    for row, rule in enumerate(survey.policy.spec.matrix):
        for place, condition in enumerate(rule.when):
            bound, whom = _ALWAYS.get(condition.signal, (None, ""))
            if (
                bound is not None
                and condition.above is not None
                and Decimal(condition.above) <= bound
            ):
                yield problem(
                    f"spec.matrix[{row}].when[{place}].above",
                    f"{condition.signal} above {condition.above} meets {whom}",
                    f"set it above {bound}, with a margin for noise",
                )


def of_secrets(survey: Survey) -> Iterator[PolicyFinding]:
    """List the Secrets that a rollback needs and cannot use, or that were not checked."""
    for facts in survey.secrets:
        if facts.is_known:
            yield problem(facts.path, facts.message)
        else:
            yield note(facts.path, f"not checked: {facts.message}")


def of_flags(survey: Survey) -> Iterator[PolicyFinding]:
    """Report the flags that could not be set, and the remedy that would follow."""
    if survey.workload is None:
        return  # the findings of the target report it
    unusable = {facts.flag: why for facts in survey.flags if (why := _unusable(survey, facts))}
    helpless = flags.helpless(survey.policy, unusable)
    for facts in survey.flags:
        if facts.flag in unusable:
            message = f"{flags.named(facts.flag)} could not be set: {unusable[facts.flag]}"
            left = f"; for {', '.join(helpless)} no other remedy remains" if helpless else ""
            level = FindingLevel.PROBLEM if helpless else FindingLevel.WARNING
            then = "correct it" if helpless else "correct it; otherwise the next remedy is used"
            yield PolicyFinding(level, facts.path, f"{message}{left}", then)
        else:
            yield from _doubts(facts, survey.workload)


def _unusable(survey: Survey, facts: FlagFacts) -> str:
    """Return why a flag could not be set; empty: it could be, or it was not read."""
    assert survey.workload is not None
    if isinstance(facts.state, Missing) and not facts.is_gone:
        return ""
    return flags.obstacle(survey.policy, survey.workload.deployment, facts.flag, facts.state)


def _doubts(facts: FlagFacts, workload: Workload) -> Iterator[PolicyFinding]:
    name, state = facts.flag.key[0], facts.state
    if not isinstance(state, FlagState):
        yield note(facts.path, f"it was not read: {state.message}")
        return
    if flags.taking(workload, facts.flag) is None:
        yield warning(
            facts.path,
            f"{flags.named(facts.flag)}: {flags.NOT_READ}: it would be skipped",
            "let a container read it by env, envFrom or a volume",
        )
    if state.value == facts.flag.value:
        message = f"{flags.named(facts.flag)}: it already has that value: it would be skipped"
        yield note(facts.path, message)
    if facts.may_set is False:
        yield warning(
            facts.path,
            f"you have no permission to patch ConfigMap {name}: the chart's admission policies "
            "would "
            "refuse this policy",
            "request the permission; the condition Ready of the applied policy reports the "
            "operator's own",
        )


def of_remedies(survey: Survey) -> Iterator[PolicyFinding]:
    """Report the remedies that are never used: a plan uses the first that applies.

    Only a flag that cannot be the cure is skipped for the next remedy.
    """
    spec = survey.policy.spec
    acting = [item.severity for item in spec.matrix if matrix.acts(item)]
    taken: dict[MatrixSeverity, str] = {}
    for number, remedy in enumerate(spec.remedies):
        path = f"spec.remedies[{number}]"
        meant = [item for item in acting if remedy.applies_to(item)]
        before = sorted({taken[item] for item in meant if item in taken})
        if not meant:
            yield from _for_nothing(path, remedy)
        elif all(item in taken for item in meant):
            yield _behind(path, before)
        elif survey.workload is not None:
            yield from _of_target(path, remedy, survey.workload)
        if remedy.flag is None:
            taken = dict.fromkeys(meant, path) | taken
    for number, rule in enumerate(spec.matrix):
        if matrix.acts(rule) and not any(item.applies_to(rule.severity) for item in spec.remedies):
            yield problem(
                f"spec.matrix[{number}]",
                f"no remedy applies to {rule.severity}: the operator would not act",
                f"add a remedy for {rule.severity} to spec.remedies, or remove its severities",
            )


def _for_nothing(path: str, remedy: Remedy) -> Iterator[PolicyFinding]:
    if remedy.severities is None:
        return  # a policy that only reports may keep the default
    named = " and ".join(remedy.severities)
    yield problem(
        f"{path}.severities",
        f"it is never used: no rule of spec.matrix acts on {named}",
        "name a severity whose rule has response: Rollback, or Investigate with propose, or give "
        f"{named} such a response",
    )


def _behind(path: str, before: Sequence[str]) -> PolicyFinding:
    verb = "is" if len(before) == 1 else "are"
    return problem(
        path,
        f"it is never used: {' and '.join(before)} {verb} used first for each of its severities, "
        "and only a flag that is no cure (DisableFlag) is followed by the next remedy",
        "place it first, give the two different severities, or remove it",
    )


def _of_target(path: str, remedy: Remedy, workload: Workload) -> Iterator[PolicyFinding]:
    template = workload.deployment.template
    if remedy.container is not None and template.image_of(remedy.container) is None:
        yield problem(
            f"{path}.container",
            f"the Deployment's pod template has no container {remedy.container}",
            f"use one of: {', '.join(template.containers)}",
        )
    revisions = sorted(item.revision for item in workload.replica_sets)
    if remedy.revision is not None and remedy.revision not in revisions:
        known = ", ".join(str(item) for item in revisions) or "none"
        yield problem(
            f"{path}.revision",
            f"the Deployment keeps no revision {remedy.revision}",
            f"use one of: {known}; or set to: LastKnownGood",
        )
