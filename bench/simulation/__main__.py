"""Whole operators on virtual time.

    python -m bench.simulation --seed N [--lines 400]
    python -m bench.simulation run [--steps 1000000] [--first 0] [--fresh] [--jobs 2]
    python -m bench.simulation mutants [--runs 40] [--first 0] [--only TEXT]

With `--seed` one simulation is run and its trace printed, the same each time. `run` goes through
seeds until so many steps have been made (what `bench/results/simulation.jsonl` holds is not run
again) and writes simulation.json and simulation.md beside it. A step is a call that an operator
makes: to the API server, Prometheus, a pod's page or a channel. Both end with 1 if a rule was
broken. `mutants` takes the operator's guards away, one at a time, and writes guards.md: which seed
shows it, and by which rule. It ends with 1 if none does.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from bench.simulation import campaign
from bench.simulation.actors import draw
from bench.simulation.mutants import MUTANTS, hunt, table
from bench.simulation.scenario import Act, Scenario
from bench.simulation.without import failing
from bench.simulation.world import quiet, simulate

RESULTS = Path(__file__).resolve().parents[1] / "results"
EACH = 100
EVERY = 19
"""Between two seeds that are tried without a guard: all faults and actors come soon."""
HASHES = "PYTHONHASHSEED"


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.simulation",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seed", type=int, help="run this one and print its trace")
    parser.add_argument("--lines", type=int, default=400, help="so many of the trace's last lines")
    commands = parser.add_subparsers(dest="command")
    run = commands.add_parser("run")
    run.add_argument("--steps", type=int, default=1_000_000)
    run.add_argument("--first", type=int, default=0, help="the first seed")
    run.add_argument("--jobs", type=int, default=1, help="processes at the same time")
    run.add_argument("--fresh", action="store_true", help="forget what has been run")
    run.add_argument("--output", type=Path, default=RESULTS)
    mutants = commands.add_parser("mutants")
    mutants.add_argument("--runs", type=int, default=40, help="seeds that are tried for each")
    mutants.add_argument("--first", type=int, default=0, help="the first of them")
    mutants.add_argument("--only", default="", help="guards whose name holds this; nothing is kept")
    mutants.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args(argv)
    quiet()
    if arguments.seed is not None:
        return _one(arguments.seed, arguments.lines)
    if arguments.command == "run":
        return _many(arguments, " ".join(argv))
    if arguments.command == "mutants":
        return _mutants(arguments)
    parser.print_help()
    return 2


def _one(seed: int, lines: int) -> int:
    scenario = draw(seed)
    print(told(scenario))
    result = simulate(scenario)
    print("\n".join(result.trace[-lines:]))
    print(
        f"seed {seed}: {result.steps} steps in {result.seconds:.0f} s of virtual time, trace "
        f"{result.sum:08x}; rollbacks wanted {result.wanted}, done {result.done}, lost "
        f"{result.lost}, double {result.double}"
    )
    for one in result.broken:
        print(f"BROKEN: {one}")
    return 1 if result.broken else 0


def told(scenario: Scenario) -> str:
    """Tell what was drawn."""
    drawn = f"seed {scenario.seed}, fault {scenario.fault}, actor {scenario.actor}"
    lines = [f"{drawn}: {scenario.operators} operator(s)"]
    lines.append(
        f"  {scenario.replicas} replicas, maxSurge {scenario.surge}, maxUnavailable "
        f"{scenario.unavailable}, {scenario.rps:.0f} requests a second; policy "
        f"{json.dumps(dict(scenario.policy))}"
    )
    lines += [f"  ran before: v{one.version} ({one.truth})" for one in scenario.past]
    for deed in scenario.deeds:
        release = deed.release
        what = f" v{release.version} ({release.truth}, {release.fails:.0%})" if release else ""
        what += f" {json.dumps(deed.value)}" if deed.value is not None else ""
        lines.append(f"  {deed.at:8.3f} {deed.act}{what}")
    if (reflex := scenario.reflex) is not None:
        new = reflex.release
        what = f" v{new.version} ({new.truth})" if reflex.act is Act.RELEASE else ""
        lines.append(f"  once {reflex.cue}, within {reflex.within} s: {reflex.act}{what}")
    for spell in scenario.spells:
        whom = spell.who or "all"
        lines.append(f"  {spell.start:8.3f} to {spell.end:.3f} for {whom}: {spell.effect}")
    return "\n".join(lines)


def _many(arguments: argparse.Namespace, said: str) -> int:
    journal: Path = arguments.output / "simulation.jsonl"
    if arguments.fresh:
        journal.unlink(missing_ok=True)
    began = datetime.now(UTC)
    found = []
    for one in campaign.run(arguments.first, arguments.steps, journal, arguments.jobs):
        found.append(one)
        for rule in one["broken"]:
            print(f"seed {one['seed']} ({one['fault']}, {one['actor']}): {rule}", flush=True)
        if len(found) % EACH == 0:
            steps = sum(each["steps"] for each in found)
            print(f"{len(found)} runs, {steps:,} steps", flush=True)
    made = {
        "command": f"python -m bench.simulation {said}",
        "began": began.isoformat(timespec="seconds"),
        **campaign.summary(found),
    }
    (arguments.output / "simulation.json").write_text(json.dumps(made, indent=1) + "\n")
    text = campaign.markdown(made)
    (arguments.output / "simulation.md").write_text(text)
    print(text)
    return 1 if made["failed"] else 0


def _mutants(arguments: argparse.Namespace) -> int:
    seeds = [arguments.first + EVERY * number for number in range(arguments.runs)]
    found = []
    for one in MUTANTS:
        if arguments.only in one.guard:
            seen = hunt(one, seeds)
            if seen.seed is None and one.tests:
                seen = replace(seen, test=failing(one.guard, one.tests))
            found.append(seen)
            print(table(found[-1:]).splitlines()[-1], flush=True)
    if not arguments.only:
        (arguments.output / "guards.md").write_text(table(found))
    return 0 if all(one.is_as_said for one in found) else 1


if __name__ == "__main__":
    if os.environ.get(HASHES) != "0":
        # Sets of strings are gone through in the order of their hashes: a seed is to mean one run.
        os.execve(
            sys.executable,
            [sys.executable, "-m", "bench.simulation", *sys.argv[1:]],
            {**os.environ, HASHES: "0"},
        )
    sys.exit(main(sys.argv[1:]))
