"""Functional probes while a release is watched: what they prove, and what they do not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rollback_operator.api.reasons import Reason
from rollback_operator.api.v1alpha1 import MatrixCondition, SignalName
from rollback_operator.api.verification import ProbeRecord
from rollback_operator.evidence.trends import Trial
from rollback_operator.judge import matrix_probes
from rollback_operator.judge.matrix_probes import (
    MOST_RECORDS,
    Serving,
    opened_trial,
    recorded,
    serving,
    with_result,
)
from rollback_operator.model.check import failed, passed, unknown
from tests.builders import T0, at, make_pods, make_workload

BUY = MatrixCondition(signal=SignalName.PROBE, name="buy")
OLD, BOTH, NEW = Serving.OLD, Serving.BOTH, Serving.NEW
GOOD, BAD, SILENT = passed("buy", "200"), failed("buy", "GET answered 500"), unknown("buy", "no")
KNOWN = Trial(passed_before=True)


def record(name: str = "buy", release: str = "release-v1") -> ProbeRecord:
    return ProbeRecord(name=name, release=release, passed_time=at(-60))


def run(trial: Trial, *steps) -> Trial:
    for number, (check, who) in enumerate(steps):
        trial = with_result(trial, check, who, T0 + number)
    return trial


SPOKEN = {
    "three failures": (KNOWN, [(BAD, NEW)] * 3, "guilty"),
    "two": (KNOWN, [(BAD, NEW)] * 2, None),
    "three, not in a row": (KNOWN, [(BAD, BOTH)] * 2 + [(GOOD, BOTH)] + [(BAD, NEW)] * 2, None),
    "three while old pods still answer": (KNOWN, [(BAD, BOTH)] * 3, "guilty"),
    "silence between them": (KNOWN, [(BAD, NEW), (SILENT, NEW), (BAD, NEW), (BAD, NEW)], "guilty"),
    "silence is no failure": (KNOWN, [(SILENT, NEW)] * 9, None),
    "never seen to pass": (Trial(), [(BAD, NEW)] * 9, None),
    "the old pods passed it a moment ago": (Trial(), [(GOOD, OLD)] + [(BAD, NEW)] * 3, "guilty"),
    "the old pods fail it too": (KNOWN, [(BAD, OLD)] + [(BAD, NEW)] * 3, "vetoed"),
    "the old pods have failed it and then passed": (
        KNOWN,
        [(BAD, OLD), (GOOD, OLD)] + [(BAD, NEW)] * 3,
        "guilty",
    ),
    "it fails long after it had passed": (KNOWN, [(GOOD, NEW)] + [(BAD, NEW)] * 9, None),
    "passed by an old pod perhaps, then failed": (
        KNOWN,
        [(GOOD, BOTH)] + [(BAD, NEW)] * 3,
        "guilty",
    ),
}


@pytest.mark.parametrize(("trial", "steps", "expected"), SPOKEN.values(), ids=SPOKEN)
def test_symptom(trial, steps, expected) -> None:
    found = matrix_probes.probe_symptom({"buy": run(trial, *steps)}, BUY)
    if expected is None:
        assert found is None
        return
    assert found is not None
    assert found.veto is (Reason.OLD_REVISION_FAILS_TOO if expected == "vetoed" else None)
    assert found.signal is SignalName.PROBE
    assert found.name == "buy"
    assert "GET answered 500" in found.message
    assert ("the old revision passed it" in found.message) is (expected == "guilty")


def test_it_began_with_the_first_failure_of_the_row() -> None:
    trial = run(KNOWN, (BAD, BOTH), (GOOD, BOTH), (BAD, NEW), (BAD, NEW), (BAD, NEW))
    found = matrix_probes.probe_symptom({"buy": trial}, BUY)
    assert found is not None
    assert found.since == T0 + 2


def test_another_probe_says_nothing() -> None:
    trial = run(KNOWN, *[(BAD, NEW)] * 3)
    assert matrix_probes.probe_symptom({"list": trial}, BUY) is None


NEW_PODS, OLD_PODS = make_pods(2, "v2"), make_pods(2, "v1")
UNREADY = make_pods(2, "v2", ready=False)
DYING = make_pods(2, "v1", terminating=True)


@pytest.mark.parametrize(
    ("pods", "expected"),
    [
        ((*OLD_PODS, *UNREADY), OLD),
        ((*OLD_PODS, *NEW_PODS), BOTH),
        (NEW_PODS, NEW),
        ((*DYING, *NEW_PODS), NEW),
        ((*DYING, *UNREADY), None),
        ((), None),
    ],
    ids=["old", "both", "new", "old ones go", "none is ready", "none"],
)
def test_serving(pods, expected) -> None:
    assert serving(replace(make_workload("v2"), pods=pods)) is expected


# -- what is remembered ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ([], Trial()),
        ([record()], Trial(passed_before=True)),
        ([record(release="release-v2")], Trial(has_passed=True)),
        ([record("list")], Trial()),
    ],
    ids=["nothing", "another release", "this one: a restart of the operator", "another probe"],
)
def test_opened(records, expected) -> None:
    assert opened_trial("buy", records, "release-v2") == expected


def test_a_release_that_passes_is_recorded_once() -> None:
    before = [record(), record("list")]
    found = recorded(before, {"buy": Trial(has_passed=True)}, "release-v2", at(9))
    assert {(one.name, one.release) for one in found} == {
        ("list", "release-v1"),
        ("buy", "release-v2"),
    }
    assert recorded(found, {"buy": Trial(has_passed=True)}, "release-v2", at(99)) == found
    assert recorded(before, {"buy": run(KNOWN, *[(BAD, NEW)] * 3)}, "release-v2", at(9)) == before


def test_records_are_few() -> None:
    before = [record(f"probe-{n}") for n in range(MOST_RECORDS)]
    found = recorded(before, {"buy": Trial(has_passed=True)}, "release-v2", at(9))
    assert len(found) == MOST_RECORDS
    assert found[-1].name == "buy"
