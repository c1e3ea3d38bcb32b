"""Undos wanted, done, lost and double under faults on real connections.

    python -m bench.faults [--runs 20] [--families api watch prometheus channel] [--at-once 6]
                           [--output bench/results/faults.json]

A real API server and Prometheus, a real webhook, and a proxy in between that does what networks and
servers do: refuse, time out, break off, carry out what nobody waits for any more.
In each run a bad release goes out, and an operator of its own is to take it back once. Each run is
written as it ends; a second call goes on where the first was broken off. Ends with 1 if one was
lost or done twice, or if anything else was not as it is to be.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench.node import ROOT, Document, Results
from tests.integration.operator_process import Zygote
from tests.integration.stand import Stand
from tests.integration.storm import Tally
from tests.integration.storms import NAMES, Ground, ground

OUTPUT = ROOT / "bench" / "results" / "faults.json"
COUNTED = ("wanted", "done", "lost", "double", "struck", "restarts")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.faults",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--runs", type=int, default=20, help="of each fault")
    parser.add_argument("--families", nargs="+", choices=NAMES, default=list(NAMES))
    parser.add_argument("--at-once", type=int, default=6)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    arguments = parser.parse_args(argv)
    results = Results(arguments.output)
    with tempfile.TemporaryDirectory(prefix="faults-") as folder, ExitStack() as stack:
        stand = stack.enter_context(Stand(Path(folder)))
        zygote = stack.enter_context(Zygote())
        here = stack.enter_context(ground(stand, zygote, Path(folder)))
        pool = stack.enter_context(ThreadPoolExecutor(arguments.at_once))
        wanted = [
            (family, name)
            for number in range(arguments.runs)
            for family in arguments.families
            for name in NAMES[family]
            if number >= results.part(f"{family}: {name}").get("runs", 0)
        ]
        for one in pool.map(lambda pair: run(here, *pair), wanted):
            results.change(one.fault, lambda known, one=one: added(known, one))
            print(one, flush=True)
    print("\n".join(table(results, arguments.families)))
    parts = [results.part(f"{family}: {name}") for family, name in every(arguments.families)]
    return int(any(one.get("lost") or one.get("double") or one.get("broken") for one in parts))


def run(here: Ground, family: str, name: str) -> Tally:
    """Let one storm pass."""
    return here.storm(family, name).go()


def added(known: Document, one: Tally) -> Document:
    """Add a run to what is known of its fault."""
    row = one.row()
    made: dict[str, Any] = {"runs": known.get("runs", 0) + 1}
    made |= {name: known.get(name, 0) + row[name] for name in COUNTED}
    slowest = max(known.get("slowest", 0.0), round(one.seconds, 1))
    broken = [*known.get("broken", []), *(one.faults or [])]
    return {**made, "slowest": slowest, "broken": broken}


def every(families: Sequence[str]) -> Iterator[tuple[str, str]]:
    """List all faults of some families."""
    return ((family, name) for family in families for name in NAMES[family])


def table(results: Results, families: Sequence[str]) -> Iterator[str]:
    """Show what is known, in Markdown."""
    yield "| fault | runs | struck | wanted | done | lost | double | slowest undo, s |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
    for family, name in every(families):
        part = results.part(f"{family}: {name}")
        counts = [part.get(one, 0) for one in ("runs", "struck", "wanted", "done")]
        counts += [part.get("lost", 0), part.get("double", 0), part.get("slowest", "-")]
        yield f"| {family}: {name} | " + " | ".join(map(str, counts)) + " |"


if __name__ == "__main__":
    raise SystemExit(main())
