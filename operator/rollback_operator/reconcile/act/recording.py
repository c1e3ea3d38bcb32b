"""Stores the progress of a Rollback, posts its end, and removes its finalizer after that."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

from rollback_operator.api.crd import Resource
from rollback_operator.api.v1alpha1 import FINALIZER, Rollback, RollbackStatus
from rollback_operator.model.message import Notice
from rollback_operator.model.workload import Deployment
from rollback_operator.ports.failure import Failure, FailureKind
from rollback_operator.ports.store import Store
from rollback_operator.remedies.progress import Done, RollbackEnd, Wait
from rollback_operator.report import events

Write = Callable[[Rollback, RollbackStatus], Awaitable[Rollback | Failure]]
"""Stores a Rollback's status, and gives the Rollback as it is then."""


@dataclass(frozen=True, slots=True)
class Acted:
    """How far an act has come."""

    rollback: Rollback
    """With the changes to store with the step's end."""
    deployment: Deployment
    """The newest version that is known."""
    next: Done | Wait | RollbackEnd | Failure


MOST_POSTED = 4096
"""Events that are remembered; beyond this, the oldest may be posted again."""


@dataclass
class PostedOnce:
    """Posts an Event that precedes its record once, though the record is retried.

    The record may meet a conflict, as when a person edits the policy at that moment, and the whole
    step is then repeated. A process that ends between the two leaves the step to the next leader,
    which does not know what was posted: the identity of the occurrence names the Event, and the API
    server refuses a second Event of that name. An Event that an outage has kept back is posted with
    the next try of the record.
    """

    store: Store
    _posted: dict[tuple[str, str, str], None] = field(default_factory=dict)

    async def post(self, regarding: Resource, notice: Notice, mark: str = "") -> None:
        """Post an Event, unless that was done; `mark` distinguishes occurrences of a reason."""
        key = regarding.metadata.uid, str(notice.reason), mark
        if key in self._posted:
            return
        failure = await self.store.post(regarding, replace(notice, occurrence=" ".join(key)))
        if failure is not None and failure.kind is FailureKind.UNAVAILABLE:
            return
        self._posted[key] = None
        while len(self._posted) > MOST_POSTED:
            del self._posted[next(iter(self._posted))]


@dataclass
class Recorder:
    """Writes Rollbacks' statuses, and knows at once what it has written."""

    store: Store
    take_in: Callable[[Rollback], None]
    """Takes in what a write returned, unless the Rollback is gone by now."""
    announced: Callable[[Rollback, RollbackStatus], RollbackStatus] = lambda _, status: status
    """Adds the notifications to a status, so that both are one write."""
    measured: Callable[[Rollback], None] = lambda _: None
    """Counts a Rollback that has just ended."""
    once: PostedOnce = field(init=False)

    def __post_init__(self) -> None:
        self.once = PostedOnce(self.store)

    async def write(self, rollback: Rollback, status: RollbackStatus) -> Rollback | Failure:
        """Store a status, with the severity that was decided if it has none of its own."""
        worst = status.severity or rollback.spec.severity
        severe = status.model_copy(update={"severity": worst})
        written = await self.store.write_rollback(rollback, self.announced(rollback, severe))
        if isinstance(written, Rollback):
            self.take_in(written)
            if rollback.status.outcome is None and written.status.outcome is not None:
                self.measured(written)
        return written

    async def post_end(self, rollback: Rollback) -> None:
        """Post the end of a Rollback."""
        await self.once.post(rollback, events.finished(rollback))

    async def release(self, rollback: Rollback) -> Rollback:
        """Post the end of a Rollback, then remove its finalizer.

        In this order: after a crash in between, the next leader finds the finalizer and posts.
        """
        await self.post_end(rollback)
        released = await self.store.release(rollback, FINALIZER)
        if isinstance(released, Rollback):
            self.take_in(released)
        return rollback if isinstance(released, Failure) else released
