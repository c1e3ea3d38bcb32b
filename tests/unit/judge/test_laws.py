"""Laws that hold for any counts: what must never follow from what."""

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from rollback_operator.api.reasons import Reason
from rollback_operator.api.v1alpha1 import (
    RUNBOOK_MATRIX,
    Mode,
    Pace,
    Remedy,
    RemedyType,
    RollbackPolicyStatus,
    Severity,
    VerdictValue,
)
from rollback_operator.decide.decide import Decision, decide
from rollback_operator.decide.matrix import classify
from rollback_operator.evidence.counters import Evidence, fold
from rollback_operator.evidence.watch import Watch, open_watch
from rollback_operator.judge.judge import judge
from rollback_operator.model.conditions import condition
from rollback_operator.model.context import Refusal
from rollback_operator.model.samples import Counters, Missing
from rollback_operator.model.verdict import BAD_ODDS, CEASED, ENDED, Verdict
from rollback_operator.remedies.comparison import compare
from rollback_operator.remedies.progress import Act, Done, RollbackEnd, next_step
from rollback_operator.remedies.rollback_status import begun, ended, finished
from rollback_operator.report.status import StatusInputs, next_status
from rollback_operator.stats.windows import Increment
from tests.builders import (
    LIST,
    NAME,
    PURCHASE,
    RESERVE,
    T0,
    at,
    make_case,
    make_control,
    make_deployment,
    make_entry,
    make_increment,
    make_pod,
    make_question,
    make_rollback,
    make_scope,
    make_series,
    make_verdict,
    make_workload,
)
from tests.sizes import examples

law = settings(
    max_examples=examples(60), database=None, suppress_health_check=[HealthCheck.too_slow]
)
ORDER = list(Severity)
BEGIN = 22.0
"""Beside old pods the warm-up is over, which begins with the first request: what falls there may
be explained away, and so be less bad. By history a request before would be an earlier onset."""

cell = st.tuples(st.integers(0, 80), st.integers(0, 80)).map(lambda x: (max(x), min(x)))
counts = st.lists(cell, min_size=1, max_size=5)
table = st.dictionaries(
    st.tuples(
        st.sampled_from(["new-0", "new-1", "old-0", "old-1"]), st.sampled_from([LIST, PURCHASE])
    ),
    counts,
    min_size=1,
    max_size=8,
)
Table = dict[tuple[str, str], list[tuple[int, int]]]


def watch_of(rows: Table, *, are_old_gone: bool) -> Watch:
    increments: list[Increment] = []
    for (pod, route), samples in rows.items():
        first = 0.0 if are_old_gone else 1.0
        increments.append(make_increment(pod=pod, route=route, start=2, end=7, requests=first))
        for index, (requests, errors) in enumerate(samples):
            begin = BEGIN + 5 * index
            increments.append(
                make_increment(
                    pod=pod,
                    route=route,
                    start=begin,
                    end=begin + 5,
                    requests=float(requests),
                    errors=float(errors),
                )
            )
    increments.sort(key=lambda one: one.end)
    newest = max(one.end for one in increments)
    pods = tuple(
        make_pod(
            name=name,
            version="v2" if name.startswith("new") else "v1",
            node=name,
            terminating=are_old_gone and name.startswith("old"),
        )
        for name in ("new-0", "new-1", "old-0", "old-1")
    )
    evidence = Evidence(
        T0,
        seen={pod.name: newest for pod in pods},
        increments=tuple(increments),
        interval=5.0,
    )
    return replace(
        open_watch("digest-v2", T0, frozenset({"hashv1"})),
        evidence=evidence,
        control=make_control(),
        missing=None,
        pods=pods,
    )


def judged(watch: Watch) -> Verdict:
    workload = make_workload(pods=watch.pods)
    now = (watch.evidence.newest or T0) + 0.3
    return judge(watch, workload, make_question(), now)


def severity(verdict: Verdict) -> Severity:
    match = classify(RUNBOOK_MATRIX, verdict, BAD_ODDS)
    return Severity(match.rule.severity) if match else Severity.NONE


def worse(rows: Table, share: float) -> Table:
    """More of the new revision's requests fail, everywhere alike."""
    return {
        (pod, route): [
            (n, max(e, round(n * share)) if pod.startswith("new") else e) for n, e in samples
        ]
        for (pod, route), samples in rows.items()
    }


def with_clean_old_pods(rows: Table) -> Table:
    return {
        (pod, route): [(n, e if pod.startswith("new") else 0) for n, e in samples]
        for (pod, route), samples in rows.items()
    }


@law
@given(rows=table)
@pytest.mark.parametrize("are_old_gone", [False, True], ids=["old pods", "history"])
def test_when_all_fails_it_is_at_least_as_bad_as_before(rows, are_old_gone) -> None:
    # What old pods failed before they went is blamed on the environment where it is like what the
    # new ones fail: a higher rate may be more like it.
    rows = with_clean_old_pods(rows) if are_old_gone else rows
    before = judged(watch_of(rows, are_old_gone=are_old_gone))
    after = judged(watch_of(worse(rows, 1.0), are_old_gone=are_old_gone))
    assert ORDER.index(severity(after)) <= ORDER.index(severity(before))


@pytest.mark.parametrize("are_old_gone", [False, True], ids=["old pods", "history"])
def test_which_route_fails_most_does_not_decide_whether_old_pods_failed_alike(are_old_gone) -> None:
    rows: Table = {
        ("new-0", LIST): [(6, 5)],
        ("new-1", PURCHASE): [(0, 0), (14, 5)],
        ("old-0", PURCHASE): [(2, 2)],
    }
    before = judged(watch_of(rows, are_old_gone=are_old_gone))
    after = judged(watch_of(worse(rows, 1.0), are_old_gone=are_old_gone))
    assert ORDER.index(severity(after)) <= ORDER.index(severity(before))


def with_more_errors(rows: Table, extra: list[int]) -> Table:
    """Some more of the new revision's requests fail, anywhere."""
    found, more = {}, iter(extra)
    for (pod, route), samples in rows.items():
        is_new = pod.startswith("new")
        found[pod, route] = [(n, min(n, e + next(more, 0)) if is_new else e) for n, e in samples]
    return found


OLD_DO_WELL: Table = {("old-0", PURCHASE): [(60, 0)] * 4, ("old-1", PURCHASE): [(60, 0)] * 4}


@law
@given(rows=table, extra=st.lists(st.integers(0, 40), max_size=20))
@example(
    rows={
        **OLD_DO_WELL,
        ("new-0", PURCHASE): [(40, 12)] * 4,
        ("new-1", PURCHASE): [(40, 3)] * 4,
    },
    extra=[28] * 4,
)
@example(
    rows={
        **OLD_DO_WELL,
        ("new-0", PURCHASE): [(10, 3)] * 4,
        ("new-1", PURCHASE): [(10, 1), (10, 0), (10, 1), (10, 0)],
    },
    extra=[7] * 4,
)
def test_more_errors_are_never_less_severe_beside_old_pods(rows, extra) -> None:
    before = judged(watch_of(rows, are_old_gone=False))
    after = judged(watch_of(with_more_errors(rows, extra), are_old_gone=False))
    # More errors before a fault ended show its end more clearly: then there is nothing to undo.
    assume(not any(one.unmet in (ENDED, CEASED) for one in after.scopes))
    assert ORDER.index(severity(after)) <= ORDER.index(severity(before))


@law
@given(share=st.floats(0.02, 1.0), more=st.floats(0.0, 1.0), requests=st.integers(5, 100))
@pytest.mark.parametrize("are_old_gone", [False, True], ids=["old pods", "history"])
def test_a_higher_rate_is_never_less_severe(share, more, requests, are_old_gone) -> None:
    clean = [(requests, 0)] * 5
    rows: Table = {(pod, PURCHASE): clean for pod in ("new-0", "new-1", "old-0", "old-1")}
    low = severity(judged(watch_of(worse(rows, share), are_old_gone=are_old_gone)))
    higher = min(1.0, share + more)
    high = severity(judged(watch_of(worse(rows, higher), are_old_gone=are_old_gone)))
    assert ORDER.index(high) <= ORDER.index(low)


@law
@given(
    worst=st.floats(0.1, 0.5),
    other=st.floats(0.02, 0.2),
    more=st.floats(0.0, 1.0),
    requests=st.tuples(st.integers(10, 80), st.integers(10, 80)),
)
@pytest.mark.parametrize("are_old_gone", [False, True], ids=["old pods", "history"])
def test_a_pod_that_fails_more_never_acquits_the_release(
    worst, other, more, requests, are_old_gone
) -> None:
    def found(share: float) -> Severity:
        rows: Table = {(pod, PURCHASE): [(60, 0)] * 4 for pod in ("old-0", "old-1")}
        rows["new-0", PURCHASE] = [(requests[0], round(requests[0] * share))] * 4
        rows["new-1", PURCHASE] = [(requests[1], round(requests[1] * other))] * 4
        return severity(judged(watch_of(rows, are_old_gone=are_old_gone)))

    assert ORDER.index(found(max(worst, more))) <= ORDER.index(found(worst))


def swapped(rows: Table) -> Table:
    names = {"new": "old", "old": "new"}
    return {(names[pod[:3]] + pod[3:], route): samples for (pod, route), samples in rows.items()}


@law
@given(rows=table)
def test_of_two_revisions_at_most_one_is_bad(rows) -> None:
    one = judged(watch_of(rows, are_old_gone=False))
    other = judged(watch_of(swapped(rows), are_old_gone=False))
    proved = [severity(verdict) is not Severity.NONE for verdict in (one, other)]
    if all(proved):  # only where each fails on a route of its own
        routes = [
            {scope.route for scope in verdict.scopes if scope.odds >= BAD_ODDS}
            for verdict in (one, other)
        ]
        assert None not in routes[0] & routes[1]


@law
@given(
    better=st.floats(0, 0.3),
    worse_by=st.floats(0.0, 0.7),
    requests=st.lists(st.integers(1, 200), min_size=5, max_size=5),
)
def test_the_better_revision_is_never_rolled_back(better, worse_by, requests) -> None:
    good = [(n, round(n * better)) for n in requests]
    bad = [(n, max(e, round(n * min(1.0, better + worse_by)))) for n, e in good]
    rows: Table = {
        ("new-0", PURCHASE): good,
        ("new-1", PURCHASE): good,
        ("old-0", PURCHASE): bad,
        ("old-1", PURCHASE): bad,
    }
    assert severity(judged(watch_of(rows, are_old_gone=False))) is Severity.NONE


@law
@given(
    rows=table,
    reason=st.sampled_from([Reason.NO_SERIES, Reason.NOT_A_NUMBER, Reason.PROVIDER_UNREACHABLE]),
)
def test_missing_data_is_never_bad_and_never_healthy(rows, reason) -> None:
    watch = replace(watch_of(worse(rows, 1.0), are_old_gone=True), missing=Missing(reason, "x"))
    verdict = judged(watch)
    assert verdict.value is VerdictValue.NO_VERDICT
    for health in ("Good", "Assumed", "Unknown"):
        seen = StatusInputs(
            condition("Ready", True, Reason.WATCHING_TARGET),
            workload=make_workload(),
            ledger=(make_entry("v2", health),),
            decision=Decision(verdict),
            missing=watch.missing,
        )
        status = next_status(RollbackPolicyStatus(), seen, 1, at(1))
        assert status.verdict not in (VerdictValue.BAD, VerdictValue.HEALTHY)


@law
@given(rows=table)
def test_the_order_of_pods_does_not_matter(rows) -> None:
    watch = watch_of(rows, are_old_gone=False)
    turned = replace(watch, pods=watch.pods[::-1])
    one, other = judged(watch), judged(turned)
    assert (one.value, one.reason) == (other.value, other.reason)


# -- evidence --------------------------------------------------------------------------------------

PODS = (
    make_pod(name="new", created=T0, started=T0 + 1, ready_since=T0 + 2),
    make_pod(name="old", created=T0 - 3600, started=T0 - 3600, ready_since=T0 - 3590),
)
steps = st.lists(st.integers(0, 50), min_size=3, max_size=25)


def samples_of(amounts: list[int], offset: float) -> list[tuple[float, float]]:
    total, found = 0, []
    for index, amount in enumerate(amounts):
        total += amount
        found.append((7 + offset + 5 * index, float(total)))
    return found


def answers_of(streams, window: int, every: int) -> list[Counters]:
    """Overlapping answers: the newest `window` samples of each stream, every so many samples."""
    found = []
    for end in range(every, 26 + every, every):
        cut = {key: samples[max(0, end - window) : end] for key, samples in streams.items()}
        series = [make_series(samples, pod=key) for key, samples in cut.items() if samples]
        found.append(Counters(tuple(series), tuple(series)))
    return found


def result(answers: list[Counters]) -> tuple:
    evidence = Evidence(T0)
    for one in answers:
        evidence = fold(evidence, one, PODS)
    return evidence.increments, evidence.book.heads, evidence.seen


@law
@given(new=steps, old=steps, offset=st.floats(0, 4.9))
def test_the_same_samples_give_the_same_evidence_however_they_come(new, old, offset) -> None:
    streams = {"new": samples_of(new, 0), "old": samples_of(old, offset)}
    whole = answers_of(streams, 30, 30)
    expected = result(whole)
    assert result(whole * 2) == expected
    assert result(answers_of(streams, 3, 1)) == expected
    assert result(answers_of(streams, 5, 2)) == expected
    late = answers_of(streams, 4, 1)
    assert result([*late, *late[::-1]]) == expected


@law
@given(new=steps)
def test_every_request_of_a_new_pod_is_counted_exactly_once(new) -> None:
    samples = samples_of(new, 0)
    increments, _, _ = result(answers_of({"new": samples}, 3, 1))
    assert sum(one.requests for one in increments) == samples[-1][1]
    assert all(one.requests >= 0 and one.start <= one.end for one in increments)


# -- plans and their end ---------------------------------------------------------------------------

PIN = Remedy(type=RemedyType.PIN_IMAGE, container=NAME, image="registry.example.com/x:v1")
SCALE = Remedy(type=RemedyType.SCALE, replicas=8)
worlds = st.lists(
    st.builds(
        make_deployment,
        st.sampled_from(["v1", "v2", "v2", "v9"]),
        available=st.integers(0, 8),
        replicas=st.sampled_from([4, 8]),
        max_surge=st.sampled_from(["25%", "100%"]),
    ),
    min_size=1,
    max_size=30,
)


@law
@given(
    worlds=worlds,
    remedy=st.sampled_from([None, PIN, SCALE]),
    pace=st.sampled_from(list(Pace)),
)
def test_a_rollback_always_ends(worlds, remedy, pace) -> None:
    changes = {} if remedy is None else {"remedy": remedy, "to_revision": None}
    rollback = make_rollback(pace=pace, **changes)
    now, acts = 10.0, 0
    for number in range(200):
        step = next_step(rollback)
        if step is None or rollback.status.outcome is not None:
            break
        world = worlds[min(number, len(worlds) - 1)]
        status = begun(rollback.status, step, at(now))
        rollback = rollback.model_copy(update={"status": status})
        match compare(rollback, step, world, at(now)):
            case Act():
                acts += 1
                status = finished(status, step, "acted", at(now))
            case Done(message=message):
                status = finished(status, step, message, at(now))
            case RollbackEnd() as end:
                status = ended(rollback, end, at(now))
            case _ if step == "Verify":
                status = finished(status, step, "verified elsewhere", at(now))
        rollback = rollback.model_copy(update={"status": status})
        now += 100
    assert next_step(rollback) is None or rollback.status.outcome is not None
    assert acts <= 2  # the act itself, and the strategy put back
    assert len(rollback.status.steps) == len({one.name for one in rollback.status.steps})


@law
@given(rows=table, mode=st.sampled_from(list(Mode)))
def test_a_plan_goes_to_another_release_and_never_to_a_bad_one(rows, mode) -> None:
    verdict = judged(watch_of(worse(rows, 0.5), are_old_gone=True))
    case = make_case()
    spec = case.policy.spec.model_copy(update={"mode": mode})
    case = replace(case, policy=case.policy.model_copy(update={"spec": spec}))
    decision = decide(case, verdict, at(60))
    assert decision.plan is None or not isinstance(decision.plan, Refusal)
    if decision.plan is not None:
        assert decision.plan.to_revision.release != decision.plan.from_revision.release
        assert decision.plan.to_revision.health != "Bad"
        assert decision.severity in (Severity.P1, Severity.P2)


@law
@given(
    value=st.sampled_from(list(VerdictValue)),
    reason=st.sampled_from(list(Reason)),
    message=st.text(max_size=300),
    ticks=st.integers(1, 1000),
)
def test_a_status_that_is_made_again_is_the_same(value, reason, message, ticks) -> None:
    verdict = make_verdict(make_scope(RESERVE), value=value, reason=reason, message=message)
    seen = StatusInputs(
        condition("Ready", True, Reason.WATCHING_TARGET),
        workload=make_workload(),
        ledger=(make_entry("v2", "Unknown"), make_entry("v1")),
        decision=Decision(verdict),
        rollbacks=(make_rollback(),),
        opened=at(0),
    )
    first = next_status(RollbackPolicyStatus(), seen, 1, at(1))
    assert next_status(first, seen, 1, at(1 + ticks)) == first
    read_again = RollbackPolicyStatus.model_validate(first.model_dump(mode="json", by_alias=True))
    assert next_status(read_again, seen, 1, at(1 + ticks)) == first
