"""`kubectl rollback watch` as a person meets it: frames, what is asked for, and how it ends."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from rich.console import RenderableType

from rollback_operator.api.policy_status import WATCHED_UNTIL
from rollback_operator.api.reasons import Reason
from rollback_operator.api.v1alpha1 import (
    LastRollback,
    Outcome,
    RollbackPolicyStatus,
    RollbackStatus,
    Severity,
    StepName,
)
from rollback_operator.cli.plugin.frame import FrameInputs, frame
from rollback_operator.cli.plugin.page import Paint
from rollback_operator.cli.plugin.record import Record
from rollback_operator.cli.plugin.watching import drawn
from rollback_operator.decide.decide import Decision
from rollback_operator.report.status import StatusInputs, next_status, ready
from tests.builders import (
    NAME,
    NAMESPACE,
    PURCHASE,
    at,
    make_ended,
    make_entry,
    make_evaluation,
    make_pod,
    make_pods,
    make_policy,
    make_rollback,
    make_step,
    make_verdict,
    make_workload,
)
from tests.fakes.failures import CONFLICT, OUTAGE, REFUSAL
from tests.kubectl import FakeCluster, Shell, stored
from tools import watch_picture

POLICIES, ROLLBACKS = "rollbackpolicies", "rollbacks"
ROOT = Path(__file__).parents[2]
ROLLBACK = "ticket-service-0123456789"
EVALUATION = make_evaluation()
ROLLING = make_workload(pods=(*make_pods(2), *make_pods(3, "v1")))


def status_of(**changes: Any) -> RollbackPolicyStatus:
    """Of a policy whose release is under watch since 277 s after T0."""
    seen = StatusInputs(
        ready(Reason.WATCHING_TARGET),
        workload=make_workload(),
        ledger=(make_entry("v1"),),
        decision=Decision(make_verdict(), Severity.P2),
        opened=at(277),
    )
    made = next_status(RollbackPolicyStatus(), seen, 1, at(280))
    return made.model_copy(update={"evaluation": EVALUATION, **changes})


def policy(annotations: dict[str, str] | None = None, **changes: Any) -> Record:
    made = make_policy().model_copy(update={"status": status_of(**changes)})
    metadata = made.metadata.model_copy(update={"annotations": annotations or {}})
    return stored(made.model_copy(update={"metadata": metadata}))


def text_of(columns: int = 80, **changes: Any) -> str:
    fields = {"policy": policy(), "now": at(300), "workload": ROLLING} | changes
    return drawn(frame(FrameInputs(**fields)), Paint(False), columns)


def words(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


# -- a frame ---------------------------------------------------------------------------------------


def test_the_picture_of_the_docs_shows_the_present_words() -> None:
    """`python -m tools.watch_picture` draws it anew."""
    stored_picture, present = watch_picture.PICTURE.read_text(), watch_picture.drawn()
    assert _SHOWN.findall(stored_picture) == _SHOWN.findall(present)


_SHOWN = re.compile(r"<text[^>]*>([^<]*)")


def test_a_frame_shows_pods_requests_and_errors_of_both_revisions() -> None:
    found = words(text_of())

    assert ["new", "2", "2", "2", "2", "150", "81", "54.0", "%"] in found
    assert ["old", "1", "3", "3", "3", "300", "1", "0.3", "%"] in found
    assert ["past", "60m", "before", "180000", "180", "0.1", "%"] in found


@pytest.mark.parametrize("is_read", [True, False])
def test_a_frame_claims_no_count_without_metrics(is_read: bool) -> None:
    found = policy()
    status = found.part("status").raw
    nothing = {"pods": 2, "requests": 0, "errors": 0}
    unread = {"type": "MetricsAvailable", "status": str(is_read), "reason": "ProviderUnreachable"}
    changed = {
        "conditions": [unread],
        "evaluation": {**found.part("status.evaluation").raw, "new": nothing, "old": nothing},
    }
    text = text_of(policy=Record({**found.raw, "status": {**status, **changed}}))

    counts = ["2", "0", "0", "-"] if is_read else ["-", "-", "-", "-"]
    assert ["new", "2", "2", "2", *counts] in words(text)
    assert ("counted at" in text) is is_read


def test_a_frame_shows_the_odds_against_both_bounds() -> None:
    text = text_of()

    assert f"worse on {PURCHASE}: 350 : 1" in text
    assert "suspect from 100 : 1, bad from 10000 : 1" in text
    assert "the release is to blame: 9331 : 1" in text
    assert "counted at 2027-01-15 08:04:59 UTC, 1s ago" in text
    bar = next(line for line in text.splitlines() if "┃" in line)
    assert len(bar) == 40
    assert (bar.index("┃"), bar.rindex("┃")) == (16, 32)
    assert bar.count("━") == 19  # and the mark that it has passed


@pytest.mark.parametrize(
    ("odds", "cells"), [("0.00", 0), ("1.00", 0), ("nonsense", 0), ("1000000000", 38)]
)
def test_the_bar_is_empty_or_full_and_no_longer(odds: str, cells: int) -> None:
    text = text_of(policy=policy(evaluation=EVALUATION.model_copy(update={"odds": odds})))
    bar = next(line for line in text.splitlines() if "┃" in line)
    assert (len(bar), bar.count("━")) == (40, cells)


def test_a_frame_shows_verdict_reason_and_release() -> None:
    text = text_of()
    assert f"{NAMESPACE}/{NAME}" in text
    assert "Bad P2 (EvidenceGathering)" in text
    assert "81 of 150 requests failed" in text
    assert "revision 2, 23s ago: registry.example.com/ticket-service:v2" in text


def test_a_frame_shows_the_steps_of_a_rollback() -> None:
    steps = [make_step(StepName.UNDO, 290, 291), make_step(StepName.ROLLOUT_COMPLETE, 291)]
    running = RollbackStatus(step=StepName.ROLLOUT_COMPLETE, steps=steps)
    text = text_of(rollback=stored(make_rollback(status=running)))

    assert f"Rollback {ROLLBACK}" in text
    assert "Undo to revision 1: at step RolloutComplete" in text
    assert "because all purchases fail" in text
    assert ["Undo", "1s"] in words(text)
    assert ["RolloutComplete", "running,", "9s"] in words(text)


def test_a_frame_says_how_a_rollback_has_ended_and_who_is_asked() -> None:
    ended = stored(make_rollback(status=make_ended()))
    assert "Undo to revision 1: Verified" in text_of(rollback=ended)
    waiting = stored(make_rollback(status=RollbackStatus(step=StepName.AWAITING_APPROVAL)))
    assert f"kubectl rollback approve {ROLLBACK}" in text_of(rollback=waiting)


def test_a_frame_names_pods_that_do_not_serve() -> None:
    crashing = [make_pod(one, own_failure="crashes: exit 1", ready=False) for one in range(5)]
    gone = make_pod(9, "v1", terminating=True)
    text = text_of(workload=make_workload(pods=(*crashing, gone)))

    assert f"pod {NAME}-hashv2-0: crashes: exit 1" in text
    assert "and 2 pods more" in text
    assert words(text)[next(_row(text, "new"))][:4] == ["new", "2", "5", "0"]
    assert "1 (1 ending)" in text


def _row(text: str, name: str) -> Iterator[int]:
    return (number for number, line in enumerate(words(text)) if line[:1] == [name])


def test_counts_of_another_release_are_not_shown() -> None:
    earlier = EVALUATION.model_copy(update={"revision": 1})
    text = text_of(policy=policy(evaluation=earlier))
    assert ["new", "2", "2", "2", "-", "-", "-", "-"] in words(text)
    assert "Odds" not in text


def test_counts_stand_beside_the_pods_of_the_revision_that_they_are_of() -> None:
    """The Deployment may have gone on since: an undo shows there first."""
    undone = make_workload(
        "v3",
        older=("v2",),
        pods=(*make_pods(4, "v3"), *make_pods(2, ready=False)),
    )
    text = text_of(workload=undone)
    assert ["new", "2", "2", "0", "2", "150", "81", "54.0", "%"] in words(text)
    assert ["old", "3", "4", "4", "3", "300", "1", "0.3", "%"] in words(text)


def test_where_nothing_is_weighed_no_odds_are_made_up() -> None:
    text = text_of(policy=policy(evaluation=make_evaluation(odds="0.00")))
    assert f"worse on {PURCHASE}: none so far" in text
    assert "1 : over a billion" not in text


def test_what_cannot_be_read_is_said_and_the_rest_is_shown() -> None:
    text = text_of(workload=None, remarks=["Pods cannot be read: forbidden"])
    assert "Pods cannot be read: forbidden" in text
    assert ["new", "2", "-", "-", "2", "150", "81", "54.0", "%"] in words(text)


@pytest.mark.parametrize("columns", [80, 100, 40])
def test_no_line_is_wider_than_the_terminal(columns: int) -> None:
    long = EVALUATION.model_copy(update={"message": "many words " * 40})
    steps = [make_step(StepName.RESTORE_STRATEGY, 290)]
    running = stored(make_rollback(status=RollbackStatus(steps=steps, message="x " * 200)))
    text = text_of(columns, policy=policy(evaluation=long), rollback=running)
    assert max(map(len, text.splitlines())) <= columns


def test_nothing_that_is_quoted_is_obeyed() -> None:
    quoted = "[bold]\x1b[31m[/nonsense] :smile:\r\nnext"
    text = text_of(
        policy=policy(evaluation=EVALUATION.model_copy(update={"message": quoted})),
        remarks=[quoted],
    )
    assert "\x1b" not in text
    assert text.count("[bold]\\x1b[31m[/nonsense] :smile:") == 2


def test_colours_are_for_terminals() -> None:
    whole = frame(FrameInputs(policy(), at(300), ROLLING))
    assert "\x1b[31mBad" in drawn(whole, Paint(True), 80)
    assert "\x1b" not in drawn(whole, Paint(False), 80)


# -- one frame -------------------------------------------------------------------------------------


@pytest.fixture
def shell() -> Shell:
    found = Shell()
    found.cluster.workload = ROLLING
    found.cluster.put(POLICIES, policy())
    return found


def annotations(shell: Shell) -> dict[str, Any]:
    found = shell.cluster.objects[POLICIES, NAMESPACE, NAME]
    return dict(found.part("metadata.annotations").raw)


def test_a_pipe_gets_one_frame(shell: Shell) -> None:
    assert shell.run("watch") == 0
    assert ["new", "2", "2", "2", "2", "150", "81", "54.0", "%"] in words(shell.out)
    assert "q or Ctrl-C" not in shell.out
    assert "\x1b" not in shell.out


def test_one_frame_waits_for_counts_that_it_asks_for(shell: Shell) -> None:
    shell.cluster.put(POLICIES, policy(evaluation=None))
    asked: list[dict[str, Any]] = []

    def answer() -> None:
        asked.append(annotations(shell))
        shell.cluster.put(POLICIES, policy(annotations(shell)))

    shell.on_sleep = answer
    assert shell.run("watch", NAME, "--once") == 0
    assert asked == [{WATCHED_UNTIL: "2027-01-15T08:06:00Z"}]
    assert "350 : 1" in shell.out
    assert annotations(shell) == {}


def test_one_frame_does_not_wait_for_ever(shell: Shell) -> None:
    shell.cluster.put(POLICIES, policy(evaluation=None))
    assert shell.run("watch", "--once") == 0
    assert shell.now - at(300) <= timedelta(seconds=7)
    assert ["new", "2", "2", "2", "-", "-", "-", "-"] in words(shell.out)


def test_whoever_may_not_patch_sees_all_but_counts_and_why(shell: Shell) -> None:
    shell.cluster.put(POLICIES, policy(evaluation=None))
    shell.cluster.fail_next("patch", REFUSAL)
    assert shell.run("watch") == 0
    assert shell.now == at(300)
    assert "No counts: a request for them patches the policy. forbidden" in shell.out
    assert ["old", "1", "3", "3", "-", "-", "-", "-"] in words(shell.out)


def test_without_a_release_under_watch_nothing_is_asked_for(shell: Shell) -> None:
    seen = StatusInputs(ready(Reason.WATCHING_TARGET), workload=make_workload())
    rested = next_status(RollbackPolicyStatus(), seen, 1, at(280))
    made = make_policy().model_copy(update={"status": rested})
    shell.cluster.put(POLICIES, stored(made))
    shell.cluster.fail_next("patch", OUTAGE)
    assert shell.run("watch") == 0
    assert "No release is under watch" in shell.out
    assert shell.cluster.take("patch") is OUTAGE  # nobody has patched


def test_the_newest_rollback_is_shown(shell: Shell) -> None:
    last = LastRollback(name=ROLLBACK, outcome=Outcome.VERIFIED, time=at(60))
    shell.cluster.put(POLICIES, policy(last_rollback=last))
    shell.run("watch")
    assert "Rollback" not in shell.out  # it is deleted
    shell.cluster.put(ROLLBACKS, stored(make_rollback(ROLLBACK, status=make_ended())))
    shell.run("watch")
    assert f"Rollback {ROLLBACK}" in shell.out


def test_an_unknown_policy_is_refused(shell: Shell) -> None:
    assert shell.run("watch", "tickt-service") == 1
    assert f"did you mean {NAME}?" in shell.err


# -- a live view -----------------------------------------------------------------------------------


@dataclass
class FakeScreen:
    """Keeps the frames, and ends when `until` says so."""

    until: Callable[[], bool]
    over: asyncio.Event = field(default_factory=asyncio.Event)
    frames: list[str] = field(default_factory=list)

    def show(self, shown: RenderableType) -> None:
        self.frames.append(drawn(shown, Paint(False), 80))
        if self.until():
            self.over.set()


@dataclass
class LiveShell(Shell):
    """A person's terminal that frames are shown on; an hour passes at once."""

    most: int = 3
    screen: FakeScreen | None = None
    on_frame: Callable[[int], None] = lambda number: None

    def run(self, *given: str) -> int:
        self.open_screen = self._open
        return super().run(*given)

    @asynccontextmanager
    async def _open(self, paint: Paint) -> AsyncIterator[FakeScreen]:
        self.screen = FakeScreen(self._shown)
        yield self.screen

    def _shown(self) -> bool:
        assert self.screen is not None
        self.on_frame(len(self.screen.frames))
        return len(self.screen.frames) >= self.most

    async def _sleep(self, seconds: float) -> None:
        await super()._sleep(seconds)
        await asyncio.sleep(0)

    @property
    def frames(self) -> list[str]:
        assert self.screen is not None
        return self.screen.frames


@pytest.fixture
def live() -> LiveShell:
    found = LiveShell()
    found.cluster.workload = ROLLING
    found.cluster.put(POLICIES, policy())
    return found


def test_frames_follow_each_other_until_somebody_ends_it(live: LiveShell) -> None:
    assert live.run("watch") == 0
    assert len(live.frames) == 3
    assert all("q or Ctrl-C: end" in one for one in live.frames)
    assert "08:05:02" in live.frames[2]
    assert "08:05:02" in live.out  # the last one stays
    assert annotations(live) == {}


def test_counts_are_asked_for_again_in_time(live: LiveShell) -> None:
    seen: list[tuple[datetime, str]] = []
    live.most = 100
    live.on_frame = lambda _: seen.append((live.now, annotations(live)[WATCHED_UNTIL]))
    live.run("watch")
    left = [datetime.fromisoformat(until) - now for now, until in seen]
    assert min(left) >= timedelta(seconds=29)
    assert max(left) <= timedelta(seconds=60)
    assert len({until for _, until in seen}) == 4


def test_what_another_watcher_asks_for_is_left_to_them(live: LiveShell) -> None:
    theirs = {WATCHED_UNTIL: f"{at(395):%Y-%m-%dT%H:%M:%SZ}", "else": "kept"}
    live.cluster.put(POLICIES, policy(theirs))
    live.run("watch")
    assert annotations(live) == theirs


def test_what_another_has_asked_for_since_is_left_to_them(live: LiveShell) -> None:
    later = {WATCHED_UNTIL: f"{at(380):%Y-%m-%dT%H:%M:%SZ}"}
    live.on_frame = lambda _: live.cluster.put(POLICIES, policy(later))
    live.run("watch")
    assert annotations(live) == later


def test_a_conflict_while_it_asks_or_leaves_is_tried_again(live: LiveShell) -> None:
    live.cluster.fail_next("patch", CONFLICT)

    def fail(number: int) -> None:
        if number == live.most:
            live.cluster.fail_next("patch", CONFLICT)

    live.on_frame = fail
    assert live.run("watch") == 0
    assert annotations(live) == {}
    assert live.cluster.take("patch") is None


def test_an_api_server_that_is_away_is_said_and_survived(live: LiveShell) -> None:
    live.most = 5

    def fall(number: int) -> None:
        if number in (1, 2):
            live.cluster.fail_next("read", OUTAGE)

    live.on_frame = fall
    assert live.run("watch") == 0
    away = "The policy cannot be read since 08:05:01 UTC, so this is older: no answer"
    assert [away in " ".join(one.split()) for one in live.frames] == [
        False, True, True, False, False,
    ]  # fmt: skip
    assert "350 : 1" in live.frames[1]


def test_a_workload_that_cannot_be_read_is_said(live: LiveShell) -> None:
    live.cluster.fail_next("inspect", REFUSAL)
    live.run("watch")
    assert "Pods cannot be read: forbidden" in live.frames[0]
    assert "Pods cannot be read" not in live.frames[1]


def test_a_policy_that_is_deleted_ends_it(live: LiveShell) -> None:
    live.on_frame = lambda _: live.cluster.objects.clear()
    assert live.run("watch") == 1
    assert "has been deleted" in live.err


class Hanging(FakeCluster):
    """A cluster whose Deployments are not answered for."""

    async def inspect(self, namespace: str, name: str) -> Any:
        await asyncio.Event().wait()


def test_a_read_that_hangs_keeps_nobody(live: LiveShell) -> None:
    live.cluster = Hanging(objects=live.cluster.objects)

    @asynccontextmanager
    async def open_(paint: Paint) -> AsyncIterator[FakeScreen]:
        screen = FakeScreen(lambda: False)
        asyncio.get_running_loop().call_later(0.2, screen.over.set)
        yield screen

    live._open = open_  # type: ignore[method-assign]
    assert live.run("watch") == 0
    assert annotations(live) == {}


def test_counts_that_do_not_come_are_said_to(live: LiveShell) -> None:
    live.cluster.put(POLICIES, policy(evaluation=None))
    live.most = 30
    live.run("watch")
    said = "The operator has not stored any counts yet"
    assert said not in live.frames[5]
    assert said in live.frames[29]


# -- without its library ---------------------------------------------------------------------------

BARE = """
import sys
for name in ("rich", "rich.console", "rich.live"):
    sys.modules[name] = None
from tests.kubectl import Shell
from tests.unit.test_plugin import POLICIES, make_policy, stored
shell = Shell()
shell.cluster.put(POLICIES, stored(make_policy()))
print(shell.run("status"), shell.run("watch"), shell.err)
"""


def test_without_its_library_only_watch_refuses_and_says_how_to_get_it() -> None:
    done = subprocess.run(
        [sys.executable, "-c", BARE], capture_output=True, text=True, check=True, cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'operator'}:{ROOT}"},
    )  # fmt: skip
    assert done.stdout.startswith("0 1 ")
    assert "in a clone of the repository: pip install '.[cli]'" in done.stdout
