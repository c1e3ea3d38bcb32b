"""The cluster's budget: what counts, and what follows when it is used up."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from rollback_operator.api.reasons import Reason
from rollback_operator.api.v1alpha1 import (
    Mode,
    Outcome,
    Rollback,
    RollbackStatus,
    StepName,
    StepStatus,
)
from rollback_operator.decide.guards import load_of
from rollback_operator.decide.plan import make_plan
from rollback_operator.model.context import Load, Refusal, RollbackBudget
from rollback_operator.remedies.attempts import name_of
from tests.builders import (
    at,
    make_case,
    make_ended,
    make_policy,
    make_rollback,
    make_step,
    make_trigger_record,
)

LIMITS = RollbackBudget(max_concurrent=2, max_per_day=3)


def planned(**changes: Any) -> Rollback:
    made = make_rollback(**changes)
    metadata = made.metadata.model_copy(update={"name": name_of(made.spec)})
    return made.model_copy(update={"metadata": metadata})


def by_hand() -> Rollback:
    made = planned()
    return made.model_copy(
        update={"status": make_ended().model_copy(update={"plan": made.spec.plan})}
    )


def waiting(*steps: StepStatus) -> Rollback:
    asked = steps or (make_step(StepName.AWAITING_APPROVAL, 1),)
    return planned(status=RollbackStatus(steps=list(asked), approval_deadline_time=at(3600)))


def approved(seconds: float) -> Rollback:
    asked = make_step(StepName.AWAITING_APPROVAL, 1, seconds)
    return waiting(asked, make_step(StepName.UNDO, seconds))


def left() -> RollbackStatus:
    done = make_step(StepName.UNDO, 20, 21)
    return make_ended(Outcome.ABANDONED).model_copy(update={"steps": [done]})


@pytest.mark.parametrize(
    ("one", "counted"),
    [
        pytest.param(planned(), (1, 1), id="runs"),
        pytest.param(planned(status=make_ended()), (0, 1), id="over"),
        pytest.param(planned(status=make_ended(Outcome.ABANDONED)), (0, 0), id="nothing was done"),
        pytest.param(planned(status=left()), (0, 1), id="given up after its act"),
        pytest.param(
            planned(status=make_ended(), trigger=make_trigger_record(decided_time=at(-86400))),
            (0, 0),
            id="a day ago",
        ),
        pytest.param(planned(mode=Mode.OBSERVE), (0, 0), id="recorded only"),
        pytest.param(by_hand(), (0, 0), id="asked for"),
        pytest.param(waiting(), (0, 1), id="waits for a person"),
        pytest.param(approved(15), (1, 1), id="runs after an approval"),
    ],
)
def test_what_is_done_by_itself_counts(one: Rollback, counted: tuple[int, int]) -> None:
    load = load_of([one], one.metadata.namespace, LIMITS, at(20))
    assert (load.active, load.day) == counted


def elsewhere(number: int, namespace: str = "tenant") -> Rollback:
    made = planned(trigger=make_trigger_record(decided_time=at(0)))
    metadata = made.metadata.model_copy(update={"namespace": namespace, "uid": f"uid-{number}"})
    return made.model_copy(update={"metadata": metadata})


def test_another_namespace_uses_up_half_of_each_limit_at_most() -> None:
    budget = RollbackBudget(max_concurrent=10, max_per_day=10)
    theirs = [elsewhere(number) for number in range(30)]

    ours = load_of(theirs, "production", budget, at(20))

    assert (ours.active, ours.day) == (5, 5)
    assert not ours.exhausted
    assert load_of(theirs, "tenant", budget, at(20)).exhausted


def test_a_few_namespaces_of_one_team_hold_nobody_else_up() -> None:
    budget = RollbackBudget(max_concurrent=10, max_per_day=10)
    theirs = [elsewhere(number, f"team-{number % 4}") for number in range(40)]

    ours = load_of(theirs, "production", budget, at(20))

    assert (ours.active, ours.day) == (5 + 2 + 1 + 1, 5 + 2 + 1 + 1)
    assert not ours.exhausted


def test_many_that_go_bad_at_once_are_not_rolled_back_wherever_they_are() -> None:
    budget = RollbackBudget(max_concurrent=10)
    everywhere = [elsewhere(number, f"team-{number}") for number in range(10)]

    assert load_of(everywhere, "production", budget, at(20)).exhausted
    assert not load_of(everywhere[1:], "production", budget, at(20)).exhausted


def test_a_verification_that_lasts_for_hours_holds_others_up_for_a_quarter_of_an_hour() -> None:
    budget = RollbackBudget(max_concurrent=2)
    long = planned(trigger=make_trigger_record(decided_time=at(0)))
    namespace = long.metadata.namespace

    assert load_of([long], namespace, budget, at(14 * 60.0)).active == 1
    assert load_of([long], namespace, budget, at(16 * 60.0)).active == 0


def test_an_approved_rollback_is_active_from_its_first_step_on() -> None:
    late = approved(3000.0)
    namespace = late.metadata.namespace

    assert load_of([late], namespace, LIMITS, at(3060)).active == 1
    assert load_of([late], namespace, LIMITS, at(3000 + 16 * 60.0)).active == 0


@pytest.mark.parametrize(
    ("load", "said"),
    [
        pytest.param(Load(LIMITS, 1, 2), "", id="below the limit"),
        pytest.param(Load(LIMITS, 2, 2), "--max-concurrent is 2", id="too many at a time"),
        pytest.param(Load(LIMITS, 0, 3), "--max-rollbacks-per-day is 3", id="too many a day"),
        pytest.param(Load(RollbackBudget(), 99, 99), "", id="no limit"),
    ],
)
def test_past_a_limit_nothing_is_planned(load: Load, said: str) -> None:
    case = replace(make_case(), load=load)
    found = make_plan(case, case.policy.spec.matrix[0], make_trigger_record(), at(20))
    assert isinstance(found, Refusal) == bool(said)
    if isinstance(found, Refusal):
        assert found.reason is Reason.CLUSTER_BUDGET_EXHAUSTED
        assert said in found.message


def test_what_is_only_recorded_needs_no_budget() -> None:
    case = replace(make_case(policy=make_policy(mode=Mode.OBSERVE)), load=Load(LIMITS, 9, 9))
    found = make_plan(case, case.policy.spec.matrix[0], make_trigger_record(), at(20))
    assert not isinstance(found, Refusal)
