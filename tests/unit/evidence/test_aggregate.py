from dataclasses import replace

import pytest

from rollback_operator.api.reasons import Reason
from rollback_operator.api.v1alpha1 import VerdictValue
from rollback_operator.evidence.watch import open_watch, with_reading, with_workload
from rollback_operator.judge.judge import judge
from rollback_operator.model.samples import Counters, CounterSeries
from tests.builders import (
    LIST,
    PURCHASE,
    RESERVE,
    T0,
    make_control,
    make_pods,
    make_question,
    make_workload,
)

MIX = {LIST: 0.4, RESERVE: 0.3, PURCHASE: 0.3}
READY = 5
"""Seconds after the release until its first pod is ready; the last one follows 6 s later."""


def ingress(fails, until, rps=50):
    """Counters of an ingress with two replicas, read every 5 s; `fails` gives a share at a time."""
    requests, errors = [], []
    for replica in ("10.0.0.1", "10.0.0.2"):
        for route, share in MIX.items():
            counted, failed, seen, bad = 1000.0, 10.0, [], []
            for at in range(-60, until, 5):
                more = rps * share * 5 / 2
                counted, failed = counted + more, failed + more * fails(at, route)
                seen.append((T0 + at, counted))
                bad.append((T0 + at, failed))
            identity = (("instance", replica),)
            requests.append(CounterSeries("", route, identity, "", tuple(seen)))
            errors.append(CounterSeries("", route, identity, "", tuple(bad)))
    return Counters(tuple(requests), tuple(errors))


def verdict(fails, until=60, ready=True, is_told_by_pod=False, apart=2):
    pods = tuple(
        replace(pod, ready=ready, ready_since=T0 + READY + apart * number if ready else None)
        for number, pod in enumerate(make_pods(version="v2"))
    )
    workload = make_workload(pods=pods)
    watch = replace(open_watch("digest-v2", T0, frozenset({"hashv1"})), control=make_control())
    watch = with_reading(with_workload(watch, workload, T0 + until), ingress(fails, until))
    return judge(watch, workload, make_question(has_pods=is_told_by_pod), T0 + until)


def test_what_fails_with_the_rollout_is_the_releases_doing() -> None:
    found = verdict(lambda at, route: 1.0 if at > READY and route == PURCHASE else 0.0)
    assert found.value is VerdictValue.BAD
    assert found.leading.route == PURCHASE
    assert found.leading.blame.is_from_first_request


@pytest.mark.parametrize("apart", [3, 5, 20])
@pytest.mark.parametrize("rate", [1.0, 0.3])
def test_errors_that_grow_with_the_rollout_are_the_releases_doing(rate, apart) -> None:
    """Four pods take over one by one: the old ones' requests thin the new ones' errors out."""

    def fails(at, route):
        return rate * sum(at - 2.5 > READY + apart * number for number in range(4)) / 4

    found = verdict(fails, until=120, apart=apart)
    assert found.value is VerdictValue.BAD
    assert found.leading.blame.is_from_first_request
    assert found.scopes[0].is_proved


def test_what_fails_at_the_end_of_a_rollout_may_be_anybodys() -> None:
    """A twentieth of the requests in it have failed: too few for any share of the new pods."""
    found = verdict(lambda at, route: 1.0 if at > READY + 10 else 0.05 if at > READY else 0.0)
    assert found.reason is Reason.ENVIRONMENT_SUSPECTED


@pytest.mark.parametrize("from_second", [25, 60, 300])
def test_what_fails_later_may_be_anybodys(from_second) -> None:
    found = verdict(lambda at, route: 0.5 if at > from_second else 0.0, until=from_second + 60)
    assert (found.value, found.reason) == (VerdictValue.SUSPECT, Reason.ENVIRONMENT_SUSPECTED)


def test_what_failed_before_is_not_the_releases() -> None:
    found = verdict(lambda at, route: 0.5 if at > -40 else 0.0)
    assert found.value is not VerdictValue.BAD
    assert found.reason is Reason.OLD_REVISION_FAILS_TOO


def test_nothing_speaks_against_a_good_release() -> None:
    found = verdict(lambda at, route: 0.001)
    assert (found.value, found.reason) == (VerdictValue.WATCHING, Reason.NO_EVIDENCE_AGAINST)


def test_before_a_new_pod_is_ready_there_is_nothing_to_judge() -> None:
    found = verdict(lambda at, route: 1.0, ready=False)
    assert found.value is VerdictValue.NO_VERDICT
    assert found.reason is Reason.TOO_FEW_REQUESTS


def test_a_policy_whose_series_have_pods_does_not_count_others() -> None:
    found = verdict(lambda at, route: 1.0, is_told_by_pod=True)
    assert found.value is not VerdictValue.BAD
