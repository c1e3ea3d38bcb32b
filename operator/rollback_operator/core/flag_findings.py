"""What follows for the flags that remedies set: told before a release is bad."""

from collections.abc import Iterator

from rollback_operator.core import flags
from rollback_operator.core.config_map import FlagState
from rollback_operator.core.finding import Finding, Level
from rollback_operator.core.reading import Missing
from rollback_operator.core.survey import FlagFacts, Survey
from rollback_operator.core.workload import Workload


def of_flags(survey: Survey) -> Iterator[Finding]:
    """Say which flags could not be set, and what would be done instead."""
    if survey.workload is None:
        return  # that nothing was looked at is said of the target
    unusable = {one.flag: why for one in survey.flags if (why := _unusable(survey, one))}
    helpless = flags.helpless(survey.policy, unusable)
    for one in survey.flags:
        if one.flag in unusable:
            said = f"{flags.named(one.flag)} could not be set: {unusable[one.flag]}"
            left = f"; for {', '.join(helpless)} no other remedy is left" if helpless else ""
            level = Level.PROBLEM if helpless else Level.WARNING
            then = "put it right" if helpless else "put it right, or the next remedy is taken"
            yield Finding(level, one.path, f"{said}{left}", then)
        else:
            yield from _doubts(one, survey.workload)


def _unusable(survey: Survey, facts: FlagFacts) -> str:
    """Say why a flag could not be set, as far as it could be looked at."""
    assert survey.workload is not None
    if isinstance(facts.found, Missing) and not facts.is_gone:
        return ""
    return flags.obstacle(survey.policy, survey.workload.deployment, facts.flag, facts.found)


def _doubts(facts: FlagFacts, workload: Workload) -> Iterator[Finding]:
    name, found = facts.flag.config_map_ref.name, facts.found
    if not isinstance(found, FlagState):
        yield Finding(Level.NOTE, facts.path, f"it was not looked at: {found.message}")
        return
    if flags.taking(workload, facts.flag) is None:
        yield Finding(
            Level.WARNING,
            facts.path,
            f"{flags.named(facts.flag)}: {flags.NOT_READ}: it would be passed over",
            "have a container read it by env, envFrom or a volume",
        )
    if found.value == facts.flag.value:
        said = f"{flags.named(facts.flag)}: it has that value already: it would be passed over"
        yield Finding(Level.NOTE, facts.path, said)
    if facts.may_set is False:
        yield Finding(
            Level.WARNING,
            facts.path,
            f"whoever runs this may not patch ConfigMap {name}: where the chart's admission "
            "policies are installed, the policy would be refused",
            "whether the operator may, the policy's condition Ready tells once it is applied",
        )
