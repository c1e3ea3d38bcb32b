"""`make demo-down`: remove everything that the demo created, and report it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from lab import cli
from lab.demo import context, kind
from lab.demo.removal import foreign, remains, remove
from lab.demo.stage import RefusedError
from lab.errors import LabError
from lab.workspace import base_folder, is_alive


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status 0 only if nothing of the demo is left."""
    parser = argparse.ArgumentParser(prog="python -m lab.demo.down", description=__doc__)
    parser.add_argument("--cluster", choices=CLUSTERS, default="lab")
    try:
        return CLUSTERS[parser.parse_args(arguments).cluster]()
    except LabError as error:
        print(f"demo: error: {error}", file=sys.stderr)
        return 2 if isinstance(error, RefusedError) else 1
    except KeyboardInterrupt:
        return cli.INTERRUPTED


def _lab() -> int:
    if not is_alive(base_folder() / "demo"):
        _say("no cluster of the demo is running: nothing to remove")
        return 0
    return cli.main(["down", "demo"])


def _kind() -> int:
    kind.require()
    if kind.find() is None:
        _say(f"there is no kind cluster {kind.NAME}: nothing to remove")
        return 0
    kind.delete()
    _say(f"removed: the kind cluster {kind.NAME} with its contents")
    return 0


def _current() -> int:
    chosen = context.current()
    _say(f"context {chosen.name}, server {chosen.server} ({chosen.version()})")
    for one in foreign(chosen):
        _say(f"kept: {one}, which the demo did not create")
    if not remains(chosen):
        _say("nothing of the demo exists")
        return 0
    is_whole = remove(chosen, _say)
    _say(
        "everything that the demo created is removed"
        if is_whole
        else "the rest of the demo is removed"
    )
    return 0 if is_whole else 1


def _say(text: str) -> None:
    print(f"demo: {text}", flush=True)


CLUSTERS = {"lab": _lab, "kind": _kind, "current": _current}

if __name__ == "__main__":
    sys.exit(main())
