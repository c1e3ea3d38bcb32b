"""`check` of a policy whose remedies set flags: what could not be set, and what would follow."""

from __future__ import annotations

from typing import Any

import pytest

from rollback_operator.advise.findings import find
from rollback_operator.advise.policy import FindingLevel, PolicyFinding
from rollback_operator.advise.survey import FlagFacts, Survey
from rollback_operator.api.reasons import Reason
from rollback_operator.model.samples import Missing
from rollback_operator.model.workload import FlagState
from tests.builders import DISABLE, READ, UNDO, make_policy, make_replica_set, make_workload
from tests.fakes.cluster import flag_state
from tests.unit.advise.test_findings import make_survey

PATH = "spec.remedies[0].flag"


def facts(state: FlagState | Missing | None = None, **changes: Any) -> FlagFacts:
    assert DISABLE.flag is not None
    return FlagFacts(PATH, DISABLE.flag, state or flag_state(), **changes)


def survey(
    facts: FlagFacts, remedies: Any = (DISABLE, UNDO), reads: Any = (READ,), **changes: Any
) -> Survey:
    current = make_replica_set("v2", reads=tuple(reads))
    workload = make_workload(replica_sets=(current, *make_workload().replica_sets[1:]))
    policy = make_policy(remedies=list(remedies))
    return make_survey(**{"policy": policy, "flags": (facts,), "workload": workload} | changes)


def told(survey: Survey) -> list[PolicyFinding]:
    return [one for one in find(survey) if one.path == PATH]


def test_of_a_flag_that_could_be_set_nothing_is_said() -> None:
    assert told(survey(facts(may_set=True))) == []


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (
            facts(Missing(Reason.READ_FAILED, "there is no ConfigMap a"), is_gone=True),
            "there is no",
        ),
        (facts(flag_state(None)), "the ConfigMap has no key FEATURE_NEW_CHECKOUT"),
        (facts(flag_state(is_immutable=True)), "the ConfigMap is immutable"),
    ],
    ids=["no ConfigMap", "no key", "immutable"],
)
def test_what_could_not_be_set_is_a_problem_only_where_nothing_else_is_left(
    found: FlagFacts, said: str
) -> None:
    (mild,) = told(survey(found))
    (grave,) = told(survey(found, (DISABLE,)))

    assert (mild.level, grave.level) == (FindingLevel.WARNING, FindingLevel.PROBLEM)
    assert said in mild.message
    assert "for P1, P2 no other remedy remains" in grave.message


@pytest.mark.parametrize(
    ("seen", "level", "said"),
    [
        pytest.param(
            survey(facts(), reads=()),
            FindingLevel.WARNING,
            "no container of the release reads",
            id="read",
        ),
        pytest.param(
            survey(facts(flag_state("false"))),
            FindingLevel.NOTE,
            "it already has that value",
            id="off",
        ),
        pytest.param(
            survey(facts(may_set=False)),
            FindingLevel.WARNING,
            "you have no permission to patch",
            id="right",
        ),
        pytest.param(
            survey(facts(Missing(Reason.READ_FAILED, "forbidden"))),
            FindingLevel.NOTE,
            "it was not read: forbidden",
            id="unseen",
        ),
    ],
)
def test_what_makes_it_doubtful_is_told(seen: Survey, level: FindingLevel, said: str) -> None:
    (found,) = told(seen)
    assert found.level is level
    assert said in found.message


def test_without_a_cluster_nothing_is_said_of_flags() -> None:
    assert told(survey(facts(), workload=None)) == []
