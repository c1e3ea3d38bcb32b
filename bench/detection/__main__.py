"""The detection bench.

    python -m bench.detection run [--small] [--family NAME] [--development] [--jobs 2] [--fresh]
    python -m bench.detection explain '<scenario line>'
    python -m bench.detection wrong
    python -m bench.detection throughput
    python -m bench.detection whole-path [--count 40]
    python -m bench.detection ablate [--part 300] [--rule NAME ...] [--output DIRECTORY]
    python -m bench.detection late [--count 60] [--development]
    python -m bench.detection floors [--each 40]

`run` judges all scenarios (those that `bench/results/detection.runs.jsonl` holds are not run again)
and writes detection.json, detection.md and detection.svg beside it. `explain` goes through one
scenario look by look. `wrong` lists the decisions that were wrong, the most harmful first.
`throughput` measures the CPU time of a look. `whole-path` puts a sample through a real Prometheus
and the command line, which must decide the same. `ablate` judges development scenarios with each
rule of the judge taken away in turn, and writes what it buys to ablation.json and ablation.md.
`late` sweeps the odds of blame from which a late fault is undone without an answer, and writes
late.json. `floors` judges development releases without each floor.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from bench.detection import ablate, families, figures, floors, late, records, report
from bench.detection.explain import explain
from bench.detection.scenario import parse
from bench.detection.throughput import throughput

RESULTS = Path(__file__).resolve().parents[1] / "results"
DEVELOPMENT = 0
EACH = 200


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.detection", description=__doc__)
    commands = parser.add_subparsers(required=True, dest="command")
    run = commands.add_parser("run")
    run.add_argument("--small", action="store_true", help="200 scenarios")
    run.add_argument("--part", type=int, help="only so many, mixed as all are")
    names = [each.name for each in dataclasses.fields(families.Counts)]
    run.add_argument("--family", choices=names, help="only this family")
    run.add_argument("--development", action="store_true", help="seeds for development")
    run.add_argument("--fresh", action="store_true", help="forget what has been run")
    run.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    run.add_argument("--output", type=Path, default=RESULTS)
    whole = commands.add_parser("whole-path")
    whole.add_argument("--count", type=int, default=40)
    whole.add_argument("--output", type=Path, default=RESULTS)
    ablated = commands.add_parser("ablate")
    ablated.add_argument("--part", type=int, default=300, help="only so many, mixed as all are")
    ablated.add_argument("--rule", action="append", default=[], help="only this rule; repeatable")
    ablated.add_argument("--output", type=Path, default=RESULTS)
    late_faults = commands.add_parser("late")
    late_faults.add_argument("--count", type=int, default=60, help="pairs of faults")
    late_faults.add_argument("--development", action="store_true", help="seeds for development")
    late_faults.add_argument("--output", type=Path, default=RESULTS)
    commands.add_parser("throughput").add_argument("--output", type=Path, default=RESULTS)
    swept = commands.add_parser("floors")
    swept.add_argument("--each", type=int, default=40)
    swept.add_argument("--output", type=Path, default=RESULTS)
    commands.add_parser("explain").add_argument("line")
    commands.add_parser("wrong").add_argument(
        "runs", type=Path, nargs="?", default=RESULTS / "detection.runs.jsonl"
    )
    arguments = parser.parse_args(argv)
    match arguments.command:
        case "explain":
            explain(parse(arguments.line))
        case "whole-path":
            return _whole_path(arguments.count, arguments.output)
        case "ablate":
            _ablate(arguments, " ".join(argv))
        case "late":
            _late(arguments, " ".join(argv))
        case "throughput":
            _throughput(arguments.output)
        case "floors":
            _floors(arguments.each, arguments.output)
        case "wrong":
            _wrong(arguments.runs)
        case _:
            _run(arguments, " ".join(argv))
    return 0


def _run(arguments: argparse.Namespace, said: str) -> None:
    counts = families.SMALL if arguments.small else families.FULL
    counts = counts.only(arguments.family) if arguments.family else counts
    first = DEVELOPMENT if arguments.development else families.REPORTED
    runs: Path = arguments.output / "detection.runs.jsonl"
    if arguments.fresh:
        runs.unlink(missing_ok=True)
    began = datetime.now(UTC)
    found: list[records.Record] = []
    chosen = families.scenarios(counts, first)[: arguments.part]
    for one in records.run(chosen, arguments.jobs, runs):
        found.append(one)
        if len(found) % EACH == 0:
            print(f"{len(found)} judged", flush=True)
    made = {
        "command": f"python -m bench.detection {said}",
        "began": began.isoformat(timespec="seconds"),
        "cores": os.cpu_count(),
        "firstSeed": first,
        **figures.summary(found),
    }
    (arguments.output / "detection.json").write_text(json.dumps(made, indent=1) + "\n")
    text = report.markdown(made)
    (arguments.output / "detection.md").write_text(text)
    (arguments.output / "detection.svg").write_text(report.plot(found))
    print(text)


def _whole_path(count: int, output: Path) -> int:
    # Only this needs the lab, whose Prometheus it builds.
    from bench.detection.whole_path import compare  # noqa: PLC0415

    pairs = compare(families.scenarios(families.FULL, families.REPORTED)[:count])
    other = [one for one in pairs if not one.is_same]
    for one in other:
        print(f"{one.scenario.line()}\n  in memory {one.memory}\n  whole path {one.path}")
    found = {
        "command": f"python -m bench.detection whole-path --count {count}",
        "scenarios": len(pairs),
        "rolledBack": sum(one.path.rolled_back is not None for one in pairs),
        "same": len(pairs) - len(other),
    }
    (output / "whole-path.json").write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found))
    return 1 if other else 0


def _ablate(arguments: argparse.Namespace, words: str) -> None:
    wanted = arguments.rule or [rule.name for rule in ablate.RULES]
    rules = [rule for rule in ablate.RULES if rule.name in wanted]
    drawn = families.scenarios(families.ABLATED, DEVELOPMENT)[: arguments.part]
    chosen = [families.quick(release) for release in drawn]
    output: Path = arguments.output
    cases = list(ablate.run(chosen, rules, output / "ablation.runs.jsonl"))
    command = f"python -m bench.detection {words}"
    rows = ablate.table(cases, rules)
    made = {"command": command, "firstSeed": DEVELOPMENT, "rows": rows}
    (output / "ablation.json").write_text(json.dumps(made, indent=1) + "\n")
    text = ablate.markdown(rows, command, DEVELOPMENT)
    (output / "ablation.md").write_text(text)
    print(text)


def _late(arguments: argparse.Namespace, given: str) -> None:
    first = DEVELOPMENT if arguments.development else families.REPORTED
    judged = []
    for pair in late.run(arguments.count, first):
        judged.append(pair)
        print(f"{len(judged)} pairs", flush=True)
    rows, decided = late.table(judged), late.asked(judged)
    made = {
        "command": f"python -m bench.detection {given}",
        "firstSeed": first,
        "bounds": rows,
        "decided": decided,
    }
    (arguments.output / "late.json").write_text(json.dumps(made, indent=1) + "\n")
    print(late.markdown(rows, decided))


def _throughput(output: Path) -> None:
    found = {"command": "python -m bench.detection throughput", **throughput()}
    (output / "throughput.json").write_text(json.dumps(found, indent=1) + "\n")
    print(report.sizes(found))


def _floors(each: int, output: Path) -> None:
    made = {
        "command": f"python -m bench.detection floors --each {each}",
        **floors.sweep(floors.drawn(each)),
    }
    (output / "floors.json").write_text(json.dumps(made, indent=1) + "\n")
    print(floors.table(made))


def _wrong(runs: Path) -> None:
    for one in figures.wrong([records.read(line) for line in runs.read_text().splitlines()]):
        outcome = one.outcome
        print(one.scenario.line())
        print(
            f"  true {one.truth} {one.scenario.severity}, decided {figures.decision(one)} "
            f"{figures.given(one)} at {outcome.rolled_back or outcome.told}; limit {one.limit}; "
            f"{outcome.reason} {outcome.refusal} {outcome.message}"
        )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
