"""An operator of a build takes over what an operator of another build has begun, both ways.

    python -m tools.takeover REVISION [--output bench/results/takeover.json]

REVISION is a commit of an earlier build, such as the last release. On a real API server and
Prometheus a bad release goes out under an operator of the first build, which is killed at each kind
of write; an operator of the second build carries on. The result has to be the same as in
tests/integration/test_crash_walk.py: a single Rollback, a single change, the strategy restored, the
outcome reached and reported. The CRDs are those of this checkout, as after an upgrade, and
before a downgrade. Ends with 1 if a takeover lost, repeated or left anything.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.integration.operator_process import OperatorProcess, Zygote
from tests.integration.stand import Stand
from tests.integration.test_crash_walk import DISABLE, PIN, SCALE, UNDO, Walk
from tests.integration.writes import CutPoint, once, points

ROOT = Path(__file__).resolve().parent.parent
OUTPUT = ROOT / "bench" / "results" / "takeover.json"
AT_ONCE = 4
OTHERS: tuple[CutPoint, ...] = (
    ("rollbacks", 1, False),
    ("rollbacks/status", 1, False),
    ("deployments: act", 1, False),
    ("rollbacks/status: over", 1, True),
)
FLAG: tuple[CutPoint, ...] = (
    ("rollbacks/status: DisableFlag begun", 1, False),
    ("configmaps: flag", 1, False),
    ("rollbacks/status: RestartPods begun", 1, False),
    ("rollbacks/status: over", 1, True),
)


@dataclass
class Takeover(Walk):
    """A walk whose second operator is of another build."""

    successors: list[Zygote] = field(default_factory=list)
    """The next operators' builds; the last of them is kept."""

    def _start(self) -> OperatorProcess:
        started = super()._start()
        if self.successors:
            self.zygote = self.successors.pop(0)
        return started


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tools.takeover",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("revision", help="a commit of the other build")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="takeover-") as folder, ExitStack() as stack:
        other = stack.enter_context(checkout(arguments.revision, Path(folder, "other")))
        stand = stack.enter_context(Stand(Path(folder)))
        builds = {"old": Zygote(other), "new": Zygote()}
        for build in builds.values():
            stack.enter_context(build)
        done = {
            f"{first} to {second}": walked(stand, builds[first], builds[second], Path(folder))
            for first, second in (("old", "new"), ("new", "old"))
        }
    rows = {direction: [walk.row for walk in walks] for direction, walks in done.items()}
    commit = _git("rev-parse", arguments.revision)
    arguments.output.write_text(json.dumps({"from": commit, "walks": rows}, indent=1) + "\n")
    walks = [walk for each in done.values() for walk in each]
    bad = [walk.row for walk in walks if walk.faults]
    cut = sum(walk.cut.at is not None for walk in walks)
    print(f"{len(walks)} takeovers, {cut} of them cut, {len(bad)} with a fault")
    return 1 if bad or not cut else 0


def walked(stand: Stand, first: Zygote, second: Zygote, folder: Path) -> list[Takeover]:
    """Kill the first build at each kind of write, and let the second carry on."""
    rehearsal = Takeover(stand, first, folder, UNDO).go()
    assert rehearsal.faults == [], rehearsal.faults
    writes = rehearsal.proxy.writes()[-rehearsal.proxy.counted :]
    cuts = [(UNDO, cut) for cut in once(points(writes))]
    cuts += [(remedy, cut) for remedy in (PIN, SCALE) for cut in OTHERS]
    cuts += [(DISABLE, cut) for cut in FLAG]
    walks = [
        Takeover(stand, first, folder, remedy, number, is_before, point, successors=[second])
        for remedy, (point, number, is_before) in cuts
    ]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        done = list(pool.map(Takeover.go, walks))
    print("\n".join(walk.row for walk in done), flush=True)
    return [walk for walk in done if isinstance(walk, Takeover)]


@contextmanager
def checkout(revision: str, place: Path) -> Iterator[Path]:
    """Check the other build out beside this checkout."""
    _git("worktree", "add", "--detach", "--quiet", str(place), revision)
    try:
        yield place
    finally:
        _git("worktree", "remove", "--force", str(place))


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()


if __name__ == "__main__":
    raise SystemExit(main())
