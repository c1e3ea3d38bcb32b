import math
from dataclasses import replace

import pytest

from rollback_operator.api.reasons import Reason
from rollback_operator.decide.schedule import next_limit, next_look, next_read
from rollback_operator.evidence.counters import Evidence
from rollback_operator.evidence.scrape_state import Direct, off
from rollback_operator.evidence.series_identity import Book
from rollback_operator.evidence.watch import open_watch
from rollback_operator.model.samples import Missing
from tests.builders import (
    T0,
    make_pods,
    make_question,
    make_scope,
    make_verdict,
    make_watching,
    make_workload,
)

PODS = make_pods(2)
SEEN = {PODS[0].name: T0 + 100.0, PODS[1].name: T0 + 102.0}
WATCH = replace(
    open_watch("digest-v2", T0, frozenset()),
    missing=None,
    pods=PODS,
    evidence=Evidence(T0, seen=SEEN, scraped=SEEN, interval=5.0),
)
CLEAN = make_watching()
DOUBT = make_verdict(make_scope(odds=11.0))
DOWN = Missing(Reason.PROVIDER_UNREACHABLE, "down")
MANY = make_pods(100)
TIMES = {p.name: T0 + 99 + n / 20 for n, p in enumerate(MANY)}
CROWD = replace(
    WATCH,
    pods=MANY,
    evidence=Evidence(T0, seen=TIMES, scraped=TIMES, interval=5.0),
)
AWAITED = replace(WATCH, evidence=Evidence(T0, seen={PODS[0].name: T0 + 3.0}, interval=5.0))
READ = replace(WATCH, evidence=replace(WATCH.evidence, seen=dict.fromkeys(SEEN, T0 + 102.9)))
PAIRS = {("requests", "pod", (("route", f"/{n}"),)): () for n in range(4000)}
ROUTES = replace(WATCH, evidence=replace(WATCH.evidence, book=Book(pairs=PAIRS)))
DEAR = Book(heads=dict.fromkeys(PAIRS))
"""4,000 series: 2 s of pause."""
DENSE = replace(WATCH, evidence=replace(WATCH.evidence, interval=1.0, book=DEAR))
WORKS = replace(WATCH, control_hashes=frozenset({"hashv1"}), direct=Direct(None))
LATER = replace(WATCH, opened=T0 - 1000)


@pytest.mark.parametrize(
    ("watch", "verdict", "now", "expected"),
    [
        (WATCH, CLEAN, 103.0, 105.3),
        (WATCH, CLEAN, 105.2, 105.6),
        (WATCH, CLEAN, 106.0, 107.3),
        (replace(WATCH, skew=2.0), CLEAN, 103.0, 103.4),
        (WATCH, CLEAN, 108.0, 113.0),
        (AWAITED, CLEAN, 3.0, 3.5),
        (AWAITED, CLEAN, 62.5, 67.5),
        (LATER, CLEAN, 103.0, 108.0),
        (LATER, DOUBT, 103.0, 105.3),
        (replace(WATCH, missing=DOWN), DOUBT, 103.0, 108.0),
        (replace(LATER, evidence=replace(WATCH.evidence, interval=0.5)), CLEAN, 103.0, 104.0),
        (replace(WATCH, pods=()), CLEAN, 103.0, 108.0),
        (CROWD, CLEAN, 104.0, 106.0),
        (READ, CLEAN, 103.0, 105.3),
        (DENSE, DOUBT, 103.0, 105.0),
        (replace(DENSE, opened=T0 - 1000), CLEAN, 103.0, 105.0),
        (replace(WATCH, evidence=replace(WATCH.evidence, book=DEAR)), DOUBT, 103.5, 105.5),
    ],
    ids=[
        "just after the next sample",
        "not twice at once",
        "after the second pod's sample",
        "by the operator's clock",
        "none is due: an interval later",
        "a first sample is polled for",
        "but not for ever",
        "no longer young: once an interval",
        "something speaks against it: at each sample",
        "no answer: once an interval",
        "never faster than once a second when nothing is wrong",
        "no pods yet",
        "many pods: several samples at once",
        "what the operator itself has read makes no scrape come later",
        "many series every second: as dear looks are rarer",
        "nor once an interval, if that is short",
        "many series: not before the pause",
    ],
)
def test_next_look(watch, verdict, now, expected) -> None:
    found = next_look(watch, make_workload(pods=PODS), verdict, T0 + now)
    assert found - T0 == pytest.approx(expected)
    assert found > T0 + now


@pytest.mark.parametrize(
    ("changes", "times", "now", "expected"),
    [
        ({}, (), 10, 300.1),
        ({}, (), 301, 3600.1),
        ({}, (T0 + 65, None), 10, 65.1),
        ({}, (T0 + 5,), 10, 300.1),
        ({"unavailable_since": T0 + 20, "startup": 10.0}, (), 25, 60.1),
        ({}, (), 4000, 7600),
    ],
    ids=[
        "a standstill",
        "the end of the watch",
        "a deadline",
        "one that is over",
        "an outage",
        "none",
    ],
)
def test_next_limit(changes, times, now, expected) -> None:
    found = next_limit(replace(WATCH, **changes), make_question(), times, T0 + now)
    assert found - T0 == pytest.approx(expected)


def test_a_rollout_that_goes_on_after_a_hold_is_given_its_time_anew() -> None:
    question = make_question(resumed=T0 + 200)

    assert next_limit(WATCH, question, (), T0 + 301) - T0 == pytest.approx(500.1)


@pytest.mark.parametrize(
    ("watch", "verdict", "every", "expected"),
    [
        (WATCH, CLEAN, 0.5, 103.5),
        (LATER, CLEAN, 0.5, math.inf),
        (LATER, DOUBT, 0.5, 103.5),
        (CROWD, CLEAN, 0.5, 104.0),
        (CROWD, CLEAN, 5.0, 108.0),
        (ROUTES, CLEAN, 0.5, 105.0),
        (WORKS, CLEAN, 0.5, 103.5),
        (replace(WORKS, control_hashes=frozenset()), CLEAN, 0.5, math.inf),
        (replace(WATCH, direct=Direct(paused_until=T0 + 160)), CLEAN, 0.5, 160),
        (replace(WATCH, direct=off(Reason.SERIES_DIFFER, "")), DOUBT, 0.5, math.inf),
    ],
    ids=[
        "while it is young",
        "then not",
        "but while something speaks against it",
        "many pods: less often",
        "as often as is wanted",
        "many routes: less often",
        "while it works",
        "but not of what was there before there was a policy",
        "after a pause",
        "not at all",
    ],
)
def test_next_read(watch, verdict, every, expected) -> None:
    just_read = replace(watch, read_at=T0 + 103)
    assert next_read(just_read, verdict, every, T0 + 103) - T0 == pytest.approx(expected)


@pytest.mark.parametrize(
    ("read_at", "expected"),
    [(102.8, 103.3), (102.52, 103.1), (101, 103.1)],
    ids=["the pass took a while", "nearly as long", "longer: others get their time, too"],
)
def test_the_next_read_is_counted_from_the_last_one(read_at, expected) -> None:
    watch = replace(WATCH, read_at=T0 + read_at)
    assert next_read(watch, CLEAN, 0.5, T0 + 103) - T0 == pytest.approx(expected)
