"""`make demo`: roll back a bad release on a real cluster.

Exit status 0 only if the cluster ended on the good release, the operator had verified that, and
purchases are written to the database again; 2 if the demo has not begun and nothing was changed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence

from lab import cli
from lab.demo.delivery import LOCAL, Images
from lab.demo.on_cluster import CurrentStage, KindStage
from lab.demo.on_lab import LabStage
from lab.demo.play import BAD, GOOD, play
from lab.demo.stage import RefusedError, Stage
from lab.errors import LabError
from lab.story import Story

STAGES: Mapping[str, Callable[[Images], Stage]] = {
    "lab": lambda _: LabStage(),
    "kind": KindStage,
    "current": CurrentStage,
}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m lab.demo", description=__doc__)
    parser.add_argument("--cluster", choices=STAGES, default="lab")
    parser.add_argument(
        "--images",
        metavar="REGISTRY/PREFIX",
        help="with --cluster current: push the images there, and have the nodes pull them",
    )
    options = parser.parse_args(arguments)
    if options.images and options.cluster != "current":
        parser.error("--images (IMAGES=) goes with --cluster current (CLUSTER=current)")
    return _run(STAGES[options.cluster](Images((options.images or LOCAL).rstrip("/"))))


def _run(stage: Stage) -> int:
    story = Story()
    try:
        stage.prepare(story)
        faults = play(story, stage)
    except RefusedError as error:
        print(f"demo: error: {error}", file=sys.stderr)
        return 2
    except LabError as error:
        return _failed(story, stage, str(error))
    except KeyboardInterrupt:
        story.say(f"Interrupted. {stage.farewell}")
        return cli.INTERRUPTED
    if faults:
        return _failed(story, stage, "; ".join(faults))
    print(f"\n{stage.farewell}")
    print(f"Done in {story.seconds:.0f} s: {BAD} was rolled back, {GOOD} serves.")
    return 0


def _failed(story: Story, stage: Stage, reason: str) -> int:
    sentence, *rest = reason.splitlines()
    story.say(f"The demo has FAILED: {sentence}")
    print("\n".join(rest), flush=True)
    for title, read in stage.evidence().items():
        try:
            print(f"\n{title}:\n{read()}", flush=True)
        except LabError as error:
            print(f"\n{title} cannot be read: {error}", flush=True)
    story.say(stage.farewell)
    return 1


if __name__ == "__main__":
    sys.exit(main())
