"""What is found before a deploy: one row for each reason why a bad release would stay."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from rollback_operator.advise.deploy import of_deploy, ordered
from rollback_operator.advise.deploy_facts import DeployFacts
from rollback_operator.advise.deploy_metrics import of_metrics
from rollback_operator.advise.migrations import MigrationFiles
from rollback_operator.advise.policy import FindingLevel
from rollback_operator.advise.survey import SignalFacts, Survey
from rollback_operator.api.checklist import AppliedMigrations
from rollback_operator.api.policy_status import QuarantineEntry
from rollback_operator.api.reasons import ConditionType, Reason
from rollback_operator.api.safety import FreezeWindow, SafetySpec
from rollback_operator.api.v1alpha1 import (
    Health,
    LedgerEntry,
    Mode,
    Remedy,
    Rollback,
    RollbackPolicy,
    RollbackStatus,
    UndoTo,
)
from rollback_operator.model import conditions
from rollback_operator.model.context import Case
from rollback_operator.model.samples import Missing
from rollback_operator.model.surroundings import Mention
from rollback_operator.model.workload import Template, Workload
from tests.builders import (
    NAME,
    T0,
    at,
    make_deployment,
    make_entry,
    make_policy,
    make_replica_set,
    make_rollback,
    make_template,
    make_workload,
)
from tests.unit.advise.test_findings import errors, make_survey

PROBLEM, WARNING = FindingLevel.PROBLEM, FindingLevel.WARNING
NOTE, PASSED = FindingLevel.NOTE, FindingLevel.PASSED


def stored(policy: RollbackPolicy, ready: bool = True, **status: Any) -> RollbackPolicy:
    """As the operator keeps it."""
    said = "" if ready else "the Deployment is paused"
    reason = Reason.WATCHING_TARGET if ready else Reason.TARGET_PAUSED
    made = conditions.condition(ConditionType.READY, ready, reason, said)
    fields = {"conditions": [made], "observed_generation": 1, **status}
    return policy.model_copy(update={"status": policy.status.model_copy(update=fields)})


def deployed(before: Workload, template: Template, **changes: Any) -> Workload:
    """As it is after the deploy."""
    deployment = replace(before.deployment, template=template, **changes)
    number = 1 + max(each.revision for each in before.replica_sets)
    made = make_replica_set(f"v{number}", template=template, created=T0 + 7200)
    return replace(before, deployment=deployment, replica_sets=(*before.replica_sets, made))


def make_facts(
    policy: RollbackPolicy | None = None,
    ledger: Sequence[LedgerEntry] = (make_entry("v2"), make_entry("v1")),
    rollbacks: Sequence[Rollback] = (),
    new: Template | None = None,
    **changes: Any,
) -> DeployFacts:
    """v2 runs and is Good; v3 is about to be deployed, and nothing is wrong with that."""
    before = make_workload("v2")
    case = Case(policy or stored(make_policy()), before, ledger, rollbacks)
    after = deployed(before, new or make_template("v3"))
    return replace(DeployFacts(case=case, after=after, now=at(7200)), **changes)


def findings(facts: DeployFacts) -> list[tuple[str, FindingLevel, str]]:
    return [
        (each.check, each.finding.level, f"{each.finding.path}: {each.finding.message}")
        for each in of_deploy(facts)
    ]


def of(facts: DeployFacts, check: str) -> list[tuple[FindingLevel, str]]:
    return [(level, text) for name, level, text in findings(facts) if name == check]


def safety(**changes: Any) -> RollbackPolicy:
    return stored(make_policy(safety=SafetySpec(**changes)))


def freeze(begin: int, exempt: tuple[str, ...] = ()) -> FreezeWindow:
    moments = (at(7200) + timedelta(minutes=minutes) for minutes in (begin, begin + 120))
    first, last = (f"{moment:%Y-%m-%dT%H:%M}" for moment in moments)
    return FreezeWindow.model_validate(
        {"name": "sale", "from": first, "until": last, "exempt": list(exempt)}
    )


def quarantined(**changes: Any) -> RollbackPolicy:
    fields = {
        "rollback": "ticket-service-1a2b3c4d5e",
        "release": "another",
        "images": [f"registry.example.com/{NAME}:v3"],
        "until_time": at(90_000),
    }
    return stored(make_policy(), quarantine=[QuarantineEntry(**(fields | changes))])


def with_history(limit: int) -> DeployFacts:
    """v2, which runs, is Bad: the target is v1."""
    facts = make_facts(ledger=[make_entry("v2", Health.BAD), make_entry("v1")])
    deployment = replace(facts.after.deployment, history_limit=limit)
    return replace(facts, after=replace(facts.after, deployment=deployment))


def with_down(known: Sequence[str], **downs: bool) -> DeployFacts:
    applied = AppliedMigrations(count=2, names=list(known), time=at(0))
    ledger = [make_entry("v2", migrations=applied)]
    files = {f"{name}.sql": has for name, has in downs.items()}
    return make_facts(ledger=ledger, migrations=MigrationFiles("db", files))


def to_revision(number: int) -> RollbackPolicy:
    remedy = Remedy(type="Undo", to=UndoTo.REVISION, revision=number)
    return stored(make_policy(remedies=[remedy]))


CONFIG = Mention("ConfigMap", "config", "spec.template.spec.containers[0].envFrom[0].configMapRef")
OPTIONAL = replace(CONFIG, is_optional=True)
KEY = replace(CONFIG, key="url")
PULL = Mention("Secret", "pull", "spec.template.spec.imagePullSecrets[0].name", is_optional=True)
UNREAD = Missing(Reason.READ_FAILED, "the user of this command may not get secrets in namespace x")
OPEN = make_rollback(status=RollbackStatus())

ROWS: dict[str, tuple[Callable[[], DeployFacts], str, FindingLevel, str]] = {
    "a policy that is suspended": (
        lambda: make_facts(stored(make_policy(suspend=True))), "Policy", PROBLEM, "suspended",
    ),
    "a policy that is not in the cluster": (
        lambda: make_facts(make_policy(), is_stored=False), "Policy", WARNING, "not in the cluster",
    ),
    "a policy that the deploy changes": (
        lambda: make_facts(is_changed=True), "Policy", NOTE, "changes the policy",
    ),
    "a policy that no operator has seen": (
        lambda: make_facts(make_policy()), "Policy", PROBLEM, "no operator has seen the policy",
    ),
    "a policy that is not ready": (
        lambda: make_facts(stored(make_policy(), ready=False)),
        "Policy", PROBLEM, "Ready is False (TargetPaused): the Deployment is paused",
    ),
    "mode Observe": (
        lambda: make_facts(stored(make_policy(mode=Mode.OBSERVE))),
        "Policy", WARNING, "spec.mode: mode Observe",
    ),
    "a policy that is ready": (make_facts, "Policy", PASSED, "is ready, mode Enforce"),
    "a Deployment that is new": (
        lambda: make_facts(is_first=True), "Target", WARNING, "nothing to go back to",
    ),
    "a target that is Good": (
        make_facts, "Target", PASSED, "revision 2 (registry.example.com/ticket-service:v2) is",
    ),
    "a target that is Assumed": (
        lambda: make_facts(ledger=[make_entry("v2", Health.ASSUMED)]),
        "Target", WARNING, "recorded as Assumed: it was not observed to be Good",
    ),
    "a target that a person has to approve": (
        lambda: make_facts(safety(require_verified=True), [make_entry("v2", Health.ASSUMED)]),
        "Target", WARNING, "waits for an approval (spec.safety.requireVerified)",
    ),
    "no target": (
        lambda: make_facts(ledger=[make_entry(one, Health.BAD) for one in ("v2", "v1")]),
        "Target", PROBLEM, "NoTargetRevision: ",
    ),
    "a target that is not there": (
        lambda: make_facts(to_revision(7)),
        "Target", PROBLEM, "NoTargetRevision: the Deployment has no ReplicaSet of revision 7",
    ),
    "a target that is known bad": (
        lambda: make_facts(to_revision(1), [make_entry("v1", Health.BAD)]),
        "Target", PROBLEM, "TargetKnownBad: ",
    ),
    "no history": (lambda: with_history(0), "Target", PROBLEM, "NoHistory: "),
    "a history that loses the target": (
        lambda: with_history(1),
        "History", PROBLEM, "spec.revisionHistoryLimit: 1: Kubernetes deletes the target",
    ),
    "a history that keeps the target for this release only": (
        lambda: with_history(2), "History", WARNING, "the release after this release deletes",
    ),
    "a history that keeps the target": (lambda: with_history(3), "History", PASSED, "is kept"),
    "the running template": (
        lambda: make_facts(new=make_template("v2")), "Release", NOTE, "nothing is rolled out",
    ),
    "a restart": (
        lambda: make_facts(new=make_template("v2", digest="other")), "Release", NOTE, "a restart",
    ),
    "a restart of pods with a ConfigMap": (
        lambda: make_facts(
            new=make_template("v2", digest="other"),
            mentions={replace(CONFIG, is_configuration=True): True},
        ),
        "Release", NOTE, "no release, unless the content of ConfigMap config has changed",
    ),
    "an image in quarantine": (
        lambda: make_facts(quarantined()),
        "Release", PROBLEM, "ticket-service-1a2b3c4d5e rolled registry.example.com/ticket-",
    ),
    "a release in quarantine": (
        lambda: make_facts(quarantined(images=[], release="release-v3")),
        "Release", PROBLEM, "rolled this release back: in quarantine until 2027-01-16 09:00 UTC",
    ),
    "a quarantine that is over": (
        lambda: make_facts(quarantined(until_time=at(7000))), "Release", PASSED, "neither known",
    ),
    "a release that was found bad": (
        lambda: make_facts(new=make_template("v1", digest="d"), ledger=[
            make_entry("v2"), make_entry("v1", Health.BAD, reason="P1: all purchases fail"),
        ]),
        "Release", PROBLEM, "the release of revision 1, recorded as Bad (P1: all purchases fail)",
    ),
    "a Deployment that the API server refuses": (
        lambda: make_facts(refused="spec.selector: field is immutable"),
        "Release", PROBLEM, "spec: the API server refuses the Deployment: spec.selector",
    ),
    "a template that could not be compared": (
        lambda: make_facts(is_compared=False), "Release", NOTE, "only its images were compared",
    ),
    "an object that is gone": (
        lambda: make_facts(mentions={CONFIG: False}),
        "References", PROBLEM, "envFrom[0].configMapRef: ConfigMap config does not exist",
    ),
    "a key that is gone": (
        lambda: make_facts(mentions={KEY: False}),
        "References", PROBLEM, "ConfigMap config, or its key url, does not exist",
    ),
    "an optional object that is gone": (
        lambda: make_facts(mentions={OPTIONAL: False}), "References", NOTE, "but is optional",
    ),
    "credentials of the registry that are gone": (
        lambda: make_facts(mentions={PULL: False}),
        "References", WARNING, "Secret pull does not exist: images are pulled without it",
    ),
    "an object that may not be read": (
        lambda: make_facts(mentions={PULL: UNREAD}),
        "References", WARNING, "Secret pull was not checked: the user of this command may not get",
    ),
    "objects that are there": (
        lambda: make_facts(mentions={CONFIG: True, KEY: True}),
        "References", PASSED, "2 references to objects and keys: all exist",
    ),
    "a rollback that is open": (
        lambda: make_facts(rollbacks=[OPEN]),
        "Response", PROBLEM, "a bad release would not be rolled back at P1 and P2: RollbackActive",
    ),
    "a request of a person": (
        lambda: make_facts(requests=("by-hand",)), "Response", PROBLEM, "Rollback by-hand was",
    ),
    "a freeze": (
        lambda: make_facts(safety(freeze=[freeze(-60)])),
        "Response", PROBLEM, "at P1 and P2: FreezeActive: spec.safety.freeze: freeze sale until",
    ),
    "a freeze that exempts P1": (
        lambda: make_facts(safety(freeze=[freeze(-60, ("P1",))])),
        "Response", WARNING, "would not be rolled back at P2: FreezeActive",
    ),
    "a freeze that begins soon": (
        lambda: make_facts(safety(freeze=[freeze(30)])),
        "Response", WARNING, "a freeze begins in 30 minutes",
    ),
    "a freeze that begins later": (
        lambda: make_facts(safety(freeze=[freeze(90)])), "Response", PASSED, "at P1 or P2",
    ),
    "a migration without a way back": (
        lambda: with_down([], **{"007": True, "008": False}),
        "Migrations", PROBLEM, "db/008.sql: it has no down migration",
    ),
    "a migration that the target knows": (
        lambda: with_down(["008"], **{"007": True, "008": False}),
        "Migrations", PASSED, "db: each of 1 migrations has a down migration",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("make", "check", "level", "text"), ROWS.values(), ids=ROWS)
def test_a_deploy_is_judged(
    make: Callable[[], DeployFacts], check: str, level: FindingLevel, text: str
) -> None:
    listed = of(make(), check)

    assert [each for each in listed if each[0] is level and text in each[1]], listed


def test_where_nothing_is_wrong_everything_has_passed() -> None:
    assert {level for _, level, _ in findings(make_facts())} == {PASSED}


def test_a_release_that_is_still_under_watch_is_no_target() -> None:
    facts = make_facts(ledger=[make_entry("v2", Health.UNKNOWN), make_entry("v1")])

    ((level, text),) = of(facts, "Target")
    assert level is PASSED
    assert "revision 1 " in text


@pytest.mark.parametrize(("health", "level"), [(Health.GOOD, PASSED), (Health.UNKNOWN, WARNING)])
def test_where_nothing_is_deployed_the_only_revision_is_what_the_next_goes_back_to(
    health: Health, level: FindingLevel
) -> None:
    before = make_workload("v2", older=())
    case = Case(stored(make_policy()), before, [make_entry("v2", health)], ())

    ((given, said),) = of(DeployFacts(case=case, after=before, now=at(7200)), "Target")

    assert given is level, said
    assert f"revision 2 ({before.deployment.template.images[0]}) is recorded as {health}" in said


def test_a_first_release_is_neither_known_nor_compared() -> None:
    before = Workload(make_deployment("v1"))
    facts = DeployFacts(
        case=Case(stored(make_policy()), before, (), ()),
        after=deployed(make_workload("v1", older=()), make_template("v1")),
        now=at(0),
        is_first=True,
    )

    assert [level for _, level, _ in findings(facts)].count(PROBLEM) == 0


# -- the survey ------------------------------------------------------------------------------------

AWAY = Missing(Reason.PROVIDER_UNREACHABLE, "GET http://prometheus: connection refused")


def unreachable() -> Survey:
    facts = SignalFacts("spec.signals.requests", "requests_total", missing=AWAY)
    return make_survey(requests=facts, errors=errors(), control=AWAY)


def of_survey(facts: DeployFacts, survey: Survey) -> list[tuple[str, FindingLevel, str]]:
    made = of_metrics(facts, survey)
    return [(each.check, each.finding.level, each.finding.message) for each in made]


def test_metrics_that_suffice_are_stated_with_the_time_of_a_proof() -> None:
    listed = of_survey(make_facts(), make_survey())

    assert ("Metrics", PASSED, "12 series, 48 requests a second") in listed
    proofs = [text for check, _, text in listed if check == "Proof"]
    assert any(text.startswith("P1: 100% failed requests of /api/v1/tickets/p") for text in proofs)


def test_a_prometheus_out_of_reach_of_the_pipeline_is_no_problem() -> None:
    listed = of_survey(make_facts(), unreachable())

    assert [level for check, level, _ in listed if check == "Metrics"] == [WARNING]


def test_a_prometheus_that_was_named_must_answer() -> None:
    listed = of_survey(make_facts(is_prometheus_given=True), unreachable())

    assert [level for check, level, _ in listed if check == "Metrics"] == [PROBLEM]


def test_what_the_operator_says_of_its_metrics_counts_where_they_are_out_of_reach() -> None:
    kind, reason = ConditionType.METRICS_AVAILABLE, Reason.SAMPLES_STALE
    said = conditions.condition(kind, False, reason, "the newest sample is 300 s old")
    policy = stored(make_policy())
    status = policy.status.model_copy(update={"conditions": [*policy.status.conditions, said]})
    facts = make_facts(policy.model_copy(update={"status": status}))

    ((_, level, text),) = [each for each in of_survey(facts, unreachable()) if each[0] == "Metrics"]
    assert level is PROBLEM
    assert text == "MetricsAvailable is False (SamplesStale): the newest sample is 300 s old"


def test_a_first_release_has_no_metrics_yet() -> None:
    none = Missing(Reason.NO_SERIES, "there are no series")
    facts = SignalFacts("spec.signals.requests", "requests_total", missing=none)
    survey = make_survey(requests=facts, errors=errors())

    levels = [
        [level for check, level, _ in of_survey(make_facts(is_first=is_first), survey)
         if check == "Metrics"]
        for is_first in (False, True)
    ]  # fmt: skip

    assert levels == [[PROBLEM], [NOTE]]


def test_what_the_policy_s_condition_says_is_not_said_again() -> None:
    paused = make_workload("v2", deployment=make_deployment("v2", paused=True))
    survey = make_survey(workload=paused)
    (said,) = [text for _, level, text in of_survey(make_facts(), survey) if level is PROBLEM]
    known = conditions.condition(ConditionType.READY, False, Reason.TARGET_PAUSED, said)
    facts = make_facts(stored(make_policy(), conditions=[known]))

    listed = ordered([*of_deploy(facts), *of_metrics(facts, survey)])

    assert [each.finding.level for each in listed].count(PROBLEM) == 1
    assert listed[0].finding.level is PROBLEM
