"""What follows for a policy's remedies: which can never be taken, and for what none is left."""

from collections.abc import Iterator, Sequence

from rollback_operator.api.v1alpha1 import MatrixSeverity, Remedy
from rollback_operator.core import matrix
from rollback_operator.core.finding import Finding, Level
from rollback_operator.core.survey import Survey
from rollback_operator.core.workload import Workload


def of_remedies(survey: Survey) -> Iterator[Finding]:
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
            yield Finding(
                Level.PROBLEM,
                f"spec.matrix[{number}]",
                f"no remedy applies to {rule.severity}: nothing would be done",
                f"add one to spec.remedies for {rule.severity}, or leave its severities out",
            )


def _for_nothing(path: str, remedy: Remedy) -> Iterator[Finding]:
    if remedy.severities is None:
        return  # of a policy that only reports, the default is no fault
    named = " and ".join(remedy.severities)
    yield Finding(
        Level.PROBLEM,
        f"{path}.severities",
        f"it is never taken: no row of spec.matrix does anything about {named} by itself",
        "name a severity whose row has response: Rollback, or Investigate with propose, or give "
        f"{named} such a response",
    )


def _behind(path: str, before: Sequence[str]) -> Finding:
    verb = "is" if len(before) == 1 else "are"
    return Finding(
        Level.PROBLEM,
        path,
        f"it is never taken: {' and '.join(before)} {verb} taken first for each of its severities, "
        "and only a flag that is no cure (DisableFlag) is followed by the next remedy",
        "put it in front of it, give the two other severities, or take it out",
    )


def _of_target(path: str, remedy: Remedy, workload: Workload) -> Iterator[Finding]:
    template = workload.deployment.template
    if remedy.container is not None and template.image_of(remedy.container) is None:
        yield Finding(
            Level.PROBLEM,
            f"{path}.container",
            f"the Deployment's pod template has no container {remedy.container}",
            f"name one that there is: {', '.join(template.containers)}",
        )
    revisions = sorted(one.revision for one in workload.replica_sets)
    if remedy.revision is not None and remedy.revision not in revisions:
        known = ", ".join(str(one) for one in revisions) or "none"
        yield Finding(
            Level.PROBLEM,
            f"{path}.revision",
            f"the Deployment keeps no revision {remedy.revision}",
            f"name one of those that there are ({known}), or let the undo go to: LastKnownGood",
        )
