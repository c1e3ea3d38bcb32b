"""`watch`: a rollout in a full-screen terminal, a frame a second, until the user ends it.

The operator stores its counts only while a person watches: this command requests them by an
annotation of the policy that expires, and renews it as long as the view is open.
"""

import asyncio
import io
import os
import signal
import sys
import termios
import tty
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from rollback_operator.api.policy_status import WATCHED_UNTIL
from rollback_operator.cli.plugin import finding
from rollback_operator.cli.plugin.asked import REFRESH_SECONDS, Answer, CommandContext, Screen
from rollback_operator.cli.plugin.connection import DONE, POLICIES, ROLLBACKS, Stop
from rollback_operator.cli.plugin.frame import FrameInputs, frame
from rollback_operator.cli.plugin.page import Paint
from rollback_operator.cli.plugin.record import Record
from rollback_operator.ports.failure import Failure, FailureKind
from rollback_operator.report.live_counts import LONGEST_WATCH, watched_for

ASKED_FOR = timedelta(seconds=60)
RENEWED_AT = timedelta(seconds=30)
"""The request is renewed when this much of its time is left."""
UNREADABLE_PATIENCE = timedelta(seconds=15)
"""After this time without counts the view reports that they are missing."""
ONCE_PATIENCE = timedelta(seconds=6)
"""How long `--once` waits for counts."""
ONCE_LOOK_SECONDS = 0.5
LEAVE_SECONDS = 5.0
_TRIES = 3
_ENDS = "q or Ctrl-C: end"
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_END_KEYS = frozenset(b"qQ\x03\x04")
_MOST_KEYS = 64


async def watch(asked: CommandContext) -> Answer:
    """Show a rollout; a single frame if the output is not a terminal."""
    viewer = Viewer(asked, await finding.read_policy(asked.cluster, asked.namespace, asked.name))
    try:
        if asked.given["once"] or asked.terminal.open_screen is None:
            await viewer.await_counts()
        else:
            async with asked.terminal.open_screen(asked.paint) as screen:
                await viewer.run(screen)
    finally:
        await viewer.leave()
    return drawn(frame(viewer.scene), asked.paint, asked.terminal.columns), DONE


def drawn(whole: RenderableType, paint: Paint, columns: int) -> str:
    """Render a frame as text."""
    console = Console(
        file=io.StringIO(),
        width=columns,
        force_terminal=paint.is_on,
        color_system="standard" if paint.is_on else None,
        no_color=not paint.is_on,
        markup=False,
        emoji=False,
        highlight=False,
    )
    with console.capture() as text:
        console.print(whole)
    return "\n".join(line.rstrip() for line in text.get().splitlines())


def is_under_watch(policy: Record) -> bool:
    """Report whether the operator evaluates a release of the policy's target."""
    return policy.condition("MetricsAvailable").text("reason") not in ("", "NoReleaseWatched")


@dataclass
class Viewer:
    """Reads the objects of a frame, and requests counts from the operator."""

    asked: CommandContext
    policy: Record
    scene: FrameInputs = field(init=False)
    mark: str = ""
    """The value of the annotation that was written last."""
    refusal: str = ""
    """Why counts cannot be requested."""
    asked_since: datetime | None = None
    away_since: datetime | None = None
    """The time since which the API server does not answer."""

    def __post_init__(self) -> None:
        self.scene = FrameInputs(self.policy, self.asked.now)

    async def run(self, screen: Screen) -> None:
        """Show frames until the user ends the view; a read that hangs does not keep it open."""
        showing = asyncio.create_task(self._show(screen))
        ended = asyncio.create_task(screen.over.wait())
        await asyncio.wait({showing, ended}, return_when=asyncio.FIRST_COMPLETED)
        if not showing.done():
            showing.cancel()
        ended.cancel()
        results = await asyncio.gather(showing, ended, return_exceptions=True)
        if isinstance(results[0], Exception):
            raise results[0]

    async def _show(self, screen: Screen) -> None:
        while True:
            await self.read()
            screen.show(Group(frame(self.scene), "", Text(_ENDS, style="dim")))
            await self.asked.terminal.sleep(REFRESH_SECONDS)

    async def await_counts(self) -> None:
        """Read until the operator has stored its counts, or does not store any."""
        until = self.asked.now + ONCE_PATIENCE
        while True:
            await self.read()
            is_asking = is_under_watch(self.policy) and not self.refusal
            if not is_asking or self._has_counts() or self.asked.now >= until:
                return
            await self.asked.terminal.sleep(ONCE_LOOK_SECONDS)

    async def read(self) -> None:
        """Read the objects of a frame; the frame names those that cannot be read."""
        cluster, namespace, name = self.asked.cluster, self.policy.namespace, self.policy.name
        policy = await cluster.read(POLICIES, namespace, name)
        if isinstance(policy, Failure):
            self._stay(policy)
            return
        self.policy, self.away_since = await self._request_counts(policy), None
        last = self.policy.text("status.lastRollback.name")
        workload, rollback = await asyncio.gather(
            cluster.inspect(namespace, self.policy.text("spec.targetRef.name")),
            self._rollback(last),
        )
        remarks = self._remarks()
        if isinstance(workload, Failure):
            remarks.append(f"Pods cannot be read: {workload.message}")
        if isinstance(rollback, Failure):
            remarks.append(f"The rollback {last} cannot be read: {rollback.message}")
        self.scene = FrameInputs(
            self.policy,
            self.asked.now,
            None if isinstance(workload, Failure) else workload,
            None if isinstance(rollback, Failure) else rollback,
            remarks,
        )

    async def _rollback(self, name: str) -> Record | Failure | None:
        """Read the policy's newest Rollback; None: there is none, or it is deleted."""
        if not name:
            return None
        rollback = await self.asked.cluster.read(ROLLBACKS, self.policy.namespace, name)
        is_gone = isinstance(rollback, Failure) and rollback.kind is FailureKind.GONE
        return None if is_gone else rollback

    def _stay(self, failure: Failure) -> None:
        """Keep the last frame, with a remark on why it is stale."""
        if failure.kind is FailureKind.GONE:
            raise Stop(f"policy {self.policy.name} has been deleted")
        now = self.asked.now
        self.away_since = self.away_since or now
        since = f"since {self.away_since:%H:%M:%S} UTC"
        remark = f"The policy cannot be read {since}, so this is older: {failure.message}"
        self.scene = replace(self.scene, now=now, remarks=[remark])

    def _remarks(self) -> list[str]:
        if not is_under_watch(self.policy):
            return ["No release is under watch: counts and odds are shown only during a watch."]
        if self._has_counts():
            return []
        if self.refusal:
            return [f"No counts: a request for them patches the policy. {self.refusal}"]
        if self.asked_since is not None and self.asked.now - self.asked_since > UNREADABLE_PATIENCE:
            hint = "is it running, and is this machine's clock right?"
            return [f"The operator has not stored any counts yet: {hint}"]
        return []

    def _has_counts(self) -> bool:
        return bool(self.policy.part("status.evaluation").raw)

    # -- request for counts -----------------------------------------------------------------------

    async def _request_counts(self, policy: Record) -> Record:
        """Request counts for a minute more, unless it is requested already; returns the policy."""
        now = self.asked.now
        if self.refusal or not is_under_watch(policy):
            return policy
        self.asked_since = self.asked_since or now
        if RENEWED_AT < _left(policy, now) <= LONGEST_WATCH:
            return policy
        # Before the write: a write without an answer may have succeeded.
        self.mark = f"{now + ASKED_FOR:%Y-%m-%dT%H:%M:%SZ}"
        wanted = {**policy.part("metadata.annotations").raw, WATCHED_UNTIL: self.mark}
        written = await self.asked.cluster.patch(POLICIES, policy, "/metadata/annotations", wanted)
        if isinstance(written, Record):
            return written
        if written.kind is FailureKind.REJECTED:
            self.refusal, self.mark = written.message, ""
        return policy  # a conflict or an outage: tried again with the next frame

    async def leave(self) -> None:
        """Withdraw the request for counts, if it is still this viewer's; otherwise it expires."""
        if not self.mark:
            return
        try:
            async with asyncio.timeout(LEAVE_SECONDS):
                for _ in range(_TRIES):
                    if await self._is_withdrawn():
                        return
        except TimeoutError:
            pass

    async def _is_withdrawn(self) -> bool:
        """Try to remove the annotation; False: the policy has changed meanwhile."""
        policy = await self.asked.cluster.read(POLICIES, self.policy.namespace, self.policy.name)
        if isinstance(policy, Failure):
            return True
        kept = dict(policy.part("metadata.annotations").raw)
        if kept.pop(WATCHED_UNTIL, None) != self.mark:
            return True
        written = await self.asked.cluster.patch(POLICIES, policy, "/metadata/annotations", kept)
        return not isinstance(written, Failure) or written.kind is not FailureKind.CONFLICT


def _left(policy: Record, now: datetime) -> timedelta:
    """Return the time for which counts are already requested, by any viewer."""
    value = policy.part("metadata.annotations").raw.get(WATCHED_UNTIL)
    return watched_for({WATCHED_UNTIL: str(value)}, now)


# -- terminal --------------------------------------------------------------------------------------


class FullScreen:
    """The alternate screen of the terminal, as `top` uses it."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self.over = asyncio.Event()

    def show(self, frame: RenderableType) -> None:
        """Show a frame in place of the previous frame."""
        self._live.update(frame, refresh=True)


@asynccontextmanager
async def full_screen(out: TextIO, paint: Paint) -> AsyncIterator[FullScreen]:
    """Show frames until q, Ctrl-C or a signal; restores the terminal."""
    console = Console(
        file=out, no_color=not paint.is_on, markup=False, emoji=False, highlight=False
    )
    loop = asyncio.get_running_loop()
    with Live(console=console, screen=True, auto_refresh=False) as live:
        screen = FullScreen(live)
        for number in _SIGNALS:
            loop.add_signal_handler(number, screen.over.set)
        try:
            with _keys(loop, screen.over):
                yield screen
        finally:
            for number in _SIGNALS:
                loop.remove_signal_handler(number)


@contextmanager
def _keys(loop: asyncio.AbstractEventLoop, over: asyncio.Event) -> Iterator[None]:
    """Read keys as they are pressed, if standard input is a terminal."""
    if not sys.stdin.isatty():
        yield
        return
    keyboard = sys.stdin.fileno()
    before = termios.tcgetattr(keyboard)

    def pressed() -> None:
        keys = os.read(keyboard, _MOST_KEYS)
        if not keys or _END_KEYS & set(keys):
            loop.remove_reader(keyboard)
            over.set()

    tty.setcbreak(keyboard)
    loop.add_reader(keyboard, pressed)
    try:
        yield
    finally:
        loop.remove_reader(keyboard)
        termios.tcsetattr(keyboard, termios.TCSADRAIN, before)
