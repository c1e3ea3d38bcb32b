"""Without routes, probes are among the requests: a rate is judged only far above them."""

import pytest

from rollback_operator.api.reasons import Reason
from rollback_operator.api.v1alpha1 import VerdictValue
from rollback_operator.evidence.arms import probe_excess
from rollback_operator.judge.judge import judge
from tests.builders import T0, make_deployment, make_increment, make_question, make_workload
from tests.unit.judge.test_judge import NEW, served, watch_of


@pytest.mark.parametrize(
    ("changes", "probe_rate", "is_drowned"),
    [
        ({"requests": 9.0}, 0.2, True),
        ({"requests": 10.0}, 0.2, False),
        ({"requests": 9.0}, 0.0, False),
        ({"requests": 9.0, "route": "/buy"}, 0.2, False),
        ({"requests": 9.0, "pod": ""}, 0.2, False),
    ],
    ids=["few", "ten times as many", "no probes", "with a route", "through a gateway"],
)
def test_ten_times_as_many_requests_as_probes_are_needed(changes, probe_rate, is_drowned) -> None:
    one = make_increment(**{"route": "", "start": 0.0, "end": 5.0} | changes)
    assert bool(probe_excess([one], probe_rate)) is is_drowned


def test_of_nothing_nothing_is_said() -> None:
    assert probe_excess([], 0.2) == ""


@pytest.mark.parametrize("route", ["", "/buy"])
def test_the_judge_gives_no_verdict_on_what_probes_drown(route) -> None:
    counts = served(NEW, *[(5.0, 5.0)] * 10, route=route)
    workload = make_workload(deployment=make_deployment(probe_rate=0.2))
    verdict = judge(watch_of(counts), workload, make_question(), T0 + 55)
    if route:
        assert verdict.value is VerdictValue.BAD
    else:
        assert (verdict.value, verdict.reason) == (
            VerdictValue.NO_VERDICT,
            Reason.TOO_FEW_REQUESTS,
        )
        assert "40 are probes" in verdict.message
