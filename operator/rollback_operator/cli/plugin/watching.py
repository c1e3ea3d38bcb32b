"""`watch`: a release as it goes out, a frame a second, until somebody ends it.

The operator puts its counts on record only while a person watches: this asks for them by an
annotation of the policy that runs out by itself, renewed as long as the view is open.
"""

import asyncio
import io
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from rich.console import Console, Group, RenderableType
from rich.text import Text

from rollback_operator.api.policy_status import WATCHED_UNTIL
from rollback_operator.cli.plugin import finding
from rollback_operator.cli.plugin.asked import REFRESH_SECONDS, Answer, CommandContext, Screen
from rollback_operator.cli.plugin.cluster import DONE, POLICIES, ROLLBACKS, Stop
from rollback_operator.cli.plugin.frame import FrameInputs, frame
from rollback_operator.cli.plugin.page import Paint
from rollback_operator.cli.plugin.record import Record
from rollback_operator.ports.failure import Failure, FailureKind
from rollback_operator.report.live_counts import LONGEST_WATCH

ASKED_FOR = timedelta(seconds=60)
RENEWED_AT = timedelta(seconds=30)
"""What is left of the time that counts are asked for when it is asked again."""
UNREADABLE_PATIENCE = timedelta(seconds=15)
"""After this without counts the view says so."""
ONCE_PATIENCE = timedelta(seconds=6)
"""How long one frame waits for its counts."""
ONCE_LOOK_SECONDS = 0.5
LEAVE_SECONDS = 5.0
_TRIES = 3
_ENDS = "q or Ctrl-C: end"


async def watch(asked: CommandContext) -> Answer:
    """Show a release while it goes out; one frame where nobody could end the view."""
    viewer = Viewer(asked, await finding.read_policy(asked.cluster, asked.namespace, asked.name))
    try:
        if asked.given["once"] or asked.live.open_screen is None:
            await viewer.look_for_counts()
        else:
            async with asked.live.open_screen(asked.paint) as screen:
                await viewer.run(screen)
    finally:
        await viewer.leave()
    return drawn(frame(viewer.scene), asked.paint, asked.live.columns), DONE


def drawn(shown: RenderableType, paint: Paint, columns: int) -> str:
    """Write a frame as text."""
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
        console.print(shown)
    return "\n".join(line.rstrip() for line in text.get().splitlines())


def is_under_watch(policy: Record) -> bool:
    """Tell whether the operator judges a release of the policy's target."""
    return policy.condition("MetricsAvailable").text("reason") not in ("", "NoReleaseWatched")


@dataclass
class Viewer:
    """Reads what is shown, and asks the operator for counts."""

    asked: CommandContext
    policy: Record
    scene: FrameInputs = field(init=False)
    mark: str = ""
    """The annotation's value as it was written last."""
    refusal: str = ""
    """Why counts cannot be asked for."""
    asked_since: datetime | None = None
    away_since: datetime | None = None
    """Since when the API server does not answer."""

    def __post_init__(self) -> None:
        self.scene = FrameInputs(self.policy, self.asked.now)

    async def run(self, screen: Screen) -> None:
        """Show frames until somebody ends the view; no read that hangs keeps it open."""
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
            await self.look()
            screen.show(Group(frame(self.scene), "", Text(_ENDS, style="dim")))
            await self.asked.live.sleep(REFRESH_SECONDS)

    async def look_for_counts(self) -> None:
        """Read all once, and again until the operator has put its counts on record, or will not."""
        until = self.asked.now + ONCE_PATIENCE
        while True:
            await self.look()
            is_asking = is_under_watch(self.policy) and not self.refusal
            if not is_asking or self._has_counts() or self.asked.now >= until:
                return
            await self.asked.live.sleep(ONCE_LOOK_SECONDS)

    async def look(self) -> None:
        """Read what one frame shows; what cannot be read stays as it was, and the frame says so."""
        cluster, place, name = self.asked.cluster, self.policy.namespace, self.policy.name
        found = await cluster.read(POLICIES, place, name)
        if isinstance(found, Failure):
            self._stay(found)
            return
        self.policy, self.away_since = await self._ask(found), None
        last = self.policy.text("status.lastRollback.name")
        workload, rollback = await asyncio.gather(
            cluster.inspect(place, self.policy.text("spec.targetRef.name")),
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
        found = await self.asked.cluster.read(ROLLBACKS, self.policy.namespace, name)
        is_gone = isinstance(found, Failure) and found.kind is FailureKind.GONE
        return None if is_gone else found

    def _stay(self, failure: Failure) -> None:
        """Keep the last frame, and say why it is not a newer one."""
        if failure.kind is FailureKind.GONE:
            raise Stop(f"policy {self.policy.name} has been deleted")
        now = self.asked.now
        self.away_since = self.away_since or now
        since = f"since {self.away_since:%H:%M:%S} UTC"
        said = f"The policy cannot be read {since}, so this is older: {failure.message}"
        self.scene = replace(self.scene, now=now, remarks=[said])

    def _remarks(self) -> list[str]:
        if not is_under_watch(self.policy):
            return ["No release is under watch: counts and odds are shown while one is."]
        if self._has_counts():
            return []
        if self.refusal:
            return [f"No counts: to ask for them is to patch the policy. {self.refusal}"]
        if self.asked_since is not None and self.asked.now - self.asked_since > UNREADABLE_PATIENCE:
            said = "is it running, and is this machine's clock right?"
            return [f"The operator has put no counts on record yet: {said}"]
        return []

    def _has_counts(self) -> bool:
        return bool(self.policy.part("status.evaluation").raw)

    # -- asking for counts -------------------------------------------------------------------------

    async def _ask(self, policy: Record) -> Record:
        """Have counts put on record for a minute more, unless they are; gives the policy."""
        now = self.asked.now
        if self.refusal or not is_under_watch(policy):
            return policy
        self.asked_since = self.asked_since or now
        if RENEWED_AT < _left(policy, now) <= LONGEST_WATCH:
            return policy
        # Before the write: one that is not answered may have been done all the same.
        self.mark = f"{now + ASKED_FOR:%Y-%m-%dT%H:%M:%SZ}"
        wanted = {**policy.part("metadata.annotations").raw, WATCHED_UNTIL: self.mark}
        written = await self.asked.cluster.patch(POLICIES, policy, "/metadata/annotations", wanted)
        if isinstance(written, Record):
            return written
        if written.kind is FailureKind.REJECTED:
            self.refusal, self.mark = written.message, ""
        return policy  # a conflict, or an outage: at the next look

    async def leave(self) -> None:
        """Take the request for counts back, if it is still this one; else it runs out by itself."""
        if not self.mark:
            return
        try:
            async with asyncio.timeout(LEAVE_SECONDS):
                for _ in range(_TRIES):
                    if await self._taken_back():
                        return
        except TimeoutError:
            pass

    async def _taken_back(self) -> bool:
        """Try to take the annotation off; False: the policy has changed meanwhile."""
        found = await self.asked.cluster.read(POLICIES, self.policy.namespace, self.policy.name)
        if isinstance(found, Failure):
            return True
        kept = dict(found.part("metadata.annotations").raw)
        if kept.pop(WATCHED_UNTIL, None) != self.mark:
            return True
        written = await self.asked.cluster.patch(POLICIES, found, "/metadata/annotations", kept)
        return not isinstance(written, Failure) or written.kind is not FailureKind.CONFLICT


def _left(policy: Record, now: datetime) -> timedelta:
    """Tell for how long counts are asked for already, by whomever."""
    value = policy.part("metadata.annotations").raw.get(WATCHED_UNTIL)
    try:
        until = datetime.fromisoformat(str(value))
        return until - now if until.tzinfo is not None else timedelta(0)
    except (ValueError, OverflowError):
        return timedelta(0)
