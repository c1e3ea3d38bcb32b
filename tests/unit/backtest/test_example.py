"""The whole case of examples/backtest: its README tells what a replay of it gives."""

import importlib.util
from collections import defaultdict
from pathlib import Path
from typing import Any

from rollback_operator.cli.backtest.case import rfc3339
from rollback_operator.cli.backtest.entry import Action
from rollback_operator.cli.backtest.files import read_file
from rollback_operator.cli.backtest.history import History
from rollback_operator.cli.backtest.policy import parse_policy
from rollback_operator.cli.backtest.replay import Replay, ReplaySchedule
from rollback_operator.cli.backtest.rollouts import parse_rollouts, time_of
from rollback_operator.model.samples import Counters, CounterSeries

EXAMPLE = Path(__file__).parents[3] / "examples" / "backtest"


def made() -> Any:
    """Load the script that writes the past."""
    spec = importlib.util.spec_from_file_location("make_past", EXAMPLE / "make_past.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def past() -> Counters:
    script = made()
    read: dict[tuple[str, str, str], list[tuple[float, float]]] = defaultdict(list)
    for pod in script.pods():
        for metric, name, route, time, count in script.samples(*pod):
            read[metric, name, route].append((time, float(count)))
    requests, errors = (
        tuple(
            CounterSeries(pod, route, (), pod, tuple(samples))
            for (name, pod, route), samples in read.items()
            if name == metric
        )
        for metric in script.METRICS
    )
    return Counters(requests, errors)


def test_the_readme_tells_what_the_replay_gives() -> None:
    rollouts = parse_rollouts(read_file(EXAMPLE / "rollouts.json"))
    policy = parse_policy(read_file(EXAMPLE / "policy.yaml"), rollouts)
    start, end = time_of("2026-11-20T09:55:00Z"), time_of("2026-11-20T10:25:00Z")
    found = Replay(policy, rollouts, History(past())).run(ReplaySchedule(start, end, 5))

    decided = found.decisions[-1]
    assert decided.action is Action.ROLLBACK
    one = decided.leading
    assert one is not None
    told = " ".join((EXAMPLE / "README.md").read_text().split())
    assert f"gone back at {rfc3339(decided.time)[11:19]}: " in told
    assert f"{one.errors:.0f} of their {one.requests:.0f} requests had failed" in told
    assert f"{one.control_errors:.0f} of {one.control_requests:.0f} on the old pods" in told
