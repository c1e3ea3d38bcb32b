"""What the judge says of whole situations, by counts that are written out."""

from dataclasses import replace

import pytest

from rollback_operator.api.reasons import Reason
from rollback_operator.api.v1alpha1 import RUNBOOK_MATRIX, VerdictValue
from rollback_operator.decide.matrix import classify
from rollback_operator.evidence.baseline import Control, control_of
from rollback_operator.evidence.counters import Evidence
from rollback_operator.evidence.watch import Watch, open_watch, with_reading
from rollback_operator.judge.judge import judge
from rollback_operator.model.pod import Pod
from rollback_operator.model.samples import Missing
from rollback_operator.model.verdict import BAD_ODDS, Method, Verdict
from rollback_operator.model.workload import Workload
from rollback_operator.releases.usefulness import fails_alike
from rollback_operator.stats.windows import Increment
from tests.builders import (
    LIST,
    PURCHASE,
    RESERVE,
    T0,
    make_control,
    make_counters,
    make_deployment,
    make_increment,
    make_pod,
    make_question,
    make_replica_set,
    make_series,
    make_workload,
)

BAD, SUSPECT, WATCHING, NONE = (
    VerdictValue.BAD,
    VerdictValue.SUSPECT,
    VerdictValue.WATCHING,
    VerdictValue.NO_VERDICT,
)
NEW = tuple(f"new-{number}" for number in range(4))
OLD = tuple(f"old-{number}" for number in range(4))
MANY = tuple(f"new-{number}" for number in range(12))


def served(
    pods: tuple[str, ...],
    *counts: tuple[float, float],
    route: str = PURCHASE,
    begin: float = 2.0,
    apart: float = 0.0,
) -> list[Increment]:
    """Each pod's (requests, errors) in samples five seconds apart, `apart` from pod to pod."""
    return [
        make_increment(
            pod=pod,
            route=route,
            start=begin + 5 * index + apart * number,
            end=begin + 5 * index + 5 + apart * number,
            requests=float(requests),
            errors=float(errors),
        )
        for number, pod in enumerate(pods)
        for index, (requests, errors) in enumerate(counts)
    ]


def pod_of(name: str, **changes) -> Pod:
    version = "v2" if name.startswith("new") else "v1"
    created = 0 if version == "v2" else -3600
    fields = {"created": T0 + created, "started": T0 + created + 1, "ready_since": T0 + created + 2}
    return make_pod(name=name, version=version, node=f"node-of-{name}", **(fields | changes))


def watch_of(*counts: list[Increment], gone: tuple[str, ...] = (), **changes) -> Watch:
    """A watch that has counted so; pods of the old revision are alive unless they are `gone`."""
    increments = tuple(sorted((one for all_ in counts for one in all_), key=lambda one: one.end))
    seen: dict[str, float] = {}
    for one in increments:
        seen[one.pod] = max(one.end, seen.get(one.pod, 0.0))
    pods = tuple(
        pod_of(name, **({"terminating": True, "ready": False} if name in gone else {}))
        for name in seen
    )
    evidence = Evidence(T0, seen=seen, increments=increments, interval=5.0)
    watch = open_watch("digest-v2", T0, frozenset({"hashv1"}))
    fields = {"evidence": evidence, "control": make_control(), "missing": None, "pods": pods}
    return replace(watch, **(fields | changes))


def judged(
    watch: Watch, workload: Workload | None = None, *, now: float | None = None, **changes
) -> Verdict:
    newest = watch.evidence.newest or T0
    workload = workload or make_workload(pods=watch.pods)
    at = newest + 0.3 if now is None else T0 + now
    return judge(watch, workload, make_question(**changes), at)


def severity(verdict: Verdict) -> str | None:
    match = classify(RUNBOOK_MATRIX, verdict, BAD_ODDS)
    return match.rule.severity.value if match else None


CLEAN = [(20, 0)] * 4
ALL = [(20, 20)] * 3
FIFTH = [(60, 12)] * 4
BRIEF = make_control(requests=1500, errors=1, worst_minute=0.001, seconds=0.0, busiest_minute=25.0)
"""Of unknown length: only whole minutes are known."""
SPARSE = make_control(requests=50, errors=0, worst_minute=0.0, busiest_minute=25.0)


def few_requests(failing_minutes: int) -> Control:
    """An hour of 0.4 requests a second; an eighth failed in the last minutes."""
    requests: dict[str, dict[float, float]] = {}
    errors: dict[str, dict[float, float]] = {}
    for route, share in ((LIST, 0.4), (RESERVE, 0.3), (PURCHASE, 0.3)):
        requests[route] = {T0 - 60 * back: 24 * share for back in range(60)}
        errors[route] = {T0 - 60 * back: 24 * share / 8 for back in range(failing_minutes)}
    return control_of(requests, errors, T0)


FEW = [
    served(NEW, *[(share / 2, share / 16)] * 60, route=route, apart=1.0)
    for route, share in ((LIST, 0.4), (RESERVE, 0.3), (PURCHASE, 0.3))
]

ROWS = {
    # -- old pods are gone: history and onset
    "clean release": (watch_of(served(NEW, *CLEAN)), WATCHING, Reason.NO_EVIDENCE_AGAINST, None),
    "all purchases fail, no old pod left, two samples": (
        watch_of(served(NEW, *ALL[:2]), served(NEW, *CLEAN[:2], route=LIST)),
        BAD,
        Reason.ERROR_RATE_ABOVE_CONTROL,
        "P1",
    ),
    "all purchases fail, one sample of each pod, at offsets": (
        watch_of(served(NEW, (20, 20), apart=0.7)),
        BAD,
        Reason.ERROR_RATE_ABOVE_CONTROL,
        "P1",
    ),
    "all purchases fail, only one time of samples": (
        watch_of(served(NEW, (20, 20))),
        WATCHING,
        Reason.EVIDENCE_GATHERING,
        None,
    ),
    "a fifth fails": (
        watch_of(served(NEW, *FIFTH)),
        BAD,
        Reason.ERROR_RATE_ABOVE_CONTROL,
        "P2",
    ),
    "3 % fail: fix forward": (
        watch_of(served(NEW, *[(60, 2)] * 12)),
        BAD,
        Reason.ERROR_RATE_ABOVE_CONTROL,
        "P4",
    ),
    "warm-up errors that stop": (
        watch_of(served(NEW, (60, 20), (60, 6), *[(60, 0)] * 4)),
        WATCHING,
        Reason.NO_EVIDENCE_AGAINST,
        None,
    ),
    "warm-up errors, still in the first ten seconds": (
        watch_of(served(NEW, (60, 20))),
        NONE,
        Reason.TOO_FEW_REQUESTS,
        None,
    ),
    "errors that ceased": (
        watch_of(served(NEW, (60, 50), (60, 55), (60, 52), (60, 58), (60, 56), (60, 0), (60, 0))),
        WATCHING,
        Reason.EVIDENCE_GATHERING,
        None,
    ),
    "half of the pods fail entirely, a sound one was read last": (
        watch_of(
            served(NEW[:2], *[(60, 60)] * 4, apart=1.0), served(NEW[2:], *[(60, 0)] * 4, begin=4.5)
        ),
        BAD,
        Reason.ERROR_RATE_ABOVE_CONTROL,
        "P2",
    ),
    "environment fails 20 s after a clean start": (
        watch_of(served(NEW, *[(60, 0)] * 4, *FIFTH)),
        SUSPECT,
        Reason.ENVIRONMENT_SUSPECTED,
        None,
    ),
    "old pods had begun to fail before they went": (
        watch_of(served(NEW, *FIFTH), served(OLD, (60, 12), (60, 13), begin=-8), gone=OLD),
        SUSPECT,
        Reason.OLD_REVISION_FAILS_TOO,
        None,
    ),
    "old pods had begun to fail on one route of several": (
        watch_of(
            served(NEW, *FIFTH),
            served(NEW, *[(60, 0)] * 4, route=LIST),
            served(OLD, (60, 12), (60, 13), begin=-8),
            served(OLD, (3000, 0), (3000, 0), begin=-8, route=LIST),
            gone=OLD,
        ),
        SUSPECT,
        Reason.OLD_REVISION_FAILS_TOO,
        None,
    ),
    "old pods had begun to fail in the last second of their last counts": (
        watch_of(
            served(NEW, *[(60, 48)] * 4),
            served(OLD, (60, 0), (60, 0), (60, 9), begin=-13, apart=0.1),
            gone=OLD,
        ),
        SUSPECT,
        Reason.OLD_REVISION_FAILS_TOO,
        None,
    ),
    "old pods had begun to fail on all routes, nearly all purchases fail": (
        watch_of(
            *(
                counts
                for route, last in ((PURCHASE, 12), (RESERVE, 11), (LIST, 13))
                for counts in (
                    served(NEW, *[(60, 58)] * 4, route=route),
                    served(OLD[:1], (60, 0), (60, 0), (60, last), begin=-13, route=route),
                    served(OLD[1:], (60, 0), (60, 0), begin=-13, route=route),
                )
            ),
            gone=OLD,
        ),
        SUSPECT,
        Reason.OLD_REVISION_FAILS_TOO,
        None,
    ),
    "some errors on one of the last old pods, none on another in the same seconds": (
        watch_of(
            served(NEW, *[(60, 48)] * 4),
            served(OLD[:1], (60, 0), (60, 0), (60, 9), begin=-13),
            served(OLD[1:], (60, 0), (60, 0), (60, 0), begin=-13),
            gone=OLD,
        ),
        BAD,
        Reason.ERROR_RATE_ABOVE_CONTROL,
        "P2",
    ),
    "all purchases fail, old pods had begun to fail a little on all routes": (
        watch_of(
            served(NEW, *ALL, (20, 20)),
            *(served(NEW, *[(20, 3)] * 4, route=route) for route in (RESERVE, LIST)),
            *(
                served(OLD, (60, 0), (60, 8), (60, 9), begin=-13, route=route)
                for route in (PURCHASE, RESERVE, LIST)
            ),
            gone=OLD,
        ),
        BAD,
        Reason.ERROR_RATE_ABOVE_CONTROL,
        "P1",
    ),
    "old pods had failed less for minutes, the release adds to it": (
        watch_of(
            served(NEW, *[(60, 32)] * 4),
            served(OLD, (60, 6), (60, 8), (60, 6), begin=-13),
            gone=OLD,
            control=make_control(errors=600, worst_minute=0.11),
        ),
        BAD,
        Reason.ERROR_RATE_ABOVE_CONTROL,
        "P2",
    ),
    "old pods had begun to fail as much within their worst minute": (
        watch_of(
            served(NEW, *[(60, 32)] * 4),
            served(OLD, (60, 6), (60, 30), (60, 33), begin=-13),
            gone=OLD,
            control=make_control(errors=600, worst_minute=0.11),
        ),
        SUSPECT,
        Reason.OLD_REVISION_FAILS_TOO,
        None,
    ),
    "one pod of four fails": (
        watch_of(served(NEW[:1], *[(60, 60)] * 4), served(NEW[1:], *[(60, 0)] * 4)),
        SUSPECT,
        Reason.FEW_PODS_AFFECTED,
        None,
    ),
    "one pod of four fails, the others now and then": (
        watch_of(served(NEW[:1], *[(60, 60)] * 4), served(NEW[1:], *[(60, 1)] * 4)),
        SUSPECT,
        Reason.FEW_PODS_AFFECTED,
        None,
    ),
    "one pod of four fails, another one a little by chance": (
        watch_of(
            served(NEW[:1], *[(60, 20)] * 4),
            served(NEW[1:2], (60, 3), (60, 2), (60, 0), (60, 0)),
            served(NEW[2:], *[(60, 0)] * 4),
        ),
        SUSPECT,
        Reason.FEW_PODS_AFFECTED,
        None,
    ),
    "two pods of four fail": (
        watch_of(served(NEW[:2], *[(60, 20)] * 4), served(NEW[2:], *[(60, 0)] * 4)),
        BAD,
        Reason.ERROR_RATE_ABOVE_CONTROL,
        "P2",
    ),
    "two pods of twelve fail": (
        watch_of(served(MANY[:2], *[(60, 60)] * 4), served(MANY[2:], *[(60, 0)] * 4)),
        BAD,
        Reason.ERROR_RATE_ABOVE_CONTROL,
        "P2",
    ),
    "one pod has failed for long, the others have only begun": (
        watch_of(served(NEW[:1], *[(60, 20)] * 8), served(NEW[1:], (10, 3), (15, 5), begin=32)),
        BAD,
        Reason.ERROR_RATE_ABOVE_CONTROL,
        "P2",
    ),
    "one pod fails, the others have not served": (
        watch_of(served(NEW[:1], *[(60, 60)] * 4), served(NEW[1:], *[(0, 0)] * 4)),
        WATCHING,
        Reason.EVIDENCE_GATHERING,
        None,
    ),
    "one replica, all fail": (
        watch_of(served(NEW[:1], *[(30, 30)] * 2)),
        BAD,
        Reason.ERROR_RATE_ABOVE_CONTROL,
        "P1",
    ),
    "low traffic: one of one": (
        watch_of(served(NEW[:1], (1, 1))),
        NONE,
        Reason.TOO_FEW_REQUESTS,
        None,
    ),
    "low traffic: nineteen of nineteen": (
        watch_of(served(NEW, (4, 4), apart=0.3), served(NEW[:1], (3, 3), begin=7)),
        NONE,
        Reason.TOO_FEW_REQUESTS,
        None,
    ),
    "five times the traffic and errors of overload": (
        watch_of(served(NEW, *[(300, 60)] * 4)),
        SUSPECT,
        Reason.TRAFFIC_SPIKE,
        None,
    ),
    "five times the traffic, all fails": (
        watch_of(served(NEW, *[(300, 299)] * 4)),
        BAD,
        Reason.ERROR_RATE_ABOVE_CONTROL,
        "P1",
    ),
    "a control that had it too": (
        watch_of(served(NEW, *FIFTH), control=make_control(errors=36_000, worst_minute=0.21)),
        WATCHING,
        Reason.NO_EVIDENCE_AGAINST,
        None,
    ),
    "no control": (watch_of(served(NEW, *FIFTH), control=None), NONE, Reason.NO_CONTROL, None),
    "a control of an hour with few requests": (
        watch_of(served(NEW, *FIFTH), control=SPARSE),
        BAD,
        Reason.ERROR_RATE_ABOVE_CONTROL,
        "P2",
    ),
    "a control of an hour with few requests, a rate that they do not exclude": (
        watch_of(served(NEW, *[(60, 3)] * 4), control=SPARSE),
        NONE,
        Reason.NO_CONTROL,
        None,
    ),
    "a control without a request": (
        watch_of(served(NEW, *FIFTH), control=make_control(requests=0, errors=0, worst_minute=0.0)),
        NONE,
        Reason.NO_CONTROL,
        None,
    ),
    "no control, nearly everything fails": (
        watch_of(served(NEW, *[(20, 20)] * 6), control=None),
        SUSPECT,
        Reason.NO_CONTROL,
        None,
    ),
    "no control, nearly everything fails at first": (
        watch_of(served(NEW, *[(20, 20)] * 3), control=None),
        NONE,
        Reason.NO_CONTROL,
        None,
    ),
    "a control of half a minute, all purchases fail": (
        watch_of(served(NEW, *ALL), served(NEW, *CLEAN[:3], route=LIST), control=BRIEF),
        BAD,
        Reason.ERROR_RATE_ABOVE_CONTROL,
        "P1",
    ),
    "a control of half a minute, most fails": (
        watch_of(served(NEW, *[(60, 47)] * 4), control=BRIEF),
        BAD,
        Reason.ERROR_RATE_ABOVE_CONTROL,
        "P2",
    ),
    "a control of 55 s, a fifth fails": (
        watch_of(served(NEW, *FIFTH), control=replace(BRIEF, seconds=55.0)),
        BAD,
        Reason.ERROR_RATE_ABOVE_CONTROL,
        "P2",
    ),
    "a control of 10 s, a fifteenth fails": (
        watch_of(served(NEW, *[(60, 4)] * 4), control=replace(BRIEF, seconds=10.0)),
        NONE,
        Reason.NO_CONTROL,
        None,
    ),
    "a control of half a minute, half fails": (
        watch_of(served(NEW, *[(60, 28)] * 4), control=BRIEF),
        NONE,
        Reason.NO_CONTROL,
        None,
    ),
    "a control of half a minute, its old pods failed alike": (
        watch_of(
            served(NEW, *ALL), served(OLD, (20, 0), (20, 19), begin=-8), gone=OLD, control=BRIEF
        ),
        SUSPECT,
        Reason.OLD_REVISION_FAILS_TOO,
        None,
    ),
    "a control of half a minute, the fault begins later": (
        watch_of(served(NEW, *[(60, 0)] * 12, *[(60, 60)] * 3), control=BRIEF),
        SUSPECT,
        Reason.ENVIRONMENT_SUSPECTED,
        None,
    ),
    "a thirtieth fails for 20 minutes, a fifteenth in the newest": (
        watch_of(served(NEW, *[(30, 1)] * 240, *[(30, 2)] * 12)),
        BAD,
        Reason.ERROR_RATE_ABOVE_CONTROL,
        "P4",
    ),
    "a thirtieth fails for 20 minutes, a seventh in the newest": (
        watch_of(served(NEW, *[(30, 1)] * 240, *[(30, 4)] * 12)),
        BAD,
        Reason.ERROR_RATE_ABOVE_CONTROL,
        "P2",
    ),
    "few requests, an eighth fails as for ten minutes before": (
        watch_of(*FEW, control=few_requests(failing_minutes=10)),
        WATCHING,
        Reason.NO_EVIDENCE_AGAINST,
        None,
    ),
    "few requests, an eighth fails, and nothing did before": (
        watch_of(*FEW, control=few_requests(failing_minutes=0)),
        BAD,
        Reason.ERROR_RATE_ABOVE_CONTROL,
        "P2",
    ),
    "probes fail": (
        watch_of(served(NEW, *ALL, route="/health/live"), served(NEW, *CLEAN)),
        WATCHING,
        Reason.NO_EVIDENCE_AGAINST,
        None,
    ),
    "a route that is new has the whole control for its past": (
        watch_of(served(NEW, *ALL, route="/new"), served(NEW, *CLEAN[:3])),
        BAD,
        Reason.ERROR_RATE_ABOVE_CONTROL,
        "P2",
    ),
    # -- old pods live: the same seconds
    "all purchases fail beside old pods": (
        watch_of(served(NEW[:2], *ALL), served(OLD[:2], *CLEAN)),
        BAD,
        Reason.ERROR_RATE_ABOVE_CONTROL,
        "P1",
    ),
    "a fifth fails beside old pods": (
        watch_of(served(NEW[:2], *FIFTH), served(OLD[:2], *[(60, 0)] * 5)),
        BAD,
        Reason.ERROR_RATE_ABOVE_CONTROL,
        "P2",
    ),
    "both revisions fail": (
        watch_of(served(NEW[:2], *FIFTH), served(OLD[:2], *FIFTH, (60, 12))),
        WATCHING,
        Reason.NO_EVIDENCE_AGAINST,
        None,
    ),
    "both revisions fail entirely": (
        watch_of(served(NEW[:2], *ALL), served(OLD[:2], *ALL)),
        WATCHING,
        Reason.NO_EVIDENCE_AGAINST,
        None,
    ),
    "a burst on both, read on the new pods first": (
        watch_of(
            served(NEW[:2], *CLEAN, (20, 15), apart=0.2),
            served(OLD[:2], *CLEAN, (20, 0), begin=1.0, apart=0.2),
        ),
        WATCHING,
        Reason.NO_EVIDENCE_AGAINST,
        None,
    ),
    "a burst on both, read at offsets": (
        watch_of(
            served(NEW[:2], *CLEAN, (20, 15), (20, 0), apart=0.4),
            served(OLD[:2], *CLEAN, (20, 5), (20, 10), (20, 0), begin=-0.5, apart=0.4),
        ),
        WATCHING,
        Reason.NO_EVIDENCE_AGAINST,
        None,
    ),
    "errors in clumps on any pod": (
        watch_of(
            served(NEW[:1], (60, 0), (60, 14), (60, 0), (60, 12)),
            served(NEW[1:2], (60, 13), (60, 0), (60, 11), (60, 11)),
            served(OLD[:1], (60, 12), (60, 0), (60, 0), (60, 0), (60, 0)),
            served(OLD[1:2], (60, 0), (60, 0), (60, 13), (60, 0), (60, 0)),
        ),
        WATCHING,
        Reason.NO_EVIDENCE_AGAINST,
        None,
    ),
    "proved beside old pods that went since": (
        watch_of(
            served(NEW[:2], *[(20, 0)] * 8, *ALL, *ALL),
            served(OLD[:2], *[(20, 0)] * 14),
            gone=OLD,
        ),
        BAD,
        Reason.ERROR_RATE_ABOVE_CONTROL,
        "P1",
    ),
    "a pod that restarted since, failing as before": (
        watch_of(
            served(NEW, *FIFTH, *FIFTH),
            pods=tuple(pod_of(name, started=T0 + 30, restarts=1) for name in NEW),
        ),
        BAD,
        Reason.ERROR_RATE_ABOVE_CONTROL,
        "P2",
    ),
    "a new pod that is not ready yet is not waited for": (
        watch_of(
            served(NEW[:1], *ALL),
            pods=(pod_of(NEW[0]), pod_of(NEW[1], ready=False, ready_since=None)),
        ),
        BAD,
        Reason.ERROR_RATE_ABOVE_CONTROL,
        "P1",
    ),
}


@pytest.mark.parametrize(("watch", "value", "reason", "expected"), ROWS.values(), ids=ROWS)
def test_verdict(watch, value, reason, expected) -> None:
    verdict = judged(watch)
    assert (verdict.value, verdict.reason, severity(verdict)) == (value, reason, expected)
    assert verdict.message


MID = tuple(f"mid-{number}" for number in range(4))


def replacing(*counts: list[Increment]) -> Watch:
    """A release that has replaced `MID`, which is not what it is compared with."""
    watch = watch_of(*counts, gone=MID)
    pods = tuple(replace(one, pod_hash="hashmid") if one.name in MID else one for one in watch.pods)
    return replace(watch, pods=pods, replaced_hashes=frozenset({"hashmid"}))


def test_an_outage_that_the_replaced_revision_had_is_not_the_releases() -> None:
    verdict = judged(
        replacing(served(NEW, *FIFTH), served(MID, (60, 11), (60, 12), (60, 13), begin=-13))
    )
    assert (verdict.value, verdict.reason) == (SUSPECT, Reason.OLD_REVISION_FAILS_TOO)


def test_a_bad_release_after_one_that_did_well_or_fails_less_is_still_found() -> None:
    for failed in (0, 1):
        counts = served(MID, *[(60, failed)] * 3, begin=-13)
        assert judged(replacing(served(NEW, *FIFTH), counts)).value is BAD


@pytest.mark.parametrize(
    ("failed", "value"), [(0, BAD), (12, SUSPECT)], ids=["did well since", "fails since"]
)
def test_what_the_target_failed_before_its_successor_did_well_is_no_veto(failed, value) -> None:
    before = served(OLD, *FIFTH, begin=-100)
    watch = replacing(served(NEW, *FIFTH), served(MID, *[(60, failed)] * 3, begin=-13), before)
    pods = tuple(replace(pod, terminating=pod.name not in NEW) for pod in watch.pods)
    assert judged(replace(watch, pods=pods)).value is value


def test_pods_of_one_bad_node_are_not_the_release() -> None:
    watch = watch_of(served(NEW[:2], *[(60, 60)] * 4), served(NEW[2:], *[(60, 0)] * 4))
    at = {NEW[0]: "n1", NEW[1]: "n1", NEW[2]: "n2", NEW[3]: "n3"}
    pods = tuple(replace(pod, node=at[pod.name]) for pod in watch.pods)
    assert judged(replace(watch, pods=pods)).reason is Reason.FEW_PODS_AFFECTED
    spread = tuple(replace(pod, node="n1") for pod in watch.pods)
    assert judged(replace(watch, pods=spread)).value is BAD


@pytest.mark.parametrize("gone", [(), OLD], ids=["old pods", "history"])
@pytest.mark.parametrize("failed", [12, 40], ids=["a third", "all"])
def test_a_pod_that_fails_more_does_not_make_another_one_well(failed, gone) -> None:
    counts = served(NEW[:1], *[(40, failed)] * 4), served(NEW[1:2], *[(40, 3)] * 4)
    verdict = judged(watch_of(*counts, served(OLD[:2], *[(40, 0)] * 4), gone=gone))
    assert (verdict.value, severity(verdict)) == (BAD, "P2")


@pytest.mark.parametrize("gone", [(), OLD], ids=["old pods", "history"])
@pytest.mark.parametrize("failed", [3, 10], ids=["a third", "all"])
def test_two_errors_on_another_pod_do_not_make_one_bad_pod_the_release(failed, gone) -> None:
    counts = served(NEW[:1], *[(10, failed)] * 4), served(NEW[1:2], *[(10, 1), (10, 0)] * 2)
    verdict = judged(watch_of(*counts, served(OLD[:2], *[(10, 0)] * 4), gone=gone))
    assert verdict.value in (WATCHING, SUSPECT)
    assert "only 2 of 2" not in verdict.message


def test_of_a_pod_on_which_nearly_all_fails_it_is_said_that_it_is_only_one() -> None:
    counts = served(NEW[:1], *ALL), served(NEW[1:2], (7, 1), (7, 0), (7, 1), route=LIST)
    old = [served(OLD[:2], *CLEAN, route=route) for route in (PURCHASE, LIST)]
    verdict = judged(watch_of(*counts, *old))
    assert verdict.reason is Reason.FEW_PODS_AFFECTED
    assert "only 1 of 2 new pods fail" in verdict.message


@pytest.mark.parametrize("failed", [20, 60], ids=["a third", "all"])
@pytest.mark.parametrize(
    ("others", "reason"),
    [((60, 5), Reason.ERROR_RATE_ABOVE_CONTROL), ((60, 0), Reason.FEW_PODS_AFFECTED)],
    ids=["fail as well", "are well"],
)
def test_whether_it_is_one_node_is_told_by_what_fails_elsewhere(failed, others, reason) -> None:
    watch = watch_of(served(NEW[:2], *[(60, failed)] * 4), served(NEW[2:], *[others] * 4))
    pods = tuple(replace(pod, node="n1" if pod.name in NEW[:2] else "n2") for pod in watch.pods)
    assert judged(replace(watch, pods=pods)).reason is reason


def test_one_error_on_each_of_many_pods_is_not_one_pod() -> None:
    counts = served(MANY, *[(1, 0)] * 5, (5, 1), apart=0.3), served(OLD, *CLEAN * 2)
    assert judged(watch_of(*counts)).value is BAD


def test_the_method_is_told() -> None:
    alone = judged(watch_of(served(NEW, *ALL)))
    beside = judged(watch_of(served(NEW[:2], *ALL), served(OLD[:2], *CLEAN)))
    assert alone.leading.method is Method.HISTORY
    assert beside.leading.method is Method.CONTROL
    assert alone.leading.blame.is_from_first_request
    assert beside.leading.blame is None


def test_the_odds_are_shared_out_among_the_scopes() -> None:
    one = judged(watch_of(served(NEW, *ALL)), purchase_routes=())
    three = judged(watch_of(served(NEW, *ALL), served(NEW, *CLEAN, route=RESERVE)))
    assert [scope.route for scope in one.scopes] == [None]
    assert [scope.route for scope in three.scopes] == [None, PURCHASE, RESERVE]
    assert one.scopes[0].odds > three.scopes[0].odds


# -- nothing to judge from -------------------------------------------------------------------------

GOOD = watch_of(served(NEW, *CLEAN))


@pytest.mark.parametrize(
    ("watch", "now", "value", "reason"),
    [
        (
            replace(GOOD, missing=Missing(Reason.NOT_A_NUMBER, "NaN")),
            None,
            NONE,
            Reason.NOT_A_NUMBER,
        ),
        (
            replace(GOOD, missing=Missing(Reason.PROVIDER_UNREACHABLE, "down")),
            None,
            NONE,
            Reason.PROVIDER_UNREACHABLE,
        ),
        (open_watch("digest-v2", T0, frozenset()), 5, NONE, Reason.NOT_YET_READ),
        (replace(GOOD, skew=6.0), None, NONE, Reason.CLOCK_SKEW),
        (replace(GOOD, skew=-6.0), None, NONE, Reason.CLOCK_SKEW),
        (replace(GOOD, skew=3.0), 19.2, WATCHING, Reason.NO_EVIDENCE_AGAINST),
        (GOOD, 22 + 14.9, WATCHING, Reason.NO_EVIDENCE_AGAINST),
        (GOOD, 22 + 15.1, NONE, Reason.SAMPLES_STALE),
        (watch_of(pods=(pod_of("new-0"),)), 10, WATCHING, Reason.EVIDENCE_GATHERING),
        (watch_of(pods=(pod_of("new-0"),)), 60, NONE, Reason.NO_SERIES),
        (watch_of(served(OLD, *CLEAN), pods=(pod_of("new-0"),)), 60, NONE, Reason.NO_SERIES),
        (
            watch_of(pods=(pod_of("new-0", ready=False, ready_since=None),)),
            100,
            WATCHING,
            Reason.EVIDENCE_GATHERING,
        ),
    ],
    ids=[
        "not a number",
        "provider down",
        "not read yet",
        "clock ahead",
        "clock behind",
        "skew below the interval",
        "as old as may be",
        "stale",
        "not scraped yet",
        "never scraped",
        "only the old revision is scraped",
        "not ready yet",
    ],
)
def test_missing_data_is_neither_good_nor_bad(watch, now, value, reason) -> None:
    verdict = judged(watch, now=now)
    assert (verdict.value, verdict.reason) == (value, reason)
    assert severity(verdict) is None


# -- Kubernetes beside the counters ----------------------------------------------------------------


def stuck(watch: Watch, **changes) -> Workload:
    pods = (*watch.pods, pod_of("new-9", ready=False, ready_since=None, **changes))
    return make_workload(pods=pods, deployment=make_deployment(available=3, updated=2, total=5))


def test_a_stuck_rollout_is_bad_without_a_sample() -> None:
    watch = watch_of()
    verdict = judged(watch, stuck(watch, own_failure="CrashLoopBackOff"), now=301)
    assert (verdict.value, verdict.reason) == (BAD, Reason.STUCK_ROLLOUT)
    assert verdict.first_bad == T0
    assert severity(verdict) == "P2"


def test_a_stuck_rollout_does_not_hide_that_all_purchases_fail() -> None:
    watch = watch_of(served(NEW, *ALL, begin=290))
    verdict = judged(watch, stuck(watch, own_failure="CrashLoopBackOff"), now=310)
    assert verdict.reason is Reason.STUCK_ROLLOUT
    assert severity(verdict) == "P1"


@pytest.mark.parametrize(
    ("counts", "value", "reason"),
    [
        (CLEAN, NONE, Reason.ENVIRONMENT_PREVENTS_PODS),
        (ALL, BAD, Reason.ERROR_RATE_ABOVE_CONTROL),
    ],
    ids=["nothing against it", "the others fail"],
)
def test_a_pod_that_is_not_scheduled_says_nothing(counts, value, reason) -> None:
    watch = watch_of(served(NEW, *counts))
    verdict = judged(watch, stuck(watch, environment="0/3 nodes are available"))
    assert (verdict.value, verdict.reason) == (value, reason)


FALLEN = make_workload(
    deployment=make_deployment(available=0, completed=T0 + 60),
    pods=tuple(
        pod_of(name, ready=False, ready_since=None, own_failure="running but not ready")
        for name in NEW
    ),
)


@pytest.mark.parametrize(
    ("counts", "value"),
    [(CLEAN, SUSPECT), (ALL, BAD)],
    ids=["nothing against it", "all purchases fail as well"],
)
def test_an_outage_long_after_the_rollout_is_told(counts, value) -> None:
    watch = watch_of(served(NEW, *counts), pods=FALLEN.pods, unavailable_since=T0 + 600)
    verdict = judged(watch, FALLEN, now=700)
    assert verdict.value is value
    assert ("fully available for 540 s" in verdict.message) == (value is SUSPECT)
    assert severity(verdict) == (None if value is SUSPECT else "P1")


AN_HOUR = [(50, 0)] * 720
A_MINUTE = [(50, 50)] * 12


@pytest.mark.parametrize("control", [None, make_control(36_000, 36_000)], ids=["none", "it failed"])
@pytest.mark.parametrize(
    ("counts", "said"),
    [
        (AN_HOUR, ""),
        ([*AN_HOUR, *A_MINUTE], "recently"),
        ([*AN_HOUR, *A_MINUTE, *AN_HOUR[:24]], ""),
        ([*AN_HOUR, *[(50, 26)] * 12], ""),
        ([(1, 0)] * 720 + [(1, 1)] * 60, "recently"),
    ],
    ids=["well", "fails", "failed for a minute", "about half", "with little traffic"],
)
def test_what_was_gone_back_to_and_fails_after_an_hour_is_told(counts, said, control) -> None:
    """What it took the place of is no measure, and a late fault is a small part of the watch."""
    verdict = judged(watch_of(served(NEW[:1], *counts), control=control))
    assert verdict.value in (WATCHING, NONE)
    found = fails_alike(verdict)
    assert bool(found) is bool(said)
    assert found.endswith(said)


def read_often(*, every: float, errors: int, until: float = 24.0) -> Watch:
    """Two new pods read ever so often: each time one request, each n-th of them failed."""
    counts = []
    for number in range(1, int((until - 2) / every)):
        failed = float(number % errors == 0)
        begin = 2 + every * (number - 1)
        counts.append(
            [
                make_increment(pod=pod, start=begin, end=begin + every, requests=1, errors=failed)
                for pod in NEW[:2]
            ]
        )
    return watch_of(*counts)


def test_half_a_second_without_an_error_is_no_sign_that_errors_have_ceased() -> None:
    watch = read_often(every=0.5, errors=2, until=23)
    assert watch.evidence.increments[-1].errors == 0
    often = replace(watch, evidence=replace(watch.evidence, read=watch.evidence.seen))
    assert "newest samples" not in judged(often).scopes[0].unmet


def test_errors_that_have_ceased_are_seen_to_have() -> None:
    failing = read_often(every=0.5, errors=1, until=12).evidence.increments
    clean = [
        make_increment(pod=pod, start=12 + n / 2, end=12.5 + n / 2, requests=1)
        for n in range(16)
        for pod in NEW[:2]
    ]
    watch = watch_of(list(failing), clean)
    often = replace(watch, evidence=replace(watch.evidence, read=watch.evidence.seen))
    assert "newest samples" in judged(often).scopes[0].unmet


def test_pods_that_are_read_in_their_first_second_may_only_warm_up() -> None:
    counts = [
        make_increment(pod=pod, start=2 + n / 2, end=2.5 + n / 2, requests=10, errors=failed)
        for n, failed in enumerate((10, 10, 10, 6))
        for pod in NEW[:2]
    ]
    watch = watch_of(counts)
    often = replace(watch, evidence=replace(watch.evidence, read=watch.evidence.seen))
    purchase = next(one for one in judged(often).scopes if one.route == PURCHASE)
    assert purchase.unmet == "the pods have only started to serve"
    assert not next(one for one in judged(watch).scopes if one.route == PURCHASE).unmet


@pytest.mark.parametrize(
    ("passes", "unmet"),
    [((0, 0, 0, 0), ""), ((0, 1, 1, 1), "the pods have only started to serve")],
    ids=["none passes", "one of ten passes"],
)
def test_of_young_pods_requests_hardly_one_may_pass(passes, unmet) -> None:
    """The first pod has served for four seconds, the others, which have most of it, for two."""
    first = [
        make_increment(pod=NEW[0], start=2 + n, end=3 + n, requests=1, errors=1) for n in range(4)
    ]
    younger = [
        make_increment(
            pod=pod,
            start=4 + n / 2,
            end=4.5 + n / 2,
            requests=5,
            errors=5 - passed * (pod == NEW[1]),
        )
        for n, passed in enumerate(passes)
        for pod in NEW[1:3]
    ]
    watch = watch_of(first, younger)
    often = replace(watch, evidence=replace(watch.evidence, read=watch.evidence.seen))
    purchase = next(one for one in judged(often).scopes if one.route == PURCHASE)
    assert purchase.unmet == unmet


def test_of_many_pods_those_that_are_read_are_compared_at_once() -> None:
    """Two of four old pods are read each second; the others have been scraped eight seconds ago."""
    read = {*NEW[:2], *OLD[:2]}
    failing = [
        make_increment(pod=pod, start=2 + n, end=3 + n, requests=10, errors=10)
        for n in range(8)
        for pod in NEW[:2]
    ]
    clean = [
        make_increment(pod=pod, start=2 + n, end=3 + n, requests=10)
        for n in range(8)
        for pod in OLD[:2]
    ]
    late = [make_increment(pod=pod, start=-3, end=2.0, requests=50) for pod in OLD[2:]]
    watch = watch_of(failing, clean, late)
    often = replace(watch, evidence=replace(watch.evidence, read=dict.fromkeys(read, T0 + 10)))
    assert judged(watch).value is not BAD
    assert judged(often).value is BAD
    assert judged(often).scopes[0].method is Method.CONTROL


@pytest.mark.parametrize(
    ("has_warm_up", "value", "expected"), [(True, NONE, None), (False, BAD, "P2")]
)
def test_first_errors_count_at_once_where_earlier_starts_had_none(
    has_warm_up, value, expected
) -> None:
    verdict = judged(watch_of(served(NEW, *[(60, 12)] * 2)), has_warm_up=has_warm_up)
    assert (verdict.value, severity(verdict)) == (value, expected)


def test_a_page_read_in_the_first_second_counts_where_earlier_starts_had_none() -> None:
    first = [
        make_increment(pod=pod, start=2 + 0.5 * step, end=2.5 + 0.5 * step, requests=20, errors=8)
        for pod in NEW
        for step in range(3)
    ]
    watch = watch_of(first)
    read = replace(watch, evidence=replace(watch.evidence, read=dict.fromkeys(NEW, T0 + 3.5)))
    assert judged(read, has_warm_up=False).value is BAD
    assert judged(read).value is not BAD


def placed(watch: Watch, **nodes: str) -> Watch:
    """Put pods on nodes by their names, with _ for -."""
    of = {name.replace("_", "-"): node for name, node in nodes.items()}
    return replace(watch, pods=tuple(replace(p, node=of.get(p.name, p.node)) for p in watch.pods))


LONG = 24
"""Samples: old pods that differ among themselves weaken the evidence, it takes two minutes."""
SINGLE = served(NEW[:1], *[(60, 30)] * LONG)
CLEAN_OLD = [(60, 0)] * LONG
NODES = {
    "the old pod beside it fails alike, those on other nodes do not": (
        [(60, 30)] * LONG,
        [(60, 0)] * LONG,
        SUSPECT,
        Reason.ENVIRONMENT_SUSPECTED,
    ),
    "the old pod beside it fails a little, those on other nodes do not": (
        [(60, 3)] * LONG,
        [(60, 0)] * LONG,
        BAD,
        Reason.ERROR_RATE_ABOVE_CONTROL,
    ),
    "the old pod beside it does not fail": (
        [(60, 0)] * LONG,
        [(60, 0)] * LONG,
        BAD,
        Reason.ERROR_RATE_ABOVE_CONTROL,
    ),
    "an old pod on another node fails": (
        [(60, 0)] * LONG,
        [(60, 6)] * LONG,
        BAD,
        Reason.ERROR_RATE_ABOVE_CONTROL,
    ),
}


@pytest.mark.parametrize(("beside", "elsewhere", "value", "reason"), NODES.values(), ids=NODES)
def test_a_single_new_pod_is_compared_with_the_old_pods_of_its_node(
    beside, elsewhere, value, reason
) -> None:
    watch = placed(
        watch_of(
            SINGLE,
            served(OLD[:1], *beside),
            served(OLD[1:2], *elsewhere),
            served(OLD[2:], *CLEAN_OLD),
        ),
        new_0="node-a",
        old_0="node-a",
    )
    found = judged(watch)
    assert (found.value, found.reason) == (value, reason)
    if value is SUSPECT:
        assert "the old pods on node-a fail alike, those on other nodes do not: check the node" in (
            found.message
        )


@pytest.mark.parametrize(
    ("errors", "value", "reason"),
    [(2, SUSPECT, Reason.FEW_PODS_AFFECTED), (7, BAD, Reason.ERROR_RATE_ABOVE_CONTROL)],
    ids=["a chance run of usual errors", "the same fault, milder"],
)
def test_usual_errors_of_other_pods_make_no_shared_fault(errors, value, reason) -> None:
    control = make_control(requests=100_000, errors=1000, worst_minute=0.011)
    worst, others = served(NEW[:1], *[(125, 38)] * 10), served(NEW[1:], *[(125, errors)] * 10)
    found = judged(watch_of(worst, others, control=control))
    assert (found.value, found.reason) == (value, reason)


def test_new_pods_that_fail_on_two_nodes_are_explained_only_by_both() -> None:
    old = tuple(f"old-{number}" for number in range(12))
    fails, clean = [(60, 30)] * LONG, served(old[2:], *CLEAN_OLD)
    on = {"new_0": "node-a", "old_0": "node-a", "new_1": "node-b", "old_1": "node-b"}
    both = placed(watch_of(served((*NEW[:2], *old[:2]), *fails), clean), **on)
    only = served((*NEW[:2], old[0]), *fails), served(old[1:2], *CLEAN_OLD)
    found, other = judged(both), judged(placed(watch_of(*only, clean), **on))
    assert (found.value, found.reason) == (SUSPECT, Reason.ENVIRONMENT_SUSPECTED)
    assert "the old pods on node-a and node-b fail alike" in found.message
    assert other.value is BAD


LATE = [(60, 0)] * 4, [(60, 12)] * 26


def test_scopes_that_share_a_fault_share_its_blame() -> None:
    """A fifth fails from 20 s on; of purchases there are so few that they fit any onset."""
    purchases = [(0.5, 0)] * 4 + [(0.5, 0.1)] * 26
    found = judged(
        watch_of(
            served(NEW, *LATE[0], *LATE[1], route=LIST), served(NEW, *purchases, route=PURCHASE)
        )
    )
    pooled, purchase, *_ = found.scopes
    assert (found.value, found.reason) == (SUSPECT, Reason.ENVIRONMENT_SUSPECTED)
    assert min(pooled.odds, purchase.odds) > BAD_ODDS
    assert pooled.blame == purchase.blame
    assert pooled.blame is not None
    assert pooled.blame.odds < 100


def test_a_second_fault_from_the_first_purchase_on_has_a_blame_of_its_own() -> None:
    purchases = [(4, 3)] * 30
    found = judged(
        watch_of(
            served(NEW, *LATE[0], *LATE[1], route=LIST), served(NEW, *purchases, route=PURCHASE)
        )
    )
    pooled, purchase, *_ = found.scopes
    assert (found.value, found.leading) == (BAD, purchase)
    assert pooled.blame is not None
    assert purchase.blame is not None
    assert pooled.blame.odds < 100 < purchase.blame.odds


MILD = [(60, 2)] * 12
PAUSED, OVER = [*MILD, (30, 0)], [*MILD, *[(60, 0)] * 8]


@pytest.mark.parametrize(
    ("counts", "against", "value", "expected"),
    [
        (MILD, None, BAD, "P4"),
        (PAUSED, None, WATCHING, None),
        (PAUSED, BAD, BAD, "P4"),
        (PAUSED, SUSPECT, SUSPECT, None),
        (OVER, BAD, WATCHING, None),
        (OVER, SUSPECT, WATCHING, None),
    ],
    ids=[
        "errors",
        "a sample without errors",
        "was bad, a sample without errors",
        "was suspect, a sample without errors",
        "was bad, errors have ended",
        "was suspect, errors have ended",
    ],
)
def test_a_verdict_against_a_release_stays_while_its_errors_go_on(
    counts, against, value, expected
) -> None:
    found = judged(watch_of(served(NEW, *counts), against=against))
    assert (found.value, severity(found)) == (value, expected)


@pytest.mark.parametrize(
    ("against", "value"), [(None, WATCHING), (SUSPECT, SUSPECT)], ids=["new", "was suspect"]
)
def test_a_suspicion_ends_at_a_tenth_of_the_odds_at_which_it_began(against, value) -> None:
    found = judged(watch_of(served(NEW[:1], *[(60, 2)] * 8), against=against))
    assert 10 < max(one.odds for one in found.scopes) < 100
    assert found.value is value


@pytest.mark.parametrize(
    ("against", "value"),
    [(None, SUSPECT), (SUSPECT, SUSPECT), (BAD, BAD)],
    ids=["new", "was suspect", "was bad"],
)
def test_a_bad_release_stays_bad_at_the_odds_of_a_deadline(against, value) -> None:
    found = judged(watch_of(served(NEW[:1], *[(60, 3)] * 6), against=against))
    assert 1000 < max(one.odds for one in found.scopes) < BAD_ODDS
    assert found.value is value


@pytest.mark.parametrize(
    ("created", "said", "ends"),
    [
        (-900, "the running pods served", "the next release is compared with it"),
        (0, "the new pods served", "its history is too short"),
    ],
    ids=["adopted", "a first release"],
)
def test_a_revision_that_ran_before_the_watch_is_not_called_new(created, said, ends) -> None:
    pods = tuple(pod_of(name, created=T0 + created) for name in NEW)
    watch = watch_of(served(NEW, *CLEAN), pods=pods, control=None)
    found = judged(replace(watch, control_hashes=frozenset()))
    assert found.reason is Reason.NO_CONTROL
    assert found.message.startswith(said)
    assert found.message.endswith(ends)
    stale = judged(watch, now=100)
    assert ("of the running revision" in stale.message) is (created < 0)
    assert ("of the new revision" in stale.message) is (created == 0)


@pytest.mark.parametrize(
    ("age", "reason", "value"),
    [(0, Reason.SYMPTOM_FOUND, BAD), (86_400, Reason.ENVIRONMENT_SUSPECTED, SUSPECT)],
    ids=["released", "restored"],
)
def test_containers_that_restart_speak_against_a_new_revision_alone(age, reason, value) -> None:
    pods = tuple(pod_of(name, restarts=1) for name in NEW)
    sets = (make_replica_set("v2", created=T0 - age), make_replica_set("v1", created=T0 - 90_000))
    workload = make_workload(pods=pods, replica_sets=sets)
    matrix = [one for rule in RUNBOOK_MATRIX for one in rule.when]
    found = judged(watch_of(served(NEW, *CLEAN), pods=pods), workload, conditions=tuple(matrix))

    assert (found.value, found.reason) == (value, reason)
    assert (severity(found) is None) is (value is SUSPECT)


def test_a_fault_in_the_only_sample_of_pods_ready_in_that_instant_is_judged() -> None:
    pods = tuple(pod_of(name, ready_since=T0 + 7) for name in NEW)
    counted = [make_series([(7, 100)], pod=name) for name in NEW]
    watch = with_reading(watch_of(pods=pods), make_counters(counted, counted))

    assert judged(watch).reason is Reason.EVIDENCE_GATHERING


def unrouted(pods: tuple[str, ...], errors: int) -> list[Increment]:
    """Requests without the route label, and errors with it."""
    failed = served(pods, *[(0, errors)] * 4) if errors else []
    return [*served(pods, *[(20, 0)] * 4, route=""), *failed]


@pytest.mark.parametrize("old", [(), OLD], ids=["old pods gone", "beside old pods"])
@pytest.mark.parametrize(("errors", "value"), [(20, BAD), (0, WATCHING)], ids=["all", "none"])
def test_errors_with_a_route_that_requests_do_not_carry_are_seen(errors, value, old) -> None:
    verdict = judged(watch_of(unrouted(NEW, errors), unrouted(old, 0)))
    assert verdict.value is value
    assert severity(verdict) == ("P2" if errors else None)


def test_a_few_errors_on_a_route_without_requests_are_no_fault_of_their_own() -> None:
    few = served(NEW[:1], *[(0, 1)] * 12, route="unknown")
    for counted in ([(500, 0)] * 12, [(500, 10)] * 12):
        verdict = judged(
            watch_of(served(NEW[:1], *counted), few, control=make_control(errors=3600))
        )
        assert (verdict.value, severity(verdict)) == (WATCHING, None)


def test_errors_that_are_sampled_at_other_times_than_requests_are_those_of_their_pods() -> None:
    requests = served(NEW, *[(20, 0)] * 4)
    errors = served(NEW, *[(0, 20)] * 4, begin=1.0)
    verdict = judged(watch_of(requests, errors))
    assert (verdict.value, severity(verdict)) == (BAD, "P1")
