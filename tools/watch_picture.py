"""Draw docs/watch.svg: one frame of `kubectl rollback watch`, from the figures of a recorded run.

    python -m tools.watch_picture            # writes docs/watch.svg
    python -m tools.watch_picture --check    # fails if the picture is not what the code draws

The figures are of a release on a real API server, of which 12 % of the requests failed, in mode
Observe. All texts come from the code, so that the picture shows the present words.
"""

from __future__ import annotations

import argparse
import io
import re
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console

from rollback_operator.api.checklist import CheckItem, CheckName, CheckResult, Consequence
from rollback_operator.api.reasons import Reason
from rollback_operator.api.terms import Pace
from rollback_operator.cli.plugin.frame import FrameInputs, frame
from rollback_operator.cli.plugin.record import Record
from rollback_operator.judge.explain import describe_scope
from rollback_operator.model.pod import Pod
from rollback_operator.model.verdict import Method, ScopeVerdict
from rollback_operator.model.workload import Deployment, ReplicaSet, Template, Workload
from rollback_operator.rollback.checklist import Checklist

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs" / "watch.svg"
COLUMNS = 84
NOW = datetime(2026, 11, 30, 23, 16, 39, tzinfo=UTC)
COUNTED = NOW.isoformat()
NEW, OLD = (198, 24), (4500, 0)
"""Requests and errors of both revisions."""
ODDS = 1e10
_WEB_FONT = re.compile(r"@font-face \{\{.*?\}\}\s*", re.DOTALL)
_FONT = "Menlo, Consolas, DejaVu Sans Mono, monospace"


def scene() -> FrameInputs:
    """Make the objects of the frame."""
    scope = ScopeVerdict(
        route=None,
        method=Method.CONTROL,
        requests=NEW[0],
        errors=NEW[1],
        control_requests=OLD[0],
        control_errors=OLD[1],
        odds=ODDS,
        rate_lower_bound=0.08,
        has_all_failed=False,
    )
    reason = Reason.ERROR_RATE_ABOVE_CONTROL
    message = describe_scope(scope, reason)
    metadata = {"namespace": "picture-1", "name": "ticket-service"}
    evaluation = {
        "time": COUNTED,
        "revision": 2,
        "new": {"pods": 5, "requests": NEW[0], "errors": NEW[1]},
        "old": {"pods": 6, "requests": OLD[0], "errors": OLD[1]},
        "past": {"seconds": 240, "requests": 72_000, "errors": 0},
        "odds": str(ODDS),
        "suspectOdds": 100,
        "badOdds": 10_000,
        "reason": reason,
        "message": message,
    }
    status = {
        "summary": "Bad",
        "verdict": "Bad",
        "severity": "P2",
        "revision": {
            "number": 2,
            "since": "2026-11-30T23:16:20Z",
            "images": ["registry.example.com/shop:v2"],
        },
        "evaluation": evaluation,
    }
    spec = {"targetRef": {"name": "ticket-service"}, "mode": "Observe"}
    return FrameInputs(
        Record({"metadata": metadata, "spec": spec, "status": status}),
        NOW,
        _workload(),
        _rollback(message),
    )


def _workload() -> Workload:
    new, old = Template("new", "new"), Template("old", "old")
    sets = (
        ReplicaSet("ticket-service-new", "1", "new", 2, new, 0.0),
        ReplicaSet("ticket-service-old", "2", "old", 1, old, 0.0),
    )
    hashes = (*["new"] * 5, *["old"] * 2)
    pods = tuple(Pod(f"pod-{n}", hash_, ready=True) for n, hash_ in enumerate(hashes))
    return Workload(Deployment("picture-1", "ticket-service", "3", new), sets, pods)


def _rollback(cause: str) -> Record:
    passed = CheckItem(
        name=CheckName.TARGET_KNOWN_GOOD,
        result=CheckResult.PASSED,
        consequence=Consequence.PROCEED,
        message="",
    )
    end = Checklist((passed,), Pace.NORMAL).observed
    complete = {"type": "Complete", "status": "True", "message": end.message}
    return Record(
        {
            "metadata": {"namespace": "picture-1", "name": "ticket-service-4702d5772d"},
            "spec": {
                "remedy": {"type": "Undo"},
                "toRevision": {"number": 1},
                "trigger": {"message": cause},
            },
            "status": {"outcome": end.outcome, "conditions": [complete]},
        }
    )


def drawn() -> str:
    """Draw the picture; it loads no font from another server."""
    console = Console(
        file=io.StringIO(),
        width=COLUMNS,
        record=True,
        force_terminal=True,
        color_system="standard",
        markup=False,
        emoji=False,
        highlight=False,
    )
    console.print(frame(scene()))
    form = _WEB_FONT.sub("", CONSOLE_SVG_FORMAT).replace("Fira Code, monospace", _FONT)
    title = "kubectl rollback watch ticket-service"
    svg = console.export_svg(title=title, code_format=form, unique_id="watch")
    return "\n".join(line.rstrip() for line in svg.splitlines()) + "\n"


def main(arguments: Sequence[str]) -> int:
    """Draw or check."""
    parser = argparse.ArgumentParser(prog="python -m tools.watch_picture", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing")
    if parser.parse_args(arguments).check:
        return 0 if PICTURE.read_text() == drawn() else 1
    PICTURE.write_text(drawn())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
