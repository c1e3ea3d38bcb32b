"""Each item of the checklist: what is seen of the surroundings, what is said, what it leads to."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollback_operator.api.checklist import (
    CheckItem,
    CheckName,
    CheckResult,
    CheckRule,
    Consequence,
)
from rollback_operator.api.reasons import Reason
from rollback_operator.api.remedy import AutoscalerPlan
from rollback_operator.api.v1alpha1 import (
    Health,
    Mode,
    Outcome,
    Pace,
    Remedy,
    RemedyType,
    Rollback,
    RollbackStatus,
    SafetySpec,
    StepName,
)
from rollback_operator.evidence.counters import Evidence
from rollback_operator.evidence.watch import Watch
from rollback_operator.model.controllers import Owner
from rollback_operator.model.samples import Missing
from rollback_operator.model.surroundings import (
    Amounts,
    ClusterCapacity,
    Node,
    Quota,
    Reference,
    Usage,
)
from rollback_operator.model.workload import Workload, floor_of
from rollback_operator.rollback import checklist, checks
from rollback_operator.rollback.checks import ChecklistFacts
from tests.builders import (
    T0,
    at,
    make_autoscaler,
    make_deployment,
    make_policy,
    make_ref,
    make_replica_set,
    make_rollback,
    make_step,
    make_template,
    make_workload,
)
from tests.fakes.surroundings import WITH_CAPACITY

PASSED, FAILED, WARNED, SKIPPED = CheckResult
UNREAD = Missing(Reason.READ_FAILED, "forbidden")
SCALE = Remedy(type=RemedyType.SCALE, replicas=6)
SCALING = make_rollback(
    remedy=Remedy(type=RemedyType.SCALE, replicas=8), to_revision=None, pace=Pace.NORMAL
)
BOUNDED = make_rollback(
    remedy=SCALING.spec.remedy,
    to_revision=None,
    autoscaler=AutoscalerPlan(name="shop-hpa", uid="hpa-uid", restore_after_seconds=3600),
)
PIN = Remedy(type=RemedyType.PIN_IMAGE, container="ticket-service", image="elsewhere/shop:v0")
SECRET, OPTIONAL = Reference("Secret", "key"), Reference("ConfigMap", "hints", is_optional=True)
REQUESTS = Amounts(0.5, 2.0**28)


def make_facts(rollback: Rollback | None = None, **changes: Any) -> ChecklistFacts:
    watch = Watch("digest-v2", T0, replace(Evidence(T0), seen={"pod": T0 + 15}), missing=None)
    fields: dict[str, Any] = {
        "rollback": rollback or make_rollback(),
        "workload": make_workload(),
        "now": at(20),
        "policy": make_policy(),
        "watch": watch,
        "cluster": WITH_CAPACITY,
    }
    return ChecklistFacts(**(fields | changes))


def with_deployment(**changes: Any) -> Workload:
    return make_workload(deployment=make_deployment(**changes))


def with_target(**changes: Any) -> Workload:
    sets = (make_replica_set("v2"), make_replica_set("v1", **changes))
    return make_workload(replica_sets=sets)


def known(health: Health) -> Rollback:
    return make_rollback(to_revision=make_ref("v1", health=health))


def another(*steps: StepName) -> Rollback:
    status = RollbackStatus(steps=[make_step(one, 5) for one in steps])
    return make_rollback("another", status)


def busy(cores: float) -> ClusterCapacity:
    return replace(WITH_CAPACITY, usage=(Usage("node-1", Amounts(cores, 0)),))


BEYOND = replace(WITH_CAPACITY, nodes=(replace(WITH_CAPACITY.nodes[0], images=frozenset()),))
CASES: dict[str, tuple[Any, ChecklistFacts, CheckResult, str]] = {
    "the bad revision": (
        checks.bad_revision,
        make_facts(),
        PASSED,
        r"revision 2 \(hashv2\) with registry.*:v2, whose template names no commit",
    ),
    "its commit": (
        checks.bad_revision,
        make_facts(
            workload=make_workload(
                deployment=make_deployment(template=make_template(commit="0123abcd"))
            )
        ),
        PASSED,
        "built from commit 0123abcd",
    ),
    "a good target": (checks.known_good, make_facts(), PASSED, "revision 1 .* recorded as Good"),
    "an assumed target": (checks.known_good, make_facts(known(Health.ASSUMED)), WARNED, "Assumed"),
    "an unknown target": (checks.known_good, make_facts(known(Health.UNKNOWN)), WARNED, "Unknown"),
    "a bad target": (checks.known_good, make_facts(known(Health.BAD)), FAILED, "Bad"),
    "no target": (
        checks.known_good,
        make_facts(make_rollback(remedy=SCALE, to_revision=None)),
        SKIPPED,
        "replicas are changed",
    ),
    "a template as it was": (checks.template, make_facts(), PASSED, "unchanged"),
    "a template that is gone": (
        checks.template,
        make_facts(workload=make_workload(older=())),
        FAILED,
        "ReplicaSet ticket-service-hashv1 of revision 1 no longer exists",
    ),
    "another ReplicaSet of its name": (
        checks.template,
        make_facts(workload=with_target(uid="another")),
        FAILED,
        "no longer exists",
    ),
    "a template that was changed": (
        checks.template,
        make_facts(workload=with_target(template=make_template("v9"))),
        FAILED,
        "changed since the decision",
    ),
    "images that nodes have": (checks.images, make_facts(), PASSED, "v1 on 1 of 1 nodes"),
    "images that no node has": (
        checks.images,
        make_facts(cluster=BEYOND),
        WARNED,
        "v1 on 0 of 1 nodes: an image on no node must be pulled",
    ),
    "a pinned image": (
        checks.images,
        make_facts(make_rollback(remedy=PIN, to_revision=None)),
        WARNED,
        "elsewhere/shop:v0 on 0",
    ),
    "nodes that were not read": (
        checks.images,
        make_facts(cluster=UNREAD),
        WARNED,
        "could not be read: forbidden",
    ),
    "nothing named": (checks.references, make_facts(), PASSED, "references nothing"),
    "all there": (
        checks.references,
        make_facts(references={SECRET: True, OPTIONAL: True}),
        PASSED,
        "present: ConfigMap hints, Secret key",
    ),
    "a Secret that is gone": (
        checks.references,
        make_facts(references={SECRET: False, OPTIONAL: True}),
        FAILED,
        "missing: Secret key; the pods would not start",
    ),
    "an optional ConfigMap that is gone": (
        checks.references,
        make_facts(references={SECRET: True, OPTIONAL: False}),
        WARNED,
        "missing, but optional: ConfigMap hints",
    ),
    "a Secret that may not be read": (
        checks.references,
        make_facts(references={SECRET: UNREAD}),
        WARNED,
        r"not read: Secret key \(forbidden\)",
    ),
    "more than is worth naming": (
        checks.references,
        make_facts(references={Reference("Secret", f"s{one}"): False for one in range(7)}),
        FAILED,
        "s0, .*Secret s4 and 2 more",
    ),
    "capacity for a surge": (
        checks.room,
        make_facts(make_rollback(pace=Pace.EXPRESS), workload=with_target(requests=REQUESTS)),
        PASSED,
        "4 more pods are needed, nodes have room for 110",
    ),
    "nodes that are full": (
        checks.room,
        make_facts(
            make_rollback(pace=Pace.EXPRESS),
            workload=with_target(requests=REQUESTS),
            cluster=busy(62.6),
        ),
        WARNED,
        "4 more pods are needed, nodes have room for 2",
    ),
    "a quota that is used up": (
        checks.room,
        make_facts(
            workload=with_target(requests=REQUESTS),
            quotas=(Quota("all", {"requests.cpu": 0.4, "pods": 5}),),
        ),
        WARNED,
        r"1 more pod is needed, quota all \(requests.cpu\) leaves room for 0",
    ),
    "too many pods to add up": (
        checks.room,
        make_facts(cluster=replace(WITH_CAPACITY, usage=None)),
        PASSED,
        "too large to sum up",
    ),
    "pods that were not read": (
        checks.room,
        make_facts(cluster=replace(WITH_CAPACITY, usage=None, unread="the pods could not be read")),
        WARNED,
        "the pods could not be read$",
    ),
    "a pod that is too large": (
        checks.room,
        make_facts(cluster=replace(WITH_CAPACITY, unread="1 pods too large")),
        PASSED,
        r"nodes have room for \d+ \(1 pods too large\)",
    ),
    "quotas that were not read": (checks.room, make_facts(quotas=UNREAD), WARNED, "forbidden"),
    "capacity that was not read": (checks.room, make_facts(cluster=UNREAD), WARNED, "forbidden"),
    "Recreate needs no capacity": (
        checks.room,
        make_facts(workload=with_deployment(strategy="Recreate")),
        SKIPPED,
        "no additional pods",
    ),
    "capacity is kept": (
        partial(checks.capacity, stop=None),
        make_facts(),
        PASSED,
        "at least 3 of 4 replicas are kept, 4 are available now",
    ),
    "capacity may go": (
        partial(checks.capacity, stop=None),
        make_facts(workload=with_deployment(max_unavailable="100%")),
        WARNED,
        "at least 0 of 4",
    ),
    "Recreate": (
        partial(checks.capacity, stop=None),
        make_facts(workload=with_deployment(strategy="Recreate")),
        WARNED,
        "all pods stop before",
    ),
    "nobody else": (checks.nobody_else, make_facts(), PASSED, "no GitOps owner"),
    "an owner": (
        checks.nobody_else,
        make_facts(workload=with_deployment(owner=Owner("Argo CD", "label x", "roll back in Git"))),
        FAILED,
        "Argo CD manages this Deployment .label x.: roll back in Git",
    ),
    "a pause of somebody's": (
        checks.nobody_else,
        make_facts(workload=with_deployment(paused=True)),
        FAILED,
        "paused",
    ),
    "a pause of ours": (
        checks.nobody_else,
        make_facts(workload=with_deployment(paused=True, is_held=True)),
        PASSED,
        "",
    ),
    "another rollback": (
        checks.nobody_else,
        make_facts(others=[another(StepName.AWAITING_APPROVAL, StepName.UNDO)]),
        FAILED,
        "Rollback another",
    ),
    "another that waits for a person": (
        checks.nobody_else,
        make_facts(others=[another(StepName.AWAITING_APPROVAL), another()]),
        PASSED,
        "",
    ),
    "an autoscaler that came after the decision": (
        checks.nobody_else,
        make_facts(SCALING, workload=make_workload(autoscaler=make_autoscaler())),
        FAILED,
        "shop-hpa now sets the replicas",
    ),
    "an autoscaler that is gone": (
        checks.nobody_else,
        make_facts(BOUNDED),
        FAILED,
        "no longer exists",
    ),
    "an autoscaler that KEDA has taken over": (
        checks.nobody_else,
        make_facts(BOUNDED, workload=make_workload(autoscaler=make_autoscaler(owner="KEDA"))),
        FAILED,
        "KEDA, which would restore its bounds",
    ),
    "an autoscaler": (
        checks.nobody_else,
        make_facts(BOUNDED, workload=make_workload(autoscaler=make_autoscaler())),
        PASSED,
        "shop-hpa gets 8 to 8 replicas instead of 2 to 4",
    ),
    "an autoscaler beside an undo": (
        checks.nobody_else,
        make_facts(workload=make_workload(autoscaler=make_autoscaler(owner="KEDA"))),
        PASSED,
        "",
    ),
    "fresh metrics": (checks.metrics, make_facts(), PASSED, "5 s old"),
    "stale metrics": (checks.metrics, make_facts(now=at(90)), WARNED, "75 s old"),
    "no watch": (checks.metrics, make_facts(watch=None), WARNED, "not being evaluated"),
    "no answer": (
        checks.metrics,
        make_facts(watch=Watch("digest-v2", T0, Evidence(T0), missing=UNREAD)),
        WARNED,
        "forbidden",
    ),
    "no sample": (
        checks.metrics,
        make_facts(watch=Watch("digest-v2", T0, Evidence(T0), missing=None)),
        WARNED,
        "no sample",
    ),
}
BLOCKING = {
    "a bad target",
    "a template that is gone",
    "another ReplicaSet of its name",
    "a template that was changed",
    "a Secret that is gone",
    "more than is worth naming",
    "an owner",
    "a pause of somebody's",
    "another rollback",
    "an autoscaler that came after the decision",
    "an autoscaler that is gone",
    "an autoscaler that KEDA has taken over",
}


@pytest.mark.parametrize("case", CASES)
def test_an_item(case: str) -> None:
    item, facts, result, said = CASES[case]

    found: CheckItem = item(facts)

    assert found.result is result
    assert re.search(said, found.message), found.message
    wanted = Consequence.BLOCK if case in BLOCKING else Consequence.PROCEED
    assert found.consequence is wanted


# -- the list --------------------------------------------------------------------------------------


def test_all_in_order_goes_on_as_it_was_planned() -> None:
    made = checklist.make(make_facts(make_rollback(pace=Pace.EXPRESS)))

    assert made.consequence is Consequence.PROCEED
    assert made.pace is Pace.EXPRESS
    assert [one.name for one in made.items] == [one for one in CheckName if one in _names(made)]


def _names(made: checklist.Checklist) -> set[CheckName]:
    return {one.name for one in made.items}


@pytest.mark.parametrize(
    ("changes", "pace"),
    [
        ({"cluster": busy(63.9)}, Pace.NORMAL),
        ({"quotas": (Quota("all", {"pods": 1}),)}, Pace.NORMAL),
        ({"cluster": UNREAD}, Pace.EXPRESS),
        ({"quotas": UNREAD}, Pace.EXPRESS),
    ],
)
def test_a_lack_of_capacity_slows_down_and_ignorance_of_it_does_not(
    changes: dict[str, Any], pace: Pace
) -> None:
    rollback = make_rollback(pace=Pace.EXPRESS)
    facts = make_facts(rollback, workload=with_target(requests=REQUESTS), **changes)

    assert checklist.make(facts).pace is pace


def test_what_is_only_assumed_to_be_good_is_asked_about_where_the_policy_says_so() -> None:
    policy = make_policy(safety=SafetySpec(require_verified=True))

    asked = checklist.make(make_facts(known(Health.ASSUMED), policy=policy))
    good = checklist.make(make_facts(known(Health.GOOD), policy=policy))

    assert asked.consequence is Consequence.REQUIRE_APPROVAL
    assert good.consequence is Consequence.PROCEED


@pytest.mark.parametrize(("strictness"), list(Consequence))
def test_a_policy_takes_a_warning_more_strictly(strictness: Consequence) -> None:
    rule = CheckRule(name=CheckName.IMAGES, on_warned=strictness)
    made = checklist.make(make_facts(policy=make_policy(checklist=[rule]), cluster=BEYOND))

    assert made.consequence is strictness


def test_a_policy_makes_nothing_milder() -> None:
    rules = [CheckRule(name=one, on_warned=Consequence.PROCEED) for one in CheckName]
    facts = make_facts(policy=make_policy(checklist=rules), references={SECRET: False})

    made = checklist.make(facts)

    assert made.consequence is Consequence.BLOCK
    assert made.blocked.outcome is Outcome.BLOCKED
    assert made.blocked.reason is Reason.REFERENCE_GONE
    assert "Secret key" in made.blocked.message


def test_mode_observe_tells_what_would_have_been() -> None:
    made = checklist.make(make_facts(make_rollback(mode=Mode.OBSERVE), references={SECRET: False}))

    assert made.observed.outcome is Outcome.OBSERVED
    assert "it would be blocked: References: missing: Secret key" in made.observed.message


@given(
    replicas=st.integers(1, 200),
    surge=st.sampled_from(["0", "1", "25%", "100%", "3"]),
    unavailable=st.sampled_from(["0", "1", "25%", "0%", "100%", "250"]),
)
def test_the_floor_is_that_of_the_deployment_controller(
    replicas: int, surge: str, unavailable: str
) -> None:
    deployment = make_deployment(
        replicas=replicas, max_surge=surge, max_unavailable=unavailable, available=replicas
    )

    floor = floor_of(deployment)

    assert 0 <= floor <= replicas
    if surge in ("0", "0%") and unavailable in ("0", "0%"):
        assert floor == replicas - 1
    if unavailable == "25%":
        assert floor >= replicas * 3 / 4 or replicas < 4


@given(
    nodes=st.lists(st.tuples(st.integers(0, 8), st.integers(0, 20)), max_size=5),
    used=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), max_size=8),
    one=st.tuples(st.sampled_from([0.0, 0.5, 1.0]), st.sampled_from([0.0, 1.0, 3.0])),
)
def test_what_fits_can_be_placed_and_one_more_cannot(
    nodes: list[tuple[int, int]], used: list[tuple[int, int]], one: tuple[float, float]
) -> None:
    made = tuple(Node(f"n{at}", True, Amounts(c, m, 5)) for at, (c, m) in enumerate(nodes))
    usage = tuple(Usage(f"n{at}", Amounts(float(c), 1.0)) for at, c in used)
    wanted = Amounts(*one)

    count = ClusterCapacity(made, usage).pods_that_fit(wanted)

    placed = 0
    for node in made:
        mine = [each.amounts for each in usage if each.node == node.name]
        cpu = node.allocatable.cpu - sum(each.cpu for each in mine)
        memory = node.allocatable.memory - sum(each.memory for each in mine)
        pods = 5 - len(mine)
        while cpu >= wanted.cpu * (wanted.cpu > 0) and memory >= wanted.memory and pods >= 1:
            if (wanted.cpu and cpu < wanted.cpu) or (wanted.memory and memory < wanted.memory):
                break
            cpu, memory, pods, placed = (
                cpu - wanted.cpu,
                memory - wanted.memory,
                pods - 1,
                placed + 1,
            )
    if wanted.cpu and wanted.memory:
        assert count == placed


@pytest.mark.parametrize(
    ("image", "full"),
    [
        ("nginx", "docker.io/library/nginx:latest"),
        ("nginx:1.25", "docker.io/library/nginx:1.25"),
        ("acme/shop", "docker.io/acme/shop:latest"),
        ("localhost/shop:v1", "localhost/shop:v1"),
        ("registry:5000/shop", "registry:5000/shop:latest"),
        ("registry.example.com/shop@sha256:00", "registry.example.com/shop@sha256:00"),
    ],
)
def test_images_are_named_as_nodes_name_them(image: str, full: str) -> None:
    cluster = ClusterCapacity((Node("n", images=frozenset({full})),), ())

    assert cluster.nodes_with(image) == 1
