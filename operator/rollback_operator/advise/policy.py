"""What follows from a policy by itself, for its flags and for its remedies: one finding each.

What the operator would refuse, what means nothing, which flags could not be set, which remedies can
never be taken, and for what none is left. It is said before a release is bad.
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
    """What a finding means for the policy."""

    PROBLEM = "Problem"
    """It prevents judging, or what the policy asks for can never be done."""
    WARNING = "Warning"
    """It makes judging slower, blinder, or impossible on a part."""
    NOTE = "Note"


@dataclass(frozen=True, slots=True)
class PolicyFinding:
    """One thing that somebody who writes a policy should know."""

    level: FindingLevel
    path: str
    """The field of the policy."""
    message: str
    remedy: str = ""


_ALWAYS = {
    SignalName.LATENCY_RATIO: (Decimal(1), "a release that is no slower than the old one"),
    SignalName.LATENCY: (Decimal(0), "every release that answers at all"),
    SignalName.MEMORY_GROWTH: (Decimal(0), "every release whose memory grows by a byte"),
}
"""Up to which bound a condition says nothing of a release, and whom it meets."""


def of_policy(survey: Survey) -> Iterator[PolicyFinding]:
    """Say what is wrong whatever Prometheus and the cluster hold."""
    spec = survey.policy.spec
    for one in faults(spec.matrix):
        yield PolicyFinding(FindingLevel.PROBLEM, "spec.matrix", one)
    yield from _thresholds(survey)
    labels = spec.signals.labels
    if labels.pod and labels.pod == labels.route:
        yield PolicyFinding(
            FindingLevel.PROBLEM,
            "spec.signals.labels",
            f"pod and route are both told by the label {labels.pod}: each pod would be a route",
            "name the label that holds the route; without one all requests are judged together",
        )
    if not survey.is_address_allowed:
        yield PolicyFinding(
            FindingLevel.PROBLEM,
            "spec.prometheus.url",
            f"{spec.prometheus.url} is neither the operator's Prometheus nor a Service of this "
            "namespace: by its settings as they are known here the operator refuses it",
            "have its owner list the host (allowedPrometheusHosts of the chart); here it is "
            "ROLLBACK_OPERATOR_ALLOWED_PROMETHEUS_HOSTS",
        )
    if not survey.is_tenant_allowed:
        yield PolicyFinding(
            FindingLevel.PROBLEM,
            "spec.prometheus.tenant",
            f"outside this namespace the operator reads no metrics of tenant "
            f"{spec.prometheus.tenant} for this policy, by its settings as they are known here",
            "have its owner list NAMESPACE/TENANT (allowedTenants of the chart); here it is "
            "ROLLBACK_OPERATOR_ALLOWED_TENANTS",
        )
    if survey.rival:
        yield PolicyFinding(
            FindingLevel.PROBLEM,
            "spec.targetRef",
            f"policy {survey.rival} watches Deployment {spec.target_ref.name} already: of two the "
            "older one acts, and this one would say TargetAlreadyWatched",
            "put into one policy what both say, or delete the other",
        )


def _thresholds(survey: Survey) -> Iterator[PolicyFinding]:
    for row, rule in enumerate(survey.policy.spec.matrix):
        for place, one in enumerate(rule.when):
            bound, whom = _ALWAYS.get(one.signal, (None, ""))
            if bound is not None and one.above is not None and Decimal(one.above) <= bound:
                yield PolicyFinding(
                    FindingLevel.PROBLEM,
                    f"spec.matrix[{row}].when[{place}].above",
                    f"{one.signal} above {one.above} meets {whom}",
                    f"let it be above {bound}, with room for noise",
                )


def of_flags(survey: Survey) -> Iterator[PolicyFinding]:
    """Say which flags could not be set, and what would be done instead."""
    if survey.workload is None:
        return  # that nothing was looked at is said of the target
    unusable = {one.flag: why for one in survey.flags if (why := _unusable(survey, one))}
    helpless = flags.helpless(survey.policy, unusable)
    for one in survey.flags:
        if one.flag in unusable:
            said = f"{flags.named(one.flag)} could not be set: {unusable[one.flag]}"
            left = f"; for {', '.join(helpless)} no other remedy is left" if helpless else ""
            level = FindingLevel.PROBLEM if helpless else FindingLevel.WARNING
            then = "put it right" if helpless else "put it right, or the next remedy is taken"
            yield PolicyFinding(level, one.path, f"{said}{left}", then)
        else:
            yield from _doubts(one, survey.workload)


def _unusable(survey: Survey, facts: FlagFacts) -> str:
    """Say why a flag could not be set, as far as it could be looked at."""
    assert survey.workload is not None
    if isinstance(facts.found, Missing) and not facts.is_gone:
        return ""
    return flags.obstacle(survey.policy, survey.workload.deployment, facts.flag, facts.found)


def _doubts(facts: FlagFacts, workload: Workload) -> Iterator[PolicyFinding]:
    name, found = facts.flag.config_map_ref.name, facts.found
    if not isinstance(found, FlagState):
        yield PolicyFinding(FindingLevel.NOTE, facts.path, f"it was not looked at: {found.message}")
        return
    if flags.taking(workload, facts.flag) is None:
        yield PolicyFinding(
            FindingLevel.WARNING,
            facts.path,
            f"{flags.named(facts.flag)}: {flags.NOT_READ}: it would be passed over",
            "have a container read it by env, envFrom or a volume",
        )
    if found.value == facts.flag.value:
        said = f"{flags.named(facts.flag)}: it has that value already: it would be passed over"
        yield PolicyFinding(FindingLevel.NOTE, facts.path, said)
    if facts.may_set is False:
        yield PolicyFinding(
            FindingLevel.WARNING,
            facts.path,
            f"whoever runs this may not patch ConfigMap {name}: where the chart's admission "
            "policies are installed, the policy would be refused",
            "whether the operator may, the policy's condition Ready tells once it is applied",
        )


def of_remedies(survey: Survey) -> Iterator[PolicyFinding]:
    """Say which remedies are in vain, as a plan takes them: in order, and the first that applies.

    Only a flag that cannot be the cure is passed over for the next one.
    """
    spec = survey.policy.spec
    acting = [one.severity for one in spec.matrix if matrix.acts(one)]
    taken: dict[MatrixSeverity, str] = {}
    for number, remedy in enumerate(spec.remedies):
        path = f"spec.remedies[{number}]"
        meant = [one for one in acting if remedy.applies_to(one)]
        before = sorted({taken[one] for one in meant if one in taken})
        if not meant:
            yield from _for_nothing(path, remedy)
        elif all(one in taken for one in meant):
            yield _behind(path, before)
        elif survey.workload is not None:
            yield from _of_target(path, remedy, survey.workload)
        if remedy.flag is None:
            taken = dict.fromkeys(meant, path) | taken
    for number, rule in enumerate(spec.matrix):
        if matrix.acts(rule) and not any(one.applies_to(rule.severity) for one in spec.remedies):
            yield PolicyFinding(
                FindingLevel.PROBLEM,
                f"spec.matrix[{number}]",
                f"no remedy applies to {rule.severity}: nothing would be done",
                f"add one to spec.remedies for {rule.severity}, or leave its severities out",
            )


def _for_nothing(path: str, remedy: Remedy) -> Iterator[PolicyFinding]:
    if remedy.severities is None:
        return  # of a policy that only reports, the default is no fault
    named = " and ".join(remedy.severities)
    yield PolicyFinding(
        FindingLevel.PROBLEM,
        f"{path}.severities",
        f"it is never taken: no row of spec.matrix does anything about {named} by itself",
        "name a severity whose row has response: Rollback, or Investigate with propose, or give "
        f"{named} such a response",
    )


def _behind(path: str, before: Sequence[str]) -> PolicyFinding:
    verb = "is" if len(before) == 1 else "are"
    return PolicyFinding(
        FindingLevel.PROBLEM,
        path,
        f"it is never taken: {' and '.join(before)} {verb} taken first for each of its severities, "
        "and only a flag that is no cure (DisableFlag) is followed by the next remedy",
        "put it in front of it, give the two other severities, or take it out",
    )


def _of_target(path: str, remedy: Remedy, workload: Workload) -> Iterator[PolicyFinding]:
    template = workload.deployment.template
    if remedy.container is not None and template.image_of(remedy.container) is None:
        yield PolicyFinding(
            FindingLevel.PROBLEM,
            f"{path}.container",
            f"the Deployment's pod template has no container {remedy.container}",
            f"name one that there is: {', '.join(template.containers)}",
        )
    revisions = sorted(one.revision for one in workload.replica_sets)
    if remedy.revision is not None and remedy.revision not in revisions:
        known = ", ".join(str(one) for one in revisions) or "none"
        yield PolicyFinding(
            FindingLevel.PROBLEM,
            f"{path}.revision",
            f"the Deployment keeps no revision {remedy.revision}",
            f"name one of those that there are ({known}), or let the undo go to: LastKnownGood",
        )
